/*
 * net.c - the worker's loop. A round: libevent hands over what is ready; what
 * the last round left is served; the owner submits; output is written, one
 * write a connection; who was closed is destroyed. While a list has something
 * left the next round does not sleep.
 */
#include "config.h"
#include "net/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

static atomic_uint nets;

uint64_t
lt_net_now(struct lt_net *net)
{
	if (!net->has_now) {
		net->now_ms = lt_clock_mono_ms();
		net->has_now = 1;
	}
	return net->now_ms;
}

static void
rung(evutil_socket_t fd, short what, void *user)
{
	struct lt_net *net = user;
	uint64_t count;

	while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
		;
	/* Who sets it from now on writes again; what was done before is seen
	 * by woken: pairs with the exchange in lt_net_wake. */
	if (atomic_exchange(&net->rung, 0) && net->owner->woken != NULL)
		net->owner->woken(net->user);
}

static void
ticked(evutil_socket_t fd, short what, void *user)
{
	struct lt_net *net = user;

	lt_conn_expire(net);
	lt_listener_rouse(net);
	if (net->owner->tick != NULL)
		net->owner->tick(lt_net_now(net), net->user);
}

static int
init_slots(struct lt_net *net)
{
	uint32_t count = net->limits.connections;

	net->slots = lt_mem_array((size_t)count + 1, sizeof(*net->slots));
	if (net->slots == NULL)
		return LEAT_E_NOMEM;
	for (uint32_t i = 0; i < count; i++)
		net->slots[i].next = i + 1;
	return LEAT_OK; /* slot `count` ends the list and is never used */
}

static int
init_events(struct lt_net *net, uint32_t tick_ms)
{
	struct event_config *config = event_config_new();
	struct timeval tick = {
	    .tv_sec = tick_ms / 1000, .tv_usec = tick_ms % 1000 * 1000};

	if (config == NULL)
		return LEAT_E_NOMEM;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	net->base = event_base_new_with_config(config);
	event_config_free(config);
	if (net->base == NULL)
		return LEAT_E_IO;
	net->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (net->wake_fd < 0)
		return lt_sys_status(errno);
	if (event_assign(&net->wake, net->base, net->wake_fd,
		EV_READ | EV_PERSIST, rung, net) != 0 ||
	    event_assign(&net->tick, net->base, -1, EV_PERSIST, ticked, net) !=
		0 ||
	    event_add(&net->wake, NULL) != 0 ||
	    event_add(&net->tick, &tick) != 0)
		return LEAT_E_IO;
	return LEAT_OK;
}

int
lt_net_create(const struct lt_net_owner *owner, void *user,
    const struct lt_net_limits *limits, uint32_t tick_ms, struct lt_net **out)
{
	if (owner->cut == NULL || owner->frame == NULL || tick_ms == 0 ||
	    limits->connections == 0 ||
	    limits->connections >= LT_NET_CONNECTIONS_MAX ||
	    limits->frame_bytes == 0 || limits->frame_bytes > INT32_MAX)
		return LEAT_E_INVALID;
	struct lt_net *net = lt_mem_alloc(sizeof(*net));
	if (net == NULL)
		return LEAT_E_NOMEM;
	net->owner = owner;
	net->user = user;
	net->limits = *limits;
	net->number = atomic_fetch_add(&nets, 1) & 0xFFF;
	net->wake_fd = -1;
	TAILQ_INIT(&net->idle);
	TAILQ_INIT(&net->greeting);
	TAILQ_INIT(&net->shaking);
	TAILQ_INIT(&net->stalled);
	TAILQ_INIT(&net->dirty);
	TAILQ_INIT(&net->backlog);
	TAILQ_INIT(&net->dead);
	TAILQ_INIT(&net->chunks);
	TAILQ_INIT(&net->loans);
	int rc = init_slots(net);
	if (rc == LEAT_OK)
		rc = init_events(net, tick_ms);
	if (rc != LEAT_OK)
		lt_net_destroy(net);
	else
		*out = net;
	return rc;
}

void
lt_net_destroy(struct lt_net *net)
{
	struct lt_conn *c;

	if (net == NULL)
		return;
	LT_ASSERT(!net->running);
	net->ending = 1;
	while ((c = TAILQ_FIRST(&net->idle)) != NULL)
		lt_conn_doom(c, LT_NET_ENDED);
	lt_conn_bury(net);
	lt_outbound_fini(net);
	if (net->base != NULL) {
		lt_listener_fini(net);
		for (unsigned i = 0; i < net->watch_count; i++)
			event_del(&net->watches[i].event);
		if (event_initialized(&net->tick))
			event_del(&net->tick);
		if (event_initialized(&net->wake))
			event_del(&net->wake);
		event_base_free(net->base);
	}
	if (net->wake_fd >= 0)
		lt_sys.close(net->wake_fd);
	lt_mem_free(net->slots);
	lt_mem_free(net);
}

static void
watched(evutil_socket_t fd, short what, void *user)
{
	struct lt_watch *watch = user;

	watch->ready(watch->user);
}

int
lt_net_watch(struct lt_net *net, int fd, void (*ready)(void *user), void *user)
{
	if (net->watch_count == LT_WATCHES_MAX)
		return LEAT_E_LIMIT;
	struct lt_watch *watch = &net->watches[net->watch_count];
	watch->ready = ready;
	watch->user = user;
	if (event_assign(&watch->event, net->base, fd, EV_READ | EV_PERSIST,
		watched, watch) != 0 ||
	    event_add(&watch->event, NULL) != 0)
		return LEAT_E_IO;
	net->watch_count++;
	return LEAT_OK;
}

void
lt_net_enforce(struct lt_net *net)
{
	while (net->seen.memory > net->limits.memory_bytes) {
		struct lt_conn *c, *largest = NULL;

		TAILQ_FOREACH(c, &net->idle, idle)
		if (largest == NULL || c->memory > largest->memory)
			largest = c;
		if (largest == NULL || largest->memory == 0)
			return; /* what is left belongs to the dead */
		lt_conn_doom(largest, LT_NET_MEMORY);
		lt_inbound_drop(largest);
		lt_outbound_shed(largest);
		if (largest->transport != NULL) /* it may keep records */
			largest->transport->end(largest);
	}
}

void
lt_net_admit_again(struct lt_net *net)
{
	struct lt_conn *c, *next;

	for (c = TAILQ_FIRST(&net->idle); c != NULL; c = next) {
		next = TAILQ_NEXT(c, idle);
		if (lt_conn_key(c) != NULL && !lt_channels_admits(c))
			lt_conn_doom(c, LT_NET_STRANGER);
	}
}

static void
serve_backlog(struct lt_net *net)
{
	struct lt_conn *c;

	while ((c = TAILQ_FIRST(&net->backlog)) != NULL &&
	       c->served != net->seen.rounds) {
		c->served = net->seen.rounds;
		TAILQ_REMOVE(&net->backlog, c, backlog);
		c->again = 0;
		lt_inbound_again(c);
		lt_conn_watch(c);
		lt_net_enforce(net);
	}
}

static void
write_dirty(struct lt_net *net)
{
	struct lt_conn *c;

	while ((c = TAILQ_FIRST(&net->dirty)) != NULL &&
	       c->flushed != net->seen.rounds) {
		c->flushed = net->seen.rounds;
		TAILQ_REMOVE(&net->dirty, c, dirty);
		c->is_dirty = 0;
		lt_outbound_flush(c);
		lt_conn_watch(c);
	}
}

static void
end_round(struct lt_net *net)
{
	net->seen.rounds++;
	serve_backlog(net);
	if (net->owner->round != NULL)
		net->owner->round(net->user);
	lt_net_enforce(net);
	write_dirty(net);
	lt_conn_bury(net);
	net->has_now = 0;
	net->shaken = 0;
}

int
lt_net_run(struct lt_net *net)
{
	int rc = LEAT_OK;

	LT_ASSERT(!net->running);
	net->running = 1;
	while (!atomic_load(&net->stopping)) {
		int left = !TAILQ_EMPTY(&net->backlog) ||
			   !TAILQ_EMPTY(&net->dirty) ||
			   !TAILQ_EMPTY(&net->dead);

		if (event_base_loop(net->base,
			EVLOOP_ONCE | (left ? EVLOOP_NONBLOCK : 0)) < 0) {
			rc = LEAT_E_IO;
			break;
		}
		end_round(net);
	}
	atomic_store(&net->stopping, 0);
	net->running = 0;
	return rc;
}

static void
ring(struct lt_net *net)
{
	uint64_t one = 1;
	int saved = errno; /* of whom a signal interrupted */

	while (write(net->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
	errno = saved;
}

void
lt_net_stop(struct lt_net *net)
{
	atomic_store(&net->stopping, 1);
	ring(net);
}

void
lt_net_wake(struct lt_net *net)
{
	/* Pairs with the exchange in rung(). */
	if (atomic_exchange(&net->rung, 1) == 0)
		ring(net);
}

const struct lt_net_counters *
lt_net_counters(const struct lt_net *net)
{
	return &net->seen;
}
