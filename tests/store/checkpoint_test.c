/*
 * checkpoint_test.c - syncs and checkpoints behind the lanes' back: what is
 * told while the syncer waits for the disk, what a snapshot holds that was
 * taken under load, a disk that fails or is full, and the end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "leat/leat.h"

#define MANY 40 /* queues: more than one step flushes */

static struct rig rig;
static struct rig_client client;
static struct lt_sys real_sys;
static char dir[64];

/* --- a disk that the syncer waits for, that fails, that is full --- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	pthread_t writer; /* never waits */
	int shut; /* lock */
	int reached; /* lock: the syncer stands before it */
} gate = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
static atomic_int sync_errno;
static atomic_int syncs;
static atomic_int is_full;

static int
gated_fdatasync(int fd)
{
	int err = atomic_load(&sync_errno);

	atomic_fetch_add(&syncs, 1);
	pthread_mutex_lock(&gate.lock);
	while (gate.shut && !pthread_equal(pthread_self(), gate.writer)) {
		gate.reached = 1;
		pthread_cond_broadcast(&gate.change);
		pthread_cond_wait(&gate.change, &gate.lock);
	}
	pthread_mutex_unlock(&gate.lock);
	if (err == 0)
		return real_sys.fdatasync(fd);
	errno = err;
	return -1;
}

/* Space for the log, not for anything derived from it. */
static ssize_t
full_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	char link[64], path[256] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (atomic_load(&is_full) &&
	    readlink(link, path, sizeof(path) - 1) > 0 &&
	    strstr(path, "/commitlog/") == NULL) {
		errno = ENOSPC;
		return -1;
	}
	return real_sys.pwrite(fd, buf, bytes, at);
}

static void
shut_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.shut = 1;
	gate.reached = 0;
	pthread_mutex_unlock(&gate.lock);
}

static void
await_syncer(void)
{
	pthread_mutex_lock(&gate.lock);
	while (!gate.reached)
		pthread_cond_wait(&gate.change, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void
open_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.shut = 0;
	pthread_cond_broadcast(&gate.change);
	pthread_mutex_unlock(&gate.lock);
}

/* --- the store --- */

static void
settings(struct lt_options *o)
{
	o->store_prefill_bytes = 0;
	o->store_checkpoint_bytes = 65536;
	o->store_retain_check_ms = 3600000;
}

static void
start(void)
{
	rig_start(&rig, dir, settings);
	rig.d.syncer_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
	    lt_syncer_start(rig.d.syncer_event, &rig.d.syncer), LEAT_OK);
	rig.d.checkpoint_end = lt_commitlog_end(rig.d.log);
	rig_client_make(&client, 0x1122334455667788, RIG_LANE);
	rig_attach(&rig, &client, -1);
}

static void
drop(void)
{
	open_gate();
	lt_syncer_stop(rig.d.syncer);
	if (rig.d.is_syncing)
		(void)!lt_commitlog_sync_end(
		    rig.d.log, &rig.d.job.log, rig.d.job.log_status);
	close(rig.d.syncer_event);
	rig_client_free(&client);
	rig_drop(&rig);
}

static int
setup(void **state)
{
	real_sys = lt_sys;
	gate.writer = pthread_self();
	atomic_store(&sync_errno, 0);
	atomic_store(&is_full, 0);
	lt_sys.fdatasync = gated_fdatasync;
	lt_sys.pwrite = full_pwrite;
	rig_dir_make(dir);
	start();
	atomic_store(&syncs, 0);
	return 0;
}

static int
teardown(void **state)
{
	drop();
	lt_sys = real_sys;
	rig_dir_remove(dir);
	return 0;
}

static void
put(const char *topic, uint32_t id, uint32_t queue, uint32_t level)
{
	char body[100] = {0};

	snprintf(body, sizeof(body), "message %llu",
	    (unsigned long long)client.seq + 1);
	assert_int_equal(
	    rig_put(&client, id, topic, queue, level, body, sizeof(body)),
	    LEAT_OK);
}

static void
publish(int count, uint32_t level)
{
	for (int i = 0; i < count; i++)
		put(RIG_NAME, RIG_TOPIC, (uint32_t)i % 4, level);
	rig_turns(&rig);
	assert_int_equal(atomic_load(&client.shown->logged), client.seq);
}

/* Time goes by, then whatever is due, a flush to its end. */
static int
pass(uint64_t ms)
{
	int status;

	rig.d.now_ms += ms;
	do
		status = lt_upkeep_run(&rig.d);
	while (
	    status == LEAT_OK && rig.d.checkpoint_phase == LT_CHECKPOINT_FLUSH);
	return status;
}

/* The job under way is done and told. */
static int
finish(void)
{
	lt_syncer_wait(rig.d.syncer);
	return pass(0);
}

static uint64_t
synced(void)
{
	return atomic_load(&client.shown->synced);
}

/* --- syncs --- */

/* What is logged while the syncer waits is synced by a later sync only. */
static void
test_sync_covers_what_was_there(void **state)
{
	publish(3, LEAT_LOGGED);
	shut_gate();
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	await_syncer();
	publish(2, LEAT_LOGGED);
	assert_int_equal(pass(2 * LT_DUTY_SYNC_MS), LEAT_OK);
	assert_int_equal(synced(), 0);
	open_gate();
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(synced(), 3);
	assert_true(
	    lt_commitlog_synced(rig.d.log) < lt_commitlog_end(rig.d.log));
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(synced(), 5);
}

/* Who wants it synced does not wait for the syncer, whose older news then
 * changes nothing. */
static void
test_writer_syncs_meanwhile(void **state)
{
	publish(3, LEAT_LOGGED);
	shut_gate();
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	await_syncer();
	publish(2, LEAT_SYNCED);
	assert_int_equal(synced(), 5);
	open_gate();
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(synced(), 5);
	assert_true(
	    lt_commitlog_synced(rig.d.log) == lt_commitlog_end(rig.d.log));
}

static void
test_segments_roll_meanwhile(void **state)
{
	publish(3, LEAT_LOGGED);
	assert_int_equal(lt_batch_roll(&rig.d), LEAT_OK);
	publish(1, LEAT_LOGGED);
	shut_gate();
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	await_syncer();
	for (int i = 0; i < 2 * LT_COMMITLOG_UNSYNCED; i++) {
		assert_int_equal(lt_batch_roll(&rig.d), LEAT_OK);
		publish(1, LEAT_LOGGED);
		while (lt_commitlog_min(rig.d.log) + (8u << 20) <
		       lt_commitlog_end(rig.d.log))
			assert_int_equal(
			    lt_commitlog_drop_oldest(rig.d.log), LEAT_OK);
	}
	open_gate();
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(synced(), 4);
	publish(1, LEAT_SYNCED);
	assert_int_equal(synced(), client.seq);
}

/* It is told to nobody as done, and not tried again. */
static void
test_failed_sync(void **state)
{
	publish(3, LEAT_LOGGED);
	atomic_store(&sync_errno, EIO);
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	assert_int_equal(finish(), LEAT_E_IO);
	atomic_store(&sync_errno, 0);
	assert_int_equal(atomic_load(&syncs), 1);
	assert_int_equal(synced(), 0);
	put(RIG_NAME, RIG_TOPIC, 0, LEAT_SYNCED);
	assert_int_equal(rig_turn(&rig), LEAT_E_IO);
	assert_int_equal(synced(), 0);
	assert_int_equal(atomic_load(&syncs), 1);
}

/* --- checkpoints --- */

static void
begin_checkpoint(void)
{
	rig.d.checkpoint_now = 1;
	rig.d.checkpoint_ms = 0;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
}

static void
expect_sound(uint64_t scanned)
{
	struct lt_verify_report report;

	assert_true(rig.d.recovered.scanned_bytes == scanned);
	assert_int_equal(lt_cq_flush_all(rig.d.queues), LEAT_OK);
	assert_int_equal(
	    lt_recover_verify(rig.d.store_dir, &report, NULL, NULL), LEAT_OK);
	assert_true(report.damaged == 0 && report.records == report.entries);
}

/* A snapshot taken while everything goes on holds one moment of the log. */
static void
test_checkpoint_under_load(void **state)
{
	uint64_t at, end;
	int64_t next[4];

	publish(200, LEAT_LOGGED);
	at = lt_commitlog_end(rig.d.log);
	shut_gate();
	begin_checkpoint();
	assert_int_equal(pass(0), LEAT_OK);
	await_syncer();
	publish(100, LEAT_LOGGED);
	assert_int_equal(lt_cq_flush_all(rig.d.queues), LEAT_OK);
	assert_int_equal(lt_batch_roll(&rig.d), LEAT_OK);
	publish(50, LEAT_LOGGED);
	open_gate();
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(rig.d.checkpoint_end, at);
	end = lt_commitlog_end(rig.d.log);
	for (uint32_t q = 0; q < 4; q++)
		next[q] =
		    lt_cq_find(rig.d.queues, RIG_NAME, strlen(RIG_NAME), q)
			->next;
	drop();
	start();
	expect_sound(end - at);
	for (uint32_t q = 0; q < 4; q++)
		assert_int_equal(
		    lt_cq_find(rig.d.queues, RIG_NAME, strlen(RIG_NAME), q)
			->next,
		    next[q]);
}

/* Queues go while it flushes them step by step. */
static void
test_topic_goes_in_a_checkpoint(void **state)
{
	struct lt_wire_topic gone = {.id = RIG_TOPIC + 1, .deleted = 1};
	struct lt_session *s = lt_session_find(&rig.d, client.id);

	snprintf(gone.name, sizeof(gone.name), "many");
	rig_topic(&rig, gone.id, gone.name, MANY, 6);
	assert_int_equal(lt_session_grant(s, gone.id, 1), LEAT_OK);
	for (uint32_t q = 0; q < MANY; q++)
		put(gone.name, gone.id, q, LEAT_LOGGED);
	publish(10, LEAT_LOGGED);
	begin_checkpoint();
	assert_int_equal(rig.d.checkpoint_phase, LT_CHECKPOINT_FLUSH);
	assert_int_equal(lt_checkpoint_due_ms(&rig.d), rig.d.now_ms);
	assert_int_equal(lt_topicmap_put(&rig.d, &gone), LEAT_OK);
	lt_topicmap_sweep(&rig.d);
	publish(10, LEAT_LOGGED);
	assert_int_equal(pass(0), LEAT_OK);
	assert_int_equal(finish(), LEAT_OK);
	assert_int_equal(rig.d.checkpoint_phase, LT_CHECKPOINT_NONE);
	assert_int_equal(synced(), client.seq);
}

/* No space for what is derived: the log is synced all the same, and after a
 * failed checkpoint the next one waits for its time. */
static void
test_full_disk(void **state)
{
	uint64_t began;

	publish(1000, LEAT_LOGGED);
	assert_true(
	    lt_commitlog_end(rig.d.log) > rig.d.options.store_checkpoint_bytes);
	atomic_store(&is_full, 1);
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	began = rig.d.checkpoint_ms;
	assert_true(began == rig.d.now_ms);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
		assert_int_equal(finish(), LEAT_OK);
	}
	assert_int_equal(synced(), client.seq);
	assert_int_equal(rig.d.checkpoint_end, 0);
	assert_true(rig.d.checkpoint_ms == began);
	atomic_store(&is_full, 0);
	assert_int_equal(pass(rig.d.options.store_checkpoint_ms), LEAT_OK);
	assert_int_equal(finish(), LEAT_OK);
	assert_true(rig.d.checkpoint_end == lt_commitlog_end(rig.d.log));
}

/* --- the end --- */

/* Stopping with a job under way, and with a checkpoint half flushed. */
static void
test_stop_meanwhile(void **state)
{
	publish(3, LEAT_LOGGED);
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	publish(2, LEAT_LOGGED);
	assert_int_equal(lt_checkpoint_last(&rig.d), LEAT_OK);
	assert_null(rig.d.syncer);
	assert_int_equal(rig.d.is_syncing, 0);
	assert_int_equal(synced(), 5);
	drop();
	start();
	expect_sound(0);
}

static void
test_stop_on_full_disk(void **state)
{
	publish(3, LEAT_LOGGED);
	atomic_store(&is_full, 1);
	assert_int_equal(lt_checkpoint_last(&rig.d), LEAT_OK);
	assert_null(rig.d.syncer);
	assert_int_equal(synced(), 3);
	assert_true(
	    lt_commitlog_synced(rig.d.log) == lt_commitlog_end(rig.d.log));
}

/* With a batch that could not be indexed: the thread ends before what it works
 * on does. */
static void
test_stop_stalled(void **state)
{
	publish(3, LEAT_LOGGED);
	assert_int_equal(pass(LT_DUTY_SYNC_MS), LEAT_OK);
	rig.d.batch.is_appended = 1;
	assert_int_equal(lt_checkpoint_last(&rig.d), LEAT_OK);
	assert_null(rig.d.syncer);
	assert_int_equal(rig.d.is_syncing, 0);
	assert_int_equal(rig.d.checkpoint_end, 0);
	assert_int_equal(synced(), 3);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_sync_covers_what_was_there),
	    TEST(test_writer_syncs_meanwhile),
	    TEST(test_segments_roll_meanwhile),
	    TEST(test_failed_sync),
	    TEST(test_checkpoint_under_load),
	    TEST(test_topic_goes_in_a_checkpoint),
	    TEST(test_full_disk),
	    TEST(test_stop_meanwhile),
	    TEST(test_stop_on_full_disk),
	    TEST(test_stop_stalled),
	};

	lt_log_init("checkpoint_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
