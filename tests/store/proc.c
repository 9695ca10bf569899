/* proc.c - a store process, and a world for it to die in. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
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

struct world world;
struct publisher publishers[CLIENTS];
uint8_t proc_msg[LT_WIRE_MAX];

/* --- supervisor --- */

static const char *
binary(void)
{
	static char path[512];
	const char *top = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/leat-store", top != NULL ? top : ".");
	return path;
}

void
proc_send_fds(int sock, void *m, size_t bytes, const int *fds, size_t count)
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
	if (lt_fdpass_recv(sock, proc_msg, sizeof(proc_msg), &bytes, fds,
		&count, 0) != LEAT_OK)
		return 0;
	assert_int_equal(
	    lt_wire_check(proc_msg, bytes, from, to, &is_reply), LEAT_OK);
	assert_true(count <= 1);
	if (count == 1)
		*fd = fds[0];
	return ((struct lt_wire *)proc_msg)->op;
}

static void
send_kept(struct world *w)
{
	struct lt_wire_keep keep;

	memset(&keep, 0, sizeof(keep));
	lt_wire_init(&keep.h, LT_OP_SUP_KEPT, sizeof(keep), 0, 0);
	/* One that is not the store's, too. */
	keep.kind = LT_KEEP_BEACON;
	proc_send_fds(w->control, &keep, sizeof(keep), &w->counters, 1);
	keep.kind = LT_KEEP_STATE;
	if (w->state >= 0)
		proc_send_fds(w->control, &keep, sizeof(keep), &w->state, 1);
}

/* It runs its own program, and waits (or ended). */
static void
await_sleep(pid_t pid)
{
	char path[64], text[256];
	int fd, there = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (!there) {
		ssize_t n;

		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		assert_true(n > 0);
		text[n] = 0;
		there = strstr(text, "leat-store) S ") != NULL ||
			strstr(text, ") Z ") != NULL;
		sched_yield();
	}
}

void
proc_spawn(struct world *w, const char *failpoint)
{
	struct lt_wire_start start;
	int control[2], peer[2], fds[3];

	/* As leatd makes it: neither end blocks. */
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, control),
	    0);
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
		/* A sandboxed process may not be traced, so it cannot look for
		 * leaks at its end. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		execl(binary(), "leat-store", (char *)NULL);
		_exit(127);
	}
	close(control[1]);
	w->control = control[0];
	w->peer = peer[0];
	w->generation++;
	if (w->is_late)
		await_sleep(w->pid);
	send_kept(w);
	memset(&start, 0, sizeof(start));
	lt_wire_init(&start.h, LT_OP_SUP_START, sizeof(start), 0, 0);
	start.generation = w->generation;
	start.store_gen = w->generation;
	start.options = w->options;
	fds[0] = w->counters;
	fds[1] = w->dir_fd;
	fds[2] = peer[1];
	proc_send_fds(w->control, &start, sizeof(start), fds, 3);
	close(peer[1]);
}

int
proc_reap(struct world *w)
{
	int status;

	assert_true(waitpid(w->pid, &status, 0) == w->pid);
	w->pid = 0;
	close(w->control);
	close(w->peer);
	return status;
}

/* Take the greeting. 0: the store died before it was ready. */
int
proc_greet(struct world *w)
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
	assert_true(((struct lt_wire_store_ready *)proc_msg)->store_gen ==
		    w->generation);
	return 1;
}

int
proc_await_ready(struct world *w)
{
	unsigned op;
	int fd;

	if (!proc_greet(w))
		return 0;
	w->is_kept_again = 0;
	while ((op = take(w->control, 'S', 'U', &fd)) != LT_OP_SUP_READY) {
		if (op == 0)
			return 0;
		assert_int_equal(op, LT_OP_SUP_KEEP);
		assert_int_equal(
		    ((struct lt_wire_keep *)proc_msg)->kind, LT_KEEP_STATE);
		if (w->state >= 0)
			close(w->state);
		w->state = fd;
		w->is_kept_again = 1;
	}
	return 1;
}

void
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

void
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
	proc_send_fds(w->peer, &m, sizeof(m), NULL, 0);
}

/* Wait for the reply of this op; 0: the store died. Others are skipped. */
int
proc_await(struct world *w, unsigned op)
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
int
proc_try_send(
    struct world *w, void *m, size_t bytes, const int *fds, size_t count)
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
	ok =
	    proc_try_send(w, &a, sizeof(a.m) + 8, fds, old_page >= 0 ? 5 : 4) &&
	    proc_await(w, LT_OP_S_ATTACH);
	if (!ok)
		return 0;
	assert_int_equal(((struct lt_wire *)proc_msg)->status, LEAT_OK);
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
	if (!proc_try_send(w, &m, sizeof(m), &p->ring, 1) ||
	    !proc_await(w, LT_OP_S_RING))
		return 0;
	assert_int_equal(((struct lt_wire *)proc_msg)->status, LEAT_OK);
	return 1;
}

static int
say_open(struct world *w)
{
	struct lt_wire_none m;

	lt_wire_init(&m.h, LT_OP_S_OPEN, sizeof(m), 0, 0);
	return proc_try_send(w, &m, sizeof(m), NULL, 0);
}

/* Everything a queue manager says to a new store. 0: it died meanwhile. */
int
proc_introduce(struct world *w, int is_new_store)
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

void
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

void
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

uint32_t
proc_push(const struct world *w, struct publisher *p, uint32_t most)
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
void
proc_collect(struct publisher *p)
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
int
proc_load(struct world *w, uint64_t ms, uint32_t most)
{
	uint64_t until = lt_clock_mono_ms() + ms;
	struct pollfd p = {.fd = w->control, .events = POLLIN};
	struct pollfd q = {.fd = w->peer, .events = POLLIN};
	int fd;

	while (lt_clock_mono_ms() < until) {
		uint32_t n = 0;

		for (int i = 0; i < CLIENTS; i++) {
			n += proc_push(w, &publishers[i], most);
			proc_collect(&publishers[i]);
		}
		if (poll(&q, 1, 0) > 0)
			(void)take(w->peer, 'S', 'Q', &fd);
		if (poll(&p, 1, n == 0) > 0)
			return 0; /* a store says nothing of itself */
	}
	return 1;
}

/* Wait, as a client does, until everything is answered. */
void
proc_drain(struct world *w)
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
			proc_collect(p);
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
void
proc_judge(struct world *w)
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

void
proc_stop(struct world *w)
{
	struct lt_wire_none m;
	int status;

	lt_wire_init(&m.h, LT_OP_SUP_STOP, sizeof(m), 0, 0);
	proc_send_fds(w->control, &m, sizeof(m), NULL, 0);
	status = proc_reap(w);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}
