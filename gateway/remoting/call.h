/*
 * call.h - one request on its way through a worker, and its answer.
 *
 * A handler answers at once, into the connection's output; or keeps a ticket
 * and answers later; or detaches the call, so that it can be run again after
 * something was done elsewhere. Everything here belongs to one worker's thread.
 */
#ifndef LT_REMOTING_CALL_H
#define LT_REMOTING_CALL_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "net/net.h"
#include "proto/remoting.h"

struct lt_worker;

enum lt_code { /* answers: RocketMQ's response codes */
	LT_CODE_SUCCESS = 0,
	LT_CODE_SYSTEM_ERROR = 1,
	LT_CODE_SYSTEM_BUSY = 2,
	LT_CODE_NOT_SUPPORTED = 3,
	LT_CODE_MESSAGE_ILLEGAL = 13,
	LT_CODE_SERVICE_NOT_AVAILABLE = 14,
	LT_CODE_NO_PERMISSION = 16,
	LT_CODE_TOPIC_NOT_EXIST = 17,
	LT_CODE_PULL_NOT_FOUND = 19,
	LT_CODE_PULL_RETRY = 20,
	LT_CODE_PULL_MOVED = 21,
	LT_CODE_QUERY_NOT_FOUND = 22,
	LT_CODE_SUBSCRIPTION_BAD = 23,
	LT_CODE_SUBSCRIPTION_NONE = 24,
	LT_CODE_SUBSCRIPTION_OLD = 25,
	LT_CODE_INVALID_PARAMETER = 29
};

/* Where an answer goes. */
struct lt_ticket {
	uint64_t conn;
	int32_t opaque;
	uint8_t encoding; /* enum lt_remoting_encoding */
	uint8_t oneway; /* nobody waits for it */
	uint8_t owed; /* its connection knows that it comes later */
};

struct lt_call {
	struct lt_worker *worker;
	struct lt_conn *conn; /* NULL: it went */
	struct lt_ticket ticket;
	const struct lt_remoting *request;
	const uint8_t *body;
	uint32_t body_bytes;
	uint32_t tries; /* times that it was run before */
	int64_t result[2]; /* of the clerk's work */
};

/* An answer being written: header fields by lt_remoting_put*(&a.e, ...). */
struct lt_answer {
	struct lt_remoting_encoder e;
	struct lt_conn *conn;
	uint8_t *at;
	size_t bytes;
	int owed;
};

/*
 * Begin an answer with a header of at most header_bytes. 0: there is nobody to
 * answer (one-way, gone, no memory): then nothing else is called.
 */
int lt_answer_begin(struct lt_worker *w, const struct lt_ticket *t,
    int32_t code, size_t header_bytes, size_t body_bytes, struct lt_answer *a);
/* The header is complete: where body_bytes of body go. Behind it end() sends
 * both, or begin() starts anew. */
uint8_t *lt_answer_body(
    struct lt_answer *a, const char *remark, size_t body_bytes);
void lt_answer_end(struct lt_answer *a);
/* An answer without fields and body. remark: NULL, or text for the user. */
void lt_answer_status(struct lt_worker *w, const struct lt_ticket *t,
    int32_t code, const char *remark, ...)
    __attribute__((format(printf, 4, 5)));

/* The answer comes later: a peer that has finished writing waits for it. */
void lt_ticket_owe(struct lt_worker *w, struct lt_ticket *t);
/* A copy of the call that outlives the frame; NULL: out of memory. */
struct lt_call *lt_call_detach(const struct lt_call *call);
void lt_call_free(struct lt_call *detached);

#endif
