/*
 * hostile_test.c - D9: clients that scribble over all they may write and send
 * forged admission messages, while honest ones are checked byte for byte: each
 * message once, in order, and no broker process dies. Meant for a build with
 * sanitizers: what a scribble makes the broker do wrong ends it there.
 *
 *   LEAT_SECONDS=15  LEAT_SEED=N  LEAT_KEEP=1
 */
#include "hostile.h"
#include "storm.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 2u
#define DESCRIPTORS 16u
#define TABLES_REST_MS 60000 /* LT_TABLE_REST_MS: holes of the last minute */
#define BROKERS 3u

static const char config[] = "[store]\n"
			     "segment_bytes = 8m\n"
			     "prefill_bytes = 1m\n"
			     "[queue]\n"
			     "lease_ms = 5000\n"
			     "harvest_ms = 10\n"
			     "session_grace_ms = 200\n"
			     "sessions_max = 256\n";

static const char *const kind_name[] = {
    "lane", "table", "noise", "forger", "flood"};
static const char *const broker_name[] = {"leat-store", "leat-queue", "leatd"};

static struct {
	struct storm s;
	struct field *f;
	struct hostile_deeds *deeds;
	uint64_t random;
	pid_t observer[FIELD_OBSERVERS];
	pid_t broker[BROKERS];
	unsigned fds[BROKERS];
	unsigned lives;
	unsigned turned_away;
} t;

static pid_t
start(int (*entry)(struct field *f))
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(entry(t.f));
	}
	return pid;
}

static pid_t
release(void)
{
	static unsigned turn;
	enum hostile_kind kind = turn++ % HOSTILE_KINDS;
	uint64_t seed = world_random(&t.random);
	unsigned ms = 100 + (unsigned)(seed % 400);
	pid_t pid = fork();

	t.lives++;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(hostile_live(t.s.w->socket, kind, seed, ms, t.deeds));
	}
	return pid;
}

static pid_t
broker_pid(unsigned i)
{
	return i < BROKERS - 1 ? storm_find(&t.s, broker_name[i]) : t.s.leatd;
}

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

static void
none_died(void)
{
	unsigned i;

	for (i = 0; i < BROKERS; i++)
		if (broker_pid(i) != t.broker[i])
			world_violate(t.s.w, "%s died; see %s/leatd.log",
			    broker_name[i], t.s.w->dir);
}

/* Hostile clients come and go, some killed in the act. */
static void
siege(unsigned seconds)
{
	uint64_t until = world_now_ms() + seconds * 1000ull;
	pid_t pid[SLOTS] = {0};
	unsigned i;
	int status;

	while (world_now_ms() < until && atomic_load(&t.s.w->violations) == 0) {
		for (i = 0; i < SLOTS; i++) {
			if (pid[i] == 0)
				pid[i] = release();
			else if (waitpid(pid[i], &status, WNOHANG) == pid[i]) {
				pid[i] = 0;
				if (WIFSIGNALED(status))
					world_violate(t.s.w,
					    "a hostile client died of signal "
					    "%d",
					    WTERMSIG(status));
				t.turned_away += status != 0;
			} else if (world_random(&t.random) % 2000 == 0) {
				kill(pid[i], SIGKILL);
				waitpid(pid[i], NULL, 0);
				pid[i] = 0;
			}
		}
		world_pause_ms(1);
		none_died();
	}
	for (i = 0; i < SLOTS; i++)
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
}

static void
back_to_normal(void)
{
	uint64_t until = world_now_ms() + TABLES_REST_MS + 10000;
	unsigned i, fds;

	for (i = 0; i < BROKERS; i++) {
		do {
			fds = count_fds(t.broker[i]);
			if (fds <= t.fds[i] + DESCRIPTORS)
				break;
			world_pause_ms(20);
		} while (world_now_ms() < until);
		if (fds > t.fds[i] + DESCRIPTORS)
			world_violate(t.s.w,
			    "%s has %u descriptors, before the siege it had "
			    "%u",
			    broker_name[i], fds, t.fds[i]);
	}
	if (atomic_load(&t.deeds->mapped_what_is_sealed) != 0)
		world_violate(t.s.w, "something sealed could be changed");
}

static void
dismiss(unsigned i)
{
	int status = 0;

	if (waitpid(t.observer[i], &status, 0) == t.observer[i] && status != 0)
		world_violate(t.s.w, "observer %u: wait status 0x%x", i,
		    (unsigned)status);
	t.observer[i] = 0;
}

static void
play(unsigned seconds)
{
	static int (*const entry[])(struct field *) = {
	    field_producer, field_reader, field_member};
	uint64_t until = world_now_ms() + WORLD_PATIENCE_MS;
	int status;
	unsigned i;

	if (storm_prepare(&t.s) != 0 || storm_start(&t.s) != 0 ||
	    waitpid(start(field_topic), &status, 0) < 0 || status != 0)
		return;
	for (i = FIELD_OBSERVERS; i-- > 0;)
		t.observer[i] = start(entry[i]);
	while (atomic_load(&t.f->ready) < FIELD_OBSERVERS &&
	       world_now_ms() < until)
		world_pause_ms(1);
	for (i = 0; i < BROKERS; i++) {
		t.broker[i] = broker_pid(i);
		t.fds[i] = count_fds(t.broker[i]);
	}
	siege(seconds);
	atomic_store(&t.f->stop_producer, 1);
	dismiss(FIELD_PRODUCER);
	(void)waitpid(start(field_settled), &status, 0);
	back_to_normal();
	none_died();
	atomic_store(&t.f->stop_consumers, 1);
	dismiss(FIELD_READER);
	dismiss(FIELD_MEMBER);
	field_judge(t.f, 1);
	if (atomic_load(&t.deeds->lives[HOSTILE_FLOOD]) == 0)
		world_violate(t.s.w, "not every kind of harm was tried");
	if (atomic_load(&t.s.w->violations) == 0)
		(void)storm_stop(&t.s);
}

int
main(void)
{
	const char *seconds = getenv("LEAT_SECONDS");
	const char *seed = getenv("LEAT_SEED");
	unsigned i, violations;

	signal(SIGPIPE, SIG_IGN);
	/* In its sandbox a process may not look for leaks. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
	t.random =
	    (seed != NULL ? strtoull(seed, NULL, 0)
			  : world_now_ms() * 2654435761u + (uint64_t)getpid()) |
	    1;
	printf("seed %llu (repeat with LEAT_SEED)\n",
	    (unsigned long long)t.random);
	t.s.w = world_create();
	t.f = t.s.w == NULL ? NULL : field_create(t.s.w);
	t.deeds = mmap(NULL, sizeof(*t.deeds), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.f == NULL || t.deeds == MAP_FAILED)
		return 1;
	t.s.w->seed = t.random;
	t.s.w->config = config;
	atomic_store(&t.f->phase, FIELD_KILLS);
	play(seconds != NULL ? (unsigned)atoi(seconds) : 15);
	for (i = 0; i < FIELD_OBSERVERS; i++)
		if (t.observer[i] > 0) {
			kill(t.observer[i], SIGKILL);
			waitpid(t.observer[i], NULL, 0);
		}
	storm_abandon(&t.s);
	violations = atomic_load(&t.s.w->violations);
	printf("%s hostile clients: %u lives (%u turned away);",
	    violations == 0 ? "ok  " : "FAIL", t.lives, t.turned_away);
	for (i = 0; i < HOSTILE_KINDS; i++)
		printf(" %s %llu,", kind_name[i],
		    (unsigned long long)atomic_load(&t.deeds->lives[i]));
	printf(" %llu forged records, %llu claims, %llu messages; %llu honest "
	       "messages, producer's longest wait %.1f ms\n",
	    (unsigned long long)atomic_load(&t.deeds->forged_records),
	    (unsigned long long)atomic_load(&t.deeds->forged_claims),
	    (unsigned long long)atomic_load(&t.deeds->forged_messages),
	    (unsigned long long)atomic_load(&t.f->delivered),
	    (double)atomic_load(
		&t.f->waits[FIELD_PRODUCER][FIELD_KILLS].max_us) /
		1000);
	for (i = 0; i < violations && i < WORLD_TEXTS; i++)
		printf("     %s\n", t.s.w->text[i]);
	if (violations == 0 || getenv("LEAT_KEEP") == NULL)
		storm_remove(&t.s);
	return violations == 0 ? 0 : 1;
}
