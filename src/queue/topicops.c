/*
 * topicops.c - requests on topics. A change is appended to the log and synced
 * before the registry changes and before anybody hears of it; one change is
 * under way at a time.
 */
#include "config.h"
#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"
#include "queue/schedule.h"

#define ENTRIES_PER_REPLY 200

enum step {
	START,
	LOGGED,
	GRANTED
};

/* --- changes ------------------------------------------------------------- */

static void
tell_sessions(struct lt_manager *m, const struct lt_topic *t)
{
	struct lt_wire_topic msg;
	struct lt_session *s;
	size_t cursor = 0;

	lt_topic_fill(&msg, t, LT_OP_EV_TOPIC);
	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL)
		if (s->conn != NULL && lt_grants_find(s, t->id) != NULL)
			lt_admit_event(s->conn, &msg, sizeof(msg), NULL, 0);
}

static void
end_subscriptions(struct lt_manager *m, uint32_t topic)
{
	struct lt_session *s;
	struct lt_sub *sub, *next;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL)
		for (sub = LIST_FIRST(&s->subs); sub != NULL; sub = next) {
			next = LIST_NEXT(sub, session_link);
			if (sub->topic != topic)
				continue;
			lt_subscribe_moved(sub);
			lt_subscribe_end(m, sub);
		}
}

/* Begin to log the change in job->extra. */
static void
change_begin(struct lt_job *job, const struct lt_topic *config)
{
	struct lt_topic *copy = job->extra;

	if (copy == NULL)
		copy = lt_mem_alloc(sizeof(*copy));
	if (copy == NULL) {
		lt_job_done(job, LEAT_E_NOMEM);
		return;
	}
	uint32_t id = config->id;
	/* Tried before with a store that died: keep to the same id. */
	if (job->extra != NULL && copy->id != 0 && id == job->m->next_topic)
		id = copy->id;
	*copy = *config;
	copy->id = id;
	copy->logged = 1;
	copy->seen = 1;
	job->extra = copy;
	if (id >= job->m->next_topic)
		job->m->next_topic = id + 1;
	job->step = LOGGED;
	lt_state_log_topic(job, copy);
}

/* It is durable: make it so. Not LEAT_OK: the job is done with. */
static int
change_end(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	const struct lt_topic *config = job->extra;
	int status = job->status;

	if (status == LEAT_OK) {
		(void)lt_failpoint(LT_FP_QUEUE_TOPIC);
		status = lt_topic_put(m, config);
	}
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return status;
	}
	lt_topic_announce(m, config);
	tell_sessions(m, config);
	lt_share_topics_changed(m);
	if (config->system) /* there is but one that is made */
		lt_schedule_up(m);
	if (config->deleted) {
		end_subscriptions(m, config->id);
		lt_group_drop_topic(m, config->id);
		lt_ringset_drop_topic(m, config->id);
		lt_grants_drop_topic(m, config->id);
	}
	lt_log_info("topic-changed",
	    "topic=%s id=%u read=%u write=%u perm=%u deleted=%u", config->name,
	    config->id, config->read_queues, config->write_queues, config->perm,
	    config->deleted);
	return LEAT_OK;
}

static void
reply_topic(struct lt_job *job, const struct lt_topic *t)
{
	struct lt_wire_topic msg;

	lt_topic_fill(&msg, t, LT_OP_TOPIC_OPEN);
	lt_job_reply(job, &msg, sizeof(msg), 0, NULL, 0);
}

static void
reply_changed(struct lt_job *job)
{
	struct lt_topic config;

	if (change_end(job) != LEAT_OK)
		return;
	config = *(const struct lt_topic *)job->extra;
	reply_topic(job, &config);
}

static int
check_config(const struct lt_topic *t, uint32_t force)
{
	if (t->read_queues > LT_QUEUES_MAX || t->write_queues > LT_QUEUES_MAX)
		return LEAT_E_LIMIT;
	if (t->read_queues < 1 || t->write_queues < 1 || t->perm < 2 ||
	    t->perm > LEAT_PERM_NONE || (t->perm & 1) || t->level > LEAT_SYNCED)
		return LEAT_E_INVALID;
	/* Messages in queues nobody reads any more would be stranded. */
	if (t->read_queues < t->write_queues && !force)
		return LEAT_E_INVALID;
	return LEAT_OK;
}

static int
check_new(struct lt_manager *m, const char *name)
{
	int status = lt_name_topic(name);

	if (status != LEAT_OK)
		return status;
	if (lt_name_is_system(name))
		return LEAT_E_DENIED;
	return m->topic_count >= LT_TOPICS_MAX ? LEAT_E_LIMIT : LEAT_OK;
}

void
lt_topicops_on_create(struct lt_job *job)
{
	const struct lt_wire_topic *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_topic config;
	uint32_t queues = (uint32_t)m->options.queue_default_queues;
	int status;

	if (job->step == LOGGED) {
		reply_changed(job);
		return;
	}
	if (!lt_bytes_terminated(req->name, sizeof(req->name))) {
		lt_job_done(job, LEAT_E_NAME);
		return;
	}
	memset(&config, 0, sizeof(config));
	config.id = m->next_topic;
	config.read_queues = req->read_queues ? req->read_queues : queues;
	config.write_queues = req->write_queues ? req->write_queues : queues;
	/* One number given means both. */
	if (!req->read_queues && req->write_queues)
		config.read_queues = req->write_queues;
	if (!req->write_queues && req->read_queues)
		config.write_queues = req->read_queues;
	config.perm = req->perm ? req->perm : LEAT_PERM_BOTH;
	config.level = req->level;
	(void)lt_bytes_field(config.name, sizeof(config.name), req->name);
	status = check_new(m, config.name);
	if (status == LEAT_OK &&
	    !(lt_grants_topic(m, &job->conn->peer, config.name) &
		LT_RIGHT_MANAGE))
		status = LEAT_E_DENIED;
	if (status == LEAT_OK)
		status = check_config(&config, req->force);
	if (status == LEAT_OK && lt_topic_find(m, config.name) != NULL)
		status = LEAT_E_EXISTS;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (lt_state_lock(job) == LEAT_OK)
		change_begin(job, &config);
}

/* A topic the job may manage, or NULL and the job is done with. */
static struct lt_topic *
managed(struct lt_job *job, const char *name)
{
	struct lt_manager *m = job->m;
	struct lt_topic *t;
	int status = LEAT_E_NAME;

	if (!lt_bytes_terminated(name, LT_NAME_FIELD))
		goto refuse;
	status = LEAT_E_NOTFOUND;
	t = lt_topic_find(m, name);
	if (t == NULL)
		goto refuse;
	status = LEAT_E_DENIED;
	if (!t->system &&
	    (lt_grants_topic(m, &job->conn->peer, name) & LT_RIGHT_MANAGE))
		return t;
refuse:
	lt_job_done(job, status);
	return NULL;
}

void
lt_topicops_on_update(struct lt_job *job)
{
	const struct lt_wire_topic *req = (const void *)job->request;
	struct lt_topic *t, config;
	int status;

	if (job->step == LOGGED) {
		reply_changed(job);
		return;
	}
	t = managed(job, req->name);
	if (t == NULL || lt_state_lock(job) != LEAT_OK)
		return;
	config = *t;
	if (req->read_queues)
		config.read_queues = req->read_queues;
	if (req->write_queues)
		config.write_queues = req->write_queues;
	if (req->perm)
		config.perm = req->perm;
	if (req->level)
		config.level = req->level;
	status = check_config(&config, req->force);
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	change_begin(job, &config);
}

void
lt_topicops_on_delete(struct lt_job *job)
{
	const struct lt_wire_name *req = (const void *)job->request;
	struct lt_topic *t, config;

	if (job->step == LOGGED) {
		if (change_end(job) == LEAT_OK)
			lt_job_done(job, LEAT_OK);
		return;
	}
	t = managed(job, req->name);
	if (t == NULL || lt_state_lock(job) != LEAT_OK)
		return;
	config = *t;
	config.deleted = 1;
	change_begin(job, &config);
}

/* --- open ---------------------------------------------------------------- */

static void
grant(struct lt_job *job, struct lt_session *s, const struct lt_topic *t)
{
	struct lt_wire_grant msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_GRANT, sizeof(msg), 0, 0);
	msg.session = s->id;
	msg.topic = t->id;
	msg.allow = 1;
	job->step = GRANTED;
	job->number = t->id;
	lt_storelink_job(job, &msg, sizeof(msg));
}

static void
granted(struct lt_job *job)
{
	struct lt_session *s = lt_job_session(job);
	struct lt_topic *t = lt_topic_by_id(job->m, (uint32_t)job->number);
	int status = job->status;

	if (status == LEAT_OK && (s == NULL || t == NULL))
		status = s == NULL ? LEAT_E_CLOSED : LEAT_E_NOTFOUND;
	if (status == LEAT_OK)
		status = lt_grants_open(s, t->id, LT_RIGHT_PUBLISH);
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	lt_session_keep(s);
	reply_topic(job, t);
}

static void
open_auto(
    struct lt_job *job, const struct lt_wire_topic_open *req, unsigned rights)
{
	const char *name = req->name;
	struct lt_manager *m = job->m;
	uint32_t queues = (uint32_t)m->options.queue_default_queues;
	struct lt_topic config = {.read_queues = queues,
	    .write_queues = queues,
	    .perm = LEAT_PERM_BOTH};
	int is_ours = lt_grants_is_relay_topic(m, &job->conn->peer, name);
	int status = is_ours ? LEAT_OK : check_new(m, name);

	if (status == LEAT_OK && !(rights & LT_RIGHT_PUBLISH))
		status = LEAT_E_DENIED;
	if (status == LEAT_OK && !is_ours &&
	    (req->exists || !m->options.queue_auto_create))
		status = LEAT_E_NOTFOUND;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (lt_job_needs_store(job) || lt_state_lock(job) != LEAT_OK)
		return;
	if (is_ours)
		lt_schedule_topic(&config);
	else if (strncmp(name, "%RETRY%", 7) == 0 ||
		 strncmp(name, "%DLQ%", 5) == 0)
		config.read_queues = config.write_queues = 1;
	config.id = m->next_topic;
	(void)lt_bytes_field(config.name, sizeof(config.name), name);
	change_begin(job, &config);
}

static void
open_known(struct lt_job *job, const struct lt_topic *t, unsigned rights)
{
	const struct lt_wire_topic_open *req = (const void *)job->request;
	struct lt_session *s = lt_job_session(job);
	struct lt_open *open;
	int status = LEAT_OK;

	if (s == NULL)
		status = LEAT_E_CLOSED;
	else if (!(req->rights & LT_RIGHT_PUBLISH))
		status =
		    rights == 0 ? LEAT_E_DENIED : lt_grants_open(s, t->id, 0);
	else if (!(rights & LT_RIGHT_PUBLISH) ||
		 (t->system && !lt_grants_is_relay_topic(
				   job->m, &job->conn->peer, t->name)))
		status = LEAT_E_DENIED;
	else if (!(t->perm & LEAT_PERM_WRITE))
		status = LEAT_E_PERM;
	else if (lt_grants_find(s, t->id) == NULL &&
		 s->open_count >= LT_OPENS_MAX)
		status = LEAT_E_LIMIT;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	open = lt_grants_find(s, t->id);
	if (!(req->rights & LT_RIGHT_PUBLISH) ||
	    (open != NULL && (open->rights & LT_RIGHT_PUBLISH)))
		reply_topic(job, t);
	else if (!lt_job_needs_store(job))
		grant(job, s, t);
}

void
lt_topicops_on_open(struct lt_job *job)
{
	const struct lt_wire_topic_open *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_topic *t;
	unsigned rights;

	if (job->step == GRANTED) {
		granted(job);
		return;
	}
	if (job->step == LOGGED) {
		if (change_end(job) != LEAT_OK)
			return;
		lt_state_unlock(m);
	}
	if (job->conn == NULL) {
		lt_job_done(job, LEAT_E_CLOSED);
		return;
	}
	if (!lt_bytes_terminated(req->name, sizeof(req->name))) {
		lt_job_done(job, LEAT_E_NAME);
		return;
	}
	rights = lt_grants_topic(m, &job->conn->peer, req->name);
	t = lt_topic_find(m, req->name);
	if (t != NULL)
		open_known(job, t, rights);
	else if (req->rights & LT_RIGHT_PUBLISH)
		open_auto(job, req, rights);
	else
		lt_job_done(job, LEAT_E_NOTFOUND);
}

/* --- list ---------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
	return strcmp((*(struct lt_topic *const *)a)->name,
	    (*(struct lt_topic *const *)b)->name);
}

static int
sort_topics(struct lt_manager *m)
{
	struct lt_topic *t;
	size_t cursor = 0, n = 0;

	if (m->sorted != NULL)
		return LEAT_OK;
	m->sorted = lt_mem_array(m->topic_count, sizeof(*m->sorted));
	if (m->sorted == NULL)
		return LEAT_E_NOMEM;
	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL)
		if (!t->deleted)
			m->sorted[n++] = t;
	LT_ASSERT(n == m->topic_count);
	qsort(m->sorted, n, sizeof(*m->sorted), by_name);
	return LEAT_OK;
}

/* First index whose name is greater. */
static size_t
after(const struct lt_manager *m, const char *name)
{
	size_t low = 0, high = m->topic_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(m->sorted[mid]->name, name) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void
lt_topicops_on_list(struct lt_job *job)
{
	const struct lt_wire_name *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct {
		struct lt_wire_topics w;
		struct lt_wire_topic_entry entry[ENTRIES_PER_REPLY];
	} reply;
	size_t i, n = 0;

	if (!lt_bytes_terminated(req->name, sizeof(req->name)) ||
	    sort_topics(m) != LEAT_OK) {
		lt_job_done(job, LEAT_E_INVALID);
		return;
	}
	memset(&reply.w, 0, sizeof(reply.w));
	for (i = after(m, req->name); i < m->topic_count; i++) {
		const struct lt_topic *t = m->sorted[i];

		if (lt_grants_topic(m, &job->conn->peer, t->name) == 0)
			continue;
		if (n == ENTRIES_PER_REPLY) {
			reply.w.more = 1;
			break;
		}
		struct lt_wire_topic_entry *e = &reply.entry[n++];
		*e = (struct lt_wire_topic_entry){.id = t->id,
		    .read_queues = t->read_queues,
		    .write_queues = t->write_queues,
		    .perm = t->perm,
		    .level = t->level,
		    .system = t->system};
		memcpy(e->name, t->name, sizeof(e->name));
	}
	reply.w.count = (uint32_t)n;
	lt_job_reply(
	    job, &reply, sizeof(reply.w), n * sizeof(reply.entry[0]), NULL, 0);
}
