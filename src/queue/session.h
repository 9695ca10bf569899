/*
 * session.h - sessions (session.c, hello.c, attach.c), their rights (grants.c)
 * and what they read from the log (fetch.c, position.c, query.c).
 */
#ifndef LT_QUEUE_SESSION_H
#define LT_QUEUE_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/check.h"
#include "proto/record.h"
#include "proto/wire.h"
#include "queue/group.h"
#include "queue/job.h"
#include "queue/topic.h"
#include "shm/segment.h"

#define LT_GIDS_KEPT 16 /* groups of a peer kept over a restart */
#define LT_OPENS_MAX 16000 /* topics one session may have open; refused */
#define LT_OPENS_KEPT 96 /* of them kept over a restart by id */
#define LT_FETCH_BYTES (1u << 20) /* first fetch buffer */

/* --- session.c ----------------------------------------------------------- */
enum lt_session_state {
	LT_SESSION_NEW, /* first S_ATTACH on its way */
	LT_SESSION_LIVE,
	LT_SESSION_ENDING /* S_DETACH on its way or to be sent */
};
struct lt_open {
	uint32_t topic;
	uint32_t rights; /* granted to the store: LT_RIGHT_PUBLISH */
};
struct lt_session {
	struct lt_source death; /* first: pidfd */
	struct lt_manager *m;
	uint64_t id;
	enum lt_session_state state;
	struct lt_peer peer;
	char name[LT_MEMBER_FIELD];
	struct lt_conn *conn;
	struct lt_job *hello; /* waits for the attach */
	int pidfd;
	int lane_fd;
	uint64_t lane_bytes;
	int page_fd; /* sealed, known to the client; -1: none yet */
	int next_page_fd; /* given to the store, not answered */
	struct lt_segment page; /* read-only mappings, to nudge */
	struct lt_segment old_page; /* until the client was told */
	int next_lane_fd; /* larger lane under way */
	uint64_t next_lane_bytes;
	int taken_over; /* from a queue manager before us; 2: opens are not
			   known */
	int attached; /* to the present store */
	unsigned attach_tries;
	int to_store;
	int to_client;
	uint64_t logged; /* as told at the last attach */
	uint32_t follows; /* is woken when the log grows */
	uint64_t gone_ms; /* when the connection went; 0: connected */
	struct lt_open *opens;
	size_t open_count, open_capacity;
	struct lt_sub_list subs;
	size_t sub_count;
	struct lt_segment fetch; /* our writable mapping */
	int fetch_fd;
	uint64_t fetch_turn; /* of the newest request that needs it */
};
int lt_session_init(struct lt_manager *m) LT_MUST_CHECK;
void lt_session_fini(struct lt_manager *m);
struct lt_session *lt_session_find(struct lt_manager *m, uint64_t id);
/* A new session for a connection, with S_ATTACH on its way. LEAT_OK, LIMIT,
 * TOOBIG, NOSPACE, NOMEM. */
int lt_session_create(struct lt_manager *m, uint64_t id, struct lt_conn *conn,
    uint64_t lane_bytes, const char *name,
    struct lt_session **out) LT_MUST_CHECK;
/* Another process speaks for it now; pidfd is borrowed. */
int lt_session_rewatch(struct lt_session *s, int pidfd) LT_MUST_CHECK;
void lt_session_on_hello(struct lt_job *job);
void lt_session_on_bye(struct lt_job *job);
void lt_session_on_lane(struct lt_job *job);
void lt_session_on_follow(struct lt_job *job);
void lt_session_on_settled(struct lt_job *job);
/* The connection went. */
void lt_session_hangup(struct lt_session *s);
/* End for good: claims go back, the store drains the lane, then all is
 * dropped. A connected client is told why and closed. */
void lt_session_end(struct lt_session *s, int why);
int lt_session_housekeep(struct lt_manager *m, uint64_t now_ms);
/* From a queue manager before us; takes the fds in any case. */
void lt_session_kept(struct lt_manager *m, const struct lt_wire_keep *keep,
    int *fds, size_t fd_count);
/* Forget it, here and at the supervisor's. */
void lt_session_drop(struct lt_session *s);
/* Tell the supervisor again (opens or lane changed). */
void lt_session_keep(struct lt_session *s);
void lt_session_token(
    struct lt_manager *m, uint64_t session, uint32_t uid, uint8_t token[16]);

/* --- attach.c ------------------------------------------------------------ */
/* A new page for the present store, not yet given to it. */
int lt_attach_page(struct lt_session *s) LT_MUST_CHECK;
/* S_ATTACH; counted: the manager's phase waits for the answer. */
void lt_attach_send(struct lt_session *s, int counted);
/* S_DETACH; when the lane is drained the session is dropped. */
void lt_attach_detach(struct lt_session *s);
/* Store is back: attach all again; afterwards (all answered) tell clients. */
void lt_attach_all(struct lt_manager *m);
void lt_attach_store_gone(struct lt_manager *m);
void lt_attach_store_up(struct lt_manager *m);

/* --- grants.c: who may do what ------------------------------------------- */
unsigned lt_grants_topic(
    struct lt_manager *m, const struct lt_peer *peer, const char *topic);
unsigned lt_grants_group(
    struct lt_manager *m, const struct lt_peer *peer, const char *group);
/* May this peer read the topic: LEAT_OK, DENIED, PERM. */
int lt_grants_read(struct lt_manager *m, const struct lt_peer *peer,
    const struct lt_topic *topic) LT_MUST_CHECK;
int lt_grants_may_connect(struct lt_manager *m, const struct lt_peer *peer);
uint32_t lt_grants_may_relay(
    const struct lt_manager *m, const struct lt_peer *peer);
/* The system topic to which such a process may relay: the store sees to it that
 * nothing else goes there. */
int lt_grants_is_relay_topic(
    const struct lt_manager *m, const struct lt_peer *peer, const char *topic);
struct lt_open *lt_grants_find(struct lt_session *s, uint32_t topic);
/* Remember that the session opened a topic. LEAT_OK, LIMIT, NOMEM. */
int lt_grants_open(
    struct lt_session *s, uint32_t topic, uint32_t rights) LT_MUST_CHECK;
void lt_grants_drop_topic(struct lt_manager *m, uint32_t topic);
/* Rules or grants changed: what a session used and may no longer use is taken
 * back, and the session ends. */
void lt_grants_review(struct lt_manager *m);
/* Change grants; see them. */
int lt_grants_may_grant(struct lt_manager *m, const struct lt_peer *peer);
int lt_grants_may_look(struct lt_manager *m, const struct lt_peer *peer);
/* Ids the session may publish to; returns how many (at most LT_OPENS_MAX). */
size_t lt_grants_list(struct lt_session *s, uint32_t *out, size_t max);
/* More topics than could be kept were open: all it has a right to. */
void lt_grants_all(struct lt_session *s);

/* --- grantops.c: grants in the log ---------------------------------------- */
void lt_grantops_on_change(struct lt_job *job); /* GRANT_ADD, GRANT_REMOVE */
void lt_grantops_on_list(struct lt_job *job);
void lt_grantops_on_test(struct lt_job *job);
/* Its record, or that it is gone (no rights); freed by the caller. NULL: no
 * memory. */
struct lt_wire_append *lt_grantops_record(
    const struct lt_access_rule *rule, size_t *bytes_out);
/* A record of the configuration topic that is not of a topic. */
int lt_grantops_apply(
    struct lt_manager *m, const struct lt_record_view *v) LT_MUST_CHECK;

/* --- audit.c: who was refused what, who changed what -----------------------
 */
struct lt_audit { /* texts borrowed */
	uint32_t uid, pid; /* pid 0: nobody's request */
	const char *act, *object;
};
void lt_audit_init(struct lt_manager *m);
void lt_audit_fini(struct lt_manager *m); /* what waits is forgotten */
void lt_audit_refused(
    struct lt_manager *m, const struct lt_audit *what, const char *outcome);
void lt_audit_acted(
    struct lt_manager *m, const struct lt_audit *what, int status);
/* A request was answered. */
void lt_audit_answer(struct lt_job *job, int is_act, int status);
void lt_audit_on_audit(struct lt_job *job);
/* The store is up: send what waits. */
void lt_audit_flush(struct lt_manager *m);
int lt_audit_housekeep(struct lt_manager *m, uint64_t now_ms);
int lt_audit_is_idle(const struct lt_manager *m);

/* --- fetch.c, position.c, query.c ---------------------------------------- */
void lt_fetch_on_fetch(struct lt_job *job);
void lt_fetch_on_range(struct lt_job *job);
void lt_fetch_on_status(struct lt_job *job);
/* Whether the session's buffer is still this job's to fill. AGAIN: the client
 * has asked for something else since. CLOSED: it left. */
int lt_fetch_turn(struct lt_job *job) LT_MUST_CHECK;
/* Room for a record of this many bytes at *at in the session's buffer. LEAT_OK;
 * LIMIT: the buffer is full (not the first). *fresh_out: buffer was replaced.
 */
int lt_fetch_room(struct lt_session *s, uint64_t at, uint64_t bytes,
    int *fresh_out) LT_MUST_CHECK;
/* Copy a record behind its head to `at`. LEAT_OK, CORRUPT, NOTFOUND. */
int lt_fetch_copy(struct lt_manager *m, struct lt_session *s, uint64_t at,
    int64_t log_offset, uint32_t bytes,
    struct lt_record_view *view) LT_MUST_CHECK;
/* Offset a rule names, within [min, max] (files complete up to max). */
int64_t lt_position_of(struct lt_manager *m, const struct lt_topic *topic,
    uint32_t queue, uint32_t from, int64_t value, int64_t min, int64_t max,
    uint32_t def);
void lt_query_on_find(struct lt_job *job);
void lt_query_open(struct lt_manager *m);
void lt_query_close(struct lt_manager *m);
/* The log's beginning moved: index files of what is gone may go. */
void lt_query_trim(struct lt_manager *m);
/* Index another piece if a find waits for it: 1 if there is more to do. */
int lt_query_step(struct lt_manager *m);

#endif
