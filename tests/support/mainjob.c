/*
 * mainjob.c - the main job, checked: every record of a file goes through the
 * broker to two independent groups, and nothing is lost, repeated or altered.
 *
 *   mainjob --file F [--socket PATH] [--topic T] [--window N] [--level L]
 *           [--kill-store] [--limit N] [--timeout SECONDS]
 *
 * Records are paragraphs separated by blank lines (a Debian package index); a
 * record's `Package:` field is its key and group key. One process publishes
 * them, asynchronously, to a topic of 8 queues, while two members of group G1
 * and one of group G2 consume; with --kill-store the parent kills leat-store
 * once, half way. Each consumer compares each body with the file, byte for
 * byte, and marks its number for its group; a number seen twice is a failure,
 * nothing is forgiven. For G2 each key's records must come in order.
 * Exit status 0: everything was as it must be.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <leat/leat.h>
#include "base/clock.h"
#include "base/crc32.h"
#include "base/histogram.h"

#include "records.h"

#define QUEUES 8
#define SLICE_MS 200
#define LINGER_MS 600 /* how long a repeat may take to show itself */

enum role {
	PUBLISHER,
	G1_FIRST,
	G1_SECOND,
	G2_ONLY,
	ROLES
};
static const char *const role_names[ROLES] = {
    "publisher", "G1 first member", "G1 second member", "G2 member"};
static const char *const group_names[2] = {"G1", "G2"};

static struct {
	const char *file, *socket, *topic;
	uint64_t window;
	uint32_t limit;
	int timeout_ms;
	enum leat_level level;
	bool kill_store;
} job = {.topic = "packages", .window = 2000, .timeout_ms = 60000};

/* Shared by all processes. */
struct shared {
	uint64_t run; /* marks this run's messages */
	_Atomic uint32_t published; /* receipts; by the publisher */
	_Atomic uint32_t failed;
	_Atomic uint32_t got[2]; /* records per group; by its members */
	struct party {
		uint64_t start_ns, end_ns;
		struct lt_histogram time_ns;
	} parties[ROLES];
	/* Per group and record: hash of the body that came, 0 before. */
	_Atomic uint64_t seen[];
};
static struct shared *shared;
static struct records records;

static int
complain(const char *fmt, ...)
{
	va_list ap;
	fputs("mainjob: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

/* --- publish --- */

static int
connect_party(const char *name, struct leat **out)
{
	struct leat_options o = {
	    .socket = job.socket, .name = name, .connect_timeout_ms = 10000};
	int rc = leat_connect(&o, out);
	if (rc != LEAT_OK)
		return complain("%s: connect: %s", name, leat_error(NULL));
	return 0;
}

static int
collect(struct leat *leat, int timeout_ms)
{
	struct leat_receipt r[256];
	int n = leat_completions(leat, r, 256, timeout_ms);
	if (n == LEAT_E_TIMEOUT || n == LEAT_E_AGAIN)
		n = 0;
	if (n < 0)
		return complain(
		    "receipts: %s: %s", leat_status_text(n), leat_error(leat));
	uint64_t now = lt_clock_mono_ns();
	for (int i = 0; i < n; i++) {
		if (r[i].status != LEAT_OK)
			return complain(
			    "refused: %s", leat_status_text(r[i].status));
		lt_histogram_add(&shared->parties[PUBLISHER].time_ns,
		    now - (uint64_t)(uintptr_t)r[i].user);
	}
	atomic_fetch_add(&shared->published, (uint32_t)n);
	return n;
}

static int
publish_one(struct leat *leat, uint32_t index)
{
	const struct record *r = &records.items[index];
	uint64_t now = lt_clock_mono_ns();
	char run[24], number[16], sent[24];
	snprintf(run, sizeof run, "%" PRIu64, shared->run);
	snprintf(number, sizeof number, "%" PRIu32, index);
	snprintf(sent, sizeof sent, "%" PRIu64, now);
	struct leat_property properties[] = {
	    {"run", run}, {"number", number}, {"sent", sent}};
	struct leat_message m = LEAT_MESSAGE_INIT;
	m.topic = job.topic;
	m.body = r->at;
	m.body_bytes = r->bytes;
	m.keys = m.group_key = r->key;
	m.properties = properties;
	m.property_count = 3;
	m.level = job.level;
	uint64_t give_up = lt_clock_mono_ms() + (uint64_t)job.timeout_ms;
	for (;;) {
		int rc = leat_in_flight(leat) < job.window
			     ? leat_submit(
				   leat, &m, SLICE_MS, (void *)(uintptr_t)now)
			     : LEAT_E_AGAIN;
		if (rc == LEAT_OK)
			return 0;
		if (rc != LEAT_E_AGAIN && rc != LEAT_E_TIMEOUT)
			return complain("submit %" PRIu32 ": %s: %s", index,
			    leat_status_text(rc), leat_error(leat));
		if (collect(leat, SLICE_MS) < 0)
			return -1;
		if (lt_clock_mono_ms() > give_up)
			return complain("no room for record %" PRIu32, index);
	}
}

static int
publish_all(void)
{
	struct leat *leat;
	struct party *me = &shared->parties[PUBLISHER];
	if (connect_party("mainjob publisher", &leat) != 0)
		return -1;
	me->start_ns = lt_clock_mono_ns();
	for (uint32_t i = 0; i < records.count; i++)
		if (publish_one(leat, i) != 0 ||
		    (i % 64 == 63 && collect(leat, 0) < 0))
			return -1;
	uint64_t give_up = lt_clock_mono_ms() + (uint64_t)job.timeout_ms;
	while (atomic_load(&shared->published) < records.count) {
		int n = collect(leat, SLICE_MS);
		if (n < 0)
			return -1;
		if (n > 0)
			give_up = lt_clock_mono_ms() + (uint64_t)job.timeout_ms;
		if (lt_clock_mono_ms() > give_up)
			return complain(
			    "%zu receipts are missing", leat_in_flight(leat));
	}
	me->end_ns = lt_clock_mono_ns();
	leat_close(leat);
	return 0;
}

/* --- consume --- */

static int
number_property(const struct leat_delivery *d, const char *name, uint64_t *out)
{
	char text[24], *end;
	if (leat_property_get(d, name, text, sizeof text) != LEAT_OK)
		return -1;
	*out = strtoull(text, &end, 10);
	return text[0] != '\0' && *end == '\0' ? 0 : -1;
}

/* 1: a record of this run; 0: another run's; -1: wrong. */
static int
check(enum role role, const struct leat_delivery *d, uint64_t now)
{
	unsigned group = role == G2_ONLY;
	uint64_t run, number, sent;
	if (number_property(d, "run", &run) == 0 && run != shared->run)
		return 0;
	if (number_property(d, "run", &run) != 0 ||
	    number_property(d, "number", &number) != 0 ||
	    number_property(d, "sent", &sent) != 0 || number >= records.count)
		return complain("%s: message %s: its properties are not ours",
		    role_names[role], d->id);
	uint32_t index = (uint32_t)number;
	const struct record *r = &records.items[index];
	if (d->body_bytes != r->bytes || memcmp(d->body, r->at, r->bytes) != 0)
		return complain("%s: record %" PRIu32 " was altered",
		    role_names[role], index);
	if (strcmp(d->keys, r->key) != 0)
		return complain("%s: record %" PRIu32
				" came with key `%s`, not "
				"`%s`",
		    role_names[role], index, d->keys, r->key);
	_Atomic uint64_t *seen = shared->seen + (size_t)group * records.count;
	uint64_t hash = records_hash(index, d->body, d->body_bytes);
	if (atomic_exchange(&seen[index], hash) != 0)
		return complain("%s: record %" PRIu32
				" came twice (attempt %" PRIu32
				", queue %" PRIu32 ", offset %" PRId64 ")",
		    role_names[role], index, d->attempt, d->queue,
		    d->queue_offset);
	if (role == G2_ONLY && r->before != RECORDS_NONE &&
	    atomic_load(&seen[r->before]) == 0)
		return complain("%s: record %" PRIu32 " of key %s came before "
				"record %" PRIu32,
		    role_names[role], index, r->key, r->before);
	lt_histogram_add(
	    &shared->parties[role].time_ns, now > sent ? now - sent : 0);
	return 1;
}

static int
take(enum role role, struct leat_consumer *consumer,
    const struct leat_delivery *d, int count)
{
	uint32_t own = 0;
	uint64_t now = lt_clock_mono_ns();
	for (int i = 0; i < count; i++) {
		int rc = check(role, &d[i], now);
		if (rc < 0)
			return -1;
		own += (uint32_t)rc;
	}
	int rc = leat_ack(consumer, d, (size_t)count);
	if (rc != LEAT_OK)
		return complain("%s: acknowledge: %s", role_names[role],
		    leat_status_text(rc));
	if (own > 0)
		shared->parties[role].end_ns = lt_clock_mono_ns();
	atomic_fetch_add(&shared->got[role == G2_ONLY], own);
	return 0;
}

static int
consume_all(enum role role, int ready)
{
	static struct leat_delivery d[256];
	struct leat *leat;
	struct leat_consumer *consumer;
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	_Atomic uint32_t *got = &shared->got[role == G2_ONLY];
	uint32_t last = 0;
	s.topic = job.topic;
	s.group = group_names[role == G2_ONLY];
	if (connect_party(role_names[role], &leat) != 0)
		return -1;
	int rc = leat_subscribe(leat, &s, &consumer);
	if (rc != LEAT_OK)
		return complain(
		    "%s: subscribe: %s", role_names[role], leat_error(leat));
	if (write(ready, "", 1) != 1)
		return complain("%s: start", role_names[role]);
	shared->parties[role].start_ns = lt_clock_mono_ns();
	uint64_t moved = lt_clock_mono_ms();
	for (;;) {
		int n = leat_poll(consumer, d, 256, SLICE_MS);
		uint64_t now = lt_clock_mono_ms();
		if (n < 0 && n != LEAT_E_TIMEOUT && n != LEAT_E_AGAIN)
			return complain("%s: poll: %s: %s", role_names[role],
			    leat_status_text(n), leat_error(leat));
		if (n > 0 && take(role, consumer, d, n) != 0)
			return -1;
		uint32_t have = atomic_load(got);
		if (have != last || n > 0)
			moved = now;
		last = have;
		/* All there: stay a little, for repeats to show themselves. */
		if (have >= records.count && now - moved >= LINGER_MS)
			break;
		if (now - moved > (uint64_t)job.timeout_ms)
			return complain("%s: group has %" PRIu32 " of %" PRIu32
					" records, nothing more comes",
			    role_names[role], have, records.count);
	}
	leat_unsubscribe(consumer);
	leat_close(leat);
	return 0;
}

/* --- the parent --- */

struct crew {
	pid_t pids[ROLES];
	int ready[2];
};

static void
start(struct crew *c, enum role role)
{
	pid_t parent = getpid();
	fflush(stdout);
	c->pids[role] = fork();
	if (c->pids[role] != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	int rc =
	    role == PUBLISHER ? publish_all() : consume_all(role, c->ready[1]);
	if (rc != 0)
		atomic_store(&shared->failed, 1);
	_exit(rc == 0 ? 0 : 1);
}

/* Reap what has ended; -1 once one has failed. */
static int
look_after(struct crew *c, int *left)
{
	int status, rc = 0;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < ROLES; i++) {
			if (c->pids[i] != pid)
				continue;
			c->pids[i] = 0;
			--*left;
			if (status != 0)
				rc = complain("%s failed", role_names[i]);
		}
	}
	return rc;
}

static int
make_topic(void)
{
	struct leat *leat;
	struct leat_topic topic;
	memset(&topic, 0, sizeof topic);
	snprintf(topic.name, sizeof topic.name, "%s", job.topic);
	topic.read_queues = topic.write_queues = QUEUES;
	if (connect_party("mainjob", &leat) != 0)
		return -1;
	int rc = leat_topic_create(leat, &topic);
	if (rc != LEAT_OK && rc != LEAT_E_EXISTS)
		complain("topic %s: %s", job.topic, leat_error(leat));
	leat_close(leat);
	return rc == LEAT_OK || rc == LEAT_E_EXISTS ? 0 : -1;
}

/* SIGKILL leat-store, by the pid that the broker itself reports. */
static int
kill_store(void)
{
	struct leat *leat;
	struct leat_status_report report;
	pid_t pid = 0;
	memset(&report, 0, sizeof report);
	if (connect_party("mainjob killer", &leat) != 0)
		return -1;
	int rc = leat_status_get(leat, &report);
	for (size_t i = 0; rc == LEAT_OK && i < report.process_count; i++)
		if (strstr(report.processes[i].name, "store") != NULL)
			pid = (pid_t)report.processes[i].pid;
	leat_close(leat);
	if (pid <= 1)
		return complain("status names no running leat-store");
	if (kill(pid, SIGKILL) != 0)
		return complain("kill %d: %s", (int)pid, strerror(errno));
	printf("killed    leat-store (pid %d) after %" PRIu32 " receipts\n",
	    (int)pid, atomic_load(&shared->published));
	return 0;
}

static int
run_crew(struct crew *c)
{
	struct timespec nap = {.tv_nsec = 500000};
	int left = ROLES;
	bool killed = !job.kill_store;
	if (pipe(c->ready) != 0)
		return complain("pipe: %s", strerror(errno));
	for (int i = G1_FIRST; i < ROLES; i++)
		start(c, (enum role)i);
	close(c->ready[1]);
	for (int said = 0; said < ROLES - 1;) {
		struct pollfd fd = {.fd = c->ready[0], .events = POLLIN};
		char bytes[ROLES];
		if (look_after(c, &left) != 0)
			return -1;
		if (poll(&fd, 1, 50) > 0) {
			ssize_t n = read(c->ready[0], bytes, sizeof bytes);
			said += n > 0 ? (int)n : 0;
		}
	}
	start(c, PUBLISHER);
	while (left > 0) {
		if (look_after(c, &left) != 0 ||
		    atomic_load(&shared->failed) != 0)
			return -1;
		if (!killed &&
		    atomic_load(&shared->published) >= records.count / 2) {
			if (kill_store() != 0)
				return -1;
			killed = true;
		}
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int
add_lag(const struct leat_group *e, void *user)
{
	if (strcmp(e->topic, job.topic) == 0)
		*(int64_t *)user += e->max_offset - e->progress;
	return 0;
}

/* Acknowledged progress reaches the end, soon. */
static int
check_lag(void)
{
	struct leat *leat;
	struct timespec nap = {.tv_nsec = 50000000};
	uint64_t give_up = lt_clock_mono_ms() + 10000;
	if (connect_party("mainjob", &leat) != 0)
		return -1;
	for (int g = 0; g < 2; g++) {
		int64_t lag;
		int rc;
		do {
			lag = 0;
			rc = leat_group_describe(
			    leat, group_names[g], add_lag, &lag);
			if (rc == LEAT_OK && lag != 0)
				nanosleep(&nap, NULL);
		} while (
		    rc == LEAT_OK && lag != 0 && lt_clock_mono_ms() < give_up);
		if (rc != LEAT_OK || lag != 0)
			return complain("%s: lag is %" PRId64 " (%s)",
			    group_names[g], lag, leat_status_text(rc));
	}
	leat_close(leat);
	return 0;
}

/* --- the account --- */

static uint64_t
expected_sum(uint32_t *crc)
{
	uint64_t sum = 0;
	*crc = 0;
	for (uint32_t i = 0; i < records.count; i++) {
		uint64_t h = records_hash(
		    i, records.items[i].at, records.items[i].bytes);
		sum += h;
		*crc = lt_crc32(*crc, &h, sizeof h);
	}
	return sum;
}

static void
print_party(const char *name, const struct lt_histogram *h, uint64_t start_ns,
    uint64_t end_ns)
{
	double s = end_ns > start_ns ? (double)(end_ns - start_ns) / 1e9 : 1e-9;
	printf("%-9s %.2f s, %.0f records/s, %.1f MB/s, p50 %.0f us, p99 %.0f "
	       "us, max %.0f us\n",
	    name, s, records.count / s, (double)records.bytes / s / 1e6,
	    (double)lt_histogram_at(h, 0.5) / 1e3,
	    (double)lt_histogram_at(h, 0.99) / 1e3, (double)h->max / 1e3);
}

static int
print_group(unsigned group)
{
	static struct lt_histogram h;
	uint64_t end = 0, sum = 0, want;
	uint32_t crc = 0, want_crc, missing = 0;
	lt_histogram_init(&h);
	for (int i = group ? G2_ONLY : G1_FIRST;
	     i <= (group ? G2_ONLY : G1_SECOND); i++) {
		const struct party *p = &shared->parties[i];
		lt_histogram_merge(&h, &p->time_ns);
		end = p->end_ns > end ? p->end_ns : end;
	}
	for (uint32_t i = 0; i < records.count; i++) {
		uint64_t v = atomic_load(
		    &shared->seen[(size_t)group * records.count + i]);
		missing += v == 0;
		sum += v;
		crc = lt_crc32(crc, &v, sizeof v);
	}
	want = expected_sum(&want_crc);
	print_party(
	    group_names[group], &h, shared->parties[PUBLISHER].start_ns, end);
	printf("%-9s %" PRIu32 " records once each, sum %016" PRIx64 " %s, crc "
	       "%08" PRIx32 " %s\n",
	    "", atomic_load(&shared->got[group]), sum,
	    sum == want ? "=" : "DIFFERS", crc,
	    crc == want_crc ? "=" : "DIFFERS");
	if (missing > 0 || sum != want || crc != want_crc ||
	    atomic_load(&shared->got[group]) != records.count)
		return complain("%s: %" PRIu32
				" records missing, or sums differ",
		    group_names[group], missing);
	return 0;
}

static int
account(void)
{
	const struct party *p = &shared->parties[PUBLISHER];
	uint32_t crc;
	uint64_t sum = expected_sum(&crc);
	printf("file      %" PRIu32 " records, %" PRIu64
	       " bytes, sum %016" PRIx64 ", crc %08" PRIx32 "\n",
	    records.count, records.bytes, sum, crc);
	print_party("publish", &p->time_ns, p->start_ns, p->end_ns);
	int rc = print_group(0) | print_group(1);
	return rc == 0 ? check_lag() : rc;
}

static int
read_options(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"file", required_argument, NULL, 'f'},
	    {"socket", required_argument, NULL, 's'},
	    {"topic", required_argument, NULL, 't'},
	    {"window", required_argument, NULL, 'w'},
	    {"level", required_argument, NULL, 'l'},
	    {"limit", required_argument, NULL, 'n'},
	    {"timeout", required_argument, NULL, 'o'},
	    {"kill-store", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	int key;
	while ((key = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (key) {
		case 'f':
			job.file = optarg;
			break;
		case 's':
			job.socket = optarg;
			break;
		case 't':
			job.topic = optarg;
			break;
		case 'w':
			job.window = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			job.level =
			    strcmp(optarg, "accepted") == 0 ? LEAT_ACCEPTED
			    : strcmp(optarg, "logged") == 0 ? LEAT_LOGGED
							    : LEAT_SYNCED;
			break;
		case 'n':
			job.limit = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			job.timeout_ms = atoi(optarg) * 1000;
			break;
		case 'k':
			job.kill_store = true;
			break;
		default:
			return -1;
		}
	}
	return job.file != NULL && job.window > 0 && optind == argc ? 0 : -1;
}

int
main(int argc, char **argv)
{
	struct crew crew;
	memset(&crew, 0, sizeof crew);
	if (read_options(argc, argv) != 0) {
		fprintf(stderr,
		    "usage: mainjob --file F [--socket PATH] [--topic T] "
		    "[--window N] [--level L] [--kill-store] [--limit N] "
		    "[--timeout SECONDS]\n");
		return 2;
	}
	if (records_read(job.file, job.limit, &records) != 0)
		return 1;
	shared = mmap(NULL, sizeof *shared + 2 * (size_t)records.count * 8,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return complain("mmap: %s", strerror(errno)) != 0;
	shared->run = (uint64_t)lt_clock_wall_ms() << 20 ^ (uint64_t)getpid();
	int rc = make_topic();
	if (rc == 0)
		rc = run_crew(&crew);
	for (int i = 0; i < ROLES; i++)
		if (rc != 0 && crew.pids[i] > 0)
			kill(crew.pids[i], SIGKILL);
	if (rc == 0)
		rc = account();
	printf("%s\n", rc == 0 ? "ok" : "FAILED");
	return rc == 0 ? 0 : 1;
}
