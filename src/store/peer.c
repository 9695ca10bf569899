/*
 * peer.c - the socket to the queue manager. The store never waits for it: what
 * the socket does not take stays in an outbox. The outbox is bounded because
 * nothing more is read from a queue manager that does not read its answers
 * (control.c looks at peer.waiting).
 */
#include "config.h"
#include "store/duty.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "base/mem.h"
#include "leat/status.h"

struct lt_peer_msg {
	struct lt_peer_msg *next;
	size_t bytes;
	int fd; /* our duplicate, or -1 */
	uint8_t data[];
};

/* What epoll tells of the socket: not what it has to say while it does not
 * listen. */
static void
watch(struct lt_duty *d)
{
	struct lt_peer *p = &d->peer;
	struct epoll_event ev = {.data.ptr = p};

	ev.events = (p->waiting < LT_PEER_WAITING_MAX ? EPOLLIN : 0) |
		    (p->waiting > 0 ? EPOLLOUT : 0);
	if (p->fd < 0 || p->events == ev.events)
		return;
	p->events = ev.events;
	(void)epoll_ctl(d->epoll, EPOLL_CTL_MOD, p->fd, &ev);
}

static void
drop_first(struct lt_peer *p)
{
	struct lt_peer_msg *m = p->first;

	p->first = m->next;
	if (m->fd >= 0)
		close(m->fd);
	lt_mem_free(m);
}

void
lt_peer_set(struct lt_duty *d, int fd, uint64_t gen)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &d->peer};

	while (d->peer.first != NULL)
		drop_first(&d->peer);
	if (d->peer.fd >= 0)
		close(d->peer.fd); /* leaves the epoll set, too */
	memset(&d->peer, 0, sizeof(d->peer));
	d->peer.fd = fd;
	d->peer.gen = gen;
	d->peer.events = EPOLLIN;
	/* Answers go to whoever asked: forget who that was. */
	d->batch.reply_count = 0;
	if (fd >= 0) {
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		(void)epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev);
	}
}

static int
send_now(struct lt_peer *p, const void *msg, size_t bytes, int fd)
{
	return lt_fdpass_send(p->fd, msg, bytes, &fd, fd >= 0 ? 1 : 0);
}

void
lt_peer_send(struct lt_duty *d, const void *msg, size_t bytes, int fd)
{
	struct lt_peer *p = &d->peer;
	struct lt_peer_msg *m;
	int has_fd = fd >= 0;

	if (p->fd < 0)
		return;
	/* A peer that hung up is noticed where it is read. */
	if (p->first == NULL && send_now(p, msg, bytes, fd) != LEAT_E_AGAIN)
		return;
	m = lt_mem_alloc(sizeof(*m) + bytes);
	if (m != NULL && fd >= 0)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (m == NULL || (has_fd && fd < 0)) {
		lt_mem_free(m);
		/* Never answer with a gap: let it start anew. */
		lt_peer_set(d, -1, p->gen);
		return;
	}
	m->bytes = bytes;
	m->fd = fd;
	memcpy(m->data, msg, bytes);
	if (p->first == NULL)
		p->first = m;
	else
		p->last->next = m;
	p->last = m;
	p->waiting++;
	watch(d);
}

void
lt_peer_flush(struct lt_duty *d)
{
	struct lt_peer *p = &d->peer;
	struct lt_peer_msg *m;

	while (p->fd >= 0 && (m = p->first) != NULL) {
		if (send_now(p, m->data, m->bytes, m->fd) == LEAT_E_AGAIN)
			break;
		drop_first(p);
		p->waiting--;
	}
	watch(d);
}

void
lt_peer_number(
    struct lt_duty *d, enum lt_op op, uint64_t number, uint64_t value)
{
	struct lt_wire_number m;

	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, op, sizeof(m), 0, 0);
	m.number = number;
	m.value = value;
	lt_peer_send(d, &m, sizeof(m), -1);
}

void
lt_peer_status(struct lt_duty *d, const struct lt_wire *request, int status)
{
	struct lt_wire_none m;

	lt_wire_reply(&m.h, request, sizeof(m), 0, status);
	lt_peer_send(d, &m, sizeof(m), -1);
}
