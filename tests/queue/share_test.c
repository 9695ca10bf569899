/*
 * share_test.c - groups with remote members: what they commit, which queues
 * local members have beside them, and how a queue changes hands.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sharer.h"

static int
setup(void **state)
{
	if (member_setup(state) != 0)
		return -1;
	member_connect_client(&gateway);
	OK(play_create(&member_client, "s", QUEUES));
	return 0;
}

static int
teardown(void **state)
{
	play_close(&gateway);
	return member_teardown(state);
}

/* --- tests: offsets --------------------------------------------------------
 */

/* RocketMQ's own words: AllocateMessageQueueAveragely. */
static size_t
owner_as_rocketmq(size_t queues, size_t members, size_t queue)
{
	for (size_t i = 0; i < members; i++) {
		size_t mod = queues % members;
		size_t average =
		    queues <= members
			? 1
			: (mod > 0 && i < mod ? queues / members + 1
					      : queues / members);
		size_t start =
		    mod > 0 && i < mod ? i * average : i * average + mod;

		if (queue >= start && queue < start + average)
			return i;
	}
	return SIZE_MAX;
}

static void
shares_are_those_of_rocketmq(void **state)
{
	for (size_t queues = 1; queues <= 70; queues++)
		for (size_t members = 1; members <= 75; members++)
			for (size_t q = 0; q < queues; q++)
				assert_int_equal(
				    lt_share_owner(queues, members, q),
				    owner_as_rocketmq(queues, members, q));
}

static void
a_commit_is_progress(void **state)
{
	const struct lt_wire_group_entry *e;
	uint32_t count;

	publish(3, 20);
	assert_int_equal(progress(3), -1);
	assert_int_equal(commit(3, 12), 1);
	assert_int_equal(progress(3), 12);
	assert_int_equal(progress(4), -1);
	e = member_listed("g", &count);
	assert_int_equal(count, 1);
	assert_int_equal(e->queue, 3);
	assert_int_equal(e->progress, 12);
	assert_int_equal(e->max_offset, 20);
	assert_int_equal(e->mode, LEAT_CLUSTERING);
	/* It goes back, and is durable. */
	assert_int_equal(commit(3, 7), 1);
	assert_int_equal(progress(3), 7);
	play_pass(play_manager()->options.queue_progress_ms + 100);
	play_close(&gateway);
	member_restart_broker();
	member_connect_client(&gateway);
	assert_int_equal(progress(3), 7);
	remotes("!remote");
	assert_int_equal(member_delete_group("g"), LEAT_E_BUSY);
	remotes("");
	OK(member_delete_group("g"));
	assert_int_equal(progress(3), -1);
}

static void
what_is_no_commit(void **state)
{
	struct play_client other;
	struct lt_wire_progress req;
	struct {
		struct lt_wire_offsets w;
		struct lt_wire_offset at[2];
	} two;

	assert_int_equal(commit(0, -1), 0);
	assert_int_equal(commit(QUEUES, 0), 0);
	assert_int_equal(commit_to(&gateway, "no", 0, 1), LEAT_E_NOTFOUND);
	memset(&two, 0, sizeof(two));
	strcpy(two.w.group, "g");
	strcpy(two.w.topic, "s");
	two.w.count = 3;
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_COMMIT, &two, sizeof(two)),
	    LEAT_E_INVALID);
	strcpy(two.w.group, "g g");
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_COMMIT, &two, sizeof(two)),
	    LEAT_E_NAME);
	memset(two.w.group, 'g', sizeof(two.w.group));
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_COMMIT, &two, sizeof(two)),
	    LEAT_E_NAME);
	member_connect_client(&other);
	lt_session_find(play_manager(), other.session)->conn->peer.uid = 12345;
	assert_int_equal(commit_to(&other, "s", 0, 1), LEAT_E_DENIED);
	fill_progress(&req, 0);
	assert_int_equal(
	    play_call(&other, LT_OP_GROUP_PROGRESS, &req, sizeof(req)),
	    LEAT_E_DENIED);
	assert_int_equal(remotes_part(&other, "a", 0, 0), LEAT_E_DENIED);
	assert_null(lt_group_find(play_manager(), "g"));
	play_close(&other);
}

/* What no message can have: whoever comes begins at the end. */
static void
a_commit_beyond_the_end(void **state)
{
	struct play_sub a;

	publish(0, 5);
	assert_int_equal(commit(0, INT64_MAX), 1);
	OK(play_subscribe(&member_client, &a, "s", 0, "g", LEAT_CLUSTERING, "",
	    LEAT_FROM_BEGIN, 0));
	assert_int_equal(a.offset, 5);
	publish(0, 3);
	member_consume(&a, 5, 8);
	assert_int_equal(progress(0), 8);
	play_sub_fini(&a);
}

/* The table of a live member says how far the group is. */
static void
a_live_table_beats_commits(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	publish(0, 20);
	assert_int_equal(commit(0, 4), 1);
	OK(play_subscribe(&member_client, &a, "s", 0, "g", LEAT_CLUSTERING, "",
	    LEAT_FROM_BEGIN, 0));
	assert_int_equal(a.offset, 4);
	member_consume(&a, 4, 8);
	OK(member_claim(&a, 8, &attempt));
	assert_int_equal(commit(0, 2), 0);
	assert_int_equal(commit(0, 15), 0);
	assert_int_equal(progress(0), 8);
	OK(lt_table_valid(&a.table, 8));
	OK(play_unsubscribe(&member_client, a.id));
	/* Nobody is there: the table gives way. */
	assert_int_equal(commit(0, 15), 1);
	assert_int_equal(atomic_load(&a.table.shared->closed), 1);
	assert_int_equal(progress(0), 15);
	play_sub_fini(&a);
}

/* --- tests: shares ---------------------------------------------------------
 */

static void
a_remote_member_takes_half(void **state)
{
	const char *id[2];
	struct member l;
	char want[64];

	join_all(&l, &member_client);
	assert_int_equal(owned(&l), 0xff);
	/* The hosts' names decide who is first. */
	remotes("!remote");
	assert_int_equal(locals(id, 2), 1);
	snprintf(want, sizeof(want), "#leat-%016llx",
	    (unsigned long long)member_client.session);
	assert_string_equal(strchr(id[0], '#'), want);
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xf0);
	assert_int_equal(follow(&l), 0);
	assert_int_equal(commit(0, 0), 1);
	assert_int_equal(commit(7, 0), 0);
	assert_true(
	    play_is_watched(member_client.session, l.sub[7].topic_id, 7));
	assert_false(
	    play_is_watched(member_client.session, l.sub[0].topic_id, 0));
	/* Another one, behind it. */
	remotes("!remote ~remote");
	assert_int_equal(follow(&l), 2); /* 012 345 67 */
	assert_int_equal(owned(&l), 0x30);
	play_pass(LT_SHARE_GAIN_MS + 100);
	(void)follow(&l);
	assert_int_equal(owned(&l), 0x38);
	/* Group deletion and seek are not for now. */
	assert_int_equal(member_delete_group("g"), LEAT_E_BUSY);
	assert_int_equal(member_seek("g", LEAT_FROM_END, 0, 1), LEAT_E_BUSY);
	remotes("");
	assert_true(follow(&l) > 0);
	assert_int_equal(owned(&l), 0xff);
	fini(&l);
}

/* What was claimed is finished, and the remote member waits for it. */
static void
claims_are_finished_first(void **state)
{
	struct lt_wire_progress req;
	struct member l;
	uint32_t attempt;

	for (uint32_t q = 0; q < QUEUES; q++)
		publish(q, 10);
	join_all(&l, &member_client);
	for (uint32_t q = 0; q < 4; q++) {
		member_consume(&l.sub[q], 0, 5);
		OK(member_claim(&l.sub[q], 5, &attempt));
	}
	remotes("!remote");
	assert_int_equal(commit(0, 3), 0); /* too early */
	assert_int_equal(follow(&l), 4);
	assert_int_equal(l.sub[0].has_table, 0);
	/* Asked for progress of 0: the answer waits. */
	fill_progress(&req, 0);
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_PROGRESS, &req, sizeof(req)),
	    -1001);
	OK(lt_table_ack(&l.sub[0].table, 5, (uint16_t)l.sub[0].owner));
	play_pass(200);
	assert_int_equal(play_receive(&gateway), 1);
	assert_int_equal(
	    ((const struct lt_wire_number *)(const void *)gateway.reply.bytes)
		->number,
	    6);
	assert_int_equal(commit(0, 8), 1);
	/* 1 is given back; 2 never comes. */
	OK(lt_table_nack(&l.sub[1].table, 5, (uint16_t)l.sub[1].owner));
	assert_int_equal(progress(1), 5);
	fill_progress(&req, 2);
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_PROGRESS, &req, sizeof(req)),
	    -1001);
	play_pass(LT_SHARE_LEAVE_MS + 100);
	assert_int_equal(play_receive(&gateway), 1);
	assert_int_equal(progress(2), 5);
	assert_int_equal(commit(2, 10), 1);
	/* And back: where the remote member was. */
	remotes("");
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xff);
	assert_int_equal(l.sub[0].offset, 8);
	assert_int_equal(l.sub[1].offset, 5);
	assert_int_equal(l.sub[2].offset, 10);
	member_consume(&l.sub[0], 8, 10);
	assert_int_equal(progress(0), 10);
	assert_int_equal(commit(0, 8), 0);
	fini(&l);
}

/* Two local members and a remote one: claims of one on a queue that becomes the
 * other's stay his until he has done. */
static void
a_local_member_comes_and_goes(void **state)
{
	struct play_client second;
	struct member a, b, *first, *last;
	unsigned events = gateway.events[LT_OP_EV_LOCALS];
	const char *id[3];
	char hex[17];
	uint32_t attempt;

	publish(7, 10);
	join_all(&a, &member_client);
	remotes("!remote");
	(void)follow(&a);
	assert_int_equal(owned(&a), 0xf0);
	play_pass(LT_SHARE_GAIN_MS + 100);
	OK(member_claim(&a.sub[7], 0, &attempt));
	OK(member_claim(&a.sub[4], 0, &attempt));
	member_connect_client(&second);
	join_all(&b, &second);
	assert_int_equal(owned(&b), 0);
	assert_int_equal(play_receive(&gateway), 0);
	assert_true(gateway.events[LT_OP_EV_LOCALS] > events);
	assert_int_equal(locals(id, 3), 2);
	/* By the order of their ids: 012 345 67. */
	snprintf(hex, sizeof(hex), "%016llx",
	    (unsigned long long)member_client.session);
	first = strstr(id[0], hex) != NULL ? &a : &b;
	last = first == &a ? &b : &a;
	(void)follow(&a);
	play_pass(LT_SHARE_GAIN_MS / 2);
	assert_int_equal(follow(&b), 0);
	play_pass(LT_SHARE_GAIN_MS / 2 + 100);
	(void)follow(&a);
	(void)follow(&b);
	assert_int_equal(owned(first), 0x38);
	assert_int_equal(owned(last), 0xc0);
	if (last == &b) { /* 7 went from a to b */
		assert_int_equal(
		    member_claim(&b.sub[7], 0, &attempt), LEAT_E_BUSY);
		OK(lt_table_ack(&a.sub[7].table, 0, (uint16_t)a.sub[7].owner));
		member_consume(&b.sub[7], 1, 4);
		assert_int_equal(progress(7), 4);
	}
	/* The second leaves, as if it died. */
	lt_session_end(
	    lt_session_find(play_manager(), second.session), LEAT_E_CLOSED);
	play_pump();
	assert_int_equal(locals(id, 3), 1);
	play_pass(LT_SHARE_GAIN_MS + 100);
	(void)follow(&a);
	assert_int_equal(owned(&a), 0xf0);
	play_close(&second);
	fini(&a);
	fini(&b);
}

/* --- tests: deaths ---------------------------------------------------------
 */

static void
the_gateway_dies(void **state)
{
	struct member l;

	join_all(&l, &member_client);
	remotes("!remote");
	(void)follow(&l);
	lt_session_end(
	    lt_session_find(play_manager(), gateway.session), LEAT_E_CLOSED);
	play_close(&gateway);
	play_pass(play_manager()->options.queue_session_grace_ms / 2);
	assert_int_equal(follow(&l), 0);
	/* Another one is there in time. */
	member_connect_client(&gateway);
	remotes("!remote");
	play_pass(play_manager()->options.queue_session_grace_ms);
	assert_int_equal(follow(&l), 0);
	assert_int_equal(owned(&l), 0xf0);
	lt_session_end(
	    lt_session_find(play_manager(), gateway.session), LEAT_E_CLOSED);
	play_pass(play_manager()->options.queue_session_grace_ms + 100);
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xff);
	/* It says that it goes. */
	play_close(&gateway);
	member_connect_client(&gateway);
	remotes("!remote");
	(void)follow(&l);
	assert_int_equal(owned(&l), 0xf0);
	struct lt_wire_none bye;
	OK(play_call(&gateway, LT_OP_BYE, &bye, sizeof(bye)));
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xff);
	fini(&l);
}

static void
we_die_and_forget_them(void **state)
{
	struct lt_wire_members req;
	struct play_client again;
	struct member l;
	uint32_t attempt;

	publish(7, 5);
	join_all(&l, &member_client);
	remotes("!remote");
	(void)follow(&l);
	OK(member_claim(&l.sub[7], 0, &attempt));
	restart_queue_manager(&l);
	assert_int_equal(owned(&l), 0xf0);
	play_connect(&again);
	OK(play_resume(&again, &gateway));
	play_close(&gateway);
	gateway = again;
	memset(&req, 0, sizeof(req));
	strcpy(req.group, "g");
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_LOCALS, &req, sizeof(req)),
	    LEAT_E_AGAIN);
	OK(lt_table_ack(&l.sub[7].table, 0, (uint16_t)l.sub[7].owner));
	assert_int_equal(progress(7), 1);
	assert_int_equal(commit(7, 0), 0);
	assert_int_equal(commit(0, 0), 1);
	remotes("!remote");
	play_pass(play_manager()->options.queue_session_grace_ms + 100);
	assert_int_equal(play_receive(&gateway), 0);
	assert_true(gateway.events[LT_OP_EV_LOCALS] > 0);
	assert_int_equal(follow(&l), 0);
	assert_int_equal(owned(&l), 0xf0);
	/* And with nobody who says it again. */
	restart_queue_manager(&l);
	assert_int_equal(owned(&l), 0xf0);
	play_pass(play_manager()->options.queue_session_grace_ms + 100);
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xff);
	fini(&l);
}

/* The gateway is back before the local member: its table counts already. */
static void
we_die_and_the_gateway_is_first(void **state)
{
	struct play_client again;
	struct member l;

	publish(7, 5);
	join_all(&l, &member_client);
	member_consume(&l.sub[7], 0, 2);
	play_queue_kill();
	play_queue_start();
	play_connect(&again);
	OK(play_resume(&again, &gateway));
	play_close(&gateway);
	gateway = again;
	remotes("!remote");
	assert_int_equal(progress(7), 2);
	assert_int_equal(commit(7, 5), 0);
	assert_int_equal(progress(7), 2);
	/* It never comes back: then nobody has the queue. */
	play_pass(play_manager()->options.queue_session_grace_ms + 2000);
	assert_int_equal(commit(7, 5), 1);
	assert_int_equal(progress(7), 5);
	fini(&l);
}

/* Nobody may claim in a table that was closed when we died. */
static void
we_die_while_a_queue_goes(void **state)
{
	struct member l;
	uint32_t attempt;

	publish(0, 5);
	join_all(&l, &member_client);
	member_consume(&l.sub[0], 0, 2);
	OK(member_claim(&l.sub[0], 2, &attempt));
	remotes("!remote");
	play_pump();
	assert_int_equal(
	    atomic_load(&l.sub[0].table.shared->closed), LT_TABLE_LEFT);
	/* It was not told yet, but sees it. */
	restart_queue_manager(&l);
	assert_int_equal(owned(&l), 0xf0);
	play_pass(play_manager()->options.queue_session_grace_ms + 100);
	assert_int_equal(follow(&l), 4);
	assert_int_equal(owned(&l), 0xff);
	assert_int_equal(l.sub[0].offset, 2);
	member_consume(&l.sub[0], 2, 5);
	fini(&l);
}

/* --- tests: ids ------------------------------------------------------------
 */

static void
ids_come_in_parts(void **state)
{
	struct play_client other;
	struct members req;
	struct member l;

	join_all(&l, &member_client);
	OK(remotes_part(&gateway, "!a !b", 0, 1));
	assert_int_equal(follow(&l), 0);
	assert_int_equal(remotes_part(&gateway, "!c", 3, 0), LEAT_E_INVALID);
	OK(remotes_part(&gateway, "!c !a", 2, 0));
	play_pump();
	(void)follow(&l);
	assert_int_equal(owned(&l), 0xc0); /* the fourth of four */
	/* Parts of another session are another list. */
	member_connect_client(&other);
	OK(remotes_part(&gateway, "!a", 0, 1));
	OK(remotes_part(&other, "!a", 0, 1));
	assert_int_equal(remotes_part(&gateway, "!b", 1, 0), LEAT_E_INVALID);
	play_close(&other);
	/* Not ids, or not as many. */
	memset(&req, 0, sizeof(req));
	strcpy(req.w.group, "g");
	req.w.count = 1;
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_REMOTES, &req, sizeof(req.w)),
	    LEAT_E_INVALID);
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_REMOTES, &req, sizeof(req.w) + 1),
	    LEAT_E_INVALID);
	memset(req.ids, 'x', 8);
	assert_int_equal(
	    play_call(&gateway, LT_OP_GROUP_REMOTES, &req, sizeof(req.w) + 8),
	    LEAT_E_INVALID);
	fini(&l);
}

/* A broadcasting member and remote ones do not go together. */
static void
modes_are_not_mixed(void **state)
{
	struct play_sub a;

	remotes("!remote");
	assert_int_equal(play_subscribe(&member_client, &a, "s", 0, "g",
			     LEAT_BROADCASTING, "m", LEAT_FROM_BEGIN, 0),
	    LEAT_E_BUSY);
	remotes("");
	OK(play_subscribe(&member_client, &a, "s", 0, "g", LEAT_BROADCASTING,
	    "m", LEAT_FROM_BEGIN, 0));
	remotes("!remote");
	assert_int_equal(locals(NULL, 0), 0);
	assert_int_equal(commit(0, 0), 1);
	play_sub_fini(&a);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shares_are_those_of_rocketmq),
	    TEST(a_commit_is_progress),
	    TEST(what_is_no_commit),
	    TEST(a_commit_beyond_the_end),
	    TEST(a_live_table_beats_commits),
	    TEST(a_remote_member_takes_half),
	    TEST(claims_are_finished_first),
	    TEST(a_local_member_comes_and_goes),
	    TEST(the_gateway_dies),
	    TEST(we_die_and_forget_them),
	    TEST(we_die_and_the_gateway_is_first),
	    TEST(we_die_while_a_queue_goes),
	    TEST(ids_come_in_parts),
	    TEST(modes_are_not_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
