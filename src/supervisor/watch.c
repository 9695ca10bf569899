/*
 * watch.c - the supervisor's one loop: drain what children say, reap, restart
 * after a pause, reload, stop in order.
 *
 * A dead child's socket is drained to its end before its successor starts, so
 * the successor is given everything its predecessor had handed over. Orderly
 * stop: the gateway first, then the queue manager (it appends its last state),
 * then the store.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "leat/status.h"
#include "shm/counter.h"
#include "supervisor/notify.h"

#define TICK_MS 500
#define EXTEND_US 30000000 /* asked of the service manager while we recover */
#define CLOSED_MS 1000 /* a child without control socket dies within this */
#define LONELY_MS 2000 /* time to stop without one that it works with */

uint64_t
lt_watch_pause_ms(uint64_t first_ms, unsigned quick_deaths)
{
	uint64_t most =
	    first_ms > LT_RESTART_MAX_MS ? first_ms : LT_RESTART_MAX_MS;
	uint64_t pause = first_ms;

	for (unsigned i = 1; i < quick_deaths && pause < most; i++)
		pause *= 2;
	return pause < most ? pause : most;
}

/* --- what children say --- */

static void
announce(struct lt_sup *s)
{
	for (size_t i = 0; i < LT_PROC_COUNT; i++)
		if (s->child[i].wanted && !s->child[i].ready)
			return;
	if (s->announced || s->phase != LT_SUP_RUN)
		return;
	s->announced = 1;
	printf("ready socket=%s dir=%s pid=%d\n", s->home.socket, s->home.dir,
	    (int)getpid());
	fflush(stdout);
	lt_notify_send("READY=1\nSTATUS=serving at %s\nMAINPID=%d",
	    s->home.socket, (int)getpid());
}

/* Takes the descriptors. */
static void
handle(struct lt_sup *s, struct lt_child *c, const void *buf, size_t bytes,
    const int *fds, size_t fd_count)
{
	struct lt_wire_keep keep;
	struct lt_wire h;
	int is_reply;

	int rc = lt_wire_check(buf, bytes, c->letter, 'U', &is_reply);
	if (rc != LEAT_OK || is_reply) {
		/* A sibling of another build, or its memory is damaged. */
		lt_log_error("malformed-message",
		    "process=%s status=%s fix=\"install all programs from one "
		    "build\"",
		    c->name, leat_status_name(rc));
		if (c->pid > 0)
			kill(c->pid, SIGKILL);
		goto out;
	}
	memcpy(&h, buf, sizeof h);
	switch (h.op) {
	case LT_OP_SUP_READY:
		if (c->pid == 0 || c->ready)
			break; /* last words */
		lt_log_info("child-ready", "process=%s pid=%d ms=%llu", c->name,
		    (int)c->pid,
		    (unsigned long long)(lt_clock_mono_ms() - c->started_ms));
		c->ready = 1;
		announce(s);
		break;
	case LT_OP_SUP_KEEP:
		memcpy(&keep, buf, sizeof keep);
		rc = lt_keep_put(&s->kept, &keep, fds, fd_count);
		if (rc != LEAT_OK)
			lt_log_error("keep-refused",
			    "process=%s kind=%u status=%s", c->name, keep.kind,
			    leat_status_name(rc));
		return;
	case LT_OP_SUP_DROP:
		memcpy(&keep, buf, sizeof keep);
		lt_keep_drop(&s->kept, keep.kind, keep.id);
		break;
	default:
		break;
	}
out:
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

/* Everything that is there. 1: the child's end is closed. */
static int
drain(struct lt_sup *s, struct lt_child *c)
{
	static _Alignas(8) uint8_t buf[LT_WIRE_MAX];
	int fds[LT_FDPASS_MAX];
	size_t bytes, fd_count;

	while (c->box.sock >= 0) {
		int rc = lt_fdpass_recv(c->box.sock, buf, sizeof buf, &bytes,
		    fds, &fd_count, MSG_DONTWAIT);
		if (rc == LEAT_OK)
			handle(s, c, buf, bytes, fds, fd_count);
		else if (rc == LEAT_E_AGAIN || rc == LEAT_E_NOMEM)
			return 0;
		else if (rc == LEAT_E_CORRUPT)
			/* Too long, or we are out of descriptors. */
			lt_log_error("message-lost",
			    "process=%s fix=\"raise the limit of open files\"",
			    c->name);
		else
			return 1;
	}
	return 0;
}

/* --- death and restart --- */

static void begin_stop(struct lt_sup *s);

static void
plan_restart(struct lt_sup *s, struct lt_child *c, uint64_t now, uint64_t ran)
{
	if (ran < s->options.supervisor_quick_death_ms)
		c->quick_deaths++;
	else
		c->quick_deaths = 0;
	/* Whoever can kill the gateway from outside must not stop local ones.
	 */
	if (c->quick_deaths >= s->options.supervisor_give_up_deaths &&
	    (c->proc != LT_PROC_GATEWAY || !s->announced)) {
		lt_log_error("give-up",
		    "process=%s deaths=%u fix=\"the lines above say why it "
		    "died; then start leatd again\"",
		    c->name, c->quick_deaths);
		s->failed = 1;
		begin_stop(s);
		return;
	}
	c->restart_ms =
	    now + lt_watch_pause_ms(
		      s->options.supervisor_restart_ms, c->quick_deaths);
}

static void
log_death(
    const struct lt_sup *s, const struct lt_child *c, int status, uint64_t ran)
{
	int expected = s->phase != LT_SUP_RUN && WIFEXITED(status) &&
		       WEXITSTATUS(status) == 0;
	char how[64];

	if (WIFSIGNALED(status))
		snprintf(how, sizeof how, "signal=%d", WTERMSIG(status));
	else
		snprintf(how, sizeof how, "exit=%d", WEXITSTATUS(status));
	lt_log_write(expected ? LT_LOG_INFO : LT_LOG_WARN, "ended",
	    "process=%s pid=%d %s ran_ms=%llu", c->name, (int)c->pid, how,
	    (unsigned long long)ran);
}

/* Never later than was said before. */
static void
kill_within(struct lt_child *c, uint64_t ms)
{
	uint64_t at = lt_clock_mono_ms() + ms;

	if (c->kill_ms == 0 || at < c->kill_ms)
		c->kill_ms = at;
}

static void
buried(struct lt_sup *s, struct lt_child *c, int status)
{
	uint64_t now = lt_clock_mono_ms();
	uint64_t ran = now - c->started_ms;
	struct lt_child *other =
	    c->proc == LT_PROC_STORE   ? &s->child[LT_PROC_QUEUE]
	    : c->proc == LT_PROC_QUEUE ? &s->child[LT_PROC_STORE]
				       : NULL;

	(void)drain(s, c);
	lt_post_close(&c->box);
	log_death(s, c, status, ran);
	lt_counter_set(lt_spawn_stats[c->proc].pid, 0);
	c->pid = 0;
	c->ready = 0;
	c->kill_ms = 0;
	/* The end that waits for the other one led to the dead. */
	if (other != NULL && other->pid == 0 && other->peer >= 0) {
		close(other->peer);
		other->peer = -1;
	}
	if (s->phase == LT_SUP_RUN)
		plan_restart(s, c, now, ran);
	for (size_t i = c->proc + 1; i < LT_PROC_COUNT; i++)
		if (s->child[i].pid != 0 && s->child[i].stop_sent)
			kill_within(&s->child[i], LONELY_MS);
}

static void
reap(struct lt_sup *s)
{
	for (size_t i = 0; i < LT_PROC_COUNT; i++) {
		struct lt_child *c = &s->child[i];
		int status;
		if (c->pid != 0 && waitpid(c->pid, &status, WNOHANG) == c->pid)
			buried(s, c, status);
	}
}

static void
restart(struct lt_sup *s, struct lt_child *c, uint64_t now)
{
	lt_counter_add(lt_spawn_stats[c->proc].restarts, 1);
	if (lt_spawn_child(s, c) != 0) {
		c->started_ms = now;
		plan_restart(s, c, now, 0);
	}
}

/* --- stop --- */

/* They work with those that were started before them. */
static void
stop_child(struct lt_sup *s, struct lt_child *c)
{
	struct lt_wire_none msg = {0};

	if (c->stop_sent)
		return;
	c->stop_sent = 1;
	kill_within(c, s->options.supervisor_stop_ms);
	for (size_t i = 0; i < (size_t)c->proc; i++)
		if (s->child[i].pid == 0)
			kill_within(c, LONELY_MS);
	lt_wire_init(&msg.h, LT_OP_SUP_STOP, sizeof msg, 0, 0);
	if (lt_post_send(&c->box, &msg, sizeof msg, NULL, 0) != LEAT_OK)
		kill(c->pid, SIGKILL);
}

/* Stop whoever is last in start order and still runs. */
static void
step_stop(struct lt_sup *s)
{
	for (size_t i = LT_PROC_COUNT; i-- > 0;)
		if (s->child[i].pid != 0) {
			stop_child(s, &s->child[i]);
			return;
		}
	s->phase = LT_SUP_DONE;
}

static void
begin_stop(struct lt_sup *s)
{
	if (s->phase != LT_SUP_RUN)
		return;
	s->phase = LT_SUP_STOP;
	lt_log_info("stopping", "failed=%d", s->failed);
	lt_notify_send("STOPPING=1\nSTATUS=stopping");
	for (size_t i = 0; i < LT_PROC_COUNT; i++)
		s->child[i].restart_ms = 0;
}

/* --- reload --- */

static void
reload(struct lt_sup *s)
{
	struct lt_wire_start msg = {0};
	struct lt_options fresh;
	const char *name;

	if (s->phase != LT_SUP_RUN)
		return;
	lt_notify_send("RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)(lt_clock_mono_ns() / 1000));
	if (lt_settings_load(s, &fresh) != 0) {
		lt_log_error(
		    "reload-failed", "file=\"%s\" kept=old", s->config);
		goto out;
	}
	int kept = lt_options_reload(&s->loaded, &fresh, &name);
	lt_settings_use(s);
	if (kept > 0)
		lt_log_warn("reload-needs-restart",
		    "settings=%d first=%s fix=\"restart leatd\"", kept, name);
	lt_log_set_level((enum lt_log_level)s->options.broker_log_level);
	lt_log_info("reloaded", "file=\"%s\"", s->config);
	for (size_t i = 0; i < LT_PROC_COUNT; i++) {
		struct lt_child *c = &s->child[i];
		if (c->pid == 0)
			continue;
		lt_wire_init(&msg.h, LT_OP_SUP_OPTIONS, sizeof msg, 0, 0);
		msg.boot = s->boot;
		msg.generation = c->generation;
		msg.store_gen = s->child[LT_PROC_STORE].generation;
		msg.options = s->options;
		if (lt_post_send(&c->box, &msg, sizeof msg, NULL, 0) != LEAT_OK)
			lt_log_error("reload-not-sent", "process=%s", c->name);
	}
out:
	lt_notify_send("READY=1");
}

/* --- the loop --- */

static void
take_signals(struct lt_sup *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
		switch (info.ssi_signo) {
		case SIGHUP:
			reload(s);
			break;
		case SIGTERM:
		case SIGINT:
			begin_stop(s);
			break;
		default: /* SIGCHLD; several may have become one */
			break;
		}
	}
	reap(s);
}

static void
tick(struct lt_sup *s, uint64_t now)
{
	if (!s->has_listener || s->announced || s->phase != LT_SUP_RUN ||
	    now < s->tick_ms)
		return;
	s->tick_ms = now + TICK_MS;
	if (lt_counter_read(&s->counters, LT_STAT_store_recovering) == 0)
		return;
	lt_notify_send("STATUS=recovering, %llu %%\nEXTEND_TIMEOUT_USEC=%d",
	    (unsigned long long)lt_counter_read(
		&s->counters, LT_STAT_store_recovery_percent),
	    EXTEND_US);
}

static void
timers(struct lt_sup *s)
{
	uint64_t now = lt_clock_mono_ms();

	for (size_t i = 0; i < LT_PROC_COUNT; i++) {
		struct lt_child *c = &s->child[i];
		if (c->restart_ms != 0 && now >= c->restart_ms)
			restart(s, c, now);
		if (c->pid != 0 && c->kill_ms != 0 && now >= c->kill_ms) {
			lt_log_error("killed", "process=%s pid=%d", c->name,
			    (int)c->pid);
			kill(c->pid, SIGKILL);
			c->kill_ms = 0;
			if (s->phase == LT_SUP_STOP)
				s->failed = 1;
		}
	}
	tick(s, now);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return b != 0 && b < a ? b : a;
}

static int
timeout_ms(const struct lt_sup *s)
{
	uint64_t now = lt_clock_mono_ms();
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < LT_PROC_COUNT; i++) {
		next = earlier(next, s->child[i].restart_ms);
		next = earlier(next, s->child[i].kill_ms);
	}
	if (s->has_listener && !s->announced && s->phase == LT_SUP_RUN)
		next = earlier(next, s->tick_ms + 1);
	if (next == UINT64_MAX)
		return -1;
	if (next <= now)
		return 0;
	return next - now > 60000 ? 60000 : (int)(next - now);
}

static void
serve(struct lt_sup *s, struct lt_child *c, short events)
{
	if (events & POLLOUT)
		lt_post_flush(&c->box);
	if (!(events & (POLLIN | POLLHUP | POLLERR)) || !drain(s, c))
		return;
	/* Its end is closed: it is dying, or it has to. */
	lt_post_close(&c->box);
	if (c->pid != 0 && c->kill_ms == 0)
		c->kill_ms = lt_clock_mono_ms() + CLOSED_MS;
}

int
lt_watch_run(struct lt_sup *s)
{
	struct pollfd p[1 + LT_PROC_COUNT];

	p[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	while (s->phase != LT_SUP_DONE) {
		for (size_t i = 0; i < LT_PROC_COUNT; i++) {
			const struct lt_postbox *box = &s->child[i].box;
			p[i + 1].fd = box->sock; /* -1: left out */
			p[i + 1].events =
			    (short)(POLLIN |
				    (lt_post_waits(box) ? POLLOUT : 0));
			p[i + 1].revents = 0;
		}
		int n = poll(p, 1 + LT_PROC_COUNT, timeout_ms(s));
		if (n < 0 && errno != EINTR) {
			lt_log_error(
			    "poll-failed", "error=\"%s\"", strerror(errno));
			return 1;
		}
		for (size_t i = 0; n > 0 && i < LT_PROC_COUNT; i++)
			if (p[i + 1].revents != 0)
				serve(s, &s->child[i], p[i + 1].revents);
		if (n > 0 && p[0].revents != 0)
			take_signals(s);
		timers(s);
		if (s->phase == LT_SUP_STOP)
			step_stop(s);
	}
	lt_log_info("stopped", "failed=%d", s->failed);
	return s->failed ? 1 : 0;
}
