/* clock.c - the kernel's clocks behind the replaceable table. */
#include "config.h"
#include "base/clock.h"

#include <time.h>

#include "base/check.h"

static uint64_t
kernel_mono_ns(void)
{
	struct timespec ts;

	int rc = clock_gettime(CLOCK_MONOTONIC, &ts);
	LT_ASSERT(rc == 0);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int64_t
kernel_wall_ms(void)
{
	struct timespec ts;

	int rc = clock_gettime(CLOCK_REALTIME, &ts);
	LT_ASSERT(rc == 0);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t
kernel_coarse_ms(void)
{
	struct timespec ts;

	int rc = clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	LT_ASSERT(rc == 0);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct lt_clock lt_clock = {
    .mono_ns = kernel_mono_ns,
    .wall_ms = kernel_wall_ms,
    .coarse_ms = kernel_coarse_ms,
};
