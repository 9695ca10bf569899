/*
 * kill_test.c - D1: SIGKILL anything at any instant, and lose nothing that was
 * acknowledged.
 *
 * Part one, worlds of random kills: a broker under load of producers, a group
 * of two and a reader; at random instants one process, two, or the whole
 * broker are killed. Part two, one world per named failpoint: the process that
 * passes it kills itself there, under the same load. Each world ends with the
 * judgement of judge.c and an offline check of the store.
 *
 *   kill_test [all | random | failpoints | NAME-OF-A-FAILPOINT]
 *   LEAT_KILLS=100     random kills
 *   LEAT_VICTIM=NAME   kill only these: leat-store, leat-queue, store+queue,
 *                      recovering-store, -queue, -both, producer, consumer,
 *                      queue-of-leaving-group, leatd, clean-restart
 *   LEAT_SEED=N        repeat a run (as far as instants repeat)
 *   LEAT_KEEP=1        keep the directory of a world that failed
 *
 * Exit status: 0, or 1 with one sentence per violation.
 */
#include "storm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORLD_KILLS 50u

static struct {
	uint64_t random;
	unsigned kills;
	unsigned again; /* kills of processes that were recovering */
	unsigned by_kind[16];
	unsigned worlds;
	unsigned failpoints;
	uint64_t receipts, in_log, delivered, redelivered;
	unsigned violations;
} run;

static unsigned
pick(unsigned from, unsigned to)
{
	return from + (unsigned)(world_random(&run.random) % (to - from + 1));
}

/* Which process a random kill hits, out of 100. */
enum victim {
	KILL_STORE,
	KILL_QUEUE,
	KILL_BOTH,
	KILL_STORE_AGAIN, /* and its successors while they recover */
	KILL_QUEUE_AGAIN,
	KILL_BOTH_AGAIN,
	KILL_PRODUCER,
	KILL_MEMBER,
	KILL_RESTING,
	KILL_BROKER,
	KILL_NOTHING /* orderly stop and start; the clients stay */
};
static const char *const victim_name[] = {"leat-store", "leat-queue",
    "store+queue", "recovering-store", "recovering-queue", "recovering-both",
    "producer", "consumer", "queue-of-leaving-group", "leatd", "clean-restart"};
#define VICTIMS (sizeof(victim_name) / sizeof(victim_name[0]))

static enum victim
pick_victim(int broker_too)
{
	static const unsigned share[VICTIMS] = {
	    20, 14, 8, 6, 5, 5, 11, 9, 6, 9, 7};
	unsigned r = pick(0, broker_too ? 99 : 83);
	const char *only = getenv("LEAT_VICTIM");
	unsigned i;

	for (i = 0; only != NULL && i < VICTIMS; i++)
		if (strcmp(only, victim_name[i]) == 0)
			return (enum victim)i;
	for (i = 0; r >= share[i]; i++)
		r -= share[i];
	return (enum victim)i;
}

/*
 * Kill it, and up to three successors each at a random moment of its start,
 * most of which recovery takes.
 */
static void
kill_again(struct storm *s, int store, int queue)
{
	static const char *const name[] = {"leat-store", "leat-queue"};
	const int hit[] = {store, queue};
	unsigned rounds = pick(1, 3), i;

	for (; rounds > 0; rounds--) {
		uint64_t until = world_now_ms() + 1000;
		pid_t old[2];

		for (i = 0; i < 2; i++) {
			old[i] = storm_find(s, name[i]);
			if (hit[i])
				storm_kill_child(s, name[i]);
		}
		for (i = 0; i < 2; i++)
			while (hit[i] && world_now_ms() < until) {
				pid_t now = storm_find(s, name[i]);

				if (now > 0 && now != old[i])
					break;
				world_pause_us(100);
			}
		world_pause_us(
		    pick(0, 3) == 0 ? pick(0, 30000) : pick(0, 6000));
		for (i = 0; i < 2; i++)
			run.again +=
			    hit[i] && storm_kill_child(s, name[i]) == 0;
	}
}

/* Kill once. Mostly wait for the restart, sometimes kill into it. */
static int
strike(struct storm *s, enum victim v)
{
	pid_t store = 0, queue = 0;
	uint32_t producers = s->w->accepted ? 4 : 3;

	run.kills++;
	run.by_kind[v]++;
	switch (v) {
	case KILL_PRODUCER:
		return storm_kill_client(
		    s, STORM_PRODUCER, pick(0, producers - 1));
	case KILL_MEMBER:
		return storm_kill_client(
		    s, STORM_MEMBER, pick(0, WORLD_MEMBERS - 1));
	case KILL_RESTING:
		return storm_rest_group(s);
	case KILL_BROKER:
		return storm_kill_all(s);
	case KILL_NOTHING:
		return storm_restart(s);
	case KILL_STORE_AGAIN:
	case KILL_QUEUE_AGAIN:
	case KILL_BOTH_AGAIN:
		kill_again(s, v != KILL_QUEUE_AGAIN, v != KILL_STORE_AGAIN);
		return pick(0, 3) == 0 ? 0 : storm_await_children(s, 0, 0);
	case KILL_STORE:
	case KILL_QUEUE:
	case KILL_BOTH:
		break;
	}
	if (v != KILL_QUEUE) {
		store = storm_find(s, "leat-store");
		storm_kill_child(s, "leat-store");
	}
	if (v != KILL_STORE) {
		queue = storm_find(s, "leat-queue");
		storm_kill_child(s, "leat-queue");
	}
	if (pick(0, 3) == 0)
		return 0;
	return storm_await_children(s, store, queue);
}

/*
 * What is acknowledged now is durable after a while without kills: from then
 * on its redelivery is a violation, even if the whole broker dies.
 */
static void
note_durable(struct storm *s)
{
	int64_t at[WORLD_QUEUES];
	uint32_t q;

	for (q = 0; q < WORLD_QUEUES; q++) {
		at[q] = atomic_load(&s->w->floor[q]);
		while (at[q] < WORLD_OFFSETS &&
		       atomic_load(&s->w->acked[q][at[q]]))
			at[q]++;
	}
	storm_run(s, 2000, NULL);
	for (q = 0; q < WORLD_QUEUES; q++)
		atomic_store(&s->w->floor[q], at[q]);
}

static int
random_world(struct storm *s, unsigned kills, int broker_too)
{
	unsigned i;

	if (storm_start(s) != 0 || storm_load(s) != 0)
		return -1;
	for (i = 0; i < kills; i++) {
		unsigned pause =
		    pick(0, 9) == 0 ? pick(800, 1500) : pick(5, 500);
		enum victim v = pick_victim(broker_too);

		storm_run(s, pause, NULL);
		if (v == KILL_BROKER && pick(0, 1) == 0)
			note_durable(s);
		if (atomic_load(&s->w->violations) != 0 || strike(s, v) != 0)
			return -1;
	}
	storm_run(s, 200, NULL);
	return storm_settle(s);
}

/*
 * How each failpoint is reached. skip: passes before it fires (a few random
 * ones are added where `hot`); poke: the process whose death leads there.
 */
struct reach {
	const char *name;
	unsigned skip;
	int hot;
	int late; /* arm only when the load runs, then poke */
	const char *poke;
};
static const struct reach special[] = {
    {"store.roll", 0, 0, 0, NULL},
    {"store.cq.flush", 1, 0, 0, NULL},
    {"store.checkpoint", 1, 0, 0, NULL},
    {"store.checkpoint.rename", 1, 0, 0, NULL},
    {"store.recover", 0, 0, 1, "leat-store"},
    {"store.drop", 0, 0, 0, NULL},
    {"store.drop.remove", 0, 0, 0, NULL},
    {"store.attach", 3, 0, 1, "leat-store"},
    {"store.retain", 0, 0, 0, NULL},
    {"queue.hello", 3, 0, 0, NULL},
    {"queue.keep", 6, 0, 0, NULL},
    {"queue.subscribe", 6, 0, 0, NULL},
    {"queue.topic", 2, 0, 0, NULL},
    {"queue.grant", 1, 0, 0, NULL},
    {"queue.reap", 0, 0, 0, "member"},
    {"queue.seek", 1, 0, 0, NULL},
    {"queue.reattach", 0, 0, 1, "leat-store"},
    {"supervisor.spawn", 3, 0, 0, "leat-store"},
};
static const char *const failpoint_names[] = {
#define LT_X(symbol, name) name,
#include "base/failpoints.def"
#undef LT_X
};
#define FAILPOINTS (sizeof(failpoint_names) / sizeof(failpoint_names[0]))

static struct reach
reach_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (strcmp(special[i].name, name) == 0)
			return special[i];
	return (struct reach){name, 20, 1, 0, NULL};
}

static void
arm(struct storm *s)
{
	int fd = open(s->once, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
}

static int
has_fired(struct storm *s)
{
	return access(s->once, F_OK) != 0;
}

static int
failpoint_world(struct storm *s, const char *name)
{
	struct reach r = reach_of(name);
	int in_client = strncmp(name, "client.", 7) == 0;
	char spec[64];

	snprintf(spec, sizeof(spec), "%s:%u", name,
	    r.skip + (r.hot ? pick(0, 60) : 0));
	if (in_client) {
		s->client_failpoint = spec;
		s->client_role = strncmp(name, "client.lane", 11) == 0
				     ? STORM_PRODUCER
				     : STORM_MEMBER;
	} else
		s->failpoint = spec;
	s->may_die = strncmp(name, "supervisor.", 11) == 0;
	s->w->churn = strncmp(name, "store.drop", 10) == 0;
	if (s->may_die)
		atomic_fetch_add(&s->w->epoch, 1);
	/* Whoever dies in a client's failpoint may hold messages. */
	if (in_client)
		atomic_store(&s->w->dead_life[0], 1);
	if (!r.late)
		arm(s);
	if (storm_start(s) != 0 || storm_load(s) != 0)
		return -1;
	if (r.late)
		arm(s);
	if (r.poke != NULL && strcmp(r.poke, "member") == 0)
		storm_kill_client(s, STORM_MEMBER, 0);
	else if (r.poke != NULL)
		storm_kill_child(s, r.poke);
	if (!storm_run(s, 15000, has_fired)) {
		if (atomic_load(&s->w->violations) == 0)
			world_violate(s->w,
			    "failpoint %s was not passed within 15 s under "
			    "load",
			    name);
		return -1;
	}
	run.kills++;
	/* And where the start comes by, in the start after that death, too. */
	if (r.late) {
		arm(s);
		storm_run(s, 200, has_fired);
		if (!has_fired(s))
			storm_kill_child(s, r.poke);
		run.again += (unsigned)storm_run(s, 5000, has_fired);
	}
	storm_run(s, pick(100, 400), NULL);
	return storm_settle(s);
}

/* One world from birth to judgement. 0 if nothing was violated. */
static int
one_world(const char *title, unsigned kills, int broker_too, const char *name)
{
	struct storm s = {.out = -1};
	unsigned i, violations;
	uint64_t begin = world_now_ms();

	s.w = world_create();
	if (s.w == NULL) {
		fprintf(stderr, "kill_test: no memory for a world\n");
		return -1;
	}
	s.w->seed = world_random(&run.random);
	for (uint32_t p = 0; p < WORLD_PRODUCERS; p++)
		s.w->rate[p] = 1200;
	s.w->naps = 32;
	s.w->accepted = !broker_too;
	s.w->admin = name != NULL;
	s.w->retain = name != NULL && strcmp(name, "store.retain") == 0 ? 8 : 0;
	if (storm_prepare(&s) == 0)
		(void)(name != NULL ? failpoint_world(&s, name)
				    : random_world(&s, kills, broker_too));
	storm_abandon(&s);
	violations = atomic_load(&s.w->violations);
	run.worlds++;
	run.violations += violations;
	run.receipts += atomic_load(&s.w->receipts);
	run.in_log += atomic_load(&s.w->in_log);
	run.delivered += atomic_load(&s.w->delivered);
	run.redelivered += atomic_load(&s.w->redelivered);
	printf("%s %s: %llu sent with receipt, %llu in the log, %llu "
	       "delivered, %.1f s\n",
	    violations == 0 ? "ok  " : "FAIL", title,
	    (unsigned long long)atomic_load(&s.w->receipts),
	    (unsigned long long)atomic_load(&s.w->in_log),
	    (unsigned long long)atomic_load(&s.w->delivered),
	    (double)(world_now_ms() - begin) / 1000);
	for (i = 0; i < violations && i < WORLD_TEXTS; i++)
		printf("     %s\n", s.w->text[i]);
	if (violations > WORLD_TEXTS)
		printf("     and %u more\n", violations - WORLD_TEXTS);
	fflush(stdout);
	if (violations == 0 || getenv("LEAT_KEEP") == NULL)
		storm_remove(&s);
	world_destroy(s.w);
	return violations == 0 ? 0 : -1;
}

/* Worlds alternate: without and with death of the whole broker. */
static void
random_part(unsigned kills)
{
	unsigned most =
	    (kills + 1) / 2 < WORLD_KILLS ? (kills + 1) / 2 : WORLD_KILLS;
	const char *only = getenv("LEAT_VICTIM");
	unsigned done = 0, world = 0;
	int all = only != NULL && (strcmp(only, "leatd") == 0 ||
				      strcmp(only, "clean-restart") == 0);

	while (done < kills) {
		unsigned part = kills - done < most ? kills - done : most;
		char title[64];

		snprintf(title, sizeof(title), "%u random kills%s", part,
		    all || world % 2 ? ", whole broker too" : "");
		one_world(title, part, all || world % 2 == 1, NULL);
		done += part;
		world++;
	}
}

static void
failpoint_part(const char *only)
{
	size_t i;

	for (i = 0; i < FAILPOINTS; i++) {
		char title[64];

		if (only != NULL && strcmp(only, failpoint_names[i]) != 0)
			continue;
		snprintf(
		    title, sizeof(title), "failpoint %s", failpoint_names[i]);
		run.failpoints++;
		one_world(title, 0,
		    strncmp(failpoint_names[i], "supervisor.", 11) == 0,
		    failpoint_names[i]);
	}
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "all";
	const char *kills = getenv("LEAT_KILLS");
	const char *seed = getenv("LEAT_SEED");
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	run.random = seed != NULL
			 ? strtoull(seed, NULL, 0)
			 : world_now_ms() * 2654435761u + (uint64_t)getpid();
	run.random |= 1;
	printf("seed %llu (repeat with LEAT_SEED)\n",
	    (unsigned long long)run.random);
	if (strcmp(what, "all") == 0 || strcmp(what, "random") == 0)
		random_part(kills != NULL ? (unsigned)atoi(kills) : 100);
	if (strcmp(what, "random") != 0)
		failpoint_part(
		    strcmp(what, "all") == 0 || strcmp(what, "failpoints") == 0
			? NULL
			: what);
	if (run.worlds == 0) {
		fprintf(stderr, "kill_test: no failpoint is called %s\n", what);
		return 1;
	}
	printf("%u kills:", run.kills);
	for (i = 0; i < VICTIMS; i++)
		printf(" %s %u,", victim_name[i], run.by_kind[i]);
	printf(" failpoints %u, in recovery %u\n", run.failpoints, run.again);
	printf("%u worlds: %llu receipts, %llu in the logs, %llu delivered "
	       "(%llu again), %u violations\n",
	    run.worlds, (unsigned long long)run.receipts,
	    (unsigned long long)run.in_log, (unsigned long long)run.delivered,
	    (unsigned long long)run.redelivered, run.violations);
	return run.violations == 0 ? 0 : 1;
}
