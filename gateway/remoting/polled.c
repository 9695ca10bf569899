/*
 * polled.c - INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): the members of a
 * group, or the one that is named, are asked where they are in a topic (221),
 * and what they say makes one answer. Who gives none is not in it, as
 * elsewhere.
 *
 * They say it in a notation that is nearly JSON, queues being keys:
 *
 *	{"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5}}
 *
 * It is checked and passed on as it is. All of one poll happens in the asker's
 * worker.
 */
#include "config.h"
#include "remoting/worker.h"

#include <string.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "remoting/asked.h"

#define POLLED_MAX 64 /* at a time, of one worker */

struct lt_polled {
	struct lt_polled *next;
	struct lt_ticket ticket;
	size_t waiting; /* members that have not answered, and who asks them */
	int is_first;
	struct lt_buffer clients; /* of lt_hub_clients() */
	struct lt_buffer body;
};

/* --- what a member says ----------------------------------------------------
 */

struct cursor {
	const uint8_t *p, *end;
};

static int
next_is(struct cursor *c, uint8_t byte)
{
	if (c->p == c->end || *c->p != byte)
		return 0;
	c->p++;
	return 1;
}

static int
string(struct cursor *c)
{
	if (!next_is(c, '"'))
		return 0;
	for (; c->p < c->end && *c->p >= ' '; c->p++) {
		if (*c->p == '"')
			return next_is(c, '"');
		if (*c->p == '\\' && (++c->p == c->end || *c->p < ' '))
			return 0;
	}
	return 0;
}

static int
number(struct cursor *c)
{
	const uint8_t *from;

	(void)next_is(c, '-');
	for (from = c->p; c->p < c->end && *c->p >= '0' && *c->p <= '9';)
		c->p++;
	return c->p > from && c->p - from < 20;
}

/* {KEY:VALUE,..} with such keys and values. */
static int
object(struct cursor *c, int (*key)(struct cursor *c),
    int (*value)(struct cursor *c))
{
	if (!next_is(c, '{'))
		return 0;
	if (next_is(c, '}'))
		return 1;
	do
		if (!key(c) || !next_is(c, ':') || !value(c))
			return 0;
	while (next_is(c, ','));
	return next_is(c, '}');
}

static int
scalar(struct cursor *c)
{
	return c->p < c->end && *c->p == '"' ? string(c) : number(c);
}

/* Bare, or in a string. */
static int
queue(struct cursor *c)
{
	return c->p < c->end && *c->p == '"' ? string(c)
					     : object(c, string, scalar);
}

static int
table(struct cursor *c)
{
	return object(c, queue, number);
}

/* Behind the key of the table, which may be the second one. */
static int
find_table(struct cursor *c)
{
	static const char name[] = "\"messageQueueTable\":";
	const uint8_t *at =
	    memmem(c->p, (size_t)(c->end - c->p), name, sizeof name - 1);

	if (at == NULL)
		return 0;
	c->p = at + sizeof name - 1;
	return 1;
}

/* --- the answer ------------------------------------------------------------
 */

static void
forget(struct lt_polled *p)
{
	lt_buffer_fini(&p->clients);
	lt_buffer_fini(&p->body);
	lt_mem_free(p);
}

static void
answered(struct lt_worker *w, struct lt_polled *p)
{
	struct lt_polled **at = &w->polled;

	if (--p->waiting > 0)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	lt_buffer_text(&p->body, "}}");
	if (lt_buffer_status(&p->body) == LEAT_OK)
		lt_answer_buffer(w, &p->ticket, &p->body);
	else
		lt_answer_error(w, &p->ticket, lt_buffer_status(&p->body));
	forget(p);
}

static void
said(struct lt_worker *w, const struct lt_asked_reply *reply)
{
	struct lt_polled *p = (void *)(intptr_t)reply->user[0];
	const char *id = (const char *)p->clients.p + reply->user[1];
	struct cursor c;
	const uint8_t *from;

	if (reply->code == LT_CODE_SUCCESS) {
		c = (struct cursor){
		    reply->body, reply->body + reply->body_bytes};
		from = find_table(&c) ? c.p : NULL;
		if (from != NULL && table(&c)) {
			lt_buffer_text(&p->body, p->is_first ? "" : ",");
			lt_buffer_quote(&p->body, id, strlen(id));
			lt_buffer_text(&p->body, ":");
			lt_buffer_add(&p->body, from, (size_t)(c.p - from));
			p->is_first = 0;
		}
	}
	answered(w, p);
}

static void
ask(struct lt_call *call, struct lt_polled *p, size_t at)
{
	struct lt_remoting_text topic =
	    lt_remoting_find(call->request, "topic");
	struct lt_remoting_text group =
	    lt_remoting_find(call->request, "group");
	const int64_t user[2] = {(intptr_t)p, (int64_t)(at + sizeof(uint64_t))};
	struct lt_asked_question q;
	uint64_t conn;

	memcpy(&conn, p->clients.p + at, sizeof conn);
	if (!lt_asked_begin(call->worker, conn, 221,
		512 + 6 * ((size_t)topic.bytes + group.bytes), 0, &q))
		return;
	lt_remoting_put(&q.e, "topic", topic.p, topic.bytes);
	lt_remoting_put(&q.e, "group", group.p, group.bytes);
	p->waiting++;
	lt_asked_end(&q, call, NULL, 0, said, user);
	p->ticket = call->ticket;
}

static void
ask_all(struct lt_call *call, struct lt_polled *p)
{
	struct lt_remoting_text wanted =
	    lt_remoting_find(call->request, "clientAddr");
	size_t at = 0;

	while (at < p->clients.bytes) {
		const char *id =
		    (const char *)p->clients.p + at + sizeof(uint64_t);
		size_t bytes = strlen(id);

		if (wanted.bytes == 0 ||
		    (wanted.bytes == bytes && memcmp(wanted.p, id, bytes) == 0))
			ask(call, p, at);
		at += sizeof(uint64_t) + bytes + 1;
	}
}

void
lt_polled_on_status(struct lt_call *call)
{
	struct lt_remoting_text group =
	    lt_remoting_find(call->request, "group");
	struct lt_worker *w = call->worker;
	struct lt_polled *p;
	size_t others = 0;

	for (p = w->polled; p != NULL; p = p->next)
		others++;
	if (others >= POLLED_MAX) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_BUSY,
		    "too many groups are being asked");
		return;
	}
	if (lt_remoting_find(call->request, "topic").bytes == 0) {
		lt_answer_lacks(call, "topic");
		return;
	}
	p = lt_mem_alloc(sizeof *p);
	if (p == NULL) {
		lt_answer_error(w, &call->ticket, LEAT_E_NOMEM);
		return;
	}
	*p = (struct lt_polled){
	    .next = w->polled, .ticket = call->ticket, .waiting = 1};
	p->is_first = 1;
	lt_buffer_init(&p->clients, LT_CALL_BODY_MAX);
	lt_buffer_init(&p->body, LT_CALL_BODY_MAX);
	lt_hub_clients(w->g->hub, group, &p->clients);
	if (lt_buffer_status(&p->clients) == LEAT_OK && p->clients.bytes > 0) {
		w->polled = p;
		lt_buffer_text(&p->body, "{\"consumerTable\":{");
		ask_all(call, p);
		answered(w, p);
		return;
	}
	lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
	    "no remote member of the group is there");
	forget(p);
}

void
lt_polled_fini(struct lt_worker *w)
{
	while (w->polled != NULL) {
		struct lt_polled *p = w->polled;

		w->polled = p->next;
		forget(p);
	}
}
