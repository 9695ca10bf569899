/* ini_test.c - lines, all or nothing, and each way a file can be wrong. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ini.h"
#include "leat/status.h"

static char path[] = "/tmp/leat-ini-test-XXXXXX";
static char seen[4096];
static struct lt_ini_error err;

static int
each(void *user, int line, const char *section, const char *name,
    const char *value, struct lt_ini_error *e)
{
	char text[512];

	snprintf(text, sizeof text, "%d:%s.%s=%s|", line, section, name, value);
	strcat(seen, text);
	if (strcmp(name, "bad") != 0)
		return 0;
	snprintf(e->text, sizeof e->text, "do not write bad");
	return -1;
}

static int
read_bytes(const char *text, size_t bytes)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(text, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
	seen[0] = 0;
	memset(&err, 0, sizeof err);
	return lt_ini_read(path, each, NULL, &err);
}

static int
read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

static void
hands_over_in_order(void **state)
{
	assert_int_equal(read_text("# comment\n[a]\nx = 1\n\n  y=two words  \n"
				   "; comment\n[b]\nx =\nz = p;q ; rest\n"
				   "c =; rest\n"),
	    LEAT_OK);
	assert_string_equal(
	    seen, "3:a.x=1|5:a.y=two words|8:b.x=|9:b.z=p;q|10:b.c=|");
	assert_int_equal(read_text(""), LEAT_OK);
	assert_string_equal(seen, "");
	assert_int_equal(read_text("\xEF\xBB\xBF[a]\r\nx = 1\r\n"), LEAT_OK);
	assert_string_equal(seen, "2:a.x=1|");
}

static void
refuses_illegal_lines_whole(void **state)
{
	assert_int_equal(
	    read_text("[a]\nx = 1\nwhat is this\ny = 2\n"), LEAT_E_CONFIG);
	assert_int_equal(err.line, 3);
	assert_string_equal(seen, "");
	assert_int_equal(read_text("[a\nx = 1\n"), LEAT_E_CONFIG);
	assert_int_equal(err.line, 1);
	assert_int_equal(read_bytes("[a]\nx = \0\n", 10), LEAT_E_CONFIG);
	assert_int_equal(err.line, 2);
}

/* inih would take the tail of a long line for a line of its own. */
static void
refuses_long_lines(void **state)
{
	char text[1024];
	int n;

	n = sprintf(text, "[a]\nx = 1\ny = ");
	memset(text + n, 'v', 194);
	strcpy(text + n + 194, "\nz = 1\n");
	assert_int_equal(read_text(text), LEAT_OK); /* 198 characters */
	assert_non_null(strstr(seen, "|4:a.z=1|"));
	memset(text + n, 'v', 195);
	strcpy(text + n + 195, "\nz = 1\n");
	assert_int_equal(read_text(text), LEAT_E_CONFIG);
	assert_int_equal(err.line, 3);
	assert_non_null(strstr(err.text, "198"));
	assert_string_equal(seen, "");
	/* Indented, it is not the continuation of the line above. */
	assert_int_equal(read_text("[a]\nx = 1\n  y = 2\n"), LEAT_OK);
	assert_string_equal(seen, "2:a.x=1|3:a.y=2|");
}

static void
stops_where_the_caller_does(void **state)
{
	assert_int_equal(
	    read_text("[a]\nx = 1\nbad = 1\ny = 1\n"), LEAT_E_CONFIG);
	assert_int_equal(err.line, 3);
	assert_string_equal(err.text, "do not write bad");
	assert_string_equal(seen, "2:a.x=1|3:a.bad=1|");
}

static void
refuses_what_is_no_file(void **state)
{
	assert_int_equal(
	    lt_ini_read("/nonexistent/leat.conf", each, NULL, &err),
	    LEAT_E_NOTFOUND);
	assert_int_equal(err.line, 0);
	assert_true(err.text[0] != 0);
	assert_int_equal(lt_ini_read("/tmp", each, NULL, &err), LEAT_E_CONFIG);
	assert_int_equal(
	    lt_ini_read("/dev/zero", each, NULL, &err), LEAT_E_CONFIG);
	if (geteuid() != 0) {
		assert_int_equal(read_text(""), LEAT_OK);
		assert_int_equal(chmod(path, 0), 0);
		assert_int_equal(
		    lt_ini_read(path, each, NULL, &err), LEAT_E_DENIED);
		assert_int_equal(chmod(path, 0600), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hands_over_in_order),
	    cmocka_unit_test(refuses_illegal_lines_whole),
	    cmocka_unit_test(refuses_long_lines),
	    cmocka_unit_test(stops_where_the_caller_does),
	    cmocka_unit_test(refuses_what_is_no_file),
	};
	int fd = mkstemp(path);

	close(fd);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
