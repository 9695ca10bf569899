/*
 * fake_child.c - stands in for leat-store, leat-queue and leat-gateway (copied
 * under their names), so that leatd can be tested without them. What it meets
 * goes as one line each into DIR/fake.log; what it does besides is asked for by
 * files: DIR/NAME.die   exit 9 after START DIR/NAME.deaf  do not stop on
 * SUP_STOP DIR/NAME.noise send a malformed message once (the file is removed)
 *   DIR/NAME.keep  generation 1 gives a segment with the text "kept"
 *   DIR/NAME.linger stay a second after the supervisor's death, holding DIR
 * Store and queue manager greet each other over every peer socket they are
 * given.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "leat/status.h"
#include "proto/wire.h"

static const char *name;
static int dir = -1;
static int peer = -1;
static int listener = -1;
static unsigned kept;
static char kept_text[8];

static void LT_PRINTF(1, 2) say(const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n = snprintf(text, sizeof text, "%s ", name);

	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, ap);
	va_end(ap);
	text[n++] = '\n';
	int fd = openat(dir, "fake.log", O_WRONLY | O_APPEND | O_CREAT, 0644);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		_exit(20);
	close(fd);
}

static int
asked(const char *what)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof path, "%s.%s", name, what);
	return fstatat(dir, path, &st, 0) == 0;
}

static void
tell(enum lt_op op)
{
	struct lt_wire_none msg = {0};

	lt_wire_init(&msg.h, op, sizeof msg, 0, 0);
	if (lt_fdpass_send(3, &msg, sizeof msg, NULL, 0) != LEAT_OK)
		_exit(21);
}

static void
greet(int fd)
{
	char text[32];

	if (peer >= 0)
		close(peer);
	peer = fd;
	snprintf(text, sizeof text, "hello from %s", name);
	/* The other may have died meanwhile; then there is another pair. */
	int rc = lt_fdpass_send(peer, text, strlen(text) + 1, NULL, 0);
	if (rc != LEAT_OK && rc != LEAT_E_UNREACHABLE)
		_exit(22);
}

static void
give(void)
{
	struct lt_wire_keep msg = {0};
	int fd = memfd_create("kept", MFD_CLOEXEC);

	if (fd < 0 || write(fd, "kept", 5) != 5)
		_exit(23);
	lt_wire_init(&msg.h, LT_OP_SUP_KEEP, sizeof msg, 0, 0);
	msg.kind = LT_KEEP_STATE;
	msg.blob_bytes = 3;
	memcpy(msg.blob, "abc", 3);
	if (lt_fdpass_send(3, &msg, sizeof msg, &fd, 1) != LEAT_OK)
		_exit(24);
	close(fd);
}

static void
start(const struct lt_wire_start *msg, const int *fds, size_t fd_count)
{
	int queue = strcmp(name, "leat-queue") == 0;
	char noise_path[64];

	int gateway = strcmp(name, "leat-gateway") == 0;
	if (fd_count != (queue ? 4u : gateway ? 2u : 3u))
		_exit(25);
	dir = fds[1];
	listener = queue ? fds[3] : -1;
	say("start gen=%llu store_gen=%llu boot=%d kept=%u text=%s level=%llu "
	    "stdout=%d lock=%d",
	    (unsigned long long)msg->generation,
	    (unsigned long long)msg->store_gen, msg->boot != 0, kept, kept_text,
	    (unsigned long long)msg->options.store_level, isatty(1),
	    fcntl(4, F_GETFD) >= 0);
	if (!gateway)
		greet(fds[2]);
	if (asked("die"))
		_exit(9);
	if (asked("keep") && msg->generation == 1)
		give();
	tell(LT_OP_SUP_READY);
	snprintf(noise_path, sizeof noise_path, "%s.noise", name);
	if (asked("noise") && unlinkat(dir, noise_path, 0) == 0)
		tell(LT_OP_SUP_STOP); /* not ours to send */
}

static void
take(const void *buf, const int *fds, size_t fd_count)
{
	struct lt_wire h;

	memcpy(&h, buf, sizeof h);
	switch (h.op) {
	case LT_OP_SUP_KEPT:
		kept++;
		if (fd_count == 1 && pread(fds[0], kept_text, 5, 0) != 5)
			_exit(26);
		break;
	case LT_OP_SUP_START:
		start(buf, fds, fd_count);
		break;
	case LT_OP_SUP_PEER:
		say("peer number=%llu",
		    (unsigned long long)((const struct lt_wire_number *)buf)
			->number);
		greet(fds[0]);
		break;
	case LT_OP_SUP_OPTIONS:
		say("options level=%llu",
		    (unsigned long long)((const struct lt_wire_start *)buf)
			->options.store_level);
		break;
	case LT_OP_SUP_CHECK:
		_exit(0);
	case LT_OP_SUP_STOP:
		say("stop");
		if (!asked("deaf"))
			_exit(0);
		break;
	default:
		_exit(27);
	}
}

static void
hear(void)
{
	char text[64];
	size_t bytes, fd_count;
	int fds[LT_FDPASS_MAX];

	int rc =
	    lt_fdpass_recv(peer, text, sizeof text, &bytes, fds, &fd_count, 0);
	if (rc == LEAT_OK) {
		say("heard %s", text);
		return;
	}
	say("peer gone");
	close(peer);
	peer = -1;
}

int
main(int argc, char **argv)
{
	static _Alignas(8) char buf[LT_WIRE_MAX];
	int fds[LT_FDPASS_MAX];
	size_t bytes, fd_count;

	const char *slash = strrchr(argv[0], '/');
	name = slash == NULL ? argv[0] : slash + 1;
	for (;;) {
		struct pollfd p[2] = {{.fd = 3, .events = POLLIN},
		    {.fd = peer, .events = POLLIN}};
		if (poll(p, 2, -1) < 0)
			_exit(28);
		if (p[1].revents != 0)
			hear();
		if (p[0].revents == 0)
			continue;
		int rc = lt_fdpass_recv(
		    3, buf, sizeof buf, &bytes, fds, &fd_count, 0);
		if (rc == LEAT_E_UNREACHABLE) {
			if (dir >= 0 && asked("linger"))
				sleep(1);
			_exit(0);
		}
		if (rc != LEAT_OK)
			_exit(29);
		take(buf, fds, fd_count);
	}
}
