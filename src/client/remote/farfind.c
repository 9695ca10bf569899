/*
 * farfind.c - single messages, and what a broker says of itself. Ids are either
 * those that a client gave, which a topic's index knows, or a broker's own,
 * which say where in its log the message is.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "client/remote/farjson.h"
#include "proto/offsetid.h"

#define FIND_MAX 64

/* --- handing over ------------------------------------------------------------
 */

/* Each record of a reply's body; only >= 0: that queue offset alone. */
static int
hand_over(struct lt_far *far, const char *of, const struct lt_farreply *reply,
    int64_t only, int (*each)(const struct leat_delivery *, void *), void *user)
{
	char topic[LT_NAME_FIELD], text[2 * LT_PROPERTIES_MAX];
	struct lt_fararena *arena = NULL;
	struct lt_record_texts texts;
	struct lt_record_view v;
	struct leat_delivery d;
	struct lt_fartopic *t;
	size_t at = 0;
	uint32_t i;
	int status = LEAT_OK, seen = 0;

	while (status == LEAT_OK && at < reply->bytes) {
		if (lt_record_parse(reply->body + at, reply->bytes - at, &v) !=
		    LEAT_OK)
			return LEAT_E_CORRUPT;
		at += v.bytes;
		lt_record_texts(&v, &texts);
		if ((only >= 0 && v.queue_offset != only) ||
		    v.topic_bytes >= sizeof(topic) ||
		    lt_delivery_text_bytes(&texts) > sizeof(text))
			continue;
		memcpy(topic, v.topic, v.topic_bytes);
		topic[v.topic_bytes] = '\0';
		lt_delivery_fill(&d, &v, &texts, topic, text);
		d.attempt = v.reconsume + 1;
		t = of == NULL ? NULL : lt_farroute_topic(far, of);
		for (i = 0; t != NULL && i < t->queue_count; i++)
			if (t->queues[i]->id == v.queue) {
				d.queue = i;
				break;
			}
		status = lt_farsource_unpack(&arena, &v, &d);
		seen = 1;
		if (status == LEAT_OK)
			status = each(&d, user);
		lt_far_arena_empty(&arena);
	}
	lt_mem_free(arena);
	return status == LEAT_OK && !seen ? LEAT_E_NOTFOUND : status;
}

/* --- by key and id
 * ------------------------------------------------------------- */

static int
query_at(struct lt_far *far, struct lt_farconn *conn, const char *topic,
    const char *key, size_t max, int is_id, uint64_t deadline,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_farfields f = {0};
	struct lt_farreply reply;
	int status;

	lt_farask_number(&f, "beginTimestamp", 0);
	lt_farask_number(&f, "endTimestamp", INT64_MAX);
	lt_farask_text(&f, "key", key);
	lt_farask_number(&f, "maxNum", (int64_t)max);
	lt_farask_text(&f, "topic", topic);
	lt_farask_text(&f, "_UNIQUE_KEY_QUERY", is_id ? "true" : "false");
	status = lt_farask_call(conn, 12, f.list, NULL, 0, deadline, &reply);
	if (status == LEAT_OK)
		status = hand_over(far, topic, &reply, -1, each, user);
	lt_farask_drop(&reply);
	return status;
}

/* At every broker that has the topic. */
static int
query(struct lt_far *far, const char *topic, const char *key, size_t max,
    int is_id, uint64_t deadline,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_fartopic *t = lt_farroute_topic(far, topic);
	int status = t == NULL ? LEAT_E_NOMEM : lt_farroute_wait(t, deadline);
	struct lt_farconn *last = NULL;
	int seen = 0;
	uint32_t i;

	for (i = 0; status == LEAT_OK && i < t->queue_count; i++) {
		if (t->queues[i]->conn == last)
			continue;
		last = t->queues[i]->conn;
		status = query_at(
		    far, last, topic, key, max, is_id, deadline, each, user);
		seen |= status == LEAT_OK;
		if (status == LEAT_E_NOTFOUND)
			status = LEAT_OK;
	}
	return status == LEAT_OK && !seen ? LEAT_E_NOTFOUND : status;
}

int
lt_farfind_key(struct leat *leat, const char *topic, const char *key,
    size_t max, int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_far *far = lt_far_of(leat);
	int status;

	if (far == NULL || topic == NULL || key == NULL || each == NULL)
		return LEAT_E_INVALID;
	if (max == 0 || max > FIND_MAX)
		max = FIND_MAX;
	status = query(far, topic, key, max, 0, lt_wait_deadline(LT_REQUEST_MS),
	    each, user);
	return status > 0 ? status
			  : lt_far_fail(far, status, "message", key, NULL);
}

/* The broker's own id: where in whose log. */
static int
view(struct lt_far *far, const char *id, uint64_t deadline,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct lt_farfields f = {0};
	struct lt_farreply reply;
	struct lt_offsetid at;
	char addr[64];
	int status, n, i;

	if (lt_offsetid_decode(id, strlen(id), &at) != LEAT_OK)
		return LEAT_E_NOTFOUND;
	snprintf(addr, sizeof(addr), "%u.%u.%u.%u:%u", at.ip >> 24,
	    at.ip >> 16 & 255, at.ip >> 8 & 255, at.ip & 255, at.port);
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	/* Only a broker of this cluster is asked, whatever an id says. */
	for (i = 0; i < n && strcmp(brokers[i].conn->addr, addr) != 0;)
		i++;
	if (i == n)
		return LEAT_E_NOTFOUND;
	lt_farask_number(&f, "offset", (int64_t)at.log_offset);
	status = lt_farask_call(
	    brokers[i].conn, 33, f.list, NULL, 0, deadline, &reply);
	if (status == LEAT_OK)
		status = hand_over(far, NULL, &reply, -1, each, user);
	else if (reply.code == 1)
		status = LEAT_E_NOTFOUND;
	lt_farask_drop(&reply);
	return status;
}

struct search {
	struct lt_far *far;
	char (*names)[LT_NAME_FIELD];
	size_t count, capacity;
};

static int
note_topic(const struct leat_topic *t, void *user)
{
	struct search *s = user;

	if (t->system)
		return 0;
	if (lt_mem_grow((void **)&s->names, &s->capacity, s->count,
		sizeof(*s->names)) != LEAT_OK)
		return LEAT_E_NOMEM;
	memcpy(s->names[s->count++], t->name, LT_NAME_FIELD);
	return 0;
}

/* A client's id is known by topic: look in each. */
static int
search(struct lt_far *far, const char *id, uint64_t deadline,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct search s = {.far = far};
	int status = lt_fartopic_list(far->leat, note_topic, &s);
	size_t i;

	if (status == LEAT_OK)
		status = LEAT_E_NOTFOUND;
	for (i = 0; i < s.count && status == LEAT_E_NOTFOUND; i++)
		status = query(far, s.names[i], id, 1, 1, deadline, each, user);
	lt_mem_free(s.names);
	return status;
}

int
lt_farfind_id(struct leat *leat, const char *topic, const char *id,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	int status;

	if (far == NULL || id == NULL || each == NULL)
		return LEAT_E_INVALID;
	status = view(far, id, deadline, each, user);
	if (status == LEAT_E_NOTFOUND)
		status = topic != NULL
			     ? query(far, topic, id, 1, 1, deadline, each, user)
			     : search(far, id, deadline, each, user);
	return status > 0 ? status
			  : lt_far_fail(far, status, "message", id, NULL);
}

int
lt_farfind_offset(struct leat *leat, const char *topic, uint32_t queue,
    int64_t offset, int (*each)(const struct leat_delivery *, void *),
    void *user)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farfields f = {0};
	struct lt_farreply reply = {0};
	struct lt_farqueue *q;
	struct lt_fartopic *t;
	int status = LEAT_E_INVALID;

	if (far == NULL || topic == NULL || each == NULL || offset < 0)
		return LEAT_E_INVALID;
	t = lt_farroute_topic(far, topic);
	status = t == NULL ? LEAT_E_NAME : lt_farroute_wait(t, deadline);
	if (status == LEAT_OK && queue >= t->queue_count)
		status = LEAT_E_QUEUE;
	if (status != LEAT_OK)
		return lt_far_fail(
		    far, status, "message of topic", topic, NULL);
	q = t->queues[queue];
	lt_farask_number(&f, "commitOffset", 0);
	lt_farask_text(&f, "consumerGroup", "TOOLS_CONSUMER");
	lt_farask_text(&f, "expressionType", "TAG");
	lt_farask_number(&f, "maxMsgNums", 1);
	lt_farask_number(&f, "queueId", q->id);
	lt_farask_number(&f, "queueOffset", offset);
	lt_farask_number(&f, "subVersion", 0);
	lt_farask_text(&f, "subscription", "*");
	lt_farask_number(&f, "suspendTimeoutMillis", 0);
	lt_farask_number(&f, "sysFlag", 4);
	lt_farask_text(&f, "topic", topic);
	status = lt_farask_call(q->conn, 11, f.list, NULL, 0, deadline, &reply);
	if (reply.code >= 19 && reply.code <= 21)
		status = LEAT_E_NOTFOUND;
	if (status == LEAT_OK)
		status = hand_over(far, topic, &reply, offset, each, user);
	lt_farask_drop(&reply);
	return status > 0
		   ? status
		   : lt_far_fail(far, status, "message of topic", topic, NULL);
}

/* --- status -------------------------------------------------------------- */

static void
read_figure(struct leat_status_report *out, const char *key, const char *text)
{
	struct leat_counter *c;
	char *stop;
	long long n = strtoll(text, &stop, 10);

	if (strcmp(key, "brokerVersionDesc") == 0)
		snprintf(out->version, sizeof(out->version), "%.15s",
		    strncmp(text, "V", 1) == 0 ? text + 1 : text);
	if (text[0] == '\0' || *stop != '\0' || n < 0)
		return;
	if (strcmp(key, "commitLogMinOffset") == 0)
		out->log_min_offset = n;
	else if (strcmp(key, "commitLogMaxOffset") == 0)
		out->log_max_offset = n;
	if (out->counter_count == LT_COUNT(out->counters))
		return;
	c = &out->counters[out->counter_count++];
	snprintf(c->name, sizeof(c->name), "%.47s", key);
	c->value = (uint64_t)n;
}

static int
count_topic(const struct leat_topic *t, void *user)
{
	(void)t;
	++*(uint64_t *)user;
	return 0;
}

int
lt_farfind_status(struct leat *leat, struct leat_status_report *out)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct lt_farreply reply;
	struct lt_farjson j;
	char key[64], text[256];
	int status, n;

	if (far == NULL || out == NULL)
		return LEAT_E_INVALID;
	memset(out, 0, sizeof(*out));
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	snprintf(out->broker, sizeof(out->broker), "%.40s%s", brokers[0].name,
	    n > 1 ? " and others" : "");
	status = lt_farask_call(
	    brokers[0].conn, 28, NULL, NULL, 0, deadline, &reply);
	if (status != LEAT_OK)
		return lt_far_fail(far, status, "cannot read status of",
		    brokers[0].name, &reply);
	lt_farjson_init(&j, reply.body, reply.bytes);
	if (!lt_farjson_open(&j, '{'))
		j.bad = 1;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "table") != 0) {
			lt_farjson_skip(&j);
			continue;
		}
		if (!lt_farjson_open(&j, '{'))
			continue;
		while (lt_farjson_key(&j, key, sizeof(key))) {
			lt_farjson_text(&j, text, sizeof(text));
			read_figure(out, key, text);
		}
	}
	lt_farask_drop(&reply);
	if (j.bad)
		return lt_far_fail(far, LEAT_E_CORRUPT, "cannot read status of",
		    brokers[0].name, NULL);
	out->store_bytes =
	    (uint64_t)(out->log_max_offset - out->log_min_offset);
	return lt_fartopic_list(leat, count_topic, &out->topics);
}
