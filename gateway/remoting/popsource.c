/* popsource.c - a consumer of libleat for each group, topic and tags. */
#include "config.h"
#include "remoting/popsource.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/relay.h"
#include "leat/status.h"
#include "shm/counter.h"

#define BATCH_BYTES (256u << 10) /* of one pop */
#define LOOK_MS 10000 /* for idle ones */
#define SIBLINGS_MAX 8 /* subscriptions of one group to one topic */
#define RENEW_MIN_MS 100
#define AWAY_MS 3000 /* in which leat-queue is not asked again */

int
lt_popsources_init(
    struct lt_popsources *set, struct leat *leat, size_t max, uint64_t now_ms)
{
	set->leat = leat;
	set->max = max;
	set->looked_ms = now_ms;
	lt_hash_init(&set->by_topic);
	LIST_INIT(&set->all);
	return lt_popouts_create(now_ms, &set->outs);
}

void
lt_popsources_fini(struct lt_popsources *set)
{
	struct lt_popsource *s;

	while ((s = LIST_FIRST(&set->all)) != NULL) {
		LIST_REMOVE(s, link);
		lt_mem_free(s->out_of);
		lt_mem_free(s);
	}
	lt_hash_fini(&set->by_topic);
	lt_popouts_destroy(set->outs);
	set->outs = NULL;
}

/* --- sources ---------------------------------------------------------------
 */

static size_t
make_key(char out[2 * LT_NAME_FIELD], const char *group, const char *topic)
{
	size_t g = strlen(group) + 1, t = strlen(topic) + 1;

	memcpy(out, group, g);
	memcpy(out + g, topic, t);
	return g + t;
}

struct lt_popsource *
lt_popsource_find(
    struct lt_popsources *set, const char *group, const char *topic)
{
	char key[2 * LT_NAME_FIELD];
	size_t n = make_key(key, group, topic);

	return lt_hash_get(&set->by_topic, key, n);
}

static struct lt_popsource *
make(const struct lt_popask *ask)
{
	size_t g = strlen(ask->group) + 1, t = strlen(ask->topic) + 1;
	size_t e = strlen(ask->tags) + 1;
	struct lt_popsource *s = lt_mem_alloc(sizeof *s + g + t + e);

	if (s == NULL)
		return NULL;
	TAILQ_INIT(&s->held);
	s->key_bytes = g + t;
	s->group = s->text;
	s->topic = s->text + g;
	s->tags = s->text + g + t;
	memcpy(s->group, ask->group, g);
	memcpy(s->topic, ask->topic, t);
	memcpy(s->tags, ask->tags, e);
	return s;
}

int
lt_popsources_told(struct lt_popsources *set, int status)
{
	if (status == LEAT_E_TIMEOUT || status == LEAT_E_UNREACHABLE)
		set->away_ms = lt_clock_mono_ms() + AWAY_MS;
	return status;
}

static int
subscribe(struct lt_popsources *set, struct lt_popsource *s, int from_end)
{
	struct leat_subscription sub = {.topic = s->topic,
	    .group = s->group,
	    .tags = s->tags,
	    .queue = -1,
	    .from = from_end ? LEAT_FROM_END : LEAT_FROM_BEGIN,
	    .batch_bytes = BATCH_BYTES};
	int status = lt_popsources_told(
	    set, leat_subscribe(set->leat, &sub, &s->consumer));

	if (status == LEAT_OK)
		lt_relay_ask(s->consumer, 0);
	return status;
}

int
lt_popsource_open(struct lt_popsources *set, const struct lt_popask *ask,
    uint64_t now_ms, struct lt_popsource **out)
{
	struct lt_popsource *first =
	    lt_popsource_find(set, ask->group, ask->topic);
	struct lt_popsource *s;
	size_t siblings = 0;
	int status;

	for (s = first; s != NULL; s = s->next, siblings++)
		if (strcmp(s->tags, ask->tags) == 0)
			break;
	if (s == NULL) {
		if (now_ms < set->away_ms)
			return LEAT_E_BUSY;
		if (set->count >= set->max || siblings >= SIBLINGS_MAX)
			return LEAT_E_LIMIT;
		s = make(ask);
		if (s == NULL)
			return LEAT_E_NOMEM;
		status = subscribe(set, s, ask->from_end);
		s->next = first;
		if (status == LEAT_OK)
			status = lt_hash_put(
			    &set->by_topic, s->text, s->key_bytes, s);
		if (status != LEAT_OK) {
			leat_unsubscribe(s->consumer);
			lt_mem_free(s);
			return status;
		}
		LIST_INSERT_HEAD(&set->all, s, link);
		set->count++;
	}
	s->used_ms = now_ms;
	*out = s;
	return LEAT_OK;
}

static void
unchain(struct lt_popsources *set, struct lt_popsource *s)
{
	struct lt_popsource *p =
	    lt_hash_get(&set->by_topic, s->text, s->key_bytes);

	if (p != s) {
		while (p->next != s)
			p = p->next;
		p->next = s->next;
	} else if (s->next == NULL) {
		lt_hash_del(&set->by_topic, s->text, s->key_bytes);
	} else { /* there is a slot for it: this needs no memory */
		(void)!lt_hash_put(
		    &set->by_topic, s->text, s->key_bytes, s->next);
	}
}

static void
forget(struct lt_popsources *set, struct lt_popout *o)
{
	struct lt_popsource *s = o->source;

	s->out--;
	s->out_of[o->queue]--;
	lt_popouts_remove(set->outs, o);
}

void
lt_popsource_close(struct lt_popsources *set, struct lt_popsource *s)
{
	struct lt_popout *o;
	uint32_t cursor = 0;

	LT_ASSERT(TAILQ_EMPTY(&s->held));
	while (s->out > 0 && (o = lt_popouts_next(set->outs, &cursor)) != NULL)
		if (o->source == s)
			forget(set, o);
	unchain(set, s);
	LIST_REMOVE(s, link);
	set->count--;
	leat_unsubscribe(s->consumer);
	lt_mem_free(s->out_of);
	lt_mem_free(s);
}

/* --- messages --------------------------------------------------------------
 */

/* Room to count what is out of a queue. */
static int
count_queue(struct lt_popsource *s, uint32_t queue)
{
	size_t want = (size_t)queue + 1;
	uint32_t *p;

	if (want <= s->out_of_count)
		return LEAT_OK;
	p = lt_mem_resize(s->out_of, want * sizeof *p);
	if (p == NULL)
		return LEAT_E_NOMEM;
	memset(p + s->out_of_count, 0, (want - s->out_of_count) * sizeof *p);
	s->out_of = p;
	s->out_of_count = want;
	return LEAT_OK;
}

/* The same for all that was taken; without memory nothing was. */
static int
count_queues(struct lt_popsource *s, const struct leat_delivery *d, int n)
{
	for (int i = 0; i < n; i++)
		if (count_queue(s, d[i].queue) != LEAT_OK) {
			(void)!leat_nack(s->consumer, d, (size_t)n);
			return 0;
		}
	return n;
}

static int
take_in_order(struct lt_popsource *s, int32_t queue, struct leat_delivery *out,
    size_t max)
{
	uint32_t queues = lt_relay_queues(s->consumer);
	uint32_t first = queue >= 0 ? (uint32_t)queue : s->turn++ % queues;
	uint32_t last = queue >= 0 ? first : first + queues - 1;
	int n = 0;

	for (uint32_t i = first; n == 0 && i <= last; i++) {
		uint32_t q = i % queues;

		if ((q >= s->out_of_count || s->out_of[q] == 0) &&
		    lt_relay_narrow(s->consumer, (int32_t)q, 1) == LEAT_OK)
			n = leat_poll(s->consumer, out, max, 0);
	}
	return n;
}

int
lt_popsource_take(struct lt_popsource *s, int32_t queue, int is_ordered,
    struct leat_delivery *out, size_t max)
{
	int n;

	if (is_ordered)
		n = take_in_order(s, queue, out, max);
	else if (lt_relay_narrow(s->consumer, queue, 0) != LEAT_OK)
		n = 0;
	else
		n = leat_poll(s->consumer, out, max, 0);
	return n > 0 ? count_queues(s, out, n) : n;
}

/* When it must be looked at next: a third of the lease is over, or its time. */
static void
look_later(struct lt_popsources *set, struct lt_popout *o, uint64_t now_ms)
{
	const struct lt_popsource *s = o->source;
	int64_t third = leat_lease_ms(s->consumer) / 3;
	uint64_t at =
	    now_ms + (uint64_t)(third < RENEW_MIN_MS ? RENEW_MIN_MS : third);

	lt_popouts_look(set->outs, o, at < o->until_ms ? at : o->until_ms);
}

struct lt_popout *
lt_popsource_keep(struct lt_popsources *set, struct lt_popsource *s,
    const struct leat_delivery *d, int64_t pop_ms, uint64_t now_ms,
    int64_t invisible_ms)
{
	struct lt_popout *o =
	    lt_popouts_find(set->outs, s, d->queue, d->queue_offset);

	if (o != NULL) /* its claim had been taken away, unnoticed so far */
		forget(set, o);
	o = lt_popouts_add(set->outs, s, d->queue, d->queue_offset);
	LT_ASSERT(o != NULL);
	s->out++;
	s->out_of[d->queue]++;
	o->handle = d->handle;
	lt_popsource_change(set, o, pop_ms, now_ms, invisible_ms);
	return o;
}

static struct leat_delivery
claim_of(const struct lt_popout *o)
{
	return (struct leat_delivery){
	    .queue = o->queue, .queue_offset = o->offset, .handle = o->handle};
}

void
lt_popsource_return(struct lt_popsources *set, struct lt_popout *o)
{
	struct lt_popsource *s = o->source;
	struct leat_delivery d = claim_of(o);

	(void)!leat_nack(s->consumer, &d, 1);
	forget(set, o);
}

void
lt_popsource_ack(struct lt_popsources *set, struct lt_popout *o)
{
	struct lt_popsource *s = o->source;
	struct leat_delivery d = claim_of(o);

	(void)!leat_ack(s->consumer, &d, 1);
	forget(set, o);
}

void
lt_popsource_change(struct lt_popsources *set, struct lt_popout *o,
    int64_t pop_ms, uint64_t now_ms, int64_t invisible_ms)
{
	o->pop_ms = pop_ms;
	o->until_ms = now_ms + (uint64_t)invisible_ms;
	look_later(set, o, now_ms);
}

struct lt_popout *
lt_popsource_out(struct lt_popsources *set, const char *group,
    const char *topic, uint32_t queue, int64_t offset, int64_t pop_ms)
{
	struct lt_popsource *s = lt_popsource_find(set, group, topic);
	struct lt_popout *o;

	for (; s != NULL; s = s->next) {
		o = lt_popouts_find(set->outs, s, queue, offset);
		if (o != NULL && o->pop_ms == pop_ms)
			return o;
	}
	return NULL;
}

/* --- time ------------------------------------------------------------------
 */

static void
close_idle(struct lt_popsources *set, uint64_t now_ms)
{
	struct lt_popsource *s, *next;

	for (s = LIST_FIRST(&set->all); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		if (s->out > 0 || !TAILQ_EMPTY(&s->held))
			s->used_ms = now_ms;
		else if (now_ms - s->used_ms >= LT_POPSOURCE_IDLE_MS)
			lt_popsource_close(set, s);
	}
}

void
lt_popsources_tick(struct lt_popsources *set, uint64_t now_ms)
{
	struct lt_popsource *s;
	struct leat_delivery d;
	struct lt_popout *o;

	while ((o = lt_popouts_due(set->outs, now_ms)) != NULL) {
		s = o->source;
		d = claim_of(o);
		if (now_ms >= o->until_ms) {
			lt_stat_add(gateway_pop_expired, 1);
			lt_popsource_return(set, o);
		} else if (leat_extend(s->consumer, &d, 1) != LEAT_OK) {
			forget(set, o);
		} else {
			look_later(set, o, now_ms);
		}
	}
	if (now_ms - set->looked_ms < LOOK_MS || now_ms < set->away_ms)
		return;
	set->looked_ms = now_ms;
	close_idle(set, now_ms);
}
