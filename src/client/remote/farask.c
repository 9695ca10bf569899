/*
 * farask.c - requests and their replies. A request's opaque names a slot of a
 * fixed table and how often the slot was used, so that a late reply, or one
 * that nobody asked for, meets nobody.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define HEADER_ROOM 512
#define NO_SLOT LT_FAR_CALLS

/* --- requests ------------------------------------------------------------ */

static int32_t
opaque_of(const struct lt_far *far, uint32_t slot)
{
	return (int32_t)((far->calls[slot].generation * LT_FAR_CALLS + slot) &
			 INT32_MAX);
}

static uint32_t
take_slot(struct lt_far *far)
{
	uint32_t slot = far->call_free;

	if (slot != NO_SLOT)
		far->call_free = far->calls[slot].next_free;
	else if (far->call_high < LT_FAR_CALLS)
		slot = far->call_high++;
	return slot;
}

static void
give_slot(struct lt_far *far, uint32_t slot)
{
	struct lt_farcall *call = &far->calls[slot];

	call->conn = NULL;
	call->generation++;
	call->next_free = far->call_free;
	far->call_free = slot;
}

int
lt_farask_begin(struct lt_farrequest *r, struct lt_farconn *conn, int32_t code,
    size_t header_room)
{
	struct lt_far *far = conn->far;
	void *room;
	int status = lt_farconn_up(conn);

	if (status != LEAT_OK)
		return status;
	r->conn = conn;
	r->slot = take_slot(far);
	if (r->slot == NO_SLOT)
		return LEAT_E_AGAIN;
	header_room += HEADER_ROOM;
	room = lt_buffer_reserve(&conn->tx, header_room);
	if (room == NULL) {
		/* Full is no failure of the buffer here: it empties. */
		status = lt_buffer_status(&conn->tx);
		conn->tx.status = LEAT_OK;
		give_slot(far, r->slot);
		return status == LEAT_E_TOOBIG ? LEAT_E_AGAIN : LEAT_E_NOMEM;
	}
	lt_remoting_begin(&r->e, room, header_room,
	    far->keys != NULL ? LT_REMOTING_BINARY : LT_REMOTING_JSON, code, 0,
	    opaque_of(far, r->slot));
	return LEAT_OK;
}

void
lt_farask_put(struct lt_farrequest *r, const char *name, const char *text)
{
	lt_remoting_put(&r->e, name, text, strlen(text));
}

int
lt_farask_end(struct lt_farrequest *r, const void *body, size_t bytes,
    int timeout_ms, lt_farask_fn done, void *user)
{
	struct lt_farconn *conn = r->conn;
	struct lt_far *far = conn->far;
	struct lt_farcall *call = &far->calls[r->slot];
	size_t before = conn->tx.bytes;
	size_t n = lt_remoting_end(&r->e, NULL, 0, bytes);
	int status;

	if (n == 0) {
		give_slot(far, r->slot);
		return LEAT_E_TOOBIG;
	}
	lt_buffer_took(&conn->tx, n);
	if (bytes != 0)
		lt_buffer_add(&conn->tx, body, bytes);
	status = lt_buffer_status(&conn->tx);
	if (status != LEAT_OK) {
		conn->tx.status = LEAT_OK;
		conn->tx.bytes = before;
		give_slot(far, r->slot);
		return status == LEAT_E_TOOBIG ? LEAT_E_AGAIN : status;
	}
	call->conn = conn;
	call->done = done;
	call->user = user;
	call->deadline = lt_clock_mono_ms() + (uint64_t)timeout_ms;
	return LEAT_OK;
}

/* --- replies ------------------------------------------------------------- */

static void
answer(struct lt_far *far, uint32_t slot, int status,
    const struct lt_remoting *head, const uint8_t *body, size_t bytes)
{
	struct lt_farcall *call = &far->calls[slot];
	lt_farask_fn done = call->done;
	void *user = call->user;

	give_slot(far, slot);
	if (done != NULL)
		done(status, head, body, bytes, user);
}

void
lt_farask_forget(struct lt_far *far, const void *user)
{
	uint32_t i;

	for (i = 0; i < far->call_high; i++)
		if (far->calls[i].conn != NULL && far->calls[i].user == user)
			far->calls[i].done = NULL;
}

void
lt_farask_fail(struct lt_farconn *conn, int status)
{
	struct lt_far *far = conn->far;
	uint32_t i;

	for (i = 0; i < far->call_high; i++)
		if (far->calls[i].conn == conn)
			answer(far, i, status, NULL, NULL, 0);
}

void
lt_farask_expire(struct lt_far *far, uint64_t now)
{
	uint32_t i;

	for (i = 0; i < far->call_high; i++)
		if (far->calls[i].conn != NULL && far->calls[i].deadline <= now)
			answer(far, i, LEAT_E_TIMEOUT, NULL, NULL, 0);
}

/* A broker asks us something: only that members changed means anything here;
 * who waits for an answer is told that there is none. */
static int
asked(struct lt_farconn *conn, const struct lt_remoting *head)
{
	struct lt_remoting_text group = lt_remoting_find(head, "consumerGroup");
	struct lt_remoting_encoder e;
	char name[LT_NAME_FIELD];
	uint8_t reply[256];
	size_t n;

	if (head->code == 40 && group.p != NULL && group.bytes < sizeof(name)) {
		memcpy(name, group.p, group.bytes);
		name[group.bytes] = '\0';
		lt_farmember_event(conn->far, name);
	}
	if ((head->flag & LT_REMOTING_ONEWAY) != 0)
		return LEAT_OK;
	lt_remoting_begin(&e, reply, sizeof(reply), head->encoding,
	    head->code == 40 ? 0 : 3, LT_REMOTING_RESPONSE, head->opaque);
	n = lt_remoting_end(&e, NULL, 0, 0);
	lt_buffer_add(&conn->tx, reply, n);
	/* A peer that asks and does not read is worth nothing. */
	return lt_buffer_status(&conn->tx);
}

int
lt_farask_frame(struct lt_farconn *conn, struct lt_remoting_frame *frame)
{
	struct lt_far *far = conn->far;
	struct lt_remoting head;
	uint32_t slot;

	if (lt_remoting_decode(frame, &head) != LEAT_OK)
		return LEAT_E_CORRUPT;
	if ((head.flag & LT_REMOTING_RESPONSE) == 0)
		return asked(conn, &head);
	slot = (uint32_t)head.opaque % LT_FAR_CALLS;
	if (slot < far->call_high && far->calls[slot].conn == conn &&
	    opaque_of(far, slot) == head.opaque)
		answer(
		    far, slot, LEAT_OK, &head, frame->body, frame->body_bytes);
	return LEAT_OK;
}

int
lt_farask_status(int32_t code)
{
	switch (code) {
	case 0:
		return LEAT_OK;
	case 2:
	case 14:
	case 215:
		return LEAT_E_AGAIN;
	case 3:
	case 15:
		return LEAT_E_UNSUPPORTED;
	case 13:
		return LEAT_E_TOOBIG;
	case 16:
		return LEAT_E_DENIED;
	case 17:
	case 22:
	case 26:
	case 206:
	case 208:
		return LEAT_E_NOTFOUND;
	case 18:
		return LEAT_E_EXISTS;
	case 29:
		return LEAT_E_INVALID;
	default:
		return LEAT_E_IO;
	}
}

/* --- waiting for one -------------------------------------------------------
 */

static int64_t
number_of(const struct lt_remoting *head, const char *name)
{
	int64_t v;

	return lt_remoting_i64(head, name, &v) == LEAT_OK ? v : -1;
}

void
lt_farask_reply(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farreply *r = user;
	size_t n;

	r->is_done = 1;
	r->code = -1;
	r->status = status;
	if (status != LEAT_OK)
		return;
	r->code = head->code;
	r->status = lt_farask_status(head->code);
	r->offset = number_of(head, "offset");
	r->next_begin = number_of(head, "nextBeginOffset");
	n = head->remark.p == NULL ? 0 : head->remark.bytes;
	if (n >= sizeof(r->remark))
		n = sizeof(r->remark) - 1;
	if (n > 0)
		memcpy(r->remark, head->remark.p, n);
	r->remark[n] = '\0';
	if (bytes == 0)
		return;
	r->body = lt_mem_alloc(bytes);
	if (r->body == NULL) {
		r->status = LEAT_E_NOMEM;
		return;
	}
	memcpy(r->body, body, bytes);
	r->bytes = bytes;
}

int
lt_farask_wait(struct lt_far *far, struct lt_farreply *r, uint64_t deadline)
{
	while (!r->is_done) {
		if (lt_wait_expired(deadline)) {
			lt_farask_forget(far, r);
			r->is_done = 1;
			r->code = -1;
			r->status = LEAT_E_TIMEOUT;
			break;
		}
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	return r->status;
}

void
lt_farask_drop(struct lt_farreply *r)
{
	lt_mem_free(r->body);
	r->body = NULL;
	r->bytes = 0;
}

int
lt_farask_call(struct lt_farconn *conn, int32_t code, const char *const *fields,
    const void *body, size_t bytes, uint64_t deadline, struct lt_farreply *r)
{
	struct lt_farrequest q;
	size_t room = 0, i;
	int status, left = lt_wait_left(deadline, LT_FAR_RPC_MS);

	memset(r, 0, sizeof(*r));
	for (i = 0; fields != NULL && fields[i] != NULL; i++)
		room += 6 * strlen(fields[i]) + 8;
	while ((status = lt_farask_begin(&q, conn, code, room)) != LEAT_OK) {
		if ((status != LEAT_E_AGAIN && status != LEAT_E_UNREACHABLE) ||
		    lt_wait_expired(deadline)) {
			r->is_done = 1;
			r->code = -1;
			r->status = status;
			return status;
		}
		lt_far_pump(conn->far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	for (i = 0; fields != NULL && fields[i] != NULL; i += 2)
		lt_farask_put(&q, fields[i], fields[i + 1]);
	status = lt_farask_end(
	    &q, body, bytes, left > 0 ? left : 1, lt_farask_reply, r);
	if (status != LEAT_OK) {
		r->is_done = 1;
		r->code = -1;
		r->status = status;
		return status;
	}
	return lt_farask_wait(conn->far, r, deadline);
}

void
lt_farask_text(struct lt_farfields *f, const char *name, const char *text)
{
	LT_ASSERT(f->count + 3 <= LT_COUNT(f->list));
	f->list[f->count++] = name;
	f->list[f->count++] = text;
	f->list[f->count] = NULL;
}

void
lt_farask_number(struct lt_farfields *f, const char *name, int64_t n)
{
	char *text = f->numbers[f->number_count];

	LT_ASSERT(f->number_count < LT_COUNT(f->numbers));
	f->number_count++;
	snprintf(text, sizeof(f->numbers[0]), "%lld", (long long)n);
	lt_farask_text(f, name, text);
}
