/*
 * verify_test.c - verify names what is wrong and nothing else; rebuild makes
 * what is derived again, byte for byte; an Apache RocketMQ store, written here
 * from its format alone, is read, verified and taken over.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"
#include "depot.h"
#include "leat/status.h"
#include "proto/record.h"
#include "store/reader.h"

static struct depot d, other;
static struct depot_lines lines;
static struct lt_verify_report out;

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

static int
verify(struct depot *store)
{
	memset(&lines, 0, sizeof(lines));
	return lt_recover_verify(store->dir, &out, depot_report, &lines);
}

static void
clean_store(void **state)
{
	assert_int_equal(verify(&d), 0);
	depot_fill(&d, 900, 60);
	/* Not indexed yet, no snapshot: nothing wrong. */
	assert_int_equal(verify(&d), 0);
	depot_checkpoint(&d);
	assert_int_equal(verify(&d), 0);
	assert_int_equal(out.records, 900);
	assert_int_equal(out.entries, 900);
	assert_int_equal(out.damaged, 0);
	assert_int_equal(out.log_end, lt_commitlog_end(d.log));
	assert_int_equal(out.queues, lt_cq_count(d.queues));
	assert_true(out.segments >= 3);
	depot_fill(&d, 100, 60);
	assert_int_equal(verify(&d), 0);
	assert_int_equal(out.records, 1000);
}

static void
damaged_record(void **state)
{
	const struct depot_message *m = &d.messages[123];
	char at[64];

	depot_fill(&d, 300, 60);
	depot_checkpoint(&d);
	depot_flip(&d, m->log_offset + 90);
	/* The record, the gap it leaves, and the entry that points to it. */
	assert_int_equal(verify(&d), 3);
	snprintf(at, sizeof(at), "offset=%" PRIu64 " bytes=%u", m->log_offset,
	    m->bytes);
	assert_true(depot_said(&lines, "log.damaged", at));
	snprintf(at, sizeof(at), "queue_offsets=%" PRId64 "..%" PRId64,
	    m->queue_offset, m->queue_offset);
	assert_true(depot_said(&lines, "queue.hole", at));
	snprintf(at, sizeof(at), "points_to=%" PRIu64, m->log_offset);
	assert_true(depot_said(&lines, "entry.nowhere", at));
}

/* The last record of all: cut like a torn one, but not unnoticed. */
static void
damaged_last_record(void **state)
{
	depot_fill(&d, 50, 60);
	depot_checkpoint(&d);
	depot_flip(&d, d.messages[49].log_offset + 20);
	assert_true(verify(&d) > 0);
	assert_true(depot_said(&lines, "snapshot.beyond_end", "offset="));
	assert_true(depot_said(&lines, "entry.nowhere", "points_to="));
}

static void
change_entry(size_t index, size_t at, uint8_t mask)
{
	const struct depot_message *m = &d.messages[index];
	char name[128];
	uint8_t c;
	off_t pos = (off_t)((size_t)m->queue_offset * 20 + at);
	int fd;

	snprintf(name, sizeof(name), "consumequeue/%s/%u/%020d", m->topic,
	    m->queue, 0);
	fd = openat(d.dir, name, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, pos), 1);
	c ^= mask;
	assert_int_equal(pwrite(fd, &c, 1, pos), 1);
	close(fd);
}

/* Each bit of an entry matters. */
static void
wrong_entry(void **state)
{
	depot_fill(&d, 40, 60);
	depot_checkpoint(&d);
	for (size_t bit = 0; bit < 160; bit++) {
		change_entry(13, bit / 8, (uint8_t)(1 << bit % 8));
		assert_int_equal(verify(&d), 1);
		assert_true(depot_said(&lines, "entry.wrong", "topic="));
		change_entry(13, bit / 8, (uint8_t)(1 << bit % 8));
	}
	assert_int_equal(verify(&d), 0);
}

static void
missing_entries(void **state)
{
	size_t here = 0;

	depot_fill(&d, 100, 60);
	depot_checkpoint(&d);
	for (size_t i = 0; i < d.count; i++)
		here += d.messages[i].queue == 4 &&
			strcmp(d.messages[i].topic, "orders2") == 0;
	assert_true(here > 2);
	unlinkat(d.dir, "consumequeue/orders2/4/00000000000000000000", 0);
	assert_int_equal(verify(&d), here);
	assert_true(depot_said(
	    &lines, "entry.missing topic=orders2 queue=4", "queue_offset=0"));
}

static void
entry_that_points_nowhere(void **state)
{
	struct lt_cq *cq;
	struct lt_cq_entry e = {1000, 200, 7};

	depot_fill(&d, 100, 60);
	depot_checkpoint(&d);
	cq = lt_cq_find(d.queues, "orders", 6, 0);
	assert_int_equal(lt_cq_append(d.queues, cq, &e), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
	assert_int_equal(verify(&d), 1);
	assert_true(depot_said(&lines, "entry.nowhere", "points_to=1000"));
}

static void
damaged_snapshot(void **state)
{
	int fd;

	depot_fill(&d, 100, 60);
	depot_checkpoint(&d);
	fd = openat(d.dir, "snapshot", O_RDWR);
	assert_int_equal(pwrite(fd, "X", 1, 50), 1);
	close(fd);
	assert_int_equal(verify(&d), 1);
	assert_true(depot_said(&lines, "snapshot.damaged", ""));
}

/* --- rebuild -------------------------------------------------------------- */

static void
rebuild_is_bit_equal(void **state)
{
	depot_fill(&d, 2000, 60);
	depot_put(&d, "other-topic", 4321, 10);
	depot_checkpoint(&d);
	depot_copy(&d, &other);
	/* Harm the copy's derived files in every way. */
	unlinkat(other.dir, "consumequeue/orders/0/00000000000000000000", 0);
	assert_int_equal(mkdirat(other.dir, "consumequeue/ghost", 0750), 0);
	assert_int_equal(mkdirat(other.dir, "consumequeue/ghost/0", 0750), 0);
	assert_int_equal(mkdirat(other.dir, "index", 0750), 0);
	close(openat(
	    other.dir, "index/20250101000000000", O_CREAT | O_WRONLY, 0640));
	memset(&lines, 0, sizeof(lines));
	assert_int_equal(
	    lt_recover_rebuild(other.dir, &out, depot_report, &lines), 0);
	assert_int_equal(out.records, 2001);
	assert_int_equal(out.entries, 2001);
	assert_int_equal(lines.count, 0);
	assert_int_equal(depot_differ(&d, &other), 0);
	/* And again, from what it made itself. */
	assert_int_equal(lt_recover_rebuild(other.dir, &out, NULL, NULL), 0);
	assert_int_equal(depot_differ(&d, &other), 0);
	assert_int_equal(verify(&other), 0);
	depot_remove(&other);
}

/* Recovery of a crashed store and a checkpoint make the same files. */
static void
recovery_makes_the_same(void **state)
{
	depot_fill(&d, 500, 60);
	depot_checkpoint(&d);
	depot_fill(&d, 500, 60);
	assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
	depot_flip(&d, d.messages[700].log_offset + 50);
	depot_copy(&d, &other);
	depot_shut(&d);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.damaged, 1);
	depot_checkpoint(&d);
	memset(&lines, 0, sizeof(lines));
	assert_int_equal(
	    lt_recover_rebuild(other.dir, &out, depot_report, &lines), 1);
	assert_true(depot_said(&lines, "log.damaged", "offset="));
	assert_int_equal(depot_differ(&d, &other), 0);
	depot_remove(&other);
}

static void
rebuild_keeps_numbering(void **state)
{
	struct lt_cq *cq;

	for (size_t i = 0; i < 50; i++)
		depot_put(&d, "quiet", 3, 20);
	depot_fill(&d, 900, 60);
	depot_checkpoint(&d);
	assert_int_equal(lt_commitlog_drop_oldest(d.log), LEAT_OK);
	depot_shut(&d);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    lt_recover_rebuild(d.dir, &out, NULL, NULL), 0);
	assert_int_equal(verify(&d), 0);
	assert_int_equal(depot_open(&d), LEAT_OK);
	cq = lt_cq_find(d.queues, "quiet", 5, 3);
	assert_non_null(cq);
	assert_int_equal(cq->next, 50);
}

/* --- deleted topics ------------------------------------------------------- */

static void
put_orders(size_t count)
{
	for (size_t i = 0; i < count; i++)
		depot_put(&d, "orders", 0, 20);
}

/* Nothing is wrong at any point of a topic's end and second life, wherever the
 * last checkpoint was (11: none) and whether entries are written or not. */
static void
deleted_topic(void **state)
{
	for (int round = 0; round < 24; round++) {
		int checkpoint = round / 2;

		depot_fill(&d, 30, 40);
		for (int step = 0; step < 11; step++) {
			if (step == 0)
				put_orders(90);
			else if (step == 1)
				depot_config(&d, "orders", 1);
			else if (step == 2)
				put_orders(3);
			else if (step == 3)
				depot_drop(&d, "orders");
			else if (step == 4)
				depot_config(&d, "orders", 0);
			else if (step == 5)
				depot_config(&d, "other", 0);
			else
				put_orders(1);
			if (step == checkpoint)
				depot_checkpoint(&d);
			else if (round % 2 == 0)
				assert_int_equal(
				    lt_cq_flush_all(d.queues), LEAT_OK);
			assert_int_equal(verify(&d), 0);
		}
		depot_checkpoint(&d);
		assert_int_equal(verify(&d), 0);
		assert_int_equal(out.records, 30 + 90 + 3 + 5 + 3);
		assert_int_equal(out.entries, 20 + 5 + 3);
		teardown(NULL);
		setup(NULL);
	}
}

/* A topic that came back is found out, as is damage to one made again. */
static void
deleted_topic_wrong(void **state)
{
	const struct depot_message *m;

	put_orders(10);
	depot_config(&d, "orders", 1);
	/* Never dropped, though more was configured since. */
	depot_config(&d, "other", 0);
	depot_checkpoint(&d);
	assert_int_equal(verify(&d), 11);
	assert_true(depot_said(&lines, "entry.nowhere topic=orders", "=0"));
	assert_true(
	    depot_said(&lines, "snapshot.queue topic=orders", "log_has=0"));
	depot_drop(&d, "orders");
	depot_checkpoint(&d);
	assert_int_equal(verify(&d), 0);
	depot_config(&d, "orders", 0);
	put_orders(5);
	m = &d.messages[d.count - 3];
	for (size_t i = 0; i < 100; i++) /* not where the print is */
		depot_put(&d, "orders2", 0, 60);
	depot_checkpoint(&d);
	depot_flip(&d, m->log_offset + 90);
	assert_int_equal(verify(&d), 3);
	assert_true(depot_said(&lines, "queue.hole topic=orders", "=2..2"));
	depot_flip(&d, m->log_offset + 90);
	unlinkat(d.dir, "consumequeue/orders/0/00000000000000000000", 0);
	assert_int_equal(verify(&d), 5);
	assert_true(depot_said(&lines, "entry.missing topic=orders", "=4"));
}

static void
rebuild_honours_deletion(void **state)
{
	depot_fill(&d, 30, 40);
	put_orders(90);
	depot_config(&d, "orders", 1);
	put_orders(3);
	depot_drop(&d, "orders");
	depot_config(&d, "orders", 0);
	put_orders(5);
	depot_config(&d, "%DLQ%g", 1);
	depot_drop(&d, "%DLQ%g");
	depot_checkpoint(&d);
	for (int with_snapshot = 1; with_snapshot >= 0; with_snapshot--) {
		depot_copy(&d, &other);
		if (!with_snapshot)
			unlinkat(other.dir, "snapshot", 0);
		assert_int_equal(
		    lt_recover_rebuild(other.dir, &out, NULL, NULL), 0);
		assert_int_equal(depot_differ(&d, &other), 0);
		assert_int_equal(verify(&other), 0);
		depot_remove(&other);
	}
	/* The snapshot and the files are from before. */
	put_orders(5);
	depot_checkpoint(&d);
	depot_config(&d, "orders", 1);
	assert_int_equal(lt_recover_rebuild(d.dir, &out, NULL, NULL), 0);
	assert_false(depot_has(&d, "consumequeue/orders"));
	assert_int_equal(verify(&d), 0);
}

/* --- a store of Apache RocketMQ ------------------------------------------- */

static uint8_t segment[3][DEPOT_SEGMENT];
static size_t fill[3];

/* "0" has body CRC 1960566561, "Hello RocketMQ" 1774740973. */
static void
put(int file, uint32_t sys, const char *topic, uint32_t queue,
    uint64_t queue_offset, const char *body, uint32_t crc, const char *props)
{
	uint8_t *p = segment[file] + fill[file], *at;
	size_t topic_bytes = strlen(topic), body_bytes = strlen(body);
	size_t props_bytes = strlen(props);
	int is_v2 = topic_bytes > 127;

	lt_bytes_put32(p + 4, is_v2 ? 0xDAA320ABu : 0xDAA320A7u);
	lt_bytes_put32(p + 8, crc);
	lt_bytes_put32(p + 12, queue);
	lt_bytes_put64(p + 20, queue_offset);
	lt_bytes_put64(p + 28, (uint64_t)file * DEPOT_SEGMENT + fill[file]);
	lt_bytes_put32(p + 36, sys);
	lt_bytes_put64(p + 40, DEPOT_MS);
	at = p + 48 + (sys & 0x10 ? 20 : 8);
	lt_bytes_put64(at, DEPOT_MS + 1);
	at += 8 + (sys & 0x20 ? 20 : 8);
	at += 12;
	lt_bytes_put32(at, (uint32_t)body_bytes);
	memcpy(at + 4, body, body_bytes);
	at += 4 + body_bytes;
	if (is_v2)
		*at++ = 0;
	*at++ = (uint8_t)topic_bytes;
	memcpy(at, topic, topic_bytes);
	at += topic_bytes;
	lt_bytes_put16(at, (uint16_t)props_bytes);
	memcpy(at + 2, props, props_bytes);
	at += 2 + props_bytes;
	lt_bytes_put32(p, (uint32_t)(at - p));
	fill[file] = (size_t)(at - segment[file]);
	assert_true(fill[file] + 108 <= DEPOT_SEGMENT);
}

static void
put_blank(int file)
{
	uint8_t *p = segment[file] + fill[file];

	lt_bytes_put32(p, (uint32_t)(DEPOT_SEGMENT - fill[file]));
	lt_bytes_put32(p + 4, 0xCBD43194u);
	/* What is behind is not defined. */
	memset(p + 8, 0xA5, 100);
}

static const char long_topic[] =
    "%RETRY%0123456789012345678901234567890123456789012345678901234567890123456"
    "789012345678901234567890123456789012345678901234567890123456789012345";

/* Two segments with records, a third all zeroes, no snapshot, no checkpoint. */
static void
write_foreign(void)
{
	static const uint32_t hosts[] = {0, 0x10, 0x20, 0x30};
	char name[64];

	memset(segment, 0, sizeof(segment));
	memset(fill, 0, sizeof(fill));
	for (int file = 0; file < 2; file++) {
		for (uint64_t i = 0; i < 100; i++) {
			uint64_t n = (uint64_t)file * 100 + i;

			put(file, hosts[n % 4], "TopicTest", n % 2, n / 2,
			    "Hello RocketMQ", 1774740973u,
			    "TAGS\001TagA\002UNIQ_KEY\001"
			    "0123456789ABCDEF0123456789ABCDEF\002");
			put(file, 0, long_topic, 0, n, "0", 1960566561u, "");
			/* Prepared and rolled back: no queue entry. */
			put(file, n % 2 ? 0x4 : 0xc, "TopicTest", 0, 0, "0",
			    1960566561u, "");
		}
	}
	put_blank(0);
	assert_int_equal(mkdirat(d.dir, "commitlog", 0750), 0);
	for (int file = 0; file < 3; file++) {
		int fd;

		snprintf(name, sizeof(name), "commitlog/%020u",
		    file * DEPOT_SEGMENT);
		fd = openat(d.dir, name, O_CREAT | O_WRONLY, 0640);
		assert_int_equal(
		    write(fd, segment[file], DEPOT_SEGMENT), DEPOT_SEGMENT);
		close(fd);
	}
}

static void
check_foreign_queue(const char *topic, uint32_t queue, int64_t want,
    int64_t code, const char *body)
{
	struct lt_cq_entry e[512];
	struct lt_cq_view *view;
	struct lt_reader *r;
	struct lt_record_view v;
	size_t count;

	assert_int_equal(lt_cq_view_open(d.dir, &view), LEAT_OK);
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	assert_int_equal(
	    lt_cq_view_read(view, topic, queue, 0, e, 512, &count), LEAT_OK);
	assert_int_equal(count, want);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(e[i].tags_code, code);
		assert_int_equal(
		    lt_reader_get(r, (uint64_t)e[i].log_offset, &v), LEAT_OK);
		assert_int_equal(v.bytes, e[i].bytes);
		assert_int_equal(v.queue_offset, i);
		assert_int_equal(v.store_ms, DEPOT_MS + 1);
		assert_int_equal(v.body_bytes, strlen(body));
		assert_memory_equal(v.body, body, strlen(body));
	}
	lt_reader_close(r);
	lt_cq_view_close(view);
}

static void
rocketmq_store(void **state)
{
	uint64_t end;

	depot_shut(&d);
	depot_remove(&d);
	depot_make(&d);
	assert_true(strlen(long_topic) > 127);
	write_foreign();
	end = DEPOT_SEGMENT + fill[1];
	assert_int_equal(verify(&d), 0);
	assert_int_equal(out.records, 600);
	assert_int_equal(out.log_end, end);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 600);
	assert_int_equal(d.recovered.damaged, 0);
	assert_int_equal(d.recovered.log_end, end);
	/* Its unique keys are no sessions of ours. */
	assert_int_equal(d.recovered.mark_count, 0);
	assert_int_equal(d.recovered.trace_count, 0);
	depot_checkpoint(&d);
	check_foreign_queue("TopicTest", 0, 100, 2598919, "Hello RocketMQ");
	check_foreign_queue("TopicTest", 1, 100, 2598919, "Hello RocketMQ");
	check_foreign_queue(long_topic, 0, 200, 0, "0");
	assert_int_equal(verify(&d), 0);
	/* It goes on as ours. */
	depot_fill(&d, 500, 60);
	depot_shut(&d);
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.records, 500);
	depot_check(&d);
	depot_checkpoint(&d);
	assert_int_equal(verify(&d), 0);
	assert_int_equal(out.records, 1100);
}

/* Without a whole-record CRC a queue offset can be anything. */
static void
rocketmq_store_with_a_wild_offset(void **state)
{
	depot_shut(&d);
	depot_remove(&d);
	depot_make(&d);
	write_foreign();
	/* The first record of queue 1: its offset's top byte. */
	{
		uint64_t at = lt_bytes_get32(segment[0]);

		at += lt_bytes_get32(segment[0] + at);
		at += lt_bytes_get32(segment[0] + at);
		depot_flip(&d, at + 21);
	}
	assert_int_equal(depot_open(&d), LEAT_OK);
	assert_int_equal(d.recovered.damaged, 1);
	assert_int_equal(lt_cq_find(d.queues, "TopicTest", 9, 1)->next, 100);
}

/* Valid records that can be in no queue: named, and no reason to stop. */
static void
records_that_no_queue_takes(void **state)
{
	static const struct {
		const char *topic;
		uint64_t queue_offset;
	} bad[] = {{".x", 0}, {"a/b", 0}, {"orders", INT64_MAX}};
	uint8_t buf[1024];

	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		uint64_t at = lt_commitlog_end(d.log);
		char line[64];
		size_t n = faults_record(buf, sizeof(buf), bad[i].topic, 0,
		    bad[i].queue_offset, at, DEPOT_MS, NULL, 10, 9000 + i);

		assert_true(n > 0);
		assert_int_equal(lt_commitlog_append(d.log, buf, n), LEAT_OK);
		depot_fill(&d, 1, 20);
		assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
		assert_int_equal(verify(&d), (int)i + 1);
		snprintf(line, sizeof(line),
		    "record.unusable offset=%" PRIu64 " bytes=%zu", at, n);
		assert_true(depot_said(&lines, line, ""));
	}
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(clean_store),
	    TEST(damaged_record),
	    TEST(damaged_last_record),
	    TEST(wrong_entry),
	    TEST(missing_entries),
	    TEST(entry_that_points_nowhere),
	    TEST(damaged_snapshot),
	    TEST(rebuild_is_bit_equal),
	    TEST(recovery_makes_the_same),
	    TEST(rebuild_keeps_numbering),
	    TEST(deleted_topic),
	    TEST(deleted_topic_wrong),
	    TEST(rebuild_honours_deletion),
	    TEST(rocketmq_store),
	    TEST(rocketmq_store_with_a_wild_offset),
	    TEST(records_that_no_queue_takes),
	};

	lt_log_init("verify_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
