/*
 * position.c - which queue offset a from-rule names. By time: binary search
 * over the store times of records, which grow with the offset; a damaged one
 * is stepped over.
 */
#include "config.h"
#include "queue/queue.h"

#include "store/consumequeue.h"
#include "store/reader.h"

/* Store time of the first readable record at or behind *at, below `end`; *at
 * becomes its offset. END: none. */
static int
time_at(struct lt_manager *m, const struct lt_topic *topic, uint32_t queue,
    int64_t end, int64_t *at, int64_t *ms_out)
{
	struct lt_cq_entry e;
	struct lt_record_view v;
	size_t n;

	for (; *at < end; ++*at) {
		if (lt_cq_view_read(m->view, topic->name, queue, *at, &e, 1,
			&n) != LEAT_OK ||
		    n == 0)
			return LEAT_E_END;
		if (e.bytes == 0 || lt_reader_get(m->reader,
					(uint64_t)e.log_offset, &v) != LEAT_OK)
			continue;
		*ms_out = v.store_ms;
		return LEAT_OK;
	}
	return LEAT_E_END;
}

static int64_t
by_time(struct lt_manager *m, const struct lt_topic *topic, uint32_t queue,
    int64_t ms, int64_t min, int64_t max)
{
	int64_t low = min, high = max;

	/* Invariant: below low is older, at and behind high is not. */
	while (low < high) {
		int64_t mid = low + (high - low) / 2, at = mid, found;

		if (time_at(m, topic, queue, high, &at, &found) != LEAT_OK ||
		    found >= ms)
			high = mid;
		else
			low = at + 1;
	}
	return low;
}

static int64_t
clamp(int64_t v, int64_t min, int64_t max)
{
	if (v < min)
		return min;
	return v > max ? max : v;
}

int64_t
lt_position_of(struct lt_manager *m, const struct lt_topic *topic,
    uint32_t queue, uint32_t from, int64_t value, int64_t min, int64_t max,
    uint32_t def)
{
	if (from == LEAT_FROM_DEFAULT)
		from = def;
	switch (from) {
	case LEAT_FROM_END:
		return max;
	case LEAT_FROM_OFFSET:
		if (value < 0)
			value = value < -max ? 0 : max + value;
		return clamp(value, min, max);
	case LEAT_FROM_TIME:
		return by_time(m, topic, queue, value, min, max);
	default:
		return min;
	}
}
