/*
 * cqsync.c - make queue files durable: first say which ones were written since
 * the last time, then wait for the disk, which another thread may do. Files are
 * opened again by name, so that the writer's descriptors may come and go.
 */
#include "config.h"
#include "store/consumequeue.h"
#include "store/cqset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"

void
lt_cq_sync_begin(struct lt_cq_set *set, struct lt_cq_sync *out)
{
	out->dir = set->dir;
	out->all = set->touched > LT_CQ_SYNC_FILES;
	out->count = 0;
	for (size_t i = 0; i < LT_CQSET_SLOTS && set->touched > 0; i++) {
		struct lt_cqset_slot *s = &set->slots[i];
		if (s->cq == NULL || !s->touched)
			continue;
		if (!out->all) {
			lt_cqset_path(
			    out->files[out->count].path, s->cq, s->file);
			out->files[out->count++].created = s->created;
		}
		s->touched = s->created = 0;
	}
	set->touched = 0;
}

static int
sync_failed(const char *call, const char *path)
{
	lt_log_error(
	    "queue.file", "call=%s path=%s errno=%d", call, path, errno);
	return LEAT_E_IO;
}

/* One file or directory; what is gone by now was dropped meanwhile. */
static int
sync_path(int dir, const char *path, int is_dir)
{
	int fd = lt_sys.openat(
	    dir, path, O_RDONLY | O_CLOEXEC | (is_dir ? O_DIRECTORY : 0), 0);

	if (fd < 0)
		return errno == ENOENT ? LEAT_OK : sync_failed("open", path);
	int rc = (is_dir ? lt_sys.fsync(fd) : lt_sys.fdatasync(fd)) == 0
		     ? LEAT_OK
		     : sync_failed("fsync", path);
	lt_sys.close(fd);
	return rc;
}

/* The names that lead to a new file: its queue's, its topic's, and the top. */
static int
sync_names(int dir, const char *file)
{
	char path[LT_CQ_PATH];
	char *slash;
	int rc = LEAT_OK;

	memcpy(path, file, sizeof path);
	while (rc == LEAT_OK && (slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		rc = sync_path(dir, path, 1);
	}
	return rc == LEAT_OK ? sync_path(dir, ".", 1) : rc;
}

int
lt_cq_sync_run(const struct lt_cq_sync *sync)
{
	int rc = LEAT_OK;

	if (sync->all && lt_sys.syncfs(sync->dir) != 0)
		return sync_failed("syncfs", ".");
	for (size_t i = 0; rc == LEAT_OK && i < sync->count; i++) {
		rc = sync_path(sync->dir, sync->files[i].path, 0);
		if (rc == LEAT_OK && sync->files[i].created)
			rc = sync_names(sync->dir, sync->files[i].path);
	}
	return rc;
}

int
lt_cq_sync_all(struct lt_cq_set *set)
{
	struct lt_cq_sync sync;

	lt_cq_sync_begin(set, &sync);
	return lt_cq_sync_run(&sync);
}
