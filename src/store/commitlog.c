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

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/record.h"
#include "store/extent.h"
#include "store/filler.h"
#include "store/segments.h"

#define DIRECTORY "commitlog"

struct lt_commitlog {
	int store_dir;
	int dir;
	int fresh; /* commitlog/ itself may be new */
	uint64_t names; /* times that a segment's name was made */
	uint64_t names_synced; /* of these, durable */
	int failed;
	struct lt_segments files;
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

static int
open_directory(struct lt_commitlog *log, uint64_t bytes)
{
	if (lt_sys.mkdirat(log->store_dir, DIRECTORY, 0750) == 0)
		log->fresh = 1;
	else if (errno != EEXIST)
		return lt_sys_status(errno);
	log->dir = lt_sys.openat(
	    log->store_dir, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (log->dir < 0)
		return lt_sys_status(errno);
	return lt_segments_open(&log->files, log->dir, bytes);
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
	int rc = open_directory(log, o->store_segment_bytes);
	struct lt_filler_config config = {
	    .dir = log->dir,
	    .segment_bytes = log->files.bytes,
	    .prefill_bytes = o->store_prefill_bytes,
	    .full_percent = o->store_disk_full_percent,
	};
	if (rc == LEAT_OK)
		rc = lt_filler_create(&config, &log->filler);
	if (rc == LEAT_OK && log->files.count == 0) {
		rc = lt_filler_next(log->filler, 0, &log->cur);
		log->fresh = 1;
		log->names++;
		if (rc == LEAT_OK)
			rc = lt_segments_add(&log->files, 0);
		if (rc == LEAT_OK)
			lt_filler_use(log->filler, log->cur, 0);
	}
	if (rc != LEAT_OK) {
		lt_commitlog_close(log);
		return rc;
	}
	log->end = log->synced = log->files.row[0].base;
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
	lt_segments_close(&log->files);
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
	if (log->names_synced != log->names && lt_sys.fsync(log->dir) != 0)
		return fail(log, "fsync");
	log->names_synced = log->names;
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
	out->dir = -1;
	out->names = log->names;
	/* A descriptor of its own: a failure is told once to each. */
	if (!log->fresh && log->names_synced != log->names)
		out->dir = lt_sys.openat(
		    log->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int rc = out->dir < 0 ? sync_names(log) : LEAT_OK;
	if (rc != LEAT_OK)
		return rc;
	out->end = log->end;
	out->err = 0;
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
lt_commitlog_sync_run(struct lt_commitlog_sync *sync)
{
	int failed = sync->dir >= 0 && lt_sys.fsync(sync->dir) != 0;

	for (size_t i = 0; !failed && i < sync->count; i++)
		failed = lt_extent_back_sync(sync->extents[i]) != LEAT_OK;
	sync->err = failed ? errno : 0;
	return failed ? LEAT_E_IO : LEAT_OK;
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
			    sync->extents[i]->base + log->files.bytes <=
				sync->end) {
				forget_unsynced(log, k);
				break;
			}
		lt_extent_unref(sync->extents[i]);
	}
	sync->count = 0;
	if (sync->dir >= 0)
		lt_sys.close(sync->dir);
	sync->dir = -1;
	errno = sync->err;
	if (status != LEAT_OK)
		return fail(log, "fdatasync");
	if (sync->names > log->names_synced)
		log->names_synced = sync->names;
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
	size_t first = log->files.count > LT_COMMITLOG_UNSYNCED + 1
			   ? log->files.count - LT_COMMITLOG_UNSYNCED - 1
			   : 0;

	for (size_t i = first; i < log->files.count; i++) {
		lt_extent_name(name, log->files.row[i].base);
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

	while (log->files.count > keep) {
		lt_extent_name(name, log->files.row[log->files.count - 1].base);
		if (lt_sys.unlinkat(log->dir, name, 0) != 0 && errno != ENOENT)
			return lt_sys_status(errno);
		log->files.count--;
	}
	return LEAT_OK;
}

/* The segment that holds `end`, which may be the one behind the last. */
static int
open_end(struct lt_commitlog *log, uint64_t end)
{
	char name[LT_EXTENT_NAME];
	size_t i = log->files.count;

	while (i > 0 && log->files.row[i - 1].base > end)
		i--;
	if (i == 0)
		return LEAT_E_INVALID;
	uint64_t base = log->files.row[i - 1].base;
	if (end - base > log->files.bytes)
		return LEAT_E_INVALID;
	int rc = drop_behind(log, i);
	if (rc != LEAT_OK)
		return rc;
	if (end - base == log->files.bytes) {
		rc = lt_filler_next(log->filler, end, &log->cur);
		return rc == LEAT_OK ? lt_segments_add(&log->files, end) : rc;
	}
	lt_extent_name(name, base);
	rc = lt_extent_open(
	    log->dir, name, base, log->files.bytes, end - base, &log->cur);
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
	log->names_synced = log->names;
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
	return log->files.row[0].base;
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
	return log->files.bytes;
}

uint64_t
lt_commitlog_room(const struct lt_commitlog *log)
{
	LT_ASSERT(log->cur != NULL);
	uint64_t rest = log->cur->base + log->files.bytes - log->end;

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

	if (to > log->files.bytes)
		to = log->files.bytes;
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
	uint64_t next = log->cur->base + log->files.bytes;
	int rc;

	if (LT_LIKELY(log->end + bytes <= log->secured))
		return LEAT_OK;
	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	/* Both have them already, and there is no third. */
	if (log->secured == next + log->files.bytes)
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
	uint64_t base = log->cur->base + log->files.bytes;
	size_t done = 0;
	int rc = LEAT_OK;

	if (lt_commitlog_failed(log))
		return LEAT_E_IO;
	if (log->unsynced_count == LT_COMMITLOG_UNSYNCED)
		rc = sync_old(log, LT_COMMITLOG_UNSYNCED - 1);
	if (rc == LEAT_OK)
		rc = lt_segments_prepare(&log->files);
	if (rc == LEAT_OK && log->next == NULL)
		rc = lt_filler_next(log->filler, base, &log->next);
	if (rc == LEAT_E_NOSPACE || rc == LEAT_E_NOMEM)
		return rc;
	if (rc != LEAT_OK)
		return fail(log, "roll");
	lt_bytes_put32(blank, (uint32_t)(log->files.bytes - at));
	lt_bytes_put32(blank + 4, LT_RECORD_BLANK);
	if (log->files.bytes - at >= sizeof blank)
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
	rc = lt_segments_add(&log->files, base);
	LT_ASSERT(rc == LEAT_OK); /* prepared */
	log->end = base;
	log->names++;
	lt_filler_use(log->filler, log->cur, 0);
	return LEAT_OK;
}

/* --- retention --------------------------------------------------------- */

int
lt_commitlog_segment_at(
    struct lt_commitlog *log, size_t index, struct lt_commitlog_segment *out)
{
	return lt_segments_at(&log->files, index, out);
}

int
lt_commitlog_drop_oldest(struct lt_commitlog *log)
{
	char name[LT_EXTENT_NAME];

	if (log->files.count < 2)
		return LEAT_E_END;
	uint64_t base = log->files.row[0].base;
	lt_extent_name(name, base);
	int rc = lt_filler_recycle(log->filler, name);
	if (rc != LEAT_OK)
		return rc;
	if (log->unsynced_count > 0 && log->unsynced[0]->base == base)
		forget_unsynced(log, 0);
	lt_segments_shift(&log->files);
	return LEAT_OK;
}
