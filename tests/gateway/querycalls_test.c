/*
 * querycalls_test.c - single messages, found and passed on; requests and their
 * answers among clients.
 */
#include "config.h"
#include "workerrig.h"

#include <unistd.h>

#include "proto/record.h"

static int32_t
query(const char *key, const char *max, const char *begin, const char *unique,
    struct reply *r)
{
	return call(12,
	    FIELDS({"topic", "t"}, {"key", key}, {"maxNum", max},
		{"beginTimestamp", begin},
		{"endTimestamp", "9223372036854775807"},
		{"_UNIQUE_KEY_QUERY", unique}),
	    NULL, r);
}

static int
count(const struct reply *r)
{
	int n = 0;

	for (uint32_t at = 0; at < r->f.body_bytes; n++) {
		struct lt_record_view v;

		OK(lt_record_parse(r->f.body + at, r->f.body_bytes - at, &v));
		OK(lt_record_check(&v));
		at += v.bytes;
	}
	return n;
}

static void
test_by_key(void **state)
{
	static const char *const numbers[] = {"", "x", "99999999999999999999"};
	struct reply r;

	for (int i = 0; i < 6; i++) {
		await(send_message("t", "0", "x"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	}
	assert_int_equal(query("k1", "32", "0", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(count(&r), 6);
	assert_true(number(&r, "indexLastUpdatePhyoffset") > 0);
	assert_true(number(&r, "indexLastUpdateTimestamp") > 0);
	assert_int_equal(query("k1", "2", "0", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(count(&r), 2);
	assert_int_equal(query("k1", "-7", "0", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(count(&r), 1);
	assert_int_equal(
	    query("THEIRS", "32", "0", "true", &r), LT_CODE_SUCCESS);
	assert_int_equal(count(&r), 1);
	assert_int_equal(
	    query("none", "32", "0", "false", &r), LT_CODE_QUERY_NOT_FOUND);
	assert_int_equal(query("k1", "32", "9223372036854775806", "false", &r),
	    LT_CODE_QUERY_NOT_FOUND);
	for (size_t i = 0; i < LT_COUNT(numbers); i++) {
		assert_int_equal(query("k1", numbers[i], "0", "", &r), 1);
		assert_int_equal(query("k1", "1", numbers[i], "", &r), 1);
	}
	assert_int_equal(query("", "1", "0", "", &r), 1);
	assert_int_equal(call(12, NONE, NULL, &r), 1);
}

/* Send; the id that the broker gave. */
static void
send_to(const char *topic, const char *body, char id[33])
{
	struct lt_remoting_text text;
	struct reply r;

	await(send_message(topic, "0", body), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	text = lt_remoting_find(&r.h, "msgId");
	assert_int_equal(text.bytes, 32);
	memcpy(id, text.p, 32);
	id[32] = '\0';
}

static void
test_view(void **state)
{
	static const char *const places[] = {"1", "-1", "1125899906842624",
	    "9223372036854775807", "-9223372036854775808", "x", ""};
	struct lt_record_view v;
	struct reply r;
	char id[33], at[24];

	send_to("t", "seen", id);
	snprintf(at, sizeof at, "%llu", strtoull(id + 16, NULL, 16));
	assert_int_equal(
	    call(33, FIELDS({"offset", at}), NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(count(&r), 1);
	OK(lt_record_parse(r.f.body, r.f.body_bytes, &v));
	assert_int_equal(v.body_bytes, 4);
	assert_memory_equal(v.body, "seen", 4);
	for (size_t i = 0; i < LT_COUNT(places); i++)
		assert_int_equal(
		    call(33, FIELDS({"offset", places[i]}), NULL, &r),
		    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(33, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
}

#define BEAT                                                                   \
	"{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"g\","      \
	"\"subscriptionDataSet\":[{\"topic\":\"t\"}]}],"                       \
	"\"producerDataSet\":[{\"groupName\":\"p\"}]}"

/* Skips words to members. */
static void
receive_request(int fd, struct reply *r, int32_t code)
{
	do
		receive(fd, r);
	while (r->h.code == 40);
	assert_int_equal(r->h.code, code);
}

static void
test_consume_now(void **state)
{
	int client = rig_connect(1);
	struct lt_record_view v;
	struct reply r;
	int32_t opaque;
	char id[33];

	send_to("t", "now", id);
	assert_int_equal(call_on(client, 34, NONE, BEAT, &r), 0);
	const struct field who[] = {{"consumerGroup", "g"}, {"clientId", "c1"},
	    {"msgId", id}, {"topic", "t"}, {NULL, NULL}};
	opaque = ask(309, who, NULL, 0);
	receive_request(client, &r, 309);
	assert_int_equal(count(&r), 1);
	OK(lt_record_parse(r.f.body, r.f.body_bytes, &v));
	assert_memory_equal(v.body, "now", 3);
	respond(client, &r, 0, NULL, "{\"consumeResult\":\"CR_SUCCESS\"}");
	await(opaque, &r);
	assert_string_equal(text(&r), "{\"consumeResult\":\"CR_SUCCESS\"}");
	assert_int_equal(call(309,
			     FIELDS({"consumerGroup", "g"}, {"clientId", "c1"},
				 {"msgId", "7F00000100002A9F0000000000000001"}),
			     NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(309,
			     FIELDS({"consumerGroup", "g"}, {"clientId", "c1"},
				 {"msgId", "7F00000100002A9FFFFFFFFFFFFFFFFF"}),
			     NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(309, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	close(client);
}

static void
test_replies(void **state)
{
	static const struct field v2[] = {{"a", "p"}, {"b", "leat_REPLY_TOPIC"},
	    {"c", "TBW102"}, {"d", "4"}, {"e", "3"}, {"f", "0"}, {"g", "1"},
	    {"h", "7"}, {"i", "REPLY_TO_CLIENT\001c1\002CORRELATION_ID\001x"},
	    {"j", "0"}, {"k", "false"}, {NULL, NULL}};
	static const struct field v1[] = {{"producerGroup", "p"},
	    {"topic", "leat_REPLY_TOPIC"}, {"queueId", "-1"}, {"flag", "7"},
	    {"properties", "REPLY_TO_CLIENT\001c1\002"}, {NULL, NULL}};
	int client = rig_connect(1);
	struct lt_remoting_text p;
	struct reply r;
	int32_t opaque;

	assert_int_equal(call(325, v2, "body", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call_on(client, 34, NONE, BEAT, &r), 0);
	opaque = ask(325, v2, "body", 4);
	receive_request(client, &r, 326);
	assert_string_equal(text(&r), "body");
	assert_int_equal(number(&r, "queueId"), 3);
	assert_int_equal(number(&r, "flag"), 7);
	p = lt_remoting_find(&r.h, "properties");
	assert_memory_equal(p.p,
	    "REPLY_TO_CLIENT\001c1\002CORRELATION_ID\001x\002PUSH_REPLY_TIME"
	    "\001",
	    52);
	p = lt_remoting_find(&r.h, "storeHost");
	assert_int_equal(p.bytes, 15);
	assert_memory_equal(p.p, "127.0.0.1:10911", 15);
	p = lt_remoting_find(&r.h, "bornHost");
	assert_memory_equal(p.p, "127.0.0.1:", 10);
	assert_true(number(&r, "storeTimestamp") > 0);
	respond(client, &r, 0, NULL, "");
	await(opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueId"), 3);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_memory_equal(lt_remoting_find(&r.h, "msgId").p, "0", 1);
	/* The old names; a client that refuses. */
	opaque = ask(324, v1, NULL, 0);
	receive_request(client, &r, 326);
	respond(client, &r, 1, "no", "");
	await(opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(324, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(
	    call(325, FIELDS({"i", "\001\001\002REPLY_TO_CLIENT"}), NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	close(client);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_by_key),
	    T(test_view),
	    T(test_consume_now),
	    T(test_replies),
	};

	return cmocka_run_group_tests_name("querycalls", tests, NULL, NULL);
}
