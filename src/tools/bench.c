/*
 * bench.c - leat bench: publish, consume, latency. Plans a run, makes a topic
 * for it, lets party.c's processes do it, and reports. What was consumed is
 * checked message by message; a run that lost, repeated or altered anything
 * prints no figure.
 */
#include "config.h"
#include "tools/bench.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/limits.h"

static int
read_option(struct lt_tool *t, struct lt_bench_plan *p, int key)
{
	uint64_t n = 0;
	int rc;
	switch (key) {
	case 's':
		return lt_tool_number(
		    t, LT_BENCH_SIZE_MIN, LT_BODY_MAX, &p->size);
	case 'n':
		return lt_tool_number(t, 1, 10000000000, &p->count);
	case 'R':
		return lt_tool_number(t, 1, 100000000, &p->rate);
	case 'l':
		return lt_tool_level(t, &p->level);
	case 'P':
		return lt_tool_number(
		    t, 1, LT_BENCH_PARTIES_MAX / 2, &p->producers);
	case 'C':
		return lt_tool_number(
		    t, 1, LT_BENCH_PARTIES_MAX / 2, &p->consumers);
	case 'Q':
		return lt_tool_number(t, 1, LT_QUEUES_MAX, &p->queues);
	case 'W':
		return lt_tool_number(t, 1, 1 << 20, &p->window);
	case 'T':
		rc = lt_tool_check_topic(t->arg);
		if (rc == LEAT_OK)
			snprintf(p->topic, sizeof p->topic, "%s", t->arg);
		return rc;
	case 'g':
		p->group = true;
		return LEAT_OK;
	case 'd':
		p->detail = true;
		return LEAT_OK;
	default:
		rc = lt_tool_number(t, 0, 1000000, &n);
		p->spin_us = n == 0 ? -1 : (int)n;
		return rc;
	}
}

static int
read_plan(struct lt_tool *t, struct lt_bench_plan *p)
{
	int key, rc = LEAT_OK;
	while (rc == LEAT_OK && (key = lt_tool_next(t)) != 0)
		rc = key < 0 ? key : read_option(t, p, key);
	if (rc != LEAT_OK)
		return rc;
	if (p->kind == LT_BENCH_LATENCY && p->rate == 0)
		p->rate = 1000;
	if (p->count == 0)
		p->count = p->rate > 0 ? p->rate * 5 : 1000000;
	if (p->count < p->producers)
		p->count = p->producers;
	p->count -= p->count % p->producers;
	rc = lt_tool_target(t, &p->target);
	if (rc != LEAT_OK)
		return rc;
	p->timeout_ms = t->timeout_ms;
	p->run = (uint64_t)lt_clock_wall_ms() << 22 ^ (uint64_t)getpid();
	snprintf(p->group_name, sizeof p->group_name, "leat_bench_%d_%llx",
	    (int)getpid(), (unsigned long long)p->run);
	return LEAT_OK;
}

/* Make the topic, or look at the one given. The session is closed again: it
 * must not live in a process that forks. */
static int
prepare_topic(struct lt_tool *t, struct lt_bench_plan *p)
{
	struct leat_topic topic;
	memset(&topic, 0, sizeof topic);
	int rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	p->own_topic = p->topic[0] == '\0';
	if (p->own_topic) {
		snprintf(p->topic, sizeof p->topic, "%s", p->group_name);
		snprintf(topic.name, sizeof topic.name, "%s", p->topic);
		topic.read_queues = topic.write_queues = (uint32_t)p->queues;
		rc = leat_topic_create(t->leat, &topic);
	} else {
		rc = leat_topic_describe(t->leat, p->topic, &topic);
		p->queues = topic.write_queues;
	}
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "topic %s", p->topic);
	leat_close(t->leat);
	t->leat = NULL;
	return rc;
}

static void
remove_topic(struct lt_tool *t, const struct lt_bench_plan *p)
{
	if ((!p->own_topic && !p->group) || lt_tool_connect(t) != LEAT_OK)
		return;
	int rc = p->group ? leat_group_delete(t->leat, p->group_name) : LEAT_OK;
	if (rc != LEAT_OK && rc != LEAT_E_NOTFOUND)
		lt_tool_fail(t, rc, "group %s", p->group_name);
	rc = p->own_topic ? leat_topic_delete(t->leat, p->topic) : LEAT_OK;
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "topic %s", p->topic);
}

static const struct lt_output_column columns[] = {
    {"bench", "bench", LT_OUT_PLAIN},
    {"messages", "messages", LT_OUT_PLAIN},
    {"seconds", "seconds", LT_OUT_PLAIN},
    {"msgs_per_s", "msg/s", LT_OUT_PLAIN},
    {"mb_per_s", "MB/s", LT_OUT_PLAIN},
    {"p50_us", "p50 us", LT_OUT_PLAIN},
    {"p99_us", "p99 us", LT_OUT_PLAIN},
    {"p999_us", "p99.9 us", LT_OUT_PLAIN},
    {"max_us", "max us", LT_OUT_PLAIN},
    {"late_p99_us", "generator late p99 us", LT_OUT_PLAIN},
    {"size", "size", LT_OUT_PLAIN},
    {"rate", "rate", LT_OUT_PLAIN},
    {"level", "level", LT_OUT_PLAIN},
    {"producers", "producers", LT_OUT_PLAIN},
    {"consumers", "consumers", LT_OUT_PLAIN},
    {"consume_as", "consume as", LT_OUT_PLAIN},
    {"queues", "queues", LT_OUT_PLAIN},
    {"window", "window", LT_OUT_PLAIN},
};

static double
us_at(const struct lt_histogram *h, double q)
{
	return (double)lt_histogram_at(h, q) / 1000;
}

static const char *
kind_text(enum lt_bench_kind kind)
{
	return kind == LT_BENCH_PUBLISH	  ? "publish"
	       : kind == LT_BENCH_CONSUME ? "consume"
					  : "latency";
}

static void
put_plan(struct json_t *o, const struct lt_bench_plan *p)
{
	lt_output_int(o, "size", (int64_t)p->size);
	if (p->rate > 0)
		lt_output_int(o, "rate", (int64_t)p->rate);
	lt_output_text(o, "level", lt_tool_level_text(p->level));
	lt_output_int(o, "producers", (int64_t)p->producers);
	if (p->kind != LT_BENCH_PUBLISH) {
		lt_output_int(o, "consumers", (int64_t)p->consumers);
		lt_output_text(o, "consume_as", p->group ? "group" : "browse");
	}
	lt_output_int(o, "queues", (int64_t)p->queues);
	lt_output_int(o, "window", (int64_t)p->window);
}

/* Buckets that are not empty, with their upper edge. */
static void
put_histogram(struct json_t *o, const struct lt_histogram *h)
{
	struct json_t *list = lt_output_list();
	for (unsigned i = 0; i < LT_HISTOGRAM_BUCKETS; i++) {
		if (h->bucket[i] == 0)
			continue;
		struct json_t *bucket = lt_output_object();
		lt_output_real(
		    bucket, "us", (double)lt_histogram_edge(i) / 1000);
		lt_output_int(bucket, "messages", (int64_t)h->bucket[i]);
		lt_output_add(list, bucket);
	}
	lt_output_put(o, "histogram", list);
}

/* Messages acknowledged or consumed, from the start on. */
static void
put_slices(struct json_t *o, const struct lt_bench_shared *s)
{
	const struct lt_bench_plan *p = &s->plan;
	bool publish = p->kind == LT_BENCH_PUBLISH;
	uint64_t first = publish ? 0 : p->producers;
	uint64_t end = publish ? p->producers : first + p->consumers;
	uint64_t sums[LT_BENCH_SLICES] = {0};
	size_t count = 0;
	for (uint64_t i = first; i < end; i++)
		for (size_t k = 0; k < LT_BENCH_SLICES; k++) {
			sums[k] += s->results[i].slices[k];
			if (s->results[i].slices[k] != 0 && k >= count)
				count = k + 1;
		}
	struct json_t *list = lt_output_list();
	for (size_t k = 0; k < count; k++) {
		struct json_t *slice = lt_output_object();
		lt_output_int(
		    slice, "ms", (int64_t)(k + 1) * LT_BENCH_SLICE_MS);
		lt_output_int(slice, "messages", (int64_t)sums[k]);
		lt_output_add(list, slice);
	}
	lt_output_put(o, "slices", list);
}

/* From the common start to the end of the last: of the consumers if there are
 * any, else of the producers. */
static void
report(struct lt_tool *t, const struct lt_bench_shared *s)
{
	static struct lt_histogram all, late;
	const struct lt_bench_plan *p = &s->plan;
	uint64_t start = UINT64_MAX, end = 0, disordered = 0;
	uint64_t messages = lt_bench_share(p) * p->producers;
	lt_histogram_init(&all);
	lt_histogram_init(&late);
	for (uint64_t i = 0; i < p->producers + p->consumers; i++) {
		const struct lt_bench_result *r = &s->results[i];
		bool producer = i < p->producers;
		if (producer && r->start_ns < start)
			start = r->start_ns;
		if (producer == (p->kind == LT_BENCH_PUBLISH) &&
		    r->end_ns > end)
			end = r->end_ns;
		lt_histogram_merge(&all, &r->time_ns);
		lt_histogram_merge(&late, &r->late_ns);
		disordered += r->disordered;
	}
	double seconds = end > start ? (double)(end - start) / 1e9 : 1e-9;
	struct json_t *o = lt_output_object();
	lt_output_text(o, "bench", kind_text(p->kind));
	lt_output_int(o, "messages", (int64_t)messages);
	lt_output_real(o, "seconds", seconds);
	lt_output_real(o, "msgs_per_s", (double)messages / seconds);
	lt_output_real(
	    o, "mb_per_s", (double)(messages * p->size) / seconds / 1e6);
	lt_output_real(o, "p50_us", us_at(&all, 0.5));
	lt_output_real(o, "p99_us", us_at(&all, 0.99));
	lt_output_real(o, "p999_us", us_at(&all, 0.999));
	lt_output_real(o, "max_us", (double)all.max / 1000);
	lt_output_int(o, "timed", (int64_t)all.count);
	if (p->rate > 0)
		lt_output_real(o, "late_p99_us", us_at(&late, 0.99));
	if (p->group)
		lt_output_int(o, "disordered", (int64_t)disordered);
	put_plan(o, p);
	if (p->detail) {
		put_histogram(o, &all);
		put_slices(o, s);
	}
	if (t->json)
		lt_output_json(o);
	else
		lt_output_fields(t, o, columns, LT_COUNT(columns));
	lt_output_free(o);
}

static int
bench(struct lt_tool *t, enum lt_bench_kind kind)
{
	struct lt_bench_plan plan = {.kind = kind,
	    .size = 128,
	    .producers = 1,
	    .consumers = kind != LT_BENCH_PUBLISH,
	    .queues = 4,
	    .window = 1024,
	    .spin_us = kind == LT_BENCH_LATENCY ? -1 : 0};
	int rc = read_plan(t, &plan);
	if (rc != LEAT_OK)
		return rc;
	size_t bytes = sizeof(struct lt_bench_shared) + plan.count / 8 + 16;
	struct lt_bench_shared *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s == MAP_FAILED)
		return lt_tool_complain(LEAT_E_NOMEM,
		    "bench: out of memory; use a smaller --count");
	lt_tool_catch();
	rc = prepare_topic(t, &plan);
	if (rc == LEAT_OK) {
		s->plan = plan;
		rc = lt_party_run(s);
		if (rc == LEAT_OK)
			report(t, s);
		remove_topic(t, &plan);
	}
	munmap(s, bytes);
	return rc;
}

int
lt_tool_bench_publish(struct lt_tool *t)
{
	return bench(t, LT_BENCH_PUBLISH);
}

int
lt_tool_bench_consume(struct lt_tool *t)
{
	return bench(t, LT_BENCH_CONSUME);
}

int
lt_tool_bench_latency(struct lt_tool *t)
{
	return bench(t, LT_BENCH_LATENCY);
}
