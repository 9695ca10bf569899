/*
 * commitlog.h - the commit log: append a batch, roll, make durable.
 *
 * Files DIR/store/commitlog/NNNNNNNNNNNNNNNNNNNN of exactly segment_bytes,
 * named by the offset of their first byte; the current and the next one are
 * zero-filled ahead by a helper thread (extent.c) and old ones recycled by
 * rename. Only leat-store opens the log for writing; one thread calls this.
 *
 * Every error that is not NOSPACE is final for the process: a failed pwrite or
 * fdatasync is never retried (lt_commitlog_failed() tells), recovery decides.
 */
#ifndef LT_STORE_COMMITLOG_H
#define LT_STORE_COMMITLOG_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/options.h"

struct lt_commitlog;

/* store_dir: descriptor of DIR/store (borrowed for the life of the log). Makes
 * commitlog/ if missing. An existing log keeps the segment size of its files
 * (a different setting is a warning). Nothing is scanned; call
 * lt_recover_run() next. */
int lt_commitlog_open(int store_dir, const struct lt_options *o,
    struct lt_commitlog **out) LT_MUST_CHECK;
void lt_commitlog_close(struct lt_commitlog *log);
/* Recovery only: the log ends here; later bytes of the segment become zeroes,
 * later segments go. Everything before is durable when this returns. INVALID:
 * no segment reaches there. */
int lt_commitlog_set_end(struct lt_commitlog *log, uint64_t end) LT_MUST_CHECK;
/* Begin to fill ahead (starts the helper thread). */
int lt_commitlog_start(struct lt_commitlog *log) LT_MUST_CHECK;

uint64_t lt_commitlog_min(const struct lt_commitlog *log); /* first segment */
uint64_t lt_commitlog_end(const struct lt_commitlog *log);
uint64_t lt_commitlog_synced(const struct lt_commitlog *log);
uint64_t lt_commitlog_segment_bytes(const struct lt_commitlog *log);
/* Record bytes that still fit into the current segment (8 stay for BLANK). */
uint64_t lt_commitlog_room(const struct lt_commitlog *log);

/* Have blocks for the `bytes` behind the end, in this segment and the next (no
 * further), so that appends that stay there cannot meet a full disk. One
 * comparison while they are there. LEAT_OK, NOSPACE, IO. */
int lt_commitlog_secure(struct lt_commitlog *log, uint64_t bytes) LT_MUST_CHECK;

/* Append whole sealed records, bytes <= room, at the end, by one pwrite (two
 * around the failpoint store.append.half). LEAT_OK, NOSPACE (nothing counts as
 * written; the same batch may be tried again), IO. */
int lt_commitlog_append(
    struct lt_commitlog *log, const void *buf, size_t bytes) LT_MUST_CHECK;
/* Close the current segment with a BLANK record and go on in the next one.
 * NOSPACE if there is none and none can be made. */
int lt_commitlog_roll(struct lt_commitlog *log) LT_MUST_CHECK;
/* fdatasync everything appended. On LEAT_OK lt_commitlog_synced() == end. */
int lt_commitlog_sync(struct lt_commitlog *log) LT_MUST_CHECK;
/* The same in three steps, so that another thread may wait for the disk: what
 * is appended now; make it durable (any thread, once); tell the log. Meanwhile
 * appending, rolling and lt_commitlog_sync go on. end frees in every case. */
#define LT_COMMITLOG_UNSYNCED 4 /* rolled segments that may wait for a sync */
struct lt_extent;
struct lt_commitlog_sync {
	uint64_t end;
	int dir; /* its own descriptor of commitlog/; -1: no new names */
	uint64_t names;
	int err; /* errno of what failed */
	size_t count;
	struct lt_extent *extents[LT_COMMITLOG_UNSYNCED + 1];
};
int lt_commitlog_sync_begin(
    struct lt_commitlog *log, struct lt_commitlog_sync *out) LT_MUST_CHECK;
int lt_commitlog_sync_run(struct lt_commitlog_sync *sync) LT_MUST_CHECK;
int lt_commitlog_sync_end(struct lt_commitlog *log,
    struct lt_commitlog_sync *sync, int status) LT_MUST_CHECK;
/* 1 after a failed write or sync: stop the process without another ack. */
int lt_commitlog_failed(const struct lt_commitlog *log);

/* Retention: oldest segments. first/last store time of a segment's records and
 * its size; index 0 is the oldest. LEAT_E_END behind the last. */
struct lt_commitlog_segment {
	uint64_t base;
	uint64_t bytes;
	int64_t first_ms; /* 0: not known */
	int64_t last_ms; /* of its last record, or file mtime; 0: current */
};
int lt_commitlog_segment_at(struct lt_commitlog *log, size_t index,
    struct lt_commitlog_segment *out) LT_MUST_CHECK;
/* Drop the oldest segment (never the current one): recycled or unlinked. */
int lt_commitlog_drop_oldest(struct lt_commitlog *log) LT_MUST_CHECK;

#endif
