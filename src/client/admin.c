/*
 * admin.c - administration: topics, groups, finding messages, status. Each call
 * is one request or a few pages of one; nothing here is on a message's path.
 *
 * A request that was cut off by a dying broker is made again; what it may have
 * done the first time ("exists" after a create, "not found" after a delete)
 * then counts as success.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "shm/counter.h"

static int
failed(struct leat *leat, int status, const char *what, const char *name)
{
	if (status == LEAT_OK || status == LEAT_E_TIMEOUT)
		return status;
	if (status == LEAT_E_DENIED)
		return lt_connect_fail(leat, status,
		    "%s %s: not allowed: that needs a grant to manage it", what,
		    name);
	return lt_connect_fail(
	    leat, status, "%s %s: %s", what, name, leat_status_text(status));
}

static int
call(struct leat *leat, enum lt_op op, void *msg, size_t bytes, int *retried)
{
	return lt_link_call(
	    leat, op, msg, bytes, lt_wait_deadline(leat->request_ms), retried);
}

static int
set_name(struct leat *leat, char field[LT_NAME_FIELD], const char *name)
{
	if (name != NULL && lt_bytes_field(field, LT_NAME_FIELD, name) == 0)
		return LEAT_OK;
	return lt_connect_fail(leat, LEAT_E_NAME, "name missing or too long");
}

/* --- topics
 * --------------------------------------------------------------------- */

static void
fill_topic(struct leat_topic *out, const struct lt_wire_topic_entry *e)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->name, e->name, sizeof(out->name));
	out->name[sizeof(out->name) - 1] = '\0';
	out->read_queues = e->read_queues;
	out->write_queues = e->write_queues;
	out->perm = e->perm;
	out->level = (enum leat_level)e->level;
	out->system = e->system;
}

static int
describe(struct leat *leat, const char *name, struct leat_topic *out)
{
	struct lt_wire_topic_open msg = {0};
	const struct lt_wire_topic *r = (const void *)leat->rx;
	struct lt_wire_topic_entry e = {0};
	int status = set_name(leat, msg.name, name);

	if (status == LEAT_OK)
		status = call(leat, LT_OP_TOPIC_OPEN, &msg, sizeof(msg), NULL);
	if (status != LEAT_OK)
		return status;
	e.read_queues = r->read_queues;
	e.write_queues = r->write_queues;
	e.perm = r->perm;
	e.level = r->level;
	e.system = r->system;
	memcpy(e.name, r->name, sizeof(e.name));
	fill_topic(out, &e);
	return LEAT_OK;
}

/* After a cut-off create: is what exists now what was asked for? */
static int
is_equal(struct leat *leat, const struct leat_topic *t)
{
	struct leat_topic is;

	return describe(leat, t->name, &is) == LEAT_OK &&
	       (t->read_queues == 0 || t->read_queues == is.read_queues) &&
	       (t->write_queues == 0 || t->write_queues == is.write_queues) &&
	       (t->perm == 0 || t->perm == is.perm) && t->level == is.level;
}

static int
send_topic(struct leat *leat, enum lt_op op, const struct leat_topic *t,
    int force, int *retried)
{
	struct lt_wire_topic msg = {0};
	int status = set_name(leat, msg.name, t->name);

	if (status != LEAT_OK)
		return status;
	msg.read_queues = t->read_queues;
	msg.write_queues = t->write_queues;
	msg.perm = t->perm;
	msg.level = (uint32_t)t->level;
	msg.force = force != 0;
	return call(leat, op, &msg, sizeof(msg), retried);
}

int
leat_topic_create(struct leat *leat, const struct leat_topic *topic)
{
	int retried = 0, status;

	if (!lt_connect_valid(leat))
		return lt_fartopic_create(leat, topic);
	if (topic == NULL ||
	    !lt_bytes_terminated(topic->name, sizeof(topic->name)))
		return LEAT_E_INVALID;
	status = send_topic(leat, LT_OP_TOPIC_CREATE, topic, 0, &retried);
	if (status == LEAT_E_EXISTS && retried && is_equal(leat, topic))
		return LEAT_OK;
	return failed(leat, status, "cannot create topic", topic->name);
}

int
leat_topic_update(struct leat *leat, const struct leat_topic *topic, int force)
{
	int status;

	if (!lt_connect_valid(leat))
		return lt_fartopic_update(leat, topic, force);
	if (topic == NULL ||
	    !lt_bytes_terminated(topic->name, sizeof(topic->name)))
		return LEAT_E_INVALID;
	status = send_topic(leat, LT_OP_TOPIC_UPDATE, topic, force, NULL);
	if (status == LEAT_E_INVALID && !force)
		return lt_connect_fail(leat, status,
		    "cannot update topic %s: shrink write queues first, read "
		    "queues when they are drained, or force it",
		    topic->name);
	return failed(leat, status, "cannot update topic", topic->name);
}

int
leat_topic_delete(struct leat *leat, const char *name)
{
	struct lt_wire_name msg = {0};
	int retried = 0, status;

	if (!lt_connect_valid(leat))
		return lt_fartopic_delete(leat, name);
	status = set_name(leat, msg.name, name);
	if (status == LEAT_OK)
		status =
		    call(leat, LT_OP_TOPIC_DELETE, &msg, sizeof(msg), &retried);
	if (status == LEAT_E_NOTFOUND && retried)
		return LEAT_OK;
	return failed(leat, status, "cannot delete topic", msg.name);
}

int
leat_topic_describe(struct leat *leat, const char *name, struct leat_topic *out)
{
	if (!lt_connect_valid(leat))
		return lt_fartopic_describe(leat, name, out);
	if (out == NULL || name == NULL)
		return LEAT_E_INVALID;
	return failed(leat, describe(leat, name, out), "topic", name);
}

/* Copy a page's tail: the callback may make requests of its own. */
static int
copy_tail(struct leat *leat, size_t struct_bytes, uint32_t count,
    size_t entry_bytes, void **out)
{
	const struct lt_wire *h = (const void *)leat->rx;

	*out = NULL;
	if (count > LT_WIRE_MAX / entry_bytes ||
	    h->tail_bytes < count * entry_bytes)
		return LEAT_E_CORRUPT;
	*out = lt_mem_alloc(count * entry_bytes + 1);
	if (*out == NULL)
		return LEAT_E_NOMEM;
	memcpy(*out, leat->rx + struct_bytes, count * entry_bytes);
	return LEAT_OK;
}

int
leat_topic_list(struct leat *leat,
    int (*each)(const struct leat_topic *topic, void *user), void *user)
{
	struct lt_wire_topics page;
	struct lt_wire_topic_entry *list;
	struct lt_wire_name msg = {0};
	struct leat_topic topic;
	int status;
	uint32_t i;

	if (!lt_connect_valid(leat))
		return lt_fartopic_list(leat, each, user);
	if (each == NULL)
		return LEAT_E_INVALID;
	do {
		status = call(leat, LT_OP_TOPIC_LIST, &msg, sizeof(msg), NULL);
		if (status != LEAT_OK)
			return failed(leat, status, "cannot list topics", "");
		memcpy(&page, leat->rx, sizeof(page));
		status = copy_tail(leat, sizeof(page), page.count,
		    sizeof(*list), (void **)&list);
		for (i = 0; status == LEAT_OK && i < page.count; i++) {
			fill_topic(&topic, &list[i]);
			memcpy(msg.name, topic.name, sizeof(msg.name));
			status = each(&topic, user);
		}
		lt_mem_free(list);
		if (status != LEAT_OK)
			return status;
	} while (page.more && page.count != 0);
	return LEAT_OK;
}

int
leat_queue_range(struct leat *leat, const char *topic, uint32_t queue,
    struct leat_queue_range *out)
{
	const struct lt_wire_range *r;
	struct lt_wire_queue msg = {0};
	int status;

	if (!lt_connect_valid(leat))
		return lt_fartopic_range(leat, topic, queue, out);
	if (out == NULL)
		return LEAT_E_INVALID;
	memset(out, 0, sizeof(*out));
	msg.queue = queue;
	status = set_name(leat, msg.name, topic);
	if (status == LEAT_OK)
		status = call(leat, LT_OP_QUEUE_RANGE, &msg, sizeof(msg), NULL);
	if (status != LEAT_OK)
		return failed(leat, status, "queue of topic", msg.name);
	r = (const void *)leat->rx;
	out->min_offset = r->min_offset;
	out->max_offset = r->max_offset;
	return LEAT_OK;
}

/* --- groups
 * ----------------------------------------------------------------------- */

static void
fill_group(struct leat_group *out, const struct lt_wire_group_entry *e)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->name, e->group, sizeof(out->name));
	memcpy(out->topic, e->topic, sizeof(out->topic));
	memcpy(out->member, e->member, sizeof(out->member));
	out->name[sizeof(out->name) - 1] = '\0';
	out->topic[sizeof(out->topic) - 1] = '\0';
	out->member[sizeof(out->member) - 1] = '\0';
	out->mode = (enum leat_mode)e->mode;
	out->queue = e->queue;
	out->members = e->members;
	out->progress = e->progress;
	out->claimed = e->claimed;
	out->max_offset = e->max_offset;
}

/* All pages of a group request; *cursor lies in the request. */
static int
group_pages(struct leat *leat, enum lt_op op, void *msg, size_t bytes,
    uint64_t *cursor, int (*each)(const struct leat_group *, void *),
    void *user)
{
	struct lt_wire_group_entry *list;
	struct lt_wire_groups page;
	struct leat_group group;
	int status;
	uint32_t i;

	do {
		status = call(leat, op, msg, bytes, NULL);
		if (status != LEAT_OK)
			return status;
		memcpy(&page, leat->rx, sizeof(page));
		status = copy_tail(leat, sizeof(page), page.count,
		    sizeof(*list), (void **)&list);
		for (i = 0; status == LEAT_OK && i < page.count; i++) {
			fill_group(&group, &list[i]);
			status = each == NULL ? LEAT_OK : each(&group, user);
		}
		lt_mem_free(list);
		if (status != LEAT_OK)
			return status;
		*cursor = page.cursor;
	} while (page.cursor != 0);
	return LEAT_OK;
}

int
leat_group_describe(struct leat *leat, const char *group,
    int (*each)(const struct leat_group *entry, void *user), void *user)
{
	struct lt_wire_group msg = {0};
	int status = LEAT_OK;

	if (!lt_connect_valid(leat))
		return lt_fargroup_describe(leat, group, each, user);
	if (each == NULL)
		return LEAT_E_INVALID;
	if (group != NULL)
		status = set_name(leat, msg.group, group);
	if (status == LEAT_OK)
		status = group_pages(leat, LT_OP_GROUP_LIST, &msg, sizeof(msg),
		    &msg.cursor, each, user);
	return status > 0 ? status : failed(leat, status, "group", msg.group);
}

int
leat_group_seek(struct leat *leat, const char *group, const char *topic,
    enum leat_from from, int64_t value, int apply,
    int (*each)(const struct leat_group *entry, void *user), void *user)
{
	struct lt_wire_seek msg = {0};
	int status;

	if (!lt_connect_valid(leat))
		return lt_fargroup_seek(
		    leat, group, topic, from, value, apply, each, user);
	msg.from = (uint32_t)from;
	msg.value = value;
	msg.apply = apply != 0;
	status = set_name(leat, msg.group, group);
	if (status == LEAT_OK)
		status = set_name(leat, msg.topic, topic);
	if (status == LEAT_OK)
		status = group_pages(leat, LT_OP_GROUP_SEEK, &msg, sizeof(msg),
		    &msg.cursor, each, user);
	if (status == LEAT_E_BUSY)
		return lt_connect_fail(leat, status,
		    "group %s has remote members: stop them first, or reset "
		    "the offset as RocketMQ's administrator does",
		    msg.group);
	return status > 0
		   ? status
		   : failed(leat, status, "cannot seek group", msg.group);
}

int
leat_group_delete(struct leat *leat, const char *group)
{
	struct lt_wire_name msg = {0};
	int retried = 0, status;

	if (!lt_connect_valid(leat))
		return lt_fargroup_delete(leat, group);
	status = set_name(leat, msg.name, group);
	if (status == LEAT_OK)
		status =
		    call(leat, LT_OP_GROUP_DELETE, &msg, sizeof(msg), &retried);
	if (status == LEAT_E_NOTFOUND && retried)
		return LEAT_OK;
	if (status == LEAT_E_BUSY)
		return lt_connect_fail(leat, status,
		    "group %s has members: stop them first", msg.name);
	return failed(leat, status, "cannot delete group", msg.name);
}

/* --- messages
 * ------------------------------------------------------------------------ */

/* One record behind its head at *at; 0 when there is none. */
static int
next_found(const uint8_t *data, uint64_t bytes, uint64_t *at,
    struct lt_ring_head *head, struct lt_record_view *v)
{
	while (*at < bytes && bytes - *at >= sizeof(*head)) {
		const uint8_t *p = data + *at;

		memcpy(head, p, sizeof(*head));
		if (head->bytes > bytes - *at - sizeof(*head))
			return 0;
		*at += lt_bytes_align(
		    sizeof(*head) + (uint64_t)head->bytes, LT_RING_ALIGN);
		if (head->kind == LT_RING_RECORD &&
		    lt_record_parse(p + sizeof(*head), head->bytes, v) ==
			LEAT_OK)
			return 1;
	}
	return 0;
}

/* Hand over what lies in the fetch buffer, from a copy: the callback may make
 * requests of its own. only >= 0: that offset alone. */
static int
hand_over(struct leat *leat, int64_t only,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	const struct lt_wire_fetched *r = (const void *)leat->rx;
	char topic[LT_NAME_FIELD], text[2 * LT_PROPERTIES_MAX];
	struct leat_delivery d;
	struct lt_record_view v;
	struct lt_ring_head head;
	uint64_t bytes = r->data_bytes, at = 0;
	uint32_t left = r->count;
	uint8_t *data;
	struct lt_record_texts texts;
	int status = lt_link_take_fetch(leat), seen = 0;

	if (status != LEAT_OK)
		return status;
	if (left == 0 || leat->fetch_seg.base == NULL)
		return LEAT_E_NOTFOUND;
	if (bytes > leat->fetch_seg.head.data_bytes)
		return LEAT_E_CORRUPT;
	data = lt_mem_alloc(bytes + 1);
	if (data == NULL)
		return LEAT_E_NOMEM;
	memcpy(
	    data, (uint8_t *)leat->fetch_seg.base + LT_SEGMENT_DATA_AT, bytes);
	while (status == LEAT_OK && left > 0 &&
	       next_found(data, bytes, &at, &head, &v)) {
		left--;
		lt_record_texts(&v, &texts);
		if ((only >= 0 && head.queue_offset != only) ||
		    v.topic_bytes >= sizeof(topic) ||
		    lt_delivery_text_bytes(&texts) > sizeof(text))
			continue;
		memcpy(topic, v.topic, v.topic_bytes);
		topic[v.topic_bytes] = '\0';
		lt_delivery_fill(&d, &v, &texts, topic, text);
		d.log_offset = head.log_offset;
		d.queue_offset = head.queue_offset;
		seen = 1;
		status = each(&d, user);
	}
	lt_mem_free(data);
	return status == LEAT_OK && !seen ? LEAT_E_NOTFOUND : status;
}

static int
find(struct leat *leat, uint32_t what, const char *topic, const char *key,
    size_t max, int (*each)(const struct leat_delivery *, void *), void *user)
{
	struct lt_wire_find msg = {0};
	int status = LEAT_OK;

	if (!lt_connect_valid(leat) || key == NULL || each == NULL)
		return LEAT_E_INVALID;
	msg.what = what;
	msg.max = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
	if (topic != NULL)
		status = set_name(leat, msg.topic, topic);
	if (status == LEAT_OK &&
	    lt_bytes_field(msg.key, sizeof(msg.key), key) != 0)
		status = LEAT_E_TOOBIG;
	lt_fetched_void(leat);
	if (status == LEAT_OK)
		status = call(leat, LT_OP_FIND, &msg, sizeof(msg), NULL);
	if (status == LEAT_OK)
		status = hand_over(leat, -1, each, user);
	return status > 0 ? status : failed(leat, status, "message", msg.key);
}

int
leat_message_by_id(struct leat *leat, const char *topic, const char *id,
    int (*each)(const struct leat_delivery *, void *), void *user)
{
	if (!lt_connect_valid(leat))
		return lt_farfind_id(leat, topic, id, each, user);
	return find(leat, 1, topic, id, 1, each, user);
}

int
leat_message_by_key(struct leat *leat, const char *topic, const char *key,
    size_t max, int (*each)(const struct leat_delivery *, void *), void *user)
{
	if (!lt_connect_valid(leat))
		return lt_farfind_key(leat, topic, key, max, each, user);
	if (topic == NULL)
		return LEAT_E_INVALID;
	return find(leat, 2, topic, key, max, each, user);
}

int
leat_message_by_offset(struct leat *leat, const char *topic, uint32_t queue,
    int64_t offset, int (*each)(const struct leat_delivery *, void *),
    void *user)
{
	const struct lt_wire_topic *t;
	struct lt_wire_topic_open open = {0};
	struct lt_wire_fetch msg = {0};
	int status;

	if (!lt_connect_valid(leat))
		return lt_farfind_offset(
		    leat, topic, queue, offset, each, user);
	if (each == NULL || offset < 0)
		return LEAT_E_INVALID;
	status = set_name(leat, open.name, topic);
	if (status == LEAT_OK)
		status =
		    call(leat, LT_OP_TOPIC_OPEN, &open, sizeof(open), NULL);
	if (status == LEAT_OK) {
		t = (const void *)leat->rx;
		msg.topic = t->id;
		msg.queue = queue;
		msg.offset = offset;
		msg.max_bytes = UINT32_MAX;
		msg.max_count = 1;
		lt_fetched_void(leat);
		status = call(leat, LT_OP_FETCH, &msg, sizeof(msg), NULL);
	}
	if (status == LEAT_OK)
		status = hand_over(leat, offset, each, user);
	return status > 0 ? status
			  : failed(leat, status, "message of topic", open.name);
}

/* --- status
 * ----------------------------------------------------------------------------
 */

static void
fill_process(struct leat_status_report *out, const char *name, uint64_t pid,
    uint64_t started_ms, uint64_t restarts)
{
	struct leat_process *p = &out->processes[out->process_count++];
	int64_t up = lt_clock_wall_ms() - (int64_t)started_ms;

	(void)lt_bytes_field(p->name, sizeof(p->name), name);
	p->pid = (int64_t)pid;
	p->uptime_ms = pid != 0 && started_ms != 0 && up > 0 ? up : 0;
	p->restarts = restarts;
}

#define READ(name) lt_counter_read(&seg, LT_STAT_##name)

static int
read_counters(int fd, struct leat_status_report *out)
{
	struct lt_segment seg = {0};
	int status =
	    fd < 0 ? LEAT_E_CORRUPT
		   : lt_segment_attach(&seg, fd, LT_SEGMENT_COUNTER, 0, 0);
	size_t i;

	if (status != LEAT_OK)
		return status;
	if (seg.head.data_bytes < lt_counter_segment_bytes()) {
		lt_segment_detach(&seg);
		return LEAT_E_VERSION;
	}
	fill_process(out, "leatd", READ(sup_pid), READ(sup_started_ms), 0);
	fill_process(out, "leat-store", READ(sup_store_pid),
	    READ(sup_store_started_ms), READ(sup_restarts_store));
	fill_process(out, "leat-queue", READ(sup_queue_pid),
	    READ(sup_queue_started_ms), READ(sup_restarts_queue));
	if (READ(sup_gateway_started_ms) != 0)
		fill_process(out, "leat-gateway", READ(sup_gateway_pid),
		    READ(sup_gateway_started_ms), READ(sup_restarts_gateway));
	out->log_min_offset = (int64_t)READ(store_log_min);
	out->log_max_offset = (int64_t)READ(store_log_end);
	out->log_synced_offset = (int64_t)READ(store_log_synced);
	out->store_bytes = READ(store_log_end) - READ(store_log_min);
	out->disk_free_bytes = READ(store_disk_free);
	out->recovering = READ(store_recovering) != 0;
	out->recovery_percent = (uint32_t)READ(store_recovery_percent);
	out->disk_full = READ(store_disk_full) != 0;
	out->sessions = READ(queue_sessions);
	out->topics = READ(queue_topics);
	out->groups = READ(queue_groups);
	out->rings = READ(store_rings);
	for (i = 0; i < LT_STAT_COUNT && i < LT_COUNT(out->counters); i++) {
		struct leat_counter *c = &out->counters[i];

		(void)lt_bytes_field(
		    c->name, sizeof(c->name), lt_counter_rows[i].name);
		(void)lt_bytes_field(
		    c->unit, sizeof(c->unit), lt_counter_rows[i].unit);
		c->value = lt_counter_read(&seg, (enum lt_counter)i);
		out->counter_count++;
	}
	lt_segment_detach(&seg);
	return LEAT_OK;
}

_Static_assert(LT_STAT_COUNT <= 128, "leat_status_report holds all counters");

int
leat_status_get(struct leat *leat, struct leat_status_report *out)
{
	const struct lt_wire_status *r;
	struct lt_wire_none msg = {0};
	int status, fd;

	if (!lt_connect_valid(leat))
		return lt_farfind_status(leat, out);
	if (out == NULL)
		return LEAT_E_INVALID;
	memset(out, 0, sizeof(*out));
	status = call(leat, LT_OP_STATUS, &msg, sizeof(msg), NULL);
	if (status != LEAT_OK)
		return failed(leat, status, "cannot read", "status");
	r = (const void *)leat->rx;
	memcpy(out->broker, r->broker, sizeof(out->broker));
	out->broker[sizeof(out->broker) - 1] = '\0';
	memcpy(out->version, r->version, sizeof(out->version));
	out->version[sizeof(out->version) - 1] = '\0';
	fd = lt_link_take_fd(leat, 0);
	status = read_counters(fd, out);
	if (fd >= 0)
		close(fd);
	return failed(leat, status, "cannot read", "status");
}
