/*
 * keyindex.h - which records carry a key or an id: RocketMQ's index files,
 * DIR/store/index/<yyyyMMddHHmmssSSS>, made lazily by the queue manager alone.
 *
 * Derived: nothing is indexed until the caller steps, all of it can be deleted
 * and made again from the log. An answer is a candidate: only a 31-bit hash of
 * "topic#key" is stored, so the caller reads each record and compares. One
 * thread. Log offsets come back oldest first, each once.
 */
#ifndef LT_QUEUE_KEYINDEX_H
#define LT_QUEUE_KEYINDEX_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

struct lt_keyindex;
struct lt_reader;

/* store_dir: descriptor of DIR/store, borrowed for the life of the index.
 * Nothing is read before the first step or find. */
int lt_keyindex_open(int store_dir, struct lt_keyindex **out) LT_MUST_CHECK;
/* Writes a checkpoint; without it (a crash) only the part since the last one
 * is indexed again. NULL is allowed. */
void lt_keyindex_close(struct lt_keyindex *ix);
/* Log offset below which everything is indexed; 0 before the first step. */
uint64_t lt_keyindex_end(const struct lt_keyindex *ix);
/* Index the next part of the log, about budget_bytes of it, at most up to
 * log_end (a record's end). The first call reads what is there: files not
 * finished by a clean close go back to the last checkpoint. LEAT_OK: log_end is
 * reached; AGAIN: call again; NOSPACE, NOMEM, IO: nothing is lost, call again
 * later. */
int lt_keyindex_step(struct lt_keyindex *ix, struct lt_reader *reader,
    uint64_t budget_bytes, uint64_t log_end) LT_MUST_CHECK;
/* The newest `max` records of `topic` that may carry `key` (a UNIQ_KEY or one
 * word of KEYS) with store time in [begin_ms, end_ms], to the second.
 * *count_out may be 0. */
int lt_keyindex_find(struct lt_keyindex *ix, const char *topic,
    size_t topic_bytes, const char *key, size_t key_bytes, int64_t begin_ms,
    int64_t end_ms, uint64_t *log_offsets, size_t max,
    size_t *count_out) LT_MUST_CHECK;
/* The same for an id in whatever topic: next_topic gives one name after the
 * other (NUL-terminated, lent until the next call), then NULL. */
int lt_keyindex_find_by_id(struct lt_keyindex *ix, const char *id,
    size_t id_bytes, const char *(*next_topic)(void *user), void *user,
    uint64_t *log_offsets, size_t max, size_t *count_out) LT_MUST_CHECK;
/* Entries of a file, at most 19,999,999; tests make it small. */
extern uint32_t lt_keyindex_file_entries;
/* Delete files that only name records below log_min; the last file stays. */
int lt_keyindex_trim(struct lt_keyindex *ix, uint64_t log_min) LT_MUST_CHECK;

#endif
