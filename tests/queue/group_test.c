/*
 * group_test.c - members of groups: joining, sharing, dying, leases, and what
 * of them outlives each process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "member.h"
#include "proto/name.h"

/* --- members ------------------------------------------------------------- */

static void
members_share_a_table(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	member_publish(4);
	member_connect_client(&d);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(a.table_inode, b.table_inode);
	assert_int_not_equal(a.owner, b.owner);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(member_claim(&b, 0, &attempt), LEAT_E_BUSY);
	assert_int_equal(member_listed("g", NULL)->members, 2);
	assert_int_equal(member_listed("g", NULL)->claimed, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

static void
modes_do_not_mix(void **state)
{
	struct play_client d;
	struct play_sub a, b;

	member_connect_client(&d);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(
	    play_subscribe(&d, &b, "t", 1, "g", LEAT_BROADCASTING, "m", 0, 0),
	    LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	assert_int_equal(
	    play_subscribe(&d, &b, "t", 1, "g", LEAT_BROADCASTING, "m", 0, 0),
	    LEAT_OK);
	assert_false(b.has_table);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

static void
a_dead_member_gives_its_claims_back(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	member_publish(4);
	member_connect_client(&d);
	play_give_process(d.session);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(member_claim(&b, 0, &attempt), LEAT_OK);
	uint32_t returned = atomic_load(&a.table.shared->returned);
	unsigned wakes = play_wakes(member_client.session);
	play_kill_process();
	assert_true(atomic_load(&a.table.shared->returned) > returned);
	assert_true(play_wakes(member_client.session) > wakes);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(member_listed("g", NULL)->members, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

/* It lives, but does not come back to a new queue manager in time: when its
 * table goes it is told, else it would go on in one that nobody harvests. */
static void
a_member_out_of_sight_sees_its_table_closed(void **state)
{
	struct play_sub a;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 3);
	play_queue_kill();
	play_queue_start();
	play_pass(play_options.queue_session_grace_ms + 2000);
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
	assert_int_equal(atomic_load(&a.table.shared->closed), 1);
	play_sub_fini(&a);
}

static void
a_slow_member_loses_its_lease(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	member_publish(4);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_claim(&a, 1, &attempt), LEAT_OK);
	play_pass(play_options.queue_lease_ms - 2000);
	assert_int_equal(member_claim(&a, 1, &attempt), LEAT_E_BUSY);
	play_pass(4000);
	assert_int_equal(
	    lt_table_ack(&a.table, 1, (uint16_t)a.owner), LEAT_E_LEASE);
	assert_int_equal(member_claim(&a, 1, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	play_sub_fini(&a);
}

/* What is done behind a hole survives a member's short absence. */
static void
holes_outlive_the_last_member_for_a_while(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_OK);
	member_consume(&a, 1, 5);
	uint64_t table = a.table_inode;
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_sub_fini(&a);
	play_pass(5000);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.offset, 0);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(member_claim(&a, 1, &attempt), LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_sub_fini(&a);
	play_pass(LT_TABLE_REST_MS + 2000);
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
}

static void
other_users_do_not_share_a_table(void **state)
{
	struct lt_manager *m = play_manager();
	struct play_client d, e;
	struct play_sub a, b;

	m->options.access_count = 2;
	m->options.access[0] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_ANY,
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_SUBSCRIBE,
		.pattern = "*"};
	m->options.access[1] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_ANY,
		.what = LT_ACCESS_GROUP,
		.rights = LT_RIGHT_SUBSCRIBE,
		.pattern = "*"};
	play_connect_as(&d, 4001);
	play_connect_as(&e, 4002);
	assert_int_equal(play_hello(&d), LEAT_OK);
	assert_int_equal(play_hello(&e), LEAT_OK);
	assert_int_equal(member_join(&d, &a, "g"), LEAT_OK);
	assert_int_equal(member_join(&e, &b, "g"), LEAT_E_DENIED);
	assert_int_equal(play_unsubscribe(&d, a.id), LEAT_OK);
	play_sub_fini(&a);
	assert_int_equal(member_join(&e, &b, "g"), LEAT_OK);
	assert_int_equal(member_join(&d, &a, "g"), LEAT_E_DENIED);
	play_sub_fini(&b);
	/* The progress topic is not covered by a pattern. */
	assert_int_equal(
	    play_subscribe(&d, &a, LT_NAME_PROGRESS_TOPIC, 0, "", 0, "", 0, 0),
	    LEAT_E_DENIED);
	play_close(&d);
	play_close(&e);
}

static void
broadcasting_keeps_each_members_progress(void **state)
{
	struct lt_wire_commit req;
	struct play_sub a;

	member_publish(10);
	assert_int_equal(play_subscribe(&member_client, &a, "t", 0, "b",
			     LEAT_BROADCASTING, "m1", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 0);
	memset(&req, 0, sizeof(req));
	req.id = a.id;
	req.offset = 7;
	assert_int_equal(
	    play_call(&member_client, LT_OP_COMMIT, &req, sizeof(req)),
	    LEAT_OK);
	req.offset = 11; /* beyond the end */
	assert_int_equal(
	    play_call(&member_client, LT_OP_COMMIT, &req, sizeof(req)),
	    LEAT_E_INVALID);
	play_pass(2000);
	play_sub_fini(&a);
	member_restart_broker();
	assert_int_equal(play_subscribe(&member_client, &a, "t", 0, "b",
			     LEAT_BROADCASTING, "m1", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 7);
	play_sub_fini(&a);
	assert_int_equal(play_subscribe(&member_client, &a, "t", 0, "b",
			     LEAT_BROADCASTING, "m2", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

/* --- restarts under members ---------------------------------------------- */

static void
store_death_keeps_claims(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 3);
	assert_int_equal(member_claim(&a, 3, &attempt), LEAT_OK);
	uint64_t table = a.table_inode, old = a.id;
	uint32_t owner = a.owner;
	play_store_kill();
	play_pump();
	play_store_start();
	(void)play_receive(&member_client);
	assert_int_equal(member_client.events[LT_OP_EV_PAGE], 1);
	assert_int_equal(member_client.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(play_resubscribe(&member_client, &a, "t", 0, "g",
			     LEAT_CLUSTERING, 4, old),
	    LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.owner, owner);
	assert_int_equal(a.offset, 4);
	assert_true(a.has_ring);
	assert_int_equal(lt_table_ack(&a.table, 3, (uint16_t)owner), LEAT_OK);
	assert_int_equal(member_listed("g", NULL)->members, 1);
	assert_int_equal(member_progress_of("g"), 4);
	assert_true(play_is_watched(member_client.session, a.topic_id, 0));
	member_publish(1);
	assert_int_equal(
	    atomic_load(
		&((struct lt_ring_shared *)a.ring_seg.base)->next_offset),
	    11);
	play_sub_fini(&a);
}

static void
queue_death_keeps_claims(void **state)
{
	struct play_client again;
	struct play_sub a;
	uint32_t attempt;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 3);
	assert_int_equal(member_claim(&a, 3, &attempt), LEAT_OK);
	uint64_t table = a.table_inode, old = a.id;
	uint32_t owner = a.owner;
	play_queue_kill(); /* nothing was harvested */
	play_queue_start();
	assert_true(play_is_ready());
	play_connect(&again);
	assert_int_equal(play_resume(&again, &member_client), LEAT_OK);
	assert_int_equal(
	    play_resubscribe(&again, &a, "t", 0, "g", LEAT_CLUSTERING, 4, old),
	    LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.owner, owner);
	assert_int_equal(a.offset, 4);
	play_pass(play_options.queue_session_grace_ms + 2000);
	assert_int_equal(lt_table_ack(&a.table, 3, (uint16_t)owner), LEAT_OK);
	play_close(&member_client);
	member_client = again;
	assert_int_equal(member_progress_of("g"), 4);
	play_sub_fini(&a);
}

/* A member that does not come back loses its claims after the grace. */
static void
orphans_of_our_own_death_are_freed(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	member_publish(10);
	member_connect_client(&d);
	assert_int_equal(member_join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(member_claim(&b, 0, &attempt), LEAT_OK);
	play_queue_kill();
	play_close(&member_client);
	play_close(&d);
	play_queue_start();
	member_connect_client(&member_client);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	assert_int_not_equal(a.owner, b.owner);
	assert_int_equal(a.table_inode, b.table_inode);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_E_BUSY);
	play_pass(play_options.queue_session_grace_ms + 2000);
	assert_int_equal(member_claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
}

/* What a member wrote into the table is not believed beyond reason. */
static void
a_scribbled_table_is_survived(void **state)
{
	struct play_sub a;

	member_publish(10);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	atomic_store(&a.table.shared->progress, 1000);
	for (uint64_t i = 0; i < a.table.window; i++)
		atomic_store(&a.table.words[i], 0xfedcba9876543210u * (i + 1));
	play_pass(2000);
	assert_true(member_progress_of("g") <= 10);
	atomic_store(&a.table.shared->progress, -5);
	play_queue_kill();
	play_close(&member_client);
	play_queue_start();
	assert_true(play_is_ready());
	member_connect_client(&member_client);
	assert_in_range(member_progress_of("g"), 0, 10);
	play_sub_fini(&a);
}

static void
the_store_dies_while_a_subscription_is_made(void **state)
{
	struct lt_wire_subscribe req;

	member_publish(2);
	memset(&req, 0, sizeof(req));
	strcpy(req.topic, "t");
	strcpy(req.group, "g");
	play_store_mute(1);
	play_post(&member_client, LT_OP_SUBSCRIBE, &req, sizeof(req));
	assert_int_equal(play_receive(&member_client), 0);
	play_store_kill();
	play_store_mute(0);
	play_store_start();
	assert_int_equal(play_receive(&member_client), 1);
	const struct lt_wire_subscribed *r =
	    (const void *)member_client.reply.bytes;
	assert_int_equal(r->h.status, LEAT_OK);
	assert_int_equal(r->has_ring, 1);
	assert_int_equal(r->max_offset, 2);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, member_setup, member_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(members_share_a_table),
	    TEST(modes_do_not_mix),
	    TEST(a_dead_member_gives_its_claims_back),
	    TEST(a_slow_member_loses_its_lease),
	    TEST(a_member_out_of_sight_sees_its_table_closed),
	    TEST(holes_outlive_the_last_member_for_a_while),
	    TEST(other_users_do_not_share_a_table),
	    TEST(broadcasting_keeps_each_members_progress),
	    TEST(store_death_keeps_claims),
	    TEST(queue_death_keeps_claims),
	    TEST(orphans_of_our_own_death_are_freed),
	    TEST(a_scribbled_table_is_survived),
	    TEST(the_store_dies_while_a_subscription_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
