/*
 * scan.c - the pass over the log that recovery and rebuild make.
 *
 * Every valid record gives the queue entry that its own queueOffset names, so
 * a pass may be repeated, or begin anywhere before what is missing. A record
 * costs its checksum, one look into a small cache of queues, and one entry in a
 * buffer; nothing is allocated for it.
 *
 * Where the log says that a topic is deleted its queues go, files and all, as
 * they went while the store was alive (deletion.h).
 *
 * A record that is intact but cannot be indexed (a topic that is no directory
 * name, a queue offset out of all proportion in a record that no whole-record
 * CRC vouches for) is treated like damage: named, counted, left out.
 */
#include "config.h"
#include "store/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "store/deletion.h"

#define CACHE 1024
#define GAP_MAX (1 << 20) /* believed without a whole-record CRC */
#define PROGRESS_BYTES (16u << 20)

struct cached {
	struct lt_cq *cq;
	const char *topic;
	uint32_t topic_bytes;
};

struct scan {
	const struct lt_scan_config *c;
	struct lt_recovered *out;
	struct lt_hash sessions; /* session -> index into marks, plus 1 */
	size_t mark_capacity;
	size_t last_mark; /* index of the mark used last */
	struct lt_session_trace *traces;
	size_t trace_head; /* the first that counts */
	size_t trace_end;
	size_t trace_capacity;
	uint64_t log_min;
	struct lt_deletions gone;
	int is_numbered; /* the snapshot's queues are in */
	struct cached cache[CACHE];
};

/* --- saying what is wrong ------------------------------------------------- */

static void
say(struct scan *s, const char *what, uint64_t log_offset, uint64_t bytes)
{
	char line[160];

	s->out->damaged++;
	if (s->c->report == NULL) {
		lt_log_warn(what, "offset=%" PRIu64 " bytes=%" PRIu64,
		    log_offset, bytes);
		return;
	}
	snprintf(line, sizeof(line), "%s offset=%" PRIu64 " bytes=%" PRIu64,
	    what, log_offset, bytes);
	s->c->report(s->c->user, line);
}

/* --- sessions ------------------------------------------------------------- */

static int
find_mark(struct scan *s, uint64_t session, struct lt_session_mark **out)
{
	struct lt_recovered *r = s->out;
	void *value;
	int rc;

	if (LT_LIKELY(s->last_mark < r->mark_count &&
		      r->marks[s->last_mark].session == session)) {
		*out = &r->marks[s->last_mark];
		return LEAT_OK;
	}
	value = lt_hash_get(&s->sessions, &session, sizeof(session));
	if (value == NULL) {
		rc = lt_mem_grow((void **)&r->marks, &s->mark_capacity,
		    r->mark_count, sizeof(r->marks[0]));
		if (rc != LEAT_OK)
			return rc;
		r->marks[r->mark_count] =
		    (struct lt_session_mark){.session = session};
		value = (void *)(uintptr_t)(r->mark_count + 1);
		rc =
		    lt_hash_put(&s->sessions, &session, sizeof(session), value);
		if (rc != LEAT_OK)
			return rc;
		r->mark_count++;
	}
	s->last_mark = (size_t)(uintptr_t)value - 1;
	*out = &r->marks[s->last_mark];
	return LEAT_OK;
}

static int
seed_marks(struct scan *s)
{
	const struct lt_snapshot *snap = s->c->snap;
	struct lt_session_mark *mark;

	for (size_t i = 0; snap != NULL && i < snap->mark_count; i++) {
		int rc = find_mark(s, snap->marks[i].session, &mark);

		if (rc != LEAT_OK)
			return rc;
		*mark = snap->marks[i];
	}
	return LEAT_OK;
}

/* RocketMQ's own UNIQ_KEY looks the same: only a record that ends like ours
 * names a session. */
static int
identity(const struct lt_record_view *v, uint64_t *session, uint64_t *seq)
{
	return lt_record_identity(v, session, seq) == LEAT_OK &&
	       lt_record_has_crc(v);
}

static int
push_trace(struct scan *s, const struct lt_record_view *v, uint64_t session,
    uint64_t seq)
{
	int rc;

	/* Full: make room in front if at least half of it is out of date. */
	if (s->trace_end == s->trace_capacity) {
		while (s->trace_head < s->trace_end &&
		       s->traces[s->trace_head].log_offset +
			       (int64_t)LT_SCAN_TRACE_BYTES <
			   v->log_offset)
			s->trace_head++;
		if (s->trace_head > s->trace_end / 2) {
			s->trace_end -= s->trace_head;
			memmove(s->traces, s->traces + s->trace_head,
			    s->trace_end * sizeof(s->traces[0]));
			s->trace_head = 0;
		}
	}
	rc = lt_mem_grow((void **)&s->traces, &s->trace_capacity, s->trace_end,
	    sizeof(s->traces[0]));
	if (rc != LEAT_OK)
		return rc;
	s->traces[s->trace_end++] = (struct lt_session_trace){
	    .session = session,
	    .seq = seq,
	    .log_offset = v->log_offset,
	    .queue_offset = v->queue_offset,
	    .store_ms = v->store_ms,
	};
	return LEAT_OK;
}

static int
note_session(struct scan *s, const struct lt_record_view *v)
{
	struct lt_session_mark *mark;
	uint64_t session, seq;
	int rc;

	if (!identity(v, &session, &seq))
		return LEAT_OK;
	rc = find_mark(s, session, &mark);
	if (rc != LEAT_OK)
		return rc;
	if (seq > mark->seq)
		mark->seq = seq;
	if (v->store_ms > mark->last_ms)
		mark->last_ms = v->store_ms;
	return push_trace(s, v, session, seq);
}

/* --- queues --------------------------------------------------------------- */

/* *out NULL: of a topic that is deleted. */
static int
find_queue(struct scan *s, const struct lt_record_view *v, struct lt_cq **out)
{
	uint64_t h = v->topic_bytes * 31u + v->queue;
	struct cached *slot;
	uint64_t tail = 0;
	int rc;

	if (v->topic_bytes >= sizeof(tail))
		memcpy(&tail, v->topic + v->topic_bytes - sizeof(tail),
		    sizeof(tail));
	else
		memcpy(&tail, v->topic, v->topic_bytes);
	h = (tail ^ h * 0x9e3779b97f4a7c15u) * 0x9e3779b97f4a7c15u;
	slot = &s->cache[h >> 54];
	if (LT_LIKELY(slot->cq != NULL && slot->cq->queue == v->queue &&
		      slot->topic_bytes == v->topic_bytes &&
		      memcmp(slot->topic, v->topic, v->topic_bytes) == 0)) {
		*out = slot->cq;
		return LEAT_OK;
	}
	*out = NULL;
	if (LT_UNLIKELY(lt_deletion_is_on(&s->gone, v->topic, v->topic_bytes)))
		return LEAT_OK;
	rc = lt_cq_get(s->c->queues, v->topic, v->topic_bytes, v->queue, out);
	if (rc != LEAT_OK)
		return rc;
	slot->cq = *out;
	slot->topic = lt_cq_topic_name(*out);
	slot->topic_bytes = v->topic_bytes;
	return LEAT_OK;
}

_Static_assert(CACHE == 1 << (64 - 54), "the cache's index");

/* 1 if the offset lies too far behind what the queue has to be true. */
static int
is_wild(const struct scan *s, const struct lt_cq *cq,
    const struct lt_record_view *v)
{
	if (v->queue_offset < 0 || v->queue_offset > LT_CQ_OFFSET_MAX)
		return 1;
	if (v->queue_offset - cq->next <= GAP_MAX ||
	    (cq->next == 0 && s->log_min > 0))
		return 0;
	return !lt_record_has_crc(v);
}

static int
dispatch(struct scan *s, const struct lt_record_view *v)
{
	struct lt_cq_entry entry = {
	    .log_offset = v->log_offset,
	    .bytes = v->bytes,
	};
	static const struct lt_cq_entry gone;
	struct lt_cq *cq;
	int rc = find_queue(s, v, &cq);

	if (LT_UNLIKELY(rc == LEAT_OK && cq == NULL))
		return LEAT_OK;
	if (LT_UNLIKELY(rc == LEAT_E_NAME || rc == LEAT_E_QUEUE ||
			(rc == LEAT_OK && is_wild(s, cq, v)))) {
		say(s, "record.unusable", (uint64_t)v->log_offset, v->bytes);
		return LEAT_OK;
	}
	if (LT_UNLIKELY(rc != LEAT_OK))
		return rc;
	entry.tags_code = lt_record_tags_code(v);
	s->out->entries++;
	if (LT_LIKELY(v->queue_offset == cq->next))
		return lt_cq_append(s->c->queues, cq, &entry);
	/* The log's first record of a queue that begins at 0: what is missing
	 * before it is gone, whatever the queue's file says. */
	while (rc == LEAT_OK && s->log_min == 0 && cq->next < v->queue_offset &&
	       v->queue_offset <= GAP_MAX)
		rc = lt_cq_append(s->c->queues, cq, &gone);
	if (rc != LEAT_OK)
		return rc;
	return lt_cq_put_at(s->c->queues, cq, v->queue_offset, &entry);
}

/* --- topics --------------------------------------------------------------- */

/* A topic's configuration: if it is deleted its queues go. */
static int
configure(struct scan *s, const struct lt_record_view *v)
{
	const char *topic;
	int rc = lt_deletion_take(&s->gone, v, &topic);

	if (rc != LEAT_OK || topic == NULL)
		return rc;
	memset(s->cache, 0, sizeof(s->cache));
	rc = lt_cq_drop_topic(s->c->queues, topic);
	lt_cq_free_dropped(s->c->queues);
	return rc == LEAT_E_NAME ? LEAT_OK : rc; /* never had a queue */
}

/* A snapshot taken after a deletion was logged and before the store was told
 * still has the topic. The queue manager tells before it logs the next change,
 * so only the last record can be such a deletion. */
static int
look_back(struct scan *s)
{
	struct lt_record_view v;
	int rc;

	if (s->c->last_config == NULL)
		return LEAT_OK;
	rc = lt_reader_get(s->c->reader, *s->c->last_config, &v);
	if (rc == LEAT_OK)
		return lt_deletion_is_config(&v) ? configure(s, &v) : LEAT_OK;
	return rc == LEAT_E_NOMEM || rc == LEAT_E_IO ? rc : LEAT_OK;
}

/* At the snapshot's place: queues are at least as far as it says. Numbers are
 * not given twice, even if the records are gone. */
static int
number(struct scan *s)
{
	const struct lt_snapshot *snap = s->c->snap;
	int rc = look_back(s);

	s->is_numbered = 1;
	for (size_t i = 0; rc == LEAT_OK && i < snap->queue_count; i++) {
		const struct lt_snapshot_queue *q = &snap->queues[i];
		struct lt_cq *cq;

		if (lt_deletion_is_on(&s->gone, q->topic, q->topic_bytes))
			continue;
		rc = lt_cq_get(
		    s->c->queues, q->topic, q->topic_bytes, q->queue, &cq);
		if (rc == LEAT_OK && cq->next < q->next) {
			rc = lt_cq_flush(s->c->queues, cq);
			if (rc == LEAT_OK)
				cq->next = cq->flushed = q->next;
		}
	}
	return rc;
}

/* --- the pass ------------------------------------------------------------- */

static int
take(struct scan *s, const struct lt_record_view *v)
{
	int rc;

	if (v->store_ms > s->out->last_store_ms)
		s->out->last_store_ms = v->store_ms;
	rc = note_session(s, v);
	if (LT_UNLIKELY(rc == LEAT_OK && !s->is_numbered &&
			(uint64_t)v->log_offset >= s->c->snap->log_offset))
		rc = number(s);
	if (LT_LIKELY(rc == LEAT_OK && lt_scan_is_indexed(v)))
		rc = dispatch(s, v);
	if (LT_UNLIKELY(rc == LEAT_OK && lt_deletion_is_config(v)))
		rc = configure(s, v);
	s->out->records++;
	return rc;
}

static int
walk(struct scan *s, uint64_t *end_out)
{
	struct lt_reader *r = s->c->reader;
	uint64_t limit = lt_reader_limit(r);
	uint64_t from = s->c->from, pos = from, told = from;
	struct lt_record_view v;
	uint64_t damaged;
	int rc;

	for (;;) {
		rc = lt_reader_next(r, pos, limit, &v, &damaged);
		if (rc == LEAT_E_END)
			break;
		if (LT_UNLIKELY(rc != LEAT_OK))
			return rc;
		if (LT_UNLIKELY(damaged != 0))
			say(s, "log.damaged", lt_reader_damage_at(r), damaged);
		rc = take(s, &v);
		if (LT_LIKELY(rc == LEAT_OK))
			rc = lt_sys_status(lt_failpoint(LT_FP_STORE_RECOVER));
		if (LT_UNLIKELY(rc != LEAT_OK))
			return rc;
		pos = (uint64_t)v.log_offset + v.bytes;
		if (LT_UNLIKELY(pos - told >= PROGRESS_BYTES)) {
			told = pos;
			if (s->c->progress != NULL)
				s->c->progress((unsigned)((pos - from) * 100 /
							  (limit - from)),
				    s->c->user);
		}
	}
	*end_out = lt_reader_end(r, pos);
	return s->is_numbered ? LEAT_OK : number(s);
}

/* Traces from before the pass began, if it began within the last part. */
static int
trace_back(struct scan *s, uint64_t end)
{
	struct lt_reader *r = s->c->reader;
	uint64_t pos = s->log_min, from = s->c->from;
	size_t first = s->trace_head;
	size_t later_count = s->trace_end - s->trace_head;
	struct lt_session_trace *old = s->traces;
	struct lt_record_view v;
	uint64_t session, seq, damaged;
	int rc = LEAT_OK;

	if (end > LT_SCAN_TRACE_BYTES && end - LT_SCAN_TRACE_BYTES > pos)
		pos = end - LT_SCAN_TRACE_BYTES;
	if (pos >= from)
		return LEAT_OK;
	s->traces = NULL;
	s->trace_head = s->trace_end = s->trace_capacity = 0;
	while (rc == LEAT_OK &&
	       (rc = lt_reader_next(r, pos, from, &v, &damaged)) == LEAT_OK) {
		pos = (uint64_t)v.log_offset + v.bytes;
		if (identity(&v, &session, &seq))
			rc = push_trace(s, &v, session, seq);
		if (v.store_ms > s->out->last_store_ms)
			s->out->last_store_ms = v.store_ms;
	}
	if (rc == LEAT_E_END)
		rc = LEAT_OK;
	for (size_t i = 0; rc == LEAT_OK && i < later_count; i++) {
		rc = lt_mem_grow((void **)&s->traces, &s->trace_capacity,
		    s->trace_end, sizeof(s->traces[0]));
		if (rc == LEAT_OK)
			s->traces[s->trace_end++] = old[first + i];
	}
	lt_mem_free(old);
	return rc;
}

/* Say so if what follows the end is the rest of something. */
static void
look_at_tail(struct scan *s, uint64_t end)
{
	const uint8_t *p;
	size_t bytes;

	if (end >= lt_reader_limit(s->c->reader) ||
	    lt_reader_bytes(s->c->reader, end, &p, &bytes) != LEAT_OK)
		return;
	bytes =
	    lt_reader_there(s->c->reader, end, bytes < 65536 ? bytes : 65536);
	/* All of it is like its first byte, mostly. */
	if (bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0))
		return;
	while (p[bytes - 1] == 0)
		bytes--;
	lt_log_warn("log.tail_cut", "offset=%" PRIu64 " bytes=%zu%s", end,
	    bytes, bytes == 65536 ? "+" : "");
}

int
lt_scan_run(const struct lt_scan_config *config, struct lt_recovered *out)
{
	struct scan *s = lt_mem_alloc(sizeof(*s));
	uint64_t end = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	if (s == NULL)
		return LEAT_E_NOMEM;
	s->c = config;
	s->out = out;
	s->log_min = lt_reader_min(config->reader);
	s->is_numbered = config->snap == NULL || config->snap->buf == NULL;
	lt_hash_init(&s->sessions);
	lt_deletion_init(&s->gone);
	rc = seed_marks(s);
	if (rc == LEAT_OK)
		rc = walk(s, &end);
	if (rc == LEAT_OK)
		rc = trace_back(s, end);
	if (rc == LEAT_OK) {
		look_at_tail(s, end);
		out->log_end = end;
		out->scanned_bytes = end - config->from;
		while (s->trace_head < s->trace_end &&
		       (uint64_t)s->traces[s->trace_head].log_offset +
			       LT_SCAN_TRACE_BYTES <
			   end)
			s->trace_head++;
		out->trace_count = s->trace_end - s->trace_head;
		if (s->trace_head > 0)
			memmove(s->traces, s->traces + s->trace_head,
			    out->trace_count * sizeof(s->traces[0]));
		out->traces = s->traces;
		s->traces = NULL;
	} else {
		lt_recovered_fini(out);
	}
	lt_hash_fini(&s->sessions);
	lt_deletion_fini(&s->gone);
	lt_mem_free(s->traces);
	lt_mem_free(s);
	return rc;
}

void
lt_recovered_fini(struct lt_recovered *r)
{
	lt_mem_free(r->marks);
	lt_mem_free(r->traces);
	memset(r, 0, sizeof(*r));
}
