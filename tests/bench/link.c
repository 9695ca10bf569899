/*
 * link.c - a party's connection to its server: one descriptor, a buffer each
 * way, blocking. What goes wrong ends the process: a broken run has no figure.
 */
#include "config.h"
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 262144

_Noreturn void
load_fail(struct load_link *l, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(l->result->failed, sizeof l->result->failed, fmt, args);
	va_end(args);
	if (l->index == LOAD_PARTIES_MAX)
		fprintf(stderr, "load: %s\n", l->result->failed);
	_exit(1);
}

/* Room for `bytes` more behind `end`. */
static uint8_t *
grow(struct load_link *l, uint8_t *buf, size_t *cap, size_t end, size_t bytes)
{
	if (end + bytes <= *cap)
		return buf;
	*cap = 2 * (end + bytes);
	buf = realloc(buf, *cap);
	if (buf == NULL)
		load_fail(l, "out of memory");
	return buf;
}

void
load_put(struct load_link *l, const void *data, size_t bytes)
{
	l->out = grow(l, l->out, &l->out_cap, l->out_bytes, bytes);
	memcpy(l->out + l->out_bytes, data, bytes);
	l->out_bytes += bytes;
}

void
load_print(struct load_link *l, const char *fmt, ...)
{
	char text[2048];
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof text)
		load_fail(l, "too long: %.40s", text);
	load_put(l, text, (size_t)n);
}

void
load_flush(struct load_link *l)
{
	for (size_t done = 0; done < l->out_bytes;) {
		ssize_t n = write(l->fd, l->out + done, l->out_bytes - done);
		if (n < 0 && errno != EINTR)
			load_fail(l, "write: %s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	l->out_bytes = 0;
}

bool
load_receive(struct load_link *l, bool wait)
{
	size_t left = l->in_end - l->in_begin;
	if (left > 0 && l->in_begin > 0)
		memmove(l->in, l->in + l->in_begin, left);
	l->in_begin = 0;
	l->in_end = left;
	l->in = grow(l, l->in, &l->in_cap, left, READ_BYTES + 1);
	ssize_t n;
	do {
		n = wait ? read(l->fd, l->in + left, READ_BYTES)
			 : recv(l->fd, l->in + left, READ_BYTES, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		load_fail(l, "read: %s", n < 0 ? strerror(errno) : "closed");
	l->in_end += (size_t)n;
	return true;
}

/* May be called again for the same bytes: they are only cut, not changed. */
char *
load_line(struct load_link *l)
{
	uint8_t *text = l->in + l->in_begin;
	size_t left = l->in_end - l->in_begin;
	uint8_t *end = left > 0 ? memchr(text, '\n', left) : NULL;
	if (end == NULL || end == text)
		return NULL;
	end[-1] = '\0';
	l->in_begin += (size_t)(end + 1 - text);
	return (char *)text;
}

int
load_connect_unix(struct load_link *l, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (path == NULL || strlen(path) >= sizeof to.sun_path)
		load_fail(l, "--where: the path of a socket");
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		load_fail(l, "%s: %s", path, strerror(errno));
	return fd;
}

int
load_connect_port(struct load_link *l, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	    .sin_port = htons((uint16_t)atoi(port != NULL ? port : "0"))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		load_fail(l, "port %s: %s", port, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}
