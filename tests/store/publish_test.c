/* publish_test.c - a batch on its way out: log, queues, rings, completions,
 * wakes, syncs, and what happens when the disk says no. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "base/sys.h"
#include "leat/leat.h"
#include "store/reader.h"

static struct rig rig;
static struct rig_client client;
static struct lt_sys real_sys;
static char dir[64];

static int
setup(void **state)
{
	real_sys = lt_sys;
	rig_dir_make(dir);
	rig_start(&rig, dir, NULL);
	rig_client_make(&client, 0x1122334455667788, RIG_LANE);
	rig_attach(&rig, &client, -1);
	return 0;
}

static int
teardown(void **state)
{
	lt_sys = real_sys;
	rig_drop(&rig);
	rig_client_free(&client);
	rig_dir_remove(dir);
	return 0;
}

static void
put(uint32_t queue, uint32_t level)
{
	char body[32];

	snprintf(body, sizeof(body), "message %llu",
	    (unsigned long long)client.seq + 1);
	assert_int_equal(rig_put(&client, RIG_TOPIC, RIG_NAME, queue, level,
			     body, strlen(body)),
	    LEAT_OK);
}

static void
ring(uint32_t queue, int fd)
{
	struct lt_cq *cq;

	assert_int_equal(lt_topicmap_queue(&rig.d,
			     lt_topicmap_get(&rig.d, RIG_TOPIC), queue, &cq),
	    LEAT_OK);
	assert_int_equal(lt_feed_ring(&rig.d, cq, fd), LEAT_OK);
}

static struct lt_cq *
queue_of(uint32_t queue)
{
	return lt_cq_find(rig.d.queues, RIG_NAME, strlen(RIG_NAME), queue);
}

static uint64_t
page_word(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

/* Everything that was acknowledged is in the log, the queue and the ring. */
static void
test_places(void **state)
{
	struct lt_ring_reader reader;
	struct lt_reader *log;
	struct lt_segment seg;
	struct lt_cq_view *view;
	struct lt_cq_entry entry;
	size_t count;
	int fd = rig_ring_make(65536);

	ring(1, fd);
	assert_int_equal(
	    lt_segment_attach(&seg, fd, LT_SEGMENT_RING, 0, 0), LEAT_OK);
	lt_ring_reader_init(&reader, &seg);
	for (int i = 0; i < 100; i++)
		put(1 + (i & 1), 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->accepted), 100);
	assert_int_equal(page_word(&client.shown->logged), 100);
	assert_true(page_word(&client.shown->lane_head) == client.writer.tail);
	assert_true(
	    page_word(&rig.d.beacon->log_end) == lt_commitlog_end(rig.d.log));
	assert_true(page_word(&rig.d.state->completed_end) ==
		    lt_commitlog_end(rig.d.log));
	assert_int_equal(lt_cq_flush_all(rig.d.queues), LEAT_OK);
	assert_int_equal(lt_reader_open(rig.d.store_dir, &log), LEAT_OK);
	assert_int_equal(lt_cq_view_open(rig.d.store_dir, &view), LEAT_OK);
	assert_int_equal(lt_ring_seek(&reader, 0), LEAT_OK);
	for (uint64_t seq = 1; seq <= 100; seq++) {
		struct lt_page_done done = rig_done(&client, seq);
		struct lt_record_view v;
		struct lt_ring_head head;
		uint64_t session, s;
		uint8_t copy[4096];
		char body[32];

		snprintf(body, sizeof(body), "message %llu",
		    (unsigned long long)seq);
		assert_int_equal(done.status, LEAT_OK);
		assert_int_equal(done.queue_offset, (seq - 1) / 2);
		assert_int_equal(
		    lt_reader_get(log, (uint64_t)done.log_offset, &v), LEAT_OK);
		assert_int_equal(lt_record_identity(&v, &session, &s), LEAT_OK);
		assert_true(session == client.id && s == seq);
		assert_int_equal(v.body_bytes, strlen(body));
		assert_memory_equal(v.body, body, v.body_bytes);
		assert_true((uint32_t)v.store_ms == done.store_ms_low);
		assert_int_equal(v.queue_offset, done.queue_offset);
		assert_int_equal(
		    lt_cq_view_read(view, RIG_NAME, 1 + ((seq - 1) & 1),
			done.queue_offset, &entry, 1, &count),
		    LEAT_OK);
		assert_int_equal(count, 1);
		assert_true(entry.log_offset == done.log_offset);
		assert_int_equal(entry.bytes, v.bytes);
		assert_true(entry.tags_code == lt_record_tags_code(&v));
		if (seq % 2 == 0)
			continue;
		assert_int_equal(lt_ring_peek(&reader, &head), LEAT_OK);
		assert_int_equal(head.queue_offset, done.queue_offset);
		assert_true(head.log_offset == done.log_offset);
		assert_int_equal(head.bytes, v.bytes);
		assert_int_equal(lt_ring_copy(&reader, &head, copy), LEAT_OK);
		assert_memory_equal(copy, v.base, v.bytes);
		lt_ring_skip(&reader, &head);
	}
	lt_reader_close(log);
	lt_cq_view_close(view);
	lt_segment_detach(&seg);
	close(fd);
}

static uint32_t
bell(void)
{
	return atomic_load_explicit(
	    &client.shown->doorbell, memory_order_acquire);
}

static uint64_t
events(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* One wake per batch, only for what is waited for, only when it happens. */
static void
test_wakes(void **state)
{
	struct rig_client publisher;
	struct lt_cq *cq;
	struct lt_session *s = lt_session_find(&rig.d, client.id);
	uint32_t before = bell();

	rig_client_make(&publisher, 2, RIG_LANE);
	rig_attach(&rig, &publisher, -1);
	assert_int_equal(lt_topicmap_queue(&rig.d,
			     lt_topicmap_get(&rig.d, RIG_TOPIC), 3, &cq),
	    LEAT_OK);
	assert_int_equal(lt_feed_watch(&rig.d, cq, s), LEAT_OK);
	assert_int_equal(lt_feed_watch(&rig.d, cq, s), LEAT_OK);

	/* Nobody sleeps: no wake. */
	put(3, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before);

	/* Another queue grows: no wake; the watched one: one for the batch. */
	atomic_store(&client.shared->waiting, LT_LANE_WAIT_DATA);
	assert_int_equal(
	    rig_put(&publisher, RIG_TOPIC, RIG_NAME, 2, 0, "x", 1), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before);
	for (int i = 0; i < 5; i++)
		assert_int_equal(
		    rig_put(&publisher, RIG_TOPIC, RIG_NAME, 3, 0, "x", 1),
		    LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 1);
	assert_int_equal(events(client.client_event), 0);

	/* With the descriptor, on request. */
	atomic_store(
	    &client.shared->waiting, LT_LANE_WAIT_DATA | LT_LANE_WAIT_EVENTFD);
	assert_int_equal(
	    rig_put(&publisher, RIG_TOPIC, RIG_NAME, 3, 0, "x", 1), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 2);
	assert_int_equal(events(client.client_event), 1);

	/* A receipt: when the wanted sequence is reached, and once. */
	atomic_store(&client.shared->waiting, LT_LANE_WAIT_RECEIPT);
	atomic_store(&client.shared->want_logged, client.seq + 2);
	put(0, LEAT_LOGGED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 2);
	put(0, LEAT_LOGGED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 3);
	put(0, LEAT_LOGGED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 3);

	/* A durable receipt: not before the sync. */
	atomic_store(&client.shared->want_synced, client.seq);
	assert_int_equal(lt_publish_sync(&rig.d), LEAT_OK);
	assert_int_equal(bell(), before + 4);

	/* Room. */
	atomic_store(&client.shared->waiting, LT_LANE_WAIT_ROOM);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 5);

	/* Watching no more. */
	lt_feed_unwatch(&rig.d, cq, s);
	atomic_store(&client.shared->waiting, LT_LANE_WAIT_DATA);
	assert_int_equal(
	    rig_put(&publisher, RIG_TOPIC, RIG_NAME, 3, 0, "x", 1), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(bell(), before + 5);
	assert_null(cq->user);
	rig_client_free(&publisher);
}

/* A level that is not synced forces no sync, and profits from any. */
static void
test_levels(void **state)
{
	put(0, LEAT_LOGGED);
	put(0, LEAT_ACCEPTED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->logged), 2);
	assert_int_equal(page_word(&client.shown->synced), 0);
	put(0, LEAT_SYNCED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->synced), 3);
	assert_true(
	    lt_commitlog_synced(rig.d.log) == lt_commitlog_end(rig.d.log));
	/* The default: the topic's, else the broker's. */
	put(0, LEAT_LEVEL_DEFAULT);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->synced), 3);
	lt_topicmap_get(&rig.d, RIG_TOPIC)->level = LEAT_SYNCED;
	put(0, LEAT_LEVEL_DEFAULT);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->synced), 5);
	/* Nobody asks: it happens all the same, after a while. */
	put(0, LEAT_LOGGED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
	assert_int_equal(page_word(&client.shown->synced), 5);
	assert_true(lt_upkeep_wait_ms(&rig.d) <= LT_DUTY_SYNC_MS);
	rig.d.now_ms += LT_DUTY_SYNC_MS;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
	assert_int_equal(page_word(&client.shown->synced), 6);
	/* A refusal at this level is not kept waiting. */
	put(4, LEAT_SYNCED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 7).status, LEAT_E_QUEUE);
	assert_int_equal(page_word(&client.shown->synced), 7);
}

/* --- checkpoints --- */

static void
pass(uint64_t ms)
{
	rig.d.now_ms += ms;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
}

/* A busy queue keeps its buffer for one checkpoint. The next one comes also if
 * nothing else does, and it is the last. */
static void
test_buffers_go_back(void **state)
{
	uint64_t period_ms = rig.d.options.store_checkpoint_ms;

	for (int i = 0; i < 200; i++)
		put(0, 0);
	rig_turns(&rig);
	assert_int_equal(lt_cq_buffered(rig.d.queues), 1);
	pass(period_ms);
	assert_true(rig.d.checkpoint_end == lt_commitlog_end(rig.d.log));
	assert_int_equal(lt_cq_buffered(rig.d.queues), 1);
	assert_true(lt_checkpoint_due_ms(&rig.d) <= rig.d.now_ms + period_ms);
	pass(period_ms);
	assert_int_equal(lt_cq_buffered(rig.d.queues), 0);
	assert_true(lt_checkpoint_due_ms(&rig.d) == UINT64_MAX);
}

/* Log until there is a checkpoint; returns how many bytes it took. */
static uint64_t
log_to_checkpoint(void)
{
	uint64_t start = rig.d.checkpoint_end;

	while (rig.d.checkpoint_end == start) {
		for (int i = 0; i < 50; i++)
			put(0, 0);
		rig_turns(&rig);
		rig.d.checkpoint_ms = rig.d.now_ms; /* not for its age */
		pass(100);
	}
	return rig.d.checkpoint_end - start;
}

/* The more files a checkpoint writes, the more log it is for, to a limit. */
static void
test_many_queues_wait(void **state)
{
	const struct lt_cq_entry entry = {.bytes = 1};
	struct lt_cq *cq;
	uint64_t bytes;

	rig.d.options.store_checkpoint_bytes = 131072;
	(void)log_to_checkpoint();
	for (uint32_t q = 0; q < 10; q++) {
		assert_int_equal(
		    lt_cq_get(rig.d.queues, "many", 4, q, &cq), LEAT_OK);
		assert_int_equal(
		    lt_cq_append(rig.d.queues, cq, &entry), LEAT_OK);
	}
	bytes = log_to_checkpoint();
	assert_in_range(bytes, 4 * 131072, 5 * 131072);
	assert_int_equal(lt_cq_buffered(rig.d.queues), 1);
	/* One queue: as often as was asked for. */
	bytes = log_to_checkpoint();
	assert_in_range(bytes, 131072, 2 * 131072);
}

/* --- faults --- */

static int fail_with; /* errno, 0: none */
static const char *fail_in; /* part of the path */

static int
is_hit(int fd)
{
	char link[64], path[512];
	ssize_t n;

	if (fail_with == 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = 0;
	return strstr(path, fail_in) != NULL;
}

static ssize_t
faulty_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	if (is_hit(fd)) {
		errno = fail_with;
		return -1;
	}
	return real_sys.pwrite(fd, buf, bytes, at);
}

static int
faulty_fdatasync(int fd)
{
	if (is_hit(fd)) {
		errno = fail_with;
		return -1;
	}
	return real_sys.fdatasync(fd);
}

static void
arm(const char *in, int err)
{
	fail_in = in;
	fail_with = err;
	lt_sys.pwrite = faulty_pwrite;
	lt_sys.fdatasync = faulty_fdatasync;
}

/* In place of lt_cq_append (linker option --wrap): no space for entries. */
static int cq_is_full;

int __real_lt_cq_append(
    struct lt_cq_set *set, struct lt_cq *cq, const struct lt_cq_entry *entry);
int __wrap_lt_cq_append(
    struct lt_cq_set *set, struct lt_cq *cq, const struct lt_cq_entry *entry);

int
__wrap_lt_cq_append(
    struct lt_cq_set *set, struct lt_cq *cq, const struct lt_cq_entry *entry)
{
	if (cq_is_full && cq->next % 10 == 7)
		return LEAT_E_NOSPACE;
	return __real_lt_cq_append(set, cq, entry);
}

/* Disk full: refused with the reason, nothing logged; afterwards it goes on
 * by itself, with the next offset. */
static void
test_no_space(void **state)
{
	uint64_t end;

	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	end = lt_commitlog_end(rig.d.log);
	arm("/commitlog/", ENOSPC);
	put(0, 0);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 2).status, LEAT_E_NOSPACE);
	assert_int_equal(rig_done(&client, 3).status, LEAT_E_NOSPACE);
	assert_int_equal(rig_done(&client, 3).log_offset, -1);
	assert_true(lt_commitlog_end(rig.d.log) == end);
	assert_int_equal(
	    atomic_load(&rig.d.beacon->flags), LT_BEACON_DISK_FULL);
	fail_with = 0;
	/* Not tried before the next look ... */
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 4).status, LEAT_E_NOSPACE);
	/* ... which comes within a second, without anybody asking. */
	assert_true(lt_upkeep_wait_ms(&rig.d) <= 1000);
	rig.d.now_ms += 1000;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
	assert_int_equal(atomic_load(&rig.d.beacon->flags), 0);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 5).status, LEAT_OK);
	assert_int_equal(rig_done(&client, 5).queue_offset, 1);
	assert_true((uint64_t)rig_done(&client, 5).log_offset == end);
}

/* Logged, but no space to index it: not acknowledged until it is. */
static void
test_stall(void **state)
{
	int fd = rig_ring_make(65536);
	struct lt_ring_reader reader;
	struct lt_segment seg;
	struct lt_ring_head head;
	uint64_t done;

	ring(0, fd);
	assert_int_equal(
	    lt_segment_attach(&seg, fd, LT_SEGMENT_RING, 0, 0), LEAT_OK);
	cq_is_full = 1;
	for (int i = 0; i < 20; i++)
		put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_true(rig.d.batch.is_appended);
	assert_true(rig.d.is_full);
	done = page_word(&client.shown->logged);
	assert_int_equal(done, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_true(page_word(&client.shown->logged) == done);
	assert_true(lt_upkeep_wait_ms(&rig.d) <= 1000);
	/* Control goes on meanwhile; what would need the log does not. */
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
	assert_true(rig.d.is_full);
	cq_is_full = 0;
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_true(page_word(&client.shown->logged) == client.seq);
	assert_int_equal(queue_of(0)->next, client.seq);
	assert_int_equal(
	    rig_done(&client, client.seq).queue_offset, client.seq - 1);
	lt_ring_reader_init(&reader, &seg);
	assert_true(lt_ring_next_offset(&reader) == (int64_t)client.seq);
	assert_int_equal(
	    lt_ring_seek(&reader, (int64_t)client.seq - 1), LEAT_OK);
	assert_int_equal(lt_ring_peek(&reader, &head), LEAT_OK);
	assert_int_equal(lt_ring_valid(&seg), LEAT_OK);
	lt_segment_detach(&seg);
	close(fd);
}

static int
no_memfd(const char *name, unsigned flags)
{
	errno = EMFILE;
	return -1;
}

/* Neither space for entries nor a way to lend them: who asks is told so, and
 * not of a queue that ends before what it was told of the last time. */
static void
test_cannot_lend(void **state)
{
	struct lt_wire_queue m = {.topic = RIG_TOPIC};
	struct lt_wire_range a;

	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	arm("/consumequeue/", ENOSPC);
	lt_sys.memfd_create = no_memfd;
	lt_wire_init(&m.h, LT_OP_S_QUEUE_SYNC, sizeof(m), 0, 7);
	assert_int_equal(
	    lt_fdpass_send(rig.peer, &m, sizeof(m), NULL, 0), LEAT_OK);
	assert_int_equal(lt_control_poll_peer(&rig.d), LEAT_OK);
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_QUEUE_SYNC);
	assert_int_equal(a.h.status, LEAT_E_NOMEM);
	lt_sys.memfd_create = real_sys.memfd_create;
	assert_int_equal(
	    lt_fdpass_send(rig.peer, &m, sizeof(m), NULL, 0), LEAT_OK);
	assert_int_equal(lt_control_poll_peer(&rig.d), LEAT_OK);
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_QUEUE_SYNC);
	assert_int_equal(a.h.status, LEAT_OK);
	assert_int_equal(a.max_offset, 1);
}

/* A failed write or sync: nobody is told anything, the process must end. */
static void
test_failed_append(void **state)
{
	arm("/commitlog/", EIO);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_E_IO);
	assert_int_equal(page_word(&client.shown->logged), 0);
	assert_int_equal(page_word(&client.shown->lane_head), 0);
}

static void
test_failed_sync(void **state)
{
	put(0, LEAT_LOGGED);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	arm("/commitlog/", EIO);
	lt_sys.pwrite = real_sys.pwrite;
	put(0, LEAT_SYNCED);
	assert_int_equal(rig_turn(&rig), LEAT_E_IO);
	assert_int_equal(page_word(&client.shown->synced), 0);
}

/* --- the store dies --- */

/* A new store goes on where the page and the log say; nothing is lost, none
 * twice. window: what the dead one had done of the last batch. */
static void
check_takeover(int window)
{
	int old;

	for (int i = 0; i < 10; i++)
		put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	for (int i = 0; i < 10; i++)
		put(i == 5 ? 4 : 0, 0);
	if (window > 0) {
		lt_batch_sweep(&rig.d);
		assert_int_equal(lt_commitlog_append(rig.d.log, rig.d.batch.buf,
				     rig.d.batch.used),
		    LEAT_OK);
	}
	if (window > 1) {
		/* Counters stored, the lane's head not yet. */
		struct lt_page_shared *p =
		    lt_session_find(&rig.d, client.id)->page;
		uint64_t head = atomic_load(&p->lane_head);

		rig.d.batch.is_appended = 1;
		assert_int_equal(lt_publish_run(&rig.d), LEAT_OK);
		atomic_store(&p->lane_head, head);
	}
	rig_drop(&rig);
	rig_start(&rig, dir, NULL);
	old = rig_client_new_page(&client, RIG_LANE);
	rig_attach(&rig, &client, old);
	assert_int_equal(
	    page_word(&client.shown->logged), window > 1 ? 16 : 10);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->logged), 21);
	for (uint64_t seq = 1; seq <= 21; seq++) {
		struct lt_page_done done = rig_done(&client, seq);

		if (seq == 16) {
			assert_int_equal(done.status, LEAT_E_QUEUE);
			continue;
		}
		assert_int_equal(done.status, LEAT_OK);
		assert_int_equal(
		    done.queue_offset, seq < 16 ? seq - 1 : seq - 2);
		assert_true(done.log_offset >= 0);
	}
	assert_int_equal(queue_of(0)->next, 20);
}

static void
test_dies_before_append(void **state)
{
	check_takeover(0);
}

static void
test_dies_after_append(void **state)
{
	check_takeover(1);
}

static void
test_dies_before_head(void **state)
{
	check_takeover(2);
}

/* A refusal is told before the log has anything behind it: a successor would
 * take what it does not know for logged. */
static void
test_dies_with_refusal_first(void **state)
{
	int old;

	put(4, 0);
	put(0, 0);
	lt_batch_sweep(&rig.d);
	if (rig.d.batch.used > 0)
		assert_int_equal(lt_commitlog_append(rig.d.log, rig.d.batch.buf,
				     rig.d.batch.used),
		    LEAT_OK);
	rig_drop(&rig);
	rig_start(&rig, dir, NULL);
	old = rig_client_new_page(&client, RIG_LANE);
	rig_attach(&rig, &client, old);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 1).status, LEAT_E_QUEUE);
	assert_int_equal(rig_done(&client, 2).status, LEAT_OK);
	assert_int_equal(queue_of(0)->next, 1);
}

/* The queue manager dies: attached again, everything goes on as it was. */
static void
test_attach_again(void **state)
{
	struct lt_session *s = lt_session_find(&rig.d, client.id);
	uint64_t tail;

	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	put(0, 0);
	rig.d.peer.gen = 2;
	rig_attach(&rig, &client, -1);
	assert_true(lt_session_find(&rig.d, client.id) == s);
	lt_session_detach_stale(&rig.d);
	assert_int_equal(rig.d.detaching, 0);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(page_word(&client.shown->logged), 3);
	/* With a new page: it begins with what the old one said. */
	put(0, 0);
	close(rig_client_new_page(&client, 2 * RIG_LANE));
	rig_attach(&rig, &client, -1);
	assert_int_equal(page_word(&client.shown->logged), 3);
	assert_int_equal(rig_done(&client, 2).queue_offset, 1);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 4).queue_offset, 3);
	/* A larger lane: from its beginning. */
	tail = client.writer.tail;
	lt_segment_detach(&client.lane);
	close(client.lane_fd);
	{
		struct lt_segment_head head = {
		    .magic = LT_SEGMENT_LANE, .data_bytes = 2 * RIG_LANE};

		assert_int_equal(lt_segment_create(&client.lane, "lane", &head,
				     0, &client.lane_fd),
		    LEAT_OK);
	}
	assert_int_equal(lt_segment_seal(client.lane_fd, 0), LEAT_OK);
	assert_int_equal(
	    lt_session_lane(&rig.d, s, dup(client.lane_fd)), LEAT_OK);
	assert_true(tail > 0);
	assert_int_equal(page_word(&client.shown->lane_head), 0);
	client.shared = client.lane.base;
	lt_lane_writer_init(&client.writer, &client.lane, 0);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 5).queue_offset, 4);
	/* Not attached again by the next one: let go. */
	rig.d.peer.gen = 3;
	lt_session_detach_stale(&rig.d);
	lt_session_finish_detaching(&rig.d);
	assert_int_equal(rig.d.session_count, 0);
}

/* A lane or page that no honest party made is refused. */
static void
test_attach_refuses(void **state)
{
	struct rig_client bad;
	struct lt_wire_attach m = {.session = 9};
	struct lt_segment_head *head;
	uint64_t logged;

	rig_client_make(&bad, 9, RIG_LANE);
	head = bad.lane.base;
	for (int i = 0; i < 3; i++) {
		int fds[4] = {dup(bad.lane_fd), dup(bad.page_fd),
		    dup(bad.store_event), dup(bad.client_event)};

		head->data_bytes = i == 0 ? RIG_LANE * 2 : RIG_LANE;
		head->magic = i == 1 ? LT_SEGMENT_PAGE : LT_SEGMENT_LANE;
		assert_int_equal(lt_session_attach(&rig.d, &m, NULL, fds,
				     i == 2 ? 3 : 4, &logged),
		    LEAT_E_CORRUPT);
		if (i == 2)
			close(fds[3]);
		assert_null(lt_session_find(&rig.d, 9));
	}
	assert_int_equal(rig.d.session_count, 1);
	rig_client_free(&bad);
}

/* A topic goes, and comes again from offset 0, also after a crash. */
static void
test_topic_again(void **state)
{
	struct lt_wire_topic m = {.id = RIG_TOPIC, .deleted = 1};

	for (int i = 0; i < 5; i++)
		put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	snprintf(m.name, sizeof(m.name), "%s", RIG_NAME);
	assert_int_equal(lt_topicmap_put(&rig.d, &m), LEAT_OK);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 6).status, LEAT_E_NOTFOUND);
	lt_topicmap_sweep(&rig.d);
	rig.d.now_ms += 1000;
	assert_int_equal(lt_upkeep_run(&rig.d), LEAT_OK);
	rig_topic(&rig, RIG_TOPIC, RIG_NAME, 4, 6);
	put(0, 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&client, 7).queue_offset, 0);
	rig_drop(&rig);
	rig_start(&rig, dir, NULL);
	assert_int_equal(queue_of(0)->next, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_places),
	    TEST(test_wakes),
	    TEST(test_levels),
	    TEST(test_buffers_go_back),
	    TEST(test_many_queues_wait),
	    TEST(test_no_space),
	    TEST(test_stall),
	    TEST(test_cannot_lend),
	    TEST(test_failed_append),
	    TEST(test_failed_sync),
	    TEST(test_dies_before_append),
	    TEST(test_dies_after_append),
	    TEST(test_dies_before_head),
	    TEST(test_dies_with_refusal_first),
	    TEST(test_attach_again),
	    TEST(test_attach_refuses),
	    TEST(test_topic_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
