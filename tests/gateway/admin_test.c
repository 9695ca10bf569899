/*
 * admin_test.c - topics and groups as administrators see them: what comes back
 * is what was asked for, in Apache RocketMQ's form; hostile fields and bodies.
 */
#include "config.h"
#include "workerrig.h"

#include <fcntl.h>
#include <unistd.h>

#include <jansson.h>

#include "hub/offsets.h"
#include "remoting/groups.h"

/* Maps keyed by queues are no JSON: such a key becomes a text "t/0". */
static json_t *
parse(const struct reply *r)
{
	static const char key[] = "{\"brokerName\":\"broker-a\",\"queueId\":";
	char *copy = calloc(1, r->f.body_bytes + 1), *out = copy;
	const char *in = text(r);
	json_error_t why;
	json_t *v;

	assert_non_null(copy);
	while (*in != '\0') {
		int queue, n = 0;
		char topic[128];

		if (strncmp(in, key, sizeof key - 1) == 0 &&
		    sscanf(in + sizeof key - 1, "%d,\"topic\":\"%127[^\"]\"}%n",
			&queue, topic, &n) == 2 &&
		    n > 0 && in[sizeof key - 1 + (size_t)n] == ':') {
			out += sprintf(out, "\"%s/%d\"", topic, queue);
			in += sizeof key - 1 + (size_t)n;
		} else {
			*out++ = *in++;
		}
	}
	v = json_loads(copy, 0, &why);
	if (v == NULL)
		fail_msg("%s in %s", why.text, copy);
	free(copy);
	return v;
}

/* Numbers and texts of an object: "name=value ..." in order. */
static void
check(const struct reply *r, const char *path, const char *format, ...)
{
	json_t *v = parse(r), *at = v;
	char name[128];
	json_error_t why;
	json_t *want;
	va_list args;

	while (*path != '\0') {
		size_t n = strcspn(path, " ");

		snprintf(name, sizeof name, "%.*s", (int)n, path);
		at = json_object_get(at, name);
		path += n + (path[n] == ' ');
	}
	va_start(args, format);
	want = json_vpack_ex(&why, 0, format, args);
	va_end(args);
	assert_non_null(want);
	if (!json_equal(at, want))
		fail_msg("%s", text(r));
	json_decref(want);
	json_decref(v);
}

static int32_t
set_topic(
    const char *name, const char *read, const char *write, const char *perm)
{
	struct reply r;

	return call(17,
	    FIELDS({"topic", name}, {"defaultTopic", "TBW102"},
		{"readQueueNums", read}, {"writeQueueNums", write},
		{"perm", perm}, {"topicFilterType", "SINGLE_TAG"},
		{"topicSysFlag", "0"}, {"order", "false"}),
	    NULL, &r);
}

static void
test_topics(void **state)
{
	const struct field t[] = {{"topic", "t"}, {NULL, NULL}};
	struct leat_topic topic;
	struct reply r;

	assert_int_equal(call(351, t, NULL, &r), LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(set_topic("t", "3", "2", "6"), LT_CODE_SUCCESS);
	OK(leat_topic_describe(it.local, "t", &topic));
	assert_int_equal(topic.read_queues, 3);
	assert_int_equal(topic.write_queues, 2);
	assert_int_equal(call(351, t, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "", "{s{},sb,si,si,ss,ss,si,si}", "attributes", "order", 0,
	    "perm", 6, "readQueueNums", 3, "topicFilterType", "SINGLE_TAG",
	    "topicName", "t", "topicSysFlag", 0, "writeQueueNums", 2);
	/* Again: changed, also to what is unsafe. */
	assert_int_equal(set_topic("t", "4", "5", "4"), LT_CODE_SUCCESS);
	OK(leat_topic_describe(it.local, "t", &topic));
	assert_int_equal(topic.write_queues, 5);
	assert_int_equal(topic.perm, LEAT_PERM_READ);
	assert_int_equal(set_topic("u", "1", "2", "6"), LT_CODE_SUCCESS);
	OK(leat_topic_describe(it.local, "u", &topic));
	assert_int_equal(topic.read_queues, 1);
	assert_int_equal(topic.write_queues, 2);
	assert_int_equal(set_topic("t", "1", "1", "6"), LT_CODE_SUCCESS);
	await(send_message("t", "0", "x"), &r);
	assert_int_equal(call(202, t, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "offsetTable t/0 maxOffset", "i", 1);
	check(&r, "offsetTable t/0 minOffset", "i", 0);
	check(&r, "topicPutTps", "f", 0.0);
	assert_int_equal(call(202, FIELDS({"topic", "none"}), NULL, &r),
	    LT_CODE_TOPIC_NOT_EXIST);
	/* Gone, and new from the start. */
	assert_int_equal(call(215, t, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(call(215, t, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(call(351, t, NULL, &r), LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(set_topic("t", "1", "1", "6"), LT_CODE_SUCCESS);
	await(send_message("t", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueOffset"), 0);
}

static void
test_topic_lists(void **state)
{
	struct reply r;

	assert_int_equal(call(18, NONE,
			     "{\"topicConfigList\":[{\"topicName\":\"a\","
			     "\"readQueueNums\":2,\"writeQueueNums\":2,"
			     "\"perm\":6},{\"topicName\":\"b\"}]}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(21, NONE, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "topicConfigTable a readQueueNums", "i", 2);
	check(&r, "topicConfigTable b readQueueNums", "i", 16);
	check(&r, "topicConfigTable TBW102", "{s{},sb,si,si,ss,ss,si,si}",
	    "attributes", "order", 0, "perm", 7, "readQueueNums", 8,
	    "topicFilterType", "SINGLE_TAG", "topicName", "TBW102",
	    "topicSysFlag", 0, "writeQueueNums", 8);
	check(&r, "mappingDataVersion stateVersion", "i", 0);
	assert_null(strstr(text(&r), "rmq_sys_leat"));
	assert_int_equal(number(&r, "totalTopicNum"), 7);
	/* One that is illegal: none is made. */
	assert_int_equal(call(18, NONE,
			     "{\"topicConfigList\":[{\"topicName\":\"c\"},"
			     "{\"topicName\":\"d!\"}]}",
			     &r),
	    LT_CODE_INVALID_PARAMETER);
	assert_int_equal(call(351, FIELDS({"topic", "c"}), NULL, &r),
	    LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(call(305, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "\"SCHEDULE_TOPIC_XXXX\""));
	assert_non_null(strstr(text(&r), "\"leat_REPLY_TOPIC\""));
}

static void
test_topics_refused(void **state)
{
	static const char *const names[] = {"a.b", "", "SCHEDULE_TOPIC_XXXX",
	    "TBW102", "leat", "broker-a", "rmq_sys_leat_config"};
	static const char *const numbers[] = {
	    "0", "-1", "65537", "2147483647", "2147483648", "x", ""};
	char name[300];
	struct reply r;

	for (size_t i = 0; i < LT_COUNT(names); i++)
		assert_int_equal(set_topic(names[i], "1", "1", "6"),
		    LT_CODE_INVALID_PARAMETER);
	for (size_t n = 128; n < sizeof name; n += 64) {
		memset(name, 'n', n);
		name[n] = '\0';
		assert_int_equal(
		    set_topic(name, "1", "1", "6"), LT_CODE_INVALID_PARAMETER);
	}
	for (size_t i = 0; i < LT_COUNT(numbers); i++) {
		assert_int_not_equal(
		    set_topic("t", numbers[i], "1", "6"), LT_CODE_SUCCESS);
		assert_int_not_equal(
		    set_topic("t", "1", numbers[i], "6"), LT_CODE_SUCCESS);
	}
	/* Closed, which is no mistake. */
	assert_int_equal(set_topic("t", "1", "1", "0"), LT_CODE_SUCCESS);
	assert_int_equal(call(351, FIELDS({"topic", "t"}), NULL, &r), 0);
	assert_non_null(strstr(text(&r), "\"perm\":0"));
	assert_int_equal(call(17, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(351, NONE, NULL, &r), LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(call(215, FIELDS({"topic", "TBW102"}), NULL, &r), 29);
	assert_int_equal(
	    call(215, FIELDS({"topic", "rmq_sys_leat_config"}), NULL, &r), 29);
	assert_int_equal(call(215, NONE, NULL, &r), 29);
	assert_int_equal(call(18, NONE, "", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(18, NONE, "{\"topicConfigList\":[7]}", &r), 29);
}

static void
test_groups(void **state)
{
	const struct field g[] = {{"group", "g"}, {NULL, NULL}};
	struct lt_remoting_text name = {"g", 1};
	struct reply r;

	assert_int_equal(call(352, g, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "retryMaxTimes", "i", 16);
	assert_int_equal(call(200, NONE,
			     "{\"groupName\":\"g\",\"retryMaxTimes\":5,"
			     "\"retryQueueNums\":\"2\",\"consumeEnable\":true}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(352, g, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "", "{s{},si,sb,sb,sb,sb,si,ss,s{ss},si,sb,si,si,si}",
	    "attributes", "brokerId", 0, "consumeBroadcastEnable", 1,
	    "consumeEnable", 1, "consumeFromMinEnable", 1,
	    "consumeMessageOrderly", 0, "consumeTimeoutMinute", 15, "groupName",
	    "g", "groupRetryPolicy", "type", "CUSTOMIZED", "groupSysFlag", 0,
	    "notifyConsumerIdsChangedEnable", 1, "retryMaxTimes", 5,
	    "retryQueueNums", 2, "whichBrokerWhenConsumeSlowly", 1);
	assert_int_equal(call(201, NONE, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "subscriptionGroupTable g retryMaxTimes", "i", 5);
	check(&r, "forbiddenTable", "{}");
	assert_int_equal(number(&r, "totalGroupNum"), 1);
	/* Forbidden, and allowed again. */
	assert_int_equal(set_topic("t", "1", "1", "6"), LT_CODE_SUCCESS);
	await(send_message("t", "0", "x"), &r);
	assert_int_equal(call(225, NONE,
			     "{\"groupConfigList\":[{\"groupName\":\"g\","
			     "\"consumeEnable\":false}]}",
			     &r),
	    LT_CODE_SUCCESS);
	await(pull("t", "0", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_NO_PERMISSION);
	assert_int_equal(call(200, NONE, "{\"groupName\":\"g\"}", &r), 0);
	await(pull("t", "0", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(
	    call(207, FIELDS({"groupName", "g"}, {"cleanOffset", "true"}), NULL,
		&r),
	    LT_CODE_SUCCESS);
	assert_int_equal(lt_groups_get(it.g.groups, name, NULL), 0);
	/* Names are free; what is none is refused. */
	assert_int_equal(call(200, NONE, "{\"groupName\":\"a b\"}", &r), 0);
	assert_int_equal(call(200, NONE, "{\"groupName\":\"\"}", &r), 1);
	assert_int_equal(call(200, NONE, "{\"groupName\":\"\\u0001\"}", &r), 1);
	assert_int_equal(call(200, NONE, "{\"retryMaxTimes\":1}", &r), 1);
	assert_int_equal(call(200, NONE, "[]", &r), 1);
	assert_int_equal(call(225, NONE, "{}", &r), 1);
	assert_int_equal(call(352, NONE, NULL, &r), 1);
	assert_int_equal(call(207, NONE, NULL, &r), 1);
}

static void
test_who_consumes(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;
	struct reply r;

	assert_int_equal(set_topic("t", "1", "1", "6"), LT_CODE_SUCCESS);
	s.topic = "t";
	s.group = "locals";
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(it.local, &s, &c));
	assert_int_equal(call(34, NONE,
			     "{\"clientID\":\"c\",\"consumerDataSet\":[{"
			     "\"groupName\":\"remotes\","
			     "\"subscriptionDataSet\":[{\"topic\":\"t\","
			     "\"subString\":\"a||b\"}]}]}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(300, FIELDS({"topic", "t"}), NULL, &r), 0);
	check(&r, "groupList", "[ss]", "locals", "remotes");
	assert_int_equal(call(343, FIELDS({"group", "locals"}), NULL, &r), 0);
	check(&r, "topicList", "[s]", "t");
	assert_int_equal(call(343, FIELDS({"group", "remotes"}), NULL, &r), 0);
	check(&r, "topicList", "[s]", "t");
	assert_int_equal(call(343, FIELDS({"group", "none"}), NULL, &r), 0);
	check(&r, "topicList", "[]");
	assert_int_equal(
	    call(345, FIELDS({"group", "remotes"}, {"topic", "t"}), NULL, &r),
	    0);
	check(&r, "subscriptionData subString", "s", "a||b");
	for (int i = 0; i < 3; i++) {
		static const int32_t codes[] = {300, 343, 345};

		assert_int_equal(call(codes[i], NONE, NULL, &r), 0);
	}
	leat_unsubscribe(c);
}

#define BEAT                                                                   \
	"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\","       \
	"\"subscriptionDataSet\":[{\"topic\":\"t\"}]}]}"

static int32_t
commit(const char *offset)
{
	struct reply r;

	return call(15,
	    FIELDS({"consumerGroup", "g"}, {"topic", "t"}, {"queueId", "0"},
		{"commitOffset", offset}),
	    NULL, &r);
}

static int64_t
committed(const char *group)
{
	struct reply r;

	assert_int_equal(
	    call(14,
		FIELDS({"consumerGroup", group}, {"topic", "t"},
		    {"queueId", "0"}, {"setZeroIfNotFound", "false"}),
		NULL, &r),
	    LT_CODE_SUCCESS);
	return number(&r, "offset");
}

/* A group of remote members on two queues, with `count` messages in one. */
static void
make_group(int count)
{
	struct reply r;

	assert_int_equal(set_topic("t", "2", "2", "6"), LT_CODE_SUCCESS);
	assert_int_equal(call(34, NONE, BEAT, &r), LT_CODE_SUCCESS);
	for (int i = 0; i < count; i++) {
		await(send_message("t", "0", "x"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	}
}

static void
test_lag(void **state)
{
	struct reply r;

	make_group(4);
	assert_int_equal(commit("3"), LT_CODE_SUCCESS);
	for (int i = 0; i < 2; i++) { /* the topic named, or found */
		const struct field who[] = {{"consumerGroup", "g"},
		    {"topic", i == 0 ? "t" : ""}, {NULL, NULL}};

		assert_int_equal(call(208, who, NULL, &r), LT_CODE_SUCCESS);
		check(&r, "offsetTable t/0 brokerOffset", "i", 4);
		check(&r, "offsetTable t/0 consumerOffset", "i", 3);
		check(&r, "offsetTable t/1 brokerOffset", "i", 0);
		check(&r, "offsetTable t/1 lastTimestamp", "i", 0);
	}
	assert_int_equal(
	    call(208, FIELDS({"consumerGroup", "none"}), NULL, &r), 0);
	check(&r, "", "{sfs{}}", "consumeTps", 0.0, "offsetTable");
	assert_int_equal(call(208, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(
	    call(303, FIELDS({"group", "g"}, {"topic", "t"}), NULL, &r), 0);
	assert_non_null(strstr(text(&r), "\"consumeTimeStampStr\":\"20"));
	assert_non_null(strstr(text(&r), "\"minTimeStamp\":0,"));
	json_decref(parse(&r));
	assert_int_equal(call(303, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	/* Copied. */
	assert_int_equal(call(314,
			     FIELDS({"srcGroup", "g"}, {"destGroup", "h"},
				 {"topic", "t"}, {"offline", "false"}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(committed("h"), 3);
	assert_int_equal(call(314, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(317, NONE, NULL, &r), LT_CODE_SUCCESS);
	json_decref(parse(&r));
	/* The entries themselves. */
	assert_int_equal(call(321,
			     FIELDS({"topic", "t"}, {"queueId", "0"},
				 {"index", "1"}, {"count", "2"}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	check(&r, "maxQueueIndex", "i", 4);
	json_t *v = parse(&r);
	assert_int_equal(json_array_size(json_object_get(v, "queueData")), 2);
	json_decref(v);
	assert_int_equal(
	    call(321,
		FIELDS({"topic", "t"}, {"queueId", "0"},
		    {"index", "-9223372036854775808"}, {"count", "2147483647"}),
		NULL, &r),
	    LT_CODE_SUCCESS);
	v = parse(&r);
	assert_int_equal(json_array_size(json_object_get(v, "queueData")), 4);
	json_decref(v);
}

static int32_t
reset(const char *topic, const char *group, const char *ms, const char *queue,
    const char *offset, struct reply *r)
{
	return call(222,
	    FIELDS({"topic", topic}, {"group", group}, {"timestamp", ms},
		{"isForce", "true"}, {"queueId", queue}, {"offset", offset}),
	    NULL, r);
}

/* What Apache's broker does: the value at once, then 21 for the next pull, and
 * no commit in between. */
static void
test_reset(void **state)
{
	const struct field pull[] = {{"consumerGroup", "g"}, {"topic", "t"},
	    {"queueId", "0"}, {"queueOffset", "5"}, {"maxMsgNums", "32"},
	    {"sysFlag", "0"}, {NULL, NULL}};
	struct reply r;

	make_group(5);
	assert_int_equal(commit("5"), LT_CODE_SUCCESS);
	assert_int_equal(reset("t", "g", "0", "-1", "-1", &r), LT_CODE_SUCCESS);
	check(&r, "offsetTable", "{si,si}", "t/0", 0, "t/1", 0);
	assert_int_equal(committed("g"), 0);
	assert_int_equal(commit("5"), LT_CODE_SUCCESS);
	assert_int_equal(committed("g"), 0);
	assert_int_equal(call(11, pull, NULL, &r), LT_CODE_PULL_MOVED);
	assert_int_equal(number(&r, "nextBeginOffset"), 0);
	assert_int_equal(commit("2"), LT_CODE_SUCCESS);
	assert_int_equal(committed("g"), 2);
	assert_int_equal(
	    reset("t", "g", "-1", "-1", "-1", &r), LT_CODE_SUCCESS);
	check(&r, "offsetTable", "{si,si}", "t/0", 5, "t/1", 0);
	assert_int_equal(reset("t", "g", "-1", "0", "3", &r), LT_CODE_SUCCESS);
	check(&r, "offsetTable", "{si}", "t/0", 3);
	assert_int_equal(committed("g"), 3);
	/* And it is leat-queue's as well. */
	lt_offsets_forget_group(it.g.hub, (struct lt_remoting_text){"g", 1});
	assert_int_equal(committed("g"), 3);
	assert_int_equal(reset("t", "g", "0", "0", "9223372036854775807", &r),
	    LT_CODE_SUCCESS);
	check(&r, "offsetTable", "{si}", "t/0", 5);
	assert_int_equal(reset("none", "g", "0", "-1", "-1", &r), 17);
	assert_int_equal(reset("t", "none", "0", "-1", "-1", &r), 26);
	assert_int_equal(reset("t", "g", "0", "2", "-1", &r), 1);
	assert_int_equal(reset("t", "g", "x", "-1", "-1", &r), 1);
	assert_int_equal(reset("t", "g", "0", "x", "-1", &r), 1);
	assert_int_equal(
	    reset("t", "g", "0", "-1", "99999999999999999999", &r), 1);
	assert_int_equal(call(222, NONE, NULL, &r), 1);
}

/* When the oldest record was stored: never at the price of a search. */
static void
check_oldest(void)
{
	char path[64];
	struct reply r;
	uint8_t byte;
	int fd;

	assert_int_equal(call(28, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_null(strstr(text(&r), "\"earliestMessageTimeStamp\":\"-1\""));
	snprintf(path, sizeof path, "commitlog/%020d", 0);
	fd = openat(it.store_dir, path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, 100), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
	close(fd);
	assert_int_equal(call(28, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_non_null(
	    strstr(text(&r), "\"earliestMessageTimeStamp\":\"-1\""));
}

static void
test_broker(void **state)
{
	struct reply r;

	assert_int_equal(call(28, NONE, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "table brokerActive", "s", "true");
	check(&r, "table putTps", "s", "0.0 0.0 0.0");
	check(&r, "table brokerVersionDesc", "s", "V5_3_3");
	assert_int_equal(call(26, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "\nbrokerClusterName=leat\n"));
	assert_true(lt_remoting_find(&r.h, "version").bytes > 0);
	assert_int_equal(
	    call(25, NONE, "brokerId=0\n\nbrokerName=broker-a", &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(
	    call(25, NONE, "brokerId=1\n", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(25, NONE, "brokerId=", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(25, NONE, NULL, &r), LT_CODE_SUCCESS);
	static const struct field puts[] = {
	    {"statsName", "TOPIC_PUT_NUMS"}, {"statsKey", "t"}, {NULL, NULL}};
	assert_int_equal(call(315, puts, NULL, &r), LT_CODE_SYSTEM_ERROR);
	make_group(3);
	assert_int_equal(call(315, puts, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "statsMinute", "{sf,si,sf}", "avgpt", 1.0, "sum", 3, "tps",
	    0.05);
	check(&r, "statsDay sum", "i", 3);
	assert_int_equal(
	    call(315,
		FIELDS({"statsName", "GROUP_GET_NUMS"}, {"statsKey", "t@g"}),
		NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(315, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(306, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_int_equal(call(907, NONE, NULL, &r), LT_CODE_SUCCESS);
	check(&r, "inSyncSlaveNums", "i", 0);
	check_oldest();
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_topics),
	    T(test_topic_lists),
	    T(test_topics_refused),
	    T(test_groups),
	    T(test_who_consumes),
	    T(test_lag),
	    T(test_reset),
	    T(test_broker),
	};

	return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
