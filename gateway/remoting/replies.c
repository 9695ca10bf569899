/*
 * replies.c - answers to requests among clients: SEND_REPLY_MESSAGE (324, 325)
 * from who answers, PUSH_REPLY_MESSAGE_TO_CLIENT (326) to who asked, whose id
 * is in the message. The answerer hears what became of it.
 *
 * An answer is not stored: if its asker has gone, nobody wants it any more.
 */
#include "config.h"
#include "remoting/worker.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "proto/properties.h"
#include "remoting/asked.h"

/* Fields of 325, 324 and 326. */
static const struct field {
	const char *brief, *full;
} fields[] = {
    {"a", "producerGroup"},
    {"b", "topic"},
    {"c", "defaultTopic"},
    {"d", "defaultTopicQueueNums"},
    {"e", "queueId"},
    {"f", "sysFlag"},
    {"g", "bornTimestamp"},
    {"h", "flag"},
    {"i", "properties"},
    {"j", "reconsumeTimes"},
    {"k", "unitMode"},
};
#define PROPERTIES 8

static struct lt_remoting_text
find(const struct lt_remoting *h, size_t i)
{
	return lt_remoting_find(
	    h, h->code == 325 ? fields[i].brief : fields[i].full);
}

static struct lt_remoting_text
asker_of(struct lt_remoting_text properties)
{
	static const char name[] = "REPLY_TO_CLIENT";
	struct lt_remoting_text none = {0};
	struct lt_record_property p;
	size_t cursor = 0;

	while (lt_properties_next(
		   properties.p, properties.bytes, &cursor, &p) == LEAT_OK)
		if (p.name_bytes == sizeof name - 1 &&
		    memcmp(p.name, name, p.name_bytes) == 0)
			return (struct lt_remoting_text){
			    p.value, (uint32_t)p.value_bytes};
	return none;
}

/* The message's properties, and when they were pushed; freed by the caller. */
static char *
stamp(struct lt_remoting_text properties, size_t *bytes_out)
{
	int is_open = properties.bytes > 0 &&
		      properties.p[properties.bytes - 1] != '\002';
	size_t room = properties.bytes + 64;
	char *text = lt_mem_alloc(room);

	if (text == NULL)
		return NULL;
	if (properties.bytes > 0)
		memcpy(text, properties.p, properties.bytes);
	*bytes_out =
	    properties.bytes +
	    (size_t)snprintf(text + properties.bytes, room - properties.bytes,
		"%sPUSH_REPLY_TIME\001%lld\002", is_open ? "\002" : "",
		(long long)lt_clock_wall_ms());
	return text;
}

static void
put_fields(struct lt_call *call, struct lt_remoting_encoder *e,
    const char *text, size_t text_bytes)
{
	const struct lt_gateway *g = call->worker->g;
	struct in_addr store = {htonl(g->store_ip)};
	char ip[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN + 8];
	const char *born = lt_conn_peer(call->conn);

	for (size_t i = 0; i < LT_COUNT(fields); i++) {
		struct lt_remoting_text v = find(call->request, i);

		if (i == PROPERTIES)
			lt_remoting_put(e, fields[i].full, text, text_bytes);
		else if (v.p != NULL)
			lt_remoting_put(e, fields[i].full, v.p, v.bytes);
	}
	lt_remoting_put(e, "bornHost", born, strlen(born));
	(void)inet_ntop(AF_INET, &store, ip, sizeof ip);
	snprintf(host, sizeof host, "%s:%u", ip, g->store_port);
	lt_remoting_put(e, "storeHost", host, strlen(host));
	lt_remoting_put_i64(e, "storeTimestamp", lt_clock_wall_ms());
}

/* In the answerer's worker. */
static void
pushed(struct lt_worker *w, const struct lt_asked_reply *reply)
{
	struct lt_answer a;

	if (reply->code != LT_CODE_SUCCESS) {
		lt_answer_status(w, &reply->ticket, LT_CODE_SYSTEM_ERROR,
		    "the answer did not reach its client");
		return;
	}
	if (!lt_answer_begin(w, &reply->ticket, LT_CODE_SUCCESS, 512, 0, &a))
		return;
	lt_remoting_put(&a.e, "msgId", "0", 1);
	lt_remoting_put_i64(&a.e, "queueId", reply->user[0]);
	lt_remoting_put_i64(&a.e, "queueOffset", 0);
	lt_remoting_put(&a.e, "MSG_REGION", "DefaultRegion", 13);
	lt_remoting_put(&a.e, "TRACE_ON", "true", 4);
	(void)lt_answer_body(&a, NULL, 0);
	lt_answer_end(&a);
}

void
lt_replies_on_reply(struct lt_call *call)
{
	static const struct lt_remoting_text any = {0};
	struct lt_remoting_text properties = find(call->request, PROPERTIES);
	struct lt_worker *w = call->worker;
	struct lt_asked_question q;
	int64_t user[2] = {0, 0};
	size_t bytes, room = 1024;
	uint64_t client;
	int32_t queue = 0;
	char *text;

	client = lt_hub_find(w->g->hub, any, asker_of(properties));
	if (client == 0) {
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "push reply message fail, channel of the client not found");
		return;
	}
	(void)!lt_remoting_i32(call->request,
	    call->request->code == 325 ? "e" : "queueId", &queue);
	user[0] = queue < 0 ? 0 : queue;
	text = stamp(properties, &bytes);
	for (size_t i = 0; i < LT_COUNT(fields); i++)
		room += 32 + 6 * (size_t)find(call->request, i).bytes;
	if (text == NULL ||
	    !lt_asked_begin(w, client, 326, room + 64, call->body_bytes, &q)) {
		lt_answer_error(w, &call->ticket, LEAT_E_NOMEM);
	} else {
		put_fields(call, &q.e, text, bytes);
		lt_asked_end(
		    &q, call, call->body, call->body_bytes, pushed, user);
	}
	lt_mem_free(text);
}
