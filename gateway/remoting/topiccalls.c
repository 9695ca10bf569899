/*
 * topiccalls.c - topics as administrators see them: made, changed, deleted,
 * listed. All of it is leat-queue's, so all of it is the clerk's.
 */
#include "config.h"
#include "remoting/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hub/offsets.h"
#include "leat/status.h"
#include "proto/name.h"
#include "remoting/adminjson.h"
#include "remoting/builtins.h"
#include "remoting/groups.h"
#include "remoting/mqkeys.h"
#include "remoting/stored.h"

#define RETRY "%RETRY%"

/* Clerk: the call is answered with that code instead. */
static int
refuse(struct lt_call *call, int32_t code, const char *why)
{
	call->code = code;
	call->why = why;
	return LEAT_OK;
}

/* --- made and changed ------------------------------------------------------
 */

/* Any thread. NULL, or why not; *code_out with it. */
static const char *
judge(const struct lt_gateway *g, const struct leat_topic *t, int32_t *code_out)
{
	*code_out = LT_CODE_INVALID_PARAMETER;
	if (lt_name_topic(t->name) != LEAT_OK)
		return "a topic's name has 1 to 127 letters, digits, _, -, % "
		       "and |";
	if (lt_builtins_is_reserved(g, t->name))
		return "the topic is one of the system's";
	if (t->read_queues < 1 || t->read_queues > LT_QUEUES_MAX ||
	    t->write_queues < 1 || t->write_queues > LT_QUEUES_MAX)
		return "a topic has 1 to 65536 queues";
	return NULL;
}

static int
set(struct leat *leat, struct leat_topic *t)
{
	int status;

	t->perm &= LEAT_PERM_BOTH;
	if (t->perm == 0)
		t->perm = LEAT_PERM_NONE;
	status = leat_topic_update(leat, t, 1);
	if (status == LEAT_E_NOTFOUND) {
		/* A new one has no fewer queues to read than to write. */
		struct leat_topic safe = *t;

		if (safe.read_queues < safe.write_queues)
			safe.read_queues = safe.write_queues;
		status = leat_topic_create(leat, &safe);
		if (status == LEAT_OK && safe.read_queues != t->read_queues)
			status = leat_topic_update(leat, t, 1);
	}
	return status;
}

/* NULL, or the field that is not as it must be. */
static const char *
read_topic(const struct lt_remoting *h, struct leat_topic *t)
{
	int32_t read, write, perm;
	int status;

	memset(t, 0, sizeof *t);
	status = lt_call_name(h, "topic", t->name);
	if (status != LEAT_OK)
		t->name[0] = '\0'; /* refused as a name */
	if (lt_remoting_i32(h, "readQueueNums", &read) != LEAT_OK)
		return "readQueueNums";
	if (lt_remoting_i32(h, "writeQueueNums", &write) != LEAT_OK)
		return "writeQueueNums";
	if (lt_remoting_i32(h, "perm", &perm) != LEAT_OK)
		return "perm";
	t->read_queues = read < 0 ? 0 : (uint32_t)read;
	t->write_queues = write < 0 ? 0 : (uint32_t)write;
	t->perm = (uint32_t)perm;
	return NULL;
}

static int
set_one(struct leat *leat, struct lt_call *call)
{
	struct leat_topic t;

	(void)read_topic(call->request, &t);
	return set(leat, &t);
}

void
lt_topiccalls_on_set(struct lt_call *call)
{
	const char *bad, *why;
	struct leat_topic t;
	int32_t code;

	bad = read_topic(call->request, &t);
	why = bad == NULL ? judge(call->worker->g, &t, &code) : NULL;
	if (bad != NULL)
		lt_answer_lacks(call, bad);
	else if (why != NULL)
		lt_answer_status(call->worker, &call->ticket, code, "%s", why);
	else
		lt_call_submit(call, set_one, lt_call_finish);
}

struct setting {
	struct leat *leat;
	struct lt_call *call;
};

static int
judge_each(const struct leat_topic *topic, void *user)
{
	struct setting *s = user;
	int32_t code;
	const char *why = judge(s->call->worker->g, topic, &code);

	if (why != NULL)
		(void)refuse(s->call, code, why);
	return why != NULL ? LEAT_E_INVALID : LEAT_OK;
}

static int
set_each(const struct leat_topic *topic, void *user)
{
	struct setting *s = user;
	struct leat_topic t = *topic;

	return set(s->leat, &t);
}

/* All of them are judged before the first is made. */
static int
set_list(struct leat *leat, struct lt_call *call)
{
	struct setting s = {leat, call};
	int status =
	    lt_adminjson_topics(call->body, call->body_bytes, judge_each, &s);

	if (call->code != LT_CODE_SUCCESS)
		return LEAT_OK;
	if (status == LEAT_OK)
		status = lt_adminjson_topics(
		    call->body, call->body_bytes, set_each, &s);
	return status;
}

void
lt_topiccalls_on_set_list(struct lt_call *call)
{
	lt_call_submit(call, set_list, lt_call_finish);
}

static int delete (struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct lt_remoting_text topic =
	    lt_remoting_find(call->request, "topic");
	char name[LT_NAME_FIELD];
	int status;

	if (lt_call_name(call->request, "topic", name) != LEAT_OK)
		return refuse(call, LT_CODE_INVALID_PARAMETER, "which topic?");
	if (lt_builtins_is_reserved(g, name) || lt_builtins_find(g, name, NULL))
		return refuse(call, LT_CODE_INVALID_PARAMETER,
		    "the topic is one of the system's");
	status = leat_topic_delete(leat, name);
	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		status = LEAT_OK;
	if (status != LEAT_OK)
		return status;
	lt_offsets_forget_topic(g->hub, topic);
	if (strncmp(name, RETRY, strlen(RETRY)) == 0)
		lt_groups_retry_seen(g->groups, name + strlen(RETRY), 0);
	return LEAT_OK;
}

void
lt_topiccalls_on_delete(struct lt_call *call)
{
	lt_call_submit(call, delete, lt_call_finish);
}

/* --- shown -----------------------------------------------------------------
 */

static void
put_topic(struct lt_buffer *out, const struct leat_topic *t)
{
	lt_buffer_format(out,
	    "{\"attributes\":{},\"order\":false,\"perm\":%" PRIu32
	    ",\"readQueueNums\":%" PRIu32
	    ",\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":",
	    t->perm & ~(uint32_t)LEAT_PERM_NONE, t->read_queues);
	lt_buffer_quote(out, t->name, strlen(t->name));
	lt_buffer_format(out,
	    ",\"topicSysFlag\":0,\"writeQueueNums\":%" PRIu32 "}",
	    t->write_queues);
}

/* Clerk: LEAT_OK and the topic; or the call is refused, or a status. */
static int
find(struct leat *leat, struct lt_call *call, struct leat_topic *t)
{
	char name[LT_NAME_FIELD];
	int status = lt_call_name(call->request, "topic", name);

	if (status == LEAT_OK && lt_builtins_find(call->worker->g, name, t))
		return LEAT_OK;
	if (status == LEAT_OK)
		status = leat_topic_describe(leat, name, t);
	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		return refuse(
		    call, LT_CODE_TOPIC_NOT_EXIST, "the topic does not exist");
	return status;
}

static int
show(struct leat *leat, struct lt_call *call)
{
	struct leat_topic t;
	int status = find(leat, call, &t);

	if (status == LEAT_OK && call->code == LT_CODE_SUCCESS)
		put_topic(&call->made, &t);
	return status;
}

void
lt_topiccalls_on_show(struct lt_call *call)
{
	lt_call_submit(call, show, lt_call_finish);
}

static int
put_each(const struct leat_topic *t, void *user)
{
	struct lt_call *call = user;

	lt_buffer_text(&call->made, call->result[0]++ > 0 ? "," : "");
	lt_buffer_quote(&call->made, t->name, strlen(t->name));
	lt_buffer_text(&call->made, ":");
	put_topic(&call->made, t);
	return 0;
}

/* What nobody else keeps: not leat-queue's own, nor one of the built-in ones
 * once more. */
static int
put_real(const struct leat_topic *t, void *user)
{
	struct lt_call *call = user;

	if (t->system || lt_builtins_find(call->worker->g, t->name, NULL))
		return 0;
	return put_each(t, call);
}

static int
show_all(struct leat *leat, struct lt_call *call)
{
	int status;

	lt_buffer_text(&call->made, "{\"topicConfigTable\":{");
	call->result[0] = 0;
	(void)lt_builtins_each(call->worker->g, put_each, call);
	status = leat_topic_list(leat, put_real, call);
	for (int i = 0; i < 2; i++)
		lt_buffer_format(&call->made,
		    "%s\":{\"counter\":%" PRId64
		    ",\"stateVersion\":0,\"timestamp\":%" PRId64 "}",
		    i == 0 ? "},\"dataVersion" : ",\"mappingDataVersion",
		    i == 0 ? call->result[0] : 0, lt_clock_wall_ms());
	lt_buffer_text(&call->made, ",\"topicQueueMappingDetailMap\":{},"
				    "\"topicQueueMappingInfoMap\":{}}");
	call->field = "totalTopicNum";
	return status;
}

void
lt_topiccalls_on_show_all(struct lt_call *call)
{
	lt_call_submit(call, show_all, lt_call_finish);
}

static int
show_ranges(struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct leat_topic t;
	int status = find(leat, call, &t);

	if (status != LEAT_OK || call->code != LT_CODE_SUCCESS)
		return status;
	lt_buffer_text(&call->made, "{\"offsetTable\":{");
	for (uint32_t q = 0; status == LEAT_OK && q < t.read_queues; q++) {
		struct leat_queue_range range = {0};

		if (!t.system || !lt_builtins_find(g, t.name, NULL))
			status = leat_queue_range(leat, t.name, q, &range);
		lt_buffer_text(&call->made, q > 0 ? "," : "");
		lt_mqkeys_put(&call->made, g, t.name, q);
		lt_buffer_format(&call->made,
		    ":{\"lastUpdateTimestamp\":%" PRId64
		    ",\"maxOffset\":%" PRId64 ",\"minOffset\":%" PRId64 "}",
		    range.max_offset > range.min_offset
			? lt_stored_at(leat, t.name, q, range.max_offset - 1)
			: 0,
		    range.max_offset, range.min_offset);
	}
	lt_buffer_text(&call->made, "},\"topicPutTps\":0.0}");
	return status;
}

void
lt_topiccalls_on_ranges(struct lt_call *call)
{
	lt_call_submit(call, show_ranges, lt_call_finish);
}

void
lt_topiccalls_on_system(struct lt_call *call)
{
	struct lt_buffer body;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	lt_builtins_write(call->worker->g, &body);
	lt_answer_buffer(call->worker, &call->ticket, &body);
	lt_buffer_fini(&body);
}
