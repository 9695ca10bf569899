/*
 * querycalls.c - single messages: by key or id (clerk, leat-queue has the
 * index), by place in the log, and one to be consumed now by a certain client.
 */
#include "config.h"
#include "remoting/worker.h"

#include <string.h>

#include "base/clock.h"
#include "leat/status.h"
#include "proto/offsetid.h"
#include "remoting/guard.h"

#define BATCH_MAX 64 /* messages of one answer */
#define CANDIDATES_MAX 256 /* looked at for them */

/* --- by key ----------------------------------------------------------------
 */

struct query {
	struct lt_call *call;
	int64_t begin_ms, end_ms;
	int32_t left;
};

static int
take(const struct leat_delivery *d, void *user)
{
	struct query *q = user;

	if (d->store_time_ms < q->begin_ms || d->store_time_ms > q->end_ms)
		return 0;
	lt_buffer_add(&q->call->made, d->record, d->record_bytes);
	return --q->left > 0 ? 0 : 1;
}

/* NULL, or the field that is not as it must be. */
static const char *
read_query(const struct lt_remoting *h, struct query *q,
    char topic[LT_NAME_FIELD], char key[LT_NAME_FIELD])
{
	if (lt_call_name(h, "topic", topic) != LEAT_OK)
		return "topic";
	if (lt_call_name(h, "key", key) != LEAT_OK)
		return "key";
	if (lt_remoting_i32(h, "maxNum", &q->left) != LEAT_OK)
		return "maxNum";
	if (lt_remoting_i64(h, "beginTimestamp", &q->begin_ms) != LEAT_OK)
		return "beginTimestamp";
	if (lt_remoting_i64(h, "endTimestamp", &q->end_ms) != LEAT_OK)
		return "endTimestamp";
	if (q->left < 1)
		q->left = 1;
	if (q->left > BATCH_MAX)
		q->left = BATCH_MAX;
	return NULL;
}

static int
look_up(struct leat *leat, struct lt_call *call)
{
	char topic[LT_NAME_FIELD], key[LT_NAME_FIELD];
	struct query q = {.call = call};
	int status;

	(void)read_query(call->request, &q, topic, key);
	if (lt_remoting_bool(call->request, "_UNIQUE_KEY_QUERY"))
		status = leat_message_by_id(leat, topic, key, take, &q);
	else
		status = leat_message_by_key(
		    leat, topic, key, CANDIDATES_MAX, take, &q);
	return status > 0 ? LEAT_OK : status;
}

static void
looked_up(struct lt_call *call, int status)
{
	struct lt_worker *w = call->worker;
	struct lt_answer a;

	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		status = LEAT_OK;
	if (status == LEAT_OK)
		status = lt_buffer_status(&call->made);
	if (call->conn == NULL) {
		;
	} else if (status != LEAT_OK) {
		lt_answer_error(w, &call->ticket, status);
	} else if (call->made.bytes == 0) {
		lt_answer_status(w, &call->ticket, LT_CODE_QUERY_NOT_FOUND,
		    "can not find message, maybe time range not correct");
	} else if (lt_answer_begin(w, &call->ticket, LT_CODE_SUCCESS, 512,
		       call->made.bytes, &a)) {
		lt_remoting_put_i64(
		    &a.e, "indexLastUpdateTimestamp", lt_clock_wall_ms());
		lt_remoting_put_i64(&a.e, "indexLastUpdatePhyoffset",
		    (int64_t)lt_relay_log_end(w->leat));
		memcpy(lt_answer_body(&a, NULL, call->made.bytes), call->made.p,
		    call->made.bytes);
		lt_answer_end(&a);
	}
	lt_call_free(call);
}

void
lt_querycalls_on_query(struct lt_call *call)
{
	char topic[LT_NAME_FIELD], key[LT_NAME_FIELD];
	struct query q;
	const char *bad = read_query(call->request, &q, topic, key);

	if (bad != NULL)
		lt_answer_lacks(call, bad);
	else
		lt_call_submit(call, look_up, looked_up);
}

/* --- by place --------------------------------------------------------------
 */

/* The record there, lent until the reader's next call. */
static int
record_at(struct lt_worker *w, int64_t offset, struct lt_record_view *v)
{
	int status = LEAT_E_NOTFOUND;

	if (offset < 0 || (uint64_t)offset >= lt_relay_log_end(w->leat))
		return status;
	status = lt_reader_get(w->reader, (uint64_t)offset, v);
	if (status == LEAT_E_NOTFOUND &&
	    lt_reader_refresh(w->reader) == LEAT_OK)
		status = lt_reader_get(w->reader, (uint64_t)offset, v);
	return status;
}

static int
may_see(const struct lt_call *call, const struct lt_record_view *v)
{
	return lt_guard_may_topic(call, LT_NEED_subscribe,
	    (struct lt_remoting_text){v->topic, v->topic_bytes});
}

void
lt_querycalls_on_view(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_record_view v;
	struct lt_answer a;
	int64_t offset;

	if (lt_remoting_i64(call->request, "offset", &offset) != LEAT_OK)
		lt_answer_lacks(call, "offset");
	else if (record_at(w, offset, &v) != LEAT_OK)
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "there is no message at %lld", (long long)offset);
	else if (!may_see(call, &v))
		lt_guard_refuse(call);
	else if (lt_answer_begin(
		     w, &call->ticket, LT_CODE_SUCCESS, 256, v.bytes, &a)) {
		memcpy(lt_answer_body(&a, NULL, v.bytes), v.base, v.bytes);
		lt_answer_end(&a);
	}
}

/* 309: with the message as body. */
void
lt_querycalls_on_consume(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_record_view v;
	struct lt_offsetid id;
	char text[LT_NAME_FIELD];

	if (lt_call_name(call->request, "msgId", text) != LEAT_OK ||
	    lt_offsetid_decode(text, strlen(text), &id) != LEAT_OK ||
	    id.log_offset > INT64_MAX ||
	    record_at(w, (int64_t)id.log_offset, &v) != LEAT_OK)
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "there is no message of that id");
	else if (!may_see(call, &v))
		lt_guard_refuse(call);
	else
		lt_clients_pass(call, v.base, v.bytes);
}
