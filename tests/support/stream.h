/* stream.h - all of some bytes through a socket. */
#ifndef TESTS_SUPPORT_STREAM_H
#define TESTS_SUPPORT_STREAM_H

#include <stddef.h>

int send_all(int fd, const void *p, size_t bytes); /* 0 or -1 */
int recv_all(int fd, void *p, size_t bytes); /* 0, or -1: end or error */

#endif
