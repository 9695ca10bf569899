/* lane_test.c - order, wrap, full lane, and every header a client can forge. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "leat/status.h"
#include "shm/lane.h"

#define SIZE 65536u

static struct lt_segment seg;
static int seg_fd;

static int
setup(void **state)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_LANE, .data_bytes = SIZE};

	return lt_segment_create(&seg, "test-lane", &head, 1, &seg_fd);
}

static int
teardown(void **state)
{
	lt_segment_detach(&seg);
	close(seg_fd);
	return 0;
}

static int
put(struct lt_lane_writer *w, uint64_t head, uint64_t seq, uint32_t bytes)
{
	struct lt_lane_rec rec = {
	    .kind = LT_LANE_PUBLISH, .bytes = bytes, .seq = seq};
	uint8_t *p;
	int status = lt_lane_claim(w, head, bytes, &p);

	if (status != LEAT_OK)
		return status;
	memset(p, (int)(seq & 0xff), bytes);
	lt_lane_put(w, &rec);
	return LEAT_OK;
}

static void
order_and_wrap(void **state)
{
	struct lt_lane_writer w;
	struct lt_lane_reader r;
	struct lt_lane_rec rec;
	const uint8_t *p;
	uint64_t seq = 0, seen = 0;

	lt_lane_writer_init(&w, &seg, 0);
	lt_lane_reader_init(&r, &seg, 0);
	while (seen < 5000) {
		while (put(&w, r.head, seq + 1,
			   1 + (uint32_t)(seq * 37 % 3000)) == LEAT_OK)
			seq++;
		assert_int_equal(lt_lane_poll(&r), r.head != r.tail);
		lt_lane_publish(&w);
		assert_int_equal(lt_lane_poll(&r), 1);
		assert_int_equal(lt_lane_valid(&r), LEAT_OK);
		while (lt_lane_peek(&r, &rec, &p) == LEAT_OK) {
			assert_int_equal(rec.seq, ++seen);
			assert_int_equal(
			    rec.bytes, 1 + (uint32_t)((seen - 1) * 37 % 3000));
			assert_int_equal(p[0], seen & 0xff);
			assert_int_equal(p[rec.bytes - 1], seen & 0xff);
			lt_lane_next(&r, &rec);
		}
	}
	assert_int_equal(seen, seq);
}

static void
unpublished_is_invisible(void **state)
{
	struct lt_lane_writer w;
	struct lt_lane_reader r;

	lt_lane_writer_init(&w, &seg, 0);
	lt_lane_reader_init(&r, &seg, 0);
	assert_int_equal(put(&w, 0, 1, 100), LEAT_OK);
	assert_int_equal(lt_lane_poll(&r), 0);
	lt_lane_publish(&w);
	assert_int_equal(lt_lane_poll(&r), 1);
}

static void
too_big_and_full(void **state)
{
	struct lt_lane_writer w;
	uint8_t *p;

	lt_lane_writer_init(&w, &seg, 0);
	assert_int_equal(lt_lane_claim(&w, 0, SIZE / 2, &p), LEAT_E_TOOBIG);
	assert_int_equal(put(&w, 0, 1, SIZE / 2 - 32), LEAT_OK);
	assert_int_equal(put(&w, 0, 2, SIZE / 2 - 32), LEAT_OK);
	assert_int_equal(put(&w, 0, 3, 1), LEAT_E_AGAIN);
	/* A broker that shows a head beyond the tail is not believed. */
	assert_int_equal(lt_lane_claim(&w, SIZE + 32, 1, &p), LEAT_E_CORRUPT);
}

static void
forged_tail(void **state)
{
	static const uint64_t bad[] = {
	    1, 33, SIZE + 32, UINT64_MAX, UINT64_MAX - 31};
	struct lt_lane_shared *shared = seg.base;
	struct lt_lane_reader r;

	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		lt_lane_reader_init(&r, &seg, 0);
		atomic_store(&shared->tail, bad[i]);
		assert_int_equal(lt_lane_poll(&r), LEAT_E_CORRUPT);
	}
	/* Backwards. */
	lt_lane_reader_init(&r, &seg, 0);
	atomic_store(&shared->tail, 128);
	assert_int_equal(lt_lane_poll(&r), 1);
	atomic_store(&shared->tail, 64);
	assert_int_equal(lt_lane_poll(&r), LEAT_E_CORRUPT);
}

static void
forged_header(void **state)
{
	struct lt_lane_rec bad[] = {
	    {.kind = LT_LANE_PUBLISH, .bytes = 0},
	    {.kind = LT_LANE_PUBLISH, .bytes = 225},
	    {.kind = LT_LANE_PUBLISH, .bytes = UINT32_MAX},
	    {.kind = LT_LANE_PUBLISH, .bytes = SIZE},
	    {.kind = LT_LANE_PAD, .bytes = 32},
	    {.kind = LT_LANE_PAD, .bytes = SIZE - 32},
	    {.kind = 0, .bytes = 32},
	    {.kind = 77, .bytes = 32},
	};
	struct lt_lane_shared *shared = seg.base;
	struct lt_lane_reader r;
	struct lt_lane_rec rec;
	const uint8_t *p;

	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		lt_lane_reader_init(&r, &seg, 0);
		memcpy((char *)seg.base + LT_SEGMENT_DATA_AT, &bad[i],
		    sizeof(bad[i]));
		atomic_store(&shared->tail, 256);
		assert_int_equal(lt_lane_poll(&r), 1);
		assert_int_equal(lt_lane_peek(&r, &rec, &p), LEAT_E_CORRUPT);
		assert_int_equal(lt_lane_valid(&r), LEAT_E_CORRUPT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(order_and_wrap, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		unpublished_is_invisible, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_big_and_full, setup, teardown),
	    cmocka_unit_test_setup_teardown(forged_tail, setup, teardown),
	    cmocka_unit_test_setup_teardown(forged_header, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
