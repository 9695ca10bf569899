/*
 * topic_test.c - topics and what is durable of them: requests, rights, system
 * topics, foreign topics, complete states and reading them back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/name.h"
#include "play.h"

static struct play_client c;

static int
setup(void **state)
{
	play_init();
	play_queue_start();
	play_store_start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
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
restart(void)
{
	play_close(&c);
	play_broker_kill();
	play_queue_start();
	play_store_start();
	assert_true(play_is_ready());
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
}

static const struct lt_wire_topic *
described(void)
{
	return (const struct lt_wire_topic *)c.reply.bytes;
}

static int
update(const char *name, uint32_t read, uint32_t write, uint32_t perm,
    uint32_t force)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	req.read_queues = read;
	req.write_queues = write;
	req.perm = perm;
	req.force = force;
	(void)lt_bytes_field(req.name, sizeof(req.name), name);
	return play_call(&c, LT_OP_TOPIC_UPDATE, &req, sizeof(req));
}

static int
delete_topic(const char *name)
{
	struct lt_wire_name req;

	memset(&req, 0, sizeof(req));
	(void)lt_bytes_field(req.name, sizeof(req.name), name);
	return play_call(&c, LT_OP_TOPIC_DELETE, &req, sizeof(req));
}

static void
created_topics_survive(void **state)
{
	assert_int_equal(play_create(&c, "orders", 3), LEAT_OK);
	uint32_t id = described()->id;
	assert_int_equal(play_create(&c, "orders", 3), LEAT_E_EXISTS);
	restart();
	assert_int_equal(play_open(&c, "orders", 0), LEAT_OK);
	assert_int_equal(described()->id, id);
	assert_int_equal(described()->read_queues, 3);
	assert_int_equal(described()->write_queues, 3);
	assert_int_equal(described()->perm, LEAT_PERM_BOTH);
	assert_int_equal(described()->system, 0);
}

static void
nothing_happens_before_it_is_durable(void **state)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	strcpy(req.name, "orders");
	play_store_mute(1);
	play_post(&c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	assert_null(lt_topic_find(play_manager(), "orders"));
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1);
	assert_non_null(lt_topic_find(play_manager(), "orders"));
	/* And nothing at all if the log refuses. */
	play_refuse_appends(LEAT_E_NOSPACE);
	assert_int_equal(play_create(&c, "more", 1), LEAT_E_NOSPACE);
	play_refuse_appends(LEAT_OK);
	assert_int_equal(play_open(&c, "more", 0), LEAT_E_NOTFOUND);
	assert_int_equal(play_create(&c, "more", 1), LEAT_OK);
}

static void
illegal_names_and_numbers(void **state)
{
	char longest[LT_NAME_FIELD];

	assert_int_equal(play_create(&c, "", 1), LEAT_E_NAME);
	assert_int_equal(play_create(&c, "a/b", 1), LEAT_E_NAME);
	memset(longest, 'x', LT_TOPIC_MAX + 1);
	longest[LT_TOPIC_MAX + 1] = 0;
	assert_int_equal(play_create(&c, longest, 1), LEAT_E_NAME);
	assert_int_equal(play_create(&c, "rmq_sys_mine", 1), LEAT_E_DENIED);
	assert_int_equal(
	    play_create(&c, "big", LT_QUEUES_MAX + 1), LEAT_E_LIMIT);
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), 0);
}

static void
system_topics_are_the_brokers(void **state)
{
	assert_int_equal(play_open(&c, LT_NAME_CONFIG_TOPIC, 0), LEAT_OK);
	assert_int_equal(described()->id, 1);
	assert_int_equal(described()->system, 1);
	assert_int_equal(
	    play_open(&c, LT_NAME_PROGRESS_TOPIC, LT_RIGHT_PUBLISH),
	    LEAT_E_DENIED);
	assert_int_equal(delete_topic(LT_NAME_CONFIG_TOPIC), LEAT_E_DENIED);
	assert_int_equal(
	    update(LT_NAME_CONFIG_TOPIC, 4, 4, 0, 0), LEAT_E_DENIED);
}

static void
publishing_creates_and_grants(void **state)
{
	assert_int_equal(play_open(&c, "auto", 0), LEAT_E_NOTFOUND);
	assert_int_equal(play_open(&c, "auto", LT_RIGHT_PUBLISH), LEAT_OK);
	assert_int_equal(
	    described()->write_queues, play_options.queue_default_queues);
	assert_true(play_is_granted(c.session, described()->id));
	unsigned asked = play_store_got(LT_OP_S_GRANT);
	assert_int_equal(play_open(&c, "auto", LT_RIGHT_PUBLISH), LEAT_OK);
	assert_int_equal(play_store_got(LT_OP_S_GRANT), asked);
	assert_int_equal(update("auto", 0, 0, LEAT_PERM_READ, 0), LEAT_OK);
	assert_int_equal(play_open(&c, "auto", LT_RIGHT_PUBLISH), LEAT_E_PERM);
	play_manager()->options.queue_auto_create = 0;
	assert_int_equal(
	    play_open(&c, "manual", LT_RIGHT_PUBLISH), LEAT_E_NOTFOUND);
}

/* A second client's request for the same new topic waits for the first's. */
static void
two_create_at_once(void **state)
{
	struct play_client d;
	struct lt_wire_topic_open req;

	play_connect(&d);
	assert_int_equal(play_hello(&d), LEAT_OK);
	memset(&req, 0, sizeof(req));
	req.rights = LT_RIGHT_PUBLISH;
	strcpy(req.name, "auto");
	play_store_mute(1);
	play_post(&c, LT_OP_TOPIC_OPEN, &req, sizeof(req));
	play_post(&d, LT_OP_TOPIC_OPEN, &req, sizeof(req));
	play_pump();
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(play_receive(&d), 1);
	assert_int_equal(described()->h.status, LEAT_OK);
	assert_int_equal(
	    ((struct lt_wire_topic *)d.reply.bytes)->h.status, LEAT_OK);
	assert_int_equal(
	    ((struct lt_wire_topic *)d.reply.bytes)->id, described()->id);
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), 1);
	play_close(&d);
}

/* The one who asked leaves before the answer: the change is made. */
static void
a_change_outlives_its_client(void **state)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	strcpy(req.name, "orphan");
	play_store_mute(1);
	play_post(&c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
	play_pump();
	play_close(&c);
	play_store_mute(0);
	play_pump();
	assert_non_null(lt_topic_find(play_manager(), "orphan"));
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_create(&c, "next", 1), LEAT_OK);
}

static void
store_death_during_a_change(void **state)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	strcpy(req.name, "orders");
	play_store_mute(1);
	play_post(&c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
	play_pump();
	play_store_kill();
	play_store_mute(0);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(described()->h.status, LEAT_OK);
	uint32_t id = described()->id;
	restart();
	assert_int_equal(play_open(&c, "orders", 0), LEAT_OK);
	assert_int_equal(described()->id, id);
}

/* We die with the change logged and the client not told. */
static void
our_own_death_behind_a_change(void **state)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	req.read_queues = req.write_queues = 3;
	strcpy(req.name, "orders");
	play_freeze_at(LT_OP_S_APPEND);
	play_post(&c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	play_queue_kill();
	play_queue_start();
	play_close(&c);
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_create(&c, "orders", 3), LEAT_E_EXISTS);
	assert_int_equal(play_open(&c, "orders", 0), LEAT_OK);
	assert_int_equal(described()->read_queues, 3);
}

static void
shrinking_takes_two_steps(void **state)
{
	assert_int_equal(play_create(&c, "t", 4), LEAT_OK);
	assert_int_equal(update("t", 2, 0, 0, 0), LEAT_E_INVALID);
	assert_int_equal(update("t", 2, 2, 0, 0), LEAT_OK);
	assert_int_equal(update("t", 1, 2, 0, 0), LEAT_E_INVALID);
	assert_int_equal(update("t", 1, 2, 0, 1), LEAT_OK);
	assert_int_equal(described()->read_queues, 1);
	assert_int_equal(described()->write_queues, 2);
	assert_int_equal(update("t", 0, 0, 3, 0), LEAT_E_INVALID);
	assert_int_equal(update("absent", 1, 1, 0, 0), LEAT_E_NOTFOUND);
}

static void
changes_are_told_to_who_opened(void **state)
{
	struct play_client other;
	struct lt_wire_topic ev;

	assert_int_equal(play_create(&c, "t", 4), LEAT_OK);
	play_connect(&other);
	assert_int_equal(play_hello(&other), LEAT_OK);
	assert_int_equal(play_open(&other, "t", 0), LEAT_OK);
	assert_int_equal(update("t", 8, 8, 0, 0), LEAT_OK);
	(void)play_receive(&other);
	assert_int_equal(other.events[LT_OP_EV_TOPIC], 1);
	assert_int_equal(c.events[LT_OP_EV_TOPIC], 0);
	memcpy(&ev, other.event.bytes, sizeof(ev));
	assert_int_equal(ev.read_queues, 8);
	assert_int_equal(delete_topic("t"), LEAT_OK);
	(void)play_receive(&other);
	memcpy(&ev, other.event.bytes, sizeof(ev));
	assert_int_equal(ev.deleted, 1);
	play_close(&other);
}

static void
deleted_topics_stay_deleted(void **state)
{
	assert_int_equal(play_create(&c, "t", 2), LEAT_OK);
	uint32_t id = described()->id;
	play_publish("t", 0, NULL, NULL, "x", 1);
	assert_int_equal(delete_topic("t"), LEAT_OK);
	assert_int_equal(delete_topic("t"), LEAT_E_NOTFOUND);
	/* The log still has a record of it. */
	restart();
	assert_int_equal(play_open(&c, "t", 0), LEAT_E_NOTFOUND);
	play_roll();
	restart();
	assert_int_equal(play_open(&c, "t", 0), LEAT_E_NOTFOUND);
	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	assert_true(described()->id > id);
	restart();
	assert_int_equal(play_open(&c, "t", 0), LEAT_OK);
	assert_int_equal(described()->read_queues, 1);
}

static void
foreign_topics_are_found_in_the_log(void **state)
{
	play_close(&c);
	play_broker_kill();
	play_publish("TopicTest", 0, NULL, NULL, "x", 1);
	play_publish("TopicTest", 7, NULL, NULL, "x", 1);
	play_publish("RMQ_SYS_TRACE_TOPIC", 2, NULL, NULL, "x", 1);
	play_queue_start();
	play_store_start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_open(&c, "TopicTest", 0), LEAT_OK);
	assert_int_equal(described()->read_queues, 8);
	uint32_t id = described()->id;
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), 2);
	/* Its configuration is a record now. */
	restart();
	assert_int_equal(play_open(&c, "TopicTest", 0), LEAT_OK);
	assert_int_equal(described()->id, id);
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), 2);
}

static void
lists_page_by_name(void **state)
{
	struct lt_wire_name req;
	const struct lt_wire_topics *r = (const void *)c.reply.bytes;
	const struct lt_wire_topic_entry *e = (const void *)(r + 1);
	char name[32], last[LT_NAME_FIELD] = "";
	unsigned seen = 0, pages = 0;

	for (int i = 0; i < 230; i++) {
		snprintf(name, sizeof(name), "t%03d", i);
		assert_int_equal(play_create(&c, name, 1), LEAT_OK);
	}
	do {
		memset(&req, 0, sizeof(req));
		memcpy(req.name, last, sizeof(last));
		assert_int_equal(
		    play_call(&c, LT_OP_TOPIC_LIST, &req, sizeof(req)),
		    LEAT_OK);
		for (uint32_t i = 0; i < r->count; i++) {
			assert_true(strcmp(last, e[i].name) < 0);
			memcpy(last, e[i].name, sizeof(last));
			seen++;
		}
		pages++;
	} while (r->more);
	assert_int_equal(seen, 233); /* with three of the broker's own */
	assert_int_equal(pages, 2);
}

static void
a_complete_state_replaces_what_was_before(void **state)
{
	char name[32];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		assert_int_equal(play_create(&c, name, 1), LEAT_OK);
	}
	int64_t before = play_records(LT_NAME_CONFIG_TOPIC);
	play_roll();
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), before + 20 + 2);
	assert_int_equal(update("t3", 9, 9, 0, 0), LEAT_OK);
	/* What lies before the state is not needed any more. */
	play_retain(LT_NAME_CONFIG_TOPIC, 0, before);
	restart();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		assert_int_equal(play_open(&c, name, 0), LEAT_OK);
		assert_int_equal(described()->read_queues, i == 3 ? 9 : 1);
	}
}

/* We die in the middle of writing a complete state. */
static void
a_state_cut_short_is_not_believed(void **state)
{
	assert_int_equal(play_create(&c, "a", 1), LEAT_OK);
	assert_int_equal(play_create(&c, "b", 2), LEAT_OK);
	play_roll();
	assert_int_equal(play_create(&c, "d", 3), LEAT_OK);
	/* The mark alone, as a half written state leaves it. */
	play_publish(LT_NAME_CONFIG_TOPIC, 0, NULL, "begin", "", 0);
	int64_t before = play_records(LT_NAME_CONFIG_TOPIC);
	restart();
	assert_int_equal(play_open(&c, "a", 0), LEAT_OK);
	assert_int_equal(play_open(&c, "b", 0), LEAT_OK);
	assert_int_equal(play_open(&c, "d", 0), LEAT_OK);
	/* It was made good at once. */
	assert_int_equal(play_records(LT_NAME_CONFIG_TOPIC), before + 3 + 2);
}

/* A roll while a change is under way must not undo it. */
static void
a_roll_waits_for_a_change(void **state)
{
	struct lt_wire_topic req;

	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	memset(&req, 0, sizeof(req));
	req.read_queues = req.write_queues = 5;
	strcpy(req.name, "t");
	play_store_mute(1);
	play_post(&c, LT_OP_TOPIC_UPDATE, &req, sizeof(req));
	play_pump();
	play_roll();
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1);
	play_pump();
	restart();
	assert_int_equal(play_open(&c, "t", 0), LEAT_OK);
	assert_int_equal(described()->read_queues, 5);
}

static void
a_damaged_record_costs_itself(void **state)
{
	assert_int_equal(play_create(&c, "a", 1), LEAT_OK);
	assert_int_equal(play_create(&c, "b", 1), LEAT_OK);
	play_damage(LT_NAME_CONFIG_TOPIC, 0, 0);
	restart();
	assert_int_equal(play_open(&c, "a", 0), LEAT_E_NOTFOUND);
	assert_int_equal(play_open(&c, "b", 0), LEAT_OK);
}

static void
rights_are_checked(void **state)
{
	struct play_client d;

	play_manager()->options.access_count = 1;
	play_manager()->options.access[0] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_USER,
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_SUBSCRIBE,
		.who.id = 4242,
		.pattern = "public*"};
	assert_int_equal(play_create(&c, "public1", 1), LEAT_OK);
	assert_int_equal(play_create(&c, "secret", 1), LEAT_OK);
	play_connect_as(&d, 4242);
	assert_int_equal(play_hello(&d), LEAT_OK);
	assert_int_equal(play_open(&d, "public1", 0), LEAT_OK);
	assert_int_equal(
	    play_open(&d, "public1", LT_RIGHT_PUBLISH), LEAT_E_DENIED);
	assert_int_equal(play_open(&d, "secret", 0), LEAT_E_DENIED);
	assert_int_equal(
	    play_open(&d, "public2", LT_RIGHT_PUBLISH), LEAT_E_DENIED);
	assert_int_equal(play_create(&d, "public3", 1), LEAT_E_DENIED);
	struct lt_wire_name req;
	memset(&req, 0, sizeof(req));
	assert_int_equal(
	    play_call(&d, LT_OP_TOPIC_LIST, &req, sizeof(req)), LEAT_OK);
	assert_int_equal(((struct lt_wire_topics *)d.reply.bytes)->count, 1);
	play_close(&d);
}

static void
settings_may_take_rights_back(void **state)
{
	struct lt_manager *m = play_manager();
	struct play_client d;

	m->options.access_count = 1;
	m->options.access[0] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_ANY,
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE,
		.pattern = "*"};
	play_connect_as(&d, 4242);
	assert_int_equal(play_hello(&d), LEAT_OK);
	assert_int_equal(play_open(&d, "t", LT_RIGHT_PUBLISH), LEAT_OK);
	uint32_t id = ((struct lt_wire_topic *)d.reply.bytes)->id;
	m->options.access[0].rights = LT_RIGHT_SUBSCRIBE;
	lt_grants_review(m);
	play_pump();
	/* It used it: the session ends, and the next has what is left. */
	assert_false(play_is_granted(d.session, id));
	assert_int_equal(play_receive(&d), -1000);
	assert_int_equal(d.events[LT_OP_EV_CLOSED], 1);
	play_close(&d);
	play_connect_as(&d, 4242);
	assert_int_equal(play_hello(&d), LEAT_OK);
	assert_int_equal(play_open(&d, "t", LT_RIGHT_PUBLISH), LEAT_E_DENIED);
	assert_int_equal(play_open(&d, "t", 0), LEAT_OK);
	m->options.access_count = 0;
	lt_grants_review(m);
	play_pump();
	assert_int_equal(play_receive(&d), -1000);
	assert_int_equal(d.events[LT_OP_EV_CLOSED], 1);
	play_close(&d);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(created_topics_survive),
	    TEST(nothing_happens_before_it_is_durable),
	    TEST(illegal_names_and_numbers),
	    TEST(system_topics_are_the_brokers),
	    TEST(publishing_creates_and_grants),
	    TEST(two_create_at_once),
	    TEST(a_change_outlives_its_client),
	    TEST(store_death_during_a_change),
	    TEST(our_own_death_behind_a_change),
	    TEST(shrinking_takes_two_steps),
	    TEST(changes_are_told_to_who_opened),
	    TEST(deleted_topics_stay_deleted),
	    TEST(foreign_topics_are_found_in_the_log),
	    TEST(lists_page_by_name),
	    TEST(a_complete_state_replaces_what_was_before),
	    TEST(a_state_cut_short_is_not_believed),
	    TEST(a_roll_waits_for_a_change),
	    TEST(a_damaged_record_costs_itself),
	    TEST(rights_are_checked),
	    TEST(settings_may_take_rights_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
