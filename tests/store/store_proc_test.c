/*
 * store_proc_test.c - a real leat-store between a supervisor and a queue
 * manager played by this program: start, publish, stop; killed at every
 * failpoint of the store and at random, restarted with what is kept. Judged by
 * the log: every message exactly once, in order, where its receipt says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdpass.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "shm/counter.h"
#include "shm/doorbell.h"
#include "store/reader.h"

#define CLIENTS 3
#define PATIENCE_MS 20000
#define LANE 131072
#define RING 65536
#define SEQS 4000000

struct world {
	char dir[64];
	int dir_fd;
	struct lt_options options;
	pid_t pid;
	int control;
	int peer;
	int counters;
	int state; /* kept; -1 */
	uint64_t generation;
	struct lt_segment beacon_seg;
	const struct lt_beacon_shared *beacon;
	uint32_t topics_told; /* by E_TOPIC */
	int is_kept_again; /* the store made its state anew */
};

struct publisher {
	struct rig_client c;
	uint64_t collected; /* receipts taken up to here */
	int64_t *places; /* by sequence: log offset */
	int ring;
	struct lt_segment ring_seg;
};

static struct world world;
static struct publisher publishers[CLIENTS];
static uint8_t msg[LT_WIRE_MAX];

/* --- supervisor --- */

static const char *
binary(void)
{
	static char path[512];
	const char *top = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/leat-store", top != NULL ? top : ".");
	return path;
}

static void
send_fds(int sock, void *m, size_t bytes, const int *fds, size_t count)
{
	assert_int_equal(lt_fdpass_send(sock, m, bytes, fds, count), LEAT_OK);
}

/* Take one message; 0 on hang-up. fds[0] is -1 without a descriptor. */
static unsigned
take(int sock, char from, char to, int *fd)
{
	int fds[LT_FDPASS_MAX], is_reply;
	size_t bytes, count;
	struct pollfd p = {.fd = sock, .events = POLLIN};

	*fd = -1;
	assert_true(poll(&p, 1, PATIENCE_MS) == 1);
	if (lt_fdpass_recv(sock, msg, sizeof(msg), &bytes, fds, &count, 0) !=
	    LEAT_OK)
		return 0;
	assert_int_equal(
	    lt_wire_check(msg, bytes, from, to, &is_reply), LEAT_OK);
	assert_true(count <= 1);
	if (count == 1)
		*fd = fds[0];
	return ((struct lt_wire *)msg)->op;
}

static void
send_kept(struct world *w)
{
	struct lt_wire_keep keep;

	memset(&keep, 0, sizeof(keep));
	lt_wire_init(&keep.h, LT_OP_SUP_KEPT, sizeof(keep), 0, 0);
	/* One that is not the store's, too. */
	keep.kind = LT_KEEP_BEACON;
	send_fds(w->control, &keep, sizeof(keep), &w->counters, 1);
	keep.kind = LT_KEEP_STATE;
	if (w->state >= 0)
		send_fds(w->control, &keep, sizeof(keep), &w->state, 1);
}

static void
spawn(struct world *w, const char *failpoint)
{
	struct lt_wire_start start;
	int control[2], peer[2], fds[3];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer), 0);
	w->pid = fork();
	assert_true(w->pid >= 0);
	if (w->pid == 0) {
		int keep = fcntl(control[1], F_DUPFD, 10);

		if (dup2(keep, 3) < 0)
			_exit(127);
		close(keep);
		if (failpoint != NULL)
			setenv("LEAT_FAILPOINT", failpoint, 1);
		execl(binary(), "leat-store", (char *)NULL);
		_exit(127);
	}
	close(control[1]);
	w->control = control[0];
	w->peer = peer[0];
	w->generation++;
	send_kept(w);
	memset(&start, 0, sizeof(start));
	lt_wire_init(&start.h, LT_OP_SUP_START, sizeof(start), 0, 0);
	start.generation = w->generation;
	start.store_gen = w->generation;
	start.options = w->options;
	fds[0] = w->counters;
	fds[1] = w->dir_fd;
	fds[2] = peer[1];
	send_fds(w->control, &start, sizeof(start), fds, 3);
	close(peer[1]);
}

static int
reap(struct world *w)
{
	int status;

	assert_true(waitpid(w->pid, &status, 0) == w->pid);
	w->pid = 0;
	close(w->control);
	close(w->peer);
	return status;
}

/* Take the greeting. 0: the store died before it was ready. */
static int
greet(struct world *w)
{
	unsigned op;
	int fd;

	w->topics_told = 0;
	while ((op = take(w->peer, 'S', 'Q', &fd)) != LT_OP_E_READY) {
		if (op == 0)
			return 0;
		if (op == LT_OP_E_TOPIC) {
			w->topics_told++;
			continue;
		}
		assert_int_equal(op, LT_OP_E_BEACON);
		lt_segment_detach(&w->beacon_seg);
		assert_int_equal(lt_segment_attach(&w->beacon_seg, fd,
				     LT_SEGMENT_BEACON, 0, 0),
		    LEAT_OK);
		w->beacon = w->beacon_seg.base;
		close(fd);
	}
	assert_true(
	    ((struct lt_wire_store_ready *)msg)->store_gen == w->generation);
	return 1;
}

static int
await_ready(struct world *w)
{
	unsigned op;
	int fd;

	if (!greet(w))
		return 0;
	w->is_kept_again = 0;
	while ((op = take(w->control, 'S', 'U', &fd)) != LT_OP_SUP_READY) {
		if (op == 0)
			return 0;
		assert_int_equal(op, LT_OP_SUP_KEEP);
		assert_int_equal(
		    ((struct lt_wire_keep *)msg)->kind, LT_KEEP_STATE);
		if (w->state >= 0)
			close(w->state);
		w->state = fd;
		w->is_kept_again = 1;
	}
	return 1;
}

static void
world_make(struct world *w)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_COUNTER};
	struct lt_segment seg;

	memset(w, 0, sizeof(*w));
	rig_dir_make(w->dir);
	w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	head.data_bytes = lt_counter_segment_bytes();
	assert_int_equal(
	    lt_segment_create(&seg, "counters", &head, 0, &w->counters),
	    LEAT_OK);
	lt_segment_detach(&seg);
	w->state = -1;
	lt_options_defaults(&w->options);
	w->options.store_segment_bytes = 1u << 20;
	w->options.store_prefill_bytes = 1u << 18;
	w->options.store_checkpoint_ms = 100;
	w->options.store_retain_hours = 0;
	w->options.store_disk_full_percent = 100;
	w->options.broker_log_level = 0;
}

static void
world_end(struct world *w)
{
	lt_segment_detach(&w->beacon_seg);
	if (w->state >= 0)
		close(w->state);
	close(w->counters);
	close(w->dir_fd);
	rig_dir_remove(w->dir);
}

/* --- queue manager --- */

static void
tell_topic(struct world *w, uint32_t id, const char *name)
{
	struct lt_wire_topic m;

	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_S_TOPIC, sizeof(m), 0, 0);
	m.id = id;
	m.read_queues = 4;
	m.write_queues = 4;
	m.perm = 6;
	snprintf(m.name, sizeof(m.name), "%s", name);
	send_fds(w->peer, &m, sizeof(m), NULL, 0);
}

/* Wait for the reply of this op; 0: the store died. Others are skipped. */
static int
await(struct world *w, unsigned op)
{
	unsigned got;
	int fd;

	while ((got = take(w->peer, 'S', 'Q', &fd)) != 0) {
		if (got == op)
			return 1;
		assert_true(got == LT_OP_E_ROLLED);
	}
	return 0;
}

/* Like a queue manager that may find its store dead at any time. */
static int
try_send(struct world *w, void *m, size_t bytes, const int *fds, size_t count)
{
	return lt_fdpass_send(w->peer, m, bytes, fds, count) == LEAT_OK;
}

static int
attach(struct world *w, struct publisher *p, int old_page)
{
	struct {
		struct lt_wire_attach m;
		uint32_t topics[2];
	} a;
	int fds[5] = {p->c.lane_fd, p->c.page_fd, p->c.store_event,
	    p->c.client_event, old_page};
	int ok;

	memset(&a, 0, sizeof(a));
	lt_wire_init(&a.m.h, LT_OP_S_ATTACH, sizeof(a.m), 8, 5);
	a.m.session = p->c.id;
	a.m.pid = (uint32_t)getpid();
	a.m.has_old = old_page >= 0;
	a.m.topic_count = 2;
	a.topics[0] = RIG_TOPIC;
	a.topics[1] = 3;
	ok = try_send(w, &a, sizeof(a.m) + 8, fds, old_page >= 0 ? 5 : 4) &&
	     await(w, LT_OP_S_ATTACH);
	if (!ok)
		return 0;
	assert_int_equal(((struct lt_wire *)msg)->status, LEAT_OK);
	return 1;
}

static int
set_ring(struct world *w, struct publisher *p, uint32_t queue)
{
	struct lt_wire_queue m;

	if (p->ring_seg.base != NULL) {
		lt_segment_detach(&p->ring_seg);
		close(p->ring);
	}
	p->ring = rig_ring_make(RING);
	assert_int_equal(
	    lt_segment_attach(&p->ring_seg, p->ring, LT_SEGMENT_RING, 0, 0),
	    LEAT_OK);
	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_S_RING, sizeof(m), 0, 6);
	m.topic = RIG_TOPIC;
	m.queue = queue;
	if (!try_send(w, &m, sizeof(m), &p->ring, 1) || !await(w, LT_OP_S_RING))
		return 0;
	assert_int_equal(((struct lt_wire *)msg)->status, LEAT_OK);
	return 1;
}

static int
say_open(struct world *w)
{
	struct lt_wire_none m;

	lt_wire_init(&m.h, LT_OP_S_OPEN, sizeof(m), 0, 0);
	return try_send(w, &m, sizeof(m), NULL, 0);
}

/* Everything a queue manager says to a new store. 0: it died meanwhile. */
static int
introduce(struct world *w, int is_new_store)
{
	int old, ok = 1;

	tell_topic(w, RIG_TOPIC, RIG_NAME);
	tell_topic(w, 8, LT_NAME_CONFIG_TOPIC);
	tell_topic(w, 9, LT_NAME_PROGRESS_TOPIC);
	for (int i = 0; i < CLIENTS && ok; i++) {
		struct publisher *p = &publishers[i];

		if (is_new_store) {
			old = rig_client_new_page(&p->c, LANE);
			ok = attach(w, p, old);
			if (!ok) { /* the old one stays the truth */
				close(p->c.page_fd);
				lt_segment_detach(&p->c.page);
				p->c.page_fd = old;
				assert_int_equal(
				    lt_segment_attach(
					&p->c.page, old, LT_SEGMENT_PAGE, 0, 0),
				    LEAT_OK);
				p->c.shown = p->c.page.base;
				break;
			}
			close(old);
			assert_int_equal(
			    lt_segment_seal(p->c.page_fd, 1), LEAT_OK);
		} else {
			ok = attach(w, p, -1);
		}
	}
	for (int i = 0; i < CLIENTS && ok; i++)
		ok = set_ring(w, &publishers[i], (uint32_t)i);
	return ok && say_open(w);
}

/* --- clients --- */

static void
publishers_make(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct publisher *p = &publishers[i];

		memset(p, 0, sizeof(*p));
		rig_client_make(&p->c, 0xabc000 + (uint64_t)i, LANE);
		p->places = calloc(SEQS, sizeof(int64_t));
		assert_non_null(p->places);
	}
}

static void
publishers_free(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (publishers[i].ring_seg.base != NULL) {
			lt_segment_detach(&publishers[i].ring_seg);
			close(publishers[i].ring);
		}
		rig_client_free(&publishers[i].c);
		free(publishers[i].places);
	}
}

static size_t
body_of(uint64_t session, uint64_t seq, char *body, size_t cap)
{
	int n = snprintf(body, cap, "%llx/%llu/", (unsigned long long)session,
	    (unsigned long long)seq);
	size_t pad = seq * 37 % 200;

	memset(body + n, 'a' + (char)(seq % 26), pad);
	return (size_t)n + pad;
}

static void
ring_store(const struct world *w, const struct publisher *p)
{
	lt_doorbell_fence();
	if (atomic_load_explicit(&w->beacon->sleeping, memory_order_relaxed))
		lt_doorbell_event(p->c.store_event);
}

static uint32_t
push(const struct world *w, struct publisher *p, uint32_t most)
{
	uint32_t n = 0;
	char body[300];

	while (n < most && p->c.seq + 1 < SEQS &&
	       p->c.seq - p->collected < p->c.entries) {
		uint64_t seq = p->c.seq + 1;
		size_t bytes = body_of(p->c.id, seq, body, sizeof(body));
		uint32_t level = seq % 64 == 0 ? LEAT_SYNCED : LEAT_LOGGED;

		if (rig_put(&p->c, RIG_TOPIC, RIG_NAME, (uint32_t)(seq % 4),
			level, body, bytes) != LEAT_OK)
			break;
		n++;
	}
	if (n > 0)
		ring_store(w, p);
	return n;
}

/* Every receipt: there, in order, good, with a place. */
static void
collect(struct publisher *p)
{
	uint64_t logged =
	    atomic_load_explicit(&p->c.shown->logged, memory_order_acquire);

	assert_true(logged <= p->c.seq);
	for (; p->collected < logged; p->collected++) {
		struct lt_page_done done = rig_done(&p->c, p->collected + 1);

		assert_int_equal(done.status, LEAT_OK);
		assert_true(done.log_offset >= 0 && done.queue_offset >= 0);
		p->places[p->collected + 1] = done.log_offset;
	}
}

/* Publish until the store is dead or ms are over. 1: alive. */
static int
load(struct world *w, uint64_t ms, uint32_t most)
{
	uint64_t until = lt_clock_mono_ms() + ms;
	struct pollfd p = {.fd = w->control, .events = POLLIN};
	struct pollfd q = {.fd = w->peer, .events = POLLIN};
	int fd;

	while (lt_clock_mono_ms() < until) {
		uint32_t n = 0;

		for (int i = 0; i < CLIENTS; i++) {
			n += push(w, &publishers[i], most);
			collect(&publishers[i]);
		}
		if (poll(&q, 1, 0) > 0)
			(void)take(w->peer, 'S', 'Q', &fd);
		if (poll(&p, 1, n == 0) > 0)
			return 0; /* a store says nothing of itself */
	}
	return 1;
}

/* Wait, as a client does, until everything is answered. */
static void
drain(struct world *w)
{
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;

	for (int i = 0; i < CLIENTS; i++) {
		struct publisher *p = &publishers[i];

		for (;;) {
			uint32_t bell = atomic_load_explicit(
			    &p->c.shown->doorbell, memory_order_acquire);

			atomic_store_explicit(&p->c.shared->want_logged,
			    p->c.seq, memory_order_relaxed);
			atomic_store_explicit(&p->c.shared->waiting,
			    LT_LANE_WAIT_RECEIPT, memory_order_relaxed);
			ring_store(w, p);
			collect(p);
			if (p->collected == p->c.seq)
				break;
			assert_true(lt_clock_mono_ms() < until);
			(void)lt_doorbell_wait(
			    &p->c.shown->doorbell, bell, LT_DOORBELL_CAP_MS);
		}
		atomic_store_explicit(
		    &p->c.shared->waiting, 0, memory_order_relaxed);
	}
}

/* --- the judge --- */

/* Walk the whole log: each message once, in order, where it was promised. */
static void
judge(struct world *w)
{
	uint64_t next[CLIENTS] = {0}, from, damaged, limit;
	int64_t queues[4] = {-1, -1, -1, -1};
	struct lt_record_view v;
	struct lt_reader *r;
	int store_dir =
	    openat(w->dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(lt_reader_open(store_dir, &r), LEAT_OK);
	limit = lt_reader_limit(r);
	from = lt_reader_min(r);
	while (lt_reader_next(r, from, limit, &v, &damaged) == LEAT_OK) {
		uint64_t session, seq;
		char body[300];
		size_t bytes;
		unsigned i;

		assert_true(damaged == 0);
		from = (uint64_t)v.log_offset + v.bytes;
		assert_int_equal(
		    lt_record_identity(&v, &session, &seq), LEAT_OK);
		i = (unsigned)(session - 0xabc000);
		if (session == 0)
			continue; /* the queue manager's */
		assert_true(i < CLIENTS);
		if (next[i] == 0) /* retention may have taken the first */
			next[i] = lt_reader_min(r) == 0 ? 1 : seq;
		assert_true(seq == next[i]);
		next[i]++;
		assert_true(publishers[i].places[seq] == v.log_offset);
		bytes = body_of(session, seq, body, sizeof(body));
		assert_int_equal(v.body_bytes, bytes);
		assert_memory_equal(v.body, body, bytes);
		assert_true(v.queue == seq % 4);
		assert_true(queues[v.queue] == -1 ||
			    v.queue_offset == queues[v.queue] + 1);
		queues[v.queue] = v.queue_offset;
	}
	for (int i = 0; i < CLIENTS; i++) {
		assert_true(next[i] == publishers[i].c.seq + 1);
		assert_int_equal(
		    lt_ring_valid(&publishers[i].ring_seg), LEAT_OK);
	}
	lt_reader_close(r);
	close(store_dir);
}

static void
stop(struct world *w)
{
	struct lt_wire_none m;
	int status;

	lt_wire_init(&m.h, LT_OP_SUP_STOP, sizeof(m), 0, 0);
	send_fds(w->control, &m, sizeof(m), NULL, 0);
	status = reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int
setup(void **state)
{
	world_make(&world);
	publishers_make();
	return 0;
}

static int
teardown(void **state)
{
	if (world.pid > 0) {
		kill(world.pid, SIGKILL);
		(void)reap(&world);
	}
	publishers_free();
	world_end(&world);
	return 0;
}

static void
start(struct world *w)
{
	spawn(w, NULL);
	assert_true(await_ready(w));
	assert_true(introduce(w, 1));
}

/* --- the tests --- */

static void
append(struct world *w, uint32_t topic, const char *name, uint32_t level)
{
	struct {
		struct lt_wire_append m;
		uint8_t record[512];
	} a;
	struct lt_record_spec spec = {
	    .topic = name,
	    .topic_bytes = strlen(name),
	    .tag = "begin",
	    .tag_bytes = 5,
	};
	size_t bytes;

	memset(&a, 0, sizeof(a));
	bytes = lt_record_finish(a.record, &spec, 0);
	lt_wire_init(&a.m.h, LT_OP_S_APPEND, sizeof(a.m), bytes, 9);
	a.m.topic = topic;
	a.m.level = level;
	(void)try_send(w, &a, sizeof(a.m) + bytes, NULL, 0);
}

static void
test_story(void **state)
{
	struct world *w = &world;
	struct lt_wire_queue q;
	struct lt_wire_number n;
	struct lt_segment counters;
	int64_t sum = 0;

	start(w);
	assert_int_equal(w->topics_told, 0);
	assert_true(w->is_kept_again);
	assert_int_equal(load(w, 200, 50), 1);
	drain(w);
	for (uint32_t i = 0; i < 4; i++) {
		memset(&q, 0, sizeof(q));
		lt_wire_init(&q.h, LT_OP_S_QUEUE_SYNC, sizeof(q), 0, 11 + i);
		q.topic = RIG_TOPIC;
		q.queue = i;
		send_fds(w->peer, &q, sizeof(q), NULL, 0);
		assert_true(await(w, LT_OP_S_QUEUE_SYNC));
		assert_int_equal(((struct lt_wire *)msg)->tag, 11 + i);
		sum += ((struct lt_wire_range *)msg)->max_offset;
	}
	assert_true(sum == (int64_t)(publishers[0].c.seq + publishers[1].c.seq +
				     publishers[2].c.seq));
	append(w, 8, LT_NAME_CONFIG_TOPIC, LEAT_SYNCED);
	assert_true(await(w, LT_OP_S_APPEND));
	assert_int_equal(((struct lt_wire_appended *)msg)->queue_offset, 0);
	append(w, 77, "unknown", LEAT_SYNCED);
	assert_true(await(w, LT_OP_S_APPEND));
	assert_int_equal(((struct lt_wire *)msg)->status, LEAT_E_NOTFOUND);
	lt_wire_init(&q.h, LT_OP_S_PING, sizeof(struct lt_wire), 0, 12);
	send_fds(w->peer, &q, sizeof(struct lt_wire), NULL, 0);
	assert_true(await(w, LT_OP_S_PING));
	/* The last words of a session that goes are heard. */
	assert_true(push(w, &publishers[0], 100) > 0);
	memset(&n, 0, sizeof(n));
	lt_wire_init(&n.h, LT_OP_S_DETACH, sizeof(n), 0, 13);
	n.number = publishers[0].c.id;
	send_fds(w->peer, &n, sizeof(n), NULL, 0);
	assert_true(await(w, LT_OP_S_DETACH));
	collect(&publishers[0]);
	assert_true(publishers[0].collected == publishers[0].c.seq);
	assert_int_equal(
	    lt_segment_attach(&counters, w->counters, LT_SEGMENT_COUNTER, 0, 0),
	    LEAT_OK);
	assert_true(lt_counter_read(&counters, LT_STAT_store_messages) ==
		    (uint64_t)sum + 101);
	assert_int_equal(lt_counter_read(&counters, LT_STAT_store_sessions), 2);
	assert_int_equal(lt_counter_read(&counters, LT_STAT_store_rings), 3);
	lt_segment_detach(&counters);
	stop(w);
	judge(w);
	/* It comes back with everything, after an orderly stop, too. */
	start(w);
	assert_int_equal(w->topics_told, 2);
	assert_false(w->is_kept_again);
	assert_int_equal(load(w, 50, 50), 1);
	drain(w);
	stop(w);
	judge(w);
}

/* Restart until it is up, with what was kept. */
static void
come_back(struct world *w)
{
	spawn(w, NULL);
	assert_true(await_ready(w));
	assert_true(introduce(w, 1));
}

static void
kill_at(struct world *w, const char *failpoint, unsigned round)
{
	char arm[128];
	int status, up;

	snprintf(arm, sizeof(arm), "%s:%u", failpoint, round);
	spawn(w, arm);
	up = await_ready(w) && introduce(w, 1);
	append(w, 8, LT_NAME_CONFIG_TOPIC, LEAT_SYNCED);
	append(w, 9, LT_NAME_PROGRESS_TOPIC, LEAT_SYNCED);
	if (up && load(w, PATIENCE_MS, 1 + round * 20))
		fail_msg("%s was never reached", failpoint);
	status = reap(w);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("%s: status %x", failpoint, status);
	come_back(w);
	assert_int_equal(load(w, 20, 20), 1);
	drain(w);
	stop(w);
}

static void
test_failpoints(void **state)
{
	static const char *const names[] = {"store.drain",
	    "store.append.before", "store.append.half", "store.append.after",
	    "store.ring", "store.complete", "store.sync.before",
	    "store.sync.after", "store.roll", "store.cq.flush",
	    "store.checkpoint", "store.checkpoint.rename", "store.attach",
	    "store.retain"};
	struct world *w = &world;

	w->options.store_retain_check_ms = 100;
	start(w);
	assert_int_equal(load(w, 20, 20), 1);
	drain(w);
	stop(w);
	for (size_t i = 0; i < LT_COUNT(names); i++)
		for (unsigned round = 0; round < 3; round++) {
			/* Nothing goes but for the one that needs it. */
			w->options.store_retain_bytes =
			    strcmp(names[i], "store.retain") == 0 ? 2u << 20
								  : 0;
			if (round > 0 && w->options.store_retain_bytes != 0)
				continue;
			kill_at(w, names[i], round);
			judge(w);
		}
	assert_false(w->is_kept_again);
}

static void
test_dies_in_recovery(void **state)
{
	struct world *w = &world;

	start(w);
	assert_int_equal(load(w, 50, 50), 1);
	kill(w->pid, SIGKILL);
	(void)reap(w);
	for (int i = 0; i < 3; i++) {
		spawn(w, "store.recover");
		if (await_ready(w)) /* nothing was left to recover */
			kill(w->pid, SIGKILL);
		assert_true(WIFSIGNALED(reap(w)));
	}
	come_back(w);
	drain(w);
	stop(w);
	judge(w);
}

static void
test_random_kills(void **state)
{
	struct world *w = &world;
	unsigned seed = 12345;
	const char *rounds = getenv("LEAT_KILL_ROUNDS");
	int n = rounds != NULL ? atoi(rounds) : 40;

	start(w);
	for (int i = 0; i < n; i++) {
		(void)load(w, (uint64_t)(rand_r(&seed) % 30), 100);
		usleep((useconds_t)(rand_r(&seed) % 1000));
		kill(w->pid, SIGKILL);
		(void)reap(w);
		/* What is written meanwhile waits in the lane. */
		for (int k = 0; k < CLIENTS; k++)
			(void)push(w, &publishers[k], 50);
		come_back(w);
	}
	drain(w);
	stop(w);
	judge(w);
}

/* Another queue manager: messages flow on before, while and after. */
static void
test_peer_replaced(void **state)
{
	struct world *w = &world;
	struct lt_wire_number m;
	uint64_t before;
	int peer[2];

	start(w);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(load(w, 20, 20), 1);
		close(w->peer);
		w->peer = -1;
		drain(w);
		before = publishers[0].collected;
		assert_true(push(w, &publishers[0], 10) > 0);
		assert_int_equal(load(w, 20, 20), 1);
		drain(w);
		assert_true(publishers[0].collected >= before + 10);
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer),
		    0);
		memset(&m, 0, sizeof(m));
		lt_wire_init(&m.h, LT_OP_SUP_PEER, sizeof(m), 0, 0);
		m.number = (uint64_t)i + 10;
		send_fds(w->control, &m, sizeof(m), &peer[1], 1);
		close(peer[1]);
		w->peer = peer[0];
		assert_true(greet(w));
		assert_int_equal(w->topics_told, 1);
		assert_true(introduce(w, 0));
	}
	drain(w);
	stop(w);
	judge(w);
}

/* The supervisor is gone: so is the store, at once. */
static void
test_hang_up(void **state)
{
	struct world *w = &world;
	int status;

	start(w);
	assert_int_equal(shutdown(w->control, SHUT_RDWR), 0);
	status = reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

/* A queue manager of another version: better no store than a confused one. */
static void
test_illegal_message(void **state)
{
	struct world *w = &world;
	struct lt_wire_none m;
	int status;

	start(w);
	lt_wire_init(&m.h, LT_OP_PING, sizeof(m), 0, 0);
	send_fds(w->peer, &m, sizeof(m), NULL, 0);
	status = reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), LT_DUTY_EXIT_PROTOCOL);
}

/* A disk that fails: no receipt, and the process ends with its own status. */
static void
test_failing_disk(void **state)
{
	static const char *const names[] = {
	    "store.append.before:5:eio", "store.sync.before:5:eio"};
	struct world *w = &world;
	int status;

	for (size_t i = 0; i < LT_COUNT(names); i++) {
		spawn(w, names[i]);
		assert_true(await_ready(w));
		assert_true(introduce(w, 1));
		assert_int_equal(load(w, PATIENCE_MS, 20), 0);
		status = reap(w);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), LT_DUTY_EXIT_IO);
	}
	come_back(w);
	drain(w);
	stop(w);
	judge(w);
}

/* Nothing to do costs nothing: it sleeps, and wakes only by its cap. */
static void
test_idle(void **state)
{
	struct world *w = &world;
	struct lt_segment counters;
	uint64_t before, after;

	start(w);
	assert_int_equal(load(w, 20, 20), 1);
	drain(w);
	assert_int_equal(
	    lt_segment_attach(&counters, w->counters, LT_SEGMENT_COUNTER, 0, 0),
	    LEAT_OK);
	w->options.store_checkpoint_ms = 60000;
	usleep(800000); /* the last sync and checkpoint are over */
	before = lt_counter_read(&counters, LT_STAT_store_sleeps);
	usleep(1000000);
	after = lt_counter_read(&counters, LT_STAT_store_sleeps);
	assert_true(after - before >= 1 && after - before <= 4);
	assert_int_equal(
	    atomic_load_explicit(&w->beacon->sleeping, memory_order_relaxed),
	    1);
	lt_segment_detach(&counters);
	stop(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_story),
	    TEST(test_failpoints),
	    TEST(test_dies_in_recovery),
	    TEST(test_random_kills),
	    TEST(test_peer_replaced),
	    TEST(test_hang_up),
	    TEST(test_illegal_message),
	    TEST(test_failing_disk),
	    TEST(test_idle),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
