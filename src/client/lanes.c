/*
 * lanes.c - room in the publish lane, a larger lane for a large record, and
 * getting records back from a lane whose broker died.
 *
 * Salvage. The store moves lane_head only over records that are in the log,
 * so when a whole broker dies, everything without a completion still lies
 * between lane_head and tail of the old lane, which this process has mapped:
 * the client never reuses room above the head it has seen. The records are
 * copied to a backlog and written again, before anything new, with their old
 * sequences; the store drops those that its log turns out to have.
 *
 * And if that broker dies as well, half way? The new backlog is the new
 * lane's records without a completion, then the rest of the old backlog.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"

/* In the backlog a record's reserved2 is its struct lt_topic: ids may change
 * with the broker. */
struct entry {
	struct lt_lane_rec rec;
	struct lt_topic *topic;
};

static size_t
entry_bytes(const struct lt_lane_rec *rec)
{
	return sizeof(struct entry) + lt_bytes_align(rec->bytes, 8);
}

static int
pending(const struct leat *leat)
{
	return leat->backlog.at < leat->backlog.used;
}

/* Head of the lane; a page whose store is not there yet shows an old one. */
static uint64_t
head_of(struct leat *leat)
{
	/* acquire: what the store copied out may be overwritten */
	uint64_t head =
	    atomic_load_explicit(&leat->page->lane_head, memory_order_acquire);

	return head < leat->lane.head ? leat->lane.head : head;
}

void
lt_lanes_fini(struct leat *leat)
{
	lt_mem_free(leat->backlog.bytes);
	memset(&leat->backlog, 0, sizeof(leat->backlog));
}

int
lt_lanes_salvage(struct leat *leat)
{
	struct lt_backlog *old = &leat->backlog, fresh = {0};
	struct lt_lane_reader r;
	struct entry e = {0};
	const uint8_t *payload;
	uint64_t head = head_of(leat);
	size_t rest = old->used - old->at;

	lt_lane_publish(&leat->lane);
	if (head > leat->lane.tail)
		head = leat->lane.tail;
	/* An entry is at most twice what its record takes in the lane. */
	fresh.bytes = lt_mem_alloc(2 * (leat->lane.tail - head) + rest + 8);
	if (fresh.bytes == NULL)
		return LEAT_E_NOMEM;
	lt_lane_reader_init(&r, &leat->lane_seg, head);
	if (lt_lane_poll(&r) == 1) {
		while (lt_lane_peek(&r, &e.rec, &payload) == LEAT_OK) {
			lt_lane_next(&r, &e.rec);
			if (e.rec.seq <= leat->harvested)
				continue;
			e.topic = lt_producer_topic_by_id(leat, e.rec.topic);
			memcpy(fresh.bytes + fresh.used, &e, sizeof(e));
			memcpy(fresh.bytes + fresh.used + sizeof(e), payload,
			    e.rec.bytes);
			fresh.used += entry_bytes(&e.rec);
		}
	}
	if (rest != 0)
		memcpy(fresh.bytes + fresh.used, old->bytes + old->at, rest);
	fresh.used += rest;
	lt_mem_free(old->bytes);
	*old = fresh;
	/* The lane is empty now, should this be tried again. */
	leat->lane.head = leat->lane.tail;
	return LEAT_OK;
}

static int
grow(struct leat *leat, uint32_t bytes, uint64_t deadline)
{
	struct lt_wire_number msg = {0};
	uint64_t ino = leat->lane_ino;
	int status;

	msg.number = lt_bytes_pow2(
	    2 * lt_bytes_align(sizeof(struct lt_lane_rec) + (uint64_t)bytes,
		    LT_LANE_ALIGN));
	if (msg.number > LT_LANE_MAX)
		return lt_connect_fail(leat, LEAT_E_TOOBIG,
		    "a record of %u bytes fits no lane", bytes);
	status =
	    lt_link_call(leat, LT_OP_LANE, &msg, sizeof(msg), deadline, NULL);
	if (status != LEAT_OK)
		return status;
	/* Resumed in between: the welcome brought the larger lane. */
	if (leat->lane_ino != ino && leat->rx_fd_count == 0)
		return LEAT_OK;
	status = lt_connect_lane(leat, lt_link_take_fd(leat, 0));
	if (status != LEAT_OK) {
		lt_link_down(leat); /* resuming gives it again */
		return lt_connect_fail(
		    leat, status, "broker gave an unusable lane");
	}
	return LEAT_OK;
}

void
lt_lanes_refill(struct leat *leat, uint64_t deadline)
{
	struct lt_backlog *b = &leat->backlog;
	struct lt_topic *t;
	struct entry e;
	uint8_t *payload;
	int status;

	if (!pending(leat))
		return;
	for (t = leat->topic_list; t != NULL; t = t->next)
		if (t->stale == LT_STALE)
			return; /* its id and its grant are not known yet */
	while (pending(leat)) {
		memcpy(&e, b->bytes + b->at, sizeof(e));
		status = lt_lane_claim(
		    &leat->lane, head_of(leat), e.rec.bytes, &payload);
		if (status == LEAT_E_TOOBIG &&
		    head_of(leat) == leat->lane.tail &&
		    grow(leat, e.rec.bytes, deadline) == LEAT_OK)
			continue;
		if (status != LEAT_OK)
			break;
		memcpy(payload, b->bytes + b->at + sizeof(e), e.rec.bytes);
		if (e.topic != NULL)
			e.rec.topic = e.topic->id;
		lt_lane_put(&leat->lane, &e.rec);
		b->at += entry_bytes(&e.rec);
	}
	lt_producer_announce(leat);
	if (!pending(leat))
		lt_lanes_fini(leat);
}

struct room {
	struct leat *leat;
	uint64_t head;
};

static int
head_moved(void *user)
{
	struct room *room = user;

	return head_of(room->leat) != room->head;
}

/* Sleep until the head moves. AGAIN when the time is over. */
static int
wait_room(struct leat *leat, uint64_t deadline)
{
	struct room room = {leat, head_of(leat)};

	lt_producer_announce(leat);
	if (lt_wait_expired(deadline)) {
		(void)lt_connect_fail(leat, LEAT_E_AGAIN,
		    "no room in the lane in time: wait longer, or ask for a "
		    "larger lane when connecting");
		return LEAT_E_AGAIN;
	}
	lt_wait_once(leat, LT_LANE_WAIT_ROOM, UINT64_MAX, UINT64_MAX,
	    head_moved, &room, deadline, LT_DOORBELL_CAP_MS);
	return LEAT_OK;
}

int
lt_lanes_claim(
    struct leat *leat, uint32_t bytes, uint64_t deadline, uint8_t **payload_out)
{
	uint64_t request;
	int status;

	for (;;) {
		if (LT_UNLIKELY(pending(leat)))
			lt_link_pump(leat, deadline);
		status = LEAT_E_AGAIN;
		if (!pending(leat))
			status = lt_lane_claim(
			    &leat->lane, head_of(leat), bytes, payload_out);
		if (LT_LIKELY(status == LEAT_OK))
			return LEAT_OK;
		if (status == LEAT_E_TOOBIG &&
		    head_of(leat) == leat->lane.tail) {
			request = lt_wait_deadline(LT_TOPIC_OPEN_MS);
			status = grow(leat, bytes,
			    request > deadline ? request : deadline);
			if (status != LEAT_OK)
				return status;
			continue;
		}
		if (status == LEAT_E_CORRUPT)
			return lt_connect_fail(leat, status,
			    "session page and lane disagree: connect again");
		status = wait_room(leat, deadline);
		if (status != LEAT_OK)
			return status;
	}
}
