/*
 * conn.h - inside of net: one worker's loop and its connections. Only the
 * worker's thread touches any of it but `rung`, `stopping` and `wake_fd`.
 *
 * A connection that was closed (lt_conn_doom) stays where it is until the end
 * of the round, so whoever holds a pointer during a callback may go on using
 * it: every entry looks at `phase` first. Lists that a callback may change
 * are served from their head; a round stamp says where to stop.
 */
#ifndef LT_NET_CONN_H
#define LT_NET_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>
#include "net/net.h"
#include "proto/principal.h"

#define LT_SCRATCH_BYTES 65536 /* one read, and what one round serves */
#define LT_SMALL_BYTES 4096 /* a partial frame up to this moves to scratch */
#define LT_ROUND_FRAMES 256 /* of one connection */
#define LT_CHUNK_BYTES 8192 /* small replies are gathered in these */
#define LT_SPARE_CHUNKS 64 /* kept by a worker for the next reply */
#define LT_SPARE_LOANS 256
#define LT_RECORD_BYTES 16384 /* one TLS record */
#define LT_ROUND_SHAKES 8 /* messages of channels' handshakes */
#define LT_ROUND_ACCEPTS 64
#define LT_LISTENERS_MAX 16
#define LT_WATCHES_MAX 8

/* What a transport says beside a count of bytes. */
#define LT_CONN_WAIT (-1)
#define LT_CONN_FAILED (-2)

/* What stands between the bytes of a connection and its socket. Plain ones have
 * none. A table each: tls.c,
 * channel.c. */
struct lt_transport {
	enum lt_net_reason refusal; /* why who breaks its rules is closed */
	int (*begin)(
	    struct lt_conn *c); /* the peer has spoken. 0 or negative */
	int (*greet)(struct lt_conn *c); /* handshake: 1 made, LT_CONN_... */
	ssize_t (*take)(struct lt_conn *c, void *p, size_t room); /* 0: end */
	/* Of what is unsent, how much needs not be kept any more. */
	ssize_t (*give)(struct lt_conn *c);
	void (*bye)(struct lt_conn *c); /* we write no more */
	void (*end)(struct lt_conn *c); /* gives back what it has */
};
extern const struct lt_transport lt_tls_transport, lt_channels_transport;

enum lt_phase {
	LT_PHASE_CONNECT, /* connect() is under way */
	LT_PHASE_SNIFF, /* no byte yet: TLS or not is not known */
	LT_PHASE_HELLO, /* TLS handshake */
	LT_PHASE_UP,
	LT_PHASE_LINGER, /* all was sent; what still comes is thrown away, so
			  * that no reset overtakes the last reply */
	LT_PHASE_DEAD /* destroyed at the end of the round */
};

/* A range of output: a chunk of our own with its bytes behind it, or a loan. */
struct lt_piece {
	TAILQ_ENTRY(lt_piece) next;
	const uint8_t *p; /* unsent */
	size_t bytes;
	size_t cap; /* of own; 0: a loan */
	void (*done)(void *user);
	void *user;
};

TAILQ_HEAD(lt_pieces, lt_piece);

struct lt_conn {
	struct lt_net *net;
	struct event event; /* one for both directions */
	int fd;
	int tag;
	enum lt_phase phase;
	enum lt_net_reason reason;
	short interest; /* EV_READ, EV_WRITE as told to libevent */
	enum lt_net_tls mode;
	union {
		struct lt_tls *tls;
		struct lt_channels *channels; /* LT_NET_CHANNEL */
	};
	const struct lt_transport *transport; /* NULL: plain */
	union {
		struct ssl_st *ssl; /* tls.c's */
		struct lt_sealed *sealed; /* channel.c's */
	};
	uint64_t id;
	void *user;
	struct lt_principal who; /* the owner's */
	struct sockaddr_in address;
	char peer[LT_NET_ADDRESS_TEXT];
	/* input: bytes that are not a whole frame, or not served yet */
	uint8_t *in;
	size_t in_used, in_cap;
	size_t need; /* bytes of the frame that begins there; 0: unknown */
	/* output */
	struct lt_pieces out;
	size_t unsent;
	size_t memory; /* bytes of `in` and of chunks */
	int owed;
	uint64_t active_ms, since_ms, stall_ms; /* for idle, hello, stalled */
	uint64_t flushed, served; /* rounds of these */
	TAILQ_ENTRY(lt_conn) idle, hello, stalled, dirty, backlog;
	unsigned more : 1; /* whole frames wait in `in` */
	unsigned unread : 1; /* bytes wait inside of the transport */
	unsigned full : 1; /* conn_bytes: neither read from nor served */
	unsigned blocked : 1; /* the kernel takes no more for now */
	unsigned turned : 1; /* it wants to write before it can read */
	unsigned secure : 1; /* handshake made */
	unsigned broken : 1; /* it failed: no more of it */
	unsigned eof : 1;
	unsigned drain : 1;
	unsigned shaking : 1; /* half open: a channel's handshake */
	unsigned greeting : 1, waiting : 1, is_dirty : 1,
	    again : 1; /* in list */
};

TAILQ_HEAD(lt_conns, lt_conn);

struct lt_listener {
	struct lt_net *net;
	struct event event;
	int fd;
	int tag;
	int resting; /* until the next tick */
	enum lt_net_tls mode;
	union {
		struct lt_tls *tls;
		struct lt_channels *channels; /* LT_NET_CHANNEL */
	};
};

struct lt_watch {
	struct event event;
	void (*ready)(void *user);
	void *user;
};

struct lt_slot {
	struct lt_conn *c; /* NULL: free */
	uint32_t generation;
	uint32_t next; /* free one behind this */
};

struct lt_net {
	struct event_base *base;
	struct event tick, wake;
	const struct lt_net_owner *owner;
	void *user;
	struct lt_net_limits limits;
	struct lt_net_counters seen;
	uint32_t number;
	int wake_fd; /* any thread writes */
	atomic_int rung; /* set by lt_net_wake, cleared by the loop */
	atomic_int stopping; /* set by lt_net_stop, cleared by lt_net_run */
	int running, ending;
	int has_now;
	unsigned shaken; /* messages of handshakes in this round */
	uint64_t now_ms;
	struct lt_slot *slots;
	uint32_t free_slot;
	struct lt_conns idle; /* all that live, by last activity */
	struct lt_conns greeting; /* no frame yet, connecting or lingering */
	struct lt_conns shaking; /* half open channels */
	struct lt_conns stalled; /* output waits for the peer */
	struct lt_conns dirty; /* output, or an end, to be looked at */
	struct lt_conns backlog; /* input left by the last round */
	struct lt_conns dead;
	struct lt_pieces chunks, loans; /* spare */
	unsigned chunk_count, loan_count;
	unsigned listener_count, watch_count;
	struct lt_listener listeners[LT_LISTENERS_MAX];
	struct lt_watch watches[LT_WATCHES_MAX];
	uint8_t scratch[LT_SCRATCH_BYTES];
	/* What a transport seals, or opens; of nobody between two calls. */
	uint8_t record[LT_SCRATCH_BYTES + 65537];
};

/* net.c */
uint64_t lt_net_now(struct lt_net *net); /* of this round, milliseconds */
/* Close largest holders until memory_bytes is kept; not within a frame. */
void lt_net_enforce(struct lt_net *net);

/* listener.c */
void lt_listener_rouse(struct lt_net *net); /* those that rest accept again */
void lt_listener_fini(struct lt_net *net);

/* conn.c: fd is taken. NULL: no memory, or over the limit (counted). */
struct lt_conn *lt_conn_create(struct lt_net *net, int fd,
    const struct sockaddr_in *address, int tag, enum lt_phase phase);
void lt_conn_doom(struct lt_conn *c, enum lt_net_reason reason);
void lt_conn_failed(struct lt_conn *c); /* the socket or the transport did */
void lt_conn_bury(struct lt_net *net); /* destroy the dead */
void lt_conn_touch(struct lt_conn *c); /* a byte went: not idle */
void lt_conn_greet(struct lt_conn *c); /* hello_ms from now on */
void lt_conn_met(struct lt_conn *c); /* no longer */
void lt_conn_shake(struct lt_conn *c); /* a channel's: shake_ms from now on */
void lt_conn_wait(struct lt_conn *c, int waits); /* stall_ms, from now on */
void lt_conn_dirty(struct lt_conn *c);
void lt_conn_again(struct lt_conn *c); /* into the backlog */
void lt_conn_linger(struct lt_conn *c);
void lt_conn_watch(struct lt_conn *c); /* tell libevent what we wait for */
void lt_conn_memory(struct lt_conn *c, ssize_t more);
void lt_conn_expire(struct lt_net *net); /* idle, hello, stall */
ssize_t lt_conn_take(struct lt_conn *c, void *p, size_t room); /* 0: end */

/* inbound.c */
void lt_inbound_ready(struct lt_conn *c); /* readable: one read, its frames */
void lt_inbound_again(struct lt_conn *c); /* what was left, or more of TLS */
void lt_inbound_drop(struct lt_conn *c);

/* channel.c: may the peer, whose key is known, be here? */
int lt_channels_admits(struct lt_conn *c);
/* Came that address not too often? */
int lt_channels_welcomes(struct lt_channels *all, uint32_t ip, uint64_t now_ms);

/* outbound.c */
void lt_outbound_flush(struct lt_conn *c);
void lt_outbound_shed(struct lt_conn *c); /* free our own chunks */
void lt_outbound_drop(struct lt_conn *c); /* everything; done is called */
void lt_outbound_fini(struct lt_net *net);

#endif
