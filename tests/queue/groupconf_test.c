/*
 * groupconf_test.c - what is set for groups: durable before it is answered,
 * read back, listed in pages, gone when it is unset or the group is deleted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "member.h"
#include "proto/name.h"
#include "shm/counter.h"

struct set {
	struct lt_wire_group_set w;
	char text[LT_SETTING_TEXT_MAX + 1];
};

static size_t
make_set(struct set *req, const char *group, const char *topic,
    const char *text, uint32_t only_new)
{
	memset(&req->w, 0, sizeof(req->w));
	req->w.only_new = only_new;
	(void)lt_bytes_field(req->w.group, sizeof(req->w.group), group);
	(void)lt_bytes_field(req->w.topic, sizeof(req->w.topic), topic);
	memcpy(req->text, text, strlen(text));
	return sizeof(req->w) + strlen(text);
}

static uint64_t
changes(void)
{
	return ((const struct lt_wire_number *)member_client.reply.bytes)
	    ->number;
}

static int
set(const char *group, const char *topic, const char *text)
{
	struct set req;
	size_t bytes = make_set(&req, group, topic, text, 0);

	return play_call(&member_client, LT_OP_GROUP_SET, &req, bytes);
}

static int
unset(const char *group)
{
	struct lt_wire_name req = {0};

	(void)lt_bytes_field(req.name, sizeof(req.name), group);
	return play_call(&member_client, LT_OP_GROUP_UNSET, &req, sizeof(req));
}

/* All settings, one after the other: "group/topic=text;". */
static const char *
listed(const char *group, unsigned *pages_out)
{
	static char all[1 << 20];
	struct lt_wire_group req = {0};
	const struct lt_wire_groups *r =
	    (const void *)member_client.reply.bytes;
	unsigned pages = 0;
	size_t n = 0;

	(void)lt_bytes_field(req.group, sizeof(req.group), group);
	all[0] = 0;
	do {
		const uint8_t *at = (const uint8_t *)(r + 1);

		assert_int_equal(play_call(&member_client, LT_OP_GROUP_SETTINGS,
				     &req, sizeof(req)),
		    LEAT_OK);
		pages++;
		for (uint32_t i = 0; i < r->count; i++) {
			const struct lt_wire_setting *e = (const void *)at;
			const char *text = (const char *)(e + 1);

			assert_int_equal(text[e->text_bytes], 0);
			n += (size_t)snprintf(all + n, sizeof(all) - n,
			    "%s/%s=%s;", e->group, e->topic, text);
			at += lt_bytes_align(
			    sizeof(*e) + (size_t)e->text_bytes + 1, 8);
		}
		assert_ptr_equal(
		    at, member_client.reply.bytes + member_client.reply.size);
		req.cursor = r->cursor;
	} while (req.cursor != 0);
	if (pages_out != NULL)
		*pages_out = pages;
	return all;
}

static void
restart_queue(void)
{
	play_queue_kill();
	play_queue_start();
	play_close(&member_client);
	play_connect(&member_client);
	assert_int_equal(play_hello(&member_client), LEAT_OK);
}

/* --- tests ---------------------------------------------------------------- */

static void
settings_survive(void **state)
{
	assert_string_equal(listed("", NULL), "");
	assert_int_equal(set("g", "", "retryMaxTimes=3\n"), LEAT_OK);
	assert_int_equal(set("g", "t", "mode=POP\n"), LEAT_OK);
	assert_int_equal(set("a b", "", ""), LEAT_OK);
	assert_int_equal(set("g", "", "retryMaxTimes=4\na=b\n"), LEAT_OK);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(listed("", NULL),
		    "g/=retryMaxTimes=4\na=b\n;g/t=mode=POP\n;a b/=;");
		assert_string_equal(listed("a b", NULL), "a b/=;");
		assert_string_equal(listed("none", NULL), "");
		if (i == 0)
			restart_queue();
		if (i == 1)
			member_restart_broker();
	}
	/* Not one of a topic's name: no topic is made or changed by these. */
	assert_int_equal(play_open(&member_client, "g", 0), LEAT_E_NOTFOUND);
}

static void
unset_removes_all_of_a_group(void **state)
{
	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(set("g", "t", "mode=POP\n"), LEAT_OK);
	assert_int_equal(set("h", "t", "mode=POP\n"), LEAT_OK);
	assert_int_equal(unset("g"), LEAT_OK);
	assert_int_equal(unset("g"), LEAT_E_NOTFOUND);
	assert_string_equal(listed("", NULL), "h/t=mode=POP\n;");
	member_restart_broker();
	assert_string_equal(listed("", NULL), "h/t=mode=POP\n;");
	assert_int_equal(set("g", "", "x=2\n"), LEAT_OK);
	member_restart_broker();
	assert_string_equal(listed("", NULL), "h/t=mode=POP\n;g/=x=2\n;");
}

/* With progress, without, with members. */
static void
a_deleted_group_has_none(void **state)
{
	struct play_sub a;

	member_publish(3);
	assert_int_equal(member_join(&member_client, &a, "g"), LEAT_OK);
	member_consume(&a, 0, 3);
	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(set("other", "t", "mode=POP\n"), LEAT_OK);
	assert_int_equal(member_delete_group("g"), LEAT_E_BUSY);
	assert_string_equal(listed("g", NULL), "g/=x=1\n;");
	assert_int_equal(play_unsubscribe(&member_client, a.id), LEAT_OK);
	play_sub_fini(&a);
	assert_int_equal(member_delete_group("g"), LEAT_OK);
	assert_string_equal(listed("", NULL), "other/t=mode=POP\n;");
	assert_int_equal(member_delete_group("other"), LEAT_OK);
	assert_int_equal(member_delete_group("other"), LEAT_E_NOTFOUND);
	member_restart_broker();
	assert_string_equal(listed("", NULL), "");
	assert_int_equal(member_delete_group("g"), LEAT_E_NOTFOUND);
}

static void
nothing_happens_before_it_is_durable(void **state)
{
	struct set req;
	size_t bytes = make_set(&req, "g", "", "x=1\n", 0);

	play_store_mute(1);
	play_post(&member_client, LT_OP_GROUP_SET, &req, bytes);
	assert_int_equal(play_receive(&member_client), 0);
	assert_int_equal(lt_groupconf_any(play_manager(), "g"), 0);
	play_store_mute(0);
	assert_int_equal(play_receive(&member_client), 1);
	assert_string_equal(listed("", NULL), "g/=x=1\n;");
	/* And nothing at all if the log refuses. */
	play_refuse_appends(LEAT_E_NOSPACE);
	assert_int_equal(set("g", "", "x=2\n"), LEAT_E_NOSPACE);
	assert_int_equal(set("h", "", "x=2\n"), LEAT_E_NOSPACE);
	assert_int_equal(unset("g"), LEAT_E_NOSPACE);
	play_refuse_appends(LEAT_OK);
	assert_string_equal(listed("", NULL), "g/=x=1\n;");
	member_restart_broker();
	assert_string_equal(listed("", NULL), "g/=x=1\n;");
}

/* The store dies with it, then we do: it is made or was made, once. */
static void
deaths_during_a_change(void **state)
{
	struct set req;
	size_t bytes = make_set(&req, "g", "", "x=1\n", 0);

	play_store_mute(1);
	play_post(&member_client, LT_OP_GROUP_SET, &req, bytes);
	play_pump();
	play_store_kill();
	play_store_mute(0);
	play_store_start();
	assert_int_equal(play_receive(&member_client), 1);
	assert_string_equal(listed("", NULL), "g/=x=1\n;");
	bytes = make_set(&req, "g", "", "x=2\n", 0);
	play_freeze_at(LT_OP_S_APPEND);
	play_post(&member_client, LT_OP_GROUP_SET, &req, bytes);
	assert_int_equal(play_receive(&member_client), 0);
	restart_queue();
	assert_string_equal(listed("", NULL), "g/=x=2\n;");
	/* Who asked leaves: it is made all the same. */
	bytes = make_set(&req, "g", "", "x=3\n", 0);
	play_store_mute(1);
	play_post(&member_client, LT_OP_GROUP_SET, &req, bytes);
	play_pump();
	play_close(&member_client);
	play_store_mute(0);
	play_pump();
	play_connect(&member_client);
	assert_int_equal(play_hello(&member_client), LEAT_OK);
	assert_string_equal(listed("", NULL), "g/=x=3\n;");
}

static void
a_complete_state_has_them(void **state)
{
	assert_int_equal(set("gone", "", "x=0\n"), LEAT_OK);
	assert_int_equal(unset("gone"), LEAT_OK);
	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(set("g", "t", "mode=POP\n"), LEAT_OK);
	int64_t before = play_records(LT_NAME_CONFIG_TOPIC);
	play_roll();
	/* Marks, one topic, two settings. */
	assert_int_equal(
	    play_records(LT_NAME_CONFIG_TOPIC), before + 2 + 1 + 2);
	assert_int_equal(set("g", "", "x=2\n"), LEAT_OK);
	play_retain(LT_NAME_CONFIG_TOPIC, 0, before);
	member_restart_broker();
	assert_string_equal(listed("", NULL), "g/=x=2\n;g/t=mode=POP\n;");
}

/* A roll while a change is under way must not undo it. */
static void
a_roll_waits_for_a_change(void **state)
{
	struct set req;
	size_t bytes = make_set(&req, "g", "", "x=2\n", 0);

	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	play_store_mute(1);
	play_post(&member_client, LT_OP_GROUP_SET, &req, bytes);
	play_pump();
	play_roll();
	play_store_mute(0);
	assert_int_equal(play_receive(&member_client), 1);
	play_pump();
	member_restart_broker();
	assert_string_equal(listed("", NULL), "g/=x=2\n;");
}

static void
a_damaged_record_costs_itself(void **state)
{
	int64_t at = play_records(LT_NAME_CONFIG_TOPIC);

	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(set("h", "", "x=1\n"), LEAT_OK);
	play_damage(LT_NAME_CONFIG_TOPIC, 0, at);
	member_restart_broker();
	assert_string_equal(listed("", NULL), "h/=x=1\n;");
	assert_int_equal(play_open(&member_client, "t", 0), LEAT_OK);
}

/* Each change is counted, and its answer says the count; reading back counts,
 * too, so that nobody goes on with what he knew. */
static void
changes_are_counted(void **state)
{
	uint64_t n = lt_stat_get(queue_group_changes);

	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(changes(), n + 1);
	assert_int_equal(set("g", "t", "mode=POP\n"), LEAT_OK);
	assert_int_equal(changes(), n + 2);
	assert_int_equal(unset("none"), LEAT_E_NOTFOUND);
	assert_int_equal(lt_stat_get(queue_group_changes), n + 2);
	assert_int_equal(unset("g"), LEAT_OK);
	assert_int_equal(changes(), n + 4);
	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	assert_int_equal(member_delete_group("g"), LEAT_OK);
	assert_int_equal(lt_stat_get(queue_group_changes), n + 6);
	assert_int_equal(set("g", "", "x=1\n"), LEAT_OK);
	member_restart_broker();
	assert_true(lt_stat_get(queue_group_changes) > 0);
}

static void
many_come_in_pages(void **state)
{
	enum {
		MANY = 300
	};
	static char want[1 << 20];
	char name[32];
	unsigned pages;
	size_t n = 0;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		assert_int_equal(set(name, "", "consumeEnable=false\n"), 0);
		n += (size_t)snprintf(want + n, sizeof(want) - n,
		    "%s/=consumeEnable=false\n;", name);
	}
	assert_string_equal(listed("", &pages), want);
	assert_true(pages > 2);
	member_restart_broker();
	assert_string_equal(listed("", &pages), want);
}

static void
what_is_refused(void **state)
{
	char long_text[LT_SETTING_TEXT_MAX + 1], longest[LT_NAME_FIELD];
	struct set req;
	size_t bytes;

	memset(long_text, 'x', sizeof(long_text));
	long_text[LT_SETTING_TEXT_MAX] = 0;
	assert_int_equal(set("", "", "x=1\n"), LEAT_E_NAME);
	assert_int_equal(set("a\001b", "", "x=1\n"), LEAT_E_NAME);
	assert_int_equal(set("g", "t\n", "x=1\n"), LEAT_E_NAME);
	assert_int_equal(set("g", "", "x=\001"), LEAT_E_INVALID);
	assert_int_equal(unset(""), LEAT_E_NAME);
	memset(req.text, 0, sizeof(req.text));
	bytes = make_set(&req, "g", "", long_text, 0);
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_SET, &req, bytes + 1),
	    LEAT_E_TOOBIG);
	memset(req.w.group, 'g', sizeof(req.w.group));
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_SET, &req, bytes),
	    LEAT_E_NAME);
	assert_string_equal(listed("", NULL), "");
	/* The largest there can be. */
	memset(longest, 'n', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(set(longest, longest, long_text), LEAT_OK);
	member_restart_broker();
	assert_int_equal(strlen(listed("", NULL)),
	    2 * (LT_NAME_FIELD - 1) + LT_SETTING_TEXT_MAX + 3);
	/* Only if there is none yet. */
	bytes = make_set(&req, "g", "", "x=1\n", 1);
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_SET, &req, bytes), LEAT_OK);
	bytes = make_set(&req, "g", "", "x=2\n", 1);
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_SET, &req, bytes),
	    LEAT_E_EXISTS);
	assert_string_equal(listed("g", NULL), "g/=x=1\n;");
}

static void
rights_are_checked(void **state)
{
	struct play_client own = member_client;

	assert_int_equal(set("mine", "", "x=1\n"), LEAT_OK);
	assert_int_equal(set("theirs", "", "x=1\n"), LEAT_OK);
	play_manager()->options.access_count = 1;
	play_manager()->options.access[0] = (struct lt_access_rule){
	    .who = {.kind = LT_PRINCIPAL_USER, .id = 4242},
	    .what = LT_ACCESS_GROUP,
	    .rights = LT_RIGHT_SUBSCRIBE,
	    .pattern = "th*"};
	play_connect_as(&member_client, 4242);
	assert_int_equal(play_hello(&member_client), LEAT_OK);
	assert_string_equal(listed("", NULL), "theirs/=x=1\n;");
	assert_string_equal(listed("mine", NULL), "");
	assert_int_equal(set("theirs", "", "x=2\n"), LEAT_E_DENIED);
	assert_int_equal(unset("theirs"), LEAT_E_DENIED);
	play_manager()->options.access[0].rights |= LT_RIGHT_MANAGE;
	assert_int_equal(set("theirs", "", "x=2\n"), LEAT_OK);
	assert_int_equal(unset("mine"), LEAT_E_DENIED);
	assert_int_equal(unset("theirs"), LEAT_OK);
	play_close(&member_client);
	member_client = own;
	play_manager()->options.access_count = 0;
	assert_string_equal(listed("", NULL), "mine/=x=1\n;");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, member_setup, member_teardown)
	const struct CMUnitTest tests[] = {
	    T(settings_survive),
	    T(unset_removes_all_of_a_group),
	    T(a_deleted_group_has_none),
	    T(nothing_happens_before_it_is_durable),
	    T(deaths_during_a_change),
	    T(a_complete_state_has_them),
	    T(a_roll_waits_for_a_change),
	    T(a_damaged_record_costs_itself),
	    T(changes_are_counted),
	    T(many_come_in_pages),
	    T(what_is_refused),
	    T(rights_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
