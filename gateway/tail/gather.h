/*
 * gather.h - which messages of a queue answer a pull, and their bytes.
 *
 * Positions come from the tail's ring, else from the consume queue's files. The
 * bytes are the log's own, each record checked with its checksum on the way.
 */
#ifndef LT_TAIL_GATHER_H
#define LT_TAIL_GATHER_H

#include "tail/tail.h"

#define LT_GATHER_MAX 32 /* messages of one answer */
#define LT_GATHER_SCAN 4096 /* entries looked at for them */

enum lt_gather_result {
	LT_GATHER_FOUND,
	LT_GATHER_NO_MATCH, /* there were messages, none passed the filter */
	LT_GATHER_AT_END, /* asked for the next one to be written */
	LT_GATHER_BELOW, /* asked below the oldest */
	LT_GATHER_BEYOND, /* asked above the end */
	LT_GATHER_ASK /* leat-queue must be asked for the range, then again */
};

/* What passes: NULL all, else those with one of the tags codes. */
struct lt_gather_filter {
	const int64_t *codes;
	size_t count;
};

struct lt_gather {
	/* asked */
	int64_t offset;
	uint32_t max_messages;
	uint64_t max_bytes; /* the first message may be larger */
	const struct lt_gather_filter *filter;
	/* found */
	int64_t next_offset; /* behind the last one looked at */
	size_t count;
	uint64_t bytes;
	struct lt_cq_entry entries[LT_GATHER_MAX];
};

enum lt_gather_result lt_gather_find(const struct lt_tail_queue *q,
    struct lt_cq_view *view, struct lt_gather *g);
/*
 * Copy the records found to dst, which has g->bytes room. A record that is
 * damaged or gone is left out. Returns the bytes written; g->count, g->bytes:
 * what was left.
 */
size_t lt_gather_copy(struct lt_gather *g, struct lt_reader *reader, void *dst);

#endif
