/* producer_test.c - publishing against a broker in a thread, which dies in
 * every way a broker can. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "fake_broker.h"
#include "leat/leat.h"
#include "tests/client/message.h"

#define OK(call) assert_int_equal((call), LEAT_OK)

static struct fake *fake;
static struct leat *leat;

static int
setup(void **state)
{
	struct fake_options fo = {.queues = 2, .ring_bytes = 1 << 18};
	struct leat_options o = {0};

	fake = fake_start(&fo);
	o.socket = fake_path(fake);
	o.name = "test";
	return leat_connect(&o, &leat);
}

static int
teardown(void **state)
{
	leat_close(leat);
	fake_stop(fake);
	return 0;
}

/* Collect `want` receipts, all OK, users counting up from *first. */
static void
collect(int want, uintptr_t first)
{
	struct leat_receipt r[64];
	int got = 0, n;

	while (got < want) {
		n = leat_completions(leat, r, 64, 10000);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal(r[i].status, LEAT_OK);
			assert_int_equal(
			    (uintptr_t)r[i].user, first + (uintptr_t)got++);
		}
	}
	assert_int_equal(got, want);
}

static void
test_publish(void **state)
{
	struct leat_message m = message("hello");
	struct leat_receipt r;

	OK(leat_publish(leat, &m, 5000, &r));
	assert_int_equal(r.level, LEAT_SYNCED);
	assert_int_equal(r.queue, 0);
	assert_int_equal(r.queue_offset, 0);
	assert_int_equal(r.log_offset, 0);
	assert_true(r.store_time_ms > 1600000000000);
	assert_string_equal(r.id, "000000000000ABC10000000000000001");
	OK(leat_publish(leat, &m, 5000, &r)); /* round robin */
	assert_int_equal(r.queue, 1);
	m.queue = 0;
	m.level = LEAT_LOGGED;
	OK(leat_publish(leat, &m, 5000, &r));
	assert_int_equal(r.queue, 0);
	assert_int_equal(r.queue_offset, 1);
	assert_int_equal(leat_in_flight(leat), 0);
	m.queue = -1;
	m.group_key = "same";
	OK(leat_publish(leat, &m, 5000, &r));
	m.body_bytes = 0;
	uint32_t queue = r.queue;
	OK(leat_publish(leat, &m, 5000, &r));
	assert_int_equal(r.queue, queue);
	OK(leat_ping(leat, 5000));
}

static void
test_refusals(void **state)
{
	struct leat_message m = message("x");
	struct leat_property bad = {"KEYS", "v"};
	char body[1] = {0};

	m.topic = "no-such";
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_NOTFOUND);
	assert_non_null(strstr(leat_error(leat), "leat topic create"));
	m.topic = "a b";
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_NAME);
	m.topic = "t";
	m.queue = 2;
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_QUEUE);
	m.queue = -1;
	m.body = body;
	m.body_bytes = (1 << 20) + 1;
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_TOOBIG);
	m.body_bytes = 1;
	m.properties = &bad;
	m.property_count = 1;
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_INVALID);
	m.property_count = 0;
	fake_do(fake, FAKE_REFUSE);
	assert_int_equal(leat_publish(leat, &m, 5000, NULL), LEAT_E_NOSPACE);
	OK(leat_publish(leat, &m, 5000, NULL));
	assert_int_equal(leat_publish(NULL, &m, 0, NULL), LEAT_E_INVALID);
}

static void
test_window(void **state)
{
	struct leat_message m =
	    message("0123456789012345678901234567890123456");
	struct leat_receipt r[256];
	uintptr_t sent = 0, got = 0;
	int n;

	while (got < 20000) {
		while (sent < 20000 && leat_in_flight(leat) < 256) {
			OK(leat_submit(leat, &m, 5000, (void *)sent));
			sent++;
		}
		n = leat_completions(leat, r, 256, 5000);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal((uintptr_t)r[i].user, got++);
			assert_int_equal(r[i].status, LEAT_OK);
			assert_true(r[i].queue_offset >= 0);
		}
	}
	assert_int_equal(leat_completions(leat, r, 1, -1), 0);
	assert_int_equal(fake_do(fake, FAKE_COUNT), 20000);
}

static void
test_batch(void **state)
{
	static struct leat_message m[2000];
	static struct leat_receipt r[2000];

	for (int i = 0; i < 2000; i++) {
		m[i] = message("batch");
		m[i].queue = 1;
	}
	OK(leat_publish_batch(leat, m, 2000, 10000, r));
	for (int i = 0; i < 2000; i++)
		assert_int_equal(r[i].queue_offset, i);
	assert_int_equal(leat_in_flight(leat), 0);
	m[3].queue = 9;
	assert_int_equal(
	    leat_publish_batch(leat, m, 5, 10000, r), LEAT_E_QUEUE);
	assert_int_equal(r[2].status, LEAT_OK);
	assert_int_equal(r[2].queue_offset, 2002);
	assert_int_equal(r[3].status, LEAT_E_QUEUE);
	assert_int_equal(r[4].status, LEAT_E_QUEUE);
}

static void
test_too_many(void **state)
{
	struct leat_message m = message("");
	struct leat_receipt r;
	int status = LEAT_OK, n = 0;

	m.level = LEAT_ACCEPTED;
	while ((status = leat_submit(leat, &m, 1000, NULL)) == LEAT_OK)
		assert_true(n++ < 100000);
	assert_int_equal(status, LEAT_E_AGAIN);
	assert_int_equal(n, 512); /* entries of a page for a 64 KiB lane */
	assert_int_equal(leat_completions(leat, &r, 1, 5000), 1);
	OK(leat_submit(leat, &m, 1000, NULL));
}

/* A message that found no room takes no queue's turn. */
static void
test_turns(void **state)
{
	struct leat_message m = message("in turn");
	struct leat_receipt r[64];
	uint32_t turn = 0;
	int status, n;

	m.level = LEAT_LOGGED;
	for (int round = 0; round < 3; round++) {
		fake_do(fake, FAKE_STALL);
		while ((status = leat_submit(leat, &m, 1, NULL)) == LEAT_OK)
			;
		assert_int_equal(status, LEAT_E_AGAIN);
		assert_int_equal(leat_submit(leat, &m, 0, NULL), LEAT_E_AGAIN);
		fake_do(fake, FAKE_GO);
		while (leat_in_flight(leat) > 0) {
			n = leat_completions(leat, r, 64, 5000);
			for (int i = 0; i < n; i++)
				assert_int_equal(r[i].queue, turn++ % 2);
		}
	}
	assert_true(turn > 300);
}

static void
test_large_lane(void **state)
{
	static char body[300000];
	struct leat_message m = message("small");
	struct leat_receipt r;

	OK(leat_publish(leat, &m, 5000, NULL));
	m.body = body;
	m.body_bytes = sizeof(body);
	OK(leat_publish(leat, &m, 5000, &r));
	assert_true(r.log_offset > 0);
	m = message("small");
	OK(leat_publish(leat, &m, 5000, &r));
	assert_true(r.log_offset > 300000);
}

static void
test_reserve(void **state)
{
	struct leat_message m = message("");
	char keys[] = "k1 k2";
	struct leat_receipt r;
	void *body;

	m.keys = keys;
	OK(leat_reserve(leat, &m, 1000, 1000, &body));
	memset(keys, 'x', 5); /* borrowed only until reserve returned */
	memset(body, 'b', 10);
	assert_int_equal(leat_publish(leat, &m, 0, NULL), LEAT_E_BUSY);
	assert_int_equal(leat_commit(leat, 1001, NULL), LEAT_E_INVALID);
	OK(leat_commit(leat, 10, &m));
	assert_int_equal(leat_completions(leat, &r, 1, 5000), 1);
	assert_ptr_equal(r.user, &m);
	OK(leat_reserve(leat, &m, 60, 1000, &body));
	leat_abort(leat);
	assert_int_equal(leat_commit(leat, 1, NULL), LEAT_E_INVALID);
	OK(leat_publish(leat, &m, 5000, &r));
	assert_int_equal(fake_do(fake, FAKE_COUNT), 2);
}

static void
test_timeout(void **state)
{
	struct leat_message m = message("late");
	struct leat_receipt r;

	m.level = LEAT_ACCEPTED;
	OK(leat_publish(leat, &m, 5000, &r));
	fake_do(fake, FAKE_STALL);
	OK(leat_publish(leat, &m, 0, &r));
	assert_int_equal(r.level, LEAT_ACCEPTED);
	m.level = LEAT_SYNCED;
	assert_int_equal(leat_publish(leat, &m, 20, &r), LEAT_E_TIMEOUT);
	assert_int_equal(leat_in_flight(leat), 1);
	assert_int_equal(leat_flush(leat, 20), LEAT_E_TIMEOUT);
	fake_do(fake, FAKE_GO);
	OK(leat_flush(leat, 5000));
	assert_int_equal(leat_completions(leat, &r, 1, 0), 1);
	assert_null(r.user);
}

static void
submit(int n, uintptr_t first)
{
	struct leat_message m = message("precious");

	for (int i = 0; i < n; i++)
		OK(leat_submit(leat, &m, 5000, (void *)(first + (uintptr_t)i)));
}

static void
test_store_dies(void **state)
{
	struct leat_receipt r[4];

	submit(3, 0);
	OK(leat_flush(leat, 5000)); /* complete on the old page only */
	fake_do(fake, FAKE_STALL);
	submit(100, 3);
	fake_do(fake, FAKE_LOG_SILENTLY);
	submit(50, 103);
	fake_do(fake, FAKE_NEW_PAGE);
	fake_do(fake, FAKE_GO);
	OK(leat_flush(leat, 5000));
	assert_int_equal(leat_completions(leat, r, 4, 5000), 4);
	assert_int_equal((uintptr_t)r[2].user, 2);
	assert_true(r[2].queue_offset >= 0); /* harvested in time */
	assert_int_equal(r[3].status, LEAT_OK);
	assert_int_equal(r[3].queue_offset, -1); /* nobody was told */
	collect(149, 4);
	assert_int_equal(fake_do(fake, FAKE_COUNT), 153);
}

static void
test_queue_dies(void **state)
{
	struct leat_topic t;

	submit(10, 0);
	fake_do(fake, FAKE_HANG_UP);
	submit(10, 10);
	collect(20, 0);
	OK(leat_topic_describe(leat, "t", &t));
	assert_int_equal(t.write_queues, 2);
	fake_do(fake, FAKE_HANG_UP);
	OK(leat_ping(leat, 5000));
	assert_int_equal(fake_do(fake, FAKE_COUNT), 20);
}

static void
all_die(int silently)
{
	submit(5, 0);
	collect(5, 0);
	fake_do(fake, FAKE_STALL);
	submit(80, 5);
	if (silently)
		fake_do(fake, FAKE_LOG_SILENTLY);
	submit(40, 85);
	fake_do(fake, FAKE_NEW_BOOT);
	submit(3, 125); /* into a lane that nobody will read */
	fake_do(fake, FAKE_GO);
	collect(123, 5);
	submit(1, 128);
	collect(1, 128);
	assert_int_equal(fake_do(fake, FAKE_COUNT), 129);
}

static void
test_all_die(void **state)
{
	all_die(0);
}

static void
test_all_die_logged(void **state)
{
	all_die(1);
}

/* The lane is full when the broker dies, and it dies again half way. */
static void
test_all_die_twice(void **state)
{
	struct leat_message m = message("precious precious precious precious");
	uintptr_t n = 0;

	fake_do(fake, FAKE_STALL);
	m.level = LEAT_LOGGED;
	while (leat_submit(leat, &m, 0, (void *)n) == LEAT_OK)
		n++;
	assert_true(n > 100);
	fake_do(fake, FAKE_NEW_BOOT);
	OK(leat_ping(leat, 5000));
	fake_do(fake, FAKE_LOG_SILENTLY);
	fake_do(fake, FAKE_NEW_BOOT);
	OK(leat_ping(leat, 5000));
	fake_do(fake, FAKE_NEW_BOOT);
	fake_do(fake, FAKE_GO);
	collect((int)n, 0);
	assert_int_equal(fake_do(fake, FAKE_COUNT), n);
}

static void
test_event_loop(void **state)
{
	struct leat_message m = message("event");
	struct pollfd p = {.events = POLLIN};
	struct leat_receipt r;
	int armed;

	p.fd = leat_fd(leat);
	assert_true(p.fd >= 0);
	for (uintptr_t i = 0; i < 100; i++) {
		OK(leat_submit(leat, &m, 1000, (void *)i));
		while (
		    (armed = leat_arm(leat)) == 0 && leat_in_flight(leat) != 0)
			assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_equal(leat_completions(leat, &r, 1, 0), 1);
		assert_int_equal((uintptr_t)r.user, i);
		if (i == 50)
			fake_do(fake, FAKE_NEW_BOOT);
	}
}

static void
test_unreachable(void **state)
{
	struct leat_options o = {.socket = "/nonexistent/leat.sock"};
	struct leat *none;

	assert_int_equal(leat_connect(&o, &none), LEAT_E_UNREACHABLE);
	assert_null(none);
	assert_string_equal(leat_error(NULL),
	    "cannot connect to /nonexistent/leat.sock: no such file: start it "
	    "with: leatd --dir DIR");
	leat_close(NULL);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_publish),
	    T(test_refusals),
	    T(test_window),
	    T(test_batch),
	    T(test_too_many),
	    T(test_turns),
	    T(test_large_lane),
	    T(test_reserve),
	    T(test_timeout),
	    T(test_store_dies),
	    T(test_queue_dies),
	    T(test_all_die),
	    T(test_all_die_logged),
	    T(test_all_die_twice),
	    T(test_event_loop),
	    cmocka_unit_test(test_unreachable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
