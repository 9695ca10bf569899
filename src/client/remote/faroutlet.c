/*
 * faroutlet.c - messages on their way to one queue of a broker. One request is
 * under way for each queue, and what comes meanwhile goes together in the next,
 * as a batch: that keeps the order in a queue, whatever threads a broker has,
 * and makes the batches as large as the broker is slow.
 *
 * A request without an answer is made again, so a message may be there twice,
 * behind all that was before it: the first of each still come in order. What is
 * bound to no queue goes to another broker if there is one. Behind a channel
 * the broker is asked first what it has (farrecall.c): then nothing is there
 * twice.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/offsetid.h"
#include "proto/sendbatch.h"

#define BATCH_BYTES (1u << 20)
#define BATCH_COUNT 512u
#define PRODUCER "LEAT_CLIENT"

void
lt_faroutlet_add(struct lt_farqueue *q, struct lt_farflight *f)
{
	f->queue = q;
	f->number = q->number;
	f->next = NULL;
	if (q->first == NULL)
		q->first = f;
	else
		q->last->next = f;
	q->last = f;
}

static struct lt_farflight *
pop(struct lt_farqueue *q)
{
	struct lt_farflight *f = q->first;

	q->first = f->next;
	if (q->first == NULL)
		q->last = NULL;
	f->next = NULL;
	return f;
}

/* How many of the first may go together. */
static uint32_t
run_of(const struct lt_farqueue *q)
{
	const struct lt_farflight *f = q->first;
	size_t bytes = f->size;
	uint32_t n = 1;

	if (q->alone > 0 || strncmp(q->topic->name, "%RETRY%", 7) == 0)
		return 1;
	for (; f->next != NULL && n < BATCH_COUNT; n++) {
		if (f->next->born_ms != f->born_ms ||
		    f->next->sent != LT_FAR_NOT_SENT ||
		    f->next->may_skip_sync != f->may_skip_sync ||
		    bytes + f->next->size > BATCH_BYTES)
			break;
		f = f->next;
		bytes += f->size;
	}
	return n;
}

/* --- answers ------------------------------------------------------------- */

/* The place in the log that the i-th of several ids names. */
static int64_t
log_offset_of(struct lt_remoting_text *ids)
{
	struct lt_offsetid id;
	const char *comma;
	size_t bytes;
	int status;

	if (ids->p == NULL)
		return -1;
	comma = memchr(ids->p, ',', ids->bytes);
	bytes = comma == NULL ? ids->bytes : (size_t)(comma - ids->p);
	status = lt_offsetid_decode(ids->p, bytes, &id);
	if (comma == NULL) {
		ids->p = NULL;
	} else {
		ids->p += bytes + 1;
		ids->bytes -= (uint32_t)bytes + 1;
	}
	return status == LEAT_OK ? (int64_t)id.log_offset : -1;
}

static void
stored(struct lt_farqueue *q, uint32_t n, const struct lt_remoting *head)
{
	struct lt_remoting_text ids = lt_remoting_find(head, "msgId");
	struct lt_far *far = q->topic->far;
	int64_t offset;
	uint32_t i;

	if (lt_remoting_i64(head, "queueOffset", &offset) != LEAT_OK ||
	    offset < 0)
		offset = -1;
	for (i = 0; i < n; i++) {
		struct lt_farflight *f = pop(q);

		f->level = LEAT_LOGGED;
		f->queue_offset = offset < 0 ? -1 : offset + i;
		f->log_offset = log_offset_of(&ids);
		if (f->log_offset > far->home.log_end)
			far->home.log_end = f->log_offset;
		lt_farflight_finish(far, f, LEAT_OK);
	}
	if (q->topic->is_made_up)
		lt_farroute_refresh(q->topic);
}

/* Another queue for what can go anywhere; NULL: none is better. */
static struct lt_farqueue *
elsewhere(struct lt_farqueue *q, uint64_t now)
{
	struct lt_fartopic *t = q->topic;
	uint32_t i;

	for (i = 0; i < t->queue_count; i++) {
		struct lt_farqueue *o =
		    t->queues[(t->turn + i) % t->queue_count];

		if (o->writes && o->conn != q->conn &&
		    (o->conn->fd >= 0 || now >= o->conn->try_at))
			return o;
	}
	return NULL;
}

/* These n had no success, this time. */
static void
again(struct lt_farqueue *q, uint32_t n, int status)
{
	struct lt_far *far = q->topic->far;
	struct lt_farflight *f, *kept = NULL, **end = &kept;
	struct lt_farqueue *other;
	uint64_t now = lt_clock_mono_ms();

	while (n-- > 0) {
		f = pop(q);
		other = f->is_bound ? NULL : elsewhere(q, now);
		if (now >= f->give_up_at) {
			lt_farflight_finish(far, f, status);
		} else if (other != NULL) {
			lt_faroutlet_add(other, f);
		} else {
			*end = f;
			end = &f->next;
		}
	}
	*end = q->first;
	if (kept != NULL && q->first == NULL)
		for (q->last = kept; q->last->next != NULL;)
			q->last = q->last->next;
	q->first = kept;
	lt_farroute_refresh(q->topic);
}

static int
is_final(int32_t code)
{
	switch (code) {
	case 1: /* system error: starting, stopping */
	case 2: /* busy */
	case 14: /* not available */
	case 204:
	case 205:
	case 215: /* flow control */
	case 1500: /* go away */
		return 0;
	default:
		return 1;
	}
}

static void
refused(struct lt_farqueue *q, uint32_t n, const struct lt_remoting *head)
{
	struct lt_far *far = q->topic->far;
	int status = lt_farask_status(head->code);

	/* One of them may be at fault, or batches are: then one by one. */
	if (n > 1 && is_final(head->code)) {
		q->alone = n;
		return;
	}
	q->retry_at = lt_clock_mono_ms() + LT_FAR_RETRY_MS;
	if (!is_final(head->code)) {
		again(q, n, status);
		return;
	}
	q->retry_at = 0;
	(void)lt_connect_fail(far->leat, status,
	    "broker refused a message for topic %s: %.*s", q->topic->name,
	    head->remark.p == NULL     ? 0
	    : head->remark.bytes > 200 ? 200
				       : (int)head->remark.bytes,
	    head->remark.p == NULL ? "" : head->remark.p);
	if (head->code == 17)
		q->topic->status = LEAT_E_NOTFOUND;
	while (n-- > 0)
		lt_farflight_finish(far, pop(q), status);
}

static void
on_sent(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farqueue *q = user;
	uint32_t n = q->busy;

	(void)body;
	(void)bytes;
	q->busy = 0;
	if (status == LEAT_OK && q->alone > 0)
		q->alone--;
	if (status != LEAT_OK) {
		/* A peer that says nothing is tried on another connection. */
		if (status == LEAT_E_TIMEOUT && q->conn->fd >= 0)
			lt_farconn_down(q->conn, LEAT_E_UNREACHABLE);
		again(q, n, LEAT_E_UNREACHABLE);
	} else if (head->code == 0 || (head->code >= 10 && head->code <= 12)) {
		stored(q, n, head);
	} else {
		refused(q, n, head);
	}
	lt_faroutlet_push(q);
}

/* --- requests ------------------------------------------------------------ */

static void
put_header(struct lt_farrequest *r, const struct lt_farqueue *q,
    const struct lt_farflight *f, const char *props, size_t props_bytes,
    int32_t flag, int is_batch)
{
	lt_farask_put(r, "a", PRODUCER);
	lt_farask_put(r, "b", q->topic->name);
	lt_farask_put(r, "c", "TBW102");
	lt_remoting_put_i64(&r->e, "d", 4);
	lt_remoting_put_i64(&r->e, "e", q->id);
	lt_remoting_put_i64(&r->e, "f", 0);
	lt_remoting_put_i64(
	    &r->e, "g", f->born_ms != 0 ? f->born_ms : lt_clock_coarse_ms());
	lt_remoting_put_i64(&r->e, "h", flag);
	lt_remoting_put(&r->e, "i", props, props_bytes);
	lt_remoting_put_i64(&r->e, "j", 0);
	lt_farask_put(r, "k", "false");
	lt_farask_put(r, "m", is_batch ? "true" : "false");
	lt_farask_put(r, "n", q->broker);
}

static int
send_one(struct lt_farqueue *q)
{
	struct lt_farflight *f = q->first;
	struct lt_sendbatch_message m;
	struct lt_farrequest r;
	size_t cursor = 0;
	int status = lt_sendbatch_next(f->bytes, f->size, &cursor, &m);

	LT_ASSERT(status == LEAT_OK); /* we made it */
	status = lt_farask_begin(
	    &r, q->conn, 310, 6 * (size_t)m.props_bytes + 2 * LT_NAME_FIELD);
	if (status != LEAT_OK)
		return status;
	put_header(&r, q, f, m.props, m.props_bytes, m.flag, 0);
	return lt_farask_end(
	    &r, m.body, m.body_bytes, LT_FAR_SEND_MS, on_sent, q);
}

static int
send_batch(struct lt_farqueue *q, uint32_t n)
{
	static const char waits[] = "WAIT\001true", skips[] = "WAIT\001false";
	struct lt_far *far = q->topic->far;
	const struct lt_farflight *f = q->first;
	const char *props = f->may_skip_sync ? skips : waits;
	struct lt_farrequest r;
	uint32_t i;
	int status;

	lt_buffer_clear(&far->batch);
	for (i = 0; i < n; i++, f = f->next)
		lt_buffer_add(&far->batch, f->bytes, f->size);
	status = lt_buffer_status(&far->batch);
	if (status == LEAT_OK)
		status = lt_farask_begin(&r, q->conn, 320, 2 * LT_NAME_FIELD);
	if (status != LEAT_OK)
		return status;
	put_header(&r, q, q->first, props, strlen(props), 0, 1);
	return lt_farask_end(
	    &r, far->batch.p, far->batch.bytes, LT_FAR_SEND_MS, on_sent, q);
}

/* Behind a channel: may the first be sent now? */
static int
is_clear(struct lt_farqueue *q)
{
	struct lt_far *far = q->topic->far;

	if (!far->home.is_greeted) {
		(void)!lt_farconn_up(q->conn);
		if (lt_farhome_is_refused(far)) {
			int status = lt_farhome_refused(far);

			while (q->first != NULL)
				lt_farflight_finish(far, pop(q), status);
		}
		return 0;
	}
	if (q->first->sent != LT_FAR_NOT_SENT) {
		lt_farrecall_due(q->topic, lt_clock_mono_ms());
		return 0;
	}
	return 1;
}

static void
note_sent(struct lt_farqueue *q, uint32_t n)
{
	struct lt_farflight *f = q->first;

	for (; n-- > 0; f = f->next) {
		f->sent = LT_FAR_SENT;
		f->floor = q->topic->far->home.log_end;
	}
}

void
lt_faroutlet_push(struct lt_farqueue *q)
{
	int is_channel = q->topic->far->keys != NULL;
	uint32_t n;
	int status;

	if (q->busy != 0 || q->first == NULL || q->conn == NULL ||
	    (q->retry_at != 0 && lt_clock_mono_ms() < q->retry_at) ||
	    (is_channel && !is_clear(q)))
		return;
	q->retry_at = 0;
	n = run_of(q);
	q->busy = n;
	status = n == 1 ? send_one(q) : send_batch(q, n);
	if (status == LEAT_OK) {
		if (is_channel)
			note_sent(q, n);
		return;
	}
	q->busy = 0;
	if (status == LEAT_E_TOOBIG && n > 1)
		q->alone = n;
	else if (status == LEAT_E_TOOBIG)
		lt_farflight_finish(q->topic->far, pop(q), status);
	else if (status == LEAT_E_UNREACHABLE) {
		q->retry_at = q->conn->try_at;
		again(q, n, status);
	}
}

/* Its queue vanished from the route: to where its like goes now. */
static void
move(struct lt_farqueue *q)
{
	struct lt_fartopic *t = q->topic;
	uint32_t i, n = 0, want;

	if (t->status != LEAT_OK || t->write_count == 0)
		return;
	want = q->number % t->write_count;
	for (i = 0; i < t->queue_count; i++) {
		if (!t->queues[i]->writes || n++ != want)
			continue;
		while (q->first != NULL)
			lt_faroutlet_add(t->queues[i], pop(q));
		return;
	}
}

void
lt_faroutlet_due(struct lt_fartopic *t, uint64_t now)
{
	uint32_t i;

	for (i = 0; i < t->queue_all; i++) {
		struct lt_farqueue *q = t->queues[i];

		if (q->first == NULL || q->busy != 0)
			continue;
		t->used_at = now;
		if (!q->writes)
			move(q);
		while (q->first != NULL && now >= q->first->give_up_at)
			lt_farflight_finish(t->far, pop(q), LEAT_E_UNREACHABLE);
		lt_faroutlet_push(q);
	}
}
