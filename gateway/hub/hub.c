/* hub.c - the hub's lock, its memory, and what is to be told of a change. */
#include "config.h"
#include "hub/inside.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

#define BYTES_MAX (64u << 20)
#define OFFSETS_MAX 262144u
#define LOCKS_MAX 262144u

int
lt_hub_create(const struct lt_hub_limits *limits, struct lt_hub **out)
{
	struct lt_hub *h = lt_mem_alloc(sizeof *h);

	if (h == NULL)
		return LEAT_E_NOMEM;
	h->limits = *limits;
	if (h->limits.bytes_max == 0)
		h->limits.bytes_max = BYTES_MAX;
	if (h->limits.groups_max == 0)
		h->limits.groups_max = LT_HEARTBEAT_GROUPS_MAX;
	if (h->limits.offsets_max == 0)
		h->limits.offsets_max = OFFSETS_MAX;
	if (h->limits.locks_max == 0)
		h->limits.locks_max = LOCKS_MAX;
	LT_ASSERT(pthread_mutex_init(&h->mutex, NULL) == 0);
	lt_hash_init(&h->clients);
	lt_hash_init(&h->ids);
	lt_hash_init(&h->parties[LT_HUB_CONSUMERS]);
	lt_hash_init(&h->parties[LT_HUB_PRODUCERS]);
	lt_hash_init(&h->lock_groups);
	lt_hub_ring_init(&h->by_time);
	lt_hub_offsets_init(h);
	*out = h;
	return LEAT_OK;
}

void
lt_hub_destroy(struct lt_hub *hub)
{
	if (hub == NULL)
		return;
	lt_hub_members_fini(hub);
	LT_ASSERT(hub->bytes == 0);
	lt_hub_offsets_fini(hub);
	lt_hub_locks_fini(hub);
	lt_hash_fini(&hub->clients);
	lt_hash_fini(&hub->ids);
	lt_hash_fini(&hub->parties[LT_HUB_CONSUMERS]);
	lt_hash_fini(&hub->parties[LT_HUB_PRODUCERS]);
	pthread_mutex_destroy(&hub->mutex);
	lt_mem_free(hub);
}

void
lt_hub_lock(struct lt_hub *hub)
{
	LT_ASSERT(pthread_mutex_lock(&hub->mutex) == 0);
}

void
lt_hub_unlock(struct lt_hub *hub)
{
	LT_ASSERT(pthread_mutex_unlock(&hub->mutex) == 0);
}

void
lt_hub_count(struct lt_hub *hub, struct lt_hub_counts *out)
{
	lt_hub_lock(hub);
	out->connections = hub->clients.used;
	out->consumer_groups = hub->parties[LT_HUB_CONSUMERS].used;
	out->producer_groups = hub->parties[LT_HUB_PRODUCERS].used;
	out->bytes = hub->bytes;
	out->offsets = hub->offsets.used;
	out->offsets_dirty = hub->dirty_count;
	out->locks = hub->locks;
	lt_hub_unlock(hub);
}

int
lt_hub_take(struct lt_hub *hub, size_t bytes, void **out)
{
	*out = NULL;
	if (bytes > hub->limits.bytes_max - hub->bytes)
		return LEAT_E_LIMIT;
	*out = lt_mem_alloc(bytes);
	if (*out == NULL)
		return LEAT_E_NOMEM;
	hub->bytes += bytes;
	return LEAT_OK;
}

void
lt_hub_give(struct lt_hub *hub, void *p, size_t bytes)
{
	LT_ASSERT(p == NULL || bytes <= hub->bytes);
	if (p != NULL)
		hub->bytes -= bytes;
	lt_mem_free(p);
}

/* --- what changed --------------------------------------------------------- */

void
lt_hub_changes_init(struct lt_hub_changes *changes)
{
	*changes = (struct lt_hub_changes){0};
	lt_buffer_init(&changes->names, SIZE_MAX);
}

void
lt_hub_changes_clear(struct lt_hub_changes *changes)
{
	changes->count = 0;
	lt_buffer_clear(&changes->names);
}

void
lt_hub_changes_fini(struct lt_hub_changes *changes)
{
	lt_mem_free(changes->items);
	lt_buffer_fini(&changes->names);
	*changes = (struct lt_hub_changes){0};
}

const char *
lt_hub_changes_group(const struct lt_hub_changes *changes, size_t i)
{
	LT_ASSERT(i < changes->count);
	return (const char *)changes->names.p + changes->items[i].group;
}

static void
add(struct lt_hub_changes *changes, uint64_t conn, size_t group)
{
	if (lt_mem_grow((void **)&changes->items, &changes->capacity,
		changes->count, sizeof *changes->items) == LEAT_OK)
		changes->items[changes->count++] =
		    (struct lt_hub_change){conn, group};
}

void
lt_hub_tell(struct lt_hub_changes *changes, const struct lt_hub_party *party,
    int is_from_locals)
{
	size_t group = changes->names.bytes;

	if (party->kind != LT_HUB_CONSUMERS ||
	    party->model == LT_HEARTBEAT_BROADCASTING)
		return;
	lt_buffer_add(&changes->names, party->name, party->name_bytes + 1);
	if (lt_buffer_status(&changes->names) != LEAT_OK)
		return;
	if (!is_from_locals)
		add(changes, 0, group);
	for (const struct lt_hub_ring *r = party->memberships.next;
	     r != &party->memberships; r = r->next)
		add(changes,
		    LT_HUB_OF(struct lt_hub_membership, in_party, r)
			->client->conn,
		    group);
}
