/*
 * remote.c - requests of the gateway on behalf of remote members of groups:
 * offsets they commit and ask for, who they are, and who the local ones are.
 * Only for sessions that may relay. What they commit is progress like any
 * other, logged with the next round.
 *
 * An offset may go back: RocketMQ's clients say so when they mean it. But it is
 * ignored while a local member has the queue (share.c): there the table says
 * how far the group is, and an offset of somebody who lost the queue, and may
 * say so late, would repeat or skip what others are doing.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/name.h"
#include "shm/counter.h"

#define REPLY_IDS_BYTES 32768

/* The checks that all of them begin with; *s_out: who asks. */
static int
check(struct lt_job *job, const char *group, struct lt_session **s_out)
{
	*s_out = lt_job_session(job);
	if (*s_out == NULL)
		return LEAT_E_CLOSED;
	if (!lt_grants_may_relay(job->m, &job->conn->peer))
		return LEAT_E_DENIED;
	if (!lt_bytes_terminated(group, LT_NAME_FIELD))
		return LEAT_E_NAME;
	return lt_name_group(group);
}

static int
check_topic(struct lt_manager *m, const char *name, struct lt_topic **out)
{
	if (!lt_bytes_terminated(name, LT_NAME_FIELD))
		return LEAT_E_NAME;
	*out = lt_topic_find(m, name);
	return *out == NULL ? LEAT_E_NOTFOUND : LEAT_OK;
}

/* --- offsets -------------------------------------------------------------- */

/* 1: taken. */
static int
commit_one(struct lt_manager *m, const struct lt_topic *t, const char *group,
    const struct lt_wire_offset *o)
{
	struct lt_progress *p =
	    lt_group_progress(m, group, t->id, o->queue, "");
	struct lt_claims *c = p == NULL ? NULL : p->claims;

	if (o->offset < 0 || o->queue >= t->read_queues)
		return 0;
	if (c != NULL && c->leave_at_ms != 0)
		(void)lt_progress_sweep(m, c, 0);
	if (c != NULL && lt_share_is_local(c))
		return 0;
	if (p == NULL && m->progress_live < LT_REMOTE_PROGRESS_MAX)
		p = lt_group_progress_get(m, group, t->id, o->queue, "");
	if (p == NULL)
		return 0;
	if (c != NULL)
		lt_group_claims_free(m, c, 0);
	p->mode = LEAT_CLUSTERING;
	lt_group_progress_set(m, p, o->offset);
	return 1;
}

void
lt_remote_on_commit(struct lt_job *job)
{
	const struct lt_wire_offsets *req = (const void *)job->request;
	const struct lt_wire_offset *at = (const void *)(req + 1);
	struct lt_manager *m = job->m;
	struct lt_wire_number r;
	struct lt_session *s;
	struct lt_topic *t;
	int status = check(job, req->group, &s);

	if (status == LEAT_OK)
		status = check_topic(m, req->topic, &t);
	if (status == LEAT_OK && req->h.tail_bytes != req->count * sizeof(*at))
		status = LEAT_E_INVALID;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	memset(&r, 0, sizeof(r));
	for (uint32_t i = 0; i < req->count; i++)
		r.number += (unsigned)commit_one(m, t, req->group, &at[i]);
	r.value = req->count - r.number;
	if (r.value > 0)
		lt_stat_add(queue_commits_ignored, r.value);
	lt_job_reply(job, &r, sizeof(r), 0, NULL, 0);
}

void
lt_remote_on_progress(struct lt_job *job)
{
	const struct lt_wire_progress *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_wire_number r;
	struct lt_progress *p = NULL;
	struct lt_session *s;
	struct lt_topic *t;
	int status = check(job, req->group, &s);

	if (status == LEAT_OK)
		status = check_topic(m, req->topic, &t);
	if (status == LEAT_OK)
		p = lt_group_progress(m, req->group, t->id, req->queue, "");
	if (status == LEAT_OK && (p == NULL || p->deleted || p->offset < 0))
		status = LEAT_E_NOTFOUND;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	if (p->claims != NULL)
		(void)lt_progress_sweep(m, p->claims, 0);
	/* A local member has lost the queue and finishes what it had. */
	if (p->claims != NULL && p->claims->claimed > 0 &&
	    lt_clock_mono_ms() < p->claims->leave_at_ms) {
		lt_share_wait(job, p->claims);
		return;
	}
	memset(&r, 0, sizeof(r));
	r.number = (uint64_t)p->offset;
	lt_job_reply(job, &r, sizeof(r), 0, NULL, 0);
}

/* --- members -------------------------------------------------------------- */

/* Count the ids in a tail; LEAT_OK if they are as many as was said. */
static int
check_ids(const struct lt_wire_members *req)
{
	const char *at = (const char *)(req + 1);
	size_t left = req->h.tail_bytes, n;

	for (uint32_t i = 0; i < req->count; i++) {
		n = strnlen(at, left);
		if (n == 0 || n == left)
			return LEAT_E_INVALID;
		at += n + 1;
		left -= n + 1;
	}
	return left == 0 ? LEAT_OK : LEAT_E_INVALID;
}

/* Put a part behind those before it. */
static int
add_part(struct lt_manager *m, const struct lt_session *s,
    const struct lt_wire_members *req)
{
	size_t bytes = req->h.tail_bytes;
	char *text;

	if (req->first == 0) {
		lt_mem_free(m->telling);
		m->telling = NULL;
		m->telling_bytes = m->telling_count = 0;
		m->telling_session = s->id;
	}
	if (m->telling_session != s->id || m->telling_count != req->first)
		return LEAT_E_INVALID; /* begin again */
	if (m->telling_count + req->count > LT_REMOTES_MAX ||
	    m->telling_bytes + bytes > LT_REMOTES_BYTES)
		return LEAT_E_LIMIT;
	if (bytes == 0)
		return LEAT_OK;
	text = lt_mem_resize(m->telling, m->telling_bytes + bytes);
	if (text == NULL)
		return LEAT_E_NOMEM;
	memcpy(text + m->telling_bytes, req + 1, bytes);
	m->telling = text;
	m->telling_bytes += bytes;
	m->telling_count += req->count;
	return LEAT_OK;
}

void
lt_remote_on_remotes(struct lt_job *job)
{
	const struct lt_wire_members *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s;
	int status = check(job, req->group, &s);
	char *text;

	if (status == LEAT_OK)
		status = check_ids(req);
	if (status == LEAT_OK)
		status = add_part(m, s, req);
	if (status == LEAT_OK && !req->more) {
		text = m->telling;
		m->telling = NULL;
		m->telling_session = 0;
		status =
		    lt_share_told(m, s, req->group, text, m->telling_count);
		m->telling_count = m->telling_bytes = 0;
	}
	lt_job_done(job, status);
}

struct ids_reply {
	struct lt_wire_members w;
	char ids[REPLY_IDS_BYTES];
};

void
lt_remote_on_locals(struct lt_job *job)
{
	const struct lt_wire_members *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_local *locals;
	struct lt_session *s;
	struct ids_reply r;
	size_t n, at = 0, i;
	int status = check(job, req->group, &s);

	/* Not all are back: who asks waits for EV_LOCALS. */
	if (status == LEAT_OK && m->share_from_ms != 0)
		status = LEAT_E_AGAIN;
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	memset(&r.w, 0, sizeof(r.w));
	memcpy(r.w.group, req->group, sizeof(r.w.group));
	locals = lt_share_locals(m, req->group, &n);
	for (i = req->first; i < n; i++) {
		size_t bytes = strlen(locals[i].id) + 1;

		if (at + bytes > sizeof(r.ids))
			break;
		memcpy(r.ids + at, locals[i].id, bytes);
		at += bytes;
		r.w.count++;
	}
	r.w.first = req->first;
	r.w.more = i < n;
	lt_mem_free(locals);
	lt_job_reply(job, &r, sizeof(r.w), at, NULL, 0);
}
