/* leatd_test.c - a whole leatd with fake children: start, restart, reload,
 * stop, and every refusal to start. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static char top[512]; /* build directory */
static char work[64]; /* of one test */
static char dir[96]; /* leatd's */
static char config[96]; /* its file */
static char libexec[96]; /* the fake children */
static pid_t leatd;
static int out = -1, err = -1;
static char said[65536]; /* standard error so far */
static size_t said_bytes;
static char ready[512];

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void
ask(const char *what)
{
	char path[160];

	mkdir(dir, 0750);
	snprintf(path, sizeof path, "%s/%s", dir, what);
	put(path, "");
}

static void
copy_program(const char *from, const char *to)
{
	char buf[65536];
	ssize_t n;
	int a = open(from, O_RDONLY | O_CLOEXEC);
	int b = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	assert_true(a >= 0);
	assert_true(b >= 0);
	while ((n = read(a, buf, sizeof buf)) > 0)
		assert_int_equal(write(b, buf, (size_t)n), n);
	close(a);
	close(b);
}

static int
setup(void **state)
{
	char from[600], to[160];
	const char *env = getenv("top_builddir");

	assert_non_null(realpath(env != NULL ? env : ".", top));
	strcpy(work, "/tmp/leatd-test-XXXXXX");
	assert_non_null(mkdtemp(work));
	snprintf(dir, sizeof dir, "%s/run", work);
	snprintf(config, sizeof config, "%s/leat.conf", work);
	snprintf(libexec, sizeof libexec, "%s/libexec", work);
	assert_int_equal(mkdir(libexec, 0755), 0);
	snprintf(from, sizeof from, "%s/tests/supervisor/fake_child", top);
	snprintf(to, sizeof to, "%s/leat-store", libexec);
	copy_program(from, to);
	snprintf(to, sizeof to, "%s/leat-queue", libexec);
	copy_program(from, to);
	snprintf(to, sizeof to, "%s/leat-gateway", libexec);
	copy_program(from, to);
	put(config, "[supervisor]\nrestart_ms = 1\ngive_up_deaths = 4\n");
	said_bytes = 0;
	said[0] = ready[0] = 0;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	return remove(path);
}

static int
teardown(void **state)
{
	if (leatd > 0) {
		kill(leatd, SIGKILL);
		waitpid(leatd, NULL, 0);
	}
	leatd = 0;
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	out = err = -1;
	return nftw(work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
launch(char *const *argv)
{
	char program[600];
	int o[2], e[2];

	snprintf(program, sizeof program, "%s/leatd", top);
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	said_bytes = 0;
	said[0] = 0;
	assert_int_equal(pipe2(o, O_CLOEXEC), 0);
	assert_int_equal(pipe2(e, O_CLOEXEC | O_NONBLOCK), 0);
	leatd = fork();
	if (leatd == 0) {
		setenv("LEAT_LIBEXEC", libexec, 1);
		dup2(o[1], 1);
		dup2(e[1], 2);
		execv(program, argv);
		_exit(127);
	}
	close(o[1]);
	close(e[1]);
	out = o[0];
	err = e[0];
}

static void
collect(void)
{
	ssize_t n;

	while (said_bytes < sizeof said - 1 &&
	       (n = read(
		    err, said + said_bytes, sizeof said - 1 - said_bytes)) > 0)
		said_bytes += (size_t)n;
	said[said_bytes] = 0;
}

static void
start_plain(void)
{
	char *argv[] = {"leatd", "--dir", dir, "-c", config, NULL};
	size_t used = 0;
	uint64_t until = now_ms() + PATIENCE_MS;

	launch(argv);
	while (now_ms() < until) {
		struct pollfd p = {.fd = out, .events = POLLIN};
		poll(&p, 1, 100);
		if (p.revents == 0)
			continue;
		ssize_t n = read(out, ready + used, sizeof ready - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
		ready[used] = 0;
		if (strchr(ready, '\n') != NULL)
			return;
	}
	collect();
	fail_msg("leatd is not ready: %s", said);
}

static int
end_status(void)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	int status;

	while (now_ms() < until) {
		struct pollfd p = {.fd = err, .events = POLLIN};
		pid_t pid = waitpid(leatd, &status, WNOHANG);
		collect();
		if (pid == leatd) {
			leatd = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status)
						 : 1000 + WTERMSIG(status);
		}
		poll(&p, 1, 10);
	}
	fail_msg("leatd does not end: %s", said);
	return -1;
}

static int
stop(void)
{
	kill(leatd, SIGTERM);
	return end_status();
}

/* What the children noted; static. */
static const char *
noted(void)
{
	static char text[65536];
	char path[160];

	snprintf(path, sizeof path, "%s/fake.log", dir);
	FILE *f = fopen(path, "r");
	size_t n = f == NULL ? 0 : fread(text, 1, sizeof text - 1, f);
	text[n] = 0;
	if (f != NULL)
		fclose(f);
	return text;
}

static void
await(const char *(*where)(void), const char *text)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t until = now_ms() + PATIENCE_MS;

	while (strstr(where(), text) == NULL) {
		if (now_ms() > until) {
			collect();
			fail_msg("no \"%s\" in:\n%s\nleatd said:\n%s", text,
			    noted(), said);
		}
		nanosleep(&pause, NULL);
	}
}

static const char *
lines(void)
{
	collect();
	return said;
}

/* Process id of the newest such child, from leatd's own log. */
static pid_t
pid_of(const char *name)
{
	char text[64];
	const char *at = lines();
	int pid = 0;

	snprintf(text, sizeof text, "started process=%s pid=", name);
	while ((at = strstr(at, text)) != NULL) {
		at += strlen(text);
		pid = atoi(at);
	}
	assert_true(pid > 1);
	return pid;
}

static void
refused(int status, const char *text, char *const *argv)
{
	launch(argv);
	int rc = end_status();
	if (rc != status || strstr(said, text) == NULL)
		fail_msg("exit %d, said: %s", rc, said);
	assert_ptr_equal(strchr(said, '\n'), said + said_bytes - 1);
}

static void
starts_and_stops(void **state)
{
	char want[512], path[160];
	struct stat st;

	start_plain();
	snprintf(want, sizeof want, "ready socket=%s/leat.sock dir=%s pid=%d\n",
	    dir, dir, (int)leatd);
	assert_string_equal(ready, want);
	await(noted, "leat-queue heard hello from leat-store\n");
	await(noted, "leat-store heard hello from leat-queue\n");
	assert_non_null(strstr(noted(),
	    "leat-store start gen=1 store_gen=1 boot=1 kept=0 text= level=2 "
	    "stdout=0 lock=1\n"));
	assert_non_null(strstr(noted(), "leat-queue start gen=1 store_gen=1"));
	snprintf(path, sizeof path, "%s/secret", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 32);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/broker.key", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/broker.pub", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 44); /* a key as text, and a newline */
	assert_int_equal(st.st_mode & 0777, 0644);
	snprintf(path, sizeof path, "%s/leat.sock", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0666);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(stop(), 0);
	const char *q = strstr(noted(), "leat-queue stop\n");
	const char *s = strstr(noted(), "leat-store stop\n");
	const char *g = strstr(noted(), "leat-gateway stop\n");
	assert_non_null(g);
	assert_non_null(q);
	assert_non_null(s);
	assert_true(g < q);
	assert_true(q < s);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(read(out, path, 1), 0); /* one line, no more */
}

/* Its key names a broker: it stays, and its public half comes back. */
static void
key_stays(void **state)
{
	char path[160], first[45] = "", second[45] = "", other[45];

	snprintf(path, sizeof path, "%s/broker.pub", dir);
	for (int i = 0; i < 3; i++) {
		start_plain();
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, i == 0 ? first : second, 44), 44);
		close(fd);
		if (i > 0)
			assert_string_equal(first, second);
		assert_int_equal(stop(), 0);
		memset(other, 'x', sizeof other - 1);
		other[44] = '\0';
		if (i == 0)
			put(path, other);
		else
			assert_int_equal(unlink(path), 0);
	}
	/* Without its key it is another one. */
	snprintf(path, sizeof path, "%s/broker.key", dir);
	assert_int_equal(unlink(path), 0);
	start_plain();
	snprintf(path, sizeof path, "%s/broker.pub", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, second, 44), 44);
	close(fd);
	assert_string_not_equal(first, second);
	assert_int_equal(stop(), 0);
}

static void
secret_stays(void **state)
{
	char path[160], first[32], second[32];

	snprintf(path, sizeof path, "%s/secret", dir);
	for (int i = 0; i < 2; i++) {
		start_plain();
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, i == 0 ? first : second, 32), 32);
		close(fd);
		assert_int_equal(stop(), 0);
	}
	assert_memory_equal(first, second, 32);
}

static void
restarts_a_store(void **state)
{
	ask("leat-store.keep");
	start_plain();
	await(noted, "leat-queue heard hello from leat-store\n");
	kill(pid_of("leat-store"), SIGKILL);
	/* The new one has what the old one gave, the queue manager a new
	 * socket to it, and they hear each other. */
	await(noted, "leat-store start gen=2 store_gen=2 boot=1 kept=1 "
		     "text=kept");
	await(noted, "leat-queue peer number=2\n");
	await(noted, "leat-queue peer gone\n");
	const char *at = strstr(noted(), "leat-store start gen=2");
	assert_non_null(at);
	uint64_t until = now_ms() + PATIENCE_MS;
	while (strstr(strstr(noted(), "leat-store start gen=2"),
		   "leat-store heard hello from leat-queue\n") == NULL)
		assert_true(now_ms() < until);
	assert_int_equal(stop(), 0);
}

static void
restarts_a_queue_manager(void **state)
{
	start_plain();
	kill(pid_of("leat-queue"), SIGKILL);
	await(noted, "leat-queue start gen=2 store_gen=1 boot=1");
	await(noted, "leat-store peer number=2\n");
	assert_int_equal(stop(), 0);
}

static void
restarts_both(void **state)
{
	start_plain();
	pid_t store = pid_of("leat-store");
	kill(pid_of("leat-queue"), SIGKILL);
	kill(store, SIGKILL);
	await(noted, "leat-queue start gen=2");
	await(noted, "leat-store start gen=2");
	const char *q = strstr(noted(), "leat-queue start gen=2");
	const char *s = strstr(noted(), "leat-store start gen=2");
	uint64_t until = now_ms() + PATIENCE_MS;
	while (strstr(q, "leat-queue heard hello from leat-store") == NULL ||
	       strstr(s, "leat-store heard hello from leat-queue") == NULL) {
		assert_true(now_ms() < until);
		q = strstr(noted(), "leat-queue start gen=2");
		s = strstr(noted(), "leat-store start gen=2");
	}
	assert_int_equal(stop(), 0);
}

static void
gives_up(void **state)
{
	char *argv[] = {"leatd", "--dir", dir, "-c", config, NULL};

	ask("leat-store.die");
	launch(argv);
	assert_int_equal(end_status(), 1);
	assert_non_null(strstr(said, "give-up process=leat-store deaths=4"));
	assert_non_null(strstr(said, "exit=9"));
	/* In order all the same. */
	assert_non_null(strstr(noted(), "leat-queue stop\n"));
}

/* Nobody outside may stop the local side by killing the gateway. */
static void
goes_on_without_a_gateway(void **state)
{
	start_plain();
	await(noted, "leat-gateway start gen=1");
	ask("leat-gateway.die");
	kill(pid_of("leat-gateway"), SIGKILL);
	await(noted, "leat-gateway start gen=8"); /* 4 deaths are too many */
	assert_null(strstr(lines(), "give-up"));
	assert_int_equal(stop(), 0);
	assert_non_null(strstr(noted(), "leat-store stop\n"));
}

/* Before it was ready once, it is a setting that is wrong. */
static void
gives_up_on_a_gateway(void **state)
{
	char *argv[] = {"leatd", "--dir", dir, "-c", config, NULL};

	ask("leat-gateway.die");
	launch(argv);
	assert_int_equal(end_status(), 1);
	assert_non_null(strstr(said, "give-up process=leat-gateway deaths=4"));
	assert_string_equal(ready, "");
}

static void
needs_no_gateway(void **state)
{
	put(config, "[gateway]\nlisten = none\nnames = none\n");
	start_plain();
	assert_int_equal(stop(), 0);
	assert_null(strstr(noted(), "leat-gateway"));
}

static void
kills_what_does_not_stop(void **state)
{
	put(config, "[supervisor]\nstop_ms = 100\n");
	ask("leat-queue.deaf");
	start_plain();
	assert_int_equal(stop(), 1);
	assert_non_null(strstr(said, "killed process=leat-queue"));
	assert_non_null(strstr(noted(), "leat-store stop\n"));
}

/* The store dies while the gateway stops: nobody waits half a minute for it. */
static void
waits_less_for_the_lonely(void **state)
{
	put(config, "[supervisor]\nstop_ms = 600000\n");
	ask("leat-gateway.deaf");
	ask("leat-queue.deaf");
	start_plain();
	kill(leatd, SIGTERM);
	await(noted, "leat-gateway stop\n");
	kill(pid_of("leat-store"), SIGKILL);
	assert_int_equal(end_status(), 1);
	assert_non_null(strstr(said, "killed process=leat-gateway"));
	assert_non_null(strstr(said, "killed process=leat-queue"));
}

static void
kills_what_talks_nonsense(void **state)
{
	ask("leat-store.noise");
	start_plain();
	await(noted, "leat-store start gen=2");
	assert_non_null(
	    strstr(lines(), "malformed-message process=leat-store"));
	assert_int_equal(stop(), 0);
}

static void
reloads(void **state)
{
	start_plain();
	put(config, "[store]\nlevel = logged\nsegment_bytes = 2m\n");
	kill(leatd, SIGHUP);
	await(noted, "leat-store options level=1\n");
	await(noted, "leat-queue options level=1\n");
	await(lines, "reload-needs-restart");
	assert_non_null(strstr(said, "first=store.segment_bytes"));
	put(config, "[store]\nlevel = never\n");
	kill(leatd, SIGHUP);
	await(lines, "reload-failed");
	assert_non_null(strstr(said, "leat.conf:2: store.level = \"never\""));
	kill(pid_of("leat-store"), SIGKILL);
	await(noted, "start gen=2 store_gen=2 boot=1 kept=0 text= level=1");
	assert_int_equal(stop(), 0);
}

static void
one_broker_per_directory(void **state)
{
	char *argv[] = {"leatd", "--dir", dir, NULL};
	char text[64];
	pid_t first;
	int first_out, first_err;

	start_plain();
	first = leatd;
	first_out = out;
	first_err = err;
	out = err = -1;
	snprintf(text, sizeof text, "process id %d", (int)first);
	refused(1, text, argv);
	close(out);
	close(err);
	leatd = first;
	out = first_out;
	err = first_err;
	said_bytes = 0;
	assert_int_equal(stop(), 0);
}

/* Gone, or a zombie that nobody reaps: it writes no more. */
static int
is_gone(pid_t pid)
{
	char path[64], text[512];

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	if (f == NULL)
		return 1;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = 0;
	return strstr(text, ") Z ") != NULL || n == 0;
}

static void
waits_for_orphans(void **state)
{
	ask("leat-store.linger");
	start_plain();
	pid_t orphan = pid_of("leat-store");
	kill(leatd, SIGKILL);
	assert_int_equal(end_status(), 1000 + SIGKILL);
	assert_false(is_gone(orphan));
	start_plain();
	/* Whoever was there first is gone, so nobody else writes. */
	assert_true(is_gone(orphan));
	assert_int_equal(stop(), 0);
}

static void
takes_over_a_stale_socket(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	mkdir(dir, 0750);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/leat.sock", dir);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	close(fd);
	start_plain();
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	close(fd);
	assert_int_equal(stop(), 0);
}

static void
respects_other_sockets(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char text[256];
	char *argv[] = {"leatd", "--dir", dir, "-c", config, NULL};

	snprintf(at.sun_path, sizeof at.sun_path, "%s/other.sock", work);
	snprintf(text, sizeof text, "[broker]\nsocket = %s\n", at.sun_path);
	put(config, text);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1), 0);
	refused(1, "another broker listens", argv);
	close(fd);
	assert_int_equal(access(at.sun_path, F_OK), 0);
	unlink(at.sun_path);
	put(at.sun_path, "precious");
	refused(1, "is no socket", argv);
	assert_int_equal(access(at.sun_path, F_OK), 0);
	assert_int_equal(unlink(at.sun_path), 0);
}

static void
refuses_bad_starts(void **state)
{
	char long_dir[300], file[96], bad[96];
	char *nothing[] = {"leatd", NULL};
	char *operand[] = {"leatd", "start", NULL};
	char *option[] = {"leatd", "--colour=never", "x", NULL};
	char *is_file[] = {"leatd", "--dir", file, NULL};
	char *is_long[] = {"leatd", "--dir", long_dir, NULL};
	char *no_config[] = {"leatd", "--dir", dir, "-c", bad, NULL};
	char *bad_config[] = {
	    "leatd", "--dir", dir, "-c", config, "--check", NULL};

	if (access(SYSCONFDIR "/leat/leat.conf", F_OK) != 0)
		refused(2, "--dir DIR", nothing);
	refused(2, "--help", operand);
	launch(option);
	assert_int_equal(end_status(), 2);
	snprintf(file, sizeof file, "%s/file", work);
	put(file, "");
	refused(1, "is not a directory", is_file);
	int n = snprintf(long_dir, sizeof long_dir, "%s/", work);
	memset(long_dir + n, 'x', 120);
	long_dir[n + 120] = 0;
	refused(1, "socket path", is_long);
	snprintf(bad, sizeof bad, "%s/missing.conf", work);
	refused(1, "missing.conf", no_config);
	put(config, "[store]\n\nlevel = sometimes\n");
	refused(1, "leat.conf:3: store.level", bad_config);
	assert_int_equal(access(dir, F_OK), -1);
}

static void
refuses_a_bad_secret(void **state)
{
	char path[160];
	char *argv[] = {"leatd", "--dir", dir, NULL};

	ask("secret");
	refused(1, "remove it", argv);
	snprintf(path, sizeof path, "%s/secret", dir);
	assert_int_equal(unlink(path), 0);
	start_plain();
	assert_int_equal(stop(), 0);
}

static void
refuses_a_key_that_others_may_read(void **state)
{
	char path[160];
	char *argv[] = {"leatd", "--dir", dir, NULL};

	start_plain();
	assert_int_equal(stop(), 0);
	snprintf(path, sizeof path, "%s/broker.key", dir);
	assert_int_equal(chmod(path, 0640), 0);
	refused(1, "chmod 600", argv);
	put(path, "secret nothing\n");
	assert_int_equal(chmod(path, 0600), 0);
	refused(1, "broker.key", argv);
	assert_int_equal(unlink(path), 0);
	start_plain();
	assert_int_equal(stop(), 0);
}

static void
refuses_an_unwritable_directory(void **state)
{
	char *argv[] = {"leatd", "--dir", dir, NULL};

	if (geteuid() == 0)
		skip(); /* root may write everywhere */
	assert_int_equal(mkdir(dir, 0500), 0);
	refused(1, "is not writable", argv);
}

static void
tells_the_service_manager(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char text[512];

	snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", work);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	start_plain();
	unsetenv("NOTIFY_SOCKET");
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
	/* Sent after the line was printed. */
	if (n < 0)
		n = recv(fd, text, sizeof text - 1, 0);
	assert_true(n > 0);
	text[n] = 0;
	assert_non_null(strstr(text, "READY=1"));
	kill(leatd, SIGHUP);
	text[recv(fd, text, sizeof text - 1, 0)] = 0;
	assert_non_null(strstr(text, "RELOADING=1\nMONOTONIC_USEC="));
	text[recv(fd, text, sizeof text - 1, 0)] = 0;
	assert_string_equal(text, "READY=1");
	assert_int_equal(stop(), 0);
	text[recv(fd, text, sizeof text - 1, 0)] = 0;
	assert_non_null(strstr(text, "STOPPING=1"));
	close(fd);
}

static void
prints_its_settings(void **state)
{
	char text[65536];
	char *print[] = {
	    "leatd", "--dir", dir, "-c", config, "--print-config", NULL};
	char *check[] = {"leatd", "--dir", dir, "-c", config, "--check", NULL};
	size_t used = 0;
	ssize_t n;

	put(config, "[store]\nlevel = accepted\n[access]\n"
		    "allow = any topic orders.* publish\n");
	launch(print);
	while ((n = read(out, text + used, sizeof text - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
	assert_int_equal(end_status(), 0);
	assert_non_null(strstr(text, "\nlevel = accepted\n"));
	assert_non_null(strstr(text, "\nallow = any topic orders.* publish\n"));
	put(config, text);
	launch(check);
	assert_int_equal(end_status(), 0);
	assert_int_equal(access(dir, F_OK), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(starts_and_stops),
	    T(secret_stays),
	    T(key_stays),
	    T(restarts_a_store),
	    T(restarts_a_queue_manager),
	    T(restarts_both),
	    T(gives_up),
	    T(goes_on_without_a_gateway),
	    T(gives_up_on_a_gateway),
	    T(needs_no_gateway),
	    T(kills_what_does_not_stop),
	    T(waits_less_for_the_lonely),
	    T(kills_what_talks_nonsense),
	    T(reloads),
	    T(one_broker_per_directory),
	    T(waits_for_orphans),
	    T(takes_over_a_stale_socket),
	    T(respects_other_sockets),
	    T(refuses_bad_starts),
	    T(refuses_a_bad_secret),
	    T(refuses_a_key_that_others_may_read),
	    T(refuses_an_unwritable_directory),
	    T(tells_the_service_manager),
	    T(prints_its_settings),
	};

	unsetenv("NOTIFY_SOCKET");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
