/*
 * naming.c - from a request to the tables of names/, and back.
 *
 * This broker is in the tables as any other, but belongs to no connection and
 * is never silent. The registrar offers its topics when they change; one that
 * is asked for before that is looked for.
 */
#include "config.h"
#include "remoting/naming.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/status.h"
#include "remoting/worker.h"

#define ANSWER_HEADER 2048
#define NEVER_MS (INT64_C(1000) * 86400 * 36500)

struct lt_naming {
	pthread_mutex_t lock;
	struct lt_names *names; /* lock */
	struct lt_data_version version; /* lock; of what was offered last */
};

int
lt_naming_create(const struct lt_names_limits *limits, struct lt_naming **out)
{
	struct lt_naming *n = lt_mem_alloc(sizeof *n);
	int status;

	if (n == NULL)
		return LEAT_E_NOMEM;
	status = lt_names_create(limits, &n->names);
	if (status != LEAT_OK) {
		lt_mem_free(n);
		return status;
	}
	pthread_mutex_init(&n->lock, NULL);
	*out = n;
	return LEAT_OK;
}

void
lt_naming_destroy(struct lt_naming *n)
{
	if (n == NULL)
		return;
	lt_names_destroy(n->names);
	pthread_mutex_destroy(&n->lock);
	lt_mem_free(n);
}

/* --- this broker -----------------------------------------------------------
 */

static void
register_us(struct lt_naming *n, const struct lt_registration *r)
{
	const char *why = "";
	int status;

	pthread_mutex_lock(&n->lock);
	status = lt_names_register(n->names, r, 0, lt_clock_mono_ms(), &why);
	if (status == LEAT_OK)
		n->version = r->version;
	pthread_mutex_unlock(&n->lock);
	if (status != LEAT_OK)
		lt_log_warn("not-registered",
		    "namesrv=own status=%s why=\"%s\"",
		    leat_status_name(status), why);
}

void
lt_naming_offer(struct lt_naming *n, const struct lt_registration *r)
{
	struct lt_registration mine = *r;

	if (n == NULL)
		return;
	mine.timeout_ms = NEVER_MS;
	register_us(n, &mine);
}

/* --- requests --------------------------------------------------------------
 */

static void
answer(struct lt_call *call, const struct lt_names_reply *reply)
{
	struct lt_worker *w = call->worker;
	int status = lt_buffer_status(&reply->body);
	struct lt_answer a;

	if (status == LEAT_OK)
		status = lt_buffer_status(&reply->values);
	if (status != LEAT_OK) {
		lt_answer_error(w, &call->ticket, status);
		return;
	}
	/* Escaped, a byte may be six times as long. */
	if (!lt_answer_begin(w, &call->ticket, reply->code,
		ANSWER_HEADER + 6 * reply->values.bytes, reply->body.bytes, &a))
		return;
	lt_names_put(reply, &a.e);
	uint8_t *at = lt_answer_body(&a,
	    reply->remark[0] != '\0' ? reply->remark : NULL, reply->body.bytes);
	if (reply->body.bytes > 0)
		memcpy(at, reply->body.p, reply->body.bytes);
	lt_answer_end(&a);
}

/* Clerk: leat-queue may have a topic that we have not heard of. */
static int
look_for(struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct lt_topic_queues queues = {0};
	struct lt_registration r = {
	    .cluster = lt_call_text(g->cluster_name),
	    .broker = lt_call_text(g->broker_name),
	    .address = lt_call_text(g->address),
	    .timeout_ms = NEVER_MS,
	    .topics = &queues,
	    .topic_count = 1,
	};
	struct leat_topic topic;
	char name[LT_NAME_FIELD];
	int status = lt_call_name(call->request, "topic", name);

	if (status == LEAT_OK)
		status = leat_topic_describe(leat, name, &topic);
	if (status != LEAT_OK || topic.system)
		return LEAT_OK; /* found or not, the tables say so */
	queues = (struct lt_topic_queues){
	    .topic = lt_call_text(topic.name),
	    .read = topic.read_queues,
	    .write = topic.write_queues,
	    .perm = topic.perm & ~(uint32_t)LEAT_PERM_NONE,
	};
	/* With the version that is known: it is added to the others. */
	pthread_mutex_lock(&g->naming->lock);
	r.version = g->naming->version;
	pthread_mutex_unlock(&g->naming->lock);
	register_us(g->naming, &r);
	return LEAT_OK;
}

static void
looked_for(struct lt_call *call, int status)
{
	(void)status;
	call->tries++;
	if (call->conn != NULL)
		lt_naming_on_call(call);
	lt_call_free(call);
}

void
lt_naming_on_call(struct lt_call *call)
{
	struct lt_naming *n = call->worker->g->naming;
	struct lt_names_peer peer = {
	    .conn = call->ticket.conn, .address = lt_conn_peer(call->conn)};
	struct lt_names_reply reply;
	char local[LT_NET_ADDRESS_TEXT];

	if (n == NULL || !lt_names_has(call->request->code)) {
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_NOT_SUPPORTED, "request type %d not supported",
		    call->request->code);
		return;
	}
	/* What it dialled is where it finds us, by a channel and nothing else.
	 */
	if (lt_conn_tag(call->conn) == LT_ROLE_CHANNEL) {
		lt_conn_local(call->conn, local);
		peer.ours = local;
	}
	lt_names_reply_init(&reply);
	pthread_mutex_lock(&n->lock);
	lt_names_call(n->names, call->request, call->body, call->body_bytes,
	    &peer, lt_clock_mono_ms(), &reply);
	pthread_mutex_unlock(&n->lock);
	if (reply.joined || reply.left)
		lt_log_info(reply.joined ? "broker-joined" : "broker-left",
		    "by=%s", peer.address);
	call->body_bytes = 0; /* was read */
	if (reply.code != LT_CODE_TOPIC_NOT_EXIST || call->tries > 0 ||
	    call->worker->g->address == NULL ||
	    lt_clerk_submit(call->worker->inbox, call, look_for, looked_for) !=
		LEAT_OK)
		answer(call, &reply);
	lt_names_reply_fini(&reply);
}

int
lt_naming_is_asked(const struct lt_conn *c, int32_t code)
{
	int tag = lt_conn_tag(c);

	return tag == LT_ROLE_NAMES ||
	       (tag == LT_ROLE_CHANNEL && lt_names_has(code));
}

const struct lt_need *
lt_naming_need(int32_t code)
{
	static const struct lt_need needs[] = {
	    [LT_NAMES_NEED_topic] = {.topic = LT_NEED_any,
		.topic_field = "topic"},
	    [LT_NAMES_NEED_trace] = {.topic = LT_NEED_trace},
	    [LT_NAMES_NEED_manage] = {.topic = LT_NEED_manage},
	};

	return &needs[lt_names_needs(code)];
}

/* One line each of who has gone. */
static void
say(const char *event, uint32_t count, struct lt_buffer *gone)
{
	lt_buffer_add(gone, "", 1);
	if (count > 0 && lt_buffer_status(gone) == LEAT_OK)
		for (char *line = (char *)gone->p, *end;
		     (end = strchr(line, '\n')) != NULL; line = end + 1)
			lt_log_info(
			    event, "broker=\"%.*s\"", (int)(end - line), line);
	lt_buffer_fini(gone);
}

void
lt_naming_closed(struct lt_naming *n, uint64_t conn)
{
	struct lt_buffer gone;
	uint32_t count;

	if (n == NULL)
		return;
	lt_buffer_init(&gone, 1 << 20);
	pthread_mutex_lock(&n->lock);
	count = lt_names_closed(n->names, conn, &gone);
	pthread_mutex_unlock(&n->lock);
	say("broker-closed", count, &gone);
}

void
lt_naming_tick(struct lt_naming *n)
{
	struct lt_buffer gone;
	uint32_t count;

	if (n == NULL)
		return;
	lt_buffer_init(&gone, 1 << 20);
	pthread_mutex_lock(&n->lock);
	count = lt_names_scan(n->names, lt_clock_mono_ms(), &gone);
	pthread_mutex_unlock(&n->lock);
	say("broker-silent", count, &gone);
}
