/*
 * farrecall.c - messages whose answer was lost, or said less than all of it:
 * are they in the log? The broker is asked (30002) for all that it has of this
 * session in one topic, from where the log ended when the oldest of them was
 * sent first, up to its end now. What is found has its receipt; the others were
 * never stored, and are sent again. So nothing is stored twice.
 *
 * This is sound because nothing of what was sent is under way when it is asked
 * (farhome.c; an answer to a send ends it), and nothing of the topic that was
 * sent before is sent again until it is answered. Only what is durable is told,
 * so the last questions may have to wait for a sync.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "proto/sendbatch.h"

#define SENT 30002
#define ENTRY 32 /* sequence, queue, body CRC, queue and log offset */
#define CRC_MASK 0x7fffffffu

static void on_entries(int status, const struct lt_remoting *head,
    const uint8_t *body, size_t bytes, void *user);

static void
ask(struct lt_fartopic *t)
{
	struct lt_far *far = t->far;
	struct lt_farrequest r;
	char session[16];

	if (lt_farask_begin(&r, far->names[0], SENT, sizeof(t->name)) !=
	    LEAT_OK)
		return;
	lt_farask_put(&r, "topic", t->name);
	lt_bytes_hex64(session, far->id);
	lt_remoting_put(&r.e, "session", session, sizeof(session));
	lt_remoting_put_i64(&r.e, "begin", t->recall.next);
	t->recall.is_asking =
	    lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_entries, t) == LEAT_OK;
}

/* --- what is looked for ------------------------------------------------------
 */

/* Whoever may publish to the topic can use another session's ids, but not for
 * what it does not know. */
static uint32_t
crc_of(const struct lt_farflight *f)
{
	struct lt_sendbatch_message m;
	size_t cursor = 0;
	int status = lt_sendbatch_next(f->bytes, f->size, &cursor, &m);

	LT_ASSERT(status == LEAT_OK); /* we made it */
	return lt_crc32(0, m.body, m.body_bytes) & CRC_MASK;
}

/* Everything of the topic that was sent before, and is not looked for yet. */
static void
begin(struct lt_fartopic *t)
{
	int64_t least = INT64_MAX;
	struct lt_farflight *f;
	uint32_t i;

	for (i = 0; i < t->queue_all; i++) {
		if (t->queues[i]->busy != 0)
			continue; /* it may be answered yet */
		for (f = t->queues[i]->first; f != NULL; f = f->next) {
			if (f->sent == LT_FAR_NOT_SENT)
				continue;
			if (f->sent == LT_FAR_SENT) {
				f->sent = LT_FAR_LOST;
				f->crc = crc_of(f);
			}
			if (f->floor < least)
				least = f->floor;
		}
	}
	t->recall.next = least;
	t->recall.until = -1;
}

/* What was found is done; done: what was not was never stored. */
static void
settle(struct lt_fartopic *t, int done)
{
	struct lt_farflight *f, *next;
	uint32_t i;

	for (i = 0; i < t->queue_all; i++) {
		struct lt_farqueue *q = t->queues[i];

		if (q->busy != 0)
			continue;
		f = q->first;
		q->first = q->last = NULL;
		for (; f != NULL; f = next) {
			next = f->next;
			if (f->sent == LT_FAR_FOUND) {
				lt_farflight_finish(t->far, f, LEAT_OK);
				continue;
			}
			if (done && f->sent == LT_FAR_LOST)
				f->sent = LT_FAR_NOT_SENT;
			lt_faroutlet_add(q, f);
		}
	}
}

static void
found(struct lt_fartopic *t, const uint8_t *entry)
{
	uint64_t seq = lt_bytes_get64(entry);
	uint32_t queue = lt_bytes_get32(entry + 8), i;
	struct lt_farflight *f = lt_farflight_of(t->far, seq);

	if (f == NULL || f->sent != LT_FAR_LOST || f->queue->topic != t ||
	    f->crc != lt_bytes_get32(entry + 12))
		return;
	f->sent = LT_FAR_FOUND;
	f->level = LEAT_SYNCED;
	f->queue_offset = (int64_t)lt_bytes_get64(entry + 16);
	f->log_offset = (int64_t)lt_bytes_get64(entry + 24);
	for (i = 0; i < t->queue_count; i++)
		if (t->queues[i]->id == queue)
			f->number = i;
}

/* --- asking ------------------------------------------------------------------
 */

static void
on_entries(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_fartopic *t = user;
	int64_t next, end;
	size_t at;

	t->recall.is_asking = 0;
	t->recall.retry_at = lt_clock_mono_ms() + LT_FAR_RETRY_MS;
	if (status != LEAT_OK || head->code != 0 || bytes % ENTRY != 0 ||
	    lt_remoting_i64(head, "next", &next) != LEAT_OK ||
	    lt_remoting_i64(head, "logEnd", &end) != LEAT_OK ||
	    next < t->recall.next)
		return;
	for (at = 0; at < bytes; at += ENTRY)
		found(t, body + at);
	/* The first answer says how far: all that was sent is below. */
	if (t->recall.until < 0)
		t->recall.until =
		    end > t->far->home.log_end ? end : t->far->home.log_end;
	/* No further: the disk is waited for. */
	if (next > t->recall.next)
		t->recall.retry_at = 0;
	else
		t->recall.retry_at = lt_clock_mono_ms() + LT_FAR_TICK_MS;
	t->recall.next = next;
	t->recall.is_on = next < t->recall.until;
	settle(t, !t->recall.is_on);
	lt_faroutlet_due(t, lt_clock_mono_ms());
}

void
lt_farrecall_due(struct lt_fartopic *t, uint64_t now)
{
	if (t->recall.is_asking || now < t->recall.retry_at ||
	    !t->far->home.is_greeted)
		return;
	if (!t->recall.is_on) {
		begin(t);
		if (t->recall.next == INT64_MAX)
			return;
		t->recall.is_on = 1;
	}
	ask(t);
}

void
lt_farrecall_anew(struct lt_far *far)
{
	struct lt_fartopic *t;

	for (t = far->topics; t != NULL; t = t->next) {
		t->recall.is_on = 0;
		t->recall.retry_at = 0;
	}
}
