/*
 * commitlog.c - the commit log as its one writer sees it: a row of segments,
 * the last of which is written to.
 *
 * The only bytes ever valid are [min, end). Whatever lies behind the end is
 * zero, or the rest of an append that the caller was told had failed: that is
 * overwritten with zeroes at once, so that it cannot come back as a record.
 *
 * Segments that were rolled away from but not yet made durable wait, open, in
 * unsynced[]; there are never more than LT_COMMITLOG_UNSYNCED, so a successor
 * needs to sync only that many (lt_commitlog_set_end).
 *
 * One thread calls this file; the helper thread is filler.c's. Once a write or
 * a sync has failed for another reason than lack of space nothing is written
 * any more (failed), and pages that the disk may not hold are dropped from
 * memory as far as the kernel lets us, for recovery to read what is there.
 */
#include "config.h"
#include "store/commitlog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/extent.h"
#include "store/filler.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/record.h"

#define DIRECTORY "commitlog"

struct segment {
	uint64_t base;
	int64_t first_ms; /* 0: not known yet */
};

struct lt_commitlog {
	int store_dir;
	int dir;
	int fresh; /* commitlog/ itself may be new */
	int dir_dirty; /* a segment's name may not be durable */
	int failed;
	uint64_t bytes; /* of a segment */
	struct segment *segments;
	size_t count;
	size_t capacity;
	struct lt_extent *cur; /* NULL until the end is known */
	struct lt_extent *next; /* taken for a roll that did not happen yet */
	struct lt_extent *unsynced[LT_COMMITLOG_UNSYNCED];
	size_t unsynced_count;
	uint64_t end;
	uint64_t secured; /* blocks are there up to this log offset */
	uint64_t synced;
	struct lt_filler *filler;
};

/* --- opening ----------------------------------------------------------- */

/* 20 digits, or -1. */
static int
parse_name(const char *name, uint64_t *base_out)
{
	if (strlen(name) != LT_EXTENT_NAME - 1 ||
	    strspn(name, "0123456789") != LT_EXTENT_NAME - 1)
		return -1;
	errno = 0;
	*base_out = strtoull(name, NULL, 10);
	return errno == 0 && *base_out <= INT64_MAX ? 0 : -1;
}

static int
by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct segment *)a)->base;
	uint64_t y = ((const struct segment *)b)->base;

	return x < y ? -1 : x > y;
}

static int
add_segment(struct lt_commitlog *log, uint64_t base)
{
	int rc = lt_mem_grow((void **)&log->segments, &log->capacity,
	    log->count, sizeof *log->segments);

	if (rc == LEAT_OK)
		log->segments[log->count++] = (struct segment){.base = base};
	return rc;
}

/* Names of segments; what a crash left half made goes. */
static int
list_segments(struct lt_commitlog *log)
{
	uint64_t base;
	int rc = LEAT_OK;
	int fd = lt_sys.openat(log->dir, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;)
		if (parse_name(e->d_name, &base) == 0)
			rc = add_segment(log, base);
		else if (strncmp(e->d_name, "new-", 4) == 0 ||
			 strcmp(e->d_name, LT_FILLER_SPARE) == 0)
			lt_sys.unlinkat(log->dir, e->d_name, 0);
	closedir(d);
	if (log->count > 1)
		qsort(
		    log->segments, log->count, sizeof *log->segments, by_base);
	return rc;
}

static int
size_of(struct lt_commitlog *log, uint64_t base, uint64_t *bytes_out)
{
	char name[LT_EXTENT_NAME];
	struct stat st;

	lt_extent_name(name, base);
	int fd = lt_sys.openat(log->dir, name, O_RDONLY | O_CLOEXEC, 0);
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
find_size(struct lt_commitlog *log, uint64_t *size_out)
{
	uint64_t gap = UINT64_MAX, bytes;

	*size_out = 0;
	for (size_t i = 1; i < log->count; i++)
		if (log->segments[i].base - log->segments[i - 1].base < gap)
			gap = log->segments[i].base - log->segments[i - 1].base;
	for (size_t i = 0; i < log->count; i++) {
		int rc = size_of(log, log->segments[i].base, &bytes);
		if (rc != LEAT_OK)
			return rc;
		if (bytes <= gap && bytes > *size_out)
			*size_out = bytes;
	}
	if (*size_out < 2 * LT_RECORD_FIXED)
		*size_out = log->bytes;
	return LEAT_OK;
}

/* Something cut the file short: zeroes in place of what is gone, which the pass
 * over the log names as damage; what is before it can be read again. */
static int
mend_segment(struct lt_commitlog *log, const char *name, uint64_t size)
{
	int rc = LEAT_OK;
	int fd = lt_sys.openat(log->dir, name, O_RDWR | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.ftruncate(fd, (off_t)size) != 0)
		rc = lt_sys_status(errno);
	lt_sys.close(fd);
	return rc;
}

/* All files have one size; an empty last one is a crash's and goes. */
static int
check_segments(struct lt_commitlog *log)
{
	char name[LT_EXTENT_NAME];
	uint64_t bytes = 0;
	uint64_t size;
	int rc = find_size(log, &size);

	if (rc != LEAT_OK)
		return rc;
	for (size_t i = 0; i < log->count; i++) {
		uint64_t base = log->segments[i].base;
		rc = size_of(log, base, &bytes);
		if (rc != LEAT_OK)
			return rc;
		lt_extent_name(name, base);
		if (bytes == 0 && i + 1 == log->count) {
			lt_sys.unlinkat(log->dir, name, 0);
			log->count--;
			break;
		}
		if (bytes > size || base > INT64_MAX - size ||
		    (i > 0 && base - log->segments[i - 1].base < size)) {
			lt_log_error("segment.size",
			    "file=%s bytes=%" PRIu64 " expected=%" PRIu64, name,
			    bytes, size);
			return LEAT_E_CORRUPT;
		}
		if (bytes < size) {
			lt_log_warn("segment.short",
			    "file=%s bytes=%" PRIu64 " expected=%" PRIu64, name,
			    bytes, size);
			rc = mend_segment(log, name, size);
			if (rc != LEAT_OK)
				return rc;
		}
		if (i > 0 && base - log->segments[i - 1].base > size)
			lt_log_warn("segment.missing", "before=%s", name);
	}
	if (log->count == 0)
		return LEAT_OK;
	if (size != log->bytes)
		lt_log_warn("segment.size_kept",
		    "bytes=%" PRIu64 " configured=%" PRIu64, size, log->bytes);
	log->bytes = size;
	return LEAT_OK;
}

static int
open_directory(struct lt_commitlog *log)
{
	if (lt_sys.mkdirat(log->store_dir, DIRECTORY, 0750) == 0)
		log->fresh = 1;
	else if (errno != EEXIST)
		return lt_sys_status(errno);
	log->dir = lt_sys.openat(
	    log->store_dir, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (log->dir < 0)
		return lt_sys_status(errno);
	int rc = list_segments(log);
	return rc == LEAT_OK ? check_segments(log) : rc;
}

int
lt_commitlog_open(
    int store_dir, const struct lt_options *o, struct lt_commitlog **out)
{
	struct lt_commitlog *log = lt_mem_alloc(sizeof *log);

	if (log == NULL)
		return LEAT_E_NOMEM;
	log->store_dir = store_dir;
	log->dir = -1;
	log->bytes = o->store_segment_bytes;
	int rc = open_directory(log);
	struct lt_filler_config config = {
	    .dir = log->dir,
	    .segment_bytes = log->bytes,
	    .prefill_bytes = o->store_prefill_bytes,
	    .full_percent = o->store_disk_full_percent,
	};
	if (rc == LEAT_OK)
		rc = lt_filler_create(&config, &log->filler);
	if (rc == LEAT_OK && log->count == 0) {
		rc = lt_filler_next(log->filler, 0, &log->cur);
		log->fresh = log->dir_dirty = 1;
		if (rc == LEAT_OK)
			rc = add_segment(log, 0);
		if (rc == LEAT_OK)
			lt_filler_use(log->filler, log->cur, 0);
	}
	if (rc != LEAT_OK) {
		lt_commitlog_close(log);
		return rc;
	}
	log->end = log->synced = log->segments[0].base;
	*out = log;
	return LEAT_OK;
}

void
lt_commitlog_close(struct lt_commitlog *log)
{
	char name[LT_EXTENT_NAME];

	if (log == NULL)
		return;
	lt_filler_destroy(log->filler);
	if (log->next != NULL) {
		lt_extent_name(name, log->next->base);
		lt_sys.unlinkat(log->dir, name, 0);
	}
	lt_extent_unref(log->cur);
	lt_extent_unref(log->next);
	for (size_t i = 0; i < log->unsynced_count; i++)
		lt_extent_unref(log->unsynced[i]);
	if (log->dir >= 0)
		lt_sys.close(log->dir);
	lt_mem_free(log->segments);
	lt_mem_free(log);
}

/* --- failing and syncing ----------------------------------------------- */

static int
fail(struct lt_commitlog *log, const char *what)
{
	if (log->failed)
		return LEAT_E_IO;
	lt_log_error("log.failed", "call=%s errno=%d end=%" PRIu64, what, errno,
	    log->end);
	log->failed = 1;
	for (size_t i = 0; i < log->unsynced_count; i++)
		(void)posix_fadvise(
		    log->unsynced[i]->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (log->cur != NULL)
		(void)posix_fadvise(log->cur->fd, 0, 0, POSIX_FADV_DONTNEED);
	return LEAT_E_IO;
}

int
lt_commitlog_failed(const struct lt_commitlog *log)
{
	return log->failed || lt_filler_failed(log->filler);
}

static void
forget_unsynced(struct lt_commitlog *log, size_t i)
{
	lt_extent_unref(log->unsynced[i]);
	log->unsynced_count--;
	memmove(&log->unsynced[i], &log->unsynced[i + 1],
	    (log->unsynced_count - i) * sizeof log->unsynced[0]);
}

static int
sync_names(struct lt_commitlog *log)
{
	if (log->fresh && lt_sys.fsync(log->store_dir) != 0)
		return fail(log, "fsync");
	log->fresh = 0;
	if (log->dir_dirty && lt_sys.fsync(log->dir) != 0)
		return fail(log, "fsync");
	log->dir_dirty = 0;
	return LEAT_OK;
}

/* Make names durable, then the oldest rolled segments until `left` remain. */
static int
sync_old(struct lt_commitlog *log, size_t left)
{
	int rc = sync_names(log);

	if (rc != LEAT_OK)
		return rc;
	while (log->unsynced_count > left) {
		if (lt_sys.fdatasync(log->unsynced[0]->fd) != 0)
			return fail(log, "fdatasync");
		forget_unsynced(log, 0);
	}
	return LEAT_OK;
}

int
lt_commitlog_sync(struct lt_commitlog *log)
{
	LT_ASSERT(log->cur != NULL);
	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	if (log->synced == log->end)
		return LEAT_OK;
	int rc = sync_old(log, 0);
	if (rc != LEAT_OK)
		return rc;
	if (log->end > log->cur->base && lt_sys.fdatasync(log->cur->fd) != 0)
		return fail(log, "fdatasync");
	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	log->synced = log->end;
	lt_filler_synced(log->filler);
	return LEAT_OK;
}

int
lt_commitlog_sync_begin(struct lt_commitlog *log, struct lt_commitlog_sync *out)
{
	LT_ASSERT(log->cur != NULL);
	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	int rc = sync_names(log);
	if (rc != LEAT_OK)
		return rc;
	out->end = log->end;
	out->count = 0;
	if (log->synced == log->end)
		return LEAT_OK;
	for (size_t i = 0; i < log->unsynced_count; i++)
		out->extents[out->count++] = lt_extent_ref(log->unsynced[i]);
	if (log->end > log->cur->base)
		out->extents[out->count++] = lt_extent_ref(log->cur);
	return LEAT_OK;
}

int
lt_commitlog_sync_run(const struct lt_commitlog_sync *sync)
{
	/* Through descriptors that are not the writer's: what fails here is
	 * reported to its own fdatasync, too. */
	for (size_t i = 0; i < sync->count; i++)
		if (lt_extent_fill_sync(sync->extents[i]) != LEAT_OK)
			return LEAT_E_IO;
	return LEAT_OK;
}

int
lt_commitlog_sync_end(
    struct lt_commitlog *log, struct lt_commitlog_sync *sync, int status)
{
	for (size_t i = 0; i < sync->count; i++) {
		/* Rolled before the sync began: nothing was added since. */
		for (size_t k = 0; status == LEAT_OK && k < log->unsynced_count;
		     k++)
			if (log->unsynced[k] == sync->extents[i] &&
			    sync->extents[i]->base + log->bytes <= sync->end) {
				forget_unsynced(log, k);
				break;
			}
		lt_extent_unref(sync->extents[i]);
	}
	sync->count = 0;
	if (status != LEAT_OK)
		return fail(log, "fdatasync");
	if (sync->end > log->synced)
		log->synced = sync->end;
	return LEAT_OK;
}

/* --- the end ----------------------------------------------------------- */

/* fdatasync the last segments: those a predecessor may have left unsynced. */
static int
sync_tail(struct lt_commitlog *log)
{
	char name[LT_EXTENT_NAME];
	size_t first = log->count > LT_COMMITLOG_UNSYNCED + 1
			   ? log->count - LT_COMMITLOG_UNSYNCED - 1
			   : 0;

	for (size_t i = first; i < log->count; i++) {
		lt_extent_name(name, log->segments[i].base);
		int fd = lt_sys.openat(log->dir, name, O_RDWR | O_CLOEXEC, 0);
		if (fd < 0)
			return lt_sys_status(errno);
		int ok = lt_sys.fdatasync(fd) == 0;
		lt_sys.close(fd);
		if (!ok)
			return fail(log, "fdatasync");
	}
	if (lt_sys.fsync(log->dir) != 0)
		return fail(log, "fsync");
	return LEAT_OK;
}

/* Segments behind the first `keep` hold nothing that counts. */
static int
drop_behind(struct lt_commitlog *log, size_t keep)
{
	char name[LT_EXTENT_NAME];

	while (log->count > keep) {
		lt_extent_name(name, log->segments[log->count - 1].base);
		if (lt_sys.unlinkat(log->dir, name, 0) != 0 && errno != ENOENT)
			return lt_sys_status(errno);
		log->count--;
	}
	return LEAT_OK;
}

/* The segment that holds `end`, which may be the one behind the last. */
static int
open_end(struct lt_commitlog *log, uint64_t end)
{
	char name[LT_EXTENT_NAME];
	size_t i = log->count;

	while (i > 0 && log->segments[i - 1].base > end)
		i--;
	if (i == 0)
		return LEAT_E_INVALID;
	uint64_t base = log->segments[i - 1].base;
	if (end - base > log->bytes)
		return LEAT_E_INVALID;
	int rc = drop_behind(log, i);
	if (rc != LEAT_OK)
		return rc;
	if (end - base == log->bytes) {
		rc = lt_filler_next(log->filler, end, &log->cur);
		return rc == LEAT_OK ? add_segment(log, end) : rc;
	}
	lt_extent_name(name, base);
	rc = lt_extent_open(
	    log->dir, name, base, log->bytes, end - base, &log->cur);
	return rc == LEAT_OK ? lt_extent_clear(log->cur, end - base) : rc;
}

int
lt_commitlog_set_end(struct lt_commitlog *log, uint64_t end)
{
	LT_ASSERT(log->unsynced_count == 0 && log->next == NULL);
	if (log->failed)
		return LEAT_E_IO;
	lt_filler_use(log->filler, NULL, 0);
	lt_extent_unref(log->cur);
	log->cur = NULL;
	int rc = open_end(log, end);
	if (rc == LEAT_OK)
		rc = sync_tail(log);
	if (rc != LEAT_OK)
		return rc;
	log->end = log->synced = end;
	log->secured = 0;
	log->dir_dirty = 0;
	lt_filler_use(log->filler, log->cur, end - log->cur->base);
	return LEAT_OK;
}

int
lt_commitlog_start(struct lt_commitlog *log)
{
	LT_ASSERT(log->cur != NULL);
	return lt_filler_start(log->filler);
}

uint64_t
lt_commitlog_min(const struct lt_commitlog *log)
{
	return log->segments[0].base;
}

uint64_t
lt_commitlog_end(const struct lt_commitlog *log)
{
	return log->end;
}

uint64_t
lt_commitlog_synced(const struct lt_commitlog *log)
{
	return log->synced;
}

uint64_t
lt_commitlog_segment_bytes(const struct lt_commitlog *log)
{
	return log->bytes;
}

uint64_t
lt_commitlog_room(const struct lt_commitlog *log)
{
	LT_ASSERT(log->cur != NULL);
	uint64_t rest = log->cur->base + log->bytes - log->end;

	return rest < LT_RECORD_BLANK_BYTES ? 0 : rest - LT_RECORD_BLANK_BYTES;
}

/* --- writing ----------------------------------------------------------- */

/* An append failed for lack of space behind `done` bytes: they must not be
 * there when somebody searches for records. Their blocks exist already. */
static int
take_back(struct lt_commitlog *log, size_t done)
{
	static const uint8_t zeroes[4096];
	uint64_t at = log->end - log->cur->base;
	size_t wrote;

	while (done > 0) {
		size_t n = done < sizeof zeroes ? done : sizeof zeroes;
		if (lt_extent_write(log->cur, zeroes, n, at, &wrote) != LEAT_OK)
			return fail(log, "pwrite");
		at += n;
		done -= n;
	}
	return LEAT_E_NOSPACE;
}

/* Write at end + from; *done counts from the batch's beginning. */
static int
write_part(
    struct lt_commitlog *log, const uint8_t *buf, size_t to, size_t *done)
{
	size_t n;
	int rc;

	do {
		rc = lt_extent_write(log->cur, buf + *done, to - *done,
		    log->end - log->cur->base + *done, &n);
		*done += n;
	} while (rc == LEAT_E_NOSPACE && lt_filler_shed(log->filler));
	return rc;
}

/* Blocks of one segment below `to`, from its base. */
static int
secure_part(struct lt_commitlog *log, struct lt_extent *e, uint64_t to)
{
	uint64_t reserved;
	int rc;

	if (to > log->bytes)
		to = log->bytes;
	do
		rc = lt_extent_reserve(e, to, &reserved);
	while (rc == LEAT_E_NOSPACE && lt_filler_shed(log->filler));
	if (rc == LEAT_OK)
		log->secured = e->base + reserved;
	return rc == LEAT_OK || rc == LEAT_E_NOSPACE ? rc
						     : fail(log, "fallocate");
}

int
lt_commitlog_secure(struct lt_commitlog *log, uint64_t bytes)
{
	uint64_t next = log->cur->base + log->bytes;
	int rc;

	if (LT_LIKELY(log->end + bytes <= log->secured))
		return LEAT_OK;
	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	/* Both have them already, and there is no third. */
	if (log->secured == next + log->bytes)
		return LEAT_OK;
	rc = secure_part(log, log->cur, log->end + bytes - log->cur->base);
	if (rc != LEAT_OK || log->end + bytes <= next)
		return rc;
	if (log->next == NULL)
		rc = lt_filler_next(log->filler, next, &log->next);
	if (rc == LEAT_OK)
		return secure_part(log, log->next, log->end + bytes - next);
	return rc == LEAT_E_NOSPACE || rc == LEAT_E_NOMEM ? rc
							  : fail(log, "next");
}

int
lt_commitlog_append(struct lt_commitlog *log, const void *buf, size_t bytes)
{
	size_t done = 0;
	int rc = LEAT_OK;

	LT_ASSERT(bytes > 0 && bytes <= lt_commitlog_room(log));
	if (LT_UNLIKELY(lt_commitlog_failed(log)))
		return LEAT_E_IO;
	if (LT_UNLIKELY(lt_sys_fp_armed)) {
		rc = write_part(log, buf, bytes / 2, &done);
		if (rc == LEAT_OK)
			rc = lt_sys_status(
			    lt_failpoint(LT_FP_STORE_APPEND_HALF));
	}
	if (LT_LIKELY(rc == LEAT_OK))
		rc = write_part(log, buf, bytes, &done);
	if (LT_UNLIKELY(rc == LEAT_E_NOSPACE))
		return take_back(log, done);
	if (LT_UNLIKELY(rc != LEAT_OK))
		return fail(log, "pwrite");
	log->end += bytes;
	lt_filler_moved(log->filler, log->end - log->cur->base);
	return LEAT_OK;
}

int
lt_commitlog_roll(struct lt_commitlog *log)
{
	uint8_t blank[LT_RECORD_BLANK_BYTES];
	uint64_t at = log->end - log->cur->base;
	uint64_t base = log->cur->base + log->bytes;
	size_t done = 0;
	int rc = LEAT_OK;

	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	if (log->unsynced_count == LT_COMMITLOG_UNSYNCED)
		rc = sync_old(log, LT_COMMITLOG_UNSYNCED - 1);
	if (rc == LEAT_OK)
		rc = lt_mem_grow((void **)&log->segments, &log->capacity,
		    log->count, sizeof *log->segments);
	if (rc == LEAT_OK && log->next == NULL)
		rc = lt_filler_next(log->filler, base, &log->next);
	if (rc == LEAT_E_NOSPACE || rc == LEAT_E_NOMEM)
		return rc;
	if (rc != LEAT_OK)
		return fail(log, "roll");
	lt_bytes_put32(blank, (uint32_t)(log->bytes - at));
	lt_bytes_put32(blank + 4, LT_RECORD_BLANK);
	if (log->bytes - at >= sizeof blank)
		rc = write_part(log, blank, sizeof blank, &done);
	if (rc == LEAT_OK)
		rc = lt_sys_status(lt_failpoint(LT_FP_STORE_ROLL));
	if (rc == LEAT_E_NOSPACE)
		return take_back(log, done);
	if (rc != LEAT_OK)
		return fail(log, "pwrite");
	log->unsynced[log->unsynced_count++] = log->cur;
	log->cur = log->next;
	log->next = NULL;
	log->segments[log->count++] = (struct segment){.base = base};
	log->end = base;
	log->dir_dirty = 1;
	lt_filler_use(log->filler, log->cur, 0);
	return LEAT_OK;
}

/* --- retention --------------------------------------------------------- */

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
look(struct lt_commitlog *log, size_t index, int64_t *mtime_ms_out)
{
	struct segment *s = &log->segments[index];
	char name[LT_EXTENT_NAME];
	struct stat st;

	lt_extent_name(name, s->base);
	int fd = lt_sys.openat(log->dir, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys.fstat(fd, &st) == 0 ? LEAT_OK : lt_sys_status(errno);
	if (rc == LEAT_OK && s->first_ms == 0)
		s->first_ms = first_store_ms(fd, s->base);
	lt_sys.close(fd);
	if (rc == LEAT_OK)
		*mtime_ms_out =
		    st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return rc;
}

int
lt_commitlog_segment_at(
    struct lt_commitlog *log, size_t index, struct lt_commitlog_segment *out)
{
	int64_t mtime_ms = 0;
	int64_t next_ms = 0;

	if (index >= log->count)
		return LEAT_E_END;
	int rc = look(log, index, &mtime_ms);
	if (rc != LEAT_OK)
		return rc;
	*out = (struct lt_commitlog_segment){
	    .base = log->segments[index].base,
	    .bytes = log->bytes,
	    .first_ms = log->segments[index].first_ms,
	};
	if (index + 1 == log->count)
		return LEAT_OK;
	/* What comes next is not older than the last record here, and unlike
	 * the file's time it survives copying the store. */
	rc = look(log, index + 1, &next_ms);
	next_ms = log->segments[index + 1].first_ms;
	out->last_ms = rc == LEAT_OK && next_ms != 0 ? next_ms : mtime_ms;
	return LEAT_OK;
}

int
lt_commitlog_drop_oldest(struct lt_commitlog *log)
{
	char name[LT_EXTENT_NAME];

	if (log->count < 2)
		return LEAT_E_END;
	uint64_t base = log->segments[0].base;
	lt_extent_name(name, base);
	int rc = lt_filler_recycle(log->filler, name);
	if (rc != LEAT_OK)
		return rc;
	if (log->unsynced_count > 0 && log->unsynced[0]->base == base)
		forget_unsynced(log, 0);
	log->count--;
	memmove(&log->segments[0], &log->segments[1],
	    log->count * sizeof log->segments[0]);
	return LEAT_OK;
}
