/*
 * verify.c - offline: is what lies on disk consistent? The log is walked once;
 * each record's queue entry is looked up and compared; then what the queue
 * files have beyond the records, and the snapshot. Nothing is written.
 *
 * A finding is one line: what, where (offsets), and whose. A record behind the
 * snapshot whose entry is missing is none: recovery makes it.
 *
 * A deleted topic's records own no entries. Whether a topic is deleted later in
 * the log is asked only when something of it seems wrong: then a second reader
 * looks through the log once, for all topics.
 *
 * Memory: a small window of entries for each queue that has records.
 */
#include "config.h"
#include "store/recover.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "store/deletion.h"
#include "store/reader.h"
#include "store/scan.h"
#include "store/snapshot.h"

#define WINDOW 64
#define LINE_BYTES 512
#define KEY_BYTES (LT_NAME_FIELD + sizeof(uint32_t))

struct queue {
	char topic[LT_NAME_FIELD];
	uint32_t queue;
	int64_t first; /* offset of the first record in the log; -1: none */
	int64_t next; /* behind the last one */
	int64_t at_snapshot; /* behind the last one below the snapshot */
	int64_t window_at; /* of WINDOW entries, the first window_count read */
	size_t window_count;
	struct lt_cq_entry window[WINDOW];
};

struct verify {
	struct lt_reader *reader;
	struct lt_cq_view *view;
	struct lt_snapshot snap;
	int has_snapshot;
	struct lt_hash queues;
	struct lt_deletions gone; /* as of the record reached */
	struct lt_deletions ahead; /* as of the log's end, once looked */
	int has_looked;
	uint64_t last_config; /* its last record below the snapshot */
	int store_dir;
	struct lt_verify_report *out;
	void (*report)(void *user, const char *line);
	void *user;
};

static void say(struct verify *v, const char *fmt, ...) LT_PRINTF(2, 3);

static void
say(struct verify *v, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	v->out->damaged++;
	if (v->report == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	v->report(v->user, line);
}

/* --- queues --------------------------------------------------------------- */

static size_t
make_key(char key[KEY_BYTES], const char *topic, size_t bytes, uint32_t queue)
{
	memcpy(key, &queue, sizeof(queue));
	memcpy(key + sizeof(queue), topic, bytes);
	return sizeof(queue) + bytes;
}

static struct queue *
find_queue(struct verify *v, const char *topic, size_t bytes, uint32_t number)
{
	char key[KEY_BYTES];

	if (bytes >= LT_NAME_FIELD)
		return NULL;
	return lt_hash_get(
	    &v->queues, key, make_key(key, topic, bytes, number));
}

static int
get_queue(
    struct verify *v, const struct lt_record_view *view, struct queue **out)
{
	char key[KEY_BYTES];
	struct queue *q =
	    find_queue(v, view->topic, view->topic_bytes, view->queue);
	int rc;

	if (q == NULL) {
		q = lt_mem_alloc(sizeof(*q));
		if (q == NULL)
			return LEAT_E_NOMEM;
		memcpy(q->topic, view->topic, view->topic_bytes);
		q->queue = view->queue;
		q->first = -1;
		q->window_at = -WINDOW;
		rc = lt_hash_put(&v->queues, key,
		    make_key(key, view->topic, view->topic_bytes, view->queue),
		    q);
		if (rc != LEAT_OK) {
			lt_mem_free(q);
			return rc;
		}
	}
	*out = q;
	return LEAT_OK;
}

/* --- deleted topics ------------------------------------------------------- */

static int
look_ahead(struct verify *v)
{
	uint64_t pos = lt_reader_min(v->reader), limit, damaged;
	struct lt_record_view view;
	struct lt_reader *r;
	const char *topic;
	int rc;

	v->has_looked = 1;
	rc = lt_reader_open(v->store_dir, &r);
	if (rc != LEAT_OK)
		return rc;
	limit = lt_reader_limit(r);
	while (
	    (rc = lt_reader_next(r, pos, limit, &view, &damaged)) == LEAT_OK) {
		if (lt_deletion_is_config(&view))
			rc = lt_deletion_take(&v->ahead, &view, &topic);
		if (rc != LEAT_OK)
			break;
		pos = (uint64_t)view.log_offset + view.bytes;
	}
	lt_reader_close(r);
	return rc == LEAT_E_END ? LEAT_OK : rc;
}

/* 1: the record's topic is deleted behind it, so its entry does not matter; 0;
 * or a status. */
static int
is_doomed(struct verify *v, const struct lt_record_view *view)
{
	const struct lt_deletion *t;
	int rc = v->has_looked ? LEAT_OK : look_ahead(v);

	if (rc != LEAT_OK)
		return rc;
	t = lt_deletion_find(&v->ahead, view->topic, view->topic_bytes);
	return t != NULL && t->at > (uint64_t)view->log_offset;
}

/* May the snapshot and the files still have the topic? The store drops it a
 * little after the deletion is logged; recovery makes up for it. */
static int
is_just_deleted(const struct verify *v, const struct lt_deletion *t)
{
	return !v->has_snapshot || t->at >= v->snap.log_offset ||
	       t->at == v->last_config;
}

/* 1 if the entry is one of the topic before it was deleted. */
static int
is_left_over(const struct verify *v, const char *topic, int64_t log_offset)
{
	const struct lt_deletion *t =
	    lt_deletion_find(&v->gone, topic, strlen(topic));

	return t != NULL && (uint64_t)log_offset < t->until &&
	       is_just_deleted(v, t);
}

/* The topic's queues begin again. */
static void
end_topic(struct verify *v, const char *topic, uint64_t at)
{
	struct queue *q;
	size_t cursor = 0;

	while ((q = lt_hash_next(&v->queues, &cursor)) != NULL) {
		if (strcmp(q->topic, topic) != 0)
			continue;
		q->first = -1;
		q->next = 0;
		if (v->has_snapshot && at < v->snap.log_offset)
			q->at_snapshot = 0;
	}
}

static int
check_config(struct verify *v, const struct lt_record_view *view)
{
	uint64_t at = (uint64_t)view->log_offset;
	const char *topic;
	int rc = lt_deletion_take(&v->gone, view, &topic);

	if (v->has_snapshot && at < v->snap.log_offset)
		v->last_config = at;
	if (rc == LEAT_OK && topic != NULL)
		end_topic(v, topic, at);
	return rc;
}

/* --- entries -------------------------------------------------------------- */

/* Entry `offset` of a queue; all zero if there is none. */
static int
get_entry(
    struct verify *v, struct queue *q, int64_t offset, struct lt_cq_entry *out)
{
	memset(out, 0, sizeof(*out));
	if (offset < q->window_at || offset - q->window_at >= WINDOW) {
		int rc = lt_cq_view_read(v->view, q->topic, q->queue, offset,
		    q->window, WINDOW, &q->window_count);

		q->window_at = offset;
		if (rc != LEAT_OK && rc != LEAT_E_NOTFOUND)
			return rc;
		if (rc != LEAT_OK)
			q->window_count = 0;
	}
	if ((size_t)(offset - q->window_at) < q->window_count)
		*out = q->window[offset - q->window_at];
	return LEAT_OK;
}

/* Entries [from, to) of a queue have no record: report those that claim to.
 * to -1: as far as there are any. */
static int
check_unowned(struct verify *v, const char *topic, uint32_t queue, int64_t from,
    int64_t to)
{
	struct lt_cq_entry block[WINDOW];
	uint64_t log_min = lt_reader_min(v->reader);

	while (to < 0 || from < to) {
		size_t want =
		    to < 0 || to - from > WINDOW ? WINDOW : (size_t)(to - from);
		size_t count;
		int rc = lt_cq_view_read(
		    v->view, topic, queue, from, block, want, &count);

		if (rc == LEAT_E_NOTFOUND || (rc == LEAT_OK && count == 0))
			return LEAT_OK;
		if (rc != LEAT_OK)
			return rc;
		for (size_t i = 0; i < count; i++)
			/* 0x7fffffff: RocketMQ's filler before a queue's
			 * first entry. */
			if (block[i].bytes != 0 &&
			    block[i].bytes != 0x7fffffff &&
			    (uint64_t)block[i].log_offset >= log_min &&
			    !is_left_over(v, topic, block[i].log_offset))
				say(v,
				    "entry.nowhere topic=%s queue=%u "
				    "queue_offset=%" PRId64
				    " points_to=%" PRId64,
				    topic, queue, from + (int64_t)i,
				    block[i].log_offset);
		from += (int64_t)count;
	}
	return LEAT_OK;
}

/* Is the record's entry as it should be? */
static int
check_entry(
    struct verify *v, struct queue *q, const struct lt_record_view *view)
{
	uint64_t at = (uint64_t)view->log_offset;
	int below = v->has_snapshot && at < v->snap.log_offset;
	struct lt_cq_entry e;
	int rc = get_entry(v, q, view->queue_offset, &e);

	if (rc != LEAT_OK || (e.bytes == 0 && !below))
		return rc;
	if (e.log_offset == view->log_offset && e.bytes == view->bytes &&
	    e.tags_code == lt_record_tags_code(view)) {
		v->out->entries++;
		return LEAT_OK;
	}
	rc = is_doomed(v, view);
	if (rc != 0)
		return rc < 0 ? rc : LEAT_OK;
	if (e.bytes == 0) {
		say(v,
		    "entry.missing topic=%s queue=%u queue_offset=%" PRId64
		    " record=%" PRIu64,
		    q->topic, q->queue, view->queue_offset, at);
		return LEAT_OK;
	}
	v->out->entries++;
	say(v,
	    "entry.wrong topic=%s queue=%u queue_offset=%" PRId64
	    " record=%" PRIu64 " points_to=%" PRId64 " bytes=%u",
	    q->topic, q->queue, view->queue_offset, at, e.log_offset, e.bytes);
	return LEAT_OK;
}

/* Queue offsets [expected, the record's) have no record. */
static int
check_hole(struct verify *v, struct queue *q, const struct lt_record_view *view,
    int64_t expected)
{
	int rc = is_doomed(v, view);

	if (rc != 0)
		return rc < 0 ? rc : LEAT_OK;
	say(v,
	    "queue.hole topic=%s queue=%u queue_offsets=%" PRId64 "..%" PRId64
	    " before=%" PRIu64,
	    q->topic, q->queue, expected, view->queue_offset - 1,
	    (uint64_t)view->log_offset);
	return check_unowned(
	    v, q->topic, q->queue, expected, view->queue_offset);
}

static int
check_record(struct verify *v, const struct lt_record_view *view)
{
	uint64_t at = (uint64_t)view->log_offset;
	int64_t expected;
	struct queue *q;
	int rc;

	if (!lt_cq_is_name(view->topic, view->topic_bytes) ||
	    view->queue >= LT_QUEUES_MAX || view->queue_offset < 0 ||
	    view->queue_offset > LT_CQ_OFFSET_MAX) {
		say(v, "record.unusable offset=%" PRIu64 " bytes=%u", at,
		    view->bytes);
		return LEAT_OK;
	}
	if (lt_deletion_is_on(&v->gone, view->topic, view->topic_bytes))
		return LEAT_OK;
	rc = get_queue(v, view, &q);
	if (rc != LEAT_OK)
		return rc;
	/* What retention took came before; a topic made again begins at 0. */
	expected = q->first < 0 && lt_reader_min(v->reader) > 0 &&
			   lt_deletion_find(
			       &v->gone, view->topic, view->topic_bytes) == NULL
		       ? view->queue_offset
		       : q->next;
	if (q->first < 0)
		q->first = view->queue_offset;
	if (view->queue_offset > expected)
		rc = check_hole(v, q, view, expected);
	if (view->queue_offset >= q->next)
		q->next = view->queue_offset + 1;
	if (v->has_snapshot && at < v->snap.log_offset)
		q->at_snapshot = q->next;
	return rc == LEAT_OK ? check_entry(v, q, view) : rc;
}

/* --- the log -------------------------------------------------------------- */

static int
check_log(struct verify *v)
{
	struct lt_reader *r = v->reader;
	uint64_t limit = lt_reader_limit(r), pos = lt_reader_min(r);
	struct lt_record_view view;
	uint64_t damaged;
	int rc;

	v->out->segments = lt_reader_count(r);
	while (
	    (rc = lt_reader_next(r, pos, limit, &view, &damaged)) == LEAT_OK) {
		if (damaged != 0)
			say(v, "log.damaged offset=%" PRIu64 " bytes=%" PRIu64,
			    lt_reader_damage_at(r), damaged);
		v->out->records++;
		if (lt_scan_is_indexed(&view))
			rc = check_record(v, &view);
		if (rc == LEAT_OK && lt_deletion_is_config(&view))
			rc = check_config(v, &view);
		if (rc != LEAT_OK)
			return rc;
		pos = (uint64_t)view.log_offset + view.bytes;
	}
	if (rc != LEAT_E_END)
		return rc;
	v->out->log_end = lt_reader_end(r, pos);
	v->out->bytes = v->out->log_end - lt_reader_min(r);
	return LEAT_OK;
}

/* A queue on disk: entries before its first and behind its last record. */
static int
check_files(const char *topic, uint32_t number, void *user)
{
	struct verify *v = user;
	struct queue *q = find_queue(v, topic, strlen(topic), number);
	uint64_t log_min = lt_reader_min(v->reader);
	int64_t min = 0;
	int rc = LEAT_OK;

	v->out->queues++;
	if (q == NULL || q->first < 0)
		return check_unowned(v, topic, number, 0, -1);
	if (log_min > 0) {
		rc = lt_cq_view_min(
		    v->view, topic, number, log_min, q->first, &min);
		if (rc == LEAT_OK)
			rc = check_unowned(v, topic, number, min, q->first);
	}
	if (rc == LEAT_OK)
		rc = check_unowned(v, topic, number, q->next, -1);
	return rc;
}

/* --- the snapshot --------------------------------------------------------- */

static int
open_snapshot(struct verify *v, int store_dir)
{
	int rc = lt_snapshot_read(store_dir, &v->snap);

	if (rc == LEAT_E_CORRUPT || rc == LEAT_E_VERSION)
		say(v, "snapshot.%s",
		    rc == LEAT_E_VERSION ? "version" : "damaged");
	v->has_snapshot = rc == LEAT_OK;
	return rc == LEAT_E_NOTFOUND || rc == LEAT_E_CORRUPT ||
		       rc == LEAT_E_VERSION
		   ? LEAT_OK
		   : rc;
}

/* 1 if the topic had been deleted, and the store told so, when the snapshot was
 * taken: then it may not be in there. */
static int
is_stale(const struct verify *v, const struct lt_snapshot_queue *q)
{
	const struct lt_deletion *t =
	    lt_deletion_find(&v->gone, q->topic, q->topic_bytes);

	return t != NULL && t->until >= v->snap.log_offset &&
	       !is_just_deleted(v, t);
}

static int
check_snapshot(struct verify *v)
{
	const struct lt_snapshot *s = &v->snap;
	size_t cursor = 0, named = 0;
	struct queue *q;
	int rc;

	if (!v->has_snapshot || s->log_offset < lt_reader_min(v->reader))
		return LEAT_OK;
	if (s->log_offset > v->out->log_end) {
		say(v,
		    "snapshot.beyond_end offset=%" PRIu64 " log_end=%" PRIu64,
		    s->log_offset, v->out->log_end);
		return LEAT_OK;
	}
	rc = lt_snapshot_match(s, v->reader);
	if (rc == LEAT_E_CORRUPT || rc == LEAT_E_END) {
		say(v, "snapshot.foreign offset=%" PRIu64, s->log_offset);
		return LEAT_OK;
	}
	if (rc != LEAT_OK)
		return rc;
	for (size_t i = 0; i < s->queue_count; i++) {
		const struct lt_snapshot_queue *have = &s->queues[i];

		q = find_queue(v, have->topic, have->topic_bytes, have->queue);
		if ((q == NULL || q->at_snapshot == 0) && !is_stale(v, have))
			continue;
		if (q == NULL || q->at_snapshot == 0) {
			say(v,
			    "snapshot.queue topic=%.*s queue=%u next=%" PRId64
			    " log_has=0",
			    (int)have->topic_bytes, have->topic, have->queue,
			    have->next);
			continue;
		}
		named++;
		if (q->at_snapshot != have->next)
			say(v,
			    "snapshot.queue topic=%s queue=%u next=%" PRId64
			    " log_has=%" PRId64,
			    q->topic, q->queue, have->next, q->at_snapshot);
	}
	while ((q = lt_hash_next(&v->queues, &cursor)) != NULL)
		named -= q->at_snapshot != 0;
	if (named != 0)
		say(v, "snapshot.queues missing=%zu offset=%" PRIu64,
		    (size_t)0 - named, s->log_offset);
	return LEAT_OK;
}

int
lt_recover_verify(int store_dir, struct lt_verify_report *out,
    void (*report)(void *user, const char *line), void *user)
{
	struct verify v = {.store_dir = store_dir,
	    .last_config = UINT64_MAX,
	    .out = out,
	    .report = report,
	    .user = user};
	size_t cursor = 0;
	struct queue *q;
	int rc;

	memset(out, 0, sizeof(*out));
	lt_hash_init(&v.queues);
	lt_deletion_init(&v.gone);
	lt_deletion_init(&v.ahead);
	rc = lt_reader_open(store_dir, &v.reader);
	if (rc != LEAT_OK)
		return rc;
	rc = lt_cq_view_open(store_dir, &v.view);
	if (rc == LEAT_OK)
		rc = open_snapshot(&v, store_dir);
	if (rc == LEAT_OK)
		rc = check_log(&v);
	if (rc == LEAT_OK)
		rc = lt_cq_view_each(v.view, check_files, &v);
	if (rc == LEAT_OK)
		rc = check_snapshot(&v);
	while ((q = lt_hash_next(&v.queues, &cursor)) != NULL)
		lt_mem_free(q);
	lt_hash_fini(&v.queues);
	lt_deletion_fini(&v.gone);
	lt_deletion_fini(&v.ahead);
	lt_snapshot_fini(&v.snap);
	lt_cq_view_close(v.view);
	lt_reader_close(v.reader);
	if (rc != LEAT_OK)
		return rc;
	return out->damaged > INT_MAX ? INT_MAX : (int)out->damaged;
}
