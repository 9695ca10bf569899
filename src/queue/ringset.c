/*
 * ringset.c - the queues somebody asked for, and the rings of those with
 * subscribers. A ring is made here, filled by the store alone, and sealed as
 * soon as the store has mapped it. It dies with its store; it grows by
 * replacement; without readers it goes after a while. Where none can be had
 * (too many, no memory) readers fetch instead.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "shm/ring.h"
#include "store/consumequeue.h"

#define RETRY_MS 1000

struct key {
	uint32_t topic;
	uint32_t queue;
};

int
lt_ringset_init(struct lt_manager *m)
{
	lt_hash_init(&m->qrefs);
	m->next_ring = 1;
	return LEAT_OK;
}

/* Forget the ring; the store is told by the caller if it must be. */
static void
release(struct lt_manager *m, struct lt_qref *q)
{
	if (q->state == LT_RING_NONE)
		return;
	q->max = lt_ringset_max(q);
	lt_segment_detach(&q->seg);
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
	q->state = LT_RING_NONE;
	m->ring_count--;
}

void
lt_ringset_fini(struct lt_manager *m)
{
	struct lt_qref *q;
	size_t cursor = 0;

	while ((q = lt_hash_next(&m->qrefs, &cursor)) != NULL) {
		release(m, q);
		lt_mem_free(q);
	}
	lt_hash_fini(&m->qrefs);
}

struct lt_qref *
lt_ringset_find(struct lt_manager *m, uint32_t topic, uint32_t queue)
{
	struct key key = {topic, queue};

	return lt_hash_get(&m->qrefs, &key, sizeof(key));
}

struct lt_qref *
lt_ringset_get(struct lt_manager *m, uint32_t topic, uint32_t queue)
{
	struct key key = {topic, queue};
	struct lt_qref *q = lt_hash_get(&m->qrefs, &key, sizeof(key));

	if (q != NULL)
		return q;
	q = lt_mem_alloc(sizeof(*q));
	if (q == NULL)
		return NULL;
	q->topic = topic;
	q->queue = queue;
	q->fd = -1;
	q->min_at_log = UINT64_MAX;
	q->bytes = m->options.queue_ring_bytes;
	LIST_INIT(&q->subs);
	TAILQ_INIT(&q->waiting);
	if (lt_hash_put(&m->qrefs, &key, sizeof(key), q) != LEAT_OK) {
		lt_mem_free(q);
		return NULL;
	}
	return q;
}

int64_t
lt_ringset_max(const struct lt_qref *q)
{
	int64_t next;

	if (q->state != LT_RING_READY)
		return q->max;
	next = atomic_load_explicit(/* acquire: pairs with the store's */
	    &((const struct lt_ring_shared *)q->seg.base)->next_offset,
	    memory_order_acquire);
	return next > q->max ? next : q->max;
}

int64_t
lt_ringset_min(
    struct lt_manager *m, struct lt_qref *q, const struct lt_topic *topic)
{
	uint64_t log_min = lt_manager_log_min(m);
	int64_t min;

	if (q->min_at_log != log_min && q->synced > 0 &&
	    lt_cq_view_min(m->view, topic->name, q->queue, log_min, q->synced,
		&min) == LEAT_OK &&
	    lt_storelink_alive(m)) {
		q->min = min < q->synced ? min : q->synced;
		if (q->min < q->synced) /* else there may be more behind */
			q->min_at_log = log_min;
	}
	return q->min;
}

/* Readers of the ring before this one go on with the new one. */
static void
tell_replaced(struct lt_qref *q)
{
	struct lt_sub *sub;

	if (!q->replaced)
		return;
	q->replaced = 0;
	LIST_FOREACH(sub, &q->subs, queue_link)
	lt_subscribe_moved(sub);
}

static void
ring_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct lt_qref *q =
	    lt_ringset_find(m, (uint32_t)(number >> 32), (uint32_t)number);

	if (q == NULL || q->state != LT_RING_ASKED ||
	    q->id != (uint64_t)(uintptr_t)user)
		return;
	if (status == LEAT_OK)
		status = lt_segment_seal(q->fd, 1);
	if (status == LEAT_OK)
		status =
		    lt_segment_attach(&q->seg, q->fd, LT_SEGMENT_RING, 0, 1);
	if (status == LEAT_OK) {
		const struct lt_wire_range *r = (const void *)reply;

		q->state = LT_RING_READY;
		if (r->max_offset > q->max)
			q->max = r->max_offset;
		q->idle_since_ms = lt_clock_mono_ms();
		if (q->users == 0)
			lt_manager_tick(m);
	} else {
		release(m, q);
		if (status != LEAT_E_UNREACHABLE) /* else with the next store */
			q->retry_ms = lt_clock_mono_ms() + RETRY_MS;
	}
	if (status != LEAT_E_UNREACHABLE)
		tell_replaced(q);
	lt_job_wake(&q->waiting);
}

static int
ask(struct lt_manager *m, struct lt_qref *q)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_RING,
	    .data_bytes = q->bytes,
	    .id = m->next_ring++,
	    .generation = m->store_gen};
	struct lt_wire_queue msg;
	struct lt_segment seg;
	int status;

	status = lt_segment_create(&seg, "leat-ring", &head, 1, &q->fd);
	if (status != LEAT_OK) {
		q->fd = -1;
		q->retry_ms = lt_clock_mono_ms() + RETRY_MS;
		return status;
	}
	lt_segment_detach(&seg);
	q->id = head.id;
	q->state = LT_RING_ASKED;
	m->ring_count++;
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_RING, sizeof(msg), 0, 0);
	msg.topic = q->topic;
	msg.queue = q->queue;
	lt_storelink_call(m, &msg, sizeof(msg), &q->fd, 1, ring_done,
	    (uint64_t)q->topic << 32 | q->queue, (void *)(uintptr_t)q->id);
	return LEAT_OK;
}

int
lt_ringset_ask(struct lt_manager *m, struct lt_qref *q, struct lt_job *job)
{
	if (q->state == LT_RING_READY)
		return LEAT_OK;
	if (q->state == LT_RING_NONE) {
		if (m->ring_count >= m->options.queue_rings_max ||
		    lt_clock_mono_ms() < q->retry_ms)
			return LEAT_OK;
		if (ask(m, q) != LEAT_OK)
			return LEAT_OK;
	}
	lt_job_wait(job, &q->waiting);
	return LEAT_E_AGAIN;
}

static void
unring(struct lt_manager *m, struct lt_qref *q)
{
	struct lt_wire_queue msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_UNRING, sizeof(msg), 0, 0);
	msg.topic = q->topic;
	msg.queue = q->queue;
	lt_storelink_send(m, &msg, sizeof(msg));
	release(m, q);
}

/* Who had the one before reads nothing new in it. */
void
lt_ringset_renew(struct lt_manager *m, struct lt_qref *q)
{
	if (q->state != LT_RING_READY)
		return;
	unring(m, q);
	if (q->users == 0)
		return;
	q->replaced = 1;
	if (m->ring_count >= m->options.queue_rings_max || ask(m, q) != LEAT_OK)
		tell_replaced(q);
}

void
lt_ringset_store_gone(struct lt_manager *m)
{
	struct lt_qref *q;
	size_t cursor = 0;

	while ((q = lt_hash_next(&m->qrefs, &cursor)) != NULL) {
		if (q->state == LT_RING_READY)
			release(m, q);
		q->synced = 0;
		q->replaced = 0; /* everybody will be told */
	}
}

void
lt_ringset_drop_topic(struct lt_manager *m, uint32_t topic)
{
	struct lt_qref *q;
	size_t cursor = 0;

	while ((q = lt_hash_next(&m->qrefs, &cursor)) != NULL) {
		struct key key = {q->topic, q->queue};

		if (q->topic != topic)
			continue;
		LT_ASSERT(LIST_EMPTY(&q->subs));
		if (q->state != LT_RING_NONE)
			unring(m, q);
		(void)lt_hash_del(&m->qrefs, &key, sizeof(key));
		/* Who waits for it finds that the topic has gone. */
		lt_job_wake(&q->waiting);
		lt_loop_free_later(m, q);
	}
}

int
lt_ringset_housekeep(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_qref *q;
	size_t cursor = 0;
	int more = 0;

	if (m->ring_count == 0 || m->phase != LT_PHASE_UP)
		return 0;
	while ((q = lt_hash_next(&m->qrefs, &cursor)) != NULL) {
		if (q->state != LT_RING_READY || q->users > 0)
			continue;
		if (now_ms - q->idle_since_ms < m->options.queue_ring_idle_ms)
			more = 1;
		else
			unring(m, q);
	}
	return more;
}

void
lt_ringset_on_grow(struct lt_job *job)
{
	const struct lt_wire_number *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s = lt_job_session(job);
	struct lt_sub *sub =
	    s == NULL ? NULL : lt_subscribe_find(s, req->number);
	struct lt_qref *q;

	if (sub == NULL) {
		lt_job_done(job, LEAT_E_NOTFOUND);
		return;
	}
	q = sub->qref;
	if (job->number == 1) { /* it was replaced, or could not be */
		lt_job_done(
		    job, q->state == LT_RING_READY ? LEAT_OK : LEAT_E_NOSPACE);
		return;
	}
	if (q->state != LT_RING_READY || !sub->has_ring) {
		lt_job_done(job, LEAT_E_AGAIN);
		return;
	}
	if (q->bytes * 2 > m->options.queue_ring_max_bytes) {
		lt_job_done(job, LEAT_E_LIMIT);
		return;
	}
	unring(m, q);
	q->bytes *= 2;
	q->replaced = 1;
	job->number = 1;
	if (lt_ringset_ask(m, q, job) == LEAT_OK) {
		q->bytes /= 2;
		tell_replaced(q);
		lt_job_done(job, LEAT_E_NOSPACE);
	}
}
