/* story.c - the living half of story.h; judge.c is the other. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/faults.h"
#include "base/clock.h"
#include "leat/leat.h"
#include "proto/name.h"

#define LANE (256u << 10)
#define GONE_ID 21
#define TURN_MS 7
#define SAID 2 /* tag of a record about the topic that comes and goes */

static struct story *up; /* whose clock runs */

static uint64_t
story_mono_ns(void)
{
	return up->mono_ms * 1000000u;
}

static int64_t
story_wall_ms(void)
{
	return (int64_t)up->wall_ms;
}

static const struct topic {
	uint32_t id;
	const char *name;
	uint32_t queues;
} topics[] = {
    {RIG_TOPIC, RIG_NAME, 4},
    {20, "events", 2},
    {GONE_ID, "gone", 3},
};

static const uint32_t levels[STORY_CLIENTS] = {
    LEAT_SYNCED, LEAT_LOGGED, LEAT_ACCEPTED, LEAT_SYNCED};

static uint64_t
below(struct story *s, uint64_t n)
{
	return film_random(&s->rng) % n;
}

static size_t
when(const struct story *s)
{
	return s->film == NULL ? 0 : film_now(s->film);
}

static void *
grow(void *p, size_t count, size_t *capacity, size_t bytes)
{
	if (count < *capacity)
		return p;
	*capacity = *capacity == 0 ? 64 : *capacity * 2;
	p = realloc(p, *capacity * bytes);
	assert_non_null(p);
	return p;
}

static void
note(struct story_moment **list, size_t *count, size_t *capacity, size_t at,
    uint64_t value)
{
	*list = grow(*list, *count, capacity, sizeof **list);
	(*list)[(*count)++] = (struct story_moment){at, value};
}

/* --- beginning and end -----------------------------------------------------
 */

void
story_begin(struct story *s, const char *dir, struct film *film, uint64_t seed,
    void (*change)(struct lt_options *o))
{
	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	s->film = film;
	s->rng = seed;
	s->change = change;
	s->mono_ms = 1000000;
	s->wall_ms = 1700000000000;
	s->began = UINT64_MAX;
}

static void
settings(struct lt_options *o)
{
	o->store_segment_bytes = STORY_SEGMENT;
	o->store_prefill_bytes = 2 * STORY_SEGMENT;
	o->store_batch_bytes = 65536;
	o->store_checkpoint_ms = 100;
	o->store_retain_check_ms = 100;
	o->store_retain_bytes = 4 * STORY_SEGMENT;
	if (up->change != NULL)
		up->change(o);
}

static void
make_client(struct story *s, uint32_t level)
{
	struct story_client *c;

	s->clients = grow(s->clients, s->client_count, &s->client_capacity,
	    sizeof *s->clients);
	c = &s->clients[s->client_count];
	memset(c, 0, sizeof(*c));
	rig_client_make(&c->c, 0x1000 + s->client_count, LANE);
	c->level = level;
	c->is_attached = 1;
	s->client_count++;
}

/* New ones: what the old ones had in their lanes is their loss. */
static void
attach_clients(struct story *s)
{
	s->live = s->client_count;
	for (int i = 0; i < STORY_CLIENTS; i++) {
		make_client(s, levels[i]);
		struct story_client *c = &s->clients[s->client_count - 1];
		rig_attach(&s->rig, &c->c, -1);
		struct lt_session *session =
		    lt_session_find(&s->rig.d, c->c.id);
		for (size_t t = 0; t < LT_COUNT(topics); t++)
			assert_int_equal(
			    lt_session_grant(session, topics[t].id, 1),
			    LEAT_OK);
	}
}

/* The log tells whether its deletion was logged: then recovery dropped it. */
static int
has_queue(struct story *s)
{
	for (uint32_t q = 0; q < 3; q++)
		if (lt_cq_find(s->rig.d.queues, "gone", 4, q) != NULL)
			return 1;
	return 0;
}

int
story_start(struct story *s)
{
	up = s;
	lt_clock.mono_ns = story_mono_ns;
	lt_clock.wall_ms = story_wall_ms;
	s->is_up = 1;
	s->status = rig_try_start(&s->rig, s->dir, settings);
	if (s->status != LEAT_OK)
		return s->status;
	if (s->gone_state == 1)
		s->gone_state = has_queue(s) ? 0 : 2;
	rig_topic(&s->rig, 8, LT_NAME_CONFIG_TOPIC, 1, 6);
	rig_topic(&s->rig, 9, LT_NAME_PROGRESS_TOPIC, 1, 6);
	for (size_t t = 1; t < LT_COUNT(topics); t++)
		if (topics[t].id != GONE_ID || s->gone_state == 0)
			rig_topic(&s->rig, topics[t].id, topics[t].name,
			    topics[t].queues, 6);
	attach_clients(s);
	return LEAT_OK;
}

void
story_kill(struct story *s)
{
	if (!s->is_up)
		return;
	rig_drop(&s->rig);
	s->is_up = 0;
	for (size_t i = s->live; i < s->client_count; i++) {
		rig_client_free(&s->clients[i].c);
		s->clients[i].is_attached = 0;
	}
	s->live = s->client_count;
	/* Its return may be logged or not: it is made again before use. */
	if (s->gone_state == 3)
		s->gone_state = 2;
}

void
story_end(struct story *s)
{
	story_kill(s);
	for (size_t i = 0; i < s->count; i++)
		free(s->sent[i].body);
	for (size_t i = 0; i < s->client_count; i++)
		free(s->clients[i].sent);
	free(s->clients);
	free(s->sent);
	free(s->mins);
	free(s->ends);
	free(s->system);
}

void
story_set_wall(struct story *s, int64_t ms)
{
	s->wall_ms = (uint64_t)ms;
}

/* --- messages ----------------------------------------------------------- */

/* A body may hold whole records for where its bytes could come to lie when the
 * segment is used again: the store must never find them. */
static void
forge(struct story *s, uint8_t *body, size_t bytes)
{
	uint64_t at = lt_commitlog_end(s->rig.d.log) + LT_RECORD_BODY_AT;

	for (unsigned lap = 4; lap < 12; lap++) {
		size_t used = (lap - 4) * 300;
		if (used + 300 > bytes)
			return;
		(void)faults_record(body + used, 300, RIG_NAME, lap % 4, lap,
		    at + used + (uint64_t)lap * STORY_SEGMENT,
		    (int64_t)s->wall_ms, NULL, 60, lap);
	}
}

static int
put(struct story *s, struct story_client *c, size_t bytes, int is_forger)
{
	const struct topic *t = &topics[below(s, LT_COUNT(topics))];
	uint32_t queue = (uint32_t)below(s, t->queues);
	uint64_t x = s->rng;
	uint8_t *body;

	if (t->id == GONE_ID && s->gone_state >= 2)
		t = &topics[0];
	body = malloc(bytes);
	assert_non_null(body);
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = film_random(&x);
		memcpy(body + i, &word, bytes - i < 8 ? bytes - i : 8);
	}
	if (is_forger)
		forge(s, body, bytes);
	size_t at = when(s);
	uint32_t level = c->level;
	if (level == LEAT_SYNCED && s->calm > 1 && below(s, s->calm) > 0)
		level = LEAT_LOGGED;
	if (rig_put(&c->c, t->id, t->name, queue, level, body, bytes) !=
	    LEAT_OK) {
		free(body);
		return 0;
	}
	s->sent = grow(s->sent, s->count, &s->capacity, sizeof *s->sent);
	c->sent = grow(c->sent, c->c.seq, &c->capacity, sizeof *c->sent);
	c->sent[c->c.seq] = (uint32_t)s->count;
	s->sent[s->count++] = (struct story_sent){
	    .session = c->c.id,
	    .topic = t->name,
	    .queue = queue,
	    .body = body,
	    .body_bytes = (uint32_t)bytes,
	    .log_offset = -1,
	    .sent_at = at,
	    .logged_at = STORY_NEVER,
	    .synced_at = STORY_NEVER,
	};
	return 1;
}

static void
collect(struct story *s, struct story_client *c)
{
	uint64_t logged =
	    atomic_load_explicit(&c->c.shown->logged, memory_order_acquire);
	uint64_t synced =
	    atomic_load_explicit(&c->c.shown->synced, memory_order_acquire);
	size_t at = when(s);

	for (; c->collected < logged; c->collected++) {
		struct lt_page_done done = rig_done(&c->c, c->collected + 1);
		struct story_sent *m = &s->sent[c->sent[c->collected + 1]];
		m->status = done.status;
		m->log_offset = done.log_offset;
		m->queue_offset = done.queue_offset;
		m->logged_at = at;
		/* Its topic may just have gone. */
		s->refused +=
		    done.status != LEAT_OK && done.status != LEAT_E_NOTFOUND;
	}
	assert_true(synced <= logged);
	for (; c->synced < synced; c->synced++)
		s->sent[c->sent[c->synced + 1]].synced_at = at;
}

static void
listen(struct story *s)
{
	static uint8_t msg[LT_WIRE_MAX];
	unsigned op;

	while ((op = rig_said(&s->rig, msg, sizeof(msg))) != 0) {
		const struct lt_wire_appended *a = (const void *)msg;
		if (op == LT_OP_S_APPEND && a->h.tag == SAID)
			s->said = a->h.status == LEAT_OK ? 1 : -1;
		if (op == LT_OP_S_APPEND && a->h.status == LEAT_OK)
			note(&s->system, &s->system_count, &s->system_capacity,
			    when(s), (uint64_t)a->log_offset);
	}
}

/* --- the broker's own records ------------------------------------------- */

static void
say(struct story *s, uint32_t topic, const char *tag, const char *name,
    int is_deleted)
{
	static uint8_t buf[2048];
	const struct lt_record_property props[] = {
	    {LT_NAME_CONFIG_NAME, strlen(LT_NAME_CONFIG_NAME), name,
		strlen(name)},
	    {LT_NAME_CONFIG_DELETED, strlen(LT_NAME_CONFIG_DELETED),
		is_deleted ? "1" : "0", 1},
	};
	const char *to =
	    topic == 8 ? LT_NAME_CONFIG_TOPIC : LT_NAME_PROGRESS_TOPIC;
	struct lt_record_spec spec = {
	    .topic = to,
	    .topic_bytes = strlen(to),
	    .tag = tag,
	    .tag_bytes = strlen(tag),
	    .properties = props,
	    .property_count = name[0] == 0 ? 0 : 2,
	};
	struct lt_wire_append m = {.topic = topic, .level = LEAT_SYNCED};
	size_t bytes = lt_record_finish(buf, &spec, 0);

	lt_wire_init(
	    &m.h, LT_OP_S_APPEND, sizeof(m), bytes, name[0] == 0 ? 1 : SAID);
	s->said =
	    lt_batch_add_system(&s->rig.d, &m, buf, -1) == LEAT_OK ? 0 : -1;
}

/* The state is written again in each new segment, else nothing could go. */
static void
begin_again(struct story *s)
{
	uint64_t segment = lt_commitlog_end(s->rig.d.log) / STORY_SEGMENT;

	/* Nothing is logged between a deletion and telling the store. */
	if (segment == s->began || s->gone_state == 1)
		return;
	s->began = segment;
	say(s, 8, "begin", "", 0);
	say(s, 9, "begin", "", 0);
	if (s->gone_state == 2)
		say(s, 8, "topic", "gone", 1);
}

static void
come_back(struct story *s)
{
	rig_topic(&s->rig, GONE_ID, "gone", 3, 6);
	for (size_t i = s->live; i < s->client_count; i++)
		assert_int_equal(lt_session_grant(lt_session_find(&s->rig.d,
						      s->clients[i].c.id),
				     GONE_ID, 1),
		    LEAT_OK);
	s->gone_state = 0;
}

/* 0 there, 1 its deletion is being logged, 2 the store was told, 3 its return
 * is being logged. */
static void
come_and_go(struct story *s)
{
	struct lt_wire_topic m = {.id = GONE_ID, .deleted = 1};

	if (s->rig.d.is_full || s->rig.d.batch.is_appended)
		return;
	snprintf(m.name, sizeof(m.name), "gone");
	if (s->gone_state == 0 && below(s, 40) == 0) {
		say(s, 8, "topic", "gone", 1);
		s->gone_state = 1;
	} else if (s->gone_state == 1 && s->said > 0) {
		assert_int_equal(lt_topicmap_put(&s->rig.d, &m), LEAT_OK);
		s->gone_state = 2;
		s->deletions++;
	} else if (s->gone_state == 1 && s->said < 0) {
		s->gone_state = 0;
	} else if (s->gone_state == 2 && below(s, 20) == 0) {
		say(s, 8, "topic", "gone", 0);
		s->gone_state = 3;
	} else if (s->gone_state == 3 && s->said < 0) {
		s->gone_state = 2;
	} else if (s->gone_state == 3 && s->said > 0) {
		come_back(s);
	}
}

/* --- a turn ----------------------------------------------------------------
 */

static void
publish(struct story *s)
{
	int alone = below(s, 6) == 0;

	if (alone) {
		(void)put(s, &s->clients[s->live], 2400, 1);
		return;
	}
	for (int i = 0; i < STORY_CLIENTS; i++) {
		struct story_client *c = &s->clients[s->live + (size_t)i];
		for (uint64_t n = below(s, 5); n > 0; n--) {
			size_t bytes = 1 + below(s, 900);
			if (below(s, 60) == 0)
				bytes = 20000 + below(s, 20000);
			(void)put(s, c, bytes, 0);
		}
	}
}

static int
work(struct story *s)
{
	struct lt_duty *d = &s->rig.d;
	int status;

	d->now_ms = lt_clock_mono_ms();
	if (!d->batch.is_appended) {
		if (d->dropped != NULL && d->batch.count == 0)
			lt_topicmap_sweep(d);
		(void)lt_batch_sweep(d);
	}
	status = lt_publish_run(d);
	if (status != LEAT_OK)
		return status;
	return lt_upkeep_run(d);
}

int
story_turn(struct story *s)
{
	struct lt_duty *d = &s->rig.d;
	uint64_t min = lt_commitlog_min(d->log);
	uint64_t synced = lt_commitlog_synced(d->log);
	size_t at = when(s);

	s->turns++;
	s->mono_ms += TURN_MS;
	s->wall_ms += TURN_MS;
	if (!d->batch.is_appended && !d->is_full) {
		come_and_go(s);
		begin_again(s);
	}
	publish(s);
	s->status = work(s);
	for (size_t i = s->live; i < s->client_count; i++)
		collect(s, &s->clients[i]);
	listen(s);
	if (lt_commitlog_min(d->log) != min)
		note(&s->mins, &s->min_count, &s->min_capacity, at,
		    lt_commitlog_min(d->log));
	if (lt_commitlog_synced(d->log) != synced)
		note(&s->ends, &s->end_count, &s->end_capacity, when(s),
		    lt_commitlog_synced(d->log));
	return s->status;
}
