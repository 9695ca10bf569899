/*
 * attach.c - a session and the store: its page, S_ATTACH, S_DETACH, and what
 * happens when the store comes back. A page is written by one store only: it is
 * sealed once that store has mapped it, kept by the supervisor before the
 * client hears of it, and replaced when a new store starts.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "shm/doorbell.h"
#include "shm/page.h"

#define ATTACH_TRIES 1000

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
lt_attach_page(struct lt_session *s)
{
	uint64_t entries = lt_page_entries(s->lane_bytes);
	struct lt_segment_head head = {.magic = LT_SEGMENT_PAGE,
	    .data_bytes = entries * sizeof(struct lt_page_done),
	    .id = s->id,
	    .generation = s->m->store_gen,
	    .extra = {entries}};
	struct lt_segment seg;
	int status;

	close_fd(&s->next_page_fd);
	status =
	    lt_segment_create(&seg, "leat-page", &head, 1, &s->next_page_fd);
	if (status == LEAT_OK)
		lt_segment_detach(&seg);
	else
		s->next_page_fd = -1;
	return status;
}

/* The store mapped the page: seal it, have it kept, use it. What the page
 * says of a lane that was replaced the store sorts out by itself. */
static int
take_page(struct lt_session *s)
{
	struct lt_manager *m = s->m;
	struct lt_segment seg;
	int status;

	s->attached = 1;
	s->taken_over = 0;
	if (s->next_page_fd < 0)
		return LEAT_OK; /* the page it had */
	status = lt_segment_seal(s->next_page_fd, 1);
	if (status == LEAT_OK)
		status = lt_segment_attach(
		    &seg, s->next_page_fd, LT_SEGMENT_PAGE, 0, 1);
	if (status != LEAT_OK)
		return status;
	lt_keep_put(m, LT_KEEP_PAGE, s->id, NULL, 0, &s->next_page_fd, 1);
	close_fd(&s->page_fd);
	s->page_fd = s->next_page_fd;
	s->next_page_fd = -1;
	/* Two stores may die before the client hears of the first. */
	if (s->old_page.base == NULL)
		s->old_page = s->page;
	else
		lt_segment_detach(&s->page);
	s->page = seg;
	return LEAT_OK;
}

/* user: not NULL if the manager's phase waits for it. */
static void
attached(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct lt_session *s = lt_session_find(m, number);
	struct lt_job *hello = s == NULL ? NULL : s->hello;

	if (s == NULL)
		goto settled;
	/* Busy with what our predecessor asked for: soon done. */
	if (status == LEAT_E_BUSY && s->attach_tries++ < ATTACH_TRIES) {
		lt_attach_send(s, user != NULL);
		return;
	}
	s->attach_tries = 0;
	if (status == LEAT_OK) {
		const struct lt_wire_attached *a = (const void *)reply;

		s->logged = a->logged;
		status = take_page(s);
	} else
		close_fd(&s->next_page_fd);
	if (status == LEAT_E_UNREACHABLE && s->state != LT_SESSION_NEW)
		goto settled; /* the next store gets it again */
	if (status == LEAT_OK && s->state == LT_SESSION_NEW)
		s->state = LT_SESSION_LIVE;
	if (status == LEAT_OK && s->state == LT_SESSION_ENDING)
		lt_attach_detach(s);
	if (hello != NULL) {
		hello->slot = NULL;
		s->hello = NULL;
		hello->status = status;
		if (status != LEAT_OK)
			lt_session_drop(s);
		if (status == LEAT_E_UNREACHABLE) {
			hello->step = 0;
			lt_job_wait(hello, &m->store_waiting);
		} else
			lt_job_run(hello);
	} else if (status != LEAT_OK) {
		lt_log_error("attach-failed", "session=%016llx status=\"%s\"",
		    (unsigned long long)s->id, leat_status_text(status));
		lt_session_end(s, status);
		lt_session_drop(s);
	}
settled:
	if (user != NULL)
		lt_manager_settled(m);
}

void
lt_attach_send(struct lt_session *s, int counted)
{
	struct lt_manager *m = s->m;
	struct lt_wire_attach *msg;
	uint32_t *ids = lt_mem_array(LT_OPENS_MAX, sizeof(uint32_t));
	size_t n, bytes, fd_count = 4;
	int fresh = s->next_page_fd >= 0;
	int fds[5] = {s->lane_fd, fresh ? s->next_page_fd : s->page_fd,
	    s->to_store, s->to_client};

	if (ids == NULL)
		lt_manager_fatal("out of memory");
	n = s->state == LT_SESSION_ENDING && s->open_count == 0
		? 0
		: lt_grants_list(s, ids, LT_OPENS_MAX);
	bytes = sizeof(*msg) + n * sizeof(uint32_t);
	msg = lt_mem_alloc(bytes);
	if (msg == NULL)
		lt_manager_fatal("out of memory");
	lt_wire_init(
	    &msg->h, LT_OP_S_ATTACH, sizeof(*msg), n * sizeof(uint32_t), 0);
	msg->session = s->id;
	msg->pid = s->peer.pid;
	msg->uid = s->peer.uid;
	msg->topic_count = (uint32_t)n;
	msg->relay = lt_grants_may_relay(m, &s->peer) | s->follows << 1;
	if (fresh && s->page_fd >= 0) {
		msg->has_old = 1;
		fds[fd_count++] = s->page_fd;
	}
	if (n > 0)
		memcpy(
		    lt_wire_tail(msg, sizeof(*msg)), ids, n * sizeof(uint32_t));
	lt_storelink_call(
	    m, msg, bytes, fds, fd_count, attached, s->id, counted ? m : NULL);
	lt_mem_free(msg);
	lt_mem_free(ids);
}

void
lt_attach_all(struct lt_manager *m)
{
	struct lt_session **all, *s;
	size_t cursor = 0, n = 0;

	if (m->sessions.used == 0)
		return;
	all = lt_mem_array(m->sessions.used, sizeof(*all));
	if (all == NULL)
		lt_manager_fatal("out of memory");
	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL)
		all[n++] = s;
	for (size_t i = 0; i < n; i++) {
		s = all[i];
		(void)lt_failpoint(LT_FP_QUEUE_REATTACH);
		if (s->taken_over == 2)
			lt_grants_all(s);
		/* The same store writes this page still: leave it. */
		if (s->page.base != NULL &&
		    s->page.head.generation == m->store_gen)
			close_fd(&s->next_page_fd);
		else if (lt_attach_page(s) != LEAT_OK) {
			lt_session_end(s, LEAT_E_NOSPACE);
			lt_session_drop(s);
			continue;
		}
		m->pending++;
		lt_attach_send(s, 1);
	}
	lt_mem_free(all);
}

void
lt_attach_store_gone(struct lt_manager *m)
{
	struct lt_session *s;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		s->attached = 0;
		close_fd(&s->next_lane_fd);
	}
}

static void
tell_page(struct lt_session *s)
{
	int fds[2] = {s->page_fd, s->m->beacon_fd};
	struct lt_wire_page ev;

	memset(&ev, 0, sizeof(ev));
	lt_wire_init(&ev.h, LT_OP_EV_PAGE, sizeof(ev), 0, 0);
	ev.store_gen = s->m->store_gen;
	lt_admit_event(s->conn, &ev, sizeof(ev), fds, 2);
}

void
lt_attach_store_up(struct lt_manager *m)
{
	struct lt_session *s;
	struct lt_sub *sub;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		if (s->state == LT_SESSION_LIVE && s->conn != NULL &&
		    s->old_page.base != NULL)
			tell_page(s);
		LIST_FOREACH(sub, &s->subs, session_link)
		lt_subscribe_moved(sub);
		/* It may sleep on the bell of a page nobody writes any more. */
		if (s->old_page.base != NULL)
			lt_doorbell_nudge(
			    &((struct lt_page_shared *)s->old_page.base)
				 ->doorbell);
		lt_segment_detach(&s->old_page);
	}
}

/* --- detach --- */

static void
detached(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct lt_session *s = lt_session_find(m, number);

	if (s == NULL || s->state != LT_SESSION_ENDING)
		return;
	if (status == LEAT_E_UNREACHABLE)
		return; /* attached again, then detached, by the next store */
	lt_session_drop(s);
}

void
lt_attach_detach(struct lt_session *s)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_DETACH, sizeof(msg), 0, 0);
	msg.number = s->id;
	lt_storelink_call(
	    s->m, &msg, sizeof(msg), NULL, 0, detached, s->id, NULL);
}
