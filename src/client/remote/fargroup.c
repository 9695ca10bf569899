/*
 * fargroup.c - groups of a cluster: how far they are, moved, forgotten. Each
 * broker is asked for its own queues. The retry and dead-letter topics of a
 * group are left out: they are no topics that anybody subscribed to.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "client/remote/farjson.h"

struct rows {
	struct leat_group *list;
	size_t count, capacity;
};

struct members {
	uint32_t count;
	enum leat_mode mode;
};

static const char *const own_group[] = {"TOOLS_CONSUMER", "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER", "CID_ONSAPI_PULL", "CID_RMQ_SYS_TRANS",
    "CID_DefaultHeartBeatSyncerTopic"};

/* --- members ------------------------------------------------------------- */

static int
ask_members(struct lt_farconn *conn, const char *group, uint64_t deadline,
    struct members *out)
{
	const char *fields[] = {"consumerGroup", group, NULL};
	struct lt_farreply reply;
	struct lt_farjson j;
	char key[64], mode[32];
	int status =
	    lt_farask_call(conn, 203, fields, NULL, 0, deadline, &reply);

	memset(out, 0, sizeof(*out));
	lt_farjson_init(&j, reply.body, reply.bytes);
	if (status == LEAT_OK && !lt_farjson_open(&j, '{'))
		j.bad = 1;
	while (status == LEAT_OK && lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "messageModel") == 0) {
			lt_farjson_text(&j, mode, sizeof(mode));
			if (strcmp(mode, "BROADCASTING") == 0)
				out->mode = LEAT_BROADCASTING;
		} else if (strcmp(key, "connectionSet") == 0 &&
			   lt_farjson_open(&j, '[')) {
			for (; lt_farjson_item(&j); out->count++)
				lt_farjson_skip(&j);
		} else {
			lt_farjson_skip(&j);
		}
	}
	lt_farask_drop(&reply);
	if (status == LEAT_E_NOTFOUND)
		return LEAT_OK; /* nobody is there */
	return status == LEAT_OK && j.bad ? LEAT_E_CORRUPT : status;
}

/* --- progress ------------------------------------------------------------ */

/* The number that the application knows this queue by. */
static uint32_t
number_of(struct lt_far *far, const char *topic, const char *broker,
    uint32_t id, uint64_t deadline)
{
	struct lt_fartopic *t = lt_farroute_topic(far, topic);
	uint32_t i;

	if (t == NULL || lt_farroute_wait(t, deadline) != LEAT_OK)
		return id;
	for (i = 0; i < t->queue_count; i++)
		if (t->queues[i]->id == id &&
		    strcmp(t->queues[i]->broker, broker) == 0)
			return i;
	return id;
}

/* {"brokerName":..,"queueId":..,"topic":..}, which is a key. 0: it is none. */
static int
read_queue(const char *text, char broker[128], struct leat_group *g)
{
	struct lt_farjson j;
	char key[32];
	int64_t id = -1;

	broker[0] = '\0';
	lt_farjson_init(&j, text, strlen(text));
	if (!lt_farjson_open(&j, '{'))
		return 0;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "brokerName") == 0)
			lt_farjson_text(&j, broker, 128);
		else if (strcmp(key, "topic") == 0)
			lt_farjson_text(&j, g->topic, sizeof(g->topic));
		else if (strcmp(key, "queueId") == 0)
			id = lt_farjson_number(&j, -1);
		else
			lt_farjson_skip(&j);
	}
	if (j.bad || id < 0 || id > LT_FAR_QUEUE_MAX || g->topic[0] == '\0')
		return 0;
	g->queue = (uint32_t)id;
	return 1;
}

static void
read_offsets(struct lt_farjson *j, struct leat_group *g)
{
	char key[32];

	if (!lt_farjson_open(j, '{'))
		return;
	while (lt_farjson_key(j, key, sizeof(key))) {
		if (strcmp(key, "brokerOffset") == 0)
			g->max_offset = lt_farjson_number(j, 0);
		else if (strcmp(key, "consumerOffset") == 0)
			g->progress = lt_farjson_number(j, 0);
		else
			lt_farjson_skip(j);
	}
	if (g->progress < 0)
		g->progress = 0;
}

/* All rows of the reply to 208. */
static int
read_stats(struct lt_far *far, const struct lt_farreply *reply,
    const char *group, const struct members *m, struct rows *rows,
    uint64_t deadline)
{
	char key[1024], broker[128];
	struct lt_farjson j;
	int status = LEAT_OK;

	lt_farjson_init(&j, reply->body, reply->bytes);
	if (!lt_farjson_open(&j, '{'))
		return LEAT_E_CORRUPT;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "offsetTable") != 0 ||
		    !lt_farjson_open(&j, '{')) {
			if (strcmp(key, "offsetTable") != 0)
				lt_farjson_skip(&j);
			continue;
		}
		while (
		    status == LEAT_OK && lt_farjson_key(&j, key, sizeof(key))) {
			struct leat_group g = {
			    .mode = m->mode, .members = m->count};
			int is_queue = read_queue(key, broker, &g);

			read_offsets(&j, &g);
			if (!is_queue || strncmp(g.topic, "%RETRY%", 7) == 0 ||
			    strncmp(g.topic, "%DLQ%", 5) == 0)
				continue;
			status =
			    lt_bytes_field(g.name, sizeof(g.name), group) == 0
				? lt_mem_grow((void **)&rows->list,
				      &rows->capacity, rows->count, sizeof(g))
				: LEAT_E_NAME;
			if (status != LEAT_OK)
				break;
			g.queue =
			    number_of(far, g.topic, broker, g.queue, deadline);
			rows->list[rows->count++] = g;
		}
		if (status != LEAT_OK)
			return status;
	}
	return j.bad ? LEAT_E_CORRUPT : LEAT_OK;
}

static int
by_place(const void *a, const void *b)
{
	const struct leat_group *x = a, *y = b;
	int d = strcmp(x->topic, y->topic);

	return d != 0 ? d : x->queue < y->queue ? -1 : x->queue > y->queue;
}

static int
describe_one(struct lt_far *far, const struct lt_farbroker *brokers, int n,
    const char *group, uint64_t deadline,
    int (*each)(const struct leat_group *, void *), void *user)
{
	const char *fields[] = {"consumerGroup", group, NULL};
	struct rows rows = {0};
	struct lt_farreply reply = {0};
	struct members m;
	int status = LEAT_OK, i;
	size_t r;

	for (i = 0; i < n && status == LEAT_OK; i++) {
		status = ask_members(brokers[i].conn, group, deadline, &m);
		if (status == LEAT_E_UNSUPPORTED) {
			memset(&m, 0, sizeof(m));
			status = LEAT_OK;
		}
		if (status == LEAT_OK)
			status = lt_farask_call(brokers[i].conn, 208, fields,
			    NULL, 0, deadline, &reply);
		if (status == LEAT_OK)
			status =
			    read_stats(far, &reply, group, &m, &rows, deadline);
		lt_farask_drop(&reply);
	}
	if (status != LEAT_OK)
		status = lt_far_fail(far, status, "group", group, &reply);
	else if (rows.count == 0)
		status =
		    lt_far_fail(far, LEAT_E_NOTFOUND, "group", group, NULL);
	if (rows.count > 0)
		qsort(rows.list, rows.count, sizeof(*rows.list), by_place);
	for (r = 0; r < rows.count && status == LEAT_OK; r++)
		status = each(&rows.list[r], user);
	lt_mem_free(rows.list);
	return status;
}

/* --- all of them ------------------------------------------------------------
 */

static int
is_own(const char *name)
{
	size_t i;

	for (i = 0; i < LT_COUNT(own_group); i++)
		if (strcmp(own_group[i], name) == 0)
			return 1;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct leat_group *)a)->name,
	    ((const struct leat_group *)b)->name);
}

/* Names of groups that this broker knows, into rows. */
static int
list_at(struct lt_farconn *conn, struct rows *rows, uint64_t deadline)
{
	struct lt_farreply reply;
	struct lt_farjson j;
	char key[LT_NAME_FIELD];
	int status = lt_farask_call(conn, 201, NULL, NULL, 0, deadline, &reply);

	lt_farjson_init(&j, reply.body, reply.bytes);
	if (status == LEAT_OK && !lt_farjson_open(&j, '{'))
		j.bad = 1;
	while (status == LEAT_OK && lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "subscriptionGroupTable") != 0) {
			lt_farjson_skip(&j);
			continue;
		}
		if (!lt_farjson_open(&j, '{'))
			continue;
		while (
		    status == LEAT_OK && lt_farjson_key(&j, key, sizeof(key))) {
			lt_farjson_skip(&j);
			if (is_own(key) || key[0] == '\0')
				continue;
			status = lt_mem_grow((void **)&rows->list,
			    &rows->capacity, rows->count, sizeof(*rows->list));
			if (status == LEAT_OK)
				(void)lt_bytes_field(
				    rows->list[rows->count++].name,
				    LT_NAME_FIELD, key);
		}
	}
	lt_farask_drop(&reply);
	return status == LEAT_OK && j.bad ? LEAT_E_CORRUPT : status;
}

static int
describe_all(struct lt_far *far, const struct lt_farbroker *brokers, int n,
    uint64_t deadline, int (*each)(const struct leat_group *, void *),
    void *user)
{
	struct rows names = {0};
	int status = LEAT_OK, i;
	size_t r;

	for (i = 0; i < n && status == LEAT_OK; i++)
		status = list_at(brokers[i].conn, &names, deadline);
	if (status != LEAT_OK)
		(void)lt_far_fail(far, status, "cannot list groups", "", NULL);
	if (names.count > 0)
		qsort(names.list, names.count, sizeof(*names.list), by_name);
	for (r = 0; r < names.count && status == LEAT_OK; r++) {
		if (r > 0 && by_name(&names.list[r], &names.list[r - 1]) == 0)
			continue;
		status = describe_one(
		    far, brokers, n, names.list[r].name, deadline, each, user);
		if (status == LEAT_E_NOTFOUND)
			status = LEAT_OK; /* it never consumed */
	}
	lt_mem_free(names.list);
	return status;
}

int
lt_fargroup_describe(struct leat *leat, const char *group,
    int (*each)(const struct leat_group *entry, void *user), void *user)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	int n;

	if (far == NULL || each == NULL)
		return LEAT_E_INVALID;
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	return group != NULL
		   ? describe_one(far, brokers, n, group, deadline, each, user)
		   : describe_all(far, brokers, n, deadline, each, user);
}

/* --- changes ------------------------------------------------------------- */

static void
put_queue(struct lt_farfields *f, const struct lt_farqueue *q)
{
	memset(f, 0, sizeof(*f));
	lt_farask_text(f, "bname", q->broker);
	lt_farask_text(f, "topic", q->topic->name);
	lt_farask_number(f, "queueId", q->id);
}

static int
offset_by_time(
    struct lt_farqueue *q, int64_t time_ms, uint64_t deadline, int64_t *out)
{
	struct lt_farfields f;
	struct lt_farreply reply;
	int status;

	put_queue(&f, q);
	lt_farask_number(&f, "timestamp", time_ms);
	status = lt_farask_call(q->conn, 29, f.list, NULL, 0, deadline, &reply);
	lt_farask_drop(&reply);
	*out = reply.offset;
	return status == LEAT_OK && reply.offset < 0 ? LEAT_E_CORRUPT : status;
}

static int
target_of(struct leat *leat, struct lt_farqueue *q, enum leat_from from,
    int64_t value, uint64_t deadline, struct leat_group *g)
{
	struct leat_queue_range r;
	int status = lt_fartopic_range(leat, q->topic->name, q->number, &r);

	if (status != LEAT_OK)
		return status;
	g->max_offset = r.max_offset;
	switch (from) {
	case LEAT_FROM_BEGIN:
		g->progress = r.min_offset;
		break;
	case LEAT_FROM_OFFSET:
		g->progress = value < 0 ? r.max_offset + value : value;
		break;
	case LEAT_FROM_TIME:
		status = offset_by_time(q, value, deadline, &g->progress);
		break;
	default:
		g->progress = r.max_offset;
		break;
	}
	if (g->progress < r.min_offset)
		g->progress = r.min_offset;
	if (g->progress > r.max_offset)
		g->progress = r.max_offset;
	return status;
}

/* By a reset, which online members hear of; where there is none by a commit. */
static int
move(struct lt_far *far, struct lt_farqueue *q, const struct leat_group *g,
    uint64_t deadline)
{
	struct lt_farfields f;
	struct lt_farreply reply;
	int status;

	put_queue(&f, q);
	lt_farask_text(&f, "group", g->name);
	lt_farask_text(&f, "isForce", "true");
	lt_farask_number(&f, "offset", g->progress);
	lt_farask_number(&f, "timestamp", -1);
	status =
	    lt_farask_call(q->conn, 222, f.list, NULL, 0, deadline, &reply);
	lt_farask_drop(&reply);
	if (status != LEAT_OK && reply.code > 0) {
		put_queue(&f, q);
		lt_farask_number(&f, "commitOffset", g->progress);
		lt_farask_text(&f, "consumerGroup", g->name);
		status = lt_farask_call(
		    q->conn, 15, f.list, NULL, 0, deadline, &reply);
		lt_farask_drop(&reply);
	}
	return lt_far_fail(far, status, "cannot seek group", g->name, &reply);
}

int
lt_fargroup_seek(struct leat *leat, const char *group, const char *topic,
    enum leat_from from, int64_t value, int apply,
    int (*each)(const struct leat_group *entry, void *user), void *user)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct leat_group g = {0};
	struct lt_fartopic *t;
	int status = LEAT_E_NAME;
	uint32_t i;

	if (far == NULL)
		return LEAT_E_INVALID;
	if (group == NULL || topic == NULL ||
	    lt_bytes_field(g.name, sizeof(g.name), group) != 0 ||
	    lt_bytes_field(g.topic, sizeof(g.topic), topic) != 0)
		return lt_far_fail(far, status, "cannot seek group", "", NULL);
	t = lt_farroute_topic(far, topic);
	status = t == NULL ? LEAT_E_NOMEM : lt_farroute_wait(t, deadline);
	if (status != LEAT_OK)
		return lt_far_fail(far, status, "topic", topic, NULL);
	for (i = 0; i < t->queue_count && status == LEAT_OK; i++) {
		struct lt_farqueue *q = t->queues[i];

		if (!q->reads)
			continue;
		g.queue = i;
		status = target_of(leat, q, from, value, deadline, &g);
		if (status == LEAT_OK && apply)
			status = move(far, q, &g, deadline);
		if (status == LEAT_OK && each != NULL)
			status = each(&g, user);
	}
	return status;
}

int
lt_fargroup_delete(struct leat *leat, const char *group)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	const char *fields[] = {
	    "groupName", group, "cleanOffset", "true", NULL};
	struct lt_farreply reply = {0};
	struct members m;
	int status = LEAT_OK, n, i;

	if (far == NULL || group == NULL)
		return LEAT_E_INVALID;
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	for (i = 0; i < n; i++)
		if (ask_members(brokers[i].conn, group, deadline, &m) ==
			LEAT_OK &&
		    m.count > 0)
			return lt_connect_fail(leat, LEAT_E_BUSY,
			    "group %s has members: stop them first", group);
	for (i = 0; i < n && status == LEAT_OK; i++) {
		status = lt_farask_call(
		    brokers[i].conn, 207, fields, NULL, 0, deadline, &reply);
		lt_farask_drop(&reply);
	}
	return lt_far_fail(far, status, "cannot delete group", group, &reply);
}
