/*
 * listener.c - connections come: accepted, or made by us. Where descriptors or
 * memory are short the listener rests until the next tick; who waits stays in
 * the kernel's backlog.
 */
#include "config.h"
#include "net/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "leat/status.h"

#define WAITING_MAX 1024 /* in the kernel's backlog */

/* Errors of one connection, not of the listener: the next is tried. */
static int
is_passing(int err)
{
	switch (err) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return 1;
	}
	return 0;
}

static void
welcome(struct lt_listener *l, int fd, const struct sockaddr_in *address)
{
	struct lt_net *net = l->net;
	int is_channel = l->mode == LT_NET_CHANNEL;
	struct lt_conn *c;

	if (is_channel && !lt_channels_welcomes(l->channels,
			      address->sin_addr.s_addr, lt_net_now(net))) {
		net->seen.flooded++;
		lt_sys.close(fd);
		return;
	}
	c = lt_conn_create(net, fd, address, l->tag, LT_PHASE_SNIFF);
	if (c == NULL)
		return;
	c->mode = l->mode;
	if (is_channel)
		c->channels = l->channels;
	else
		c->tls = l->tls;
	net->seen.accepted++;
	if (is_channel)
		lt_conn_shake(c);
	if (net->owner->opened != NULL)
		net->owner->opened(c, net->user);
	lt_conn_watch(c);
}

static void
incoming(evutil_socket_t listener_fd, short what, void *user)
{
	struct lt_listener *l = user;

	for (int i = 0; i < LT_ROUND_ACCEPTS; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET};
		socklen_t bytes = sizeof address;
		int fd = lt_sys.accept4(l->fd, (struct sockaddr *)&address,
		    &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			welcome(l, fd, &address);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (is_passing(errno))
			continue;
		l->net->seen.accept_failed++;
		l->resting = 1;
		event_del(&l->event);
		return;
	}
}

void
lt_listener_rouse(struct lt_net *net)
{
	for (unsigned i = 0; i < net->listener_count; i++) {
		struct lt_listener *l = &net->listeners[i];

		if (l->resting && event_add(&l->event, NULL) == 0)
			l->resting = 0;
	}
}

void
lt_listener_fini(struct lt_net *net)
{
	for (unsigned i = 0; i < net->listener_count; i++) {
		event_del(&net->listeners[i].event);
		lt_sys.close(net->listeners[i].fd);
	}
	net->listener_count = 0;
}

static int
taken(int err)
{
	return err == EADDRINUSE ? LEAT_E_BUSY : lt_sys_status(err);
}

int
lt_net_reserve(const struct sockaddr_in *at, int *fd_out)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
	    bind(fd, (const struct sockaddr *)at, sizeof *at) == 0) {
		*fd_out = fd;
		return LEAT_OK;
	}
	int rc = taken(errno);
	lt_sys.close(fd);
	return rc;
}

int
lt_net_bind(const struct sockaddr_in *at, int *fd_out)
{
	int rc = lt_net_reserve(at, fd_out);

	if (rc == LEAT_OK && listen(*fd_out, WAITING_MAX) != 0) {
		rc = taken(errno);
		lt_sys.close(*fd_out);
	}
	return rc;
}

static int
add(struct lt_net *net, const struct lt_listener *like)
{
	struct lt_listener *l = &net->listeners[net->listener_count];
	int fd = like->fd;
	int rc = LEAT_OK;
	int one = 1;

	if (net->listener_count == LT_LISTENERS_MAX)
		rc = LEAT_E_LIMIT;
	else if (like->mode != LT_NET_TLS_OFF && like->tls == NULL)
		rc = LEAT_E_INVALID;
	/* Accepted sockets inherit it. */
	else if (evutil_make_socket_nonblocking(fd) != 0 ||
		 setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) !=
		     0)
		rc = lt_sys_status(errno);
	if (rc == LEAT_OK) {
		*l = *like;
		l->net = net;
		if (event_assign(&l->event, net->base, fd, EV_READ | EV_PERSIST,
			incoming, l) != 0 ||
		    event_add(&l->event, NULL) != 0)
			rc = LEAT_E_IO;
	}
	if (rc == LEAT_OK)
		net->listener_count++;
	else
		lt_sys.close(fd);
	return rc;
}

int
lt_net_listen(struct lt_net *net, int fd, int tag, enum lt_net_tls mode,
    struct lt_tls *tls)
{
	return add(net, &(struct lt_listener){
			    .fd = fd, .tag = tag, .mode = mode, .tls = tls});
}

int
lt_net_listen_channel(
    struct lt_net *net, int fd, int tag, struct lt_channels *channels)
{
	if (listen(fd, WAITING_MAX) != 0) {
		int rc = taken(errno);

		lt_sys.close(fd);
		return rc;
	}
	return add(net, &(struct lt_listener){.fd = fd,
			    .tag = tag,
			    .mode = LT_NET_CHANNEL,
			    .channels = channels});
}

int
lt_net_connect(struct lt_net *net, const struct sockaddr_in *to, int tag,
    struct lt_conn **out)
{
	int one = 1;
	int rc;

	*out = NULL;
	if (net->ending)
		return LEAT_E_CLOSED;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return lt_sys_status(errno);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
		rc = lt_sys_status(errno);
		lt_sys.close(fd);
		return rc;
	}
	if (lt_sys.connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 &&
	    errno != EINPROGRESS && errno != EINTR) {
		lt_sys.close(fd);
		return LEAT_E_UNREACHABLE;
	}
	struct lt_conn *c = lt_conn_create(net, fd, to, tag, LT_PHASE_CONNECT);
	if (c == NULL)
		return LEAT_E_LIMIT;
	c->mode = LT_NET_TLS_OFF;
	lt_conn_watch(c);
	*out = c;
	return LEAT_OK;
}
