/*
 * notify.c - the sd_notify protocol without its library: a datagram of lines
 * to the AF_UNIX socket named by NOTIFY_SOCKET; a leading @ is abstract.
 */
#include "config.h"
#include "supervisor/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un to;
static socklen_t to_bytes; /* 0: nobody listens */

int
lt_notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path == NULL ? 0 : strlen(path);

	to_bytes = 0;
	if (n >= 2 && n < sizeof to.sun_path &&
	    (path[0] == '/' || path[0] == '@')) {
		memset(&to, 0, sizeof to);
		to.sun_family = AF_UNIX;
		memcpy(to.sun_path, path, n);
		if (path[0] == '@')
			to.sun_path[0] = 0;
		to_bytes =
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	}
	unsetenv("NOTIFY_SOCKET");
	return to_bytes != 0;
}

void
lt_notify_send(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (to_bytes == 0)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof text)
		return;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	ssize_t sent = sendto(fd, text, (size_t)n, MSG_NOSIGNAL,
	    (const struct sockaddr *)&to, to_bytes);
	(void)sent;
	close(fd);
}
