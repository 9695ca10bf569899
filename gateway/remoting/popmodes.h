/*
 * popmodes.h - how members of a group are to consume a topic, as administrators
 * set it (401): by pulling their share of the queues, or by popping.
 *
 * Pulling unless it was said. Kept in memory: a gateway that starts anew knows
 * nothing of it. Any thread; a mutex of its own.
 */
#ifndef LT_REMOTING_POPMODES_H
#define LT_REMOTING_POPMODES_H

#include <stdint.h>
#include "base/check.h"

#define LT_POPMODES_MAX 65536

struct lt_popmodes;

struct lt_popmodes_mode {
	int is_pop;
	int32_t share; /* queues of that many members more; 0 or less: all */
};

int lt_popmodes_create(struct lt_popmodes **out) LT_MUST_CHECK;
void lt_popmodes_destroy(struct lt_popmodes *modes);
/* LEAT_OK, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_popmodes_set(struct lt_popmodes *modes, const char *group,
    const char *topic, const struct lt_popmodes_mode *mode) LT_MUST_CHECK;
void lt_popmodes_get(struct lt_popmodes *modes, const char *group,
    const char *topic, struct lt_popmodes_mode *out);
/* 1: the group pops one of its topics. */
int lt_popmodes_has(struct lt_popmodes *modes, const char *group);

#endif
