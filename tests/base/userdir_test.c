/* userdir_test.c - which variable says where, and what is too long. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/userdir.h"
#include "leat/status.h"

static void
set(const char *config, const char *home)
{
	if (config == NULL || setenv("XDG_CONFIG_HOME", config, 1) != 0)
		unsetenv("XDG_CONFIG_HOME");
	if (home == NULL || setenv("HOME", home, 1) != 0)
		unsetenv("HOME");
}

static void
says(const char *name, const char *path)
{
	char out[64];

	assert_int_equal(lt_userdir_path(out, sizeof out, name), LEAT_OK);
	assert_string_equal(out, path);
}

static void
test_places(void **state)
{
	char out[64];

	set("/c", "/h");
	says("key", "/c/leat/key");
	says(NULL, "/c/leat");
	set("", "/h");
	says("key", "/h/.config/leat/key");
	set("relative", "/h");
	says(NULL, "/h/.config/leat");
	set(NULL, "");
	assert_int_equal(
	    lt_userdir_path(out, sizeof out, "key"), LEAT_E_NOTFOUND);
	set(NULL, NULL);
	assert_int_equal(
	    lt_userdir_path(out, sizeof out, "key"), LEAT_E_NOTFOUND);
	set("/c", NULL);
	assert_int_equal(lt_userdir_path(out, 11, "key"), LEAT_E_NAME);
	assert_int_equal(lt_userdir_path(out, 12, "key"), LEAT_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_places)};

	return cmocka_run_group_tests_name("userdir", tests, NULL, NULL);
}
