/* notify_test.c - what reaches the service manager's socket. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/notify.h"

static int
listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, n);
	if (path[0] == '@')
		at.sun_path[0] = 0;
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&at,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
	    0);
	return fd;
}

static void
says(int fd, const char *want)
{
	char text[512];
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	text[n] = 0;
	assert_string_equal(text, want);
}

static void
reaches_a_path(void **state)
{
	char path[] = "/tmp/leat-notify-XXXXXX";
	char sock[64];

	assert_non_null(mkdtemp(path));
	snprintf(sock, sizeof sock, "%s/s", path);
	int fd = listen_at(sock);
	setenv("NOTIFY_SOCKET", sock, 1);
	assert_int_equal(lt_notify_init(), 1);
	assert_null(getenv("NOTIFY_SOCKET")); /* children do not get it */
	lt_notify_send("READY=1\nSTATUS=%d %%", 12);
	says(fd, "READY=1\nSTATUS=12 %");
	close(fd);
	lt_notify_send("READY=1"); /* nobody there: no error */
	unlink(sock);
	rmdir(path);
}

static void
reaches_an_abstract_name(void **state)
{
	char name[64];

	snprintf(name, sizeof name, "@leat-notify-test-%d", (int)getpid());
	int fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(lt_notify_init(), 1);
	lt_notify_send("STOPPING=1");
	says(fd, "STOPPING=1");
	close(fd);
}

static void
is_silent_without_a_listener(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(lt_notify_init(), 0);
	lt_notify_send("READY=1");
	setenv("NOTIFY_SOCKET", "not/absolute", 1);
	assert_int_equal(lt_notify_init(), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(lt_notify_init(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reaches_a_path),
	    cmocka_unit_test(reaches_an_abstract_name),
	    cmocka_unit_test(is_silent_without_a_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
