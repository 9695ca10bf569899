/*
 * popserve.c - requests around pop, answered at once or held until there are
 * messages. The popper's thread alone.
 *
 * A pop that is held lies in its source's list, which is looked through when
 * there may be something, and in a wheel of 100 ms steps that ends it (no timer
 * each). A message for a pop of one queue, or in order, may wait for the next
 * step if others of its group wait, too, and cannot have it.
 */
#include "config.h"
#include "remoting/popserve.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/relay.h"
#include "leat/status.h"
#include "remoting/adminjson.h"
#include "remoting/popper.h"
#include "remoting/popsource.h"
#include "remoting/worker.h"
#include "shm/counter.h"

#define STEP_MS LT_POPOUT_STEP_MS
#define STEPS 1024
#define HOLD_MAX_MS 60000
#define BITS_MAX 4096 /* bytes of a bit set of receipts */
#define ACKS_MAX 65536 /* of one request; those behind come again */
#define OFFSETS_TEXT 2048

/* A pop, or a question whether there is something to pop. */
struct lt_popheld {
	TAILQ_ENTRY(lt_popheld) in_source;
	LIST_ENTRY(lt_popheld) in_step;
	struct lt_popsource *source;
	struct lt_ticket ticket;
	int64_t invisible_ms;
	int32_t queue, max;
	uint8_t is_ordered, asks_only;
};
LIST_HEAD(helds, lt_popheld);

struct lt_popserve {
	const struct lt_gateway *g;
	struct leat *leat;
	struct lt_popsources sources;
	struct helds wheel[STEPS];
	uint64_t step; /* served up to here */
	size_t held;
	size_t acks; /* of the request, so far */
};

/* --- answers ---------------------------------------------------------------
 */

static void
status_of(struct lt_popserve *p, const struct lt_ticket *t, int status)
{
	int32_t code = LT_CODE_SYSTEM_BUSY;
	const char *why = "[REJECTREQUEST] the broker is busy, ask again";

	if (status == LEAT_E_NOTFOUND) {
		code = LT_CODE_TOPIC_NOT_EXIST;
		why = "the topic does not exist: make it, or send to it";
	} else if (status == LEAT_E_QUEUE) {
		code = LT_CODE_INVALID_PARAMETER;
		why = "the topic has no such queue";
	} else if (status == LEAT_E_PERM || status == LEAT_E_DENIED) {
		code = LT_CODE_NO_PERMISSION;
		why = leat_status_text(status);
	} else if (status == LEAT_E_INVALID) {
		code = LT_CODE_SUBSCRIPTION_BAD;
		why = "the subscription's expression makes no sense: tags with "
		      "|| between them";
	}
	lt_popanswer_status(p->g->post, t, code, why);
}

/* Every client reads these four, whatever the code. */
static void
put_fields(struct lt_popanswer *a, const struct lt_popheld *h, int64_t pop_ms,
    int64_t rest)
{
	lt_remoting_put_i64(&a->e, "popTime", pop_ms);
	lt_remoting_put_i64(&a->e, "invisibleTime", h->invisible_ms);
	lt_remoting_put_i64(
	    &a->e, "reviveQid", h->is_ordered ? LT_POP_ORDERED_REVIVE : 0);
	lt_remoting_put_i64(&a->e, "restNum", rest);
}

static void
answer_nothing(struct lt_popserve *p, const struct lt_popheld *h, int32_t code)
{
	struct lt_popanswer a;

	if (!lt_popanswer_begin(&a, p->g->post, &h->ticket,
		h->asks_only ? LT_CODE_SUCCESS : code, 0))
		return;
	if (h->asks_only) {
		lt_remoting_put(&a.e, "hasMsg", "false", 5);
		lt_remoting_put(&a.e, "pollingFull",
		    code == LT_CODE_POLLING_FULL ? "true" : "false",
		    code == LT_CODE_POLLING_FULL ? 4 : 5);
	} else {
		put_fields(&a, h, lt_clock_wall_ms(), 0);
	}
	(void)!lt_popanswer_end(&a, NULL);
}

/* What a client makes its receipts from. Messages of a queue lie together. */
struct offsets {
	char start[OFFSETS_TEXT], all[OFFSETS_TEXT], again[OFFSETS_TEXT];
	size_t start_bytes, all_bytes, again_bytes;
};

static void __attribute__((format(printf, 3, 4)))
append(char text[OFFSETS_TEXT], size_t *bytes, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text + *bytes, OFFSETS_TEXT - *bytes, format, ap);
	va_end(ap);
	LT_ASSERT(n > 0 && (size_t)n < OFFSETS_TEXT - *bytes);
	*bytes += (size_t)n;
}

static void
add_offset(struct offsets *o, const struct leat_delivery *d, int is_first)
{
	const char *sep = o->all_bytes == 0 ? "" : ";";

	if (is_first) {
		append(o->start, &o->start_bytes, "%s0 %" PRIu32 " %" PRId64,
		    sep, d->queue, d->queue_offset);
		append(o->all, &o->all_bytes, "%s0 %" PRIu32 " %" PRId64, sep,
		    d->queue, d->queue_offset);
	} else {
		append(o->all, &o->all_bytes, ",%" PRId64, d->queue_offset);
	}
	if (d->attempt > 1)
		append(o->again, &o->again_bytes,
		    "%s0 qo%" PRIu32 "%%%" PRId64 " %" PRIu32,
		    o->again_bytes == 0 ? "" : ";", d->queue, d->queue_offset,
		    d->attempt - 1);
}

static int
answer_found(struct lt_popserve *p, const struct lt_popheld *h,
    const struct leat_delivery *d, size_t n)
{
	struct lt_popanswer_receipt receipt = {.pop_ms = lt_clock_wall_ms(),
	    .invisible_ms = h->invisible_ms,
	    .broker_name = p->g->broker_name};
	struct offsets o = {.all_bytes = 0};
	uint64_t now_ms = lt_clock_mono_ms();
	struct lt_popanswer a;
	size_t room = 0;
	int64_t end;

	for (size_t i = 0; i < n; i++)
		room += lt_popanswer_room(&d[i]);
	if (!lt_popanswer_begin(
		&a, p->g->post, &h->ticket, LT_CODE_SUCCESS, room))
		return LEAT_E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		int is_first = i == 0 || d[i].queue != d[i - 1].queue;
		struct lt_popout *out = lt_popsource_keep(&p->sources,
		    h->source, &d[i], receipt.pop_ms, now_ms, h->invisible_ms);

		a.letter->items[i] = (struct lt_popanswer_item){
		    out->serial, lt_popouts_place(p->sources.outs, out)};
		add_offset(&o, &d[i], is_first);
		if (is_first)
			receipt.start_offset = d[i].queue_offset;
		lt_popanswer_put(&a, &d[i], &receipt, h->is_ordered);
	}
	a.letter->count = (uint32_t)n;
	put_fields(&a, h, receipt.pop_ms,
	    lt_relay_rest(h->source->consumer, h->queue, &end));
	lt_remoting_put(&a.e, "startOffsetInfo", o.start, o.start_bytes);
	lt_remoting_put(&a.e, "msgOffsetInfo", o.all, o.all_bytes);
	if (h->is_ordered && o.again_bytes > 0)
		lt_remoting_put(&a.e, "orderCountInfo", o.again, o.again_bytes);
	return lt_popanswer_end(&a, "FOUND");
}

/* --- taking ----------------------------------------------------------------
 */

/* There are some: 1, it was answered. */
static int
tell(struct lt_popserve *p, const struct lt_popheld *h)
{
	struct lt_popanswer a;
	int64_t end;

	if (lt_relay_rest(h->source->consumer, h->queue, &end) == 0 &&
	    !lt_relay_is_ready(h->source->consumer))
		return 0;
	if (lt_popanswer_begin(
		&a, p->g->post, &h->ticket, LT_CODE_SUCCESS, 0)) {
		lt_remoting_put(&a.e, "hasMsg", "true", 4);
		lt_remoting_put(&a.e, "pollingFull", "false", 5);
		(void)!lt_popanswer_end(&a, NULL);
	}
	return 1;
}

/* 1: it was answered; 0: there is nothing for it; or a status: there will never
 * be. */
static int
try(struct lt_popserve *p, const struct lt_popheld *h)
{
	size_t room = LT_POPOUT_MAX - lt_popouts_count(p->sources.outs);
	size_t max = (size_t)h->max;
	struct leat_delivery d[LT_POP_MAX];
	int n;

	if (h->asks_only)
		return tell(p, h);
	if (room == 0) {
		lt_stat_add(gateway_pop_full, 1);
		return 0;
	}
	n = lt_popsource_take(
	    h->source, h->queue, h->is_ordered, d, max < room ? max : room);
	if (n <= 0)
		return n;
	if (answer_found(p, h, d, (size_t)n) != LEAT_OK) {
		/* To nobody: others may have them. */
		for (int i = 0; i < n; i++) {
			struct lt_popout *o = lt_popouts_find(p->sources.outs,
			    h->source, d[i].queue, d[i].queue_offset);

			if (o != NULL)
				lt_popsource_return(&p->sources, o);
			else
				(void)!leat_nack(h->source->consumer, &d[i], 1);
		}
	}
	return 1;
}

static void
let_go(struct lt_popserve *p, struct lt_popheld *h)
{
	struct lt_popsource *s = h->source;

	TAILQ_REMOVE(&s->held, h, in_source);
	LIST_REMOVE(h, in_step);
	lt_mem_free(h);
	p->held--;
	if (TAILQ_EMPTY(&s->held))
		lt_relay_ask(s->consumer, 0);
}

/* Its topic has gone, or may not be read any more. */
static void
fail(struct lt_popserve *p, struct lt_popsource *s, int status)
{
	struct lt_popheld *h;

	while ((h = TAILQ_FIRST(&s->held)) != NULL) {
		status_of(p, &h->ticket, status);
		let_go(p, h);
	}
	lt_popsource_close(&p->sources, s);
}

/* How many were answered. */
static size_t
serve(struct lt_popserve *p, struct lt_popsource *s, int is_forced)
{
	struct lt_popheld *h, *next;
	size_t served = 0;
	int n;

	if (TAILQ_EMPTY(&s->held) ||
	    (!is_forced && !lt_relay_is_ready(s->consumer)))
		return 0;
	for (h = TAILQ_FIRST(&s->held); h != NULL; h = next) {
		next = TAILQ_NEXT(h, in_source);
		n = try(p, h);
		if (n < 0) {
			fail(p, s, n);
			return served;
		}
		if (n > 0) {
			let_go(p, h);
			served++;
		} else if (h->queue < 0 && !h->is_ordered) {
			break; /* nobody else gets anything */
		}
	}
	return served;
}

static size_t
serve_all(struct lt_popserve *p, int is_forced)
{
	struct lt_popsource *s, *next;
	size_t served = 0;

	for (s = LIST_FIRST(&p->sources.all); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		served += serve(p, s, is_forced);
	}
	return served;
}

/* --- requests --------------------------------------------------------------
 */

static void
hold(struct lt_popserve *p, const struct lt_popheld *what, int64_t poll_ms)
{
	struct lt_popheld *h;
	uint64_t step;

	if (poll_ms <= 0) {
		answer_nothing(p, what, LT_CODE_POLLING_TIMEOUT);
		return;
	}
	h = p->held < LT_POPPER_HELD_MAX ? lt_mem_alloc(sizeof *h) : NULL;
	if (h == NULL) {
		answer_nothing(p, what, LT_CODE_POLLING_FULL);
		return;
	}
	*h = *what;
	if (poll_ms > HOLD_MAX_MS)
		poll_ms = HOLD_MAX_MS;
	step = (lt_clock_mono_ms() + (uint64_t)poll_ms) / STEP_MS + 1;
	TAILQ_INSERT_TAIL(&h->source->held, h, in_source);
	LIST_INSERT_HEAD(&p->wheel[step % STEPS], h, in_step);
	p->held++;
	lt_relay_ask(h->source->consumer, 1);
}

static void
on_pop(struct lt_popserve *p, const struct lt_call *call)
{
	struct lt_popheld h = {.ticket = call->ticket,
	    .asks_only = call->request->code == LT_POP_NOTIFY};
	struct lt_popask ask;
	int status;

	if (lt_popask_read(call->request, &ask) != NULL)
		return; /* its worker has looked */
	h.queue = ask.queue;
	h.max = ask.max;
	h.invisible_ms = ask.invisible_ms;
	h.is_ordered = ask.is_ordered != 0;
	if (h.asks_only) /* whatever its tags */
		h.source = lt_popsource_find(&p->sources, ask.group, ask.topic);
	status = LEAT_OK;
	if (h.source == NULL)
		status = lt_popsource_open(
		    &p->sources, &ask, lt_clock_mono_ms(), &h.source);
	if (status == LEAT_E_LIMIT) {
		answer_nothing(p, &h, LT_CODE_POLLING_FULL);
		return;
	}
	if (status == LEAT_OK && ask.queue >= 0 &&
	    (uint32_t)ask.queue >= lt_relay_queues(h.source->consumer))
		status = LEAT_E_QUEUE;
	if (status == LEAT_OK) {
		status = try(p, &h);
		if (status < 0)
			fail(p, h.source, status);
	}
	if (status < 0)
		status_of(p, &h.ticket, status);
	else if (status == 0)
		hold(p, &h, ask.poll_ms);
}

static void
on_polling(struct lt_popserve *p, const struct lt_call *call)
{
	struct lt_popanswer a;
	struct lt_popask ask;
	struct lt_popsource *s;
	struct lt_popheld *h;
	int64_t n = 0;

	if (lt_popask_read(call->request, &ask) != NULL)
		return;
	s = lt_popsource_find(&p->sources, ask.group, ask.topic);
	for (; s != NULL; s = s->next)
		TAILQ_FOREACH(h, &s->held, in_source)
	n += h->queue == (ask.queue < 0 ? -1 : ask.queue);
	if (!lt_popanswer_begin(
		&a, p->g->post, &call->ticket, LT_CODE_SUCCESS, 0))
		return;
	lt_remoting_put_i64(&a.e, "pollingNum", n);
	(void)!lt_popanswer_end(&a, NULL);
}

/* A receipt of which nothing is out: whose time is over, or of nothing there
 * ever was. 0: it is answered. */
static int
judge(struct lt_popserve *p, const struct lt_call *call,
    const struct lt_popack *ack)
{
	struct leat_queue_range r;
	int status = LEAT_E_QUEUE;

	if (ack->queue >= 0 && lt_clock_mono_ms() < p->sources.away_ms)
		status = LEAT_E_BUSY;
	else if (ack->queue >= 0)
		status = lt_popsources_told(
		    &p->sources, leat_queue_range(p->leat, ack->topic,
				     (uint32_t)ack->queue, &r));
	if (status == LEAT_OK && ack->offset >= r.min_offset &&
	    ack->offset <= r.max_offset)
		return 1;
	if (status == LEAT_OK)
		lt_popanswer_status(p->g->post, &call->ticket,
		    LT_CODE_NO_MESSAGE, "the queue has no such offset");
	else if (status == LEAT_E_QUEUE)
		lt_popanswer_status(p->g->post, &call->ticket,
		    LT_CODE_MESSAGE_ILLEGAL, "the topic has no such queue");
	else
		status_of(p, &call->ticket, status);
	return 0;
}

static void
on_ack(struct lt_popserve *p, const struct lt_call *call)
{
	struct lt_popanswer a;
	struct lt_popack ack;
	struct lt_popout *o = NULL;
	int64_t now_ms = lt_clock_wall_ms();
	int changes = call->request->code == LT_POP_CHANGE;

	if (lt_popask_ack(call->request, &ack) != NULL)
		return;
	if (ack.queue >= 0)
		o = lt_popsource_out(&p->sources, ack.group, ack.topic,
		    (uint32_t)ack.queue, ack.offset, ack.pop_ms);
	if (o == NULL && !judge(p, call, &ack))
		return;
	if (o != NULL && changes)
		lt_popsource_change(&p->sources, o, now_ms, lt_clock_mono_ms(),
		    ack.invisible_ms);
	else if (o != NULL)
		lt_popsource_ack(&p->sources, o);
	if (!lt_popanswer_begin(
		&a, p->g->post, &call->ticket, LT_CODE_SUCCESS, 0))
		return;
	if (changes) {
		lt_remoting_put_i64(&a.e, "popTime", now_ms);
		lt_remoting_put_i64(&a.e, "invisibleTime", ack.invisible_ms);
		lt_remoting_put_i64(&a.e, "reviveQid", ack.revive);
	}
	(void)!lt_popanswer_end(&a, NULL);
}

static void
ack_bits(const struct lt_adminjson_ack *ack, void *user)
{
	struct lt_popserve *p = user;
	uint8_t bits[BITS_MAX];
	size_t n = lt_popask_bits(ack->bits, bits, sizeof bits);

	for (size_t i = 0; i < 8 * n; i++) {
		struct lt_popout *o;

		if ((bits[i / 8] & 1u << i % 8) == 0 || p->acks >= ACKS_MAX)
			continue;
		p->acks++;
		o = lt_popsource_out(&p->sources, ack->group, ack->topic,
		    (uint32_t)ack->queue,
		    (int64_t)((uint64_t)ack->start_offset + i), ack->pop_ms);
		if (o != NULL)
			lt_popsource_ack(&p->sources, o);
	}
}

static void
on_acks(struct lt_popserve *p, const struct lt_call *call)
{
	size_t n = 0;
	int status;

	p->acks = 0;
	status =
	    lt_adminjson_acks(call->body, call->body_bytes, ack_bits, p, &n);

	if (status != LEAT_OK)
		lt_popanswer_status(p->g->post, &call->ticket,
		    LT_CODE_SYSTEM_ERROR, "the body makes no sense");
	else
		lt_popanswer_status(p->g->post, &call->ticket,
		    n == 0 ? LT_CODE_NO_MESSAGE : LT_CODE_SUCCESS, NULL);
}

void
lt_popserve_undelivered(struct lt_popserve *p,
    const struct lt_popanswer_item *items, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct lt_popout *o = lt_popouts_at(
		    p->sources.outs, items[i].place, items[i].serial);

		if (o != NULL)
			lt_popsource_return(&p->sources, o);
	}
}

void
lt_popserve_call(struct lt_popserve *p, const struct lt_call *call)
{
	switch (call->request->code) {
	case LT_POP_POP:
	case LT_POP_NOTIFY:
		on_pop(p, call);
		break;
	case LT_POP_POLLING:
		on_polling(p, call);
		break;
	case LT_POP_ACK_BATCH:
		on_acks(p, call);
		break;
	default:
		on_ack(p, call);
		break;
	}
}

/* --- time and life ---------------------------------------------------------
 */

size_t
lt_popserve_look(struct lt_popserve *p)
{
	size_t served = serve_all(p, 0);

	lt_stat_set(gateway_pop_out, lt_popouts_count(p->sources.outs));
	return served;
}

/* Whoever waits in one step of the wheel. */
static void
end_waits(struct lt_popserve *p, uint64_t step)
{
	struct lt_popheld *h;

	while ((h = LIST_FIRST(&p->wheel[step % STEPS])) != NULL) {
		answer_nothing(p, h, LT_CODE_POLLING_TIMEOUT);
		let_go(p, h);
	}
}

void
lt_popserve_end_waits(struct lt_popserve *p)
{
	for (uint64_t step = 0; step < STEPS; step++)
		end_waits(p, step);
}

void
lt_popserve_tick(struct lt_popserve *p, uint64_t now_ms)
{
	lt_popsources_tick(&p->sources, now_ms);
	serve_all(p, 1);
	for (; p->step < now_ms / STEP_MS; p->step++)
		end_waits(p, p->step + 1);
}

int
lt_popserve_create(
    const struct lt_gateway *g, struct leat *leat, struct lt_popserve **out)
{
	struct lt_popserve *p = lt_mem_alloc(sizeof *p);
	uint64_t now_ms = lt_clock_mono_ms();
	int status;

	if (p == NULL)
		return LEAT_E_NOMEM;
	p->g = g;
	p->leat = leat;
	p->step = now_ms / STEP_MS;
	status = lt_popsources_init(
	    &p->sources, leat, LT_POPPER_SOURCES_MAX, now_ms);
	if (status == LEAT_OK)
		*out = p;
	else
		lt_mem_free(p);
	return status;
}

void
lt_popserve_destroy(struct lt_popserve *p)
{
	struct lt_popsource *s;

	if (p == NULL)
		return;
	LIST_FOREACH(s, &p->sources.all, link)
	while (!TAILQ_EMPTY(&s->held))
		let_go(p, TAILQ_FIRST(&s->held));
	lt_popsources_fini(&p->sources);
	lt_mem_free(p);
}
