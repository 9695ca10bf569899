/*
 * names.h - the name server: which brokers there are, which topics they have,
 * and key-value configuration. Door of this room, with registration.h.
 *
 * Tables in memory and answers out of them; no I/O, no thread, no clock. The
 * caller holds one lock around each call and brings the time, which must not
 * go back. Nothing is kept across a restart: brokers register again within
 * 30 s, and what was put by key is gone.
 */
#ifndef LT_GATEWAY_NAMES_NAMES_H
#define LT_GATEWAY_NAMES_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "names/registration.h"
#include "proto/remoting.h"

#define LT_NAMES_SCAN_MS 10000
#define LT_NAMES_EXPIRY_MS 120000 /* unless the broker says otherwise */

struct lt_names;

struct lt_names_limits { /* 0: the default; what goes beyond is refused */
	uint32_t brokers_max; /* masters and replicas: 1024 */
	uint32_t topics_max; /* LT_TOPICS_MAX; also of one registration */
	size_t bytes_max; /* of all tables, about: 64 MiB */
	size_t body_max; /* an inflated registration: LT_REMOTING_FRAME_MAX */
	uint16_t port; /* told to who asks for the configuration; 0: not */
};

struct lt_names_counts {
	uint32_t brokers, topics;
	size_t bytes;
};

struct lt_names_peer {
	uint64_t conn; /* unique in this process's life; 0: this process */
	const char *address; /* "10.0.0.9:4711" */
	const char *ours; /* where it finds brokers of this process; NULL: where
			   * these said */
};

#define LT_NAMES_EXT_MAX 2
struct lt_names_reply {
	int32_t code;
	char remark[200]; /* "": none */
	uint32_t ext_count;
	struct {
		const char *name;
		size_t at, bytes; /* of `values` */
	} ext[LT_NAMES_EXT_MAX];
	struct lt_buffer values;
	struct lt_buffer body;
	uint8_t joined; /* a broker is new */
	uint8_t left; /* a broker has gone */
};

int lt_names_create(
    const struct lt_names_limits *limits, struct lt_names **out) LT_MUST_CHECK;
void lt_names_destroy(struct lt_names *names);

/* 1 if it is a name server's request. */
int lt_names_has(int32_t code);
/* The right that it needs: see namecodes.def. */
enum lt_names_need {
	LT_NAMES_NEED_free,
	LT_NAMES_NEED_topic,
	LT_NAMES_NEED_trace,
	LT_NAMES_NEED_manage
};
enum lt_names_need lt_names_needs(int32_t code);
/* An administrative act; its name, NULL: none of ours. */
int lt_names_is_act(int32_t code);
const char *lt_names_code_name(int32_t code);
/* Do what the request asks for and fill in the reply, which the caller has
 * initialised (or cleared) and encodes: lt_names_put() the ext fields, then
 * remark and body. */
void lt_names_call(struct lt_names *names, const struct lt_remoting *request,
    const void *body, size_t body_bytes, const struct lt_names_peer *peer,
    uint64_t now_ms, struct lt_names_reply *reply);
void lt_names_reply_init(struct lt_names_reply *reply);
void lt_names_reply_clear(struct lt_names_reply *reply);
void lt_names_reply_fini(struct lt_names_reply *reply);
void lt_names_put(
    const struct lt_names_reply *reply, struct lt_remoting_encoder *e);

/* The same without a request, for the broker in this process. LEAT_OK, or
 * LEAT_E_INVALID, LEAT_E_EXISTS (another cluster has that name),
 * LEAT_E_NOTFOUND (one topic of an unknown broker), LEAT_E_LIMIT, LEAT_E_NOMEM,
 * and *why_out: one line. */
int lt_names_register(struct lt_names *names, const struct lt_registration *r,
    uint64_t conn, uint64_t now_ms, const char **why_out) LT_MUST_CHECK;

/* Unregister who gave no sign of life for too long; to be called often, looks
 * every LT_NAMES_SCAN_MS. How many; one line each to `gone` (may be NULL):
 * broker, id, address. */
uint32_t lt_names_scan(
    struct lt_names *names, uint64_t now_ms, struct lt_buffer *gone);
/* A connection was closed: unregister whose last registration it brought. */
uint32_t lt_names_closed(
    struct lt_names *names, uint64_t conn, struct lt_buffer *gone);

void lt_names_count(const struct lt_names *names, struct lt_names_counts *out);

#endif
