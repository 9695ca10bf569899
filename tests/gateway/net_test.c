/*
 * net_test.c - the loop with plain connections: how frames may come in pieces,
 * what bounds do to who sends or reads too slowly, and closing at any time.
 */
#include "config.h"
#include "netrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "leat/status.h"

static int
plain(void **state)
{
	rig_start(&rig_limits, LT_NET_TLS_OFF, NULL);
	return 0;
}

static void
test_split_at_every_byte(void **state)
{
	uint8_t p[300], back[300];
	int fd = dial(rig.port);

	frame_make(p, 100, ORDER_ECHO, 0, 1);
	frame_make(p + 100, 150, ORDER_ECHO, 0, 2);
	frame_make(p + 250, 50, ORDER_ECHO, 0, 3);
	for (size_t at = 1; at < sizeof p; at++) {
		uint64_t in = rig_counters().bytes_in;

		assert_int_equal(send_all(fd, p, at), 0);
		while (rig_counters().bytes_in < in + at)
			; /* each look is a round of the loop */
		assert_int_equal(send_all(fd, p + at, sizeof p - at), 0);
		assert_int_equal(recv_all(fd, back, sizeof back), 0);
		assert_memory_equal(p, back, sizeof p);
	}
	/* One byte a time. */
	for (size_t at = 0; at < sizeof p; at++) {
		uint64_t in = rig_counters().bytes_in;

		assert_int_equal(send_all(fd, p + at, 1), 0);
		while (rig_counters().bytes_in < in + 1)
			;
	}
	assert_int_equal(recv_all(fd, back, sizeof back), 0);
	assert_memory_equal(p, back, sizeof p);
	assert_int_equal(rig_counters().memory, 0);
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.frames, 300 * 3);
	assert_int_equal(rig.counters.bytes_in, 300 * 300);
	assert_int_equal(rig.counters.bytes_out, 300 * 300);
}

/* Frames of all sizes, one behind another; the child sends, we compare. */
static void
check_pipeline(int fd, size_t frames, uint32_t largest)
{
	uint8_t *p = malloc(largest), *back = malloc(largest);
	pid_t child = fork();

	for (size_t i = 0; i < frames; i++) {
		uint32_t bytes =
		    RIG_HEAD + (uint32_t)(i * 7919 % (largest - RIG_HEAD));

		frame_make(p, bytes, ORDER_ECHO, 0, (uint32_t)i);
		if (child == 0) {
			if (send_all(fd, p, bytes) != 0)
				_exit(1);
			continue;
		}
		assert_int_equal(recv_all(fd, back, bytes), 0);
		assert_memory_equal(p, back, bytes);
	}
	if (child == 0)
		_exit(0);
	free(p);
	free(back);
}

static void
test_pipelined(void **state)
{
	int fd = dial(rig.port);

	check_pipeline(fd, 20000, 200);
	check_pipeline(fd, 3000, 9000);
	check_pipeline(fd, 200, 300000);
	check_pipeline(fd, 12, 6 << 20);
	assert_int_equal(rig_counters().memory, 0);
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.frames, 20000 + 3000 + 200 + 12);
}

static void
test_oversize_and_nonsense(void **state)
{
	static const uint32_t sizes[] = {(16 << 20) + 1, 0xFFFFFFFF, 0, 11};
	uint8_t p[RIG_HEAD];

	for (size_t i = 0; i < LT_COUNT(sizes); i++) {
		int fd = dial(rig.port);

		frame_make(p, sizeof p, ORDER_ECHO, 0, 0);
		for (int k = 0; k < 4; k++)
			p[k] = (uint8_t)(sizes[i] >> (24 - 8 * k));
		assert_int_equal(send_all(fd, p, sizeof p), 0);
		assert_true(is_ended(fd));
		close(fd);
	}
	int fd = dial(rig.port);
	assert_int_equal(send_order(fd, ORDER_REFUSE, 0), 0);
	assert_true(is_ended(fd));
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.closed[LT_NET_FRAME], 5);
	assert_int_equal(rig.counters.frames, 1);
}

/* A claim of 16 MiB costs what has arrived. */
static void
test_claim_costs_nothing(void **state)
{
	uint8_t p[8000];
	int fds[200];

	frame_make(p, sizeof p, ORDER_ECHO, 0, 0);
	p[0] = 0, p[1] = 0xF0, p[2] = 0, p[3] = 0;
	for (int i = 0; i < 200; i++) {
		fds[i] = dial(rig.port);
		assert_int_equal(send_all(fds[i], p, i % 2 ? 10 : 5000), 0);
	}
	while (rig_counters().bytes_in < 100 * (10 + 5000))
		;
	for (int i = 0; i < 200; i += 2)
		assert_int_equal(
		    send_all(fds[i], p + 5000, sizeof p - 5000), 0);
	while (rig_counters().bytes_in < 100 * (10 + sizeof p))
		;
	assert_in_range(rig_counters().memory, 100 * (10 + sizeof p),
	    100 * (64 + 2 * sizeof p));
	for (int i = 0; i < 200; i++)
		close(fds[i]);
	assert_true(rig_await_current(0));
	assert_int_equal(rig_counters().memory, 0);
	rig_stop();
}

static void
test_slow_reader(void **state)
{
	int fd = dial(rig.port);
	int other = dial(rig.port);
	uint64_t most = 0;

	/* 400 MiB are asked for and nobody reads. */
	for (int i = 0; i < 4000; i++)
		assert_int_equal(send_order(fd, ORDER_LEND, 100000), 0);
	for (int i = 0; i < 200; i++) {
		assert_true(echo_once(other, 1000, (uint32_t)i));
		uint64_t unsent = rig_counters().unsent;
		most = unsent > most ? unsent : most;
	}
	assert_in_range(most, 1 << 19, (1 << 20) + 110000);
	for (int i = 0; i < 4000; i++)
		assert_true(recv_pattern(fd, 100000));
	assert_true(echo_once(fd, 100, 1));
	close(fd);
	close(other);
	rig_stop();
	assert_int_equal(rig.counters.frames, 4201);
}

/* The kernel's buffers take what they take, when they want to. */
static void
await_quiet(void)
{
	uint64_t before = 0, now;

	for (int same = 0; same < 20; before = now) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		now = rig_counters().bytes_out;
		same = now == before ? same + 1 : 0;
	}
}

static void
test_stalled_reader(void **state)
{
	int fd = dial(rig.port);

	for (int i = 0; i < 200; i++)
		assert_int_equal(send_order(fd, ORDER_FILL, 100000), 0);
	while (rig_counters().unsent < 1 << 19)
		;
	await_quiet();
	rig_advance(59000);
	for (unsigned t = rig.ticks;
	     rig_counters().current && rig.ticks < t + 3;)
		;
	assert_int_equal(rig_counters().current, 1);
	rig_advance(1500);
	assert_true(rig_await_current(0));
	assert_int_equal(rig_counters().memory, 0);
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.closed[LT_NET_STALL], 1);
}

static void
test_idle_and_hello(void **state)
{
	uint8_t p[RIG_HEAD];
	int silent = dial(rig.port);
	int half = dial(rig.port);
	int met = dial(rig.port);

	frame_make(p, sizeof p, ORDER_ECHO, 0, 0);
	assert_int_equal(send_all(half, p, 11), 0);
	assert_true(echo_once(met, 50, 1));
	assert_true(rig_await_current(3));
	while (rig_counters().bytes_in != 61)
		;
	rig_advance(10001);
	assert_true(is_ended(silent));
	assert_true(is_ended(half));
	assert_true(rig_await_current(1));
	assert_true(echo_once(met, 50, 2));
	rig_advance(119000);
	assert_true(echo_once(met, 50, 3));
	rig_advance(119000);
	assert_true(echo_once(met, 50, 4));
	rig_advance(120001);
	assert_true(is_ended(met));
	close(silent);
	close(half);
	close(met);
	rig_stop();
	assert_int_equal(rig.counters.closed[LT_NET_HELLO], 2);
	assert_int_equal(rig.counters.closed[LT_NET_IDLE], 1);
}

static void
test_half_closed(void **state)
{
	int fd = dial(rig.port);
	uint8_t p[RIG_HEAD];

	/* What is unsent is delivered, then closed. */
	assert_int_equal(send_order(fd, ORDER_LEND, 30000000), 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(recv_pattern(fd, 30000000));
	assert_true(is_ended(fd));
	close(fd);
	/* So is what is owed. */
	fd = dial(rig.port);
	assert_int_equal(send_order(fd, ORDER_LATER, 0), 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	while (rig_counters().frames < 2)
		;
	assert_int_equal(rig_counters().current, 1);
	rig_release();
	assert_int_equal(recv_all(fd, p, sizeof p), 0);
	assert_true(is_ended(fd));
	close(fd);
	/* A part of a frame, then the end. */
	fd = dial(rig.port);
	assert_int_equal(send_all(fd, p, 5), 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(is_ended(fd));
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.closed[LT_NET_PEER], 3);
	assert_int_equal(rig.late, 1);
}

/* Whatever is in the socket behind it, the last reply arrives. */
static void
test_drain(void **state)
{
	for (int i = 0; i < 50; i++) {
		int fd = dial(rig.port);

		assert_int_equal(send_order(fd, ORDER_DRAIN, 3000000), 0);
		for (int k = 0; k < 100; k++)
			if (send_order(fd, ORDER_ECHO, 0) != 0)
				break;
		assert_true(recv_pattern(fd, 3000000));
		assert_true(is_ended(fd));
		close(fd);
	}
	/* Who does not close is closed. */
	int fd = dial(rig.port);
	assert_int_equal(send_order(fd, ORDER_DRAIN, 10), 0);
	assert_true(recv_pattern(fd, 10));
	assert_true(is_ended(fd));
	assert_int_equal(rig_counters().current, 1);
	rig_advance(10001);
	assert_true(rig_await_current(0));
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.frames, 51);
	assert_int_equal(rig.counters.closed[LT_NET_OWNER], 51);
}

static void
test_flood_is_fair(void **state)
{
	static uint8_t p[1 << 20];
	int flood = dial(rig.port);
	int good = dial(rig.port);
	uint64_t worst = 0;

	for (size_t at = 0; at + 16 <= sizeof p; at += 16)
		frame_make(p + at, 16, ORDER_FILL, 0, 0); /* no reply */
	assert_true(echo_once(good, 100, 0));
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 100; i++)
			if (send_all(flood, p, sizeof p) != 0)
				_exit(1);
		_exit(0);
	}
	uint64_t all = 100 * sizeof p / 16;
	for (uint32_t i = 0; rig_counters().frames < all; i++) {
		uint8_t frame[100];
		struct lt_net_counters before = rig_counters();

		frame_make(frame, sizeof frame, ORDER_ECHO, 0, i);
		assert_int_equal(send_all(good, frame, sizeof frame), 0);
		assert_int_equal(recv_all(good, frame, sizeof frame), 0);
		struct lt_net_counters after = rig_counters();
		uint64_t most = (after.frames - before.frames) /
				(after.rounds - before.rounds + 1);
		worst = most > worst ? most : worst;
	}
	close(flood);
	close(good);
	rig_stop();
	/* The flood has its turn twice a round at most: event and backlog. */
	assert_in_range(worst, 1, 2 * 256 + 2);
}

static void
test_memory_limit(void **state)
{
	struct lt_net_limits limits = rig_limits;
	uint8_t *p = calloc(1, 3 << 20);
	int fds[20];
	int left = 0;

	rig_stop();
	limits.memory_bytes = 20 << 20;
	rig_start(&limits, LT_NET_TLS_OFF, NULL);
	frame_make(p, 3 << 20, ORDER_ECHO, 0, 0);
	p[1] = 0x80; /* 8 MiB, says the length */
	for (int i = 0; i < 20; i++) {
		fds[i] = dial(rig.port);
		(void)send_all(fds[i], p, (size_t)(i + 1) << 17);
	}
	int good = dial(rig.port);
	assert_true(echo_once(good, 100, 0));
	while (rig_counters().closed[LT_NET_MEMORY] == 0)
		;
	for (int i = 0; i < 100; i++)
		assert_in_range(rig_counters().memory, 0, 20 << 20);
	assert_true(echo_once(good, 100, 0));
	for (int i = 0; i < 20; i++) {
		struct pollfd poll_fd = {.fd = fds[i], .events = POLLIN};

		left += poll(&poll_fd, 1, 0) == 0;
		close(fds[i]);
	}
	assert_in_range(left, 4, 19);
	/* One that alone asks for too much at once. */
	int greedy = dial(rig.port);
	assert_int_equal(send_order(greedy, ORDER_FILL, 30 << 20), 0);
	while (recv(greedy, p, 3 << 20, 0) > 0)
		;
	assert_true(echo_once(good, 100, 0));
	close(greedy);
	close(good);
	free(p);
	rig_stop();
	/* At least four of the twenty stayed; and the greedy one. */
	assert_in_range(rig.counters.closed[LT_NET_MEMORY], 2, 17);
}

static void
test_limit_of_connections(void **state)
{
	struct lt_net_limits limits = rig_limits;
	int fds[5];

	rig_stop();
	limits.connections = 3;
	rig_start(&limits, LT_NET_TLS_OFF, NULL);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++) {
			fds[i] = dial(rig.port);
			assert_true(echo_once(fds[i], 20, 0));
		}
		for (int i = 3; i < 5; i++) {
			fds[i] = dial(rig.port);
			assert_true(is_ended(fds[i]));
		}
		for (int i = 0; i < 5; i++)
			close(fds[i]);
		assert_true(rig_await_current(0));
		rig_counters(); /* its slots are free behind this round */
	}
	rig_stop();
	assert_int_equal(rig.counters.refused, 40);
	assert_int_equal(rig.counters.accepted, 60);
}

static void
test_close_in_callbacks(void **state)
{
	int fds[50];

	for (int i = 0; i < 50; i++) {
		fds[i] = dial(rig.port);
		assert_true(echo_once(fds[i], 100, 0));
	}
	assert_int_equal(send_order(fds[0], ORDER_CLOSE, 0), 0);
	assert_true(is_ended(fds[0]));
	/* All have frames in the socket when one of them closes all. */
	for (int i = 1; i < 50; i++) {
		assert_int_equal(send_order(fds[i], ORDER_CLOSE_ALL, 0), 0);
		(void)send_order(fds[i], ORDER_ECHO, 0);
	}
	for (int i = 1; i < 50; i++)
		assert_true(is_ended(fds[i]));
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	/* A pipeline: what is behind the close is not handed over. */
	uint8_t p[3 * RIG_HEAD];
	int fd = dial(rig.port);
	frame_make(p, RIG_HEAD, ORDER_ECHO, 0, 0);
	frame_make(p + RIG_HEAD, RIG_HEAD, ORDER_CLOSE, 0, 0);
	frame_make(p + 2 * RIG_HEAD, RIG_HEAD, ORDER_ECHO, 0, 0);
	uint64_t frames = rig_counters().frames;
	assert_int_equal(send_all(fd, p, sizeof p), 0);
	while (recv(fd, p, sizeof p, 0) > 0)
		;
	assert_int_equal(rig_counters().frames, frames + 2);
	close(fd);
	rig_stop();
	assert_int_equal(rig.counters.closed[LT_NET_OWNER], 51);
}

static void
test_output(void **state)
{
	static const uint32_t sizes[] = {
	    0, 1, 2999, 8191, 8192, 100000, 5000000};
	int fd = dial(rig.port);

	for (size_t i = 0; i < LT_COUNT(sizes); i++) {
		assert_int_equal(send_order(fd, ORDER_FILL, sizes[i]), 0);
		assert_true(recv_pattern(fd, sizes[i]));
		assert_int_equal(send_order(fd, ORDER_LEND, sizes[i]), 0);
		assert_true(recv_pattern(fd, sizes[i]));
	}
	uint8_t p[RIG_HEAD];
	assert_int_equal(send_order(fd, ORDER_ROOM, 0), 0);
	assert_int_equal(recv_all(fd, p, sizeof p), 0);
	/* done lends again. */
	assert_int_equal(send_order(fd, ORDER_CHAIN, 40), 0);
	for (int i = 0; i < 40; i++)
		assert_true(recv_pattern(fd, 50000));
	/* done of who is gone, too. */
	assert_int_equal(send_order(fd, ORDER_CHAIN, 100000), 0);
	assert_true(recv_pattern(fd, 50000));
	close(fd);
	assert_true(rig_await_current(0));
	assert_int_equal(rig_counters().memory, 0);
	assert_int_equal(rig_counters().unsent, 0);
	rig_stop();
}

static void
test_connect_out(void **state)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof at;
	uint8_t p[100];
	int fd;

	assert_int_equal(lt_net_bind(&at, &fd), LEAT_OK);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
	int again;
	assert_int_equal(lt_net_bind(&at, &again), LEAT_E_BUSY);
	rig_connect(at.sin_port, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&poll_fd, 1, 10000), 1);
	int peer = accept(fd, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(recv_all(peer, p, sizeof p), 0);
	assert_int_equal(send_all(peer, p, sizeof p), 0);
	while (rig_counters().frames != 1)
		;
	close(peer);
	assert_true(rig_await_current(0));
	/* Itself. */
	rig_connect(rig.port, 0);
	while (rig_counters().frames != 3)
		;
	/* Closed before it is up; refused. */
	rig_connect(rig.port, 1);
	close(fd);
	rig_connect(at.sin_port, 0);
	while (rig_counters().closed[LT_NET_UNREACHED] == 0)
		;
	rig_stop();
	assert_int_equal(rig.counters.connected, 2);
	assert_int_equal(rig.counters.closed[LT_NET_UNREACHED], 1);
}

static void
test_wake(void **state)
{
	uint64_t rounds = rig_counters().rounds;
	unsigned woken = rig.woken;

	for (int i = 0; i < 100000; i++)
		lt_net_wake(rig.net);
	/* Coalesced: at most once a round, and the last is not lost. */
	unsigned most = (unsigned)(rig_counters().rounds - rounds) + 1;
	assert_in_range(rig.woken - woken, 1, most);
	for (int i = 0; i < 2000; i++)
		rig_counters(); /* returns only if it was woken */
	rig_stop();
}

static void
bad_setup(void **state)
{
	static const struct lt_net_owner none;
	struct lt_net *net;

	assert_int_equal(
	    lt_net_create(&none, NULL, &rig_limits, 5, &net), LEAT_E_INVALID);
	rig_stop();
}

#define PLAIN(test) cmocka_unit_test_setup(test, plain)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    PLAIN(test_split_at_every_byte),
	    PLAIN(test_pipelined),
	    PLAIN(test_oversize_and_nonsense),
	    PLAIN(test_claim_costs_nothing),
	    PLAIN(test_slow_reader),
	    PLAIN(test_stalled_reader),
	    PLAIN(test_idle_and_hello),
	    PLAIN(test_half_closed),
	    PLAIN(test_drain),
	    PLAIN(test_flood_is_fair),
	    PLAIN(test_memory_limit),
	    PLAIN(test_limit_of_connections),
	    PLAIN(test_close_in_callbacks),
	    PLAIN(test_output),
	    PLAIN(test_connect_out),
	    PLAIN(test_wake),
	    PLAIN(bad_setup),
	};

	alarm(600); /* a wait for what never comes */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
