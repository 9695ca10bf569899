/*
 * port.c - a non-blocking SOCK_SEQPACKET socket with a bounded out queue, the
 * same for clients, store and supervisor. Nothing here ever waits but
 * lt_port_drain, which is for the end of the process.
 */
#include "config.h"
#include "queue/queue.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdpass.h"
#include "base/mem.h"

#define READS_PER_ROUND 16

struct lt_port_msg {
	struct lt_port_msg *next;
	size_t bytes;
	size_t fd_count;
	int fds[LT_FDPASS_MAX]; /* our duplicates */
	uint8_t data[];
};

static void
close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void
arm(struct lt_port *port)
{
	uint32_t events = 0;

	if (!port->paused)
		events |= EPOLLIN;
	if (port->head != NULL)
		events |= EPOLLOUT;
	lt_loop_change(port->m, &port->source, events);
}

static void
drop_head(struct lt_port *port)
{
	struct lt_port_msg *msg = port->head;

	port->head = msg->next;
	if (port->head == NULL)
		port->tail = &port->head;
	port->queued_bytes -= sizeof(*msg) + msg->bytes;
	close_fds(msg->fds, msg->fd_count);
	lt_mem_free(msg);
}

/* LEAT_OK: all out, AGAIN: some left, else the peer is gone. */
static int
flush(struct lt_port *port)
{
	while (port->head != NULL) {
		struct lt_port_msg *msg = port->head;
		int status = lt_fdpass_send(port->source.fd, msg->data,
		    msg->bytes, msg->fds, msg->fd_count);

		if (status != LEAT_OK)
			return status;
		drop_head(port);
	}
	return LEAT_OK;
}

static int
read_one(struct lt_port *port)
{
	struct lt_manager *m = port->m;
	int fds[LT_FDPASS_MAX];
	size_t bytes, fd_count;
	int fd = port->source.fd;
	int status = lt_fdpass_recv(fd, m->inbox, sizeof(m->inbox), &bytes, fds,
	    &fd_count, MSG_DONTWAIT);

	if (status != LEAT_OK)
		return status;
	port->message(port, (struct lt_wire *)m->inbox, bytes, fds, fd_count);
	close_fds(fds, fd_count);
	return LEAT_OK;
}

static void
port_ready(struct lt_source *source, uint32_t events)
{
	struct lt_port *port = (struct lt_port *)source;
	int status;

	if (events & EPOLLOUT) {
		status = flush(port);
		if (status == LEAT_OK)
			arm(port);
		else if (status != LEAT_E_AGAIN) {
			port->hangup(port);
			return;
		}
	}
	if (port->paused) {
		/* Not read, but a hang-up is told all the same. */
		if (events & (EPOLLHUP | EPOLLERR))
			port->hangup(port);
		return;
	}
	for (int i = 0; i < READS_PER_ROUND; i++) {
		if (source->fd < 0 || port->paused)
			return;
		status = read_one(port);
		if (status == LEAT_E_AGAIN)
			return;
		if (status != LEAT_OK) {
			port->hangup(port);
			return;
		}
	}
}

int
lt_port_open(struct lt_manager *m, struct lt_port *port, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	port->m = m;
	port->source.fd = fd;
	port->source.ready = port_ready;
	port->head = NULL;
	port->tail = &port->head;
	port->queued_bytes = 0;
	port->paused = 0;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return LEAT_E_IO;
	return lt_loop_add(m, &port->source, EPOLLIN);
}

void
lt_port_close(struct lt_port *port)
{
	if (port->source.fd < 0)
		return;
	lt_loop_remove(port->m, &port->source);
	while (port->head != NULL)
		drop_head(port);
	close(port->source.fd);
	port->source.fd = -1;
}

static int
enqueue(struct lt_port *port, const void *msg, size_t bytes, const int *fds,
    size_t fd_count)
{
	struct lt_port_msg *out;

	if (port->queued_bytes + sizeof(*out) + bytes > port->limit_bytes)
		return LEAT_E_LIMIT;
	out = lt_mem_alloc(sizeof(*out) + bytes);
	if (out == NULL)
		return LEAT_E_LIMIT;
	memcpy(out->data, msg, bytes);
	out->bytes = bytes;
	for (size_t i = 0; i < fd_count; i++) {
		out->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (out->fds[i] < 0) {
			close_fds(out->fds, i);
			lt_mem_free(out);
			return LEAT_E_LIMIT;
		}
	}
	out->fd_count = fd_count;
	*port->tail = out;
	port->tail = &out->next;
	port->queued_bytes += sizeof(*out) + bytes;
	return LEAT_OK;
}

int
lt_port_send(struct lt_port *port, const void *msg, size_t bytes,
    const int *fds, size_t fd_count)
{
	int status;

	if (port->source.fd < 0)
		return LEAT_E_UNREACHABLE;
	if (port->head == NULL) {
		status =
		    lt_fdpass_send(port->source.fd, msg, bytes, fds, fd_count);
		if (status == LEAT_OK)
			return LEAT_OK;
		if (status != LEAT_E_AGAIN && status != LEAT_E_NOMEM)
			return LEAT_E_UNREACHABLE;
	}
	status = enqueue(port, msg, bytes, fds, fd_count);
	if (status == LEAT_OK)
		arm(port);
	return status;
}

void
lt_port_pause(struct lt_port *port, int paused)
{
	if (port->source.fd < 0 || port->paused == paused)
		return;
	port->paused = paused;
	arm(port);
}

void
lt_port_drain(struct lt_port *port, int timeout_ms)
{
	uint64_t until = lt_clock_mono_ms() + (uint64_t)timeout_ms;

	while (port->source.fd >= 0 && flush(port) == LEAT_E_AGAIN) {
		struct pollfd p = {.fd = port->source.fd, .events = POLLOUT};
		uint64_t now = lt_clock_mono_ms();

		if (now >= until || poll(&p, 1, (int)(until - now)) < 0)
			return;
	}
}
