/*
 * heartbeat.h - the JSON bodies that members send: HeartbeatData (34) in the
 * dialect of any client, and the queues to lock or unlock (41, 42). Door of
 * this room to jansson; what is written needs no library (hubjson.h).
 *
 * Numbers may be texts, enumerations names or numbers, empty arrays absent. An
 * enumeration's value that nobody knows is its default.
 */
#ifndef LT_GATEWAY_HUB_HEARTBEAT_H
#define LT_GATEWAY_HUB_HEARTBEAT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

/* What is larger or more is refused. */
#define LT_HEARTBEAT_BODY_MAX (1u << 20)
#define LT_HEARTBEAT_ID_MAX 255 /* bytes of a client id */
#define LT_HEARTBEAT_GROUPS_MAX 512 /* of consumers, and of producers */
#define LT_HEARTBEAT_SUBS_MAX 1024 /* of one group */
#define LT_HEARTBEAT_TEXT_MAX 16384 /* bytes of a subscription's text */
#define LT_HEARTBEAT_QUEUES_MAX 65536 /* of one lock request */

enum lt_heartbeat_from {
	LT_HEARTBEAT_FROM_LAST,
	LT_HEARTBEAT_FROM_LAST_AND_MIN,
	LT_HEARTBEAT_FROM_MIN,
	LT_HEARTBEAT_FROM_MAX,
	LT_HEARTBEAT_FROM_FIRST,
	LT_HEARTBEAT_FROM_TIMESTAMP
};
enum lt_heartbeat_type {
	LT_HEARTBEAT_ACTIVELY,
	LT_HEARTBEAT_PASSIVELY,
	LT_HEARTBEAT_POP
};
enum lt_heartbeat_model {
	LT_HEARTBEAT_BROADCASTING,
	LT_HEARTBEAT_CLUSTERING
};

/* Texts belong to the heartbeat. */
struct lt_heartbeat_sub {
	const char *topic; /* legal */
	const char *text; /* NULL: not sent */
	const char *expression; /* "TAG", "SQL92" */
	int64_t version;
	int64_t *codes; /* of TAG */
	size_t code_count; /* 0: everything */
	uint8_t is_class_filter;
};

struct lt_heartbeat_consumer {
	const char *group; /* legal */
	struct lt_heartbeat_sub *subs;
	uint32_t sub_count;
	uint8_t from, type, model;
	uint8_t is_unit;
};

struct lt_heartbeat {
	const char *client_id; /* printable, not empty */
	struct lt_heartbeat_consumer *consumers;
	const char **producers; /* legal */
	uint32_t consumer_count, producer_count;
	int32_t fingerprint; /* 0: a plain heartbeat */
	uint8_t without_sub; /* subscriptions are as they were */
	void *json;
};

/* LEAT_OK: to be freed; LEAT_E_CORRUPT: not such JSON; LEAT_E_INVALID: a
 * field's value; LEAT_E_NAME; LEAT_E_LIMIT; LEAT_E_TOOBIG; LEAT_E_NOMEM.
 * *why_out: one line. */
int lt_heartbeat_read(const void *body, size_t bytes, struct lt_heartbeat *out,
    const char **why_out) LT_MUST_CHECK;
void lt_heartbeat_free(struct lt_heartbeat *heartbeat);

/* Java's names of these values. */
const char *lt_heartbeat_from_name(uint8_t from);
const char *lt_heartbeat_type_name(uint8_t type);
const char *lt_heartbeat_model_name(uint8_t model);

struct lt_heartbeat_queue {
	const char *broker; /* as sent; "" if not */
	const char *topic; /* legal */
	uint32_t queue;
};

struct lt_heartbeat_locks {
	const char *group; /* legal */
	const char *client_id;
	struct lt_heartbeat_queue *queues;
	size_t count;
	void *json;
};

/* The same for a body of 41 or 42. */
int lt_heartbeat_locks_read(const void *body, size_t bytes,
    struct lt_heartbeat_locks *out, const char **why_out) LT_MUST_CHECK;
void lt_heartbeat_locks_free(struct lt_heartbeat_locks *locks);

#endif
