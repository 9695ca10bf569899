/*
 * naming_test.c - the gateway's name server: routes of this broker as soon as
 * a topic is there, brokers elsewhere for as long as they are connected.
 */
#include "config.h"
#include "workerrig.h"

#include <unistd.h>

#include "base/clock.h"

static int32_t
route(int names, const char *topic, struct reply *r)
{
	return call_on(names, 105, FIELDS({"topic", topic}), NULL, r);
}

static void
test_own_routes(void **state)
{
	int names = rig_connect(NAMES);
	struct reply r;

	assert_int_equal(route(names, "TBW102", &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r),
	    "{\"brokerName\":\"broker-a\",\"perm\":7,\"readQueueNums\":8,"
	    "\"topicSysFlag\":0,\"writeQueueNums\":8}"));
	assert_non_null(
	    strstr(text(&r), "\"brokerAddrs\":{\"0\":\"127.0.0.1:10911\"}"));
	assert_int_equal(route(names, "made", &r), LT_CODE_TOPIC_NOT_EXIST);
	await(send_message("made", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(route(names, "made", &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "\"perm\":6,\"readQueueNums\":4"));
	assert_int_equal(call(34, NONE,
			     "{\"clientID\":\"c\",\"consumerDataSet\":[{"
			     "\"groupName\":\"g\",\"subscriptionDataSet\":[{"
			     "\"topic\":\"made\"}]}]}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(route(names, "%RETRY%g", &r), LT_CODE_SUCCESS);
	assert_int_equal(call_on(names, 106, NONE, NULL, &r), 0);
	assert_non_null(
	    strstr(text(&r), "\"clusterAddrTable\":{\"leat\":[\"broker-a\"]}"));
	/* Made on this host. */
	OK(leat_topic_create(it.local,
	    &(struct leat_topic){.name = "local", .write_queues = 3}));
	assert_int_equal(route(names, "local", &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "\"writeQueueNums\":3"));
	/* Nothing of Leat's own. */
	assert_int_equal(call_on(names, 206, NONE, NULL, &r), 0);
	assert_null(strstr(text(&r), "rmq_sys_"));
	close(names);
}

static void
test_roles(void **state)
{
	int names = rig_connect(NAMES);
	struct reply r;

	assert_int_equal(call(105, FIELDS({"topic", "TBW102"}), NULL, &r),
	    LT_CODE_NOT_SUPPORTED);
	assert_int_equal(
	    call_on(names, 38, FIELDS({"consumerGroup", "g"}), NULL, &r),
	    LT_CODE_NOT_SUPPORTED);
	assert_int_equal(
	    call_on(names, 9999, NONE, NULL, &r), LT_CODE_NOT_SUPPORTED);
	close(names);
}

/* One that is elsewhere, and goes with its connection. */
static void
test_other_broker(void **state)
{
	const struct field who[] = {{"brokerName", "other"},
	    {"brokerAddr", "127.0.0.1:1"}, {"clusterName", "other"},
	    {"haServerAddr", "127.0.0.1:2"}, {"brokerId", "0"}, {NULL, NULL}};
#define TOPIC(name)                                                            \
	"\"" name "\":{\"topicName\":\"" name "\",\"readQueueNums\":2,"        \
	"\"writeQueueNums\":2,\"perm\":6,\"topicSysFlag\":0}"
	static const char body[] =
	    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{"
	    "\"dataVersion\":{\"counter\":1,\"stateVersion\":0,"
	    "\"timestamp\":1},\"topicConfigTable\":{" TOPIC("there") "," TOPIC(
		"beside") "}}}";
	int names = rig_connect(NAMES), broker = rig_connect(NAMES);
	int64_t until = lt_clock_wall_ms() + PATIENCE_MS;
	struct reply r;

	assert_int_equal(call_on(broker, 103, who, body, &r), LT_CODE_SUCCESS);
	assert_int_equal(route(names, "there", &r), LT_CODE_SUCCESS);
	close(broker);
	while (route(names, "there", &r) == LT_CODE_SUCCESS)
		assert_true(lt_clock_wall_ms() < until);
	assert_int_equal(r.h.code, LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(route(names, "TBW102", &r), LT_CODE_SUCCESS);
	close(names);
}

static void
test_keys(void **state)
{
	const struct field at[] = {{"namespace", "s"}, {"key", "k"},
	    {"value", "\"a\nb\""}, {NULL, NULL}};
	int names = rig_connect(NAMES);
	struct lt_remoting_text value;
	struct reply r;

	assert_int_equal(
	    call_on(names, 101, at, NULL, &r), LT_CODE_QUERY_NOT_FOUND);
	assert_int_equal(call_on(names, 100, at, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(call_on(names, 101, at, NULL, &r), LT_CODE_SUCCESS);
	value = lt_remoting_find(&r.h, "value");
	assert_int_equal(value.bytes, 5);
	assert_memory_equal(value.p, "\"a\nb\"", 5);
	close(names);
}

/* Every code of a name server, with nothing and with nonsense. */
static void
test_hostile(void **state)
{
	int names = rig_connect(NAMES);
	struct reply r;

	for (int32_t code = 100; code < 1000; code++) {
		(void)call_on(names, code, NONE, NULL, &r);
		(void)call_on(names, code,
		    FIELDS({"topic", "\377\001"}, {"brokerName", ""},
			{"brokerId", "-99999999999999999999"},
			{"namespace", "%s%n"}),
		    "{\"a\":[", &r);
	}
	assert_int_equal(route(names, "TBW102", &r), LT_CODE_SUCCESS);
	close(names);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_own_routes),
	    T(test_roles),
	    T(test_other_broker),
	    T(test_keys),
	    T(test_hostile),
	};

	return cmocka_run_group_tests_name("naming", tests, NULL, NULL);
}
