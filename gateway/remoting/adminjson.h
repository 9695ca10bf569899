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
 * ends it and is returned. What is not said has its default. LEAT_OK,
 * LEAT_E_CORRUPT, LEAT_E_NAME. */
int lt_adminjson_groups(const void *body, size_t bytes, int is_list,
    int (*each)(const struct lt_groups_config *config, void *user),
    void *user) LT_MUST_CHECK;

/* 18: each of topicConfigList, in the same way; numbers that are no number of
 * queues are 0, and a name that is too long is "". */
int lt_adminjson_topics(const void *body, size_t bytes,
    int (*each)(const struct leat_topic *topic, void *user),
    void *user) LT_MUST_CHECK;

#endif
