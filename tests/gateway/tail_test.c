/*
 * tail_test.c - the walk behind the end of the log and what a pull finds, over
 * a store written by depot.c.
 */
#include "config.h"
#include "tail/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "leat/status.h"
#include "tests/store/depot.h"

static struct depot depot;
static struct lt_reader *reader;
static struct lt_cq_view *view;
static struct lt_tail *tail;

static int
setup(void **state)
{
	depot_make(&depot);
	assert_int_equal(depot_open(&depot), LEAT_OK);
	assert_int_equal(lt_reader_open(depot.dir, &reader), LEAT_OK);
	assert_int_equal(lt_cq_view_open(depot.dir, &view), LEAT_OK);
	assert_int_equal(lt_tail_create(reader, &tail), LEAT_OK);
	return 0;
}

static int
teardown(void **state)
{
	lt_tail_destroy(tail);
	lt_cq_view_close(view);
	lt_reader_close(reader);
	depot_shut(&depot);
	depot_remove(&depot);
	return 0;
}

static uint64_t
log_end(void)
{
	return lt_commitlog_end(depot.log);
}

static struct lt_tail_queue *
queue_of(const char *topic, uint32_t queue)
{
	return lt_tail_queue(tail, topic, strlen(topic), queue, log_end());
}

static void
follow(uint64_t budget)
{
	int rc;

	while ((rc = lt_tail_follow(tail, log_end(), budget)) == LEAT_E_AGAIN)
		;
	assert_int_equal(rc, LEAT_OK);
}

/* The message that the model has there. */
static const struct depot_message *
model(const char *topic, uint32_t queue, int64_t offset)
{
	for (size_t i = 0; i < depot.count; i++)
		if (!depot.messages[i].is_dropped &&
		    strcmp(depot.messages[i].topic, topic) == 0 &&
		    depot.messages[i].queue == queue &&
		    depot.messages[i].queue_offset == offset)
			return &depot.messages[i];
	return NULL;
}

/* What is found from offset on is the model's, in order and whole. */
static void
check_found(const struct lt_tail_queue *q, struct lt_gather *g)
{
	uint8_t *buf = malloc(g->bytes);
	size_t count = g->count, at = 0;

	assert_non_null(buf);
	assert_int_equal(lt_gather_copy(g, reader, buf), g->bytes);
	assert_int_equal(g->count, count);
	for (size_t i = 0; i < count; i++) {
		const struct depot_message *m =
		    model(q->topic, q->queue, g->offset + (int64_t)i);
		struct lt_record_view v;

		assert_non_null(m);
		assert_int_equal(
		    lt_record_parse(buf + at, g->bytes - at, &v), LEAT_OK);
		assert_int_equal(lt_record_check(&v), LEAT_OK);
		assert_true(v.log_offset == (int64_t)m->log_offset);
		assert_true(v.queue_offset == m->queue_offset);
		at += v.bytes;
	}
	free(buf);
}

static struct lt_gather
ask(int64_t offset)
{
	return (struct lt_gather){
	    .offset = offset, .max_messages = 32, .max_bytes = 1 << 20};
}

/* Nothing is walked before somebody asks; from then on each message is there,
 * over rolled segments too, whatever the budget. */
static void
test_follows(void **state)
{
	struct lt_tail_queue *q, *other;
	struct lt_gather g;

	depot_put(&depot, "orders", 1, 100);
	assert_int_equal(lt_tail_follow(tail, log_end(), 1), LEAT_OK);
	q = queue_of("orders", 1);
	assert_ptr_equal(q, queue_of("orders", 1));
	other = queue_of("orders", 2);
	assert_int_equal(lt_tail_count(tail), 2);
	for (int i = 0; i < 400; i++) {
		depot_put(&depot, "orders", 1, 900);
		depot_put(&depot, "else", 1, 10);
	}
	assert_true(lt_reader_count(reader) < 5);
	follow(5000);
	assert_true(log_end() > 5 * DEPOT_SEGMENT);
	assert_int_equal(q->first, 1);
	assert_int_equal(q->next, 401);
	assert_int_equal(other->next, -1);
	assert_ptr_equal(lt_tail_grown(tail), q);
	assert_null(lt_tail_grown(tail));
	lt_tail_told(q, 0, 1, 1);
	for (int64_t at = 1; at < 401; at = g.next_offset) {
		g = ask(at);
		assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
		check_found(q, &g);
		assert_int_equal(
		    g.next_offset - at, at + 32 <= 401 ? 32 : 401 - at);
	}
}

/* Where ring, files and the store's memory meet. */
static void
test_meets_the_files(void **state)
{
	struct lt_tail_queue *q;
	struct lt_gather g = ask(0);

	for (int i = 0; i < 20; i++)
		depot_put(&depot, "orders", 1, 50);
	depot_checkpoint(&depot);
	for (int i = 0; i < 5; i++)
		depot_put(&depot, "orders", 1, 50);
	q = queue_of("orders", 1);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_ASK);
	for (int i = 0; i < LT_TAIL_ENTRIES; i++)
		depot_put(&depot, "orders", 1, 50);
	follow(UINT64_MAX / 2);
	lt_tail_told(q, 0, 25, 1);
	assert_int_equal(q->end, 25 + LT_TAIL_ENTRIES);

	/* In the files; then only in the store's memory; then in the ring. */
	g = ask(0);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.next_offset, 20);
	check_found(q, &g);
	g = ask(20);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_ASK);
	assert_int_equal(lt_cq_flush_all(depot.queues), LEAT_OK);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.next_offset, 52);
	check_found(q, &g);

	/* Around the ends. */
	g = ask(q->end);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_AT_END);
	assert_int_equal(g.next_offset, q->end);
	g = ask(q->end + 1);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_BEYOND);
	lt_tail_told(q, 7, 25, 1);
	g = ask(6);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_BELOW);
}

/* Limits of an answer: messages, bytes (never less than one message), filter.*/
static void
test_limits(void **state)
{
	static const int64_t none = 4711;
	struct lt_gather_filter filter = {&none, 1};
	struct lt_tail_queue *q = queue_of("orders", 0);
	struct lt_gather g;
	uint32_t one;

	for (int i = 0; i < 100; i++)
		depot_put(&depot, "orders", 0, 1000);
	follow(UINT64_MAX / 2);
	lt_tail_told(q, 0, 0, 1);
	one = depot.messages[0].bytes;
	g = ask(0);
	g.max_messages = 3;
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.count, 3);
	assert_int_equal(g.next_offset, 3);
	g = ask(0);
	g.max_bytes = 2 * one + one / 2;
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.count, 2);
	assert_int_equal(g.next_offset, 2);
	g = ask(0);
	g.max_bytes = 1;
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.count, 1);
	g = ask(0);
	g.filter = &filter;
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_NO_MATCH);
	assert_int_equal(g.next_offset, 100);
}

/* A damaged record costs an answer that record, and the walk no other. */
static void
test_damage(void **state)
{
	struct lt_tail_queue *q = queue_of("orders", 0);
	struct lt_gather g = ask(0);
	uint8_t *buf;

	for (int i = 0; i < 10; i++)
		depot_put(&depot, "orders", 0, 200);
	depot_flip(&depot, depot.messages[3].log_offset + 120); /* its body */
	depot_zero(&depot, depot.messages[5].log_offset, 8); /* its head */
	follow(UINT64_MAX / 2);
	lt_tail_told(q, 0, 0, 1);
	/* Without its head the fifth is none: the run begins behind it. */
	assert_int_equal(q->first, 6);
	assert_int_equal(q->next, 10);
	assert_int_equal(lt_cq_flush_all(depot.queues), LEAT_OK);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	assert_int_equal(g.count, 10);
	buf = malloc(g.bytes);
	assert_non_null(buf);
	(void)lt_gather_copy(&g, reader, buf);
	assert_int_equal(g.count, 8);
	assert_int_equal(g.next_offset, 10);
	free(buf);
}

/* Too far behind: at the end again, and everybody is told. A topic made anew
 * begins at 0. */
static void
test_jumps(void **state)
{
	struct lt_tail_queue *q = queue_of("orders", 0);
	struct lt_gather g = ask(0);
	uint64_t end = log_end();

	depot_put(&depot, "orders", 0, 10);
	follow(UINT64_MAX / 2);
	assert_ptr_equal(lt_tail_grown(tail), q);
	assert_int_equal(q->end, 1);
	/* A store whose log ended before (the whole broker lost power). */
	assert_int_equal(lt_tail_follow(tail, end, 1 << 20), LEAT_OK);
	assert_int_equal(q->end, -1);
	assert_int_equal(q->next, -1);
	assert_ptr_equal(lt_tail_grown(tail), q);
	lt_tail_told(q, 0, 1, 1);
	follow(UINT64_MAX / 2);
	assert_int_equal(q->next, 1);

	depot_drop(&depot, "orders");
	depot_forget_topic(&depot, "orders");
	depot_put(&depot, "orders", 0, 10);
	follow(UINT64_MAX / 2);
	assert_int_equal(q->first, 0);
	assert_int_equal(q->end, 1);
	assert_int_equal(lt_gather_find(q, view, &g), LT_GATHER_FOUND);
	check_found(q, &g);

	q->user = NULL;
	lt_tail_drop(tail, q);
	assert_int_equal(lt_tail_count(tail), 0);
	assert_null(lt_tail_grown(tail));
	assert_int_equal(lt_tail_follow(tail, log_end(), 1), LEAT_OK);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_follows),
	    T(test_meets_the_files),
	    T(test_limits),
	    T(test_damage),
	    T(test_jumps),
	};

	return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
