/*
 * admit_fuzz.c - what a client may send to leat-queue: any requests in any
 * order, forged and broken ones too, from a user with rights on some topics
 * only, who comes and goes. The queue manager, whole, with store and supervisor
 * played in this process, answers in form or closes the connection, gives him
 * nothing of what is not his, and another client's stream goes on.
 *
 * Input: steps, each a byte and what it needs (act()). The world lives on from
 * input to input, and is made anew before it fills up.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../queue/play_world.h"
#include "../support/memfds.h"
#include "base/fdpass.h"
#include "leat/leat.h"

#define FUZZ_NAME "admit"
#define FUZZ_RUNS 2000
#include "drive.h"

#define STRANGER 4242 /* his user id */
#define STEPS 24 /* of an input */
#define SUBS 4 /* of his that are remembered */
#define NONE UINT64_MAX

/* Requests, and where in them names and numbers of what there is may stand. */
static const struct {
	uint16_t op;
	uint16_t names[2]; /* 0: none */
	uint16_t number, number_bytes;
} forms[] = {
#define NAME(op, type, field)                                                  \
	{                                                                      \
		op, {offsetof(struct type, field)}, 0, 0                       \
	}
#define NUMBER(op, type, field)                                                \
	{                                                                      \
		op, {0, 0}, offsetof(struct type, field),                      \
		    sizeof(((struct type *)NULL)->field)                       \
	}
    NUMBER(LT_OP_HELLO, lt_wire_hello, session),
    {LT_OP_PING, {0, 0}, 0, 0},
    {LT_OP_BYE, {0, 0}, 0, 0},
    NUMBER(LT_OP_LANE, lt_wire_number, number),
    NAME(LT_OP_TOPIC_OPEN, lt_wire_topic_open, name),
    NAME(LT_OP_TOPIC_CREATE, lt_wire_topic, name),
    NAME(LT_OP_TOPIC_UPDATE, lt_wire_topic, name),
    NAME(LT_OP_TOPIC_DELETE, lt_wire_name, name),
    NAME(LT_OP_TOPIC_LIST, lt_wire_name, name),
    NAME(LT_OP_QUEUE_RANGE, lt_wire_queue, name),
    {LT_OP_SUBSCRIBE,
	{offsetof(struct lt_wire_subscribe, topic),
	    offsetof(struct lt_wire_subscribe, group)},
	offsetof(struct lt_wire_subscribe, old_id), 8},
    NUMBER(LT_OP_UNSUBSCRIBE, lt_wire_number, number),
    NUMBER(LT_OP_FETCH, lt_wire_fetch, topic),
    NUMBER(LT_OP_COMMIT, lt_wire_commit, id),
    NUMBER(LT_OP_RING_GROW, lt_wire_number, number),
    NAME(LT_OP_GROUP_LIST, lt_wire_group, group),
    {LT_OP_GROUP_SEEK,
	{offsetof(struct lt_wire_seek, topic),
	    offsetof(struct lt_wire_seek, group)},
	0, 0},
    NAME(LT_OP_GROUP_DELETE, lt_wire_name, name),
    {LT_OP_GROUP_SET,
	{offsetof(struct lt_wire_group_set, topic),
	    offsetof(struct lt_wire_group_set, group)},
	0, 0},
    NAME(LT_OP_GROUP_UNSET, lt_wire_name, name),
    NAME(LT_OP_GROUP_SETTINGS, lt_wire_group, group),
    NAME(LT_OP_FIND, lt_wire_find, topic),
    {LT_OP_STATUS, {0, 0}, 0, 0},
    {LT_OP_GRANT_ADD,
	{offsetof(struct lt_wire_rule, pattern),
	    offsetof(struct lt_wire_rule, who)},
	offsetof(struct lt_wire_rule, rights), 4},
    {LT_OP_GRANT_REMOVE,
	{offsetof(struct lt_wire_rule, pattern),
	    offsetof(struct lt_wire_rule, who)},
	offsetof(struct lt_wire_rule, rights), 4},
    NUMBER(LT_OP_GRANT_LIST, lt_wire_number, number),
    NAME(LT_OP_GRANT_TEST, lt_wire_rule, pattern),
    NUMBER(LT_OP_AUDIT, lt_wire_audit, count),
};

static const char *const names[] = {"orders", "t1", "t2", "t3", "g1", "g2",
    "good", "%DLQ%g1", "%RETRY%g1", "rmq_sys_leat_config", "t/", "",
    "t0123456789012345678901234567890123456789"};

static struct play_client good, bad;
static struct play_sub sub; /* of the good one */
static uint32_t orders; /* topic id */
static uint64_t own[SUBS];
static size_t own_count;
static struct lt_segment table; /* of his last subscription */
static uint64_t sent; /* by the good one */
static int is_up;
static unsigned since; /* inputs of this world */

/* The played supervisor's descriptor, before anybody else opens a file. */
__attribute__((constructor)) static void
reserve(void)
{
	while (fcntl(3, F_GETFD) < 0)
		LT_ASSERT(open("/dev/null", O_RDONLY) >= 0);
}

/* --- the world ------------------------------------------------------------ */

static void
leave(void)
{
	lt_segment_detach(&table);
	memset(&table, 0, sizeof(table));
	play_close(&bad);
}

static void
stop(void)
{
	leave();
	play_sub_fini(&sub);
	play_close(&good);
	play_fini();
	is_up = 0;
	LT_ASSERT(memfds_open() == 0);
}

static void
at_exit(void)
{
	if (is_up)
		stop();
}

static void
grant(enum lt_access_what what, const char *pattern, unsigned rights)
{
	struct lt_access_rule *rule =
	    &play_options.access[play_options.access_count++];

	rule->who.kind = LT_PRINCIPAL_ANY;
	rule->what = what;
	rule->rights = rights;
	strcpy(rule->pattern, pattern);
}

static void
start(void)
{
	static int is_registered;
	unsigned all = LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_MANAGE;

	memfds_mount();
	play_init();
	play_options.queue_group_window = LT_GROUP_WINDOW_MIN; /* swept often */
	grant(LT_ACCESS_TOPIC, "t*", all);
	grant(LT_ACCESS_GROUP, "g?", all);
	play_queue_start();
	play_store_start();
	play_connect(&good);
	LT_ASSERT(play_hello(&good) == LEAT_OK);
	LT_ASSERT(play_create(&good, "orders", 2) == LEAT_OK);
	LT_ASSERT(play_subscribe(&good, &sub, "orders", 0, "good",
		      LEAT_CLUSTERING, "", LEAT_FROM_BEGIN, 0) == LEAT_OK);
	orders = sub.topic_id;
	sent = 0;
	memset(&bad, 0, sizeof(bad));
	bad.fd = bad.lane_fd = bad.page_fd = -1;
	memset(own, 0, sizeof(own));
	own_count = 0;
	is_up = 1;
	since = 0;
	if (!is_registered)
		atexit(at_exit);
	is_registered = 1;
}

static int
is_filling_up(void)
{
	return since > 500 || play_world.log_count > RECORDS / 2 ||
	       play_world.queue_count > QUEUES / 2 ||
	       play_world.kept_count > KEPTS / 2 ||
	       play_world.session_count > SESSIONS / 2 ||
	       play_manager()->next_topic > TOPICS - 2 * STEPS;
}

/* As play_pump(), but that timers and the supervisor wait. */
static void
turn(void)
{
	while (lt_loop_round(play_manager(), 0) + play_store_pump() > 0)
		;
}

/* --- the stranger --------------------------------------------------------- */

static void
learn(struct play_msg *in)
{
	const struct lt_wire *h = (const void *)in->bytes;
	const struct lt_wire_subscribed *r = (const void *)in->bytes;
	const struct lt_wire_welcome *w = (const void *)in->bytes;

	if (h->status != LEAT_OK)
		return;
	if (h->op == LT_OP_HELLO) {
		bad.session = w->session;
		bad.boot = w->boot;
		memcpy(bad.token, w->token, sizeof(bad.token));
	}
	if (h->op != LT_OP_SUBSCRIBE)
		return;
	LT_ASSERT(r->topic_id != orders);
	own[own_count++ % SUBS] = r->id;
	if (!r->has_table)
		return;
	lt_segment_detach(&table);
	LT_ASSERT(lt_segment_attach(&table, in->fds[r->has_ring],
		      LT_SEGMENT_TABLE, 1, 1) == LEAT_OK);
}

/* What he is told, as the client library would read it. */
static void
listen_up(void)
{
	static struct play_msg in;
	int is_reply, status;

	while (bad.fd >= 0) {
		status = lt_fdpass_recv(bad.fd, in.bytes, sizeof(in.bytes),
		    &in.size, in.fds, &in.fd_count, MSG_DONTWAIT);
		if (status == LEAT_E_AGAIN)
			return;
		if (status != LEAT_OK) {
			leave();
			return;
		}
		/* Who speaks another version hears of it in ours. */
		status = lt_wire_check(in.bytes, in.size, 'Q', 'C', &is_reply);
		LT_ASSERT(
		    status == LEAT_OK ||
		    ((struct lt_wire *)in.bytes)->status == LEAT_E_VERSION);
		if (status == LEAT_OK && is_reply)
			learn(&in);
		play_drop_msg(&in);
	}
}

static void
come(int is_resumed)
{
	struct lt_wire_hello req;
	struct play_client was = bad;
	struct lt_session *s;

	leave();
	/* Or back within its grace; it never passes here. */
	s = is_resumed ? NULL : lt_session_find(play_manager(), was.session);
	if (s != NULL && was.session != good.session)
		lt_session_end(s, LEAT_E_CLOSED);
	play_connect_as(&bad, STRANGER);
	LT_ASSERT(fcntl(bad.fd, F_SETFL, O_NONBLOCK) == 0);
	memset(&req, 0, sizeof(req));
	if (is_resumed) {
		req.session = was.session;
		req.boot = was.boot;
		memcpy(req.token, was.token, sizeof(req.token));
	}
	req.lane_bytes = LT_LANE_MIN;
	play_post(&bad, LT_OP_HELLO, &req, sizeof(req));
	turn();
	listen_up();
}

static void
say(const void *p, size_t bytes, int has_fd)
{
	if (bad.fd < 0)
		come(0);
	if (bytes == 0) { /* reads like an end */
		(void)!send(bad.fd, p, 0, MSG_NOSIGNAL);
		return;
	}
	(void)!lt_fdpass_send(
	    bad.fd, p, bytes, &play_world.counter_fd, has_fd != 0);
}

/* Numbers that mean something here. */
static uint64_t
number_of(unsigned n)
{
	const uint64_t known[] = {orders, sub.id, good.session, bad.session,
	    own[0], own[1], own[2], own[3], orders + 1, orders + 2, 0,
	    LT_LANE_MIN * 2, UINT64_MAX};

	return n == 0 ? NONE : known[n % LT_COUNT(known)];
}

struct input {
	const uint8_t *p;
	size_t bytes;
};

static unsigned
next(struct input *in)
{
	if (in->bytes == 0)
		return 0;
	in->bytes--;
	return *in->p++;
}

static size_t
take(struct input *in, size_t want, uint8_t *to)
{
	if (want > in->bytes)
		want = in->bytes;
	memcpy(to, in->p, want);
	in->p += want;
	in->bytes -= want;
	return want;
}

/* A request whose header is right: its operation, which names, which number,
 * and any bytes for the rest. */
static void
request(struct input *in)
{
	static _Alignas(16) uint8_t msg[LT_WIRE_MAX];
	unsigned which = next(in), pick = next(in), value = next(in);
	size_t tail = pick >> 7 ? next(in) : 0;
	size_t i = which % LT_COUNT(forms), n, bytes;
	uint64_t number = number_of(value % 16);

	bytes = lt_wire_op_row(forms[i].op)->request_bytes;
	memset(msg, 0, bytes + tail);
	n = next(in);
	n = take(in,
	    n < bytes + tail - sizeof(struct lt_wire)
		? n
		: bytes + tail - sizeof(struct lt_wire),
	    msg + sizeof(struct lt_wire));
	for (int k = 0; k < 2; k++) {
		unsigned name = k == 0 ? pick & 15 : pick >> 4 & 7;

		if (forms[i].names[k] != 0 && name < LT_COUNT(names))
			strcpy((char *)msg + forms[i].names[k],
			    names[k == 0 ? name : 4 + name]);
	}
	if (number != NONE && forms[i].number != 0)
		memcpy(msg + forms[i].number, &number, forms[i].number_bytes);
	if (forms[i].op == LT_OP_HELLO && value & 16)
		memcpy(msg + offsetof(struct lt_wire_hello, token), bad.token,
		    sizeof(bad.token));
	lt_wire_init((struct lt_wire *)msg, (enum lt_op)forms[i].op, bytes,
	    tail, ++bad.tag);
	say(msg, bytes + tail, value & 32);
}

static void
act(struct input *in)
{
	uint8_t raw[256];
	unsigned step = next(in), n = step % 8 < 5 ? next(in) : 0;

	switch (step % 8) {
	case 0:
		say(raw, take(in, n, raw), step & 8);
		break;
	case 1:
		play_now_ms += n * 100;
		play_pump();
		break;
	case 2:
		play_publish(
		    n & 1 ? "t1" : "orders", n >> 1 & 1, "key", "tag", "b", 1);
		sent += !(n & 3);
		break;
	case 3:
		if (table.base != NULL)
			take(in, 64,
			    (uint8_t *)table.base + LT_SEGMENT_DATA_AT +
				n * 8 % (table.head.data_bytes - 64));
		break;
	case 4:
		if (n % 4 == 0)
			come(n & 4);
		break;
	default:
		request(in);
		break;
	}
	/* Several may wait together, and some whose client is gone. */
	if (!(step & 16))
		return;
	if (step & 32)
		leave();
	turn();
	listen_up();
}

/* --- what must hold ------------------------------------------------------- */

static void
check_good(int is_asked)
{
	struct lt_wire_none ping;
	struct lt_wire_fetch fetch;
	const struct lt_wire_fetched *r = (const void *)good.reply.bytes;
	const struct lt_topic *t = lt_topic_find(play_manager(), "orders");

	LT_ASSERT(t != NULL && t->id == orders && t->read_queues == 2);
	LT_ASSERT(sub.table.shared->progress == 0);
	LT_ASSERT(!play_is_granted(bad.session, orders));
	for (uint32_t q = 0; q < 2; q++)
		LT_ASSERT(!play_is_watched(bad.session, orders, q));
	if (!is_asked)
		return;
	LT_ASSERT(play_call(&good, LT_OP_PING, &ping, sizeof(ping)) == LEAT_OK);
	LT_ASSERT(good.events[LT_OP_EV_CLOSED] == 0);
	if (sent == 0)
		return;
	memset(&fetch, 0, sizeof(fetch));
	fetch.topic = orders;
	fetch.offset = (int64_t)sent - 1;
	fetch.max_bytes = 4096;
	fetch.max_count = 1;
	LT_ASSERT(
	    play_call(&good, LT_OP_FETCH, &fetch, sizeof(fetch)) == LEAT_OK);
	LT_ASSERT(r->count == 1 && r->next_offset == (int64_t)sent);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = {data, bytes};

	if (is_up && is_filling_up()) {
		check_good(1);
		stop();
	}
	if (!is_up)
		start();
	since++;
	for (int i = 0; i < STEPS && in.bytes > 0; i++)
		act(&in);
	turn();
	listen_up();
	check_good(since % 32 == 0);
	return 0;
}

/* A client's life: hello, a topic, a subscription, reading, the end. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const uint8_t ops[] = {
	    5, 4, 10, 12, 9, 13, 14, 8, 15, 16, 18, 19, 11, 6, 17, 7, 3, 2};
	size_t at = 0;

	buf[at++] = 4 | 16; /* hello */
	buf[at++] = 0;
	for (size_t i = 0; i < LT_COUNT(ops); i++) {
		uint8_t step[] = {5, ops[i], (uint8_t)(1 + n % 3),
		    (uint8_t)(n % 2 ? 9 : 0), 8};

		memcpy(buf + at, step, sizeof(step));
		at += sizeof(step);
		memset(buf + at, 0, 8);
		buf[at] = (uint8_t)(i % 3 + (n & 1));
		buf[at + 4] = (uint8_t)(n >> 1 & 3);
		at += 8;
		if (i % 4 == 3) {
			buf[at++] = 2; /* a message */
			buf[at++] = (uint8_t)(n + i);
		}
	}
	return at;
}
