/*
 * net.h - a worker's event loop, its listeners and connections. Door of this
 * room: libevent and OpenSSL are known here and nowhere else.
 *
 * One struct lt_net per worker thread; everything but lt_net_wake() and
 * lt_net_post() is called by that thread only. Input is cut into frames by the
 * owner's `cut`; a frame is handed over once it is whole, in the connection's
 * own buffer. Output is bounded per connection and in all (struct
 * lt_net_limits); who takes nothing is no longer read from, then closed.
 */
#ifndef LT_NET_NET_H
#define LT_NET_NET_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

struct lt_net;
struct lt_conn;
struct lt_tls; /* certificate and key, shared by all workers */

struct lt_net_limits {
	size_t frame_bytes; /* larger: closed */
	size_t conn_bytes; /* unsent of one connection: not read from beyond */
	size_t memory_bytes; /* buffers of all: the largest holder is closed */
	uint32_t connections; /* of this worker; more are closed at once */
	uint32_t idle_ms; /* no byte in either direction: closed */
	uint32_t stall_ms; /* output waits and nothing is taken: closed */
	uint32_t hello_ms; /* from accept to the first whole frame */
};

enum lt_net_tls {
	LT_NET_TLS_OFF, /* a TLS record is refused */
	LT_NET_TLS_EITHER, /* by the first byte */
	LT_NET_TLS_ONLY
};

/* What the owner does; user is lt_net_create's. */
struct lt_net_owner {
	/* Size of the frame that begins at p, of which bytes > 0 are there; 0:
	 * not known yet; negative status: closed. */
	int64_t (*cut)(const uint8_t *p, size_t bytes, void *user);
	void (*opened)(struct lt_conn *c, void *user);
	/* One whole frame, lent for the call, writable. Negative: close. */
	int (*frame)(struct lt_conn *c, uint8_t *p, size_t bytes, void *user);
	/* All frames of this round were handed over, before output is written
	 * and the loop sleeps: submit and wake in one go. */
	void (*round)(void *user);
	/* lt_net_wake() was called by somebody, once or more. */
	void (*woken)(void *user);
	/* Every tick_ms. */
	void (*tick)(uint64_t now_ms, void *user);
	void (*closed)(struct lt_conn *c, void *user);
};

int lt_net_create(const struct lt_net_owner *owner, void *user,
    const struct lt_net_limits *limits, uint32_t tick_ms,
    struct lt_net **out) LT_MUST_CHECK;
void lt_net_destroy(struct lt_net *net); /* closes everything */
/* A bound, listening socket (taken). tag: lt_conn_tag of its connections. */
int lt_net_listen(struct lt_net *net, int fd, int tag, enum lt_net_tls mode,
    struct lt_tls *tls) LT_MUST_CHECK;
/* A connection that we open: `opened` is called when it is up, `closed` if it
 * could not be made as well. */
int lt_net_connect(struct lt_net *net, const struct sockaddr_in *to, int tag,
    struct lt_conn **out) LT_MUST_CHECK;
/* Also watch this descriptor: `ready` is called while it is readable. */
int lt_net_watch(struct lt_net *net, int fd, void (*ready)(void *user),
    void *user) LT_MUST_CHECK;
/* Runs until lt_net_stop(). */
int lt_net_run(struct lt_net *net) LT_MUST_CHECK;
void lt_net_stop(struct lt_net *net); /* any thread, or a signal handler */
void lt_net_wake(struct lt_net *net); /* any thread: `woken` in the loop's */

/* --- connections --------------------------------------------------------- */

/* Unique in this process's life: worker, slot, generation. */
uint64_t lt_conn_id(const struct lt_conn *c);
struct lt_conn *lt_conn_find(struct lt_net *net, uint64_t id); /* NULL: gone */
int lt_conn_tag(const struct lt_conn *c);
const char *lt_conn_peer(const struct lt_conn *c); /* "127.0.0.1:4711" */
const struct sockaddr_in *lt_conn_address(const struct lt_conn *c);
int lt_conn_is_tls(const struct lt_conn *c);
void lt_conn_user_set(struct lt_conn *c, void *user);
void *lt_conn_user(const struct lt_conn *c);
/* Room for `bytes` of output, contiguous, lent until put or the next call;
 * NULL: out of memory, the connection is closed behind this round. */
void *lt_conn_room(struct lt_conn *c, size_t bytes);
void lt_conn_put(struct lt_conn *c, size_t bytes); /* used of the room */
/* Append bytes that stay where they are until done(user) is called, once, from
 * the loop: when sent or when the connection goes. Sent by writev. */
int lt_conn_lend(struct lt_conn *c, const void *p, size_t bytes,
    void (*done)(void *user), void *user) LT_MUST_CHECK;
size_t lt_conn_unsent(const struct lt_conn *c);
/* Close now, or when what is unsent was sent (drain). */
void lt_conn_close(struct lt_conn *c);
void lt_conn_drain(struct lt_conn *c);

/* Certificate chain and key in PEM files; read once. error_out: one line. */
int lt_tls_load(const char *cert_file, const char *key_file,
    struct lt_tls **out, char *error_out, size_t error_bytes) LT_MUST_CHECK;
void lt_tls_free(struct lt_tls *tls);

#endif
