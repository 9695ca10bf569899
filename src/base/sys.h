/*
 * sys.h - the door to system calls that can fail in ways tests must produce,
 * and named failpoints. File and sync calls of the store, the queue manager
 * and recovery go through lt_sys, socket calls of the gateway too; tests
 * replace entries.
 *
 * Failpoints: lt_failpoint(LT_FP_X) costs one predictable branch while none is
 * armed. Armed from the environment of the process that execs (only the
 * supervisor's own environment reaches the broker):
 *   LEAT_FAILPOINT="name[:skip[:action]][,name...]"
 * skip: how many passes before it fires (default 0); action: kill (default,
 * SIGKILL to itself), exit, stop (SIGSTOP), eio/enospc (lt_failpoint returns
 * that errno). A failpoint fires once per process; with
 * LEAT_FAILPOINT_ONCE=FILE it fires only if FILE exists, and unlinks it first
 * (so a restarted process does not die again). Names are in failpoints.def.
 */
#ifndef LT_BASE_SYS_H
#define LT_BASE_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "base/check.h"

struct lt_sys {
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	ssize_t (*pread)(int fd, void *buf, size_t bytes, off_t at);
	ssize_t (*pwrite)(int fd, const void *buf, size_t bytes, off_t at);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
	int (*syncfs)(int fd);
	int (*ftruncate)(int fd, off_t bytes);
	int (*fallocate)(int fd, int mode, off_t at, off_t bytes);
	int (*renameat)(int dir, const char *from, int to_dir, const char *to);
	int (*linkat)(
	    int dir, const char *from, int to_dir, const char *to, int flags);
	int (*unlinkat)(int dir, const char *path, int flags);
	int (*mkdirat)(int dir, const char *path, mode_t mode);
	int (*fstat)(int fd, struct stat *st);
	int (*fstatat)(int dir, const char *path, struct stat *st, int flags);
	int (*fstatvfs)(int fd, struct statvfs *st);
	void *(*mmap)(
	    void *at, size_t bytes, int prot, int flags, int fd, off_t off);
	int (*madvise)(void *p, size_t bytes, int advice);
	int (*memfd_create)(const char *name, unsigned flags);
	int (*accept4)(
	    int fd, struct sockaddr *peer, socklen_t *bytes, int flags);
	int (*connect)(int fd, const struct sockaddr *to, socklen_t bytes);
	ssize_t (*recv)(int fd, void *buf, size_t bytes, int flags);
	ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
};

extern struct lt_sys lt_sys;

/* errno -> enum leat_status (ENOSPC and EDQUOT: NOSPACE, ENOENT: NOTFOUND,
 * EACCES/EPERM: DENIED, EEXIST: EXISTS, ENOMEM: NOMEM, EAGAIN: AGAIN, else IO).
 */
int lt_sys_status(int err);
/* Whole-buffer pwrite/pread with EINTR and short counts handled. 0 or status;
 * lt_sys_read_full gives LEAT_E_END on end of file. errno is kept. */
int lt_sys_write_full(
    int fd, const void *buf, size_t bytes, uint64_t at) LT_MUST_CHECK;
int lt_sys_read_full(
    int fd, void *buf, size_t bytes, uint64_t at) LT_MUST_CHECK;
/* Bring in the pages of a mapped file's bytes. 0: one cannot be had, and
 * looking at it would be a SIGBUS: no memory for it (a hole in a full tmpfs),
 * or the disk did not give it. 1 without knowing where the kernel is older
 * than 5.14.
 */
int lt_sys_is_there(const void *p, size_t bytes) LT_MUST_CHECK;
/* ftruncate with EINTR handled: 0, or -1 and errno. */
int lt_sys_truncate(int fd, uint64_t bytes) LT_MUST_CHECK;
/* mkdir -p below dir with mode 0750. 0 or status. */
int lt_sys_mkdirs(int dir, const char *path) LT_MUST_CHECK;
/* fsync the directory that holds path: its name is durable. 0 or status. */
int lt_sys_sync_parent(int dir, const char *path) LT_MUST_CHECK;
/* Replace a file atomically: write path.tmp, fsync, rename, fsync directory. */
int lt_sys_replace_file(
    int dir, const char *path, const void *buf, size_t bytes) LT_MUST_CHECK;

enum lt_fp {
#define LT_X(symbol, name) symbol,
#include "base/failpoints.def"
#undef LT_X
	LT_FP_COUNT
};

extern bool lt_sys_fp_armed;
/* Read LEAT_FAILPOINT; unknown names are an error line and exit 2. */
void lt_sys_fp_init(void);
int lt_sys_fp_hit(enum lt_fp fp);
const char *lt_sys_fp_name(enum lt_fp fp);

/* 0, or an errno to behave as if the next call had failed with it. */
static inline int
lt_failpoint(enum lt_fp fp)
{
	return LT_UNLIKELY(lt_sys_fp_armed) ? lt_sys_fp_hit(fp) : 0;
}

#endif
