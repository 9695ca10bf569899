/*
 * outbound.c - replies out. Small ones are gathered in chunks, lent ranges
 * stand between these; all of it leaves with one write a round. What the
 * kernel does not take waits for it to be writable; who has more than
 * conn_bytes waiting is not served until half of that is gone.
 */
#include "config.h"
#include "net/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define ROUND_PIECES 64
#define ROUND_BYTES (1u << 20)

static uint8_t *
body(struct lt_piece *piece)
{
	return (uint8_t *)(piece + 1);
}

static int
is_closed(const struct lt_conn *c)
{
	return c->phase == LT_PHASE_DEAD || c->phase == LT_PHASE_LINGER;
}

/* An empty piece with cap bytes of its own, 0: for a loan. */
static struct lt_piece *
get_piece(struct lt_net *net, size_t cap)
{
	int is_chunk = cap == LT_CHUNK_BYTES - sizeof(struct lt_piece);
	struct lt_pieces *spare = is_chunk ? &net->chunks : &net->loans;
	struct lt_piece *piece = TAILQ_FIRST(spare);

	if ((is_chunk || cap == 0) && piece != NULL) {
		TAILQ_REMOVE(spare, piece, next);
		*(is_chunk ? &net->chunk_count : &net->loan_count) -= 1;
	} else {
		piece = lt_mem_resize(NULL, sizeof(*piece) + cap);
	}
	if (piece == NULL)
		return NULL;
	*piece = (struct lt_piece){.cap = cap};
	piece->p = body(piece);
	return piece;
}

static void
put_piece(struct lt_net *net, struct lt_piece *piece)
{
	if (piece->cap == LT_CHUNK_BYTES - sizeof(*piece) &&
	    net->chunk_count < LT_SPARE_CHUNKS) {
		TAILQ_INSERT_HEAD(&net->chunks, piece, next);
		net->chunk_count++;
	} else if (piece->cap == 0 && net->loan_count < LT_SPARE_LOANS) {
		TAILQ_INSERT_HEAD(&net->loans, piece, next);
		net->loan_count++;
	} else {
		lt_mem_free(piece);
	}
}

/* Unlinked by the caller. done may close this and any other connection. */
static void
retire(struct lt_conn *c, struct lt_piece *piece)
{
	void (*done)(void *user) = piece->done;
	void *user = piece->user;

	lt_conn_memory(c, -(ssize_t)(sizeof(*piece) + piece->cap));
	put_piece(c->net, piece);
	if (done != NULL)
		done(user);
}

static struct lt_piece *
append(struct lt_conn *c, size_t cap)
{
	struct lt_net *net = c->net;
	size_t limit = net->limits.memory_bytes;
	struct lt_piece *piece = NULL;

	/* The largest holder goes when the callback has returned. */
	if (cap <= SIZE_MAX / 2 - net->seen.memory &&
	    net->seen.memory + cap <= limit + limit / 4)
		piece = get_piece(net, cap);
	if (piece == NULL) {
		lt_conn_doom(c, LT_NET_MEMORY);
		return NULL;
	}
	lt_conn_memory(c, (ssize_t)(sizeof(*piece) + cap));
	TAILQ_INSERT_TAIL(&c->out, piece, next);
	return piece;
}

static void
added(struct lt_conn *c, struct lt_piece *piece, size_t bytes)
{
	piece->bytes += bytes;
	c->unsent += bytes;
	c->net->seen.unsent += bytes;
	if (c->unsent > c->net->limits.conn_bytes)
		c->full = 1;
	if (!c->blocked)
		lt_conn_dirty(c);
}

static size_t
room_behind(struct lt_piece *piece)
{
	return piece->cap - (size_t)(piece->p + piece->bytes - body(piece));
}

void *
lt_conn_room(struct lt_conn *c, size_t bytes)
{
	size_t chunk = LT_CHUNK_BYTES - sizeof(struct lt_piece);

	if (is_closed(c))
		return NULL;
	struct lt_piece *last = TAILQ_LAST(&c->out, lt_pieces);
	if (last == NULL || last->cap == 0 || room_behind(last) < bytes)
		last = append(c, bytes > chunk ? bytes : chunk);
	if (last == NULL)
		return NULL;
	lt_conn_dirty(c); /* a chunk that nothing is put into goes again */
	return body(last) + (last->cap - room_behind(last));
}

void
lt_conn_put(struct lt_conn *c, size_t bytes)
{
	if (is_closed(c))
		return;
	struct lt_piece *last = TAILQ_LAST(&c->out, lt_pieces);
	LT_ASSERT(last != NULL && last->cap != 0);
	LT_ASSERT(bytes <= room_behind(last));
	added(c, last, bytes);
}

int
lt_conn_lend(struct lt_conn *c, const void *p, size_t bytes,
    void (*done)(void *user), void *user)
{
	if (is_closed(c))
		return LEAT_E_CLOSED;
	struct lt_piece *piece = append(c, 0);
	if (piece == NULL)
		return LEAT_E_NOMEM;
	piece->p = p;
	piece->done = done;
	piece->user = user;
	added(c, piece, bytes);
	lt_conn_dirty(c); /* done is called for no bytes as well */
	return LEAT_OK;
}

size_t
lt_conn_unsent(const struct lt_conn *c)
{
	return c->unsent;
}

/* Offer as much as one call takes; how much was taken. */
static ssize_t
give(struct lt_conn *c)
{
	struct iovec v[ROUND_PIECES];
	struct msghdr msg = {.msg_iov = v};
	struct lt_piece *piece;
	size_t offered = 0;
	ssize_t n;

	TAILQ_FOREACH(piece, &c->out, next)
	{
		size_t bytes = piece->bytes;

		if (bytes == 0)
			continue;
		if (msg.msg_iovlen == ROUND_PIECES || offered == ROUND_BYTES)
			break;
		if (bytes > ROUND_BYTES - offered)
			bytes = ROUND_BYTES - offered;
		v[msg.msg_iovlen++] = (struct iovec){
		    .iov_base = (void *)(uintptr_t)piece->p, .iov_len = bytes};
		offered += bytes;
	}
	do
		n = lt_sys.sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? LT_CONN_WAIT : LT_CONN_FAILED;
	c->blocked = (size_t)n < offered;
	return n;
}

static void
taken(struct lt_conn *c, size_t bytes)
{
	struct lt_piece *piece;

	c->unsent -= bytes;
	c->net->seen.unsent -= bytes;
	c->net->seen.bytes_out += bytes;
	while ((piece = TAILQ_FIRST(&c->out)) != NULL) {
		size_t part = bytes < piece->bytes ? bytes : piece->bytes;

		piece->p += part;
		piece->bytes -= part;
		bytes -= part;
		if (piece->bytes > 0)
			break;
		TAILQ_REMOVE(&c->out, piece, next);
		retire(c, piece);
	}
}

/* Nothing is unsent: is anything left to do? */
static void
settle(struct lt_conn *c)
{
	c->blocked = 0;
	lt_conn_wait(c, 0);
	if (c->owed > 0)
		return;
	if (c->drain)
		lt_conn_linger(c);
	else if (c->eof)
		lt_conn_doom(c, LT_NET_PEER);
}

void
lt_outbound_flush(struct lt_conn *c)
{
	ssize_t n = 0;

	if (c->phase != LT_PHASE_UP) {
		if (c->phase != LT_PHASE_LINGER && c->drain && c->unsent == 0 &&
		    c->owed == 0)
			lt_conn_doom(c, LT_NET_OWNER);
		return;
	}
	if (c->unsent > 0 && !c->blocked)
		n = c->transport != NULL ? c->transport->give(c) : give(c);
	if (n == LT_CONN_FAILED) {
		lt_conn_failed(c);
		return;
	}
	if (n == LT_CONN_WAIT) {
		c->blocked = 1;
	} else {
		if (n > 0)
			lt_conn_touch(c);
		taken(c, (size_t)n); /* done may close it */
	}
	if (c->phase != LT_PHASE_UP)
		return;
	if (c->full && c->unsent <= c->net->limits.conn_bytes / 2) {
		c->full = 0;
		if (c->more || c->unread)
			lt_conn_again(c);
	}
	if (c->unsent == 0) {
		settle(c);
		return;
	}
	if (!c->blocked)
		lt_conn_dirty(c);
	if (n > 0 || !c->waiting)
		lt_conn_wait(c, 1);
}

void
lt_outbound_shed(struct lt_conn *c)
{
	struct lt_pieces kept = TAILQ_HEAD_INITIALIZER(kept);
	struct lt_piece *piece;

	while ((piece = TAILQ_FIRST(&c->out)) != NULL) {
		TAILQ_REMOVE(&c->out, piece, next);
		if (piece->cap == 0) {
			TAILQ_INSERT_TAIL(&kept, piece, next);
			continue;
		}
		c->unsent -= piece->bytes;
		c->net->seen.unsent -= piece->bytes;
		retire(c, piece);
	}
	TAILQ_CONCAT(&c->out, &kept, next);
}

void
lt_outbound_drop(struct lt_conn *c)
{
	struct lt_piece *piece;

	while ((piece = TAILQ_FIRST(&c->out)) != NULL) {
		TAILQ_REMOVE(&c->out, piece, next);
		c->unsent -= piece->bytes;
		c->net->seen.unsent -= piece->bytes;
		retire(c, piece);
	}
}

void
lt_outbound_fini(struct lt_net *net)
{
	struct lt_piece *piece;

	TAILQ_CONCAT(&net->chunks, &net->loans, next);
	while ((piece = TAILQ_FIRST(&net->chunks)) != NULL) {
		TAILQ_REMOVE(&net->chunks, piece, next);
		lt_mem_free(piece);
	}
}
