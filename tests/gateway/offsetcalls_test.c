/*
 * offsetcalls_test.c - progress of groups, ranges of queues, times, locks: the
 * answers that Apache RocketMQ's broker gives to the same requests.
 */
#include "config.h"
#include "workerrig.h"

#include "base/clock.h"
#include "hub/offsets.h"

#define BEAT                                                                   \
	"{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"g\","      \
	"\"subscriptionDataSet\":[{\"subString\":\"*\",\"topic\":\"t\"}]}]}"

static void
make_topic(const char *name, uint32_t queues)
{
	struct leat_topic t = {.read_queues = queues, .write_queues = queues};

	snprintf(t.name, sizeof t.name, "%s", name);
	OK(leat_topic_create(it.local, &t));
}

static void
fill(const char *topic, int count)
{
	struct reply r;

	for (int i = 0; i < count; i++) {
		await(send_message(topic, "0", "x"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	}
}

static int64_t
offset_of(int32_t code, const char *topic, const char *queue)
{
	struct reply r;

	assert_int_equal(
	    call(code, FIELDS({"topic", topic}, {"queueId", queue}), NULL, &r),
	    LT_CODE_SUCCESS);
	return number(&r, code == 32 ? "timestamp" : "offset");
}

static void
test_range(void **state)
{
	int64_t before = lt_clock_wall_ms(), stored;
	struct reply r;

	make_topic("t", 1);
	assert_int_equal(offset_of(32, "t", "0"), -1);
	fill("t", 5);
	assert_int_equal(offset_of(30, "t", "0"), 5);
	assert_int_equal(offset_of(31, "t", "0"), 0);
	stored = offset_of(32, "t", "0");
	assert_true(stored >= before && stored <= lt_clock_wall_ms());
	for (int32_t code = 30; code <= 31; code++) {
		assert_int_equal(offset_of(code, "t", "9"), 0);
		assert_int_equal(offset_of(code, "t", "-1"), 0);
		assert_int_equal(offset_of(code, "none", "0"), 0);
		assert_int_equal(offset_of(code, "no name!", "0"), 0);
	}
	assert_int_equal(offset_of(32, "none", "0"), -1);
	/* No fields, or what is no number. */
	for (int32_t code = 29; code <= 32; code++) {
		assert_int_equal(
		    call(code, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
		assert_int_equal(call(code, FIELDS({"topic", "t"}), NULL, &r),
		    LT_CODE_SYSTEM_ERROR);
		assert_int_equal(call(code,
				     FIELDS({"topic", "t"},
					 {"queueId", "99999999999999999999"},
					 {"timestamp", "0"}),
				     NULL, &r),
		    LT_CODE_SYSTEM_ERROR);
		assert_int_equal(call(code,
				     FIELDS({"topic", "t"}, {"queueId", "x"},
					 {"timestamp", "0"}),
				     NULL, &r),
		    LT_CODE_SYSTEM_ERROR);
	}
}

static int64_t
by_time(int64_t ms, const char *bound)
{
	char at[24];
	struct reply r;

	snprintf(at, sizeof at, "%lld", (long long)ms);
	assert_int_equal(call(29,
			     FIELDS({"topic", "t"}, {"queueId", "0"},
				 {"timestamp", at}, {"boundaryType", bound}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	return number(&r, "offset");
}

static void
test_by_time(void **state)
{
	int64_t between;

	make_topic("t", 1);
	assert_int_equal(by_time(0, "LOWER"), 0);
	assert_int_equal(by_time(0, "UPPER"), 0);
	fill("t", 4);
	between = lt_clock_wall_ms() + 1;
	while (lt_clock_wall_ms() <= between + 1)
		continue;
	fill("t", 2);
	assert_int_equal(by_time(0, "LOWER"), 0);
	assert_int_equal(by_time(between, "LOWER"), 4);
	assert_int_equal(by_time(INT64_MAX / 2, "LOWER"), 6);
	assert_int_equal(by_time(INT64_MAX, "LOWER"), 6);
	assert_int_equal(by_time(0, "UPPER"), 0);
	assert_int_equal(by_time(INT64_MIN, "UPPER"), 0);
	assert_int_equal(by_time(between, "UPPER"), 3);
	assert_int_equal(by_time(INT64_MAX / 2, "UPPER"), 5);
	assert_int_equal(by_time(INT64_MAX, "UPPER"), 5);
	assert_int_equal(by_time(between, "unsaid"), 4);
}

static int32_t
commit(const char *group, const char *topic, const char *queue,
    const char *offset, struct reply *r)
{
	return call(15,
	    FIELDS({"consumerGroup", group}, {"topic", topic},
		{"queueId", queue}, {"commitOffset", offset}),
	    NULL, r);
}

static int32_t
query(const char *group, const char *topic, const char *zero, struct reply *r)
{
	return call(14,
	    FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"},
		{"setZeroIfNotFound", zero}),
	    NULL, r);
}

static void
test_commit(void **state)
{
	static const char *const offsets[] = {"2", "1", "3", "100", "0"};
	struct reply r;

	make_topic("t", 1);
	fill("t", 3);
	assert_int_equal(
	    commit("g", "t", "0", "1", &r), LT_CODE_GROUP_NOT_EXIST);
	assert_int_equal(query("g", "t", "true", &r), LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "offset"), 0);
	assert_int_equal(query("g", "t", "false", &r), LT_CODE_QUERY_NOT_FOUND);
	assert_int_equal(
	    query("g", "none", "true", &r), LT_CODE_QUERY_NOT_FOUND);
	assert_int_equal(call(34, NONE, BEAT, &r), LT_CODE_SUCCESS);
	for (size_t i = 0; i < LT_COUNT(offsets); i++) {
		assert_int_equal(
		    commit("g", "t", "0", offsets[i], &r), LT_CODE_SUCCESS);
		assert_int_equal(query("g", "t", "false", &r), LT_CODE_SUCCESS);
		assert_int_equal(number(&r, "offset"), atoi(offsets[i]));
	}
	assert_int_equal(commit("g", "t", "0", "7", &r), LT_CODE_SUCCESS);
	assert_int_equal(commit("g", "t", "0", "-1", &r), LT_CODE_SUCCESS);
	assert_int_equal(query("g", "t", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "offset"), 7);
	assert_int_equal(commit("g", "t", "7", "1", &r), LT_CODE_SUCCESS);
	assert_int_equal(
	    commit("g", "none", "0", "1", &r), LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(
	    commit("h", "t", "0", "1", &r), LT_CODE_GROUP_NOT_EXIST);
	assert_int_equal(commit("g", "t", "x", "1", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(commit("g", "t", "0", "x", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(commit("g", "t", "-5", "1", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(15, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(14, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
}

/* A pull says how far its group is, the first one of a queue too. */
static void
test_pull_commits(void **state)
{
	struct field pull[] = {{"consumerGroup", "g"}, {"topic", "t"},
	    {"queueId", "0"}, {"queueOffset", "2"}, {"maxMsgNums", "32"},
	    {"sysFlag", "5"}, {"commitOffset", "2"}, {"subscription", "*"},
	    {NULL, NULL}};
	struct reply r;

	make_topic("t", 1);
	fill("t", 3);
	assert_int_equal(call(11, pull, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(query("g", "t", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "offset"), 2);
	pull[5].value = "4";
	pull[6].value = "1";
	assert_int_equal(call(11, pull, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(query("g", "t", "false", &r), LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "offset"), 2);
}

/* Progress of local members, as leat-queue has it. */
static void
test_local_progress(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;
	struct leat_delivery d;
	struct reply r;

	make_topic("t", 1);
	fill("t", 3);
	s.topic = "t";
	s.group = "locals";
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(it.local, &s, &c));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(leat_poll(c, &d, 1, PATIENCE_MS), 1);
		OK(leat_ack(c, &d, 1));
	}
	leat_unsubscribe(c);
	for (int64_t until = lt_clock_wall_ms() + PATIENCE_MS;;) {
		assert_true(lt_clock_wall_ms() < until);
		if (query("locals", "t", "false", &r) == LT_CODE_SUCCESS &&
		    number(&r, "offset") == 2)
			break;
		lt_offsets_forget_group(
		    it.g.hub, (struct lt_remoting_text){"locals", 6});
	}
	/* Known there, so it may commit. */
	assert_int_equal(commit("locals", "t", "0", "1", &r), LT_CODE_SUCCESS);
}

static void
test_locks(void **state)
{
#define LOCK(client, queue)                                                    \
	"{\"clientId\":\"" client "\",\"consumerGroup\":\"g\",\"mqSet\":["     \
	"{\"brokerName\":\"leat\",\"queueId\":0,\"topic\":\"t\"},"             \
	"{\"brokerName\":\"leat\",\"queueId\":" queue ",\"topic\":\"t\"}]}"
	struct reply r;

	assert_int_equal(call(41, NONE, LOCK("c1", "0"), &r), 0);
	/* Asked for twice, told once. */
	assert_string_equal(text(&r),
	    "{\"lockOKMQSet\":[{\"brokerName\":\"leat\",\"queueId\":0,"
	    "\"topic\":\"t\"}]}");
	assert_int_equal(call(41, NONE, LOCK("c2", "1"), &r), 0);
	assert_null(strstr(text(&r), "\"queueId\":0"));
	assert_non_null(strstr(text(&r), "\"queueId\":1"));
	assert_int_equal(call(42, NONE, LOCK("c1", "0"), &r), 0);
	assert_int_equal(call(41, NONE, LOCK("c2", "1"), &r), 0);
	assert_non_null(strstr(text(&r), "\"queueId\":0"));
	for (int32_t code = 41; code <= 42; code++) {
		assert_int_equal(call(code, NONE, "", &r), 1);
		assert_int_equal(call(code, NONE, "{", &r), 1);
		assert_int_equal(call(code, NONE, "{\"mqSet\":7}", &r), 1);
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_range),
	    T(test_by_time),
	    T(test_commit),
	    T(test_pull_commits),
	    T(test_local_progress),
	    T(test_locks),
	};

	return cmocka_run_group_tests_name("offsetcalls", tests, NULL, NULL);
}
