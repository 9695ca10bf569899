/*
 * consumequeue_test.c - consume queues: files, buffers, durability, deleting,
 * the read-only view, and very many of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "store/consumequeue.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/sys.h"
#include "leat/status.h"

#define FILE_BYTES (LT_CQ_FILE_ENTRIES * LT_CQ_ENTRY_BYTES)

static char path[256];
static int dir;
static struct lt_cq_set *set;
static struct lt_cq_view *view;

static int
setup(void **state)
{
	dir = faults_scratch(path, sizeof path);
	assert_true(dir >= 0);
	assert_int_equal(lt_cq_set_open(dir, &set), LEAT_OK);
	assert_int_equal(lt_cq_view_open(dir, &view), LEAT_OK);
	return 0;
}

static int
teardown(void **state)
{
	lt_cq_set_close(set);
	lt_cq_view_close(view);
	close(dir);
	faults_remove_tree(path);
	return 0;
}

static void
reopen(void)
{
	lt_cq_set_close(set);
	assert_int_equal(lt_cq_set_open(dir, &set), LEAT_OK);
}

static struct lt_cq *
get(const char *topic, uint32_t queue)
{
	struct lt_cq *cq = NULL;

	assert_int_equal(
	    lt_cq_get(set, topic, strlen(topic), queue, &cq), LEAT_OK);
	return cq;
}

/* Entry n of a queue tells its number. */
static struct lt_cq_entry
entry_of(int64_t n)
{
	return (struct lt_cq_entry){.log_offset = 1000 + n * 10,
	    .bytes = (uint32_t)(100 + n % 7),
	    .tags_code = n % 2 ? -n : n};
}

static int
append(struct lt_cq *cq)
{
	struct lt_cq_entry e = entry_of(cq->next);

	return lt_cq_append(set, cq, &e);
}

static void
append_up_to(struct lt_cq *cq, int64_t end)
{
	while (cq->next < end)
		assert_int_equal(append(cq), LEAT_OK);
}

static void
assert_entry(const struct lt_cq_entry *have, int64_t n)
{
	struct lt_cq_entry want = entry_of(n);

	assert_int_equal(have->log_offset, want.log_offset);
	assert_int_equal(have->bytes, want.bytes);
	assert_int_equal(have->tags_code, want.tags_code);
}

/* The view gives exactly [from, end) from there on. */
static void
assert_view(const char *topic, uint32_t queue, int64_t from, int64_t end)
{
	struct lt_cq_entry out[1000];
	size_t n;

	while (from < end) {
		assert_int_equal(lt_cq_view_read(view, topic, queue, from, out,
				     LT_COUNT(out), &n),
		    LEAT_OK);
		assert_true(n > 0 && from + (int64_t)n <= end);
		for (size_t i = 0; i < n; i++)
			assert_entry(&out[i], from + (int64_t)i);
		from += (int64_t)n;
	}
	assert_int_equal(
	    lt_cq_view_read(view, topic, queue, end, out, 10, &n), LEAT_OK);
	assert_int_equal(n, 0);
}

static void
test_file_is_rocketmqs(void **state)
{
	struct lt_cq *cq = get("TopicTest", 3);
	struct lt_cq_entry e = {
	    .log_offset = 0x123456789, .bytes = 200, .tags_code = 2598919};
	uint8_t p[20];
	struct stat st;

	assert_int_equal(lt_cq_append(set, cq, &e), LEAT_OK);
	assert_int_equal(lt_cq_flush(set, cq), LEAT_OK);
	int fd = openat(
	    dir, "consumequeue/TopicTest/3/00000000000000000000", O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 6000000);
	assert_true(st.st_blocks * 512 < 100000);
	assert_int_equal(pread(fd, p, 20, 0), 20);
	assert_int_equal(lt_bytes_get64(p), 0x123456789);
	assert_int_equal(lt_bytes_get32(p + 8), 200);
	assert_int_equal(lt_bytes_get64(p + 12), 2598919);
	close(fd);
}

static void
test_find_and_names(void **state)
{
	struct lt_cq *cq = get("A", 0), *other;

	assert_ptr_equal(get("A", 0), cq);
	assert_ptr_not_equal(get("A", 1), cq);
	assert_ptr_not_equal(get("AB", 0), cq);
	assert_ptr_equal(lt_cq_find(set, "A", 1, 0), cq);
	assert_null(lt_cq_find(set, "A", 1, 7));
	assert_null(lt_cq_find(set, "B", 1, 0));
	assert_string_equal(lt_cq_topic_name(cq), "A");
	assert_int_equal(lt_cq_count(set), 3);
	assert_int_equal(lt_cq_get(set, "", 0, 0, &other), LEAT_E_NAME);
	assert_int_equal(lt_cq_get(set, "..", 2, 0, &other), LEAT_E_NAME);
	assert_int_equal(lt_cq_get(set, "a/b", 3, 0, &other), LEAT_E_NAME);
	assert_int_equal(lt_cq_get(set, "a\0b", 3, 0, &other), LEAT_E_NAME);
	assert_int_equal(lt_cq_get(set, "A", 1, 65536, &other), LEAT_E_QUEUE);
}

static void
test_view_sees_what_is_flushed(void **state)
{
	struct lt_cq *cq = get("T", 0);
	struct lt_cq_entry out[8];
	size_t n;

	assert_int_equal(
	    lt_cq_view_read(view, "T", 0, 0, out, 8, &n), LEAT_E_NOTFOUND);
	append_up_to(cq, 5);
	assert_int_equal(lt_cq_flush(set, cq), LEAT_OK);
	assert_view("T", 0, 0, 5);
	append_up_to(cq, 7);
	assert_view("T", 0, 0, 5);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_view("T", 0, 0, 7);
	assert_view("T", 0, 3, 7);
	/* Far beyond, where there is no file. */
	assert_int_equal(
	    lt_cq_view_read(view, "T", 0, 999999, out, 8, &n), LEAT_OK);
	assert_int_equal(n, 0);
	assert_int_equal(
	    lt_cq_view_read(view, "T", 1, 0, out, 8, &n), LEAT_E_NOTFOUND);
}

static void
test_over_a_file_boundary(void **state)
{
	struct lt_cq *cq = get("T", 0);

	assert_int_equal(append(cq), LEAT_OK);
	struct lt_cq_entry e = entry_of(LT_CQ_FILE_ENTRIES - 3);
	cq->next = cq->flushed = 0;
	assert_int_equal(
	    lt_cq_put_at(set, cq, LT_CQ_FILE_ENTRIES - 3, &e), LEAT_OK);
	append_up_to(cq, LT_CQ_FILE_ENTRIES + 40);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_view("T", 0, LT_CQ_FILE_ENTRIES - 3, LT_CQ_FILE_ENTRIES + 40);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000006000000", F_OK, 0),
	    0);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000012000000", F_OK, 0),
	    -1);
}

static void
test_buffer_grows_and_goes(void **state)
{
	struct lt_cq *cq = get("T", 0);

	assert_int_equal(append(cq), LEAT_OK);
	assert_int_equal(cq->buf_entries, 4);
	assert_int_equal(lt_cq_buffered(set), 1);
	append_up_to(cq, 5);
	assert_int_equal(cq->buf_entries, 8);
	faults_install();
	append_up_to(cq, 4096);
	assert_int_equal(cq->buf_entries, 4096);
	assert_int_equal(faults_seen().pwrite, 0);
	assert_int_equal(append(cq), LEAT_OK); /* writes through */
	assert_int_equal(faults_seen().pwrite, 1);
	assert_int_equal(cq->flushed, 4096);
	faults_remove();
	append_up_to(cq, 6000);
	assert_int_equal(cq->buf_entries, 4096);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(cq->buf_entries, 4096); /* busy: once more */
	append_up_to(cq, 7024);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_null(cq->buf); /* a quarter of it was enough */
	assert_int_equal(cq->buf_entries, 0);
	append_up_to(cq, 7028);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_null(cq->buf); /* small: goes at once */
	assert_int_equal(lt_cq_buffered(set), 0);
	assert_view("T", 0, 0, 7028);
}

static void
test_put_at_in_any_order(void **state)
{
	struct lt_cq *cq = get("T", 0);
	static const int64_t order[] = {10, 11, 12, 11, 14, 13, 10, 20};

	for (size_t i = 0; i < LT_COUNT(order); i++) {
		struct lt_cq_entry e = entry_of(order[i]);
		assert_int_equal(lt_cq_put_at(set, cq, order[i], &e), LEAT_OK);
		if (i == 4)
			assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	}
	assert_int_equal(cq->next, 21);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);

	struct lt_cq_entry out[32];
	size_t n;
	assert_int_equal(
	    lt_cq_view_read(view, "T", 0, 0, out, 32, &n), LEAT_OK);
	assert_int_equal(n, 21);
	for (int64_t i = 0; i < 21; i++)
		if (i < 10 || (i > 14 && i < 20))
			assert_int_equal(out[i].bytes, 0); /* gone */
		else
			assert_entry(&out[i], i);
	/* Gone ones at the end of what is asked for still count. */
	assert_int_equal(
	    lt_cq_view_read(view, "T", 0, 12, out, 6, &n), LEAT_OK);
	assert_int_equal(n, 6);
	assert_int_equal(lt_cq_put_at(set, cq, -1, &out[0]), LEAT_E_INVALID);
}

static void
test_gap_covers_what_was_there(void **state)
{
	struct lt_cq *cq = get("T", 0);
	struct lt_cq_entry e = entry_of(8);
	struct lt_cq_entry out[16];
	size_t n;

	append_up_to(cq, 10);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	/* Recovery goes back to 5 and finds 8 next: 5 to 7 are damaged. */
	cq->next = cq->flushed = 5;
	assert_int_equal(lt_cq_put_at(set, cq, 8, &e), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_view_read(view, "T", 0, 0, out, 9, &n), LEAT_OK);
	assert_int_equal(n, 9);
	for (int64_t i = 0; i < 9; i++)
		if (i >= 5 && i <= 7)
			assert_int_equal(out[i].bytes, 0);
		else
			assert_entry(&out[i], i);
}

static void
test_sync_touches_what_was_written(void **state)
{
	char topic[16];

	assert_int_equal(append(get("first", 0)), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	faults_install();
	/* What a predecessor left is not known: everything, once. */
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(faults_seen().syncfs, 1);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(faults_seen().syncfs, 1);
	assert_int_equal(faults_seen().fdatasync, 0);
	for (int i = 0; i < 16; i++) {
		snprintf(topic, sizeof topic, "t%d", i);
		assert_int_equal(append(get(topic, 0)), LEAT_OK);
	}
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 16);
	assert_true(faults_seen().fsync >= 17); /* new names */
	assert_int_equal(faults_seen().syncfs, 1);
	unsigned long names = faults_seen().fsync;
	assert_int_equal(append(get("t0", 0)), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 17);
	assert_int_equal(faults_seen().fsync, names);
	for (int i = 0; i < 17; i++) {
		snprintf(topic, sizeof topic, "t%d", i);
		assert_int_equal(append(get(topic, 0)), LEAT_OK);
	}
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(faults_seen().syncfs, 2);
	assert_int_equal(faults_seen().fdatasync, 17);
	faults_remove();
}

static void
test_trim_keeps_the_last_file(void **state)
{
	struct lt_cq *cq = get("T", 0);
	int64_t min;

	append_up_to(cq, 2 * LT_CQ_FILE_ENTRIES + 10);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	uint64_t edge = (uint64_t)entry_of(LT_CQ_FILE_ENTRIES - 1).log_offset;
	assert_int_equal(lt_cq_trim(set, edge), LEAT_OK);
	assert_view("T", 0, 0, cq->next);
	assert_int_equal(lt_cq_view_min(view, "T", 0, 0, cq->next, &min), 0);
	assert_int_equal(min, 0);
	assert_int_equal(
	    lt_cq_view_min(view, "T", 0, edge, cq->next, &min), LEAT_OK);
	assert_int_equal(min, LT_CQ_FILE_ENTRIES - 1);
	assert_int_equal(lt_cq_trim(set, edge + 1), LEAT_OK);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000000000000", F_OK, 0),
	    -1);
	assert_int_equal(
	    lt_cq_view_min(view, "T", 0, edge + 1, cq->next, &min), LEAT_OK);
	assert_int_equal(min, LT_CQ_FILE_ENTRIES);
	assert_int_equal(lt_cq_trim(set, UINT64_MAX), LEAT_OK);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000006000000", F_OK, 0),
	    -1);
	assert_view("T", 0, 2 * LT_CQ_FILE_ENTRIES, cq->next);
	assert_int_equal(
	    lt_cq_view_min(view, "T", 0, UINT64_MAX, cq->next, &min), LEAT_OK);
	assert_int_equal(min, cq->next);
	append_up_to(cq, cq->next + 10);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_view("T", 0, 2 * LT_CQ_FILE_ENTRIES, cq->next);
}

static void
test_min_skips_what_is_gone(void **state)
{
	struct lt_cq *cq = get("T", 0);
	int64_t min;

	for (int64_t n = 100; n < 5000; n += 1 + n % 13) {
		struct lt_cq_entry e = entry_of(n);
		assert_int_equal(lt_cq_put_at(set, cq, n, &e), LEAT_OK);
	}
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	for (int64_t n = 100; n < 5000; n += 1 + n % 13) {
		uint64_t at = (uint64_t)entry_of(n).log_offset;
		assert_int_equal(
		    lt_cq_view_min(view, "T", 0, at, cq->next, &min), LEAT_OK);
		assert_int_equal(min, n);
		assert_int_equal(
		    lt_cq_view_min(view, "T", 0, at - 9, cq->next, &min),
		    LEAT_OK);
		assert_int_equal(min, n);
	}
	assert_int_equal(
	    lt_cq_view_min(view, "no", 0, 0, 0, &min), LEAT_E_NOTFOUND);
}

static void
test_drop_topic(void **state)
{
	append_up_to(get("gone", 0), 100);
	append_up_to(get("gone", 5), 10);
	append_up_to(get("stays", 0), 10);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	append_up_to(get("gone", 5), 20);
	append_up_to(get("stays", 0), 20);
	assert_view("gone", 0, 0, 100);
	assert_int_equal(lt_cq_drop_topic(set, "gone"), LEAT_OK);
	assert_int_equal(lt_cq_count(set), 1);
	assert_int_equal(faccessat(dir, "consumequeue/gone", F_OK, 0), -1);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_view("stays", 0, 0, 20);
	/* Made again: the view does not go on with the old file. */
	append_up_to(get("gone", 0), 3);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_view("gone", 0, 0, 3);
	assert_int_equal(lt_cq_drop_topic(set, "never"), LEAT_OK);
	assert_int_equal(lt_cq_drop_topic(set, "../x"), LEAT_E_NAME);
}

static int
count_each(const char *topic, uint32_t queue, void *user)
{
	size_t *sum = user;

	*sum += strlen(topic) * 1000 + queue;
	return 0;
}

static void
test_view_lists(void **state)
{
	size_t sum = 0;

	assert_int_equal(append(get("a", 1)), LEAT_OK);
	assert_int_equal(append(get("a", 20)), LEAT_OK);
	assert_int_equal(append(get("%RETRY%g", 0)), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_view_each(view, count_each, &sum), LEAT_OK);
	assert_int_equal(sum, 1001 + 1020 + 8000);
}

/* --- failing calls ----------------------------------------------------- */

static void
test_no_space_keeps_entries(void **state)
{
	struct lt_cq *cq = get("T", 0);

	append_up_to(cq, 100);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	faults_install();
	faults_arm(FAULT_ENOSPC, 1, 1);
	append_up_to(cq, 20000); /* the log has them already */
	assert_int_equal(lt_cq_flush(set, cq), LEAT_E_NOSPACE);
	assert_int_equal(lt_cq_flush_all(set), LEAT_E_NOSPACE);
	assert_int_equal(cq->flushed, 100);
	struct lt_cq *other = get("U", 0);
	append_up_to(other, 5);
	assert_int_equal(lt_cq_flush(set, other), LEAT_E_NOSPACE);
	faults_remove();
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(cq->buf_entries, 0);
	assert_view("T", 0, 0, 20000);
	assert_view("U", 0, 0, 5);
}

/* Three queues, one over a file's end; a flush that failed is done again. */
static int
play(void)
{
	int rc = LEAT_OK;

	for (uint32_t q = 0; q < 3; q++) {
		struct lt_cq *cq = get("T", q);
		int64_t from = q == 2 ? LT_CQ_FILE_ENTRIES - 50 : 0;
		cq->next = cq->flushed = from;
		for (int i = 0; rc == LEAT_OK && i < 100; i++) {
			rc = append(cq);
			if (rc == LEAT_OK && i % 30 == 29)
				rc = lt_cq_flush(set, cq);
		}
	}
	if (rc == LEAT_OK)
		rc = lt_cq_flush_all(set);
	return rc == LEAT_OK ? lt_cq_sync_all(set) : rc;
}

static void
try_every_call(enum fault what)
{
	unsigned long at = 1;
	int struck = 1;

	for (; struck; at++) {
		teardown(NULL);
		setup(NULL);
		faults_install();
		faults_arm(what, at, 0);
		int rc = play();
		struck = faults_struck();
		faults_remove();
		if (!struck || what == FAULT_SHORT)
			assert_int_equal(rc, LEAT_OK);
		if (what == FAULT_ENOSPC && struck)
			assert_true(rc == LEAT_OK || rc == LEAT_E_NOSPACE);
		/* Whatever happened, the same entries can be put again. */
		reopen();
		assert_int_equal(play(), LEAT_OK);
		assert_view("T", 0, 0, 100);
		assert_view("T", 1, 0, 100);
		assert_view(
		    "T", 2, LT_CQ_FILE_ENTRIES - 50, LT_CQ_FILE_ENTRIES + 50);
	}
	print_message("fault %d: %lu calls\n", what, at - 2);
	assert_true(at > 10);
}

static void
test_every_call_fails(void **state)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int saved = dup(STDERR_FILENO);

	dup2(null, STDERR_FILENO); /* error lines by the hundred */
	try_every_call(FAULT_EIO);
	try_every_call(FAULT_ENOSPC);
	try_every_call(FAULT_EINTR);
	try_every_call(FAULT_SHORT);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
}

static void
test_failed_sync_is_told(void **state)
{
	assert_int_equal(append(get("T", 0)), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	assert_int_equal(append(get("T", 0)), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	faults_install();
	faults_arm(FAULT_EIO, 1, 0);
	assert_int_equal(lt_cq_sync_all(set), LEAT_E_IO);
	assert_true(faults_struck());
	faults_remove();
}

/* --- very many --------------------------------------------------------- */

#define MANY 50000u

static void
test_fifty_thousand_queues(void **state)
{
	struct rlimit before, few = {.rlim_cur = 1024, .rlim_max = 1024};
	struct lt_cq_entry e;
	size_t n;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	size_t used = mallinfo2().uordblks;
	for (uint32_t q = 0; q < MANY; q++)
		get(q % 2 ? "many-odd" : "many-even", q / 2);
	used = mallinfo2().uordblks - used;
	print_message("idle queue: struct lt_cq %zu bytes, with everything "
		      "%zu bytes\n",
	    sizeof(struct lt_cq), used / MANY);
	assert_true(used / MANY <= 128); /* 0 with a foreign allocator */
	assert_int_equal(lt_cq_count(set), MANY);

	uint64_t t = lt_clock_mono_ms();
	size_t idle = mallinfo2().uordblks;
	for (uint32_t q = 0; q < MANY; q++)
		assert_int_equal(
		    append(get(q % 2 ? "many-odd" : "many-even", q / 2)),
		    LEAT_OK);
	assert_true((mallinfo2().uordblks - idle) / MANY <= 256 - used / MANY);
	assert_int_equal(lt_cq_buffered(set), MANY);
	assert_int_equal(lt_cq_flush_all(set), LEAT_OK);
	assert_int_equal(lt_cq_buffered(set), 0);
	assert_true(mallinfo2().uordblks <= idle + MANY);
	assert_int_equal(lt_cq_sync_all(set), LEAT_OK);
	print_message("first flush of %u queues: %ju ms\n", MANY,
	    (uintmax_t)(lt_clock_mono_ms() - t));
	for (uint32_t q = 0; q < MANY; q++) {
		assert_int_equal(
		    lt_cq_view_read(view, q % 2 ? "many-odd" : "many-even",
			q / 2, 0, &e, 1, &n),
		    LEAT_OK);
		assert_int_equal(n, 1);
		assert_entry(&e, 0);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(test_file_is_rocketmqs),
	    T(test_find_and_names),
	    T(test_view_sees_what_is_flushed),
	    T(test_over_a_file_boundary),
	    T(test_buffer_grows_and_goes),
	    T(test_put_at_in_any_order),
	    T(test_gap_covers_what_was_there),
	    T(test_sync_touches_what_was_written),
	    T(test_trim_keeps_the_last_file),
	    T(test_min_skips_what_is_gone),
	    T(test_drop_topic),
	    T(test_view_lists),
	    T(test_no_space_keeps_entries),
	    T(test_every_call_fails),
	    T(test_failed_sync_is_told),
	    T(test_fifty_thousand_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
