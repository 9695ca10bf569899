/*
 * extent.h - one segment file of the commit log, which a writer appends to
 * while a filler writes zeroes ahead of it. The protocol between the two is
 * described in extent.c. Private to the commit log (commitlog.c, filler.c).
 */
#ifndef LT_STORE_EXTENT_H
#define LT_STORE_EXTENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_EXTENT_NAME 21 /* 20 digits and NUL */

struct lt_extent {
	uint64_t base; /* log offset of its first byte */
	uint64_t bytes; /* size of the file */
	int fd; /* the writer's */
	int fill_fd; /* the filler's own open file, or -1 */
	int sync_fd; /* the background sync's own, or -1 */
	atomic_uint refs;
	/* The filler never writes below this again. Written under lock, read
	 * by the writer without. */
	atomic_uint_least64_t filled;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint64_t busy_end; /* lock: [filled, busy_end) is being zeroed; or 0 */
	unsigned waiting; /* lock: the writer waits to claim */
	uint64_t reserved; /* lock: blocks below are allocated */
};

/* Name of the segment that begins at this log offset. */
void lt_extent_name(char out[LT_EXTENT_NAME], uint64_t base);

/* Make a file of zeroes (sparse) under `name`, which must not exist, or open
 * one that is there. filled: what the filler leaves alone. *out has one
 * reference. LEAT_OK, NOSPACE, NOMEM, CORRUPT (size differs), others. */
int lt_extent_create(int dir, const char *name, uint64_t base, uint64_t bytes,
    struct lt_extent **out) LT_MUST_CHECK;
int lt_extent_open(int dir, const char *name, uint64_t base, uint64_t bytes,
    uint64_t filled, struct lt_extent **out) LT_MUST_CHECK;
struct lt_extent *lt_extent_ref(struct lt_extent *e);
/* NULL is allowed; the last reference closes the file. */
void lt_extent_unref(struct lt_extent *e);

/* Writer: from now on bytes below `to` are its own; waits for a chunk of
 * zeroes on its way. Allocates blocks where the filler has not been: NOSPACE,
 * IO. */
int lt_extent_claim(struct lt_extent *e, uint64_t to) LT_MUST_CHECK;
/* Writer: have blocks for everything below `to`, so that writing there cannot
 * meet a full disk. *reserved_out: blocks are there up to here. NOSPACE, IO. */
int lt_extent_reserve(
    struct lt_extent *e, uint64_t to, uint64_t *reserved_out) LT_MUST_CHECK;
/* Writer: claim, then write. *done_out: bytes of buf known to be written, also
 * on failure. LEAT_OK, NOSPACE, IO. */
int lt_extent_write(struct lt_extent *e, const void *buf, size_t bytes,
    uint64_t at, size_t *done_out) LT_MUST_CHECK;
/* Filler: zero the next chunk below `to`, at most chunk bytes. *done_out: 0
 * when there is nothing left. LEAT_OK, NOSPACE, IO. */
int lt_extent_fill(struct lt_extent *e, uint64_t to, uint64_t chunk,
    uint64_t *done_out) LT_MUST_CHECK;
/* fdatasync on an open file of its own: the filler's, and that of whoever syncs
 * behind the writer's back. LEAT_OK or IO. */
int lt_extent_fill_sync(struct lt_extent *e) LT_MUST_CHECK;
int lt_extent_back_sync(struct lt_extent *e) LT_MUST_CHECK;
/* No filler may be at work. Everything from `from` on becomes zeroes and the
 * filler begins there. */
int lt_extent_clear(struct lt_extent *e, uint64_t from) LT_MUST_CHECK;

#endif
