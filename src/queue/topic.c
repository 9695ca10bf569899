/*
 * topic.c - the registry of topics by name and by id, and what the store is
 * told of it. Requests on topics are in topicops.c.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/name.h"
#include "shm/counter.h"

enum step {
	START,
	LOGGED,
	GRANTED
};

static void
registry_changed(struct lt_manager *m)
{
	lt_mem_free(m->sorted);
	m->sorted = NULL;
	lt_stat_set(queue_topics, m->topic_count);
	lt_stat_add(queue_topic_changes, 1);
}

static struct lt_topic *
find_any(struct lt_manager *m, const char *name)
{
	return lt_hash_get(&m->topics_by_name, name, strlen(name));
}

struct lt_topic *
lt_topic_find(struct lt_manager *m, const char *name)
{
	struct lt_topic *t = find_any(m, name);

	return t != NULL && !t->deleted ? t : NULL;
}

struct lt_topic *
lt_topic_by_id(struct lt_manager *m, uint32_t id)
{
	struct lt_topic *t = lt_hash_get(&m->topics_by_id, &id, sizeof(id));

	return t != NULL && !t->deleted ? t : NULL;
}

int
lt_topic_put(struct lt_manager *m, const struct lt_topic *config)
{
	struct lt_topic *t = find_any(m, config->name);

	if (t == NULL) {
		t = lt_mem_alloc(sizeof(*t));
		if (t == NULL)
			return LEAT_E_NOMEM;
		*t = *config;
		if (lt_hash_put(&m->topics_by_name, t->name, strlen(t->name),
			t) != LEAT_OK) {
			lt_mem_free(t);
			return LEAT_E_NOMEM;
		}
	} else {
		uint32_t seen = t->seen | config->seen;

		m->topic_count -= !t->deleted;
		(void)lt_hash_del(&m->topics_by_id, &t->id, sizeof(t->id));
		*t = *config;
		t->seen = seen;
	}
	m->topic_count += !t->deleted;
	if (t->id >= m->next_topic)
		m->next_topic = t->id + 1;
	registry_changed(m);
	return lt_hash_put(&m->topics_by_id, &t->id, sizeof(t->id), t);
}

static int
put_system(struct lt_manager *m, uint32_t id, const char *name)
{
	struct lt_topic t = {.id = id,
	    .read_queues = 1,
	    .write_queues = 1,
	    .perm = LEAT_PERM_BOTH,
	    .level = LEAT_SYNCED,
	    .system = 1,
	    .logged = 1,
	    .seen = 1};

	(void)lt_bytes_field(t.name, sizeof(t.name), name);
	return lt_topic_put(m, &t);
}

int
lt_topic_init(struct lt_manager *m)
{
	int status;

	lt_hash_init(&m->topics_by_name);
	lt_hash_init(&m->topics_by_id);
	lt_hash_init(&m->seen);
	m->next_topic = 1;
	status = put_system(m, LT_STATE_CONFIG, LT_NAME_CONFIG_TOPIC);
	if (status == LEAT_OK)
		status =
		    put_system(m, LT_STATE_PROGRESS, LT_NAME_PROGRESS_TOPIC);
	if (status == LEAT_OK)
		status = put_system(m, LT_STATE_AUDIT, LT_NAME_AUDIT_TOPIC);
	return status;
}

void
lt_topic_fini(struct lt_manager *m)
{
	struct lt_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL)
		lt_mem_free(t);
	cursor = 0;
	while ((t = lt_hash_next(&m->seen, &cursor)) != NULL)
		lt_mem_free(t);
	lt_hash_fini(&m->topics_by_name);
	lt_hash_fini(&m->topics_by_id);
	lt_hash_fini(&m->seen);
	registry_changed(m);
}

/* --- what the store knows ------------------------------------------------ */

static int
become_topic(struct lt_manager *m, const struct lt_topic *seen)
{
	struct lt_topic *t = find_any(m, seen->name);
	struct lt_topic config = *seen;

	if (t != NULL) {
		t->seen = 1;
		return LEAT_OK;
	}
	if (m->topic_count >= LT_TOPICS_MAX)
		return LEAT_OK;
	config.id = m->next_topic;
	lt_log_info("topic-found-in-log", "topic=%s queues=%u", config.name,
	    config.read_queues);
	return lt_topic_put(m, &config);
}

int
lt_topic_seen(struct lt_manager *m, const char *name, uint32_t queues)
{
	struct lt_topic *t;

	if (name[0] == 0 || queues > LT_QUEUES_MAX)
		return LEAT_OK;
	t = lt_mem_alloc(sizeof(*t));
	if (t == NULL)
		return LEAT_E_NOMEM;
	(void)lt_bytes_field(t->name, sizeof(t->name), name);
	t->read_queues = t->write_queues = queues > 0 ? queues : 1;
	t->perm = LEAT_PERM_BOTH;
	t->system = (uint32_t)lt_name_is_system(name);
	t->seen = 1;
	lt_mem_free(lt_hash_del(&m->seen, name, strlen(name)));
	if (lt_hash_put(&m->seen, name, strlen(name), t) != LEAT_OK) {
		lt_mem_free(t);
		return LEAT_E_NOMEM;
	}
	return LEAT_OK;
}

int
lt_topic_settle(struct lt_manager *m)
{
	struct lt_topic *t;
	size_t cursor = 0;
	int status = LEAT_OK;

	while ((t = lt_hash_next(&m->seen, &cursor)) != NULL) {
		if (status == LEAT_OK)
			status = become_topic(m, t);
		(void)lt_hash_del(&m->seen, t->name, strlen(t->name));
		lt_mem_free(t);
	}
	cursor = 0;
	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL) {
		if (!t->deleted || t->seen)
			continue;
		(void)lt_hash_del(&m->topics_by_id, &t->id, sizeof(t->id));
		(void)lt_hash_del(&m->topics_by_name, t->name, strlen(t->name));
		lt_mem_free(t);
	}
	return status;
}

void
lt_topic_log_seen(struct lt_manager *m)
{
	struct lt_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL) {
		if (t->logged || t->deleted)
			continue;
		m->pending++;
		lt_state_log_seen(m, t);
	}
}

void
lt_topic_fill(
    struct lt_wire_topic *msg, const struct lt_topic *topic, enum lt_op op)
{
	memset(msg, 0, sizeof(*msg));
	lt_wire_init(&msg->h, op, sizeof(*msg), 0, 0);
	msg->id = topic->id;
	msg->read_queues = topic->read_queues;
	msg->write_queues = topic->write_queues;
	msg->perm = topic->perm;
	msg->level = topic->level;
	msg->system = topic->system;
	msg->deleted = topic->deleted;
	memcpy(msg->name, topic->name, sizeof(msg->name));
}

void
lt_topic_announce(struct lt_manager *m, const struct lt_topic *topic)
{
	struct lt_wire_topic msg;

	lt_topic_fill(&msg, topic, LT_OP_S_TOPIC);
	lt_storelink_send(m, &msg, sizeof(msg));
}

void
lt_topic_announce_all(struct lt_manager *m)
{
	struct lt_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL)
		if (t->id > LT_STATE_PROGRESS) /* those went first */
			lt_topic_announce(m, t);
}
