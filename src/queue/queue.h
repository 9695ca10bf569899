/*
 * queue.h - what the files of leat-queue share: the manager's state and the
 * calls between its files. Private to this room. One thread runs everything,
 * so nothing here is locked; the only memory others write is named as such.
 *
 * A client's request becomes a job. A handler that needs the store issues a
 * call and returns; when the answer is there the handler runs again from its
 * top with job->step telling how far it came, and looks everything up anew,
 * so nothing it knew before the wait can have gone stale.
 */
#ifndef LT_QUEUE_QUEUE_H
#define LT_QUEUE_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <leat/leat.h>
#include "base/check.h"
#include "base/hash.h"
#include "proto/options.h"
#include "proto/record.h"
#include "proto/wire.h"
#include "shm/grouptable.h"
#include "shm/segment.h"

struct lt_manager;
struct lt_reader;
struct lt_cq_view;
struct lt_keyindex;

#define LT_GIDS_MAX 64 /* groups of a peer looked at; more are ignored */
#define LT_GIDS_KEPT 16 /* of them kept over a restart */
#define LT_JOBS_MAX                                                            \
	8 /* requests in progress of one connection; then it waits */
#define LT_CONNS_SPARE 64 /* connections beyond the sessions; then refused */
#define LT_HELLO_MS 10000 /* a connection that says no HELLO is closed */
#define LT_CLIENT_OUT (256u << 10) /* unread bytes of a client; then closed */
#define LT_SIBLING_OUT (256u << 20) /* unread bytes of a sibling; fatal */
#define LT_OPENS_MAX 16000 /* topics one session may have open; refused */
#define LT_OPENS_KEPT 96 /* of them kept over a restart by id */
#define LT_SUBS_MAX 65536 /* subscriptions of one session; refused */
#define LT_FETCH_BYTES (1u << 20) /* first fetch buffer */
#define LT_TABLE_REST_MS                                                       \
	60000 /* a table with holes outlives its members so long */
#define LT_STATE_RECORDS 10000 /* progress records between complete states */

/* --- loop.c: epoll, and memory freed only after a round of events --------- */
struct lt_source {
	int fd;
	void (*ready)(struct lt_source *source, uint32_t events);
};
int lt_loop_init(struct lt_manager *m) LT_MUST_CHECK;
int lt_loop_add(struct lt_manager *m, struct lt_source *source,
    uint32_t events) LT_MUST_CHECK;
void lt_loop_change(
    struct lt_manager *m, struct lt_source *source, uint32_t events);
/* Out of the set; events of this round that still name it are dropped. */
void lt_loop_remove(struct lt_manager *m, struct lt_source *source);
/* Free after this round (events may still point to it). */
void lt_loop_free_later(struct lt_manager *m, void *p);
/* One round: wait at most timeout_ms (-1: for ever), then serve. */
void lt_loop_round(struct lt_manager *m, int timeout_ms);

/* --- port.c: a SEQPACKET socket with an out queue ---------------------------
 */
struct lt_port_msg;
struct lt_port {
	struct lt_source source; /* first: ready() casts */
	struct lt_manager *m;
	struct lt_port_msg *head;
	struct lt_port_msg **tail;
	size_t queued_bytes;
	size_t limit_bytes;
	int paused; /* 1: nothing is read */
	/* msg is a private copy, 8-byte aligned. Descriptors not taken (set to
	 * -1 in fds) are closed afterwards. */
	void (*message)(struct lt_port *port, struct lt_wire *msg, size_t bytes,
	    int *fds, size_t fd_count);
	void (*hangup)(struct lt_port *port); /* must close the port */
};
/* Takes fd. limit and callbacks are set by the caller before. */
int lt_port_open(
    struct lt_manager *m, struct lt_port *port, int fd) LT_MUST_CHECK;
void lt_port_close(struct lt_port *port);
/* Never blocks; fds are borrowed. LEAT_OK, LIMIT (the reader does not read),
 * UNREACHABLE. */
int lt_port_send(struct lt_port *port, const void *msg, size_t bytes,
    const int *fds, size_t fd_count) LT_MUST_CHECK;
void lt_port_pause(struct lt_port *port, int paused);
/* Write out what is queued, waiting at most timeout_ms. */
void lt_port_drain(struct lt_port *port, int timeout_ms);

/* --- who a client is --------------------------------------------------------
 */
struct lt_peer {
	uint32_t uid;
	uint32_t pid;
	uint32_t gid_count;
	uint32_t gids[LT_GIDS_MAX];
};

/* --- admit.c: connections and jobs -----------------------------------------
 */
struct lt_job;
LIST_HEAD(lt_job_list, lt_job);
TAILQ_HEAD(lt_job_queue, lt_job);

struct lt_conn {
	struct lt_port port; /* first */
	LIST_ENTRY(lt_conn) link;
	struct lt_job_list jobs;
	unsigned job_count;
	struct lt_session *session; /* NULL before HELLO and after BYE */
	struct lt_peer peer;
	int pidfd;
	uint64_t since_ms;
	int refusal; /* status that answers whatever it asks, then closed */
};

struct lt_job {
	struct lt_manager *m;
	struct lt_conn *conn; /* NULL: the client left */
	LIST_ENTRY(lt_job) conn_link;
	TAILQ_ENTRY(lt_job) wait_link;
	struct lt_job_queue *waits; /* the list it is on, or NULL */
	struct lt_job **slot; /* cleared when the job ends, or NULL */
	unsigned step; /* 0 at first; whatever the handler makes of it */
	unsigned calls; /* to the store, not answered yet */
	int status; /* worst answer of the last calls */
	int64_t min, max; /* answer of the last range call */
	uint64_t number; /* the handler's own */
	void *extra; /* the handler's own, freed with the job */
	size_t bytes;
	struct lt_wire request[]; /* the checked request, whole */
};

int lt_admit_start(struct lt_manager *m, int listener) LT_MUST_CHECK;
void lt_admit_stop(struct lt_manager *m);
/* Close a connection; its session (if any) is told. */
void lt_admit_close(struct lt_conn *conn);
/* The *_housekeep calls return 1 if they want another tick. */
int lt_admit_housekeep(struct lt_manager *m, uint64_t now_ms);
/* Send an event; a client that does not read is closed. */
void lt_admit_event(struct lt_conn *conn, void *msg, size_t bytes,
    const int *fds, size_t fd_count);
/* Answer and end the job. reply is the whole struct (header filled here) and
 * its tail; fds are borrowed. */
void lt_job_reply(struct lt_job *job, void *reply, size_t struct_bytes,
    size_t tail_bytes, const int *fds, size_t fd_count);
/* Answer with a status only (LEAT_OK: an all-zero reply struct). */
void lt_job_done(struct lt_job *job, int status);
/* Park until another run: on a list, or (list NULL) without. */
void lt_job_wait(struct lt_job *job, struct lt_job_queue *list);
/* Run every job parked on the list. */
void lt_job_wake(struct lt_job_queue *list);
void lt_job_run(struct lt_job *job);
/* The session behind the job; NULL if it or its client left. */
struct lt_session *lt_job_session(struct lt_job *job);
/* 1 if the job had to be parked because the store is away. */
int lt_job_needs_store(struct lt_job *job);

/* --- storelink.c: the socket to leat-store ----------------------------------
 */
/* reply is NULL unless status is LEAT_OK; UNREACHABLE: the store died, the
 * request may or may not have been done. */
typedef void lt_storelink_done(struct lt_manager *m, uint64_t number,
    void *user, int status, const struct lt_wire *reply);

int lt_storelink_open(struct lt_manager *m, int fd) LT_MUST_CHECK;
/* Tear down: pending calls end with UNREACHABLE. */
void lt_storelink_close(struct lt_manager *m);
/* Event: no answer. Does nothing while the store is away. */
void lt_storelink_send(struct lt_manager *m, void *msg, size_t bytes);
/* Request: header tag is filled here; done is called exactly once, never from
 * inside this call. */
void lt_storelink_call(struct lt_manager *m, void *msg, size_t bytes,
    const int *fds, size_t fd_count, lt_storelink_done *done, uint64_t number,
    void *user);
/* The same for a job: it runs again when all its calls are answered, with
 * job->status, or is parked until the store is back and restarts at step 0. */
void lt_storelink_job(struct lt_job *job, void *msg, size_t bytes);
void lt_storelink_job_fds(struct lt_job *job, void *msg, size_t bytes,
    const int *fds, size_t fd_count);
/* S_QUEUE_SYNC: entries below max are in the files; qref->max is set. job may
 * be NULL. */
void lt_storelink_sync(struct lt_manager *m, uint32_t topic, uint32_t queue,
    const char *name, struct lt_job *job);
void lt_storelink_wake(struct lt_manager *m, uint64_t session);

/* --- topic.c
 * ------------------------------------------------------------------ */
struct lt_topic {
	uint32_t id;
	uint32_t read_queues;
	uint32_t write_queues;
	uint32_t perm;
	uint32_t level;
	uint32_t system;
	uint32_t deleted; /* a tombstone: invisible, but keeps the log's old
			     records from making it a topic again */
	uint32_t logged; /* a config record exists */
	uint32_t seen; /* the store knows it */
	char name[LT_NAME_FIELD];
};
int lt_topic_init(struct lt_manager *m) LT_MUST_CHECK;
void lt_topic_fini(struct lt_manager *m);
/* Live topics only. */
struct lt_topic *lt_topic_find(struct lt_manager *m, const char *name);
struct lt_topic *lt_topic_by_id(struct lt_manager *m, uint32_t id);
/* Take a configuration into the registry (a record read back, or a change
 * that is durable). */
int lt_topic_put(
    struct lt_manager *m, const struct lt_topic *config) LT_MUST_CHECK;
/* A name from E_TOPIC with the number of queues seen in the log. */
int lt_topic_seen(
    struct lt_manager *m, const char *name, uint32_t queues) LT_MUST_CHECK;
/* State is loaded: what was seen becomes topics, tombstones nobody needs go. */
int lt_topic_settle(struct lt_manager *m) LT_MUST_CHECK;
/* Log every topic that has no record; each counts in m->pending. */
void lt_topic_log_seen(struct lt_manager *m);
void lt_topic_announce_all(struct lt_manager *m);
void lt_topic_announce(struct lt_manager *m, const struct lt_topic *topic);
void lt_topic_fill(
    struct lt_wire_topic *msg, const struct lt_topic *topic, enum lt_op op);
void lt_topic_on_open(struct lt_job *job);
void lt_topic_on_create(struct lt_job *job);
void lt_topic_on_update(struct lt_job *job);
void lt_topic_on_delete(struct lt_job *job);
void lt_topic_on_list(struct lt_job *job);

/* --- state.c: what is durable, as records of the two system topics
 * ------------ */
/* Read both topics back; entries below the maxima must be in the files. */
int lt_state_load(struct lt_manager *m, int64_t config_max,
    int64_t progress_max) LT_MUST_CHECK;
/* Append one config record for a job (which runs again when it is synced). */
void lt_state_log_topic(struct lt_job *job, const struct lt_topic *config);
/* The same without a job. */
void lt_state_log_seen(struct lt_manager *m, const struct lt_topic *topic);
/* One progress record; entries are added until it is full or sent. */
struct lt_state_batch {
	size_t bytes;
	size_t entries;
	uint8_t body[40960];
};
void lt_state_batch_init(struct lt_state_batch *batch);
/* 0, or LEAT_E_LIMIT: send this one first. */
int lt_state_batch_add(struct lt_state_batch *batch, const char *group,
    const char *topic, const char *member, uint32_t mode, uint32_t queue,
    int64_t offset, int deleted) LT_MUST_CHECK;
/* Send for a job; progress.c's own batches go by lt_state_flush. */
void lt_state_batch_job(struct lt_state_batch *batch, struct lt_job *job);
/* Send every changed progress; one round at a time. */
void lt_state_flush(struct lt_manager *m);
/* The log rolled: write everything again as soon as no change is half done. */
void lt_state_rewrite(struct lt_manager *m);
/* For tests: one record's body. */
int lt_state_apply_progress(
    struct lt_manager *m, const uint8_t *body, size_t bytes) LT_MUST_CHECK;

/* One durable change at a time: LEAT_OK, or the job was parked (AGAIN). */
int lt_state_lock(struct lt_job *job) LT_MUST_CHECK;
void lt_state_unlock(struct lt_manager *m);

LIST_HEAD(lt_sub_list, lt_sub);

/* --- ringset.c: queues somebody asked for, and their rings
 * --------------------- */
enum lt_ring_state {
	LT_RING_NONE,
	LT_RING_ASKED,
	LT_RING_READY
};
struct lt_qref {
	uint32_t topic;
	uint32_t queue;
	int64_t max; /* largest end told by the store */
	int64_t min; /* cached; min_at_log says for which log_min */
	uint64_t min_at_log;
	enum lt_ring_state state;
	uint32_t users; /* subscriptions */
	int replaced; /* the ring asked for replaces one that has readers */
	uint64_t id; /* of the ring */
	uint64_t retry_ms; /* no ring could be made: not before then */
	uint64_t bytes; /* of the ring to make */
	int fd;
	struct lt_segment seg; /* read-only mapping */
	uint64_t idle_since_ms;
	struct lt_sub_list subs;
	struct lt_job_queue waiting;
};
int lt_ringset_init(struct lt_manager *m) LT_MUST_CHECK;
void lt_ringset_fini(struct lt_manager *m);
struct lt_qref *lt_ringset_find(
    struct lt_manager *m, uint32_t topic, uint32_t queue);
/* Find or make; NULL: no memory. */
struct lt_qref *lt_ringset_get(
    struct lt_manager *m, uint32_t topic, uint32_t queue);
/* LEAT_OK: ready, or there can be none (state says); AGAIN: asked for, the job
 * is parked. */
int lt_ringset_ask(
    struct lt_manager *m, struct lt_qref *q, struct lt_job *job) LT_MUST_CHECK;
/* Largest queue offset known (ring or last answer). */
int64_t lt_ringset_max(const struct lt_qref *q);
/* Oldest offset still there, for entries in files up to max. */
int64_t lt_ringset_min(struct lt_manager *m, struct lt_qref *q,
    const struct lt_topic *topic, int64_t max);
void lt_ringset_store_gone(struct lt_manager *m);
void lt_ringset_drop_topic(struct lt_manager *m, uint32_t topic);
int lt_ringset_housekeep(struct lt_manager *m, uint64_t now_ms);
void lt_ringset_on_grow(struct lt_job *job);

/* --- group.c, progress.c: groups, their progress and tables
 * -------------------- */
struct lt_group {
	char name[LT_NAME_FIELD];
	uint32_t mode; /* of its live members */
	uint32_t members; /* live subscriptions */
	uint32_t progress; /* entries */
};
struct lt_progress {
	struct lt_group *group;
	uint32_t topic;
	uint32_t queue;
	uint32_t mode;
	uint32_t members; /* live subscriptions */
	char *topic_name;
	char member[LT_MEMBER_FIELD];
	int64_t offset; /* next that is not acknowledged */
	int64_t sent; /* in the record on its way */
	int64_t logged; /* durable; -1: none */
	uint32_t dirty;
	uint32_t in_flight;
	uint32_t deleted; /* goes when that is durable */
	struct lt_claims *claims;
	size_t slot;
};
/* The live table of a clustering group on one queue. */
struct lt_claims {
	uint64_t id;
	uint32_t serial; /* 24 bits, part of subscription ids */
	uint32_t uid; /* whose processes may share it */
	uint32_t next_owner;
	uint32_t owner_limit; /* numbers below are kept as used */
	int fd;
	struct lt_segment seg;
	struct lt_table table;
	struct lt_progress *progress;
	struct lt_sub_list subs;
	uint32_t sub_count;
	uint64_t sweep_at_ms;
	uint64_t pause_ms;
	uint64_t orphans_at_ms; /* taken over: owners nobody resumed go then */
	uint64_t rest_since_ms; /* no member since; 0: has some */
	uint64_t claimed;
	uint64_t log_min;
	int64_t cursor;
	LIST_ENTRY(lt_claims) link;
};
struct lt_sub {
	LIST_ENTRY(lt_sub) session_link;
	LIST_ENTRY(lt_sub) claims_link;
	LIST_ENTRY(lt_sub) queue_link;
	struct lt_session *session;
	struct lt_qref *qref;
	struct lt_progress *progress; /* NULL: browse */
	struct lt_claims *claims; /* clustering */
	uint64_t id;
	uint32_t topic;
	uint32_t queue;
	uint32_t mode;
	uint32_t owner;
	int has_ring;
};

int lt_group_init(struct lt_manager *m) LT_MUST_CHECK;
void lt_group_fini(struct lt_manager *m);
struct lt_group *lt_group_find(struct lt_manager *m, const char *name);
struct lt_progress *lt_group_progress(struct lt_manager *m, const char *group,
    uint32_t topic, uint32_t queue, const char *member);
/* Find or make, at offset -1 if new. NULL: no memory. */
struct lt_progress *lt_group_progress_get(struct lt_manager *m,
    const char *group, uint32_t topic, uint32_t queue, const char *member);
void lt_group_progress_free(struct lt_manager *m, struct lt_progress *p);
/* A new offset for a progress, going back included; clears `deleted`. */
void lt_group_progress_set(
    struct lt_manager *m, struct lt_progress *p, int64_t offset);
void lt_group_drop_topic(struct lt_manager *m, uint32_t topic);
/* Join: makes the table if need be. LEAT_OK, DENIED (another user's table),
 * NOSPACE, NOMEM, LIMIT. `want` is the owner number of a resumed member, or 0.
 */
int lt_group_join(
    struct lt_manager *m, struct lt_sub *sub, uint32_t want) LT_MUST_CHECK;
/* Leave: frees what it held; with keep_claims it comes back under the same
 * number at once. */
void lt_group_leave(struct lt_manager *m, struct lt_sub *sub, int keep_claims);
/* Replace a live table by one that begins at offset; members are told. */
void lt_group_move(struct lt_manager *m, struct lt_progress *p, int64_t offset);
void lt_group_claims_free(
    struct lt_manager *m, struct lt_claims *claims, int keep);
/* A table from the queue manager before us; takes fd in any case. */
void lt_group_kept(struct lt_manager *m, uint64_t id, const uint8_t *blob,
    size_t blob_bytes, int fd);
/* State is loaded and queue ends are known: go on with the kept tables. */
void lt_group_adopt(struct lt_manager *m);
/* Ask the store for the ends of the queues of kept tables. */
void lt_group_adopt_ask(struct lt_manager *m);

/* Look at one table: progress, leases; dead_owner 0: none. 1: it changed. */
int lt_progress_sweep(
    struct lt_manager *m, struct lt_claims *claims, uint16_t dead_owner);
void lt_progress_timer(struct lt_manager *m, uint64_t now_ms);
/* ms until the next thing to do, -1: nothing. */
int lt_progress_timeout(const struct lt_manager *m, uint64_t now_ms);
void lt_progress_soon(struct lt_manager *m, struct lt_claims *claims);
void lt_progress_sweep_all(struct lt_manager *m);

/* --- groupops.c
 * ------------------------------------------------------------------ */
void lt_groupops_on_list(struct lt_job *job);
void lt_groupops_on_seek(struct lt_job *job);
void lt_groupops_on_delete(struct lt_job *job);

/* --- subscribe.c
 * ------------------------------------------------------------------ */
void lt_subscribe_on_subscribe(struct lt_job *job);
void lt_subscribe_on_unsubscribe(struct lt_job *job);
void lt_subscribe_on_commit(struct lt_job *job);
struct lt_sub *lt_subscribe_find(struct lt_session *s, uint64_t id);
/* End one: leaves group and ring; no answer to anybody. */
void lt_subscribe_end(struct lt_manager *m, struct lt_sub *sub);
void lt_subscribe_watch(struct lt_manager *m, const struct lt_sub *sub, int on);
/* Tell the client to subscribe again. */
void lt_subscribe_moved(struct lt_sub *sub);

/* --- session.c
 * ---------------------------------------------------------------------- */
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
	uint64_t gone_ms; /* when the connection went; 0: connected */
	struct lt_open *opens;
	size_t open_count, open_capacity;
	struct lt_sub_list subs;
	size_t sub_count;
	struct lt_segment fetch; /* our writable mapping */
	int fetch_fd;
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
/* The connection went. */
void lt_session_hangup(struct lt_session *s);
/* End for good: claims go back, the store drains the lane, then all is
 * dropped. A connected client is told why and closed. */
void lt_session_end(struct lt_session *s, int why);
int lt_session_housekeep(struct lt_manager *m, uint64_t now_ms);
/* From a queue manager before us; takes the fds in any case. */
void lt_session_kept(struct lt_manager *m, const struct lt_wire_keep *keep,
    int *fds, size_t fd_count);
/* Store is back: attach all again; afterwards (all answered) tell clients. */
void lt_session_attach_all(struct lt_manager *m);
void lt_session_store_gone(struct lt_manager *m);
void lt_session_store_up(struct lt_manager *m);
/* Tell the supervisor again (opens or lane changed). */
void lt_session_keep(struct lt_session *s);
void lt_session_token(
    struct lt_manager *m, uint64_t session, uint32_t uid, uint8_t token[16]);

/* --- grants.c: who may do what
 * ------------------------------------------------------- */
unsigned lt_grants_topic(
    struct lt_manager *m, const struct lt_peer *peer, const char *topic);
unsigned lt_grants_group(
    struct lt_manager *m, const struct lt_peer *peer, const char *group);
/* May this peer read the topic: LEAT_OK, DENIED, PERM. */
int lt_grants_read(struct lt_manager *m, const struct lt_peer *peer,
    const struct lt_topic *topic) LT_MUST_CHECK;
int lt_grants_may_connect(struct lt_manager *m, const struct lt_peer *peer);
struct lt_open *lt_grants_find(struct lt_session *s, uint32_t topic);
/* Remember that the session opened a topic. LEAT_OK, LIMIT, NOMEM. */
int lt_grants_open(
    struct lt_session *s, uint32_t topic, uint32_t rights) LT_MUST_CHECK;
void lt_grants_drop_topic(struct lt_manager *m, uint32_t topic);
/* Settings changed: take back what is no longer allowed. */
void lt_grants_review(struct lt_manager *m);
/* Ids the session may publish to; returns how many (at most LT_OPENS_MAX). */
size_t lt_grants_list(struct lt_session *s, uint32_t *out, size_t max);
/* More topics than could be kept were open: all it has a right to. */
void lt_grants_all(struct lt_session *s);

/* --- fetch.c, position.c, query.c
 * ------------------------------------------------------- */
void lt_fetch_on_fetch(struct lt_job *job);
void lt_fetch_on_range(struct lt_job *job);
void lt_fetch_on_status(struct lt_job *job);
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
/* Index another piece if a find waits for it: 1 if there is more to do. */
int lt_query_step(struct lt_manager *m);

/* --- keep.c: what the supervisor keeps for us
 * --------------------------------------------- */
void lt_keep_put(struct lt_manager *m, enum lt_keep kind, uint64_t id,
    const void *blob, size_t blob_bytes, const int *fds, size_t fd_count);
void lt_keep_drop(struct lt_manager *m, enum lt_keep kind, uint64_t id);

/* --- queue_main.c: start, phases, stop
 * -------------------------------------------------------- */
/*
 * START   settings not here yet
 * STORE   waits for E_READY
 * LOAD    waits for the ends of the system topics
 * ATTACH  waits for sessions to be attached, foreign topics to be logged and
 *         the ends of kept tables
 * UP      serves
 */
enum lt_phase {
	LT_PHASE_START,
	LT_PHASE_STORE,
	LT_PHASE_LOAD,
	LT_PHASE_ATTACH,
	LT_PHASE_UP
};

struct lt_manager {
	int epoll_fd;
	void **graves;
	size_t grave_count, grave_capacity;
	struct lt_source **removed;
	size_t removed_count, removed_capacity;
	int in_round;

	struct lt_port supervisor;
	struct lt_port store;
	struct lt_hash calls;
	uint32_t next_tag;
	struct lt_source listener;
	int accepting;

	struct lt_options options;
	uint64_t boot;
	uint64_t generation;
	uint64_t store_gen;
	int started; /* START came */
	int loaded; /* state was read */
	int ready; /* READY was said */
	int stopping; /* STOP came */
	uint64_t stop_at_ms;
	enum lt_phase phase;
	unsigned pending; /* answers this phase waits for */

	uint32_t uid;
	uint8_t secret[32];
	int dir_fd;
	int store_fd; /* DIR/store */
	int counter_fd; /* reopened read-only, for STATUS */
	struct lt_segment counters;
	int beacon_fd;
	struct lt_reader *reader;
	struct lt_cq_view *view;
	struct lt_keyindex *keys;
	struct lt_job_queue index_waiting;
	int index_status;

	LIST_HEAD(, lt_conn) conns;
	size_t conn_count;
	struct lt_job_queue store_waiting; /* jobs until the store is up */

	struct lt_hash topics_by_name;
	struct lt_hash topics_by_id;
	struct lt_hash seen; /* names the store told before state was read */
	struct lt_topic **sorted; /* live, by name; NULL: to be made */
	uint32_t next_topic;
	size_t topic_count; /* live */

	struct lt_job *change; /* the durable change being made */
	struct lt_job_queue change_waiting;
	int rewrite_wanted;
	int flush_wanted;
	unsigned flush_calls; /* answers a flush waits for */
	int flush_failed;
	unsigned rewrite_calls;
	int rewrite_failed;
	uint64_t progress_records; /* since the last complete state */

	struct lt_hash qrefs;
	size_t ring_count;
	uint64_t next_ring;

	struct lt_hash groups;
	struct lt_hash progress_map;
	struct lt_progress **progress;
	size_t progress_count, progress_capacity, progress_live;
	LIST_HEAD(, lt_claims) claims;
	uint64_t sweep_next_ms; /* no table is due before */
	struct lt_hash subs;
	uint32_t next_serial;
	uint64_t next_sub;
	uint64_t flush_at_ms; /* 0: nothing changed */
	struct lt_kept_table *kept_tables;

	struct lt_hash sessions;
	uint64_t housekeep_at_ms;
	_Alignas(16) uint8_t inbox[LT_WIRE_MAX];
};

/* Oldest log offset, as the store shows it. */
uint64_t lt_manager_log_min(struct lt_manager *m);
/* A message of the store that is no answer. */
void lt_manager_store_event(
    struct lt_manager *m, struct lt_wire *msg, int *fds, size_t fd_count);
void lt_manager_store_gone(struct lt_manager *m);
/* Something waits for time to pass: look again soon. */
void lt_manager_tick(struct lt_manager *m);
/* One of m->pending is answered. */
void lt_manager_settled(struct lt_manager *m);
LT_NORETURN void lt_manager_fatal(const char *what);

#endif
