/*
 * hello.c - HELLO: a new session, or an old one for who can show its token.
 * The token is a keyed hash of session and user id, so it can be checked after
 * any restart of any process, without a table.
 */
#include "config.h"
#include "queue/queue.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sys.h"
#include "shm/counter.h"

static uint32_t
spin_us(const struct lt_manager *m)
{
	enum {
		SPIN,
		ADAPTIVE
	};

	if (m->options.broker_spin == SPIN)
		return 1000000;
	if (m->options.broker_spin == ADAPTIVE)
		return sysconf(_SC_NPROCESSORS_ONLN) > 2 ? 30 : 0;
	return 0;
}

static void
welcome(struct lt_job *job, struct lt_session *s, int is_new)
{
	struct lt_manager *m = job->m;
	int fds[5] = {
	    s->lane_fd, s->page_fd, m->beacon_fd, s->to_store, s->to_client};
	struct lt_wire_welcome w;

	memset(&w, 0, sizeof(w));
	w.session = s->id;
	lt_session_token(m, s->id, s->peer.uid, w.token);
	w.boot = m->boot;
	w.store_gen = m->store_gen;
	w.lane_bytes = s->lane_bytes;
	w.max_body_bytes = m->options.store_max_body_bytes;
	w.default_level = (uint32_t)m->options.store_level + 1;
	w.spin_us = spin_us(m);
	w.next_seq = is_new ? 1 : s->logged + 1;
	memcpy(w.broker, m->options.broker_name, sizeof(w.broker));
	w.broker[sizeof(w.broker) - 1] = 0;
	/* The client learns of the new page here, not by an event. */
	lt_segment_detach(&s->old_page);
	(void)lt_failpoint(LT_FP_QUEUE_HELLO);
	lt_job_reply(job, &w, sizeof(w), 0, fds, 5);
}

/* This connection is now the session's, whichever was before. */
static void
bind_conn(struct lt_session *s, struct lt_conn *conn)
{
	struct lt_conn *old = s->conn;

	if (old != NULL && old != conn) {
		old->session = NULL;
		s->conn = NULL;
		lt_admit_close(old);
	}
	/* An answer that brought the fetch buffer may be lost with the old one.
	 */
	lt_segment_detach(&s->fetch);
	if (s->fetch_fd >= 0)
		close(s->fetch_fd);
	s->fetch_fd = -1;
	s->conn = conn;
	s->gone_ms = 0;
	conn->session = s;
}

/* The same client, maybe in another process (it kept the token over exec). */
static int
resume(struct lt_job *job, struct lt_session *s)
{
	struct lt_conn *conn = job->conn;

	if (s->state != LT_SESSION_LIVE || !s->attached)
		return LEAT_E_BUSY;
	if (conn->peer.pid != s->peer.pid) {
		int status = lt_session_rewatch(s, conn->pidfd);

		if (status != LEAT_OK)
			return status;
	}
	s->peer = conn->peer;
	lt_session_keep(s);
	bind_conn(s, conn);
	welcome(job, s, 0);
	return LEAT_OK;
}

static int
begin(struct lt_job *job, uint64_t id)
{
	const struct lt_wire_hello *req = (const void *)job->request;
	struct lt_session *s;
	int status;

	status = lt_session_create(
	    job->m, id, job->conn, req->lane_bytes, req->name, &s);
	if (status != LEAT_OK)
		return status;
	job->step = 1;
	job->number = s->id;
	s->hello = job;
	job->slot = &s->hello;
	return LEAT_OK;
}

/* The store answered: tell the client, if it is still there. */
static void
finish(struct lt_job *job)
{
	struct lt_session *s = lt_session_find(job->m, job->number);

	if (job->status != LEAT_OK || s == NULL) {
		lt_job_done(
		    job, job->status != LEAT_OK ? job->status : LEAT_E_CLOSED);
		return;
	}
	if (job->conn == NULL || s->state != LT_SESSION_LIVE) {
		lt_session_end(s, LEAT_E_CLOSED);
		lt_job_done(job, LEAT_E_CLOSED);
		return;
	}
	lt_stat_add(queue_admitted, 1);
	bind_conn(s, job->conn);
	welcome(
	    job, s, ((const struct lt_wire_hello *)job->request)->session == 0);
}

void
lt_session_on_hello(struct lt_job *job)
{
	const struct lt_wire_hello *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	struct lt_session *s;
	uint8_t token[16];
	uint64_t id = req->session;
	int status;

	if (job->step == 1) {
		finish(job);
		return;
	}
	if (job->conn->session != NULL ||
	    !lt_bytes_terminated(req->name, sizeof(req->name))) {
		lt_job_done(job, LEAT_E_INVALID);
		return;
	}
	if (id != 0) {
		lt_session_token(m, id, job->conn->peer.uid, token);
		if (!lt_secret_equal(token, req->token, sizeof(token))) {
			lt_log_warn("bad-token", "pid=%u uid=%u",
			    job->conn->peer.pid, job->conn->peer.uid);
			lt_job_done(job, LEAT_E_DENIED);
			return;
		}
		s = lt_session_find(m, id);
		if (s != NULL) {
			status = resume(job, s);
			if (status != LEAT_OK)
				lt_job_done(job, status);
			return;
		}
	}
	while (id == 0 || (req->session == 0 && lt_session_find(m, id)))
		lt_secret_random(&id, sizeof(id));
	status = begin(job, id);
	if (status != LEAT_OK)
		lt_job_done(job, status);
}
