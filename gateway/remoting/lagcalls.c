/*
 * lagcalls.c - how far groups are behind, and where they go on: consume
 * statistics, offsets set back or forward, and copied to another group.
 *
 * All of it is the clerk's: each queue costs leat-queue a few questions.
 */
#include "config.h"
#include "remoting/worker.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "hub/offsets.h"
#include "leat/status.h"
#include "remoting/groups.h"
#include "remoting/guard.h"
#include "remoting/mqkeys.h"
#include "remoting/progress.h"
#include "remoting/stored.h"

#define COMMIT_MS 5000

/* One queue of a group, as it is told. */
struct place {
	const char *group, *topic;
	uint32_t queue;
	struct leat_queue_range range;
	int64_t offset; /* -1: the group has none */
};

struct walk {
	struct leat *leat;
	struct lt_call *call;
	int (*each)(struct walk *walk, const struct place *place);
	char group[LT_NAME_FIELD], topic[LT_NAME_FIELD];
	char other[LT_NAME_FIELD]; /* group */
	size_t count; /* of places told */
};

static struct lt_remoting_text
text_of(const char *s)
{
	return (struct lt_remoting_text){s, (uint32_t)strlen(s)};
}

static int
refuse(struct lt_call *call, int32_t code, const char *why)
{
	call->code = code;
	call->why = why;
	return LEAT_OK;
}

/* --- a group's queues ------------------------------------------------------
 */

/* What the hub has is newer. */
static int
offset_of(struct walk *w, struct place *p)
{
	struct lt_offsets_key key = {
	    text_of(p->group), text_of(p->topic), p->queue};
	int status;

	if (lt_offsets_get(w->call->worker->g->hub, &key, &p->offset) ==
	    LEAT_OK)
		return LEAT_OK;
	status =
	    lt_progress_read(w->leat, p->group, p->topic, p->queue, &p->offset);
	if (status == LEAT_E_NOTFOUND) {
		p->offset = -1;
		status = LEAT_OK;
	}
	return status;
}

/* A topic that is not there has no queues. */
static int
walk_topic(struct walk *w, const char *group, const char *name)
{
	struct leat_topic topic;
	int status = leat_topic_describe(w->leat, name, &topic);

	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		return LEAT_OK;
	for (uint32_t q = 0; status == LEAT_OK && q < topic.read_queues; q++) {
		struct place p = {.group = group, .topic = name, .queue = q};

		status = leat_queue_range(w->leat, name, q, &p.range);
		if (status == LEAT_OK)
			status = offset_of(w, &p);
		if (status == LEAT_OK)
			status = w->each(w, &p);
	}
	return status;
}

/* Names, each with a NUL. */
struct list {
	struct lt_buffer names;
	int is_of_groups; /* else of topics */
};

static int
has(const struct list *l, const char *name)
{
	for (size_t at = 0; at < l->names.bytes;) {
		const char *there = (const char *)l->names.p + at;

		if (strcmp(there, name) == 0)
			return 1;
		at += strlen(there) + 1;
	}
	return 0;
}

static int
note(const struct leat_group *entry, void *user)
{
	struct list *l = user;
	const char *name = l->is_of_groups ? entry->name : entry->topic;

	if (entry->mode == LEAT_CLUSTERING && !has(l, name))
		lt_buffer_add(&l->names, name, strlen(name) + 1);
	return lt_buffer_status(&l->names);
}

/* The topic that the request names, or all that the group has to do with. */
static int
walk_group(struct walk *w, const char *group)
{
	struct list l = {0};
	int status;

	if (w->topic[0] != '\0')
		return walk_topic(w, group, w->topic);
	lt_buffer_init(&l.names, LT_CALL_BODY_MAX);
	(void)lt_hub_topics(w->call->worker->g->hub, text_of(group), &l.names);
	status = leat_group_describe(w->leat, group, note, &l);
	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		status = LEAT_OK;
	for (size_t at = 0; status == LEAT_OK && at < l.names.bytes;) {
		const char *topic = (const char *)l.names.p + at;

		status = walk_topic(w, group, topic);
		at += strlen(topic) + 1;
	}
	lt_buffer_fini(&l.names);
	return status;
}

/* --- behind ----------------------------------------------------------------
 */

static int
put_lag(struct walk *w, const struct place *p)
{
	struct lt_buffer *out = &w->call->made;
	int64_t offset = p->offset < 0 ? 0 : p->offset;

	lt_buffer_text(out, w->count++ > 0 ? "," : "");
	lt_mqkeys_put(out, w->call->worker->g, p->topic, p->queue);
	lt_buffer_format(out,
	    ":{\"brokerOffset\":%" PRId64 ",\"consumerOffset\":%" PRId64
	    ",\"lastTimestamp\":%" PRId64 ",\"pullOffset\":%" PRId64 "}",
	    p->range.max_offset, offset,
	    lt_stored_at(w->leat, p->topic, p->queue, offset - 1), offset);
	return LEAT_OK;
}

static int
put_group(struct walk *w, const char *group)
{
	int status;

	w->count = 0;
	lt_buffer_text(&w->call->made, "{\"consumeTps\":0.0,\"offsetTable\":{");
	status = walk_group(w, group);
	lt_buffer_text(&w->call->made, "}}");
	return status;
}

/* 208 */
static int
lag(struct leat *leat, struct lt_call *call)
{
	struct walk w = {.leat = leat, .call = call, .each = put_lag};

	if (lt_call_name(call->request, "consumerGroup", w.group) != LEAT_OK)
		return refuse(call, LT_CODE_SYSTEM_ERROR, "which group?");
	if (lt_call_name(call->request, "topic", w.topic) != LEAT_OK)
		w.topic[0] = '\0';
	return put_group(&w, w.group);
}

void
lt_lagcalls_on_lag(struct lt_call *call)
{
	lt_call_submit(call, lag, lt_call_finish);
}

/* 317: of all groups with progress. */
static int
lag_of_all(struct leat *leat, struct lt_call *call)
{
	struct walk w = {.leat = leat, .call = call, .each = put_lag};
	struct list l = {.is_of_groups = 1};
	const char *before = "";
	int status;

	lt_buffer_init(&l.names, LT_CALL_BODY_MAX);
	status = leat_group_describe(leat, NULL, note, &l);
	lt_buffer_text(&call->made, "{\"consumeStatsList\":[");
	for (size_t at = 0; status == LEAT_OK && at < l.names.bytes;) {
		const char *group = (const char *)l.names.p + at;

		lt_buffer_format(&call->made, "%s{", before);
		lt_buffer_quote(&call->made, group, strlen(group));
		lt_buffer_text(&call->made, ":[");
		status = put_group(&w, group);
		lt_buffer_text(&call->made, "]}");
		before = ",";
		at += strlen(group) + 1;
	}
	lt_buffer_text(
	    &call->made, "],\"totalDiff\":0,\"totalInflightDiff\":0}");
	lt_buffer_fini(&l.names);
	return status;
}

void
lt_lagcalls_on_lag_of_all(struct lt_call *call)
{
	lt_call_submit(call, lag_of_all, lt_call_finish);
}

static void
put_time(struct lt_buffer *out, const char *name, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&s, &tm) != NULL)
		(void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	lt_buffer_format(out, "\"%s\":%" PRId64 ",\"%sStr\":\"%s,%03d\",", name,
	    ms, name, text, (int)(ms % 1000));
}

static int
put_span(struct walk *w, const struct place *p)
{
	struct lt_buffer *out = &w->call->made;
	int64_t offset = p->offset < 0 ? 0 : p->offset;
	int64_t first =
	    lt_stored_at(w->leat, p->topic, p->queue, p->range.min_offset);
	int64_t last =
	    lt_stored_at(w->leat, p->topic, p->queue, p->range.max_offset - 1);
	int64_t consumed =
	    offset > 0 ? lt_stored_at(w->leat, p->topic, p->queue, offset - 1)
		       : first;
	int64_t next = offset < p->range.max_offset
			   ? lt_stored_at(w->leat, p->topic, p->queue, offset)
			   : 0;

	lt_buffer_text(out, w->count++ > 0 ? ",{" : "{");
	put_time(out, "consumeTimeStamp", consumed);
	lt_buffer_format(out, "\"delayTime\":%" PRId64 ",",
	    next > 0 ? lt_clock_wall_ms() - next : 0);
	put_time(out, "maxTimeStamp", last);
	lt_buffer_text(out, "\"messageQueue\":");
	lt_mqkeys_put(out, w->call->worker->g, p->topic, p->queue);
	lt_buffer_text(out, ",");
	put_time(out, "minTimeStamp", first);
	out->bytes -= lt_buffer_status(out) == LEAT_OK; /* the last comma */
	lt_buffer_text(out, "}");
	return LEAT_OK;
}

/* 303 */
static int
span(struct leat *leat, struct lt_call *call)
{
	struct walk w = {.leat = leat, .call = call, .each = put_span};
	int status;

	if (lt_call_name(call->request, "group", w.group) != LEAT_OK ||
	    lt_call_name(call->request, "topic", w.topic) != LEAT_OK)
		return refuse(
		    call, LT_CODE_SYSTEM_ERROR, "which group and topic?");
	lt_buffer_text(&call->made, "{\"consumeTimeSpanSet\":[");
	status = walk_group(&w, w.group);
	lt_buffer_text(&call->made, "]}");
	return status;
}

void
lt_lagcalls_on_span(struct lt_call *call)
{
	lt_call_submit(call, span, lt_call_finish);
}

/* --- elsewhere -------------------------------------------------------------
 */

/* What 222 asks for. */
struct target {
	int32_t queue; /* -1: all */
	int64_t offset; /* -1: by time */
	int64_t ms; /* negative: the end */
};

static int64_t
target_of(struct walk *w, const struct target *t, uint32_t queue,
    const struct leat_queue_range *range)
{
	if (t->offset >= 0 && t->offset < range->min_offset)
		return range->min_offset;
	if (t->offset >= 0)
		return t->offset > range->max_offset ? range->max_offset
						     : t->offset;
	return t->ms < 0
		   ? range->max_offset
		   : lt_stored_since(w->leat, w->topic, queue, range, t->ms);
}

/* leat-queue first, which has it logged; then commits that are older are void
 * until the next pull was told. */
static int
reset_queue(struct walk *w, const struct target *t, uint32_t queue)
{
	struct lt_relay_offset at = {.topic = w->topic, .queue = queue};
	struct lt_offsets_key key = {
	    text_of(w->group), text_of(w->topic), queue};
	struct leat_queue_range range;
	int status = leat_queue_range(w->leat, w->topic, queue, &range);

	if (status != LEAT_OK)
		return status;
	at.offset = target_of(w, t, queue, &range);
	status = lt_relay_commit(w->leat, w->group, &at, 1, COMMIT_MS);
	if (status == LEAT_OK)
		status =
		    lt_offsets_reset(w->call->worker->g->hub, &key, at.offset);
	lt_buffer_text(&w->call->made, w->count++ > 0 ? "," : "");
	lt_mqkeys_put(&w->call->made, w->call->worker->g, w->topic, queue);
	lt_buffer_format(&w->call->made, ":%" PRId64, at.offset);
	return status;
}

static int
ignore(const struct leat_group *entry, void *user)
{
	(void)entry;
	(void)user;
	return 0;
}

/* Local members have their queues' claims in a table that a seek replaces. */
static int
seek_locals(struct walk *w, const struct target *t)
{
	int status = leat_group_seek(w->leat, w->group, w->topic,
	    t->offset >= 0 ? LEAT_FROM_OFFSET
	    : t->ms < 0	   ? LEAT_FROM_END
			   : LEAT_FROM_TIME,
	    t->offset >= 0 ? t->offset : t->ms, 1, ignore, NULL);

	return status == LEAT_E_NOTFOUND ? LEAT_OK : status;
}

static int
reset_all(struct walk *w, const struct target *t, uint32_t queues)
{
	int status = LEAT_OK;

	if (t->queue < 0)
		status = seek_locals(w, t);
	lt_buffer_text(&w->call->made, "{\"offsetTable\":{");
	for (uint32_t q = 0; status == LEAT_OK && q < queues; q++)
		if (t->queue < 0 || (uint32_t)t->queue == q)
			status = reset_queue(w, t, q);
	lt_buffer_text(&w->call->made, "}}");
	return status;
}

/* Any thread. NULL, or the field that is not as it must be. */
static const char *
read_target(const struct lt_remoting *h, struct walk *w, struct target *t)
{
	*t = (struct target){-1, -1, -1};
	if (lt_call_name(h, "topic", w->topic) != LEAT_OK)
		return "topic";
	if (lt_call_name(h, "group", w->group) != LEAT_OK)
		return "group";
	if (lt_remoting_i64(h, "timestamp", &t->ms) != LEAT_OK)
		return "timestamp";
	if (lt_remoting_i32(h, "queueId", &t->queue) == LEAT_E_INVALID)
		return "queueId";
	if (lt_remoting_i64(h, "offset", &t->offset) == LEAT_E_INVALID)
		return "offset";
	return NULL;
}

/* 222 */
static int
reset(struct leat *leat, struct lt_call *call)
{
	struct walk w = {.leat = leat, .call = call};
	struct leat_topic topic;
	struct target t;
	int status;

	(void)read_target(call->request, &w, &t);
	status = leat_topic_describe(leat, w.topic, &topic);
	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		return refuse(
		    call, LT_CODE_TOPIC_NOT_EXIST, "the topic does not exist");
	if (status == LEAT_OK &&
	    !lt_groups_get(call->worker->g->groups, text_of(w.group), NULL)) {
		status = lt_progress_has(leat, w.group);
		if (status == 0)
			return refuse(call, LT_CODE_GROUP_NOT_EXIST,
			    "the subscription group does not exist");
		if (status > 0)
			status = LEAT_OK;
	}
	if (status == LEAT_OK && t.queue >= (int32_t)topic.read_queues)
		return refuse(
		    call, LT_CODE_SYSTEM_ERROR, "the topic has no such queue");
	return status != LEAT_OK ? status
				 : reset_all(&w, &t, topic.read_queues);
}

void
lt_lagcalls_on_reset(struct lt_call *call)
{
	struct target t;
	struct walk w;
	const char *bad = read_target(call->request, &w, &t);

	if (bad != NULL)
		lt_answer_lacks(call, bad);
	else
		lt_call_submit(call, reset, lt_call_finish);
}

static int
copy(struct walk *w, const struct place *p)
{
	struct lt_offsets_key key = {
	    text_of(w->other), text_of(p->topic), p->queue};

	return p->offset < 0
		   ? LEAT_OK
		   : lt_offsets_put(w->call->worker->g->hub, &key, p->offset);
}

/* 314 */
static int
copy_group(struct leat *leat, struct lt_call *call)
{
	struct walk w = {.leat = leat, .call = call, .each = copy};

	if (lt_call_name(call->request, "srcGroup", w.group) != LEAT_OK ||
	    lt_call_name(call->request, "destGroup", w.other) != LEAT_OK)
		return refuse(call, LT_CODE_SYSTEM_ERROR, "which groups?");
	if (lt_call_name(call->request, "topic", w.topic) != LEAT_OK)
		w.topic[0] = '\0';
	(void)lt_groups_join(call->worker->g->groups, w.other);
	return walk_group(&w, w.group);
}

void
lt_lagcalls_on_copy(struct lt_call *call)
{
	struct lt_remoting_text from =
	    lt_remoting_find(call->request, "srcGroup");

	if (from.bytes > 0 && !lt_guard_may_group(call,
				  LT_NEED_subscribe | LT_NEED_trace, from)) {
		lt_guard_refuse(call);
		return;
	}
	lt_call_submit(call, copy_group, lt_call_finish);
}
