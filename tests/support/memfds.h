/*
 * memfds.h - descriptors in the test's own memory: Unix SEQPACKET sockets,
 * epoll sets, memfds, eventfds and pidfds without the kernel, so that a program
 * which is tested with all its partners in one process (tests/queue/play.h)
 * passes messages many times faster.
 *
 * As the kernel has it: who closes with unread messages resets the other side,
 * a full socket says EAGAIN, descriptors travel with messages, seals, numbers
 * that are soon used again, a file behind several descriptors. Not there:
 * waiting (what would sleep says EAGAIN), other processes, several threads,
 * shutdown(), read-only mappings (all mappings of a memfd are the same memory).
 *
 * The calls of libc are replaced by name; other descriptors, and all made
 * before memfds_mount(), are the kernel's, and may travel too.
 */
#ifndef LT_TESTS_MEMFDS_H
#define LT_TESTS_MEMFDS_H

#include <stddef.h>

/* From now on. */
void memfds_mount(void);
/* Descriptors that are open, messages under way not counted. */
size_t memfds_open(void);

#endif
