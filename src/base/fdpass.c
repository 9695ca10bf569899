/*
 * fdpass.c - sendmsg and recvmsg with SCM_RIGHTS, and nothing else. The errno
 * of the socket call becomes a status here.
 */
#include "config.h"
#include "base/fdpass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "leat/status.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(LT_FDPASS_MAX * sizeof(int))];
};

static int
status_of(int err)
{
	switch (err) {
	case EAGAIN:
	case ENOBUFS:
	case ETOOMANYREFS: /* too many descriptors under way: they arrive soon
			    */
		return LEAT_E_AGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
	case ECONNREFUSED:
		return LEAT_E_UNREACHABLE;
	case EMSGSIZE:
		return LEAT_E_TOOBIG;
	case ENOMEM:
		return LEAT_E_NOMEM;
	default:
		return LEAT_E_IO;
	}
}

int
lt_fdpass_send(
    int sock, const void *buf, size_t bytes, const int *fds, size_t fd_count)
{
	union control control;
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	LT_ASSERT(bytes > 0); /* an empty datagram would look like a hang-up */
	LT_ASSERT(fd_count <= LT_FDPASS_MAX);
	if (fd_count > 0) {
		memset(&control, 0, sizeof control);
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	for (;;) {
		ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL);
		if (n == (ssize_t)bytes)
			return LEAT_OK;
		if (n >= 0)
			return LEAT_E_IO; /* not a datagram socket */
		if (errno != EINTR)
			return status_of(errno);
	}
}

/* Move the descriptors of one message into fds; what does not fit is closed. */
static size_t
take_fds(struct msghdr *msg, int *fds)
{
	size_t taken = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
	     c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (taken < LT_FDPASS_MAX)
				fds[taken++] = fd;
			else
				close(fd);
		}
	}
	return taken;
}

int
lt_fdpass_recv(int sock, void *buf, size_t cap, size_t *bytes_out, int *fds,
    size_t *fd_count_out, int flags)
{
	union control control;
	struct iovec iov = {.iov_base = buf, .iov_len = cap};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes,
	};
	ssize_t n;

	*bytes_out = 0;
	*fd_count_out = 0;
	/* ECONNRESET says only that the peer died with unread messages; it is
	 * told once, and what the peer sent before is still there. */
	do
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return status_of(errno);

	size_t taken = take_fds(&msg, fds);
	if (n > 0 && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) {
		*bytes_out = (size_t)n;
		*fd_count_out = taken;
		return LEAT_OK;
	}
	while (taken > 0)
		close(fds[--taken]);
	return n == 0 ? LEAT_E_UNREACHABLE : LEAT_E_CORRUPT;
}
