/*
 * siege.h - leatd with its processes, remote clients of frames over sockets and
 * TLS, and who besieges them. For siege_test.
 */
#ifndef LT_TESTS_SIEGE_H
#define LT_TESTS_SIEGE_H

#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "proto/remoting.h"

#define SIEGE_PATIENCE_S 150 /* for what must come; machines stand still */

extern struct siege {
	uint16_t port, names; /* broker's role, name server's */
	SSL_CTX *tls; /* a client's */
} siege;

/* --- one remote client; nothing here asserts: any thread -------------------
 */

struct siege_field {
	const char *name, *value;
};
#define SIEGE_FIELDS(...)                                                      \
	((const struct siege_field[]){__VA_ARGS__, {NULL, NULL}})

/* The frame's size. */
size_t siege_frame(uint8_t *out, size_t room, int32_t code, int32_t flag,
    int32_t opaque, const struct siege_field *fields, const void *body,
    size_t bytes);

struct siege_link {
	int fd; /* -1: not connected */
	SSL *ssl; /* NULL: plain */
	int32_t opaque;
	struct lt_remoting_frame f; /* the last answer; lent by `in` */
	struct lt_remoting h;
	uint8_t *in;
	size_t room;
};

int siege_dial(uint16_t port); /* a descriptor, or -1 */
/* 0, or -1. */
int siege_open(struct siege_link *l, uint16_t port, int is_tls);
void siege_close(struct siege_link *l);
/* Ask, and take the answer: its code, or -1: there was none. */
int32_t siege_ask(struct siege_link *l, int32_t code,
    const struct siege_field *fields, const void *body, size_t bytes);
/* The next frame into l->f and l->h. 0, or -1. */
int siege_receive(struct siege_link *l);

/* --- hostile ones: siege_kinds.c -------------------------------------------
 */

enum siege_end {
	SIEGE_CUT, /* the gateway must close it */
	SIEGE_SERVED, /* it must still serve it */
	SIEGE_KEPT, /* it hangs, and is kept for a while */
	SIEGE_GONE /* closes at once */
};
enum siege_at {
	SIEGE_BROKER,
	SIEGE_NAMES,
	SIEGE_EITHER
};

struct siege_kind {
	const char *name;
	enum siege_end end;
	enum siege_at at;
	/* On a new connection. 0, or -1: the gateway did not do as it must. */
	int (*act)(struct siege_link *l);
};
extern const struct siege_kind siege_kinds[];
extern const size_t siege_kind_count;

/* xorshift; of the besiegers alone. */
extern uint64_t siege_random;
uint32_t siege_draw(uint32_t below);
void siege_kinds_init(void);
void siege_kinds_fini(void);
/* A slowloris' n-th byte. */
void siege_drip(int fd, size_t n);

#endif
