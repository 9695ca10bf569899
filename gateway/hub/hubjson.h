/*
 * hubjson.h - the bodies that say who is here, in the form of Apache RocketMQ's
 * broker: keys in alphabetical order, no white space. Written out of the hub's
 * tables, which takes no library.
 */
#ifndef LT_GATEWAY_HUB_HUBJSON_H
#define LT_GATEWAY_HUB_HUBJSON_H

#include "hub/hub.h"

/* Each returns LEAT_OK, LEAT_E_NOTFOUND (nobody is there) or the buffer's
 * status. `more` are names from elsewhere that belong into the same list. */

/* 38: ids of a group's members, local ones among them; each once, in order. */
int lt_hubjson_ids(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *out) LT_MUST_CHECK;
/* 203: a consumer group's connections and subscriptions. */
int lt_hubjson_consumers(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *out) LT_MUST_CHECK;
/* 204: a producer group's connections. */
int lt_hubjson_producers(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *out) LT_MUST_CHECK;
/* 300: which groups consume a topic; nobody is an empty list. */
int lt_hubjson_groups(struct lt_hub *hub, struct lt_remoting_text topic,
    const char *const *more, size_t count, struct lt_buffer *out) LT_MUST_CHECK;
/* 328: all producers. wall_ms: what now_ms is since the epoch. */
int lt_hubjson_all_producers(struct lt_hub *hub, uint64_t now_ms,
    int64_t wall_ms, struct lt_buffer *out) LT_MUST_CHECK;
/* 343: the topics that a group consumes; none is an empty list. */
int lt_hubjson_topics(struct lt_hub *hub, struct lt_remoting_text group,
    const char *const *more, size_t count, struct lt_buffer *out) LT_MUST_CHECK;
/* 345: what a group subscribed to in a topic; left out if nothing. */
int lt_hubjson_subscription(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text topic, struct lt_buffer *out) LT_MUST_CHECK;
/* 41: the queues that are held, of those asked for. */
int lt_hubjson_locked(const struct lt_heartbeat_locks *asked,
    const uint8_t *is_held, struct lt_buffer *out) LT_MUST_CHECK;

#endif
