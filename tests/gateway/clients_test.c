/*
 * clients_test.c - who is there: members with two workers, told of each other;
 * questions passed on to a client; hostile fields.
 */
#include "config.h"
#include "workerrig.h"

#include <sys/socket.h>
#include <unistd.h>

#include "remoting/asked.h"

#define BEAT(id, group)                                                        \
	"{\"clientID\":\"" id "\",\"consumerDataSet\":[{\"consumeFromWhere\":" \
	"\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","  \
	"\"groupName\":\"" group "\",\"messageModel\":\"CLUSTERING\","         \
	"\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[],"  \
	"\"expressionType\":\"TAG\",\"subString\":\"*\",\"subVersion\":1,"     \
	"\"tagsSet\":[],\"topic\":\"t\"}],\"unitMode\":false}],"               \
	"\"producerDataSet\":[{\"groupName\":\"" group "-p\"}]}"

static const struct field g[] = {{"consumerGroup", "g"}, {NULL, NULL}};

/* A heartbeat, and the word to the one who sent it. */
static void
beat(int fd, const char *body)
{
	int32_t opaque = ask_on(fd, 34, NONE, body, strlen(body));
	int answered = 0, told = 0;
	struct reply r;

	while (!answered || !told) {
		receive(fd, &r);
		if (r.h.code == 40) {
			told = 1;
			assert_int_equal(r.h.flag, LT_REMOTING_ONEWAY);
			continue;
		}
		answered = 1;
		assert_int_equal(r.h.opaque, opaque);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		assert_int_equal(
		    lt_remoting_bool(&r.h, "IS_SUPPORT_HEART_BEAT_V2"), 1);
		assert_int_equal(lt_remoting_bool(&r.h, "IS_SUB_CHANGE"), 1);
	}
}

static void
await_told(int fd)
{
	struct lt_remoting_text group;
	struct reply r;

	receive(fd, &r);
	assert_int_equal(r.h.code, 40);
	assert_int_equal(r.h.flag, LT_REMOTING_ONEWAY);
	group = lt_remoting_find(&r.h, "consumerGroup");
	assert_int_equal(group.bytes, 1);
	assert_memory_equal(group.p, "g", 1);
}

static void
test_members(void **state)
{
	int other = rig_connect(1);
	struct leat_topic t;
	struct reply r;

	assert_int_equal(call(38, g, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(203, g, NULL, &r), LT_CODE_CONSUMER_NOT_ONLINE);
	beat(it.fd, BEAT("c1", "g"));
	OK(leat_topic_describe(it.local, "%RETRY%g", &t));
	assert_int_equal(t.read_queues, 1);
	assert_int_equal(t.write_queues, 1);
	assert_int_equal(t.perm, LEAT_PERM_BOTH);
	/* With the other worker: both are told. */
	beat(other, BEAT("c2", "g"));
	await_told(it.fd);
	assert_int_equal(call(38, g, NULL, &r), LT_CODE_SUCCESS);
	assert_string_equal(text(&r), "{\"consumerIdList\":[\"c1\",\"c2\"]}");
	assert_int_equal(call(203, g, NULL, &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "\"clientId\":\"c2\""));
	assert_int_equal(
	    call(204, FIELDS({"producerGroup", "g-p"}), NULL, &r), 0);
	assert_int_equal(call(328, NONE, NULL, &r), 0);
	assert_non_null(strstr(text(&r), "\"g-p\":["));
	assert_int_equal(call(204, FIELDS({"producerGroup", "no"}), NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	close(other);
	await_told(it.fd);
	assert_int_equal(call(38, g, NULL, &r), LT_CODE_SUCCESS);
	assert_string_equal(text(&r), "{\"consumerIdList\":[\"c1\"]}");
	assert_int_equal(call(35,
			     FIELDS({"clientID", "c1"}, {"producerGroup", ""},
				 {"consumerGroup", "g"}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(38, g, NULL, &r), LT_CODE_SYSTEM_ERROR);
}

/* An administrator with one worker, the client with the other. */
static void
test_passed_on(void **state)
{
	const struct field who[] = {{"consumerGroup", "g"}, {"clientId", "c2"},
	    {"jstackEnable", "true"}, {NULL, NULL}};
	int client = rig_connect(1);
	struct lt_remoting_text field;
	struct reply r;
	int32_t opaque;

	assert_int_equal(call(307, who, NULL, &r), LT_CODE_SYSTEM_ERROR);
	beat(client, BEAT("c2", "g"));
	opaque = ask(307, who, "body", 4);
	receive(client, &r);
	assert_int_equal(r.h.code, 307);
	assert_int_equal(r.h.flag, 0);
	field = lt_remoting_find(&r.h, "jstackEnable");
	assert_memory_equal(field.p, "true", 4);
	assert_string_equal(text(&r), "body");
	/* An answer to nothing changes nothing. */
	r.h.opaque += 100;
	respond(client, &r, 0, NULL, "wrong");
	r.h.opaque -= 100;
	respond(client, &r, 7, "as it \"is\"", "{\"a\":1}");
	await(opaque, &r);
	assert_int_equal(r.h.code, 7);
	assert_string_equal(text(&r), "{\"a\":1}");
	assert_int_equal(r.h.remark.bytes, 10);
	assert_memory_equal(r.h.remark.p, "as it \"is\"", 10);
	/* One that goes instead. */
	opaque = ask(307, who, NULL, 0);
	receive(client, &r);
	close(client);
	await(opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SYSTEM_ERROR);
}

/* Who asked has finished writing: the answer is waited for. */
static void
test_asker_half_closed(void **state)
{
	const struct field who[] = {
	    {"consumerGroup", "g"}, {"clientId", "c2"}, {NULL, NULL}};
	int client = rig_connect(0);
	struct reply r;
	int32_t opaque;

	beat(client, BEAT("c2", "g"));
	opaque = ask(307, who, NULL, 0);
	assert_int_equal(shutdown(it.fd, SHUT_WR), 0);
	receive(client, &r);
	respond(client, &r, 0, NULL, "there");
	await(opaque, &r);
	assert_string_equal(text(&r), "there");
	assert_int_equal(recv(it.fd, it.in, 1, 0), 0);
	close(client);
}

/* 223: two members with two workers; what makes sense of what they say. */
static void
test_polled(void **state)
{
	static const char *const wrong[] = {"", "{}",
	    "{\"messageQueueTable\":", "{\"messageQueueTable\":{",
	    "{\"messageQueueTable\":{{}",
	    "{\"messageQueueTable\":{{\"a\":1}:x}}",
	    "{\"messageQueueTable\":{{\"a\":1}:1,}}",
	    "{\"messageQueueTable\":{\"a:1}}", "{\"messageQueueTable\":{:1}}",
	    "{\"messageQueueTable\":{{\"a\"}:1}}",
	    "{\"messageQueueTable\":{{\"a\":1}:12345678901234567890}}",
	    "{\"messageQueueTable\":{\"\\"};
	static const char one[] = "{\"messageQueueTable\":{{\"queueId\":0,"
				  "\"topic\":\"t\"}:5,{\"queueId\":1,"
				  "\"topic\":\"t\"}:-1}}";
	const struct field all[] = {
	    {"topic", "t"}, {"group", "g"}, {NULL, NULL}};
	const struct field named[] = {
	    {"topic", "t"}, {"group", "g"}, {"clientAddr", "c2"}, {NULL, NULL}};
	int a = rig_connect(0), b = rig_connect(1);
	struct reply ra, rb, r;
	int32_t opaque;

	assert_int_equal(call(223, all, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(223, g, NULL, &r), LT_CODE_SYSTEM_ERROR);
	beat(a, BEAT("c1", "g"));
	beat(b, BEAT("c2", "g"));
	await_told(a);
	opaque = ask(223, all, NULL, 0);
	receive(a, &ra);
	receive(b, &rb);
	assert_int_equal(ra.h.code, 221);
	assert_int_equal(rb.h.code, 221);
	assert_memory_equal(lt_remoting_find(&rb.h, "group").p, "g", 1);
	assert_memory_equal(lt_remoting_find(&rb.h, "topic").p, "t", 1);
	respond(a, &ra, 0, NULL, one);
	respond(b, &rb, 1, "not mine", one);
	await(opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_string_equal(text(&r),
	    "{\"consumerTable\":{\"c1\":{{\"queueId\":0,\"topic\":\"t\"}:5,"
	    "{\"queueId\":1,\"topic\":\"t\"}:-1}}}");
	/* One alone; what cannot be read is left out. */
	for (size_t i = 0; i < LT_COUNT(wrong); i++) {
		opaque = ask(223, named, NULL, 0);
		receive(b, &rb);
		respond(b, &rb, 0, NULL, wrong[i]);
		await(opaque, &r);
		assert_string_equal(text(&r), "{\"consumerTable\":{}}");
	}
	/* One goes, the other has nothing yet. */
	opaque = ask(223, all, NULL, 0);
	receive(a, &ra);
	close(b);
	respond(
	    a, &ra, 0, NULL, "{\"consumerTable\":{},\"messageQueueTable\":{}}");
	await(opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_string_equal(text(&r), "{\"consumerTable\":{\"c1\":{}}}");
	close(a);
}

static void
test_filters(void **state)
{
	struct reply r;

	assert_int_equal(call(46, NONE,
			     "{\"subscriptionData\":{\"expressionType\":"
			     "\"TAG\"}}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(46, NONE,
			     "{\"subscriptionData\":{\"expressionType\":"
			     "\"SQL92\"}}",
			     &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(46, NONE, "[", &r), LT_CODE_SYSTEM_ERROR);
}

static void
test_hostile(void **state)
{
	static const char *const bodies[] = {"", "{{{", "[]", "{}", "null",
	    "{\"clientID\":7}", "{\"clientID\":\"\"}",
	    "{\"clientID\":\"c\",\"consumerDataSet\":{}}",
	    "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"a "
	    "b\"}]}"};
	static const int32_t codes[] = {35, 38, 203, 204, 223, 307};
	char *large = calloc(1, 60001);
	struct reply r;

	assert_non_null(large);
	memset(large, 'x', 60000);
	for (size_t i = 0; i < LT_COUNT(bodies); i++)
		assert_int_equal(
		    call(34, NONE, bodies[i], &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(34, NONE, "{\"clientID\":\"c\"}", &r), 0);
	for (size_t i = 0; i < LT_COUNT(codes); i++) {
		(void)call(codes[i], NONE, NULL, &r);
		(void)call(codes[i],
		    FIELDS({"consumerGroup", large}, {"clientId", ""},
			{"producerGroup", "\001\377"}),
		    "x", &r);
	}
	assert_int_equal(call(38, NONE, NULL, &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(
	    call(223, FIELDS({"group", large}, {"topic", "t"}), NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	free(large);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_members),
	    T(test_passed_on),
	    T(test_asker_half_closed),
	    T(test_polled),
	    T(test_filters),
	    T(test_hostile),
	};

	return cmocka_run_group_tests_name("clients", tests, NULL, NULL);
}
