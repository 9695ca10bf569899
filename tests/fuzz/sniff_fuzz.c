/*
 * sniff_fuzz.c - the first bytes of a connection: TLS or not, by the listener's
 * mode, in pieces of any size; then frames, or a handshake, until either side
 * has enough.
 *
 * An input is the mode (u8 % 3), the size of the pieces (u8), the bytes.
 */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "net/conn.h"

#define FUZZ_NAME "sniff"
#define FUZZ_RUNS 5000
#include "drive.h"

#define FRAME_MAX 4096u
#define TLS_RECORD 0x16 /* what a handshake begins with */
#define ROUNDS_MAX 64

static struct lt_net *net;
static struct lt_tls *tls;
static size_t frames, frame_bytes;
static int is_closed;
static enum lt_net_reason reason;

static int64_t
cut(const uint8_t *p, size_t bytes, void *user)
{
	(void)user;
	if (bytes < 4)
		return 0;
	return lt_bytes_get32(p) > FRAME_MAX ? LEAT_E_TOOBIG
					     : (int64_t)lt_bytes_get32(p) + 4;
}

/* What came goes back. */
static int
frame(struct lt_conn *c, uint8_t *p, size_t bytes, void *user)
{
	uint8_t *out = lt_conn_room(c, bytes);

	(void)user;
	frames++;
	frame_bytes += bytes;
	if (out != NULL) {
		memcpy(out, p, bytes);
		lt_conn_put(c, bytes);
	}
	return LEAT_OK;
}

static void
after_round(void *user)
{
	(void)user;
	lt_net_stop(net);
}

static void
closed(struct lt_conn *c, void *user)
{
	(void)user;
	is_closed = 1;
	reason = lt_conn_reason(c);
}

static const struct lt_net_owner owner = {
    .cut = cut, .frame = frame, .round = after_round, .closed = closed};

/* A self-signed certificate, its key behind it, in one file. */
static void
load_certificate(void)
{
	char path[] = "/tmp/leat-sniff-XXXXXX", why[200];
	FILE *f = fdopen(mkstemp(path), "w");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	int rc;

	LT_ASSERT(f != NULL && key != NULL && cert != NULL);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	LT_ASSERT(X509_sign(cert, key, EVP_sha256()) > 0);
	LT_ASSERT(PEM_write_X509(f, cert) == 1);
	LT_ASSERT(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(f);
	rc = lt_tls_load(path, path, &tls, why, sizeof why);
	LT_ASSERT(rc == LEAT_OK);
	unlink(path);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void
begin(void)
{
	static const struct lt_net_limits limits = {
	    .frame_bytes = FRAME_MAX + 4,
	    .conn_bytes = 1 << 20,
	    .memory_bytes = 8 << 20,
	    .connections = 4};
	int rc;

	load_certificate();
	rc = lt_net_create(&owner, NULL, &limits, 1000, &net);
	LT_ASSERT(rc == LEAT_OK);
}

static void
turn(void)
{
	int rc;

	lt_net_wake(net);
	rc = lt_net_run(net);
	LT_ASSERT(rc == LEAT_OK);
}

/* Frames that are whole in a plain stream, until one is too large. */
static size_t
count_frames(const uint8_t *p, size_t bytes)
{
	size_t n = 0;

	while (bytes >= 4 && lt_bytes_get32(p) <= FRAME_MAX &&
	       lt_bytes_get32(p) + 4u <= bytes) {
		size_t size = lt_bytes_get32(p) + 4u;

		p += size;
		bytes -= size;
		n++;
	}
	return n;
}

static void
check(enum lt_net_tls mode, const uint8_t *p, size_t bytes)
{
	int is_tls = bytes > 0 && p[0] == TLS_RECORD;

	if (bytes == 0)
		return;
	if ((mode == LT_NET_TLS_OFF && is_tls) ||
	    (mode == LT_NET_TLS_ONLY && !is_tls)) {
		LT_ASSERT(is_closed && reason == LT_NET_TLS);
		LT_ASSERT(frames == 0);
	} else if (is_tls)
		LT_ASSERT(frames == 0); /* nobody guesses our key */
	else
		LT_ASSERT(frames == count_frames(p, bytes));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const struct sockaddr_in from = {.sin_family = AF_INET};
	enum lt_net_tls mode;
	struct lt_conn *c;
	size_t piece, at = 0;
	int ends[2];

	if (net == NULL)
		begin();
	if (bytes < 2)
		return 0;
	mode = (enum lt_net_tls)(data[0] % 3);
	piece = data[1] == 0 ? 1 : data[1];
	data += 2;
	bytes = bytes - 2 < 16384 ? bytes - 2 : 16384;
	frames = frame_bytes = 0;
	is_closed = 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		ends) != 0)
		abort();
	c = lt_conn_create(net, ends[0], &from, 0, LT_PHASE_SNIFF);
	LT_ASSERT(c != NULL);
	c->mode = mode;
	c->tls = tls;
	lt_conn_watch(c);
	if (bytes / piece > ROUNDS_MAX)
		piece = bytes / ROUNDS_MAX;
	while (at < bytes && !is_closed) {
		size_t n = piece < bytes - at ? piece : bytes - at;
		ssize_t sent = send(ends[1], data + at, n, MSG_NOSIGNAL);

		if (sent < 0)
			break;
		at += (size_t)sent;
		turn();
	}
	/* What was left over for a later round; then the end. */
	for (int i = 0; i < 4 && !is_closed; i++)
		turn();
	check(mode, data, at);
	close(ends[1]);
	for (int i = 0; i < 8 && !is_closed; i++)
		turn();
	LT_ASSERT(is_closed);
	LT_ASSERT(lt_net_counters(net)->current == 0);
	LT_ASSERT(lt_net_counters(net)->unsent == 0);
	return 0;
}

/* The beginning of a real handshake. */
static size_t
client_hello(uint8_t *out, size_t cap)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, in, to);
	SSL_set_connect_state(ssl);
	(void)SSL_do_handshake(ssl);
	n = BIO_read(to, out, (int)cap);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return n < 0 ? 0 : (size_t)n;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t bytes = 2;

	if (n >= 12 || cap < 4096)
		return 0;
	buf[0] = (uint8_t)(n % 3);
	buf[1] = n < 6 ? 255 : 7;
	if (n / 3 % 2 == 0) {
		for (uint32_t k = 0; k < 3; k++) {
			lt_bytes_put32(buf + bytes, 10 * k);
			memset(buf + bytes + 4, 'f', 10 * k);
			bytes += 4 + 10 * k;
		}
		return bytes;
	}
	return bytes + client_hello(buf + bytes, cap - bytes);
}
