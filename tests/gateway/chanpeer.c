/* chanpeer.c - see chanpeer.h. */
#include "config.h"
#include "chanpeer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leat/status.h"

#define NOW_MS 1 /* nothing here is that old */

size_t
chanpeer_rest(int fd)
{
	char p[4096];
	size_t all = 0;
	ssize_t n;

	while ((n = recv(fd, p, sizeof p, 0)) > 0 || (n < 0 && errno == EINTR))
		all += n > 0 ? (size_t)n : 0;
	return all;
}

int
chanpeer_dial(uint16_t port, unsigned x)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = port,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in from = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000u + x)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if ((x == 0 || bind(fd, (struct sockaddr *)&from, sizeof from) == 0) &&
	    connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	close(fd);
	return -1;
}

void
chanpeer_init(struct chanpeer *p, int fd, const struct lt_noise_pair *own,
    const uint8_t broker[LT_SECRET_KEY])
{
	p->fd = fd;
	p->left = p->records = 0;
	p->is_over = 0;
	lt_channel_init(&p->channel, own, broker);
}

void
chanpeer_close(struct chanpeer *p)
{
	close(p->fd);
	lt_channel_fini(&p->channel);
}

/* --- handshake -------------------------------------------------------------
 */

int
chanpeer_hello(struct chanpeer *p)
{
	uint8_t hello[LT_CHANNEL_HELLO];

	if (lt_channel_hello(&p->channel, hello) != LEAT_OK)
		return -2;
	return send_all(p->fd, hello, sizeof hello);
}

int
chanpeer_proof(struct chanpeer *p)
{
	uint8_t answer[LT_CHANNEL_ANSWER], proof[LT_CHANNEL_PROOF];

	if (recv_all(p->fd, answer, sizeof answer) != 0)
		return -1;
	if (lt_channel_finish(&p->channel, answer, proof) != LEAT_OK)
		return -2;
	return send_all(p->fd, proof, sizeof proof);
}

static int
next_record(struct chanpeer *p)
{
	int64_t size;
	int rc;

	if (p->is_over || recv_all(p->fd, p->in, LT_CHANNEL_LENGTH) != 0)
		return -1;
	size = lt_channel_cut(p->in, LT_CHANNEL_LENGTH);
	if (size < 0)
		return -2;
	if (recv_all(p->fd, p->in + LT_CHANNEL_LENGTH,
		(size_t)size - LT_CHANNEL_LENGTH) != 0)
		return -1;
	rc = lt_channel_open(
	    &p->channel, p->in, (size_t)size, &p->plain, &p->left);
	if (rc != LEAT_OK && rc != LEAT_E_CLOSED)
		return -2;
	p->is_over = rc == LEAT_E_CLOSED;
	p->records++;
	return 0;
}

int
chanpeer_welcome(struct chanpeer *p)
{
	int rc = next_record(p);

	return rc != 0 ? rc : p->left == 0 && !p->is_over ? 0 : -2;
}

int
chanpeer_shake(struct chanpeer *p)
{
	int rc = chanpeer_hello(p);

	if (rc == 0)
		rc = chanpeer_proof(p);
	return rc != 0 ? rc : chanpeer_welcome(p);
}

/* --- records ---------------------------------------------------------------
 */

size_t
chanpeer_seal(struct chanpeer *p, const void *bytes, size_t count, int is_last,
    uint8_t *out)
{
	if (count > 0)
		memcpy(out + LT_CHANNEL_HEAD, bytes, count);
	int rc = lt_channel_seal(&p->channel, out, count, is_last, NOW_MS);
	LT_ASSERT(rc == LEAT_OK);
	return count + LT_CHANNEL_OVER;
}

int
chanpeer_record(
    struct chanpeer *p, const void *bytes, size_t count, int is_last)
{
	uint8_t out[LT_CHANNEL_RECORD_MAX];

	return send_all(
	    p->fd, out, chanpeer_seal(p, bytes, count, is_last, out));
}

int
chanpeer_send(struct chanpeer *p, const void *bytes, size_t count)
{
	const uint8_t *at = bytes;

	while (count > 0) {
		size_t part =
		    count < LT_CHANNEL_PLAIN_MAX ? count : LT_CHANNEL_PLAIN_MAX;

		if (chanpeer_record(p, at, part, 0) != 0)
			return -1;
		at += part;
		count -= part;
	}
	return 0;
}

int
chanpeer_recv(struct chanpeer *p, void *bytes, size_t count)
{
	uint8_t *at = bytes;
	int rc;

	while (count > 0) {
		size_t part = count < p->left ? count : p->left;

		if (part > 0)
			memcpy(at, p->plain, part);
		at += part;
		count -= part;
		p->plain += part;
		p->left -= part;
		if (count > 0 && (rc = next_record(p)) != 0)
			return rc;
	}
	return 0;
}
