/*
 * netrig.h - for tests of gateway/net: a loop in a thread of its own whose
 * frames are orders (echo, reply so much, close yourself...), and blocking
 * clients. A frame: its size (4 bytes), an order (4), an argument (4), any
 * bytes. Numbers are big-endian. Time stands still unless it is put
 * forward.
 */
#ifndef LT_TESTS_NETRIG_H
#define LT_TESTS_NETRIG_H

#include <stddef.h>
#include <stdint.h>
#include "net/net.h"
#include "tests/support/stream.h"

#define RIG_HEAD 12

enum order {
	ORDER_ECHO, /* the same frame back */
	ORDER_FILL, /* argument bytes of pattern, gathered */
	ORDER_LEND, /* the same, lent in pieces of 50,000 */
	ORDER_CLOSE, /* itself, then everything a handler may still do */
	ORDER_CLOSE_ALL, /* every connection */
	ORDER_DRAIN, /* argument bytes of pattern, then drain */
	ORDER_REFUSE, /* frame returns an error */
	ORDER_LATER, /* echoed when rig_release was called */
	ORDER_ROOM, /* room that nothing is put into, then an echo */
	ORDER_CHAIN /* lend; its done lends again, argument times */
};

struct rig {
	struct lt_net *net;
	uint16_t port;
	struct lt_net_counters counters; /* after rig_stop, as of then */
	unsigned opened, closed, lent, given_back, woken, ticks, late;
	unsigned unshaken; /* handshakes begun, not made */
	enum lt_net_reason last_reason;
};

extern const struct lt_net_limits rig_limits;
extern struct rig rig;

/* A loop with one listener on a free port of 127.0.0.1. */
void rig_start(const struct lt_net_limits *limits, enum lt_net_tls mode,
    struct lt_tls *tls);
/* The same for Leat channels. */
void rig_start_channel(
    const struct lt_net_limits *limits, struct lt_channels *channels);
/* Who may come in by a channel; NULL: nobody. In the loop's thread. */
extern int (*rig_admits)(const uint8_t key[LT_SECRET_KEY]);
/* Ask that again of those who are there. */
void rig_admit_again(void);
/* Stop and destroy; asserts that everything lent came back, that every
 * connection opened was closed and that nothing is held. */
void rig_stop(void);
/* Counters as of now: the loop's thread copies them. */
struct lt_net_counters rig_counters(void);
/* Wait until so many connections are there. */
int rig_await_current(uint64_t current);
void rig_release(void); /* what ORDER_LATER keeps */
void rig_connect(uint16_t port, int close_it); /* lt_net_connect, then echo */
void rig_advance(unsigned ms);

/* Calls on it wait for ever: a test's alarm ends what never comes. */
int dial(uint16_t port);
void frame_make(
    uint8_t *p, uint32_t bytes, enum order order, uint32_t arg, uint32_t seed);
int send_order(int fd, enum order order, uint32_t arg);
/* 1 if so many bytes of pattern come. */
int recv_pattern(int fd, size_t bytes);
/* One echo of so many bytes; 1 if right. */
int echo_once(int fd, uint32_t bytes, uint32_t seed);
int is_ended(int fd); /* 1: end or reset comes, nothing else */

/* Files of a new self-signed certificate in dir. */
void make_certificate(const char *dir, char cert_out[256], char key_out[256]);

#endif
