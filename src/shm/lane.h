/*
 * lane.h - the publish lane: a single-producer single-consumer byte ring from
 * one client session to the store, in the session's own segment.
 *
 *   head page:  @128 tail (client)  @192 want, waiting (client)
 *   data:       records, 32-byte aligned, never wrapping: a PAD record fills
 *               the end
 *
 * Single writer of each word: the client writes tail, the want words and the
 * data; the store keeps its head in private memory and shows it in the session
 * page. The store reads a header once, checks its copy, copies the payload
 * out, then looks at the payload.
 *
 * And if the client dies between writing a record and storing tail? The record
 * does not exist. After storing tail, before ringing? The store finds it at
 * its next sweep; the hang-up drains.  And if the store dies between copying
 * and completing? Its successor starts at the head shown in the page and drops
 * what the log already has, by session and sequence.
 */
#ifndef LT_SHM_LANE_H
#define LT_SHM_LANE_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/segment.h"

#define LT_LANE_ALIGN 32

enum lt_lane_kind {
	LT_LANE_PAD = 1,
	LT_LANE_PUBLISH = 2,
	LT_LANE_RELAY = 3 /* for a remote client: its hosts, its id */
};

/* Header of a record in the lane. bytes == 0 is never a record. */
struct lt_lane_rec {
	uint32_t bytes; /* payload; the next record is at align(32 + bytes) */
	uint16_t kind;
	uint16_t level; /* enum leat_level wanted; 0: default */
	uint32_t topic; /* id */
	uint32_t reserved;
	uint64_t seq; /* of the session: 1, 2, ...; each exactly once */
	uint64_t reserved2;
};
_Static_assert(sizeof(struct lt_lane_rec) == 32, "lane record header");

/* Bits of lt_lane_shared.waiting. */
enum {
	LT_LANE_WAIT_DATA = 1, /* sleeps until a watched queue grows */
	LT_LANE_WAIT_RECEIPT =
	    2, /* until want_logged or want_synced is reached */
	LT_LANE_WAIT_ROOM = 4, /* until lane head moves */
	LT_LANE_WAIT_EVENTFD = 8 /* ring the eventfd, not only the futex */
};

struct lt_lane_shared {
	struct lt_segment_head head;
	uint8_t pad0[128 - sizeof(struct lt_segment_head)];
	_Atomic uint64_t tail; /* client writes; store reads */
	uint8_t pad1[64 - 8];
	_Atomic uint32_t waiting; /* client writes; store reads, a hint */
	uint32_t pad2;
	_Atomic uint64_t want_logged; /* client writes; store reads, a hint */
	_Atomic uint64_t want_synced;
};
_Static_assert(offsetof(struct lt_lane_shared, tail) == 128, "lane tail");
_Static_assert(offsetof(struct lt_lane_shared, waiting) == 192, "lane wait");

/* Client side. */
struct lt_lane_writer {
	struct lt_lane_shared *shared;
	uint8_t *data;
	uint64_t size; /* power of two */
	uint64_t tail; /* private: written up to here */
	uint64_t published;
	uint64_t head; /* last seen */
};
/* Begin at position `tail` (head shown by the page for a new lane: 0). */
void lt_lane_writer_init(
    struct lt_lane_writer *w, const struct lt_segment *seg, uint64_t tail);
/*
 * Claim room for a payload of up to max_bytes (align(32+max) <= size / 2).
 * head is the page's lane_head (checked here: a head beyond tail is CORRUPT).
 * LEAT_OK and a pointer to the payload, LEAT_E_AGAIN: no room,
 * LEAT_E_TOOBIG: never fits this lane.
 */
int lt_lane_claim(struct lt_lane_writer *w, uint64_t head, uint32_t max_bytes,
    uint8_t **payload_out) LT_MUST_CHECK;
/* Complete the claimed record; visible to the store after lt_lane_publish. */
void lt_lane_put(struct lt_lane_writer *w, const struct lt_lane_rec *rec);
/* Release store of tail: everything put so far exists from here on. */
void lt_lane_publish(struct lt_lane_writer *w);

/* Store side. */
struct lt_lane_reader {
	struct lt_lane_shared *shared;
	const uint8_t *data;
	uint64_t size;
	uint64_t head; /* private */
	uint64_t tail; /* last seen and checked */
};
void lt_lane_reader_init(
    struct lt_lane_reader *r, const struct lt_segment *seg, uint64_t head);
/* Load tail. 1: there is something, 0: nothing, LEAT_E_CORRUPT: forged tail
 * (beyond head + size, behind head, or unaligned). */
int lt_lane_poll(struct lt_lane_reader *r) LT_MUST_CHECK;
/* Copy the next record's header; PADs are skipped. *payload points into the
 * lane: copy it before looking at it. LEAT_OK, LEAT_E_AGAIN: nothing more,
 * LEAT_E_CORRUPT: forged header. */
int lt_lane_peek(struct lt_lane_reader *r, struct lt_lane_rec *rec,
    const uint8_t **payload) LT_MUST_CHECK;
/* Step over the record peeked. */
void lt_lane_next(struct lt_lane_reader *r, const struct lt_lane_rec *rec);
/* valid: private indices within bounds and every record up to tail well
 * formed. LEAT_OK or LEAT_E_CORRUPT. For tests and post-mortems. */
int lt_lane_valid(const struct lt_lane_reader *r) LT_MUST_CHECK;

#endif
