/*
 * play.c - see play.h. The program is included whole, so that its start, its
 * phases and its stop are what is tested; only main's loop is played.
 */
int leat_queue_main(void);
#define main leat_queue_main
#include "queue/queue_main.c"
#undef main

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "queue/keyindex.h"
#include "shm/lane.h"
#include "play.h"

struct lt_options play_options;
uint64_t play_now_ms;

#define RECORDS 4096
#define QUEUES 512
#define SESSIONS 64
#define KEPTS 256
#define TOPICS 512

struct record {
	uint8_t *data;
	uint32_t bytes;
	struct lt_record_view view;
	int damaged;
};
struct queue {
	char topic[LT_NAME_FIELD];
	uint32_t queue;
	size_t at[RECORDS]; /* in log */
	int64_t next;
	int64_t flushed;
	int64_t first;
	struct lt_segment ring;
	struct lt_ring_writer writer;
};
struct attached {
	uint64_t id;
	struct lt_segment lane;
	struct lt_segment page;
	uint32_t topics[64];
	size_t topic_count;
	uint32_t watched[64][2];
	size_t watch_count;
	unsigned wakes;
};
struct kept_entry {
	struct lt_wire_keep keep;
	int fds[PLAY_FDS];
	size_t fd_count;
};

static struct {
	char dir[64];
	int dir_fd;
	int listener;
	uint64_t boot;
	uint64_t generation;
	uint64_t store_gen;
	int sup; /* our end; -1: leat-queue is down */
	int store; /* our end */
	int store_is_up;
	int mute;
	int refuse;
	int ready;
	unsigned got[128];
	struct lt_segment counters;
	int counter_fd;
	struct record log[RECORDS];
	size_t log_count;
	struct queue *queues[QUEUES];
	size_t queue_count;
	uint64_t log_min;
	char topics[TOPICS][LT_NAME_FIELD]; /* by id */
	struct attached sessions[SESSIONS];
	size_t session_count;
	struct kept_entry kept[KEPTS];
	size_t kept_count;
	struct play_msg in;
	pid_t child;
} w;

/* --- what leat-queue links in a real build
 * ------------------------------------- */

struct lt_reader {
	int unused;
};
struct lt_cq_view {
	int unused;
};
struct lt_keyindex {
	uint64_t end;
};
static struct lt_reader fake_reader;
static struct lt_cq_view fake_view;
static struct lt_keyindex fake_index;

int
lt_sandbox_enter(const char *process, int dir_fd, const char *socket_path)
{
	return LEAT_OK;
}

int
lt_reader_open(int store_dir, struct lt_reader **out)
{
	*out = &fake_reader;
	return LEAT_OK;
}
void
lt_reader_close(struct lt_reader *r)
{
}
int
lt_reader_refresh(struct lt_reader *r)
{
	return LEAT_OK;
}
uint64_t
lt_reader_min(const struct lt_reader *r)
{
	return w.log_min;
}
uint64_t
lt_reader_limit(const struct lt_reader *r)
{
	return (uint64_t)w.log_count << 20;
}

/* Log offsets are index << 20. */
int
lt_reader_get(
    struct lt_reader *r, uint64_t log_offset, struct lt_record_view *view)
{
	size_t i = log_offset >> 20;

	if (log_offset < w.log_min || i >= w.log_count)
		return LEAT_E_NOTFOUND;
	if (w.log[i].damaged)
		return LEAT_E_CORRUPT;
	*view = w.log[i].view;
	return LEAT_OK;
}

int
lt_reader_copy(struct lt_reader *r, uint64_t log_offset, uint32_t bytes,
    void *dst, struct lt_record_view *view)
{
	int status = lt_reader_get(r, log_offset, view);

	if (status != LEAT_OK)
		return status;
	assert_int_equal(bytes, view->bytes);
	memcpy(dst, view->base, bytes);
	return LEAT_OK;
}

static struct queue *
queue_find(const char *topic, uint32_t queue)
{
	for (size_t i = 0; i < w.queue_count; i++)
		if (w.queues[i]->queue == queue &&
		    strcmp(w.queues[i]->topic, topic) == 0)
			return w.queues[i];
	return NULL;
}

static struct queue *
queue_get(const char *topic, uint32_t queue)
{
	struct queue *q = queue_find(topic, queue);

	if (q != NULL)
		return q;
	assert_true(w.queue_count < QUEUES);
	q = calloc(1, sizeof(*q));
	assert_non_null(q);
	assert_int_equal(lt_bytes_field(q->topic, sizeof(q->topic), topic), 0);
	q->queue = queue;
	w.queues[w.queue_count++] = q;
	return q;
}

int
lt_cq_view_open(int store_dir, struct lt_cq_view **out)
{
	*out = &fake_view;
	return LEAT_OK;
}
void
lt_cq_view_close(struct lt_cq_view *view)
{
}

int
lt_cq_view_read(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, struct lt_cq_entry *out, size_t max, size_t *count_out)
{
	struct queue *q = queue_find(topic, queue);
	size_t n = 0;

	if (q == NULL || q->flushed == 0)
		return LEAT_E_NOTFOUND;
	for (int64_t o = offset; o < q->flushed && n < max; o++, n++) {
		const struct record *r = &w.log[q->at[o]];

		out[n].log_offset = (int64_t)(q->at[o] << 20);
		out[n].bytes = r->bytes;
		out[n].tags_code = lt_record_tags_code(&r->view);
	}
	*count_out = n;
	return LEAT_OK;
}

int
lt_cq_view_min(struct lt_cq_view *view, const char *topic, uint32_t queue,
    uint64_t log_min, int64_t max, int64_t *min_out)
{
	struct queue *q = queue_find(topic, queue);
	int64_t o = 0;

	if (q == NULL || q->flushed == 0)
		return LEAT_E_NOTFOUND;
	while (o < max && o < q->flushed && (uint64_t)q->at[o] << 20 < log_min)
		o++;
	*min_out = o;
	return LEAT_OK;
}

int
lt_keyindex_open(int store_dir, struct lt_keyindex **out)
{
	*out = &fake_index;
	return LEAT_OK;
}
void
lt_keyindex_close(struct lt_keyindex *ix)
{
}
uint64_t
lt_keyindex_end(const struct lt_keyindex *ix)
{
	return ix->end;
}
int
lt_keyindex_step(struct lt_keyindex *ix, struct lt_reader *reader,
    uint64_t budget_bytes, uint64_t log_end)
{
	/* Two steps, so that waiting is tried too. */
	if (ix->end < log_end / 2) {
		ix->end = log_end / 2;
		return LEAT_E_AGAIN;
	}
	ix->end = log_end;
	return LEAT_OK;
}

/* Every record below the end is a candidate: hashes may all collide. */
int
lt_keyindex_find(struct lt_keyindex *ix, const char *topic, size_t topic_bytes,
    const char *key, size_t key_bytes, int64_t begin_ms, int64_t end_ms,
    uint64_t *log_offsets, size_t max, size_t *count_out)
{
	size_t n = 0;

	for (size_t i = 0; i < w.log_count && n < max; i++)
		if ((uint64_t)i << 20 < ix->end)
			log_offsets[n++] = (uint64_t)i << 20;
	*count_out = n;
	return LEAT_OK;
}
int
lt_keyindex_find_by_id(struct lt_keyindex *ix, const char *id, size_t id_bytes,
    const char *(*next_topic)(void *user), void *user, uint64_t *log_offsets,
    size_t max, size_t *count_out)
{
	return lt_keyindex_find(
	    ix, "", 0, id, id_bytes, 0, 0, log_offsets, max, count_out);
}

/* --- the played store
 * ------------------------------------------------------------ */

static uint64_t
fake_mono_ns(void)
{
	return play_now_ms * 1000000;
}
static int64_t
fake_wall_ms(void)
{
	return 1700000000000 + (int64_t)play_now_ms;
}

static void
drop_msg(struct play_msg *msg)
{
	for (size_t i = 0; i < msg->fd_count; i++)
		if (msg->fds[i] >= 0)
			close(msg->fds[i]);
	msg->fd_count = 0;
}

static int
receive(int sock, struct play_msg *msg)
{
	int status;

	drop_msg(msg);
	status = lt_fdpass_recv(sock, msg->bytes, sizeof(msg->bytes),
	    &msg->size, msg->fds, &msg->fd_count, MSG_DONTWAIT);
	if (status != LEAT_OK)
		msg->fd_count = 0;
	return status;
}

static void
set_counter(enum lt_counter c, uint64_t v)
{
	lt_counter_set(c, v);
}

static int64_t
append(const char *topic, const void *record, size_t bytes)
{
	struct record *r = &w.log[w.log_count];
	struct lt_record_stamp stamp = {.log_offset = w.log_count << 20,
	    .store_ms = fake_wall_ms(),
	    .store_ip = 0x7f000001,
	    .store_port = 10911,
	    .session = 0x1122334455667788,
	    .seq = w.log_count + 1};
	struct queue *q;

	assert_true(w.log_count < RECORDS);
	r->data = malloc(bytes);
	assert_non_null(r->data);
	memcpy(r->data, record, bytes);
	r->bytes = (uint32_t)bytes;
	assert_int_equal(lt_record_admit(r->data, bytes, topic, strlen(topic),
			     LT_QUEUES_MAX, &r->view),
	    LEAT_OK);
	q = queue_get(topic, r->view.queue);
	stamp.queue_offset = (uint64_t)q->next;
	lt_record_seal(r->data, &r->view, &stamp);
	assert_int_equal(lt_record_parse(r->data, bytes, &r->view), LEAT_OK);
	assert_int_equal(lt_record_check(&r->view), LEAT_OK);
	q->at[q->next] = w.log_count++;
	if (q->ring.base != NULL) {
		lt_ring_put(&q->writer, q->next, r->view.log_offset,
		    lt_record_tags_code(&r->view), r->data, r->bytes);
		lt_ring_commit(&q->writer);
	}
	set_counter(LT_STAT_store_log_end, w.log_count << 20);
	return q->next++;
}

static struct attached *
session_of(uint64_t id)
{
	for (size_t i = 0; i < w.session_count; i++)
		if (w.sessions[i].id == id)
			return &w.sessions[i];
	return NULL;
}

static void
session_drop_played(struct attached *s)
{
	lt_segment_detach(&s->lane);
	lt_segment_detach(&s->page);
	*s = w.sessions[--w.session_count];
}

static int
on_attach(const struct lt_wire_attach *a, const int *fds, size_t n)
{
	struct attached *s = session_of(a->session);
	struct lt_page_shared *old = NULL, *page;
	struct lt_segment seg;
	uint64_t head = 0;
	int reused;

	assert_int_equal(n, a->has_old ? 5 : 4);
	assert_int_equal(a->h.tail_bytes, a->topic_count * sizeof(uint32_t));
	if (s == NULL) {
		assert_true(w.session_count < SESSIONS);
		s = &w.sessions[w.session_count++];
		memset(s, 0, sizeof(*s));
		s->id = a->session;
	}
	lt_segment_detach(&s->lane);
	assert_int_equal(
	    lt_segment_attach(&s->lane, fds[0], LT_SEGMENT_LANE, 0, 1),
	    LEAT_OK);
	if (a->has_old) {
		assert_int_equal(
		    lt_segment_attach(&seg, fds[4], LT_SEGMENT_PAGE, 0, 1),
		    LEAT_OK);
		old = seg.base;
		head = atomic_load(&old->lane_head);
		lt_segment_detach(&seg);
	}
	/* A page of ours is sealed by now and can not be mapped again. */
	reused = s->page.base != NULL && !a->has_old;
	if (!reused) {
		lt_segment_detach(&s->page);
		assert_int_equal(
		    lt_segment_attach(&s->page, fds[1], LT_SEGMENT_PAGE, 1, 0),
		    LEAT_OK);
		page = s->page.base;
		atomic_store(&page->lane_head, head);
	}
	s->topic_count = a->topic_count;
	assert_true(s->topic_count <= LT_COUNT(s->topics));
	memcpy(s->topics, a + 1, a->topic_count * sizeof(uint32_t));
	return LEAT_OK;
}

static void
answer(const struct lt_wire *h, void *reply, size_t bytes, int status)
{
	lt_wire_reply(reply, h, bytes, 0, status);
	assert_int_equal(
	    lt_fdpass_send(w.store, reply, bytes, NULL, 0), LEAT_OK);
}

static void
on_watch(const struct lt_wire_watch *watch)
{
	struct attached *s = session_of(watch->session);
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->watch_count; i++)
		if (s->watched[i][0] == watch->topic &&
		    s->watched[i][1] == watch->queue)
			break;
	if (watch->on && i == s->watch_count) {
		assert_true(i < LT_COUNT(s->watched));
		s->watched[i][0] = watch->topic;
		s->watched[i][1] = watch->queue;
		s->watch_count++;
	} else if (!watch->on && i < s->watch_count) {
		memcpy(s->watched[i], s->watched[--s->watch_count],
		    sizeof(s->watched[i]));
	}
}

static void
on_ring(const struct lt_wire *h)
{
	const struct lt_wire_queue *r = (const void *)h;
	struct queue *q = queue_get(w.topics[r->topic], r->queue);
	struct lt_wire_range a;

	assert_int_equal(w.in.fd_count, 1);
	lt_segment_detach(&q->ring);
	assert_int_equal(
	    lt_segment_attach(&q->ring, w.in.fds[0], LT_SEGMENT_RING, 1, 0),
	    LEAT_OK);
	lt_ring_writer_init(&q->writer, &q->ring, q->next);
	memset(&a, 0, sizeof(a));
	a.max_offset = q->next;
	answer(h, &a, sizeof(a), LEAT_OK);
}

static void
on_append_played(const struct lt_wire *h)
{
	const struct lt_wire_append *m = (const void *)h;
	struct lt_wire_appended a;

	memset(&a, 0, sizeof(a));
	if (w.refuse == LEAT_OK)
		a.queue_offset =
		    append(w.topics[m->topic], m + 1, m->h.tail_bytes);
	answer(h, &a, sizeof(a), w.refuse);
}

static void
on_grant(const struct lt_wire_grant *g)
{
	struct attached *s = session_of(g->session);
	struct lt_wire_none a;
	size_t i;

	if (s != NULL) {
		for (i = 0; i < s->topic_count; i++)
			if (s->topics[i] == g->topic)
				break;
		if (g->allow && i == s->topic_count)
			s->topics[s->topic_count++] = g->topic;
		if (!g->allow && i < s->topic_count)
			s->topics[i] = s->topics[--s->topic_count];
	}
	answer(&g->h, &a, sizeof(a), s == NULL ? LEAT_E_NOTFOUND : LEAT_OK);
}

static void
on_sync(const struct lt_wire *h)
{
	const struct lt_wire_queue *r = (const void *)h;
	struct queue *q = queue_find(w.topics[r->topic], r->queue);
	struct lt_wire_range a;

	memset(&a, 0, sizeof(a));
	if (q != NULL)
		a.max_offset = q->flushed = q->next;
	answer(h, &a, sizeof(a), LEAT_OK);
}

static void
on_session_op(const struct lt_wire *h)
{
	const struct lt_wire_number *m = (const void *)h;
	struct attached *s = session_of(m->number);
	struct lt_wire_none a;

	if (h->op == LT_OP_S_WAKE) {
		if (s != NULL)
			s->wakes++;
		return;
	}
	if (h->op == LT_OP_S_DETACH) {
		if (s != NULL)
			session_drop_played(s);
	} else if (s != NULL) {
		assert_int_equal(w.in.fd_count, 1);
		lt_segment_detach(&s->lane);
		assert_int_equal(lt_segment_attach(&s->lane, w.in.fds[0],
				     LT_SEGMENT_LANE, 0, 1),
		    LEAT_OK);
	}
	answer(h, &a, sizeof(a), LEAT_OK);
}

static void
on_topic_played(const struct lt_wire_topic *t)
{
	assert_true(t->id < TOPICS);
	if (t->deleted) {
		w.topics[t->id][0] = 0;
		return;
	}
	memcpy(w.topics[t->id], t->name, sizeof(t->name));
}

static void
store_serve(const struct lt_wire *h)
{
	struct lt_wire_none none;

	w.got[h->op]++;
	switch (h->op) {
	case LT_OP_S_TOPIC:
		on_topic_played((const void *)h);
		break;
	case LT_OP_S_ATTACH: {
		struct lt_wire_attached a;
		int status =
		    on_attach((const void *)h, w.in.fds, w.in.fd_count);

		memset(&a, 0, sizeof(a));
		a.session = ((const struct lt_wire_attach *)h)->session;
		answer(h, &a, sizeof(a), status);
		break;
	}
	case LT_OP_S_DETACH:
	case LT_OP_S_LANE:
	case LT_OP_S_WAKE:
		on_session_op(h);
		break;
	case LT_OP_S_GRANT:
		on_grant((const void *)h);
		break;
	case LT_OP_S_RING:
		on_ring(h);
		break;
	case LT_OP_S_UNRING: {
		const struct lt_wire_queue *r = (const void *)h;
		lt_segment_detach(
		    &queue_get(w.topics[r->topic], r->queue)->ring);
		break;
	}
	case LT_OP_S_WATCH:
		on_watch((const void *)h);
		break;
	case LT_OP_S_APPEND:
		on_append_played(h);
		break;
	case LT_OP_S_QUEUE_SYNC:
		on_sync(h);
		break;
	case LT_OP_S_PING:
		answer(h, &none, sizeof(none), LEAT_OK);
		break;
	default:
		assert_int_equal(h->op, LT_OP_S_OPEN);
	}
}

static int
store_pump(void)
{
	int is_reply, n = 0;

	while (w.store >= 0 && !w.mute && receive(w.store, &w.in) == LEAT_OK) {
		assert_int_equal(
		    lt_wire_check(w.in.bytes, w.in.size, 'Q', 'S', &is_reply),
		    LEAT_OK);
		store_serve((struct lt_wire *)w.in.bytes);
		n++;
	}
	return n;
}

static void
store_greet(void)
{
	struct lt_wire_store_ready r;
	struct lt_wire_none beacon;
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_BEACON, .data_bytes = 4096};
	struct lt_segment seg;
	struct lt_wire_topic t;
	int fd;

	for (size_t i = 0; i < w.queue_count; i++) {
		memset(&t, 0, sizeof(t));
		lt_wire_init(&t.h, LT_OP_E_TOPIC, sizeof(t), 0, 0);
		memcpy(t.name, w.queues[i]->topic, sizeof(t.name));
		t.read_queues = t.write_queues = w.queues[i]->queue + 1;
		assert_int_equal(
		    lt_fdpass_send(w.store, &t, sizeof(t), NULL, 0), LEAT_OK);
	}
	assert_int_equal(
	    lt_segment_create(&seg, "beacon", &head, 0, &fd), LEAT_OK);
	lt_wire_init(&beacon.h, LT_OP_E_BEACON, sizeof(beacon), 0, 0);
	assert_int_equal(
	    lt_fdpass_send(w.store, &beacon, sizeof(beacon), &fd, 1), LEAT_OK);
	close(fd);
	lt_segment_detach(&seg);
	memset(&r, 0, sizeof(r));
	lt_wire_init(&r.h, LT_OP_E_READY, sizeof(r), 0, 0);
	r.store_gen = w.store_gen;
	assert_int_equal(
	    lt_fdpass_send(w.store, &r, sizeof(r), NULL, 0), LEAT_OK);
}

/* --- the played supervisor
 * --------------------------------------------------------- */

static void
kept_close(struct kept_entry *k)
{
	for (size_t i = 0; i < k->fd_count; i++)
		close(k->fds[i]);
	k->fd_count = 0;
}

static void
sup_keep(int put)
{
	const struct lt_wire_keep *keep = (const void *)w.in.bytes;
	struct kept_entry *k;
	size_t i;

	for (i = 0; i < w.kept_count; i++)
		if (w.kept[i].keep.kind == keep->kind &&
		    w.kept[i].keep.id == keep->id)
			break;
	if (!put && i == w.kept_count)
		return;
	k = &w.kept[i];
	assert_true(i < KEPTS);
	if (i < w.kept_count)
		kept_close(k);
	else
		w.kept_count++;
	if (!put) {
		*k = w.kept[--w.kept_count];
		return;
	}
	k->keep = *keep;
	k->fd_count = w.in.fd_count;
	memcpy(k->fds, w.in.fds, sizeof(k->fds));
	w.in.fd_count = 0;
}

static int
sup_pump(void)
{
	const struct lt_wire *h = (const void *)w.in.bytes;
	int is_reply, n = 0;

	while (w.sup >= 0 && receive(w.sup, &w.in) == LEAT_OK) {
		assert_int_equal(
		    lt_wire_check(w.in.bytes, w.in.size, 'Q', 'U', &is_reply),
		    LEAT_OK);
		n++;
		if (h->op == LT_OP_SUP_READY)
			w.ready = 1;
		else
			sup_keep(h->op == LT_OP_SUP_KEEP);
	}
	return n;
}

static void
pair(int fds[2])
{
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

void
play_queue_start(void)
{
	struct lt_manager *m = &manager;
	struct lt_wire_start start;
	int control[2], peer[2], fds[4];

	memset(m, 0, sizeof(*m));
	pair(control);
	pair(peer);
	w.sup = fcntl(control[0], F_DUPFD_CLOEXEC, 10);
	close(control[0]);
	if (control[1] != SUPERVISOR_FD) {
		assert_int_equal(
		    dup2(control[1], SUPERVISOR_FD), SUPERVISOR_FD);
		close(control[1]);
	}
	w.ready = 0;
	w.generation++;
	memset(&fake_index, 0, sizeof(fake_index));
	init(m);
	/* Backwards: nothing may rely on an order. */
	for (size_t i = w.kept_count; i-- > 0;) {
		struct lt_wire_keep keep = w.kept[i].keep;

		lt_wire_init(&keep.h, LT_OP_SUP_KEPT, sizeof(keep), 0, 0);
		assert_int_equal(lt_fdpass_send(w.sup, &keep, sizeof(keep),
				     w.kept[i].fds, w.kept[i].fd_count),
		    LEAT_OK);
		lt_loop_round(m, 0);
	}
	memset(&start, 0, sizeof(start));
	lt_wire_init(&start.h, LT_OP_SUP_START, sizeof(start), 0, 0);
	start.boot = w.boot;
	start.generation = w.generation;
	start.store_gen = w.store_gen;
	start.options = play_options;
	fds[0] = w.counter_fd;
	fds[1] = w.dir_fd;
	fds[2] = peer[0];
	fds[3] = w.listener;
	assert_int_equal(
	    lt_fdpass_send(w.sup, &start, sizeof(start), fds, 4), LEAT_OK);
	close(peer[0]);
	if (w.store >= 0)
		close(w.store);
	w.store = peer[1]; /* the store's end, or kept for it */
	if (w.store_is_up) {
		memset(w.got, 0, sizeof(w.got));
		store_greet();
	} else if (w.store_gen > 0) {
		close(w.store);
		w.store = -1;
	}
	play_pump();
}

/* A process's end, as the kernel does it: descriptors close, that is all. */
void
play_queue_kill(void)
{
	struct lt_manager *m = &manager;
	struct lt_conn *conn, *next;

	/* What was sent is in the supervisor's socket. */
	sup_pump();
	lt_port_close(&m->store);
	m->phase = LT_PHASE_STORE;
	lt_storelink_close(m); /* ends calls, parks jobs */
	for (conn = LIST_FIRST(&m->conns); conn != NULL; conn = next) {
		next = LIST_NEXT(conn, link);
		lt_admit_close(conn);
	}
	struct lt_sub *sub;
	size_t cursor = 0;
	lt_port_close(&m->supervisor);
	while ((sub = lt_hash_next(&m->subs, &cursor)) != NULL)
		lt_mem_free(sub);
	for (size_t i = 0; i < m->progress_count; i++)
		if (m->progress[i] != NULL) {
			m->progress[i]->members = 0;
			if (m->progress[i]->claims != NULL) {
				LIST_INIT(&m->progress[i]->claims->subs);
				lt_group_claims_free(
				    m, m->progress[i]->claims, 1);
			}
		}
	lt_group_fini(m);
	struct lt_job *job;
	while ((job = TAILQ_FIRST(&m->store_waiting)) != NULL) {
		TAILQ_REMOVE(&m->store_waiting, job, wait_link);
		lt_mem_free(job->extra);
		lt_mem_free(job);
	}
	lt_session_fini(m);
	lt_ringset_fini(m);
	lt_topic_fini(m);
	lt_hash_fini(&m->calls);
	close(m->epoll_fd);
	close(m->dir_fd);
	if (m->store_fd >= 0)
		close(m->store_fd);
	if (m->beacon_fd >= 0)
		close(m->beacon_fd);
	close(m->counter_fd);
	close(m->listener.fd);
	lt_mem_free(m->removed);
	lt_mem_free(m->graves);
	lt_segment_detach(&m->counters);
	lt_counter_use(&w.counters);
	close(w.sup);
	w.sup = -1;
}

void
play_store_start(void)
{
	struct lt_wire_number peer;
	int ends[2];

	w.store_gen++;
	w.store_is_up = 1;
	memset(w.got, 0, sizeof(w.got));
	if (w.store_gen > 1 && w.sup >= 0) {
		pair(ends);
		memset(&peer, 0, sizeof(peer));
		lt_wire_init(&peer.h, LT_OP_SUP_PEER, sizeof(peer), 0, 0);
		assert_int_equal(
		    lt_fdpass_send(w.sup, &peer, sizeof(peer), &ends[0], 1),
		    LEAT_OK);
		close(ends[0]);
		w.store = ends[1];
	}
	store_greet();
	play_pump();
}

void
play_store_kill(void)
{
	close(w.store);
	w.store = -1;
	w.store_is_up = 0;
	while (w.session_count > 0)
		session_drop_played(&w.sessions[0]);
	for (size_t i = 0; i < w.queue_count; i++)
		lt_segment_detach(&w.queues[i]->ring);
}

void
play_broker_kill(void)
{
	play_store_kill();
	play_queue_kill();
	for (size_t i = 0; i < w.kept_count; i++)
		kept_close(&w.kept[i]);
	w.kept_count = 0;
	w.store_gen = 0;
	w.boot++;
}

/* --- pumping
 * ---------------------------------------------------------------------- */

void
play_pump(void)
{
	struct lt_manager *m = &manager;
	int idle = 0;

	while (idle < 3) {
		int busy = 0;

		if (w.sup >= 0) {
			housekeep(m, play_now_ms);
			lt_progress_timer(m, play_now_ms);
			lt_loop_round(m, 0);
			busy |= lt_query_step(m);
		}
		busy |= store_pump() + sup_pump();
		idle = busy ? 0 : idle + 1;
	}
}

void
play_pass(uint64_t ms)
{
	uint64_t until_ms = play_now_ms + ms;

	while (play_now_ms < until_ms) {
		uint64_t step = until_ms - play_now_ms;

		play_now_ms += step < 25 ? step : 25;
		play_pump();
	}
}

int
play_queue_stop(void)
{
	struct lt_wire_none stop;

	lt_wire_init(&stop.h, LT_OP_SUP_STOP, sizeof(stop), 0, 0);
	assert_int_equal(
	    lt_fdpass_send(w.sup, &stop, sizeof(stop), NULL, 0), LEAT_OK);
	play_pump();
	return may_stop(&manager, play_now_ms);
}

struct lt_manager *
play_manager(void)
{
	return &manager;
}
int
play_is_ready(void)
{
	return w.ready;
}
void
play_store_mute(int on)
{
	w.mute = on;
}
unsigned
play_store_got(enum lt_op op)
{
	return w.got[op];
}
void
play_refuse_appends(int status)
{
	w.refuse = status;
}

size_t
play_kept(enum lt_keep kind)
{
	size_t n = 0;

	for (size_t i = 0; i < w.kept_count; i++)
		n += w.kept[i].keep.kind == (uint32_t)kind;
	return n;
}

/* --- the store's view
 * -------------------------------------------------------------- */

int64_t
play_publish(const char *topic, uint32_t queue, const char *keys,
    const char *tag, const void *body, size_t bytes)
{
	struct lt_record_spec spec = {.topic = topic,
	    .topic_bytes = strlen(topic),
	    .queue = queue,
	    .born_ms = fake_wall_ms(),
	    .keys = keys,
	    .keys_bytes = keys == NULL ? 0 : strlen(keys),
	    .tag = tag,
	    .tag_bytes = tag == NULL ? 0 : strlen(tag)};
	size_t total = lt_record_bytes(&spec, bytes);
	uint8_t *record = malloc(total);
	int64_t offset;

	assert_non_null(record);
	memcpy(record + LT_RECORD_BODY_AT, body, bytes);
	total = lt_record_finish(record, &spec, bytes);
	offset = append(topic, record, total);
	free(record);
	return offset;
}

void
play_damage(const char *topic, uint32_t queue, int64_t offset)
{
	w.log[queue_find(topic, queue)->at[offset]].damaged = 1;
}

void
play_retain(const char *topic, uint32_t queue, int64_t first_kept)
{
	w.log_min = (uint64_t)queue_find(topic, queue)->at[first_kept] << 20;
	set_counter(LT_STAT_store_log_min, w.log_min);
}

static void
send_number(enum lt_op op, uint64_t number)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, op, sizeof(msg), 0, 0);
	msg.number = number;
	assert_int_equal(
	    lt_fdpass_send(w.store, &msg, sizeof(msg), NULL, 0), LEAT_OK);
	play_pump();
}
void
play_roll(void)
{
	send_number(LT_OP_E_ROLLED, 0);
}
void
play_forged(uint64_t session)
{
	send_number(LT_OP_E_FORGED, session);
}
int
play_is_attached(uint64_t session)
{
	return session_of(session) != NULL;
}

int
play_is_granted(uint64_t session, uint32_t topic)
{
	struct attached *s = session_of(session);

	for (size_t i = 0; s != NULL && i < s->topic_count; i++)
		if (s->topics[i] == topic)
			return 1;
	return 0;
}

int
play_is_watched(uint64_t session, uint32_t topic, uint32_t queue)
{
	struct attached *s = session_of(session);

	for (size_t i = 0; s != NULL && i < s->watch_count; i++)
		if (s->watched[i][0] == topic && s->watched[i][1] == queue)
			return 1;
	return 0;
}

unsigned
play_wakes(uint64_t session)
{
	struct attached *s = session_of(session);

	return s == NULL ? 0 : s->wakes;
}

int64_t
play_records(const char *topic)
{
	struct queue *q = queue_find(topic, 0);

	return q == NULL ? 0 : q->next;
}

/* --- clients
 * ------------------------------------------------------------------------ */

void
play_connect(struct play_client *c)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memset(c, 0, sizeof(*c));
	c->lane_fd = c->page_fd = -1;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", w.dir);
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	assert_int_equal(
	    connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	play_pump();
}

void
play_connect_as(struct play_client *c, uint32_t uid)
{
	struct lt_conn *conn;

	play_connect(c);
	conn = LIST_FIRST(&manager.conns);
	conn->peer.uid = uid;
	conn->peer.gid_count = 0;
	if (!lt_grants_may_connect(&manager, &conn->peer))
		conn->refusal = LEAT_E_DENIED;
}

void
play_close(struct play_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->lane_fd >= 0)
		close(c->lane_fd);
	if (c->page_fd >= 0)
		close(c->page_fd);
	c->fd = c->lane_fd = c->page_fd = -1;
	drop_msg(&c->reply);
	drop_msg(&c->event);
	if (w.sup >= 0)
		play_pump();
}

void
play_post(struct play_client *c, enum lt_op op, void *request, size_t bytes)
{
	lt_wire_init(request, op, bytes, 0, ++c->tag);
	(void)!lt_fdpass_send(c->fd, request, bytes, NULL, 0);
}

int
play_receive(struct play_client *c)
{
	static struct play_msg in;
	const struct lt_wire *h = (const void *)in.bytes;
	int is_reply, status;

	play_pump();
	while ((status = lt_fdpass_recv(c->fd, in.bytes, sizeof(in.bytes),
		    &in.size, in.fds, &in.fd_count, MSG_DONTWAIT)) == LEAT_OK) {
		assert_int_equal(
		    lt_wire_check(in.bytes, in.size, 'Q', 'C', &is_reply),
		    LEAT_OK);
		struct play_msg *to = is_reply ? &c->reply : &c->event;
		drop_msg(to);
		*to = in;
		if (!is_reply)
			c->events[h->op]++;
		else if (h->tag == c->tag)
			return 1;
	}
	return status == LEAT_E_AGAIN ? 0 : -1000;
}

int
play_call(struct play_client *c, enum lt_op op, void *request, size_t bytes)
{
	int got;

	play_post(c, op, request, bytes);
	got = play_receive(c);
	if (got != 1)
		return got == 0 ? -1001 : got;
	return ((const struct lt_wire *)c->reply.bytes)->status;
}

static int
hello(struct play_client *c, const struct play_client *old)
{
	const struct lt_wire_welcome *reply = (const void *)c->reply.bytes;
	struct lt_wire_hello req;
	int status;

	memset(&req, 0, sizeof(req));
	if (old != NULL) {
		req.session = old->session;
		req.boot = old->boot;
		memcpy(req.token, old->token, sizeof(req.token));
	}
	strcpy(req.name, "test");
	req.lane_bytes = LT_LANE_MIN;
	status = play_call(c, LT_OP_HELLO, &req, sizeof(req));
	if (status != LEAT_OK)
		return status;
	assert_int_equal(c->reply.fd_count, 5);
	c->session = reply->session;
	c->boot = reply->boot;
	c->store_gen = reply->store_gen;
	memcpy(c->token, reply->token, sizeof(c->token));
	c->lane_fd = c->reply.fds[0];
	c->page_fd = c->reply.fds[1];
	c->reply.fds[0] = c->reply.fds[1] = -1;
	return LEAT_OK;
}

int
play_hello(struct play_client *c)
{
	return hello(c, NULL);
}
int
play_resume(struct play_client *c, const struct play_client *old)
{
	return hello(c, old);
}

int
play_open(struct play_client *c, const char *topic, uint32_t rights)
{
	struct lt_wire_topic_open req;

	memset(&req, 0, sizeof(req));
	req.rights = rights;
	assert_int_equal(lt_bytes_field(req.name, sizeof(req.name), topic), 0);
	return play_call(c, LT_OP_TOPIC_OPEN, &req, sizeof(req));
}

int
play_create(struct play_client *c, const char *topic, uint32_t queues)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	req.read_queues = req.write_queues = queues;
	assert_int_equal(lt_bytes_field(req.name, sizeof(req.name), topic), 0);
	return play_call(c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
}

static int
take_sub(struct play_client *c, struct play_sub *sub)
{
	const struct lt_wire_subscribed *r = (const void *)c->reply.bytes;
	struct stat st;
	size_t at = 0;

	memset(sub, 0, sizeof(*sub));
	sub->id = r->id;
	sub->topic_id = r->topic_id;
	sub->owner = r->owner;
	sub->offset = r->offset;
	sub->min_offset = r->min_offset;
	sub->max_offset = r->max_offset;
	sub->has_ring = (int)r->has_ring;
	sub->has_table = (int)r->has_table;
	assert_int_equal(c->reply.fd_count, r->has_ring + r->has_table);
	if (r->has_ring) {
		/* Sealed: nobody maps it writable. */
		assert_int_not_equal(
		    lt_segment_attach(&sub->ring_seg, c->reply.fds[at],
			LT_SEGMENT_RING, 1, 1),
		    LEAT_OK);
		assert_int_equal(lt_segment_attach(&sub->ring_seg,
				     c->reply.fds[at++], LT_SEGMENT_RING, 0, 1),
		    LEAT_OK);
	}
	if (r->has_table) {
		assert_int_equal(fstat(c->reply.fds[at], &st), 0);
		sub->table_inode = st.st_ino;
		assert_int_equal(lt_segment_attach(&sub->table_seg,
				     c->reply.fds[at], LT_SEGMENT_TABLE, 1, 1),
		    LEAT_OK);
		assert_int_equal(
		    lt_table_init(&sub->table, &sub->table_seg), LEAT_OK);
	}
	return LEAT_OK;
}

static int
subscribe(struct play_client *c, struct play_sub *sub,
    struct lt_wire_subscribe *req, const char *topic, const char *group,
    const char *member)
{
	int status;

	assert_int_equal(
	    lt_bytes_field(req->topic, sizeof(req->topic), topic), 0);
	assert_int_equal(
	    lt_bytes_field(req->group, sizeof(req->group), group), 0);
	assert_int_equal(
	    lt_bytes_field(req->member, sizeof(req->member), member), 0);
	status = play_call(c, LT_OP_SUBSCRIBE, req, sizeof(*req));
	memset(sub, 0, sizeof(*sub));
	return status == LEAT_OK ? take_sub(c, sub) : status;
}

int
play_subscribe(struct play_client *c, struct play_sub *sub, const char *topic,
    uint32_t queue, const char *group, uint32_t mode, const char *member,
    uint32_t from, int64_t value)
{
	struct lt_wire_subscribe req = {
	    .queue = queue, .mode = mode, .from = from, .value = value};

	return subscribe(c, sub, &req, topic, group, member);
}

int
play_resubscribe(struct play_client *c, struct play_sub *sub, const char *topic,
    uint32_t queue, const char *group, uint32_t mode, int64_t position,
    uint64_t old_id)
{
	struct lt_wire_subscribe req = {.queue = queue,
	    .mode = mode,
	    .from = LEAT_FROM_OFFSET,
	    .value = position,
	    .resume = 1,
	    .old_id = old_id};

	play_sub_fini(sub);
	return subscribe(c, sub, &req, topic, group, "");
}

void
play_sub_fini(struct play_sub *sub)
{
	lt_segment_detach(&sub->ring_seg);
	lt_segment_detach(&sub->table_seg);
}

int
play_unsubscribe(struct play_client *c, uint64_t id)
{
	struct lt_wire_number req;

	memset(&req, 0, sizeof(req));
	req.number = id;
	return play_call(c, LT_OP_UNSUBSCRIBE, &req, sizeof(req));
}

void
play_give_process(uint64_t session)
{
	struct lt_session *s = lt_session_find(&manager, session);
	int fd;

	w.child = fork();
	assert_true(w.child >= 0);
	if (w.child == 0) {
		pause();
		_exit(0);
	}
	fd = (int)syscall(SYS_pidfd_open, w.child, 0);
	assert_true(fd >= 0);
	assert_int_equal(lt_session_rewatch(s, fd), LEAT_OK);
	close(fd);
	lt_session_keep(s);
	play_pump();
}

void
play_kill_process(void)
{
	struct pollfd p;

	/* Its end may be seen before it is waited for. */
	p.fd = (int)syscall(SYS_pidfd_open, w.child, 0);
	p.events = POLLIN;
	kill(w.child, SIGKILL);
	assert_int_equal(poll(&p, 1, 10000), 1);
	close(p.fd);
	assert_int_equal(waitpid(w.child, NULL, 0), w.child);
	play_pump();
}

/* --- the world
 * -------------------------------------------------------------------------- */

void
play_init(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct lt_segment_head head = {.magic = LT_SEGMENT_COUNTER,
	    .data_bytes = lt_counter_segment_bytes()};
	uint8_t secret[32] = "0123456789abcdef0123456789abcde";
	int fd;

	memset(&w, 0, sizeof(w));
	w.sup = w.store = -1;
	w.boot = 77;
	play_now_ms = 1000000;
	lt_clock.mono_ns = fake_mono_ns;
	lt_clock.wall_ms = fake_wall_ms;
	lt_log_init("leat-queue", LT_LOG_ERROR);
	lt_options_defaults(&play_options);
	play_options.broker_sandbox = 0;
	play_options.broker_log_level = LT_LOG_ERROR;
	/* Tests use this descriptor; nobody else may get it. */
	if (fcntl(SUPERVISOR_FD, F_GETFD) < 0)
		assert_true(open("/dev/null", O_RDONLY) >= 0);
	strcpy(w.dir, "/tmp/leat-play-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	w.dir_fd = open(w.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(w.dir_fd, "store", 0700), 0);
	fd = openat(w.dir_fd, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, secret, sizeof(secret)), sizeof(secret));
	close(fd);
	assert_int_equal(
	    lt_segment_create(&w.counters, "counters", &head, 0, &w.counter_fd),
	    LEAT_OK);
	lt_counter_use(&w.counters);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", w.dir);
	w.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(w.listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(w.listener, 64), 0);
}

void
play_fini(void)
{
	char path[128];

	play_broker_kill();
	for (size_t i = 0; i < w.log_count; i++)
		free(w.log[i].data);
	for (size_t i = 0; i < w.queue_count; i++)
		free(w.queues[i]);
	drop_msg(&w.in);
	close(w.listener);
	close(w.counter_fd);
	close(w.dir_fd);
	lt_segment_detach(&w.counters);
	snprintf(path, sizeof(path), "%s/sock", w.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/secret", w.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/store", w.dir);
	rmdir(path);
	assert_int_equal(rmdir(w.dir), 0);
}
