/*
 * broker.c - start, kill and stop a real leatd of the build tree. How long
 * anything may take is bounded; what takes longer is a violation.
 */
#include "config.h"
#include "storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] = "[broker]\n"
			     "sandbox = %s\n"
			     "[store]\n"
			     "segment_bytes = 2m\n"
			     "max_body_bytes = 256k\n"
			     "batch_bytes = 512k\n"
			     "prefill_bytes = 1m\n"
			     "checkpoint_ms = 300\n"
			     "checkpoint_bytes = 4m\n"
			     "%s"
			     "[queue]\n"
			     "lease_ms = 120000\n"
			     "progress_ms = 100\n"
			     "harvest_ms = 10\n"
			     "ring_bytes = 128k\n"
			     "session_grace_ms = 5000\n"
			     "[supervisor]\n"
			     "restart_ms = 1\n"
			     "give_up_deaths = 1000\n"
			     "quick_death_ms = 1\n";

static int
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		return -1;
	fputs(text, f);
	return fclose(f);
}

int
storm_prepare(struct storm *s)
{
	const char *tmp = getenv("TMPDIR");
	char path[128], text[sizeof(config) + 128];

	snprintf(s->w->dir, sizeof(s->w->dir), "%s/leat-kill-XXXXXX",
	    tmp != NULL && strlen(tmp) < 60 ? tmp : "/tmp");
	if (mkdtemp(s->w->dir) == NULL) {
		world_violate(
		    s->w, "cannot make %s: %s", s->w->dir, strerror(errno));
		return -1;
	}
	snprintf(
	    s->w->socket, sizeof(s->w->socket), "%s/run/leat.sock", s->w->dir);
	snprintf(s->once, sizeof(s->once), "%s/once", s->w->dir);
	snprintf(path, sizeof(path), "%s/leat.conf", s->w->dir);
	/* A process in its sandbox could not remove LEAT_FAILPOINT_ONCE. */
	snprintf(text, sizeof(text), config, s->w->admin ? "off" : "on",
	    s->w->retain ? "retain_bytes = 8m\nretain_check_ms = 100\n"
			 : "retain_hours = 0\n");
	if (write_text(path, s->w->config != NULL ? s->w->config : text) != 0) {
		world_violate(
		    s->w, "cannot write %s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

void
storm_remove(struct storm *s)
{
	nftw(s->w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
become_leatd(struct storm *s, int out)
{
	const char *top = getenv("top_builddir");
	char program[256], dir[128], conf[128], err[128];
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(program, sizeof(program), "%s/leatd", top != NULL ? top : ".");
	snprintf(dir, sizeof(dir), "%s/run", s->w->dir);
	snprintf(conf, sizeof(conf), "%s/leat.conf", s->w->dir);
	snprintf(err, sizeof(err), "%s/leatd.log", s->w->dir);
	log = open(err, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log < 0 || dup2(log, 2) < 0 || dup2(out, 1) < 0)
		_exit(126);
	if (s->failpoint != NULL) {
		setenv("LEAT_FAILPOINT", s->failpoint, 1);
		setenv("LEAT_FAILPOINT_ONCE", s->once, 1);
	}
	execl(program, program, "--dir", dir, "-c", conf, (char *)NULL);
	dprintf(2, "cannot execute %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* 1 ready, 0 leatd ended, -1 neither within the time. */
static int
await_ready(struct storm *s)
{
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	char text[512];
	size_t used = 0;

	while (world_now_ms() < until) {
		struct pollfd p = {s->out, POLLIN, 0};
		ssize_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		n = read(s->out, text + used, sizeof(text) - 1 - used);
		if (n <= 0)
			return 0;
		used += (size_t)n;
		text[used] = 0;
		if (strstr(text, "ready") != NULL && strchr(text, '\n') != NULL)
			return 1;
		if (used == sizeof(text) - 1)
			used = 0;
	}
	return -1;
}

int
storm_start(struct storm *s)
{
	int pipe_fd[2], ready;

	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return -1;
	s->leatd = fork();
	if (s->leatd == 0)
		become_leatd(s, pipe_fd[1]);
	close(pipe_fd[1]);
	if (s->out > 0)
		close(s->out);
	s->out = pipe_fd[0];
	ready = await_ready(s);
	if (ready == 1 || (s->may_die && ready == 0))
		return 0;
	world_violate(s->w, "leatd %s; its last words are in %s/leatd.log",
	    ready == 0 ? "ended before it was ready" : "was not ready in 30 s",
	    s->w->dir);
	return -1;
}

/* Parent and name of a process, from /proc/PID/stat. */
static pid_t
parent_of(pid_t pid, char name[32])
{
	char path[64], text[512], *open_at, *close_at;
	int fd, parent = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	open_at = strchr(text, '(');
	close_at = strrchr(text, ')');
	if (open_at == NULL || close_at == NULL)
		return 0;
	*close_at = 0;
	snprintf(name, 32, "%s", open_at + 1);
	if (close_at[2] == 'Z' || sscanf(close_at + 3, " %d", &parent) != 1)
		return 0;
	return parent;
}

pid_t
storm_find(struct storm *s, const char *wanted)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (d != NULL && found == 0 && (e = readdir(d)) != NULL) {
		pid_t pid = (pid_t)atoi(e->d_name);
		char name[32];

		if (pid > 0 && parent_of(pid, name) == s->leatd &&
		    strcmp(name, wanted) == 0)
			found = pid;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

int
storm_kill_child(struct storm *s, const char *name)
{
	pid_t pid = storm_find(s, name);

	return pid > 0 ? kill(pid, SIGKILL) : -1;
}

int
storm_await_children(struct storm *s, pid_t store, pid_t queue)
{
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;

	while (world_now_ms() < until) {
		pid_t a = storm_find(s, "leat-store");
		pid_t b = storm_find(s, "leat-queue");

		if (a > 0 && b > 0 && a != store && b != queue)
			return 0;
		storm_tick(s);
		world_pause_ms(2);
	}
	world_violate(s->w,
	    "leatd did not restart its children in 30 s; see %s/leatd.log",
	    s->w->dir);
	return -1;
}

/* The children must not outlive leatd: they hold the log. */
static int
await_gone(struct storm *s, pid_t pid, const char *name)
{
	uint64_t until = world_now_ms() + 5000;

	while (pid > 0 && kill(pid, 0) == 0) {
		char now[32] = "";

		if (parent_of(pid, now) == 0 || strcmp(now, name) != 0)
			break;
		if (world_now_ms() > until) {
			world_violate(s->w,
			    "%s lived on for 5 s after leatd was killed", name);
			kill(pid, SIGKILL);
			return -1;
		}
		world_pause_ms(1);
	}
	return 0;
}

int
storm_kill_all(struct storm *s)
{
	pid_t store = storm_find(s, "leat-store");
	pid_t queue = storm_find(s, "leat-queue");

	if ((atomic_load(&s->w->epoch) & 1) == 0)
		atomic_fetch_add(&s->w->epoch, 1);
	if (s->leatd > 0) {
		kill(s->leatd, SIGKILL);
		waitpid(s->leatd, NULL, 0);
		s->leatd = 0;
	}
	if (await_gone(s, store, "leat-store") != 0 ||
	    await_gone(s, queue, "leat-queue") != 0 || storm_start(s) != 0)
		return -1;
	s->settled_ms = world_now_ms() + 1500;
	return 0;
}

int
storm_stop(struct storm *s)
{
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	int status = 0;
	pid_t got = 0;

	kill(s->leatd, SIGTERM);
	while (got == 0 && world_now_ms() < until) {
		got = waitpid(s->leatd, &status, WNOHANG);
		if (got == 0)
			world_pause_ms(2);
	}
	if (got == s->leatd && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		s->leatd = 0;
		return 0;
	}
	world_violate(s->w,
	    got == 0
		? "leatd did not stop in 30 s after SIGTERM (%s/leatd.log)"
		: "leatd did not stop cleanly after SIGTERM (%s/leatd.log)",
	    s->w->dir);
	if (got != 0)
		s->leatd = 0;
	return -1;
}

int
storm_restart(struct storm *s)
{
	/* What was acknowledged in the last moment may not be logged. */
	if ((atomic_load(&s->w->epoch) & 1) == 0)
		atomic_fetch_add(&s->w->epoch, 1);
	if (storm_stop(s) != 0 || storm_start(s) != 0)
		return -1;
	s->settled_ms = world_now_ms() + 1500;
	return 0;
}
