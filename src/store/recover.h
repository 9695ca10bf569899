/*
 * recover.h - find the end of the log and bring what is derived up to date.
 *
 * The snapshot DIR/store/snapshot (lt_snapshot_*) holds, as of a log offset up
 * to which consume queues are durable: next offset of every queue and the last
 * sequence of every session seen in the last day. Recovery reads it (a missing,
 * damaged or foreign one means: from the log's beginning), scans the log from
 * there, re-dispatches every valid record (entry n of a queue from the record
 * with queueOffset n, so repeating is harmless), and sets the end behind the
 * last valid record. Bytes that are no record but have valid records behind
 * them are damage: named, counted, skipped. Bytes with nothing valid behind
 * them are the torn tail: cut.
 *
 * An Apache RocketMQ store has no snapshot: it is scanned whole, its records
 * checked by body CRC.
 */
#ifndef LT_STORE_RECOVER_H
#define LT_STORE_RECOVER_H

#include <stdint.h>
#include "base/check.h"
#include "store/commitlog.h"
#include "store/consumequeue.h"

/* Last sequence of a session in the log, and its place. */
struct lt_session_mark {
	uint64_t session;
	uint64_t seq;
	int64_t last_ms; /* store time of that record */
};
/* Where recent records of sessions are: for completions that were lost. */
struct lt_session_trace {
	uint64_t session;
	uint64_t seq;
	int64_t log_offset;
	int64_t queue_offset;
	int64_t store_ms;
};

struct lt_recovered {
	uint64_t log_end;
	uint64_t scanned_bytes;
	uint64_t records;
	uint64_t entries; /* of them with a queue entry */
	uint64_t damaged; /* extents */
	int64_t
	    last_store_ms; /* of the last record; time stamps never go back */
	struct lt_session_mark *marks; /* owned: lt_recovered_fini */
	size_t mark_count;
	struct lt_session_trace
	    *traces; /* of the last 16 MiB of the log, oldest first */
	size_t trace_count;
};
/* progress: percent, called now and then. */
int lt_recover_run(int store_dir, struct lt_commitlog *log,
    struct lt_cq_set *queues, struct lt_recovered *out,
    void (*progress)(unsigned percent, void *user), void *user) LT_MUST_CHECK;
void lt_recovered_fini(struct lt_recovered *r);

/* Checkpoint: flush and sync queues, then replace DIR/store/snapshot
 * atomically. Everything in the log below `log_offset` must have been put into
 * `queues`, and the log be synced up to there. */
int lt_snapshot_write(int store_dir, struct lt_cq_set *queues,
    uint64_t log_offset, const struct lt_session_mark *marks,
    size_t mark_count) LT_MUST_CHECK;

/* The parts of it: what the queues and marks are at this moment (fast; owned,
 * lt_snapshot_image_free), and replacing the file (any thread; sorts, writes,
 * syncs). In between, log and queue files must become durable. */
struct lt_snapshot_image;
int lt_snapshot_take(struct lt_cq_set *queues, uint64_t log_offset,
    const struct lt_session_mark *marks, size_t mark_count,
    struct lt_snapshot_image **out) LT_MUST_CHECK;
int lt_snapshot_put(
    int store_dir, const struct lt_snapshot_image *image) LT_MUST_CHECK;
void lt_snapshot_image_free(struct lt_snapshot_image *image);

/* Offline (leat store, on a stopped store; takes DIR/lock through its caller).
 * verify: walks the whole log and compares consume queues and snapshot. Each
 * finding is one line through report. Returns the number of findings or a
 * negative status. */
struct lt_verify_report {
	uint64_t records, bytes, segments, queues, entries;
	uint64_t damaged; /* findings */
	uint64_t log_end;
};
int lt_recover_verify(int store_dir, struct lt_verify_report *out,
    void (*report)(void *user, const char *line), void *user) LT_MUST_CHECK;
/* Delete everything derived (consume queues, snapshot, index) and make it
 * again from the log: bit-equal to what the store would have written. */
int lt_recover_rebuild(int store_dir, struct lt_verify_report *out,
    void (*report)(void *user, const char *line), void *user) LT_MUST_CHECK;

#endif
