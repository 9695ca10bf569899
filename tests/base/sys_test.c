/* sys_test.c - whole reads and writes over a kernel that gives less, files
 * replaced whole, and failpoints (in forked children, which exit with a code).
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "leat/status.h"

static char dir[64];
static int dir_fd;
static struct lt_sys kernel;
static int calls, fail_at, fail_errno;

static int
setup(void **state)
{
	strcpy(dir, "/tmp/leat-sys-test-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	kernel = lt_sys;
	calls = fail_at = 0;
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	lt_sys = kernel;
	close(dir_fd);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

/* Every call fails once with EINTR, then gives at most 3 bytes. */
static ssize_t
stingy_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	if (++calls % 2 == 1) {
		errno = EINTR;
		return -1;
	}
	return kernel.pwrite(fd, buf, bytes < 3 ? bytes : 3, at);
}

static ssize_t
stingy_pread(int fd, void *buf, size_t bytes, off_t at)
{
	if (++calls % 2 == 1) {
		errno = EINTR;
		return -1;
	}
	return kernel.pread(fd, buf, bytes < 3 ? bytes : 3, at);
}

static void
finishes_short_calls(void **state)
{
	char buf[16] = "";
	int fd = lt_sys.openat(dir_fd, "f", O_RDWR | O_CREAT, 0600);

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	lt_sys.pwrite = stingy_pwrite;
	lt_sys.pread = stingy_pread;
	assert_int_equal(lt_sys_write_full(fd, "hello world", 11, 5), LEAT_OK);
	assert_int_equal(lt_sys_read_full(fd, buf, 11, 5), LEAT_OK);
	assert_string_equal(buf, "hello world");
	assert_int_equal(lt_sys_read_full(fd, buf, 12, 5), LEAT_E_END);
	assert_int_equal(lt_sys_read_full(fd, buf, 0, 500), LEAT_OK);
	close(fd);
	assert_int_equal(lt_sys_write_full(fd, "x", 1, 0), LEAT_E_IO);
	assert_int_equal(errno, EBADF);
}

static int
maybe(void)
{
	if (++calls != fail_at)
		return 0;
	errno = fail_errno;
	return 1;
}

static int
f_openat(int d, const char *path, int flags, mode_t mode)
{
	return maybe() ? -1 : kernel.openat(d, path, flags, mode);
}

static ssize_t
f_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	return maybe() ? -1 : kernel.pwrite(fd, buf, bytes, at);
}

static int
f_fsync(int fd)
{
	return maybe() ? -1 : kernel.fsync(fd);
}

static int
f_renameat(int d, const char *from, int to_dir, const char *to)
{
	return maybe() ? -1 : kernel.renameat(d, from, to_dir, to);
}

/* Old or new, never between, and never a false LEAT_OK. */
static void
replaces_a_file_or_fails(void **state)
{
	char buf[4];
	int rc = -1, failures = 0;

	assert_int_equal(lt_sys_mkdirs(dir_fd, "a/b"), LEAT_OK);
	assert_int_equal(lt_sys_mkdirs(dir_fd, "a/b"), LEAT_OK);
	assert_int_equal(
	    lt_sys_replace_file(dir_fd, "a/b/f", "old", 4), LEAT_OK);
	lt_sys.openat = f_openat;
	lt_sys.pwrite = f_pwrite;
	lt_sys.fsync = f_fsync;
	lt_sys.renameat = f_renameat;
	fail_errno = ENOSPC;
	for (fail_at = 1; rc != LEAT_OK; fail_at++) {
		calls = 0;
		rc = lt_sys_replace_file(dir_fd, "a/b/f", "new", 4);
		assert_int_equal(faccessat(dir_fd, "a/b/f.tmp", F_OK, 0), -1);
		int fd = kernel.openat(dir_fd, "a/b/f", O_RDONLY, 0);
		assert_int_equal(kernel.pread(fd, buf, 4, 0), 4);
		close(fd);
		if (rc == LEAT_OK) {
			assert_string_equal(buf, "new");
			break;
		}
		failures++;
		assert_int_equal(rc, LEAT_E_NOSPACE);
		assert_true(strcmp(buf, "old") == 0 || strcmp(buf, "new") == 0);
	}
	assert_true(failures >= 5);
}

static void
makes_directories(void **state)
{
	assert_int_equal(lt_sys_mkdirs(dir_fd, ""), LEAT_E_INVALID);
	int fd = lt_sys.openat(dir_fd, "file", O_RDWR | O_CREAT, 0600);
	close(fd);
	assert_int_not_equal(lt_sys_mkdirs(dir_fd, "file/x"), LEAT_OK);
	assert_int_equal(lt_sys_status(EDQUOT), LEAT_E_NOSPACE);
	assert_int_equal(lt_sys_status(EROFS), LEAT_E_IO);
	assert_int_equal(lt_sys_status(0), LEAT_OK);
}

/* Exit code of a child that passes a failpoint 5 times with this setting:
 * 10 + passes that were clean, or 100 + errno given; 1000 + signal. */
static int
pass(const char *setting, const char *once)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("LEAT_FAILPOINT", setting, 1);
		if (once != NULL)
			setenv("LEAT_FAILPOINT_ONCE", once, 1);
		close(2);
		lt_sys_fp_init();
		for (int i = 0; i < 5; i++) {
			int err = lt_failpoint(LT_FP_STORE_DRAIN);
			if (err != 0)
				_exit(100 + err);
			if (lt_failpoint(LT_FP_STORE_ROLL) != 0)
				_exit(99);
		}
		_exit(15);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : 1000 + WTERMSIG(status);
}

static void
failpoints_fire_as_set(void **state)
{
	char once[128];

	assert_int_equal(pass("", NULL), 15);
	assert_int_equal(pass("store.drain", NULL), 1000 + SIGKILL);
	assert_int_equal(pass("store.drain:4", NULL), 1000 + SIGKILL);
	assert_int_equal(pass("store.drain:5", NULL), 15);
	assert_int_equal(pass("store.drain:0:exit", NULL), 70);
	assert_int_equal(pass("store.drain:1:eio", NULL), 100 + EIO);
	assert_int_equal(
	    pass("store.sync.after,store.drain:0:enospc", NULL), 100 + ENOSPC);
	assert_int_equal(pass("no.such.point", NULL), 2);
	assert_int_equal(pass("store.drain:x", NULL), 2);
	assert_int_equal(pass("store.drain:0:dance", NULL), 2);
	snprintf(once, sizeof once, "%s/once", dir);
	assert_int_equal(pass("store.drain", once), 15);
	close(open(once, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(pass("store.drain", once), 1000 + SIGKILL);
	assert_int_equal(access(once, F_OK), -1);
	assert_int_equal(pass("store.drain", once), 15);
}

static void
failpoints_have_distinct_names(void **state)
{
	for (int i = 0; i < LT_FP_COUNT; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(lt_sys_fp_name((enum lt_fp)i),
			    lt_sys_fp_name((enum lt_fp)j));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(finishes_short_calls),
	    T(replaces_a_file_or_fails),
	    T(makes_directories),
	    T(failpoints_fire_as_set),
	    T(failpoints_have_distinct_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
