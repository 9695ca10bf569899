/*
 * retain_test.c - which segments go: by age, by size, never the current one,
 * never what the broker's own state needs, nothing unexpired on a full disk.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "store/retain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/sys.h"
#include "leat/status.h"

#define SEGMENT 65536u
#define HOUR 3600000
#define SEGMENTS 6

static char path[256];
static int dir;
static struct lt_options options;
static struct lt_commitlog *log_;
static struct lt_cq_set *queues;
static struct lt_sys kernel;
static unsigned percent; /* of the disk in use, as the store is told */

static int
fake_statvfs(int fd, struct statvfs *st)
{
	memset(st, 0, sizeof *st);
	st->f_frsize = 4096;
	st->f_blocks = 1000000;
	st->f_bfree = st->f_bavail = 10000 * (100 - percent);
	return 0;
}

/* Six segments, one record each, an hour apart; the first at hour 100. */
static int
setup(void **state)
{
	uint8_t buf[1024];
	struct lt_cq *cq;

	kernel = lt_sys;
	percent = 10;
	lt_sys.fstatvfs = fake_statvfs;
	dir = faults_scratch(path, sizeof path);
	assert_true(dir >= 0);
	memset(&options, 0, sizeof options);
	options.store_segment_bytes = SEGMENT;
	options.store_disk_expire_percent = 75;
	options.store_disk_full_percent = 95;
	assert_int_equal(lt_commitlog_open(dir, &options, &log_), LEAT_OK);
	assert_int_equal(lt_commitlog_set_end(log_, 0), LEAT_OK);
	assert_int_equal(lt_cq_set_open(dir, &queues), LEAT_OK);
	assert_int_equal(lt_cq_get(queues, "T", 1, 0, &cq), LEAT_OK);
	for (int i = 0; i < SEGMENTS; i++) {
		if (i > 0)
			assert_int_equal(lt_commitlog_roll(log_), LEAT_OK);
		size_t n = faults_record(buf, sizeof buf, "T", 0, (uint64_t)i,
		    lt_commitlog_end(log_), (100 + i) * HOUR, NULL, 50, 1);
		assert_true(n > 0);
		assert_int_equal(lt_commitlog_append(log_, buf, n), LEAT_OK);
	}
	return 0;
}

static int
teardown(void **state)
{
	lt_sys = kernel;
	lt_commitlog_close(log_);
	lt_cq_set_close(queues);
	close(dir);
	faults_remove_tree(path);
	return 0;
}

static struct lt_retain_result
run(int hour, uint64_t system_min)
{
	struct lt_retain_result out;

	assert_int_equal(lt_retain_run(log_, queues, &options,
			     (int64_t)hour * HOUR + 1, system_min, dir, &out),
	    LEAT_OK);
	return out;
}

static void
test_by_age(void **state)
{
	options.store_retain_hours = 10;
	/* Segment n's last record is not younger than segment n + 1's first. */
	assert_int_equal(run(110, UINT64_MAX).dropped, 0);
	assert_int_equal(run(111, UINT64_MAX).dropped, 1);
	assert_int_equal(lt_commitlog_min(log_), SEGMENT);
	assert_int_equal(run(111, UINT64_MAX).dropped, 0);
	assert_int_equal(run(113, UINT64_MAX).dropped, 2);
	assert_int_equal(run(9999, UINT64_MAX).dropped, 2);
	assert_int_equal(lt_commitlog_min(log_), (SEGMENTS - 1) * SEGMENT);
	assert_int_equal(run(99999, UINT64_MAX).dropped, 0); /* the current */
}

static void
test_never(void **state)
{
	assert_int_equal(run(99999, UINT64_MAX).dropped, 0);
	assert_int_equal(lt_commitlog_min(log_), 0);
}

static void
test_by_size(void **state)
{
	uint64_t size = lt_commitlog_end(log_);

	options.store_retain_bytes = size;
	assert_int_equal(run(100, UINT64_MAX).dropped, 0);
	options.store_retain_bytes = size - 1;
	assert_int_equal(run(100, UINT64_MAX).dropped, 1);
	options.store_retain_bytes = 1;
	assert_int_equal(run(100, UINT64_MAX).dropped, SEGMENTS - 2);
}

static void
test_what_the_broker_needs_stays(void **state)
{
	options.store_retain_hours = 1;
	options.store_retain_bytes = 1;
	assert_int_equal(run(9999, 2 * SEGMENT + 7).dropped, 2);
	assert_int_equal(lt_commitlog_min(log_), 2 * SEGMENT);
	assert_int_equal(run(9999, 0).dropped, 0);
}

static void
test_full_disk_is_told_and_drops_nothing(void **state)
{
	options.store_retain_hours = 10;
	percent = 95;
	assert_int_equal(run(105, UINT64_MAX).disk_full, 0);
	percent = 96;
	struct lt_retain_result out = run(105, UINT64_MAX);
	assert_int_equal(out.disk_full, 1);
	assert_int_equal(out.disk_percent, 96);
	assert_int_equal(out.disk_free, 40000ull * 4096);
	assert_int_equal(out.dropped, 0);
	percent = 99;
	assert_int_equal(run(112, UINT64_MAX).dropped, 2); /* expired ones */
}

static void
test_bounded_unless_space_is_short(void **state)
{
	uint8_t buf[1024];

	for (int i = SEGMENTS; i < 40; i++) {
		assert_int_equal(lt_commitlog_roll(log_), LEAT_OK);
		size_t n = faults_record(buf, sizeof buf, "T", 0, (uint64_t)i,
		    lt_commitlog_end(log_), (100 + i) * HOUR, NULL, 50, 1);
		assert_int_equal(lt_commitlog_append(log_, buf, n), LEAT_OK);
	}
	options.store_retain_hours = 1;
	uint32_t first = run(9999, UINT64_MAX).dropped;
	assert_true(first > 0 && first < 20);
	percent = 80;
	assert_int_equal(run(9999, UINT64_MAX).dropped, 39 - first);
}

static void
test_queues_are_trimmed(void **state)
{
	struct lt_cq *cq = lt_cq_find(queues, "T", 1, 0);
	struct lt_cq_entry e = {.log_offset = 100, .bytes = 50};

	while (cq->next < LT_CQ_FILE_ENTRIES + 5)
		assert_int_equal(lt_cq_append(queues, cq, &e), LEAT_OK);
	assert_int_equal(lt_cq_flush_all(queues), LEAT_OK);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000000000000", F_OK, 0),
	    0);
	options.store_retain_bytes = 1;
	assert_int_equal(run(100, SEGMENT).dropped, 1);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000000000000", F_OK, 0),
	    -1);
	assert_int_equal(
	    faccessat(dir, "consumequeue/T/0/00000000000006000000", F_OK, 0),
	    0);
}

static int
no_unlink(int at, const char *name, int flags)
{
	errno = EIO;
	return -1;
}

static void
test_file_that_cannot_go(void **state)
{
	struct lt_retain_result out;

	options.store_retain_bytes = 1;
	lt_sys.unlinkat = no_unlink;
	assert_int_equal(
	    lt_retain_run(log_, queues, &options, 0, UINT64_MAX, dir, &out),
	    LEAT_E_IO);
	assert_int_equal(out.dropped, 0);
	assert_int_equal(lt_commitlog_min(log_), 0);
	lt_sys.unlinkat = kernel.unlinkat;
	assert_int_equal(run(100, UINT64_MAX).dropped, SEGMENTS - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(test_by_age),
	    T(test_never),
	    T(test_by_size),
	    T(test_what_the_broker_needs_stays),
	    T(test_full_disk_is_told_and_drops_nothing),
	    T(test_bounded_unless_space_is_short),
	    T(test_queues_are_trimmed),
	    T(test_file_that_cannot_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
