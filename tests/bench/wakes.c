/*
 * wakes.c - what a wake-up costs, by primitive: futex, eventfd, pipe, Unix
 * stream socket. One process writes the time and wakes, `hops` sleepers hand it
 * on, the last one says how late it is: two hops are publisher, store,
 * consumer. It decides what shm/doorbell.c is made of.
 *
 *   wakes [-c COUNT] [-r RATE] [-h HOPS] [-l] [-p CPU,CPU,...] [-w WORK_NS]
 *
 * -l: a busy process on every CPU beside them; -p: pin the parties; -w: what
 * each party does after it woke the next (WORK_NS of computing). Nobody spins.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_HOPS 4
#define MAX_COUNT 1000000

enum kind {
	FUTEX,
	EVENTFD,
	PIPE,
	SOCKET,
	KINDS
};
static const char *const names[KINDS] = {"futex", "eventfd", "pipe", "socket"};

struct hop {
	_Alignas(128) _Atomic uint32_t bell;
	int rx, tx;
};

struct shared {
	struct hop hop[MAX_HOPS];
	_Alignas(128) _Atomic uint64_t stamp_ns;
	_Alignas(128) _Atomic uint32_t n;
	uint64_t call_ns[MAX_COUNT];
	uint64_t late_ns[MAX_COUNT];
};

static struct shared *s;
static unsigned count = 20000, rate = 5000, hops = 1, work_ns;
static int cpu_of[MAX_HOPS + 1], is_pinned, is_loaded;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
compute(unsigned ns)
{
	uint64_t until = now_ns() + ns;

	while (ns > 0 && now_ns() < until)
		;
}

static void
pin(unsigned party)
{
	cpu_set_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!is_pinned)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu_of[party], &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		perror("wakes: pin");
}

static void
ring(enum kind kind, struct hop *h, uint32_t n)
{
	uint64_t one = 1;

	if (kind == FUTEX) {
		atomic_store(&h->bell, n);
		syscall(
		    SYS_futex, &h->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	} else if (write(h->tx, &one, kind == EVENTFD ? 8 : 1) < 0) {
		perror("wakes: write");
	}
}

static void
await(enum kind kind, struct hop *h, uint32_t n)
{
	uint64_t buf;

	if (kind != FUTEX) {
		while (read(h->rx, &buf, kind == EVENTFD ? 8 : 1) < 0 &&
		       errno == EINTR)
			;
		return;
	}
	for (uint32_t seen; (seen = atomic_load(&h->bell)) < n;)
		syscall(SYS_futex, &h->bell, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void
sleeper(enum kind kind, unsigned at)
{
	pin(at + 1);
	for (uint32_t n = 1; n <= count; n++) {
		await(kind, &s->hop[at], n);
		if (at + 1 < hops) {
			ring(kind, &s->hop[at + 1], n);
		} else {
			s->late_ns[n - 1] =
			    now_ns() - atomic_load(&s->stamp_ns);
			atomic_store(&s->n, n);
		}
		compute(work_ns);
	}
	_exit(0);
}

static void
sender(enum kind kind)
{
	uint64_t gap = 1000000000u / rate, due;
	struct timespec ts;

	pin(0);
	due = now_ns() + 10000000;
	for (uint32_t n = 1; n <= count; n++, due += gap) {
		ts.tv_sec = (time_t)(due / 1000000000u);
		ts.tv_nsec = (long)(due % 1000000000u);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		uint64_t start = now_ns();
		atomic_store(&s->stamp_ns, start);
		ring(kind, &s->hop[0], n);
		s->call_ns[n - 1] = now_ns() - start;
		compute(work_ns);
	}
	while (atomic_load(&s->n) < count)
		usleep(1000);
	_exit(0);
}

static int
cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
make(enum kind kind, struct hop *h)
{
	int fd[2] = {-1, -1};

	atomic_store(&h->bell, 0);
	if (kind == EVENTFD)
		fd[0] = fd[1] = eventfd(0, EFD_SEMAPHORE);
	else if (kind == PIPE && pipe(fd) != 0)
		exit(1);
	else if (kind == SOCKET && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		exit(1);
	h->rx = fd[0];
	h->tx = fd[1];
}

static void
measure(enum kind kind)
{
	pid_t pid[MAX_HOPS + 1];
	int status, bad = 0;

	for (unsigned i = 0; i < hops; i++)
		make(kind, &s->hop[i]);
	atomic_store(&s->n, 0);
	for (unsigned i = 0; i <= hops; i++) {
		pid[i] = fork();
		if (pid[i] == 0 && i < hops)
			sleeper(kind, i);
		if (pid[i] == 0)
			sender(kind);
	}
	for (unsigned i = 0; i <= hops; i++)
		bad |= waitpid(pid[i], &status, 0) < 0 || status != 0;
	if (bad)
		exit(1);
	qsort(s->late_ns, count, 8, cmp);
	qsort(s->call_ns, count, 8, cmp);
	printf(
	    "%-8s hops=%u rate=%u pinned=%d loaded=%d work_ns=%u p50_us=%.1f "
	    "p99_us=%.1f p999_us=%.1f call_p50_us=%.1f\n",
	    names[kind], hops, rate, is_pinned, is_loaded, work_ns,
	    (double)s->late_ns[count / 2] / 1e3,
	    (double)s->late_ns[count / 100 * 99] / 1e3,
	    (double)s->late_ns[count / 1000 * 999] / 1e3,
	    (double)s->call_ns[count / 2] / 1e3);
}

static void
load(pid_t *pid, long cpus)
{
	for (long i = 0; i < cpus; i++) {
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			compute(1000000);
	}
}

int
main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pid_t busy[256];
	int opt;

	while ((opt = getopt(argc, argv, "c:r:h:lp:w:")) != -1) {
		unsigned value =
		    optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (opt == 'c' && value > 0 && value <= MAX_COUNT)
			count = value;
		else if (opt == 'r' && value > 0)
			rate = value;
		else if (opt == 'h' && value > 0 && value <= MAX_HOPS)
			hops = value;
		else if (opt == 'w')
			work_ns = value;
		else if (opt == 'l')
			is_loaded = 1;
		else if (opt == 'p') {
			char *p = optarg;
			is_pinned = 1;
			for (int i = 0; i <= MAX_HOPS && p != NULL; i++) {
				cpu_of[i] = atoi(p);
				p = strchr(p, ',');
				p = p == NULL ? NULL : p + 1;
			}
		} else {
			fprintf(stderr, "usage: wakes [-c COUNT] [-r RATE] "
					"[-h HOPS] [-l] [-p CPU,CPU,...] "
					"[-w WORK_NS]\n");
			return 2;
		}
	}
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return 1;
	if (is_loaded)
		load(busy, cpus < 256 ? cpus : 256);
	for (int kind = 0; kind < KINDS; kind++)
		measure((enum kind)kind);
	for (long i = 0; is_loaded && i < cpus && i < 256; i++) {
		kill(busy[i], SIGKILL);
		waitpid(busy[i], NULL, 0);
	}
	return 0;
}
