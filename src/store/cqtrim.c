/*
 * cqtrim.c - deleting consume queue files whose entries all point to log that
 * is gone.
 *
 * Nothing in memory says which files a queue has. Only a queue with more
 * entries than one file holds can have one to give, so only its directory is
 * looked at: 50,000 short queues cost nothing here. The store's one thread.
 */
#include "config.h"
#include "store/cqset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

/* Log offset of the last entry there is in a file; -1: none. */
static int
last_entry(int fd, int64_t *log_offset_out)
{
	uint8_t p[512 * LT_CQ_ENTRY_BYTES];
	uint64_t at = LT_CQSET_FILE_BYTES;

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
trim_file(
    struct lt_cq_set *set, struct lt_cq *cq, uint64_t file, uint64_t log_min)
{
	char path[LT_CQSET_PATH];
	int64_t last;

	lt_cqset_path(path, cq, file);
	int fd = lt_sys.openat(set->dir, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return lt_cqset_error("open", cq, errno);
	int rc = last_entry(fd, &last);
	lt_sys.close(fd);
	if (rc != LEAT_OK)
		return lt_cqset_error("pread", cq, EIO);
	if (last >= 0 && (uint64_t)last >= log_min)
		return 0;
	lt_cqset_close_file(set, cq, file);
	if (lt_sys.unlinkat(set->dir, path, 0) != 0 && errno != ENOENT)
		return lt_cqset_error("unlink", cq, errno);
	return 1;
}

/* Numbers of the files a queue has below `limit`, ascending. */
static int
list_files(struct lt_cq_set *set, const struct lt_cq *cq, uint64_t limit,
    uint64_t **out, size_t *count_out)
{
	char path[LT_CQSET_PATH];
	uint64_t *list = NULL;
	size_t capacity = 0;
	int rc = LEAT_OK;

	*count_out = 0;
	snprintf(path, sizeof path, "%s/%u", cq->topic->name, cq->queue);
	int fd = lt_sys.openat(
	    set->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno == ENOENT ? LEAT_OK
				       : lt_cqset_error("open", cq, errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;) {
		uint64_t at;

		if (lt_bytes_digits(e->d_name, 20, &at) != 0 ||
		    at % LT_CQSET_FILE_BYTES != 0 ||
		    at / LT_CQSET_FILE_BYTES >= limit)
			continue;
		rc = lt_mem_grow(
		    (void **)&list, &capacity, *count_out, sizeof *list);
		if (rc != LEAT_OK)
			break;
		size_t i = (*count_out)++;
		for (; i > 0 && list[i - 1] > at / LT_CQSET_FILE_BYTES; i--)
			list[i] = list[i - 1];
		list[i] = at / LT_CQSET_FILE_BYTES;
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
