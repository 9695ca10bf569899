/*
 * farflight.c - publishing as the application sees it: from a message to a
 * flight in a queue's outlet, and from there to its receipt. Receipts come in
 * order of submission, whatever queue was faster. Messages lie in chunks that
 * go when their last is done: nothing is allocated for one alone.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/name.h"
#include "proto/sendbatch.h"

#define CHUNK_BYTES (256u << 10)
#define ID_PROPERTY "UNIQ_KEY"
#define PUMP_EVERY 32u /* submits: who only submits looks at the sockets so */

static struct lt_farflight *
flight_of(const struct lt_far *far, uint64_t seq)
{
	return &far->flights[seq & (LT_FAR_FLIGHTS - 1)];
}

struct lt_farflight *
lt_farflight_of(const struct lt_far *far, uint64_t seq)
{
	struct lt_farflight *f =
	    far->flights == NULL ? NULL : flight_of(far, seq);

	return f == NULL || f->seq != seq || f->queue == NULL ? NULL : f;
}

/* --- chunks -------------------------------------------------------------- */

static void *
chunk_take(struct lt_far *far, size_t bytes, struct lt_farchunk **out)
{
	struct lt_farchunk *c = far->chunks;
	size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

	if (c == NULL || c->room - c->used < bytes) {
		c = lt_mem_alloc(sizeof(*c) + room);
		if (c == NULL)
			return NULL;
		c->room = room;
		c->next = far->chunks;
		far->chunks = c;
	}
	*out = c;
	c->live++;
	c->used += bytes;
	return c->bytes + c->used - bytes;
}

static void
chunk_give(struct lt_far *far, struct lt_farchunk *c)
{
	struct lt_farchunk **at = &far->chunks;

	if (--c->live > 0)
		return;
	if (c == far->chunks && c->room == CHUNK_BYTES) {
		c->used = 0;
		return;
	}
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	lt_mem_free(c);
}

void
lt_farflight_finish(struct lt_far *far, struct lt_farflight *f, int status)
{
	f->status = status;
	f->is_done = 1;
	f->queue = NULL;
	chunk_give(far, f->chunk);
	f->chunk = NULL;
	far->flight_bytes -= f->size;
}

void
lt_farflight_free(struct lt_far *far)
{
	struct lt_farchunk *c;

	while ((c = far->chunks) != NULL) {
		far->chunks = c->next;
		lt_mem_free(c);
	}
	lt_far_arena_empty(&far->reserved_in);
	lt_mem_free(far->reserved_in);
	lt_buffer_fini(&far->batch);
	lt_mem_free(far->flights);
}

/* --- from message to flight --------------------------------------------------
 */

static size_t
length_of(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

static size_t
pair_bytes(size_t name, size_t value)
{
	return value == 0 ? 0 : name + value + 2;
}

static char *
pair(char *at, const char *name, const char *value, size_t bytes)
{
	size_t n = strlen(name);

	if (bytes == 0)
		return at;
	memcpy(at, name, n);
	at[n] = 1;
	memcpy(at + n + 1, value, bytes);
	at[n + 1 + bytes] = 2;
	return at + n + bytes + 2;
}

/* Are they what a record may hold? And how long is their text. */
static int
check_properties(const struct leat_message *m, size_t *bytes_out)
{
	struct lt_record_property list[64], *p = list;
	struct lt_record_spec spec = {.topic = "t", .topic_bytes = 1};
	size_t i, n = pair_bytes(sizeof(ID_PROPERTY) - 1, LEAT_ID_CHARS);
	int status = LEAT_OK;

	if (m->property_count > LT_PROPERTIES_MAX / 4)
		return LEAT_E_TOOBIG;
	if (m->property_count > LT_COUNT(list)) {
		p = lt_mem_array(m->property_count, sizeof(*p));
		if (p == NULL)
			return LEAT_E_NOMEM;
	}
	for (i = 0; i < m->property_count && status == LEAT_OK; i++) {
		const struct leat_property *from = &m->properties[i];

		if (from->name == NULL || from->value == NULL) {
			status = LEAT_E_INVALID;
			break;
		}
		p[i] = (struct lt_record_property){from->name,
		    strlen(from->name), from->value, strlen(from->value)};
		n += pair_bytes(p[i].name_bytes, p[i].value_bytes);
	}
	spec.keys = m->keys;
	spec.keys_bytes = length_of(m->keys);
	spec.tag = m->tag;
	spec.tag_bytes = length_of(m->tag);
	spec.group_key = m->group_key;
	spec.group_key_bytes = length_of(m->group_key);
	spec.properties = p;
	spec.property_count = m->property_count;
	if (status == LEAT_OK && lt_record_bytes(&spec, 0) == 0)
		status = LEAT_E_INVALID;
	if (p != list)
		lt_mem_free(p);
	*bytes_out = n + pair_bytes(4, spec.keys_bytes) +
		     pair_bytes(4, spec.tag_bytes) +
		     pair_bytes(13, spec.group_key_bytes);
	return status;
}

static void
encode(uint8_t *at, const struct leat_message *m, const struct lt_far *far,
    uint64_t seq, size_t props_bytes, int may_skip_sync)
{
	size_t i, bytes = m->body_bytes;
	char id[LEAT_ID_CHARS], *p = (char *)at + LT_SENDBATCH_FIXED + bytes;

	lt_bytes_put32(
	    at, (uint32_t)(LT_SENDBATCH_FIXED + bytes + props_bytes));
	lt_bytes_put32(at + 4, 0);
	lt_bytes_put32(at + 8, 0);
	lt_bytes_put32(at + 12, (uint32_t)m->flag);
	lt_bytes_put32(at + 16, (uint32_t)bytes);
	if (bytes != 0)
		memcpy(at + 20, m->body, bytes);
	lt_bytes_put16(at + 20 + bytes, (uint16_t)props_bytes);
	lt_bytes_hex64(id, far->id);
	lt_bytes_hex64(id + 16, seq);
	p = pair(p, ID_PROPERTY, id, LEAT_ID_CHARS);
	p = pair(p, "KEYS", m->keys, length_of(m->keys));
	p = pair(p, "TAGS", m->tag, length_of(m->tag));
	p = pair(p, "__SHARDINGKEY", m->group_key, length_of(m->group_key));
	for (i = 0; i < m->property_count; i++)
		p = pair(p, m->properties[i].name, m->properties[i].value,
		    strlen(m->properties[i].value));
	p = pair(p, "WAIT", "false", may_skip_sync ? 5 : 0);
	LT_ASSERT((size_t)(p - (char *)at) ==
		  LT_SENDBATCH_FIXED + bytes + props_bytes);
}

static struct lt_farqueue *
writable(const struct lt_fartopic *t, uint32_t n)
{
	uint32_t i;

	if (t->write_count == t->queue_count)
		return t->queues[n];
	for (i = 0; i < t->queue_count; i++)
		if (t->queues[i]->writes && n-- == 0)
			break;
	return t->queues[i];
}

static int
pick_queue(struct lt_fartopic *t, const struct leat_message *m,
    struct lt_farqueue **out)
{
	uint64_t now;
	uint32_t i;

	if (m->queue >= 0) {
		if ((uint32_t)m->queue >= t->queue_count ||
		    !t->queues[m->queue]->writes)
			return LEAT_E_QUEUE;
		*out = t->queues[m->queue];
		return LEAT_OK;
	}
	if (t->write_count == 0)
		return LEAT_E_QUEUE;
	if (length_of(m->group_key) != 0) {
		*out = writable(t, (uint32_t)(lt_name_group_hash(m->group_key) %
					      t->write_count));
		return LEAT_OK;
	}
	for (i = 0; i < t->write_count; i++) {
		*out = writable(t, t->turn++ % t->write_count);
		if ((*out)->conn->fd >= 0)
			return LEAT_OK;
		now = lt_clock_mono_ms();
		if (now >= (*out)->conn->try_at)
			return LEAT_OK;
	}
	return LEAT_OK; /* all are away: any is as good */
}

static int
find_topic(struct lt_far *far, const char *name, uint64_t deadline,
    struct lt_fartopic **out)
{
	struct lt_fartopic *t = far->last_topic;
	uint64_t least = lt_wait_deadline(LT_TOPIC_OPEN_MS);
	int status;

	if (t == NULL || strcmp(t->name, name) != 0) {
		if (lt_name_topic(name) != LEAT_OK)
			return lt_connect_fail(far->leat, LEAT_E_NAME,
			    "illegal topic name: letters, digits, %%, |, _ "
			    "and - only");
		t = lt_farroute_topic(far, name);
		if (t == NULL)
			return LEAT_E_NOMEM;
	}
	t->may_make = 1;
	t->used_at = far->pumped_at;
	far->last_topic = *out = t;
	if (LT_LIKELY(t->status == LEAT_OK))
		return LEAT_OK;
	status = lt_farroute_wait(t, least > deadline ? least : deadline);
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(far->leat, status,
		    "no topic %s: make it with: leat topic create %s", name,
		    name);
	if (status != LEAT_OK)
		return lt_connect_fail(far->leat, status,
		    "cannot find topic %s: %s", name, leat_status_text(status));
	return LEAT_OK;
}

static int
wait_for_room(struct lt_far *far, uint64_t deadline)
{
	while (far->flight_bytes > LT_FAR_OUT_MAX) {
		if (lt_wait_expired(deadline))
			return lt_connect_fail(far->leat, LEAT_E_AGAIN,
			    "%zu bytes of messages are under way: wait for "
			    "receipts",
			    far->flight_bytes);
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	return LEAT_OK;
}

/* Into its queue's outlet; sent later. */
static int
put(struct lt_far *far, const struct leat_message *m, uint64_t deadline,
    void *user, int waited, struct lt_farflight **out)
{
	struct lt_fartopic *t;
	struct lt_farqueue *q;
	struct lt_farflight *f;
	struct lt_farchunk *chunk;
	size_t props = 0, size;
	uint8_t *bytes;
	int status, skip;

	if (m == NULL || m->topic == NULL || (int)m->level < 0 ||
	    m->level > LEAT_SYNCED || (m->body == NULL && m->body_bytes != 0))
		return lt_connect_fail(far->leat, LEAT_E_INVALID,
		    "a message needs a topic, a level that exists, and a body "
		    "if that has a size");
	if (m->body_bytes > LT_FAR_BODY_MAX)
		return lt_connect_fail(far->leat, LEAT_E_TOOBIG,
		    "body of %zu bytes: at most %u go in a frame",
		    m->body_bytes, LT_FAR_BODY_MAX);
	if (far->flights == NULL)
		far->flights =
		    lt_mem_array(LT_FAR_FLIGHTS, sizeof(*far->flights));
	if (far->flights == NULL)
		return LEAT_E_NOMEM;
	status = check_properties(m, &props);
	skip = m->level == LEAT_ACCEPTED || m->level == LEAT_LOGGED;
	props += skip ? pair_bytes(4, 5) : 0;
	if (status != LEAT_OK || props > LT_PROPERTIES_MAX)
		return lt_connect_fail(far->leat,
		    status != LEAT_OK ? status : LEAT_E_TOOBIG,
		    "illegal properties: empty or reserved name, empty value, "
		    "bytes 1 or 2, or more than %d bytes together",
		    LT_PROPERTIES_MAX);
	if (far->next_seq - far->oldest >= LT_FAR_FLIGHTS)
		return lt_connect_fail(far->leat, LEAT_E_AGAIN,
		    "too many messages in flight: collect receipts with "
		    "leat_completions()");
	status = find_topic(far, m->topic, deadline, &t);
	if (status != LEAT_OK)
		return status;
	if ((t->perm & LEAT_PERM_WRITE) == 0)
		return lt_connect_fail(far->leat, LEAT_E_PERM,
		    "topic %s is not writable: change its perm", m->topic);
	status = pick_queue(t, m, &q);
	if (status != LEAT_OK)
		return lt_connect_fail(far->leat, status,
		    "topic %s has %u queues: no queue %d", m->topic,
		    t->queue_count, m->queue);
	status = wait_for_room(far, deadline);
	if (status != LEAT_OK)
		return status;
	size = LT_SENDBATCH_FIXED + m->body_bytes + props;
	bytes = chunk_take(far, size, &chunk);
	if (bytes == NULL)
		return LEAT_E_NOMEM;
	f = flight_of(far, far->next_seq);
	*f = (struct lt_farflight){.chunk = chunk,
	    .bytes = bytes,
	    .size = (uint32_t)size,
	    .seq = far->next_seq,
	    .give_up_at = lt_clock_mono_ms() + LT_FAR_GIVE_UP_MS,
	    .born_ms = m->born_time_ms,
	    .user = user,
	    .queue_offset = -1,
	    .log_offset = -1,
	    .waited = (uint8_t)waited,
	    .is_bound = m->queue >= 0 || length_of(m->group_key) != 0,
	    .may_skip_sync = (uint8_t)skip};
	encode(bytes, m, far, f->seq, props, f->may_skip_sync);
	far->next_seq++;
	far->in_flight++;
	far->flight_bytes += size;
	far->is_producer = 1;
	lt_faroutlet_add(q, f);
	*out = f;
	return LEAT_OK;
}

/* --- receipts ------------------------------------------------------------ */

static int
collect(struct lt_far *far, struct lt_farflight *f, struct leat_receipt *out)
{
	int status = f->status;

	if (out != NULL) {
		memset(out, 0, sizeof(*out));
		out->status = status;
		out->level = (enum leat_level)f->level;
		lt_bytes_hex64(out->id, far->id);
		lt_bytes_hex64(out->id + 16, f->seq);
		out->queue = f->number;
		out->queue_offset = f->queue_offset;
		out->log_offset = f->log_offset;
		out->user = f->user;
	}
	f->seq = 0;
	far->in_flight--;
	while (far->oldest < far->next_seq &&
	       flight_of(far, far->oldest)->seq != far->oldest)
		far->oldest++;
	return status;
}

static int
say(struct lt_far *far, int status)
{
	if (status == LEAT_OK || far->leat->error[0] != '\0')
		return status;
	return lt_connect_fail(far->leat, status,
	    "broker refused the message: %s", leat_status_text(status));
}

/* 1: done; 0: the time is over. */
static int
wait_flight(struct lt_far *far, struct lt_farflight *f, uint64_t deadline)
{
	while (!f->is_done) {
		if (lt_wait_expired(deadline))
			return 0;
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	return 1;
}

int
lt_farflight_publish(struct leat *leat, const struct leat_message *m,
    int timeout_ms, struct leat_receipt *receipt)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	struct lt_farflight *f;
	int status;

	if (far == NULL)
		return LEAT_E_INVALID;
	leat->error[0] = '\0';
	status = put(far, m, deadline, NULL, 1, &f);
	if (status != LEAT_OK)
		return status;
	lt_faroutlet_push(f->queue);
	if (!wait_flight(far, f, deadline)) {
		f->waited = 0;
		return lt_connect_fail(leat, LEAT_E_TIMEOUT,
		    "the broker has not answered in time: "
		    "leat_completions() will have the receipt");
	}
	return say(far, collect(far, f, receipt));
}

int
lt_farflight_publish_batch(struct leat *leat,
    const struct leat_message *messages, size_t count, int timeout_ms,
    struct leat_receipt *receipts)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	size_t done = 0, i, j, most;
	int status = LEAT_OK, st = LEAT_OK;
	struct lt_farflight *f;
	uint64_t first;

	if (far == NULL)
		return LEAT_E_INVALID;
	leat->error[0] = '\0';
	if (receipts != NULL)
		memset(receipts, 0, count * sizeof(*receipts));
	/* As many at once as there are slots for. */
	while (done < count && st == LEAT_OK) {
		most = LT_FAR_FLIGHTS - (far->next_seq - far->oldest);
		if (most > count - done)
			most = count - done;
		first = far->next_seq;
		for (i = 0; i < most; i++) {
			st = put(
			    far, &messages[done + i], deadline, NULL, 1, &f);
			if (st != LEAT_OK)
				break;
		}
		if (most == 0)
			st = LEAT_E_AGAIN;
		for (j = 0; j < i; j++)
			if (flight_of(far, first + j)->queue != NULL)
				lt_faroutlet_push(
				    flight_of(far, first + j)->queue);
		for (j = 0; j < i; j++, done++) {
			struct leat_receipt *out =
			    receipts == NULL ? NULL : &receipts[done];
			int got = LEAT_E_TIMEOUT;

			f = flight_of(far, first + j);
			if (wait_flight(far, f, deadline))
				got = collect(far, f, out);
			else
				f->waited = 0;
			if (got == LEAT_E_TIMEOUT && out != NULL)
				out->status = got;
			if (status == LEAT_OK)
				status = got;
		}
	}
	for (; receipts != NULL && done < count; done++)
		receipts[done].status = st;
	return say(far, status != LEAT_OK ? status : st);
}

int
lt_farflight_submit(
    struct leat *leat, const struct leat_message *m, int timeout_ms, void *user)
{
	struct lt_far *far = lt_far_of(leat);
	struct lt_farflight *f;
	int status;

	if (far == NULL)
		return LEAT_E_INVALID;
	status = put(far, m, lt_wait_deadline(timeout_ms), user, 0, &f);
	if (status != LEAT_OK)
		return status;
	lt_faroutlet_push(f->queue);
	if (far->next_seq % PUMP_EVERY == 0)
		lt_far_pump(far, 0);
	return LEAT_OK;
}

/* --- bodies in place -------------------------------------------------------
 */

static int
keep_text(struct lt_far *far, const char **text)
{
	size_t bytes = length_of(*text) + 1;
	char *copy;

	if (*text == NULL)
		return LEAT_OK;
	copy = lt_far_arena(&far->reserved_in, bytes);
	if (copy == NULL)
		return LEAT_E_NOMEM;
	memcpy(copy, *text, bytes);
	*text = copy;
	return LEAT_OK;
}

int
lt_farflight_reserve(struct leat *leat, const struct leat_message *m,
    size_t max_body_bytes, int timeout_ms, void **body_out)
{
	struct lt_far *far = lt_far_of(leat);
	struct leat_message copy;
	struct leat_property *p;
	struct lt_fartopic *t;
	size_t i;
	int status;

	if (far == NULL || body_out == NULL || m == NULL || m->topic == NULL)
		return LEAT_E_INVALID;
	*body_out = NULL;
	if (far->reserved.topic != NULL)
		return lt_connect_fail(
		    leat, LEAT_E_BUSY, "commit or abort the reservation first");
	if (max_body_bytes > LT_FAR_BODY_MAX)
		return lt_connect_fail(leat, LEAT_E_TOOBIG,
		    "body of %zu bytes: at most %u go in a frame",
		    max_body_bytes, LT_FAR_BODY_MAX);
	status = find_topic(far, m->topic, lt_wait_deadline(timeout_ms), &t);
	if (status != LEAT_OK)
		return status;
	lt_far_arena_empty(&far->reserved_in);
	copy = *m;
	status = keep_text(far, &copy.topic);
	if (status == LEAT_OK)
		status = keep_text(far, &copy.keys);
	if (status == LEAT_OK)
		status = keep_text(far, &copy.tag);
	if (status == LEAT_OK)
		status = keep_text(far, &copy.group_key);
	p = lt_far_arena(&far->reserved_in, m->property_count * sizeof(*p) + 8);
	for (i = 0; p != NULL && status == LEAT_OK && i < m->property_count;
	     i++) {
		p[i] = m->properties[i];
		status = keep_text(far, &p[i].name);
		if (status == LEAT_OK)
			status = keep_text(far, &p[i].value);
	}
	copy.properties = p;
	copy.body = lt_far_arena(&far->reserved_in, max_body_bytes + 1);
	copy.body_bytes = max_body_bytes;
	if (status != LEAT_OK || p == NULL || copy.body == NULL)
		return LEAT_E_NOMEM;
	far->reserved = copy;
	*body_out = (void *)(uintptr_t)copy.body;
	return LEAT_OK;
}

int
lt_farflight_commit(struct leat *leat, size_t body_bytes, void *user)
{
	struct lt_far *far = lt_far_of(leat);
	struct leat_message m;

	if (far == NULL)
		return LEAT_E_INVALID;
	if (far->reserved.topic == NULL ||
	    body_bytes > far->reserved.body_bytes)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "nothing is reserved, or less than %zu bytes", body_bytes);
	m = far->reserved;
	m.body_bytes = body_bytes;
	far->reserved.topic = NULL;
	return lt_farflight_submit(leat, &m, LT_TOPIC_OPEN_MS, user);
}

void
lt_farflight_abort(struct leat *leat)
{
	struct lt_far *far = lt_far_of(leat);

	if (far != NULL)
		far->reserved.topic = NULL;
}

/* --- collecting ------------------------------------------------------------
 */

int
lt_farflight_completions(
    struct leat *leat, struct leat_receipt *out, size_t max, int timeout_ms)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline;
	size_t n = 0;

	if (far == NULL || (out == NULL && max != 0))
		return LEAT_E_INVALID;
	if (max > INT32_MAX)
		max = INT32_MAX;
	lt_far_glance(far);
	deadline = lt_wait_deadline(timeout_ms);
	for (;;) {
		while (n < max && far->in_flight != 0 &&
		       flight_of(far, far->oldest)->is_done)
			(void)collect(
			    far, flight_of(far, far->oldest), &out[n++]);
		if (n != 0 || max == 0 || far->in_flight == 0 ||
		    lt_wait_expired(deadline))
			return (int)n;
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
}

size_t
lt_farflight_count(const struct leat *leat)
{
	const struct lt_far *far = lt_far_of(leat);

	return far == NULL ? 0 : far->in_flight;
}

void
lt_farflight_kick(struct leat *leat)
{
	struct lt_far *far = lt_far_of(leat);

	if (far != NULL)
		lt_far_pump(far, 0);
}

int
lt_farflight_flush(struct leat *leat, int timeout_ms)
{
	struct lt_far *far = lt_far_of(leat);
	uint64_t deadline = lt_wait_deadline(timeout_ms), seq;
	size_t left;

	if (far == NULL)
		return LEAT_E_INVALID;
	for (;;) {
		left = 0;
		for (seq = far->oldest; seq < far->next_seq; seq++)
			left += flight_of(far, seq)->seq == seq &&
				!flight_of(far, seq)->is_done;
		if (left == 0)
			return LEAT_OK;
		if (lt_wait_expired(deadline))
			return lt_connect_fail(leat, LEAT_E_TIMEOUT,
			    "%zu messages are still in flight", left);
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
}
