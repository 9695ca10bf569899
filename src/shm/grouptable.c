/*
 * grouptable.c - claim words of one group on one queue. grouptable.h has the
 * layout, the transitions and the crash story.
 *
 * Members call claim, ack, nack, unclaim, extend; the queue manager alone calls
 * harvest and retire. Every change is one compare-and-swap of a whole word.
 */
#include "config.h"
#include "shm/grouptable.h"

#include "leat/status.h"
#include "proto/limits.h"

#define LAP_BITS 24
#define LAP_MASK ((1u << LAP_BITS) - 1)
#define STAMP_MASK 0x3fffu

struct word {
	uint32_t lap;
	uint32_t attempt;
	uint32_t owner;
	uint32_t stamp;
	uint32_t state;
};

static inline uint64_t
pack(uint32_t lap, uint32_t attempt, uint32_t owner, uint32_t stamp,
    uint32_t state)
{
	return ((uint64_t)(lap & LAP_MASK) << 40) |
	       ((uint64_t)(attempt & 0xff) << 32) |
	       ((uint64_t)(owner & 0xffff) << 16) |
	       ((uint64_t)(stamp & STAMP_MASK) << 2) | state;
}

static inline struct word
unpack(uint64_t v)
{
	return (struct word){.lap = (uint32_t)(v >> 40),
	    .attempt = (uint32_t)(v >> 32) & 0xff,
	    .owner = (uint32_t)(v >> 16) & 0xffff,
	    .stamp = (uint32_t)(v >> 2) & STAMP_MASK,
	    .state = (uint32_t)v & 3};
}

static inline uint32_t
lap_of(const struct lt_table *t, int64_t offset)
{
	return (uint32_t)((uint64_t)offset / t->window) & LAP_MASK;
}

static inline _Atomic uint64_t *
word_of(const struct lt_table *t, int64_t offset)
{
	return &t->words[(uint64_t)offset & (t->window - 1)];
}

static inline int
swap(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong_explicit(
	    word, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* Laps that `a` is ahead of `b`; negative: behind. */
static inline int32_t
lap_ahead(uint32_t a, uint32_t b)
{
	return (int32_t)((a - b) << (32 - LAP_BITS)) >> (32 - LAP_BITS);
}

void
lt_table_format(const struct lt_segment *seg, int64_t first, uint64_t window)
{
	struct lt_table t = {.shared = seg->base,
	    .words =
		(_Atomic uint64_t *)((char *)seg->base + LT_SEGMENT_DATA_AT),
	    .window = window,
	    .first = first};
	uint64_t i;

	/* As if [first - W, first) had just been done. */
	for (i = 0; i < window; i++) {
		int64_t offset = first + (int64_t)i;
		atomic_store_explicit(word_of(&t, offset),
		    pack(lap_of(&t, offset) - 1, 0, 0, 0, LT_CLAIM_DONE),
		    memory_order_relaxed);
	}
	atomic_store_explicit(&t.shared->cursor, first, memory_order_relaxed);
	atomic_store_explicit(&t.shared->progress, first, memory_order_release);
}

int
lt_table_init(struct lt_table *t, const struct lt_segment *seg)
{
	uint64_t window = seg->head.extra[1];

	if (window < LT_GROUP_WINDOW_MIN || window > LT_GROUP_WINDOW_MAX ||
	    (window & (window - 1)) != 0 ||
	    seg->head.data_bytes != lt_table_bytes(window) ||
	    (int64_t)seg->head.extra[0] < 0)
		return LEAT_E_CORRUPT;
	t->shared = seg->base;
	t->words = (_Atomic uint64_t *)((char *)seg->base + LT_SEGMENT_DATA_AT);
	t->window = window;
	t->first = (int64_t)seg->head.extra[0];
	return LEAT_OK;
}

uint32_t
lt_table_stamp(uint64_t mono_ms)
{
	return (uint32_t)(mono_ms / LT_CLAIM_TICK_MS) & STAMP_MASK;
}

int
lt_table_claim(struct lt_table *t, int64_t offset, uint16_t owner,
    uint32_t stamp, uint32_t *attempt_out)
{
	_Atomic uint64_t *word = word_of(t, offset);
	uint64_t v = atomic_load_explicit(word, memory_order_acquire);
	uint32_t lap = lap_of(t, offset);
	struct word w;
	int32_t ahead;

	for (;;) {
		w = unpack(v);
		ahead = lap_ahead(w.lap, lap);
		if (ahead == -1 && w.state == LT_CLAIM_DONE)
			w.attempt = 0;
		else if (ahead < 0)
			return LEAT_E_LIMIT;
		else if (ahead != 0 || w.state != LT_CLAIM_FREE)
			return LEAT_E_BUSY;
		if (atomic_compare_exchange_strong_explicit(word, &v,
			pack(lap, w.attempt, owner, stamp, LT_CLAIM_CLAIMED),
			memory_order_acq_rel, memory_order_acquire)) {
			*attempt_out = w.attempt;
			return LEAT_OK;
		}
	}
}

/* One transition out of {lap of offset, CLAIMED, owner}. */
static int
leave(struct lt_table *t, int64_t offset, uint16_t owner, uint32_t state,
    uint32_t add_attempt, uint32_t new_owner, uint32_t stamp)
{
	_Atomic uint64_t *word = word_of(t, offset);
	uint64_t v = atomic_load_explicit(word, memory_order_acquire);
	struct word w = unpack(v);
	uint32_t attempt;

	if (w.lap != lap_of(t, offset) || w.state != LT_CLAIM_CLAIMED ||
	    w.owner != owner)
		return LEAT_E_LEASE;
	attempt = w.attempt + add_attempt;
	if (attempt > 0xff)
		attempt = 0xff;
	/* Only the queue manager changes a claim of mine, to free it. */
	if (!swap(word, v, pack(w.lap, attempt, new_owner, stamp, state)))
		return LEAT_E_LEASE;
	return LEAT_OK;
}

int
lt_table_ack(struct lt_table *t, int64_t offset, uint16_t owner)
{
	return leave(t, offset, owner, LT_CLAIM_DONE, 0, 0, 0);
}

int
lt_table_nack(struct lt_table *t, int64_t offset, uint16_t owner)
{
	return leave(t, offset, owner, LT_CLAIM_FREE, 1, 0, 0);
}

int
lt_table_unclaim(struct lt_table *t, int64_t offset, uint16_t owner)
{
	return leave(t, offset, owner, LT_CLAIM_FREE, 0, 0, 0);
}

int
lt_table_extend(
    struct lt_table *t, int64_t offset, uint16_t owner, uint32_t stamp)
{
	return leave(t, offset, owner, LT_CLAIM_CLAIMED, 0, owner, stamp);
}

/* May a word, so many laps ahead of an offset's, be claimed for that? */
static inline int
is_claimable(struct word w, int32_t ahead)
{
	return (ahead == 0 && w.state == LT_CLAIM_FREE) ||
	       (ahead == -1 && w.state == LT_CLAIM_DONE);
}

int
lt_table_is_free(const struct lt_table *t, int64_t offset)
{
	struct word w = unpack(
	    atomic_load_explicit(word_of(t, offset), memory_order_acquire));

	return is_claimable(w, lap_ahead(w.lap, lap_of(t, offset)));
}

int
lt_table_is_full(const struct lt_table *t, int64_t offset)
{
	struct word w = unpack(
	    atomic_load_explicit(word_of(t, offset), memory_order_acquire));
	int32_t ahead = lap_ahead(w.lap, lap_of(t, offset));

	return ahead < 0 && !is_claimable(w, ahead);
}

uint64_t
lt_table_retire(struct lt_table *t, int64_t from, int64_t to)
{
	uint64_t count = 0;

	for (; from < to; from++) {
		_Atomic uint64_t *word = word_of(t, from);
		uint64_t v = atomic_load_explicit(word, memory_order_acquire);
		struct word w = unpack(v);
		uint32_t lap = lap_of(t, from);
		int32_t ahead = lap_ahead(w.lap, lap);

		/* Tried once: a member may have been faster, or be hostile. */
		if (is_claimable(w, ahead))
			count += (uint64_t)swap(
			    word, v, pack(lap, 0, 0, 0, LT_CLAIM_DONE));
		else if (ahead < 0)
			break; /* the window is full */
	}
	return count;
}

/*
 * The oldest offset of slot i that is not done, as its word tells, with the
 * lap's upper bits taken from that of `from`. Over time it only grows, so the
 * least of all slots, read one after the other, is a prefix that is done for
 * good.
 */
static int64_t
undone(const struct lt_table *t, uint64_t i, struct word w, int64_t from_lap)
{
	int64_t lap =
	    from_lap + lap_ahead(w.lap, (uint32_t)from_lap & LAP_MASK);

	if (w.state == LT_CLAIM_DONE)
		lap++;
	return lap * (int64_t)t->window + (int64_t)i;
}

/* First offset >= from that belongs to slot i. */
static int64_t
first_of(const struct lt_table *t, uint64_t i, int64_t from)
{
	return from + (int64_t)((i - (uint64_t)from) & (t->window - 1));
}

struct sweep_rule {
	int64_t from;
	int64_t from_lap; /* divided once: a table has 65536 words or so */
	uint32_t now_tick;
	uint32_t lease_ticks; /* 0: leases do not end */
	uint16_t dead_owner; /* 0: none */
};

static int
is_expired(struct word w, const struct sweep_rule *rule)
{
	uint32_t age = (rule->now_tick - w.stamp) & STAMP_MASK;

	/* A stamp slightly ahead (another CPU's tick) is not old. */
	if (age > STAMP_MASK - 8)
		age = 0;
	return (rule->lease_ticks != 0 && age > rule->lease_ticks) ||
	       (rule->dead_owner != 0 && w.owner == rule->dead_owner) ||
	       w.owner == 0;
}

/* Look at slot i; returns its oldest offset that is not done. */
static int64_t
inspect(struct lt_table *t, uint64_t i, const struct sweep_rule *rule,
    struct lt_table_sweep *out)
{
	_Atomic uint64_t *word = &t->words[i];
	uint64_t v = atomic_load_explicit(word, memory_order_acquire);
	struct word w = unpack(v);
	int64_t at = undone(t, i, w, rule->from_lap);
	uint32_t attempt;

	/* Nobody honest is behind `from`. Ahead of max_offset may be honest:
	 * members read rings, the queue manager asks the store later. */
	if (w.state > LT_CLAIM_DONE || at < rule->from) {
		at = first_of(t, i, rule->from);
		if (swap(word, v, pack(lap_of(t, at), 0, 0, 0, LT_CLAIM_FREE)))
			out->expired++;
		return at;
	}
	if (w.state != LT_CLAIM_CLAIMED)
		return at;
	if (!is_expired(w, rule)) {
		out->claimed++;
		return at;
	}
	attempt = w.attempt < 0xff ? w.attempt + 1 : 0xff;
	if (swap(word, v, pack(w.lap, attempt, 0, 0, LT_CLAIM_FREE)))
		out->expired++;
	return at;
}

void
lt_table_harvest(struct lt_table *t, int64_t from, int64_t max_offset,
    uint64_t mono_ms, uint64_t lease_ms, uint16_t dead_owner,
    struct lt_table_sweep *out)
{
	struct sweep_rule rule = {.from = from,
	    .from_lap = from / (int64_t)t->window,
	    .now_tick = lt_table_stamp(mono_ms),
	    .lease_ticks = (uint32_t)((lease_ms + LT_CLAIM_TICK_MS - 1) /
				      LT_CLAIM_TICK_MS),
	    .dead_owner = dead_owner};
	int64_t least = INT64_MAX, at;
	uint64_t i;

	out->claimed = 0;
	out->expired = 0;
	for (i = 0; i < t->window; i++) {
		at = inspect(t, i, &rule, out);
		if (at < least)
			least = at;
	}
	if (least > max_offset)
		least = max_offset;
	out->progress = least > from ? least : from;
	atomic_store_explicit(
	    &t->shared->progress, out->progress, memory_order_release);
	if (out->expired != 0)
		atomic_fetch_add_explicit(
		    &t->shared->returned, 1, memory_order_release);
}

int
lt_table_valid(const struct lt_table *t, int64_t progress)
{
	int64_t lap = progress / (int64_t)t->window;
	int64_t least = INT64_MAX, most = 0, at;
	struct word w;
	uint64_t i;

	for (i = 0; i < t->window; i++) {
		w = unpack(
		    atomic_load_explicit(&t->words[i], memory_order_acquire));
		at = undone(t, i, w, lap);
		if (w.state > LT_CLAIM_DONE || at < progress ||
		    (w.state == LT_CLAIM_CLAIMED && w.owner == 0))
			return LEAT_E_CORRUPT;
		most = at > most ? at : most;
	}
	/* Nobody claims X before X - W is done, so X < least + W; X done shows
	 * as X + W. Members may be at work: slots only grow, so the least,
	 * read behind the most, can only be nearer. */
	for (i = 0; i < t->window; i++) {
		w = unpack(
		    atomic_load_explicit(&t->words[i], memory_order_acquire));
		at = undone(t, i, w, lap);
		least = at < least ? at : least;
	}
	return most - least < 2 * (int64_t)t->window ? LEAT_OK : LEAT_E_CORRUPT;
}
