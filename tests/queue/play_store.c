/*
 * play_store.c - the store of the played world: a log in memory, read through
 * the calls of the store's read-only side, and its half of the wire. See
 * play.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "play_world.h"
#include "shm/counter.h"
#include "shm/page.h"

int64_t play_wall_step_ms;

int64_t
play_wall_ms(void)
{
	return 1700000000000 + (int64_t)play_now_ms + play_wall_step_ms;
}

void
play_drop_msg(struct play_msg *msg)
{
	for (size_t i = 0; i < msg->fd_count; i++)
		if (msg->fds[i] >= 0)
			close(msg->fds[i]);
	msg->fd_count = 0;
}

int
play_take(int sock, struct play_msg *msg)
{
	int status;

	play_drop_msg(msg);
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

static void
answer(const struct lt_wire *h, void *reply, size_t bytes, int status)
{
	int sent;

	lt_wire_reply(reply, h, bytes, 0, status);
	/* What does not fit waits until leat-queue has read. */
	while ((sent = lt_fdpass_send(
		    play_world.store, reply, bytes, NULL, 0)) == LEAT_E_AGAIN) {
		assert_false(play_world.frozen);
		lt_loop_round(play_manager(), 0);
	}
	assert_int_equal(sent, LEAT_OK);
}

static void
answer_awaits(void)
{
	struct lt_wire_none a;

	for (size_t i = play_world.await_count; i-- > 0;) {
		struct play_await w = play_world.awaits[i];

		if (w.queue->next <= w.offset)
			continue;
		play_world.awaits[i] =
		    play_world.awaits[--play_world.await_count];
		answer(&w.request, &a, sizeof(a), LEAT_OK);
	}
}

/* session 0: nobody in particular. */
static int64_t
append_as(const char *topic, const void *record, size_t bytes, int relayed,
    uint64_t session, uint64_t seq)
{
	struct play_record *r = &play_world.log[play_world.log_count];
	struct lt_record_stamp stamp = {
	    .log_offset = play_world.log_count << 20,
	    .store_ip = 0x7f000001,
	    .store_port = 10911,
	    .session = session != 0 ? session : 0x1122334455667788,
	    .seq = session != 0 ? seq : play_world.log_count + 1};
	struct play_queue *q;

	if (play_wall_ms() > play_world.store_ms)
		play_world.store_ms = play_wall_ms();
	stamp.store_ms = play_world.store_ms;
	assert_true(play_world.log_count < RECORDS);
	r->data = malloc(bytes);
	assert_non_null(r->data);
	memcpy(r->data, record, bytes);
	r->bytes = (uint32_t)bytes;
	assert_int_equal(lt_record_admit(r->data, bytes, topic, strlen(topic),
			     LT_QUEUES_MAX, relayed, &r->view),
	    LEAT_OK);
	q = play_queue_get(topic, r->view.queue);
	stamp.queue_offset = (uint64_t)q->next;
	lt_record_seal(r->data, &r->view, &stamp);
	assert_int_equal(lt_record_parse(r->data, bytes, &r->view), LEAT_OK);
	assert_int_equal(lt_record_check(&r->view), LEAT_OK);
	q->at[q->next] = play_world.log_count++;
	if (q->ring.base != NULL) {
		lt_ring_put(&q->writer, q->next, r->view.log_offset,
		    lt_record_tags_code(&r->view), r->data, r->bytes);
		lt_ring_commit(&q->writer);
	}
	set_counter(LT_STAT_store_log_end, play_world.log_count << 20);
	q->next++;
	if (play_world.store >= 0)
		answer_awaits();
	return q->next - 1;
}

static int64_t
append(const char *topic, const void *record, size_t bytes)
{
	return append_as(topic, record, bytes, 0, 0, 0);
}

static struct play_attached *
session_of(uint64_t id)
{
	for (size_t i = 0; i < play_world.session_count; i++)
		if (play_world.sessions[i].id == id)
			return &play_world.sessions[i];
	return NULL;
}

static void
session_drop_played(struct play_attached *s)
{
	lt_segment_detach(&s->lane);
	lt_segment_detach(&s->page);
	*s = play_world.sessions[--play_world.session_count];
}

static int
on_attach(const struct lt_wire_attach *a, const int *fds, size_t n)
{
	struct play_attached *s = session_of(a->session);
	struct lt_page_shared *old = NULL, *page;
	struct lt_segment seg;
	uint64_t head = 0;
	int reused;

	assert_int_equal(n, a->has_old ? 5 : 4);
	assert_int_equal(a->h.tail_bytes, a->topic_count * sizeof(uint32_t));
	if (s == NULL) {
		assert_true(play_world.session_count < SESSIONS);
		s = &play_world.sessions[play_world.session_count++];
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
on_watch(const struct lt_wire_watch *watch)
{
	struct play_attached *s = session_of(watch->session);
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
	struct play_queue *q =
	    play_queue_get(play_world.topics[r->topic], r->queue);
	struct lt_wire_range a;

	assert_int_equal(play_world.in.fd_count, 1);
	lt_segment_detach(&q->ring);
	assert_int_equal(lt_segment_attach(&q->ring, play_world.in.fds[0],
			     LT_SEGMENT_RING, 1, 0),
	    LEAT_OK);
	lt_ring_writer_init(&q->writer, &q->ring, q->next);
	memset(&a, 0, sizeof(a));
	a.max_offset = q->next;
	answer(h, &a, sizeof(a), LEAT_OK);
}

static int
refusal(void)
{
	int status = play_world.refuse;

	if (play_world.refuse_nth == 0)
		return status;
	if (--play_world.refuse_nth > 0)
		return LEAT_OK;
	play_world.refuse = LEAT_OK;
	return status;
}

static void
on_append_played(const struct lt_wire *h)
{
	const struct lt_wire_append *m = (const void *)h;
	int status = refusal();
	size_t bytes = m->h.tail_bytes + m->file_bytes;
	uint64_t *last =
	    m->session > 0 ? &play_world.levels[m->session - 1] : NULL;
	struct lt_wire_appended a;
	uint8_t *record = malloc(bytes);

	assert_non_null(record);
	memset(&a, 0, sizeof(a));
	memcpy(record, m + 1, m->h.tail_bytes);
	if (m->file_bytes > 0) {
		assert_int_equal(m->h.tail_bytes, 0);
		assert_int_equal(play_world.in.fd_count, 1);
		assert_int_equal(
		    pread(play_world.in.fds[0], record, bytes, 0), bytes);
	}
	if (status == LEAT_OK && last != NULL && m->prev != *last)
		status = LEAT_E_BUSY;
	if (status == LEAT_OK && play_world.topics[m->topic][0] == 0)
		status = LEAT_E_NOTFOUND;
	if (status == LEAT_OK)
		a.queue_offset = append_as(play_world.topics[m->topic], record,
		    bytes, last != NULL, m->session, m->seq);
	if (status == LEAT_OK && last != NULL)
		*last = m->seq;
	free(record);
	answer(h, &a, sizeof(a), status);
}

static void
on_await(const struct lt_wire_await *m)
{
	assert_true(play_world.await_count < LT_COUNT(play_world.awaits));
	play_world.awaits[play_world.await_count++] =
	    (struct play_await){.request = m->h,
		.queue = play_queue_get(play_world.topics[m->topic], m->queue),
		.offset = m->offset};
	answer_awaits();
}

static void
on_level(const struct lt_wire *h)
{
	const struct lt_wire_number *m = (const void *)h;
	struct lt_wire_number a;

	assert_in_range(m->number, 1, LT_LEVELS_MAX);
	memset(&a, 0, sizeof(a));
	a.number = m->number;
	a.value = play_world.levels[m->number - 1];
	answer(h, &a, sizeof(a), LEAT_OK);
}

static void
on_grant(const struct lt_wire_grant *g)
{
	struct play_attached *s = session_of(g->session);
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
	struct play_queue *q =
	    play_queue_find(play_world.topics[r->topic], r->queue);
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
	struct play_attached *s = session_of(m->number);
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
		assert_int_equal(play_world.in.fd_count, 1);
		lt_segment_detach(&s->lane);
		assert_int_equal(
		    lt_segment_attach(
			&s->lane, play_world.in.fds[0], LT_SEGMENT_LANE, 0, 1),
		    LEAT_OK);
	}
	answer(h, &a, sizeof(a), LEAT_OK);
}

static void
on_topic_played(const struct lt_wire_topic *t)
{
	assert_true(t->id < TOPICS);
	if (t->deleted) {
		play_world.topics[t->id][0] = 0;
		return;
	}
	memcpy(play_world.topics[t->id], t->name, sizeof(t->name));
}

static void
store_serve(const struct lt_wire *h)
{
	struct lt_wire_none none;

	play_world.got[h->op]++;
	switch (h->op) {
	case LT_OP_S_TOPIC:
		on_topic_played((const void *)h);
		break;
	case LT_OP_S_ATTACH: {
		struct lt_wire_attached a;
		int status = on_attach(
		    (const void *)h, play_world.in.fds, play_world.in.fd_count);

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
		    &play_queue_get(play_world.topics[r->topic], r->queue)
			 ->ring);
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
	case LT_OP_S_QUEUE_AWAIT:
		on_await((const void *)h);
		break;
	case LT_OP_S_LEVEL:
		on_level(h);
		break;
	case LT_OP_S_HOLD:
		play_world.hold = ((const struct lt_wire_number *)h)->number;
		break;
	case LT_OP_S_PING:
		answer(h, &none, sizeof(none), LEAT_OK);
		break;
	default:
		assert_int_equal(h->op, LT_OP_S_OPEN);
	}
}

void
play_store_forget(void)
{
	while (play_world.session_count > 0)
		session_drop_played(&play_world.sessions[0]);
	play_world.await_count = 0;
}

int
play_store_pump(void)
{
	int is_reply, n = 0;

	while (play_world.store >= 0 && !play_world.mute &&
	       play_take(play_world.store, &play_world.in) == LEAT_OK) {
		assert_int_equal(lt_wire_check(play_world.in.bytes,
				     play_world.in.size, 'Q', 'S', &is_reply),
		    LEAT_OK);
		store_serve((struct lt_wire *)play_world.in.bytes);
		n++;
		if (play_world.freeze_at != 0 &&
		    play_world.got[play_world.freeze_at] > 0) {
			play_world.freeze_at = 0;
			play_world.frozen = 1;
			break;
		}
	}
	return n;
}

void
play_store_greet(void)
{
	struct lt_wire_store_ready r;
	struct lt_wire_none beacon;
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_BEACON, .data_bytes = 4096};
	struct lt_segment seg;
	struct lt_wire_topic t;

	play_world.await_count = 0; /* of another queue manager */
	for (size_t i = 0; i < play_world.queue_count; i++) {
		memset(&t, 0, sizeof(t));
		lt_wire_init(&t.h, LT_OP_E_TOPIC, sizeof(t), 0, 0);
		memcpy(t.name, play_world.queues[i]->topic, sizeof(t.name));
		t.read_queues = t.write_queues =
		    play_world.queues[i]->queue + 1;
		assert_int_equal(
		    lt_fdpass_send(play_world.store, &t, sizeof(t), NULL, 0),
		    LEAT_OK);
	}
	if (play_world.beacon < 0) {
		assert_int_equal(lt_segment_create(&seg, "beacon", &head, 0,
				     &play_world.beacon),
		    LEAT_OK);
		lt_segment_detach(&seg);
	}
	lt_wire_init(&beacon.h, LT_OP_E_BEACON, sizeof(beacon), 0, 0);
	assert_int_equal(lt_fdpass_send(play_world.store, &beacon,
			     sizeof(beacon), &play_world.beacon, 1),
	    LEAT_OK);
	memset(&r, 0, sizeof(r));
	lt_wire_init(&r.h, LT_OP_E_READY, sizeof(r), 0, 0);
	r.store_gen = play_world.store_gen;
	assert_int_equal(
	    lt_fdpass_send(play_world.store, &r, sizeof(r), NULL, 0), LEAT_OK);
}

/* --- the store's view ---------------------------------------------------- */

int64_t
play_publish(const char *topic, uint32_t queue, const char *keys,
    const char *tag, const void *body, size_t bytes)
{
	struct lt_record_spec spec = {.topic = topic,
	    .topic_bytes = strlen(topic),
	    .queue = queue,
	    .born_ms = play_wall_ms(),
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

int64_t
play_relay(const char *topic, uint32_t queue, const char *text, int has_id,
    const void *body, size_t bytes)
{
	struct lt_record_spec spec = {.topic = topic,
	    .topic_bytes = strlen(topic),
	    .queue = queue,
	    .born_ms = 1234567890,
	    .born_ip = 0x0a000001,
	    .born_port = 4711,
	    .flag = 5,
	    .reconsume = 3,
	    .sys_flag = 1,
	    .text = text,
	    .text_bytes = strlen(text),
	    .has_id = has_id};
	size_t total = lt_record_bytes(&spec, bytes);
	uint8_t *record = malloc(total);
	int64_t offset;

	assert_non_null(record);
	memcpy(record + LT_RECORD_BODY_AT, body, bytes);
	total = lt_record_finish(record, &spec, bytes);
	offset = append_as(topic, record, total, 1, 0, 0);
	free(record);
	return offset;
}

const struct lt_record_view *
play_record(const char *topic, uint32_t queue, int64_t offset)
{
	struct play_queue *q = play_queue_find(topic, queue);

	return q == NULL || offset >= q->next
		   ? NULL
		   : &play_world.log[q->at[offset]].view;
}

void
play_damage(const char *topic, uint32_t queue, int64_t offset)
{
	play_world.log[play_queue_find(topic, queue)->at[offset]].damaged = 1;
}

void
play_resize(const char *topic, uint32_t queue, int64_t offset, uint32_t bytes)
{
	play_world.log[play_queue_find(topic, queue)->at[offset]].entry_bytes =
	    bytes;
}

void
play_heal(const char *topic, uint32_t queue, int64_t offset)
{
	play_world.log[play_queue_find(topic, queue)->at[offset]].damaged = 0;
}

/* Events of clients are served, the store's hang-up is not. */
void
play_store_die_unseen(void)
{
	struct lt_manager *m = play_manager();
	struct lt_conn *conn, *next;

	shutdown(play_world.store, SHUT_RDWR);
	for (conn = LIST_FIRST(&m->conns); conn != NULL; conn = next) {
		next = LIST_NEXT(conn, link);
		conn->port.source.ready(&conn->port.source, EPOLLIN);
	}
	play_store_kill();
}

void
play_unlink(const char *topic, uint32_t queue, int64_t first_kept)
{
	play_world.log_min =
	    (uint64_t)play_queue_find(topic, queue)->at[first_kept] << 20;
}

void
play_retain(const char *topic, uint32_t queue, int64_t first_kept)
{
	play_unlink(topic, queue, first_kept);
	set_counter(LT_STAT_store_log_min, play_world.log_min);
}

static void
send_number(enum lt_op op, uint64_t number)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, op, sizeof(msg), 0, 0);
	msg.number = number;
	assert_int_equal(
	    lt_fdpass_send(play_world.store, &msg, sizeof(msg), NULL, 0),
	    LEAT_OK);
	play_pump();
}
void
play_roll(void)
{
	send_number(LT_OP_E_ROLLED, 1u << 20);
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
	struct play_attached *s = session_of(session);

	for (size_t i = 0; s != NULL && i < s->topic_count; i++)
		if (s->topics[i] == topic)
			return 1;
	return 0;
}

int
play_is_watched(uint64_t session, uint32_t topic, uint32_t queue)
{
	struct play_attached *s = session_of(session);

	for (size_t i = 0; s != NULL && i < s->watch_count; i++)
		if (s->watched[i][0] == topic && s->watched[i][1] == queue)
			return 1;
	return 0;
}

unsigned
play_wakes(uint64_t session)
{
	struct play_attached *s = session_of(session);

	return s == NULL ? 0 : s->wakes;
}

int64_t
play_records(const char *topic)
{
	struct play_queue *q = play_queue_find(topic, 0);

	return q == NULL ? 0 : q->next;
}
