/*
 * channel_test.c - sessions with leat:// addresses, against the scripted
 * cluster behind a channel that a thread of the test ends (support/cutter.h):
 * keys, right and wrong; one connection for everything; connections that are
 * cut anywhere, after which each message is there once. Time runs twenty times
 * as fast. LEAT_SEED, LEAT_CUTS (rounds; 40).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/keyfile.h"
#include "client/remote/inside.h"
#include "tests/support/cutter.h"
#include "fake_cluster.h"
#include "tests/client/message.h"

#define OK(call) assert_int_equal((call), LEAT_OK)
#define WAIT_MS 120000 /* of the fast clock */
#define WINDOW 256

static struct fake_cluster *fake;
static struct cutter *cutter;
static struct leat *leat;
static struct lt_noise_pair broker, own;
static char dir[] = "/tmp/leat-channel-XXXXXX";
static char server[128], key_file[64];
static uint64_t (*real_mono_ns)(void);
static uint64_t seed = 1;

static uint64_t
fast_mono_ns(void)
{
	return real_mono_ns() * 20;
}

static uint64_t
roll(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void
name_server(const uint8_t key[LT_SECRET_KEY], int port)
{
	char text[LT_SECRET_TEXT];

	lt_secret_text(text, key);
	snprintf(server, sizeof(server), "leat://%s@127.0.0.1:%d", text, port);
}

static int
setup(void **state)
{
	struct leat_options o = {.name = "test", .key = key_file};

	(void)state;
	fake = fake_cluster_start(seed);
	cutter = cutter_start(0, fake->port, &broker);
	cutter->known = own.public;
	name_server(broker.public, cutter->port);
	o.server = server;
	return leat_connect(&o, &leat);
}

static int
teardown(void **state)
{
	(void)state;
	leat_close(leat);
	cutter_stop(cutter);
	fake_cluster_stop(fake);
	return 0;
}

/* --- who is who --------------------------------------------------------------
 */

static void
refused(const struct leat_options *o, int status, const char *says)
{
	struct leat *none = NULL;

	assert_int_equal(leat_connect(o, &none), status);
	assert_null(none);
	if (strstr(leat_error(NULL), says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", leat_error(NULL), says);
}

static void
test_addresses(void **state)
{
	static const char *const wrong[] = {"leat://", "leat://h:1",
	    "leat://@h:1", "leat://AAAA@h:1",
	    "leat://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@",
	    "leat://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@h/x",
	    "leat://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@a;b",
	    "leat://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!@h:1"};
	struct leat_options o = {.connect_timeout_ms = 2000, .key = key_file};
	size_t i;

	(void)state;
	for (i = 0; i < LT_COUNT(wrong); i++) {
		o.server = wrong[i];
		refused(&o, LEAT_E_INVALID, "leat key show --broker");
	}
	name_server(broker.public, 1);
	o.server = server;
	refused(&o, LEAT_E_UNREACHABLE, "cannot connect to 127.0.0.1:1");
	/* A group element that has no inverse: no broker has it. */
	o.server =
	    "leat://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@127.0.0.1:1";
	refused(&o, LEAT_E_UNREACHABLE, "cannot connect");
}

static void
test_key_files(void **state)
{
	struct leat_options o = {.connect_timeout_ms = 2000};
	char path[128], text[LT_SECRET_TEXT];
	int fd;

	(void)state;
	name_server(broker.public, 1);
	o.server = server;
	snprintf(path, sizeof(path), "%s/none", dir);
	o.key = path;
	refused(&o, LEAT_E_DENIED, "leat key generate");
	snprintf(path, sizeof(path), "%s/open", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	lt_secret_text(text, own.secret);
	dprintf(fd, "secret %s\n", text);
	close(fd);
	refused(&o, LEAT_E_DENIED, "chmod 600");
	assert_int_equal(chmod(path, 0600), 0);
	refused(&o, LEAT_E_UNREACHABLE, "cannot connect");
	/* The environment, then the user's directory. */
	o.key = NULL;
	setenv("LEAT_KEY", path, 1);
	refused(&o, LEAT_E_UNREACHABLE, "cannot connect");
	unsetenv("LEAT_KEY");
	setenv("XDG_CONFIG_HOME", dir, 1);
	refused(&o, LEAT_E_DENIED, "/leat/key");
	unsetenv("XDG_CONFIG_HOME");
}

static void
test_wrong_keys(void **state)
{
	struct leat_options o = {.connect_timeout_ms = 20000, .key = key_file};
	struct lt_noise_pair other;
	char text[LT_SECRET_TEXT];
	uint64_t from = real_mono_ns();

	(void)state;
	lt_secret_pair(other.secret, other.public);
	name_server(other.public, cutter->port);
	o.server = server;
	refused(&o, LEAT_E_DENIED, "has another key");
	name_server(broker.public, cutter->port);
	cutter->known = other.public;
	refused(&o, LEAT_E_DENIED, "leat grant add key:");
	lt_secret_text(text, own.public);
	assert_non_null(strstr(leat_error(NULL), text));
	cutter->known = own.public;
	assert_int_equal(cutter->refused, 2);
	/* At once, not when the time is over. */
	assert_true(real_mono_ns() - from < 900000000);
}

/* --- the API, by one connection ----------------------------------------------
 */

static void
test_everything_once(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_message m = message("one");
	struct leat_delivery d[8];
	struct leat_receipt r;
	struct leat_topic topic;
	struct leat_consumer *c;
	int n, got = 0, i;

	(void)state;
	for (i = 0; i < 5; i++)
		OK(leat_publish(leat, &m, WAIT_MS, &r));
	assert_true(r.queue_offset >= 0);
	s.topic = "t";
	s.group = "g";
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(leat, &s, &c));
	while (got < 5) {
		n = leat_poll(c, d, LT_COUNT(d), WAIT_MS);
		assert_true(n > 0);
		for (i = 0; i < n; i++) {
			assert_int_equal(d[i].body_bytes, 3);
			assert_memory_equal(d[i].body, "one", 3);
		}
		OK(leat_ack(c, d, (size_t)n));
		got += n;
	}
	OK(leat_topic_describe(leat, "t", &topic));
	assert_int_equal(topic.read_queues, FAKE_QUEUES);
	OK(leat_ping(leat, WAIT_MS));
	leat_unsubscribe(c);
	assert_int_equal(cutter->accepted, 1);
	assert_int_equal(fake->conns, 1);
	assert_int_equal(fake->greetings, 1);
	assert_int_equal(fake->recalls, 0);
}

/* More than a record, both in one piece and together. */
static void
test_large(void **state)
{
	struct leat_message m = message("");
	size_t bytes = 3000000;
	char *body = malloc(bytes);
	size_t i;

	(void)state;
	for (i = 0; i < bytes; i++)
		body[i] = (char)('a' + i % 23);
	m.body = body;
	m.body_bytes = bytes;
	OK(leat_publish(leat, &m, WAIT_MS, NULL));
	for (i = 0; i < 100; i++) {
		m.body_bytes = 1000 * i;
		OK(leat_submit(leat, &m, WAIT_MS, NULL));
	}
	OK(leat_flush(leat, WAIT_MS));
	assert_int_equal(fake->count, 101);
	assert_memory_equal(fake->messages[0].body, body, 63);
	assert_int_equal(cutter->accepted, 1);
	free(body);
}

/* Revoked: the session says so, and what waits ends. */
static void
test_revoked(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_message m = message("x");
	struct lt_noise_pair other;
	struct leat_consumer *c;
	struct leat_delivery d;
	int n;

	(void)state;
	OK(leat_publish(leat, &m, WAIT_MS, NULL));
	s.topic = "t";
	s.group = "g";
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(leat, &s, &c));
	assert_int_equal(leat_poll(c, &d, 1, WAIT_MS), 1);
	lt_secret_pair(other.secret, other.public);
	cutter->known = other.public;
	assert_int_equal(cutter_cut(cutter), 1);
	assert_int_equal(leat_publish(leat, &m, WAIT_MS, NULL), LEAT_E_DENIED);
	assert_non_null(strstr(leat_error(leat), "leat grant add key:"));
	assert_int_equal(leat_poll(c, &d, 1, WAIT_MS), LEAT_E_DENIED);
	/* Allowed again: nothing has to be opened anew. */
	cutter->known = own.public;
	while ((n = leat_publish(leat, &m, WAIT_MS, NULL)) == LEAT_E_DENIED)
		usleep(1000);
	OK(n);
	assert_int_equal(fake->count, 2);
	assert_int_equal(leat_poll(c, &d, 1, WAIT_MS), 1);
	OK(leat_ack(c, &d, 1));
	leat_unsubscribe(c);
}

/* --- each once ---------------------------------------------------------------
 */

/* Bodies are numbers from 0 on: each is there, and once. */
static void
check_once(int count)
{
	unsigned char *seen = calloc((size_t)count, 1);
	int i, n;

	assert_int_equal(fake->count, count);
	for (i = 0; i < count; i++) {
		n = atoi(fake->messages[i].body);
		assert_in_range(n, 0, count - 1);
		if (seen[n]++)
			fail_msg("%d is there twice", n);
	}
	free(seen);
}

static void
collect(int *done, int timeout_ms)
{
	struct leat_receipt r[64];
	int n = leat_completions(leat, r, LT_COUNT(r), timeout_ms), i;

	assert_true(n >= 0);
	for (i = 0; i < n; i++) {
		OK(r[i].status);
		assert_true(r[i].queue_offset >= 0);
		assert_true(r[i].queue < FAKE_QUEUES);
		(*done)++;
	}
}

/* Publish [from, to) with a window, cutting now and then. */
static void
publish_range(int from, int to, void (*disturb)(void))
{
	char body[32];
	int i, done = from;

	for (i = from; i < to; i++) {
		struct leat_message m = message(body);

		snprintf(body, sizeof(body), "%d", i);
		m.body_bytes = strlen(body);
		OK(leat_submit(leat, &m, WAIT_MS, NULL));
		while (i - done >= WINDOW)
			collect(&done, WAIT_MS);
		if (disturb != NULL)
			disturb();
	}
	while (done < to)
		collect(&done, WAIT_MS);
}

static void
cut_sometimes(void)
{
	if (roll() % 60 == 0)
		(void)cutter_cut(cutter);
}

static void
cut_an_answer(void)
{
	if (cutter->bytes_left < 0 && roll() % 40 == 0)
		cutter->bytes_left = (int64_t)(roll() % 400);
}

static void
tamper_sometimes(void)
{
	if (roll() % 60 == 0)
		cutter->tampers = 1;
}

static void
busy_sometimes(void)
{
	if (fake->send_code == 0 && roll() % 60 == 0) {
		fake->times = 1;
		fake->send_code = 2;
	}
}

static void
run_rounds(void (*disturb)(void))
{
	const char *rounds = getenv("LEAT_CUTS");
	int n = rounds == NULL ? 40 : atoi(rounds), count = n * 50;

	if (count > FAKE_MESSAGES)
		count = FAKE_MESSAGES;
	publish_range(0, count, disturb);
	check_once(count);
	print_message("%d messages, %d connections, %d looked for\n", count,
	    (int)cutter->accepted, (int)fake->recalls);
	cutter->bytes_left = -1;
}

static void
test_cut_connections(void **state)
{
	(void)state;
	run_rounds(cut_sometimes);
	assert_true(cutter->accepted > 2);
}

static void
test_cut_answers(void **state)
{
	(void)state;
	run_rounds(cut_an_answer);
	assert_true(cutter->accepted > 2);
	assert_true(fake->recalls > 2);
}

static void
test_tampering(void **state)
{
	(void)state;
	run_rounds(tamper_sometimes);
	assert_true(cutter->accepted > 2);
}

/* An answer that says no says nothing of the other messages of a batch. */
static void
test_busy(void **state)
{
	(void)state;
	run_rounds(busy_sometimes);
	assert_int_equal(cutter->accepted, 1);
	assert_true(fake->recalls > 2);
}

/* Of others, with the id of a message that was not stored: not taken for it. */
static void
test_forged(void **state)
{
	struct leat_message m = message("0");
	char id[LEAT_ID_CHARS + 1], props[64];
	struct leat_receipt r;

	(void)state;
	OK(leat_publish(leat, &m, WAIT_MS, &r));
	memcpy(id, r.id, sizeof(id));
	assert_int_equal(id[LEAT_ID_CHARS - 1], '1');
	id[LEAT_ID_CHARS - 1] = '2';
	snprintf(props, sizeof(props), "UNIQ_KEY\001%s\002", id);
	fake_cluster_put(fake, r.queue, "forged", props);
	m = message("1");
	m.queue = (int32_t)r.queue;
	fake->times = 1;
	fake->send_code = 2;
	OK(leat_publish(leat, &m, WAIT_MS, &r));
	assert_string_equal(r.id, id);
	assert_true(fake->recalls > 0);
	assert_int_equal(fake->count, 3);
	assert_true(r.queue_offset == 2);
	assert_string_equal(fake->messages[2].body, "1");
}

/* Stored, and no answer ever: found when the time is over. */
static void
test_silence(void **state)
{
	struct leat_message m = message("0");
	struct leat_receipt r;

	(void)state;
	OK(leat_publish(leat, &m, WAIT_MS, &r));
	m = message("1");
	m.queue = (int32_t)r.queue;
	cutter->is_deaf = 1;
	assert_int_equal(leat_publish(leat, &m, 3000, &r), LEAT_E_TIMEOUT);
	assert_int_equal(fake->count, 2);
	cutter->is_deaf = 0;
	assert_int_equal(leat_completions(leat, &r, 1, WAIT_MS), 1);
	OK(r.status);
	assert_true(r.queue_offset == 1);
	assert_true(cutter->accepted > 1);
	check_once(2);
}

/* --- how long it waits before it tries again ---------------------------------
 */

static uint64_t hand; /* of the clock */

static uint64_t
hand_ns(void)
{
	return hand;
}

/* 1 s, then 1.6 times as long each time, at most 120 s; a fifth more or less.
 */
static void
test_waits_grow(void **state)
{
	struct lt_farconn *c = lt_farconn_of(lt_far_of(leat), "127.0.0.1:1");
	double want = 1000, least = 2, most = 0;
	uint64_t wait;

	(void)state;
	assert_non_null(c);
	hand = fast_mono_ns();
	lt_clock.mono_ns = hand_ns;
	for (int i = 0; i < 200; i++) {
		OK(lt_farconn_up(c)); /* on its way */
		lt_farconn_down(c, LEAT_E_UNREACHABLE);
		wait = c->try_at - lt_clock_mono_ms();
		assert_in_range(wait, want * 0.8 - 2, want * 1.2 + 2);
		least =
		    (double)wait / want < least ? (double)wait / want : least;
		most = (double)wait / want > most ? (double)wait / want : most;
		hand += (wait - 1) * 1000000; /* not yet */
		assert_int_equal(lt_farconn_up(c), LEAT_E_UNREACHABLE);
		hand += 1000000 + roll() % 1000000;
		want = want * 1.6 < 120000 ? want * 1.6 : 120000;
	}
	lt_clock.mono_ns = fast_mono_ns;
	print_message("of what is due: %.2f to %.2f\n", least, most);
	assert_true(least < 0.9 && most > 1.1); /* not all at once */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_key_files),
	    cmocka_unit_test_setup_teardown(test_wrong_keys, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_everything_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_revoked, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_cut_connections, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut_answers, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tampering, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_waits_grow, setup, teardown),
	};
	const char *s = getenv("LEAT_SEED");
	char why[200], path[128];
	int failed;

	if (s != NULL)
		seed = strtoull(s, NULL, 0) * 2 + 1;
	print_message("LEAT_SEED=%llu\n", (unsigned long long)(seed / 2));
	real_mono_ns = lt_clock.mono_ns;
	lt_clock.mono_ns = fast_mono_ns;
	unsetenv("LEAT_SERVER");
	unsetenv("LEAT_KEY");
	if (lt_secret_init() != LEAT_OK || mkdtemp(dir) == NULL)
		return 1;
	lt_secret_pair(broker.secret, broker.public);
	snprintf(key_file, sizeof(key_file), "%s/key", dir);
	if (lt_keyfile_make(AT_FDCWD, key_file, own.secret, own.public, why,
		sizeof(why)) != LEAT_OK)
		return 1;
	failed = cmocka_run_group_tests_name("channel", tests, NULL, NULL);
	(void)unlink(key_file);
	snprintf(path, sizeof(path), "%s/open", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	return failed;
}
