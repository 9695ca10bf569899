/*
 * link.c - the admission socket: requests with their replies, events, and
 * coming back after a hang-up.
 *
 * The link is DOWN, HELLO (sent, not answered) or UP. Losing it costs nothing
 * but time: lane and page go on working while the queue manager restarts, so
 * publish and poll only look here when they wait. Every datagram is checked
 * by lt_wire_check before anything in it is used.
 */
#include "config.h"
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 1000
#define RESTORE_MIN_MS 50 /* a restore gets at least this long at a time */
#define RESTORE_MAX_MS 1000 /* and at most this */

static void
drop_fds(struct leat *leat)
{
	size_t i;

	for (i = 0; i < leat->rx_fd_count; i++)
		if (leat->rx_fds[i] >= 0)
			close(leat->rx_fds[i]);
	leat->rx_fd_count = 0;
}

int
lt_link_take_fd(struct leat *leat, size_t i)
{
	int fd;

	if (i >= leat->rx_fd_count)
		return -1;
	fd = leat->rx_fds[i];
	leat->rx_fds[i] = -1;
	return fd;
}

void
lt_link_down(struct leat *leat)
{
	if (leat->sock >= 0)
		close(leat->sock);
	leat->sock = -1;
	leat->link = LT_LINK_DOWN;
	drop_fds(leat);
}

static void
back_off(struct leat *leat)
{
	leat->try_at = lt_clock_mono_ms() + leat->backoff_ms;
	leat->backoff_ms *= 2;
	if (leat->backoff_ms > BACKOFF_MAX_MS)
		leat->backoff_ms = BACKOFF_MAX_MS;
}

/* A path longer than sun_path is reached through its directory. */
static int
fill_address(const char *path, struct sockaddr_un *sun, int *dir_out)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	int n;

	*dir_out = -1;
	sun->sun_family = AF_UNIX;
	if (lt_bytes_field(sun->sun_path, sizeof(sun->sun_path), path) == 0)
		return 0;
	if (slash == NULL || (size_t)(slash - path) >= sizeof(dir))
		return ENAMETOOLONG;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	*dir_out = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir_out < 0)
		return errno;
	n = snprintf(sun->sun_path, sizeof(sun->sun_path),
	    "/proc/self/fd/%d/%s", *dir_out, slash + 1);
	return n < 0 || (size_t)n >= sizeof(sun->sun_path) ? ENAMETOOLONG : 0;
}

static int
connect_socket(struct leat *leat)
{
	struct sockaddr_un sun = {0};
	int sock, dir, err;

	sock =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return errno;
	err = fill_address(leat->path, &sun, &dir);
	if (err == 0 &&
	    connect(sock, (struct sockaddr *)&sun, sizeof(sun)) != 0)
		err = errno;
	if (dir >= 0)
		close(dir);
	if (err != 0) {
		close(sock);
		return err;
	}
	leat->sock = sock;
	return 0;
}

static int
send_hello(struct leat *leat)
{
	struct lt_wire_hello msg = {0};

	leat->hello_tag = ++leat->tag;
	lt_wire_init(&msg.h, LT_OP_HELLO, sizeof(msg), 0, leat->hello_tag);
	msg.session = leat->session;
	memcpy(msg.token, leat->token, sizeof(msg.token));
	msg.last_seq = leat->next_seq - 1;
	msg.boot = leat->boot;
	msg.lane_bytes = leat->lane_bytes;
	memcpy(msg.name, leat->name, sizeof(msg.name));
	return lt_fdpass_send(leat->sock, &msg, sizeof(msg), NULL, 0);
}

void
lt_link_try(struct leat *leat)
{
	if (leat->link != LT_LINK_DOWN || lt_clock_mono_ms() < leat->try_at)
		return;
	leat->connect_errno = connect_socket(leat);
	if (leat->connect_errno != 0) {
		back_off(leat);
		return;
	}
	if (send_hello(leat) != LEAT_OK) {
		lt_link_down(leat);
		back_off(leat);
		return;
	}
	leat->link = LT_LINK_HELLO;
	lt_wait_watch(leat, leat->sock);
}

/* --- receiving
 * ------------------------------------------------------------------ */

/* One checked datagram into rx. OK, AGAIN, UNREACHABLE (hang-up or a broker
 * that does not speak our language). */
static int
receive(struct leat *leat, int *is_reply_out)
{
	int status;

	drop_fds(leat);
	if (leat->sock < 0)
		return LEAT_E_UNREACHABLE;
	status = lt_fdpass_recv(leat->sock, leat->rx, LT_WIRE_MAX,
	    &leat->rx_bytes, leat->rx_fds, &leat->rx_fd_count, MSG_DONTWAIT);
	if (status == LEAT_E_AGAIN)
		return status;
	if (status == LEAT_OK)
		status = lt_wire_check(
		    leat->rx, leat->rx_bytes, 'Q', 'C', is_reply_out);
	if (status == LEAT_E_VERSION) {
		leat->refused = LEAT_E_VERSION;
		(void)lt_connect_fail(leat, LEAT_E_VERSION,
		    "broker at %s speaks another version: use the libleat that "
		    "was installed with it",
		    leat->path);
	}
	return status == LEAT_OK ? LEAT_OK : LEAT_E_UNREACHABLE;
}

int
lt_link_take_fetch(struct leat *leat)
{
	const struct lt_wire_fetched *msg = (const void *)leat->rx;
	struct lt_segment seg;
	int fd, status;

	lt_fetched_void(leat);
	if (!msg->has_buffer)
		return LEAT_OK;
	fd = lt_link_take_fd(leat, 0);
	if (fd < 0)
		return LEAT_E_CORRUPT;
	status = lt_segment_attach(&seg, fd, LT_SEGMENT_FETCH, 0, 1);
	close(fd);
	if (status != LEAT_OK)
		return status;
	lt_segment_detach(&leat->fetch_seg);
	leat->fetch_seg = seg;
	return LEAT_OK;
}

static void
take_event(struct leat *leat)
{
	const struct lt_wire *h = (const void *)leat->rx;
	const struct lt_wire_page *page = (const void *)leat->rx;
	const struct lt_wire_number *moved = (const void *)leat->rx;
	const struct lt_wire_topic *topic = (const void *)leat->rx;

	switch (h->op) {
	case LT_OP_EV_PAGE:
		leat->store_gen = page->store_gen;
		if (lt_connect_page(leat, lt_link_take_fd(leat, 0),
			lt_link_take_fd(leat, 1)) != LEAT_OK)
			lt_link_down(leat); /* HELLO gives them again */
		break;
	case LT_OP_EV_MOVED:
		lt_inlet_moved(leat, moved->number);
		break;
	case LT_OP_EV_TOPIC:
		if (!lt_bytes_terminated(topic->name, sizeof(topic->name)))
			break;
		lt_producer_topic_event(leat, topic);
		lt_inlet_topic(leat, topic);
		break;
	case LT_OP_EV_LOCALS:
		lt_relay_locals_event(leat, (const void *)leat->rx);
		break;
	case LT_OP_EV_CLOSED:
		lt_link_down(leat);
		back_off(leat);
		break;
	default:
		break;
	}
}

/* A reply nobody waits for any more. */
static void
take_late(struct leat *leat)
{
	const struct lt_wire *h = (const void *)leat->rx;
	const struct lt_wire_subscribed *sub = (const void *)leat->rx;
	struct lt_wire_number msg = {0};

	if (h->status != LEAT_OK)
		return;
	switch (h->op) {
	case LT_OP_FETCH:
	case LT_OP_FIND:
		/* The buffer it came with is the session's all the same. */
		if (lt_link_take_fetch(leat) != LEAT_OK)
			lt_link_down(leat);
		break;
	case LT_OP_TOPIC_OPEN:
		lt_producer_topic_late(leat, (const void *)leat->rx);
		break;
	case LT_OP_SUBSCRIBE:
		msg.number = sub->id;
		lt_link_post(leat, LT_OP_UNSUBSCRIBE, &msg, sizeof(msg));
		break;
	case LT_OP_LANE:
		lt_link_down(leat); /* resuming gives the lane again */
		break;
	default:
		break;
	}
}

static void
take_welcome(struct leat *leat)
{
	const struct lt_wire *h = (const void *)leat->rx;
	int status = h->status;

	if (status == LEAT_OK)
		status = lt_connect_welcome(leat);
	if (status == LEAT_OK) {
		leat->link = LT_LINK_UP;
		leat->backoff_ms = BACKOFF_MIN_MS;
		leat->refused = LEAT_OK;
		return;
	}
	leat->refused = status;
	lt_link_down(leat);
	back_off(leat);
	/* The broker does not know this session (its directory is another
	 * one): begin a new one, and write again what has no receipt. */
	if (leat->session != 0 &&
	    (status == LEAT_E_NOTFOUND || status == LEAT_E_DENIED)) {
		leat->session = 0;
		leat->boot = 0;
		memset(leat->token, 0, sizeof(leat->token));
	}
}

/* Handle what lies in rx. 1: it is the reply to `tag`. */
static int
dispatch(struct leat *leat, int is_reply, uint32_t tag)
{
	const struct lt_wire *h = (const void *)leat->rx;

	if (!is_reply) {
		if (leat->page != NULL)
			take_event(leat);
		return 0;
	}
	if (h->op == LT_OP_HELLO) {
		if (leat->link == LT_LINK_HELLO && h->tag == leat->hello_tag)
			take_welcome(leat);
		return 0;
	}
	if (tag != 0 && h->tag == tag)
		return 1;
	take_late(leat);
	return 0;
}

/* Everything the socket has now. 1: the reply to tag lies in rx. */
static int
drain(struct leat *leat, uint32_t tag)
{
	int is_reply, status;

	while (leat->sock >= 0) {
		/* A reserved body lies in the lane, which a welcome may
		 * replace. */
		if (leat->link == LT_LINK_HELLO && leat->has_reserved)
			return 0;
		status = receive(leat, &is_reply);
		if (status == LEAT_E_AGAIN)
			return 0;
		if (status != LEAT_OK) {
			int was_hello = leat->link == LT_LINK_HELLO;

			lt_link_down(leat);
			if (was_hello)
				back_off(leat);
			else
				leat->try_at = 0;
			return 0;
		}
		if (dispatch(leat, is_reply, tag))
			return 1;
	}
	return 0;
}

static void
restore(struct leat *leat, uint64_t deadline)
{
	uint64_t now = lt_clock_mono_ms();

	if (leat->restoring || leat->link != LT_LINK_UP)
		return;
	if (deadline < now + RESTORE_MIN_MS)
		deadline = now + RESTORE_MIN_MS;
	if (deadline > now + RESTORE_MAX_MS)
		deadline = now + RESTORE_MAX_MS;
	leat->restoring = 1;
	lt_connect_restore(leat, deadline);
	leat->restoring = 0;
}

void
lt_link_pump(struct leat *leat, uint64_t deadline)
{
	leat->pumped_at = lt_clock_mono_ms();
	(void)drain(leat, 0);
	if (leat->link == LT_LINK_DOWN && !leat->restoring) {
		lt_link_try(leat);
		(void)drain(leat, 0);
	}
	restore(leat, deadline);
}

void
lt_link_glance(struct leat *leat, unsigned ms)
{
	uint64_t now = lt_clock_mono_ms();

	if (now - leat->pumped_at >= ms)
		lt_link_pump(leat, now);
}

/* Sleep until the socket has something, at most `cap` ms. */
static void
poll_socket(struct leat *leat, short events, uint64_t deadline, int cap)
{
	struct pollfd pfd = {.fd = leat->sock, .events = events};

	(void)poll(&pfd, 1, lt_wait_left(deadline, cap));
}

int
lt_link_up(struct leat *leat, uint64_t deadline)
{
	for (;;) {
		lt_link_try(leat);
		(void)drain(leat, 0);
		if (leat->link == LT_LINK_UP)
			return LEAT_OK;
		if (lt_wait_expired(deadline))
			return leat->link == LT_LINK_DOWN &&
				       leat->connect_errno != 0
				   ? LEAT_E_UNREACHABLE
				   : LEAT_E_TIMEOUT;
		/* A first connection waits for what is not there only if a
		 * time was given. */
		if (leat->page == NULL) {
			if (leat->refused != LEAT_OK &&
			    leat->refused != LEAT_E_BUSY)
				return leat->refused;
			if (!leat->patient && leat->connect_errno != 0 &&
			    leat->connect_errno != EAGAIN)
				return LEAT_E_UNREACHABLE;
		}
		poll_socket(leat, POLLIN, deadline,
		    leat->link == LT_LINK_DOWN ? BACKOFF_MIN_MS : 100);
	}
}

/* --- requests
 * ---------------------------------------------------------------------- */

static int
send_request(
    struct leat *leat, const void *request, size_t bytes, uint64_t deadline)
{
	int status;

	for (;;) {
		if (leat->sock < 0)
			return LEAT_E_UNREACHABLE;
		status = lt_fdpass_send(leat->sock, request, bytes, NULL, 0);
		if (status != LEAT_E_AGAIN)
			return status == LEAT_OK ? LEAT_OK : LEAT_E_UNREACHABLE;
		if (lt_wait_expired(deadline))
			return LEAT_E_TIMEOUT;
		poll_socket(leat, POLLOUT, deadline, 100);
	}
}

/* One attempt: send and wait for the reply. */
static int
exchange(struct leat *leat, enum lt_op op, void *request, size_t bytes,
    uint64_t deadline)
{
	const struct lt_wire *reply = (const void *)leat->rx;
	size_t fixed = lt_wire_op_row(op)->request_bytes;
	uint32_t tag = ++leat->tag;
	int status;

	if (tag == 0)
		tag = ++leat->tag;
	lt_wire_init(request, op, fixed, bytes - fixed, tag);
	status = send_request(leat, request, bytes, deadline);
	while (status == LEAT_OK) {
		if (drain(leat, tag))
			return reply->op == op ? reply->status : LEAT_E_CORRUPT;
		if (leat->link != LT_LINK_UP)
			return LEAT_E_UNREACHABLE;
		if (lt_wait_expired(deadline))
			return LEAT_E_TIMEOUT;
		poll_socket(leat, POLLIN, deadline, 1000);
	}
	if (status == LEAT_E_UNREACHABLE)
		lt_link_down(leat);
	return status;
}

int
lt_link_call(struct leat *leat, enum lt_op op, void *request, size_t bytes,
    uint64_t deadline, int *retried_out)
{
	int status, retried = 0;

	for (;;) {
		if (leat->link != LT_LINK_UP) {
			if (leat->restoring)
				return LEAT_E_UNREACHABLE;
			if (retried && lt_wait_expired(deadline)) {
				status = LEAT_E_TIMEOUT;
				break;
			}
			status = lt_link_up(leat, deadline);
			if (status != LEAT_OK)
				break;
			restore(leat, deadline);
			continue;
		}
		status = exchange(leat, op, request, bytes, deadline);
		if (status != LEAT_E_UNREACHABLE || leat->link == LT_LINK_UP)
			break;
		retried = 1;
		if (leat->restoring)
			break;
	}
	if (retried_out != NULL)
		*retried_out = retried;
	if (status == LEAT_E_UNREACHABLE && leat->link != LT_LINK_UP)
		return lt_connect_fail(leat, status,
		    "broker at %s is gone: start it with: leatd --dir DIR",
		    leat->path);
	if (status == LEAT_E_TIMEOUT)
		return lt_connect_fail(leat, status,
		    "no answer from the broker at %s: see its log", leat->path);
	return status;
}

void
lt_link_post(struct leat *leat, enum lt_op op, void *request, size_t bytes)
{
	if (leat->sock < 0 || leat->link != LT_LINK_UP)
		return;
	lt_wire_init(request, op, bytes, 0, ++leat->tag);
	/* Not sent: the same is said again later, or at the end. */
	(void)!lt_fdpass_send(leat->sock, request, bytes, NULL, 0);
}
