/*
 * drop_test.c - a topic of very many queues is deleted while others publish:
 * what the writer does of it in one turn, what is left to the syncer, and what
 * happens to the files, to readers, and to a topic made again by that name.
 *
 *   LEAT_QUEUES   of the topic (default 2000)
 *
 * Judged by what is called and counted, not by the clock; the longest turn is
 * printed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "leat/leat.h"

#define MANY (RIG_TOPIC + 1) /* id */
#define MANY_NAME "many"
#define RINGS 40 /* of its queues have one */

static struct rig rig;
static struct rig_client client;
static struct lt_sys real_sys;
static char dir[64];
static uint32_t many = 2000;
static uint32_t queues; /* of the topic that goes */

/* --- who calls what --- */

static pthread_t writer;
static atomic_uint writers_calls; /* to remove, rename, or list names */
static atomic_uint removed; /* names, by the syncer */
static atomic_uint removed_at_sync; /* ... when it synced something last */
static atomic_int rename_errno;
static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	int shut; /* lock: whoever removes something waits */
} gate = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};

static void
set_gate(int shut)
{
	pthread_mutex_lock(&gate.lock);
	gate.shut = shut;
	pthread_cond_broadcast(&gate.change);
	pthread_mutex_unlock(&gate.lock);
}

static int
counting_unlinkat(int at, const char *path, int flags)
{
	if (pthread_equal(pthread_self(), writer)) {
		atomic_fetch_add(&writers_calls, 1);
	} else {
		pthread_mutex_lock(&gate.lock);
		while (gate.shut)
			pthread_cond_wait(&gate.change, &gate.lock);
		pthread_mutex_unlock(&gate.lock);
		atomic_fetch_add(&removed, 1);
	}
	return real_sys.unlinkat(at, path, flags);
}

static int
counting_renameat(int at, const char *from, int to_dir, const char *to)
{
	if (pthread_equal(pthread_self(), writer))
		atomic_fetch_add(&writers_calls, 1);
	if (atomic_load(&rename_errno) != 0) {
		errno = atomic_load(&rename_errno);
		return -1;
	}
	return real_sys.renameat(at, from, to_dir, to);
}

static int
noting_fdatasync(int fd)
{
	if (!pthread_equal(pthread_self(), writer))
		atomic_store(&removed_at_sync, atomic_load(&removed));
	return real_sys.fdatasync(fd);
}

static unsigned
count_hidden(void)
{
	char path[128];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/store/consumequeue", dir);
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += strncmp(e->d_name, ".dropped-", 9) == 0;
	closedir(d);
	return n;
}

/* --- the store --- */

static void
settings(struct lt_options *o)
{
	o->store_prefill_bytes = 0;
	o->store_retain_check_ms = 3600000;
	o->store_segment_bytes = 64u << 20;
}

static void
start(void)
{
	rig_start(&rig, dir, settings);
	rig.d.syncer_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
	    lt_syncer_start(rig.d.syncer_event, &rig.d.syncer), LEAT_OK);
	rig_client_make(&client, 0x1122334455667788, 8 * RIG_LANE);
	rig_attach(&rig, &client, -1);
}

static void
stop(void)
{
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
	writer = pthread_self();
	lt_sys.unlinkat = counting_unlinkat;
	lt_sys.renameat = counting_renameat;
	lt_sys.fdatasync = noting_fdatasync;
	atomic_store(&rename_errno, 0);
	atomic_store(&removed, 0);
	queues = 200;
	rig_dir_make(dir);
	start();
	return 0;
}

static int
teardown(void **state)
{
	set_gate(0);
	stop();
	lt_sys = real_sys;
	rig_dir_remove(dir);
	return 0;
}

/* One turn of the process (store_main.c). */
static void
turn(void)
{
	struct lt_duty *d = &rig.d;

	d->now_ms = lt_clock_mono_ms();
	if (d->dropped != NULL && d->batch.count == 0)
		lt_topicmap_sweep(d);
	(void)lt_batch_sweep(d);
	assert_int_equal(lt_publish_run(d), LEAT_OK);
	assert_int_equal(lt_upkeep_run(d), LEAT_OK);
}

static void
put(uint32_t topic, const char *name, uint32_t queue)
{
	char body[16] = {0};
	int rc;

	while ((rc = rig_put(&client, topic, name, queue, LEAT_LOGGED, body,
		    sizeof(body))) == LEAT_E_AGAIN)
		turn();
	assert_int_equal(rc, LEAT_OK);
}

static void
await_logged(void)
{
	while (atomic_load(&client.shown->logged) != client.seq)
		turn();
}

/* A message in each of its queues. */
static void
fill_many(void)
{
	rig_topic(&rig, MANY, MANY_NAME, queues, 6);
	assert_int_equal(
	    lt_session_grant(lt_session_find(&rig.d, client.id), MANY, 1),
	    LEAT_OK);
	for (uint32_t q = 0; q < queues; q++)
		put(MANY, MANY_NAME, q);
	await_logged();
}

static struct lt_cq *
find(uint32_t queue)
{
	return lt_cq_find(rig.d.queues, MANY_NAME, strlen(MANY_NAME), queue);
}

static void
add_rings(void)
{
	for (uint32_t q = 0; q < RINGS; q++) {
		int fd = rig_ring_make(65536);
		assert_int_equal(
		    lt_feed_ring(&rig.d, find(q * (queues / RINGS)), fd),
		    LEAT_OK);
		close(fd);
	}
}

static void
delete_many(void)
{
	struct lt_wire_topic gone = {.id = MANY, .deleted = 1};

	snprintf(gone.name, sizeof(gone.name), MANY_NAME);
	assert_int_equal(lt_topicmap_put(&rig.d, &gone), LEAT_OK);
}

/* The queues' files are there, nothing waits to be written. */
static void
write_all(void)
{
	assert_int_equal(lt_cq_flush_all(rig.d.queues), LEAT_OK);
}

static unsigned
count_feeds(void)
{
	unsigned n = 0;

	for (struct lt_feed *f = rig.d.feeds; f != NULL; f = f->next)
		n++;
	return n;
}

/* Turns until all memory is given back; the longest, and none does more than
 * its part. */
static uint64_t
turns_until_given_back(unsigned *turns_out)
{
	uint64_t longest = 0;
	unsigned feeds = count_feeds();

	*turns_out = 0;
	do {
		put(RIG_TOPIC, RIG_NAME, 0);
		uint64_t from = lt_clock_mono_ns();
		turn();
		uint64_t took = lt_clock_mono_ns() - from;
		longest = took > longest ? took : longest;
		assert_int_equal(
		    atomic_load(&client.shown->logged), client.seq);
		assert_true(feeds - count_feeds() <= LT_DUTY_TURN_QUEUES);
		feeds = count_feeds();
		++*turns_out;
	} while (lt_cq_dropped(rig.d.queues) != NULL);
	return longest;
}

static void
await_removed(void)
{
	set_gate(0);
	while (count_hidden() > 0)
		usleep(1000);
}

/* Something that a crash left below a hidden name. */
static void
leave(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/store/consumequeue/%s", dir, name);
	assert_int_equal(mkdir(path, 0750), 0);
	strcat(path, "/3");
	assert_int_equal(mkdir(path, 0750), 0);
	strcat(path, "/00000000000000000000");
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	close(fd);
}

/* --- tests --- */

/* The writer makes one call for it, and each turn publishes what there is and
 * gives back a part. */
static void
test_writer_only_renames(void **state)
{
	unsigned turns;

	queues = many;
	fill_many();
	write_all();
	add_rings();
	set_gate(1); /* nothing is removed before all this is over */
	delete_many();
	atomic_store(&writers_calls, 0);
	uint64_t longest = turns_until_given_back(&turns);
	print_message("%u queues: %u turns, the longest %.2f ms\n", queues,
	    turns, (double)longest / 1e6);
	assert_int_equal(atomic_load(&writers_calls), 1);
	assert_true(turns >= queues / LT_DUTY_TURN_QUEUES);
	assert_null(rig.d.feeds);
	assert_int_equal(lt_cq_count(rig.d.queues), 1);
	assert_int_equal(count_hidden(), 1);
	assert_null(find(0));
	assert_true(lt_upkeep_wait_ms(&rig.d) > 0);
}

/* A job comes in between two pieces of the removal. */
static void
test_job_meanwhile(void **state)
{
	fill_many();
	write_all();
	set_gate(1);
	delete_many();
	lt_topicmap_sweep(&rig.d);
	put(RIG_TOPIC, RIG_NAME, 0);
	await_logged();
	rig.d.checkpoint_now = 0;
	rig.d.now_ms += LT_DUTY_SYNC_MS;
	assert_int_equal(lt_checkpoint_run(&rig.d), LEAT_OK);
	assert_true(rig.d.is_syncing);
	set_gate(0);
	lt_syncer_wait(rig.d.syncer);
	assert_true(
	    atomic_load(&removed_at_sync) <= 2 * LT_DUTY_TURN_QUEUES + 1);
	await_removed();
	/* File and directory of each, and the topic's. */
	assert_int_equal(atomic_load(&removed), 2 * queues + 1);
}

/* With entries that are not written yet: their memory waits for the flush. */
static void
test_unwritten_entries(void **state)
{
	unsigned turns;

	fill_many();
	assert_true(find(0)->is_dirty);
	rig.d.checkpoint_ms = lt_clock_mono_ms();
	delete_many();
	lt_topicmap_sweep(&rig.d);
	assert_null(lt_cq_dropped(rig.d.queues)); /* nothing to do now */
	assert_true(lt_cq_buffered(rig.d.queues) >= queues);
	assert_int_equal(lt_cq_flush_all(rig.d.queues), LEAT_OK);
	assert_int_equal(lt_cq_buffered(rig.d.queues), 0);
	assert_non_null(lt_cq_dropped(rig.d.queues));
	(void)turns_until_given_back(&turns);
	assert_int_equal(lt_cq_count(rig.d.queues), 1);
}

/* Made again at once: neither the writer nor a reader that has the old files
 * open takes them for the new topic's. */
static void
test_made_again(void **state)
{
	struct lt_cq_entry e;
	struct lt_cq_view *view;
	int64_t first;
	size_t n;

	queues = 20;
	fill_many();
	put(MANY, MANY_NAME, 0);
	await_logged();
	write_all();
	assert_int_equal(lt_cq_view_open(rig.d.store_dir, &view), LEAT_OK);
	assert_int_equal(
	    lt_cq_view_read(view, MANY_NAME, 0, 0, &e, 1, &n), LEAT_OK);
	assert_int_equal(n, 1);
	first = e.log_offset;
	set_gate(1); /* the old files stay, under another name */
	delete_many();
	lt_topicmap_sweep(&rig.d);
	assert_int_equal(
	    lt_cq_view_read(view, MANY_NAME, 0, 0, &e, 1, &n), LEAT_E_NOTFOUND);
	rig_topic(&rig, MANY, MANY_NAME, queues, 6);
	put(MANY, MANY_NAME, 0);
	await_logged();
	write_all();
	assert_int_equal(find(0)->next, 1);
	assert_int_equal(
	    lt_cq_view_read(view, MANY_NAME, 0, 0, &e, 1, &n), LEAT_OK);
	assert_int_equal(n, 1);
	assert_true(e.log_offset > first);
	assert_int_equal(
	    lt_cq_view_read(view, MANY_NAME, 0, 1, &e, 1, &n), LEAT_OK);
	assert_int_equal(n, 0);
	lt_cq_view_close(view);
	/* And goes again, while the first one's files are there. */
	delete_many();
	lt_topicmap_sweep(&rig.d);
	assert_int_equal(count_hidden(), 2);
	await_removed();
}

/* What a killed store left: no finding, and gone after a rebuild or a start. */
static void
test_left_by_a_kill(void **state)
{
	struct lt_verify_report report;

	stop();
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int store = openat(fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	leave(".dropped-0");
	leave(".dropped-17");
	assert_int_equal(lt_recover_verify(store, &report, NULL, NULL), 0);
	assert_int_equal(count_hidden(), 2);
	assert_int_equal(lt_recover_rebuild(store, &report, NULL, NULL), 0);
	assert_int_equal(count_hidden(), 0);
	leave(".dropped-0");
	close(store);
	close(fd);
	start();
	assert_int_equal(count_hidden(), 0);
}

/* A hidden name that is taken is passed over. */
static void
test_taken_name(void **state)
{
	queues = 20;
	fill_many();
	write_all();
	leave(".dropped-0");
	leave(".dropped-1");
	set_gate(1);
	delete_many();
	lt_topicmap_sweep(&rig.d);
	assert_int_equal(count_hidden(), 3);
	await_removed();
}

/* No block for another name: the files go here and now. */
static void
test_no_rename(void **state)
{
	struct stat st;
	char path[128];

	queues = 20;
	fill_many();
	write_all();
	atomic_store(&rename_errno, ENOSPC);
	delete_many();
	lt_topicmap_sweep(&rig.d);
	snprintf(
	    path, sizeof(path), "%s/store/consumequeue/%s", dir, MANY_NAME);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(count_hidden(), 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_writer_only_renames),
	    TEST(test_job_meanwhile),
	    TEST(test_unwritten_entries),
	    TEST(test_made_again),
	    TEST(test_left_by_a_kill),
	    TEST(test_taken_name),
	    TEST(test_no_rename),
	};
	const char *text = getenv("LEAT_QUEUES");

	lt_log_init("drop_test", LT_LOG_ERROR);
	if (text != NULL && strtoul(text, NULL, 10) >= RINGS)
		many = (uint32_t)strtoul(text, NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
