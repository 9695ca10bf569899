/*
 * offsets.c - one entry per (group, topic, queue), in one of three states:
 *
 *          put                 take                saved
 *   clean ----> dirty (queue) ------> taken ----------------> clean
 *                  ^                  |  put: is_newer          (or gone)
 *                  +------------------+ failed, or saved and newer
 *
 * A reset makes it clean, with the offset set. What is taken has a ticket; an
 * entry that was forgotten and made again, or reset, has another.
 */
#include "config.h"
#include "hub/offsets.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "hub/inside.h"
#include "leat/status.h"

enum state {
	CLEAN,
	DIRTY,
	TAKEN
};

struct group {
	struct lt_hub_ring entries;
	size_t count;
	size_t name_bytes;
	char name[LT_NAME_FIELD];
};

struct entry {
	struct lt_hub_ring in_state; /* clean or dirty; must be first */
	struct lt_hub_ring in_group;
	struct group *group;
	int64_t offset;
	uint64_t ticket;
	enum state state;
	uint8_t is_newer; /* than what was taken */
	uint8_t is_reset; /* and no pull was told yet */
	uint32_t queue;
	uint32_t topic_bytes;
	char topic[]; /* with a NUL */
};

struct key {
	uint8_t bytes[6 + 2 * LT_NAME_FIELD];
	size_t count;
};

/* Queue, length of the group, group, topic. */
static int
key_of(struct key *k, const struct lt_offsets_key *key)
{
	size_t group = key->group.bytes, topic = key->topic.bytes;

	if (group == 0 || topic == 0 || group >= LT_NAME_FIELD ||
	    topic >= LT_NAME_FIELD)
		return LEAT_E_NAME;
	lt_bytes_put32(k->bytes, key->queue);
	lt_bytes_put16(k->bytes + 4, (uint16_t)group);
	memcpy(k->bytes + 6, key->group.p, group);
	memcpy(k->bytes + 6 + group, key->topic.p, topic);
	k->count = 6 + group + topic;
	return LEAT_OK;
}

void
lt_hub_offsets_init(struct lt_hub *hub)
{
	lt_hash_init(&hub->offsets);
	lt_hash_init(&hub->offset_groups);
	lt_hub_ring_init(&hub->dirty);
	lt_hub_ring_init(&hub->clean);
}

static struct entry *
find(const struct lt_hub *hub, const struct lt_offsets_key *key)
{
	struct key k;

	return key_of(&k, key) == LEAT_OK
		   ? lt_hash_get(&hub->offsets, k.bytes, k.count)
		   : NULL;
}

static void
set_state(struct lt_hub *hub, struct entry *e, enum state state)
{
	lt_hub_ring_del(&e->in_state);
	hub->dirty_count -= e->state != CLEAN;
	hub->dirty_count += state != CLEAN;
	e->state = state;
	e->is_newer = 0;
	e->ticket = ++hub->generation;
	if (state == DIRTY)
		lt_hub_ring_add(&hub->dirty, &e->in_state);
	else if (state == CLEAN && !e->is_reset)
		lt_hub_ring_add(&hub->clean, &e->in_state);
}

static void
drop(struct lt_hub *hub, struct entry *e)
{
	struct group *g = e->group;
	struct lt_offsets_key key = {{g->name, (uint32_t)g->name_bytes},
	    {e->topic, e->topic_bytes}, e->queue};
	struct key k;

	LT_ASSERT(key_of(&k, &key) == LEAT_OK);
	LT_ASSERT(lt_hash_del(&hub->offsets, k.bytes, k.count) == e);
	hub->dirty_count -= e->state != CLEAN;
	hub->resets -= e->is_reset;
	lt_hub_ring_del(&e->in_state);
	lt_hub_ring_del(&e->in_group);
	lt_mem_free(e);
	if (--g->count == 0) {
		lt_hash_del(&hub->offset_groups, g->name, g->name_bytes);
		lt_mem_free(g);
	}
}

void
lt_hub_offsets_fini(struct lt_hub *hub)
{
	struct entry *e;
	size_t cursor = 0;

	while ((e = lt_hash_next(&hub->offsets, &cursor)) != NULL)
		drop(hub, e);
	lt_hash_fini(&hub->offsets);
	lt_hash_fini(&hub->offset_groups);
}

static struct group *
group_make(struct lt_hub *hub, struct lt_remoting_text name)
{
	struct group *g = lt_hash_get(&hub->offset_groups, name.p, name.bytes);

	if (g != NULL)
		return g;
	g = lt_mem_alloc(sizeof *g);
	if (g == NULL)
		return NULL;
	lt_hub_ring_init(&g->entries);
	g->name_bytes = name.bytes;
	memcpy(g->name, name.p, name.bytes);
	if (lt_hash_put(&hub->offset_groups, g->name, name.bytes, g) == LEAT_OK)
		return g;
	lt_mem_free(g);
	return NULL;
}

static struct entry *
entry_make(
    struct lt_hub *hub, const struct lt_offsets_key *key, const struct key *k)
{
	struct group *g = group_make(hub, key->group);
	struct entry *e =
	    g == NULL ? NULL : lt_mem_alloc(sizeof *e + key->topic.bytes + 1);

	if (e != NULL &&
	    lt_hash_put(&hub->offsets, k->bytes, k->count, e) != LEAT_OK) {
		lt_mem_free(e);
		e = NULL;
	}
	if (e == NULL && g != NULL && g->count == 0) {
		lt_hash_del(&hub->offset_groups, g->name, g->name_bytes);
		lt_mem_free(g);
	}
	if (e == NULL)
		return NULL;
	e->group = g;
	e->queue = key->queue;
	e->topic_bytes = key->topic.bytes;
	memcpy(e->topic, key->topic.p, key->topic.bytes);
	lt_hub_ring_init(&e->in_state);
	lt_hub_ring_add(&g->entries, &e->in_group);
	g->count++;
	set_state(hub, e, CLEAN);
	return e;
}

/* Find or make; what leat-queue has gives way, the oldest first. */
static int
make(struct lt_hub *hub, const struct lt_offsets_key *key, struct entry **out)
{
	struct key k;
	int rc = key_of(&k, key);

	if (rc != LEAT_OK)
		return rc;
	*out = lt_hash_get(&hub->offsets, k.bytes, k.count);
	if (*out != NULL)
		return LEAT_OK;
	if (hub->offsets.used >= hub->limits.offsets_max) {
		if (hub->clean.next == &hub->clean)
			return LEAT_E_LIMIT;
		drop(hub, (struct entry *)hub->clean.next);
	}
	*out = entry_make(hub, key, &k);
	return *out == NULL ? LEAT_E_NOMEM : LEAT_OK;
}

/* Clean entries of such a group are not kept. */
static int
has_locals(const struct lt_hub *hub, const char *group, size_t bytes)
{
	const struct lt_hub_party *party =
	    lt_hub_party_of(hub, LT_HUB_CONSUMERS, group, bytes);

	return party != NULL && party->local_count > 0;
}

static void
become_clean(struct lt_hub *hub, struct entry *e)
{
	set_state(hub, e, CLEAN);
	if (!e->is_reset &&
	    has_locals(hub, e->group->name, e->group->name_bytes))
		drop(hub, e);
}

void
lt_hub_offsets_distrust(struct lt_hub *hub, const char *group)
{
	struct group *g =
	    lt_hash_get(&hub->offset_groups, group, strlen(group));
	size_t n = g == NULL ? 0 : g->count;

	/* The group goes with its last entry. */
	for (struct lt_hub_ring *r = n > 0 ? g->entries.next : NULL; n > 0;
	     n--) {
		struct entry *e = LT_HUB_OF(struct entry, in_group, r);

		r = r->next;
		if (e->state == CLEAN && !e->is_reset)
			drop(hub, e);
	}
}

/* --- commits -------------------------------------------------------------- */

int
lt_offsets_put(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t offset)
{
	struct entry *e;
	int rc;

	if (offset < 0)
		return LEAT_OK;
	lt_hub_lock(hub);
	rc = make(hub, key, &e);
	if (rc == LEAT_OK && !e->is_reset) {
		if (e->state == CLEAN)
			set_state(hub, e, DIRTY);
		else if (e->state == TAKEN)
			e->is_newer = 1;
		e->offset = offset;
	}
	lt_hub_unlock(hub);
	return rc;
}

int
lt_offsets_get(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t *offset_out)
{
	const struct entry *e;

	lt_hub_lock(hub);
	e = find(hub, key);
	if (e != NULL)
		*offset_out = e->offset;
	lt_hub_unlock(hub);
	return e == NULL ? LEAT_E_NOTFOUND : LEAT_OK;
}

void
lt_offsets_learned(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t offset)
{
	struct entry *e;

	if (offset < 0)
		return;
	lt_hub_lock(hub);
	if (!has_locals(hub, key->group.p, key->group.bytes) &&
	    find(hub, key) == NULL && make(hub, key, &e) == LEAT_OK)
		e->offset = offset;
	lt_hub_unlock(hub);
}

/* --- to leat-queue -------------------------------------------------------- */

size_t
lt_offsets_take(struct lt_hub *hub, struct lt_offsets_item *out, size_t max)
{
	size_t n = 0;

	lt_hub_lock(hub);
	for (; n < max && hub->dirty.next != &hub->dirty; n++) {
		struct entry *e = (struct entry *)hub->dirty.next;
		struct lt_offsets_item *item = &out[n];

		set_state(hub, e, TAKEN);
		memcpy(item->group, e->group->name, e->group->name_bytes + 1);
		memcpy(item->topic, e->topic, e->topic_bytes + 1);
		item->queue = e->queue;
		item->offset = e->offset;
		item->ticket = e->ticket;
	}
	lt_hub_unlock(hub);
	return n;
}

static void
settle(struct lt_hub *hub, const struct lt_offsets_item *items, size_t count,
    int is_saved)
{
	lt_hub_lock(hub);
	for (size_t i = 0; i < count; i++) {
		const struct lt_offsets_item *item = &items[i];
		struct lt_offsets_key key = {
		    {item->group, (uint32_t)strlen(item->group)},
		    {item->topic, (uint32_t)strlen(item->topic)}, item->queue};
		struct entry *e = find(hub, &key);

		if (e == NULL || e->ticket != item->ticket)
			continue;
		LT_ASSERT(e->state == TAKEN);
		if (is_saved && !e->is_newer)
			become_clean(hub, e);
		else
			set_state(hub, e, DIRTY);
	}
	lt_hub_unlock(hub);
}

void
lt_offsets_saved(
    struct lt_hub *hub, const struct lt_offsets_item *items, size_t count)
{
	settle(hub, items, count, 1);
}

void
lt_offsets_failed(
    struct lt_hub *hub, const struct lt_offsets_item *items, size_t count)
{
	settle(hub, items, count, 0);
}

void
lt_offsets_again(struct lt_hub *hub, const char *group)
{
	struct lt_hub_ring *r;
	struct group *g;

	lt_hub_lock(hub);
	g = lt_hash_get(&hub->offset_groups, group, strlen(group));
	for (r = g == NULL ? NULL : g->entries.next;
	     r != NULL && r != &g->entries; r = r->next) {
		struct entry *e = LT_HUB_OF(struct entry, in_group, r);

		if (e->state == CLEAN && !e->is_reset)
			set_state(hub, e, DIRTY);
	}
	lt_hub_unlock(hub);
}

void
lt_offsets_distrust(struct lt_hub *hub, const char *group)
{
	lt_hub_lock(hub);
	lt_hub_offsets_distrust(hub, group);
	lt_hub_unlock(hub);
}

/* --- an administrator ----------------------------------------------------- */

int
lt_offsets_reset(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t offset)
{
	struct entry *e;
	int rc;

	if (offset < 0)
		return LEAT_E_INVALID;
	lt_hub_lock(hub);
	rc = make(hub, key, &e);
	if (rc == LEAT_OK) {
		hub->resets += !e->is_reset;
		e->is_reset = 1;
		e->offset = offset;
		set_state(hub, e, CLEAN);
	}
	lt_hub_unlock(hub);
	return rc;
}

int
lt_offsets_tell_reset(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t *offset_out)
{
	struct entry *e;
	int is_reset = 0;

	lt_hub_lock(hub);
	if (LT_UNLIKELY(hub->resets > 0) && (e = find(hub, key)) != NULL &&
	    e->is_reset) {
		*offset_out = e->offset;
		e->is_reset = 0;
		hub->resets--;
		become_clean(hub, e);
		is_reset = 1;
	}
	lt_hub_unlock(hub);
	return is_reset;
}

void
lt_offsets_forget_group(struct lt_hub *hub, struct lt_remoting_text group)
{
	struct group *g;

	if (group.bytes == 0)
		return;
	lt_hub_lock(hub);
	g = lt_hash_get(&hub->offset_groups, group.p, group.bytes);
	for (size_t n = g == NULL ? 0 : g->count; n > 0; n--)
		drop(hub, LT_HUB_OF(struct entry, in_group, g->entries.next));
	lt_hub_unlock(hub);
}

void
lt_offsets_forget_topic(struct lt_hub *hub, struct lt_remoting_text topic)
{
	struct entry *e;
	size_t cursor = 0;

	lt_hub_lock(hub);
	while ((e = lt_hash_next(&hub->offsets, &cursor)) != NULL)
		if (e->topic_bytes == topic.bytes &&
		    memcmp(e->topic, topic.p, topic.bytes) == 0)
			drop(hub, e);
	lt_hub_unlock(hub);
}
