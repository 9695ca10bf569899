/*
 * victim.c - a client that does everything as fast as it can until it is
 * killed: connect, subscribe, publish, claim, acknowledge, give back, or keep.
 * It notes what it was promised before anything can happen to it.
 */
#include "field.h"

#include <unistd.h>

#define POLL_MAX 16

struct victim {
	struct field *f;
	struct leat *leat;
	struct leat_consumer *c;
	uint32_t life;
	uint32_t number;
	uint64_t random;
};

/* Any failure but the end of a lease is somebody's mistake. */
static int
failed(struct victim *v, const char *what, int status)
{
	world_violate(v->f->w, "victim %u: %s: %s (%s)", v->life, what,
	    leat_status_text(status), leat_error(v->leat));
	return -1;
}

static int
publish(struct victim *v)
{
	struct leat_receipt r[8];
	int i, n, status;

	for (i = 0; i < 8 && v->number < FIELD_LIFE_MESSAGES; i++) {
		status = field_submit(v->f, v->leat, v->life, ++v->number,
		    v->life % FIELD_QUEUES, WORLD_PATIENCE_MS, NULL);
		if (status != LEAT_OK)
			return failed(v, "submit", status);
	}
	n = leat_completions(v->leat, r, 8, 0);
	if (n < 0)
		return failed(v, "completions", n);
	for (i = 0; i < n; i++) {
		if (r[i].status != LEAT_OK)
			return failed(v, "receipt", r[i].status);
		atomic_store(&v->f->lives[v->life].receipt,
		    (uint32_t)(uintptr_t)r[i].user);
	}
	return 0;
}

static int
consume(struct victim *v)
{
	struct leat_delivery d[POLL_MAX];
	struct field_body b;
	uint64_t fate = world_random(&v->random) >> 32;
	int n = leat_poll(v->c, d, POLL_MAX, 1);
	int i, status;

	if (n < 0)
		return failed(v, "poll", n);
	for (i = 0; i < n; i++)
		if (!field_check(v->f, "victim", &d[i], &b) ||
		    field_hold(v->f, "victim", v->life, &d[i]) != 0)
			return -1;
	atomic_fetch_add(&v->f->claimed_by_victims, (uint64_t)n);
	if (n == 0 || fate % 16 == 0)
		return 0; /* kept */
	if (fate % 16 == 1) {
		status = leat_nack(v->c, d, (size_t)n);
		return status == LEAT_OK || status == LEAT_E_LEASE
			   ? 0
			   : failed(v, "nack", status);
	}
	return field_ack(v->f, "victim", v->life, v->c, d, (size_t)n);
}

int
field_victim(struct field *f, uint32_t life, int orderly_us)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct victim v = {
	    .f = f, .life = life, .random = (f->w->seed ^ life) | 1};
	uint64_t until = field_now_ns() + (uint64_t)orderly_us * 1000;
	int publishes = life % 4 != 1, consumes = life % 4 != 2;
	int status;

	v.leat = load_connect(f->w, "victim");
	if (v.leat == NULL)
		return 1;
	s.topic = FIELD_TOPIC;
	s.group = FIELD_GROUP;
	status = consumes ? leat_subscribe(v.leat, &s, &v.c) : LEAT_OK;
	if (status != LEAT_OK)
		return failed(&v, "subscribe", status);
	atomic_store(&f->lives[life].at_work, 1);
	while (orderly_us == 0 || field_now_ns() < until) {
		if (publishes && publish(&v) != 0)
			return 1;
		if (consumes && consume(&v) != 0)
			return 1;
		if (!consumes && v.number == FIELD_LIFE_MESSAGES)
			world_pause_us(50);
	}
	leat_close(v.leat);
	return 0;
}
