/*
 * party.c - the processes of a benchmark. Each has a session of its own, says
 * when it is ready, starts with the others, and leaves its result in shared
 * memory. Nobody spins: a producer with a rate sleeps at least 100 us between
 * bursts, since a spinning generator takes the CPU from those it measures.
 *
 * Time. A message's clock starts when the producer begins to publish it. If the
 * broker kept it from that, the clock of what became due meanwhile starts when
 * it was due (no coordinated omission), until the producer has caught up and
 * sleeps. How late the producer's own sleeps ended is reported as late_ns.
 */
#include "config.h"
#include "tools/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define NAP_NS 100000ull
#define SLICE_MS 250
#define POLL_MAX 1024
#define TIMED_EACH 16 /* without a rate one message in so many is timed */

/* First bytes of each body, in this host's byte order. */
struct head {
	uint64_t run;
	uint64_t stamp_ns; /* 0: not timed */
	uint64_t seq;
	uint64_t producer;
};
_Static_assert(sizeof(struct head) == LT_BENCH_SIZE_MIN, "smallest body");

struct party {
	struct lt_bench_shared *s;
	const struct lt_bench_plan *plan;
	struct lt_bench_result *result;
	struct leat *leat;
	int ready, go; /* pipes */
};

static int
failed(struct party *p, int status, const char *what)
{
	const char *why = leat_error(p->leat);
	p->result->status = status;
	snprintf(p->result->text, sizeof p->result->text, "%s: %s", what,
	    why != NULL && why[0] != '\0' ? why : leat_status_text(status));
	return status;
}

static int
connect_party(struct party *p)
{
	struct leat_options o = p->plan->target;
	o.name = "leat bench";
	o.spin_us = p->plan->spin_us;
	int rc = leat_connect(&o, &p->leat);
	return rc == LEAT_OK ? rc : failed(p, rc, "connect");
}

/* Tell the parent, then wait until it closes its end. */
static int
await_start(struct party *p)
{
	char byte = 0;
	if (write(p->ready, &byte, 1) != 1)
		return failed(p, LEAT_E_IO, "start");
	while (read(p->go, &byte, 1) < 0 && errno == EINTR)
		;
	p->result->start_ns = lt_clock_mono_ns();
	return LEAT_OK;
}

/* --- producer --- */

struct producer {
	struct party *p;
	struct head *body;
	struct leat_message message;
	uint64_t index, total, sent;
	bool is_kept; /* by the broker, since the last sleep */
	uint64_t progress_ms;
};

static int
collect(struct producer *me, int timeout_ms)
{
	struct party *p = me->p;
	struct leat_receipt r[256];
	int n = leat_completions(p->leat, r, LT_COUNT(r), timeout_ms);
	if (n == LEAT_E_TIMEOUT || n == LEAT_E_AGAIN)
		n = 0;
	if (n < 0)
		return failed(p, n, "receipts");
	uint64_t now = n > 0 ? lt_clock_mono_ns() : 0;
	for (int i = 0; i < n; i++) {
		uint64_t stamp = (uint64_t)(uintptr_t)r[i].user;
		if (r[i].status != LEAT_OK)
			return failed(p, r[i].status, "a message was refused");
		if (p->plan->kind == LT_BENCH_PUBLISH && stamp != 0)
			lt_histogram_add(&p->result->time_ns, now - stamp);
	}
	if (n > 0) {
		lt_bench_count(p->result, now, (uint64_t)n);
		me->progress_ms = now / 1000000;
	} else if (timeout_ms > 0 && lt_clock_mono_ms() - me->progress_ms >
					 (uint64_t)p->plan->timeout_ms) {
		return failed(p, LEAT_E_TIMEOUT, "receipts");
	}
	return n;
}

static uint64_t
due_ns(const struct producer *me)
{
	const struct lt_bench_plan *plan = me->p->plan;
	/* Producers take turns within the rate of all. */
	double turn = (double)(me->sent * plan->producers + me->index);
	return me->p->result->start_ns +
	       (uint64_t)(turn * 1e9 / (double)plan->rate);
}

/* Sleep until `until`; a receipt ends the sleep early if they are timed. */
static void
nap(struct producer *me, uint64_t now, uint64_t until)
{
	struct leat *leat = me->p->leat;
	struct timespec ts = {.tv_sec = (time_t)((until - now) / 1000000000),
	    .tv_nsec = (long)((until - now) % 1000000000)};
	if (me->p->plan->kind == LT_BENCH_PUBLISH && leat_in_flight(leat) > 0) {
		struct pollfd fd = {.fd = leat_fd(leat), .events = POLLIN};
		if (leat_arm(leat) == 0)
			ppoll(&fd, 1, &ts, NULL);
		return;
	}
	nanosleep(&ts, NULL);
}

/* Wait until the next message is due. */
static int
pace(struct producer *me)
{
	uint64_t now = lt_clock_mono_ns(), due = due_ns(me);
	bool slept = false;
	if (now >= due)
		return LEAT_OK;
	uint64_t until = due > now + NAP_NS ? due : now + NAP_NS;
	leat_kick(me->p->leat);
	while (now < until) {
		nap(me, now, until);
		int rc = collect(me, 0);
		if (rc < 0)
			return rc;
		now = lt_clock_mono_ns();
		slept = true;
	}
	if (slept) {
		me->is_kept = false;
		lt_histogram_add(&me->p->result->late_ns, now - until);
	}
	return LEAT_OK;
}

static int
publish_one(struct producer *me)
{
	const struct lt_bench_plan *plan = me->p->plan;
	struct head *h = me->body;
	int rc = plan->rate > 0 ? pace(me) : LEAT_OK;
	if (rc != LEAT_OK)
		return rc;
	h->seq = me->sent;
	h->stamp_ns = 0;
	if (plan->rate > 0) {
		h->stamp_ns = me->is_kept ? due_ns(me) : lt_clock_mono_ns();
	} else if (me->sent % TIMED_EACH == 0 || plan->window == 1) {
		h->stamp_ns = lt_clock_mono_ns();
	}
	if (plan->size > sizeof *h)
		((uint8_t *)h)[plan->size - 1] = (uint8_t)me->sent;
	me->message.queue = (int32_t)((me->sent + me->index) % plan->queues);
	for (;;) {
		bool room = leat_in_flight(me->p->leat) < plan->window;
		rc = room ? leat_submit(me->p->leat, &me->message, SLICE_MS,
				(void *)(uintptr_t)h->stamp_ns)
			  : collect(me, SLICE_MS);
		if (room && rc == LEAT_OK)
			break;
		me->is_kept = true;
		if (rc == LEAT_E_AGAIN || rc == LEAT_E_TIMEOUT)
			rc = collect(me, SLICE_MS);
		if (rc < 0)
			return me->p->result->status != LEAT_OK
				   ? rc
				   : failed(me->p, rc, "publish");
	}
	me->sent++;
	return LEAT_OK;
}

static int
produce(struct party *p, uint64_t index)
{
	const struct lt_bench_plan *plan = p->plan;
	struct producer me = {.p = p,
	    .index = index,
	    .total = lt_bench_share(plan),
	    .message = LEAT_MESSAGE_INIT};
	me.body = lt_mem_alloc(plan->size);
	if (me.body == NULL)
		return failed(p, LEAT_E_NOMEM, "publish");
	*me.body = (struct head){.run = plan->run, .producer = index};
	me.message.topic = plan->topic;
	me.message.body = me.body;
	me.message.body_bytes = plan->size;
	me.message.level = plan->level;
	int rc = connect_party(p);
	if (rc == LEAT_OK)
		rc = await_start(p);
	me.progress_ms = lt_clock_mono_ms();
	while (rc == LEAT_OK && me.sent < me.total)
		rc = publish_one(&me);
	leat_kick(p->leat);
	while (rc == LEAT_OK && p->result->messages < me.total) {
		int n = collect(&me, SLICE_MS);
		rc = n < 0 ? n : LEAT_OK;
	}
	lt_mem_free(me.body);
	return rc;
}

/* --- consumer --- */

struct consumer {
	struct party *p;
	struct leat_consumer *consumer;
	uint64_t *next; /* [producer][queue]: sequence that comes next */
	uint64_t expected; /* by this consumer, or by all members together */
	uint64_t progress_ms;
};

/* What is wrong with a message, and where it is. */
static int
wrong(struct consumer *me, const struct head *h, const struct leat_delivery *d,
    const char *what)
{
	me->p->result->status = LEAT_E_CORRUPT;
	snprintf(me->p->result->text, sizeof me->p->result->text,
	    "message %" PRIu64 " of producer %" PRIu64 " %s (queue %" PRIu32
	    ", offset %" PRId64 ", attempt %" PRIu32 ")",
	    h->seq, h->producer, what, d->queue, d->queue_offset, d->attempt);
	return LEAT_E_CORRUPT;
}

static int
check_order(
    struct consumer *me, const struct head *h, const struct leat_delivery *d)
{
	const struct lt_bench_plan *plan = me->p->plan;
	uint64_t *next = &me->next[h->producer * plan->queues + d->queue];
	if (plan->group) {
		uint64_t n = h->producer * lt_bench_share(plan) + h->seq;
		uint64_t bit = 1ull << (n % 64);
		if ((atomic_fetch_or_explicit(
			 &me->p->s->seen[n / 64], bit, memory_order_relaxed) &
			bit) != 0)
			return wrong(me, h, d, "came twice");
		if (h->seq < *next && d->attempt == 1)
			me->p->result->disordered++;
	} else if (h->seq != *next) {
		return wrong(me, h, d,
		    h->seq > *next ? "comes too soon"
				   : "came twice or out of order");
	}
	*next = h->seq + plan->queues;
	return LEAT_OK;
}

/* One message: LEAT_OK, END if it is not of this run, or a failure. */
static int
check(struct consumer *me, const struct leat_delivery *d, uint64_t now)
{
	const struct lt_bench_plan *plan = me->p->plan;
	struct head h;
	if (d->body_bytes < sizeof h)
		return LEAT_E_END;
	memcpy(&h, d->body, sizeof h);
	if (h.run != plan->run)
		return LEAT_E_END;
	if (d->body_bytes != plan->size || h.producer >= plan->producers ||
	    h.seq >= lt_bench_share(plan) ||
	    d->queue != (h.seq + h.producer) % plan->queues ||
	    (plan->size > sizeof h &&
		((const uint8_t *)d->body)[plan->size - 1] != (uint8_t)h.seq))
		return wrong(me, &h, d, "was altered");
	int rc = check_order(me, &h, d);
	if (rc == LEAT_OK && h.stamp_ns != 0)
		lt_histogram_add(&me->p->result->time_ns,
		    now > h.stamp_ns ? now - h.stamp_ns : 0);
	return rc;
}

static int
take(struct consumer *me, const struct leat_delivery *d, int n)
{
	struct lt_bench_result *result = me->p->result;
	uint64_t now = lt_clock_mono_ns(), own = 0;
	for (int i = 0; i < n; i++) {
		int rc = check(me, &d[i], now);
		if (rc != LEAT_OK && rc != LEAT_E_END)
			return rc;
		own += rc == LEAT_OK;
	}
	if (me->p->plan->group) {
		int rc = leat_ack(me->consumer, d, (size_t)n);
		if (rc < 0)
			return failed(me->p, rc, "acknowledge");
	}
	atomic_fetch_add_explicit(
	    &me->p->s->consumed, own, memory_order_relaxed);
	if (own > 0)
		lt_bench_count(result, lt_clock_mono_ns(), own);
	return LEAT_OK;
}

static bool
is_done(const struct consumer *me)
{
	uint64_t have = me->p->plan->group
			    ? atomic_load_explicit(
				  &me->p->s->consumed, memory_order_relaxed)
			    : me->p->result->messages;
	return have >= me->expected;
}

static int
missing(struct consumer *me)
{
	uint64_t have = me->p->plan->group
			    ? atomic_load_explicit(
				  &me->p->s->consumed, memory_order_relaxed)
			    : me->p->result->messages;
	me->p->result->status = LEAT_E_TIMEOUT;
	snprintf(me->p->result->text, sizeof me->p->result->text,
	    "%" PRIu64 " of %" PRIu64 " messages are missing",
	    me->expected - have, me->expected);
	return LEAT_E_TIMEOUT;
}

static int
consume_all(struct consumer *me)
{
	static struct leat_delivery d[POLL_MAX];
	uint64_t seen = 0;
	me->progress_ms = lt_clock_mono_ms();
	while (!is_done(me)) {
		int n = leat_poll(me->consumer, d, POLL_MAX, SLICE_MS);
		if (n == LEAT_E_TIMEOUT || n == LEAT_E_AGAIN)
			n = 0;
		if (n < 0)
			return failed(me->p, n, "consume");
		int rc = n > 0 ? take(me, d, n) : LEAT_OK;
		if (rc != LEAT_OK)
			return rc;
		if (n > 0)
			continue;
		uint64_t consumed = atomic_load_explicit(
		    &me->p->s->consumed, memory_order_relaxed);
		uint64_t now = lt_clock_mono_ms();
		if (consumed != seen)
			me->progress_ms = now;
		seen = consumed;
		if (now - me->progress_ms > (uint64_t)me->p->plan->timeout_ms)
			return missing(me);
	}
	return LEAT_OK;
}

static int
consume(struct party *p)
{
	const struct lt_bench_plan *plan = p->plan;
	struct consumer me = {.p = p};
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	s.topic = plan->topic;
	s.group = plan->group ? plan->group_name : NULL;
	s.from = LEAT_FROM_END;
	me.expected = lt_bench_share(plan) * plan->producers;
	me.next = lt_mem_array(plan->producers * plan->queues, sizeof *me.next);
	if (me.next == NULL)
		return failed(p, LEAT_E_NOMEM, "consume");
	for (uint64_t i = 0; i < plan->producers * plan->queues; i++) {
		uint64_t producer = i / plan->queues, queue = i % plan->queues;
		me.next[i] = (queue + plan->queues - producer % plan->queues) %
			     plan->queues;
	}
	int rc = connect_party(p);
	if (rc == LEAT_OK) {
		rc = leat_subscribe(p->leat, &s, &me.consumer);
		if (rc != LEAT_OK)
			failed(p, rc, "subscribe");
	}
	if (rc == LEAT_OK)
		rc = await_start(p);
	if (rc == LEAT_OK)
		rc = consume_all(&me);
	lt_mem_free(me.next);
	return rc;
}

/* --- the parent --- */

struct crew {
	struct lt_bench_shared *s;
	pid_t pids[LT_BENCH_PARTIES_MAX];
	size_t count;
	int ready[2], go[2];
};

LT_NORETURN static void
be_party(struct crew *c, size_t index, pid_t parent)
{
	struct party p = {.s = c->s,
	    .plan = &c->s->plan,
	    .result = &c->s->results[index],
	    .ready = c->ready[1],
	    .go = c->go[0]};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	close(c->go[1]);
	close(c->ready[0]);
	int rc =
	    index < c->s->plan.producers ? produce(&p, index) : consume(&p);
	if (rc == LEAT_OK)
		leat_close(p.leat);
	_exit(rc == LEAT_OK ? 0 : 1);
}

/* True when all said so; false if one ended before, or we were told to stop. */
static bool
all_ready(struct crew *c)
{
	size_t said = 0;
	while (said < c->count && !lt_tool_stopped) {
		struct pollfd fd = {.fd = c->ready[0], .events = POLLIN};
		siginfo_t ended = {.si_pid = 0};
		char bytes[LT_BENCH_PARTIES_MAX];
		if (poll(&fd, 1, 50) > 0) {
			ssize_t n = read(c->ready[0], bytes, sizeof bytes);
			said += n > 0 ? (size_t)n : 0;
			continue;
		}
		if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) ==
			0 &&
		    ended.si_pid != 0)
			return false;
	}
	return said == c->count;
}

static void
end_all(struct crew *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->pids[i] > 0)
			kill(c->pids[i], SIGKILL);
}

/* Reap everyone; the first that fails, or a signal to us, ends the others. */
static int
reap_all(struct crew *c)
{
	int rc = LEAT_OK;
	for (size_t left = c->count; left > 0;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		if (pid < 0 && errno == ECHILD)
			break;
		for (size_t i = 0; pid > 0 && i < c->count; i++) {
			if (c->pids[i] != pid)
				continue;
			c->pids[i] = 0;
			left--;
		}
		bool bad = pid > 0 && status != 0;
		if ((bad || (pid < 0 && lt_tool_stopped)) && rc == LEAT_OK) {
			rc = LEAT_E_CLOSED;
			end_all(c);
		}
	}
	return rc;
}

int
lt_party_run(struct lt_bench_shared *s)
{
	struct crew c = {.s = s};
	pid_t me = getpid();
	size_t want = (size_t)(s->plan.producers + s->plan.consumers);
	if (pipe(c.ready) != 0 || pipe(c.go) != 0)
		return lt_tool_complain(
		    LEAT_E_LIMIT, "bench: pipe: %s", strerror(errno));
	fflush(stdout);
	for (; c.count < want; c.count++) {
		pid_t pid = fork();
		if (pid == 0)
			be_party(&c, c.count, me);
		if (pid < 0)
			break;
		c.pids[c.count] = pid;
	}
	bool ready = c.count == want && all_ready(&c);
	close(c.go[0]);
	if (!ready)
		end_all(&c);
	close(c.go[1]);
	int rc = reap_all(&c);
	close(c.ready[0]);
	close(c.ready[1]);
	if (ready && rc == LEAT_OK)
		return LEAT_OK;
	for (size_t i = 0; i < want; i++)
		if (s->results[i].status != LEAT_OK)
			return lt_tool_complain(s->results[i].status,
			    "bench: %s: %s",
			    i < s->plan.producers ? "producer" : "consumer",
			    s->results[i].text);
	return lt_tool_complain(LEAT_E_CLOSED,
	    lt_tool_stopped ? "bench: stopped" : "bench: a process died");
}
