/* stream.c - all of some bytes through a socket, however many calls it takes.
 */
#include "config.h"
#include "tests/support/stream.h"

#include <errno.h>
#include <sys/socket.h>

int
send_all(int fd, const void *p, size_t bytes)
{
	const char *at = p;

	while (bytes > 0) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int
recv_all(int fd, void *p, size_t bytes)
{
	char *at = p;

	while (bytes > 0) {
		ssize_t n = recv(fd, at, bytes, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}
