/*
 * heartbeat_test.c - what members send as JSON: the forms of all clients, what
 * is refused, every truncation and mutations (20,000 of each, LEAT_LONG=1
 * 100,000, LEAT_MUTATIONS, LEAT_SEED), and tags.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "heartbeats.h"
#include "hub/heartbeat.h"
#include "hub/tags.h"
#include "leat/status.h"

static int
read_text(const char *json, struct lt_heartbeat *out)
{
	const char *why = NULL;
	int rc = lt_heartbeat_read(json, strlen(json), out, &why);

	assert_non_null(why);
	assert_int_equal(rc == LEAT_OK, why[0] == '\0');
	return rc;
}

static void
all_dialects(void **state)
{
	static const uint8_t from[] = {LT_HEARTBEAT_FROM_LAST,
	    LT_HEARTBEAT_FROM_TIMESTAMP, LT_HEARTBEAT_FROM_FIRST,
	    LT_HEARTBEAT_FROM_FIRST, LT_HEARTBEAT_FROM_LAST};
	static const uint32_t producers[] = {2, 0, 1, 0, 1};
	static const uint32_t subs[] = {2, 1, 1, 2, 1};

	for (size_t i = 0; i < LT_COUNT(heartbeats); i++) {
		int is_sql = i == 1;
		struct lt_heartbeat h;

		assert_int_equal(read_text(heartbeats[i], &h), LEAT_OK);
		assert_int_equal(strncmp(h.client_id, "10.0.0.9@", 9), 0);
		assert_int_equal(h.producer_count, producers[i]);
		assert_int_equal(h.without_sub, 0);
		assert_int_equal(h.fingerprint, is_sql ? -1403487322 : 0);
		assert_int_equal(h.consumer_count, 1);

		const struct lt_heartbeat_consumer *c = h.consumers;

		assert_string_equal(c->group, "g");
		assert_int_equal(c->from, from[i]);
		assert_int_equal(c->type,
		    is_sql ? LT_HEARTBEAT_ACTIVELY : LT_HEARTBEAT_PASSIVELY);
		assert_int_equal(c->model, is_sql ? LT_HEARTBEAT_BROADCASTING
						  : LT_HEARTBEAT_CLUSTERING);
		assert_int_equal(c->sub_count, subs[i]);
		assert_string_equal(c->subs[0].topic, "t");
		assert_string_equal(
		    c->subs[0].expression, is_sql ? "SQL92" : "TAG");
		assert_true(c->subs[0].version ==
			    (i == 2 ? 1700000000000000000 : 1700000000000));
		assert_int_equal(c->subs[0].code_count, is_sql ? 0 : 2);
		if (!is_sql) {
			assert_int_equal(c->subs[0].codes[0], 97);
			assert_int_equal(c->subs[0].codes[1], 98);
		}
		if (subs[i] == 2) {
			assert_string_equal(c->subs[1].topic, "%RETRY%g");
			assert_int_equal(c->subs[1].code_count, 0);
		}
		lt_heartbeat_free(&h);
	}
}

static void
odd_but_legal(void **state)
{
	struct lt_heartbeat h;

	assert_int_equal(read_text("{\"clientID\":\"c\"}", &h), LEAT_OK);
	assert_int_equal(h.consumer_count + h.producer_count, 0);
	lt_heartbeat_free(&h);
	assert_int_equal(
	    read_text("{\"clientID\":\"c\",\"consumerDataSet\":null,"
		      "\"producerDataSet\":[],\"withoutSub\":\"TRUE\","
		      "\"heartbeatFingerprint\":\"-5\",\"more\":{}}",
		&h),
	    LEAT_OK);
	assert_int_equal(h.without_sub, 1);
	assert_int_equal(h.fingerprint, -5);
	lt_heartbeat_free(&h);
	/* Codes count only without a text; unknown values are the default. */
	assert_int_equal(
	    read_text(
		"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
		"\"messageModel\":\"?\",\"consumeType\":9,"
		"\"consumeFromWhere\":\"UNKOWN\",\"subscriptionDataSet\":["
		"{\"topic\":\"t\",\"codeSet\":[1,-2,1]},"
		"{\"topic\":\"u\",\"codeSet\":[1],\"subString\":\"\"},"
		"{\"topic\":\"v\",\"codeSet\":[1],\"subString\":\"x\","
		"\"subVersion\":1.7e12,\"expressionType\":\"\"},"
		"{\"topic\":\"w\",\"subString\":\"x\",\"classFilterMode\":true}"
		"]}]}",
		&h),
	    LEAT_OK);

	const struct lt_heartbeat_consumer *c = h.consumers;

	assert_int_equal(c->model, LT_HEARTBEAT_CLUSTERING);
	assert_int_equal(c->type, LT_HEARTBEAT_PASSIVELY);
	assert_int_equal(c->from, LT_HEARTBEAT_FROM_LAST);
	assert_int_equal(c->subs[0].code_count, 2);
	assert_int_equal(c->subs[0].codes[1], -2);
	assert_int_equal(c->subs[1].code_count, 0);
	assert_int_equal(c->subs[2].code_count, 1);
	assert_int_equal(c->subs[2].codes[0], 'x');
	assert_true(c->subs[2].version == 1700000000000);
	assert_string_equal(c->subs[2].expression, "TAG");
	assert_int_equal(c->subs[3].code_count, 0);
	assert_int_equal(c->subs[3].is_class_filter, 1);
	lt_heartbeat_free(&h);
}

static void
refused(void **state)
{
	static const struct {
		const char *json;
		int rc;
	} cases[] = {
	    {"", LEAT_E_CORRUPT},
	    {"[]", LEAT_E_CORRUPT},
	    {"{\"clientID\":\"c\"", LEAT_E_CORRUPT},
	    {"{}", LEAT_E_INVALID},
	    {"{\"clientID\":\"\"}", LEAT_E_INVALID},
	    {"{\"clientID\":5}", LEAT_E_INVALID},
	    {"{\"clientID\":\"a\\nb\"}", LEAT_E_INVALID},
	    {"{\"clientID\":\"c\",\"heartbeatFingerprint\":[]}",
		LEAT_E_INVALID},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":{}}", LEAT_E_CORRUPT},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[5]}", LEAT_E_NAME},
	    {"{\"clientID\":\"c\",\"producerDataSet\":[{}]}", LEAT_E_NAME},
	    {"{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":"
	     "\"a b\"}]}",
		LEAT_E_NAME},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
	     "\"subscriptionDataSet\":[{\"topic\":\"a.b\"}]}]}",
		LEAT_E_NAME},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
	     "\"subscriptionDataSet\":[{\"topic\":\"t\",\"subString\":5}]}]}",
		LEAT_E_INVALID},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
	     "\"subscriptionDataSet\":[{\"topic\":\"t\",\"subString\":\"||\"}"
	     "]}]}",
		LEAT_E_INVALID},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
	     "\"subscriptionDataSet\":[{\"topic\":\"t\",\"subVersion\":\"5x\"}"
	     "]}]}",
		LEAT_E_INVALID},
	};

	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		struct lt_heartbeat h;

		if (read_text(cases[i].json, &h) != cases[i].rc)
			fail_msg("%s: not %s", cases[i].json,
			    leat_status_name(cases[i].rc));
	}
}

/* One subscription with that many tags. */
static void
many_tags(struct lt_buffer *b, unsigned tags)
{
	lt_buffer_clear(b);
	lt_buffer_text(b, "{\"clientID\":\"c\",\"consumerDataSet\":["
			  "{\"groupName\":\"g\",\"subscriptionDataSet\":["
			  "{\"topic\":\"t\",\"subString\":\"a");
	for (unsigned i = 1; i < tags; i++)
		lt_buffer_format(b, "||tag%u", i);
	lt_buffer_text(b, "\"}]}]}");
	lt_buffer_add(b, "", 1);
}

static void
many(struct lt_buffer *b, const char *before, const char *item, unsigned count,
    const char *behind)
{
	lt_buffer_clear(b);
	lt_buffer_text(b, before);
	for (unsigned i = 0; i < count; i++) {
		lt_buffer_text(b, i == 0 ? "" : ",");
		lt_buffer_text(b, item);
	}
	lt_buffer_text(b, behind);
	lt_buffer_add(b, "", 1);
}

static void
bounds(void **state)
{
	static const struct {
		const char *before, *item, *behind;
		unsigned most;
	} lists[] = {
	    {"{\"clientID\":\"c\",\"producerDataSet\":[",
		"{\"groupName\":\"g\"}", "]}", LT_HEARTBEAT_GROUPS_MAX},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[",
		"{\"groupName\":\"g\"}", "]}", LT_HEARTBEAT_GROUPS_MAX},
	    {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","
	     "\"subscriptionDataSet\":[",
		"{\"topic\":\"t\"}", "]}]}", LT_HEARTBEAT_SUBS_MAX},
	};
	struct lt_heartbeat h;
	struct lt_buffer b;

	lt_buffer_init(&b, 4u << 20);
	many_tags(&b, LT_TAGS_MAX);
	assert_int_equal(read_text((char *)b.p, &h), LEAT_OK);
	assert_int_equal(h.consumers->subs->code_count, LT_TAGS_MAX);
	lt_heartbeat_free(&h);
	many_tags(&b, LT_TAGS_MAX + 1);
	assert_int_equal(read_text((char *)b.p, &h), LEAT_E_LIMIT);
	for (size_t i = 0; i < LT_COUNT(lists); i++)
		for (unsigned over = 0; over < 2; over++) {
			many(&b, lists[i].before, lists[i].item,
			    lists[i].most + over, lists[i].behind);
			assert_int_equal(read_text((char *)b.p, &h),
			    over ? LEAT_E_LIMIT : LEAT_OK);
			lt_heartbeat_free(&h);
		}
	many(&b, "{\"clientID\":\"", "x", LT_HEARTBEAT_ID_MAX / 2 + 1, "\"}");
	assert_int_equal(read_text((char *)b.p, &h), LEAT_OK);
	assert_int_equal(strlen(h.client_id), LT_HEARTBEAT_ID_MAX);
	lt_heartbeat_free(&h);
	many(&b, "{\"clientID\":\"", "x", LT_HEARTBEAT_ID_MAX / 2 + 2, "\"}");
	assert_int_equal(read_text((char *)b.p, &h), LEAT_E_INVALID);
	many(&b, "{\"clientID\":\"c\"}", "  ", LT_HEARTBEAT_BODY_MAX / 2, "");
	assert_int_equal(read_text((char *)b.p, &h), LEAT_E_TOOBIG);
	lt_buffer_fini(&b);
}

/* --- damage --------------------------------------------------------------- */

/* In an allocation of its own size; how many were legal. */
static unsigned
try(const char *p, size_t bytes)
{
	char *exact = malloc(bytes + (bytes == 0));
	struct lt_heartbeat_locks l;
	struct lt_heartbeat h;
	const char *why;
	unsigned legal = 0;

	assert_non_null(exact);
	memcpy(exact, p, bytes);
	if (lt_heartbeat_read(exact, bytes, &h, &why) == LEAT_OK) {
		assert_true(h.client_id[0] != '\0');
		lt_heartbeat_free(&h);
		legal++;
	}
	if (lt_heartbeat_locks_read(exact, bytes, &l, &why) == LEAT_OK) {
		assert_true(l.client_id[0] != '\0');
		lt_heartbeat_locks_free(&l);
		legal++;
	}
	free(exact);
	return legal;
}

static void
truncated(void **state)
{
	for (size_t i = 0; i <= LT_COUNT(heartbeats); i++) {
		const char *p =
		    i < LT_COUNT(heartbeats) ? heartbeats[i] : lock_request;
		size_t bytes = strlen(p);
		/* The end of C++'s line may be missing. */
		size_t whole = bytes - (p[bytes - 1] == '\n');

		for (size_t n = 0; n <= bytes; n++)
			assert_int_equal(try(p, n), n >= whole);
	}
}

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Bytes changed, cut out, doubled. */
static size_t
mutate(char *p, size_t bytes, size_t room, uint64_t *seed)
{
	static const char odd[] = "{}[]\",:0-9e.\\u\x00\x7f\xc3\xff ntf";

	for (uint64_t n = next(seed) % 6 + 1; n > 0 && bytes > 0; n--) {
		size_t at = next(seed) % bytes;
		size_t run = next(seed) % 24;

		if (run > bytes - at)
			run = bytes - at;
		switch (next(seed) % 4) {
		case 0:
			p[at] ^= (char)(1 << next(seed) % 8);
			break;
		case 1:
			p[at] = odd[next(seed) % sizeof odd];
			break;
		case 2:
			memmove(p + at, p + at + run, bytes - at - run);
			bytes -= run;
			break;
		default:
			if (bytes + run > room)
				break;
			memmove(p + at + run, p + at, bytes - at);
			bytes += run;
			break;
		}
	}
	return bytes;
}

static void
mutated(void **state)
{
	const char *runs_text = getenv("LEAT_MUTATIONS");
	const char *seed_text = getenv("LEAT_SEED");
	unsigned long runs = getenv("LEAT_LONG") == NULL ? 20000 : 100000;
	uint64_t seed =
	    seed_text == NULL ? 4711 : strtoull(seed_text, NULL, 10);
	unsigned long legal = 0;

	if (runs_text != NULL)
		runs = strtoul(runs_text, NULL, 10);
	printf("seed %llu, %lu mutations of each\n", (unsigned long long)seed,
	    runs);
	seed = seed * 2 + 1;
	for (size_t i = 0; i <= LT_COUNT(heartbeats); i++) {
		const char *p =
		    i < LT_COUNT(heartbeats) ? heartbeats[i] : lock_request;

		for (unsigned long n = 0; n < runs; n++) {
			char copy[2048];
			size_t bytes = strlen(p);

			memcpy(copy, p, bytes);
			bytes = mutate(copy, bytes, sizeof copy, &seed);
			legal += try(copy, bytes);
		}
	}
	printf("%lu of them legal\n", legal);
	/* Neither all refused nor all taken: the mutations reach deep. */
	if (runs >= 1000)
		assert_in_range(legal, runs / 20, runs * 5);
}

/* --- locks, tags ---------------------------------------------------------- */

static void
lock_bodies(void **state)
{
	static const struct {
		const char *json;
		int rc;
	} bad[] = {
	    {"{\"clientId\":\"c\"}", LEAT_E_NAME},
	    {"{\"consumerGroup\":\"g\"}", LEAT_E_INVALID},
	    {"{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":5}",
		LEAT_E_CORRUPT},
	    {"{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":[{}]}",
		LEAT_E_NAME},
	    {"{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":["
	     "{\"topic\":\"t\"}]}",
		LEAT_E_INVALID},
	    {"{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":["
	     "{\"topic\":\"t\",\"queueId\":-1}]}",
		LEAT_E_INVALID},
	    {"{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":["
	     "{\"topic\":\"t\",\"queueId\":65536}]}",
		LEAT_E_INVALID},
	};
	struct lt_heartbeat_locks l;
	const char *why;

	assert_int_equal(lt_heartbeat_locks_read(
			     lock_request, strlen(lock_request), &l, &why),
	    LEAT_OK);
	assert_string_equal(l.group, "g");
	assert_string_equal(l.client_id, "10.0.0.9@1#2");
	assert_int_equal(l.count, 2);
	assert_string_equal(l.queues[1].broker, "b");
	assert_string_equal(l.queues[1].topic, "u");
	assert_int_equal(l.queues[1].queue, 3);
	lt_heartbeat_locks_free(&l);
	for (size_t i = 0; i < LT_COUNT(bad); i++)
		if (lt_heartbeat_locks_read(bad[i].json, strlen(bad[i].json),
			&l, &why) != bad[i].rc)
			fail_msg("%s: not %s", bad[i].json,
			    leat_status_name(bad[i].rc));
}

static void
tags(void **state)
{
	static const struct {
		const char *text;
		int rc;
		size_t count;
		int64_t codes[3];
	} cases[] = {
	    {"", LEAT_OK, 0, {0}},
	    {" \t", LEAT_OK, 0, {0}},
	    {"*", LEAT_OK, 0, {0}},
	    {" * ", LEAT_OK, 0, {0}},
	    {"a", LEAT_OK, 1, {97}},
	    {" a||b ||a||", LEAT_OK, 2, {97, 98}},
	    {"a|b", LEAT_OK, 1, {97 * 961 + 124 * 31 + 98}},
	    {"a|||b", LEAT_OK, 2, {97, 124 * 31 + 98}},
	    {"a||*", LEAT_OK, 2, {97, 42}},
	    {"TagA", LEAT_OK, 1, {2598919}},
	    {"||", LEAT_E_INVALID, 0, {0}},
	    {"|| ||", LEAT_E_INVALID, 0, {0}},
	    {"\xc3\xa9", LEAT_OK, 1, {233}},
	    /* The hash wraps, and may be negative. */
	    {"zzzzzzzz", LEAT_OK, 1, {-1910022912}},
	};

	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		const char *text = cases[i].text;
		struct lt_tags t;

		assert_int_equal(
		    lt_tags_parse(text, strlen(text), &t), cases[i].rc);
		if (cases[i].rc != LEAT_OK)
			continue;
		assert_int_equal(t.count, cases[i].count);
		for (size_t j = 0; j < t.count; j++)
			assert_int_equal(t.codes[j], cases[i].codes[j]);
	}
	struct lt_tags none;

	assert_int_equal(lt_tags_parse(NULL, 0, &none), LEAT_OK);
	assert_int_equal(none.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_dialects),
	    cmocka_unit_test(odd_but_legal),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(bounds),
	    cmocka_unit_test(truncated),
	    cmocka_unit_test(mutated),
	    cmocka_unit_test(lock_bodies),
	    cmocka_unit_test(tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
