/*
 * call.c - answers, and calls that wait.
 *
 * Header and body of an answer are written into one piece of the connection's
 * output: room for both is asked for before the header's size is known, and
 * the body follows directly behind it.
 */
#include "config.h"
#include "remoting/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "leat/status.h"
#include "remoting/ledger.h"
#include "remoting/worker.h"

#define REMARK_BYTES 512

int
lt_answer_begin(struct lt_worker *w, const struct lt_ticket *t, int32_t code,
    size_t header_bytes, size_t body_bytes, struct lt_answer *a)
{
	size_t room = LT_REMOTING_PREFIX + header_bytes + body_bytes;

	if (t->note != 0)
		lt_ledger_end(w->g->ledger, t->note, code);
	if (t->oneway)
		return 0;
	a->conn = lt_conn_find(w->net, t->conn);
	if (a->conn == NULL)
		return 0;
	a->at = lt_conn_room(a->conn, room);
	if (a->at == NULL)
		return 0;
	a->owed = t->owed;
	lt_remoting_begin(&a->e, a->at, room - body_bytes,
	    (enum lt_remoting_encoding)t->encoding, code, LT_REMOTING_RESPONSE,
	    t->opaque);
	return 1;
}

uint8_t *
lt_answer_body(struct lt_answer *a, const char *remark, size_t body_bytes)
{
	size_t n = lt_remoting_end(
	    &a->e, remark, remark != NULL ? strlen(remark) : 0, body_bytes);

	LT_ASSERT(n > 0); /* header_bytes was too small: a bug of ours */
	a->bytes = n + body_bytes;
	return a->at + n;
}

void
lt_answer_end(struct lt_answer *a)
{
	lt_conn_put(a->conn, a->bytes);
	if (a->owed)
		lt_conn_owe(a->conn, -1);
}

void
lt_answer_status(struct lt_worker *w, const struct lt_ticket *t, int32_t code,
    const char *remark, ...)
{
	char text[REMARK_BYTES];
	struct lt_answer a;
	va_list args;

	/* An escaped remark may be six times as long. */
	if (!lt_answer_begin(w, t, code, 256 + 6 * sizeof text, 0, &a))
		return;
	if (remark != NULL) {
		va_start(args, remark);
		(void)vsnprintf(text, sizeof text, remark, args);
		va_end(args);
	}
	(void)lt_answer_body(&a, remark != NULL ? text : NULL, 0);
	lt_answer_end(&a);
}

void
lt_answer_error(struct lt_worker *w, const struct lt_ticket *t, int status)
{
	int32_t code;

	switch (status) {
	case LEAT_E_NOTFOUND:
		code = LT_CODE_TOPIC_NOT_EXIST;
		break;
	case LEAT_E_QUEUE:
	case LEAT_E_NAME:
		code = LT_CODE_INVALID_PARAMETER;
		break;
	case LEAT_E_PERM:
	case LEAT_E_DENIED:
		code = LT_CODE_NO_PERMISSION;
		break;
	case LEAT_E_AGAIN:
	case LEAT_E_BUSY:
	case LEAT_E_TIMEOUT:
	case LEAT_E_UNREACHABLE:
		lt_answer_status(w, t, LT_CODE_SYSTEM_BUSY,
		    "[REJECTREQUEST] the broker is busy, ask again");
		return;
	default:
		code = LT_CODE_SYSTEM_ERROR;
	}
	lt_answer_status(w, t, code, "%s", leat_status_text(status));
}

void
lt_answer_made(struct lt_worker *w, const struct lt_ticket *t,
    const char *field, int64_t value, const struct lt_buffer *body)
{
	struct lt_answer a;
	int status = lt_buffer_status(body);
	uint8_t *at;

	if (status != LEAT_OK) {
		lt_answer_error(w, t, status);
		return;
	}
	if (!lt_answer_begin(w, t, LT_CODE_SUCCESS, 512, body->bytes, &a))
		return;
	if (field != NULL)
		lt_remoting_put_i64(&a.e, field, value);
	at = lt_answer_body(&a, NULL, body->bytes);
	if (body->bytes > 0)
		memcpy(at, body->p, body->bytes);
	lt_answer_end(&a);
}

void
lt_answer_buffer(struct lt_worker *w, const struct lt_ticket *t,
    const struct lt_buffer *body)
{
	lt_answer_made(w, t, NULL, 0, body);
}

void
lt_answer_number(struct lt_worker *w, const struct lt_ticket *t,
    const char *field, int64_t value)
{
	static const struct lt_buffer nothing;

	lt_answer_made(w, t, field, value, &nothing);
}

void
lt_answer_lacks(struct lt_call *call, const char *field)
{
	lt_answer_status(call->worker, &call->ticket, LT_CODE_SYSTEM_ERROR,
	    "the request has no %s, or one that makes no sense", field);
}

void
lt_ticket_owe(struct lt_worker *w, struct lt_ticket *t)
{
	struct lt_conn *c =
	    t->oneway || t->owed ? NULL : lt_conn_find(w->net, t->conn);

	if (c == NULL)
		return;
	lt_conn_owe(c, 1);
	t->owed = 1;
}

/* --- calls that wait -------------------------------------------------------
 */

struct detached {
	struct lt_call call;
	struct lt_remoting request;
	uint8_t bytes[];
};

static size_t
texts_of(const struct lt_remoting *h)
{
	size_t sum = h->remark.bytes;

	for (uint32_t i = 0; i < h->ext_count; i++)
		sum += h->ext[i].name.bytes + h->ext[i].value.bytes;
	return sum;
}

static void
move(struct lt_remoting_text *text, uint8_t **at)
{
	if (text->p == NULL)
		return;
	memcpy(*at, text->p, text->bytes);
	text->p = (const char *)*at;
	*at += text->bytes;
}

struct lt_call *
lt_call_detach(const struct lt_call *call)
{
	struct detached *d = lt_mem_resize(
	    NULL, sizeof *d + texts_of(call->request) + call->body_bytes);
	uint8_t *at;

	if (d == NULL)
		return NULL;
	d->call = *call;
	d->request = *call->request;
	d->call.request = &d->request;
	lt_buffer_init(&d->call.made, LT_CALL_BODY_MAX);
	at = d->bytes;
	move(&d->request.remark, &at);
	for (uint32_t i = 0; i < d->request.ext_count; i++) {
		move(&d->request.ext[i].name, &at);
		move(&d->request.ext[i].value, &at);
	}
	if (call->body_bytes > 0)
		memcpy(at, call->body, call->body_bytes);
	d->call.body = at;
	return &d->call;
}

void
lt_call_free(struct lt_call *detached)
{
	if (detached != NULL)
		lt_buffer_fini(&detached->made);
	lt_mem_free(detached);
}

int
lt_call_name(
    const struct lt_remoting *h, const char *field, char out[LT_NAME_FIELD])
{
	struct lt_remoting_text t = lt_remoting_find(h, field);

	if (t.bytes == 0)
		return LEAT_E_NOTFOUND;
	if (t.bytes >= LT_NAME_FIELD || memchr(t.p, 0, t.bytes) != NULL)
		return LEAT_E_NAME;
	memcpy(out, t.p, t.bytes);
	out[t.bytes] = '\0';
	return LEAT_OK;
}

void
lt_call_submit(struct lt_call *call, lt_call_work *work, lt_call_done *done)
{
	int status = lt_clerk_submit(call->worker->inbox, call, work, done);

	if (status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
}

void
lt_call_finish(struct lt_call *call, int status)
{
	if (call->conn == NULL)
		;
	else if (call->code != LT_CODE_SUCCESS)
		lt_answer_status(
		    call->worker, &call->ticket, call->code, "%s", call->why);
	else if (status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
	else
		lt_answer_made(call->worker, &call->ticket, call->field,
		    call->result[0], &call->made);
	lt_call_free(call);
}
