/*
 * remote_test.c - sessions with a RocketMQ cluster, against a scripted name
 * server and broker in a thread: what is asked, in which order, what becomes of
 * refusals, lost answers and nonsense. Time runs twenty times as fast, so that
 * back-off and leases are short. LEAT_SEED, LEAT_MUTATIONS (rounds; 30).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/deflate.h"
#include "client/remote/farjson.h"
#include "client/remote/inside.h"
#include "fake_cluster.h"
#include "tests/client/message.h"

#define OK(call) assert_int_equal((call), LEAT_OK)
#define WAIT_MS 60000 /* of the fast clock */

static struct fake_cluster *fake;
static struct leat *leat;
static uint64_t (*real_mono_ns)(void);
static uint64_t seed = 1, faster = 20;

static uint64_t
fast_mono_ns(void)
{
	return real_mono_ns() * faster;
}

static int
setup(void **state)
{
	struct leat_options o = {.name = "test"};

	(void)state;
	fake = fake_cluster_start(seed);
	o.server = fake->server;
	return leat_connect(&o, &leat);
}

static int
teardown(void **state)
{
	(void)state;
	leat_close(leat);
	fake_cluster_stop(fake);
	return 0;
}

static struct leat_consumer *
subscribe(const char *group, enum leat_from from, int64_t value)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c = NULL;

	s.topic = "t";
	s.group = group;
	s.from = from;
	s.from_value = value;
	OK(leat_subscribe(leat, &s, &c));
	return c;
}

/* Poll until want have come or the time is over; how many did. */
static int
poll_all(struct leat_consumer *c, struct leat_delivery *d, int want)
{
	int n = leat_poll(c, d, (size_t)want, WAIT_MS);

	return n;
}

/* --- connecting ------------------------------------------------------------
 */

static void
test_addresses(void **state)
{
	static const char *const wrong[] = {"rocketmq://", "tcp://h:1",
	    "rocketmq://h:1;;", "rocketmq://h/x",
	    "rocketmq://a;b;c;d;e;f;g;h;i"};
	struct leat_options o = {.connect_timeout_ms = 2000};
	struct leat *none;
	size_t i;

	(void)state;
	for (i = 0; i < LT_COUNT(wrong); i++) {
		o.server = wrong[i];
		assert_int_equal(leat_connect(&o, &none), LEAT_E_INVALID);
		assert_non_null(strstr(leat_error(NULL), wrong[i]));
	}
	o.server = "leat://h:1";
	assert_int_equal(leat_connect(&o, &none), LEAT_E_INVALID);
	assert_non_null(strstr(leat_error(NULL), "leat://BROKERKEY@HOST:PORT"));
	o.server = "rocketmq://127.0.0.1:1";
	assert_int_equal(leat_connect(&o, &none), LEAT_E_UNREACHABLE);
	assert_non_null(strstr(leat_error(NULL), "name server"));
}

/* The environment names it for programs that name nothing. */
static void
test_environment(void **state)
{
	char both[128];
	struct leat *other;

	(void)state;
	/* The first of two is not there. */
	snprintf(both, sizeof(both), "rocketmq://127.0.0.1:1;%s",
	    fake->server + strlen("rocketmq://"));
	setenv("LEAT_SERVER", both, 1);
	OK(leat_connect(NULL, &other));
	unsetenv("LEAT_SERVER");
	/* No broker serves what ping asks, but one answers. */
	OK(leat_ping(other, WAIT_MS));
	leat_close(other);
}

/* --- publishing ------------------------------------------------------------
 */

static void
test_publish(void **state)
{
	struct leat_property p = {"colour", "red"};
	struct leat_message m = message("hello");
	struct leat_receipt r;

	(void)state;
	m.tag = "a";
	m.keys = "k1 k2";
	m.group_key = "g";
	m.properties = &p;
	m.property_count = 1;
	m.queue = 2;
	OK(leat_publish(leat, &m, WAIT_MS, &r));
	assert_int_equal(r.queue, 2);
	assert_int_equal(r.queue_offset, 0);
	assert_int_equal(r.log_offset, 0x12d687);
	assert_int_equal(r.level, LEAT_LOGGED);
	assert_int_equal(strlen(r.id), LEAT_ID_CHARS);
	assert_string_equal(fake->messages[0].body, "hello");
	assert_non_null(strstr(fake->messages[0].props, "KEYS\001k1 k2\002"));
	assert_non_null(strstr(fake->messages[0].props, "TAGS\001a\002"));
	assert_non_null(strstr(fake->messages[0].props, "colour\001red\002"));
	assert_non_null(strstr(fake->messages[0].props, r.id));
	assert_null(strstr(fake->messages[0].props, "WAIT"));
	m.level = LEAT_LOGGED;
	OK(leat_publish(leat, &m, WAIT_MS, &r));
	assert_non_null(strstr(fake->messages[1].props, "WAIT\001false\002"));
	m.queue = FAKE_QUEUES;
	assert_int_equal(leat_publish(leat, &m, WAIT_MS, &r), LEAT_E_QUEUE);
	m.queue = -1;
	p.name = "KEYS";
	assert_int_equal(leat_publish(leat, &m, WAIT_MS, &r), LEAT_E_INVALID);
	m.property_count = 0;
	m.topic = "no such!";
	assert_int_equal(leat_publish(leat, &m, WAIT_MS, &r), LEAT_E_NAME);
}

static void
test_no_topic(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_message m = message("x");
	struct leat_consumer *c;

	(void)state;
	fake->unknown = 1;
	assert_int_equal(
	    leat_publish(leat, &m, WAIT_MS, NULL), LEAT_E_NOTFOUND);
	s.topic = "t";
	assert_int_equal(leat_subscribe(leat, &s, &c), LEAT_E_NOTFOUND);
	assert_non_null(strstr(leat_error(leat), "leat topic create t"));
}

/* Collect want receipts that are OK, users counting up. */
static void
collect(int want)
{
	struct leat_receipt r[64];
	int got = 0, n, i;

	while (got < want) {
		n = leat_completions(leat, r, 64, WAIT_MS);
		assert_true(n > 0);
		for (i = 0; i < n; i++, got++) {
			assert_int_equal(r[i].status, LEAT_OK);
			assert_int_equal((uintptr_t)r[i].user, got);
		}
	}
	assert_int_equal(leat_in_flight(leat), 0);
}

static void
submit_numbers(int count, const char *key)
{
	struct leat_message m;
	char body[16];
	int i;

	for (i = 0; i < count; i++) {
		snprintf(body, sizeof(body), "%d", i);
		m = message(body);
		m.group_key = key;
		OK(leat_submit(leat, &m, WAIT_MS, (void *)(uintptr_t)i));
	}
}

/* The first of each number come in order; how many repeats there are. */
static int
check_numbers(int count)
{
	int next = 0, repeats = 0, i, n;

	for (i = 0; i < fake->count; i++) {
		n = atoi(fake->messages[i].body);
		assert_true(n <= next);
		if (n == next)
			next++;
		else
			repeats++;
	}
	assert_int_equal(next, count);
	return repeats;
}

static void
test_submit(void **state)
{
	(void)state;
	submit_numbers(1000, NULL);
	collect(1000);
	assert_int_equal(fake->count, 1000);
	assert_true(fake->batches > 0);
	assert_true(fake->sends < 1000);
}

static void
test_order(void **state)
{
	(void)state;
	submit_numbers(1000, "key");
	collect(1000);
	assert_int_equal(check_numbers(1000), 0);
}

/* Answers are lost: what was sent comes again, behind what was before it. */
static void
test_lost_answers(void **state)
{
	int repeats;

	(void)state;
	fake->times = 3;
	fake->mischief = FAKE_HANGS_UP;
	submit_numbers(500, "key");
	collect(500);
	repeats = check_numbers(500);
	assert_true(repeats > 0);
	assert_true(fake->conns >= 4);
}

static void
test_busy(void **state)
{
	struct leat_message m = message("x");

	(void)state;
	fake->times = 3;
	fake->send_code = 2;
	OK(leat_publish(leat, &m, WAIT_MS, NULL));
	assert_int_equal(fake->sends, 4);
	assert_int_equal(fake->count, 1);
}

/* The time is over before the broker has it: the receipt comes later. */
static void
test_timeout(void **state)
{
	struct leat_message m = message("x");
	struct leat_receipt r;

	(void)state;
	fake->times = 2;
	fake->send_code = 14;
	assert_int_equal(leat_publish(leat, &m, 500, NULL), LEAT_E_TIMEOUT);
	assert_int_equal(leat_in_flight(leat), 1);
	assert_int_equal(leat_completions(leat, &r, 1, WAIT_MS), 1);
	OK(r.status);
}

/* One of a batch is refused: the others are not. */
static void
test_refused_in_batch(void **state)
{
	struct leat_message m[8];
	struct leat_receipt r[8];
	int i;

	(void)state;
	fake->refuse_body = 1;
	for (i = 0; i < 8; i++) {
		m[i] = message(i == 5 ? "!" : "fine");
		m[i].queue = 0;
	}
	assert_int_equal(
	    leat_publish_batch(leat, m, 8, WAIT_MS, r), LEAT_E_TOOBIG);
	for (i = 0; i < 8; i++)
		assert_int_equal(r[i].status, i == 5 ? LEAT_E_TOOBIG : LEAT_OK);
	assert_int_equal(fake->count, 7);
}

/* Stored, but not flushed or copied in time. */
static void
test_stored_all_the_same(void **state)
{
	struct leat_message m = message("x");
	struct leat_receipt r;
	int code;

	(void)state;
	for (code = 10; code <= 12; code++) {
		fake->times = 1;
		fake->send_code = code;
		OK(leat_publish(leat, &m, WAIT_MS, &r));
		assert_int_equal(r.level, LEAT_LOGGED);
	}
	assert_int_equal(fake->count, 3);
}

static void
test_in_place(void **state)
{
	struct leat_message m = message("");
	struct leat_receipt r;
	void *body;

	(void)state;
	OK(leat_reserve(leat, &m, 100, WAIT_MS, &body));
	assert_int_equal(
	    leat_reserve(leat, &m, 100, WAIT_MS, &body), LEAT_E_BUSY);
	leat_abort(leat);
	OK(leat_reserve(leat, &m, 100, WAIT_MS, &body));
	memcpy(body, "in place", 8);
	assert_int_equal(leat_commit(leat, 101, NULL), LEAT_E_INVALID);
	OK(leat_commit(leat, 8, NULL));
	OK(leat_flush(leat, WAIT_MS));
	assert_int_equal(leat_completions(leat, &r, 1, 0), 1);
	assert_string_equal(fake->messages[0].body, "in place");
}

/* Poll, which gives nothing, until something is so; not for ever. */
#define PATIENCE_NS UINT64_C(30000000000) /* of the real clock */
#define UNTIL(condition)                                                       \
	for (uint64_t end = real_mono_ns() + PATIENCE_NS; !(condition);) {     \
		assert_true(real_mono_ns() < end);                             \
		assert_int_equal(leat_poll(c, d, 1, 100), 0);                  \
	}

/* --- consuming -------------------------------------------------------------
 */

static void
fill(int count)
{
	char body[16];
	int i;

	for (i = 0; i < count; i++) {
		snprintf(body, sizeof(body), "%d", i);
		fake_cluster_put(fake, 1, body,
		    i % 2 == 0 ? "TAGS\001even\002" : "TAGS\001odd\002");
	}
}

static void
expect(struct leat_consumer *c, int first, int end)
{
	struct leat_delivery d[8];
	int n, i;

	while (first < end) {
		n = poll_all(c, d, 8);
		assert_true(n > 0);
		for (i = 0; i < n; i++, first++) {
			assert_int_equal(d[i].queue, 1);
			assert_int_equal(d[i].queue_offset, first);
			assert_int_equal(d[i].attempt, 1);
			assert_string_equal(d[i].topic, "t");
		}
	}
	assert_int_equal(first, end);
}

static void
test_browse(void **state)
{
	struct leat_consumer *c;

	(void)state;
	fill(40);
	c = subscribe(NULL, LEAT_FROM_BEGIN, 0);
	assert_int_equal(leat_at_end(c), 0);
	expect(c, 0, 40);
	assert_int_equal(leat_at_end(c), 1);
	leat_unsubscribe(c);
	c = subscribe(NULL, LEAT_FROM_OFFSET, -3);
	expect(c, 37, 40);
	fake_cluster_put(fake, 1, "new", "");
	expect(c, 40, 41);
	leat_unsubscribe(c);
	assert_int_equal(fake->commits, 0);
	assert_int_equal(fake->beats, 0);
}

static void
test_tags(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_delivery d[64];
	struct leat_consumer *c;
	int n = 0;

	(void)state;
	fill(10); /* the broker does not filter: we do */
	s.topic = "t";
	s.tags = "odd || other";
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(leat, &s, &c));
	for (uint64_t end = real_mono_ns() + PATIENCE_NS; !leat_at_end(c);) {
		assert_true(real_mono_ns() < end);
		n += leat_poll(c, d + n, (size_t)(64 - n), 200);
	}
	assert_int_equal(n, 5);
	assert_string_equal(d[0].tag, "odd");
}

/* What was there is gone: it goes on where the broker says. */
static void
test_moved(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;

	(void)state;
	fill(20);
	fake->drops = 16;
	s.topic = "t";
	s.queue = 1;
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(leat, &s, &c));
	expect(c, 15, 20);
}

/* What another client compressed is as it was; what is no stream stays. */
static void
test_compressed(void **state)
{
	struct leat_consumer *c = subscribe(NULL, LEAT_FROM_BEGIN, 0);
	struct leat_delivery d[2];
	struct lt_buffer b;
	char text[200];
	int n = 0;

	(void)state;
	memset(text, 'a', sizeof(text));
	lt_buffer_init(&b, 4096);
	OK(lt_deflate_pack(text, sizeof(text), 5, &b));
	fake_cluster_pack(fake, 1, b.p, b.bytes);
	fake_cluster_pack(fake, 1, "no stream", 9);
	while (n < 2) {
		int got = leat_poll(c, d + n, (size_t)(2 - n), WAIT_MS);

		assert_true(got > 0);
		if (n == 0) {
			assert_int_equal(d[0].body_bytes, sizeof(text));
			assert_memory_equal(d[0].body, text, sizeof(text));
		}
		n += got;
	}
	assert_int_equal(d[1].body_bytes, 9);
	assert_memory_equal(d[1].body, "no stream", 9);
	lt_buffer_fini(&b);
}

/* A loop of the application's own. */
static void
test_event_loop(void **state)
{
	struct leat_consumer *c = subscribe(NULL, LEAT_FROM_BEGIN, 0);
	struct pollfd p = {.events = POLLIN};
	struct leat_delivery d;
	int n = 0, turns;

	(void)state;
	p.fd = leat_fd(leat);
	assert_true(p.fd >= 0);
	fake_cluster_put(fake, 1, "x", "");
	for (turns = 0; n == 0 && turns < 1000; turns++) {
		if (leat_arm(leat) == 0)
			assert_int_equal(poll(&p, 1, 5000), 1);
		n = leat_poll(c, &d, 1, 0);
	}
	assert_int_equal(n, 1);
}

/* Progress is the least that is not acknowledged. */
static void
test_group(void **state)
{
	struct leat_consumer *c;
	struct leat_delivery d[10];

	(void)state;
	fill(10);
	c = subscribe("g", LEAT_FROM_DEFAULT, 0);
	assert_true(fake->beats > 0);
	assert_int_equal(leat_lease_ms(c), LT_FAR_LEASE_MS);
	assert_int_equal(poll_all(c, d, 10), 10);
	OK(leat_ack(c, d + 5, 5));
	OK(leat_ack(c, d, 3));
	UNTIL(fake->committed[1] == 3);
	OK(leat_extend(c, d + 3, 2));
	leat_unsubscribe(c);
	assert_int_equal(fake->committed[1], 3);
	assert_int_equal(fake->leaves, 1);
	/* The next member goes on there. */
	c = subscribe("g", LEAT_FROM_END, 0);
	expect(c, 3, 10);
	leat_unsubscribe(c);
	assert_int_equal(fake->committed[1], 3);
}

static void
test_given_back(void **state)
{
	struct leat_consumer *c;
	struct leat_delivery d[3];

	(void)state;
	fill(3);
	c = subscribe("g", LEAT_FROM_DEFAULT, 0);
	assert_int_equal(poll_all(c, d, 3), 3);
	OK(leat_nack(c, d, 1));
	assert_int_equal(leat_ack(c, d, 1), LEAT_E_LEASE);
	OK(leat_ack(c, d + 1, 2));
	UNTIL(fake->backs == 1 && fake->committed[1] == 3);
	assert_int_equal(fake->back_offset, 0);
	assert_int_equal(fake->back_level, 1);
}

/* Held for too long: the broker gets it back, and delays as it likes. */
static void
test_lease(void **state)
{
	struct leat_consumer *c;
	struct leat_delivery d[2];

	(void)state;
	fill(2);
	c = subscribe("g", LEAT_FROM_DEFAULT, 0);
	assert_int_equal(poll_all(c, d, 2), 2);
	UNTIL(fake->backs == 2);
	assert_int_equal(fake->back_level, 0);
	assert_int_equal(leat_lease_ms(c), LT_FAR_LEASE_MS);
}

static size_t
queues_of(const struct leat_consumer *c)
{
	const struct lt_fargroup *g = c->reader->group;
	size_t i, n = 0;

	for (i = 0; i < g->source_count; i++)
		n += g->sources[i] != NULL;
	return n;
}

/* Another member comes and goes; queues follow when the broker says so. */
static void
test_shared_out(void **state)
{
	struct leat_consumer *c = subscribe("g", LEAT_FROM_DEFAULT, 0);
	struct leat_delivery d[1];

	(void)state;
	assert_int_equal(queues_of(c), FAKE_QUEUES);
	fake->members = 1;
	fake_cluster_notify(fake);
	UNTIL(queues_of(c) == FAKE_QUEUES / 2);
	fake->members = 0;
	fake_cluster_notify(fake);
	UNTIL(queues_of(c) == FAKE_QUEUES);
}

static void
test_not_supported(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_topic t = {.name = "u", .level = LEAT_SYNCED};
	struct leat_consumer *c;

	(void)state;
	s.topic = "t";
	s.group = "g";
	s.queue = 1;
	assert_int_equal(leat_subscribe(leat, &s, &c), LEAT_E_UNSUPPORTED);
	s.queue = -1;
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_subscribe(leat, &s, &c), LEAT_E_BUSY);
	assert_int_equal(leat_topic_create(leat, &t), LEAT_E_UNSUPPORTED);
	assert_int_equal(leat_group_delete(leat, "g"), LEAT_E_UNSUPPORTED);
	assert_non_null(strstr(leat_error(leat), "does not support"));
}

/* --- strangers -------------------------------------------------------------
 */

/* Pulls that make no sense: the reader is told, the connection is closed, and
 * when the broker comes to its senses it goes on. */
static void
hostile_pull(enum fake_mischief mischief)
{
	struct leat_consumer *c;
	struct leat_delivery d[20];
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	int turns, n = 0, conns;

	s.topic = "t";
	s.queue = 1;
	s.from = LEAT_FROM_OFFSET;
	OK(leat_subscribe(leat, &s, &c));
	conns = fake->conns;
	fake->mischief = (int)mischief;
	fill(20);
	for (turns = 0; n != LEAT_E_CORRUPT; turns++) {
		assert_true(turns < 1000);
		n = leat_poll(c, d, 20, 100);
		assert_true(n <= 0);
	}
	assert_int_equal(leat_ping(leat, 0) <= 0, 1);
	fake->mischief = FAKE_GOOD;
	for (turns = 0, n = 0; n <= 0; turns++) {
		assert_true(turns < 10000);
		n = leat_poll(c, d, 20, 100);
	}
	assert_true(fake->conns > conns);
	assert_int_equal(d[0].queue_offset, 0);
	leat_unsubscribe(c);
}

static void
test_cut_records(void **state)
{
	(void)state;
	hostile_pull(FAKE_CUTS_RECORDS);
}

static void
test_repeated_offsets(void **state)
{
	(void)state;
	hostile_pull(FAKE_REPEATS_OFFSETS);
}

static void
test_no_fields(void **state)
{
	(void)state;
	hostile_pull(FAKE_NO_FIELDS);
}

static void
test_huge_frame(void **state)
{
	(void)state;
	hostile_pull(FAKE_HUGE_FRAME);
}

static void
test_no_json(void **state)
{
	struct leat_message m = message("x");

	(void)state;
	fake->mischief = FAKE_NO_JSON;
	assert_int_equal(leat_publish(leat, &m, WAIT_MS, NULL), LEAT_E_CORRUPT);
	fake->mischief = FAKE_GOOD;
	OK(leat_publish(leat, &m, WAIT_MS, NULL));
}

static int
ignore_topic(const struct leat_topic *t, void *user)
{
	(void)t;
	(void)user;
	return 0;
}

static int
ignore_group(const struct leat_group *g, void *user)
{
	(void)g;
	(void)user;
	return 0;
}

/* Whatever bytes come: calls return, memory stays whole (sanitizers say). */
static void
test_mutations(void **state)
{
	const char *text = getenv("LEAT_MUTATIONS");
	int rounds = text != NULL ? atoi(text) : 30, i, calls = 0;
	struct leat_options o = {.name = "test", .connect_timeout_ms = 10000};
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_message m = message("x");
	struct leat_queue_range range;
	struct leat_delivery d[20];
	struct leat_topic topic;
	struct leat_consumer *c;
	struct leat *l;

	(void)state;
	/* What waits for an answer that was spoilt waits long; the last test.
	 */
	faster = 400;
	fill(30);
	o.server = fake->server;
	s.topic = "t";
	s.from = LEAT_FROM_BEGIN;
	fake->mischief = FAKE_MUTATES;
	for (i = 0; i < rounds; i++) {
		if (leat_connect(&o, &l) != LEAT_OK)
			continue;
		calls++;
		(void)!leat_publish(l, &m, 4000, NULL);
		s.group = i % 2 == 0 ? NULL : "g";
		fake->mischief = i % 4 < 2 ? FAKE_GOOD : FAKE_MUTATES;
		if (leat_subscribe(l, &s, &c) == LEAT_OK) {
			fake->mischief = FAKE_MUTATES;
			calls++;
			for (int turn = 0; turn < 4; turn++) {
				int n = leat_poll(c, d, 20, 4000);

				if (n > 0 && turn % 2 == 0)
					(void)!leat_ack(c, d, (size_t)n);
			}
			(void)!leat_at_end(c);
		}
		fake->mischief = FAKE_MUTATES;
		(void)!leat_topic_describe(l, "t", &topic);
		(void)!leat_queue_range(l, "t", 1, &range);
		(void)!leat_topic_list(l, ignore_topic, NULL);
		(void)!leat_group_describe(l, "g", ignore_group, NULL);
		leat_close(l);
	}
	fake->mischief = FAKE_GOOD;
	print_message("seed %llu, %d rounds, %d sessions and subscriptions\n",
	    (unsigned long long)seed, rounds, calls);
	assert_true(calls > rounds / 10);
	OK(leat_publish(leat, &m, 20 * WAIT_MS, NULL));
}

/* --- parts -----------------------------------------------------------------
 */

/* Each queue has one member, and no member two more than another. */
static void
test_parts(void **state)
{
	uint32_t n, m, i, from, to, next;

	(void)state;
	for (n = 0; n <= 40; n++)
		for (m = 1; m <= 40; m++)
			for (i = next = 0; i < m; i++) {
				lt_farmember_part(n, m, i, &from, &to);
				assert_int_equal(from, next);
				assert_true(to - from == n / m ||
					    to - from == n / m + 1);
				next = to;
				if (i == m - 1)
					assert_int_equal(next, n);
			}
}

static void
test_json(void **state)
{
	static const char text[] =
	    " {\"a\":{0:\"x\\u00e9\\ud83d\\ude00\\n\",1:null},\"b\":[1,"
	    "\"2\",true,{\"c\":[]}],{\"q\":3,\"t\":\"u\"}:{\"n\":\"-7\"}}";
	struct lt_farjson j;
	char key[64], value[64];
	int i;

	(void)state;
	lt_farjson_init(&j, text, sizeof(text) - 1);
	assert_true(lt_farjson_open(&j, '{'));
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	assert_true(lt_farjson_open(&j, '{'));
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	assert_string_equal(key, "0");
	lt_farjson_text(&j, value, sizeof(value));
	assert_string_equal(value, "x\xc3\xa9\xf0\x9f\x98\x80\n");
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	lt_farjson_text(&j, value, sizeof(value));
	assert_string_equal(value, "");
	assert_false(lt_farjson_key(&j, key, sizeof(key)));
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	assert_false(lt_farjson_open(&j, '{')); /* skipped: it is a list */
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	assert_string_equal(key, "{\"q\":3,\"t\":\"u\"}");
	assert_true(lt_farjson_open(&j, '{'));
	assert_true(lt_farjson_key(&j, key, sizeof(key)));
	assert_int_equal(lt_farjson_number(&j, 0), -7);
	assert_false(lt_farjson_key(&j, key, sizeof(key)));
	assert_false(lt_farjson_key(&j, key, sizeof(key)));
	assert_false(j.bad);
	/* Cut anywhere, or too deep: it ends. */
	for (i = 0; i < (int)sizeof(text) - 1; i++) {
		lt_farjson_init(&j, text, (size_t)i);
		lt_farjson_skip(&j);
		assert_true(j.bad || j.p == j.end);
	}
	memset(value, '[', sizeof(value));
	lt_farjson_init(&j, value, sizeof(value));
	lt_farjson_skip(&j);
	assert_true(j.bad);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts),
	    cmocka_unit_test(test_json), cmocka_unit_test(test_addresses),
	    T(test_environment), T(test_publish), T(test_no_topic),
	    T(test_submit), T(test_order), T(test_lost_answers), T(test_busy),
	    T(test_timeout), T(test_refused_in_batch),
	    T(test_stored_all_the_same), T(test_in_place), T(test_browse),
	    T(test_tags), T(test_moved), T(test_compressed), T(test_event_loop),
	    T(test_group), T(test_given_back), T(test_lease),
	    T(test_shared_out), T(test_not_supported), T(test_cut_records),
	    T(test_repeated_offsets), T(test_no_fields), T(test_huge_frame),
	    T(test_no_json), T(test_mutations)};

	if (getenv("LEAT_SEED") != NULL)
		seed = strtoull(getenv("LEAT_SEED"), NULL, 0);
	real_mono_ns = lt_clock.mono_ns;
	lt_clock.mono_ns = fast_mono_ns;
	unsetenv("LEAT_SERVER");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
