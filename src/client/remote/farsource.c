/*
 * farsource.c - one queue of a broker on its way in: where to begin, pulls that
 * the broker holds while there is nothing, and the replies, whose bytes are
 * lent to the application as they came.
 *
 * A reply's records are all checked when it arrives, so that taking them later
 * is only walking. `next` is the one position; `next_pull` runs ahead of it by
 * the replies that are held. What a reply skips (filtered by the broker, gone)
 * is passed when its end is reached.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/deflate.h"

#define BROWSER "TOOLS_CONSUMER" /* a group that every broker has */
#define PULL_COUNT 256
#define PULL_BYTES_MAX (8u << 20)
#define COMPRESSED 0x1u
#define TYPE_OF(sys_flag) ((sys_flag) >> 8 & 7)
#define OLD_ZLIB 0u
#define ZLIB 3u

/* --- coming and going --------------------------------------------------------
 */

int
lt_farsource_add(struct lt_fargroup *g, struct leat_consumer *consumer,
    struct lt_farqueue *queue)
{
	struct lt_farsource *s;
	size_t i;

	for (i = 0; i < g->source_count; i++)
		if (g->sources[i] == NULL)
			break;
	if (i == g->source_count) {
		if (lt_mem_grow((void **)&g->sources, &g->source_capacity,
			g->source_count, sizeof(*g->sources)) != LEAT_OK)
			return LEAT_E_NOMEM;
		g->source_count++;
	}
	s = lt_mem_alloc(sizeof(*s));
	if (s == NULL)
		return LEAT_E_NOMEM;
	g->sources[i] = s;
	s->group = g;
	s->consumer = consumer;
	s->queue = queue;
	s->index = (uint32_t)i;
	s->epoch = ++g->far->epoch;
	s->state = g->grouped ? LT_FARSOURCE_PROGRESS : LT_FARSOURCE_START;
	s->committed = s->back = -1;
	return LEAT_OK;
}

/* What was taken of it may still be lent. */
static void
retire_frame(struct lt_farsource *s)
{
	struct lt_farframe *f = s->first;
	struct lt_farreader *reader;

	s->first = f->next;
	if (s->first == NULL)
		s->last = NULL;
	s->frames--;
	if (s->consumer == NULL) {
		lt_mem_free(f);
		return;
	}
	reader = s->consumer->reader;
	f->next = reader->spent;
	reader->spent = f;
}

void
lt_farsource_drop(struct lt_farsource *s)
{
	(void)lt_farsource_commit(s, NULL, NULL);
	lt_farask_forget(s->group->far, s);
	while (s->first != NULL)
		retire_frame(s);
	s->group->sources[s->index] = NULL;
	lt_mem_free(s->claims);
	lt_mem_free(s);
}

/* --- requests ------------------------------------------------------------ */

static int
begin(struct lt_farsource *s, struct lt_farrequest *r, int32_t code)
{
	size_t room = 4 * (size_t)LT_NAME_FIELD;

	if (s->consumer != NULL && s->consumer->reader->tag_expr != NULL)
		room += 6 * strlen(s->consumer->reader->tag_expr);
	return lt_farask_begin(r, s->queue->conn, code, room);
}

/* Fields that each request about a queue has. */
static void
put_queue(struct lt_farrequest *r, const struct lt_farsource *s)
{
	lt_farask_put(r, "bname", s->queue->broker);
	lt_remoting_put_i64(&r->e, "queueId", s->queue->id);
	lt_farask_put(r, "topic", s->queue->topic->name);
}

static const char *
group_name(const struct lt_farsource *s)
{
	return s->group->name[0] != '\0' ? s->group->name : BROWSER;
}

int
lt_farsource_commit(struct lt_farsource *s, lt_farask_fn done, void *user)
{
	struct lt_farrequest r;
	int64_t floor = lt_farclaim_floor(s);

	if (!s->group->grouped || s->state != LT_FARSOURCE_READY ||
	    floor == s->committed || begin(s, &r, 15) != LEAT_OK)
		return 0;
	put_queue(&r, s);
	lt_remoting_put_i64(&r.e, "commitOffset", floor);
	lt_farask_put(&r, "consumerGroup", s->group->name);
	if (lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, done, user) != LEAT_OK)
		return 0;
	s->committed = floor;
	return 1;
}

static void
later(struct lt_farsource *s, uint64_t ms)
{
	s->retry_at = lt_clock_mono_ms() + ms;
}

/* A request of this queue had no answer. */
static void
cut_off(struct lt_farsource *s, int status)
{
	s->is_asking = 0;
	s->committed = -1; /* a pull says it too */
	if (status == LEAT_E_TIMEOUT && s->queue->conn->fd >= 0)
		lt_farconn_down(s->queue->conn, LEAT_E_UNREACHABLE);
	if (status == LEAT_E_CORRUPT)
		s->status = status;
	lt_farroute_refresh(s->queue->topic);
	later(s, LT_FAR_TICK_MS);
}

/* An answer that is none of those expected. */
static void
refused(struct lt_farsource *s, int32_t code)
{
	struct lt_farconn *conn = s->queue->conn;

	switch (code) {
	case 24: /* subscription not there, or not the latest */
	case 25:
		conn->beat_at = 0;
		break;
	case 16: /* the topic's permission, or our rights */
		s->status = (s->queue->topic->perm & LEAT_PERM_READ) == 0
				? LEAT_E_PERM
				: LEAT_E_DENIED;
		break;
	case 17:
		s->status = LEAT_E_NOTFOUND;
		break;
	case 3:
		s->status = LEAT_E_UNSUPPORTED;
		break;
	default:
		break;
	}
	later(s, LT_FAR_RETRY_MS);
}

static void
corrupt(struct lt_farsource *s)
{
	s->status = LEAT_E_CORRUPT;
	lt_farconn_down(s->queue->conn, LEAT_E_CORRUPT);
	later(s, LT_FAR_RETRY_MS);
}

/* --- where to begin --------------------------------------------------------
 */

static void
begin_at(struct lt_farsource *s, int64_t offset)
{
	s->state = LT_FARSOURCE_READY;
	s->next = s->next_pull = offset > 0 ? offset : 0;
	s->status = LEAT_OK;
}

static enum leat_from
from_of(const struct lt_farsource *s)
{
	const struct leat_consumer *c = s->consumer;

	if (c == NULL || c->reader->was_begun)
		return LEAT_FROM_BEGIN;
	if (c->from == LEAT_FROM_DEFAULT)
		return s->group->name[0] != '\0' ? LEAT_FROM_BEGIN
						 : LEAT_FROM_END;
	return c->from;
}

static void
on_start(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farsource *s = user;
	int64_t offset;

	(void)body;
	(void)bytes;
	if (status != LEAT_OK) {
		cut_off(s, status);
		return;
	}
	s->is_asking = 0;
	if (s->state == LT_FARSOURCE_PROGRESS &&
	    lt_farask_status(head->code) == LEAT_E_NOTFOUND) {
		s->state = LT_FARSOURCE_START;
		return;
	}
	if (head->code != 0) {
		refused(s, head->code);
		return;
	}
	if (lt_remoting_i64(head, "offset", &offset) != LEAT_OK) {
		corrupt(s);
		return;
	}
	if (s->state == LT_FARSOURCE_PROGRESS && offset < 0) {
		s->state = LT_FARSOURCE_START;
		return;
	}
	if (s->state == LT_FARSOURCE_PROGRESS)
		s->committed = offset;
	else if (from_of(s) == LEAT_FROM_OFFSET)
		offset += s->consumer->from_value; /* before the end */
	begin_at(s, offset);
}

static int
ask_progress(struct lt_farsource *s)
{
	struct lt_farrequest r;
	int status = begin(s, &r, 14);

	if (status != LEAT_OK)
		return status;
	put_queue(&r, s);
	lt_farask_put(&r, "consumerGroup", s->group->name);
	lt_farask_put(&r, "setZeroIfNotFound", "false");
	return lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_start, s);
}

static int
ask_start(struct lt_farsource *s)
{
	enum leat_from from = from_of(s);
	struct lt_farrequest r;
	int status;

	if (from == LEAT_FROM_OFFSET && s->consumer->from_value >= 0) {
		begin_at(s, s->consumer->from_value);
		return LEAT_E_END;
	}
	status = begin(s, &r,
	    from == LEAT_FROM_BEGIN  ? 31
	    : from == LEAT_FROM_TIME ? 29
				     : 30);
	if (status != LEAT_OK)
		return status;
	put_queue(&r, s);
	if (from == LEAT_FROM_TIME)
		lt_remoting_put_i64(&r.e, "timestamp", s->consumer->from_value);
	return lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_start, s);
}

/* --- pulls --------------------------------------------------------------- */

/* Every record whole, and in order; next behind them all. */
static int
check_frame(const struct lt_farframe *f, int64_t asked)
{
	struct lt_record_view v;
	int64_t last = asked - 1;
	size_t at = 0;

	while (at < f->bytes) {
		if (lt_record_parse(f->data + at, f->bytes - at, &v) !=
			LEAT_OK ||
		    v.queue_offset <= last)
			return LEAT_E_CORRUPT;
		last = v.queue_offset;
		at += v.bytes;
	}
	return f->next_offset > last && f->next_offset >= asked
		   ? LEAT_OK
		   : LEAT_E_CORRUPT;
}

static void
add_frame(struct lt_farsource *s, const uint8_t *body, size_t bytes,
    int64_t next_offset)
{
	struct lt_farframe *f = lt_mem_alloc(sizeof(*f) + bytes);

	if (f == NULL) {
		later(s, LT_FAR_RETRY_MS);
		return;
	}
	f->next_offset = next_offset;
	f->bytes = bytes;
	if (bytes != 0)
		memcpy(f->data, body, bytes);
	if (check_frame(f, s->next_pull) != LEAT_OK) {
		lt_mem_free(f);
		corrupt(s);
		return;
	}
	s->next_pull = next_offset;
	if (s->first == NULL)
		s->first = f;
	else
		s->last->next = f;
	s->last = f;
	s->frames++;
}

/* The broker says that the queue goes on elsewhere: expired, cut or reset. What
 * is still held here comes first. */
static void
moved(struct lt_farsource *s, int64_t to)
{
	if (s->first != NULL) {
		later(s, LT_FAR_TICK_MS);
		return;
	}
	if (to < 0 || to == s->next_pull) {
		later(s, LT_FAR_RETRY_MS);
		return;
	}
	s->epoch = ++s->group->far->epoch;
	lt_farclaim_clear(s);
	begin_at(s, to);
}

static void
on_pulled(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farsource *s = user;
	int64_t next = -1, max = -1;

	if (status != LEAT_OK) {
		cut_off(s, status);
		return;
	}
	s->is_asking = 0;
	if (head->code != 0 && (head->code < 19 || head->code > 21)) {
		refused(s, head->code);
		return;
	}
	if (lt_remoting_i64(head, "nextBeginOffset", &next) != LEAT_OK ||
	    lt_remoting_i64(head, "maxOffset", &max) != LEAT_OK ||
	    (head->code == 0 && bytes == 0)) {
		corrupt(s);
		return;
	}
	s->status = LEAT_OK;
	s->end = max;
	if (head->code == 0)
		add_frame(s, body, bytes, next);
	else if (head->code == 21)
		moved(s, next);
	else if (next > s->next_pull)
		add_frame(s, NULL, 0, next);
	/* What comes is asked for at once. */
	lt_farsource_due(s, lt_clock_mono_ms());
}

static int
pull(struct lt_farsource *s)
{
	const struct leat_consumer *c = s->consumer;
	const char *tags = c != NULL && c->reader->tag_expr != NULL
			       ? c->reader->tag_expr
			       : "*";
	uint64_t most = c != NULL ? c->batch_bytes : 1u << 20;
	struct lt_farrequest r;
	int status = begin(s, &r, 11);

	if (status != LEAT_OK)
		return status;
	put_queue(&r, s);
	lt_remoting_put_i64(
	    &r.e, "commitOffset", s->group->grouped ? lt_farclaim_floor(s) : 0);
	lt_farask_put(&r, "consumerGroup", group_name(s));
	lt_farask_put(&r, "expressionType", "TAG");
	lt_remoting_put_i64(&r.e, "maxMsgBytes",
	    (int64_t)(most < PULL_BYTES_MAX ? most : PULL_BYTES_MAX));
	lt_remoting_put_i64(&r.e, "maxMsgNums", PULL_COUNT);
	lt_remoting_put_i64(&r.e, "queueOffset", s->next_pull);
	lt_remoting_put_i64(&r.e, "subVersion", s->group->sub_version);
	lt_farask_put(&r, "subscription", tags);
	lt_remoting_put_i64(&r.e, "suspendTimeoutMillis", LT_FAR_SUSPEND_MS);
	/* May be held, has its own filter, and progress with it. */
	lt_remoting_put_i64(&r.e, "sysFlag", s->group->grouped ? 7 : 6);
	status = lt_farask_end(&r, NULL, 0, LT_FAR_PULL_MS, on_pulled, s);
	if (status == LEAT_OK && s->group->grouped)
		s->committed = lt_farclaim_floor(s);
	return status;
}

void
lt_farsource_due(struct lt_farsource *s, uint64_t now)
{
	int status;

	if (s->is_asking || now < s->retry_at)
		return;
	if (s->state == LT_FARSOURCE_READY &&
	    (s->frames >= LT_FAR_FRAMES ||
		s->claim_count >= LT_FAR_HELD_MAX / 2))
		return;
	s->is_asking = 1;
	status = s->state == LT_FARSOURCE_PROGRESS ? ask_progress(s)
		 : s->state == LT_FARSOURCE_START  ? ask_start(s)
						   : pull(s);
	if (status == LEAT_OK)
		return;
	s->is_asking = 0;
	if (status == LEAT_E_UNREACHABLE) {
		lt_farroute_refresh(s->queue->topic);
		s->retry_at = s->queue->conn->try_at;
	} else if (status != LEAT_E_END) {
		later(s, LT_FAR_TICK_MS);
	}
}

/* --- taking -------------------------------------------------------------- */

static int
wants(const struct leat_consumer *c, const struct lt_record_texts *t)
{
	size_t i;

	if (c->tag_count == 0)
		return 1;
	for (i = 0; i < c->tag_count; i++)
		if (c->tags[i].bytes == t->tag_bytes &&
		    memcmp(c->tags[i].text, t->tag, t->tag_bytes) == 0)
			return 1;
	return 0;
}

/* The topic that a message of the retry topic came from; "" if it says none. */
static void
origin_of(const struct lt_record_view *v, char out[LT_NAME_FIELD])
{
	const char *text;
	size_t bytes;

	out[0] = '\0';
	if (lt_record_property(v, "RETRY_TOPIC", 11, &text, &bytes) !=
		LEAT_OK ||
	    bytes >= LT_NAME_FIELD)
		return;
	memcpy(out, text, bytes);
	out[bytes] = '\0';
}

/* Is there another consumer of this group whose it is? */
static int
is_siblings(
    const struct lt_fargroup *g, const struct leat_consumer *c, const char *of)
{
	const struct leat_consumer *o;

	if (of[0] == '\0' || strcmp(of, c->topic) == 0)
		return 0;
	for (o = g->consumers; o != NULL; o = o->reader->sibling)
		if (strcmp(of, o->topic) == 0)
			return 1;
	return 0;
}

/* A compressed body as it was before; one that cannot be undone stays. */
int
lt_farsource_unpack(struct lt_fararena **arena, const struct lt_record_view *v,
    struct leat_delivery *d)
{
	uint32_t type = TYPE_OF(v->sys_flag);
	struct lt_buffer b;
	void *copy;
	int status;

	if ((v->sys_flag & COMPRESSED) == 0 ||
	    (type != OLD_ZLIB && type != ZLIB))
		return LEAT_OK;
	lt_buffer_init(&b, LT_BODY_MAX);
	status = lt_deflate_unpack(v->body, v->body_bytes, &b);
	if (status == LEAT_OK) {
		copy = lt_far_arena(arena, b.bytes + 1);
		if (copy != NULL && b.bytes != 0)
			memcpy(copy, b.p, b.bytes);
		status = copy == NULL ? LEAT_E_NOMEM : LEAT_OK;
		d->body = copy;
		d->body_bytes = b.bytes;
	}
	lt_buffer_fini(&b);
	if (status == LEAT_E_NOMEM)
		return status;
	if (status != LEAT_OK) {
		d->body = v->body;
		d->body_bytes = v->body_bytes;
	}
	return LEAT_OK;
}

static int
deliver(struct lt_farsource *s, struct leat_consumer *c,
    const struct lt_record_view *v, const struct lt_record_texts *t,
    const char *origin, struct leat_delivery *d)
{
	struct lt_fararena **arena = &c->reader->arena;
	struct lt_record_view own = *v;
	const char *topic = c->topic;
	char *text =
	    lt_far_arena(arena, lt_delivery_text_bytes(t) + strlen(origin) + 1);
	void *copy;

	if (text == NULL)
		return LEAT_E_NOMEM;
	if (s->consumer == NULL) { /* the frame is no one consumer's */
		copy = lt_far_arena(arena, v->bytes);
		if (copy == NULL)
			return LEAT_E_NOMEM;
		memcpy(copy, v->base, v->bytes);
		if (lt_record_parse(copy, v->bytes, &own) != LEAT_OK)
			return LEAT_E_CORRUPT;
		if (origin[0] != '\0') {
			strcpy(text, origin);
			topic = text;
			text += strlen(origin) + 1;
		}
	}
	lt_delivery_fill(d, &own, t, topic, text);
	d->queue = s->queue->number;
	d->attempt = v->reconsume + 1;
	d->handle = (uint64_t)s->epoch << 32 | s->index;
	return lt_farsource_unpack(arena, &own, d);
}

/* The frames whose end is reached are done with. */
static void
pass_ends(struct lt_farsource *s)
{
	while (s->first != NULL && s->first->at == s->first->bytes) {
		if (s->first->next_offset > s->next)
			s->next = s->first->next_offset;
		retire_frame(s);
	}
}

int
lt_farsource_take(struct lt_farsource *s, struct leat_consumer *c,
    struct leat_delivery *out, size_t max)
{
	char origin[LT_NAME_FIELD] = "";
	struct lt_record_texts t;
	struct lt_record_view v;
	size_t n = 0;
	int status;

	if (s->state != LT_FARSOURCE_READY)
		return 0;
	for (pass_ends(s); n < max && s->first != NULL; pass_ends(s)) {
		struct lt_farframe *f = s->first;

		status = lt_record_parse(f->data + f->at, f->bytes - f->at, &v);
		LT_ASSERT(status == LEAT_OK); /* checked when it came */
		lt_record_texts(&v, &t);
		if (s->consumer == NULL) {
			origin_of(&v, origin);
			if (is_siblings(s->group, c, origin))
				break;
		}
		if (wants(c, &t)) {
			status = s->group->grouped
				     ? lt_farclaim_add(
					   s, v.queue_offset, v.log_offset)
				     : LEAT_OK;
			if (status == LEAT_E_LIMIT)
				break;
			if (status == LEAT_OK)
				status = deliver(s, c, &v, &t, origin, &out[n]);
			if (status != LEAT_OK)
				return n != 0 ? (int)n : status;
			n++;
		}
		f->at += v.bytes;
		s->next = v.queue_offset + 1;
	}
	lt_farsource_due(s, s->group->far->pumped_at);
	return (int)n;
}

int
lt_farsource_ready(const struct lt_farsource *s)
{
	return s->state == LT_FARSOURCE_READY && s->first != NULL &&
	       s->claim_count < LT_FAR_HELD_MAX;
}
