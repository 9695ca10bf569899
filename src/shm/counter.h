/*
 * counter.h - stats.def laid out in one segment: one 64-bit word each, a cache
 * line per owner process. Its owner alone writes a counter (relaxed); anybody
 * reads.
 */
#ifndef LT_SHM_COUNTER_H
#define LT_SHM_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/segment.h"

enum lt_counter {
#define STAT(name, unit, owner, text) LT_STAT_##name,
#include "proto/stats.def"
#undef STAT
	LT_STAT_COUNT
};

struct lt_counter_row {
	const char *name;
	const char *unit;
	const char *owner;
	const char *text;
};
extern const struct lt_counter_row lt_counter_rows[LT_STAT_COUNT];

/* The words of this process; before lt_counter_use they are private memory,
 * so unit tests and tools need no segment. */
extern _Atomic uint64_t *lt_counter_words;
uint64_t lt_counter_segment_bytes(void); /* data bytes */
void lt_counter_use(const struct lt_segment *seg);
uint64_t lt_counter_read(const struct lt_segment *seg, enum lt_counter c);

static inline void
lt_counter_add(enum lt_counter c, uint64_t n)
{
	uint64_t v =
	    atomic_load_explicit(&lt_counter_words[c], memory_order_relaxed);
	atomic_store_explicit(
	    &lt_counter_words[c], v + n, memory_order_relaxed);
}
static inline void
lt_counter_set(enum lt_counter c, uint64_t n)
{
	atomic_store_explicit(&lt_counter_words[c], n, memory_order_relaxed);
}
static inline uint64_t
lt_counter_get(enum lt_counter c)
{
	return atomic_load_explicit(&lt_counter_words[c], memory_order_relaxed);
}
#define lt_stat_get(name) lt_counter_get(LT_STAT_##name)
#define lt_stat_add(name, n) lt_counter_add(LT_STAT_##name, n)
#define lt_stat_set(name, n) lt_counter_set(LT_STAT_##name, n)

#endif
