/*
 * nethostile_test.c - peers that lie, break off and scribble, and a kernel that
 * fails: the loop stays, others get every byte, nothing is kept.
 *   LEAT_SEED=N, LEAT_LONG=1: 100,000 hostile connections instead of 2,000
 */
#include "config.h"
#include "netrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/sys.h"
#include "leat/status.h"

static char dir[] = "/tmp/leat-hostile-XXXXXX";
static char cert[256], key[256];
static SSL_CTX *context;
static struct lt_tls *tls;
static unsigned seed;

static unsigned
draw(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static void
start(void)
{
	char why[200];

	assert_int_equal(
	    lt_tls_load(cert, key, &tls, why, sizeof why), LEAT_OK);
	rig_start(&rig_limits, LT_NET_TLS_EITHER, tls);
}

static void
stop(void)
{
	rig_stop();
	lt_tls_free(tls);
}

static int
echo_tls(SSL *ssl, uint32_t bytes, uint32_t n)
{
	uint8_t p[4000], back[4000];
	size_t k;

	frame_make(p, bytes, ORDER_ECHO, 0, n);
	if (SSL_write_ex(ssl, p, bytes, &k) != 1)
		return 0;
	for (size_t at = 0; at < bytes; at += k)
		if (SSL_read_ex(ssl, back + at, bytes - at, &k) != 1)
			return 0;
	return memcmp(p, back, bytes) == 0;
}

static SSL *
dial_tls(int *fd_out)
{
	SSL *ssl = SSL_new(context);

	*fd_out = dial(rig.port);
	SSL_set_fd(ssl, *fd_out);
	if (SSL_connect(ssl) == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

/* --- hostile peers ------------------------------------------------------- */

enum kind {
	KIND_RANDOM,
	KIND_TRUNCATED,
	KIND_LARGE_CLAIM,
	KIND_NO_LENGTH,
	KIND_TLS_NOISE, /* looks like a hello */
	KIND_TLS_BROKEN, /* noise inside of a made session */
	KIND_SILENT,
	KIND_NOT_READING,
	KIND_HALF,
	KIND_ORDERS, /* legal, any argument, gone before the reply */
	KIND_COUNT
};

static void
noise(uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)draw(256);
}

static void
break_tls(int fd)
{
	uint8_t p[600];
	SSL *ssl = SSL_new(context);

	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) == 1) {
		if (draw(2))
			(void)echo_tls(ssl, 100 + draw(3000), draw(1000));
		noise(p, sizeof p);
		p[0] = 23; /* application data */
		p[1] = p[2] = 3;
		p[3] = (uint8_t)draw(3);
		(void)send_all(fd, p, 5 + draw(590));
	}
	SSL_free(ssl);
}

static void
misbehave(int fd, enum kind kind)
{
	static uint8_t p[70000];
	size_t bytes = 1 + draw(draw(2) ? 40 : 5000);

	noise(p, bytes + RIG_HEAD);
	switch (kind) {
	case KIND_RANDOM:
		break;
	case KIND_TRUNCATED:
		frame_make(p, (uint32_t)bytes + RIG_HEAD, ORDER_ECHO, 0, 1);
		break;
	case KIND_LARGE_CLAIM:
		p[0] = (uint8_t)draw(2);
		p[1] = (uint8_t)(0xF0 + draw(16));
		break;
	case KIND_NO_LENGTH:
		memset(p, 0, 4);
		break;
	case KIND_TLS_NOISE:
		p[0] = 0x16;
		p[1] = 3;
		p[2] = 1;
		p[3] = (uint8_t)draw(80);
		p[5] = 1;
		break;
	case KIND_TLS_BROKEN:
		break_tls(fd);
		return;
	case KIND_SILENT:
		return;
	case KIND_NOT_READING:
		for (int i = 0; i < 20; i++)
			(void)send_order(fd, ORDER_LEND, draw(300000));
		return;
	case KIND_HALF:
		(void)send_order(fd, ORDER_FILL, draw(100000));
		(void)send_all(fd, p, bytes % 12);
		shutdown(fd, SHUT_WR);
		return;
	case KIND_ORDERS:
		for (unsigned i = draw(6); i < 6; i++) {
			enum order order = draw(ORDER_CHAIN + 1);

			if (order != ORDER_CLOSE_ALL && order != ORDER_LATER)
				(void)send_order(fd, order, 1 + draw(2000));
		}
		return;
	case KIND_COUNT:
		break;
	}
	(void)send_all(fd, p, bytes);
}

/* A good peer, in a thread: until it is told to stop, or an echo is not right.
 */
struct good {
	pthread_t thread;
	SSL *ssl; /* NULL: plain */
	int fd;
	atomic_int must_stop;
	int echoes, is_wrong;
};

static void *
good_stream(void *user)
{
	struct good *g = user;

	while (!g->is_wrong && !g->must_stop) {
		uint32_t n = (uint32_t)g->echoes, bytes = 12 + n * 37 % 3900;

		g->is_wrong = !(g->ssl != NULL ? echo_tls(g->ssl, bytes, n)
					       : echo_once(g->fd, bytes, n));
		g->echoes++;
	}
	return NULL;
}

static void
test_hostile_peers(void **state)
{
	unsigned count = getenv("LEAT_LONG") != NULL ? 100000 : 2000;
	unsigned done[KIND_COUNT] = {0};
	int kept[64] = {0};
	struct good good[2] = {0};

	printf("LEAT_SEED=%u, %u connections\n", seed, count);
	start();
	for (int k = 0; k < 2; k++) {
		struct good *g = &good[k];

		if (k == 0)
			g->fd = dial(rig.port);
		else
			g->ssl = dial_tls(&g->fd);
		assert_int_equal(
		    pthread_create(&g->thread, NULL, good_stream, g), 0);
	}
	for (unsigned i = 0; i < count; i++) {
		struct linger reset = {.l_onoff = 1};
		enum kind kind = draw(KIND_COUNT);
		int *slot = &kept[draw(64)];
		int fd = dial(rig.port);

		assert_true(fd >= 0);
		misbehave(fd, kind);
		done[kind]++;
		if (draw(3) == 0)
			setsockopt(
			    fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		if (*slot != 0)
			close(*slot);
		*slot = fd;
	}
	for (int i = 0; i < 64; i++)
		if (kept[i] != 0)
			close(kept[i]);
	for (int k = 0; k < 2; k++) {
		good[k].must_stop = 1;
		assert_int_equal(pthread_join(good[k].thread, NULL), 0);
		assert_int_equal(good[k].is_wrong, 0);
		assert_true(good[k].echoes >= 10);
		SSL_free(good[k].ssl);
		close(good[k].fd);
	}
	assert_true(rig_await_current(0));
	struct lt_net_counters now = rig_counters();
	assert_int_equal(now.memory, 0);
	assert_int_equal(now.unsent, 0);
	assert_int_equal(now.tls, 0);
	assert_int_equal(now.accepted, count + 2);
	for (int k = 0; k < KIND_COUNT; k++)
		assert_true(done[k] > 0);
	printf("closed: peer %llu owner %llu frame %llu error %llu tls %llu\n",
	    (unsigned long long)now.closed[LT_NET_PEER],
	    (unsigned long long)now.closed[LT_NET_OWNER],
	    (unsigned long long)now.closed[LT_NET_FRAME],
	    (unsigned long long)now.closed[LT_NET_ERROR],
	    (unsigned long long)now.closed[LT_NET_TLS]);
	stop();
}

/* The first bytes, all of them, then a few random ones behind each. */
static void
test_first_bytes(void **state)
{
	start();
	for (unsigned first = 0; first < 256; first++) {
		uint8_t p[16];
		int fd = dial(rig.port);

		noise(p, sizeof p);
		p[0] = (uint8_t)first;
		assert_int_equal(send_all(fd, p, sizeof p), 0);
		shutdown(fd, SHUT_WR);
		while (recv(fd, p, sizeof p, 0) > 0)
			; /* an alert, mostly nothing */
		close(fd);
	}
	assert_true(rig_await_current(0));
	stop();
	assert_int_equal(rig.counters.accepted, 256);
	assert_int_equal(rig.counters.closed[LT_NET_TLS], 1);
}

/* --- a failing kernel ---------------------------------------------------- */

enum call {
	CALL_ACCEPT,
	CALL_CONNECT,
	CALL_RECV,
	CALL_SEND,
	CALL_COUNT
};

static struct lt_sys kernel;
static atomic_int fault; /* errno; 0: none; -1: half the bytes */
static atomic_long countdown[CALL_COUNT];
static atomic_int struck;
static atomic_int allocations; /* of them the n-th fails; 0: none */

void *__real_lt_mem_resize(void *p, size_t bytes);
void *__wrap_lt_mem_resize(void *p, size_t bytes);
void *__real_lt_mem_alloc(size_t bytes);
void *__wrap_lt_mem_alloc(size_t bytes);

static int
strikes(enum call call)
{
	int err = atomic_load(&fault);

	if (err == 0 || atomic_fetch_sub(&countdown[call], 1) != 1)
		return 0;
	atomic_store(&struck, 1);
	errno = err;
	return err;
}

static int
failing_accept4(int fd, struct sockaddr *peer, socklen_t *bytes, int flags)
{
	return strikes(CALL_ACCEPT) ? -1
				    : kernel.accept4(fd, peer, bytes, flags);
}

static int
failing_connect(int fd, const struct sockaddr *to, socklen_t bytes)
{
	return strikes(CALL_CONNECT) ? -1 : kernel.connect(fd, to, bytes);
}

static ssize_t
failing_recv(int fd, void *p, size_t bytes, int flags)
{
	int what = strikes(CALL_RECV);

	if (what < 0)
		bytes = (bytes + 1) / 2;
	return what > 0 ? -1 : kernel.recv(fd, p, bytes, flags);
}

static ssize_t
failing_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	int what = strikes(CALL_SEND);
	struct iovec v = msg->msg_iov[0];
	struct msghdr half = {.msg_iov = &v, .msg_iovlen = 1};

	if (what == 0)
		return kernel.sendmsg(fd, msg, flags);
	v.iov_len = (v.iov_len + 1) / 2;
	return what > 0 ? -1 : kernel.sendmsg(fd, &half, flags);
}

static int
memory_fails(void)
{
	if (atomic_load(&allocations) == 0 ||
	    atomic_fetch_sub(&allocations, 1) != 1)
		return 0;
	atomic_store(&struck, 1);
	return 1;
}

void *
__wrap_lt_mem_resize(void *p, size_t bytes)
{
	return memory_fails() ? NULL : __real_lt_mem_resize(p, bytes);
}

void *
__wrap_lt_mem_alloc(size_t bytes)
{
	return memory_fails() ? NULL : __real_lt_mem_alloc(bytes);
}

static void
arm(enum call call, int err, long at)
{
	atomic_store(&struck, 0);
	for (int i = 0; i < CALL_COUNT; i++)
		atomic_store(&countdown[i], -1);
	atomic_store(&countdown[call], at);
	atomic_store(&fault, err);
}

/* A little of everything; how many of its steps went right. */
static int
story(void)
{
	static const uint8_t part[5] = {0, 0, 1, 0, 0};
	int right = 0;
	int fd = dial(rig.port), tls_fd;

	right += echo_once(fd, 100, 1);
	right += send_order(fd, ORDER_LEND, 3000000) == 0 &&
		 recv_pattern(fd, 3000000);
	right += echo_once(fd, 300000, 2);
	(void)send_all(fd, part, sizeof part);
	close(fd);
	SSL *ssl = dial_tls(&tls_fd);
	right += ssl != NULL && echo_tls(ssl, 3000, 3);
	right += ssl != NULL && echo_tls(ssl, 200, 4);
	SSL_free(ssl);
	close(tls_fd);
	fd = dial(rig.port);
	right += send_order(fd, ORDER_DRAIN, 100) == 0 &&
		 recv_pattern(fd, 100) && is_ended(fd);
	close(fd);
	rig_connect(rig.port, 0);
	return right;
}

#define STEPS 6

/* The n-th call of this kind fails so, for each n; without harm if it must do
 * none, else only the connection that it befell is lost. */
static long
each_call(enum call call, int err, int is_harmless)
{
	long n = 1;

	for (;; n++) {
		start();
		arm(call, err, n);
		int right = story();
		atomic_store(&fault, 0);
		if (right < (is_harmless ? STEPS : 2))
			printf("call %ld of kind %d, error %d: %d right\n", n,
			    (int)call, err, right);
		if (is_harmless)
			assert_int_equal(right, STEPS);
		else
			assert_in_range(right, 2, STEPS);
		int fd = dial(rig.port);
		assert_true(echo_once(fd, 1000, 9));
		close(fd);
		stop();
		if (!atomic_load(&struck))
			return n - 1;
	}
}

static void
test_each_call_fails(void **state)
{
	static const struct {
		enum call call;
		int err, is_harmless;
		const char *name;
	} all[] = {{CALL_ACCEPT, EMFILE, 1, "accept4 EMFILE"},
	    {CALL_ACCEPT, ENFILE, 1, "accept4 ENFILE"},
	    {CALL_ACCEPT, ENOBUFS, 1, "accept4 ENOBUFS"},
	    {CALL_ACCEPT, ECONNABORTED, 1, "accept4 ECONNABORTED"},
	    {CALL_ACCEPT, EINTR, 1, "accept4 EINTR"},
	    {CALL_ACCEPT, EAGAIN, 1, "accept4 EAGAIN"},
	    {CALL_CONNECT, ENETUNREACH, 1, "connect ENETUNREACH"},
	    {CALL_RECV, EINTR, 1, "recv EINTR"},
	    {CALL_RECV, EAGAIN, 1, "recv EAGAIN"},
	    {CALL_RECV, -1, 1, "recv of half"},
	    {CALL_RECV, ECONNRESET, 0, "recv ECONNRESET"},
	    {CALL_RECV, ENOMEM, 0, "recv ENOMEM"},
	    {CALL_SEND, EINTR, 1, "sendmsg EINTR"},
	    {CALL_SEND, EAGAIN, 1, "sendmsg EAGAIN"},
	    {CALL_SEND, -1, 1, "sendmsg of half"},
	    {CALL_SEND, EPIPE, 0, "sendmsg EPIPE"},
	    {CALL_SEND, ENOBUFS, 0, "sendmsg ENOBUFS"}};

	kernel = lt_sys;
	lt_sys.accept4 = failing_accept4;
	lt_sys.connect = failing_connect;
	lt_sys.recv = failing_recv;
	lt_sys.sendmsg = failing_sendmsg;
	for (size_t i = 0; i < LT_COUNT(all); i++) {
		long calls =
		    each_call(all[i].call, all[i].err, all[i].is_harmless);

		printf("%s: %ld calls\n", all[i].name, calls);
		assert_true(calls > 0);
	}
	lt_sys = kernel;
}

static void
test_no_memory(void **state)
{
	int n = 1;

	for (;; n++) {
		start();
		atomic_store(&struck, 0);
		atomic_store(&allocations, n);
		int right = story();
		atomic_store(&allocations, 0);
		assert_in_range(right, 2, STEPS);
		int fd = dial(rig.port);
		assert_true(echo_once(fd, 1000, 9));
		close(fd);
		stop();
		if (!atomic_load(&struck))
			break;
	}
	printf("%d allocations\n", n - 1);
	assert_true(n > 5);
}

static int
setup(void **state)
{
	const char *given = getenv("LEAT_SEED");

	seed = given != NULL ? (unsigned)atoi(given) : (unsigned)getpid();
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || mkdtemp(dir) == NULL)
		return -1;
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
	    cmocka_unit_test(test_hostile_peers),
	    cmocka_unit_test(test_first_bytes),
	    cmocka_unit_test(test_each_call_fails),
	    cmocka_unit_test(test_no_memory),
	};

	signal(SIGPIPE, SIG_IGN); /* of this test's own SSL_write */
	alarm(getenv("LEAT_LONG") != NULL ? 3600 : 600);
	return cmocka_run_group_tests(tests, setup, teardown);
}
