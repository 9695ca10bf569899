/*
 * progress.c - the sweep: reads from a live table how far its group has come,
 * frees claims of dead and slow members, and notes what has to be logged.
 * Tables in which something happens are looked at every harvest_ms, others
 * ever less often up to once a second, and those with nothing unacknowledged
 * cost two loads. What is read there was written by members: only progress
 * within [progress, progress + window) and below the queue's end counts.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/counter.h"

#define PAUSE_MAX_MS 1000
#define ORPHANS_AT_ONCE 64
#define RETIRED_AT_ONCE 1000000 /* offsets, in one look: some 10 ms */

void
lt_progress_soon(struct lt_manager *m, struct lt_claims *c)
{
	c->pause_ms = m->options.queue_harvest_ms;
	c->sweep_at_ms = lt_clock_mono_ms() + c->pause_ms;
	if (c->sweep_at_ms < m->sweep_next_ms)
		m->sweep_next_ms = c->sweep_at_ms;
}

/* Claims were freed: members look for them. */
static void
tell_returned(struct lt_manager *m, struct lt_claims *c)
{
	struct lt_sub *sub;

	atomic_fetch_add_explicit(/* release: behind the freed words */
	    &c->table.shared->returned, 1, memory_order_release);
	LIST_FOREACH(sub, &c->subs, claims_link)
	lt_storelink_wake(m, sub->session->id);
}

int
lt_progress_sweep(
    struct lt_manager *m, struct lt_claims *c, uint16_t dead_owner)
{
	struct lt_progress *p = c->progress;
	struct lt_qref *q = lt_ringset_find(m, p->topic, p->queue);
	int64_t max = q == NULL ? 0 : lt_ringset_max(q);
	struct lt_table_sweep out;
	int changed;

	c->cursor = atomic_load_explicit(
	    &c->table.shared->cursor, memory_order_relaxed);
	if (max <= p->offset) {
		c->claimed = 0;
		return 0;
	}
	lt_table_harvest(&c->table, p->offset, max, lt_clock_mono_ms(),
	    m->options.queue_lease_ms, dead_owner, &out);
	changed = out.progress != p->offset || out.claimed != c->claimed ||
		  out.expired > 0;
	c->claimed = out.claimed;
	if (out.progress > p->offset) {
		lt_group_progress_set(m, p, out.progress);
		atomic_store_explicit(&c->table.shared->progress, out.progress,
		    memory_order_release);
	}
	if (out.expired > 0)
		lt_stat_add(queue_redelivered, out.expired);
	/* A member that died may have freed a claim and not said so any more
	 * (SILENT_LEAVE in tests/models/group.pml). */
	if (out.expired > 0 || dead_owner != 0)
		tell_returned(m, c);
	return changed;
}

void
lt_progress_sweep_all(struct lt_manager *m)
{
	struct lt_claims *c;

	LIST_FOREACH(c, &m->claims, link)
	(void)lt_progress_sweep(m, c, 0);
}

static int
is_live(const struct lt_claims *c, uint32_t owner)
{
	const struct lt_sub *sub;

	LIST_FOREACH(sub, &c->subs, claims_link)
	if (sub->owner == owner)
		return 1;
	return 0;
}

/* Claims of members of our predecessor's time that did not come back. */
static void
sweep_orphans(struct lt_manager *m, struct lt_claims *c)
{
	uint16_t owners[ORPHANS_AT_ONCE];
	size_t n = 0;

	for (uint64_t i = 0; i < c->table.window && n < ORPHANS_AT_ONCE; i++) {
		uint64_t w = atomic_load_explicit(
		    &c->table.words[i], memory_order_acquire);
		uint16_t owner = (uint16_t)(w >> 16);
		size_t k = 0;

		if ((w & 3) != LT_CLAIM_CLAIMED || owner == 0 ||
		    is_live(c, owner))
			continue;
		while (k < n && owners[k] != owner)
			k++;
		if (k == n)
			owners[n++] = owner;
	}
	for (size_t i = 0; i < n; i++)
		(void)lt_progress_sweep(m, c, owners[i]);
	if (n < ORPHANS_AT_ONCE)
		c->orphans_at_ms = 0;
}

/*
 * Retention may have overtaken the group: what is gone counts as done, unless a
 * member holds it. The table stays as it is: what is acknowledged behind the
 * gap must not come again, and who holds something may still acknowledge it.
 */
static void
pass_retained(struct lt_manager *m, struct lt_claims *c)
{
	struct lt_progress *p = c->progress;
	struct lt_topic *t = lt_topic_by_id(m, p->topic);
	struct lt_qref *q = lt_ringset_find(m, p->topic, p->queue);
	int64_t min, to;
	uint64_t count;

	if (t == NULL || q == NULL || p->offset >= q->synced)
		return; /* what is gone is known below that */
	min = lt_ringset_min(m, q, t);
	to = min - p->offset > RETIRED_AT_ONCE ? p->offset + RETIRED_AT_ONCE
					       : min;
	count = lt_table_retire(&c->table, p->offset, to);
	if (count > 0)
		lt_log_warn("group-lost-messages",
		    "group=%s topic=%s queue=%u from=%lld to=%lld count=%llu",
		    p->group->name, t->name, p->queue, (long long)p->offset,
		    (long long)to, (unsigned long long)count);
}

/*
 * A table without members goes once the log has its progress: at once if
 * nothing is done behind something undone (that knowledge would be lost), else
 * after a rest.
 */
static int
may_go(const struct lt_claims *c, uint64_t now_ms)
{
	const struct lt_progress *p = c->progress;

	if (c->sub_count > 0 || c->orphans_at_ms != 0)
		return 0;
	if (p->dirty || p->in_flight || p->logged != p->offset)
		return 0;
	return c->cursor <= p->offset ||
	       now_ms - c->rest_since_ms >= LT_TABLE_REST_MS;
}

/* 1 if the table has gone. */
static int
look(struct lt_manager *m, struct lt_claims *c, uint64_t now_ms)
{
	int changed;

	if (m->phase == LT_PHASE_UP)
		pass_retained(m, c);
	if (c->orphans_at_ms != 0 && now_ms >= c->orphans_at_ms)
		sweep_orphans(m, c);
	changed = lt_progress_sweep(m, c, 0) || c->leave_at_ms != 0;
	if (c->leave_at_ms != 0 && lt_share_left(m, c, now_ms))
		return 1;
	if (may_go(c, now_ms)) {
		lt_group_claims_free(m, c, 0);
		return 1;
	}
	if (changed)
		c->pause_ms = m->options.queue_harvest_ms;
	else if (c->pause_ms < PAUSE_MAX_MS)
		c->pause_ms *= 2;
	if (c->pause_ms > PAUSE_MAX_MS &&
	    PAUSE_MAX_MS > m->options.queue_harvest_ms)
		c->pause_ms = PAUSE_MAX_MS;
	c->sweep_at_ms = now_ms + c->pause_ms;
	return 0;
}

void
lt_progress_timer(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_claims *c, *next;
	uint64_t soonest = UINT64_MAX;

	if (now_ms >= m->share_at_ms)
		lt_share_timer(m, now_ms);
	if (now_ms >= m->sweep_next_ms) {
		for (c = LIST_FIRST(&m->claims); c != NULL; c = next) {
			next = LIST_NEXT(c, link);
			if (now_ms >= c->sweep_at_ms && look(m, c, now_ms))
				continue;
			if (c->sweep_at_ms < soonest)
				soonest = c->sweep_at_ms;
		}
		m->sweep_next_ms = soonest;
	}
	if (m->flush_at_ms != 0 && now_ms >= m->flush_at_ms &&
	    m->phase == LT_PHASE_UP)
		lt_state_flush(m);
}

int
lt_progress_timeout(const struct lt_manager *m, uint64_t now_ms)
{
	uint64_t at = m->sweep_next_ms < m->share_at_ms ? m->sweep_next_ms
							: m->share_at_ms;

	if (m->flush_at_ms != 0 && m->phase == LT_PHASE_UP &&
	    m->flush_calls == 0 && m->change == NULL && m->flush_at_ms < at)
		at = m->flush_at_ms;
	if (at == UINT64_MAX)
		return -1;
	return at <= now_ms ? 0 : (int)(at - now_ms);
}
