/* counter.c - stats.def as words of a segment; counter.h has the contract. */
#include "config.h"
#include "shm/counter.h"

#include "leat/status.h"

const struct lt_counter_row lt_counter_rows[LT_STAT_COUNT] = {
#define STAT(name, unit, owner, text) {#name, unit, #owner, text},
#include "proto/stats.def"
#undef STAT
};

/* Rows of one owner are neighbours in stats.def, so its words share lines
 * with at most one neighbour; words start at the same index in every process.
 */
static _Atomic uint64_t private_words[LT_STAT_COUNT];
_Atomic uint64_t *lt_counter_words = private_words;

uint64_t
lt_counter_segment_bytes(void)
{
	return (LT_STAT_COUNT * sizeof(uint64_t) + 4095) & ~4095ULL;
}

void
lt_counter_use(const struct lt_segment *seg)
{
	LT_ASSERT(seg->head.data_bytes >= LT_STAT_COUNT * sizeof(uint64_t));
	lt_counter_words =
	    (_Atomic uint64_t *)((char *)seg->base + LT_SEGMENT_DATA_AT);
}

uint64_t
lt_counter_read(const struct lt_segment *seg, enum lt_counter c)
{
	const _Atomic uint64_t *words =
	    (const _Atomic uint64_t *)((const char *)seg->base +
				       LT_SEGMENT_DATA_AT);

	if (seg->head.data_bytes < LT_STAT_COUNT * sizeof(uint64_t))
		return 0;
	return atomic_load_explicit(&words[c], memory_order_relaxed);
}
