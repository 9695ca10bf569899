/*
 * back_test.c - messages that come later: sent with a delay level, sent back by
 * a consumer, and those for which it is too often. A real broker with short
 * levels.
 */
#include "config.h"
#include "workerrig.h"

#include <signal.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "hub/heartbeat.h"
#include "proto/record.h"

#define LEVELS "150ms 300ms 40ms 50ms 60ms 70ms"

/* --- what clients say ----------------------------------------------------- */

static int32_t
send_with(const char *topic, const char *properties, const char *reconsume,
    const char *max, const char *body, struct reply *r)
{
	return call(310,
	    FIELDS({"a", "pg"}, {"b", topic}, {"c", "TBW102"}, {"d", "1"},
		{"e", "0"}, {"f", "0"}, {"g", "1700000000123"}, {"h", "7"},
		{"i", properties}, {"j", reconsume}, {"l", max}),
	    body, r);
}

static int32_t
send_back(int64_t offset, const char *level, const char *max, struct reply *r)
{
	char at[24];

	snprintf(at, sizeof at, "%lld", (long long)offset);
	return call(36,
	    FIELDS({"group", "g"}, {"offset", at}, {"delayLevel", level},
		{"originMsgId", "x"}, {"originTopic", "t"},
		{"unitMode", "false"}, {"maxReconsumeTimes", max}),
	    NULL, r);
}

/* The message at that offset of queue 0, as soon as it is there. */
static void
expect(const char *topic, int64_t offset, struct lt_record_view *v)
{
	static struct reply r;
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;
	char at[24];

	snprintf(at, sizeof at, "%lld", (long long)offset);
	do {
		assert_true(lt_clock_mono_ms() < until);
		await(pull(topic, at, "*", "1000"), &r);
	} while (r.h.code != LT_CODE_SUCCESS);
	OK(lt_record_parse(r.f.body, r.f.body_bytes, v));
	OK(lt_record_check(v));
	assert_int_equal(v->queue_offset, offset);
}

static void
expect_none(const char *topic, int64_t offset)
{
	struct reply r;
	char at[24];

	snprintf(at, sizeof at, "%lld", (long long)offset);
	await(pull(topic, at, "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_NOT_FOUND);
}

static void
check_text(const struct lt_record_view *v, const char *name, const char *want)
{
	const char *p;
	size_t n;

	if (want == NULL) {
		assert_int_equal(
		    lt_record_property(v, name, strlen(name), &p, &n),
		    LEAT_E_NOTFOUND);
		return;
	}
	OK(lt_record_property(v, name, strlen(name), &p, &n));
	assert_int_equal(n, strlen(want));
	assert_memory_equal(p, want, n);
}

static void
check_body(const struct lt_record_view *v, const char *want)
{
	assert_int_equal(v->body_bytes, strlen(want));
	assert_memory_equal(v->body, want, v->body_bytes);
}

/* --- tests ---------------------------------------------------------------- */

static void
test_delayed(void **state)
{
	static const char props[] =
	    "UNIQ_KEY\001made\002TAGS\001red\002DELAY\0012\002REAL_TOPIC\001"
	    "lie\002TIMER_DELAY_MS\0019\002WAIT\001true\002";
	struct lt_record_view v;
	struct reply r;
	uint64_t sent;

	sent = lt_clock_mono_ms();
	assert_int_equal(send_with("late", props, "0", "16", "hello", &r), 0);
	assert_int_equal(number(&r, "queueId"), 0);
	assert_int_equal(number(&r, "queueOffset"), 0);
	expect_none("late", 0);
	expect("late", 0, &v);
	assert_true(lt_clock_mono_ms() - sent >= 300);
	check_body(&v, "hello");
	assert_int_equal(v.flag, 7);
	assert_int_equal(v.born_ms, 1700000000123);
	assert_int_equal(lt_bytes_get32(v.base + 48), 0x7f000001);
	check_text(&v, "UNIQ_KEY", "made");
	check_text(&v, "TAGS", "red");
	check_text(&v, "DELAY", "2");
	check_text(&v, "REAL_TOPIC", "late");
	check_text(&v, "REAL_QID", "0");
	check_text(&v, "TIMER_DELAY_MS", NULL);
	check_text(&v, "WAIT", "true");
	/* Prompt ones pass it; each level has its own queue; too large a level
	 * is the last one. */
	assert_int_equal(
	    send_with("late", "DELAY\00199\002", "0", "16", "last", &r), 0);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_int_equal(
	    send_with("late", "DELAY\0010\002", "0", "16", "now", &r), 0);
	assert_int_equal(number(&r, "queueOffset"), 1);
	expect("late", 1, &v);
	check_body(&v, "now");
	expect("late", 2, &v);
	check_body(&v, "last");
	check_text(&v, "DELAY", "18");
	expect_none("late", 3);
}

static void
test_nobody_else_sends_there(void **state)
{
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct reply r;

	assert_int_equal(
	    send_with("t", "DELAY\0013\002", "0", "16", "x", &r), 0);
	assert_int_equal(
	    send_with("SCHEDULE_TOPIC_XX"
		      "XX",
		"REAL_TOPIC\001t\002REAL_QID\0010\002", "0", "16", "x", &r),
	    LT_CODE_NO_PERMISSION);
	m.topic = "SCHEDULE_TOPIC_XX"
		  "XX";
	m.body = "x";
	m.body_bytes = 1;
	assert_int_equal(
	    leat_publish(it.local, &m, PATIENCE_MS, NULL), LEAT_E_PERM);
}

/* Three times again, each later than the one before, then never. */
static void
test_back_thrice(void **state)
{
	static const char *const levels[] = {"3", "4", "5"};
	struct lt_record_view v;
	struct leat_topic t;
	struct reply r;
	char id[33];
	const char *p;
	size_t n;

	assert_int_equal(send_with("t",
			     "UNIQ_KEY\001THEIRS\002KEYS\001k1\002"
			     "REPLY_TO_CLIENT\001c\002",
			     "0", "16", "hello", &r),
	    0);
	memcpy(id, lt_remoting_find(&r.h, "msgId").p, 32);
	id[32] = '\0';
	expect("t", 0, &v);
	for (int64_t i = 0; i < 3; i++) {
		assert_int_equal(send_back(v.log_offset, "0", "3", &r), 0);
		expect("%RETRY%g", i, &v);
		check_body(&v, "hello");
		assert_int_equal(v.reconsume, i + 1);
		assert_int_equal(v.flag, 7);
		assert_int_equal(v.born_ms, 1700000000123);
		check_text(&v, "DELAY", levels[i]);
		check_text(&v, "REAL_TOPIC", "%RETRY%g");
		check_text(&v, "REAL_QID", "0");
		check_text(&v, "RETRY_TOPIC", "t");
		check_text(&v, "ORIGIN_MESSAGE_ID", id);
		check_text(&v, "UNIQ_KEY", "THEIRS");
		check_text(&v, "KEYS", "k1");
		check_text(&v, "WAIT", "false");
		check_text(
		    &v, "CLUSTER", "leat"); /* it can still be answered */
	}
	assert_int_equal(send_back(v.log_offset, "0", "3", &r), 0);
	expect("%DLQ%g", 0, &v);
	check_body(&v, "hello");
	assert_int_equal(v.reconsume, 4);
	check_text(&v, "DELAY", "0");
	check_text(&v, "RETRY_TOPIC", "t");
	check_text(&v, "ORIGIN_MESSAGE_ID", id);
	OK(leat_topic_describe(it.local, "%DLQ%g", &t));
	assert_int_equal(t.read_queues, 1);
	assert_int_equal(t.perm, LEAT_PERM_BOTH);
	OK(leat_topic_describe(it.local, "%RETRY%g", &t));
	assert_int_equal(t.read_queues, 1);
	assert_int_equal(t.perm, LEAT_PERM_BOTH);
	expect_none("%RETRY%g", 3);
	expect_none("%DLQ%g", 1);
	expect("t", 0, &v);
	/* At once; and one without an id of its client's. */
	assert_int_equal(send_back(v.log_offset, "-1", "16", &r), 0);
	expect("%DLQ%g", 1, &v);
	assert_int_equal(v.reconsume, 1);
	check_text(&v, "REAL_TOPIC", NULL);
	assert_int_equal(send_with("t", "A\001b\002", "0", "16", "y", &r), 0);
	expect("t", 1, &v);
	OK(lt_record_property(&v, "UNIQ_KEY", 8, &p, &n));
	memcpy(id, p, 32);
	assert_int_equal(send_back(v.log_offset, "1", "16", &r), 0);
	expect("%RETRY%g", 3, &v);
	check_body(&v, "y");
	check_text(&v, "UNIQ_KEY", id);
	check_text(&v, "DELAY", "1");
}

static void
test_back_refused(void **state)
{
	static const char *const offsets[] = {
	    "-1", "7", "99999999999", "9223372036854775807"};
	struct lt_record_view v;
	struct reply r;

	assert_int_equal(send_with("t", "A\001b\002", "0", "16", "x", &r), 0);
	expect("t", 0, &v);
	for (size_t i = 0; i < LT_COUNT(offsets); i++)
		assert_int_equal(
		    call(36,
			FIELDS({"group", "g"}, {"offset", offsets[i]},
			    {"delayLevel", "0"}),
			NULL, &r),
		    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(
	    call(36, FIELDS({"group", "g"}, {"delayLevel", "0"}), NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(36,
			     FIELDS({"group", "no good"}, {"offset", "0"},
				 {"delayLevel", "0"}),
			     NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	/* The broker's own records are nobody's messages. */
	assert_int_equal(
	    call(36,
		FIELDS({"group", "g"}, {"offset", "0"}, {"delayLevel", "0"}),
		NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	assert_int_equal(send_back(v.log_offset, "0", "16", &r), 0);
}

/* What a client does itself if sending back has failed. */
static void
test_sent_to_retry(void **state)
{
	static const char props[] =
	    "RETRY_TOPIC\001t\002DELAY\0013\002UNIQ_KEY\001id\002";
	static const char locks[] =
	    "{\"consumerGroup\":\"g\",\"clientId\":\"c1\",\"mqSet\":[{\"topic\""
	    ":\"t\",\"brokerName\":\"leat\",\"queueId\":0}]}";
	struct lt_record_view v;
	struct reply r;

	assert_int_equal(send_with("%RETRY%g", props, "3", "3", "1", &r), 0);
	expect("%RETRY%g", 0, &v);
	check_body(&v, "1");
	assert_int_equal(v.reconsume, 3);
	check_text(&v, "DELAY", "3");
	check_text(&v, "REAL_TOPIC", "%RETRY%g");
	assert_int_equal(send_with("%RETRY%g", props, "4", "3", "2", &r), 0);
	expect("%DLQ%g", 0, &v);
	check_body(&v, "2");
	assert_int_equal(v.reconsume, 4);
	check_text(&v, "DELAY", "0");
	check_text(&v, "REAL_TOPIC", NULL);
	/* A group that consumes in order would wait for it. */
	assert_int_equal(call(41, NONE, locks, &r), 0);
	assert_int_equal(send_with("%RETRY%g", props, "1", "16", "3", &r), 0);
	expect("%DLQ%g", 1, &v);
	check_body(&v, "3");
	assert_int_equal(call(42, NONE, locks, &r), 0);
	assert_int_equal(send_with("%RETRY%g", props, "1", "16", "4", &r), 0);
	expect("%RETRY%g", 1, &v);
	check_body(&v, "4");
	/* Of a group that nobody knows. */
	assert_int_equal(
	    send_with("%RETRY%nobody", "A\001b\002", "0", "16", "x", &r), 0);
	expect("%RETRY%nobody", 0, &v);
}

/* Each once and in order, whoever is killed while they are delivered. */
static void
test_killed(void **state)
{
	static const char *const victims[] = {
	    "leat-queue", "leat-store", "leat-queue", "leat-store"};
	enum {
		COUNT = 2000
	};
	struct lt_record_view v;
	struct reply r;
	int64_t seen = 0;
	size_t kills = 0;

	assert_int_equal(send_with("t", "A\001b\002", "0", "16", "0", &r), 0);
	for (int i = 1; i <= COUNT; i++) {
		char body[12];

		snprintf(body, sizeof body, "%d", i);
		(void)ask(310,
		    FIELDS({"a", "pg"}, {"b", "t"}, {"c", "TBW102"}, {"d", "1"},
			{"e", "0"}, {"f", "0"}, {"g", "1"}, {"h", "0"},
			{"i", "DELAY\0012\002WAIT\001false\002"}, {"j", "0"}),
		    body, strlen(body));
		await(it.opaque, &r);
		assert_int_equal(r.h.code, 0);
		if (i % (COUNT / 5) == 0 && kills < LT_COUNT(victims)) {
			pid_t pid = rig_child(victims[kills++]);

			assert_true(pid > 0);
			assert_int_equal(kill(pid, SIGKILL), 0);
		}
	}
	for (; seen <= COUNT; seen++) {
		char body[12];

		snprintf(body, sizeof body, "%d", (int)seen);
		expect("t", seen, &v);
		check_body(&v, body);
	}
	expect_none("t", seen);
	print_message("%d messages, %zu kills\n", COUNT, kills);
}

static int
setup(void **state)
{
	rig_settings = "[queue]\ndelay_levels = " LEVELS "\n";
	return rig_setup(state);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_delayed),
	    T(test_nobody_else_sends_there),
	    T(test_back_thrice),
	    T(test_back_refused),
	    T(test_sent_to_retry),
	    T(test_killed),
	};

	return cmocka_run_group_tests_name("back", tests, NULL, NULL);
}
