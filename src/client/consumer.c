/*
 * consumer.c - subscriptions as the application sees them: subscribe, poll,
 * acknowledge. One per topic here, one per queue for the broker (inlet.c).
 *
 * A delivery's handle names queue and epoch. The epoch changes when the group
 * table or our number in it does: claims from before are gone then, and an
 * acknowledgement says LEASE instead of touching somebody else's claim.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/sys.h"
#include "proto/name.h"

#define BATCH_BYTES (1u << 20)
#define BATCH_BYTES_MIN (64u << 10)
#define BATCH_BYTES_MAX (1u << 30)
#define LIMITED_SLICE_MS 10 /* window full: other members ring no bell */
#define LEAVE_MS 1000
#define GLANCE_POLLS 255 /* busy pollers look at the socket this often */

static int
valid(const struct leat_consumer *c)
{
	return c != NULL && c->magic == LT_CONSUMER_MAGIC &&
	       lt_connect_valid(c->leat);
}

/* --- subscribe, unsubscribe
 * ------------------------------------------------------------ */

/* "a || b" into a list; the text is cut up in place. */
int
lt_consumer_tags(struct leat_consumer *c, const char *text)
{
	size_t n = 1, bytes;
	char *at, *end;

	if (text == NULL || *text == '\0' || strcmp(text, "*") == 0)
		return LEAT_OK;
	c->tag_text = lt_mem_strdup(text);
	for (at = c->tag_text; at != NULL && (at = strstr(at, "||")); at += 2)
		n++;
	c->tags = lt_mem_array(n, sizeof(*c->tags));
	if (c->tag_text == NULL || c->tags == NULL)
		return LEAT_E_NOMEM;
	for (at = c->tag_text; at != NULL; at = end) {
		end = strstr(at, "||");
		if (end != NULL) {
			*end = '\0';
			end += 2;
		}
		at += strspn(at, " \t");
		bytes = strcspn(at, " \t");
		if (bytes == 0 || at[bytes + strspn(at + bytes, " \t")] != '\0')
			return LEAT_E_INVALID;
		c->tags[c->tag_count].text = at;
		c->tags[c->tag_count].bytes = bytes;
		c->tags[c->tag_count++].code = lt_name_tags_code(at, bytes);
	}
	return LEAT_OK;
}

static void
destroy(struct leat_consumer *c)
{
	size_t i;

	for (i = 0; i < c->inlet_count; i++) {
		lt_segment_detach(&c->inlets[i]->ring_seg);
		lt_segment_detach(&c->inlets[i]->table_seg);
		lt_mem_free(c->inlets[i]);
	}
	lt_mem_free(c->inlets);
	lt_mem_free(c->tags);
	lt_mem_free(c->tag_text);
	lt_mem_free(c->batch);
	lt_mem_free(c->big);
	c->magic = 0;
	lt_mem_free(c);
}

static int
make(struct leat *leat, const struct leat_subscription *s,
    struct leat_consumer **out)
{
	struct leat_consumer *c = lt_mem_alloc(sizeof(*c));
	const char *group = s->group == NULL ? "" : s->group;
	const char *member = s->member == NULL ? leat->name : s->member;
	int status;

	if (c == NULL)
		return LEAT_E_NOMEM;
	*out = c;
	c->magic = LT_CONSUMER_MAGIC;
	c->leat = leat;
	c->mode = s->mode;
	c->grouped = *group != '\0' && s->mode == LEAT_CLUSTERING;
	c->all_queues = s->queue < 0;
	c->from = s->from;
	c->from_value = s->from_value;
	if (*group == '\0' || c->grouped)
		member = "";
	if (lt_bytes_field(c->topic, sizeof(c->topic), s->topic) != 0 ||
	    lt_bytes_field(c->group, sizeof(c->group), group) != 0 ||
	    lt_bytes_field(c->member, sizeof(c->member), member) != 0)
		return LEAT_E_NAME;
	if (lt_name_topic(c->topic) != LEAT_OK ||
	    (*group != '\0' && lt_name_group(group) != LEAT_OK))
		return LEAT_E_NAME;
	c->batch_bytes = s->batch_bytes == 0 ? BATCH_BYTES : s->batch_bytes;
	if (c->batch_bytes < BATCH_BYTES_MIN)
		c->batch_bytes = BATCH_BYTES_MIN;
	if (c->batch_bytes > BATCH_BYTES_MAX)
		c->batch_bytes = BATCH_BYTES_MAX;
	c->batch_bytes = lt_bytes_align(c->batch_bytes, 64);
	c->batch = lt_mem_aligned(64, c->batch_bytes);
	if (c->batch == NULL)
		return LEAT_E_NOMEM;
	status = lt_consumer_tags(c, s->tags);
	if (status != LEAT_OK)
		return status;
	return lt_inlet_add(
	    c, s->queue < 0 ? 0 : (uint32_t)s->queue, s->from, s->from_value);
}

/* Subscribe every queue; the first reply says how many there are. */
static int
join(struct leat_consumer *c, uint64_t deadline)
{
	int status;
	size_t i;

	for (i = 0; i < c->inlet_count; i++) {
		status = c->inlets[i]->stale
			     ? lt_inlet_subscribe(c, c->inlets[i], deadline)
			     : c->inlets[i]->status;
		while (status == LEAT_OK && c->all_queues &&
		       c->inlet_count < c->want_queues)
			status = lt_inlet_add(c, (uint32_t)c->inlet_count,
			    c->from, c->from_value);
		if (status != LEAT_OK)
			return status;
	}
	return LEAT_OK;
}

/* Progress of a broadcasting member that may be kept. */
static int64_t
broadcast_progress(const struct lt_inlet *in)
{
	return in->acked >= in->handed ? in->next : in->acked;
}

static void
commit_inlet(struct leat_consumer *c, struct lt_inlet *in, int wait)
{
	struct lt_wire_commit msg = {0};

	msg.id = in->id;
	msg.offset = broadcast_progress(in);
	if (in->stale || in->id == 0 || msg.offset == in->committed)
		return;
	in->committed = msg.offset;
	if (wait)
		(void)!lt_link_call(c->leat, LT_OP_COMMIT, &msg, sizeof(msg),
		    lt_wait_deadline(LEAVE_MS), NULL);
	else
		lt_link_post(c->leat, LT_OP_COMMIT, &msg, sizeof(msg));
}

/* Tell the broker, without coming back to one that died. */
static void
leave(struct leat_consumer *c)
{
	struct leat *leat = c->leat;
	struct lt_wire_number msg = {0};
	int restoring = leat->restoring;
	size_t i;

	leat->restoring = 1;
	for (i = 0; i < c->inlet_count && leat->link == LT_LINK_UP; i++) {
		struct lt_inlet *in = c->inlets[i];

		if (in->id == 0)
			continue;
		if (c->mode == LEAT_BROADCASTING && c->group[0] != '\0')
			commit_inlet(c, in, 1);
		msg.number = in->id;
		(void)!lt_link_call(leat, LT_OP_UNSUBSCRIBE, &msg, sizeof(msg),
		    lt_wait_deadline(LEAVE_MS), NULL);
	}
	leat->restoring = restoring;
}

static void
unlink_consumer(struct leat_consumer *c)
{
	struct leat_consumer **at;

	for (at = &c->leat->consumers; *at != NULL; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			return;
		}
}

static int
explain(struct leat *leat, const struct leat_subscription *s, int status)
{
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(leat, status,
		    "no topic %s: make it with: leat topic create %s", s->topic,
		    s->topic);
	if (status == LEAT_E_DENIED)
		return lt_connect_fail(leat, status,
		    "not allowed to subscribe to %s: that needs a grant",
		    s->topic);
	if (status == LEAT_E_INVALID && s->tags != NULL)
		return lt_connect_fail(leat, status,
		    "cannot subscribe: tags are written \"a || b\"");
	if (status == LEAT_E_TIMEOUT)
		return status;
	return lt_connect_fail(leat, status, "cannot subscribe to %s: %s",
	    s->topic, leat_status_text(status));
}

int
leat_subscribe(struct leat *leat, const struct leat_subscription *subscription,
    struct leat_consumer **out)
{
	struct leat_consumer *c = NULL;
	int status;

	if (!lt_connect_valid(leat))
		return lt_farintake_subscribe(leat, subscription, out);
	if (subscription == NULL || out == NULL)
		return LEAT_E_INVALID;
	*out = NULL;
	if (subscription->topic == NULL ||
	    (int)subscription->from > LEAT_FROM_TIME ||
	    (int)subscription->mode > LEAT_BROADCASTING)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "a subscription needs a topic, and a mode and a start "
		    "that exist");
	status = make(leat, subscription, &c);
	if (status == LEAT_OK) {
		/* Known to the session at once: it may be resumed meanwhile. */
		c->next = leat->consumers;
		leat->consumers = c;
		status = join(c, lt_wait_deadline(leat->request_ms));
	}
	if (status != LEAT_OK) {
		if (c != NULL) {
			unlink_consumer(c);
			leave(c);
			destroy(c);
		}
		return explain(leat, subscription, status);
	}
	c->joined = 1;
	c->commit_at = lt_clock_mono_ms() + LT_COMMIT_MS;
	*out = c;
	return LEAT_OK;
}

void
leat_unsubscribe(struct leat_consumer *consumer)
{
	if (consumer == NULL)
		return;
	if (consumer->reader != NULL) {
		lt_farintake_unsubscribe(consumer);
		return;
	}
	LT_ASSERT(valid(consumer));
	unlink_consumer(consumer);
	leave(consumer);
	destroy(consumer);
}

/* --- poll
 * --------------------------------------------------------------------------------
 */

struct polling {
	struct leat_consumer *c;
	struct leat_delivery *out;
	size_t max;
	int result; /* count or status */
	int limited;
};

/* Take from all queues in turn. */
static size_t
take_pass(struct polling *p)
{
	struct leat_consumer *c = p->c;
	uint32_t turn = c->turn++;
	size_t i, n = 0, dead = 0;
	int status = LEAT_OK;

	p->limited = 0;
	c->put_off = 0;
	for (i = 0; i < c->inlet_count && n < p->max; i++) {
		struct lt_inlet *in = c->inlets[(turn + i) % c->inlet_count];
		int got;

		if (c->is_narrow && in->queue != c->narrow_queue)
			continue;
		got = lt_take_inlet(c, in, p->out + n, p->max - n);
		if (got < 0)
			status = got;
		else
			n += (size_t)got;
		if (in->status != LEAT_OK) {
			status = in->status;
			dead++;
		}
		p->limited |= in->limited;
	}
	if (n != 0)
		p->result = (int)n;
	else if (dead == c->inlet_count || status == LEAT_E_NOMEM)
		p->result = status;
	else
		p->result = LEAT_OK;
	return n;
}

/* 1: there is a result. Who was put off for another that then had nothing is
 * looked at once more. */
static int
take_all(void *user)
{
	struct polling *p = user;
	size_t pass;

	for (pass = 0; pass <= p->c->inlet_count; pass++)
		if (take_pass(p) != 0 || !p->c->put_off)
			break;
	return p->result != LEAT_OK;
}

static void
commit_all(struct leat_consumer *c)
{
	uint64_t now;
	size_t i;

	if (c->mode != LEAT_BROADCASTING || c->group[0] == '\0')
		return;
	now = lt_clock_mono_ms();
	if (now < c->commit_at)
		return;
	c->commit_at = now + LT_COMMIT_MS;
	for (i = 0; i < c->inlet_count; i++)
		commit_inlet(c, c->inlets[i], 0);
}

static int
poll_failed(struct leat_consumer *c, int status)
{
	if (status >= 0)
		return status;
	return lt_connect_fail(c->leat, status,
	    "topic %s can not be read any more: %s", c->topic,
	    leat_status_text(status));
}

int
leat_poll(struct leat_consumer *consumer, struct leat_delivery *out, size_t max,
    int timeout_ms)
{
	struct polling p = {.c = consumer, .out = out, .max = max};
	struct leat *leat;

	if (LT_UNLIKELY(!valid(consumer)))
		return lt_farintake_poll(consumer, out, max, timeout_ms);
	if (out == NULL && max != 0)
		return LEAT_E_INVALID;
	leat = consumer->leat;
	if (p.max > INT32_MAX)
		p.max = INT32_MAX;
	if (p.max == 0)
		return 0;
	consumer->used = 0;
	consumer->deadline = 0;
	if (consumer->grouped)
		consumer->stamp = lt_table_stamp(lt_clock_mono_ms());
	commit_all(consumer);
	if (LT_UNLIKELY((++leat->poll_count & GLANCE_POLLS) == 0))
		lt_link_glance(leat, LT_PUMP_MS);
	if (take_all(&p))
		return poll_failed(consumer, p.result);
	lt_producer_announce(leat);
	if (timeout_ms == 0) {
		lt_link_glance(leat, 1);
		return 0;
	}
	consumer->deadline = lt_wait_deadline(timeout_ms);
	while (!lt_wait_expired(consumer->deadline)) {
		lt_wait_once(leat, LT_LANE_WAIT_DATA, UINT64_MAX, UINT64_MAX,
		    take_all, &p, consumer->deadline,
		    p.limited ? LIMITED_SLICE_MS : LT_DOORBELL_CAP_MS);
		if (p.result != 0)
			return poll_failed(consumer, p.result);
		/* What came is claimed by this time. */
		if (consumer->grouped)
			consumer->stamp = lt_table_stamp(lt_clock_mono_ms());
		commit_all(consumer);
	}
	(void)take_all(&p);
	return poll_failed(consumer, p.result);
}

/* --- acknowledge
 * ------------------------------------------------------------------------ */

static int
act_one(struct leat_consumer *c, const struct leat_delivery *d, enum lt_act act)
{
	uint32_t index = (uint32_t)d->handle;
	uint32_t epoch = (uint32_t)(d->handle >> 32);
	uint16_t owner;
	struct lt_inlet *in;
	int status;

	if (index >= c->inlet_count || d->queue_offset < 0)
		return LEAT_E_INVALID;
	in = c->inlets[index];
	if (!c->grouped) {
		/* Acknowledging one acknowledges what was before it. */
		if (act == LT_ACT_ACK && d->queue_offset >= in->acked)
			in->acked = d->queue_offset + 1;
		return LEAT_OK;
	}
	if (epoch != in->epoch || in->table_seg.base == NULL)
		return LEAT_E_LEASE;
	owner = (uint16_t)in->owner;
	if (act == LT_ACT_ACK)
		return lt_table_ack(&in->table, d->queue_offset, owner);
	if (act == LT_ACT_EXTEND)
		return lt_table_extend(&in->table, d->queue_offset, owner,
		    lt_table_stamp(lt_clock_mono_ms()));
	status = lt_table_nack(&in->table, d->queue_offset, owner);
	if (status == LEAT_OK)
		/* release: whoever sees it sees the claim free */
		atomic_fetch_add_explicit(
		    &in->table.shared->returned, 1, memory_order_release);
	return status;
}

static int
act_all(struct leat_consumer *c, const struct leat_delivery *deliveries,
    size_t count, enum lt_act act)
{
	int status = LEAT_OK, st;
	size_t i;

	if (LT_UNLIKELY(!valid(c)))
		return lt_farintake_act(c, deliveries, count, act);
	if (deliveries == NULL && count != 0)
		return LEAT_E_INVALID;
	for (i = 0; i < count; i++) {
		if (act == LT_ACT_ACK && i == count / 2)
			(void)lt_failpoint(LT_FP_CLIENT_ACK);
		st = act_one(c, &deliveries[i], act);
		if (st != LEAT_OK)
			status = st;
	}
	if (status == LEAT_E_LEASE)
		return lt_connect_fail(c->leat, status,
		    "a lease had ended and the message was delivered again: "
		    "acknowledge sooner or use leat_extend()");
	if (status != LEAT_OK)
		return lt_connect_fail(
		    c->leat, status, "not a delivery of this subscription");
	return LEAT_OK;
}

int
leat_ack(struct leat_consumer *consumer, const struct leat_delivery *deliveries,
    size_t count)
{
	return act_all(consumer, deliveries, count, LT_ACT_ACK);
}

int
leat_nack(struct leat_consumer *consumer,
    const struct leat_delivery *deliveries, size_t count)
{
	return act_all(consumer, deliveries, count, LT_ACT_NACK);
}

int
leat_extend(struct leat_consumer *consumer,
    const struct leat_delivery *deliveries, size_t count)
{
	return act_all(consumer, deliveries, count, LT_ACT_EXTEND);
}

int64_t
leat_lease_ms(const struct leat_consumer *consumer)
{
	return valid(consumer) ? consumer->lease_ms
			       : lt_farintake_lease_ms(consumer);
}

/* End of the queue now; asks the broker if there is no ring. */
static int
end_of(struct leat_consumer *c, struct lt_inlet *in, int64_t *end_out)
{
	struct leat_queue_range range;
	int status;

	*end_out = lt_take_end(in);
	if (*end_out >= 0)
		return LEAT_OK;
	status = leat_queue_range(c->leat, c->topic, in->queue, &range);
	*end_out = range.max_offset;
	return status;
}

int
leat_at_end(struct leat_consumer *consumer)
{
	struct lt_inlet *in;
	int64_t end;
	int status;
	size_t i;

	if (!valid(consumer))
		return lt_farintake_at_end(consumer);
	lt_link_pump(consumer->leat, lt_clock_mono_ms());
	if (consumer->all_queues &&
	    consumer->inlet_count < consumer->want_queues)
		return 0;
	for (i = 0; i < consumer->inlet_count; i++) {
		in = consumer->inlets[i];
		if (in->status != LEAT_OK)
			continue;
		if (in->stale)
			return 0;
		if (in->is_idle)
			continue;
		status = end_of(consumer, in, &end);
		if (status != LEAT_OK)
			return status;
		if (in->next < end)
			return 0;
		if (consumer->grouped &&
		    (in->rescan >= 0 ||
			in->returned !=
			    atomic_load_explicit(&in->table.shared->returned,
				memory_order_acquire)))
			return 0;
	}
	return 1;
}
