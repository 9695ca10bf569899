/*
 * fulldisk_test.c - D5 inside the store: the disk is full from the n-th
 * allocation of a run on, for every n of it, then there is space again.
 *
 * A run publishes, appends the broker's own records, makes and deletes topics,
 * reads all queues, rolls segments and takes checkpoints. While the disk is
 * full the store must go on with all but publishing, which is refused as a
 * whole or done as a whole; four looks (a second) after there is space,
 * publishing goes on. What was acknowledged is there, also after a restart.
 *
 *   LEAT_LONG=1   each n with and without a restart on the full disk, else
 *                 with it for every second n
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "base/log.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "store/reader.h"
#include "../support/fulldisk.h"

#define QUEUES 4u
#define ROUNDS 56u
#define PER_ROUND 6u
#define FULL_ROUNDS 14u /* the disk stays full */
#define OWN_TOPIC 9 /* progress records */
#define OTHER_TOPIC 20 /* made and deleted */
#define BODY 1500u

static struct rig rig;
static struct rig_client client;
static char dir[64];
static uint64_t prefill;

static struct {
	uint64_t number; /* last message made */
	uint64_t at[QUEUES][ROUNDS * PER_ROUND]; /* number acknowledged there */
	int64_t own; /* records of the broker */
	unsigned long accepted, refused, restarts;
} run;

static void
small(struct lt_options *o)
{
	o->store_segment_bytes = 256u << 10;
	o->store_batch_bytes = 64u << 10;
	o->store_max_body_bytes = 16u << 10;
	o->store_prefill_bytes = prefill;
	o->store_checkpoint_ms = 3600000;
}

static void
start(void)
{
	rig_start(&rig, dir, small);
	rig_topic(&rig, OWN_TOPIC, LT_NAME_PROGRESS_TOPIC, 1, 6);
	rig_client_make(&client, client.id + 1, RIG_LANE);
	rig_attach(&rig, &client, -1);
}

static void
stop(void)
{
	rig_drop(&rig);
	rig_client_free(&client);
}

/* --- what a run does --- */

/* Publish some messages; how many were refused. */
static unsigned
publish(uint32_t queue)
{
	uint64_t first = client.seq, numbers[PER_ROUND];
	uint8_t body[BODY];
	unsigned no = 0;

	for (unsigned i = 0; i < PER_ROUND; i++) {
		memset(body, (int)i, sizeof(body));
		numbers[i] = ++run.number;
		memcpy(body, &numbers[i], sizeof(numbers[i]));
		assert_int_equal(rig_put(&client, RIG_TOPIC, RIG_NAME, queue, 0,
				     body, sizeof(body)),
		    LEAT_OK);
	}
	while (atomic_load(&client.shown->logged) < client.seq)
		assert_int_equal(rig_turn(&rig), LEAT_OK);
	for (unsigned i = 0; i < PER_ROUND; i++) {
		struct lt_page_done done = rig_done(&client, first + 1 + i);

		if (done.status == LEAT_OK) {
			assert_in_range(
			    done.queue_offset, 0, ROUNDS * PER_ROUND - 1);
			assert_int_equal(run.at[queue][done.queue_offset], 0);
			run.at[queue][done.queue_offset] = numbers[i];
			run.accepted++;
			continue;
		}
		assert_int_equal(done.status, LEAT_E_NOSPACE);
		run.refused++;
		no++;
	}
	return no;
}

/* A record of the broker's own: on a full disk too. */
static void
append_own(void)
{
	struct lt_record_spec spec = {.topic = LT_NAME_PROGRESS_TOPIC,
	    .topic_bytes = sizeof(LT_NAME_PROGRESS_TOPIC) - 1,
	    .tag = "begin",
	    .tag_bytes = 5};
	struct lt_wire_append m = {.topic = OWN_TOPIC, .level = LEAT_LOGGED};
	struct lt_wire_appended a;
	uint8_t record[512] = {0};
	size_t bytes = lt_record_finish(record, &spec, 0);
	unsigned op;
	int status;

	lt_wire_init(&m.h, LT_OP_S_APPEND, sizeof(m), bytes, 1);
	status = lt_batch_add_system(&rig.d, &m, record, -1);
	if (run.restarts > 0 && fulldisk_refused() > 0 &&
	    status == LEAT_E_NOSPACE)
		return; /* the next segment went in the restart */
	assert_int_equal(status, LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	while ((op = rig_said(&rig, &a, sizeof(a))) != LT_OP_S_APPEND)
		assert_int_not_equal(op, 0);
	assert_int_equal(a.h.status, LEAT_OK);
	assert_int_equal(a.queue_offset, run.own);
	run.own++;
}

/* Ask as leat-queue does. Returns the end; tells the view what is lent. */
static int64_t
ask(struct lt_cq_view *view, const char *name, uint32_t topic, uint32_t queue)
{
	struct lt_wire_queue m = {.topic = topic, .queue = queue};
	struct lt_wire_range a;
	int fds[LT_FDPASS_MAX];
	size_t bytes, count;

	lt_wire_init(&m.h, LT_OP_S_QUEUE_SYNC, sizeof(m), 0, 7);
	assert_int_equal(
	    lt_fdpass_send(rig.peer, &m, sizeof(m), NULL, 0), LEAT_OK);
	assert_int_equal(lt_control_poll_peer(&rig.d), LEAT_OK);
	do
		assert_int_equal(lt_fdpass_recv(rig.peer, &a, sizeof(a), &bytes,
				     fds, &count, MSG_DONTWAIT),
		    LEAT_OK);
	while (a.h.op != LT_OP_S_QUEUE_SYNC);
	assert_int_equal(a.h.status, LEAT_OK);
	assert_int_equal(
	    lt_cq_view_lent(view, name, queue, a.min_offset,
		(size_t)(a.max_offset - a.min_offset), count > 0 ? fds[0] : -1),
	    LEAT_OK);
	return a.max_offset;
}

static void
read_queue(struct lt_cq_view *view, struct lt_reader *reader, uint32_t queue)
{
	struct lt_cq_entry e[64];
	struct lt_record_view v;
	static uint8_t copy[64 << 10];
	int64_t max = ask(view, RIG_NAME, RIG_TOPIC, queue);
	int64_t at = 0;
	uint64_t number;
	size_t n;

	while (at < max) {
		assert_int_equal(
		    lt_cq_view_read(view, RIG_NAME, queue, at, e,
			max - at < 64 ? (size_t)(max - at) : 64, &n),
		    LEAT_OK);
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++, at++) {
			assert_int_equal(
			    lt_reader_copy(reader, (uint64_t)e[i].log_offset,
				e[i].bytes, copy, &v),
			    LEAT_OK);
			assert_int_equal(v.body_bytes, BODY);
			memcpy(&number, v.body, sizeof(number));
			assert_int_equal(run.at[queue][at], number);
		}
	}
	while (at < ROUNDS * PER_ROUND)
		assert_int_equal(run.at[queue][at++], 0);
}

/* Everything acknowledged can be read, and the log has all our records. */
static void
read_all(void)
{
	struct lt_cq_view *view;
	struct lt_reader *reader;

	assert_int_equal(lt_cq_view_open(rig.d.store_dir, &view), LEAT_OK);
	assert_int_equal(lt_reader_open(rig.d.store_dir, &reader), LEAT_OK);
	for (uint32_t q = 0; q < QUEUES; q++)
		read_queue(view, reader, q);
	if (run.own > 0)
		assert_true(
		    ask(view, LT_NAME_PROGRESS_TOPIC, OWN_TOPIC, 0) >= run.own);
	lt_reader_close(reader);
	lt_cq_view_close(view);
}

static void
make_or_delete(unsigned round)
{
	struct lt_wire_topic m = {
	    .id = OTHER_TOPIC, .deleted = 1, .read_queues = 2, .perm = 6};

	snprintf(m.name, sizeof(m.name), "other");
	if (round % 10 == 3) {
		rig_topic(&rig, OTHER_TOPIC, m.name, 2, 6);
		return;
	}
	assert_int_equal(lt_topicmap_put(&rig.d, &m), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	lt_topicmap_sweep(&rig.d);
}

/* A quarter of a second goes by. */
static void
pass(void)
{
	rig.d.now_ms += 250;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
}

static void
checkpoint(void)
{
	rig.d.checkpoint_now = 1;
	rig.d.checkpoint_ms = 0;
	pass();
}

static void
one_round(unsigned round)
{
	(void)publish(round % QUEUES);
	append_own();
	if (round % 5 == 3)
		make_or_delete(round);
	if (round % 8 == 5)
		checkpoint();
	if (round % 7 == 6)
		read_all();
	pass();
}

/* There is space: publishing goes on within a second. */
static void
resume(void)
{
	unsigned looks = 0;

	fulldisk_free();
	while (rig.d.is_full) {
		assert_true(++looks <= 4);
		assert_true(lt_upkeep_wait_ms(&rig.d) <= 250);
		pass();
	}
	assert_int_equal(publish(0), 0);
}

/* One run; 0 if it ended before the n-th allocation. */
static int
one_run(unsigned long n, int restart)
{
	unsigned round, full = 0;

	memset(&run, 0, sizeof(run));
	rig_dir_make(dir);
	fulldisk_install(dir);
	start();
	/* A log that never had space has none for the broker's records. */
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	fulldisk_arm(n);
	for (round = 0; round < ROUNDS - 1; round++) {
		one_round(round);
		if (fulldisk_refused() == 0 || ++full != FULL_ROUNDS)
			continue;
		if (restart) {
			run.restarts++;
			stop();
			start();
			read_all();
			append_own();
		}
		resume();
	}
	unsigned long struck = fulldisk_refused();
	fulldisk_free();
	read_all();
	checkpoint();
	stop();
	start();
	read_all();
	stop();
	fulldisk_remove();
	rig_dir_remove(dir);
	return struck > 0;
}

static void
every_allocation(uint64_t zeroes)
{
	int both = getenv("LEAT_LONG") != NULL;
	unsigned long n = 0, runs = 0, accepted = 0, refused = 0;
	int struck = 1;

	prefill = zeroes;
	while (struck) {
		n++;
		for (int restart = 0; restart < 2; restart++) {
			if (!both && n % 2 == (unsigned)restart)
				continue;
			struck = one_run(n, restart);
			runs++;
			accepted += run.accepted;
			refused += run.refused;
		}
	}
	print_message("full from each of %lu allocations on: %lu runs, %lu "
		      "messages acknowledged, %lu refused\n",
	    n - 1, runs, accepted, refused);
	assert_true(n > 30);
	assert_true(refused > 0);
}

static void
test_bare(void **state)
{
	every_allocation(0);
}

static void
test_filled_ahead(void **state)
{
	every_allocation(64u << 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bare),
	    cmocka_unit_test(test_filled_ahead),
	};

	lt_log_init("fulldisk", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
