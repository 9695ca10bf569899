/*
 * soak.c - one world for a long time at half load: does anything grow, slow
 * down or get lost? A first world, without chaos and without rates, says what
 * its maximum is: all that producers, members and readers can pass on together.
 * Then each producer sends half of what it could, while clients are killed and
 * stopped, topics made and deleted, a group sought, small segments rolled and
 * retained. In the first third store and queue manager are killed too; the rest
 * of the time they live, and what they use is measured once a second.
 *
 * Each message is judged, however many there are: the notes hold the last
 * WORLD_NUMBERS of a producer, who overwrites what the group acknowledged. What
 * is left of log and notes at the end is compared as in the crash test.
 *
 *   LEAT_SOAK=1800   seconds
 *   LEAT_SEED=N      as printed
 *   LEAT_KEEP=1      keep the directory of a soak that failed
 *
 * Printed: a line fitted (least squares) to each process's anonymous memory,
 * its descriptors before and after, the 99th percentile of an acknowledgement
 * in the first and the last fifth, in a second without chaos. It fails when the
 * line rises by GROWTH_KIB over the time it was fitted to, when descriptors
 * are more without clients than they were with them, when p99 has become
 * DRIFT_TIMES what it was and is above DRIFT_US (not in a short soak), when in
 * the seconds without chaos less than LEAST_PERCENT of the maximum was sent or
 * delivered, and on any violation of judge.c; besides, every message with a
 * receipt was delivered to the group.
 */
#include "storm.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GROWTH_KIB 4096
#define DRIFT_TIMES 5
#define DRIFT_US 100000
#define DRIFT_SECONDS                                                          \
	150 /* a shorter soak tells p99, but does not judge it                 \
	     */
#define CALM_MS 1000 /* after chaos: nothing is timed */
#define LEAST_PERCENT 40 /* of the maximum; half is wanted */
#define MAXIMUM_MS 3000 /* measured so long */
#define MAXIMUM_LONG_MS 10000 /* before a soak of DRIFT_SECONDS */
#define WARM_MS 1000
#define NAPS 2048 /* pauses of members would be the maximum */
#define RETAIN_MIB 24 /* at least, and what RETAIN_SECONDS bring */
#define RETAIN_SECONDS 20 /* or a third of a short soak */
#define STORED_BYTES 800 /* of one message, on average */
#define BUCKETS 4096 /* of STEP_US */
#define STEP_US 64
#define PROCS 3

static const char *const proc_name[PROCS] = {
    "leatd", "leat-store", "leat-queue"};

/* What a process uses over time: sums for the fitted line. */
struct use {
	pid_t pid;
	double n, x, y, xx, xy; /* x: seconds, y: KiB */
	long first_kib, last_kib;
	int fds_before, fds_after;
	int deaths; /* in the time measured: there must be none */
};

/* Shared with the prober. */
struct probe {
	_Atomic uint64_t calm_ms; /* chaos is over then */
	_Atomic uint32_t fifth;
	_Atomic uint32_t stop;
	_Atomic uint32_t count[5][BUCKETS];
};

static struct {
	uint64_t random, begin_ms, seconds;
	unsigned kills, freezes;
	double maximum; /* messages a second */
	unsigned rate[WORLD_PRODUCERS];
	uint64_t calm_ms, calm_sent, calm_delivered; /* without chaos */
	struct use use[PROCS];
	struct probe *probe;
} soak;

static unsigned
pick(unsigned from, unsigned to)
{
	return from + (unsigned)(world_random(&soak.random) % (to - from + 1));
}

/* --- what is measured --- */

static long
anonymous_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "r");
	while (f != NULL && kib < 0 && fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "RssAnon: %ld", &kib);
	if (f != NULL)
		fclose(f);
	return kib;
}

static int
count_fds(pid_t pid)
{
	char path[64];
	int n = -2; /* . and .. */

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);
	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static pid_t
pid_of(struct storm *s, int i)
{
	return i == 0 ? s->leatd : storm_find(s, proc_name[i]);
}

static void
measure(struct storm *s)
{
	double x = (double)(world_now_ms() - soak.begin_ms) / 1000;

	for (int i = 0; i < PROCS; i++) {
		struct use *u = &soak.use[i];
		pid_t pid = pid_of(s, i);
		long kib = anonymous_kib(pid);

		if (u->pid != 0 && pid != u->pid)
			u->deaths++;
		if (u->pid == 0) {
			u->pid = pid;
			u->first_kib = kib;
			u->fds_before = count_fds(pid);
		}
		if (kib < 0)
			continue;
		u->last_kib = kib;
		u->n++;
		u->x += x;
		u->y += (double)kib;
		u->xx += x * x;
		u->xy += x * (double)kib;
	}
}

/* KiB a second. */
static double
slope(const struct use *u)
{
	double d = u->n * u->xx - u->x * u->x;

	return d > 0 ? (u->n * u->xy - u->x * u->y) / d : 0;
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* A process that publishes and times each acknowledgement. */
static int
prober(struct world *w)
{
	struct probe *p = soak.probe;
	struct leat *leat = load_connect(w, "prober");
	struct leat_topic t = {
	    .name = "probe", .read_queues = 1, .write_queues = 1};
	struct leat_message m = LEAT_MESSAGE_INIT;

	if (leat == NULL || leat_topic_create(leat, &t) != LEAT_OK)
		return 1;
	m.topic = t.name;
	m.body = "probe";
	m.body_bytes = 5;
	m.level = LEAT_LOGGED;
	while (!atomic_load(&p->stop)) {
		uint64_t from = now_us(), took;
		int status = leat_publish(leat, &m, WORLD_PATIENCE_MS, NULL);

		took = (now_us() - from) / STEP_US;
		if (status != LEAT_OK) {
			world_violate(
			    w, "prober: publish: %s", leat_status_text(status));
			return 1;
		}
		if (from / 1000 >= atomic_load(&p->calm_ms))
			atomic_fetch_add(
			    &p->count[atomic_load(&p->fifth)]
				     [took < BUCKETS ? took : BUCKETS - 1],
			    1);
		world_pause_ms(2);
	}
	leat_close(leat);
	return 0;
}

/* 99th percentile of one fifth, in us; *count_out samples. */
static unsigned
p99_us(int fifth, unsigned long *count_out)
{
	unsigned long sum = 0, left;
	unsigned i;

	for (i = 0; i < BUCKETS; i++)
		sum += soak.probe->count[fifth][i];
	*count_out = sum;
	left = sum / 100;
	for (i = BUCKETS; i-- > 0;) {
		if (soak.probe->count[fifth][i] > left)
			break;
		left -= soak.probe->count[fifth][i];
	}
	return (i + 1) * STEP_US;
}

/* --- chaos --- */

static int
chaos(struct storm *s, int broker_too)
{
	pid_t store = 0, queue = 0;
	unsigned what = pick(0, broker_too ? 9 : 5);
	enum storm_role role = what % 2 ? STORM_PRODUCER : STORM_MEMBER;
	uint32_t slot = pick(0,
	    role == STORM_PRODUCER ? WORLD_PRODUCERS - 1 : WORLD_MEMBERS - 1);

	if (what < 2) {
		soak.freezes++;
		storm_freeze_client(s, role, slot, pick(20, 400));
		return 0;
	}
	soak.kills++;
	if (what < 6)
		return storm_kill_client(s, role, slot);
	if (what != 6) {
		store = storm_find(s, "leat-store");
		storm_kill_child(s, "leat-store");
	}
	if (what != 7) {
		queue = storm_find(s, "leat-queue");
		storm_kill_child(s, "leat-queue");
	}
	return storm_await_children(s, store, queue);
}

/* One second, with or without chaos in its beginning: 1, 0, or -1. */
static int
one_second(struct storm *s, uint64_t second)
{
	int settled = second >= soak.seconds / 3, stormy = pick(0, 2) == 0;

	atomic_store(&soak.probe->fifth, (uint32_t)(second * 5 / soak.seconds));
	if (stormy) {
		atomic_store(&soak.probe->calm_ms, UINT64_MAX);
		if (chaos(s, !settled) != 0)
			return -1;
		atomic_store(&soak.probe->calm_ms, world_now_ms() + CALM_MS);
	}
	/* A new process first takes what it needs. */
	if (second >= soak.seconds / 3 + soak.seconds / 10)
		measure(s);
	return stormy;
}

static uint64_t
delivered_once(struct world *w)
{
	return atomic_load(&w->delivered) - atomic_load(&w->redelivered);
}

static int
weather(struct storm *s)
{
	struct world *w = s->w;
	int stormy, before = 1;

	for (uint64_t second = 0; second < soak.seconds; second++) {
		uint64_t next = soak.begin_ms + (second + 1) * 1000;
		uint64_t began = world_now_ms(), now;
		uint64_t sent = atomic_load(&w->receipts);
		uint64_t delivered = delivered_once(w);

		stormy = one_second(s, second);
		if (stormy < 0 || atomic_load(&w->violations) != 0)
			return -1;
		now = world_now_ms();
		if (now < next)
			storm_run(s, (unsigned)(next - now), NULL);
		/* What a storm held up may come in the second after it. */
		if (!stormy && !before) {
			soak.calm_ms += world_now_ms() - began;
			soak.calm_sent += atomic_load(&w->receipts) - sent;
			soak.calm_delivered += delivered_once(w) - delivered;
		}
		before = stormy;
	}
	return 0;
}

/* --- the end --- */

/* All clients have left. */
static void
after(struct storm *s)
{
	for (int i = 0; i < PROCS; i++)
		soak.use[i].fds_after = count_fds(pid_of(s, i));
}

/* Retention may have taken it from the log, but not before it was delivered. */
static void
judge_delivered(struct world *w)
{
	for (uint32_t p = 0; p < WORLD_PRODUCERS; p++)
		for (uint64_t n = world_oldest(w, p);
		     n <= atomic_load(&w->submitted[p]); n++) {
			struct world_mark *mark = world_mark(w, p, n);

			if (mark != NULL && atomic_load(&mark->receipt) != 0 &&
			    atomic_load(&mark->seen) == 0)
				world_violate(w,
				    "LOST %u/%llu: acknowledged, never "
				    "delivered",
				    p, (unsigned long long)n);
		}
}

static void
judge_use(struct world *w)
{
	for (int i = 0; i < PROCS; i++) {
		const struct use *u = &soak.use[i];
		double growth = slope(u) * u->n;

		printf("%-10s anonymous memory %ld KiB, then %ld: %+.0f KiB/h "
		       "(%+.0f KiB in %.0f s); descriptors %d, without "
		       "clients %d\n",
		    proc_name[i], u->first_kib, u->last_kib, slope(u) * 3600,
		    growth, u->n, u->fds_before, u->fds_after);
		if (u->deaths != 0)
			world_violate(w, "%s died by itself", proc_name[i]);
		if (growth > GROWTH_KIB)
			world_violate(w, "%s leaks memory", proc_name[i]);
		if (u->fds_after > u->fds_before)
			world_violate(w, "%s leaks descriptors", proc_name[i]);
	}
}

static void
judge_drift(struct world *w)
{
	unsigned long n[2];
	unsigned first = p99_us(0, &n[0]), last = p99_us(4, &n[1]);

	printf("acknowledgement p99: %u us in the first fifth (%lu), %u us in "
	       "the last (%lu)\n",
	    first, n[0], last, n[1]);
	if (soak.seconds >= DRIFT_SECONDS && last > DRIFT_US &&
	    last > DRIFT_TIMES * first)
		world_violate(
		    w, "acknowledgements have become slow: %u us", last);
}

static void
judge_load(struct world *w, uint64_t ms)
{
	double calm = (double)soak.calm_ms / 1000, all = (double)ms / 1000;
	double sent = (double)soak.calm_sent / calm;
	double delivered = (double)soak.calm_delivered / calm;

	printf(
	    "half load: %.0f messages a second wanted; without chaos %.0f "
	    "sent, %.0f delivered (%.0f s), in all %.0f sent, %.0f delivered "
	    "(%.0f s)\n",
	    soak.maximum / 2, sent, delivered, calm,
	    (double)atomic_load(&w->receipts) / all,
	    (double)delivered_once(w) / all, all);
	if (soak.calm_ms == 0 || sent * 100 < soak.maximum * LEAST_PERCENT ||
	    delivered * 100 < soak.maximum * LEAST_PERCENT)
		world_violate(w, "less than %d %% of the maximum was reached",
		    LEAST_PERCENT);
}

static void
run(struct storm *s)
{
	struct world *w = s->w;
	uint64_t soak_ms;
	pid_t pid;
	int status = 0;

	if (storm_start(s) != 0 || storm_load(s) != 0)
		return;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(prober(w));
	}
	soak.begin_ms = world_now_ms();
	(void)weather(s);
	soak_ms = world_now_ms() - soak.begin_ms;
	atomic_store(&soak.probe->stop, 1);
	waitpid(pid, &status, 0);
	if (status != 0 && atomic_load(&w->violations) == 0)
		world_violate(w, "the prober ended with 0x%x", status);
	if (atomic_load(&w->violations) != 0 || storm_settle(s) != 0)
		return;
	judge_load(w, soak_ms);
	judge_delivered(w);
	judge_use(w);
	judge_drift(w);
}

/* --- worlds --- */

static int
make_world(struct storm *s)
{
	*s = (struct storm){.out = -1};
	s->w = world_create();
	if (s->w == NULL) {
		fprintf(stderr, "soak: no memory for a world\n");
		return -1;
	}
	s->w->seed = world_random(&soak.random);
	s->w->accepted = 1;
	s->w->admin = s->w->churn = 1;
	s->w->naps = NAPS;
	return 0;
}

static unsigned
end_world(struct storm *s)
{
	unsigned violations = atomic_load(&s->w->violations);

	storm_abandon(s);
	for (unsigned i = 0; i < violations && i < WORLD_TEXTS; i++)
		printf("     %s\n", s->w->text[i]);
	if (violations == 0 || getenv("LEAT_KEEP") == NULL)
		storm_remove(s);
	return violations;
}

/* What a world passes on, and each producer's half of its share. */
static void
run_freely(struct storm *s)
{
	struct world *w = s->w;
	uint64_t sent[WORLD_PRODUCERS], all = 0, delivered, from;
	double ms;
	uint32_t p;

	if (storm_start(s) != 0 || storm_load(s) != 0)
		return;
	storm_run(s, WARM_MS, NULL);
	from = world_now_ms();
	delivered = delivered_once(w);
	for (p = 0; p < WORLD_PRODUCERS; p++)
		sent[p] = atomic_load(&w->submitted[p]);
	storm_run(s,
	    soak.seconds < DRIFT_SECONDS ? MAXIMUM_MS : MAXIMUM_LONG_MS, NULL);
	ms = (double)(world_now_ms() - from);
	delivered = delivered_once(w) - delivered;
	for (p = 0; p < WORLD_PRODUCERS; p++) {
		sent[p] = atomic_load(&w->submitted[p]) - sent[p];
		all += sent[p];
	}
	soak.maximum = (double)delivered * 1000 / ms;
	printf("maximum, without chaos: %.0f messages a second (%.1f s);",
	    soak.maximum, ms / 1000);
	for (p = 0; p < WORLD_PRODUCERS; p++) {
		soak.rate[p] = (unsigned)(soak.maximum / 2 * (double)sent[p] /
					  (double)all);
		printf(" producer %u: half is %u%s", p, soak.rate[p],
		    p < WORLD_PRODUCERS - 1 ? "," : "\n");
	}
	fflush(stdout);
	if (atomic_load(&w->violations) == 0)
		(void)storm_settle(s);
}

static unsigned
find_maximum(void)
{
	struct storm s;

	if (make_world(&s) != 0)
		return 1;
	if (storm_prepare(&s) == 0)
		run_freely(&s);
	unsigned violations = end_world(&s);

	world_destroy(s.w);
	return violations;
}

static unsigned
soak_world(void)
{
	struct storm s;
	struct world *w;
	double keep = (double)soak.seconds / 3;
	double mib = soak.maximum / 2 * STORED_BYTES / 1048576 *
		     (keep < RETAIN_SECONDS ? keep : RETAIN_SECONDS);

	if (make_world(&s) != 0)
		return 1;
	w = s.w;
	s.calm = after;
	memcpy(w->rate, soak.rate, sizeof(w->rate));
	w->retain = mib > RETAIN_MIB ? (int)mib : RETAIN_MIB;
	if (storm_prepare(&s) == 0)
		run(&s);
	printf("%u kills, %u stops, %llu rounds of administration; %llu "
	       "receipts, %llu delivered (%llu again), %llu left in the log\n",
	    soak.kills, soak.freezes,
	    (unsigned long long)atomic_load(&w->admin_rounds),
	    (unsigned long long)atomic_load(&w->receipts),
	    (unsigned long long)atomic_load(&w->delivered),
	    (unsigned long long)atomic_load(&w->redelivered),
	    (unsigned long long)atomic_load(&w->in_log));
	return end_world(&s);
}

int
main(void)
{
	const char *seconds = getenv("LEAT_SOAK"), *seed = getenv("LEAT_SEED");
	unsigned violations;

	signal(SIGPIPE, SIG_IGN);
	soak.seconds = seconds != NULL ? strtoull(seconds, NULL, 10) : 1800;
	if (soak.seconds < 10)
		soak.seconds = 10;
	soak.random = seed != NULL ? strtoull(seed, NULL, 0)
				   : world_now_ms() * 2654435761u;
	soak.random |= 1;
	printf("seed %llu (repeat with LEAT_SEED), %llu s\n",
	    (unsigned long long)soak.random, (unsigned long long)soak.seconds);
	fflush(stdout);
	soak.probe = mmap(NULL, sizeof(*soak.probe), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (soak.probe == MAP_FAILED)
		return 1;
	violations = find_maximum();
	if (violations == 0)
		violations = soak_world();
	printf("%s soak of %llu s: %u violations\n",
	    violations == 0 ? "ok  " : "FAIL", (unsigned long long)soak.seconds,
	    violations);
	return violations == 0 ? 0 : 1;
}
