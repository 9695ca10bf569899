/*
 * hash.h - open-addressing map from byte string to pointer, for registries
 * (topics, sessions, groups). Keys are copied. One thread.
 */
#ifndef LT_BASE_HASH_H
#define LT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

struct lt_hash_slot {
	uint64_t hash; /* 0: never used */
	void *key; /* NULL with hash != 0: deleted */
	size_t key_bytes;
	void *value;
};

struct lt_hash {
	struct lt_hash_slot *slots;
	size_t capacity; /* power of two, or 0 */
	size_t used; /* live */
	size_t filled; /* live and deleted */
};

void lt_hash_init(struct lt_hash *map);
/* Frees slots and key copies, not the values. */
void lt_hash_fini(struct lt_hash *map);
/* NULL if absent. */
void *lt_hash_get(const struct lt_hash *map, const void *key, size_t key_bytes);
/* Insert or replace; value must not be NULL. 0 or LEAT_E_NOMEM. */
int lt_hash_put(struct lt_hash *map, const void *key, size_t key_bytes,
    void *value) LT_MUST_CHECK;
/* Remove; returns the value, NULL if absent. */
void *lt_hash_del(struct lt_hash *map, const void *key, size_t key_bytes);
/* Iterate: *cursor starts at 0; NULL at the end. Deleting the entry just
 * returned is allowed; inserting is not. */
void *lt_hash_next(const struct lt_hash *map, size_t *cursor);
/* 64-bit hash of bytes (wyhash-like, not keyed). */
uint64_t lt_hash_bytes(const void *key, size_t bytes);

#endif
