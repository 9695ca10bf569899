/*
 * subscribe.c - one subscription: a session reads one queue, alone or as a
 * member of a group. Its id carries the serial number of the group's table and
 * the owner number in it, so a client that comes back after this process died
 * (and forgot the subscription) still gets its own claims.
 *
 *   63       40 39         16 15      0
 *   [ counter  ][ table      ][ owner ]
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"
#include "shm/counter.h"

#define COUNTER_MASK 0xffffffu

enum step {
	START,
	SYNCED
};

struct lt_sub *
lt_subscribe_find(struct lt_session *s, uint64_t id)
{
	struct lt_sub *sub = lt_hash_get(&s->m->subs, &id, sizeof(id));

	return sub != NULL && sub->session == s ? sub : NULL;
}

void
lt_subscribe_watch(struct lt_manager *m, const struct lt_sub *sub, int on)
{
	struct lt_wire_watch msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_WATCH, sizeof(msg), 0, 0);
	msg.session = sub->session->id;
	msg.topic = sub->topic;
	msg.queue = sub->queue;
	msg.on = (uint32_t)on;
	lt_storelink_send(m, &msg, sizeof(msg));
}

void
lt_subscribe_moved(struct lt_sub *sub)
{
	struct lt_conn *conn = sub->session->conn;
	struct lt_wire_number ev;

	if (conn == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	lt_wire_init(&ev.h, LT_OP_EV_MOVED, sizeof(ev), 0, 0);
	ev.number = sub->id;
	lt_admit_event(conn, &ev, sizeof(ev), NULL, 0);
}

/* Another subscription of this session on the same queue? */
static int
is_watched(const struct lt_sub *sub)
{
	const struct lt_sub *other;

	LIST_FOREACH(other, &sub->qref->subs, queue_link)
	if (other != sub && other->session == sub->session && !other->is_idle)
		return 1;
	return 0;
}

static void
sub_end(struct lt_manager *m, struct lt_sub *sub, int keep_claims)
{
	struct lt_qref *q = sub->qref;

	lt_group_leave(m, sub, keep_claims);
	if (sub->progress != NULL) {
		LIST_REMOVE(sub, group_link);
		lt_share_touch(m, sub);
		sub->progress->members--;
		sub->progress->group->members--;
	}
	if (!is_watched(sub) && sub->session->state != LT_SESSION_ENDING)
		lt_subscribe_watch(m, sub, 0);
	LIST_REMOVE(sub, queue_link);
	LIST_REMOVE(sub, session_link);
	sub->session->sub_count--;
	if (--q->users == 0) {
		q->idle_since_ms = lt_clock_mono_ms();
		lt_manager_tick(m);
	}
	(void)lt_hash_del(&m->subs, &sub->id, sizeof(sub->id));
	lt_stat_set(queue_members, m->subs.used);
	lt_mem_free(sub);
}

void
lt_subscribe_end(struct lt_manager *m, struct lt_sub *sub)
{
	sub_end(m, sub, 0);
}

/* --- subscribe ----------------------------------------------------------- */

static int
check_group(struct lt_job *job, const struct lt_sub *old)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_group *g;
	uint32_t others;
	int status;

	if (req->group[0] == 0)
		return LEAT_OK;
	status = lt_name_group(req->group);
	if (status != LEAT_OK)
		return status;
	if (req->mode != LEAT_CLUSTERING && req->mode != LEAT_BROADCASTING)
		return LEAT_E_INVALID;
	if (!(lt_grants_group(m, &job->conn->peer, req->group) &
		LT_RIGHT_SUBSCRIBE))
		return LEAT_E_DENIED;
	if (req->mode != LEAT_CLUSTERING && lt_share_find(m, req->group))
		return LEAT_E_BUSY;
	g = lt_group_find(m, req->group);
	if (g == NULL)
		return LEAT_OK;
	others = g->members;
	if (old != NULL && old->progress != NULL && old->progress->group == g)
		others--;
	return others > 0 && g->mode != req->mode ? LEAT_E_BUSY : LEAT_OK;
}

static int
check(struct lt_job *job, struct lt_topic **topic_out)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_session *s = lt_job_session(job);
	struct lt_topic *t;
	int status;

	if (s == NULL)
		return LEAT_E_CLOSED;
	if (!lt_bytes_terminated(req->topic, sizeof(req->topic)) ||
	    !lt_bytes_terminated(req->group, sizeof(req->group)) ||
	    !lt_bytes_terminated(req->member, sizeof(req->member)))
		return LEAT_E_NAME;
	if (req->from > LEAT_FROM_TIME || req->resume > 2)
		return LEAT_E_INVALID;
	t = lt_topic_find(job->m, req->topic);
	if (t == NULL)
		return LEAT_E_NOTFOUND;
	status = lt_grants_read(job->m, &job->conn->peer, t);
	if (status != LEAT_OK)
		return status;
	if (req->queue >= t->read_queues)
		return LEAT_E_QUEUE;
	if (s->sub_count >= LT_SUBS_MAX)
		return LEAT_E_LIMIT;
	*topic_out = t;
	return check_group(job, lt_subscribe_find(s, req->old_id));
}

/* What the request's from-rule names. */
static int64_t
position(struct lt_job *job, const struct lt_topic *t, int64_t min, int64_t max)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;

	return lt_position_of(job->m, t, req->queue, req->from, req->value, min,
	    max, req->group[0] != 0 ? LEAT_FROM_BEGIN : LEAT_FROM_END);
}

/* The owner number that the replaced subscription had in the live table. */
static uint32_t
old_owner(const struct lt_wire_subscribe *req, const struct lt_progress *p)
{
	uint32_t serial = (uint32_t)(req->old_id >> 16) & COUNTER_MASK;

	return req->old_id != 0 && p->claims != NULL &&
		       p->claims->serial == serial
		   ? (uint32_t)req->old_id & 0xffff
		   : 0;
}

/* Attach to the group. *offset_io: what the rule names; then where to begin. */
static int
join(struct lt_job *job, struct lt_sub *sub, struct lt_topic *t,
    struct lt_sub *old, int64_t min, int64_t *offset_io)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	int clustering = req->mode == LEAT_CLUSTERING;
	int goes_on = req->resume && req->from == LEAT_FROM_OFFSET;
	struct lt_progress *p = lt_group_progress_get(
	    m, req->group, t->id, req->queue, clustering ? "" : req->member);
	int64_t asked = *offset_io;
	uint32_t want;
	int status;

	if (p == NULL)
		return LEAT_E_NOMEM;
	if (p->claims != NULL && p->claims->leave_at_ms != 0)
		(void)lt_share_left(m, p->claims, UINT64_MAX);
	/* A remote member may have committed anything. */
	if (p->claims == NULL && p->offset > job->max)
		lt_group_progress_set(m, p, job->max);
	if (p->offset < 0 || p->deleted)
		lt_group_progress_set(m, p, asked);
	/* A table passes over what is gone by itself (progress.c). */
	if (p->offset < min && p->claims == NULL)
		lt_group_progress_set(m, p, min);
	p->mode = req->mode;
	sub->progress = p;
	if (!clustering) {
		*offset_io = goes_on ? asked : p->offset;
		return LEAT_OK;
	}
	*offset_io = p->offset;
	want = goes_on ? old_owner(req, p) : 0;
	if (old != NULL && want != 0 && old->claims == p->claims &&
	    old->owner == want)
		lt_group_leave(m, old, 1);
	status = lt_group_join(m, sub, want);
	/* The same claims: it goes on where it was. */
	if (status == LEAT_OK && want != 0 && sub->owner == want &&
	    asked > p->offset)
		*offset_io = asked;
	return status;
}

static void
reply_subscribed(struct lt_job *job, const struct lt_sub *sub,
    const struct lt_topic *t, int64_t offset, int64_t min, int64_t max)
{
	struct lt_manager *m = job->m;
	struct lt_wire_subscribed r;
	size_t fd_count = 0;
	int fds[2];

	memset(&r, 0, sizeof(r));
	r.id = sub->id;
	r.topic_id = t->id;
	r.queues = t->read_queues;
	r.owner = sub->owner;
	r.offset = offset;
	r.min_offset = min;
	r.max_offset = max;
	if (sub->has_ring) {
		r.has_ring = 1;
		fds[fd_count++] = sub->qref->fd;
	}
	if (sub->claims != NULL && !sub->is_idle) {
		r.has_table = 1;
		r.window = (uint32_t)sub->claims->table.window;
		fds[fd_count++] = sub->claims->fd;
	}
	if (sub->progress != NULL && sub->mode == LEAT_CLUSTERING)
		r.lease_ms = (int64_t)m->options.queue_lease_ms;
	(void)lt_failpoint(LT_FP_QUEUE_SUBSCRIBE);
	lt_job_reply(job, &r, sizeof(r), 0, fds, fd_count);
}

static void
enlist(struct lt_manager *m, struct lt_sub *sub)
{
	struct lt_session *s = sub->session;
	uint32_t serial = sub->claims == NULL ? 0 : sub->claims->serial;

	do
		sub->id = (uint64_t)(++m->next_sub & COUNTER_MASK) << 40 |
			  (uint64_t)serial << 16 | sub->owner;
	while (sub->id == 0 ||
	       lt_hash_get(&m->subs, &sub->id, sizeof(sub->id)) != NULL);
	if (lt_hash_put(&m->subs, &sub->id, sizeof(sub->id), sub) != LEAT_OK)
		lt_manager_fatal("out of memory");
	LIST_INSERT_HEAD(&s->subs, sub, session_link);
	s->sub_count++;
	LIST_INSERT_HEAD(&sub->qref->subs, sub, queue_link);
	sub->qref->users++;
	if (sub->progress != NULL) {
		sub->progress->members++;
		sub->progress->group->members++;
		sub->progress->group->mode = sub->mode;
		LIST_INSERT_HEAD(&sub->progress->group->subs, sub, group_link);
		lt_share_touch(m, sub);
	}
	lt_stat_set(queue_members, m->subs.used);
}

/* The queue is another member's, local or remote. What this one has claimed
 * there it may finish; to be asked again when it is told (share.c). */
static void
stay_idle(struct lt_job *job, struct lt_topic *t, struct lt_qref *q)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s = lt_job_session(job);
	struct lt_sub *old = lt_subscribe_find(s, req->old_id);
	struct lt_progress *p =
	    lt_group_progress_get(m, req->group, t->id, req->queue, "");
	struct lt_sub *sub = p == NULL ? NULL : lt_mem_alloc(sizeof(*sub));
	uint32_t want = p == NULL ? 0 : old_owner(req, p);
	int status = sub == NULL ? LEAT_E_NOMEM : LEAT_OK;

	if (status == LEAT_OK) {
		if (p->deleted) /* not for this one */
			lt_group_progress_set(m, p, -1);
		sub->session = s;
		sub->qref = q;
		sub->topic = t->id;
		sub->queue = req->queue;
		sub->mode = p->mode = req->mode;
		sub->progress = p;
		sub->is_idle = 1;
	}
	if (want != 0) {
		if (old != NULL && old->claims == p->claims)
			lt_group_leave(m, old, 1);
		status = lt_group_join(m, sub, want);
	}
	if (status != LEAT_OK) {
		lt_mem_free(sub);
		lt_job_done(job, status);
		return;
	}
	enlist(m, sub);
	if (old != NULL)
		sub_end(m, old, 0);
	reply_subscribed(job, sub, t, 0, 0, 0);
}

static void
finish(struct lt_job *job, struct lt_topic *t, struct lt_qref *q)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s = lt_job_session(job);
	struct lt_sub *old = lt_subscribe_find(s, req->old_id);
	int64_t min = lt_ringset_min(m, q, t);
	int64_t offset = position(job, t, min, job->max);
	struct lt_sub *sub;
	int status = LEAT_E_NOMEM;

	if (!lt_storelink_alive(m)) { /* it may have read what was no more */
		lt_job_restart(job);
		return;
	}
	sub = lt_mem_alloc(sizeof(*sub));
	if (sub != NULL) {
		sub->session = s;
		sub->qref = q;
		sub->topic = t->id;
		sub->queue = req->queue;
		sub->mode = req->mode;
		sub->has_ring = q->state == LT_RING_READY;
		status = lt_grants_open(s, t->id, 0);
	}
	if (status == LEAT_OK && req->group[0] != 0)
		status = join(job, sub, t, old, min, &offset);
	if (status != LEAT_OK) {
		lt_mem_free(sub);
		lt_job_done(job, status);
		return;
	}
	enlist(m, sub);
	if (old != NULL)
		sub_end(m, old, 0);
	lt_subscribe_watch(m, sub, 1);
	reply_subscribed(
	    job, sub, t, offset < min ? min : offset, min, job->max);
}

void
lt_subscribe_on_subscribe(struct lt_job *job)
{
	const struct lt_wire_subscribe *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_topic *t = NULL;
	struct lt_qref *q;
	int status = check(job, &t);

	if (status == LEAT_OK && job->step == SYNCED)
		status = job->status;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	q = lt_ringset_get(m, t->id, req->queue);
	if (q == NULL) {
		lt_job_done(job, LEAT_E_NOMEM);
		return;
	}
	if (job->step == SYNCED) {
		finish(job, t, q);
		return;
	}
	if (!lt_share_grants(m, lt_job_session(job), req, t,
		lt_subscribe_find(lt_job_session(job), req->old_id))) {
		stay_idle(job, t, q);
		return;
	}
	/* The ring first: whatever it lacks is in the files after the sync. */
	if (lt_ringset_ask(m, q, job) != LEAT_OK)
		return;
	job->step = SYNCED;
	lt_storelink_sync(m, t->id, req->queue, t->name, job);
}

void
lt_subscribe_on_unsubscribe(struct lt_job *job)
{
	const struct lt_wire_number *req = (const void *)job->request;
	struct lt_session *s = lt_job_session(job);
	struct lt_sub *sub =
	    s == NULL ? NULL : lt_subscribe_find(s, req->number);

	if (sub != NULL)
		lt_subscribe_end(job->m, sub);
	lt_job_done(job, sub != NULL ? LEAT_OK : LEAT_E_NOTFOUND);
}

void
lt_subscribe_on_commit(struct lt_job *job)
{
	const struct lt_wire_commit *req = (const void *)job->request;
	struct lt_session *s = lt_job_session(job);
	struct lt_sub *sub = s == NULL ? NULL : lt_subscribe_find(s, req->id);
	int status = LEAT_OK;

	if (sub == NULL)
		status = LEAT_E_NOTFOUND;
	else if (sub->progress == NULL || sub->claims != NULL ||
		 sub->mode != LEAT_BROADCASTING || req->offset < 0 ||
		 req->offset > lt_ringset_max(sub->qref))
		status = LEAT_E_INVALID;
	else
		lt_group_progress_set(job->m, sub->progress, req->offset);
	lt_job_done(job, status);
}
