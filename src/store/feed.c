/*
 * feed.c - queues that somebody on this host listens to: the ring that the
 * store fills, and the sessions that want to be woken. A queue without either
 * has no feed and costs nothing.
 *
 * The queue manager makes rings and says who watches. If it dies, rings and
 * watchers stay: message flow does not stop. Its successor makes new rings as
 * clients subscribe again; what it never asks for again goes after a while.
 */
#include "config.h"
#include "store/duty.h"

#include "base/mem.h"
#include "leat/status.h"
#include "shm/counter.h"

int
lt_feed_get(struct lt_duty *d, struct lt_cq *cq, struct lt_feed **out)
{
	struct lt_feed *f = cq->user;

	if (f == NULL) {
		f = lt_mem_alloc(sizeof(*f));
		if (f == NULL)
			return LEAT_E_NOMEM;
		f->cq = cq;
		f->next = d->feeds;
		if (f->next != NULL)
			f->next->prev = f;
		d->feeds = f;
		cq->user = f;
	}
	*out = f;
	return LEAT_OK;
}

/* Not in a touched list: feeds go between batches only. */
static void
free_feed(struct lt_duty *d, struct lt_feed *f)
{
	LT_ASSERT(!f->is_touched);
	if (f->prev != NULL)
		f->prev->next = f->next;
	else
		d->feeds = f->next;
	if (f->next != NULL)
		f->next->prev = f->prev;
	f->cq->user = NULL;
	lt_mem_free(f->watchers);
	lt_mem_free(f);
}

static void
drop_ring(struct lt_feed *f)
{
	if (f->seg.base == NULL)
		return;
	lt_segment_detach(&f->seg);
	lt_stat_add(store_rings, (uint64_t)-1);
}

static void
free_if_unused(struct lt_duty *d, struct lt_feed *f)
{
	if (f != &d->log_feed && f->seg.base == NULL && f->watcher_count == 0 &&
	    f->await.bytes == 0)
		free_feed(d, f);
}

int
lt_feed_ring(struct lt_duty *d, struct lt_cq *cq, int fd)
{
	struct lt_segment seg;
	struct lt_feed *f;
	int status;

	status = lt_segment_attach(&seg, fd, LT_SEGMENT_RING, 1, 0);
	if (status != LEAT_OK)
		return status;
	if (seg.head.data_bytes < 65536 ||
	    (seg.head.data_bytes & (seg.head.data_bytes - 1)) != 0) {
		lt_segment_detach(&seg);
		return LEAT_E_CORRUPT;
	}
	status = lt_feed_get(d, cq, &f);
	if (status != LEAT_OK) {
		lt_segment_detach(&seg);
		return status;
	}
	drop_ring(f);
	f->seg = seg;
	f->peer_gen = d->peer.gen;
	lt_ring_writer_init(&f->ring, &f->seg, cq->next);
	lt_stat_add(store_rings, 1);
	return LEAT_OK;
}

void
lt_feed_unring(struct lt_duty *d, struct lt_cq *cq)
{
	struct lt_feed *f = cq->user;

	if (f == NULL)
		return;
	drop_ring(f);
	free_if_unused(d, f);
}

static int
add_watcher(struct lt_duty *d, struct lt_feed *f, struct lt_session *s)
{
	int status;

	for (size_t i = 0; i < f->watcher_count; i++)
		if (f->watchers[i] == s)
			return LEAT_OK;
	status = lt_mem_grow((void **)&f->watchers, &f->watcher_cap,
	    f->watcher_count, sizeof(struct lt_session *));
	if (status == LEAT_OK)
		status = lt_mem_grow((void **)&s->watches, &s->watch_cap,
		    s->watch_count, sizeof(struct lt_feed *));
	if (status != LEAT_OK) {
		free_if_unused(d, f);
		return status;
	}
	f->watchers[f->watcher_count++] = s;
	s->watches[s->watch_count++] = f;
	return LEAT_OK;
}

int
lt_feed_watch(struct lt_duty *d, struct lt_cq *cq, struct lt_session *s)
{
	struct lt_feed *f;
	int status = lt_feed_get(d, cq, &f);

	return status == LEAT_OK ? add_watcher(d, f, s) : status;
}

int
lt_feed_await(
    struct lt_duty *d, struct lt_cq *cq, const struct lt_wire_await *m)
{
	struct lt_feed *f;
	int status;

	if (cq->next > m->offset) {
		lt_peer_status(d, &m->h, LEAT_OK);
		return LEAT_OK;
	}
	status = lt_feed_get(d, cq, &f);
	if (status != LEAT_OK)
		return status;
	f->await = m->h;
	f->await_gen = d->peer.gen;
	f->await_offset = m->offset;
	return LEAT_OK;
}

void
lt_feed_awaited(struct lt_duty *d, struct lt_feed *f)
{
	if (f->cq->next <= f->await_offset)
		return;
	if (f->await_gen == d->peer.gen)
		lt_peer_status(d, &f->await, LEAT_OK);
	f->await.bytes = 0;
}

int
lt_feed_follow(struct lt_duty *d, struct lt_session *s)
{
	return add_watcher(d, &d->log_feed, s);
}

static void
remove_watcher(struct lt_feed *f, const struct lt_session *s)
{
	for (size_t i = 0; i < f->watcher_count; i++)
		if (f->watchers[i] == s) {
			f->watchers[i] = f->watchers[--f->watcher_count];
			return;
		}
}

static void
remove_watch(struct lt_session *s, const struct lt_feed *f)
{
	for (size_t i = 0; i < s->watch_count; i++)
		if (s->watches[i] == f) {
			s->watches[i] = s->watches[--s->watch_count];
			return;
		}
}

void
lt_feed_unwatch(struct lt_duty *d, struct lt_cq *cq, struct lt_session *s)
{
	struct lt_feed *f = cq->user;

	if (f == NULL)
		return;
	remove_watcher(f, s);
	remove_watch(s, f);
	free_if_unused(d, f);
}

void
lt_feed_forget(struct lt_duty *d, struct lt_session *s)
{
	for (size_t i = 0; i < s->watch_count; i++) {
		remove_watcher(s->watches[i], s);
		free_if_unused(d, s->watches[i]);
	}
	lt_mem_free(s->watches);
	s->watches = NULL;
	s->watch_count = 0;
	s->watch_cap = 0;
}

void
lt_feed_drop(struct lt_duty *d, struct lt_cq *cq)
{
	struct lt_feed *f = cq->user;

	if (f == NULL)
		return;
	for (size_t i = 0; i < f->watcher_count; i++)
		remove_watch(f->watchers[i], f);
	f->watcher_count = 0;
	drop_ring(f);
	free_feed(d, f);
}

void
lt_feed_drop_stale(struct lt_duty *d)
{
	struct lt_feed *f, *next;

	for (f = d->feeds; f != NULL; f = next) {
		next = f->next;
		if (f->peer_gen == d->peer.gen)
			continue;
		drop_ring(f);
		free_if_unused(d, f);
	}
}
