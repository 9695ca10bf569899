/*
 * field.c - bodies, waits and claims of the client kill test, and its three
 * observers.
 */
#include "field.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MAGIC 0x6c656166u
#define BODY_MAX 300u

struct field *
field_create(struct world *w)
{
	struct field *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (f == MAP_FAILED)
		return NULL;
	f->w = w;
	return f;
}

void
field_destroy(struct field *f)
{
	munmap(f, sizeof(*f));
}

uint64_t
field_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- waits --------------------------------------------------------------- */

void
field_wait(struct field *f, enum field_observer who, uint64_t ns)
{
	uint32_t phase = atomic_load(&f->phase), n;
	uint64_t now = field_now_ns();

	field_note(&f->waits[who][phase], ns);
	if (ns <= FIELD_LONG_US * 1000u)
		return;
	n = atomic_fetch_add(&f->long_count, 1);
	if (n < FIELD_LONG_WAITS)
		f->longs[n] = (struct field_long){who, phase, now - ns, now};
}

void
field_note(struct field_waits *w, uint64_t ns)
{
	uint64_t us = ns / 1000, unit = us / FIELD_WAIT_UNIT_US;

	atomic_fetch_add(&w->count, 1);
	if (us > FIELD_LONG_US)
		atomic_fetch_add(&w->long_ones, 1);
	if (us > atomic_load(&w->max_us))
		atomic_store(&w->max_us, us);
	if (unit >= FIELD_WAITS)
		unit = FIELD_WAITS - 1;
	atomic_fetch_add(&w->units[unit], 1);
}

double
field_p999_us(const struct field_waits *w)
{
	uint64_t left = atomic_load(&w->count) / 1000;
	uint32_t i = FIELD_WAITS;

	while (i-- > 0) {
		uint32_t n = atomic_load(&w->units[i]);

		if (n > left)
			return (double)(i + 1) * FIELD_WAIT_UNIT_US;
		left -= n;
	}
	return 0;
}

/* --- messages ------------------------------------------------------------ */

static void
make_body(unsigned char *out, const struct field_body *h)
{
	uint64_t seed =
	    ((uint64_t)h->sender << 32 | h->number) * 2654435761u | 1;
	uint32_t at;

	memcpy(out, h, sizeof(*h));
	for (at = sizeof(*h); at < h->bytes; at++)
		out[at] = (unsigned char)world_random(&seed);
}

int
field_submit(struct field *f, struct leat *leat, uint32_t sender,
    uint32_t number, uint32_t queue, int timeout_ms, struct leat_receipt *r)
{
	unsigned char body[BODY_MAX];
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct field_body h = {MAGIC, sender, number,
	    (uint32_t)sizeof(h) + number % (BODY_MAX - (uint32_t)sizeof(h)),
	    field_now_ns()};

	make_body(body, &h);
	m.topic = FIELD_TOPIC;
	m.queue = (int32_t)queue;
	m.level = LEAT_LOGGED;
	m.body = body;
	m.body_bytes = h.bytes;
	atomic_store(&f->lives[sender].sent, number);
	if (r != NULL)
		return leat_publish(leat, &m, timeout_ms, r);
	return leat_submit(leat, &m, timeout_ms, (void *)(uintptr_t)number);
}

int
field_check(struct field *f, const char *who, const struct leat_delivery *d,
    struct field_body *out)
{
	unsigned char want[BODY_MAX];

	if (d->body_bytes >= sizeof(*out) && d->body_bytes <= BODY_MAX) {
		memcpy(out, d->body, sizeof(*out));
		if (out->magic == MAGIC && out->bytes == d->body_bytes &&
		    out->sender < FIELD_LIVES) {
			make_body(want, out);
			if (memcmp(want, d->body, d->body_bytes) == 0)
				return 1;
		}
	}
	world_violate(f->w,
	    "%s: queue %u offset %lld holds a body of %zu bytes nobody sent",
	    who, d->queue, (long long)d->queue_offset, d->body_bytes);
	return 0;
}

static _Atomic uint32_t *
hold_of(struct field *f, const struct leat_delivery *d)
{
	return d->queue < FIELD_QUEUES && d->queue_offset < WORLD_OFFSETS
		   ? &f->hold[d->queue][d->queue_offset]
		   : NULL;
}

/* What a killed one held comes back because it is dead, not by the lease. */
static int
note_return(struct field *f, const char *who, uint32_t before,
    const struct leat_delivery *d)
{
	struct field_life *last = &f->lives[before >> 3];
	uint64_t died = atomic_load(&last->died_ns), now = field_now_ns();

	if ((before & 3) == FIELD_UNKNOWN || died == 0 || now < died ||
	    atomic_load(&last->was_stopped))
		return 0;
	field_note(&f->returns, now - died);
	if (now - died < FIELD_RETURN_MS * 1000000ull)
		return 0;
	world_violate(f->w,
	    "%s: queue %u offset %lld came back %llu ms after the death of "
	    "life %u",
	    who, d->queue, (long long)d->queue_offset,
	    (unsigned long long)(now - died) / 1000000, before >> 3);
	return -1;
}

int
field_hold(struct field *f, const char *who, uint32_t life,
    const struct leat_delivery *d)
{
	_Atomic uint32_t *hold = hold_of(f, d);
	uint32_t before;

	if (hold == NULL)
		return 0;
	/* Stopped between the claim and the exchange, it comes much too late:
	 * by then another has changed the word. */
	before = atomic_load(hold);
	do
		if (atomic_load(&f->lives[life].was_stopped)) {
			atomic_fetch_or(hold, FIELD_DOUBT);
			return 0;
		}
	while (!atomic_compare_exchange_weak(
	    hold, &before, life << 3 | FIELD_HELD));
	if ((before & 3) != FIELD_ACKED)
		return note_return(f, who, before, d);
	world_violate(f->w,
	    "%s: queue %u offset %lld came again (attempt %u), life %u had "
	    "acknowledged it",
	    who, d->queue, (long long)d->queue_offset, d->attempt, before >> 3);
	return -1;
}

int
field_ack(struct field *f, const char *who, uint32_t life,
    struct leat_consumer *c, const struct leat_delivery *d, size_t n)
{
	uint32_t held = life << 3 | FIELD_HELD;
	size_t i;
	int status;

	for (i = 0; i < n; i++) {
		uint32_t expected = held;

		if (hold_of(f, &d[i]) != NULL)
			atomic_compare_exchange_strong(
			    hold_of(f, &d[i]), &expected, held + 1);
	}
	status = leat_ack(c, d, n);
	if (status == LEAT_E_LEASE)
		return 0; /* which of them is not told */
	if (status != LEAT_OK) {
		world_violate(
		    f->w, "%s: ack: %s", who, leat_status_text(status));
		return -1;
	}
	for (i = 0; i < n; i++) {
		uint32_t expected = held + 1;

		if (hold_of(f, &d[i]) != NULL)
			atomic_compare_exchange_strong(
			    hold_of(f, &d[i]), &expected, held + 2);
	}
	return 0;
}

/* --- observers ----------------------------------------------------------- */

int
field_topic(struct field *f)
{
	struct leat_topic t = {.name = FIELD_TOPIC,
	    .read_queues = FIELD_QUEUES,
	    .write_queues = FIELD_QUEUES};
	struct leat *leat = load_connect(f->w, "creator");
	int status =
	    leat == NULL ? LEAT_E_UNREACHABLE : leat_topic_create(leat, &t);

	leat_close(leat);
	return status != LEAT_OK && status != LEAT_E_EXISTS;
}

int
field_producer(struct field *f)
{
	struct leat *leat = load_connect(f->w, "producer");
	uint32_t number = 0;

	if (leat == NULL)
		return 1;
	atomic_fetch_add(&f->ready, 1);
	while (!atomic_load(&f->stop_producer)) {
		struct leat_receipt r;
		uint64_t begin = field_now_ns();
		uint32_t queue = ++number % FIELD_QUEUES;
		int status = field_submit(
		    f, leat, 0, number, queue, WORLD_PATIENCE_MS, &r);

		if (status != LEAT_OK) {
			world_violate(f->w, "producer: message %u: %s (%s)",
			    number, leat_status_text(status), leat_error(leat));
			return 1;
		}
		field_wait(f, FIELD_PRODUCER, field_now_ns() - begin);
		atomic_store(&f->lives[0].receipt, number);
		world_pause_us(100);
	}
	leat_close(leat);
	return 0;
}

static struct leat_consumer *
subscribe(struct field *f, struct leat *leat, const char *group)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c = NULL;
	int status;

	s.topic = FIELD_TOPIC;
	s.group = group;
	status = leat_subscribe(leat, &s, &c);
	if (status != LEAT_OK)
		world_violate(f->w, "group %s: subscribe: %s (%s)", group,
		    leat_status_text(status), leat_error(leat));
	return c;
}

/* One sender's messages are all in one queue, the producer's in turns. */
static int
note_seen(struct field *f, const struct leat_delivery *d,
    const struct field_body *b, uint32_t *last)
{
	struct field_life *life = &f->lives[b->sender];
	uint32_t want = b->sender == 0 ? last[d->queue] + FIELD_QUEUES
				       : atomic_load(&life->seen) + 1;

	if (b->sender == 0 && last[d->queue] == 0)
		want = d->queue == 0 ? FIELD_QUEUES : d->queue;
	if (b->number != want || d->attempt != 1) {
		world_violate(f->w,
		    "reader: queue %u offset %lld: sender %u's message %u "
		    "(attempt %u) came where %u was due",
		    d->queue, (long long)d->queue_offset, b->sender, b->number,
		    d->attempt, want);
		return -1;
	}
	last[d->queue] = b->sender == 0 ? b->number : last[d->queue];
	if (b->sender != 0 || b->number > atomic_load(&life->seen))
		atomic_store(&life->seen, b->number);
	return 0;
}

int
field_reader(struct field *f)
{
	static struct leat_delivery d[256];
	uint32_t last[FIELD_QUEUES] = {0};
	struct leat *leat = load_connect(f->w, "reader");
	struct leat_consumer *c =
	    leat == NULL ? NULL : subscribe(f, leat, FIELD_OTHERS);
	struct field_body b;
	int i, n, status;

	if (c == NULL)
		return 1;
	atomic_fetch_add(&f->ready, 1);
	while (!atomic_load(&f->stop_consumers)) {
		n = leat_poll(c, d, 256, 100);
		for (i = 0; i < n; i++) {
			if (!field_check(f, "reader", &d[i], &b) ||
			    note_seen(f, &d[i], &b, last) != 0)
				return 1;
			if (b.sender == 0)
				field_wait(f, FIELD_READER,
				    field_now_ns() - b.sent_ns);
		}
		status = n > 0 ? leat_ack(c, d, (size_t)n) : n;
		if (status != LEAT_OK) {
			world_violate(f->w, "reader: %s (%s)",
			    leat_status_text(status), leat_error(leat));
			return 1;
		}
		atomic_fetch_add(&f->delivered, (uint64_t)n);
	}
	leat_close(leat);
	return 0;
}

int
field_member(struct field *f)
{
	static struct leat_delivery d[64];
	struct leat *leat = load_connect(f->w, "member");
	struct leat_consumer *c =
	    leat == NULL ? NULL : subscribe(f, leat, FIELD_GROUP);
	struct field_body b;
	int i, n;

	if (c == NULL)
		return 1;
	atomic_fetch_add(&f->ready, 1);
	while (!atomic_load(&f->stop_consumers)) {
		n = leat_poll(c, d, 64, 100);
		if (n < 0) {
			world_violate(f->w, "member: %s (%s)",
			    leat_status_text(n), leat_error(leat));
			return 1;
		}
		for (i = 0; i < n; i++) {
			if (!field_check(f, "member", &d[i], &b) ||
			    field_hold(f, "member", 0, &d[i]) != 0)
				return 1;
			if (d[i].attempt > 1)
				atomic_fetch_add(&f->taken_over, 1);
			else if (b.sender == 0)
				field_wait(f, FIELD_MEMBER,
				    field_now_ns() - b.sent_ns);
		}
		if (n > 0 && field_ack(f, "member", 0, c, d, (size_t)n) != 0)
			return 1;
	}
	leat_close(leat);
	return 0;
}

/* --- judgement ----------------------------------------------------------- */

struct standing {
	unsigned queues;
	unsigned behind;
	char text[400];
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
	    "group %s queue %u has progress %lld of %lld, %lld claimed",
	    g->name, g->queue, (long long)g->progress, (long long)g->max_offset,
	    (long long)g->claimed);
	return 0;
}

int
field_settled(struct field *f)
{
	uint64_t until = world_now_ms() + 4 * FIELD_LEASE_MS;
	struct leat *leat = load_connect(f->w, "judge");
	struct standing s;

	if (leat == NULL)
		return 1;
	do {
		int status;

		s = (struct standing){0};
		status =
		    leat_group_describe(leat, FIELD_GROUP, note_standing, &s);
		if (status == LEAT_OK)
			status = leat_group_describe(
			    leat, FIELD_OTHERS, note_standing, &s);
		if (status == LEAT_OK && s.queues == 2 * FIELD_QUEUES &&
		    s.behind == 0) {
			leat_close(leat);
			return 0;
		}
		world_pause_ms(20);
	} while (world_now_ms() < until);
	world_violate(f->w,
	    "claims did not come back within %d ms: %u of %u queues known; %s",
	    4 * FIELD_LEASE_MS, s.queues, 2 * FIELD_QUEUES, s.text);
	return 1;
}

int
field_retained(struct field *f)
{
	int64_t most = (FIELD_RETAIN_MIB + 3 * FIELD_SEGMENT_MIB) * 1048576ll;
	struct leat *leat = load_connect(f->w, "judge");
	static struct leat_status_report r;
	int status =
	    leat == NULL ? LEAT_E_UNREACHABLE : leat_status_get(leat, &r);

	if (status == LEAT_OK && r.log_max_offset - r.log_min_offset > most)
		world_violate(f->w,
		    "retention was held up: the log is %lld bytes long",
		    (long long)(r.log_max_offset - r.log_min_offset));
	leat_close(leat);
	return status != LEAT_OK;
}

void
field_judge(struct field *f, uint32_t lives)
{
	uint32_t life, q;
	int64_t o, end;

	for (life = 0; life < lives; life++) {
		struct field_life *l = &f->lives[life];
		uint32_t seen = atomic_load(&l->seen);

		if (atomic_load(&l->receipt) > seen ||
		    seen > atomic_load(&l->sent))
			world_violate(f->w,
			    "life %u sent %u, has a receipt of %u, and the "
			    "reader saw it up to %u",
			    life, atomic_load(&l->sent),
			    atomic_load(&l->receipt), seen);
	}
	for (q = 0; q < FIELD_QUEUES; q++) {
		for (end = WORLD_OFFSETS; end > 0; end--)
			if (atomic_load(&f->hold[q][end - 1]) != 0)
				break;
		for (o = 0; o < end; o++) {
			uint32_t hold = atomic_load(&f->hold[q][o]) & 7;

			if (hold < FIELD_ACKING)
				world_violate(f->w,
				    "group: queue %u offset %lld counts as "
				    "done, and nobody acknowledged it",
				    q, (long long)o);
		}
	}
}
