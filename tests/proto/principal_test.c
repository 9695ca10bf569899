/*
 * principal_test.c - principals as texts and back, which of them a grant means,
 * and grants by principal beside a list that is searched one by one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leat/status.h"
#include "proto/access.h"
#include "proto/auditline.h"
#include "proto/principal.h"
#include "proto/rulebook.h"

/* Base64 of the bytes 0 to 31, by another program. */
#define KEY_TEXT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static struct lt_principal
of(const char *text)
{
	struct lt_principal p;
	char why[200];

	if (lt_principal_parse(&p, text, why, sizeof why) != LEAT_OK)
		fail_msg("%s: %s", text, why);
	return p;
}

static void
texts_come_back(void **state)
{
	static const char *const texts[] = {"any", "user:0", "user:4294967294",
	    "os-group:77", "ak:shop", "ak:sh*p?", "ak:with:colon=and,comma",
	    "key:" KEY_TEXT};
	char out[LT_PRINCIPAL_TEXT];

	for (size_t i = 0; i < LT_COUNT(texts); i++) {
		struct lt_principal p = of(texts[i]);

		lt_principal_print(&p, out);
		assert_string_equal(out, texts[i]);
	}
	struct lt_principal key = of("key:" KEY_TEXT);
	for (uint8_t i = 0; i < LT_PRINCIPAL_KEY_BYTES; i++)
		assert_int_equal(key.key[i], i);
	lt_principal_print(&(struct lt_principal){0}, out);
	assert_string_equal(out, "-");
}

static void
others_are_nobody(void **state)
{
	static const char *const texts[][2] = {{"", "is nobody"},
	    {"shop", "is nobody"}, {"user:", "no user"}, {"user:-1", "no user"},
	    {"user:4294967295", "no user"}, {"user:99999999999", "no user"},
	    {"user:12x", "no user"}, {"os-group: 1", "no group"},
	    {"ak:", "access key"}, {"ak:a b", "access key"},
	    {"ak:a\"b", "access key"}, {"ak:a\\b", "access key"},
	    {"key:", "no public key"}, {"key:" KEY_TEXT "=", "no public key"},
	    {"key:" KEY_TEXT "A", "no public key"}, {"key:*", "no public key"},
	    {"any*", "is nobody"}, {"group:77", "is nobody"}};
	struct lt_principal p;
	char why[200], longest[80] = "ak:";

	for (size_t i = 0; i < LT_COUNT(texts); i++) {
		assert_int_equal(
		    lt_principal_parse(&p, texts[i][0], why, sizeof why),
		    LEAT_E_INVALID);
		assert_non_null(strstr(why, texts[i][1]));
	}
	memset(longest + 3, 'x', LT_PRINCIPAL_NAME - 1);
	(void)of(longest);
	longest[3 + LT_PRINCIPAL_NAME - 1] = 'x';
	assert_int_equal(
	    lt_principal_parse(&p, longest, why, sizeof why), LEAT_E_INVALID);
	/* Bits behind the last byte of a key are 0: one text for each key. */
	char odd[] = "key:" KEY_TEXT;
	odd[sizeof odd - 2]++;
	assert_int_equal(
	    lt_principal_parse(&p, odd, why, sizeof why), LEAT_E_INVALID);
}

static void
names_become_numbers(void **state)
{
	const struct passwd *pw = getpwuid(0);
	char text[64], out[64];

	assert_int_equal(
	    lt_principal_resolve("ak:shop", out, sizeof out), LEAT_OK);
	assert_string_equal(out, "ak:shop");
	assert_int_equal(
	    lt_principal_resolve("user:12", out, sizeof out), LEAT_OK);
	assert_string_equal(out, "user:12");
	assert_int_equal(
	    lt_principal_resolve("user:no-such-xyz", out, sizeof out),
	    LEAT_E_NOTFOUND);
	assert_int_equal(
	    lt_principal_resolve("os-group:no-such-xyz", out, sizeof out),
	    LEAT_E_NOTFOUND);
	assert_int_equal(
	    lt_principal_resolve("ak:longer", out, 5), LEAT_E_INVALID);
	if (pw == NULL)
		return;
	snprintf(text, sizeof text, "user:%s", pw->pw_name);
	assert_int_equal(lt_principal_resolve(text, out, sizeof out), LEAT_OK);
	assert_string_equal(out, "user:0");
}

static int
means(const char *granted, const char *who)
{
	struct lt_principal a = of(granted), b = of(who);

	return lt_principal_match(&a, &b);
}

static void
who_is_meant(void **state)
{
	assert_true(means("ak:sh*", "ak:shop"));
	assert_false(means("ak:shop", "ak:sh*"));
	assert_true(means("ak:*", "ak:shop"));
	assert_false(means("ak:*", "key:" KEY_TEXT));
	assert_true(means("key:" KEY_TEXT, "key:" KEY_TEXT));
	assert_false(means("any", "ak:shop"));
	assert_false(means("any", "user:1"));
	assert_false(means("user:1", "os-group:1"));
	assert_false(lt_principal_match(
	    &(struct lt_principal){0}, &(struct lt_principal){0}));
}

/* --- many grants beside a plain list --- */

enum {
	STEPS = 6000,
	LIST = 300
};

static struct lt_access_rule list[LIST];
static size_t list_count;

static struct lt_access_rule
random_rule(void)
{
	static const char *const who[] = {"any", "user:1", "user:2",
	    "os-group:1", "ak:a", "ak:b", "ak:ab", "ak:a*", "ak:*b", "ak:?",
	    "key:" KEY_TEXT};
	static const char *const patterns[] = {"*", "t", "t*", "?", "tt", "u"};
	struct lt_access_rule r;
	char why[200];

	assert_int_equal(lt_access_make(&r, who[rand() % (int)LT_COUNT(who)],
			     rand() % 2 ? LT_ACCESS_TOPIC : LT_ACCESS_GROUP,
			     patterns[rand() % (int)LT_COUNT(patterns)],
			     (unsigned)rand() % 16, why, sizeof why),
	    LEAT_OK);
	return r;
}

static void
set_in_list(const struct lt_access_rule *rule)
{
	size_t i = 0;

	while (i < list_count &&
	       (memcmp(&list[i].who, &rule->who, sizeof rule->who) != 0 ||
		   list[i].what != rule->what ||
		   strcmp(list[i].pattern, rule->pattern) != 0))
		i++;
	if (i < list_count)
		list[i] = list[--list_count];
	if (rule->rights != 0)
		list[list_count++] = *rule;
	assert_true(list_count < LIST);
}

static void
ask_both(const struct lt_rulebook *book)
{
	static const char *const names[] = {"t", "tt", "tx", "u", "*", NULL};
	struct lt_access_rule like = random_rule();
	const char *name = names[rand() % (int)LT_COUNT(names)];
	unsigned mask = 0, has = 0;

	for (size_t i = 0; i < list_count; i++) {
		mask |= lt_access_gives(
		    &list[i], &like.who, (enum lt_access_what)like.what, name);
		has |= (unsigned)lt_principal_match(&list[i].who, &like.who);
	}
	if (lt_principal_is_pattern(&like.who))
		return; /* nobody is a pattern */
	assert_int_equal(lt_rulebook_rights(book, &like.who,
			     (enum lt_access_what)like.what, name),
	    mask);
	assert_int_equal(lt_rulebook_has(book, &like.who), has);
	assert_int_equal(
	    lt_rulebook_find(book, &like.who, (enum lt_access_what)like.what,
		name, LT_RIGHT_TRACE) != NULL,
	    (mask & LT_RIGHT_TRACE) != 0);
}

static void
many_grants(void **state)
{
	const char *env = getenv("LEAT_SEED");
	unsigned seed = env != NULL ? (unsigned)atoi(env) : 6;
	struct lt_rulebook *book;

	srand(seed);
	assert_int_equal(lt_rulebook_create(&book), LEAT_OK);
	for (int i = 0; i < STEPS; i++) {
		struct lt_access_rule r = random_rule();

		assert_int_equal(lt_rulebook_set(book, &r), LEAT_OK);
		set_in_list(&r);
		assert_int_equal(lt_rulebook_count(book), list_count);
		assert_int_equal(
		    lt_rulebook_get(book, &r) != NULL, r.rights != 0);
		ask_both(book);
	}
	print_message("seed %u, %d steps, %zu grants at the end\n", seed, STEPS,
	    list_count);
	lt_rulebook_destroy(book);
}

/* --- lines of the audit --- */

static void
lines_are_lines(void **state)
{
	char out[LT_AUDITLINE_MAX], longest[2000];
	size_t n;
	struct lt_auditline a = {.time_ms = 1769854830123,
	    .by = "queue",
	    .principal = "user:1000",
	    .peer = "pid:7",
	    .act = "topic-delete",
	    .object = "topic:orders",
	    .outcome = "denied"};

	n = lt_auditline_make(out, &a);
	assert_int_equal(n, strlen(out));
	assert_string_equal(out,
	    "time=2026-01-31T10:20:30.123Z by=queue principal=user:1000 "
	    "peer=pid:7 act=topic-delete object=topic:orders outcome=denied");
	a.object = "a b=\"c\"\\\n\xc3\xa4";
	a.peer = NULL;
	a.principal = "";
	(void)lt_auditline_make(out, &a);
	assert_non_null(strstr(out, "principal=- peer=- "));
	assert_non_null(strstr(
	    out, "object=\"a b=\\x22c\\x22\\x5c\\x0a\\xc3\\xa4\" outcome"));
	assert_true(lt_auditline_is_sound(out));
	for (int c = 1; c < 256; c++) {
		memset(longest, c, sizeof longest - 1);
		longest[sizeof longest - 1] = '\0';
		a = (struct lt_auditline){.by = longest,
		    .principal = longest,
		    .peer = longest,
		    .act = longest,
		    .object = longest,
		    .outcome = longest};
		n = lt_auditline_make(out, &a);
		assert_int_equal(n, strlen(out));
		assert_true(strlen(out) < LT_AUDITLINE_MAX);
		assert_true(lt_auditline_is_sound(out));
	}
	assert_false(lt_auditline_is_sound("time=1 \n"));
	assert_false(lt_auditline_is_sound("act=1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts_come_back),
	    cmocka_unit_test(others_are_nobody),
	    cmocka_unit_test(names_become_numbers),
	    cmocka_unit_test(who_is_meant),
	    cmocka_unit_test(many_grants),
	    cmocka_unit_test(lines_are_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
