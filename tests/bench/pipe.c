/*
 * pipe.c - not a peer but a limit: a bare pipe between sleeping processes. No
 * log, no acknowledgement, one reader; write() and read(), nothing else.
 */
#include "config.h"
#include "load.h"

#include <stdlib.h>
#include <string.h>

static void
pipe_none(struct load_link *l)
{
	(void)l;
}

static void
pipe_connect(struct load_link *l, bool consumer)
{
	l->fd = l->plan->pipe[consumer ? 0 : 1];
}

/* What is written is gone: that is the receipt. */
static void
pipe_submit(struct load_link *l, const void *body, size_t bytes)
{
	load_put(l, body, bytes);
	l->acked++;
}

static bool
pipe_receipts(struct load_link *l)
{
	(void)l;
	return true;
}

static void
pipe_consume(struct load_link *l)
{
	size_t size = l->plan->size;
	load_receive(l, true);
	while (l->in_end - l->in_begin >= size) {
		const uint8_t *body = l->in + l->in_begin;
		l->in_begin += size;
		l->deliver(l->arg, body, size);
	}
}

const struct peer pipe_peer = {"pipe", pipe_none, pipe_none, pipe_connect,
    pipe_submit, pipe_receipts, pipe_consume};
