/*
 * back.c - CONSUMER_SEND_MSG_BACK: a message that a consumer could not digest
 * is to come again, by way of the group's retry topic and a delay level; or it
 * has come often enough, and goes to the group's dead letters.
 *
 * It is named by its place in the log, and copied from there. Its first topic
 * and id stay with it. The copy needs no sync of its own: it lies in the log
 * before the group's progress past the original, so whoever finds that after a
 * power cut finds the copy too.
 */
#include "config.h"
#include "remoting/worker.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/offsetid.h"
#include "proto/record.h"
#include "remoting/groups.h"
#include "remoting/guard.h"
#include "remoting/msgtext.h"

#define LEVEL_FIRST 3 /* of a message that comes again for the first time */
#define BORN_V6 0x10u
#define SYS_RELAYED 0x703u

/* A request, checked. */
struct back {
	struct lt_call *call;
	struct lt_remoting_text group;
	int64_t offset;
	int32_t level, max;
	int32_t retry_queues;
	struct lt_record_view v; /* the message, in the map of the log */
	int is_dead;
	char topic[LT_NAME_FIELD]; /* where it goes */
};

void
lt_back_answer(struct lt_worker *w, const struct lt_ticket *t, int status)
{
	if (status == LEAT_OK)
		lt_answer_status(w, t, LT_CODE_SUCCESS, NULL);
	else
		lt_answer_status(w, t, LT_CODE_SYSTEM_ERROR,
		    "the message was not taken back: %s",
		    leat_status_text(status));
}

static int
read_request(struct back *b)
{
	const struct lt_remoting *h = b->call->request;
	struct lt_gateway const *g = b->call->worker->g;
	struct lt_groups_config config;
	char name[LT_NAME_FIELD];

	b->group = lt_remoting_find(h, "group");
	if (b->group.p == NULL || b->group.bytes >= sizeof name ||
	    lt_remoting_i64(h, "offset", &b->offset) != LEAT_OK ||
	    lt_remoting_i32(h, "delayLevel", &b->level) != LEAT_OK)
		return LEAT_E_INVALID;
	memcpy(name, b->group.p, b->group.bytes);
	name[b->group.bytes] = '\0';
	if (lt_name_group(name) != LEAT_OK)
		return LEAT_E_NAME;
	b->max = LT_GROUPTEXT_RETRY_MAX;
	b->retry_queues = 1;
	if (lt_groups_get(g->groups, b->group, &config)) {
		b->max = config.retry_max;
		b->retry_queues = config.retry_queues;
	}
	(void)!lt_remoting_i32(h, "maxReconsumeTimes", &b->max);
	return LEAT_OK;
}

static int
read_record(struct back *b)
{
	struct lt_worker *w = b->call->worker;
	uint64_t at = (uint64_t)b->offset;
	char topic[LT_NAME_FIELD];
	int status;

	if (b->offset < 0 || at >= lt_relay_log_end(w->leat))
		return LEAT_E_NOTFOUND;
	status = lt_reader_get(w->reader, at, &b->v);
	if (status == LEAT_E_NOTFOUND &&
	    lt_reader_refresh(w->reader) == LEAT_OK)
		status = lt_reader_get(w->reader, at, &b->v);
	if (status != LEAT_OK || b->v.topic_bytes >= sizeof topic)
		return LEAT_E_NOTFOUND;
	memcpy(topic, b->v.topic, b->v.topic_bytes);
	topic[b->v.topic_bytes] = '\0';
	return lt_name_is_system(topic) ? LEAT_E_DENIED : LEAT_OK;
}

static void
choose_topic(struct back *b)
{
	const char *prefix;
	size_t n;

	b->is_dead = b->level < 0 || (int64_t)b->v.reconsume >= b->max;
	prefix = b->is_dead ? "%DLQ%" : "%RETRY%";
	n = strlen(prefix);
	memcpy(b->topic, prefix, n);
	memcpy(b->topic + n, b->group.p, b->group.bytes);
	b->topic[n + b->group.bytes] = '\0';
	if (b->level == 0)
		b->level = b->v.reconsume < LT_LEVELS_MAX
			       ? LEVEL_FIRST + (int32_t)b->v.reconsume
			       : LT_LEVELS_MAX;
	if (b->level > LT_LEVELS_MAX)
		b->level = LT_LEVELS_MAX;
}

static int
has(const struct lt_record_view *v, const char *name)
{
	const char *p;
	size_t n;

	return lt_record_property(v, name, strlen(name), &p, &n) == LEAT_OK;
}

/* Its properties, and what they say of its way so far. */
static int
make_text(struct back *b, struct lt_relay *m)
{
	struct lt_worker *w = b->call->worker;
	struct lt_offsetid id = {.ip = w->g->store_ip,
	    .port = w->g->store_port,
	    .log_offset = (uint64_t)b->offset};
	char id_text[LT_OFFSETID_CHARS];
	struct lt_msgtext t;

	lt_msgtext_begin(&t, w->text, sizeof w->text, b->v.props,
	    b->v.props_bytes,
	    LT_MSGTEXT_DELAY | LT_MSGTEXT_WAIT |
		(b->is_dead ? 0 : LT_MSGTEXT_PLACE));
	if (!has(&b->v, "RETRY_TOPIC"))
		lt_msgtext_add(&t, "RETRY_TOPIC", b->v.topic, b->v.topic_bytes);
	if (!has(&b->v, "ORIGIN_MESSAGE_ID")) {
		lt_offsetid_encode(id_text, &id);
		lt_msgtext_add(
		    &t, "ORIGIN_MESSAGE_ID", id_text, sizeof id_text);
	}
	lt_msgtext_add(&t, "WAIT", "false", 5);
	if (b->is_dead)
		lt_msgtext_number(&t, "DELAY", 0);
	else
		lt_msgtext_delay(&t, (uint32_t)b->level, b->topic, m->queue);
	m->text = w->text;
	m->text_bytes = t.bytes;
	m->has_id = has(&b->v, "UNIQ_KEY");
	return lt_msgtext_end(&t);
}

static int
send_copy(struct back *b)
{
	struct lt_worker *w = b->call->worker;
	const struct sockaddr_in *from = lt_conn_address(b->call->conn);
	struct lt_relay m = {
	    .topic = b->topic,
	    .flag = b->v.flag,
	    .sys_flag = b->v.sys_flag & SYS_RELAYED,
	    .reconsume = b->v.reconsume + 1,
	    .born_ms = b->v.born_ms,
	    .level = LEAT_LOGGED,
	    .body = b->v.body,
	    .body_bytes = b->v.body_bytes,
	};
	int status = lt_send_queue(w, b->topic, b->is_dead ? 0 : -1, &m.queue);

	if (status == LEAT_OK)
		status = make_text(b, &m);
	if (status == LEAT_OK && !b->is_dead) {
		m.topic = LT_NAME_SCHEDULE_TOPIC;
		status = lt_send_queue(w, m.topic, b->level - 1, &m.queue);
	}
	if ((b->v.sys_flag & BORN_V6) == 0) {
		m.born_ip = lt_bytes_get32(b->v.base + 48);
		m.born_port = lt_bytes_get32(b->v.base + 52);
	}
	if (m.born_ip == 0) {
		m.born_ip = ntohl(from->sin_addr.s_addr);
		m.born_port = ntohs(from->sin_port);
	}
	return status == LEAT_OK ? lt_send_back(b->call, &m) : status;
}

/* In the clerk's thread: result[0] is 1 for the dead letters. */
static int
make_topic(struct leat *leat, struct lt_call *call)
{
	struct lt_remoting_text group =
	    lt_remoting_find(call->request, "group");

	return lt_send_make_topic(leat,
	    call->result[0] != 0 ? "%DLQ%" : "%RETRY%", group.p, group.bytes,
	    (uint32_t)call->result[1]);
}

static void
topic_made(struct lt_call *call, int status)
{
	call->tries++;
	if (call->conn != NULL && status == LEAT_OK)
		lt_back_on_message(call);
	else if (call->conn != NULL)
		lt_back_answer(call->worker, &call->ticket, status);
	lt_call_free(call);
}

void
lt_back_on_message(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct back b = {.call = call};
	int status = read_request(&b);

	if (status != LEAT_OK) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "group, offset and delayLevel are needed, and the group's "
		    "name must be one");
		return;
	}
	if (b.retry_queues <= 0) { /* an administrator wants no retries */
		lt_back_answer(w, &call->ticket, LEAT_OK);
		return;
	}
	status = read_record(&b);
	if (status != LEAT_OK) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "look message by offset failed, %lld", (long long)b.offset);
		return;
	}
	/* A place in the log may be anybody's message. */
	if (!lt_guard_may_topic(call, LT_NEED_subscribe,
		(struct lt_remoting_text){b.v.topic, b.v.topic_bytes})) {
		lt_guard_refuse(call);
		return;
	}
	choose_topic(&b);
	status = send_copy(&b);
	if (status == LEAT_E_NOTFOUND && call->tries == 0) {
		call->result[0] = b.is_dead;
		call->result[1] = b.is_dead ? 1 : b.retry_queues;
		status =
		    lt_clerk_submit(w->inbox, call, make_topic, topic_made);
	} else {
		status = lt_send_later(call, status);
	}
	if (status != LEAT_OK)
		lt_back_answer(w, &call->ticket, status);
}
