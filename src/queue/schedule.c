/*
 * schedule.c - delayed messages. Queue n - 1 of the schedule topic holds those
 * of delay level n, each as it was sent, with REAL_TOPIC and REAL_QID; within a
 * level they are due in order, so only the head of each queue is looked at.
 * What is due is appended once more, to where it belongs.
 *
 * How far a level has come is nowhere but in the log: a copy's identity is the
 * level (as session) and the offset it had in the queue, plus 1 (as sequence),
 * and the store takes a copy only behind the one before it. So nothing is
 * delivered twice or passed over, whoever dies: who comes next asks the store
 * for the last sequence, which recovery finds as it finds a client's. (A copy
 * lies behind its original in the log: whatever retention takes, it takes the
 * original first.)
 *
 *   RESTING -> ASKED: position, then the queue's end -> HEAD, or nothing there:
 *   ASKED: until the queue grows -> HEAD -> due: SENDING -> HEAD ...
 *   A refusal: PAUSED, then from the beginning.
 */
#include "config.h"
#include "queue/schedule.h"
#include "queue/arrival.h"
#include "queue/queue.h"

#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/name.h"
#include "proto/properties.h"
#include "proto/record.h"
#include "shm/counter.h"
#include "store/consumequeue.h"
#include "store/reader.h"

#define IO_TRIES 60 /* a second apart */
#define WINDOW 64 /* copies of a level on their way, and in one turn */
#define TURN_BYTES (1u << 20)
#define PAUSE_MS 1000
#define INLINE_MAX 49152 /* a larger record goes as a file */
#define SYS_RELAYED 0x703u /* compression and multi-tag bits */

enum state {
	RESTING,
	ASKED,
	HEAD,
	SENDING,
	PAUSED
};
struct level {
	enum state state;
	int64_t delay_ms;
	int64_t next; /* the oldest that may not be delivered */
	int64_t head; /* the oldest not sent */
	int64_t known; /* below, entries are in the files */
	uint64_t last; /* sequence of the newest copy sent */
	int64_t at_ms; /* HEAD: it is due; PAUSED: go on */
	uint64_t hold; /* what waits lies from here on in the log */
	unsigned calls;
	int failed; /* status of a copy that was refused */
	int64_t failed_at; /* the oldest such */
	int64_t hopeless; /* offset that is refused for good; -1 */
	unsigned io_tries; /* of the head, that the disk did not give */
	uint64_t dropped; /* in this turn */
};
struct lt_schedule {
	struct level levels[LT_LEVELS_MAX];
	struct lt_arrivals arrivals;
	uint32_t topic;
	uint32_t epoch; /* answers to what was asked before are not heeded */
	unsigned first; /* whose turn it is */
	uint64_t held; /* as the store was told */
	char text[LT_PROPERTIES_MAX];
};

static void ask_end(struct lt_manager *m, unsigned i);

void
lt_schedule_topic(struct lt_topic *out)
{
	memset(out, 0, sizeof(*out));
	out->read_queues = out->write_queues = LT_LEVELS_MAX;
	out->perm = LEAT_PERM_BOTH;
	out->system = 1;
	(void)lt_bytes_field(
	    out->name, sizeof(out->name), LT_NAME_SCHEDULE_TOPIC);
}

/* --- what is asked of the store ------------------------------------------ */

static uint64_t
ticket(const struct lt_manager *m, unsigned i)
{
	return (uint64_t)m->schedule->epoch << 32 | i;
}

/* The level an answer is for; NULL: nobody waits for it any more. */
static struct level *
asked_by(struct lt_manager *m, uint64_t number)
{
	struct lt_schedule *s = m->schedule;

	if (s == NULL || s->epoch != number >> 32)
		return NULL;
	return &s->levels[(uint32_t)number];
}

static void
pause_level(struct level *l, int64_t ms)
{
	l->state = PAUSED;
	l->at_ms = (int64_t)lt_clock_mono_ms() + ms;
}

static void
on_growth(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct level *l = asked_by(m, number);

	if (l != NULL && status == LEAT_OK)
		ask_end(m, (uint32_t)number);
	else if (l != NULL)
		pause_level(l, PAUSE_MS);
}

static void
ask_growth(struct lt_manager *m, unsigned i)
{
	struct level *l = &m->schedule->levels[i];
	struct lt_wire_await msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_QUEUE_AWAIT, sizeof(msg), 0, 0);
	msg.topic = m->schedule->topic;
	msg.queue = i;
	msg.offset = l->next;
	l->state = ASKED;
	lt_storelink_call(
	    m, &msg, sizeof(msg), NULL, 0, on_growth, ticket(m, i), NULL);
}

/* Everything up to l->next is done. */
static void
go_on(struct lt_manager *m, unsigned i, int64_t due_ms)
{
	struct level *l = &m->schedule->levels[i];

	l->head = l->next;
	if (l->next >= l->known) {
		l->hold = UINT64_MAX;
		ask_growth(m, i);
		return;
	}
	l->state = HEAD;
	l->at_ms = due_ms;
}

static void
on_end(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct level *l = asked_by(m, number);
	unsigned i = (uint32_t)number;
	struct lt_topic *t;
	struct lt_qref *q;
	int64_t min;

	if (l == NULL)
		return;
	t = lt_topic_by_id(m, m->schedule->topic);
	q = lt_ringset_find(m, m->schedule->topic, i);
	if (status != LEAT_OK || t == NULL || q == NULL) {
		pause_level(l, PAUSE_MS);
		return;
	}
	l->known = q->synced;
	min = lt_ringset_min(m, q, t);
	if (l->next < min) {
		if (l->next > 0)
			lt_log_warn("delayed-lost",
			    "level=%u from=%lld to=%lld", i + 1,
			    (long long)l->next, (long long)min);
		l->next = min;
	}
	go_on(m, i, 0);
}

static void
ask_end(struct lt_manager *m, unsigned i)
{
	const struct lt_topic *t = lt_topic_by_id(m, m->schedule->topic);

	if (t == NULL) {
		pause_level(&m->schedule->levels[i], PAUSE_MS);
		return;
	}
	m->schedule->levels[i].state = ASKED;
	lt_storelink_range(m, t, i, on_end, ticket(m, i));
}

static void
on_position(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	const struct lt_wire_number *r = (const void *)reply;
	struct level *l = asked_by(m, number);

	if (l == NULL)
		return;
	if (status != LEAT_OK || r->value > LT_CQ_OFFSET_MAX) {
		pause_level(l, PAUSE_MS);
		return;
	}
	l->last = r->value;
	if (l->next < (int64_t)r->value)
		l->next = (int64_t)r->value;
	ask_end(m, (uint32_t)number);
}

static void
ask_position(struct lt_manager *m, unsigned i)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_LEVEL, sizeof(msg), 0, 0);
	msg.number = i + 1;
	m->schedule->levels[i].state = ASKED;
	lt_storelink_call(
	    m, &msg, sizeof(msg), NULL, 0, on_position, ticket(m, i), NULL);
}

/* --- delivering ---------------------------------------------------------- */

/* What will be refused again however often it is tried. */
static int
is_final(int status)
{
	return status == LEAT_E_NOTFOUND || status == LEAT_E_TOOBIG ||
	       status == LEAT_E_QUEUE || status == LEAT_E_CORRUPT ||
	       status == LEAT_E_INVALID;
}

static void
on_copy(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct level *l = asked_by(m, number);
	int64_t offset = (int64_t)(uintptr_t)user;

	if (l == NULL)
		return;
	LT_ASSERT(l->state == SENDING && l->calls > 0);
	if (status == LEAT_OK)
		lt_stat_add(queue_delayed, 1);
	else if (l->failed == LEAT_OK || offset < l->failed_at) {
		l->failed = status;
		l->failed_at = offset;
	}
	if (--l->calls > 0)
		return;
	if (l->failed == LEAT_OK) {
		l->next = l->head;
		go_on(m, (uint32_t)number, 0);
		return;
	}
	if (is_final(l->failed))
		l->hopeless = l->failed_at;
	else
		lt_log_warn("delayed-refused", "level=%u status=\"%s\"",
		    (uint32_t)number + 1, leat_status_text(l->failed));
	pause_level(l, is_final(l->failed) ? 0 : PAUSE_MS);
	l->failed = LEAT_OK;
}

/* The record in a file of memory. A descriptor, or -1. */
static int
make_file(const void *record, size_t bytes)
{
	int fd = lt_sys.memfd_create("leat-delayed", MFD_CLOEXEC);

	if (fd >= 0 && lt_sys_write_full(fd, record, bytes, 0) != LEAT_OK) {
		(void)lt_sys.close(fd);
		fd = -1;
	}
	return fd;
}

static int
send_copy(struct lt_manager *m, unsigned i, const struct lt_topic *to,
    const struct lt_record_spec *spec, const struct lt_record_view *v)
{
	struct level *l = &m->schedule->levels[i];
	size_t bytes = lt_record_bytes(spec, v->body_bytes), tail = bytes;
	struct lt_wire_append *msg;
	uint8_t *record;
	int fd = -1;

	if (bytes == 0)
		return LEAT_E_INVALID;
	msg = lt_mem_resize(NULL, sizeof(*msg) + bytes);
	if (msg == NULL)
		return LEAT_E_NOMEM;
	record = lt_wire_tail(msg, sizeof(*msg));
	memcpy(record + LT_RECORD_BODY_AT, v->body, v->body_bytes);
	(void)lt_record_finish(record, spec, v->body_bytes);
	if (bytes > INLINE_MAX) {
		fd = make_file(record, bytes);
		if (fd < 0) {
			lt_mem_free(msg);
			return LEAT_E_NOMEM;
		}
		tail = 0;
	}
	memset(msg, 0, sizeof(*msg));
	lt_wire_init(&msg->h, LT_OP_S_APPEND, sizeof(*msg), tail, 0);
	msg->topic = to->id;
	msg->level = LEAT_LOGGED; /* a lost copy is made again */
	msg->session = i + 1;
	msg->prev = l->last;
	msg->seq = l->last = (uint64_t)l->head + 1;
	msg->file_bytes = bytes - tail;
	l->calls++;
	lt_storelink_call(m, msg, sizeof(*msg) + tail, &fd, fd >= 0, on_copy,
	    ticket(m, i), (void *)(uintptr_t)l->head);
	lt_mem_free(msg);
	if (fd >= 0)
		(void)lt_sys.close(fd);
	return LEAT_OK;
}

static int
find_number(const struct lt_record_view *v, const char *name, uint32_t *out)
{
	const char *p;
	size_t bytes;
	uint64_t n = 0;

	if (lt_record_property(v, name, strlen(name), &p, &bytes) != LEAT_OK ||
	    bytes > 9)
		return LEAT_E_INVALID;
	for (size_t i = 0; i < bytes; i++) {
		if (p[i] < '0' || p[i] > '9')
			return LEAT_E_INVALID;
		n = n * 10 + (uint64_t)(p[i] - '0');
	}
	*out = (uint32_t)n;
	return LEAT_OK;
}

/* The message to where it belongs: itself but for place and identity. */
static int
deliver(struct lt_manager *m, unsigned i, const struct lt_record_view *v)
{
	static const struct lt_properties_name ours[] = {
	    LT_PROPERTIES_NAME("LEAT_SEQ", 0),
	    LT_PROPERTIES_NAME("__CRC32#", 0),
	};
	struct lt_schedule *s = m->schedule;
	struct lt_record_spec spec = {.flag = v->flag,
	    .born_ms = v->born_ms,
	    .sys_flag = v->sys_flag & SYS_RELAYED,
	    .reconsume = v->reconsume,
	    .born_ip = lt_bytes_get32(v->base + 48),
	    .born_port = lt_bytes_get32(v->base + 52),
	    .text = s->text};
	const char *p;
	char name[LT_NAME_FIELD];
	struct lt_topic *to;
	size_t bytes;

	if (lt_record_property(v, "REAL_TOPIC", 10, &p, &bytes) != LEAT_OK ||
	    bytes >= sizeof(name) ||
	    find_number(v, "REAL_QID", &spec.queue) != LEAT_OK)
		return LEAT_E_INVALID;
	memcpy(name, p, bytes);
	name[bytes] = '\0';
	to = lt_topic_find(m, name);
	if (to == NULL || to->system)
		return LEAT_E_NOTFOUND;
	spec.topic = to->name;
	spec.topic_bytes = bytes;
	spec.queue %= to->write_queues;
	if (lt_properties_measure(v->props, v->props_bytes, ours,
		LT_COUNT(ours), &spec.text_bytes) != LEAT_OK ||
	    spec.text_bytes > sizeof(s->text))
		return LEAT_E_INVALID;
	(void)lt_properties_copy(
	    s->text, v->props, v->props_bytes, ours, LT_COUNT(ours));
	spec.has_id =
	    lt_record_property(v, "UNIQ_KEY", 8, &p, &bytes) == LEAT_OK;
	return send_copy(m, i, to, &spec, v);
}

static int
read_record(
    struct lt_manager *m, const struct lt_cq_entry *e, struct lt_record_view *v)
{
	int status;

	if (e->bytes == 0)
		return LEAT_E_NOTFOUND;
	status = lt_reader_get(m->reader, (uint64_t)e->log_offset, v);
	if (status != LEAT_E_NOTFOUND)
		return status;
	(void)!lt_reader_refresh(m->reader);
	return lt_reader_get(m->reader, (uint64_t)e->log_offset, v);
}

static uint64_t
log_end(const struct lt_manager *m)
{
	return lt_counter_read(&m->counters, LT_STAT_store_log_end);
}

/* The head: LEAT_OK and sent or dropped; END: not due before l->at_ms; or this
 * is no time for it. */
static int
take_head(struct lt_manager *m, unsigned i, const struct lt_cq_entry *e,
    int64_t now_ms, size_t *bytes)
{
	struct level *l = &m->schedule->levels[i];
	struct lt_record_view v;
	int status = read_record(m, e, &v);

	if (status == LEAT_OK) {
		/* A millisecond more, since both clocks were cut to one. */
		l->at_ms = lt_arrival_of(&m->schedule->arrivals, log_end(m),
			       (uint64_t)e->log_offset, v.store_ms) +
			   l->delay_ms + 1;
		if (l->at_ms > now_ms)
			return LEAT_E_END;
		*bytes += v.bytes;
		status =
		    l->hopeless == l->head ? LEAT_E_INVALID : deliver(m, i, &v);
	}
	/* It may come yet: a second later, and again. */
	if (status == LEAT_E_NOMEM ||
	    (status == LEAT_E_IO && l->io_tries++ < IO_TRIES))
		return status;
	l->io_tries = 0;
	if (status != LEAT_OK) {
		if (!lt_storelink_alive(m))
			return LEAT_E_UNREACHABLE;
		l->dropped++;
	}
	l->head++;
	return LEAT_OK;
}

/* What is due of a level, up to max; how many were looked at. */
static unsigned
run(struct lt_manager *m, unsigned i, int64_t now_ms, unsigned max)
{
	struct level *l = &m->schedule->levels[i];
	struct lt_cq_entry entries[WINDOW];
	int64_t left = l->known - l->head, due = 0;
	size_t n, bytes = 0, want = left < max ? (size_t)left : max;
	unsigned k = 0;
	int status;

	status = lt_cq_view_read(
	    m->view, LT_NAME_SCHEDULE_TOPIC, i, l->head, entries, want, &n);
	if (status == LEAT_OK && n == 0)
		status = LEAT_E_NOTFOUND;
	if (status == LEAT_OK && entries[0].bytes > 0)
		l->hold = (uint64_t)entries[0].log_offset;
	while (status == LEAT_OK && k < n && bytes < TURN_BYTES) {
		status = take_head(m, i, &entries[k], now_ms, &bytes);
		k += status == LEAT_OK;
	}
	if (status == LEAT_E_END) {
		due = l->at_ms;
		status = LEAT_OK;
	}
	if (l->dropped > 0) {
		lt_log_warn("delayed-dropped", "level=%u count=%llu to=%lld",
		    i + 1, (unsigned long long)l->dropped, (long long)l->head);
		lt_stat_add(queue_delayed_dropped, l->dropped);
		l->dropped = 0;
	}
	if (l->calls > 0) {
		l->state = SENDING;
		return k;
	}
	l->next = l->head;
	if (status != LEAT_OK)
		pause_level(l, PAUSE_MS);
	else
		go_on(m, i, due);
	return k;
}

/* --- time, life ---------------------------------------------------------- */

/* Retention leaves alone what waits. A new segment makes a difference. */
static void
hold(struct lt_manager *m)
{
	struct lt_schedule *s = m->schedule;
	uint64_t from = UINT64_MAX,
		 segment = lt_reader_segment_bytes(m->reader);
	struct lt_wire_number msg;

	for (unsigned i = 0; i < LT_LEVELS_MAX; i++)
		if (s->levels[i].hold < from)
			from = s->levels[i].hold;
	if (from != UINT64_MAX && segment > 0)
		from -= from % segment;
	if (from == s->held)
		return;
	s->held = from;
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_HOLD, sizeof(msg), 0, 0);
	msg.number = from;
	lt_storelink_send(m, &msg, sizeof(msg));
}

void
lt_schedule_timer(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_schedule *s = m->schedule;
	unsigned budget = WINDOW;

	if (s == NULL || m->phase != LT_PHASE_UP || m->stopping)
		return;
	lt_arrival_look(&s->arrivals, log_end(m));
	for (unsigned k = 0; k < LT_LEVELS_MAX && budget > 0; k++) {
		unsigned i = (s->first + k) % LT_LEVELS_MAX;
		struct level *l = &s->levels[i];

		if (l->at_ms > (int64_t)now_ms)
			continue;
		if (l->state == PAUSED)
			ask_position(m, i);
		else if (l->state == HEAD)
			budget -= run(m, i, (int64_t)now_ms, budget);
	}
	s->first++;
	hold(m);
}

int
lt_schedule_timeout(const struct lt_manager *m, uint64_t now_ms)
{
	const struct lt_schedule *s = m->schedule;
	int64_t at = INT64_MAX;

	if (s == NULL || m->phase != LT_PHASE_UP || m->stopping)
		return -1;
	for (unsigned i = 0; i < LT_LEVELS_MAX; i++) {
		const struct level *l = &s->levels[i];

		if ((l->state == HEAD || l->state == PAUSED) && l->at_ms < at)
			at = l->at_ms;
	}
	if (at == INT64_MAX)
		return -1; /* nothing waits: nobody has to know the time */
	if (lt_arrival_next_ms(&s->arrivals) < at)
		at = lt_arrival_next_ms(&s->arrivals);
	return at <= (int64_t)now_ms ? 0 : (int)(at - (int64_t)now_ms);
}

static int
make(struct lt_manager *m)
{
	struct lt_schedule *s = lt_mem_alloc(sizeof(*s));
	uint64_t ms[LT_LEVELS_MAX];
	size_t n = lt_options_delays(m->options.queue_delay_levels, ms);

	if (s == NULL)
		return LEAT_E_NOMEM;
	LT_ASSERT(n > 0);
	for (size_t i = 0; i < LT_LEVELS_MAX; i++) {
		struct level *l = &s->levels[i];

		l->delay_ms = (int64_t)ms[i < n ? i : n - 1];
		l->hopeless = -1;
		if (l->delay_ms > s->arrivals.every_ms)
			s->arrivals.every_ms = l->delay_ms;
	}
	s->arrivals.every_ms = s->arrivals.every_ms / LT_ARRIVAL_NOTES + 100;
	m->schedule = s;
	return LEAT_OK;
}

void
lt_schedule_up(struct lt_manager *m)
{
	struct lt_topic *t = lt_topic_find(m, LT_NAME_SCHEDULE_TOPIC);
	struct lt_topic all;

	if (t == NULL)
		return;
	if (m->schedule == NULL && make(m) != LEAT_OK)
		lt_manager_fatal("out of memory");
	if (t->write_queues < LT_LEVELS_MAX) {
		/* Found in the log, where only some levels had been used. */
		lt_schedule_topic(&all);
		all.id = t->id;
		all.seen = 1;
		if (lt_topic_put(m, &all) != LEAT_OK)
			lt_manager_fatal("out of memory");
		lt_topic_announce(m, t);
		lt_state_log_seen(m, t);
	}
	m->schedule->topic = t->id;
	m->schedule->held = 0; /* so a store begins that knows the topic */
	m->schedule->epoch++;
	for (unsigned i = 0; i < LT_LEVELS_MAX; i++) {
		m->schedule->levels[i].calls = 0;
		m->schedule->levels[i].hold = 0;
		m->schedule->levels[i].failed = LEAT_OK;
		ask_position(m, i);
	}
}

void
lt_schedule_store_gone(struct lt_manager *m)
{
	if (m->schedule == NULL)
		return;
	m->schedule->epoch++;
	for (unsigned i = 0; i < LT_LEVELS_MAX; i++)
		m->schedule->levels[i].state = RESTING;
}

void
lt_schedule_fini(struct lt_manager *m)
{
	lt_mem_free(m->schedule);
	m->schedule = NULL;
}
