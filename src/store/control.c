/*
 * control.c - what the supervisor and the queue manager may ask the store:
 * one handler per row of ops.def, picked by operation. What is not a row is a
 * sibling of another version: fatal. Nothing per message published comes here.
 */
#include "config.h"
#include "store/duty.h"

#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/name.h"
#include "shm/counter.h"

#define PEER_ROUND 256 /* messages, then the lanes have their turn */

struct received {
	alignas(16) uint8_t msg[LT_WIRE_MAX];
	size_t bytes;
	int fds[LT_FDPASS_MAX]; /* -1: taken */
	size_t fd_count;
};
/* One thread; too large for its stack. */
static struct received in;

typedef int (*handler)(struct lt_duty *d, struct received *r);

static void
close_fds(struct received *r)
{
	for (size_t i = 0; i < r->fd_count; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	r->fd_count = 0;
}

static int
take_fd(struct received *r, size_t i)
{
	int fd;

	if (i >= r->fd_count)
		return -1;
	fd = r->fds[i];
	r->fds[i] = -1;
	return fd;
}

static int
receive(int sock, char sender, int flags, struct received *r)
{
	int is_reply, status;

	status = lt_fdpass_recv(sock, r->msg, sizeof(r->msg), &r->bytes, r->fds,
	    &r->fd_count, flags);
	if (status != LEAT_OK)
		return status;
	status = lt_wire_check(r->msg, r->bytes, sender, 'S', &is_reply);
	if (status == LEAT_OK && is_reply)
		status = LEAT_E_DENIED; /* the store asks nothing */
	if (status != LEAT_OK) {
		lt_log_error("message-illegal", "sender=%c op=%u status=%s",
		    sender, ((struct lt_wire *)r->msg)->op,
		    leat_status_name(status));
		close_fds(r);
		return LEAT_E_CORRUPT;
	}
	return LEAT_OK;
}

static int
dispatch(
    struct lt_duty *d, const handler *table, size_t rows, struct received *r)
{
	const struct lt_wire *h = (const struct lt_wire *)r->msg;
	int status = LEAT_E_CORRUPT;

	if (h->op < rows && table[h->op] != NULL)
		status = table[h->op](d, r);
	if (status == LEAT_E_CORRUPT)
		lt_log_error("message-illegal", "op=%u", h->op);
	close_fds(r);
	return status;
}

/* --- the queue manager --- */

/* Get the batch out of the way. Afterwards it is empty, or stalled. */
static int
flush(struct lt_duty *d)
{
	int status = lt_publish_run(d);

	if (status == LEAT_OK && d->batch.count == 0)
		lt_topicmap_sweep(d);
	return status;
}

static int
on_topic(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_topic *m = (const struct lt_wire_topic *)r->msg;
	int status;

	if (lt_wire_field(m->name, sizeof(m->name)) != LEAT_OK)
		return LEAT_E_CORRUPT;
	if (d->dropped != NULL) { /* it may be the same name again */
		status = flush(d);
		if (status != LEAT_OK)
			return status;
	}
	return lt_topicmap_put(d, m);
}

static int
on_attach(struct lt_duty *d, struct received *r)
{
	struct lt_wire_attach *m = (struct lt_wire_attach *)r->msg;
	struct lt_wire_attached a;
	int status;

	if (m->h.tail_bytes != (uint64_t)m->topic_count * sizeof(uint32_t))
		return LEAT_E_CORRUPT;
	memset(&a, 0, sizeof(a));
	status = lt_session_attach(
	    d, m, lt_wire_tail(m, sizeof(*m)), r->fds, r->fd_count, &a.logged);
	r->fd_count = 0;
	if (status != LEAT_OK)
		lt_log_warn("attach-failed", "session=%016llx status=%s",
		    (unsigned long long)m->session, leat_status_name(status));
	a.session = m->session;
	lt_wire_reply(&a.h, &m->h, sizeof(a), 0, status);
	lt_peer_send(d, &a, sizeof(a), -1);
	return LEAT_OK;
}

static int
on_detach(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_number *m = (const struct lt_wire_number *)r->msg;
	struct lt_session *s = lt_session_find(d, m->number);

	if (s == NULL)
		lt_peer_status(d, &m->h, LEAT_E_NOTFOUND);
	else
		lt_session_detach(d, s, &m->h);
	return LEAT_OK;
}

static int
on_grant(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_grant *m = (const struct lt_wire_grant *)r->msg;
	struct lt_session *s = lt_session_find(d, m->session);

	lt_peer_status(d, &m->h,
	    s == NULL ? LEAT_E_NOTFOUND
		      : lt_session_grant(s, m->topic, m->allow != 0));
	return LEAT_OK;
}

static int
on_lane(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_number *m = (const struct lt_wire_number *)r->msg;
	struct lt_session *s = lt_session_find(d, m->number);
	int status;

	if (r->fd_count != 1)
		return LEAT_E_CORRUPT;
	status = flush(d);
	if (status != LEAT_OK)
		return status;
	if (s == NULL)
		status = LEAT_E_NOTFOUND;
	else if (d->batch.count > 0 || s->is_detaching)
		status = LEAT_E_BUSY;
	else
		status = lt_session_lane(d, s, take_fd(r, 0));
	lt_peer_status(d, &m->h, status);
	return LEAT_OK;
}

static int
on_ring(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_queue *m = (const struct lt_wire_queue *)r->msg;
	struct lt_topic *t = lt_topicmap_get(d, m->topic);
	struct lt_wire_range a;
	struct lt_cq *cq = NULL;
	int status = LEAT_OK;

	if (r->fd_count != 1)
		return LEAT_E_CORRUPT;
	memset(&a, 0, sizeof(a));
	if (t == NULL)
		status = LEAT_E_NOTFOUND;
	else if (m->queue >= LT_QUEUES_MAX)
		status = LEAT_E_QUEUE;
	if (status == LEAT_OK)
		status = lt_topicmap_queue(d, t, m->queue, &cq);
	if (status == LEAT_OK)
		status = lt_feed_ring(d, cq, r->fds[0]);
	if (status == LEAT_OK)
		a.max_offset = cq->next;
	lt_wire_reply(&a.h, &m->h, sizeof(a), 0, status);
	lt_peer_send(d, &a, sizeof(a), -1);
	return LEAT_OK;
}

/* The queue if it is there; NULL otherwise. */
static struct lt_cq *
find_queue(const struct lt_duty *d, uint32_t topic, uint32_t queue)
{
	const struct lt_topic *t = lt_topicmap_get(d, topic);

	if (t == NULL || queue >= LT_QUEUES_MAX)
		return NULL;
	if (queue < t->cq_count && t->cq[queue] != NULL)
		return t->cq[queue];
	return lt_cq_find(d->queues, t->name, t->name_bytes, queue);
}

static int
on_unring(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_queue *m = (const struct lt_wire_queue *)r->msg;
	struct lt_cq *cq = find_queue(d, m->topic, m->queue);

	if (cq != NULL)
		lt_feed_unring(d, cq);
	return LEAT_OK;
}

static int
on_watch(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_watch *m = (const struct lt_wire_watch *)r->msg;
	struct lt_session *s = lt_session_find(d, m->session);
	struct lt_topic *t = lt_topicmap_get(d, m->topic);
	struct lt_cq *cq;
	int status;

	if (s != NULL && m->topic == 0)
		return lt_feed_follow(d, s);
	if (s == NULL || t == NULL || m->queue >= LT_QUEUES_MAX)
		return LEAT_OK; /* gone meanwhile */
	if (!m->on) {
		cq = find_queue(d, m->topic, m->queue);
		if (cq != NULL)
			lt_feed_unwatch(d, cq, s);
		return LEAT_OK;
	}
	status = lt_topicmap_queue(d, t, m->queue, &cq);
	if (status == LEAT_OK)
		status = lt_feed_watch(d, cq, s);
	if (status != LEAT_OK) /* it looks by itself, every 100 ms */
		lt_log_warn(
		    "watch-failed", "status=%s", leat_status_name(status));
	return LEAT_OK;
}

static int
on_wake(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_number *m = (const struct lt_wire_number *)r->msg;
	struct lt_session *s = lt_session_find(d, m->number);

	if (s != NULL)
		lt_publish_wake(s);
	return LEAT_OK;
}

static int
on_append(struct lt_duty *d, struct received *r)
{
	struct lt_wire_append *m = (struct lt_wire_append *)r->msg;
	const void *record = lt_wire_tail(m, sizeof(*m));
	int fd = r->fd_count > 0 ? r->fds[0] : -1;
	int status = lt_batch_add_system(d, m, record, fd);

	if (status == LEAT_E_AGAIN) {
		status = flush(d);
		if (status != LEAT_OK)
			return status;
		status = lt_batch_add_system(d, m, record, fd);
	}
	if (status != LEAT_OK)
		lt_peer_status(d, &m->h, status);
	return LEAT_OK;
}

static int
on_queue_sync(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_queue *m = (const struct lt_wire_queue *)r->msg;
	struct lt_cq *cq = find_queue(d, m->topic, m->queue);
	struct lt_wire_range a;
	int status = LEAT_OK;
	int fd = -1;

	memset(&a, 0, sizeof(a));
	if (cq != NULL) {
		status = lt_cq_flush(d->queues, cq);
		a.min_offset = cq->flushed;
		a.max_offset = cq->next;
		/* No room for the entries: they go along. An end before the
		 * one told already would mean that the rest is gone. */
		if (status == LEAT_E_NOSPACE)
			status = lt_cq_lend(cq, &fd) == LEAT_OK ? LEAT_OK
								: LEAT_E_NOMEM;
	} else if (lt_topicmap_get(d, m->topic) == NULL) {
		status = LEAT_E_NOTFOUND;
	}
	lt_wire_reply(&a.h, &m->h, sizeof(a), 0, status);
	lt_peer_send(d, &a, sizeof(a), fd);
	if (fd >= 0)
		lt_sys.close(fd);
	return status == LEAT_E_IO ? LEAT_E_IO : LEAT_OK;
}

static int
on_queue_await(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_await *m = (const struct lt_wire_await *)r->msg;
	struct lt_topic *t = lt_topicmap_get(d, m->topic);
	struct lt_cq *cq;
	int status;

	if (t == NULL || m->queue >= t->write_queues)
		status = LEAT_E_NOTFOUND;
	else
		status = lt_topicmap_queue(d, t, m->queue, &cq);
	if (status == LEAT_OK)
		status = lt_feed_await(d, cq, m);
	if (status != LEAT_OK)
		lt_peer_status(d, &m->h, status);
	return LEAT_OK;
}

static int
on_level(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_number *m = (const struct lt_wire_number *)r->msg;
	struct lt_wire_number a;
	int status;

	if (m->number < 1 || m->number > LT_LEVELS_MAX)
		return LEAT_E_CORRUPT;
	/* A predecessor's records may be in the batch. */
	status = flush(d);
	if (status != LEAT_OK)
		return status;
	memset(&a, 0, sizeof(a));
	a.number = m->number;
	a.value = d->levels[m->number - 1].in_log;
	lt_wire_reply(&a.h, &m->h, sizeof(a), 0,
	    d->batch.count > 0 ? LEAT_E_BUSY : LEAT_OK);
	lt_peer_send(d, &a, sizeof(a), -1);
	return LEAT_OK;
}

static int
on_hold(struct lt_duty *d, struct received *r)
{
	d->hold = ((const struct lt_wire_number *)r->msg)->number;
	return LEAT_OK;
}

static int
on_ping(struct lt_duty *d, struct received *r)
{
	lt_peer_status(d, (const struct lt_wire *)r->msg, LEAT_OK);
	return LEAT_OK;
}

static int
on_open(struct lt_duty *d, struct received *r)
{
	lt_session_detach_stale(d);
	d->is_open = 1;
	d->stale_at_ms = d->now_ms + d->options.queue_ring_idle_ms;
	return LEAT_OK;
}

static const handler peer_table[] = {
    [LT_OP_S_TOPIC] = on_topic,
    [LT_OP_S_ATTACH] = on_attach,
    [LT_OP_S_DETACH] = on_detach,
    [LT_OP_S_GRANT] = on_grant,
    [LT_OP_S_LANE] = on_lane,
    [LT_OP_S_RING] = on_ring,
    [LT_OP_S_UNRING] = on_unring,
    [LT_OP_S_WATCH] = on_watch,
    [LT_OP_S_WAKE] = on_wake,
    [LT_OP_S_APPEND] = on_append,
    [LT_OP_S_QUEUE_SYNC] = on_queue_sync,
    [LT_OP_S_QUEUE_AWAIT] = on_queue_await,
    [LT_OP_S_LEVEL] = on_level,
    [LT_OP_S_HOLD] = on_hold,
    [LT_OP_S_PING] = on_ping,
    [LT_OP_S_OPEN] = on_open,
};

int
lt_control_poll_peer(struct lt_duty *d)
{
	int status;

	for (int i = 0; i < PEER_ROUND && d->peer.fd >= 0 &&
			d->peer.waiting < LT_PEER_WAITING_MAX;
	     i++) {
		status = receive(d->peer.fd, 'Q', MSG_DONTWAIT, &in);
		if (status == LEAT_E_AGAIN)
			return LEAT_OK;
		if (status == LEAT_E_UNREACHABLE) {
			lt_log_warn("queue-manager-gone", "generation=%llu",
			    (unsigned long long)d->peer.gen);
			lt_peer_set(d, -1, d->peer.gen);
			return LEAT_OK;
		}
		if (status == LEAT_OK)
			status =
			    dispatch(d, peer_table, LT_COUNT(peer_table), &in);
		if (status != LEAT_OK)
			return status;
	}
	return LEAT_OK;
}

/* --- what a new queue manager is told --- */

struct seen_topic {
	const char *name;
	uint32_t queues;
};

static int
note_queue(struct lt_cq *cq, void *user)
{
	struct lt_hash *seen = user;
	struct seen_topic *t = lt_hash_get(seen, &cq->topic, sizeof(cq->topic));
	int status;

	if (t == NULL) {
		t = lt_mem_alloc(sizeof(*t));
		if (t == NULL)
			return LEAT_E_NOMEM;
		t->name = lt_cq_topic_name(cq);
		status = lt_hash_put(seen, &cq->topic, sizeof(cq->topic), t);
		if (status != LEAT_OK) {
			lt_mem_free(t);
			return status;
		}
	}
	if (t->queues <= cq->queue)
		t->queues = cq->queue + 1;
	return LEAT_OK;
}

static void
tell_topic(struct lt_duty *d, const struct seen_topic *t)
{
	struct lt_wire_topic m;
	size_t bytes = strlen(t->name);

	memset(&m, 0, sizeof(m));
	if (bytes >= sizeof(m.name))
		return;
	lt_wire_init(&m.h, LT_OP_E_TOPIC, sizeof(m), 0, 0);
	m.read_queues = t->queues;
	m.write_queues = t->queues;
	m.perm = 6;
	m.system = (uint32_t)lt_name_is_system(t->name);
	memcpy(m.name, t->name, bytes);
	lt_peer_send(d, &m, sizeof(m), -1);
}

int
lt_control_greet(struct lt_duty *d)
{
	struct lt_wire_store_ready ready;
	struct lt_wire_none beacon;
	struct seen_topic *t;
	struct lt_hash seen;
	size_t cursor = 0;
	int status;

	lt_hash_init(&seen);
	status = lt_cq_each(d->queues, note_queue, &seen);
	while ((t = lt_hash_next(&seen, &cursor)) != NULL) {
		if (status == LEAT_OK)
			tell_topic(d, t);
		lt_mem_free(t);
	}
	lt_hash_fini(&seen);
	if (status != LEAT_OK)
		return status;
	memset(&beacon, 0, sizeof(beacon));
	lt_wire_init(&beacon.h, LT_OP_E_BEACON, sizeof(beacon), 0, 0);
	lt_peer_send(d, &beacon, sizeof(beacon), d->beacon_fd);
	memset(&ready, 0, sizeof(ready));
	lt_wire_init(&ready.h, LT_OP_E_READY, sizeof(ready), 0, 0);
	ready.store_gen = d->generation;
	ready.log_min = (int64_t)lt_commitlog_min(d->log);
	ready.log_end = (int64_t)lt_commitlog_end(d->log);
	lt_peer_send(d, &ready, sizeof(ready), -1);
	return LEAT_OK;
}

/* --- the supervisor --- */

int
lt_control_send(struct lt_duty *d, const void *msg, size_t bytes, int fd)
{
	struct pollfd p = {.fd = d->control, .events = POLLOUT};
	int status;

	for (;;) {
		status = lt_fdpass_send(
		    d->control, msg, bytes, &fd, fd >= 0 ? 1 : 0);
		if (status != LEAT_E_AGAIN)
			return status;
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return LEAT_E_IO;
	}
}

static int
on_options(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_start *m = (const struct lt_wire_start *)r->msg;
	const char *name = NULL;

	if (m->options.version != LT_OPTIONS_VERSION ||
	    m->options.bytes != sizeof(m->options))
		return LEAT_E_CORRUPT;
	(void)lt_options_reload(&d->options, &m->options, &name);
	lt_log_set_level((enum lt_log_level)d->options.broker_log_level);
	d->retain_at_ms = d->now_ms;
	return LEAT_OK;
}

static int
on_peer(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_number *m = (const struct lt_wire_number *)r->msg;

	if (r->fd_count != 1)
		return LEAT_E_CORRUPT;
	lt_log_info("queue-manager-new", "generation=%llu",
	    (unsigned long long)m->number);
	lt_peer_set(d, take_fd(r, 0), m->number);
	return lt_control_greet(d);
}

static int
on_stop(struct lt_duty *d, struct received *r)
{
	uint32_t flags =
	    atomic_load_explicit(&d->beacon->flags, memory_order_relaxed);

	atomic_store_explicit(&d->beacon->flags, flags | LT_BEACON_STOPPING,
	    memory_order_relaxed);
	d->is_stopping = 1;
	return LEAT_OK;
}

static const handler supervisor_table[] = {
    [LT_OP_SUP_OPTIONS] = on_options,
    [LT_OP_SUP_PEER] = on_peer,
    [LT_OP_SUP_STOP] = on_stop,
};

int
lt_control_poll_supervisor(struct lt_duty *d)
{
	int status;

	for (;;) {
		status = receive(d->control, 'U', MSG_DONTWAIT, &in);
		if (status == LEAT_E_AGAIN)
			return LEAT_OK;
		if (status == LEAT_E_UNREACHABLE)
			return LEAT_E_CLOSED;
		if (status == LEAT_OK)
			status = dispatch(d, supervisor_table,
			    LT_COUNT(supervisor_table), &in);
		if (status != LEAT_OK)
			return status;
	}
}

/* --- start --- */

/* Of what is kept only the state segment is the store's. */
static int
on_kept(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_keep *m = (const struct lt_wire_keep *)r->msg;
	struct lt_segment seg;
	int status;

	if (m->kind != LT_KEEP_STATE)
		return LEAT_OK;
	if (r->fd_count != 1)
		return LEAT_E_CORRUPT;
	status = lt_segment_attach(&seg, r->fds[0], LT_SEGMENT_STATE, 1, 0);
	if (status != LEAT_OK)
		return status;
	if (seg.head.data_bytes < sizeof(struct lt_duty_state)) {
		lt_segment_detach(&seg);
		return LEAT_E_CORRUPT;
	}
	lt_segment_detach(&d->state_seg);
	d->state_seg = seg;
	return LEAT_OK;
}

static int
on_start(struct lt_duty *d, struct received *r)
{
	const struct lt_wire_start *m = (const struct lt_wire_start *)r->msg;
	int status;

	if (r->fd_count != 3 || m->options.version != LT_OPTIONS_VERSION ||
	    m->options.bytes != sizeof(m->options))
		return LEAT_E_CORRUPT;
	d->options = m->options;
	d->generation = m->generation;
	status = lt_segment_attach(
	    &d->counters, r->fds[0], LT_SEGMENT_COUNTER, 1, 0);
	if (status != LEAT_OK)
		return status;
	if (d->counters.head.data_bytes < lt_counter_segment_bytes())
		return LEAT_E_CORRUPT;
	lt_counter_use(&d->counters);
	d->dir = take_fd(r, 1);
	lt_peer_set(d, take_fd(r, 2), 0);
	return LEAT_OK;
}

static const handler start_table[] = {
    [LT_OP_SUP_KEPT] = on_kept,
    [LT_OP_SUP_START] = on_start,
};

int
lt_control_start(struct lt_duty *d, int control)
{
	struct pollfd p = {.fd = control, .events = POLLIN};
	int status = LEAT_OK;

	d->control = control;
	d->dir = -1;
	while (status == LEAT_OK && d->dir < 0) {
		/* The socket does not block: the supervisor may be slower. */
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return LEAT_E_IO;
		status = receive(control, 'U', MSG_DONTWAIT, &in);
		if (status == LEAT_E_AGAIN)
			status = LEAT_OK;
		else if (status == LEAT_OK)
			status = dispatch(
			    d, start_table, LT_COUNT(start_table), &in);
	}
	return status;
}
