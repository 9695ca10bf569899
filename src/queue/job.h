/*
 * job.h - connections (admit.c), their requests (job.c), and requests to the
 * store (storelink.c).
 *
 * A client's request becomes a job. A handler that needs the store issues a
 * call and returns; when the answer is there the handler runs again from its
 * top with job->step telling how far it came, and looks everything up anew,
 * so nothing it knew before the wait can have gone stale.
 */
#ifndef LT_QUEUE_JOB_H
#define LT_QUEUE_JOB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/check.h"
#include "proto/wire.h"
#include "queue/port.h"

struct lt_manager;
struct lt_session;

#define LT_GIDS_MAX 64 /* groups of a peer looked at; more are ignored */
#define LT_JOBS_MAX                                                            \
	8 /* requests in progress of a connection; then it waits               \
	   */
#define LT_CONNS_SPARE 64 /* connections beyond the sessions; then refused */
#define LT_HELLO_MS 10000 /* a connection that says no HELLO is closed */
#define LT_CLIENT_OUT (256u << 10) /* unread bytes of a client; then closed */

/* --- who a client is ----------------------------------------------------- */
struct lt_peer {
	uint32_t uid;
	uint32_t pid;
	uint32_t gid_count;
	uint32_t gids[LT_GIDS_MAX];
};

/* --- admit.c: connections and jobs --------------------------------------- */
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
	uint32_t uid, pid; /* who asked, also if it left */
	int status; /* worst answer of the last calls */
	int64_t min, max; /* answer of the last range call */
	uint64_t number; /* the handler's own */
	uint64_t turn; /* at the session's fetch buffer; 0: none */
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
/* --- job.c */
/* 1 if there is such a request, allowed with or before a session. */
int lt_job_is_allowed(unsigned op, int has_session);
/* A request of this connection; copies msg. NULL: no memory. */
struct lt_job *lt_job_new(
    struct lt_conn *conn, const struct lt_wire *msg, size_t bytes);
/* The client left. */
void lt_job_orphan(struct lt_job *job);
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
/* Begin again once the store is up after a death not yet noticed. */
void lt_job_restart(struct lt_job *job);
/* 1 if the job had to be parked because the store is away. */
int lt_job_needs_store(struct lt_job *job);

/* --- storelink.c: the socket to leat-store ------------------------------- */
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
/* S_QUEUE_SYNC: entries below max are in the files, or lent
 * to the view; qref->max is set. job may
 * be NULL. */
void lt_storelink_sync(struct lt_manager *m, uint32_t topic, uint32_t queue,
    const char *name, struct lt_job *job);
/* The same for somebody who has no job. */
struct lt_topic;
void lt_storelink_range(struct lt_manager *m, const struct lt_topic *topic,
    uint32_t queue, lt_storelink_done *then, uint64_t number);
/*
 * 1 if the store lived until now, so whatever was read from its files before
 * this call was not touched by a recovery. Consume queues are derived: a new
 * store may wipe and write them again, and what looks like a gap while it does
 * is none. Ask this before believing that a message is gone.
 */
int lt_storelink_alive(const struct lt_manager *m);
void lt_storelink_wake(struct lt_manager *m, uint64_t session);

#endif
