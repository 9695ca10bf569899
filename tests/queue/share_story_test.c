/*
 * share_story_test.c - a random story beside a model: local members, remote
 * ones and the gateway come, go and die, leat-queue dies, everybody is late;
 * messages are claimed, held, given back, and committed by who is remote.
 *
 * Always: the group's progress passes no message that nobody had. After a
 * while: each queue is its owner's by RocketMQ's rule, and nobody else's; and
 * all messages are consumed. LEAT_SEED, LEAT_STEPS, LEAT_LONG=1.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sharer.h"

#define LOCALS 3
#define REMOTES 3
#define MESSAGES 4000 /* of a queue */
#define HELD 16

struct held {
	uint32_t queue;
	uint64_t table;
	int64_t offset;
};
struct actor {
	struct play_client client;
	struct member m;
	int is_here;
	struct held held[HELD];
	size_t held_count;
};

static const char *const remote_ids[REMOTES] = {"!a", "!b", "~c"};
static struct {
	uint64_t random, seed;
	struct actor actors[LOCALS];
	unsigned remote; /* who is here: bits */
	unsigned remote_has; /* queues: bits */
	int64_t next[QUEUES]; /* of the remote owner */
	uint8_t done[QUEUES][MESSAGES];
	int64_t end[QUEUES];
	unsigned twice, consumed, restarts, moves;
} it;

static uint32_t
dice(uint32_t sides)
{
	it.random ^= it.random << 13;
	it.random ^= it.random >> 7;
	it.random ^= it.random << 17;
	return (uint32_t)(it.random >> 33) % sides;
}

/* --- messages --------------------------------------------------------------
 */

static void
have(uint32_t q, int64_t offset)
{
	it.twice += it.done[q][offset];
	it.done[q][offset] = 1;
	it.consumed++;
}

static int64_t
first_undone(uint32_t q)
{
	int64_t o = 0;

	while (o < it.end[q] && it.done[q][o])
		o++;
	return o;
}

static void
publish_some(void)
{
	uint32_t q = dice(QUEUES);
	int n = 1 + (int)dice(5);

	if (it.end[q] + n > MESSAGES)
		return;
	publish(q, n);
	it.end[q] += n;
}

/* --- local members ---------------------------------------------------------
 */

static int
is_open(const struct actor *a, uint32_t q)
{
	return a->is_here && (owned(&a->m) & 1u << q) != 0;
}

static void
hold(struct actor *a, uint32_t q, int64_t offset)
{
	a->held[a->held_count++] =
	    (struct held){q, a->m.sub[q].table_seg.head.id, offset};
}

static void
finish_held(struct actor *a)
{
	for (size_t i = 0; i < a->held_count; i++) {
		const struct held *h = &a->held[i];
		struct play_sub *sub = &a->m.sub[h->queue];

		if (sub->table_seg.base != NULL &&
		    sub->table_seg.head.id == h->table &&
		    lt_table_ack(&sub->table, h->offset,
			(uint16_t)sub->owner) == LEAT_OK)
			have(h->queue, h->offset);
	}
	a->held_count = 0;
}

static void
eat(struct actor *a, uint32_t q, int is_greedy)
{
	struct play_sub *sub = &a->m.sub[q];
	uint32_t attempt;

	if (!is_open(a, q))
		return;
	for (int64_t o = atomic_load(&sub->table.shared->progress);
	     o < it.end[q]; o++) {
		uint32_t what = is_greedy ? 0 : dice(10);

		if (member_claim(sub, o, &attempt) != LEAT_OK)
			continue;
		if (what == 9 && a->held_count < HELD) {
			hold(a, q, o);
		} else if (what == 8) {
			OK(lt_table_nack(&sub->table, o, (uint16_t)sub->owner));
		} else {
			OK(lt_table_ack(&sub->table, o, (uint16_t)sub->owner));
			have(q, o);
		}
	}
}

static void
come(struct actor *a)
{
	member_connect_client(&a->client);
	join_all(&a->m, &a->client);
	a->is_here = 1;
}

static void
go(struct actor *a)
{
	if (dice(2) == 0)
		finish_held(a);
	a->held_count = 0;
	if (dice(2) == 0)
		lt_session_end(
		    lt_session_find(play_manager(), a->client.session),
		    LEAT_E_CLOSED);
	else
		for (uint32_t q = 0; q < QUEUES; q++)
			OK(play_unsubscribe(&a->client, a->m.sub[q].id));
	play_close(&a->client);
	fini(&a->m);
	a->is_here = 0;
}

/* --- remote ones, all in one -----------------------------------------------
 */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whose each queue is, by what a client of RocketMQ would compute. */
static void
owners(int out[QUEUES])
{
	const char *ids[LOCALS + REMOTES];
	uint32_t n = locals(ids, LOCALS);
	char hex[17];

	for (int i = 0; i < REMOTES; i++)
		if ((it.remote & 1u << i) != 0)
			ids[n++] = remote_ids[i];
	qsort(ids, n, sizeof ids[0], by_text);
	for (uint32_t q = 0; q < QUEUES; q++) {
		const char *id =
		    n == 0 ? "" : ids[lt_share_owner(QUEUES, n, q)];

		out[q] = -1;
		for (int i = 0; i < LOCALS; i++) {
			snprintf(hex, sizeof hex, "%016llx",
			    (unsigned long long)it.actors[i].client.session);
			if (it.actors[i].is_here && strstr(id, hex) != NULL)
				out[q] = i;
		}
	}
}

/* It may wait for who had the queue. -1: none. */
static int64_t
ask_progress(uint32_t q)
{
	const struct lt_wire_number *r = (const void *)gateway.reply.bytes;
	struct lt_wire_progress req;
	int status;

	fill_progress(&req, q);
	status = play_call(&gateway, LT_OP_GROUP_PROGRESS, &req, sizeof req);
	for (int i = 0; status == -1001; i++) {
		assert_true(i * 50 <= LT_SHARE_LEAVE_MS);
		play_pass(50);
		if (play_receive(&gateway) == 1)
			status = r->h.status;
	}
	assert_true(status == LEAT_OK || status == LEAT_E_NOTFOUND);
	return status == LEAT_OK ? (int64_t)r->number : -1;
}

static int
is_new_manager(void)
{
	return play_manager()->share_from_ms != 0;
}

static void
take_queue(uint32_t q)
{
	int64_t at = ask_progress(q);

	it.next[q] = at < 0 ? 0 : at;
	it.remote_has |= 1u << q;
	it.moves++;
}

static void
drop_queue(uint32_t q)
{
	(void)commit(q, it.next[q]);
	it.remote_has &= ~(1u << q);
	it.moves++;
}

/* As clients do when they are told. */
static void
rebalance(void)
{
	int owner[QUEUES];

	if (is_new_manager())
		return;
	owners(owner);
	for (uint32_t q = 0; q < QUEUES; q++)
		if ((it.remote_has & 1u << q) != 0 &&
		    (owner[q] >= 0 || it.remote == 0))
			drop_queue(q);
	for (uint32_t q = 0; q < QUEUES; q++)
		if ((it.remote_has & 1u << q) == 0 && owner[q] < 0 &&
		    it.remote != 0)
			take_queue(q);
}

static void
tell(void)
{
	char ids[64] = "";

	for (int i = 0; i < REMOTES; i++)
		if ((it.remote & 1u << i) != 0) {
			strcat(ids, ids[0] != 0 ? " " : "");
			strcat(ids, remote_ids[i]);
		}
	remotes(ids);
}

static void
change_remotes(void)
{
	unsigned was = it.remote;

	it.remote = dice(1u << REMOTES);
	for (uint32_t q = 0; was != 0 && it.remote == 0 && q < QUEUES; q++)
		if ((it.remote_has & 1u << q) != 0)
			drop_queue(q);
	tell();
	rebalance();
}

static void
read_remotely(uint32_t q, int64_t most)
{
	if ((it.remote_has & 1u << q) == 0)
		return;
	for (; most > 0 && it.next[q] < it.end[q]; most--, it.next[q]++)
		have(q, it.next[q]);
	if (dice(3) == 0)
		(void)commit(q, it.next[q]);
}

/* Somebody who does not know that a local member has the queue. */
static void
commit_nonsense(void)
{
	uint32_t q = dice(QUEUES);

	for (int i = 0; i < LOCALS; i++)
		if (is_open(&it.actors[i], q)) {
			assert_int_equal(commit(q, dice(MESSAGES)), 0);
			return;
		}
}

/* --- deaths ----------------------------------------------------------------
 */

static void
new_gateway(void)
{
	lt_session_end(
	    lt_session_find(play_manager(), gateway.session), LEAT_E_CLOSED);
	play_close(&gateway);
	member_connect_client(&gateway);
	tell();
	rebalance();
}

static void
come_back(struct play_client *c)
{
	struct play_client again;

	play_connect(&again);
	OK(play_resume(&again, c));
	play_close(c);
	*c = again;
}

static void
new_queue_manager(void)
{
	it.restarts++;
	play_queue_kill();
	play_queue_start();
	for (int i = 0; i < LOCALS; i++) {
		struct actor *a = &it.actors[i];

		if (!a->is_here)
			continue;
		come_back(&a->client);
		a->m.heard = 0;
		for (uint32_t q = 0; q < QUEUES; q++)
			ask_again(&a->m, q, resume_of(&a->m.sub[q]));
	}
	come_back(&gateway);
	come_back(&member_client);
	/* All that was committed is said again. */
	for (uint32_t q = 0; q < QUEUES; q++)
		if ((it.remote_has & 1u << q) != 0)
			(void)commit(q, it.next[q]);
	tell();
}

/* --- the story -------------------------------------------------------------
 */

static void
check_progress(void)
{
	for (uint32_t q = 0; q < QUEUES; q++) {
		int64_t p = ask_progress(q);

		if (p > first_undone(q))
			fail_msg("queue %u: progress %lld, %lld not had", q,
			    (long long)p, (long long)first_undone(q));
	}
}

static void
calm_down(void)
{
	int owner[QUEUES];

	if (is_new_manager())
		play_pass(play_manager()->options.queue_session_grace_ms);
	for (int i = 0; i < LOCALS; i++)
		finish_held(&it.actors[i]);
	for (int round = 0; round < 4; round++) {
		play_pass(LT_SHARE_GAIN_MS + LT_SHARE_LEAVE_MS);
		rebalance();
		for (int i = 0; i < LOCALS; i++)
			if (it.actors[i].is_here)
				(void)follow(&it.actors[i].m);
	}
	owners(owner);
	for (uint32_t q = 0; q < QUEUES; q++)
		for (int i = 0; i < LOCALS; i++)
			if (it.actors[i].is_here)
				assert_int_equal(is_open(&it.actors[i], q),
				    it.remote == 0 || owner[q] == i);
	check_progress();
}

static void
consume_all(void)
{
	int any = it.remote != 0;

	for (uint32_t q = 0; q < QUEUES; q++) {
		for (int i = 0; i < LOCALS; i++) {
			any |= it.actors[i].is_here;
			eat(&it.actors[i], q, 1);
		}
		read_remotely(q, MESSAGES);
		if ((it.remote_has & 1u << q) != 0)
			assert_int_equal(commit(q, it.next[q]), 1);
	}
	for (uint32_t q = 0; any && q < QUEUES; q++) {
		assert_int_equal(first_undone(q), it.end[q]);
		if (it.end[q] > 0)
			assert_int_equal(progress(q), it.end[q]);
	}
}

static void
one_step(void)
{
	struct actor *a = &it.actors[dice(LOCALS)];
	uint32_t what = dice(100);

	if (what < 30)
		publish_some();
	else if (what < 50)
		eat(a, dice(QUEUES), 0);
	else if (what < 60)
		read_remotely(dice(QUEUES), 1 + dice(4));
	else if (what < 66)
		finish_held(a);
	else if (what < 72 && a->is_here)
		(void)follow(&a->m);
	else if (what < 78)
		rebalance();
	else if (what < 84)
		commit_nonsense();
	else if (what < 90)
		play_pass(dice(1500));
	else if (what < 95)
		(a->is_here ? go : come)(a);
	else if (what < 98)
		change_remotes();
	else if (what < 99)
		new_gateway();
	else
		new_queue_manager();
}

static int
setup(void **state)
{
	if (member_setup(state) != 0)
		return -1;
	member_connect_client(&gateway);
	OK(play_create(&member_client, "s", QUEUES));
	return 0;
}

static int
teardown(void **state)
{
	for (int i = 0; i < LOCALS; i++)
		if (it.actors[i].is_here)
			go(&it.actors[i]);
	play_close(&gateway);
	return member_teardown(state);
}

static uint64_t
setting(const char *name, uint64_t def)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : def;
}

static void
a_random_story(void **state)
{
	uint64_t steps =
	    setting("LEAT_STEPS", getenv("LEAT_LONG") != NULL ? 100000 : 4000);

	it.seed = setting("LEAT_SEED", (uint64_t)time(NULL) | 1);
	it.random = it.seed * 0x9e3779b97f4a7c15 | 1;
	print_message("LEAT_SEED=%llu LEAT_STEPS=%llu\n",
	    (unsigned long long)it.seed, (unsigned long long)steps);
	for (uint64_t i = 0; i < steps; i++) {
		one_step();
		if (dice(10) == 0)
			check_progress();
		if (dice(40) == 0) {
			calm_down();
			consume_all();
		}
	}
	print_message("%u consumed, %u of them again; %u changes of hands, "
		      "%u deaths of leat-queue\n",
	    it.consumed, it.twice, it.moves, it.restarts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_random_story, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
