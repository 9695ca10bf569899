/*
 * groupconf.c - what administrators set for groups, as such and for one of
 * their topics. Kept and given out, not heeded here: a setting is a text, lines
 * "name=value", and who asks for it knows what it means (leat-gateway).
 *
 * A change is a record of the configuration topic, and synced before anybody
 * hears of it; a counter in shared memory says that there was one.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"
#include "shm/counter.h"

#define REPLY_BYTES 49152

enum step {
	START,
	LOGGED
};

/* group, NUL, topic, NUL */
struct key {
	char text[2 * LT_NAME_FIELD];
	size_t bytes;
};

static void
make_key(struct key *key, const char *group, const char *topic)
{
	size_t g = strlen(group) + 1, t = strlen(topic) + 1;

	LT_ASSERT(g <= LT_NAME_FIELD && t <= LT_NAME_FIELD);
	memcpy(key->text, group, g);
	memcpy(key->text + g, topic, t);
	key->bytes = g + t;
}

void
lt_groupconf_init(struct lt_manager *m)
{
	lt_hash_init(&m->settings);
	TAILQ_INIT(&m->settings_list);
	m->next_setting = 1;
}

static void
drop(struct lt_manager *m, struct lt_setting *s)
{
	struct key key;

	make_key(&key, s->group, s->topic);
	(void)lt_hash_del(&m->settings, key.text, key.bytes);
	TAILQ_REMOVE(&m->settings_list, s, link);
	lt_mem_free(s->text);
	lt_mem_free(s);
	lt_stat_add(queue_group_changes, 1);
}

void
lt_groupconf_fini(struct lt_manager *m)
{
	struct lt_setting *s;

	while ((s = TAILQ_FIRST(&m->settings_list)) != NULL)
		drop(m, s);
	lt_hash_fini(&m->settings);
}

static struct lt_setting *
make(struct lt_manager *m, const char *group, const char *topic)
{
	struct lt_setting *s;
	struct key key;

	make_key(&key, group, topic);
	s = lt_hash_get(&m->settings, key.text, key.bytes);
	if (s != NULL)
		return s;
	s = lt_mem_alloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	(void)lt_bytes_field(s->group, sizeof(s->group), group);
	(void)lt_bytes_field(s->topic, sizeof(s->topic), topic);
	if (lt_hash_put(&m->settings, key.text, key.bytes, s) != LEAT_OK) {
		lt_mem_free(s);
		return NULL;
	}
	s->number = m->next_setting++;
	TAILQ_INSERT_TAIL(&m->settings_list, s, link);
	return s;
}

static int
put(struct lt_manager *m, const char *group, const char *topic,
    const void *text, size_t bytes)
{
	struct lt_setting *s;
	char *copy = lt_mem_alloc(bytes + 1);

	if (copy == NULL)
		return LEAT_E_NOMEM;
	s = make(m, group, topic);
	if (s == NULL) {
		lt_mem_free(copy);
		return LEAT_E_NOMEM;
	}
	if (bytes > 0)
		memcpy(copy, text, bytes);
	lt_mem_free(s->text);
	s->text = copy;
	s->text_bytes = bytes;
	lt_stat_add(queue_group_changes, 1);
	return LEAT_OK;
}

/* The next one of the group, from s on. */
static struct lt_setting *
next_of(struct lt_setting *s, const char *group)
{
	while (s != NULL && strcmp(s->group, group) != 0)
		s = TAILQ_NEXT(s, link);
	return s;
}

int
lt_groupconf_any(struct lt_manager *m, const char *group)
{
	return next_of(TAILQ_FIRST(&m->settings_list), group) != NULL;
}

/* --- records --------------------------------------------------------------
 */

static struct lt_record_property
property(const char *name, const char *value)
{
	return (struct lt_record_property){.name = name,
	    .name_bytes = strlen(name),
	    .value = value,
	    .value_bytes = strlen(value)};
}

static struct lt_wire_append *
make_record(const char *group, const char *topic, int deleted, const void *text,
    size_t text_bytes, size_t *bytes_out)
{
	const struct lt_record_property props[] = {
	    property(LT_NAME_SETTING_GROUP, group),
	    property(LT_NAME_CONFIG_DELETED, deleted ? "1" : "0"),
	    property(LT_NAME_SETTING_TOPIC, topic)};
	size_t count = LT_COUNT(props);

	if (topic[0] == '\0') /* there is no empty one in a record */
		count--;
	return lt_state_record(LT_STATE_CONFIG, "group", props, count, text,
	    text_bytes, bytes_out);
}

struct lt_wire_append *
lt_groupconf_record(const struct lt_setting *s, size_t *bytes_out)
{
	return make_record(
	    s->group, s->topic, 0, s->text, s->text_bytes, bytes_out);
}

static void
log_record(struct lt_job *job, const char *group, const char *topic,
    int deleted, const void *text, size_t text_bytes)
{
	size_t bytes;
	struct lt_wire_append *msg =
	    make_record(group, topic, deleted, text, text_bytes, &bytes);

	if (msg == NULL)
		lt_manager_fatal("out of memory");
	lt_storelink_job(job, msg, bytes);
	lt_mem_free(msg);
}

/* Lines of text: nothing below a blank but their ends. */
static int
is_text(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i] < ' ' && p[i] != '\n')
			return 0;
	return 1;
}

/* A name as it goes into a record. */
static int
is_name(const char *name)
{
	for (; *name != '\0'; name++)
		if ((unsigned char)*name < ' ')
			return 0;
	return 1;
}

static int
field_of(
    const struct lt_record_view *v, const char *name, char out[LT_NAME_FIELD])
{
	const char *value;
	size_t bytes;

	out[0] = '\0';
	if (lt_record_property(v, name, strlen(name), &value, &bytes) !=
	    LEAT_OK)
		return LEAT_OK;
	if (bytes >= LT_NAME_FIELD)
		return LEAT_E_CORRUPT;
	memcpy(out, value, bytes);
	out[bytes] = '\0';
	return LEAT_OK;
}

int
lt_groupconf_apply(struct lt_manager *m, const struct lt_record_view *v)
{
	char group[LT_NAME_FIELD], topic[LT_NAME_FIELD], deleted[LT_NAME_FIELD];
	struct lt_setting *s;
	struct key key;

	if (field_of(v, LT_NAME_SETTING_GROUP, group) != LEAT_OK ||
	    field_of(v, LT_NAME_SETTING_TOPIC, topic) != LEAT_OK ||
	    field_of(v, LT_NAME_CONFIG_DELETED, deleted) != LEAT_OK ||
	    v->body_bytes > LT_SETTING_TEXT_MAX ||
	    !is_text(v->body, v->body_bytes))
		return LEAT_E_CORRUPT;
	if (group[0] == '\0')
		return LEAT_OK; /* a mark */
	if (strcmp(deleted, "1") != 0)
		return put(m, group, topic, v->body, v->body_bytes);
	make_key(&key, group, topic);
	s = lt_hash_get(&m->settings, key.text, key.bytes);
	if (s != NULL)
		drop(m, s);
	return LEAT_OK;
}

/* --- requests --------------------------------------------------------------
 */

static void
reply_changes(struct lt_job *job)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	msg.number = lt_stat_get(queue_group_changes);
	lt_job_reply(job, &msg, sizeof(msg), 0, NULL, 0);
}

static int
check_group(const struct lt_job *job, const char *group)
{
	if (!lt_bytes_terminated(group, LT_NAME_FIELD) || group[0] == '\0' ||
	    !is_name(group))
		return LEAT_E_NAME;
	return lt_grants_group(job->m, &job->conn->peer, group) &
		       LT_RIGHT_MANAGE
		   ? LEAT_OK
		   : LEAT_E_DENIED;
}

static int
check_set(const struct lt_job *job, const uint8_t *text, size_t bytes)
{
	const struct lt_wire_group_set *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	const struct lt_setting *s;
	struct key key;
	int status = check_group(job, req->group);

	if (status != LEAT_OK)
		return status;
	if (!lt_bytes_terminated(req->topic, sizeof(req->topic)) ||
	    !is_name(req->topic))
		return LEAT_E_NAME;
	if (bytes > LT_SETTING_TEXT_MAX)
		return LEAT_E_TOOBIG;
	if (!is_text(text, bytes))
		return LEAT_E_INVALID;
	make_key(&key, req->group, req->topic);
	s = lt_hash_get(&m->settings, key.text, key.bytes);
	if (s != NULL)
		return req->only_new ? LEAT_E_EXISTS : LEAT_OK;
	return m->settings.used < LT_SETTINGS_MAX ? LEAT_OK : LEAT_E_LIMIT;
}

void
lt_groupconf_on_set(struct lt_job *job)
{
	const struct lt_wire_group_set *req = (const void *)job->request;
	const uint8_t *text = (const uint8_t *)(req + 1);
	size_t bytes = job->bytes - sizeof(*req);
	int status = job->status;

	if (job->step == LOGGED) {
		if (status == LEAT_OK)
			status =
			    put(job->m, req->group, req->topic, text, bytes);
		if (status != LEAT_OK)
			lt_job_done(job, status);
		else
			reply_changes(job);
		return;
	}
	if (lt_state_lock(job) != LEAT_OK)
		return;
	status = check_set(job, text, bytes);
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	job->step = LOGGED;
	log_record(job, req->group, req->topic, 0, text, bytes);
}

void
lt_groupconf_log_unset(struct lt_job *job, const char *group)
{
	struct lt_setting *s = TAILQ_FIRST(&job->m->settings_list);

	for (; (s = next_of(s, group)) != NULL; s = TAILQ_NEXT(s, link))
		log_record(job, group, s->topic, 1, NULL, 0);
}

void
lt_groupconf_unset(struct lt_manager *m, const char *group)
{
	struct lt_setting *s = TAILQ_FIRST(&m->settings_list), *next;

	for (; (s = next_of(s, group)) != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		drop(m, s);
	}
}

void
lt_groupconf_on_unset(struct lt_job *job)
{
	const struct lt_wire_name *req = (const void *)job->request;
	int status = job->status;

	if (job->step == LOGGED) {
		if (status == LEAT_OK)
			lt_groupconf_unset(job->m, req->name);
		if (status != LEAT_OK)
			lt_job_done(job, status);
		else
			reply_changes(job);
		return;
	}
	status = check_group(job, req->name);
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (lt_state_lock(job) != LEAT_OK)
		return;
	if (!lt_groupconf_any(job->m, req->name)) {
		lt_job_done(job, LEAT_E_NOTFOUND);
		return;
	}
	job->step = LOGGED;
	lt_groupconf_log_unset(job, req->name);
}

struct settings_reply {
	struct lt_wire_groups w;
	_Alignas(8) uint8_t tail[REPLY_BYTES];
};
_Static_assert(
    sizeof(struct settings_reply) <= LT_WIRE_MAX &&
	sizeof(struct lt_wire_setting) + LT_SETTING_TEXT_MAX < REPLY_BYTES,
    "settings reply");

void
lt_groupconf_on_list(struct lt_job *job)
{
	const struct lt_wire_group *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct settings_reply r;
	const struct lt_setting *s;
	size_t used = 0;

	if (!lt_bytes_terminated(req->group, sizeof(req->group))) {
		lt_job_done(job, LEAT_E_NAME);
		return;
	}
	memset(&r.w, 0, sizeof(r.w));
	TAILQ_FOREACH(s, &m->settings_list, link)
	{
		struct lt_wire_setting e = {
		    .text_bytes = (uint32_t)s->text_bytes};
		size_t bytes = lt_bytes_align(sizeof(e) + s->text_bytes + 1, 8);

		if (s->number < req->cursor ||
		    (req->group[0] != 0 && strcmp(s->group, req->group) != 0) ||
		    lt_grants_group(m, &job->conn->peer, s->group) == 0)
			continue;
		if (used + bytes > sizeof(r.tail)) {
			r.w.cursor = s->number;
			break;
		}
		memcpy(e.group, s->group, sizeof(e.group));
		memcpy(e.topic, s->topic, sizeof(e.topic));
		memset(r.tail + used, 0, bytes);
		memcpy(r.tail + used, &e, sizeof(e));
		memcpy(r.tail + used + sizeof(e), s->text, s->text_bytes);
		used += bytes;
		r.w.count++;
	}
	lt_job_reply(job, &r, sizeof(r.w), used, NULL, 0);
}
