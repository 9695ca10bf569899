/*
 * groups.h - configuration of consumer groups, as administrators of RocketMQ
 * set it (200, 401): which groups may consume, how often a message comes again,
 * which topics are popped.
 *
 * A table in memory of what leat-queue holds (groupkeep.h). A group that a
 * member names, or an administrator asks for, has the defaults, and is to be
 * kept, too. Any thread; a mutex of its own.
 */
#ifndef LT_REMOTING_GROUPS_H
#define LT_REMOTING_GROUPS_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "proto/limits.h"
#include "proto/remoting.h"
#include "remoting/grouptext.h"

#define LT_GROUPS_MAX 65536
#define LT_GROUPS_MODES_MAX 65536

struct lt_groups;

int lt_groups_create(struct lt_groups **out) LT_MUST_CHECK;
void lt_groups_destroy(struct lt_groups *groups);
/* 1: it is known. out may be NULL. */
int lt_groups_get(struct lt_groups *groups, struct lt_remoting_text name,
    struct lt_groups_config *out);
/* A group has members, or is asked for: known from now on. 1: its retry topic
 * has not been seen yet. */
int lt_groups_join(struct lt_groups *groups, const char *name);
/* The same of a group that pulls without being a member. */
void lt_groups_note(struct lt_groups *groups, struct lt_remoting_text name);
void lt_groups_retry_seen(struct lt_groups *groups, const char *name, int seen);
/* 0: an administrator forbade it. Cheap while none is forbidden. */
int lt_groups_may_consume(
    struct lt_groups *groups, struct lt_remoting_text name);
void lt_groups_mode(struct lt_groups *groups, const char *group,
    const char *topic, struct lt_groups_mode *out);
/* 1: the group pops one of its topics. */
int lt_groups_pops(struct lt_groups *groups, const char *group);
/* 201 */
void lt_groups_write_all(
    struct lt_groups *groups, struct lt_buffer *out, size_t *count_out);

/* --- from the clerk: what leat-queue holds ---------------------------------
 */

/* A setting is held: of a topic, or, topic "", of the group. LEAT_OK,
 * LEAT_E_NAME, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_groups_hear(struct lt_groups *groups, const char *group,
    const char *topic, const char *text) LT_MUST_CHECK;
/* Nothing is held of the group, and nobody names it any more. */
void lt_groups_forget(struct lt_groups *groups, struct lt_remoting_text name);
/* All that is held will be heard; and it was: what was not heard is not held
 * any more. */
void lt_groups_listen(struct lt_groups *groups);
void lt_groups_heard(struct lt_groups *groups);
/* A group that is not held yet: 1 and its name. */
int lt_groups_unheld(struct lt_groups *groups, char name_out[LT_NAME_FIELD]);
/* Is taken as held, whatever leat-queue says. */
void lt_groups_let_be(struct lt_groups *groups, const char *name);
/* A group that has begun or ceased to pop since it was asked: 1 and its name.
 */
int lt_groups_turned(struct lt_groups *groups, char name_out[LT_NAME_FIELD]);

#endif
