/* cutter.c - a thread for each connection; see cutter.h. */
#include "config.h"
#include "tests/support/cutter.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "leat/status.h"
#include "proto/channel.h"

static int
write_all(int fd, const uint8_t *p, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = send(fd, p, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int
read_all(int fd, uint8_t *p, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = recv(fd, p, bytes, 0);

		if (n <= 0)
			return -1;
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int
dial(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* --- the broker's side of a channel -----------------------------------------
 */

static int
shake(struct cutter_conn *k, struct lt_channel *ch)
{
	uint8_t hello[LT_CHANNEL_HELLO], proof[LT_CHANNEL_PROOF];
	uint8_t out[LT_CHANNEL_ANSWER], first[LT_CHANNEL_OVER];

	lt_channel_init(ch, &k->c->own, NULL);
	if (read_all(k->near, hello, sizeof(hello)) != 0 ||
	    lt_channel_greet(ch, hello) != LEAT_OK ||
	    lt_channel_answer(ch, out) != LEAT_OK ||
	    write_all(k->near, out, sizeof(out)) != 0 ||
	    read_all(k->near, proof, sizeof(proof)) != 0 ||
	    lt_channel_accept(ch, proof) != LEAT_OK)
		return -1;
	if (k->c->known != NULL &&
	    !lt_secret_equal(k->c->known, lt_channel_peer(ch), LT_SECRET_KEY))
		return -1;
	if (lt_channel_seal(ch, first, 0, 0, lt_clock_mono_ms()) != LEAT_OK)
		return -1;
	return write_all(k->near, first, sizeof(first));
}

struct pipe {
	struct cutter_conn *k;
	struct lt_channel ch;
	uint8_t in[2 * LT_CHANNEL_RECORD_MAX];
	size_t in_bytes;
};

/* From the client to the server. */
static int
inward(struct pipe *p)
{
	int sealed = p->k->c->has_channel;
	ssize_t n = recv(
	    p->k->near, p->in + p->in_bytes, sizeof(p->in) - p->in_bytes, 0);
	size_t at = 0, bytes;
	uint8_t *plain;
	int64_t size;

	if (n <= 0)
		return -1;
	p->in_bytes += (size_t)n;
	if (!sealed) {
		bytes = p->in_bytes;
		p->in_bytes = 0;
		return write_all(p->k->far, p->in, bytes);
	}
	while ((size = lt_channel_cut(p->in + at, p->in_bytes - at)) > 0 &&
	       (size_t)size <= p->in_bytes - at) {
		if (lt_channel_open(&p->ch, p->in + at, (size_t)size, &plain,
			&bytes) != LEAT_OK ||
		    write_all(p->k->far, plain, bytes) != 0)
			return -1;
		at += (size_t)size;
	}
	p->in_bytes -= at;
	memmove(p->in, p->in + at, p->in_bytes);
	return size < 0 ? -1 : 0;
}

static int
outward(struct pipe *p)
{
	uint8_t record[LT_CHANNEL_RECORD_MAX], *at = record + LT_CHANNEL_HEAD;
	struct cutter *c = p->k->c;
	ssize_t n = recv(p->k->far, at, LT_CHANNEL_PLAIN_MAX, 0);
	int64_t left;

	if (n <= 0)
		return -1;
	if (c->is_deaf)
		return 0;
	left = c->bytes_left;
	if (left >= 0) {
		if (n > left)
			n = left;
		c->bytes_left = left - n;
	}
	if (n > 0 && c->has_channel) {
		if (lt_channel_seal(&p->ch, record, (size_t)n, 0,
			lt_clock_mono_ms()) != LEAT_OK)
			return -1;
		at = record;
		n += LT_CHANNEL_OVER;
		if (c->tampers > 0) {
			c->tampers--;
			record[n / 2] ^= 1;
		}
	}
	if (n > 0 && write_all(p->k->near, at, (size_t)n) != 0)
		return -1;
	if (left >= 0 && c->bytes_left == 0) {
		c->bytes_left = -1;
		c->cuts++;
		return -1;
	}
	return 0;
}

/* --- connections -------------------------------------------------------------
 */

static void *
serve(void *arg)
{
	struct cutter_conn *k = arg;
	struct cutter *c = k->c;
	struct pipe *p = calloc(1, sizeof(*p));

	p->k = k;
	if (c->has_channel && shake(k, &p->ch) != 0) {
		c->refused++;
		goto out;
	}
	k->far = dial(c->target);
	while (k->far >= 0 && !k->is_cut && !c->stop) {
		struct pollfd fds[2] = {
		    {k->near, POLLIN, 0}, {k->far, POLLIN, 0}};

		if (poll(fds, 2, 100) <= 0)
			continue;
		if (k->is_cut || (fds[0].revents != 0 && inward(p) != 0) ||
		    (fds[1].revents != 0 && outward(p) != 0))
			break;
	}
out:
	if (c->has_channel)
		lt_channel_fini(&p->ch);
	free(p);
	if (k->far >= 0)
		close(k->far);
	close(k->near);
	k->far = -1;
	k->near = -1; /* last: it is free */
	c->threads--;
	return NULL;
}

static void
take(struct cutter *c, int fd)
{
	struct cutter_conn *k = c->conns;
	pthread_t thread;
	int on = 1;

	while (k < c->conns + CUTTER_CONNS && k->near >= 0)
		k++;
	if (k == c->conns + CUTTER_CONNS) {
		close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	k->c = c;
	k->far = -1;
	k->is_cut = 0;
	k->near = fd;
	c->accepted++;
	c->threads++;
	if (pthread_create(&thread, NULL, serve, k) != 0)
		abort();
	pthread_detach(thread);
}

static void *
listen_on(void *arg)
{
	struct cutter *c = arg;
	struct pollfd p = {c->listener, POLLIN, 0};
	int fd;

	while (!c->stop) {
		if (poll(&p, 1, 20) <= 0)
			continue;
		fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			take(c, fd);
	}
	return NULL;
}

struct cutter *
cutter_start(int port, int target, const struct lt_noise_pair *own)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	struct cutter *c = calloc(1, sizeof(*c));
	pthread_t *thread = malloc(sizeof(*thread));
	int on = 1, i;

	c->target = target;
	c->bytes_left = -1;
	c->has_channel = own != NULL;
	if (own != NULL)
		c->own = *own;
	for (i = 0; i < CUTTER_CONNS; i++)
		c->conns[i].near = c->conns[i].far = -1;
	c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(
	    c->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(c->listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(c->listener, 16) != 0 ||
	    getsockname(c->listener, (struct sockaddr *)&at, &bytes) != 0 ||
	    pthread_create(thread, NULL, listen_on, c) != 0)
		abort();
	c->port = ntohs(at.sin_port);
	c->thread = thread;
	return c;
}

int
cutter_cut(struct cutter *c)
{
	int i, n = 0;

	for (i = 0; i < CUTTER_CONNS; i++)
		if (c->conns[i].near >= 0 && !c->conns[i].is_cut) {
			c->conns[i].is_cut = 1;
			(void)shutdown(c->conns[i].near, SHUT_RDWR);
			n++;
		}
	c->cuts += n;
	return n;
}

void
cutter_stop(struct cutter *c)
{
	c->stop = 1;
	pthread_join(*(pthread_t *)c->thread, NULL);
	close(c->listener);
	(void)cutter_cut(c);
	while (c->threads > 0)
		usleep(1000);
	free(c->thread);
	free(c);
}
