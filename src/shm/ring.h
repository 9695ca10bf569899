/*
 * ring.h - the queue ring: one writer (the store), any number of read-only
 * readers, never waits for any of them. A window on the log.
 *
 *   head page: @128 intent, commit (store)  @192 tail, tail_offset,
 *              next_offset (store)
 *   data:      struct lt_ring_head + stored record, 32-byte aligned, never
 *              wrapping
 *
 * Positions are absolute byte counts. The writer raises intent before it
 * overwrites, writes, then stores commit with release. A reader loads commit
 * with acquire, copies a record out, then loads intent behind an acquire
 * fence: if intent - pos > size the copy may be torn: LEAT_E_LAPPED, and it
 * reads from the log instead (FETCH) until it meets the ring again.
 *
 * And if the store dies between intent and commit? The ring is dead with it
 * (sealed: no other process can write it); what was committed stays readable.
 */
#ifndef LT_SHM_RING_H
#define LT_SHM_RING_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/segment.h"

#define LT_RING_ALIGN 32

enum {
	LT_RING_RECORD = 1,
	LT_RING_PAD = 2,
	LT_RING_BIG = 3 /* not here: fetch it */
};

struct lt_ring_head {
	uint32_t bytes; /* payload that follows */
	uint32_t kind;
	int64_t queue_offset;
	int64_t log_offset;
	int64_t tags_code;
};
_Static_assert(sizeof(struct lt_ring_head) == 32, "ring record header");

struct lt_ring_shared {
	struct lt_segment_head head;
	uint8_t pad0[128 - sizeof(struct lt_segment_head)];
	_Atomic uint64_t intent; /* store: may overwrite up to here - size */
	_Atomic uint64_t commit; /* store: readable up to here */
	uint8_t pad1[64 - 16];
	_Atomic uint64_t tail; /* store: position of the oldest whole record */
	_Atomic int64_t tail_offset; /* store: its queue offset */
	_Atomic int64_t next_offset; /* store: queue offset behind the newest */
	_Atomic uint64_t lapped; /* unused by the store, zero */
};
_Static_assert(offsetof(struct lt_ring_shared, intent) == 128, "ring intent");

/* First record that starts in a step of the ring, or behind it. */
struct lt_ring_mark {
	uint64_t pos;
	int64_t offset;
};

#define LT_RING_STEPS 64 /* most into which a ring is divided */

struct lt_ring_writer {
	struct lt_ring_shared *shared;
	uint8_t *data;
	uint64_t size;
	uint64_t pos; /* private: written up to here */
	uint64_t intent; /* private copy */
	uint64_t step; /* intent and tail move by so much */
	uint64_t marked; /* steps since the beginning that have a mark */
	uint64_t committed;
	int64_t next_offset;
	struct lt_ring_mark marks[LT_RING_STEPS]; /* of the last size / step */
};
/* first_offset: queue offset of the first record that will be put. */
void lt_ring_writer_init(struct lt_ring_writer *w, const struct lt_segment *seg,
    int64_t first_offset);
/* Put one record (not yet visible). Records over size/8 become BIG. Offsets
 * must come in order; a gap is allowed. */
void lt_ring_put(struct lt_ring_writer *w, int64_t queue_offset,
    int64_t log_offset, int64_t tags_code, const void *record, uint32_t bytes);
/* Make everything put visible. */
void lt_ring_commit(struct lt_ring_writer *w);

struct lt_ring_reader {
	const struct lt_ring_shared *shared;
	const uint8_t *data;
	uint64_t size;
	uint64_t pos;
	uint64_t commit; /* last seen */
};
void lt_ring_reader_init(
    struct lt_ring_reader *r, const struct lt_segment *seg);
/*
 * Position on the record with queue offset `offset`, or the first after it.
 * LEAT_OK; LEAT_E_LAPPED: older than the ring holds (fetch first);
 * LEAT_E_AGAIN: not there yet, positioned at the end (only if offset >=
 * next_offset).
 */
int lt_ring_seek(struct lt_ring_reader *r, int64_t offset) LT_MUST_CHECK;
/* Queue offset behind the newest record that is visible or about to be. */
int64_t lt_ring_next_offset(const struct lt_ring_reader *r);
/* Header of the record at pos, checked: LEAT_OK, LEAT_E_AGAIN (nothing new),
 * LEAT_E_LAPPED, LEAT_E_CORRUPT. PADs are skipped. */
int lt_ring_peek(
    struct lt_ring_reader *r, struct lt_ring_head *head) LT_MUST_CHECK;
/* Copy the payload of the record just peeked and check that it was not
 * overwritten meanwhile: LEAT_OK or LEAT_E_LAPPED (dst is then garbage). */
int lt_ring_copy(struct lt_ring_reader *r, const struct lt_ring_head *head,
    void *dst) LT_MUST_CHECK;
void lt_ring_skip(struct lt_ring_reader *r, const struct lt_ring_head *head);
/* 1 if there is a record at pos (for the look between "I sleep" and sleep). */
int lt_ring_ready(const struct lt_ring_reader *r);
/* valid: walk all visible records. LEAT_OK or LEAT_E_CORRUPT. */
int lt_ring_valid(const struct lt_segment *seg) LT_MUST_CHECK;

#endif
