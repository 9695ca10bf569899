/*
 * extent.c - one segment file, its writer, and zeroes written ahead of it.
 *
 * An fdatasync of bytes that lie in blocks already written is about twice as
 * quick as one that must also record new blocks, so a helper thread (the
 * filler, filler.c) writes zeroes where the writer will come. It must never
 * write where the writer has written or may be writing. The protocol:
 *
 *      0            filled        busy_end                       bytes
 *      | the writer's | being zeroed | nobody's                    |
 *
 *   1. The filler writes only at or above `filled`, and only below the
 *      busy_end that it announced under the lock. It raises `filled` to
 *      busy_end, under the lock, after that write has returned.
 *   2. The writer writes only below `filled`. If its bytes end beyond, it
 *      claims first: under the lock it waits until nothing is busy, then
 *      raises `filled` to the end of its bytes. Then it writes, unlocked.
 *   3. `filled` never goes down while a filler may run.
 *
 * By 1 and 3 the filler's range [filled, busy_end) lies above every byte that
 * was ever below `filled`; by 2 all of the writer's lie below. So the two never
 * overlap, and a writer that sees a stale, lower `filled` only claims without
 * need. The usual append ends below `filled`: one atomic load, no lock. A
 * writer that waits is not starved: the filler begins no chunk while one waits.
 *
 * Writer, filler and background sync have an open file each: the kernel reports
 * a failed write-back once to each open file, so a failure that one of them has
 * met is still reported to the others, who would else take their bytes for
 * durable. Any of them ends the log.
 *
 * Blocks are allocated (fallocate) before zeroes or records are written to
 * them, so that a full disk shows there, where nothing is lost.
 */
#include "config.h"
#include "store/extent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define RESERVE_STEP (4u << 20)
#define PAGE 4096u
#define WINDOW (128u << 10)

/* Never written to: reading it touches only the kernel's zero page. */
static uint8_t zeroes[256 << 10];

void
lt_extent_name(char out[LT_EXTENT_NAME], uint64_t base)
{
	snprintf(out, LT_EXTENT_NAME, "%020" PRIu64, base);
}

static int
failed(const char *what, const char *name, int err)
{
	int status = lt_sys_status(err);

	if (status != LEAT_E_NOSPACE) /* the store tells of that, once */
		lt_log_error(what, "file=%s errno=%d", name, err);
	return status;
}

static int
open_files(struct lt_extent *e, int dir, const char *name, int flags)
{
	e->fd = lt_sys.openat(dir, name, O_RDWR | O_CLOEXEC | flags, 0640);
	if (e->fd < 0)
		return failed("segment.open", name, errno);
	e->fill_fd = lt_sys.openat(dir, name, O_WRONLY | O_CLOEXEC, 0);
	if (e->fill_fd < 0)
		return failed("segment.open", name, errno);
	e->sync_fd = lt_sys.openat(dir, name, O_WRONLY | O_CLOEXEC, 0);
	if (e->sync_fd < 0)
		return failed("segment.open", name, errno);
	return LEAT_OK;
}

static struct lt_extent *
make(uint64_t base, uint64_t bytes, uint64_t filled)
{
	struct lt_extent *e = lt_mem_alloc(sizeof *e);

	if (e == NULL)
		return NULL;
	e->base = base;
	e->bytes = bytes;
	e->fd = e->fill_fd = e->sync_fd = -1;
	e->reserved = filled;
	atomic_init(&e->refs, 1);
	atomic_init(&e->filled, filled);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->change, NULL);
	return e;
}

int
lt_extent_create(int dir, const char *name, uint64_t base, uint64_t bytes,
    struct lt_extent **out)
{
	char tmp[64];
	struct lt_extent *e = make(base, bytes, 0);

	if (e == NULL)
		return LEAT_E_NOMEM;
	/* A file under a segment's name has its full size at every moment,
	 * also if the power fails: the size is durable before the name is. */
	snprintf(tmp, sizeof tmp, "new-%s", name);
	int rc = open_files(e, dir, tmp, O_CREAT | O_TRUNC);
	if (rc == LEAT_OK && lt_sys_truncate(e->fd, bytes) != 0)
		rc = failed("segment.create", name, errno);
	if (rc == LEAT_OK && lt_sys.fsync(e->fd) != 0)
		rc = failed("segment.create", name, errno);
	if (rc == LEAT_OK && lt_sys.renameat(dir, tmp, dir, name) != 0)
		rc = failed("segment.create", name, errno);
	if (rc != LEAT_OK) {
		lt_sys.unlinkat(dir, tmp, 0);
		lt_extent_unref(e);
		return rc;
	}
	*out = e;
	return LEAT_OK;
}

int
lt_extent_open(int dir, const char *name, uint64_t base, uint64_t bytes,
    uint64_t filled, struct lt_extent **out)
{
	struct stat st;
	struct lt_extent *e = make(base, bytes, filled);

	if (e == NULL)
		return LEAT_E_NOMEM;
	int rc = open_files(e, dir, name, 0);
	if (rc == LEAT_OK && lt_sys.fstat(e->fd, &st) != 0)
		rc = failed("segment.open", name, errno);
	if (rc == LEAT_OK && (uint64_t)st.st_size != bytes) {
		lt_log_error("segment.size", "file=%s bytes=%jd expected=%ju",
		    name, (intmax_t)st.st_size, (uintmax_t)bytes);
		rc = LEAT_E_CORRUPT;
	}
	if (rc != LEAT_OK) {
		lt_extent_unref(e);
		return rc;
	}
	*out = e;
	return LEAT_OK;
}

struct lt_extent *
lt_extent_ref(struct lt_extent *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	return e;
}

void
lt_extent_unref(struct lt_extent *e)
{
	if (e == NULL)
		return;
	/* acq_rel: everything done through other references is over. */
	if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (e->fd >= 0)
		lt_sys.close(e->fd);
	if (e->fill_fd >= 0)
		lt_sys.close(e->fill_fd);
	if (e->sync_fd >= 0)
		lt_sys.close(e->sync_fd);
	pthread_cond_destroy(&e->change);
	pthread_mutex_destroy(&e->lock);
	lt_mem_free(e);
}

static int
allocate(int fd, uint64_t from, uint64_t to)
{
	int rc;

	do
		rc = lt_sys.fallocate(fd, 0, (off_t)from, (off_t)(to - from));
	while (rc != 0 && errno == EINTR);
	return rc == 0 ? 0 : errno;
}

/*
 * Have blocks for [reserved, to), with a step more if there is room. The
 * caller is the only one who looks at e->reserved now: the writer holding the
 * lock with nothing busy, or the filler while it is busy.
 */
static int
reserve(struct lt_extent *e, int fd, uint64_t to)
{
	uint64_t from = e->reserved;

	if (to <= from)
		return LEAT_OK;
	uint64_t ample = from + RESERVE_STEP;
	uint64_t exact = lt_bytes_align(to, PAGE);
	if (exact > e->bytes)
		exact = e->bytes;
	if (ample > e->bytes)
		ample = e->bytes;
	if (ample < exact)
		ample = exact;
	int err = allocate(fd, from, ample);
	if (lt_sys_status(err) == LEAT_E_NOSPACE && exact < ample) {
		ample = exact;
		err = allocate(fd, from, ample);
	}
	if (err == EOPNOTSUPP || err == ENOSYS || err == EINVAL) {
		e->reserved = e->bytes; /* not offered here: do without */
		return LEAT_OK;
	}
	if (err != 0)
		return lt_sys_status(err);
	e->reserved = ample;
	return LEAT_OK;
}

/*
 * Zeroes up to the end of the window in which the writer's bytes end: a write
 * of an aligned window makes the kernel cache it in one piece, which costs less
 * than the pages that many small unaligned appends would make, now and when
 * they go to the disk (measured: 0.25 instead of 0.39 ns a byte).
 */
static int
open_window(struct lt_extent *e, uint64_t to, uint64_t *end_out)
{
	uint64_t end = lt_bytes_align(to, WINDOW);
	uint64_t from = atomic_load_explicit(&e->filled, memory_order_relaxed);
	int rc;

	if (end > e->bytes)
		end = e->bytes;
	if (from + WINDOW < end)
		from = end - WINDOW;
	*end_out = to;
	rc = reserve(e, e->fd, end);
	if (rc == LEAT_OK)
		rc = lt_sys_write_full(e->fd, zeroes, end - from, from);
	if (rc == LEAT_E_NOSPACE)
		return reserve(e, e->fd, to);
	if (rc == LEAT_OK)
		*end_out = end;
	return rc;
}

int
lt_extent_claim(struct lt_extent *e, uint64_t to)
{
	uint64_t end;

	LT_ASSERT(to <= e->bytes);
	/* acquire: pairs with the release in lt_extent_fill. */
	if (LT_LIKELY(
		to <= atomic_load_explicit(&e->filled, memory_order_acquire)))
		return LEAT_OK;
	pthread_mutex_lock(&e->lock);
	e->waiting++;
	while (e->busy_end != 0)
		pthread_cond_wait(&e->change, &e->lock);
	e->waiting--;
	int rc = LEAT_OK;
	if (to > atomic_load_explicit(&e->filled, memory_order_relaxed)) {
		rc = open_window(e, to, &end);
		if (rc == LEAT_OK)
			atomic_store_explicit(
			    &e->filled, end, memory_order_release);
	}
	pthread_cond_broadcast(&e->change);
	pthread_mutex_unlock(&e->lock);
	return rc;
}

int
lt_extent_reserve(struct lt_extent *e, uint64_t to, uint64_t *reserved_out)
{
	LT_ASSERT(to <= e->bytes);
	pthread_mutex_lock(&e->lock);
	e->waiting++;
	while (e->busy_end != 0)
		pthread_cond_wait(&e->change, &e->lock);
	e->waiting--;
	int rc = reserve(e, e->fd, to);
	*reserved_out = e->reserved;
	pthread_cond_broadcast(&e->change);
	pthread_mutex_unlock(&e->lock);
	return rc;
}

int
lt_extent_write(struct lt_extent *e, const void *buf, size_t bytes, uint64_t at,
    size_t *done_out)
{
	const uint8_t *p = buf;

	*done_out = 0;
	int rc = lt_extent_claim(e, at + bytes);
	if (rc != LEAT_OK)
		return rc;
	while (*done_out < bytes) {
		ssize_t n = lt_sys.pwrite(e->fd, p + *done_out,
		    bytes - *done_out, (off_t)(at + *done_out));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? LEAT_E_IO : lt_sys_status(errno);
		*done_out += (size_t)n;
	}
	return LEAT_OK;
}

int
lt_extent_fill(
    struct lt_extent *e, uint64_t to, uint64_t chunk, uint64_t *done_out)
{
	LT_ASSERT(to <= e->bytes && chunk > 0);
	if (chunk > sizeof zeroes)
		chunk = sizeof zeroes;
	pthread_mutex_lock(&e->lock);
	LT_ASSERT(e->busy_end == 0); /* there is one filler */
	while (e->waiting > 0)
		pthread_cond_wait(&e->change, &e->lock);
	uint64_t from = atomic_load_explicit(&e->filled, memory_order_relaxed);
	*done_out = 0;
	if (from >= to) {
		pthread_mutex_unlock(&e->lock);
		return LEAT_OK;
	}
	uint64_t n = to - from < chunk ? to - from : chunk;
	e->busy_end = from + n;
	pthread_mutex_unlock(&e->lock);

	int rc = reserve(e, e->fill_fd, from + n);
	if (rc == LEAT_OK)
		rc = lt_sys_write_full(e->fill_fd, zeroes, n, from);

	pthread_mutex_lock(&e->lock);
	e->busy_end = 0;
	if (rc == LEAT_OK) {
		*done_out = n;
		atomic_store_explicit(
		    &e->filled, from + n, memory_order_release);
	}
	pthread_cond_broadcast(&e->change);
	pthread_mutex_unlock(&e->lock);
	return rc;
}

int
lt_extent_fill_sync(struct lt_extent *e)
{
	return lt_sys.fdatasync(e->fill_fd) == 0 ? LEAT_OK : LEAT_E_IO;
}

int
lt_extent_back_sync(struct lt_extent *e)
{
	return lt_sys.fdatasync(e->sync_fd) == 0 ? LEAT_OK : LEAT_E_IO;
}

/* Where holes cannot be punched: overwrite what is not zero. */
static int
wipe(struct lt_extent *e, uint64_t from)
{
	size_t block = sizeof zeroes;
	uint8_t *buf = lt_mem_alloc(block);
	int rc = LEAT_OK;

	if (buf == NULL)
		return LEAT_E_NOMEM;
	while (rc == LEAT_OK && from < e->bytes) {
		size_t n = e->bytes - from < block ? e->bytes - from : block;
		rc = lt_sys_read_full(e->fd, buf, n, from);
		if (rc == LEAT_OK && memcmp(buf, zeroes, n) != 0)
			rc = lt_sys_write_full(e->fd, zeroes, n, from);
		from += n;
	}
	lt_mem_free(buf);
	return rc;
}

int
lt_extent_clear(struct lt_extent *e, uint64_t from)
{
	int rc = LEAT_OK;

	LT_ASSERT(from <= e->bytes && e->busy_end == 0);
	if (from < e->bytes &&
	    lt_sys.fallocate(e->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)from, (off_t)(e->bytes - from)) != 0)
		rc = wipe(e, from);
	if (rc == LEAT_OK) {
		e->reserved = from;
		atomic_store_explicit(&e->filled, from, memory_order_release);
	}
	return rc;
}
