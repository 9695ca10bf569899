/*
 * arrival.h - when a record came, by the clock that nobody sets. Its store time
 * is the wall clock's; now and then the log's end and both clocks are noted, so
 * a record lies between two notes. If the clocks ran alike between these, its
 * store time is right to the millisecond; if the wall clock was set meanwhile,
 * the later note's time counts: never too early, and at most the time between
 * two notes too late. Records older than the first note (of a process before
 * this one) are believed. One thread.
 */
#ifndef LT_QUEUE_ARRIVAL_H
#define LT_QUEUE_ARRIVAL_H

#include <stddef.h>
#include <stdint.h>

#define LT_ARRIVAL_NOTES 4096

struct lt_arrival_note {
	uint64_t log_end;
	int64_t mono_ms;
	int64_t ahead_ms; /* wall clock minus monotonic clock */
};
/* A ring; all zero and every_ms set: ready. */
struct lt_arrivals {
	struct lt_arrival_note notes[LT_ARRIVAL_NOTES];
	uint64_t count; /* ever made */
	int64_t every_ms; /* at least so long between two notes */
};
/* Note the present, if it is time to. */
void lt_arrival_look(struct lt_arrivals *a, uint64_t log_end);
/* When the next note is due, by the monotonic clock. */
int64_t lt_arrival_next_ms(const struct lt_arrivals *a);
/* The monotonic time at which the record at log_offset (below log_end, which
 * is the present one) was there; negative: before this machine's start. */
int64_t lt_arrival_of(const struct lt_arrivals *a, uint64_t log_end,
    uint64_t log_offset, int64_t store_ms);

#endif
