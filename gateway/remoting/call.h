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
#include <string.h>
#include "base/buffer.h"
#include "base/check.h"
#include "net/net.h"
#include "proto/limits.h"
#include "proto/principal.h"
#include "proto/remoting.h"

struct leat;
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
	LT_CODE_GROUP_NOT_EXIST = 26,
	LT_CODE_INVALID_PARAMETER = 29,
	LT_CODE_CONSUMER_NOT_ONLINE = 206,
	LT_CODE_CONSUME_TIMEOUT = 207,
	LT_CODE_NO_MESSAGE = 208,
	LT_CODE_POLLING_FULL = 209,
	LT_CODE_POLLING_TIMEOUT = 210
};

/* A body that still fits into a frame. */
#define LT_CALL_BODY_MAX (LT_REMOTING_FRAME_MAX - LT_REMOTING_HEADER_MAX - 8u)

/* Where an answer goes. */
struct lt_ticket {
	uint64_t conn;
	int32_t opaque;
	uint8_t encoding; /* enum lt_remoting_encoding */
	uint8_t oneway; /* nobody waits for it */
	uint8_t owed; /* its connection knows that it comes later */
	uint32_t note; /* in the ledger, of an act; 0: none */
};

struct lt_call {
	struct lt_worker *worker;
	struct lt_conn *conn; /* NULL: it went */
	struct lt_ticket ticket;
	struct lt_principal who; /* that is proven; NONE: nobody */
	const struct lt_remoting *request;
	const uint8_t *body;
	uint32_t body_bytes;
	uint32_t tries; /* times that it was run before */
	uint32_t waits; /* times that it waited for leat-queue */
	int64_t result[2]; /* of the clerk's work */
	int32_t code; /* the same: instead of a status's, */
	const char *why; /* with this text, a constant */
	struct lt_buffer made; /* the same: a body; freed with the call */
	const char *field; /* the same: the answer has result[0] in it */
};

static inline struct lt_remoting_text
lt_call_text(const char *s) /* borrowed */
{
	return (struct lt_remoting_text){s, (uint32_t)strlen(s)};
}

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

/* A status as an answer. */
void lt_answer_error(
    struct lt_worker *w, const struct lt_ticket *t, int status);
/* Success with that body, if the buffer is in order. */
void lt_answer_buffer(struct lt_worker *w, const struct lt_ticket *t,
    const struct lt_buffer *body);
/* The same, with one number unless `field` is NULL. */
void lt_answer_made(struct lt_worker *w, const struct lt_ticket *t,
    const char *field, int64_t value, const struct lt_buffer *body);
/* Success with one number alone. */
void lt_answer_number(struct lt_worker *w, const struct lt_ticket *t,
    const char *field, int64_t value);
/* A required field is absent, or is not what it must be. */
void lt_answer_lacks(struct lt_call *call, const char *field);

/* A field that is a name, NUL-terminated: LEAT_OK; LEAT_E_NOTFOUND: absent or
 * empty; LEAT_E_NAME: too long, or has a NUL. Any thread. */
int lt_call_name(const struct lt_remoting *h, const char *field,
    char out[LT_NAME_FIELD]) LT_MUST_CHECK;
/* Have the clerk do it, or answer that it has too much to do. */
typedef int lt_call_work(struct leat *leat, struct lt_call *call);
typedef void lt_call_done(struct lt_call *call, int status);
void lt_call_submit(
    struct lt_call *call, lt_call_work *work, lt_call_done *done);
/* A done: answers call->code and why if there is a code, else an error, else
 * call->made. */
void lt_call_finish(struct lt_call *call, int status);

/* The answer comes later: a peer that has finished writing waits for it. */
void lt_ticket_owe(struct lt_worker *w, struct lt_ticket *t);
/* A copy of the call that outlives the frame; NULL: out of memory. */
struct lt_call *lt_call_detach(const struct lt_call *call);
void lt_call_free(struct lt_call *detached);

#endif
