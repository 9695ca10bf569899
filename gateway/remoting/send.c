/*
 * send.c - SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE: from a request to
 * records in this worker's lane, and from receipts to the answer.
 *
 * What cannot be logged is refused here, with the code that clients know; what
 * the store refuses is answered from its receipt. An answer goes out when each
 * message of the request has its receipt, which is when its level is reached.
 *
 * A message with a delay level goes to the schedule topic, with the place where
 * it belongs. What a consumer sends to its own retry topic goes to the group's
 * dead letters instead if it was consumed too often, or if the group consumes
 * in order (it would wait for ever otherwise).
 *
 * And if the gateway dies before the answer? The client sends again: twice in
 * the log, as with any broker that speaks this protocol; libleat behind a
 * channel asks first what became of the first attempt (sessions.c).
 */
#include "config.h"
#include "remoting/worker.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/orderlocks.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/name.h"
#include "proto/offsetid.h"
#include "proto/properties.h"
#include "proto/sendbatch.h"
#include "remoting/builtins.h"
#include "remoting/groups.h"
#include "remoting/msgtext.h"

#define ANSWER_HEADER 1024
#define BATCH_MAX 4096 /* messages of one request */
#define SEND_BACK 36
#define UNIQ_MAX 64
#define FULL_MS 100 /* longest wait for room in the lane */
#define OPEN_MS 50 /* ... for leat-queue to open a topic, in the worker */
#define AWAY_MS 3000 /* ... in the clerk, for leat-queue to be there */

/* Fields of a request by number, under both names. */
enum field {
	TOPIC,
	DEFAULT_TOPIC,
	DEFAULT_QUEUES,
	QUEUE,
	SYS_FLAG,
	BORN_MS,
	FLAG,
	PROPERTIES,
	RECONSUME,
	RECONSUME_MAX,
	BATCH,
	FIELDS
};
static const char *const names[2][FIELDS] = {
    {"topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag",
	"bornTimestamp", "flag", "properties", "reconsumeTimes",
	"maxReconsumeTimes", "batch"},
    {"b", "c", "d", "e", "f", "g", "h", "i", "j", "l", "m"},
};

/* A request on its way: one for all of its messages. */
struct lt_sending {
	struct lt_sending *next; /* in the free list */
	struct lt_ticket ticket;
	uint32_t count, left; /* messages; without a receipt */
	uint32_t queue;
	int is_back; /* 36: nothing is told but that it is done */
	int status; /* the first that is not OK */
	int64_t queue_offset; /* of the first message */
	uint32_t uniq_bytes;
	char uniq[UNIQ_MAX];
	int64_t *log_offsets; /* of a batch: count of them */
	int64_t log_offset; /* of a single message */
};

/* One request, checked. */
struct send {
	struct lt_call *call;
	char topic[LT_NAME_FIELD];
	size_t topic_bytes;
	int32_t queue, sys_flag, flag, reconsume;
	int64_t born_ms;
	struct lt_remoting_text properties;
	int is_batch;
	int is_retry; /* to a retry topic */
	int is_dead; /* ... but its dead letters get it */
};

/* --- answers ---------------------------------------------------------------
 */

static struct lt_sending *
get_sending(struct lt_worker *w)
{
	struct lt_sending *s = w->free_sendings;

	if (s == NULL)
		return lt_mem_alloc(sizeof *s);
	w->free_sendings = s->next;
	memset(s, 0, sizeof *s);
	return s;
}

static void
put_sending(struct lt_worker *w, struct lt_sending *s)
{
	lt_mem_free(s->log_offsets);
	s->log_offsets = NULL;
	s->next = w->free_sendings;
	w->free_sendings = s;
}

void
lt_send_fini(struct lt_worker *w)
{
	struct lt_sending *s;

	while ((s = w->free_sendings) != NULL) {
		w->free_sendings = s->next;
		lt_mem_free(s);
	}
}

/* The ids of a batch, in order, with commas between. */
static size_t
join_ids(struct lt_worker *w, const struct lt_sending *s, char *out)
{
	struct lt_offsetid id = {
	    .ip = w->g->store_ip, .port = w->g->store_port};
	char *at = out;

	for (uint32_t i = 0; i < s->count; i++) {
		if (i > 0)
			*at++ = ',';
		id.log_offset = (uint64_t)(s->count > 1 ? s->log_offsets[i]
							: s->log_offset);
		lt_offsetid_encode(at, &id);
		at += LT_OFFSETID_CHARS;
	}
	return (size_t)(at - out);
}

static void
refuse(struct lt_worker *w, const struct lt_ticket *t, int status)
{
	switch (status) {
	case LEAT_E_NOSPACE:
		lt_answer_status(w, t, LT_CODE_SERVICE_NOT_AVAILABLE,
		    "the broker's disk is full: consume goes on, sending again "
		    "when there is space");
		break;
	case LEAT_E_TOOBIG:
		lt_answer_status(w, t, LT_CODE_MESSAGE_ILLEGAL,
		    "the message is too large: at most %u bytes of body",
		    w->g->max_body_bytes);
		break;
	case LEAT_E_NOTFOUND:
		lt_answer_status(w, t, LT_CODE_TOPIC_NOT_EXIST,
		    "the topic does not exist: make it, or allow automatic "
		    "creation");
		break;
	case LEAT_E_PERM:
	case LEAT_E_DENIED:
		lt_answer_status(w, t, LT_CODE_NO_PERMISSION,
		    "sending to this topic is not allowed");
		break;
	case LEAT_E_QUEUE:
		lt_answer_status(w, t, LT_CODE_INVALID_PARAMETER,
		    "the topic has no such queue");
		break;
	case LEAT_E_INVALID:
	case LEAT_E_NAME:
		lt_answer_status(w, t, LT_CODE_MESSAGE_ILLEGAL,
		    "the message's properties are malformed or too long");
		break;
	case LEAT_E_UNSUPPORTED:
		lt_answer_status(w, t, LT_CODE_MESSAGE_ILLEGAL,
		    "only single messages may wait, and for a delay level: "
		    "no time can be named");
		break;
	case LEAT_E_AGAIN:
	case LEAT_E_TIMEOUT:
	case LEAT_E_UNREACHABLE:
	case LEAT_E_BUSY:
		lt_answer_status(w, t, LT_CODE_SYSTEM_BUSY,
		    "[REJECTREQUEST] the broker is busy, send again");
		break;
	default:
		lt_answer_status(
		    w, t, LT_CODE_SYSTEM_ERROR, "%s", leat_status_text(status));
	}
}

static void
answer(struct lt_worker *w, const struct lt_sending *s)
{
	size_t ids_bytes = s->count * (LT_OFFSETID_CHARS + 1);
	char single[LT_OFFSETID_CHARS + 1], *ids = single;
	struct lt_answer a;

	if (s->is_back) {
		lt_back_answer(w, &s->ticket, s->status);
		return;
	}
	if (s->status != LEAT_OK) {
		refuse(w, &s->ticket, s->status);
		return;
	}
	if (s->count > 1 && (ids = lt_mem_alloc(ids_bytes)) == NULL) {
		refuse(w, &s->ticket, LEAT_E_NOMEM); /* stored, not told */
		return;
	}
	if (lt_answer_begin(w, &s->ticket, LT_CODE_SUCCESS,
		ANSWER_HEADER + ids_bytes, 0, &a)) {
		lt_remoting_put(&a.e, "msgId", ids, join_ids(w, s, ids));
		lt_remoting_put_i64(&a.e, "queueId", s->queue);
		lt_remoting_put_i64(&a.e, "queueOffset", s->queue_offset);
		if (s->uniq_bytes > 0)
			lt_remoting_put(
			    &a.e, "transactionId", s->uniq, s->uniq_bytes);
		lt_remoting_put(&a.e, "MSG_REGION", "DefaultRegion", 13);
		lt_remoting_put(&a.e, "TRACE_ON", "true", 4);
		(void)lt_answer_body(&a, NULL, 0);
		lt_answer_end(&a);
	}
	if (ids != single)
		lt_mem_free(ids);
}

void
lt_send_collect(struct lt_worker *w)
{
	struct leat_receipt r[256];
	int n;

	while (w->sending > 0 &&
	       (n = leat_completions(w->leat, r, LT_COUNT(r), 0)) > 0)
		for (int i = 0; i < n; i++) {
			struct lt_sending *s = r[i].user;
			uint32_t at = s->count - s->left--;

			w->sending--;
			if (r[i].log_offset >= (int64_t)w->logged_end)
				w->logged_end = (uint64_t)r[i].log_offset + 1;
			if (r[i].status != LEAT_OK && s->status == LEAT_OK)
				s->status = r[i].status;
			if (at == 0)
				s->queue_offset = r[i].queue_offset;
			if (s->count == 1 && s->uniq_bytes == 0) {
				s->uniq_bytes = LEAT_ID_CHARS;
				memcpy(s->uniq, r[i].id, LEAT_ID_CHARS);
			}
			if (s->count > 1)
				s->log_offsets[at] = r[i].log_offset;
			else
				s->log_offset = r[i].log_offset;
			if (s->left > 0)
				continue;
			answer(w, s);
			put_sending(w, s);
		}
	lt_sessions_collected(w);
}

/* --- requests --------------------------------------------------------------
 */

/* Everything that the header says. 0, or it was refused. */
static int
read_header(struct send *s)
{
	const struct lt_remoting *h = s->call->request;
	const char *const *f = names[h->code != 10];
	struct lt_worker *w = s->call->worker;
	struct lt_remoting_text topic = lt_remoting_find(h, f[TOPIC]);

	s->born_ms = 0;
	s->sys_flag = s->flag = s->reconsume = 0;
	s->queue = -1;
	if (lt_remoting_i32(h, f[QUEUE], &s->queue) != LEAT_OK ||
	    lt_remoting_i32(h, f[SYS_FLAG], &s->sys_flag) != LEAT_OK) {
		lt_answer_lacks(s->call, "queueId or sysFlag");
		return -1;
	}
	(void)!lt_remoting_i32(h, f[FLAG], &s->flag);
	(void)!lt_remoting_i32(h, f[RECONSUME], &s->reconsume);
	(void)!lt_remoting_i64(h, f[BORN_MS], &s->born_ms);
	s->properties = lt_remoting_find(h, f[PROPERTIES]);
	s->is_batch = lt_remoting_bool(h, f[BATCH]);
	s->topic_bytes = topic.bytes;
	if (topic.p == NULL || topic.bytes >= sizeof s->topic) {
		lt_answer_status(w, &s->call->ticket, LT_CODE_INVALID_PARAMETER,
		    "a topic's name has 1 to 127 characters");
		return -1;
	}
	memcpy(s->topic, topic.p, topic.bytes);
	s->topic[topic.bytes] = '\0';
	if (lt_name_topic(s->topic) != LEAT_OK) {
		lt_answer_status(w, &s->call->ticket, LT_CODE_INVALID_PARAMETER,
		    "the topic's name may have letters, digits, _, -, %% and | "
		    "only");
		return -1;
	}
	if (lt_name_is_system(s->topic)) {
		refuse(w, &s->call->ticket, LEAT_E_DENIED);
		return -1;
	}
	if ((s->sys_flag & 0xC) != 0) {
		lt_answer_status(w, &s->call->ticket, LT_CODE_NO_PERMISSION,
		    "this broker takes no transactional messages");
		return -1;
	}
	return 0;
}

/* A message that comes back: is that over? Its topic is the other then. */
static void
find_dead(struct send *s)
{
	const struct lt_gateway *g = s->call->worker->g;
	const struct lt_remoting *h = s->call->request;
	struct lt_remoting_text group = {
	    s->topic + 7, (uint32_t)(s->topic_bytes - 7)};
	struct lt_groups_config config;
	int32_t max;

	s->is_retry = 1;
	if (!lt_groups_get(g->groups, group, &config))
		config.retry_max = LT_GROUPTEXT_RETRY_MAX;
	max = config.retry_max;
	(void)!lt_remoting_i32(h, names[h->code != 10][RECONSUME_MAX], &max);
	if (s->reconsume <= max &&
	    !lt_orderlocks_any(g->hub, group, lt_clock_mono_ms()))
		return;
	s->is_dead = 1;
	memmove(s->topic + 5, s->topic + 7, s->topic_bytes - 7 + 1);
	memcpy(s->topic, "%DLQ%", 5);
	s->topic_bytes -= 2;
	s->queue = 0;
}

static inline int
is_named(const struct lt_record_property *p, const char *name)
{
	return p->name_bytes == strlen(name) &&
	       memcmp(p->name, name, p->name_bytes) == 0;
}

/* What a message's cleaned properties mean for us. */
static void
heed(struct lt_relay *m, struct lt_sending *sending)
{
	struct lt_record_property p;
	size_t cursor = 0;

	while (lt_properties_next(m->text, m->text_bytes, &cursor, &p) ==
	       LEAT_OK) {
		if (is_named(&p, "WAIT") && p.value_bytes == 5 &&
		    memcmp(p.value, "false", 5) == 0)
			m->level = LEAT_LOGGED;
		if (!is_named(&p, "UNIQ_KEY"))
			continue;
		m->has_id = 1;
		if (sending->uniq_bytes == 0 &&
		    p.value_bytes <= sizeof sending->uniq) {
			memcpy(sending->uniq, p.value, p.value_bytes);
			sending->uniq_bytes = (uint32_t)p.value_bytes;
		}
	}
}

/* --- leat-queue is away ----------------------------------------------------
 */

int
lt_send_queue(
    struct lt_worker *w, const char *topic, int32_t wanted, uint32_t *out)
{
	int status = lt_relay_queue(
	    w->leat, topic, wanted, w->is_queue_away ? 0 : OPEN_MS, out);

	if (LT_UNLIKELY(
		status == LEAT_E_TIMEOUT || status == LEAT_E_UNREACHABLE))
		w->is_queue_away = 1;
	return status;
}

/* Clerk. */
static int
await_queue(struct leat *leat, struct lt_call *call)
{
	(void)call;
	return leat_ping(leat, AWAY_MS);
}

static void
queue_back(struct lt_call *call, int status)
{
	call->waits++;
	call->worker->is_queue_away = status != LEAT_OK;
	if (call->conn != NULL && status != LEAT_OK)
		lt_answer_error(call->worker, &call->ticket, status);
	else if (call->conn != NULL && call->request->code == SEND_BACK)
		lt_back_on_message(call);
	else if (call->conn != NULL)
		lt_send_on_message(call);
	lt_call_free(call);
}

int
lt_send_later(struct lt_call *call, int status)
{
	struct lt_worker *w = call->worker;

	if (!w->is_queue_away || call->waits > 0 ||
	    (status != LEAT_E_TIMEOUT && status != LEAT_E_UNREACHABLE))
		return status;
	return lt_clerk_submit(w->inbox, call, await_queue, queue_back);
}

/* --- messages --------------------------------------------------------------
 */

/* One message into the lane; its receipt ends at sending. */
static int
submit(
    struct lt_worker *w, const struct lt_relay *m, struct lt_sending *sending)
{
	int status = lt_relay_submit(w->leat, m, 0, sending);

	if (LT_UNLIKELY(status == LEAT_E_AGAIN) && !w->is_stuck) {
		/* The lane is full. The store empties it in microseconds; if
		 * not, the others of this round are not let wait as well. */
		lt_relay_announce(w->leat);
		status = lt_relay_submit(
		    w->leat, m, lt_clock_mono_ms() + FULL_MS, sending);
		w->is_stuck = status == LEAT_E_AGAIN;
	}
	if (status == LEAT_OK) {
		w->sending++;
		w->submitted++;
	}
	return status;
}

/* What is to be stored, and where: props as they came. */
static int
place(
    struct send *s, struct lt_relay *m, const char *props, uint32_t props_bytes)
{
	struct lt_worker *w = s->call->worker;
	struct lt_msgtext text;
	struct lt_msgtext_asks asks = {0};
	int status =
	    s->is_dead ? LEAT_OK : lt_msgtext_read(props, props_bytes, &asks);
	uint32_t level = asks.level;

	if (status == LEAT_OK && level > 0 && s->is_batch)
		status = LEAT_E_UNSUPPORTED;
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	lt_msgtext_begin(&text, w->text, sizeof w->text, props, props_bytes,
	    (level > 0	     ? LT_MSGTEXT_DELAY | LT_MSGTEXT_PLACE
		: s->is_dead ? LT_MSGTEXT_DELAY
			     : 0u) |
		(asks.is_request ? LT_MSGTEXT_CLUSTER : 0u));
	if (LT_UNLIKELY(s->is_dead))
		lt_msgtext_number(&text, "DELAY", 0);
	/* Who answers it needs the name of the topic for answers. */
	if (LT_UNLIKELY(asks.is_request))
		lt_msgtext_add(&text, "CLUSTER", w->g->cluster_name,
		    strlen(w->g->cluster_name));
	if (LT_UNLIKELY(level > 0)) {
		lt_msgtext_delay(&text, level, m->topic, m->queue);
		m->topic = LT_NAME_SCHEDULE_TOPIC;
		status =
		    lt_send_queue(w, m->topic, (int32_t)level - 1, &m->queue);
		if (status != LEAT_OK)
			return status;
	}
	m->text = w->text;
	m->text_bytes = text.bytes;
	return lt_msgtext_end(&text);
}

/* One message into the lane. props: not yet cleaned. */
static int
put(struct send *s, struct lt_sending *sending, const char *props,
    uint32_t props_bytes, const uint8_t *body, uint32_t body_bytes,
    int32_t flag)
{
	const struct sockaddr_in *from = lt_conn_address(s->call->conn);
	struct lt_relay m = {
	    .topic = s->topic,
	    .queue = sending->queue,
	    .flag = flag,
	    .sys_flag = (uint32_t)s->sys_flag & 0x703,
	    .reconsume = (uint32_t)s->reconsume,
	    .born_ms = s->born_ms,
	    .born_ip = ntohl(from->sin_addr.s_addr),
	    .born_port = ntohs(from->sin_port),
	    .body = body,
	    .body_bytes = body_bytes,
	};
	int status = place(s, &m, props, props_bytes);

	if (status != LEAT_OK)
		return status;
	heed(&m, sending);
	return submit(s->call->worker, &m, sending);
}

static int
put_batch(struct send *s, struct lt_sending *sending)
{
	struct lt_sendbatch_message m;
	size_t cursor = 0;
	uint32_t count = 0;
	int rc;

	while ((rc = lt_sendbatch_next(s->call->body, s->call->body_bytes,
		    &cursor, &m)) == LEAT_OK)
		count++;
	if (rc != LEAT_E_END || count == 0 || count > BATCH_MAX)
		return LEAT_E_CORRUPT;
	sending->count = count;
	if (count > 1) {
		sending->log_offsets = lt_mem_array(count, sizeof(int64_t));
		if (sending->log_offsets == NULL)
			return LEAT_E_NOMEM;
	}
	for (cursor = 0, rc = LEAT_OK; rc == LEAT_OK && sending->left < count;
	     sending->left += rc == LEAT_OK) {
		LT_ASSERT(lt_sendbatch_next(s->call->body, s->call->body_bytes,
			      &cursor, &m) == LEAT_OK);
		rc = put(s, sending, m.props, m.props_bytes, m.body,
		    m.body_bytes, m.flag);
	}
	return rc;
}

/* The dead letters of the group to whose retry topic this goes. */
static int
make_dead(struct leat *leat, struct lt_call *call)
{
	const char *const *f = names[call->request->code != 10];
	struct lt_remoting_text name =
	    lt_remoting_find(call->request, f[TOPIC]);

	return lt_send_make_topic(leat, "%DLQ%", name.p + 7, name.bytes - 7, 1);
}

int
lt_send_make_topic(struct leat *leat, const char *prefix, const char *group,
    size_t bytes, uint32_t queues)
{
	struct leat_topic t = {.perm = LEAT_PERM_BOTH,
	    .write_queues = queues,
	    .read_queues = queues};
	size_t n = strlen(prefix);
	int status;

	if (n + bytes >= sizeof t.name)
		return LEAT_E_NAME;
	memcpy(t.name, prefix, n);
	memcpy(t.name + n, group, bytes);
	status = leat_topic_create(leat, &t);
	return status == LEAT_E_EXISTS ? LEAT_OK : status;
}

/* A topic made by sending to it, as the default topic allows. */
static int
make_topic(struct leat *leat, struct lt_call *call)
{
	const char *const *f = names[call->request->code != 10];
	struct lt_remoting_text name =
	    lt_remoting_find(call->request, f[TOPIC]);
	struct leat_topic t = {.perm = LEAT_PERM_BOTH};
	char from[LT_NAME_FIELD];
	struct leat_topic model;
	uint32_t most = call->worker->g->default_queues;
	int32_t queues = 0;
	int status;

	if (lt_call_name(call->request, f[DEFAULT_TOPIC], from) == LEAT_OK &&
	    lt_builtins_find(call->worker->g, from, &model))
		most = model.write_queues;

	(void)!lt_remoting_i32(call->request, f[DEFAULT_QUEUES], &queues);
	memcpy(t.name, name.p, name.bytes);
	t.write_queues =
	    queues > 0 && (uint32_t)queues < most ? (uint32_t)queues : most;
	if (strncmp(t.name, "%RETRY%", 7) == 0)
		t.write_queues = 1;
	t.read_queues = t.write_queues;
	status = leat_topic_create(leat, &t);
	return status == LEAT_E_EXISTS ? LEAT_OK : status;
}

static void
topic_made(struct lt_call *call, int status)
{
	call->tries++;
	if (status == LEAT_OK && call->conn != NULL)
		lt_send_on_message(call);
	else if (call->conn != NULL)
		refuse(call->worker, &call->ticket, status);
	lt_call_free(call);
}

static int
may_create(const struct send *s)
{
	const struct lt_remoting *h = s->call->request;
	char from[LT_NAME_FIELD];
	struct leat_topic model;

	if (s->call->tries > 0 || s->is_retry)
		return s->call->tries == 0;
	return s->call->worker->g->auto_create &&
	       lt_call_name(h, names[h->code != 10][DEFAULT_TOPIC], from) ==
		   LEAT_OK &&
	       lt_builtins_find(s->call->worker->g, from, &model) &&
	       (model.perm & LT_BUILTINS_INHERIT) != 0;
}

int
lt_send_back(struct lt_call *call, const struct lt_relay *m)
{
	struct lt_worker *w = call->worker;
	struct lt_sending *sending = get_sending(w);
	int status = LEAT_E_BUSY;

	if (sending == NULL)
		return status;
	sending->ticket = call->ticket;
	sending->count = sending->left = 1;
	sending->is_back = 1;
	status = submit(w, m, sending);
	if (status == LEAT_OK)
		lt_ticket_owe(w, &sending->ticket);
	else
		put_sending(w, sending);
	return status;
}

void
lt_send_on_message(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct send s = {.call = call};
	struct lt_sending *sending;
	int status;

	if (read_header(&s) != 0)
		return;
	if (strncmp(s.topic, "%RETRY%", 7) == 0 && s.topic[7] != '\0')
		find_dead(&s);
	sending = get_sending(w);
	if (sending == NULL) {
		refuse(w, &call->ticket, LEAT_E_BUSY);
		return;
	}
	sending->ticket = call->ticket;
	sending->count = 1;
	status = lt_send_queue(w, s.topic, s.queue, &sending->queue);
	if (status == LEAT_OK && s.is_batch) {
		status = put_batch(&s, sending);
	} else if (status == LEAT_OK) {
		status = put(&s, sending, s.properties.p, s.properties.bytes,
		    call->body, call->body_bytes, s.flag);
		sending->left = status == LEAT_OK;
	}
	if (LT_LIKELY(sending->left > 0))
		lt_ticket_owe(w, &sending->ticket);
	if (LT_LIKELY(status == LEAT_OK))
		return;
	/* Of a batch some may be on their way: their receipts end it. */
	sending->status = status;
	if (sending->left > 0)
		return;
	put_sending(w, sending);
	if (status == LEAT_E_NOTFOUND && may_create(&s))
		status = lt_clerk_submit(w->inbox, call,
		    s.is_dead ? make_dead : make_topic, topic_made);
	else
		status = lt_send_later(call, status);
	if (status != LEAT_OK)
		refuse(w, &call->ticket, status);
}
