/*
 * group_test.c - subscriptions, rings, group tables: joining, acknowledging,
 * leaving, dying, leases; progress over every kind of restart; list, seek,
 * delete.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/name.h"
#include "play.h"

static struct play_client c;

static void
connect_client(struct play_client *client)
{
	play_connect(client);
	assert_int_equal(play_hello(client), LEAT_OK);
}

static int
setup(void **state)
{
	play_init();
	play_queue_start();
	play_store_start();
	connect_client(&c);
	assert_int_equal(play_create(&c, "t", 2), LEAT_OK);
	return 0;
}

static int
teardown(void **state)
{
	play_close(&c);
	play_fini();
	return 0;
}

static void
publish(int n)
{
	for (int i = 0; i < n; i++)
		play_publish("t", 0, NULL, NULL, "body", 4);
	play_pump();
}

static int
join(struct play_client *client, struct play_sub *sub, const char *group)
{
	return play_subscribe(
	    client, sub, "t", 0, group, LEAT_CLUSTERING, "", 0, 0);
}

static int
claim(struct play_sub *sub, int64_t offset, uint32_t *attempt)
{
	int status = lt_table_claim(&sub->table, offset, (uint16_t)sub->owner,
	    lt_table_stamp(play_now_ms), attempt);

	if (status == LEAT_OK &&
	    atomic_load(&sub->table.shared->cursor) <= offset)
		atomic_store(&sub->table.shared->cursor, offset + 1);
	return status;
}

static void
consume(struct play_sub *sub, int64_t from, int64_t to)
{
	uint32_t attempt;

	for (int64_t o = from; o < to; o++) {
		assert_int_equal(claim(sub, o, &attempt), LEAT_OK);
		assert_int_equal(
		    lt_table_ack(&sub->table, o, (uint16_t)sub->owner),
		    LEAT_OK);
	}
}

/* First entry of GROUP_LIST. */
static const struct lt_wire_group_entry *
listed(const char *group, uint32_t *count_out)
{
	const struct lt_wire_groups *r = (const void *)c.reply.bytes;
	struct lt_wire_group req;

	memset(&req, 0, sizeof(req));
	(void)lt_bytes_field(req.group, sizeof(req.group), group);
	assert_int_equal(
	    play_call(&c, LT_OP_GROUP_LIST, &req, sizeof(req)), LEAT_OK);
	if (count_out != NULL)
		*count_out = r->count;
	return (const void *)(r + 1);
}

static int64_t
progress_of(const char *group)
{
	return listed(group, NULL)->progress;
}

static int
seek(const char *group, uint32_t from, int64_t value, uint32_t apply)
{
	struct lt_wire_seek req;

	memset(&req, 0, sizeof(req));
	req.from = from;
	req.value = value;
	req.apply = apply;
	(void)lt_bytes_field(req.group, sizeof(req.group), group);
	strcpy(req.topic, "t");
	return play_call(&c, LT_OP_GROUP_SEEK, &req, sizeof(req));
}

static int
delete_group(const char *group)
{
	struct lt_wire_name req;

	memset(&req, 0, sizeof(req));
	(void)lt_bytes_field(req.name, sizeof(req.name), group);
	return play_call(&c, LT_OP_GROUP_DELETE, &req, sizeof(req));
}

static void
restart_broker(void)
{
	play_close(&c);
	play_broker_kill();
	play_queue_start();
	play_store_start();
	assert_true(play_is_ready());
	connect_client(&c);
}

/* --- joining and acknowledging
 * -------------------------------------------------- */

static void
a_member_gets_ring_and_table(void **state)
{
	struct lt_ring_reader reader;
	struct lt_ring_head head;
	struct play_sub sub;

	publish(3);
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	assert_true(sub.has_ring);
	assert_true(sub.has_table);
	assert_int_equal(sub.offset, 0);
	assert_int_equal(sub.max_offset, 3);
	assert_true(play_is_watched(c.session, sub.topic_id, 0));
	publish(1);
	lt_ring_reader_init(&reader, &sub.ring_seg);
	assert_int_equal(lt_ring_seek(&reader, 3), LEAT_OK);
	assert_int_equal(lt_ring_peek(&reader, &head), LEAT_OK);
	assert_int_equal(head.queue_offset, 3);
	/* What was before the ring has to be fetched. */
	assert_int_equal(lt_ring_seek(&reader, 2), LEAT_E_LAPPED);
	assert_int_equal(play_unsubscribe(&c, sub.id), LEAT_OK);
	assert_false(play_is_watched(c.session, sub.topic_id, 0));
	assert_int_equal(play_unsubscribe(&c, sub.id), LEAT_E_NOTFOUND);
	play_sub_fini(&sub);
}

static void
where_to_begin(void **state)
{
	struct play_sub sub;

	publish(10);
	play_pass(1000);
	publish(10);
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
		    play_subscribe(&c, &sub, "t", 0, "", LEAT_CLUSTERING, "",
			cases[i].from, cases[i].value),
		    LEAT_OK);
		assert_int_equal(sub.offset, cases[i].offset);
		assert_false(sub.has_table);
		play_sub_fini(&sub);
	}
	/* A damaged record in the way of the search. */
	play_damage("t", 0, 10);
	assert_int_equal(
	    play_subscribe(&c, &sub, "t", 0, "", 0, "", LEAT_FROM_TIME,
		1700000000000 + (int64_t)play_now_ms),
	    LEAT_OK);
	assert_in_range(sub.offset, 10, 11);
	play_sub_fini(&sub);
	/* A new group begins at the beginning unless told otherwise. */
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	assert_int_equal(sub.offset, 0);
	play_sub_fini(&sub);
	assert_int_equal(play_subscribe(&c, &sub, "t", 0, "h", LEAT_CLUSTERING,
			     "", LEAT_FROM_OFFSET, 4),
	    LEAT_OK);
	assert_int_equal(sub.offset, 4);
	play_sub_fini(&sub);
}

static void
subscribing_is_checked(void **state)
{
	struct play_sub sub;

	assert_int_equal(play_subscribe(&c, &sub, "none", 0, "g", 0, "", 0, 0),
	    LEAT_E_NOTFOUND);
	assert_int_equal(
	    play_subscribe(&c, &sub, "t", 2, "g", 0, "", 0, 0), LEAT_E_QUEUE);
	assert_int_equal(
	    play_subscribe(&c, &sub, "t", 0, "a/b", 0, "", 0, 0), LEAT_E_NAME);
	assert_int_equal(
	    play_subscribe(&c, &sub, "t", 0, "g", 7, "", 0, 0), LEAT_E_INVALID);
	assert_int_equal(
	    play_subscribe(&c, &sub, "t", 0, "g", 0, "", 9, 0), LEAT_E_INVALID);
}

static void
progress_is_harvested_and_logged(void **state)
{
	struct play_sub sub;

	publish(10);
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	int64_t before = play_records(LT_NAME_PROGRESS_TOPIC);
	consume(&sub, 0, 6);
	play_pass(3000);
	assert_int_equal(progress_of("g"), 6);
	assert_int_equal(atomic_load(&sub.table.shared->progress), 6);
	int64_t after = play_records(LT_NAME_PROGRESS_TOPIC);
	assert_true(after > before);
	/* Nothing new, nothing logged. */
	play_pass(10000);
	assert_int_equal(play_records(LT_NAME_PROGRESS_TOPIC), after);
	play_sub_fini(&sub);
	restart_broker();
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	assert_int_equal(sub.offset, 6);
	play_sub_fini(&sub);
}

static void
leaving_logs_at_once(void **state)
{
	struct play_sub sub;

	publish(10);
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	consume(&sub, 0, 10);
	assert_int_equal(play_unsubscribe(&c, sub.id), LEAT_OK);
	play_pump();
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
	play_sub_fini(&sub);
	restart_broker();
	assert_int_equal(progress_of("g"), 10);
}

static void
an_orderly_stop_logs(void **state)
{
	struct play_sub sub;

	publish(10);
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	consume(&sub, 0, 4);
	assert_true(play_queue_stop());
	play_sub_fini(&sub);
	restart_broker();
	assert_int_equal(progress_of("g"), 4);
}

static void
a_refused_record_is_tried_again(void **state)
{
	struct play_sub sub;

	publish(10);
	assert_int_equal(join(&c, &sub, "g"), LEAT_OK);
	play_refuse_appends(LEAT_E_NOSPACE);
	consume(&sub, 0, 5);
	play_pass(5000);
	play_refuse_appends(LEAT_OK);
	play_pass(3000);
	play_sub_fini(&sub);
	restart_broker();
	assert_int_equal(progress_of("g"), 5);
}

/* --- members
 * ------------------------------------------------------------------------ */

static void
members_share_a_table(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	publish(4);
	connect_client(&d);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(a.table_inode, b.table_inode);
	assert_int_not_equal(a.owner, b.owner);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(claim(&b, 0, &attempt), LEAT_E_BUSY);
	assert_int_equal(listed("g", NULL)->members, 2);
	assert_int_equal(listed("g", NULL)->claimed, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

static void
modes_do_not_mix(void **state)
{
	struct play_client d;
	struct play_sub a, b;

	connect_client(&d);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(
	    play_subscribe(&d, &b, "t", 1, "g", LEAT_BROADCASTING, "m", 0, 0),
	    LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
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

	publish(4);
	connect_client(&d);
	play_give_process(d.session);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(claim(&b, 0, &attempt), LEAT_OK);
	uint32_t returned = atomic_load(&a.table.shared->returned);
	unsigned wakes = play_wakes(c.session);
	play_kill_process();
	assert_true(atomic_load(&a.table.shared->returned) > returned);
	assert_true(play_wakes(c.session) > wakes);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(listed("g", NULL)->members, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

static void
a_slow_member_loses_its_lease(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	publish(4);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(claim(&a, 1, &attempt), LEAT_OK);
	play_pass(play_options.queue_lease_ms - 2000);
	assert_int_equal(claim(&a, 1, &attempt), LEAT_E_BUSY);
	play_pass(4000);
	assert_int_equal(
	    lt_table_ack(&a.table, 1, (uint16_t)a.owner), LEAT_E_LEASE);
	assert_int_equal(claim(&a, 1, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	play_sub_fini(&a);
}

/* What is done behind a hole survives a member's short absence. */
static void
holes_outlive_the_last_member_for_a_while(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_OK);
	consume(&a, 1, 5);
	uint64_t table = a.table_inode;
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
	play_sub_fini(&a);
	play_pass(5000);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.offset, 0);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	assert_int_equal(claim(&a, 1, &attempt), LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
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
	m->options.access[0] = (struct lt_access_rule){.who = LT_ACCESS_ANY,
	    .what = LT_ACCESS_TOPIC,
	    .rights = LT_RIGHT_SUBSCRIBE,
	    .pattern = "*"};
	m->options.access[1] = (struct lt_access_rule){.who = LT_ACCESS_ANY,
	    .what = LT_ACCESS_GROUP,
	    .rights = LT_RIGHT_SUBSCRIBE,
	    .pattern = "*"};
	play_connect_as(&d, 4001);
	play_connect_as(&e, 4002);
	assert_int_equal(play_hello(&d), LEAT_OK);
	assert_int_equal(play_hello(&e), LEAT_OK);
	assert_int_equal(join(&d, &a, "g"), LEAT_OK);
	assert_int_equal(join(&e, &b, "g"), LEAT_E_DENIED);
	assert_int_equal(play_unsubscribe(&d, a.id), LEAT_OK);
	play_sub_fini(&a);
	assert_int_equal(join(&e, &b, "g"), LEAT_OK);
	assert_int_equal(join(&d, &a, "g"), LEAT_E_DENIED);
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

	publish(10);
	assert_int_equal(
	    play_subscribe(&c, &a, "t", 0, "b", LEAT_BROADCASTING, "m1", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 0);
	memset(&req, 0, sizeof(req));
	req.id = a.id;
	req.offset = 7;
	assert_int_equal(
	    play_call(&c, LT_OP_COMMIT, &req, sizeof(req)), LEAT_OK);
	req.offset = 11; /* beyond the end */
	assert_int_equal(
	    play_call(&c, LT_OP_COMMIT, &req, sizeof(req)), LEAT_E_INVALID);
	play_pass(2000);
	play_sub_fini(&a);
	restart_broker();
	assert_int_equal(
	    play_subscribe(&c, &a, "t", 0, "b", LEAT_BROADCASTING, "m1", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 7);
	play_sub_fini(&a);
	assert_int_equal(
	    play_subscribe(&c, &a, "t", 0, "b", LEAT_BROADCASTING, "m2", 0, 0),
	    LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

/* --- restarts under members
 * ------------------------------------------------------------ */

static void
store_death_keeps_claims(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 3);
	assert_int_equal(claim(&a, 3, &attempt), LEAT_OK);
	uint64_t table = a.table_inode, old = a.id;
	uint32_t owner = a.owner;
	play_store_kill();
	play_pump();
	play_store_start();
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_PAGE], 1);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&c, &a, "t", 0, "g", LEAT_CLUSTERING, 4, old),
	    LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.owner, owner);
	assert_int_equal(a.offset, 4);
	assert_true(a.has_ring);
	assert_int_equal(lt_table_ack(&a.table, 3, (uint16_t)owner), LEAT_OK);
	assert_int_equal(listed("g", NULL)->members, 1);
	assert_int_equal(progress_of("g"), 4);
	assert_true(play_is_watched(c.session, a.topic_id, 0));
	publish(1);
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

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 3);
	assert_int_equal(claim(&a, 3, &attempt), LEAT_OK);
	uint64_t table = a.table_inode, old = a.id;
	uint32_t owner = a.owner;
	play_queue_kill(); /* nothing was harvested */
	play_queue_start();
	assert_true(play_is_ready());
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	assert_int_equal(
	    play_resubscribe(&again, &a, "t", 0, "g", LEAT_CLUSTERING, 4, old),
	    LEAT_OK);
	assert_int_equal(a.table_inode, table);
	assert_int_equal(a.owner, owner);
	assert_int_equal(a.offset, 4);
	play_pass(play_options.queue_session_grace_ms + 2000);
	assert_int_equal(lt_table_ack(&a.table, 3, (uint16_t)owner), LEAT_OK);
	play_close(&c);
	c = again;
	assert_int_equal(progress_of("g"), 4);
	play_sub_fini(&a);
}

/* A member that does not come back loses its claims after the grace. */
static void
orphans_of_our_own_death_are_freed(void **state)
{
	struct play_client d;
	struct play_sub a, b;
	uint32_t attempt;

	publish(10);
	connect_client(&d);
	assert_int_equal(join(&d, &b, "g"), LEAT_OK);
	assert_int_equal(claim(&b, 0, &attempt), LEAT_OK);
	play_queue_kill();
	play_close(&c);
	play_close(&d);
	play_queue_start();
	connect_client(&c);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_not_equal(a.owner, b.owner);
	assert_int_equal(a.table_inode, b.table_inode);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_E_BUSY);
	play_pass(play_options.queue_session_grace_ms + 2000);
	assert_int_equal(claim(&a, 0, &attempt), LEAT_OK);
	assert_int_equal(attempt, 1);
	play_sub_fini(&a);
	play_sub_fini(&b);
}

/* What a member wrote into the table is not believed beyond reason. */
static void
a_scribbled_table_is_survived(void **state)
{
	struct play_sub a;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	atomic_store(&a.table.shared->progress, 1000);
	for (uint64_t i = 0; i < a.table.window; i++)
		atomic_store(&a.table.words[i], 0xfedcba9876543210u * (i + 1));
	play_pass(2000);
	assert_true(progress_of("g") <= 10);
	atomic_store(&a.table.shared->progress, -5);
	play_queue_kill();
	play_close(&c);
	play_queue_start();
	assert_true(play_is_ready());
	connect_client(&c);
	assert_in_range(progress_of("g"), 0, 10);
	play_sub_fini(&a);
}

static void
the_store_dies_while_a_subscription_is_made(void **state)
{
	struct lt_wire_subscribe req;

	publish(2);
	memset(&req, 0, sizeof(req));
	strcpy(req.topic, "t");
	strcpy(req.group, "g");
	play_store_mute(1);
	play_post(&c, LT_OP_SUBSCRIBE, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	play_store_kill();
	play_store_mute(0);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	const struct lt_wire_subscribed *r = (const void *)c.reply.bytes;
	assert_int_equal(r->h.status, LEAT_OK);
	assert_int_equal(r->has_ring, 1);
	assert_int_equal(r->max_offset, 2);
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
	    play_subscribe(&c, &a, "t", 0, "", 0, "", 0, 0), LEAT_OK);
	assert_int_equal(
	    play_subscribe(&c, &b, "t", 1, "", 0, "", 0, 0), LEAT_OK);
	assert_true(a.has_ring);
	assert_false(b.has_ring);
	assert_true(play_is_watched(c.session, b.topic_id, 1));
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
	play_sub_fini(&a);
	play_pass(play_options.queue_ring_idle_ms + 1000);
	assert_int_equal(play_store_got(LT_OP_S_UNRING), 1);
	assert_int_equal(play_manager()->ring_count, 0);
	play_sub_fini(&b);
	assert_int_equal(
	    play_subscribe(&c, &b, "t", 1, "", 0, "", 0, 0), LEAT_OK);
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

	publish(1);
	connect_client(&d);
	assert_int_equal(
	    play_subscribe(&c, &a, "t", 0, "", 0, "", 0, 0), LEAT_OK);
	assert_int_equal(
	    play_subscribe(&d, &b, "t", 0, "", 0, "", 0, 0), LEAT_OK);
	assert_int_equal(a.ring_seg.head.data_bytes, bytes);
	memset(&req, 0, sizeof(req));
	req.number = a.id;
	assert_int_equal(
	    play_call(&c, LT_OP_RING_GROW, &req, sizeof(req)), LEAT_OK);
	(void)play_receive(&d);
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(d.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&c, &a, "t", 0, "", 0, 1, a.id), LEAT_OK);
	assert_int_equal(a.ring_seg.head.data_bytes, bytes * 2);
	assert_int_equal(a.offset, 1);
	play_manager()->options.queue_ring_max_bytes = bytes * 2;
	req.number = a.id;
	assert_int_equal(
	    play_call(&c, LT_OP_RING_GROW, &req, sizeof(req)), LEAT_E_LIMIT);
	play_sub_fini(&a);
	play_sub_fini(&b);
	play_close(&d);
}

/* --- list, seek, delete
 * ------------------------------------------------------------------------ */

static void
seek_is_tried_first(void **state)
{
	const struct lt_wire_groups *r = (const void *)c.reply.bytes;
	const struct lt_wire_group_entry *e = (const void *)(r + 1);
	struct play_sub a;

	publish(10);
	assert_int_equal(seek("g", LEAT_FROM_END, 0, 1), LEAT_E_NOTFOUND);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 5);
	assert_int_equal(seek("g", LEAT_FROM_OFFSET, 8, 0), LEAT_OK);
	assert_int_equal(r->count, 2); /* queues */
	assert_int_equal(e[0].progress, 8);
	assert_int_equal(e[0].max_offset, 10);
	assert_int_equal(progress_of("g"), 5);
	play_sub_fini(&a);
}

static void
seek_moves_live_members(void **state)
{
	struct play_sub a;
	uint32_t attempt;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 5);
	assert_int_equal(claim(&a, 5, &attempt), LEAT_OK);
	uint64_t table = a.table_inode;
	assert_int_equal(seek("g", LEAT_FROM_OFFSET, 2, 1), LEAT_OK);
	assert_int_equal(atomic_load(&a.table.shared->closed), 1);
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&c, &a, "t", 0, "g", LEAT_CLUSTERING, 6, a.id),
	    LEAT_OK);
	assert_int_not_equal(a.table_inode, table);
	assert_int_equal(a.offset, 2);
	assert_int_equal(listed("g", NULL)->members, 1);
	consume(&a, 2, 4);
	assert_int_equal(progress_of("g"), 4);
	play_sub_fini(&a);
	/* Durable: even back. */
	assert_int_equal(seek("g", LEAT_FROM_BEGIN, 0, 1), LEAT_OK);
	restart_broker();
	assert_int_equal(progress_of("g"), 0);
}

static void
a_seek_beats_a_flush_under_way(void **state)
{
	struct play_sub a;
	struct lt_wire_seek req;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 5);
	memset(&req, 0, sizeof(req));
	req.from = LEAT_FROM_OFFSET;
	req.value = 1;
	req.apply = 1;
	strcpy(req.group, "g");
	strcpy(req.topic, "t");
	play_store_mute(1);
	play_post(&c, LT_OP_GROUP_SEEK, &req, sizeof(req));
	play_pass(3000); /* progress of 5 would be due */
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1);
	play_sub_fini(&a);
	restart_broker();
	assert_int_equal(progress_of("g"), 1);
}

static void
groups_are_deleted_without_members(void **state)
{
	struct play_sub a;
	struct lt_wire_group req;
	uint32_t count;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 5);
	assert_int_equal(delete_group("g"), LEAT_E_BUSY);
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
	play_sub_fini(&a);
	assert_int_equal(delete_group("g"), LEAT_OK);
	assert_int_equal(delete_group("g"), LEAT_E_NOTFOUND);
	play_pass(3000);
	(void)listed("", &count);
	assert_int_equal(count, 0);
	restart_broker();
	memset(&req, 0, sizeof(req));
	strcpy(req.group, "g");
	assert_int_equal(play_call(&c, LT_OP_GROUP_LIST, &req, sizeof(req)),
	    LEAT_E_NOTFOUND);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

static void
lag_is_up_to_date(void **state)
{
	struct play_sub a;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
	play_pass(play_options.queue_ring_idle_ms + 1000); /* no ring now */
	publish(5);
	assert_int_equal(listed("g", NULL)->max_offset, 15);
	assert_int_equal(listed("g", NULL)->members, 0);
	play_sub_fini(&a);
}

static void
retention_overtakes_a_group(void **state)
{
	struct play_sub a;

	publish(20);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 3);
	play_retain("t", 0, 12);
	play_pass(3000);
	assert_int_equal(atomic_load(&a.table.shared->closed), 1);
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&c, &a, "t", 0, "g", LEAT_CLUSTERING, 3, a.id),
	    LEAT_OK);
	assert_int_equal(a.offset, 12);
	assert_int_equal(a.min_offset, 12);
	consume(&a, 12, 20);
	assert_int_equal(progress_of("g"), 20);
	play_sub_fini(&a);
}

static void
a_deleted_topic_takes_its_progress_along(void **state)
{
	struct lt_wire_name req;
	struct play_sub a;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 5);
	memset(&req, 0, sizeof(req));
	strcpy(req.name, "t");
	assert_int_equal(
	    play_call(&c, LT_OP_TOPIC_DELETE, &req, sizeof(req)), LEAT_OK);
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	assert_int_equal(
	    play_resubscribe(&c, &a, "t", 0, "g", LEAT_CLUSTERING, 5, a.id),
	    LEAT_E_NOTFOUND);
	assert_int_equal(play_kept(LT_KEEP_TABLE), 0);
	assert_int_equal(play_create(&c, "t", 2), LEAT_OK);
	restart_broker();
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	assert_int_equal(a.offset, 0);
	play_sub_fini(&a);
}

/* An idle broker with members has next to nothing to do. */
static void
idle_members_cost_nothing(void **state)
{
	struct play_sub a;

	publish(10);
	assert_int_equal(join(&c, &a, "g"), LEAT_OK);
	consume(&a, 0, 10);
	play_pass(10000);
	assert_in_range(
	    lt_progress_timeout(play_manager(), play_now_ms), 500, 1000);
	assert_int_equal(play_unsubscribe(&c, a.id), LEAT_OK);
	play_pass(1000);
	assert_int_equal(lt_progress_timeout(play_manager(), play_now_ms), -1);
	play_sub_fini(&a);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_member_gets_ring_and_table),
	    TEST(where_to_begin),
	    TEST(subscribing_is_checked),
	    TEST(progress_is_harvested_and_logged),
	    TEST(leaving_logs_at_once),
	    TEST(an_orderly_stop_logs),
	    TEST(a_refused_record_is_tried_again),
	    TEST(members_share_a_table),
	    TEST(modes_do_not_mix),
	    TEST(a_dead_member_gives_its_claims_back),
	    TEST(a_slow_member_loses_its_lease),
	    TEST(holes_outlive_the_last_member_for_a_while),
	    TEST(other_users_do_not_share_a_table),
	    TEST(broadcasting_keeps_each_members_progress),
	    TEST(store_death_keeps_claims),
	    TEST(queue_death_keeps_claims),
	    TEST(orphans_of_our_own_death_are_freed),
	    TEST(a_scribbled_table_is_survived),
	    TEST(the_store_dies_while_a_subscription_is_made),
	    TEST(rings_are_limited_and_go_when_idle),
	    TEST(rings_grow_by_replacement),
	    TEST(seek_is_tried_first),
	    TEST(seek_moves_live_members),
	    TEST(a_seek_beats_a_flush_under_way),
	    TEST(groups_are_deleted_without_members),
	    TEST(lag_is_up_to_date),
	    TEST(retention_overtakes_a_group),
	    TEST(a_deleted_topic_takes_its_progress_along),
	    TEST(idle_members_cost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
