/*
 * state.c - what must survive, as records of the two system topics.
 *
 *   rmq_sys_leat_config    one record per topic configuration, as properties;
 *                          one per setting of a group (groupconf.c), one per
 *                          grant (grantops.c)
 *   rmq_sys_leat_progress  records with many entries, as a body:
 *     u16 entry bytes, u8 flags (1 deleted), u8 mode, u32 queue, i64 offset,
 *     u8 group, u8 topic, u8 member lengths, then their characters; big-endian
 *
 * The later record wins. Now and then the complete state is written again:
 * a record tagged "begin", all of it, a record tagged "end". Reading starts at
 * the newest "begin" that has its "end" (so a death in between costs nothing),
 * found by tags code from the end of the consume queue backwards.
 */
#include "config.h"
#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"
#include "shm/counter.h"
#include "store/consumequeue.h"
#include "store/reader.h"

#define ENTRY_FIXED 19
#define SCAN_ENTRIES 1024
#define APPEND_MAX 49152

/* --- making records ------------------------------------------------------ */

struct lt_wire_append *
lt_state_record(uint32_t topic, const char *tag,
    const struct lt_record_property *props, size_t prop_count, const void *body,
    size_t body_bytes, size_t *bytes_out)
{
	static const char *const names[] = {
	    [LT_STATE_CONFIG] = LT_NAME_CONFIG_TOPIC,
	    [LT_STATE_PROGRESS] = LT_NAME_PROGRESS_TOPIC,
	    [LT_STATE_AUDIT] = LT_NAME_AUDIT_TOPIC};
	const char *name = names[topic];
	struct lt_record_spec spec = {.topic = name,
	    .topic_bytes = strlen(name),
	    .born_ms = lt_clock_wall_ms(),
	    .tag = tag,
	    .tag_bytes = strlen(tag),
	    .properties = props,
	    .property_count = prop_count};
	size_t bytes = lt_record_bytes(&spec, body_bytes);
	struct lt_wire_append *msg;
	uint8_t *record;

	LT_ASSERT(bytes > 0 && bytes <= APPEND_MAX);
	msg = lt_mem_alloc(sizeof(*msg) + bytes);
	if (msg == NULL)
		return NULL;
	record = lt_wire_tail(msg, sizeof(*msg));
	if (body_bytes > 0)
		memcpy(record + LT_RECORD_BODY_AT, body, body_bytes);
	bytes = lt_record_finish(record, &spec, body_bytes);
	lt_wire_init(&msg->h, LT_OP_S_APPEND, sizeof(*msg), bytes, 0);
	msg->topic = topic;
	msg->level = LEAT_SYNCED;
	*bytes_out = sizeof(*msg) + bytes;
	return msg;
}

static void
append(struct lt_manager *m, struct lt_wire_append *msg, size_t bytes,
    lt_storelink_done *done, uint64_t number)
{
	if (msg == NULL)
		lt_manager_fatal("out of memory");
	lt_storelink_call(m, msg, bytes, NULL, 0, done, number, NULL);
	lt_mem_free(msg);
}

static const char *const field_names[] = {LT_NAME_CONFIG_NAME,
    LT_NAME_CONFIG_ID, LT_NAME_CONFIG_READ, LT_NAME_CONFIG_WRITE,
    LT_NAME_CONFIG_PERM, LT_NAME_CONFIG_LEVEL, LT_NAME_CONFIG_DELETED,
    LT_NAME_CONFIG_SYSTEM};
#define FIELDS LT_COUNT(field_names)

static struct lt_wire_append *
make_config(const struct lt_topic *t, size_t *bytes_out)
{
	const uint32_t numbers[FIELDS] = {0, t->id, t->read_queues,
	    t->write_queues, t->perm, t->level, t->deleted, t->system};
	struct lt_record_property props[FIELDS];
	char text[FIELDS][12];

	for (size_t i = 0; i < FIELDS; i++) {
		snprintf(text[i], sizeof(text[i]), "%u", numbers[i]);
		props[i].name = field_names[i];
		props[i].name_bytes = strlen(field_names[i]);
		props[i].value = i == 0 ? t->name : text[i];
		props[i].value_bytes = strlen(props[i].value);
	}
	return lt_state_record(
	    LT_STATE_CONFIG, "topic", props, FIELDS, NULL, 0, bytes_out);
}

void
lt_state_log_topic(struct lt_job *job, const struct lt_topic *config)
{
	size_t bytes;
	struct lt_wire_append *msg = make_config(config, &bytes);

	if (msg == NULL)
		lt_manager_fatal("out of memory");
	lt_storelink_job(job, msg, bytes);
	lt_mem_free(msg);
}

static void
seen_logged(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct lt_topic *t = lt_topic_by_id(m, (uint32_t)number);

	if (t != NULL && status == LEAT_OK)
		t->logged = 1;
	if (status != LEAT_OK && status != LEAT_E_UNREACHABLE)
		lt_log_warn("topic-not-logged", "id=%u status=\"%s\"",
		    (unsigned)number, leat_status_text(status));
	lt_manager_settled(m);
}

void
lt_state_log_seen(struct lt_manager *m, const struct lt_topic *topic)
{
	size_t bytes;
	struct lt_wire_append *msg = make_config(topic, &bytes);

	append(m, msg, bytes, seen_logged, topic->id);
}

void
lt_state_batch_init(struct lt_state_batch *batch)
{
	batch->bytes = 0;
	batch->entries = 0;
}

int
lt_state_batch_add(struct lt_state_batch *batch, const char *group,
    const char *topic, const char *member, uint32_t mode, uint32_t queue,
    int64_t offset, int deleted)
{
	size_t g = strlen(group), t = strlen(topic), k = strlen(member);
	size_t bytes = ENTRY_FIXED + g + t + k;
	uint8_t *p = batch->body + batch->bytes;

	LT_ASSERT(g < 256 && t < 256 && k < 256);
	if (batch->bytes + bytes > sizeof(batch->body))
		return LEAT_E_LIMIT;
	lt_bytes_put16(p, (uint16_t)bytes);
	p[2] = deleted ? 1 : 0;
	p[3] = (uint8_t)mode;
	lt_bytes_put32(p + 4, queue);
	lt_bytes_put64(p + 8, (uint64_t)offset);
	p[16] = (uint8_t)g;
	p[17] = (uint8_t)t;
	p[18] = (uint8_t)k;
	memcpy(p + ENTRY_FIXED, group, g);
	memcpy(p + ENTRY_FIXED + g, topic, t);
	memcpy(p + ENTRY_FIXED + g + t, member, k);
	batch->bytes += bytes;
	batch->entries++;
	return LEAT_OK;
}

void
lt_state_batch_job(struct lt_state_batch *batch, struct lt_job *job)
{
	size_t bytes;
	struct lt_wire_append *msg = lt_state_record(LT_STATE_PROGRESS,
	    "progress", NULL, 0, batch->body, batch->bytes, &bytes);

	if (msg == NULL)
		lt_manager_fatal("out of memory");
	job->m->progress_records++;
	lt_stat_add(queue_progress_records, 1);
	lt_storelink_job(job, msg, bytes);
	lt_mem_free(msg);
	lt_state_batch_init(batch);
}

/* --- changed progress ---------------------------------------------------- */

static void
flush_end(struct lt_manager *m)
{
	int failed = m->flush_failed;

	m->flush_failed = 0;
	for (size_t i = 0; i < m->progress_count; i++) {
		struct lt_progress *p = m->progress[i];

		if (p == NULL || !p->in_flight)
			continue;
		p->in_flight = 0;
		if (failed) {
			p->dirty = 1;
			continue;
		}
		p->logged = p->sent;
		if (p->deleted && !p->dirty)
			lt_group_progress_free(m, p);
	}
	if (failed)
		m->flush_at_ms =
		    lt_clock_mono_ms() + m->options.queue_progress_ms;
	else if (m->flush_wanted)
		lt_state_flush(m);
	if (m->rewrite_wanted)
		lt_state_rewrite(m);
}

static void
flush_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	if (status != LEAT_OK) {
		m->flush_failed = 1;
		if (status != LEAT_E_UNREACHABLE)
			lt_log_warn("progress-not-logged", "status=\"%s\"",
			    leat_status_text(status));
	}
	LT_ASSERT(m->flush_calls > 0);
	if (--m->flush_calls == 0)
		flush_end(m);
}

/* Send the batch; the answer goes to done. */
static void
batch_send(struct lt_manager *m, struct lt_state_batch *batch,
    enum leat_level level, lt_storelink_done *done, unsigned *calls)
{
	size_t bytes;
	struct lt_wire_append *msg;

	if (batch->entries == 0)
		return;
	msg = lt_state_record(LT_STATE_PROGRESS, "progress", NULL, 0,
	    batch->body, batch->bytes, &bytes);
	if (msg != NULL)
		msg->level = (uint32_t)level;
	++*calls;
	m->progress_records++;
	lt_stat_add(queue_progress_records, 1);
	append(m, msg, bytes, done, 0);
	lt_state_batch_init(batch);
}

/* Add a progress, sending the batch first if it is full. */
static void
batch_put(struct lt_manager *m, struct lt_state_batch *batch,
    const struct lt_progress *p, int64_t offset, enum leat_level level,
    lt_storelink_done *done, unsigned *calls)
{
	for (int tries = 0; tries < 2; tries++) {
		if (lt_state_batch_add(batch, p->group->name, p->topic_name,
			p->member, p->mode, p->queue, offset,
			(int)p->deleted) == LEAT_OK)
			return;
		batch_send(m, batch, level, done, calls);
	}
}

/*
 * Nobody was promised this progress, so no client waits for the disk on its
 * account: the store syncs it within its half second.
 */
void
lt_state_flush(struct lt_manager *m)
{
	struct lt_state_batch *batch;

	/* Behind a seek that is not in memory yet it would undo it. */
	m->flush_wanted = m->flush_calls > 0 || m->change != NULL;
	if (m->flush_wanted || m->phase != LT_PHASE_UP)
		return;
	m->flush_at_ms = 0;
	batch = lt_mem_alloc(sizeof(*batch));
	if (batch == NULL)
		lt_manager_fatal("out of memory");
	lt_state_batch_init(batch);
	for (size_t i = 0; i < m->progress_count; i++) {
		struct lt_progress *p = m->progress[i];

		if (p == NULL || !p->dirty)
			continue;
		p->dirty = 0;
		p->in_flight = 1;
		p->sent = p->offset;
		(void)lt_failpoint(LT_FP_QUEUE_HARVEST);
		batch_put(m, batch, p, p->offset, LEAT_LOGGED, flush_done,
		    &m->flush_calls);
	}
	batch_send(m, batch, LEAT_LOGGED, flush_done, &m->flush_calls);
	lt_mem_free(batch);
	if (m->progress_records > LT_STATE_RECORDS)
		lt_state_rewrite(m);
}

/* --- the complete state -------------------------------------------------- */

static void
rewrite_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	if (status != LEAT_OK)
		m->rewrite_failed = 1;
	LT_ASSERT(m->rewrite_calls > 0);
	if (--m->rewrite_calls > 0)
		return;
	if (m->rewrite_failed) {
		m->rewrite_wanted = 1; /* with the next flush or store */
		lt_log_warn("state-not-logged", "status=\"%s\"",
		    leat_status_text(status));
	} else
		lt_log_info("state-logged",
		    "topics=%zu settings=%zu grants=%zu progress=%zu",
		    m->topic_count, m->settings.used,
		    lt_rulebook_count(m->grants), m->progress_live);
	m->rewrite_failed = 0;
}

static void
mark(struct lt_manager *m, uint32_t topic, const char *tag)
{
	size_t bytes;
	struct lt_wire_append *msg =
	    lt_state_record(topic, tag, NULL, 0, NULL, 0, &bytes);

	m->rewrite_calls++;
	append(m, msg, bytes, rewrite_done, 0);
}

static void
rewrite_config(struct lt_manager *m)
{
	struct lt_topic *t;
	const struct lt_setting *s;
	struct lt_wire_append *msg;
	size_t cursor = 0, bytes;

	mark(m, LT_STATE_CONFIG, "begin");
	while ((t = lt_hash_next(&m->topics_by_name, &cursor)) != NULL) {
		if (t->id <= LT_STATE_AUDIT)
			continue;
		msg = make_config(t, &bytes);
		m->rewrite_calls++;
		append(m, msg, bytes, rewrite_done, 0);
	}
	TAILQ_FOREACH(s, &m->settings_list, link)
	{
		msg = lt_groupconf_record(s, &bytes);
		m->rewrite_calls++;
		append(m, msg, bytes, rewrite_done, 0);
	}
	for (size_t i = 0; i < lt_rulebook_count(m->grants); i++) {
		msg = lt_grantops_record(lt_rulebook_at(m->grants, i), &bytes);
		m->rewrite_calls++;
		append(m, msg, bytes, rewrite_done, 0);
	}
	mark(m, LT_STATE_CONFIG, "end");
}

static void
rewrite_progress(struct lt_manager *m)
{
	struct lt_state_batch *batch = lt_mem_alloc(sizeof(*batch));

	if (batch == NULL)
		lt_manager_fatal("out of memory");
	lt_state_batch_init(batch);
	mark(m, LT_STATE_PROGRESS, "begin");
	m->progress_records = 0;
	for (size_t i = 0; i < m->progress_count; i++) {
		struct lt_progress *p = m->progress[i];

		if (p != NULL && !p->deleted && p->offset >= 0)
			batch_put(m, batch, p, p->offset, LEAT_SYNCED,
			    rewrite_done, &m->rewrite_calls);
	}
	batch_send(m, batch, LEAT_SYNCED, rewrite_done, &m->rewrite_calls);
	mark(m, LT_STATE_PROGRESS, "end");
	lt_mem_free(batch);
}

void
lt_state_rewrite(struct lt_manager *m)
{
	/* A change that is sent but not answered is not in memory yet: a copy
	 * of memory behind it would undo it at the next start. */
	m->rewrite_wanted = 1;
	if (m->phase != LT_PHASE_UP || m->change != NULL ||
	    m->flush_calls > 0 || m->rewrite_calls > 0)
		return;
	m->rewrite_wanted = 0;
	rewrite_config(m);
	rewrite_progress(m);
}

int
lt_state_lock(struct lt_job *job)
{
	struct lt_manager *m = job->m;

	if (m->change != NULL && m->change != job) {
		lt_job_wait(job, &m->change_waiting);
		return LEAT_E_AGAIN;
	}
	m->change = job;
	return LEAT_OK;
}

void
lt_state_unlock(struct lt_manager *m)
{
	m->change = NULL;
	if (m->flush_wanted)
		lt_state_flush(m);
	if (m->rewrite_wanted)
		lt_state_rewrite(m);
	lt_job_wake(&m->change_waiting);
}

/* --- reading back -------------------------------------------------------- */

static uint32_t
number_of(const struct lt_record_view *v, const char *name)
{
	const char *value;
	size_t bytes;
	uint64_t n = 0;

	if (lt_record_property(v, name, strlen(name), &value, &bytes) !=
		LEAT_OK ||
	    bytes > 10)
		return 0;
	for (size_t i = 0; i < bytes; i++) {
		if (value[i] < '0' || value[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(value[i] - '0');
	}
	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

static int
apply_config(struct lt_manager *m, const struct lt_record_view *v)
{
	struct lt_topic t;
	const char *name;
	size_t bytes;

	if (lt_record_property(v, LT_NAME_CONFIG_NAME,
		sizeof(LT_NAME_CONFIG_NAME) - 1, &name, &bytes) != LEAT_OK)
		return lt_record_property(v, LT_NAME_GRANT_WHO,
			   sizeof(LT_NAME_GRANT_WHO) - 1, &name,
			   &bytes) == LEAT_OK
			   ? lt_grantops_apply(m, v)
			   : lt_groupconf_apply(m, v);
	memset(&t, 0, sizeof(t));
	if (bytes >= sizeof(t.name))
		return LEAT_E_CORRUPT;
	memcpy(t.name, name, bytes);
	t.id = number_of(v, LT_NAME_CONFIG_ID);
	t.read_queues = number_of(v, LT_NAME_CONFIG_READ);
	t.write_queues = number_of(v, LT_NAME_CONFIG_WRITE);
	t.perm = number_of(v, LT_NAME_CONFIG_PERM);
	t.level = number_of(v, LT_NAME_CONFIG_LEVEL);
	t.deleted = number_of(v, LT_NAME_CONFIG_DELETED);
	t.system = number_of(v, LT_NAME_CONFIG_SYSTEM);
	t.logged = 1;
	if (t.id <= LT_STATE_AUDIT || t.read_queues < 1 || t.write_queues < 1 ||
	    t.read_queues > LT_QUEUES_MAX || t.write_queues > LT_QUEUES_MAX ||
	    t.perm > LEAT_PERM_NONE || t.level > LEAT_SYNCED)
		return LEAT_E_CORRUPT;
	return lt_topic_put(m, &t);
}

static int
apply_entry(struct lt_manager *m, const uint8_t *p, size_t bytes)
{
	char group[256], topic[256], member[256];
	size_t g = p[16], t = p[17], k = p[18];
	struct lt_progress *progress;
	struct lt_topic *tp;
	int64_t offset = (int64_t)lt_bytes_get64(p + 8);

	if (ENTRY_FIXED + g + t + k != bytes || k >= LT_MEMBER_FIELD ||
	    offset < -1)
		return LEAT_E_CORRUPT;
	memcpy(group, p + ENTRY_FIXED, g);
	memcpy(topic, p + ENTRY_FIXED + g, t);
	memcpy(member, p + ENTRY_FIXED + g + t, k);
	group[g] = topic[t] = member[k] = 0;
	tp = lt_topic_find(m, topic);
	if (tp == NULL)
		return LEAT_OK; /* deleted since */
	if (p[2] & 1) {
		progress = lt_group_progress(
		    m, group, tp->id, lt_bytes_get32(p + 4), member);
		if (progress != NULL)
			lt_group_progress_free(m, progress);
		return LEAT_OK;
	}
	progress = lt_group_progress_get(
	    m, group, tp->id, lt_bytes_get32(p + 4), member);
	if (progress == NULL)
		return LEAT_E_NOMEM;
	progress->mode = p[3];
	progress->offset = progress->logged = offset;
	return LEAT_OK;
}

int
lt_state_apply_progress(struct lt_manager *m, const uint8_t *body, size_t bytes)
{
	while (bytes > 0) {
		size_t n = bytes < ENTRY_FIXED ? 0 : lt_bytes_get16(body);
		int status;

		if (n < ENTRY_FIXED || n > bytes)
			return LEAT_E_CORRUPT;
		status = apply_entry(m, body, n);
		if (status != LEAT_OK)
			return status;
		body += n;
		bytes -= n;
	}
	return LEAT_OK;
}

/* Newest entry below *at with this tag; *at becomes its offset. NOTFOUND. */
static int
find_back(struct lt_manager *m, const char *topic, const char *tag, int64_t min,
    int64_t *at)
{
	static struct lt_cq_entry entries[SCAN_ENTRIES];
	int64_t code = lt_name_tags_code(tag, strlen(tag));
	int64_t high = *at;

	while (high > min) {
		int64_t low =
		    high - SCAN_ENTRIES > min ? high - SCAN_ENTRIES : min;
		size_t n;
		int status = lt_cq_view_read(
		    m->view, topic, 0, low, entries, (size_t)(high - low), &n);

		if (status != LEAT_OK)
			return status;
		while (n > 0)
			if (entries[--n].bytes > 0 &&
			    entries[n].tags_code == code) {
				*at = low + (int64_t)n;
				return LEAT_OK;
			}
		high = low;
	}
	return LEAT_E_NOTFOUND;
}

/* Where to begin: the newest complete state, or the oldest record. */
static int64_t
find_begin(struct lt_manager *m, const char *topic, int64_t max)
{
	int64_t min, at = max, newest = max;

	if (lt_cq_view_min(
		m->view, topic, 0, lt_manager_log_min(m), max, &min) != LEAT_OK)
		min = 0;
	/* A complete state that was cut short: retention counts on it. */
	if (find_back(m, topic, "begin", min, &newest) == LEAT_OK &&
	    (find_back(m, topic, "end", min, &at) != LEAT_OK || at < newest))
		m->rewrite_wanted = 1;
	at = max;
	if (find_back(m, topic, "end", min, &at) == LEAT_OK &&
	    find_back(m, topic, "begin", min, &at) == LEAT_OK)
		return at;
	return min;
}

static int
load_topic(struct lt_manager *m, uint32_t id, const char *topic, int64_t max)
{
	static struct lt_cq_entry entries[SCAN_ENTRIES];
	int64_t at = find_begin(m, topic, max);
	uint64_t records = 0, damaged = 0;
	struct lt_record_view v;
	size_t n;

	while (at < max) {
		int64_t left = max - at;
		int status = lt_cq_view_read(m->view, topic, 0, at, entries,
		    left < SCAN_ENTRIES ? (size_t)left : SCAN_ENTRIES, &n);

		if (status != LEAT_OK)
			return status;
		if (n == 0)
			return LEAT_E_CORRUPT; /* the store said they are there
						*/
		for (size_t i = 0; i < n; i++, at++, records++) {
			status = LEAT_E_CORRUPT;
			if (entries[i].bytes > 0)
				status = lt_reader_get(m->reader,
				    (uint64_t)entries[i].log_offset, &v);
			if (status == LEAT_OK && id == LT_STATE_CONFIG)
				status = apply_config(m, &v);
			else if (status == LEAT_OK)
				status = lt_state_apply_progress(
				    m, v.body, v.body_bytes);
			if (status == LEAT_E_NOMEM)
				return status;
			damaged += status != LEAT_OK;
		}
	}
	if (id == LT_STATE_PROGRESS)
		m->progress_records = records;
	if (damaged > 0)
		lt_log_error("state-damaged", "topic=%s records=%llu", topic,
		    (unsigned long long)damaged);
	return LEAT_OK;
}

int
lt_state_load(struct lt_manager *m, int64_t config_max, int64_t progress_max)
{
	int status =
	    load_topic(m, LT_STATE_CONFIG, LT_NAME_CONFIG_TOPIC, config_max);

	if (status == LEAT_OK)
		status = lt_topic_settle(m);
	if (status == LEAT_OK)
		status = load_topic(
		    m, LT_STATE_PROGRESS, LT_NAME_PROGRESS_TOPIC, progress_max);
	if (status == LEAT_OK)
		lt_log_info("state-read",
		    "topics=%zu settings=%zu grants=%zu progress=%zu",
		    m->topic_count, m->settings.used,
		    lt_rulebook_count(m->grants), m->progress_live);
	return status;
}
