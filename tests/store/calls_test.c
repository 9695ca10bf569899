/*
 * calls_test.c - every n-th call to the kernel fails. A short story that
 * touches every kind of file the store has is lived again and again, each time
 * with another call failing in another way, in a start, at work or in a
 * restart. It may end the store's process, but:
 *   - nobody holds a receipt that is not true, neither for what a kill leaves
 *     nor for what a power cut at that moment leaves;
 *   - after a failed sync there is no other one of that file, and no receipt;
 *   - recovery starts and what it leaves is clean;
 *   - a short count, an interruption or lack of space end nothing, and once
 *     there is space publishing goes on by itself.
 *
 *   LEAT_SEED    of the story and of where to begin (default: the time)
 *   LEAT_STRIDE  every how many-th call (default 8; with LEAT_LONG 1)
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "story.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../support/faults.h"
#include "base/clock.h"
#include "base/log.h"
#include "leat/leat.h"

#define TURNS 60
#define RESTART_AT 25
#define TURNS_UNTIL_SPACE 50 /* a quarter of a second of the story's time */
#define CALLS_MAX 20000

static struct lt_clock real_clock;
static char top[128];
static uint64_t seed;
static unsigned long stride = 8;
static struct story story;

static void
settings(struct lt_options *o)
{
	o->store_retain_bytes = 2 * STORY_SEGMENT;
}

static void
make_dir(char out[160], const char *name)
{
	snprintf(out, 160, "%s/%s", top, name);
	faults_remove_tree(out);
	assert_int_equal(mkdir(out, 0750), 0);
}

/* 0: lived to the end; else the status that ended it. *started_out: the
 * process that ended had been ready. */
static int
live(struct story *s, int *started_out)
{
	*started_out = 0;
	if (story_start(s) != LEAT_OK)
		return s->status;
	for (int i = 0; i < TURNS; i++) {
		*started_out = 1;
		if (story_turn(s) != LEAT_OK)
			return s->status;
		if (i != RESTART_AT)
			continue;
		story_kill(s);
		*started_out = 0;
		if (story_start(s) != LEAT_OK)
			return s->status;
	}
	for (int i = 0; s->rig.d.is_full && i < TURNS_UNTIL_SPACE; i++)
		if (story_turn(s) != LEAT_OK)
			return s->status;
	return LEAT_OK;
}

/* What is left by a kill, and by a power cut. */
static int
judge(struct film *film, const char *dir, size_t cut, struct story_verdict *v)
{
	char image[160];
	struct film_stage *stage = film_stage_make(film, FILM_HONEST);
	uint64_t its = seed ^ cut;

	film_stage_advance(stage, cut);
	make_dir(image, "image");
	assert_int_equal(film_stage_build(stage, its, image), 0);
	film_stage_free(stage);
	int bad = story_judge(&story, cut, LEAT_LOGGED, dir, 1, v);
	return bad != 0 ? bad
			: story_judge(&story, cut, LEAT_SYNCED, image, 0, v);
}

struct counts {
	unsigned runs, ended;
};

/* One life. 0: its end came before the fault. */
static int
one(enum fault what, unsigned long n, int lasting, struct counts *c)
{
	struct story_verdict v = {.why = ""};
	char dir[160];
	int started, bad = 0;

	make_dir(dir, "live");
	faults_install();
	struct film *film = film_start(dir);
	assert_non_null(film);
	story_begin(&story, dir, film, seed, settings);
	faults_arm(what, n, lasting);
	int status = live(&story, &started);
	int struck = faults_struck();
	int is_full = status == LEAT_OK && story.rig.d.is_full;
	size_t cut = film_now(film);
	faults_arm(FAULT_NONE, 0, 0);
	story_kill(&story);
	film_stop(film);
	faults_remove();
	lt_clock = real_clock;
	if (struck) {
		c->runs++;
		c->ended += status != LEAT_OK;
		bad = judge(film, dir, cut, &v);
	}
	if (film_resyncs(film) > 0)
		fail_msg("fault %d at call %lu: a failed sync was tried again",
		    what, n);
	if (bad != 0)
		fail_msg("fault %d at call %lu (LEAT_SEED=%" PRIu64 "): %s",
		    what, n, seed, v.why);
	if (status != LEAT_OK && !lasting &&
	    (what == FAULT_EINTR || what == FAULT_SHORT ||
		(started && what != FAULT_EIO)))
		fail_msg("fault %d at call %lu (LEAT_SEED=%" PRIu64
			 ") ended the store: %s",
		    what, n, seed, leat_status_name(status));
	if (is_full && !lasting)
		fail_msg(
		    "fault %d at call %lu: publishing does not go on", what, n);
	story_end(&story);
	film_free(film);
	return struck;
}

static void
every_nth(enum fault what, const char *name, int lasting)
{
	struct counts c = {0};
	unsigned long n = 1 + seed % stride;

	while (n < CALLS_MAX && one(what, n, lasting, &c))
		n += stride;
	print_message("%s%s: %u runs, calls %lu to %lu by %lu, %u ended the "
		      "store\n",
	    name, lasting ? " from then on" : "", c.runs, 1 + seed % stride, n,
	    stride, c.ended);
	assert_true(c.runs > 5 && n < CALLS_MAX);
}

static void
test_eio(void **state)
{
	every_nth(FAULT_EIO, "EIO", 0);
}

static void
test_eio_lasting(void **state)
{
	every_nth(FAULT_EIO, "EIO", 1);
}

static void
test_enospc(void **state)
{
	every_nth(FAULT_ENOSPC, "ENOSPC", 0);
}

static void
test_edquot(void **state)
{
	every_nth(FAULT_EDQUOT, "EDQUOT", 0);
}

static void
test_enospc_lasting(void **state)
{
	every_nth(FAULT_ENOSPC, "ENOSPC", 1);
}

static void
test_short(void **state)
{
	every_nth(FAULT_SHORT, "short count", 0);
}

static void
test_eintr(void **state)
{
	every_nth(FAULT_EINTR, "EINTR", 0);
}

static int
setup(void **state)
{
	real_clock = lt_clock;
	assert_int_equal(film_scratch(top, sizeof(top)), 0);
	return 0;
}

static int
teardown(void **state)
{
	lt_clock = real_clock;
	faults_remove_tree(top);
	return 0;
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_eio),
	    TEST(test_eio_lasting),
	    TEST(test_enospc),
	    TEST(test_edquot),
	    TEST(test_enospc_lasting),
	    TEST(test_short),
	    TEST(test_eintr),
	};
	const char *text = getenv("LEAT_SEED");

	lt_log_init("calls_test", LT_LOG_ERROR);
	seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	if (getenv("LEAT_LONG") != NULL)
		stride = 1;
	text = getenv("LEAT_STRIDE");
	if (text != NULL && strtoul(text, NULL, 10) > 0)
		stride = strtoul(text, NULL, 10);
	print_message("LEAT_SEED=%" PRIu64 " LEAT_STRIDE=%lu\n", seed, stride);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
