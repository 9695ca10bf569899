/* consumer_test.c - consuming from a broker in a thread: rings, fetches,
 * claims, and every change between them. Each body is its queue offset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_broker.h"
#include "leat/leat.h"

#define OK(call) assert_int_equal((call), LEAT_OK)
#define BATCH 64

static struct fake *fake;
static struct leat *producer, *leat, *other;
static int64_t written[16]; /* next body per queue */

static struct leat *
join(void)
{
	struct leat_options o = {.socket = fake_path(fake), .name = "test"};
	struct leat *h;

	OK(leat_connect(&o, &h));
	return h;
}

static void
start(const struct fake_options *fo)
{
	fake = fake_start(fo);
	producer = join();
	leat = join();
	other = join();
	memset(written, 0, sizeof(written));
}

static int
teardown(void **state)
{
	leat_close(other);
	leat_close(leat);
	leat_close(producer);
	fake_stop(fake);
	return 0;
}

static void
produce_as(int queue, int n, const char *tag, size_t pad)
{
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct leat_property p = {"color", "green"};
	struct leat_receipt r[64];
	char *body = calloc(1, pad + 32);

	m.topic = "t";
	m.queue = queue;
	m.tag = tag;
	m.keys = "key";
	m.level = LEAT_LOGGED;
	m.properties = &p;
	m.property_count = 1;
	for (int i = 0; i < n; i++) {
		m.body = body;
		m.body_bytes = pad + (size_t)sprintf(body, "%lld",
					 (long long)written[queue]++);
		while (leat_in_flight(producer) > 200)
			assert_true(
			    leat_completions(producer, r, 64, 5000) > 0);
		OK(leat_submit(producer, &m, 5000, NULL));
	}
	OK(leat_flush(producer, 5000));
	while (leat_in_flight(producer) > 0)
		assert_true(leat_completions(producer, r, 64, 0) > 0);
	free(body);
}

static void
produce(int queue, int n)
{
	produce_as(queue, n, NULL, 0);
}

static struct leat_consumer *
subscribe(struct leat *h, const char *group)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;

	s.topic = "t";
	s.group = group;
	s.from = group == NULL ? LEAT_FROM_BEGIN : LEAT_FROM_DEFAULT;
	OK(leat_subscribe(h, &s, &c));
	return c;
}

/* Poll until `n` came from queue 0 without gap or repeat, beginning at `at`. */
static int64_t
follow(struct leat_consumer *c, int64_t at, int n)
{
	struct leat_delivery d[BATCH];
	int got, left = n;

	while (left > 0) {
		got =
		    leat_poll(c, d, left < BATCH ? (size_t)left : BATCH, 10000);
		assert_true(got > 0);
		for (int i = 0; i < got; i++) {
			assert_int_equal(d[i].queue, 0);
			assert_int_equal(d[i].queue_offset, at);
			assert_int_equal(strtoll(d[i].body, NULL, 10), at++);
		}
		left -= got;
	}
	return at;
}

static void
test_browse(void **state)
{
	struct leat_delivery d[BATCH];
	struct leat_consumer *c;
	struct fake_options fo = {.queues = 3, .ring_bytes = 1 << 18};
	int64_t next[3] = {0};
	char value[6];
	int n, total = 0;

	start(&fo);
	for (int q = 0; q < 3; q++)
		produce_as(q, 100, "red", 0);
	c = subscribe(leat, NULL);
	assert_int_equal(leat_at_end(c), 0);
	while ((n = leat_poll(c, d, BATCH, 0)) > 0) {
		for (int i = 0; i < n; i++) {
			assert_string_equal(d[i].topic, "t");
			assert_string_equal(d[i].keys, "key");
			assert_string_equal(d[i].tag, "red");
			assert_int_equal(strlen(d[i].id), LEAT_ID_CHARS);
			assert_int_equal(d[i].attempt, 1);
			assert_int_equal(d[i].queue_offset, next[d[i].queue]++);
		}
		total += n;
	}
	assert_int_equal(total, 300);
	assert_int_equal(leat_at_end(c), 1);
	assert_int_equal(leat_lease_ms(c), 0);
	produce(1, 1);
	assert_int_equal(leat_at_end(c), 0);
	assert_int_equal(leat_poll(c, d, 1, 5000), 1);
	OK(leat_property_get(&d[0], "color", value, sizeof(value)));
	assert_string_equal(value, "green");
	assert_int_equal(
	    leat_property_get(&d[0], "color", value, 5), LEAT_E_TOOBIG);
	assert_int_equal(
	    leat_property_get(&d[0], "no", value, 5), LEAT_E_NOTFOUND);
	size_t cursor = 0, seen = 0, nb, vb;
	const char *name, *val;

	while (leat_property_next(&d[0], &cursor, &name, &nb, &val, &vb) == 0)
		seen += nb == 5 && memcmp(name, "color", 5) == 0;
	assert_int_equal(seen, 1);
	OK(leat_ack(c, d, 1));
	leat_unsubscribe(c);
}

static void
test_tags(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 18};
	struct leat_delivery d[BATCH];
	struct leat_consumer *c;

	start(&fo);
	produce_as(0, 10, "red", 0);
	produce_as(0, 10, "green", 0);
	produce_as(0, 10, NULL, 0);
	produce_as(0, 10, "blue", 0);
	s.topic = "t";
	s.group = "g";
	s.tags = " red || blue";
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_poll(c, d, BATCH, 0), 20);
	assert_string_equal(d[0].tag, "red");
	assert_string_equal(d[10].tag, "blue");
	OK(leat_ack(c, d, 20));
	/* What was filtered is done, too. */
	leat_unsubscribe(c);
	fake_do(fake, FAKE_RETURN);
	s.tags = NULL;
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_poll(c, d, BATCH, 0), 0);
	s.tags = "a || ";
	assert_int_equal(leat_subscribe(leat, &s, &c), LEAT_E_INVALID);
	s.tags = NULL;
	s.topic = "no";
	assert_int_equal(leat_subscribe(leat, &s, &c), LEAT_E_NOTFOUND);
}

/* More than the ring holds before and while reading; some of it too large for
 * the ring. */
static void
test_lapped(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_consumer *c;
	int64_t at = 0;

	start(&fo);
	c = subscribe(leat, NULL);
	produce(0, 3000);
	at = follow(c, at, 1000);
	produce(0, 10);
	at = follow(c, at, 2005);
	for (int i = 0; i < 20; i++) {
		produce_as(0, 2, NULL, 20000);
		produce(0, 100);
		at = follow(c, at, 90);
	}
	follow(c, at, 5 + 20 * 12);
	assert_int_equal(leat_at_end(c), 1);
}

static void
test_no_ring(void **state)
{
	struct fake_options fo = {.queues = 1};
	struct leat_consumer *c;
	struct leat_delivery d;
	int64_t at;

	start(&fo);
	produce(0, 500);
	c = subscribe(leat, NULL);
	at = follow(c, 0, 500);
	assert_int_equal(leat_at_end(c), 1);
	assert_int_equal(leat_poll(c, &d, 1, 20), 0);
	produce_as(0, 3, NULL, 200000); /* larger than the lane at first */
	assert_int_equal(leat_at_end(c), 0);
	follow(c, at, 3);
}

/* Several queues that lag share the session's one buffer: each record comes
 * into it once, in few answers, and each queue has its turn. */
static void
test_lagging_queues(void **state)
{
	static const char *const group[] = {NULL, "g"};
	struct fake_options fo = {.queues = 4};
	struct leat_delivery d[3];
	struct leat_consumer *c;
	int64_t fetches, fetched;

	start(&fo);
	for (int q = 0; q < 4; q++)
		produce_as(q, 900, NULL, 4000); /* 4 buffers full */
	for (int i = 0; i < 2; i++) {
		int64_t next[4] = {0};

		fetches = fake_do(fake, FAKE_FETCHES);
		fetched = fake_do(fake, FAKE_FETCHED);
		c = subscribe(leat, group[i]);
		for (int left = 4 * 900, n; left > 0; left -= n) {
			n = leat_poll(c, d, 3, 1000);
			assert_true(n > 0);
			for (int k = 0; k < n; k++)
				assert_int_equal(
				    d[k].queue_offset, next[d[k].queue]++);
			if (i == 1)
				OK(leat_ack(c, d, (size_t)n));
			for (int q = 0; left < 1800 && q < 4; q++)
				assert_true(next[q] > 0);
		}
		assert_int_equal(
		    fake_do(fake, FAKE_FETCHED) - fetched, 4 * 900);
		assert_in_range(fake_do(fake, FAKE_FETCHES) - fetches, 16, 24);
		leat_unsubscribe(c);
	}
}

/* Two subscriptions, polled in turn, throw away each other's buffers: they ask
 * for less at a time. */
static void
test_lagging_subscriptions(void **state)
{
	struct fake_options fo = {.queues = 1};
	struct leat_delivery d[3];
	struct leat_consumer *c[2];
	int64_t next[2] = {0}, fetched;

	start(&fo);
	produce_as(0, 900, NULL, 4000);
	c[0] = subscribe(leat, NULL);
	c[1] = subscribe(leat, NULL);
	for (int i = 0; next[0] + next[1] < 2 * 900; i++) {
		int n = leat_poll(c[i % 2], d, 3, 1000);

		assert_true(n >= 0);
		for (int k = 0; k < n; k++)
			assert_int_equal(d[k].queue_offset, next[i % 2]++);
	}
	/* 64 KiB for each three; without that some 250 records. */
	fetched = fake_do(fake, FAKE_FETCHED);
	assert_in_range(fetched, 2 * 900, 2 * 900 / 3 * 17);
}

/* What comes back while another queue's buffer is read waits for its end, but
 * not if the window is full because of it. */
static void
test_returned_while_lagging(void **state)
{
	struct fake_options fo = {.queues = 2, .window = 64};
	struct leat_consumer *a, *b;
	struct leat_delivery d[BATCH], e[BATCH];
	int64_t fetches;
	int seen[2][200] = {0}, n;

	start(&fo);
	for (int q = 0; q < 2; q++)
		produce_as(q, 200, NULL, 1000);
	b = subscribe(other, "g");
	while ((n = leat_poll(b, e, 8, 0)) == 0 || e[0].queue != 0)
		OK(leat_ack(b, e, (size_t)n));
	assert_int_equal(n, 8);
	a = subscribe(leat, "g");
	OK(leat_ack(b, e + 1, 7)); /* 0 stands: the window ends at 64 */
	fetches = fake_do(fake, FAKE_FETCHES);
	for (int phase = 0; phase < 2; phase++) {
		while ((n = leat_poll(a, d, 3, 0)) > 0) {
			for (int k = 0; k < n; k++)
				seen[d[k].queue][d[k].queue_offset]++;
			OK(leat_ack(a, d, (size_t)n));
		}
		assert_int_equal(n, 0);
		assert_int_equal(seen[0][63], 1);
		assert_int_equal(seen[0][64], phase);
		OK(phase == 0 ? leat_nack(b, e, 1) : LEAT_OK);
	}
	for (int q = 0; q < 2; q++)
		for (int k = q == 0 ? 8 : 100; k < 200; k++)
			assert_int_equal(seen[q][k], 1);
	assert_int_equal(seen[0][0], 1);
	assert_in_range(fake_do(fake, FAKE_FETCHES) - fetches, 2, 20);
}

/* A fetch whose answer is late wrote over the buffer all the same. */
static void
test_late_fetch(void **state)
{
	struct fake_options fo = {.queues = 2};
	struct leat_delivery d[8];
	struct leat_consumer *c;
	int64_t next[2] = {0};
	int n;

	start(&fo);
	produce(0, 100);
	produce_as(1, 100, NULL, 1000); /* so that records lie elsewhere */
	c = subscribe(leat, NULL);
	for (int round = 0; next[0] + next[1] < 200; round++) {
		if (round > 0 && round < 4)
			fake_do(fake, FAKE_LOSE_FETCH);
		n = leat_poll(c, d, 8, 1000);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal(d[i].queue_offset, next[d[i].queue]);
			assert_int_equal(
			    strtoll(d[i].body, NULL, 10), next[d[i].queue]++);
		}
	}
}

static void
test_small_batch(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 18};
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;

	start(&fo);
	for (int i = 0; i < 10; i++) {
		produce_as(0, 3, NULL, 30000);
		produce_as(0, 1, NULL, 150000);
		produce(0, 3);
	}
	s.topic = "t";
	s.from = LEAT_FROM_BEGIN;
	s.batch_bytes = 1;
	OK(leat_subscribe(leat, &s, &c));
	follow(c, 0, 70);
}

static void
test_damaged(void **state)
{
	struct fake_options fo = {
	    .queues = 1, .ring_bytes = 1 << 16, .lose_every = 10};
	struct leat_delivery d[BATCH];
	struct leat_consumer *browse, *c;
	int n, total = 0;

	start(&fo);
	c = subscribe(leat, "g");
	browse = subscribe(other, NULL);
	produce(0, 1000); /* the ring was lapped */
	while ((n = leat_poll(browse, d, BATCH, 0)) > 0)
		total += n;
	assert_int_equal(total, 900);
	produce(0, 100);
	for (total = 0; (n = leat_poll(c, d, BATCH, 0)) > 0; total += n)
		OK(leat_ack(c, d, (size_t)n));
	assert_int_equal(total, 990);
	/* Window 1024: it would be stuck had the damaged not been passed. */
	produce(0, 1000);
	for (total = 0; (n = leat_poll(c, d, BATCH, 0)) > 0; total += n)
		OK(leat_ack(c, d, (size_t)n));
	assert_int_equal(total, 900);
}

static void
test_cluster(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 18};
	struct leat_consumer *c[2];
	struct leat_delivery d[BATCH];
	static uint8_t seen[2000];
	int n, total = 0, mine[2] = {0};

	start(&fo);
	memset(seen, 0, sizeof(seen));
	c[0] = subscribe(leat, "g");
	c[1] = subscribe(other, "g");
	assert_int_equal(leat_lease_ms(c[0]), 30000);
	produce(0, 1000);
	for (int turn = 0; total < 2000; turn ^= 1) {
		if (total == 1000 && turn == 0)
			produce(0, 1000);
		n = leat_poll(c[turn], d, 50, 0);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(seen[d[i].queue_offset]++, 0);
		OK(leat_extend(c[turn], d, (size_t)n));
		OK(leat_ack(c[turn], d, (size_t)n));
		mine[turn] += n;
		total += n;
	}
	assert_true(mine[0] > 500 && mine[1] > 500);
	assert_int_equal(leat_poll(c[0], d, 1, 0), 0);
	assert_int_equal(leat_at_end(c[0]), 1);
}

static void
test_returned(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_consumer *a, *b;
	struct leat_delivery d[BATCH], e[BATCH];
	int64_t fetches;

	start(&fo);
	a = subscribe(leat, "g");
	b = subscribe(other, "g");
	produce(0, 40);
	assert_int_equal(leat_poll(a, d, BATCH, 0), 40);
	assert_int_equal(leat_poll(b, e, BATCH, 0), 0);
	OK(leat_nack(a, &d[3], 1));
	assert_int_equal(leat_poll(b, e, BATCH, 1000), 1);
	assert_int_equal(e[0].queue_offset, 3);
	assert_int_equal(e[0].attempt, 2);
	OK(leat_ack(b, e, 1));
	assert_int_equal(leat_ack(a, &d[3], 1), LEAT_E_LEASE);
	OK(leat_ack(a, d, 3));
	fake_do(fake, FAKE_RETURN);
	assert_int_equal(leat_at_end(b), 0);
	assert_int_equal(leat_poll(b, e, 10, 1000), 10);
	assert_int_equal(e[0].queue_offset, 4);
	assert_int_equal(e[0].attempt, 2);
	assert_int_equal(leat_ack(a, &d[4], 4), LEAT_E_LEASE);
	OK(leat_ack(b, e, 10));
	/* The rest, behind the ring's back: not one request for each. */
	produce(0, 900);
	fetches = fake_do(fake, FAKE_FETCHES);
	assert_int_equal(leat_poll(b, e, 26, 1000), 26);
	assert_int_equal(e[25].queue_offset, 39);
	assert_in_range(fake_do(fake, FAKE_FETCHES) - fetches, 1, 2);
	OK(leat_ack(b, e, 26));
	assert_int_equal(leat_poll(a, d, 1, 1000), 1);
	assert_int_equal(d[0].queue_offset, 40);
	assert_int_equal(d[0].attempt, 1);
	/* Whoever leaves gives back at once. */
	leat_close(leat);
	leat = join();
	assert_int_equal(leat_poll(b, e, 2, 1000), 2);
}

static void
test_window(void **state)
{
	struct fake_options fo = {
	    .queues = 1, .ring_bytes = 1 << 16, .window = 64};
	struct leat_delivery d[128];
	struct leat_consumer *c;

	start(&fo);
	c = subscribe(leat, "g");
	produce(0, 200);
	assert_int_equal(leat_poll(c, d, 128, 0), 64);
	assert_int_equal(leat_poll(c, d + 64, 64, 30), 0);
	OK(leat_ack(c, &d[1], 63));
	assert_int_equal(leat_poll(c, d + 64, 64, 0), 0);
	OK(leat_ack(c, &d[0], 1));
	assert_int_equal(leat_poll(c, d, 128, 0), 64);
	assert_int_equal(d[0].queue_offset, 64);
}

static void
test_broker_dies(void **state)
{
	static const enum fake_cmd death[] = {
	    FAKE_NEW_PAGE, FAKE_HANG_UP, FAKE_NEW_BOOT};
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_consumer *c;
	int64_t at = 0;

	start(&fo);
	c = subscribe(leat, NULL);
	for (int i = 0; i < 12; i++) {
		produce(0, 100 + i * 20);
		at = follow(c, at, 60);
		fake_do(fake, death[i % 3]);
		at = follow(c, at, 30);
		produce(0, 50);
	}
	follow(c, at, (int)(written[0] - at));
}

static void
test_claims_outlive_queue(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_delivery d[BATCH], e[BATCH];
	struct leat_consumer *c;

	start(&fo);
	c = subscribe(leat, "g");
	produce(0, 60);
	assert_int_equal(leat_poll(c, d, 20, 0), 20);
	fake_do(fake, FAKE_HANG_UP);
	OK(leat_ping(leat, 5000));
	fake_do(fake, FAKE_NEW_PAGE);
	OK(leat_ack(c, d, 20));
	assert_int_equal(leat_poll(c, e, BATCH, 1000), 40);
	assert_int_equal(e[0].queue_offset, 20);
	/* A new broker has a new table: claims of the old one are gone. */
	fake_do(fake, FAKE_NEW_BOOT);
	OK(leat_ping(leat, 5000));
	assert_int_equal(leat_ack(c, e, 40), LEAT_E_LEASE);
	assert_int_equal(leat_poll(c, e, BATCH, 1000), 60);
	OK(leat_ack(c, e, 60));
}

static void
test_growing_topic(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c, *end;
	struct leat_delivery d[BATCH];

	start(&fo);
	produce(0, 5);
	c = subscribe(leat, "g");
	s.topic = "t";
	OK(leat_subscribe(other, &s, &end)); /* browses from the end */
	assert_int_equal(leat_poll(end, d, BATCH, 0), 0);
	fake_do(fake, FAKE_GROW_TOPIC);
	OK(leat_ping(producer, 5000));
	produce(2, 7);
	assert_int_equal(leat_poll(c, d, BATCH, 0), 5);
	assert_int_equal(leat_poll(c, d, BATCH, 1000), 7);
	assert_int_equal(d[0].queue, 2);
	OK(leat_ack(c, d, 7));
	assert_int_equal(leat_poll(end, d, BATCH, 1000), 7);
}

static void
test_broadcast(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_delivery d[BATCH];
	struct leat_consumer *c;

	start(&fo);
	produce(0, 30);
	s.topic = "t";
	s.group = "g";
	s.mode = LEAT_BROADCASTING;
	s.member = "m";
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_poll(c, d, 20, 0), 20);
	OK(leat_ack(c, d, 10));
	leat_unsubscribe(c);
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_poll(c, d, BATCH, 0), 20);
	assert_int_equal(d[0].queue_offset, 10);
}

static void
test_event_loop(void **state)
{
	struct fake_options fo = {.queues = 1, .ring_bytes = 1 << 16};
	struct pollfd p = {.events = POLLIN};
	struct leat_delivery d[BATCH];
	struct leat_consumer *c;
	int64_t next = 0;
	int n;

	start(&fo);
	c = subscribe(leat, NULL);
	p.fd = leat_fd(leat);
	for (int i = 0; i < 60; i++) {
		produce(0, 3);
		if (i % 20 == 10)
			fake_do(fake, i == 30 ? FAKE_NEW_BOOT : FAKE_NEW_PAGE);
		while (next < written[0]) {
			if (leat_arm(leat) == 0)
				assert_int_equal(poll(&p, 1, 5000), 1);
			n = leat_poll(c, d, BATCH, 0);
			assert_true(n >= 0);
			for (int k = 0; k < n; k++)
				assert_int_equal(d[k].queue_offset, next++);
		}
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_browse),
	    T(test_tags),
	    T(test_lapped),
	    T(test_no_ring),
	    T(test_lagging_queues),
	    T(test_lagging_subscriptions),
	    T(test_returned_while_lagging),
	    T(test_late_fetch),
	    T(test_small_batch),
	    T(test_damaged),
	    T(test_cluster),
	    T(test_returned),
	    T(test_window),
	    T(test_broker_dies),
	    T(test_claims_outlive_queue),
	    T(test_growing_topic),
	    T(test_broadcast),
	    T(test_event_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
