/*
 * heartbeat_fuzz.c - bodies of heartbeats and of queues to lock, and what
 * becomes of them: several connections, questions whose answers must be JSON,
 * time that goes on; in the end everybody leaves and nothing stays.
 *
 * An input is steps of: what (u8), how many bytes of a body (u16, low byte
 * first), the body.
 */
#include "config.h"
#include <string.h>

#include <jansson.h>

#include "base/check.h"
#include "hub/hubjson.h"
#include "hub/offsets.h"
#include "hub/orderlocks.h"
#include "leat/status.h"

#define FUZZ_NAME "heartbeat"
#define FUZZ_RUNS 20000
#include "drive.h"
#include "../gateway/heartbeats.h"

#define CONNS 3

enum { /* low bits: connection */
	LOCK = 4,
	CLOSE = 8,
	LATER = 16,
	LOCALS = 32
};

static uint64_t now_ms;

static void
check_json(int rc, struct lt_buffer *b)
{
	json_error_t error;

	LT_ASSERT(rc == LEAT_OK || rc == LEAT_E_NOTFOUND);
	if (rc == LEAT_OK) {
		json_t *root =
		    json_loadb((const char *)b->p, b->bytes, 0, &error);

		LT_ASSERT(json_is_object(root));
		json_decref(root);
	}
	lt_buffer_clear(b);
}

static struct lt_remoting_text
text(const char *s)
{
	return (struct lt_remoting_text){s, (uint32_t)strlen(s)};
}

static void
ask(struct lt_hub *hub, const struct lt_heartbeat_consumer *c,
    struct lt_buffer *b)
{
	struct lt_remoting_text group = text(c->group);

	check_json(lt_hubjson_ids(hub, group, b), b);
	check_json(lt_hubjson_consumers(hub, group, b), b);
	check_json(lt_hubjson_topics(hub, group, NULL, 0, b), b);
	for (uint32_t i = 0; i < c->sub_count; i++) {
		struct lt_remoting_text topic = text(c->subs[i].topic);
		struct lt_offsets_key key = {group, topic, i};
		struct lt_tags tags;

		LT_ASSERT(c->subs[i].code_count <= LT_TAGS_MAX);
		if (lt_hub_filter(hub, group, topic, 0, &tags) == LEAT_OK)
			LT_ASSERT(tags.count <= LT_TAGS_MAX);
		check_json(lt_hubjson_subscription(hub, group, topic, b), b);
		check_json(lt_hubjson_groups(hub, topic, NULL, 0, b), b);
		(void)!lt_offsets_put(hub, &key, c->subs[i].version);
	}
}

static void
beat(struct lt_hub *hub, uint64_t conn, const uint8_t *body, size_t bytes,
    struct lt_hub_changes *changes, struct lt_buffer *b)
{
	struct lt_hub_peer peer = {conn, "10.0.0.9:4711", 0, 479, NULL};
	struct lt_heartbeat said;
	const char *why;
	int is_sub_change;
	int rc = lt_heartbeat_read(body, bytes, &said, &why);

	LT_ASSERT((rc == LEAT_OK) == (why[0] == '\0'));
	if (rc != LEAT_OK)
		return;
	rc = lt_hub_heartbeat(
	    hub, &said, &peer, now_ms, changes, &is_sub_change);
	LT_ASSERT(rc == LEAT_OK || rc == LEAT_E_LIMIT);
	for (uint32_t i = 0; i < said.consumer_count && i < 8; i++)
		ask(hub, &said.consumers[i], b);
	for (uint32_t i = 0; i < said.producer_count && i < 8; i++) {
		struct lt_remoting_text group = text(said.producers[i]);

		check_json(lt_hubjson_producers(hub, group, b), b);
		LT_ASSERT(rc != LEAT_OK || lt_hub_producer(hub, group) != 0);
	}
	check_json(lt_hubjson_all_producers(hub, now_ms, 5, b), b);
	LT_ASSERT(rc != LEAT_OK ||
		  lt_hub_find(hub, text(""), text(said.client_id)) != 0);
	lt_heartbeat_free(&said);
}

static void
lock(struct lt_hub *hub, const uint8_t *body, size_t bytes, struct lt_buffer *b)
{
	static uint8_t is_held[LT_HEARTBEAT_QUEUES_MAX];
	struct lt_heartbeat_locks asked;
	const char *why;

	if (lt_heartbeat_locks_read(body, bytes, &asked, &why) != LEAT_OK)
		return;
	lt_orderlocks_lock(hub, &asked, now_ms, is_held);
	check_json(lt_hubjson_locked(&asked, is_held, b), b);
	if (asked.count % 2 == 0)
		lt_orderlocks_unlock(hub, &asked);
	lt_heartbeat_locks_free(&asked);
}

static size_t
step(struct lt_hub *hub, const uint8_t *data, size_t bytes,
    struct lt_hub_changes *changes, struct lt_buffer *b)
{
	static const char *const ids[] = {"leat", "10.0.0.9@5"};
	uint8_t what = data[0];
	uint64_t conn = 1 + (what & 3) % CONNS, gone[2];
	size_t n = bytes < 3 ? 0 : (size_t)data[1] | (size_t)data[2] << 8;

	if (n > bytes - (bytes < 3 ? bytes : 3))
		n = bytes - (bytes < 3 ? bytes : 3);
	if (what & LOCK)
		lock(hub, data + 3, n, b);
	else
		beat(hub, conn, data + 3, n, changes, b);
	if (what & LOCALS)
		LT_ASSERT(lt_hub_locals(hub, "g", ids, (what >> 6) % 3,
			      changes) != LEAT_E_NOMEM);
	if (what & CLOSE)
		lt_hub_closed(hub, conn, changes);
	if (what & LATER)
		while (
		    lt_hub_expire(hub, now_ms += 50000, gone, 2, changes) == 2)
			;
	return bytes < 3 ? bytes : 3 + n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const struct lt_hub_limits limits = {.bytes_max = 20000,
	    .groups_max = 8,
	    .offsets_max = 8,
	    .locks_max = 4};
	struct lt_hub_changes changes;
	struct lt_hub_counts n;
	struct lt_hub *hub;
	struct lt_buffer b;

	now_ms = 1;
	LT_ASSERT(lt_hub_create(&limits, &hub) == LEAT_OK);
	lt_hub_changes_init(&changes);
	lt_buffer_init(&b, 8u << 20);
	while (bytes > 0) {
		size_t used = step(hub, data, bytes, &changes, &b);

		data += used;
		bytes -= used;
		lt_hub_count(hub, &n);
		LT_ASSERT(n.bytes <= limits.bytes_max);
		LT_ASSERT(n.connections <= CONNS);
		LT_ASSERT(n.offsets <= limits.offsets_max);
		LT_ASSERT(n.locks <= limits.locks_max);
	}
	for (uint64_t conn = 1; conn <= CONNS; conn++)
		lt_hub_closed(hub, conn, &changes);
	LT_ASSERT(lt_hub_locals(hub, "g", NULL, 0, &changes) == LEAT_OK);
	lt_hub_count(hub, &n);
	LT_ASSERT(n.bytes == 0 && n.consumer_groups + n.producer_groups == 0);
	lt_hub_destroy(hub);
	lt_hub_changes_fini(&changes);
	lt_buffer_fini(&b);
	return 0;
}

static size_t
put_step(uint8_t *buf, uint8_t what, const char *body)
{
	size_t n = strlen(body);

	buf[0] = what;
	buf[1] = (uint8_t)(n & 255);
	buf[2] = (uint8_t)(n >> 8);
	memcpy(buf + 3, body, n);
	return 3 + n;
}

/* A dialect each, then pairs of them with what else happens. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t count = LT_COUNT(heartbeats), at = 0;

	LT_ASSERT(cap >= 8192);
	at += put_step(buf, 0, heartbeats[n % count]);
	if (n < count)
		return at;
	at += put_step(buf + at, 1 | LATER, heartbeats[(n + 1) % count]);
	at += put_step(buf + at, LOCK, lock_request);
	at += put_step(buf + at, 2 | LOCALS | 128, heartbeats[(n + 2) % count]);
	return at + put_step(buf + at, (n & 1 ? CLOSE : LATER), heartbeats[0]);
}
