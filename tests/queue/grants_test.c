/*
 * grants_test.c - grants in the log and what follows from them: who may change
 * them, that they survive whatever dies, that what is taken back is gone at
 * once, and the records of the audit topic.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/access.h"
#include "proto/auditline.h"
#include "proto/name.h"
#include "play.h"
#include "shm/counter.h"

#define SHOP 4242
#define ALL "publish,subscribe,manage,trace"

static struct play_client c;

static int
setup(void **state)
{
	play_options.access_count = 0;
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
	play_options.access_count = 0;
	return 0;
}

static void
restart_all(void)
{
	play_close(&c);
	play_broker_kill();
	play_queue_start();
	play_store_start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
}

static void
restart_queue(void)
{
	play_close(&c);
	play_queue_kill();
	play_queue_start();
	play_pump();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
}

static struct lt_wire_rule
rule_of(
    const char *who, const char *what, const char *pattern, const char *rights)
{
	struct lt_wire_rule r = {.what = lt_access_what(what)};
	unsigned mask;
	char bad[64];

	assert_int_equal(lt_access_rights(rights, &mask, bad), LEAT_OK);
	r.rights = mask;
	assert_int_equal(lt_bytes_field(r.who, sizeof(r.who), who), 0);
	assert_int_equal(
	    lt_bytes_field(r.pattern, sizeof(r.pattern), pattern), 0);
	return r;
}

static int
change(struct play_client *by, enum lt_op op, const char *who, const char *what,
    const char *pattern, const char *rights)
{
	struct lt_wire_rule r = rule_of(who, what, pattern, rights);

	return play_call(by, op, &r, sizeof(r));
}

static int
add(const char *who, const char *what, const char *pattern, const char *rights)
{
	return change(&c, LT_OP_GRANT_ADD, who, what, pattern, rights);
}

static int
take_back(
    const char *who, const char *what, const char *pattern, const char *rights)
{
	return change(&c, LT_OP_GRANT_REMOVE, who, what, pattern, rights);
}

static const struct lt_wire_rule *
answer(const struct play_client *of)
{
	return (const void *)of->reply.bytes;
}

/* 1: who has the right on the name, and that rule says so. */
static int
has(const char *who, const char *what, const char *name, const char *right)
{
	struct lt_wire_rule r = rule_of(who, what, name, right);

	assert_int_equal(
	    play_call(&c, LT_OP_GRANT_TEST, &r, sizeof(r)), LEAT_OK);
	return (answer(&c)->rights & r.rights) != 0;
}

static unsigned
listed(void)
{
	struct lt_wire_number req = {.number = 0};
	const struct lt_wire_rules *r = (const void *)c.reply.bytes;
	unsigned n = 0;

	do {
		assert_int_equal(
		    play_call(&c, LT_OP_GRANT_LIST, &req, sizeof(req)),
		    LEAT_OK);
		n += r->count;
		req.number = r->next;
	} while (r->next != 0);
	return n;
}

static uint64_t
changes(void)
{
	return lt_stat_get(queue_grant_changes);
}

static void
connect_shop(struct play_client *d)
{
	play_connect_as(d, SHOP);
	assert_int_equal(play_hello(d), LEAT_OK);
}

/* --- grants --- */

static void
grants_add_up_and_go(void **state)
{
	uint64_t before = changes();

	assert_int_equal(add("user:4242", "topic", "o*", "publish"), LEAT_OK);
	assert_true(changes() > before);
	assert_int_equal(add("user:4242", "topic", "o*", "trace"), LEAT_OK);
	assert_int_equal(answer(&c)->rights, LT_RIGHT_PUBLISH | LT_RIGHT_TRACE);
	assert_int_equal(listed(), 1);
	assert_true(has("user:4242", "topic", "orders", "publish"));
	assert_string_equal(answer(&c)->pattern, "o*");
	assert_false(has("user:4242", "topic", "orders", "manage"));
	assert_false(has("user:4242", "topic", "other-no", "manage"));
	assert_false(has("user:4242", "group", "orders", "publish"));
	assert_false(has("user:4243", "topic", "orders", "publish"));
	assert_true(has("user:0", "topic", "orders", "manage"));
	assert_int_equal(answer(&c)->origin, LT_RULE_OWN);
	before = changes();
	assert_int_equal(
	    take_back("user:4242", "topic", "o*", "publish"), LEAT_OK);
	assert_int_equal(answer(&c)->rights, LT_RIGHT_TRACE);
	assert_true(changes() > before);
	assert_int_equal(
	    take_back("user:4242", "topic", "o*", "publish"), LEAT_E_NOTFOUND);
	assert_true(strlen(answer(&c)->why) > 0);
	assert_int_equal(take_back("user:4242", "topic", "o*", ALL), LEAT_OK);
	assert_int_equal(listed(), 0);
	/* any means local ones only. */
	assert_int_equal(add("any", "topic", "o*", "publish"), LEAT_OK);
	assert_true(has("user:4242", "topic", "orders", "publish"));
	assert_false(has("ak:shop", "topic", "orders", "publish"));
}

static void
rules_of_the_file_are_not_ours(void **state)
{
	struct lt_manager *m = play_manager();

	m->options.access_count = 1;
	m->options.access[0] =
	    (struct lt_access_rule){.who = lt_principal_ak("shop"),
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_PUBLISH,
		.pattern = "o*"};
	assert_int_equal(listed(), 1);
	assert_true(has("ak:shop", "topic", "orders", "publish"));
	assert_int_equal(answer(&c)->origin, LT_RULE_FILE);
	assert_int_equal(
	    take_back("ak:shop", "topic", "o*", "publish"), LEAT_E_NOTFOUND);
	assert_non_null(strstr(answer(&c)->why, "leat.conf"));
	assert_int_equal(add("ak:shop", "topic", "o*", "publish"), LEAT_OK);
	assert_int_equal(listed(), 2);
	assert_int_equal(
	    take_back("ak:shop", "topic", "o*", "publish"), LEAT_OK);
	assert_true(has("ak:shop", "topic", "orders", "publish"));
}

static void
nonsense_is_refused(void **state)
{
	struct lt_wire_rule r = rule_of("any", "topic", "o", "publish");
	uint64_t before = changes();
	char longest[LT_ACCESS_PATTERN + 1];

	assert_int_equal(add("user:shop", "topic", "o", "publish"),
	    LEAT_E_INVALID); /* names are for who asks */
	assert_non_null(strstr(answer(&c)->why, "number"));
	assert_int_equal(add("shop", "topic", "o", "publish"), LEAT_E_INVALID);
	assert_int_equal(
	    add("key:shop", "topic", "o", "publish"), LEAT_E_INVALID);
	assert_int_equal(add("any", "topic", "", "publish"), LEAT_E_INVALID);
	assert_int_equal(add("any", "topic", "a b", "publish"), LEAT_E_INVALID);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(
	    add("any", "topic", longest, "publish"), LEAT_E_INVALID);
	r.rights = 0;
	assert_int_equal(
	    play_call(&c, LT_OP_GRANT_ADD, &r, sizeof(r)), LEAT_E_INVALID);
	r.rights = 16;
	assert_int_equal(
	    play_call(&c, LT_OP_GRANT_ADD, &r, sizeof(r)), LEAT_E_INVALID);
	r = rule_of("any", "topic", "o", "publish");
	r.what = 3;
	assert_int_equal(
	    play_call(&c, LT_OP_GRANT_ADD, &r, sizeof(r)), LEAT_E_INVALID);
	memset(r.who, 'x', sizeof(r.who));
	assert_int_equal(
	    play_call(&c, LT_OP_GRANT_ADD, &r, sizeof(r)), LEAT_E_INVALID);
	assert_int_equal(changes(), before);
	assert_int_equal(listed(), 0);
}

static void
only_who_manages_everything_may(void **state)
{
	struct play_client d;
	struct lt_wire_number list = {.number = 0};

	assert_int_equal(add("user:4242", "topic", "?*", "manage"), LEAT_OK);
	assert_int_equal(add("user:4242", "group", "*", "manage"), LEAT_OK);
	connect_shop(&d);
	assert_int_equal(
	    change(&d, LT_OP_GRANT_ADD, "user:4242", "topic", "*", "publish"),
	    LEAT_E_DENIED);
	assert_true(strlen(answer(&d)->why) > 0);
	assert_int_equal(play_call(&d, LT_OP_GRANT_LIST, &list, sizeof(list)),
	    LEAT_E_DENIED);
	assert_int_equal(add("user:4242", "topic", "*", "trace"), LEAT_OK);
	assert_int_equal(
	    play_call(&d, LT_OP_GRANT_LIST, &list, sizeof(list)), LEAT_OK);
	assert_int_equal(
	    change(&d, LT_OP_GRANT_REMOVE, "user:4242", "topic", "*", "trace"),
	    LEAT_E_DENIED);
	assert_int_equal(add("user:4242", "topic", "*", "manage"), LEAT_OK);
	assert_int_equal(
	    change(&d, LT_OP_GRANT_ADD, "user:4242", "topic", "*", "publish"),
	    LEAT_OK);
	play_close(&d);
}

static void
there_is_a_limit(void **state)
{
	char who[32];

	for (int i = 0; i < LT_GRANTS_MAX; i++) {
		snprintf(who, sizeof(who), "ak:a%05d", i);
		assert_int_equal(add(who, "topic", "*", "publish"), LEAT_OK);
	}
	assert_int_equal(
	    add("ak:one-more", "topic", "*", "publish"), LEAT_E_LIMIT);
	assert_non_null(strstr(answer(&c)->why, "4096"));
	assert_int_equal(add(who, "topic", "*", "trace"), LEAT_OK);
	assert_int_equal(listed(), LT_GRANTS_MAX);
	assert_true(has("ak:a00007", "topic", "t", "publish"));
	assert_int_equal(
	    take_back("ak:a00007", "topic", "*", "publish"), LEAT_OK);
	assert_int_equal(add("ak:one-more", "topic", "*", "publish"), LEAT_OK);
}

/* --- durable --- */

static void
grants_survive(void **state)
{
	assert_int_equal(add("ak:a*", "topic", "o*", ALL), LEAT_OK);
	assert_int_equal(add("key:AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			     "group", "g", "subscribe"),
	    LEAT_OK);
	assert_int_equal(add("os-group:77", "topic", "x", "trace"), LEAT_OK);
	assert_int_equal(take_back("ak:a*", "topic", "o*", "manage"), LEAT_OK);
	assert_int_equal(
	    take_back("os-group:77", "topic", "x", "trace"), LEAT_OK);
	for (int round = 0; round < 3; round++) {
		if (round == 0)
			restart_queue();
		else
			restart_all();
		assert_int_equal(listed(), 2);
		assert_true(has("ak:abc", "topic", "orders", "publish"));
		assert_false(has("ak:abc", "topic", "orders", "manage"));
		assert_true(
		    has("key:AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			"group", "g", "subscribe"));
		assert_false(has("os-group:77", "topic", "x", "trace"));
		if (round == 1) { /* the complete state has them */
			int64_t before = play_records(LT_NAME_CONFIG_TOPIC);

			play_roll();
			play_pump();
			assert_int_equal(
			    play_records(LT_NAME_CONFIG_TOPIC), before + 2 + 2);
			play_retain(LT_NAME_CONFIG_TOPIC, 0, before);
		}
	}
}

/* Durable first, then in force; not durable: not in force. */
static void
nothing_counts_before_it_is_durable(void **state)
{
	struct lt_wire_rule r = rule_of("ak:a", "topic", "o", "publish");

	play_store_mute(1);
	play_post(&c, LT_OP_GRANT_ADD, &r, sizeof(r));
	assert_int_equal(play_receive(&c), 0);
	assert_int_equal(lt_rulebook_count(play_manager()->grants), 0);
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(lt_rulebook_count(play_manager()->grants), 1);
	play_refuse_append(LEAT_E_NOSPACE, 1);
	assert_int_equal(add("ak:b", "topic", "o", "publish"), LEAT_E_NOSPACE);
	assert_int_equal(lt_rulebook_count(play_manager()->grants), 1);
	/* It dies behind the record and before the answer. */
	play_freeze_at(LT_OP_S_APPEND);
	r = rule_of("ak:c", "topic", "o", "publish");
	play_post(&c, LT_OP_GRANT_ADD, &r, sizeof(r));
	restart_queue();
	assert_true(has("ak:c", "topic", "o", "publish"));
}

static void
a_damaged_grant_costs_itself(void **state)
{
	assert_int_equal(add("ak:a", "topic", "o", "publish"), LEAT_OK);
	assert_int_equal(add("ak:b", "topic", "o", "publish"), LEAT_OK);
	play_damage(
	    LT_NAME_CONFIG_TOPIC, 0, play_records(LT_NAME_CONFIG_TOPIC) - 2);
	restart_all();
	assert_int_equal(listed(), 1);
	assert_true(has("ak:b", "topic", "o", "publish"));
}

/* --- taken back --- */

static void
a_publisher_is_cut(void **state)
{
	struct play_client d, e;
	uint32_t id;

	assert_int_equal(add("user:4242", "topic", "*", "publish"), LEAT_OK);
	assert_int_equal(add("user:4242", "group", "x", "trace"), LEAT_OK);
	connect_shop(&d);
	connect_shop(&e); /* the same user, but uses nothing */
	assert_int_equal(play_open(&d, "t", LT_RIGHT_PUBLISH), LEAT_OK);
	id = ((const struct lt_wire_topic *)d.reply.bytes)->id;
	assert_true(play_is_granted(d.session, id));
	assert_int_equal(
	    take_back("user:4242", "topic", "*", "publish"), LEAT_OK);
	/* At the store before the session ends, so nothing of its lane counts
	 * that comes behind. */
	assert_false(play_is_granted(d.session, id));
	assert_int_equal(play_receive(&d), -1000);
	assert_int_equal(d.events[LT_OP_EV_CLOSED], 1);
	assert_int_equal(play_open(&e, "t", LT_RIGHT_PUBLISH), LEAT_E_DENIED);
	play_close(&d);
	connect_shop(&d); /* it still may connect */
	play_close(&d);
	assert_int_equal(
	    take_back("user:4242", "group", "x", "trace"), LEAT_OK);
	assert_int_equal(play_receive(&e), -1000); /* nothing is left */
	play_close(&e);
	play_connect_as(&d, SHOP);
	assert_int_equal(play_hello(&d), LEAT_E_DENIED);
	play_close(&d);
}

static void
a_reader_is_cut_and_its_ring_goes(void **state)
{
	struct play_client d;
	struct play_sub mine = {0}, other = {0};
	int64_t end;

	assert_int_equal(add("user:4242", "topic", "t", "subscribe"), LEAT_OK);
	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	connect_shop(&d);
	assert_int_equal(
	    play_subscribe(&d, &mine, "t", 0, "", 0, "", LEAT_FROM_BEGIN, 0),
	    LEAT_OK);
	assert_int_equal(
	    play_subscribe(&c, &other, "t", 0, "", 0, "", LEAT_FROM_BEGIN, 0),
	    LEAT_OK);
	assert_true(mine.has_ring && other.has_ring);
	play_publish("t", 0, NULL, NULL, "before", 6);
	end = atomic_load(
	    &((struct lt_ring_shared *)mine.ring_seg.base)->next_offset);
	assert_int_equal(
	    take_back("user:4242", "topic", "t", "subscribe"), LEAT_OK);
	assert_int_equal(play_receive(&d), -1000);
	/* What it has mapped shows nothing new; the other one goes on. */
	play_publish("t", 0, NULL, NULL, "after", 5);
	play_pump();
	assert_int_equal(
	    atomic_load(
		&((struct lt_ring_shared *)mine.ring_seg.base)->next_offset),
	    end);
	(void)play_receive(&c);
	assert_int_equal(c.events[LT_OP_EV_MOVED], 1);
	uint64_t old = other.id;
	play_sub_fini(&other);
	assert_int_equal(
	    play_resubscribe(&c, &other, "t", 0, "", 0, 1, old), LEAT_OK);
	assert_true(other.has_ring);
	assert_int_equal(other.max_offset, 2);
	play_sub_fini(&mine);
	play_sub_fini(&other);
	play_close(&d);
}

static void
a_member_is_cut(void **state)
{
	struct play_client d;
	struct play_sub sub = {0};

	assert_int_equal(add("user:4242", "topic", "t", "subscribe"), LEAT_OK);
	assert_int_equal(add("user:4242", "group", "g", "subscribe"), LEAT_OK);
	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	connect_shop(&d);
	assert_int_equal(play_subscribe(&d, &sub, "t", 0, "g", LEAT_CLUSTERING,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_OK);
	assert_int_equal(
	    take_back("user:4242", "group", "g", "subscribe"), LEAT_OK);
	assert_int_equal(play_receive(&d), -1000);
	play_close(&d);
	connect_shop(&d);
	play_sub_fini(&sub);
	assert_int_equal(play_subscribe(&d, &sub, "t", 0, "g", LEAT_CLUSTERING,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_E_DENIED);
	play_close(&d);
}

/* --- the audit --- */

#define FLOOD 2500

static char text[1 << 20];

static const char *
audit(void)
{
	size_t used = 0;

	for (int64_t i = 0; i < play_records(LT_NAME_AUDIT_TOPIC); i++) {
		const struct lt_record_view *v =
		    play_record(LT_NAME_AUDIT_TOPIC, 0, i);

		assert_non_null(v);
		assert_true(used + v->body_bytes + 2 < sizeof(text));
		memcpy(text + used, v->body, v->body_bytes);
		used += v->body_bytes;
		text[used++] = '\n';
	}
	text[used] = 0;
	return text;
}

/* The newest record says this. */
static void
newest(const char *what)
{
	play_pump();
	const struct lt_record_view *v = play_record(
	    LT_NAME_AUDIT_TOPIC, 0, play_records(LT_NAME_AUDIT_TOPIC) - 1);
	char line[LT_AUDITLINE_MAX];

	assert_non_null(v);
	assert_true(v->body_bytes < sizeof(line));
	memcpy(line, v->body, v->body_bytes);
	line[v->body_bytes] = 0;
	assert_true(lt_auditline_is_sound(line));
	if (strstr(line, what) == NULL)
		fail_msg("\"%s\" is not in %s", what, line);
}

static int64_t
records(void)
{
	play_pump();
	return play_records(LT_NAME_AUDIT_TOPIC);
}

static void
acts_are_recorded(void **state)
{
	struct lt_wire_name name = {.name = "t"};
	struct lt_wire_topic update = {.read_queues = 2, .name = "t"};
	struct lt_wire_seek seek = {
	    .from = LEAT_FROM_BEGIN, .group = "g", .topic = "t"};
	int64_t before = records();

	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	newest("act=topic-create object=topic:t outcome=ok");
	newest("by=queue principal=user:");
	newest("peer=pid:");
	assert_int_equal(play_create(&c, "t", 1), LEAT_E_EXISTS);
	newest("act=topic-create object=topic:t outcome=exists");
	assert_int_equal(
	    play_call(&c, LT_OP_TOPIC_UPDATE, &update, sizeof(update)),
	    LEAT_OK);
	newest("act=topic-update object=topic:t outcome=ok");
	assert_int_equal(records(), before + 3);
	assert_int_equal(play_call(&c, LT_OP_GROUP_SEEK, &seek, sizeof(seek)),
	    LEAT_E_NOTFOUND); /* a question */
	assert_int_equal(records(), before + 3);
	seek.apply = 1;
	(void)play_call(&c, LT_OP_GROUP_SEEK, &seek, sizeof(seek));
	newest("act=group-seek object=topic:t,group:g outcome=");
	(void)play_call(&c, LT_OP_GROUP_DELETE, &name, sizeof(name));
	newest("act=group-delete object=group:t outcome=");
	assert_int_equal(
	    play_call(&c, LT_OP_TOPIC_DELETE, &name, sizeof(name)), LEAT_OK);
	newest("act=topic-delete object=topic:t outcome=ok");
	assert_int_equal(add("ak:a", "topic", "o*", "publish"), LEAT_OK);
	newest("act=grant-add object=grant-topic:ak:a:o* outcome=ok");
	assert_int_equal(take_back("ak:a", "topic", "o*", "publish"), LEAT_OK);
	newest("act=grant-remove object=grant-topic:ak:a:o* outcome=ok");
	assert_int_equal(records(), before + 8);
	/* What is no act leaves none. */
	assert_int_equal(play_open(&c, "u", LT_RIGHT_PUBLISH), LEAT_OK);
	assert_int_equal(listed(), 0);
	assert_int_equal(records(), before + 8);
}

static void
refusals_are_recorded(void **state)
{
	struct play_client d;
	struct play_sub sub = {0};
	int64_t before;

	play_connect_as(&d, SHOP);
	assert_int_equal(play_hello(&d), LEAT_E_DENIED);
	play_close(&d);
	newest("principal=user:4242");
	newest("act=connect object=- outcome=denied");
	assert_int_equal(add("user:4242", "topic", "t", "publish"), LEAT_OK);
	assert_int_equal(play_create(&c, "t", 1), LEAT_OK);
	connect_shop(&d);
	before = records();
	assert_int_equal(play_subscribe(&d, &sub, "t", 0, "g", LEAT_CLUSTERING,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_E_DENIED);
	newest("act=subscribe object=topic:t,group:g outcome=denied");
	assert_int_equal(play_create(&d, "bad\nname", 1), LEAT_E_NAME);
	newest("act=topic-create object=\"topic:bad\\x0aname\" "
	       "outcome=name");
	assert_int_equal(play_create(&d, "mine", 1), LEAT_E_DENIED);
	newest("act=topic-create object=topic:mine outcome=denied");
	/* About the audit itself: one more each, and no more than that. */
	assert_int_equal(play_subscribe(&d, &sub, LT_NAME_AUDIT_TOPIC, 0, "", 0,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_E_DENIED);
	assert_int_equal(play_open(&d, LT_NAME_AUDIT_TOPIC, LT_RIGHT_PUBLISH),
	    LEAT_E_DENIED);
	play_pass(2000);
	assert_int_equal(records(), before + 5);
	assert_int_equal(
	    take_back("user:4242", "topic", "t", "publish"), LEAT_OK);
	play_close(&d);
}

static void
who_reads_the_audit(void **state)
{
	struct play_client d;
	struct play_sub sub = {0};

	assert_int_equal(
	    add("user:4242", "topic", "*", "publish,subscribe"), LEAT_OK);
	connect_shop(&d);
	assert_int_equal(play_subscribe(&d, &sub, LT_NAME_AUDIT_TOPIC, 0, "", 0,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_E_DENIED);
	assert_int_equal(add("user:4242", "topic", "*", "trace"), LEAT_OK);
	assert_int_equal(play_subscribe(&d, &sub, LT_NAME_AUDIT_TOPIC, 0, "", 0,
			     "", LEAT_FROM_BEGIN, 0),
	    LEAT_OK);
	play_sub_fini(&sub);
	/* But not the others, and nobody writes. */
	assert_int_equal(play_subscribe(&d, &sub, LT_NAME_CONFIG_TOPIC, 0, "",
			     0, "", LEAT_FROM_BEGIN, 0),
	    LEAT_E_DENIED);
	assert_int_equal(play_open(&c, LT_NAME_AUDIT_TOPIC, LT_RIGHT_PUBLISH),
	    LEAT_E_DENIED);
	play_close(&d);
}

/* However many: a thousand in a second, and then one that counts. */
static void
floods_are_counted(void **state)
{
	struct play_client d;
	int64_t before;

	assert_int_equal(add("user:4242", "topic", "t", "publish"), LEAT_OK);
	connect_shop(&d);
	play_pass(2000);
	before = records();
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(play_create(&d, "mine", 1), LEAT_E_DENIED);
	play_pass(3000);
	assert_int_equal(records(), before + LT_AUDITLINE_PER_S + 1);
	newest("act=more-refused object=count:1500 outcome=denied");
	/* Acts are never left out. */
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(play_create(&c, "a/b", 1), LEAT_E_NAME);
	play_pump();
	assert_int_equal(records(), before + LT_AUDITLINE_PER_S + 1 + FLOOD);
	play_close(&d);
}

/* The store goes, is full, comes back: what waits is written then. */
static void
records_wait_for_the_store(void **state)
{
	int64_t before = records();
	struct play_client d;

	play_store_kill();
	play_pump();
	play_connect_as(&d, SHOP);
	assert_int_equal(play_hello(&d), LEAT_E_DENIED);
	play_close(&d);
	assert_int_equal(records(), before);
	play_store_start();
	play_pass(100);
	assert_int_equal(records(), before + 1);
	play_refuse_appends(LEAT_E_NOSPACE);
	play_connect_as(&d, SHOP);
	assert_int_equal(play_hello(&d), LEAT_E_DENIED);
	play_close(&d);
	play_pass(3000);
	assert_int_equal(records(), before + 1);
	play_refuse_appends(LEAT_OK);
	play_pass(3000);
	assert_int_equal(records(), before + 2);
	/* One that another error met is lost, and counted. */
	uint64_t lost = lt_stat_get(queue_audit_lost);
	play_refuse_append(LEAT_E_IO, 1);
	play_connect_as(&d, SHOP);
	assert_int_equal(play_hello(&d), LEAT_E_DENIED);
	play_close(&d);
	play_pass(3000);
	assert_int_equal(records(), before + 2);
	assert_int_equal(lt_stat_get(queue_audit_lost), lost + 1);
}

/* Refusals that wait leave room for acts. */
static void
acts_have_room(void **state)
{
	struct {
		struct lt_wire_audit w;
		struct lt_wire_audit_entry e[2];
	} msg = {.w.count = 2,
	    .e = {{.is_refusal = 1, .line = "time=1 by=gateway act=x"},
		{.is_refusal = 1, .line = "time=2 by=gateway act=y"}}};
	uint64_t lost = lt_stat_get(queue_audit_lost);
	int64_t before = records();

	play_refuse_appends(LEAT_E_NOSPACE);
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(
		    play_call(&c, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_OK);
	lost = lt_stat_get(queue_audit_lost) - lost;
	assert_in_range(lost, 1, 2 * FLOOD - 1);
	assert_int_equal(play_create(&c, "a/b", 1), LEAT_E_NAME);
	play_refuse_appends(LEAT_OK);
	play_pass(3000);
	assert_int_equal(records(), before + 2 * FLOOD - (int64_t)lost + 1);
	newest("object=topic:a/b outcome=name");
}

/* What leat-gateway says, and what it may not. */
static void
lines_of_the_gateway(void **state)
{
	struct {
		struct lt_wire_audit w;
		struct lt_wire_audit_entry e[2];
	} msg = {.w.count = 2,
	    .e = {{.line = "time=1 by=gateway act=x"},
		{.is_refusal = 1, .line = "time=2 by=gateway act=y"}}};
	const struct lt_record_view *v;
	struct lt_record_texts texts;
	int64_t before = records();
	struct play_client d;

	assert_int_equal(
	    play_call(&c, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_OK);
	assert_int_equal(records(), before + 2);
	newest("time=2 by=gateway act=y");
	v = play_record(LT_NAME_AUDIT_TOPIC, 0, before + 1);
	lt_record_texts(v, &texts);
	assert_int_equal(texts.tag_bytes, strlen("refused"));
	assert_memory_equal(texts.tag, "refused", texts.tag_bytes);
	strcpy(msg.e[1].line, "time=3\nforged");
	assert_int_equal(
	    play_call(&c, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_E_INVALID);
	memset(msg.e[1].line, 'x', sizeof(msg.e[1].line));
	assert_int_equal(
	    play_call(&c, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_E_INVALID);
	msg.w.count = 3;
	assert_int_equal(
	    play_call(&c, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_E_INVALID);
	assert_int_equal(records(), before + 2);
	assert_int_equal(add("user:4242", "topic", "*", ALL), LEAT_OK);
	connect_shop(&d);
	msg.w.count = 2;
	strcpy(msg.e[1].line, "time=4 forged=1");
	assert_int_equal(
	    play_call(&d, LT_OP_AUDIT, &msg, sizeof(msg)), LEAT_E_DENIED);
	assert_null(strstr(audit(), "forged"));
	play_close(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(grants_add_up_and_go),
	    TEST(rules_of_the_file_are_not_ours),
	    TEST(nonsense_is_refused),
	    TEST(only_who_manages_everything_may),
	    TEST(there_is_a_limit),
	    TEST(grants_survive),
	    TEST(nothing_counts_before_it_is_durable),
	    TEST(a_damaged_grant_costs_itself),
	    TEST(a_publisher_is_cut),
	    TEST(a_reader_is_cut_and_its_ring_goes),
	    TEST(a_member_is_cut),
	    TEST(acts_are_recorded),
	    TEST(refusals_are_recorded),
	    TEST(who_reads_the_audit),
	    TEST(floods_are_counted),
	    TEST(records_wait_for_the_store),
	    TEST(acts_have_room),
	    TEST(lines_of_the_gateway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
