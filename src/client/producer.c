/*
 * producer.c - from a message to a record in the lane.
 *
 * The body is copied once, to where it stays; topic, properties and checksums
 * are written around it; one release store of tail makes it exist. The store
 * is rung only if its beacon says, behind a full fence, that it sleeps.
 *
 * And if the process dies before tail is stored? The message never existed.
 * After, before ringing? The store finds it when it looks after the hang-up.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"
#include "client/relay.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"

/* --- topics ------------------------------------------------------------------
 */

static void
take_topic(struct lt_topic *t, const struct lt_wire_topic *msg)
{
	t->id = msg->id;
	t->write_queues = msg->write_queues;
	t->perm = msg->perm;
	t->level = msg->level <= LEAT_SYNCED ? msg->level : LEAT_LEVEL_DEFAULT;
}

int
lt_producer_topic_open(
    struct leat *leat, struct lt_topic *topic, uint64_t deadline)
{
	struct lt_wire_topic_open msg = {0};
	int status;

	msg.rights = LT_RIGHT_PUBLISH;
	/* A remote client's topic is made by the gateway, as that client
	 * wants it. */
	msg.exists = leat->follows != 0;
	memcpy(msg.name, topic->name, topic->name_bytes + 1);
	status = lt_link_call(
	    leat, LT_OP_TOPIC_OPEN, &msg, sizeof(msg), deadline, NULL);
	if (status == LEAT_OK) {
		take_topic(topic, (const void *)leat->rx);
		topic->stale = LT_FRESH;
		return LEAT_OK;
	}
	/* Not answered: it stays as it is. */
	if (status != LEAT_E_TIMEOUT && status != LEAT_E_UNREACHABLE)
		topic->stale = LT_REFUSED;
	return status;
}

static int
explain_topic(struct leat *leat, int status, const char *name)
{
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(leat, status,
		    "no topic %s: make it with: leat topic create %s", name,
		    name);
	if (status == LEAT_E_DENIED)
		return lt_connect_fail(leat, status,
		    "not allowed to publish to %s: that needs a grant", name);
	if (status == LEAT_E_TIMEOUT)
		return status;
	return lt_connect_fail(leat, status, "cannot open topic %s: %s", name,
	    leat_status_text(status));
}

static struct lt_topic *
add_topic(struct leat *leat, const char *name, size_t bytes)
{
	struct lt_topic *t = lt_mem_alloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	memcpy(t->name, name, bytes + 1);
	t->name_bytes = bytes;
	t->stale = LT_REFUSED;
	if (lt_hash_put(&leat->topics, t->name, bytes, t) != LEAT_OK) {
		lt_mem_free(t);
		return NULL;
	}
	t->next = leat->topic_list;
	leat->topic_list = t;
	return t;
}

/* Opening takes until the deadline, and open_ms at least; if it is 0, what is
 * not open stays so: TIMEOUT. */
static int
find_topic(struct leat *leat, const char *name, uint64_t deadline, int open_ms,
    struct lt_topic **out)
{
	struct lt_topic *t = leat->last_topic;
	uint64_t least;
	size_t bytes;
	int status;

	if (LT_LIKELY(
		t != NULL && t->stale == 0 && strcmp(t->name, name) == 0)) {
		*out = t;
		return LEAT_OK;
	}
	bytes = strlen(name);
	if (bytes >= LT_NAME_FIELD || lt_name_topic(name) != LEAT_OK)
		return lt_connect_fail(leat, LEAT_E_NAME,
		    "illegal topic name: letters, digits, %%, |, _ and - "
		    "only");
	t = lt_hash_get(&leat->topics, name, bytes);
	if (t == NULL)
		t = add_topic(leat, name, bytes);
	if (t == NULL)
		return lt_connect_fail(leat, LEAT_E_NOMEM, "out of memory");
	/* STALE: the session is being restored, the old id is good enough. */
	if (t->stale == LT_REFUSED) {
		if (open_ms == 0)
			return LEAT_E_TIMEOUT;
		least = lt_wait_deadline(open_ms);
		status = lt_producer_topic_open(
		    leat, t, least > deadline ? least : deadline);
		if (status != LEAT_OK)
			return explain_topic(leat, status, name);
	}
	leat->last_topic = t;
	*out = t;
	return LEAT_OK;
}

struct lt_topic *
lt_producer_topic_by_id(struct leat *leat, uint32_t id)
{
	struct lt_topic *t;

	for (t = leat->topic_list; t != NULL; t = t->next)
		if (t->id == id)
			return t;
	return NULL;
}

void
lt_producer_topic_late(struct leat *leat, const struct lt_wire_topic *msg)
{
	struct lt_topic *t = NULL;

	if (lt_bytes_terminated(msg->name, sizeof(msg->name)))
		t = lt_hash_get(&leat->topics, msg->name, strlen(msg->name));
	if (t == NULL || t->stale != LT_REFUSED)
		return;
	take_topic(t, msg);
	t->stale = LT_FRESH;
}

void
lt_producer_topic_event(struct leat *leat, const struct lt_wire_topic *ev)
{
	struct lt_topic *t =
	    lt_hash_get(&leat->topics, ev->name, strlen(ev->name));

	if (t == NULL)
		return;
	if (ev->deleted)
		t->stale = LT_REFUSED;
	else if (t->id == ev->id)
		take_topic(t, ev);
	else
		t->stale = LT_REFUSED; /* made anew: no grant for it yet */
}

/* --- drafts
 * --------------------------------------------------------------------- */

static inline size_t
length_of(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

static int
take_properties(
    struct leat *leat, const struct leat_message *m, struct lt_record_spec *s)
{
	struct lt_record_property *p;
	size_t i;

	if (m->property_count > leat->property_capacity) {
		/* A record holds at most that many. */
		if (m->property_count > LT_PROPERTIES_MAX / 4)
			return LEAT_E_TOOBIG;
		p = lt_mem_resize(
		    leat->properties, m->property_count * sizeof(*p));
		if (p == NULL)
			return LEAT_E_NOMEM;
		leat->properties = p;
		leat->property_capacity = m->property_count;
	}
	for (i = 0; i < m->property_count; i++) {
		p = &leat->properties[i];
		p->name = m->properties[i].name;
		p->value = m->properties[i].value;
		if (p->name == NULL || p->value == NULL)
			return LEAT_E_INVALID;
		p->name_bytes = strlen(p->name);
		p->value_bytes = strlen(p->value);
	}
	s->properties = leat->properties;
	s->property_count = m->property_count;
	return LEAT_OK;
}

static int
pick_queue(struct lt_topic *t, const struct leat_message *m, uint32_t *out)
{
	if (t->write_queues == 0)
		return LEAT_E_QUEUE;
	if (m->queue >= 0) {
		if ((uint32_t)m->queue >= t->write_queues)
			return LEAT_E_QUEUE;
		*out = (uint32_t)m->queue;
	} else if (m->group_key != NULL && *m->group_key != '\0') {
		*out = (uint32_t)(lt_name_group_hash(m->group_key) %
				  t->write_queues);
	} else {
		*out = t->turn % t->write_queues;
	}
	return LEAT_OK;
}

static int
level_of(const struct leat *leat, const struct lt_topic *t, int level)
{
	if (level != LEAT_LEVEL_DEFAULT)
		return level;
	return t->level != LEAT_LEVEL_DEFAULT ? (int)t->level
					      : (int)leat->default_level;
}

/* Topic, level and size of a draft; its spec is all zeroes behind it. */
static int
begin(struct leat *leat, const char *topic, size_t max_body, int level,
    uint64_t deadline, struct lt_draft *d)
{
	int status;

	if (max_body > leat->max_body_bytes)
		return lt_connect_fail(leat, LEAT_E_TOOBIG,
		    "body of %zu bytes: the broker takes %llu (max_body_bytes)",
		    max_body, (unsigned long long)leat->max_body_bytes);
	status = find_topic(leat, topic, deadline, LT_TOPIC_OPEN_MS, &d->topic);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (LT_UNLIKELY((d->topic->perm & LEAT_PERM_WRITE) == 0))
		return lt_connect_fail(leat, LEAT_E_PERM,
		    "topic %s is not writable: change its perm", topic);
	d->level = (uint32_t)level_of(leat, d->topic, level);
	d->max_body = max_body;
	d->kind = LT_LANE_PUBLISH;
	memset(&d->spec, 0, sizeof(d->spec));
	d->spec.topic = d->topic->name;
	d->spec.topic_bytes = d->topic->name_bytes;
	return LEAT_OK;
}

/* The spec is complete: claim room in the lane. */
static int
claim(struct leat *leat, uint64_t deadline, struct lt_draft *d)
{
	size_t bytes = lt_record_bytes(&d->spec, d->max_body);

	if (LT_UNLIKELY(bytes == 0))
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "illegal properties: empty or reserved name, empty value, "
		    "bytes 1 or 2, or more than %d bytes together",
		    LT_PROPERTIES_MAX);
	if (LT_UNLIKELY(lt_receipt_full(leat)))
		return lt_connect_fail(leat, LEAT_E_AGAIN,
		    "too many messages in flight: collect receipts with "
		    "leat_completions()");
	return lt_lanes_claim(leat, (uint32_t)bytes, deadline, &d->payload);
}

/* Everything about a message but its body; claims room for max_body. */
static int
draft(struct leat *leat, const struct leat_message *m, size_t max_body,
    uint64_t deadline, struct lt_draft *d)
{
	struct lt_record_spec *s = &d->spec;
	int status;

	if (m == NULL || m->topic == NULL || (int)m->level < 0 ||
	    m->level > LEAT_SYNCED)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "a message needs a topic and a level that exists");
	status = begin(leat, m->topic, max_body, (int)m->level, deadline, d);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	status = pick_queue(d->topic, m, &s->queue);
	if (LT_UNLIKELY(status != LEAT_OK))
		return lt_connect_fail(leat, status,
		    "topic %s has %u queues: no queue %d", m->topic,
		    d->topic->write_queues, m->queue);
	s->flag = m->flag;
	s->born_ms =
	    m->born_time_ms != 0 ? m->born_time_ms : lt_clock_coarse_ms();
	s->keys = m->keys;
	s->keys_bytes = length_of(m->keys);
	s->tag = m->tag;
	s->tag_bytes = length_of(m->tag);
	s->group_key = m->group_key;
	s->group_key_bytes = length_of(m->group_key);
	if (m->property_count != 0) {
		status = take_properties(leat, m, s);
		if (status != LEAT_OK)
			return lt_connect_fail(
			    leat, status, "illegal properties");
	}
	status = claim(leat, deadline, d);
	/* Not before it has its room: else the same message comes again. */
	if (LT_LIKELY(status == LEAT_OK))
		d->topic->turn += m->queue < 0 && s->group_key_bytes == 0;
	return status;
}

/* The body is in place: complete the record. */
static uint64_t
finish(struct leat *leat, struct lt_draft *d, size_t body_bytes, void *user,
    int waited)
{
	struct lt_lane_rec rec = {0};
	struct lt_flight *f;

	rec.bytes =
	    (uint32_t)lt_record_finish(d->payload, &d->spec, body_bytes);
	rec.kind = (uint16_t)d->kind;
	rec.level = (uint16_t)d->level;
	rec.topic = d->topic->id;
	rec.seq = leat->next_seq++;
	f = lt_receipt_add(leat, rec.seq);
	f->user = user;
	f->queue = d->spec.queue;
	f->level = (uint8_t)d->level;
	f->waited = (uint8_t)waited;
	lt_lane_put(&leat->lane, &rec);
	(void)lt_failpoint(LT_FP_CLIENT_LANE_WRITE);
	return rec.seq;
}

void
lt_producer_announce(struct leat *leat)
{
	if (leat->lane.published == leat->lane.tail)
		return;
	lt_lane_publish(&leat->lane);
	(void)lt_failpoint(LT_FP_CLIENT_LANE_TAIL);
	lt_doorbell_fence(); /* pairs with the store's, behind raising sleeping
			      */
	if (atomic_load_explicit(
		&leat->beacon->sleeping, memory_order_relaxed) != 0)
		lt_doorbell_event(leat->store_bell);
}

int
lt_producer_put(struct leat *leat, const struct leat_message *message,
    uint64_t deadline, void *user, int waited, int announce, uint64_t *seq_out)
{
	struct lt_draft d;
	int status;

	if (leat->has_reserved)
		return lt_connect_fail(
		    leat, LEAT_E_BUSY, "commit or abort the reservation first");
	if (message != NULL && message->body == NULL &&
	    message->body_bytes != 0)
		return lt_connect_fail(
		    leat, LEAT_E_INVALID, "body is NULL but has a size");
	status = draft(leat, message, message == NULL ? 0 : message->body_bytes,
	    deadline, &d);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (message->body_bytes != 0)
		memcpy(d.payload + LT_RECORD_BODY_AT, message->body,
		    message->body_bytes);
	*seq_out = finish(leat, &d, message->body_bytes, user, waited);
	if (announce)
		lt_producer_announce(leat);
	return LEAT_OK;
}

int
lt_relay_submit(
    struct leat *leat, const struct lt_relay *m, uint64_t deadline, void *user)
{
	struct lt_draft d;
	int status;

	status =
	    begin(leat, m->topic, m->body_bytes, (int)m->level, deadline, &d);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (LT_UNLIKELY(m->queue >= d.topic->write_queues))
		return lt_connect_fail(leat, LEAT_E_QUEUE,
		    "topic %s has %u queues: no queue %u", m->topic,
		    d.topic->write_queues, m->queue);
	d.kind = LT_LANE_RELAY;
	d.spec.queue = m->queue;
	d.spec.flag = m->flag;
	d.spec.born_ms = m->born_ms;
	d.spec.text = m->text != NULL ? m->text : "";
	d.spec.text_bytes = m->text_bytes;
	d.spec.has_id = m->has_id;
	d.spec.sys_flag = m->sys_flag;
	d.spec.reconsume = m->reconsume;
	d.spec.born_ip = m->born_ip;
	d.spec.born_port = m->born_port;
	status = claim(leat, deadline, &d);
	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (m->body_bytes != 0)
		memcpy(d.payload + LT_RECORD_BODY_AT, m->body, m->body_bytes);
	(void)finish(leat, &d, m->body_bytes, user, 0);
	return LEAT_OK;
}

int
lt_relay_queue(struct leat *leat, const char *topic, int32_t wanted,
    int open_ms, uint32_t *out)
{
	struct leat_message m = {.topic = topic, .queue = wanted};
	struct lt_topic *t;
	int status = find_topic(leat, topic, 0, open_ms, &t);

	if (LT_UNLIKELY(status != LEAT_OK))
		return status;
	if (LT_UNLIKELY((t->perm & LEAT_PERM_WRITE) == 0))
		return LEAT_E_PERM;
	status = pick_queue(t, &m, out);
	t->turn += status == LEAT_OK && wanted < 0;
	return status;
}

void
lt_relay_announce(struct leat *leat)
{
	lt_producer_announce(leat);
}

/* --- public
 * --------------------------------------------------------------------- */

int
leat_submit(struct leat *leat, const struct leat_message *message,
    int timeout_ms, void *user)
{
	uint64_t seq;
	int status;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_submit(leat, message, timeout_ms, user);
	/* The clock is read only if there is something to wait for. */
	status = lt_producer_put(leat, message, 0, user, 0, 1, &seq);
	if (LT_UNLIKELY((status == LEAT_E_AGAIN || status == LEAT_E_TIMEOUT) &&
			timeout_ms != 0))
		status = lt_producer_put(leat, message,
		    lt_wait_deadline(timeout_ms), user, 0, 1, &seq);
	/* Who only submits never waits, so looks at the socket here. */
	if (LT_UNLIKELY((leat->next_seq & 63) == 0))
		lt_link_glance(leat, LT_PUMP_MS);
	return status;
}

/* Keep the strings of a reserved message: they are borrowed only until
 * leat_reserve returns. */
static int
keep_strings(struct leat *leat, struct lt_record_spec *s)
{
	size_t need = s->keys_bytes + s->tag_bytes + s->group_key_bytes, i;
	struct lt_record_property *p;
	char *at;

	for (i = 0; i < s->property_count; i++)
		need += leat->properties[i].name_bytes +
			leat->properties[i].value_bytes;
	if (need > leat->reserve_capacity) {
		at = lt_mem_resize(leat->reserve_text, need);
		if (at == NULL)
			return LEAT_E_NOMEM;
		leat->reserve_text = at;
		leat->reserve_capacity = need;
	}
	at = leat->reserve_text;
#define KEEP(text, bytes)                                                      \
	do {                                                                   \
		if ((bytes) != 0) {                                            \
			memcpy(at, text, bytes);                               \
			(text) = at;                                           \
			at += (bytes);                                         \
		}                                                              \
	} while (0)
	KEEP(s->keys, s->keys_bytes);
	KEEP(s->tag, s->tag_bytes);
	KEEP(s->group_key, s->group_key_bytes);
	for (i = 0; i < s->property_count; i++) {
		p = &leat->properties[i];
		KEEP(p->name, p->name_bytes);
		KEEP(p->value, p->value_bytes);
	}
#undef KEEP
	return LEAT_OK;
}

int
leat_reserve(struct leat *leat, const struct leat_message *message,
    size_t max_body_bytes, int timeout_ms, void **body_out)
{
	int status;

	if (!lt_connect_valid(leat))
		return lt_farflight_reserve(
		    leat, message, max_body_bytes, timeout_ms, body_out);
	if (body_out == NULL)
		return LEAT_E_INVALID;
	*body_out = NULL;
	if (leat->has_reserved)
		return lt_connect_fail(
		    leat, LEAT_E_BUSY, "commit or abort the reservation first");
	status = draft(leat, message, max_body_bytes,
	    lt_wait_deadline(timeout_ms), &leat->reserved);
	if (status == LEAT_OK)
		status = keep_strings(leat, &leat->reserved.spec);
	if (status != LEAT_OK)
		return status;
	/* From here on no welcome is taken: the lane stays where it is. */
	leat->has_reserved = 1;
	*body_out = leat->reserved.payload + LT_RECORD_BODY_AT;
	return LEAT_OK;
}

int
leat_commit(struct leat *leat, size_t body_bytes, void *user)
{
	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_farflight_commit(leat, body_bytes, user);
	if (!leat->has_reserved || body_bytes > leat->reserved.max_body)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "nothing is reserved, or less than %zu bytes", body_bytes);
	leat->has_reserved = 0;
	(void)finish(leat, &leat->reserved, body_bytes, user, 0);
	lt_producer_announce(leat);
	return LEAT_OK;
}

void
leat_abort(struct leat *leat)
{
	if (lt_connect_valid(leat))
		leat->has_reserved = 0;
	else
		lt_farflight_abort(leat);
}

void
leat_kick(struct leat *leat)
{
	if (!lt_connect_valid(leat)) {
		lt_farflight_kick(leat);
		return;
	}
	lt_producer_announce(leat);
	lt_link_glance(leat, 1);
}
