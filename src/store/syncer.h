/*
 * syncer.h - a thread that waits for the disk so that the writer need not:
 * makes the log durable up to a point, and with a checkpoint the queue files
 * and then the snapshot, in this order. One job at a time. Between jobs it
 * removes the files of dropped topics, a few queues at a time.
 */
#ifndef LT_STORE_SYNCER_H
#define LT_STORE_SYNCER_H

#include "store/commitlog.h"
#include "store/consumequeue.h"
#include "store/recover.h"

struct lt_syncer_job {
	/* by the writer */
	struct lt_commitlog_sync log;
	struct lt_snapshot_image *image; /* NULL: only the log */
	struct lt_cq_sync queues; /* if there is an image */
	int store_dir;
	/* by the thread */
	int log_status;
	int status; /* of queues and snapshot */
	uint64_t log_ns; /* the log's part took so long */
};

/* Do a job in this thread. */
void lt_syncer_do(struct lt_syncer_job *job);

struct lt_syncer;
/* Start the thread. event: an eventfd (borrowed) that it rings when done. */
int lt_syncer_start(int event, struct lt_syncer **out) LT_MUST_CHECK;
/* Waits for the job under way. NULL is fine. */
void lt_syncer_stop(struct lt_syncer *s);
/* Hand over a job, which is the thread's until lt_syncer_is_done. */
void lt_syncer_submit(struct lt_syncer *s, struct lt_syncer_job *job);
/* 1 if the job handed over is done. */
int lt_syncer_is_done(const struct lt_syncer *s);
void lt_syncer_wait(struct lt_syncer *s);
/* There are files of dropped topics. The set stays open as long as s. */
void lt_syncer_remove(struct lt_syncer *s, const struct lt_cq_set *set);

#endif
