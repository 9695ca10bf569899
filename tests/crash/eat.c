/*
 * eat.c - the receiving half of the crash test: members of one group, and a
 * reader that browses everything from the beginning.
 *
 * A message may come to the group a second time only if the member that held
 * it was killed before its acknowledgement, if the member gave it back, or if
 * the whole broker died since; and never once its queue's durable progress is
 * known to be beyond it.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

#define POLL_MAX 32

struct member {
	struct world *w;
	struct leat *leat;
	struct leat_consumer *consumer;
	uint32_t slot;
	uint32_t life;
	uint64_t random;
	char name[32];
};

static int
broker_died_since(struct world *w, uint32_t epoch)
{
	return (epoch & 1) != 0 || atomic_load(&w->epoch) != epoch;
}

/* May the message come again, seeing what is known of its last delivery? */
static int
may_come_again(struct member *m, struct world_mark *mark, uint32_t hold)
{
	if (hold == HOLD_NEW || hold == HOLD_GIVEN_BACK)
		return 1;
	if (broker_died_since(m->w, atomic_load(&mark->epoch)))
		return 1;
	return hold == HOLD_HELD && world_holder_died(m->w, mark);
}

static int
note_delivery(struct member *m, const struct leat_delivery *d)
{
	static const char *const hold_name[] = {
	    "never delivered", "held", "acknowledged", "given back"};
	struct world *w = m->w;
	struct world_body b;
	struct world_mark *mark;
	uint32_t hold, epoch = atomic_load(&w->epoch);

	if (!world_body_check(w, m->name, d, &b))
		return -1;
	mark = world_mark(w, b.producer, b.number);
	if (mark == NULL) {
		world_violate(w, "%s: got %u/%llu, which was never sent%s",
		    m->name, b.producer, (unsigned long long)b.number,
		    b.number < world_oldest(w, b.producer) ? " or done long ago"
							   : "");
		return -1;
	}
	hold = atomic_load(&mark->hold);
	if (!may_come_again(m, mark, hold)) {
		uint32_t holder = atomic_load(&mark->holder);

		world_violate(w,
		    "%s (life %u): got %u/%llu (queue %u offset %lld, attempt "
		    "%u) again: it was %s by member %u life %u, and nobody "
		    "died holding it",
		    m->name, m->life, b.producer, (unsigned long long)b.number,
		    d->queue, (long long)d->queue_offset, d->attempt,
		    hold_name[hold & 3], holder >> 24, holder & 0xffffff);
		return -1;
	}
	if (d->queue_offset < atomic_load(&w->floor[d->queue])) {
		world_violate(w,
		    "%s: got queue %u offset %lld although progress was "
		    "durable up to %lld",
		    m->name, d->queue, (long long)d->queue_offset,
		    (long long)atomic_load(&w->floor[d->queue]));
		return -1;
	}
	atomic_store(&mark->holder, m->slot << 24 | m->life);
	atomic_store(&mark->epoch, epoch);
	atomic_store(&mark->hold, HOLD_HELD);
	if (atomic_fetch_add(&mark->seen, 1) != 0)
		atomic_fetch_add(&w->redelivered, 1);
	atomic_fetch_add(&w->delivered, 1);
	return 0;
}

static void
note_done(struct member *m, const struct leat_delivery *d, enum world_hold hold)
{
	struct world_mark *mark;
	struct world_body b;

	if (!world_body_check(m->w, m->name, d, &b))
		return;
	mark = world_mark(m->w, b.producer, b.number);
	if (mark != NULL)
		atomic_store(&mark->hold, hold);
	if (hold == HOLD_ACKED && d->queue_offset < WORLD_OFFSETS)
		atomic_store(&m->w->acked[d->queue][d->queue_offset], 1);
}

/* Acknowledge (or give back) d[0..count). */
static int
finish(struct member *m, const struct leat_delivery *d, size_t count, int back)
{
	uint32_t epoch = atomic_load(&m->w->epoch);
	size_t i;
	int status;

	if (count == 0)
		return 0;
	/* Given back first: another member may have it before nack returns. */
	for (i = 0; back && i < count; i++)
		note_done(m, &d[i], HOLD_GIVEN_BACK);
	status = back ? leat_nack(m->consumer, d, count)
		      : leat_ack(m->consumer, d, count);
	if (status == LEAT_E_LEASE && broker_died_since(m->w, epoch))
		return 0;
	if (status != LEAT_OK) {
		world_violate(m->w, "%s (life %u): %s of %zu messages: %s (%s)",
		    m->name, m->life, back ? "nack" : "ack", count,
		    leat_status_text(status), leat_error(m->leat));
		return -1;
	}
	for (i = 0; !back && i < count; i++)
		note_done(m, &d[i], HOLD_ACKED);
	return 0;
}

static int
eat_some(struct member *m)
{
	struct leat_delivery d[POLL_MAX];
	uint64_t r = world_random(&m->random);
	size_t max = 1 + r % POLL_MAX;
	size_t first;
	int n = leat_poll(m->consumer, d, max, 100);
	int i, back;

	if (n < 0) {
		world_violate(m->w, "%s: poll: %s (%s)", m->name,
		    leat_status_text(n), leat_error(m->leat));
		return -1;
	}
	for (i = 0; i < n; i++)
		if (note_delivery(m, &d[i]) != 0)
			return -1;
	/* Sometimes slow, so that the other member is ahead. */
	if (n > 0 && (r >> 40) % m->w->naps == 0)
		world_pause_ms(1 + (r >> 48) % 40);
	/* In two halves, the second sometimes given back. */
	first = n == 0 ? 0 : (size_t)((r >> 8) % (uint64_t)(n + 1));
	back = (r >> 32) % 64 == 0;
	if (finish(m, d, first, 0) != 0)
		return -1;
	return finish(m, d + first, (size_t)n - first, back);
}

int
eat_member(struct world *w, uint32_t slot, uint32_t life)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct member m = {.w = w,
	    .slot = slot,
	    .life = life,
	    .random = (w->seed * 31 + ((uint64_t)slot << 32 | life)) | 1};
	int status;

	snprintf(m.name, sizeof(m.name), "member %u", slot);
	m.leat = load_connect(w, m.name);
	if (m.leat == NULL)
		return 1;
	s.topic = WORLD_TOPIC;
	s.group = WORLD_GROUP;
	s.from = LEAT_FROM_DEFAULT;
	status = leat_subscribe(m.leat, &s, &m.consumer);
	if (status != LEAT_OK) {
		world_violate(w, "%s: subscribe: %s (%s)", m.name,
		    leat_status_text(status), leat_error(m.leat));
		return 1;
	}
	while (
	    !atomic_load(&w->stop_consumers) && !atomic_load(&w->stop_members))
		if (eat_some(&m) != 0)
			return 1;
	leat_close(m.leat);
	return 0;
}

/* first: this is the reader whose view the judge compares with the log. */
static int
note_read(
    struct world *w, const struct leat_delivery *d, int64_t *next, int first)
{
	struct world_body b;

	if (!world_body_check(w, "reader", d, &b))
		return -1;
	if (d->queue_offset != *next &&
	    !(w->retain && d->queue_offset > *next)) {
		world_violate(w,
		    "%s: queue %u went from offset %lld to %lld: a %s",
		    first ? "reader" : "late reader", d->queue,
		    (long long)*next - 1, (long long)d->queue_offset,
		    d->queue_offset > *next ? "gap" : "repeat");
		return -1;
	}
	*next = d->queue_offset + 1;
	if (!first)
		return 0;
	atomic_store(&w->reader_at[d->queue][d->queue_offset % WORLD_OFFSETS],
	    world_place(d, &b));
	atomic_fetch_add(&w->read, 1);
	return 0;
}

static struct leat_consumer *
browse(struct world *w, struct leat *leat)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c = NULL;
	int status;

	s.topic = WORLD_TOPIC;
	s.from = LEAT_FROM_BEGIN;
	status = leat_subscribe(leat, &s, &c);
	if (status != LEAT_OK)
		world_violate(w, "reader: subscribe: %s (%s)",
		    leat_status_text(status), leat_error(leat));
	return c;
}

/* Slot 0 reads on and on, slot 1 begins again whenever it is at the end. */
int
eat_reader(struct world *w, uint32_t slot, uint32_t life)
{
	struct leat_consumer *c = NULL;
	struct leat_delivery d[POLL_MAX];
	int64_t next[WORLD_QUEUES] = {0};
	struct leat *leat = load_connect(w, "reader");
	int i, n;

	(void)life;
	if (leat == NULL)
		return 1;
	while (!atomic_load(&w->stop_consumers)) {
		if (c == NULL) {
			memset(next, 0, sizeof(next));
			c = browse(w, leat);
			if (c == NULL)
				return 1;
		}
		n = leat_poll(c, d, POLL_MAX, 100);
		if (n < 0) {
			world_violate(w, "reader: poll: %s (%s)",
			    leat_status_text(n), leat_error(leat));
			return 1;
		}
		for (i = 0; i < n; i++)
			if (note_read(w, &d[i], &next[d[i].queue], slot == 0) !=
			    0)
				return 1;
		if (slot != 0 && leat_at_end(c) == 1) {
			leat_unsubscribe(c);
			c = NULL;
			world_pause_ms(200);
		}
	}
	leat_close(leat);
	return 0;
}
