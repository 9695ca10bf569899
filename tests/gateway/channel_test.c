/*
 * channel_test.c - Leat channels before a whole broker: RocketMQ's requests
 * inside, keys that are known, unknown and taken back, what a relay on the way
 * sees and what it may try, and a flood from one address beside a client.
 */
#include "config.h"
#include "chanrig.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct chanpeer peer, other;
static struct chanreply reply;
static uint64_t refused; /* handshakes, so far */

/* As many as were to be refused were counted, and have a record each. */
static void
await_refusals(void)
{
	assert_int_equal(chanrig_await("gateway_unshaken", refused), refused);
	assert_int_equal(chanrig_audit("act=handshake ", refused), refused);
}

static struct chanpeer *
dial(struct chanpeer *p, const struct lt_noise_pair *own, uint16_t port,
    unsigned x)
{
	int fd = chanpeer_dial(port, x);

	assert_true(fd >= 0);
	chanpeer_init(p, fd, own, it.key);
	return p;
}

static struct chanpeer *
join(struct chanpeer *p, unsigned x)
{
	assert_int_equal(chanpeer_shake(dial(p, &it.alice, it.channel, x)), 0);
	return p;
}

static const char *
text(void)
{
	reply.bytes[reply.body_bytes + (size_t)(reply.body - reply.bytes)] = 0;
	return (const char *)reply.body;
}

/* --- requests --------------------------------------------------------------
 */

static void
test_requests(void **state)
{
	char address[40], route[80];

	join(&peer, 1);
	/* A broker's requests and a name server's, in both forms. */
	assert_int_equal(chanrig_send(&peer, "t1", "one", 3, &reply), 0);
	assert_int_equal(chanrig_send(&peer, "t1", "two", 3, &reply), 0);
	for (int is_json = 0; is_json < 2; is_json++) {
		assert_int_equal(
		    chanrig_call(&peer, is_json, 11,
			CHANFIELDS({"consumerGroup", "g"}, {"topic", "t1"},
			    {"queueId", "0"}, {"queueOffset", "0"},
			    {"maxMsgNums", "32"}, {"sysFlag", "6"},
			    {"commitOffset", "0"},
			    {"suspendTimeoutMillis", "5000"},
			    {"subscription", "*"}, {"subVersion", "0"}),
			NULL, 0, &reply),
		    0);
		assert_non_null(memmem(reply.body, reply.body_bytes, "one", 3));
		assert_non_null(memmem(reply.body, reply.body_bytes, "two", 3));
		/* A route names what was dialled. */
		assert_int_equal(
		    chanrig_call(&peer, is_json, 105,
			CHANFIELDS({"topic", "t1"}), NULL, 0, &reply),
		    0);
		snprintf(
		    address, sizeof address, "127.0.0.1:%u", ntohs(it.channel));
		snprintf(route, sizeof route, "\"brokerAddrs\":{\"0\":\"%s\"}",
		    address);
		assert_non_null(strstr(text(), route));
	}
	assert_int_equal(chanrig_call(&peer, 0, 106, CHANFIELDS({NULL, NULL}),
			     NULL, 0, &reply),
	    0);
	assert_non_null(strstr(text(), route));
	/* What nothing was granted for; codes of nobody. */
	assert_int_equal(chanrig_send(&peer, "x1", "no", 2, &reply), 16);
	assert_int_equal(chanrig_call(&peer, 0, 215,
			     CHANFIELDS({"topic", "t1"}), NULL, 0, &reply),
	    16);
	assert_int_equal(
	    chanrig_call(&peer, 0, 100,
		CHANFIELDS({"namespace", "n"}, {"key", "k"}, {"value", "v"}),
		NULL, 0, &reply),
	    16);
	assert_int_equal(chanrig_call(&peer, 0, 77777, CHANFIELDS({NULL, NULL}),
			     NULL, 0, &reply),
	    3);
	chanrig_await("gateway_channels", 1);
	chanpeer_close(&peer);
}

static void
test_key_files(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = {{"broker.key", 0600}, {"broker.pub", 0644}};
	char path[128];
	struct stat st;

	for (size_t i = 0; i < LT_COUNT(files); i++) {
		snprintf(path, sizeof path, "%s/%s", it.dir, files[i].name);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, files[i].mode);
	}
}

/* --- who is let in ---------------------------------------------------------
 */

/* Time from the proof to the end, in us; no byte may come. */
static uint64_t
turned_away(const struct lt_noise_pair *own, unsigned x)
{
	uint64_t begin;

	dial(&peer, own, it.channel, x);
	assert_int_equal(chanpeer_hello(&peer), 0);
	assert_int_equal(chanpeer_proof(&peer), 0);
	begin = chanrig_now_us();
	assert_int_equal(chanpeer_rest(peer.fd), 0);
	begin = chanrig_now_us() - begin;
	chanpeer_close(&peer);
	refused++;
	return begin;
}

static void
give_back(void)
{
	chanrig_rules(1);
	for (int i = 0; i < 200; i++) {
		int rc = chanpeer_shake(
		    dial(&peer, &it.alice, it.channel, 30 + (unsigned)i % 9));

		chanpeer_close(&peer);
		if (rc == 0)
			return;
		refused++;
		usleep(20000);
	}
	fail_msg("rules were not read again");
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
test_unknown_as_revoked(void **state)
{
	enum {
		TIMES = 40
	};
	uint64_t unknown[TIMES], revoked[TIMES];
	uint64_t cut = chanrig_counter("gateway_revoked");
	uint8_t c;

	join(&peer, 1);
	assert_int_equal(chanrig_send(&peer, "t1", "x", 1, &reply), 0);
	chanrig_rules(0);
	assert_int_not_equal(chanpeer_recv(&peer, &c, 1), 0); /* cut */
	assert_true(peer.is_over);
	chanpeer_close(&peer);
	for (unsigned i = 0; i < TIMES; i++) { /* in turns */
		unknown[i] = turned_away(&it.mallory, 10);
		revoked[i] = turned_away(&it.alice, 11);
	}
	await_refusals();
	assert_int_equal(chanrig_await("gateway_revoked", cut + 1), cut + 1);
	assert_int_equal(chanrig_audit("outcome=revoked", 1), 1);
	qsort(unknown, TIMES, sizeof unknown[0], by_value);
	qsort(revoked, TIMES, sizeof revoked[0], by_value);
	printf("closed after: unknown %llu us, revoked %llu us (medians)\n",
	    (unsigned long long)unknown[TIMES / 2],
	    (unsigned long long)revoked[TIMES / 2]);
	/* Rough: other processes have their share of the machine. */
	assert_true(unknown[TIMES / 2] < 4 * revoked[TIMES / 2] + 2000);
	assert_true(revoked[TIMES / 2] < 4 * unknown[TIMES / 2] + 2000);
	give_back();
}

/* One refusal each: counted, for the log has one line a second. */
static void
test_spoilt_handshakes(void **state)
{
	static const size_t sizes[] = {
	    LT_CHANNEL_HELLO, LT_CHANNEL_ANSWER, LT_CHANNEL_PROOF};
	uint8_t m[LT_CHANNEL_PROOF];
	uint64_t spoilt = 0;

	for (size_t k = 0; k < LT_COUNT(sizes); k++)
		for (size_t i = 0; i < 2 * sizes[k]; i++, spoilt++) {
			size_t bytes = sizes[0];
			int is_cut = i >= sizes[k]; /* else flipped */
			size_t at = i % sizes[k];

			dial(&peer, &it.alice, it.channel,
			    20 + (unsigned)spoilt % 9);
			OK(lt_channel_hello(&peer.channel, m));
			if (k >= 1) {
				(void)send_all(peer.fd, m, bytes);
				bytes = sizes[1];
				assert_int_equal(
				    recv_all(peer.fd, m, bytes), 0);
			}
			if (k == 2) {
				bytes = sizes[2];
				OK(lt_channel_finish(&peer.channel, m, m));
			}
			if (k == 1 && !is_cut) {
				uint8_t proof[LT_CHANNEL_PROOF];

				m[at] ^= (uint8_t)(1u << (i % 8));
				assert_int_equal(
				    lt_channel_finish(&peer.channel, m, proof),
				    LEAT_E_CORRUPT);
				bytes = 0;
			} else if (k == 1 || (is_cut && at == 0 && k == 0)) {
				bytes = k == 1 ? 0 : 1;
			} else if (is_cut) {
				bytes = at;
			} else {
				m[at] ^= (uint8_t)(1u << (i % 8));
			}
			(void)send_all(peer.fd, m, bytes);
			shutdown(peer.fd, SHUT_WR);
			assert_int_equal(chanpeer_rest(peer.fd), 0);
			chanpeer_close(&peer);
		}
	refused += spoilt;
	await_refusals();
	printf("%llu spoilt handshakes\n", (unsigned long long)spoilt);
}

/* --- somebody on the way ---------------------------------------------------
 */

static struct {
	int listener;
	uint16_t port;
	uint8_t bytes[2][1 << 20]; /* client's, broker's */
	size_t used[2];
} relay;

static void *
run_relay(void *user)
{
	int fd[2] = {
	    accept(relay.listener, NULL, NULL), chanpeer_dial(it.channel, 0)};
	int open_ends = 2;

	while (open_ends > 0) {
		struct pollfd p[2] = {{.fd = fd[0], .events = POLLIN},
		    {.fd = fd[1], .events = POLLIN}};

		if (poll(p, 2, -1) < 0)
			break;
		for (int i = 0; i < 2; i++) {
			uint8_t *at = relay.bytes[i] + relay.used[i];
			size_t room = sizeof relay.bytes[i] - relay.used[i];
			ssize_t n;

			if (p[i].revents == 0)
				continue;
			n = recv(fd[i], at, room, 0);
			if (n <= 0) {
				shutdown(fd[!i], SHUT_WR);
				open_ends--;
				if (n < 0)
					open_ends = 0;
				break;
			}
			relay.used[i] += (size_t)n;
			if (send_all(fd[!i], at, (size_t)n) != 0)
				open_ends = 0;
		}
		if (open_ends == 1)
			open_ends = 0; /* one end is enough here */
	}
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

static void
start_relay(pthread_t *t)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof at;

	relay.used[0] = relay.used[1] = 0;
	relay.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(relay.listener, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(relay.listener, 1), 0);
	assert_int_equal(
	    getsockname(relay.listener, (struct sockaddr *)&at, &n), 0);
	relay.port = at.sin_port;
	assert_int_equal(pthread_create(t, NULL, run_relay, NULL), 0);
}

static void
has_not(const void *what, size_t bytes, const char *name)
{
	for (int i = 0; i < 2; i++)
		if (memmem(relay.bytes[i], relay.used[i], what, bytes) != NULL)
			fail_msg("%s was seen on the way", name);
}

static void
test_captured_bytes(void **state)
{
	static const char body[] = "a body that nobody is to read 4711";
	char key[LT_SECRET_TEXT];
	pthread_t t;
	int fd;

	start_relay(&t);
	assert_int_equal(
	    chanpeer_shake(dial(&peer, &it.alice, relay.port, 0)), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(chanrig_send(&peer, "t-captured", body,
				     sizeof body, &reply),
		    0);
	assert_int_equal(chanrig_call(&peer, 0, 11,
			     CHANFIELDS({"consumerGroup", "g-captured"},
				 {"topic", "t-captured"}, {"queueId", "0"},
				 {"queueOffset", "0"}, {"maxMsgNums", "32"},
				 {"sysFlag", "6"}, {"commitOffset", "0"},
				 {"suspendTimeoutMillis", "5000"},
				 {"subscription", "*"}, {"subVersion", "0"}),
			     NULL, 0, &reply),
	    0);
	assert_non_null(
	    memmem(reply.body, reply.body_bytes, body, sizeof body - 1));
	chanpeer_close(&peer);
	pthread_join(t, NULL);
	close(relay.listener);
	printf("captured: %zu and %zu bytes\n", relay.used[0], relay.used[1]);
	assert_true(relay.used[0] > 10000 && relay.used[1] > 5000);
	/* The search finds what is there: */
	assert_non_null(memmem(relay.bytes[0], relay.used[0], "LEATCH", 6));
	has_not(body, 12, "a body");
	has_not("t-captured", 10, "a topic");
	has_not("g-captured", 10, "a group");
	has_not(it.alice.secret, LT_SECRET_KEY, "the client's secret");
	has_not(it.alice.public, LT_SECRET_KEY, "the client's key");
	has_not(it.key, LT_SECRET_KEY, "the broker's key");
	lt_secret_text(key, it.alice.public);
	has_not(key, 20, "the client's key as text");
	/* All that the client sent, once more: an answer, and the end. */
	fd = chanpeer_dial(it.channel, 0);
	(void)send_all(fd, relay.bytes[0], relay.used[0]);
	assert_int_equal(chanpeer_rest(fd), LT_CHANNEL_ANSWER);
	close(fd);
	refused++;
	await_refusals();
}

static void
test_wrong_broker_key(void **state)
{

	dial(&peer, &it.alice, it.channel, 0);
	lt_channel_init(&peer.channel, &it.alice, it.mallory.public);
	assert_int_equal(chanpeer_hello(&peer), 0);
	assert_int_equal(chanpeer_rest(peer.fd), 0);
	chanpeer_close(&peer);
	refused++;
	await_refusals();
}

/* --- under load ------------------------------------------------------------
 */

static atomic_int is_loaded;
static _Atomic uint64_t sent, ended_us;

static void *
load(void *user)
{
	static struct chanreply r;
	static uint8_t frame[4096];
	static char body[1024];
	size_t n = chanrig_frame(frame, sizeof frame, 0, 310, 1,
	    CHANFIELDS({"a", "pg"}, {"b", "t-load"}, {"c", "TBW102"},
		{"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1700000000123"},
		{"h", "0"}, {"i", ""}, {"j", "0"}),
	    body, sizeof body);
	int rc = 0, ahead = 0;

	while (rc == 0) {
		for (; rc == 0 && ahead < 64; ahead++)
			rc = chanpeer_send(&other, frame, n);
		if (rc == 0)
			rc = chanrig_reply(&other, &r);
		if (rc == 0 && r.code == 0)
			atomic_fetch_add(&sent, 1);
		ahead--;
		atomic_store(&is_loaded, atomic_load(&sent) > 1000);
	}
	atomic_store(&ended_us, chanrig_now_us());
	return NULL;
}

static void
test_revocation_under_load(void **state)
{
	uint64_t begin;
	pthread_t t;

	join(&other, 0);
	assert_int_equal(pthread_create(&t, NULL, load, NULL), 0);
	while (!atomic_load(&is_loaded))
		usleep(1000);
	begin = chanrig_now_us();
	chanrig_rules(0);
	pthread_join(t, NULL);
	printf("revoked under load (%llu sent): cut after %llu ms\n",
	    (unsigned long long)atomic_load(&sent),
	    (unsigned long long)(atomic_load(&ended_us) - begin) / 1000);
	assert_true(atomic_load(&ended_us) - begin < 1000000);
	chanpeer_close(&other);
	give_back();
}

/* --- a flood ---------------------------------------------------------------
 */

static atomic_int floods;
static _Atomic uint64_t dialled;

/* So many a second from one address, each with a hello that would be answered.
 */
static void *
flood(void *user)
{
	static struct chanpeer p;
	uint64_t rate = *(uint64_t *)user, begin = chanrig_now_us();
	uint64_t n = 0;

	while (atomic_load(&floods)) {
		struct linger no = {.l_onoff = 1};
		int fd;

		if (n * 1000000 / rate > chanrig_now_us() - begin) {
			usleep(200);
			continue;
		}
		n++;
		fd = chanpeer_dial(it.channel, 77);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &no, sizeof no);
		chanpeer_init(&p, fd, &it.mallory, it.key);
		uint8_t hello[LT_CHANNEL_HELLO] = LT_CHANNEL_PROLOGUE;
		(void)send(fd, hello, sizeof hello, MSG_NOSIGNAL);
		chanpeer_close(&p);
		atomic_fetch_add(&dialled, 1);
	}
	return NULL;
}

static uint64_t
p99(unsigned ms, unsigned *count_out)
{
	static uint64_t took[200000];
	uint64_t end = chanrig_now_us() + ms * 1000;
	size_t n = 0;

	while (chanrig_now_us() < end && n < LT_COUNT(took)) {
		uint64_t begin = chanrig_now_us();

		assert_int_equal(
		    chanrig_send(&peer, "t-flood", "x", 1, &reply), 0);
		took[n++] = chanrig_now_us() - begin;
		usleep(500);
	}
	qsort(took, n, sizeof took[0], by_value);
	*count_out = (unsigned)n;
	return took[n * 99 / 100];
}

/* Short: that the flood is turned away and the client served. LEAT_LONG=1: that
 * its p99 stays within twice; on a machine with nothing else to do. */
static void
test_flood(void **state)
{
	const char *is_long = getenv("LEAT_LONG");
	unsigned ms = is_long != NULL ? 10000 : 1500;
	uint64_t rate = 10000, flooded = chanrig_counter("gateway_flooded");
	uint64_t before, during, begin;
	unsigned n[2];
	pthread_t t;

	join(&peer, 0);
	before = p99(ms, &n[0]);
	atomic_store(&floods, 1);
	begin = chanrig_now_us();
	assert_int_equal(pthread_create(&t, NULL, flood, &rate), 0);
	during = p99(ms, &n[1]);
	atomic_store(&floods, 0);
	begin = chanrig_now_us() - begin;
	pthread_join(t, NULL);
	flooded = chanrig_counter("gateway_flooded") - flooded;
	printf("flood: %llu connections a second, %llu turned away; p99 of a "
	       "send: before %llu us (%u), during %llu us (%u)\n",
	    (unsigned long long)(atomic_load(&dialled) * 1000000 / begin),
	    (unsigned long long)flooded, (unsigned long long)before, n[0],
	    (unsigned long long)during, n[1]);
	assert_true(flooded > atomic_load(&dialled) / 2);
	assert_in_range(chanrig_audit("outcome=flooded", 1), 1, ms / 500 + 2);
	if (is_long != NULL)
		assert_true(during <= 2 * before);
	chanpeer_close(&peer);
}

/* --- not configured ---------------------------------------------------------
 */

static void
skip_if_taken(void)
{
	if (!chanrig_said("not-listening role=channel"))
		return;
	printf("SKIP: port 10922 is somebody else's\n");
	skip();
}

/* Nobody can connect before a key has a grant. */
static void
test_default_port(void **state)
{
	int rc = -1;

	skip_if_taken();
	assert_int_equal(chanpeer_dial(it.channel, 0), -1);
	chanrig_rules(1);
	for (int i = 0; rc != 0 && i < 500; i++) {
		int fd = chanpeer_dial(it.channel, 0);

		if (fd < 0) {
			usleep(10000);
			continue;
		}
		chanpeer_init(&peer, fd, &it.alice, it.key);
		rc = chanpeer_shake(&peer);
		if (rc != 0)
			chanpeer_close(&peer);
	}
	skip_if_taken();
	assert_int_equal(rc, 0);
	assert_int_equal(chanrig_send(&peer, "t1", "one", 3, &reply), 0);
	chanpeer_close(&peer);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest unset[] = {
	    cmocka_unit_test(test_default_port),
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_key_files),
	    cmocka_unit_test(test_unknown_as_revoked),
	    cmocka_unit_test(test_spoilt_handshakes),
	    cmocka_unit_test(test_captured_bytes),
	    cmocka_unit_test(test_wrong_broker_key),
	    cmocka_unit_test(test_revocation_under_load),
	    cmocka_unit_test(test_flood),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	if (lt_secret_init() != LEAT_OK)
		return 1;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, chanrig_setup, chanrig_teardown) +
	       cmocka_run_group_tests(
		   unset, chanrig_setup_default, chanrig_teardown);
}
