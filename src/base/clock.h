/*
 * clock.h - the door to time. Every clock read and sleep of the broker goes
 * through here, so tests can turn it.
 */
#ifndef LT_BASE_CLOCK_H
#define LT_BASE_CLOCK_H

#include <stdint.h>

struct lt_clock {
	/* CLOCK_MONOTONIC in nanoseconds: intervals, leases, back-off. */
	uint64_t (*mono_ns)(void);
	/* CLOCK_REALTIME in milliseconds: time stamps only. */
	int64_t (*wall_ms)(void);
	/* The same, up to a timer tick (at most 10 ms) old, and cheaper. */
	int64_t (*coarse_ms)(void);
};

/* Replaceable by tests; the default reads the kernel. */
extern struct lt_clock lt_clock;

static inline uint64_t
lt_clock_mono_ns(void)
{
	return lt_clock.mono_ns();
}

static inline uint64_t
lt_clock_mono_ms(void)
{
	return lt_clock.mono_ns() / 1000000;
}

static inline int64_t
lt_clock_wall_ms(void)
{
	return lt_clock.wall_ms();
}

static inline int64_t
lt_clock_coarse_ms(void)
{
	return lt_clock.coarse_ms();
}

#endif
