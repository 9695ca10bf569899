/*
 * inside.h - the tables of a hub, for the files of this room.
 *
 * A membership ties a client (one connection) to a party (one group of
 * consumers or producers) and is in a list of both, so that each goes without
 * a search. Clients are in the order of their last heartbeats.
 */
#ifndef LT_GATEWAY_HUB_INSIDE_H
#define LT_GATEWAY_HUB_INSIDE_H

#include <pthread.h>
#include "base/hash.h"
#include "hub/hub.h"
#include "proto/limits.h"

struct lt_hub_ring { /* a list that goes round; empty: itself */
	struct lt_hub_ring *next, *prev;
};

enum lt_hub_kind {
	LT_HUB_CONSUMERS,
	LT_HUB_PRODUCERS,
	LT_HUB_KINDS
};

struct lt_hub_client {
	struct lt_hub_ring by_time; /* of all; must be first */
	struct lt_hub_ring same_id; /* with that client id */
	struct lt_hub_ring memberships;
	uint64_t conn;
	uint64_t seen_ms;
	char *id, *address; /* behind the struct */
	size_t bytes; /* of it all */
	uint32_t joined[LT_HUB_KINDS];
	int32_t version;
	uint8_t language;
	struct lt_principal who;
};

struct lt_hub_sub {
	struct lt_hub_ring in_party; /* must be first */
	char *topic, *text, *expression; /* behind the struct; text "": none */
	size_t topic_bytes;
	size_t bytes;
	int64_t version;
	size_t code_count;
	uint32_t round; /* of the heartbeat that last named it */
	uint8_t is_class_filter;
	uint8_t is_by_tags; /* the expression is of type TAG */
	int64_t codes[];
};

struct lt_hub_party {
	struct lt_hub_ring memberships;
	struct lt_hub_ring subs;
	enum lt_hub_kind kind;
	size_t members, sub_count;
	char *locals; /* ids, each with a NUL, in order */
	size_t locals_bytes, local_count;
	uint32_t round;
	int32_t fingerprint;
	uint8_t from, type, model;
	size_t name_bytes;
	char name[LT_NAME_FIELD];
};

struct lt_hub_membership {
	struct lt_hub_ring in_client; /* must be first */
	struct lt_hub_ring in_party;
	struct lt_hub_client *client;
	struct lt_hub_party *party;
	uint64_t seen_ms;
	int pops;
};

struct lt_hub {
	pthread_mutex_t mutex;
	struct lt_hub_limits limits;
	size_t bytes;
	struct lt_hash clients; /* by connection id */
	struct lt_hash ids; /* by client id: one of those that have it */
	struct lt_hash parties[LT_HUB_KINDS]; /* by name */
	struct lt_hub_ring by_time; /* oldest heartbeat first */
	/* offsets.c */
	struct lt_hash offsets, offset_groups;
	struct lt_hub_ring dirty, clean;
	size_t dirty_count, resets;
	uint64_t generation;
	/* orderlocks.c */
	struct lt_hash lock_groups;
	size_t locks;
};

#define LT_HUB_OF(type, member, ring)                                          \
	((type *)(void *)((char *)(ring)-offsetof(type, member)))

static inline void
lt_hub_ring_init(struct lt_hub_ring *r)
{
	r->next = r->prev = r;
}

/* Behind the last of the list that begins at head. */
static inline void
lt_hub_ring_add(struct lt_hub_ring *head, struct lt_hub_ring *r)
{
	r->next = head;
	r->prev = head->prev;
	head->prev->next = r;
	head->prev = r;
}

static inline void
lt_hub_ring_del(struct lt_hub_ring *r)
{
	r->prev->next = r->next;
	r->next->prev = r->prev;
	lt_hub_ring_init(r);
}

void lt_hub_lock(struct lt_hub *hub);
void lt_hub_unlock(struct lt_hub *hub);
/* Memory within the bound, zeroed. LEAT_OK, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_hub_take(struct lt_hub *hub, size_t bytes, void **out) LT_MUST_CHECK;
void lt_hub_give(struct lt_hub *hub, void *p, size_t bytes);
struct lt_hub_party *lt_hub_party_of(const struct lt_hub *hub,
    enum lt_hub_kind kind, const char *name, size_t bytes); /* NULL: none */
/* The group's connections must be told, and connection 0 unless the change came
 * from there. Not of producers, nor if it is broadcasting. */
void lt_hub_tell(struct lt_hub_changes *changes,
    const struct lt_hub_party *party, int is_from_locals);
/* members.c */
void lt_hub_members_fini(struct lt_hub *hub);
struct lt_hub_membership *lt_hub_membership_of(
    const struct lt_hub_client *client, const struct lt_hub_party *party);
/* subs.c: replace a group's subscriptions by those of a heartbeat.
 * *is_changed: a topic came or went. */
int lt_hub_subs_replace(struct lt_hub *hub, struct lt_hub_party *party,
    const struct lt_heartbeat_consumer *said, int *is_changed) LT_MUST_CHECK;
void lt_hub_subs_drop(struct lt_hub *hub, struct lt_hub_party *party);
struct lt_hub_sub *lt_hub_subs_find(
    const struct lt_hub_party *party, const char *topic, size_t bytes);
/* offsets.c */
void lt_hub_offsets_init(struct lt_hub *hub);
void lt_hub_offsets_fini(struct lt_hub *hub);
/* Offsets of that group which leat-queue has: ask it again. */
void lt_hub_offsets_distrust(struct lt_hub *hub, const char *group);
/* orderlocks.c */
void lt_hub_locks_fini(struct lt_hub *hub);

#endif
