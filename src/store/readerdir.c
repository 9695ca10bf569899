/*
 * readerdir.c - which segments of the log there are, by the names in its
 * directory: listed at open and at each refresh. What is still the same file
 * keeps its mapping.
 */
#include "config.h"
#include "store/readerdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define NAME_DIGITS 20

static int
by_base(const void *a, const void *b)
{
	const struct lt_readerdir_segment *x = a, *y = b;

	return (x->base > y->base) - (x->base < y->base);
}

int
lt_readerdir_file(
    const struct lt_reader *r, uint64_t base, int *fd_out, struct stat *st)
{
	char name[NAME_DIGITS + 1];
	int rc = LEAT_OK;

	snprintf(name, sizeof(name), "%020" PRIu64, base);
	*fd_out = lt_sys.openat(r->dir, name, O_RDONLY | O_CLOEXEC, 0);
	if (*fd_out < 0)
		return lt_sys_status(errno);
	if (lt_sys.fstat(*fd_out, st) != 0) {
		rc = lt_sys_status(errno);
		lt_sys.close(*fd_out);
		*fd_out = -1;
	}
	return rc;
}

void
lt_readerdir_unmap(struct lt_reader *r, struct lt_readerdir_segment *s)
{
	if (s->map == NULL)
		return;
	munmap((void *)(uintptr_t)s->map, r->bytes);
	s->map = NULL;
	r->maps--;
}

/* Names of the directory, without mappings. */
static int
list(struct lt_reader *r, struct lt_readerdir_segment **out, size_t *count_out)
{
	struct lt_readerdir_segment *all = NULL;
	size_t count = 0, capacity = 0;
	struct dirent *e;
	int rc = LEAT_OK;
	DIR *d;
	int fd = lt_sys.openat(r->dir, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	while (rc == LEAT_OK && (e = readdir(d)) != NULL) {
		uint64_t base;

		if (lt_bytes_digits(e->d_name, NAME_DIGITS, &base) != 0)
			continue;
		rc = lt_mem_grow((void **)&all, &capacity, count, sizeof(*all));
		if (rc == LEAT_OK)
			all[count++] =
			    (struct lt_readerdir_segment){.base = base};
	}
	closedir(d);
	if (rc != LEAT_OK) {
		lt_mem_free(all);
		return rc;
	}
	if (count > 1)
		qsort(all, count, sizeof(*all), by_base);
	*out = all;
	*count_out = count;
	return LEAT_OK;
}

/* The size of a segment: the largest file that fits between the names. */
static void
find_size(
    struct lt_reader *r, const struct lt_readerdir_segment *all, size_t count)
{
	uint64_t gap = UINT64_MAX;
	struct stat st;
	int fd;

	for (size_t i = 1; i < count; i++)
		if (all[i].base - all[i - 1].base < gap)
			gap = all[i].base - all[i - 1].base;
	for (size_t i = 0; i < count; i++) {
		if (lt_readerdir_file(r, all[i].base, &fd, &st) != LEAT_OK)
			continue;
		lt_sys.close(fd);
		if ((uint64_t)st.st_size <= gap &&
		    (uint64_t)st.st_size > r->bytes)
			r->bytes = (uint64_t)st.st_size;
	}
}

/* Keep segments of the one size, and those cut short, and their inodes. */
static int
look(struct lt_reader *r, struct lt_readerdir_segment *all, size_t *count)
{
	size_t kept = 0;

	if (r->bytes == 0)
		find_size(r, all, *count);
	for (size_t i = 0; i < *count; i++) {
		struct stat st;
		int fd;
		int rc = lt_readerdir_file(r, all[i].base, &fd, &st);

		if (rc == LEAT_E_NOTFOUND) /* recycled meanwhile */
			continue;
		if (rc != LEAT_OK)
			return rc;
		lt_sys.close(fd);
		if ((uint64_t)st.st_size != r->bytes && st.st_size != 0)
			lt_log_warn("segment.size",
			    "base=%" PRIu64 " bytes=%jd want=%" PRIu64,
			    all[i].base, (intmax_t)st.st_size, r->bytes);
		/* An empty last one is being made. */
		if ((uint64_t)st.st_size > r->bytes || r->bytes == 0 ||
		    (st.st_size == 0 && i + 1 == *count) ||
		    all[i].base > INT64_MAX - r->bytes)
			continue;
		all[kept] = all[i];
		all[kept++].ino = st.st_ino;
	}
	*count = kept;
	return LEAT_OK;
}

int
lt_reader_refresh(struct lt_reader *r)
{
	struct lt_readerdir_segment *all = NULL;
	size_t count = 0, j = 0;
	int rc = list(r, &all, &count);

	if (rc == LEAT_OK && r->count == 0)
		r->bytes = 0;
	if (rc == LEAT_OK) {
		rc = look(r, all, &count);
		if (rc != LEAT_OK)
			lt_mem_free(all);
	}
	if (rc != LEAT_OK)
		return rc;
	/* Keep the mappings of what is still the same file. */
	for (size_t i = 0; i < r->count; i++) {
		struct lt_readerdir_segment *s = &r->segments[i];

		while (j < count && all[j].base < s->base)
			j++;
		if (j < count && all[j].base == s->base && all[j].ino == s->ino)
			all[j] = *s;
		else
			lt_readerdir_unmap(r, s);
	}
	lt_mem_free(r->segments);
	r->segments = all;
	r->capacity = r->count = count;
	r->last = 0;
	return LEAT_OK;
}

int
lt_reader_open(int store_dir, struct lt_reader **out)
{
	struct lt_reader *r = lt_mem_alloc(sizeof(*r));
	int rc = LEAT_OK;

	if (r == NULL)
		return LEAT_E_NOMEM;
	r->dir = lt_sys.openat(
	    store_dir, "commitlog", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (r->dir < 0)
		rc = lt_sys_status(errno);
	else
		rc = lt_reader_refresh(r);
	if (rc != LEAT_OK) {
		lt_reader_close(r);
		return rc;
	}
	*out = r;
	return LEAT_OK;
}

void
lt_reader_close(struct lt_reader *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++)
		lt_readerdir_unmap(r, &r->segments[i]);
	lt_mem_free(r->segments);
	if (r->dir >= 0)
		lt_sys.close(r->dir);
	lt_mem_free(r);
}

uint64_t
lt_reader_min(const struct lt_reader *r)
{
	return r->count == 0 ? 0 : r->segments[0].base;
}

uint64_t
lt_reader_limit(const struct lt_reader *r)
{
	return r->count == 0 ? 0 : r->segments[r->count - 1].base + r->bytes;
}

uint64_t
lt_reader_segment_bytes(const struct lt_reader *r)
{
	return r->bytes;
}

size_t
lt_reader_count(const struct lt_reader *r)
{
	return r->count;
}

uint64_t
lt_reader_damage_at(const struct lt_reader *r)
{
	return r->damage_at;
}
