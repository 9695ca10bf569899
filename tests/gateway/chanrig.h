/*
 * chanrig.h - a whole broker as its users start it, with a listener of Leat
 * channels and rules for keys; and a client of requests over one.
 */
#ifndef LT_TESTS_CHANRIG_H
#define LT_TESTS_CHANRIG_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>

#include "chanpeer.h"
#include "leat/leat.h"
#include "leat/status.h"
#include "proto/remoting.h"

#define OK(call) assert_int_equal(call, LEAT_OK)

struct chanrig {
	char dir[64], conf[96];
	pid_t leatd;
	uint16_t plain, channel; /* ports, network order */
	uint8_t key[LT_SECRET_KEY]; /* the broker's, as broker.pub has it */
	struct leat *local;
	struct leat_consumer *audit; /* NULL: not looked at yet */
	struct lt_noise_pair alice, mallory; /* alice has a rule */
};
extern struct chanrig it;

int chanrig_setup(void **state);
/* The same without the setting of channels, and without rules. */
int chanrig_setup_default(void **state);
/* The broker's log has that text. */
int chanrig_said(const char *text);
int chanrig_teardown(void **state);
/* Rules in force from some moment on: with alice, or without. */
void chanrig_rules(int has_alice);
uint64_t chanrig_counter(const char *name);
/* Wait until it has at least that value; as it is then. */
uint64_t chanrig_await(const char *name, uint64_t value);
/* Wait for records of the audit topic with that text: how many there are when
 * these are there. */
size_t chanrig_audit(const char *what, size_t count);
uint64_t chanrig_now_us(void);

/* --- requests --------------------------------------------------------------
 */

struct chanreply {
	int32_t code, opaque;
	struct lt_remoting h;
	const uint8_t *body;
	size_t body_bytes;
	uint8_t bytes[1 << 20];
};

struct chanfield {
	const char *name, *value;
};
#define CHANFIELDS(...) ((const struct chanfield[]){__VA_ARGS__, {NULL, NULL}})

/* A frame into out, in the binary form of headers, or as JSON. */
size_t chanrig_frame(uint8_t *out, size_t room, int is_json, int32_t code,
    int32_t opaque, const struct chanfield *fields, const void *body,
    size_t bytes);
/* The next frame: 0; else it has ended. */
int chanrig_reply(struct chanpeer *p, struct chanreply *r);
/* Ask, and what the answer's code is; -1: the channel ended. */
int chanrig_call(struct chanpeer *p, int is_json, int32_t code,
    const struct chanfield *fields, const void *body, size_t bytes,
    struct chanreply *r);
int chanrig_send(struct chanpeer *p, const char *topic, const void *body,
    size_t bytes, struct chanreply *r);

#endif
