/* log_test.c - the shape of a line, levels, and that nothing forges a line. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int saved, ends[2];
static char line[8192];

static int64_t
fixed_ms(void)
{
	return 951782400123; /* 2000-02-29 */
}

static int
setup(void **state)
{
	saved = dup(2);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	dup2(ends[1], 2);
	unsetenv("JOURNAL_STREAM");
	lt_log_init("tester", LT_LOG_INFO);
	return 0;
}

static int
teardown(void **state)
{
	dup2(saved, 2);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static const char *
said(void)
{
	ssize_t n = read(ends[0], line, sizeof line - 1);

	line[n < 0 ? 0 : n] = 0;
	return line;
}

static void
is_one_logfmt_line(void **state)
{
	lt_log_warn("segment-full", "bytes=%d name=\"%s\"", 12, "a b");
	assert_string_equal(said(),
	    "2000-02-29T00:00:00.123Z warn tester segment-full bytes=12 "
	    "name=\"a b\"\n");
	errno = 77;
	lt_log_error("x", "%s", "");
	assert_int_equal(errno, 77);
	assert_string_equal(
	    said(), "2000-02-29T00:00:00.123Z error tester x \n");
}

static void
obeys_the_level(void **state)
{
	lt_log_debug("no", "x=%d", 1);
	assert_string_equal(said(), "");
	lt_log_set_level(LT_LOG_DEBUG);
	lt_log_debug("yes", "x=%d", 1);
	assert_non_null(strstr(said(), " debug tester yes x=1\n"));
	assert_int_equal(lt_log_parse_level("error"), LT_LOG_ERROR);
	assert_int_equal(lt_log_parse_level("debug"), LT_LOG_DEBUG);
	assert_int_equal(lt_log_parse_level("Debug"), -1);
	assert_int_equal(lt_log_parse_level(""), -1);
}

static void
cannot_be_forged(void **state)
{
	lt_log_info("name", "topic=%s", "a\n2000 error fake\033[2J");
	assert_non_null(strstr(said(), "topic=a?2000 error fake?[2J\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
is_cut_when_too_long(void **state)
{
	static char big[5000];

	memset(big, 'x', sizeof big - 1);
	lt_log_info("big", "v=%s", big);
	said();
	assert_true(strlen(line) <= 2048);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void
has_priorities_for_the_journal(void **state)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	lt_log_init("tester", LT_LOG_DEBUG);
	lt_log_error("a", "x=%d", 1);
	assert_int_equal(strncmp(said(), "<3>2000", 7), 0);
	lt_log_info("a", "x=%d", 1);
	assert_int_equal(strncmp(said(), "<6>2000", 7), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(is_one_logfmt_line),
	    T(obeys_the_level),
	    T(cannot_be_forged),
	    T(is_cut_when_too_long),
	    T(has_priorities_for_the_journal),
	};

	lt_clock.wall_ms = fixed_ms;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
