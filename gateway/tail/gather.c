/*
 * gather.c - from a queue offset to records.
 *
 * The end of a queue is known to the tail, its beginning was told by leat-queue
 * and only grows; what lies between but is in neither ring nor files is in the
 * store's memory: the caller asks leat-queue for the range, which has it
 * written, and comes again.
 */
#include "config.h"
#include "tail/gather.h"

#include <string.h>

#include "leat/status.h"

#define WINDOW 64 /* entries read at a time */

static int
passes(const struct lt_gather_filter *filter, int64_t code)
{
	if (filter == NULL)
		return 1;
	for (size_t i = 0; i < filter->count; i++)
		if (filter->codes[i] == code)
			return 1;
	return 0;
}

/* Entries from offset on: how many; 0: neither ring nor files have it. */
static size_t
look(const struct lt_tail_queue *q, struct lt_cq_view *view, int64_t offset,
    int64_t end, struct lt_cq_entry *out)
{
	size_t max = end - offset < WINDOW ? (size_t)(end - offset) : WINDOW;
	size_t n = lt_tail_entries(q, offset, out, max);

	if (n > 0)
		return n;
	if (lt_cq_view_read(view, q->topic, q->queue, offset, out, max, &n) !=
	    LEAT_OK)
		return 0;
	return n;
}

/* Room for one more of that size? */
static int
fits(const struct lt_gather *g, uint32_t bytes)
{
	if (g->count == 0)
		return 1;
	return g->count < g->max_messages && g->count < LT_GATHER_MAX &&
	       g->bytes + bytes <= g->max_bytes;
}

enum lt_gather_result
lt_gather_find(
    const struct lt_tail_queue *q, struct lt_cq_view *view, struct lt_gather *g)
{
	struct lt_cq_entry window[WINDOW];
	int64_t end = q->end, stop;
	size_t n;

	g->count = 0;
	g->bytes = 0;
	g->next_offset = g->offset;
	if (end < 0 || q->min < 0)
		return LT_GATHER_ASK;
	if (g->offset < q->min)
		return LT_GATHER_BELOW;
	if (g->offset > end)
		return LT_GATHER_BEYOND;
	if (g->offset == end)
		return LT_GATHER_AT_END;
	stop =
	    end - g->offset > LT_GATHER_SCAN ? g->offset + LT_GATHER_SCAN : end;
	while (g->next_offset < stop &&
	       (n = look(q, view, g->next_offset, stop, window)) > 0)
		for (size_t i = 0; i < n; i++, g->next_offset++) {
			/* Size 0: that message is gone. */
			if (window[i].bytes == 0 ||
			    !passes(g->filter, window[i].tags_code))
				continue;
			if (!fits(g, window[i].bytes))
				return LT_GATHER_FOUND;
			g->entries[g->count++] = window[i];
			g->bytes += window[i].bytes;
		}
	if (g->count > 0)
		return LT_GATHER_FOUND;
	return g->next_offset > g->offset ? LT_GATHER_NO_MATCH : LT_GATHER_ASK;
}

size_t
lt_gather_copy(struct lt_gather *g, struct lt_reader *reader, void *dst)
{
	size_t kept = 0, used = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct lt_cq_entry *e = &g->entries[i];
		uint8_t *at = (uint8_t *)dst + used;
		struct lt_record_view v;
		int rc = lt_reader_copy(
		    reader, (uint64_t)e->log_offset, e->bytes, at, &v);

		if (rc == LEAT_E_NOTFOUND &&
		    lt_reader_refresh(reader) == LEAT_OK)
			rc = lt_reader_copy(
			    reader, (uint64_t)e->log_offset, e->bytes, at, &v);
		if (rc != LEAT_OK)
			continue;
		g->entries[kept++] = *e;
		used += e->bytes;
	}
	g->count = kept;
	g->bytes = used;
	return used;
}
