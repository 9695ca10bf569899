/*
 * hub_tsan.c - two threads in one hub, for ThreadSanitizer; also an ordinary
 * test. One hammers heartbeats, closes and commits, the other filters, order
 * locks, expiry and what the clerk does; what they find is one or the other.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "hub/offsets.h"
#include "hub/orderlocks.h"
#include "leat/status.h"

#define COUNT 20000
#define CONNS 4

static struct lt_hub *hub;
static const struct lt_offsets_key key = {{"g", 1}, {"t", 1}, 0};

static void *
speak(void *arg)
{
	int64_t codes[] = {97, 98};
	struct lt_heartbeat_sub sub = {.topic = "t",
	    .text = "a||b",
	    .expression = "TAG",
	    .codes = codes,
	    .code_count = 2};
	struct lt_heartbeat_consumer consumer = {.group = "g",
	    .subs = &sub,
	    .sub_count = 1,
	    .model = LT_HEARTBEAT_CLUSTERING};
	const char *producer = "pg";
	struct lt_heartbeat said = {.client_id = "c",
	    .consumers = &consumer,
	    .producers = &producer,
	    .consumer_count = 1,
	    .producer_count = 1};
	struct lt_hub_changes changes;

	lt_hub_changes_init(&changes);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct lt_hub_peer peer = {1 + i % CONNS, "x", 0, 479, NULL};
		int is_sub_change;

		sub.version = (int64_t)i;
		lt_hub_changes_clear(&changes);
		LT_ASSERT(lt_hub_heartbeat(hub, &said, &peer, i, &changes,
			      &is_sub_change) == LEAT_OK);
		LT_ASSERT(lt_offsets_put(hub, &key, (int64_t)i) == LEAT_OK);
		if (i % 3 == 0)
			lt_hub_closed(hub, 1 + i % CONNS, &changes);
	}
	lt_hub_changes_fini(&changes);
	return NULL;
}

static void *
look(void *arg)
{
	struct lt_heartbeat_queue queue = {"b", "t", 0};
	struct lt_heartbeat_locks asked = {
	    .group = "g", .client_id = "c", .queues = &queue, .count = 1};
	struct lt_hub_changes changes;
	int64_t last = -1;

	lt_hub_changes_init(&changes);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct lt_offsets_item item;
		struct lt_tags tags;
		uint64_t gone;
		uint8_t is_held;
		int rc = lt_hub_filter(hub, key.group, key.topic, 0, &tags);

		LT_ASSERT(
		    rc == LEAT_OK ? tags.count == 2 : rc == LEAT_E_NOTFOUND);
		(void)lt_hub_find(
		    hub, key.group, (struct lt_remoting_text){"c", 1});
		(void)lt_hub_producer(hub, (struct lt_remoting_text){"pg", 2});
		lt_orderlocks_lock(hub, &asked, i, &is_held);
		LT_ASSERT(is_held);
		lt_hub_changes_clear(&changes);
		(void)lt_hub_expire(hub, i, &gone, 1, &changes);
		if (lt_offsets_take(hub, &item, 1) == 0)
			continue;
		LT_ASSERT(item.offset >= last);
		last = item.offset;
		if (i % 5 == 0)
			lt_offsets_failed(hub, &item, 1);
		else
			lt_offsets_saved(hub, &item, 1);
	}
	lt_hub_changes_fini(&changes);
	return NULL;
}

int
main(void)
{
	const struct lt_hub_limits limits = {0};
	pthread_t speaker, looker;

	LT_ASSERT(lt_hub_create(&limits, &hub) == LEAT_OK);
	if (pthread_create(&speaker, NULL, speak, NULL) != 0 ||
	    pthread_create(&looker, NULL, look, NULL) != 0)
		return 2;
	pthread_join(speaker, NULL);
	pthread_join(looker, NULL);
	lt_hub_destroy(hub);
	printf("hub: %d rounds each of two threads\n", COUNT);
	return 0;
}
