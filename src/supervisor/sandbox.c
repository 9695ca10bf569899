/*
 * sandbox.c - Landlock and seccomp for the processes of procs.def.
 *
 * Landlock: two rules, what procs.def lets the process read and write. Whatever
 * an older kernel does not know is dropped from the masks. TCP is forbidden
 * where the kernel can. Descriptors that are open already are not concerned.
 *
 * seccomp: an allow-list by name, generous towards libc, jemalloc and
 * libsodium, since its purpose is to take away exec, ptrace, mounts, foreign
 * processes, the network and new kinds of sockets, not to be minimal. Names
 * that the library does not know on this machine are skipped. clone3 hides
 * its flags behind a pointer, so it gives ENOSYS and libc falls back to clone,
 * which may only make threads.
 */
#include "config.h"
#include "supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"

/* --- Landlock: no libc has wrappers, headers may be old --- */

#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_REMOVE_DIR (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR (1ull << 7)
#define FS_MAKE_REG (1ull << 8)
#define FS_REFER (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define FS_ABI1 ((1ull << 13) - 1)
#define NET_TCP 3ull /* bind and connect, ABI 4 */
#define VERSION_FLAG 1u
#define RULE_PATH_BENEATH 1

#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE                                                               \
	(FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |        \
	    FS_MAKE_REG | FS_REFER | FS_TRUNCATE)

enum profile {
	LT_SYS_QUIET,
	LT_SYS_LOCAL,
	LT_SYS_NETWORK
};

static const struct proc {
	const char *name;
	const char *reads;
	const char *writes;
	enum profile profile;
} procs[] = {
#define PROC(symbol, name, letter, reads, writes, sys)                         \
	{name, reads, writes, sys},
#include "supervisor/procs.def"
};

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

static int
add_rule(int ruleset, int fd, uint64_t rights)
{
	struct path_attr path = {.allowed = rights, .parent_fd = fd};

	return fd < 0 ? -1
		      : (int)syscall(__NR_landlock_add_rule, ruleset,
			    RULE_PATH_BENEATH, &path, 0);
}

/* Let the process do that below a directory, which is made if missing; ""
 * stands for no directory. */
static int
allow_below(int ruleset, int dir_fd, const char *path, uint64_t rights)
{
	int fd, rc;

	if (path[0] == 0)
		return 0;
	if (strcmp(path, ".") != 0 && lt_sys_mkdirs(dir_fd, path) != LEAT_OK)
		return -1;
	fd = openat(dir_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = add_rule(ruleset, fd, rights);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ABI that is in force now, 0: none. */
static int
enter_landlock(const struct proc *p, int dir_fd)
{
	struct ruleset_attr attr = {.fs = FS_ABI1};

	long abi = syscall(__NR_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
	if (abi < 1)
		return 0;
	if (abi >= 2)
		attr.fs |= FS_REFER;
	if (abi >= 3)
		attr.fs |= FS_TRUNCATE;
	if (abi >= 4 && p->profile != LT_SYS_NETWORK)
		attr.net = NET_TCP;
	size_t bytes = abi >= 4 ? sizeof attr : sizeof attr.fs;
	int fd = (int)syscall(__NR_landlock_create_ruleset, &attr, bytes, 0);
	if (fd < 0)
		return 0;
	int in_force =
	    allow_below(fd, dir_fd, p->reads, FS_READ) == 0 &&
	    allow_below(fd, dir_fd, p->writes, FS_WRITE & attr.fs) == 0 &&
	    syscall(__NR_landlock_restrict_self, fd, 0) == 0;
	close(fd);
	return in_force ? (int)abi : 0;
}

/* --- seccomp --- */

static const char *const common[] = {
    /* files */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "truncate",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync_file_range",
    "fadvise64",
    "readahead",
    "copy_file_range",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "getdents",
    "getdents64",
    "flock",
    "fcntl",
    "dup",
    "dup2",
    "dup3",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getcwd",
    "fchmod",
    "umask",
    /* memory */
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "msync",
    "mincore",
    "mlock",
    "mlock2",
    "munlock",
    "memfd_create",
    "membarrier",
    /* threads */
    "futex",
    "futex_waitv",
    "futex_wait",
    "futex_wake",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "gettid",
    "getpid",
    "getppid",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "getcpu",
    "arch_prctl",
    "prctl",
    "exit",
    "exit_group",
    "restart_syscall",
    /* signals */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "pause",
    /* time */
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* events */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "eventfd",
    "eventfd2",
    "pipe",
    "pipe2",
    /* sockets that are open already */
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "sendto",
    "recvfrom",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "getsockname",
    "getpeername",
    /* who and how much */
    "getrandom",
    "uname",
    "sysinfo",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getrusage",
    "getrlimit",
};

static const char *const local[] = {
    "accept",
    "accept4",
    "pidfd_open",
    "waitid",
};

static const char *const network[] = {
    "bind",
    "listen",
    "connect",
};

/* Allow a call whose argument `index`, masked, equals value. Errors are those
 * of names this kernel's tables lack: the call stays forbidden. */
static void
allow_if(scmp_filter_ctx ctx, int call, unsigned index, uint64_t mask,
    uint64_t value)
{
	struct scmp_arg_cmp cmp = {
	    .arg = index,
	    .op = SCMP_CMP_MASKED_EQ,
	    .datum_a = mask,
	    .datum_b = value,
	};

	(void)seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &cmp);
}

/* socket(AF_INET, SOCK_STREAM...), with any flags of the type. */
static void
allow_tcp(scmp_filter_ctx ctx)
{
	const uint64_t kind = UINT32_MAX & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct scmp_arg_cmp cmp[] = {
	    {.arg = 0,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = UINT32_MAX,
		.datum_b = AF_INET},
	    {.arg = 1,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = kind,
		.datum_b = SOCK_STREAM},
	};

	(void)seccomp_rule_add_array(
	    ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), LT_COUNT(cmp), cmp);
}

static void
allow_names(scmp_filter_ctx ctx, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		if (call != __NR_SCMP_ERROR)
			(void)seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
	}
}

static void
allow_guarded(scmp_filter_ctx ctx, enum profile profile)
{
	const uint64_t all = UINT64_MAX;
	const uint64_t low = UINT32_MAX; /* int arguments */
	uint64_t self = (uint64_t)getpid();

	/* No new code. */
	allow_if(ctx, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	allow_if(ctx, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	/* Threads, no processes. */
	allow_if(ctx, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
	(void)seccomp_rule_add(
	    ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Signals to oneself: abort, failpoints. */
	allow_if(ctx, SCMP_SYS(kill), 0, low, self);
	allow_if(ctx, SCMP_SYS(tgkill), 0, low, self);
	/* Limits of oneself. */
	allow_if(ctx, SCMP_SYS(prlimit64), 0, low, 0);
	/* isatty, and how much there is to read. */
	allow_if(ctx, SCMP_SYS(ioctl), 1, all, TCGETS);
	allow_if(ctx, SCMP_SYS(ioctl), 1, all, FIONREAD);
	allow_if(ctx, SCMP_SYS(ioctl), 1, all, FIONBIO);
	if (profile == LT_SYS_QUIET)
		return;
	if (profile == LT_SYS_NETWORK)
		allow_tcp(ctx);
	allow_if(ctx, SCMP_SYS(socket), 0, low, AF_UNIX);
	allow_if(ctx, SCMP_SYS(socketpair), 0, low, AF_UNIX);
	/* Signal 0: is it alive? */
	allow_if(ctx, SCMP_SYS(kill), 1, low, 0);
	allow_if(ctx, SCMP_SYS(pidfd_send_signal), 1, low, 0);
}

/* 1: in force. */
static int
enter_seccomp(enum profile profile, int strict)
{
	uint32_t refuse =
	    strict ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx ctx = seccomp_init(refuse);

	if (ctx == NULL)
		return 0;
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	allow_names(ctx, common, LT_COUNT(common));
	if (profile != LT_SYS_QUIET)
		allow_names(ctx, local, LT_COUNT(local));
	if (profile == LT_SYS_NETWORK)
		allow_names(ctx, network, LT_COUNT(network));
	allow_guarded(ctx, profile);
	int rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc == 0;
}

int
lt_sandbox_enter(const char *process, int dir_fd, const char *socket_path)
{
	const struct proc *p = NULL;
	const char *strict = getenv("LEAT_SANDBOX_STRICT");
	int kill = strict != NULL && strcmp(strict, "1") == 0;

	for (size_t i = 0; i < LT_COUNT(procs); i++)
		if (strcmp(procs[i].name, process) == 0)
			p = &procs[i];
	if (p == NULL)
		return LEAT_E_INVALID;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		lt_log_warn("sandbox-no-new-privs-failed", "error=\"%s\"",
		    strerror(errno));
	int abi = enter_landlock(p, dir_fd);
	int filter = enter_seccomp(p->profile, kill);
	if (abi == 0 || !filter)
		lt_log_warn("sandbox-partial",
		    "landlock_abi=%d seccomp=%s socket=%s", abi,
		    filter ? "on" : "unavailable", socket_path);
	else
		lt_log_info("sandbox", "landlock_abi=%d seccomp=%s socket=%s",
		    abi, kill ? "kill" : "eperm", socket_path);
	return LEAT_OK;
}
