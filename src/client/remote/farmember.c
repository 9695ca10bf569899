/*
 * farmember.c - being there: heartbeats to every broker, and which queues of a
 * group are ours. Every member works that out by itself from the same two
 * lists, members and queues, both in order: each has a run of neighbours, the
 * first ones have one more. Brokers say when the members change; each 20 s it
 * is worked out anew whether they did or not.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/remote/farjson.h"

#define PRODUCER "LEAT_CLIENT"
#define SOON_MS 200
#define LEAVE_MS 1000
#define MEMBERS_MAX 65536u
#define ID_BYTES 256

/* --- heartbeats ------------------------------------------------------------
 */

static void
add_subscription(struct lt_buffer *b, const struct lt_fargroup *g,
    const char *topic, const struct leat_consumer *c)
{
	const char *expr = c != NULL && c->reader->tag_expr != NULL
			       ? c->reader->tag_expr
			       : "*";
	size_t i, n = c == NULL ? 0 : c->tag_count;

	lt_buffer_text(b, "{\"classFilterMode\":false,\"codeSet\":[");
	for (i = 0; i < n; i++)
		lt_buffer_format(b, "%s%d", i == 0 ? "" : ",",
		    (int)(int32_t)c->tags[i].code);
	lt_buffer_text(b, "],\"expressionType\":\"TAG\",\"subString\":");
	lt_buffer_quote(b, expr, strlen(expr));
	lt_buffer_format(
	    b, ",\"subVersion\":%lld,\"tagsSet\":[", (long long)g->sub_version);
	for (i = 0; i < n; i++) {
		lt_buffer_text(b, i == 0 ? "" : ",");
		lt_buffer_quote(b, c->tags[i].text, c->tags[i].bytes);
	}
	lt_buffer_text(b, "],\"topic\":");
	lt_buffer_quote(b, topic, strlen(topic));
	lt_buffer_text(b, "}");
}

static void
add_group(struct lt_buffer *b, const struct lt_fargroup *g)
{
	const struct leat_consumer *c;

	lt_buffer_text(b,
	    "{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\","
	    "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":");
	lt_buffer_quote(b, g->name, strlen(g->name));
	lt_buffer_format(b,
	    ",\"messageModel\":\"%s\",\"subscriptionDataSet\":[",
	    g->grouped ? "CLUSTERING" : "BROADCASTING");
	for (c = g->consumers; c != NULL; c = c->reader->sibling) {
		if (c != g->consumers)
			lt_buffer_text(b, ",");
		add_subscription(b, g, c->topic, c);
	}
	if (g->retry != NULL) {
		lt_buffer_text(b, ",");
		add_subscription(b, g, g->retry->name, NULL);
	}
	lt_buffer_text(b, "],\"unitMode\":false}");
}

static void
make_heartbeat(const struct lt_far *far, struct lt_buffer *b)
{
	const struct lt_fargroup *g;
	const char *comma = "";

	lt_buffer_text(b, "{\"clientID\":");
	lt_buffer_quote(b, far->client_id, strlen(far->client_id));
	lt_buffer_text(b, ",\"consumerDataSet\":[");
	for (g = far->groups; g != NULL; g = g->next) {
		if (g->name[0] == '\0' || g->consumers == NULL)
			continue;
		lt_buffer_text(b, comma);
		add_group(b, g);
		comma = ",";
	}
	lt_buffer_text(b, "],\"heartbeatFingerprint\":0,\"producerDataSet\":[");
	if (far->is_producer)
		lt_buffer_text(b, "{\"groupName\":\"" PRODUCER "\"}");
	lt_buffer_text(b, "],\"withoutSub\":false}");
}

static void
on_beat(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farconn *c = user;
	struct lt_fargroup *g;

	(void)body;
	(void)bytes;
	if (status == LEAT_OK)
		status = lt_farask_status(head->code);
	if (status != LEAT_OK) {
		c->beat_at = lt_clock_mono_ms() + LT_FAR_RETRY_MS;
		if (status != LEAT_E_UNSUPPORTED && status != LEAT_E_DENIED)
			return;
		/* It will not change: who waits to join need not. */
		for (g = c->far->groups; g != NULL; g = g->next)
			g->status = status;
		return;
	}
	if (c->knows_us)
		return;
	c->knows_us = 1;
	for (g = c->far->groups; g != NULL; g = g->next)
		g->rebalance_at = 0;
}

static void
beat(struct lt_farconn *c, uint64_t now)
{
	struct lt_farrequest r;
	struct lt_buffer b;

	if (!c->is_broker || c->fd < 0 || c->is_connecting || now < c->beat_at)
		return;
	c->beat_at = now + LT_FAR_BEAT_MS;
	lt_buffer_init(&b, LT_REMOTING_FRAME_MAX / 2);
	make_heartbeat(c->far, &b);
	if (lt_buffer_status(&b) == LEAT_OK &&
	    lt_farask_begin(&r, c, 34, 0) == LEAT_OK)
		(void)!lt_farask_end(
		    &r, b.p, b.bytes, LT_FAR_RPC_MS, on_beat, c);
	lt_buffer_fini(&b);
}

/* --- which queues are ours ---------------------------------------------------
 */

void
lt_farmember_part(
    uint32_t n, uint32_t m, uint32_t index, uint32_t *from, uint32_t *to)
{
	uint32_t each = n / m, more = n % m;

	if (index < more) {
		*from = index * (each + 1);
		*to = *from + each + 1;
	} else {
		*from = index * each + more;
		*to = *from + each;
	}
	/* Fewer queues than members: the first have one each. */
	if (*from > n)
		*from = n;
	if (*to > n)
		*to = n;
}

static struct lt_farsource *
source_of(const struct lt_fargroup *g, const struct leat_consumer *c,
    const struct lt_farqueue *q)
{
	size_t i;

	for (i = 0; i < g->source_count; i++)
		if (g->sources[i] != NULL && g->sources[i]->consumer == c &&
		    g->sources[i]->queue == q)
			return g->sources[i];
	return NULL;
}

/* Have those of the topic's readable queues that are in [from, to), and no
 * others. only >= 0: that number alone. */
static void
have(struct lt_fargroup *g, struct leat_consumer *c, struct lt_fartopic *t,
    uint32_t from, uint32_t to, int32_t only)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->queue_all; i++) {
		struct lt_farqueue *q = t->queues[i];
		struct lt_farsource *s = source_of(g, c, q);
		int mine = 0;

		if (i < t->queue_count && q->reads) {
			mine = n >= from && n < to &&
			       (only < 0 || q->number == (uint32_t)only);
			n++;
		}
		if (!mine && s != NULL)
			lt_farsource_drop(s);
		else if (mine && s == NULL)
			(void)!lt_farsource_add(g, c, q);
	}
}

static uint32_t
readable(const struct lt_fartopic *t)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->queue_count; i++)
		n += t->queues[i]->reads;
	return n;
}

static uint32_t
version_of(const struct lt_fargroup *g)
{
	uint32_t v = g->retry == NULL ? 0 : g->retry->version;
	const struct leat_consumer *c;

	for (c = g->consumers; c != NULL; c = c->reader->sibling)
		v += c->reader->topic->version;
	return v;
}

/* We are the index-th of m members. */
static void
share_out(struct lt_fargroup *g, uint32_t m, uint32_t index)
{
	struct leat_consumer *c;
	uint32_t from, to;

	for (c = g->consumers; c != NULL; c = c->reader->sibling) {
		struct lt_fartopic *t = c->reader->topic;

		lt_farmember_part(readable(t), m, index, &from, &to);
		have(g, c, t, from, to, c->reader->queue);
	}
	if (g->retry != NULL) {
		lt_farmember_part(readable(g->retry), m, index, &from, &to);
		have(g, NULL, g->retry, from, to, -1);
	}
	g->is_joined = 1;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Ids from the body into list, which has room for MEMBERS_MAX. */
static uint32_t
read_ids(const uint8_t *body, size_t bytes, char **list, int *status)
{
	char key[64], id[ID_BYTES];
	struct lt_farjson j;
	uint32_t n = 0;

	lt_farjson_init(&j, body, bytes);
	if (!lt_farjson_open(&j, '{'))
		j.bad = 1;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "consumerIdList") != 0)
			lt_farjson_skip(&j);
		else if (lt_farjson_open(&j, '['))
			while (n < MEMBERS_MAX && lt_farjson_item(&j)) {
				lt_farjson_text(&j, id, sizeof(id));
				list[n] = lt_mem_strdup(id);
				if (list[n] == NULL) {
					*status = LEAT_E_NOMEM;
					return n;
				}
				n++;
			}
	}
	*status = j.bad ? LEAT_E_CORRUPT : LEAT_OK;
	return n;
}

static void
on_members(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_fargroup *g = user;
	uint32_t n = 0, m = 0, i, index = UINT32_MAX;
	char **ids;

	g->is_asking = 0;
	g->rebalance_at = lt_clock_mono_ms() + SOON_MS;
	if (status != LEAT_OK || head->code != 0)
		return;
	/* One byte of JSON at least for each: no more than the body has. */
	ids = lt_mem_array(MEMBERS_MAX, sizeof(*ids));
	if (ids == NULL)
		return;
	n = read_ids(body, bytes, ids, &status);
	qsort(ids, n, sizeof(*ids), by_text);
	for (i = 0; i < n; i++) {
		if (i > 0 && strcmp(ids[i], ids[i - 1]) == 0)
			continue;
		if (strcmp(ids[i], g->far->client_id) == 0)
			index = m;
		m++;
	}
	/* A broker that does not know us yet: soon it will. */
	if (status == LEAT_OK && index != UINT32_MAX) {
		share_out(g, m, index);
		g->seen_version = version_of(g);
		g->rebalance_at = lt_clock_mono_ms() + LT_FAR_REBALANCE_MS;
	}
	for (i = 0; i < n; i++)
		lt_mem_free(ids[i]);
	lt_mem_free(ids);
}

/* Ask a broker that knows us who the members are. */
static void
ask_members(struct lt_fargroup *g)
{
	struct lt_fartopic *t = g->consumers->reader->topic;
	struct lt_farrequest r;
	uint32_t i;

	for (i = 0; i < t->queue_count; i++) {
		struct lt_farconn *c = t->queues[i]->conn;

		if (lt_farconn_up(c) != LEAT_OK || !c->knows_us ||
		    lt_farask_begin(&r, c, 38, LT_NAME_FIELD) != LEAT_OK)
			continue;
		lt_farask_put(&r, "consumerGroup", g->name);
		if (lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_members, g) ==
		    LEAT_OK) {
			g->is_asking = 1;
			return;
		}
	}
}

/* --- what is due -----------------------------------------------------------
 */

static void
group_due(struct lt_fargroup *g, uint64_t now)
{
	struct leat_consumer *c;
	size_t i;

	if (g->consumers == NULL)
		return;
	for (c = g->consumers; c != NULL; c = c->reader->sibling)
		c->reader->topic->used_at = now;
	if (g->retry != NULL)
		g->retry->used_at = now;
	if (!g->is_asking &&
	    (now >= g->rebalance_at || g->seen_version != version_of(g))) {
		g->rebalance_at = now + SOON_MS;
		if (g->grouped) {
			ask_members(g);
		} else {
			share_out(g, 1, 0);
			g->seen_version = version_of(g);
			g->rebalance_at = now + LT_FAR_REBALANCE_MS;
		}
	}
	for (i = 0; i < g->source_count; i++) {
		if (g->sources[i] == NULL)
			continue;
		if (g->grouped)
			lt_farclaim_due(g->sources[i], now);
		lt_farsource_due(g->sources[i], now);
	}
	if (now < g->commit_at)
		return;
	g->commit_at = now + LT_FAR_COMMIT_MS;
	for (i = 0; i < g->source_count; i++)
		if (g->sources[i] != NULL)
			(void)lt_farsource_commit(g->sources[i], NULL, NULL);
}

void
lt_farmember_due(struct lt_far *far, uint64_t now)
{
	struct lt_farconn *c;
	struct lt_fargroup *g;
	int is_there = far->is_producer;

	for (g = far->groups; g != NULL; g = g->next)
		is_there |= g->name[0] != '\0';
	for (c = far->conns; c != NULL && is_there; c = c->next)
		beat(c, now);
	for (g = far->groups; g != NULL; g = g->next)
		group_due(g, now);
}

void
lt_farmember_event(struct lt_far *far, const char *group)
{
	struct lt_fargroup *g;

	for (g = far->groups; g != NULL; g = g->next)
		if (strcmp(g->name, group) == 0)
			g->rebalance_at = 0;
}

void
lt_farmember_changed(struct lt_far *far, struct lt_fargroup *g)
{
	struct lt_farconn *c;
	struct leat_consumer *one;
	uint32_t i;

	g->sub_version = lt_clock_wall_ms();
	g->rebalance_at = 0;
	g->seen_version--;
	/* Each broker of its topics is to know of it. */
	for (one = g->consumers; one != NULL; one = one->reader->sibling)
		for (i = 0; i < one->reader->topic->queue_count; i++)
			(void)!lt_farconn_up(
			    one->reader->topic->queues[i]->conn);
	if (g->name[0] == '\0')
		return;
	for (c = far->conns; c != NULL; c = c->next) {
		c->beat_at = 0;
		c->knows_us = 0;
	}
}

static void
on_left(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	(void)status;
	(void)head;
	(void)body;
	(void)bytes;
	(*(size_t *)user)--;
}

void
lt_farmember_leave(struct lt_fargroup *g)
{
	struct lt_far *far = g->far;
	uint64_t deadline = lt_wait_deadline(LEAVE_MS);
	struct lt_farrequest r;
	struct lt_farconn *c;
	size_t waiting = 0;

	for (c = far->conns; c != NULL; c = c->next) {
		if (!c->is_broker || c->fd < 0 || c->is_connecting ||
		    lt_farask_begin(&r, c, 35, 2 * (size_t)LT_NAME_FIELD) !=
			LEAT_OK)
			continue;
		lt_farask_put(&r, "clientID", far->client_id);
		lt_farask_put(&r, "consumerGroup", g->name);
		if (lt_farask_end(&r, NULL, 0, LEAVE_MS, on_left, &waiting) ==
		    LEAT_OK)
			waiting++;
	}
	while (waiting > 0 && !lt_wait_expired(deadline))
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	lt_farask_forget(far, &waiting);
}
