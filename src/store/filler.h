/*
 * filler.h - the helper thread of the commit log: zeroes ahead of the writer
 * (extent.c has the protocol), makes the next segment's file before it is
 * needed, and cleans a dropped one to be used again. Private to commitlog.c;
 * the writer's thread calls everything here.
 */
#ifndef LT_STORE_FILLER_H
#define LT_STORE_FILLER_H

#include <stdint.h>
#include "base/check.h"
#include "store/extent.h"

#define LT_FILLER_SPARE "spare" /* a dropped segment being cleaned */

struct lt_filler;

struct lt_filler_config {
	int dir; /* of the segments, borrowed */
	uint64_t segment_bytes;
	uint64_t prefill_bytes; /* 0: no zeroes, no reuse; next file only */
	uint64_t full_percent; /* disk use from which publishing stops */
};

/* No thread yet; until lt_filler_start the writer makes its own files. */
int lt_filler_create(const struct lt_filler_config *config,
    struct lt_filler **out) LT_MUST_CHECK;
/* Stops the thread and removes files nobody wrote to. NULL is allowed. */
void lt_filler_destroy(struct lt_filler *f);
int lt_filler_start(struct lt_filler *f) LT_MUST_CHECK;
/* e is written to now, from `written` (bytes from its base); takes its own
 * reference. NULL: no segment. */
void lt_filler_use(struct lt_filler *f, struct lt_extent *e, uint64_t written);
/* The segment in use is written up to here. No lock as a rule. */
void lt_filler_moved(struct lt_filler *f, uint64_t written);
/* The log was made durable: zeroes ahead pay off as long as this happens. */
void lt_filler_synced(struct lt_filler *f);
/* The segment that begins at base (the one behind that in use): prepared, or
 * made now. The reference is the caller's, who uses it next. */
int lt_filler_next(
    struct lt_filler *f, uint64_t base, struct lt_extent **out) LT_MUST_CHECK;
/* Take the segment file `name` out of the log: kept to become the next one if
 * there is need and room, else deleted. IO: the filler has failed. */
int lt_filler_recycle(struct lt_filler *f, const char *name) LT_MUST_CHECK;
/* The disk is full: give back the segment kept for reuse. 1 if there was one.
 */
int lt_filler_shed(struct lt_filler *f);
/* 1 after a failed write or sync of the thread: the log has failed. */
int lt_filler_failed(const struct lt_filler *f);

#endif
