/*
 * codes_test.c - leat-protocol(7) has every request code, as codes.def has it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char man[262144];

static void
read_man(void)
{
	const char *top = getenv("top_srcdir");
	char file[512];

	snprintf(file, sizeof file, "%s/man/leat-protocol.7",
	    top != NULL ? top : ".");
	FILE *f = fopen(file, "r");
	if (f == NULL)
		fail_msg("no %s", file);
	man[fread(man, 1, sizeof man - 1, f)] = 0;
	fclose(f);
}

static void
the_manual_has_every_code(void **state)
{
	static const struct {
		int code;
		const char *name, *served, *need, *text;
	} rows[] = {
#define TOPIC(right, field) #right " topic"
#define GROUP(right, field) #right " group"
#define BOTH(right, topic, group) #right " topic, group"
#define TOPICS(right) #right " all topics"
#define GROUPS(right) #right " all groups"
#define INSIDE(text) text
#define FREE "-"
#define CODE(code, name, handler, need, text)                                  \
	{code, #name, "served", need, text},
#define REFUSED(code, name, text) {code, #name, "refused", "-", text},
#include "remoting/codes.def"
	};
	const char *at = man;
	size_t lines = 0;

	(void)state;
	read_man();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char line[512];

		snprintf(line, sizeof line,
		    "\n.It %d Ta %s Ta %s Ta %s Ta %s\n", rows[i].code,
		    rows[i].name, rows[i].served, rows[i].need, rows[i].text);
		if (strstr(man, line) == NULL)
			fail_msg("leat-protocol(7) has no line: %s", line + 1);
	}
	/* And no others. */
	while ((at = strstr(at, "\n.It ")) != NULL) {
		lines +=
		    strstr(at + 1, " Ta served Ta ") != NULL &&
		    strstr(at + 1, " Ta served Ta ") < strchr(at + 1, '\n');
		lines +=
		    strstr(at + 1, " Ta refused Ta ") != NULL &&
		    strstr(at + 1, " Ta refused Ta ") < strchr(at + 1, '\n');
		at++;
	}
	assert_int_equal(lines, sizeof rows / sizeof rows[0]);
}

/* On a Leat channel a code alone says whether a broker or a name server is
 * meant. */
static void
no_code_has_two_meanings(void **state)
{
	static const int brokers[] = {
#define CODE(code, name, handler, need, text) code,
#define REFUSED(code, name, text)
#include "remoting/codes.def"
	};
	static const int names[] = {
#define NAMECODE(code, name, handler, manages, acts) code,
#include "names/namecodes.def"
	};

	(void)state;
	for (size_t i = 0; i < sizeof brokers / sizeof brokers[0]; i++)
		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
			if (brokers[i] == names[k])
				fail_msg("%d has two", names[k]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_manual_has_every_code),
	    cmocka_unit_test(no_code_has_two_meanings),
	};

	return cmocka_run_group_tests_name("codes", tests, NULL, NULL);
}
