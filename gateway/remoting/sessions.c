/*
 * sessions.c - a client that connects again asks what became of the messages
 * whose answers it lost, before it sends them again. Two requests for that:
 *
 * LEAT_SESSION (30001): its session goes on with this connection. Answered when
 * nothing of earlier ones is under way any more, each piece in the log, or
 * never to be there: the last connection is closed by its worker, every worker
 * has had the store's receipts for all that it had submitted (a fence), and
 * leat-queue says that the lanes of gateways before this one are empty.
 *
 * LEAT_SENT (30002): what the log has of a session in a topic, from a place on:
 * found by walking a part of it, so an answer may be "go on there". Only what
 * is durable is told, since it is the answer to the send.
 *
 * A token names the session: nobody else has seen it, unlike the ids of its
 * messages. A session that has no connection is forgotten: nothing of it can be
 * under way but what a fence waits for anyway.
 */
#include "config.h"
#include "remoting/sessions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/name.h"
#include "remoting/post.h"
#include "remoting/worker.h"

#define TOKEN_CHARS 32
#define SETTLE_MS 1000
#define SCAN_BYTES (1u << 20) /* of the log, for all requests of a round */
#define SENT_MAX 4096 /* messages in an answer */
#define SENT_BYTES 32 /* sequence, queue, body CRC, both offsets */

struct session {
	char token[TOKEN_CHARS];
	uint64_t conn;
	int64_t attempt;
	int is_fenced; /* a greeting is not answered yet */
	uint64_t old; /* a connection that it had and may still be open; 0 */
};

struct lt_sessions {
	pthread_mutex_t lock;
	struct lt_hash by_token, by_conn; /* lock; the same values */
	atomic_int is_settled; /* no lane of a gateway before this one is left
				*/
};

/* What all workers pass before an answer goes out. */
struct barrier {
	struct lt_ticket ticket;
	const struct lt_gateway *g;
	uint64_t old; /* connection to be closed; 0: none */
	atomic_uint left; /* workers, and one for who sends the letters */
	atomic_int is_bad; /* a worker could not be told */
	_Atomic uint64_t log_end; /* behind all that they have seen stored */
};

struct lt_fence {
	struct lt_letter letter; /* first */
	STAILQ_ENTRY(lt_fence) link;
	struct barrier *barrier;
	uint64_t submitted; /* of the worker, when it opened the letter */
};

/* --- the table -------------------------------------------------------------
 */

int
lt_sessions_create(struct lt_sessions **out)
{
	struct lt_sessions *s = lt_mem_alloc(sizeof *s);

	if (s == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&s->lock, NULL);
	lt_hash_init(&s->by_token);
	lt_hash_init(&s->by_conn);
	*out = s;
	return LEAT_OK;
}

void
lt_sessions_destroy(struct lt_sessions *s)
{
	struct session *one;
	size_t cursor = 0;

	if (s == NULL)
		return;
	while ((one = lt_hash_next(&s->by_token, &cursor)) != NULL)
		lt_mem_free(one);
	lt_hash_fini(&s->by_token);
	lt_hash_fini(&s->by_conn);
	pthread_mutex_destroy(&s->lock);
	lt_mem_free(s);
}

static void
drop(struct lt_sessions *s, struct session *one)
{
	(void)lt_hash_del(&s->by_conn, &one->conn, sizeof one->conn);
	(void)lt_hash_del(&s->by_token, one->token, sizeof one->token);
	lt_mem_free(one);
}

void
lt_sessions_closed(struct lt_sessions *s, uint64_t conn)
{
	struct session *one;

	pthread_mutex_lock(&s->lock);
	one = lt_hash_get(&s->by_conn, &conn, sizeof conn);
	if (one != NULL)
		drop(s, one);
	pthread_mutex_unlock(&s->lock);
}

/* What it had is to be closed; older: that had not been closed either. */
static int
move(struct lt_sessions *s, struct session *one, uint64_t conn, uint64_t *older)
{
	*older = one->old;
	(void)lt_hash_del(&s->by_conn, &one->conn, sizeof one->conn);
	one->old = one->conn;
	one->conn = conn;
	one->is_fenced = 0;
	return lt_hash_put(&s->by_conn, &one->conn, sizeof one->conn, one);
}

static int
make(struct lt_sessions *s, const char *token, uint64_t conn,
    struct session **out)
{
	struct session *one = lt_mem_alloc(sizeof *one);
	int status;

	if (one == NULL)
		return LEAT_E_NOMEM;
	memcpy(one->token, token, TOKEN_CHARS);
	one->conn = conn;
	*out = one;
	status = lt_hash_put(&s->by_token, one->token, TOKEN_CHARS, one);
	return status != LEAT_OK
		   ? status
		   : lt_hash_put(&s->by_conn, &one->conn, sizeof conn, one);
}

/* The session has this connection now. *old: one that it had and that is not
 * known to be closed; *older: another one; 0: none. INVALID: the one it has is
 * the later of the two, or this has a session. BUSY: the greeting before this
 * one is not answered. */
static int
take(struct lt_sessions *s, const char *token, int64_t attempt, uint64_t conn,
    uint64_t *old, uint64_t *older)
{
	struct session *one = lt_hash_get(&s->by_token, token, TOKEN_CHARS);
	struct session *mine = lt_hash_get(&s->by_conn, &conn, sizeof conn);
	int status = LEAT_OK;

	*old = *older = 0;
	if ((mine != NULL && mine != one) ||
	    (one != NULL && one->attempt > attempt))
		return LEAT_E_INVALID;
	if (mine != NULL && mine->is_fenced)
		return LEAT_E_BUSY;
	if (one == NULL)
		status = make(s, token, conn, &one);
	else if (one->conn != conn)
		status = move(s, one, conn, older);
	if (status != LEAT_OK) {
		if (one != NULL)
			drop(s, one);
		return status;
	}
	one->attempt = attempt;
	one->is_fenced = 1;
	*old = one->old;
	return LEAT_OK;
}

/* --- fences ------------------------------------------------------------------
 */

/* A greeting is answered, or never will be: then what was to be closed may be
 * open, and the next greeting closes it. */
static void
unfence(struct lt_sessions *s, uint64_t conn, int is_passed)
{
	struct session *one;

	pthread_mutex_lock(&s->lock);
	one = lt_hash_get(&s->by_conn, &conn, sizeof conn);
	if (one != NULL) {
		one->is_fenced = 0;
		one->old = is_passed ? 0 : one->old;
	}
	pthread_mutex_unlock(&s->lock);
}

static void
answer(struct lt_worker *w, struct barrier *b)
{
	uint64_t end = atomic_load(&b->log_end);
	struct lt_answer a;

	unfence(w->g->sessions, b->ticket.conn, !atomic_load(&b->is_bad));
	if (end < lt_relay_log_end(w->leat))
		end = lt_relay_log_end(w->leat);
	if (atomic_load(&b->is_bad))
		lt_answer_error(w, &b->ticket, LEAT_E_BUSY);
	else if (lt_answer_begin(w, &b->ticket, LT_CODE_SUCCESS, 512, 0, &a)) {
		lt_remoting_put(&a.e, "brokerName", w->g->broker_name,
		    strlen(w->g->broker_name));
		lt_remoting_put_i64(&a.e, "logEnd", (int64_t)end);
		(void)lt_answer_body(&a, NULL, 0);
		lt_answer_end(&a);
	}
	lt_mem_free(b);
}

struct passed {
	struct lt_letter letter; /* first */
	struct barrier *barrier;
};

static void
open_passed(struct lt_worker *w, struct lt_letter *letter)
{
	struct passed *p = (struct passed *)letter;

	answer(w, p->barrier);
	lt_mem_free(p);
}

/* One less; the last brings the answer to the worker that was asked. */
static void
pass(struct barrier *b)
{
	struct passed *p;

	if (atomic_fetch_sub(&b->left, 1) > 1)
		return;
	p = lt_mem_alloc(sizeof *p);
	if (p != NULL) {
		p->letter.to = b->ticket.conn;
		p->letter.bytes = sizeof *p;
		p->letter.open = open_passed;
		p->barrier = b;
		if (lt_post_send(b->g->post, &p->letter) == LEAT_OK)
			return;
	}
	/* Nobody is told: who waits long enough asks again. */
	unfence(b->g->sessions, b->ticket.conn, 0);
	lt_mem_free(b);
}

static void
pass_fence(struct lt_worker *w, struct lt_fence *f)
{
	struct barrier *b = f->barrier;
	uint64_t end = atomic_load(&b->log_end);

	while (end < w->logged_end &&
	       !atomic_compare_exchange_weak(&b->log_end, &end, w->logged_end))
		continue;
	lt_mem_free(f);
	pass(b);
}

void
lt_sessions_collected(struct lt_worker *w)
{
	struct lt_fence *f;

	/* Receipts come in the order of the messages. */
	while ((f = STAILQ_FIRST(&w->fences)) != NULL &&
	       f->submitted <= w->submitted - w->sending) {
		STAILQ_REMOVE_HEAD(&w->fences, link);
		pass_fence(w, f);
	}
}

static void
open_fence(struct lt_worker *w, struct lt_letter *letter)
{
	struct lt_fence *f = (struct lt_fence *)letter;
	struct lt_conn *c =
	    f->barrier->old == 0 ? NULL : lt_conn_find(w->net, f->barrier->old);

	if (c != NULL)
		lt_conn_close(c);
	f->submitted = w->submitted;
	STAILQ_INSERT_TAIL(&w->fences, f, link);
	lt_sessions_collected(w);
}

void
lt_sessions_fini(struct lt_worker *w)
{
	struct lt_fence *f;

	while ((f = STAILQ_FIRST(&w->fences)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->fences, link);
		atomic_store(&f->barrier->is_bad, 1);
		pass_fence(w, f);
	}
}

/* A letter for each worker, made under the lock of the post. */
static struct lt_letter *
make_fence(void *user)
{
	struct barrier *b = user;
	struct lt_fence *f = lt_mem_alloc(sizeof *f);

	if (f == NULL) {
		atomic_store(&b->is_bad, 1);
		return NULL;
	}
	atomic_fetch_add(&b->left, 1);
	f->letter.bytes = sizeof *f;
	f->letter.open = open_fence;
	f->barrier = b;
	return &f->letter;
}

/* --- requests ----------------------------------------------------------------
 */

static void
put_up_fences(struct lt_call *call, uint64_t old)
{
	struct barrier *b = lt_mem_alloc(sizeof *b);

	if (b == NULL) {
		unfence(call->worker->g->sessions, call->ticket.conn, 0);
		lt_answer_error(call->worker, &call->ticket, LEAT_E_NOMEM);
		return;
	}
	b->ticket = call->ticket;
	lt_ticket_owe(call->worker, &b->ticket);
	b->g = call->worker->g;
	b->old = old;
	atomic_store(&b->left, 1);
	lt_post_all(b->g->post, make_fence, b);
	pass(b);
}

static int
settle(struct leat *leat, struct lt_call *call)
{
	(void)call;
	return lt_relay_settled(leat, SETTLE_MS);
}

static void
settled(struct lt_call *call, int status)
{
	if (status == LEAT_OK)
		atomic_store(&call->worker->g->sessions->is_settled, 1);
	if (call->conn != NULL && status == LEAT_OK)
		lt_sessions_on_greeting(call);
	else if (call->conn != NULL)
		lt_answer_error(call->worker, &call->ticket, LEAT_E_BUSY);
	lt_call_free(call);
}

void
lt_sessions_on_greeting(struct lt_call *call)
{
	struct lt_sessions *s = call->worker->g->sessions;
	struct lt_remoting_text token =
	    lt_remoting_find(call->request, "session");
	int64_t attempt;
	uint64_t old, older;
	int status;

	if (token.p == NULL || token.bytes != TOKEN_CHARS ||
	    lt_remoting_i64(call->request, "attempt", &attempt) != LEAT_OK) {
		lt_answer_lacks(call, "session or attempt");
		return;
	}
	if (!atomic_load(&s->is_settled)) {
		if (lt_clerk_submit(
			call->worker->inbox, call, settle, settled) != LEAT_OK)
			lt_answer_error(
			    call->worker, &call->ticket, LEAT_E_BUSY);
		return;
	}
	pthread_mutex_lock(&s->lock);
	status = take(s, token.p, attempt, call->ticket.conn, &old, &older);
	pthread_mutex_unlock(&s->lock);
	if (older != 0)
		lt_post_close(call->worker->g->post, older);
	if (status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
	else
		put_up_fences(call, old);
}

/* Was it sent to that topic? A delayed one waits in another for its time. */
static int
is_of(const struct lt_record_view *v, struct lt_remoting_text topic)
{
	const char *name = v->topic;
	size_t bytes = v->topic_bytes;

	if (bytes == sizeof LT_NAME_SCHEDULE_TOPIC - 1 &&
	    memcmp(name, LT_NAME_SCHEDULE_TOPIC, bytes) == 0 &&
	    lt_record_property(v, "REAL_TOPIC", 10, &name, &bytes) != LEAT_OK)
		return 0;
	return bytes == topic.bytes && memcmp(name, topic.p, bytes) == 0;
}

/* The sequence of a record, if it is of that session. 0: it is not. */
static uint64_t
sequence_of(const struct lt_record_view *v, struct lt_remoting_text topic,
    const char session[16])
{
	const char *id;
	uint64_t seq;
	size_t bytes;

	if (!is_of(v, topic) ||
	    lt_record_property(v, "UNIQ_KEY", 8, &id, &bytes) != LEAT_OK ||
	    bytes != LEAT_ID_CHARS || memcmp(id, session, 16) != 0 ||
	    lt_bytes_unhex64(id + 16, &seq) != 0)
		return 0;
	return seq;
}

/* Walk from *at_io on; *at_io: how far it came. */
static void
scan(struct lt_worker *w, struct lt_remoting_text topic, const char *session,
    uint64_t *at_io, struct lt_buffer *out)
{
	uint64_t round = lt_net_counters(w->net)->rounds;
	uint64_t limit = lt_relay_log_synced(w->leat), at = *at_io, damaged;
	struct lt_record_view v;
	uint64_t seq;

	if (at >= limit)
		return;
	if (lt_reader_limit(w->reader) < limit &&
	    lt_reader_refresh(w->reader) != LEAT_OK)
		return;
	if (at < lt_reader_min(w->reader))
		at = lt_reader_min(w->reader);
	if (w->scan_round != round) {
		w->scan_round = round;
		w->scan_left = SCAN_BYTES;
	}
	while (at < limit && w->scan_left > 0 &&
	       out->bytes < SENT_MAX * SENT_BYTES) {
		int status = lt_reader_next(w->reader, at, limit, &v, &damaged);

		if (status == LEAT_E_END)
			at = limit;
		if (status != LEAT_OK)
			break;
		at = (uint64_t)v.log_offset + v.bytes;
		w->scan_left -= v.bytes < w->scan_left ? v.bytes : w->scan_left;
		seq = sequence_of(&v, topic, session);
		if (seq == 0)
			continue;
		lt_buffer_put32(out, (uint32_t)(seq >> 32));
		lt_buffer_put32(out, (uint32_t)seq);
		lt_buffer_put32(out, v.queue);
		lt_buffer_put32(out, v.body_crc);
		lt_buffer_put32(
		    out, (uint32_t)((uint64_t)v.queue_offset >> 32));
		lt_buffer_put32(out, (uint32_t)v.queue_offset);
		lt_buffer_put32(out, (uint32_t)((uint64_t)v.log_offset >> 32));
		lt_buffer_put32(out, (uint32_t)v.log_offset);
	}
	*at_io = at;
}

void
lt_sessions_on_sent(struct lt_call *call)
{
	const struct lt_remoting *h = call->request;
	struct lt_remoting_text topic = lt_remoting_find(h, "topic"),
				session = lt_remoting_find(h, "session");
	struct lt_worker *w = call->worker;
	uint64_t end = lt_relay_log_end(w->leat), at;
	struct lt_buffer found;
	struct lt_answer a;
	int64_t begin;

	if (topic.p == NULL || session.p == NULL || session.bytes != 16 ||
	    lt_remoting_i64(h, "begin", &begin) != LEAT_OK || begin < 0) {
		lt_answer_lacks(call, "topic, session or begin");
		return;
	}
	if (end < w->logged_end)
		end = w->logged_end;
	at = (uint64_t)begin;
	lt_buffer_init(&found, SENT_MAX * SENT_BYTES);
	scan(w, topic, session.p, &at, &found);
	if (lt_buffer_status(&found) != LEAT_OK)
		lt_answer_error(w, &call->ticket, LEAT_E_NOMEM);
	else if (lt_answer_begin(
		     w, &call->ticket, LT_CODE_SUCCESS, 256, found.bytes, &a)) {
		lt_remoting_put_i64(&a.e, "next", (int64_t)at);
		lt_remoting_put_i64(&a.e, "logEnd", (int64_t)end);
		if (found.bytes > 0)
			memcpy(lt_answer_body(&a, NULL, found.bytes), found.p,
			    found.bytes);
		else
			(void)lt_answer_body(&a, NULL, 0);
		lt_answer_end(&a);
	}
	lt_buffer_fini(&found);
}
