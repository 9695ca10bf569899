/*
 * nettls_test.c - TLS beside plaintext on one port: the first byte decides,
 * the same frames pass, handshakes are bounded in time, half-closed and
 * draining peers get their last replies, garbage is refused.
 */
#include "config.h"
#include "netrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "leat/status.h"

static char dir[] = "/tmp/leat-tls-XXXXXX";
static char cert[256], key[256];
static SSL_CTX *context;
static struct lt_tls *tls;

static void
start(enum lt_net_tls mode)
{
	char why[200];

	assert_int_equal(
	    lt_tls_load(cert, key, &tls, why, sizeof why), LEAT_OK);
	rig_start(&rig_limits, mode, tls);
}

static void
stop(void)
{
	rig_stop();
	lt_tls_free(tls);
}

static SSL *
dial_tls(int version)
{
	int fd = dial(rig.port);
	SSL *ssl = SSL_new(context);

	assert_true(fd >= 0);
	SSL_set_fd(ssl, fd);
	if (version != 0)
		SSL_set_max_proto_version(ssl, version);
	if (SSL_connect(ssl) == 1)
		return ssl;
	SSL_free(ssl);
	close(fd);
	return NULL;
}

static void
hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_free(ssl);
	close(fd);
}

static int
read_all(SSL *ssl, uint8_t *p, size_t bytes)
{
	size_t n;

	for (; bytes > 0; p += n, bytes -= n)
		if (SSL_read_ex(ssl, p, bytes, &n) != 1)
			return -1;
	return 0;
}

static int
echo_tls(SSL *ssl, uint32_t bytes, uint32_t seed)
{
	uint8_t *p = malloc(bytes), *back = malloc(bytes);
	size_t n;

	frame_make(p, bytes, ORDER_ECHO, 0, seed);
	int right = SSL_write_ex(ssl, p, bytes, &n) == 1 &&
		    read_all(ssl, back, bytes) == 0 &&
		    memcmp(p, back, bytes) == 0;
	free(p);
	free(back);
	return right;
}

static void
order_tls(SSL *ssl, enum order order, uint32_t arg)
{
	uint8_t p[RIG_HEAD];
	size_t n;

	frame_make(p, sizeof p, order, arg, 0);
	assert_int_equal(SSL_write_ex(ssl, p, sizeof p, &n), 1);
}

/* ORDER_LEND's, in pieces of 50,000. */
static int
pattern_tls(SSL *ssl, size_t bytes)
{
	uint8_t *p = malloc(bytes);
	int right = read_all(ssl, p, bytes) == 0;

	for (size_t at = 0; right && at < bytes; at++)
		right =
		    p[at] == (uint8_t)(at / 50000 * 50000 % 256 + at % 50000);
	free(p);
	return right;
}

static void
test_both_on_one_port(void **state)
{
	static const uint32_t sizes[] = {
	    12, 100, 4096, 16384, 16385, 65536, 70000, 1000000, 5000000};

	start(LT_NET_TLS_EITHER);
	SSL *old = dial_tls(TLS1_2_VERSION);
	SSL *new = dial_tls(0);
	int plain = dial(rig.port);
	assert_non_null(old);
	assert_non_null(new);
	assert_string_equal(SSL_get_version(old), "TLSv1.2");
	assert_string_equal(SSL_get_version(new), "TLSv1.3");
	for (uint32_t i = 0; i < LT_COUNT(sizes); i++) {
		assert_true(echo_tls(old, sizes[i], i));
		assert_true(echo_once(plain, sizes[i], i));
		assert_true(echo_tls(new, sizes[i], i));
	}
	assert_int_equal(rig_counters().tls, 2);
	assert_int_equal(rig_counters().memory, 0);
	hang_up(old);
	hang_up(new);
	close(plain);
	stop();
	assert_int_equal(rig.counters.accepted, 3);
}

/* Small and large records, one behind another; the child writes. */
static void
test_pipelined(void **state)
{
	static uint8_t p[40000], back[40000];
	size_t n;

	start(LT_NET_TLS_EITHER);
	SSL *ssl = dial_tls(0);
	assert_non_null(ssl);
	uint8_t *all = malloc(4000 * sizeof p / 10);
	size_t bytes = 0;
	for (uint32_t i = 0; i < 4000 && bytes < 30000000; i++) {
		uint32_t size = RIG_HEAD + i * 7919 % 3900;

		frame_make(all + bytes, size, ORDER_ECHO, 0, i);
		bytes += size;
	}
	/* In parts that socket buffers hold, cut at odd places. */
	for (size_t at = 0, part; at < bytes; at += part) {
		part = bytes - at < 33331 ? bytes - at : 33331;
		assert_int_equal(SSL_write_ex(ssl, all + at, part, &n), 1);
		/* All whole frames of it come back. */
		static size_t seen;
		size_t whole = seen;
		for (;;) {
			uint32_t size =
			    (uint32_t)all[whole + 2] << 8 | all[whole + 3];
			if (whole + size > at + part)
				break;
			whole += size;
			if (whole == bytes)
				break;
		}
		for (; seen < whole; seen += n) {
			n = whole - seen < sizeof back ? whole - seen
						       : sizeof back;
			assert_int_equal(read_all(ssl, back, n), 0);
			assert_memory_equal(back, all + seen, n);
		}
	}
	free(all);
	hang_up(ssl);
	stop();
	assert_int_equal(rig.counters.frames, 4000);
	assert_int_equal(rig.counters.bytes_out, bytes);
}

/* A record ends one frame, for whose rest alone there is room, and holds the
 * next: no event will tell of that. */
static void
test_rest_inside_of_tls(void **state)
{
	uint8_t p[10100], back[10100];
	size_t n;

	start(LT_NET_TLS_EITHER);
	SSL *ssl = dial_tls(0);
	assert_non_null(ssl);
	frame_make(p, 10000, ORDER_ECHO, 0, 1);
	frame_make(p + 10000, 100, ORDER_ECHO, 0, 2);
	assert_int_equal(SSL_write_ex(ssl, p, 5000, &n), 1);
	while (rig_counters().bytes_in != 5000)
		;
	assert_int_equal(SSL_write_ex(ssl, p + 5000, 5100, &n), 1);
	assert_int_equal(read_all(ssl, back, sizeof back), 0);
	assert_memory_equal(back, p, sizeof p);
	hang_up(ssl);
	stop();
}

static void
test_modes(void **state)
{
	start(LT_NET_TLS_OFF);
	assert_null(dial_tls(0));
	int fd = dial(rig.port);
	assert_true(echo_once(fd, 100, 1));
	close(fd);
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_TLS], 1);
	start(LT_NET_TLS_ONLY);
	SSL *ssl = dial_tls(0);
	assert_true(echo_tls(ssl, 100, 1));
	hang_up(ssl);
	fd = dial(rig.port);
	assert_int_equal(send_order(fd, ORDER_ECHO, 1), 0);
	assert_true(is_ended(fd));
	close(fd);
	/* Older versions, too. */
	SSL_CTX_set_security_level(context, 0);
	assert_null(dial_tls(TLS1_1_VERSION));
	SSL_CTX_set_security_level(context, 1);
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_TLS], 2);
}

static void
test_last_replies(void **state)
{
	uint8_t p[RIG_HEAD];

	start(LT_NET_TLS_EITHER);
	SSL *ssl = dial_tls(0);
	order_tls(ssl, ORDER_LEND, 20000000);
	SSL_shutdown(ssl);
	shutdown(SSL_get_fd(ssl), SHUT_WR);
	assert_true(pattern_tls(ssl, 20000000));
	assert_int_equal(SSL_read(ssl, p, 1), 0);
	assert_int_equal(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN,
	    SSL_RECEIVED_SHUTDOWN);
	hang_up(ssl);
	ssl = dial_tls(TLS1_2_VERSION);
	order_tls(ssl, ORDER_LATER, 0);
	SSL_shutdown(ssl);
	while (rig_counters().frames != 2)
		;
	rig_release();
	assert_int_equal(read_all(ssl, p, sizeof p), 0);
	assert_int_equal(SSL_read(ssl, p, 1), 0);
	hang_up(ssl);
	ssl = dial_tls(0);
	order_tls(ssl, ORDER_DRAIN, 3000000);
	for (int i = 0; i < 100; i++)
		order_tls(ssl, ORDER_ECHO, 0);
	assert_true(pattern_tls(ssl, 3000000));
	assert_int_equal(SSL_read(ssl, p, 1), 0);
	hang_up(ssl);
	stop();
	assert_int_equal(rig.counters.frames, 3);
}

static void
test_slow_reader(void **state)
{
	uint64_t most = 0;

	start(LT_NET_TLS_EITHER);
	SSL *ssl = dial_tls(0);
	SSL *other = dial_tls(0);
	for (int i = 0; i < 500; i++)
		order_tls(ssl, ORDER_LEND, 100000);
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(echo_tls(other, 1000, i));
		uint64_t unsent = rig_counters().unsent;
		most = unsent > most ? unsent : most;
	}
	assert_in_range(most, 1 << 19, (1 << 20) + 110000);
	for (int i = 0; i < 500; i++)
		assert_true(pattern_tls(ssl, 100000));
	assert_true(echo_tls(ssl, 100, 1));
	hang_up(ssl);
	hang_up(other);
	stop();
}

static void
test_handshake_is_bounded(void **state)
{
	static const uint8_t begun[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3};

	start(LT_NET_TLS_EITHER);
	int fd = dial(rig.port);
	assert_int_equal(send_all(fd, begun, sizeof begun), 0);
	SSL *mute = dial_tls(0); /* made, but no frame */
	SSL *good = dial_tls(0);
	assert_true(echo_tls(good, 100, 1));
	rig_counters();
	rig_advance(10001);
	assert_true(rig_await_current(1));
	assert_true(echo_tls(good, 100, 1));
	close(fd);
	hang_up(mute);
	hang_up(good);
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_HELLO], 2);
}

/* A client's hello with one byte changed, cut, or followed by noise. */
static void
test_garbage(void **state)
{
	uint8_t hello[2000];
	unsigned seed = 4711;

	start(LT_NET_TLS_EITHER);
	SSL *ssl = SSL_new(context);
	BIO *out = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	assert_int_equal(SSL_connect(ssl), -1);
	int bytes = BIO_read(out, hello, sizeof hello);
	assert_in_range(bytes, 100, sizeof hello);
	SSL_free(ssl);
	SSL *good = dial_tls(0);
	for (uint32_t i = 0; i < 1000; i++) {
		int fd = dial(rig.port);
		uint8_t p[2000];

		memcpy(p, hello, sizeof p);
		for (int k = 0; k <= rand_r(&seed) % 4; k++)
			p[1 + rand_r(&seed) % (bytes - 1)] =
			    (uint8_t)rand_r(&seed);
		(void)send_all(fd, p,
		    i % 3 ? (size_t)bytes : (size_t)(rand_r(&seed) % bytes));
		if (i % 2)
			(void)send_all(fd, p + 7, 900);
		close(fd);
		if (i % 20 == 0)
			assert_true(echo_tls(good, 100 + i, i));
	}
	assert_true(rig_await_current(1));
	assert_true(echo_tls(good, 100, 1));
	hang_up(good);
	printf("seed 4711, %llu refused by TLS\n",
	    (unsigned long long)rig_counters().closed[LT_NET_TLS]);
	assert_in_range(rig_counters().closed[LT_NET_TLS], 500, 1000);
	stop();
}

static void
test_load_errors(void **state)
{
	struct lt_tls *none = NULL;
	char why[200] = "";

	assert_int_equal(lt_tls_load("/nowhere", key, &none, why, sizeof why),
	    LEAT_E_CONFIG);
	assert_non_null(strstr(why, "/nowhere"));
	assert_int_equal(
	    lt_tls_load(key, cert, &none, why, sizeof why), LEAT_E_CONFIG);
	assert_null(none);
}

static int
setup(void **state)
{
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || mkdtemp(dir) == NULL)
		return -1;
	SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
	make_certificate(dir, cert, key);
	return 0;
}

static int
teardown(void **state)
{
	SSL_CTX_free(context);
	unlink(cert);
	unlink(key);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_both_on_one_port),
	    cmocka_unit_test(test_pipelined),
	    cmocka_unit_test(test_rest_inside_of_tls),
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_last_replies),
	    cmocka_unit_test(test_slow_reader),
	    cmocka_unit_test(test_handshake_is_bounded),
	    cmocka_unit_test(test_garbage),
	    cmocka_unit_test(test_load_errors),
	};

	signal(SIGPIPE, SIG_IGN); /* of this test's own SSL_write */
	alarm(600); /* a wait for what never comes */
	return cmocka_run_group_tests(tests, setup, teardown);
}
