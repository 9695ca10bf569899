/*
 * fake_broker.c - see fake_broker.h. Short on purpose: no limits are enforced
 * and any surprise aborts the test.
 */
#include "config.h"
#include "fake_broker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fdpass.h"
#include "leat/leat.h"
#include "proto/record.h"
#include "proto/wire.h"
#include "shm/doorbell.h"
#include "shm/grouptable.h"
#include "shm/lane.h"
#include "shm/page.h"
#include "shm/ring.h"
#include "shm/segment.h"

#define MAX_SESSIONS 8
#define MAX_QUEUES 16
#define MAX_SUBS 64
#define MAX_TABLES 8
#define TOPIC_ID 7
#define OK(call) must((call) == 0, #call)

struct stored {
	uint8_t *record;
	uint32_t bytes;
	int64_t tags_code;
	int damaged;
};
struct queue {
	struct stored *items;
	int64_t count, capacity;
	struct lt_segment ring_seg;
	struct lt_ring_writer ring;
	int ring_fd; /* -1: none */
};
struct session {
	uint64_t id;
	int sock; /* -1: hung up */
	int live;
	int lane_fd, page_fd, to_store, to_client, fetch_fd;
	struct lt_segment lane_seg, page_seg, fetch_seg;
	struct lt_lane_reader lane;
	uint64_t entries, in_log, logged, synced;
	int watching;
};
struct table {
	char group[LT_NAME_FIELD];
	uint32_t queue, owners;
	int fd;
	struct lt_segment seg;
	struct lt_table table;
	int64_t progress;
};
struct sub {
	uint64_t id;
	struct session *s;
	uint32_t queue;
	struct table *table;
	uint32_t owner;
};
struct fake {
	struct fake_options o;
	char dir[64], path[128];
	pthread_t thread;
	int listener, ctl[2];
	uint64_t boot, next_session, next_sub, store_gen;
	int64_t log_offset, log_count, broadcast;
	int64_t fetches, fetched;
	int stalled, refuse, lose_fetch, stopping;
	struct lt_segment beacon_seg;
	int beacon_fd;
	struct queue queues[MAX_QUEUES];
	struct session sessions[MAX_SESSIONS];
	struct table tables[MAX_TABLES];
	struct sub subs[MAX_SUBS];
	_Alignas(16) uint8_t rx[LT_WIRE_MAX];
	_Alignas(16) uint8_t scratch[8 << 20];
};

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake broker: %s\n", what);
	abort();
}

static int
make_segment(struct lt_segment *seg, uint32_t kind, uint64_t data,
    uint64_t extra0, uint64_t extra1, int read_only)
{
	struct lt_segment_head head = {.magic = kind, .data_bytes = data};
	int fd;

	head.extra[0] = extra0;
	head.extra[1] = extra1;
	OK(lt_segment_create(seg, "fake", &head, 0, &fd));
	OK(lt_segment_seal(fd, read_only));
	return fd;
}

/* --- store's part ----------------------------------------------------------
 */

static void
new_beacon(struct fake *f)
{
	if (f->beacon_seg.base != NULL) {
		lt_segment_detach(&f->beacon_seg);
		close(f->beacon_fd);
	}
	f->beacon_fd =
	    make_segment(&f->beacon_seg, LT_SEGMENT_BEACON, 4096, 0, 0, 1);
}

static void
new_ring(struct fake *f, struct queue *q)
{
	if (q->ring_fd >= 0) {
		lt_segment_detach(&q->ring_seg);
		close(q->ring_fd);
		q->ring_fd = -1;
	}
	if (f->o.ring_bytes == 0)
		return;
	q->ring_fd = make_segment(
	    &q->ring_seg, LT_SEGMENT_RING, f->o.ring_bytes, 0, 0, 1);
	lt_ring_writer_init(&q->ring, &q->ring_seg, q->count);
}

static void
show(struct session *s)
{
	struct lt_page_shared *p = s->page_seg.base;

	atomic_store_explicit(&p->accepted, s->logged, memory_order_relaxed);
	atomic_store_explicit(&p->synced, s->synced, memory_order_release);
	atomic_store_explicit(&p->logged, s->logged, memory_order_release);
	atomic_store_explicit(
	    &p->lane_head, s->lane.head, memory_order_release);
}

static void
new_page(struct session *s)
{
	struct lt_segment old = s->page_seg;
	int old_fd = s->page_fd;

	s->entries = lt_page_entries(s->lane_seg.head.data_bytes);
	s->page_fd = make_segment(&s->page_seg, LT_SEGMENT_PAGE,
	    s->entries * sizeof(struct lt_page_done), s->entries, 0, 1);
	show(s);
	if (old.base != NULL) {
		lt_segment_detach(&old);
		close(old_fd);
	}
}

static void
wake(struct session *s)
{
	struct lt_page_shared *p = s->page_seg.base;
	struct lt_lane_shared *lane = s->lane_seg.base;
	uint32_t waiting =
	    atomic_load_explicit(&lane->waiting, memory_order_relaxed);

	if (waiting == 0)
		return;
	lt_doorbell_ring(&p->doorbell);
	if (waiting & LT_LANE_WAIT_EVENTFD)
		lt_doorbell_event(s->to_client);
}

static void
store_record(struct fake *f, struct session *s, const struct lt_lane_rec *rec,
    const uint8_t *payload, struct lt_page_done *done)
{
	struct lt_record_stamp stamp = {0};
	struct lt_record_view v;
	struct queue *q;
	struct stored *item;

	memcpy(f->scratch, payload, rec->bytes);
	must(rec->topic == TOPIC_ID, "topic id");
	OK(lt_record_admit(f->scratch, rec->bytes, "t", 1, f->o.queues, 0, &v));
	q = &f->queues[v.queue];
	if (q->count == q->capacity) {
		q->capacity = q->capacity * 2 + 64;
		q->items =
		    realloc(q->items, (size_t)q->capacity * sizeof(*q->items));
	}
	item = &q->items[q->count];
	stamp.queue_offset = (uint64_t)q->count;
	stamp.log_offset = (uint64_t)f->log_offset;
	stamp.store_ms = lt_clock_wall_ms();
	stamp.session = s->id;
	stamp.seq = rec->seq;
	lt_record_seal(f->scratch, &v, &stamp);
	item->record = malloc(rec->bytes);
	item->bytes = rec->bytes;
	item->tags_code = lt_record_tags_code(&v);
	item->damaged =
	    f->o.lose_every != 0 && (q->count + 1) % f->o.lose_every == 0;
	memcpy(item->record, f->scratch, rec->bytes);
	if (q->ring_fd >= 0 && !item->damaged)
		lt_ring_put(&q->ring, q->count, f->log_offset, item->tags_code,
		    item->record, item->bytes);
	done->queue_offset = q->count++;
	done->log_offset = f->log_offset;
	done->store_ms_low = (uint32_t)stamp.store_ms;
	f->log_offset += rec->bytes;
	f->log_count++;
}

/* Drain one lane. tell 0: as if the store died before it told anybody. */
static int
drain(struct fake *f, struct session *s, int tell)
{
	struct lt_lane_reader r = s->lane;
	struct lt_page_shared *page = s->page_seg.base;
	struct lt_lane_rec rec;
	const uint8_t *payload;
	uint64_t logged = s->logged;
	int n = 0;

	if (lt_lane_poll(&r) <= 0)
		return 0;
	while (lt_lane_peek(&r, &rec, &payload) == 0) {
		struct lt_page_done done = {
		    .seq = rec.seq, .log_offset = -1, .queue_offset = -1};

		lt_lane_next(&r, &rec);
		if (f->refuse) {
			f->refuse = 0;
			done.status = LEAT_E_NOSPACE;
		} else if (rec.seq > s->in_log) {
			must(rec.seq > s->in_log, "sequence");
			store_record(f, s, &rec, payload, &done);
			s->in_log = rec.seq;
		}
		if (tell)
			*lt_page_entry(page, s->entries, rec.seq) = done;
		logged = rec.seq;
		n++;
	}
	if (!tell)
		return n;
	s->lane = r;
	s->logged = logged;
	if (!f->o.sync_lag)
		s->synced = logged;
	atomic_store_explicit(
	    &page->store_ms, lt_clock_wall_ms(), memory_order_relaxed);
	return n;
}

static int
sweep(struct fake *f)
{
	int n = 0, i;

	for (i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live) {
			struct session *s = &f->sessions[i];

			if (f->o.sync_lag && s->synced < s->logged) {
				s->synced = s->logged;
				n++;
			}
			n += drain(f, s, 1);
		}
	if (n == 0)
		return 0;
	for (i = 0; i < (int)f->o.queues; i++)
		if (f->queues[i].ring_fd >= 0)
			lt_ring_commit(&f->queues[i].ring);
	for (i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			show(&f->sessions[i]);
	lt_doorbell_fence();
	for (i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			wake(&f->sessions[i]);
	return n;
}

/* --- queue manager's part --------------------------------------------------
 */

static void
answer(struct session *s, void *msg, const struct lt_wire *h, size_t bytes,
    int status, const int *fds, size_t n)
{
	lt_wire_reply(msg, h, bytes, 0, status);
	if (lt_fdpass_send(s->sock, msg, bytes, fds, n) != 0) {
		close(s->sock);
		s->sock = -1;
	}
}

static void
say(struct session *s, enum lt_op op, void *msg, size_t bytes, const int *fds,
    size_t n)
{
	if (s->sock < 0)
		return;
	lt_wire_init(msg, op, bytes, 0, 0);
	OK(lt_fdpass_send(s->sock, msg, bytes, fds, n));
}

static struct session *
find_session(struct fake *f, uint64_t id)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live && f->sessions[i].id == id)
			return &f->sessions[i];
	return NULL;
}

static struct session *
make_session(struct fake *f, uint64_t id, uint64_t lane_bytes)
{
	struct session *s = f->sessions;
	uint64_t in_log = 0;

	while (s->live)
		must(++s < f->sessions + MAX_SESSIONS, "sessions");
	/* What the log has of an old session, found by its messages. */
	for (uint32_t i = 0; id != 0 && i < f->o.queues; i++)
		for (int64_t k = 0; k < f->queues[i].count; k++) {
			struct stored *it = &f->queues[i].items[k];
			struct lt_record_view v;
			uint64_t session, seq;

			OK(lt_record_parse(it->record, it->bytes, &v));
			OK(lt_record_identity(&v, &session, &seq));
			if (session == id && seq > in_log)
				in_log = seq;
		}
	memset(s, 0, sizeof(*s));
	s->live = 1;
	s->id = id != 0 ? id : ++f->next_session;
	s->in_log = s->logged = s->synced = in_log;
	s->fetch_fd = -1;
	s->lane_fd = make_segment(&s->lane_seg, LT_SEGMENT_LANE,
	    lane_bytes != 0 ? lane_bytes : f->o.lane_bytes, 0, 0, 0);
	lt_lane_reader_init(&s->lane, &s->lane_seg, 0);
	new_page(s);
	s->to_store = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->to_client = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s;
}

static void
end_session(struct fake *f, struct session *s, int expire)
{
	struct lt_table_sweep out;

	for (int i = 0; i < MAX_SUBS; i++)
		if (f->subs[i].id != 0 && f->subs[i].s == s) {
			if (expire && f->subs[i].table != NULL)
				lt_table_harvest(&f->subs[i].table->table,
				    f->subs[i].table->progress, INT64_MAX / 2,
				    lt_clock_mono_ms(), 0,
				    (uint16_t)f->subs[i].owner, &out);
			f->subs[i].id = 0;
		}
	if (s->sock >= 0)
		close(s->sock);
	close(s->lane_fd);
	close(s->page_fd);
	close(s->to_store);
	close(s->to_client);
	if (s->fetch_fd >= 0)
		close(s->fetch_fd);
	lt_segment_detach(&s->lane_seg);
	lt_segment_detach(&s->page_seg);
	lt_segment_detach(&s->fetch_seg);
	s->live = 0;
}

static void
on_hello(struct fake *f, int sock)
{
	const struct lt_wire_hello *m = (const void *)f->rx;
	struct lt_wire_welcome w = {0};
	struct session *s =
	    m->session != 0 ? find_session(f, m->session) : NULL;
	int fds[5];

	if (s == NULL)
		s = make_session(f, m->session, m->lane_bytes);
	s->sock = sock;
	w.session = s->id;
	w.boot = f->boot;
	w.store_gen = f->store_gen;
	w.lane_bytes = s->lane_seg.head.data_bytes;
	w.max_body_bytes = 1 << 20;
	w.default_level = LEAT_SYNCED;
	w.next_seq = 1;
	strcpy(w.broker, "fake");
	fds[0] = s->lane_fd;
	fds[1] = s->page_fd;
	fds[2] = f->beacon_fd;
	fds[3] = s->to_store;
	fds[4] = s->to_client;
	answer(s, &w, &m->h, sizeof(w), 0, fds, 5);
}

static void
fill_topic(struct fake *f, struct lt_wire_topic *t)
{
	t->id = TOPIC_ID;
	t->read_queues = t->write_queues = f->o.queues;
	t->perm = LEAT_PERM_BOTH;
	strcpy(t->name, "t");
}

static struct table *
table_of(struct fake *f, const char *group, uint32_t queue, int64_t first)
{
	struct table *t = f->tables;

	for (; t->group[0] != '\0'; t++) {
		must(t < f->tables + MAX_TABLES - 1, "tables");
		if (strcmp(t->group, group) == 0 && t->queue == queue)
			return t;
	}
	strcpy(t->group, group);
	t->queue = queue;
	t->fd = make_segment(&t->seg, LT_SEGMENT_TABLE,
	    lt_table_bytes(f->o.window), 0, f->o.window, 0);
	/* Nothing is known of the group: the member's word counts. */
	t->progress = first;
	lt_table_format(&t->seg, first, f->o.window);
	OK(lt_table_init(&t->table, &t->seg));
	return t;
}

static void
on_subscribe(struct fake *f, struct session *s)
{
	const struct lt_wire_subscribe *m = (const void *)f->rx;
	struct lt_wire_subscribed r = {0};
	struct sub *sub = f->subs, *old = NULL;
	struct queue *q = &f->queues[m->queue];
	int fds[2];
	size_t n = 0;

	if (strcmp(m->topic, "t") != 0 || m->queue >= f->o.queues) {
		answer(s, &r, &m->h, sizeof(r),
		    m->queue == 0 ? LEAT_E_NOTFOUND : LEAT_E_QUEUE, NULL, 0);
		return;
	}
	for (struct sub *x = f->subs; x < f->subs + MAX_SUBS; x++)
		if (m->old_id != 0 && x->id == m->old_id)
			old = x;
	while (sub->id != 0)
		must(++sub < f->subs + MAX_SUBS, "subs");
	if (old != NULL)
		sub = old;
	sub->id = ++f->next_sub;
	sub->s = s;
	sub->queue = m->queue;
	r.id = sub->id;
	r.topic_id = TOPIC_ID;
	r.queues = f->o.queues;
	r.max_offset = q->count;
	r.lease_ms = 30000;
	if (m->group[0] != '\0' && m->mode == LEAT_CLUSTERING) {
		sub->table = table_of(f, m->group, m->queue,
		    m->from == LEAT_FROM_OFFSET ? m->value : 0);
		if (old == NULL)
			sub->owner = ++sub->table->owners;
		r.owner = sub->owner;
		r.window = f->o.window;
		r.offset = sub->table->progress;
		r.has_table = 1;
	} else {
		r.offset = m->from == LEAT_FROM_OFFSET	? m->value
			   : m->from == LEAT_FROM_BEGIN ? 0
			   : m->group[0] != '\0'	? f->broadcast
							: q->count;
	}
	if (q->ring_fd < 0)
		new_ring(f, q);
	if (q->ring_fd >= 0) {
		r.has_ring = 1;
		fds[n++] = q->ring_fd;
	}
	if (r.has_table)
		fds[n++] = sub->table->fd;
	s->watching = 1;
	answer(s, &r, &m->h, sizeof(r), 0, fds, n);
}

static void
on_fetch(struct fake *f, struct session *s)
{
	struct lt_wire_fetch m;
	struct lt_wire_fetched r = {0};
	struct queue *q;
	uint8_t *data;
	uint64_t at = 0;
	int64_t i;

	memcpy(&m, f->rx, sizeof(m));
	must(m.topic == TOPIC_ID && m.queue < f->o.queues, "fetch");
	f->fetches++;
	q = &f->queues[m.queue];
	if (s->fetch_fd < 0) {
		s->fetch_fd = make_segment(
		    &s->fetch_seg, LT_SEGMENT_FETCH, 4 << 20, 0, 0, 1);
		r.has_buffer = 1;
	}
	data = (uint8_t *)s->fetch_seg.base + LT_SEGMENT_DATA_AT;
	for (i = m.offset; i < q->count && r.count < m.max_count; i++) {
		struct stored *it = &q->items[i];
		struct lt_ring_head h = {
		    it->bytes, LT_RING_RECORD, i, 0, it->tags_code};

		if (it->damaged) {
			r.skipped++;
			continue;
		}
		if (at != 0 && at + it->bytes + 64 > m.max_bytes)
			break;
		memcpy(data + at, &h, sizeof(h));
		memcpy(data + at + sizeof(h), it->record, it->bytes);
		at += lt_bytes_align(sizeof(h) + it->bytes, 32);
		r.count++;
	}
	r.data_bytes = at;
	r.next_offset = i;
	r.max_offset = q->count;
	f->fetched += r.count;
	if (!f->lose_fetch)
		answer(s, &r, &m.h, sizeof(r), 0, &s->fetch_fd, r.has_buffer);
	f->lose_fetch = 0;
}

static void
on_lane(struct fake *f, struct session *s)
{
	const struct lt_wire_number *m = (const void *)f->rx;
	struct lt_wire_none r = {0};

	must(s->lane.head == ((struct lt_lane_shared *)s->lane_seg.base)->tail,
	    "lane not empty");
	lt_segment_detach(&s->lane_seg);
	close(s->lane_fd);
	s->lane_fd =
	    make_segment(&s->lane_seg, LT_SEGMENT_LANE, m->number, 0, 0, 0);
	lt_lane_reader_init(&s->lane, &s->lane_seg, 0);
	show(s);
	answer(s, &r, &m->h, sizeof(r), 0, &s->lane_fd, 1);
}

static void
on_topic(struct fake *f, struct session *s, const char *name)
{
	const struct lt_wire *h = (const void *)f->rx;
	struct lt_wire_topic t = {0};

	fill_topic(f, &t);
	answer(s, &t, h, sizeof(t),
	    strcmp(name, "t") == 0 ? LEAT_OK : LEAT_E_NOTFOUND, NULL, 0);
}

static void
on_message(struct fake *f, struct session *s)
{
	const struct lt_wire *h = (const void *)f->rx;
	const struct lt_wire_number *num = (const void *)f->rx;
	struct lt_wire_range range = {0};
	struct lt_wire_none none = {0};

	switch (h->op) {
	case LT_OP_TOPIC_OPEN:
		on_topic(f, s, ((const struct lt_wire_topic_open *)h)->name);
		return;
	case LT_OP_SUBSCRIBE:
		on_subscribe(f, s);
		return;
	case LT_OP_FETCH:
		on_fetch(f, s);
		return;
	case LT_OP_LANE:
		on_lane(f, s);
		return;
	case LT_OP_QUEUE_RANGE:
		range.max_offset =
		    f->queues[((const struct lt_wire_queue *)h)->queue].count;
		answer(s, &range, h, sizeof(range), 0, NULL, 0);
		return;
	case LT_OP_COMMIT:
		f->broadcast = ((const struct lt_wire_commit *)h)->offset;
		break;
	case LT_OP_UNSUBSCRIBE:
		for (int i = 0; i < MAX_SUBS; i++)
			if (f->subs[i].id == num->number)
				f->subs[i].id = 0;
		break;
	case LT_OP_BYE:
		drain(f, s, 1);
		answer(s, &none, h, sizeof(none), 0, NULL, 0);
		end_session(f, s, 1);
		return;
	default:
		break;
	}
	answer(s, &none, h, sizeof(none), 0, NULL, 0);
}

/* --- commands
 * ------------------------------------------------------------------ */

static void
restart_store(struct fake *f)
{
	struct lt_wire_page page = {0};
	struct lt_wire_number moved = {0};

	f->store_gen++;
	new_beacon(f);
	for (uint32_t i = 0; i < f->o.queues; i++)
		new_ring(f, &f->queues[i]);
	for (int i = 0; i < MAX_SESSIONS; i++) {
		struct session *s = &f->sessions[i];
		int fds[2];

		if (!s->live)
			continue;
		/* What was logged without telling counts as logged now. */
		if (s->in_log > s->logged)
			s->logged = s->in_log;
		s->synced = s->logged;
		new_page(s);
		fds[0] = s->page_fd;
		fds[1] = f->beacon_fd;
		page.store_gen = f->store_gen;
		say(s, LT_OP_EV_PAGE, &page, sizeof(page), fds, 2);
	}
	for (int i = 0; i < MAX_SUBS; i++)
		if (f->subs[i].id != 0) {
			moved.number = f->subs[i].id;
			say(f->subs[i].s, LT_OP_EV_MOVED, &moved, sizeof(moved),
			    NULL, 0);
		}
}

static void
new_boot(struct fake *f)
{
	f->boot++;
	f->store_gen++;
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			end_session(f, &f->sessions[i], 0);
	for (struct table *t = f->tables; t->group[0] != '\0'; t++) {
		lt_segment_detach(&t->seg);
		close(t->fd);
		memset(t, 0, sizeof(*t));
	}
	new_beacon(f);
	for (uint32_t i = 0; i < f->o.queues; i++)
		new_ring(f, &f->queues[i]);
}

static void
hang_up(struct fake *f)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live && f->sessions[i].sock >= 0) {
			close(f->sessions[i].sock);
			f->sessions[i].sock = -1;
		}
}

static void
return_claims(struct fake *f)
{
	struct lt_table_sweep out;

	for (struct table *t = f->tables; t->group[0] != '\0'; t++)
		for (uint32_t owner = 1; owner <= t->owners; owner++) {
			lt_table_harvest(&t->table, t->progress,
			    f->queues[t->queue].count, lt_clock_mono_ms(), 0,
			    (uint16_t)owner, &out);
			t->progress = out.progress;
		}
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			wake(&f->sessions[i]);
}

static void
grow_topic(struct fake *f)
{
	struct lt_wire_topic t = {0};

	f->o.queues += 2;
	fill_topic(f, &t);
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			say(&f->sessions[i], LT_OP_EV_TOPIC, &t, sizeof(t),
			    NULL, 0);
}

static void
on_command(struct fake *f)
{
	int64_t result = 0;
	uint8_t cmd;

	must(read(f->ctl[1], &cmd, 1) == 1, "command");
	switch (cmd) {
	case FAKE_STOP:
		f->stopping = 1;
		break;
	case FAKE_STALL:
	case FAKE_GO:
		f->stalled = cmd == FAKE_STALL;
		break;
	case FAKE_NEW_PAGE:
		restart_store(f);
		break;
	case FAKE_HANG_UP:
		hang_up(f);
		break;
	case FAKE_NEW_BOOT:
		new_boot(f);
		break;
	case FAKE_LOG_SILENTLY:
		for (int i = 0; i < MAX_SESSIONS; i++)
			if (f->sessions[i].live)
				result += drain(f, &f->sessions[i], 0);
		break;
	case FAKE_GROW_TOPIC:
		grow_topic(f);
		break;
	case FAKE_RETURN:
		return_claims(f);
		break;
	case FAKE_LOSE_FETCH:
		f->lose_fetch = 1;
		break;
	case FAKE_FETCHES:
		result = f->fetches;
		break;
	case FAKE_FETCHED:
		result = f->fetched;
		break;
	case FAKE_REFUSE:
		f->refuse = 1;
		break;
	default:
		result = f->log_count;
		break;
	}
	must(write(f->ctl[1], &result, sizeof(result)) == sizeof(result),
	    "command");
}

/* --- loop
 * ---------------------------------------------------------------------- */

static void
on_socket(struct fake *f, int sock, struct session *s)
{
	int fds[LT_FDPASS_MAX], is_reply, status;
	size_t bytes, n;

	status = lt_fdpass_recv(
	    sock, f->rx, sizeof(f->rx), &bytes, fds, &n, MSG_DONTWAIT);
	if (status == LEAT_E_AGAIN)
		return;
	if (status != LEAT_OK) {
		close(sock);
		if (s != NULL)
			s->sock = -1;
		return;
	}
	OK(lt_wire_check(f->rx, bytes, 'C', 'Q', &is_reply));
	if (s == NULL)
		on_hello(f, sock);
	else
		on_message(f, s);
}

static void
doze(struct fake *f)
{
	struct lt_beacon_shared *b = f->beacon_seg.base;
	struct pollfd p[2 + 2 * MAX_SESSIONS];
	struct session *who[2 + 2 * MAX_SESSIONS];
	nfds_t n = 2;
	int sock;

	p[0] = (struct pollfd){.fd = f->listener, .events = POLLIN};
	p[1] = (struct pollfd){.fd = f->ctl[1], .events = POLLIN};
	for (int i = 0; i < MAX_SESSIONS; i++) {
		struct session *s = &f->sessions[i];

		if (!s->live)
			continue;
		who[n] = s;
		p[n++] = (struct pollfd){.fd = s->sock, .events = POLLIN};
		who[n] = s;
		p[n++] = (struct pollfd){.fd = s->to_store, .events = POLLIN};
	}
	atomic_store_explicit(&b->sleeping, 1, memory_order_relaxed);
	lt_doorbell_fence();
	if (f->stalled || sweep(f) == 0)
		(void)poll(p, n, 100);
	else
		(void)poll(p, n, 0);
	atomic_store_explicit(&b->sleeping, 0, memory_order_relaxed);
	for (nfds_t i = 2; i < n; i++) {
		if (p[i].revents == 0 || !who[i]->live)
			continue;
		if (p[i].fd == who[i]->to_store)
			lt_doorbell_drain(p[i].fd);
		else if (p[i].fd == who[i]->sock)
			on_socket(f, p[i].fd, who[i]);
	}
	if (p[1].revents != 0)
		on_command(f);
	if (p[0].revents != 0) {
		sock = accept(f->listener, NULL, NULL);
		if (sock >= 0) {
			struct pollfd first = {sock, POLLIN, 0};

			(void)poll(&first, 1, 2000);
			on_socket(f, sock, NULL);
		}
	}
}

static void *
run(void *arg)
{
	struct fake *f = arg;

	while (!f->stopping) {
		if (!f->stalled)
			(void)sweep(f);
		doze(f);
	}
	return NULL;
}

struct fake *
fake_start(const struct fake_options *options)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	f->o = *options;
	if (f->o.queues == 0)
		f->o.queues = 1;
	if (f->o.lane_bytes == 0)
		f->o.lane_bytes = 1 << 16;
	if (f->o.window == 0)
		f->o.window = 1024;
	f->boot = 100;
	f->next_session = 0xabc0;
	for (int i = 0; i < MAX_QUEUES; i++)
		f->queues[i].ring_fd = -1;
	for (int i = 0; i < MAX_SESSIONS; i++)
		f->sessions[i].sock = -1;
	strcpy(f->dir, "/tmp/leat-fake-XXXXXX");
	must(mkdtemp(f->dir) != NULL, "mkdtemp");
	snprintf(f->path, sizeof(f->path), "%s/leat.sock", f->dir);
	strcpy(sun.sun_path, f->path);
	new_beacon(f);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	OK(bind(f->listener, (struct sockaddr *)&sun, sizeof(sun)));
	OK(listen(f->listener, 16));
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->ctl));
	OK(pthread_create(&f->thread, NULL, run, f));
	return f;
}

const char *
fake_path(const struct fake *f)
{
	return f->path;
}

int64_t
fake_do(struct fake *f, enum fake_cmd cmd)
{
	uint8_t byte = (uint8_t)cmd;
	int64_t result;

	must(write(f->ctl[0], &byte, 1) == 1, "write");
	must(
	    read(f->ctl[0], &result, sizeof(result)) == sizeof(result), "read");
	return result;
}

void
fake_stop(struct fake *f)
{
	(void)fake_do(f, FAKE_STOP);
	OK(pthread_join(f->thread, NULL));
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (f->sessions[i].live)
			end_session(f, &f->sessions[i], 0);
	new_boot(f);
	for (int i = 0; i < MAX_QUEUES; i++) {
		struct queue *q = &f->queues[i];

		for (int64_t k = 0; k < q->count; k++)
			free(q->items[k].record);
		free(q->items);
		if (q->ring_fd >= 0) {
			lt_segment_detach(&q->ring_seg);
			close(q->ring_fd);
		}
	}
	lt_segment_detach(&f->beacon_seg);
	close(f->beacon_fd);
	close(f->listener);
	close(f->ctl[0]);
	close(f->ctl[1]);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
}
