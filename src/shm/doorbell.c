/*
 * doorbell.c - futex words and eventfds; doorbell.h has the protocol. Shared
 * between processes, so never FUTEX_PRIVATE.
 */
#include "config.h"
#include "shm/doorbell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long
futex(const _Atomic uint32_t *word, int op, uint32_t value,
    const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

int
lt_doorbell_wait(const _Atomic uint32_t *bell, uint32_t seen, int timeout_ms)
{
	struct timespec ts = {.tv_sec = timeout_ms / 1000,
	    .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

	if (futex(bell, FUTEX_WAIT, seen, timeout_ms < 0 ? NULL : &ts) < 0 &&
	    errno == ETIMEDOUT)
		return atomic_load_explicit(bell, memory_order_acquire) != seen;
	return 1;
}

void
lt_doorbell_ring(_Atomic uint32_t *bell)
{
	atomic_fetch_add_explicit(bell, 1, memory_order_release);
	futex(bell, FUTEX_WAKE, INT_MAX, NULL);
}

void
lt_doorbell_nudge(const _Atomic uint32_t *bell)
{
	futex(bell, FUTEX_WAKE, INT_MAX, NULL);
}

void
lt_doorbell_event(int eventfd)
{
	uint64_t one = 1;

	/* Full (EAGAIN) means that it is readable already. */
	while (write(eventfd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void
lt_doorbell_drain(int eventfd)
{
	uint64_t count;

	while (read(eventfd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}
