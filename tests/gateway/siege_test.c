/*
 * siege_test.c - a whole broker, its real processes, under siege: 2,000 hostile
 * connections of the kinds of siege_kinds.c, while
 *
 * - one client sends and another pulls (through TLS) the same queue, every
 *   offset and every byte compared;
 * - one asks the name server, on a new connection each time;
 * - one publishes and consumes on this host.
 *
 * None of them may see an error or wait long, what is refused is counted, the
 * gateway's memory stays bounded, its descriptors come back, nobody dies.
 *   LEAT_SEED=N, LEAT_HOSTILE=N connections, LEAT_LONG=1: 50,000
 */
#include "config.h"
#include "siege.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <leat/leat.h>
#include "../crash/metronome.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "netrig.h"
#include "proto/record.h"

#define OK(call) assert_int_equal(call, LEAT_OK)
#define HOSTILE 2000
#define HOSTILE_LONG 50000
#define KEPT 250 /* hostile connections that hang at a time */
#define CONNECTIONS 600 /* [gateway] connections */
#define CROWD 700
#define MEMORY_BYTES (16u << 20)
#define SLACK_BYTES (48u << 20) /* what is not in memory_bytes: TLS, calls */
#define BODY_MAX 60000
#define WAIT_MAX_MS 1000
#define WAIT_P99_MS 500
#define LONGS 1024
#define HOPS 4
#define ROUNDS 10 /* to warm up */

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

static char dir[] = "/tmp/leat-siege-XXXXXX";
static char store[64], socket_path[96], cert[256], key[256];
static pid_t leatd;
static struct metronome *metronome;
static struct leat *local;

/* --- the broker ------------------------------------------------------------
 */

/* Two that are free, one behind the other. */
static void
find_ports(void)
{
	for (int i = 0; siege.port == 0 && i < 1000; i++) {
		uint16_t port = (uint16_t)(20000 + (getpid() + i * 7) % 11000);
		int ok = 1;

		for (uint16_t k = 0; k < 2; k++) {
			struct sockaddr_in at = {.sin_family = AF_INET,
			    .sin_port = htons((uint16_t)(port + k)),
			    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
			int fd = socket(AF_INET, SOCK_STREAM, 0);

			ok = ok && bind(fd, (void *)&at, sizeof at) == 0;
			close(fd);
		}
		if (ok)
			siege.port = port;
	}
	assert_true(siege.port != 0);
	siege.names = siege.port + 1;
}

static void
start_broker(void)
{
	const char *build = getenv("top_builddir");
	char path[128], conf[128], line[256] = "";
	int out[2];
	FILE *f;

	find_ports();
	snprintf(store, sizeof store, "%s/run", dir);
	snprintf(socket_path, sizeof socket_path, "%s/leat.sock", store);
	snprintf(conf, sizeof conf, "%s/leat.conf", dir);
	f = fopen(conf, "w");
	assert_non_null(f);
	fprintf(f,
	    "[gateway]\nlisten = 127.0.0.1:%u\nnames = 127.0.0.1:%u\n"
	    "threads = 2\nconnections = %d\nmemory_bytes = %u\n"
	    "conn_bytes = 65536\nstall_ms = 1000\n"
	    "tls = either\ntls_cert = %s\ntls_key = %s\n",
	    siege.port, siege.names, CONNECTIONS, MEMORY_BYTES, cert, key);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	leatd = fork();
	assert_true(leatd >= 0);
	if (leatd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(out[1], STDOUT_FILENO);
		snprintf(
		    path, sizeof path, "%s/leatd", build != NULL ? build : ".");
		execl(path, "leatd", "--dir", store, "-c", conf, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	for (size_t n = 0; strchr(line, '\n') == NULL;) {
		ssize_t k = read(out[0], line + n, sizeof line - 1 - n);

		assert_true(k > 0);
		n += (size_t)k;
	}
	assert_int_equal(strncmp(line, "ready", 5), 0);
	close(out[0]);
}

static uint64_t
counter(const char *name)
{
	struct leat_status_report r;

	OK(leat_status_get(local, &r));
	for (size_t i = 0; i < r.counter_count; i++)
		if (strcmp(r.counters[i].name, name) == 0)
			return r.counters[i].value;
	fail_msg("no counter %s", name);
	return 0;
}

/* But for the consume queues that each worker keeps open. */
static size_t
descriptors(pid_t pid)
{
	char path[320], to[256];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		ssize_t k;

		snprintf(
		    path, sizeof path, "/proc/%d/fd/%s", (int)pid, e->d_name);
		k = readlink(path, to, sizeof to - 1);
		to[k > 0 ? k : 0] = '\0';
		n += k > 0 && strstr(to, "/consumequeue/") == NULL;
	}
	closedir(d);
	return n;
}

/* What it has for itself: the log's pages are nobody's. */
static uint64_t
resident(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	fclose(f);
	assert_true(kib > 0);
	return kib << 10;
}

/* --- the good ones: in threads of their own, which assert nothing ----------
 */

static struct good {
	const char *name;
	pthread_t thread;
	struct lt_histogram waits; /* us */
	struct wait {
		uint64_t from_ns, to_ns;
	} longest[LONGS]; /* those above WAIT_MAX_MS */
	size_t longs;
	uint64_t count;
	char why[200]; /* it failed; empty: it did not */
} sender = {.name = "send"}, puller = {.name = "send to pull, TLS"},
  asker = {.name = "connect and ask"}, neighbour = {.name = "on this host"};

static atomic_int stop, stop_asking;
static _Atomic int64_t sent = -1; /* in all; -1: not over yet */

static int __attribute__((format(printf, 2, 3)))
wrong(struct good *g, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(g->why, sizeof g->why, format, ap);
	va_end(ap);
	return -1;
}

static void
waited(struct good *g, uint64_t from_ns)
{
	uint64_t to_ns = lt_clock_mono_ns();

	g->count++;
	lt_histogram_add(&g->waits, (to_ns - from_ns) / 1000);
	if (to_ns - from_ns > WAIT_MAX_MS * 1000000ull && g->longs < LONGS)
		g->longest[g->longs++] = (struct wait){from_ns, to_ns};
}

static void
pause_ms(unsigned ms)
{
	struct timespec t = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&t, NULL);
}

static size_t
body_size(uint64_t n)
{
	return 16 + (n % 64 == 63 ? BODY_MAX - 16 : n * 2654435761u % 5000);
}

/* Number, time, then bytes that follow from the number. */
static void
make_body(uint8_t *p, uint64_t n, uint64_t ns)
{
	uint64_t x = n * 0x9E3779B97F4A7C15u + 1;

	lt_bytes_put64(p, n);
	lt_bytes_put64(p + 8, ns);
	for (size_t i = 16; i < body_size(n); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)x;
	}
}

static int
send_one(struct siege_link *l, const char *topic, uint64_t n)
{
	static _Thread_local uint8_t body[BODY_MAX];
	int64_t offset;

	make_body(body, n, lt_clock_mono_ns());
	if (siege_ask(l, 310,
		SIEGE_FIELDS({"a", "good"}, {"b", topic}, {"c", "TBW102"},
		    {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1700000000123"},
		    {"h", "0"}, {"i", "WAIT\001false"}, {"j", "0"}),
		body, body_size(n)) != 0 ||
	    lt_remoting_i64(&l->h, "queueOffset", &offset) != LEAT_OK)
		return -1;
	return (uint64_t)offset == n ? 0 : -1;
}

static void *
send_all_the_time(void *arg)
{
	struct siege_link l = {.fd = -1};
	int64_t n = 0;

	if (siege_open(&l, siege.port, 0) != 0)
		wrong(&sender, "not connected");
	for (; sender.why[0] == '\0' && !atomic_load(&stop); n++) {
		uint64_t from = lt_clock_mono_ns();

		if (send_one(&l, "good", (uint64_t)n) != 0) {
			wrong(&sender, "message %lld: code %d", (long long)n,
			    l.h.code);
			break;
		}
		waited(&sender, from);
		pause_ms(1);
	}
	atomic_store(&sent, n);
	siege_close(&l);
	return arg;
}

static int
check_message(const struct lt_record_view *v, int64_t n)
{
	static uint8_t body[BODY_MAX];

	if (lt_record_check(v) != LEAT_OK || v->queue_offset != n ||
	    v->body_bytes != body_size((uint64_t)n))
		return wrong(&puller, "message %lld is another", (long long)n);
	make_body(body, (uint64_t)n, lt_bytes_get64(v->body + 8));
	if (memcmp(body, v->body, v->body_bytes) != 0)
		return wrong(&puller, "message %lld differs", (long long)n);
	waited(&puller, lt_bytes_get64(v->body + 8));
	return 0;
}

static int
pull_some(struct siege_link *l, int64_t *next)
{
	struct lt_record_view v;
	char offset[24];
	int32_t code;

	snprintf(offset, sizeof offset, "%lld", (long long)*next);
	code = siege_ask(l, 11,
	    SIEGE_FIELDS({"consumerGroup", "g"}, {"topic", "good"},
		{"queueId", "0"}, {"queueOffset", offset}, {"maxMsgNums", "32"},
		{"sysFlag", "6"}, {"commitOffset", "0"},
		{"suspendTimeoutMillis", "1000"}, {"subscription", "*"},
		{"subVersion", "0"}),
	    NULL, 0);
	if (code == 19 || code == 20) /* nothing yet */
		return 0;
	if (code != 0)
		return wrong(&puller, "pull of %s: code %d", offset, code);
	for (const uint8_t *p = l->f.body, *end = p + l->f.body_bytes; p < end;
	     p += v.bytes, ++*next) {
		if (lt_record_parse(p, (size_t)(end - p), &v) != LEAT_OK)
			return wrong(&puller, "pull of %s: no message", offset);
		if (check_message(&v, *next) != 0)
			return -1;
	}
	return 0;
}

static void *
pull_all_the_time(void *arg)
{
	struct siege_link l = {.fd = -1};
	int64_t next = 0;

	if (siege_open(&l, siege.port, 1) != 0)
		wrong(&puller, "not connected");
	while (puller.why[0] == '\0' && next != atomic_load(&sent))
		if (pull_some(&l, &next) != 0)
			break;
	siege_close(&l);
	return arg;
}

/* Each answer is the same as the first. */
static void *
ask_all_the_time(void *arg)
{
	static char first[4096];

	for (int n = 0; asker.why[0] == '\0' && !atomic_load(&stop_asking);
	     n++) {
		struct siege_link l = {.fd = -1};
		uint64_t from = lt_clock_mono_ns();

		if (siege_open(&l, siege.names, n % 8 == 7) != 0)
			wrong(&asker, "connection %d: none", n);
		else if (siege_ask(&l, 105, SIEGE_FIELDS({"topic", "good"}),
			     NULL, 0) != 0 ||
			 l.f.body_bytes >= sizeof first)
			wrong(&asker, "connection %d: code %d", n, l.h.code);
		else if (n == 0)
			memcpy(first, l.f.body, l.f.body_bytes);
		else if (memcmp(first, l.f.body, l.f.body_bytes) != 0)
			wrong(&asker, "connection %d: another answer", n);
		waited(&asker, from);
		siege_close(&l);
		pause_ms(5);
	}
	return arg;
}

/* A session of its own: publish, and take it. */
static void *
live_next_door(void *arg)
{
	struct leat_options o = {.socket = socket_path, .name = "neighbour"};
	struct leat_subscription sub = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;
	struct leat_delivery d;
	struct leat *leat = NULL;
	uint64_t n = 0;

	sub.topic = "local";
	sub.from = LEAT_FROM_BEGIN;
	if (leat_connect(&o, &leat) != LEAT_OK ||
	    leat_subscribe(leat, &sub, &c) != LEAT_OK)
		wrong(&neighbour, "no session: %s", leat_error(leat));
	for (; neighbour.why[0] == '\0' && !atomic_load(&stop); n++) {
		struct leat_message m = {.topic = "local",
		    .body = &n,
		    .body_bytes = sizeof n,
		    .queue = 0,
		    .level = LEAT_LOGGED};
		uint64_t from = lt_clock_mono_ns();

		if (leat_publish(leat, &m, SIEGE_PATIENCE_S * 1000, NULL) !=
			LEAT_OK ||
		    leat_poll(c, &d, 1, SIEGE_PATIENCE_S * 1000) != 1)
			wrong(&neighbour, "message %llu: %s",
			    (unsigned long long)n, leat_error(leat));
		else if (d.body_bytes != sizeof n ||
			 memcmp(d.body, &n, sizeof n) != 0)
			wrong(&neighbour, "message %llu is another",
			    (unsigned long long)n);
		waited(&neighbour, from);
		pause_ms(2);
	}
	leat_close(leat);
	return arg;
}

static void
begin(struct good *g, void *(*run)(void *))
{
	lt_histogram_init(&g->waits);
	assert_int_equal(pthread_create(&g->thread, NULL, run, NULL), 0);
}

/* The metronome has stopped. 1: it was not served as it must be. */
static int
judge(const struct good *g)
{
	uint64_t p99_us = lt_histogram_at(&g->waits, 0.99);
	size_t ours = 0;

	for (size_t i = 0; i < g->longs; i++) {
		const struct wait *w = &g->longest[i];
		uint64_t ns = w->to_ns - w->from_ns;
		/* It takes several hops, each may have been held up. */
		uint64_t late_ns =
		    HOPS * metronome_late_ns(metronome, w->from_ns, w->to_ns);

		ours += ns > late_ns + WAIT_MAX_MS * 1000000ull;
	}
	printf("%-18s %6llu times, p50 %5.1f p99 %5.1f max %6.1f ms; longer "
	       "than %d ms: %zu, not for the machine's sake: %zu\n",
	    g->name, (unsigned long long)g->count,
	    (double)lt_histogram_at(&g->waits, 0.5) / 1e3, (double)p99_us / 1e3,
	    (double)g->waits.max / 1e3, WAIT_MAX_MS, g->longs, ours);
	if (g->why[0] != '\0')
		printf("%s: %s\n", g->name, g->why);
	return g->why[0] != '\0' || g->count < 100 || g->longs == LONGS ||
	       ours > 0 || p99_us > (1u + IS_SANITIZED) * WAIT_P99_MS * 1000;
}

/* --- the siege -------------------------------------------------------------
 */

static struct {
	struct slot {
		struct siege_link link;
		const struct siege_kind *kind;
		size_t dripped;
	} kept[KEPT];
	unsigned done[64];
	uint64_t base_bytes, peak_bytes;
	pid_t gateway;
} s;

static void
hang_up(struct siege_link *l)
{
	struct linger reset = {.l_onoff = 1};

	if (l->fd >= 0 && siege_draw(3) == 0)
		setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	siege_close(l);
}

static int
is_cut(int fd)
{
	uint8_t p[4096];
	ssize_t n;

	while ((n = recv(fd, p, sizeof p, 0)) > 0)
		continue; /* an alert, an answer to what came before */
	return n == 0 || errno == ECONNRESET;
}

static int
is_served(struct siege_link *l)
{
	return siege_ask(l, 31,
		   SIEGE_FIELDS({"topic", "good"}, {"queueId", "0"}), NULL,
		   0) == 0;
}

static void
besiege(const struct siege_kind *kind)
{
	struct siege_link l = {.fd = -1};
	int names = kind->at == SIEGE_NAMES ||
		    (kind->at == SIEGE_EITHER && siege_draw(4) == 0);

	if (siege_open(&l, names ? siege.names : siege.port, 0) != 0)
		fail_msg("%s: not connected", kind->name);
	if (kind->act(&l) != 0 || (kind->end == SIEGE_CUT && !is_cut(l.fd)) ||
	    (kind->end == SIEGE_SERVED && !is_served(&l)))
		fail_msg("connection %u of `%s': the gateway did not do as it "
			 "must",
		    s.done[kind - siege_kinds], kind->name);
	s.done[kind - siege_kinds]++;
	if (kind->end == SIEGE_KEPT) {
		struct slot *slot = &s.kept[siege_draw(KEPT)];

		hang_up(&slot->link);
		*slot = (struct slot){.link = l, .kind = kind};
	} else {
		hang_up(&l);
	}
}

static void
look_around(void)
{
	uint64_t now = resident(s.gateway);

	for (size_t i = 0; i < KEPT; i++) {
		struct slot *slot = &s.kept[i];

		if (slot->link.fd >= 0 &&
		    strcmp(slot->kind->name, "slowloris") == 0)
			siege_drip(slot->link.fd, slot->dripped++);
	}
	if (now > s.peak_bytes)
		s.peak_bytes = now;
}

static void
raise_siege(void)
{
	for (size_t i = 0; i < KEPT; i++)
		hang_up(&s.kept[i].link);
}

/* More than may connect: those beyond are closed at once. */
static void
crowd(void)
{
	static int fds[CROWD];
	unsigned closed = 0;
	uint64_t until = lt_clock_mono_ms() + SIEGE_PATIENCE_S * 1000;
	char c;

	for (size_t i = 0; i < CROWD; i++)
		fds[i] = siege_dial(siege.port);
	while (closed < CROWD - CONNECTIONS && lt_clock_mono_ms() < until) {
		closed = 0;
		for (size_t i = 0; i < CROWD; i++)
			closed += fds[i] < 0 ||
				  recv(fds[i], &c, 1, MSG_DONTWAIT) == 0;
		pause_ms(1);
	}
	for (size_t i = 0; i < CROWD; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	printf("a crowd of %d more: %u closed\n", CROWD, closed);
	assert_in_range(closed, CROWD - CONNECTIONS, CROWD);
}

/* Once of everything, so that what is opened once is open. */
static void
warm_up(void)
{
	static const char *const names[] = {
	    "good", "big", "quiet", "spam", "local", "warm"};
	struct siege_link l = {.fd = -1};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct leat_topic t = {.read_queues = 1, .write_queues = 1};

		snprintf(t.name, sizeof t.name, "%s", names[i]);
		OK(leat_topic_create(local, &t));
	}
	assert_int_equal(siege_open(&l, siege.port, 1), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(send_one(&l, "big", i), 0);
	assert_int_equal(send_one(&l, "warm", 0), 0);
	for (size_t i = 0; i < 2; i++)
		assert_true(siege_ask(&l, 11,
				SIEGE_FIELDS({"consumerGroup", "g"},
				    {"topic", "big"}, {"queueId", "0"},
				    {"queueOffset", "0"}, {"maxMsgNums", "32"},
				    {"sysFlag", "4"}, {"commitOffset", "0"},
				    {"suspendTimeoutMillis", "0"},
				    {"subscription", "*"}, {"subVersion", "0"}),
				NULL, 0) >= 0);
	assert_int_equal(
	    siege_ask(&l, 200050,
		SIEGE_FIELDS({"consumerGroup", "w"}, {"topic", "warm"},
		    {"queueId", "-1"}, {"maxMsgNums", "1"},
		    {"invisibleTime", "1000"}, {"pollTime", "0"},
		    {"bornTime", "0"}, {"initMode", "0"}, {"expType", "TAG"},
		    {"exp", "*"}, {"order", "false"}),
		NULL, 0),
	    0);
	siege_close(&l);
	for (size_t i = 0; i < ROUNDS * siege_kind_count; i++)
		besiege(&siege_kinds[i % siege_kind_count]);
	raise_siege();
	memset(s.done, 0, sizeof s.done);
}

static void
await_connections(uint64_t want)
{
	uint64_t until = lt_clock_mono_ms() + SIEGE_PATIENCE_S * 1000;

	while (
	    counter("gateway_connections") > want && lt_clock_mono_ms() < until)
		pause_ms(5);
	assert_in_range(counter("gateway_connections"), 0, want);
}

/* Among those that are kept there are some that take nothing. */
static void
await_stalled(void)
{
	uint64_t until = lt_clock_mono_ms() + SIEGE_PATIENCE_S * 1000;

	while (counter("gateway_silent") == 0 && lt_clock_mono_ms() < until)
		pause_ms(5);
}

static void
print_kinds(void)
{
	for (size_t k = 0; k < siege_kind_count; k++)
		printf("%6u  %s\n", s.done[k], siege_kinds[k].name);
}

static void
check_counters(unsigned hostile)
{
	unsigned cut = 0;

	for (size_t k = 0; k < siege_kind_count; k++)
		cut += siege_kinds[k].end == SIEGE_CUT ? s.done[k] : 0;
	printf("malformed %llu (of %u), silent %llu, crowded %llu\n",
	    (unsigned long long)counter("gateway_malformed"), cut,
	    (unsigned long long)counter("gateway_silent"),
	    (unsigned long long)counter("gateway_crowded"));
	assert_in_range(counter("gateway_malformed"), cut, hostile);
	assert_in_range(counter("gateway_silent"), 1, hostile);
	assert_in_range(
	    counter("gateway_crowded"), CROWD - CONNECTIONS, hostile + CROWD);
	assert_int_equal(counter("sup_restarts_gateway"), 0);
	assert_int_equal(counter("sup_restarts_store"), 0);
	assert_int_equal(counter("sup_restarts_queue"), 0);
}

static void
test_siege(void **state)
{
	const char *given = getenv("LEAT_HOSTILE");
	unsigned hostile = given != NULL		 ? (unsigned)atoi(given)
			   : getenv("LEAT_LONG") != NULL ? HOSTILE_LONG
							 : HOSTILE;
	uint64_t began = lt_clock_mono_ms();
	uint32_t kinds = (uint32_t)siege_kind_count;
	size_t fds;

	(void)state;
	for (size_t i = 0; i < KEPT; i++)
		s.kept[i].link.fd = -1;
	warm_up();
	s.gateway = (pid_t)counter("sup_gateway_pid");
	await_connections(0);
	fds = descriptors(s.gateway);
	s.base_bytes = s.peak_bytes = resident(s.gateway);
	begin(&sender, send_all_the_time);
	begin(&puller, pull_all_the_time);
	begin(&asker, ask_all_the_time);
	begin(&neighbour, live_next_door);
	for (unsigned i = 0; i < hostile; i++) {
		besiege(&siege_kinds[siege_draw(kinds)]);
		if (i % 16 == 0)
			look_around();
	}
	print_kinds();
	atomic_store(&stop_asking, 1);
	pthread_join(asker.thread, NULL);
	crowd();
	look_around();
	await_stalled();
	raise_siege();
	atomic_store(&stop, 1);
	pthread_join(sender.thread, NULL);
	pthread_join(puller.thread, NULL);
	pthread_join(neighbour.thread, NULL);
	metronome_stop(metronome);
	printf("%u connections in %.1f s\n", hostile,
	    (double)(lt_clock_mono_ms() - began) / 1e3);
	assert_int_equal(
	    judge(&sender) + judge(&puller) + judge(&asker) + judge(&neighbour),
	    0);
	assert_int_equal(puller.count, atomic_load(&sent));
	await_connections(0);
	printf("descriptors %zu, before %zu; memory %.1f MiB, at most %.1f, "
	       "before %.1f\n",
	    descriptors(s.gateway), fds, (double)resident(s.gateway) / 1048576,
	    (double)s.peak_bytes / 1048576, (double)s.base_bytes / 1048576);
	assert_int_equal(descriptors(s.gateway), fds);
	if (IS_SANITIZED)
		printf("SKIP: memory: what was freed stays with a sanitizer\n");
	else
		assert_in_range(
		    s.peak_bytes - s.base_bytes, 0, MEMORY_BYTES + SLACK_BYTES);
	check_counters(hostile);
}

static int
setup(void **state)
{
	const char *given = getenv("LEAT_SEED");
	unsigned long seed =
	    given != NULL ? strtoul(given, NULL, 10) : (unsigned long)getpid();
	struct leat_options o = {.socket = socket_path, .name = "siege"};

	(void)state;
	printf("LEAT_SEED=%lu\n", seed);
	siege_random = seed * 0x9E3779B97F4A7C15u + 1;
	siege.tls = SSL_CTX_new(TLS_client_method());
	metronome = metronome_create();
	if (siege.tls == NULL || metronome == NULL || mkdtemp(dir) == NULL)
		return -1;
	make_certificate(dir, cert, key);
	siege_kinds_init();
	/* In its sandbox a process may not look for leaks. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
	metronome_start(metronome);
	start_broker();
	return leat_connect(&o, &local);
}

static int
teardown(void **state)
{
	char command[128];
	int status = 0;

	(void)state;
	leat_close(local);
	kill(leatd, SIGTERM);
	waitpid(leatd, &status, 0);
	metronome_destroy(metronome);
	siege_kinds_fini();
	SSL_CTX_free(siege.tls);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) == 0 ? status : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_siege)};

	signal(SIGPIPE, SIG_IGN); /* of this test's own SSL_write */
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("siege", tests, setup, teardown);
}
