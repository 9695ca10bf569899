/*
 * reader.c - the commit log through read-only mappings of its segments.
 *
 * A position holds a record if the bytes there have a record's structure,
 * carry that very position as their own, and their checksum holds; nothing
 * else is believed. Behind bytes that are no record the next one is found by
 * its magic and the same three conditions. Holes of the file are passed over
 * by lseek(SEEK_DATA), so a mostly unwritten segment costs nothing.
 *
 * Bytes are asked for before they are looked at (MADV_POPULATE_READ, 64 KiB at
 * a time): a page that cannot be had is a status, not a SIGBUS. On a full tmpfs
 * that is every hole, because there even reading one takes memory.
 *
 * A reader belongs to one thread. It never writes, and never looks beyond a
 * segment's size at the time of mapping (segments do not shrink: the writer
 * replaces them by rename).
 */
#include "config.h"
#include "store/readerdir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define MAPS_MAX 64
#define AHEAD 65536 /* of a segment's bytes: had at once */
#define MAGIC_FIRST 0xDA /* byte 0 of V1 and V2 */
#define MAGIC_AT 4

/* Index of the first segment with a base above the offset. */
static size_t
above(const struct lt_reader *r, uint64_t log_offset)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->segments[mid].base <= log_offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t
lt_reader_next_segment(const struct lt_reader *r, uint64_t log_offset)
{
	size_t i = above(r, log_offset);

	return i < r->count ? r->segments[i].base : lt_reader_limit(r);
}

int
lt_reader_segment(
    const struct lt_reader *r, uint64_t log_offset, uint64_t *base_out)
{
	size_t i = above(r, log_offset);

	if (i == 0 || log_offset - r->segments[i - 1].base >= r->bytes)
		return LEAT_E_NOTFOUND;
	*base_out = r->segments[i - 1].base;
	return LEAT_OK;
}

static inline int
holds(const struct lt_reader *r, size_t i, uint64_t log_offset)
{
	return i < r->count && log_offset - r->segments[i].base < r->bytes;
}

static struct lt_readerdir_segment *
find(struct lt_reader *r, uint64_t log_offset)
{
	size_t i;

	if (LT_LIKELY(holds(r, r->last, log_offset)))
		return &r->segments[r->last];
	i = above(r, log_offset);
	if (i == 0 || !holds(r, i - 1, log_offset))
		return NULL;
	r->last = i - 1;
	return &r->segments[i - 1];
}

/* A file that was cut short has zeroes in place of what is gone. */
static int
map_file(const struct lt_reader *r, int fd, uint64_t bytes, void **out)
{
	void *p, *front;

	if (bytes == r->bytes) {
		*out = lt_sys.mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
		return *out == MAP_FAILED ? lt_sys_status(errno) : LEAT_OK;
	}
	p = lt_sys.mmap(NULL, r->bytes, PROT_READ,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return lt_sys_status(errno);
	*out = p;
	if (bytes == 0)
		return LEAT_OK;
	front = lt_sys.mmap(p, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	if (front == MAP_FAILED) {
		int rc = lt_sys_status(errno);

		munmap(p, r->bytes);
		return rc;
	}
	return LEAT_OK;
}

static int
map(struct lt_reader *r, struct lt_readerdir_segment *s)
{
	struct lt_readerdir_segment *oldest = NULL;
	struct stat st;
	void *p = NULL;
	int fd, rc;

	s->used = ++r->tick;
	if (LT_LIKELY(s->map != NULL))
		return LEAT_OK;
	for (size_t i = 0; r->maps >= MAPS_MAX && i < r->count; i++)
		if (r->segments[i].map != NULL &&
		    (oldest == NULL || r->segments[i].used < oldest->used))
			oldest = &r->segments[i];
	if (oldest != NULL)
		lt_readerdir_unmap(r, oldest);
	rc = lt_readerdir_file(r, s->base, &fd, &st);
	if (rc != LEAT_OK)
		return rc;
	if ((uint64_t)st.st_size > r->bytes)
		rc = LEAT_E_CORRUPT;
	else
		rc = map_file(r, fd, (uint64_t)st.st_size, &p);
	lt_sys.close(fd);
	if (rc != LEAT_OK)
		return rc;
	s->map = p;
	s->had_from = s->had_to = 0;
	s->ino = st.st_ino;
	r->maps++;
	return LEAT_OK;
}

/* 1 if the mapped file is no longer the segment of that name. */
static int
is_gone(struct lt_reader *r, struct lt_readerdir_segment *s)
{
	struct stat st;
	int fd;

	int rc = lt_readerdir_file(r, s->base, &fd, &st);

	if (rc != LEAT_OK)
		return rc == LEAT_E_NOTFOUND;
	lt_sys.close(fd);
	return st.st_ino != s->ino;
}

/* --- records -------------------------------------------------------------- */

/* Have the pages of [at, at + bytes) of a segment. LEAT_OK; END: a part of them
 * is a hole of the file, so zeroes; IO. */
static int
have_pages(struct lt_reader *r, struct lt_readerdir_segment *s, size_t at,
    size_t bytes)
{
	size_t from = at - at % AHEAD;
	size_t to = at + bytes + AHEAD - 1;
	struct stat st;
	off_t hole;
	int fd, rc;

	to = to - to % AHEAD < r->bytes ? to - to % AHEAD : r->bytes;
	if (!lt_sys_is_there(s->map + from, to - from)) {
		from = at;
		to = at + bytes;
		if (!lt_sys_is_there(s->map + from, bytes))
			goto absent;
	}
	if (from > s->had_to || to < s->had_from)
		s->had_from = s->had_to = from;
	s->had_from = from < s->had_from ? from : s->had_from;
	s->had_to = to > s->had_to ? to : s->had_to;
	return LEAT_OK;
absent:
	rc = lt_readerdir_file(r, s->base, &fd, &st);
	if (rc != LEAT_OK)
		return rc;
	hole = lseek(fd, (off_t)at, SEEK_HOLE);
	lt_sys.close(fd);
	return hole >= 0 && (size_t)hole < at + bytes ? LEAT_E_END : LEAT_E_IO;
}

static inline int
have(struct lt_reader *r, struct lt_readerdir_segment *s, size_t at,
    size_t bytes)
{
	if (LT_LIKELY(at >= s->had_from && at + bytes <= s->had_to))
		return LEAT_OK;
	return have_pages(r, s, at, bytes);
}

/* What begins with byte `at` of a mapped segment. */
static inline int
classify(struct lt_reader *r, struct lt_readerdir_segment *s, size_t at,
    struct lt_record_view *view)
{
	const uint8_t *p = s->map + at;
	size_t bytes = r->bytes - at;
	uint32_t size;
	int rc;

	if (LT_UNLIKELY(bytes < LT_RECORD_BLANK_BYTES))
		return LEAT_E_AGAIN; /* no room even for a BLANK */
	rc = have(r, s, at, LT_RECORD_BLANK_BYTES);
	if (LT_UNLIKELY(rc != LEAT_OK))
		return rc;
	size = lt_bytes_get32(p);
	if (LT_LIKELY(size <= bytes &&
		      lt_bytes_get32(p + MAGIC_AT) != LT_RECORD_BLANK)) {
		rc = have(r, s, at, size);
		if (LT_UNLIKELY(rc != LEAT_OK))
			return rc == LEAT_E_END ? LEAT_E_CORRUPT : rc;
	}
	rc = lt_record_parse(p, bytes, view);
	if (LT_LIKELY(rc == LEAT_OK)) {
		if (LT_UNLIKELY((uint64_t)view->log_offset != s->base + at))
			return LEAT_E_CORRUPT;
		return lt_record_check(view);
	}
	if (rc == LEAT_E_END)
		return view->bytes == bytes ? LEAT_E_AGAIN : LEAT_E_CORRUPT;
	return lt_bytes_get64(p) == 0 ? LEAT_E_END : LEAT_E_CORRUPT;
}

/* The mapped segment that holds log_offset. */
static int
lookup(
    struct lt_reader *r, uint64_t log_offset, struct lt_readerdir_segment **out)
{
	struct lt_readerdir_segment *s = find(r, log_offset);

	if (s == NULL && log_offset >= lt_reader_limit(r)) {
		int rc = lt_reader_refresh(r);
		if (rc != LEAT_OK)
			return rc;
		s = find(r, log_offset);
	}
	if (s == NULL)
		return LEAT_E_NOTFOUND;
	*out = s;
	return map(r, s);
}

int
lt_reader_bytes(struct lt_reader *r, uint64_t log_offset, const uint8_t **p_out,
    size_t *bytes_out)
{
	struct lt_readerdir_segment *s = NULL;
	int rc = lookup(r, log_offset, &s);

	if (rc != LEAT_OK)
		return rc;
	*p_out = s->map + (log_offset - s->base);
	*bytes_out = r->bytes - (log_offset - s->base);
	return LEAT_OK;
}

size_t
lt_reader_there(struct lt_reader *r, uint64_t log_offset, size_t bytes)
{
	struct lt_readerdir_segment *s = NULL;
	size_t at, n = 0;

	if (lookup(r, log_offset, &s) != LEAT_OK)
		return 0;
	at = log_offset - s->base;
	while (
	    n < bytes && n < r->bytes - at && have(r, s, at + n, 1) == LEAT_OK)
		n = s->had_to - at;
	n = n < bytes ? n : bytes;
	return n < r->bytes - at ? n : r->bytes - at;
}

int
lt_reader_get(
    struct lt_reader *r, uint64_t log_offset, struct lt_record_view *view)
{
	struct lt_readerdir_segment *s = NULL;
	int rc = lookup(r, log_offset, &s);

	if (LT_UNLIKELY(rc != LEAT_OK))
		return rc;
	rc = classify(r, s, log_offset - s->base, view);
	if (LT_UNLIKELY(rc != LEAT_OK) && is_gone(r, s)) {
		lt_readerdir_unmap(r, s);
		return LEAT_E_NOTFOUND;
	}
	return rc;
}

int
lt_reader_copy(struct lt_reader *r, uint64_t log_offset, uint32_t bytes,
    void *dst, struct lt_record_view *view)
{
	struct lt_readerdir_segment *s = NULL;
	int rc = lookup(r, log_offset, &s);
	size_t at;

	if (rc != LEAT_OK)
		return rc;
	at = log_offset - s->base;
	if (bytes > r->bytes - at)
		return LEAT_E_CORRUPT;
	rc = have(r, s, at, bytes);
	if (rc == LEAT_OK) {
		memcpy(dst, s->map + at, bytes);
		rc = lt_record_parse(dst, bytes, view);
	}
	if (rc == LEAT_OK && view->bytes == bytes &&
	    (uint64_t)view->log_offset == log_offset)
		rc = lt_record_check(view);
	else if (rc != LEAT_E_IO)
		rc = LEAT_E_CORRUPT;
	if (rc != LEAT_OK && is_gone(r, s)) {
		lt_readerdir_unmap(r, s);
		return LEAT_E_NOTFOUND;
	}
	return rc;
}

uint64_t
lt_reader_end(struct lt_reader *r, uint64_t log_offset)
{
	struct lt_record_view view;

	while (log_offset < lt_reader_limit(r) &&
	       lt_reader_get(r, log_offset, &view) == LEAT_E_AGAIN)
		log_offset = lt_reader_next_segment(r, log_offset);
	return log_offset;
}

/* --- behind damage -------------------------------------------------------- */

/* Magic numbers in [from, to) of a segment's bytes: the first that begins a
 * valid record. *found_out is the record's start. */
static int
search_bytes(struct lt_reader *r, struct lt_readerdir_segment *s, size_t from,
    size_t to, size_t *found_out, struct lt_record_view *view)
{
	const uint8_t *base = s->map;
	const uint8_t *p = base + from;

	while (p < base + to) {
		size_t at;

		p = memchr(p, MAGIC_FIRST, (size_t)(base + to - p));
		if (p == NULL)
			break;
		at = (size_t)(p++ - base) - MAGIC_AT;
		if (r->bytes - at < LT_RECORD_FIXED)
			break;
		if (have(r, s, at, LT_RECORD_FIXED) == LEAT_OK &&
		    lt_bytes_get64(base + at + 28) == s->base + at &&
		    classify(r, s, at, view) == LEAT_OK) {
			*found_out = at;
			return LEAT_OK;
		}
	}
	return LEAT_E_END;
}

/* The first valid record in [from, to) of segment s. */
static int
search(struct lt_reader *r, struct lt_readerdir_segment *s, size_t from,
    size_t to, size_t *found_out, struct lt_record_view *view)
{
	size_t at = from + MAGIC_AT;
	struct stat st;
	int fd;
	int rc = lt_readerdir_file(r, s->base, &fd, &st);

	if (rc != LEAT_OK)
		return rc;
	rc = LEAT_E_END;
	to = to + MAGIC_AT < r->bytes ? to + MAGIC_AT : r->bytes;
	while (rc == LEAT_E_END && at < to) {
		size_t stop = to;
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		off_t hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data > 0 && (size_t)data > at)
			at = (size_t)data;
		hole = data < 0 ? -1 : lseek(fd, (off_t)at, SEEK_HOLE);
		if (hole > 0 && (size_t)hole < to)
			stop = (size_t)hole;
		if (stop - at > AHEAD)
			stop = at + AHEAD;
		if (at < stop) {
			rc = have(r, s, at, stop - at);
			if (rc == LEAT_OK)
				rc = search_bytes(
				    r, s, at, stop, found_out, view);
		}
		at = stop;
	}
	lt_sys.close(fd);
	return rc;
}

int
lt_reader_next(struct lt_reader *r, uint64_t from, uint64_t limit,
    struct lt_record_view *view, uint64_t *damaged_out)
{
	uint64_t damaged = 0;
	uint64_t pos = from;

	*damaged_out = 0;
	while (pos < limit) {
		struct lt_readerdir_segment *s = find(r, pos);
		uint64_t next;
		size_t at, to;
		int rc;

		if (LT_UNLIKELY(s == NULL)) {
			next = lt_reader_next_segment(r, pos);
			if (next <= pos)
				break;
			goto damage;
		}
		rc = map(r, s);
		if (LT_UNLIKELY(rc != LEAT_OK))
			return rc;
		at = pos - s->base;
		rc = classify(r, s, at, view);
		if (LT_LIKELY(rc == LEAT_OK)) {
			*damaged_out = damaged;
			return LEAT_OK;
		}
		if (rc == LEAT_E_IO)
			return rc;
		next = s->base + r->bytes;
		if (rc == LEAT_E_AGAIN) {
			pos = next;
			continue;
		}
		to = limit - s->base < r->bytes ? limit - s->base : r->bytes;
		rc = search(r, s, at + 1, to, &at, view);
		if (rc == LEAT_OK)
			next = s->base + at;
		else if (rc != LEAT_E_END)
			return rc;
	damage:
		if (damaged == 0)
			r->damage_at = pos;
		damaged += next - pos;
		pos = next;
	}
	return LEAT_E_END;
}
