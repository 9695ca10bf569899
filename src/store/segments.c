/*
 * segments.c - the files of the commit log: found, checked and mended at start,
 * and how old what they hold is.
 */
#include "config.h"
#include "store/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/record.h"
#include "store/extent.h"
#include "store/filler.h"

static int
by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct lt_segment *)a)->base;
	uint64_t y = ((const struct lt_segment *)b)->base;

	return x < y ? -1 : x > y;
}

int
lt_segments_prepare(struct lt_segments *s)
{
	return lt_mem_grow(
	    (void **)&s->row, &s->capacity, s->count, sizeof *s->row);
}

int
lt_segments_add(struct lt_segments *s, uint64_t base)
{
	int rc = lt_segments_prepare(s);

	if (rc == LEAT_OK)
		s->row[s->count++] = (struct lt_segment){.base = base};
	return rc;
}

/* Names of segments; what a crash left half made goes. */
static int
list_segments(struct lt_segments *s)
{
	uint64_t base;
	int rc = LEAT_OK;
	int fd = lt_sys.openat(s->dir, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;)
		if (lt_bytes_digits(e->d_name, LT_EXTENT_NAME - 1, &base) == 0)
			rc = lt_segments_add(s, base);
		else if (strncmp(e->d_name, "new-", 4) == 0 ||
			 strcmp(e->d_name, LT_FILLER_SPARE) == 0)
			lt_sys.unlinkat(s->dir, e->d_name, 0);
	closedir(d);
	if (s->count > 1)
		qsort(s->row, s->count, sizeof *s->row, by_base);
	return rc;
}

static int
size_of(struct lt_segments *s, uint64_t base, uint64_t *bytes_out)
{
	char name[LT_EXTENT_NAME];
	struct stat st;

	lt_extent_name(name, base);
	int fd = lt_sys.openat(s->dir, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys.fstat(fd, &st) == 0 ? LEAT_OK : lt_sys_status(errno);
	lt_sys.close(fd);
	*bytes_out = rc == LEAT_OK ? (uint64_t)st.st_size : 0;
	return rc;
}

/* The size of a segment: the largest file that fits between the names; if none
 * is of use, the configured one. */
static int
find_size(struct lt_segments *s, uint64_t *size_out)
{
	uint64_t gap = UINT64_MAX, bytes;

	*size_out = 0;
	for (size_t i = 1; i < s->count; i++)
		if (s->row[i].base - s->row[i - 1].base < gap)
			gap = s->row[i].base - s->row[i - 1].base;
	for (size_t i = 0; i < s->count; i++) {
		int rc = size_of(s, s->row[i].base, &bytes);
		if (rc != LEAT_OK)
			return rc;
		if (bytes <= gap && bytes > *size_out)
			*size_out = bytes;
	}
	if (*size_out < 2 * LT_RECORD_FIXED)
		*size_out = s->bytes;
	return LEAT_OK;
}

/* Something cut the file short: zeroes in place of what is gone, which the pass
 * over the log names as damage; what is before it can be read again. */
static int
mend_segment(struct lt_segments *s, const char *name, uint64_t size)
{
	int rc = LEAT_OK;
	int fd = lt_sys.openat(s->dir, name, O_RDWR | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.ftruncate(fd, (off_t)size) != 0)
		rc = lt_sys_status(errno);
	lt_sys.close(fd);
	return rc;
}

/* All files have one size; an empty last one is a crash's and goes. */
static int
check_segments(struct lt_segments *s)
{
	char name[LT_EXTENT_NAME];
	uint64_t bytes = 0;
	uint64_t size;
	int rc = find_size(s, &size);

	if (rc != LEAT_OK)
		return rc;
	for (size_t i = 0; i < s->count; i++) {
		uint64_t base = s->row[i].base;
		rc = size_of(s, base, &bytes);
		if (rc != LEAT_OK)
			return rc;
		lt_extent_name(name, base);
		if (bytes == 0 && i + 1 == s->count) {
			lt_sys.unlinkat(s->dir, name, 0);
			s->count--;
			break;
		}
		if (bytes > size || base > INT64_MAX - size ||
		    (i > 0 && base - s->row[i - 1].base < size)) {
			lt_log_error("segment.size",
			    "file=%s bytes=%" PRIu64 " expected=%" PRIu64, name,
			    bytes, size);
			return LEAT_E_CORRUPT;
		}
		if (bytes < size) {
			lt_log_warn("segment.short",
			    "file=%s bytes=%" PRIu64 " expected=%" PRIu64, name,
			    bytes, size);
			rc = mend_segment(s, name, size);
			if (rc != LEAT_OK)
				return rc;
		}
		if (i > 0 && base - s->row[i - 1].base > size)
			lt_log_warn("segment.missing", "before=%s", name);
	}
	if (s->count == 0)
		return LEAT_OK;
	if (size != s->bytes)
		lt_log_warn("segment.size_kept",
		    "bytes=%" PRIu64 " configured=%" PRIu64, size, s->bytes);
	s->bytes = size;
	return LEAT_OK;
}

int
lt_segments_open(struct lt_segments *s, int dir, uint64_t bytes)
{
	*s = (struct lt_segments){.dir = dir, .bytes = bytes};
	int rc = list_segments(s);
	return rc == LEAT_OK ? check_segments(s) : rc;
}

void
lt_segments_close(struct lt_segments *s)
{
	lt_mem_free(s->row);
}

void
lt_segments_shift(struct lt_segments *s)
{
	s->count--;
	memmove(&s->row[0], &s->row[1], s->count * sizeof s->row[0]);
}

/* --- age --------------------------------------------------------------- */

/* Store time of the record that a segment begins with; 0: none there. */
static int64_t
first_store_ms(int fd, uint64_t base)
{
	uint8_t p[80];

	if (lt_sys_read_full(fd, p, sizeof p, 0) != LEAT_OK)
		return 0;
	uint32_t magic = lt_bytes_get32(p + 4);
	if ((magic != LT_RECORD_V1 && magic != LT_RECORD_V2) ||
	    lt_bytes_get64(p + 28) != base)
		return 0;
	int is_v6 = (lt_bytes_get32(p + 36) & 0x10) != 0;
	return (int64_t)lt_bytes_get64(p + 56 + (is_v6 ? 12 : 0));
}

/* Fill in a segment's first_ms if it is not known, and tell its mtime. */
static int
look(struct lt_segments *s, size_t index, int64_t *mtime_ms_out)
{
	struct lt_segment *row = &s->row[index];
	char name[LT_EXTENT_NAME];
	struct stat st;

	lt_extent_name(name, row->base);
	int fd = lt_sys.openat(s->dir, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys.fstat(fd, &st) == 0 ? LEAT_OK : lt_sys_status(errno);
	if (rc == LEAT_OK && row->first_ms == 0)
		row->first_ms = first_store_ms(fd, row->base);
	lt_sys.close(fd);
	if (rc == LEAT_OK)
		*mtime_ms_out =
		    st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return rc;
}

int
lt_segments_at(
    struct lt_segments *s, size_t index, struct lt_commitlog_segment *out)
{
	int64_t mtime_ms = 0;
	int64_t next_ms = 0;

	if (index >= s->count)
		return LEAT_E_END;
	int rc = look(s, index, &mtime_ms);
	if (rc != LEAT_OK)
		return rc;
	*out = (struct lt_commitlog_segment){
	    .base = s->row[index].base,
	    .bytes = s->bytes,
	    .first_ms = s->row[index].first_ms,
	};
	if (index + 1 == s->count)
		return LEAT_OK;
	/* What comes next is not older than the last record here, and unlike
	 * the file's time it survives copying the store. */
	rc = look(s, index + 1, &next_ms);
	next_ms = s->row[index + 1].first_ms;
	out->last_ms = rc == LEAT_OK && next_ms != 0 ? next_ms : mtime_ms;
	return LEAT_OK;
}
