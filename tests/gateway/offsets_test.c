/*
 * offsets_test.c - offsets on their way to leat-queue, and order locks: each
 * rule, bounds, and a random story (LEAT_STEPS 300,000, LEAT_SEED) beside a
 * model of what was committed and what leat-queue was told.
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

#include "hub/hubjson.h"
#include "hub/offsets.h"
#include "hub/orderlocks.h"
#include "leat/status.h"

static struct lt_hub *hub;
static struct lt_hub_changes changes;

static int
open_with(uint32_t offsets_max, uint32_t locks_max)
{
	const struct lt_hub_limits limits = {
	    .offsets_max = offsets_max, .locks_max = locks_max};

	return lt_hub_create(&limits, &hub);
}

static int
set_up(void **state)
{
	lt_hub_changes_init(&changes);
	return open_with(0, 0);
}

static int
tear_down(void **state)
{
	lt_hub_destroy(hub);
	lt_hub_changes_fini(&changes);
	return 0;
}

static struct lt_remoting_text
text(const char *s)
{
	return (struct lt_remoting_text){s, (uint32_t)strlen(s)};
}

static struct lt_offsets_key
key(const char *group, const char *topic, uint32_t queue)
{
	return (struct lt_offsets_key){text(group), text(topic), queue};
}

static int
put(const char *group, const char *topic, uint32_t queue, int64_t offset)
{
	struct lt_offsets_key k = key(group, topic, queue);

	return lt_offsets_put(hub, &k, offset);
}

/* -1: not known. */
static int64_t
get(const char *group, const char *topic, uint32_t queue)
{
	struct lt_offsets_key k = key(group, topic, queue);
	int64_t offset;

	return lt_offsets_get(hub, &k, &offset) == LEAT_OK ? offset : -1;
}

static size_t
dirty(void)
{
	struct lt_hub_counts n;

	lt_hub_count(hub, &n);
	return n.offsets_dirty;
}

/* --- offsets -------------------------------------------------------------- */

static void
commit_and_save(void **state)
{
	struct lt_offsets_item items[4];

	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(put("g", "t", 0, 5), LEAT_OK);
	assert_int_equal(put("g", "t", 1, 6), LEAT_OK);
	assert_int_equal(put("g", "t", 0, 4), LEAT_OK); /* the last one */
	assert_int_equal(put("g", "t", 0, -1), LEAT_OK);
	assert_int_equal(get("g", "t", 0), 4);
	assert_int_equal(lt_offsets_take(hub, items, 1), 1);
	assert_string_equal(items[0].group, "g");
	assert_string_equal(items[0].topic, "t");
	assert_int_equal(items[0].queue, 0);
	assert_int_equal(items[0].offset, 4);
	assert_int_equal(lt_offsets_take(hub, items + 1, 3), 1);
	assert_int_equal(lt_offsets_take(hub, items + 2, 2), 0);
	/* One is overtaken on its way, one fails. */
	assert_int_equal(put("g", "t", 0, 9), LEAT_OK);
	lt_offsets_saved(hub, items, 1);
	lt_offsets_failed(hub, items + 1, 1);
	assert_int_equal(dirty(), 2);
	assert_int_equal(lt_offsets_take(hub, items, 4), 2);
	assert_int_equal(items[0].offset, 9);
	assert_int_equal(items[1].offset, 6);
	lt_offsets_saved(hub, items, 2);
	assert_int_equal(dirty(), 0);
	assert_int_equal(lt_offsets_take(hub, items, 4), 0);
	assert_int_equal(get("g", "t", 0), 9);
	/* Given back twice: nothing. */
	lt_offsets_failed(hub, items, 2);
	assert_int_equal(dirty(), 0);
	assert_int_equal(put("", "t", 0, 9), LEAT_E_NAME);
}

static void
learned(void **state)
{
	struct lt_offsets_key k = key("g", "t", 0);

	lt_offsets_learned(hub, &k, -1);
	assert_int_equal(get("g", "t", 0), -1);
	lt_offsets_learned(hub, &k, 7);
	assert_int_equal(get("g", "t", 0), 7);
	assert_int_equal(dirty(), 0);
	assert_int_equal(put("g", "t", 0, 8), LEAT_OK);
	lt_offsets_learned(hub, &k, 7);
	assert_int_equal(get("g", "t", 0), 8);
}

static void
reset(void **state)
{
	struct lt_offsets_key k = key("g", "t", 0);
	struct lt_offsets_item item;
	int64_t offset = 0;

	assert_int_equal(lt_offsets_reset(hub, &k, -1), LEAT_E_INVALID);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 0);
	assert_int_equal(put("g", "t", 0, 50), LEAT_OK);
	assert_int_equal(lt_offsets_take(hub, &item, 1), 1);
	assert_int_equal(lt_offsets_reset(hub, &k, 10), LEAT_OK);
	lt_offsets_failed(hub, &item, 1);
	assert_int_equal(dirty(), 0);
	assert_int_equal(put("g", "t", 0, 51), LEAT_OK);
	assert_int_equal(get("g", "t", 0), 10);
	assert_int_equal(dirty(), 0);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 1);
	assert_int_equal(offset, 10);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 0);
	assert_int_equal(put("g", "t", 0, 11), LEAT_OK);
	assert_int_equal(dirty(), 1);
	/* Two resets are one. */
	assert_int_equal(lt_offsets_reset(hub, &k, 1), LEAT_OK);
	assert_int_equal(lt_offsets_reset(hub, &k, 2), LEAT_OK);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 1);
	assert_int_equal(offset, 2);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 0);
}

static void
forgotten(void **state)
{
	struct lt_offsets_item items[4];
	struct lt_offsets_key k = key("g", "u", 0);
	int64_t offset;

	for (uint32_t q = 0; q < 2; q++) {
		assert_int_equal(put("g", "t", q, 5), LEAT_OK);
		assert_int_equal(put("f", "t", q, 5), LEAT_OK);
		assert_int_equal(put("f", "u", q, 5), LEAT_OK);
	}
	assert_int_equal(lt_offsets_take(hub, items, 1), 1); /* g, t, 0 */
	assert_int_equal(lt_offsets_reset(hub, &k, 3), LEAT_OK);
	lt_offsets_forget_group(hub, text("g"));
	lt_offsets_forget_group(hub, text("nobody"));
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 0);
	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(dirty(), 4);
	/* Made again meanwhile: what was taken is of another life. */
	assert_int_equal(put("g", "t", 0, 6), LEAT_OK);
	lt_offsets_saved(hub, items, 1);
	assert_int_equal(dirty(), 5);
	/* Even if it is on its way again. */
	assert_int_equal(lt_offsets_take(hub, items + 1, 4 - 1), 3);
	assert_int_equal(lt_offsets_take(hub, items + 2, 2), 2);
	lt_offsets_saved(hub, items, 1);
	assert_int_equal(dirty(), 5);
	lt_offsets_forget_topic(hub, text("t"));
	assert_int_equal(get("f", "t", 1), -1);
	assert_int_equal(get("f", "u", 1), 5);
	assert_int_equal(dirty(), 2);
}

static void
full(void **state)
{
	struct lt_offsets_item items[4];
	struct lt_offsets_key k = key("g", "t", 9);
	int64_t offset;

	lt_hub_destroy(hub);
	assert_int_equal(open_with(4, 0), LEAT_OK);
	for (uint32_t q = 0; q < 4; q++)
		assert_int_equal(put("g", "t", q, q), LEAT_OK);
	assert_int_equal(put("g", "t", 4, 4), LEAT_E_LIMIT);
	assert_int_equal(put("g", "t", 3, 5), LEAT_OK);
	assert_int_equal(lt_offsets_take(hub, items, 2), 2);
	assert_int_equal(put("g", "t", 4, 4), LEAT_E_LIMIT);
	/* What leat-queue has gives way, the oldest first. */
	lt_offsets_saved(hub, items, 2);
	assert_int_equal(put("g", "t", 4, 4), LEAT_OK);
	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(get("g", "t", 1), 1);
	/* A pending reset stays. */
	assert_int_equal(lt_offsets_reset(hub, &k, 1), LEAT_OK);
	assert_int_equal(put("g", "t", 5, 4), LEAT_E_LIMIT);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 1);
	assert_int_equal(put("g", "t", 5, 4), LEAT_OK);
	assert_int_equal(get("g", "t", 9), -1);
}

static void
with_local_members(void **state)
{
	static const char *const ids[] = {"leat-1"};
	struct lt_offsets_key k = key("g", "t", 0);
	struct lt_offsets_item items[2];
	int64_t offset;

	lt_offsets_learned(hub, &k, 7);
	assert_int_equal(put("g", "t", 1, 5), LEAT_OK);
	assert_int_equal(lt_hub_locals(hub, "g", ids, 1, &changes), LEAT_OK);
	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(get("g", "t", 1), 5);
	lt_offsets_learned(hub, &k, 8);
	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(lt_offsets_take(hub, items, 2), 1);
	assert_int_equal(get("g", "t", 1), 5);
	lt_offsets_saved(hub, items, 1);
	assert_int_equal(get("g", "t", 1), -1);
	assert_int_equal(lt_offsets_reset(hub, &k, 3), LEAT_OK);
	assert_int_equal(get("g", "t", 0), 3);
	assert_int_equal(lt_offsets_tell_reset(hub, &k, &offset), 1);
	assert_int_equal(get("g", "t", 0), -1);
	assert_int_equal(lt_hub_locals(hub, "g", NULL, 0, &changes), LEAT_OK);
	lt_offsets_learned(hub, &k, 8);
	assert_int_equal(get("g", "t", 0), 8);
}

/* --- a story -------------------------------------------------------------- */

#define GROUPS 2
#define TOPICS 2
#define QUEUES 3
#define KEYS (GROUPS * TOPICS * QUEUES)

static const char *const groups[GROUPS] = {"g", "gt"};
static const char *const topics[TOPICS] = {"tt", "t"};

static struct {
	int64_t newest[KEYS]; /* -1: nothing */
	int64_t reset[KEYS]; /* -1: none pending */
	int64_t told[KEYS]; /* what leat-queue has */
	struct lt_offsets_item taken[KEYS];
	size_t taken_count;
	uint64_t life[KEYS], taken_life[KEYS];
} model;

static uint64_t seed;

static uint64_t
any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

static struct lt_offsets_key
key_at(size_t i)
{
	return key(groups[i / QUEUES / TOPICS], topics[i / QUEUES % TOPICS],
	    (uint32_t)(i % QUEUES));
}

static size_t
index_of(const struct lt_offsets_item *item)
{
	size_t i = 0;

	for (; i < KEYS; i++) {
		struct lt_offsets_key k = key_at(i);

		if (k.queue == item->queue &&
		    strcmp(k.group.p, item->group) == 0 &&
		    strcmp(k.topic.p, item->topic) == 0)
			break;
	}
	assert_true(i < KEYS);
	return i;
}

static void
forget_at(size_t i)
{
	model.newest[i] = model.reset[i] = model.told[i] = -1;
	model.life[i]++;
}

static void
take_or_settle(void)
{
	size_t n = any(KEYS + 1);

	if (model.taken_count == 0) {
		model.taken_count = lt_offsets_take(hub, model.taken, n);
		for (size_t i = 0; i < model.taken_count; i++) {
			size_t at = index_of(&model.taken[i]);

			assert_int_equal(
			    model.taken[i].offset, model.newest[at]);
			model.taken_life[i] = model.life[at];
		}
		return;
	}
	int is_saved = any(3) > 0;

	for (size_t i = 0; is_saved && i < model.taken_count; i++) {
		size_t at = index_of(&model.taken[i]);

		if (model.taken_life[i] == model.life[at])
			model.told[at] = model.taken[i].offset;
	}
	if (is_saved)
		lt_offsets_saved(hub, model.taken, model.taken_count);
	else
		lt_offsets_failed(hub, model.taken, model.taken_count);
	model.taken_count = 0;
}

static void
step(void)
{
	size_t i = any(KEYS);
	struct lt_offsets_key k = key_at(i);
	int64_t offset = (int64_t)any(1000) - 10, got = -1;

	switch (any(30)) {
	case 0:
		assert_int_equal(lt_offsets_reset(hub, &k, offset),
		    offset < 0 ? LEAT_E_INVALID : LEAT_OK);
		if (offset < 0)
			break;
		/* The clerk set it in leat-queue before. */
		model.newest[i] = model.reset[i] = model.told[i] = offset;
		model.life[i]++;
		break;
	case 1:
		if (any(10) > 0)
			break;
		lt_offsets_forget_group(hub, k.group);
		for (size_t j = 0; j < KEYS; j++)
			if (key_at(j).group.p == k.group.p)
				forget_at(j);
		break;
	case 2:
		if (any(10) > 0)
			break;
		lt_offsets_forget_topic(hub, k.topic);
		for (size_t j = 0; j < KEYS; j++)
			if (key_at(j).topic.p == k.topic.p)
				forget_at(j);
		break;
	case 3:
	case 4:
	case 5:
		assert_int_equal(
		    lt_offsets_tell_reset(hub, &k, &got), model.reset[i] >= 0);
		assert_int_equal(got, model.reset[i]);
		model.reset[i] = -1;
		break;
	case 6:
		lt_offsets_learned(hub, &k, model.told[i]);
		if (model.newest[i] < 0)
			model.newest[i] = model.told[i];
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		take_or_settle();
		break;
	default:
		assert_int_equal(lt_offsets_put(hub, &k, offset), LEAT_OK);
		if (offset >= 0 && model.reset[i] < 0)
			model.newest[i] = offset;
		break;
	}
	assert_int_equal(get(k.group.p, k.topic.p, k.queue), model.newest[i]);
}

static void
story(void **state)
{
	const char *steps_text = getenv("LEAT_STEPS");
	const char *seed_text = getenv("LEAT_SEED");
	unsigned long steps =
	    steps_text == NULL ? 300000 : strtoul(steps_text, NULL, 10);

	seed = seed_text == NULL ? 4711 : strtoull(seed_text, NULL, 10);
	printf("seed %llu, %lu steps\n", (unsigned long long)seed, steps);
	seed = seed * 2 + 1;
	memset(&model, 0, sizeof model);
	for (size_t i = 0; i < KEYS; i++)
		forget_at(i);
	for (unsigned long i = 0; i < steps; i++) {
		step();
		if (i % 64 != 0)
			continue;
		/* Quiet: leat-queue learns all that was committed last. */
		for (int n = 0; model.taken_count > 0 || dirty() > 0; n++) {
			assert_true(n < 1000);
			take_or_settle();
		}
		for (size_t j = 0; j < KEYS; j++)
			assert_int_equal(model.told[j], model.newest[j]);
	}
}

/* --- order locks ---------------------------------------------------------- */

static struct lt_heartbeat_queue queues[] = {
    {"b", "t", 0}, {"b", "t", 1}, {"b", "u", 0}};

/* Bits of what is held of the first n. */
static unsigned
lock(const char *group, const char *id, size_t n, uint64_t now_ms)
{
	struct lt_heartbeat_locks asked = {
	    .group = group, .client_id = id, .queues = queues, .count = n};
	uint8_t is_held[LT_COUNT(queues)];
	unsigned bits = 0;

	lt_orderlocks_lock(hub, &asked, now_ms, is_held);
	for (size_t i = 0; i < n; i++)
		bits |= (unsigned)is_held[i] << i;
	return bits;
}

static void
unlock(const char *group, const char *id, size_t n)
{
	struct lt_heartbeat_locks asked = {
	    .group = group, .client_id = id, .queues = queues, .count = n};

	lt_orderlocks_unlock(hub, &asked);
}

static void
leases(void **state)
{
	const uint64_t lease = LT_ORDERLOCKS_LEASE_MS;

	assert_int_equal(lt_orderlocks_any(hub, text("g"), 0), 0);
	assert_int_equal(lock("g", "a", 2, 1000), 3);
	assert_int_equal(lock("g", "b", 3, 1000), 4);
	assert_int_equal(lock("f", "b", 2, 1000), 3); /* another group */
	assert_int_equal(lock("g", "a", 1, 1000 + lease), 1); /* renewed */
	assert_int_equal(lock("g", "b", 3, 1000 + lease), 4);
	assert_int_equal(lock("g", "b", 3, 1001 + lease), 6);
	assert_int_equal(lock("g", "a", 3, 1001 + lease), 1);
	/* Not the owner's connection, only its word or the time. */
	lt_hub_closed(hub, 1, &changes);
	unlock("g", "a", 3);
	assert_int_equal(lock("g", "b", 3, 1002 + lease), 7);
	assert_int_equal(
	    lt_orderlocks_any(hub, text("g"), 1002 + 2 * lease), 1);
	assert_int_equal(
	    lt_orderlocks_any(hub, text("g"), 1003 + 2 * lease), 0);
	unlock("g", "b", 3);
	assert_int_equal(lt_orderlocks_any(hub, text("g"), 1002), 0);
	assert_int_equal(lock("g", "a", 0, 1002), 0);
	unlock("nobody", "a", 3);
}

static void
locks_are_bounded(void **state)
{
	struct lt_hub_counts n;

	lt_hub_destroy(hub);
	assert_int_equal(open_with(0, 2), LEAT_OK);
	assert_int_equal(lock("g", "a", 3, 1000), 3);
	assert_int_equal(lock("g", "a", 3, 2000), 3);
	assert_int_equal(lock("f", "a", 1, 2000), 0);
	/* What is over gives way. */
	assert_int_equal(lock("f", "b", 1, 2001 + LT_ORDERLOCKS_LEASE_MS), 1);
	lt_hub_count(hub, &n);
	assert_int_equal(n.locks, 1);
}

static void
locked_body(void **state)
{
	static const uint8_t is_held[] = {1, 0, 1};
	struct lt_heartbeat_locks asked = {.queues = queues, .count = 3};
	struct lt_buffer b;

	lt_buffer_init(&b, 4096);
	assert_int_equal(lt_hubjson_locked(&asked, is_held, &b), LEAT_OK);
	lt_buffer_add(&b, "", 1);
	assert_string_equal((char *)b.p,
	    "{\"lockOKMQSet\":[{\"brokerName\":\"b\",\"queueId\":0,"
	    "\"topic\":\"t\"},{\"brokerName\":\"b\",\"queueId\":0,"
	    "\"topic\":\"u\"}]}");
	lt_buffer_fini(&b);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(commit_and_save),
	    TEST(learned),
	    TEST(reset),
	    TEST(forgotten),
	    TEST(full),
	    TEST(with_local_members),
	    TEST(story),
	    TEST(leases),
	    TEST(locks_are_bounded),
	    TEST(locked_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
