/*
 * recover_test.c - a store that stopped anyhow: torn tails, damage, lost and
 * foreign snapshots, power cuts, killed and failing recoveries.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/sys.h"
#include "depot.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/record.h"

static struct depot d, other;

static int
setup(void **state)
{
	depot_make(&d);
	return depot_open(&d);
}

static int
teardown(void **state)
{
	depot_remove(&d);
	return 0;
}

/* Crash, come back, and find what the model says. */
static void
reopen(uint64_t damaged)
{
	depot_shut(&d);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.damaged, damaged);
	assert_int_equal(d.recovered.log_end, lt_commitlog_end(d.log));
	depot_check(&d);
}

static const struct lt_session_mark *
mark_of(uint64_t session)
{
	for (size_t i = 0; i < d.recovered.mark_count; i++)
		if (d.recovered.marks[i].session == session)
			return &d.recovered.marks[i];
	return NULL;
}

static void
empty_store(void **state)
{
	reopen(0);
	assert_int_equal(d.recovered.log_end, 0);
	assert_int_equal(d.recovered.records, 0);
	depot_checkpoint(&d);
	reopen(0);
	depot_fill(&d, 5, 10);
	reopen(0);
	assert_int_equal(d.recovered.records, 5);
}

static void
without_checkpoint_everything_is_scanned(void **state)
{
	uint64_t end;

	depot_fill(&d, 1500, 60);
	end = lt_commitlog_end(d.log);
	assert_true(end > 4 * DEPOT_SEGMENT);
	reopen(0);
	assert_int_equal(d.recovered.log_end, end);
	assert_int_equal(d.recovered.scanned_bytes, end);
	assert_int_equal(d.recovered.records, 1500);
	assert_int_equal(d.recovered.last_store_ms, DEPOT_MS + 1499);
	assert_int_equal(d.recovered.mark_count, DEPOT_SESSIONS);
	for (uint64_t s = 0; s < DEPOT_SESSIONS; s++)
		assert_int_equal(mark_of(0x1000 + s)->seq, 500);
	assert_int_equal(d.recovered.trace_count, 1500);
	for (size_t i = 0; i < 1500; i++) {
		const struct lt_session_trace *t = &d.recovered.traces[i];

		assert_int_equal(t->session, d.messages[i].session);
		assert_int_equal(t->seq, d.messages[i].seq);
		assert_int_equal(t->log_offset, d.messages[i].log_offset);
		assert_int_equal(t->queue_offset, d.messages[i].queue_offset);
		assert_int_equal(t->store_ms, DEPOT_MS + (int64_t)i);
	}
}

static void
a_checkpoint_bounds_the_scan(void **state)
{
	uint64_t at;

	depot_fill(&d, 700, 60);
	depot_checkpoint(&d);
	at = lt_commitlog_end(d.log);
	depot_fill(&d, 400, 60);
	reopen(0);
	assert_int_equal(
	    d.recovered.scanned_bytes, lt_commitlog_end(d.log) - at);
	assert_int_equal(d.recovered.records, 400);
	/* Marks and traces reach back beyond it all the same. */
	assert_int_equal(mark_of(0x1000)->seq, d.seqs[0]);
	assert_int_equal(d.recovered.trace_count, 1100);
	assert_int_equal(d.recovered.traces[0].seq, 1);
	depot_checkpoint(&d);
	reopen(0);
	assert_int_equal(d.recovered.records, 0);
	assert_int_equal(d.recovered.scanned_bytes, 0);
	assert_int_equal(d.recovered.trace_count, 1100);
	assert_int_equal(mark_of(0x1001)->seq, d.seqs[1]);
	assert_int_equal(d.recovered.last_store_ms, DEPOT_MS + 1099);
}

/* A session heard of only before the checkpoint is still known. */
static void
marks_come_from_the_snapshot(void **state)
{
	struct lt_session_mark old = {0xfeed, 99, DEPOT_MS};

	depot_fill(&d, 10, 10);
	assert_int_equal(lt_commitlog_sync(d.log), LEAT_OK);
	assert_int_equal(lt_snapshot_write(
			     d.dir, d.queues, lt_commitlog_end(d.log), &old, 1),
	    LEAT_OK);
	depot_fill(&d, 1, 10);
	reopen(0);
	assert_int_equal(mark_of(0xfeed)->seq, 99);
	assert_int_equal(mark_of(0x1001)->seq, d.seqs[1]);
}

/* Traces cover the last 16 MiB, no more, wherever the scan begins. */
static void
traces_of_the_last_part(void **state)
{
	for (int with_checkpoint = 0; with_checkpoint < 2; with_checkpoint++) {
		uint64_t begin;
		size_t first = 0;

		teardown(NULL);
		depot_make(&d);
		d.options.store_segment_bytes = 4 << 20;
		assert_int_equal(depot_open(&d), LEAT_OK);
		depot_fill(&d, 6000, 4000);
		if (with_checkpoint)
			depot_checkpoint(&d);
		depot_fill(&d, 100, 4000);
		begin = lt_commitlog_end(d.log) - (16 << 20);
		while (d.messages[first].log_offset < begin)
			first++;
		assert_true(first > 1000);
		reopen(0);
		assert_int_equal(
		    d.recovered.records, with_checkpoint ? 100 : 6100);
		assert_int_equal(d.recovered.trace_count, 6100 - first);
		for (size_t i = 0; i < d.recovered.trace_count; i++)
			assert_int_equal(d.recovered.traces[i].log_offset,
			    d.messages[first + i].log_offset);
	}
}

/* The last record, cut at every byte, with and without garbage behind. */
static void
torn_tail(void **state)
{
	uint8_t whole[512], junk[64];
	const struct depot_message *last;

	depot_fill(&d, 40, 20);
	depot_shut(&d);
	last = &d.messages[39];
	assert_true(last->bytes <= sizeof(whole));
	depot_read(&d, last->log_offset, whole, last->bytes);
	memset(junk, 0xDA, sizeof(junk));
	for (uint32_t keep = 0; keep < last->bytes; keep++) {
		depot_copy(&d, &other);
		depot_zero(&other, last->log_offset + keep, last->bytes - keep);
		if (keep % 2)
			depot_write(&other, last->log_offset + last->bytes,
			    junk, sizeof(junk));
		depot_forget(&other, last->log_offset);
		assert_int_equal(depot_open(&other), LEAT_OK);
		assert_int_equal(other.recovered.log_end, last->log_offset);
		assert_int_equal(other.recovered.damaged, 0);
		depot_check(&other);
		/* What was there does not come back. */
		depot_fill(&other, 2, 5);
		depot_shut(&other);
		assert_int_equal(depot_open(&other), LEAT_OK);
		assert_int_equal(other.recovered.records, 41);
		depot_check(&other);
		depot_remove(&other);
	}
}

static void
damage_costs_one_record(void **state)
{
	static const size_t which[] = {0, 77, 300, 701};
	uint64_t end;

	depot_fill(&d, 900, 60);
	end = lt_commitlog_end(d.log);
	/* Entries of the damaged are in the files already. */
	assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
	for (size_t i = 0; i < LT_COUNT(which); i++) {
		struct depot_message *m = &d.messages[which[i]];

		depot_flip(&d, m->log_offset + 40 + i * 17);
		m->is_lost = 1;
	}
	/* One whose length lies, and three in a row. */
	depot_flip(&d, d.messages[500].log_offset + 1);
	d.messages[500].is_lost = 1;
	for (size_t i = 600; i < 603; i++) {
		depot_flip(&d, d.messages[i].log_offset + 5);
		d.messages[i].is_lost = 1;
	}
	reopen(6);
	assert_int_equal(d.recovered.records, 900 - 8);
	assert_int_equal(d.recovered.log_end, end);
	reopen(6);
}

/* A lost BLANK, and a segment that lost its first page. */
static void
damage_at_segment_ends(void **state)
{
	struct depot_message *last = NULL;
	size_t lost = 0;

	depot_fill(&d, 900, 60);
	for (size_t i = 0; i < d.count; i++)
		if (d.messages[i].log_offset < DEPOT_SEGMENT)
			last = &d.messages[i];
	depot_zero(&d, last->log_offset + last->bytes, 8);
	for (size_t i = 0; i < d.count; i++) {
		struct depot_message *m = &d.messages[i];

		if (m->log_offset + m->bytes > 2 * DEPOT_SEGMENT &&
		    m->log_offset < 2 * DEPOT_SEGMENT + 4096) {
			m->is_lost = 1;
			lost++;
		}
	}
	depot_zero(&d, 2 * DEPOT_SEGMENT, 4096);
	reopen(2);
	assert_int_equal(d.recovered.records, 900 - lost);
}

static void
stale_bytes_are_no_records(void **state)
{
	uint8_t old[2000];
	uint64_t end;

	depot_fill(&d, 100, 20);
	end = lt_commitlog_end(d.log);
	depot_shut(&d);
	depot_read(&d, 0, old, sizeof(old));
	depot_write(&d, end, old, sizeof(old));
	depot_write(&d, end + 8000, old, sizeof(old));
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.log_end, end);
	assert_int_equal(d.recovered.damaged, 0);
	depot_check(&d);
}

static void
write_snapshot(const void *p, size_t bytes)
{
	int fd = openat(d.dir, "snapshot", O_WRONLY | O_CREAT | O_TRUNC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, bytes), bytes);
	close(fd);
}

/* Each bit of the snapshot: noticed, or without effect. */
static void
damaged_snapshot(void **state)
{
	static uint8_t whole[4096];
	ssize_t bytes;
	int fd;

	depot_fill(&d, 30, 20);
	depot_checkpoint(&d);
	depot_fill(&d, 10, 20);
	depot_shut(&d);
	fd = openat(d.dir, "snapshot", O_RDONLY);
	bytes = read(fd, whole, sizeof(whole));
	close(fd);
	assert_true(bytes > 100 && bytes < (ssize_t)sizeof(whole));
	for (ssize_t i = 0; i < bytes; i++) {
		whole[i] ^= (uint8_t)(1 << i % 8);
		write_snapshot(whole, (size_t)bytes);
		whole[i] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(depot_open(&d), LEAT_OK);
		assert_int_equal(d.recovered.records, 40);
		assert_false(depot_has(&d, "snapshot"));
		depot_check(&d);
		depot_shut(&d);
	}
	for (ssize_t cut = 0; cut < bytes; cut += 13) {
		write_snapshot(whole, (size_t)cut);
		assert_int_equal(depot_open(&d), LEAT_OK);
		assert_int_equal(d.recovered.records, 40);
		depot_shut(&d);
	}
	write_snapshot(whole, (size_t)bytes);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 10);
}

static void
check_entries(const char *topic, size_t want)
{
	struct lt_cq_entry e[64];
	struct lt_cq_view *view;
	size_t count;

	assert_int_equal(lt_cq_view_open(d.dir, &view), LEAT_OK);
	assert_int_equal(
	    lt_cq_view_read(view, topic, 0, 0, e, 64, &count), LEAT_OK);
	lt_cq_view_close(view);
	assert_int_equal(count, want);
	for (size_t i = 0; i < count; i++)
		assert_true(e[i].bytes > 0);
}

/* The queue manager does not start without its own two queues. */
static void
cut_system_queues(void **state)
{
	static const char *const names[] = {
	    LT_NAME_CONFIG_TOPIC, LT_NAME_PROGRESS_TOPIC};
	char file[128];

	for (size_t i = 0; i < 30; i++) {
		depot_config(&d, i % 2 ? "a" : "b", 0);
		depot_put(&d, LT_NAME_PROGRESS_TOPIC, 0, 40);
	}
	for (size_t i = 0; i < 8; i++) {
		int64_t bytes = i < 2 ? -1 : (int64_t)(i / 2 - 1) * 250;

		depot_fill(&d, 10, 20);
		depot_checkpoint(&d);
		depot_shut(&d);
		snprintf(file, sizeof(file), "consumequeue/%s/0/%020d",
		    names[i % 2], 0);
		if (bytes < 0) {
			assert_int_equal(unlinkat(d.dir, file, 0), 0);
		} else {
			int fd = openat(d.dir, file, O_RDWR);

			assert_int_equal(ftruncate(fd, bytes), 0);
			close(fd);
		}
		assert_int_equal(depot_open(&d), LEAT_OK);
		depot_check(&d);
		check_entries(LT_NAME_CONFIG_TOPIC, 30);
		check_entries(LT_NAME_PROGRESS_TOPIC, 30);
	}
}

static void
foreign_snapshot(void **state)
{
	static uint8_t whole[4096];
	ssize_t bytes;
	int fd;

	depot_make(&other);
	assert_int_equal(depot_open(&other), LEAT_OK);
	depot_fill(&other, 30, 21);
	depot_checkpoint(&other);
	fd = openat(other.dir, "snapshot", O_RDONLY);
	bytes = read(fd, whole, sizeof(whole));
	close(fd);
	depot_remove(&other);

	depot_fill(&d, 100, 20);
	depot_shut(&d);
	write_snapshot(whole, (size_t)bytes);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 100);
	depot_check(&d);
}

/* The disk lied, or the log was restored from an older copy: what the snapshot
 * says of lost messages must not count, neither offsets nor sequences. */
static void
snapshot_beyond_the_end(void **state)
{
	uint64_t cut;

	depot_fill(&d, 300, 60);
	cut = d.messages[200].log_offset;
	depot_checkpoint(&d);
	depot_shut(&d);
	depot_zero(&d, cut, DEPOT_SEGMENT - cut % DEPOT_SEGMENT);
	for (uint64_t at = (cut / DEPOT_SEGMENT + 1) * DEPOT_SEGMENT;
	     at <= d.messages[299].log_offset; at += DEPOT_SEGMENT)
		depot_zero(&d, at, DEPOT_SEGMENT);
	depot_forget(&d, cut);
	assert_int_equal(d.count, 200);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.log_end, cut);
	assert_int_equal(d.recovered.damaged, 0);
	assert_int_equal(mark_of(0x1000)->seq, d.seqs[0]);
	assert_false(depot_has(&d, "snapshot"));
	depot_check(&d);
	/* It does not become true again when the log has grown. */
	depot_fill(&d, 300, 60);
	reopen(0);
	assert_int_equal(d.recovered.records, 500);
}

/* Entries reached the disk, the records they point to did not. */
static void
queue_entries_beyond_the_end(void **state)
{
	uint64_t cut;

	depot_fill(&d, 100, 60);
	depot_checkpoint(&d);
	depot_fill(&d, 100, 60);
	depot_put(&d, "new-topic", 0, 10);
	assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
	cut = d.messages[150].log_offset;
	depot_shut(&d);
	depot_zero(&d, cut, lt_bytes_align(cut, DEPOT_SEGMENT) - cut);
	depot_forget(&d, cut);
	assert_true(depot_has(&d, "consumequeue/new-topic"));
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 50);
	assert_false(depot_has(&d, "consumequeue/new-topic"));
	depot_check(&d);
	depot_fill(&d, 100, 60);
	reopen(0);
}

/* Retention took a queue's messages: its numbering goes on. */
static void
numbering_survives_retention(void **state)
{
	for (int with_snapshot = 0; with_snapshot < 2; with_snapshot++) {
		struct lt_cq *cq;
		size_t i;

		for (i = 0; i < 50; i++)
			depot_put(&d, "quiet", 3, 20);
		depot_fill(&d, 900, 60);
		depot_checkpoint(&d);
		assert_int_equal(lt_commitlog_drop_oldest(d.log), LEAT_OK);
		if (!with_snapshot)
			unlinkat(d.dir, "snapshot", 0);
		depot_shut(&d);
		assert_int_equal(depot_open(&d), LEAT_OK);
		cq = lt_cq_find(d.queues, "quiet", 5, 3);
		assert_non_null(cq);
		assert_int_equal(cq->next, 50);
		cq = lt_cq_find(d.queues, "orders", 6, 0);
		assert_true(cq->next > 40);
		teardown(NULL);
		setup(NULL);
	}
}

static void
a_log_that_begins_later(void **state)
{
	size_t gone = 0;
	int64_t first;

	depot_fill(&d, 900, 60);
	depot_shut(&d);
	unlinkat(d.dir, "commitlog/00000000000000000000", 0);
	while (d.messages[gone].log_offset < DEPOT_SEGMENT)
		gone++;
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(lt_commitlog_min(d.log), DEPOT_SEGMENT);
	assert_int_equal(d.recovered.records, 900 - gone);
	assert_int_equal(d.recovered.damaged, 0);
	first = d.messages[gone].queue_offset;
	assert_true(first > 0);
	d.count -= gone;
	memmove(d.messages, d.messages + gone, d.count * sizeof(d.messages[0]));
	for (size_t i = 0; i < d.count; i++) {
		struct lt_cq *cq = lt_cq_find(d.queues, d.messages[i].topic,
		    strlen(d.messages[i].topic), d.messages[i].queue);

		assert_non_null(cq);
		assert_true(cq->next > d.messages[i].queue_offset);
	}
}

/* Checkpoint and end just behind a BLANK, in a segment with nothing yet. */
static void
the_end_at_a_segments_beginning(void **state)
{
	depot_fill(&d, 50, 60);
	assert_int_equal(lt_commitlog_roll(d.log), LEAT_OK);
	depot_checkpoint(&d);
	reopen(0);
	assert_int_equal(d.recovered.scanned_bytes, 0);
	assert_int_equal(d.recovered.log_end, DEPOT_SEGMENT);
	unlinkat(d.dir, "snapshot", 0);
	reopen(0);
	assert_int_equal(d.recovered.log_end, DEPOT_SEGMENT);
	depot_fill(&d, 50, 60);
	reopen(0);
	assert_int_equal(d.recovered.records, 100);
}

/* Killed at every 37th record, then again after it. */
static void
killed_recovery(void **state)
{
	depot_fill(&d, 300, 60);
	depot_checkpoint(&d);
	depot_fill(&d, 300, 60);
	depot_shut(&d);
	for (int skip = 0; skip < 300; skip += 37) {
		char value[64];
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			snprintf(
			    value, sizeof(value), "store.recover:%d", skip);
			setenv("LEAT_FAILPOINT", value, 1);
			lt_sys_fp_init();
			_exit(depot_open(&d) == LEAT_OK ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 300);
	depot_check(&d);
}

/* Each call to the kernel fails once: a status, or no matter; never a wrong
 * result, and the next recovery finds everything. */
static void
failing_recovery(void **state)
{
	unsigned long n;
	int failed = 0;

	depot_fill(&d, 300, 60);
	depot_checkpoint(&d);
	depot_fill(&d, 300, 60);
	depot_shut(&d);
	for (n = 1; n < 500; n++) {
		int rc;

		depot_copy(&d, &other);
		faults_install();
		faults_arm(FAULT_EIO, n, 0);
		rc = depot_open(&other);
		if (!faults_struck()) {
			faults_remove();
			depot_remove(&other);
			break;
		}
		faults_remove();
		failed += rc != LEAT_OK;
		if (rc == LEAT_OK)
			depot_check(&other);
		depot_shut(&other);
		assert_int_equal(depot_open(&other), LEAT_OK);
		depot_check(&other);
		depot_remove(&other);
	}
	assert_true(n > 5 && n < 500);
	assert_true(failed > 3);
}

static void
failing_checkpoint(void **state)
{
	unsigned long n;

	depot_fill(&d, 100, 60);
	depot_checkpoint(&d);
	depot_fill(&d, 100, 60);
	depot_shut(&d);
	for (n = 1; n < 500; n++) {
		int rc;

		depot_copy(&d, &other);
		assert_int_equal(depot_open(&other), LEAT_OK);
		faults_install();
		faults_arm(FAULT_ENOSPC, n, 0);
		rc = lt_snapshot_write(other.dir, other.queues,
		    lt_commitlog_end(other.log), NULL, 0);
		if (!faults_struck()) {
			faults_remove();
			assert_int_equal(rc, LEAT_OK);
			depot_remove(&other);
			break;
		}
		faults_remove();
		assert_int_equal(rc, LEAT_E_NOSPACE);
		depot_shut(&other);
		assert_int_equal(depot_open(&other), LEAT_OK);
		assert_int_equal(other.recovered.records, 100);
		depot_check(&other);
		depot_remove(&other);
	}
	assert_true(n > 3 && n < 500);
}

/* --- deleted topics ------------------------------------------------------- */

static void
expect_next(struct depot *store, int64_t next)
{
	struct lt_cq *cq = lt_cq_find(store->queues, "orders", 6, 0);

	assert_int_equal(cq == NULL ? 0 : cq->next, next);
}

static void
put_orders(size_t count)
{
	for (size_t i = 0; i < count; i++)
		depot_put(&d, "orders", 0, 20);
}

/* What is there with the snapshot that there is, and with none. */
static void
expect_either_way(int64_t next)
{
	for (int i = 0; i < 2; i++) {
		depot_copy(&d, &other);
		if (i == 1)
			unlinkat(other.dir, "snapshot", 0);
		assert_int_equal(depot_open(&other), LEAT_OK);
		assert_int_equal(other.recovered.damaged, 0);
		expect_next(&other, next);
		depot_check(&other);
		assert_int_equal(
		    depot_has(&other, "consumequeue/orders"), next > 0);
		/* And again, from what that start left. */
		depot_shut(&other);
		assert_int_equal(depot_open(&other), LEAT_OK);
		expect_next(&other, next);
		depot_remove(&other);
	}
}

/* A topic's life: 100 messages, deleted, made again, 5 messages. A checkpoint
 * at each point in turn (12: none), and a death at each later point. Between
 * its deletion's record and its drop the store takes 3 messages more. */
static void
deleted_topic(void **state)
{
	for (int checkpoint = 0; checkpoint <= 12; checkpoint++) {
		int64_t next = 0;

		depot_config(&d, "orders", 0);
		depot_fill(&d, 30, 40);
		for (int step = 0; step < 12; step++) {
			if (step == 0)
				put_orders(90);
			else if (step == 1)
				depot_config(&d, "orders", 1);
			else if (step == 2)
				put_orders(3);
			else if (step == 3)
				depot_drop(&d, "orders");
			else if (step == 4)
				depot_put(&d, "orders2", 5, 30);
			else if (step == 5)
				depot_config(&d, "orders", 0);
			else if (step == 6)
				depot_config(&d, "other", 0);
			else
				put_orders(1);
			if (step == 3) /* nobody reads it any more */
				assert_null(
				    lt_cq_find(d.queues, "orders", 6, 0));
			if (step == checkpoint)
				depot_checkpoint(&d);
			else if (step % 2 == 1) /* entries may be written */
				assert_int_equal(
				    lt_cq_flush_all(d.queues), LEAT_OK);
			if (step > 6)
				next++;
			if (step == 0)
				continue;
			if (step < 3) { /* as good as dropped */
				struct depot *model = &other;

				depot_copy(&d, model);
				depot_forget_topic(model, "orders");
				assert_int_equal(depot_open(model), LEAT_OK);
				expect_next(model, 0);
				depot_check(model);
				depot_remove(model);
				continue;
			}
			expect_either_way(next);
		}
		assert_int_equal(next, 5);
		teardown(NULL);
		setup(NULL);
	}
}

/* Written again with the complete state, the deletion still is one; and the
 * configuration of a topic that lives drops nothing. */
static void
configuration_written_again(void **state)
{
	put_orders(10);
	depot_config(&d, "orders", 1);
	depot_drop(&d, "orders");
	assert_int_equal(lt_commitlog_roll(d.log), LEAT_OK);
	depot_config(&d, "orders", 1);
	depot_fill(&d, 2, 10); /* the second is orders2's */
	depot_forget_topic(&d, "orders");
	depot_config(&d, "orders2", 0);
	depot_put(&d, "orders2", 6, 10);
	depot_config(&d, LT_NAME_CONFIG_TOPIC, 1);
	depot_shut(&d);
	assert_int_equal(depot_open(&d), LEAT_OK);
	expect_next(&d, 0);
	depot_check(&d);
	assert_int_equal(lt_cq_find(d.queues, LT_NAME_CONFIG_TOPIC,
			     strlen(LT_NAME_CONFIG_TOPIC), 0)
			     ->next,
	    4);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(empty_store),
	    TEST(without_checkpoint_everything_is_scanned),
	    TEST(a_checkpoint_bounds_the_scan),
	    TEST(marks_come_from_the_snapshot),
	    TEST(traces_of_the_last_part),
	    TEST(torn_tail),
	    TEST(damage_costs_one_record),
	    TEST(damage_at_segment_ends),
	    TEST(stale_bytes_are_no_records),
	    TEST(damaged_snapshot),
	    TEST(cut_system_queues),
	    TEST(foreign_snapshot),
	    TEST(snapshot_beyond_the_end),
	    TEST(queue_entries_beyond_the_end),
	    TEST(numbering_survives_retention),
	    TEST(a_log_that_begins_later),
	    TEST(the_end_at_a_segments_beginning),
	    TEST(killed_recovery),
	    TEST(failing_recovery),
	    TEST(failing_checkpoint),
	    TEST(deleted_topic),
	    TEST(configuration_written_again),
	};

	lt_log_init("recover_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
