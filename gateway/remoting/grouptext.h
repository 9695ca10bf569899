/*
 * grouptext.h - what is set for one group: defaults, and how it is written: as
 * JSON for administrators, as lines "name=value" for leat-queue to hold. What
 * the lines do not say has its default; what they say that is not known here is
 * skipped.
 */
#ifndef LT_REMOTING_GROUPTEXT_H
#define LT_REMOTING_GROUPTEXT_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "proto/limits.h"

#define LT_GROUPTEXT_RETRY_MAX                                                 \
	16 /* times a message comes again, unless said                         \
	    */
#define LT_GROUPTEXT_PIECE 256 /* bytes of a piece of JSON, with NUL */

struct lt_groups_config {
	char name[LT_NAME_FIELD];
	uint8_t may_consume, may_broadcast, from_min, is_orderly, tells_members;
	int32_t retry_queues, retry_max, timeout_min;
	int64_t broker_id, slow_broker;
	int32_t sys_flag;
	char attributes[LT_GROUPTEXT_PIECE], retry_policy[LT_GROUPTEXT_PIECE];
};

/* X(name, kind, member) in the order of the names; NAME is the group's own,
 * PIECE an object of JSON. */
#define LT_GROUPTEXT_FIELDS(X)                                                 \
	X("attributes", PIECE, attributes)                                     \
	X("brokerId", WIDE, broker_id)                                         \
	X("consumeBroadcastEnable", TRUTH, may_broadcast)                      \
	X("consumeEnable", TRUTH, may_consume)                                 \
	X("consumeFromMinEnable", TRUTH, from_min)                             \
	X("consumeMessageOrderly", TRUTH, is_orderly)                          \
	X("consumeTimeoutMinute", SMALL, timeout_min)                          \
	X("groupName", NAME, name)                                             \
	X("groupRetryPolicy", PIECE, retry_policy)                             \
	X("groupSysFlag", SMALL, sys_flag)                                     \
	X("notifyConsumerIdsChangedEnable", TRUTH, tells_members)              \
	X("retryMaxTimes", SMALL, retry_max)                                   \
	X("retryQueueNums", SMALL, retry_queues)                               \
	X("whichBrokerWhenConsumeSlowly", WIDE, slow_broker)

/* How members of a group are to consume a topic: by pulling their share of the
 * queues, unless it was said that by popping. */
struct lt_groups_mode {
	int is_pop;
	int32_t share; /* queues of that many members more; 0 or less: all */
};

/* LEAT_OK, or LEAT_E_NAME: empty, too long, or with bytes below a blank. */
int lt_grouptext_default(
    struct lt_groups_config *out, const char *name, size_t bytes) LT_MUST_CHECK;
void lt_grouptext_json(
    const struct lt_groups_config *config, struct lt_buffer *out);
void lt_grouptext_say(
    const struct lt_groups_config *config, struct lt_buffer *out);
void lt_grouptext_say_mode(
    const struct lt_groups_mode *mode, struct lt_buffer *out);
/* Into one that has the defaults. */
void lt_grouptext_read(const char *text, struct lt_groups_config *config_io);
void lt_grouptext_read_mode(const char *text, struct lt_groups_mode *out);

#endif
