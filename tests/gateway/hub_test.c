/*
 * hub_test.c - remote members: who is in a group, who is told, what passes, the
 * bodies byte for byte, bounds, memory that ends at each allocation. The clock
 * is turned by hand.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "heartbeats.h"
#include "hub/hub.h"
#include "hub/hubjson.h"
#include "leat/status.h"
#include "tests/support/scarce.h"

/* --- memory that ends at a given allocation (--wrap) ---------------------- */

/* --- a hub ---------------------------------------------------------------- */

static struct {
	struct lt_hub *hub;
	uint64_t now_ms;
	struct lt_hub_changes changes; /* of the last call */
	int is_sub_change;
	struct lt_buffer body;
} h;

static int
set_up(void **state)
{
	const struct lt_hub_limits limits = {0};

	h.now_ms = 1000;
	lt_hub_changes_init(&h.changes);
	lt_buffer_init(&h.body, 1u << 20);
	return lt_hub_create(&limits, &h.hub);
}

static int
tear_down(void **state)
{
	lt_hub_destroy(h.hub);
	lt_hub_changes_fini(&h.changes);
	lt_buffer_fini(&h.body);
	return 0;
}

static struct lt_remoting_text
text(const char *s)
{
	return (struct lt_remoting_text){s, (uint32_t)strlen(s)};
}

static int
beat_json(uint64_t conn, const char *json)
{
	struct lt_hub_peer peer = {.conn = conn,
	    .address = "10.0.0.9:4711",
	    .language = LT_REMOTING_GO,
	    .version = 317};
	struct lt_heartbeat said;
	const char *why;
	int rc;

	lt_hub_changes_clear(&h.changes);
	rc = lt_heartbeat_read(json, strlen(json), &said, &why);
	if (rc != LEAT_OK)
		return rc;
	rc = lt_hub_heartbeat(
	    h.hub, &said, &peer, h.now_ms, &h.changes, &h.is_sub_change);
	lt_heartbeat_free(&said);
	return rc;
}

/* A client with one group of consumers: subscriptions as "t" or "t=a||b",
 * separated by blanks; `more` is JSON of the heartbeat. */
static int
beat_with(uint64_t conn, const char *id, const char *group, const char *subs,
    long version, const char *model, const char *more)
{
	char json[4096], copy[512], *save, *sub;
	size_t n;

	n = (size_t)snprintf(json, sizeof json,
	    "{\"clientID\":\"%s\",%s\"consumerDataSet\":[{\"groupName\":\"%s\","
	    "\"messageModel\":\"%s\",\"subscriptionDataSet\":[",
	    id, more, group, model);
	snprintf(copy, sizeof copy, "%s", subs);
	for (sub = strtok_r(copy, " ", &save); sub != NULL;
	     sub = strtok_r(NULL, " ", &save)) {
		char *tags = strchr(sub, '=');

		if (tags != NULL)
			*tags++ = '\0';
		n += (size_t)snprintf(json + n, sizeof json - n,
		    "%s{\"topic\":\"%s\",\"subString\":\"%s\",\"subVersion\":"
		    "%ld}",
		    json[n - 1] == '[' ? "" : ",", sub,
		    tags == NULL ? "*" : tags, version);
	}
	snprintf(json + n, sizeof json - n, "]}]}");
	return beat_json(conn, json);
}

static void
beat(uint64_t conn, const char *id, const char *group, const char *subs,
    long version)
{
	assert_int_equal(
	    beat_with(conn, id, group, subs, version, "CLUSTERING", ""),
	    LEAT_OK);
}

static void
close_conn(uint64_t conn)
{
	lt_hub_changes_clear(&h.changes);
	lt_hub_closed(h.hub, conn, &h.changes);
}

/* Exactly these are told of that group; conns ends with UINT64_MAX. Nothing is
 * told of any other group. */
static void
told(const char *group, const uint64_t *conns)
{
	size_t n = 0;

	for (; conns[n] != UINT64_MAX; n++) {
		int is_there = 0;

		for (size_t i = 0; i < h.changes.count; i++)
			is_there += h.changes.items[i].conn == conns[n] &&
				    strcmp(lt_hub_changes_group(&h.changes, i),
					group) == 0;
		assert_int_equal(is_there, 1);
	}
	assert_int_equal(h.changes.count, n);
}
#define TOLD(group, ...)                                                       \
	told(group, (const uint64_t[]){__VA_ARGS__, UINT64_MAX})
#define QUIET() assert_int_equal(h.changes.count, 0)

static void
has_ids(const char *group, const char *json)
{
	lt_buffer_clear(&h.body);
	int rc = lt_hubjson_ids(h.hub, text(group), &h.body);

	if (json == NULL) {
		assert_int_equal(rc, LEAT_E_NOTFOUND);
		return;
	}
	assert_int_equal(rc, LEAT_OK);
	lt_buffer_add(&h.body, "", 1);
	assert_string_equal((char *)h.body.p, json);
}
#define IDS(list) "{\"consumerIdList\":[" list "]}"

static int
filter(
    const char *group, const char *topic, int64_t version, struct lt_tags *tags)
{
	return lt_hub_filter(h.hub, text(group), text(topic), version, tags);
}

static void
is_empty(void)
{
	struct lt_hub_counts n;

	lt_hub_count(h.hub, &n);
	assert_int_equal(n.connections, 0);
	assert_int_equal(n.consumer_groups + n.producer_groups, 0);
	assert_int_equal(n.bytes, 0);
}

/* --- coming and going ----------------------------------------------------- */

static void
join_and_leave(void **state)
{
	beat(1, "a", "g", "t", 5);
	TOLD("g", 0, 1);
	has_ids("g", IDS("\"a\""));
	beat(1, "a", "g", "t", 5);
	QUIET();
	beat(2, "b", "g", "t", 5);
	TOLD("g", 0, 1, 2);
	has_ids("g", IDS("\"a\",\"b\""));
	close_conn(1);
	TOLD("g", 0, 2);
	close_conn(1);
	QUIET();
	lt_hub_changes_clear(&h.changes);
	lt_hub_unregister(
	    h.hub, 2, text(""), (struct lt_remoting_text){"x", 1}, &h.changes);
	QUIET();
	lt_hub_unregister(h.hub, 2, text(""), text("g"), &h.changes);
	TOLD("g", 0);
	has_ids("g", NULL);
	is_empty();
}

static void
two_connections_of_one_id(void **state)
{
	beat(1, "a", "g", "t", 5);
	beat(2, "b", "g", "t", 5);
	/* Connects again before the old connection is closed. */
	beat(3, "a", "g", "t", 5);
	QUIET();
	has_ids("g", IDS("\"a\",\"b\""));
	assert_int_equal(lt_hub_find(h.hub, text("g"), text("a")), 1);
	h.now_ms++;
	beat(3, "a", "g", "t", 5);
	assert_int_equal(lt_hub_find(h.hub, text("g"), text("a")), 3);
	close_conn(1);
	QUIET();
	has_ids("g", IDS("\"a\",\"b\""));
	assert_int_equal(lt_hub_find(h.hub, text("g"), text("a")), 3);
	close_conn(3);
	TOLD("g", 0, 2);
	has_ids("g", IDS("\"b\""));
	assert_int_equal(lt_hub_find(h.hub, text("g"), text("a")), 0);
	/* Closed first, then again: both are news. */
	beat(4, "a", "g", "t", 5);
	TOLD("g", 0, 2, 4);
	close_conn(2);
	close_conn(4);
	is_empty();
}

static void
another_id_on_a_connection(void **state)
{
	beat(1, "a", "g", "t", 5);
	beat(1, "z", "g", "t", 5);
	assert_int_equal(h.changes.count, 3); /* left: 0; joined: 0, 1 */
	has_ids("g", IDS("\"z\""));
	close_conn(1);
	is_empty();
}

static void
broadcasting_is_not_told(void **state)
{
	assert_int_equal(
	    beat_with(1, "a", "g", "t", 5, "BROADCASTING", ""), LEAT_OK);
	QUIET();
	assert_int_equal(
	    beat_with(2, "b", "g", "t u", 5, "BROADCASTING", ""), LEAT_OK);
	QUIET();
	has_ids("g", IDS("\"a\",\"b\""));
	close_conn(1);
	QUIET();
	close_conn(2);
	QUIET();
	is_empty();
}

static void
subscriptions_change(void **state)
{
	struct lt_tags tags;

	assert_int_equal(filter("g", "t", 0, &tags), LEAT_E_NOTFOUND);
	beat(1, "a", "g", "t=a||b u", 5);
	assert_int_equal(filter("g", "t", 5, &tags), LEAT_OK);
	assert_int_equal(tags.count, 2);
	assert_int_equal(tags.codes[0], 'a');
	assert_int_equal(tags.codes[1], 'b');
	assert_int_equal(filter("g", "u", 0, &tags), LEAT_OK);
	assert_int_equal(tags.count, 0);
	assert_int_equal(filter("g", "v", 0, &tags), LEAT_E_NOTFOUND);
	assert_int_equal(filter("f", "t", 0, &tags), LEAT_E_NOTFOUND);
	assert_int_equal(filter("g", "t", 6, &tags), LEAT_E_VERSION);
	/* Another text: silently, if it is newer. */
	beat(1, "a", "g", "t=c u", 5);
	QUIET();
	assert_int_equal(filter("g", "t", 5, &tags), LEAT_OK);
	assert_int_equal(tags.count, 2);
	beat(1, "a", "g", "t=c u", 6);
	QUIET();
	assert_int_equal(filter("g", "t", 6, &tags), LEAT_OK);
	assert_int_equal(tags.count, 1);
	assert_int_equal(tags.codes[0], 'c');
	/* A topic more, a topic less. */
	beat(1, "a", "g", "t=c u v", 6);
	TOLD("g", 0, 1);
	beat(1, "a", "g", "t=c v", 6);
	TOLD("g", 0, 1);
	assert_int_equal(filter("g", "u", 0, &tags), LEAT_E_NOTFOUND);
	/* The last heartbeat defines the group. */
	beat(2, "b", "g", "w", 1);
	TOLD("g", 0, 1, 2);
	assert_int_equal(filter("g", "t", 0, &tags), LEAT_E_NOTFOUND);
	assert_int_equal(filter("g", "w", 0, &tags), LEAT_OK);
	/* By SQL: known, but not by tags. */
	assert_int_equal(beat_json(3, heartbeats[1]), LEAT_OK);
	assert_int_equal(filter("g", "t", 0, &tags), LEAT_E_UNSUPPORTED);
	/* With the last connection the subscriptions go. */
	close_conn(1);
	close_conn(2);
	close_conn(3);
	assert_int_equal(filter("g", "t", 0, &tags), LEAT_E_NOTFOUND);
	is_empty();
}

static void
fingerprints(void **state)
{
	static const char full[] = "\"heartbeatFingerprint\":7,";
	static const char other[] = "\"heartbeatFingerprint\":8,";
	static const char without[] =
	    "\"heartbeatFingerprint\":7,\"withoutSub\":true,";
	struct lt_tags tags;
	const char *c = "CLUSTERING";

	beat(1, "a", "g", "t", 5);
	assert_int_equal(h.is_sub_change, 1); /* plain: always */
	close_conn(1);
	assert_int_equal(beat_with(1, "a", "g", "t", 5, c, full), LEAT_OK);
	assert_int_equal(h.is_sub_change, 0);
	assert_int_equal(beat_with(1, "a", "g", "", 5, c, without), LEAT_OK);
	assert_int_equal(h.is_sub_change, 0);
	QUIET();
	assert_int_equal(filter("g", "t", 5, &tags), LEAT_OK);
	assert_int_equal(beat_with(1, "a", "g", "u", 5, c, other), LEAT_OK);
	assert_int_equal(h.is_sub_change, 1);
	assert_int_equal(beat_with(1, "a", "g", "u", 5, c, other), LEAT_OK);
	assert_int_equal(h.is_sub_change, 0);
	close_conn(1);
	/* We started anew and know nothing: it must say all. */
	assert_int_equal(beat_with(1, "a", "g", "", 5, c, without), LEAT_OK);
	assert_int_equal(h.is_sub_change, 1);
	close_conn(1);
	is_empty();
}

static void
expiry(void **state)
{
	uint64_t conns[2];
	struct lt_tags tags;

	beat(1, "a", "g", "t", 5);
	beat(2, "b", "g", "t", 5);
	beat(3, "c", "f", "t", 5);
	h.now_ms += LT_HUB_EXPIRY_MS;
	beat(2, "b", "g", "t", 5);
	assert_int_equal(
	    lt_hub_expire(h.hub, h.now_ms, conns, 2, &h.changes), 0);
	h.now_ms++;
	assert_int_equal(
	    lt_hub_expire(h.hub, h.now_ms, conns, 1, &h.changes), 1);
	assert_int_equal(conns[0], 1);
	TOLD("g", 0, 2);
	lt_hub_changes_clear(&h.changes);
	assert_int_equal(
	    lt_hub_expire(h.hub, h.now_ms, conns, 2, &h.changes), 1);
	assert_int_equal(conns[0], 3);
	TOLD("f", 0);
	close_conn(1);
	QUIET();
	/* A group that is no longer named goes, its connection stays. */
	beat(2, "b", "other", "t", 5);
	has_ids("g", IDS("\"b\""));
	h.now_ms += LT_HUB_EXPIRY_MS - 1;
	beat(2, "b", "other", "t", 5);
	has_ids("g", IDS("\"b\""));
	h.now_ms++;
	beat(2, "b", "other", "t", 5);
	TOLD("g", 0);
	has_ids("g", NULL);
	assert_int_equal(filter("other", "t", 5, &tags), LEAT_OK);
	assert_int_equal(
	    lt_hub_expire(h.hub, h.now_ms, conns, 2, &h.changes), 0);
}

static void
local_members(void **state)
{
	static const char *const ids[] = {"leat-2", "leat-1", "leat-2"};
	static const char *const same[] = {"a"};
	static const char *const empty[] = {""};
	struct lt_hub_about about;

	assert_int_equal(
	    lt_hub_locals(h.hub, "g", ids, 3, &h.changes), LEAT_OK);
	QUIET();
	has_ids("g", IDS("\"leat-1\",\"leat-2\""));
	assert_int_equal(lt_hub_about(h.hub, text("g"), &about), 0);
	assert_int_equal(about.locals, 2);
	beat(1, "a", "g", "t", 5);
	TOLD("g", 0, 1);
	has_ids("g", IDS("\"a\",\"leat-1\",\"leat-2\""));
	assert_int_equal(lt_hub_about(h.hub, text("g"), &about), 1);
	assert_int_equal(about.members, 1);
	assert_int_equal(about.model, LT_HEARTBEAT_CLUSTERING);
	lt_hub_changes_clear(&h.changes);
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", ids, 2, &h.changes), LEAT_OK);
	QUIET();
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", ids, 1, &h.changes), LEAT_OK);
	TOLD("g", 1); /* who told us knows */
	has_ids("g", IDS("\"a\",\"leat-2\""));
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", empty, 1, &h.changes), LEAT_E_INVALID);
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", ids, LT_HUB_LOCALS_MAX + 1, &h.changes),
	    LEAT_E_LIMIT);
	/* A remote one with a local one's id is no news. */
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", same, 1, &h.changes), LEAT_OK);
	has_ids("g", IDS("\"a\""));
	close_conn(1);
	QUIET();
	has_ids("g", IDS("\"a\""));
	assert_int_equal(
	    lt_hub_locals(h.hub, "g", NULL, 0, &h.changes), LEAT_OK);
	has_ids("g", NULL);
	is_empty();
}

static void
producers(void **state)
{
	static const char json[] = "{\"clientID\":\"%s\",\"producerDataSet\":[{"
				   "\"groupName\":\"pg\"}]}";
	char one[128];
	uint64_t first, second;

	assert_int_equal(lt_hub_producer(h.hub, text("pg")), 0);
	for (uint64_t conn = 1; conn <= 2; conn++) {
		snprintf(one, sizeof one, json, conn == 1 ? "a" : "b");
		assert_int_equal(beat_json(conn, one), LEAT_OK);
		QUIET();
	}
	first = lt_hub_producer(h.hub, text("pg"));
	second = lt_hub_producer(h.hub, text("pg"));
	assert_int_equal(first + second, 3);
	assert_int_equal(lt_hub_producer(h.hub, text("pg")), first);
	/* A reply goes to a client in whatever group. */
	assert_int_equal(lt_hub_find(h.hub, text(""), text("b")), 2);
	assert_int_equal(lt_hub_find(h.hub, text("pg"), text("b")), 0);
	assert_int_equal(lt_hub_find(h.hub, text(""), text("")), 0);
	lt_hub_unregister(h.hub, 1, text("pg"), text(""), &h.changes);
	assert_int_equal(lt_hub_producer(h.hub, text("pg")), 2);
	close_conn(2);
	assert_int_equal(lt_hub_producer(h.hub, text("pg")), 0);
	is_empty();
}

static void
note_member(const struct lt_hub_member *m, void *user)
{
	uint64_t *sum = user;

	*sum += m->conn;
	assert_int_equal(m->language, LT_REMOTING_GO);
	assert_int_equal(m->version, 317);
	assert_string_equal(m->address, "10.0.0.9:4711");
}

static void
visit(void **state)
{
	uint64_t sum = 0;

	beat(10, "a", "g", "t", 5);
	beat(20, "a", "g", "t", 5);
	assert_int_equal(lt_hub_visit(h.hub, text("g"), note_member, &sum), 2);
	assert_int_equal(sum, 30);
	assert_int_equal(lt_hub_visit(h.hub, text("f"), note_member, &sum), 0);
}

/* --- bodies --------------------------------------------------------------- */

#define BODY(call, json)                                                       \
	do {                                                                   \
		lt_buffer_clear(&h.body);                                      \
		assert_int_equal(call, LEAT_OK);                               \
		lt_buffer_add(&h.body, "", 1);                                 \
		assert_string_equal((char *)h.body.p, json);                   \
	} while (0)

static void
bodies(void **state)
{
	static const char connection[] =
	    "[{\"clientAddr\":\"10.0.0.9:4711\",\"clientId\":\"10.0.0.9@5\","
	    "\"language\":\"GO\",\"version\":317}]";
	static const char sub[] =
	    "{\"classFilterMode\":false,\"codeSet\":[97,98],"
	    "\"expressionType\":\"TAG\",\"subString\":\"a||b\","
	    "\"subVersion\":1700000000000,\"tagsSet\":[\"a\",\"b\"],"
	    "\"topic\":\"t\"}";
	static const char *const more[] = {"x", "g", "x"};
	char json[1024];

	BODY(lt_hubjson_all_producers(h.hub, 0, 0, &h.body), "{\"data\":{}}");
	BODY(lt_hubjson_groups(h.hub, text("t"), NULL, 0, &h.body),
	    "{\"groupList\":[]}");
	BODY(lt_hubjson_topics(h.hub, text("g"), NULL, 0, &h.body),
	    "{\"topicList\":[]}");
	BODY(lt_hubjson_subscription(h.hub, text("g"), text("t"), &h.body),
	    "{\"group\":\"g\",\"topic\":\"t\"}");
	assert_int_equal(
	    lt_hubjson_consumers(h.hub, text("g"), &h.body), LEAT_E_NOTFOUND);
	assert_int_equal(
	    lt_hubjson_producers(h.hub, text("pg"), &h.body), LEAT_E_NOTFOUND);
	assert_int_equal(beat_json(1, heartbeats[4]), LEAT_OK);
	snprintf(json, sizeof json,
	    "{\"connectionSet\":%s,\"consumeFromWhere\":"
	    "\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":"
	    "\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
	    "\"subscriptionTable\":{\"t\":%s}}",
	    connection, sub);
	BODY(lt_hubjson_consumers(h.hub, text("g"), &h.body), json);
	snprintf(json, sizeof json, "{\"connectionSet\":%s}", connection);
	BODY(lt_hubjson_producers(h.hub, text("pg"), &h.body), json);
	BODY(lt_hubjson_groups(h.hub, text("t"), more, 3, &h.body),
	    "{\"groupList\":[\"g\",\"x\"]}");
	BODY(lt_hubjson_topics(h.hub, text("g"), more, 3, &h.body),
	    "{\"topicList\":[\"g\",\"t\",\"x\"]}");
	BODY(lt_hubjson_all_producers(
		 h.hub, h.now_ms + 250, 1700000000250, &h.body),
	    "{\"data\":{\"pg\":[{\"clientId\":\"10.0.0.9@5\",\"language\":"
	    "\"GO\",\"lastUpdateTimestamp\":1700000000000,\"remoteIP\":"
	    "\"10.0.0.9:4711\",\"version\":317}]}}");
	snprintf(json, sizeof json,
	    "{\"group\":\"g\",\"subscriptionData\":%s,\"topic\":\"t\"}", sub);
	BODY(lt_hubjson_subscription(h.hub, text("g"), text("t"), &h.body),
	    json);
	BODY(lt_hubjson_ids(h.hub, text("g"), &h.body), IDS("\"10.0.0.9@5\""));
}

/* --- bounds --------------------------------------------------------------- */

static void
bounds(void **state)
{
	static const char two[] =
	    "{\"clientID\":\"a\",\"producerDataSet\":[{\"groupName\":\"p\"},"
	    "{\"groupName\":\"q\"},{\"groupName\":\"p\"}],"
	    "\"consumerDataSet\":[{\"groupName\":\"g\"},{\"groupName\":\"f\"}]"
	    "}";
	const struct lt_hub_limits one = {.groups_max = 1};
	struct lt_hub_limits little = {0};
	int refused = 0;

	lt_hub_destroy(h.hub);
	assert_int_equal(lt_hub_create(&one, &h.hub), LEAT_OK);
	assert_int_equal(beat_json(1, two), LEAT_E_LIMIT);
	has_ids("g", IDS("\"a\""));
	has_ids("f", NULL);
	assert_int_equal(lt_hub_producer(h.hub, text("p")), 1);
	assert_int_equal(lt_hub_producer(h.hub, text("q")), 0);
	close_conn(1);
	is_empty();
	/* Each amount of memory: refused or done, and nothing stays. */
	for (little.bytes_max = 1; little.bytes_max < 4000;
	     little.bytes_max += 7) {
		lt_hub_destroy(h.hub);
		assert_int_equal(lt_hub_create(&little, &h.hub), LEAT_OK);
		int rc = beat_json(1, heartbeats[0]);

		assert_true(rc == LEAT_OK || rc == LEAT_E_LIMIT);
		refused += rc != LEAT_OK;
		close_conn(1);
		is_empty();
	}
	assert_in_range(refused, 20, 560);
}

/* The n-th allocation fails, for each n: a status, no damage, nothing left. */
static void
no_memory(void **state)
{
	static const char *const ids[] = {"l", "k"};
	struct lt_hub_counts counts;
	long n = 1;

	for (int was_reached = 1; was_reached; n++) {
		scarce_count = 0;
		scarce_at = n;
		for (uint64_t conn = 1; conn <= 3; conn++)
			(void)!beat_json(conn, heartbeats[conn % 2]);
		lt_hub_count(h.hub, &counts);
		assert_int_equal(counts.connections > 0,
		    lt_hub_find(h.hub, text(""), text("10.0.0.9@1#2")) != 0);
		(void)!lt_hub_locals(h.hub, "g", ids, 2, &h.changes);
		lt_buffer_clear(&h.body);
		(void)!lt_hubjson_consumers(h.hub, text("g"), &h.body);
		lt_buffer_clear(&h.body);
		(void)!lt_hubjson_ids(h.hub, text("g"), &h.body);
		close_conn(2);
		close_conn(1);
		close_conn(3);
		was_reached = scarce_count >= n;
		scarce_at = 0;
		assert_int_equal(
		    lt_hub_locals(h.hub, "g", NULL, 0, &h.changes), LEAT_OK);
		is_empty();
		lt_hub_changes_fini(&h.changes);
		lt_hub_changes_init(&h.changes);
		lt_buffer_fini(&h.body);
	}
	printf("%ld allocations failed\n", n - 2);
	assert_in_range(n, 30, 1000);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(join_and_leave),
	    TEST(two_connections_of_one_id),
	    TEST(another_id_on_a_connection),
	    TEST(broadcasting_is_not_told),
	    TEST(subscriptions_change),
	    TEST(fingerprints),
	    TEST(expiry),
	    TEST(local_members),
	    TEST(producers),
	    TEST(visit),
	    TEST(bodies),
	    TEST(bounds),
	    TEST(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
