/*
 * judge.c - after the storm: read the whole log from its beginning and compare
 * with what the producers were promised.
 *
 *   every receipt's message is there, once, at the place the receipt names
 *   nothing is there twice, nothing that was never sent
 *   within one life of one producer, numbers rise in every queue
 *   the reader saw, at every offset, what the log has there now
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#define RETAIN_LOOKS 10 /* 50 ms apart; retention looks every 100 ms */

struct judge {
	struct world *w;
	int64_t next[WORLD_QUEUES];
	int64_t first[WORLD_QUEUES];
	uint64_t number[WORLD_QUEUES][WORLD_PRODUCERS]; /* last in this queue */
	uint32_t life[WORLD_QUEUES][WORLD_PRODUCERS];
};

static void
judge_place(struct judge *j, const struct leat_delivery *d)
{
	int64_t *next = &j->next[d->queue];

	if (*next < 0) {
		if (d->queue_offset != 0 && !j->w->retain)
			world_violate(j->w,
			    "log: queue %u begins at offset %lld", d->queue,
			    (long long)d->queue_offset);
		j->first[d->queue] = d->queue_offset;
	} else if (d->queue_offset != *next) {
		world_violate(j->w,
		    "log: queue %u goes from offset %lld to %lld", d->queue,
		    (long long)*next - 1, (long long)d->queue_offset);
	}
	*next = d->queue_offset + 1;
}

static void
judge_order(
    struct judge *j, const struct leat_delivery *d, const struct world_body *b)
{
	uint64_t *number = &j->number[d->queue][b->producer];
	uint32_t *life = &j->life[d->queue][b->producer];

	/* Two lives of a producer may overlap: the dead one's lane drains. */
	if (*life == b->life && *number >= b->number)
		world_violate(j->w,
		    "log: queue %u has %u/%llu (life %u) behind %u/%llu",
		    d->queue, b->producer, (unsigned long long)b->number,
		    b->life, b->producer, (unsigned long long)*number);
	if (*life <= b->life) {
		*life = b->life;
		*number = b->number;
	}
}

static void
judge_one(struct judge *j, const struct leat_delivery *d)
{
	struct world *w = j->w;
	struct world_body b;
	struct world_mark *mark;
	uint64_t reader, me;
	int64_t promised;

	judge_place(j, d);
	if (!world_body_check(w, "log", d, &b))
		return;
	if (b.number > atomic_load(&w->submitted[b.producer]))
		world_violate(w, "log: has %u/%llu, which was never sent",
		    b.producer, (unsigned long long)b.number);
	mark = world_mark(w, b.producer, b.number);
	if (mark != NULL && atomic_fetch_add(&mark->found, 1) != 0)
		world_violate(w,
		    "log: %u/%llu is there twice, now at queue %u offset %lld",
		    b.producer, (unsigned long long)b.number, d->queue,
		    (long long)d->queue_offset);
	promised = mark == NULL ? 0 : atomic_load(&mark->offset);
	if (promised != 0 && promised - 1 != d->queue_offset)
		world_violate(w,
		    "log: %u/%llu is at queue %u offset %lld, its receipt "
		    "says %lld",
		    b.producer, (unsigned long long)b.number, d->queue,
		    (long long)d->queue_offset, (long long)promised - 1);
	judge_order(j, d, &b);
	me = world_place(d, &b);
	reader = atomic_load(
	    &w->reader_at[d->queue][d->queue_offset % WORLD_OFFSETS]);
	/* That of an earlier lap: it has not come here yet. */
	if (reader >> 44 == me >> 44 && reader != me)
		world_violate(w,
		    "log: queue %u offset %lld holds %u/%llu, the reader had "
		    "seen %u/%llu there",
		    d->queue, (long long)d->queue_offset, b.producer,
		    (unsigned long long)b.number, (unsigned)(reader >> 40) & 15,
		    (unsigned long long)(reader & ((1ull << 40) - 1)));
	atomic_fetch_add(&w->in_log, 1);
}

/* With retention on, a message below its queue's begin may be gone. */
static int
may_be_gone(struct judge *j, int64_t promised)
{
	unsigned q;

	if (!j->w->retain)
		return 0;
	if (promised == 0)
		return 1;
	for (q = 0; q < WORLD_QUEUES; q++)
		if (promised - 1 < j->first[q] || j->next[q] < 0)
			return 1;
	return 0;
}

static void
judge_promises(struct judge *j)
{
	struct world *w = j->w;
	uint32_t p;
	uint64_t n;

	for (p = 0; p < WORLD_PRODUCERS; p++)
		for (n = world_oldest(w, p); n <= atomic_load(&w->submitted[p]);
		     n++) {
			struct world_mark *mark = world_mark(w, p, n);
			uint32_t receipt =
			    mark == NULL ? 0 : atomic_load(&mark->receipt);
			int64_t promised =
			    mark == NULL ? 0 : atomic_load(&mark->offset);

			if (receipt == 0 || atomic_load(&mark->found) != 0 ||
			    may_be_gone(j, promised))
				continue;
			world_violate(w,
			    "log: LOST %u/%llu (life %u), acknowledged at "
			    "level %u, offset %lld of its queue",
			    p, (unsigned long long)n, atomic_load(&mark->life),
			    receipt, (long long)promised - 1);
		}
}

/* 1: it has what was granted, and not what was taken back. */
static int
is_granted(struct leat *leat, const char *name)
{
	char who[40];

	snprintf(who, sizeof(who), "ak:%s", name);
	return leat_grant_test(leat, who, 0, name, LEAT_RIGHT_PUBLISH, NULL) ==
		   LEAT_OK &&
	       leat_grant_test(leat, who, 0, name, LEAT_RIGHT_MANAGE, NULL) ==
		   LEAT_E_NOTFOUND;
}

static int
judge_topics(struct world *w, struct leat *leat)
{
	uint64_t i;

	for (i = 0; i < atomic_load(&w->topics_made); i++) {
		struct leat_topic t;
		char name[32];
		int status;

		snprintf(
		    name, sizeof(name), "made-%llu", (unsigned long long)i);
		status = leat_topic_describe(leat, name, &t);
		if (status == LEAT_OK && t.write_queues == 2 &&
		    !is_granted(leat, name)) {
			world_violate(w, "grant to %s was confirmed", name);
			return 1;
		}
		if (status == LEAT_OK && t.write_queues == 2)
			continue;
		world_violate(w, "topic %s was confirmed and is: %s", name,
		    leat_status_text(status));
		return 1;
	}
	return 0;
}

static int
judge_read(struct judge *j, struct leat *leat, struct leat_consumer *c)
{
	static struct leat_delivery d[256];
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	int i, n, end;

	for (;;) {
		n = leat_poll(c, d, 256, 100);
		if (n < 0) {
			world_violate(j->w, "log: poll: %s (%s)",
			    leat_status_text(n), leat_error(leat));
			return 1;
		}
		for (i = 0; i < n; i++)
			judge_one(j, &d[i]);
		if (n > 0) {
			until = world_now_ms() + WORLD_PATIENCE_MS;
			continue;
		}
		end = leat_at_end(c);
		if (end == 1)
			return 0;
		if (world_now_ms() > until) {
			world_violate(j->w,
			    "log: neither a message nor the end for %d s",
			    WORLD_PATIENCE_MS / 1000);
			return 1;
		}
	}
}

/* Retention comes behind the last message: read what stays. */
static int
await_begin(struct world *w, struct leat *leat)
{
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	int64_t begin = -1;

	for (int same = 0; same < RETAIN_LOOKS;) {
		int64_t sum = 0;

		for (uint32_t q = 0; q < WORLD_QUEUES; q++) {
			struct leat_queue_range r;
			int status = leat_queue_range(leat, WORLD_TOPIC, q, &r);

			if (status != LEAT_OK || world_now_ms() > until) {
				world_violate(w,
				    "judge: the log's begin does not settle: "
				    "%s (%s)",
				    leat_status_text(status), leat_error(leat));
				return 1;
			}
			sum += r.min_offset;
		}
		same = sum == begin ? same + 1 : 0;
		begin = sum;
		world_pause_ms(50);
	}
	return 0;
}

int
judge_log(struct world *w, uint32_t slot, uint32_t life)
{
	static struct judge j;
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c = NULL;
	struct leat *leat = load_connect(w, "judge");
	int status;
	unsigned q;

	(void)slot;
	(void)life;
	if (leat == NULL || (w->retain && await_begin(w, leat) != 0))
		return 1;
	j.w = w;
	for (q = 0; q < WORLD_QUEUES; q++)
		j.next[q] = -1;
	s.topic = WORLD_TOPIC;
	s.from = LEAT_FROM_BEGIN;
	status = leat_subscribe(leat, &s, &c);
	if (status != LEAT_OK) {
		world_violate(w, "judge: subscribe: %s (%s)",
		    leat_status_text(status), leat_error(leat));
		return 1;
	}
	if (judge_read(&j, leat, c) != 0)
		return 1;
	judge_promises(&j);
	status = judge_topics(w, leat);
	leat_close(leat);
	return status;
}

int
judge_all_consumed(struct world *w, int why)
{
	uint64_t read = atomic_load(&w->read), in_log = atomic_load(&w->in_log);
	uint64_t unseen = 0, example = 0;
	uint32_t p, who = 0;
	uint64_t n;

	for (p = 0; p < WORLD_PRODUCERS; p++)
		for (n = world_oldest(w, p); n <= atomic_load(&w->submitted[p]);
		     n++) {
			struct world_mark *mark = world_mark(w, p, n);

			if (mark == NULL || atomic_load(&mark->found) == 0 ||
			    atomic_load(&mark->seen) != 0)
				continue;
			unseen++;
			who = p;
			example = n;
		}
	if (why && unseen != 0)
		world_violate(w,
		    "group: %llu messages of the log were never delivered, "
		    "for instance %u/%llu",
		    (unsigned long long)unseen, who,
		    (unsigned long long)example);
	if (why && !w->retain && read != in_log)
		world_violate(w, "reader: saw %llu messages, the log has %llu",
		    (unsigned long long)read, (unsigned long long)in_log);
	return unseen == 0 && (w->retain || read == in_log);
}

struct standing {
	unsigned queues;
	unsigned behind;
	char text[160];
};

static int
note_standing(const struct leat_group *g, void *user)
{
	struct standing *s = user;

	s->queues++;
	if (g->progress == g->max_offset && g->claimed == 0)
		return 0;
	s->behind++;
	snprintf(s->text, sizeof(s->text),
	    "queue %u has progress %lld of %lld, %lld claimed", g->queue,
	    (long long)g->progress, (long long)g->max_offset,
	    (long long)g->claimed);
	return 0;
}

int
judge_group(struct world *w, uint32_t slot, uint32_t life)
{
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	struct leat *leat = load_connect(w, "judge");
	struct standing s;
	int status;

	(void)slot;
	(void)life;
	if (leat == NULL)
		return 1;
	do {
		s = (struct standing){0};
		status =
		    leat_group_describe(leat, WORLD_GROUP, note_standing, &s);
		if (status == LEAT_OK && s.queues == WORLD_QUEUES &&
		    s.behind == 0) {
			leat_close(leat);
			return 0;
		}
		world_pause_ms(20);
	} while (world_now_ms() < until);
	world_violate(w,
	    "group: not all acknowledged although everything was: %s, %u of "
	    "%u queues known; %s",
	    leat_status_text(status), s.queues, WORLD_QUEUES, s.text);
	return 1;
}
