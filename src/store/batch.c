/*
 * batch.c - fill one append: take records out of the lanes, round robin, at
 * most 64 KiB or 256 records per lane and round, into the batch buffer; check
 * and seal our own copy. Whatever a client wrote is looked at only there.
 *
 * A record that is refused is completed with a status and leaves no trace in
 * the log; one that the log has already (written again after a crash) is
 * completed with its old place. Nothing is allocated here.
 */
#include "config.h"
#include "store/duty.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/leat.h"
#include "shm/counter.h"

#define TURN_BYTES 65536u
#define TURN_RECORDS 256u
#define HOT_MIN 64u /* fewer sessions than this are all hot */
#define IDLE_SWEEPS 64u /* then a session is cold */
#define COLD_EVERY 16u /* sweeps */
#define SYNC_ROUNDS 16u /* over the lanes before a sync */
#define RECORD_MIN 128u /* about the smallest sealed record */
/* Properties of a record without any of its own. */
#define PROPS_BARE (LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES)

int
lt_batch_init(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;
	const struct lt_options *o = &d->options;
	uint64_t segment = lt_commitlog_segment_bytes(d->log);
	uint64_t most = o->store_max_body_bytes + LT_RECORD_OVERHEAD;

	if (most > segment - LT_RECORD_BLANK_BYTES)
		most = segment - LT_RECORD_BLANK_BYTES;
	d->max_record = (uint32_t)most;
	b->limit = o->store_batch_bytes;
	b->buf_bytes = b->limit > most ? b->limit : most;
	b->capacity = (uint32_t)(b->limit / RECORD_MIN);
	b->buf = lt_mem_alloc(b->buf_bytes); /* not touched before it is used */
	b->recs = lt_mem_array(b->capacity, sizeof(*b->recs));
	if (b->buf == NULL || b->recs == NULL) {
		lt_batch_fini(d);
		return LEAT_E_NOMEM;
	}
	lt_batch_reset(d);
	return LEAT_OK;
}

void
lt_batch_fini(struct lt_duty *d)
{
	lt_mem_free(d->batch.buf);
	lt_mem_free(d->batch.recs);
	d->batch.buf = NULL;
	d->batch.recs = NULL;
}

void
lt_batch_reset(struct lt_duty *d)
{
	struct lt_batch *b = &d->batch;

	b->used = 0;
	b->count = 0;
	b->want_sync = 0;
	b->is_full = 0;
	b->is_appended = 0;
	b->indexed = 0;
	b->reply_count = 0;
	b->base = lt_commitlog_end(d->log);
	b->room = lt_commitlog_room(d->log);
}

int
lt_batch_roll(struct lt_duty *d)
{
	int status;

	LT_ASSERT(d->batch.count == 0);
	status = lt_commitlog_roll(d->log);
	if (status != LEAT_OK)
		return status;
	lt_batch_reset(d);
	if (d->dirty_since_ms == 0)
		d->dirty_since_ms = d->now_ms;
	lt_peer_number(
	    d, LT_OP_E_ROLLED, d->batch.base, lt_commitlog_min(d->log));
	return LEAT_OK;
}

/* Is there room for a record of this size? AGAIN: not before the batch is
 * out. */
static inline int
reserve(struct lt_duty *d, uint32_t bytes)
{
	struct lt_batch *b = &d->batch;
	int status;

	if (LT_LIKELY(
		b->used + bytes <= b->room && b->used + bytes <= b->limit))
		return LEAT_OK;
	if (b->count > 0)
		return LEAT_E_AGAIN;
	if (bytes <= b->room) /* alone, larger than the limit */
		return LEAT_OK;
	status = lt_batch_roll(d);
	if (status == LEAT_OK)
		return LEAT_OK;
	if (status == LEAT_E_NOSPACE)
		lt_publish_full(d, 1);
	return LEAT_E_NOSPACE; /* a fatal failure: the next append tells */
}

static inline struct lt_batch_rec *
add(struct lt_batch *b, struct lt_session *s, uint64_t seq, int status)
{
	struct lt_batch_rec *r = &b->recs[b->count++];

	r->session = s;
	r->cq = NULL;
	r->seq = seq;
	r->queue_offset = -1;
	r->log_offset = -1;
	r->tags_code = 0;
	r->at = 0;
	r->bytes = 0;
	r->status = status;
	r->store_ms_low = 0;
	return r;
}

/* Check and seal the record at the end of the buffer, and count it in. */
static inline int
admit(struct lt_duty *d, struct lt_session *s, struct lt_topic *t,
    uint32_t bytes, uint64_t seq, int relayed)
{
	struct lt_batch *b = &d->batch;
	uint8_t *dst = b->buf + b->used;
	struct lt_record_view view;
	struct lt_record_stamp stamp;
	struct lt_batch_rec *r;
	struct lt_cq *cq;
	int status;

	status = lt_record_admit(dst, bytes, t->name, t->name_bytes,
	    t->write_queues, relayed, &view);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (LT_UNLIKELY(view.body_bytes > d->options.store_max_body_bytes))
		return LEAT_E_TOOBIG;
	cq = t->cq[view.queue];
	if (LT_UNLIKELY(cq == NULL)) {
		status = lt_topicmap_queue(d, t, view.queue, &cq);
		if (status != LEAT_OK)
			return status;
	}
	stamp.queue_offset = (uint64_t)cq->next + cq->pending;
	/* Where publish.c will write soon; with many queues it is cold. */
	__builtin_prefetch(
	    (const void *)((uintptr_t)cq->buf +
			   (uint64_t)(cq->next - cq->flushed + cq->pending) *
			       LT_CQ_ENTRY_BYTES),
	    1);
	__builtin_prefetch(cq->user);
	stamp.log_offset = b->base + b->used;
	stamp.store_ms = d->store_ms;
	stamp.store_ip = d->store_ip;
	stamp.store_port = (uint32_t)d->options.broker_port;
	stamp.born_ip = relayed ? 0 : s->born_ip;
	stamp.born_port = s->born_port;
	stamp.session = s->id;
	stamp.seq = seq;
	lt_record_seal(dst, &view, &stamp);

	view.store_ms = stamp.store_ms;
	r = add(b, s, seq, LEAT_OK);
	r->cq = cq;
	r->queue_offset = (int64_t)stamp.queue_offset;
	r->log_offset = (int64_t)stamp.log_offset;
	r->tags_code =
	    view.props_bytes <= PROPS_BARE ? 0 : lt_record_tags_code(&view);
	r->at = (uint32_t)b->used;
	r->bytes = bytes;
	r->store_ms_low = (uint32_t)d->store_ms;
	cq->pending++;
	b->used += bytes;
	return LEAT_OK;
}

/* A record that the log has already. */
static void
add_duplicate(struct lt_duty *d, struct lt_session *s, uint64_t seq,
    const struct lt_session_trace *trace)
{
	struct lt_batch_rec *r = add(&d->batch, s, seq, LEAT_OK);

	if (trace != NULL) {
		r->log_offset = trace->log_offset;
		r->queue_offset = trace->queue_offset;
		r->store_ms_low = (uint32_t)trace->store_ms;
	}
	lt_stat_add(store_duplicates, 1);
}

/* May it be logged, as far as the lane header tells? */
static inline int
check_header(struct lt_duty *d, const struct lt_session *s,
    const struct lt_topic *t, const struct lt_lane_rec *rec)
{
	if (LT_UNLIKELY(t == NULL))
		return LEAT_E_NOTFOUND;
	if (LT_UNLIKELY(!lt_session_may(s, rec->topic) ||
			(rec->kind == LT_LANE_RELAY && !s->may_relay)))
		return LEAT_E_DENIED;
	if (LT_UNLIKELY(t->gate != LT_GATE_OPEN) &&
	    (t->gate == LT_GATE_SHUT || rec->kind != LT_LANE_RELAY))
		return LEAT_E_PERM;
	if (LT_UNLIKELY(rec->bytes > d->max_record))
		return LEAT_E_TOOBIG;
	if (LT_UNLIKELY(d->is_full))
		return LEAT_E_NOSPACE;
	return reserve(d, rec->bytes);
}

static inline int
is_synced_level(
    uint32_t level, const struct lt_topic *t, const struct lt_duty *d)
{
	if (level == LEAT_LEVEL_DEFAULT || level > LEAT_SYNCED)
		level = t != NULL ? t->level : d->default_level;
	return level == LEAT_SYNCED;
}

/* Take one record. AGAIN: the batch must go out first. */
static inline int
take(struct lt_duty *d, struct lt_session *s, const struct lt_lane_rec *rec,
    const uint8_t *payload)
{
	struct lt_batch *b = &d->batch;
	const struct lt_session_trace *trace;
	struct lt_topic *t;
	int status;

	if (LT_UNLIKELY(rec->seq <= s->taken)) {
		/* Answered before: a store died between answering and moving
		 * the lane's head. */
		lt_stat_add(store_duplicates, 1);
		return LEAT_OK;
	}
	if (LT_UNLIKELY(b->count == b->capacity))
		return LEAT_E_AGAIN;
	t = lt_topicmap_get(d, rec->topic);
	if (LT_UNLIKELY(rec->seq <= s->in_log) &&
	    lt_mark_is_logged(s, rec->seq, &trace)) {
		add_duplicate(d, s, rec->seq, trace);
	} else {
		status = check_header(d, s, t, rec);
		if (LT_UNLIKELY(status == LEAT_E_AGAIN))
			return LEAT_E_AGAIN;
		/* A refusal is completed before the log has anything behind
		 * it: else a successor, which knows only the log, would take
		 * the refused one for logged. */
		if (LT_UNLIKELY(s->has_refused) && status == LEAT_OK)
			return LEAT_E_AGAIN;
		if (LT_LIKELY(status == LEAT_OK)) {
			memcpy(b->buf + b->used, payload, rec->bytes);
			status = admit(d, s, t, rec->bytes, rec->seq,
			    rec->kind == LT_LANE_RELAY);
		}
		if (LT_UNLIKELY(status != LEAT_OK)) {
			add(b, s, rec->seq, status);
			s->has_refused = 1;
			lt_stat_add(store_rejected, 1);
		}
	}
	b->want_sync |= (uint32_t)is_synced_level(rec->level, t, d);
	s->taken = rec->seq;
	return LEAT_OK;
}

static inline void
touch(struct lt_duty *d, struct lt_session *s)
{
	if (s->is_touched)
		return;
	s->is_touched = 1;
	s->next_touched = d->touched;
	d->touched = s;
}

/* One lane's turn: returns records taken. */
static uint32_t
take_turn(struct lt_duty *d, struct lt_session *s)
{
	const uint8_t *payload;
	struct lt_lane_rec rec;
	uint64_t start;
	uint32_t n = 0;
	int status;

	if (s->is_closed)
		return 0;
	status = lt_lane_poll(&s->lane);
	if (LT_LIKELY(status == 0))
		return 0;
	start = s->lane.head;
	if (status > 0)
		status = LEAT_OK;
	while (status == LEAT_OK && n < TURN_RECORDS &&
	       (n == 0 || s->lane.head - start < TURN_BYTES)) {
		status = lt_lane_peek(&s->lane, &rec, &payload);
		if (status != LEAT_OK)
			break;
		status = take(d, s, &rec, payload);
		if (status != LEAT_OK) {
			d->batch.is_full |= !s->has_refused;
			break;
		}
		lt_lane_next(&s->lane, &rec);
		n++;
	}
	if (s->lane.head != start) {
		s->has_room = 1;
		touch(d, s);
	}
	if (status == LEAT_E_CORRUPT)
		lt_session_forged(d, s);
	return n;
}

static void
swap_sessions(struct lt_duty *d, size_t a, size_t b)
{
	struct lt_session *s = d->sessions[a];

	d->sessions[a] = d->sessions[b];
	d->sessions[a]->slot = a;
	d->sessions[b] = s;
	s->slot = b;
}

static uint32_t
sweep_hot(struct lt_duty *d)
{
	struct lt_session *s;
	size_t count = d->hot_count, i = d->sweep_from;
	uint32_t n, sum = 0;

	if (count == 0)
		return 0;
	if (i >= count)
		i = 0;
	for (size_t k = 0; k < count && !d->batch.is_full; k++) {
		s = d->sessions[i];
		n = take_turn(d, s);
		s->idle_sweeps = n > 0 ? 0 : s->idle_sweeps + 1;
		sum += n;
		if (++i == count)
			i = 0;
	}
	/* Where the batch was full, or one further: everybody is first once. */
	d->sweep_from = d->batch.is_full ? i : i + 1;
	return sum;
}

/* Keep what is busy in front. */
static void
cool(struct lt_duty *d)
{
	if (d->session_count <= HOT_MIN) {
		d->hot_count = d->session_count;
		return;
	}
	for (size_t i = d->hot_count; i-- > 0;)
		if (d->sessions[i]->idle_sweeps > IDLE_SWEEPS)
			swap_sessions(d, i, --d->hot_count);
}

static uint32_t
sweep_cold(struct lt_duty *d)
{
	uint32_t n, sum = 0;

	for (size_t i = d->hot_count; i < d->session_count && !d->batch.is_full;
	     i++) {
		n = take_turn(d, d->sessions[i]);
		if (n == 0)
			continue;
		sum += n;
		d->sessions[i]->idle_sweeps = 0;
		swap_sessions(d, i, d->hot_count++);
	}
	return sum;
}

uint32_t
lt_batch_sweep(struct lt_duty *d)
{
	uint32_t n, sum = 0;
	int64_t wall = lt_clock_wall_ms();

	LT_ASSERT(!d->batch.is_appended);
	lt_upkeep_secure(d);
	if (wall > d->store_ms)
		d->store_ms = wall;
	/* Before a sync, which takes long, everything there is goes in. */
	for (uint32_t round = 0; round < SYNC_ROUNDS; round++) {
		n = sweep_hot(d);
		sum += n;
		if (n == 0 || d->batch.is_full || !d->batch.want_sync)
			break;
	}
	d->sweeps++;
	if (d->hot_count < d->session_count &&
	    (sum == 0 || d->sweeps % COLD_EVERY == 0))
		sum += sweep_cold(d);
	if (d->sweeps % COLD_EVERY == 0)
		cool(d);
	return sum;
}

/* Whose record it is. BUSY: not the one behind the level's last. */
static int
find_session(
    struct lt_duty *d, const struct lt_wire_append *m, struct lt_session **out)
{
	struct lt_session *s = &d->system;

	if (m->session > LT_LEVELS_MAX)
		return LEAT_E_INVALID;
	if (m->session != 0) {
		s = &d->levels[m->session - 1];
		if (m->prev != s->taken || m->seq <= m->prev)
			return LEAT_E_BUSY;
		if (d->is_full)
			return LEAT_E_NOSPACE;
	}
	*out = s;
	return LEAT_OK;
}

int
lt_batch_add_system(struct lt_duty *d, const struct lt_wire_append *m,
    const void *record, int fd)
{
	struct lt_batch *b = &d->batch;
	struct lt_topic *t = lt_topicmap_get(d, m->topic);
	uint64_t bytes = fd >= 0 ? m->file_bytes : m->h.tail_bytes;
	struct lt_session *s;
	uint32_t level;
	int status;

	if (t == NULL)
		return LEAT_E_NOTFOUND;
	if (b->is_appended)
		return LEAT_E_NOSPACE;
	if (b->count == b->capacity || b->reply_count == LT_BATCH_REPLIES)
		return LEAT_E_AGAIN;
	if (bytes > d->max_record)
		return LEAT_E_TOOBIG;
	status = find_session(d, m, &s);
	if (status == LEAT_OK)
		status = reserve(d, (uint32_t)bytes);
	if (status != LEAT_OK)
		return status;
	if (b->count == 0) {
		int64_t wall = lt_clock_wall_ms();

		if (wall > d->store_ms)
			d->store_ms = wall;
	}
	if (fd < 0)
		memcpy(b->buf + b->used, record, bytes);
	else if (lt_sys_read_full(fd, b->buf + b->used, bytes, 0) != LEAT_OK)
		return LEAT_E_INVALID;
	status = admit(d, s, t, (uint32_t)bytes,
	    m->session != 0 ? m->seq : s->taken + 1, m->session != 0);
	if (status != LEAT_OK)
		return status;
	s->taken = b->recs[b->count - 1].seq;
	touch(d, s);
	level = is_synced_level(m->level, t, d) ? LEAT_SYNCED : LEAT_LOGGED;
	b->want_sync |= level == LEAT_SYNCED;
	b->replies[b->reply_count].request = m->h;
	b->replies[b->reply_count].rec = b->count - 1;
	b->replies[b->reply_count].level = level;
	b->reply_count++;
	return LEAT_OK;
}
