/*
 * queue.h - the queue manager's state, which all files of leat-queue share.
 * Private to this room. One thread runs everything, so nothing here is locked;
 * the only memory others write is named as such.
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
#include "proto/rulebook.h"
#include "proto/wire.h"
#include "queue/group.h"
#include "queue/job.h"
#include "queue/port.h"
#include "queue/session.h"
#include "queue/topic.h"
#include "shm/segment.h"

struct lt_reader;
struct lt_cq_view;
struct lt_keyindex;
struct lt_kept_table;
struct lt_schedule;
struct lt_audit_note; /* audit.c */

#define LT_SIBLING_OUT (256u << 20) /* unread bytes of a sibling; fatal */

/* --- keep.c: what the supervisor keeps for us ---------------------------- */
void lt_keep_put(struct lt_manager *m, enum lt_keep kind, uint64_t id,
    const void *blob, size_t blob_bytes, const int *fds, size_t fd_count);
void lt_keep_drop(struct lt_manager *m, enum lt_keep kind, uint64_t id);

/* --- queue_main.c: start, phases, stop ----------------------------------- */
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
	struct lt_job_queue settle_waiting; /* for sessions to be gone */
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

	struct lt_rulebook *grants; /* those of the log */
	TAILQ_HEAD(, lt_audit_note) audit; /* lines that are not logged yet */
	size_t audit_count, audit_refused;
	uint64_t refusals, refusals_since_ms; /* of this second */

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

	struct lt_hash settings; /* struct lt_setting by group and topic */
	TAILQ_HEAD(, lt_setting) settings_list; /* by number */
	uint64_t next_setting;

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

	struct lt_hash remotes; /* struct lt_remotes by group */
	uint64_t share_at_ms; /* UINT64_MAX: nothing to look at */
	uint64_t share_from_ms; /* shares stand still before; 0: no */
	struct lt_job_queue share_waiting; /* until a closed table went */
	char *telling; /* ids of a GROUP_REMOTES that has more parts */
	size_t telling_bytes, telling_count;
	uint64_t telling_session;
	char host[LT_MEMBER_FIELD]; /* in the ids of local members */

	struct lt_hash sessions;
	struct lt_schedule *schedule; /* NULL: no message waited yet */
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
