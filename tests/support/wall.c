/*
 * wall.c - preloaded into the broker and its clients: a wall clock that the
 * test sets while they run. The file that LEAT_WALL names, 16 bytes, says
 * "R" and seconds to add to the true time, or "F" and the second at which the
 * clock stands still. The monotonic clock stays the kernel's.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const char *setting;

/* Before a sandbox is entered. */
__attribute__((constructor)) static void
map_setting(void)
{
	const char *path = getenv("LEAT_WALL");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || at == MAP_FAILED)
		abort();
	close(fd);
	setting = at;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	long rc = syscall(SYS_clock_gettime, id, ts);
	char text[16];

	if (rc != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return (int)rc;
	for (int i = 0; i < 15; i++)
		text[i] = setting[i];
	text[15] = 0;
	long long seconds = strtoll(text + 1, NULL, 10);
	if (text[0] == 'F')
		*ts = (struct timespec){.tv_sec = seconds};
	else
		ts->tv_sec += seconds;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts = {0};

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec ts = {0};

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
	return 0;
}
