/*
 * connect.c - making, resuming and closing a session, and its one line about
 * the last failure.
 *
 * Resuming. Same boot of the broker: the lane is the same segment (told by
 * its inode), so nothing in it is touched; the page may be a new one, whose
 * counters continue. Another boot: what has no receipt is salvaged from the
 * old lane before that is unmapped (lanes.c) and written again with its old
 * sequences. Completions of an old page are harvested before it goes.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"

#define DEFAULT_SOCKET "/run/leat/leat.sock"
#define DEFAULT_CONNECT_MS 5000
#define BYE_MS 1000

static _Thread_local char connect_error[320];

int
lt_connect_fail(struct leat *leat, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(leat->error, sizeof(leat->error), fmt, ap);
	va_end(ap);
	return status;
}

const char *
leat_error(const struct leat *leat)
{
	return leat == NULL ? connect_error : leat->error;
}

const char *
leat_version(void)
{
	return PACKAGE_VERSION;
}

int
lt_connect_valid(const struct leat *leat)
{
	return leat != NULL && leat->magic == LT_CLIENT_MAGIC;
}

/* --- segments
 * --------------------------------------------------------------------- */

int
lt_connect_page(struct leat *leat, int page_fd, int beacon_fd)
{
	struct lt_segment page = {0}, beacon = {0};
	uint64_t entries;
	int status = LEAT_E_CORRUPT;

	if (page_fd < 0 || beacon_fd < 0)
		goto out;
	status = lt_segment_attach(&page, page_fd, LT_SEGMENT_PAGE, 0, 1);
	if (status != LEAT_OK)
		goto out;
	status = lt_segment_attach(&beacon, beacon_fd, LT_SEGMENT_BEACON, 0, 1);
	if (status != LEAT_OK)
		goto out;
	entries = page.head.extra[0];
	if (entries == 0 || (entries & (entries - 1)) != 0 ||
	    entries > page.head.data_bytes / sizeof(struct lt_page_done)) {
		status = LEAT_E_CORRUPT;
		goto out;
	}
	if (leat->page != NULL)
		lt_receipt_harvest(leat);
	lt_segment_detach(&leat->page_seg);
	lt_segment_detach(&leat->beacon_seg);
	leat->page_seg = page;
	leat->beacon_seg = beacon;
	leat->page = page.base;
	leat->page_entries = entries;
	leat->beacon = beacon.base;
	page.base = beacon.base = NULL;
	/* A store asleep on the new beacon has not heard of what was put while
	 * the old one was looked at. */
	if (leat->lane.shared != NULL && leat->store_bell >= 0)
		lt_doorbell_event(leat->store_bell);
	status = lt_receipt_init(leat);
out:
	lt_segment_detach(&page);
	lt_segment_detach(&beacon);
	if (page_fd >= 0)
		close(page_fd);
	if (beacon_fd >= 0)
		close(beacon_fd);
	return status;
}

static uint64_t
inode_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

int
lt_connect_lane(struct leat *leat, int fd)
{
	struct lt_segment seg = {0};
	uint64_t ino = inode_of(fd), tail;
	int status = LEAT_E_CORRUPT;

	if (fd < 0)
		return status;
	status = lt_segment_attach(&seg, fd, LT_SEGMENT_LANE, 1, 1);
	close(fd);
	if (status != LEAT_OK)
		return status;
	if ((seg.head.data_bytes & (seg.head.data_bytes - 1)) != 0 ||
	    seg.head.data_bytes < LT_LANE_MIN) {
		lt_segment_detach(&seg);
		return LEAT_E_CORRUPT;
	}
	lt_segment_detach(&leat->lane_seg);
	leat->lane_seg = seg;
	leat->lane_ino = ino;
	leat->lane_bytes = seg.head.data_bytes;
	tail = atomic_load_explicit(
	    &((struct lt_lane_shared *)seg.base)->tail, memory_order_relaxed);
	lt_lane_writer_init(&leat->lane, &leat->lane_seg, tail);
	return LEAT_OK;
}

static void
replace_bell(struct leat *leat, int *bell, int fd)
{
	if (*bell >= 0)
		close(*bell);
	*bell = fd;
}

static void
take_settings(struct leat *leat, const struct lt_wire_welcome *msg)
{
	if (leat->session == 0 && leat->next_seq == 1 && msg->next_seq > 1)
		leat->next_seq = leat->oldest = msg->next_seq;
	leat->session = msg->session;
	memcpy(leat->token, msg->token, sizeof(leat->token));
	leat->boot = msg->boot;
	leat->store_gen = msg->store_gen;
	leat->max_body_bytes = msg->max_body_bytes;
	leat->default_level = msg->default_level >= LEAT_ACCEPTED &&
				      msg->default_level <= LEAT_SYNCED
				  ? msg->default_level
				  : LEAT_SYNCED;
	leat->spin_us = msg->spin_us;
	if (leat->spin_option < 0)
		leat->spin_us = 0;
	else if (leat->spin_option > 0)
		leat->spin_us = (uint32_t)leat->spin_option;
	memcpy(leat->broker, msg->broker, sizeof(leat->broker));
}

int
lt_connect_welcome(struct leat *leat)
{
	struct lt_wire_welcome msg;
	struct lt_topic *t;
	int resumed = leat->lane.shared != NULL, same, fd, status;

	memcpy(&msg, leat->rx, sizeof(msg));
	if (msg.session == 0 || leat->rx_fd_count != 5 ||
	    !lt_bytes_terminated(msg.broker, sizeof(msg.broker)))
		return LEAT_E_CORRUPT;
	same = resumed && msg.boot == leat->boot &&
	       inode_of(leat->rx_fds[0]) == leat->lane_ino;
	if (resumed && !same) {
		lt_receipt_harvest(leat);
		status = lt_lanes_salvage(leat);
		if (status != LEAT_OK)
			return status;
	}
	status = lt_connect_page(
	    leat, lt_link_take_fd(leat, 1), lt_link_take_fd(leat, 2));
	if (status != LEAT_OK)
		return status;
	if (!same) {
		/* From here on the old lane's records are in the backlog. */
		fd = lt_link_take_fd(leat, 0);
		status = lt_connect_lane(leat, fd);
		if (status != LEAT_OK)
			return status;
	}
	replace_bell(leat, &leat->store_bell, lt_link_take_fd(leat, 3));
	replace_bell(leat, &leat->client_bell, lt_link_take_fd(leat, 4));
	lt_wait_watch(leat, leat->client_bell);
	if (msg.boot != leat->boot)
		lt_inlet_forget_ids(leat);
	if (resumed && msg.boot != leat->boot && msg.next_seq != 0)
		lt_receipt_judge(leat, msg.next_seq - 1);
	take_settings(leat, &msg);
	if (resumed) {
		for (t = leat->topic_list; t != NULL; t = t->next)
			t->stale = LT_STALE;
		leat->must_follow = leat->follows;
		leat->must_tell = leat->on_locals != NULL;
		lt_fetched_void(leat);
		lt_inlet_stale_all(leat);
		if (same)
			lt_doorbell_event(leat->store_bell);
	}
	return LEAT_OK;
}

void
lt_connect_restore(struct leat *leat, uint64_t deadline)
{
	struct leat_consumer *c;
	struct lt_topic *t;
	int status;

	for (t = leat->topic_list; t != NULL; t = t->next) {
		if (t->stale != LT_STALE)
			continue;
		status = lt_producer_topic_open(leat, t, deadline);
		if (status == LEAT_E_TIMEOUT || leat->link != LT_LINK_UP)
			return;
	}
	lt_lanes_refill(leat, deadline);
	lt_relay_restore(leat, deadline);
	for (c = leat->consumers; c != NULL; c = c->next) {
		status = lt_inlet_restore(c, deadline);
		if (status != LEAT_OK || leat->link != LT_LINK_UP)
			return;
	}
}

/* --- connect and close
 * ------------------------------------------------------------- */

static void
destroy(struct leat *leat)
{
	struct lt_topic *t;

	lt_link_down(leat);
	while ((t = leat->topic_list) != NULL) {
		leat->topic_list = t->next;
		lt_mem_free(t);
	}
	lt_hash_fini(&leat->topics);
	lt_lanes_fini(leat);
	lt_segment_detach(&leat->lane_seg);
	lt_segment_detach(&leat->page_seg);
	lt_segment_detach(&leat->beacon_seg);
	lt_segment_detach(&leat->fetch_seg);
	replace_bell(leat, &leat->store_bell, -1);
	replace_bell(leat, &leat->client_bell, -1);
	replace_bell(leat, &leat->timer, -1);
	replace_bell(leat, &leat->epoll, -1);
	lt_mem_free(leat->flights);
	lt_mem_free(leat->properties);
	lt_mem_free(leat->reserve_text);
	lt_mem_free(leat->rx);
	lt_mem_free(leat->path);
	leat->magic = 0;
	lt_mem_free(leat);
}

static struct leat *
create(const struct leat_options *o)
{
	const char *path = o->socket, *name = o->name;
	struct leat *leat = lt_mem_alloc(sizeof(*leat));

	if (leat == NULL)
		return NULL;
	leat->sock = leat->store_bell = leat->client_bell = -1;
	leat->epoll = leat->timer = -1;
	leat->backoff_ms = 10;
	leat->request_ms = LT_REQUEST_MS;
	leat->next_seq = leat->oldest = 1;
	leat->lane_bytes = o->lane_bytes;
	leat->spin_option = o->spin_us;
	lt_hash_init(&leat->topics);
	if (path == NULL)
		path = getenv("LEAT_SOCKET");
	if (path == NULL || *path == '\0')
		path = DEFAULT_SOCKET;
	if (name == NULL)
		name = program_invocation_short_name;
	/* Longer names are cut: they are for people. */
	(void)snprintf(leat->name, sizeof(leat->name), "%s", name);
	leat->path = lt_mem_strdup(path);
	leat->rx = lt_mem_aligned(64, LT_WIRE_MAX);
	if (leat->path == NULL || leat->rx == NULL) {
		destroy(leat);
		return NULL;
	}
	leat->magic = LT_CLIENT_MAGIC;
	return leat;
}

/* Why there is no connection, and what to do about it. */
static int
explain(struct leat *leat, int status)
{
	const char *p = leat->path;
	int err = leat->connect_errno;

	if (status == LEAT_E_UNREACHABLE && err == EACCES)
		return lt_connect_fail(leat, LEAT_E_DENIED,
		    "cannot connect to %s: not allowed: give this user access "
		    "to the directory and the socket",
		    p);
	if (status == LEAT_E_UNREACHABLE)
		return lt_connect_fail(leat, status,
		    "cannot connect to %s: %s: start it with: leatd --dir DIR",
		    p,
		    err == ENOENT	  ? "no such file"
		    : err == ECONNREFUSED ? "nobody listens"
					  : strerror(err));
	if (status == LEAT_E_DENIED)
		return lt_connect_fail(leat, status,
		    "broker at %s refuses this user: it needs a grant", p);
	if (status == LEAT_E_TIMEOUT)
		return lt_connect_fail(leat, status,
		    "broker at %s did not answer in time: it may be "
		    "recovering; "
		    "see its log",
		    p);
	if (status != LEAT_E_VERSION || leat->error[0] == '\0')
		(void)lt_connect_fail(leat, status, "cannot connect to %s: %s",
		    p, leat_status_text(status));
	return status;
}

/* A session with another host's broker: all of it is in remote/. */
static int
connect_far(
    const struct leat_options *options, const char *server, struct leat **out)
{
	struct leat *leat = lt_mem_alloc(sizeof(*leat));
	int status = LEAT_E_NOMEM;

	if (leat != NULL)
		status = lt_far_connect(options, server, leat);
	if (status == LEAT_OK) {
		leat->error[0] = '\0';
		*out = leat;
		return LEAT_OK;
	}
	snprintf(connect_error, sizeof(connect_error), "%s",
	    leat != NULL ? leat->error : "out of memory");
	lt_mem_free(leat);
	return status;
}

int
leat_connect(const struct leat_options *options, struct leat **out)
{
	struct leat_options none = {0};
	const char *server;
	struct leat *leat;
	uint64_t deadline;
	int status, ms;

	*out = NULL;
	if (options == NULL)
		options = &none;
	server = lt_far_server(options);
	if (server != NULL)
		return connect_far(options, server, out);
	if (options->lane_bytes != 0 &&
	    ((options->lane_bytes & (options->lane_bytes - 1)) != 0 ||
		options->lane_bytes < LT_LANE_MIN ||
		options->lane_bytes > LT_LANE_MAX)) {
		snprintf(connect_error, sizeof(connect_error),
		    "lane_bytes must be a power of two from %d to %u",
		    LT_LANE_MIN, LT_LANE_MAX);
		return LEAT_E_INVALID;
	}
	if (secure_getenv("LEAT_FAILPOINT") != NULL)
		lt_sys_fp_init();
	leat = create(options);
	if (leat == NULL) {
		snprintf(connect_error, sizeof(connect_error), "out of memory");
		return LEAT_E_NOMEM;
	}
	ms = options->connect_timeout_ms;
	leat->patient = ms != 0;
	deadline = lt_wait_deadline(ms == 0 ? DEFAULT_CONNECT_MS : ms);
	status = lt_link_up(leat, deadline);
	if (status != LEAT_OK) {
		status = explain(leat, status);
		memcpy(connect_error, leat->error, sizeof(connect_error));
		destroy(leat);
		return status;
	}
	leat->error[0] = '\0';
	*out = leat;
	return LEAT_OK;
}

void
leat_close(struct leat *leat)
{
	struct lt_wire_none bye = {0};

	if (leat == NULL)
		return;
	if (lt_far_close(leat)) {
		leat->magic = 0;
		lt_mem_free(leat);
		return;
	}
	LT_ASSERT(leat->magic == LT_CLIENT_MAGIC);
	while (leat->consumers != NULL)
		leat_unsubscribe(leat->consumers);
	leat->has_reserved = 0;
	/* What waits for room in a lane that died was accepted all the same. */
	while (
	    leat->backlog.at < leat->backlog.used && leat->link == LT_LINK_UP) {
		size_t at = leat->backlog.at;

		lt_link_pump(leat, lt_clock_mono_ms() + BYE_MS);
		if (leat->backlog.at == at)
			break;
	}
	lt_producer_announce(leat);
	if (leat->link == LT_LINK_UP) {
		/* No wait for a queue manager that died meanwhile. */
		leat->restoring = 1;
		(void)!lt_link_call(leat, LT_OP_BYE, &bye, sizeof(bye),
		    lt_wait_deadline(BYE_MS), NULL);
	}
	destroy(leat);
}

int
leat_ping(struct leat *leat, int timeout_ms)
{
	struct lt_wire_none msg = {0};

	if (!lt_connect_valid(leat))
		return lt_far_ping(leat, timeout_ms);
	return lt_link_call(leat, LT_OP_PING, &msg, sizeof(msg),
	    lt_wait_deadline(timeout_ms), NULL);
}
