/*
 * upkeep.c - what the store does now and then, between two batches: checkpoint,
 * retention, look for space on a full disk, let go of what deleted topics had
 * and of what a former queue manager left behind.
 */
#include "config.h"
#include "store/duty.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/name.h"
#include "shm/counter.h"
#include "store/retain.h"

#define WAIT_CAP_MS 500
#define FULL_RETRY_MS 250
#define STALL_RETRY_MS 50
#define TRACES_KEEP_MS 600000
/* Log kept for the broker's own records while publishing is refused: hours of
 * progress, one record a second. */
#define SYSTEM_BYTES (4u << 20)
#define BEGIN_CHUNK 512
#define RETAIN_GRACE_MS 600000

/* --- where the broker's own state begins --- */

/* Newest record of queue 0 of this topic tagged "begin"; 0: none. */
static int
find_begin(struct lt_duty *d, struct lt_cq_view *view, const char *topic,
    size_t bytes, int64_t *out)
{
	struct lt_cq *cq = lt_cq_find(d->queues, topic, bytes, 0);
	struct lt_cq_entry *e;
	size_t count, n;
	int64_t at, from;
	int status;

	*out = 0;
	if (cq == NULL || cq->next == 0)
		return LEAT_OK;
	status = lt_cq_flush(d->queues, cq);
	if (status != LEAT_OK)
		return status;
	e = lt_mem_array(BEGIN_CHUNK, sizeof(*e));
	if (e == NULL)
		return LEAT_E_NOMEM;
	for (at = cq->next; at > 0 && *out == 0; at = from) {
		from = at > BEGIN_CHUNK ? at - BEGIN_CHUNK : 0;
		n = (size_t)(at - from);
		status = lt_cq_view_read(view, topic, 0, from, e, n, &count);
		if (status != LEAT_OK || count == 0)
			break;
		for (size_t i = count; i-- > 0 && *out == 0;)
			if (e[i].bytes != 0 && e[i].tags_code == d->begin_tag)
				*out = e[i].log_offset;
	}
	lt_mem_free(e);
	return status == LEAT_E_NOTFOUND ? LEAT_OK : status;
}

int
lt_upkeep_init(struct lt_duty *d)
{
	struct lt_cq_view *view;
	int status;

	d->now_ms = lt_clock_mono_ms();
	d->start_ms = d->now_ms;
	d->start_wall_ms = lt_clock_wall_ms();
	d->checkpoint_ms = d->now_ms;
	d->retain_at_ms = d->now_ms + d->options.store_retain_check_ms;
	d->traces_until_ms = d->now_ms + TRACES_KEEP_MS;
	d->begin_tag = lt_name_tags_code("begin", 5);
	/* Until the queue manager says which of them still wait. */
	d->hold =
	    lt_cq_has_topic(d->queues, LT_NAME_SCHEDULE_TOPIC) ? 0 : UINT64_MAX;
	lt_topicmap_remove(d); /* what a predecessor did not come to */
	status = lt_cq_view_open(d->store_dir, &view);
	if (status == LEAT_E_NOTFOUND)
		return LEAT_OK;
	if (status != LEAT_OK)
		return status;
	status = find_begin(d, view, LT_NAME_CONFIG_TOPIC,
	    sizeof(LT_NAME_CONFIG_TOPIC) - 1, &d->begin_now[0]);
	if (status == LEAT_OK)
		status = find_begin(d, view, LT_NAME_PROGRESS_TOPIC,
		    sizeof(LT_NAME_PROGRESS_TOPIC) - 1, &d->begin_now[1]);
	lt_cq_view_close(view);
	d->begin_next[0] = d->begin_now[0];
	d->begin_next[1] = d->begin_now[1];
	/* No space for a flush: nothing is known, so nothing is dropped. */
	return status == LEAT_E_NOSPACE ? LEAT_OK : status;
}

static uint64_t
system_min(const struct lt_duty *d)
{
	int64_t a = d->begin_now[0], b = d->begin_now[1];
	uint64_t begin = (uint64_t)(a < b ? a : b);

	return begin < d->hold ? begin : d->hold;
}

/* --- retention and space --- */

/* What retention takes for now. A wall clock set forward makes nothing older:
 * behind the start only true time counts. One that was wrong at the start has
 * a while to be set right, before which nothing has aged. */
static int64_t
retain_now_ms(const struct lt_duty *d)
{
	uint64_t up_ms = d->now_ms - d->start_ms;
	int64_t wall_ms = lt_clock_wall_ms();
	int64_t true_ms = d->start_wall_ms + (int64_t)up_ms;

	if (up_ms < RETAIN_GRACE_MS)
		return 0;
	return wall_ms < true_ms ? wall_ms : true_ms;
}

/* Blocks for a batch, for what a roll may leave behind, for our own records. */
static int
secure(struct lt_duty *d)
{
	uint64_t system = lt_commitlog_segment_bytes(d->log) / 4;

	if (system > SYSTEM_BYTES)
		system = SYSTEM_BYTES;
	return lt_commitlog_secure(d->log, 2 * d->batch.buf_bytes + system);
}

void
lt_upkeep_secure(struct lt_duty *d)
{
	int status;

	if (LT_UNLIKELY(d->is_full))
		return;
	status = secure(d);
	if (LT_UNLIKELY(
		status == LEAT_E_NOSPACE || lt_cq_is_starved(d->queues)))
		lt_publish_full(d, 1);
	/* Any other failure: the next append tells. */
}

/* Is there space again, also for queue entries that wait for it? */
static int
has_space(struct lt_duty *d, int *status_out)
{
	*status_out = lt_cq_flush_all(d->queues);
	return *status_out == LEAT_OK && secure(d) == LEAT_OK;
}

int
lt_upkeep_disk(struct lt_duty *d)
{
	struct lt_commitlog_segment seg;
	struct lt_retain_result r = {0};
	size_t n = 0;
	int status;

	status = lt_retain_run(d->log, d->queues, &d->options, retain_now_ms(d),
	    system_min(d), d->store_dir, &r);
	if (status != LEAT_OK)
		lt_log_warn(
		    "retention-failed", "status=%s", leat_status_name(status));
	if (r.dropped > 0) {
		lt_log_info("segments-deleted", "count=%u log_min=%llu",
		    r.dropped, (unsigned long long)lt_commitlog_min(d->log));
		/* Their blocks are free once nobody maps them. */
		if (d->is_open)
			lt_peer_number(
			    d, LT_OP_E_ROLLED, 0, lt_commitlog_min(d->log));
	}
	while (lt_commitlog_segment_at(d->log, n, &seg) == LEAT_OK)
		n++;
	lt_stat_set(store_segments, n);
	lt_stat_add(store_segments_deleted, r.dropped);
	lt_stat_set(store_log_min, lt_commitlog_min(d->log));
	lt_stat_set(store_disk_free, r.disk_free);
	d->full_at_ms = d->now_ms;
	status = LEAT_OK;
	if (r.disk_full)
		lt_publish_full(d, 1);
	else if (d->is_full && !d->batch.is_appended && has_space(d, &status))
		lt_publish_full(d, 0);
	return status == LEAT_E_NOSPACE || status == LEAT_E_NOMEM ? LEAT_OK
								  : status;
}

static int
retain(struct lt_duty *d)
{
	int status = lt_upkeep_disk(d);

	d->retain_at_ms = d->now_ms + d->options.store_retain_check_ms;
	/* A new state counts from the next check on: its first record may be
	 * there before the others are. */
	d->begin_now[0] = d->begin_next[0];
	d->begin_now[1] = d->begin_next[1];
	return status;
}

/* --- what is due --- */

int
lt_upkeep_run(struct lt_duty *d)
{
	uint64_t now = d->now_ms;
	int status = lt_checkpoint_run(d);

	if (status != LEAT_OK)
		return status;
	if (LT_UNLIKELY(now >= d->retain_at_ms))
		status = retain(d);
	else if (LT_UNLIKELY(
		     d->is_full && now - d->full_at_ms >= FULL_RETRY_MS))
		status = lt_upkeep_disk(d);
	if (status != LEAT_OK || LT_UNLIKELY(lt_commitlog_failed(d->log)))
		return LEAT_E_IO;
	if (LT_LIKELY(d->batch.count == 0))
		lt_topicmap_give_back(d);
	if (LT_UNLIKELY(d->stale_at_ms != 0 && now >= d->stale_at_ms)) {
		d->stale_at_ms = 0;
		lt_feed_drop_stale(d);
	}
	if (LT_UNLIKELY(
		d->recovered.traces != NULL && now >= d->traces_until_ms))
		lt_mark_drop_traces(d);
	return LEAT_OK;
}

static void
until(const struct lt_duty *d, uint64_t at_ms, int *wait_ms)
{
	if (at_ms <= d->now_ms)
		*wait_ms = 0;
	else if (at_ms - d->now_ms < (uint64_t)*wait_ms)
		*wait_ms = (int)(at_ms - d->now_ms);
}

int
lt_upkeep_wait_ms(const struct lt_duty *d)
{
	int wait_ms = WAIT_CAP_MS;

	if (d->batch.is_appended)
		return STALL_RETRY_MS;
	if (lt_cq_dropped(d->queues) != NULL)
		return 0;
	until(d, lt_checkpoint_due_ms(d), &wait_ms);
	if (d->is_full)
		until(d, d->full_at_ms + FULL_RETRY_MS, &wait_ms);
	until(d, d->retain_at_ms, &wait_ms);
	return wait_ms;
}
