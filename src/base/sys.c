/*
 * sys.c - the kernel behind lt_sys, helpers that finish what a single call
 * may leave half done, and the failpoints.
 */
#include "config.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leat/status.h"

static int
kernel_openat(int dir, const char *path, int flags, mode_t mode)
{
	return openat(dir, path, flags | O_CLOEXEC, mode);
}

/* These two are declared with a union of addresses. */
static int
kernel_accept4(int fd, struct sockaddr *peer, socklen_t *bytes, int flags)
{
	return accept4(fd, peer, bytes, flags);
}

static int
kernel_connect(int fd, const struct sockaddr *to, socklen_t bytes)
{
	return connect(fd, to, bytes);
}

struct lt_sys lt_sys = {
    .openat = kernel_openat,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .syncfs = syncfs,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .renameat = renameat,
    .linkat = linkat,
    .unlinkat = unlinkat,
    .mkdirat = mkdirat,
    .fstat = fstat,
    .fstatat = fstatat,
    .fstatvfs = fstatvfs,
    .mmap = mmap,
    .madvise = madvise,
    .memfd_create = memfd_create,
    .accept4 = kernel_accept4,
    .connect = kernel_connect,
    .recv = recv,
    .sendmsg = sendmsg,
};

int
lt_sys_status(int err)
{
	switch (err) {
	case 0:
		return LEAT_OK;
	case ENOSPC:
	case EDQUOT:
		return LEAT_E_NOSPACE;
	case ENOENT:
		return LEAT_E_NOTFOUND;
	case EACCES:
	case EPERM:
		return LEAT_E_DENIED;
	case EEXIST:
		return LEAT_E_EXISTS;
	case ENOMEM:
		return LEAT_E_NOMEM;
	case EAGAIN:
		return LEAT_E_AGAIN;
	default:
		return LEAT_E_IO;
	}
}

int
lt_sys_write_full(int fd, const void *buf, size_t bytes, uint64_t at)
{
	const char *p = buf;

	while (bytes > 0) {
		ssize_t n = lt_sys.pwrite(fd, p, bytes, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return lt_sys_status(errno);
		p += n;
		at += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return LEAT_OK;
}

int
lt_sys_read_full(int fd, void *buf, size_t bytes, uint64_t at)
{
	char *p = buf;

	while (bytes > 0) {
		ssize_t n = lt_sys.pread(fd, p, bytes, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lt_sys_status(errno);
		if (n == 0)
			return LEAT_E_END;
		p += n;
		at += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return LEAT_OK;
}

int
lt_sys_is_there(const void *p, size_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)p / page * page;
	uintptr_t to = ((uintptr_t)p + bytes + page - 1) / page * page;

	while (lt_sys.madvise((void *)from, to - from, MADV_POPULATE_READ) != 0)
		if (errno != EINTR) /* EINVAL: a kernel before 5.14 */
			return errno == EINVAL;
	return 1;
}

int
lt_sys_truncate(int fd, uint64_t bytes)
{
	int rc;

	do
		rc = lt_sys.ftruncate(fd, (off_t)bytes);
	while (rc != 0 && errno == EINTR);
	return rc;
}

int
lt_sys_mkdirs(int dir, const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof part)
		return LEAT_E_INVALID;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != 0)
			continue;
		part[i] = 0;
		if (lt_sys.mkdirat(dir, part, 0750) != 0 && errno != EEXIST)
			return lt_sys_status(errno);
		if (i < n)
			part[i] = '/';
	}
	return LEAT_OK;
}

int
lt_sys_sync_parent(int dir, const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path);

	if (n >= sizeof parent)
		return LEAT_E_INVALID;
	if (slash == NULL)
		strcpy(parent, ".");
	else if (n == 0)
		strcpy(parent, "/");
	else {
		memcpy(parent, path, n);
		parent[n] = 0;
	}
	int fd = lt_sys.openat(dir, parent, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys.fsync(fd) == 0 ? LEAT_OK : lt_sys_status(errno);
	int saved = errno;
	lt_sys.close(fd);
	errno = saved;
	return rc;
}

int
lt_sys_replace_file(int dir, const char *path, const void *buf, size_t bytes)
{
	char tmp[PATH_MAX];

	if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
		return LEAT_E_INVALID;
	int fd = lt_sys.openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0640);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys_write_full(fd, buf, bytes, 0);
	if (rc == LEAT_OK && lt_sys.fsync(fd) != 0)
		rc = lt_sys_status(errno);
	int saved = errno;
	if (lt_sys.close(fd) != 0 && rc == LEAT_OK) {
		saved = errno;
		rc = lt_sys_status(errno);
	}
	if (rc == LEAT_OK && lt_sys.renameat(dir, tmp, dir, path) != 0) {
		saved = errno;
		rc = lt_sys_status(errno);
	}
	if (rc != LEAT_OK) {
		lt_sys.unlinkat(dir, tmp, 0);
		errno = saved;
		return rc;
	}
	return lt_sys_sync_parent(dir, path);
}

/* --- failpoints --- */

enum action {
	ACT_KILL,
	ACT_EXIT,
	ACT_STOP,
	ACT_EIO,
	ACT_ENOSPC
};

static const char *const actions[] = {"kill", "exit", "stop", "eio", "enospc"};

static const char *const fp_names[LT_FP_COUNT] = {
#define LT_X(symbol, name) name,
#include "base/failpoints.def"
#undef LT_X
};

static struct {
	atomic_bool armed;
	atomic_ullong skip;
	enum action action;
} points[LT_FP_COUNT];

bool lt_sys_fp_armed;

const char *
lt_sys_fp_name(enum lt_fp fp)
{
	LT_ASSERT(fp < LT_FP_COUNT);
	return fp_names[fp];
}

LT_NORETURN static void
fp_refuse(const char *item)
{
	fprintf(stderr,
	    "LEAT_FAILPOINT: \"%s\" is not NAME[:SKIP[:ACTION]] with a name of "
	    "failpoints.def and an action of kill, exit, stop, eio, enospc\n",
	    item);
	exit(2);
}

static int
lookup(const char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return (int)i;
	return -1;
}

static void
fp_arm(char *item)
{
	char whole[128];
	char *save = NULL;

	snprintf(whole, sizeof whole, "%s", item);
	char *name = strtok_r(item, ":", &save);
	char *skip = strtok_r(NULL, ":", &save);
	char *action = strtok_r(NULL, "", &save);
	int fp = name == NULL ? -1 : lookup(fp_names, LT_FP_COUNT, name);
	int act = action == NULL ? ACT_KILL
				 : lookup(actions, LT_COUNT(actions), action);
	unsigned long long passes = 0;
	if (skip != NULL) {
		char *end;
		passes = strtoull(skip, &end, 10);
		if (*end != 0)
			fp = -1;
	}
	if (fp < 0 || act < 0)
		fp_refuse(whole);
	atomic_store(&points[fp].skip, passes);
	points[fp].action = (enum action)act;
	atomic_store(&points[fp].armed, true);
	lt_sys_fp_armed = true;
}

void
lt_sys_fp_init(void)
{
	char list[4096];
	char *save = NULL;
	const char *env = getenv("LEAT_FAILPOINT");

	if (env == NULL || env[0] == 0)
		return;
	if (strlen(env) >= sizeof list)
		fp_refuse("(too long)");
	strcpy(list, env);
	for (char *item = strtok_r(list, ",", &save); item != NULL;
	     item = strtok_r(NULL, ",", &save))
		fp_arm(item);
}

int
lt_sys_fp_hit(enum lt_fp fp)
{
	LT_ASSERT(fp < LT_FP_COUNT);
	if (!atomic_load(&points[fp].armed))
		return 0;
	unsigned long long left = atomic_load(&points[fp].skip);
	while (left > 0)
		if (atomic_compare_exchange_weak(
			&points[fp].skip, &left, left - 1))
			return 0;
	if (!atomic_exchange(&points[fp].armed, false))
		return 0;
	const char *once = getenv("LEAT_FAILPOINT_ONCE");
	if (once != NULL && unlink(once) != 0)
		return 0;
	switch (points[fp].action) {
	case ACT_KILL:
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	case ACT_EXIT:
		_exit(70);
	case ACT_STOP:
		raise(SIGSTOP);
		return 0;
	case ACT_EIO:
		return EIO;
	case ACT_ENOSPC:
		return ENOSPC;
	}
	return 0;
}
