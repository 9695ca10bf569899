/*
 * progress.h - a group's progress as leat-queue has it: the one place that asks
 * for it. The clerk's thread; may wait.
 */
#ifndef LT_REMOTING_PROGRESS_H
#define LT_REMOTING_PROGRESS_H

#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"

/* The group's next offset of that queue. LEAT_OK, or LEAT_E_NOTFOUND: nothing
 * is known of it; others. */
int lt_progress_read(struct leat *leat, const char *group, const char *topic,
    uint32_t queue, int64_t *offset_out) LT_MUST_CHECK;
/* 1: leat-queue knows the group. Negative: a status. */
int lt_progress_has(struct leat *leat, const char *group) LT_MUST_CHECK;

#endif
