/*
 * receipt.c - what is in flight, and its receipts.
 *
 * One slot per sequence, as many as the session page has completion entries,
 * so the store never overwrites a completion that was not harvested. A level
 * is a comparison with a counter of the page: nothing is looked up.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

static inline struct lt_flight *
flight_of(struct leat *leat, uint64_t seq)
{
	return &leat->flights[seq & leat->flight_mask];
}

int
lt_receipt_init(struct leat *leat)
{
	if (leat->flights != NULL)
		return LEAT_OK;
	leat->flights =
	    lt_mem_array(leat->page_entries, sizeof(*leat->flights));
	if (leat->flights == NULL)
		return LEAT_E_NOMEM;
	leat->flight_mask = leat->page_entries - 1;
	return LEAT_OK;
}

/* Step over what was collected out of order. */
static inline void
settle(struct leat *leat)
{
	while (leat->oldest < leat->next_seq &&
	       flight_of(leat, leat->oldest)->seq != leat->oldest)
		leat->oldest++;
}

int
lt_receipt_full(struct leat *leat)
{
	if (LT_LIKELY(leat->next_seq - leat->oldest <= leat->flight_mask))
		return 0;
	settle(leat);
	return leat->next_seq - leat->oldest > leat->flight_mask;
}

struct lt_flight *
lt_receipt_add(struct leat *leat, uint64_t seq)
{
	struct lt_flight *f = flight_of(leat, seq);

	LT_ASSERT_SLOW(f->seq == 0);
	f->seq = seq;
	f->queue_offset = f->log_offset = -1;
	f->store_ms = 0;
	f->status = LEAT_OK;
	f->harvested = 0;
	f->durable = 0;
	leat->in_flight++;
	return f;
}

/* The low half of a time of about `now`, made whole. */
static int64_t
whole_time(int64_t now, uint32_t low)
{
	int64_t ms = (int64_t)(((uint64_t)now & ~UINT64_C(0xffffffff)) | low);

	if (ms - now > INT64_C(0x80000000))
		ms -= INT64_C(0x100000000);
	return ms;
}

void
lt_receipt_harvest(struct leat *leat)
{
	const struct lt_page_shared *page = leat->page;
	const struct lt_page_done *done;
	struct lt_flight *f;
	uint64_t synced, logged, seq;
	int64_t now;

	/* acquire: entries up to these are complete */
	synced = atomic_load_explicit(&page->synced, memory_order_acquire);
	logged = atomic_load_explicit(&page->logged, memory_order_acquire);
	if (synced > leat->synced)
		leat->synced = synced;
	if (logged >= leat->next_seq)
		logged = leat->next_seq - 1;
	if (logged <= leat->harvested)
		return;
	now = atomic_load_explicit(&page->store_ms, memory_order_relaxed);
	seq = leat->harvested + 1;
	if (seq < leat->oldest)
		seq = leat->oldest;
	for (; seq <= logged; seq++) {
		f = flight_of(leat, seq);
		if (f->seq != seq)
			continue;
		f->harvested = 1;
		done = lt_page_entry(leat->page, leat->page_entries, seq);
		if (done->seq != seq)
			continue; /* logged before this page was made */
		f->status = done->status;
		f->queue_offset = done->queue_offset;
		f->log_offset = done->log_offset;
		f->store_ms = whole_time(now, done->store_ms_low);
	}
	leat->harvested = logged;
}

void
lt_receipt_judge(struct leat *leat, uint64_t in_log)
{
	struct lt_flight *f;
	uint64_t seq;

	for (seq = leat->oldest; seq < leat->next_seq && seq <= in_log; seq++) {
		f = flight_of(leat, seq);
		if (f->seq == seq && f->harvested && f->status == LEAT_OK)
			f->durable = 1;
	}
}

static inline int
complete(const struct leat *leat, const struct lt_flight *f)
{
	if (f->level == LEAT_ACCEPTED)
		return 1;
	return f->harvested &&
	       (f->level == LEAT_LOGGED || f->status != LEAT_OK || f->durable ||
		   f->seq <= leat->synced);
}

/* Fill a receipt (may be NULL) and free the slot. Returns its status. */
static int
collect(struct leat *leat, struct lt_flight *f, struct leat_receipt *out)
{
	int status = f->status;

	if (out != NULL) {
		out->status = status;
		out->level = !f->harvested ? LEAT_ACCEPTED
			     : f->durable || f->seq <= leat->synced
				 ? LEAT_SYNCED
				 : LEAT_LOGGED;
		lt_bytes_hex64(out->id, leat->session);
		lt_bytes_hex64(out->id + 16, f->seq);
		out->id[LEAT_ID_CHARS] = '\0';
		out->queue = f->queue;
		out->queue_offset = f->queue_offset;
		out->log_offset = f->log_offset;
		out->store_time_ms = f->store_ms;
		out->user = f->user;
	}
	if (f->seq == leat->oldest)
		leat->oldest++;
	f->seq = 0;
	leat->in_flight--;
	return status;
}

int
lt_receipt_ready(struct leat *leat)
{
	if (leat->in_flight == 0)
		return 0;
	lt_receipt_harvest(leat);
	settle(leat);
	return complete(leat, flight_of(leat, leat->oldest));
}

static void
want_of(const struct lt_flight *f, uint64_t *want_logged, uint64_t *want_synced)
{
	if (f->level == LEAT_SYNCED && f->seq > *want_synced)
		*want_synced = f->seq;
	if (f->level == LEAT_LOGGED && f->seq > *want_logged)
		*want_logged = f->seq;
}

/* 0: nothing wanted becomes a sequence that is never reached. */
static void
want_end(uint64_t *want_logged, uint64_t *want_synced)
{
	if (*want_logged == 0)
		*want_logged = UINT64_MAX;
	if (*want_synced == 0)
		*want_synced = UINT64_MAX;
}

void
lt_receipt_want(struct leat *leat, uint64_t *want_logged, uint64_t *want_synced)
{
	*want_logged = *want_synced = 0;
	if (leat->in_flight != 0) {
		settle(leat);
		want_of(
		    flight_of(leat, leat->oldest), want_logged, want_synced);
	}
	want_end(want_logged, want_synced);
}

struct one {
	struct leat *leat;
	struct lt_flight *flight;
};

static int
one_ready(void *user)
{
	struct one *one = user;

	lt_receipt_harvest(one->leat);
	return complete(one->leat, one->flight);
}

/* Wait for one flight. 1: complete, 0: time is over. */
static int
wait_flight(struct leat *leat, struct lt_flight *f, uint64_t deadline)
{
	struct one one = {leat, f};
	uint64_t want_logged = 0, want_synced = 0;

	want_of(f, &want_logged, &want_synced);
	want_end(&want_logged, &want_synced);
	while (!one_ready(&one)) {
		if (lt_wait_expired(deadline))
			return 0;
		lt_wait_once(leat, LT_LANE_WAIT_RECEIPT, want_logged,
		    want_synced, one_ready, &one, deadline, LT_DOORBELL_CAP_MS);
	}
	return 1;
}

static int
say(struct leat *leat, int status)
{
	if (status == LEAT_OK)
		return LEAT_OK;
	return lt_connect_fail(leat, status,
	    status == LEAT_E_NOSPACE
		? "broker refuses messages: its disk is full: free space"
		: "broker refused the message: %s",
	    leat_status_text(status));
}

int
leat_publish(struct leat *leat, const struct leat_message *message,
    int timeout_ms, struct leat_receipt *receipt)
{
	uint64_t deadline, seq;
	struct lt_flight *f;
	int status;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_publish(leat, message, timeout_ms, receipt);
	deadline = lt_wait_deadline(timeout_ms);
	status = lt_producer_put(leat, message, deadline, NULL, 1, 1, &seq);
	if (status != LEAT_OK)
		return status;
	f = flight_of(leat, seq);
	if (!wait_flight(leat, f, deadline)) {
		f->waited = 0;
		return lt_connect_fail(leat, LEAT_E_TIMEOUT,
		    "message is accepted but has not reached its level in "
		    "time: leat_completions() will have its receipt");
	}
	return say(leat, collect(leat, f, receipt));
}

/* Collect own flights from *done on: all of them, or until a slot is free. */
static int
batch_collect(struct leat *leat, uint64_t first, uint64_t *done, uint64_t end,
    int all, uint64_t deadline, struct leat_receipt *receipts)
{
	int status = LEAT_OK, st;

	while (*done < end && (all || lt_receipt_full(leat))) {
		struct lt_flight *f = flight_of(leat, *done);
		struct leat_receipt *out =
		    receipts == NULL ? NULL : &receipts[*done - first];

		if (wait_flight(leat, f, deadline)) {
			st = collect(leat, f, out);
		} else {
			f->waited = 0;
			st = LEAT_E_TIMEOUT;
			if (out != NULL)
				out->status = st;
			if (!all)
				return st;
		}
		if (status == LEAT_OK)
			status = st;
		(*done)++;
	}
	return status;
}

int
leat_publish_batch(struct leat *leat, const struct leat_message *messages,
    size_t count, int timeout_ms, struct leat_receipt *receipts)
{
	uint64_t deadline, first = 0, done = 0, seq;
	int status = LEAT_OK, st = LEAT_OK, waited;
	size_t i, j;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_publish_batch(
		    leat, messages, count, timeout_ms, receipts);
	deadline = lt_wait_deadline(timeout_ms);
	if (receipts != NULL)
		memset(receipts, 0, count * sizeof(*receipts));
	for (i = 0; i < count; i++) {
		if (LT_UNLIKELY(lt_receipt_full(leat)) && i > 0) {
			lt_producer_announce(leat);
			st = batch_collect(leat, first, &done, first + i, 0,
			    deadline, receipts);
			if (status == LEAT_OK)
				status = st;
		}
		st = lt_producer_put(
		    leat, &messages[i], deadline, NULL, 1, 0, &seq);
		if (st != LEAT_OK)
			break;
		if (i == 0)
			first = done = seq;
	}
	lt_producer_announce(leat);
	for (j = i; receipts != NULL && j < count; j++)
		receipts[j].status = st;
	if (i > 0) {
		waited = batch_collect(
		    leat, first, &done, first + i, 1, deadline, receipts);
		if (status == LEAT_OK)
			status = waited;
	}
	if (status == LEAT_OK && i < count)
		return st; /* put has said why */
	return say(leat, status);
}

static int
first_ready(void *user)
{
	return lt_receipt_ready(user);
}

int
leat_completions(
    struct leat *leat, struct leat_receipt *out, size_t max, int timeout_ms)
{
	uint64_t deadline = 0, want_logged, want_synced;
	size_t n = 0;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_completions(leat, out, max, timeout_ms);
	if (out == NULL && max != 0)
		return LEAT_E_INVALID;
	if (max > INT32_MAX)
		max = INT32_MAX;
	for (;;) {
		while (n < max && lt_receipt_ready(leat)) {
			struct lt_flight *f = flight_of(leat, leat->oldest);

			/* Everything complete by now, without looking at the
			 * page for each. */
			do {
				(void)collect(leat, f, &out[n++]);
				settle(leat);
				f = flight_of(leat, leat->oldest);
			} while (n < max && leat->in_flight != 0 &&
				 complete(leat, f));
		}
		if (n != 0 || max == 0 || leat->in_flight == 0)
			return (int)n;
		if (timeout_ms == 0) {
			lt_producer_announce(leat);
			lt_link_glance(leat, 1);
			return 0;
		}
		if (deadline == 0)
			deadline = lt_wait_deadline(timeout_ms);
		else if (lt_wait_expired(deadline))
			return 0;
		lt_producer_announce(leat);
		lt_receipt_want(leat, &want_logged, &want_synced);
		lt_wait_once(leat, LT_LANE_WAIT_RECEIPT, want_logged,
		    want_synced, first_ready, leat, deadline,
		    LT_DOORBELL_CAP_MS);
	}
}

size_t
leat_in_flight(const struct leat *leat)
{
	return lt_connect_valid(leat) ? leat->in_flight
				      : lt_farflight_count(leat);
}

/* 1 if everything in flight is complete; else what to wait for. */
static int
all_ready(void *user)
{
	struct leat *leat = user;
	uint64_t seq;

	lt_receipt_harvest(leat);
	for (seq = leat->oldest; seq < leat->next_seq; seq++) {
		const struct lt_flight *f = flight_of(leat, seq);

		if (f->seq == seq && !complete(leat, f))
			return 0;
	}
	return 1;
}

int
leat_flush(struct leat *leat, int timeout_ms)
{
	uint64_t deadline, want_logged, want_synced, seq;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_flush(leat, timeout_ms);
	deadline = lt_wait_deadline(timeout_ms);
	lt_producer_announce(leat);
	while (!all_ready(leat)) {
		if (lt_wait_expired(deadline))
			return lt_connect_fail(leat, LEAT_E_TIMEOUT,
			    "%zu messages are still in flight",
			    leat->in_flight);
		want_logged = want_synced = 0;
		for (seq = leat->oldest; seq < leat->next_seq; seq++) {
			const struct lt_flight *f = flight_of(leat, seq);

			if (f->seq == seq && !complete(leat, f))
				want_of(f, &want_logged, &want_synced);
		}
		want_end(&want_logged, &want_synced);
		lt_wait_once(leat, LT_LANE_WAIT_RECEIPT, want_logged,
		    want_synced, all_ready, leat, deadline, LT_DOORBELL_CAP_MS);
	}
	return LEAT_OK;
}
