/*
 * job.c - requests of clients: a table of what there is, and each one's way
 * from its arrival through any number of waits to its answer (job.h).
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/mem.h"
#include "shm/counter.h"

/* STORE: only while the store is up. FIRST: allowed before HELLO. FINISH: once
 * begun, it is brought to its end even if the client has left. ACT: has a
 * record of the audit topic, whatever became of it. */
enum {
	STORE = 1,
	FIRST = 2,
	FINISH = 4,
	ACT = 8
};

static void on_ping(struct lt_job *job);

static const struct {
	void (*run)(struct lt_job *job);
	unsigned flags;
} requests[] = {
    [LT_OP_HELLO] = {lt_session_on_hello, STORE | FIRST | FINISH},
    [LT_OP_PING] = {on_ping, STORE},
    [LT_OP_BYE] = {lt_session_on_bye, 0},
    [LT_OP_LANE] = {lt_session_on_lane, STORE | FINISH},
    [LT_OP_TOPIC_OPEN] = {lt_topicops_on_open, FINISH},
    [LT_OP_TOPIC_CREATE] = {lt_topicops_on_create, STORE | FINISH | ACT},
    [LT_OP_TOPIC_UPDATE] = {lt_topicops_on_update, STORE | FINISH | ACT},
    [LT_OP_TOPIC_DELETE] = {lt_topicops_on_delete, STORE | FINISH | ACT},
    [LT_OP_TOPIC_LIST] = {lt_topicops_on_list, 0},
    [LT_OP_QUEUE_RANGE] = {lt_fetch_on_range, STORE},
    [LT_OP_SUBSCRIBE] = {lt_subscribe_on_subscribe, STORE},
    [LT_OP_UNSUBSCRIBE] = {lt_subscribe_on_unsubscribe, 0},
    [LT_OP_FETCH] = {lt_fetch_on_fetch, 0},
    [LT_OP_COMMIT] = {lt_subscribe_on_commit, 0},
    [LT_OP_RING_GROW] = {lt_ringset_on_grow, STORE},
    [LT_OP_FOLLOW] = {lt_session_on_follow, STORE},
    [LT_OP_SETTLED] = {lt_session_on_settled, STORE},
    [LT_OP_GROUP_LIST] = {lt_groupops_on_list, STORE},
    [LT_OP_GROUP_SEEK] = {lt_groupops_on_seek, STORE | FINISH | ACT},
    [LT_OP_GROUP_DELETE] = {lt_groupops_on_delete, STORE | FINISH | ACT},
    [LT_OP_GROUP_COMMIT] = {lt_remote_on_commit, STORE},
    [LT_OP_GROUP_PROGRESS] = {lt_remote_on_progress, STORE},
    [LT_OP_GROUP_REMOTES] = {lt_remote_on_remotes, 0},
    [LT_OP_GROUP_LOCALS] = {lt_remote_on_locals, 0},
    [LT_OP_GROUP_SET] = {lt_groupconf_on_set, STORE | FINISH | ACT},
    [LT_OP_GROUP_UNSET] = {lt_groupconf_on_unset, STORE | FINISH | ACT},
    [LT_OP_GROUP_SETTINGS] = {lt_groupconf_on_list, 0},
    [LT_OP_FIND] = {lt_query_on_find, 0},
    [LT_OP_STATUS] = {lt_fetch_on_status, 0},
    [LT_OP_GRANT_ADD] = {lt_grantops_on_change, STORE | FINISH | ACT},
    [LT_OP_GRANT_REMOVE] = {lt_grantops_on_change, STORE | FINISH | ACT},
    [LT_OP_GRANT_LIST] = {lt_grantops_on_list, STORE},
    [LT_OP_GRANT_TEST] = {lt_grantops_on_test, STORE},
    [LT_OP_AUDIT] = {lt_audit_on_audit, 0},
};

int
lt_job_is_allowed(unsigned op, int has_session)
{
	return op < LT_COUNT(requests) && requests[op].run != NULL &&
	       (has_session || (requests[op].flags & FIRST));
}

static void
job_free(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	struct lt_conn *conn = job->conn;

	LT_ASSERT(job->calls == 0);
	if (job->waits != NULL)
		TAILQ_REMOVE(job->waits, job, wait_link);
	if (job->slot != NULL)
		*job->slot = NULL;
	if (conn != NULL) {
		LIST_REMOVE(job, conn_link);
		if (conn->job_count-- == LT_JOBS_MAX)
			lt_port_pause(&conn->port, 0);
	}
	int was_change = m->change == job;
	lt_mem_free(job->extra);
	lt_mem_free(job);
	if (was_change)
		lt_state_unlock(m);
}

struct lt_job *
lt_job_new(struct lt_conn *conn, const struct lt_wire *msg, size_t bytes)
{
	struct lt_job *job = lt_mem_alloc(sizeof(*job) + bytes);

	if (job == NULL)
		return NULL;
	job->m = conn->port.m;
	job->conn = conn;
	job->uid = conn->peer.uid;
	job->pid = conn->peer.pid;
	job->bytes = bytes;
	memcpy(job->request, msg, bytes);
	LIST_INSERT_HEAD(&conn->jobs, job, conn_link);
	if (++conn->job_count == LT_JOBS_MAX)
		lt_port_pause(&conn->port, 1);
	return job;
}

void
lt_job_orphan(struct lt_job *job)
{
	LIST_REMOVE(job, conn_link);
	job->conn = NULL;
	/* A job that waits for an answer ends when that comes. */
	if (job->waits != NULL && job->step == 0)
		job_free(job);
}

void
lt_job_run(struct lt_job *job)
{
	unsigned flags = requests[job->request->op].flags;

	LT_ASSERT(job->waits == NULL && job->calls == 0);
	if (job->conn == NULL && (job->step == 0 || !(flags & FINISH))) {
		job_free(job);
		return;
	}
	if ((flags & STORE) && lt_job_needs_store(job))
		return;
	requests[job->request->op].run(job);
}

void
lt_job_wait(struct lt_job *job, struct lt_job_queue *list)
{
	LT_ASSERT(job->waits == NULL);
	job->waits = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, job, wait_link);
}

void
lt_job_wake(struct lt_job_queue *list)
{
	struct lt_job_queue now;
	struct lt_job *job;

	/* Whoever parks again meanwhile waits for the next time. */
	TAILQ_INIT(&now);
	TAILQ_CONCAT(&now, list, wait_link);
	TAILQ_FOREACH(job, &now, wait_link)
	job->waits = &now;
	while ((job = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, job, wait_link);
		job->waits = NULL;
		lt_job_run(job);
	}
}

int
lt_job_needs_store(struct lt_job *job)
{
	if (job->m->phase == LT_PHASE_UP)
		return 0;
	lt_job_restart(job);
	return 1;
}

void
lt_job_restart(struct lt_job *job)
{
	job->step = 0;
	job->status = LEAT_OK;
	lt_job_wait(job, &job->m->store_waiting);
}

struct lt_session *
lt_job_session(struct lt_job *job)
{
	return job->conn == NULL ? NULL : job->conn->session;
}

void
lt_job_reply(struct lt_job *job, void *reply, size_t struct_bytes,
    size_t tail_bytes, const int *fds, size_t fd_count)
{
	struct lt_conn *conn = job->conn;
	struct lt_wire *h = reply;
	int32_t result = h->status;
	int status;

	lt_audit_answer(
	    job, (requests[job->request->op].flags & ACT) != 0, result);
	if (conn != NULL) {
		lt_wire_reply(
		    h, job->request, struct_bytes, tail_bytes, result);
		status = lt_port_send(&conn->port, reply,
		    struct_bytes + tail_bytes, fds, fd_count);
		job_free(job);
		if (status != LEAT_OK)
			lt_admit_close(conn);
		return;
	}
	job_free(job);
}

void
lt_job_done(struct lt_job *job, int status)
{
	union {
		struct lt_wire h;
#define OP(symbol, code, name, from, to, request, reply) struct reply r##code;
#include "proto/ops.def"
#undef OP
	} u;

	if (status == LEAT_E_DENIED || status == LEAT_E_LIMIT)
		lt_stat_add(queue_refused, 1);
	memset(&u, 0, sizeof(u));
	u.h.status = status;
	lt_job_reply(
	    job, &u, lt_wire_op_row(job->request->op)->reply_bytes, 0, NULL, 0);
}

static void
on_ping(struct lt_job *job)
{
	struct lt_wire_none msg;

	if (job->step++ == 1) {
		lt_job_done(job, job->status);
		return;
	}
	lt_wire_init(&msg.h, LT_OP_S_PING, sizeof(msg), 0, 0);
	lt_storelink_job(job, &msg, sizeof(msg));
}
