/*
 * admit.c - clients' connections: who they are by the kernel's word, and
 * whether they may come in. A connection has a bounded number of requests in
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
		if (conn->refusal == LEAT_E_DENIED)
			lt_audit_refused(port->m,
			    &(struct lt_audit){.uid = conn->peer.uid,
				.pid = conn->peer.pid,
				.act = "connect"},
			    "denied");
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
	if (status != LEAT_OK || is_reply ||
	    !lt_job_is_allowed(msg->op, conn->session != NULL)) {
		lt_stat_add(queue_malformed, 1);
		lt_log_warn("malformed-request", "pid=%u uid=%u op=%u",
		    conn->peer.pid, conn->peer.uid,
		    bytes >= sizeof(*msg) ? msg->op : 0u);
		lt_admit_close(conn);
		return;
	}
	job = lt_job_new(conn, msg, bytes);
	if (job == NULL) {
		lt_admit_close(conn);
		return;
	}
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
	while ((job = LIST_FIRST(&conn->jobs)) != NULL)
		lt_job_orphan(job);
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
