/*
 * announce_test.c - a broker announces itself: what it sends byte for byte, two
 * name servers that take it, replies; and a name server without memory, at
 * each allocation.
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

#include "base/deflate.h"
#include "base/mem.h"
#include "leat/status.h"
#include "names_rig.h"
#include "tests/support/scarce.h"

#define TEXT(literal)                                                          \
	(struct lt_remoting_text)                                              \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

/* --- memory that ends at a given allocation (--wrap) ---------------------- */

/* --- frames ----------------------------------------------------------------
 */

static struct lt_topic_queues topics[] = {
    {.topic = {"T", 1}, .read = 4, .write = 2, .perm = 6, .sysflag = 0},
    {.topic = {"TBW102", 6}, .read = 8, .write = 8, .perm = 7},
};

static struct lt_registration
ours(void)
{
	struct lt_registration r = {
	    .cluster = TEXT("DefaultCluster"),
	    .broker = TEXT("leat"),
	    .address = TEXT("10.0.0.1:10911"),
	    .ha_address = TEXT("10.0.0.1:10912"),
	    .timeout_ms = 40000,
	    .acting = LT_REGISTRATION_OLD,
	    .version = {.timestamp = 1700000000000, .counter = 3},
	    .topics = topics,
	    .topic_count = LT_COUNT(topics),
	};
	return r;
}

static void
announce(struct rig *r, const struct lt_registration *who, int compressed)
{
	struct lt_buffer frame;

	lt_buffer_init(&frame, LT_REMOTING_FRAME_MAX);
	assert_int_equal(
	    lt_registration_frame(who, compressed, 5, &frame), LEAT_OK);
	assert_int_equal(rig_frame(r, &frame), 0);
	lt_buffer_fini(&frame);
}

static void
sends_what_brokers_send(void **state)
{
	static const char plain[] =
	    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{"
	    "\"dataVersion\":{\"counter\":3,\"stateVersion\":0,"
	    "\"timestamp\":1700000000000},"
	    "\"mappingDataVersion\":{\"counter\":3,\"stateVersion\":0,"
	    "\"timestamp\":1700000000000},"
	    "\"topicConfigTable\":{\"T\":{\"attributes\":{},\"order\":false,"
	    "\"perm\":6,\"readQueueNums\":4,"
	    "\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"T\","
	    "\"topicSysFlag\":0,\"writeQueueNums\":2},"
	    "\"SELF_TEST_TOPIC\":{\"attributes\":{},\"order\":false,"
	    "\"perm\":6,\"readQueueNums\":1,"
	    "\"topicFilterType\":\"SINGLE_TAG\","
	    "\"topicName\":\"SELF_TEST_TOPIC\",\"topicSysFlag\":0,"
	    "\"writeQueueNums\":1},\"leat\":{\"attributes\":{},"
	    "\"order\":false,\"perm\":6,\"readQueueNums\":1,"
	    "\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"leat\","
	    "\"topicSysFlag\":0,\"writeQueueNums\":1}},"
	    "\"topicQueueMappingDetailMap\":{},"
	    "\"topicQueueMappingInfoMap\":{}}}";
	static const char packed[] =
	    "\0\0\0\x38{\"counter\":3,\"stateVersion\":0,"
	    "\"timestamp\":1700000000000}"
	    "\0\0\0\3"
	    "\0\0\0\x15T 4 2 6 SINGLE_TAG {}"
	    "\0\0\0\x23SELF_TEST_TOPIC 1 1 6 SINGLE_TAG {}"
	    "\0\0\0\x18leat 1 1 6 SINGLE_TAG {}"
	    "\0\0\0\2[]"
	    "\0\0\0\0";
	struct lt_registration who = ours();
	struct lt_remoting_frame frame;
	struct lt_buffer out, body;

	who.topic_count = 1;
	lt_buffer_init(&out, 100000);
	lt_buffer_init(&body, 100000);
	assert_int_equal(lt_registration_frame(&who, 0, 5, &out), LEAT_OK);
	assert_int_equal(lt_remoting_frame(out.p, out.bytes, &frame), LEAT_OK);
	assert_int_equal(frame.body_bytes, sizeof(plain) - 1);
	assert_memory_equal(frame.body, plain, frame.body_bytes);

	lt_buffer_clear(&out);
	assert_int_equal(lt_registration_frame(&who, 1, 5, &out), LEAT_OK);
	assert_int_equal(lt_remoting_frame(out.p, out.bytes, &frame), LEAT_OK);
	assert_int_equal(
	    lt_deflate_unpack(frame.body, frame.body_bytes, &body), LEAT_OK);
	assert_int_equal(body.bytes, sizeof(packed) - 1);
	assert_memory_equal(body.p, packed, body.bytes);
	lt_buffer_fini(&body);
	lt_buffer_fini(&out);
}

static void
registers_with_two_name_servers(void **state)
{
	static const char route[] =
	    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\"},"
	    "\"brokerName\":\"leat\",\"cluster\":\"DefaultCluster\","
	    "\"enableActingMaster\":false}],\"filterServerTable\":{},"
	    "\"queueDatas\":[{\"brokerName\":\"leat\",\"perm\":6,"
	    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":2}]}";
	struct lt_registration who = ours();
	struct lt_names_counts n;
	struct lt_buffer frame;
	struct rig r[2];

	for (int i = 0; i < 2; i++) {
		rig_open(&r[i], NULL);
		announce(&r[i], &who, i);
		assert_int_equal(
		    rig_call(&r[i], 105, NULL, 0, "topic", "T", NULL), 0);
		assert_string_equal(r[i].body, route);
		lt_names_count(r[i].names, &n);
		assert_int_equal(n.topics, 4);
	}
	/* One of them starts anew and knows nothing; the other goes on. */
	rig_close(&r[0]);
	rig_open(&r[0], NULL);
	assert_int_equal(rig_call(&r[0], 105, NULL, 0, "topic", "T", NULL), 17);
	/* A topic less: it goes in both, also where it never was. */
	who.topics = topics + 1;
	who.topic_count = 1;
	who.version.counter++;
	for (int i = 0; i < 2; i++) {
		announce(&r[i], &who, 1 - i);
		assert_int_equal(
		    rig_call(&r[i], 105, NULL, 0, "topic", "T", NULL), 17);
		assert_int_equal(
		    rig_call(&r[i], 105, NULL, 0, "topic", "TBW102", NULL), 0);
		/* Heard of last at 1000; its own word of 40 s counts. */
		assert_int_equal(lt_names_scan(r[i].names, 41000, NULL), 0);
		assert_int_equal(lt_names_scan(r[i].names, 51000, NULL), 1);
		announce(&r[i], &who, 0);
		lt_buffer_init(&frame, 10000);
		assert_int_equal(
		    lt_registration_leave(&who, 6, &frame), LEAT_OK);
		assert_int_equal(rig_frame(&r[i], &frame), 0);
		assert_int_equal(r[i].reply.left, 1);
		lt_buffer_fini(&frame);
		rig_close(&r[i]);
	}
}

/* What goes into the tables directly is the same as what was sent. */
static void
registers_without_a_request(void **state)
{
	struct lt_registration who = ours();
	struct rig direct, sent;
	const char *why;

	rig_open(&direct, NULL);
	rig_open(&sent, NULL);
	assert_int_equal(
	    lt_names_register(direct.names, &who, 0, 1, &why), LEAT_OK);
	announce(&sent, &who, 1);
	assert_int_equal(
	    rig_call(&direct, 105, NULL, 0, "topic", "T", NULL), 0);
	assert_int_equal(rig_call(&sent, 105, NULL, 0, "topic", "T", NULL), 0);
	assert_string_equal(direct.body, sent.body);
	who.address = TEXT("0.0.0.0:10911");
	assert_int_equal(
	    lt_names_register(direct.names, &who, 0, 1, &why), LEAT_E_INVALID);
	assert_non_null(strstr(why, "brokerAddr"));
	rig_close(&direct);
	rig_close(&sent);
}

static void
announces_only_what_can_be_dialled(void **state)
{
	struct lt_registration who = ours();
	struct lt_buffer out;

	lt_buffer_init(&out, 100000);
	who.address = TEXT("0.0.0.0:10911");
	assert_int_equal(
	    lt_registration_frame(&who, 0, 1, &out), LEAT_E_INVALID);
	who = ours();
	who.ha_address = TEXT("*:10912");
	assert_int_equal(
	    lt_registration_frame(&who, 1, 1, &out), LEAT_E_INVALID);
	assert_int_equal(out.bytes, 0);
	lt_buffer_fini(&out);
}

static void
moves_its_version_when_topics_change(void **state)
{
	struct lt_topic_queues list[3] = {topics[0], topics[1], topics[1]};
	struct lt_registration who = ours();
	struct lt_data_version v = {0}, before;
	uint64_t digest = 0;

	who.topics = list;
	who.topic_count = 2;
	list[2].topic = TEXT("more");
	lt_registration_date(&who, 100, &v, &digest);
	assert_int_equal(v.counter, 1);
	assert_int_equal(v.timestamp, 100);
	before = v;
	lt_registration_date(&who, 200, &v, &digest);
	assert_true(lt_registration_same(&v, &before));
	struct lt_topic_queues first = list[0]; /* the order says nothing */
	list[0] = list[1];
	list[1] = first;
	lt_registration_date(&who, 200, &v, &digest);
	assert_true(lt_registration_same(&v, &before));
	uint32_t *fields[] = {
	    &list[0].read, &list[0].write, &list[0].perm, &who.topic_count};
	for (size_t i = 0; i < LT_COUNT(fields); i++) {
		++*fields[i];
		lt_registration_date(&who, 300 + (int64_t)i, &v, &digest);
		assert_int_equal(v.counter, 2 + (int64_t)i);
		assert_int_equal(v.timestamp, 300 + (int64_t)i);
	}
	who.topic_count = 0;
	lt_registration_date(&who, 400, &v, &digest);
	assert_int_equal(v.counter, 6);
}

static void
understands_the_reply(void **state)
{
	struct lt_registration master = ours(), replica = ours();
	struct lt_registration_answer answer;
	struct lt_remoting_encoder e;
	struct lt_remoting_frame frame;
	struct lt_remoting reply;
	uint8_t out[4096];
	struct rig r;

	rig_open(&r, NULL);
	replica.broker_id = 1;
	replica.address = TEXT("10.0.0.2:10911");
	announce(&r, &master, 0);
	announce(&r, &replica, 0);
	lt_remoting_begin(
	    &e, out, sizeof(out), LT_REMOTING_JSON, 0, LT_REMOTING_RESPONSE, 5);
	lt_names_put(&r.reply, &e);
	size_t n = lt_remoting_end(&e, NULL, 0, 0);
	assert_int_equal(lt_remoting_frame(out, n, &frame), LEAT_OK);
	assert_int_equal(lt_remoting_decode(&frame, &reply), LEAT_OK);
	assert_int_equal(lt_registration_answer(&reply, &answer), LEAT_OK);
	assert_int_equal(answer.code, 0);
	assert_int_equal(answer.master_address.bytes, 14);
	assert_memory_equal(answer.master_address.p, "10.0.0.1:10911", 14);
	assert_memory_equal(answer.ha_address.p, "10.0.0.1:10912", 14);
	reply.flag = 0;
	assert_int_equal(
	    lt_registration_answer(&reply, &answer), LEAT_E_CORRUPT);
	rig_close(&r);
}

static void
announces_many_topics(void **state)
{
	enum {
		MANY = 20000
	};
	static struct lt_topic_queues many[MANY];
	static char names[MANY][16];
	struct lt_registration who = ours();
	struct lt_names_counts n;
	struct rig r;

	for (int i = 0; i < MANY; i++) {
		int bytes = snprintf(names[i], sizeof(names[i]), "topic-%d", i);
		many[i] = (struct lt_topic_queues){
		    .topic = {names[i], (uint32_t)bytes},
		    .read = 4,
		    .write = 4,
		    .perm = 6};
	}
	who.topics = many;
	who.topic_count = MANY;
	for (int compressed = 0; compressed < 2; compressed++) {
		rig_open(&r, NULL);
		announce(&r, &who, compressed);
		lt_names_count(r.names, &n);
		assert_int_equal(n.topics, MANY + 2);
		assert_true(n.bytes < MANY * 250);
		assert_int_equal(rig_call(&r, 206, NULL, 0, NULL), 0);
		assert_true(r.reply.body.bytes > MANY * 10);
		rig_close(&r);
	}
}

/* --- without memory --------------------------------------------------------
 */

static struct lt_remoting
put_request(void)
{
	struct lt_remoting request = {.code = 100, .ext_count = 3};

	request.ext[0] = (struct lt_remoting_ext){TEXT("namespace"), TEXT("n")};
	request.ext[1] = (struct lt_remoting_ext){TEXT("key"), TEXT("k")};
	request.ext[2] = (struct lt_remoting_ext){TEXT("value"), TEXT("v")};
	return request;
}

static int
call(struct rig *r, const struct lt_remoting *request,
    const struct lt_remoting_frame *frame)
{
	const struct lt_names_peer peer = {1, "10.0.0.9:4711", NULL};

	lt_names_reply_fini(&r->reply);
	lt_names_reply_init(&r->reply);
	lt_names_call(r->names, request, frame->body, frame->body_bytes, &peer,
	    1, &r->reply);
	return r->reply.code;
}

/* A registration, lists and a key, of which the at-th allocation fails: 0 once
 * there are not so many. */
static int
fails_at(long at, const struct lt_remoting *request,
    const struct lt_remoting_frame *frame)
{
	static const int lists[] = {106, 206, 304, 319};
	struct lt_remoting list = {.code = 0}, key = put_request();
	struct lt_registration older = ours();
	struct lt_topic_queues had[] = {
	    {.topic = TEXT("SELF_TEST_TOPIC"), .perm = 4},
	    {.topic = TEXT("TBW102"), .perm = 4}};
	struct lt_names_counts n;
	const char *why;
	struct rig r;
	int failed;

	rig_open(&r, NULL);
	older.version.counter = 1;
	older.topics = had;
	assert_int_equal(
	    lt_names_register(r.names, &older, 1, 1, &why), LEAT_OK);
	scarce_count = 0;
	scarce_at = at;
	failed = call(&r, request, frame) == 1;
	for (size_t i = 0; i < LT_COUNT(lists); i++) {
		list.code = lists[i];
		failed += call(&r, &list, frame) == 1;
	}
	failed += call(&r, &key, frame) == 1;
	scarce_at = 0;
	assert_int_equal(failed, scarce_count >= at);
	/* With memory again, everything is there. */
	assert_int_equal(call(&r, request, frame), 0);
	assert_int_equal(call(&r, &key, frame), 0);
	lt_names_count(r.names, &n);
	assert_int_equal(n.brokers, 1);
	assert_int_equal(n.topics, 4);
	assert_int_equal(
	    rig_call(&r, 105, NULL, 0, "topic", "SELF_TEST_TOPIC", NULL), 0);
	assert_non_null(strstr(r.body, "\"perm\":6"));
	rig_close(&r); /* asserts that all is given back */
	return failed;
}

static void
says_so_without_memory(void **state)
{
	struct lt_registration who = ours();
	struct lt_remoting_frame frame;
	struct lt_remoting request;
	struct lt_buffer out;
	long at = 1;

	lt_buffer_init(&out, 100000);
	assert_int_equal(lt_registration_frame(&who, 1, 5, &out), LEAT_OK);
	assert_int_equal(lt_remoting_frame(out.p, out.bytes, &frame), LEAT_OK);
	assert_int_equal(lt_remoting_decode(&frame, &request), LEAT_OK);
	while (fails_at(at, &request, &frame))
		at++;
	print_message("failed at each of %ld allocations\n", at - 1);
	assert_true(at > 20);
	lt_buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sends_what_brokers_send),
	    cmocka_unit_test(registers_with_two_name_servers),
	    cmocka_unit_test(registers_without_a_request),
	    cmocka_unit_test(announces_only_what_can_be_dialled),
	    cmocka_unit_test(moves_its_version_when_topics_change),
	    cmocka_unit_test(understands_the_reply),
	    cmocka_unit_test(announces_many_topics),
	    cmocka_unit_test(says_so_without_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
