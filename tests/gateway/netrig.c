/* netrig.c - see netrig.h. */
#include "config.h"
#include "netrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "leat/status.h"

#define PATIENCE_S 150 /* also of a machine that stood still */
#define LATER_MAX 64
#define PIECE 50000
#define PATTERN (1 << 20)

const struct lt_net_limits rig_limits = {.frame_bytes = 16 << 20,
    .conn_bytes = 1 << 20,
    .memory_bytes = 64 << 20,
    .connections = 1000,
    .idle_ms = 120000,
    .stall_ms = 60000,
    .hello_ms = 10000};

struct rig rig;
int (*rig_admits)(const uint8_t key[LT_SECRET_KEY]);

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t copied = PTHREAD_COND_INITIALIZER;
static struct lt_net_counters copy; /* under lock */
static int wants_copy; /* under lock */
static int wants_release; /* under lock */
static int wants_admission; /* under lock */
static unsigned live; /* connections; under lock */
static uint16_t wants_connect; /* under lock */
static int connect_closes; /* under lock */
static uint8_t pattern[PATTERN + PIECE];
static uint64_t later[LATER_MAX];
static unsigned later_count;
static atomic_ullong ahead_ns = 1000000000;

static uint64_t
still_ns(void)
{
	return atomic_load(&ahead_ns);
}

void
rig_advance(unsigned ms)
{
	atomic_fetch_add(&ahead_ns, ms * 1000000ull);
}

/* --- the owner, in the loop's thread ------------------------------------- */

static int64_t
cut(const uint8_t *p, size_t bytes, void *user)
{
	if (bytes < 4)
		return 0;
	uint32_t size = lt_bytes_get32(p);
	return size < RIG_HEAD ? LEAT_E_CORRUPT : (int64_t)size;
}

static void
opened(struct lt_conn *c, void *user)
{
	rig.opened++;
	lt_conn_user_set(c, &rig);
	if (lt_conn_tag(c) == 9) { /* ours: speaks first */
		uint8_t *p = lt_conn_room(c, 100);

		LT_ASSERT(p != NULL);
		frame_make(p, 100, ORDER_ECHO, 0, 7);
		lt_conn_put(c, 100);
	}
}

static void
given_back(void *user)
{
	rig.given_back++;
}

struct chain {
	struct lt_conn *c;
	unsigned left;
};

static void
next_of_chain(void *user)
{
	struct chain *chain = user;

	rig.given_back++;
	if (chain->left == 0 ||
	    lt_conn_lend(chain->c, pattern, PIECE, next_of_chain, chain) != 0) {
		free(chain);
		return;
	}
	chain->left--;
	rig.lent++;
}

static void
start_chain(struct lt_conn *c, unsigned times)
{
	struct chain *chain = malloc(sizeof(*chain));

	LT_ASSERT(chain != NULL);
	*chain = (struct chain){.c = c, .left = times - 1};
	if (lt_conn_lend(c, pattern, PIECE, next_of_chain, chain) == 0)
		rig.lent++;
	else
		free(chain);
}

static void
fill(struct lt_conn *c, size_t bytes)
{
	for (size_t at = 0, n; at < bytes; at += n) {
		n = bytes - at < 3000 ? bytes - at : 3000;
		void *room = lt_conn_room(c, n);
		if (room == NULL)
			return;
		memcpy(room, pattern + at % 256, n);
		lt_conn_put(c, n);
	}
}

static void
lend(struct lt_conn *c, size_t bytes)
{
	for (size_t at = 0, n; at < bytes; at += n) {
		n = bytes - at < PIECE ? bytes - at : PIECE;
		if (lt_conn_lend(c, pattern + at % 256, n, given_back, NULL) !=
		    0)
			return;
		rig.lent++;
	}
}

static void
echo(struct lt_conn *c, const uint8_t *p, size_t bytes)
{
	void *room = lt_conn_room(c, bytes);

	if (room == NULL)
		return;
	memcpy(room, p, bytes);
	lt_conn_put(c, bytes);
}

static void
close_self(struct lt_conn *c)
{
	uint64_t id = lt_conn_id(c);

	LT_ASSERT(lt_conn_find(rig.net, id) == c);
	fill(c, 100);
	lt_conn_close(c);
	LT_ASSERT(lt_conn_find(rig.net, id) == NULL);
	LT_ASSERT(lt_conn_room(c, 10) == NULL);
	lt_conn_put(c, 0);
	LT_ASSERT(
	    lt_conn_lend(c, pattern, 1, given_back, NULL) == LEAT_E_CLOSED);
	lt_conn_drain(c);
	lt_conn_owe(c, 1);
	lt_conn_owe(c, -1);
	lt_conn_close(c);
}

static struct lt_conn *all[16384];
static unsigned all_count;

static void
tell(void)
{
	pthread_mutex_lock(&lock);
	live = all_count;
	pthread_cond_broadcast(&copied);
	pthread_mutex_unlock(&lock);
}

static void
note(struct lt_conn *c)
{
	for (unsigned i = 0; i < all_count; i++)
		if (all[i] == c)
			return;
	LT_ASSERT(all_count < LT_COUNT(all));
	all[all_count++] = c;
	tell();
}

static int
frame(struct lt_conn *c, uint8_t *p, size_t bytes, void *user)
{
	uint32_t arg = lt_bytes_get32(p + 8);

	switch ((enum order)lt_bytes_get32(p + 4)) {
	case ORDER_ECHO:
		if (lt_conn_tag(c) != 9)
			echo(c, p, bytes);
		break;
	case ORDER_FILL:
		fill(c, arg);
		break;
	case ORDER_LEND:
		lend(c, arg);
		break;
	case ORDER_CLOSE:
		close_self(c);
		break;
	case ORDER_CLOSE_ALL:
		for (unsigned i = 0; i < all_count; i++)
			lt_conn_close(all[i]);
		break;
	case ORDER_DRAIN:
		lend(c, arg);
		lt_conn_drain(c);
		break;
	case ORDER_REFUSE:
		return LEAT_E_CORRUPT;
	case ORDER_LATER:
		LT_ASSERT(later_count < LATER_MAX);
		lt_conn_owe(c, 1);
		later[later_count++] = lt_conn_id(c);
		break;
	case ORDER_ROOM:
		LT_ASSERT(lt_conn_room(c, 100000) != NULL);
		echo(c, p, bytes);
		break;
	case ORDER_CHAIN:
		start_chain(c, arg);
		break;
	}
	memset(p, 0xEE, bytes); /* lent, writable: nobody looks again */
	return LEAT_OK;
}

static void
closed(struct lt_conn *c, void *user)
{
	rig.closed++;
	rig.last_reason = lt_conn_reason(c);
	rig.unshaken += lt_conn_is_unshaken(c) != 0;
	LT_ASSERT(lt_conn_find(rig.net, lt_conn_id(c)) == NULL);
	for (unsigned i = 0; i < all_count; i++)
		if (all[i] == c)
			all[i] = all[--all_count];
	tell();
}

static void
opened_noted(struct lt_conn *c, void *user)
{
	note(c);
	opened(c, user);
}

static void
release(void)
{
	uint8_t p[RIG_HEAD];

	for (unsigned i = 0; i < later_count; i++) {
		struct lt_conn *c = lt_conn_find(rig.net, later[i]);

		if (c == NULL)
			continue;
		frame_make(p, RIG_HEAD, ORDER_LATER, 0, 0);
		echo(c, p, sizeof p);
		lt_conn_owe(c, -1);
		rig.late++;
	}
	later_count = 0;
}

static void
woken(void *user)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct lt_conn *c;

	int connects, fails = 1;

	rig.woken++;
	pthread_mutex_lock(&lock);
	if (wants_copy)
		copy = *lt_net_counters(rig.net);
	wants_copy = 0;
	if (wants_release)
		release();
	wants_release = 0;
	if (wants_admission)
		lt_net_admit_again(rig.net);
	wants_admission = 0;
	to.sin_port = wants_connect;
	connects = wants_connect != 0;
	pthread_mutex_unlock(&lock);
	if (connects)
		fails = lt_net_connect(rig.net, &to, 9, &c);
	if (!fails) {
		note(c);
		if (connect_closes)
			lt_conn_close(c);
	}
	pthread_mutex_lock(&lock);
	if (connects)
		wants_connect = 0;
	pthread_cond_broadcast(&copied);
	pthread_mutex_unlock(&lock);
}

static void
tick(uint64_t now_ms, void *user)
{
	rig.ticks++;
}

static int
admit(struct lt_conn *c, const uint8_t key[LT_SECRET_KEY], void *user)
{
	LT_ASSERT(memcmp(lt_conn_key(c), key, LT_SECRET_KEY) == 0);
	return rig_admits != NULL && rig_admits(key);
}

static const struct lt_net_owner owner = {.cut = cut,
    .opened = opened_noted,
    .admit = admit,
    .frame = frame,
    .woken = woken,
    .tick = tick,
    .closed = closed};

static void *
run(void *user)
{
	LT_ASSERT(lt_net_run(rig.net) == LEAT_OK);
	return NULL;
}

/* --- its control --------------------------------------------------------- */

static void
start(const struct lt_net_limits *limits, enum lt_net_tls mode,
    struct lt_tls *tls, struct lt_channels *channels)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof at;
	int fd;

	if (lt_clock.mono_ns != still_ns) {
		lt_clock.mono_ns = still_ns;
		for (size_t i = 0; i < sizeof pattern; i++)
			pattern[i] = (uint8_t)(i % 256);
	}
	memset(&rig, 0, sizeof rig);
	later_count = all_count = live = 0;
	assert_int_equal(
	    lt_net_create(&owner, &rig, limits, 5, &rig.net), LEAT_OK);
	assert_int_equal(lt_net_bind(&at, &fd), LEAT_OK);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
	rig.port = at.sin_port;
	assert_int_equal(mode == LT_NET_CHANNEL
			     ? lt_net_listen_channel(rig.net, fd, 1, channels)
			     : lt_net_listen(rig.net, fd, 1, mode, tls),
	    LEAT_OK);
	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
}

void
rig_start(const struct lt_net_limits *limits, enum lt_net_tls mode,
    struct lt_tls *tls)
{
	start(limits, mode, tls, NULL);
}

void
rig_start_channel(
    const struct lt_net_limits *limits, struct lt_channels *channels)
{
	start(limits, LT_NET_CHANNEL, NULL, channels);
}

void
rig_stop(void)
{
	lt_net_stop(rig.net);
	pthread_join(thread, NULL);
	rig.counters = *lt_net_counters(rig.net);
	lt_net_destroy(rig.net);
	rig.net = NULL;
	assert_int_equal(rig.lent, rig.given_back);
	assert_int_equal(all_count, 0);
	assert_true(rig.closed >= rig.opened);
}

struct lt_net_counters
rig_counters(void)
{
	pthread_mutex_lock(&lock);
	wants_copy = 1;
	lt_net_wake(rig.net);
	while (wants_copy)
		pthread_cond_wait(&copied, &lock);
	struct lt_net_counters now = copy;
	pthread_mutex_unlock(&lock);
	return now;
}

int
rig_await_current(uint64_t current)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&lock);
	while (live != current && rc == 0)
		rc = pthread_cond_timedwait(&copied, &lock, &until);
	rc = live == current;
	pthread_mutex_unlock(&lock);
	return rc;
}

void
rig_release(void)
{
	pthread_mutex_lock(&lock);
	wants_release = 1;
	pthread_mutex_unlock(&lock);
	lt_net_wake(rig.net);
}

void
rig_admit_again(void)
{
	pthread_mutex_lock(&lock);
	wants_admission = 1;
	pthread_mutex_unlock(&lock);
	lt_net_wake(rig.net);
}

void
rig_connect(uint16_t port, int close_it)
{
	pthread_mutex_lock(&lock);
	wants_connect = port;
	connect_closes = close_it;
	lt_net_wake(rig.net);
	while (wants_connect != 0)
		pthread_cond_wait(&copied, &lock);
	pthread_mutex_unlock(&lock);
}

/* --- clients ------------------------------------------------------------- */

int
dial(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = port,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	close(fd);
	return -1;
}

void
frame_make(
    uint8_t *p, uint32_t bytes, enum order order, uint32_t arg, uint32_t seed)
{
	lt_bytes_put32(p, bytes);
	lt_bytes_put32(p + 4, order);
	lt_bytes_put32(p + 8, arg);
	for (uint32_t i = RIG_HEAD; i < bytes; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

int
send_order(int fd, enum order order, uint32_t arg)
{
	uint8_t p[RIG_HEAD];

	frame_make(p, sizeof p, order, arg, 0);
	return send_all(fd, p, sizeof p);
}

int
recv_pattern(int fd, size_t bytes)
{
	static const size_t step[] = {3000, PIECE};
	uint8_t *p = malloc(bytes + 1);
	int right[2] = {1, 1};

	assert_non_null(p);
	if (recv_all(fd, p, bytes) != 0)
		right[0] = right[1] = 0;
	for (int k = 0; k < 2; k++)
		for (size_t at = 0; right[k] && at < bytes; at++) {
			size_t begin = at / step[k] * step[k];

			right[k] =
			    p[at] == (uint8_t)(begin % 256 + (at - begin));
		}
	free(p);
	return right[0] || right[1];
}

int
echo_once(int fd, uint32_t bytes, uint32_t seed)
{
	uint8_t *p = malloc(bytes), *back = malloc(bytes);

	assert_non_null(p);
	assert_non_null(back);
	frame_make(p, bytes, ORDER_ECHO, 0, seed);
	int right = send_all(fd, p, bytes) == 0 &&
		    recv_all(fd, back, bytes) == 0 &&
		    memcmp(p, back, bytes) == 0;
	free(p);
	free(back);
	return right;
}

int
is_ended(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}
