/*
 * filler.c - the commit log's helper thread.
 *
 * Work, most urgent first: make the next segment's file early; zero up to
 * `ahead` bytes in front of the writer; zero the next segment at a quarter more
 * than the writer's pace, so that it is whole when it is needed; overwrite a
 * dropped segment with zeroes, so that it can become a next one. Zeroes in the
 * segment in use cost its syncs some time (an fdatasync takes all of a file's
 * dirty pages), those in the next one hardly any: in the long run all are
 * written there.
 *
 * A recycled file keeps its blocks, but not its bytes: a record is known by its
 * own position, and a body could hold one made up for a later position. So
 * nothing of a former life is ever left in a segment that is in use.
 *
 * `ahead` begins small and grows to prefill_bytes with what is written, so an
 * idle broker writes little. Zeroes ahead save a sync the file system's own
 * commit, and cost it as many bytes as it has: nothing is zeroed while nobody
 * waits for a sync of the log, or while syncs are so large that the bytes cost
 * more. Nor when it would bring the disk close to full.
 *
 * Threads: the writer calls what filler.h offers, the thread runs run(). lock
 * covers the fields marked so. The thread sleeps on `change` after it set
 * wake_at and looked at `written` again; the writer stores `written`, then
 * looks at wake_at (both sequentially consistent: one of the two sees the
 * other's).
 */
#include "config.h"
#include "store/filler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define CHUNK (256u << 10) /* one write of zeroes: the writer may wait */
#define SYNC_BYTES (1u << 20) /* zeroes between the thread's fdatasyncs */
#define AHEAD_FIRST (4u << 20)
#define AHEAD_FACTOR 4
#define UNSYNCED_MAX (1u << 20) /* nobody waits for a sync: stop zeroing */
#define SYNC_LARGE (128u << 10) /* of a sync, on average: stop zeroing */
#define STEP_MAX (4u << 20)

struct lt_filler {
	struct lt_filler_config config;
	pthread_t thread;
	int running;
	uint64_t total; /* writer only: bytes written since start */
	uint64_t last; /* writer only: written at the last call */
	atomic_uint_least64_t written; /* by writer */
	atomic_uint_least64_t ahead; /* by writer */
	atomic_uint_least64_t unsynced; /* by writer */
	atomic_uint_least64_t sync_bytes; /* by writer: moving average */
	atomic_uint_least64_t wake_at; /* by both: wake the thread from here */
	atomic_int failed; /* by thread */
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct lt_extent *cur; /* lock */
	struct lt_extent *next; /* lock */
	struct lt_extent *spare; /* lock */
	int named; /* lock: spare's name in the log may come back */
	int clean; /* lock: spare is zeroes, and durably so */
	int making; /* lock: next is being made */
	int taken; /* lock: the writer has next, but does not use it yet */
	int stop; /* lock */
	int blocked; /* thread only: no space, until woken */
};

static int
has_room(struct lt_filler *f, uint64_t bytes)
{
	struct statvfs st;

	if (lt_sys.fstatvfs(f->config.dir, &st) != 0)
		return 0;
	uint64_t percent = f->config.full_percent >= 100
			       ? 2
			       : 2 * (100 - f->config.full_percent);
	uint64_t total = (uint64_t)st.f_blocks * st.f_frsize;
	uint64_t avail = (uint64_t)st.f_bavail * st.f_frsize;
	return avail >= bytes + total / 100 * percent;
}

static uint64_t
step_of(const struct lt_filler *f, uint64_t ahead)
{
	uint64_t step = f->config.segment_bytes / 8;

	if (ahead > 0 && ahead / 4 < step)
		step = ahead / 4;
	if (step > STEP_MAX)
		step = STEP_MAX;
	return step > 0 ? step : 1;
}

/* Make the segment at base: the clean spare, or a new sparse file. lock not
 * held, f->making is set. */
static int
make_next(struct lt_filler *f, uint64_t base, struct lt_extent **out)
{
	char name[LT_EXTENT_NAME];
	struct lt_extent *e = NULL;

	/* A segment is never put in another's place. */
	lt_extent_name(name, base);
	int fd = lt_sys.openat(f->config.dir, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		lt_log_error("segment.exists", "file=%s", name);
		lt_sys.close(fd);
		return LEAT_E_EXISTS;
	}
	pthread_mutex_lock(&f->lock);
	if (f->spare != NULL && f->clean) {
		e = f->spare;
		f->spare = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	if (e == NULL)
		return lt_extent_create(
		    f->config.dir, name, base, f->config.segment_bytes, out);
	if (lt_sys.renameat(
		f->config.dir, LT_FILLER_SPARE, f->config.dir, name) == 0) {
		e->base = base;
		*out = e;
		return LEAT_OK;
	}
	int rc = lt_sys_status(errno);
	lt_sys.unlinkat(f->config.dir, LT_FILLER_SPARE, 0);
	lt_extent_unref(e);
	return rc;
}

/* Zero one extent up to `to`. lock not held. */
static int
fill(struct lt_filler *f, struct lt_extent *e, uint64_t to)
{
	uint64_t dirty = 0;
	uint64_t n = 1;
	int stop = 0;
	int rc = LEAT_OK;

	while (rc == LEAT_OK && !stop && n > 0) {
		rc = lt_extent_fill(e, to, CHUNK, &n);
		dirty += rc == LEAT_OK ? n : 0;
		if (dirty > 0 &&
		    (dirty >= SYNC_BYTES || n == 0 || rc != LEAT_OK)) {
			dirty = 0;
			if (lt_extent_fill_sync(e) != LEAT_OK)
				rc = LEAT_E_IO;
		}
		pthread_mutex_lock(&f->lock);
		stop = f->stop;
		pthread_mutex_unlock(&f->lock);
	}
	return rc;
}

/* The name that the spare had must be gone before its bytes go. Other names
 * were meant too, so a failure is the log's; a descriptor of its own, since it
 * is told once to each. lock not held. */
static int
forget_name(struct lt_filler *f)
{
	int fd = lt_sys.openat(
	    f->config.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int rc = LEAT_OK;

	if (fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.fsync(fd) != 0)
		rc = LEAT_E_IO;
	lt_sys.close(fd);
	return rc;
}

/* What to zero next, up to *to_out; NULL: nothing. lock held. */
static struct lt_extent *
pick(struct lt_filler *f, uint64_t written, uint64_t *to_out)
{
	uint64_t size = f->config.segment_bytes;
	uint64_t ahead = atomic_load(&f->ahead);
	uint64_t step = step_of(f, ahead);

	if (f->blocked || f->config.prefill_bytes == 0)
		return NULL;
	if (atomic_load(&f->unsynced) < UNSYNCED_MAX &&
	    atomic_load(&f->sync_bytes) < SYNC_LARGE) {
		uint64_t pace = written + written / 4;
		struct lt_extent *e[2] = {f->cur, f->next};
		uint64_t goal[2] = {written + ahead, pace};
		for (int i = 0; i < 2; i++) {
			uint64_t to = goal[i] < size ? goal[i] : size;
			if (e[i] == NULL)
				continue;
			uint64_t filled = atomic_load(&e[i]->filled);
			if (filled >= to || (to < size && to - filled < step))
				continue;
			*to_out = to;
			if (has_room(f, to - filled))
				return e[i];
			f->blocked = 1;
			return NULL;
		}
	}
	if (f->spare == NULL || atomic_load(&f->spare->filled) == size)
		return NULL;
	*to_out = atomic_load(&f->spare->filled) + SYNC_BYTES;
	if (*to_out > size)
		*to_out = size;
	return f->spare;
}

static void
fail(struct lt_filler *f)
{
	if (!atomic_exchange(&f->failed, 1))
		lt_log_error("log.fill", "errno=%d", errno);
}

/* One piece of work; 0: there is none. lock held before and after. */
static int
work(struct lt_filler *f, uint64_t written)
{
	uint64_t to = 0;
	uint64_t size = f->config.segment_bytes;

	if (f->cur == NULL || atomic_load(&f->failed))
		return 0;
	if (f->next == NULL && !f->making && !f->taken && !f->blocked &&
	    written >= size / (f->config.prefill_bytes > 0 ? 16 : 2)) {
		struct lt_extent *next = NULL;
		uint64_t base = f->cur->base + size;
		f->making = 1;
		pthread_mutex_unlock(&f->lock);
		int rc = make_next(f, base, &next);
		if (rc == LEAT_E_IO) /* its sync, perhaps: never again */
			fail(f);
		pthread_mutex_lock(&f->lock);
		f->making = 0;
		f->next = next;
		f->blocked = rc != LEAT_OK; /* the writer will see why */
		pthread_cond_broadcast(&f->change);
		return 1;
	}
	struct lt_extent *e = pick(f, written, &to);
	if (e == NULL)
		return 0;
	lt_extent_ref(e);
	int named = e == f->spare && f->named;
	pthread_mutex_unlock(&f->lock);
	int rc = named ? forget_name(f) : LEAT_OK;
	if (rc == LEAT_OK)
		rc = fill(f, e, to);
	if (rc == LEAT_E_IO)
		fail(f);
	pthread_mutex_lock(&f->lock);
	if (named && rc == LEAT_OK && e == f->spare)
		f->named = 0;
	f->clean |=
	    rc == LEAT_OK && e == f->spare && atomic_load(&e->filled) == size;
	f->blocked = rc != LEAT_OK;
	lt_extent_unref(e);
	return 1;
}

static void *
run(void *arg)
{
	struct lt_filler *f = arg;

	(void)pthread_setname_np(pthread_self(), "store-filler");
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		uint64_t written = atomic_load(&f->written);
		if (work(f, written))
			continue;
		uint64_t at = written + step_of(f, atomic_load(&f->ahead));
		atomic_store(&f->wake_at, at);
		if (atomic_load(&f->written) < at)
			pthread_cond_wait(&f->change, &f->lock);
		f->blocked = 0;
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int
lt_filler_create(const struct lt_filler_config *config, struct lt_filler **out)
{
	struct lt_filler *f = lt_mem_alloc(sizeof *f);

	if (f == NULL)
		return LEAT_E_NOMEM;
	f->config = *config;
	atomic_init(&f->wake_at, UINT64_MAX);
	atomic_init(&f->ahead, config->prefill_bytes < AHEAD_FIRST
				   ? config->prefill_bytes
				   : AHEAD_FIRST);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->change, NULL);
	*out = f;
	return LEAT_OK;
}

void
lt_filler_destroy(struct lt_filler *f)
{
	char name[LT_EXTENT_NAME];

	if (f == NULL)
		return;
	if (f->running) {
		pthread_mutex_lock(&f->lock);
		f->stop = 1;
		pthread_cond_broadcast(&f->change);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	}
	if (f->next != NULL) {
		lt_extent_name(name, f->next->base);
		lt_sys.unlinkat(f->config.dir, name, 0);
	}
	if (f->spare != NULL)
		lt_sys.unlinkat(f->config.dir, LT_FILLER_SPARE, 0);
	lt_extent_unref(f->cur);
	lt_extent_unref(f->next);
	lt_extent_unref(f->spare);
	pthread_cond_destroy(&f->change);
	pthread_mutex_destroy(&f->lock);
	lt_mem_free(f);
}

int
lt_filler_start(struct lt_filler *f)
{
	sigset_t all, before;

	LT_ASSERT(!f->running);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&f->thread, NULL, run, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0)
		return lt_sys_status(err);
	f->running = 1;
	return LEAT_OK;
}

void
lt_filler_use(struct lt_filler *f, struct lt_extent *e, uint64_t written)
{
	pthread_mutex_lock(&f->lock);
	struct lt_extent *old = f->cur;
	f->cur = e == NULL ? NULL : lt_extent_ref(e);
	f->taken = 0;
	f->last = written;
	atomic_store(&f->written, written);
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	lt_extent_unref(old);
}

void
lt_filler_moved(struct lt_filler *f, uint64_t written)
{
	uint64_t n = written - f->last;

	f->last = written;
	f->total += n;
	atomic_store_explicit(&f->unsynced,
	    atomic_load_explicit(&f->unsynced, memory_order_relaxed) + n,
	    memory_order_relaxed);
	uint64_t ahead = f->total * AHEAD_FACTOR;
	if (ahead > f->config.prefill_bytes)
		ahead = f->config.prefill_bytes;
	if (ahead > atomic_load_explicit(&f->ahead, memory_order_relaxed))
		atomic_store_explicit(&f->ahead, ahead, memory_order_relaxed);
	atomic_store(&f->written, written);
	if (LT_LIKELY(written < atomic_load(&f->wake_at)))
		return;
	pthread_mutex_lock(&f->lock);
	atomic_store(&f->wake_at, UINT64_MAX);
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
}

void
lt_filler_synced(struct lt_filler *f)
{
	uint64_t n = atomic_load_explicit(&f->unsynced, memory_order_relaxed);
	uint64_t mean =
	    atomic_load_explicit(&f->sync_bytes, memory_order_relaxed);

	atomic_store_explicit(
	    &f->sync_bytes, mean - mean / 8 + n / 8, memory_order_relaxed);
	atomic_store_explicit(&f->unsynced, 0, memory_order_relaxed);
}

int
lt_filler_next(struct lt_filler *f, uint64_t base, struct lt_extent **out)
{
	pthread_mutex_lock(&f->lock);
	while (f->making)
		pthread_cond_wait(&f->change, &f->lock);
	struct lt_extent *e = f->next;
	f->next = NULL;
	f->making = e == NULL;
	f->taken = e != NULL;
	pthread_mutex_unlock(&f->lock);
	if (e != NULL) {
		LT_ASSERT(e->base == base);
		*out = e;
		return LEAT_OK;
	}
	int rc = make_next(f, base, out);
	if (rc == LEAT_E_NOSPACE && lt_filler_shed(f))
		rc = make_next(f, base, out);
	pthread_mutex_lock(&f->lock);
	f->making = 0;
	f->taken = rc == LEAT_OK;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

int
lt_filler_shed(struct lt_filler *f)
{
	pthread_mutex_lock(&f->lock);
	struct lt_extent *e = f->spare;
	f->spare = NULL;
	if (e != NULL)
		lt_sys.unlinkat(f->config.dir, LT_FILLER_SPARE, 0);
	pthread_mutex_unlock(&f->lock);
	lt_extent_unref(e);
	return e != NULL;
}

/* Rename a dropped segment and open it as the spare one. */
static int
keep(struct lt_filler *f, const char *name)
{
	int dir = f->config.dir;
	struct lt_extent *e = NULL;

	if (lt_sys.renameat(dir, name, dir, LT_FILLER_SPARE) != 0)
		return lt_sys_status(errno);
	int err = lt_failpoint(LT_FP_STORE_RETAIN);
	int rc = lt_sys_status(err);
	if (rc == LEAT_OK)
		rc = lt_extent_open(dir, LT_FILLER_SPARE, UINT64_MAX,
		    f->config.segment_bytes, 0, &e);
	if (rc != LEAT_OK) {
		/* It is out of the log all the same. */
		lt_log_warn("segment.recycle", "file=%s status=%d", name, rc);
		lt_sys.unlinkat(dir, LT_FILLER_SPARE, 0);
		return LEAT_OK;
	}
	pthread_mutex_lock(&f->lock);
	f->spare = e;
	f->named = 1;
	f->clean = 0;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	return LEAT_OK;
}

int
lt_filler_recycle(struct lt_filler *f, const char *name)
{
	if (lt_filler_failed(f))
		return LEAT_E_IO;
	pthread_mutex_lock(&f->lock);
	int have = f->spare != NULL;
	pthread_mutex_unlock(&f->lock);
	if (f->running && f->config.prefill_bytes > 0 && !have &&
	    has_room(f, 0))
		return keep(f, name);
	int err = lt_failpoint(LT_FP_STORE_RETAIN);
	if (err == 0 && lt_sys.unlinkat(f->config.dir, name, 0) != 0 &&
	    errno != ENOENT)
		err = errno;
	return lt_sys_status(err);
}

int
lt_filler_failed(const struct lt_filler *f)
{
	return atomic_load(&f->failed);
}
