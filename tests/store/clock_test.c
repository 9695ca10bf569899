/*
 * clock_test.c - the wall clock jumps by hours and years, both ways, stands
 * still, and is wrong before a start, while the monotonic one goes on: nothing
 * is lost or refused, store time never goes back, nothing is retired early, a
 * session is not forgotten.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "story.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/faults.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/leat.h"
#include "store/reader.h"

#define HOUR 3600000
#define DAY (24ll * HOUR)
#define YEAR (365 * DAY)
#define NOW 1700000000000

static struct lt_clock real_clock;
static char top[128];
static uint64_t seed;
static struct story s;

/* Retention by age only. */
static void
settings(struct lt_options *o)
{
	o->store_retain_bytes = 0;
	o->store_retain_hours = 72;
}

static int
setup(void **state)
{
	real_clock = lt_clock;
	assert_int_equal(film_scratch(top, sizeof(top)), 0);
	story_begin(&s, top, NULL, seed, settings);
	return 0;
}

static int
teardown(void **state)
{
	story_end(&s);
	lt_clock = real_clock;
	faults_remove_tree(top);
	return 0;
}

static void
turns(int n)
{
	for (int i = 0; i < n; i++) {
		size_t refused = s.refused;

		assert_int_equal(story_turn(&s), LEAT_OK);
		assert_int_equal(s.refused, refused);
	}
}

/* Store times rise with the log; the last one. */
static int64_t
check_times(void)
{
	struct lt_record_view v;
	struct lt_reader *r;
	uint64_t at, damaged;
	int64_t last = 0;

	assert_int_equal(lt_reader_open(s.rig.d.store_dir, &r), LEAT_OK);
	at = lt_reader_min(r);
	while (lt_reader_next(r, at, lt_commitlog_end(s.rig.d.log), &v,
		   &damaged) == LEAT_OK) {
		assert_true(v.store_ms >= last);
		last = v.store_ms;
		at = (uint64_t)v.log_offset + v.bytes;
	}
	lt_reader_close(r);
	return last;
}

static void
expect_all(void)
{
	struct story_verdict v;

	story_kill(&s);
	lt_clock = real_clock;
	if (story_judge(&s, 0, LEAT_LOGGED, top, 0, &v) != 0)
		fail_msg("%s (LEAT_SEED=%" PRIu64 ")", v.why, seed);
}

static const int64_t steps[] = {HOUR, -HOUR, 5 * DAY, -5 * DAY, 10 * YEAR,
    -10 * YEAR, -30 * YEAR, 40 * YEAR, -YEAR, YEAR};

/* Jumps while it runs. */
static void
test_steps(void **state)
{
	int64_t last = 0;

	assert_int_equal(story_start(&s), LEAT_OK);
	for (size_t i = 0; i < LT_COUNT(steps); i++) {
		turns(60);
		story_set_wall(&s, (int64_t)s.wall_ms + steps[i]);
		turns(60);
		int64_t now = check_times();
		assert_true(now >= last);
		last = now;
		assert_int_equal(lt_commitlog_min(s.rig.d.log), 0);
	}
	expect_all();
}

/* It stands still; then it is wrong at each start. */
static void
test_starts(void **state)
{
	static const int64_t walls[] = {
	    NOW, NOW + 20 * YEAR, 0, NOW - YEAR, NOW + 5 * DAY, 1};

	for (size_t i = 0; i < LT_COUNT(walls); i++) {
		story_set_wall(&s, walls[i]);
		assert_int_equal(story_start(&s), LEAT_OK);
		for (int n = 0; n < 80; n++) {
			story_set_wall(&s, walls[i]);
			turns(1);
		}
		(void)check_times();
		assert_int_equal(lt_commitlog_min(s.rig.d.log), 0);
		story_kill(&s);
	}
	assert_int_equal(story_start(&s), LEAT_OK);
	expect_all();
}

static void
pass(uint64_t hours)
{
	for (uint64_t i = 0; i < hours; i++) {
		s.mono_ms += HOUR;
		s.wall_ms += HOUR;
		turns(1);
	}
}

/* Time that truly passes does retire segments: 72 hours, no less. */
static void
test_age(void **state)
{
	uint64_t end;

	assert_int_equal(story_start(&s), LEAT_OK);
	turns(120);
	end = lt_commitlog_end(s.rig.d.log) / STORY_SEGMENT * STORY_SEGMENT;
	assert_true(end >= 3 * STORY_SEGMENT);
	story_set_wall(&s, (int64_t)s.wall_ms + YEAR);
	pass(70);
	assert_int_equal(lt_commitlog_min(s.rig.d.log), 0);
	pass(6);
	assert_true(lt_commitlog_min(s.rig.d.log) > 0);
	assert_true(lt_commitlog_min(s.rig.d.log) <= end);
}

/* A session that left a moment ago is known in spite of a jump, so what it
 * writes again is recognised. */
static void
test_session_is_known(void **state)
{
	struct lt_session *session;
	struct lt_session_mark *marks;
	size_t count, found = 0;
	uint64_t id;

	assert_int_equal(story_start(&s), LEAT_OK);
	turns(30);
	id = s.clients[s.live].c.id;
	session = lt_session_find(&s.rig.d, id);
	lt_session_detach(&s.rig.d, session, NULL);
	/* It goes when its lane is drained, which may take more than a batch.
	 */
	for (int i = 0; i < 100 && lt_session_find(&s.rig.d, id) != NULL; i++) {
		assert_int_equal(rig_turn(&s.rig), LEAT_OK);
		if (s.rig.d.batch.count == 0)
			lt_session_finish_detaching(&s.rig.d);
	}
	assert_null(lt_session_find(&s.rig.d, id));
	assert_int_equal(lt_mark_save(&s.rig.d, (int64_t)s.wall_ms + 10 * YEAR,
			     &marks, &count),
	    LEAT_OK);
	for (size_t i = 0; i < count; i++)
		found += marks[i].session == id;
	lt_mem_free(marks);
	assert_int_equal(found, 1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_steps),
	    TEST(test_starts),
	    TEST(test_age),
	    TEST(test_session_is_known),
	};
	const char *text = getenv("LEAT_SEED");

	lt_log_init("clock_test", LT_LOG_ERROR);
	seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	print_message("LEAT_SEED=%" PRIu64 "\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
