/*
 * ledger_test.c - what does not fit: refusals are left out, acts have room of
 * their own. The clock is the test's.
 */
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "leat/status.h"
#include "remoting/ledger.h"
#include "remoting/worker.h"

static uint64_t now_ns = 1000000000;

static uint64_t
still_ns(void)
{
	return now_ns;
}

static void
test_acts_have_room(void **state)
{
	struct lt_remoting request = {.code = 17};
	struct lt_call call = {.request = &request};
	struct lt_principal who = {0};
	struct lt_ledger *l;
	uint32_t last = 0, n;
	int acts = 0;

	(void)state;
	assert_int_equal(lt_ledger_create(&l), LEAT_OK);
	for (int i = 0; i < 4 * LT_LEDGER_MAX; i++) {
		now_ns += 2000000; /* not too many a second */
		lt_ledger_turned_away(l, &who, "peer", "handshake", "late");
	}
	while (
	    (n = lt_ledger_begin(l, &call, "topic", lt_call_text("t"))) != 0) {
		assert_true(n > last);
		last = n;
		acts++;
	}
	assert_int_equal(acts, LT_LEDGER_MAX / 2);
	lt_ledger_destroy(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_acts_have_room),
	};

	lt_clock.mono_ns = still_ns;
	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
