/*
 * segments.h - which files the commit log is made of: commitlog/OFFSET, all of
 * one size, in the order of their offsets. One thread calls it.
 */
#ifndef LEAT_STORE_SEGMENTS_H
#define LEAT_STORE_SEGMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "store/commitlog.h"

struct lt_segment {
	uint64_t base;
	int64_t first_ms; /* 0: not known yet */
};

struct lt_segments {
	int dir; /* commitlog/, the owner's */
	uint64_t bytes; /* of each */
	struct lt_segment *row;
	size_t count;
	size_t capacity;
};

/* List and check what is in `dir`; what a crash left half made goes, a file
 * that something cut short gets zeroes. `bytes` is the configured size, that of
 * the files found wins. CORRUPT: a file is longer, or two overlap. */
int lt_segments_open(
    struct lt_segments *s, int dir, uint64_t bytes) LT_MUST_CHECK;
void lt_segments_close(struct lt_segments *s);
/* Room for one more row, so that the next add cannot fail. */
int lt_segments_prepare(struct lt_segments *s) LT_MUST_CHECK;
int lt_segments_add(struct lt_segments *s, uint64_t base) LT_MUST_CHECK;
/* Forget the first row. */
void lt_segments_shift(struct lt_segments *s);
/* END: no such row. */
int lt_segments_at(struct lt_segments *s, size_t index,
    struct lt_commitlog_segment *out) LT_MUST_CHECK;

#endif
