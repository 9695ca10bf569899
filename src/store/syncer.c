/*
 * syncer.c - the thread behind syncer.h. It sleeps until a job is there, does
 * it, says so and rings the writer's eventfd. While there is none it removes
 * what was dropped, in pieces so small that no job waits long.
 *
 * And if the process dies in a job? Then the log's bytes are as durable as the
 * disk made them, nobody was told, and the snapshot is the old one or the new
 * one, which relies only on what was made durable before it. What is not yet
 * removed has a hidden name, by which a successor finds it.
 */
#include "config.h"
#include "store/syncer.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "shm/doorbell.h"

#define PIECE 16 /* queues whose files are removed at once */

struct lt_syncer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct lt_syncer_job *job; /* lock: NULL when done */
	int stop; /* lock */
	const struct lt_cq_set *litter; /* lock: look for it; NULL: none */
	struct lt_cq_removal removal; /* the thread's */
	int event;
	atomic_int done; /* no job is under way */
};

void
lt_syncer_do(struct lt_syncer_job *job)
{
	uint64_t start = lt_clock_mono_ns();
	int err = lt_failpoint(LT_FP_STORE_SYNC_BEFORE);

	job->status = LEAT_OK;
	job->log_status =
	    err != 0 ? LEAT_E_IO : lt_commitlog_sync_run(&job->log);
	job->log_ns = lt_clock_mono_ns() - start;
	if (job->log_status != LEAT_OK)
		return;
	(void)lt_failpoint(LT_FP_STORE_SYNC_AFTER);
	if (job->image == NULL)
		return;
	job->status = lt_cq_sync_run(&job->queues);
	if (job->status == LEAT_OK)
		job->status = lt_snapshot_put(job->store_dir, job->image);
	lt_mem_trim(); /* buffers of queues that are idle now */
}

/* Both: lock held, but not meanwhile. */
static void
do_job(struct lt_syncer *s)
{
	pthread_mutex_unlock(&s->lock);
	lt_syncer_do(s->job);
	pthread_mutex_lock(&s->lock);
	s->job = NULL;
	/* release: the writer sees what the job became */
	atomic_store_explicit(&s->done, 1, memory_order_release);
	pthread_cond_broadcast(&s->change);
	lt_doorbell_event(s->event);
}

/* A pass over all there is; what comes meanwhile has another one. */
static void
remove_piece(struct lt_syncer *s)
{
	const struct lt_cq_set *set = NULL;
	int status = LEAT_OK;

	if (s->removal.names == NULL) {
		set = s->litter;
		s->litter = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (set != NULL)
		status = lt_cq_remove_begin(&s->removal, set);
	if (status == LEAT_OK)
		status = lt_cq_remove_some(&s->removal, PIECE);
	if (status != LEAT_E_AGAIN)
		lt_cq_remove_end(&s->removal);
	pthread_mutex_lock(&s->lock);
}

static void *
run(void *arg)
{
	struct lt_syncer *s = arg;

	(void)pthread_setname_np(pthread_self(), "store-syncer");
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (s->job != NULL)
			do_job(s);
		else if (s->litter != NULL || s->removal.names != NULL)
			remove_piece(s);
		else
			pthread_cond_wait(&s->change, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	lt_cq_remove_end(&s->removal);
	return NULL;
}

int
lt_syncer_start(int event, struct lt_syncer **out)
{
	struct lt_syncer *s = lt_mem_alloc(sizeof(*s));
	sigset_t all, before;

	if (s == NULL)
		return LEAT_E_NOMEM;
	s->event = event;
	atomic_init(&s->done, 1);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->change, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0) {
		lt_mem_free(s);
		return lt_sys_status(err);
	}
	*out = s;
	return LEAT_OK;
}

void
lt_syncer_stop(struct lt_syncer *s)
{
	if (s == NULL)
		return;
	lt_syncer_wait(s);
	pthread_mutex_lock(&s->lock);
	s->stop = 1;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
	lt_mem_free(s);
}

void
lt_syncer_submit(struct lt_syncer *s, struct lt_syncer_job *job)
{
	pthread_mutex_lock(&s->lock);
	LT_ASSERT(s->job == NULL);
	atomic_store_explicit(&s->done, 0, memory_order_relaxed);
	s->job = job;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
}

int
lt_syncer_is_done(const struct lt_syncer *s)
{
	return atomic_load_explicit(&s->done, memory_order_acquire);
}

void
lt_syncer_wait(struct lt_syncer *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->job != NULL)
		pthread_cond_wait(&s->change, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void
lt_syncer_remove(struct lt_syncer *s, const struct lt_cq_set *set)
{
	pthread_mutex_lock(&s->lock);
	s->litter = set;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
}
