/*
 * grouptable.h - claims of one clustering group on one queue.
 *
 * A window of W words (power of two), word offset & (W - 1):
 *
 *   63      40 39     32 31      16 15          2 1   0
 *   [ lap 24 ][attempt 8][ owner 16 ][ stamp 14  ][state]
 *
 *   lap = (offset / W) mod 2^24; attempt: deliveries before this one; owner: a
 *   member's number, 0 nobody; stamp: claim time in units of 250 ms mod 2^14;
 *   state: FREE, CLAIMED, DONE.
 *
 * Every transition is one compare-and-swap of the whole word, so it checks lap
 * and owner:
 *   claim   {L, FREE} or {L-1, DONE} -> {L, CLAIMED, me}     member
 *   ack     {L, CLAIMED, me} -> {L, DONE}                    member
 *   nack    {L, CLAIMED, me} -> {L, FREE, attempt+1}         member
 *   extend  {L, CLAIMED, me} -> same, new stamp              member
 *   expire  {L, CLAIMED, x} -> {L, FREE, attempt+1}          queue manager
 *   retire  {L, FREE} or {L-1, DONE} -> {L, DONE}            queue manager
 * DONE of the last lap is FREE of this one: the window moves on by itself, no
 * broker process runs per message, and nobody can claim X before X - W is
 * done. Offset Y is done iff the word's lap is beyond Y's or it is Y's and
 * DONE; progress is the least offset not done over all slots (each slot's only
 * grows, so slots need not be read at one instant), computed by the queue
 * manager alone, however many laps the members made since its last look. It
 * keeps its own progress and takes from here only what is monotonic and not
 * beyond the queue's end.
 *
 * And if a member dies after claiming? The queue manager, told by pidfd or
 * socket, expires what carries its number. After acknowledging, before
 * anything else? It is acknowledged: the word is the truth, the cursor a hint.
 *
 * Source: a state word per entry as in DPDK's soring; owner and lap as in
 * iceoryx2's robust index set.
 */
#ifndef LT_SHM_GROUPTABLE_H
#define LT_SHM_GROUPTABLE_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/segment.h"

enum lt_claim_state {
	LT_CLAIM_FREE = 0,
	LT_CLAIM_CLAIMED = 1,
	LT_CLAIM_DONE = 2
};
enum lt_table_closed {
	LT_TABLE_OPEN = 0,
	LT_TABLE_DROPPED = 1, /* or replaced */
	LT_TABLE_LEFT = 2 /* to others; claims may be finished */
};
#define LT_CLAIM_TICK_MS 250

struct lt_table_shared {
	struct lt_segment_head
	    head; /* extra[0] first offset, extra[1] window */
	uint8_t pad0[128 - sizeof(struct lt_segment_head)];
	_Atomic int64_t cursor; /* members: hint, next never-claimed offset */
	uint8_t pad1[64 - 8];
	_Atomic int64_t
	    progress; /* queue manager: done below this; members read */
	_Atomic uint32_t returned; /* anybody adds 1 after freeing a claim */
	_Atomic uint32_t closed; /* queue manager: enum lt_table_closed; not 0:
				    claim nothing here, re-attach */
};
_Static_assert(offsetof(struct lt_table_shared, cursor) == 128, "table");

struct lt_table {
	struct lt_table_shared *shared;
	_Atomic uint64_t *words;
	uint64_t window;
	int64_t first; /* offsets below are done */
};

/* Bytes of data of a table with this window. */
static inline uint64_t
lt_table_bytes(uint64_t window)
{
	return window * 8;
}
/* Creator: every offset below `first` done, every other free. */
void lt_table_format(
    const struct lt_segment *seg, int64_t first, uint64_t window);
int lt_table_init(struct lt_table *t, const struct lt_segment *seg)
    LT_MUST_CHECK; /* CORRUPT: window not a power of two or not the data size */

uint32_t lt_table_stamp(uint64_t mono_ms); /* tick of a time */

/* LEAT_OK: mine, *attempt_out = deliveries before this one; LEAT_E_BUSY: some
 * member has it or it is done (go on with the next offset); LEAT_E_LIMIT: the
 * window is full: X - W is not done (stop here). */
int lt_table_claim(struct lt_table *t, int64_t offset, uint16_t owner,
    uint32_t stamp, uint32_t *attempt_out) LT_MUST_CHECK;
/* LEAT_OK or LEAT_E_LEASE (not mine any more). */
int lt_table_ack(
    struct lt_table *t, int64_t offset, uint16_t owner) LT_MUST_CHECK;
int lt_table_nack(
    struct lt_table *t, int64_t offset, uint16_t owner) LT_MUST_CHECK;
/* Undo a claim that was not delivered: attempt stays as it was. */
int lt_table_unclaim(
    struct lt_table *t, int64_t offset, uint16_t owner) LT_MUST_CHECK;
int lt_table_extend(struct lt_table *t, int64_t offset, uint16_t owner,
    uint32_t stamp) LT_MUST_CHECK;
/* 1 if offset is free although it had been claimed before or its turn has
 * come; for the scan after `returned` moved. */
int lt_table_is_free(const struct lt_table *t, int64_t offset);
/* 1 if a claim would say LIMIT. */
int lt_table_is_full(const struct lt_table *t, int64_t offset);

/* Queue manager. All words are hostile: only what lies between its own
 * progress and the queue's end counts. */
struct lt_table_sweep {
	int64_t progress; /* new done prefix, >= the old one, <= max_offset */
	uint64_t claimed; /* claims standing in the window */
	uint64_t expired; /* freed by this sweep */
};
/*
 * Harvest from the private progress `from`, never beyond max_offset. Claims
 * whose stamp is older than lease_ms are freed (lease_ms 0: none), and all of
 * `dead_owner` (0: none). A word that no member could have written honestly is
 * set free for the first offset of its slot that is not done.
 */
void lt_table_harvest(struct lt_table *t, int64_t from, int64_t max_offset,
    uint64_t mono_ms, uint64_t lease_ms, uint16_t dead_owner,
    struct lt_table_sweep *out);
/*
 * The messages [from, to) are gone, whatever became of them: those that nobody
 * has claimed are done, as far as the window lets them be. Whoever holds one
 * may still acknowledge it, and what is done behind `to` stays so. Returns how
 * many it made done.
 */
uint64_t lt_table_retire(struct lt_table *t, int64_t from, int64_t to);
/* valid: every word in the window is one an honest member leaves. Members may
 * be at work meanwhile. */
int lt_table_valid(const struct lt_table *t, int64_t progress) LT_MUST_CHECK;

#endif
