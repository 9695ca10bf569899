/*
 * bench.h - what bench.c (plan, report) and party.c (the processes that publish
 * and consume) agree on. Plan and results lie in one shared anonymous mapping
 * made before the forks.
 */
#ifndef LT_TOOLS_BENCH_H
#define LT_TOOLS_BENCH_H

#include <stdatomic.h>
#include "base/histogram.h"
#include "tools/tool.h"

#define LT_BENCH_PARTIES_MAX 256
#define LT_BENCH_SIZE_MIN 32
#define LT_BENCH_SLICE_MS 100
#define LT_BENCH_SLICES 1200 /* what comes later counts in the last */

enum lt_bench_kind {
	LT_BENCH_PUBLISH,
	LT_BENCH_CONSUME,
	LT_BENCH_LATENCY
};

struct lt_bench_plan {
	enum lt_bench_kind kind;
	uint64_t size, count, rate, producers, consumers, queues, window;
	enum leat_level level;
	bool group;
	bool own_topic;
	bool detail; /* report the histogram and the slices, too */
	int spin_us; /* as in struct leat_options */
	struct leat_options target; /* which broker, whose key */
	int timeout_ms;
	char topic[128], group_name[128];
	uint64_t run; /* marks this run's messages */
};

/* Written by its process, read by the parent after that has ended. */
struct lt_bench_result {
	int status;
	char text[200]; /* what went wrong */
	uint64_t start_ns, end_ns;
	uint64_t messages;
	uint64_t disordered;
	struct lt_histogram time_ns; /* receipt, or one way */
	struct lt_histogram late_ns; /* the producer's own oversleep */
	/* Messages acknowledged or consumed in each slice since its start. */
	uint32_t slices[LT_BENCH_SLICES];
};

struct lt_bench_shared {
	struct lt_bench_plan plan;
	/* Group members count together: any may write, all read. */
	_Atomic uint64_t consumed;
	struct lt_bench_result results[LT_BENCH_PARTIES_MAX];
	/* One bit a message, set by the member that got it. */
	_Atomic uint64_t seen[];
};

/* Messages of one producer. */
static inline uint64_t
lt_bench_share(const struct lt_bench_plan *p)
{
	return p->count / p->producers;
}

/* Count n messages of a party at this time. */
static inline void
lt_bench_count(struct lt_bench_result *r, uint64_t now_ns, uint64_t n)
{
	uint64_t slice =
	    (now_ns - r->start_ns) / (LT_BENCH_SLICE_MS * 1000000ull);
	r->messages += n;
	r->end_ns = now_ns;
	r->slices[slice < LT_BENCH_SLICES ? slice : LT_BENCH_SLICES - 1] +=
	    (uint32_t)n;
}

/*
 * Fork all parties, start them together, wait for all. A party that fails ends
 * the run. LEAT_OK, or the first failure, reported.
 */
int lt_party_run(struct lt_bench_shared *s) LT_MUST_CHECK;

#endif
