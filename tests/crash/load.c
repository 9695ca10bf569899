/*
 * load.c - the sending half of the crash test: producers that note every
 * message before they send it and every receipt when they get it, and an
 * administrator that keeps the control plane busy.
 *
 * A producer that is killed is followed by its next life, which goes on with
 * the next number: what the dead life had no receipt for may or may not be in
 * the log, but once at most. It forgets what the group acknowledged, as late as
 * it can: before its WORLD_NUMBERS-th message after that.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

#define WINDOW 64u
#define BODY_MAX (96u * 1024)

struct producer {
	struct world *w;
	struct leat *leat;
	uint32_t slot;
	uint32_t life;
	uint64_t random;
	uint64_t last_receipt; /* number */
	uint64_t last_news_ms; /* of a receipt, or nothing was in flight */
	uint64_t room_to; /* the marks of numbers up to this are free */
	uint64_t room_ms; /* when there was room last */
	uint8_t body[8][BODY_MAX];
};

struct leat *
load_connect(struct world *w, const char *name)
{
	struct leat_options o = {.socket = w->socket,
	    .name = name,
	    .connect_timeout_ms = WORLD_PATIENCE_MS};
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	struct leat *leat = NULL;
	int status;

	do {
		status = leat_connect(&o, &leat);
		if (status == LEAT_OK)
			return leat;
		world_pause_ms(5);
	} while (leat_status_retryable(status) && world_now_ms() < until);
	world_violate(w, "%s: cannot connect: %s (%s)", name,
	    leat_status_text(status), leat_error(NULL));
	return NULL;
}

static enum leat_level
level_of(struct producer *p)
{
	switch (p->slot) {
	case 0:
		return LEAT_LOGGED;
	case 1:
		return LEAT_SYNCED;
	case 3:
		return LEAT_ACCEPTED;
	default:
		return world_random(&p->random) % 2 ? LEAT_LOGGED : LEAT_SYNCED;
	}
}

static uint32_t
size_of(struct producer *p)
{
	uint64_t r = world_random(&p->random);
	uint32_t least = sizeof(struct world_body);

	if (r % 512 == 0)
		return least + (uint32_t)((r >> 16) % (BODY_MAX - least));
	if (r % 16 == 0)
		return least + (uint32_t)((r >> 16) % 8000);
	return least + (uint32_t)((r >> 16) % 500);
}

/* Take the next number, note it, and describe its message in *m. */
static uint64_t
prepare(struct producer *p, struct leat_message *m, void *body)
{
	struct world *w = p->w;
	uint64_t number = atomic_load(&w->submitted[p->slot]) + 1;
	struct world_mark *mark = &w->marks[p->slot][number % WORLD_NUMBERS];
	uint32_t bytes = size_of(p);

	*m = (struct leat_message)LEAT_MESSAGE_INIT;
	m->topic = WORLD_TOPIC;
	m->level = level_of(p);
	m->queue = (int32_t)(world_random(&p->random) % WORLD_QUEUES);
	m->body = body;
	m->body_bytes = bytes;
	world_body_make(
	    body, bytes, p->slot, number, p->life, (uint32_t)m->queue);
	atomic_store(&mark->receipt, 0);
	atomic_store(&mark->offset, 0);
	atomic_store(&mark->hold, HOLD_NEW);
	atomic_store(&mark->seen, 0);
	atomic_store(&mark->life, p->life);
	atomic_store(&mark->number, number);
	atomic_store(&mark->asked, (uint32_t)m->level);
	atomic_store(&w->submitted[p->slot], number);
	return number;
}

static int
note_receipt(struct producer *p, const struct leat_receipt *r, uint64_t number)
{
	struct world_mark *mark = &p->w->marks[p->slot][number % WORLD_NUMBERS];
	uint32_t asked = atomic_load(&mark->asked);

	if (r->status != LEAT_OK) {
		world_violate(p->w, "producer %u: message %llu was refused: %s",
		    p->slot, (unsigned long long)number,
		    leat_status_text(r->status));
		return -1;
	}
	if ((uint32_t)r->level < asked) {
		world_violate(p->w,
		    "producer %u: message %llu asked for level %u, its "
		    "receipt says %u",
		    p->slot, (unsigned long long)number, asked,
		    (uint32_t)r->level);
		return -1;
	}
	if (number <= p->last_receipt) {
		world_violate(p->w,
		    "producer %u: receipt of %llu came after that of %llu",
		    p->slot, (unsigned long long)number,
		    (unsigned long long)p->last_receipt);
		return -1;
	}
	p->last_receipt = number;
	p->last_news_ms = world_now_ms();
	if (r->queue_offset >= 0)
		atomic_store(&mark->offset, r->queue_offset + 1);
	atomic_store(&mark->receipt, (uint32_t)r->level);
	atomic_fetch_add(&p->w->receipts, 1);
	return 0;
}

static int
failed(struct producer *p, const char *what, int status)
{
	world_violate(p->w, "producer %u: %s: %s (%s)", p->slot, what,
	    leat_status_text(status), leat_error(p->leat));
	return -1;
}

/* Wait up to timeout_ms for receipts and note them. */
static int
collect(struct producer *p, int timeout_ms)
{
	struct leat_receipt got[WINDOW];
	int n = leat_completions(p->leat, got, WINDOW, timeout_ms);
	int i;

	if (n < 0)
		return failed(p, "waiting for receipts", n);
	for (i = 0; i < n; i++)
		if (note_receipt(p, &got[i], (uintptr_t)got[i].user) != 0)
			return -1;
	if (leat_in_flight(p->leat) == 0)
		p->last_news_ms = world_now_ms();
	if (world_now_ms() - p->last_news_ms > WORLD_PATIENCE_MS) {
		world_violate(p->w,
		    "producer %u: %zu messages in flight and no receipt for "
		    "%d s after number %llu",
		    p->slot, leat_in_flight(p->leat), WORLD_PATIENCE_MS / 1000,
		    (unsigned long long)p->last_receipt);
		return -1;
	}
	return 0;
}

static int
send_async(struct producer *p)
{
	struct leat_message m;
	uint64_t number = prepare(p, &m, p->body[0]);
	int status = leat_submit(
	    p->leat, &m, WORLD_PATIENCE_MS, (void *)(uintptr_t)number);

	if (status != LEAT_OK)
		return failed(p, "submit", status);
	return leat_in_flight(p->leat) >= WINDOW ? collect(p, 1000) : 0;
}

static int
send_in_place(struct producer *p)
{
	struct leat_message m;
	uint64_t number = prepare(p, &m, p->body[0]);
	void *room = NULL;
	int status =
	    leat_reserve(p->leat, &m, BODY_MAX, WORLD_PATIENCE_MS, &room);

	if (status != LEAT_OK)
		return failed(p, "reserve", status);
	memcpy(room, m.body, m.body_bytes);
	status = leat_commit(p->leat, m.body_bytes, (void *)(uintptr_t)number);
	if (status != LEAT_OK)
		return failed(p, "commit", status);
	while (leat_in_flight(p->leat) != 0)
		if (collect(p, 1000) != 0)
			return -1;
	return 0;
}

static int
send_one(struct producer *p)
{
	struct leat_message m;
	struct leat_receipt r;
	uint64_t number = prepare(p, &m, p->body[0]);
	int status = leat_publish(p->leat, &m, WORLD_PATIENCE_MS, &r);

	if (status != LEAT_OK)
		return failed(p, "publish", status);
	return note_receipt(p, &r, number);
}

static int
send_batch(struct producer *p)
{
	struct leat_message m[8];
	struct leat_receipt r[8];
	uint64_t number[8];
	size_t count = 1 + world_random(&p->random) % 8;
	size_t i;
	int status;

	for (i = 0; i < count; i++)
		number[i] = prepare(p, &m[i], p->body[i]);
	status = leat_publish_batch(p->leat, m, count, WORLD_PATIENCE_MS, r);
	if (status != LEAT_OK)
		return failed(p, "publish a batch", status);
	for (i = 0; i < count; i++)
		if (note_receipt(p, &r[i], number[i]) != 0)
			return -1;
	return 0;
}

static int
send_some(struct producer *p)
{
	if (p->slot != 2)
		return send_async(p);
	switch (world_random(&p->random) % 3) {
	case 0:
		return send_one(p);
	case 1:
		return send_batch(p);
	default:
		return send_in_place(p);
	}
}

/* Nothing that may still happen to this message needs its mark. */
static int
is_done(struct world *w, struct world_mark *mark)
{
	switch (atomic_load(&mark->hold)) {
	case HOLD_NEW:
		return atomic_load(&mark->receipt) == 0;
	case HOLD_HELD: /* and acknowledged before it died, or it had come again
			 */
		return world_holder_died(w, mark);
	case HOLD_ACKED:
		return 1;
	default:
		return 0;
	}
}

/* Is there room for the marks of a batch? 0: not yet; or a violation and -1. */
static int
has_room(struct producer *p)
{
	struct world *w = p->w;
	uint64_t now = world_now_ms();
	uint64_t to = atomic_load(&w->submitted[p->slot]) + 8;

	while (p->room_to < to &&
	       is_done(w, &w->marks[p->slot][(p->room_to + 1) % WORLD_NUMBERS]))
		p->room_to++;
	if (p->room_to >= to) {
		p->room_ms = now;
		return 1;
	}
	if (now - p->room_ms <= WORLD_PATIENCE_MS)
		return 0;
	world_violate(w,
	    "LOST %u/%llu: it has a receipt, and %u messages later the group "
	    "did not acknowledge it for %d s",
	    p->slot, (unsigned long long)(p->room_to + 1 - WORLD_NUMBERS),
	    WORLD_NUMBERS - 8, WORLD_PATIENCE_MS / 1000);
	return -1;
}

/* May the next one go, by its rate? */
static int
is_due(struct producer *p, uint64_t first, uint64_t begin_ms)
{
	struct world *w = p->w;
	unsigned step_ms = p->slot % 2 == 0 ? 2 : 200; /* steady, or bursts */
	uint64_t ms = world_now_ms() - begin_ms;

	if (w->rate[p->slot] == 0)
		return atomic_load(&w->receipts) +
			   atomic_load(&w->redelivered) <
		       atomic_load(&w->delivered) + WORLD_AHEAD;
	return atomic_load(&w->submitted[p->slot]) - first <
	       (ms / step_ms + 1) * step_ms * w->rate[p->slot] / 1000;
}

int
load_producer(struct world *w, uint32_t slot, uint32_t life)
{
	static struct producer p; /* large; one per process */
	uint64_t begin = world_now_ms();
	uint64_t first = atomic_load(&w->submitted[slot]);
	char name[32];

	snprintf(name, sizeof(name), "producer-%u", slot);
	p = (struct producer){.w = w,
	    .slot = slot,
	    .life = life,
	    .random = (w->seed ^ ((uint64_t)slot << 32 | life)) | 1,
	    .last_news_ms = begin,
	    .room_to = first,
	    .room_ms = begin};
	p.leat = load_connect(w, name);
	if (p.leat == NULL)
		return 1;
	while (!atomic_load(&w->stop_producers)) {
		int room = has_room(&p);

		if (room < 0)
			return 1;
		if (!room || !is_due(&p, first, begin)) {
			if (collect(&p, 2) != 0)
				return 1;
		} else if (send_some(&p) != 0)
			return 1;
	}
	p.last_news_ms = world_now_ms();
	while (leat_in_flight(p.leat) != 0)
		if (collect(&p, 1000) != 0)
			return 1;
	leat_close(p.leat);
	return 0;
}

int
load_topic(struct world *w, uint32_t slot, uint32_t life)
{
	struct leat_topic t = {.name = WORLD_TOPIC,
	    .read_queues = WORLD_QUEUES,
	    .write_queues = WORLD_QUEUES};
	struct leat *leat = load_connect(w, "creator");
	int status;

	(void)slot;
	(void)life;
	if (leat == NULL)
		return 1;
	status = leat_topic_create(leat, &t);
	if (status != LEAT_OK && status != LEAT_E_EXISTS)
		world_violate(w, "create topic %s: %s (%s)", t.name,
		    leat_status_text(status), leat_error(leat));
	leat_close(leat);
	return status != LEAT_OK && status != LEAT_E_EXISTS;
}

static int
admin_failed(struct world *w, struct leat *leat, const char *what, int status)
{
	world_violate(w, "administrator: %s: %s (%s)", what,
	    leat_status_text(status), leat_error(leat));
	leat_close(leat);
	return 1;
}

static int
ignore_group(const struct leat_group *entry, void *user)
{
	(void)entry;
	(void)user;
	return 0;
}

/* Subscribe as a group of its own, take a few messages, leave. */
static int
admin_visit(struct world *w, struct leat *leat)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c = NULL;
	struct leat_delivery d[8];
	int n, status;

	(void)w;
	s.topic = WORLD_TOPIC;
	s.group = "visitors";
	s.from = LEAT_FROM_BEGIN;
	status = leat_subscribe(leat, &s, &c);
	if (status != LEAT_OK)
		return status;
	n = leat_poll(c, d, 8, 100);
	if (n > 0)
		status = leat_ack(c, d, (size_t)n);
	leat_unsubscribe(c);
	if (n < 0)
		return n;
	return status == LEAT_E_LEASE ? LEAT_OK : status;
}

/* Publish something in it, and ask for it: then it has files. */
static int
admin_fill(struct leat *leat, const char *topic)
{
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct leat_queue_range r;
	int status;

	m.topic = topic;
	m.body = "churn";
	m.body_bytes = 5;
	m.queue = 0;
	status = leat_publish(leat, &m, WORLD_PATIENCE_MS, NULL);
	if (status == LEAT_OK)
		status = leat_queue_range(leat, topic, 0, &r);
	return status;
}

/* Make a topic, use it and delete it. */
static int
admin_churn(struct world *w, struct leat *leat, uint64_t round)
{
	struct leat_topic t = {.read_queues = 2, .write_queues = 2};
	int status;

	snprintf(t.name, sizeof(t.name), "churn-%llu",
	    (unsigned long long)round % 5);
	world_pause_ms(100);
	status = leat_topic_create(leat, &t);
	if (status == LEAT_OK || status == LEAT_E_EXISTS)
		status = admin_fill(leat, t.name);
	if (status == LEAT_OK)
		status = leat_topic_delete(leat, t.name);
	/* Asked again after a death, it may be done already. */
	if (status != LEAT_OK && status != LEAT_E_NOTFOUND)
		return admin_failed(
		    w, leat, "make, use and delete a topic", status);
	return 0;
}

/* So is a grant: what is named so may publish there, and nothing else. */
static int
admin_grant(struct leat *leat, const char *name)
{
	struct leat_grant g = {
	    .rights = LEAT_RIGHT_PUBLISH | LEAT_RIGHT_MANAGE};
	int status;

	snprintf(g.principal, sizeof(g.principal), "ak:%.60s", name);
	snprintf(g.pattern, sizeof(g.pattern), "%.60s", name);
	status = leat_grant_add(leat, &g);
	g.rights = LEAT_RIGHT_MANAGE;
	if (status == LEAT_OK)
		status = leat_grant_remove(leat, &g);
	/* Asked again after a death, it may be done already. */
	return status == LEAT_E_NOTFOUND ? LEAT_OK : status;
}

static int
admin_round(struct world *w, struct leat *leat, uint64_t round)
{
	struct leat_topic t = {.read_queues = 2, .write_queues = 2};
	int status;

	if (w->churn && admin_churn(w, leat, round) != 0)
		return 1;
	if (!w->churn && round % 4 == 0) {
		/* A topic whose creation was confirmed is there for good. */
		snprintf(t.name, sizeof(t.name), "made-%llu",
		    (unsigned long long)atomic_load(&w->topics_made));
		status = leat_topic_create(leat, &t);
		if (status != LEAT_OK && status != LEAT_E_EXISTS)
			return admin_failed(w, leat, "create a topic", status);
		status = admin_grant(leat, t.name);
		if (status != LEAT_OK)
			return admin_failed(w, leat, "grant", status);
		atomic_fetch_add(&w->topics_made, 1);
	}
	status = admin_visit(w, leat);
	if (status != LEAT_OK)
		return admin_failed(w, leat, "visit as a member", status);
	status = leat_group_seek(leat, "visitors", WORLD_TOPIC, LEAT_FROM_BEGIN,
	    0, 1, ignore_group, NULL);
	/* A group whose first progress was not logged dies with the broker. */
	if (status != LEAT_OK &&
	    !(status == LEAT_E_NOTFOUND && (atomic_load(&w->epoch) & 1)))
		return admin_failed(w, leat, "seek a group", status);
	status = leat_ping(leat, WORLD_PATIENCE_MS);
	if (status != LEAT_OK)
		return admin_failed(w, leat, "ping", status);
	return 0;
}

int
load_admin(struct world *w, uint32_t slot, uint32_t life)
{
	(void)slot;
	(void)life;
	while (!atomic_load(&w->stop_producers)) {
		struct leat *leat = load_connect(w, "administrator");
		uint64_t round = atomic_load(&w->admin_rounds);

		if (leat == NULL || admin_round(w, leat, round) != 0)
			return 1;
		leat_close(leat);
		atomic_fetch_add(&w->admin_rounds, 1);
	}
	return 0;
}
