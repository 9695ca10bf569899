/*
 * store_main.c - leat-store, the storage writer: start, duty cycle, stop.
 *
 * One thread does everything but zero-filling segments ahead (extent.c) and
 * waiting for the disk where no client waits (syncer.c). A
 * turn: take what the lanes hold, bring it out as one append, do what is due.
 * With nothing to do: say "sleeping" in the beacon, fence, look once more,
 * sleep on the epoll set. Descriptor 3 is the socket to the supervisor; when
 * it hangs up the process ends at once.
 *
 * Exit status: 0 stopped, 1 cannot start, 3 the log failed, 4 a sibling sent
 * what no sibling may send.
 */
#include "config.h"
#include "store/duty.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/leat.h"
#include "shm/counter.h"
#include "shm/doorbell.h"
#include "supervisor/sandbox.h"

#define CONTROL_FD 3
#define EVENTS 64
#define STOP_DRAIN_MS 1000
#define SPIN_NS 30000

static struct lt_duty duty;

/* --- start --- */

static void
on_progress(unsigned percent, void *user)
{
	struct pollfd p = {.fd = CONTROL_FD, .events = POLLRDHUP};

	lt_stat_set(store_recovery_percent, percent);
	/* Recovery may take long: do not outlive the supervisor. */
	if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP)) != 0)
		_exit(1);
}

static int
recover(struct lt_duty *d)
{
	uint64_t start = lt_clock_mono_ms();
	struct lt_recovered *r = &d->recovered;
	uint64_t took_ms;
	int status;

	lt_stat_set(store_recovering, 1);
	lt_stat_set(store_recovery_percent, 0);
	status =
	    lt_recover_run(d->store_dir, d->log, d->queues, r, on_progress, d);
	if (status != LEAT_OK)
		return status;
	/* What was found is durable before anybody hears of it. */
	status = lt_commitlog_sync(d->log);
	if (status != LEAT_OK)
		return status;
	took_ms = lt_clock_mono_ms() - start;
	lt_stat_set(store_recovering, 0);
	lt_stat_set(store_recovery_percent, 100);
	lt_stat_set(store_recovery_ms, took_ms);
	lt_stat_set(store_recovered_bytes, r->scanned_bytes);
	lt_stat_add(store_damaged, r->damaged);
	lt_stat_set(store_log_min, lt_commitlog_min(d->log));
	lt_stat_set(store_log_end, r->log_end);
	lt_stat_set(store_log_synced, r->log_end);
	lt_stat_set(store_queues, lt_cq_count(d->queues));
	lt_log_info("recovered",
	    "log_end=%llu scanned_bytes=%llu records=%llu damaged=%llu "
	    "took_ms=%llu",
	    (unsigned long long)r->log_end,
	    (unsigned long long)r->scanned_bytes,
	    (unsigned long long)r->records, (unsigned long long)r->damaged,
	    (unsigned long long)took_ms);
	return LEAT_OK;
}

static int
make_beacon(struct lt_duty *d)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_BEACON,
	    .data_bytes = 4096,
	    .generation = d->generation,
	};
	int status = lt_segment_create(
	    &d->beacon_seg, "leat-beacon", &head, 1, &d->beacon_fd);

	if (status != LEAT_OK)
		return status;
	d->beacon = d->beacon_seg.base;
	atomic_store_explicit(&d->beacon->log_end, lt_commitlog_end(d->log),
	    memory_order_relaxed);
	atomic_store_explicit(&d->beacon->log_synced,
	    lt_commitlog_synced(d->log), memory_order_relaxed);
	return LEAT_OK;
}

/* The private segment: the one kept, or a new one for the supervisor to keep.
 */
static int
make_state(struct lt_duty *d)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_STATE,
	    .data_bytes = 4096,
	};
	struct lt_wire_keep keep;
	uint64_t done;
	int fd, status;

	if (d->state_seg.base == NULL) {
		status = lt_segment_create(
		    &d->state_seg, "leat-state", &head, 1, &fd);
		if (status != LEAT_OK)
			return status;
		memset(&keep, 0, sizeof(keep));
		lt_wire_init(&keep.h, LT_OP_SUP_KEEP, sizeof(keep), 0, 0);
		keep.kind = LT_KEEP_STATE;
		status = lt_control_send(d, &keep, sizeof(keep), fd);
		close(fd);
		if (status != LEAT_OK)
			return status;
	}
	d->state = (struct lt_duty_state *)((char *)d->state_seg.base +
					    LT_SEGMENT_DATA_AT);
	d->store_ms =
	    atomic_load_explicit(&d->state->store_ms, memory_order_relaxed);
	if (d->store_ms < d->recovered.last_store_ms)
		d->store_ms = d->recovered.last_store_ms;
	done = atomic_load_explicit(
	    &d->state->completed_end, memory_order_relaxed);
	/* Only a lost file or a failing disk can do that. */
	if (done > lt_commitlog_end(d->log))
		lt_log_error("log-shorter-than-acknowledged",
		    "acknowledged=%llu log_end=%llu", (unsigned long long)done,
		    (unsigned long long)lt_commitlog_end(d->log));
	return LEAT_OK;
}

static void
set_options(struct lt_duty *d)
{
	struct in_addr host;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	lt_log_set_level((enum lt_log_level)d->options.broker_log_level);
	/* accepted, logged, synced: indices in options.def */
	d->default_level = (uint32_t)d->options.store_level + LEAT_ACCEPTED;
	d->store_ip = inet_pton(AF_INET, d->options.broker_host, &host) == 1
			  ? ntohl(host.s_addr)
			  : INADDR_LOOPBACK;
	/* spin, adaptive, sleep */
	if (d->options.broker_spin == 0)
		d->spin_ns = UINT64_MAX;
	else if (d->options.broker_spin == 1 && cpus > 2)
		d->spin_ns = SPIN_NS;
	else
		d->spin_ns = 0;
}

static int
say_ready(struct lt_duty *d)
{
	struct lt_wire_none m;

	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_SUP_READY, sizeof(m), 0, 0);
	return lt_control_send(d, &m, sizeof(m), -1);
}

/* Everything up to the first turn. *what_out: the step that failed. */
static int
start(struct lt_duty *d, const char **what_out)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &d->control};
	struct epoll_event rings = {.events = EPOLLIN | EPOLLET};
	int status;

	*what_out = "epoll";
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	d->syncer_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->epoll < 0 || d->syncer_event < 0 ||
	    epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->syncer_event, &rings) < 0)
		return lt_sys_status(errno);
	*what_out = "start";
	status = lt_control_start(d, CONTROL_FD);
	if (status != LEAT_OK)
		return status;
	if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->control, &ev) < 0)
		return lt_sys_status(errno);
	set_options(d);
	*what_out = "open";
	status = lt_duty_open(d);
	if (status != LEAT_OK)
		return status;
	*what_out = "recover";
	status = recover(d);
	if (status != LEAT_OK)
		return status;
	*what_out = "memory";
	status = lt_mark_load(d);
	if (status == LEAT_OK)
		status = make_beacon(d);
	if (status == LEAT_OK)
		status = make_state(d);
	if (status == LEAT_OK)
		status = lt_batch_init(d);
	if (status != LEAT_OK)
		return status;
	/* Before the log's filler thread, so that it is inside as well. */
	*what_out = "sandbox";
	if (d->options.broker_sandbox)
		status = lt_sandbox_enter("leat-store", d->dir, "");
	if (status != LEAT_OK)
		return status;
	*what_out = "fill";
	status = lt_commitlog_start(d->log);
	if (status == LEAT_OK)
		status = lt_syncer_start(d->syncer_event, &d->syncer);
	if (status != LEAT_OK)
		return status;
	lt_session_init_system(d);
	d->checkpoint_end =
	    d->recovered.scanned_bytes > 0 ? 0 : lt_commitlog_end(d->log);
	d->checkpoint_at = d->checkpoint_end;
	*what_out = "upkeep";
	status = lt_upkeep_init(d);
	if (status != LEAT_OK)
		return status;
	status = lt_upkeep_disk(d);
	if (status != LEAT_OK)
		return status;
	*what_out = "greet";
	status = lt_control_greet(d);
	if (status == LEAT_OK)
		status = say_ready(d);
	return status;
}

/* --- duty cycle --- */

/* 1 if a lane holds something (or lies). */
static int
is_anything_there(void *user)
{
	struct lt_duty *d = user;

	if (!d->is_open || d->batch.is_appended)
		return 0;
	for (size_t i = 0; i < d->session_count; i++)
		if (!d->sessions[i]->is_closed &&
		    lt_lane_poll(&d->sessions[i]->lane) != 0)
			return 1;
	return 0;
}

static int
poll_events(struct lt_duty *d, int timeout_ms)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(d->epoll, ev, EVENTS, timeout_ms);
	int status = LEAT_OK;

	atomic_store_explicit(&d->beacon->sleeping, 0, memory_order_relaxed);
	if (timeout_ms != 0)
		d->now_ms = lt_clock_mono_ms();
	d->polled_ms = d->now_ms;
	for (int i = 0; i < n && status == LEAT_OK; i++) {
		if (ev[i].data.ptr == &d->control) {
			status = lt_control_poll_supervisor(d);
		} else if (ev[i].data.ptr == &d->peer) {
			if (ev[i].events & EPOLLOUT)
				lt_peer_flush(d);
			status = lt_control_poll_peer(d);
		} /* else a client or the syncer rang: edge-triggered, nothing
		   * to read */
	}
	return status;
}

static int
idle(struct lt_duty *d)
{
	uint64_t until;
	int status;

	if (d->spin_ns == UINT64_MAX)
		return poll_events(d, 0);
	if (d->spin_ns > 0) {
		until = lt_clock_mono_ns() + d->spin_ns;
		while (lt_clock_mono_ns() < until) {
			if (is_anything_there(d))
				return LEAT_OK;
			__builtin_ia32_pause();
		}
	} else if (lt_patience_try(&d->patience, is_anything_there, d)) {
		return LEAT_OK;
	}
	atomic_store_explicit(&d->beacon->sleeping, 1, memory_order_relaxed);
	lt_doorbell_fence();
	if (is_anything_there(d)) {
		atomic_store_explicit(
		    &d->beacon->sleeping, 0, memory_order_relaxed);
		return LEAT_OK;
	}
	lt_stat_add(store_sleeps, 1);
	until = lt_clock_mono_ns();
	status = poll_events(d, lt_upkeep_wait_ms(d));
	lt_patience_slept(&d->patience, until);
	return status;
}

/* One turn. *taken_out: records taken. */
static int
turn(struct lt_duty *d, uint32_t *taken_out)
{
	int status;

	*taken_out = 0;
	if (!d->batch.is_appended) {
		if (LT_UNLIKELY(d->dropped != NULL && d->batch.count == 0))
			lt_topicmap_sweep(d);
		if (LT_LIKELY(d->is_open))
			*taken_out = lt_batch_sweep(d);
	}
	status = lt_publish_run(d);
	if (status != LEAT_OK)
		return status;
	if (LT_UNLIKELY(d->detaching > 0 && d->batch.count == 0))
		lt_session_finish_detaching(d);
	return lt_upkeep_run(d);
}

static int
cycle(struct lt_duty *d)
{
	uint64_t stop_ms = 0;
	uint32_t taken;
	int status;

	for (;;) {
		d->now_ms = lt_clock_mono_ms();
		if (d->now_ms != d->polled_ms) {
			status = poll_events(d, 0);
			if (status != LEAT_OK)
				return status;
		}
		status = turn(d, &taken);
		if (status != LEAT_OK)
			return status;
		if (LT_UNLIKELY(d->is_stopping)) {
			if (stop_ms == 0)
				stop_ms = d->now_ms + STOP_DRAIN_MS;
			if (taken == 0 || d->now_ms >= stop_ms)
				return LEAT_OK;
		}
		if (taken == 0 && d->batch.count == 0)
			status = idle(d);
		else if (d->batch.is_appended)
			status = poll_events(d, lt_upkeep_wait_ms(d));
		if (status != LEAT_OK)
			return status;
	}
}

static int
stop(struct lt_duty *d)
{
	int status = lt_checkpoint_last(d);

	if (status == LEAT_OK) {
		lt_log_info("stopped", "log_end=%llu",
		    (unsigned long long)lt_commitlog_end(d->log));
		lt_commitlog_close(d->log);
		lt_cq_set_close(d->queues);
	}
	return status;
}

int
main(void)
{
	struct lt_duty *d = &duty;
	const char *what = "";
	int status;

	lt_log_init("leat-store", LT_LOG_INFO);
	lt_sys_fp_init();
	signal(SIGPIPE, SIG_IGN);
	/* A terminal or service manager signals everybody; the supervisor
	 * stops its children in order. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	d->peer.fd = -1;
	lt_hash_init(&d->session_map);
	lt_hash_init(&d->marks);
	status = start(d, &what);
	if (status != LEAT_OK) {
		lt_log_error("start-failed", "step=%s status=%s", what,
		    leat_status_name(status));
		return status == LEAT_E_IO ? LT_DUTY_EXIT_IO : 1;
	}
	status = cycle(d);
	if (status == LEAT_OK)
		status = stop(d);
	if (status == LEAT_E_CLOSED)
		_exit(1);
	if (status != LEAT_OK) {
		lt_log_error("store-failed", "status=%s log_end=%llu",
		    leat_status_name(status),
		    (unsigned long long)lt_commitlog_end(d->log));
		_exit(status == LEAT_E_CORRUPT ? LT_DUTY_EXIT_PROTOCOL
					       : LT_DUTY_EXIT_IO);
	}
	return 0;
}
