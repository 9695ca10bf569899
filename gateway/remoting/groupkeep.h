/*
 * groupkeep.h - the groups' table and leat-queue, which holds what is set for
 * them: each change is held, synced, before it is in the table and answered;
 * what others change is read again when leat-queue says that there is
 * something. Groups that are there because somebody named them are held soon.
 *
 * The clerk's, but for create and destroy.
 */
#ifndef LT_REMOTING_GROUPKEEP_H
#define LT_REMOTING_GROUPKEEP_H

#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"
#include "remoting/groups.h"

struct lt_gateway;
struct lt_groupkeep;

int lt_groupkeep_create(
    const struct lt_gateway *g, struct lt_groupkeep **out) LT_MUST_CHECK;
void lt_groupkeep_destroy(struct lt_groupkeep *k);
/* All that is held; `user` is the keep. Before anybody is served. */
int lt_groupkeep_load(struct leat *leat, void *user) LT_MUST_CHECK;
int lt_groupkeep_set(struct lt_groupkeep *k, struct leat *leat,
    const struct lt_groups_config *config) LT_MUST_CHECK;
int lt_groupkeep_set_mode(struct lt_groupkeep *k, struct leat *leat,
    const char *group, const char *topic,
    const struct lt_groups_mode *mode) LT_MUST_CHECK;
/* Nothing is set for the group any more; LEAT_OK also if nothing was. */
int lt_groupkeep_unset(
    struct lt_groupkeep *k, struct leat *leat, const char *group) LT_MUST_CHECK;
/* Now and then. */
void lt_groupkeep_round(struct lt_groupkeep *k, struct leat *leat);

#endif
