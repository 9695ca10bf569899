/*
 * port.h - the event loop (loop.c) and sockets of datagrams with an out queue
 * (port.c). They know nothing of what is said on them.
 */
#ifndef LT_QUEUE_PORT_H
#define LT_QUEUE_PORT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/wire.h"

struct lt_manager;

/* --- loop.c: epoll, and memory freed only after a round of events -------- */
struct lt_source {
	int fd;
	void (*ready)(struct lt_source *source, uint32_t events);
};
int lt_loop_init(struct lt_manager *m) LT_MUST_CHECK;
int lt_loop_add(struct lt_manager *m, struct lt_source *source,
    uint32_t events) LT_MUST_CHECK;
void lt_loop_change(
    struct lt_manager *m, struct lt_source *source, uint32_t events);
/* Out of the set; events of this round that still name it are dropped. */
void lt_loop_remove(struct lt_manager *m, struct lt_source *source);
/* Free after this round (events may still point to it). */
void lt_loop_free_later(struct lt_manager *m, void *p);
/* One round: wait at most timeout_ms (-1: for ever), then serve. How many
 * sources had something. */
int lt_loop_round(struct lt_manager *m, int timeout_ms);

/* --- port.c: a SEQPACKET socket with an out queue ------------------------ */
struct lt_port_msg;
struct lt_port {
	struct lt_source source; /* first: ready() casts */
	struct lt_manager *m;
	struct lt_port_msg *head;
	struct lt_port_msg **tail;
	size_t queued_bytes;
	size_t limit_bytes;
	int paused; /* 1: nothing is read */
	/* msg is a private copy, 8-byte aligned. Descriptors not taken (set to
	 * -1 in fds) are closed afterwards. */
	void (*message)(struct lt_port *port, struct lt_wire *msg, size_t bytes,
	    int *fds, size_t fd_count);
	void (*hangup)(struct lt_port *port); /* must close the port */
};
/* Takes fd. limit and callbacks are set by the caller before. */
int lt_port_open(
    struct lt_manager *m, struct lt_port *port, int fd) LT_MUST_CHECK;
void lt_port_close(struct lt_port *port);
/* Never blocks; fds are borrowed. LEAT_OK, LIMIT (the reader does not read),
 * UNREACHABLE. */
int lt_port_send(struct lt_port *port, const void *msg, size_t bytes,
    const int *fds, size_t fd_count) LT_MUST_CHECK;
void lt_port_pause(struct lt_port *port, int paused);
/* Write out what is queued, waiting at most timeout_ms. */
void lt_port_drain(struct lt_port *port, int timeout_ms);

#endif
