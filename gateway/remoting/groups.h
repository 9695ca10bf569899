/*
 * groups.h - configuration of consumer groups, as administrators of RocketMQ
 * set it (200): which groups may consume, how often a message comes again.
 *
 * A group that a member names, or an administrator asks for, has the defaults.
 * Kept in memory: a gateway that starts anew knows only defaults. Any thread;
 * a mutex of its own.
 */
#ifndef LT_REMOTING_GROUPS_H
#define LT_REMOTING_GROUPS_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "proto/limits.h"
#include "proto/remoting.h"

#define LT_GROUPS_MAX 65536
#define LT_GROUPS_RETRY_MAX 16 /* times a message comes again, unless said */

struct lt_groups;

struct lt_groups_config {
	char name[LT_NAME_FIELD];
	uint8_t may_consume, may_broadcast, from_min, is_orderly, tells_members;
	int32_t retry_queues, retry_max, timeout_min;
	int64_t broker_id, slow_broker;
	int32_t sys_flag;
};

int lt_groups_create(struct lt_groups **out) LT_MUST_CHECK;
void lt_groups_destroy(struct lt_groups *groups);
/* The defaults, under that name: LEAT_OK, or LEAT_E_NAME: empty, too long, or
 * with bytes below a blank. */
int lt_groups_default(
    struct lt_groups_config *out, const char *name, size_t bytes) LT_MUST_CHECK;
/* LEAT_OK, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_groups_put(struct lt_groups *groups,
    const struct lt_groups_config *config) LT_MUST_CHECK;
/* 1: it is known. out may be NULL. */
int lt_groups_get(struct lt_groups *groups, struct lt_remoting_text name,
    struct lt_groups_config *out);
void lt_groups_forget(struct lt_groups *groups, struct lt_remoting_text name);
/* A group has members, or is asked for: known from now on. 1: its retry topic
 * has not been seen yet. */
int lt_groups_join(struct lt_groups *groups, const char *name);
/* The same of a group that pulls without being a member. */
void lt_groups_note(struct lt_groups *groups, struct lt_remoting_text name);
void lt_groups_retry_seen(struct lt_groups *groups, const char *name, int seen);
/* 0: an administrator forbade it. Cheap while none is forbidden. */
int lt_groups_may_consume(
    struct lt_groups *groups, struct lt_remoting_text name);
/* 352 of one, 201 of all. */
void lt_groups_write_one(
    const struct lt_groups_config *config, struct lt_buffer *out);
void lt_groups_write_all(
    struct lt_groups *groups, struct lt_buffer *out, size_t *count_out);

#endif
