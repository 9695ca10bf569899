/*
 * wait.c - how a client sleeps: on the doorbell of its session page, or in the
 * application's own event loop through an epoll descriptor.
 *
 * A sleep ends by the store's ring, by the queue manager's nudge (page
 * replaced) or by its cap; whoever slept looks at the socket afterwards. While
 * the queue manager is away nobody could nudge, so the cap is short then.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINK_SLICE_MS 5 /* cap of a sleep while the link is not up */

uint64_t
lt_wait_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? LT_FOREVER
			      : lt_clock_mono_ms() + (uint64_t)timeout_ms;
}

int
lt_wait_expired(uint64_t deadline)
{
	return deadline != LT_FOREVER && lt_clock_mono_ms() >= deadline;
}

int
lt_wait_left(uint64_t deadline, int cap)
{
	uint64_t now;

	if (deadline == LT_FOREVER)
		return cap;
	now = lt_clock_mono_ms();
	if (now >= deadline)
		return 0;
	return deadline - now < (uint64_t)cap ? (int)(deadline - now) : cap;
}

static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static int
spin(struct leat *leat, int (*ready)(void *user), void *user)
{
	uint64_t end =
	    lt_clock_mono_ns() + (uint64_t)leat->spin_us * UINT64_C(1000);
	unsigned i;

	do {
		for (i = 0; i < 32; i++) {
			if (ready(user))
				return 1;
			relax();
		}
	} while (lt_clock_mono_ns() < end);
	return 0;
}

void
lt_wait_once(struct leat *leat, uint32_t bits, uint64_t want_logged,
    uint64_t want_synced, int (*ready)(void *user), void *user,
    uint64_t deadline, int slice_ms)
{
	struct lt_lane_shared *lane;
	struct lt_page_shared *page;
	uint64_t since;
	uint32_t seen;
	int is_ready;

	if (leat->spin_us != 0 ? spin(leat, ready, user)
			       : lt_patience_try(&leat->patience, ready, user))
		return;
	lane = leat->lane.shared;
	page = leat->page;
	/* acquire: what the ringer published is visible with the new value */
	seen = atomic_load_explicit(&page->doorbell, memory_order_acquire);
	atomic_store_explicit(
	    &lane->want_logged, want_logged, memory_order_relaxed);
	atomic_store_explicit(
	    &lane->want_synced, want_synced, memory_order_relaxed);
	atomic_store_explicit(&lane->waiting, bits, memory_order_relaxed);
	lt_doorbell_fence(); /* pairs with the store's, before it reads waiting
			      */
	is_ready = ready(user);
	/* A look may have made a request, and that may have met a new broker:
	 * then the flag was raised in a lane that is gone. */
	if (lane == leat->lane.shared && page == leat->page) {
		if (leat->link != LT_LINK_UP && slice_ms > LINK_SLICE_MS)
			slice_ms = LINK_SLICE_MS;
		slice_ms = lt_wait_left(deadline, slice_ms);
		if (!is_ready && slice_ms > 0) {
			since = lt_clock_mono_ns();
			lt_doorbell_wait(&page->doorbell, seen, slice_ms);
			lt_patience_slept(&leat->patience, since);
		}
	}
	atomic_store_explicit(
	    &leat->lane.shared->waiting, 0, memory_order_relaxed);
	if (!is_ready)
		lt_link_pump(leat, deadline);
}

void
lt_wait_watch(struct leat *leat, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	/* A closed descriptor leaves the set by itself. */
	if (leat->epoll >= 0 && fd >= 0)
		(void)epoll_ctl(leat->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int
make_epoll(struct leat *leat)
{
	leat->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (leat->epoll < 0)
		return lt_connect_fail(leat, LEAT_E_LIMIT,
		    "cannot make an epoll descriptor: raise the limit on open "
		    "files");
	leat->timer =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (leat->timer < 0) {
		close(leat->epoll);
		leat->epoll = -1;
		return lt_connect_fail(leat, LEAT_E_LIMIT,
		    "cannot make a timer: raise the limit on open files");
	}
	lt_wait_watch(leat, leat->timer);
	lt_wait_watch(leat, leat->sock);
	lt_wait_watch(leat, leat->client_bell);
	return LEAT_OK;
}

int
leat_fd(struct leat *leat)
{
	int status;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_far_fd(leat);
	if (leat->epoll < 0) {
		status = make_epoll(leat);
		if (status != LEAT_OK)
			return status;
	}
	return leat->epoll;
}

static int
anything_ready(void *user)
{
	struct leat *leat = user;
	struct leat_consumer *c;
	size_t i;

	if (lt_receipt_ready(leat))
		return 1;
	for (c = leat->consumers; c != NULL; c = c->next)
		for (i = 0; i < c->inlet_count && !c->is_unasked; i++)
			if (lt_take_ready(c, c->inlets[i]))
				return 1;
	return 0;
}

static int
is_asked(const struct leat *leat)
{
	const struct leat_consumer *c;

	for (c = leat->consumers; c != NULL; c = c->next)
		if (!c->is_unasked)
			return 1;
	return 0;
}

/* The broker cannot wake us while it is away: look again after a while. A
 * full window has no bell either, and what a queue without a ring has is not
 * seen without asking. */
static void
arm_timer(struct leat *leat)
{
	struct itimerspec ts = {0};
	struct leat_consumer *c;
	size_t i;
	int ms = leat->link == LT_LINK_UP ? 0 : LINK_SLICE_MS * 2;

	for (c = leat->consumers; c != NULL; c = c->next)
		for (i = 0; i < c->inlet_count; i++)
			if (ms == 0 && !c->is_unasked &&
			    !c->inlets[i]->is_idle &&
			    (c->inlets[i]->limited ||
				c->inlets[i]->ring_seg.base == NULL))
				ms = LT_DOORBELL_CAP_MS;
	ts.it_value.tv_nsec = (long)ms * 1000000;
	(void)timerfd_settime(leat->timer, 0, &ts, NULL);
}

int
leat_arm(struct leat *leat)
{
	struct lt_lane_shared *lane;
	uint64_t want_logged, want_synced;
	uint32_t bits = LT_LANE_WAIT_EVENTFD;

	if (LT_UNLIKELY(!lt_connect_valid(leat)))
		return lt_far_arm(leat);
	if (leat->epoll < 0)
		return lt_connect_fail(
		    leat, LEAT_E_INVALID, "call leat_fd() before leat_arm()");
	lt_producer_announce(leat);
	lt_link_pump(leat, lt_clock_mono_ms());
	lt_doorbell_drain(leat->client_bell);
	lt_doorbell_drain(leat->timer);
	if (is_asked(leat) || leat->wants_log)
		bits |= LT_LANE_WAIT_DATA;
	if (leat->in_flight != 0)
		bits |= LT_LANE_WAIT_RECEIPT;
	lt_receipt_want(leat, &want_logged, &want_synced);
	lane = leat->lane.shared;
	atomic_store_explicit(
	    &lane->want_logged, want_logged, memory_order_relaxed);
	atomic_store_explicit(
	    &lane->want_synced, want_synced, memory_order_relaxed);
	atomic_store_explicit(&lane->waiting, bits, memory_order_relaxed);
	lt_doorbell_fence(); /* pairs with the store's, before it reads waiting
			      */
	if (anything_ready(leat)) {
		atomic_store_explicit(&lane->waiting, 0, memory_order_relaxed);
		return 1;
	}
	arm_timer(leat);
	return 0;
}
