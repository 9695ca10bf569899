/* watch_test.c - how long a dead child stays dead. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "supervisor/supervisor.h"

static void
doubles_up_to_five_seconds(void **state)
{
	assert_int_equal(lt_watch_pause_ms(20, 0), 20);
	assert_int_equal(lt_watch_pause_ms(20, 1), 20);
	assert_int_equal(lt_watch_pause_ms(20, 2), 40);
	assert_int_equal(lt_watch_pause_ms(20, 5), 320);
	assert_int_equal(lt_watch_pause_ms(20, 9), 5000);
	assert_int_equal(lt_watch_pause_ms(20, 4000000000u), 5000);
	assert_int_equal(lt_watch_pause_ms(1, 13), 4096);
	assert_int_equal(lt_watch_pause_ms(1, 14), 5000);
}

static void
never_shorter_than_asked(void **state)
{
	for (unsigned deaths = 0; deaths < 20; deaths++)
		assert_int_equal(lt_watch_pause_ms(60000, deaths), 60000);
	for (unsigned deaths = 1; deaths < 20; deaths++)
		assert_true(lt_watch_pause_ms(3, deaths) >=
			    lt_watch_pause_ms(3, deaths - 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(doubles_up_to_five_seconds),
	    cmocka_unit_test(never_shorter_than_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
