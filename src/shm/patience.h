/*
 * patience.h - give way for a moment before going to sleep.
 *
 * A sleep that ends at once was not worth its price: the waker paid a system
 * call and, across CPUs, an interrupt, and the sleeper comes back later than
 * the work did. So whoever slept shortly gives way (sched_yield: others on this
 * CPU run first) and looks again a few times before the next sleep; once that
 * was in vain it sleeps at once again. Who waits for something that comes every
 * few hundred microseconds, or never, pays nothing but two looks at the clock.
 *
 * Not shared: each sleeper has its own.
 */
#ifndef LT_SHM_PATIENCE_H
#define LT_SHM_PATIENCE_H

#include <sched.h>
#include <stdint.h>
#include "base/clock.h"

#define LT_PATIENCE_NS 30000 /* about what a wake-up across CPUs costs */
#define LT_PATIENCE_SHORT_NS 50000 /* a sleep this short was one too many */

struct lt_patience {
	int is_short; /* the last sleep was */
};

/* 1: is_there(user) came true while giving way. */
static inline int
lt_patience_try(struct lt_patience *p, int (*is_there)(void *user), void *user)
{
	if (!p->is_short)
		return 0;
	uint64_t end = lt_clock_mono_ns() + LT_PATIENCE_NS;
	do {
		if (is_there(user))
			return 1;
		sched_yield();
	} while (lt_clock_mono_ns() < end);
	p->is_short = 0;
	return 0;
}

/* A sleep is over that began at `since` (lt_clock_mono_ns). */
static inline void
lt_patience_slept(struct lt_patience *p, uint64_t since)
{
	p->is_short = lt_clock_mono_ns() - since < LT_PATIENCE_SHORT_NS;
}

#endif
