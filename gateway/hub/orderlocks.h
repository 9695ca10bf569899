/*
 * orderlocks.h - which client of a group may consume a queue in order: leases
 * of LT_ORDERLOCKS_LEASE_MS that the owner renews. Any thread; the hub's lock.
 *
 * A lock ends with its time or by its owner's word, not with its owner's
 * connections: as in Apache RocketMQ, a client that connects again still has
 * its queues, and what it is working on is given to nobody else meanwhile.
 */
#ifndef LT_GATEWAY_HUB_ORDERLOCKS_H
#define LT_GATEWAY_HUB_ORDERLOCKS_H

#include "hub/hub.h"

#define LT_ORDERLOCKS_LEASE_MS 60000

/* 41: is_held_out[i] is 1 if the client has queue i now. What would be one lock
 * too many in the hub, or for memory, is not held: the client asks again. */
void lt_orderlocks_lock(struct lt_hub *hub,
    const struct lt_heartbeat_locks *asked, uint64_t now_ms,
    uint8_t *is_held_out);
/* 42: what the client holds of these. */
void lt_orderlocks_unlock(
    struct lt_hub *hub, const struct lt_heartbeat_locks *asked);
/* Does anybody hold a lock in that group? */
int lt_orderlocks_any(
    struct lt_hub *hub, struct lt_remoting_text group, uint64_t now_ms);

#endif
