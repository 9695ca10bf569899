/*
 * tail.h - where the newest messages of a queue are, before the consume queue's
 * files know: one worker's walk behind the end of the log.
 *
 * A queue has an entry here once a remote client asked for it. The walk begins
 * with the first such queue and reads nothing while there is none. One thread.
 */
#ifndef LT_TAIL_TAIL_H
#define LT_TAIL_TAIL_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "store/consumequeue.h"
#include "store/reader.h"

#define LT_TAIL_ENTRIES 512 /* of a queue; a power of two */

struct lt_tail;

struct lt_tail_queue {
	const char *topic; /* NUL-terminated, own copy */
	uint32_t queue;
	/* Entries [first, next) are in the ring; next -1: none seen yet. */
	int64_t first, next;
	int64_t min, end; /* oldest offset, next to be written; -1: not known */
	uint64_t told_ms; /* when min was; 0: never */
	void *user; /* the owner's: held pulls */
	struct lt_tail_queue *grown_next;
	int is_grown;
	struct lt_cq_entry ring[LT_TAIL_ENTRIES];
};

/* reader: borrowed, used by nobody else. */
int lt_tail_create(
    struct lt_reader *reader, struct lt_tail **out) LT_MUST_CHECK;
void lt_tail_destroy(struct lt_tail *t);
/* Find or make. log_end: of now. NULL: out of memory. */
struct lt_tail_queue *lt_tail_queue(struct lt_tail *t, const char *topic,
    size_t topic_bytes, uint32_t queue, uint64_t log_end);
/* Only find. NULL: it is not here. */
struct lt_tail_queue *lt_tail_find(const struct lt_tail *t, const char *topic,
    size_t topic_bytes, uint32_t queue);
/* Forget it. Its user is NULL. */
void lt_tail_drop(struct lt_tail *t, struct lt_tail_queue *q);
size_t lt_tail_count(const struct lt_tail *t);
/* Each queue; *cursor starts at 0. NULL after the last. */
struct lt_tail_queue *lt_tail_next(const struct lt_tail *t, size_t *cursor);
/* What leat-queue says of it. */
void lt_tail_told(
    struct lt_tail_queue *q, int64_t min, int64_t max, uint64_t now_ms);
/*
 * Walk up to log_end, at most about budget bytes. LEAT_OK: there; AGAIN: more
 * to do. A walk that is too far behind goes on at the end: every queue's ring
 * is then empty, its end not known, and it counts as grown. Others: of the
 * reader; nothing is lost, call again.
 */
int lt_tail_follow(
    struct lt_tail *t, uint64_t log_end, uint64_t budget) LT_MUST_CHECK;
/* Takes one of the queues that grew since it was taken last; NULL: none. */
struct lt_tail_queue *lt_tail_grown(struct lt_tail *t);
/* Entries from offset on that the ring has: how many of max; 0: none. */
size_t lt_tail_entries(const struct lt_tail_queue *q, int64_t offset,
    struct lt_cq_entry *out, size_t max);

#endif
