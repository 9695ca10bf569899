/*
 * names_calls.c - the name server's requests: a row per code, a handler each.
 * Handlers find what the request names, call the tables and fill the reply in.
 */
#include "config.h"
#include "names/tables.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "leat/status.h"
#include "names/namesjson.h"

enum { /* response codes */
	DONE = 0,
	SYSTEM_ERROR = 1,
	NO_PERMISSION = 16,
	NO_TOPIC = 17,
	NOT_FOUND = 22
};

#define BODY_MAX (LT_REMOTING_FRAME_MAX - LT_REMOTING_HEADER_MAX - 8u)
#define VALUE_MAX 32768u /* of a key: escaped, it still fits a header */
#define KEY_MAX 1024u

struct call {
	struct lt_names *names;
	const struct lt_remoting *request;
	const void *body;
	size_t body_bytes;
	const struct lt_names_peer *peer;
	uint64_t now_ms;
	struct lt_names_reply *reply;
};

/* --- filling the reply ---------------------------------------------------- */

LT_PRINTF(3, 4)
static void
fail(struct call *c, int32_t code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->reply->remark, sizeof(c->reply->remark), format, args);
	va_end(args);
	c->reply->code = code;
}

static void
put(struct call *c, const char *name, const char *value, size_t bytes)
{
	struct lt_names_reply *r = c->reply;

	LT_ASSERT(r->ext_count < LT_NAMES_EXT_MAX);
	r->ext[r->ext_count].name = name;
	r->ext[r->ext_count].at = r->values.bytes;
	r->ext[r->ext_count].bytes = bytes;
	r->ext_count++;
	lt_buffer_add(&r->values, value, bytes);
}

static void
put_number(struct call *c, const char *name, uint32_t value)
{
	char text[16];

	put(c, name, text, (size_t)snprintf(text, sizeof(text), "%u", value));
}

/* The field, which has to be there and not empty; else the call has failed. */
static int
need(struct call *c, const char *name, struct lt_remoting_text *out)
{
	*out = lt_remoting_find(c->request, name);
	if (out->p != NULL && out->bytes > 0)
		return 1;
	fail(c, SYSTEM_ERROR, "%s is missing", name);
	return 0;
}

/* For remarks: enough of it to be recognised. */
#define SHOW(t) (int)((t).bytes > 100 ? 100 : (t).bytes), (t).p

/* --- brokers -------------------------------------------------------------- */

/* A replica learns where its master is. */
static void
put_master(struct call *c, const struct lt_registration *r)
{
	const struct lt_tables_group *group =
	    lt_tables_find_group(c->names, r->broker);
	const struct lt_tables_broker *master =
	    group == NULL ? NULL : lt_tables_master(group);

	if (r->broker_id == 0 || master == NULL)
		return;
	put(c, "haServerAddr", master->ha_address, strlen(master->ha_address));
	put(c, "masterAddr", master->address, strlen(master->address));
}

static void
list_keys(struct call *c, struct lt_remoting_text space)
{
	if (!lt_tables_list_keys(c->names, space, &c->reply->body))
		lt_buffer_text(&c->reply->body, "{\"table\":{}}");
}

static void
register_broker(struct call *c)
{
	static const struct lt_remoting_text order = {
	    LT_TABLES_ORDER, sizeof(LT_TABLES_ORDER) - 1};
	uint32_t before = c->names->broker_count;
	struct lt_registration r;
	const char *why;
	int rc = lt_registration_read(c->request, c->body, c->body_bytes,
	    c->names->limits.topics_max, c->names->limits.body_max, &r, &why);

	if (rc == LEAT_OK)
		rc = lt_names_register(
		    c->names, &r, c->peer->conn, c->now_ms, &why);
	if (rc == LEAT_OK) {
		put_master(c, &r);
		list_keys(c, order);
	} else {
		fail(c, SYSTEM_ERROR, "%s", why);
	}
	c->reply->joined = c->names->broker_count > before;
	lt_registration_fini(&r);
}

static void
unregister_broker(struct call *c)
{
	struct lt_remoting_text name, address;
	struct lt_tables_group *group;
	struct lt_tables_broker *b;

	if (!need(c, "brokerName", &name) || !need(c, "brokerAddr", &address))
		return;
	group = lt_tables_find_group(c->names, name);
	b = group == NULL ? NULL : lt_tables_find_broker(group, address);
	if (b == NULL)
		return;
	lt_tables_drop_broker(
	    c->names, group, (size_t)(b - group->brokers), NULL);
	c->reply->left = 1;
}

/* The broker that a request speaks of; NULL: unknown, or the call failed. */
static struct lt_tables_broker *
broker_named(struct call *c)
{
	struct lt_remoting_text name, address;
	const struct lt_tables_group *group;

	if (!need(c, "brokerName", &name) || !need(c, "brokerAddr", &address))
		return NULL;
	group = lt_tables_find_group(c->names, name);
	return group == NULL ? NULL : lt_tables_find_broker(group, address);
}

static void
heartbeat(struct call *c)
{
	struct lt_tables_broker *b = broker_named(c);

	if (b != NULL)
		b->seen_ms = c->now_ms;
}

/* "Do you know this version of mine?"; a sign of life as well. */
static void
query_version(struct call *c)
{
	struct lt_tables_broker *b = broker_named(c);
	struct lt_data_version theirs = {0};

	if (c->reply->code != DONE)
		return;
	if (c->body_bytes > 0 &&
	    lt_namesjson_version(c->body, c->body_bytes, &theirs) != LEAT_OK) {
		fail(c, SYSTEM_ERROR, "the body cannot be decoded");
		return;
	}
	if (b == NULL || !lt_registration_same(&b->version, &theirs))
		put(c, "changed", "true", 4);
	else
		put(c, "changed", "false", 5);
	if (b == NULL)
		return;
	b->seen_ms = c->now_ms;
	lt_registration_write_version(&b->version, &c->reply->body);
}

static void
clusters(struct call *c)
{
	lt_bodies_clusters(c->names, c->peer->ours, &c->reply->body);
}

static void
members(struct call *c)
{
	struct lt_remoting_text cluster, broker;

	if (need(c, "clusterName", &cluster) && need(c, "brokerName", &broker))
		lt_bodies_members(cluster, broker,
		    lt_tables_find_group(c->names, broker), c->peer->ours,
		    &c->reply->body);
}

static uint32_t
change_perm(struct call *c, uint32_t clear, uint32_t set)
{
	struct lt_remoting_text name;
	const struct lt_tables_group *group;

	if (!need(c, "brokerName", &name))
		return 0;
	group = lt_tables_find_group(c->names, name);
	return group == NULL ? 0
			     : lt_tables_set_perm(c->names, group, clear, set);
}

static void
wipe_write(struct call *c)
{
	uint32_t n = change_perm(c, LT_TABLES_WRITE, 0);

	if (c->reply->code == DONE)
		put_number(c, "wipeTopicCount", n);
}

static void
add_write(struct call *c)
{
	uint32_t n =
	    change_perm(c, UINT32_MAX, LT_TABLES_READ | LT_TABLES_WRITE);

	if (c->reply->code == DONE)
		put_number(c, "addTopicCount", n);
}

/* --- topics --------------------------------------------------------------- */

static void
route(struct call *c)
{
	struct lt_remoting_text name;
	const struct lt_tables_topic *t;

	name = lt_remoting_find(c->request, "topic");
	t = name.bytes > 0 ? lt_tables_find_topic(c->names, name) : NULL;
	if (t == NULL)
		fail(c, NO_TOPIC,
		    "No topic route info in name server for the topic: %.*s",
		    SHOW(name));
	else
		lt_bodies_route(c->names, t, c->peer->ours, &c->reply->body);
}

static int
is_of_cluster(const struct lt_tables_topic *t, const void *user)
{
	const struct lt_remoting_text *cluster = user;

	for (size_t i = 0; i < t->queues_count; i++) {
		const char *name = t->queues[i].group->cluster;
		if (strlen(name) == cluster->bytes &&
		    memcmp(name, cluster->p, cluster->bytes) == 0)
			return 1;
	}
	return 0;
}

static void
delete_topic(struct call *c)
{
	struct lt_remoting_text name, cluster;
	struct lt_tables_topic *t;

	if (!need(c, "topic", &name))
		return;
	cluster = lt_remoting_find(c->request, "clusterName");
	t = lt_tables_find_topic(c->names, name);
	if (t != NULL && (cluster.p == NULL || cluster.bytes == 0)) {
		lt_tables_drop_topic(c->names, t, NULL);
		return;
	}
	for (size_t i = t == NULL ? 0 : t->queues_count; i > 0; i--) {
		struct lt_tables_group *group = t->queues[i - 1].group;
		if (strlen(group->cluster) == cluster.bytes &&
		    memcmp(group->cluster, cluster.p, cluster.bytes) == 0)
			lt_tables_drop_topic(c->names, t, group);
	}
}

struct topic_call {
	struct lt_names *names;
	struct lt_remoting_text topic;
};

static int
is_known(struct lt_remoting_text broker, const struct lt_topic_queues *queues,
    void *user)
{
	const struct topic_call *t = user;

	return lt_tables_find_group(t->names, broker) == NULL ? LEAT_E_NOTFOUND
							      : LEAT_OK;
}

static int
set_queues(struct lt_remoting_text broker, const struct lt_topic_queues *queues,
    void *user)
{
	const struct topic_call *t = user;
	struct lt_topic_queues q = *queues;

	q.topic = t->topic;
	return lt_tables_set_queues(
	    t->names, lt_tables_find_group(t->names, broker), &q);
}

/* One topic of brokers that are registered: first judged, then done. */
static void
register_topic(struct call *c)
{
	struct topic_call t = {.names = c->names};
	int rc;

	if (!need(c, "topic", &t.topic))
		return;
	if (!lt_tables_legal(t.topic)) {
		fail(c, SYSTEM_ERROR, "topic is no legal name");
		return;
	}
	rc = lt_namesjson_route(c->body, c->body_bytes, is_known, &t);
	if (rc == LEAT_OK)
		rc = lt_namesjson_route(c->body, c->body_bytes, set_queues, &t);
	if (rc == LEAT_E_NOTFOUND)
		fail(
		    c, SYSTEM_ERROR, "a broker of the route is not registered");
	else if (rc == LEAT_E_LIMIT)
		fail(c, SYSTEM_ERROR, "the name server's tables are full");
	else if (rc != LEAT_OK)
		fail(c, SYSTEM_ERROR, "the body cannot be decoded");
}

static void
all_topics(struct call *c)
{
	lt_bodies_topics(c->names, NULL, NULL, &c->reply->body);
}

static void
cluster_topics(struct call *c)
{
	struct lt_remoting_text cluster;

	if (need(c, "cluster", &cluster))
		lt_bodies_topics(
		    c->names, is_of_cluster, &cluster, &c->reply->body);
}

static void
system_topics(struct call *c)
{
	lt_bodies_system_topics(c->names, &c->reply->body);
}

enum {
	UNIT = 1,
	UNIT_SUB = 2
}; /* topicSysFlag */

static int
is_unit(const struct lt_tables_topic *t, const void *user)
{
	return (t->queues[0].sysflag & UNIT) != 0;
}

static int
is_unit_sub(const struct lt_tables_topic *t, const void *user)
{
	return (t->queues[0].sysflag & UNIT_SUB) != 0;
}

static int
is_unit_sub_only(const struct lt_tables_topic *t, const void *user)
{
	return (t->queues[0].sysflag & (UNIT | UNIT_SUB)) == UNIT_SUB;
}

static void
unit_topics(struct call *c)
{
	lt_bodies_topics(c->names, is_unit, NULL, &c->reply->body);
}

static void
unit_sub_topics(struct call *c)
{
	lt_bodies_topics(c->names, is_unit_sub, NULL, &c->reply->body);
}

static void
unit_sub_only_topics(struct call *c)
{
	lt_bodies_topics(c->names, is_unit_sub_only, NULL, &c->reply->body);
}

/* --- keys and configuration ----------------------------------------------- */

static int
is_printable(struct lt_remoting_text t)
{
	for (uint32_t i = 0; i < t.bytes; i++)
		if ((uint8_t)t.p[i] < ' ' || t.p[i] == 0x7f)
			return 0;
	return 1;
}

static void
put_key(struct call *c)
{
	struct lt_remoting_text space, key, value;
	int rc;

	if (!need(c, "namespace", &space) || !need(c, "key", &key))
		return;
	value = lt_remoting_find(c->request, "value");
	if (value.p == NULL) {
		fail(c, SYSTEM_ERROR, "value is missing");
		return;
	}
	if (space.bytes > KEY_MAX || key.bytes > KEY_MAX ||
	    value.bytes > VALUE_MAX || !is_printable(space) ||
	    !is_printable(key)) {
		fail(c, SYSTEM_ERROR,
		    "namespace and key have at most %u printable bytes, "
		    "value %u",
		    KEY_MAX, VALUE_MAX);
		return;
	}
	rc = lt_tables_put_key(c->names, space, key, value);
	if (rc != LEAT_OK)
		fail(c, SYSTEM_ERROR, "%s",
		    rc == LEAT_E_LIMIT ? "the name server's tables are full"
				       : "out of memory");
}

static void
get_key(struct call *c)
{
	struct lt_remoting_text space, key, value;

	if (!need(c, "namespace", &space) || !need(c, "key", &key))
		return;
	value = lt_tables_get_key(c->names, space, key);
	if (value.p == NULL)
		fail(c, NOT_FOUND, "No config item, Namespace: %.*s Key: %.*s",
		    SHOW(space), SHOW(key));
	else
		put(c, "value", value.p, value.bytes);
}

static void
delete_key(struct call *c)
{
	struct lt_remoting_text space, key;

	if (need(c, "namespace", &space) && need(c, "key", &key))
		lt_tables_delete_key(c->names, space, key);
}

static void
get_keys(struct call *c)
{
	struct lt_remoting_text space;

	if (need(c, "namespace", &space) &&
	    !lt_tables_list_keys(c->names, space, &c->reply->body))
		fail(c, NOT_FOUND, "No config item, Namespace: %.*s",
		    SHOW(space));
}

#define ORDER_SETTING "orderMessageEnable"

static void
get_config(struct call *c)
{
	lt_buffer_format(&c->reply->body,
	    ORDER_SETTING "=%s\n"
			  "returnOrderTopicConfigToBroker=true\n"
			  "deleteTopicWithBrokerRegistration=true\n"
			  "supportActingMaster=false\n"
			  "scanNotActiveBrokerInterval=%d\n",
	    c->names->order_messages ? "true" : "false", LT_NAMES_SCAN_MS);
	if (c->names->limits.port != 0)
		lt_buffer_format(
		    &c->reply->body, "listenPort=%u\n", c->names->limits.port);
}

/* The next line without white space around it; 0 at the end. */
static int
next_line(const char **p, const char *end, struct lt_remoting_text *out)
{
	if (*p == end)
		return 0;
	const char *stop = memchr(*p, '\n', (size_t)(end - *p));
	const char *from = *p, *to = stop == NULL ? end : stop;

	*p = stop == NULL ? end : stop + 1;
	while (from < to && (uint8_t)*from <= ' ')
		from++;
	while (from < to && (uint8_t)to[-1] <= ' ')
		to--;
	*out = (struct lt_remoting_text){from, (uint32_t)(to - from)};
	return 1;
}

static int
is_line(struct lt_remoting_text line, const char *text)
{
	return line.bytes == strlen(text) &&
	       memcmp(line.p, text, line.bytes) == 0;
}

/* Properties as text; one setting can be changed while it runs. */
static void
set_config(struct call *c)
{
	const char *p = c->body, *end = p + c->body_bytes;
	int order = c->names->order_messages;
	struct lt_remoting_text line;

	while (c->body_bytes > 0 && next_line(&p, end, &line)) {
		if (line.bytes == 0 || line.p[0] == '#' || line.p[0] == '!')
			continue;
		if (is_line(line, ORDER_SETTING "=true")) {
			order = 1;
		} else if (is_line(line, ORDER_SETTING "=false")) {
			order = 0;
		} else {
			fail(c, NO_PERMISSION,
			    "%.*s: only " ORDER_SETTING
			    "=true or false can be set",
			    SHOW(line));
			return;
		}
	}
	c->names->order_messages = order;
}

/* --- the table ------------------------------------------------------------ */

static const struct row {
	int32_t code;
	const char *name;
	void (*handle)(struct call *c);
	enum lt_names_need need;
	int is_act;
} rows[] = {
#define NAMECODE(number, name, handler, need, acts)                            \
	{number, #name, handler, LT_NAMES_NEED_##need, acts},
#include "names/namecodes.def"
};

static const struct row *
find_row(int32_t code)
{
	for (size_t i = 0; i < LT_COUNT(rows); i++)
		if (rows[i].code == code)
			return &rows[i];
	return NULL;
}

int
lt_names_has(int32_t code)
{
	return find_row(code) != NULL;
}

enum lt_names_need
lt_names_needs(int32_t code)
{
	const struct row *row = find_row(code);

	return row != NULL ? row->need : LT_NAMES_NEED_free;
}

int
lt_names_is_act(int32_t code)
{
	const struct row *row = find_row(code);

	return row != NULL && row->is_act;
}

const char *
lt_names_code_name(int32_t code)
{
	const struct row *row = find_row(code);

	return row != NULL ? row->name : NULL;
}

void
lt_names_call(struct lt_names *names, const struct lt_remoting *request,
    const void *body, size_t body_bytes, const struct lt_names_peer *peer,
    uint64_t now_ms, struct lt_names_reply *reply)
{
	struct call c = {.names = names,
	    .request = request,
	    .body = body,
	    .body_bytes = body_bytes,
	    .peer = peer,
	    .now_ms = now_ms,
	    .reply = reply};
	const struct row *row = find_row(request->code);

	if (row == NULL) {
		fail(&c, 3, "request code %d not supported", request->code);
		return;
	}
	row->handle(&c);
	int rc = lt_buffer_status(&reply->body);
	if (rc == LEAT_OK)
		rc = lt_buffer_status(&reply->values);
	if (rc != LEAT_OK)
		fail(&c, SYSTEM_ERROR, "the answer: %s", leat_status_text(rc));
	if (reply->code != DONE) {
		reply->ext_count = 0;
		lt_buffer_clear(&reply->body);
		lt_buffer_clear(&reply->values);
	}
}

void
lt_names_reply_init(struct lt_names_reply *reply)
{
	*reply = (struct lt_names_reply){.code = DONE};
	lt_buffer_init(&reply->values, VALUE_MAX + LT_TABLES_ADDRESS);
	lt_buffer_init(&reply->body, BODY_MAX);
}

void
lt_names_reply_clear(struct lt_names_reply *reply)
{
	reply->code = DONE;
	reply->remark[0] = '\0';
	reply->ext_count = 0;
	reply->joined = reply->left = 0;
	lt_buffer_clear(&reply->values);
	lt_buffer_clear(&reply->body);
}

void
lt_names_reply_fini(struct lt_names_reply *reply)
{
	lt_buffer_fini(&reply->values);
	lt_buffer_fini(&reply->body);
}

void
lt_names_put(const struct lt_names_reply *reply, struct lt_remoting_encoder *e)
{
	for (uint32_t i = 0; i < reply->ext_count; i++)
		lt_remoting_put(e, reply->ext[i].name,
		    reply->ext[i].bytes == 0
			? ""
			: (const char *)reply->values.p + reply->ext[i].at,
		    reply->ext[i].bytes);
}
