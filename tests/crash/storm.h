/*
 * storm.h - the harness: a broker and its load under one roof, and the means
 * to kill any of them. Used by the parent process only, which never touches
 * libleat itself.
 */
#ifndef TESTS_CRASH_STORM_H
#define TESTS_CRASH_STORM_H

#include <stdint.h>
#include <sys/types.h>
#include "world.h"

enum storm_role {
	STORM_PRODUCER,
	STORM_MEMBER,
	STORM_READER,
	STORM_ADMIN,
	STORM_ROLES
};

struct storm_child {
	pid_t pid; /* 0: not running */
	enum storm_role role;
	uint32_t slot;
	uint32_t life;
	int finished; /* ended by itself, with success */
	int may_die; /* a failpoint is armed in it */
};

#define STORM_CHILDREN (WORLD_PRODUCERS + WORLD_MEMBERS + WORLD_READERS + 1)

struct storm {
	struct world *w;
	struct storm_child child[STORM_CHILDREN];
	pid_t leatd;
	int out; /* its standard output */
	int may_die; /* leatd may die: a failpoint is armed in it */
	uint64_t settled_ms; /* when an odd epoch ends; 0: even */
	const char *failpoint; /* NULL or "name:skip" for the broker */
	const char *client_failpoint; /* the same for client 0 of a role */
	enum storm_role client_role;
	char once[128]; /* LEAT_FAILPOINT_ONCE */
};

/* Make the directory and its configuration. 0, or a violation and -1. */
int storm_prepare(struct storm *s);
/* Remove the directory. */
void storm_remove(struct storm *s);

/* Start leatd and wait for its ready line. */
int storm_start(struct storm *s);
/* SIGKILL leatd, wait until all of it is gone, start it again. */
int storm_kill_all(struct storm *s);
/* Orderly stop and start, under load. */
int storm_restart(struct storm *s);
/* Orderly stop; its exit status must be 0. */
int storm_stop(struct storm *s);
/* SIGKILL whatever is left. */
void storm_abandon(struct storm *s);
/* Process id of a running child of leatd, 0 if there is none of this name. */
pid_t storm_find(struct storm *s, const char *name);
/* SIGKILL a child of leatd; 0 if it ran. */
int storm_kill_child(struct storm *s, const char *name);
/* Wait until store and queue manager run and differ from these pids. */
int storm_await_children(struct storm *s, pid_t store, pid_t queue);

int storm_spawn(struct storm *s, enum storm_role role, uint32_t slot);
/* Run one call in a process of its own; 0 if it returned 0. */
int storm_apart(struct storm *s,
    int (*call)(struct world *w, uint32_t slot, uint32_t life));
/* SIGKILL a client and start its next life. */
int storm_kill_client(struct storm *s, enum storm_role role, uint32_t slot);
/* Let the group's members leave in good order and come back after a kill of
 * the queue manager: what they acknowledged is acknowledged. */
int storm_rest_group(struct storm *s);
/* Reap whoever died; a death nobody ordered is a violation. */
void storm_tick(struct storm *s);
/* Tick until done(s) or timeout_ms have passed; 1 if done. done NULL: never. */
int storm_run(
    struct storm *s, unsigned timeout_ms, int (*done)(struct storm *s));
/* Start the load; 0 once messages flow. */
int storm_load(struct storm *s);
/* Stop the producers, wait until all is consumed, judge, stop all. */
int storm_settle(struct storm *s);

#endif
