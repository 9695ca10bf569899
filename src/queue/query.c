/*
 * query.c - find messages by id or key. The key index is brought up to the
 * log's end first, a piece per round of the event loop so that nobody else
 * waits; what it answers are candidates, so every record is read and compared.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/offsetid.h"
#include "queue/keyindex.h"
#include "shm/counter.h"
#include "shm/ring.h"
#include "store/reader.h"

#define STEP_BYTES (4u << 20)
#define FIND_MAX 256
#define FIND_BYTES (16u << 20)

enum {
	WHAT_ID = 1,
	WHAT_KEY = 2
};

void
lt_query_open(struct lt_manager *m)
{
	int status;

	if (m->keys != NULL)
		return;
	status = lt_keyindex_open(m->store_fd, &m->keys);
	if (status != LEAT_OK) {
		m->keys = NULL;
		lt_log_warn("key-index-unavailable", "status=\"%s\"",
		    leat_status_text(status));
	}
}

void
lt_query_close(struct lt_manager *m)
{
	lt_keyindex_close(m->keys);
	m->keys = NULL;
}

void
lt_query_trim(struct lt_manager *m)
{
	if (m->keys != NULL && m->reader != NULL)
		(void)!lt_keyindex_trim(m->keys, lt_reader_min(m->reader));
}

int
lt_query_step(struct lt_manager *m)
{
	uint64_t end = 0;
	struct lt_job *job;
	int status;

	if (TAILQ_EMPTY(&m->index_waiting))
		return 0;
	TAILQ_FOREACH(job, &m->index_waiting, wait_link)
	if (job->number > end)
		end = job->number;
	status = lt_keyindex_step(m->keys, m->reader, STEP_BYTES, end);
	if (status == LEAT_E_AGAIN)
		return 1;
	if (status != LEAT_OK)
		lt_log_warn("key-index-behind", "status=\"%s\"",
		    leat_status_text(status));
	m->index_status = status;
	lt_job_wake(&m->index_waiting);
	return !TAILQ_EMPTY(&m->index_waiting);
}

/* --- comparing ----------------------------------------------------------- */

static int
has_word(const char *words, size_t bytes, const char *key, size_t key_bytes)
{
	size_t at = 0;

	while (at < bytes) {
		const char *space = memchr(words + at, ' ', bytes - at);
		size_t n =
		    space == NULL ? bytes - at : (size_t)(space - words) - at;

		if (n == key_bytes && memcmp(words + at, key, n) == 0)
			return 1;
		at += n + 1;
	}
	return 0;
}

static int
carries(const struct lt_record_view *v, uint32_t what, const char *key)
{
	size_t key_bytes = strlen(key), bytes;
	const char *value;

	if (lt_record_property(v, "UNIQ_KEY", 8, &value, &bytes) == LEAT_OK &&
	    bytes == key_bytes && strncasecmp(value, key, bytes) == 0)
		return 1;
	return what == WHAT_KEY &&
	       lt_record_property(v, "KEYS", 4, &value, &bytes) == LEAT_OK &&
	       has_word(value, bytes, key, key_bytes);
}

/* The topic of a record if this client may read it. */
static struct lt_topic *
readable(struct lt_job *job, const struct lt_record_view *v)
{
	char name[LT_NAME_FIELD];
	struct lt_topic *t;

	if (v->topic_bytes >= sizeof(name))
		return NULL;
	memcpy(name, v->topic, v->topic_bytes);
	name[v->topic_bytes] = 0;
	t = lt_topic_find(job->m, name);
	return t != NULL &&
		       lt_grants_read(job->m, &job->conn->peer, t) == LEAT_OK
		   ? t
		   : NULL;
}

struct found {
	uint64_t at[FIND_MAX];
	uint32_t bytes[FIND_MAX];
	size_t n;
};

/* Keep of the candidates those that are what was asked for. */
static void
verify(struct lt_job *job, const uint64_t *offsets, size_t n, uint32_t max,
    struct found *found)
{
	const struct lt_wire_find *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	uint64_t total = 0;

	found->n = 0;
	/* Newest first, so that these remain when there are too many. */
	while (n-- > 0 && found->n < max) {
		struct lt_record_view v;
		struct lt_topic *t;

		if (lt_reader_get(m->reader, offsets[n], &v) != LEAT_OK)
			continue;
		t = readable(job, &v);
		if (t == NULL || !carries(&v, req->what, req->key) ||
		    (req->topic[0] != 0 && strcmp(t->name, req->topic) != 0))
			continue;
		total += v.bytes + LT_RING_ALIGN * 2;
		if (found->n > 0 && total > FIND_BYTES)
			return;
		found->at[found->n] = offsets[n];
		found->bytes[found->n++] = v.bytes;
	}
}

/* RocketMQ's offset id: address, port, log offset, all in hexadecimal. */
static void
by_offset_id(struct lt_job *job, struct found *found)
{
	const struct lt_wire_find *req = (const void *)job->request;
	struct lt_record_view v;
	struct lt_offsetid id;
	struct lt_topic *t;

	if (lt_offsetid_decode(req->key, strlen(req->key), &id) != LEAT_OK ||
	    id.log_offset >= lt_reader_limit(job->m->reader) ||
	    lt_reader_get(job->m->reader, id.log_offset, &v) != LEAT_OK)
		return;
	if (lt_bytes_get32(v.base + 64) != id.ip || /* the store host */
	    lt_bytes_get32(v.base + 68) != id.port)
		return;
	t = readable(job, &v);
	if (t == NULL ||
	    (req->topic[0] != 0 && strcmp(t->name, req->topic) != 0))
		return;
	found->at[0] = id.log_offset;
	found->bytes[0] = v.bytes;
	found->n = 1;
}

struct walk {
	struct lt_manager *m;
	size_t cursor;
};

static const char *
next_topic(void *user)
{
	struct walk *w = user;
	struct lt_topic *t;

	while ((t = lt_hash_next(&w->m->topics_by_name, &w->cursor)) != NULL)
		if (!t->deleted)
			return t->name;
	return NULL;
}

static int
search_index(struct lt_job *job, uint32_t max, struct found *found)
{
	const struct lt_wire_find *req = (const void *)job->request;
	struct walk walk = {.m = job->m};
	uint64_t offsets[FIND_MAX * 2];
	size_t n = 0, cap = LT_COUNT(offsets);
	int status;

	if (req->topic[0] != 0)
		status = lt_keyindex_find(job->m->keys, req->topic,
		    strlen(req->topic), req->key, strlen(req->key), 0,
		    INT64_MAX, offsets, cap, &n);
	else
		status = lt_keyindex_find_by_id(job->m->keys, req->key,
		    strlen(req->key), next_topic, &walk, offsets, cap, &n);
	if (status == LEAT_OK)
		verify(job, offsets, n, max, found);
	return status;
}

/* --- the request --------------------------------------------------------- */

static void
reply_found(struct lt_job *job, struct found *found)
{
	struct lt_session *s = lt_job_session(job);
	struct lt_record_view v;
	struct lt_wire_fetched r;
	uint64_t total = 0, at = 0;
	int fresh = 0;

	memset(&r, 0, sizeof(r));
	for (size_t i = 0; i < found->n; i++)
		total += found->bytes[i] + LT_RING_ALIGN * 2;
	int status = lt_fetch_room(s, 0, total, &fresh);
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	for (size_t i = found->n; i-- > 0;) { /* oldest first */
		if (lt_fetch_copy(job->m, s, at, (int64_t)found->at[i],
			found->bytes[i], &v) != LEAT_OK) {
			r.skipped++;
			continue;
		}
		at += lt_bytes_align(
		    sizeof(struct lt_ring_head) + found->bytes[i],
		    LT_RING_ALIGN);
		r.count++;
	}
	r.has_buffer = (uint32_t)fresh;
	r.data_bytes = at;
	r.h.status = r.count > 0 ? LEAT_OK : LEAT_E_NOTFOUND;
	lt_job_reply(job, &r, sizeof(r), 0, &s->fetch_fd, fresh ? 1 : 0);
}

static int
check_find(struct lt_job *job)
{
	const struct lt_wire_find *req = (const void *)job->request;

	int status = lt_fetch_turn(job);

	if (status != LEAT_OK)
		return status;
	if (!lt_bytes_terminated(req->topic, sizeof(req->topic)) ||
	    !lt_bytes_terminated(req->key, sizeof(req->key)))
		return LEAT_E_NAME;
	if ((req->what != WHAT_ID && req->what != WHAT_KEY) ||
	    req->key[0] == 0 || (req->what == WHAT_KEY && req->topic[0] == 0))
		return LEAT_E_INVALID;
	if (req->topic[0] != 0 && lt_topic_find(job->m, req->topic) == NULL)
		return LEAT_E_NOTFOUND;
	return job->m->keys == NULL || job->m->reader == NULL
		   ? LEAT_E_UNSUPPORTED
		   : LEAT_OK;
}

void
lt_query_on_find(struct lt_job *job)
{
	const struct lt_wire_find *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct found found = {.n = 0};
	uint32_t max =
	    req->max == 0 || req->max > FIND_MAX ? FIND_MAX : req->max;
	int status = check_find(job);

	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (job->step == 0) {
		job->step = 1;
		job->number =
		    lt_counter_read(&m->counters, LT_STAT_store_log_end);
		if (lt_keyindex_end(m->keys) < job->number) {
			lt_job_wait(job, &m->index_waiting);
			return;
		}
	} else if (lt_keyindex_end(m->keys) < job->number &&
		   m->index_status == LEAT_OK) {
		lt_job_wait(job, &m->index_waiting);
		return;
	}
	status = search_index(job, max, &found);
	if (status == LEAT_OK && found.n == 0 && req->what == WHAT_ID)
		by_offset_id(job, &found);
	if (status == LEAT_OK && found.n == 0)
		status = LEAT_E_NOTFOUND;
	if (status != LEAT_OK)
		lt_job_done(job, status);
	else
		reply_found(job, &found);
}
