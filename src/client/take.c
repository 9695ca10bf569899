/*
 * take.c - from a queue into the batch: out of the queue ring while that holds
 * the wanted offset, else out of the fetch buffer, and back.
 *
 * There is one cursor per queue, `next`, the offset to look at next. Both
 * sources are entered by offset, and an offset passes once, so a change
 * between them neither leaves a gap nor repeats.
 *
 * Clustering: what is delivered is claimed first; what is skipped (filtered,
 * damaged, gone) is claimed and acknowledged, so that the group's progress
 * moves on. Claims that other members gave back lie below `next`: when the
 * table's `returned` moves, [progress, next) is looked through again.
 *
 * And if the process dies after a claim? The queue manager frees it, and the
 * message is delivered again with the next attempt number.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"
#include "base/sys.h"

#define AGAIN_COUNT 256 /* records of a fetch for claims that came back */
#define LAPS_TO_GROW 2 /* ask for a larger ring after so many laps */

enum verdict {
	TAKEN, /* delivered */
	PASSED, /* not for us: go on with the next */
	HELD, /* no room in batch or window: stop here */
	OVERRUN, /* the ring overwrote it: fetch it */
	DRY /* nothing more now */
};

static int64_t
progress_of(const struct lt_inlet *in)
{
	int64_t p = atomic_load_explicit(
	    &in->table.shared->progress, memory_order_acquire);
	int64_t least = in->next - (int64_t)in->table.window;

	/* Any member may have scribbled: only what is inside the window. */
	if (p < in->table.first)
		p = in->table.first;
	return p < least ? least : p;
}

static void
release(struct lt_inlet *in, int64_t offset)
{
	if (lt_table_unclaim(&in->table, offset, (uint16_t)in->owner) ==
	    LEAT_OK)
		atomic_fetch_add_explicit(
		    &in->table.shared->returned, 1, memory_order_release);
}

static inline void
finish_claim(struct leat_consumer *c, struct lt_inlet *in, int64_t offset)
{
	if (c->grouped)
		(void)!lt_table_ack(&in->table, offset, (uint16_t)in->owner);
}

/* PASSED: mine or nobody's business; HELD: window is full. */
static enum verdict
claim(struct leat_consumer *c, struct lt_inlet *in, int64_t offset,
    uint32_t *attempt, int *mine)
{
	int status;

	*attempt = 0;
	*mine = 1;
	if (!c->grouped)
		return PASSED;
	status = lt_table_claim(
	    &in->table, offset, (uint16_t)in->owner, c->stamp, attempt);
	if (status == LEAT_E_LIMIT) {
		in->limited = 1;
		return HELD;
	}
	*mine = status == LEAT_OK;
	return PASSED;
}

/* Offsets [next, to) have no record that could be delivered. HELD: not all. */
static enum verdict
pass_gap(struct leat_consumer *c, struct lt_inlet *in, int64_t to)
{
	uint32_t attempt;
	int mine;

	if (!c->grouped) {
		in->next = to;
		return PASSED;
	}
	for (; in->next < to; in->next++) {
		if (claim(c, in, in->next, &attempt, &mine) == HELD)
			return HELD;
		if (mine)
			finish_claim(c, in, in->next);
	}
	return PASSED;
}

/* --- batch
 * ---------------------------------------------------------------------- */

/* Room for a record and its strings, which are at most as long as it. */
static uint8_t *
room_for(struct leat_consumer *c, uint32_t bytes, size_t *limit_out)
{
	size_t need = lt_bytes_align(bytes, 8) + 64;
	uint8_t *big;

	if (c->used == 0)
		need += lt_bytes_align(bytes, 8);
	if (LT_LIKELY(c->used + need <= c->batch_bytes)) {
		*limit_out = c->batch_bytes - c->used;
		return c->batch + c->used;
	}
	if (c->used != 0)
		return NULL;
	if (c->big_bytes < need) {
		big = lt_mem_resize(c->big, need);
		if (big == NULL)
			return NULL;
		c->big = big;
		c->big_bytes = need;
	}
	*limit_out = c->big_bytes;
	return c->big;
}

static int
wants_code(const struct leat_consumer *c, int64_t code)
{
	size_t i;

	if (c->tag_count == 0)
		return 1;
	for (i = 0; i < c->tag_count; i++)
		if (c->tags[i].code == code)
			return 1;
	return 0;
}

static int
wants_tag(const struct leat_consumer *c, const struct lt_record_texts *t)
{
	size_t i;

	if (c->tag_count == 0)
		return 1;
	for (i = 0; t->tag != NULL && i < c->tag_count; i++)
		if (c->tags[i].bytes == t->tag_bytes &&
		    memcmp(c->tags[i].text, t->tag, t->tag_bytes) == 0)
			return 1;
	return 0;
}

/* Into the batch; the record is claimed. */
static enum verdict
copy_out(struct leat_consumer *c, struct lt_inlet *in, const struct lt_found *f,
    uint8_t *dst, size_t limit, struct leat_delivery *out)
{
	uint32_t bytes = f->head.bytes;
	struct lt_record_texts t;
	struct lt_record_view v;
	size_t text, at = lt_bytes_align(bytes, 8);

	if (f->payload != NULL)
		memcpy(dst, f->payload, bytes);
	else if (lt_ring_copy(f->ring, &f->head, dst) != LEAT_OK)
		return OVERRUN;
	if (LT_UNLIKELY(lt_record_parse(dst, bytes, &v) != LEAT_OK ||
			v.bytes != bytes)) {
		finish_claim(c, in, f->head.queue_offset);
		return PASSED;
	}
	lt_record_texts(&v, &t);
	if (LT_UNLIKELY(!wants_tag(c, &t))) {
		finish_claim(c, in, f->head.queue_offset);
		return PASSED;
	}
	text = lt_delivery_text_bytes(&t);
	if (LT_UNLIKELY(at + text > limit))
		return HELD;
	lt_delivery_fill(out, &v, &t, c->topic, (char *)dst + at);
	out->queue = in->queue;
	out->queue_offset = f->head.queue_offset;
	out->log_offset = f->head.log_offset;
	out->handle = ((uint64_t)in->epoch << 32) | in->index;
	if (dst == c->big)
		c->used = c->batch_bytes; /* alone in this poll */
	else
		c->used += lt_bytes_align(at + text, 8);
	return TAKEN;
}

static enum verdict
take_one(struct leat_consumer *c, struct lt_inlet *in, const struct lt_found *f,
    struct leat_delivery *out)
{
	int64_t offset = f->head.queue_offset;
	enum verdict verdict;
	uint32_t attempt;
	uint8_t *dst;
	size_t limit;
	int mine;

	if (!wants_code(c, f->head.tags_code)) {
		if (claim(c, in, offset, &attempt, &mine) == HELD)
			return HELD;
		if (mine)
			finish_claim(c, in, offset);
		return PASSED;
	}
	dst = room_for(c, f->head.bytes, &limit);
	if (dst == NULL)
		return HELD;
	if (claim(c, in, offset, &attempt, &mine) == HELD)
		return HELD;
	if (!mine)
		return PASSED;
	(void)lt_failpoint(LT_FP_CLIENT_CLAIM);
	verdict = copy_out(c, in, f, dst, limit, out);
	if (verdict == TAKEN)
		out->attempt = attempt + 1;
	else if (c->grouped && (verdict == OVERRUN || verdict == HELD))
		release(in, offset);
	return verdict;
}

/* --- the two sources
 * ----------------------------------------------------------------- */

void
lt_take_begin(struct lt_inlet *in)
{
	int status;

	in->source = LT_SOURCE_FETCH;
	in->must_fetch = 0;
	if (in->ring_seg.base == NULL)
		return;
	status = lt_ring_seek(&in->ring, in->next);
	if (status == LEAT_OK || status == LEAT_E_AGAIN)
		in->source = LT_SOURCE_RING;
}

static void
leave_ring(struct leat_consumer *c, struct lt_inlet *in)
{
	struct lt_wire_number msg = {0};

	in->source = LT_SOURCE_FETCH;
	in->fetch_turn = 0;
	if (++in->laps % LAPS_TO_GROW == 0) {
		msg.number = in->id;
		lt_link_post(c->leat, LT_OP_RING_GROW, &msg, sizeof(msg));
	}
}

/* One step out of the ring. */
static enum verdict
from_ring(
    struct leat_consumer *c, struct lt_inlet *in, struct leat_delivery *out)
{
	struct lt_found f = {.ring = &in->ring};
	enum verdict verdict;
	int status = lt_ring_peek(&in->ring, &f.head);

	if (status == LEAT_E_AGAIN)
		return DRY;
	if (status == LEAT_E_LAPPED) {
		leave_ring(c, in);
		return PASSED;
	}
	if (status != LEAT_OK) {
		in->stale = 1; /* a ring that makes no sense: ask for another */
		return DRY;
	}
	if (f.head.queue_offset < in->next) {
		lt_ring_skip(&in->ring, &f.head);
		return PASSED;
	}
	if (f.head.queue_offset > in->next &&
	    pass_gap(c, in, f.head.queue_offset) == HELD)
		return HELD;
	if (f.head.kind == LT_RING_BIG) {
		in->source = LT_SOURCE_FETCH;
		in->must_fetch = 1;
		in->fetch_turn = 0;
		return PASSED;
	}
	verdict = take_one(c, in, &f, out);
	if (verdict == OVERRUN) {
		leave_ring(c, in);
		return PASSED;
	}
	if (verdict != HELD) {
		lt_ring_skip(&in->ring, &f.head);
		in->next = f.head.queue_offset + 1;
	}
	return verdict;
}

/* The buffer is used up: back to the ring if it has `next`, else fetch. */
static enum verdict
refill(struct leat_consumer *c, struct lt_inlet *in)
{
	int status, known = lt_fetched_has(c, in);

	if (known && in->fetch_next > in->next) {
		if (pass_gap(c, in, in->fetch_next) == HELD)
			return HELD;
	}
	if (!in->must_fetch && in->ring_seg.base != NULL) {
		status = lt_ring_seek(&in->ring, in->next);
		if (status == LEAT_OK || status == LEAT_E_AGAIN) {
			in->source = LT_SOURCE_RING;
			return PASSED;
		}
	}
	/* Nothing is fetched that could not be claimed. */
	if (c->grouped && lt_table_is_full(&in->table, in->next)) {
		in->limited = 1;
		return HELD;
	}
	/* What came back waited for the buffer to be used up. */
	if (in->again_waits || !lt_fetched_turn(c, in)) {
		c->put_off = 1;
		return DRY;
	}
	status =
	    lt_fetched_ask(c, in, in->next, in->must_fetch ? 1 : UINT16_MAX);
	in->must_fetch = 0;
	if (status != LEAT_OK)
		return DRY;
	if (in->fetch_left == 0 && in->fetch_next <= in->next) {
		in->fetch_turn = 0;
		return DRY;
	}
	return PASSED;
}

static enum verdict
from_fetch(
    struct leat_consumer *c, struct lt_inlet *in, struct leat_delivery *out)
{
	struct lt_found f = {0};
	enum verdict verdict;

	if (!lt_fetched_next(c, in, &f)) {
		if (in->fetch_left != 0 && !lt_fetched_has(c, in))
			lt_fetched_lost(in);
		if (in->fetch_left == 0)
			return refill(c, in);
		in->fetch_turn = 0; /* not what was promised: ask again */
		in->fetch_left = 0;
		return DRY;
	}
	if (f.head.queue_offset < in->next) {
		lt_fetched_step(in, &f);
		return PASSED;
	}
	if (f.head.queue_offset > in->next &&
	    pass_gap(c, in, f.head.queue_offset) == HELD)
		return HELD;
	verdict = take_one(c, in, &f, out);
	if (verdict != HELD) {
		lt_fetched_step(in, &f);
		in->next = f.head.queue_offset + 1;
		if (in->fetch_left == 0)
			lt_fetched_used_up(c, in);
	}
	return verdict;
}

/* --- claims that came back
 * -------------------------------------------------------------- */

/* Step to an offset in a buffer that was fetched for claims that came back. 1:
 * f is it, 0: it is gone, -1: another buffer is needed. */
static int
step_to(struct leat_consumer *c, struct lt_inlet *in, int64_t offset,
    struct lt_found *f)
{
	if (!lt_fetched_has(c, in) || !in->fetch_is_again)
		return -1;
	while (lt_fetched_next(c, in, f)) {
		if (f->head.queue_offset >= offset)
			return f->head.queue_offset == offset;
		lt_fetched_step(in, f);
	}
	return in->fetch_left == 0 && in->fetch_next > offset ? 0 : -1;
}

/* Find the record of an offset below next. 1: f is it, 0: it is gone,
 * -1: not now. */
static int
find_again(struct leat_consumer *c, struct lt_inlet *in,
    struct lt_ring_reader *r, int *seated, int64_t offset, struct lt_found *f)
{
	int status = LEAT_E_LAPPED, there;

	if (in->ring_seg.base != NULL) {
		f->ring = r;
		f->payload = NULL;
		if (!*seated)
			status = lt_ring_seek(r, offset);
		*seated = 1;
		while ((status = lt_ring_peek(r, &f->head)) == LEAT_OK &&
		       f->head.queue_offset < offset)
			lt_ring_skip(r, &f->head);
		if (status == LEAT_OK && f->head.queue_offset == offset &&
		    f->head.kind == LT_RING_RECORD)
			return 1;
		*seated = 0;
	}
	/* Where one came back, its neighbours did: one request for many. */
	there = step_to(c, in, offset, f);
	if (there >= 0)
		return there;
	if (c->is_in_order && !in->fetch_is_again && lt_fetched_has(c, in)) {
		lt_fetched_lost(in); /* newer ones: they wait */
		in->fetch_turn = 0;
	}
	if (!in->fetch_is_again && !lt_fetched_turn(c, in)) {
		in->again_waits = 1;
		return there;
	}
	if (lt_fetched_ask(c, in, offset, AGAIN_COUNT) != LEAT_OK)
		return there;
	in->fetch_is_again = 1;
	return step_to(c, in, offset, f);
}

/* Look below next for what other members gave back. */
static int
rescan(struct leat_consumer *c, struct lt_inlet *in, struct leat_delivery *out,
    size_t max)
{
	struct lt_ring_reader r = in->ring;
	uint32_t returned, attempt;
	struct lt_found f = {0};
	enum verdict verdict;
	int seated = 0, there, mine;
	size_t n = 0;

	in->again_waits = 0;
	/* acquire: whoever added freed the claim before */
	returned = atomic_load_explicit(
	    &in->table.shared->returned, memory_order_acquire);
	if (returned != in->returned) {
		in->returned = returned;
		in->rescan = progress_of(in);
	}
	while (in->rescan >= 0 && n < max) {
		if (in->rescan >= in->next) {
			in->rescan = -1;
			break;
		}
		if (!lt_table_is_free(&in->table, in->rescan)) {
			in->rescan++;
			continue;
		}
		there = find_again(c, in, &r, &seated, in->rescan, &f);
		if (there < 0 || in->rescan < 0)
			break;
		if (there == 0) {
			if (claim(c, in, in->rescan, &attempt, &mine) == HELD)
				break;
			if (mine)
				finish_claim(c, in, in->rescan);
			in->rescan++;
			continue;
		}
		verdict = take_one(c, in, &f, &out[n]);
		if (verdict == HELD)
			break;
		if (verdict == OVERRUN) {
			seated = 0; /* seek says LAPPED now: it is fetched */
			continue;
		}
		if (verdict == TAKEN)
			n++;
		in->rescan++;
	}
	/* Its buffer is not one that continues at next. */
	if (in->fetch_is_again) {
		in->fetch_turn = 0;
		in->fetch_left = 0;
	}
	in->fetch_is_again = 0;
	return (int)n;
}

static inline void
move_cursor(struct lt_inlet *in)
{
	int64_t seen = atomic_load_explicit(
	    &in->table.shared->cursor, memory_order_relaxed);

	/* It never goes back: a table whose cursor is not beyond its progress
	 * may be dropped (may_go in queue/progress.c), and with it what is
	 * acknowledged behind that. */
	while (in->next > seen &&
	       !atomic_compare_exchange_weak_explicit(&in->table.shared->cursor,
		   &seen, in->next, memory_order_relaxed, memory_order_relaxed))
		;
}

int
lt_take_inlet(struct leat_consumer *c, struct lt_inlet *in,
    struct leat_delivery *out, size_t max)
{
	enum verdict verdict = PASSED;
	size_t n = 0;

	if (in->stale || in->is_idle || in->status != LEAT_OK)
		return 0;
	if (c->grouped) {
		if (atomic_load_explicit(
			&in->table.shared->closed, memory_order_relaxed) != 0) {
			in->stale = 1;
			return 0;
		}
		n = (size_t)rescan(c, in, out, max);
	}
	in->limited = 0;
	if (c->is_in_order && in->rescan >= 0)
		verdict = DRY;
	while (
	    n < max && !in->stale && (verdict == PASSED || verdict == TAKEN)) {
		verdict = in->source == LT_SOURCE_RING
			      ? from_ring(c, in, &out[n])
			      : from_fetch(c, in, &out[n]);
		if (verdict == TAKEN)
			n++;
	}
	if (n != 0) {
		in->handed = out[n - 1].queue_offset + 1;
		if (c->grouped)
			move_cursor(in);
	} else if (c->used == 0 && verdict == HELD && !in->limited) {
		return LEAT_E_NOMEM; /* one record alone finds no room */
	}
	return (int)n;
}

int
lt_take_ready(struct leat_consumer *c, struct lt_inlet *in)
{
	if (in->stale || in->is_idle || in->status != LEAT_OK)
		return in->status != LEAT_OK;
	if (c->grouped && !in->limited &&
	    (in->rescan >= 0 || in->returned != atomic_load_explicit(
						    &in->table.shared->returned,
						    memory_order_acquire)))
		return 1;
	if (in->limited)
		return 0;
	if (in->source == LT_SOURCE_RING)
		return lt_ring_ready(&in->ring);
	return in->ring_seg.base != NULL ||
	       (lt_fetched_has(c, in) && in->fetch_left != 0);
}

int64_t
lt_take_end(struct lt_inlet *in)
{
	return in->ring_seg.base == NULL ? -1 : lt_ring_next_offset(&in->ring);
}
