/*
 * conn.c - the life of one connection: slot and id, phases, what it waits for,
 * lists in order of time, the end. Nothing here frees a connection but
 * lt_conn_bury, behind the round.
 */
#include "config.h"
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define SLOT_BITS 20
#define NUMBER_SHIFT 52

/* --- phases -------------------------------------------------------------- */

/* How many are as this one is. */
static uint64_t *
secured(struct lt_conn *c)
{
	return c->mode == LT_NET_CHANNEL ? &c->net->seen.channels
					 : &c->net->seen.tls;
}

/* The first byte says who speaks TLS; it stays in the socket. */
static void
sniff(struct lt_conn *c)
{
	uint8_t first;
	ssize_t n;

	do
		n = lt_sys.recv(c->fd, &first, 1, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno != EAGAIN)
			lt_conn_doom(c, LT_NET_ERROR);
		return;
	}
	if (n == 0) {
		lt_conn_doom(c, LT_NET_PEER);
		return;
	}
	int is_tls = first == 0x16; /* a record of the handshake */
	if (c->mode == LT_NET_CHANNEL) {
		c->transport = &lt_channels_transport;
	} else if (is_tls ? c->mode == LT_NET_TLS_OFF
			  : c->mode == LT_NET_TLS_ONLY) {
		lt_conn_doom(c, LT_NET_TLS);
		return;
	} else if (is_tls) {
		c->transport = &lt_tls_transport;
	}
	if (c->transport != NULL && c->transport->begin(c) != LEAT_OK) {
		lt_conn_doom(c, LT_NET_MEMORY);
		return;
	}
	c->phase = c->transport != NULL ? LT_PHASE_HELLO : LT_PHASE_UP;
	if (c->unsent > 0 || c->drain)
		lt_conn_dirty(c);
}

static void
greet(struct lt_conn *c)
{
	int rc = c->transport->greet(c);

	if (rc == LT_CONN_FAILED)
		lt_conn_doom(c, c->transport->refusal);
	if (rc != 1)
		return;
	c->phase = LT_PHASE_UP;
	c->secure = 1;
	*secured(c) += 1;
	if (c->shaking) {
		c->net->seen.handshakes++;
		lt_conn_met(c);
		c->shaking = 0;
		lt_conn_greet(c); /* the first frame */
	}
	/* What came behind the handshake may be inside of it already. */
	c->unread = 1;
	lt_conn_again(c);
	if (c->unsent > 0 || c->drain)
		lt_conn_dirty(c);
}

static void
connected(struct lt_conn *c)
{
	int err = 0;
	socklen_t bytes = sizeof err;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &bytes) != 0 ||
	    err != 0) {
		lt_conn_doom(c, LT_NET_UNREACHED);
		return;
	}
	c->phase = LT_PHASE_UP;
	c->net->seen.connected++;
	lt_conn_met(c);
	lt_conn_touch(c);
	lt_conn_dirty(c);
	if (c->net->owner->opened != NULL)
		c->net->owner->opened(c, c->net->user);
}

static void
discard(struct lt_conn *c)
{
	struct lt_net *net = c->net;
	ssize_t n =
	    lt_sys.recv(c->fd, net->scratch, sizeof net->scratch, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		lt_conn_doom(c, LT_NET_OWNER);
}

static void
happened(evutil_socket_t fd, short what, void *user)
{
	struct lt_conn *c = user;

	switch (c->phase) {
	case LT_PHASE_CONNECT:
		connected(c);
		break;
	case LT_PHASE_SNIFF:
		sniff(c);
		if (c->phase == LT_PHASE_HELLO)
			greet(c);
		else if (c->phase == LT_PHASE_UP)
			lt_inbound_ready(c);
		break;
	case LT_PHASE_HELLO:
		greet(c);
		break;
	case LT_PHASE_UP:
		if (what & EV_WRITE) {
			c->blocked = 0;
			lt_conn_dirty(c);
		}
		if ((what & EV_READ) || c->turned)
			lt_inbound_ready(c);
		break;
	case LT_PHASE_LINGER:
		discard(c);
		break;
	case LT_PHASE_DEAD:
		break;
	}
	lt_conn_watch(c);
	lt_net_enforce(c->net);
}

static short
wanted(const struct lt_conn *c)
{
	switch (c->phase) {
	case LT_PHASE_CONNECT:
		return EV_WRITE;
	case LT_PHASE_SNIFF:
	case LT_PHASE_LINGER:
		return EV_READ;
	case LT_PHASE_HELLO:
		return c->turned ? EV_WRITE : EV_READ;
	case LT_PHASE_UP:
		return (c->eof || c->drain || c->full || c->more ? 0
			   : c->turned				 ? EV_WRITE
								 : EV_READ) |
		       (c->blocked ? EV_WRITE : 0);
	case LT_PHASE_DEAD:
		break;
	}
	return 0;
}

void
lt_conn_watch(struct lt_conn *c)
{
	short events = wanted(c);

	if (c->phase == LT_PHASE_DEAD || events == c->interest || c->is_dirty)
		return; /* dirty: again when it was written */
	if (c->interest != 0)
		event_del(&c->event);
	c->interest = events;
	if (events != 0 && (event_assign(&c->event, c->net->base, c->fd,
				events | EV_PERSIST, happened, c) != 0 ||
			       event_add(&c->event, NULL) != 0)) {
		c->interest = 0;
		lt_conn_doom(c, LT_NET_ERROR);
	}
}

/* --- lists --------------------------------------------------------------- */

void
lt_conn_touch(struct lt_conn *c)
{
	uint64_t now = lt_net_now(c->net);

	if (c->active_ms == now)
		return;
	c->active_ms = now;
	TAILQ_REMOVE(&c->net->idle, c, idle);
	TAILQ_INSERT_TAIL(&c->net->idle, c, idle);
}

/* Two lists, since handshakes have less time. */
static struct lt_conns *
greeters(struct lt_conn *c)
{
	return c->shaking ? &c->net->shaking : &c->net->greeting;
}

void
lt_conn_met(struct lt_conn *c)
{
	if (!c->greeting)
		return;
	TAILQ_REMOVE(greeters(c), c, hello);
	c->greeting = 0;
	c->net->seen.half_open -= c->shaking;
}

void
lt_conn_greet(struct lt_conn *c)
{
	lt_conn_met(c);
	c->since_ms = lt_net_now(c->net);
	TAILQ_INSERT_TAIL(greeters(c), c, hello);
	c->greeting = 1;
	c->net->seen.half_open += c->shaking;
}

void
lt_conn_shake(struct lt_conn *c)
{
	struct lt_net *net = c->net;

	lt_conn_met(c);
	c->shaking = 1;
	lt_conn_greet(c);
	if (net->limits.half_open != 0 &&
	    net->seen.half_open > net->limits.half_open)
		lt_conn_doom(TAILQ_FIRST(&net->shaking), LT_NET_HALF);
}

void
lt_conn_wait(struct lt_conn *c, int waits)
{
	if (c->waiting)
		TAILQ_REMOVE(&c->net->stalled, c, stalled);
	c->waiting = waits != 0;
	if (!waits)
		return;
	c->stall_ms = lt_net_now(c->net);
	TAILQ_INSERT_TAIL(&c->net->stalled, c, stalled);
}

void
lt_conn_dirty(struct lt_conn *c)
{
	if (c->is_dirty || c->phase == LT_PHASE_DEAD)
		return;
	c->is_dirty = 1;
	TAILQ_INSERT_TAIL(&c->net->dirty, c, dirty);
}

void
lt_conn_again(struct lt_conn *c)
{
	if (c->again || c->phase == LT_PHASE_DEAD)
		return;
	c->again = 1;
	TAILQ_INSERT_TAIL(&c->net->backlog, c, backlog);
}

void
lt_conn_expire(struct lt_net *net)
{
	const struct lt_net_limits *limits = &net->limits;
	uint64_t now = lt_net_now(net);
	struct lt_conn *c;

	while (limits->hello_ms != 0 &&
	       (c = TAILQ_FIRST(&net->greeting)) != NULL &&
	       now - c->since_ms >= limits->hello_ms)
		lt_conn_doom(c, c->phase == LT_PHASE_CONNECT  ? LT_NET_UNREACHED
				: c->phase == LT_PHASE_LINGER ? LT_NET_OWNER
							      : LT_NET_HELLO);
	while (limits->shake_ms != 0 &&
	       (c = TAILQ_FIRST(&net->shaking)) != NULL &&
	       now - c->since_ms >= limits->shake_ms)
		lt_conn_doom(c, LT_NET_HELLO);
	while (limits->stall_ms != 0 &&
	       (c = TAILQ_FIRST(&net->stalled)) != NULL &&
	       now - c->stall_ms >= limits->stall_ms)
		lt_conn_doom(c, LT_NET_STALL);
	while (limits->idle_ms != 0 && (c = TAILQ_FIRST(&net->idle)) != NULL &&
	       now - c->active_ms >= limits->idle_ms)
		lt_conn_doom(c, LT_NET_IDLE);
}

void
lt_conn_memory(struct lt_conn *c, ssize_t more)
{
	c->memory += (size_t)more;
	c->net->seen.memory += (uint64_t)more;
}

/* --- birth and death ----------------------------------------------------- */

static void
print_address(const struct sockaddr_in *address, char out[LT_NET_ADDRESS_TEXT])
{
	char text[INET_ADDRSTRLEN] = "?";

	inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
	snprintf(out, LT_NET_ADDRESS_TEXT, "%s:%u", text,
	    (unsigned)ntohs(address->sin_port));
}

struct lt_conn *
lt_conn_create(struct lt_net *net, int fd, const struct sockaddr_in *address,
    int tag, enum lt_phase phase)
{
	uint32_t slot = net->free_slot;
	struct lt_conn *c = NULL;

	/* The dead of this round still have theirs. */
	if (slot < net->limits.connections)
		c = lt_mem_alloc(sizeof(*c));
	if (c == NULL) {
		net->seen.refused++;
		lt_sys.close(fd);
		return NULL;
	}
	net->free_slot = net->slots[slot].next;
	net->slots[slot].c = c;
	if (++net->slots[slot].generation == 0)
		net->slots[slot].generation = 1;
	c->net = net;
	c->id = (uint64_t)net->number << NUMBER_SHIFT | (uint64_t)slot << 32 |
		net->slots[slot].generation;
	c->fd = fd;
	c->tag = tag;
	c->phase = phase;
	c->address = *address;
	print_address(address, c->peer);
	TAILQ_INIT(&c->out);
	c->active_ms = lt_net_now(net);
	TAILQ_INSERT_TAIL(&net->idle, c, idle);
	lt_conn_greet(c);
	net->seen.current++;
	return c;
}

void
lt_conn_doom(struct lt_conn *c, enum lt_net_reason reason)
{
	struct lt_net *net = c->net;

	if (c->phase == LT_PHASE_DEAD)
		return;
	/* Known by name to no new caller from here on. */
	net->slots[c->id >> 32 & ((1u << SLOT_BITS) - 1)].c = NULL;
	lt_conn_met(c);
	lt_conn_wait(c, 0);
	if (c->is_dirty)
		TAILQ_REMOVE(&net->dirty, c, dirty);
	if (c->again)
		TAILQ_REMOVE(&net->backlog, c, backlog);
	c->is_dirty = c->again = 0;
	TAILQ_REMOVE(&net->idle, c, idle);
	TAILQ_INSERT_TAIL(&net->dead, c, idle);
	if (c->transport != NULL && c->phase == LT_PHASE_UP &&
	    reason != LT_NET_ERROR)
		c->transport->bye(c);
	if (c->interest != 0)
		event_del(&c->event);
	c->interest = 0;
	c->phase = LT_PHASE_DEAD;
	c->reason = reason;
	net->seen.closed[reason]++;
	net->seen.current--;
	*secured(c) -= c->secure;
}

void
lt_conn_failed(struct lt_conn *c)
{
	lt_conn_doom(c, c->broken ? c->transport->refusal : LT_NET_ERROR);
}

/* One round's worth; who is closed by a callback in here follows. */
void
lt_conn_bury(struct lt_net *net)
{
	struct lt_conn *c;

	while ((c = TAILQ_FIRST(&net->dead)) != NULL) {
		uint32_t slot = c->id >> 32 & ((1u << SLOT_BITS) - 1);

		TAILQ_REMOVE(&net->dead, c, idle);
		lt_inbound_drop(c);
		lt_outbound_drop(c);
		lt_sys.close(c->fd);
		if (net->owner->closed != NULL)
			net->owner->closed(c, net->user);
		if (c->transport != NULL)
			c->transport->end(c);
		net->slots[slot].next = net->free_slot;
		net->free_slot = slot;
		lt_mem_free(c);
	}
}

/* Everything was sent: say so, and wait for the peer to close. */
void
lt_conn_linger(struct lt_conn *c)
{
	if (c->transport != NULL)
		c->transport->bye(c);
	if (c->eof || shutdown(c->fd, SHUT_WR) != 0) {
		lt_conn_doom(c, LT_NET_OWNER);
		return;
	}
	c->phase = LT_PHASE_LINGER;
	lt_inbound_drop(c);
	lt_conn_greet(c);
}

ssize_t
lt_conn_take(struct lt_conn *c, void *p, size_t room)
{
	ssize_t n;

	if (c->transport != NULL)
		return c->transport->take(c, p, room);
	do
		n = lt_sys.recv(c->fd, p, room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? LT_CONN_WAIT : LT_CONN_FAILED;
	return n;
}

/* --- what the owner asks ------------------------------------------------- */

uint64_t
lt_conn_id(const struct lt_conn *c)
{
	return c->id;
}

uint32_t
lt_net_number(const struct lt_net *net)
{
	return net->number;
}

uint32_t
lt_net_number_of(uint64_t conn)
{
	return (uint32_t)(conn >> NUMBER_SHIFT);
}

struct lt_conn *
lt_conn_find(struct lt_net *net, uint64_t id)
{
	uint32_t slot = id >> 32 & ((1u << SLOT_BITS) - 1);

	if (id >> NUMBER_SHIFT != net->number ||
	    slot >= net->limits.connections)
		return NULL;
	struct lt_conn *c = net->slots[slot].c;
	return c != NULL && c->id == id ? c : NULL;
}

int
lt_conn_tag(const struct lt_conn *c)
{
	return c->tag;
}

const char *
lt_conn_peer(const struct lt_conn *c)
{
	return c->peer;
}

const struct sockaddr_in *
lt_conn_address(const struct lt_conn *c)
{
	return &c->address;
}

void
lt_conn_local(const struct lt_conn *c, char out[LT_NET_ADDRESS_TEXT])
{
	struct sockaddr_in at = {0};
	socklen_t bytes = sizeof at;

	(void)getsockname(c->fd, (struct sockaddr *)&at, &bytes);
	print_address(&at, out);
}

int
lt_conn_is_secure(const struct lt_conn *c)
{
	return c->secure;
}

int
lt_conn_is_unshaken(const struct lt_conn *c)
{
	return c->mode == LT_NET_CHANNEL && c->transport != NULL && !c->secure;
}

enum lt_net_reason
lt_conn_reason(const struct lt_conn *c)
{
	return c->reason;
}

struct lt_principal *
lt_conn_who(struct lt_conn *c)
{
	return &c->who;
}

void
lt_net_each(
    struct lt_net *net, void (*each)(struct lt_conn *c, void *user), void *user)
{
	struct lt_conn *c, *next;

	/* Who is closed goes to another list, but only that one. */
	for (c = TAILQ_FIRST(&net->idle); c != NULL; c = next) {
		next = TAILQ_NEXT(c, idle);
		each(c, user);
	}
}

void
lt_conn_user_set(struct lt_conn *c, void *user)
{
	c->user = user;
}

void *
lt_conn_user(const struct lt_conn *c)
{
	return c->user;
}

void
lt_conn_owe(struct lt_conn *c, int replies)
{
	c->owed += replies;
	LT_ASSERT(c->owed >= 0);
	if (c->owed == 0)
		lt_conn_dirty(c);
}

void
lt_conn_close(struct lt_conn *c)
{
	lt_conn_doom(c, LT_NET_OWNER);
}

void
lt_conn_drain(struct lt_conn *c)
{
	if (c->phase == LT_PHASE_LINGER)
		return;
	c->drain = 1;
	lt_conn_dirty(c);
}
