/*
 * consumequeue.c - the writer of the consume queues.
 *
 * A queue is 64 bytes of memory while nothing is written to it. Its entries
 * collect in a buffer that begins small, doubles while it fills between two
 * flushes, and goes when a flush finds the queue idle, or much less busy than
 * it was; all buffers together stay near BUF_TOTAL. A flush is one pwrite for
 * each file it reaches into, and costs the same for one entry as for hundreds:
 * that is why buffers may be many (checkpoint.c waits for them to fill). On
 * a full disk the buffer grows further (PENDING_MAX), since what it holds is in
 * the log already and must be served.
 *
 * Files are opened for a write through a few hundred descriptors, least
 * recently used first out. A file is made sparse and whole (RocketMQ maps it).
 * Which files were written since the last sync is known for up to
 * LT_CQ_SYNC_FILES of them; they are then in the slots for certain. With more,
 * one syncfs does it: it reports failed writes of closed files too, as its
 * descriptor is the set's own.
 *
 * One thread.
 */
#include "config.h"
#include "store/consumequeue.h"
#include "store/cqset.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/limits.h"

#define DIRECTORY "consumequeue"
#define BUF_FIRST 4
#define BUF_MAX 4096
#define BUF_TOTAL (128u << 20) /* bytes of all; then they stay small */
#define PENDING_MAX (1u << 20) /* entries of a queue while the disk is full */
#define GAP_MAX LT_CQ_FILE_ENTRIES

_Static_assert(sizeof(struct lt_cq) <= 96, "an idle queue is small");

/* --- registry ---------------------------------------------------------- */

int
lt_cq_set_open(int store_dir, struct lt_cq_set **out)
{
	struct lt_cq_set *set = lt_mem_alloc(sizeof *set);

	if (set == NULL)
		return LEAT_E_NOMEM;
	set->dir = -1;
	/* A predecessor may have left anything unsynced: first a syncfs. */
	set->touched = LT_CQ_SYNC_FILES + 1;
	set->bucket_count = 64;
	set->buckets = lt_mem_array(set->bucket_count, sizeof *set->buckets);
	int rc = set->buckets == NULL ? LEAT_E_NOMEM
				      : lt_sys_mkdirs(store_dir, DIRECTORY);
	if (rc == LEAT_OK) {
		set->dir = lt_sys.openat(store_dir, DIRECTORY,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		rc = set->dir < 0 ? lt_sys_status(errno) : LEAT_OK;
	}
	/* Its own name becomes durable once and for all. */
	if (rc == LEAT_OK && lt_sys.fsync(store_dir) != 0)
		rc = lt_sys_status(errno);
	if (rc != LEAT_OK) {
		lt_cq_set_close(set);
		return rc;
	}
	*out = set;
	return LEAT_OK;
}

static void
close_slot(struct lt_cqset_slot *s)
{
	if (s->cq == NULL)
		return;
	lt_sys.close(s->fd);
	s->cq = NULL;
}

void
lt_cqset_free_topic(struct lt_cq_topic *t)
{
	for (uint32_t i = 0; i < t->capacity; i++) {
		if (t->queues[i] == NULL)
			continue;
		lt_mem_free(t->queues[i]->buf);
		lt_mem_free(t->queues[i]);
	}
	lt_mem_free(t->queues);
	lt_mem_free(t);
}

void
lt_cq_set_close(struct lt_cq_set *set)
{
	if (set == NULL)
		return;
	for (size_t i = 0; i < LT_CQSET_SLOTS; i++)
		close_slot(&set->slots[i]);
	for (size_t i = 0; set->buckets != NULL && i < set->bucket_count; i++)
		while (set->buckets[i] != NULL) {
			struct lt_cq_topic *t = set->buckets[i];
			set->buckets[i] = t->chain;
			lt_cqset_free_topic(t);
		}
	while (set->dropped != NULL) {
		struct lt_cq_topic *t = set->dropped;
		set->dropped = t->chain;
		lt_cqset_free_topic(t);
	}
	if (set->dir >= 0)
		lt_sys.close(set->dir);
	lt_mem_free(set->buckets);
	lt_mem_free(set);
}

static struct lt_cq_topic *
find_topic(
    const struct lt_cq_set *set, const char *name, size_t bytes, uint32_t hash)
{
	struct lt_cq_topic *t = set->buckets[hash & (set->bucket_count - 1)];

	while (t != NULL && (t->hash != hash || t->name_bytes != bytes ||
				memcmp(t->name, name, bytes) != 0))
		t = t->chain;
	return t;
}

/* Twice the buckets; going without is only slower. */
static void
grow_buckets(struct lt_cq_set *set)
{
	size_t count = set->bucket_count * 2;
	struct lt_cq_topic **buckets = lt_mem_array(count, sizeof *buckets);

	if (buckets == NULL)
		return;
	for (size_t i = 0; i < set->bucket_count; i++)
		while (set->buckets[i] != NULL) {
			struct lt_cq_topic *t = set->buckets[i];
			set->buckets[i] = t->chain;
			t->chain = buckets[t->hash & (count - 1)];
			buckets[t->hash & (count - 1)] = t;
		}
	lt_mem_free(set->buckets);
	set->buckets = buckets;
	set->bucket_count = count;
}

static struct lt_cq_topic *
make_topic(struct lt_cq_set *set, const char *name, size_t bytes, uint32_t hash)
{
	struct lt_cq_topic *t = lt_mem_alloc(sizeof *t + bytes + 1);

	if (t == NULL)
		return NULL;
	t->hash = hash;
	t->name_bytes = (uint32_t)bytes;
	memcpy(t->name, name, bytes);
	if (set->topic_count >= set->bucket_count)
		grow_buckets(set);
	struct lt_cq_topic **bucket =
	    &set->buckets[hash & (set->bucket_count - 1)];
	t->chain = *bucket;
	*bucket = t;
	set->topic_count++;
	return t;
}

static int
make_queue(struct lt_cq_set *set, struct lt_cq_topic *t, uint32_t queue,
    struct lt_cq **out)
{
	if (queue >= t->capacity) {
		uint32_t capacity = (uint32_t)lt_bytes_pow2(queue + 1);
		struct lt_cq **p =
		    lt_mem_resize(t->queues, capacity * sizeof *p);
		if (p == NULL)
			return LEAT_E_NOMEM;
		memset(
		    p + t->capacity, 0, (capacity - t->capacity) * sizeof *p);
		t->queues = p;
		t->capacity = capacity;
	}
	struct lt_cq *cq = lt_mem_alloc(sizeof *cq);
	if (cq == NULL)
		return LEAT_E_NOMEM;
	cq->queue = queue;
	cq->topic = t;
	t->queues[queue] = cq;
	t->count++;
	set->queue_count++;
	*out = cq;
	return LEAT_OK;
}

int
lt_cq_is_name(const char *topic, size_t topic_bytes)
{
	return topic_bytes > 0 && topic_bytes < LT_NAME_FIELD &&
	       topic[0] != '.' && memchr(topic, '/', topic_bytes) == NULL &&
	       memchr(topic, 0, topic_bytes) == NULL;
}

int
lt_cq_get(struct lt_cq_set *set, const char *topic, size_t topic_bytes,
    uint32_t queue, struct lt_cq **out)
{
	if (!lt_cq_is_name(topic, topic_bytes))
		return LEAT_E_NAME;
	if (queue >= LT_QUEUES_MAX)
		return LEAT_E_QUEUE;
	uint32_t hash = (uint32_t)lt_hash_bytes(topic, topic_bytes);
	struct lt_cq_topic *t = find_topic(set, topic, topic_bytes, hash);
	if (t == NULL)
		t = make_topic(set, topic, topic_bytes, hash);
	if (t == NULL)
		return LEAT_E_NOMEM;
	if (queue < t->capacity && t->queues[queue] != NULL) {
		*out = t->queues[queue];
		return LEAT_OK;
	}
	return make_queue(set, t, queue, out);
}

struct lt_cq *
lt_cq_find(struct lt_cq_set *set, const char *topic, size_t topic_bytes,
    uint32_t queue)
{
	uint32_t hash = (uint32_t)lt_hash_bytes(topic, topic_bytes);
	struct lt_cq_topic *t = find_topic(set, topic, topic_bytes, hash);

	return t == NULL || queue >= t->capacity ? NULL : t->queues[queue];
}

int
lt_cq_has_topic(const struct lt_cq_set *set, const char *topic)
{
	size_t bytes = strlen(topic);

	return find_topic(set, topic, bytes,
		   (uint32_t)lt_hash_bytes(topic, bytes)) != NULL;
}

const char *
lt_cq_topic_name(const struct lt_cq *cq)
{
	return cq->topic->name;
}

int
lt_cq_each(struct lt_cq_set *set, int (*each)(struct lt_cq *cq, void *user),
    void *user)
{
	for (size_t i = 0; i < set->bucket_count; i++)
		for (struct lt_cq_topic *t = set->buckets[i]; t != NULL;
		     t = t->chain)
			for (uint32_t q = 0; q < t->capacity; q++) {
				if (t->queues[q] == NULL)
					continue;
				int rc = each(t->queues[q], user);
				if (rc != 0)
					return rc;
			}
	return 0;
}

size_t
lt_cq_count(const struct lt_cq_set *set)
{
	return set->queue_count;
}

/* --- files ------------------------------------------------------------- */

void
lt_cqset_path(char out[LT_CQSET_PATH], const struct lt_cq *cq, uint64_t file)
{
	snprintf(out, LT_CQSET_PATH, "%s/%u/%020" PRIu64, cq->topic->name,
	    cq->queue, file * LT_CQSET_FILE_BYTES);
}

int
lt_cqset_error(const char *what, const struct lt_cq *cq, int err)
{
	int rc = lt_sys_status(err);

	if (rc == LEAT_E_NOSPACE || rc == LEAT_E_NOMEM)
		return rc;
	lt_log_error("queue.file", "call=%s topic=%s queue=%u errno=%d", what,
	    cq->topic->name, cq->queue, err);
	return LEAT_E_IO;
}

/* Open or make one file; it has its full size when this returns. One that was
 * shorter is new, perhaps from a try that found no space: its name may not be
 * durable. */
static int
open_file(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file,
    int *fd_out, int *created_out)
{
	char path[LT_CQSET_PATH], dirs[LT_CQSET_PATH];
	struct stat st;

	lt_cqset_path(path, cq, file);
	*created_out = 0;
	int fd = lt_sys.openat(set->dir, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0 && errno == ENOENT) {
		snprintf(
		    dirs, sizeof dirs, "%s/%u", cq->topic->name, cq->queue);
		int rc = lt_sys_mkdirs(set->dir, dirs);
		if (rc != LEAT_OK)
			return lt_cqset_error("mkdir", cq, errno);
		fd = lt_sys.openat(
		    set->dir, path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	}
	if (fd < 0)
		return lt_cqset_error("open", cq, errno);
	int rc = lt_sys.fstat(fd, &st);
	if (rc == 0 && (uint64_t)st.st_size < LT_CQSET_FILE_BYTES) {
		*created_out = 1;
		rc = lt_sys_truncate(fd, LT_CQSET_FILE_BYTES);
	}
	if (rc != 0) {
		int err = errno;
		lt_sys.close(fd);
		return lt_cqset_error("ftruncate", cq, err);
	}
	*fd_out = fd;
	return LEAT_OK;
}

/* The open file, from its slot or into the one used longest ago. */
static int
get_file(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file,
    struct lt_cqset_slot **out)
{
	struct lt_cqset_slot *victim = &set->slots[0];
	int fd, created;

	for (size_t i = 0; i < LT_CQSET_SLOTS; i++) {
		struct lt_cqset_slot *s = &set->slots[i];
		if (s->cq == cq && s->file == file) {
			s->used = ++set->clock;
			*out = s;
			return LEAT_OK;
		}
		if (victim->cq != NULL &&
		    (s->cq == NULL || s->used < victim->used))
			victim = s;
	}
	int rc = open_file(set, cq, file, &fd, &created);
	if (rc != LEAT_OK)
		return rc;
	close_slot(victim);
	*victim = (struct lt_cqset_slot){.cq = cq,
	    .file = file,
	    .used = ++set->clock,
	    .fd = fd,
	    .created = created};
	*out = victim;
	return LEAT_OK;
}

/* Write entries [offset, offset + count) from p. */
static int
write_entries(struct lt_cq_set *set, const struct lt_cq *cq, int64_t offset,
    const uint8_t *p, size_t count)
{
	struct lt_cqset_slot *s;

	while (count > 0) {
		uint64_t file = (uint64_t)offset / LT_CQ_FILE_ENTRIES;
		uint64_t at = (uint64_t)offset % LT_CQ_FILE_ENTRIES;
		size_t n = LT_CQ_FILE_ENTRIES - at;
		if (n > count)
			n = count;
		int rc = get_file(set, cq, file, &s);
		if (rc != LEAT_OK)
			return rc;
		if (!s->touched)
			set->touched++;
		s->touched = 1;
		rc = lt_sys_write_full(
		    s->fd, p, n * LT_CQ_ENTRY_BYTES, at * LT_CQ_ENTRY_BYTES);
		if (rc != LEAT_OK)
			return lt_cqset_error("pwrite", cq, errno);
		offset += (int64_t)n;
		p += n * LT_CQ_ENTRY_BYTES;
		count -= n;
	}
	return LEAT_OK;
}

/* --- entries ----------------------------------------------------------- */

static size_t
buffered(const struct lt_cq *cq)
{
	return (size_t)(cq->next - cq->flushed);
}

/* Write what is buffered; the buffer stays. */
static int
flush(struct lt_cq_set *set, struct lt_cq *cq)
{
	size_t count = buffered(cq);
	size_t half = 0;
	int rc = LEAT_OK;

	if (count == 0)
		return LEAT_OK;
	if (LT_UNLIKELY(lt_sys_fp_armed)) {
		half = count / 2;
		rc = write_entries(set, cq, cq->flushed, cq->buf, half);
		if (rc == LEAT_OK)
			rc = lt_sys_status(lt_failpoint(LT_FP_STORE_CQ_FLUSH));
	}
	if (rc == LEAT_OK)
		rc = write_entries(set, cq, cq->flushed + (int64_t)half,
		    cq->buf + half * LT_CQ_ENTRY_BYTES, count - half);
	if (rc == LEAT_OK)
		cq->flushed = cq->next;
	else if (rc == LEAT_E_NOSPACE)
		set->starved = 1;
	return rc;
}

static int
resize(struct lt_cq_set *set, struct lt_cq *cq, uint32_t entries)
{
	uint8_t *p =
	    lt_mem_resize(cq->buf, (size_t)entries * LT_CQ_ENTRY_BYTES);

	if (p == NULL)
		return LEAT_E_NOMEM;
	set->buf_count += cq->buf == NULL;
	set->buf_bytes +=
	    (size_t)(entries - cq->buf_entries) * LT_CQ_ENTRY_BYTES;
	cq->buf = p;
	cq->buf_entries = entries;
	return LEAT_OK;
}

static void
free_buffer(struct lt_cq_set *set, struct lt_cq *cq)
{
	set->buf_count -= cq->buf != NULL;
	set->buf_bytes -= (size_t)cq->buf_entries * LT_CQ_ENTRY_BYTES;
	lt_mem_free(cq->buf);
	cq->buf = NULL;
	cq->buf_entries = 0;
}

/* Room for one more entry in the buffer. */
static int
make_room(struct lt_cq_set *set, struct lt_cq *cq)
{
	int scarce = set->buf_bytes >= BUF_TOTAL;

	if (cq->buf_entries == 0)
		return resize(set, cq, BUF_FIRST);
	if (cq->buf_entries < BUF_MAX && !scarce)
		return resize(set, cq, cq->buf_entries * 2);
	int rc = flush(set, cq);
	if (rc == LEAT_E_NOSPACE && cq->buf_entries < PENDING_MAX)
		rc = resize(set, cq, cq->buf_entries * 2);
	return rc;
}

static void
mark_dirty(struct lt_cq_set *set, struct lt_cq *cq)
{
	if (cq->is_dirty)
		return;
	cq->is_dirty = 1;
	cq->dirty_next = set->dirty;
	set->dirty = cq;
}

static void
encode(uint8_t *p, const struct lt_cq_entry *entry)
{
	lt_bytes_put64(p, (uint64_t)entry->log_offset);
	lt_bytes_put32(p + 8, entry->bytes);
	lt_bytes_put64(p + 12, (uint64_t)entry->tags_code);
}

int
lt_cq_append(
    struct lt_cq_set *set, struct lt_cq *cq, const struct lt_cq_entry *entry)
{
	size_t n = buffered(cq);

	if (LT_UNLIKELY(n == cq->buf_entries)) {
		int rc = make_room(set, cq);
		if (rc != LEAT_OK)
			return rc;
		n = buffered(cq);
	}
	encode(cq->buf + n * LT_CQ_ENTRY_BYTES, entry);
	cq->next++;
	mark_dirty(set, cq);
	return LEAT_OK;
}

/* Let the queue go on at a later offset; what lies between is gone. */
static int
skip_to(struct lt_cq_set *set, struct lt_cq *cq, int64_t offset)
{
	static const struct lt_cq_entry gone;
	int rc = LEAT_OK;

	if (cq->next > 0 && offset - cq->next <= GAP_MAX) {
		/* Files may hold older entries there. */
		while (rc == LEAT_OK && cq->next < offset)
			rc = lt_cq_append(set, cq, &gone);
		return rc;
	}
	rc = flush(set, cq);
	if (rc == LEAT_OK)
		cq->next = cq->flushed = offset;
	return rc;
}

int
lt_cq_put_at(struct lt_cq_set *set, struct lt_cq *cq, int64_t offset,
    const struct lt_cq_entry *entry)
{
	uint8_t bytes[LT_CQ_ENTRY_BYTES];

	if (offset < 0 || offset > INT64_MAX / LT_CQ_ENTRY_BYTES - 1)
		return LEAT_E_INVALID;
	if (offset > cq->next) {
		int rc = skip_to(set, cq, offset);
		if (rc != LEAT_OK)
			return rc;
	}
	if (offset == cq->next)
		return lt_cq_append(set, cq, entry);
	if (offset >= cq->flushed) {
		encode(cq->buf +
			   (size_t)(offset - cq->flushed) * LT_CQ_ENTRY_BYTES,
		    entry);
		return LEAT_OK;
	}
	encode(bytes, entry);
	return write_entries(set, cq, offset, bytes, 1);
}

int
lt_cq_flush(struct lt_cq_set *set, struct lt_cq *cq)
{
	return flush(set, cq);
}

void
lt_cq_flush_begin(struct lt_cq_set *set)
{
	struct lt_cq **end = &set->flushing;

	while (*end != NULL)
		end = &(*end)->dirty_next;
	*end = set->dirty;
	set->dirty = NULL;
}

void
lt_cqset_let_go(struct lt_cq_set *set, struct lt_cq *cq)
{
	free_buffer(set, cq);
	cq->is_dirty = 0;
	cq->dirty_next = NULL;
}

/* A queue as busy as its buffer is large keeps it, and stays dirty. */
static void
rest(struct lt_cq_set *set, struct lt_cq *cq, size_t count)
{
	if (count > cq->buf_entries / 4 && cq->buf_entries > BUF_FIRST &&
	    cq->buf_entries <= BUF_MAX && set->buf_bytes < BUF_TOTAL) {
		cq->dirty_next = set->dirty;
		set->dirty = cq;
		return;
	}
	lt_cqset_let_go(set, cq);
}

int
lt_cq_flush_some(struct lt_cq_set *set, size_t max)
{
	struct lt_cq *cq;

	for (; (cq = set->flushing) != NULL && max > 0; max--) {
		if (LT_UNLIKELY(cq->topic->is_dropped)) {
			set->flushing = cq->dirty_next;
			lt_cqset_let_go(set, cq);
			continue;
		}
		size_t count = buffered(cq);
		int rc = flush(set, cq);
		if (rc != LEAT_OK)
			return rc;
		set->flushing = cq->dirty_next;
		rest(set, cq, count);
	}
	if (set->flushing != NULL)
		return LEAT_E_AGAIN;
	set->starved = 0;
	return LEAT_OK;
}

size_t
lt_cq_buffered(const struct lt_cq_set *set)
{
	return set->buf_count;
}

int
lt_cq_is_starved(const struct lt_cq_set *set)
{
	return set->starved;
}

int
lt_cq_lend(const struct lt_cq *cq, int *fd_out)
{
	int fd = lt_sys.memfd_create("leat-entries", MFD_CLOEXEC);

	if (fd < 0)
		return lt_sys_status(errno);
	int rc =
	    lt_sys_write_full(fd, cq->buf, buffered(cq) * LT_CQ_ENTRY_BYTES, 0);
	if (rc != LEAT_OK)
		lt_sys.close(fd);
	else
		*fd_out = fd;
	return rc;
}

int
lt_cq_flush_all(struct lt_cq_set *set)
{
	lt_cq_flush_begin(set);
	return lt_cq_flush_some(set, SIZE_MAX);
}

/* --- for cqtrim.c and cqdrop.c
 * ------------------------------------------------------ */

void
lt_cqset_close_file(
    struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file)
{
	for (size_t i = 0; i < LT_CQSET_SLOTS; i++)
		if (set->slots[i].cq == cq && set->slots[i].file == file)
			close_slot(&set->slots[i]);
}

void
lt_cqset_drop(struct lt_cq_set *set, const char *topic)
{
	size_t bytes = strlen(topic);
	uint32_t hash = (uint32_t)lt_hash_bytes(topic, bytes);
	struct lt_cq_topic *t = find_topic(set, topic, bytes, hash);

	if (t == NULL)
		return;
	for (size_t i = 0; i < LT_CQSET_SLOTS; i++)
		if (set->slots[i].cq != NULL && set->slots[i].cq->topic == t)
			close_slot(&set->slots[i]);
	struct lt_cq_topic **at = &set->buckets[hash & (set->bucket_count - 1)];
	while (*at != t)
		at = &(*at)->chain;
	*at = t->chain;
	set->topic_count--;
	set->queue_count -= t->count;
	t->is_dropped = 1;
	t->chain = set->dropped;
	set->dropped = t;
}
