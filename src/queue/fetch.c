/*
 * fetch.c - reading from the log for clients: cold reads, replay for readers
 * whom the ring has lapped, queue ends. Records are copied from the log's
 * mappings into the session's fetch buffer, which the client maps read-only;
 * each copy is checked. Nothing is asked of the store unless the entries
 * wanted are not in the files yet.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "shm/counter.h"
#include "shm/ring.h"
#include "store/consumequeue.h"
#include "store/reader.h"

#define ENTRIES_AT_ONCE 256
#define ENTRIES_PER_FETCH 16384

enum step {
	START,
	SYNCED, /* the store wrote what it had of the queue */
	SYNCED_AGAIN /* because the files seemed to lack entries */
};

static uint64_t
span(uint64_t bytes)
{
	return lt_bytes_align(
	    sizeof(struct lt_ring_head) + bytes, LT_RING_ALIGN);
}

/*
 * A session has one buffer. Whoever asks for it anew has given up what it asked
 * for before: an answer to that, late because it waited for the store, must not
 * overwrite what the client is reading.
 */
int
lt_fetch_turn(struct lt_job *job)
{
	struct lt_session *s = lt_job_session(job);

	if (s == NULL)
		return LEAT_E_CLOSED;
	if (job->turn == 0)
		job->turn = ++s->fetch_turn;
	return job->turn == s->fetch_turn ? LEAT_OK : LEAT_E_AGAIN;
}

static int
new_buffer(struct lt_session *s, uint64_t need)
{
	uint64_t bytes =
	    lt_bytes_pow2(need > LT_FETCH_BYTES ? need : LT_FETCH_BYTES);
	struct lt_segment_head head = {.magic = LT_SEGMENT_FETCH,
	    .data_bytes = bytes,
	    .id = s->id,
	    .generation = s->m->generation};
	struct lt_segment seg;
	int fd, status;

	if (need > 2 * (uint64_t)LT_BODY_MAX)
		return LEAT_E_TOOBIG;
	status = lt_segment_create(&seg, "leat-fetch", &head, 1, &fd);
	if (status != LEAT_OK)
		return status;
	status = lt_segment_seal(fd, 1);
	if (status != LEAT_OK) {
		lt_segment_detach(&seg);
		close(fd);
		return status;
	}
	lt_segment_detach(&s->fetch);
	if (s->fetch_fd >= 0)
		close(s->fetch_fd);
	s->fetch = seg;
	s->fetch_fd = fd;
	return LEAT_OK;
}

int
lt_fetch_room(struct lt_session *s, uint64_t at, uint64_t bytes, int *fresh_out)
{
	uint64_t need = at + span(bytes);

	if (s->fetch.base != NULL && need <= s->fetch.head.data_bytes)
		return LEAT_OK;
	if (at > 0)
		return LEAT_E_LIMIT;
	*fresh_out = 1;
	return new_buffer(s, need);
}

int
lt_fetch_copy(struct lt_manager *m, struct lt_session *s, uint64_t at,
    int64_t log_offset, uint32_t bytes, struct lt_record_view *view)
{
	uint8_t *dst = (uint8_t *)s->fetch.base + LT_SEGMENT_DATA_AT + at;
	struct lt_ring_head head = {.bytes = bytes, .kind = LT_RING_RECORD};
	int status;

	status = lt_reader_copy(
	    m->reader, (uint64_t)log_offset, bytes, dst + sizeof(head), view);
	/* Files are listed anew for what may be there, not for each of many
	 * that retention took. */
	if (status == LEAT_E_NOTFOUND &&
	    (uint64_t)log_offset >= lt_manager_log_min(m) &&
	    lt_reader_refresh(m->reader) == LEAT_OK)
		status = lt_reader_copy(m->reader, (uint64_t)log_offset, bytes,
		    dst + sizeof(head), view);
	if (status != LEAT_OK)
		return status;
	head.queue_offset = view->queue_offset;
	head.log_offset = log_offset;
	head.tags_code = lt_record_tags_code(view);
	memcpy(dst, &head, sizeof(head));
	return LEAT_OK;
}

/* --- fetch --------------------------------------------------------------- */

struct fetch {
	struct lt_manager *m;
	struct lt_session *s;
	const struct lt_topic *topic;
	uint32_t queue;
	uint64_t max_bytes;
	uint32_t max_count;
	uint64_t used;
	int64_t next;
	int64_t end; /* entries below are in the files */
	uint32_t count;
	uint64_t skipped;
	int64_t missing; /* entries from next on that the files do not have */
	int stepped; /* over something that is not there */
	int fresh;
};

static int
is_wanted(const struct fetch *f, const struct lt_record_view *v)
{
	size_t n = strlen(f->topic->name);

	return v->queue_offset == f->next && v->queue == f->queue &&
	       v->topic_bytes == n && memcmp(v->topic, f->topic->name, n) == 0;
}

/* One entry. LEAT_OK: go on; LIMIT: enough; other: failed. */
static int
take_entry(struct fetch *f, const struct lt_cq_entry *e)
{
	struct lt_record_view v;
	int status;

	if (f->count >= f->max_count ||
	    (f->count > 0 && f->used + span(e->bytes) > f->max_bytes))
		return LEAT_E_LIMIT;
	status = LEAT_E_CORRUPT;
	/* Larger than any record: damaged, not a reason to ask for memory. */
	if (e->bytes > 0 && e->bytes <= LT_BODY_MAX + LT_RECORD_OVERHEAD) {
		status = lt_fetch_room(f->s, f->used, e->bytes, &f->fresh);
		if (status == LEAT_E_LIMIT || status == LEAT_E_NOSPACE ||
		    status == LEAT_E_NOMEM)
			return status;
		if (status == LEAT_OK)
			status = lt_fetch_copy(
			    f->m, f->s, f->used, e->log_offset, e->bytes, &v);
		if (status == LEAT_OK && !is_wanted(f, &v))
			status = LEAT_E_CORRUPT;
	}
	if (status == LEAT_OK) {
		f->used += span(e->bytes);
		f->count++;
	} else {
		f->stepped = 1;
		f->skipped += status != LEAT_E_NOTFOUND; /* else retained */
	}
	f->next++;
	return LEAT_OK;
}

static int
take_entries(struct fetch *f)
{
	struct lt_cq_entry entries[ENTRIES_AT_ONCE];
	int64_t end = f->end;
	size_t n;
	int status;

	if (end - f->next > ENTRIES_PER_FETCH)
		end = f->next + ENTRIES_PER_FETCH;
	while (f->next < end) {
		int64_t left = end - f->next;

		status = lt_cq_view_read(f->m->view, f->topic->name, f->queue,
		    f->next, entries,
		    left < ENTRIES_AT_ONCE ? (size_t)left : ENTRIES_AT_ONCE,
		    &n);
		if (status != LEAT_OK && status != LEAT_E_NOTFOUND)
			return status;
		if (status != LEAT_OK || n == 0) {
			f->missing = left;
			return LEAT_OK;
		}
		for (size_t i = 0; status == LEAT_OK && i < n; i++) {
			status = take_entry(f, &entries[i]);
			if (status == LEAT_E_LIMIT)
				return LEAT_OK;
		}
		if (status != LEAT_OK)
			return f->count > 0 ? LEAT_OK : status;
	}
	return LEAT_OK;
}

static void
reply_fetched(
    struct lt_job *job, const struct fetch *f, int64_t min, int64_t max)
{
	struct lt_wire_fetched r;

	memset(&r, 0, sizeof(r));
	r.count = f->count;
	r.has_buffer = (uint32_t)f->fresh;
	r.data_bytes = f->used;
	r.next_offset = f->next;
	r.min_offset = min;
	r.max_offset = f->next > max ? f->next : max;
	r.skipped = f->skipped;
	lt_stat_add(queue_fetches, 1);
	lt_job_reply(job, &r, sizeof(r), 0, &f->s->fetch_fd, f->fresh ? 1 : 0);
}

static int
check_fetch(struct lt_job *job, struct lt_topic **t_out)
{
	const struct lt_wire_fetch *req = (const void *)job->request;
	struct lt_topic *t = lt_topic_by_id(job->m, req->topic);
	int status;

	status = lt_fetch_turn(job);
	if (status != LEAT_OK)
		return status;
	if (t == NULL)
		return LEAT_E_NOTFOUND;
	status = lt_grants_read(job->m, &job->conn->peer, t);
	if (status != LEAT_OK)
		return status;
	if (req->queue >= t->read_queues)
		return LEAT_E_QUEUE;
	if (req->offset < 0)
		return LEAT_E_INVALID;
	*t_out = t;
	return job->step == START ? LEAT_OK : job->status;
}

static void
sync_first(struct lt_job *job, const struct lt_topic *t, enum step step)
{
	const struct lt_wire_fetch *req = (const void *)job->request;

	if (lt_job_needs_store(job))
		return;
	job->step = step;
	lt_storelink_sync(job->m, t->id, req->queue, t->name, job);
}

/*
 * Below what the store told every entry is in the files, so a reader is never
 * led over a stretch that looks empty before the store was asked once more.
 * Only then its messages are given up.
 */
static void
give_up(struct fetch *f)
{
	lt_log_warn("entries-gone", "topic=%s queue=%u offset=%lld count=%lld",
	    f->topic->name, f->queue, (long long)f->next,
	    (long long)f->missing);
	f->next += f->missing;
	f->skipped += (uint64_t)f->missing;
}

/* The store has to be asked first: the files may not have what is wanted. */
static int
wants_sync(const struct lt_job *job, const struct lt_qref *q)
{
	const struct lt_wire_fetch *req = (const void *)job->request;

	if (job->step != START || req->offset < q->synced)
		return 0;
	return q->state != LT_RING_READY || req->offset < lt_ringset_max(q);
}

static void
run_fetch(struct lt_job *job, const struct lt_topic *t, struct lt_qref *q)
{
	const struct lt_wire_fetch *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct fetch f = {.m = m,
	    .s = lt_job_session(job),
	    .topic = t,
	    .queue = req->queue,
	    .max_bytes = LT_FETCH_BYTES,
	    .max_count = UINT32_MAX,
	    .end = q->synced};
	int64_t min = lt_ringset_min(m, q, t);
	int status;

	if (req->max_bytes > 0 && req->max_bytes < f.max_bytes)
		f.max_bytes = req->max_bytes;
	if (req->max_count > 0)
		f.max_count = req->max_count;
	f.next = req->offset < min ? min : req->offset;
	status = take_entries(&f);
	if ((f.stepped || f.missing > 0) && !lt_storelink_alive(m)) {
		lt_job_restart(job);
		return;
	}
	if (status == LEAT_OK && f.missing > 0 && f.count == 0) {
		if (job->step != SYNCED_AGAIN) {
			sync_first(job, t, SYNCED_AGAIN);
			return;
		}
		give_up(&f);
	}
	if (status != LEAT_OK)
		lt_job_done(job, status);
	else
		reply_fetched(job, &f, min, lt_ringset_max(q));
}

void
lt_fetch_on_fetch(struct lt_job *job)
{
	struct lt_topic *t = NULL;
	struct lt_qref *q = NULL;
	int status = check_fetch(job, &t);

	if (status == LEAT_OK) {
		q = lt_ringset_get(job->m, t->id,
		    ((const struct lt_wire_fetch *)job->request)->queue);
		status = q == NULL ? LEAT_E_NOMEM : LEAT_OK;
	}
	if (status != LEAT_OK)
		lt_job_done(job, status);
	else if (wants_sync(job, q))
		sync_first(job, t, SYNCED);
	else
		run_fetch(job, t, q);
}

/* --- range, status ------------------------------------------------------- */

void
lt_fetch_on_range(struct lt_job *job)
{
	const struct lt_wire_queue *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_wire_range r;
	struct lt_topic *t = NULL;
	struct lt_qref *q;
	int status = LEAT_OK;

	if (!lt_bytes_terminated(req->name, sizeof(req->name)))
		status = LEAT_E_NAME;
	else if ((t = lt_topic_find(m, req->name)) == NULL)
		status = LEAT_E_NOTFOUND;
	else if (lt_grants_topic(m, &job->conn->peer, req->name) == 0)
		status = LEAT_E_DENIED;
	else if (req->queue >= t->read_queues && req->queue >= t->write_queues)
		status = LEAT_E_QUEUE;
	else if (job->step == SYNCED)
		status = job->status;
	q = status == LEAT_OK ? lt_ringset_get(m, t->id, req->queue) : NULL;
	if (status == LEAT_OK && q == NULL)
		status = LEAT_E_NOMEM;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (job->step == START) {
		job->step = SYNCED;
		lt_storelink_sync(m, t->id, req->queue, t->name, job);
		return;
	}
	memset(&r, 0, sizeof(r));
	r.max_offset = job->max;
	r.min_offset = lt_ringset_min(m, q, t);
	if (r.min_offset > r.max_offset)
		r.min_offset = r.max_offset;
	lt_job_reply(job, &r, sizeof(r), 0, NULL, 0);
}

void
lt_fetch_on_status(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	struct lt_wire_status r;

	memset(&r, 0, sizeof(r));
	memcpy(r.broker, m->options.broker_name, sizeof(r.broker));
	r.broker[sizeof(r.broker) - 1] = 0;
	(void)lt_bytes_field(r.version, sizeof(r.version), PACKAGE_VERSION);
	lt_job_reply(
	    job, &r, sizeof(r), 0, &m->counter_fd, m->counter_fd >= 0 ? 1 : 0);
}
