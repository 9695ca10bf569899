/*
 * consumequeue.c - the writer of the consume queues.
 *
 * A queue is 64 bytes of memory while nothing is written to it. Its entries
 * collect in a buffer that begins small, doubles while it fills between two
 * flushes, and goes when a flush finds the queue idle; all buffers together
 * stay near BUF_TOTAL. A flush is one pwrite for each file it reaches into. On a full disk the buffer grows further
 * (PENDING_MAX), since what it holds is in the log already and must be served.
 *
 * Files are opened for a write through SLOTS descriptors, least recently used
 * first out. A file is made sparse and whole (RocketMQ maps it). Which files
 * were written since the last sync is known for up to SYNC_FILES of them; they
 * are then in the slots for certain. With more, one syncfs does it: it reports
 * failed writes of closed files too, as its descriptor is the set's own.
 *
 * One thread.
 */
#include "config.h"
#include "store/consumequeue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/limits.h"

#define DIRECTORY "consumequeue"
#define FILE_BYTES ((uint64_t)LT_CQ_FILE_ENTRIES * LT_CQ_ENTRY_BYTES)
#define BUF_FIRST 64
#define BUF_MAX 4096
#define BUF_SCARCE 8
#define BUF_TOTAL (32u << 20) /* bytes of all buffers; then they stay small */
#define PENDING_MAX (1u << 20) /* entries of a queue while the disk is full */
#define GAP_MAX LT_CQ_FILE_ENTRIES
#define SLOTS 256
#define SYNC_FILES 16
#define PATH_BYTES 320

_Static_assert(sizeof(struct lt_cq) <= 96, "an idle queue is small");

struct lt_cq_topic {
	struct lt_cq_topic *chain; /* of its bucket */
	struct lt_cq **queues;	   /* by number; NULL: not made */
	uint32_t capacity;
	uint32_t hash;
	uint32_t name_bytes;
	char name[]; /* NUL-terminated */
};

/* An open file. */
struct slot {
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
	struct lt_cq *dirty;
	size_t touched; /* files, each counted once while its slot lives */
	size_t buf_bytes;
	uint64_t clock;
	struct slot slots[SLOTS];
};

/* --- registry ------------------------------------------------------------------ */

int
lt_cq_set_open(int store_dir, struct lt_cq_set **out)
{
	struct lt_cq_set *set = lt_mem_alloc(sizeof *set);

	if (set == NULL)
		return LEAT_E_NOMEM;
	set->dir = -1;
	/* A predecessor may have left anything unsynced: first a syncfs. */
	set->touched = SYNC_FILES + 1;
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
close_slot(struct slot *s)
{
	if (s->cq == NULL)
		return;
	lt_sys.close(s->fd);
	s->cq = NULL;
}

static void
free_topic(struct lt_cq_topic *t)
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
	for (size_t i = 0; i < SLOTS; i++)
		close_slot(&set->slots[i]);
	for (size_t i = 0; set->buckets != NULL && i < set->bucket_count; i++)
		while (set->buckets[i] != NULL) {
			struct lt_cq_topic *t = set->buckets[i];
			set->buckets[i] = t->chain;
			free_topic(t);
		}
	if (set->dir >= 0)
		lt_sys.close(set->dir);
	lt_mem_free(set->buckets);
	lt_mem_free(set);
}

static struct lt_cq_topic *
find_topic(const struct lt_cq_set *set, const char *name, size_t bytes,
    uint32_t hash)
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
make_topic(
    struct lt_cq_set *set, const char *name, size_t bytes, uint32_t hash)
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
		memset(p + t->capacity, 0,
		    (capacity - t->capacity) * sizeof *p);
		t->queues = p;
		t->capacity = capacity;
	}
	struct lt_cq *cq = lt_mem_alloc(sizeof *cq);
	if (cq == NULL)
		return LEAT_E_NOMEM;
	cq->queue = queue;
	cq->topic = t;
	t->queues[queue] = cq;
	set->queue_count++;
	*out = cq;
	return LEAT_OK;
}

int
lt_cq_get(struct lt_cq_set *set, const char *topic, size_t topic_bytes,
    uint32_t queue, struct lt_cq **out)
{
	/* A name is a directory; the log may be a stranger's. */
	if (topic_bytes == 0 || topic_bytes >= LT_NAME_FIELD ||
	    topic[0] == '.' || memchr(topic, '/', topic_bytes) != NULL ||
	    memchr(topic, 0, topic_bytes) != NULL)
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

/* --- files ------------------------------------------------------------------------ */

static void
file_path(char out[PATH_BYTES], const struct lt_cq *cq, uint64_t file)
{
	snprintf(out, PATH_BYTES, "%s/%u/%020" PRIu64, cq->topic->name,
	    cq->queue, file * FILE_BYTES);
}

static int
io_error(const char *what, const struct lt_cq *cq, int err)
{
	int rc = lt_sys_status(err);

	if (rc == LEAT_E_NOSPACE || rc == LEAT_E_NOMEM)
		return rc;
	lt_log_error("queue.file", "call=%s topic=%s queue=%u errno=%d", what,
	    cq->topic->name, cq->queue, err);
	return LEAT_E_IO;
}

/* Open or make one file; it has its full size when this returns. */
static int
open_file(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file,
    int *fd_out, int *created_out)
{
	char path[PATH_BYTES], dirs[PATH_BYTES];
	struct stat st;

	file_path(path, cq, file);
	*created_out = 0;
	int fd = lt_sys.openat(set->dir, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0 && errno == ENOENT) {
		snprintf(dirs, sizeof dirs, "%s/%u", cq->topic->name,
		    cq->queue);
		int rc = lt_sys_mkdirs(set->dir, dirs);
		if (rc != LEAT_OK)
			return io_error("mkdir", cq, errno);
		fd = lt_sys.openat(
		    set->dir, path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
		*created_out = 1;
	}
	if (fd < 0)
		return io_error("open", cq, errno);
	if (lt_sys.fstat(fd, &st) != 0 ||
	    ((uint64_t)st.st_size < FILE_BYTES &&
		lt_sys.ftruncate(fd, (off_t)FILE_BYTES) != 0)) {
		int err = errno;
		lt_sys.close(fd);
		return io_error("ftruncate", cq, err);
	}
	*fd_out = fd;
	return LEAT_OK;
}

/* The open file, from its slot or into the one used longest ago. */
static int
get_file(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file,
    struct slot **out)
{
	struct slot *victim = &set->slots[0];
	int fd, created;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &set->slots[i];
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
	*victim = (struct slot){.cq = cq,
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
	struct slot *s;

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
		rc = lt_sys_write_full(s->fd, p, n * LT_CQ_ENTRY_BYTES,
		    at * LT_CQ_ENTRY_BYTES);
		if (rc != LEAT_OK)
			return io_error("pwrite", cq, errno);
		offset += (int64_t)n;
		p += n * LT_CQ_ENTRY_BYTES;
		count -= n;
	}
	return LEAT_OK;
}

/* --- entries ------------------------------------------------------------------------ */

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
			rc =
			    lt_sys_status(lt_failpoint(LT_FP_STORE_CQ_FLUSH));
	}
	if (rc == LEAT_OK)
		rc = write_entries(set, cq, cq->flushed + (int64_t)half,
		    cq->buf + half * LT_CQ_ENTRY_BYTES, count - half);
	if (rc == LEAT_OK)
		cq->flushed = cq->next;
	return rc;
}

static int
resize(struct lt_cq_set *set, struct lt_cq *cq, uint32_t entries)
{
	uint8_t *p =
	    lt_mem_resize(cq->buf, (size_t)entries * LT_CQ_ENTRY_BYTES);

	if (p == NULL)
		return LEAT_E_NOMEM;
	set->buf_bytes +=
	    (size_t)(entries - cq->buf_entries) * LT_CQ_ENTRY_BYTES;
	cq->buf = p;
	cq->buf_entries = entries;
	return LEAT_OK;
}

static void
free_buffer(struct lt_cq_set *set, struct lt_cq *cq)
{
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
		return resize(set, cq, scarce ? BUF_SCARCE : BUF_FIRST);
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
lt_cq_append(struct lt_cq_set *set, struct lt_cq *cq,
    const struct lt_cq_entry *entry)
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

int
lt_cq_flush_all(struct lt_cq_set *set)
{
	struct lt_cq **link = &set->dirty;
	struct lt_cq *cq;

	while ((cq = *link) != NULL) {
		size_t count = buffered(cq);
		int rc = flush(set, cq);
		if (rc != LEAT_OK)
			return rc;
		if (count > 0 && cq->buf_entries > BUF_FIRST &&
		    cq->buf_entries <= BUF_MAX &&
		    set->buf_bytes < BUF_TOTAL / 4) {
			link = &cq->dirty_next; /* busy: keeps its buffer */
			continue;
		}
		free_buffer(set, cq);
		cq->is_dirty = 0;
		*link = cq->dirty_next;
		cq->dirty_next = NULL;
	}
	return LEAT_OK;
}

/* fsync the directory at a path below consumequeue/. */
static int
sync_dir(struct lt_cq_set *set, const struct lt_cq *cq, const char *path)
{
	int fd = lt_sys.openat(
	    set->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return io_error("open", cq, errno);
	int rc = lt_sys.fsync(fd) == 0 ? LEAT_OK : io_error("fsync", cq, EIO);
	lt_sys.close(fd);
	return rc;
}

static int
sync_slot(struct lt_cq_set *set, struct slot *s)
{
	char path[PATH_BYTES];

	if (lt_sys.fdatasync(s->fd) != 0)
		return io_error("fdatasync", s->cq, EIO);
	if (s->created) {
		snprintf(path, sizeof path, "%s/%u", s->cq->topic->name,
		    s->cq->queue);
		int rc = sync_dir(set, s->cq, path);
		if (rc == LEAT_OK)
			rc = sync_dir(set, s->cq, s->cq->topic->name);
		if (rc == LEAT_OK)
			rc = sync_dir(set, s->cq, ".");
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

int
lt_cq_sync_all(struct lt_cq_set *set)
{
	int all = set->touched > SYNC_FILES;

	if (all && lt_sys.syncfs(set->dir) != 0) {
		lt_log_error("queue.file", "call=syncfs errno=%d", errno);
		return LEAT_E_IO;
	}
	for (size_t i = 0; i < SLOTS && set->touched > 0; i++) {
		struct slot *s = &set->slots[i];
		if (s->cq == NULL || !s->touched)
			continue;
		int rc = all ? LEAT_OK : sync_slot(set, s);
		if (rc != LEAT_OK)
			return rc;
		s->touched = s->created = 0;
	}
	set->touched = 0;
	return LEAT_OK;
}

/* --- deleting ------------------------------------------------------------------------- */

static void
close_file(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t file)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (set->slots[i].cq == cq &&
		    (file == UINT64_MAX || set->slots[i].file == file))
			close_slot(&set->slots[i]);
}

/* Log offset of the last entry there is in a file; -1: none. */
static int
last_entry(int fd, int64_t *log_offset_out)
{
	uint8_t p[512 * LT_CQ_ENTRY_BYTES];
	uint64_t at = FILE_BYTES;

	*log_offset_out = -1;
	while (at > 0) {
		size_t n = at < sizeof p ? at : sizeof p;
		at -= n;
		int rc = lt_sys_read_full(fd, p, n, at);
		if (rc == LEAT_E_END)
			continue; /* shorter than it should be */
		if (rc != LEAT_OK)
			return rc;
		for (; n > 0; n -= LT_CQ_ENTRY_BYTES) {
			const uint8_t *e = p + n - LT_CQ_ENTRY_BYTES;
			if (lt_bytes_get32(e + 8) == 0)
				continue;
			*log_offset_out = (int64_t)lt_bytes_get64(e);
			return LEAT_OK;
		}
	}
	return LEAT_OK;
}

/* Delete one file if all it points to is gone. 1: deleted, 0: it stays. */
static int
trim_file(struct lt_cq_set *set, struct lt_cq *cq, uint64_t file,
    uint64_t log_min)
{
	char path[PATH_BYTES];
	int64_t last;

	file_path(path, cq, file);
	int fd = lt_sys.openat(set->dir, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return io_error("open", cq, errno);
	int rc = last_entry(fd, &last);
	lt_sys.close(fd);
	if (rc != LEAT_OK)
		return io_error("pread", cq, EIO);
	if (last >= 0 && (uint64_t)last >= log_min)
		return 0;
	close_file(set, cq, file);
	if (lt_sys.unlinkat(set->dir, path, 0) != 0 && errno != ENOENT)
		return io_error("unlink", cq, errno);
	return 1;
}

/* Numbers of the files a queue has below `limit`, ascending. */
static int
list_files(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t limit,
    uint64_t **out, size_t *count_out)
{
	char path[PATH_BYTES];
	uint64_t *list = NULL;
	size_t capacity = 0;
	int rc = LEAT_OK;

	*count_out = 0;
	snprintf(path, sizeof path, "%s/%u", cq->topic->name, cq->queue);
	int fd = lt_sys.openat(
	    set->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno == ENOENT ? LEAT_OK : io_error("open", cq, errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;) {
		uint64_t at = strtoull(e->d_name, NULL, 10);
		if (strspn(e->d_name, "0123456789") != 20 ||
		    at % FILE_BYTES != 0 || at / FILE_BYTES >= limit)
			continue;
		rc = lt_mem_grow(
		    (void **)&list, &capacity, *count_out, sizeof *list);
		if (rc != LEAT_OK)
			break;
		size_t i = (*count_out)++;
		for (; i > 0 && list[i - 1] > at / FILE_BYTES; i--)
			list[i] = list[i - 1];
		list[i] = at / FILE_BYTES;
	}
	closedir(d);
	*out = list;
	return rc;
}

static int
trim_queue(struct lt_cq_set *set, struct lt_cq *cq, uint64_t log_min)
{
	uint64_t *files = NULL;
	size_t count = 0;
	int rc;

	if (cq->next <= LT_CQ_FILE_ENTRIES)
		return LEAT_OK; /* has one file at most */
	/* Only files that are written to their end, and never the last. */
	uint64_t limit = (uint64_t)(cq->next - 1) / LT_CQ_FILE_ENTRIES;
	if (limit > (uint64_t)cq->flushed / LT_CQ_FILE_ENTRIES)
		limit = (uint64_t)cq->flushed / LT_CQ_FILE_ENTRIES;
	rc = list_files(set, cq, limit, &files, &count);
	int gone = 1;
	for (size_t i = 0; rc == LEAT_OK && gone == 1 && i < count; i++)
		gone = trim_file(set, cq, files[i], log_min);
	lt_mem_free(files);
	return rc != LEAT_OK ? rc : gone < 0 ? gone : LEAT_OK;
}

struct trim {
	struct lt_cq_set *set;
	uint64_t log_min;
};

static int
trim_each(struct lt_cq *cq, void *user)
{
	struct trim *t = user;

	return trim_queue(t->set, cq, t->log_min);
}

int
lt_cq_trim(struct lt_cq_set *set, uint64_t log_min)
{
	struct trim t = {.set = set, .log_min = log_min};

	return lt_cq_each(set, trim_each, &t);
}

/* Remove a directory and what is in it, `depth` levels down. */
static int
remove_tree(int dir, const char *name, int depth)
{
	int rc = LEAT_OK;
	int fd =
	    lt_sys.openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return errno == ENOENT ? LEAT_OK : lt_sys_status(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (depth > 0)
			rc = remove_tree(fd, e->d_name, depth - 1);
		else if (lt_sys.unlinkat(fd, e->d_name, 0) != 0 &&
			 errno != ENOENT)
			rc = lt_sys_status(errno);
	}
	closedir(d);
	if (rc == LEAT_OK && lt_sys.unlinkat(dir, name, AT_REMOVEDIR) != 0 &&
	    errno != ENOENT)
		rc = lt_sys_status(errno);
	return rc;
}

int
lt_cq_drop_topic(struct lt_cq_set *set, const char *topic)
{
	size_t bytes = strlen(topic);
	uint32_t hash = (uint32_t)lt_hash_bytes(topic, bytes);
	struct lt_cq_topic *t = find_topic(set, topic, bytes, hash);

	if (bytes == 0 || topic[0] == '.' || strchr(topic, '/') != NULL)
		return LEAT_E_NAME;
	if (t != NULL) {
		struct lt_cq **link = &set->dirty;
		while (*link != NULL)
			if ((*link)->topic == t)
				*link = (*link)->dirty_next;
			else
				link = &(*link)->dirty_next;
		for (uint32_t i = 0; i < t->capacity; i++) {
			if (t->queues[i] == NULL)
				continue;
			LT_ASSERT(t->queues[i]->user == NULL);
			close_file(set, t->queues[i], UINT64_MAX);
			free_buffer(set, t->queues[i]);
			set->queue_count--;
		}
		struct lt_cq_topic **at =
		    &set->buckets[hash & (set->bucket_count - 1)];
		while (*at != t)
			at = &(*at)->chain;
		*at = t->chain;
		set->topic_count--;
		free_topic(t);
	}
	return remove_tree(set->dir, topic, 1);
}
