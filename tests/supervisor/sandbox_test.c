/*
 * sandbox_test.c - what a confined process may and may not. Each case runs in
 * a forked child, which says by its exit status where it failed (0: nowhere);
 * the parent asserts. 200: no sandbox here.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "leat/status.h"
#include "supervisor/sandbox.h"

static char dir[64];
static int dir_fd;
static int landlock; /* inside, nobody can ask */

static int
setup(void **state)
{
	landlock = syscall(444, NULL, 0, 1) >= 1;
	strcpy(dir, "/tmp/leat-sandbox-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = openat(dir_fd, "old", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	fd = openat(dir_fd, "broker.key", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	mkdirat(dir_fd, "store", 0750);
	mkdirat(dir_fd, "store/log", 0750);
	fd =
	    openat(dir_fd, "store/log/0", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	unsetenv("LEAT_SANDBOX_STRICT");
	return dir_fd < 0 || fd < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	unlinkat(dir_fd, "old", 0);
	unlinkat(dir_fd, "broker.key", 0);
	unlinkat(dir_fd, "new", 0);
	unlinkat(dir_fd, "sub/moved", 0);
	unlinkat(dir_fd, "sub", AT_REMOVEDIR);
	unlinkat(dir_fd, "store/log/0", 0);
	unlinkat(dir_fd, "store/log/1", 0);
	unlinkat(dir_fd, "store/log", AT_REMOVEDIR);
	unlinkat(dir_fd, "store/index", AT_REMOVEDIR);
	unlinkat(dir_fd, "store", AT_REMOVEDIR);
	close(dir_fd);
	return rmdir(dir);
}

static int
wait_status(int (*inside)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(inside());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
run(int (*inside)(void))
{
	int status = wait_status(inside);

	if (!WIFEXITED(status))
		fail_msg("ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) == 200)
		skip();
	if (WEXITSTATUS(status) != 0)
		fail_msg("failed at %d", WEXITSTATUS(status));
}

static int
refused(long rc)
{
	return rc < 0 && (errno == EPERM || errno == EACCES);
}

static void *
thread(void *arg)
{
	void *p = malloc(4 << 20);

	memset(p, 1, 4 << 20);
	free(p);
	*(int *)arg = 1;
	return NULL;
}

static int
work_as_before(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	pthread_t t;
	int done = 0;
	uint64_t one = 1;

	if (pthread_create(&t, NULL, thread, &done) != 0 ||
	    pthread_join(t, NULL) != 0 || !done)
		return 1;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int set = epoll_create1(EPOLL_CLOEXEC);
	if (event < 0 || set < 0 ||
	    epoll_ctl(set, EPOLL_CTL_ADD, event, &ev) != 0 ||
	    write(event, &one, 8) != 8 || epoll_wait(set, &ev, 1, 0) != 1)
		return 2;
	int mem = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0 || ftruncate(mem, 8192) != 0 ||
	    fallocate(mem, 0, 0, 8192) != 0 ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_GROW) != 0)
		return 3;
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	if (p == MAP_FAILED)
		return 4;
	p[0] = 'x';
	munmap(p, 8192);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", mem);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	if (again < 0) /* a read-only descriptor for a client */
		return 5;
	if (openat(dir_fd, "old", O_RDONLY | O_CLOEXEC) < 0)
		return 6;
	lt_log_info("still-here", "pid=%d", (int)getpid());
	return 0;
}

static int
nothing_else(void)
{
	char *argv[] = {"true", NULL};
	struct rlimit limit;

	if (landlock && !refused(open("/etc/passwd", O_RDONLY)))
		return 20;
	if (landlock &&
	    !refused(open("/tmp/leat-escape", O_WRONLY | O_CREAT, 0600)))
		return 21;
	if (!refused(execve("/bin/true", argv, NULL)))
		return 22;
	if (!refused(socket(AF_INET, SOCK_STREAM, 0)))
		return 23;
	if (!refused(socket(AF_NETLINK, SOCK_RAW, 0)))
		return 24;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	if (!refused(child))
		return 25;
	if (!refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)))
		return 26;
	if (prlimit(0, RLIMIT_NOFILE, NULL, &limit) != 0 ||
	    !refused(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit)))
		return 30;
	if (!refused(kill(getppid(), SIGTERM)))
		return 27;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0) != MAP_FAILED)
		return 28;
	if (!refused(syscall(SYS_setuid, 1)) ||
	    !refused(syscall(SYS_mount, "x", "/", "tmpfs", 0, NULL)))
		return 29;
	return 0;
}

static int
store_inside(void)
{
	if (lt_sandbox_enter("leat-store", dir_fd, "") != LEAT_OK)
		return 100;
	int rc = work_as_before();
	if (rc == 0)
		rc = nothing_else();
	if (rc != 0)
		return rc;
	int fd =
	    openat(dir_fd, "new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0 || fallocate(fd, 0, 0, 65536) != 0 ||
	    pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) != 0 ||
	    fsync(dir_fd) != 0 || syncfs(fd) != 0 || ftruncate(fd, 10) != 0)
		return 40;
	if (mkdirat(dir_fd, "sub", 0750) != 0 ||
	    renameat(dir_fd, "new", dir_fd, "sub/moved") != 0 ||
	    unlinkat(dir_fd, "sub/moved", 0) != 0 ||
	    unlinkat(dir_fd, "sub", AT_REMOVEDIR) != 0)
		return 41;
	if (!refused(socket(AF_UNIX, SOCK_STREAM, 0)))
		return 42;
	return 0;
}

static int
queue_inside(void)
{
	int ends[2];

	if (lt_sandbox_enter("leat-queue", dir_fd, "") != LEAT_OK)
		return 100;
	int rc = work_as_before();
	if (rc == 0)
		rc = nothing_else();
	if (rc != 0)
		return rc;
	if (landlock &&
	    !refused(openat(dir_fd, "new", O_RDWR | O_CREAT | O_CLOEXEC, 0640)))
		return 60;
	if (landlock && !refused(openat(dir_fd, "old", O_RDWR | O_CLOEXEC)))
		return 61;
	int fd = openat(
	    dir_fd, "store/index/new", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0 || ftruncate(fd, 4096) != 0 ||
	    renameat(dir_fd, "store/index/new", dir_fd, "store/index/f") != 0 ||
	    unlinkat(dir_fd, "store/index/f", 0) != 0)
		return 66;
	/* The log is the store's alone. */
	if (landlock &&
	    (!refused(openat(dir_fd, "store/log/0", O_RDWR | O_CLOEXEC)) ||
		!refused(openat(dir_fd, "store/log/1",
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0640)) ||
		!refused(unlinkat(dir_fd, "store/log/0", 0)) ||
		openat(dir_fd, "store/log/0", O_RDONLY | O_CLOEXEC) < 0))
		return 67;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0)
		return 62;
	struct ucred cred;
	socklen_t bytes = sizeof cred;
	if (getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0)
		return 63;
	int pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (pidfd < 0 && errno != ENOSYS)
		return 64;
	if (kill(getppid(), 0) != 0)
		return 65;
	return 0;
}

/* What the gateway has left: reading below store, TCP, and leat.sock's kind of
 * socket. */
static int
gateway_opens_nothing(void)
{
	static const char *const files[] = {"/etc/passwd", "/etc/shadow",
	    "/proc/self/maps", "/proc/self/mem", "/dev/null", "/bin/true"};
	static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR};
	char path[128];

	for (size_t i = 0; i < LT_COUNT(files); i++)
		for (size_t k = 0; k < LT_COUNT(flags); k++)
			if (!refused(open(files[i], flags[k] | O_CLOEXEC)))
				return 80;
	snprintf(path, sizeof path, "%s/broker.key", dir);
	if (!refused(open(path, O_RDONLY | O_CLOEXEC)) ||
	    !refused(openat(dir_fd, "broker.key", O_RDONLY | O_CLOEXEC)) ||
	    !refused(
		openat(dir_fd, "store/../broker.key", O_RDONLY | O_CLOEXEC)) ||
	    !refused(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) ||
	    !refused(openat(
		dir_fd, "store/new", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) ||
	    !refused(linkat(dir_fd, "broker.key", dir_fd, "store/l", 0)) ||
	    !refused(
		renameat(dir_fd, "broker.key", dir_fd, "store/broker.key")) ||
	    !refused(symlinkat("../broker.key", dir_fd, "store/s")))
		return 81;
	return openat(dir_fd, "store/log/0", O_RDONLY | O_CLOEXEC) >= 0 &&
		       openat(dir_fd, "store",
			   O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0
		   ? 0
		   : 82;
}

static int
gateway_runs_nothing(void)
{
	char *argv[] = {"true", NULL};
	int mem = memfd_create("x", MFD_CLOEXEC);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!refused(execve("/bin/true", argv, NULL)) ||
	    !refused(syscall(SYS_execveat, mem, "", argv, NULL, AT_EMPTY_PATH)))
		return 83;
	if (!refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)) ||
	    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, mem, 0) !=
		MAP_FAILED)
		return 84;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	return refused(child) ? 0 : 85;
}

static int
gateway_has_no_other_sockets(void)
{
	static const int kinds[][2] = {{AF_INET, SOCK_DGRAM},
	    {AF_INET, SOCK_RAW}, {AF_INET, SOCK_SEQPACKET},
	    {AF_INET6, SOCK_STREAM}, {AF_NETLINK, SOCK_RAW},
	    {AF_PACKET, SOCK_RAW}, {AF_ALG, SOCK_SEQPACKET},
	    {AF_VSOCK, SOCK_STREAM}, {AF_BLUETOOTH, SOCK_RAW}};

	for (size_t i = 0; i < LT_COUNT(kinds); i++)
		if (!refused(socket(kinds[i][0], kinds[i][1], 0)))
			return 90 + (int)i;
	return 0;
}

static int
gateway_escapes_nowhere(void)
{
	int rc;

	if (lt_sandbox_enter("leat-gateway", dir_fd, "") != LEAT_OK)
		return 100;
	rc = gateway_runs_nothing();
	if (rc == 0)
		rc = gateway_has_no_other_sockets();
	if (rc == 0 && !landlock)
		return 200;
	return rc == 0 ? gateway_opens_nothing() : rc;
}

static int
gateway_inside(void)
{
	char *argv[] = {"true", NULL};
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof at;

	if (lt_sandbox_enter("leat-gateway", dir_fd, "") != LEAT_OK)
		return 100;
	/* The log can be read, and nothing else; nothing can be written. */
	if (openat(dir_fd, "store/log/0", O_RDONLY | O_CLOEXEC) < 0)
		return 70;
	if (landlock &&
	    (!refused(openat(dir_fd, "old", O_RDONLY | O_CLOEXEC)) ||
		!refused(open("/etc/passwd", O_RDONLY)) ||
		!refused(openat(dir_fd, "store/log/0", O_RDWR | O_CLOEXEC)) ||
		!refused(openat(dir_fd, "store/log/1",
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0640)) ||
		!refused(unlinkat(dir_fd, "store/log/0", 0))))
		return 71;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l < 0 || bind(l, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(l, 1) != 0 ||
	    getsockname(l, (struct sockaddr *)&at, &bytes) != 0 ||
	    connect(c, (struct sockaddr *)&at, sizeof at) != 0 ||
	    accept4(l, NULL, NULL, SOCK_CLOEXEC) < 0)
		return 72;
	if (!refused(execve("/bin/true", argv, NULL)))
		return 73;
	if (!refused(socket(AF_INET6, SOCK_STREAM, 0)) ||
	    !refused(socket(AF_NETLINK, SOCK_RAW, 0)))
		return 74;
	if (!refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) ||
	    !refused(kill(getppid(), SIGTERM)))
		return 75;
	return 0;
}

static int
strict_inside(void)
{
	setenv("LEAT_SANDBOX_STRICT", "1", 1);
	if (lt_sandbox_enter("leat-store", dir_fd, "") != LEAT_OK)
		return 100;
	if (work_as_before() != 0)
		return 101;
	(void)socket(AF_INET, SOCK_STREAM, 0);
	return 102;
}

static void
confines_the_store(void **state)
{
	run(store_inside);
}

static void
confines_the_queue_manager(void **state)
{
	run(queue_inside);
}

static void
confines_the_gateway(void **state)
{
	run(gateway_inside);
}

static void
the_gateway_opens_and_runs_nothing(void **state)
{
	run(gateway_escapes_nowhere);
}

static void
kills_when_strict(void **state)
{
	int status = wait_status(strict_inside);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void
knows_its_processes(void **state)
{
	assert_int_equal(lt_sandbox_enter("leat", dir_fd, ""), LEAT_E_INVALID);
	assert_int_equal(lt_sandbox_enter("", dir_fd, ""), LEAT_E_INVALID);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(confines_the_store),
	    T(confines_the_queue_manager),
	    T(confines_the_gateway),
	    T(the_gateway_opens_and_runs_nothing),
	    T(kills_when_strict),
	    T(knows_its_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
