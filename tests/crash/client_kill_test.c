/*
 * client_kill_test.c - D9 and P10: SIGKILL and SIGSTOP clients at random
 * instructions while they do everything at full speed; nobody else notices.
 *
 * A world is one broker, three observers (field.h) and a few victims at a time.
 * First victims come and go in good order: the baseline. Then each is killed
 * after a random time, some stopped first, some stopped for good. Judged:
 *
 *   the observers wait no longer than 10 ms. A longer wait counts as the
 *   machine's if meanwhile a process without a broker (metronome.h) was woken
 *   late by what is more than 10 ms; it is told, but fails nothing, if it is
 *   no longer than twice the longest wait of the baseline, which says how
 *   slow disk and CPUs are for everybody now
 *   what the dead held is delivered again at once, what the stopped held after
 *   the lease; nothing is lost, nothing acknowledged comes again
 *   the broker's descriptors and memory are back to what they were
 *
 *   client_kill_test [--figure] [--json] [--kills N]
 *   --figure   P10: one victim at a time, killed only, the longest waits
 *   LEAT_KILLS=1000  LEAT_SEED=N  LEAT_KEEP=1   as for kill_test
 */
#include "field.h"
#include "metronome.h"
#include "storm.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD_KILLS 1000u
#define SLOTS 4u
#define LEFT_MAX 6u /* stopped for good, at a time */
#define MEMORY_KIB (16u << 10)
#define DESCRIPTORS 8u

static const char config[] = "[store]\n"
			     "segment_bytes = 8m\n"
			     "prefill_bytes = 4m\n"
			     "checkpoint_ms = 3600000\n" /* it syncs */
			     "retain_bytes = 48m\n"
			     "retain_check_ms = 200\n"
			     "[queue]\n"
			     "lease_ms = 1500\n"
			     "group_window = 65536\n"
			     "harvest_ms = 10\n";

static const char *const broker_names[] = {"leat-store", "leat-queue"};
#define BROKERS 3u /* and leatd */

struct slot {
	pid_t pid;
	uint32_t life;
	uint64_t due_ns;
	int stopped;
};

static struct {
	uint64_t random;
	int figure;
	int json;
	unsigned kills, stops, left;
	uint64_t messages, taken_over, claimed;
	unsigned worlds, violations;
	double max_ms[FIELD_PHASES];
	/* Waits over 10 ms: all, and those which the machine made longer. */
	unsigned over[FIELD_PHASES], machine[FIELD_PHASES];
	double max_own_ms, max_machine_ms; /* while clients are killed */
} run;

struct hunt {
	struct field *f;
	struct metronome *m;
	struct storm s;
	struct slot slot[SLOTS];
	pid_t left[LEFT_MAX];
	unsigned left_count;
	uint32_t lives;
	pid_t observer[FIELD_OBSERVERS];
	pid_t broker[BROKERS];
	unsigned fds[BROKERS];
	unsigned memory_kib[BROKERS];
};

static unsigned
pick(unsigned from, unsigned to)
{
	return from + (unsigned)(world_random(&run.random) % (to - from + 1));
}

/* --- processes ----------------------------------------------------------- */

static pid_t
start(struct hunt *h, int (*entry)(struct field *f))
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(entry(h->f));
	}
	return pid;
}

static int
apart(struct hunt *h, int (*entry)(struct field *f))
{
	int status = -1;
	pid_t pid = start(h, entry);

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0
									 : -1;
}

static uint64_t
soon(void)
{
	unsigned us = pick(0, 7) == 0 ? pick(0, 30000) : pick(0, 5000);

	return field_now_ns() + us * 1000ull;
}

static void
spawn(struct hunt *h, struct slot *v, int orderly)
{
	unsigned us = pick(1, 20000);

	/* Most die at work, some while they come in. */
	*v = (struct slot){.life = h->lives++};
	v->due_ns = pick(0, 3) == 0 ? soon() : UINT64_MAX;
	v->pid = fork();
	if (v->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!run.figure && nice(5) == -1)
		_exit(1);
	_exit(field_victim(h->f, v->life, orderly ? (int)us : 0));
}

static int
is_due(struct hunt *h, struct slot *v)
{
	if (v->due_ns == UINT64_MAX &&
	    atomic_load(&h->f->lives[v->life].at_work))
		v->due_ns = soon();
	return field_now_ns() >= v->due_ns;
}

static void
slay(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void
stop(struct hunt *h, struct slot *v)
{
	atomic_store(&h->f->lives[v->life].was_stopped, 1);
	kill(v->pid, SIGSTOP);
	v->stopped = 1;
	v->due_ns = field_now_ns() + pick(0, 300) * 1000000ull;
	run.stops++;
}

/* A stopped one: goes on, dies, or stays as it is. */
static void
decide(struct hunt *h, struct slot *v)
{
	unsigned r = pick(0, 7);

	if (r == 0 && h->left_count < LEFT_MAX) {
		h->left[h->left_count++] = v->pid;
		v->pid = 0;
		run.left++;
	} else if (r < 4) {
		kill(v->pid, SIGCONT);
		v->stopped = 0;
		v->due_ns = soon();
	} else
		v->due_ns = 0;
}

/* Returns 1 for a kill. */
static int
strike(struct hunt *h, struct slot *v)
{
	if (v->stopped && v->due_ns != 0) {
		decide(h, v);
		return 0;
	}
	if (!v->stopped && !run.figure && pick(0, 15) == 0) {
		stop(h, v);
		return 0;
	}
	atomic_store(&h->f->lives[v->life].died_ns, field_now_ns());
	slay(v->pid);
	v->pid = 0;
	run.kills++;
	return 1;
}

/* Victims leave by themselves: `count` of them. */
static void
baseline(struct hunt *h, unsigned count)
{
	unsigned slots = run.figure ? 1 : SLOTS, gone = 0, i;

	while (gone < count && atomic_load(&h->f->w->violations) == 0) {
		for (i = 0; i < slots; i++) {
			struct slot *v = &h->slot[i];

			if (v->pid == 0)
				spawn(h, v, 1);
			else if (waitpid(v->pid, NULL, WNOHANG) == v->pid) {
				v->pid = 0;
				gone++;
			}
		}
		world_pause_us(200);
	}
	for (i = 0; i < slots; i++)
		if (h->slot[i].pid > 0)
			waitpid(h->slot[i].pid, NULL, 0);
	memset(h->slot, 0, sizeof(h->slot));
}

static void
hunt(struct hunt *h, unsigned count)
{
	unsigned slots = run.figure ? 1 : SLOTS, killed = 0, i;

	while (killed < count && atomic_load(&h->f->w->violations) == 0) {
		for (i = 0; i < slots; i++) {
			struct slot *v = &h->slot[i];

			if (v->pid == 0)
				spawn(h, v, 0);
			else if (is_due(h, v))
				killed += (unsigned)strike(h, v);
		}
		world_pause_us(50);
	}
	for (i = 0; i < slots; i++)
		if (h->slot[i].pid > 0) {
			kill(h->slot[i].pid, SIGCONT);
			slay(h->slot[i].pid);
		}
	memset(h->slot, 0, sizeof(h->slot));
}

/* --- what the broker uses ------------------------------------------------ */

static unsigned
count_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

/* Private memory and shared segments; file mappings do not count. */
static unsigned
memory_of(pid_t pid)
{
	char path[64], line[256];
	unsigned sum = 0, kib;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	in = fopen(path, "r");
	while (in != NULL && fgets(line, sizeof(line), in) != NULL)
		if (sscanf(line, "RssAnon: %u", &kib) == 1 ||
		    sscanf(line, "RssShmem: %u", &kib) == 1)
			sum += kib;
	if (in != NULL)
		fclose(in);
	return sum;
}

static const char *
broker_name(unsigned i)
{
	return i < BROKERS - 1 ? broker_names[i] : "leatd";
}

static void
weigh(struct hunt *h)
{
	unsigned i;

	for (i = 0; i < BROKERS; i++) {
		h->broker[i] = i < BROKERS - 1
				   ? storm_find(&h->s, broker_names[i])
				   : h->s.leatd;
		h->fds[i] = count_fds(h->broker[i]);
		h->memory_kib[i] = memory_of(h->broker[i]);
	}
}

static void
weigh_again(struct hunt *h)
{
	uint64_t until = world_now_ms() + 5000;
	unsigned i, fds, kib;

	for (i = 0; i < BROKERS; i++) {
		const char *name = broker_name(i);

		if (i < BROKERS - 1 && storm_find(&h->s, name) != h->broker[i])
			world_violate(h->f->w, "%s died meanwhile", name);
		do {
			fds = count_fds(h->broker[i]);
			kib = memory_of(h->broker[i]);
			if (fds <= h->fds[i] + DESCRIPTORS &&
			    kib <= h->memory_kib[i] + MEMORY_KIB)
				break;
			world_pause_ms(20);
		} while (world_now_ms() < until);
		if (fds > h->fds[i] + DESCRIPTORS)
			world_violate(h->f->w,
			    "%s has %u descriptors, before the kills it had "
			    "%u",
			    name, fds, h->fds[i]);
		if (kib > h->memory_kib[i] + MEMORY_KIB)
			world_violate(h->f->w,
			    "%s has %u KiB of memory, before the kills %u",
			    name, kib, h->memory_kib[i]);
	}
}

/* --- waits --------------------------------------------------------------- */

static const char *const observer_name[] = {"producer", "reader", "member"};

static void
judge_waits(struct hunt *h)
{
	unsigned i, p;

	for (i = 0; i < FIELD_OBSERVERS; i++) {
		struct field_waits *w = h->f->waits[i];
		for (p = 0; p < FIELD_PHASES; p++) {
			uint64_t n = atomic_load(&w[p].count);
			double ms = (double)atomic_load(&w[p].max_us) / 1000;

			if (ms > run.max_ms[p])
				run.max_ms[p] = ms;
			if (n < 100)
				world_violate(h->f->w,
				    "%s waited only %llu times",
				    observer_name[i], (unsigned long long)n);
			if (!run.json)
				printf("     %-8s %s: %llu waits, p99.9 %.2f "
				       "ms, longest %.1f ms, over 10 ms %llu\n",
				    observer_name[i],
				    p == FIELD_KILLS ? "kills   " : "baseline",
				    (unsigned long long)n,
				    field_p999_us(&w[p]) / 1000, ms,
				    (unsigned long long)atomic_load(
					&w[p].long_ones));
		}
	}
}

/* The longest wait of anybody while nobody was killed. */
static double
baseline_ms(const struct hunt *h)
{
	uint64_t most = 0;
	unsigned i;

	for (i = 0; i < FIELD_OBSERVERS; i++) {
		uint64_t us =
		    atomic_load(&h->f->waits[i][FIELD_BASELINE].max_us);

		most = us > most ? us : most;
	}
	return (double)most / 1000;
}

/* Whose is each wait over 10 ms? After the metronomes have stopped. */
static void
judge_long_waits(struct hunt *h)
{
	uint32_t count = atomic_load(&h->f->long_count);
	uint32_t i, over[FIELD_PHASES] = {0}, machine[FIELD_PHASES] = {0};

	if (count > FIELD_LONG_WAITS)
		world_violate(h->f->w, "%u waits over 10 ms", count);
	for (i = 0; i < count && i < FIELD_LONG_WAITS; i++) {
		const struct field_long *l = &h->f->longs[i];
		uint64_t ns = l->to_ns - l->from_ns;
		uint64_t late = metronome_late_ns(h->m, l->from_ns, l->to_ns);
		int its = ns - late <= FIELD_LONG_US * 1000u;
		double ms = (double)ns / 1e6;

		if (l->phase >= FIELD_PHASES)
			continue;
		over[l->phase]++;
		machine[l->phase] += (unsigned)its;
		if (!run.json)
			printf("     %-8s %s: waited %.1f ms, meanwhile a "
			       "metronome was late by %.1f ms%s\n",
			    observer_name[l->who],
			    l->phase == FIELD_KILLS ? "kills   " : "baseline",
			    ms, (double)late / 1e6, its ? "" : " only");
		if (l->phase != FIELD_KILLS)
			continue;
		if (its && ms > run.max_machine_ms)
			run.max_machine_ms = ms;
		if (!its && ms > run.max_own_ms)
			run.max_own_ms = ms;
		if (!its && !run.figure && ms > 2 * baseline_ms(h))
			world_violate(h->f->w,
			    "%s waited %.1f ms, and not because of the machine",
			    observer_name[l->who], ms);
	}
	for (i = 0; i < FIELD_PHASES; i++) {
		run.over[i] += over[i];
		run.machine[i] += machine[i];
	}
}

/* --- a world ------------------------------------------------------------- */

static int
observe(struct hunt *h)
{
	static int (*const entry[])(struct field *) = {
	    field_producer, field_reader, field_member};
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	unsigned i;

	if (apart(h, field_topic) != 0)
		return -1;
	/* Consumers first: a new group begins where the queue does. */
	for (i = FIELD_OBSERVERS; i-- > 0;)
		h->observer[i] = start(h, entry[i]);
	while (atomic_load(&h->f->ready) < FIELD_OBSERVERS) {
		if (world_now_ms() > until ||
		    atomic_load(&h->f->w->violations) != 0)
			return -1;
		world_pause_ms(1);
	}
	return 0;
}

static void
dismiss(struct hunt *h, unsigned i)
{
	int status = 0;

	if (h->observer[i] <= 0)
		return;
	if (waitpid(h->observer[i], &status, 0) == h->observer[i] &&
	    status != 0 && atomic_load(&h->f->w->violations) == 0)
		world_violate(h->f->w, "%s ended with wait status 0x%x",
		    observer_name[i], (unsigned)status);
	h->observer[i] = 0;
}

static void
settle(struct hunt *h)
{
	unsigned i;

	/* Some are stopped yet: their claims come back all the same. */
	atomic_store(&h->f->stop_producer, 1);
	dismiss(h, FIELD_PRODUCER);
	if (apart(h, field_settled) != 0 || apart(h, field_retained) != 0)
		return;
	for (i = 0; i < h->left_count; i++)
		kill(h->left[i], SIGCONT);
	world_pause_ms(50);
	for (i = 0; i < h->left_count; i++)
		slay(h->left[i]);
	h->left_count = 0;
	if (apart(h, field_settled) == 0)
		weigh_again(h);
	atomic_store(&h->f->stop_consumers, 1);
	dismiss(h, FIELD_READER);
	dismiss(h, FIELD_MEMBER);
	field_judge(h->f, h->lives);
	if (atomic_load(&h->f->w->violations) == 0)
		(void)storm_stop(&h->s);
}

static void
run_world(struct hunt *h, unsigned kills)
{
	if (storm_prepare(&h->s) != 0 || storm_start(&h->s) != 0 ||
	    observe(h) != 0)
		return;
	baseline(h, 20);
	metronome_start(h->m);
	atomic_store(&h->f->phase, FIELD_BASELINE);
	baseline(h, kills < 400 ? 100 : kills / 4);
	world_pause_ms(200);
	weigh(h);
	atomic_store(&h->f->phase, FIELD_KILLS);
	hunt(h, kills);
	settle(h);
	metronome_stop(h->m);
	judge_waits(h);
	judge_long_waits(h);
}

static void
one_world(unsigned kills)
{
	struct hunt h = {.lives = 1};
	uint64_t begin = world_now_ms();
	uint64_t seed = run.random;
	unsigned i, violations;

	h.s.w = world_create();
	h.f = h.s.w == NULL ? NULL : field_create(h.s.w);
	h.m = metronome_create();
	if (h.f == NULL || h.m == NULL) {
		fprintf(stderr, "client_kill_test: no memory\n");
		exit(1);
	}
	h.s.w->seed = seed;
	h.s.w->config = config;
	atomic_store(&h.f->phase, FIELD_WARM_UP);
	run_world(&h, kills);
	for (i = 0; i < SLOTS; i++)
		if (h.slot[i].pid > 0)
			slay(h.slot[i].pid);
	for (i = 0; i < h.left_count; i++)
		slay(h.left[i]);
	for (i = 0; i < FIELD_OBSERVERS; i++)
		if (h.observer[i] > 0)
			slay(h.observer[i]);
	metronome_stop(h.m);
	storm_abandon(&h.s);
	violations = atomic_load(&h.s.w->violations);
	run.violations += violations;
	run.worlds++;
	run.messages += atomic_load(&h.f->delivered);
	run.taken_over += atomic_load(&h.f->taken_over);
	run.claimed += atomic_load(&h.f->claimed_by_victims);
	if (!run.json)
		printf("%s %u kills: %llu messages, victims claimed %llu, "
		       "%llu taken over, of the dead within %.1f ms, %.1f s "
		       "(seed %llu)\n",
		    violations == 0 ? "ok  " : "FAIL", kills,
		    (unsigned long long)atomic_load(&h.f->delivered),
		    (unsigned long long)atomic_load(&h.f->claimed_by_victims),
		    (unsigned long long)atomic_load(&h.f->taken_over),
		    (double)atomic_load(&h.f->returns.max_us) / 1000,
		    (double)(world_now_ms() - begin) / 1000,
		    (unsigned long long)seed);
	for (i = 0; i < violations && i < WORLD_TEXTS; i++)
		fprintf(
		    run.json ? stderr : stdout, "     %s\n", h.s.w->text[i]);
	fflush(stdout);
	if (violations == 0 || getenv("LEAT_KEEP") == NULL)
		storm_remove(&h.s);
	field_destroy(h.f);
	metronome_destroy(h.m);
	world_destroy(h.s.w);
}

static void
report(uint64_t steal_ms)
{
	unsigned own = run.over[FIELD_KILLS] - run.machine[FIELD_KILLS];

	if (run.json) {
		printf("{\"p10_max_wait_ms\":%.3f,\"baseline_max_wait_ms\":"
		       "%.3f,\"kills\":%u,\"violations\":%u,"
		       "\"over_10_ms\":%u,\"over_10_ms_machine\":%u,"
		       "\"steal_ms\":%llu}\n",
		    run.max_ms[FIELD_KILLS], run.max_ms[FIELD_BASELINE],
		    run.kills, run.violations, run.over[FIELD_KILLS],
		    run.machine[FIELD_KILLS], (unsigned long long)steal_ms);
		return;
	}
	printf("longest wait of any other client when a client is SIGKILLed at "
	       "full speed: %.1f ms (without kills %.1f ms)\n",
	    run.max_ms[FIELD_KILLS], run.max_ms[FIELD_BASELINE]);
	printf("%u waits over 10 ms, %u of them while a process without a "
	       "broker waited too (longest %.1f ms), %u not (longest %.1f ms); "
	       "without kills %u, %u of them; the host kept %llu ms of CPU\n",
	    run.over[FIELD_KILLS], run.machine[FIELD_KILLS], run.max_machine_ms,
	    own, run.max_own_ms, run.over[FIELD_BASELINE],
	    run.machine[FIELD_BASELINE], (unsigned long long)steal_ms);
	printf("%u worlds: %u kills, %u stops (%u for good), %llu messages, "
	       "victims claimed %llu, %llu taken over, %u violations\n",
	    run.worlds, run.kills, run.stops, run.left,
	    (unsigned long long)run.messages, (unsigned long long)run.claimed,
	    (unsigned long long)run.taken_over, run.violations);
}

int
main(int argc, char **argv)
{
	const char *kills_text = getenv("LEAT_KILLS");
	const char *seed = getenv("LEAT_SEED");
	unsigned kills = kills_text != NULL ? (unsigned)atoi(kills_text) : 1000;
	uint64_t steal_ms = metronome_steal_ms();
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--figure") == 0)
			run.figure = 1;
		else if (strcmp(argv[i], "--json") == 0)
			run.json = 1;
		else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			kills = (unsigned)atoi(argv[++i]);
		else {
			fprintf(stderr, "usage: client_kill_test [--figure] "
					"[--json] [--kills N]\n");
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	run.random = seed != NULL
			 ? strtoull(seed, NULL, 0)
			 : world_now_ms() * 2654435761u + (uint64_t)getpid();
	run.random |= 1;
	if (!run.json)
		printf("seed %llu (repeat with LEAT_SEED)\n",
		    (unsigned long long)run.random);
	while (run.kills < kills && run.violations == 0) {
		unsigned left = kills - run.kills;

		one_world(left < WORLD_KILLS ? left : WORLD_KILLS);
	}
	report(metronome_steal_ms() - steal_ms);
	return run.violations == 0 ? 0 : 1;
}
