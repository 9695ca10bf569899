/* options_test.c - settings: every way to write one wrong, the round trip of
 * --print-config, reload, access rules; and the table in leat.conf(5). */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leat/status.h"
#include "proto/limits.h"
#include "proto/options.h"
#include "proto/wire.h"

static char path[] = "/tmp/leat-options-test-XXXXXX";
static struct lt_options o;
static struct lt_ini_error err;

static int
load(const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	lt_options_defaults(&o);
	memset(&err, 0, sizeof err);
	return lt_options_load(&o, path, &err);
}

static void
refused(int line, const char *says, const char *text)
{
	struct lt_options plain;

	lt_options_defaults(&plain);
	assert_int_equal(load(text), LEAT_E_CONFIG);
	if (err.line != line || strstr(err.text, says) == NULL)
		fail_msg("line %d: %s", err.line, err.text);
	assert_null(strchr(err.text, '\n'));
	assert_memory_equal(&o, &plain, sizeof o); /* unchanged */
}

static void
defaults_are_those_of_the_table(void **state)
{
	lt_options_defaults(&o);
	assert_int_equal(o.version, LT_OPTIONS_VERSION);
	assert_int_equal(o.bytes, sizeof o);
#define NUM(s, n, def, lo, hi, unit, reload, text)                             \
	assert_true(o.s##_##n == (def));                                       \
	assert_true((uint64_t)(def) >= (lo) && (uint64_t)(def) <= (hi));
#define STR(s, n, def, field, reload, text) assert_string_equal(o.s##_##n, def);
#define ENUM(s, n, def, values, reload, text) assert_true(o.s##_##n == (def));
#include "proto/options.def"
	assert_int_equal(o.access_count, 0);
	assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
}

static void
reads_values(void **state)
{
	assert_int_equal(load("[store]\nsegment_bytes = 64k\n"
			      "checkpoint_bytes=3M\nretain_bytes = 2g\n"
			      "retain_hours = 7\nlevel = Logged\n"
			      "[broker]\nsocket_mode = 0660\nname = a b\n"
			      "sandbox = no\n[queue]\nauto_create = yes\n"),
	    LEAT_OK);
	assert_int_equal(o.store_segment_bytes, 65536);
	assert_int_equal(o.store_checkpoint_bytes, 3 << 20);
	assert_true(o.store_retain_bytes == 2ull << 30);
	assert_int_equal(o.store_retain_hours, 7);
	assert_int_equal(o.store_level, 1);
	assert_int_equal(o.broker_socket_mode, 0660);
	assert_string_equal(o.broker_name, "a b");
	assert_int_equal(o.broker_sandbox, 0);
	assert_int_equal(o.queue_auto_create, 1);
	assert_int_equal(load("[broker]\nsocket_mode = 700\n"), LEAT_OK);
	assert_int_equal(o.broker_socket_mode, 0700);
}

static void
refuses_with_line_and_fix(void **state)
{
	char text[512];

	refused(2, "from 64k to 1g", "[store]\nsegment_bytes = 12\n");
	refused(2, "from 64k to 1g", "[store]\nsegment_bytes = 2g\n");
	refused(2, "store.segment_bytes", "[store]\nsegment_bytes = -1\n");
	refused(2, "store.segment_bytes", "[store]\nsegment_bytes = 64kb\n");
	refused(2, "store.segment_bytes", "[store]\nsegment_bytes =\n");
	refused(2, "store.segment_bytes", "[store]\nsegment_bytes = 1 g\n");
	refused(2, "store.segment_bytes",
	    "[store]\nsegment_bytes = 18014398509481984k\n"); /* 2^64 */
	refused(2, "store.segment_bytes",
	    "[store]\nsegment_bytes = 99999999999999999999\n");
	refused(2, "broker.port", "[broker]\nport = 1k\n"); /* no size */
	refused(2, "from 0600 to 0777", "[broker]\nsocket_mode = 0888\n");
	refused(2, "from 0600 to 0777", "[broker]\nsocket_mode = 01777\n");
	refused(2, "accepted|logged|synced", "[store]\nlevel = sync\n");
	refused(2, "off|on", "[broker]\nsandbox = maybe\n");
	refused(3, "no setting \"colour\"", "\n[store]\ncolour = red\n");
	refused(2, "move it to [store]", "[queue]\nsegment_bytes = 1m\n");
	refused(2, "unknown section [stroe]", "[stroe]\nx = 1\n");
	refused(1, "before any section", "name = x\n");
	refused(4, "line 2 set it", "[broker]\nport = 1\n\nport = 1\n");
	refused(3, "neither", "[broker]\nport = 1\nwhat\n");
	snprintf(text, sizeof text, "[broker]\nname = %0300d\n", 1);
	refused(2, "longer than 198", text);
	snprintf(text, sizeof text, "[broker]\nname = %064d\n", 1);
	refused(2, "longer than 63 bytes", text);
	snprintf(text, sizeof text, "[broker]\nname = %063d\n", 1);
	assert_int_equal(load(text), LEAT_OK);
}

static void
file_errors_have_their_status(void **state)
{
	lt_options_defaults(&o);
	assert_int_equal(
	    lt_options_load(&o, "/nonexistent/x", &err), LEAT_E_NOTFOUND);
	assert_int_equal(err.line, 0);
	assert_int_equal(lt_options_load(&o, "/", &err), LEAT_E_CONFIG);
}

static void
check_rounds_up_and_refuses_contradictions(void **state)
{
	assert_int_equal(load("[queue]\nlane_bytes = 65537\ngroup_window=65\n"
			      "ring_bytes = 100000\n[store]\n"
			      "max_body_bytes = 8m\nbatch_bytes = 64k\n"),
	    LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
	assert_int_equal(o.queue_lane_bytes, 131072);
	assert_int_equal(o.queue_group_window, 128);
	assert_int_equal(o.queue_ring_bytes, 131072);
	assert_int_equal(o.store_batch_bytes, (8 << 20) + LT_RECORD_OVERHEAD);
	/* The default of one setting gives way to what was chosen. */
	assert_int_equal(load("[store]\nsegment_bytes = 1m\n"), LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
	assert_int_equal(
	    o.store_max_body_bytes, (1 << 20) - LT_RECORD_OVERHEAD);
	assert_int_equal(load("[store]\nsegment_bytes = 1m\n"
			      "max_body_bytes = 1m\n"),
	    LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_E_CONFIG);
	assert_non_null(strstr(err.text, "store.max_body_bytes"));
	assert_int_equal(load("[store]\nsegment_bytes = 64k\n"), LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
	assert_true(o.store_max_body_bytes <= 32768);
	assert_int_equal(
	    load("[queue]\nring_bytes = 8m\nring_max_bytes = 1m\n"), LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_E_CONFIG);
	assert_int_equal(load("[broker]\nhost = localhost\n"), LEAT_OK);
	assert_int_equal(lt_options_check(&o, &err), LEAT_E_CONFIG);
	assert_non_null(strstr(err.text, "broker.host"));
	lt_options_defaults(&o);
	o.version++;
	assert_int_equal(lt_options_check(&o, &err), LEAT_E_CONFIG);
}

static void
emit_line(void *user, const char *line)
{
	fprintf(user, "%s\n", line);
}

/* The extremes of the table go through the check and back as well. */
static void
round_trips(void **state)
{
	struct lt_options before;

	for (int round = 0; round < 4; round++) {
		assert_int_equal(
		    load(round == 0 ? ""
				    : "[access]\n"
				      "allow = user:0 topic orders-* publish,"
				      "manage\n"
				      "allow = os-group:4242 group g? "
				      "subscribe\n"
				      "allow = ak:shop-* topic o* publish\n"
				      "allow = any topic * trace\n"),
		    LEAT_OK);
		if (round >= 2) {
#define NUM(s, n, def, lo, hi, unit, reload, text)                             \
	o.s##_##n = round == 2 ? (lo) : (hi);
#define ENUM(s, n, def, values, reload, text) o.s##_##n = round - 2;
#include "proto/options.def"
			strcpy(o.broker_dir, "/some/where");
		}
		assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
		before = o;
		FILE *f = fopen(path, "w");
		lt_options_print(&o, emit_line, f);
		fclose(f);
		lt_options_defaults(&o);
		if (lt_options_load(&o, path, &err) != LEAT_OK)
			fail_msg("line %d: %s", err.line, err.text);
		assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
		assert_memory_equal(&o, &before, sizeof o);
	}
}

static void
reload_takes_only_what_it_may(void **state)
{
	struct lt_options running;
	const char *name;

	lt_options_defaults(&running);
	assert_int_equal(load("[store]\nlevel = logged\nsegment_bytes = 1m\n"
			      "[broker]\nname = other\n"
			      "[access]\nallow = any topic * publish\n"),
	    LEAT_OK);
	assert_int_equal(lt_options_reload(&running, &o, &name), 2);
	assert_string_equal(name, "broker.name"); /* first in the table */
	assert_int_equal(running.store_level, 1);
	assert_int_equal(running.store_segment_bytes, 1 << 30);
	assert_string_equal(running.broker_name, "leat");
	assert_int_equal(running.access_count, 1);
	o = running;
	assert_int_equal(lt_options_reload(&running, &o, &name), 0);
	assert_null(name);
}

#define ALL                                                                    \
	(LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_MANAGE |             \
	    LT_RIGHT_TRACE)

static void
access_rules_decide(void **state)
{
	const uint32_t gids[] = {100, 200};
	const enum lt_access_what topic = LT_ACCESS_TOPIC;

	assert_int_equal(
	    load("[access]\nallow = user:1000 topic orders_* publish\n"
		 "allow = os-group:200 topic orders_* subscribe, trace\n"
		 "allow = any group shared subscribe\n"),
	    LEAT_OK);
	assert_int_equal(o.access_count, 3);
#define RIGHTS(uid, what, name)                                                \
	lt_options_rights(&o, 7, uid, gids, 2, what, name)
	assert_int_equal(RIGHTS(0, topic, "x"), ALL);
	assert_int_equal(RIGHTS(7, topic, "x"), ALL);
	assert_int_equal(RIGHTS(1000, topic, "orders_eu"),
	    LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_TRACE);
	assert_int_equal(RIGHTS(1001, topic, "orders_eu"),
	    LT_RIGHT_SUBSCRIBE | LT_RIGHT_TRACE);
	assert_int_equal(RIGHTS(1000, topic, "orders"), 0);
	assert_int_equal(RIGHTS(1000, LT_ACCESS_GROUP, "orders_eu"), 0);
	assert_int_equal(
	    RIGHTS(1001, LT_ACCESS_GROUP, "shared"), LT_RIGHT_SUBSCRIBE);
	assert_int_equal(
	    lt_options_rights(&o, 7, 1000, NULL, 0, topic, "orders_eu"),
	    LT_RIGHT_PUBLISH);
	assert_true(lt_options_may_connect(&o, 7, 5000, NULL, 0)); /* any */
	o.access_count = 2;
	assert_false(lt_options_may_connect(&o, 7, 5000, NULL, 0));
	assert_true(lt_options_may_connect(&o, 7, 5000, gids, 2));
	assert_true(lt_options_may_connect(&o, 7, 1000, NULL, 0));
	o.access_count = 0;
	assert_false(lt_options_may_connect(&o, 7, 1000, gids, 2));
	assert_true(lt_options_may_connect(&o, 7, 0, NULL, 0));
	assert_true(lt_options_may_connect(&o, 7, 7, NULL, 0));
}

static void
rules_of_keys_are_for_who_signs(void **state)
{
	const struct lt_principal shop = lt_principal_ak("shop");
	const struct lt_principal sold = lt_principal_ak("sold");
#define OF(who, what, name) lt_options_rights_of(&o, &who, what, name)

	assert_int_equal(
	    load("[access]\nallow = ak:shop topic orders_* publish\n"
		 "allow = ak:shop topic * trace\n"
		 "allow = ak:s* group shared subscribe\n"
		 "allow = any topic * manage\n"),
	    LEAT_OK);
	assert_int_equal(OF(shop, LT_ACCESS_TOPIC, "orders_eu"),
	    LT_RIGHT_PUBLISH | LT_RIGHT_TRACE);
	assert_int_equal(OF(shop, LT_ACCESS_TOPIC, "orders"), LT_RIGHT_TRACE);
	assert_int_equal(OF(shop, LT_ACCESS_TOPIC, NULL), LT_RIGHT_TRACE);
	assert_int_equal(
	    OF(shop, LT_ACCESS_GROUP, "shared"), LT_RIGHT_SUBSCRIBE);
	assert_int_equal(OF(shop, LT_ACCESS_GROUP, NULL), 0);
	assert_int_equal(
	    OF(sold, LT_ACCESS_GROUP, "shared"), LT_RIGHT_SUBSCRIBE);
	assert_int_equal(OF(sold, LT_ACCESS_TOPIC, "orders_eu"), 0);
	/* No local user has what a key has, and keys let nobody in. */
	assert_int_equal(lt_options_rights(&o, 7, 1000, NULL, 0,
			     LT_ACCESS_TOPIC, "orders_eu"),
	    LT_RIGHT_MANAGE);
	o.access_count = 3;
	assert_false(lt_options_may_connect(&o, 7, 0xffffffff, NULL, 0));
	assert_true(sizeof(struct lt_wire_start) <= LT_WIRE_MAX);
}

static void
access_rules_are_checked(void **state)
{
	char text[16384] = "[access]\n";

	refused(2, "example", "[access]\nallow = any topic *\n");
	refused(2, "user:NAME", "[access]\nallow = bob topic * publish\n");
	refused(2, "no user",
	    "[access]\nallow = user:no-such-user-xyz topic * publish\n");
	refused(2, "no group",
	    "[access]\nallow = os-group:no-such-xyz topic * publish\n");
	refused(2, "topic or group", "[access]\nallow = any queue * publish\n");
	refused(2, "access key", "[access]\nallow = ak: topic * publish\n");
	refused(2, "access key",
	    "[access]\nallow = ak:0123456789012345678901234567890123456789"
	    "012345678901234567890123 topic * publish\n");
	refused(
	    2, "no public key", "[access]\nallow = key:shop topic * publish\n");
	refused(2, "no right", "[access]\nallow = any topic * write\n");
	refused(2, "name a right", "[access]\nallow = any topic * ,\n");
	refused(2, "no setting", "[access]\ndeny = any topic * publish\n");
	for (int i = 0; i <= LT_ACCESS_MAX; i++)
		strcat(text, "allow = any topic * publish\n");
	refused(LT_ACCESS_MAX + 2, "more than 64", text);
	const struct passwd *pw = getpwuid(0);
	if (pw != NULL) {
		snprintf(text, sizeof text,
		    "[access]\nallow = user:%s topic * publish\n", pw->pw_name);
		assert_int_equal(load(text), LEAT_OK);
		assert_int_equal(o.access[0].who.id, 0);
		assert_int_equal(o.access[0].who.kind, LT_PRINCIPAL_USER);
	}
}

/* --- the manual --- */

static char want[65536];

static void
add(const char *fmt, ...)
{
	va_list ap;
	size_t n = strlen(want);

	va_start(ap, fmt);
	vsnprintf(want + n, sizeof want - n, fmt, ap);
	va_end(ap);
}

static const char *
size(const char *unit, unsigned long long v)
{
	static char text[4][32];
	static int i;
	char *out = text[i++ % 4];

	if (strcmp(unit, "octal mode") == 0)
		snprintf(out, 32, "0%llo", v);
	else if (strcmp(unit, "bytes") != 0 || v == 0 || v % 1024 != 0)
		snprintf(out, 32, "%llu", v);
	else if (v % (1 << 30) == 0)
		snprintf(out, 32, "%llug", v >> 30);
	else if (v % (1 << 20) == 0)
		snprintf(out, 32, "%llum", v >> 20);
	else
		snprintf(out, 32, "%lluk", v >> 10);
	return out;
}

static void
head(const char *section, const char *name)
{
	static const char *last = "";

	if (strcmp(last, section) != 0)
		add("%s.Ss Section %s .Bl -tag -width Ds ",
		    last[0] ? ".El " : "", section);
	last = section;
	add(".It Cm %s ", name);
}

static const char *
choice(const char *values, int index)
{
	static char text[64];
	const char *v = values;

	while (index-- > 0)
		v = strchr(v, '|') + 1;
	snprintf(text, sizeof text, "%.*s", (int)strcspn(v, "|"), v);
	return text;
}

static void
collapse(char *text)
{
	char *to = text;

	for (const char *p = text; *p != 0; p++)
		if ((*p != ' ' && *p != '\n') || (to > text && to[-1] != ' '))
			*to++ = *p == '\n' ? ' ' : *p;
	*to = 0;
}

static void
the_manual_has_the_table(void **state)
{
	static char man[65536];
	char file[512];
	const char *top = getenv("top_srcdir");

	snprintf(
	    file, sizeof file, "%s/man/leat.conf.5", top != NULL ? top : ".");
	FILE *f = fopen(file, "r");
	if (f == NULL && top == NULL)
		skip(); /* run by hand elsewhere */
	assert_non_null(f);
	man[fread(man, 1, sizeof man - 1, f)] = 0;
	fclose(f);
#define TAIL(reload) add("%s) ", (reload) ? "; reloadable" : "")
#define NUM(s, n, def, lo, hi, unit, reload, text)                             \
	head(#s, #n);                                                          \
	add("%s (%s, %s to %s; default %s", text, unit, size(unit, lo),        \
	    size(unit, hi), size(unit, def));                                  \
	TAIL(reload);
#define STR(s, n, def, field, reload, text)                                    \
	head(#s, #n);                                                          \
	add("%s (at most %d bytes; default %s", text, (field)-1,               \
	    (def)[0] ? def : "empty");                                         \
	TAIL(reload);
#define ENUM(s, n, def, values, reload, text)                                  \
	head(#s, #n);                                                          \
	add("%s (%s; default %s", text, values, choice(values, def));          \
	TAIL(reload);
#include "proto/options.def"
	add(".El ");
	const char *from = strstr(man, ".Ss Section broker");
	char *to = strstr(man, ".Ss Section access");
	assert_non_null(from);
	assert_non_null(to);
	*to = 0;
	char *have = man + (from - man);
	collapse(have);
	if (strcmp(have, want) != 0) {
		size_t i = 0;
		while (have[i] == want[i])
			i++;
		fail_msg("leat.conf(5) differs from options.def:\nhas  "
			 "%.200s\nwant %.200s",
		    have + i, want + i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_those_of_the_table),
	    cmocka_unit_test(reads_values),
	    cmocka_unit_test(refuses_with_line_and_fix),
	    cmocka_unit_test(file_errors_have_their_status),
	    cmocka_unit_test(check_rounds_up_and_refuses_contradictions),
	    cmocka_unit_test(round_trips),
	    cmocka_unit_test(reload_takes_only_what_it_may),
	    cmocka_unit_test(access_rules_decide),
	    cmocka_unit_test(rules_of_keys_are_for_who_signs),
	    cmocka_unit_test(access_rules_are_checked),
	    cmocka_unit_test(the_manual_has_the_table),
	};
	int fd = mkstemp(path);

	close(fd);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
