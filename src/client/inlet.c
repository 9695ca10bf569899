/*
 * inlet.c - one queue of a subscription: its ring, its group table, and where
 * to go on in it; subscribed once, and again whenever a broker process died
 * or the segments were replaced.
 *
 * Coming back keeps `next`, so there is neither gap nor repeat. In a group it
 * keeps the claims if table (told by its inode) and owner number are the same;
 * else the epoch changes and `next` is the group's progress.
 *
 * In a group with remote members a queue may be somebody else's: then no table
 * comes, the inlet is idle until it is moved again, and what was claimed in the
 * old table can still be acknowledged there.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define RETRY_MS 100 /* after a refused re-subscription */

/* --- subscribing one queue
 * ----------------------------------------------------- */

static int
take_table(struct leat_consumer *c, struct lt_inlet *in, int fd, uint32_t owner,
    uint64_t *ino_out)
{
	struct stat st;
	int status;

	if (!c->grouped)
		return LEAT_OK;
	if (fd < 0 || owner == 0 || owner > UINT16_MAX || fstat(fd, &st) != 0)
		return LEAT_E_CORRUPT;
	*ino_out = (uint64_t)st.st_ino;
	lt_segment_detach(&in->table_seg);
	status = lt_segment_attach(&in->table_seg, fd, LT_SEGMENT_TABLE, 1, 1);
	if (status != LEAT_OK)
		return status;
	status = lt_table_init(&in->table, &in->table_seg);
	if (status != LEAT_OK)
		lt_segment_detach(&in->table_seg);
	return status;
}

static int
take_ring(struct lt_inlet *in, int fd)
{
	uint64_t bytes;
	int status;

	lt_segment_detach(&in->ring_seg);
	if (fd < 0)
		return LEAT_OK;
	status = lt_segment_attach(&in->ring_seg, fd, LT_SEGMENT_RING, 0, 1);
	if (status != LEAT_OK)
		return status;
	bytes = in->ring_seg.head.data_bytes;
	if (bytes == 0 || (bytes & (bytes - 1)) != 0) {
		lt_segment_detach(&in->ring_seg);
		return LEAT_E_CORRUPT;
	}
	lt_ring_reader_init(&in->ring, &in->ring_seg);
	return LEAT_OK;
}

/* Where to go on, and whether claims are still ours. */
static void
settle(struct leat_consumer *c, struct lt_inlet *in,
    const struct lt_wire_subscribed *r, int same_table)
{
	int first = in->epoch == 0;

	if (first) {
		in->next = r->offset;
		in->acked = in->handed = in->committed = r->offset;
	} else if (c->grouped && !same_table) {
		in->next = r->offset;
	} else if (!c->grouped && in->next > r->max_offset) {
		in->next = r->max_offset; /* the log lost its end with power */
	}
	if (first || (c->grouped && !same_table))
		in->epoch++;
	in->rescan = -1;
	if (c->grouped) {
		/* Whatever came back meanwhile is found by looking once. */
		in->returned = atomic_load_explicit(
		    &in->table.shared->returned, memory_order_acquire);
		if (same_table)
			in->returned--;
	}
	in->limited = 0;
	in->fetch_turn = 0;
	in->fetch_left = 0;
	lt_take_begin(in);
}

/* What any answer says. */
static void
take_answer(struct leat_consumer *c, struct lt_inlet *in,
    const struct lt_wire_subscribed *r)
{
	in->id = r->id;
	in->stale = 0;
	in->is_idle = c->grouped && !r->has_table;
	c->topic_id = r->topic_id;
	c->lease_ms = c->grouped ? r->lease_ms : 0;
	if (c->all_queues && r->queues <= LT_QUEUES_MAX &&
	    r->queues > c->want_queues)
		c->want_queues = r->queues;
}

static int
subscribed(struct leat_consumer *c, struct lt_inlet *in)
{
	struct leat *leat = c->leat;
	struct lt_wire_subscribed r;
	uint64_t old_ino = in->table_ino, ino = 0;
	int ring = -1, table = -1, status, same;
	size_t n = 0;

	memcpy(&r, leat->rx, sizeof(r));
	if (r.has_ring)
		ring = lt_link_take_fd(leat, n++);
	if (r.has_table)
		table = lt_link_take_fd(leat, n++);
	status = r.offset < 0 || (r.has_ring && ring < 0) ||
			 (r.has_table && table < 0)
		     ? LEAT_E_CORRUPT
		     : LEAT_OK;
	in->made++;
	if (status == LEAT_OK && c->grouped && !r.has_table && !r.has_ring) {
		take_answer(c, in, &r);
		lt_segment_detach(&in->ring_seg);
		return LEAT_OK;
	}
	if (status == LEAT_OK)
		status = take_table(c, in, table, r.owner, &ino);
	if (status == LEAT_OK)
		status = take_ring(in, ring);
	if (ring >= 0)
		close(ring);
	if (table >= 0)
		close(table);
	if (status != LEAT_OK)
		return status;
	same = c->grouped && ino == old_ino && r.owner == in->owner;
	in->table_ino = ino;
	in->owner = r.owner;
	take_answer(c, in, &r);
	settle(c, in, &r, same);
	return LEAT_OK;
}

/*
 * Where to go on. In a group that is what the queue manager last said is done:
 * if it lost all it knew of the group, what lies between that and `next` may
 * be claimed by anybody, and is delivered again rather than not at all.
 */
static int64_t
resume_at(const struct leat_consumer *c, const struct lt_inlet *in)
{
	int64_t done;

	if (!c->grouped || in->table_seg.base == NULL)
		return in->next;
	done = atomic_load_explicit(
	    &in->table.shared->progress, memory_order_acquire);
	if (done > in->next)
		return in->next;
	return done < in->table.first ? in->table.first : done;
}

/* The queue was somebody else's when we last heard of it. */
static int
is_left(const struct leat_consumer *c, const struct lt_inlet *in)
{
	return in->is_idle ||
	       (c->grouped && in->table_seg.base != NULL &&
		   atomic_load_explicit(&in->table.shared->closed,
		       memory_order_relaxed) == LT_TABLE_LEFT);
}

int
lt_inlet_subscribe(
    struct leat_consumer *c, struct lt_inlet *in, uint64_t deadline)
{
	struct lt_wire_subscribe msg = {0};
	struct lt_wire_number extra = {0};
	uint32_t made = in->made;
	int status;

	msg.queue = in->queue;
	msg.mode = (uint32_t)c->mode;
	if (in->epoch == 0) {
		msg.from = (uint32_t)in->from;
		msg.value = in->from_value;
	} else {
		msg.resume = 1;
		msg.from = LEAT_FROM_OFFSET;
		msg.value = resume_at(c, in);
	}
	msg.old_id = in->id;
	if (is_left(c, in))
		msg.resume = 2;
	memcpy(msg.topic, c->topic, sizeof(msg.topic));
	memcpy(msg.group, c->group, sizeof(msg.group));
	memcpy(msg.member, c->member, sizeof(msg.member));
	status = lt_link_call(
	    c->leat, LT_OP_SUBSCRIBE, &msg, sizeof(msg), deadline, NULL);
	if (status != LEAT_OK)
		return status;
	if (in->made == made)
		return subscribed(c, in);
	/* The link was lost meanwhile, and coming back subscribed it, too. */
	extra.number = ((const struct lt_wire_subscribed *)c->leat->rx)->id;
	lt_link_post(c->leat, LT_OP_UNSUBSCRIBE, &extra, sizeof(extra));
	return LEAT_OK;
}

/* --- all queues
 * -------------------------------------------------------------------- */

int
lt_inlet_add(struct leat_consumer *c, uint32_t queue, enum leat_from from,
    int64_t from_value)
{
	struct lt_inlet *in;
	int status = lt_mem_grow((void **)&c->inlets, &c->inlet_capacity,
	    c->inlet_count, sizeof(struct lt_inlet *));

	if (status != LEAT_OK)
		return status;
	in = lt_mem_alloc(sizeof(*in));
	if (in == NULL)
		return LEAT_E_NOMEM;
	in->queue = queue;
	in->index = (uint32_t)c->inlet_count;
	in->from = from;
	in->from_value = from_value;
	in->stale = 1;
	in->rescan = -1;
	c->inlets[c->inlet_count++] = in;
	return LEAT_OK;
}

/* Failures that end a subscription; others are tried again. */
static int
is_final(int status)
{
	return status == LEAT_E_NOTFOUND || status == LEAT_E_DENIED ||
	       status == LEAT_E_PERM || status == LEAT_E_QUEUE ||
	       status == LEAT_E_NAME || status == LEAT_E_INVALID;
}

int
lt_inlet_restore(struct leat_consumer *c, uint64_t deadline)
{
	struct lt_inlet *in;
	int status;
	size_t i;

	/* A queue that appears later is read from its beginning. */
	while (c->joined && c->all_queues && c->inlet_count < c->want_queues) {
		status = lt_inlet_add(c, (uint32_t)c->inlet_count,
		    c->group[0] != '\0' ? LEAT_FROM_DEFAULT : LEAT_FROM_BEGIN,
		    0);
		if (status != LEAT_OK)
			return LEAT_OK; /* tried again with the next event */
	}
	for (i = 0; i < c->inlet_count; i++) {
		in = c->inlets[i];
		if (!in->stale || in->status != LEAT_OK ||
		    (in->retry_at != 0 && lt_clock_mono_ms() < in->retry_at))
			continue;
		status = lt_inlet_subscribe(c, in, deadline);
		if (status == LEAT_E_TIMEOUT || status == LEAT_E_UNREACHABLE)
			return status;
		if (is_final(status))
			in->status = status;
		in->retry_at =
		    status == LEAT_OK ? 0 : lt_clock_mono_ms() + RETRY_MS;
	}
	return LEAT_OK;
}

void
lt_inlet_moved(struct leat *leat, uint64_t id)
{
	struct leat_consumer *c;
	size_t i;

	for (c = leat->consumers; c != NULL; c = c->next)
		for (i = 0; i < c->inlet_count; i++)
			if (c->inlets[i]->id == id)
				c->inlets[i]->stale = 1;
}

void
lt_inlet_topic(struct leat *leat, const struct lt_wire_topic *ev)
{
	struct leat_consumer *c;
	size_t i;

	for (c = leat->consumers; c != NULL; c = c->next) {
		if (c->topic_id != ev->id || strcmp(c->topic, ev->name) != 0)
			continue;
		if (c->all_queues && ev->read_queues <= LT_QUEUES_MAX &&
		    ev->read_queues > c->want_queues)
			c->want_queues = ev->read_queues;
		for (i = 0; ev->deleted && i < c->inlet_count; i++)
			c->inlets[i]->status = LEAT_E_NOTFOUND;
	}
}

void
lt_inlet_stale_all(struct leat *leat)
{
	struct leat_consumer *c;
	size_t i;

	for (c = leat->consumers; c != NULL; c = c->next)
		for (i = 0; i < c->inlet_count; i++)
			c->inlets[i]->stale = 1;
}

void
lt_inlet_forget_ids(struct leat *leat)
{
	struct leat_consumer *c;
	size_t i;

	for (c = leat->consumers; c != NULL; c = c->next)
		for (i = 0; i < c->inlet_count; i++)
			c->inlets[i]->id = 0;
}
