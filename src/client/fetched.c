/*
 * fetched.c - the session's fetch buffer: whose turn it is to have it filled,
 * asking for it, stepping through what came.
 *
 * There is one, so a fetch for one queue throws away what another has not read
 * yet. Who lags reads to the end of what it fetched, while the other queues of
 * its subscription take what their rings have, and then lets others fetch
 * first, in turn. Subscriptions do not wait for each other, since nobody knows
 * whether the next poll will be for the same: whose buffer was lost asks for
 * no more than it had read of it, and for twice as much after each that it
 * could use up.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define FETCH_MIN_MS 200
#define FETCH_MAX_MS 5000
#define FETCH_BYTES_MAX (4u << 20)
#define FETCH_BYTES_MIN (64u << 10)

void
lt_fetched_void(struct leat *leat)
{
	leat->fetch_turn++;
}

int
lt_fetched_has(const struct leat_consumer *c, const struct lt_inlet *in)
{
	return in->fetch_turn != 0 && in->fetch_turn == c->leat->fetch_turn;
}

static uint64_t
fetch_deadline(const struct leat_consumer *c)
{
	uint64_t now = lt_clock_mono_ms(), at = c->deadline;

	if (at < now + FETCH_MIN_MS)
		at = now + FETCH_MIN_MS;
	return at > now + FETCH_MAX_MS ? now + FETCH_MAX_MS : at;
}

/* It has read a part of what it fetched, and goes on. */
static int
is_reading(const struct leat_consumer *c, const struct lt_inlet *in)
{
	return lt_fetched_has(c, in) && in->fetch_left != 0 && !in->stale &&
	       !in->limited && in->status == LEAT_OK;
}

int
lt_fetched_turn(struct leat_consumer *c, struct lt_inlet *in)
{
	if (c->fetcher != NULL && is_reading(c, c->fetcher)) {
		c->others_wait |= c->fetcher != in;
	} else if (c->fetcher != in || !c->others_wait) {
		c->fetcher = in;
		c->others_wait = 0;
		return 1;
	} else {
		c->fetcher = NULL;
		c->others_wait = 0;
		c->turn = in->index + 1;
	}
	c->put_off = 1;
	return 0;
}

void
lt_fetched_used_up(struct leat_consumer *c, struct lt_inlet *in)
{
	c->turn = in->index + 1; /* others first */
	in->fetch_wanted *= 2;
}

void
lt_fetched_lost(struct lt_inlet *in)
{
	in->fetch_left = 0;
	in->fetch_wanted = in->fetch_at < FETCH_BYTES_MIN
			       ? FETCH_BYTES_MIN
			       : (uint32_t)in->fetch_at;
}

int
lt_fetched_ask(struct leat_consumer *c, struct lt_inlet *in, int64_t offset,
    uint32_t max_count)
{
	struct leat *leat = c->leat;
	const struct lt_wire_fetched *reply = (const void *)leat->rx;
	struct lt_wire_fetch msg = {0};
	uint32_t most = c->batch_bytes < FETCH_BYTES_MAX
			    ? (uint32_t)c->batch_bytes
			    : FETCH_BYTES_MAX;
	uint32_t made = in->made;
	int status;

	if (in->fetch_wanted == 0 || in->fetch_wanted > most)
		in->fetch_wanted = most;
	msg.topic = c->topic_id;
	msg.queue = in->queue;
	msg.offset = offset;
	msg.max_bytes = in->fetch_wanted;
	msg.max_count = max_count;
	in->fetch_turn = 0;
	in->fetch_is_again = 0;
	in->fetch_left = 0;
	lt_fetched_void(leat); /* answered or not */
	status = lt_link_call(
	    leat, LT_OP_FETCH, &msg, sizeof(msg), fetch_deadline(c), NULL);
	if (status == LEAT_OK) {
		status = lt_link_take_fetch(leat);
		if (status != LEAT_OK)
			lt_link_down(leat); /* a new one gets the buffer */
	}
	if (status != LEAT_OK) {
		if (status == LEAT_E_NOTFOUND || status == LEAT_E_DENIED ||
		    status == LEAT_E_PERM || status == LEAT_E_QUEUE)
			in->status = status;
		return in->status != LEAT_OK ? in->status : LEAT_E_AGAIN;
	}
	if (in->made != made || in->stale)
		return LEAT_E_AGAIN; /* another ring or table meanwhile */
	in->fetch_at = 0;
	in->fetch_left = reply->count;
	in->fetch_bytes =
	    leat->fetch_seg.base == NULL ? 0 : leat->fetch_seg.head.data_bytes;
	if (in->fetch_bytes > reply->data_bytes)
		in->fetch_bytes = reply->data_bytes;
	in->fetch_next =
	    reply->next_offset < offset ? offset : reply->next_offset;
	in->fetch_end = reply->max_offset;
	in->fetch_turn = leat->fetch_turn;
	return LEAT_OK;
}

int
lt_fetched_next(
    struct leat_consumer *c, struct lt_inlet *in, struct lt_found *f)
{
	const uint8_t *data;
	uint64_t rest;

	if (!lt_fetched_has(c, in) || in->fetch_left == 0)
		return 0;
	rest = in->fetch_bytes - in->fetch_at;
	if (in->fetch_at > in->fetch_bytes || rest < sizeof(f->head))
		return 0;
	/* There is one: fetch_bytes are not more than it has. */
	data = (const uint8_t *)c->leat->fetch_seg.base + LT_SEGMENT_DATA_AT;
	memcpy(&f->head, data + in->fetch_at, sizeof(f->head));
	if (f->head.kind != LT_RING_RECORD ||
	    f->head.bytes > rest - sizeof(f->head))
		return 0;
	f->payload = data + in->fetch_at + sizeof(f->head);
	f->ring = NULL;
	return 1;
}

void
lt_fetched_step(struct lt_inlet *in, const struct lt_found *f)
{
	in->fetch_at += lt_bytes_align(
	    sizeof(f->head) + (uint64_t)f->head.bytes, LT_RING_ALIGN);
	in->fetch_left--;
}
