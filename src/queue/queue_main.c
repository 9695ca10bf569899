/*
 * queue_main.c - the program leat-queue: takes over what the supervisor kept,
 * waits for the store, reads state back, attaches sessions, serves. One thread
 * and one epoll set; nothing here is on the way of a message.
 */
#include "config.h"
#include "queue/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/sys.h"
#include "proto/name.h"
#include "queue/schedule.h"
#include "shm/counter.h"
#include "store/consumequeue.h"
#include "store/reader.h"
#include "supervisor/sandbox.h"

#define SUPERVISOR_FD 3
#define TICK_MAX_MS 1000
#define TICK_MIN_MS 20
#define STOP_MS 5000

enum {
	START_COUNTERS,
	START_DIR,
	START_PEER,
	START_LISTENER,
	START_FDS
};

/* What the supervisor kept, until START comes. */
struct kept {
	struct kept *next;
	size_t fd_count;
	int fds[8];
	struct lt_wire_keep keep;
};

static struct lt_manager manager;
static struct kept *kept_first;

void
lt_manager_fatal(const char *what)
{
	lt_log_error("fatal", "what=\"%s\"", what);
	_exit(1);
}

void
lt_manager_tick(struct lt_manager *m)
{
	uint64_t ms = TICK_MAX_MS;

	if (m->housekeep_at_ms != 0)
		return;
	/* A quarter of the shortest time that is waited for. */
	if (m->options.queue_session_grace_ms / 4 < ms)
		ms = m->options.queue_session_grace_ms / 4;
	if (m->options.queue_ring_idle_ms / 4 < ms)
		ms = m->options.queue_ring_idle_ms / 4;
	if (ms < TICK_MIN_MS)
		ms = TICK_MIN_MS;
	m->housekeep_at_ms = lt_clock_mono_ms() + ms;
}

uint64_t
lt_manager_log_min(struct lt_manager *m)
{
	uint64_t shown =
	    m->counters.base == NULL
		? 0
		: lt_counter_read(&m->counters, LT_STAT_store_log_min);
	uint64_t seen = m->reader == NULL ? 0 : lt_reader_min(m->reader);

	return shown > seen ? shown : seen;
}

/* --- the phases of a start ----------------------------------------------- */

static void
open_gate(struct lt_manager *m)
{
	struct lt_wire_none msg;

	lt_wire_init(&msg.h, LT_OP_S_OPEN, sizeof(msg), 0, 0);
	lt_storelink_send(m, &msg, sizeof(msg));
}

static void
watch_again(struct lt_manager *m)
{
	struct lt_sub *sub;
	size_t cursor = 0;

	while ((sub = lt_hash_next(&m->subs, &cursor)) != NULL)
		if (!sub->is_idle)
			lt_subscribe_watch(m, sub, 1);
}

static void
begin_attach(struct lt_manager *m)
{
	m->phase = LT_PHASE_ATTACH;
	m->pending = 1; /* until everything is asked */
	if (lt_topic_settle(m) != LEAT_OK)
		lt_manager_fatal("out of memory");
	lt_topic_announce_all(m);
	lt_attach_all(m);
	watch_again(m);
	open_gate(m);
	lt_topic_log_seen(m);
	lt_group_adopt_ask(m);
	lt_manager_settled(m);
}

static void
load(struct lt_manager *m)
{
	struct lt_qref *config = lt_ringset_get(m, 1, 0);
	struct lt_qref *progress = lt_ringset_get(m, 2, 0);
	int status = LEAT_E_NOMEM;

	if (config != NULL && progress != NULL)
		status = lt_state_load(m, config->max, progress->max);
	if (status != LEAT_OK) {
		lt_log_error("state-unreadable", "status=\"%s\"",
		    leat_status_text(status));
		lt_manager_fatal("state of topics and groups is not readable");
	}
	/* A successor of the store may have been rebuilding what was read. */
	if (!lt_storelink_alive(m))
		lt_manager_fatal("store died while state was read");
	m->loaded = 1;
	lt_stat_add(queue_grant_changes, 1);
	begin_attach(m);
}

static void
up(struct lt_manager *m)
{
	struct lt_wire_none msg;

	m->phase = LT_PHASE_UP;
	lt_group_adopt(m);
	lt_attach_store_up(m);
	if (!m->ready) {
		m->ready = 1;
		lt_wire_init(&msg.h, LT_OP_SUP_READY, sizeof(msg), 0, 0);
		if (lt_port_send(&m->supervisor, &msg, sizeof(msg), NULL, 0) !=
			LEAT_OK ||
		    (!m->stopping &&
			lt_admit_start(m, m->listener.fd) != LEAT_OK))
			lt_manager_fatal("cannot accept clients");
	}
	lt_log_info("serving", "store_gen=%llu topics=%zu sessions=%zu",
	    (unsigned long long)m->store_gen, m->topic_count, m->sessions.used);
	if (m->rewrite_wanted)
		lt_state_rewrite(m);
	lt_schedule_up(m);
	lt_audit_flush(m);
	lt_job_wake(&m->store_waiting);
}

void
lt_manager_settled(struct lt_manager *m)
{
	if (m->phase != LT_PHASE_LOAD && m->phase != LT_PHASE_ATTACH)
		return; /* an answer of a store that has died */
	LT_ASSERT(m->pending > 0);
	if (--m->pending > 0)
		return;
	if (m->phase == LT_PHASE_LOAD)
		load(m);
	else
		up(m);
}

/* The log as files: there once the store is. */
static int
open_files(struct lt_manager *m)
{
	int status = LEAT_OK;

	if (m->store_fd < 0)
		m->store_fd = lt_sys.openat(
		    m->dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (m->store_fd < 0)
		return lt_sys_status(errno);
	if (m->reader == NULL)
		status = lt_reader_open(m->store_fd, &m->reader);
	else
		status = lt_reader_refresh(m->reader);
	if (status == LEAT_OK && m->view == NULL)
		status = lt_cq_view_open(m->store_fd, &m->view);
	if (status == LEAT_OK)
		lt_query_open(m);
	return status;
}

static void
store_ready(struct lt_manager *m, const struct lt_wire_store_ready *msg)
{
	int status = open_files(m);

	if (status != LEAT_OK) {
		lt_log_error("log-unreadable", "status=\"%s\"",
		    leat_status_text(status));
		lt_manager_fatal("cannot open the log for reading");
	}
	m->store_gen = msg->store_gen;
	lt_topic_announce(m, lt_topic_by_id(m, LT_STATE_CONFIG));
	lt_topic_announce(m, lt_topic_by_id(m, LT_STATE_PROGRESS));
	if (m->loaded) {
		begin_attach(m);
		return;
	}
	m->phase = LT_PHASE_LOAD;
	m->pending = 2;
	lt_storelink_sync(m, LT_STATE_CONFIG, 0, LT_NAME_CONFIG_TOPIC, NULL);
	lt_storelink_sync(
	    m, LT_STATE_PROGRESS, 0, LT_NAME_PROGRESS_TOPIC, NULL);
}

void
lt_manager_store_gone(struct lt_manager *m)
{
	m->phase = LT_PHASE_STORE;
	m->pending = 0;
	lt_schedule_store_gone(m);
	lt_ringset_store_gone(m);
	lt_attach_store_gone(m);
}

/* A store that outlived our predecessor shows the beacon that is sealed. */
static void
take_beacon(struct lt_manager *m, int *fds, size_t fd_count)
{
	struct lt_segment seg;
	int status = LEAT_E_CORRUPT;

	if (fd_count == 1) {
		(void)!lt_segment_seal(fds[0], 1);
		status =
		    lt_segment_attach(&seg, fds[0], LT_SEGMENT_BEACON, 0, 1);
	}
	if (status != LEAT_OK)
		lt_manager_fatal("no beacon from the store");
	lt_segment_detach(&seg);
	if (m->beacon_fd >= 0)
		close(m->beacon_fd);
	m->beacon_fd = fds[0];
	fds[0] = -1;
}

void
lt_manager_store_event(
    struct lt_manager *m, struct lt_wire *msg, int *fds, size_t fd_count)
{
	struct lt_session *s;

	switch (msg->op) {
	case LT_OP_E_TOPIC: {
		struct lt_wire_topic *t = (struct lt_wire_topic *)msg;
		uint32_t queues = t->read_queues > t->write_queues
				      ? t->read_queues
				      : t->write_queues;

		t->name[sizeof(t->name) - 1] = 0;
		if (lt_topic_seen(m, t->name, queues) != LEAT_OK)
			lt_manager_fatal("out of memory");
		break;
	}
	case LT_OP_E_BEACON:
		take_beacon(m, fds, fd_count);
		break;
	case LT_OP_E_READY:
		store_ready(m, (const struct lt_wire_store_ready *)msg);
		break;
	case LT_OP_E_ROLLED:
		if (m->reader != NULL)
			(void)!lt_reader_refresh(m->reader);
		lt_query_trim(m);
		if (((const struct lt_wire_number *)msg)->number != 0)
			lt_state_rewrite(m); /* else segments were deleted */
		break;
	case LT_OP_E_FORGED:
		s = lt_session_find(
		    m, ((const struct lt_wire_number *)msg)->number);
		if (s != NULL) {
			lt_log_warn("lane-forged", "session=%016llx pid=%u",
			    (unsigned long long)s->id, s->peer.pid);
			lt_session_end(s, LEAT_E_CORRUPT);
		}
		break;
	default:
		lt_manager_fatal("unknown message from the store");
	}
}

/* --- the supervisor ------------------------------------------------------ */

static void
take_kept(struct lt_manager *m, struct lt_wire *msg, int *fds, size_t fd_count)
{
	struct kept *k = lt_mem_alloc(sizeof(*k));

	if (k == NULL)
		lt_manager_fatal("out of memory");
	memcpy(&k->keep, msg, sizeof(k->keep));
	if (k->keep.blob_bytes > sizeof(k->keep.blob))
		k->keep.blob_bytes = 0;
	k->fd_count = fd_count;
	for (size_t i = 0; i < fd_count; i++) {
		k->fds[i] = fds[i];
		fds[i] = -1;
	}
	k->next = kept_first;
	kept_first = k;
}

static void
use_kept(struct lt_manager *m, enum lt_keep kind)
{
	for (struct kept *k = kept_first; k != NULL; k = k->next) {
		if (k->keep.kind != (uint32_t)kind)
			continue;
		if (kind == LT_KEEP_TABLE && k->fd_count == 1) {
			lt_group_kept(m, k->keep.id, k->keep.blob,
			    k->keep.blob_bytes, k->fds[0]);
			k->fds[0] = -1;
		} else if (kind != LT_KEEP_TABLE)
			lt_session_kept(m, &k->keep, k->fds, k->fd_count);
	}
}

static void
drop_kept(void)
{
	struct kept *k;

	while ((k = kept_first) != NULL) {
		kept_first = k->next;
		for (size_t i = 0; i < k->fd_count; i++)
			if (k->fds[i] >= 0)
				close(k->fds[i]);
		lt_mem_free(k);
	}
}

static int
read_secret(struct lt_manager *m)
{
	int fd = lt_sys.openat(m->dir_fd, "secret", O_RDONLY | O_CLOEXEC, 0);
	int status;

	if (fd < 0)
		return lt_sys_status(errno);
	status = lt_sys_read_full(fd, m->secret, sizeof(m->secret), 0);
	close(fd);
	return status;
}

/* Counters: ours to write, for clients a descriptor that cannot be. */
static void
use_counters(struct lt_manager *m, int fd)
{
	char path[32];

	if (lt_segment_attach(&m->counters, fd, LT_SEGMENT_COUNTER, 1, 0) !=
	    LEAT_OK)
		lt_manager_fatal("counter segment is not usable");
	lt_counter_use(&m->counters);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	m->counter_fd = open(path, O_RDONLY | O_CLOEXEC);
}

static void
on_start(struct lt_manager *m, const struct lt_wire_start *msg, int *fds,
    size_t fd_count)
{
	if (m->started || fd_count != START_FDS ||
	    msg->options.version != LT_OPTIONS_VERSION ||
	    msg->options.bytes != sizeof(msg->options))
		lt_manager_fatal("supervisor is of another version");
	m->options = msg->options;
	m->boot = msg->boot;
	m->generation = msg->generation;
	m->store_gen = msg->store_gen;
	lt_log_set_level((enum lt_log_level)m->options.broker_log_level);
	use_counters(m, fds[START_COUNTERS]);
	m->dir_fd = fds[START_DIR];
	fds[START_DIR] = -1;
	if (read_secret(m) != LEAT_OK)
		lt_manager_fatal("DIR/secret is not readable");
	m->store_fd = lt_sys.openat(
	    m->dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (m->options.broker_sandbox &&
	    lt_sandbox_enter(
		"leat-queue", m->dir_fd, m->options.broker_socket) != LEAT_OK)
		lt_manager_fatal("sandbox refused");
	m->listener.fd = fds[START_LISTENER];
	fds[START_LISTENER] = -1;
	int flags = fcntl(m->listener.fd, F_GETFL);
	(void)fcntl(m->listener.fd, F_SETFL, flags | O_NONBLOCK);
	m->started = 1;
	m->phase = LT_PHASE_STORE;
	use_kept(m, LT_KEEP_SESSION);
	use_kept(m, LT_KEEP_PAGE);
	use_kept(m, LT_KEEP_TABLE);
	drop_kept();
	lt_share_start(m);
	if (lt_storelink_open(m, fds[START_PEER]) != LEAT_OK)
		lt_manager_fatal("no socket to the store");
	fds[START_PEER] = -1;
}

static void
on_options(struct lt_manager *m, const struct lt_wire_start *msg)
{
	const char *name;

	if (!m->started || msg->options.version != LT_OPTIONS_VERSION ||
	    msg->options.bytes != sizeof(msg->options))
		return;
	(void)lt_options_reload(&m->options, &msg->options, &name);
	lt_log_set_level((enum lt_log_level)m->options.broker_log_level);
	lt_stat_add(queue_grant_changes, 1);
	lt_audit_acted(m,
	    &(struct lt_audit){.act = "settings", .object = "leat.conf"},
	    LEAT_OK);
	lt_grants_review(m);
	lt_log_info(
	    "settings-changed", "access_rules=%u", m->options.access_count);
}

static void
on_stop(struct lt_manager *m)
{
	if (m->stopping)
		return;
	lt_log_info("stopping", "sessions=%zu", m->sessions.used);
	m->stopping = 1;
	m->stop_at_ms = lt_clock_mono_ms() + STOP_MS;
	lt_admit_stop(m);
	lt_progress_sweep_all(m);
	lt_state_flush(m);
}

static void
supervisor_message(struct lt_port *port, struct lt_wire *msg, size_t bytes,
    int *fds, size_t fd_count)
{
	struct lt_manager *m = port->m;
	int is_reply;

	if (lt_wire_check(msg, bytes, 'U', 'Q', &is_reply) != LEAT_OK ||
	    is_reply)
		lt_manager_fatal("malformed message from the supervisor");
	switch (msg->op) {
	case LT_OP_SUP_KEPT:
		take_kept(m, msg, fds, fd_count);
		break;
	case LT_OP_SUP_START:
		on_start(m, (const struct lt_wire_start *)msg, fds, fd_count);
		break;
	case LT_OP_SUP_OPTIONS:
		on_options(m, (const struct lt_wire_start *)msg);
		break;
	case LT_OP_SUP_PEER:
		if (fd_count != 1 || lt_storelink_open(m, fds[0]) != LEAT_OK)
			lt_manager_fatal("no socket to the store");
		fds[0] = -1;
		break;
	case LT_OP_SUP_STOP:
		on_stop(m);
		break;
	default:
		lt_manager_fatal("unknown message from the supervisor");
	}
}

static void
supervisor_hangup(struct lt_port *port)
{
	lt_log_warn("supervisor-gone", "sessions=%zu", port->m->sessions.used);
	_exit(0); /* its successor begins afresh */
}

/* --- the loop ------------------------------------------------------------ */

static void
init(struct lt_manager *m)
{
	m->uid = geteuid();
	m->dir_fd = m->store_fd = m->counter_fd = m->beacon_fd = -1;
	m->store.source.fd = m->listener.fd = -1;
	LIST_INIT(&m->conns);
	TAILQ_INIT(&m->store_waiting);
	TAILQ_INIT(&m->change_waiting);
	TAILQ_INIT(&m->index_waiting);
	TAILQ_INIT(&m->settle_waiting);
	lt_hash_init(&m->calls);
	lt_audit_init(m);
	m->supervisor.limit_bytes = LT_SIBLING_OUT;
	m->supervisor.message = supervisor_message;
	m->supervisor.hangup = supervisor_hangup;
	if (lt_secret_init() != LEAT_OK || lt_loop_init(m) != LEAT_OK ||
	    lt_rulebook_create(&m->grants) != LEAT_OK ||
	    lt_topic_init(m) != LEAT_OK || lt_ringset_init(m) != LEAT_OK ||
	    lt_group_init(m) != LEAT_OK || lt_session_init(m) != LEAT_OK ||
	    lt_port_open(m, &m->supervisor, SUPERVISOR_FD) != LEAT_OK)
		lt_manager_fatal("cannot start (is this run by leatd?)");
}

static int
earlier(int a, int b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

static int
until(uint64_t at_ms, uint64_t now_ms)
{
	if (at_ms == 0)
		return -1;
	return at_ms <= now_ms ? 0 : (int)(at_ms - now_ms);
}

static void
housekeep(struct lt_manager *m, uint64_t now_ms)
{
	int more;

	if (m->housekeep_at_ms == 0 || now_ms < m->housekeep_at_ms)
		return;
	m->housekeep_at_ms = 0;
	more = lt_admit_housekeep(m, now_ms);
	more |= lt_session_housekeep(m, now_ms);
	more |= lt_ringset_housekeep(m, now_ms);
	more |= lt_audit_housekeep(m, now_ms);
	if (more)
		lt_manager_tick(m);
}

static int
may_stop(const struct lt_manager *m, uint64_t now_ms)
{
	if (!m->stopping)
		return 0;
	return now_ms >= m->stop_at_ms || m->phase != LT_PHASE_UP ||
	       (m->flush_calls == 0 && !m->flush_wanted &&
		   lt_audit_is_idle(m) && m->rewrite_calls == 0);
}

static void
serve(struct lt_manager *m)
{
	int busy = 0;

	for (;;) {
		uint64_t now = lt_clock_mono_ms();
		int wait;

		housekeep(m, now);
		lt_progress_timer(m, now);
		lt_schedule_timer(m, now);
		if (may_stop(m, now))
			return;
		wait = earlier(lt_progress_timeout(m, now),
		    until(m->housekeep_at_ms, now));
		wait = earlier(wait, until(m->stop_at_ms, now));
		wait = earlier(wait, lt_schedule_timeout(m, now));
		lt_loop_round(m, busy ? 0 : wait);
		busy = lt_query_step(m);
	}
}

int
main(void)
{
	struct lt_manager *m = &manager;

	lt_log_init("leat-queue", LT_LOG_INFO);
	lt_sys_fp_init();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN); /* the supervisor decides */
	(void)signal(SIGHUP, SIG_IGN);
	init(m);
	serve(m);
	lt_query_close(m);
	lt_port_drain(&m->supervisor, 1000);
	lt_log_info("stopped", "sessions=%zu", m->sessions.used);
	return 0;
}
