/*
 * topic.h - topics (topic.c, topicops.c) and what is durable of topics and
 * groups (state.c).
 */
#ifndef LT_QUEUE_TOPIC_H
#define LT_QUEUE_TOPIC_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "queue/job.h"

#define LT_STATE_RECORDS 10000 /* progress records between complete states */

/* --- topic.c ------------------------------------------------------------- */
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
/* --- topicops.c ---------------------------------------------------------- */
void lt_topicops_on_open(struct lt_job *job);
void lt_topicops_on_create(struct lt_job *job);
void lt_topicops_on_update(struct lt_job *job);
void lt_topicops_on_delete(struct lt_job *job);
void lt_topicops_on_list(struct lt_job *job);

/* --- state.c: what is durable, as records of the two system topics ------- */
/* Ids of the two topics. */
#define LT_STATE_CONFIG 1
#define LT_STATE_PROGRESS 2
#define LT_STATE_AUDIT 3 /* and of a third, of which nothing is read back */
/* A whole S_APPEND of one record; freed by the caller. NULL: no memory. */
struct lt_wire_append *lt_state_record(uint32_t topic, const char *tag,
    const struct lt_record_property *props, size_t prop_count, const void *body,
    size_t body_bytes, size_t *bytes_out);
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

#endif
