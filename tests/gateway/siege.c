/*
 * siege.c - a remote client: frames out, frames in, plain or through TLS. Reads
 * and writes wait for SIEGE_PATIENCE_S at most.
 */
#include "config.h"
#include "siege.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "leat/status.h"

struct siege siege;

size_t
siege_frame(uint8_t *out, size_t room, int32_t code, int32_t flag,
    int32_t opaque, const struct siege_field *fields, const void *body,
    size_t bytes)
{
	struct lt_remoting_encoder e;
	size_t n;

	lt_remoting_begin(&e, out, room, LT_REMOTING_JSON, code, flag, opaque);
	for (; fields->name != NULL; fields++)
		lt_remoting_put(
		    &e, fields->name, fields->value, strlen(fields->value));
	n = lt_remoting_end(&e, NULL, 0, bytes);
	if (n == 0 || n + bytes > room)
		abort();
	if (bytes > 0)
		memcpy(out + n, body, bytes);
	return n + bytes;
}

int
siege_dial(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = SIEGE_PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (connect(fd, (void *)&at, sizeof at) == 0)
		return fd;
	close(fd);
	return -1;
}

int
siege_open(struct siege_link *l, uint16_t port, int is_tls)
{
	l->ssl = NULL;
	l->fd = siege_dial(port);
	if (l->fd < 0 || !is_tls)
		return l->fd < 0 ? -1 : 0;
	l->ssl = SSL_new(siege.tls);
	SSL_set_fd(l->ssl, l->fd);
	return SSL_connect(l->ssl) == 1 ? 0 : -1;
}

void
siege_close(struct siege_link *l)
{
	SSL_free(l->ssl);
	if (l->fd >= 0)
		close(l->fd);
	free(l->in);
	*l = (struct siege_link){.fd = -1};
}

static int
write_all(struct siege_link *l, const uint8_t *p, size_t bytes)
{
	ssize_t n;
	size_t k;

	if (l->ssl != NULL)
		return SSL_write_ex(l->ssl, p, bytes, &k) == 1 ? 0 : -1;
	for (; bytes > 0; p += n, bytes -= (size_t)n)
		if ((n = send(l->fd, p, bytes, MSG_NOSIGNAL)) <= 0)
			return -1;
	return 0;
}

static int
read_all(struct siege_link *l, uint8_t *p, size_t bytes)
{
	for (size_t at = 0, k = 0; at < bytes; at += k) {
		ssize_t n;

		if (l->ssl != NULL) {
			if (SSL_read_ex(l->ssl, p + at, bytes - at, &k) != 1)
				return -1;
			continue;
		}
		n = recv(l->fd, p + at, bytes - at, 0);
		if (n <= 0)
			return -1;
		k = (size_t)n;
	}
	return 0;
}

static int
make_room(struct siege_link *l, size_t bytes)
{
	uint8_t *p;

	if (bytes <= l->room)
		return 0;
	p = realloc(l->in, bytes);
	if (p == NULL)
		return -1;
	l->in = p;
	l->room = bytes;
	return 0;
}

int
siege_receive(struct siege_link *l)
{
	if (make_room(l, LT_REMOTING_PREFIX) != 0 ||
	    read_all(l, l->in, LT_REMOTING_PREFIX) != 0 ||
	    lt_remoting_frame(l->in, LT_REMOTING_PREFIX, &l->f) !=
		LEAT_E_AGAIN ||
	    make_room(l, l->f.bytes) != 0 ||
	    read_all(l, l->in + LT_REMOTING_PREFIX,
		l->f.bytes - LT_REMOTING_PREFIX) != 0)
		return -1;
	return lt_remoting_frame(l->in, l->f.bytes, &l->f) == LEAT_OK &&
		       lt_remoting_decode(&l->f, &l->h) == LEAT_OK
		   ? 0
		   : -1;
}

int32_t
siege_ask(struct siege_link *l, int32_t code, const struct siege_field *fields,
    const void *body, size_t bytes)
{
	uint8_t small[4096];
	size_t room = bytes + sizeof small;
	uint8_t *p = bytes == 0 ? small : malloc(room);
	int status = -1;

	if (p == NULL)
		return -1;
	l->opaque++;
	status = write_all(l, p,
	    siege_frame(p, room, code, 0, l->opaque, fields, body, bytes));
	if (p != small)
		free(p);
	do /* words to members are not asked for */
		if (status != 0 || siege_receive(l) != 0)
			return -1;
	while (l->h.flag != LT_REMOTING_RESPONSE);
	return l->h.opaque == l->opaque ? l->h.code : -1;
}
