/*
 * farintake.c - subscriptions of a remote session as the application sees them:
 * subscribe, poll, acknowledge, leave. Subscriptions of one group in a session
 * are one member for the brokers.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/name.h"

#define BATCH_BYTES (1u << 20)
#define BATCH_BYTES_MIN (64u << 10)
#define LEAVE_MS 1000

static struct lt_far *
far_of(const struct leat_consumer *c)
{
	return c != NULL && c->magic == LT_FAR_CONSUMER_MAGIC
		   ? lt_far_of(c->leat)
		   : NULL;
}

/* --- subscribe -------------------------------------------------------------
 */

static struct lt_fargroup *
group_of(struct lt_far *far, const struct leat_consumer *c)
{
	char retry[LT_NAME_FIELD + 8];
	struct lt_fargroup *g;

	for (g = far->groups; g != NULL; g = g->next)
		if (c->group[0] != '\0' && strcmp(g->name, c->group) == 0)
			return g;
	g = lt_mem_alloc(sizeof(*g));
	if (g == NULL)
		return NULL;
	g->far = far;
	strcpy(g->name, c->group);
	g->mode = c->mode;
	g->grouped = c->grouped;
	g->commit_at = lt_clock_mono_ms() + LT_FAR_COMMIT_MS;
	if (g->grouped) {
		snprintf(retry, sizeof(retry), "%%RETRY%%%s", c->group);
		g->retry = lt_farroute_topic(far, retry);
		if (g->retry == NULL) {
			lt_mem_free(g);
			return NULL;
		}
		g->retry->refresh_at =
		    1; /* soon: the first heartbeat makes it */
	}
	g->next = far->groups;
	far->groups = g;
	return g;
}

static void
free_group(struct lt_fargroup *g)
{
	struct lt_fargroup **at;

	for (at = &g->far->groups; *at != g;)
		at = &(*at)->next;
	*at = g->next;
	lt_farask_forget(g->far, g);
	lt_mem_free(g->sources);
	lt_mem_free(g);
}

static void
destroy(struct leat_consumer *c)
{
	struct lt_farreader *r = c->reader;
	struct lt_farframe *f;

	if (r != NULL) {
		while ((f = r->spent) != NULL) {
			r->spent = f->next;
			lt_mem_free(f);
		}
		lt_far_arena_empty(&r->arena);
		lt_mem_free(r->arena);
		lt_mem_free(r->tag_expr);
		lt_mem_free(r);
	}
	lt_mem_free(c->tags);
	lt_mem_free(c->tag_text);
	c->magic = 0;
	lt_mem_free(c);
}

static int
make(struct lt_far *far, const struct leat_subscription *s,
    struct leat_consumer **out)
{
	struct leat_consumer *c = lt_mem_alloc(sizeof(*c));
	const char *group = s->group == NULL ? "" : s->group;

	if (c == NULL)
		return LEAT_E_NOMEM;
	*out = c;
	c->magic = LT_FAR_CONSUMER_MAGIC;
	c->leat = far->leat;
	c->mode = s->mode;
	c->grouped = *group != '\0' && s->mode == LEAT_CLUSTERING;
	c->from = s->from;
	c->from_value = s->from_value;
	c->lease_ms = c->grouped ? LT_FAR_LEASE_MS : 0;
	c->batch_bytes = s->batch_bytes == 0 ? BATCH_BYTES : s->batch_bytes;
	if (c->batch_bytes < BATCH_BYTES_MIN)
		c->batch_bytes = BATCH_BYTES_MIN;
	c->reader = lt_mem_alloc(sizeof(*c->reader));
	if (c->reader == NULL)
		return LEAT_E_NOMEM;
	c->reader->queue = s->queue < 0 ? -1 : s->queue;
	if (lt_bytes_field(c->topic, sizeof(c->topic), s->topic) != 0 ||
	    lt_bytes_field(c->group, sizeof(c->group), group) != 0 ||
	    lt_name_topic(c->topic) != LEAT_OK ||
	    (*group != '\0' && lt_name_group(group) != LEAT_OK))
		return LEAT_E_NAME;
	if (s->tags != NULL && *s->tags != '\0' && strcmp(s->tags, "*") != 0) {
		c->reader->tag_expr = lt_mem_strdup(s->tags);
		if (c->reader->tag_expr == NULL)
			return LEAT_E_NOMEM;
	}
	return lt_consumer_tags(c, s->tags);
}

/* Its queues are known, and where each begins. */
static int
is_begun(const struct leat_consumer *c)
{
	const struct lt_fargroup *g = c->reader->group;
	size_t i;

	if (!g->is_joined)
		return 0;
	for (i = 0; i < g->source_count; i++)
		if (g->sources[i] != NULL && g->sources[i]->consumer == c &&
		    g->sources[i]->state != LT_FARSOURCE_READY)
			return 0;
	return 1;
}

static int
source_status(const struct lt_fargroup *g, const struct leat_consumer *c)
{
	size_t i;

	for (i = 0; i < g->source_count; i++)
		if (g->sources[i] != NULL && g->sources[i]->consumer == c &&
		    g->sources[i]->status != LEAT_OK)
			return g->sources[i]->status;
	return LEAT_OK;
}

static int
join(struct lt_far *far, struct leat_consumer *c)
{
	uint64_t deadline = lt_wait_deadline(LT_REQUEST_MS);
	struct lt_farreader *r = c->reader;
	const struct leat_consumer *o;
	int status;

	r->topic = lt_farroute_topic(far, c->topic);
	if (r->topic == NULL)
		return LEAT_E_NOMEM;
	status = lt_farroute_wait(r->topic, deadline);
	/* The route may be TBW102's: nobody made the topic yet. */
	if (status == LEAT_OK && r->topic->is_made_up)
		status = LEAT_E_NOTFOUND;
	if (status == LEAT_OK && r->queue >= 0 &&
	    (uint32_t)r->queue >= r->topic->queue_count)
		status = LEAT_E_QUEUE;
	if (status != LEAT_OK)
		return status;
	r->group = group_of(far, c);
	if (r->group == NULL)
		return LEAT_E_NOMEM;
	for (o = r->group->consumers; o != NULL; o = o->reader->sibling)
		if (strcmp(o->topic, c->topic) == 0 || o->mode != c->mode) {
			r->group = NULL;
			return LEAT_E_BUSY;
		}
	r->sibling = r->group->consumers;
	r->group->consumers = c;
	r->group->is_joined = 0;
	r->group->status = LEAT_OK;
	lt_farmember_changed(far, r->group);
	while (!is_begun(c)) {
		status = r->group->status != LEAT_OK
			     ? r->group->status
			     : source_status(r->group, c);
		if (status != LEAT_OK)
			return status;
		if (lt_wait_expired(deadline))
			return LEAT_E_TIMEOUT;
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	r->was_begun = 1;
	return LEAT_OK;
}

static int
explain(struct leat *leat, const struct leat_subscription *s, int status)
{
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(leat, status,
		    "no topic %s: make it with: leat topic create %s", s->topic,
		    s->topic);
	if (status == LEAT_E_INVALID && s->tags != NULL)
		return lt_connect_fail(leat, status,
		    "cannot subscribe: tags are written \"a || b\"");
	if (status == LEAT_E_BUSY)
		return lt_connect_fail(leat, status,
		    "cannot subscribe to %s: this session is a member of group "
		    "%s already: use another session",
		    s->topic, s->group);
	return lt_connect_fail(leat, status, "cannot subscribe to %s: %s",
	    s->topic, leat_status_text(status));
}

int
lt_farintake_subscribe(struct leat *leat, const struct leat_subscription *s,
    struct leat_consumer **out)
{
	struct lt_far *far = lt_far_of(leat);
	struct leat_consumer *c = NULL;
	int status;

	if (far == NULL || s == NULL || out == NULL)
		return LEAT_E_INVALID;
	*out = NULL;
	if (s->topic == NULL || (int)s->from > LEAT_FROM_TIME ||
	    (int)s->mode > LEAT_BROADCASTING)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "a subscription needs a topic, and a mode and a start "
		    "that exist");
	if (s->queue >= 0 && s->group != NULL && s->mode == LEAT_CLUSTERING)
		return lt_connect_fail(leat, LEAT_E_UNSUPPORTED,
		    "queue %d alone: members of a group share all queues with "
		    "a RocketMQ broker: browse, or leave the queue out",
		    s->queue);
	status = make(far, s, &c);
	if (status == LEAT_OK)
		status = join(far, c);
	if (status == LEAT_OK) {
		*out = c;
		return LEAT_OK;
	}
	if (c != NULL && c->reader != NULL && c->reader->group != NULL)
		lt_farintake_unsubscribe(c);
	else if (c != NULL)
		destroy(c);
	return explain(leat, s, status);
}

/* --- leave -----------------------------------------------------------------
 */

static void
on_committed(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	(void)status;
	(void)head;
	(void)body;
	(void)bytes;
	(*(size_t *)user)--;
}

/* Is it c's, or the group's when c is the last? */
static int
goes(const struct lt_farsource *s, const struct leat_consumer *c)
{
	const struct lt_fargroup *g = c->reader->group;

	return s != NULL &&
	       (s->consumer == c || (s->consumer == NULL && g->consumers == c &&
					c->reader->sibling == NULL));
}

static int
owes(const struct leat_consumer *c)
{
	const struct lt_fargroup *g = c->reader->group;
	size_t i;

	for (i = 0; i < g->source_count; i++)
		if (goes(g->sources[i], c) && lt_farclaim_owes(g->sources[i]))
			return 1;
	return 0;
}

/* What was given back goes to the broker, and how far we came. */
static void
settle(struct lt_far *far, struct leat_consumer *c)
{
	struct lt_fargroup *g = c->reader->group;
	uint64_t deadline = lt_wait_deadline(LEAVE_MS);
	size_t waiting = 0, i;

	while (owes(c) && !lt_wait_expired(deadline))
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	for (i = 0; i < g->source_count; i++)
		if (goes(g->sources[i], c) &&
		    lt_farsource_commit(g->sources[i], on_committed, &waiting))
			waiting++;
	while (waiting > 0 && !lt_wait_expired(deadline))
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	lt_farask_forget(far, &waiting);
	for (i = 0; i < g->source_count; i++)
		if (goes(g->sources[i], c))
			lt_farsource_drop(g->sources[i]);
}

void
lt_farintake_unsubscribe(struct leat_consumer *c)
{
	struct lt_far *far = far_of(c);
	struct lt_fargroup *g;
	struct leat_consumer **at;

	if (far == NULL)
		return;
	g = c->reader->group;
	settle(far, c);
	for (at = &g->consumers; *at != c;)
		at = &(*at)->reader->sibling;
	*at = c->reader->sibling;
	if (g->consumers == NULL) {
		if (g->name[0] != '\0')
			lt_farmember_leave(g);
		free_group(g);
	} else {
		lt_farmember_changed(far, g);
	}
	destroy(c);
}

/* --- poll ------------------------------------------------------------------
 */

static int
take_all(struct leat_consumer *c, struct leat_delivery *out, size_t max)
{
	struct lt_fargroup *g = c->reader->group;
	size_t i, n = 0;
	int status = LEAT_OK;

	for (i = 0; i < g->source_count && n < max; i++) {
		struct lt_farsource *s =
		    g->sources[(c->turn + i) % g->source_count];
		int got;

		if (s == NULL || (s->consumer != NULL && s->consumer != c))
			continue;
		got = lt_farsource_take(s, c, out + n, max - n);
		if (got < 0)
			status = got;
		else
			n += (size_t)got;
	}
	if (n != 0)
		c->turn++;
	return n != 0 ? (int)n : status;
}

/* Nothing can be read: why. That bytes made no sense is said once, since the
 * next may. */
static int
poll_status(const struct leat_consumer *c)
{
	const struct lt_fargroup *g = c->reader->group;
	int status = LEAT_OK;
	size_t i;

	for (i = 0; i < g->source_count; i++) {
		if (g->sources[i] == NULL || g->sources[i]->consumer != c)
			continue;
		if (g->sources[i]->status == LEAT_OK)
			return LEAT_OK;
		status = g->sources[i]->status;
	}
	for (i = 0; i < g->source_count && status == LEAT_E_CORRUPT; i++)
		if (g->sources[i] != NULL && g->sources[i]->consumer == c)
			g->sources[i]->status = LEAT_OK;
	return status;
}

int
lt_farintake_poll(struct leat_consumer *c, struct leat_delivery *out,
    size_t max, int timeout_ms)
{
	struct lt_far *far = far_of(c);
	uint64_t deadline = 0;
	struct lt_farframe *f;
	int n;

	if (far == NULL || (out == NULL && max != 0))
		return LEAT_E_INVALID;
	while ((f = c->reader->spent) != NULL) {
		c->reader->spent = f->next;
		lt_mem_free(f);
	}
	lt_far_arena_empty(&c->reader->arena);
	if (max > INT32_MAX)
		max = INT32_MAX;
	if (max == 0)
		return 0;
	lt_far_glance(far);
	for (;;) {
		n = take_all(c, out, max);
		if (n == 0)
			n = poll_status(c);
		if (n < 0)
			return lt_connect_fail(c->leat, n,
			    "topic %s can not be read: %s", c->topic,
			    leat_status_text(n));
		if (n > 0)
			return n;
		if (lt_farhome_is_refused(far))
			return lt_farhome_refused(far);
		if (timeout_ms == 0)
			return 0;
		if (deadline == 0)
			deadline = lt_wait_deadline(timeout_ms);
		else if (lt_wait_expired(deadline))
			return 0;
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
}

/* --- acknowledge -----------------------------------------------------------
 */

int
lt_farintake_act(struct leat_consumer *c,
    const struct leat_delivery *deliveries, size_t count, enum lt_act act)
{
	struct lt_far *far = far_of(c);
	struct lt_fargroup *g;
	int status = LEAT_OK, st;
	size_t i;

	if (far == NULL || (deliveries == NULL && count != 0))
		return LEAT_E_INVALID;
	g = c->reader->group;
	for (i = 0; i < count && c->grouped; i++) {
		uint32_t index = (uint32_t)deliveries[i].handle;
		uint32_t epoch = (uint32_t)(deliveries[i].handle >> 32);

		if (index >= g->source_count)
			st = LEAT_E_INVALID;
		else if (g->sources[index] == NULL ||
			 g->sources[index]->epoch != epoch)
			st = LEAT_E_LEASE;
		else
			st = lt_farclaim_act(
			    g->sources[index], deliveries[i].queue_offset, act);
		if (st != LEAT_OK)
			status = st;
	}
	/* Members that work long between polls stay members. */
	lt_far_glance(far);
	if (status == LEAT_E_LEASE)
		return lt_connect_fail(c->leat, status,
		    "a lease had ended and the message is delivered again: "
		    "acknowledge sooner or use leat_extend()");
	if (status != LEAT_OK)
		return lt_connect_fail(
		    c->leat, status, "not a delivery of this subscription");
	return LEAT_OK;
}

int64_t
lt_farintake_lease_ms(const struct leat_consumer *c)
{
	return far_of(c) == NULL ? 0 : c->lease_ms;
}

/* --- the end -----------------------------------------------------------------
 */

struct end {
	struct lt_farreply reply;
	uint32_t index, epoch;
	int is_asked;
};

static int
ask_end(struct lt_farsource *s, struct end *e)
{
	struct lt_farrequest r;
	int status =
	    lt_farask_begin(&r, s->queue->conn, 30, 2 * (size_t)LT_NAME_FIELD);

	if (status != LEAT_OK)
		return status;
	e->index = s->index;
	e->epoch = s->epoch;
	lt_farask_put(&r, "bname", s->queue->broker);
	lt_remoting_put_i64(&r.e, "queueId", s->queue->id);
	lt_farask_put(&r, "topic", s->queue->topic->name);
	status = lt_farask_end(
	    &r, NULL, 0, LT_FAR_RPC_MS, lt_farask_reply, &e->reply);
	e->is_asked = status == LEAT_OK;
	return status;
}

/* 1: this queue was read up to what its broker says is its end. */
static int
is_at(const struct lt_fargroup *g, struct end *e, uint64_t deadline)
{
	const struct lt_farsource *s;

	if (lt_farask_wait(g->far, &e->reply, deadline) != LEAT_OK ||
	    e->reply.offset < 0)
		return 0;
	s = e->index < g->source_count ? g->sources[e->index] : NULL;
	return s != NULL && s->epoch == e->epoch && s->first == NULL &&
	       s->next >= e->reply.offset;
}

int
lt_farintake_at_end(struct leat_consumer *c)
{
	struct lt_far *far = far_of(c);
	uint64_t deadline = lt_wait_deadline(LT_FAR_RPC_MS);
	struct lt_fargroup *g;
	struct end *ends;
	size_t i, n = 0, count;
	int at_end = 1;

	if (far == NULL)
		return LEAT_E_INVALID;
	lt_far_glance(far);
	g = c->reader->group;
	if (!g->is_joined)
		return 0;
	count = g->source_count;
	ends = lt_mem_array(count + 1, sizeof(*ends));
	if (ends == NULL)
		return LEAT_E_NOMEM;
	for (i = 0; i < count && at_end; i++) {
		struct lt_farsource *s = g->sources[i];

		if (s == NULL || (s->consumer != NULL && s->consumer != c))
			continue;
		at_end = s->state == LT_FARSOURCE_READY && s->first == NULL &&
			 !lt_farclaim_owes(s) &&
			 ask_end(s, &ends[n]) == LEAT_OK;
		n += at_end;
	}
	for (i = 0; i < n; i++) {
		at_end &= is_at(g, &ends[i], deadline);
		lt_farask_drop(&ends[i].reply);
	}
	lt_mem_free(ends);
	return at_end;
}
