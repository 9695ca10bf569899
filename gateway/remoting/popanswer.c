/*
 * popanswer.c - a letter with a whole frame: the body is written first, behind
 * room for the header, which then is put directly before it.
 */
#include "config.h"
#include "remoting/popanswer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "leat/status.h"
#include "net/net.h"
#include "proto/record.h"
#include "remoting/popper.h"
#include "remoting/worker.h"

#define HEADER_ROOM sizeof(((struct lt_popanswer *)0)->header)
#define RECEIPT_ROOM 512
#define BORN_V6 0x10u
#define STORE_V6 0x20u
#define RECONSUME_AT 72 /* with IPv4 hosts */
#define V6_MORE 12

/* In the connection's worker. */
static void
deliver(struct lt_worker *w, struct lt_letter *letter)
{
	struct lt_popanswer_letter *l = (struct lt_popanswer_letter *)letter;
	struct lt_conn *c = lt_conn_find(w->net, letter->to);
	void *room = c != NULL ? lt_conn_room(c, l->frame_bytes) : NULL;

	if (room != NULL) {
		memcpy(room, l->frame, l->frame_bytes);
		lt_conn_put(c, l->frame_bytes);
		if (l->ticket.owed)
			lt_conn_owe(c, -1);
	} else if (l->count > 0) {
		lt_popper_undelivered(w->g->popper, l->items, l->count);
	}
	lt_mem_free(l);
}

int
lt_popanswer_begin(struct lt_popanswer *a, struct lt_post *post,
    const struct lt_ticket *t, int32_t code, size_t body_bytes)
{
	size_t bytes = sizeof *a->letter + HEADER_ROOM + body_bytes;

	if (t->oneway)
		return 0;
	a->post = post;
	a->letter = lt_mem_resize(NULL, bytes);
	if (a->letter == NULL) {
		lt_post_close(post, t->conn);
		return 0;
	}
	a->letter->letter =
	    (struct lt_letter){.to = t->conn, .bytes = bytes, .open = deliver};
	a->letter->ticket = *t;
	a->letter->count = 0;
	a->body = a->letter->bytes + HEADER_ROOM;
	lt_remoting_begin(&a->e, a->header, sizeof a->header,
	    (enum lt_remoting_encoding)t->encoding, code, LT_REMOTING_RESPONSE,
	    t->opaque);
	return 1;
}

int
lt_popanswer_end(struct lt_popanswer *a, const char *remark)
{
	struct lt_popanswer_letter *l = a->letter;
	uint64_t conn = l->ticket.conn;
	uint8_t *body = l->bytes + HEADER_ROOM;
	size_t body_bytes = (size_t)(a->body - body);
	size_t n = lt_remoting_end(
	    &a->e, remark, remark != NULL ? strlen(remark) : 0, body_bytes);
	int status;

	if (n == 0) { /* larger than a frame */
		lt_mem_free(l);
		lt_post_close(a->post, conn);
		return LEAT_E_TOOBIG;
	}
	l->frame = body - n;
	l->frame_bytes = n + body_bytes;
	memcpy(l->frame, a->header, n);
	status = lt_post_send(a->post, &l->letter);
	if (status == LEAT_E_BUSY)
		lt_post_close(a->post, conn);
	return status;
}

void
lt_popanswer_status(struct lt_post *post, const struct lt_ticket *t,
    int32_t code, const char *remark)
{
	struct lt_popanswer a;

	if (lt_popanswer_begin(&a, post, t, code, 0))
		(void)!lt_popanswer_end(&a, remark);
}

/* --- messages --------------------------------------------------------------
 */

size_t
lt_popanswer_room(const struct leat_delivery *d)
{
	return d->record_bytes + RECEIPT_ROOM;
}

static int
write_receipt(char *out, size_t room, const struct leat_delivery *d,
    const struct lt_popanswer_receipt *r)
{
	int n = snprintf(out, room,
	    "POP_CK\001%" PRId64 " %" PRId64 " %" PRId64 " 0 0 %s %" PRIu32
	    " %" PRId64 "\002",
	    r->start_offset, r->pop_ms, r->invisible_ms, r->broker_name,
	    d->queue, d->queue_offset);

	return n > 0 && (size_t)n < room ? n : 0;
}

/* Without the checksum, which would be that of another record. */
static size_t
write_again(uint8_t *dst, const struct lt_record_view *v,
    const struct leat_delivery *d, const struct lt_popanswer_receipt *r)
{
	size_t at = RECONSUME_AT, head = v->bytes - v->props_bytes;
	size_t props = v->props_bytes;
	char receipt[RECEIPT_ROOM - 1];
	size_t n = (size_t)write_receipt(receipt, sizeof receipt, d, r);

	at += (v->sys_flag & BORN_V6) != 0 ? V6_MORE : 0;
	at += (v->sys_flag & STORE_V6) != 0 ? V6_MORE : 0;
	if (lt_record_has_crc(v))
		props -= LT_RECORD_CRC_BYTES;
	memcpy(dst, v->base, head + props);
	lt_bytes_put32(dst + at, v->reconsume + d->attempt - 1);
	if (props > 0 && dst[head + props - 1] != 2)
		dst[head + props++] = 2;
	/* Without room its receiver makes the receipt from the answer. */
	if (props + n <= INT16_MAX) {
		memcpy(dst + head + props, receipt, n);
		props += n;
	}
	lt_bytes_put16(dst + head - 2, (uint16_t)props);
	lt_bytes_put32(dst, (uint32_t)(head + props));
	return head + props;
}

void
lt_popanswer_put(struct lt_popanswer *a, const struct leat_delivery *d,
    const struct lt_popanswer_receipt *receipt, int is_ordered)
{
	struct lt_record_view v;

	if (d->attempt > 1 && !is_ordered &&
	    lt_record_parse(d->record, d->record_bytes, &v) == LEAT_OK &&
	    v.bytes == d->record_bytes) {
		a->body += write_again(a->body, &v, d, receipt);
		return;
	}
	memcpy(a->body, d->record, d->record_bytes);
	a->body += d->record_bytes;
}
