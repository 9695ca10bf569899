/*
 * tls.c - the door to OpenSSL. A connection's SSL reads and writes through a
 * BIO of our own on the same lt_sys calls as plain connections, so it keeps
 * buffers only while a record is incomplete. No renegotiation, no session is
 * kept. One step takes at most LT_SCRATCH_BYTES from the socket, whatever kind
 * of record these are; `unread` says that more is there without an event.
 */
#include "config.h"
#include "net/conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

struct lt_tls {
	SSL_CTX *context;
	BIO_METHOD *method;
};

/* What the BIO's calls share with the step that runs. */
struct step {
	struct lt_conn *c;
	size_t budget; /* bytes that may still be read */
	int is_dry; /* the socket had nothing */
};

/* --- the BIO ------------------------------------------------------------- */

static int
bio_read(BIO *bio, char *p, int room)
{
	struct step *step = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (step->budget == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	do
		n = lt_sys.recv(step->c->fd, p, (size_t)room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		step->is_dry = 1;
		BIO_set_retry_read(bio);
	} else if (n > 0) {
		step->budget -=
		    (size_t)n < step->budget ? (size_t)n : step->budget;
	}
	return (int)n;
}

static int
bio_write(BIO *bio, const char *p, int bytes)
{
	struct step *step = BIO_get_data(bio);
	struct iovec v = {
	    .iov_base = (void *)(uintptr_t)p, .iov_len = (size_t)bytes};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do
		n = lt_sys.sendmsg(step->c->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)n;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *p)
{
	return command == BIO_CTRL_FLUSH;
}

static void
begin_step(struct step *step, struct lt_conn *c)
{
	*step = (struct step){.c = c, .budget = LT_SCRATCH_BYTES};
	BIO_set_data(SSL_get_rbio(c->ssl), step);
	ERR_clear_error();
}

/* What a call that did not succeed means. */
static ssize_t
outcome(struct lt_conn *c, int rc)
{
	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		c->turned = 0;
		return LT_CONN_WAIT;
	case SSL_ERROR_WANT_WRITE:
		c->turned = 1;
		return LT_CONN_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		break;
	default:
		c->broken = 1;
	}
	ERR_clear_error();
	c->unread = 0;
	return LT_CONN_FAILED;
}

/* --- one connection ------------------------------------------------------ */

static int
begin(struct lt_conn *c)
{
	BIO *bio = BIO_new(c->tls->method);

	if (bio == NULL)
		return LEAT_E_NOMEM;
	BIO_set_init(bio, 1);
	c->ssl = SSL_new(c->tls->context);
	if (c->ssl == NULL) {
		BIO_free(bio);
		return LEAT_E_NOMEM;
	}
	SSL_set_bio(c->ssl, bio, bio); /* taken */
	SSL_set_accept_state(c->ssl);
	return LEAT_OK;
}

static int
greet(struct lt_conn *c)
{
	struct step step;

	begin_step(&step, c);
	int rc = SSL_do_handshake(c->ssl);
	if (rc == 1) {
		c->turned = 0;
		return 1;
	}
	/* The peer's end is a failure as well. */
	return outcome(c, rc) == LT_CONN_WAIT ? LT_CONN_WAIT : LT_CONN_FAILED;
}

static ssize_t
take(struct lt_conn *c, void *p, size_t room)
{
	struct step step;
	size_t got = 0;
	ssize_t rc = LT_CONN_WAIT;

	if (c->broken)
		return LT_CONN_FAILED;
	begin_step(&step, c);
	c->turned = 0;
	while (got < room) {
		size_t n = 0;
		int ok = SSL_read_ex(c->ssl, (char *)p + got, room - got, &n);

		if (ok != 1) {
			rc = outcome(c, ok);
			break;
		}
		got += n;
	}
	/* An end or a failure behind what was got is met by the next step. */
	c->unread =
	    !step.is_dry && !c->turned && (got > 0 || rc == LT_CONN_WAIT);
	return got > 0 ? (ssize_t)got : rc;
}

/* The front of what is unsent, at least as long as when it was last tried. */
static const uint8_t *
front(struct lt_conn *c, size_t *bytes_out)
{
	struct lt_piece *piece;
	size_t used = 0;

	TAILQ_FOREACH(piece, &c->out, next)
	{
		size_t bytes = piece->bytes;

		if (used == 0 && bytes >= LT_RECORD_BYTES) {
			*bytes_out = LT_RECORD_BYTES;
			return piece->p;
		}
		if (bytes > LT_RECORD_BYTES - used)
			bytes = LT_RECORD_BYTES - used;
		if (bytes > 0)
			memcpy(c->net->record + used, piece->p, bytes);
		used += bytes;
	}
	*bytes_out = used;
	return c->net->record;
}

/* One record; the next follows in the next round, unless this is blocked. */
static ssize_t
give(struct lt_conn *c)
{
	struct step step;
	size_t bytes, n = 0;

	if (c->broken)
		return LT_CONN_FAILED;
	begin_step(&step, c);
	const uint8_t *p = front(c, &bytes);
	int ok = SSL_write_ex(c->ssl, p, bytes, &n);
	if (ok == 1)
		return (ssize_t)n;
	unsigned turned = c->turned;
	ssize_t rc = outcome(c, ok);
	c->turned = turned; /* about reading */
	return rc == LT_CONN_WAIT ? rc : LT_CONN_FAILED;
}

static void
bye(struct lt_conn *c)
{
	struct step step;

	if (c->broken || c->blocked)
		return;
	begin_step(&step, c);
	step.budget = 0;
	if (SSL_shutdown(c->ssl) < 0)
		ERR_clear_error();
	c->broken = 1;
}

static void
end(struct lt_conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
}

const struct lt_transport lt_tls_transport = {
    .refusal = LT_NET_TLS,
    .begin = begin,
    .greet = greet,
    .take = take,
    .give = give,
    .bye = bye,
    .end = end,
};

/* --- certificate and key ------------------------------------------------- */

static int
configure(struct lt_tls *tls, const char *cert_file, const char *key_file)
{
	SSL_CTX *x = tls->context;

	SSL_CTX_set_options(x,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
		SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(x, SSL_MODE_RELEASE_BUFFERS |
				SSL_MODE_ENABLE_PARTIAL_WRITE |
				SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(x, 1);
	return SSL_CTX_set_min_proto_version(x, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_num_tickets(x, 0) == 1 &&
	       SSL_CTX_use_certificate_chain_file(x, cert_file) == 1 &&
	       SSL_CTX_use_PrivateKey_file(x, key_file, SSL_FILETYPE_PEM) ==
		   1 &&
	       SSL_CTX_check_private_key(x) == 1;
}

int
lt_tls_load(const char *cert_file, const char *key_file, struct lt_tls **out,
    char *error_out, size_t error_bytes)
{
	struct lt_tls *tls = lt_mem_alloc(sizeof(*tls));

	if (tls == NULL) {
		snprintf(error_out, error_bytes, "out of memory");
		return LEAT_E_NOMEM;
	}
	ERR_clear_error();
	tls->context = SSL_CTX_new(TLS_server_method());
	tls->method = BIO_meth_new(
	    BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "leat socket");
	if (tls->context != NULL && tls->method != NULL &&
	    BIO_meth_set_read(tls->method, bio_read) == 1 &&
	    BIO_meth_set_write(tls->method, bio_write) == 1 &&
	    BIO_meth_set_ctrl(tls->method, bio_ctrl) == 1 &&
	    configure(tls, cert_file, key_file)) {
		*out = tls;
		return LEAT_OK;
	}
	const char *why = ERR_reason_error_string(ERR_peek_error());
	snprintf(error_out, error_bytes, "%s, %s: %s", cert_file, key_file,
	    why != NULL ? why : "unknown error");
	ERR_clear_error();
	lt_tls_free(tls);
	return LEAT_E_CONFIG;
}

void
lt_tls_free(struct lt_tls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->context);
	BIO_meth_free(tls->method);
	lt_mem_free(tls);
}
