/*
 * tail.c - the walk along the end of the log.
 *
 * The records are the store's own and lie below the end that its beacon shows,
 * so their structure is checked, not their checksum: who sends one, checks it.
 * A queue offset that does not follow the last one (a topic deleted and made
 * again, damage) empties the ring, which always holds a run without a gap.
 */
#include "config.h"
#include "tail/tail.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"

#define LAG_MAX (64u << 20) /* farther behind: the files will have it */

struct lt_tail {
	struct lt_reader *reader;
	struct lt_hash queues; /* by key_of */
	struct lt_tail_queue *grown;
	uint64_t at; /* walked up to here; UINT64_MAX: not walking */
};

struct key {
	uint8_t bytes[4 + LT_NAME_FIELD];
	size_t count;
};

static void
key_of(struct key *k, const char *topic, size_t topic_bytes, uint32_t queue)
{
	lt_bytes_put32(k->bytes, queue);
	memcpy(k->bytes + 4, topic, topic_bytes);
	k->count = 4 + topic_bytes;
}

int
lt_tail_create(struct lt_reader *reader, struct lt_tail **out)
{
	struct lt_tail *t = lt_mem_alloc(sizeof *t);

	if (t == NULL)
		return LEAT_E_NOMEM;
	t->reader = reader;
	t->at = UINT64_MAX;
	lt_hash_init(&t->queues);
	*out = t;
	return LEAT_OK;
}

void
lt_tail_destroy(struct lt_tail *t)
{
	struct lt_tail_queue *q;
	size_t cursor = 0;

	if (t == NULL)
		return;
	while ((q = lt_hash_next(&t->queues, &cursor)) != NULL)
		lt_mem_free(q);
	lt_hash_fini(&t->queues);
	lt_mem_free(t);
}

struct lt_tail_queue *
lt_tail_queue(struct lt_tail *t, const char *topic, size_t topic_bytes,
    uint32_t queue, uint64_t log_end)
{
	struct lt_tail_queue *q;
	struct key k;

	if (topic_bytes >= LT_NAME_FIELD)
		return NULL;
	key_of(&k, topic, topic_bytes, queue);
	q = lt_hash_get(&t->queues, k.bytes, k.count);
	if (LT_LIKELY(q != NULL))
		return q;
	q = lt_mem_alloc(sizeof *q + topic_bytes + 1);
	if (q == NULL)
		return NULL;
	memcpy(q + 1, topic, topic_bytes);
	q->topic = (const char *)(q + 1);
	q->queue = queue;
	q->first = q->next = q->min = q->end = -1;
	if (lt_hash_put(&t->queues, k.bytes, k.count, q) != LEAT_OK) {
		lt_mem_free(q);
		return NULL;
	}
	if (t->at == UINT64_MAX)
		t->at = log_end;
	return q;
}

struct lt_tail_queue *
lt_tail_find(const struct lt_tail *t, const char *topic, size_t topic_bytes,
    uint32_t queue)
{
	struct key k;

	if (topic_bytes >= LT_NAME_FIELD)
		return NULL;
	key_of(&k, topic, topic_bytes, queue);
	return lt_hash_get(&t->queues, k.bytes, k.count);
}

void
lt_tail_drop(struct lt_tail *t, struct lt_tail_queue *q)
{
	struct lt_tail_queue **link = &t->grown;
	struct key k;

	LT_ASSERT(q->user == NULL);
	while (q->is_grown && *link != q)
		link = &(*link)->grown_next;
	if (q->is_grown)
		*link = q->grown_next;
	key_of(&k, q->topic, strlen(q->topic), q->queue);
	(void)lt_hash_del(&t->queues, k.bytes, k.count);
	lt_mem_free(q);
	if (t->queues.used == 0)
		t->at = UINT64_MAX;
}

size_t
lt_tail_count(const struct lt_tail *t)
{
	return t->queues.used;
}

struct lt_tail_queue *
lt_tail_next(const struct lt_tail *t, size_t *cursor)
{
	return lt_hash_next(&t->queues, cursor);
}

void
lt_tail_told(struct lt_tail_queue *q, int64_t min, int64_t max, uint64_t now_ms)
{
	q->min = min;
	q->told_ms = now_ms > 0 ? now_ms : 1;
	if (max > q->end)
		q->end = max;
}

static void
grow(struct lt_tail *t, struct lt_tail_queue *q)
{
	if (q->is_grown)
		return;
	q->is_grown = 1;
	q->grown_next = t->grown;
	t->grown = q;
}

static void
take(struct lt_tail *t, const struct lt_record_view *v)
{
	struct lt_tail_queue *q;
	struct lt_cq_entry *e;
	struct key k;

	if (v->topic_bytes >= LT_NAME_FIELD)
		return;
	key_of(&k, v->topic, v->topic_bytes, v->queue);
	q = lt_hash_get(&t->queues, k.bytes, k.count);
	if (q == NULL)
		return;
	if (v->queue_offset != q->next)
		q->first = v->queue_offset;
	e = &q->ring[v->queue_offset & (LT_TAIL_ENTRIES - 1)];
	e->log_offset = v->log_offset;
	e->bytes = v->bytes;
	e->tags_code = lt_record_tags_code(v);
	q->next = q->end = v->queue_offset + 1;
	if (q->next - q->first > LT_TAIL_ENTRIES)
		q->first = q->next - LT_TAIL_ENTRIES;
	grow(t, q);
}

static void
jump(struct lt_tail *t, uint64_t log_end)
{
	struct lt_tail_queue *q;
	size_t cursor = 0;

	t->at = log_end;
	while ((q = lt_hash_next(&t->queues, &cursor)) != NULL) {
		q->first = q->next = q->end = -1;
		q->told_ms = 0;
		grow(t, q);
	}
}

/* The records in [p, p + bytes), the log's at t->at, that begin below stop. END
 * at a BLANK, CORRUPT at what is no record. */
static int
walk(struct lt_tail *t, const uint8_t *p, size_t bytes, uint64_t stop)
{
	struct lt_record_view v;
	size_t at = 0;
	int rc = LEAT_OK;

	while (at < bytes && t->at < stop) {
		rc = lt_record_parse(p + at, bytes - at, &v);
		if (rc == LEAT_OK &&
		    (v.log_offset != (int64_t)t->at || v.queue_offset < 0 ||
			v.queue_offset > LT_CQ_OFFSET_MAX))
			rc = LEAT_E_CORRUPT;
		if (rc != LEAT_OK)
			break;
		take(t, &v);
		at += v.bytes;
		t->at += v.bytes;
	}
	return rc;
}

/* Over what is no record. */
static int
skip(struct lt_tail *t, uint64_t log_end)
{
	struct lt_record_view v;
	uint64_t damaged;
	int rc = lt_reader_next(t->reader, t->at, log_end, &v, &damaged);

	if (rc == LEAT_OK)
		t->at = (uint64_t)v.log_offset;
	if (rc == LEAT_E_END)
		t->at = log_end;
	return rc == LEAT_E_END ? LEAT_OK : rc;
}

int
lt_tail_follow(struct lt_tail *t, uint64_t log_end, uint64_t budget)
{
	uint64_t stop;
	int is_fresh = 0;

	if (t->at == UINT64_MAX)
		return LEAT_OK;
	/* Behind us: another store, whose log ended earlier. */
	if (log_end < t->at || log_end - t->at > LAG_MAX)
		jump(t, log_end);
	stop = log_end - t->at > budget ? t->at + budget : log_end;
	while (t->at < stop) {
		const uint8_t *p;
		size_t bytes;
		int rc = lt_reader_bytes(t->reader, t->at, &p, &bytes);

		if (rc == LEAT_E_NOTFOUND && !is_fresh) {
			is_fresh = 1; /* the log rolled */
			rc = lt_reader_refresh(t->reader);
			if (rc == LEAT_OK)
				continue;
		}
		if (rc != LEAT_OK)
			return rc;
		if (bytes > log_end - t->at)
			bytes = log_end - t->at;
		rc = walk(t, p, bytes, stop);
		if (rc == LEAT_E_END)
			t->at = lt_reader_next_segment(t->reader, t->at);
		else if (rc != LEAT_OK)
			rc = skip(t, log_end);
		if (rc != LEAT_OK && rc != LEAT_E_END)
			return rc;
	}
	return t->at < log_end ? LEAT_E_AGAIN : LEAT_OK;
}

struct lt_tail_queue *
lt_tail_grown(struct lt_tail *t)
{
	struct lt_tail_queue *q = t->grown;

	if (q == NULL)
		return NULL;
	t->grown = q->grown_next;
	q->is_grown = 0;
	return q;
}

size_t
lt_tail_entries(const struct lt_tail_queue *q, int64_t offset,
    struct lt_cq_entry *out, size_t max)
{
	size_t n = 0;

	if (offset < q->first || q->next < 0)
		return 0;
	for (; n < max && offset < q->next; n++, offset++)
		out[n] = q->ring[offset & (LT_TAIL_ENTRIES - 1)];
	return n;
}
