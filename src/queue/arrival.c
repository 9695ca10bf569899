/* arrival.c - notes in a ring, ordered by time and log offset. */
#include "config.h"
#include "queue/arrival.h"

#include "base/clock.h"

#define JITTER_MS 2 /* both clocks are read in whole milliseconds */

static struct lt_arrival_note
present(uint64_t log_end)
{
	int64_t mono = (int64_t)lt_clock_mono_ms();

	return (struct lt_arrival_note){.log_end = log_end,
	    .mono_ms = mono,
	    .ahead_ms = lt_clock_wall_ms() - mono};
}

static const struct lt_arrival_note *
note(const struct lt_arrivals *a, uint64_t i)
{
	return &a->notes[i % LT_ARRIVAL_NOTES];
}

int64_t
lt_arrival_next_ms(const struct lt_arrivals *a)
{
	return a->count == 0 ? 0 : note(a, a->count - 1)->mono_ms + a->every_ms;
}

void
lt_arrival_look(struct lt_arrivals *a, uint64_t log_end)
{
	struct lt_arrival_note now = present(log_end);

	if (now.mono_ms < lt_arrival_next_ms(a))
		return;
	a->notes[a->count++ % LT_ARRIVAL_NOTES] = now;
}

int64_t
lt_arrival_of(const struct lt_arrivals *a, uint64_t log_end,
    uint64_t log_offset, int64_t store_ms)
{
	uint64_t first =
	    a->count > LT_ARRIVAL_NOTES ? a->count - LT_ARRIVAL_NOTES : 0;
	uint64_t low = first, high = a->count;
	struct lt_arrival_note by;
	const struct lt_arrival_note *from;
	int64_t drift, at;

	/* The first note that has the record below its end. */
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (note(a, mid)->log_end > log_offset)
			high = mid;
		else
			low = mid + 1;
	}
	by = low < a->count ? *note(a, low) : present(log_end);
	at = store_ms - by.ahead_ms;
	if (low > first) {
		from = note(a, low - 1);
		drift = by.ahead_ms - from->ahead_ms;
		if (drift > JITTER_MS || drift < -JITTER_MS)
			return by.mono_ms;
		if (at < from->mono_ms)
			at = from->mono_ms;
	}
	return at < by.mono_ms ? at : by.mono_ms;
}
