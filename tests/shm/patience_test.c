/* patience_test.c - who gives way before a sleep, and for how long. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/patience.h"

#define LOOK_NS 1000 /* each look at the clock takes that long */

static uint64_t now_ns;
static unsigned looks, there_at;

static uint64_t
mono_ns(void)
{
	return now_ns += LOOK_NS;
}

static int
is_there(void *user)
{
	return ++looks == there_at;
}

static void
sleep_for(struct lt_patience *p, uint64_t ns)
{
	uint64_t since = lt_clock_mono_ns();

	now_ns += ns - LOOK_NS;
	lt_patience_slept(p, since);
}

static int
setup(void **state)
{
	lt_clock.mono_ns = mono_ns;
	looks = there_at = 0;
	return 0;
}

static void
test_none_at_first(void **state)
{
	struct lt_patience p = {0};

	there_at = 1;
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 0);
	assert_int_equal(looks, 0);
}

static void
test_after_a_short_sleep(void **state)
{
	struct lt_patience p = {0};

	sleep_for(&p, LT_PATIENCE_SHORT_NS - 1);
	there_at = 5;
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 1);
	assert_int_equal(looks, 5);
	there_at = 6; /* it was worth it: again */
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 1);
}

static void
test_in_vain_once(void **state)
{
	struct lt_patience p = {0};

	sleep_for(&p, 1000);
	uint64_t from = now_ns;
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 0);
	assert_in_range(
	    now_ns - from, LT_PATIENCE_NS, LT_PATIENCE_NS + 2 * LOOK_NS);
	from = now_ns;
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 0);
	assert_int_equal(now_ns, from);
}

static void
test_none_after_a_long_sleep(void **state)
{
	struct lt_patience p = {.is_short = 1};

	sleep_for(&p, LT_PATIENCE_SHORT_NS);
	there_at = 1;
	assert_int_equal(lt_patience_try(&p, is_there, NULL), 0);
	assert_int_equal(looks, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_none_at_first, setup),
	    cmocka_unit_test_setup(test_after_a_short_sleep, setup),
	    cmocka_unit_test_setup(test_in_vain_once, setup),
	    cmocka_unit_test_setup(test_none_after_a_long_sleep, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
