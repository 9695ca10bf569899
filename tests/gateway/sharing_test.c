/*
 * sharing_test.c - groups of local and remote members before a real broker: by
 * the relay door, with a member that does what RocketMQ's clients do, and
 * through the gateway's workers and clerk.
 */
#include "config.h"
#include "workerrig.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/relay.h"
#include "hub/hub.h"
#include "hub/offsets.h"
#include "remoting/sharing.h"

#define QUEUES 8
#define MESSAGES 2000 /* of each queue, most */
#define AWAY_MS 2500
#define STILL_MS 400 /* a machine that stands still longer proves less */

/* --- every message once ----------------------------------------------------
 */

static struct {
	uint8_t seen[QUEUES][MESSAGES];
	int64_t end[QUEUES];
	unsigned twice;
	uint64_t stood_ms; /* longest time between two steps */
	uint64_t last_ms;
	unsigned by_local, by_remote;
} all;

static void
seen(const struct leat_delivery *d)
{
	assert_true(d->queue < QUEUES && d->queue_offset < MESSAGES);
	all.twice += all.seen[d->queue][d->queue_offset]++ > 0;
}

static void
publish_round(void)
{
	for (int32_t q = 0; q < QUEUES; q++) {
		struct leat_message m = {.topic = "s",
		    .body = "x",
		    .body_bytes = 1,
		    .queue = q,
		    .level = LEAT_LOGGED};
		struct leat_receipt r;

		OK(leat_publish(it.local, &m, PATIENCE_MS, &r));
		all.end[q] = r.queue_offset + 1;
	}
}

/* --- the local member ------------------------------------------------------
 */

struct local {
	struct leat *leat;
	struct leat_consumer *consumer;
};

static void
local_open(struct local *l)
{
	struct leat_options session = {.socket = it.socket, .name = "local"};

	OK(leat_connect(&session, &l->leat));
}

static void
local_join(struct local *l)
{
	struct leat_subscription sub = {
	    .topic = "s", .group = "g", .queue = -1, .from = LEAT_FROM_BEGIN};

	OK(leat_subscribe(l->leat, &sub, &l->consumer));
}

static int
local_step(struct local *l)
{
	struct leat_delivery d[64];
	int n;

	if (l->consumer == NULL)
		return 0;
	n = leat_poll(l->consumer, d, 64, 1);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		seen(&d[i]);
	OK(leat_ack(l->consumer, d, (size_t)n));
	all.by_local += (unsigned)n;
	return n;
}

/* --- a remote one, as RocketMQ's clients are -------------------------------
 */

static struct {
	struct leat *leat;
	const char *id; /* NULL: it is not there */
	int must_look, must_tell;
	struct leat_consumer *queues[QUEUES]; /* that it has */
	int64_t next[QUEUES], committed[QUEUES];
} remote;

static void
commit(uint32_t q)
{
	struct lt_relay_offset o = {"s", q, remote.next[q]};

	if (remote.next[q] != remote.committed[q])
		OK(lt_relay_commit(remote.leat, "g", &o, 1, PATIENCE_MS));
	remote.committed[q] = remote.next[q];
}

static void
take_queue(uint32_t q)
{
	struct leat_subscription sub = {
	    .topic = "s", .queue = (int32_t)q, .from = LEAT_FROM_OFFSET};
	int status =
	    lt_relay_progress(remote.leat, "g", "s", q, &sub.from_value);

	if (status == LEAT_E_NOTFOUND)
		sub.from_value = 0;
	else
		OK(status);
	remote.next[q] = remote.committed[q] = sub.from_value;
	OK(leat_subscribe(remote.leat, &sub, &remote.queues[q]));
}

static void
drop_queue(uint32_t q)
{
	commit(q);
	leat_unsubscribe(remote.queues[q]);
	remote.queues[q] = NULL;
}

static void
on_locals(const char *group, void *user)
{
	if (group == NULL)
		remote.must_tell = 1;
	else if (strcmp(group, "g") == 0)
		remote.must_look = 1;
}

/* Allocate averagely, over all ids in order. */
static void
rebalance(void)
{
	size_t locals, before = 0, all_of, average, mod, start;
	struct lt_buffer ids;
	int status;

	remote.must_look = 0;
	lt_buffer_init(&ids, 1 << 20);
	status = lt_relay_locals(remote.leat, "g", &ids, &locals, PATIENCE_MS);
	if (status == LEAT_E_AGAIN)
		return; /* it calls when it knows them */
	OK(status);
	for (size_t i = 0, at = 0; i < locals; i++) {
		const char *id = (const char *)ids.p + at;

		before += strcmp(id, remote.id) < 0;
		at += strlen(id) + 1;
	}
	lt_buffer_fini(&ids);
	all_of = locals + 1;
	mod = QUEUES % all_of;
	average = QUEUES <= all_of ? 1 : QUEUES / all_of + (before < mod);
	start =
	    mod > 0 && before < mod ? before * average : before * average + mod;
	for (uint32_t q = 0; q < QUEUES; q++) {
		int is_mine = q >= start && q < start + average;

		if (!is_mine && remote.queues[q] != NULL)
			drop_queue(q);
	}
	for (uint32_t q = (uint32_t)start; q < start + average; q++)
		if (remote.queues[q] == NULL)
			take_queue(q);
}

static void
remote_join(const char *id)
{
	remote.id = id;
	OK(lt_relay_remotes(remote.leat, "g", &id, 1, PATIENCE_MS));
	rebalance();
}

static void
remote_leave(void)
{
	for (uint32_t q = 0; q < QUEUES; q++)
		if (remote.queues[q] != NULL)
			drop_queue(q);
	OK(lt_relay_remotes(remote.leat, "g", NULL, 0, PATIENCE_MS));
	remote.id = NULL;
}

/* A new leat-queue: what the old one did not log is lost. */
static void
tell_again(void)
{
	remote.must_tell = 0;
	for (uint32_t q = 0; q < QUEUES; q++) {
		remote.committed[q] = -1;
		if (remote.queues[q] != NULL)
			commit(q);
	}
	OK(lt_relay_remotes(remote.leat, "g", &remote.id, 1, PATIENCE_MS));
}

static int
remote_step(void)
{
	struct leat_delivery d[64];
	int n, sum = 0;

	lt_relay_pump(remote.leat);
	if (remote.id == NULL)
		return 0;
	if (remote.must_tell)
		tell_again();
	if (remote.must_look)
		rebalance();
	for (uint32_t q = 0; q < QUEUES; q++) {
		if (remote.queues[q] == NULL)
			continue;
		n = leat_poll(remote.queues[q], d, 64, 0);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			seen(&d[i]);
			remote.next[q] = d[i].queue_offset + 1;
		}
		sum += n;
		if (remote.next[q] >= remote.committed[q] + 50)
			commit(q);
	}
	all.by_remote += (unsigned)sum;
	return sum;
}

static void
kill_queue_manager(void)
{
	struct leat_status_report report;
	int64_t pid = 0;

	OK(leat_status_get(it.local, &report));
	for (size_t i = 0; i < LT_COUNT(report.processes); i++)
		if (strcmp(report.processes[i].name, "leat-queue") == 0)
			pid = report.processes[i].pid;
	assert_true(pid > 0);
	assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
}

/* --- the story -------------------------------------------------------------
 */

static void
step(struct local *l)
{
	uint64_t now = lt_clock_mono_ms();

	if (all.last_ms != 0 && now - all.last_ms > all.stood_ms)
		all.stood_ms = now - all.last_ms;
	all.last_ms = now;
	(void)local_step(l);
	(void)remote_step();
}

static unsigned
missing(void)
{
	unsigned n = 0;

	for (int q = 0; q < QUEUES; q++)
		for (int64_t i = 0; i < all.end[q]; i++)
			n += all.seen[q][i] == 0;
	return n;
}

/* What nobody has looked at when somebody comes or goes. */
static void
leave_some(void)
{
	for (int i = 0; i < 20; i++)
		publish_round();
	all.last_ms = lt_clock_mono_ms();
}

/* Some more messages, until all were seen. */
static void
phase(struct local *l, const char *what, int rounds)
{
	uint64_t give_up = lt_clock_mono_ms() + 4 * PATIENCE_MS;
	unsigned local = all.by_local, far = all.by_remote;

	for (int i = 0; i < rounds; i++) {
		publish_round();
		step(l);
	}
	while (missing() > 0 && lt_clock_mono_ms() < give_up)
		step(l);
	print_message("%s: %u local, %u remote, %u twice, %u missing\n", what,
	    all.by_local - local, all.by_remote - far, all.twice, missing());
	assert_int_equal(missing(), 0);
}

/* A new leat-queue waits for all to come back; what it took is not counted. */
static void
await_known(struct local *l)
{
	uint64_t give_up = lt_clock_mono_ms() + 3 * PATIENCE_MS;
	struct lt_buffer ids;
	size_t count;
	int status;

	lt_buffer_init(&ids, 1 << 20);
	do {
		step(l);
		status = lt_relay_locals(
		    remote.leat, "g", &ids, &count, PATIENCE_MS);
	} while (status == LEAT_E_AGAIN && lt_clock_mono_ms() < give_up);
	OK(status);
	assert_int_equal(count, 1);
	lt_buffer_fini(&ids);
	all.stood_ms = all.last_ms = 0;
}

static int
is_at_end(const struct leat_group *e, void *user)
{
	assert_int_equal(e->progress, all.end[e->queue]);
	assert_int_equal(e->max_offset, e->progress);
	++*(int *)user;
	return 0;
}

static void
test_each_message_once(void **state)
{
	struct leat_topic t = {
	    .name = "s", .read_queues = QUEUES, .write_queues = QUEUES};
	struct leat_options session = {.socket = it.socket, .name = "remote"};
	struct local l = {0};
	int entries = 0;

	OK(leat_topic_create(it.local, &t));
	local_open(&l);
	OK(leat_connect(&session, &remote.leat));
	lt_relay_on_locals(remote.leat, on_locals, NULL);
	local_join(&l);
	phase(&l, "local alone", 50);
	leave_some();
	remote_join("!remote");
	assert_non_null(remote.queues[0]);
	assert_null(remote.queues[QUEUES - 1]);
	phase(&l, "remote joins, first", 100);
	leave_some();
	kill_queue_manager();
	phase(&l, "leat-queue dies", 100);
	await_known(&l);
	assert_non_null(remote.queues[0]);
	assert_null(remote.queues[QUEUES - 1]);
	leave_some();
	remote_leave();
	phase(&l, "remote leaves", 50);
	leave_some();
	remote_join("~remote");
	assert_null(remote.queues[0]);
	phase(&l, "remote joins, last", 100);
	leave_some();
	leat_unsubscribe(l.consumer);
	l.consumer = NULL;
	phase(&l, "local leaves", 100);
	assert_non_null(remote.queues[0]);
	leave_some();
	local_join(&l);
	phase(&l, "local joins", 400);
	leave_some();
	remote_leave();
	phase(&l, "remote leaves again", 50);
	leat_unsubscribe(l.consumer);
	OK(leat_group_describe(it.local, "g", is_at_end, &entries));
	assert_int_equal(entries, QUEUES);
	print_message("longest time between two steps: %llu ms\n",
	    (unsigned long long)all.stood_ms);
	/* Who is late by as much as a gain is postponed is overtaken. */
	if (all.stood_ms < STILL_MS)
		assert_int_equal(all.twice, 0);
	leat_close(remote.leat);
	leat_close(l.leat);
}

/* --- through the gateway ---------------------------------------------------
 */

#define BEAT                                                                   \
	"{\"clientID\":\"!c1\",\"consumerDataSet\":[{\"groupName\":\"h\","     \
	"\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[{"           \
	"\"subString\":\"*\",\"topic\":\"u\"}]}]}"

static const struct field group[] = {{"consumerGroup", "h"}, {NULL, NULL}};

struct shares {
	int64_t progress[QUEUES];
	unsigned entries;
};

static int
note_share(const struct leat_group *e, void *user)
{
	struct shares *s = user;

	s->progress[e->queue] = e->progress;
	s->entries++;
	return 0;
}

static void
await_progress(uint32_t queue, int64_t offset)
{
	uint64_t give_up = lt_clock_mono_ms() + PATIENCE_MS;
	struct shares s = {0};

	do {
		memset(&s, 0, sizeof s);
		(void)!leat_group_describe(it.local, "h", note_share, &s);
	} while (s.progress[queue] != offset && lt_clock_mono_ms() < give_up);
	assert_int_equal(s.progress[queue], offset);
}

static void
commit_by_frame(const char *queue, const char *offset)
{
	struct reply r;

	assert_int_equal(call(15,
			     FIELDS({"consumerGroup", "h"}, {"topic", "u"},
				 {"queueId", queue}, {"commitOffset", offset}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
}

static int64_t
offset_by_frame(const char *queue)
{
	struct reply r;

	assert_int_equal(call(14,
			     FIELDS({"consumerGroup", "h"}, {"topic", "u"},
				 {"queueId", queue}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	return number(&r, "offset");
}

static int64_t first_of_0; /* that the local member got since it was -1 */

/* Polls and drops until the member has or has not the queue. */
static unsigned
queues_of(struct leat_consumer *c)
{
	struct leat_delivery d[64];
	unsigned set = 0;
	int n;

	for (int32_t q = 0; q < QUEUES; q++) {
		struct leat_message m = {.topic = "u",
		    .body = "x",
		    .body_bytes = 1,
		    .queue = q,
		    .level = LEAT_LOGGED};
		struct leat_receipt r;

		OK(leat_publish(it.local, &m, PATIENCE_MS, &r));
	}
	for (int i = 0; i < 20; i++) {
		n = leat_poll(c, d, 64, 10);
		assert_true(n >= 0);
		for (int k = 0; k < n; k++) {
			set |= 1u << d[k].queue;
			if (d[k].queue == 0 && first_of_0 < 0)
				first_of_0 = d[k].queue_offset;
		}
		OK(leat_ack(c, d, (size_t)n));
	}
	return set;
}

static void
await_queues(struct leat_consumer *c, unsigned want)
{
	uint64_t give_up = lt_clock_mono_ms() + PATIENCE_MS;
	unsigned set;

	do
		set = queues_of(c);
	while (set != want && lt_clock_mono_ms() < give_up);
	assert_int_equal(set, want);
}

static void
await_members_known(void)
{
	uint64_t give_up = lt_clock_mono_ms() + 3 * PATIENCE_MS;
	struct lt_buffer ids;
	size_t count;
	int status;

	lt_buffer_init(&ids, 1 << 20);
	do
		status =
		    lt_relay_locals(it.local, "h", &ids, &count, PATIENCE_MS);
	while (status == LEAT_E_AGAIN && lt_clock_mono_ms() < give_up);
	lt_buffer_fini(&ids);
	OK(status);
}

static void
test_through_the_gateway(void **state)
{
	struct leat_topic t = {
	    .name = "u", .read_queues = QUEUES, .write_queues = QUEUES};
	struct leat_options session = {.socket = it.socket, .name = "local"};
	struct leat_subscription sub = {
	    .topic = "u", .group = "h", .queue = -1, .from = LEAT_FROM_BEGIN};
	const struct lt_offsets_key zero = {{"h", 1}, {"u", 1}, 0};
	struct leat_consumer *c;
	struct leat *leat;
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	OK(leat_connect(&session, &leat));
	OK(leat_subscribe(leat, &sub, &c));
	await_queues(c, 0xff);
	await(ask(34, NONE, BEAT, strlen(BEAT)), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	/* The heartbeat's answer was behind the clerk: all are known. */
	assert_int_equal(call(38, group, NULL, &r), LT_CODE_SUCCESS);
	assert_non_null(strstr(text(&r), "[\"!c1\",\""));
	assert_non_null(strstr(text(&r), "#leat-"));
	await_queues(c, 0xf0);
	int64_t at = offset_by_frame("0");
	assert_true(at > 0);
	char next[24];
	snprintf(next, sizeof next, "%lld", (long long)at + 1);
	commit_by_frame("0", next);
	await_progress(0, at + 1);
	/* Said to a leat-queue that is not there, and stays away longer than
	 * the clerk waits for an answer. */
	assert_int_equal(kill(it.leatd, SIGSTOP), 0);
	kill_queue_manager();
	OK(lt_offsets_put(it.g.hub, &zero, at + 2)); /* as a pull does */
	for (uint64_t since = lt_clock_mono_ms();
	     lt_clock_mono_ms() - since < AWAY_MS;)
		(void)poll(NULL, 0, 10);
	assert_int_equal(kill(it.leatd, SIGCONT), 0);
	await_progress(0, at + 2);
	await_queues(c, 0xf0);
	/* It was told who is remote, and remembers when all had time to come
	 * back. */
	await_members_known();
	for (int i = 0; i < 3; i++)
		assert_int_equal(queues_of(c), 0xf0);
	/* It leaves: its last commit, just before, is where the local one goes
	 * on. */
	first_of_0 = -1;
	OK(lt_offsets_put(it.g.hub, &zero, at + 1));
	assert_int_equal(call(35,
			     FIELDS({"clientID", "!c1"}, {"producerGroup", ""},
				 {"consumerGroup", "h"}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	await_queues(c, 0xff);
	assert_int_equal(first_of_0, at + 1);
	leat_unsubscribe(c);
	leat_close(leat);
}

/* What was committed just before the end of the gateway is known. */
static void
test_orderly_end(void **state)
{
	commit_by_frame("3", "1");
	rig_stop();
	await_progress(3, 1);
}

static int
setup_end(void **state)
{
	struct leat_topic t = {
	    .name = "u", .read_queues = QUEUES, .write_queues = QUEUES};
	int rc = rig_setup(state);
	struct reply r;

	if (rc != 0)
		return rc;
	OK(leat_topic_create(it.local, &t));
	await(ask(34, NONE, BEAT, strlen(BEAT)), &r);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_each_message_once, rig_setup, rig_teardown),
	    cmocka_unit_test_setup_teardown(
		test_through_the_gateway, rig_setup, rig_teardown),
	    cmocka_unit_test_setup_teardown(
		test_orderly_end, setup_end, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
