/*
 * page.h - the session page (store writes, client reads, sealed) and the
 * beacon (one per store incarnation: store writes, everybody reads).
 *
 * Page: lane head; sequences accepted, logged, synced; the doorbell; and a
 * ring of completions, entry seq & (entries - 1), stored before the counter
 * that covers it. A client keeps at most `entries` sequences without a
 * collected receipt; one that does not loses its own receipts only.
 */
#ifndef LT_SHM_PAGE_H
#define LT_SHM_PAGE_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/segment.h"

struct lt_page_done { /* one completion */
	uint64_t seq;
	int64_t log_offset; /* -1: not known any more */
	int64_t queue_offset; /* -1: not known */
	int32_t status; /* enum leat_status */
	uint32_t store_ms_low; /* low half of the store time */
};
_Static_assert(sizeof(struct lt_page_done) == 32, "completion");

struct lt_page_shared {
	struct lt_segment_head head; /* extra[0]: completion entries */
	uint8_t pad0[128 - sizeof(struct lt_segment_head)];
	_Atomic uint64_t lane_head; /* store: everything below is copied out */
	uint8_t pad1[64 - 8];
	_Atomic uint64_t
	    accepted; /* store: last sequence taken from the lane */
	_Atomic uint64_t logged; /* store: last sequence completed */
	_Atomic uint64_t synced; /* store: last sequence durable */
	_Atomic int64_t store_ms; /* store: time of the last completion */
	uint8_t pad2[64 - 32];
	_Atomic uint32_t doorbell; /* store adds 1, then wakes; futex word */
	uint8_t pad3[64 - 4];
};
_Static_assert(offsetof(struct lt_page_shared, lane_head) == 128, "page");
_Static_assert(offsetof(struct lt_page_shared, doorbell) == 256, "page bell");

enum {
	LT_BEACON_DISK_FULL = 1,
	LT_BEACON_STOPPING = 2
};

struct lt_beacon_shared {
	struct lt_segment_head head; /* generation: of the store */
	uint8_t pad0[128 - sizeof(struct lt_segment_head)];
	_Atomic uint32_t sleeping; /* store: 1 before it looks a last time and
				      sleeps; publishers then ring */
	_Atomic uint32_t flags;
	uint8_t pad1[64 - 8];
	_Atomic uint64_t log_end;
	_Atomic uint64_t log_synced;
};

/* Entries of a page for a lane of this size (a record takes >= 128 bytes). */
static inline uint64_t
lt_page_entries(uint64_t lane_bytes)
{
	return lane_bytes / 128;
}
static inline struct lt_page_done *
lt_page_entry(void *page, uint64_t entries, uint64_t seq)
{
	return (struct lt_page_done *)((char *)page + LT_SEGMENT_DATA_AT) +
	       (seq & (entries - 1));
}

#endif
