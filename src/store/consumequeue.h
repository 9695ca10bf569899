/*
 * consumequeue.h - consume queues: RocketMQ's files of 20-byte entries.
 *
 *   DIR/store/consumequeue/<topic>/<queue>/<20-digit byte offset>
 *   300,000 entries (6,000,000 bytes, sparse) a file
 *   entry: log offset i64, record size i32, tags code i64, big-endian
 *
 * Derived: rebuilt from the log, entry n from the record whose queueOffset is
 * n, so writing an entry twice is harmless. The store is the only writer. It
 * buffers entries in memory and writes them at a checkpoint, when a buffer is
 * full, or when a reader asks (LT_OP_S_QUEUE_SYNC); files are opened for a
 * write through a small cache of descriptors, nothing is mapped, so 50,000
 * queues need no descriptor and no mapping each.
 * size 0 in an entry below max: that message is gone (damaged).
 */
#ifndef LT_STORE_CONSUMEQUEUE_H
#define LT_STORE_CONSUMEQUEUE_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_CQ_ENTRY_BYTES 20
#define LT_CQ_FILE_ENTRIES 300000
/* The largest queue offset of a record that can be right. */
#define LT_CQ_OFFSET_MAX (INT64_MAX / LT_CQ_ENTRY_BYTES - LT_CQ_FILE_ENTRIES)

struct lt_cq_entry {
	int64_t log_offset;
	uint32_t bytes;
	int64_t tags_code;
};

/* --- writer (leat-store, recovery, offline rebuild) --- */
struct lt_cq_set;
/* One queue; at most 96 bytes while idle. The store adds its own pointer. */
struct lt_cq {
	int64_t next; /* offset of the next entry */
	int64_t flushed; /* entries below are written to the file */
	uint8_t *buf; /* entries [flushed, next), NULL when clean */
	uint32_t buf_entries; /* capacity */
	uint32_t queue;
	struct lt_cq_topic *topic;
	struct lt_cq *dirty_next; /* list of dirty queues */
	uint32_t is_dirty;
	uint32_t pending; /* the store: taken by the batch under way */
	void *user; /* the store's per-queue state (ring), or NULL */
};

int lt_cq_set_open(int store_dir, struct lt_cq_set **out) LT_MUST_CHECK;
void lt_cq_set_close(struct lt_cq_set *set);
/* 1: a queue of that topic can have files. A name is a directory, and the log
 * may be a stranger's. */
int lt_cq_is_name(const char *topic, size_t topic_bytes);
/* Find or make; *out belongs to the set and stays until lt_cq_free. */
int lt_cq_get(struct lt_cq_set *set, const char *topic, size_t topic_bytes,
    uint32_t queue, struct lt_cq **out) LT_MUST_CHECK;
struct lt_cq *lt_cq_find(struct lt_cq_set *set, const char *topic,
    size_t topic_bytes, uint32_t queue);
/* Topic name of a queue, lent. */
const char *lt_cq_topic_name(const struct lt_cq *cq);
/* Append the entry with offset cq->next. Writes through when the buffer is
 * full; NOMEM or IO then (the entry is not counted). While the disk is full the
 * buffer grows; NOSPACE only when a million entries wait. */
int lt_cq_append(struct lt_cq_set *set, struct lt_cq *cq,
    const struct lt_cq_entry *entry) LT_MUST_CHECK;
/* Recovery: entry with this very offset, in any order within [first, ...);
 * next becomes at least offset + 1. */
int lt_cq_put_at(struct lt_cq_set *set, struct lt_cq *cq, int64_t offset,
    const struct lt_cq_entry *entry) LT_MUST_CHECK;
/* Queues that have a buffer: files that a flush of all may write. */
size_t lt_cq_buffered(const struct lt_cq_set *set);
/* 1 after a flush found no space, until one of all queues succeeds. */
int lt_cq_is_starved(const struct lt_cq_set *set);
/* A descriptor of memory with the entries [flushed, next), as in a file: for
 * readers while there is no space for a flush. The caller closes it. */
int lt_cq_lend(const struct lt_cq *cq, int *fd_out) LT_MUST_CHECK;
/* Write buffered entries of one / of all queues to their files. */
int lt_cq_flush(struct lt_cq_set *set, struct lt_cq *cq) LT_MUST_CHECK;
int lt_cq_flush_all(struct lt_cq_set *set) LT_MUST_CHECK;
/* Make every entry written since the last call durable (fdatasync of each
 * file touched, or one syncfs when they are many). */
int lt_cq_sync_all(struct lt_cq_set *set) LT_MUST_CHECK;
/* The same two in steps, for a checkpoint that nobody waits for. flush_begin:
 * what is buffered now is to be flushed; flush_some: up to max queues of that,
 * LEAT_E_AGAIN while there are more. sync_begin: what was written since the
 * last sync; sync_run: make it durable, in any thread. */
#define LT_CQ_SYNC_FILES 16
#define LT_CQ_PATH 320
struct lt_cq_sync {
	int dir; /* lent by the set */
	int all; /* more than fit: syncfs */
	size_t count;
	struct {
		char path[LT_CQ_PATH]; /* TOPIC/QUEUE/FILE */
		int created; /* its name may not be durable */
	} files[LT_CQ_SYNC_FILES];
};
void lt_cq_flush_begin(struct lt_cq_set *set);
int lt_cq_flush_some(struct lt_cq_set *set, size_t max) LT_MUST_CHECK;
void lt_cq_sync_begin(struct lt_cq_set *set, struct lt_cq_sync *out);
int lt_cq_sync_run(const struct lt_cq_sync *sync) LT_MUST_CHECK;
/* Each queue; stops at and returns the first non-zero. */
int lt_cq_each(struct lt_cq_set *set, int (*each)(struct lt_cq *cq, void *user),
    void *user) LT_MUST_CHECK;
size_t lt_cq_count(const struct lt_cq_set *set);
/* Files whose last entry points below log_min go; the last file stays. */
int lt_cq_trim(struct lt_cq_set *set, uint64_t log_min) LT_MUST_CHECK;

/* A topic's queues go: its name is free at once, in memory and on disk. What
 * they have is given back later, in pieces (cqdrop.c). */
int lt_cq_drop_topic(struct lt_cq_set *set, const char *topic) LT_MUST_CHECK;
int lt_cq_has_topic(const struct lt_cq_set *set, const char *topic);
/* Memory: the next dropped queue to free, `user` first; NULL: none, or the next
 * one had entries to write and goes when a flush comes to it. */
struct lt_cq *lt_cq_dropped(struct lt_cq_set *set);
void lt_cq_free(struct lt_cq_set *set, struct lt_cq *cq);
/* All of them, if none has a `user`. */
void lt_cq_free_dropped(struct lt_cq_set *set);
/* Files, those that a crash left too; any one thread. begin, then some, which
 * removes up to max queues and is LEAT_E_AGAIN while there are more, then end.
 * What cannot be removed is said and stays. */
struct lt_cq_removal {
	void *names; /* DIR: of consumequeue/; NULL: not begun */
	void *topic; /* DIR: of the directory being removed, or NULL */
	char name[64];
};
int lt_cq_remove_begin(
    struct lt_cq_removal *r, const struct lt_cq_set *set) LT_MUST_CHECK;
int lt_cq_remove_some(struct lt_cq_removal *r, size_t max) LT_MUST_CHECK;
void lt_cq_remove_end(struct lt_cq_removal *r);
/* All of them, here and now. */
int lt_cq_remove_dropped(const struct lt_cq_set *set) LT_MUST_CHECK;

/* --- read-only view (leat-queue, gateway, offline tools) --- */
struct lt_cq_view; /* one process's cache of open files */
int lt_cq_view_open(int store_dir, struct lt_cq_view **out) LT_MUST_CHECK;
void lt_cq_view_close(struct lt_cq_view *view);
/* Entries [offset, offset + max) that are in the files; *count_out of them (0:
 * none written there yet). LEAT_E_NOTFOUND: queue has no files. */
int lt_cq_view_read(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, struct lt_cq_entry *out, size_t max,
    size_t *count_out) LT_MUST_CHECK;
/* Entries [first, first + count) of this queue are in fd (taken) until they are
 * in the files; fd -1: all told before are. Replaces what was told before. */
int lt_cq_view_lent(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t first, size_t count, int fd) LT_MUST_CHECK;
/* Smallest offset whose entry points at or above log_min (binary search; max
 * if all are older). max: as told by the store (LT_OP_S_QUEUE_SYNC). */
int lt_cq_view_min(struct lt_cq_view *view, const char *topic, uint32_t queue,
    uint64_t log_min, int64_t max, int64_t *min_out) LT_MUST_CHECK;
/* Queue of a topic directory exist? Lists topics and queues found on disk. */
int lt_cq_view_each(struct lt_cq_view *view,
    int (*each)(const char *topic, uint32_t queue, void *user),
    void *user) LT_MUST_CHECK;

#endif
