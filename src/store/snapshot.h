/*
 * snapshot.h - reading DIR/store/snapshot; private to recovery, verify and
 * rebuild. Writing is lt_snapshot_write in recover.h.
 *
 * All numbers big-endian:
 *    0 "LEATSNAP"   8 version i32 = 1   12 queues u32   16 marks u32
 *   20 print bytes u32   24 log offset i64   32 print offset i64
 *   40 print CRC u32     44 file bytes u32
 *   48 queues: topic bytes u16, queue u32, next i64, topic; by topic and queue
 *      marks: session u64, seq u64, last store time i64; by session
 *      CRC-32 of all that, u32
 *
 * The print is the CRC-32 of a few bytes of the log just below the log offset
 * (or of the beginning of the segment before, if the offset begins one): it
 * tells a snapshot of another log, or of a part that the log has lost, from one
 * that can be relied on.
 */
#ifndef LT_STORE_SNAPSHOT_H
#define LT_STORE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "store/reader.h"
#include "store/recover.h"

#define LT_SNAPSHOT_NAME "snapshot"

struct lt_snapshot_queue {
	const char *topic; /* in buf, not NUL-terminated */
	uint32_t topic_bytes;
	uint32_t queue;
	int64_t next;
};

struct lt_snapshot {
	uint8_t *buf;
	uint64_t log_offset;
	uint64_t print_at;
	uint32_t print_bytes;
	uint32_t print_crc;
	struct lt_snapshot_queue *queues;
	size_t queue_count;
	struct lt_session_mark *marks;
	size_t mark_count;
};

/* LEAT_OK, NOTFOUND, CORRUPT (checksum or structure), VERSION, others. *out is
 * empty on failure; free with lt_snapshot_fini in any case. */
int lt_snapshot_read(int store_dir, struct lt_snapshot *out) LT_MUST_CHECK;
void lt_snapshot_fini(struct lt_snapshot *s);
/* Does the log hold what the snapshot was made of? LEAT_OK; LEAT_E_END: the
 * log does not reach it; LEAT_E_CORRUPT: the log differs there; others. */
int lt_snapshot_match(
    const struct lt_snapshot *s, struct lt_reader *r) LT_MUST_CHECK;

#endif
