/*
 * pop_test.c - members who pop beside local ones, before a real broker and two
 * workers: each message once, what is not acknowledged comes again, and what a
 * hostile client may say.
 */
#include "config.h"
#include "workerrig.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "proto/record.h"
#include "remoting/popper.h"
#include "remoting/popsource.h"

#define LEASE_MS 1000 /* the group's; pops may last longer */
#define BEAT(id, group, topic)                                                 \
	"{\"clientID\":\"" id                                                  \
	"\",\"consumerDataSet\":[{\"groupName\":\"" group                      \
	"\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[{"        \
	"\"subString\":\"*\",\"topic\":\"" topic "\"}]}]}"

static const char settings[] = "[queue]\nlease_ms = 1000\n";

/* --- the pieces ------------------------------------------------------------
 */

static void
make_topic(const char *name, uint32_t queues)
{
	struct leat_topic t = {.read_queues = queues, .write_queues = queues};

	snprintf(t.name, sizeof t.name, "%s", name);
	OK(leat_topic_create(it.local, &t));
}

static void
publish(const char *topic, int32_t queue, const char *body)
{
	struct leat_message m = {.topic = topic,
	    .body = body,
	    .body_bytes = strlen(body),
	    .queue = queue,
	    .level = LEAT_LOGGED};

	OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
}

/* The request's opaque. */
static int32_t
ask_pop(int fd, const char *group, const char *topic, const char *queue,
    const char *max, const char *invisible, const char *poll, const char *order)
{
	return ask_on(fd, LT_POP_POP,
	    FIELDS({"consumerGroup", group}, {"topic", topic},
		{"queueId", queue}, {"maxMsgNums", max},
		{"invisibleTime", invisible}, {"pollTime", poll},
		{"bornTime", "0"}, {"initMode", "0"}, {"expType", "TAG"},
		{"exp", "*"}, {"order", order}),
	    NULL, 0);
}

/* Its code. */
static int32_t
pop(const char *group, const char *topic, const char *max,
    const char *invisible, const char *poll, struct reply *r)
{
	await(ask_pop(it.fd, group, topic, "-1", max, invisible, poll, "false"),
	    r);
	assert_true(number(r, "popTime") > 0);
	assert_true(number(r, "restNum") >= 0);
	return r->h.code;
}

/* The messages of an answer; how many. */
static size_t
messages(const struct reply *r, struct lt_record_view *v, size_t room)
{
	const uint8_t *at = r->f.body;
	size_t left = r->f.body_bytes, n = 0;

	while (left > 0) {
		assert_true(n < room);
		OK(lt_record_parse(at, left, &v[n]));
		at += v[n].bytes;
		left -= v[n++].bytes;
	}
	return n;
}

struct receipt {
	char text[256], queue[16], offset[24];
};

/* As clients make it: out of the answer, unless the message has it. */
static struct receipt
receipt_of(const struct reply *r, const struct lt_record_view *v)
{
	struct receipt out;
	const char *own;
	size_t n;

	snprintf(out.queue, sizeof out.queue, "%u", v->queue);
	snprintf(
	    out.offset, sizeof out.offset, "%lld", (long long)v->queue_offset);
	if (lt_record_property(v, "POP_CK", 6, &own, &n) == LEAT_OK)
		snprintf(out.text, sizeof out.text, "%.*s", (int)n, own);
	else
		snprintf(out.text, sizeof out.text,
		    "%lld %lld %lld %lld 0 broker-a %u %lld",
		    (long long)v->queue_offset, (long long)number(r, "popTime"),
		    (long long)number(r, "invisibleTime"),
		    (long long)number(r, "reviveQid"), v->queue,
		    (long long)v->queue_offset);
	return out;
}

static int32_t
ack(const char *group, const char *topic, const struct receipt *c,
    struct reply *r)
{
	return call(LT_POP_ACK,
	    FIELDS({"consumerGroup", group}, {"topic", topic},
		{"queueId", c->queue}, {"extraInfo", c->text},
		{"offset", c->offset}),
	    NULL, r);
}

static int32_t
change(const char *group, const char *topic, const struct receipt *c,
    const char *invisible, struct reply *r)
{
	return call(LT_POP_CHANGE,
	    FIELDS({"consumerGroup", group}, {"topic", topic},
		{"queueId", c->queue}, {"extraInfo", c->text},
		{"offset", c->offset}, {"invisibleTime", invisible}),
	    NULL, r);
}

/* One message that is there. */
static struct receipt
pop_one(const char *group, const char *topic, const char *invisible,
    const char *poll, uint32_t reconsumed)
{
	struct lt_record_view v[LT_POP_MAX];
	struct reply r;

	assert_int_equal(pop(group, topic, "32", invisible, poll, &r), 0);
	assert_int_equal(messages(&r, v, LT_COUNT(v)), 1);
	assert_int_equal(v[0].reconsume, reconsumed);
	return receipt_of(&r, &v[0]);
}

static struct leat_consumer *
join(const char *group, const char *topic)
{
	struct leat_subscription sub = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *c;

	sub.topic = topic;
	sub.group = group;
	OK(leat_subscribe(it.local, &sub, &c));
	return c;
}

static int
note_progress(const struct leat_group *e, void *user)
{
	*(int64_t *)user += e->progress;
	return 0;
}

/* Of all queues together, as soon as it is that. */
static void
await_progress(const char *group, int64_t want)
{
	uint64_t give_up = lt_clock_mono_ms() + PATIENCE_MS;
	int64_t sum;

	do {
		sum = 0;
		OK(leat_group_describe(it.local, group, note_progress, &sum));
		assert_true(sum <= want);
	} while (sum < want && lt_clock_mono_ms() < give_up);
	assert_int_equal(sum, want);
}

static void
assert_field(const struct reply *r, const char *name, const char *want)
{
	struct lt_remoting_text t = lt_remoting_find(&r->h, name);

	assert_int_equal(t.bytes, strlen(want));
	if (t.bytes > 0)
		assert_memory_equal(t.p, want, t.bytes);
}

/* --- the answer ------------------------------------------------------------
 */

static int
is_stored(const struct leat_delivery *d, void *user)
{
	const struct lt_record_view *v = user;

	assert_int_equal(d->record_bytes, v->bytes);
	assert_memory_equal(d->record, v->base, v->bytes);
	return 0;
}

static void
test_found(void **state)
{
	struct lt_record_view v[4];
	struct receipt c;
	struct reply r;

	(void)state;
	make_topic("found", 1);
	for (int i = 0; i < 3; i++)
		publish("found", 0, "body");
	assert_int_equal(pop("found-g", "found", "2", "60000", "0", &r), 0);
	assert_field(&r, "startOffsetInfo", "0 0 0");
	assert_field(&r, "msgOffsetInfo", "0 0 0,1");
	assert_int_equal(number(&r, "restNum"), 1);
	assert_int_equal(number(&r, "invisibleTime"), 60000);
	assert_int_equal(number(&r, "reviveQid"), 0);
	/* The log's own bytes. */
	assert_int_equal(messages(&r, v, 4), 2);
	for (int i = 0; i < 2; i++)
		OK(leat_message_by_offset(
		    it.local, "found", 0, i, is_stored, &v[i]));
	assert_int_equal(messages(&r, v, 4), 2);
	c = receipt_of(&r, &v[1]);
	assert_int_equal(ack("found-g", "found", &c, &r), 0);
	assert_int_equal(pop("found-g", "found", "32", "60000", "0", &r), 0);
	assert_field(&r, "msgOffsetInfo", "0 0 2");
	assert_int_equal(pop("found-g", "found", "32", "60000", "0", &r),
	    LT_CODE_POLLING_TIMEOUT);
	assert_int_equal(number(&r, "restNum"), 0);
	/* Another group has all of it; of another queue there is nothing. */
	assert_int_equal(pop("found-h", "found", "32", "60000", "0", &r), 0);
	assert_int_equal(messages(&r, v, 4), 3);
	await(ask_pop(it.fd, "found-i", "found", "0", "1", "1", "0", "false"),
	    &r);
	assert_int_equal(messages(&r, v, 4), 1);
	await(ask_pop(it.fd, "found-i", "found", "1", "1", "1", "0", "false"),
	    &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
}

/* --- each message once -----------------------------------------------------
 */

#define QUEUES 4
#define MESSAGES 2000

static struct {
	uint8_t seen[QUEUES][MESSAGES];
	unsigned by_local, by_pop, twice, left;
} all;

static void
seen(uint32_t queue, int64_t offset)
{
	assert_true(queue < QUEUES && offset < MESSAGES);
	all.twice += all.seen[queue][offset]++ > 0;
	all.left -= all.seen[queue][offset] == 1;
}

/* Of each answer the first by itself, the others together. */
static void
ack_all(const struct reply *from, const struct lt_record_view *v, size_t n)
{
	int64_t pop_ms = number(from, "popTime");
	struct receipt c = receipt_of(from, &v[0]);
	char body[4096];
	size_t at = 0;
	struct reply r;

	at += (size_t)snprintf(
	    body, sizeof body, "{\"brokerName\":\"broker-a\",\"acks\":[");
	for (size_t i = 1; i < n; i++)
		at += (size_t)snprintf(body + at, sizeof body - at,
		    "%s{\"c\":\"mixed-g\",\"t\":\"mixed\",\"r\":\"0\",\"so\":"
		    "%lld,\"q\":%u,\"rq\":0,\"pt\":%lld,\"it\":60000,\"b\":"
		    "\"AQ==\"}",
		    i > 1 ? "," : "", (long long)v[i].queue_offset, v[i].queue,
		    (long long)pop_ms);
	snprintf(body + at, sizeof body - at, "]}");
	assert_int_equal(ack("mixed-g", "mixed", &c, &r), 0);
	assert_int_equal(call(LT_POP_ACK_BATCH, NONE, body, &r),
	    n > 1 ? LT_CODE_SUCCESS : LT_CODE_NO_MESSAGE);
}

static void
step_pop(void)
{
	static uint8_t copy[1 << 16];
	struct lt_record_view v[LT_POP_MAX];
	struct reply r;
	size_t n;

	if (pop("mixed-g", "mixed", "9", "60000", "0", &r) != 0)
		return;
	/* What is asked next overwrites it. */
	assert_true(r.f.bytes <= sizeof copy);
	memcpy(copy, it.in, r.f.bytes);
	OK(lt_remoting_frame(copy, r.f.bytes, &r.f));
	for (uint32_t i = 0; i < r.h.ext_count; i++)
		r.h.ext[i].value.p =
		    (char *)copy + (r.h.ext[i].value.p - (char *)it.in);
	for (uint32_t i = 0; i < r.h.ext_count; i++)
		r.h.ext[i].name.p =
		    (char *)copy + (r.h.ext[i].name.p - (char *)it.in);
	n = messages(&r, v, LT_COUNT(v));
	for (size_t i = 0; i < n; i++)
		seen(v[i].queue, v[i].queue_offset);
	all.by_pop += (unsigned)n;
	ack_all(&r, v, n);
}

static void
step_local(struct leat_consumer *c)
{
	struct leat_delivery d[9];
	int n = leat_poll(c, d, 9, 0);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		seen(d[i].queue, d[i].queue_offset);
	OK(leat_ack(c, d, (size_t)n));
	all.by_local += (unsigned)n;
}

static void
test_each_message_once(void **state)
{
	uint64_t give_up = lt_clock_mono_ms() + 6 * PATIENCE_MS;
	struct leat_consumer *c;
	struct reply r;

	(void)state;
	make_topic("mixed", QUEUES);
	c = join("mixed-g", "mixed");
	assert_int_equal(call(34, NONE, BEAT("c1", "mixed-g", "mixed"), &r), 0);
	all.left = QUEUES * MESSAGES;
	for (int i = 0; i < MESSAGES; i++) {
		for (int32_t q = 0; q < QUEUES; q++)
			publish("mixed", q, "x");
		if (i % 3 == 0)
			step_pop();
		if (i % 5 == 0)
			step_local(c);
	}
	while (all.left > 0 && lt_clock_mono_ms() < give_up) {
		step_pop();
		step_local(c);
	}
	print_message("%u local, %u popped, %u twice, %u left\n", all.by_local,
	    all.by_pop, all.twice, all.left);
	assert_int_equal(all.left, 0);
	assert_int_equal(all.twice, 0);
	assert_true(all.by_local > MESSAGES / 8 && all.by_pop > MESSAGES / 8);
	await_progress("mixed-g", QUEUES * MESSAGES);
	leat_unsubscribe(c);
}

/* --- again -----------------------------------------------------------------
 */

static void
test_again(void **state)
{
	struct lt_record_view v[2];
	struct receipt first, second;
	struct reply r;

	(void)state;
	make_topic("again", 1);
	publish("again", 0, "m");
	first = pop_one("again-g", "again", "300", "0", 0);
	/* A pop that waits has it as soon as the time is over. */
	second = pop_one("again-g", "again", "60000", "10000", 1);
	assert_non_null(strstr(second.text, " 60000 0 0 broker-a 0 0"));
	assert_string_not_equal(first.text, second.text);
	/* The old receipt is good for nothing, and nobody is told so. */
	assert_int_equal(ack("again-g", "again", &first, &r), 0);
	assert_int_equal(change("again-g", "again", &first, "0", &r), 0);
	assert_int_equal(pop("again-g", "again", "1", "60000", "300", &r),
	    LT_CODE_POLLING_TIMEOUT);
	await_progress("again-g", 0);
	assert_int_equal(ack("again-g", "again", &second, &r), 0);
	await_progress("again-g", 1);
	assert_int_equal(messages(&r, v, 2), 0);
}

/* Invisible for longer than the group's lease, and no longer than was said. */
static void
test_longer_than_the_lease(void **state)
{
	struct leat_consumer *c;
	struct leat_delivery d;
	uint64_t start, ms;

	(void)state;
	make_topic("long", 1);
	publish("long", 0, "m");
	c = join("long-g", "long");
	assert_int_equal(leat_lease_ms(c), LEASE_MS);
	start = lt_clock_mono_ms();
	(void)pop_one("long-g", "long", "3500", "0", 0);
	/* Then it is a local member's. */
	assert_int_equal(leat_poll(c, &d, 1, PATIENCE_MS), 1);
	ms = lt_clock_mono_ms() - start;
	print_message("came again after %llu ms\n", (unsigned long long)ms);
	assert_true(ms >= 3500);
	assert_int_equal(d.attempt, 2);
	OK(leat_ack(c, &d, 1));
	await_progress("long-g", 1);
	leat_unsubscribe(c);
}

static void
test_change(void **state)
{
	struct receipt first, later;
	struct reply r;

	(void)state;
	make_topic("change", 1);
	publish("change", 0, "m");
	first = pop_one("change-g", "change", "60000", "0", 0);
	assert_int_equal(change("change-g", "change", &first, "50000", &r), 0);
	assert_int_equal(number(&r, "invisibleTime"), 50000);
	assert_int_equal(number(&r, "reviveQid"), 0);
	later = first;
	snprintf(later.text, sizeof later.text, "0 %lld 50000 0 0 broker-a 0 0",
	    (long long)number(&r, "popTime"));
	/* It has another receipt now; by that it is given back. */
	assert_int_equal(change("change-g", "change", &later, "0", &r), 0);
	later = pop_one("change-g", "change", "60000", "10000", 1);
	assert_int_equal(ack("change-g", "change", &later, &r), 0);
	await_progress("change-g", 1);
}

/* --- held ------------------------------------------------------------------
 */

static void
test_held(void **state)
{
	struct lt_record_view v[2];
	int other = rig_connect(1);
	struct reply r;
	int32_t opaque;

	(void)state;
	make_topic("held", 2);
	opaque =
	    ask_pop(it.fd, "held-g", "held", "-1", "32", "60000", "10000", "");
	/* The other worker's is asked when the first is held. */
	do
		assert_int_equal(call_on(other, LT_POP_POLLING,
				     FIELDS({"consumerGroup", "held-g"},
					 {"topic", "held"}, {"queueId", "-1"}),
				     NULL, &r),
		    0);
	while (number(&r, "pollingNum") == 0);
	assert_int_equal(number(&r, "pollingNum"), 1);
	publish("held", 1, "m");
	await(opaque, &r);
	assert_int_equal(r.h.code, 0);
	assert_int_equal(messages(&r, v, 2), 1);
	assert_field(&r, "startOffsetInfo", "0 1 0");
	/* A question takes nothing. */
	assert_int_equal(
	    call(LT_POP_NOTIFY,
		FIELDS({"consumerGroup", "held-g"}, {"topic", "held"},
		    {"queueId", "-1"}, {"pollTime", "200"}, {"bornTime", "0"}),
		NULL, &r),
	    0);
	assert_field(&r, "hasMsg", "false");
	opaque = ask_on(it.fd, LT_POP_NOTIFY,
	    FIELDS({"consumerGroup", "held-g"}, {"topic", "held"},
		{"queueId", "-1"}, {"pollTime", "10000"}, {"bornTime", "0"}),
	    NULL, 0);
	publish("held", 0, "m");
	await(opaque, &r);
	assert_field(&r, "hasMsg", "true");
	assert_int_equal(pop("held-g", "held", "1", "60000", "0", &r), 0);
	close(other);
}

/* Whose connection went while its pop was held gets nothing: the message is
 * another member's at once. */
static void
test_gone(void **state)
{
	int other = rig_connect(1);
	struct reply r;

	(void)state;
	make_topic("gone", 1);
	(void)ask_pop(
	    other, "gone-g", "gone", "-1", "1", "300000", "30000", "false");
	do
		assert_int_equal(call(LT_POP_POLLING,
				     FIELDS({"consumerGroup", "gone-g"},
					 {"topic", "gone"}, {"queueId", "-1"}),
				     NULL, &r),
		    0);
	while (number(&r, "pollingNum") == 0);
	close(other);
	/* The worker has seen the end once it has answered somebody new. */
	other = rig_connect(1);
	assert_int_equal(
	    call_on(other, 38, FIELDS({"consumerGroup", "gone-g"}), NULL, &r),
	    LT_CODE_SYSTEM_ERROR);
	publish("gone", 0, "m");
	(void)pop_one("gone-g", "gone", "60000", "10000", 1);
	close(other);
}

/* --- in order --------------------------------------------------------------
 */

static int32_t
pop_in_order(
    const char *max, const char *invisible, const char *poll, struct reply *r)
{
	await(ask_pop(it.fd, "order-g", "order", "-1", max, invisible, poll,
		  "true"),
	    r);
	return r->h.code;
}

static void
test_in_order(void **state)
{
	struct lt_record_view v[4];
	struct receipt c[2];
	struct reply r;

	(void)state;
	make_topic("order", 1);
	for (int i = 0; i < 4; i++)
		publish("order", 0, "m");
	assert_int_equal(pop_in_order("2", "60000", "0", &r), 0);
	assert_int_equal(number(&r, "reviveQid"), 999);
	assert_field(&r, "msgOffsetInfo", "0 0 0,1");
	assert_field(&r, "orderCountInfo", "");
	assert_int_equal(messages(&r, v, 4), 2);
	c[0] = receipt_of(&r, &v[0]);
	c[1] = receipt_of(&r, &v[1]);
	/* While one of these is out there is nothing else of the queue. */
	assert_int_equal(
	    pop_in_order("2", "60000", "0", &r), LT_CODE_POLLING_TIMEOUT);
	assert_int_equal(ack("order-g", "order", &c[0], &r), 0);
	assert_int_equal(
	    pop_in_order("2", "60000", "0", &r), LT_CODE_POLLING_TIMEOUT);
	/* What comes again comes before what follows. */
	assert_int_equal(change("order-g", "order", &c[1], "0", &r), 0);
	assert_int_equal(pop_in_order("2", "60000", "10000", &r), 0);
	assert_field(&r, "msgOffsetInfo", "0 0 1,2");
	assert_field(&r, "orderCountInfo", "0 qo0%1 1");
}

/* --- modes -----------------------------------------------------------------
 */

static void
set_mode(const char *mode)
{
	char body[256];
	struct reply r;

	snprintf(body, sizeof body,
	    "{\"topic\":\"mode\",\"consumerGroup\":\"mode-g\",\"mode\":\"%s\","
	    "\"popShareQueueNum\":0}",
	    mode);
	assert_int_equal(call(401, NONE, body, &r), 0);
}

static unsigned
assigned(const char *client, const char *strategy, const char *what)
{
	char body[512];
	unsigned n = 0;
	struct reply r;

	snprintf(body, sizeof body,
	    "{\"topic\":\"mode\",\"consumerGroup\":\"mode-g\",\"clientId\":"
	    "\"%s\",\"strategyName\":\"%s\",\"messageModel\":\"CLUSTERING\"}",
	    client, strategy);
	assert_int_equal(call(400, NONE, body, &r), 0);
	assert_non_null(strstr(text(&r), "messageQueueAssignments"));
	for (const char *at = text(&r); (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void
test_modes(void **state)
{
	int other = rig_connect(1);
	struct leat_consumer *c;
	struct leat_delivery d[8];
	unsigned n = 0;
	struct reply r;

	(void)state;
	make_topic("mode", 5);
	assert_int_equal(assigned("!c1", "AVG", "null"), 1);
	assert_int_equal(call(34, NONE, BEAT("!c1", "mode-g", "mode"), &r), 0);
	assert_int_equal(
	    call_on(other, 34, NONE, BEAT("!c2", "mode-g", "mode"), &r), 0);
	assert_int_equal(assigned("!c1", "AVG", "PULL"), 3);
	assert_int_equal(assigned("!c1", "AVG", "\"queueId\":2"), 1);
	assert_int_equal(assigned("!c2", "AVG", "PULL"), 2);
	assert_int_equal(assigned("!c2", "AVG", "\"queueId\":4"), 1);
	assert_int_equal(assigned("!c2", "AVG_BY_CIRCLE", "\"queueId\":3"), 1);
	assert_int_equal(assigned("!c3", "AVG", "[]"), 1);
	assert_int_equal(assigned("!c1", "MINE", "null}"), 1);
	set_mode("POP");
	assert_int_equal(assigned("!c1", "AVG", "POP"), 1);
	assert_int_equal(assigned("!c2", "AVG", "\"queueId\":-1"), 1);
	/* A local member leaves no queue to those who pop. */
	c = join("mode-g", "mode");
	for (int32_t q = 0; q < 5; q++)
		publish("mode", q, "m");
	while (n < 5) {
		int got = leat_poll(c, d, 8, PATIENCE_MS);

		assert_true(got > 0);
		OK(leat_ack(c, d, (size_t)got));
		n += (unsigned)got;
	}
	leat_unsubscribe(c);
	set_mode("PULL");
	assert_int_equal(assigned("!c1", "AVG", "PULL"), 3);
	assert_int_equal(
	    call(401, NONE, "{\"topic\":\"mode\"}", &r), LT_CODE_SYSTEM_ERROR);
	assert_int_equal(call(401, NONE,
			     "{\"topic\":\"none\",\"consumerGroup\":\"g\","
			     "\"mode\":\"POP\"}",
			     &r),
	    LT_CODE_TOPIC_NOT_EXIST);
	assert_int_equal(call(401, NONE,
			     "{\"topic\":\"%RETRY%g\",\"consumerGroup\":\"g\","
			     "\"mode\":\"POP\"}",
			     &r),
	    LT_CODE_NO_PERMISSION);
	close(other);
}

/* --- hostile fields --------------------------------------------------------
 */

static void
test_hostile(void **state)
{
	static const char *const bad[] = {"", "x", "-", "99999999999999999999",
	    "1 2", "1 2 3", "1 x 3 4", "9 9 9 9 9 9 9 9", "0 0 0 0 0"};
	static const char *const bodies[] = {"", "{", "[]", "{\"acks\":7}",
	    "{\"acks\":[7,null,{},{\"c\":1}]}",
	    "{\"acks\":[{\"c\":\"h\",\"t\":\"hostile\",\"so\":"
	    "9223372036854775807,\"q\":0,\"pt\":-1,\"b\":\"////////\"}]}",
	    "{\"acks\":[{\"c\":\"h\",\"t\":\"hostile\",\"so\":-5,\"q\":"
	    "-1,\"pt\":1,\"b\":\"%%%\"}]}"};
	struct lt_record_view v[2];
	struct receipt c = {"0 0 0 0 0 broker-a 0 0", "0", "0"};
	struct reply r;

	(void)state;
	make_topic("hostile", 1);
	publish("hostile", 0, "m");
#define POP(group, topic, queue, max, inv, poll)                               \
	(await(ask_pop(it.fd, group, topic, queue, max, inv, poll, "x"), &r),  \
	    r.h.code)
	assert_int_equal(POP("", "hostile", "0", "1", "1", "0"), 1);
	assert_int_equal(POP("h h", "hostile", "0", "1", "1", "0"), 1);
	assert_int_equal(POP("h", "", "0", "1", "1", "0"), 1);
	assert_int_equal(POP("h", "no such", "0", "1", "1", "0"), 1);
	assert_int_equal(POP("h", "none", "0", "1", "1", "0"), 17);
	assert_int_equal(POP("h", "hostile", "x", "1", "1", "0"), 1);
	assert_int_equal(POP("h", "hostile", "0", "0", "1", "0"), 1);
	assert_int_equal(POP("h", "hostile", "0", "33", "1", "0"), 29);
	assert_int_equal(POP("h", "hostile", "0", "1", "x", "0"), 1);
	assert_int_equal(POP("h", "hostile", "0", "1", "1", ""), 1);
	assert_int_equal(POP("h", "hostile", "2147483647", "1", "1", "0"), 29);
	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		int is_one = i >= 7;

		snprintf(c.text, sizeof c.text, "%s", bad[i]);
		assert_int_equal(ack("h", "hostile", &c, &r), is_one ? 0 : 1);
		assert_int_equal(
		    change("h", "hostile", &c, "-7", &r), is_one ? 0 : 1);
	}
	snprintf(c.offset, sizeof c.offset, "-1");
	assert_int_equal(ack("h", "hostile", &c, &r), LT_CODE_NO_MESSAGE);
	snprintf(c.offset, sizeof c.offset, "2");
	assert_int_equal(ack("h", "hostile", &c, &r), LT_CODE_NO_MESSAGE);
	snprintf(c.queue, sizeof c.queue, "1");
	assert_int_equal(ack("h", "hostile", &c, &r), LT_CODE_MESSAGE_ILLEGAL);
	snprintf(c.queue, sizeof c.queue, "-1");
	assert_int_equal(ack("h", "hostile", &c, &r), LT_CODE_MESSAGE_ILLEGAL);
	assert_int_equal(ack("h", "none", &c, &r), LT_CODE_MESSAGE_ILLEGAL);
	for (size_t i = 0; i < LT_COUNT(bodies); i++) {
		int32_t code = call(LT_POP_ACK_BATCH, NONE, bodies[i], &r);

		assert_int_equal(code, i < 3   ? LT_CODE_SYSTEM_ERROR
				       : i < 4 ? LT_CODE_NO_MESSAGE
					       : LT_CODE_SUCCESS);
	}
	/* Times at the end of their range; born long ago; other filters. */
	assert_int_equal(POP("h", "hostile", "-9", "1", "9223372036854775807",
			     "-9223372036854775808"),
	    0);
	assert_int_equal(messages(&r, v, 2), 1);
	assert_int_equal(number(&r, "invisibleTime"), LT_POP_INVISIBLE_MAX_MS);
#undef POP
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    call(LT_POP_POP,
			FIELDS({"consumerGroup", "h"}, {"topic", "hostile"},
			    {"queueId", "0"}, {"maxMsgNums", "1"},
			    {"invisibleTime", "1"}, {"pollTime", "1000"},
			    {"bornTime", i == 0 ? "1000000" : "0"},
			    {"expType", i == 1 ? "SQL92" : "TAG"},
			    {"exp", i == 2 ? "a b || c" : "*"}),
			NULL, &r),
		    i == 0 ? LT_CODE_POLLING_TIMEOUT
			   : LT_CODE_SUBSCRIPTION_BAD);
}

/* --- the end ---------------------------------------------------------------
 */

/* The gateway ends: what is out is another member's at once. */
static atomic_int is_scarce; /* the popper's next block is not there */

void *__real_lt_mem_resize(void *p, size_t bytes);
void *__wrap_lt_mem_resize(void *p, size_t bytes);

void *
__wrap_lt_mem_resize(void *p, size_t bytes)
{
	char thread[16] = "";

	if (atomic_load(&is_scarce) &&
	    pthread_getname_np(pthread_self(), thread, sizeof thread) == 0 &&
	    strcmp(thread, "gateway-popper") == 0 &&
	    atomic_exchange(&is_scarce, 0))
		return NULL;
	return __real_lt_mem_resize(p, bytes);
}

/* An answer that cannot be made: who has closed does not wait for it, nor does
 * anybody else. */
static void
test_lost_answer(void **state)
{
	(void)state;
	make_topic("lost", 1);
	for (int half = 0; half < 2; half++) {
		int fd = rig_connect(0);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char c;

		atomic_store(&is_scarce, 1);
		(void)ask_on(fd, LT_POP_ACK,
		    FIELDS({"consumerGroup", "lost-g"}, {"topic", "lost"},
			{"queueId", "0"},
			{"extraInfo", "0 1 60000 0 0 broker-a 0 0"},
			{"offset", "0"}),
		    NULL, 0);
		if (half)
			shutdown(fd, SHUT_WR);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(recv(fd, &c, 1, 0), 0);
		assert_int_equal(atomic_load(&is_scarce), 0);
		close(fd);
	}
}

/* leat-queue stands still: what needs it is answered soon, and what does not
 * goes on. */
static void
test_queue_away(void **state)
{
	pid_t queue = rig_child("leat-queue");
	struct receipt real, unknown;
	struct reply r;
	uint64_t from;
	int32_t code;

	(void)state;
	make_topic("away", 1);
	publish("away", 0, "body");
	real = pop_one("away-g", "away", "60000", "5000", 0);
	unknown = real;
	snprintf(
	    unknown.text, sizeof unknown.text, "0 1 60000 0 0 broker-a 0 0");
	assert_true(queue > 0);
	assert_int_equal(kill(queue, SIGSTOP), 0);
	from = lt_clock_mono_ms();
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    ack("away-g", "away", &unknown, &r), LT_CODE_SYSTEM_BUSY);
	await(ask_pop(it.fd, "away-h", "away", "-1", "1", "1000", "0", "false"),
	    &r);
	assert_int_equal(r.h.code, LT_CODE_SYSTEM_BUSY);
	code = ack("away-g", "away", &real, &r);
	from = lt_clock_mono_ms() - from;
	assert_int_equal(kill(queue, SIGCONT), 0);
	print_message("five answers in %llu ms\n", (unsigned long long)from);
	assert_int_equal(code, 0);
	assert_in_range(from, 0, 5000);
	/* After a while it is asked again. */
	from = lt_clock_mono_ms();
	while (ack("away-g", "away", &unknown, &r) == LT_CODE_SYSTEM_BUSY)
		assert_in_range(lt_clock_mono_ms() - from, 0, PATIENCE_MS);
	assert_int_equal(r.h.code, 0);
}

static void
test_end(void **state)
{
	struct leat_consumer *c;
	struct leat_delivery d;
	struct reply r;

	(void)state;
	make_topic("end", 1);
	publish("end", 0, "m");
	(void)pop_one("end-g", "end", "600000", "0", 0);
	(void)ask_pop(it.fd, "end-g", "end", "-1", "1", "1", "60000", "false");
	assert_int_equal(
	    call(38, FIELDS({"consumerGroup", "end-g"}), NULL, &r), 1);
	c = join("end-g", "end");
	assert_int_equal(leat_poll(c, &d, 1, 0), 0);
	lt_popper_destroy(it.g.popper);
	it.g.popper = NULL;
	assert_int_equal(leat_poll(c, &d, 1, PATIENCE_MS), 1);
	assert_int_equal(d.attempt, 2);
	leat_unsubscribe(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_found),
	    cmocka_unit_test(test_each_message_once),
	    cmocka_unit_test(test_again),
	    cmocka_unit_test(test_longer_than_the_lease),
	    cmocka_unit_test(test_change), cmocka_unit_test(test_held),
	    cmocka_unit_test(test_gone), cmocka_unit_test(test_in_order),
	    cmocka_unit_test(test_modes), cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_lost_answer),
	    cmocka_unit_test(test_queue_away),
	    cmocka_unit_test(test_end), /* last: nobody pops behind it */
	};

	signal(SIGPIPE, SIG_IGN);
	rig_settings = settings;
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
