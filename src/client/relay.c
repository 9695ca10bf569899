/*
 * relay.c - what a gateway's session has besides a producer's: it is woken
 * whenever the log grew, and speaks for remote members of groups. The queue
 * manager is told once, and again by a session that was resumed, since its
 * successor may not know.
 */
#include "config.h"
#include "client/relay.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define PART_BYTES 32768 /* tail of one message */
#define PART_OFFSETS (PART_BYTES / sizeof(struct lt_wire_offset))
#define TELL_TRIES 3
#define PROGRESS_MS 5000

void
lt_relay_restore(struct leat *leat, uint64_t deadline)
{
	struct lt_wire_none msg = {0};

	if (leat->must_follow && lt_link_call(leat, LT_OP_FOLLOW, &msg,
				     sizeof(msg), deadline, NULL) == LEAT_OK)
		leat->must_follow = 0;
	if (leat->must_tell) {
		leat->must_tell = 0;
		leat->on_locals(NULL, leat->on_locals_user);
	}
}

int
lt_relay_follow(struct leat *leat, int timeout_ms)
{
	struct lt_wire_none msg = {0};
	int status = lt_link_call(leat, LT_OP_FOLLOW, &msg, sizeof(msg),
	    lt_wait_deadline(timeout_ms), NULL);

	if (status == LEAT_OK)
		leat->follows = 1;
	return status;
}

uint64_t
lt_relay_log_end(const struct leat *leat)
{
	/* acquire: the records below are written; pairs with the store's
	 * release, behind the append */
	return atomic_load_explicit(
	    &leat->beacon->log_end, memory_order_acquire);
}

uint64_t
lt_relay_log_synced(const struct leat *leat)
{
	return atomic_load_explicit(
	    &leat->beacon->log_synced, memory_order_acquire);
}

int
lt_relay_settled(struct leat *leat, int timeout_ms)
{
	struct lt_wire_none msg = {0};

	return lt_link_call(leat, LT_OP_SETTLED, &msg, sizeof(msg),
	    lt_wait_deadline(timeout_ms), NULL);
}

void
lt_relay_want_log(struct leat *leat, int on)
{
	leat->wants_log = on != 0;
}

/* --- offsets -------------------------------------------------------------- */

struct commit {
	struct lt_wire_offsets w;
	struct lt_wire_offset at[PART_OFFSETS];
};

int
lt_relay_commit(struct leat *leat, const char *group,
    const struct lt_relay_offset *offsets, size_t count, int timeout_ms)
{
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	struct commit msg;
	const char *topic;
	uint32_t n;
	int status;

	memset(&msg.w, 0, sizeof(msg.w));
	if (lt_bytes_field(msg.w.group, sizeof(msg.w.group), group) != 0)
		return LEAT_E_NAME;
	for (size_t i = 0; i < count;) {
		topic = offsets[i].topic;
		if (lt_bytes_field(msg.w.topic, sizeof(msg.w.topic), topic) !=
		    0)
			return LEAT_E_NAME;
		for (n = 0; n < PART_OFFSETS && i < count &&
			    strcmp(offsets[i].topic, topic) == 0;
		     i++, n++)
			msg.at[n] =
			    (struct lt_wire_offset){.offset = offsets[i].offset,
				.queue = offsets[i].queue};
		msg.w.count = n;
		status = lt_link_call(leat, LT_OP_GROUP_COMMIT, &msg,
		    sizeof(msg.w) + n * sizeof(msg.at[0]), deadline, NULL);
		if (status != LEAT_OK && status != LEAT_E_NOTFOUND)
			return status;
	}
	return LEAT_OK;
}

int
lt_relay_progress(struct leat *leat, const char *group, const char *topic,
    uint32_t queue, int64_t *out)
{
	struct lt_wire_progress msg = {.queue = queue};
	int status;

	if (lt_bytes_field(msg.group, sizeof(msg.group), group) != 0 ||
	    lt_bytes_field(msg.topic, sizeof(msg.topic), topic) != 0)
		return LEAT_E_NAME;
	status = lt_link_call(leat, LT_OP_GROUP_PROGRESS, &msg, sizeof(msg),
	    lt_wait_deadline(PROGRESS_MS), NULL);
	if (status == LEAT_OK)
		*out = (int64_t)((const struct lt_wire_number *)(const void *)
				     leat->rx)
			   ->number;
	return status;
}

/* --- members -------------------------------------------------------------- */

struct members {
	struct lt_wire_members w;
	char ids[PART_BYTES];
};

/* Fill with ids from *at_io on; *at_io: the next one. */
static size_t
fill(struct members *msg, const char *const *ids, size_t count, size_t *at_io)
{
	size_t used = 0, n = 0, i = *at_io;

	for (; i < count; i++, n++) {
		size_t bytes = strlen(ids[i]) + 1;

		if (used + bytes > sizeof(msg->ids))
			break;
		memcpy(msg->ids + used, ids[i], bytes);
		used += bytes;
	}
	msg->w.first = (uint32_t)*at_io;
	msg->w.count = (uint32_t)n;
	msg->w.more = i < count;
	*at_io = i;
	return used;
}

static int
tell(struct leat *leat, struct members *msg, const char *const *ids,
    size_t count, uint64_t deadline)
{
	int status;
	size_t at = 0;

	do {
		size_t from = at, bytes = fill(msg, ids, count, &at);

		if (at == from && count > 0)
			return LEAT_E_TOOBIG; /* an id */
		status = lt_link_call(leat, LT_OP_GROUP_REMOTES, msg,
		    sizeof(msg->w) + bytes, deadline, NULL);
	} while (status == LEAT_OK && at < count);
	return status;
}

int
lt_relay_remotes(struct leat *leat, const char *group, const char *const *ids,
    size_t count, int timeout_ms)
{
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	struct members msg;
	int status, tries = 0;

	memset(&msg.w, 0, sizeof(msg.w));
	if (lt_bytes_field(msg.w.group, sizeof(msg.w.group), group) != 0)
		return LEAT_E_NAME;
	/* Parts that a queue manager before this one has got are lost. */
	do
		status = tell(leat, &msg, ids, count, deadline);
	while (status == LEAT_E_INVALID && ++tries < TELL_TRIES);
	return status;
}

static int
take_locals(
    struct leat *leat, struct lt_buffer *out, size_t *count_out, int *more)
{
	const struct lt_wire_members *r = (const void *)leat->rx;
	const char *ids = (const char *)(r + 1);
	size_t bytes = leat->rx_bytes - sizeof(*r);

	if (bytes > 0 && ids[bytes - 1] != '\0')
		return LEAT_E_CORRUPT;
	if (r->count > 0)
		lt_buffer_add(out, ids, bytes);
	*count_out += r->count;
	*more = r->more && r->count > 0;
	return lt_buffer_status(out);
}

int
lt_relay_locals(struct leat *leat, const char *group, struct lt_buffer *ids_out,
    size_t *count_out, int timeout_ms)
{
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	struct lt_wire_members msg = {0};
	int status, more;

	*count_out = 0;
	if (lt_bytes_field(msg.group, sizeof(msg.group), group) != 0)
		return LEAT_E_NAME;
	do {
		more = 0;
		msg.first = (uint32_t)*count_out;
		status = lt_link_call(leat, LT_OP_GROUP_LOCALS, &msg,
		    sizeof(msg), deadline, NULL);
		if (status == LEAT_OK)
			status = take_locals(leat, ids_out, count_out, &more);
	} while (status == LEAT_OK && more);
	return status;
}

void
lt_relay_locals_event(struct leat *leat, const struct lt_wire_name *ev)
{
	if (leat->on_locals != NULL &&
	    lt_bytes_terminated(ev->name, sizeof(ev->name)))
		leat->on_locals(ev->name, leat->on_locals_user);
}

void
lt_relay_on_locals(
    struct leat *leat, void (*call)(const char *group, void *user), void *user)
{
	leat->on_locals = call;
	leat->on_locals_user = user;
}

int
lt_relay_audit(struct leat *leat, const struct lt_wire_audit_entry *entries,
    size_t count, int timeout_ms)
{
	struct {
		struct lt_wire_audit w;
		struct lt_wire_audit_entry e[LT_AUDIT_ENTRIES];
	} msg;

	LT_ASSERT(count <= LT_AUDIT_ENTRIES);
	memset(&msg.w, 0, sizeof(msg.w));
	msg.w.count = (uint32_t)count;
	memcpy(msg.e, entries, count * sizeof(entries[0]));
	return lt_link_call(leat, LT_OP_AUDIT, &msg,
	    sizeof(msg.w) + count * sizeof(entries[0]),
	    lt_wait_deadline(timeout_ms), NULL);
}

void
lt_relay_pump(struct leat *leat)
{
	lt_link_pump(leat, lt_clock_mono_ms());
}

void
lt_relay_patience(struct leat *leat, int ms)
{
	leat->request_ms = ms;
}

/* --- messages taken for others -------------------------------------------- */

int
lt_relay_narrow(struct leat_consumer *c, int32_t queue, int is_in_order)
{
	if (queue >= 0 && (size_t)queue >= c->inlet_count)
		return LEAT_E_QUEUE;
	c->is_narrow = queue >= 0;
	c->is_in_order = is_in_order;
	c->narrow_queue = queue < 0 ? 0 : (uint32_t)queue;
	return LEAT_OK;
}

uint32_t
lt_relay_queues(const struct leat_consumer *c)
{
	return (uint32_t)c->inlet_count;
}

void
lt_relay_ask(struct leat_consumer *c, int is_asked)
{
	c->is_unasked = !is_asked;
}

int
lt_relay_is_ready(struct leat_consumer *c)
{
	for (size_t i = 0; i < c->inlet_count; i++)
		if (lt_take_ready(c, c->inlets[i]) || c->inlets[i]->limited)
			return 1;
	return 0;
}

int64_t
lt_relay_rest(struct leat_consumer *c, int32_t queue, int64_t *end_out)
{
	int64_t end, sum = 0;

	*end_out = -1;
	for (size_t i = 0; i < c->inlet_count; i++) {
		struct lt_inlet *in = c->inlets[i];

		if (queue >= 0 && in->queue != (uint32_t)queue)
			continue;
		end = lt_take_end(in);
		if (end > in->next)
			sum += end - in->next;
		*end_out = queue >= 0 ? end : -1;
	}
	return sum;
}
