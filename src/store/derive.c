/*
 * derive.c - where a pass over the log begins and what queues begin with, and
 * the sweep of the queue files afterwards. Recovery does this at every start,
 * rebuild from nothing.
 *
 * A snapshot that cannot be relied on is removed before anything else, so that
 * it cannot seem right again once the log has grown beyond its offset.
 */
#include "config.h"
#include "store/derive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/name.h"
#include "store/scan.h"
#include "store/snapshot.h"

#define DIRECTORY "consumequeue"
#define FILE_BYTES ((uint64_t)LT_CQ_FILE_ENTRIES * LT_CQ_ENTRY_BYTES)
#define PATH_BYTES 320
#define BLOCK_BYTES (LT_CQ_ENTRY_BYTES * 4096)

/* --- what queues begin with ----------------------------------------------- */

/* Where the last record below the snapshot of a system topic is. NOTFOUND: it
 * has none; CORRUPT: its entry is not there. */
static int
find_last(int store_dir, const struct lt_snapshot *snap, const char *topic,
    uint64_t *at_out)
{
	struct lt_cq_entry entry;
	struct lt_cq_view *view;
	size_t count;
	int64_t next = 0;
	int rc;

	for (size_t i = 0; i < snap->queue_count; i++) {
		const struct lt_snapshot_queue *q = &snap->queues[i];

		if (q->queue == 0 && q->topic_bytes == strlen(topic) &&
		    memcmp(q->topic, topic, q->topic_bytes) == 0)
			next = q->next;
	}
	if (next == 0)
		return LEAT_E_NOTFOUND;
	rc = lt_cq_view_open(store_dir, &view);
	if (rc != LEAT_OK)
		return rc;
	rc = lt_cq_view_read(view, topic, 0, next - 1, &entry, 1, &count);
	lt_cq_view_close(view);
	if (rc == LEAT_E_NOTFOUND ||
	    (rc == LEAT_OK &&
		(count == 0 || entry.bytes == 0 || entry.log_offset < 0 ||
		    (uint64_t)entry.log_offset >= snap->log_offset)))
		rc = LEAT_E_CORRUPT;
	if (rc == LEAT_OK)
		*at_out = (uint64_t)entry.log_offset;
	return rc;
}

/* Offset behind the last entry of a file that points below log_min; -1: the
 * file has none. */
static int
last_old_entry(int dir, const char *path, uint64_t base, uint64_t log_min,
    uint8_t *block, int64_t *next_out)
{
	uint64_t at = FILE_BYTES;
	struct stat st;
	int rc = LEAT_OK;
	int fd = lt_sys.openat(dir, path, O_RDONLY | O_CLOEXEC, 0);

	*next_out = -1;
	if (fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.fstat(fd, &st) != 0)
		rc = lt_sys_status(errno);
	else if ((uint64_t)st.st_size < at) /* cut short */
		at = (uint64_t)st.st_size / LT_CQ_ENTRY_BYTES *
		     LT_CQ_ENTRY_BYTES;
	while (rc == LEAT_OK && *next_out < 0 && at > 0) {
		size_t n =
		    at % BLOCK_BYTES == 0 ? BLOCK_BYTES : at % BLOCK_BYTES;

		at -= n;
		rc = lt_sys_read_full(fd, block, n, at);
		for (size_t i = n; rc == LEAT_OK && i > 0;) {
			int64_t offset;
			uint32_t bytes;

			i -= LT_CQ_ENTRY_BYTES;
			offset = (int64_t)lt_bytes_get64(block + i);
			bytes = lt_bytes_get32(block + i + 8);
			if (bytes == 0 || bytes == 0x7fffffff || offset < 0 ||
			    (uint64_t)offset + bytes > log_min)
				continue;
			*next_out =
			    (int64_t)((base + at + i) / LT_CQ_ENTRY_BYTES) + 1;
			break;
		}
	}
	lt_sys.close(fd);
	return rc;
}

static int
descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Bases of a queue's files, the last one first. */
static int
list_files(int dir, const char *path, uint64_t **out, size_t *count_out)
{
	uint64_t *list = NULL;
	size_t count = 0, capacity = 0;
	struct dirent *e;
	int rc = LEAT_OK;
	DIR *d;
	int fd =
	    lt_sys.openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	*out = NULL;
	*count_out = 0;
	if (fd < 0)
		return lt_sys_status(errno);
	d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	while (rc == LEAT_OK && (e = readdir(d)) != NULL) {
		uint64_t base;

		if (lt_bytes_digits(e->d_name, 20, &base) != 0 ||
		    base % FILE_BYTES != 0)
			continue;
		rc = lt_mem_grow(
		    (void **)&list, &capacity, count, sizeof(*list));
		if (rc == LEAT_OK)
			list[count++] = base;
	}
	closedir(d);
	if (count > 1)
		qsort(list, count, sizeof(*list), descending);
	*out = list;
	*count_out = count;
	return rc;
}

struct disk_pass {
	int dir; /* of consumequeue/ */
	struct lt_cq_set *queues;
	uint64_t log_min;
	uint8_t *block;
};

/* A queue all of whose messages are gone keeps its numbering: without a
 * snapshot its own files are the only ones who know. */
static int
seed_from_files(const char *topic, uint32_t queue, void *user)
{
	struct disk_pass *p = user;
	char path[PATH_BYTES];
	uint64_t *files;
	size_t count;
	int64_t next = -1;
	struct lt_cq *cq;
	int n = snprintf(path, sizeof(path), "%s/%u", topic, queue);
	int rc = list_files(p->dir, path, &files, &count);

	for (size_t i = 0; rc == LEAT_OK && next < 0 && i < count; i++) {
		snprintf(path + n, sizeof(path) - (size_t)n, "/%020" PRIu64,
		    files[i]);
		rc = last_old_entry(
		    p->dir, path, files[i], p->log_min, p->block, &next);
	}
	lt_mem_free(files);
	if (rc != LEAT_OK || next < 0)
		return rc;
	rc = lt_cq_get(p->queues, topic, strlen(topic), queue, &cq);
	if (rc == LEAT_E_NAME || rc == LEAT_E_QUEUE)
		return LEAT_OK;
	if (rc == LEAT_OK)
		cq->next = cq->flushed = next;
	return rc;
}

/* --- the sweep ------------------------------------------------------------ */

/* Zero what is not zero from `at` on. */
static int
wipe(int fd, uint64_t at, uint8_t *block)
{
	static const uint8_t zeroes[4096];

	while (at < FILE_BYTES) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		ssize_t got;

		if (data < 0 && errno == ENXIO)
			break;
		if (data > 0 && (uint64_t)data > at)
			at = (uint64_t)data;
		got = lt_sys.pread(fd, block, sizeof(zeroes), (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return lt_sys_status(errno);
		if (got == 0)
			break;
		if (memcmp(block, zeroes, (size_t)got) != 0) {
			int rc = lt_sys_write_full(fd, zeroes, (size_t)got, at);

			if (rc != LEAT_OK)
				return rc;
		}
		at += (size_t)got;
	}
	return LEAT_OK;
}

static int
remove_queue(int dir, const char *topic, uint32_t queue)
{
	char path[PATH_BYTES];
	uint64_t *files;
	size_t count;
	int n = snprintf(path, sizeof(path), "%s/%u", topic, queue);
	int rc = list_files(dir, path, &files, &count);

	for (size_t i = 0; rc == LEAT_OK && i < count; i++) {
		snprintf(path + n, sizeof(path) - (size_t)n, "/%020" PRIu64,
		    files[i]);
		if (lt_sys.unlinkat(dir, path, 0) != 0 && errno != ENOENT)
			rc = lt_sys_status(errno);
	}
	lt_mem_free(files);
	path[n] = '\0';
	/* Not empty: then it stays. */
	if (rc == LEAT_OK && lt_sys.unlinkat(dir, path, AT_REMOVEDIR) == 0)
		(void)lt_sys.unlinkat(dir, topic, AT_REMOVEDIR);
	return rc;
}

static int
sweep_queue(const char *topic, uint32_t queue, void *user)
{
	struct disk_pass *p = user;
	struct lt_cq *cq = lt_cq_find(p->queues, topic, strlen(topic), queue);
	uint64_t end = cq == NULL ? 0 : (uint64_t)cq->next * LT_CQ_ENTRY_BYTES;
	uint64_t base = end / FILE_BYTES * FILE_BYTES;
	char path[PATH_BYTES];
	int n, fd;

	if (end == 0 && lt_cq_is_name(topic, strlen(topic)) &&
	    !lt_cq_has_topic(p->queues, topic))
		return lt_cq_drop_topic(p->queues, topic);
	if (end == 0)
		return remove_queue(p->dir, topic, queue);
	n = snprintf(path, sizeof(path), "%s/%u/", topic, queue);
	if (base < end) {
		int rc;

		snprintf(
		    path + n, sizeof(path) - (size_t)n, "%020" PRIu64, base);
		fd = lt_sys.openat(p->dir, path, O_RDWR | O_CLOEXEC, 0);
		if (fd < 0 && errno != ENOENT)
			return lt_sys_status(errno);
		rc = fd < 0 ? LEAT_OK : wipe(fd, end - base, p->block);
		if (fd >= 0)
			lt_sys.close(fd);
		if (rc != LEAT_OK)
			return rc;
		base += FILE_BYTES;
	}
	for (;; base += FILE_BYTES) {
		snprintf(
		    path + n, sizeof(path) - (size_t)n, "%020" PRIu64, base);
		if (lt_sys.unlinkat(p->dir, path, 0) != 0)
			return errno == ENOENT ? LEAT_OK : lt_sys_status(errno);
	}
}

/* Call `each` for every queue that has files. */
static int
each_on_disk(int store_dir, struct lt_cq_set *queues, uint64_t log_min,
    int (*each)(const char *topic, uint32_t queue, void *user))
{
	struct disk_pass p = {.queues = queues, .log_min = log_min};
	struct lt_cq_view *view;
	int rc;

	p.dir = lt_sys.openat(
	    store_dir, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (p.dir < 0)
		return errno == ENOENT ? LEAT_OK : lt_sys_status(errno);
	p.block = lt_mem_alloc(BLOCK_BYTES);
	rc = p.block == NULL ? LEAT_E_NOMEM : lt_cq_view_open(store_dir, &view);
	if (rc == LEAT_OK) {
		rc = lt_cq_view_each(view, each, &p);
		lt_cq_view_close(view);
	}
	lt_mem_free(p.block);
	lt_sys.close(p.dir);
	return rc;
}

/* --- the beginning -----------------------------------------------------------
 */

/* A snapshot is of use if it is of this log, and the queues from which the
 * queue manager reads its state have what it says: else all are made again. */
static int
check_snapshot(
    int store_dir, struct lt_reader *r, const struct lt_snapshot *snap)
{
	static const char *const topics[] = {
	    LT_NAME_CONFIG_TOPIC, LT_NAME_PROGRESS_TOPIC};
	int rc = lt_snapshot_match(snap, r);
	uint64_t at;

	for (size_t i = 0; rc == LEAT_OK && i < LT_COUNT(topics); i++) {
		rc = find_last(store_dir, snap, topics[i], &at);
		if (rc == LEAT_E_CORRUPT)
			lt_log_warn("queue.cut", "topic=%s", topics[i]);
		if (rc == LEAT_E_NOTFOUND)
			rc = LEAT_OK;
	}
	return rc;
}

/* Where to begin, and what is known there. */
static int
choose(int store_dir, struct lt_reader *r, struct lt_snapshot *snap,
    uint64_t *from_out)
{
	uint64_t min = lt_reader_min(r);
	int rc = lt_snapshot_read(store_dir, snap);

	*from_out = min;
	if (rc == LEAT_E_NOTFOUND)
		return LEAT_OK;
	if (rc == LEAT_OK) {
		/* Retention went beyond it: what it says still counts. */
		if (snap->log_offset < min)
			return LEAT_OK;
		rc = check_snapshot(store_dir, r, snap);
		if (rc == LEAT_OK) {
			*from_out = snap->log_offset;
			return LEAT_OK;
		}
	}
	if (rc != LEAT_E_CORRUPT && rc != LEAT_E_VERSION && rc != LEAT_E_END)
		return rc;
	lt_log_warn("snapshot.distrusted",
	    "why=%s offset=%" PRIu64 " action=full-scan",
	    rc == LEAT_E_END	   ? "beyond-end"
	    : rc == LEAT_E_VERSION ? "version"
				   : "damaged-or-foreign",
	    snap->log_offset);
	lt_snapshot_fini(snap);
	if (lt_sys.unlinkat(store_dir, LT_SNAPSHOT_NAME, 0) != 0 &&
	    errno != ENOENT)
		return lt_sys_status(errno);
	return lt_sys.fsync(store_dir) == 0 ? LEAT_OK : lt_sys_status(errno);
}

int
lt_derive_seed(int store_dir, struct lt_cq_set *queues, uint64_t log_min)
{
	if (log_min == 0)
		return LEAT_OK;
	return each_on_disk(store_dir, queues, log_min, seed_from_files);
}

int
lt_derive_all(const struct lt_derive_config *c, struct lt_recovered *out)
{
	struct lt_snapshot snap = {0};
	struct lt_scan_config scan = {
	    .reader = c->reader,
	    .queues = c->queues,
	    .progress = c->progress,
	    .report = c->report,
	    .user = c->user,
	};
	uint64_t last_config;
	int rc = choose(c->store_dir, c->reader, &snap, &scan.from);

	if (rc == LEAT_OK && snap.buf == NULL)
		rc = lt_derive_seed(c->store_dir, c->queues, scan.from);
	if (rc == LEAT_OK && snap.buf != NULL) {
		scan.snap = &snap;
		rc = find_last(
		    c->store_dir, &snap, LT_NAME_CONFIG_TOPIC, &last_config);
		if (rc == LEAT_OK)
			scan.last_config = &last_config;
		else if (rc == LEAT_E_NOTFOUND || rc == LEAT_E_CORRUPT)
			rc = LEAT_OK;
	}
	if (rc == LEAT_OK)
		rc = lt_scan_run(&scan, out);
	lt_snapshot_fini(&snap);
	return rc;
}

int
lt_derive_sweep(int store_dir, struct lt_cq_set *queues)
{
	return each_on_disk(store_dir, queues, 0, sweep_queue);
}
