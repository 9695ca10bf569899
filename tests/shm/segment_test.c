/* segment_test.c - what seals forbid, and what an attacher refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "leat/status.h"
#include "shm/segment.h"

static struct lt_segment seg, other;
static int fd = -1;

static int
setup(void **state)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_RING, .data_bytes = 65536, .id = 42};

	return lt_segment_create(&seg, "test-segment", &head, 0, &fd);
}

static int
teardown(void **state)
{
	lt_segment_detach(&seg);
	lt_segment_detach(&other);
	close(fd);
	return 0;
}

static void
attach_reads_the_head(void **state)
{
	assert_int_equal(
	    lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 0), LEAT_OK);
	assert_int_equal(other.head.id, 42);
	assert_int_equal(other.bytes, 65536 + LT_SEGMENT_DATA_AT);
}

static void
sealed_read_only(void **state)
{
	void *p;

	assert_int_equal(lt_segment_seal(fd, 1), LEAT_OK);
	/* A restarted queue manager seals again. */
	assert_int_equal(lt_segment_seal(fd, 1), LEAT_OK);
	assert_int_equal(lt_segment_seal(fd, 0), LEAT_OK);
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 1, 1),
	    LEAT_E_DENIED);
	assert_int_equal(
	    lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 1), LEAT_OK);
	assert_int_not_equal(
	    mprotect(other.base, other.bytes, PROT_READ | PROT_WRITE), 0);
	assert_int_not_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(write(fd, "x", 1), -1);
	p = mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_equal(p, MAP_FAILED);
	/* The creator's older mapping still writes, and readers see it. */
	((char *)seg.base)[LT_SEGMENT_DATA_AT] = 'w';
	assert_int_equal(((char *)other.base)[LT_SEGMENT_DATA_AT], 'w');
}

static void
sealed_size(void **state)
{
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 1, 1),
	    LEAT_E_CORRUPT);
	assert_int_equal(lt_segment_seal(fd, 0), LEAT_OK);
	assert_int_equal(
	    lt_segment_attach(&other, fd, LT_SEGMENT_RING, 1, 1), LEAT_OK);
	assert_int_not_equal(ftruncate(fd, 4096), 0);
	assert_int_not_equal(ftruncate(fd, 1 << 20), 0);
}

static void
foreign_segments(void **state)
{
	struct lt_segment_head *head = seg.base;
	struct lt_segment_head good = *head;
	int small = memfd_create("small", 0);

	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_LANE, 0, 0),
	    LEAT_E_CORRUPT);
	head->version++;
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 0),
	    LEAT_E_VERSION);
	*head = good;
	head->total_bytes++;
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 0),
	    LEAT_E_CORRUPT);
	*head = good;
	head->data_bytes = 1 << 20;
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 0),
	    LEAT_E_CORRUPT);
	*head = good;
	assert_int_equal(
	    lt_segment_attach(&other, small, LT_SEGMENT_RING, 0, 0),
	    LEAT_E_CORRUPT);
	close(small);
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(lt_segment_attach(&other, fd, LT_SEGMENT_RING, 0, 0),
	    LEAT_E_CORRUPT);
}

static int
no_space(int f, int mode, off_t at, off_t bytes)
{
	errno = ENOSPC;
	return -1;
}

static void
full_memory_is_a_status(void **state)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_LANE, .data_bytes = 65536};
	struct lt_sys saved = lt_sys;
	int other_fd = -1, status;

	lt_sys.fallocate = no_space;
	status = lt_segment_create(&other, "full", &head, 1, &other_fd);
	lt_sys = saved;
	assert_int_equal(status, LEAT_E_NOSPACE);
	assert_int_equal(other_fd, -1);
	assert_null(other.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		attach_reads_the_head, setup, teardown),
	    cmocka_unit_test_setup_teardown(sealed_read_only, setup, teardown),
	    cmocka_unit_test_setup_teardown(sealed_size, setup, teardown),
	    cmocka_unit_test_setup_teardown(foreign_segments, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		full_memory_is_a_status, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
