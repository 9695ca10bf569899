/*
 * checkpoint.c - sync what nobody asked to sync, and checkpoint, without the
 * lanes waiting for it.
 *
 *   take the image (queues and marks as of log offset E)
 *   └► flush the queues' buffers, for a moment each turn
 *      └► syncer: log ► queue files ► snapshot          meanwhile: turns
 *         └► tell: synced up to the log's end when the job began; checkpoint E
 *
 * What is flushed later than E lies at or above the image's offsets, and entry
 * n is the same however often it is made, so the files may be ahead of the
 * image. Without the thread (tests, the end) the job is done here and now.
 *
 * A queue's file costs the same to open, write and sync for one entry as for
 * hundreds. So the more queues have entries, the more log may lie between two
 * checkpoints, up to LOG_TIMES as much as is asked for.
 */
#include "config.h"
#include "store/duty.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "shm/counter.h"

#define QUEUE_WORTH (96u << 10) /* log bytes that are worth a file's write */
#define LOG_TIMES 4
#define DUE_SOON_MS 100

/* Log bytes between two checkpoints. */
static uint64_t
distance(const struct lt_duty *d)
{
	uint64_t least = d->options.store_checkpoint_bytes;
	uint64_t worth = lt_cq_buffered(d->queues) * (uint64_t)QUEUE_WORTH;

	if (worth <= least)
		return least;
	return worth / LOG_TIMES < least ? worth : least * LOG_TIMES;
}

/* Something is new, or a buffer is to be given back. */
static int
has_work(const struct lt_duty *d)
{
	return lt_commitlog_end(d->log) != d->checkpoint_end ||
	       lt_cq_buffered(d->queues) > 0;
}

static int
is_due(const struct lt_duty *d)
{
	uint64_t end = lt_commitlog_end(d->log);
	uint64_t age = d->now_ms - d->checkpoint_ms;

	if (d->checkpoint_now)
		return age >= DUE_SOON_MS || d->checkpoint_end == 0;
	return (age >= d->options.store_checkpoint_ms && has_work(d)) ||
	       (end - d->checkpoint_at >= distance(d) && age >= DUE_SOON_MS);
}

/* Only recovery takes longer; the next one may succeed. */
static int
give_up(struct lt_duty *d, int status)
{
	lt_snapshot_image_free(d->job.image);
	d->job.image = NULL;
	d->checkpoint_phase = LT_CHECKPOINT_NONE;
	if (status != LEAT_E_NOSPACE && status != LEAT_E_NOMEM)
		return LEAT_E_IO;
	lt_log_warn("checkpoint-failed", "status=%s", leat_status_name(status));
	return LEAT_OK;
}

static int
take_image(struct lt_duty *d)
{
	struct lt_session_mark *marks = NULL;
	size_t count = 0;
	int status;

	LT_ASSERT(!d->batch.is_appended);
	/* A deletion that was told is in: recovery looks back no further than
	 * one configuration record for one that was not. */
	if (d->batch.count == 0)
		lt_topicmap_sweep(d);
	d->checkpoint_ms = d->now_ms;
	d->checkpoint_now = 0;
	d->checkpoint_at = lt_commitlog_end(d->log);
	status = lt_mark_save(d, d->store_ms, &marks, &count);
	if (status == LEAT_OK)
		status = lt_snapshot_take(
		    d->queues, d->checkpoint_at, marks, count, &d->job.image);
	lt_mem_free(marks);
	if (status != LEAT_OK)
		return give_up(d, status);
	lt_cq_flush_begin(d->queues);
	d->checkpoint_phase = LT_CHECKPOINT_FLUSH;
	return LEAT_OK;
}

static int
finish(struct lt_duty *d)
{
	struct lt_syncer_job *job = &d->job;
	uint64_t end = job->log.end;
	int status;

	d->is_syncing = 0;
	status = lt_commitlog_sync_end(d->log, &job->log, job->log_status);
	if (status != LEAT_OK)
		return LEAT_E_IO; /* never tried again */
	lt_stat_add(store_syncs, 1);
	lt_stat_add(store_sync_ns, job->log_ns);
	lt_publish_durable(d, end);
	if (job->image == NULL)
		return LEAT_OK;
	if (job->status != LEAT_OK)
		return give_up(d, job->status);
	lt_snapshot_image_free(job->image);
	job->image = NULL;
	d->checkpoint_phase = LT_CHECKPOINT_NONE;
	d->checkpoint_end = d->checkpoint_at;
	lt_stat_set(store_checkpoint, d->checkpoint_end);
	lt_stat_add(store_checkpoints, 1);
	lt_stat_set(store_queues, lt_cq_count(d->queues));
	return LEAT_OK;
}

static int
submit(struct lt_duty *d)
{
	struct lt_syncer_job *job = &d->job;
	int status = lt_commitlog_sync_begin(d->log, &job->log);

	if (status != LEAT_OK)
		return LEAT_E_IO;
	for (struct lt_session *s = d->unsynced; s != NULL;
	     s = s->next_unsynced)
		s->syncing = s->logged;
	d->dirty_since_ms = 0;
	d->is_syncing = 1;
	job->store_dir = d->store_dir;
	if (job->image != NULL) {
		(void)lt_failpoint(LT_FP_STORE_CHECKPOINT);
		lt_cq_sync_begin(d->queues, &job->queues);
		d->checkpoint_phase = LT_CHECKPOINT_SYNC;
	}
	if (d->syncer != NULL) {
		lt_syncer_submit(d->syncer, job);
		return LEAT_OK;
	}
	lt_syncer_do(job);
	return finish(d);
}

/* A part of the flush; a file that must be made takes long. */
static int
flush_turn(struct lt_duty *d)
{
	uint64_t start = lt_clock_mono_ns();
	int status = LEAT_E_AGAIN;

	for (int i = 0; status == LEAT_E_AGAIN && i < LT_DUTY_TURN_QUEUES;
	     i++) {
		status = lt_cq_flush_some(d->queues, 1);
		if (lt_clock_mono_ns() - start >= LT_DUTY_TURN_NS)
			break;
	}
	return status;
}

/* Flush a part, or all at once; then the job begins. */
static int
flush(struct lt_duty *d, int all)
{
	int status =
	    all ? lt_cq_flush_some(d->queues, SIZE_MAX) : flush_turn(d);

	if (status == LEAT_E_AGAIN)
		return LEAT_OK;
	return status == LEAT_OK ? submit(d) : give_up(d, status);
}

int
lt_checkpoint_run(struct lt_duty *d)
{
	int status = LEAT_OK;

	if (d->is_syncing) {
		if (LT_LIKELY(!lt_syncer_is_done(d->syncer)))
			return LEAT_OK;
		status = finish(d);
	}
	if (status != LEAT_OK || d->batch.is_appended)
		return status;
	if (d->checkpoint_phase == LT_CHECKPOINT_NONE && is_due(d))
		status = take_image(d);
	if (status == LEAT_OK && d->checkpoint_phase == LT_CHECKPOINT_FLUSH)
		return flush(d, d->syncer == NULL);
	if (status == LEAT_OK && LT_UNLIKELY(d->dirty_since_ms != 0) &&
	    d->now_ms - d->dirty_since_ms >= LT_DUTY_SYNC_MS)
		return submit(d);
	return status;
}

/* The one half done, then one of what there is now. */
static int
checkpoint_now(struct lt_duty *d)
{
	int status = LEAT_OK;

	if (d->checkpoint_phase == LT_CHECKPOINT_FLUSH)
		status = flush(d, 1);
	if (status == LEAT_OK)
		status = take_image(d);
	if (status == LEAT_OK && d->checkpoint_phase == LT_CHECKPOINT_FLUSH)
		status = flush(d, 1);
	return status;
}

int
lt_checkpoint_last(struct lt_duty *d)
{
	int status = LEAT_OK;

	lt_syncer_stop(d->syncer);
	d->syncer = NULL;
	if (d->is_syncing)
		status = finish(d);
	/* Not indexed for lack of space: recovery does it. */
	if (status == LEAT_OK && !d->batch.is_appended)
		status = checkpoint_now(d);
	return status == LEAT_OK ? lt_publish_sync(d) : status;
}

/* When there is something to do without anything else happening. */
uint64_t
lt_checkpoint_due_ms(const struct lt_duty *d)
{
	uint64_t at = UINT64_MAX;

	if (d->is_syncing) /* the thread rings */
		return at;
	if (d->checkpoint_phase == LT_CHECKPOINT_FLUSH)
		return d->now_ms;
	if (d->dirty_since_ms != 0)
		at = d->dirty_since_ms + LT_DUTY_SYNC_MS;
	if (d->checkpoint_now && d->checkpoint_ms + DUE_SOON_MS < at)
		at = d->checkpoint_ms + DUE_SOON_MS;
	else if (has_work(d) &&
		 d->checkpoint_ms + d->options.store_checkpoint_ms < at)
		at = d->checkpoint_ms + d->options.store_checkpoint_ms;
	return at;
}
