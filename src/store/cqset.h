/*
 * cqset.h - what the writer of the consume queues (consumequeue.c) and what
 * deletes their files (cqtrim.c, cqdrop.c) share. Private to these.
 */
#ifndef LT_STORE_CQSET_H
#define LT_STORE_CQSET_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "store/consumequeue.h"

#define LT_CQSET_FILE_BYTES ((uint64_t)LT_CQ_FILE_ENTRIES * LT_CQ_ENTRY_BYTES)
#define LT_CQSET_SLOTS 256
#define LT_CQSET_PATH LT_CQ_PATH

struct lt_cq_topic {
	struct lt_cq_topic *chain; /* of its bucket */
	struct lt_cq **queues; /* by number; NULL: not made */
	uint32_t capacity;
	uint32_t count; /* of queues made */
	uint32_t hash;
	uint32_t name_bytes;
	uint32_t is_dropped; /* has no bucket any more */
	uint32_t freed; /* dropped: queues below are freed */
	char name[]; /* NUL-terminated */
};

/* An open file. */
struct lt_cqset_slot {
	const struct lt_cq *cq; /* NULL: free */
	uint64_t file;
	uint64_t used; /* clock of the last use */
	int fd;
	int touched; /* written since the last sync */
	int created; /* its name may not be durable */
};

struct lt_cq_set {
	int dir; /* of consumequeue/, also for syncfs */
	struct lt_cq_topic **buckets;
	size_t bucket_count;
	size_t topic_count;
	size_t queue_count;
	struct lt_cq *dirty; /* with entries in memory only, or were lately */
	struct lt_cq *flushing; /* taken from dirty by a flush under way */
	struct lt_cq_topic *dropped; /* not all of their memory is freed */
	uint64_t dropped_number; /* for the next hidden name */
	size_t touched; /* files, each counted once while its slot lives */
	size_t buf_count;
	size_t buf_bytes;
	int starved; /* a flush found no space */
	uint64_t clock;
	struct lt_cqset_slot slots[LT_CQSET_SLOTS];
};

/* Path of a file below consumequeue/. */
void lt_cqset_path(
    char out[LT_CQSET_PATH], const struct lt_cq *cq, uint64_t file);
/* errno to status, with a line unless it is lack of space or memory. */
int lt_cqset_error(const char *what, const struct lt_cq *cq, int err);
/* Close a queue's file if it is open. */
void lt_cqset_close_file(
    struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file);
/* Take a topic, if there, out of the set, to `dropped`; its files are closed.
 */
void lt_cqset_drop(struct lt_cq_set *set, const char *topic);
/* It was taken off its list of dirty queues. */
void lt_cqset_let_go(struct lt_cq_set *set, struct lt_cq *cq);
void lt_cqset_free_topic(struct lt_cq_topic *t);

#endif
