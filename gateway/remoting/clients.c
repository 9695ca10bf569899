/*
 * clients.c - who is there: heartbeats, lists of members, the word to members
 * that their group changed, and questions that are passed on to a client.
 *
 * And if the gateway dies here? Clients connect again and say who they are.
 */
#include "config.h"
#include "remoting/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hub/hub.h"
#include "hub/hubjson.h"
#include "leat/status.h"
#include "proto/name.h"
#include "remoting/adminjson.h"
#include "remoting/asked.h"
#include "remoting/groups.h"
#include "remoting/guard.h"
#include "remoting/post.h"
#include "remoting/sharing.h"

#define EXPIRE_MS 10000
#define EXPIRE_MAX 64

/* --- what changed ----------------------------------------------------------
 */

void
lt_clients_tell(const struct lt_gateway *g, struct lt_hub_changes *changes)
{
	/* A group's name is legal: nothing of it is escaped. */
	uint8_t frame[LT_REMOTING_PREFIX + 1024];
	struct lt_remoting_encoder e;

	for (size_t i = 0; i < changes->count; i++) {
		const char *group = lt_hub_changes_group(changes, i);

		if (changes->items[i].conn == 0) {
			lt_sharing_note(g->sharing, group);
			continue;
		}
		lt_remoting_begin(&e, frame, sizeof frame, LT_REMOTING_JSON, 40,
		    LT_REMOTING_ONEWAY, lt_post_opaque(g->post));
		lt_remoting_put(&e, "consumerGroup", group, strlen(group));
		size_t n = lt_remoting_end(&e, NULL, 0, 0);
		if (n > 0)
			lt_post_bytes(
			    g->post, changes->items[i].conn, frame, n);
	}
	lt_hub_changes_fini(changes);
}

void
lt_clients_closed(struct lt_worker *w, uint64_t conn)
{
	struct lt_hub_changes changes;

	lt_hub_changes_init(&changes);
	lt_hub_closed(w->g->hub, conn, &changes);
	lt_clients_tell(w->g, &changes);
}

void
lt_clients_tick(struct lt_worker *w, uint64_t now_ms)
{
	uint64_t conns[EXPIRE_MAX];
	struct lt_hub_changes changes;
	size_t n;

	if (now_ms - w->expired_ms < EXPIRE_MS)
		return;
	w->expired_ms = now_ms;
	do {
		lt_hub_changes_init(&changes);
		n = lt_hub_expire(
		    w->g->hub, now_ms, conns, EXPIRE_MAX, &changes);
		for (size_t i = 0; i < n; i++)
			lt_post_close(w->g->post, conns[i]);
		lt_clients_tell(w->g, &changes);
	} while (n == EXPIRE_MAX);
}

/* --- heartbeats ------------------------------------------------------------
 */

static void
answer_heartbeat(struct lt_call *call)
{
	int is_change = call->result[0] != 0;
	struct lt_answer a;

	if (!lt_answer_begin(
		call->worker, &call->ticket, LT_CODE_SUCCESS, 512, 0, &a))
		return;
	lt_remoting_put(&a.e, "IS_SUB_CHANGE", is_change ? "true" : "false",
	    is_change ? 4 : 5);
	lt_remoting_put(&a.e, "IS_SUPPORT_HEART_BEAT_V2", "true", 4);
	(void)lt_answer_body(&a, NULL, 0);
	lt_answer_end(&a);
}

/* Each group of consumers has a topic for what comes again. */
static int
make_retry_topics(struct leat *leat, struct lt_call *call)
{
	struct lt_groups *groups = call->worker->g->groups;
	struct lt_heartbeat beat;
	const char *why;
	int status =
	    lt_heartbeat_read(call->body, call->body_bytes, &beat, &why);

	for (uint32_t i = 0; status == LEAT_OK && i < beat.consumer_count;
	     i++) {
		const char *group = beat.consumers[i].group;
		struct leat_topic t = {.read_queues = 1,
		    .write_queues = 1,
		    .perm = LEAT_PERM_BOTH};

		if (!lt_groups_join(groups, group))
			continue;
		snprintf(t.name, sizeof t.name, "%%RETRY%%%s", group);
		status = leat_topic_create(leat, &t);
		if (status == LEAT_E_EXISTS)
			status = LEAT_OK;
		if (status == LEAT_OK)
			lt_groups_retry_seen(groups, group, 1);
	}
	lt_heartbeat_free(&beat);
	return status;
}

/* Without its retry topic a group consumes all the same; the next heartbeat
 * has it made. */
static void
retry_topics_made(struct lt_call *call, int status)
{
	(void)status;
	if (call->conn != NULL)
		answer_heartbeat(call);
	lt_call_free(call);
}

static int
may_join(const struct lt_call *call, const struct lt_heartbeat *beat)
{
	for (uint32_t i = 0; i < beat->consumer_count; i++) {
		const struct lt_heartbeat_consumer *c = &beat->consumers[i];

		if (!lt_guard_may_group(
			call, LT_NEED_subscribe, lt_call_text(c->group)))
			return 0;
		for (uint32_t s = 0; s < c->sub_count; s++)
			if (!lt_guard_may_topic(call, LT_NEED_subscribe,
				lt_call_text(c->subs[s].topic)))
				return 0;
	}
	return 1;
}

void
lt_clients_on_heartbeat(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_hub_peer peer = {
	    .conn = call->ticket.conn,
	    .address = lt_conn_peer(call->conn),
	    .language = call->request->language,
	    .version = call->request->version,
	    .who = &call->who,
	};
	struct lt_hub_changes changes;
	struct lt_heartbeat beat;
	const char *why;
	int status, is_change = 1, has_new = 0;

	status = lt_heartbeat_read(call->body, call->body_bytes, &beat, &why);
	if (status != LEAT_OK) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "the heartbeat makes no sense: %s", why);
		return;
	}
	if (!may_join(call, &beat)) {
		lt_guard_refuse(call);
		lt_heartbeat_free(&beat);
		return;
	}
	lt_hub_changes_init(&changes);
	status = lt_hub_heartbeat(
	    w->g->hub, &beat, &peer, lt_clock_mono_ms(), &changes, &is_change);
	lt_clients_tell(w->g, &changes);
	for (uint32_t i = 0; i < beat.consumer_count; i++)
		has_new |=
		    lt_groups_join(w->g->groups, beat.consumers[i].group);
	lt_heartbeat_free(&beat);
	if (status == LEAT_E_DENIED) {
		lt_guard_refuse(call);
		return;
	}
	if (status != LEAT_OK) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "not all groups could be registered: %s",
		    leat_status_text(status));
		return;
	}
	call->result[0] = is_change;
	if (!has_new || lt_clerk_submit(w->inbox, call, make_retry_topics,
			    retry_topics_made) != LEAT_OK)
		answer_heartbeat(call);
}

void
lt_clients_on_unregister(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_hub_changes changes;

	lt_hub_changes_init(&changes);
	lt_hub_unregister(w->g->hub, call->ticket.conn,
	    lt_remoting_find(call->request, "producerGroup"),
	    lt_remoting_find(call->request, "consumerGroup"), &changes);
	lt_clients_tell(w->g, &changes);
	lt_answer_status(w, &call->ticket, LT_CODE_SUCCESS, NULL);
}

/* 46: filters by tags are all that there is. */
void
lt_clients_on_check(struct lt_call *call)
{
	char type[64];

	if (lt_adminjson_filter_type(
		call->body, call->body_bytes, type, sizeof type) != LEAT_OK)
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_SYSTEM_ERROR, "the body makes no sense");
	else if (type[0] == '\0' || strcmp(type, "TAG") == 0)
		lt_answer_status(
		    call->worker, &call->ticket, LT_CODE_SUCCESS, NULL);
	else
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_SYSTEM_ERROR,
		    "The broker does not support consumer to filter message by "
		    "%s",
		    type);
}

/* --- lists -----------------------------------------------------------------
 */

typedef int lister(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out);

static void
list(struct lt_call *call, const char *field, lister *write, int32_t none)
{
	struct lt_remoting_text group = lt_remoting_find(call->request, field);
	struct lt_worker *w = call->worker;
	struct lt_buffer body;
	int status;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	status =
	    group.bytes == 0 ? LEAT_E_NOTFOUND : write(w->g->hub, group, &body);
	if (status == LEAT_E_NOTFOUND)
		lt_answer_status(w, &call->ticket, none,
		    "the consumer group[%.*s] not online",
		    group.bytes > LT_NAME_FIELD ? LT_NAME_FIELD
						: (int)group.bytes,
		    group.bytes > 0 ? group.p : "");
	else if (status != LEAT_OK)
		lt_answer_error(w, &call->ticket, status);
	else
		lt_answer_buffer(w, &call->ticket, &body);
	lt_buffer_fini(&body);
}

void
lt_clients_on_ids(struct lt_call *call)
{
	list(call, "consumerGroup", lt_hubjson_ids, LT_CODE_SYSTEM_ERROR);
}

void
lt_clients_on_consumers(struct lt_call *call)
{
	list(call, "consumerGroup", lt_hubjson_consumers,
	    LT_CODE_CONSUMER_NOT_ONLINE);
}

void
lt_clients_on_producers(struct lt_call *call)
{
	list(call, "producerGroup", lt_hubjson_producers, LT_CODE_SYSTEM_ERROR);
}

void
lt_clients_on_all_producers(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_buffer body;
	int status;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	status = lt_hubjson_all_producers(
	    w->g->hub, lt_clock_mono_ms(), lt_clock_wall_ms(), &body);
	if (status == LEAT_OK)
		lt_answer_buffer(w, &call->ticket, &body);
	else
		lt_answer_error(w, &call->ticket, status);
	lt_buffer_fini(&body);
}

/* --- passed on -------------------------------------------------------------
 */

/* With its fields as they are; so is the client's answer. */
void
lt_clients_pass(struct lt_call *call, const void *body, size_t body_bytes)
{
	const struct lt_remoting *h = call->request;
	struct lt_worker *w = call->worker;
	struct lt_asked_question q;
	uint64_t client;
	size_t room = 512;

	client = lt_hub_find(w->g->hub, lt_remoting_find(h, "consumerGroup"),
	    lt_remoting_find(h, "clientId"));
	if (client == 0) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "the client is not online");
		return;
	}
	for (uint32_t i = 0; i < h->ext_count; i++)
		room += 16 + 6 * ((size_t)h->ext[i].name.bytes +
				     h->ext[i].value.bytes);
	if (!lt_asked_begin(w, client, h->code, room, body_bytes, &q)) {
		lt_answer_error(w, &call->ticket, LEAT_E_NOMEM);
		return;
	}
	for (uint32_t i = 0; i < h->ext_count; i++)
		lt_remoting_put_ext(&q.e, &h->ext[i]);
	lt_asked_end(&q, call, body, body_bytes, lt_asked_pass_on, NULL);
}

/* 307: what a client says of itself. */
void
lt_clients_on_relayed(struct lt_call *call)
{
	lt_clients_pass(call, call->body, call->body_bytes);
}
