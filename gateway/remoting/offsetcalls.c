/*
 * offsetcalls.c - how far a group is, where a queue begins and ends, what was
 * written when, and which client has a queue for itself.
 *
 * A commit is the hub's; a queue that neither hub nor tail have seen is asked
 * for first (clerk), so that nothing is kept of topics that do not exist. What
 * a time or a first message is read for, leat-queue has had written before.
 */
#include "config.h"
#include "remoting/worker.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hubjson.h"
#include "hub/offsets.h"
#include "hub/orderlocks.h"
#include "leat/status.h"
#include "remoting/groups.h"
#include "remoting/guard.h"
#include "remoting/progress.h"

/* A queue that has been there from its beginning, and whose first message is
 * not farther behind the log's end than this, is as good as new: a group that
 * has nothing committed begins with its first message. */
#define YOUNG_BYTES (INT64_C(4) << 30)

#define ENTRIES_MAX 1000 /* of one answer */

/* What a request is about. */
struct spot {
	char group[LT_NAME_FIELD]; /* "" if it is not asked for */
	char topic[LT_NAME_FIELD];
	int32_t queue;
};

/* Any thread. NULL, or the field that is not as it must be. */
static const char *
read_spot(const struct lt_remoting *h, int has_group, struct spot *s)
{
	s->group[0] = '\0';
	if (has_group && lt_call_name(h, "consumerGroup", s->group) != LEAT_OK)
		return "consumerGroup";
	if (lt_call_name(h, "topic", s->topic) != LEAT_OK)
		return "topic";
	if (lt_remoting_i32(h, "queueId", &s->queue) != LEAT_OK)
		return "queueId";
	return NULL;
}

/* 0, or it was refused. */
static int
find_spot(struct lt_call *call, int has_group, struct spot *s)
{
	const char *bad = read_spot(call->request, has_group, s);

	if (bad != NULL)
		lt_answer_lacks(call, bad);
	return bad == NULL ? 0 : -1;
}

static struct lt_offsets_key
key_of(const struct spot *s)
{
	return (struct lt_offsets_key){{s->group, (uint32_t)strlen(s->group)},
	    {s->topic, (uint32_t)strlen(s->topic)}, (uint32_t)s->queue};
}

/* --- a queue's range -------------------------------------------------------
 */

/* Clerk: [result[0], result[1]); of what does not exist both are 0. */
static int
ask_range(struct leat *leat, struct lt_call *call)
{
	struct leat_queue_range range = {0};
	struct spot s;
	int status = LEAT_E_QUEUE;

	(void)read_spot(call->request, 0, &s);
	if (s.queue >= 0)
		status =
		    leat_queue_range(leat, s.topic, (uint32_t)s.queue, &range);
	if (status == LEAT_E_NOTFOUND || status == LEAT_E_QUEUE ||
	    status == LEAT_E_NAME)
		status = LEAT_OK;
	call->result[0] = range.min_offset;
	call->result[1] = range.max_offset;
	return status;
}

static void
answer_bound(struct lt_call *call, int status, int64_t offset)
{
	if (call->conn != NULL && status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
	else if (call->conn != NULL)
		lt_answer_number(call->worker, &call->ticket, "offset", offset);
	lt_call_free(call);
}

static void
min_known(struct lt_call *call, int status)
{
	answer_bound(call, status, call->result[0]);
}

static void
max_known(struct lt_call *call, int status)
{
	answer_bound(call, status, call->result[1]);
}

void
lt_offsetcalls_on_max(struct lt_call *call)
{
	struct spot s;

	if (find_spot(call, 0, &s) == 0)
		lt_call_submit(call, ask_range, max_known);
}

void
lt_offsetcalls_on_min(struct lt_call *call)
{
	struct spot s;

	if (find_spot(call, 0, &s) == 0)
		lt_call_submit(call, ask_range, min_known);
}

/* --- times -----------------------------------------------------------------
 */

/* The first record in [*offset, end) that can be read. LEAT_E_NOTFOUND: none
 * near there. */
static int
record_at(struct lt_worker *w, const struct spot *s, int64_t *offset,
    int64_t end, struct lt_record_view *v)
{
	struct lt_cq_entry entries[64];
	size_t n;

	if (lt_cq_view_read(w->view, s->topic, (uint32_t)s->queue, *offset,
		entries, LT_COUNT(entries), &n) != LEAT_OK)
		return LEAT_E_NOTFOUND;
	for (size_t i = 0; i < n && *offset < end; i++, ++*offset) {
		uint64_t at = (uint64_t)entries[i].log_offset;
		int status;

		if (entries[i].bytes == 0)
			continue;
		status = lt_reader_get(w->reader, at, v);
		if (status == LEAT_E_NOTFOUND &&
		    lt_reader_refresh(w->reader) == LEAT_OK)
			status = lt_reader_get(w->reader, at, v);
		if (status == LEAT_OK)
			return LEAT_OK;
	}
	return LEAT_E_NOTFOUND;
}

/* The first offset whose message was stored at ms or later; end: none. */
static int64_t
first_since(struct lt_worker *w, const struct spot *s, int64_t ms,
    int64_t begin, int64_t end)
{
	int64_t low = begin, high = end;

	/* Below low is older, at and behind high is not. */
	while (low < high) {
		int64_t mid = low + (high - low) / 2, at = mid;
		struct lt_record_view v;

		if (record_at(w, s, &at, high, &v) != LEAT_OK ||
		    v.store_ms >= ms)
			high = mid;
		else
			low = at + 1;
	}
	return low;
}

static void
answer_by_time(struct lt_call *call, int status)
{
	int64_t begin = call->result[0], end = call->result[1], ms = 0, at;
	struct lt_remoting_text bound =
	    lt_remoting_find(call->request, "boundaryType");
	struct spot s;

	(void)read_spot(call->request, 0, &s);
	(void)!lt_remoting_i64(call->request, "timestamp", &ms);
	if (status != LEAT_OK || call->conn == NULL) {
		answer_bound(call, status, 0);
		return;
	}
	if (bound.bytes == 5 && memcmp(bound.p, "UPPER", 5) == 0) {
		at = first_since(
		    call->worker, &s, ms < INT64_MAX ? ms + 1 : ms, begin, end);
		at = at > begin ? at - 1 : begin;
	} else {
		at = first_since(call->worker, &s, ms, begin, end);
	}
	answer_bound(call, LEAT_OK, at);
}

void
lt_offsetcalls_on_by_time(struct lt_call *call)
{
	struct spot s;
	int64_t ms;

	if (find_spot(call, 0, &s) != 0)
		return;
	if (lt_remoting_i64(call->request, "timestamp", &ms) != LEAT_OK)
		lt_answer_lacks(call, "timestamp");
	else
		lt_call_submit(call, ask_range, answer_by_time);
}

static void
answer_earliest(struct lt_call *call, int status)
{
	int64_t at = call->result[0], ms = -1;
	struct lt_record_view v;
	struct spot s;

	(void)read_spot(call->request, 0, &s);
	if (call->conn != NULL && status != LEAT_OK) {
		lt_answer_error(call->worker, &call->ticket, status);
	} else if (call->conn != NULL) {
		if (at < call->result[1] && record_at(call->worker, &s, &at,
						call->result[1], &v) == LEAT_OK)
			ms = v.store_ms;
		lt_answer_number(call->worker, &call->ticket, "timestamp", ms);
	}
	lt_call_free(call);
}

void
lt_offsetcalls_on_earliest(struct lt_call *call)
{
	struct spot s;

	if (find_spot(call, 0, &s) == 0)
		lt_call_submit(call, ask_range, answer_earliest);
}

/* --- entries ---------------------------------------------------------------
 */

static void
put_entries(struct lt_call *call, const struct spot *s, int64_t at, int32_t max)
{
	struct lt_cq_entry e[ENTRIES_MAX];
	struct lt_buffer *out = &call->made;
	size_t n = 0;

	if (max > ENTRIES_MAX)
		max = ENTRIES_MAX;
	if (at < call->result[0])
		at = call->result[0];
	if (at < call->result[1] && max > 0 &&
	    lt_cq_view_read(call->worker->view, s->topic, (uint32_t)s->queue,
		at, e, (size_t)max, &n) != LEAT_OK)
		n = 0;
	lt_buffer_format(out,
	    "{\"maxQueueIndex\":%" PRId64 ",\"minQueueIndex\":%" PRId64
	    ",\"queueData\":[",
	    call->result[1], call->result[0]);
	for (size_t i = 0; i < n && at < call->result[1]; i++, at++)
		lt_buffer_format(out,
		    "%s{\"eval\":false,\"physicOffset\":%" PRId64
		    ",\"physicSize\":%" PRIu32 ",\"tagsCode\":%" PRId64 "}",
		    i > 0 ? "," : "", e[i].log_offset, e[i].bytes,
		    e[i].tags_code);
	lt_buffer_text(out, "]}");
}

static void
answer_entries(struct lt_call *call, int status)
{
	int32_t count = 0;
	int64_t index = 0;
	struct spot s;

	(void)read_spot(call->request, 0, &s);
	(void)!lt_remoting_i64(call->request, "index", &index);
	(void)!lt_remoting_i32(call->request, "count", &count);
	if (status == LEAT_OK)
		put_entries(call, &s, index, count);
	lt_call_finish(call, status);
}

void
lt_offsetcalls_on_entries(struct lt_call *call)
{
	int64_t index;
	struct spot s;

	if (find_spot(call, 0, &s) != 0)
		return;
	if (lt_remoting_i64(call->request, "index", &index) != LEAT_OK)
		lt_answer_lacks(call, "index");
	else
		lt_call_submit(call, ask_range, answer_entries);
}

/* --- a group's progress ----------------------------------------------------
 */

/* Clerk: LEAT_E_NOTFOUND if nothing is committed; then the queue's range. */
static int
ask_progress(struct leat *leat, struct lt_call *call)
{
	struct spot s;
	int64_t offset;
	int status;

	(void)read_spot(call->request, 1, &s);
	if (s.queue < 0)
		return LEAT_E_NOTFOUND;
	status = lt_progress_read(
	    leat, s.group, s.topic, (uint32_t)s.queue, &offset);
	if (status == LEAT_OK) {
		struct lt_offsets_key key = key_of(&s);

		lt_offsets_learned(call->worker->g->hub, &key, offset);
		call->result[0] = offset;
	} else if (status == LEAT_E_NOTFOUND) {
		status = ask_range(leat, call);
		if (status == LEAT_OK)
			status = LEAT_E_NOTFOUND;
	}
	return status;
}

/* Nothing is committed: does the group begin at 0, or is it the client's own
 * affair (22) where it begins? */
static int
is_young(const struct lt_call *call)
{
	struct lt_remoting_text zero =
	    lt_remoting_find(call->request, "setZeroIfNotFound");
	struct lt_worker *w = call->worker;
	struct lt_record_view v;
	struct spot s;
	int64_t at = 0;

	if (zero.p != NULL &&
	    !lt_remoting_bool(call->request, "setZeroIfNotFound"))
		return 0;
	(void)read_spot(call->request, 1, &s);
	return call->result[0] <= 0 && call->result[1] > 0 &&
	       record_at(w, &s, &at, call->result[1], &v) == LEAT_OK &&
	       (int64_t)lt_relay_log_end(w->leat) - v.log_offset <= YOUNG_BYTES;
}

static void
progress_known(struct lt_call *call, int status)
{
	struct lt_worker *w = call->worker;
	struct spot s;
	int64_t offset;

	(void)read_spot(call->request, 1, &s);
	struct lt_offsets_key key = key_of(&s);
	if (call->conn == NULL)
		;
	/* A commit that was checked meanwhile came before the question. */
	else if (s.queue >= 0 &&
		 lt_offsets_get(w->g->hub, &key, &offset) == LEAT_OK)
		lt_answer_number(w, &call->ticket, "offset", offset);
	else if (status == LEAT_OK)
		lt_answer_number(w, &call->ticket, "offset", call->result[0]);
	else if (status != LEAT_E_NOTFOUND)
		lt_answer_error(w, &call->ticket, status);
	else if (is_young(call))
		lt_answer_number(w, &call->ticket, "offset", 0);
	else
		lt_answer_status(w, &call->ticket, LT_CODE_QUERY_NOT_FOUND,
		    "nothing is committed yet: maybe this group consumer "
		    "boot first");
	lt_call_free(call);
}

void
lt_offsetcalls_on_query(struct lt_call *call)
{
	struct spot s;
	int64_t offset;

	if (find_spot(call, 1, &s) != 0)
		return;
	struct lt_offsets_key key = key_of(&s);
	if (s.queue >= 0 &&
	    lt_offsets_get(call->worker->g->hub, &key, &offset) == LEAT_OK)
		lt_answer_number(call->worker, &call->ticket, "offset", offset);
	else
		lt_call_submit(call, ask_progress, progress_known);
}

/* Clerk: are topic and group there? */
static int
check_spot(struct leat *leat, struct lt_call *call)
{
	struct lt_remoting_text group =
	    lt_remoting_find(call->request, "consumerGroup");
	struct leat_topic topic;
	struct spot s;
	int status;

	(void)read_spot(call->request, 1, &s);
	status = leat_topic_describe(leat, s.topic, &topic);
	if (status != LEAT_OK)
		return status == LEAT_E_NAME ? LEAT_E_NOTFOUND : status;
	if (lt_groups_get(call->worker->g->groups, group, NULL))
		return LEAT_OK;
	status = lt_progress_has(leat, s.group);
	if (status == 0) {
		call->code = LT_CODE_GROUP_NOT_EXIST;
		call->why = "the subscription group does not exist";
	}
	return status < 0 ? status : LEAT_OK;
}

static void
put(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	int64_t offset = 0;
	struct spot s;
	int status;

	(void)read_spot(call->request, 1, &s);
	(void)!lt_remoting_i64(call->request, "commitOffset", &offset);
	struct lt_offsets_key key = key_of(&s);
	status = lt_offsets_put(w->g->hub, &key, offset);
	if (status == LEAT_OK)
		lt_answer_status(w, &call->ticket, LT_CODE_SUCCESS, NULL);
	else
		lt_answer_error(w, &call->ticket,
		    status == LEAT_E_LIMIT ? LEAT_E_BUSY : status);
}

static void
spot_checked(struct lt_call *call, int status)
{
	if (status != LEAT_OK || call->code != LT_CODE_SUCCESS) {
		lt_call_finish(call, status);
		return;
	}
	/* Said before it went: it counts. */
	put(call);
	lt_call_free(call);
}

void
lt_offsetcalls_on_update(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct spot s;
	int64_t offset;

	if (find_spot(call, 1, &s) != 0)
		return;
	if (lt_remoting_i64(call->request, "commitOffset", &offset) !=
	    LEAT_OK) {
		lt_answer_lacks(call, "commitOffset");
		return;
	}
	struct lt_offsets_key key = key_of(&s);
	const struct lt_tail_queue *q =
	    lt_tail_find(w->tail, s.topic, key.topic.bytes, (uint32_t)s.queue);
	int is_known = lt_groups_get(w->g->groups, key.group, NULL) &&
		       ((q != NULL && q->min >= 0) ||
			   lt_offsets_get(w->g->hub, &key, &offset) == LEAT_OK);
	if (s.queue < 0)
		lt_answer_lacks(call, "queueId");
	else if (is_known)
		put(call);
	else
		lt_call_submit(call, check_spot, spot_checked);
}

/* --- queues for one client alone -------------------------------------------
 */

/* LEAT_OK; LEAT_E_DENIED; else *why. */
static int
read_locks(const struct lt_call *call, struct lt_heartbeat_locks *out,
    const char **why)
{
	int status =
	    lt_heartbeat_locks_read(call->body, call->body_bytes, out, why);
	int may;

	if (status != LEAT_OK)
		return status;
	may = lt_guard_may_group(
	    call, LT_NEED_subscribe, lt_call_text(out->group));
	for (size_t i = 0; i < out->count && may; i++)
		may = lt_guard_may_topic(call, LT_NEED_subscribe,
		    lt_call_text(out->queues[i].topic));
	if (may)
		return LEAT_OK;
	lt_heartbeat_locks_free(out);
	return LEAT_E_DENIED;
}

static void
answer_unread(struct lt_call *call, int status, const char *why)
{
	if (status == LEAT_E_DENIED)
		lt_guard_refuse(call);
	else
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_SYSTEM_ERROR, "%s", why);
}

void
lt_offsetcalls_on_lock(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_heartbeat_locks asked;
	struct lt_buffer body;
	uint8_t *is_held = NULL;
	const char *why;
	int status = read_locks(call, &asked, &why);

	if (status != LEAT_OK) {
		answer_unread(call, status, why);
		return;
	}
	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	is_held = lt_mem_alloc(asked.count + 1);
	if (is_held != NULL) {
		lt_orderlocks_lock(
		    w->g->hub, &asked, lt_clock_mono_ms(), is_held);
		status = lt_hubjson_locked(&asked, is_held, &body);
	} else {
		status = LEAT_E_NOMEM;
	}
	if (status == LEAT_OK)
		lt_answer_buffer(w, &call->ticket, &body);
	else
		lt_answer_error(w, &call->ticket, status);
	lt_mem_free(is_held);
	lt_buffer_fini(&body);
	lt_heartbeat_locks_free(&asked);
}

void
lt_offsetcalls_on_unlock(struct lt_call *call)
{
	struct lt_heartbeat_locks asked;
	const char *why;
	int status = read_locks(call, &asked, &why);

	if (status != LEAT_OK) {
		answer_unread(call, status, why);
		return;
	}
	lt_orderlocks_unlock(call->worker->g->hub, &asked);
	lt_heartbeat_locks_free(&asked);
	lt_answer_status(call->worker, &call->ticket, LT_CODE_SUCCESS, NULL);
}
