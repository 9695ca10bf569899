/* hubjson.c - members, subscriptions and locks as JSON. */
#include "config.h"
#include "hub/hubjson.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hub/inside.h"
#include "leat/status.h"

static void
quote(struct lt_buffer *out, const char *text)
{
	lt_buffer_quote(out, text, strlen(text));
}

/* A key (or none) and a text, behind others or not. */
static void
put(struct lt_buffer *out, const char *before, const char *text)
{
	lt_buffer_text(out, before);
	quote(out, text);
}

/* --- lists of names ------------------------------------------------------- */

struct names {
	const char **items; /* borrowed */
	size_t count, capacity;
	int rc;
};

static void
name_add(struct names *names, const char *name)
{
	if (names->rc == LEAT_OK)
		names->rc = lt_mem_grow((void **)&names->items,
		    &names->capacity, names->count, sizeof *names->items);
	if (names->rc == LEAT_OK)
		names->items[names->count++] = name;
}

static void
names_add(struct names *names, const char *const *more, size_t count)
{
	for (size_t i = 0; i < count; i++)
		name_add(names, more[i]);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* {"KEY":[..]} with each name once, in order; frees them. */
static int
names_put(struct names *names, const char *key, struct lt_buffer *out)
{
	int is_first = 1;

	if (names->rc == LEAT_OK && names->count > 0)
		qsort(
		    names->items, names->count, sizeof *names->items, compare);
	lt_buffer_format(out, "{\"%s\":[", key);
	for (size_t i = 0; i < names->count; i++) {
		if (i > 0 && strcmp(names->items[i], names->items[i - 1]) == 0)
			continue;
		put(out, is_first ? "" : ",", names->items[i]);
		is_first = 0;
	}
	lt_buffer_text(out, "]}");
	lt_mem_free(names->items);
	return names->rc == LEAT_OK ? lt_buffer_status(out) : names->rc;
}

/* Lock, and find a party: NULL if nobody is in it. */
static const struct lt_hub_party *
enter(struct lt_hub *hub, enum lt_hub_kind kind, struct lt_remoting_text name)
{
	lt_hub_lock(hub);
	return lt_hub_party_of(hub, kind, name.p, name.bytes);
}

static const struct lt_hub_client *
client_at(const struct lt_hub_ring *in_party)
{
	return LT_HUB_OF(struct lt_hub_membership, in_party, in_party)->client;
}

static void
ids_add(struct names *names, const struct lt_hub_party *party)
{
	const char *local = party->locals;

	for (const struct lt_hub_ring *r = party->memberships.next;
	     r != &party->memberships; r = r->next)
		name_add(names, client_at(r)->id);
	for (size_t i = 0; i < party->local_count; i++) {
		name_add(names, local);
		local += strlen(local) + 1;
	}
}

int
lt_hubjson_ids(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_CONSUMERS, group);
	struct names names = {0};
	int rc = LEAT_E_NOTFOUND;

	if (party != NULL) {
		ids_add(&names, party);
		rc = names_put(&names, "consumerIdList", out);
	}
	lt_hub_unlock(hub);
	return rc;
}

int
lt_hub_ids(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *out, size_t *count_out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_CONSUMERS, group);
	struct names names = {0};
	int rc = LEAT_E_NOTFOUND;

	*count_out = 0;
	if (party != NULL) {
		ids_add(&names, party);
		rc = names.rc;
	}
	if (rc == LEAT_OK && names.count > 0)
		qsort(names.items, names.count, sizeof *names.items, compare);
	for (size_t i = 0; rc == LEAT_OK && i < names.count; i++) {
		const char *id = names.items[i];

		if (i > 0 && strcmp(id, names.items[i - 1]) == 0)
			continue;
		lt_buffer_add(out, id, strlen(id) + 1);
		++*count_out;
	}
	lt_hub_unlock(hub);
	lt_mem_free(names.items);
	return rc == LEAT_OK ? lt_buffer_status(out) : rc;
}

int
lt_hubjson_groups(struct lt_hub *hub, struct lt_remoting_text topic,
    const char *const *more, size_t count, struct lt_buffer *out)
{
	const struct lt_hub_party *party;
	struct names names = {0};
	size_t cursor = 0;
	int rc;

	names_add(&names, more, count);
	lt_hub_lock(hub);
	while ((party = lt_hash_next(
		    &hub->parties[LT_HUB_CONSUMERS], &cursor)) != NULL)
		if (lt_hub_subs_find(party, topic.p, topic.bytes) != NULL)
			name_add(&names, party->name);
	rc = names_put(&names, "groupList", out);
	lt_hub_unlock(hub);
	return rc;
}

int
lt_hubjson_topics(struct lt_hub *hub, struct lt_remoting_text group,
    const char *const *more, size_t count, struct lt_buffer *out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_CONSUMERS, group);
	struct names names = {0};
	int rc;

	names_add(&names, more, count);
	for (const struct lt_hub_ring *r = party == NULL ? NULL
							 : party->subs.next;
	     r != NULL && r != &party->subs; r = r->next)
		name_add(&names, ((const struct lt_hub_sub *)r)->topic);
	rc = names_put(&names, "topicList", out);
	lt_hub_unlock(hub);
	return rc;
}

/* --- connections ---------------------------------------------------------- */

static void
put_connections(struct lt_buffer *out, const struct lt_hub_party *party)
{
	const char *before = "\"connectionSet\":[";

	for (const struct lt_hub_ring *r = party->memberships.next;
	     r != &party->memberships; r = r->next) {
		const struct lt_hub_client *c = client_at(r);

		lt_buffer_text(out, before);
		put(out, "{\"clientAddr\":", c->address);
		put(out, ",\"clientId\":", c->id);
		put(out, ",\"language\":", lt_remoting_language(c->language));
		lt_buffer_format(out, ",\"version\":%" PRId32 "}", c->version);
		before = ",";
	}
	lt_buffer_text(out, "]");
}

static void
put_sub(struct lt_buffer *out, const struct lt_hub_sub *sub)
{
	const char *tag, *before = "";
	size_t at = 0, bytes, text_bytes = strlen(sub->text);

	lt_buffer_format(out, "{\"classFilterMode\":%s,\"codeSet\":[",
	    sub->is_class_filter ? "true" : "false");
	for (size_t i = 0; i < sub->code_count; i++)
		lt_buffer_format(
		    out, "%s%" PRId64, i == 0 ? "" : ",", sub->codes[i]);
	put(out, "],\"expressionType\":", sub->expression);
	put(out, ",\"subString\":", sub->text);
	lt_buffer_format(
	    out, ",\"subVersion\":%" PRId64 ",\"tagsSet\":[", sub->version);
	while (sub->code_count > 0 && (tag = lt_tags_next(sub->text, text_bytes,
					   &at, &bytes)) != NULL) {
		lt_buffer_text(out, before);
		lt_buffer_quote(out, tag, bytes);
		before = ",";
	}
	put(out, "],\"topic\":", sub->topic);
	lt_buffer_text(out, "}");
}

int
lt_hubjson_consumers(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_CONSUMERS, group);
	const char *before = "";
	int rc = LEAT_E_NOTFOUND;

	if (party != NULL && party->members > 0) {
		lt_buffer_text(out, "{");
		put_connections(out, party);
		put(out, ",\"consumeFromWhere\":",
		    lt_heartbeat_from_name(party->from));
		put(out,
		    ",\"consumeType\":", lt_heartbeat_type_name(party->type));
		put(out, ",\"messageModel\":",
		    lt_heartbeat_model_name(party->model));
		lt_buffer_text(out, ",\"subscriptionTable\":{");
		for (const struct lt_hub_ring *r = party->subs.next;
		     r != &party->subs; r = r->next) {
			const struct lt_hub_sub *sub =
			    (const struct lt_hub_sub *)r;

			put(out, before, sub->topic);
			lt_buffer_text(out, ":");
			put_sub(out, sub);
			before = ",";
		}
		lt_buffer_text(out, "}}");
		rc = lt_buffer_status(out);
	}
	lt_hub_unlock(hub);
	return rc;
}

int
lt_hubjson_producers(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_PRODUCERS, group);
	int rc = LEAT_E_NOTFOUND;

	if (party != NULL) {
		lt_buffer_text(out, "{");
		put_connections(out, party);
		lt_buffer_text(out, "}");
		rc = lt_buffer_status(out);
	}
	lt_hub_unlock(hub);
	return rc;
}

static void
put_producer(struct lt_buffer *out, const struct lt_hub_client *c,
    uint64_t now_ms, int64_t wall_ms)
{
	uint64_t ago_ms = now_ms > c->seen_ms ? now_ms - c->seen_ms : 0;

	put(out, "{\"clientId\":", c->id);
	put(out, ",\"language\":", lt_remoting_language(c->language));
	lt_buffer_format(out, ",\"lastUpdateTimestamp\":%" PRId64,
	    wall_ms - (int64_t)ago_ms);
	put(out, ",\"remoteIP\":", c->address);
	lt_buffer_format(out, ",\"version\":%" PRId32 "}", c->version);
}

int
lt_hubjson_all_producers(
    struct lt_hub *hub, uint64_t now_ms, int64_t wall_ms, struct lt_buffer *out)
{
	const struct lt_hub_party *party;
	const char *before = "{\"data\":{";
	size_t cursor = 0;
	int rc;

	lt_hub_lock(hub);
	if (hub->parties[LT_HUB_PRODUCERS].used == 0)
		lt_buffer_text(out, before);
	while ((party = lt_hash_next(
		    &hub->parties[LT_HUB_PRODUCERS], &cursor)) != NULL) {
		const struct lt_hub_ring *all = &party->memberships;

		put(out, before, party->name);
		for (const struct lt_hub_ring *r = all->next; r != all;
		     r = r->next) {
			lt_buffer_text(out, r == all->next ? ":[" : ",");
			put_producer(out, client_at(r), now_ms, wall_ms);
		}
		lt_buffer_text(out, "]");
		before = ",";
	}
	lt_buffer_text(out, "}}");
	rc = lt_buffer_status(out);
	lt_hub_unlock(hub);
	return rc;
}

int
lt_hubjson_subscription(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text topic, struct lt_buffer *out)
{
	const struct lt_hub_party *party = enter(hub, LT_HUB_CONSUMERS, group);
	const struct lt_hub_sub *sub =
	    party == NULL ? NULL
			  : lt_hub_subs_find(party, topic.p, topic.bytes);

	lt_buffer_text(out, "{\"group\":");
	lt_buffer_quote(out, group.p, group.bytes);
	if (sub != NULL) {
		lt_buffer_text(out, ",\"subscriptionData\":");
		put_sub(out, sub);
	}
	lt_hub_unlock(hub);
	lt_buffer_text(out, ",\"topic\":");
	lt_buffer_quote(out, topic.p, topic.bytes);
	lt_buffer_text(out, "}");
	return lt_buffer_status(out);
}

/* A queue that was asked for twice is told once; if memory is short, twice. */
static int
is_first(struct lt_hash *seen, const struct lt_heartbeat_queue *q)
{
	struct {
		uint32_t queue;
		char topic[LT_NAME_FIELD];
	} key = {.queue = q->queue};
	size_t bytes = strlen(q->topic);

	memcpy(key.topic, q->topic, bytes);
	bytes += sizeof key.queue;
	if (lt_hash_get(seen, &key, bytes) != NULL)
		return 0;
	(void)!lt_hash_put(seen, &key, bytes, seen);
	return 1;
}

int
lt_hubjson_locked(const struct lt_heartbeat_locks *asked,
    const uint8_t *is_held, struct lt_buffer *out)
{
	const char *before = "";
	struct lt_hash seen;

	lt_hash_init(&seen);
	lt_buffer_text(out, "{\"lockOKMQSet\":[");
	for (size_t i = 0; i < asked->count; i++) {
		const struct lt_heartbeat_queue *q = &asked->queues[i];

		if (!is_held[i] || !is_first(&seen, q))
			continue;
		lt_buffer_text(out, before);
		put(out, "{\"brokerName\":", q->broker);
		lt_buffer_format(out, ",\"queueId\":%" PRIu32, q->queue);
		put(out, ",\"topic\":", q->topic);
		lt_buffer_text(out, "}");
		before = ",";
	}
	lt_buffer_text(out, "]}");
	lt_hash_fini(&seen);
	return lt_buffer_status(out);
}
