/*
 * store_proc_test.c - a real leat-store between a supervisor and a queue
 * manager played by this program: start, publish, stop; killed at every
 * failpoint of the store and at random, restarted with what is kept. Judged by
 * the log: every message exactly once, in order, where its receipt says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdpass.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "shm/counter.h"
#include "shm/doorbell.h"
#include "store/reader.h"

static int
setup(void **state)
{
	world_make(&world);
	publishers_make();
	return 0;
}

static int
teardown(void **state)
{
	if (world.pid > 0) {
		kill(world.pid, SIGKILL);
		(void)proc_reap(&world);
	}
	publishers_free();
	world_end(&world);
	return 0;
}

static void
start(struct world *w)
{
	proc_spawn(w, NULL);
	assert_true(proc_await_ready(w));
	assert_true(proc_introduce(w, 1));
}

/* --- the tests --- */

static void
test_late_start(void **state)
{
	struct world *w = &world;

	w->is_late = 1;
	for (int i = 0; i < 3; i++) {
		start(w);
		proc_stop(w);
	}
	w->is_late = 0;
}

static void
append(struct world *w, uint32_t topic, const char *name, uint32_t level)
{
	struct {
		struct lt_wire_append m;
		uint8_t record[512];
	} a;
	struct lt_record_spec spec = {
	    .topic = name,
	    .topic_bytes = strlen(name),
	    .tag = "begin",
	    .tag_bytes = 5,
	};
	size_t bytes;

	memset(&a, 0, sizeof(a));
	bytes = lt_record_finish(a.record, &spec, 0);
	lt_wire_init(&a.m.h, LT_OP_S_APPEND, sizeof(a.m), bytes, 9);
	a.m.topic = topic;
	a.m.level = level;
	(void)proc_try_send(w, &a, sizeof(a.m) + bytes, NULL, 0);
}

static void
test_story(void **state)
{
	struct world *w = &world;
	struct lt_wire_queue q;
	struct lt_wire_number n;
	struct lt_segment counters;
	int64_t sum = 0;

	start(w);
	assert_int_equal(w->topics_told, 0);
	assert_true(w->is_kept_again);
	assert_int_equal(proc_load(w, 200, 50), 1);
	proc_drain(w);
	for (uint32_t i = 0; i < 4; i++) {
		memset(&q, 0, sizeof(q));
		lt_wire_init(&q.h, LT_OP_S_QUEUE_SYNC, sizeof(q), 0, 11 + i);
		q.topic = RIG_TOPIC;
		q.queue = i;
		proc_send_fds(w->peer, &q, sizeof(q), NULL, 0);
		assert_true(proc_await(w, LT_OP_S_QUEUE_SYNC));
		assert_int_equal(((struct lt_wire *)proc_msg)->tag, 11 + i);
		sum += ((struct lt_wire_range *)proc_msg)->max_offset;
	}
	assert_true(sum == (int64_t)(publishers[0].c.seq + publishers[1].c.seq +
				     publishers[2].c.seq));
	append(w, 8, LT_NAME_CONFIG_TOPIC, LEAT_SYNCED);
	assert_true(proc_await(w, LT_OP_S_APPEND));
	assert_int_equal(
	    ((struct lt_wire_appended *)proc_msg)->queue_offset, 0);
	append(w, 77, "unknown", LEAT_SYNCED);
	assert_true(proc_await(w, LT_OP_S_APPEND));
	assert_int_equal(((struct lt_wire *)proc_msg)->status, LEAT_E_NOTFOUND);
	lt_wire_init(&q.h, LT_OP_S_PING, sizeof(struct lt_wire), 0, 12);
	proc_send_fds(w->peer, &q, sizeof(struct lt_wire), NULL, 0);
	assert_true(proc_await(w, LT_OP_S_PING));
	/* The last words of a session that goes are heard. */
	assert_true(proc_push(w, &publishers[0], 100) > 0);
	memset(&n, 0, sizeof(n));
	lt_wire_init(&n.h, LT_OP_S_DETACH, sizeof(n), 0, 13);
	n.number = publishers[0].c.id;
	proc_send_fds(w->peer, &n, sizeof(n), NULL, 0);
	assert_true(proc_await(w, LT_OP_S_DETACH));
	proc_collect(&publishers[0]);
	assert_true(publishers[0].collected == publishers[0].c.seq);
	assert_int_equal(
	    lt_segment_attach(&counters, w->counters, LT_SEGMENT_COUNTER, 0, 0),
	    LEAT_OK);
	assert_true(lt_counter_read(&counters, LT_STAT_store_messages) ==
		    (uint64_t)sum + 101);
	assert_int_equal(lt_counter_read(&counters, LT_STAT_store_sessions), 2);
	assert_int_equal(lt_counter_read(&counters, LT_STAT_store_rings), 3);
	lt_segment_detach(&counters);
	proc_stop(w);
	proc_judge(w);
	/* It comes back with everything, after an orderly stop, too. */
	start(w);
	assert_int_equal(w->topics_told, 2);
	assert_false(w->is_kept_again);
	assert_int_equal(proc_load(w, 50, 50), 1);
	proc_drain(w);
	proc_stop(w);
	proc_judge(w);
}

/* Restart until it is up, with what was kept. */
static void
come_back(struct world *w)
{
	proc_spawn(w, NULL);
	assert_true(proc_await_ready(w));
	assert_true(proc_introduce(w, 1));
}

static void
kill_at(struct world *w, const char *failpoint, unsigned round)
{
	char arm[128];
	int status, up;

	snprintf(arm, sizeof(arm), "%s:%u", failpoint, round);
	proc_spawn(w, arm);
	up = proc_await_ready(w) && proc_introduce(w, 1);
	append(w, 8, LT_NAME_CONFIG_TOPIC, LEAT_SYNCED);
	append(w, 9, LT_NAME_PROGRESS_TOPIC, LEAT_SYNCED);
	if (up && proc_load(w, PATIENCE_MS, 1 + round * 20))
		fail_msg("%s was never reached", failpoint);
	status = proc_reap(w);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("%s: status %x", failpoint, status);
	come_back(w);
	assert_int_equal(proc_load(w, 20, 20), 1);
	proc_drain(w);
	proc_stop(w);
}

static void
test_failpoints(void **state)
{
	static const char *const names[] = {"store.drain",
	    "store.append.before", "store.append.half", "store.append.after",
	    "store.ring", "store.complete", "store.sync.before",
	    "store.sync.after", "store.roll", "store.cq.flush",
	    "store.checkpoint", "store.checkpoint.rename", "store.attach",
	    "store.retain"};
	struct world *w = &world;

	w->options.store_retain_check_ms = 100;
	start(w);
	assert_int_equal(proc_load(w, 20, 20), 1);
	proc_drain(w);
	proc_stop(w);
	for (size_t i = 0; i < LT_COUNT(names); i++)
		for (unsigned round = 0; round < 3; round++) {
			/* Nothing goes but for the one that needs it. */
			w->options.store_retain_bytes =
			    strcmp(names[i], "store.retain") == 0 ? 2u << 20
								  : 0;
			if (round > 0 && w->options.store_retain_bytes != 0)
				continue;
			kill_at(w, names[i], round);
			proc_judge(w);
		}
	assert_false(w->is_kept_again);
}

static void
test_dies_in_recovery(void **state)
{
	struct world *w = &world;

	start(w);
	assert_int_equal(proc_load(w, 50, 50), 1);
	kill(w->pid, SIGKILL);
	(void)proc_reap(w);
	for (int i = 0; i < 3; i++) {
		proc_spawn(w, "store.recover");
		if (proc_await_ready(w)) /* nothing was left to recover */
			kill(w->pid, SIGKILL);
		assert_true(WIFSIGNALED(proc_reap(w)));
	}
	come_back(w);
	proc_drain(w);
	proc_stop(w);
	proc_judge(w);
}

static void
test_random_kills(void **state)
{
	struct world *w = &world;
	unsigned seed = 12345;
	const char *rounds = getenv("LEAT_KILL_ROUNDS");
	int n = rounds != NULL ? atoi(rounds) : 40;

	start(w);
	for (int i = 0; i < n; i++) {
		(void)proc_load(w, (uint64_t)(rand_r(&seed) % 30), 100);
		usleep((useconds_t)(rand_r(&seed) % 1000));
		kill(w->pid, SIGKILL);
		(void)proc_reap(w);
		/* What is written meanwhile waits in the lane. */
		for (int k = 0; k < CLIENTS; k++)
			(void)proc_push(w, &publishers[k], 50);
		come_back(w);
	}
	proc_drain(w);
	proc_stop(w);
	proc_judge(w);
}

/* Another queue manager: messages flow on before, while and after. */
static void
test_peer_replaced(void **state)
{
	struct world *w = &world;
	struct lt_wire_number m;
	uint64_t before;
	int peer[2];

	start(w);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(proc_load(w, 20, 20), 1);
		close(w->peer);
		w->peer = -1;
		proc_drain(w);
		before = publishers[0].collected;
		assert_true(proc_push(w, &publishers[0], 10) > 0);
		assert_int_equal(proc_load(w, 20, 20), 1);
		proc_drain(w);
		assert_true(publishers[0].collected >= before + 10);
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer),
		    0);
		memset(&m, 0, sizeof(m));
		lt_wire_init(&m.h, LT_OP_SUP_PEER, sizeof(m), 0, 0);
		m.number = (uint64_t)i + 10;
		proc_send_fds(w->control, &m, sizeof(m), &peer[1], 1);
		close(peer[1]);
		w->peer = peer[0];
		assert_true(proc_greet(w));
		assert_int_equal(w->topics_told, 1);
		assert_true(proc_introduce(w, 0));
	}
	proc_drain(w);
	proc_stop(w);
	proc_judge(w);
}

/* The supervisor is gone: so is the store, at once. */
static void
test_hang_up(void **state)
{
	struct world *w = &world;
	int status;

	start(w);
	assert_int_equal(shutdown(w->control, SHUT_RDWR), 0);
	status = proc_reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

/* A queue manager of another version: better no store than a confused one. */
static void
test_illegal_message(void **state)
{
	struct world *w = &world;
	struct lt_wire_none m;
	int status;

	start(w);
	lt_wire_init(&m.h, LT_OP_PING, sizeof(m), 0, 0);
	proc_send_fds(w->peer, &m, sizeof(m), NULL, 0);
	status = proc_reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), LT_DUTY_EXIT_PROTOCOL);
}

/* A disk that fails: no receipt, and the process ends with its own status. */
static void
test_failing_disk(void **state)
{
	static const char *const names[] = {
	    "store.append.before:5:eio", "store.sync.before:5:eio"};
	struct world *w = &world;
	int status;

	for (size_t i = 0; i < LT_COUNT(names); i++) {
		proc_spawn(w, names[i]);
		assert_true(proc_await_ready(w));
		assert_true(proc_introduce(w, 1));
		assert_int_equal(proc_load(w, PATIENCE_MS, 20), 0);
		status = proc_reap(w);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), LT_DUTY_EXIT_IO);
	}
	come_back(w);
	proc_drain(w);
	proc_stop(w);
	proc_judge(w);
}

/* Nothing is left to do: all is synced, and in a checkpoint. */
static void
await_rest(const struct lt_segment *counters)
{
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;
	uint64_t end;

	do {
		usleep(1000);
		assert_true(lt_clock_mono_ms() < until);
		end = lt_counter_read(counters, LT_STAT_store_log_end);
	} while (lt_counter_read(counters, LT_STAT_store_log_synced) != end ||
		 lt_counter_read(counters, LT_STAT_store_checkpoint) != end);
}

/* Nothing to do costs nothing: it sleeps, and wakes only by its cap. */
static void
test_idle(void **state)
{
	struct world *w = &world;
	struct lt_segment counters;
	uint64_t before, after;

	start(w);
	assert_int_equal(proc_load(w, 20, 20), 1);
	proc_drain(w);
	assert_int_equal(
	    lt_segment_attach(&counters, w->counters, LT_SEGMENT_COUNTER, 0, 0),
	    LEAT_OK);
	await_rest(&counters);
	before = lt_counter_read(&counters, LT_STAT_store_sleeps);
	usleep(1000000);
	after = lt_counter_read(&counters, LT_STAT_store_sleeps);
	assert_true(after - before >= 1 && after - before <= 4);
	assert_int_equal(
	    atomic_load_explicit(&w->beacon->sleeping, memory_order_relaxed),
	    1);
	lt_segment_detach(&counters);
	proc_stop(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_late_start),
	    TEST(test_story),
	    TEST(test_failpoints),
	    TEST(test_dies_in_recovery),
	    TEST(test_random_kills),
	    TEST(test_peer_replaced),
	    TEST(test_hang_up),
	    TEST(test_illegal_message),
	    TEST(test_failing_disk),
	    TEST(test_idle),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
