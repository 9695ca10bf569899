/*
 * fartopic.c - topics of a cluster. What there is say the name servers; what is
 * changed is changed at every broker, and seen when a name server says so.
 * Queue numbers are for each broker, as with RocketMQ's own tools; those of a
 * description are all brokers' together.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "client/remote/farjson.h"
#include "proto/name.h"

#define MAKER "TBW102"
#define QUEUES 4 /* unless a number is said; other clients ask for so many */
#define SEEN_MS 10000 /* until a name server knows */
#define STEP_MS 20

static int
failed(struct lt_far *far, int status, const char *what, const char *name)
{
	if (status == LEAT_E_NAME)
		return lt_connect_fail(
		    far->leat, status, "name missing or too long");
	return lt_far_fail(far, status, what, name, NULL);
}

static struct lt_fartopic *
topic_of(struct lt_far *far, const char *name)
{
	struct lt_fartopic *t;
	uint64_t used_at = 0;

	for (t = far->topics; t != NULL; t = t->next)
		if (strcmp(t->name, name) == 0)
			used_at = t->used_at;
	t = lt_farroute_topic(far, name);
	/* Looking at it is no reason to follow it. */
	if (t != NULL)
		t->used_at = used_at;
	return t;
}

static int
describe(struct lt_far *far, const char *name, uint64_t deadline,
    struct leat_topic *out, struct lt_fartopic **topic_out)
{
	struct lt_fartopic *t;
	int status;
	uint32_t i;

	memset(out, 0, sizeof(*out));
	if (lt_bytes_field(out->name, sizeof(out->name), name) != 0)
		return LEAT_E_NAME;
	t = topic_of(far, name);
	if (t == NULL)
		return LEAT_E_NOMEM;
	if (topic_out != NULL)
		*topic_out = t;
	status = lt_farroute_fresh(t, deadline);
	if (status != LEAT_OK)
		return status;
	for (i = 0; i < t->queue_count; i++) {
		out->read_queues += t->queues[i]->reads;
		out->write_queues += t->queues[i]->writes;
	}
	out->perm = t->perm;
	out->system = (uint32_t)(lt_name_is_system(name) ||
				 strncmp(name, "%RETRY%", 7) == 0);
	return LEAT_OK;
}

int
lt_fartopic_describe(
    struct leat *leat, const char *name, struct leat_topic *out)
{
	struct lt_far *far = lt_far_of(leat);

	if (far == NULL || name == NULL || out == NULL)
		return LEAT_E_INVALID;
	return failed(far,
	    describe(far, name, lt_wait_deadline(LT_REQUEST_MS), out, NULL),
	    "topic", name);
}

/* --- changes ------------------------------------------------------------- */

static int
set_at(struct lt_far *far, const struct lt_farbroker *b,
    const struct leat_topic *t, uint64_t deadline)
{
	struct lt_farfields f = {0};
	struct lt_farreply reply;
	int status;

	lt_farask_text(&f, "defaultTopic", MAKER);
	lt_farask_text(&f, "order", "false");
	lt_farask_number(&f, "perm", t->perm);
	lt_farask_number(&f, "readQueueNums", t->read_queues);
	lt_farask_text(&f, "topic", t->name);
	lt_farask_text(&f, "topicFilterType", "SINGLE_TAG");
	lt_farask_number(&f, "topicSysFlag", 0);
	lt_farask_number(&f, "writeQueueNums", t->write_queues);
	status = lt_farask_call(b->conn, 17, f.list, NULL, 0, deadline, &reply);
	lt_farask_drop(&reply);
	return lt_far_fail(far, status, "cannot set topic", t->name, &reply);
}

/* How many queues this broker has of it. */
static void
numbers_at(const struct lt_fartopic *t, const char *broker, uint32_t *reads,
    uint32_t *writes)
{
	uint32_t i;

	*reads = *writes = 0;
	for (i = 0; i < t->queue_count; i++)
		if (strcmp(t->queues[i]->broker, broker) == 0) {
			*reads += t->queues[i]->reads;
			*writes += t->queues[i]->writes;
		}
}

/* Until a name server says what was set; it is set, whether one does or not. */
static int
await(struct lt_far *far, const struct leat_topic *want, size_t brokers)
{
	uint64_t deadline = lt_wait_deadline(SEEN_MS);
	struct leat_topic is;
	int status;

	for (;;) {
		status = describe(far, want->name, deadline, &is, NULL);
		if (status == LEAT_OK && is.perm == want->perm &&
		    is.read_queues == ((want->perm & LEAT_PERM_READ)
					      ? want->read_queues * brokers
					      : 0) &&
		    is.write_queues == ((want->perm & LEAT_PERM_WRITE)
					       ? want->write_queues * brokers
					       : 0))
			return LEAT_OK;
		if (lt_wait_expired(deadline))
			return LEAT_OK;
		lt_far_pump(far, STEP_MS);
	}
}

static int
level_unsupported(struct lt_far *far)
{
	return lt_connect_fail(far->leat, LEAT_E_UNSUPPORTED,
	    "a topic of a RocketMQ broker has no level: leave it out");
}

int
lt_fartopic_create(struct leat *leat, const struct leat_topic *topic)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct leat_topic is, want;
	int status, n, i;

	if (far == NULL || topic == NULL ||
	    !lt_bytes_terminated(topic->name, sizeof(topic->name)))
		return LEAT_E_INVALID;
	if (lt_name_topic(topic->name) != LEAT_OK)
		return failed(
		    far, LEAT_E_NAME, "cannot create topic", topic->name);
	if (topic->level != LEAT_LEVEL_DEFAULT)
		return level_unsupported(far);
	want = *topic;
	if (want.perm == 0)
		want.perm = LEAT_PERM_BOTH;
	if (want.read_queues == 0 && want.write_queues == 0)
		want.read_queues = QUEUES;
	if (want.read_queues == 0)
		want.read_queues = want.write_queues;
	if (want.write_queues == 0)
		want.write_queues = want.read_queues;
	status = describe(far, topic->name, deadline, &is, NULL);
	if (status == LEAT_OK)
		return failed(
		    far, LEAT_E_EXISTS, "cannot create topic", topic->name);
	if (status != LEAT_E_NOTFOUND)
		return failed(far, status, "cannot create topic", topic->name);
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	for (i = 0; i < n; i++) {
		status = set_at(far, &brokers[i], &want, deadline);
		if (status != LEAT_OK)
			return status;
	}
	return await(far, &want, (size_t)n);
}

int
lt_fartopic_update(struct leat *leat, const struct leat_topic *topic, int force)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct lt_fartopic *t = NULL;
	struct leat_topic is, want;
	int status, n, i;

	if (far == NULL || topic == NULL ||
	    !lt_bytes_terminated(topic->name, sizeof(topic->name)))
		return LEAT_E_INVALID;
	if (topic->level != LEAT_LEVEL_DEFAULT)
		return level_unsupported(far);
	status = describe(far, topic->name, deadline, &is, &t);
	if (status != LEAT_OK)
		return failed(far, status, "cannot update topic", topic->name);
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	want = *topic;
	want.perm = topic->perm != 0 ? topic->perm : is.perm;
	for (i = 0; i < n; i++) {
		numbers_at(
		    t, brokers[i].name, &is.read_queues, &is.write_queues);
		want.read_queues = topic->read_queues != 0 ? topic->read_queues
							   : is.read_queues;
		want.write_queues = topic->write_queues != 0
					? topic->write_queues
					: is.write_queues;
		if (want.read_queues < want.write_queues && !force)
			return lt_connect_fail(leat, LEAT_E_INVALID,
			    "cannot update topic %s: shrink write queues "
			    "first, read queues when they are drained, or "
			    "force it",
			    topic->name);
		status = set_at(far, &brokers[i], &want, deadline);
		if (status != LEAT_OK)
			return status;
	}
	return await(far, &want, (size_t)n);
}

int
lt_fartopic_delete(struct leat *leat, const char *name)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	const char *fields[] = {"topic", name, NULL};
	struct lt_farreply reply;
	struct lt_fartopic *t;
	struct leat_topic is;
	int status, n, i;
	size_t s;

	if (far == NULL || name == NULL)
		return LEAT_E_INVALID;
	status = describe(far, name, deadline, &is, &t);
	if (status != LEAT_OK)
		return failed(far, status, "cannot delete topic", name);
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	for (i = 0; i < n; i++) {
		status = lt_farask_call(
		    brokers[i].conn, 215, fields, NULL, 0, deadline, &reply);
		lt_farask_drop(&reply);
		if (status != LEAT_OK)
			return lt_far_fail(
			    far, status, "cannot delete topic", name, &reply);
	}
	for (s = 0; s < far->name_count; s++) {
		status = lt_farask_call(
		    far->names[s], 216, fields, NULL, 0, deadline, &reply);
		lt_farask_drop(&reply);
	}
	/* The route is known anew when somebody wants it. */
	t->status = LEAT_E_AGAIN;
	deadline = lt_wait_deadline(SEEN_MS);
	while (describe(far, name, deadline, &is, NULL) == LEAT_OK &&
	       !lt_wait_expired(deadline))
		lt_far_pump(far, STEP_MS);
	return LEAT_OK;
}

/* --- lists --------------------------------------------------------------- */

struct names {
	char **list;
	size_t count, capacity;
	int status;
};

static void
add_name(struct names *n, const char *name)
{
	size_t i;

	for (i = 0; i < n->count; i++)
		if (strcmp(n->list[i], name) == 0)
			return;
	if (name[0] == '\0' || n->status != LEAT_OK)
		return;
	n->status = lt_mem_grow(
	    (void **)&n->list, &n->capacity, n->count, sizeof(*n->list));
	if (n->status != LEAT_OK)
		return;
	n->list[n->count] = lt_mem_strdup(name);
	if (n->list[n->count] == NULL)
		n->status = LEAT_E_NOMEM;
	else
		n->count++;
}

static void
free_names(struct names *n)
{
	while (n->count > 0)
		lt_mem_free(n->list[--n->count]);
	lt_mem_free(n->list);
}

static int
has_name(const struct names *n, const char *name)
{
	size_t i;

	for (i = 0; i < n->count; i++)
		if (strcmp(n->list[i], name) == 0)
			return 1;
	return 0;
}

/* The topicList of a reply. */
static void
read_names(const struct lt_farreply *reply, struct names *n)
{
	char key[64], name[LT_NAME_FIELD];
	struct lt_farjson j;

	lt_farjson_init(&j, reply->body, reply->bytes);
	if (!lt_farjson_open(&j, '{'))
		j.bad = 1;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "topicList") != 0)
			lt_farjson_skip(&j);
		else if (lt_farjson_open(&j, '['))
			while (lt_farjson_item(&j)) {
				lt_farjson_text(&j, name, sizeof(name));
				add_name(n, name);
			}
	}
	if (j.bad)
		n->status = LEAT_E_CORRUPT;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the servers' own topics; what cannot be had is left out. */
static void
system_names(struct lt_far *far, uint64_t deadline, struct names *out)
{
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct lt_farreply reply;
	int n;

	if (lt_farroute_ask(far, 304, NULL, deadline, &reply) == LEAT_OK)
		read_names(&reply, out);
	lt_farask_drop(&reply);
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n > 0 && lt_farask_call(brokers[0].conn, 305, NULL, NULL, 0,
			 deadline, &reply) == LEAT_OK) {
		read_names(&reply, out);
		lt_farask_drop(&reply);
	}
	out->status = LEAT_OK;
}

int
lt_fartopic_list(struct leat *leat,
    int (*each)(const struct leat_topic *topic, void *user), void *user)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct names all = {0}, own = {0};
	struct lt_farreply reply;
	struct leat_topic topic;
	int status;
	size_t i;

	if (far == NULL || each == NULL)
		return LEAT_E_INVALID;
	status = lt_farroute_ask(far, 206, NULL, deadline, &reply);
	if (status == LEAT_OK)
		read_names(&reply, &all);
	lt_farask_drop(&reply);
	if (status == LEAT_OK)
		status = all.status;
	if (status != LEAT_OK) {
		free_names(&all);
		return lt_far_fail(
		    far, status, "cannot list topics", "", &reply);
	}
	system_names(far, deadline, &own);
	qsort(all.list, all.count, sizeof(*all.list), by_text);
	for (i = 0; i < all.count && status == LEAT_OK; i++) {
		status = describe(far, all.list[i], deadline, &topic, NULL);
		if (status == LEAT_E_NOTFOUND) {
			status = LEAT_OK; /* gone meanwhile */
			continue;
		}
		if (status != LEAT_OK) {
			status = failed(far, status, "cannot list topics", "");
			break;
		}
		topic.system |= (uint32_t)has_name(&own, all.list[i]);
		status = each(&topic, user);
	}
	free_names(&all);
	free_names(&own);
	return status;
}

/* --- queues -------------------------------------------------------------- */

int
lt_fartopic_range(struct leat *leat, const char *topic, uint32_t queue,
    struct leat_queue_range *out)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farfields f = {0};
	struct lt_farreply reply;
	struct lt_fartopic *t;
	int status = LEAT_E_NAME, i;

	if (far == NULL || topic == NULL || out == NULL)
		return LEAT_E_INVALID;
	memset(out, 0, sizeof(*out));
	t = topic_of(far, topic);
	if (t != NULL)
		status = lt_farroute_wait(t, deadline);
	if (status == LEAT_OK && queue >= t->queue_count)
		status = LEAT_E_QUEUE;
	if (status != LEAT_OK)
		return failed(far, status, "queue of topic", topic);
	lt_farask_text(&f, "bname", t->queues[queue]->broker);
	lt_farask_number(&f, "queueId", t->queues[queue]->id);
	lt_farask_text(&f, "topic", topic);
	for (i = 0; i < 2 && status == LEAT_OK; i++) {
		status = lt_farask_call(t->queues[queue]->conn, 30 + i, f.list,
		    NULL, 0, deadline, &reply);
		lt_farask_drop(&reply);
		if (status == LEAT_OK && reply.offset < 0)
			status = LEAT_E_CORRUPT;
		*(i == 0 ? &out->max_offset : &out->min_offset) = reply.offset;
	}
	return lt_far_fail(far, status, "queue of topic", topic, &reply);
}
