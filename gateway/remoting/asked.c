/*
 * asked.c - questions to clients. What is kept of one is the letter that it
 * came in; there are few, so they are in a list.
 */
#include "config.h"
#include "remoting/asked.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "leat/status.h"
#include "remoting/worker.h"

struct lt_asked_ask {
	struct lt_letter letter; /* to the client */
	struct lt_asked_ask *next; /* that its worker waits for */
	struct lt_ticket ticket;
	int64_t user[2];
	lt_asked_done *done;
	uint64_t until_ms;
	int32_t opaque;
	size_t frame_bytes;
	uint8_t frame[];
};

struct answer {
	struct lt_letter letter; /* to who asked */
	struct lt_asked_reply reply;
	lt_asked_done *done;
	uint8_t bytes[]; /* remark, then body */
};

static void
open_answer(struct lt_worker *w, struct lt_letter *letter)
{
	struct answer *a = (struct answer *)letter;

	a->done(w, &a->reply);
	lt_mem_free(a);
}

/* Back to who asked; what was kept of the question is freed. */
static void
send_back(struct lt_worker *w, struct lt_asked_ask *ask, int32_t code,
    struct lt_remoting_text remark, const uint8_t *body, size_t body_bytes)
{
	size_t bytes = sizeof(struct answer) + remark.bytes + body_bytes;
	struct answer *a = lt_mem_alloc(bytes);

	if (a != NULL) {
		a->letter.to = ask->ticket.conn;
		a->letter.bytes = bytes;
		a->letter.open = open_answer;
		a->done = ask->done;
		a->reply = (struct lt_asked_reply){
		    .ticket = ask->ticket,
		    .user = {ask->user[0], ask->user[1]},
		    .code = code,
		    .remark = {(char *)a->bytes, remark.bytes},
		    .body = a->bytes + remark.bytes,
		    .body_bytes = body_bytes,
		};
		if (remark.bytes > 0)
			memcpy(a->bytes, remark.p, remark.bytes);
		if (body_bytes > 0)
			memcpy(a->bytes + remark.bytes, body, body_bytes);
		(void)lt_post_send(w->g->post, &a->letter);
	}
	lt_mem_free(ask);
}

static void
send_failure(struct lt_worker *w, struct lt_asked_ask *ask, int32_t code,
    const char *remark)
{
	struct lt_remoting_text text = {remark, (uint32_t)strlen(remark)};

	send_back(w, ask, code, text, NULL, 0);
}

/* In the client's worker. */
static void
open_ask(struct lt_worker *w, struct lt_letter *letter)
{
	struct lt_asked_ask *ask = (struct lt_asked_ask *)letter;
	struct lt_conn *c = lt_conn_find(w->net, letter->to);
	void *room = NULL;

	if (w->asked_count >= LT_ASKED_MAX) {
		send_failure(w, ask, LT_CODE_SYSTEM_BUSY,
		    "too many clients are being asked");
		return;
	}
	if (c != NULL)
		room = lt_conn_room(c, ask->frame_bytes);
	if (room == NULL) {
		send_failure(
		    w, ask, LT_CODE_SYSTEM_ERROR, "the client has gone");
		return;
	}
	memcpy(room, ask->frame, ask->frame_bytes);
	lt_conn_put(c, ask->frame_bytes);
	ask->until_ms = lt_clock_mono_ms() + LT_ASKED_MS;
	ask->next = w->asked;
	w->asked = ask;
	w->asked_count++;
}

int
lt_asked_begin(struct lt_worker *w, uint64_t client, int32_t code,
    size_t header_bytes, size_t body_bytes, struct lt_asked_question *q)
{
	size_t room = LT_REMOTING_PREFIX + header_bytes;

	q->ask = lt_mem_alloc(sizeof *q->ask + room + body_bytes);
	if (q->ask == NULL)
		return 0;
	q->ask->letter.to = client;
	q->ask->letter.bytes = sizeof *q->ask + room + body_bytes;
	q->ask->letter.open = open_ask;
	q->ask->opaque = lt_post_opaque(w->g->post);
	lt_remoting_begin(&q->e, q->ask->frame, room, LT_REMOTING_JSON, code, 0,
	    q->ask->opaque);
	return 1;
}

static void
not_asked(
    struct lt_worker *w, const struct lt_asked_ask *ask, const char *remark)
{
	const struct lt_asked_reply reply = {
	    .ticket = ask->ticket,
	    .user = {ask->user[0], ask->user[1]},
	    .code = LT_CODE_SYSTEM_ERROR,
	    .remark = lt_call_text(remark),
	};

	ask->done(w, &reply);
}

void
lt_asked_end(struct lt_asked_question *q, struct lt_call *call,
    const void *body, size_t body_bytes, lt_asked_done *done,
    const int64_t user[2])
{
	struct lt_asked_ask *ask = q->ask, kept;
	size_t n = lt_remoting_end(&q->e, NULL, 0, body_bytes);

	ask->ticket = call->ticket;
	ask->done = done;
	if (user != NULL)
		memcpy(ask->user, user, sizeof ask->user);
	if (n == 0) { /* its fields, escaped, are too long for a header */
		not_asked(call->worker, ask, "the request is too long");
		lt_mem_free(ask);
		return;
	}
	if (body_bytes > 0)
		memcpy(ask->frame + n, body, body_bytes);
	ask->frame_bytes = n + body_bytes;
	lt_ticket_owe(call->worker, &ask->ticket);
	call->ticket = ask->ticket;
	kept = *ask;
	if (lt_post_send(call->worker->g->post, &ask->letter) != LEAT_OK)
		not_asked(call->worker, &kept, "the client has gone");
}

void
lt_asked_pass_on(struct lt_worker *w, const struct lt_asked_reply *reply)
{
	/* An escaped byte may be six times as long. */
	size_t remark = reply->remark.bytes > 4096 ? 0 : reply->remark.bytes;
	char text[4097];
	struct lt_answer a;

	if (!lt_answer_begin(w, &reply->ticket, reply->code, 256 + 6 * remark,
		reply->body_bytes, &a))
		return;
	memcpy(text, reply->remark.p, remark);
	text[remark] = '\0';
	uint8_t *at =
	    lt_answer_body(&a, remark > 0 ? text : NULL, reply->body_bytes);
	if (reply->body_bytes > 0)
		memcpy(at, reply->body, reply->body_bytes);
	lt_answer_end(&a);
}

/* --- what the worker waits for ---------------------------------------------
 */

static struct lt_asked_ask *
take(struct lt_worker *w, struct lt_asked_ask **at)
{
	struct lt_asked_ask *ask = *at;

	*at = ask->next;
	w->asked_count--;
	return ask;
}

void
lt_asked_answered(struct lt_worker *w, struct lt_conn *c,
    const struct lt_remoting *h, const uint8_t *body, size_t body_bytes)
{
	struct lt_asked_ask **at = &w->asked;

	while (*at != NULL && ((*at)->opaque != h->opaque ||
				  (*at)->letter.to != lt_conn_id(c)))
		at = &(*at)->next;
	if (*at != NULL)
		send_back(w, take(w, at), h->code, h->remark, body, body_bytes);
}

void
lt_asked_closed(struct lt_worker *w, uint64_t conn)
{
	for (struct lt_asked_ask **at = &w->asked; *at != NULL;)
		if ((*at)->letter.to == conn)
			send_failure(w, take(w, at), LT_CODE_SYSTEM_ERROR,
			    "the client has gone");
		else
			at = &(*at)->next;
}

void
lt_asked_tick(struct lt_worker *w, uint64_t now_ms)
{
	for (struct lt_asked_ask **at = &w->asked; *at != NULL;)
		if ((*at)->until_ms <= now_ms)
			send_failure(w, take(w, at), LT_CODE_CONSUME_TIMEOUT,
			    "the client did not answer");
		else
			at = &(*at)->next;
}

void
lt_asked_fini(struct lt_worker *w)
{
	while (w->asked != NULL)
		lt_mem_free(take(w, &w->asked));
}
