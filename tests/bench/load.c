/*
 * load.c - the load that leat bench makes, for a peer: `load PEER JOB option
 * ...` where PEER is redis, nats or pipe and JOB is publish (until
 * acknowledged), consume (publish and consume at once) or latency (the same at
 * a rate). One process for each producer and the consumer, started together;
 * everything consumed is checked; a run that lost, repeated or altered anything
 * prints no figure. Output: the JSON of `leat --json bench --detail`.
 *
 * Time and pace are leat bench's, too: a message's clock starts when its
 * producer begins to publish it, or when it was due if the server kept the
 * producer from that; producers sleep at least 100 us between bursts and never
 * spin; timer slack is 1 us.
 */
#include "config.h"
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define NAP_NS 100000ull
#define TIMED_EACH 16
#define FLUSH_BYTES 16384

static const struct peer *const peers[] = {&redis_peer, &nats_peer, &pipe_peer};

static struct {
	struct load_plan plan;
	const struct peer *peer;
	const char *job;
	int ready[2], go[2];
	struct load_result *results; /* shared with the parties */
	pid_t pids[LOAD_PARTIES_MAX + 1];
} run = {.plan = {.size = 128, .producers = 1, .window = 1024}};

static void
await_start(struct load_link *l)
{
	char byte = 0;
	if (write(run.ready[1], &byte, 1) != 1)
		load_fail(l, "start: %s", strerror(errno));
	while (read(run.go[0], &byte, 1) < 0 && errno == EINTR)
		;
	l->result->start_ns = lt_clock_mono_ns();
}

static void
count(struct load_result *r, uint64_t now, uint64_t n)
{
	uint64_t slice = (now - r->start_ns) / (LOAD_SLICE_MS * 1000000ull);
	r->messages += n;
	r->end_ns = now;
	r->slices[slice < LOAD_SLICES ? slice : LOAD_SLICES - 1] += (uint32_t)n;
}

/* --- producer --- */

struct producer {
	struct load_link link;
	uint64_t total, sent;
	bool is_kept; /* by the server, since the last sleep */
	uint64_t *stamps; /* of the messages in flight */
	uint8_t *body;
};

static void
collect(struct producer *me, bool wait)
{
	struct load_link *l = &me->link;
	struct load_result *r = l->result;
	run.peer->receipts(l);
	if (l->acked == r->messages) {
		if (!load_receive(l, wait))
			return;
		run.peer->receipts(l);
	}
	uint64_t now = lt_clock_mono_ns();
	for (uint64_t i = r->messages; i < l->acked; i++) {
		uint64_t stamp = me->stamps[i % l->plan->window];
		if (l->plan->publish && stamp != 0)
			lt_histogram_add(&r->time_ns, now - stamp);
	}
	if (l->acked > r->messages)
		count(r, now, l->acked - r->messages);
}

static uint64_t
due_ns(const struct producer *me)
{
	const struct load_plan *plan = me->link.plan;
	double turn = (double)(me->sent * plan->producers + me->link.index);
	return me->link.result->start_ns +
	       (uint64_t)(turn * 1e9 / (double)plan->rate);
}

static void
pace(struct producer *me)
{
	uint64_t now = lt_clock_mono_ns(), due = due_ns(me);
	if (now >= due)
		return;
	uint64_t until = due > now + NAP_NS ? due : now + NAP_NS;
	load_flush(&me->link);
	struct timespec at = {.tv_sec = (time_t)(until / 1000000000),
	    .tv_nsec = (long)(until % 1000000000)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
		;
	me->is_kept = false;
	lt_histogram_add(&me->link.result->late_ns, lt_clock_mono_ns() - until);
	collect(me, false);
}

static void
publish_one(struct producer *me)
{
	struct load_link *l = &me->link;
	const struct load_plan *plan = l->plan;
	struct load_head h = {.seq = me->sent, .producer = l->index};
	if (plan->rate > 0) {
		pace(me);
		h.stamp_ns = me->is_kept ? due_ns(me) : lt_clock_mono_ns();
	} else if (me->sent % TIMED_EACH == 0 || plan->window == 1) {
		h.stamp_ns = lt_clock_mono_ns();
	}
	while (me->sent - l->result->messages >= plan->window) {
		me->is_kept = true;
		load_flush(l);
		collect(me, true);
	}
	memcpy(me->body, &h, sizeof h);
	me->body[plan->size - 1] = (uint8_t)me->sent;
	me->stamps[me->sent % plan->window] = h.stamp_ns;
	run.peer->submit(l, me->body, plan->size);
	me->sent++;
	if (l->out_bytes >= FLUSH_BYTES)
		load_flush(l);
}

static void
produce(struct load_link *link)
{
	struct producer me = {
	    .link = *link, .total = link->plan->count / link->plan->producers};
	me.stamps = calloc(link->plan->window, sizeof *me.stamps);
	me.body = calloc(1, link->plan->size);
	if (me.stamps == NULL || me.body == NULL)
		load_fail(link, "out of memory");
	run.peer->connect(&me.link, false);
	await_start(&me.link);
	while (me.sent < me.total)
		publish_one(&me);
	load_flush(&me.link);
	while (me.link.result->messages < me.total)
		collect(&me, true);
}

/* --- consumer --- */

struct consumer {
	struct load_link link;
	uint64_t next[LOAD_PARTIES_MAX];
	uint64_t now, fresh;
};

static void
deliver(void *arg, const void *body, size_t bytes)
{
	struct consumer *me = arg;
	const struct load_plan *plan = me->link.plan;
	struct load_head h;
	if (bytes != plan->size)
		load_fail(&me->link, "a message of %zu bytes", bytes);
	memcpy(&h, body, sizeof h);
	if (h.producer >= plan->producers || h.seq != me->next[h.producer] ||
	    ((const uint8_t *)body)[bytes - 1] != (uint8_t)h.seq)
		load_fail(&me->link, "message %" PRIu64 " is wrong", h.seq);
	me->next[h.producer]++;
	if (me->fresh++ == 0)
		me->now = lt_clock_mono_ns();
	if (h.stamp_ns != 0)
		lt_histogram_add(&me->link.result->time_ns,
		    me->now > h.stamp_ns ? me->now - h.stamp_ns : 0);
}

static void
consume(struct load_link *link)
{
	struct consumer me = {.link = *link};
	me.link.deliver = deliver;
	me.link.arg = &me;
	run.peer->connect(&me.link, true);
	await_start(&me.link);
	while (me.link.result->messages < link->plan->count) {
		me.fresh = 0;
		run.peer->consume(&me.link);
		count(me.link.result, lt_clock_mono_ns(), me.fresh);
	}
}

/* --- report --- */

static void
print_histogram(const struct lt_histogram *h)
{
	const char *comma = "";
	printf(",\"histogram\":[");
	for (unsigned i = 0; i < LT_HISTOGRAM_BUCKETS; i++) {
		if (h->bucket[i] == 0)
			continue;
		printf("%s{\"us\":%.3f,\"messages\":%" PRIu64 "}", comma,
		    (double)lt_histogram_edge(i) / 1000, h->bucket[i]);
		comma = ",";
	}
	printf("]");
}

static void
print_slices(uint64_t first, uint64_t end)
{
	size_t slices = 0;
	printf(",\"slices\":[");
	for (uint64_t i = first; i < end; i++)
		for (size_t k = slices; k < LOAD_SLICES; k++)
			if (run.results[i].slices[k] != 0)
				slices = k + 1;
	for (size_t k = 0; k < slices; k++) {
		uint64_t n = 0;
		for (uint64_t i = first; i < end; i++)
			n += run.results[i].slices[k];
		printf("%s{\"ms\":%zu,\"messages\":%" PRIu64 "}",
		    k > 0 ? "," : "", (k + 1) * LOAD_SLICE_MS, n);
	}
	printf("]");
}

static double
us_at(const struct lt_histogram *h, double q)
{
	return (double)lt_histogram_at(h, q) / 1000;
}

static void
report(void)
{
	static struct lt_histogram all, late;
	const struct load_plan *p = &run.plan;
	uint64_t start = UINT64_MAX, end = 0;
	for (uint64_t i = 0; i < p->producers + p->consumers; i++) {
		const struct load_result *r = &run.results[i];
		bool producer = i < p->producers;
		if (producer && r->start_ns < start)
			start = r->start_ns;
		if (producer == p->publish && r->end_ns > end)
			end = r->end_ns;
		lt_histogram_merge(&all, &r->time_ns);
		lt_histogram_merge(&late, &r->late_ns);
	}
	double seconds = end > start ? (double)(end - start) / 1e9 : 1e-9;
	printf("{\"bench\":\"%s\",\"peer\":\"%s\",\"messages\":%" PRIu64
	       ",\"seconds\":%.6f,\"msgs_per_s\":%.1f,\"mb_per_s\":%.3f",
	    run.job, run.peer->name, p->count, seconds,
	    (double)p->count / seconds,
	    (double)(p->count * p->size) / seconds / 1e6);
	printf(",\"p50_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":%.3f"
	       ",\"max_us\":%.3f,\"late_p99_us\":%.3f",
	    us_at(&all, 0.5), us_at(&all, 0.99), us_at(&all, 0.999),
	    (double)all.max / 1000, us_at(&late, 0.99));
	printf(",\"size\":%" PRIu64 ",\"rate\":%" PRIu64
	       ",\"producers\":%" PRIu64 ",\"consumers\":%" PRIu64
	       ",\"window\":%" PRIu64,
	    p->size, p->rate, p->producers, p->consumers, p->window);
	print_histogram(&all);
	print_slices(p->publish ? 0 : p->producers,
	    p->publish ? p->producers : p->producers + p->consumers);
	printf("}\n");
}

/* --- the parent --- */

static void
start_party(uint64_t i)
{
	struct load_link l = {.plan = &run.plan, .result = &run.results[i]};
	pid_t parent = getpid(), pid = fork();
	bool consumer = i >= run.plan.producers;
	l.index = consumer ? i - run.plan.producers : i;
	run.pids[i] = pid;
	if (pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	close(run.go[1]);
	if (consumer)
		consume(&l);
	else
		produce(&l);
	_exit(0);
}

/* A party ended: the others end with one that failed. */
static bool
reap(uint64_t parties, int flags)
{
	int status;
	pid_t pid = waitpid(-1, &status, flags);
	if (pid <= 0 || status == 0)
		return pid > 0;
	for (uint64_t i = 0; i < parties; i++)
		if (run.pids[i] != pid)
			kill(run.pids[i], SIGKILL);
	for (uint64_t i = 0; i < parties; i++)
		if (run.results[i].failed[0] != '\0')
			fprintf(stderr, "load: %s\n", run.results[i].failed);
	fprintf(stderr, "load: a process failed\n");
	exit(1);
}

static void
run_parties(void)
{
	uint64_t parties = run.plan.producers + run.plan.consumers;
	char bytes[LOAD_PARTIES_MAX + 1];
	for (uint64_t i = 0; i < parties; i++)
		start_party(i);
	for (uint64_t said = 0; said < parties;) {
		struct pollfd fd = {.fd = run.ready[0], .events = POLLIN};
		if (poll(&fd, 1, 50) > 0)
			said += (uint64_t)read(run.ready[0], bytes, parties);
		else
			reap(parties, WNOHANG);
	}
	close(run.go[1]);
	for (uint64_t left = parties; left > 0; left--)
		if (!reap(parties, 0))
			break;
}

static uint64_t
number(const char *name)
{
	char *end;
	unsigned long long n = strtoull(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end != '\0') {
		fprintf(stderr, "load: --%s: not a number\n", name);
		exit(2);
	}
	return n;
}

static const struct option options[] = {{"where", 1, NULL, 'w'},
    {"size", 1, NULL, 's'}, {"count", 1, NULL, 'n'}, {"rate", 1, NULL, 'R'},
    {"producers", 1, NULL, 'P'}, {"window", 1, NULL, 'W'},
    {"seconds", 1, NULL, 't'}, {0}};

static void
read_options(int argc, char **argv)
{
	struct load_plan *p = &run.plan;
	uint64_t *to[128] = {['s'] = &p->size,
	    ['n'] = &p->count,
	    ['R'] = &p->rate,
	    ['P'] = &p->producers,
	    ['W'] = &p->window};
	int key, which = 0;
	unsigned seconds = 120;
	while ((key = getopt_long(argc, argv, "", options, &which)) != -1) {
		if (key == 'w')
			p->where = optarg;
		else if (key == 't')
			seconds = (unsigned)number("seconds");
		else if (key < 128 && to[key] != NULL)
			*to[key] = number(options[which].name);
		else
			exit(2);
	}
	alarm(seconds); /* the parties die with us */
	for (size_t i = 0; optind < argc && i < 3; i++)
		if (strcmp(peers[i]->name, argv[optind]) == 0)
			run.peer = peers[i];
	run.job = optind + 1 < argc ? argv[optind + 1] : "";
	p->publish = strcmp(run.job, "publish") == 0;
	p->consumers = !p->publish;
	if (p->rate == 0 && strcmp(run.job, "latency") == 0)
		p->rate = 1000;
	if (p->count == 0)
		p->count = p->rate > 0 ? p->rate * 5 : 1000000;
	if (run.peer == NULL || p->producers < 1 || p->window < 1 ||
	    p->producers > LOAD_PARTIES_MAX ||
	    p->size <= sizeof(struct load_head)) {
		fprintf(stderr, "usage: load redis|nats|pipe "
				"publish|consume|latency [--where SOCKET|PORT] "
				"[--size N] [--count N] [--rate N] "
				"[--producers N] [--window N] [--seconds N]\n");
		exit(2);
	}
	p->count -= p->count % p->producers;
	snprintf(p->name, sizeof p->name, "load%d", (int)getpid());
}

int
main(int argc, char **argv)
{
	read_options(argc, argv);
	size_t bytes = (LOAD_PARTIES_MAX + 2) * sizeof *run.results;
	run.results = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.results == MAP_FAILED || pipe(run.ready) != 0 ||
	    pipe(run.go) != 0 || pipe(run.plan.pipe) != 0) {
		perror("load");
		return 1;
	}
	struct load_link parent = {.plan = &run.plan,
	    .index = LOAD_PARTIES_MAX,
	    .result = &run.results[LOAD_PARTIES_MAX + 1]};
	run.peer->prepare(&parent);
	run_parties();
	report();
	run.peer->remove(&parent);
	return 0;
}
