/*
 * popcalls.c - requests around pop as a worker sees them: checked, and handed
 * to the popper; and who is to pop: by group and topic, as an administrator
 * said (401), and by whoever does it.
 *
 * A member that pops takes no part in the sharing of queues. leat-queue is told
 * before its first pop is served, or local members would leave queues to it.
 */
#include "config.h"
#include "remoting/worker.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "proto/name.h"
#include "remoting/adminjson.h"
#include "remoting/guard.h"
#include "remoting/mqkeys.h"
#include "remoting/popask.h"
#include "remoting/groupkeep.h"
#include "remoting/groups.h"
#include "remoting/popper.h"
#include "remoting/sharing.h"

/* --- pop -------------------------------------------------------------------
 */

static void
submit(struct lt_call *call)
{
	int status = lt_popper_submit(call->worker->g->popper, call);

	if (status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
}

/* The clerk does its duty, which tells leat-queue, before any work. */
static int
nothing(struct leat *leat, struct lt_call *call)
{
	(void)leat;
	(void)call;
	return LEAT_OK;
}

static void
shared(struct lt_call *call, int status)
{
	(void)status;
	if (call->conn != NULL)
		submit(call);
	lt_call_free(call);
}

/* 1: it was refused. */
static int
refuse(struct lt_call *call, const struct lt_popask *ask)
{
	struct lt_remoting_text group = {
	    ask->group, (uint32_t)strlen(ask->group)};
	struct lt_remoting_text kind =
	    lt_remoting_find(call->request, "expType");
	struct lt_worker *w = call->worker;

	if (!lt_groups_may_consume(w->g->groups, group))
		lt_answer_status(w, &call->ticket, LT_CODE_NO_PERMISSION,
		    "the group may not consume, an administrator said");
	else if (ask->max > LT_POP_MAX)
		lt_answer_status(w, &call->ticket, LT_CODE_INVALID_PARAMETER,
		    "a pop takes at most %d messages", LT_POP_MAX);
	else if (kind.bytes > 0 &&
		 (kind.bytes != 3 || memcmp(kind.p, "TAG", 3) != 0))
		lt_answer_status(w, &call->ticket, LT_CODE_SUBSCRIPTION_BAD,
		    "The broker does not support consumer to filter message by "
		    "%.*s",
		    (int)kind.bytes, kind.p);
	else
		return 0;
	return 1;
}

/* Its client listens no more. */
static void
answer_late(struct lt_call *call, const struct lt_popask *ask)
{
	struct lt_answer a;

	if (!lt_answer_begin(call->worker, &call->ticket,
		LT_CODE_POLLING_TIMEOUT, 512, 0, &a))
		return;
	lt_remoting_put_i64(&a.e, "popTime", lt_clock_wall_ms());
	lt_remoting_put_i64(&a.e, "invisibleTime", ask->invisible_ms);
	lt_remoting_put_i64(&a.e, "reviveQid", 0);
	lt_remoting_put_i64(&a.e, "restNum", 0);
	(void)lt_answer_body(&a, "the pop is too late", 0);
	lt_answer_end(&a);
}

void
lt_popcalls_on_pop(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_remoting_text group;
	struct lt_popask ask;
	const char *bad = lt_popask_read(call->request, &ask);

	if (bad != NULL) {
		lt_answer_lacks(call, bad);
		return;
	}
	if (refuse(call, &ask))
		return;
	if (call->request->code == LT_POP_POP &&
	    lt_popask_is_late(&ask, lt_clock_wall_ms())) {
		answer_late(call, &ask);
		return;
	}
	group =
	    (struct lt_remoting_text){ask.group, (uint32_t)strlen(ask.group)};
	if (call->request->code != LT_POP_POP ||
	    !lt_hub_pops(w->g->hub, group, call->ticket.conn) ||
	    lt_groups_pops(w->g->groups, ask.group)) {
		submit(call);
		return;
	}
	lt_sharing_note(w->g->sharing, ask.group);
	lt_call_submit(call, nothing, shared);
}

void
lt_popcalls_on_ack(struct lt_call *call)
{
	struct lt_popack ack;
	const char *bad = lt_popask_ack(call->request, &ack);

	if (bad != NULL)
		lt_answer_lacks(call, bad);
	else
		submit(call);
}

struct acks {
	const struct lt_call *call;
	int may;
};

static void
may_ack(const struct lt_adminjson_ack *ack, void *user)
{
	struct acks *a = user;

	a->may = a->may &&
		 lt_guard_may_group(
		     a->call, LT_NEED_subscribe, lt_call_text(ack->group)) &&
		 lt_guard_may_topic(
		     a->call, LT_NEED_subscribe, lt_call_text(ack->topic));
}

/* What is no body, the popper says. */
void
lt_popcalls_on_acks(struct lt_call *call)
{
	struct acks a = {call, 1};
	size_t n;

	if (lt_guard_asks(call))
		(void)!lt_adminjson_acks(
		    call->body, call->body_bytes, may_ack, &a, &n);
	if (a.may)
		submit(call);
	else
		lt_guard_refuse(call);
}

/* --- modes -----------------------------------------------------------------
 */

static int
refused(struct lt_call *call, int32_t code, const char *why)
{
	call->code = code;
	call->why = why;
	return LEAT_OK;
}

/* Clerk. */
static int
set_mode(struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct lt_adminjson_assignment said;
	struct lt_groups_mode mode;
	struct leat_topic topic;
	int status =
	    lt_adminjson_assignment(call->body, call->body_bytes, &said);

	if (status != LEAT_OK || lt_name_topic(said.topic) != LEAT_OK ||
	    lt_name_group(said.group) != LEAT_OK ||
	    (strcmp(said.mode, "POP") != 0 && strcmp(said.mode, "PULL") != 0))
		return refused(call, LT_CODE_SYSTEM_ERROR,
		    "topic, consumerGroup and mode, POP or PULL, are needed");
	if (strncmp(said.topic, "%RETRY%", 7) == 0)
		return refused(call, LT_CODE_NO_PERMISSION,
		    "retry topic is not allowed to set mode");
	status = leat_topic_describe(leat, said.topic, &topic);
	if (status != LEAT_OK)
		return status;
	mode = (struct lt_groups_mode){
	    .is_pop = strcmp(said.mode, "POP") == 0, .share = said.share};
	status = lt_groupkeep_set_mode(
	    g->groupkeep, leat, said.group, said.topic, &mode);
	if (status != LEAT_OK)
		return status;
	if (!mode.is_pop)
		lt_hub_pops_not(g->hub, (struct lt_remoting_text){said.group,
					    (uint32_t)strlen(said.group)});
	lt_sharing_note(g->sharing, said.group);
	return LEAT_OK;
}

void
lt_popcalls_on_mode(struct lt_call *call)
{
	lt_call_submit(call, set_mode, lt_call_finish);
}

/* --- assignments -----------------------------------------------------------
 */

struct members {
	struct lt_buffer ids; /* each with a NUL, in order */
	size_t count;
	size_t place; /* the client's; count: it is not among them */
};

static void
find_place(struct members *m, const char *client)
{
	const char *at = (const char *)m->ids.p;

	for (m->place = 0; m->place < m->count; m->place++) {
		if (strcmp(at, client) == 0)
			return;
		at += strlen(at) + 1;
	}
}

/* Does the member at that place have the queue? As clients compute it. */
static int
has_queue(uint32_t queue, uint32_t queues, size_t place, size_t members,
    int is_by_circle)
{
	size_t each = queues / members, rest = queues % members;
	size_t first = place * each + (place < rest ? place : rest);

	if (is_by_circle)
		return queue % members == place;
	return queue >= first && queue < first + each + (place < rest);
}

/* The same with the queues of some that follow it. */
static int
has_shared(uint32_t queue, uint32_t queues, const struct members *m,
    const struct lt_groups_mode *mode, int is_by_circle)
{
	size_t share = mode->is_pop ? (size_t)mode->share : 0;

	if (mode->is_pop && m->count > queues)
		return queue == m->place % queues;
	for (size_t i = 0; i <= share; i++)
		if (has_queue(queue, queues, (m->place + i) % m->count,
			m->count, is_by_circle))
			return 1;
	return 0;
}

static void
put_queue(struct lt_buffer *out, const struct lt_gateway *g, const char *topic,
    int32_t queue, int is_pop)
{
	if (out->bytes > 0 && out->p[out->bytes - 1] == '}')
		lt_buffer_text(out, ",");
	lt_buffer_text(out, "{\"attachments\":null,\"messageQueue\":{"
			    "\"brokerName\":");
	lt_buffer_quote(out, g->broker_name, strlen(g->broker_name));
	lt_buffer_format(out, ",\"queueId\":%" PRId32 ",\"topic\":", queue);
	lt_buffer_quote(out, topic, strlen(topic));
	lt_buffer_format(out, "},\"mode\":\"%s\"}", is_pop ? "POP" : "PULL");
}

/* The queues of a client of the group. */
static void
put_share(struct lt_call *call, const struct lt_adminjson_assignment *said,
    uint32_t queues, const struct members *m, const struct lt_groups_mode *mode)
{
	const struct lt_gateway *g = call->worker->g;
	int by_circle = strcmp(said->strategy, "AVG_BY_CIRCLE") == 0;
	int is_all = strcmp(said->model, "BROADCASTING") == 0;

	if (!is_all && mode->is_pop &&
	    (mode->share <= 0 || (size_t)mode->share + 1 >= m->count)) {
		put_queue(&call->made, g, said->topic, -1, 1);
		return;
	}
	if (!is_all && m->place == m->count)
		return;
	for (uint32_t q = 0; q < queues; q++)
		if (is_all || has_shared(q, queues, m, mode, by_circle))
			put_queue(&call->made, g, said->topic, (int32_t)q,
			    mode->is_pop && !is_all);
}

static int
is_known(const char *strategy)
{
	return strategy[0] == '\0' || strcmp(strategy, "AVG") == 0 ||
	       strcmp(strategy, "AVG_BY_CIRCLE") == 0;
}

/* Clerk. null: its client leaves things as they are. */
static int
assign(struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct lt_adminjson_assignment said;
	struct lt_groups_mode mode;
	struct members m = {0};
	struct leat_topic topic;
	struct lt_remoting_text group;
	int status =
	    lt_adminjson_assignment(call->body, call->body_bytes, &said);

	if (status != LEAT_OK || lt_name_topic(said.topic) != LEAT_OK ||
	    lt_name_group(said.group) != LEAT_OK)
		return refused(call, LT_CODE_SYSTEM_ERROR,
		    "topic, consumerGroup and clientId are needed");
	group = lt_call_text(said.group);
	lt_groups_mode(g->groups, said.group, said.topic, &mode);
	lt_buffer_init(&m.ids, LT_CALL_BODY_MAX);
	status = leat_topic_describe(leat, said.topic, &topic);
	if (status == LEAT_OK)
		status = lt_hub_ids(g->hub, group, &m.ids, &m.count);
	if (status == LEAT_OK && m.count == 0)
		status = LEAT_E_NOTFOUND;
	lt_buffer_text(&call->made, "{\"messageQueueAssignments\":");
	if (status == LEAT_E_NOTFOUND || !is_known(said.strategy)) {
		lt_buffer_text(&call->made, "null}");
		status = LEAT_OK;
	} else if (status == LEAT_OK) {
		find_place(&m, said.client);
		lt_buffer_text(&call->made, "[");
		put_share(call, &said, topic.read_queues, &m, &mode);
		lt_buffer_text(&call->made, "]}");
	}
	lt_buffer_fini(&m.ids);
	return status;
}

void
lt_popcalls_on_assignment(struct lt_call *call)
{
	struct lt_adminjson_assignment said;

	if (lt_adminjson_assignment(call->body, call->body_bytes, &said) ==
		LEAT_OK &&
	    (!lt_guard_may_group(
		 call, LT_NEED_subscribe, lt_call_text(said.group)) ||
		!lt_guard_may_topic(
		    call, LT_NEED_subscribe, lt_call_text(said.topic)))) {
		lt_guard_refuse(call);
		return;
	}
	lt_call_submit(call, assign, lt_call_finish);
}
