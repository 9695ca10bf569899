/*
 * schedule_test.c - messages that wait: not before their time, in order, each
 * once, whoever dies and whatever becomes of the wall clock.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/name.h"
#include "proto/record.h"
#include "play_world.h"
#include "queue/schedule.h"
#include "shm/counter.h"

#define SCHEDULE LT_NAME_SCHEDULE_TOPIC
#define LEVELS 3
static const int64_t delays[LEVELS] = {100, 300, 2000};

static struct play_client c;

static int
setup(void **state)
{
	play_init();
	strcpy(play_options.queue_delay_levels, "100ms 300ms 2s");
	play_queue_start();
	play_store_start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_create(&c, "t", 4), LEAT_OK);
	assert_int_equal(play_open(&c, SCHEDULE, LT_RIGHT_PUBLISH), LEAT_OK);
	return 0;
}

static int
teardown(void **state)
{
	play_close(&c);
	play_fini();
	return 0;
}

static int64_t
wait_in(unsigned level, const char *topic, const char *queue, const void *body,
    size_t bytes)
{
	char text[256];

	snprintf(text, sizeof(text),
	    "UNIQ_KEY\001theirs\002TAGS\001red\002DELAY\001%u\002REAL_TOPIC"
	    "\001%s\002REAL_QID\001%s\002",
	    level, topic, queue);
	return play_relay(SCHEDULE, level - 1, text, 1, body, bytes);
}

static uint64_t
dropped(void)
{
	return lt_counter_read(
	    &play_manager()->counters, LT_STAT_queue_delayed_dropped);
}

static int64_t
stored_ms(const char *topic, uint32_t queue, int64_t offset)
{
	return play_record(topic, queue, offset)->store_ms;
}

static void
check_text(const struct lt_record_view *v, const char *name, const char *want)
{
	const char *p;
	size_t n;

	assert_int_equal(
	    lt_record_property(v, name, strlen(name), &p, &n), LEAT_OK);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(p, want, n);
}

/* --- tests --------------------------------------------------------------- */

static void
a_copy_is_the_message_elsewhere(void **state)
{
	const struct lt_record_view *v;
	uint64_t session, seq;

	assert_int_equal(wait_in(2, "t", "3", "hello", 5), 0);
	play_pump();
	for (int64_t ms = 0; ms < delays[1]; ms++) {
		assert_null(play_record("t", 3, 0));
		play_now_ms++;
		play_pump();
	}
	play_pass(2);
	v = play_record("t", 3, 0);
	assert_non_null(v);
	assert_true(v->store_ms >= stored_ms(SCHEDULE, 1, 0) + delays[1]);
	assert_int_equal(v->queue, 3);
	assert_int_equal(v->flag, 5);
	assert_int_equal(v->reconsume, 3);
	assert_int_equal(v->sys_flag, 1);
	assert_int_equal(v->born_ms, 1234567890);
	assert_int_equal(lt_bytes_get32(v->base + 48), 0x0a000001);
	assert_int_equal(lt_bytes_get32(v->base + 52), 4711);
	assert_int_equal(v->body_bytes, 5);
	assert_memory_equal(v->body, "hello", 5);
	check_text(v, "UNIQ_KEY", "theirs");
	check_text(v, "TAGS", "red");
	check_text(v, "DELAY", "2");
	check_text(v, "REAL_TOPIC", "t");
	check_text(v, "REAL_QID", "3");
	assert_int_equal(lt_record_identity(v, &session, &seq), LEAT_OK);
	assert_int_equal(session, 2);
	assert_int_equal(seq, 1);
	play_pass(5000);
	assert_null(play_record("t", 3, 1));
}

/* An id that is ours stays the message's id; its queue may have gone. */
static void
ids_and_queues(void **state)
{
	const struct lt_record_view *v;
	char id[33] = "";
	const char *p;
	size_t n;

	(void)play_relay(
	    SCHEDULE, 0, "REAL_TOPIC\001t\002REAL_QID\0017\002", 0, "x", 1);
	assert_int_equal(lt_record_property(play_record(SCHEDULE, 0, 0),
			     "UNIQ_KEY", 8, &p, &n),
	    LEAT_OK);
	assert_int_equal(n, 32);
	memcpy(id, p, n);
	play_pass(200);
	v = play_record("t", 3, 0);
	assert_non_null(v);
	check_text(v, "UNIQ_KEY", id);
}

static void
only_the_gateway_uses_the_topic(void **state)
{
	const struct lt_wire_topic *t = (const void *)c.reply.bytes;
	struct lt_wire_name req;
	struct play_client other;

	assert_int_equal(play_open(&c, SCHEDULE, LT_RIGHT_PUBLISH), LEAT_OK);
	assert_int_equal(t->write_queues, LT_LEVELS_MAX);
	assert_int_equal(t->system, 1);
	play_options.access_count = 1;
	play_options.access[0] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_ANY,
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE,
		.pattern = "*"};
	play_manager()->options = play_options;
	play_connect_as(&other, 12345);
	assert_int_equal(play_hello(&other), LEAT_OK);
	assert_int_equal(
	    play_open(&other, SCHEDULE, LT_RIGHT_PUBLISH), LEAT_E_DENIED);
	play_close(&other);
	assert_int_equal(play_create(&c, SCHEDULE, 1), LEAT_E_DENIED);
	memset(&req, 0, sizeof(req));
	strcpy(req.name, SCHEDULE);
	assert_int_equal(play_call(&c, LT_OP_TOPIC_DELETE, &req, sizeof(req)),
	    LEAT_E_DENIED);
}

/* A record of some megabytes goes as a file. */
static void
large_records(void **state)
{
	size_t bytes = 3 << 20;
	char *body = malloc(bytes);
	const struct lt_record_view *v;

	assert_non_null(body);
	for (size_t i = 0; i < bytes; i++)
		body[i] = (char)(i * 7 + i / 251);
	(void)wait_in(1, "t", "0", body, bytes);
	(void)wait_in(1, "t", "0", body, 40000);
	(void)wait_in(1, "t", "0", body, 60000);
	play_pass(200);
	v = play_record("t", 0, 0);
	assert_non_null(v);
	assert_int_equal(v->body_bytes, bytes);
	assert_memory_equal(v->body, body, bytes);
	assert_int_equal(play_record("t", 0, 1)->body_bytes, 40000);
	assert_int_equal(play_record("t", 0, 2)->body_bytes, 60000);
	free(body);
}

/* Its copy is in the log, the answer is lost with who waited for it. */
static void
death_before_the_answer(void **state)
{
	for (int i = 0; i < 5; i++)
		(void)wait_in(1, "t", "0", &i, sizeof(i));
	play_freeze_at(LT_OP_S_APPEND);
	play_pass(200);
	assert_int_equal(play_records("t"), 5);
	play_queue_kill();
	play_queue_start();
	play_pass(200);
	assert_int_equal(play_records("t"), 5);
	for (int i = 0; i < 5; i++)
		assert_memory_equal(
		    play_record("t", 0, i)->body, &i, sizeof(i));
}

static void
what_can_not_be_delivered_is_dropped(void **state)
{
	struct lt_wire_name req;

	assert_int_equal(play_create(&c, "gone", 1), LEAT_OK);
	(void)wait_in(1, "gone", "0", "1", 1);
	(void)wait_in(1, "t", "0", "2", 1);
	(void)wait_in(1, "never", "0", "3", 1);
	(void)wait_in(1, LT_NAME_CONFIG_TOPIC, "0", "4", 1);
	(void)wait_in(1, "t", "x", "5", 1);
	(void)wait_in(1, "t", "0", "6", 1);
	(void)wait_in(1, "t", "0", "7", 1);
	play_damage(SCHEDULE, 0, 5);
	memset(&req, 0, sizeof(req));
	strcpy(req.name, "gone");
	assert_int_equal(
	    play_call(&c, LT_OP_TOPIC_DELETE, &req, sizeof(req)), LEAT_OK);
	play_pass(300);
	assert_int_equal(play_records("t"), 2);
	assert_memory_equal(play_record("t", 0, 0)->body, "2", 1);
	assert_memory_equal(play_record("t", 0, 1)->body, "7", 1);
	assert_int_equal(dropped(), 5);
}

/* What looks gone is gone only if the store was there all the time. */
static void
a_dead_store_proves_nothing(void **state)
{
	(void)wait_in(1, "t", "0", "x", 1);
	play_pump();
	play_now_ms += 200;
	assert_int_equal(shutdown(play_world.store, SHUT_RDWR), 0);
	play_damage(SCHEDULE, 0, 0);
	lt_schedule_timer(play_manager(), play_now_ms);
	play_store_kill();
	play_pump();
	play_heal(SCHEDULE, 0, 0);
	play_store_start();
	play_pass(1500);
	assert_int_equal(play_records("t"), 1);
	assert_int_equal(dropped(), 0);
}

/* Whatever is refused, nothing behind it is taken for delivered. */
static void
refusals(void **state)
{
	static const int statuses[] = {
	    LEAT_E_NOSPACE, LEAT_E_BUSY, LEAT_E_TOOBIG, LEAT_E_IO};

	for (size_t k = 0; k < LT_COUNT(statuses); k++) {
		int64_t was = play_records("t");
		int is_lost = statuses[k] == LEAT_E_TOOBIG;

		play_refuse_append(statuses[k], 3);
		for (int i = 0; i < 9; i++)
			(void)wait_in(1, "t", "0", &i, sizeof(i));
		play_pass(200);
		if (!is_lost)
			assert_int_equal(play_records("t"), was + 2);
		play_pass(1200);
		assert_int_equal(play_records("t"), was + 9 - is_lost);
		for (int i = 0; i < 9 - is_lost; i++) {
			int want = i + (is_lost && i >= 2);

			assert_memory_equal(play_record("t", 0, was + i)->body,
			    &want, sizeof(want));
		}
		assert_int_equal(dropped(), k >= 2);
	}
}

static void
retention_is_faster(void **state)
{
	for (int i = 0; i < 10; i++)
		(void)wait_in(1, "t", "0", &i, sizeof(i));
	play_roll(); /* the topics are logged once more */
	play_queue_kill();
	play_retain(SCHEDULE, 0, 4);
	play_queue_start();
	play_pass(200);
	assert_int_equal(play_records("t"), 6);
	assert_int_equal(play_record("t", 0, 0)->body[0], 4);
}

/* The store keeps the segment of the oldest that waits, and all behind it. */
static void
what_waits_is_held(void **state)
{
	const struct lt_record_view *v;
	uint64_t first;

	play_pump();
	assert_true(play_world.hold == UINT64_MAX);
	(void)wait_in(3, "t", "0", "slow", 4);
	v = play_record(SCHEDULE, 2, 0);
	first = (uint64_t)v->log_offset - (uint64_t)v->log_offset % (4 << 20);
	play_pass(50);
	assert_int_equal(play_world.hold, first);
	for (int i = 0; i < 30; i++) {
		(void)wait_in(1, "t", "0", "quick", 5);
		play_pass(50);
		assert_int_equal(play_world.hold, first);
	}
	play_queue_kill();
	play_queue_start();
	play_pump();
	assert_int_equal(play_world.hold, first);
	play_pass(1000);
	assert_true(play_world.hold > first);
	play_pass(1000);
	assert_true(play_world.hold == UINT64_MAX);
}

/* --- the wall clock ------------------------------------------------------- */

static void
the_wall_clock_is_set(void **state)
{
	static const int64_t steps[] = {
	    3600000, -3600000, 1900, -1900, 100, -100, 86400000 * 30ll};
	int64_t n = 0;

	for (size_t k = 0; k < LT_COUNT(steps); k++)
		for (uint64_t at = 0; at < 2000; at += 250) {
			uint64_t came;

			/* Somewhere between two notes of the clocks. */
			play_pass((uint64_t)n * 13 % 100);
			(void)wait_in(3, "t", "0", "x", 1);
			came = play_now_ms;
			play_pass(at);
			play_wall_step_ms += steps[k];
			while (play_records("t") == n) {
				play_now_ms += 5;
				play_pump();
			}
			assert_true(play_now_ms - came >= 2000);
			assert_true(play_now_ms - came < 2250);
			n++;
			/* One that came with the clock as it is now. */
			(void)wait_in(1, "t", "0", "y", 1);
			came = play_now_ms;
			while (play_records("t") == n) {
				play_now_ms += 5;
				play_pump();
			}
			assert_true(play_now_ms - came >= 100);
			assert_true(play_now_ms - came < 350);
			n++;
		}
}

/* --- the cost of waiting -------------------------------------------------- */

static void
ten_thousand_wait(void **state)
{
	enum {
		COUNT = 10000
	};
	struct lt_manager *m = play_manager();
	struct timespec t0, t1;
	unsigned syncs, appends;
	double us;

	for (int i = 0; i < COUNT; i++)
		(void)wait_in(3, "t", "0", &i, sizeof(i));
	play_pump();
	syncs = play_store_got(LT_OP_S_QUEUE_SYNC);
	appends = play_store_got(LT_OP_S_APPEND);
	/* Its process sleeps but for the notes of both clocks. */
	assert_in_range(lt_schedule_timeout(m, play_now_ms), 90, 2000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	for (int i = 0; i < 1000; i++)
		lt_schedule_timer(m, play_now_ms);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	us = ((double)(t1.tv_sec - t0.tv_sec) * 1e9 +
		 (double)(t1.tv_nsec - t0.tv_nsec)) /
	     1e6;
	print_message("%d wait: %.2f us a look\n", COUNT, us);
	play_pass(1900);
	assert_int_equal(play_records("t"), 0);
	assert_int_equal(play_store_got(LT_OP_S_QUEUE_SYNC), syncs);
	assert_int_equal(play_store_got(LT_OP_S_APPEND), appends);
	/* A turn delivers a bounded number, and others have theirs between. */
	play_now_ms += 200;
	while (play_records("t") < COUNT) {
		int64_t was = play_records("t");

		lt_schedule_timer(m, play_now_ms);
		(void)play_store_pump();
		lt_loop_round(m, 0);
		assert_true(play_records("t") - was <= 64);
	}
	for (int i = 0; i < COUNT; i++)
		assert_memory_equal(
		    play_record("t", 0, i)->body, &i, sizeof(i));
}

/* --- a story -------------------------------------------------------------- */

struct told {
	uint32_t level;
	int64_t came_ms; /* true time */
};

static void
die(unsigned what)
{
	if (what < 3) {
		play_queue_kill();
		play_queue_start();
	} else if (what < 6) {
		play_store_kill();
		play_pump();
		play_pass((uint64_t)rand() % 50);
		play_store_start();
	} else if (what < 8) {
		play_freeze_at(LT_OP_S_APPEND);
		for (int i = 0; i < 20; i++)
			play_pass(25);
		play_queue_kill();
		play_queue_start();
	} else {
		play_broker_kill();
		play_queue_start();
		play_store_start();
	}
}

/* Each message comes once, in its level's order, not before its time. */
static void
anybody_dies(void **state)
{
	enum {
		COUNT = 6000
	};
	const char *text = getenv("LEAT_SEED");
	unsigned seed =
	    text != NULL ? (unsigned)atoi(text) : (unsigned)time(NULL);
	struct told *told = calloc(COUNT, sizeof(*told));
	int32_t last[LEVELS] = {-1, -1, -1};
	unsigned deaths = 0;
	int64_t n = 0;

	assert_non_null(told);
	print_message("seed %u\n", seed);
	srand(seed);
	play_close(&c);
	for (int32_t i = 0; i < COUNT; i++) {
		told[i].level = 1 + (uint32_t)rand() % LEVELS;
		told[i].came_ms = (int64_t)play_now_ms;
		(void)wait_in(told[i].level, "t", "0", &i, sizeof(i));
		if (rand() % 8 == 0)
			play_pass((uint64_t)rand() % 60);
		if (rand() % 60 == 0) {
			die((unsigned)rand() % 9);
			deaths++;
		}
	}
	play_pass(10000);
	for (; play_record("t", 0, n) != NULL; n++) {
		const struct lt_record_view *v = play_record("t", 0, n);
		int64_t at = v->store_ms - 1700000000000;
		int32_t i;

		memcpy(&i, v->body, sizeof(i));
		assert_in_range(i, 0, COUNT - 1);
		assert_true(last[told[i].level - 1] < i);
		last[told[i].level - 1] = i;
		assert_true(at >= told[i].came_ms + delays[told[i].level - 1]);
	}
	assert_int_equal(n, COUNT);
	assert_int_equal(dropped(), 0);
	print_message("%d messages, %u deaths\n", COUNT, deaths);
	free(told);
}

/* --- options -------------------------------------------------------------- */

static void
level_texts(void **state)
{
	static const char *const bad[] = {"", " ", "1", "1x", "s", "0s", "-1s",
	    "1s,2s", "41d", "1s 2", "+1s", "1000001ms", "99999999999999999999s",
	    "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s"};
	uint64_t ms[LT_LEVELS_MAX];
	struct lt_ini_error err;
	struct lt_options o;

	lt_options_defaults(&o);
	assert_int_equal(
	    lt_options_delays(o.queue_delay_levels, ms), LT_LEVELS_MAX);
	assert_int_equal(ms[0], 1000);
	assert_int_equal(ms[4], 60000);
	assert_int_equal(ms[17], 7200000);
	assert_int_equal(lt_options_check(&o, &err), LEAT_OK);
	assert_int_equal(lt_options_delays("  7ms 40d ", ms), 2);
	assert_int_equal(ms[0], 7);
	assert_int_equal(ms[1], 40 * 86400000ll);
	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		assert_int_equal(lt_options_delays(bad[i], ms), 0);
		strcpy(o.queue_delay_levels, bad[i]);
		assert_int_equal(lt_options_check(&o, &err), LEAT_E_CONFIG);
	}
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_copy_is_the_message_elsewhere),
	    TEST(ids_and_queues),
	    TEST(only_the_gateway_uses_the_topic),
	    TEST(large_records),
	    TEST(death_before_the_answer),
	    TEST(what_can_not_be_delivered_is_dropped),
	    TEST(a_dead_store_proves_nothing),
	    TEST(refusals),
	    TEST(retention_is_faster),
	    TEST(what_waits_is_held),
	    TEST(the_wall_clock_is_set),
	    TEST(ten_thousand_wait),
	    TEST(anybody_dies),
	    cmocka_unit_test(level_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
