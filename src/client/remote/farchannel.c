/*
 * farchannel.c - a connection's bytes inside the Leat channel: the handshake,
 * then what is sent sealed a record at a time, what comes opened and put where
 * plain bytes would have come. farconn.c owns socket and buffers.
 *
 * Who hangs up, and when, says why: before its answer the broker does not have
 * the key that we were given (or is too busy for strangers); behind our proof
 * it is that broker, and does not know us.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/sys.h"
#include "proto/channel.h"

#define RAW_ROOM (2u * LT_CHANNEL_RECORD_MAX)

enum step {
	STEP_ANSWER, /* hello is out */
	STEP_KNOWN, /* proof is out, the broker's first record is to come */
	STEP_UP,
	STEP_ENDED /* its last record has come */
};

struct lt_farchannel {
	struct lt_channel ch;
	enum step step;
	size_t raw_bytes; /* received, not opened */
	size_t out_bytes, out_at; /* sealed; sent of that */
	uint8_t raw[RAW_ROOM];
	uint8_t out[LT_CHANNEL_RECORD_MAX];
};

/* --- keys ------------------------------------------------------------------
 */

int
lt_farchannel_keys(struct lt_far *far, const struct lt_noise_pair *own,
    const uint8_t broker[LT_SECRET_KEY])
{
	struct lt_farkeys *k = lt_mem_alloc(sizeof(*k));

	if (k == NULL)
		return LEAT_E_NOMEM;
	(void)!lt_secret_lock(k, sizeof(*k)); /* as far as the limit allows */
	k->own = *own;
	memcpy(k->broker, broker, LT_SECRET_KEY);
	far->keys = k;
	return LEAT_OK;
}

void
lt_farchannel_forget(struct lt_far *far)
{
	if (far->keys == NULL)
		return;
	lt_secret_wipe(far->keys, sizeof(*far->keys));
	lt_secret_unlock(far->keys, sizeof(*far->keys));
	lt_mem_free(far->keys);
	far->keys = NULL;
}

/* --- opening and closing ---------------------------------------------------
 */

static int
send_out(struct lt_farconn *c)
{
	struct lt_farchannel *x = c->channel;
	struct iovec v = {x->out + x->out_at, x->out_bytes - x->out_at};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t n;

	do
		n = lt_sys.sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? LEAT_E_AGAIN : LEAT_E_UNREACHABLE;
	x->out_at += (size_t)n;
	if (x->out_at < x->out_bytes)
		return LEAT_E_AGAIN;
	x->out_at = x->out_bytes = 0;
	return LEAT_OK;
}

int
lt_farchannel_open(struct lt_farconn *c)
{
	struct lt_farchannel *x = lt_mem_alloc(sizeof(*x));
	int status;

	if (x == NULL)
		return LEAT_E_NOMEM;
	(void)!lt_secret_lock(&x->ch, sizeof(x->ch));
	lt_channel_init(&x->ch, &c->far->keys->own, c->far->keys->broker);
	c->channel = x;
	status = lt_channel_hello(&x->ch, x->out);
	if (status != LEAT_OK)
		return LEAT_E_DENIED; /* no key of a broker */
	x->out_bytes = LT_CHANNEL_HELLO;
	return LEAT_OK;
}

void
lt_farchannel_close(struct lt_farconn *c)
{
	struct lt_farchannel *x = c->channel;

	if (x == NULL)
		return;
	c->channel = NULL;
	lt_channel_fini(&x->ch);
	lt_secret_unlock(&x->ch, sizeof(x->ch));
	lt_mem_free(x);
}

void
lt_farchannel_refused(struct lt_farconn *c)
{
	c->refused = c->channel->step == STEP_ANSWER ? LT_FAR_OTHER_BROKER
						     : LT_FAR_UNKNOWN_KEY;
}

/* --- out --------------------------------------------------------------------
 */

int
lt_farchannel_send(struct lt_farconn *c)
{
	struct lt_farchannel *x = c->channel;
	int status = LEAT_OK;
	size_t n;

	for (;;) {
		if (x->out_at < x->out_bytes)
			status = send_out(c);
		n = c->tx.bytes - c->tx_at;
		if (status != LEAT_OK || n == 0 || x->step != STEP_UP)
			return status;
		if (n > LT_CHANNEL_PLAIN_MAX)
			n = LT_CHANNEL_PLAIN_MAX;
		memcpy(x->out + LT_CHANNEL_HEAD, c->tx.p + c->tx_at, n);
		status =
		    lt_channel_seal(&x->ch, x->out, n, 0, lt_clock_mono_ms());
		if (status != LEAT_OK)
			return LEAT_E_CORRUPT;
		x->out_bytes = n + LT_CHANNEL_OVER;
		c->tx_at += n;
	}
}

/* --- in ---------------------------------------------------------------------
 */

/* The broker's answer to our hello. */
static int
finish(struct lt_farconn *c)
{
	struct lt_farchannel *x = c->channel;

	if (lt_channel_finish(&x->ch, x->raw, x->out) != LEAT_OK)
		return LEAT_E_CORRUPT;
	x->out_bytes = LT_CHANNEL_PROOF;
	x->step = STEP_KNOWN;
	return LEAT_OK;
}

static int
put(struct lt_farconn *c, const uint8_t *p, size_t bytes)
{
	int status;

	if (bytes > c->rx_room - c->rx_bytes) {
		status = lt_farconn_room(c, c->rx_bytes + bytes);
		if (status != LEAT_OK)
			return status;
	}
	memcpy(c->rx + c->rx_bytes, p, bytes);
	c->rx_bytes += bytes;
	return LEAT_OK;
}

/* The record that begins at *at, if all of it is there. */
static int
open_next(struct lt_farconn *c, size_t *at)
{
	struct lt_farchannel *x = c->channel;
	uint8_t *plain;
	size_t bytes;
	int64_t size = lt_channel_cut(x->raw + *at, x->raw_bytes - *at);
	int status;

	if (size < 0)
		return LEAT_E_CORRUPT;
	if (size == 0 || (size_t)size > x->raw_bytes - *at)
		return LEAT_E_AGAIN;
	status =
	    lt_channel_open(&x->ch, x->raw + *at, (size_t)size, &plain, &bytes);
	if (status != LEAT_OK && status != LEAT_E_CLOSED)
		return LEAT_E_CORRUPT;
	*at += (size_t)size;
	x->step = status == LEAT_OK ? STEP_UP : STEP_ENDED;
	c->is_connecting = 0;
	return bytes == 0 ? LEAT_OK : put(c, plain, bytes);
}

int
lt_farchannel_receive(struct lt_farconn *c)
{
	struct lt_farchannel *x = c->channel;
	size_t at = 0;
	ssize_t n;
	int status = LEAT_OK;

	if (x->step == STEP_ENDED)
		return LEAT_E_UNREACHABLE;
	do
		n = lt_sys.recv(
		    c->fd, x->raw + x->raw_bytes, RAW_ROOM - x->raw_bytes, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return LEAT_E_AGAIN;
	if (n <= 0)
		return LEAT_E_UNREACHABLE;
	x->raw_bytes += (size_t)n;
	if (x->step == STEP_ANSWER) {
		if (x->raw_bytes < LT_CHANNEL_ANSWER)
			return LEAT_OK;
		status = finish(c);
		at = LT_CHANNEL_ANSWER;
	}
	while (status == LEAT_OK && x->step != STEP_ENDED)
		status = open_next(c, &at);
	x->raw_bytes -= at;
	memmove(x->raw, x->raw + at, x->raw_bytes);
	return status == LEAT_E_AGAIN ? LEAT_OK : status;
}
