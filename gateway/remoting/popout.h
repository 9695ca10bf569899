/*
 * popout.h - messages that are out: claimed for remote members who popped them,
 * until these acknowledge or their time is over.
 *
 * A pool of fixed size, found by (source, queue, offset), and a wheel of 100 ms
 * steps in which each lies at the next moment that it must be looked at. One
 * thread. Knows nothing of claims: its owner acknowledges and gives back.
 */
#ifndef LT_REMOTING_POPOUT_H
#define LT_REMOTING_POPOUT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_POPOUT_MAX 131072 /* of all groups; then pops find nothing */
#define LT_POPOUT_STEP_MS 100

struct lt_popout { /* one message; the fields before `private` are free */
	void *source; /* who claimed it */
	uint64_t handle; /* the claim */
	int64_t pop_ms; /* wall clock; part of the receipt */
	uint64_t until_ms; /* invisible up to then */
	/* set when it is added */
	uint64_t serial; /* never used again */
	int64_t offset;
	uint32_t queue;
	uint32_t is_used; /* private from here on */
	uint32_t by_key, after, before;
	uint64_t step;
};

struct lt_popouts;

int lt_popouts_create(uint64_t now_ms, struct lt_popouts **out) LT_MUST_CHECK;
void lt_popouts_destroy(struct lt_popouts *t);
size_t lt_popouts_count(const struct lt_popouts *t);
/* Zeroed but for its key; it lies in no step yet. NULL: there are
 * LT_POPOUT_MAX. The key is not in the table. */
struct lt_popout *lt_popouts_add(
    struct lt_popouts *t, void *source, uint32_t queue, int64_t offset);
void lt_popouts_remove(struct lt_popouts *t, struct lt_popout *o);
struct lt_popout *lt_popouts_find(
    struct lt_popouts *t, const void *source, uint32_t queue, int64_t offset);
/* By place and serial; NULL: it went. */
uint32_t lt_popouts_place(const struct lt_popouts *t, const struct lt_popout *);
struct lt_popout *lt_popouts_at(
    struct lt_popouts *t, uint32_t place, uint64_t serial);
/* To be looked at then, or sooner: the wheel is 25 s long. */
void lt_popouts_look(struct lt_popouts *t, struct lt_popout *o, uint64_t at_ms);
/* Next one that is due, taken out of its step; NULL: none by now. */
struct lt_popout *lt_popouts_due(struct lt_popouts *t, uint64_t now_ms);
/* All of them: *cursor starts at 0. What was returned may be removed. */
struct lt_popout *lt_popouts_next(struct lt_popouts *t, uint32_t *cursor);

#endif
