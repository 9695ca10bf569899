/* post_test.c - messages to a slow child: order, descriptors, its death. */
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

#include "leat/status.h"
#include "supervisor/supervisor.h"

static struct lt_postbox box;
static struct lt_keep_table table;
static int child;

static int
setup(void **state)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, ends) != 0)
		return -1;
	lt_post_init(&box);
	lt_keep_init(&table);
	box.sock = ends[0];
	child = ends[1];
	return 0;
}

static int
teardown(void **state)
{
	lt_post_close(&box);
	lt_keep_fini(&table);
	if (child >= 0)
		close(child);
	return 0;
}

static void
send_number(uint64_t number, const int *fds, size_t fd_count)
{
	struct lt_wire_start msg = {.boot = number};

	lt_wire_init(&msg.h, LT_OP_SUP_OPTIONS, sizeof msg, 0, 0);
	assert_int_equal(
	    lt_post_send(&box, &msg, sizeof msg, fds, fd_count), LEAT_OK);
}

static void
survives_a_full_socket_in_order(void **state)
{
	struct lt_wire_start msg;
	size_t bytes, fd_count;
	int fds[LT_FDPASS_MAX];
	char byte = 0;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (uint64_t i = 0; i < 100; i++)
		send_number(i, &ends[1], 1);
	assert_true(lt_post_waits(&box)); /* else nothing is tested */
	close(ends[1]);
	for (uint64_t i = 0; i < 100; i++) {
		lt_post_flush(&box);
		assert_int_equal(lt_fdpass_recv(child, &msg, sizeof msg, &bytes,
				     fds, &fd_count, 0),
		    LEAT_OK);
		assert_int_equal(msg.boot, i);
		assert_int_equal(fd_count, 1);
		assert_int_equal(write(fds[0], &byte, 1), 1);
		assert_int_equal(read(ends[0], &byte, 1), 1);
		close(fds[0]);
	}
	assert_false(lt_post_waits(&box));
	/* Every duplicate is closed. */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

static void
forgets_what_a_dead_child_does_not_read(void **state)
{
	char byte;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (uint64_t i = 0; i < 100; i++)
		send_number(i, &ends[1], 1);
	close(ends[1]);
	assert_true(lt_post_waits(&box));
	close(child);
	child = -1;
	lt_post_flush(&box);
	assert_false(lt_post_waits(&box));
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	send_number(1, NULL, 0); /* no error, no signal */
	lt_post_close(&box);
	send_number(1, NULL, 0);
}

static void
replays_before_what_follows(void **state)
{
	struct lt_wire_keep keep = {.kind = LT_KEEP_SESSION};
	static _Alignas(8) char buf[LT_WIRE_MAX];
	struct lt_wire h;
	size_t bytes, fd_count, seen = 0;
	int fds[LT_FDPASS_MAX];

	for (keep.id = 0; keep.id < 1000; keep.id++) {
		int ends[2];
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		close(ends[1]);
		assert_int_equal(lt_keep_put(&table, &keep, ends, 1), LEAT_OK);
		if (keep.id >= 200)
			lt_keep_drop(&table, keep.kind, keep.id - 200);
	}
	assert_int_equal(lt_post_replay(&box, &table), LEAT_OK);
	assert_true(lt_post_waits(&box));
	send_number(5, NULL, 0);
	/* What is dropped now was promised already. */
	lt_keep_drop(&table, LT_KEEP_SESSION, 999);
	for (;;) {
		lt_post_flush(&box);
		assert_int_equal(lt_fdpass_recv(child, buf, sizeof buf, &bytes,
				     fds, &fd_count, 0),
		    LEAT_OK);
		memcpy(&h, buf, sizeof h);
		if (h.op != LT_OP_SUP_KEPT)
			break;
		memcpy(&keep, buf, sizeof keep);
		assert_int_equal(keep.id, 800 + seen);
		assert_int_equal(fd_count, 1);
		close(fds[0]);
		seen++;
	}
	assert_int_equal(seen, 200);
	assert_int_equal(h.op, LT_OP_SUP_OPTIONS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(survives_a_full_socket_in_order),
	    T(forgets_what_a_dead_child_does_not_read),
	    T(replays_before_what_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
