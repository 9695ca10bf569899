/*
 * adminjson.h - the JSON bodies that administrators send to a broker. Door of
 * this room to jansson; what is written needs no library.
 */
#ifndef LT_REMOTING_ADMINJSON_H
#define LT_REMOTING_ADMINJSON_H

#include <stddef.h>
#include <leat/leat.h>
#include "base/check.h"
#include "remoting/groups.h"

#define LT_ADMINJSON_MAX (1u << 20) /* a larger body is refused */

/* 46: subscriptionData.expressionType; "" if it is not said. LEAT_OK,
 * LEAT_E_CORRUPT. */
int lt_adminjson_filter_type(
    const void *body, size_t bytes, char *out, size_t out_bytes) LT_MUST_CHECK;
/* 200: one group; 225: each of groupConfigList, a negative answer of `each`
 * ends it and is returned. What is not said has its default; attributes are
 * changes of those that `groups` has. LEAT_OK, LEAT_E_CORRUPT, LEAT_E_NAME,
 * LEAT_E_INVALID or LEAT_E_TOOBIG (attributes, retry policy), LEAT_E_NOMEM. */
int lt_adminjson_groups(const void *body, size_t bytes, int is_list,
    struct lt_groups *groups,
    int (*each)(const struct lt_groups_config *config, void *user),
    void *user) LT_MUST_CHECK;

/* 400, 401: what is not said is "". */
struct lt_adminjson_assignment {
	char topic[LT_NAME_FIELD], group[LT_NAME_FIELD];
	char client[LT_NAME_FIELD];
	char strategy[32], model[32]; /* 400 */
	char mode[32]; /* 401 */
	int32_t share; /* 401: popShareQueueNum */
};
/* LEAT_OK, LEAT_E_CORRUPT, LEAT_E_NAME (one of them is too long). */
int lt_adminjson_assignment(const void *body, size_t bytes,
    struct lt_adminjson_assignment *out) LT_MUST_CHECK;
/* 200151: each of acks that has names, a queue and a bit set. *count_out: how
 * many acks there are. LEAT_OK, LEAT_E_CORRUPT. */
struct lt_adminjson_ack { /* lent */
	const char *group, *topic, *bits;
	int64_t start_offset, pop_ms;
	int32_t queue;
};
int lt_adminjson_acks(const void *body, size_t bytes,
    void (*each)(const struct lt_adminjson_ack *ack, void *user), void *user,
    size_t *count_out) LT_MUST_CHECK;

/* 18: each of topicConfigList, in the same way; numbers that are no number of
 * queues are 0, and a name that is too long is "". */
int lt_adminjson_topics(const void *body, size_t bytes,
    int (*each)(const struct leat_topic *topic, void *user),
    void *user) LT_MUST_CHECK;

#endif
