/*
 * reader_test.c - records at their offsets, behind damage, across segments,
 * and from segments that the writer recycles meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "depot.h"
#include "leat/status.h"

static struct depot d;
static struct lt_reader *r;

static int
setup(void **state)
{
	depot_make(&d);
	return depot_open(&d);
}

static int
teardown(void **state)
{
	lt_reader_close(r);
	r = NULL;
	depot_remove(&d);
	return 0;
}

static void
fill_and_open(size_t count)
{
	depot_fill(&d, count, 60);
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
}

static void
no_log(void **state)
{
	struct depot bare;

	depot_make(&bare);
	assert_int_equal(lt_reader_open(bare.dir, &r), LEAT_E_NOTFOUND);
	r = NULL;
	depot_remove(&bare);
}

static void
every_record_at_its_offset(void **state)
{
	struct lt_record_view v;
	uint8_t copy[1024];

	fill_and_open(900);
	assert_int_equal(lt_reader_min(r), 0);
	assert_int_equal(lt_reader_segment_bytes(r), DEPOT_SEGMENT);
	for (size_t i = 0; i < d.count; i++) {
		const struct depot_message *m = &d.messages[i];

		assert_int_equal(lt_reader_get(r, m->log_offset, &v), LEAT_OK);
		assert_int_equal(v.bytes, m->bytes);
		assert_int_equal(
		    lt_reader_copy(r, m->log_offset, m->bytes, copy, &v),
		    LEAT_OK);
		assert_ptr_equal(v.base, copy);
		assert_int_equal(v.log_offset, m->log_offset);
		assert_int_equal(
		    lt_reader_copy(r, m->log_offset, m->bytes - 1, copy, &v),
		    LEAT_E_CORRUPT);
		assert_int_equal(
		    lt_reader_get(r, m->log_offset + 1, &v), LEAT_E_CORRUPT);
	}
}

static void
what_is_no_record(void **state)
{
	const struct depot_message *last = NULL;
	struct lt_record_view v;
	uint64_t end;

	fill_and_open(400);
	end = lt_commitlog_end(d.log);
	assert_int_equal(lt_reader_get(r, end, &v), LEAT_E_END);
	assert_int_equal(
	    lt_reader_get(r, 100 * DEPOT_SEGMENT, &v), LEAT_E_NOTFOUND);
	for (size_t i = 0; i < d.count; i++)
		if (d.messages[i].log_offset < DEPOT_SEGMENT)
			last = &d.messages[i];
	end = last->log_offset + last->bytes;
	assert_int_equal(lt_reader_get(r, end, &v), LEAT_E_AGAIN);
	assert_int_equal(lt_reader_next_segment(r, end), DEPOT_SEGMENT);
	assert_int_equal(lt_reader_end(r, end), DEPOT_SEGMENT);
	depot_flip(&d, d.messages[5].log_offset + 60);
	assert_int_equal(
	    lt_reader_get(r, d.messages[5].log_offset, &v), LEAT_E_CORRUPT);
}

static void
a_copy_elsewhere_is_no_record(void **state)
{
	uint8_t copy[1024];
	struct lt_record_view v;
	uint64_t end;

	fill_and_open(10);
	end = lt_commitlog_end(d.log);
	depot_read(&d, 0, copy, d.messages[0].bytes);
	depot_write(&d, end, copy, d.messages[0].bytes);
	assert_int_equal(lt_reader_get(r, end, &v), LEAT_E_CORRUPT);
}

static void
walking(void **state)
{
	struct lt_record_view v;
	uint64_t damaged, pos = 0;
	uint64_t limit;

	fill_and_open(900);
	limit = lt_reader_limit(r);
	for (size_t i = 0; i < d.count; i++) {
		assert_int_equal(
		    lt_reader_next(r, pos, limit, &v, &damaged), LEAT_OK);
		assert_int_equal(v.log_offset, d.messages[i].log_offset);
		assert_int_equal(damaged, 0);
		pos = d.messages[i].log_offset + d.messages[i].bytes;
	}
	assert_int_equal(
	    lt_reader_next(r, pos, limit, &v, &damaged), LEAT_E_END);
	assert_int_equal(damaged, 0);
	/* Up to a limit, and from the middle of a record. */
	pos = d.messages[50].log_offset;
	assert_int_equal(lt_reader_next(r, pos, pos, &v, &damaged), LEAT_E_END);
	assert_int_equal(
	    lt_reader_next(r, pos + 3, limit, &v, &damaged), LEAT_OK);
	assert_int_equal(v.log_offset, d.messages[51].log_offset);
	assert_int_equal(damaged, d.messages[50].bytes - 3);
	assert_int_equal(lt_reader_damage_at(r), pos + 3);
	assert_int_equal(
	    lt_reader_next(r, pos + 3, d.messages[51].log_offset, &v, &damaged),
	    LEAT_E_END);
}

static void
behind_damage(void **state)
{
	struct lt_record_view v;
	uint64_t damaged, at;

	fill_and_open(900);
	/* One record; then a whole segment with both its neighbours' parts. */
	at = d.messages[100].log_offset;
	depot_flip(&d, at + 33);
	assert_int_equal(
	    lt_reader_next(r, at, UINT64_MAX, &v, &damaged), LEAT_OK);
	assert_int_equal(v.log_offset, d.messages[101].log_offset);
	assert_int_equal(damaged, d.messages[100].bytes);
	depot_zero(&d, DEPOT_SEGMENT, DEPOT_SEGMENT);
	assert_int_equal(
	    lt_reader_next(r, DEPOT_SEGMENT, UINT64_MAX, &v, &damaged),
	    LEAT_OK);
	assert_int_equal(v.log_offset, 2 * DEPOT_SEGMENT);
	assert_int_equal(damaged, DEPOT_SEGMENT);
	assert_int_equal(lt_reader_damage_at(r), DEPOT_SEGMENT);
}

static void
a_missing_segment_is_damage(void **state)
{
	struct lt_record_view v;
	uint64_t damaged;

	depot_fill(&d, 900, 60);
	unlinkat(d.dir, "commitlog/00000000000000065536", 0);
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	assert_int_equal(lt_reader_get(r, DEPOT_SEGMENT, &v), LEAT_E_NOTFOUND);
	assert_int_equal(
	    lt_reader_next(r, DEPOT_SEGMENT, UINT64_MAX, &v, &damaged),
	    LEAT_OK);
	assert_int_equal(v.log_offset, 2 * DEPOT_SEGMENT);
	assert_int_equal(damaged, DEPOT_SEGMENT);
}

/* The writer goes on: new segments appear, old ones become others. */
static void
a_living_log(void **state)
{
	struct lt_record_view v;
	uint8_t copy[1024];
	size_t i;

	fill_and_open(100);
	assert_int_equal(lt_reader_get(r, 0, &v), LEAT_OK);
	depot_fill(&d, 800, 60);
	i = d.count - 1;
	assert_int_equal(
	    lt_reader_get(r, d.messages[i].log_offset, &v), LEAT_OK);
	/* Segment 0 under another name, with other contents. */
	assert_int_equal(renameat(d.dir, "commitlog/00000000000000000000",
			     d.dir, "commitlog/00000000000099942400"),
	    0);
	assert_int_equal(lt_reader_get(r, 0, &v), LEAT_OK); /* still mapped */
	{
		int fd =
		    openat(d.dir, "commitlog/00000000000099942400", O_RDWR);
		assert_int_equal(pwrite(fd, "xxxxxxxx", 8, 0), 8);
		close(fd);
	}
	assert_int_equal(lt_reader_get(r, 0, &v), LEAT_E_NOTFOUND);
	assert_int_equal(lt_reader_copy(r, 0, d.messages[0].bytes, copy, &v),
	    LEAT_E_NOTFOUND);
	assert_int_equal(lt_reader_refresh(r), LEAT_OK);
	assert_int_equal(lt_reader_min(r), DEPOT_SEGMENT);
}

/* More segments than mappings. */
static void
many_segments(void **state)
{
	struct lt_record_view v;

	for (int i = 0; i < 150; i++) {
		depot_put(&d, "t", 0, 100);
		assert_int_equal(lt_commitlog_roll(d.log), LEAT_OK);
	}
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < d.count; i++)
			assert_int_equal(
			    lt_reader_get(
				r, d.messages[i * 37 % d.count].log_offset, &v),
			    LEAT_OK);
}

/* --- holes nobody may look into: a full tmpfs ------------------------------
 */

#define PAGE 4096
#define SEGMENT_0 "commitlog/00000000000000000000"

static struct lt_sys kernel;
static int film = -1; /* segment 0 */
static char *mapped;

static int
is_hole(off_t at)
{
	off_t data = lseek(film, at, SEEK_DATA);

	return data < 0 || data >= at + PAGE;
}

static void *
mmap_without_holes(
    void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	char *p = kernel.mmap(at, bytes, prot, flags, fd, off);

	for (size_t i = 0; i < bytes; i += PAGE)
		if (is_hole((off_t)i))
			assert_int_equal(mprotect(p + i, PAGE, PROT_NONE), 0);
	mapped = p;
	return p;
}

static int
madvise_without_holes(void *p, size_t bytes, int advice)
{
	off_t from = (char *)p - mapped;

	assert_int_equal(advice, MADV_POPULATE_READ);
	for (off_t i = from; i < from + (off_t)bytes; i += PAGE)
		if (is_hole(i)) {
			errno = EFAULT;
			return -1;
		}
	return 0;
}

static int
madvise_nothing(void *p, size_t bytes, int advice)
{
	errno = EFAULT;
	return -1;
}

static void
punch(uint64_t from, uint64_t bytes)
{
	assert_int_equal(
	    fallocate(film, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)from, (off_t)bytes),
	    0);
}

static void
holes_that_cannot_be_looked_into(void **state)
{
	const struct depot_message *m = d.messages;
	struct lt_record_view v;
	uint8_t copy[1024];
	uint64_t end, hole, damaged;
	size_t i = 0;

	depot_fill(&d, 200, 60);
	film = openat(d.dir, SEGMENT_0, O_RDWR | O_CLOEXEC);
	assert_true(film >= 0);
	/* The record over a page's end; the next page goes. */
	while (m[i].log_offset / PAGE == (m[i].log_offset + m[i].bytes) / PAGE)
		i++;
	hole = (m[i].log_offset / PAGE + 1) * PAGE;
	end = m[d.count - 1].log_offset + m[d.count - 1].bytes;
	assert_true(hole + PAGE < end);
	punch(hole, PAGE);
	punch((end + PAGE - 1) / PAGE * PAGE, DEPOT_SEGMENT);
	kernel = lt_sys;
	lt_sys.mmap = mmap_without_holes;
	lt_sys.madvise = madvise_without_holes;
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	for (size_t k = 0; k < i; k++)
		assert_int_equal(
		    lt_reader_get(r, m[k].log_offset, &v), LEAT_OK);
	assert_int_equal(lt_reader_get(r, m[i].log_offset, &v), LEAT_E_CORRUPT);
	assert_int_equal(
	    lt_reader_copy(r, m[i].log_offset, m[i].bytes, copy, &v),
	    LEAT_E_CORRUPT);
	assert_int_equal(lt_reader_get(r, hole, &v), LEAT_E_END);
	assert_int_equal(lt_reader_there(r, m[i].log_offset, 2 * PAGE),
	    hole - m[i].log_offset);
	assert_int_equal(
	    lt_reader_next(r, m[i].log_offset, end, &v, &damaged), LEAT_OK);
	assert_true(damaged > PAGE && damaged < 2 * PAGE);
	assert_int_equal(
	    lt_reader_get(r, (end + PAGE - 1) / PAGE * PAGE, &v), LEAT_E_END);
	/* No hole: then it is the disk that does not give it. */
	lt_sys.madvise = madvise_nothing;
	lt_reader_close(r);
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	assert_int_equal(lt_reader_get(r, 0, &v), LEAT_E_IO);
	assert_int_equal(lt_reader_next(r, 0, end, &v, &damaged), LEAT_E_IO);
	assert_int_equal(lt_reader_there(r, 0, PAGE), 0);
	lt_sys = kernel;
	close(film);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(no_log),
	    TEST(every_record_at_its_offset),
	    TEST(what_is_no_record),
	    TEST(a_copy_elsewhere_is_no_record),
	    TEST(walking),
	    TEST(behind_damage),
	    TEST(a_missing_segment_is_damage),
	    TEST(a_living_log),
	    TEST(holes_that_cannot_be_looked_into),
	    TEST(many_segments),
	};

	lt_log_init("reader_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
