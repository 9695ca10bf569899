/*
 * fdpass.h - one SOCK_SEQPACKET datagram with descriptors (SCM_RIGHTS).
 * Message boundaries are kept by the kernel, so a peer's death never leaves
 * half a message.
 */
#ifndef LT_BASE_FDPASS_H
#define LT_BASE_FDPASS_H

#include <stddef.h>
#include "base/check.h"

#define LT_FDPASS_MAX 8

/* Send bytes and fd_count descriptors (borrowed). LEAT_OK, AGAIN (socket full,
 * non-blocking), UNREACHABLE (peer gone), IO. Never raises SIGPIPE. */
int lt_fdpass_send(int sock, const void *buf, size_t bytes, const int *fds,
    size_t fd_count) LT_MUST_CHECK;
/* Receive one datagram. *bytes_out is its size; up to LT_FDPASS_MAX descriptors
 * (close-on-exec, owned by the caller) in fds, *fd_count_out of them. A
 * truncated datagram gives CORRUPT, with its descriptors closed. UNREACHABLE:
 * hang-up. AGAIN: nothing there (flags MSG_DONTWAIT or non-blocking socket). */
int lt_fdpass_recv(int sock, void *buf, size_t cap, size_t *bytes_out, int *fds,
    size_t *fd_count_out, int flags) LT_MUST_CHECK;

#endif
