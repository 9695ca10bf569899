/*
 * net.h - a worker's event loop, its listeners and connections. Door of this
 * room: libevent and OpenSSL are known here and nowhere else.
 *
 * One struct lt_net per worker thread; everything but lt_net_wake() and
 * lt_net_stop() is called by that thread only. Input is cut into frames by the
 * owner's `cut`; a frame is handed over once it is whole. Output is bounded per
 * connection and in all (struct lt_net_limits); who takes nothing is no longer
 * read from, then closed.
 *
 * Any callback may close any connection. What was closed takes no more frames
 * and no more output, lt_conn_find() does not find it; it is destroyed, its
 * lent ranges given back and `closed` called, behind the round.
 */
#ifndef LT_NET_NET_H
#define LT_NET_NET_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "base/secret.h"

struct lt_net;
struct lt_conn;
struct lt_principal;
struct lt_tls; /* certificate and key, shared by all workers */
struct lt_channels; /* the same of Leat channels */

#define LT_NET_CONNECTIONS_MAX (1u << 20)
#define LT_NET_ADDRESS_TEXT 24 /* "127.0.0.1:4711", with NUL */

/* Connections that an address may make to a channel's listener; more are closed
 * before a byte is read. Of LT_BUCKET_SOURCES addresses, those seen last. */
#define LT_NET_HELLOS_S 20
#define LT_NET_HELLOS_BURST 100
/* Usual bounds of struct lt_net_limits. */
#define LT_NET_HALF_OPEN 1024
#define LT_NET_SHAKE_MS 5000

/* Times of 0: no limit. They are looked at every tick. */
struct lt_net_limits {
	size_t frame_bytes; /* larger: closed */
	size_t conn_bytes; /* unsent of one connection: not read from beyond,
			    * and no more of its frames are handed over, until
			    * half of it was taken */
	size_t memory_bytes; /* buffers of all, without what is lent: the
			      * largest holder is closed */
	uint32_t connections; /* of this worker; more are closed at once */
	uint32_t idle_ms; /* no byte in either direction: closed */
	uint32_t stall_ms; /* output waits and nothing is taken: closed */
	uint32_t hello_ms; /* from accept to the first whole frame; from
			    * connect until it is up; of a channel, from the
			    * handshake on */
	uint32_t half_open; /* channels whose handshake is not made: beyond it
			     * the oldest is closed; 0: no limit */
	uint32_t shake_ms; /* from accept to the end of that handshake */
};

enum lt_net_tls {
	LT_NET_TLS_OFF, /* a TLS record is refused */
	LT_NET_TLS_EITHER, /* by the first byte */
	LT_NET_TLS_ONLY,
	LT_NET_CHANNEL /* lt_net_listen_channel */
};

enum lt_net_reason {
	LT_NET_PEER, /* it closed, in good order */
	LT_NET_OWNER, /* lt_conn_close, lt_conn_drain */
	LT_NET_FRAME, /* too large, or refused by cut or frame */
	LT_NET_ERROR, /* the socket failed: reset, mostly */
	LT_NET_TLS, /* not the TLS, or the lack of it, that we take */
	LT_NET_CHANNEL_BAD, /* not a channel's handshake, or record */
	LT_NET_STRANGER, /* a channel's peer whose key was not admitted */
	LT_NET_HALF, /* the oldest of half_open */
	LT_NET_HELLO, /* hello_ms, shake_ms */
	LT_NET_IDLE, /* idle_ms */
	LT_NET_STALL, /* stall_ms */
	LT_NET_MEMORY, /* largest holder, or no memory for it */
	LT_NET_UNREACHED, /* could not be connected */
	LT_NET_ENDED, /* lt_net_destroy */
	LT_NET_REASONS
};

/* Of this worker; the last six are of now. */
struct lt_net_counters {
	uint64_t accepted, connected;
	uint64_t refused; /* over limits.connections */
	uint64_t handshakes; /* of channels, made */
	uint64_t flooded; /* came to a channel's listener too often */
	uint64_t accept_failed; /* no descriptor or memory: listener rests */
	uint64_t closed[LT_NET_REASONS];
	uint64_t bytes_in, bytes_out; /* without TLS and channel */
	uint64_t frames;
	uint64_t rounds;
	uint64_t current; /* connections */
	uint64_t tls, channels; /* of them, handshake made */
	uint64_t half_open; /* channels, handshake not made */
	uint64_t unsent; /* bytes, with what is lent */
	uint64_t memory; /* bytes of buffers, without what is lent */
};

/* What the owner does; user is lt_net_create's. Only cut and frame must be. */
struct lt_net_owner {
	/* Size of the frame that begins at p, of which bytes > 0 are there; 0:
	 * not known yet; negative status: closed. */
	int64_t (*cut)(const uint8_t *p, size_t bytes, void *user);
	/* Accepted, or connected. An accepted one takes output at once, but
	 * sends it only when its peer has spoken (who is to speak TLS is not
	 * known before). */
	void (*opened)(struct lt_conn *c, void *user);
	/* May the peer with that key, which it has proven to have, use this
	 * channel? NULL: nobody may. Asked behind the handshake, and by
	 * lt_net_admit_again(). Closes nothing. */
	int (*admit)(
	    struct lt_conn *c, const uint8_t key[LT_SECRET_KEY], void *user);
	/* One whole frame, lent for the call, writable. Negative: close. */
	int (*frame)(struct lt_conn *c, uint8_t *p, size_t bytes, void *user);
	/* All frames of this round were handed over, before output is written
	 * and the loop sleeps: submit and wake in one go. */
	void (*round)(void *user);
	/* lt_net_wake() was called by somebody, once or more. */
	void (*woken)(void *user);
	/* Every tick_ms; now_ms is lt_clock_mono_ms(). */
	void (*tick)(uint64_t now_ms, void *user);
	/* The last that is heard of c. */
	void (*closed)(struct lt_conn *c, void *user);
};

/* owner: borrowed until destroyed. LEAT_E_NOMEM, LEAT_E_IO, LEAT_E_INVALID. */
int lt_net_create(const struct lt_net_owner *owner, void *user,
    const struct lt_net_limits *limits, uint32_t tick_ms,
    struct lt_net **out) LT_MUST_CHECK;
/* Closes everything; `closed` is called for each. Not from a callback. */
void lt_net_destroy(struct lt_net *net);
/* A listening socket (SO_REUSEADDR). LEAT_E_BUSY: the address is taken. */
int lt_net_bind(const struct sockaddr_in *at, int *fd_out) LT_MUST_CHECK;
/* The same; nobody can connect before lt_net_listen_channel(). */
int lt_net_reserve(const struct sockaddr_in *at, int *fd_out) LT_MUST_CHECK;
/* A bound, listening socket (taken, whatever is returned). tag: lt_conn_tag of
 * its connections. tls (borrowed): NULL only with LT_NET_TLS_OFF. Several
 * workers share a port by a dup() each. */
int lt_net_listen(struct lt_net *net, int fd, int tag, enum lt_net_tls mode,
    struct lt_tls *tls) LT_MUST_CHECK;
/* The same for Leat channels. LEAT_E_BUSY: somebody else listens there. */
int lt_net_listen_channel(struct lt_net *net, int fd, int tag,
    struct lt_channels *channels) LT_MUST_CHECK;
/* Ask `admit` of every channel again; who is not admitted is closed. */
void lt_net_admit_again(struct lt_net *net);
/* A connection that we open: `opened` is called when it is up, else `closed`
 * alone; neither if this fails. */
int lt_net_connect(struct lt_net *net, const struct sockaddr_in *to, int tag,
    struct lt_conn **out) LT_MUST_CHECK;
/* Also watch this descriptor (borrowed): `ready` is called while it is
 * readable. */
int lt_net_watch(struct lt_net *net, int fd, void (*ready)(void *user),
    void *user) LT_MUST_CHECK;
/* Runs until lt_net_stop(), also one that came before; may be run again. */
int lt_net_run(struct lt_net *net) LT_MUST_CHECK;
void lt_net_stop(struct lt_net *net); /* any thread, or a signal handler */
void lt_net_wake(struct lt_net *net); /* any thread: `woken` in the loop's */
const struct lt_net_counters *lt_net_counters(const struct lt_net *net);

/* --- connections --------------------------------------------------------- */

/* Unique in this process's life, never 0: the worker's number (12 bits, in
 * order of lt_net_create), slot, generation. */
uint64_t lt_conn_id(const struct lt_conn *c);
uint32_t lt_net_number(const struct lt_net *net); /* any thread */
uint32_t lt_net_number_of(uint64_t conn); /* that an id begins with */
struct lt_conn *lt_conn_find(struct lt_net *net, uint64_t id); /* NULL: gone */
int lt_conn_tag(const struct lt_conn *c);
const char *lt_conn_peer(const struct lt_conn *c); /* "127.0.0.1:4711" */
const struct sockaddr_in *lt_conn_address(const struct lt_conn *c);
/* The same of our end: what the peer dialled, unless somebody translates. */
void lt_conn_local(const struct lt_conn *c, char out[LT_NET_ADDRESS_TEXT]);
/* Its TLS or channel is up. */
int lt_conn_is_secure(const struct lt_conn *c);
/* The proven public key of a channel's peer, also in `closed`; NULL: none. */
const uint8_t *lt_conn_key(const struct lt_conn *c);
/* In `closed`: a channel's handshake that was begun, and not made. */
int lt_conn_is_unshaken(const struct lt_conn *c);
enum lt_net_reason lt_conn_reason(const struct lt_conn *c); /* in `closed` */
void lt_conn_user_set(struct lt_conn *c, void *user);
/* Who is at the other end, as far as its owner knows: theirs to write; at first
 * nobody. */
struct lt_principal *lt_conn_who(struct lt_conn *c);
/* Each that lives. `each` may close any. */
void lt_net_each(struct lt_net *net,
    void (*each)(struct lt_conn *c, void *user), void *user);
void *lt_conn_user(const struct lt_conn *c);
/* Room for `bytes` of output, contiguous, lent until put, the next call for
 * this connection, or the callback's return. NULL: closed, or out of memory
 * (memory_bytes and a quarter more): then it is closed behind this round. */
void *lt_conn_room(struct lt_conn *c, size_t bytes);
void lt_conn_put(struct lt_conn *c, size_t bytes); /* used of the room */
/* Append bytes that stay where they are until done(user) is called, once, from
 * the loop: when sent or when the connection goes. Sent by writev. Fails like
 * lt_conn_room (LEAT_E_CLOSED, LEAT_E_NOMEM); then done is not called. */
int lt_conn_lend(struct lt_conn *c, const void *p, size_t bytes,
    void (*done)(void *user), void *user) LT_MUST_CHECK;
size_t lt_conn_unsent(const struct lt_conn *c);
/* So many more (negative: fewer) replies will come later: a peer that has
 * finished writing is closed when nothing is unsent and nothing owed. */
void lt_conn_owe(struct lt_conn *c, int replies);
/* Close now, or when what is unsent and owed was sent (drain): no more of its
 * frames are handed over, output is still taken. */
void lt_conn_close(struct lt_conn *c);
void lt_conn_drain(struct lt_conn *c);

/* Certificate chain and key in PEM files; read once, with OpenSSL's own
 * configuration: before the sandbox. error_out: one line. */
int lt_tls_load(const char *cert_file, const char *key_file,
    struct lt_tls **out, char *error_out, size_t error_bytes) LT_MUST_CHECK;
void lt_tls_free(struct lt_tls *tls); /* after the last lt_net_destroy */

/* secret: the broker's; copied. LEAT_E_NOMEM. */
int lt_channels_create(const uint8_t secret[LT_SECRET_KEY],
    struct lt_channels **out) LT_MUST_CHECK;
/* Wipes all keys; after the last lt_net_destroy. */
void lt_channels_destroy(struct lt_channels *channels);
/* Connections that have keys in memory, and one for the broker's. */
size_t lt_channels_pieces(struct lt_channels *channels);

#endif
