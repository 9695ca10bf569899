/*
 * hub_story_test.c - a random story of clients that come, change, connect again
 * and go, beside a model that knows only lists of ids: who is told what, and
 * what the lists are (LEAT_STEPS 200,000, LEAT_SEED).
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

#include "hub/hub.h"
#include "hub/hubjson.h"
#include "leat/status.h"

#define CONNS 7
#define IDS 4
#define GROUPS 3
#define TOPICS 3

/* --- the model ------------------------------------------------------------ */

static struct {
	int id[CONNS]; /* -1: not registered */
	uint8_t in[CONNS][GROUPS];
	uint64_t heard_ms[CONNS][GROUPS], seen_ms[CONNS];
	uint8_t topics[GROUPS]; /* bits */
	uint8_t locals[GROUPS]; /* bits of ids */
	/* of the step: bits of connections, bit CONNS: connection 0 */
	uint32_t told[GROUPS];
} model;

static uint32_t
ids_of(int group)
{
	uint32_t ids = model.locals[group];

	for (int c = 0; c < CONNS; c++)
		if (model.in[c][group])
			ids |= 1u << model.id[c];
	return ids;
}

static uint32_t
conns_of(int group)
{
	uint32_t conns = 0;

	for (int c = 0; c < CONNS; c++)
		conns |= (uint32_t)model.in[c][group] << c;
	return conns;
}

static void
model_tell(int group, int is_from_locals)
{
	model.told[group] |= conns_of(group);
	if (!is_from_locals)
		model.told[group] |= 1u << CONNS;
}

static void
model_leave(int c, int group)
{
	uint32_t before = ids_of(group);

	model.in[c][group] = 0;
	if (ids_of(group) != before)
		model_tell(group, 0);
	if (conns_of(group) == 0)
		model.topics[group] = 0;
}

static void
model_go(int c)
{
	for (int g = 0; model.id[c] >= 0 && g < GROUPS; g++)
		if (model.in[c][g])
			model_leave(c, g);
	model.id[c] = -1;
}

static void
model_beat(int c, int id, const uint8_t *groups, const uint8_t *topics,
    uint64_t now_ms)
{
	if (model.id[c] >= 0 && model.id[c] != id)
		model_go(c);
	model.id[c] = id;
	model.seen_ms[c] = now_ms;
	for (int g = 0; g < GROUPS; g++) {
		uint32_t before = ids_of(g);

		if (!groups[g])
			continue;
		model.in[c][g] = 1;
		model.heard_ms[c][g] = now_ms;
		if (ids_of(g) != before || model.topics[g] != topics[g])
			model_tell(g, 0);
		model.topics[g] = topics[g];
	}
	for (int g = 0; g < GROUPS; g++)
		if (model.in[c][g] &&
		    now_ms > model.heard_ms[c][g] + LT_HUB_EXPIRY_MS)
			model_leave(c, g);
}

/* --- the hub -------------------------------------------------------------- */

static const char *const id_names[IDS] = {"a", "b", "c", "d"};
static const char *const group_names[GROUPS] = {"g0", "g1", "g2"};
static const char *const topic_names[TOPICS] = {"t0", "t1", "t2"};
static struct lt_hub *hub;
static struct lt_hub_changes changes;
static uint64_t seed;

static uint64_t
any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

static uint64_t
conn_of(int c)
{
	return (uint64_t)c + 100;
}

static void
step_beat(uint64_t now_ms)
{
	struct lt_heartbeat_sub subs[GROUPS][TOPICS];
	struct lt_heartbeat_consumer consumers[GROUPS];
	int c = (int)any(CONNS), is_sub_change;
	int id = model.id[c] >= 0 && any(8) > 0 ? model.id[c] : (int)any(IDS);
	struct lt_heartbeat said = {
	    .client_id = id_names[id], .consumers = consumers};
	struct lt_hub_peer peer = {conn_of(c), "x", 0, 479, NULL};
	uint8_t groups[GROUPS] = {0}, topics[GROUPS] = {0};

	for (int g = 0; g < GROUPS; g++) {
		struct lt_heartbeat_consumer *one =
		    &consumers[said.consumer_count];

		groups[g] = any(3) > 0;
		topics[g] = any(3) > 0 ? 3 : (uint8_t)any(1 << TOPICS);
		if (!groups[g])
			continue;
		said.consumer_count++;
		*one = (struct lt_heartbeat_consumer){.group = group_names[g],
		    .subs = subs[g],
		    .model = LT_HEARTBEAT_CLUSTERING};
		for (int t = 0; t < TOPICS; t++)
			if (topics[g] >> t & 1)
				subs[g][one->sub_count++] =
				    (struct lt_heartbeat_sub){
					.topic = topic_names[t],
					.text = "*",
					.expression = "TAG",
					.version = (int64_t)any(5)};
	}
	assert_int_equal(lt_hub_heartbeat(hub, &said, &peer, now_ms, &changes,
			     &is_sub_change),
	    LEAT_OK);
	model_beat(c, id, groups, topics, now_ms);
}

static void
step_locals(void)
{
	int g = (int)any(GROUPS);
	uint8_t bits = any(2) ? 0 : (uint8_t)any(1 << IDS);
	const char *ids[IDS];
	size_t n = 0;

	for (int i = 0; i < IDS; i++)
		if (bits >> i & 1)
			ids[n++] = id_names[i];
	assert_int_equal(
	    lt_hub_locals(hub, group_names[g], ids, n, &changes), LEAT_OK);
	if (model.locals[g] == bits)
		return;
	model.locals[g] = bits;
	model_tell(g, 1);
}

static void
step_expire(uint64_t now_ms)
{
	uint64_t conns[CONNS];
	size_t n = lt_hub_expire(hub, now_ms, conns, CONNS, &changes);

	for (size_t i = 0; i < n; i++) {
		int c = (int)(conns[i] - 100);

		assert_true(model.id[c] >= 0);
		assert_true(now_ms > model.seen_ms[c] + LT_HUB_EXPIRY_MS);
		model_go(c);
	}
	for (int c = 0; c < CONNS; c++)
		assert_true(model.id[c] < 0 ||
			    now_ms <= model.seen_ms[c] + LT_HUB_EXPIRY_MS);
}

static void
step(uint64_t *now_ms)
{
	struct lt_remoting_text none = {NULL, 0};
	int c = (int)any(CONNS), g = (int)any(GROUPS);
	struct lt_remoting_text group = {
	    group_names[g], (uint32_t)strlen(group_names[g])};

	*now_ms += any(8000);
	switch (any(8)) {
	case 0:
		lt_hub_closed(hub, conn_of(c), &changes);
		model_go(c);
		break;
	case 1:
		lt_hub_unregister(hub, conn_of(c), none, group, &changes);
		if (model.id[c] >= 0 && model.in[c][g])
			model_leave(c, g);
		for (g = 0; g < GROUPS && !model.in[c][g]; g++)
			;
		if (g == GROUPS)
			model.id[c] = -1;
		break;
	case 2:
		step_locals();
		break;
	case 3:
		if (any(4) == 0)
			*now_ms += LT_HUB_EXPIRY_MS;
		step_expire(*now_ms);
		break;
	default:
		step_beat(*now_ms);
		break;
	}
}

/* --- judging -------------------------------------------------------------- */

static void
judge_told(void)
{
	uint32_t told[GROUPS] = {0};

	for (size_t i = 0; i < changes.count; i++) {
		const char *name = lt_hub_changes_group(&changes, i);
		uint64_t conn = changes.items[i].conn;

		assert_in_range(name[1], '0', '0' + GROUPS - 1);
		told[name[1] - '0'] |= 1u << (conn == 0 ? CONNS : conn - 100);
	}
	for (int g = 0; g < GROUPS; g++)
		assert_int_equal(told[g], model.told[g]);
}

static void
judge_group(int g, struct lt_buffer *b)
{
	struct lt_remoting_text group = {
	    group_names[g], (uint32_t)strlen(group_names[g])};
	uint32_t ids = ids_of(g);
	char json[128] = "{\"consumerIdList\":[";
	int rc;

	for (int i = 0; i < IDS; i++)
		if (ids >> i & 1)
			snprintf(json + strlen(json),
			    sizeof json - strlen(json), "%s\"%s\"",
			    json[strlen(json) - 1] == '[' ? "" : ",",
			    id_names[i]);
	lt_buffer_clear(b);
	rc = lt_hubjson_ids(hub, group, b);
	assert_int_equal(rc, ids == 0 ? LEAT_E_NOTFOUND : LEAT_OK);
	if (ids != 0) {
		lt_buffer_text(b, "");
		assert_int_equal(b->bytes, strlen(json) + 2);
		assert_memory_equal(b->p, json, strlen(json));
	}
	for (int t = 0; t < TOPICS; t++) {
		struct lt_remoting_text topic = {topic_names[t], 2};
		struct lt_tags tags;

		assert_int_equal(lt_hub_filter(hub, group, topic, 0, &tags),
		    model.topics[g] >> t & 1 ? LEAT_OK : LEAT_E_NOTFOUND);
	}
}

static void
story(void **state)
{
	const char *steps_text = getenv("LEAT_STEPS");
	const char *seed_text = getenv("LEAT_SEED");
	unsigned long steps =
	    steps_text == NULL ? 200000 : strtoul(steps_text, NULL, 10);
	unsigned long told = 0;
	const struct lt_hub_limits limits = {0};
	struct lt_hub_counts n;
	struct lt_buffer b;
	uint64_t now_ms = 1;

	seed = seed_text == NULL ? 4711 : strtoull(seed_text, NULL, 10);
	printf("seed %llu, %lu steps\n", (unsigned long long)seed, steps);
	seed = seed * 2 + 1;
	assert_int_equal(lt_hub_create(&limits, &hub), LEAT_OK);
	lt_hub_changes_init(&changes);
	lt_buffer_init(&b, 4096);
	memset(model.id, -1, sizeof model.id);
	for (unsigned long i = 0; i < steps; i++) {
		memset(model.told, 0, sizeof model.told);
		lt_hub_changes_clear(&changes);
		step(&now_ms);
		judge_told();
		told += changes.count;
		for (int g = 0; g < GROUPS; g++)
			judge_group(g, &b);
	}
	printf("%lu notices\n", told);
	assert_true(told > steps / 10);
	for (int c = 0; c < CONNS; c++)
		lt_hub_closed(hub, conn_of(c), &changes);
	for (int g = 0; g < GROUPS; g++)
		assert_int_equal(
		    lt_hub_locals(hub, group_names[g], NULL, 0, &changes),
		    LEAT_OK);
	lt_hub_count(hub, &n);
	assert_int_equal(n.bytes, 0);
	assert_int_equal(n.connections + n.consumer_groups, 0);
	lt_hub_destroy(hub);
	lt_hub_changes_fini(&changes);
	lt_buffer_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(story)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
