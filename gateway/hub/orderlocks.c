/* orderlocks.c - leases per (group, topic, queue). */
#include "config.h"
#include "hub/orderlocks.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "hub/inside.h"
#include "leat/status.h"

struct group {
	struct lt_hash locks; /* by queue and topic */
	size_t name_bytes;
	char name[LT_NAME_FIELD];
};

struct key {
	uint8_t bytes[4 + LT_NAME_FIELD];
	size_t count;
};

struct lock {
	uint64_t since_ms; /* taken, or renewed */
	char *owner;
	struct key key;
};

static void
key_of(struct key *k, const struct lt_heartbeat_queue *q)
{
	size_t n = strlen(q->topic);

	LT_ASSERT(n < LT_NAME_FIELD);
	lt_bytes_put32(k->bytes, q->queue);
	memcpy(k->bytes + 4, q->topic, n);
	k->count = 4 + n;
}

static int
is_over(const struct lock *lock, uint64_t now_ms)
{
	return now_ms > lock->since_ms + LT_ORDERLOCKS_LEASE_MS;
}

static void
lock_drop(struct lt_hub *hub, struct group *g, struct lock *lock)
{
	lt_hash_del(&g->locks, lock->key.bytes, lock->key.count);
	hub->locks--;
	lt_mem_free(lock->owner);
	lt_mem_free(lock);
}

static void
group_free_if_empty(struct lt_hub *hub, struct group *g)
{
	if (g->locks.used > 0)
		return;
	lt_hash_del(&hub->lock_groups, g->name, g->name_bytes);
	lt_hash_fini(&g->locks);
	lt_mem_free(g);
}

/* Drop the locks that are over, or all: now_ms UINT64_MAX. */
static void
sweep(struct lt_hub *hub, uint64_t now_ms)
{
	struct group *g;
	struct lock *lock;
	size_t i = 0;

	while ((g = lt_hash_next(&hub->lock_groups, &i)) != NULL) {
		size_t j = 0;

		while ((lock = lt_hash_next(&g->locks, &j)) != NULL) {
			if (is_over(lock, now_ms))
				lock_drop(hub, g, lock);
		}
		group_free_if_empty(hub, g);
	}
}

void
lt_hub_locks_fini(struct lt_hub *hub)
{
	sweep(hub, UINT64_MAX);
	LT_ASSERT(hub->locks == 0);
	lt_hash_fini(&hub->lock_groups);
}

static struct group *
group_make(struct lt_hub *hub, const char *name)
{
	size_t bytes = strlen(name);
	struct group *g = lt_hash_get(&hub->lock_groups, name, bytes);

	if (g != NULL)
		return g;
	LT_ASSERT(bytes < sizeof g->name);
	g = lt_mem_alloc(sizeof *g);
	if (g == NULL)
		return NULL;
	lt_hash_init(&g->locks);
	g->name_bytes = bytes;
	memcpy(g->name, name, bytes + 1);
	if (lt_hash_put(&hub->lock_groups, name, bytes, g) == LEAT_OK)
		return g;
	lt_mem_free(g);
	return NULL;
}

static int
lock_make(struct lt_hub *hub, struct group *g, const struct key *k,
    const char *owner, uint64_t now_ms)
{
	struct lock *lock = lt_mem_alloc(sizeof *lock);

	if (lock == NULL)
		return 0;
	lock->since_ms = now_ms;
	lock->key = *k;
	lock->owner = lt_mem_strdup(owner);
	if (lock->owner == NULL ||
	    lt_hash_put(&g->locks, k->bytes, k->count, lock) != LEAT_OK) {
		lt_mem_free(lock->owner);
		lt_mem_free(lock);
		return 0;
	}
	hub->locks++;
	return 1;
}

static int
lock_one(struct lt_hub *hub, struct group *g,
    const struct lt_heartbeat_queue *q, const char *owner, uint64_t now_ms)
{
	struct lock *lock;
	struct key k;

	key_of(&k, q);
	lock = lt_hash_get(&g->locks, k.bytes, k.count);
	if (lock == NULL)
		return hub->locks < hub->limits.locks_max &&
		       lock_make(hub, g, &k, owner, now_ms);
	if (strcmp(lock->owner, owner) != 0) {
		char *copy;

		if (!is_over(lock, now_ms) ||
		    (copy = lt_mem_strdup(owner)) == NULL)
			return 0;
		lt_mem_free(lock->owner);
		lock->owner = copy;
	}
	lock->since_ms = now_ms;
	return 1;
}

void
lt_orderlocks_lock(struct lt_hub *hub, const struct lt_heartbeat_locks *asked,
    uint64_t now_ms, uint8_t *is_held_out)
{
	struct group *g;

	memset(is_held_out, 0, asked->count);
	lt_hub_lock(hub);
	if (hub->locks + asked->count > hub->limits.locks_max)
		sweep(hub, now_ms);
	g = group_make(hub, asked->group);
	for (size_t i = 0; g != NULL && i < asked->count; i++)
		is_held_out[i] = (uint8_t)lock_one(
		    hub, g, &asked->queues[i], asked->client_id, now_ms);
	if (g != NULL)
		group_free_if_empty(hub, g);
	lt_hub_unlock(hub);
}

void
lt_orderlocks_unlock(struct lt_hub *hub, const struct lt_heartbeat_locks *asked)
{
	struct group *g;

	lt_hub_lock(hub);
	g = lt_hash_get(&hub->lock_groups, asked->group, strlen(asked->group));
	for (size_t i = 0; g != NULL && i < asked->count; i++) {
		struct lock *lock;
		struct key k;

		key_of(&k, &asked->queues[i]);
		lock = lt_hash_get(&g->locks, k.bytes, k.count);
		if (lock != NULL && strcmp(lock->owner, asked->client_id) == 0)
			lock_drop(hub, g, lock);
	}
	if (g != NULL)
		group_free_if_empty(hub, g);
	lt_hub_unlock(hub);
}

int
lt_orderlocks_any(
    struct lt_hub *hub, struct lt_remoting_text group, uint64_t now_ms)
{
	const struct group *g;
	const struct lock *lock;
	size_t cursor = 0;
	int any = 0;

	if (group.bytes == 0)
		return 0;
	lt_hub_lock(hub);
	g = lt_hash_get(&hub->lock_groups, group.p, group.bytes);
	while (g != NULL && !any &&
	       (lock = lt_hash_next(&g->locks, &cursor)) != NULL)
		any = !is_over(lock, now_ms);
	lt_hub_unlock(hub);
	return any;
}
