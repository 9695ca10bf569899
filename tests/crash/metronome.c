/*
 * metronome.c - sleep, wake, note. A late wake-up is seen at once by nobody:
 * whoever judges waits asks after the metronomes have stopped.
 */
#include "metronome.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DISKS 64 /* lines of /proc/diskstats; those beyond are not watched */

struct metronome *
metronome_create(void)
{
	void *p = mmap(NULL, sizeof(struct metronome), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
metronome_destroy(struct metronome *m)
{
	munmap(m, sizeof(*m));
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
sleep_until(uint64_t ns)
{
	struct timespec ts = {
	    (time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	while (
	    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void
note(struct metronome *m, uint32_t i, uint64_t from_ns, uint64_t to_ns)
{
	uint32_t n = atomic_load(&m->cpu[i].count);

	if (n == METRONOME_LATES)
		return;
	m->cpu[i].late[n] = (struct metronome_late){from_ns, to_ns};
	atomic_store(&m->cpu[i].count, n + 1);
}

static int
beat(struct metronome *m, uint32_t i)
{
	uint64_t due = now_ns(), now;

	while (!atomic_load(&m->stop)) {
		due += METRONOME_PERIOD_US * 1000u;
		sleep_until(due);
		now = now_ns();
		if (now - due <= METRONOME_LATE_US * 1000u)
			continue;
		note(m, i, due, now);
		due = now;
	}
	return 0;
}

/* One line of /proc/diskstats: what was completed, and what is under way. */
static int
read_disk(const char *line, uint64_t *done, uint64_t *flying)
{
	unsigned long long f[17] = {0};
	int n = sscanf(line,
	    "%*u %*u %*s %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu "
	    "%llu %llu %llu %llu %llu %llu %llu",
	    &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6], &f[7], &f[8],
	    &f[9], &f[10], &f[11], &f[12], &f[13], &f[14], &f[15], &f[16]);

	*done =
	    f[0] + f[4] + f[11] + f[15]; /* reads, writes, discards, flushes */
	*flying = f[8];
	return n >= 11;
}

static int
watch_disks(struct metronome *m, uint32_t i)
{
	static char text[65536];
	static struct {
		uint64_t done, since_ns; /* no other since then */
		uint64_t stood_ns; /* seen to wait, last */
	} disk[DISKS];
	int fd = open("/proc/diskstats", O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && !atomic_load(&m->stop)) {
		ssize_t bytes = pread(fd, text, sizeof(text) - 1, 0);
		uint64_t now = now_ns(), done, flying;
		char *line = text, *end;

		text[bytes > 0 ? bytes : 0] = '\0';
		for (uint32_t k = 0;
		     k < DISKS && (end = strchr(line, '\n')) != NULL;
		     k++, line = end + 1) {
			if (!read_disk(line, &done, &flying))
				continue;
			if (flying > 0 && done == disk[k].done) {
				disk[k].stood_ns = now;
				continue;
			}
			if (disk[k].stood_ns >
			    disk[k].since_ns + METRONOME_DISK_LATE_US * 1000u)
				note(m, i, disk[k].since_ns, disk[k].stood_ns);
			disk[k].done = done;
			disk[k].since_ns = disk[k].stood_ns = now;
		}
		sleep_until(now + METRONOME_DISK_PERIOD_US * 1000u);
	}
	return 0;
}

void
metronome_start(struct metronome *m)
{
	cpu_set_t may, one;
	uint32_t i;
	pid_t disks;

	if (sched_getaffinity(0, sizeof(may), &may) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && m->cpus < METRONOME_CPUS;
	     cpu++) {
		pid_t pid;

		if (!CPU_ISSET(cpu, &may))
			continue;
		i = m->cpus; /* a child may see it grown */
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			_exit(sched_setaffinity(0, sizeof(one), &one) != 0 ||
			      beat(m, i));
		}
		if (pid > 0)
			m->pid[m->cpus++] = pid;
	}
	i = m->cpus;
	disks = i < METRONOME_CPUS ? fork() : -1;
	if (disks == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(watch_disks(m, i));
	}
	if (disks > 0)
		m->pid[m->cpus++] = disks;
}

void
metronome_stop(struct metronome *m)
{
	atomic_store(&m->stop, 1);
	for (uint32_t i = 0; i < m->cpus; i++)
		if (m->pid[i] > 0)
			waitpid(m->pid[i], NULL, 0);
	for (uint32_t i = 0; i < m->cpus; i++)
		m->pid[i] = 0;
}

uint64_t
metronome_late_ns(const struct metronome *m, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t longest = 0;

	for (uint32_t i = 0; i < m->cpus; i++)
		for (uint32_t n = atomic_load(&m->cpu[i].count); n-- > 0;) {
			uint64_t from = m->cpu[i].late[n].from_ns;
			uint64_t to = m->cpu[i].late[n].to_ns;

			if (to <= from_ns)
				break;
			from = from > from_ns ? from : from_ns;
			to = to < to_ns ? to : to_ns;
			if (to > from && to - from > longest)
				longest = to - from;
		}
	return longest;
}

uint64_t
metronome_steal_ms(void)
{
	unsigned long long steal = 0;
	FILE *f = fopen("/proc/stat", "r");

	if (f == NULL)
		return 0;
	if (fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &steal) != 1)
		steal = 0;
	fclose(f);
	return steal * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}
