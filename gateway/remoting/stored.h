/*
 * stored.h - when messages were stored, asked of leat-queue one by one. The
 * clerk's thread; may wait.
 */
#ifndef LT_REMOTING_STORED_H
#define LT_REMOTING_STORED_H

#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"

/* Milliseconds since the epoch; 0: there is no such message. */
int64_t lt_stored_at(
    struct leat *leat, const char *topic, uint32_t queue, int64_t offset);
/* The first offset of a range whose message was stored at ms or later;
 * max_offset: none. */
int64_t lt_stored_since(struct leat *leat, const char *topic, uint32_t queue,
    const struct leat_queue_range *range, int64_t ms);

#endif
