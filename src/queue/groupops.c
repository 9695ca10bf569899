/*
 * groupops.c - requests on groups: list with lag, seek, delete. What they
 * change is durable before it happens; a seek under live members then replaces
 * their table and tells them.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"

#define ENTRIES_PER_REPLY 100

enum step {
	START,
	SYNCED,
	LOGGED
};

struct groups_reply {
	struct lt_wire_groups w;
	struct lt_wire_group_entry entry[ENTRIES_PER_REPLY];
};
_Static_assert(sizeof(struct groups_reply) <= LT_WIRE_MAX, "groups reply");

static void
fill_entry(struct lt_manager *m, struct lt_wire_group_entry *e,
    const struct lt_progress *p)
{
	struct lt_qref *q = lt_ringset_find(m, p->topic, p->queue);

	memset(e, 0, sizeof(*e));
	(void)lt_bytes_field(e->group, sizeof(e->group), p->group->name);
	(void)lt_bytes_field(e->topic, sizeof(e->topic), p->topic_name);
	(void)lt_bytes_field(e->member, sizeof(e->member), p->member);
	e->mode = p->mode;
	e->queue = p->queue;
	e->members = lt_share_members(m, p);
	e->progress = p->offset;
	e->claimed = p->claims == NULL ? 0 : (int64_t)p->claims->claimed;
	e->max_offset = q == NULL ? p->offset : lt_ringset_max(q);
	if (e->max_offset < e->progress)
		e->max_offset = e->progress;
}

static void
send_groups(
    struct lt_job *job, struct groups_reply *r, size_t n, uint64_t cursor)
{
	memset(&r->w, 0, sizeof(r->w));
	r->w.count = (uint32_t)n;
	r->w.cursor = cursor;
	lt_job_reply(job, r, sizeof(r->w), n * sizeof(r->entry[0]), NULL, 0);
}

/* --- list ---------------------------------------------------------------- */

static int
is_listed(struct lt_job *job, const struct lt_progress *p, const char *group)
{
	return p != NULL && !p->deleted && p->offset >= 0 &&
	       (group[0] == 0 || strcmp(p->group->name, group) == 0) &&
	       lt_grants_group(job->m, &job->conn->peer, p->group->name) != 0;
}

/* The page of a list that begins at the request's cursor: slots of entries. */
static size_t
page(struct lt_job *job, size_t *slots, uint64_t *cursor_out)
{
	const struct lt_wire_group *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	size_t n = 0;

	*cursor_out = 0;
	for (uint64_t i = req->cursor; i < m->progress_count; i++) {
		if (!is_listed(job, m->progress[i], req->group))
			continue;
		if (n == ENTRIES_PER_REPLY) {
			*cursor_out = i;
			break;
		}
		slots[n++] = i;
	}
	return n;
}

void
lt_groupops_on_list(struct lt_job *job)
{
	const struct lt_wire_group *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	size_t slots[ENTRIES_PER_REPLY], n;
	struct groups_reply r;
	uint64_t cursor;

	if (!lt_bytes_terminated(req->group, sizeof(req->group))) {
		lt_job_done(job, LEAT_E_NAME);
		return;
	}
	if (req->group[0] != 0 && req->cursor == 0 &&
	    lt_group_find(m, req->group) == NULL) {
		lt_job_done(job, LEAT_E_NOTFOUND);
		return;
	}
	n = page(job, slots, &cursor);
	if (job->step == START && n > 0) {
		job->step = SYNCED;
		for (size_t i = 0; i < n; i++) {
			const struct lt_progress *p = m->progress[slots[i]];

			lt_storelink_sync(
			    m, p->topic, p->queue, p->topic_name, job);
		}
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct lt_progress *p = m->progress[slots[i]];

		if (p->claims != NULL)
			(void)lt_progress_sweep(m, p->claims, 0);
		fill_entry(m, &r.entry[i], p);
	}
	send_groups(job, &r, n, cursor);
}

/* --- seek ---------------------------------------------------------------- */

struct target {
	uint32_t queue;
	char member[LT_MEMBER_FIELD];
	int64_t offset;
};
struct targets {
	uint32_t mode;
	size_t n;
	uint64_t cursor; /* of the next page; 0: none */
	struct target at[ENTRIES_PER_REPLY];
};

/* The group's mode, by its members or by what is remembered of it. */
static uint32_t
group_mode(struct lt_manager *m, const struct lt_group *g)
{
	if (g->members > 0)
		return g->mode;
	for (size_t i = 0; i < m->progress_count; i++)
		if (m->progress[i] != NULL && m->progress[i]->group == g)
			return m->progress[i]->mode;
	return LEAT_CLUSTERING;
}

static void
add_target(struct targets *ts, uint32_t queue, const char *member)
{
	struct target *t = &ts->at[ts->n++];

	t->queue = queue;
	(void)lt_bytes_field(t->member, sizeof(t->member), member);
}

static void
find_targets(struct lt_job *job, const struct lt_group *g,
    const struct lt_topic *t, struct targets *ts)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	uint64_t i;

	memset(ts, 0, sizeof(*ts));
	ts->mode = group_mode(m, g);
	if (ts->mode == LEAT_CLUSTERING) {
		for (i = req->cursor; i < t->read_queues; i++) {
			if (ts->n == ENTRIES_PER_REPLY) {
				ts->cursor = i;
				return;
			}
			add_target(ts, (uint32_t)i, "");
		}
		return;
	}
	for (i = req->cursor; i < m->progress_count; i++) {
		const struct lt_progress *p = m->progress[i];

		if (p == NULL || p->group != g || p->topic != t->id ||
		    p->deleted || p->mode != LEAT_BROADCASTING)
			continue;
		if (ts->n == ENTRIES_PER_REPLY) {
			ts->cursor = i;
			return;
		}
		add_target(ts, p->queue, p->member);
	}
}

static int
check_seek(struct lt_job *job, struct lt_group **g, struct lt_topic **t)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s = lt_job_session(job);
	struct lt_remotes *r;

	if (!lt_bytes_terminated(req->group, sizeof(req->group)) ||
	    !lt_bytes_terminated(req->topic, sizeof(req->topic)))
		return LEAT_E_NAME;
	if (req->from < LEAT_FROM_BEGIN || req->from > LEAT_FROM_TIME ||
	    req->apply > 1)
		return LEAT_E_INVALID;
	*g = lt_group_find(m, req->group);
	*t = lt_topic_find(m, req->topic);
	if (*g == NULL || *t == NULL)
		return LEAT_E_NOTFOUND;
	/* The one who began may have left; it was allowed then. */
	if (job->conn != NULL &&
	    !(lt_grants_group(m, &job->conn->peer, req->group) &
		LT_RIGHT_MANAGE))
		return LEAT_E_DENIED;
	/* Remote members would commit what they had before: who speaks for
	 * them tells them. */
	r = lt_share_find(m, req->group);
	if (req->apply && job->step == START && r != NULL &&
	    (s == NULL || r->session != s->id))
		return LEAT_E_BUSY;
	return LEAT_OK;
}

/* LEAT_OK, or AGAIN: what was read is not to be believed. */
static int
compute_targets(
    struct lt_job *job, const struct lt_topic *t, struct targets *ts)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;

	for (size_t i = 0; i < ts->n; i++) {
		struct lt_qref *q = lt_ringset_get(m, t->id, ts->at[i].queue);
		int64_t max = q == NULL ? 0 : q->synced;
		int64_t min = q == NULL ? 0 : lt_ringset_min(m, q, t);

		ts->at[i].offset = lt_position_of(m, t, ts->at[i].queue,
		    req->from, req->value, min, max, LEAT_FROM_BEGIN);
	}
	return lt_storelink_alive(m) ? LEAT_OK : LEAT_E_AGAIN;
}

static void
log_targets(
    struct lt_job *job, const struct lt_topic *t, const struct targets *ts)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_state_batch *batch = lt_mem_alloc(sizeof(*batch));

	if (batch == NULL)
		lt_manager_fatal("out of memory");
	lt_state_batch_init(batch);
	job->step = LOGGED;
	for (size_t i = 0; i < ts->n; i++) {
		const struct target *at = &ts->at[i];

		lt_group_seeking(job->m,
		    lt_group_progress(
			job->m, req->group, t->id, at->queue, at->member),
		    1);
		if (lt_state_batch_add(batch, req->group, t->name, at->member,
			ts->mode, at->queue, at->offset, 0) == LEAT_OK)
			continue;
		lt_state_batch_job(batch, job);
		i--;
	}
	lt_state_batch_job(batch, job);
	lt_mem_free(batch);
}

static void
apply_targets(
    struct lt_job *job, const struct lt_topic *t, const struct targets *ts)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;

	for (size_t i = 0; i < ts->n; i++) {
		const struct target *at = &ts->at[i];
		struct lt_progress *p = lt_group_progress_get(
		    m, req->group, t->id, at->queue, at->member);

		(void)lt_failpoint(LT_FP_QUEUE_SEEK);
		if (p == NULL)
			continue;
		p->mode = ts->mode;
		lt_group_move(m, p, at->offset);
	}
	lt_log_info("group-moved", "group=%s topic=%s entries=%zu", req->group,
	    t->name, ts->n);
}

/* The log refused: tables stay what they are. */
static void
forget_targets(struct lt_job *job, const struct targets *ts)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_topic *t = lt_topic_find(m, req->topic);

	for (size_t i = 0; t != NULL && i < ts->n; i++)
		lt_group_seeking(m,
		    lt_group_progress(m, req->group, t->id, ts->at[i].queue,
			ts->at[i].member),
		    0);
}

static void
reply_targets(struct lt_job *job, const struct lt_group *g,
    const struct lt_topic *t, const struct targets *ts)
{
	struct lt_manager *m = job->m;
	struct groups_reply r;

	for (size_t i = 0; i < ts->n; i++) {
		struct lt_wire_group_entry *e = &r.entry[i];
		const struct target *at = &ts->at[i];
		struct lt_progress *p =
		    lt_group_progress(m, g->name, t->id, at->queue, at->member);
		struct lt_qref *q = lt_ringset_find(m, t->id, at->queue);

		memset(e, 0, sizeof(*e));
		if (p != NULL)
			fill_entry(m, e, p);
		(void)lt_bytes_field(e->group, sizeof(e->group), g->name);
		(void)lt_bytes_field(e->topic, sizeof(e->topic), t->name);
		e->mode = ts->mode;
		e->queue = at->queue;
		e->progress = at->offset;
		e->max_offset = q == NULL ? at->offset : lt_ringset_max(q);
	}
	send_groups(job, &r, ts->n, ts->cursor);
}

void
lt_groupops_on_seek(struct lt_job *job)
{
	const struct lt_wire_seek *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct targets *ts = job->extra;
	struct lt_group *g = NULL;
	struct lt_topic *t = NULL;
	int status = check_seek(job, &g, &t);

	if (status == LEAT_OK && job->step != START)
		status = job->status;
	if (status == LEAT_OK && ts == NULL) {
		ts = job->extra = lt_mem_alloc(sizeof(*ts));
		if (ts == NULL)
			status = LEAT_E_NOMEM;
	}
	if (status != LEAT_OK) {
		if (job->step == LOGGED && ts != NULL)
			forget_targets(job, ts);
		lt_job_done(job, status);
		return;
	}
	if (job->step == START) {
		if (req->apply && lt_state_lock(job) != LEAT_OK)
			return;
		find_targets(job, g, t, ts);
		job->step = SYNCED;
		for (size_t i = 0; i < ts->n; i++)
			lt_storelink_sync(
			    m, t->id, ts->at[i].queue, t->name, job);
		if (ts->n > 0)
			return;
	}
	if (job->step == SYNCED) {
		if (compute_targets(job, t, ts) != LEAT_OK) {
			lt_job_restart(job);
			return;
		}
		if (req->apply && ts->n > 0) {
			log_targets(job, t, ts);
			return;
		}
	} else
		apply_targets(job, t, ts);
	reply_targets(job, g, t, ts);
}

/* --- delete -------------------------------------------------------------- */

static void
log_deletion(struct lt_job *job, const char *name, const struct lt_group *g)
{
	struct lt_manager *m = job->m;
	struct lt_state_batch *batch = lt_mem_alloc(sizeof(*batch));

	if (batch == NULL)
		lt_manager_fatal("out of memory");
	lt_state_batch_init(batch);
	job->step = LOGGED;
	lt_groupconf_log_unset(job, name);
	for (size_t i = 0; g != NULL && i < m->progress_count; i++) {
		const struct lt_progress *p = m->progress[i];

		if (p == NULL || p->group != g)
			continue;
		if (lt_state_batch_add(batch, g->name, p->topic_name, p->member,
			p->mode, p->queue, p->offset, 1) == LEAT_OK)
			continue;
		lt_state_batch_job(batch, job);
		i--;
	}
	if (batch->entries > 0)
		lt_state_batch_job(batch, job);
	lt_mem_free(batch);
}

static void
drop_group(struct lt_manager *m, struct lt_group *g)
{
	for (size_t i = 0; i < m->progress_count; i++) {
		struct lt_progress *p = m->progress[i];
		size_t left = g->progress;

		if (p == NULL || p->group != g)
			continue;
		if (p->members > 0 || p->in_flight) {
			/* Joined meanwhile, or a record is on its way: the
			 * next flush says what holds. */
			p->deleted = p->members == 0;
			p->dirty = 1;
			m->flush_wanted = 1;
			continue;
		}
		lt_group_progress_free(m, p);
		if (left == 1)
			return; /* that was the last one; g is gone */
	}
}

void
lt_groupops_on_delete(struct lt_job *job)
{
	const struct lt_wire_name *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_group *g;
	int status = LEAT_OK;

	if (!lt_bytes_terminated(req->name, sizeof(req->name))) {
		lt_job_done(job, LEAT_E_NAME);
		return;
	}
	g = lt_group_find(m, req->name);
	if (job->step == LOGGED) {
		status = job->status;
		if (status == LEAT_OK)
			lt_groupconf_unset(m, req->name);
		if (status == LEAT_OK && g != NULL)
			drop_group(m, g);
		lt_job_done(job, status);
		return;
	}
	if (g == NULL && !lt_groupconf_any(m, req->name))
		status = LEAT_E_NOTFOUND;
	else if (!(lt_grants_group(m, &job->conn->peer, req->name) &
		     LT_RIGHT_MANAGE))
		status = LEAT_E_DENIED;
	else if ((g != NULL && g->members > 0) ||
		 lt_share_find(m, req->name) != NULL)
		status = LEAT_E_BUSY;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (lt_state_lock(job) == LEAT_OK)
		log_deletion(job, req->name, g);
}
