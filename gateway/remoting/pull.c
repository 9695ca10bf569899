/*
 * pull.c - PULL_MESSAGE and LITE_PULL_MESSAGE: what a queue has from an offset
 * on, now or as soon as there is something.
 *
 * A pull that finds nothing and may wait is *held*: in its queue's list, which
 * is looked through when the tail says that the queue grew, and in a wheel of
 * 100 ms steps that ends it (no timer each). An offset that neither ring nor
 * files have is the clerk's to ask for: leat-queue has the store write it, then
 * the pull is run again.
 */
#include "config.h"
#include "remoting/worker.h"

#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "hub/offsets.h"
#include "leat/status.h"
#include "proto/name.h"
#include "remoting/groups.h"
#include "tail/gather.h"

#define ANSWER_HEADER 768
#define HOLD_MAX_MS 60000
#define IDLE_MS 60000 /* no pull: its range was asked for that long ago */
#define STEP_MS 100
#define STEPS 1024 /* more than HOLD_MAX_MS / STEP_MS */
#define BYTES_MAX (256u << 10) /* of one answer */
#define HELD_MAX (1u << 17)
#define TRIES_MAX 3
#define RANGE_MS 10000 /* then the oldest offset is asked for again */

enum { /* a pull's sysFlag */
	COMMIT = 1,
	SUSPEND = 2,
	SUBSCRIPTION = 4
};

struct held {
	LIST_ENTRY(held) queue_link;
	LIST_ENTRY(held) step_link;
	struct lt_tail_queue *q;
	struct lt_ticket ticket;
	struct lt_gather ask;
	struct lt_tags tags;
};
LIST_HEAD(helds, held);

struct lt_pull { /* a worker's */
	struct helds wheel[STEPS];
	uint64_t step; /* served up to here */
	size_t held;
	uint64_t forgot_ms; /* idle queues, last */
};

/* One request, read. */
struct pull {
	struct lt_call *call;
	struct lt_remoting_text group;
	struct lt_remoting_text topic;
	int32_t queue, sys_flag;
	int64_t commit, suspend_ms, version;
	struct lt_gather ask;
	struct lt_tags tags;
};

/* --- answers ---------------------------------------------------------------
 */

/* All four are read by every client, whatever the code. */
static int
begin(struct lt_worker *w, const struct lt_ticket *t, int32_t code,
    const struct lt_tail_queue *q, int64_t next, size_t body_bytes,
    struct lt_answer *a)
{
	if (!lt_answer_begin(w, t, code, ANSWER_HEADER, body_bytes, a))
		return 0;
	lt_remoting_put_i64(&a->e, "nextBeginOffset", next);
	lt_remoting_put_i64(&a->e, "minOffset", q->min < 0 ? 0 : q->min);
	lt_remoting_put_i64(&a->e, "maxOffset", q->end < 0 ? next : q->end);
	lt_remoting_put_i64(&a->e, "suggestWhichBrokerId", 0);
	lt_remoting_put_i64(&a->e, "topicSysFlag", 0);
	lt_remoting_put_i64(&a->e, "groupSysFlag", 0);
	return 1;
}

static void
answer_empty(struct lt_worker *w, const struct lt_ticket *t, int32_t code,
    const struct lt_tail_queue *q, int64_t next)
{
	struct lt_answer a;

	if (!begin(w, t, code, q, next, 0, &a))
		return;
	(void)lt_answer_body(&a, NULL, 0);
	lt_answer_end(&a);
}

static void
answer_found(struct lt_worker *w, const struct lt_ticket *t,
    const struct lt_tail_queue *q, struct lt_gather *g)
{
	uint64_t bytes = g->bytes;
	struct lt_answer a;

	if (!begin(w, t, LT_CODE_SUCCESS, q, g->next_offset, bytes, &a))
		return;
	while (lt_gather_copy(g, w->reader, lt_answer_body(&a, NULL, bytes)) !=
	       bytes) {
		/* Some of it is damaged or gone: the header is another. */
		bytes = g->bytes;
		if (bytes == 0) {
			answer_empty(
			    w, t, LT_CODE_PULL_RETRY, q, g->next_offset);
			return;
		}
		if (!begin(w, t, LT_CODE_SUCCESS, q, g->next_offset, bytes, &a))
			return;
	}
	lt_answer_end(&a);
}

/* --- held pulls ------------------------------------------------------------
 */

static int
hold(struct lt_worker *w, struct lt_tail_queue *q, const struct pull *p)
{
	struct helds *list = q->user;
	struct held *h;
	uint64_t wait_ms = p->suspend_ms < 0 ? 0 : (uint64_t)p->suspend_ms;
	uint64_t step;

	if (w->pull->held >= HELD_MAX)
		return LEAT_E_BUSY;
	if (list == NULL) {
		list = lt_mem_alloc(sizeof *list);
		if (list == NULL)
			return LEAT_E_NOMEM;
		LIST_INIT(list);
		q->user = list;
	}
	h = lt_mem_resize(NULL, offsetof(struct held, tags.codes) +
				    p->tags.count * sizeof p->tags.codes[0]);
	if (h == NULL)
		return LEAT_E_NOMEM;
	h->q = q;
	h->ticket = p->call->ticket;
	lt_ticket_owe(w, &h->ticket);
	h->ask = p->ask;
	h->tags.count = p->tags.count;
	memcpy(h->tags.codes, p->tags.codes,
	    p->tags.count * sizeof p->tags.codes[0]);
	if (wait_ms > HOLD_MAX_MS)
		wait_ms = HOLD_MAX_MS;
	step = (lt_clock_mono_ms() + wait_ms) / STEP_MS + 1;
	LIST_INSERT_HEAD(list, h, queue_link);
	LIST_INSERT_HEAD(&w->pull->wheel[step % STEPS], h, step_link);
	w->pull->held++;
	return LEAT_OK;
}

static void
let_go(struct lt_worker *w, struct held *h)
{
	LIST_REMOVE(h, queue_link);
	LIST_REMOVE(h, step_link);
	lt_mem_free(h);
	w->pull->held--;
}

static enum lt_gather_result
find(struct lt_worker *w, struct lt_tail_queue *q, struct lt_gather *g,
    const struct lt_tags *tags)
{
	struct lt_gather_filter filter = {tags->codes, tags->count};

	g->filter = tags->count > 0 ? &filter : NULL;
	enum lt_gather_result result = lt_gather_find(q, w->view, g);
	g->filter = NULL;
	return result;
}

/* The queue grew: 1 if the pull was answered. */
static int
retry(struct lt_worker *w, struct held *h)
{
	enum lt_gather_result result;

	/* What does not pass is passed over, however much of it there is. */
	while (
	    (result = find(w, h->q, &h->ask, &h->tags)) == LT_GATHER_NO_MATCH)
		h->ask.offset = h->ask.next_offset;
	switch (result) {
	case LT_GATHER_FOUND:
		answer_found(w, &h->ticket, h->q, &h->ask);
		return 1;
	case LT_GATHER_NO_MATCH:
	case LT_GATHER_AT_END:
		return 0;
	case LT_GATHER_BELOW:
		answer_empty(
		    w, &h->ticket, LT_CODE_PULL_MOVED, h->q, h->q->min);
		return 1;
	case LT_GATHER_BEYOND:
	case LT_GATHER_ASK: /* its client comes again, and the clerk asks */
		break;
	}
	answer_empty(w, &h->ticket, LT_CODE_PULL_RETRY, h->q, h->ask.offset);
	return 1;
}

void
lt_pull_grown(struct lt_worker *w)
{
	struct lt_tail_queue *q;
	struct held *h, *next;

	while ((q = lt_tail_grown(w->tail)) != NULL) {
		if (q->user == NULL)
			continue;
		for (h = LIST_FIRST((struct helds *)q->user); h != NULL;
		     h = next) {
			next = LIST_NEXT(h, queue_link);
			if (lt_conn_find(w->net, h->ticket.conn) == NULL ||
			    retry(w, h))
				let_go(w, h);
		}
	}
}

/* Queues that nobody asked for lately, and nobody waits at. */
static void
forget_idle(struct lt_worker *w, uint64_t now_ms)
{
	struct lt_tail_queue *q;
	size_t cursor = 0;

	while ((q = lt_tail_next(w->tail, &cursor)) != NULL) {
		/* 0: the clerk asks just now. */
		if (q->told_ms == 0 || now_ms - q->told_ms < IDLE_MS ||
		    (q->user != NULL && !LIST_EMPTY((struct helds *)q->user)))
			continue;
		lt_mem_free(q->user);
		q->user = NULL;
		lt_tail_drop(w->tail, q);
	}
}

void
lt_pull_recall(struct lt_worker *w)
{
	struct held *h;

	for (size_t i = 0; i < STEPS; i++)
		while ((h = LIST_FIRST(&w->pull->wheel[i])) != NULL) {
			answer_empty(w, &h->ticket, LT_CODE_PULL_NOT_FOUND,
			    h->q, h->ask.offset);
			let_go(w, h);
		}
}

void
lt_pull_tick(struct lt_worker *w, uint64_t now_ms)
{
	struct lt_pull *p = w->pull;
	struct held *h;

	for (; p->step < now_ms / STEP_MS; p->step++)
		while ((h = LIST_FIRST(&p->wheel[p->step % STEPS])) != NULL) {
			answer_empty(w, &h->ticket, LT_CODE_PULL_NOT_FOUND,
			    h->q, h->ask.offset);
			let_go(w, h);
		}
	if (now_ms - p->forgot_ms < IDLE_MS)
		return;
	p->forgot_ms = now_ms;
	forget_idle(w, now_ms);
}

/* --- requests --------------------------------------------------------------
 */

/* In the clerk's thread: the store writes the queue's entries to their file
 * before leat-queue answers. */
static int
ask_range(struct leat *leat, struct lt_call *call)
{
	struct lt_remoting_text topic =
	    lt_remoting_find(call->request, "topic");
	char name[LT_NAME_FIELD] = {0};
	struct leat_queue_range range = {0};
	struct leat_topic t;
	int32_t queue = 0;
	int status;

	memcpy(name, topic.p, topic.bytes); /* checked by read_request */
	(void)!lt_remoting_i32(call->request, "queueId", &queue);
	status = leat_topic_describe(leat, name, &t);
	if (status == LEAT_OK && (t.perm & LEAT_PERM_READ) == 0)
		status = LEAT_E_PERM;
	else if (status == LEAT_OK && (uint32_t)queue >= t.read_queues)
		status = LEAT_E_QUEUE;
	if (status == LEAT_OK)
		status = leat_queue_range(leat, name, (uint32_t)queue, &range);
	call->result[0] = range.min_offset;
	call->result[1] = range.max_offset;
	return status;
}

static void
range_known(struct lt_call *call, int status)
{
	struct lt_worker *w = call->worker;
	struct lt_remoting_text topic =
	    lt_remoting_find(call->request, "topic");
	struct lt_tail_queue *q;
	int32_t queue = 0;

	(void)!lt_remoting_i32(call->request, "queueId", &queue);
	q = lt_tail_queue(w->tail, topic.p, topic.bytes, (uint32_t)queue,
	    lt_relay_log_end(w->leat));
	call->tries++;
	if (status == LEAT_OK && q != NULL) {
		lt_tail_told(
		    q, call->result[0], call->result[1], lt_clock_mono_ms());
		if (call->conn != NULL)
			lt_pull_on_pull(call);
	} else if (call->conn != NULL) {
		if (status == LEAT_E_NOTFOUND)
			lt_answer_status(w, &call->ticket,
			    LT_CODE_TOPIC_NOT_EXIST,
			    "the topic does not exist: make it, or send to it");
		else if (status == LEAT_E_PERM)
			lt_answer_status(w, &call->ticket,
			    LT_CODE_NO_PERMISSION, "the topic may not be read");
		else if (status == LEAT_E_QUEUE)
			lt_answer_status(w, &call->ticket,
			    LT_CODE_INVALID_PARAMETER,
			    "the topic has no queue %d", queue);
		else
			lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
			    "%s", leat_status_text(status));
	}
	if (status != LEAT_OK && q != NULL && q->user == NULL)
		lt_tail_drop(w->tail, q);
	lt_call_free(call);
}

/* The tags that pass. 0, or it was refused. */
static int
read_filter(struct pull *p)
{
	const struct lt_remoting *h = p->call->request;
	struct lt_worker *w = p->call->worker;
	struct lt_remoting_text text, kind;
	int status;

	if ((p->sys_flag & SUBSCRIPTION) == 0) {
		status = lt_hub_filter(
		    w->g->hub, p->group, p->topic, p->version, &p->tags);
		if (status == LEAT_OK)
			return 0;
		lt_answer_status(w, &p->call->ticket,
		    status == LEAT_E_VERSION ? LT_CODE_SUBSCRIPTION_OLD
					     : LT_CODE_SUBSCRIPTION_NONE,
		    "the group's subscription is not known here yet");
		return -1;
	}
	text = lt_remoting_find(h, "subscription");
	kind = lt_remoting_find(h, "expressionType");
	if (kind.bytes > 0 &&
	    (kind.bytes != 3 || memcmp(kind.p, "TAG", 3) != 0)) {
		lt_answer_status(w, &p->call->ticket, LT_CODE_SYSTEM_ERROR,
		    "The broker does not support consumer to filter message by "
		    "%.*s",
		    (int)kind.bytes, kind.p);
		return -1;
	}
	if (lt_tags_parse(text.p, text.bytes, &p->tags) == LEAT_OK) {
		/* It may have given no heartbeat, and commits nevertheless. */
		lt_groups_note(w->g->groups, p->group);
		return 0;
	}
	lt_answer_status(w, &p->call->ticket, LT_CODE_SUBSCRIPTION_BAD,
	    "the subscription's expression makes no sense: tags with || "
	    "between them");
	return -1;
}

static int
read_request(struct pull *p)
{
	const struct lt_remoting *h = p->call->request;
	int32_t messages = 32, bytes = 0;
	char name[LT_NAME_FIELD] = {0};

	p->topic = lt_remoting_find(h, "topic");
	p->group = lt_remoting_find(h, "consumerGroup");
	p->commit = -1;
	(void)!lt_remoting_i32(h, "queueId", &p->queue);
	(void)!lt_remoting_i32(h, "sysFlag", &p->sys_flag);
	(void)!lt_remoting_i32(h, "maxMsgNums", &messages);
	(void)!lt_remoting_i32(h, "maxMsgBytes", &bytes);
	(void)!lt_remoting_i64(h, "queueOffset", &p->ask.offset);
	(void)!lt_remoting_i64(h, "commitOffset", &p->commit);
	(void)!lt_remoting_i64(h, "suspendTimeoutMillis", &p->suspend_ms);
	(void)!lt_remoting_i64(h, "subVersion", &p->version);
	p->ask.max_messages = messages < 1 ? 1 : (uint32_t)messages;
	p->ask.max_bytes = bytes > 0 && (uint32_t)bytes < BYTES_MAX
			       ? (uint64_t)bytes
			       : BYTES_MAX;
	if (p->topic.bytes > 0 && p->topic.bytes < sizeof name)
		memcpy(name, p->topic.p, p->topic.bytes);
	if (lt_name_topic(name) == LEAT_OK && p->queue >= 0)
		return 0;
	lt_answer_status(p->call->worker, &p->call->ticket,
	    LT_CODE_INVALID_PARAMETER,
	    "a pull names a topic and a queue from 0 on");
	return -1;
}

/* The clerk asks leat-queue; then the pull is run again. */
static void
ask(struct pull *p)
{
	int status = p->call->tries >= TRIES_MAX
			 ? LEAT_E_BUSY
			 : lt_clerk_submit(p->call->worker->inbox, p->call,
			       ask_range, range_known);

	if (status != LEAT_OK)
		lt_answer_status(p->call->worker, &p->call->ticket,
		    LT_CODE_SYSTEM_BUSY,
		    "[REJECTREQUEST] the broker is busy, pull again");
}

void
lt_pull_on_pull(struct lt_call *call)
{
	struct pull p = {.call = call};
	struct lt_worker *w = call->worker;
	struct lt_tail_queue *q;
	int64_t reset;

	if (read_request(&p) != 0)
		return;
	if (!lt_groups_may_consume(w->g->groups, p.group)) {
		lt_answer_status(w, &call->ticket, LT_CODE_NO_PERMISSION,
		    "the group may not consume, an administrator said");
		return;
	}
	if (read_filter(&p) != 0)
		return;
	struct lt_offsets_key key = {p.group, p.topic, (uint32_t)p.queue};
	q = lt_tail_queue(w->tail, p.topic.p, p.topic.bytes, (uint32_t)p.queue,
	    lt_relay_log_end(w->leat));
	if (q == NULL || q->min < 0 || q->end < 0 ||
	    (call->tries == 0 && lt_clock_mono_ms() - q->told_ms > RANGE_MS)) {
		ask(&p);
		return;
	}
	if ((p.sys_flag & COMMIT) != 0)
		(void)!lt_offsets_put(w->g->hub, &key, p.commit);
	if (lt_offsets_tell_reset(w->g->hub, &key, &reset)) {
		answer_empty(w, &call->ticket, LT_CODE_PULL_MOVED, q, reset);
		return;
	}
	switch (find(w, q, &p.ask, &p.tags)) {
	case LT_GATHER_FOUND:
		answer_found(w, &call->ticket, q, &p.ask);
		break;
	case LT_GATHER_NO_MATCH:
		answer_empty(
		    w, &call->ticket, LT_CODE_PULL_RETRY, q, p.ask.next_offset);
		break;
	case LT_GATHER_AT_END:
		if ((p.sys_flag & SUSPEND) == 0 || hold(w, q, &p) != LEAT_OK)
			answer_empty(w, &call->ticket, LT_CODE_PULL_NOT_FOUND,
			    q, p.ask.offset);
		break;
	case LT_GATHER_BELOW:
		answer_empty(w, &call->ticket, LT_CODE_PULL_MOVED, q, q->min);
		break;
	case LT_GATHER_BEYOND:
		answer_empty(w, &call->ticket, LT_CODE_PULL_MOVED, q, q->end);
		break;
	case LT_GATHER_ASK:
		ask(&p);
		break;
	}
}

int
lt_pull_init(struct lt_worker *w)
{
	w->pull = lt_mem_alloc(sizeof *w->pull);
	if (w->pull == NULL)
		return LEAT_E_NOMEM;
	w->pull->step = lt_clock_mono_ms() / STEP_MS;
	return LEAT_OK;
}

void
lt_pull_fini(struct lt_worker *w)
{
	struct lt_tail_queue *q;
	struct held *h;
	size_t cursor = 0;

	while ((q = lt_tail_next(w->tail, &cursor)) != NULL) {
		while (q->user != NULL &&
		       (h = LIST_FIRST((struct helds *)q->user)) != NULL)
			let_go(w, h);
		lt_mem_free(q->user);
		q->user = NULL;
	}
	lt_mem_free(w->pull);
}
