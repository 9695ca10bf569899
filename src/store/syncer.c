/*
 * syncer.c - the thread behind syncer.h. It sleeps until a job is there, does
 * it, says so and rings the writer's eventfd.
 *
 * And if the process dies in a job? Then the log's bytes are as durable as the
 * disk made them, nobody was told, and the snapshot is the old one or the new
 * one, which relies only on what was made durable before it.
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

struct lt_syncer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct lt_syncer_job *job; /* lock: NULL when done */
	int stop; /* lock */
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

static void *
run(void *arg)
{
	struct lt_syncer *s = arg;

	(void)pthread_setname_np(pthread_self(), "store-syncer");
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (s->job == NULL) {
			pthread_cond_wait(&s->change, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		lt_syncer_do(s->job);
		pthread_mutex_lock(&s->lock);
		s->job = NULL;
		/* release: the writer sees what the job became */
		atomic_store_explicit(&s->done, 1, memory_order_release);
		pthread_cond_broadcast(&s->change);
		lt_doorbell_event(s->event);
	}
	pthread_mutex_unlock(&s->lock);
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
