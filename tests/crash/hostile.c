/*
 * hostile.c - the harm that a client can try. What it writes is either random,
 * or nearly right: that reaches further.
 */
#include "hostile.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "proto/wire.h"
#include "shm/doorbell.h"
#include "shm/grouptable.h"
#include "shm/lane.h"
#include "shm/page.h"

#define TOPICS 64u /* ids it tries */

struct hostile {
	const char *socket;
	struct hostile_deeds *deeds;
	uint64_t random;
	uint64_t until_ms;
	int sock;
	uint32_t tag;
	uint8_t rx[LT_WIRE_MAX];
	int fds[LT_FDPASS_MAX];
	size_t fd_count;
	struct lt_wire_welcome welcome;
	int lane_fd, bell;
	struct lt_segment lane, page, table;
	uint32_t topic;
	uint32_t owner;
	_Atomic int stop;
};

static uint64_t
dice(struct hostile *h)
{
	return world_random(&h->random) >> 7;
}

static int
is_over(const struct hostile *h)
{
	return world_now_ms() >= h->until_ms;
}

/* --- being admitted ------------------------------------------------------ */

static int
dial(struct hostile *h)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval patience = {2, 0};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)lt_bytes_field(sun.sun_path, sizeof(sun.sun_path), h->socket);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(sock, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return sock;
	close(sock);
	return -1;
}

/* Wait for the reply to the last request: its status. */
static int
reply(struct hostile *h)
{
	const struct lt_wire *r = (const void *)h->rx;
	size_t bytes;

	for (;;) {
		int status = lt_fdpass_recv(h->sock, h->rx, sizeof(h->rx),
		    &bytes, h->fds, &h->fd_count, 0);

		if (status != LEAT_OK)
			return status;
		if ((r->flags & LT_WIRE_REPLY) && r->tag == h->tag)
			return r->status;
		while (h->fd_count > 0)
			close(h->fds[--h->fd_count]);
	}
}

static int
call(struct hostile *h, enum lt_op op, void *msg, size_t bytes)
{
	lt_wire_init(msg, op, bytes, 0, ++h->tag);
	if (lt_fdpass_send(h->sock, msg, bytes, NULL, 0) != LEAT_OK)
		return LEAT_E_UNREACHABLE;
	return reply(h);
}

/* Nothing the broker writes can be mapped to be written. */
static void
try_to_map(struct hostile *h, int fd)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		atomic_fetch_add(&h->deeds->mapped_what_is_sealed, 1);
}

static int
enter(struct hostile *h)
{
	struct lt_wire_hello hello = {.lane_bytes = 65536};
	struct lt_wire_topic_open open = {.rights = LT_RIGHT_PUBLISH};
	int status;

	h->sock = dial(h);
	if (h->sock < 0)
		return -1;
	strcpy(hello.name, "hostile");
	status = call(h, LT_OP_HELLO, &hello, sizeof(hello));
	if (status != LEAT_OK || h->fd_count != 5)
		return -1;
	memcpy(&h->welcome, h->rx, sizeof(h->welcome));
	h->lane_fd = h->fds[0];
	h->bell = h->fds[3];
	if (lt_segment_attach(&h->lane, h->lane_fd, LT_SEGMENT_LANE, 1, 1) !=
		LEAT_OK ||
	    lt_segment_attach(&h->page, h->fds[1], LT_SEGMENT_PAGE, 0, 1) !=
		LEAT_OK)
		return -1;
	try_to_map(h, h->fds[1]);
	try_to_map(h, h->fds[2]);
	strcpy(open.name, HOSTILE_TOPIC);
	status = call(h, LT_OP_TOPIC_OPEN, &open, sizeof(open));
	h->topic = ((const struct lt_wire_topic *)(const void *)h->rx)->id;
	return status;
}

static int
join(struct hostile *h)
{
	struct lt_wire_subscribe sub = {.queue = (uint32_t)dice(h) % 4};
	const struct lt_wire_subscribed *r = (const void *)h->rx;
	int status;

	strcpy(sub.topic, HOSTILE_TOPIC);
	snprintf(
	    sub.group, sizeof(sub.group), "wild-%u", (unsigned)(dice(h) % 8));
	status = call(h, LT_OP_SUBSCRIBE, &sub, sizeof(sub));
	if (status != LEAT_OK || !r->has_table)
		return -1;
	h->owner = r->owner;
	if (r->has_ring)
		try_to_map(h, h->fds[0]);
	return lt_segment_attach(
	    &h->table, h->fds[h->fd_count - 1], LT_SEGMENT_TABLE, 1, 1);
}

/* --- the lane ------------------------------------------------------------ */

static uint64_t
odd_number(struct hostile *h, uint64_t near)
{
	static const uint64_t edges[] = {0, 1, 31, 32, 33, 0x7fffffff,
	    0x80000000, 0xffffffe0, 0xffffffff, 0x100000000, INT64_MAX,
	    (uint64_t)INT64_MAX + 1, UINT64_MAX - 31, UINT64_MAX};

	switch (dice(h) % 4) {
	case 0:
		return edges[dice(h) % (sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return near + dice(h) % 65 - 32;
	case 2:
		return near + 32 * (dice(h) % 4096);
	default:
		return near;
	}
}

static struct lt_lane_rec *
record_at(struct hostile *h, uint64_t pos)
{
	uint64_t size = h->lane.head.data_bytes;

	return (struct lt_lane_rec *)((char *)h->lane.base +
				      LT_SEGMENT_DATA_AT + (pos & (size - 1)));
}

/* Lengths that change between two looks. */
static void *
flip(void *arg)
{
	struct hostile *h = arg;
	uint64_t random = h->random | 1;

	while (!atomic_load(&h->stop)) {
		uint64_t r = world_random(&random);
		struct lt_lane_rec *rec = record_at(h, (r >> 20) & ~31ull);
		_Atomic uint32_t *bytes = (_Atomic uint32_t *)&rec->bytes;

		for (int i = 0; i < 64; i++) {
			atomic_store_explicit(bytes, (uint32_t)r >> (i % 32),
			    memory_order_relaxed);
			atomic_store_explicit(bytes, 64, memory_order_relaxed);
		}
	}
	return NULL;
}

static void
attack_lane(struct hostile *h)
{
	struct lt_lane_shared *lane = h->lane.base;
	const struct lt_page_shared *page = h->page.base;
	uint64_t tail = atomic_load(&page->lane_head), seq = 1, one = 1;

	while (!is_over(h)) {
		for (int n = 1 + (int)(dice(h) % 20); n > 0; n--) {
			struct lt_lane_rec *rec = record_at(h, tail);
			uint32_t bytes = 100 + (uint32_t)dice(h) % 300;

			rec->kind = dice(h) % 8 == 0 ? (uint16_t)dice(h) : 2;
			rec->level = (uint16_t)(dice(h) % 5);
			rec->topic = dice(h) % 4 == 0
					 ? h->topic
					 : (uint32_t)dice(h) % TOPICS;
			rec->seq = odd_number(h, seq++);
			rec->bytes = (uint32_t)odd_number(h, bytes);
			for (uint32_t i = 0; i < 64; i++)
				((uint8_t *)record_at(h, tail + 32))[i % 32] =
				    (uint8_t)dice(h);
			tail += lt_bytes_align(32 + bytes, 32);
			atomic_fetch_add(&h->deeds->forged_records, 1);
		}
		atomic_store(&lane->waiting, (uint32_t)dice(h));
		atomic_store(&lane->want_logged, odd_number(h, seq));
		atomic_store(&lane->want_synced, odd_number(h, seq));
		atomic_store(&lane->tail, odd_number(h, tail));
		if (write(h->bell, &one, sizeof(one)) < 0)
			return;
		if (dice(h) % 64 == 0)
			(void)fallocate(h->lane_fd,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    (off_t)h->lane.bytes);
		if (ftruncate(h->lane_fd, 0) == 0)
			atomic_fetch_add(&h->deeds->mapped_what_is_sealed, 1);
		world_pause_us((unsigned)(dice(h) % 500));
	}
}

/* --- the group table ----------------------------------------------------- */

static void
attack_table(struct hostile *h)
{
	struct lt_table_shared *shared = h->table.base;
	struct lt_table t;

	if (lt_table_init(&t, &h->table) != LEAT_OK)
		return;
	while (!is_over(h)) {
		for (int n = 0; n < 64; n++) {
			uint64_t slot = dice(h) & (t.window - 1);
			uint64_t lap = odd_number(h, 0) & 0xffffff;
			uint64_t owner = dice(h) % 2 ? h->owner : dice(h);

			atomic_store(&t.words[slot],
			    lap << 40 | (dice(h) & 0xff) << 32 |
				(owner & 0xffff) << 16 | (dice(h) & 0xffff));
			atomic_fetch_add(&h->deeds->forged_claims, 1);
		}
		atomic_store(&shared->cursor, (int64_t)odd_number(h, 100));
		atomic_store(&shared->progress, (int64_t)odd_number(h, 100));
		atomic_fetch_add(&shared->returned, 1);
		atomic_store(&shared->closed, (uint32_t)dice(h) % 3);
		world_pause_us((unsigned)(dice(h) % 300));
	}
}

static void
scribble(struct hostile *h, struct lt_segment *seg)
{
	for (int i = 0; i < 256; i++) {
		uint64_t at = dice(h) % (seg->bytes / 8);

		/* Half of it in the page that says what the segment is. */
		if (dice(h) % 2)
			at %= LT_SEGMENT_DATA_AT / 8;
		((_Atomic uint64_t *)seg->base)[at] = dice(h) << 7;
	}
}

static void
make_noise(struct hostile *h)
{
	uint64_t one = 1;

	while (!is_over(h)) {
		scribble(h, &h->lane);
		scribble(h, &h->table);
		if (write(h->bell, &one, sizeof(one)) < 0)
			return;
		world_pause_us((unsigned)(dice(h) % 300));
	}
}

/* --- admission ----------------------------------------------------------- */

/* Requests that would be a manager's right to make are not made rightly. */
static void
forge(struct hostile *h, uint8_t *msg, size_t *bytes)
{
	struct lt_wire *w = (void *)msg;
	const struct lt_wire_op *row;
	unsigned op = (unsigned)(dice(h) % 110);
	size_t want = 64 + dice(h) % 1024;
	size_t i;

	for (i = 0; i < LT_WIRE_MAX; i++)
		msg[i] = i < 2048 ? (uint8_t)dice(h) : 0;
	row = lt_wire_op_row(op);
	if (row != NULL)
		want = row->request_bytes;
	lt_wire_init(w, op, want, 0, (uint32_t)dice(h));
	*bytes = want;
	switch (dice(h) % 10) {
	case 0:
		*bytes = dice(h) % (want + 1);
		break;
	case 1:
		*bytes = LT_WIRE_MAX;
		w->bytes = (uint32_t)odd_number(h, LT_WIRE_MAX);
		break;
	case 2:
		w->tail_bytes = (uint32_t)odd_number(h, 8);
		break;
	case 3:
		w->flags = (uint16_t)dice(h);
		break;
	case 4:
		w->version = (uint16_t)dice(h);
		break;
	case 5: /* somebody else's session, a token made up */
		lt_wire_init(
		    w, LT_OP_HELLO, sizeof(struct lt_wire_hello), 0, 1);
		*bytes = sizeof(struct lt_wire_hello);
		((struct lt_wire_hello *)w)->session =
		    odd_number(h, h->welcome.session);
		((struct lt_wire_hello *)w)->name[0] = 0;
		break;
	case 6: /* fields full of zeroes and edges */
		for (i = sizeof(*w); i + 8 <= want; i += 8) {
			uint64_t v = odd_number(h, 0);

			memcpy(msg + i, &v, 8);
		}
		break;
	default:
		break;
	}
	if (w->op == LT_OP_TOPIC_CREATE) /* sixty thousand queues are allowed */
		((struct lt_wire_topic *)w)->read_queues = 70000;
}

static int
send_raw(int sock, const void *msg, size_t bytes, const int *fds, size_t n)
{
	char room[CMSG_SPACE(32 * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)msg, bytes};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (n > 0) {
		m.msg_control = room;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return (int)sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int
is_out(struct hostile *h)
{
	struct pollfd p = {.fd = h->sock};

	return poll(&p, 1, 0) != 0;
}

static void
attack_admission(struct hostile *h)
{
	static _Alignas(16) uint8_t msg[LT_WIRE_MAX];
	int fds[32], sock = -1, i;
	size_t bytes;

	for (i = 0; i < 32; i++)
		fds[i] = i % 2 ? h->lane_fd : h->sock;
	while (!is_over(h)) {
		if (sock < 0)
			sock = dice(h) % 2 ? dial(h) : dup(h->sock);
		forge(h, msg, &bytes);
		if (send_raw(sock, msg, bytes, fds,
			dice(h) % 4 == 0 ? dice(h) % 33 : 0) < 0) {
			close(sock);
			sock = -1;
			if (is_out(h)) {
				close(h->sock); /* thrown out: once more */
				if (enter(h) != LEAT_OK)
					return;
				for (i = 0; i < 32; i++)
					fds[i] = h->sock;
			}
		}
		atomic_fetch_add(&h->deeds->forged_messages, 1);
	}
}

/* Connections, sessions and subscriptions, and no reply is ever read. */
static void
flood(struct hostile *h)
{
	struct lt_wire_subscribe sub = {.queue = 0};
	struct lt_wire_hello hello = {.lane_bytes = 65536};
	struct lt_wire_fetch fetch = {.topic = h->topic};
	int socks[64], n = 0, i;

	strcpy(sub.topic, HOSTILE_TOPIC);
	while (!is_over(h)) {
		if (n == 64)
			close(socks[--n]);
		socks[n] = dial(h);
		if (socks[n] < 0)
			continue;
		lt_wire_init(&hello.h, LT_OP_HELLO, sizeof(hello), 0, 1);
		(void)send_raw(socks[n], &hello, sizeof(hello), NULL, 0);
		for (i = 0; i < 200; i++) {
			sub.queue = (uint32_t)i % 4;
			snprintf(
			    sub.group, sizeof(sub.group), "wild-%d", i % 8);
			lt_wire_init(
			    &sub.h, LT_OP_SUBSCRIBE, sizeof(sub), 0, 2);
			lt_wire_init(
			    &fetch.h, LT_OP_FETCH, sizeof(fetch), 0, 3);
			if (send_raw(h->sock, &sub, sizeof(sub), NULL, 0) < 0 ||
			    send_raw(h->sock, &fetch, sizeof(fetch), NULL, 0) <
				0)
				break;
		}
		atomic_fetch_add(&h->deeds->forged_messages, (uint64_t)i);
		world_pause_us((unsigned)(dice(h) % 2000));
		n++;
	}
	while (n > 0)
		close(socks[--n]);
}

int
hostile_live(const char *socket, enum hostile_kind kind, uint64_t seed,
    unsigned ms, struct hostile_deeds *deeds)
{
	static struct hostile h;
	pthread_t thread;
	int threaded = 0;

	h = (struct hostile){.socket = socket,
	    .deeds = deeds,
	    .random = seed | 1,
	    .until_ms = world_now_ms() + ms};
	if (enter(&h) != LEAT_OK)
		return 2;
	atomic_fetch_add(&deeds->lives[kind], 1);
	if ((kind == HOSTILE_TABLE || kind == HOSTILE_NOISE) &&
	    join(&h) != LEAT_OK)
		return 3;
	if (kind == HOSTILE_LANE || kind == HOSTILE_NOISE)
		threaded = pthread_create(&thread, NULL, flip, &h) == 0;
	switch (kind) {
	case HOSTILE_LANE:
		attack_lane(&h);
		break;
	case HOSTILE_TABLE:
		attack_table(&h);
		break;
	case HOSTILE_NOISE:
		make_noise(&h);
		break;
	case HOSTILE_FORGER:
		attack_admission(&h);
		break;
	default:
		flood(&h);
		break;
	}
	atomic_store(&h.stop, 1);
	if (threaded)
		pthread_join(thread, NULL);
	return 0;
}
