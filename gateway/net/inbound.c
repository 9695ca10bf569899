/*
 * inbound.c - bytes in, frames out. A read goes into the worker's scratch and
 * its frames are handed over where they are; only what is left of it is kept,
 * in a buffer sized for what has arrived (what a length claims costs nothing).
 * A small rest moves back in front of the next read. A larger one grows, at
 * most to twice its size a time, to the frame's end, so that what follows the
 * frame is read into scratch again.
 *
 * A round hands over at most LT_ROUND_FRAMES of a connection, and none beyond
 * conn_bytes of unsent replies: then `more` says that whole frames may be kept.
 */
#include "config.h"
#include "net/conn.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

#define GRAIN 64 /* sizes of buffers are rounded up to this */

void
lt_inbound_drop(struct lt_conn *c)
{
	lt_conn_memory(c, -(ssize_t)c->in_cap);
	lt_mem_free(c->in);
	c->in = NULL;
	c->in_used = c->in_cap = c->need = 0;
	c->more = 0;
}

static int
resize(struct lt_conn *c, size_t bytes)
{
	size_t cap = (bytes + GRAIN - 1) / GRAIN * GRAIN;
	uint8_t *in = lt_mem_resize(c->in, cap);

	if (in == NULL)
		return LEAT_E_NOMEM;
	lt_conn_memory(c, (ssize_t)cap - (ssize_t)c->in_cap);
	c->in = in;
	c->in_cap = cap;
	return LEAT_OK;
}

/* Keep what is left of a read; p may be inside of what is kept. */
static int
keep(struct lt_conn *c, const uint8_t *p, size_t bytes)
{
	if (bytes == 0) {
		lt_inbound_drop(c);
		return LEAT_OK;
	}
	int is_inside = c->in != NULL && p >= c->in && p < c->in + c->in_cap;
	if (!is_inside && bytes > c->in_cap && resize(c, bytes) != LEAT_OK)
		return LEAT_E_NOMEM;
	memmove(c->in, p, bytes);
	c->in_used = bytes;
	if (c->in_cap > 4 * bytes + LT_SMALL_BYTES &&
	    resize(c, bytes) != LEAT_OK)
		return LEAT_E_NOMEM;
	return LEAT_OK;
}

/* Hand over whole frames; returns how many bytes these were. */
static size_t
hand_over(struct lt_conn *c, uint8_t *p, size_t bytes)
{
	struct lt_net *net = c->net;
	size_t at = 0;

	c->need = 0;
	c->more = 0;
	for (int frames = 0; at < bytes; frames++) {
		if (c->full || frames == LT_ROUND_FRAMES) {
			c->more = 1;
			return at;
		}
		int64_t size = net->owner->cut(p + at, bytes - at, net->user);
		if (size == 0 && bytes - at < net->limits.frame_bytes)
			return at;
		if (size <= 0 || (uint64_t)size > net->limits.frame_bytes) {
			lt_conn_doom(c, LT_NET_FRAME);
			return at;
		}
		if ((size_t)size > bytes - at) {
			c->need = (size_t)size;
			return at;
		}
		net->seen.frames++;
		lt_conn_met(c);
		if (net->owner->frame(c, p + at, (size_t)size, net->user) < 0)
			lt_conn_doom(c, LT_NET_FRAME);
		if (c->phase != LT_PHASE_UP || c->drain)
			return at;
		at += (size_t)size;
	}
	return at;
}

static void
serve(struct lt_conn *c, uint8_t *p, size_t bytes)
{
	size_t at = hand_over(c, p, bytes);

	if (c->phase != LT_PHASE_UP || c->drain) {
		lt_inbound_drop(c);
		return;
	}
	if (keep(c, p + at, bytes - at) != LEAT_OK) {
		lt_conn_doom(c, LT_NET_MEMORY);
		return;
	}
	if ((c->more || c->unread) && !c->full)
		lt_conn_again(c);
}

/* Room behind a large rest: for the frame's end, or as much again. */
static int
grow(struct lt_conn *c)
{
	size_t target = 2 * c->in_used;

	if (c->need != 0 && c->need < target)
		target = c->need;
	return c->in_cap >= target ? LEAT_OK : resize(c, target);
}

static void
read_more(struct lt_conn *c)
{
	struct lt_net *net = c->net;
	uint8_t *p = net->scratch;
	size_t had = c->in_used;
	size_t room = LT_SCRATCH_BYTES - had;

	if (had <= LT_SMALL_BYTES) {
		if (had > 0)
			memcpy(p, c->in, had);
	} else {
		if (grow(c) != LEAT_OK) {
			lt_conn_doom(c, LT_NET_MEMORY);
			return;
		}
		p = c->in;
		room = (c->need != 0 && c->need < c->in_cap ? c->need
							    : c->in_cap) -
		       had;
		if (room > LT_SCRATCH_BYTES)
			room = LT_SCRATCH_BYTES;
	}
	ssize_t n = lt_conn_take(c, p + had, room);
	if (n == LT_CONN_FAILED) {
		lt_conn_failed(c);
	} else if (n == 0) {
		c->eof = 1;
		lt_inbound_drop(c);
		lt_conn_dirty(c);
	} else if (n > 0) {
		net->seen.bytes_in += (uint64_t)n;
		lt_conn_touch(c);
		serve(c, p, had + (size_t)n);
	} else if (c->unread) {
		lt_conn_again(c); /* records of no content: others first */
	}
}

void
lt_inbound_ready(struct lt_conn *c)
{
	if (c->phase != LT_PHASE_UP || c->eof || c->drain || c->full)
		return;
	if (c->more)
		lt_conn_again(c);
	else
		read_more(c);
}

void
lt_inbound_again(struct lt_conn *c)
{
	if (c->phase != LT_PHASE_UP || c->eof || c->drain || c->full)
		return;
	if (c->more)
		serve(c, c->in, c->in_used);
	else
		read_more(c);
}
