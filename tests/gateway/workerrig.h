/*
 * workerrig.h - a broker, two workers of the gateway before it, and a remote
 * client of frames over plain sockets.
 */
#ifndef LT_TESTS_WORKERRIG_H
#define LT_TESTS_WORKERRIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <cmocka.h>

#include <leat/leat.h>
#include "leat/status.h"
#include "proto/remoting.h"
#include "remoting/registrar.h"
#include "remoting/worker.h"

#define OK(call) assert_int_equal(call, LEAT_OK)
#define PATIENCE_MS 10000
#define WORKERS 2
#define NAMES WORKERS /* port of the name server, with the first worker */

struct rig {
	char dir[64], socket[96];
	pid_t leatd;
	int store_dir;
	struct lt_gateway g;
	struct lt_registrar *registrar;
	struct lt_worker *workers[WORKERS];
	pthread_t threads[WORKERS];
	uint16_t ports[WORKERS + 1];
	struct leat *local;
	int fd; /* our connection, with the first worker */
	int32_t opaque;
	uint8_t in[1 << 20];
};
extern struct rig it;

/* The broker's configuration, before rig_setup(); NULL: none. */
extern const char *rig_settings;
/* Taken, and asked by the workers from rig_setup() on; NULL: nobody is. */
extern struct lt_guard *rig_guard;
int rig_setup(void **state);
int rig_teardown(void **state);
void rig_stop(void); /* the gateway's threads end; nothing is freed */
/* A process of the broker; -1: it is not there. */
pid_t rig_child(const char *name);
void rig_kill_broker(void); /* -9, all of it; and start it again */
int rig_connect(int port); /* a worker's number, or NAMES; a descriptor */

/* --- a remote client: what is not said of a connection is of it.fd -------- */

struct field {
	const char *name, *value;
};
#define FIELDS(...) ((const struct field[]){__VA_ARGS__, {NULL, NULL}})
#define NONE ((const struct field[]){{NULL, NULL}})

struct reply {
	struct lt_remoting_frame f;
	struct lt_remoting h;
};

/* The request's opaque. */
int32_t ask_on(int fd, int32_t code, const struct field *fields,
    const void *body, size_t bytes);
int32_t ask(
    int32_t code, const struct field *fields, const void *body, size_t bytes);
/* The next frame, whatever it is; lent until the next one. */
void receive(int fd, struct reply *r);
/* The next one is that answer, but for words to members (40). */
void await(int32_t opaque, struct reply *r);
/* Ask and await; its code. */
int32_t call_on(int fd, int32_t code, const struct field *fields,
    const void *body, struct reply *r);
int32_t call(int32_t code, const struct field *fields, const void *body,
    struct reply *r);
void respond(int fd, const struct reply *to, int32_t code, const char *remark,
    const char *body);
int64_t number(const struct reply *r, const char *name);
/* The body, NUL-terminated, lent. */
const char *text(const struct reply *r);
/* 310 with id THEIRS, tag red, key k1; 11 of queue 0 as group g. */
int32_t send_message(const char *topic, const char *queue, const char *body);
int32_t pull(
    const char *topic, const char *offset, const char *tags, const char *wait);

#endif
