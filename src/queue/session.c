/*
 * session.c - sessions: a client's lane and doorbells, from HELLO to the moment
 * the store has drained the lane of a client that is gone.
 *
 *   NEW -- S_ATTACH answered --> LIVE -- BYE, death, grace over --> ENDING
 *                                                S_DETACH answered --> freed
 *
 * Order matters for whoever dies in between: a lane is kept by the supervisor
 * before the store hears of it, and dropped only after it is drained. Pages
 * and the talk with the store are in attach.c, HELLO is in hello.c.
 */
#include "config.h"
#include "queue/queue.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/sys.h"
#include "shm/counter.h"

/* What the supervisor keeps beside the descriptors. */
struct session_blob {
	uint64_t session;
	uint64_t lane_bytes;
	uint32_t uid;
	uint32_t pid;
	uint32_t gid_count;
	uint32_t all_opens; /* more than fit were open */
	uint32_t open_count;
	uint32_t reserved;
	char name[LT_MEMBER_FIELD];
	uint32_t gids[LT_GIDS_KEPT];
	struct lt_open opens[LT_OPENS_KEPT];
};
_Static_assert(sizeof(struct session_blob) <= 1024, "blob");

int
lt_session_init(struct lt_manager *m)
{
	lt_hash_init(&m->sessions);
	return LEAT_OK;
}

struct lt_session *
lt_session_find(struct lt_manager *m, uint64_t id)
{
	return lt_hash_get(&m->sessions, &id, sizeof(id));
}

void
lt_session_token(
    struct lt_manager *m, uint64_t session, uint32_t uid, uint8_t token[16])
{
	uint8_t data[12];

	memcpy(data, &session, 8);
	memcpy(data + 8, &uid, 4);
	lt_secret_mac(token, m->secret, sizeof(m->secret), data, sizeof(data));
}

/* --- making and dropping ------------------------------------------------- */

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
count_sessions(struct lt_manager *m)
{
	lt_stat_set(queue_sessions, m->sessions.used);
}

/* Everything but the supervisor's copy. */
static void
session_release(struct lt_session *s)
{
	struct lt_manager *m = s->m;

	(void)lt_hash_del(&m->sessions, &s->id, sizeof(s->id));
	if (s->hello != NULL)
		s->hello->slot = NULL;
	if (s->death.fd >= 0)
		lt_loop_remove(m, &s->death);
	close_fd(&s->pidfd);
	close_fd(&s->lane_fd);
	close_fd(&s->next_lane_fd);
	close_fd(&s->page_fd);
	close_fd(&s->next_page_fd);
	close_fd(&s->to_store);
	close_fd(&s->to_client);
	close_fd(&s->fetch_fd);
	lt_segment_detach(&s->page);
	lt_segment_detach(&s->old_page);
	lt_segment_detach(&s->fetch);
	lt_mem_free(s->opens);
	lt_loop_free_later(m, s);
	count_sessions(m);
}

void
lt_session_drop(struct lt_session *s)
{
	struct lt_manager *m = s->m;

	lt_keep_drop(m, LT_KEEP_SESSION, s->id);
	lt_keep_drop(s->m, LT_KEEP_PAGE, s->id);
	session_release(s);
	lt_job_wake(&m->settle_waiting);
}

void
lt_session_fini(struct lt_manager *m)
{
	struct lt_session *s;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL)
		session_release(s);
	lt_hash_fini(&m->sessions);
}

static void
death_ready(struct lt_source *source, uint32_t events)
{
	struct lt_session *s = (struct lt_session *)source;

	lt_stat_add(queue_reaped, 1);
	lt_log_info("client-died", "session=%016llx pid=%u",
	    (unsigned long long)s->id, s->peer.pid);
	lt_session_end(s, LEAT_E_CLOSED);
}

static struct lt_session *
session_new(struct lt_manager *m, uint64_t id)
{
	struct lt_session *s = lt_mem_alloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	s->m = m;
	s->id = id;
	s->death.fd = -1;
	s->death.ready = death_ready;
	s->pidfd = s->lane_fd = s->next_lane_fd = s->page_fd = -1;
	s->next_page_fd = s->to_store = s->to_client = s->fetch_fd = -1;
	LIST_INIT(&s->subs);
	if (lt_hash_put(&m->sessions, &s->id, sizeof(s->id), s) != LEAT_OK) {
		lt_mem_free(s);
		return NULL;
	}
	count_sessions(m);
	return s;
}

static int
watch_death(struct lt_session *s)
{
	s->death.fd = s->pidfd;
	int status = lt_loop_add(s->m, &s->death, EPOLLIN);
	if (status != LEAT_OK)
		s->death.fd = -1;
	return status;
}

static int
make_lane(struct lt_manager *m, uint64_t session, uint64_t bytes, int *fd_out)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_LANE,
	    .data_bytes = bytes,
	    .id = session,
	    .generation = m->boot};
	struct lt_segment seg;
	int status;

	status = lt_segment_create(&seg, "leat-lane", &head, 1, fd_out);
	if (status != LEAT_OK)
		return status;
	lt_segment_detach(&seg);
	status = lt_segment_seal(*fd_out, 0);
	if (status != LEAT_OK)
		close_fd(fd_out);
	return status;
}

static uint64_t
lane_size(const struct lt_manager *m, uint64_t wish)
{
	if (wish == 0)
		wish = m->options.queue_lane_bytes;
	if (wish < LT_LANE_MIN)
		wish = LT_LANE_MIN;
	return wish > LT_LANE_MAX ? 0 : lt_bytes_pow2(wish);
}

void
lt_session_keep(struct lt_session *s)
{
	int fds[4] = {s->lane_fd, s->pidfd, s->to_store, s->to_client};
	struct session_blob blob;

	memset(&blob, 0, sizeof(blob));
	blob.session = s->id;
	blob.lane_bytes = s->lane_bytes;
	blob.uid = s->peer.uid;
	blob.pid = s->peer.pid;
	memcpy(blob.name, s->name, sizeof(blob.name));
	blob.gid_count =
	    s->peer.gid_count < LT_GIDS_KEPT ? s->peer.gid_count : LT_GIDS_KEPT;
	memcpy(blob.gids, s->peer.gids, blob.gid_count * sizeof(uint32_t));
	blob.all_opens = s->open_count > LT_OPENS_KEPT;
	blob.open_count = blob.all_opens ? 0 : (uint32_t)s->open_count;
	if (blob.open_count > 0)
		memcpy(blob.opens, s->opens,
		    blob.open_count * sizeof(struct lt_open));
	lt_keep_put(s->m, LT_KEEP_SESSION, s->id, &blob, sizeof(blob), fds, 4);
}

int
lt_session_rewatch(struct lt_session *s, int pidfd)
{
	int copy = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return LEAT_E_LIMIT;
	if (s->death.fd >= 0)
		lt_loop_remove(s->m, &s->death);
	s->death.fd = -1;
	close_fd(&s->pidfd);
	s->pidfd = copy;
	return watch_death(s);
}

int
lt_session_create(struct lt_manager *m, uint64_t id, struct lt_conn *conn,
    uint64_t lane_bytes, const char *name, struct lt_session **out)
{
	struct lt_session *s;
	int status = LEAT_E_NOMEM;

	lane_bytes = lane_size(m, lane_bytes);
	if (lane_bytes == 0)
		return LEAT_E_TOOBIG;
	if (m->sessions.used >= m->options.queue_sessions_max)
		return LEAT_E_LIMIT;
	s = session_new(m, id);
	if (s == NULL)
		return LEAT_E_NOMEM;
	s->state = LT_SESSION_NEW;
	s->lane_bytes = lane_bytes;
	s->peer = conn->peer;
	memcpy(s->name, name, sizeof(s->name));
	s->to_store = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->to_client = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->pidfd = fcntl(conn->pidfd, F_DUPFD_CLOEXEC, 0);
	if (s->to_store < 0 || s->to_client < 0 || s->pidfd < 0)
		goto fail;
	status = make_lane(m, id, lane_bytes, &s->lane_fd);
	if (status == LEAT_OK)
		status = lt_attach_page(s);
	if (status == LEAT_OK)
		status = watch_death(s);
	if (status != LEAT_OK)
		goto fail;
	lt_session_keep(s);
	lt_attach_send(s, 0);
	*out = s;
	return LEAT_OK;
fail:
	session_release(s);
	return status;
}

/* --- ending -------------------------------------------------------------- */

void
lt_session_end(struct lt_session *s, int why)
{
	struct lt_manager *m = s->m;
	struct lt_conn *conn = s->conn;
	struct lt_wire_none ev;
	struct lt_sub *sub;

	if (s->state == LT_SESSION_ENDING)
		return;
	s->state = LT_SESSION_ENDING;
	s->conn = NULL;
	lt_share_session_end(m, s, why);
	if (s->death.fd >= 0)
		lt_loop_remove(m, &s->death);
	s->death.fd = -1;
	if (conn != NULL) {
		conn->session = NULL;
		conn->since_ms = lt_clock_mono_ms();
		if (why != LEAT_OK) {
			lt_wire_init(&ev.h, LT_OP_EV_CLOSED, sizeof(ev), 0, 0);
			ev.h.status = why;
			(void)!lt_port_send(
			    &conn->port, &ev, sizeof(ev), NULL, 0);
			lt_admit_close(conn);
		}
	}
	while ((sub = LIST_FIRST(&s->subs)) != NULL) {
		lt_subscribe_end(m, sub);
		(void)lt_failpoint(LT_FP_QUEUE_REAP);
	}
	lt_segment_detach(&s->fetch);
	close_fd(&s->fetch_fd);
	if (s->attached)
		lt_attach_detach(s);
}

void
lt_session_hangup(struct lt_session *s)
{
	s->conn = NULL;
	s->gone_ms = lt_clock_mono_ms();
	lt_manager_tick(s->m);
}

int
lt_session_housekeep(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_session *s;
	size_t cursor = 0;
	int more = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		if (s->state != LT_SESSION_LIVE || s->conn != NULL)
			continue;
		if (now_ms - s->gone_ms < m->options.queue_session_grace_ms) {
			more = 1;
			continue;
		}
		lt_log_info("session-expired", "session=%016llx pid=%u",
		    (unsigned long long)s->id, s->peer.pid);
		lt_session_end(s, LEAT_E_CLOSED);
	}
	return more;
}

void
lt_session_on_bye(struct lt_job *job)
{
	struct lt_session *s = lt_job_session(job);

	if (s != NULL)
		lt_session_end(s, LEAT_OK);
	lt_job_done(job, LEAT_OK);
}

/* --- a larger lane ------------------------------------------------------- */

static void
lane_ask(struct lt_job *job, struct lt_session *s)
{
	const struct lt_wire_number *req = (const void *)job->request;
	uint64_t bytes = lane_size(job->m, req->number);
	struct lt_wire_number msg;
	int old = s->lane_fd;
	uint64_t old_bytes = s->lane_bytes;
	int status;

	if (bytes == 0 || bytes <= s->lane_bytes) {
		lt_job_done(job, bytes == 0 ? LEAT_E_TOOBIG : LEAT_E_INVALID);
		return;
	}
	if (s->next_lane_fd >= 0) {
		lt_job_done(job, LEAT_E_BUSY);
		return;
	}
	status = make_lane(job->m, s->id, bytes, &s->next_lane_fd);
	if (status != LEAT_OK) {
		s->next_lane_fd = -1;
		lt_job_done(job, status);
		return;
	}
	/* Kept before the store uses it; attach sorts out a death between. */
	s->lane_fd = s->next_lane_fd;
	s->lane_bytes = bytes;
	lt_session_keep(s);
	s->lane_fd = old;
	s->lane_bytes = old_bytes;
	s->next_lane_bytes = bytes;
	job->step = 1;
	job->number = s->id;
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_LANE, sizeof(msg), 0, 0);
	msg.number = s->id;
	msg.value = bytes;
	lt_storelink_job_fds(job, &msg, sizeof(msg), &s->next_lane_fd, 1);
}

void
lt_session_on_lane(struct lt_job *job)
{
	struct lt_session *s = lt_job_session(job);
	struct lt_wire_none reply;

	if (job->step == 1)
		s = lt_session_find(job->m, job->number);
	if (s == NULL) {
		lt_job_done(job, LEAT_E_CLOSED);
		return;
	}
	if (job->step == 0) {
		lane_ask(job, s);
		return;
	}
	if (job->status != LEAT_OK || s->next_lane_fd < 0) {
		close_fd(&s->next_lane_fd);
		if (s->state != LT_SESSION_ENDING)
			lt_session_keep(s);
		lt_job_done(
		    job, job->status != LEAT_OK ? job->status : LEAT_E_AGAIN);
		return;
	}
	close_fd(&s->lane_fd);
	s->lane_fd = s->next_lane_fd;
	s->next_lane_fd = -1;
	s->lane_bytes = s->next_lane_bytes;
	memset(&reply, 0, sizeof(reply));
	lt_job_reply(job, &reply, sizeof(reply), 0, &s->lane_fd, 1);
}

/* Kept by the store, said again whenever the session is attached. */
void
lt_session_on_follow(struct lt_job *job)
{
	struct lt_session *s = lt_job_session(job);
	struct lt_wire_watch msg = {.session = s->id, .on = 1};

	if (lt_grants_may_relay(job->m, &s->peer)) {
		s->follows = 1;
		lt_wire_init(&msg.h, LT_OP_S_WATCH, sizeof(msg), 0, 0);
		lt_storelink_send(job->m, &msg, sizeof(msg));
	}
	lt_job_done(job, s->follows ? LEAT_OK : LEAT_E_DENIED);
}

/* Its process has died, whether anybody has looked or not. */
static int
is_dead(const struct lt_session *s)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

	return s->state == LT_SESSION_ENDING || poll(&p, 1, 0) == 1;
}

void
lt_session_on_settled(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	struct lt_session *s;
	size_t cursor = 0;

	if (!lt_grants_may_relay(m, &job->conn->peer)) {
		lt_job_done(job, LEAT_E_DENIED);
		return;
	}
	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL)
		if (lt_grants_may_relay(m, &s->peer) && is_dead(s)) {
			lt_job_wait(job, &m->settle_waiting);
			return;
		}
	lt_job_done(job, LEAT_OK);
}

/* --- taken over from the queue manager before us ------------------------- */

static void
kept_session(struct lt_manager *m, const struct lt_wire_keep *keep, int *fds)
{
	struct session_blob blob;
	struct lt_session *s;

	memcpy(&blob, keep->blob, sizeof(blob));
	if (blob.session != keep->id || lt_session_find(m, blob.session))
		return;
	s = session_new(m, blob.session);
	if (s == NULL)
		return;
	s->lane_bytes = blob.lane_bytes;
	s->peer.uid = blob.uid;
	s->peer.pid = blob.pid;
	s->peer.gid_count =
	    blob.gid_count < LT_GIDS_KEPT ? blob.gid_count : LT_GIDS_KEPT;
	memcpy(s->peer.gids, blob.gids, sizeof(blob.gids));
	memcpy(s->name, blob.name, sizeof(s->name));
	for (uint32_t i = 0; i < blob.open_count && i < LT_OPENS_KEPT; i++)
		if (lt_grants_open(s, blob.opens[i].topic,
			blob.opens[i].rights) != LEAT_OK)
			break;
	s->lane_fd = fds[0];
	s->pidfd = fds[1];
	s->to_store = fds[2];
	s->to_client = fds[3];
	for (int i = 0; i < 4; i++)
		fds[i] = -1;
	s->state = LT_SESSION_LIVE;
	s->taken_over = blob.all_opens ? 2 : 1;
	s->gone_ms = lt_clock_mono_ms();
	lt_manager_tick(m);
	if (watch_death(s) != LEAT_OK)
		lt_session_end(s, LEAT_E_CLOSED);
}

void
lt_session_kept(struct lt_manager *m, const struct lt_wire_keep *keep, int *fds,
    size_t fd_count)
{
	struct lt_session *s;

	if (keep->kind == LT_KEEP_SESSION && fd_count == 4 &&
	    keep->blob_bytes == sizeof(struct session_blob)) {
		kept_session(m, keep, fds);
		return;
	}
	if (keep->kind != LT_KEEP_PAGE || fd_count != 1)
		return;
	s = lt_session_find(m, keep->id);
	if (s == NULL || s->page_fd >= 0) /* pages come behind their session */
		return;
	if (lt_segment_attach(&s->page, fds[0], LT_SEGMENT_PAGE, 0, 1) !=
	    LEAT_OK)
		return;
	s->page_fd = fds[0];
	fds[0] = -1;
}
