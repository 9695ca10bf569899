/*
 * spawn.c - start a child: fork, give it what it inherits, exec. Everything
 * else comes to it by messages over descriptor 3, in this order: KEPT for
 * each kept segment, START, then whatever happens later.
 *
 * Inherited: 0 /dev/null, 1 and 2 our standard error (standard output is for
 * the ready line), 3 the control socket, 4 the lock of the directory, held
 * until the last child is gone. Its environment is a short list, since what
 * a stranger may set in ours must not reach the broker.
 *
 * Queue manager and store talk over a socketpair that is new whenever one of
 * them is. The end of one that is down waits in its `peer`.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdpass.h"
#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"
#include "shm/counter.h"

#define CONTROL_FD 3
#define LOCK_FD 4
#define ENV_MAX 64

extern char **environ;

/* --- where the binaries are --- */

static int
has_programs(const char *dir)
{
	char path[8192];

	snprintf(path, sizeof path, "%s/leat-store", dir);
	return access(path, X_OK) == 0;
}

int
lt_spawn_find(struct lt_sup *s)
{
	const char *forced = getenv("LEAT_LIBEXEC");
	char self[sizeof s->libexec];

	if (forced != NULL && forced[0] != 0) {
		snprintf(s->libexec, sizeof s->libexec, "%s", forced);
		if (has_programs(forced))
			return 0;
		fprintf(stderr,
		    "leatd: no leat-store in %s: correct "
		    "LEAT_LIBEXEC\n",
		    forced);
		return -1;
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n < 0 ? 0 : n] = 0;
	char *slash = strrchr(self, '/');
	if (slash != NULL) {
		*slash = 0;
		strcpy(s->libexec, self);
		if (has_programs(s->libexec))
			return 0;
	}
	strcpy(s->libexec, PKGLIBEXECDIR);
	if (has_programs(s->libexec))
		return 0;
	fprintf(stderr,
	    "leatd: no leat-store beside leatd or in %s: install "
	    "Leat completely\n",
	    PKGLIBEXECDIR);
	return -1;
}

/* --- fork and exec --- */

static const char *const passed[] = {
    "LEAT_FAILPOINT=",
    "LEAT_FAILPOINT_ONCE=",
    "LEAT_SANDBOX_STRICT=",
    "JOURNAL_STREAM=",
    "MALLOC_CONF=",
    "LD_LIBRARY_PATH=",
    "LANG=",
    "LC_ALL=",
    "TZ=",
    "ASAN_OPTIONS=",
    "UBSAN_OPTIONS=",
    "LSAN_OPTIONS=",
    "TSAN_OPTIONS=",
};

static void
make_env(char *env[ENV_MAX])
{
	size_t n = 0;

	for (char **e = environ; *e != NULL && n < ENV_MAX - 1; e++)
		for (size_t i = 0; i < LT_COUNT(passed); i++)
			if (strncmp(*e, passed[i], strlen(passed[i])) == 0) {
				env[n++] = *e;
				break;
			}
	env[n] = NULL;
}

/* In the child, between fork and exec: system calls only. */
LT_NORETURN static void
become(const char *path, const char *name, char **env, int control, int lock)
{
	char *argv[] = {(char *)name, NULL};
	sigset_t none;

	setsid(); /* ^C in a terminal is for leatd alone */
	/* Out of the way of 3 and 4 first. */
	int c = fcntl(control, F_DUPFD_CLOEXEC, 10);
	int l = fcntl(lock, F_DUPFD_CLOEXEC, 10);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (c < 0 || l < 0 || null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0 ||
	    dup2(c, CONTROL_FD) < 0 || dup2(l, LOCK_FD) < 0)
		_exit(126);
	/* All others are close-on-exec. */
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, env);
	_exit(127);
}

static pid_t
start_program(struct lt_sup *s, const char *name, int control, int lock)
{
	char path[sizeof s->libexec + 64];
	char *env[ENV_MAX];

	snprintf(path, sizeof path, "%s/%s", s->libexec, name);
	make_env(env);
	pid_t pid = fork();
	if (pid == 0)
		become(path, name, env, control, lock);
	return pid;
}

/* --- messages at start --- */

/* The child's end of the pair between queue manager and store (owned by the
 * caller). The other child gets its end now, or at its next start. */
static int
pair_up(struct lt_sup *s, struct lt_child *c, int *mine_out)
{
	struct lt_child *other =
	    &s->child[c->proc == LT_PROC_STORE ? LT_PROC_QUEUE : LT_PROC_STORE];
	struct lt_wire_number msg = {0};
	int ends[2];

	if (c->proc != LT_PROC_STORE && c->proc != LT_PROC_QUEUE)
		return 0;
	if (c->peer >= 0) {
		*mine_out = c->peer;
		c->peer = -1;
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	*mine_out = ends[0];
	if (other->pid == 0) {
		other->peer = ends[1];
		return 0;
	}
	lt_wire_init(&msg.h, LT_OP_SUP_PEER, sizeof msg, 0, 0);
	msg.number = c->generation;
	int rc = lt_post_send(&other->box, &msg, sizeof msg, &ends[1], 1);
	close(ends[1]);
	return rc == LEAT_OK ? 0 : -1;
}

static int
send_start(struct lt_sup *s, struct lt_child *c, int peer)
{
	struct lt_wire_start msg = {0};
	int fds[4] = {s->counter_fd, s->home.dir_fd, peer, s->home.listener};
	size_t count = peer < 0 ? 2 : c->proc == LT_PROC_QUEUE ? 4 : 3;

	lt_wire_init(&msg.h, LT_OP_SUP_START, sizeof msg, 0, 0);
	msg.boot = s->boot;
	msg.generation = c->generation;
	msg.store_gen = s->child[LT_PROC_STORE].generation;
	msg.options = s->options;
	return lt_post_send(&c->box, &msg, sizeof msg, fds, count);
}

const struct lt_child_stats lt_spawn_stats[LT_PROC_COUNT] = {
    [LT_PROC_STORE] = {LT_STAT_sup_store_pid, LT_STAT_sup_store_started_ms,
	LT_STAT_sup_restarts_store},
    [LT_PROC_QUEUE] = {LT_STAT_sup_queue_pid, LT_STAT_sup_queue_started_ms,
	LT_STAT_sup_restarts_queue},
    [LT_PROC_GATEWAY] = {LT_STAT_sup_gateway_pid,
	LT_STAT_sup_gateway_started_ms, LT_STAT_sup_restarts_gateway},
};

int
lt_spawn_child(struct lt_sup *s, struct lt_child *c)
{
	int control[2];
	int peer = -1;

	LT_ASSERT(c->pid == 0);
	LT_ASSERT(c->box.sock < 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, control) != 0) {
		lt_log_error("spawn-failed", "process=%s error=\"%s\"", c->name,
		    strerror(errno));
		return -1;
	}
	pid_t pid = start_program(s, c->name, control[1], s->home.lock_fd);
	int err = errno;
	close(control[1]);
	if (pid < 0) {
		lt_log_error("spawn-failed", "process=%s error=\"%s\"", c->name,
		    strerror(err));
		close(control[0]);
		return -1;
	}
	(void)lt_failpoint(LT_FP_SUP_SPAWN);
	c->pid = pid;
	c->box.sock = control[0];
	c->generation++;
	c->started_ms = lt_clock_mono_ms();
	c->restart_ms = c->kill_ms = 0;
	c->ready = c->stop_sent = 0;
	lt_counter_set(lt_spawn_stats[c->proc].pid, (uint64_t)pid);
	lt_counter_set(
	    lt_spawn_stats[c->proc].started_ms, (uint64_t)lt_clock_wall_ms());
	lt_log_info("started", "process=%s pid=%d generation=%llu", c->name,
	    (int)pid, (unsigned long long)c->generation);
	int rc = pair_up(s, c, &peer);
	/* The gateway has nothing kept for it. */
	if (rc == 0 && c->proc != LT_PROC_GATEWAY &&
	    lt_post_replay(&c->box, &s->kept) != LEAT_OK)
		rc = -1;
	if (rc == 0 && send_start(s, c, peer) != LEAT_OK)
		rc = -1;
	if (peer >= 0)
		close(peer);
	if (rc != 0) {
		/* Without START it is of no use; its death starts another. */
		lt_log_error("handover-failed", "process=%s", c->name);
		kill(c->pid, SIGKILL);
	}
	return 0;
}

/* It may look at everything, and opens and makes nothing. */
int
lt_spawn_check(struct lt_sup *s)
{
	struct lt_wire_start msg = {0};
	int control[2], status = -1;

	if (lt_spawn_find(s) != 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0)
		return -1;
	/* There is no lock yet. */
	pid_t pid = start_program(s, "leat-gateway", control[1], control[1]);
	close(control[1]);
	lt_wire_init(&msg.h, LT_OP_SUP_CHECK, sizeof msg, 0, 0);
	msg.options = s->loaded;
	if (pid > 0 &&
	    lt_fdpass_send(control[0], &msg, sizeof msg, NULL, 0) != LEAT_OK)
		kill(pid, SIGKILL);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	close(control[0]);
	if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) <= 1)
		return WEXITSTATUS(status) == 0 ? 0 : -1;
	fprintf(stderr,
	    "leatd: cannot run leat-gateway in %s: install Leat completely\n",
	    s->libexec);
	return -1;
}
