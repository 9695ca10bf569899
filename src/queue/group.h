/*
 * group.h - who reads what: queues with their rings (ringset.c), groups with
 * their progress and tables (group.c, progress.c, groupops.c), subscriptions
 * (subscribe.c).
 */
#ifndef LT_QUEUE_GROUP_H
#define LT_QUEUE_GROUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/check.h"
#include "proto/limits.h"
#include "queue/job.h"
#include "queue/topic.h"
#include "shm/grouptable.h"
#include "shm/segment.h"

#define LT_SUBS_MAX 65536 /* subscriptions of one session; refused */
#define LT_TABLE_REST_MS 60000 /* a table with holes outlives its members */

/* --- ringset.c: queues somebody asked for, and their rings --------------- */
enum lt_ring_state {
	LT_RING_NONE,
	LT_RING_ASKED,
	LT_RING_READY
};
struct lt_qref {
	uint32_t topic;
	uint32_t queue;
	int64_t max; /* largest end told by the store */
	int64_t synced; /* entries below are in the files of this store */
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
/* Oldest offset still there, as far as entries up to q->synced tell. */
int64_t lt_ringset_min(
    struct lt_manager *m, struct lt_qref *q, const struct lt_topic *topic);
void lt_ringset_store_gone(struct lt_manager *m);
void lt_ringset_drop_topic(struct lt_manager *m, uint32_t topic);
int lt_ringset_housekeep(struct lt_manager *m, uint64_t now_ms);
void lt_ringset_on_grow(struct lt_job *job);
/* Readers go on with another ring; nothing comes into the present one. */
void lt_ringset_renew(struct lt_manager *m, struct lt_qref *q);

/* --- group.c, progress.c: groups, their progress and tables -------------- */
struct lt_group {
	char name[LT_NAME_FIELD];
	uint32_t mode; /* of its live members */
	uint32_t members; /* live subscriptions */
	uint32_t progress; /* entries */
	struct lt_sub_list subs;
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
	uint64_t leave_at_ms; /* closed, the queue is a remote member's: goes
				 when nothing is claimed, or then; 0: no */
	uint64_t claimed;
	uint32_t seeking;
	int64_t cursor;
	LIST_ENTRY(lt_claims) link;
};
struct lt_sub {
	LIST_ENTRY(lt_sub) session_link;
	LIST_ENTRY(lt_sub) claims_link;
	LIST_ENTRY(lt_sub) queue_link;
	LIST_ENTRY(lt_sub) group_link;
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
	int is_idle; /* the queue is another member's; claims: to finish */
	int is_told; /* EV_MOVED was sent because the shares changed */
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
/* While a seek is being logged a successor of ours must not believe the table:
 * the durable progress counts. */
void lt_group_seeking(struct lt_manager *m, struct lt_progress *p, int on);
/* Replace a live table by one that begins at offset; members are told. */
void lt_group_move(struct lt_manager *m, struct lt_progress *p, int64_t offset);
/* Nobody claims in it any more; enum lt_table_closed. */
void lt_group_claims_close(struct lt_claims *claims, uint32_t why);
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

/* --- share.c: groups with remote members, queue by queue ------------------
 */
#define LT_SHARE_GAIN_MS 1000 /* before a local member gets a queue */
#define LT_SHARE_LEAVE_MS 1000 /* to finish claims on a queue that goes */
#define LT_SHARE_ID_BYTES 112 /* of a local member's client id */
#define LT_REMOTES_MAX 65536 /* remote members of a group; refused */
#define LT_REMOTES_BYTES (4u << 20) /* of their ids; refused */
#define LT_REMOTE_PROGRESS_MAX 262144 /* entries; no new ones for commits */

struct lt_local {
	uint64_t session;
	size_t place; /* in the order of all members */
	char id[LT_SHARE_ID_BYTES];
};
struct lt_remotes {
	char group[LT_NAME_FIELD];
	uint64_t session; /* who speaks for them */
	uint64_t gone_ms; /* that session was lost then; 0: it lives */
	char *text; /* ids, each with a NUL */
	const char **ids; /* in order, each once */
	size_t count;
	struct lt_local *locals; /* in order, as of the last look */
	size_t local_count;
	uint64_t gain_at_ms; /* 0: nobody waits for a queue */
	int is_dirty;
};
/* Place of the member that has a queue: what every RocketMQ client computes by
 * AllocateMessageQueueAveragely. */
size_t lt_share_owner(size_t queues, size_t members, size_t queue);
struct lt_remotes *lt_share_find(struct lt_manager *m, const char *group);
void lt_share_fini(struct lt_manager *m);
/* After START: shares stand still until clients had the time to come back. */
void lt_share_start(struct lt_manager *m);
/* Takes text: count ids, each with a NUL; none: the last one went. */
int lt_share_told(struct lt_manager *m, struct lt_session *s, const char *group,
    char *text, size_t count) LT_MUST_CHECK;
/* Ids of the group's local members, in order; to be freed. NULL: none. */
struct lt_local *lt_share_locals(
    struct lt_manager *m, const char *group, size_t *count_out);
/* May the session claim in that queue? old: the subscription it replaces. */
int lt_share_grants(struct lt_manager *m, struct lt_session *s,
    const struct lt_wire_subscribe *req, const struct lt_topic *topic,
    const struct lt_sub *old);
/* A local member has the queue, and the table says how far it is. */
int lt_share_is_local(const struct lt_claims *claims);
/* Members that have the queue now. */
uint32_t lt_share_members(struct lt_manager *m, const struct lt_progress *p);
/* A subscription came or went; a session ended; topics changed. */
void lt_share_touch(struct lt_manager *m, const struct lt_sub *sub);
void lt_share_session_end(struct lt_manager *m, struct lt_session *s, int why);
void lt_share_topics_changed(struct lt_manager *m);
/* Run the job again when that closed table went. */
void lt_share_wait(struct lt_job *job, const struct lt_claims *claims);
/* A closed table: 1 if it went. */
int lt_share_left(
    struct lt_manager *m, struct lt_claims *claims, uint64_t now_ms);
void lt_share_timer(struct lt_manager *m, uint64_t now_ms);

/* --- remote.c ------------------------------------------------------------ */
void lt_remote_on_commit(struct lt_job *job);
void lt_remote_on_progress(struct lt_job *job);
void lt_remote_on_remotes(struct lt_job *job);
void lt_remote_on_locals(struct lt_job *job);

/* --- groupops.c ---------------------------------------------------------- */
void lt_groupops_on_list(struct lt_job *job);
void lt_groupops_on_seek(struct lt_job *job);
void lt_groupops_on_delete(struct lt_job *job);

/* --- groupconf.c: what administrators set for groups -----------------------
 */
struct lt_setting {
	TAILQ_ENTRY(lt_setting) link;
	uint64_t number; /* grows; an entry that changes keeps its own */
	size_t text_bytes;
	char *text;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD]; /* "": the group as such */
};
void lt_groupconf_init(struct lt_manager *m);
void lt_groupconf_fini(struct lt_manager *m);
void lt_groupconf_on_set(struct lt_job *job);
void lt_groupconf_on_unset(struct lt_job *job);
void lt_groupconf_on_list(struct lt_job *job);
int lt_groupconf_any(struct lt_manager *m, const char *group);
/* Log that nothing is set for the group any more; then, when that is durable,
 * make it so. */
void lt_groupconf_log_unset(struct lt_job *job, const char *group);
void lt_groupconf_unset(struct lt_manager *m, const char *group);
/* Its record; freed by the caller. NULL: no memory. */
struct lt_wire_append *lt_groupconf_record(
    const struct lt_setting *setting, size_t *bytes_out);
/* A record of the configuration topic that is not of a topic. */
int lt_groupconf_apply(
    struct lt_manager *m, const struct lt_record_view *v) LT_MUST_CHECK;

/* --- subscribe.c --------------------------------------------------------- */
void lt_subscribe_on_subscribe(struct lt_job *job);
void lt_subscribe_on_unsubscribe(struct lt_job *job);
void lt_subscribe_on_commit(struct lt_job *job);
struct lt_sub *lt_subscribe_find(struct lt_session *s, uint64_t id);
/* End one: leaves group and ring; no answer to anybody. */
void lt_subscribe_end(struct lt_manager *m, struct lt_sub *sub);
void lt_subscribe_watch(struct lt_manager *m, const struct lt_sub *sub, int on);
/* Tell the client to subscribe again. */
void lt_subscribe_moved(struct lt_sub *sub);

#endif
