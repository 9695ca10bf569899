/*
 * hash.c - open addressing with linear probing. A deleted slot keeps its hash
 * so that probes go on past it; the table is rebuilt when three quarters of
 * its slots are live or deleted, so probes stay short and always end.
 */
#include "config.h"
#include "base/hash.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

/* Multiply to 128 bits and fold: the mixing step of wyhash. */
static uint64_t
fold(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t
lt_hash_bytes(const void *key, size_t bytes)
{
	const unsigned char *p = key;
	uint64_t h = 0x9e3779b97f4a7c15u ^ bytes;
	uint64_t word;

	for (; bytes >= 8; bytes -= 8, p += 8) {
		memcpy(&word, p, 8);
		h = fold(h ^ word, 0xd6e8feb86659fd93u);
	}
	word = 0;
	memcpy(&word, p, bytes);
	h = fold(h ^ word, 0xa0761d6478bd642fu);
	return fold(h ^ 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u);
}

/* Never 0, which marks an unused slot. */
static uint64_t
slot_hash(const void *key, size_t key_bytes)
{
	uint64_t h = lt_hash_bytes(key, key_bytes);
	return h == 0 ? 1 : h;
}

void
lt_hash_init(struct lt_hash *map)
{
	memset(map, 0, sizeof *map);
}

void
lt_hash_fini(struct lt_hash *map)
{
	for (size_t i = 0; i < map->capacity; i++)
		lt_mem_free(map->slots[i].key);
	lt_mem_free(map->slots);
	lt_hash_init(map);
}

static struct lt_hash_slot *
find(const struct lt_hash *map, const void *key, size_t key_bytes, uint64_t h)
{
	if (map->capacity == 0)
		return NULL;
	size_t mask = map->capacity - 1;
	for (size_t i = h & mask;; i = (i + 1) & mask) {
		struct lt_hash_slot *s = &map->slots[i];
		if (s->hash == 0)
			return NULL;
		if (s->hash == h && s->key != NULL &&
		    s->key_bytes == key_bytes &&
		    memcmp(s->key, key, key_bytes) == 0)
			return s;
	}
}

void *
lt_hash_get(const struct lt_hash *map, const void *key, size_t key_bytes)
{
	struct lt_hash_slot *s =
	    find(map, key, key_bytes, slot_hash(key, key_bytes));
	return s == NULL ? NULL : s->value;
}

static struct lt_hash_slot *
unused(struct lt_hash_slot *slots, size_t capacity, uint64_t h)
{
	size_t i = h & (capacity - 1);

	while (slots[i].hash != 0)
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

/* Rebuild with room for twice the live entries; drops deleted slots. */
static int
rebuild(struct lt_hash *map)
{
	size_t capacity = 16;

	while (capacity < (map->used + 1) * 2)
		capacity *= 2;
	struct lt_hash_slot *slots = lt_mem_array(capacity, sizeof *slots);
	if (slots == NULL)
		return LEAT_E_NOMEM;
	for (size_t i = 0; i < map->capacity; i++) {
		struct lt_hash_slot *s = &map->slots[i];
		if (s->key != NULL)
			*unused(slots, capacity, s->hash) = *s;
	}
	lt_mem_free(map->slots);
	map->slots = slots;
	map->capacity = capacity;
	map->filled = map->used;
	return LEAT_OK;
}

int
lt_hash_put(struct lt_hash *map, const void *key, size_t key_bytes, void *value)
{
	LT_ASSERT(value != NULL);
	uint64_t h = slot_hash(key, key_bytes);
	struct lt_hash_slot *s = find(map, key, key_bytes, h);
	if (s != NULL) {
		s->value = value;
		return LEAT_OK;
	}
	if ((map->filled + 1) * 4 > map->capacity * 3) {
		int rc = rebuild(map);
		if (rc != LEAT_OK)
			return rc;
	}
	void *copy = lt_mem_alloc(key_bytes);
	if (copy == NULL)
		return LEAT_E_NOMEM;
	if (key_bytes > 0)
		memcpy(copy, key, key_bytes);
	s = unused(map->slots, map->capacity, h);
	*s = (struct lt_hash_slot){
	    .hash = h, .key = copy, .key_bytes = key_bytes, .value = value};
	map->used++;
	map->filled++;
	return LEAT_OK;
}

void *
lt_hash_del(struct lt_hash *map, const void *key, size_t key_bytes)
{
	struct lt_hash_slot *s =
	    find(map, key, key_bytes, slot_hash(key, key_bytes));
	if (s == NULL)
		return NULL;
	void *value = s->value;
	lt_mem_free(s->key);
	s->key = NULL;
	s->value = NULL;
	map->used--;
	return value;
}

void *
lt_hash_next(const struct lt_hash *map, size_t *cursor)
{
	while (*cursor < map->capacity) {
		struct lt_hash_slot *s = &map->slots[(*cursor)++];
		if (s->key != NULL)
			return s->value;
	}
	return NULL;
}
