/* fdpass_test.c - datagrams with descriptors, and what a dead peer leaves. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "leat/status.h"

static int a, b;

static int
setup(void **state)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	a = ends[0];
	b = ends[1];
	return 0;
}

static int
teardown(void **state)
{
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	return 0;
}

static int
recv_b(char *buf, size_t cap, size_t *bytes, int *fds, size_t *count)
{
	return lt_fdpass_recv(b, buf, cap, bytes, fds, count, MSG_DONTWAIT);
}

static void
carries_descriptors(void **state)
{
	char buf[16];
	int fds[LT_FDPASS_MAX], out[LT_FDPASS_MAX], p[2];
	size_t bytes, count;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	for (int i = 0; i < LT_FDPASS_MAX; i++)
		out[i] = p[1];
	assert_int_equal(
	    lt_fdpass_send(a, "hello", 5, out, LT_FDPASS_MAX), LEAT_OK);
	assert_int_equal(recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_OK);
	assert_int_equal(bytes, 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(count, LT_FDPASS_MAX);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		assert_int_equal(write(fds[i], "x", 1), 1);
		close(fds[i]);
	}
	close(p[1]);
	assert_int_equal(read(p[0], buf, sizeof buf), LT_FDPASS_MAX);
	assert_int_equal(read(p[0], buf, 1), 0); /* none is left */
	close(p[0]);
}

static void
refuses_what_does_not_fit(void **state)
{
	char buf[4];
	int fds[LT_FDPASS_MAX], p[2];
	size_t bytes, count;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(lt_fdpass_send(a, "hello", 5, &p[1], 1), LEAT_OK);
	close(p[1]);
	assert_int_equal(
	    recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_E_CORRUPT);
	assert_int_equal(count, 0);
	assert_int_equal(read(p[0], buf, 1), 0); /* it was closed */
	close(p[0]);
	assert_int_equal(lt_fdpass_send(a, "next", 4, NULL, 0), LEAT_OK);
	assert_int_equal(recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_OK);
	assert_int_equal(bytes, 4);
}

static void
too_many_descriptors_are_closed(void **state)
{
	char control[CMSG_SPACE(sizeof(int) * (LT_FDPASS_MAX + 1))] = {0};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int many[LT_FDPASS_MAX + 1], fds[LT_FDPASS_MAX], p[2];
	size_t bytes, count;
	char buf[4];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	for (int i = 0; i <= LT_FDPASS_MAX; i++)
		many[i] = p[1];
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof many);
	memcpy(CMSG_DATA(c), many, sizeof many);
	assert_int_equal(sendmsg(a, &msg, 0), 1);
	close(p[1]);
	assert_int_equal(
	    recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_E_CORRUPT);
	assert_int_equal(read(p[0], buf, 1), 0);
	close(p[0]);
}

static void
tells_empty_full_and_gone_apart(void **state)
{
	static char big[4096];
	char buf[4];
	int fds[LT_FDPASS_MAX];
	size_t bytes, count;
	int rc;

	assert_int_equal(
	    recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_E_AGAIN);
	assert_int_equal(fcntl(a, F_SETFL, O_NONBLOCK), 0);
	do
		rc = lt_fdpass_send(a, big, sizeof big, NULL, 0);
	while (rc == LEAT_OK);
	assert_int_equal(rc, LEAT_E_AGAIN);
	close(b);
	b = -1;
	assert_int_equal(
	    lt_fdpass_send(a, "x", 1, NULL, 0), LEAT_E_UNREACHABLE);
}

/* The peer dies with unread messages in its own queue: the kernel reports
 * that first, but what the peer sent before must not be lost. */
static void
last_words_outlive_a_reset(void **state)
{
	char buf[16];
	int fds[LT_FDPASS_MAX];
	size_t bytes, count;

	assert_int_equal(lt_fdpass_send(b, "unread", 6, NULL, 0), LEAT_OK);
	assert_int_equal(lt_fdpass_send(a, "last", 4, NULL, 0), LEAT_OK);
	close(a);
	a = -1;
	assert_int_equal(recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_OK);
	assert_int_equal(bytes, 4);
	assert_memory_equal(buf, "last", 4);
	assert_int_equal(
	    recv_b(buf, sizeof buf, &bytes, fds, &count), LEAT_E_UNREACHABLE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(carries_descriptors),
	    T(refuses_what_does_not_fit),
	    T(too_many_descriptors_are_closed),
	    T(tells_empty_full_and_gone_apart),
	    T(last_words_outlive_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
