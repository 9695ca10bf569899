/*
 * session.c - sessions as the store sees them: where to read (lane), where to
 * answer (page), what is allowed (grants), what the log already has (mark).
 *
 * Order of a batch for one session: append, completions, page.logged, then
 * page.lane_head. So a record that is not answered is still in the lane at or
 * behind the lane_head of the page, whenever the store dies; the successor
 * reads it again and knows from the log, by session and sequence, whether it
 * is there. And if the store dies while it attaches? The queue manager attaches
 * again from the old page, which nobody changes.
 */
#include "config.h"
#include "store/duty.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "shm/counter.h"

#define LOCAL_IP 0x7f000001u

enum {
	FD_LANE,
	FD_PAGE,
	FD_STORE_EVENT,
	FD_CLIENT_EVENT,
	FD_OLD_PAGE
};

struct lt_session *
lt_session_find(const struct lt_duty *d, uint64_t id)
{
	return lt_hash_get(&d->session_map, &id, sizeof(id));
}

/* --- attach --- */

static uint64_t
inode_of(int fd)
{
	struct stat st;

	return lt_sys.fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static int
attach_lane(int fd, struct lt_segment *seg)
{
	int status = lt_segment_attach(seg, fd, LT_SEGMENT_LANE, 0, 1);
	uint64_t bytes = seg->head.data_bytes;

	if (status != LEAT_OK)
		return status;
	/* The head is in memory that the client writes. */
	if (bytes < LT_LANE_MIN || bytes > LT_LANE_MAX ||
	    (bytes & (bytes - 1)) != 0) {
		lt_segment_detach(seg);
		return LEAT_E_CORRUPT;
	}
	return LEAT_OK;
}

static int
attach_page(int fd, int writable, struct lt_segment *seg)
{
	int status = lt_segment_attach(seg, fd, LT_SEGMENT_PAGE, writable, 0);
	uint64_t entries = seg->head.extra[0];

	if (status != LEAT_OK)
		return status;
	if (entries == 0 || (entries & (entries - 1)) != 0 ||
	    seg->head.data_bytes != entries * sizeof(struct lt_page_done)) {
		lt_segment_detach(seg);
		return LEAT_E_CORRUPT;
	}
	return LEAT_OK;
}

/* A tail of zero: nothing was ever written, whatever the page says of a lane
 * that this one replaced. */
static void
start_lane(struct lt_session *s, uint64_t head)
{
	struct lt_lane_shared *lane = s->lane_seg.base;

	if (atomic_load_explicit(&lane->tail, memory_order_acquire) == 0)
		head = 0;
	lt_lane_reader_init(&s->lane, &s->lane_seg, head);
}

static void
show(struct lt_session *s)
{
	struct lt_page_shared *p = s->page;

	atomic_store_explicit(&p->accepted, s->taken, memory_order_relaxed);
	atomic_store_explicit(&p->synced, s->synced, memory_order_relaxed);
	/* release: pairs with acquire in the client's look for completions */
	atomic_store_explicit(&p->logged, s->logged, memory_order_release);
	atomic_store_explicit(
	    &p->lane_head, s->lane.head, memory_order_release);
}

/* Begin a new page with what an older one says. Nobody reads it yet. */
static void
copy_page(struct lt_session *s, const struct lt_segment *old,
    const struct lt_segment *fresh)
{
	const struct lt_page_shared *from = old->base;
	uint64_t old_entries = old->head.extra[0];
	uint64_t entries = fresh->head.extra[0];
	uint64_t n = entries < old_entries ? entries : old_entries;
	struct lt_page_done *e;

	s->logged = atomic_load_explicit(&from->logged, memory_order_acquire);
	s->synced = atomic_load_explicit(&from->synced, memory_order_relaxed);
	if (n > s->logged)
		n = s->logged;
	for (uint64_t seq = s->logged - n + 1; seq <= s->logged; seq++) {
		e = lt_page_entry(old->base, old_entries, seq);
		if (e->seq == seq)
			*lt_page_entry(fresh->base, entries, seq) = *e;
	}
}

static void
use_page(struct lt_session *s, const struct lt_segment *page, uint64_t inode)
{
	lt_segment_detach(&s->page_seg);
	s->page_seg = *page;
	s->page_inode = inode;
	s->page = page->base;
	s->page_mask = page->head.extra[0] - 1;
}

static int
set_grants(struct lt_session *s, const uint32_t *topics, uint32_t count)
{
	int status = LEAT_OK;

	if (s->grant_words > 0)
		memset(s->grants, 0, s->grant_words * sizeof(uint64_t));
	for (uint32_t i = 0; i < count && status == LEAT_OK; i++)
		status = lt_session_grant(s, topics[i], 1);
	return status;
}

static void
free_session(struct lt_session *s)
{
	lt_segment_detach(&s->lane_seg);
	lt_segment_detach(&s->page_seg);
	if (s->store_event >= 0)
		close(s->store_event); /* leaves the epoll set, too */
	if (s->client_event >= 0)
		close(s->client_event);
	lt_mem_free(s->grants);
	lt_mem_free(s->watches);
	lt_mem_free(s);
}

/* Known already: the queue manager is new, or it made a new page or lane. */
static int
attach_again(struct lt_duty *d, struct lt_session *s, int *fds)
{
	struct lt_segment lane, page;
	uint64_t lane_inode = inode_of(fds[FD_LANE]);
	uint64_t page_inode = inode_of(fds[FD_PAGE]);
	int status;

	if (lane_inode != s->lane_inode) {
		status = attach_lane(fds[FD_LANE], &lane);
		if (status != LEAT_OK)
			return status;
		lt_segment_detach(&s->lane_seg);
		s->lane_seg = lane;
		s->lane_inode = lane_inode;
		start_lane(s, 0);
		show(s);
	}
	if (page_inode != s->page_inode) {
		status = attach_page(fds[FD_PAGE], 1, &page);
		if (status != LEAT_OK)
			return status;
		copy_page(s, &s->page_seg, &page);
		use_page(s, &page, page_inode);
		show(s);
	}
	return LEAT_OK;
}

static int
attach_new(struct lt_duty *d, struct lt_session *s,
    const struct lt_wire_attach *m, int *fds)
{
	struct lt_segment page, old;
	uint64_t head = 0;
	int status = attach_lane(fds[FD_LANE], &s->lane_seg);

	if (status != LEAT_OK)
		return status;
	s->lane_inode = inode_of(fds[FD_LANE]);
	status = attach_page(fds[FD_PAGE], 1, &page);
	if (status != LEAT_OK)
		return status;
	use_page(s, &page, inode_of(fds[FD_PAGE]));
	if (m->has_old) {
		status = attach_page(fds[FD_OLD_PAGE], 0, &old);
		if (status != LEAT_OK)
			return status;
		copy_page(s, &old, &s->page_seg);
		head = atomic_load_explicit(
		    &((struct lt_page_shared *)old.base)->lane_head,
		    memory_order_acquire);
		lt_segment_detach(&old);
	}
	s->taken = s->logged;
	/* Recovery ends with a sync: whatever was logged then is durable. */
	s->synced = s->logged;
	s->seen_logged = s->logged;
	s->seen_synced = s->synced;
	start_lane(s, head);
	(void)lt_failpoint(LT_FP_STORE_ATTACH);
	show(s);
	return LEAT_OK;
}

/* Put a complete session into all registers. */
static int
enroll(struct lt_duty *d, struct lt_session *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int status;

	s->mark = lt_mark_get(d, s->id);
	if (s->mark == NULL)
		return LEAT_E_NOMEM;
	s->in_log = s->mark->seq;
	lt_mark_find_traces(d, s);
	status = lt_mem_grow((void **)&d->sessions, &d->session_cap,
	    d->session_count, sizeof(struct lt_session *));
	if (status != LEAT_OK)
		return status;
	if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, s->store_event, &ev) < 0)
		return LEAT_E_IO;
	status = lt_hash_put(&d->session_map, &s->id, sizeof(s->id), s);
	if (status != LEAT_OK)
		return status;
	s->mark->attached = 1;
	/* Hot ones come first. */
	s->slot = d->hot_count;
	if (d->hot_count < d->session_count) {
		d->sessions[d->session_count] = d->sessions[d->hot_count];
		d->sessions[d->session_count]->slot = d->session_count;
	}
	d->sessions[d->hot_count++] = s;
	d->session_count++;
	lt_stat_set(store_sessions, d->session_count);
	return LEAT_OK;
}

static int
make_session(struct lt_duty *d, const struct lt_wire_attach *m,
    const uint32_t *topics, int *fds, struct lt_session **out)
{
	struct lt_session *s = lt_mem_alloc(sizeof(*s));
	int status;

	if (s == NULL)
		return LEAT_E_NOMEM;
	s->id = m->session;
	s->born_ip = LOCAL_IP;
	s->born_port = m->pid;
	s->may_relay = m->relay & 1;
	s->store_event = fds[FD_STORE_EVENT];
	s->client_event = fds[FD_CLIENT_EVENT];
	fds[FD_STORE_EVENT] = -1;
	fds[FD_CLIENT_EVENT] = -1;
	status = attach_new(d, s, m, fds);
	if (status == LEAT_OK)
		status = set_grants(s, topics, m->topic_count);
	if (status == LEAT_OK && (m->relay & 2) != 0)
		status = lt_feed_follow(d, s);
	if (status == LEAT_OK)
		status = enroll(d, s);
	if (status != LEAT_OK) {
		if (s->mark != NULL && s->mark->seq == 0)
			lt_mark_drop(d, s->mark);
		free_session(s);
		return status;
	}
	*out = s;
	return LEAT_OK;
}

int
lt_session_attach(struct lt_duty *d, const struct lt_wire_attach *m,
    const uint32_t *topics, int *fds, size_t fd_count, uint64_t *logged_out)
{
	struct lt_session *s = lt_session_find(d, m->session);
	int status;

	if (fd_count != (m->has_old ? 5u : 4u) || m->session == 0)
		status = LEAT_E_CORRUPT;
	else if (s == NULL)
		status = make_session(d, m, topics, fds, &s);
	else if (d->batch.is_appended || s->is_detaching)
		status = LEAT_E_BUSY;
	else
		status = attach_again(d, s, fds);
	if (status == LEAT_OK && s->peer_gen != d->peer.gen) {
		s->peer_gen = d->peer.gen;
		status = set_grants(s, topics, m->topic_count);
	}
	for (size_t i = 0; i < fd_count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (status == LEAT_OK)
		*logged_out = s->in_log;
	return status;
}

int
lt_session_grant(struct lt_session *s, uint32_t topic, int allow)
{
	uint32_t word = topic >> 6, words = s->grant_words;
	uint64_t *grants;

	if (topic >= (1u << 22))
		return LEAT_E_INVALID;
	if (word >= words) {
		if (!allow)
			return LEAT_OK;
		words = (word + 8) & ~7u;
		grants = lt_mem_resize(s->grants, words * sizeof(uint64_t));
		if (grants == NULL)
			return LEAT_E_NOMEM;
		memset(grants + s->grant_words, 0,
		    (words - s->grant_words) * sizeof(uint64_t));
		s->grants = grants;
		s->grant_words = words;
	}
	if (allow)
		s->grants[word] |= 1ULL << (topic & 63);
	else
		s->grants[word] &= ~(1ULL << (topic & 63));
	return LEAT_OK;
}

int
lt_session_lane(struct lt_duty *d, struct lt_session *s, int fd)
{
	struct lt_segment lane;
	int status;

	/* Nothing of the old lane may be under way. */
	LT_ASSERT(!s->is_touched);
	status = attach_lane(fd, &lane);
	if (status == LEAT_OK) {
		lt_segment_detach(&s->lane_seg);
		s->lane_seg = lane;
		s->lane_inode = inode_of(fd);
		lt_lane_reader_init(&s->lane, &s->lane_seg, 0);
		show(s);
	}
	close(fd);
	return status;
}

void
lt_session_forged(struct lt_duty *d, struct lt_session *s)
{
	s->is_closed = 1;
	lt_stat_add(store_forged, 1);
	lt_log_warn("lane-forged", "session=%016llx pid=%u",
	    (unsigned long long)s->id, s->born_port);
	lt_peer_number(d, LT_OP_E_FORGED, s->id, 0);
}

/* --- detach --- */

void
lt_session_detach(
    struct lt_duty *d, struct lt_session *s, const struct lt_wire *request)
{
	if (!s->is_detaching)
		d->detaching++;
	s->is_detaching = 1;
	s->detach_replies = request != NULL;
	if (request != NULL)
		s->detach_request = *request;
	if (!s->is_closed && lt_lane_poll(&s->lane) < 0)
		lt_session_forged(d, s);
	s->detach_tail = s->lane.tail;
}

static void
unlist_unsynced(struct lt_duty *d, struct lt_session *s)
{
	struct lt_session **at = &d->unsynced;

	while (*at != NULL && *at != s)
		at = &(*at)->next_unsynced;
	if (*at == s)
		*at = s->next_unsynced;
}

static void
move_to(struct lt_duty *d, size_t slot, struct lt_session *s)
{
	d->sessions[slot] = s;
	s->slot = slot;
}

static void
let_go(struct lt_duty *d, struct lt_session *s)
{
	uint64_t id = s->id;
	size_t last;

	LT_ASSERT(!s->is_touched);
	if (s->is_unsynced)
		unlist_unsynced(d, s);
	lt_feed_forget(d, s);
	(void)lt_hash_del(&d->session_map, &id, sizeof(id));
	s->mark->attached = 0;
	s->mark->left_s = (uint32_t)(lt_clock_mono_ms() / 1000);
	if (s->mark->seq == 0)
		lt_mark_drop(d, s->mark);
	if (s->slot < d->hot_count) {
		move_to(d, s->slot, d->sessions[--d->hot_count]);
		s->slot = d->hot_count;
	}
	last = --d->session_count;
	if (s->slot != last)
		move_to(d, s->slot, d->sessions[last]);
	d->detaching--;
	lt_stat_set(store_sessions, d->session_count);
	if (s->detach_replies)
		lt_peer_status(d, &s->detach_request, LEAT_OK);
	free_session(s);
}

void
lt_session_finish_detaching(struct lt_duty *d)
{
	struct lt_session *s;

	LT_ASSERT(d->batch.count == 0);
	for (size_t i = d->session_count; i-- > 0 && d->detaching > 0;) {
		s = d->sessions[i];
		/* Positions only grow; a forged lane is not read. */
		if (s->is_detaching &&
		    (s->is_closed ||
			(int64_t)(s->lane.head - s->detach_tail) >= 0)) {
			let_go(d, s);
			/* Others moved: begin again behind the end. */
			i = d->session_count;
		}
	}
}

void
lt_session_detach_stale(struct lt_duty *d)
{
	for (size_t i = 0; i < d->session_count; i++)
		if (d->sessions[i]->peer_gen != d->peer.gen &&
		    !d->sessions[i]->is_detaching)
			lt_session_detach(d, d->sessions[i], NULL);
}

/* --- the system's own sessions, and the end --- */

static void
init_pageless(struct lt_duty *d, struct lt_session *s, uint64_t id)
{
	memset(s, 0, sizeof(*s));
	s->id = id;
	s->store_event = -1;
	s->client_event = -1;
	s->born_ip = LOCAL_IP;
	s->mark = lt_mark_get(d, id);
	LT_ASSERT(s->mark != NULL);
	s->mark->attached = 1;
	s->in_log = s->mark->seq;
	s->taken = s->in_log;
}

void
lt_session_init_system(struct lt_duty *d)
{
	init_pageless(d, &d->system, 0);
	for (uint64_t i = 0; i < LT_LEVELS_MAX; i++)
		init_pageless(d, &d->levels[i], i + 1);
}

void
lt_session_fini_all(struct lt_duty *d)
{
	struct lt_mark *m;
	size_t cursor = 0;

	for (size_t i = 0; i < d->session_count; i++) {
		lt_feed_forget(d, d->sessions[i]);
		free_session(d->sessions[i]);
	}
	lt_mem_free(d->sessions);
	d->sessions = NULL;
	d->session_count = 0;
	d->session_cap = 0;
	d->hot_count = 0;
	while ((m = lt_hash_next(&d->marks, &cursor)) != NULL)
		lt_mem_free(m);
	lt_hash_fini(&d->marks);
	lt_hash_fini(&d->session_map);
}
