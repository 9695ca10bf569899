/*
 * publish.c - bring a batch out: one append, consume queues, rings,
 * completions, counters, wakes, and a sync if anything in it asks for one.
 *
 * The order is the crash story. Nobody is told of a record before it is in the
 * log; completions are stored before the counter that covers them, and the
 * lane's head moves last, so what is not answered is still in the lane. After
 * a failed write or sync nobody is told anything any more: the process ends.
 *
 * Wakes are paid once per batch and session, behind one full fence, and only
 * if what the sleeper waits for happened since the last look: a client looks
 * once more after it raised its flag (doorbell.h).
 */
#include "config.h"
#include "store/duty.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "shm/counter.h"
#include "shm/doorbell.h"

void
lt_publish_full(struct lt_duty *d, int is_full)
{
	uint32_t flags =
	    atomic_load_explicit(&d->beacon->flags, memory_order_relaxed);

	d->full_at_ms = d->now_ms;
	if (d->is_full == is_full)
		return;
	d->is_full = is_full;
	lt_stat_set(store_disk_full, (uint64_t)is_full);
	if (is_full)
		flags |= LT_BEACON_DISK_FULL;
	else
		flags &= ~(uint32_t)LT_BEACON_DISK_FULL;
	atomic_store_explicit(&d->beacon->flags, flags, memory_order_relaxed);
	if (is_full)
		lt_log_warn("disk-full", "log_end=%llu",
		    (unsigned long long)lt_commitlog_end(d->log));
	else
		lt_log_info("disk-has-room", "log_end=%llu",
		    (unsigned long long)lt_commitlog_end(d->log));
}

/* --- append --- */

static int
append(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	int err = lt_failpoint(LT_FP_STORE_APPEND_BEFORE);
	int status;

	status = err != 0 ? lt_sys_status(err)
			  : lt_commitlog_append(d->log, b->buf, b->used);
	if (status != LEAT_OK)
		return status;
	if (lt_failpoint(LT_FP_STORE_APPEND_AFTER) != 0)
		return LEAT_E_IO;
	lt_stat_add(store_batches, 1);
	lt_stat_add(store_bytes, b->used);
	if (d->dirty_since_ms == 0)
		d->dirty_since_ms = d->now_ms;
	return LEAT_OK;
}

/* No space for it: everything in the batch is refused, nothing was written. */
static void
refuse(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	struct lt_batch_rec *r;

	for (uint32_t i = 0; i < b->count; i++) {
		r = &b->recs[i];
		if (r->cq == NULL)
			continue;
		r->cq->pending = 0;
		r->cq = NULL;
		if (r->session->page == NULL) /* it comes again, or not */
			r->session->taken = r->session->in_log;
		r->status = LEAT_E_NOSPACE;
		r->queue_offset = -1;
		r->log_offset = -1;
		lt_stat_add(store_rejected, 1);
	}
	lt_publish_full(d, 1);
}

/* --- consume queues and rings --- */

static inline void
feed(struct lt_duty *d, struct lt_feed *f, const struct lt_batch_rec *r)
{
	if (f->seg.base != NULL)
		lt_ring_put(&f->ring, r->queue_offset, r->log_offset,
		    r->tags_code, d->batch.buf + r->at, r->bytes);
	if (f->is_touched)
		return;
	f->is_touched = 1;
	f->next_touched = d->touched_feeds;
	d->touched_feeds = f;
}

static void
commit_feeds(struct lt_duty *d)
{
	struct lt_feed *f;
	struct lt_session *s;
	uint64_t bytes = 0, before;

	if (LT_UNLIKELY(d->log_feed.watcher_count > 0)) {
		d->log_feed.next_touched = d->touched_feeds;
		d->touched_feeds = &d->log_feed;
	}
	for (f = d->touched_feeds; f != NULL; f = f->next_touched) {
		f->is_touched = 0;
		if (f->seg.base != NULL) {
			before = f->ring.committed;
			lt_ring_commit(&f->ring);
			bytes += f->ring.committed - before;
		}
		if (LT_UNLIKELY(f->await.bytes > 0))
			lt_feed_awaited(d, f);
		for (size_t i = 0; i < f->watcher_count; i++) {
			s = f->watchers[i];
			s->has_data = 1;
			if (s->is_touched)
				continue;
			s->is_touched = 1;
			s->next_touched = d->touched;
			d->touched = s;
		}
	}
	d->touched_feeds = NULL;
	lt_stat_add(store_ring_bytes, bytes);
}

/* Put the batch into its queues, from where it stopped. AGAIN: no space or no
 * memory now; what is indexed is visible already. */
static int
index_batch(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	struct lt_batch_rec *r;
	struct lt_cq_entry entry;
	int status = LEAT_OK;

	for (; b->indexed < b->count; b->indexed++) {
		r = &b->recs[b->indexed];
		if (r->cq == NULL)
			continue;
		LT_ASSERT(r->cq->next == r->queue_offset);
		entry.log_offset = r->log_offset;
		entry.bytes = r->bytes;
		entry.tags_code = r->tags_code;
		status = lt_cq_append(d->queues, r->cq, &entry);
		if (LT_UNLIKELY(status != LEAT_OK))
			break;
		r->cq->pending--;
		if (r->cq->user != NULL)
			feed(d, r->cq->user, r);
	}
	commit_feeds(d);
	return status == LEAT_E_NOSPACE || status == LEAT_E_NOMEM ? LEAT_E_AGAIN
								  : status;
}

/* --- completions --- */

static void
note_begin(struct lt_duty *d, const struct lt_batch_rec *r)
{
	const char *name = lt_cq_topic_name(r->cq);

	if (r->tags_code != d->begin_tag)
		return;
	if (strcmp(name, LT_NAME_CONFIG_TOPIC) == 0)
		d->begin_next[0] = r->log_offset;
	else if (strcmp(name, LT_NAME_PROGRESS_TOPIC) == 0)
		d->begin_next[1] = r->log_offset;
}

static void
complete(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	uint64_t logged = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		struct lt_batch_rec *r = &b->recs[i];
		struct lt_session *s = r->session;
		struct lt_page_done *done;

		if (r->cq != NULL) {
			logged++;
			if (LT_LIKELY(r->seq > s->in_log))
				s->in_log = r->seq;
			s->is_new_in_log = 1;
		}
		if (LT_UNLIKELY(s->page == NULL)) {
			if (r->cq != NULL)
				note_begin(d, r);
			continue;
		}
		done = (struct lt_page_done *)((char *)s->page +
					       LT_SEGMENT_DATA_AT) +
		       (r->seq & s->page_mask);
		done->seq = r->seq;
		done->log_offset = r->log_offset;
		done->queue_offset = r->queue_offset;
		done->status = r->status;
		done->store_ms_low = r->store_ms_low;
	}
	lt_stat_add(store_messages, logged);
}

static void
show(struct lt_duty *d, struct lt_session *s)
{
	struct lt_page_shared *p = s->page;

	if (s->is_new_in_log) {
		s->is_new_in_log = 0;
		s->mark->seq = s->in_log;
		s->mark->last_ms = d->store_ms;
	}
	if (p == NULL || !s->has_room)
		return;
	s->logged = s->taken;
	atomic_store_explicit(&p->store_ms, d->store_ms, memory_order_relaxed);
	atomic_store_explicit(&p->accepted, s->taken, memory_order_relaxed);
	/* release: the client looks at completions behind an acquire of it */
	atomic_store_explicit(&p->logged, s->logged, memory_order_release);
	/* release: last of all, see session.c */
	atomic_store_explicit(
	    &p->lane_head, s->lane.head, memory_order_release);
	if (s->synced < s->logged && !s->is_unsynced) {
		s->is_unsynced = 1;
		s->next_unsynced = d->unsynced;
		d->unsynced = s;
	}
}

static inline int
crossed(uint64_t want, uint64_t seen, uint64_t now)
{
	return seen < want && want <= now;
}

/* Behind a full fence: does this session sleep on something that happened
 * since the last look? */
static void
look(struct lt_session *s)
{
	struct lt_lane_shared *lane = s->lane.shared;
	uint32_t waiting =
	    atomic_load_explicit(&lane->waiting, memory_order_relaxed);
	uint64_t logged = s->seen_logged, synced = s->seen_synced;

	s->seen_logged = s->logged;
	s->seen_synced = s->synced;
	if (waiting == 0)
		return;
	if (((waiting & LT_LANE_WAIT_DATA) && s->has_data) ||
	    ((waiting & LT_LANE_WAIT_ROOM) && s->has_room) ||
	    ((waiting & LT_LANE_WAIT_RECEIPT) &&
		(crossed(atomic_load_explicit(
			     &lane->want_logged, memory_order_relaxed),
		     logged, s->logged) ||
		    crossed(atomic_load_explicit(
				&lane->want_synced, memory_order_relaxed),
			synced, s->synced))))
		lt_publish_wake(s);
}

void
lt_publish_wake(struct lt_session *s)
{
	uint32_t waiting = atomic_load_explicit(
	    &((struct lt_lane_shared *)s->lane.shared)->waiting,
	    memory_order_relaxed);

	lt_doorbell_ring(&s->page->doorbell);
	if (waiting & LT_LANE_WAIT_EVENTFD)
		lt_doorbell_event(s->client_event);
	lt_stat_add(store_wakes, 1);
}

static void
wake_touched(struct lt_duty *d)
{
	struct lt_session *s;

	lt_doorbell_fence();
	while ((s = d->touched) != NULL) {
		d->touched = s->next_touched;
		s->is_touched = 0;
		if (s->page != NULL)
			look(s);
		s->has_data = 0;
		s->has_room = 0;
		s->has_refused = 0;
	}
}

static void
answer(struct lt_duty *d, uint32_t level)
{
	struct lt_batch *b = &d->batch;

	for (uint32_t i = 0; i < b->reply_count; i++) {
		const struct lt_batch_reply *p = &b->replies[i];
		const struct lt_batch_rec *r = &b->recs[p->rec];
		struct lt_wire_appended m;

		if (p->level != level)
			continue;
		memset(&m, 0, sizeof(m));
		lt_wire_reply(&m.h, &p->request, sizeof(m), 0, r->status);
		m.queue_offset = r->queue_offset;
		m.log_offset = r->log_offset;
		lt_peer_send(d, &m, sizeof(m), -1);
	}
}

/* --- sync --- */

/* Sessions have what they had when the sync began, or now, synced. */
static void
release(struct lt_duty *d, int all)
{
	struct lt_session **at = &d->unsynced, *s;

	for (s = d->unsynced; s != NULL; s = s->next_unsynced) {
		uint64_t synced = all ? s->logged : s->syncing;

		if (synced <= s->synced)
			continue;
		s->synced = synced;
		/* release: pairs with acquire where a client waits for it */
		atomic_store_explicit(
		    &s->page->synced, s->synced, memory_order_release);
	}
	lt_doorbell_fence();
	while ((s = *at) != NULL) {
		look(s);
		if (s->synced < s->logged) {
			at = &s->next_unsynced;
			continue;
		}
		*at = s->next_unsynced;
		s->is_unsynced = 0;
	}
}

static void
show_synced(struct lt_duty *d)
{
	uint64_t synced = lt_commitlog_synced(d->log);

	lt_stat_set(store_log_synced, synced);
	atomic_store_explicit(
	    &d->beacon->log_synced, synced, memory_order_relaxed);
}

void
lt_publish_durable(struct lt_duty *d, uint64_t end)
{
	show_synced(d);
	release(d, end == lt_commitlog_end(d->log));
}

int
lt_publish_sync(struct lt_duty *d)
{
	uint64_t start;
	int err, status;

	if (lt_commitlog_synced(d->log) != lt_commitlog_end(d->log)) {
		start = lt_clock_mono_ns();
		err = lt_failpoint(LT_FP_STORE_SYNC_BEFORE);
		status =
		    err != 0 ? lt_sys_status(err) : lt_commitlog_sync(d->log);
		if (status != LEAT_OK)
			return LEAT_E_IO; /* never tried again */
		lt_stat_add(store_syncs, 1);
		lt_stat_add(store_sync_ns, lt_clock_mono_ns() - start);
		(void)lt_failpoint(LT_FP_STORE_SYNC_AFTER);
	}
	d->dirty_since_ms = 0;
	show_synced(d);
	release(d, 1);
	return LEAT_OK;
}

int
lt_publish_run(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	uint64_t end;
	int status;

	if (b->count == 0 && d->touched == NULL)
		return LEAT_OK;
	if (!b->is_appended) {
		(void)lt_failpoint(LT_FP_STORE_DRAIN);
		status = b->used > 0 ? append(d) : LEAT_OK;
		if (status == LEAT_E_NOSPACE)
			refuse(d);
		else if (status != LEAT_OK)
			return LEAT_E_IO;
		b->is_appended = 1;
	}
	status = index_batch(d);
	if (status == LEAT_E_AGAIN) {
		lt_publish_full(d, 1);
		return LEAT_OK;
	}
	if (status != LEAT_OK)
		return LEAT_E_IO;
	(void)lt_failpoint(LT_FP_STORE_RING);
	complete(d);
	(void)lt_failpoint(LT_FP_STORE_COMPLETE);
	for (struct lt_session *s = d->touched; s != NULL; s = s->next_touched)
		show(d, s);
	end = lt_commitlog_end(d->log);
	atomic_store_explicit(
	    &d->state->completed_end, end, memory_order_relaxed);
	atomic_store_explicit(
	    &d->state->store_ms, d->store_ms, memory_order_relaxed);
	/* release: who reads the log below it, in lt_relay_log_end */
	atomic_store_explicit(&d->beacon->log_end, end, memory_order_release);
	lt_stat_set(store_log_end, end);
	wake_touched(d);
	answer(d, LEAT_LOGGED);
	if (b->want_sync || lt_commitlog_synced(d->log) == end) {
		status = lt_publish_sync(d);
		if (status != LEAT_OK)
			return status;
	}
	answer(d, LEAT_SYNCED);
	lt_batch_reset(d);
	return LEAT_OK;
}
