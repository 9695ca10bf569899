/*
 * channel.c - the Leat channel (proto/channel) as a transport beside tls.c: a
 * handshake of three messages, then records.
 *
 * What is unsent is gathered, sealed in place and written at once, at most
 * LT_CHANNEL_PLAIN_MAX bytes a round. A record cannot be sealed twice, so what
 * the kernel did not take of it is kept until it does; the bytes that it covers
 * count as unsent until then. A read is opened in place; kept is the rest that
 * is no whole record, and what found no room.
 *
 * All that is secret of a connection is in one piece of the vault, from its
 * first byte to its end. Who has no grant is closed by the same few lines as
 * who lost it.
 */
#include "config.h"
#include "net/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "net/bucket.h"
#include "net/vault.h"
#include "proto/channel.h"

#define GRAIN 64

struct lt_channels {
	struct lt_vault *vault;
	struct lt_bucket_table *buckets;
	struct lt_noise_pair *own; /* in the vault */
};

struct kept {
	uint8_t *p;
	size_t cap, at, bytes;
};

struct lt_sealed { /* in the vault */
	struct lt_channel channel;
	uint8_t key[LT_SECRET_KEY]; /* of an admitted peer */
	uint8_t hello[LT_CHANNEL_PROOF]; /* a message of the handshake */
	size_t used; /* bytes of it that have come */
	uint8_t is_greeted, is_proven, is_over;
	struct kept in; /* `opened` bytes of the stream, then sealed ones */
	size_t opened;
	struct kept out; /* the rest of a record */
	size_t covers; /* unsent bytes that are in that record */
};
_Static_assert(LT_CHANNEL_PROOF >= LT_CHANNEL_HELLO, "one buffer for both");
_Static_assert(sizeof(((struct lt_net *)0)->record) >=
		   LT_SCRATCH_BYTES + LT_CHANNEL_RECORD_MAX,
    "a read behind what is less than a record");

/* --- what is kept ----------------------------------------------------------
 */

static void
drop(struct lt_conn *c, struct kept *k)
{
	lt_conn_memory(c, -(ssize_t)k->cap);
	lt_mem_free(k->p);
	*k = (struct kept){0};
}

/* Of two ranges, neither inside of k. */
static int
keep(struct lt_conn *c, struct kept *k, const uint8_t *p, size_t bytes,
    const uint8_t *more, size_t more_bytes)
{
	size_t cap = (bytes + more_bytes + GRAIN - 1) / GRAIN * GRAIN;

	drop(c, k);
	if (cap == 0)
		return LEAT_OK;
	k->p = lt_mem_resize(NULL, cap);
	if (k->p == NULL) {
		lt_conn_doom(c, LT_NET_MEMORY);
		return LEAT_E_NOMEM;
	}
	lt_conn_memory(c, (ssize_t)cap);
	k->cap = cap;
	k->bytes = bytes + more_bytes;
	if (bytes > 0)
		memcpy(k->p, p, bytes);
	if (more_bytes > 0)
		memcpy(k->p + bytes, more, more_bytes);
	return LEAT_OK;
}

static int
fail(struct lt_conn *c)
{
	c->broken = 1;
	return LT_CONN_FAILED;
}

/* --- out -------------------------------------------------------------------
 */

/* As much as the kernel takes. */
static ssize_t
offer(struct lt_conn *c, const uint8_t *p, size_t bytes)
{
	size_t sent = 0;

	while (sent < bytes) {
		struct iovec v = {.iov_base = (void *)(uintptr_t)(p + sent),
		    .iov_len = bytes - sent};
		struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
		ssize_t n = lt_sys.sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return LT_CONN_FAILED;
		sent += (size_t)n;
	}
	return (ssize_t)sent;
}

/* 1: all of it is on its way; LT_CONN_WAIT: the rest is kept. */
static int
push(struct lt_conn *c, const uint8_t *p, size_t bytes)
{
	struct lt_sealed *s = c->sealed;
	ssize_t n = offer(c, p, bytes);

	if (n < 0)
		return LT_CONN_FAILED;
	if ((size_t)n == bytes)
		return 1;
	return keep(c, &s->out, p + n, bytes - (size_t)n, NULL, 0) == LEAT_OK
		   ? LT_CONN_WAIT
		   : LT_CONN_FAILED;
}

/* The same with what is kept. */
static int
push_rest(struct lt_conn *c)
{
	struct kept *k = &c->sealed->out;
	ssize_t n = offer(c, k->p + k->at, k->bytes);

	if (n < 0)
		return LT_CONN_FAILED;
	k->at += (size_t)n;
	k->bytes -= (size_t)n;
	if (k->bytes == 0) {
		drop(c, k);
		return 1;
	}
	if (n > 0 && c->waiting) { /* a slow peer, not a dead one */
		lt_conn_touch(c);
		lt_conn_wait(c, 1);
	}
	return LT_CONN_WAIT;
}

static size_t
gather(struct lt_conn *c, uint8_t *to)
{
	struct lt_piece *piece;
	size_t used = 0;

	TAILQ_FOREACH(piece, &c->out, next)
	{
		size_t bytes = piece->bytes;

		if (bytes > LT_CHANNEL_PLAIN_MAX - used)
			bytes = LT_CHANNEL_PLAIN_MAX - used;
		if (bytes > 0)
			memcpy(to + used, piece->p, bytes);
		used += bytes;
	}
	return used;
}

/* A record of so many bytes, which lie in the worker's. */
static int
seal(struct lt_conn *c, size_t bytes, int is_last)
{
	return lt_channel_seal(&c->sealed->channel, c->net->record, bytes,
	    is_last, lt_net_now(c->net));
}

static ssize_t
give(struct lt_conn *c)
{
	struct lt_sealed *s = c->sealed;
	uint8_t *record = c->net->record;
	int rc;

	if (c->broken)
		return LT_CONN_FAILED;
	if (s->out.bytes > 0) {
		rc = push_rest(c);
	} else {
		s->covers = gather(c, record + LT_CHANNEL_HEAD);
		if (seal(c, s->covers, 0) != LEAT_OK)
			return fail(c);
		rc = push(c, record, s->covers + LT_CHANNEL_OVER);
	}
	return rc == 1 ? (ssize_t)s->covers : rc;
}

static void
bye(struct lt_conn *c)
{
	if (c->broken || c->blocked || c->sealed->out.bytes > 0)
		return;
	if (seal(c, 0, 1) == LEAT_OK)
		(void)offer(c, c->net->record, LT_CHANNEL_OVER);
}

/* --- in --------------------------------------------------------------------
 */

static ssize_t
receive(struct lt_conn *c, void *p, size_t room)
{
	ssize_t n;

	do
		n = lt_sys.recv(c->fd, p, room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? LT_CONN_WAIT : LT_CONN_FAILED;
	return n;
}

static int
is_whole(const uint8_t *p, size_t bytes)
{
	int64_t size = lt_channel_cut(p, bytes);

	return size < 0 || (size > 0 && (uint64_t)size <= bytes);
}

/* Of a record that was larger than the room. */
static size_t
take_opened(struct lt_conn *c, void *p, size_t room)
{
	struct lt_sealed *s = c->sealed;
	size_t bytes = s->opened < room ? s->opened : room;

	memcpy(p, s->in.p + s->in.at, bytes);
	s->opened -= bytes;
	s->in.at += bytes;
	s->in.bytes -= bytes;
	if (s->in.bytes == 0)
		drop(c, &s->in);
	return bytes;
}

/* Open what is whole of w, into the room; the rest is kept. */
static ssize_t
open_all(struct lt_conn *c, uint8_t *w, size_t bytes, uint8_t *p, size_t room)
{
	struct lt_sealed *s = c->sealed;
	size_t at = 0, got = 0, left = 0;
	uint8_t *plain = NULL;

	while (left == 0 && got < room && !s->is_over &&
	       is_whole(w + at, bytes - at)) {
		int64_t size = lt_channel_cut(w + at, bytes - at);
		size_t n = 0, part;
		int rc = size < 0 ? LEAT_E_CORRUPT
				  : lt_channel_open(&s->channel, w + at,
					(size_t)size, &plain, &n);

		if (rc != LEAT_OK && rc != LEAT_E_CLOSED) {
			c->broken = 1; /* behind what was good */
			break;
		}
		s->is_over = rc == LEAT_E_CLOSED;
		at += (size_t)size;
		part = n < room - got ? n : room - got;
		memcpy(p + got, plain, part);
		got += part;
		plain += part;
		left = n - part;
	}
	if (s->is_over || c->broken)
		at = bytes; /* nothing counts behind it */
	s->opened = left;
	if (keep(c, &s->in, plain, left, w + at, bytes - at) != LEAT_OK)
		return LT_CONN_FAILED;
	return (ssize_t)got;
}

static ssize_t
take(struct lt_conn *c, void *p, size_t room)
{
	struct lt_sealed *s = c->sealed;
	uint8_t *w = c->net->record;
	size_t have = s->in.bytes;
	ssize_t got;

	c->unread = 0;
	if (s->opened > 0) {
		got = (ssize_t)take_opened(c, p, room);
	} else if (c->broken) {
		return LT_CONN_FAILED;
	} else if (s->is_over) {
		return 0;
	} else {
		if (have > 0)
			memcpy(w, s->in.p + s->in.at, have);
		if (!is_whole(w, have)) {
			ssize_t n = receive(c, w + have, LT_SCRATCH_BYTES);

			if (n <= 0) /* no end without END */
				return n == 0 ? LT_CONN_FAILED : n;
			have += (size_t)n;
		}
		got = open_all(c, w, have, p, room);
		if (got == 0 && !c->broken && !s->is_over)
			got = LT_CONN_WAIT;
		else if (got == 0)
			return c->broken ? LT_CONN_FAILED : 0;
	}
	/* The end, or a failure, is met by the next step. */
	c->unread = s->opened > 0 || s->is_over || c->broken ||
		    is_whole(s->in.p + s->in.at, s->in.bytes);
	return got;
}

/* --- handshake -------------------------------------------------------------
 */

static int
begin(struct lt_conn *c)
{
	c->sealed = lt_vault_get(c->channels->vault);
	if (c->sealed == NULL)
		return LEAT_E_NOMEM;
	lt_channel_init(&c->sealed->channel, c->channels->own, NULL);
	return LEAT_OK;
}

/* One shared key says whether the peer knows ours; a pair and one more make the
 * answer. */
static int
meet(struct lt_conn *c)
{
	struct lt_sealed *s = c->sealed;
	uint8_t answer[LT_CHANNEL_ANSWER];

	if (lt_channel_greet(&s->channel, s->hello) != LEAT_OK ||
	    lt_channel_answer(&s->channel, answer) != LEAT_OK)
		return fail(c);
	s->is_greeted = 1;
	s->used = 0;
	return push(c, answer, sizeof answer);
}

/* The one place that decides: who has no grant, no more or not yet, hears
 * nothing. */
static int
let_in(struct lt_conn *c)
{
	struct lt_sealed *s = c->sealed;

	if (lt_channel_accept(&s->channel, s->hello) != LEAT_OK)
		return fail(c);
	memcpy(s->key, lt_channel_peer(&s->channel), sizeof s->key);
	s->is_proven = 1;
	if (!lt_channels_admits(c)) {
		lt_conn_doom(c, LT_NET_STRANGER);
		return LT_CONN_FAILED;
	}
	if (seal(c, 0, 0) != LEAT_OK)
		return fail(c);
	return push(c, c->net->record, LT_CHANNEL_OVER);
}

static int
greet(struct lt_conn *c)
{
	struct lt_sealed *s = c->sealed;
	size_t want = s->is_greeted ? LT_CHANNEL_PROOF : LT_CHANNEL_HELLO;
	int rc = 1;

	if (s->out.bytes > 0) {
		rc = push_rest(c);
	} else {
		if (c->net->shaken == LT_ROUND_SHAKES)
			return LT_CONN_WAIT; /* readable in the next round */
		ssize_t n = receive(c, s->hello + s->used, want - s->used);
		if (n == 0)
			lt_conn_doom(c, LT_NET_PEER);
		if (n <= 0)
			return n == 0 ? LT_CONN_FAILED : (int)n;
		s->used += (size_t)n;
		if (s->used < want)
			return LT_CONN_WAIT;
		c->net->shaken++;
		rc = s->is_greeted ? let_in(c) : meet(c);
	}
	c->turned = rc == LT_CONN_WAIT;
	return rc == 1 && !s->is_proven ? LT_CONN_WAIT : rc;
}

static void
end(struct lt_conn *c)
{
	if (c->sealed == NULL)
		return;
	drop(c, &c->sealed->in);
	drop(c, &c->sealed->out);
	lt_vault_put(c->channels->vault, c->sealed);
	c->sealed = NULL;
}

const struct lt_transport lt_channels_transport = {
    .refusal = LT_NET_CHANNEL_BAD,
    .begin = begin,
    .greet = greet,
    .take = take,
    .give = give,
    .bye = bye,
    .end = end,
};

/* --- who they are ----------------------------------------------------------
 */

const uint8_t *
lt_conn_key(const struct lt_conn *c)
{
	return c->channels != NULL && c->sealed != NULL && c->sealed->is_proven
		   ? c->sealed->key
		   : NULL;
}

int
lt_channels_admits(struct lt_conn *c)
{
	const struct lt_net_owner *owner = c->net->owner;

	return owner->admit != NULL &&
	       owner->admit(c, c->sealed->key, c->net->user);
}

int
lt_channels_welcomes(struct lt_channels *all, uint32_t ip, uint64_t now_ms)
{
	return lt_bucket_take(all->buckets, ip, now_ms);
}

size_t
lt_channels_pieces(struct lt_channels *all)
{
	return lt_vault_used(all->vault);
}

int
lt_channels_create(
    const uint8_t secret[LT_SECRET_KEY], struct lt_channels **out)
{
	struct lt_channels *all = lt_mem_alloc(sizeof *all);
	int rc;

	if (all == NULL)
		return LEAT_E_NOMEM;
	_Static_assert(sizeof(struct lt_sealed) >= sizeof *all->own, "piece");
	rc = lt_vault_create(sizeof(struct lt_sealed), &all->vault);
	if (rc == LEAT_OK)
		rc = lt_bucket_create(
		    LT_NET_HELLOS_S, LT_NET_HELLOS_BURST, &all->buckets);
	if (rc == LEAT_OK && (all->own = lt_vault_get(all->vault)) == NULL)
		rc = LEAT_E_NOMEM;
	if (rc != LEAT_OK) {
		lt_channels_destroy(all);
		return rc;
	}
	memcpy(all->own->secret, secret, LT_SECRET_KEY);
	lt_secret_public(all->own->public, secret);
	*out = all;
	return LEAT_OK;
}

void
lt_channels_destroy(struct lt_channels *all)
{
	if (all == NULL)
		return;
	lt_vault_destroy(all->vault);
	lt_bucket_destroy(all->buckets);
	lt_mem_free(all);
}
