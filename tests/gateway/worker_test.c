/*
 * worker_test.c - one worker of the gateway before a real broker: what remote
 * clients send is there for local ones, and the other way round.
 */
#include "config.h"
#include "workerrig.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/record.h"

/* The only message of a pull's answer. */
static void
check_body(const struct reply *r, const char *want, struct lt_record_view *v)
{
	assert_int_equal(r->h.code, LT_CODE_SUCCESS);
	OK(lt_record_parse(r->f.body, r->f.body_bytes, v));
	OK(lt_record_check(v));
	assert_int_equal(v->bytes, r->f.body_bytes);
	assert_int_equal(v->body_bytes, strlen(want));
	assert_memory_equal(v->body, want, v->body_bytes);
}

/* --- tests -----------------------------------------------------------------
 */

/* Remote to remote: the topic is made, the record keeps what its client said.
 */
static void
test_send_and_pull(void **state)
{
	struct lt_record_view v;
	struct lt_record_texts texts;
	struct lt_remoting_text id;
	struct reply r;

	await(send_message("made", "0", "hello"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_int_equal(number(&r, "queueId"), 0);
	id = lt_remoting_find(&r.h, "msgId");
	assert_int_equal(id.bytes, 32);
	assert_memory_equal(id.p, "7F00000100002A9F", 16);
	id = lt_remoting_find(&r.h, "transactionId");
	assert_int_equal(id.bytes, 6);
	assert_memory_equal(id.p, "THEIRS", 6);

	await(pull("made", "0", "*", "0"), &r);
	check_body(&r, "hello", &v);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	assert_int_equal(number(&r, "minOffset"), 0);
	assert_int_equal(number(&r, "maxOffset"), 1);
	assert_int_equal(number(&r, "suggestWhichBrokerId"), 0);
	assert_int_equal(v.flag, 7);
	assert_int_equal(v.born_ms, 1700000000123);
	assert_int_equal(lt_bytes_get32(v.base + 48), 0x7f000001);
	lt_record_texts(&v, &texts);
	assert_memory_equal(texts.id, "THEIRS", 6);
	assert_memory_equal(texts.tag, "red", 3);
	assert_memory_equal(texts.keys, "k1", 2);

	/* Codes of the rest. */
	await(pull("made", "0", "blue", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_RETRY);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("made", "9", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_MOVED);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("made", "1", "*", "200"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_NOT_FOUND);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("none", "0", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_TOPIC_NOT_EXIST);
}

/* The topic is made as its sender wants it, if the topic that it names as a
 * model allows that; a message without an id gets ours. */
static void
test_made_by_sending(void **state)
{
	static const struct {
		const char *asked;
		uint32_t got;
	} cases[] = {{"1", 1}, {"4", 4}, {"8", 8}, {"16", 8}};
	struct field fields[] = {{"a", "pg"}, {"b", "t"}, {"c", "no-such"},
	    {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"}, {"h", "0"},
	    {NULL, NULL}};
	struct leat_topic t;
	char name[8];
	struct reply r;

	await(ask(310, fields, "x", 1), &r);
	assert_int_equal(r.h.code, LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(
	    leat_topic_describe(it.local, "t", &t), LEAT_E_NOTFOUND);
	fields[2].value = "TBW102";
	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		snprintf(name, sizeof name, "t%zu", i);
		fields[1].value = name;
		fields[3].value = cases[i].asked;
		await(ask(310, fields, "x", 1), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		assert_int_equal(
		    lt_remoting_find(&r.h, "transactionId").bytes, 32);
		OK(leat_topic_describe(it.local, name, &t));
		assert_int_equal(t.write_queues, cases[i].got);
	}
	/* Fields that each client sends are not there. */
	fields[4].name = NULL;
	await(ask(310, fields, "x", 1), &r);
	assert_int_equal(r.h.code, LT_CODE_SYSTEM_ERROR);
}

/* What may not be read, or has fewer queues to read. */
static void
test_pull_refused(void **state)
{
	struct leat_topic t = {.name = "w",
	    .read_queues = 1,
	    .write_queues = 1,
	    .perm = LEAT_PERM_WRITE};
	struct field fields[] = {{"consumerGroup", "g"}, {"topic", "w"},
	    {"queueId", "0"}, {"queueOffset", "0"}, {"maxMsgNums", "32"},
	    {"sysFlag", "4"}, {"subscription", "*"}, {NULL, NULL}};
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	await(ask(11, fields, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_NO_PERMISSION);
	fields[1].value = "two";
	t = (struct leat_topic){
	    .name = "two", .read_queues = 2, .write_queues = 1};
	OK(leat_topic_create(it.local, &t));
	fields[2].value = "2";
	await(ask(11, fields, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
	/* A subscription that is newer than the one we know. */
	assert_int_equal(
	    call(34, NONE,
		"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":"
		"\"g\",\"subscriptionDataSet\":[{\"topic\":\"two\","
		"\"subString\":\"*\",\"subVersion\":5}]}]}",
		&r),
	    LT_CODE_SUCCESS);
	fields[5].value = "0";
	fields[6] = (struct field){"subVersion", "6"};
	await(ask(11, fields, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_SUBSCRIPTION_OLD);
	fields[1].value = "w";
	await(ask(11, fields, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_SUBSCRIPTION_NONE);
}

/* A pull that waits is answered by what comes, from here and from elsewhere. */
static void
test_held(void **state)
{
	struct leat_topic t = {
	    .name = "t", .read_queues = 1, .write_queues = 1};
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct lt_record_view v;
	struct reply r;
	int32_t held, sent;

	OK(leat_topic_create(it.local, &t));
	m.topic = "t";
	m.body = "local";
	m.body_bytes = 5;
	m.tag = "green";
	/* Written before the worker looked, then while it waits. */
	OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
	await(pull("t", "0", "*", "15000"), &r);
	check_body(&r, "local", &v);
	for (int i = 1; i <= 20; i++) {
		char at[12];

		snprintf(at, sizeof at, "%d", i);
		held = pull("t", at, "green || blue", "15000");
		OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
		await(held, &r);
		check_body(&r, "local", &v);
		assert_int_equal(v.queue_offset, i);
	}
	/* One that does not pass, then one that does. */
	held = pull("t", "21", "green", "15000");
	sent = send_message("t", "0", "red one");
	await(sent, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
	await(held, &r);
	check_body(&r, "local", &v);
	assert_int_equal(v.queue_offset, 22);
}

/* Who has finished writing still gets what it asked for. */
static void
test_half_closed(void **state)
{
	struct reply r;

	(void)send_message("half", "0", "hello");
	assert_int_equal(shutdown(it.fd, SHUT_WR), 0);
	await(it.opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(recv(it.fd, it.in, 1, 0), 0);
}

/* Remote to local. */
static void
test_local_consumer(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_topic t = {
	    .name = "t", .read_queues = 1, .write_queues = 1};
	struct leat_consumer *c;
	struct leat_delivery d;
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	s.topic = "t";
	s.group = "g";
	OK(leat_subscribe(it.local, &s, &c));
	await(send_message("t", "0", "from afar"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(leat_poll(c, &d, 1, PATIENCE_MS), 1);
	assert_int_equal(d.body_bytes, 9);
	assert_memory_equal(d.body, "from afar", 9);
	assert_string_equal(d.id, "THEIRS");
	assert_string_equal(d.tag, "red");
	OK(leat_ack(c, &d, 1));
}

/* Many at once: each gets its own place, all are there in the end. */
static void
test_pipelined(void **state)
{
	enum {
		COUNT = 3000,
		WINDOW = 100
	};
	struct reply r;
	int64_t seen = 0;

	await(send_message("many", "0", "first"), &r);
	for (int i = 0; i < COUNT; i += WINDOW) {
		int32_t last = it.opaque;

		for (int k = 0; k < WINDOW; k++)
			(void)send_message("many", "0", "body");
		for (int k = 1; k <= WINDOW; k++) {
			await(last + k, &r);
			assert_int_equal(r.h.code, LT_CODE_SUCCESS);
			assert_int_equal(number(&r, "queueOffset"), i + k);
		}
	}
	while (seen < COUNT + 1) {
		char at[24];

		snprintf(at, sizeof at, "%lld", (long long)seen);
		await(pull("many", at, "*", "15000"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		for (uint32_t n = 0; n < r.f.body_bytes;) {
			struct lt_record_view v;

			OK(lt_record_parse(
			    r.f.body + n, r.f.body_bytes - n, &v));
			assert_int_equal(v.queue_offset, seen++);
			n += v.bytes;
		}
		assert_int_equal(number(&r, "nextBeginOffset"), seen);
	}
}

/* leat-queue stands still, and somebody sends to topics that were not open:
 * others of this worker do not notice, and the messages are sent later. */
static void
test_queue_away(void **state)
{
	enum {
		NEW = 3
	};
	pid_t queue = rig_child("leat-queue");
	int fds[NEW], sender = it.fd;
	int32_t asked[NEW];
	uint64_t from, longest = 0;
	struct reply r;

	await(send_message("open", "0", "first"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	for (int i = 0; i < NEW; i++) {
		struct leat_topic t = {.read_queues = 1, .write_queues = 1};

		snprintf(t.name, sizeof t.name, "new%d", i);
		OK(leat_topic_create(it.local, &t));
		fds[i] = rig_connect(0);
	}
	assert_true(queue > 0);
	assert_int_equal(kill(queue, SIGSTOP), 0);
	for (int i = 0; i < NEW; i++) {
		char name[8];

		snprintf(name, sizeof name, "new%d", i);
		it.fd = fds[i];
		asked[i] = send_message(name, "0", "later");
		it.fd = sender;
		from = lt_clock_mono_ms();
		await(send_message("open", "0", "meanwhile"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		if (lt_clock_mono_ms() - from > longest)
			longest = lt_clock_mono_ms() - from;
	}
	assert_int_equal(kill(queue, SIGCONT), 0);
	print_message("longest wait %llu ms\n", (unsigned long long)longest);
	assert_in_range(longest, 0, 2000);
	for (int i = 0; i < NEW; i++) {
		it.fd = fds[i];
		await(asked[i], &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		close(fds[i]);
	}
	it.fd = sender;
}

static void
test_batch(void **state)
{
	static const char props[] = "UNIQ_KEY\001B\002";
	const struct field fields[] = {{"a", "pg"}, {"b", "batch"},
	    {"c", "TBW102"}, {"d", "4"}, {"e", "1"}, {"f", "0"},
	    {"g", "1700000000123"}, {"h", "0"}, {"m", "true"}, {NULL, NULL}};
	uint8_t body[256];
	struct lt_remoting_text ids;
	struct reply r;
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		uint32_t bytes = 22 + 4 + sizeof props - 1;

		memset(body + n, 0, bytes);
		lt_bytes_put32(body + n, bytes);
		lt_bytes_put32(body + n + 16, 4);
		memcpy(body + n + 20, "body", 4);
		lt_bytes_put16(body + n + 24, sizeof props - 1);
		memcpy(body + n + 26, props, sizeof props - 1);
		n += bytes;
	}
	await(ask(320, fields, body, n), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_int_equal(number(&r, "queueId"), 1);
	ids = lt_remoting_find(&r.h, "msgId");
	assert_int_equal(ids.bytes, 3 * 32 + 2);
	assert_int_equal(ids.p[32], ',');
	/* Lengths that do not fit: nothing of it is logged. */
	await(ask(320, fields, body, n - 1), &r);
	assert_int_equal(r.h.code, LT_CODE_SYSTEM_ERROR);
}

static void
test_refusals(void **state)
{
	static const char *const delays[] = {"DELAY\001x\002", "DELAY\001-\002",
	    "DELAY\0013.\002", "K\001v\002TIMER_DELIVER_MS\0019\002",
	    "TIMER_DELAY_MS\0011\002",
	    "DELAY\0010\002TIMER_DELAY_SEC\0011\002"};
	const struct field none[] = {{NULL, NULL}};
	char *large = calloc(1, (4 << 20) + 2);
	struct reply r;

	assert_non_null(large);
	await(ask(9999, none, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_NOT_SUPPORTED);
	await(send_message("bad name!", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
	await(send_message("few", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	await(send_message("few", "4", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
	await(send_message("few", "-1", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	memset(large, 'x', (4 << 20) + 1);
	await(send_message("few", "0", large), &r);
	assert_int_equal(r.h.code, LT_CODE_MESSAGE_ILLEGAL);
	/* Never early: what would have to wait is refused. */
	for (size_t i = 0; i < LT_COUNT(delays); i++) {
		const struct field fields[] = {{"a", "pg"}, {"b", "few"},
		    {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
		    {"g", "1"}, {"h", "0"}, {"i", delays[i]}, {NULL, NULL}};

		await(ask(310, fields, "x", 1), &r);
		assert_int_equal(r.h.code, LT_CODE_MESSAGE_ILLEGAL);
	}
	/* It went on. */
	await(send_message("few", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	free(large);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    T(test_send_and_pull),
	    T(test_made_by_sending),
	    T(test_pull_refused),
	    T(test_held),
	    T(test_half_closed),
	    T(test_local_consumer),
	    T(test_pipelined),
	    T(test_queue_away),
	    T(test_batch),
	    T(test_refusals),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
