/*
 * loop.c - the event loop: an epoll set of sources. A source may be removed,
 * and memory given up, while the events of a round are being served; both
 * take effect without a dangling pointer because removed sources are skipped
 * for the rest of the round and memory is freed behind it.
 */
#include "config.h"
#include "queue/queue.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"

#define ROUND_EVENTS 64

int
lt_loop_init(struct lt_manager *m)
{
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return m->epoll_fd < 0 ? lt_sys_status(errno) : LEAT_OK;
}

int
lt_loop_add(struct lt_manager *m, struct lt_source *source, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = source};

	if (epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, source->fd, &ev) < 0)
		return lt_sys_status(errno);
	/* Added again in the same round: its events count again. */
	for (size_t i = 0; i < m->removed_count; i++)
		if (m->removed[i] == source)
			m->removed[i] = NULL;
	return LEAT_OK;
}

void
lt_loop_change(struct lt_manager *m, struct lt_source *source, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = source};

	(void)epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, source->fd, &ev);
}

void
lt_loop_remove(struct lt_manager *m, struct lt_source *source)
{
	(void)epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (!m->in_round)
		return;
	if (lt_mem_grow((void **)&m->removed, &m->removed_capacity,
		m->removed_count, sizeof(*m->removed)) != LEAT_OK)
		lt_manager_fatal("out of memory");
	m->removed[m->removed_count++] = source;
}

void
lt_loop_free_later(struct lt_manager *m, void *p)
{
	if (p == NULL)
		return;
	if (!m->in_round) {
		lt_mem_free(p);
		return;
	}
	if (lt_mem_grow((void **)&m->graves, &m->grave_capacity, m->grave_count,
		sizeof(*m->graves)) != LEAT_OK)
		lt_manager_fatal("out of memory");
	m->graves[m->grave_count++] = p;
}

static int
is_removed(const struct lt_manager *m, const struct lt_source *source)
{
	for (size_t i = 0; i < m->removed_count; i++)
		if (m->removed[i] == source)
			return 1;
	return 0;
}

int
lt_loop_round(struct lt_manager *m, int timeout_ms)
{
	struct epoll_event events[ROUND_EVENTS];
	int n = epoll_wait(m->epoll_fd, events, ROUND_EVENTS, timeout_ms);

	if (n < 0 && errno != EINTR)
		lt_manager_fatal("epoll_wait failed");
	m->in_round = 1;
	for (int i = 0; i < n; i++) {
		struct lt_source *source = events[i].data.ptr;

		if (!is_removed(m, source))
			source->ready(source, events[i].events);
	}
	m->in_round = 0;
	m->removed_count = 0;
	while (m->grave_count > 0)
		lt_mem_free(m->graves[--m->grave_count]);
	return n < 0 ? 0 : n;
}
