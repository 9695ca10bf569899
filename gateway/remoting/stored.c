/*
 * stored.c - one message looked at a time, by offset.
 */
#include "config.h"
#include "remoting/stored.h"

#include "leat/status.h"

static int
note(const struct leat_delivery *d, void *user)
{
	*(int64_t *)user = d->store_time_ms;
	return 0;
}

int64_t
lt_stored_at(
    struct leat *leat, const char *topic, uint32_t queue, int64_t offset)
{
	int64_t ms = 0;

	if (offset < 0 || leat_message_by_offset(
			      leat, topic, queue, offset, note, &ms) != LEAT_OK)
		return 0;
	return ms;
}

int64_t
lt_stored_since(struct leat *leat, const char *topic, uint32_t queue,
    const struct leat_queue_range *range, int64_t ms)
{
	int64_t low = range->min_offset, high = range->max_offset;

	/* Below low is older, at and behind high is not. One that is gone
	 * counts as old. */
	while (low < high) {
		int64_t mid = low + (high - low) / 2;

		if (lt_stored_at(leat, topic, queue, mid) >= ms)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}
