/*
 * groupops_test.c - list, seek and delete groups; what happens to them when
 * their messages go.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "member.h"

/* --- list, seek, delete -------------------------------------------------- */

static void
seek_is_tried_first(void **state)
{
	const struct lt_wire_groups *r =
	    (const void *)member_client.reply.bytes;
	const struct lt_wire_group_entry *e = (const void *)(r + 1);
	struct play_sub a;

	member_publish(10);
	assert_int_equal(
	    member_seek("g", LEAT_FROM_END, 0, 1), LEAT_E_NOTFOUND);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	assert_int_equal(member_seek("g", LEAT_FROM_OFFSET, 8, 0), LEAT_OK);
	assert_int_equal(r->count, 2); /* queues */
	assert_int_equal(e[0].progress, 8);
	assert_int_equal(e[0].max_offset, 10);
	assert_int_equal(member_progress_of("g"), 5);
	play_sub_fini(&a);
}

static void
seek_moves_live_members(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	assert_int_equal(member_claim(&a, 5, &attempt), LEAT_OK);
	uint64_t table = a.table_inode;
	assert_int_equal(member_seek("g", LEAT_FROM_OFFSET, 2, 1), LEAT_OK);
	assert_int_equal(atomic_load(&a.table.shared->closed), 1);
	(void)play_receive(&member_client);
	assert_int_equal(member_client.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(play_resubscribe(&member_client, &a, "t", 0, "g",
			     LEAT_CLUSTERING, 6, a.id),
	    LEAT_OK);
	assert_int_not_equal(a.table_inode, table);
	assert_int_equal(a.offset, 2);
	assert_int_equal(member_listed("g", NULL)->members, 1);
	member_consume(&a, 2, 4);
	assert_int_equal(member_progress_of("g"), 4);
	play_sub_fini(&a);
	/* Durable: even back. */
	assert_int_equal(member_seek("g", LEAT_FROM_BEGIN, 0, 1), LEAT_OK);
	member_restart_broker();
	assert_int_equal(member_progress_of("g"), 0);
}

/* We die with the seek logged and the table not replaced. */
static void
our_own_death_behind_a_seek(void **state)
{
	struct play_client again;
	struct play_sub a;
	struct lt_wire_seek req;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	play_pass(3000);
	memset(&req, 0, sizeof(req));
	req.from = LEAT_FROM_OFFSET;
	req.value = 2;
	req.apply = 1;
	strcpy(req.group, "g");
	strcpy(req.topic, "t");
	play_freeze_at(LT_OP_S_APPEND);
	play_post(&member_client, LT_OP_GROUP_SEEK, &req, sizeof(req));
	assert_int_equal(play_receive(&member_client), 0);
	play_queue_kill();
	play_queue_start();
	play_connect(&again);
	assert_int_equal(play_resume(&again, &member_client), LEAT_OK);
	play_close(&member_client);
	member_client = again;
	assert_int_equal(member_progress_of("g"), 2);
	assert_int_equal(play_resubscribe(&member_client, &a, "t", 0, "g",
			     LEAT_CLUSTERING, 5, a.id),
	    LEAT_OK);
	assert_int_equal(a.offset, 2);
	member_consume(&a, 2, 6);
	assert_int_equal(member_progress_of("g"), 6);
	play_sub_fini(&a);
}

/* A seek that the log refuses changes nothing, now or later. */
static void
a_refused_seek_leaves_the_table(void **state)
{
	struct play_client again;
	struct play_sub a;
	uint32_t attempt;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	assert_int_equal(member_claim(&a, 5, &attempt), LEAT_OK);
	uint64_t table = a.table_inode, old = a.id;
	play_refuse_appends(LEAT_E_NOSPACE);
	assert_int_equal(
	    member_seek("g", LEAT_FROM_BEGIN, 0, 1), LEAT_E_NOSPACE);
	play_refuse_appends(LEAT_OK);
	play_queue_kill();
	play_queue_start();
	play_connect(&again);
	assert_int_equal(play_resume(&again, &member_client), LEAT_OK);
	play_close(&member_client);
	member_client = again;
	assert_int_equal(play_resubscribe(&member_client, &a, "t", 0, "g",
			     LEAT_CLUSTERING, 6, old),
	    LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.offset, 6);
	play_sub_fini(&a);
}

static void
a_seek_beats_a_flush_under_way(void **state)
{
	struct play_sub a;
	struct lt_wire_seek req;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	memset(&req, 0, sizeof(req));
	req.from = LEAT_FROM_OFFSET;
	req.value = 1;
	req.apply = 1;
	strcpy(req.group, "g");
	strcpy(req.topic, "t");
	play_store_mute(1);
	play_post(&member_client, LT_OP_GROUP_SEEK, &req, sizeof(req));
	play_pass(3000); /* progress of 5 would be due */
	play_store_mute(0);
	assert_int_equal(play_receive(&member_client), 1);
	play_sub_fini(&a);
	member_restart_broker();
	assert_int_equal(member_progress_of("g"), 1);
}

static void
groups_are_deleted_without_members(void **state)
{
	struct play_sub a;
	struct lt_wire_group req;
	uint32_t count;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	assert_int_equal(member_delete_group("g"), LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_sub_fini(&a);
	assert_int_equal(member_delete_group("g"), LEAT_OK);
	assert_int_equal(member_delete_group("g"), LEAT_E_NOTFOUND);
	play_pass(3000);
	(void)member_listed("", &count);
	assert_int_equal(count, 0);
	member_restart_broker();
	memset(&req, 0, sizeof(req));
	strcpy(req.group, "g");
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_LIST, &req, sizeof(req)),
	    LEAT_E_NOTFOUND);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

static void
lag_is_up_to_date(void **state)
{
	struct play_sub a;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_pass(play_options.queue_ring_idle_ms + 1000); /* no ring now */
	member_publish(5);
	assert_int_equal(member_listed("g", NULL)->max_offset, 15);
	assert_int_equal(member_listed("g", NULL)->members, 0);
	play_sub_fini(&a);
}

/* Members keep table, claims and what they acknowledged behind the gap. */
static void
retention_overtakes_a_group(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	member_publish(20);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 3);
	assert_int_equal(member_claim(&a, 5, &attempt), LEAT_OK);
	member_consume(&a, 14, 16);
	play_retain("t", 0, 12);
	play_pass(3000);
	assert_int_equal(atomic_load(&a.table.shared->closed), 0);
	(void)play_receive(&member_client);
	assert_int_equal(member_client.events[LT_OP_EV_MOVED], 0);
	assert_int_equal(member_progress_of("g"), 5);
	assert_int_equal(lt_table_ack(&a.table, 5, (uint16_t)a.owner), LEAT_OK);
	play_pass(3000);
	assert_int_equal(member_progress_of("g"), 12);
	member_consume(&a, 12, 14);
	assert_int_equal(member_claim(&a, 14, &attempt), LEAT_E_BUSY);
	member_consume(&a, 16, 20);
	assert_int_equal(member_progress_of("g"), 20);
	play_sub_fini(&a);
}

/* A claim that stands below what is gone comes back, and is gone then. */
static void
retention_overtakes_a_dead_member(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	member_publish(20);
	member_connect_client(&d);
	play_give_process(d.session);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(member_claim(&b, 0, &attempt), LEAT_OK);
	member_consume(&a, 1, 15);
	play_retain("t", 0, 12);
	play_pass(3000);
	assert_int_equal(member_progress_of("g"), 0);
	play_kill_process();
	play_pass(3000);
	assert_int_equal(member_progress_of("g"), 15);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_E_BUSY);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

/* Who joins a group that is behind the log's begin finds its table. */
static void
a_member_joins_behind_what_is_retained(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	member_publish(20);
	member_connect_client(&d);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_claim(&a, 1, &attempt), LEAT_OK);
	member_consume(&a, 14, 16);
	play_retain("t", 0, 12);
	assert_int_equal(member_join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(b.table_inode, a.table_inode);
	assert_int_equal(b.offset, 12);
	assert_int_equal(member_claim(&b, 14, &attempt), LEAT_E_BUSY);
	assert_int_equal(lt_table_ack(&a.table, 1, (uint16_t)a.owner), LEAT_OK);
	member_consume(&b, 12, 14);
	play_pass(3000);
	assert_int_equal(member_progress_of("g"), 16);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

static void
a_deleted_topic_takes_its_progress_along(void **state)
{
	struct lt_wire_name req;
	struct play_sub a;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 5);
	memset(&req, 0, sizeof(req));
	strcpy(req.name, "t");
	assert_int_equal(
	    play_call(&member_client, LT_OP_TOPIC_DELETE, &req, sizeof(req)),
	    LEAT_OK);
	(void)play_receive(&member_client);
	assert_int_equal(member_client.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(play_resubscribe(&member_client, &a, "t", 0, "g",
			     LEAT_CLUSTERING, 5, a.id),
	    LEAT_E_NOTFOUND);
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
	assert_int_equal(play_create(&member_client, "t", 2), LEAT_OK);
	member_restart_broker();
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

/* An idle broker with members has next to nothing to do. */
static void
idle_members_cost_nothing(void **state)
{
	struct play_sub a;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 10);
	play_pass(10000);
	assert_in_range(
	    lt_progress_timeout(play_manager(), play_now_ms), 500, 1000);
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_pass(1000);
	assert_int_equal(lt_progress_timeout(play_manager(), play_now_ms), -1);
	play_sub_fini(&a);
}

/* More answers of the store than fit into its socket: all are read, and who
 * asks behind them is served. */
static void
many_answers_at_once(void **state)
{
	struct play_client other;
	struct lt_wire_seek seek;
	struct lt_wire_none ping;
	struct play_sub a;

	assert_int_equal(play_create(&member_client, "wide", 200), LEAT_OK);
	assert_int_equal(play_subscribe(&member_client, &a, "wide", 0, "g",
			     LEAT_CLUSTERING, "", LEAT_FROM_BEGIN, 0),
	    LEAT_OK);
	play_connect(&other);
	assert_int_equal(play_hello(&other), LEAT_OK);
	memset(&seek, 0, sizeof(seek));
	seek.from = LEAT_FROM_BEGIN;
	strcpy(seek.group, "g");
	strcpy(seek.topic, "wide");
	for (int i = 0; i < LT_JOBS_MAX; i++)
		play_post(&other, LT_OP_GROUP_SEEK, &seek, sizeof(seek));
	assert_int_equal(
	    play_call(&member_client, LT_OP_PING, &ping, sizeof(ping)),
	    LEAT_OK);
	assert_in_range(play_store_got(LT_OP_S_QUEUE_SYNC), 300, 2000);
	play_close(&other);
	play_sub_fini(&a);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, member_setup, member_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(seek_is_tried_first),
	    TEST(seek_moves_live_members),
	    TEST(our_own_death_behind_a_seek),
	    TEST(a_refused_seek_leaves_the_table),
	    TEST(a_seek_beats_a_flush_under_way),
	    TEST(groups_are_deleted_without_members),
	    TEST(lag_is_up_to_date),
	    TEST(retention_overtakes_a_group),
	    TEST(retention_overtakes_a_dead_member),
	    TEST(a_member_joins_behind_what_is_retained),
	    TEST(a_deleted_topic_takes_its_progress_along),
	    TEST(idle_members_cost_nothing),
	    TEST(many_answers_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
