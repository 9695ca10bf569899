/*
 * ring.c - the queue ring: one writer, read-only readers that notice when they
 * were lapped. ring.h has the layout and the protocol.
 *
 * Ordering. Writer: intent (relaxed), release fence, data, commit (release).
 * Reader: commit (acquire), data, acquire fence, intent (relaxed). If the
 * reader's copy took a byte of a later lap, the fences make the intent that
 * preceded it visible to the check behind the copy (Boehm, "Can seqlocks get
 * along with programming language memory models?", MSPC 2012).
 */
#include "config.h"
#include "shm/ring.h"

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"

/* Intent and tail move in steps of at least so much: their lines are not
 * dirtied for every record, and what is overwritten is never read. */
#define STEP_MIN 16384u

static inline uint64_t
span_of(uint32_t payload_bytes)
{
	return lt_bytes_align(
	    sizeof(struct lt_ring_head) + (uint64_t)payload_bytes,
	    LT_RING_ALIGN);
}

void
lt_ring_writer_init(struct lt_ring_writer *w, const struct lt_segment *seg,
    int64_t first_offset)
{
	LT_ASSERT((seg->head.data_bytes & (seg->head.data_bytes - 1)) == 0);
	LT_ASSERT(seg->head.data_bytes >= 2 * STEP_MIN);
	w->shared = seg->base;
	w->data = (uint8_t *)seg->base + LT_SEGMENT_DATA_AT;
	w->size = seg->head.data_bytes;
	w->pos = 0;
	w->intent = 0;
	w->step = w->size / LT_RING_STEPS;
	if (w->step < STEP_MIN)
		w->step = STEP_MIN;
	w->marked = 0;
	w->committed = 0;
	w->next_offset = first_offset;
	atomic_store_explicit(
	    &w->shared->tail_offset, first_offset, memory_order_relaxed);
	atomic_store_explicit(
	    &w->shared->next_offset, first_offset, memory_order_release);
}

/* Records that the bytes up to `end` will overwrite leave the ring: the tail is
 * the first record that starts in a step that stays whole. */
static void
retire(struct lt_ring_writer *w, uint64_t end)
{
	uint64_t first = (end - w->size + w->step - 1) / w->step;
	struct lt_ring_mark tail = {w->pos, w->next_offset};

	if (first < w->marked)
		tail = w->marks[first % (w->size / w->step)];
	atomic_store_explicit(
	    &w->shared->tail_offset, tail.offset, memory_order_relaxed);
	atomic_store_explicit(&w->shared->tail, tail.pos, memory_order_release);
}

/* Announce that bytes up to `end` are about to be overwritten. */
static inline void
intend(struct lt_ring_writer *w, uint64_t end)
{
	if (LT_LIKELY(end <= w->intent))
		return;
	w->intent = end + w->step;
	if (w->intent > w->size)
		retire(w, w->intent);
	atomic_store_explicit(
	    &w->shared->intent, w->intent, memory_order_relaxed);
	/* release fence: pairs with the acquire fence in lt_ring_copy */
	atomic_thread_fence(memory_order_release);
}

/* A record starts at pos: it is the first of all steps up to there. */
static inline void
mark(struct lt_ring_writer *w, int64_t queue_offset)
{
	for (; LT_UNLIKELY(w->marked * w->step <= w->pos); w->marked++)
		w->marks[w->marked % (w->size / w->step)] =
		    (struct lt_ring_mark){w->pos, queue_offset};
}

void
lt_ring_put(struct lt_ring_writer *w, int64_t queue_offset, int64_t log_offset,
    int64_t tags_code, const void *record, uint32_t bytes)
{
	struct lt_ring_head head = {0};
	uint32_t kind = LT_RING_RECORD;
	uint64_t need, at, rest;

	if (bytes > w->size / 8) {
		kind = LT_RING_BIG;
		bytes = 0;
	}
	need = span_of(bytes);
	at = w->pos & (w->size - 1);
	rest = w->size - at;
	if (rest < need) {
		intend(w, w->pos + rest);
		head.kind = LT_RING_PAD;
		head.bytes = (uint32_t)(rest - sizeof(head));
		memcpy(w->data + at, &head, sizeof(head));
		w->pos += rest;
		at = 0;
	}
	intend(w, w->pos + need);
	mark(w, queue_offset);
	head.kind = kind;
	head.bytes = bytes;
	head.queue_offset = queue_offset;
	head.log_offset = log_offset;
	head.tags_code = tags_code;
	memcpy(w->data + at, &head, sizeof(head));
	memcpy(w->data + at + sizeof(head), record, bytes);
	w->pos += need;
	w->next_offset = queue_offset + 1;
}

void
lt_ring_commit(struct lt_ring_writer *w)
{
	if (w->committed == w->pos)
		return;
	w->committed = w->pos;
	/* Before commit: whoever sees commit sees at least this. */
	atomic_store_explicit(
	    &w->shared->next_offset, w->next_offset, memory_order_relaxed);
	/* release: pairs with acquire in reload and lt_ring_ready */
	atomic_store_explicit(&w->shared->commit, w->pos, memory_order_release);
}

void
lt_ring_reader_init(struct lt_ring_reader *r, const struct lt_segment *seg)
{
	r->shared = seg->base;
	r->data = (const uint8_t *)seg->base + LT_SEGMENT_DATA_AT;
	r->size = seg->head.data_bytes;
	r->pos = 0;
	r->commit = 0;
}

static inline void
reload(struct lt_ring_reader *r)
{
	r->commit =
	    atomic_load_explicit(&r->shared->commit, memory_order_acquire);
}

/* Behind an access to [pos, ...): was it overwritten meanwhile? */
static inline int
lapped(const struct lt_ring_reader *r)
{
	uint64_t intent;

	/* acquire fence: pairs with the release fence in intend */
	atomic_thread_fence(memory_order_acquire);
	intent = atomic_load_explicit(&r->shared->intent, memory_order_relaxed);
	return intent > r->pos && intent - r->pos > r->size;
}

int
lt_ring_peek(struct lt_ring_reader *r, struct lt_ring_head *head)
{
	uint64_t at, rest, span;

	for (;;) {
		if (r->pos >= r->commit) {
			reload(r);
			if (r->pos == r->commit)
				return LEAT_E_AGAIN;
			if (r->pos > r->commit)
				return LEAT_E_CORRUPT;
		}
		at = r->pos & (r->size - 1);
		rest = r->size - at;
		memcpy(head, r->data + at, sizeof(*head));
		if (lapped(r))
			return LEAT_E_LAPPED;
		span = span_of(head->bytes);
		if (span > rest || span > r->commit - r->pos)
			return LEAT_E_CORRUPT;
		if (head->kind == LT_RING_RECORD || head->kind == LT_RING_BIG)
			return LEAT_OK;
		if (head->kind != LT_RING_PAD)
			return LEAT_E_CORRUPT;
		r->pos += span;
	}
}

int
lt_ring_copy(
    struct lt_ring_reader *r, const struct lt_ring_head *head, void *dst)
{
	uint64_t at = r->pos & (r->size - 1);

	memcpy(dst, r->data + at + sizeof(*head), head->bytes);
	return lapped(r) ? LEAT_E_LAPPED : LEAT_OK;
}

void
lt_ring_skip(struct lt_ring_reader *r, const struct lt_ring_head *head)
{
	r->pos += span_of(head->bytes);
}

int64_t
lt_ring_next_offset(const struct lt_ring_reader *r)
{
	return atomic_load_explicit(
	    &r->shared->next_offset, memory_order_acquire);
}

int
lt_ring_ready(const struct lt_ring_reader *r)
{
	return atomic_load_explicit(&r->shared->commit, memory_order_acquire) !=
	       r->pos;
}

int
lt_ring_seek(struct lt_ring_reader *r, int64_t offset)
{
	struct lt_ring_head head;
	int status;

	reload(r);
	/* Every record before commit has an offset below next. */
	if (offset >= lt_ring_next_offset(r)) {
		r->pos = r->commit;
		return LEAT_E_AGAIN;
	}
	r->pos = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
	if (r->pos > r->commit)
		reload(r);
	if (r->pos > r->commit)
		return LEAT_E_LAPPED;
	/* The oldest record itself says whether the wanted one is gone. */
	status = lt_ring_peek(r, &head);
	if (status == LEAT_E_AGAIN &&
	    offset >= atomic_load_explicit(
			  &r->shared->tail_offset, memory_order_relaxed))
		return LEAT_E_AGAIN;
	if (status == LEAT_E_AGAIN)
		return LEAT_E_LAPPED;
	if (status != LEAT_OK)
		return status;
	if (offset < head.queue_offset)
		return LEAT_E_LAPPED;
	while (head.queue_offset < offset) {
		lt_ring_skip(r, &head);
		status = lt_ring_peek(r, &head);
		if (status != LEAT_OK)
			return status;
	}
	return LEAT_OK;
}

int
lt_ring_valid(const struct lt_segment *seg)
{
	struct lt_ring_reader r;
	struct lt_ring_head head;
	int64_t last = -1;
	int status;

	lt_ring_reader_init(&r, seg);
	reload(&r);
	r.pos = atomic_load_explicit(&r.shared->tail, memory_order_acquire);
	if (r.pos > r.commit || r.commit - r.pos > r.size)
		return LEAT_E_CORRUPT;
	while ((status = lt_ring_peek(&r, &head)) == LEAT_OK) {
		if (head.queue_offset <= last)
			return LEAT_E_CORRUPT;
		last = head.queue_offset;
		lt_ring_skip(&r, &head);
	}
	return status == LEAT_E_AGAIN ? LEAT_OK : status;
}
