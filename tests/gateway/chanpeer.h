/*
 * chanpeer.h - for tests: the client's end of a Leat channel on a blocking
 * socket, made of proto/channel. Each step can be taken alone and spoilt.
 */
#ifndef LT_TESTS_CHANPEER_H
#define LT_TESTS_CHANPEER_H

#include <stddef.h>
#include <stdint.h>
#include "proto/channel.h"
#include "tests/support/stream.h"

struct chanpeer {
	int fd;
	struct lt_channel channel;
	uint8_t in[LT_CHANNEL_RECORD_MAX];
	uint8_t *plain; /* opened, not taken yet */
	size_t left;
	int is_over; /* END was read */
	size_t records; /* read */
};

/* From that loopback address (127.0.0.x; 0: any). A descriptor, or -1. port:
 * network order. */
int chanpeer_dial(uint16_t port, unsigned x);
void chanpeer_init(struct chanpeer *p, int fd, const struct lt_noise_pair *own,
    const uint8_t broker[LT_SECRET_KEY]);
void chanpeer_close(struct chanpeer *p);
/* 0; -1: the socket ended; -2: what came is not right. */
int chanpeer_hello(struct chanpeer *p); /* sends message 1 */
int chanpeer_proof(struct chanpeer *p); /* reads 2, sends 3 */
int chanpeer_welcome(struct chanpeer *p); /* reads the first record */
int chanpeer_shake(struct chanpeer *p); /* all three */
/* One record; at most LT_CHANNEL_PLAIN_MAX bytes. */
int chanpeer_record(
    struct chanpeer *p, const void *bytes, size_t count, int is_last);
int chanpeer_send(struct chanpeer *p, const void *bytes, size_t count);
/* That many bytes of the stream; -1: it ended (is_over: in order). */
int chanpeer_recv(struct chanpeer *p, void *bytes, size_t count);
/* Seals into out, which has room for count + LT_CHANNEL_OVER. */
size_t chanpeer_seal(struct chanpeer *p, const void *bytes, size_t count,
    int is_last, uint8_t *out);

/* Bytes that come before the end; the end must come. */
size_t chanpeer_rest(int fd);

#endif
