/*
 * rebuild.c - offline: everything derived is deleted and made again from the
 * log, which is only read. The result is what recovery and a checkpoint at the
 * log's end would have left, byte for byte.
 *
 * Two things are in no record any more once retention has taken it: the
 * numbering of a queue whose messages are all gone, and the last sequence of a
 * session whose records are. They are carried over from what is deleted, if
 * that can be relied on. Nobody else may have the store open.
 */
#include "config.h"
#include "store/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "store/derive.h"
#include "store/reader.h"
#include "store/scan.h"
#include "store/snapshot.h"

#define INDEX "index"
#define INDEX_CHECKPOINT INDEX "/checkpoint"
#define MARK_KEEP_MS (24 * 3600 * 1000LL)

static int
remove_file(int dir, const char *name)
{
	return lt_sys.unlinkat(dir, name, 0) == 0 || errno == ENOENT
		   ? LEAT_OK
		   : lt_sys_status(errno);
}

/* The key index is made again by the queue manager when it needs it. */
static int
remove_index(int store_dir)
{
	struct dirent *e;
	int rc = remove_file(store_dir, INDEX_CHECKPOINT);
	DIR *d;
	int fd;

	if (rc != LEAT_OK)
		return rc;
	fd = lt_sys.openat(
	    store_dir, INDEX, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno == ENOENT ? LEAT_OK : lt_sys_status(errno);
	d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	while (rc == LEAT_OK && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			rc = remove_file(fd, e->d_name);
	closedir(d);
	if (rc == LEAT_OK &&
	    lt_sys.unlinkat(store_dir, INDEX, AT_REMOVEDIR) != 0)
		rc = lt_sys_status(errno);
	return rc;
}

/* The sweep for a set without queues leaves no queue file. */
static int
remove_derived(int store_dir)
{
	struct lt_cq_set *none;
	int rc = remove_file(store_dir, LT_SNAPSHOT_NAME);

	if (rc == LEAT_OK && lt_sys.fsync(store_dir) != 0)
		rc = lt_sys_status(errno);
	if (rc == LEAT_OK)
		rc = remove_index(store_dir);
	if (rc == LEAT_OK)
		rc = lt_cq_set_open(store_dir, &none);
	if (rc == LEAT_OK) {
		rc = lt_derive_sweep(store_dir, none);
		if (rc == LEAT_OK)
			rc = lt_cq_remove_dropped(none);
		lt_cq_set_close(none);
	}
	return rc;
}

/* Marks of the last day of the log, and those of the broker's own sessions, as
 * a checkpoint keeps them. */
static void
drop_old_marks(struct lt_recovered *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->mark_count; i++)
		if ((r->marks[i].session <= LT_LEVELS_MAX ||
			r->marks[i].last_ms >=
			    r->last_store_ms - MARK_KEEP_MS) &&
		    r->marks[i].seq != 0)
			r->marks[kept++] = r->marks[i];
	r->mark_count = kept;
}

static int
rebuild(int store_dir, struct lt_reader *r, struct lt_cq_set *queues,
    struct lt_verify_report *out, void (*report)(void *user, const char *line),
    void *user)
{
	struct lt_scan_config scan = {
	    .reader = r,
	    .queues = queues,
	    .from = lt_reader_min(r),
	    .report = report,
	    .user = user,
	};
	struct lt_recovered found = {0};
	struct lt_snapshot snap;
	int rc = lt_snapshot_read(store_dir, &snap);

	if (rc == LEAT_OK && snap.log_offset >= lt_reader_min(r) &&
	    lt_snapshot_match(&snap, r) != LEAT_OK)
		lt_snapshot_fini(&snap);
	rc = lt_derive_seed(store_dir, queues, lt_reader_min(r));
	if (rc == LEAT_OK)
		rc = remove_derived(store_dir);
	scan.snap = &snap;
	if (rc == LEAT_OK)
		rc = lt_scan_run(&scan, &found);
	if (rc == LEAT_OK) {
		drop_old_marks(&found);
		rc = lt_snapshot_write(store_dir, queues, found.log_end,
		    found.marks, found.mark_count);
	}
	if (rc == LEAT_OK)
		rc = lt_cq_remove_dropped(queues);
	out->records = found.records;
	out->bytes = found.scanned_bytes;
	out->entries = found.entries;
	out->damaged = found.damaged;
	out->log_end = found.log_end;
	lt_recovered_fini(&found);
	lt_snapshot_fini(&snap);
	return rc;
}

static void
say_nothing(void *user, const char *line)
{
}

int
lt_recover_rebuild(int store_dir, struct lt_verify_report *out,
    void (*report)(void *user, const char *line), void *user)
{
	struct lt_reader *r;
	struct lt_cq_set *queues;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = lt_reader_open(store_dir, &r);
	if (rc != LEAT_OK)
		return rc;
	rc = lt_cq_set_open(store_dir, &queues);
	if (rc == LEAT_OK) {
		rc = rebuild(store_dir, r, queues, out,
		    report == NULL ? say_nothing : report, user);
		out->segments = lt_reader_count(r);
		out->queues = lt_cq_count(queues);
		lt_cq_set_close(queues);
	}
	lt_reader_close(r);
	return rc == LEAT_OK ? (int)out->damaged : rc;
}
