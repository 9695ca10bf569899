/*
 * subscribe_test.c - subscriptions, where they begin, their progress, and
 * rings.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "member.h"
#include "proto/name.h"

/* --- joining and acknowledging ------------------------------------------- */

static void
a_member_gets_ring_and_table(void **state)
{
	struct lt_ring_reader reader;
	struct lt_ring_head head;
	struct play_sub sub;

	member_publish(3);
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	assert_true(sub.has_ring);
	assert_true(sub.has_table);
	assert_int_equal(sub.offset, 0);
	assert_int_equal(sub.max_offset, 3);
	assert_true(play_is_watched(member_client.session, sub.topic_id, 0));
	member_publish(1);
	lt_ring_reader_init(&reader, &sub.ring_seg);
	assert_int_equal(lt_ring_seek(&reader, 3), LEAT_OK);
	assert_int_equal(lt_ring_peek(&reader, &head), LEAT_OK);
	assert_int_equal(head.queue_offset, 3);
	/* What was before the ring has to be fetched. */
	assert_int_equal(lt_ring_seek(&reader, 2), LEAT_E_LAPPED);
	assert_int_equal(play_unsubscribe(&member_client, sub.id), LEAT_OK);
	assert_false(play_is_watched(member_client.session, sub.topic_id, 0));
	assert_int_equal(
	    play_unsubscribe(&member_client, sub.id), LEAT_E_NOTFOUND);
	play_sub_fini(&sub);
}

static void
where_to_begin(void **state)
{
	struct play_sub sub;

	member_publish(10);
	play_pass(1000);
	member_publish(10);
	struct {
		uint32_t from;
		int64_t value;
		int64_t offset;
	} cases[] = {{LEAT_FROM_DEFAULT, 0, 20}, {LEAT_FROM_BEGIN, 0, 0},
	    {LEAT_FROM_END, 0, 20}, {LEAT_FROM_OFFSET, 7, 7},
	    {LEAT_FROM_OFFSET, -5, 15}, {LEAT_FROM_OFFSET, 99, 20},
	    {LEAT_FROM_OFFSET, -99, 0},
	    {LEAT_FROM_TIME, 1700000000000 + (int64_t)play_now_ms, 10},
	    {LEAT_FROM_TIME, 0, 0}, {LEAT_FROM_TIME, INT64_MAX, 20}};
	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		assert_int_equal(
		    play_subscribe(&member_client, &sub, "t", 0, "",
			LEAT_CLUSTERING, "", cases[i].from, cases[i].value),
		    LEAT_OK);
		assert_int_equal(sub.offset, cases[i].offset);
		assert_false(sub.has_table);
		play_sub_fini(&sub);
	}
	/* A damaged record in the way of the search. */
	play_damage("t", 0, 10);
	assert_int_equal(
	    play_subscribe(&member_client, &sub, "t", 0, "", 0, "",
		LEAT_FROM_TIME, 1700000000000 + (int64_t)play_now_ms),
	    LEAT_OK);
	assert_in_range(sub.offset, 10, 11);
	play_sub_fini(&sub);
	/* A new group begins at the beginning unless told otherwise. */
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	assert_int_equal(sub.offset, 0);
	play_sub_fini(&sub);
	assert_int_equal(play_subscribe(&member_client, &sub, "t", 0, "h",
			     LEAT_CLUSTERING, "", LEAT_FROM_OFFSET, 4),
	    LEAT_OK);
	assert_int_equal(sub.offset, 4);
	play_sub_fini(&sub);
}

static void
subscribing_is_checked(void **state)
{
	struct play_sub sub;

	assert_int_equal(
	    play_subscribe(&member_client, &sub, "none", 0, "g", 0, "", 0, 0),
	    LEAT_E_NOTFOUND);
	assert_int_equal(
	    play_subscribe(&member_client, &sub, "t", 2, "g", 0, "", 0, 0),
	    LEAT_E_QUEUE);
	assert_int_equal(
	    play_subscribe(&member_client, &sub, "t", 0, "a/b", 0, "", 0, 0),
	    LEAT_E_NAME);
	assert_int_equal(
	    play_subscribe(&member_client, &sub, "t", 0, "g", 7, "", 0, 0),
	    LEAT_E_INVALID);
	assert_int_equal(
	    play_subscribe(&member_client, &sub, "t", 0, "g", 0, "", 9, 0),
	    LEAT_E_INVALID);
}

static void
progress_is_harvested_and_logged(void **state)
{
	struct play_sub sub;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	int64_t before = play_records(LT_NAME_PROGRESS_TOPIC);
	member_consume(&sub, 0, 6);
	play_pass(3000);
	assert_int_equal(member_progress_of("g"), 6);
	assert_int_equal(atomic_load(&sub.table.shared->progress), 6);
	int64_t after = play_records(LT_NAME_PROGRESS_TOPIC);
	assert_true(after > before);
	/* Nothing new, nothing logged. */
	play_pass(10000);
	assert_int_equal(play_records(LT_NAME_PROGRESS_TOPIC), after);
	play_sub_fini(&sub);
	member_restart_broker();
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	assert_int_equal(sub.offset, 6);
	play_sub_fini(&sub);
}

static void
leaving_logs_at_once(void **state)
{
	struct play_sub sub;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	member_consume(&sub, 0, 10);
	assert_int_equal(play_unsubscribe(&member_client, sub.id), LEAT_OK);
	/* The table stays until the log knows what it says. */
	assert_int_equal(play_kept(LT_KEEP_TABLE), 1);
	play_pass(3000);
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
	play_sub_fini(&sub);
	member_restart_broker();
	assert_int_equal(member_progress_of("g"), 10);
}

static void
an_orderly_stop_logs(void **state)
{
	struct play_sub sub;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	member_consume(&sub, 0, 4);
	assert_true(play_queue_stop());
	play_sub_fini(&sub);
	member_restart_broker();
	assert_int_equal(member_progress_of("g"), 4);
}

static void
a_refused_record_is_tried_again(void **state)
{
	struct play_sub sub;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &sub, "g"), LEAT_OK);
	play_refuse_appends(LEAT_E_NOSPACE);
	member_consume(&sub, 0, 5);
	play_pass(5000);
	play_refuse_appends(LEAT_OK);
	play_pass(3000);
	play_sub_fini(&sub);
	member_restart_broker();
	assert_int_equal(member_progress_of("g"), 5);
}

/* --- rings
 * --------------------------------------------------------------------------------
 */

static void
rings_are_limited_and_go_when_idle(void **state)
{
	struct play_sub a, b;

	play_manager()->options.queue_rings_max = 1;
	assert_int_equal(
	    play_subscribe(&member_client, &a, "t", 0, "", 0, "", 0, 0),
	    LEAT_OK);
	assert_int_equal(
	    play_subscribe(&member_client, &b, "t", 1, "", 0, "", 0, 0),
	    LEAT_OK);
	assert_true(a.has_ring);
	assert_false(b.has_ring);
	assert_true(play_is_watched(member_client.session, b.topic_id, 1));
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_sub_fini(&a);
	play_pass(play_options.queue_ring_idle_ms + 1000);
	assert_int_equal(play_store_got(LT_OP_S_UNRING), 1);
	assert_int_equal(play_manager()->ring_count, 0);
	play_sub_fini(&b);
	assert_int_equal(
	    play_subscribe(&member_client, &b, "t", 1, "", 0, "", 0, 0),
	    LEAT_OK);
	assert_true(b.has_ring);
	play_sub_fini(&b);
}

static void
rings_grow_by_replacement(void **state)
{
	struct lt_wire_number req;
	struct play_client d;
	struct play_sub a, b;
	uint64_t bytes = play_options.queue_ring_bytes;

	member_publish(1);
	member_connect_client(&d);
	assert_int_equal(
	    play_subscribe(&member_client, &a, "t", 0, "", 0, "", 0, 0),
	    LEAT_OK);
	assert_int_equal(
	    play_subscribe(&d, &b, "t", 0, "", 0, "", 0, 0), LEAT_OK);
	assert_int_equal(a.ring_seg.head.data_bytes, bytes);
	memset(&req, 0, sizeof(req));
	req.number = a.id;
	assert_int_equal(
	    play_call(&member_client, LT_OP_RING_GROW, &req, sizeof(req)),
	    LEAT_OK);
	(void)play_receive(&d);
	(void)play_receive(&member_client);
	assert_int_equal(member_client.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(d.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&member_client, &a, "t", 0, "", 0, 1, a.id),
	    LEAT_OK);
	assert_int_equal(a.ring_seg.head.data_bytes, bytes * 2);
	assert_int_equal(a.offset, 1);
	play_manager()->options.queue_ring_max_bytes = bytes * 2;
	req.number = a.id;
	assert_int_equal(
	    play_call(&member_client, LT_OP_RING_GROW, &req, sizeof(req)),
	    LEAT_E_LIMIT);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, member_setup, member_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_member_gets_ring_and_table),
	    TEST(where_to_begin),
	    TEST(subscribing_is_checked),
	    TEST(progress_is_harvested_and_logged),
	    TEST(leaving_logs_at_once),
	    TEST(an_orderly_stop_logs),
	    TEST(a_refused_record_is_tried_again),
	    TEST(rings_are_limited_and_go_when_idle),
	    TEST(rings_grow_by_replacement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
