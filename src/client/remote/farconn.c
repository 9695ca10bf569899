/*
 * farconn.c - one connection to a name server or broker: connecting without
 * waiting, whole frames in, buffered bytes out, and the back-off of a peer that
 * is away: 1 s, x 1.6, with a jitter of a fifth, at most 120 s.
 *
 * A peer is a stranger: a frame's size is checked before there is room made for
 * it, and a frame that makes no sense ends the connection.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/sys.h"

#define BACKOFF_MS 1000u
#define BACKOFF_MAX_MS 120000u
#define RX_ROOM 65536u
#define RX_KEEP                                                                \
	(1u << 20) /* a larger buffer is given back when it is empty           \
		    */

struct lt_farconn *
lt_farconn_of(struct lt_far *far, const char *addr)
{
	struct lt_farconn *c;

	for (c = far->conns; c != NULL; c = c->next)
		if (strcmp(c->addr, addr) == 0)
			return c;
	if (strlen(addr) >= sizeof(c->addr))
		return NULL;
	c = lt_mem_alloc(sizeof(*c));
	if (c == NULL)
		return NULL;
	strcpy(c->addr, addr);
	c->far = far;
	c->fd = -1;
	lt_buffer_init(&c->tx, LT_FAR_TX_MAX);
	c->next = far->conns;
	far->conns = c;
	return c;
}

void
lt_farconn_free(struct lt_farconn *c)
{
	if (c->fd >= 0)
		lt_sys.close(c->fd);
	lt_farchannel_close(c);
	lt_buffer_fini(&c->tx);
	lt_mem_free(c->rx);
	lt_mem_free(c);
}

static void
back_off(struct lt_farconn *c)
{
	uint32_t fifth, ms;

	if (c->backoff_ms == 0)
		c->backoff_ms = BACKOFF_MS;
	fifth = c->backoff_ms / 5;
	ms = c->backoff_ms - fifth +
	     (uint32_t)(lt_clock_mono_ns() / 1000 % (2 * fifth + 1));
	c->try_at = lt_clock_mono_ms() + ms;
	c->backoff_ms = c->backoff_ms * 8 / 5;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
}

void
lt_farconn_down(struct lt_farconn *c, int status)
{
	if (c->fd >= 0)
		lt_sys.close(c->fd);
	c->fd = -1;
	lt_farchannel_close(c);
	c->is_connecting = c->wants_out = c->knows_us = 0;
	if (c->refused == LT_FAR_UNKNOWN_KEY)
		c->unknown_times++;
	else
		c->unknown_times = 0;
	c->rx_bytes = c->tx_at = 0;
	lt_buffer_clear(&c->tx);
	back_off(c);
	lt_farhome_down(c->far);
	lt_farask_fail(c, status);
}

/* host:port into addresses; NULL if there are none. */
static struct addrinfo *
resolve(const char *addr)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char host[LT_FAR_ADDR];
	size_t bytes;

	if (lt_bytes_port(addr, &bytes) <= 0)
		return NULL;
	snprintf(host, sizeof host, "%.*s", (int)bytes, addr);
	if (bytes > 1 && host[0] == '[' && host[bytes - 1] == ']') {
		host[bytes - 1] = '\0';
		memmove(host, host + 1, bytes - 1);
	}
	return getaddrinfo(host, strrchr(addr, ':') + 1, &hints, &list) == 0
		   ? list
		   : NULL;
}

static int
watch(struct lt_farconn *c, int op, int out)
{
	struct epoll_event ev = {
	    .events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = c};

	c->wants_out = out;
	return epoll_ctl(c->far->epoll, op, c->fd, &ev);
}

int
lt_farconn_up(struct lt_farconn *c)
{
	struct addrinfo *list, *a;
	int on = 1;

	if (c->fd >= 0)
		return LEAT_OK;
	if (c->try_at != 0 && lt_clock_mono_ms() < c->try_at)
		return c->refused == LT_FAR_WELCOME ? LEAT_E_UNREACHABLE
						    : LEAT_E_DENIED;
	c->refused = LT_FAR_WELCOME;
	list = resolve(c->addr);
	for (a = list; a != NULL && c->fd < 0; a = a->ai_next) {
		c->fd = socket(a->ai_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			continue;
		(void)setsockopt(
		    c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if ((lt_sys.connect(c->fd, a->ai_addr, a->ai_addrlen) != 0 &&
			errno != EINPROGRESS) ||
		    watch(c, EPOLL_CTL_ADD, 1) != 0) {
			lt_sys.close(c->fd);
			c->fd = -1;
		}
	}
	if (list != NULL)
		freeaddrinfo(list);
	if (c->fd < 0) {
		back_off(c);
		return LEAT_E_UNREACHABLE;
	}
	c->is_connecting = 1;
	c->beat_at = 0;
	c->deadline = lt_clock_mono_ms() + LT_FAR_CONNECT_MS;
	return LEAT_OK;
}

/* What was sent makes room, without moving every byte often. */
static void
compact(struct lt_farconn *c)
{
	if (c->tx_at < c->tx.bytes / 2 || c->tx_at == 0)
		return;
	memmove(c->tx.p, c->tx.p + c->tx_at, c->tx.bytes - c->tx_at);
	c->tx.bytes -= c->tx_at;
	c->tx_at = 0;
}

/* OK: all is out; AGAIN: the socket is full. */
static int
send_plain(struct lt_farconn *c)
{
	while (c->tx_at < c->tx.bytes) {
		struct iovec v = {c->tx.p + c->tx_at, c->tx.bytes - c->tx_at};
		struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
		ssize_t n = lt_sys.sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? LEAT_E_AGAIN
					       : LEAT_E_UNREACHABLE;
		c->tx_at += (size_t)n;
	}
	return LEAT_OK;
}

void
lt_farconn_flush(struct lt_farconn *c)
{
	int status;

	/* A channel has to send before it is up. */
	if (c->fd < 0 || (c->is_connecting && c->channel == NULL))
		return;
	status = c->channel != NULL ? lt_farchannel_send(c) : send_plain(c);
	if (status == LEAT_E_AGAIN) {
		compact(c);
		if (!c->wants_out && watch(c, EPOLL_CTL_MOD, 1) != 0)
			status = LEAT_E_UNREACHABLE;
		else
			return;
	}
	if (status != LEAT_OK) {
		lt_farconn_down(c, status);
		return;
	}
	if (c->tx_at == c->tx.bytes) {
		lt_buffer_clear(&c->tx);
		c->tx_at = 0;
	}
	if (c->wants_out && watch(c, EPOLL_CTL_MOD, 0) != 0)
		lt_farconn_down(c, LEAT_E_UNREACHABLE);
}

static int
connected(struct lt_farconn *c)
{
	socklen_t bytes = sizeof(int);
	int err = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &bytes) != 0 ||
	    err != 0)
		return LEAT_E_UNREACHABLE;
	if (c->far->keys != NULL)
		return c->channel == NULL ? lt_farchannel_open(c) : LEAT_OK;
	c->is_connecting = 0;
	return LEAT_OK;
}

int
lt_farconn_room(struct lt_farconn *c, size_t bytes)
{
	uint8_t *p;

	if (bytes <= c->rx_room)
		return LEAT_OK;
	if (bytes < RX_ROOM)
		bytes = RX_ROOM;
	p = lt_mem_resize(c->rx, bytes);
	if (p == NULL)
		return LEAT_E_NOMEM;
	c->rx = p;
	c->rx_room = bytes;
	return LEAT_OK;
}

/* Hand over every whole frame; keep what is left. */
static int
frames(struct lt_farconn *c)
{
	struct lt_remoting_frame frame;
	size_t at = 0, need = 0;
	int status = LEAT_OK;

	while (status == LEAT_OK && at < c->rx_bytes) {
		status =
		    lt_remoting_frame(c->rx + at, c->rx_bytes - at, &frame);
		if (status == LEAT_OK) {
			status = lt_farask_frame(c, &frame);
			at += frame.bytes;
			if (c->fd < 0) /* a callback gave it up */
				return LEAT_OK;
		} else if (status == LEAT_E_AGAIN) {
			need = frame.bytes;
		}
	}
	if (status != LEAT_OK && status != LEAT_E_AGAIN)
		return LEAT_E_CORRUPT;
	c->rx_bytes -= at;
	if (at != 0 && c->rx_bytes != 0)
		memmove(c->rx, c->rx + at, c->rx_bytes);
	if (c->rx_bytes == 0 && c->rx_room > RX_KEEP) {
		lt_mem_free(c->rx);
		c->rx = NULL;
		c->rx_room = 0;
	}
	return lt_farconn_room(c, need);
}

/* One look at the socket: what came is behind rx. AGAIN: nothing did. */
static int
receive_plain(struct lt_farconn *c)
{
	int status = lt_farconn_room(c, 1);
	ssize_t n;

	if (status != LEAT_OK)
		return status;
	do
		n = lt_sys.recv(
		    c->fd, c->rx + c->rx_bytes, c->rx_room - c->rx_bytes, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return LEAT_E_AGAIN;
	if (n <= 0)
		return LEAT_E_UNREACHABLE;
	c->rx_bytes += (size_t)n;
	return LEAT_OK;
}

static int
receive(struct lt_farconn *c)
{
	int status, i;

	/* Other connections want their turn too. */
	for (i = 0; i < 16; i++) {
		status = c->channel != NULL ? lt_farchannel_receive(c)
					    : receive_plain(c);
		if (status != LEAT_OK)
			return status == LEAT_E_AGAIN ? LEAT_OK : status;
		if (c->is_connecting)
			continue;
		c->backoff_ms = 0; /* it speaks */
		status = frames(c);
		if (status != LEAT_OK || c->fd < 0)
			return status;
	}
	return LEAT_OK;
}

void
lt_farconn_event(struct lt_farconn *c, uint32_t events)
{
	int status = LEAT_OK;

	if (c->fd < 0)
		return;
	if (c->is_connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		status = connected(c);
	if (status == LEAT_OK && (!c->is_connecting || c->channel != NULL) &&
	    (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		status = receive(c);
	if (status != LEAT_OK && c->is_connecting && c->channel != NULL) {
		lt_farchannel_refused(c);
		status = LEAT_E_DENIED;
	}
	if (status != LEAT_OK && c->fd >= 0)
		lt_farconn_down(c, status);
	else
		lt_farconn_flush(c);
}
