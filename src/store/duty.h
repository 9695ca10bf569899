/*
 * duty.h - what the parts of leat-store share: one struct for the whole
 * process, changed by its one thread. Private to the program.
 *
 *   duty.c      open directory, log, queues
 *   control.c   messages of the supervisor and the queue manager
 *   peer.c      the socket to the queue manager, with an outbox
 *   session.c   sessions: lane, page, grants
 *   mark.c      what the log has of each session
 *   topicmap.c  topic id -> name, rules, queues
 *   feed.c      queues that somebody listens to: ring and watchers
 *   batch.c     sweep the lanes: copy, admit, seal
 *   publish.c   append, index, fill rings, complete, wake, sync
 *   checkpoint.c  sync and checkpoint in the background (syncer.h)
 *   upkeep.c    timers: retention, space, leftovers
 *   store_main.c  start, duty cycle, stop
 */
#ifndef LT_STORE_DUTY_H
#define LT_STORE_DUTY_H

#include <stdint.h>
#include "base/check.h"
#include "base/hash.h"
#include "proto/options.h"
#include "proto/record.h"
#include "proto/wire.h"
#include "shm/lane.h"
#include "shm/page.h"
#include "shm/patience.h"
#include "shm/ring.h"
#include "shm/segment.h"
#include "store/commitlog.h"
#include "store/consumequeue.h"
#include "store/recover.h"
#include "store/syncer.h"

#define LT_DUTY_EXIT_IO 3 /* the log failed: recovery decides */
#define LT_DUTY_EXIT_PROTOCOL 4 /* a sibling speaks another version */
#define LT_DUTY_SYNC_MS 500 /* the log is synced at least this often */
/* What a turn does of work on all queues: so many at most, ... */
#define LT_DUTY_TURN_QUEUES 16
#define LT_DUTY_TURN_NS 50000 /* ... and after so long no more */

struct lt_duty;

enum lt_gate {
	LT_GATE_SHUT,
	LT_GATE_OPEN,
	LT_GATE_RELAY /* only what is relayed: messages that wait */
};

/* Topic as the queue manager told it (S_TOPIC). */
struct lt_topic {
	/* what a record needs */
	struct lt_cq **cq; /* by queue; NULL: not used yet */
	uint32_t cq_count;
	uint32_t write_queues;
	uint32_t level; /* enum leat_level, never DEFAULT */
	uint16_t name_bytes;
	uint8_t gate; /* enum lt_gate: what a lane may publish */
	uint8_t keeps_state; /* 1 config, 2 progress, 0 neither */
	char name[LT_NAME_FIELD];
	/* the rest */
	uint32_t id;
	struct lt_topic *next_dropped;
};

/* A queue that somebody listens to; lt_cq.user points here. */
struct lt_feed {
	struct lt_cq *cq;
	struct lt_segment seg; /* base NULL: no ring */
	struct lt_ring_writer ring;
	struct lt_session **watchers;
	size_t watcher_count;
	size_t watcher_cap;
	struct lt_feed *next_touched;
	uint32_t is_touched;
	uint32_t reserved;
	uint64_t peer_gen; /* the queue manager that asked for the ring */
	struct lt_wire await; /* S_QUEUE_AWAIT; bytes 0: none */
	uint64_t await_gen;
	int64_t await_offset;
	struct lt_feed *prev;
	struct lt_feed *next;
};

/* What the log has of a session; outlives it for a day. */
struct lt_mark {
	uint64_t session;
	uint64_t seq;
	int64_t last_ms;
	uint32_t attached;
	uint32_t left_s; /* monotonic: was loaded, or its client left */
};

struct lt_session {
	/* sweeping and completing */
	struct lt_lane_reader lane;
	struct lt_page_shared *page; /* NULL: the system's own session */
	uint64_t page_mask; /* completion entries - 1 */
	uint64_t taken; /* last sequence taken from the lane */
	uint64_t logged; /* as the page shows */
	uint64_t synced; /* as the page shows */
	uint64_t syncing; /* ... when the sync under way is done */
	uint64_t in_log; /* last sequence the log has */
	uint64_t seen_logged; /* at the last look whether to wake */
	uint64_t seen_synced;
	uint64_t *grants; /* bit per topic id */
	uint32_t grant_words;
	uint32_t may_relay; /* publishes for remote clients */
	uint32_t born_ip;
	uint32_t born_port;
	uint32_t idle_sweeps;
	uint8_t is_closed; /* forged lane: not swept any more */
	uint8_t is_touched;
	uint8_t is_unsynced;
	uint8_t has_data; /* a watched queue grew in this batch */
	uint8_t has_room; /* the lane head moves in this batch */
	uint8_t has_refused; /* a record of this batch was refused */
	uint8_t is_new_in_log;
	uint8_t is_detaching;
	struct lt_session *next_touched;
	struct lt_session *next_unsynced;
	/* the rest */
	uint64_t id;
	size_t slot; /* in duty.sessions */
	struct lt_segment lane_seg;
	struct lt_segment page_seg;
	uint64_t lane_inode;
	uint64_t page_inode;
	int store_event; /* client rings */
	int client_event; /* store rings */
	struct lt_mark *mark;
	const struct lt_session_trace *traces; /* sorted by sequence; lent */
	size_t trace_count;
	struct lt_feed **watches;
	size_t watch_count;
	size_t watch_cap;
	uint64_t peer_gen;
	uint64_t detach_tail;
	struct lt_wire detach_request;
	int detach_replies;
};

/* One record taken, whatever became of it. */
struct lt_batch_rec {
	struct lt_session *session;
	struct lt_cq *cq; /* NULL: nothing to log */
	uint64_t seq;
	int64_t queue_offset;
	int64_t log_offset;
	int64_t tags_code;
	uint32_t at; /* in the buffer */
	uint32_t bytes;
	int32_t status;
	uint32_t store_ms_low;
};

/* S_APPEND that waits for its level. */
struct lt_batch_reply {
	struct lt_wire request;
	uint32_t rec; /* in the batch */
	uint32_t level; /* enum leat_level */
};
#define LT_BATCH_REPLIES 256

struct lt_batch {
	uint8_t *buf;
	size_t buf_bytes;
	size_t limit; /* several records do not fill more than this */
	size_t used;
	struct lt_batch_rec *recs;
	uint32_t count;
	uint32_t capacity;
	uint64_t base; /* log offset of buf[0] */
	uint64_t room; /* in the segment, from base */
	uint32_t want_sync;
	uint32_t is_full; /* take no more before this one is out */
	uint32_t is_appended; /* in the log, but not yet all indexed */
	uint32_t indexed; /* records put into their queues */
	uint32_t reply_count;
	struct lt_batch_reply replies[LT_BATCH_REPLIES];
};

/* In the store's private segment, kept by the supervisor. */
struct lt_duty_state {
	_Atomic uint64_t completed_end; /* completions given up to here */
	_Atomic int64_t store_ms; /* store time of the last record */
};

#define LT_PEER_WAITING_MAX 1024 /* answers; then nothing more is read */
struct lt_peer_msg; /* outbox */
struct lt_peer {
	int fd; /* -1: none */
	uint64_t gen;
	struct lt_peer_msg *first;
	struct lt_peer_msg *last;
	size_t waiting;
	uint32_t events; /* that epoll watches */
};

enum lt_checkpoint_phase {
	LT_CHECKPOINT_NONE,
	LT_CHECKPOINT_FLUSH, /* queue buffers, a few each turn */
	LT_CHECKPOINT_SYNC /* the job has it */
};

struct lt_duty {
	struct lt_options options;
	uint64_t generation;
	int control; /* socket to the supervisor */
	int epoll;
	int dir;
	int store_dir;
	struct lt_peer peer;
	struct lt_commitlog *log;
	struct lt_cq_set *queues;
	struct lt_recovered recovered;
	uint64_t traces_until_ms;

	struct lt_segment counters;
	struct lt_segment state_seg;
	struct lt_duty_state *state;
	struct lt_segment beacon_seg;
	struct lt_beacon_shared *beacon;
	int beacon_fd;

	struct lt_topic **topics; /* by id */
	size_t topic_cap;
	struct lt_topic *dropped; /* their queues go between two batches */
	struct lt_feed *feeds; /* all */

	struct lt_hash session_map; /* id -> session */
	struct lt_session **sessions; /* the first hot_count are swept always */
	size_t session_count;
	size_t session_cap;
	size_t hot_count;
	size_t sweep_from;
	uint32_t sweeps;
	size_t detaching;
	struct lt_session system; /* session 0: the queue manager's records */
	struct lt_session levels[LT_LEVELS_MAX]; /* session 1...: what waited */
	struct lt_hash marks; /* session -> mark */

	struct lt_batch batch;
	struct lt_session *touched;
	struct lt_session *unsynced;
	struct lt_feed *touched_feeds;
	struct lt_feed log_feed; /* no queue, no ring: who follows the log */

	uint32_t max_record; /* bytes */
	uint32_t store_ip;
	uint32_t default_level;
	int64_t store_ms; /* never goes back */
	uint64_t now_ms; /* monotonic, of this turn */
	uint64_t polled_ms; /* of the last look at the descriptors */
	uint64_t spin_ns; /* 0: sleep at once; UINT64_MAX: never */
	struct lt_patience patience;
	int is_open; /* S_OPEN came: drain */
	int is_stopping;
	int is_full; /* publishing is refused for lack of space */
	int disk_above; /* retention says the disk is too full */

	struct lt_syncer *syncer; /* NULL: jobs are done at once */
	int syncer_event; /* it rings */
	struct lt_syncer_job job;
	int is_syncing; /* the job is under way */
	uint64_t dirty_since_ms; /* 0: nothing unsynced that no job syncs */
	enum lt_checkpoint_phase checkpoint_phase;
	uint64_t checkpoint_at; /* log offset of the one begun last */
	uint64_t checkpoint_ms; /* the last one began */
	uint64_t checkpoint_end; /* log offset of the last one */
	int checkpoint_now;
	uint64_t retain_at_ms;
	uint64_t start_ms; /* monotonic */
	int64_t start_wall_ms; /* the wall clock then */
	uint64_t full_at_ms; /* next look whether there is space */
	uint64_t stale_at_ms; /* rings of a former queue manager go; 0 */
	int64_t begin_tag; /* tags code of "begin" */
	int64_t begin_next[2]; /* newest "begin" of config and progress */
	uint64_t hold; /* messages that wait lie from here on: S_HOLD */
	int64_t begin_now[2]; /* ... as of the retention check before */
};

/* --- duty.c --- */
/* d->dir and d->options are set. */
int lt_duty_open(struct lt_duty *d) LT_MUST_CHECK;

/* --- topicmap.c --- */
/* Take a topic; of one deleted the queues go at lt_topicmap_sweep. */
int lt_topicmap_put(
    struct lt_duty *d, const struct lt_wire_topic *m) LT_MUST_CHECK;
static inline struct lt_topic *
lt_topicmap_get(const struct lt_duty *d, uint32_t id)
{
	return LT_LIKELY(id < d->topic_cap) ? d->topics[id] : NULL;
}
/* Queue of a topic, made if it must be. queue < LT_QUEUES_MAX. */
int lt_topicmap_queue(struct lt_duty *d, struct lt_topic *t, uint32_t queue,
    struct lt_cq **out) LT_MUST_CHECK;
/* Between batches: the queues of deleted topics go. */
void lt_topicmap_sweep(struct lt_duty *d);
/* Between batches: give back a part of the memory they had. */
void lt_topicmap_give_back(struct lt_duty *d);
/* Their files are removed in the background; no thread: here and now, or by the
 * next start. */
void lt_topicmap_remove(struct lt_duty *d);
void lt_topicmap_fini(struct lt_duty *d);

/* --- feed.c --- */
/* The queue's feed, made if it must be. */
int lt_feed_get(
    struct lt_duty *d, struct lt_cq *cq, struct lt_feed **out) LT_MUST_CHECK;
/* Give the queue a ring (fd borrowed), replacing the one it has. */
int lt_feed_ring(struct lt_duty *d, struct lt_cq *cq, int fd) LT_MUST_CHECK;
void lt_feed_unring(struct lt_duty *d, struct lt_cq *cq);
int lt_feed_watch(
    struct lt_duty *d, struct lt_cq *cq, struct lt_session *s) LT_MUST_CHECK;
/* The session is woken when the log grows. */
int lt_feed_follow(struct lt_duty *d, struct lt_session *s) LT_MUST_CHECK;
void lt_feed_unwatch(struct lt_duty *d, struct lt_cq *cq, struct lt_session *s);
/* Answer once there is an entry at or behind the offset. LEAT_OK, NOMEM. */
int lt_feed_await(struct lt_duty *d, struct lt_cq *cq,
    const struct lt_wire_await *m) LT_MUST_CHECK;
/* The queue grew. */
void lt_feed_awaited(struct lt_duty *d, struct lt_feed *f);
/* The session goes: it watches nothing any more. */
void lt_feed_forget(struct lt_duty *d, struct lt_session *s);
/* The queue goes. */
void lt_feed_drop(struct lt_duty *d, struct lt_cq *cq);
/* Rings that no queue manager knows any more go. */
void lt_feed_drop_stale(struct lt_duty *d);

/* --- session.c --- */
void lt_session_init_system(struct lt_duty *d);
/* fds are taken in every case. *logged_out: last sequence in the log. */
int lt_session_attach(struct lt_duty *d, const struct lt_wire_attach *m,
    const uint32_t *topics, int *fds, size_t fd_count,
    uint64_t *logged_out) LT_MUST_CHECK;
struct lt_session *lt_session_find(const struct lt_duty *d, uint64_t id);
int lt_session_grant(
    struct lt_session *s, uint32_t topic, int allow) LT_MUST_CHECK;
static inline int
lt_session_may(const struct lt_session *s, uint32_t topic)
{
	return (topic >> 6) < s->grant_words &&
	       ((s->grants[topic >> 6] >> (topic & 63)) & 1);
}
/* A new, empty lane (fd taken). */
int lt_session_lane(
    struct lt_duty *d, struct lt_session *s, int fd) LT_MUST_CHECK;
/* Drain up to the lane's tail, then let go and answer (request NULL: no
 * answer). */
void lt_session_detach(
    struct lt_duty *d, struct lt_session *s, const struct lt_wire *request);
/* Let go of those that are drained. */
void lt_session_finish_detaching(struct lt_duty *d);
/* Sessions that the present queue manager did not attach again go. */
void lt_session_detach_stale(struct lt_duty *d);
/* The lane lies: never look at it again, say so. */
void lt_session_forged(struct lt_duty *d, struct lt_session *s);
void lt_session_fini_all(struct lt_duty *d);

/* --- mark.c --- */
/* Find or make; NULL: no memory. */
struct lt_mark *lt_mark_get(struct lt_duty *d, uint64_t session) LT_MUST_CHECK;
void lt_mark_drop(struct lt_duty *d, struct lt_mark *m);
/* Marks as recovered; traces are sorted. */
int lt_mark_load(struct lt_duty *d) LT_MUST_CHECK;
/* Marks for a checkpoint (lt_mem_free); old ones go. */
int lt_mark_save(struct lt_duty *d, int64_t now_ms,
    struct lt_session_mark **out, size_t *count_out) LT_MUST_CHECK;
/* Lend the session its part of the traces. */
void lt_mark_find_traces(const struct lt_duty *d, struct lt_session *s);
/* Is this sequence (<= in_log) in the log? *trace_out: where, or NULL. */
int lt_mark_is_logged(const struct lt_session *s, uint64_t seq,
    const struct lt_session_trace **trace_out);
void lt_mark_drop_traces(struct lt_duty *d);

/* --- batch.c --- */
int lt_batch_init(struct lt_duty *d) LT_MUST_CHECK;
void lt_batch_fini(struct lt_duty *d);
/* One round over the lanes. Returns how many records were taken. */
uint32_t lt_batch_sweep(struct lt_duty *d);
/* Add a record of the queue manager; answered when its level is reached. It is
 * in the message's tail, or in fd. AGAIN: run the batch first; else why it is
 * refused. */
int lt_batch_add_system(struct lt_duty *d, const struct lt_wire_append *m,
    const void *record, int fd) LT_MUST_CHECK;
/* The batch is out: empty it. */
void lt_batch_reset(struct lt_duty *d);
/* A record fits in neither this batch nor the segment: begin a new segment.
 * The batch must be empty. LEAT_OK, NOSPACE, or fatal. */
int lt_batch_roll(struct lt_duty *d) LT_MUST_CHECK;

/* --- publish.c --- */
/* Bring the batch out. LEAT_OK (it is out, or waits for space to be indexed:
 * batch.is_appended), or a fatal status: exit without another word. */
int lt_publish_run(struct lt_duty *d) LT_MUST_CHECK;
/* Make everything durable and say so. LEAT_OK or fatal. */
int lt_publish_sync(struct lt_duty *d) LT_MUST_CHECK;
/* The log is durable up to end: what sessions had there (syncing). */
void lt_publish_durable(struct lt_duty *d, uint64_t end);
void lt_publish_wake(struct lt_session *s);
/* Publishing is refused from now on (1) or goes on (0). */
void lt_publish_full(struct lt_duty *d, int is_full);

/* --- checkpoint.c --- */
/* A step of whatever is due or under way. LEAT_OK or fatal. */
int lt_checkpoint_run(struct lt_duty *d) LT_MUST_CHECK;
/* At the end: stop the thread, checkpoint here and now if there is space, and
 * sync the log in any case. */
int lt_checkpoint_last(struct lt_duty *d) LT_MUST_CHECK;
/* Monotonic time of the next step; UINT64_MAX: none, or the thread rings. */
uint64_t lt_checkpoint_due_ms(const struct lt_duty *d);

/* --- upkeep.c --- */
int lt_upkeep_init(struct lt_duty *d) LT_MUST_CHECK;
/* Whatever is due. LEAT_OK or fatal. */
int lt_upkeep_run(struct lt_duty *d) LT_MUST_CHECK;
/* Milliseconds until something is due, at most the cap. */
int lt_upkeep_wait_ms(const struct lt_duty *d);
/* Retention, and whether there is space. LEAT_OK or fatal. */
int lt_upkeep_disk(struct lt_duty *d) LT_MUST_CHECK;
/* Before lanes are swept: no space for what they may hold and for the broker's
 * own records after it means that publishing is refused. */
void lt_upkeep_secure(struct lt_duty *d);

/* --- peer.c --- */
/* Take the socket (-1: none); what waited for the old one is forgotten. */
void lt_peer_set(struct lt_duty *d, int fd, uint64_t gen);
/* Send or put into the outbox; forgotten when there is no peer. fd: -1, or a
 * descriptor to send along (borrowed). */
void lt_peer_send(struct lt_duty *d, const void *msg, size_t bytes, int fd);
void lt_peer_flush(struct lt_duty *d);
void lt_peer_number(
    struct lt_duty *d, enum lt_op op, uint64_t number, uint64_t value);
void lt_peer_status(
    struct lt_duty *d, const struct lt_wire *request, int status);

/* --- control.c --- */
/* KEPT* and START, blocking. */
int lt_control_start(struct lt_duty *d, int control) LT_MUST_CHECK;
int lt_control_send(
    struct lt_duty *d, const void *msg, size_t bytes, int fd) LT_MUST_CHECK;
/* E_TOPIC*, E_BEACON, E_READY to a new queue manager. */
int lt_control_greet(struct lt_duty *d) LT_MUST_CHECK;
/* Handle all messages there are. LEAT_OK, CLOSED: the supervisor is gone, or
 * fatal. */
int lt_control_poll_supervisor(struct lt_duty *d) LT_MUST_CHECK;
int lt_control_poll_peer(struct lt_duty *d) LT_MUST_CHECK;

#endif
