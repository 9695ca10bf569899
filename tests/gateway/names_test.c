/*
 * names_test.c - the name server: each request, its bodies byte for byte, who
 * joins and who goes when, bounds, and bodies that are damaged. The clock is
 * turned by hand.
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

#include "base/crc32.h"
#include "base/deflate.h"
#include "leat/status.h"
#include "names_rig.h"

static const struct broker A = {.cluster = "DefaultCluster",
    .name = "broker-a",
    .address = "10.0.0.1:10911",
    .counter = 1};
static const struct broker B = {.cluster = "DefaultCluster",
    .name = "broker-b",
    .address = "10.0.0.2:10911",
    .ha = "10.0.0.2:10912",
    .counter = 1};
static const struct broker C = {.cluster = "Other",
    .name = "broker-c",
    .address = "db.example.org:10911",
    .counter = 1};

/* Every failed call must name its reason; replies without one must not. */
#define OK(call) assert_int_equal(call, 0)

static void
has_counts(struct rig *r, uint32_t brokers, uint32_t topics)
{
	struct lt_names_counts n;

	lt_names_count(r->names, &n);
	assert_int_equal(n.brokers, brokers);
	assert_int_equal(n.topics, topics);
	assert_int_equal(n.bytes == 0, brokers == 0);
}

static int
has_route(struct rig *r, const char *topic)
{
	int code = rig_call(r, 105, NULL, 0, "topic", topic, NULL);

	assert_true(code == 0 || code == 17);
	return code == 0;
}

/* The perm of that topic on a broker, -1: it has none. */
static int
perm_of(struct rig *r, const char *topic, const char *broker)
{
	char text[300];

	if (!has_route(r, topic))
		return -1;
	const char *queues = strstr(r->body, "\"queueDatas\"");
	snprintf(
	    text, sizeof(text), "{\"brokerName\":\"%s\",\"perm\":", broker);
	const char *at = strstr(queues, text);
	return at == NULL ? -1 : atoi(at + strlen(text));
}

/* --- bodies --------------------------------------------------------------- */

static void
answers_routes_byte_for_byte(void **state)
{
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_register(&r, &A, "T broker-a"));
	assert_string_equal(r.body, "{\"table\":{}}");
	assert_null(rig_field(&r, "masterAddr"));
	assert_int_equal(r.reply.joined, 1);
	OK(rig_call(&r, 105, NULL, 0, "topic", "T", NULL));
	assert_string_equal(r.body,
	    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\"},"
	    "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\","
	    "\"enableActingMaster\":false}],"
	    "\"filterServerTable\":{},"
	    "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,"
	    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}");

	struct broker replica = A;
	replica.address = "10.0.0.3:10911";
	replica.id = "2";
	replica.ha = "10.0.0.3:10912";
	OK(rig_register(&r, &replica, ""));
	assert_string_equal(rig_field(&r, "masterAddr"), "10.0.0.1:10911");
	assert_string_equal(rig_field(&r, "haServerAddr"), "10.0.0.1:10912");
	OK(rig_register(&r, &B, "T:4 broker-b"));
	OK(rig_call(&r, 105, NULL, 0, "topic", "T", "acceptStandardJsonOnly",
	    "true", NULL));
	assert_string_equal(r.body,
	    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\","
	    "\"2\":\"10.0.0.3:10911\"},\"brokerName\":\"broker-a\","
	    "\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false},"
	    "{\"brokerAddrs\":{\"0\":\"10.0.0.2:10911\"},"
	    "\"brokerName\":\"broker-b\",\"cluster\":\"DefaultCluster\","
	    "\"enableActingMaster\":false}],\"filterServerTable\":{},"
	    "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,"
	    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4},"
	    "{\"brokerName\":\"broker-b\",\"perm\":4,\"readQueueNums\":4,"
	    "\"topicSysFlag\":0,\"writeQueueNums\":4}]}");

	/* Quoted for clients of any age. */
	r.version = 317;
	OK(rig_call(&r, 105, NULL, 0, "topic", "T", NULL));
	assert_non_null(strstr(r.body, "{\"0\":\"10.0.0.1:10911\""));
	assert_int_equal(rig_call(&r, 105, NULL, 0, "topic", "none", NULL), 17);
	assert_string_equal(r.reply.remark,
	    "No topic route info in name server for the topic: none");
	assert_int_equal(r.reply.body.bytes, 1);
	assert_int_equal(rig_call(&r, 105, NULL, 0, NULL), 17);
	rig_close(&r);
}

static void
answers_lists_byte_for_byte(void **state)
{
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_call(&r, 106, NULL, 0, NULL));
	assert_string_equal(
	    r.body, "{\"brokerAddrTable\":{},\"clusterAddrTable\":{}}");
	OK(rig_call(&r, 206, NULL, 0, NULL));
	assert_string_equal(r.body, "{\"topicList\":[]}");
	OK(rig_call(&r, 304, NULL, 0, NULL));
	assert_string_equal(r.body, "{\"topicList\":[]}");

	OK(rig_register(&r, &C, "c TBW102:7 broker-c"));
	OK(rig_register(&r, &B, "b TBW102:7 broker-b"));
	OK(rig_register_packed(&r, &A, "a TBW102:7 broker-a"));
	has_counts(&r, 3, 7);
	OK(rig_call(&r, 106, NULL, 0, NULL));
	assert_string_equal(r.body,
	    "{\"brokerAddrTable\":{"
	    "\"broker-a\":{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\"},"
	    "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\","
	    "\"enableActingMaster\":false},"
	    "\"broker-b\":{\"brokerAddrs\":{\"0\":\"10.0.0.2:10911\"},"
	    "\"brokerName\":\"broker-b\",\"cluster\":\"DefaultCluster\","
	    "\"enableActingMaster\":false},"
	    "\"broker-c\":{\"brokerAddrs\":{\"0\":\"db.example.org:10911\"},"
	    "\"brokerName\":\"broker-c\",\"cluster\":\"Other\","
	    "\"enableActingMaster\":false}},"
	    "\"clusterAddrTable\":{\"DefaultCluster\":[\"broker-a\","
	    "\"broker-b\"],\"Other\":[\"broker-c\"]}}");
	OK(rig_call(&r, 206, NULL, 0, NULL));
	assert_string_equal(r.body,
	    "{\"topicList\":[\"TBW102\",\"a\",\"b\",\"broker-a\","
	    "\"broker-b\",\"broker-c\",\"c\"]}");
	OK(rig_call(&r, 224, NULL, 0, "cluster", "Other", NULL));
	assert_string_equal(
	    r.body, "{\"topicList\":[\"TBW102\",\"broker-c\",\"c\"]}");
	OK(rig_call(&r, 224, NULL, 0, "cluster", "none", NULL));
	assert_string_equal(r.body, "{\"topicList\":[]}");
	OK(rig_call(&r, 304, NULL, 0, NULL));
	assert_string_equal(r.body,
	    "{\"brokerAddr\":\"10.0.0.1:10911\",\"topicList\":["
	    "\"DefaultCluster\",\"broker-a\",\"broker-b\",\"Other\","
	    "\"broker-c\"]}");
	OK(rig_call(&r, 901, NULL, 0, "clusterName", "Other", "brokerName",
	    "broker-c", NULL));
	assert_string_equal(r.body,
	    "{\"brokerMemberGroup\":{\"brokerAddrs\":{"
	    "\"0\":\"db.example.org:10911\"},\"brokerName\":\"broker-c\","
	    "\"cluster\":\"Other\"}}");
	OK(rig_call(&r, 901, NULL, 0, "clusterName", "Other", "brokerName",
	    "no\"ne", NULL));
	assert_string_equal(r.body,
	    "{\"brokerMemberGroup\":{\"brokerAddrs\":{},"
	    "\"brokerName\":\"no\\\"ne\",\"cluster\":\"Other\"}}");
	rig_close(&r);
}

static void
knows_unit_topics(void **state)
{
	static const char body[] =
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{"
	    "\"none\":{\"topicSysFlag\":0},\"unit\":{\"topicSysFlag\":1},"
	    "\"sub\":{\"topicSysFlag\":2},\"both\":{\"topicSysFlag\":3}}}}";
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_call(&r, 103, body, sizeof(body) - 1, "clusterName", "c",
	    "brokerName", "b", "brokerAddr", "10.0.0.1:1", "brokerId", "0",
	    NULL));
	OK(rig_call(&r, 311, NULL, 0, NULL));
	assert_string_equal(r.body, "{\"topicList\":[\"both\",\"unit\"]}");
	OK(rig_call(&r, 312, NULL, 0, NULL));
	assert_string_equal(r.body, "{\"topicList\":[\"both\",\"sub\"]}");
	OK(rig_call(&r, 313, NULL, 0, NULL));
	assert_string_equal(r.body, "{\"topicList\":[\"sub\"]}");
	/* What is not said has the defaults of a topic. */
	OK(rig_call(&r, 105, NULL, 0, "topic", "none", NULL));
	assert_non_null(
	    strstr(r.body, "\"perm\":6,\"readQueueNums\":16,\"topicSysFlag\":0,"
			   "\"writeQueueNums\":16}"));
	rig_close(&r);
}

/* --- registrations -------------------------------------------------------- */

static void
reads_packed_bodies_of_each_version(void **state)
{
	static const int32_t versions[] = {121, 317, 399, 413, 479};
	struct rig r;

	for (size_t i = 0; i < LT_COUNT(versions); i++) {
		rig_open(&r, NULL);
		r.version = versions[i];
		OK(rig_register_packed(&r, &A, "one two:4 broker-a"));
		has_counts(&r, 1, 3);
		assert_int_equal(perm_of(&r, "one", "broker-a"), 6);
		assert_int_equal(perm_of(&r, "two", "broker-a"), 4);
		rig_close(&r);
	}
}

static void
reads_bodies_that_are_no_json(void **state)
{
	/* Static topics have maps with number keys. */
	static const char body[] =
	    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{"
	    "\"topicConfigTable\":{\"T\":{\"perm\":6,\"topicName\":\"T\"},"
	    "\"U\":{\"attributes\":{\"+{,1:\":\"\\\"{2:\"}}},"
	    "\"topicQueueMappingDetailMap\":{\"T\":{\"hostedQueues\":"
	    "{0:[1,2],-12:[]}}}}}";
	/* Before 3.0.11 there was no wrapper. */
	static const char bare[] =
	    "{\"topicConfigTable\":{\"T\":{},\"old\":{}}}\n";
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_call(&r, 103, body, sizeof(body) - 1, "clusterName", "c",
	    "brokerName", "b", "brokerAddr", "10.0.0.1:1", "brokerId", "0",
	    NULL));
	has_counts(&r, 1, 2);
	r.version = 36;
	OK(rig_call(&r, 103, bare, sizeof(bare) - 1, "clusterName", "c",
	    "brokerName", "b2", "brokerAddr", "10.0.0.2:1", "brokerId", "0",
	    NULL));
	assert_true(has_route(&r, "old"));
	/* No body: a broker without topics. */
	OK(rig_call(&r, 103, NULL, 0, "clusterName", "c", "brokerName", "b3",
	    "brokerAddr", "10.0.0.3:1", "brokerId", "0", NULL));
	has_counts(&r, 3, 3);
	rig_close(&r);
}

static void
refuses_a_wrong_checksum(void **state)
{
	static const char body[] = "{}";
	static const char *const wrong[] = {"1", "-5", "x"};
	char right[16];
	struct rig r;

	rig_open(&r, NULL);
	snprintf(right, sizeof(right), "%u", lt_crc32(0, body, 2) & 0x7fffffff);
	for (size_t i = 0; i < LT_COUNT(wrong); i++) {
		assert_int_equal(
		    rig_call(&r, 103, body, 2, "clusterName", "c", "brokerName",
			"b", "brokerAddr", "10.0.0.1:1", "brokerId", "0",
			"bodyCrc32", wrong[i], NULL),
		    1);
		assert_string_equal(r.reply.remark, "crc32 not match");
	}
	has_counts(&r, 0, 0);
	OK(rig_call(&r, 103, body, 2, "clusterName", "c", "brokerName", "b",
	    "brokerAddr", "10.0.0.1:1", "brokerId", "0", "bodyCrc32", "0",
	    NULL));
	OK(rig_call(&r, 103, body, 2, "clusterName", "c", "brokerName", "b",
	    "brokerAddr", "10.0.0.1:1", "brokerId", "0", "bodyCrc32", right,
	    NULL));
	rig_close(&r);
}

static void
refuses_one_topic_of_an_unknown_broker(void **state)
{
	struct broker replica = A;
	struct rig r;

	replica.id = "1";
	replica.address = "10.0.0.9:1";
	rig_open(&r, NULL);
	assert_int_equal(rig_register(&r, &A, "T"), 1);
	assert_int_equal(rig_register_packed(&r, &A, "T"), 1);
	has_counts(&r, 0, 0);
	OK(rig_register(&r, &A, "T U"));
	OK(rig_register(&r, &A, "T"));
	assert_int_equal(rig_register(&r, &replica, "T"), 1);
	has_counts(&r, 1, 2);
	rig_close(&r);
}

static void
forgets_topics_that_a_full_list_lacks(void **state)
{
	struct broker a = A;
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_register(&r, &B, "kept broker-b"));
	OK(rig_register(&r, &a, "one two kept broker-a"));
	has_counts(&r, 2, 5);
	/* A short one: what changed. */
	a.counter++;
	OK(rig_register(&r, &a, "three"));
	assert_true(has_route(&r, "one") && has_route(&r, "three"));
	a.counter++;
	OK(rig_register_packed(&r, &a, "two SELF_TEST_TOPIC:4 broker-a"));
	assert_false(has_route(&r, "one"));
	assert_false(has_route(&r, "three"));
	assert_true(has_route(&r, "two"));
	assert_int_equal(perm_of(&r, "kept", "broker-a"), -1);
	assert_int_equal(perm_of(&r, "kept", "broker-b"), 6);
	has_counts(&r, 2, 5);
	/* A replica's list is not the truth. */
	struct broker replica = a;
	replica.id = "1";
	replica.address = "10.0.0.9:10911";
	OK(rig_register(&r, &replica, "broker-a SELF_TEST_TOPIC"));
	OK(rig_register(&r, &replica, "broker-a elsewhere"));
	assert_true(has_route(&r, "two"));
	assert_false(has_route(&r, "elsewhere"));
	rig_close(&r);
}

static void
keeps_a_wiped_permission_until_topics_change(void **state)
{
	struct broker a = A;
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_register(&r, &a, "one two:2 broker-a"));
	OK(rig_register(&r, &B, "one broker-b"));
	OK(rig_call(&r, 205, NULL, 0, "brokerName", "broker-a", NULL));
	assert_string_equal(rig_field(&r, "wipeTopicCount"), "3");
	assert_int_equal(perm_of(&r, "one", "broker-a"), 4);
	assert_int_equal(perm_of(&r, "two", "broker-a"), 0);
	assert_int_equal(perm_of(&r, "one", "broker-b"), 6);
	OK(rig_register(&r, &a, "one two:2 broker-a"));
	assert_int_equal(perm_of(&r, "one", "broker-a"), 4);
	OK(rig_call(&r, 327, NULL, 0, "brokerName", "broker-a", NULL));
	assert_string_equal(rig_field(&r, "addTopicCount"), "3");
	assert_int_equal(perm_of(&r, "two", "broker-a"), 6);
	OK(rig_call(&r, 205, NULL, 0, "brokerName", "broker-a", NULL));
	a.counter++;
	OK(rig_register(&r, &a, "one two:2 broker-a"));
	assert_int_equal(perm_of(&r, "one", "broker-a"), 6);
	assert_int_equal(perm_of(&r, "two", "broker-a"), 2);
	OK(rig_call(&r, 205, NULL, 0, "brokerName", "none", NULL));
	assert_string_equal(rig_field(&r, "wipeTopicCount"), "0");
	assert_int_equal(rig_call(&r, 205, NULL, 0, NULL), 1);
	rig_close(&r);
}

static void
tells_whether_a_version_is_known(void **state)
{
	static const char same[] = "{\"counter\":1,\"stateVersion\":0,"
				   "\"timestamp\":1700000000000}";
	static const char other[] = "{\"counter\":2,\"stateVersion\":0,"
				    "\"timestamp\":1700000000000}";
	struct rig r;

	rig_open(&r, NULL);
#define ASK(body, address)                                                     \
	rig_call(&r, 322, body, sizeof(body) - 1, "brokerName", "broker-a",    \
	    "brokerAddr", address, "clusterName", "DefaultCluster",            \
	    "brokerId", "0", NULL)
	OK(ASK(same, "10.0.0.1:10911"));
	assert_string_equal(rig_field(&r, "changed"), "true");
	assert_string_equal(r.body, "");
	OK(rig_register(&r, &A, "T broker-a"));
	OK(ASK(same, "10.0.0.1:10911"));
	assert_string_equal(rig_field(&r, "changed"), "false");
	assert_string_equal(r.body, same);
	OK(ASK(other, "10.0.0.1:10911"));
	assert_string_equal(rig_field(&r, "changed"), "true");
	assert_string_equal(r.body, same);
	OK(ASK(same, "10.0.0.7:10911"));
	assert_string_equal(rig_field(&r, "changed"), "true");
	assert_int_equal(ASK("{", "10.0.0.1:10911"), 1);
	rig_close(&r);
}

static void
seats_masters_and_replicas(void **state)
{
	struct broker one = A, two = A, c = C;
	struct rig r;

	rig_open(&r, NULL);
	/* A replica first: no master to name, and topics are the master's. */
	one.id = "1";
	one.address = "10.0.0.3:10911";
	OK(rig_register(&r, &one, "T U broker-a"));
	assert_null(rig_field(&r, "masterAddr"));
	has_counts(&r, 1, 0);
	OK(rig_register(&r, &A, "T U broker-a"));
	OK(rig_register(&r, &one, "T U broker-a"));
	assert_string_equal(rig_field(&r, "masterAddr"), "10.0.0.1:10911");
	/* Another id at the same address: the old seat is free. */
	one.id = "4";
	OK(rig_register(&r, &one, "T U broker-a"));
	has_counts(&r, 2, 3);
	OK(rig_call(&r, 901, NULL, 0, "clusterName", "DefaultCluster",
	    "brokerName", "broker-a", NULL));
	assert_non_null(strstr(
	    r.body, "{\"0\":\"10.0.0.1:10911\",\"4\":\"10.0.0.3:10911\"}"));
	/* The same id elsewhere takes the seat. */
	two.address = "10.0.0.8:10911";
	OK(rig_register(&r, &two, "T U broker-a"));
	has_counts(&r, 2, 3);
	assert_true(has_route(&r, "T"));
	assert_non_null(strstr(r.body, "\"0\":\"10.0.0.8:10911\""));
	/* A name belongs to one cluster, unless the broker itself moves. */
	c.name = "broker-a";
	assert_int_equal(rig_register(&r, &c, "T U"), 1);
	OK(rig_register(&r, &C, "T broker-c"));
	c = C;
	c.cluster = "Moved";
	OK(rig_register(&r, &c, "T broker-c"));
	OK(rig_call(&r, 224, NULL, 0, "cluster", "Moved", NULL));
	assert_string_equal(r.body, "{\"topicList\":[\"T\",\"broker-c\"]}");
	rig_close(&r);
}

static void
lets_the_first_replica_act_for_readers(void **state)
{
	struct broker master = A, replica = A;
	struct rig r;

	rig_open(&r, NULL);
	master.acting = replica.acting = "true";
	replica.id = "1";
	replica.address = "10.0.0.3:10911";
	OK(rig_register(&r, &master, "T broker-a"));
	OK(rig_register(&r, &replica, "T broker-a"));
	assert_int_equal(perm_of(&r, "T", "broker-a"), 6);
	assert_non_null(strstr(r.body, "\"enableActingMaster\":true"));
	OK(rig_call(&r, 104, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", "brokerId", "0",
	    NULL));
	assert_int_equal(r.reply.left, 1);
	assert_int_equal(perm_of(&r, "T", "broker-a"), 4);
	replica.counter++;
	OK(rig_register(&r, &replica, "new broker-a"));
	assert_int_equal(perm_of(&r, "new", "broker-a"), 4);
	assert_int_equal(perm_of(&r, "T", "broker-a"), 4); /* it may lag */
	OK(rig_register(&r, &master, "T broker-a"));
	assert_int_equal(perm_of(&r, "T", "broker-a"), 6);
	/* Brokers that do not say so wait for their master. */
	OK(rig_call(&r, 104, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.3:10911", NULL));
	replica.acting = NULL;
	OK(rig_register(&r, &replica, "late broker-a"));
	assert_false(has_route(&r, "late"));
	rig_close(&r);
}

static void
judges_addresses(void **state)
{
	static const char *const good[] = {"10.0.0.1:10911", "h:1",
	    "a-b.c_d.org:65535", "127.0.0.1:80", "223.255.255.255:9",
	    "1a.2b:3"};
	static const char *const bad[] = {"", ":", ":1", "h", "h:", "h:0",
	    "h:65536", "h:1,", "h,g:1", "h:1:2", "[::1]:1", "::1", "*:1",
	    "0.0.0.0:1", "0.1.2.3:1", "224.0.0.1:1", "255.255.255.255:1",
	    "1.2.3:1", "1.2.3.4.5:1", "1.2.3.256:1", "1.2.3.0004:1", "a..b:1",
	    ".a:1", "a.:1", "-a:1", "a-:1", "a.-b:1", "a.5:1", "h h:1", "h:1 ",
	    "h:+1", "h:000001", "ä:1"};
	struct broker b = A;
	struct rig r;

	rig_open(&r, NULL);
	for (size_t i = 0; i < LT_COUNT(good); i++) {
		b.address = good[i];
		assert_int_equal(rig_register(&r, &b, "T broker-a"), 0);
	}
	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		b = A;
		b.address = bad[i];
		assert_int_equal(rig_register(&r, &b, "T broker-a"), 1);
		b = A;
		b.ha = bad[i];
		assert_int_equal(rig_register(&r, &b, "T broker-a"),
		    bad[i][0] == '\0' ? 0 : 1);
	}
	rig_close(&r);
}

/* --- and going ------------------------------------------------------------ */

static void
expires_who_is_silent(void **state)
{
	struct broker quick = B, a = A;
	struct lt_buffer gone;
	struct rig r;

	rig_open(&r, NULL);
	lt_buffer_init(&gone, 1000);
	quick.timeout_ms = "30000";
	OK(rig_register(&r, &A, "T broker-a"));
	OK(rig_register(&r, &quick, "T broker-b"));
	OK(rig_register(&r, &C, "T broker-c"));
	uint64_t start = r.now_ms;
	assert_int_equal(lt_names_scan(r.names, start + 30000, &gone), 0);
	/* Only each ten seconds it looks. */
	assert_int_equal(lt_names_scan(r.names, start + 39999, &gone), 0);
	assert_int_equal(lt_names_scan(r.names, start + 40000, &gone), 1);
	assert_int_equal(gone.bytes, strlen("broker-b 0 10.0.0.2:10911\n"));
	assert_memory_equal(gone.p, "broker-b 0 10.0.0.2:10911\n", gone.bytes);
	has_counts(&r, 2, 3);
	assert_int_equal(perm_of(&r, "T", "broker-b"), -1);
	/* Signs of life: a heartbeat, a question about the version. */
	r.now_ms = start + 100000;
	OK(rig_call(&r, 904, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", NULL));
	OK(rig_call(&r, 904, NULL, 0, "brokerName", "none", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", NULL));
	assert_int_equal(lt_names_scan(r.names, start + 120000, NULL), 0);
	assert_int_equal(lt_names_scan(r.names, start + 130001, NULL), 1);
	has_counts(&r, 1, 2);
	r.now_ms = start + 200000;
	OK(rig_call(&r, 322, "{}", 2, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", NULL));
	assert_int_equal(lt_names_scan(r.names, start + 320000, NULL), 0);
	r.now_ms = start + 320000;
	OK(rig_register(&r, &a, "T broker-a"));
	assert_int_equal(lt_names_scan(r.names, start + 440000, NULL), 0);
	assert_int_equal(lt_names_scan(r.names, start + 450000, NULL), 1);
	has_counts(&r, 0, 0);
	lt_buffer_fini(&gone);
	rig_close(&r);
}

static void
goes_with_its_connection(void **state)
{
	struct broker replica = A;
	struct rig r;

	rig_open(&r, NULL);
	replica.id = "1";
	replica.address = "10.0.0.3:10911";
	r.conn = 11;
	OK(rig_register(&r, &A, "T broker-a"));
	OK(rig_register(&r, &C, "T broker-c"));
	r.conn = 12;
	OK(rig_register(&r, &replica, "T broker-a"));
	assert_int_equal(lt_names_closed(r.names, 99, NULL), 0);
	/* broker-c came back on another connection before the old one went;
	 * a heartbeat does not move a broker. */
	OK(rig_register(&r, &C, "T broker-c"));
	OK(rig_call(&r, 904, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", NULL));
	assert_int_equal(lt_names_closed(r.names, 11, NULL), 1);
	has_counts(&r, 2, 3);
	assert_int_equal(perm_of(&r, "T", "broker-a"), 6);
	assert_non_null(strstr(r.body, "{\"1\":\"10.0.0.3:10911\"}"));
	assert_int_equal(lt_names_closed(r.names, 12, NULL), 2);
	has_counts(&r, 0, 0);
	OK(rig_call(&r, 106, NULL, 0, NULL));
	assert_string_equal(
	    r.body, "{\"brokerAddrTable\":{},\"clusterAddrTable\":{}}");
	rig_close(&r);
}

static void
unregisters(void **state)
{
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_register(&r, &A, "T broker-a"));
	OK(rig_register(&r, &B, "T broker-b"));
	OK(rig_call(&r, 104, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.2:10911", "clusterName", "DefaultCluster", "brokerId", "0",
	    NULL));
	assert_int_equal(r.reply.left, 0);
	has_counts(&r, 2, 3);
	OK(rig_call(&r, 104, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", "brokerId", "0",
	    NULL));
	assert_int_equal(r.reply.left, 1);
	has_counts(&r, 1, 2);
	assert_int_equal(rig_call(&r, 104, NULL, 0, NULL), 1);
	rig_close(&r);
}

/* --- topics, keys, configuration ------------------------------------------ */

static void
sets_and_deletes_single_topics(void **state)
{
	static const char body[] =
	    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"10.0.0.1:10911\"}}],"
	    "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":4,"
	    "\"readQueueNums\":2,\"topicSysFlag\":0,\"writeQueueNums\":1},"
	    "{\"brokerName\":\"broker-c\"}]}";
	static const char unknown[] =
	    "{\"queueDatas\":[{\"brokerName\":\"broker-a\"},"
	    "{\"brokerName\":\"none\"}]}";
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_register(&r, &A, "T broker-a"));
	OK(rig_register(&r, &C, "T broker-c"));
	OK(rig_call(&r, 217, body, sizeof(body) - 1, "topic", "new", NULL));
	OK(rig_call(&r, 105, NULL, 0, "topic", "new", NULL));
	assert_non_null(strstr(r.body,
	    "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":4,"
	    "\"readQueueNums\":2,\"topicSysFlag\":0,\"writeQueueNums\":1},"
	    "{\"brokerName\":\"broker-c\",\"perm\":6,\"readQueueNums\":16,"
	    "\"topicSysFlag\":0,\"writeQueueNums\":16}]}"));
	/* All of it or nothing. */
	assert_int_equal(rig_call(&r, 217, unknown, sizeof(unknown) - 1,
			     "topic", "newer", NULL),
	    1);
	assert_false(has_route(&r, "newer"));
	assert_int_equal(rig_call(&r, 217, "[]", 2, "topic", "x", NULL), 1);
	assert_int_equal(
	    rig_call(&r, 217, body, sizeof(body) - 1, "topic", "a b", NULL), 1);
	OK(rig_call(&r, 217, "{}", 2, "topic", "x", NULL));
	assert_false(has_route(&r, "x"));

	OK(rig_call(
	    &r, 216, NULL, 0, "topic", "T", "clusterName", "Other", NULL));
	assert_int_equal(perm_of(&r, "T", "broker-c"), -1);
	assert_int_equal(perm_of(&r, "T", "broker-a"), 6);
	OK(rig_call(&r, 216, NULL, 0, "topic", "new", NULL));
	assert_false(has_route(&r, "new"));
	OK(rig_call(&r, 216, NULL, 0, "topic", "none", NULL));
	OK(rig_call(&r, 216, NULL, 0, "topic", "T", "clusterName",
	    "DefaultCluster", NULL));
	assert_false(has_route(&r, "T"));
	/* Who has it says so again. */
	OK(rig_register(&r, &A, "T broker-a"));
	assert_true(has_route(&r, "T"));
	rig_close(&r);
}

static void
keeps_keys(void **state)
{
	struct lt_names_counts before, after;
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_call(&r, 100, NULL, 0, "namespace", "n", "key", "b", "value",
	    "x:\"1\"", NULL));
	lt_names_count(r.names, &before);
	OK(rig_call(
	    &r, 100, NULL, 0, "namespace", "n", "key", "a", "value", "", NULL));
	OK(rig_call(&r, 100, NULL, 0, "namespace", "n", "key", "a", "value",
	    "2", NULL));
	OK(rig_call(&r, 101, NULL, 0, "namespace", "n", "key", "b", NULL));
	assert_string_equal(rig_field(&r, "value"), "x:\"1\"");
	OK(rig_call(&r, 219, NULL, 0, "namespace", "n", NULL));
	assert_string_equal(
	    r.body, "{\"table\":{\"a\":\"2\",\"b\":\"x:\\\"1\\\"\"}}");
	assert_int_equal(
	    rig_call(&r, 101, NULL, 0, "namespace", "n", "key", "c", NULL), 22);
	assert_string_equal(
	    r.reply.remark, "No config item, Namespace: n Key: c");
	assert_int_equal(
	    rig_call(&r, 101, NULL, 0, "namespace", "m", "key", "b", NULL), 22);
	assert_int_equal(
	    rig_call(&r, 219, NULL, 0, "namespace", "m", NULL), 22);
	OK(rig_call(&r, 102, NULL, 0, "namespace", "n", "key", "a", NULL));
	OK(rig_call(&r, 102, NULL, 0, "namespace", "n", "key", "a", NULL));
	lt_names_count(r.names, &after);
	assert_int_equal(before.bytes, after.bytes);
	OK(rig_call(&r, 102, NULL, 0, "namespace", "n", "key", "b", NULL));
	/* Empty, but there. */
	lt_names_count(r.names, &after);
	assert_true(after.bytes > 0 && after.bytes < before.bytes);
	OK(rig_call(&r, 219, NULL, 0, "namespace", "n", NULL));
	assert_string_equal(r.body, "{\"table\":{}}");
	assert_int_equal(rig_call(&r, 100, NULL, 0, "key", "b", NULL), 1);
	assert_int_equal(
	    rig_call(&r, 100, NULL, 0, "namespace", "n", "key", "b", NULL), 1);
	assert_int_equal(rig_call(&r, 100, NULL, 0, "namespace", "n", "key",
			     "a\tb", "value", "1", NULL),
	    1);
	OK(rig_call(&r, 100, NULL, 0, "namespace", "n", "key", "a", "value",
	    "1", NULL));
	rig_close(&r); /* with a key left */
}

static void
adds_the_order_of_a_topic_when_told_to(void **state)
{
	static const char all[] = "orderMessageEnable=false\n"
				  "returnOrderTopicConfigToBroker=true\n"
				  "deleteTopicWithBrokerRegistration=true\n"
				  "supportActingMaster=false\n"
				  "scanNotActiveBrokerInterval=10000\n";
	static const char set[] = "#comment\n\n orderMessageEnable=true\r\n";
	struct rig r;

	rig_open(&r, NULL);
	OK(rig_call(&r, 100, NULL, 0, "namespace", "ORDER_TOPIC_CONFIG", "key",
	    "T", "value", "broker-a:4", NULL));
	OK(rig_register(&r, &A, "T broker-a"));
	assert_string_equal(r.body, "{\"table\":{\"T\":\"broker-a:4\"}}");
	assert_true(has_route(&r, "T"));
	assert_null(strstr(r.body, "orderTopicConf"));
	OK(rig_call(&r, 319, NULL, 0, NULL));
	assert_string_equal(r.body, all);
	OK(rig_call(&r, 318, NULL, 0, NULL));
	OK(rig_call(&r, 318, set, sizeof(set) - 1, NULL));
	assert_true(has_route(&r, "T"));
	assert_non_null(strstr(r.body,
	    "\"filterServerTable\":{},\"orderTopicConf\":\"broker-a:4\","
	    "\"queueDatas\":["));
	OK(rig_call(&r, 319, NULL, 0, NULL));
	assert_non_null(strstr(r.body, "orderMessageEnable=true\n"));
	assert_int_equal(
	    rig_call(&r, 318, "kvConfigPath=/etc/x", 19, NULL), 16);
	assert_int_equal(
	    rig_call(&r, 318, "orderMessageEnable=false\nx=1", 28, NULL), 16);
	OK(rig_call(&r, 319, NULL, 0, NULL));
	assert_non_null(strstr(r.body, "orderMessageEnable=true\n"));
	OK(rig_call(&r, 318, "orderMessageEnable=false", 24, NULL));
	OK(rig_call(&r, 319, NULL, 0, NULL));
	assert_string_equal(r.body, all);
	rig_close(&r);
}

/* --- bounds and damage ---------------------------------------------------- */

static void
refuses_beyond_its_bounds(void **state)
{
	const struct lt_names_limits few = {
	    .brokers_max = 2, .topics_max = 5, .body_max = 600};
	const struct lt_names_limits small = {.bytes_max = 8000};
	static char big[4001];
	struct broker a = A;
	struct rig r;

	rig_open(&r, &few);
	OK(rig_register(&r, &A, "1 2 broker-a"));
	OK(rig_register(&r, &C, "1 broker-c"));
	assert_int_equal(rig_register(&r, &B, "1 broker-b"), 1);
	assert_string_equal(r.reply.remark, "too many brokers");
	a.counter++;
	assert_int_equal(rig_register(&r, &a, "4 5 broker-a"), 1);
	assert_string_equal(r.reply.remark, "too many topics");
	assert_int_equal(rig_register(&r, &a, "1 2 3 4 5 6"), 1);
	assert_string_equal(r.reply.remark, "too many topics");
	assert_int_equal(rig_register_packed(&r, &a, "1 2 3 4 5 6"), 1);
	assert_string_equal(r.reply.remark, "too many topics");
	has_counts(&r, 2, 4);
	OK(rig_register(&r, &a, "3 broker-a 1 2"));
	has_counts(&r, 2, 5);
	/* A stream that would become more than is allowed. */
	memset(big, ' ', sizeof(big) - 1);
	for (int i = 0; i < 4; i++)
		memcpy(big + i * 1000, "T:6", 3);
	struct lt_buffer bomb;
	lt_buffer_init(&bomb, 4096);
	assert_int_equal(lt_deflate_pack(big, sizeof(big), 9, &bomb), LEAT_OK);
	assert_true(bomb.bytes < 100);
	assert_int_equal(rig_call(&r, 103, bomb.p, bomb.bytes, "clusterName",
			     "c", "brokerName", "b", "brokerAddr", "10.0.0.1:1",
			     "brokerId", "0", "compressed", "true", NULL),
	    1);
	assert_string_equal(r.reply.remark, "the inflated body is too big");
	lt_buffer_fini(&bomb);
	rig_close(&r);

	rig_open(&r, &small);
	OK(rig_register(&r, &A, "1 2 broker-a"));
	memset(big, 'v', sizeof(big) - 1);
	OK(rig_call(&r, 100, NULL, 0, "namespace", "n", "key", "k", "value",
	    big, NULL));
	assert_int_equal(rig_call(&r, 100, NULL, 0, "namespace", "m", "key",
			     "k", "value", big, NULL),
	    1);
	assert_string_equal(
	    r.reply.remark, "the name server's tables are full");
	assert_int_equal(rig_register(&r, &C, "1 2 3 4 5 6 7 8 9 a b c"), 1);
	has_counts(&r, 1, 3);
	OK(rig_call(&r, 102, NULL, 0, "namespace", "n", "key", "k", NULL));
	OK(rig_register(&r, &C, "1 2 3 4 5 6 7 8 9 a b c"));
	rig_close(&r);
}

static void
refuses_what_is_malformed(void **state)
{
	static const char *const bodies[] = {"[]", "7", "{", "{\"a\":}",
	    "{\"topicConfigSerializeWrapper\":[]}",
	    "{\"topicConfigSerializeWrapper\":{\"dataVersion\":[]}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":[]}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":[1]}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"T\":1,"
	    "\"U\":{}}}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"T\":"
	    "{\"perm\":16},\"U\":{}}}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"T\":"
	    "{\"readQueueNums\":-1},\"U\":{}}}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"T\":"
	    "{\"writeQueueNums\":65537},\"U\":{}}}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"\":{},"
	    "\"U\":{}}}}",
	    "{\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"a b\":"
	    "{},\"U\":{}}}}"};
	static const char *const ids[] = {NULL, "", "x", "-1"};
	struct rig r;

	rig_open(&r, NULL);
	for (size_t i = 0; i < LT_COUNT(bodies); i++)
		assert_int_equal(
		    rig_call(&r, 103, bodies[i], strlen(bodies[i]),
			"clusterName", "c", "brokerName", "b", "brokerAddr",
			"10.0.0.1:1", "brokerId", "0", NULL),
		    1);
	for (size_t i = 0; i < LT_COUNT(ids); i++)
		assert_int_equal(rig_call(&r, 103, NULL, 0, "clusterName", "c",
				     "brokerName", "b", "brokerAddr",
				     "10.0.0.1:1", "brokerId", ids[i], NULL),
		    1);
	struct broker b = A;
	b.timeout_ms = "-1";
	assert_int_equal(rig_register(&r, &b, "T U"), 1);
	b = A;
	b.cluster = NULL;
	assert_int_equal(rig_register(&r, &b, "T U"), 1);
	b = A;
	b.name = "with space";
	assert_int_equal(rig_register(&r, &b, "T U"), 1);
	has_counts(&r, 0, 0);
	rig_close(&r);
}

/* A whole body is taken; cut anywhere, and flipped anywhere, it is refused or
 * read within its bytes (sanitizers look), and changes all or nothing. */
static void
survives_damaged_bodies(void **state)
{
	struct lt_buffer bodies[2], inflated;
	struct rig r;

	for (int packed = 0; packed < 2; packed++) {
		struct lt_buffer *body = &bodies[packed];
		lt_buffer_init(body, 10000);
		if (packed)
			rig_packed_body(&A, "one two broker-a", 479, body);
		else
			rig_plain_body(&A, "one two broker-a", body);
		for (size_t n = 1; n < body->bytes; n++) {
			rig_open(&r, NULL);
			assert_int_equal(
			    rig_call(&r, 103, body->p, n, "clusterName", "c",
				"brokerName", "b", "brokerAddr", "10.0.0.1:1",
				"brokerId", "0", "compressed",
				packed ? "true" : "false", NULL),
			    1);
			has_counts(&r, 0, 0);
			rig_close(&r);
		}
	}
	/* What is in the stream, cut and flipped before it is packed. */
	lt_buffer_init(&inflated, 10000);
	assert_int_equal(
	    lt_deflate_unpack(bodies[1].p, bodies[1].bytes, &inflated),
	    LEAT_OK);
	size_t whole = inflated.bytes;
	lt_buffer_text(&inflated, "X");
	for (size_t i = 0; i < whole * 9; i++) {
		struct lt_buffer again;
		size_t n = whole;
		size_t at = i % n, bit = i / n; /* bit 8: cut there */

		lt_buffer_init(&again, 10000);
		if (bit < 8)
			inflated.p[at] ^= (uint8_t)(1u << bit);
		else
			n = at == 0 ? whole + 1 : at; /* or one too many */
		assert_int_equal(
		    lt_deflate_pack(inflated.p, n, 1, &again), LEAT_OK);
		rig_open(&r, NULL);
		int code = rig_call(&r, 103, again.p, again.bytes,
		    "clusterName", "c", "brokerName", "b", "brokerAddr",
		    "10.0.0.1:1", "brokerId", "0", "compressed", "true", NULL);
		assert_true(code == 1 || bit < 8);
		if (code == 1)
			has_counts(&r, 0, 0);
		rig_close(&r);
		lt_buffer_fini(&again);
		if (bit < 8)
			inflated.p[at] ^= (uint8_t)(1u << bit);
	}
	lt_buffer_fini(&inflated);
	lt_buffer_fini(&bodies[0]);
	lt_buffer_fini(&bodies[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_routes_byte_for_byte),
	    cmocka_unit_test(answers_lists_byte_for_byte),
	    cmocka_unit_test(knows_unit_topics),
	    cmocka_unit_test(reads_packed_bodies_of_each_version),
	    cmocka_unit_test(reads_bodies_that_are_no_json),
	    cmocka_unit_test(refuses_a_wrong_checksum),
	    cmocka_unit_test(refuses_one_topic_of_an_unknown_broker),
	    cmocka_unit_test(forgets_topics_that_a_full_list_lacks),
	    cmocka_unit_test(keeps_a_wiped_permission_until_topics_change),
	    cmocka_unit_test(tells_whether_a_version_is_known),
	    cmocka_unit_test(seats_masters_and_replicas),
	    cmocka_unit_test(lets_the_first_replica_act_for_readers),
	    cmocka_unit_test(judges_addresses),
	    cmocka_unit_test(expires_who_is_silent),
	    cmocka_unit_test(goes_with_its_connection),
	    cmocka_unit_test(unregisters),
	    cmocka_unit_test(sets_and_deletes_single_topics),
	    cmocka_unit_test(keeps_keys),
	    cmocka_unit_test(adds_the_order_of_a_topic_when_told_to),
	    cmocka_unit_test(refuses_beyond_its_bounds),
	    cmocka_unit_test(refuses_what_is_malformed),
	    cmocka_unit_test(survives_damaged_bodies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
