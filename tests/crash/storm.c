/*
 * storm.c - the load's processes: start, kill, reap, and the end of a world,
 * when everything must add up.
 */
#include "storm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *name;
	int (*entry)(struct world *w, uint32_t slot, uint32_t life);
} roles[STORM_ROLES] = {
    {"producer", load_producer},
    {"member", eat_member},
    {"reader", eat_reader},
    {"administrator", load_admin},
};

static struct storm_child *
child_of(struct storm *s, enum storm_role role, uint32_t slot)
{
	static const unsigned base[STORM_ROLES] = {0, WORLD_PRODUCERS,
	    WORLD_PRODUCERS + WORLD_MEMBERS,
	    WORLD_PRODUCERS + WORLD_MEMBERS + WORLD_READERS};

	return &s->child[base[role] + slot];
}

int
storm_spawn(struct storm *s, enum storm_role role, uint32_t slot)
{
	struct storm_child *c = child_of(s, role, slot);

	c->role = role;
	c->slot = slot;
	c->life++;
	c->finished = 0;
	c->may_die = s->client_failpoint != NULL && slot == 0 &&
		     role == s->client_role && c->life == 1;
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (c->may_die) {
			setenv("LEAT_FAILPOINT", s->client_failpoint, 1);
			setenv("LEAT_FAILPOINT_ONCE", s->once, 1);
		}
		_exit(roles[role].entry(s->w, slot, c->life));
	}
	return c->pid > 0 ? 0 : -1;
}

int
storm_apart(
    struct storm *s, int (*call)(struct world *w, uint32_t slot, uint32_t life))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(call(s->w, 0, 0));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	if (WIFSIGNALED(status))
		world_violate(s->w, "a process apart died of signal %d",
		    WTERMSIG(status));
	return status == 0 ? 0 : -1;
}

/* Start the next life of a child that is dead. */
static int
revive(struct storm *s, struct storm_child *c)
{
	c->pid = 0;
	if (c->role == STORM_MEMBER)
		atomic_store(&s->w->dead_life[c->slot], c->life);
	return storm_spawn(s, c->role, c->slot);
}

int
storm_kill_client(struct storm *s, enum storm_role role, uint32_t slot)
{
	struct storm_child *c = child_of(s, role, slot);

	if (c->pid <= 0)
		return 0;
	/* Noted before: the survivor may get its messages at once. */
	if (role == STORM_MEMBER)
		atomic_store(&s->w->dead_life[slot], c->life);
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	return revive(s, c);
}

static void
reap_client(struct storm *s, struct storm_child *c)
{
	int status;

	if (c->pid <= 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		c->pid = 0;
		c->finished = 1;
		return;
	}
	if (c->may_die && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		revive(s, c);
		return;
	}
	c->pid = 0;
	if (WIFSIGNALED(status))
		world_violate(s->w, "%s %u died of signal %d",
		    roles[c->role].name, c->slot, WTERMSIG(status));
	else
		world_violate(s->w, "%s %u (life %u) gave up", /* it said why */
		    roles[c->role].name, c->slot, c->life);
}

void
storm_tick(struct storm *s)
{
	unsigned i;
	int status;

	for (i = 0; i < STORM_CHILDREN; i++)
		reap_client(s, &s->child[i]);
	if (s->settled_ms != 0 && world_now_ms() >= s->settled_ms) {
		s->settled_ms = 0;
		atomic_fetch_add(&s->w->epoch, 1);
	}
	if (s->leatd <= 0 || waitpid(s->leatd, &status, WNOHANG) != s->leatd)
		return;
	s->leatd = 0;
	if (!s->may_die) {
		world_violate(s->w,
		    "leatd died (wait status 0x%x); see %s/leatd.log",
		    (unsigned)status, s->w->dir);
		return;
	}
	s->may_die = 0;
	s->failpoint = NULL;
	storm_kill_all(s);
}

int
storm_run(struct storm *s, unsigned timeout_ms, int (*done)(struct storm *s))
{
	uint64_t until = world_now_ms() + timeout_ms;

	while (world_now_ms() < until && atomic_load(&s->w->violations) == 0) {
		storm_tick(s);
		if (done != NULL && done(s))
			return 1;
		world_pause_ms(2);
	}
	return done != NULL && done(s);
}

static int
load_flows(struct storm *s)
{
	return atomic_load(&s->w->receipts) >= 50 &&
	       atomic_load(&s->w->delivered) >= 50 &&
	       atomic_load(&s->w->read) >= 50;
}

int
storm_load(struct storm *s)
{
	uint32_t i;

	if (storm_apart(s, load_topic) != 0)
		return -1;
	for (i = 0; i < WORLD_PRODUCERS; i++)
		if ((i != 3 || s->w->accepted) &&
		    storm_spawn(s, STORM_PRODUCER, i) != 0)
			return -1;
	for (i = 0; i < WORLD_MEMBERS; i++)
		if (storm_spawn(s, STORM_MEMBER, i) != 0)
			return -1;
	for (i = 0; i < WORLD_READERS; i++)
		if (storm_spawn(s, STORM_READER, i) != 0)
			return -1;
	if (s->w->admin && storm_spawn(s, STORM_ADMIN, 0) != 0)
		return -1;
	if (storm_run(s, WORLD_PATIENCE_MS, load_flows))
		return 0;
	if (atomic_load(&s->w->violations) == 0)
		world_violate(s->w,
		    "no flow within 30 s: %llu receipts, %llu deliveries, "
		    "%llu read",
		    (unsigned long long)atomic_load(&s->w->receipts),
		    (unsigned long long)atomic_load(&s->w->delivered),
		    (unsigned long long)atomic_load(&s->w->read));
	return -1;
}

static int
senders_done(struct storm *s)
{
	unsigned i;

	for (i = 0; i < STORM_CHILDREN; i++)
		if (s->child[i].pid > 0 &&
		    (s->child[i].role == STORM_PRODUCER ||
			s->child[i].role == STORM_ADMIN))
			return 0;
	return 1;
}

static int
all_consumed(struct storm *s)
{
	return judge_all_consumed(s->w, 0);
}

static int
all_done(struct storm *s)
{
	unsigned i;

	for (i = 0; i < STORM_CHILDREN; i++)
		if (s->child[i].pid > 0)
			return 0;
	return 1;
}

static int
members_left(struct storm *s)
{
	uint32_t i;

	for (i = 0; i < WORLD_MEMBERS; i++)
		if (child_of(s, STORM_MEMBER, i)->pid > 0)
			return 0;
	return 1;
}

int
storm_rest_group(struct storm *s)
{
	pid_t queue;
	uint32_t i;

	atomic_store(&s->w->stop_members, 1);
	if (!storm_run(s, WORLD_PATIENCE_MS, members_left)) {
		if (atomic_load(&s->w->violations) == 0)
			world_violate(s->w, "members did not leave in 30 s");
		return -1;
	}
	queue = storm_find(s, "leat-queue");
	storm_kill_child(s, "leat-queue");
	atomic_store(&s->w->stop_members, 0);
	for (i = 0; i < WORLD_MEMBERS; i++)
		if (storm_spawn(s, STORM_MEMBER, i) != 0)
			return -1;
	return storm_await_children(s, 0, queue);
}

static int
verify_offline(struct storm *s)
{
	const char *top = getenv("top_builddir");
	char command[512];

	snprintf(command, sizeof(command),
	    "'%s/leat' store verify '%s/run' >'%s/verify.log' 2>&1",
	    top != NULL ? top : ".", s->w->dir, s->w->dir);
	if (system(command) == 0)
		return 0;
	world_violate(s->w,
	    "leat store verify finds damage after an orderly stop; see "
	    "%s/verify.log",
	    s->w->dir);
	return -1;
}

int
storm_settle(struct storm *s)
{
	struct world *w = s->w;

	atomic_store(&w->stop_producers, 1);
	if (!storm_run(s, 2 * WORLD_PATIENCE_MS, senders_done)) {
		if (atomic_load(&w->violations) == 0)
			world_violate(w, "producers did not end in 60 s");
		return -1;
	}
	if (storm_apart(s, judge_log) != 0)
		return -1;
	storm_run(s, WORLD_PATIENCE_MS, all_consumed);
	judge_all_consumed(w, 1);
	if (atomic_load(&w->violations) == 0)
		storm_apart(s, judge_group);
	atomic_store(&w->stop_consumers, 1);
	if (!storm_run(s, WORLD_PATIENCE_MS, all_done) &&
	    atomic_load(&w->violations) == 0)
		world_violate(w, "consumers did not end in 30 s");
	if (atomic_load(&w->violations) == 0 && storm_stop(s) == 0)
		verify_offline(s);
	return atomic_load(&w->violations) == 0 ? 0 : -1;
}

void
storm_abandon(struct storm *s)
{
	unsigned i;

	for (i = 0; i < STORM_CHILDREN; i++)
		if (s->child[i].pid > 0) {
			kill(s->child[i].pid, SIGKILL);
			waitpid(s->child[i].pid, NULL, 0);
		}
	if (s->leatd > 0) {
		kill(s->leatd, SIGKILL);
		waitpid(s->leatd, NULL, 0);
	}
}
