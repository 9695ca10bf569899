/*
 * asked.h - requests of ours to clients (221, 307, 309, 326), each on behalf of
 * somebody who asked the broker, and the way back of the client's answer.
 *
 * The asker and the client may be with two workers: the question goes there by
 * post, is kept there until the client answers, leaves, or LT_ASKED_MS are
 * over, and what came of it goes back by post.
 */
#ifndef LT_REMOTING_ASKED_H
#define LT_REMOTING_ASKED_H

#include "remoting/call.h"
#include "remoting/post.h"

#define LT_ASKED_MS 10000
#define LT_ASKED_MAX 1024 /* that one worker waits for */

struct lt_asked_reply {
	struct lt_ticket ticket; /* of who asked us */
	int64_t user[2];
	int32_t code; /* the client's; 1: it has gone, 207: it said nothing */
	struct lt_remoting_text remark;
	const uint8_t *body;
	size_t body_bytes;
};
/* In the asker's worker, once; at once if the client cannot be asked. */
typedef void lt_asked_done(
    struct lt_worker *w, const struct lt_asked_reply *reply);

struct lt_asked_question {
	struct lt_remoting_encoder e; /* for lt_remoting_put*() */
	struct lt_asked_ask *ask; /* private */
};

/* Begin a request to that client; header_bytes: most. 0: no memory. */
int lt_asked_begin(struct lt_worker *w, uint64_t client, int32_t code,
    size_t header_bytes, size_t body_bytes, struct lt_asked_question *q);
/* Send it. The call's answer is done()'s business from here on. */
void lt_asked_end(struct lt_asked_question *q, struct lt_call *call,
    const void *body, size_t body_bytes, lt_asked_done *done,
    const int64_t user[2]);
/* The client's answer is passed on as it is. */
lt_asked_done lt_asked_pass_on;

/* A worker's own: a response came; a connection went; time passes; the end. */
void lt_asked_answered(struct lt_worker *w, struct lt_conn *c,
    const struct lt_remoting *h, const uint8_t *body, size_t body_bytes);
void lt_asked_closed(struct lt_worker *w, uint64_t conn);
void lt_asked_tick(struct lt_worker *w, uint64_t now_ms);
void lt_asked_fini(struct lt_worker *w);

#endif
