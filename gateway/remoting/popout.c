/*
 * popout.c - the pool, its index and its wheel. Links are places in the pool
 * plus one, so that zeroed memory, which costs nothing until it is used, is an
 * empty table.
 */
#include "config.h"
#include "remoting/popout.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"

#define BUCKETS LT_POPOUT_MAX
#define STEPS 256
#define NO_STEP UINT64_MAX

struct lt_popouts {
	struct lt_popout *pool;
	uint32_t *buckets; /* first of each; by_key: the next */
	uint32_t wheel[STEPS]; /* first of each; after: the next */
	uint32_t free; /* by_key: the next */
	uint32_t fresh; /* places from here on were never used */
	size_t count;
	uint64_t serial;
	uint64_t step; /* served up to here */
};

static uint32_t
link_of(const struct lt_popouts *t, const struct lt_popout *o)
{
	return (uint32_t)(o - t->pool) + 1;
}

static uint32_t *
bucket_of(
    struct lt_popouts *t, const void *source, uint32_t queue, int64_t offset)
{
	uint64_t key[3] = {(uintptr_t)source, queue, (uint64_t)offset};

	return &t->buckets[lt_hash_bytes(key, sizeof key) % BUCKETS];
}

struct lt_popout *
lt_popouts_find(
    struct lt_popouts *t, const void *source, uint32_t queue, int64_t offset)
{
	uint32_t at = *bucket_of(t, source, queue, offset);

	for (; at != 0; at = t->pool[at - 1].by_key) {
		struct lt_popout *o = &t->pool[at - 1];

		if (o->source == source && o->queue == queue &&
		    o->offset == offset)
			return o;
	}
	return NULL;
}

struct lt_popout *
lt_popouts_add(
    struct lt_popouts *t, void *source, uint32_t queue, int64_t offset)
{
	uint32_t *bucket = bucket_of(t, source, queue, offset);
	struct lt_popout *o;

	if (t->free != 0) {
		o = &t->pool[t->free - 1];
		t->free = o->by_key;
	} else if (t->fresh < LT_POPOUT_MAX) {
		o = &t->pool[t->fresh++];
	} else {
		return NULL;
	}
	*o = (struct lt_popout){.source = source,
	    .queue = queue,
	    .offset = offset,
	    .serial = ++t->serial,
	    .is_used = 1,
	    .by_key = *bucket,
	    .step = NO_STEP};
	*bucket = link_of(t, o);
	t->count++;
	return o;
}

static void
leave_step(struct lt_popouts *t, struct lt_popout *o)
{
	if (o->step == NO_STEP)
		return;
	if (o->before != 0)
		t->pool[o->before - 1].after = o->after;
	else
		t->wheel[o->step % STEPS] = o->after;
	if (o->after != 0)
		t->pool[o->after - 1].before = o->before;
	o->step = NO_STEP;
}

void
lt_popouts_remove(struct lt_popouts *t, struct lt_popout *o)
{
	uint32_t *at = bucket_of(t, o->source, o->queue, o->offset);

	LT_ASSERT(o->is_used);
	leave_step(t, o);
	while (*at != link_of(t, o))
		at = &t->pool[*at - 1].by_key;
	*at = o->by_key;
	o->is_used = 0;
	o->by_key = t->free;
	t->free = link_of(t, o);
	t->count--;
}

void
lt_popouts_look(struct lt_popouts *t, struct lt_popout *o, uint64_t at_ms)
{
	uint64_t step = at_ms / LT_POPOUT_STEP_MS + 1;
	uint32_t *first;

	leave_step(t, o);
	if (step <= t->step)
		step = t->step + 1;
	if (step >= t->step + STEPS)
		step = t->step + STEPS - 1;
	first = &t->wheel[step % STEPS];
	o->step = step;
	o->before = 0;
	o->after = *first;
	if (*first != 0)
		t->pool[*first - 1].before = link_of(t, o);
	*first = link_of(t, o);
}

struct lt_popout *
lt_popouts_due(struct lt_popouts *t, uint64_t now_ms)
{
	struct lt_popout *o;

	for (; t->step < now_ms / LT_POPOUT_STEP_MS; t->step++) {
		uint32_t first = t->wheel[(t->step + 1) % STEPS];

		if (first == 0)
			continue;
		o = &t->pool[first - 1];
		leave_step(t, o);
		return o;
	}
	return NULL;
}

uint32_t
lt_popouts_place(const struct lt_popouts *t, const struct lt_popout *o)
{
	return (uint32_t)(o - t->pool);
}

struct lt_popout *
lt_popouts_at(struct lt_popouts *t, uint32_t place, uint64_t serial)
{
	struct lt_popout *o = &t->pool[place];

	return o->is_used && o->serial == serial ? o : NULL;
}

struct lt_popout *
lt_popouts_next(struct lt_popouts *t, uint32_t *cursor)
{
	while (*cursor < t->fresh) {
		struct lt_popout *o = &t->pool[(*cursor)++];

		if (o->is_used)
			return o;
	}
	return NULL;
}

size_t
lt_popouts_count(const struct lt_popouts *t)
{
	return t->count;
}

int
lt_popouts_create(uint64_t now_ms, struct lt_popouts **out)
{
	struct lt_popouts *t = lt_mem_alloc(sizeof *t);

	if (t == NULL)
		return LEAT_E_NOMEM;
	t->pool = lt_mem_array(LT_POPOUT_MAX, sizeof *t->pool);
	t->buckets = lt_mem_array(BUCKETS, sizeof *t->buckets);
	t->step = now_ms / LT_POPOUT_STEP_MS;
	if (t->pool == NULL || t->buckets == NULL) {
		lt_popouts_destroy(t);
		return LEAT_E_NOMEM;
	}
	*out = t;
	return LEAT_OK;
}

void
lt_popouts_destroy(struct lt_popouts *t)
{
	if (t == NULL)
		return;
	lt_mem_free(t->pool);
	lt_mem_free(t->buckets);
	lt_mem_free(t);
}
