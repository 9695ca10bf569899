/*
 * indexfile.c - index files on the disk, and what an unclean stop does to them.
 *
 * DIR/store/index/checkpoint holds, for a moment when all files were on the
 * disk, how far the log was indexed, the newest file and its header; and
 * whether anything was written since. If so, newer files go and the newest one
 * of the checkpoint is brought back: its entries below the recorded count are
 * as they were (entries are never changed), slots and links are made again
 * from them.
 *
 * Files are sparse and mapped. Pages are allocated before they are written to
 * through the mapping, so that a full disk is a status here and not a signal.
 * The layout is in keyindex.c. One thread.
 */
#include "config.h"
#include "queue/indexfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define DIRECTORY "index"
#define CHECKPOINT DIRECTORY "/checkpoint"
#define RESERVE_STEP (1u << 20)
#define MARK_MAGIC 0x4c544b49u
#define MARK_BYTES 80

/* --- files --------------------------------------------------------------- */

static void
file_name(char out[32], uint64_t name)
{
	snprintf(out, 32, "%017" PRIu64, name);
}

void
lt_indexfile_release(struct lt_indexfile *f)
{
	if (f->map != NULL)
		munmap(f->map, LT_INDEXFILE_BYTES);
	if (f->fd >= 0)
		lt_sys.close(f->fd);
	f->map = NULL;
	f->fd = -1;
}

int
lt_indexfile_map(struct lt_keyindex *ix, struct lt_indexfile *f, int writable)
{
	char name[32];
	struct stat st;

	if (f->map != NULL && f->writable >= writable)
		return LEAT_OK;
	lt_indexfile_release(f);
	file_name(name, f->name);
	f->fd = lt_sys.openat(
	    ix->dir, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
	if (f->fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.fstat(f->fd, &st) != 0)
		return lt_sys_status(errno);
	if ((uint64_t)st.st_size != LT_INDEXFILE_BYTES)
		return LEAT_E_CORRUPT;
	void *p = lt_sys.mmap(NULL, LT_INDEXFILE_BYTES,
	    PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED)
		return lt_sys_status(errno);
	f->map = p;
	f->writable = writable;
	return LEAT_OK;
}

void
lt_indexfile_delete(struct lt_keyindex *ix, size_t i)
{
	char name[32];

	file_name(name, ix->files[i].name);
	lt_indexfile_release(&ix->files[i]);
	lt_sys.unlinkat(ix->dir, name, 0);
	ix->count--;
	memmove(&ix->files[i], &ix->files[i + 1],
	    (ix->count - i) * sizeof ix->files[0]);
}

static int
add_file(struct lt_keyindex *ix, uint64_t name)
{
	int rc = lt_mem_grow(
	    (void **)&ix->files, &ix->capacity, ix->count, sizeof *ix->files);
	if (rc != LEAT_OK)
		return rc;
	size_t i = ix->count++;
	for (; i > 0 && ix->files[i - 1].name > name; i--)
		ix->files[i] = ix->files[i - 1];
	ix->files[i] = (struct lt_indexfile){.name = name, .fd = -1};
	return LEAT_OK;
}

static int
list_files(struct lt_keyindex *ix)
{
	uint64_t name;
	int rc = LEAT_OK;
	int fd =
	    lt_sys.openat(ix->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;)
		if (lt_bytes_digits(e->d_name, 17, &name) == 0)
			rc = add_file(ix, name);
	closedir(d);
	return rc;
}

static int
allocate(struct lt_indexfile *f, uint64_t from, uint64_t bytes)
{
	if (lt_sys.fallocate(f->fd, 0, (off_t)from, (off_t)bytes) == 0 ||
	    errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
		return LEAT_OK;
	return lt_sys_status(errno);
}

/* Have blocks for a slot of the last file, and for an entry. */
int
lt_indexfile_reserve_slot(
    struct lt_keyindex *ix, struct lt_indexfile *f, uint64_t at)
{
	uint64_t page = at / LT_INDEXFILE_PAGE;
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (ix->slot_pages[page / 8] & bit)
		return LEAT_OK;
	int rc = allocate(f, page * LT_INDEXFILE_PAGE, LT_INDEXFILE_PAGE);
	if (rc == LEAT_OK)
		ix->slot_pages[page / 8] |= bit;
	return rc;
}

int
lt_indexfile_reserve_entry(
    struct lt_keyindex *ix, struct lt_indexfile *f, uint64_t at)
{
	if (at + LT_INDEXFILE_ENTRY <= ix->reserved)
		return LEAT_OK;
	uint64_t from = at / LT_INDEXFILE_PAGE * LT_INDEXFILE_PAGE;
	uint64_t to = from + RESERVE_STEP;
	if (to > LT_INDEXFILE_BYTES)
		to = LT_INDEXFILE_BYTES;
	int rc = allocate(f, from, to - from);
	if (rc == LEAT_OK)
		ix->reserved = to;
	return rc;
}

void
lt_indexfile_forget_reserved(struct lt_keyindex *ix)
{
	ix->reserved = 0;
	memset(ix->slot_pages, 0, sizeof ix->slot_pages);
}

/* --- checkpoint ---------------------------------------------------------- */

struct mark {
	int clean;
	int sealed; /* the newest file is full: nothing of it changes */
	uint64_t end;
	uint64_t file; /* 0: no file */
	uint8_t head[LT_INDEXFILE_HEAD];
};

/* Write what is true now: all files are on the disk up to their counts. */
static int
write_mark(struct lt_keyindex *ix, int clean, int sealed)
{
	uint8_t p[MARK_BYTES] = {0};

	lt_bytes_put32(p, MARK_MAGIC);
	lt_bytes_put32(p + 4, 1);
	lt_bytes_put32(p + 8, (uint32_t)clean);
	lt_bytes_put32(p + 12, (uint32_t)sealed);
	lt_bytes_put64(p + 16, ix->end);
	if (ix->count > 0) {
		struct lt_indexfile *f = &ix->files[ix->count - 1];
		int rc = lt_indexfile_map(ix, f, 0);
		if (rc != LEAT_OK)
			return rc;
		lt_bytes_put64(p + 24, f->name);
		memcpy(p + 32, f->map, LT_INDEXFILE_HEAD);
	}
	lt_bytes_put32(p + MARK_BYTES - 4, lt_crc32(0, p, MARK_BYTES - 4));
	return lt_sys_replace_file(ix->store_dir, CHECKPOINT, p, MARK_BYTES);
}

static int
read_mark(struct lt_keyindex *ix, struct mark *out)
{
	uint8_t p[MARK_BYTES];
	int fd =
	    lt_sys.openat(ix->store_dir, CHECKPOINT, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return LEAT_E_NOTFOUND;
	int rc = lt_sys_read_full(fd, p, sizeof p, 0);
	lt_sys.close(fd);
	if (rc != LEAT_OK || lt_bytes_get32(p) != MARK_MAGIC ||
	    lt_bytes_get32(p + 4) != 1 ||
	    lt_bytes_get32(p + MARK_BYTES - 4) !=
		lt_crc32(0, p, MARK_BYTES - 4))
		return LEAT_E_CORRUPT;
	out->clean = lt_bytes_get32(p + 8) != 0;
	out->sealed = lt_bytes_get32(p + 12) != 0;
	out->end = lt_bytes_get64(p + 16);
	out->file = lt_bytes_get64(p + 24);
	memcpy(out->head, p + 32, LT_INDEXFILE_HEAD);
	return LEAT_OK;
}

int
lt_indexfile_checkpoint(struct lt_keyindex *ix, int clean, int sealed)
{
	if (ix->count > 0 && ix->files[ix->count - 1].writable) {
		struct lt_indexfile *f = &ix->files[ix->count - 1];
		if (lt_sys.fdatasync(f->fd) != 0 ||
		    lt_sys.fsync(ix->dir) != 0) {
			lt_log_error("index.sync", "errno=%d", errno);
			ix->failed = 1; /* what the disk has is not known */
			return LEAT_E_IO;
		}
	}
	int rc = write_mark(ix, clean, sealed);
	if (rc == LEAT_OK) {
		ix->since_mark = 0;
		ix->marked = !clean;
	}
	return rc;
}

/* Make slots and links of entries [1, count) again. */
static int
bring_back(struct lt_keyindex *ix, struct lt_indexfile *f, const uint8_t *head)
{
	uint32_t count = lt_bytes_get32(head + 36);
	uint32_t used = 0;
	int rc = lt_indexfile_map(ix, f, 1);

	if (rc != LEAT_OK)
		return rc;
	if (count < 1 || count > LT_INDEXFILE_ENTRIES)
		return LEAT_E_CORRUPT;
	lt_indexfile_forget_reserved(ix);
	if (lt_sys.fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		LT_INDEXFILE_HEAD,
		LT_INDEXFILE_ENTRIES_AT - LT_INDEXFILE_HEAD) != 0) {
		rc = allocate(f, 0, LT_INDEXFILE_ENTRIES_AT);
		if (rc != LEAT_OK)
			return rc;
		memset(f->map + LT_INDEXFILE_HEAD, 0,
		    LT_INDEXFILE_ENTRIES_AT - LT_INDEXFILE_HEAD);
	}
	for (uint32_t i = 1; i < count; i++) {
		uint8_t *e = f->map + LT_INDEXFILE_ENTRIES_AT +
			     (uint64_t)i * LT_INDEXFILE_ENTRY;
		uint64_t at =
		    LT_INDEXFILE_HEAD +
		    (uint64_t)(lt_bytes_get32(e) % LT_INDEXFILE_SLOTS) * 4;
		rc = lt_indexfile_reserve_slot(ix, f, at);
		if (rc != LEAT_OK)
			return rc;
		uint32_t before = lt_bytes_get32(f->map + at);
		used += before == 0;
		lt_bytes_put32(e + 16, before);
		lt_bytes_put32(f->map + at, i);
	}
	memcpy(f->map, head, LT_INDEXFILE_HEAD);
	lt_bytes_put32(f->map + 32, used);
	return LEAT_OK;
}

/* CORRUPT: one was cut short, and it is not known what it had. */
static int
map_all(struct lt_keyindex *ix)
{
	int rc = LEAT_OK;

	for (size_t i = 0; rc == LEAT_OK && i < ix->count; i++)
		rc = lt_indexfile_map(ix, &ix->files[i], 0);
	return rc;
}

static void
start_anew(struct lt_keyindex *ix)
{
	while (ix->count > 0)
		lt_indexfile_delete(ix, ix->count - 1);
	ix->end = 0;
}

/* What is there, as far as it can be trusted. */
int
lt_indexfile_load(struct lt_keyindex *ix)
{
	struct mark mark = {0};

	if (ix->loaded)
		return LEAT_OK;
	if (ix->dir < 0)
		ix->dir = lt_sys.openat(ix->store_dir, DIRECTORY,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (ix->dir < 0 && errno != ENOENT)
		return lt_sys_status(errno);
	int rc = LEAT_OK;
	ix->count = 0;
	ix->end = 0;
	if (ix->dir >= 0)
		rc = list_files(ix);
	if (rc != LEAT_OK)
		return rc;
	if (read_mark(ix, &mark) != LEAT_OK)
		start_anew(ix);
	while (ix->count > 0 && ix->files[ix->count - 1].name > mark.file)
		lt_indexfile_delete(ix, ix->count - 1);
	if (ix->count > 0 && ix->files[ix->count - 1].name == mark.file) {
		struct lt_indexfile *f = &ix->files[ix->count - 1];
		rc = map_all(ix);
		if (rc == LEAT_OK &&
		    ((!mark.clean && !mark.sealed) ||
			memcmp(f->map, mark.head, LT_INDEXFILE_HEAD) != 0))
			rc = bring_back(ix, f, mark.head);
		ix->end = mark.end;
	} else if (mark.file == 0)
		ix->end = mark.end; /* nothing had a key so far */
	else
		rc = LEAT_E_CORRUPT; /* its newest file is missing */
	if (rc == LEAT_E_CORRUPT || rc == LEAT_E_NOTFOUND) {
		start_anew(ix);
		rc = LEAT_OK;
	}
	ix->loaded = rc == LEAT_OK;
	ix->first_step = 1;
	return rc;
}

/* Local time as digits, later than any file there is. */
static uint64_t
new_name(const struct lt_keyindex *ix)
{
	int64_t ms = lt_clock_wall_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char digits[96];

	localtime_r(&s, &tm);
	snprintf(digits, sizeof digits, "%04d%02d%02d%02d%02d%02d%03d",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(ms % 1000));
	uint64_t name = strtoull(digits, NULL, 10);
	uint64_t last = ix->count > 0 ? ix->files[ix->count - 1].name : 0;
	return name > last ? name : last + 1;
}

int
lt_indexfile_create(struct lt_keyindex *ix)
{
	char name[32];
	uint64_t number = new_name(ix);
	struct lt_indexfile *before =
	    ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
	uint8_t head[LT_INDEXFILE_HEAD] = {0};

	int rc = before == NULL ? LEAT_OK : lt_indexfile_map(ix, before, 0);
	if (rc != LEAT_OK)
		return rc;
	if (before != NULL) {
		memcpy(head + 8, before->map + 8, 8);
		memcpy(head + 24, before->map + 24, 8);
	}
	lt_bytes_put32(head + 36, 1);
	file_name(name, number);
	int fd = lt_sys.openat(
	    ix->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return lt_sys_status(errno);
	rc = lt_sys.ftruncate(fd, (off_t)LT_INDEXFILE_BYTES) == 0
		 ? lt_sys_write_full(fd, head, sizeof head, 0)
		 : lt_sys_status(errno);
	lt_sys.close(fd);
	if (rc == LEAT_OK)
		rc = add_file(ix, number);
	if (rc != LEAT_OK) {
		lt_sys.unlinkat(ix->dir, name, 0);
		return rc;
	}
	lt_indexfile_forget_reserved(ix);
	rc = lt_indexfile_map(ix, &ix->files[ix->count - 1], 1);
	if (rc != LEAT_OK)
		lt_indexfile_delete(ix, ix->count - 1);
	return rc;
}

int
lt_indexfile_begin(struct lt_keyindex *ix)
{
	if (ix->dir < 0) {
		int rc = lt_sys_mkdirs(ix->store_dir, DIRECTORY);
		if (rc != LEAT_OK)
			return rc;
		ix->dir = lt_sys.openat(ix->store_dir, DIRECTORY,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (ix->dir < 0)
			return lt_sys_status(errno);
	}
	int rc = write_mark(ix, 0, 0);
	ix->marked = rc == LEAT_OK;
	return rc;
}
