/*
 * commitlog_test.c - the commit log: segments, rolling, reopening, what a
 * failing kernel does to it, and the writer racing with the filler.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "store/commitlog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/record.h"
#include "store/extent.h"

#define SEGMENT 65536u

static char path[256];
static int dir;
static struct lt_options options;

static int
setup(void **state)
{
	dir = faults_scratch(path, sizeof path);
	assert_true(dir >= 0);
	memset(&options, 0, sizeof options);
	options.store_segment_bytes = SEGMENT;
	options.store_prefill_bytes = 0;
	options.store_disk_full_percent = 100;
	return 0;
}

static int
teardown(void **state)
{
	close(dir);
	faults_remove_tree(path);
	return 0;
}

/* Error lines that a test provokes by the hundred go nowhere. */
static void
quiet(int on)
{
	static int saved = -1;

	if (on) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		saved = dup(STDERR_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	} else {
		dup2(saved, STDERR_FILENO);
		close(saved);
	}
}

static struct lt_commitlog *
open_log(uint64_t end)
{
	struct lt_commitlog *log = NULL;

	assert_int_equal(lt_commitlog_open(dir, &options, &log), LEAT_OK);
	assert_int_equal(lt_commitlog_set_end(log, end), LEAT_OK);
	return log;
}

/* Bytes that tell their own log offset. */
static void
pattern(uint8_t *p, uint64_t at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(1 + (at + i) % 251);
}

static int
append(struct lt_commitlog *log, size_t bytes)
{
	static uint8_t buf[SEGMENT];

	pattern(buf, lt_commitlog_end(log), bytes);
	return lt_commitlog_append(log, buf, bytes);
}

/* The file of a segment; -1: none. */
static int
open_segment(uint64_t base)
{
	char name[64];

	snprintf(name, sizeof name, "commitlog/%020ju", (uintmax_t)base);
	return openat(dir, name, O_RDWR | O_CLOEXEC);
}

static void
read_segment(uint64_t base, uint64_t from, void *buf, size_t bytes)
{
	int fd = open_segment(base);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, bytes, (off_t)from), bytes);
	close(fd);
}

static void
assert_pattern(uint64_t base, uint64_t from, size_t bytes)
{
	uint8_t want[SEGMENT], have[SEGMENT];

	pattern(want, base + from, bytes);
	read_segment(base, from, have, bytes);
	assert_memory_equal(want, have, bytes);
}

static void
assert_zero(uint64_t base, uint64_t from)
{
	uint8_t have[SEGMENT];
	size_t bytes = SEGMENT - from;

	read_segment(base, from, have, bytes);
	for (size_t i = 0; i < bytes; i++)
		if (have[i] != 0)
			fail_msg("byte %zu of segment %ju is not zero",
			    (size_t)from + i, (uintmax_t)base);
}

static void
assert_blank(uint64_t base, uint64_t at)
{
	uint8_t p[8];

	read_segment(base, at, p, sizeof p);
	assert_int_equal(lt_bytes_get32(p), SEGMENT - at);
	assert_int_equal(lt_bytes_get32(p + 4), LT_RECORD_BLANK);
}

static void
test_new_store_is_there_at_once(void **state)
{
	struct lt_commitlog *log = NULL;
	struct stat st;

	options.store_segment_bytes = 1 << 30;
	options.store_prefill_bytes = 64 << 20;
	uint64_t before = lt_clock_mono_ms();
	assert_int_equal(lt_commitlog_open(dir, &options, &log), LEAT_OK);
	assert_int_equal(lt_commitlog_set_end(log, 0), LEAT_OK);
	assert_int_equal(append(log, 1000), LEAT_OK);
	print_message("open to first append: %ju ms\n",
	    (uintmax_t)(lt_clock_mono_ms() - before));
	int fd = open_segment(0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1 << 30);
	assert_true(st.st_blocks * 512 < 16 << 20);
	close(fd);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(lt_commitlog_synced(log), 1000);
	lt_commitlog_close(log);
}

static void
test_append_and_sync(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(lt_commitlog_min(log), 0);
	assert_int_equal(lt_commitlog_room(log), SEGMENT - 8);
	assert_int_equal(append(log, 100), LEAT_OK);
	assert_int_equal(append(log, 5000), LEAT_OK);
	assert_int_equal(lt_commitlog_end(log), 5100);
	assert_int_equal(lt_commitlog_synced(log), 0);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(lt_commitlog_synced(log), 5100);
	assert_pattern(0, 0, 5100);
	assert_zero(0, 5100);
	lt_commitlog_close(log);
}

static void
test_append_is_one_call_and_sync_without_need_none(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 100), LEAT_OK); /* opens the window */
	faults_install();
	assert_int_equal(append(log, 30000), LEAT_OK);
	assert_int_equal(faults_seen().pwrite, 1);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 1);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 1);
	faults_remove();
	lt_commitlog_close(log);
}

static void
test_roll_at_each_rest(void **state)
{
	/* What stays for the BLANK record: the least, a little, and a lot. */
	static const uint64_t rests[] = {8, 9, 16, 4095, 4096, 4104, SEGMENT};
	struct lt_commitlog *log = open_log(0);
	uint64_t base = 0;

	for (size_t i = 0; i < LT_COUNT(rests); i++, base += SEGMENT) {
		uint64_t at = SEGMENT - rests[i];
		if (at > 0)
			assert_int_equal(append(log, at), LEAT_OK);
		assert_int_equal(lt_commitlog_room(log), rests[i] - 8);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		assert_int_equal(lt_commitlog_end(log), base + SEGMENT);
		assert_int_equal(lt_commitlog_room(log), SEGMENT - 8);
		if (at > 0)
			assert_pattern(base, 0, at);
		assert_blank(base, at);
	}
	assert_true(lt_commitlog_synced(log) < base);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(lt_commitlog_synced(log), base);
	assert_int_equal(append(log, 10), LEAT_OK);
	assert_pattern(base, 0, 10);
	lt_commitlog_close(log);
}

static void
test_sync_reaches_every_rolled_segment(void **state)
{
	struct lt_commitlog *log = open_log(0);

	faults_install();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(append(log, 1000), LEAT_OK);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	}
	assert_int_equal(append(log, 1000), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 0);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(faults_seen().fdatasync, 4);
	assert_true(faults_seen().fsync >= 1); /* their names */
	/* However many are rolled, few wait for their sync. */
	for (int i = 0; i < 10; i++) {
		assert_int_equal(append(log, 1000), LEAT_OK);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	}
	assert_int_equal(faults_seen().fdatasync, 4 + 10 - 4);
	faults_remove();
	lt_commitlog_close(log);
}

static void
test_reopen_keeps_bytes_and_size(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 60000), LEAT_OK);
	assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	assert_int_equal(append(log, 777), LEAT_OK);
	lt_commitlog_close(log);
	options.store_segment_bytes = 2 * SEGMENT;
	log = open_log(SEGMENT + 777);
	assert_int_equal(lt_commitlog_segment_bytes(log), SEGMENT);
	assert_int_equal(lt_commitlog_min(log), 0);
	assert_int_equal(lt_commitlog_end(log), SEGMENT + 777);
	assert_int_equal(lt_commitlog_synced(log), SEGMENT + 777);
	assert_int_equal(append(log, 23), LEAT_OK);
	assert_pattern(0, 0, 60000);
	assert_pattern(SEGMENT, 0, 800);
	lt_commitlog_close(log);
}

static void
test_set_end_leaves_nothing_behind(void **state)
{
	struct lt_commitlog *log = open_log(0);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(append(log, 60000), LEAT_OK);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	}
	lt_commitlog_close(log);
	log = open_log(SEGMENT + 5001);
	assert_pattern(SEGMENT, 0, 5001);
	assert_zero(SEGMENT, 5001);
	assert_int_equal(open_segment(2 * SEGMENT), -1);
	assert_int_equal(append(log, 100), LEAT_OK);
	assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	assert_zero(2 * SEGMENT, 0);
	lt_commitlog_close(log);
	/* Exactly at a boundary, where the next file may or may not be. */
	log = open_log(2 * SEGMENT);
	assert_int_equal(append(log, 5), LEAT_OK);
	lt_commitlog_close(log);
	log = open_log(3 * SEGMENT);
	assert_int_equal(append(log, 5), LEAT_OK);
	assert_pattern(3 * SEGMENT, 0, 5);
	assert_int_equal(
	    lt_commitlog_set_end(log, 5 * SEGMENT), LEAT_E_INVALID);
	lt_commitlog_close(log);
}

static int no_punch_calls;

static int
no_punch(int fd, int mode, off_t at, off_t bytes)
{
	no_punch_calls++;
	errno = EOPNOTSUPP;
	return -1;
}

static void
test_without_fallocate(void **state)
{
	struct lt_sys kernel = lt_sys;
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 60000), LEAT_OK);
	lt_commitlog_close(log);
	lt_sys.fallocate = no_punch;
	log = open_log(12345);
	assert_int_equal(append(log, 55), LEAT_OK);
	assert_pattern(0, 0, 12400);
	assert_zero(0, 12400);
	lt_commitlog_close(log);
	lt_sys = kernel;
	assert_true(no_punch_calls >= 2);
}

static void
test_files_that_do_not_belong(void **state)
{
	struct lt_commitlog *log = open_log(0);

	lt_commitlog_close(log);
	close(openat(dir, "commitlog/spare", O_CREAT | O_WRONLY, 0600));
	close(openat(dir, "commitlog/new-00000000000000065536",
	    O_CREAT | O_WRONLY, 0600));
	close(openat(dir, "commitlog/00000000000000065536", O_CREAT | O_WRONLY,
	    0600)); /* empty and last: a crash's */
	log = open_log(0);
	lt_commitlog_close(log);
	assert_int_not_equal(faccessat(dir, "commitlog/spare", F_OK, 0), 0);
	assert_int_not_equal(
	    faccessat(dir, "commitlog/new-00000000000000065536", F_OK, 0), 0);
	assert_int_equal(open_segment(SEGMENT), -1);

	int fd = openat(
	    dir, "commitlog/00000000000000065536", O_CREAT | O_WRONLY, 0600);
	struct stat st;

	/* Longer than the names leave room for: refused, nothing is lost. */
	assert_int_equal(ftruncate(fd, SEGMENT * 2), 0);
	assert_int_equal(
	    lt_commitlog_open(dir, &options, &log), LEAT_E_CORRUPT);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SEGMENT * 2);
	/* Cut short: mended. */
	assert_int_equal(ftruncate(fd, SEGMENT / 2), 0);
	assert_int_equal(lt_commitlog_open(dir, &options, &log), LEAT_OK);
	lt_commitlog_close(log);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SEGMENT);
	close(fd);
}

/* --- failing calls ----------------------------------------------------- */

static void
test_no_space_changes_nothing(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 1000), LEAT_OK);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	faults_install();
	faults_arm(FAULT_ENOSPC, 1, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(append(log, 2000), LEAT_E_NOSPACE);
	assert_int_equal(lt_commitlog_end(log), 1000);
	assert_int_equal(lt_commitlog_roll(log), LEAT_E_NOSPACE);
	assert_int_equal(lt_commitlog_end(log), 1000);
	assert_int_equal(lt_commitlog_failed(log), 0);
	assert_true(faults_struck());
	faults_remove();
	assert_int_equal(append(log, 2000), LEAT_OK);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_pattern(0, 0, 3000);
	assert_zero(0, 3000);
	lt_commitlog_close(log);
}

/* A disk that takes some of a batch, then is full; then takes overwrites. */
static size_t space_left;
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);

static ssize_t
little_space(int fd, const void *buf, size_t bytes, off_t at)
{
	static off_t top;

	if (at + (off_t)bytes > top) {
		if (space_left == 0) {
			errno = ENOSPC;
			return -1;
		}
		if (bytes > space_left)
			bytes = space_left;
		space_left -= bytes;
	}
	ssize_t n = real_pwrite(fd, buf, bytes, at);
	if (n > 0 && at + n > top)
		top = at + n;
	return n;
}

static void
test_refused_bytes_do_not_stay(void **state)
{
	struct lt_sys kernel = lt_sys;
	struct lt_commitlog *log = open_log(0);
	uint8_t have[3000];

	real_pwrite = lt_sys.pwrite;
	lt_sys.pwrite = little_space;
	space_left = 2500;
	assert_int_equal(append(log, 1000), LEAT_OK);
	assert_int_equal(append(log, 2000), LEAT_E_NOSPACE);
	read_segment(0, 1000, have, 2000);
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(have[i], 0);
	space_left = 100000;
	assert_int_equal(append(log, 500), LEAT_OK);
	lt_sys = kernel;
	assert_pattern(0, 0, 1500);
	assert_zero(0, 1500);
	lt_commitlog_close(log);
}

static void
test_failed_sync_is_final(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 1000), LEAT_OK);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_int_equal(append(log, 1000), LEAT_OK);
	faults_install();
	faults_arm(FAULT_EIO, 1, 0);
	assert_int_equal(lt_commitlog_sync(log), LEAT_E_IO);
	assert_true(faults_struck());
	assert_int_equal(lt_commitlog_failed(log), 1);
	unsigned long before = faults_seen().fdatasync;
	assert_int_equal(lt_commitlog_sync(log), LEAT_E_IO);
	assert_int_equal(append(log, 10), LEAT_E_IO);
	assert_int_equal(lt_commitlog_roll(log), LEAT_E_IO);
	assert_int_equal(faults_seen().fdatasync, before);
	assert_int_equal(faults_seen().pwrite, 0);
	assert_int_equal(lt_commitlog_synced(log), 1000);
	faults_remove();
	lt_commitlog_close(log);
}

/* As the kernel does it: a failed write-back is told once to each open file. */
static int told[1024];

static int
sync_of_failed_disk(int fd)
{
	assert_in_range(fd, 0, LT_COUNT(told) - 1);
	if (told[fd]++ > 0)
		return 0;
	errno = EIO;
	return -1;
}

static int dir_syncs;

static int
count_fsync(int fd)
{
	dir_syncs++;
	return fsync(fd);
}

/* The name of a new segment: the writer waits for it only if a sync of its own
 * comes before the one in the background is done. */
static void
test_names_are_synced_in_the_background(void **state)
{
	struct lt_commitlog *log = open_log(0);
	struct lt_sys kernel = lt_sys;
	struct lt_commitlog_sync sync;

	assert_int_equal(append(log, 1000), LEAT_OK);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	lt_sys.fsync = count_fsync;
	for (int own = 0; own < 2; own++) {
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		dir_syncs = 0;
		assert_int_equal(append(log, 1000), LEAT_OK);
		assert_int_equal(lt_commitlog_sync_begin(log, &sync), LEAT_OK);
		assert_int_equal(dir_syncs, 0);
		if (own)
			assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
		assert_int_equal(dir_syncs, own);
		assert_int_equal(lt_commitlog_sync_run(&sync), LEAT_OK);
		assert_int_equal(dir_syncs, own + 1);
		assert_int_equal(
		    lt_commitlog_sync_end(log, &sync, LEAT_OK), LEAT_OK);
		assert_int_equal(append(log, 1000), LEAT_OK);
		assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
		assert_int_equal(dir_syncs, own + 1);
	}
	lt_sys = kernel;
	lt_commitlog_close(log);
}

/* Filler, background sync and writer: whoever asks first, all are told. */
static void
test_failed_sync_is_told_to_each(void **state)
{
	struct lt_sys kernel = lt_sys;

	for (int first = 0; first < 3; first++) {
		struct lt_commitlog *log = open_log(0);
		struct lt_commitlog_sync sync;

		assert_int_equal(append(log, 1000), LEAT_OK);
		assert_int_equal(lt_commitlog_sync_begin(log, &sync), LEAT_OK);
		assert_int_equal(sync.count, 1);
		memset(told, 0, sizeof told);
		lt_sys.fdatasync = sync_of_failed_disk;
		for (int i = 0; i < 3; i++)
			switch ((first + i) % 3) {
			case 0:
				assert_int_equal(
				    lt_extent_fill_sync(sync.extents[0]),
				    LEAT_E_IO);
				break;
			case 1:
				assert_int_equal(
				    lt_commitlog_sync_run(&sync), LEAT_E_IO);
				break;
			case 2:
				assert_int_equal(
				    lt_commitlog_sync(log), LEAT_E_IO);
			}
		lt_sys = kernel;
		assert_int_equal(
		    lt_commitlog_sync_end(log, &sync, LEAT_E_IO), LEAT_E_IO);
		assert_int_equal(lt_commitlog_synced(log), 0);
		lt_commitlog_close(log);
		teardown(NULL);
		setup(NULL);
	}
}

struct played {
	uint64_t end;
	uint64_t synced;
	int status;
};

/* A small life: appends, syncs, rolls. A batch that found no space is tried
 * again, a limited number of times. */
static struct played
play(void)
{
	struct lt_commitlog *log = NULL;
	struct played out = {0};
	int patience = 5;
	int rc = lt_commitlog_open(dir, &options, &log);

	if (rc != LEAT_OK) {
		out.status = rc;
		return out;
	}
	rc = lt_commitlog_set_end(log, 0);
	for (int i = 0; rc == LEAT_OK && i < 12; i++) {
		do
			rc = append(log, 9000 + (size_t)i);
		while (rc == LEAT_E_NOSPACE && patience-- > 0);
		if (rc == LEAT_OK && i % 4 == 3)
			do
				rc = lt_commitlog_roll(log);
			while (rc == LEAT_E_NOSPACE && patience-- > 0);
		if (rc == LEAT_OK && i % 3 == 2)
			rc = lt_commitlog_sync(log);
		assert_true(lt_commitlog_end(log) >= out.end);
		out.end = lt_commitlog_end(log);
		out.synced = lt_commitlog_synced(log);
	}
	out.status = rc;
	if (rc == LEAT_E_IO && out.end > 0)
		assert_int_equal(lt_commitlog_failed(log), 1);
	lt_commitlog_close(log);
	return out;
}

/* All that play() was told is written is there. */
static void
check_played(const struct played *p)
{
	uint64_t at = 0;

	for (int i = 0; i < 12; i++) {
		uint64_t n = 9000 + (uint64_t)i;
		if (at + n > p->end)
			break;
		assert_pattern(at / SEGMENT * SEGMENT, at % SEGMENT, n);
		at += n;
		if (i % 4 == 3)
			at = (at / SEGMENT + 1) * SEGMENT;
	}
}

static void
try_every_call(enum fault what, int lasting)
{
	unsigned long at = 1;
	int struck = 1;

	for (; struck; at++) {
		setup(NULL);
		faults_install();
		faults_arm(what, at, lasting);
		struct played p = play();
		struck = faults_struck();
		faults_remove();
		assert_true(p.synced <= p.end);
		check_played(&p);
		if (!struck)
			assert_int_equal(p.status, LEAT_OK);
		if (what == FAULT_SHORT || (what == FAULT_ENOSPC && !lasting))
			assert_true(
			    p.status == LEAT_OK || p.status == LEAT_E_NOSPACE);
		/* The disk is well again: the store opens and goes on. */
		struct lt_commitlog *log = open_log(p.end);
		assert_int_equal(append(log, 100), LEAT_OK);
		assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
		lt_commitlog_close(log);
		check_played(&p);
		teardown(NULL);
	}
	print_message("fault %d%s: %lu calls\n", what,
	    lasting ? ", lasting" : "", at - 2);
	assert_true(at > 10);
	setup(NULL);
}

static void
test_every_call_fails(void **state)
{
	quiet(1);
	teardown(NULL);
	try_every_call(FAULT_EIO, 0);
	teardown(NULL);
	try_every_call(FAULT_EIO, 1);
	teardown(NULL);
	try_every_call(FAULT_ENOSPC, 0);
	teardown(NULL);
	try_every_call(FAULT_ENOSPC, 1);
	teardown(NULL);
	try_every_call(FAULT_EINTR, 0);
	teardown(NULL);
	try_every_call(FAULT_SHORT, 0);
	quiet(0);
}

static void
test_half_written_batch_is_refused_whole(void **state)
{
	struct lt_commitlog *log = open_log(0);

	assert_int_equal(append(log, 1000), LEAT_OK);
	setenv("LEAT_FAILPOINT", "store.append.half:0:enospc", 1);
	lt_sys_fp_init();
	assert_int_equal(append(log, 4000), LEAT_E_NOSPACE);
	assert_int_equal(lt_commitlog_end(log), 1000);
	assert_zero(0, 1000);
	assert_int_equal(append(log, 4001), LEAT_OK);
	assert_pattern(0, 0, 5001);
	setenv("LEAT_FAILPOINT", "store.roll:0:enospc", 1);
	lt_sys_fp_init();
	assert_int_equal(lt_commitlog_roll(log), LEAT_E_NOSPACE);
	assert_int_equal(append(log, 9), LEAT_OK);
	assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	assert_blank(0, 5010);
	unsetenv("LEAT_FAILPOINT");
	lt_sys_fp_armed = false;
	lt_commitlog_close(log);
}

/* --- the filler -------------------------------------------------------- */

#define RACE_BYTES (1u << 20)

static atomic_int race_over;

static void *
race_filler(void *arg)
{
	struct lt_extent *e = arg;
	unsigned seed = 7;
	uint64_t done = 1;

	while (!atomic_load(&race_over) && done > 0)
		if (lt_extent_fill(
			e, e->bytes, 1 + rand_r(&seed) % 700, &done) != LEAT_OK)
			return e;
	return NULL;
}

static void
test_writer_and_filler_never_overlap(void **state)
{
	static uint8_t want[RACE_BYTES], have[RACE_BYTES];
	unsigned seed = 42;
	uint64_t crossed = 0;

	assert_int_equal(mkdirat(dir, "commitlog", 0700), 0);
	int log_dir = openat(dir, "commitlog", O_RDONLY | O_DIRECTORY);
	pattern(want, 0, RACE_BYTES);
	for (int round = 0; round < 20; round++) {
		struct lt_extent *e = NULL;
		pthread_t thread;
		void *bad = NULL;
		uint64_t at = 0;
		size_t done;
		assert_int_equal(
		    lt_extent_create(log_dir, "x", 0, RACE_BYTES, &e), LEAT_OK);
		atomic_store(&race_over, 0);
		assert_int_equal(
		    pthread_create(&thread, NULL, race_filler, e), 0);
		while (at < RACE_BYTES) {
			uint64_t n = 1 + (uint64_t)rand_r(&seed) %
					     (round % 2 ? 300 : 3000);
			if (n > RACE_BYTES - at)
				n = RACE_BYTES - at;
			crossed += at + n > atomic_load(&e->filled);
			if (lt_extent_write(e, want + at, n, at, &done) !=
			    LEAT_OK)
				break;
			at += n;
		}
		atomic_store(&race_over, 1);
		pthread_join(thread, &bad);
		assert_null(bad);
		assert_int_equal(at, RACE_BYTES);
		assert_int_equal(pread(e->fd, have, RACE_BYTES, 0), RACE_BYTES);
		assert_memory_equal(want, have, RACE_BYTES);
		lt_extent_unref(e);
		unlinkat(log_dir, "x", 0);
	}
	close(log_dir);
	print_message("claims: %ju\n", (uintmax_t)crossed);
	assert_true(crossed > 0);
}

static void
test_log_with_filler(void **state)
{
	unsigned seed = 3;
	uint64_t starts[400];
	size_t sizes[400];

	options.store_prefill_bytes = 40000;
	struct lt_commitlog *log = open_log(0);
	assert_int_equal(lt_commitlog_start(log), LEAT_OK);
	for (int i = 0; i < 400; i++) {
		size_t n = 1 + (size_t)rand_r(&seed) % 9000;
		if (n > lt_commitlog_room(log))
			assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		starts[i] = lt_commitlog_end(log);
		sizes[i] = n;
		assert_int_equal(append(log, n), LEAT_OK);
		if (i % 5 == 0)
			assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	}
	uint64_t end = lt_commitlog_end(log);
	lt_commitlog_close(log);
	for (int i = 0; i < 400; i++)
		assert_pattern(starts[i] / SEGMENT * SEGMENT,
		    starts[i] % SEGMENT, sizes[i]);
	assert_zero(end / SEGMENT * SEGMENT, end % SEGMENT);
	/* what was only prepared is gone */
	assert_int_equal(open_segment((end / SEGMENT + 1) * SEGMENT), -1);
}

/* A roll that found no space for its BLANK record holds the next segment for a
 * while; the filler must not make that segment again. */
static void
test_roll_interrupted_with_filler(void **state)
{
	options.store_prefill_bytes = 40000;
	struct lt_commitlog *log = open_log(0);
	assert_int_equal(lt_commitlog_start(log), LEAT_OK);
	for (uint64_t base = 0; base < 100 * SEGMENT; base += SEGMENT) {
		assert_int_equal(append(log, 40000), LEAT_OK);
		setenv("LEAT_FAILPOINT", "store.roll:0:enospc", 1);
		lt_sys_fp_init();
		assert_int_equal(lt_commitlog_roll(log), LEAT_E_NOSPACE);
		for (int i = 0; i < 20; i++)
			assert_int_equal(append(log, 500), LEAT_OK);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		assert_int_equal(append(log, 10), LEAT_OK);
		assert_pattern(base + SEGMENT, 0, 10);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		base += SEGMENT;
	}
	unsetenv("LEAT_FAILPOINT");
	lt_sys_fp_armed = false;
	lt_commitlog_close(log);
}

static void
test_dropped_segment_comes_back_clean(void **state)
{
	struct timespec ms = {.tv_nsec = 1000000};
	struct stat old, now = {0};
	uint64_t base = SEGMENT;
	int next = -1;

	options.store_prefill_bytes = 1000;
	struct lt_commitlog *log = open_log(0);
	assert_int_equal(append(log, 60000), LEAT_OK);
	assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	assert_int_equal(lt_commitlog_start(log), LEAT_OK);
	assert_int_equal(append(log, 100), LEAT_OK);
	int fd = open_segment(0);
	assert_int_equal(fstat(fd, &old), 0);
	assert_int_equal(lt_commitlog_drop_oldest(log), LEAT_OK);
	assert_int_equal(lt_commitlog_min(log), SEGMENT);
	assert_int_equal(lt_commitlog_drop_oldest(log), LEAT_E_END);
	/* Not before it is clean, and durably so. */
	for (int i = 0; i < 5000 && old.st_ino != now.st_ino; i++) {
		nanosleep(&ms, NULL);
		assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		base += SEGMENT;
		if (next >= 0)
			close(next);
		next = open_segment(base);
		assert_int_equal(fstat(next, &now), 0);
		assert_zero(base, 0);
	}
	assert_int_equal(old.st_ino, now.st_ino);
	assert_int_equal(append(log, 50), LEAT_OK);
	assert_int_equal(lt_commitlog_sync(log), LEAT_OK);
	assert_pattern(base, 0, 50);
	close(fd);
	close(next);
	lt_commitlog_close(log);
}

static void
test_failing_filler_fails_the_log(void **state)
{
	struct timespec ms = {.tv_nsec = 1000000};

	options.store_prefill_bytes = 60000;
	struct lt_commitlog *log = open_log(0);
	quiet(1);
	faults_install();
	faults_arm(FAULT_EIO, 1, 1);
	assert_int_equal(lt_commitlog_start(log), LEAT_OK);
	for (int i = 0; i < 5000 && !lt_commitlog_failed(log); i++)
		nanosleep(&ms, NULL);
	faults_remove();
	quiet(0);
	assert_int_equal(lt_commitlog_failed(log), 1);
	assert_int_equal(append(log, 10), LEAT_E_IO);
	assert_int_equal(lt_commitlog_sync(log), LEAT_E_IO);
	lt_commitlog_close(log);
}

static void
test_segments_tell_their_times(void **state)
{
	static uint8_t buf[4096];
	struct lt_commitlog *log = open_log(0);
	struct lt_commitlog_segment s;

	for (int i = 0; i < 3; i++) {
		if (i > 0)
			assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
		size_t n = faults_record(buf, sizeof buf, "T", 0, (uint64_t)i,
		    lt_commitlog_end(log), 1000 * (i + 1), NULL, 10, 1);
		assert_true(n > 0);
		assert_int_equal(lt_commitlog_append(log, buf, n), LEAT_OK);
	}
	assert_int_equal(lt_commitlog_segment_at(log, 0, &s), LEAT_OK);
	assert_int_equal(s.base, 0);
	assert_int_equal(s.bytes, SEGMENT);
	assert_int_equal(s.first_ms, 1000);
	assert_int_equal(s.last_ms, 2000);
	assert_int_equal(lt_commitlog_segment_at(log, 2, &s), LEAT_OK);
	assert_int_equal(s.base, 2 * SEGMENT);
	assert_int_equal(s.first_ms, 3000);
	assert_int_equal(s.last_ms, 0);
	assert_int_equal(lt_commitlog_segment_at(log, 3, &s), LEAT_E_END);
	/* Nothing behind it yet: the file's own time. */
	assert_int_equal(lt_commitlog_roll(log), LEAT_OK);
	assert_int_equal(lt_commitlog_segment_at(log, 2, &s), LEAT_OK);
	int64_t age = lt_clock_wall_ms() - s.last_ms;
	assert_true(age > -2000 && age < 60000);
	lt_commitlog_close(log);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(test_new_store_is_there_at_once),
	    T(test_append_and_sync),
	    T(test_append_is_one_call_and_sync_without_need_none),
	    T(test_roll_at_each_rest),
	    T(test_sync_reaches_every_rolled_segment),
	    T(test_reopen_keeps_bytes_and_size),
	    T(test_set_end_leaves_nothing_behind),
	    T(test_without_fallocate),
	    T(test_files_that_do_not_belong),
	    T(test_no_space_changes_nothing),
	    T(test_refused_bytes_do_not_stay),
	    T(test_failed_sync_is_final),
	    T(test_names_are_synced_in_the_background),
	    T(test_failed_sync_is_told_to_each),
	    T(test_every_call_fails),
	    T(test_half_written_batch_is_refused_whole),
	    T(test_writer_and_filler_never_overlap),
	    T(test_log_with_filler),
	    T(test_roll_interrupted_with_filler),
	    T(test_dropped_segment_comes_back_clean),
	    T(test_failing_filler_fails_the_log),
	    T(test_segments_tell_their_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
