/* grouptable_test.c - transitions, window, harvest, hostile words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "leat/status.h"
#include "shm/grouptable.h"

#define W 64

static struct lt_segment seg;
static int seg_fd;
static struct lt_table t;
static uint32_t attempt;

static void
fresh(int64_t first)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_TABLE,
	    .data_bytes = lt_table_bytes(W),
	    .extra = {(uint64_t)first, W}};

	assert_int_equal(
	    lt_segment_create(&seg, "test-table", &head, 1, &seg_fd), LEAT_OK);
	lt_table_format(&seg, first, W);
	assert_int_equal(lt_table_init(&t, &seg), LEAT_OK);
	assert_int_equal(lt_table_valid(&t, first), LEAT_OK);
}

static int
teardown(void **state)
{
	lt_segment_detach(&seg);
	close(seg_fd);
	return 0;
}

static void
one_owner_at_a_time(void **state)
{
	fresh(10);
	assert_int_equal(lt_table_claim(&t, 10, 1, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 0);
	assert_int_equal(lt_table_claim(&t, 10, 2, 0, &attempt), LEAT_E_BUSY);
	assert_int_equal(lt_table_ack(&t, 10, 2), LEAT_E_LEASE);
	assert_int_equal(lt_table_nack(&t, 10, 1), LEAT_OK);
	assert_int_equal(lt_table_ack(&t, 10, 1), LEAT_E_LEASE);
	assert_true(lt_table_is_free(&t, 10));
	assert_int_equal(lt_table_claim(&t, 10, 2, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(lt_table_unclaim(&t, 10, 2), LEAT_OK);
	assert_int_equal(lt_table_claim(&t, 10, 3, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(lt_table_ack(&t, 10, 3), LEAT_OK);
	assert_int_equal(lt_table_claim(&t, 10, 3, 0, &attempt), LEAT_E_BUSY);
	assert_false(lt_table_is_free(&t, 10));
}

static void
window_stops_at_the_oldest(void **state)
{
	struct lt_table_sweep s;

	fresh(0);
	assert_int_equal(lt_table_claim(&t, 0, 1, 0, &attempt), LEAT_OK);
	for (int64_t i = 1; i < W; i++) {
		assert_int_equal(
		    lt_table_claim(&t, i, 1, 0, &attempt), LEAT_OK);
		assert_int_equal(lt_table_ack(&t, i, 1), LEAT_OK);
	}
	assert_int_equal(lt_table_claim(&t, W, 1, 0, &attempt), LEAT_E_LIMIT);
	assert_true(lt_table_is_full(&t, W));
	assert_true(lt_table_is_full(&t, 2 * W + 1));
	assert_false(lt_table_is_full(&t, W + 1));
	assert_false(lt_table_is_full(&t, 1));
	lt_table_harvest(&t, 0, 1000, 0, 0, 0, &s);
	assert_int_equal(s.progress, 0);
	assert_int_equal(s.claimed, 1);
	/* As uneven as honest members leave it. */
	assert_int_equal(lt_table_valid(&t, 0), LEAT_OK);
	t.words[1] += 1ULL << 40;
	assert_int_equal(lt_table_valid(&t, 0), LEAT_E_CORRUPT);
	t.words[1] -= 1ULL << 40;
	assert_int_equal(lt_table_ack(&t, 0, 1), LEAT_OK);
	lt_table_harvest(&t, 0, 1000, 0, 0, 0, &s);
	assert_int_equal(s.progress, W);
	assert_int_equal(lt_table_claim(&t, W, 1, 0, &attempt), LEAT_OK);
	/* An acknowledgement of the last lap does not touch this one. */
	assert_int_equal(lt_table_ack(&t, 0, 1), LEAT_E_LEASE);
	/* Never beyond what the queue holds, whatever the words say. */
	lt_table_harvest(&t, W, W, 0, 0, 0, &s);
	assert_int_equal(s.progress, W);
}

static void
moves_on_without_harvest(void **state)
{
	struct lt_table_sweep s;

	fresh(0);
	for (int64_t i = 0; i < 3 * W + 5; i++) {
		assert_int_equal(
		    lt_table_claim(&t, i, 1, 0, &attempt), LEAT_OK);
		assert_int_equal(lt_table_ack(&t, i, 1), LEAT_OK);
	}
	/* A harvest that comes laps late sees all of it. */
	lt_table_harvest(&t, 0, 10000, 0, 0, 0, &s);
	assert_int_equal(s.progress, 3 * W + 5);
	assert_int_equal(s.expired, 0);
	assert_int_equal(lt_table_valid(&t, 3 * W + 5), LEAT_OK);
	assert_int_equal(
	    lt_table_claim(&t, 6 * W, 1, 0, &attempt), LEAT_E_LIMIT);
}

static void
members_are_ahead_of_the_manager(void **state)
{
	struct lt_table_sweep s;

	/* The queue manager knows 5 offsets, members have gone laps on. */
	fresh(0);
	for (int64_t i = 0; i < 2 * W; i++) {
		assert_int_equal(
		    lt_table_claim(&t, i, 1, 0, &attempt), LEAT_OK);
		assert_int_equal(lt_table_ack(&t, i, 1), LEAT_OK);
	}
	assert_int_equal(lt_table_claim(&t, 2 * W, 1, 0, &attempt), LEAT_OK);
	lt_table_harvest(&t, 0, 5, 0, 0, 0, &s);
	assert_int_equal(s.progress, 5);
	assert_int_equal(s.expired, 0);
	assert_false(lt_table_is_free(&t, W));
	assert_int_equal(lt_table_ack(&t, 2 * W, 1), LEAT_OK);
	lt_table_harvest(&t, 5, 10 * W, 0, 0, 0, &s);
	assert_int_equal(s.progress, 2 * W + 1);
}

static void
lease_and_death(void **state)
{
	struct lt_table_sweep s;
	uint32_t now = lt_table_stamp(100000);

	fresh(0);
	assert_int_equal(lt_table_claim(&t, 0, 1, now, &attempt), LEAT_OK);
	assert_int_equal(lt_table_claim(&t, 1, 2, now, &attempt), LEAT_OK);
	lt_table_harvest(&t, 0, 10, 100900, 1000, 0, &s);
	assert_int_equal(s.expired, 0);
	assert_int_equal(s.claimed, 2);
	lt_table_harvest(&t, 0, 10, 100900, 1000, 2, &s);
	assert_int_equal(s.expired, 1);
	assert_int_equal(s.claimed, 1);
	assert_int_equal(lt_table_extend(&t, 0, 1, lt_table_stamp(102000)), 0);
	lt_table_harvest(&t, 0, 10, 102500, 1000, 0, &s);
	assert_int_equal(s.expired, 0);
	lt_table_harvest(&t, 0, 10, 104000, 1000, 0, &s);
	assert_int_equal(s.expired, 1);
	assert_int_equal(atomic_load(&t.shared->returned), 2);
	assert_int_equal(lt_table_claim(&t, 0, 3, now, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
}

static void
what_is_gone_is_done(void **state)
{
	struct lt_table_sweep s;

	fresh(10);
	assert_int_equal(lt_table_claim(&t, 12, 1, 0, &attempt), LEAT_OK);
	assert_int_equal(lt_table_claim(&t, 11, 1, 0, &attempt), LEAT_OK);
	assert_int_equal(lt_table_nack(&t, 11, 1), LEAT_OK);
	assert_int_equal(lt_table_claim(&t, 20, 1, 0, &attempt), LEAT_OK);
	assert_int_equal(lt_table_ack(&t, 20, 1), LEAT_OK);
	/* As far as the claim lets the window go. */
	assert_int_equal(lt_table_retire(&t, 10, 5 * W), W + 2 - 2);
	assert_int_equal(lt_table_valid(&t, 10), LEAT_OK);
	lt_table_harvest(&t, 10, 10 * W, 0, 0, 0, &s);
	assert_int_equal(s.progress, 12);
	assert_int_equal(s.claimed, 1);
	assert_int_equal(lt_table_claim(&t, 11, 2, 0, &attempt), LEAT_E_BUSY);
	assert_int_equal(lt_table_ack(&t, 12, 1), LEAT_OK);
	assert_int_equal(lt_table_retire(&t, 12, 5 * W), 4 * W - 12);
	assert_int_equal(lt_table_valid(&t, 12), LEAT_OK);
	lt_table_harvest(&t, 12, 10 * W, 0, 0, 0, &s);
	assert_int_equal(s.progress, 5 * W);
	assert_int_equal(lt_table_retire(&t, 5 * W, 5 * W), 0);
	assert_int_equal(lt_table_claim(&t, 5 * W, 1, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 0);
}

static void
scribbles_harm_nothing(void **state)
{
	struct lt_table_sweep s;
	int64_t progress = 1000000;

	fresh(progress);
	srandom(7);
	for (int round = 0; round < 20000; round++) {
		t.words[random() % W] = ((uint64_t)random() << 42) ^
					((uint64_t)random() << 21) ^
					(uint64_t)random();
		lt_table_harvest(&t, progress, 1000500, 5000, 1000, 0, &s);
		assert_true(s.progress >= progress);
		assert_true(s.progress <= 1000500);
		progress = s.progress;
	}
}

static void
foreign_table_is_refused(void **state)
{
	struct lt_table other;

	fresh(0);
	seg.head.extra[1] = 63;
	assert_int_equal(lt_table_init(&other, &seg), LEAT_E_CORRUPT);
	seg.head.extra[1] = 128;
	assert_int_equal(lt_table_init(&other, &seg), LEAT_E_CORRUPT);
	seg.head.extra[1] = 0;
	assert_int_equal(lt_table_init(&other, &seg), LEAT_E_CORRUPT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(one_owner_at_a_time, teardown),
	    cmocka_unit_test_teardown(window_stops_at_the_oldest, teardown),
	    cmocka_unit_test_teardown(moves_on_without_harvest, teardown),
	    cmocka_unit_test_teardown(
		members_are_ahead_of_the_manager, teardown),
	    cmocka_unit_test_teardown(lease_and_death, teardown),
	    cmocka_unit_test_teardown(what_is_gone_is_done, teardown),
	    cmocka_unit_test_teardown(scribbles_harm_nothing, teardown),
	    cmocka_unit_test_teardown(foreign_table_is_refused, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
