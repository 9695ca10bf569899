/* ring_test.c - order, lap, seek and merge, big records, damaged rings. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "leat/status.h"
#include "shm/ring.h"

#define SIZE 65536u

static struct lt_segment seg;
static int seg_fd;

static int
setup(void **state)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_RING, .data_bytes = SIZE};

	return lt_segment_create(&seg, "test-ring", &head, 1, &seg_fd);
}

static int
teardown(void **state)
{
	lt_segment_detach(&seg);
	close(seg_fd);
	return 0;
}

static uint32_t
bytes_of(int64_t offset)
{
	return 1 + (uint32_t)(offset * 131 % 700);
}

static void
put(struct lt_ring_writer *w, int64_t offset)
{
	uint8_t body[1024];

	memset(body, (int)(offset & 0xff), sizeof(body));
	lt_ring_put(w, offset, offset * 1000, 7, body, bytes_of(offset));
}

static void
expect(struct lt_ring_reader *r, int64_t offset)
{
	struct lt_ring_head head;
	uint8_t body[1024];

	assert_int_equal(lt_ring_peek(r, &head), LEAT_OK);
	assert_int_equal(head.queue_offset, offset);
	assert_int_equal(head.bytes, bytes_of(offset));
	assert_int_equal(head.log_offset, offset * 1000);
	assert_int_equal(lt_ring_copy(r, &head, body), LEAT_OK);
	assert_int_equal(body[0], offset & 0xff);
	assert_int_equal(body[head.bytes - 1], offset & 0xff);
	lt_ring_skip(r, &head);
}

static void
follows(void **state)
{
	struct lt_ring_writer w;
	struct lt_ring_reader r;
	struct lt_ring_head head;

	lt_ring_writer_init(&w, &seg, 0);
	lt_ring_reader_init(&r, &seg);
	for (int64_t i = 0; i < 5000; i++) {
		put(&w, i);
		assert_int_equal(lt_ring_peek(&r, &head), LEAT_E_AGAIN);
		assert_false(lt_ring_ready(&r));
		lt_ring_commit(&w);
		assert_true(lt_ring_ready(&r));
		assert_int_equal(lt_ring_next_offset(&r), i + 1);
		expect(&r, i);
	}
	assert_int_equal(lt_ring_valid(&seg), LEAT_OK);
}

static void
lap_is_noticed(void **state)
{
	struct lt_ring_writer w;
	struct lt_ring_reader r;
	struct lt_ring_head head;
	uint8_t body[1024];

	lt_ring_writer_init(&w, &seg, 0);
	lt_ring_reader_init(&r, &seg);
	put(&w, 0);
	lt_ring_commit(&w);
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_OK);
	for (int64_t i = 1; i < 1000; i++)
		put(&w, i);
	/* Not even committed: the copy may be torn already. */
	assert_int_equal(lt_ring_copy(&r, &head, body), LEAT_E_LAPPED);
	lt_ring_commit(&w);
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_E_LAPPED);
}

static void
seek_merges_without_gap(void **state)
{
	struct lt_ring_writer w;
	struct lt_ring_reader r;
	int64_t oldest = -1;

	lt_ring_writer_init(&w, &seg, 100);
	lt_ring_reader_init(&r, &seg);
	assert_int_equal(lt_ring_seek(&r, 100), LEAT_E_AGAIN);
	assert_int_equal(lt_ring_seek(&r, 99), LEAT_E_LAPPED);
	for (int64_t i = 100; i < 3000; i++) {
		put(&w, i);
		lt_ring_commit(&w);
		assert_int_equal(lt_ring_seek(&r, i + 1), LEAT_E_AGAIN);
		assert_int_equal(lt_ring_seek(&r, i), LEAT_OK);
		expect(&r, i);
	}
	for (int64_t i = 100; i < 3000; i++) {
		int status = lt_ring_seek(&r, i);

		if (status == LEAT_OK && oldest < 0)
			oldest = i;
		assert_int_equal(status, oldest < 0 ? LEAT_E_LAPPED : LEAT_OK);
		if (status == LEAT_OK)
			expect(&r, i);
	}
	assert_in_range(oldest, 101, 2999);
	/* The ring keeps most of its size readable. */
	assert_true(oldest < 3000 - 100);
}

static void
big_records_are_announced(void **state)
{
	struct lt_ring_writer w;
	struct lt_ring_reader r;
	struct lt_ring_head head;
	static uint8_t body[SIZE];

	lt_ring_writer_init(&w, &seg, 0);
	lt_ring_reader_init(&r, &seg);
	lt_ring_put(&w, 0, 5, 0, body, SIZE / 8 + 1);
	lt_ring_put(&w, 1, 6, 0, body, SIZE / 8);
	lt_ring_commit(&w);
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_OK);
	assert_int_equal(head.kind, LT_RING_BIG);
	lt_ring_skip(&r, &head);
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_OK);
	assert_int_equal(head.kind, LT_RING_RECORD);
	assert_int_equal(head.bytes, SIZE / 8);
}

static void
damage_is_noticed(void **state)
{
	struct lt_ring_writer w;
	struct lt_ring_reader r;
	struct lt_ring_head head;
	uint32_t *word = (uint32_t *)((char *)seg.base + LT_SEGMENT_DATA_AT);

	lt_ring_writer_init(&w, &seg, 0);
	put(&w, 0);
	lt_ring_commit(&w);
	word[0] = SIZE;
	lt_ring_reader_init(&r, &seg);
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_E_CORRUPT);
	assert_int_equal(lt_ring_valid(&seg), LEAT_E_CORRUPT);
	word[0] = bytes_of(0);
	word[1] = 9;
	assert_int_equal(lt_ring_peek(&r, &head), LEAT_E_CORRUPT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(follows, setup, teardown),
	    cmocka_unit_test_setup_teardown(lap_is_noticed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		seek_merges_without_gap, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		big_records_are_announced, setup, teardown),
	    cmocka_unit_test_setup_teardown(damage_is_noticed, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
