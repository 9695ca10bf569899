/*
 * popmodes.c - a table of (group, topic), and how many of a group's topics are
 * popped.
 */
#include "config.h"
#include "remoting/popmodes.h"

#include <pthread.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"

struct lt_popmodes {
	pthread_mutex_t lock;
	struct lt_hash table; /* lock; struct lt_popmodes_mode */
	struct lt_hash groups; /* lock; size_t */
};

struct key {
	char bytes[2 * LT_NAME_FIELD];
	size_t count;
};

static int
make_key(struct key *key, const char *group, const char *topic)
{
	size_t g = strlen(group) + 1, t = strlen(topic) + 1;

	if (g > LT_NAME_FIELD || t > LT_NAME_FIELD)
		return LEAT_E_NAME;
	memcpy(key->bytes, group, g);
	memcpy(key->bytes + g, topic, t);
	key->count = g + t;
	return LEAT_OK;
}

/* The value of that key, zeroed if it is new. */
static int
get_or_make(struct lt_hash *map, const void *key, size_t key_bytes,
    size_t bytes, void **out)
{
	int status;

	*out = lt_hash_get(map, key, key_bytes);
	if (*out != NULL)
		return LEAT_OK;
	if (map->used >= LT_POPMODES_MAX)
		return LEAT_E_LIMIT;
	*out = lt_mem_alloc(bytes);
	if (*out == NULL)
		return LEAT_E_NOMEM;
	status = lt_hash_put(map, key, key_bytes, *out);
	if (status != LEAT_OK)
		lt_mem_free(*out);
	return status;
}

int
lt_popmodes_set(struct lt_popmodes *modes, const char *group, const char *topic,
    const struct lt_popmodes_mode *mode)
{
	struct lt_popmodes_mode *m;
	struct key key;
	void *count, *p;
	int status = make_key(&key, group, topic);

	if (status != LEAT_OK)
		return status;
	pthread_mutex_lock(&modes->lock);
	status = get_or_make(
	    &modes->groups, group, strlen(group), sizeof(size_t), &count);
	if (status == LEAT_OK)
		status = get_or_make(
		    &modes->table, key.bytes, key.count, sizeof *m, &p);
	if (status == LEAT_OK) {
		m = p;
		*(size_t *)count += (size_t)(mode->is_pop != 0);
		*(size_t *)count -= (size_t)(m->is_pop != 0);
		*m = *mode;
	}
	pthread_mutex_unlock(&modes->lock);
	return status;
}

void
lt_popmodes_get(struct lt_popmodes *modes, const char *group, const char *topic,
    struct lt_popmodes_mode *out)
{
	const struct lt_popmodes_mode *m;
	struct key key;

	*out = (struct lt_popmodes_mode){0};
	if (make_key(&key, group, topic) != LEAT_OK)
		return;
	pthread_mutex_lock(&modes->lock);
	m = lt_hash_get(&modes->table, key.bytes, key.count);
	if (m != NULL)
		*out = *m;
	pthread_mutex_unlock(&modes->lock);
}

int
lt_popmodes_has(struct lt_popmodes *modes, const char *group)
{
	const size_t *count;
	int has;

	pthread_mutex_lock(&modes->lock);
	count = lt_hash_get(&modes->groups, group, strlen(group));
	has = count != NULL && *count > 0;
	pthread_mutex_unlock(&modes->lock);
	return has;
}

int
lt_popmodes_create(struct lt_popmodes **out)
{
	struct lt_popmodes *modes = lt_mem_alloc(sizeof *modes);

	if (modes == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&modes->lock, NULL);
	lt_hash_init(&modes->table);
	lt_hash_init(&modes->groups);
	*out = modes;
	return LEAT_OK;
}

static void
free_all(struct lt_hash *map)
{
	size_t cursor = 0;
	void *p;

	while ((p = lt_hash_next(map, &cursor)) != NULL)
		lt_mem_free(p);
	lt_hash_fini(map);
}

void
lt_popmodes_destroy(struct lt_popmodes *modes)
{
	if (modes == NULL)
		return;
	free_all(&modes->table);
	free_all(&modes->groups);
	pthread_mutex_destroy(&modes->lock);
	lt_mem_free(modes);
}
