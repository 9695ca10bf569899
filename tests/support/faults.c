/* faults.c - see faults.h. Any thread may call through the table. */
#include "config.h"
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "proto/record.h"

enum sort {
	SORT_OPEN,
	SORT_NAME,
	SORT_READ,
	SORT_WRITE,
	SORT_SPACE,
	SORT_SYNC
};

static struct lt_sys kernel;
static atomic_int armed;
static atomic_int lasting_on;
static atomic_ulong calls;
static atomic_ulong strike_at;
static atomic_int struck;
static atomic_ulong n_openat, n_pwrite, n_fdatasync, n_fsync, n_syncfs,
    n_fallocate;

static int
concerns(enum fault what, enum sort sort)
{
	switch (what) {
	case FAULT_EIO:
		return 1;
	case FAULT_ENOSPC:
	case FAULT_EDQUOT:
		return sort == SORT_WRITE || sort == SORT_SPACE ||
		       sort == SORT_NAME;
	case FAULT_EINTR:
		return sort == SORT_READ || sort == SORT_WRITE ||
		       sort == SORT_SPACE;
	case FAULT_SHORT:
		return sort == SORT_READ || sort == SORT_WRITE;
	case FAULT_NONE:
		break;
	}
	return 0;
}

/* The fault for this call, FAULT_NONE mostly. */
static enum fault
strike(enum sort sort)
{
	enum fault what = (enum fault)atomic_load(&armed);

	if (what == FAULT_NONE || !concerns(what, sort))
		return FAULT_NONE;
	unsigned long n = atomic_fetch_add(&calls, 1) + 1;
	if (n != atomic_load(&strike_at) &&
	    !(atomic_load(&lasting_on) && n > atomic_load(&strike_at)))
		return FAULT_NONE;
	atomic_store(&struck, 1);
	errno = what == FAULT_EIO      ? EIO
		: what == FAULT_ENOSPC ? ENOSPC
		: what == FAULT_EDQUOT ? EDQUOT
				       : EINTR;
	return what;
}

static int
f_openat(int dir, const char *path, int flags, mode_t mode)
{
	atomic_fetch_add(&n_openat, 1);
	if (strike(flags & O_CREAT ? SORT_NAME : SORT_OPEN) != FAULT_NONE)
		return -1;
	return kernel.openat(dir, path, flags, mode);
}

static ssize_t
f_pread(int fd, void *buf, size_t bytes, off_t at)
{
	enum fault what = strike(SORT_READ);

	if (what == FAULT_SHORT)
		return kernel.pread(fd, buf, (bytes + 1) / 2, at);
	return what != FAULT_NONE ? -1 : kernel.pread(fd, buf, bytes, at);
}

static ssize_t
f_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	enum fault what = strike(SORT_WRITE);

	atomic_fetch_add(&n_pwrite, 1);
	if (what == FAULT_SHORT)
		return kernel.pwrite(fd, buf, (bytes + 1) / 2, at);
	return what != FAULT_NONE ? -1 : kernel.pwrite(fd, buf, bytes, at);
}

static int
f_fdatasync(int fd)
{
	atomic_fetch_add(&n_fdatasync, 1);
	return strike(SORT_SYNC) != FAULT_NONE ? -1 : kernel.fdatasync(fd);
}

static int
f_fsync(int fd)
{
	atomic_fetch_add(&n_fsync, 1);
	return strike(SORT_SYNC) != FAULT_NONE ? -1 : kernel.fsync(fd);
}

static int
f_syncfs(int fd)
{
	atomic_fetch_add(&n_syncfs, 1);
	/* A test's directory is what it means, not the machine's disk. */
	return strike(SORT_SYNC) != FAULT_NONE ? -1 : kernel.fsync(fd);
}

static int
f_ftruncate(int fd, off_t bytes)
{
	struct stat st;

	/* Only of files: memory has no name. */
	if (kernel.fstat(fd, &st) == 0 && st.st_nlink > 0 &&
	    strike(SORT_SPACE) != FAULT_NONE)
		return -1;
	return kernel.ftruncate(fd, bytes);
}

static int
f_fallocate(int fd, int mode, off_t at, off_t bytes)
{
	atomic_fetch_add(&n_fallocate, 1);
	if (strike(SORT_SPACE) != FAULT_NONE)
		return -1;
	return kernel.fallocate(fd, mode, at, bytes);
}

static int
f_renameat(int dir, const char *from, int to_dir, const char *to)
{
	return strike(SORT_NAME) != FAULT_NONE
		   ? -1
		   : kernel.renameat(dir, from, to_dir, to);
}

static int
f_linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
	return strike(SORT_NAME) != FAULT_NONE
		   ? -1
		   : kernel.linkat(dir, from, to_dir, to, flags);
}

static int
f_mkdirat(int dir, const char *path, mode_t mode)
{
	return strike(SORT_NAME) != FAULT_NONE
		   ? -1
		   : kernel.mkdirat(dir, path, mode);
}

static int
f_unlinkat(int dir, const char *path, int flags)
{
	return strike(SORT_NAME) != FAULT_NONE
		   ? -1
		   : kernel.unlinkat(dir, path, flags);
}

static int
f_fstat(int fd, struct stat *st)
{
	int rc = kernel.fstat(fd, st);

	if (rc == 0 && st->st_nlink > 0 && strike(SORT_OPEN) != FAULT_NONE)
		return -1;
	return rc;
}

void
faults_install(void)
{
	if (lt_sys.openat != f_openat) /* a test that failed left it */
		kernel = lt_sys;
	lt_sys.openat = f_openat;
	lt_sys.pread = f_pread;
	lt_sys.pwrite = f_pwrite;
	lt_sys.fdatasync = f_fdatasync;
	lt_sys.fsync = f_fsync;
	lt_sys.syncfs = f_syncfs;
	lt_sys.ftruncate = f_ftruncate;
	lt_sys.fallocate = f_fallocate;
	lt_sys.renameat = f_renameat;
	lt_sys.linkat = f_linkat;
	lt_sys.mkdirat = f_mkdirat;
	lt_sys.unlinkat = f_unlinkat;
	lt_sys.fstat = f_fstat;
	n_openat = n_pwrite = n_fdatasync = n_fsync = n_syncfs = n_fallocate =
	    0;
	faults_arm(FAULT_NONE, 0, 0);
}

void
faults_remove(void)
{
	faults_arm(FAULT_NONE, 0, 0);
	lt_sys = kernel;
}

void
faults_arm(enum fault what, unsigned long at, int lasting)
{
	atomic_store(&armed, FAULT_NONE);
	atomic_store(&calls, 0);
	atomic_store(&struck, 0);
	atomic_store(&strike_at, at);
	atomic_store(&lasting_on, lasting);
	atomic_store(&armed, (int)what);
}

int
faults_struck(void)
{
	return atomic_load(&struck);
}

struct faults_seen
faults_seen(void)
{
	return (struct faults_seen){.openat = n_openat,
	    .pwrite = n_pwrite,
	    .fdatasync = n_fdatasync,
	    .fsync = n_fsync,
	    .syncfs = n_syncfs,
	    .fallocate = n_fallocate};
}

int
faults_scratch(char *path_out, size_t path_bytes)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path_out, path_bytes, "%s/leat-test-XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(path_out) == NULL)
		return -1;
	return open(path_out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
faults_remove_tree(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

size_t
faults_record(void *dst, size_t cap, const char *topic, uint32_t queue,
    uint64_t queue_offset, uint64_t log_offset, int64_t store_ms,
    const char *keys, size_t body_bytes, uint64_t seq)
{
	struct lt_record_view view;
	struct lt_record_spec spec = {.topic = topic,
	    .topic_bytes = strlen(topic),
	    .queue = queue,
	    .born_ms = store_ms,
	    .keys = keys,
	    .keys_bytes = keys == NULL ? 0 : strlen(keys)};
	struct lt_record_stamp stamp = {.queue_offset = queue_offset,
	    .log_offset = log_offset,
	    .store_ms = store_ms,
	    .session = 0xABCD,
	    .seq = seq};
	size_t bytes = lt_record_bytes(&spec, body_bytes);

	if (bytes == 0 || bytes > cap)
		return 0;
	memset((uint8_t *)dst + LT_RECORD_BODY_AT, 'a' + (int)(seq % 26),
	    body_bytes);
	bytes = lt_record_finish(dst, &spec, body_bytes);
	if (lt_record_admit(
		dst, bytes, topic, strlen(topic), queue + 1, 0, &view) != 0)
		return 0;
	lt_record_seal(dst, &view, &stamp);
	return bytes;
}
