/*
 * lane.c - the publish lane: single producer (a client), single consumer (the
 * store). lane.h has the layout and the crash story.
 *
 * The reader trusts nothing that the client can write: tail and headers are
 * read once into private memory and checked there.
 */
#include "config.h"
#include "shm/lane.h"

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"

static inline uint64_t
step_of(uint32_t payload_bytes)
{
	return lt_bytes_align(
	    sizeof(struct lt_lane_rec) + (uint64_t)payload_bytes,
	    LT_LANE_ALIGN);
}

void
lt_lane_writer_init(
    struct lt_lane_writer *w, const struct lt_segment *seg, uint64_t tail)
{
	LT_ASSERT((seg->head.data_bytes & (seg->head.data_bytes - 1)) == 0);
	w->shared = seg->base;
	w->data = (uint8_t *)seg->base + LT_SEGMENT_DATA_AT;
	w->size = seg->head.data_bytes;
	w->tail = tail;
	w->published = tail;
	w->head = tail;
}

int
lt_lane_claim(struct lt_lane_writer *w, uint64_t head, uint32_t max_bytes,
    uint8_t **payload_out)
{
	uint64_t need = step_of(max_bytes);
	uint64_t at = w->tail & (w->size - 1);
	uint64_t rest = w->size - at;
	struct lt_lane_rec pad = {0};

	if (need > w->size / 2)
		return LEAT_E_TOOBIG;
	if (head > w->tail || w->tail - head > w->size)
		return LEAT_E_CORRUPT;
	w->head = head;
	if (rest < need) {
		/* The record must not wrap: fill the end, start anew. */
		if (w->size - (w->tail - head) < rest + need)
			return LEAT_E_AGAIN;
		pad.kind = LT_LANE_PAD;
		pad.bytes = (uint32_t)(rest - sizeof(pad));
		memcpy(w->data + at, &pad, sizeof(pad));
		w->tail += rest;
		at = 0;
	} else if (w->size - (w->tail - head) < need) {
		return LEAT_E_AGAIN;
	}
	*payload_out = w->data + at + sizeof(struct lt_lane_rec);
	return LEAT_OK;
}

void
lt_lane_put(struct lt_lane_writer *w, const struct lt_lane_rec *rec)
{
	memcpy(w->data + (w->tail & (w->size - 1)), rec, sizeof(*rec));
	w->tail += step_of(rec->bytes);
}

void
lt_lane_publish(struct lt_lane_writer *w)
{
	if (w->published == w->tail)
		return;
	w->published = w->tail;
	/* release: pairs with acquire in lt_lane_poll */
	atomic_store_explicit(&w->shared->tail, w->tail, memory_order_release);
}

void
lt_lane_reader_init(
    struct lt_lane_reader *r, const struct lt_segment *seg, uint64_t head)
{
	r->shared = seg->base;
	r->data = (const uint8_t *)seg->base + LT_SEGMENT_DATA_AT;
	r->size = seg->head.data_bytes;
	r->head = head;
	r->tail = head;
}

int
lt_lane_poll(struct lt_lane_reader *r)
{
	/* acquire: pairs with release in lt_lane_publish */
	uint64_t tail =
	    atomic_load_explicit(&r->shared->tail, memory_order_acquire);

	if (LT_LIKELY(tail == r->tail))
		return r->head != tail;
	/* Forward only, at most one lap ahead, aligned. */
	if (tail - r->head > r->size || tail < r->tail ||
	    (tail & (LT_LANE_ALIGN - 1)) != 0)
		return LEAT_E_CORRUPT;
	r->tail = tail;
	return r->head != tail;
}

int
lt_lane_peek(
    struct lt_lane_reader *r, struct lt_lane_rec *rec, const uint8_t **payload)
{
	uint64_t at, step, rest;

	for (;;) {
		if (r->head == r->tail)
			return LEAT_E_AGAIN;
		at = r->head & (r->size - 1);
		rest = r->size - at;
		memcpy(rec, r->data + at, sizeof(*rec));
		/* The compiler must not read the shared header again. */
		__asm__ volatile("" : : "r"(rec) : "memory");
		if (rec->kind != LT_LANE_PAD)
			break;
		if (rec->bytes != rest - sizeof(*rec) ||
		    rest > r->tail - r->head)
			return LEAT_E_CORRUPT;
		r->head += rest;
	}
	step = step_of(rec->bytes);
	if ((rec->kind != LT_LANE_PUBLISH && rec->kind != LT_LANE_RELAY) ||
	    rec->bytes == 0 || step > r->tail - r->head || step > rest)
		return LEAT_E_CORRUPT;
	*payload = r->data + at + sizeof(*rec);
	return LEAT_OK;
}

void
lt_lane_next(struct lt_lane_reader *r, const struct lt_lane_rec *rec)
{
	r->head += step_of(rec->bytes);
}

int
lt_lane_valid(const struct lt_lane_reader *r)
{
	struct lt_lane_reader walk = *r;
	struct lt_lane_rec rec;
	const uint8_t *payload;
	int status;

	if (walk.tail - walk.head > walk.size)
		return LEAT_E_CORRUPT;
	status = lt_lane_poll(&walk);
	if (status < 0)
		return status;
	while ((status = lt_lane_peek(&walk, &rec, &payload)) == LEAT_OK)
		lt_lane_next(&walk, &rec);
	return status == LEAT_E_AGAIN ? LEAT_OK : status;
}
