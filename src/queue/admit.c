/*
 * admit.c - clients' connections: who they are, what they may ask (a table),
 * and their requests as jobs. A connection has a bounded number of requests in
 * progress; beyond it nothing more is read from it, so the rest waits in its
 * own socket. A malformed message costs the sender its connection.
 */
#include "config.h"
#include "queue/queue.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "shm/counter.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define ACCEPTS_PER_ROUND 16

/* STORE: only while the store is up. FIRST: allowed before HELLO. FINISH: once
 * begun, it is brought to its end even if the client has left. */
enum {
	STORE = 1,
	FIRST = 2,
	FINISH = 4
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
    [LT_OP_TOPIC_OPEN] = {lt_topic_on_open, FINISH},
    [LT_OP_TOPIC_CREATE] = {lt_topic_on_create, STORE | FINISH},
    [LT_OP_TOPIC_UPDATE] = {lt_topic_on_update, STORE | FINISH},
    [LT_OP_TOPIC_DELETE] = {lt_topic_on_delete, STORE | FINISH},
    [LT_OP_TOPIC_LIST] = {lt_topic_on_list, 0},
    [LT_OP_QUEUE_RANGE] = {lt_fetch_on_range, STORE},
    [LT_OP_SUBSCRIBE] = {lt_subscribe_on_subscribe, STORE},
    [LT_OP_UNSUBSCRIBE] = {lt_subscribe_on_unsubscribe, 0},
    [LT_OP_FETCH] = {lt_fetch_on_fetch, 0},
    [LT_OP_COMMIT] = {lt_subscribe_on_commit, 0},
    [LT_OP_RING_GROW] = {lt_ringset_on_grow, STORE},
    [LT_OP_GROUP_LIST] = {lt_groupops_on_list, STORE},
    [LT_OP_GROUP_SEEK] = {lt_groupops_on_seek, STORE | FINISH},
    [LT_OP_GROUP_DELETE] = {lt_groupops_on_delete, STORE | FINISH},
    [LT_OP_FIND] = {lt_query_on_find, 0},
    [LT_OP_STATUS] = {lt_fetch_on_status, 0},
};

/* --- jobs ------------------------------------------------------------------
 */

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
	job->step = 0;
	lt_job_wait(job, &job->m->store_waiting);
	return 1;
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

/* --- connections -----------------------------------------------------------
 */

static void
conn_message(struct lt_port *port, struct lt_wire *msg, size_t bytes, int *fds,
    size_t fd_count)
{
	struct lt_conn *conn = (struct lt_conn *)port;
	struct lt_wire_none refuse;
	struct lt_job *job;
	int is_reply;
	int status = lt_wire_check(msg, bytes, 'C', 'Q', &is_reply);

	if (status == LEAT_OK && !is_reply && conn->refusal != LEAT_OK) {
		lt_wire_reply(&refuse.h, msg, sizeof(refuse), 0, conn->refusal);
		(void)!lt_port_send(port, &refuse, sizeof(refuse), NULL, 0);
		lt_admit_close(conn);
		return;
	}
	if (status == LEAT_E_VERSION) { /* one answer it can understand */
		msg->bytes = (uint32_t)bytes;
		lt_wire_reply(&refuse.h, msg, sizeof(refuse), 0, status);
		(void)!lt_port_send(port, &refuse, sizeof(refuse), NULL, 0);
	}
	if (status != LEAT_OK || is_reply || msg->op >= LT_COUNT(requests) ||
	    requests[msg->op].run == NULL ||
	    (conn->session == NULL && !(requests[msg->op].flags & FIRST))) {
		lt_stat_add(queue_malformed, 1);
		lt_log_warn("malformed-request", "pid=%u uid=%u op=%u",
		    conn->peer.pid, conn->peer.uid,
		    bytes >= sizeof(*msg) ? msg->op : 0u);
		lt_admit_close(conn);
		return;
	}
	job = lt_mem_alloc(sizeof(*job) + bytes);
	if (job == NULL) {
		lt_admit_close(conn);
		return;
	}
	job->m = conn->port.m;
	job->conn = conn;
	job->bytes = bytes;
	memcpy(job->request, msg, bytes);
	LIST_INSERT_HEAD(&conn->jobs, job, conn_link);
	if (++conn->job_count == LT_JOBS_MAX)
		lt_port_pause(port, 1);
	lt_job_run(job);
}

void
lt_admit_close(struct lt_conn *conn)
{
	struct lt_manager *m = conn->port.m;
	struct lt_job *job;

	if (conn->port.source.fd < 0)
		return;
	lt_port_close(&conn->port);
	LIST_REMOVE(conn, link);
	m->conn_count--;
	while ((job = LIST_FIRST(&conn->jobs)) != NULL) {
		LIST_REMOVE(job, conn_link);
		job->conn = NULL;
		/* A job that waits for an answer ends when that comes. */
		if (job->waits != NULL && job->step == 0)
			job_free(job);
	}
	if (conn->session != NULL)
		lt_session_hangup(conn->session);
	if (conn->pidfd >= 0)
		close(conn->pidfd);
	lt_loop_free_later(m, conn);
}

static void
conn_hangup(struct lt_port *port)
{
	lt_admit_close((struct lt_conn *)port);
}

void
lt_admit_event(struct lt_conn *conn, void *msg, size_t bytes, const int *fds,
    size_t fd_count)
{
	if (lt_port_send(&conn->port, msg, bytes, fds, fd_count) != LEAT_OK)
		lt_admit_close(conn);
}

/* Who is at the other end, by the kernel's word. */
static int
identify(int fd, struct lt_peer *peer, int *pidfd_out)
{
	struct ucred cred;
	uint32_t gids[1024];
	socklen_t bytes = sizeof(cred);

	memset(peer, 0, sizeof(*peer));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
		return LEAT_E_DENIED;
	peer->uid = cred.uid;
	peer->pid = (uint32_t)cred.pid;
	peer->gids[peer->gid_count++] = cred.gid;
	bytes = sizeof(gids);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &bytes) == 0)
		for (size_t i = 0; i < bytes / sizeof(gids[0]) &&
				   peer->gid_count < LT_GIDS_MAX;
		     i++)
			peer->gids[peer->gid_count++] = gids[i];
	bytes = sizeof(*pidfd_out);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, pidfd_out, &bytes) == 0)
		return LEAT_OK;
	*pidfd_out = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	return *pidfd_out < 0 ? LEAT_E_DENIED : LEAT_OK;
}

static int
admit_one(struct lt_manager *m, int fd)
{
	struct lt_conn *conn = lt_mem_alloc(sizeof(*conn));
	int status;

	if (conn == NULL)
		return LEAT_E_NOMEM;
	conn->pidfd = -1;
	status = identify(fd, &conn->peer, &conn->pidfd);
	if (status != LEAT_OK)
		goto fail;
	if (!lt_grants_may_connect(m, &conn->peer))
		conn->refusal = LEAT_E_DENIED;
	else if (m->conn_count >=
		 m->options.queue_sessions_max + LT_CONNS_SPARE)
		conn->refusal = LEAT_E_LIMIT;
	conn->since_ms = lt_clock_mono_ms();
	conn->port.limit_bytes = LT_CLIENT_OUT;
	conn->port.message = conn_message;
	conn->port.hangup = conn_hangup;
	LIST_INIT(&conn->jobs);
	status = lt_port_open(m, &conn->port, fd);
	if (status != LEAT_OK)
		goto fail;
	if (conn->refusal != LEAT_OK) {
		lt_stat_add(queue_refused, 1);
		lt_log_warn("connection-refused", "pid=%u uid=%u reason=\"%s\"",
		    conn->peer.pid, conn->peer.uid,
		    leat_status_text(conn->refusal));
	}
	LIST_INSERT_HEAD(&m->conns, conn, link);
	m->conn_count++;
	lt_manager_tick(m);
	return LEAT_OK;
fail:
	if (conn->pidfd >= 0)
		close(conn->pidfd);
	lt_mem_free(conn);
	return status;
}

static void
listener_ready(struct lt_source *source, uint32_t events)
{
	struct lt_manager *m =
	    (struct lt_manager *)((char *)source -
				  offsetof(struct lt_manager, listener));

	for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
		int fd = accept4(
		    source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOMEM || errno == ENOBUFS) {
				/* Wait a tick instead of spinning. */
				lt_log_warn("accept-failed", "error=\"%s\"",
				    strerror(errno));
				lt_loop_remove(m, source);
				m->accepting = 0;
				lt_manager_tick(m);
			}
			return;
		}
		if (m->conn_count >=
			m->options.queue_sessions_max + 2 * LT_CONNS_SPARE ||
		    admit_one(m, fd) != LEAT_OK) {
			lt_stat_add(queue_refused, 1);
			close(fd);
		}
	}
}

int
lt_admit_start(struct lt_manager *m, int listener)
{
	int status;

	m->listener.fd = listener;
	m->listener.ready = listener_ready;
	status = lt_loop_add(m, &m->listener, EPOLLIN);
	m->accepting = status == LEAT_OK;
	return status;
}

void
lt_admit_stop(struct lt_manager *m)
{
	if (m->accepting)
		lt_loop_remove(m, &m->listener);
	m->accepting = 0;
}

int
lt_admit_housekeep(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_conn *conn, *next;
	int more = 0;

	if (m->ready && !m->accepting && !m->stopping)
		more = lt_admit_start(m, m->listener.fd) != LEAT_OK;
	for (conn = LIST_FIRST(&m->conns); conn != NULL; conn = next) {
		next = LIST_NEXT(conn, link);
		if (conn->session != NULL || !LIST_EMPTY(&conn->jobs))
			continue;
		if (now_ms - conn->since_ms >= LT_HELLO_MS)
			lt_admit_close(conn);
		else
			more = 1;
	}
	return more;
}
