/*
 * fetch_test.c - reads from the log: ranges, batches, damage, retention, the
 * buffer, and finding messages by id and key.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "play.h"

static struct play_client c;
static struct lt_segment buffer;
static uint32_t topic;

static int
setup(void **state)
{
	play_init();
	play_queue_start();
	play_store_start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_create(&c, "t", 2), LEAT_OK);
	topic = ((struct lt_wire_topic *)c.reply.bytes)->id;
	return 0;
}

static int
teardown(void **state)
{
	lt_segment_detach(&buffer);
	play_close(&c);
	play_fini();
	return 0;
}

static void
publish(int n)
{
	char body[32];

	for (int i = 0; i < n; i++) {
		snprintf(body, sizeof(body), "body %d", i);
		play_publish("t", 0, i == 3 ? "alpha beta" : NULL, NULL, body,
		    strlen(body));
	}
}

static const struct lt_wire_fetched *
fetched(void)
{
	return (const struct lt_wire_fetched *)c.reply.bytes;
}

/* Map a new buffer, if one came. */
static void
take_buffer(void)
{
	void *p;

	if (!fetched()->has_buffer)
		return;
	assert_int_equal(c.reply.fd_count, 1);
	lt_segment_detach(&buffer);
	p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c.reply.fds[0], 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(
	    lt_segment_attach(&buffer, c.reply.fds[0], LT_SEGMENT_FETCH, 0, 1),
	    LEAT_OK);
}

static int
fetch(uint32_t queue, int64_t offset, uint32_t max_bytes, uint32_t max_count)
{
	struct lt_wire_fetch req;
	int status;

	memset(&req, 0, sizeof(req));
	req.topic = topic;
	req.queue = queue;
	req.offset = offset;
	req.max_bytes = max_bytes;
	req.max_count = max_count;
	status = play_call(&c, LT_OP_FETCH, &req, sizeof(req));
	if (status == LEAT_OK)
		take_buffer();
	return status;
}

/* Record i of the buffer. */
static struct lt_ring_head
record_at(uint32_t i, struct lt_record_view *view)
{
	const uint8_t *base = (const uint8_t *)buffer.base + LT_SEGMENT_DATA_AT;
	struct lt_ring_head head;
	uint64_t at = 0;

	for (;; i--) {
		assert_true(at < fetched()->data_bytes);
		memcpy(&head, base + at, sizeof(head));
		assert_int_equal(head.kind, LT_RING_RECORD);
		if (i == 0)
			break;
		at += lt_bytes_align(sizeof(head) + head.bytes, LT_RING_ALIGN);
	}
	assert_int_equal(
	    lt_record_parse(base + at + sizeof(head), head.bytes, view),
	    LEAT_OK);
	assert_int_equal(lt_record_check(view), LEAT_OK);
	return head;
}

static void
records_come_whole_and_in_order(void **state)
{
	struct lt_record_view v;
	struct lt_ring_head head;

	publish(10);
	assert_int_equal(fetch(0, 2, 0, 5), LEAT_OK);
	assert_int_equal(fetched()->count, 5);
	assert_int_equal(fetched()->next_offset, 7);
	assert_int_equal(fetched()->max_offset, 10);
	assert_int_equal(fetched()->min_offset, 0);
	for (uint32_t i = 0; i < 5; i++) {
		head = record_at(i, &v);
		assert_int_equal(head.queue_offset, 2 + i);
		assert_int_equal(v.queue_offset, 2 + i);
		assert_int_equal(head.log_offset, v.log_offset);
	}
	assert_memory_equal(v.body, "body 6", 6);
	/* The buffer stays. */
	assert_int_equal(fetch(0, 7, 0, 0), LEAT_OK);
	assert_false(fetched()->has_buffer);
	assert_int_equal(fetched()->count, 3);
	assert_int_equal(fetch(0, 10, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 0);
	assert_int_equal(fetched()->next_offset, 10);
	assert_int_equal(fetched()->max_offset, 10);
}

static void
bytes_are_limited_but_one_record_always_comes(void **state)
{
	publish(10);
	assert_int_equal(fetch(0, 0, 1, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 1);
	uint64_t one = fetched()->data_bytes;
	assert_int_equal(fetch(0, 0, (uint32_t)one * 3, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 3);
}

/* Entries that are still in the store's memory. */
static void
the_store_is_asked_only_at_the_end(void **state)
{
	publish(3);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 3);
	unsigned asked = play_store_got(LT_OP_S_QUEUE_SYNC);
	assert_int_equal(fetch(0, 1, 0, 0), LEAT_OK);
	assert_int_equal(play_store_got(LT_OP_S_QUEUE_SYNC), asked);
	publish(2);
	assert_int_equal(fetch(0, 3, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 2);
	assert_int_equal(play_store_got(LT_OP_S_QUEUE_SYNC), asked + 1);
	/* Without a store nothing in the files is to be believed. */
	play_store_kill();
	play_pump();
	assert_int_equal(fetch(0, 0, 0, 0), -1001);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	take_buffer();
	assert_int_equal(fetched()->count, 5);
}

static void
damage_costs_the_damaged_record(void **state)
{
	struct lt_record_view v;

	publish(6);
	play_damage("t", 0, 2);
	play_damage("t", 0, 5);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 4);
	assert_int_equal(fetched()->skipped, 2);
	assert_int_equal(fetched()->next_offset, 6);
	assert_int_equal(record_at(2, &v).queue_offset, 3);
}

/* A flipped bit in an entry's size: no buffer of gigabytes, no end of the
 * queue.
 */
static void
a_damaged_size_costs_one_record(void **state)
{
	struct lt_record_view v;

	publish(6);
	play_resize("t", 0, 0, LT_BODY_MAX + LT_RECORD_OVERHEAD + 1);
	play_resize("t", 0, 3, 0x80000100);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 2);
	assert_int_equal(fetched()->skipped, 1);
	assert_int_equal(fetched()->next_offset, 3);
	assert_int_equal(fetch(0, 3, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 2);
	assert_int_equal(fetched()->skipped, 1);
	assert_int_equal(fetched()->next_offset, 6);
	assert_int_equal(record_at(0, &v).queue_offset, 4);
	assert_true(buffer.head.data_bytes < LT_BODY_MAX);
}

/* The store dies, unnoticed yet, and what is read looks like a gap. */
static void
a_gap_under_a_dead_store_is_none(void **state)
{
	struct lt_wire_fetch req = {.topic = topic};

	publish(6);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	play_damage("t", 0, 2);
	play_post(&c, LT_OP_FETCH, &req, sizeof(req));
	play_store_die_unseen();
	play_heal("t", 0, 2);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	take_buffer();
	assert_int_equal(fetched()->count, 6);
	assert_int_equal(fetched()->skipped, 0);
}

/* What must be there is not given up before the store was asked again. */
static void
missing_entries_are_asked_for_again(void **state)
{
	struct lt_wire_fetch req = {.topic = topic};
	unsigned asked;

	publish(6);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	asked = play_store_got(LT_OP_S_QUEUE_SYNC);
	play_hide("t", 0, 1);
	play_store_mute(1);
	play_post(&c, LT_OP_FETCH, &req, sizeof(req));
	play_pump();
	play_hide("t", 0, 0);
	play_store_mute(0);
	play_pump();
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(play_store_got(LT_OP_S_QUEUE_SYNC), asked + 1);
	assert_int_equal(fetched()->count, 6);
	assert_int_equal(fetched()->skipped, 0);
	/* They stay away: said to be lost, once the store was asked. */
	play_hide("t", 0, 1);
	assert_int_equal(fetch(0, 2, 0, 0), LEAT_OK);
	assert_int_equal(play_store_got(LT_OP_S_QUEUE_SYNC), asked + 2);
	assert_int_equal(fetched()->count, 0);
	assert_int_equal(fetched()->skipped, 4);
	assert_int_equal(fetched()->next_offset, 6);
}

/* It waited for the store; the client has asked for something else since. */
static void
a_late_answer_leaves_the_buffer_alone(void **state)
{
	struct lt_wire_fetch req = {.topic = topic, .queue = 1};
	struct lt_record_view v;

	publish(6);
	play_publish("t", 1, NULL, NULL, "other", 5);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	play_store_mute(1);
	play_post(&c, LT_OP_FETCH, &req, sizeof(req));
	play_pump();
	assert_int_equal(fetch(0, 0, 0, 1), LEAT_OK);
	(void)record_at(0, &v);
	assert_memory_equal(v.body, "body 0", 6);
	play_store_mute(0);
	play_pump();
	assert_memory_equal(v.body, "body 0", 6);
	assert_int_equal(fetch(1, 0, 0, 0), LEAT_OK);
	(void)record_at(0, &v);
	assert_memory_equal(v.body, "other", 5);
}

/* The answer that brought the buffer may be lost with its connection. */
static void
a_new_connection_gets_the_buffer_again(void **state)
{
	struct play_client again;

	publish(3);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	play_close(&c);
	c = again;
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_true(fetched()->has_buffer);
	assert_int_equal(fetched()->count, 3);
}

static void
what_retention_took_is_stepped_over(void **state)
{
	struct lt_record_view v;

	publish(10);
	play_retain("t", 0, 4);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->min_offset, 4);
	assert_int_equal(fetched()->count, 6);
	assert_int_equal(fetched()->skipped, 0);
	assert_int_equal(record_at(0, &v).queue_offset, 4);
}

/* Between the files and the counter that says so: each record is missed, the
 * files are listed once. */
static void
what_retention_just_took_is_stepped_over(void **state)
{
	struct lt_record_view v;
	unsigned before;

	publish(300);
	assert_int_equal(fetch(0, 299, 0, 0), LEAT_OK);
	before = play_refreshes();
	play_unlink("t", 0, 200);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 100);
	assert_int_equal(fetched()->skipped, 0);
	assert_int_equal(record_at(0, &v).queue_offset, 200);
	assert_int_equal(play_refreshes(), before + 1);
}

static void
the_buffer_grows_for_a_large_record(void **state)
{
	size_t bytes = 3 << 20;
	char *body = calloc(1, bytes);
	struct lt_record_view v;

	assert_non_null(body);
	publish(1);
	play_publish("t", 0, NULL, NULL, body, bytes);
	free(body);
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_OK);
	assert_int_equal(fetched()->count, 1); /* the other does not fit */
	assert_int_equal(fetch(0, 1, 0, 0), LEAT_OK);
	assert_true(fetched()->has_buffer);
	assert_int_equal(fetched()->count, 1);
	(void)record_at(0, &v);
	assert_int_equal(v.body_bytes, bytes);
}

static void
illegal_fetches(void **state)
{
	assert_int_equal(fetch(2, 0, 0, 0), LEAT_E_QUEUE);
	assert_int_equal(fetch(0, -1, 0, 0), LEAT_E_INVALID);
	topic += 50;
	assert_int_equal(fetch(0, 0, 0, 0), LEAT_E_NOTFOUND);
}

static void
ranges(void **state)
{
	const struct lt_wire_range *r = (const void *)c.reply.bytes;
	struct lt_wire_queue req;

	publish(9);
	play_retain("t", 0, 3);
	memset(&req, 0, sizeof(req));
	strcpy(req.name, "t");
	assert_int_equal(
	    play_call(&c, LT_OP_QUEUE_RANGE, &req, sizeof(req)), LEAT_OK);
	assert_int_equal(r->min_offset, 3);
	assert_int_equal(r->max_offset, 9);
	req.queue = 1;
	assert_int_equal(
	    play_call(&c, LT_OP_QUEUE_RANGE, &req, sizeof(req)), LEAT_OK);
	assert_int_equal(r->max_offset, 0);
	req.queue = 2;
	assert_int_equal(
	    play_call(&c, LT_OP_QUEUE_RANGE, &req, sizeof(req)), LEAT_E_QUEUE);
	memset(req.name, 'x', sizeof(req.name)); /* not terminated */
	assert_int_equal(
	    play_call(&c, LT_OP_QUEUE_RANGE, &req, sizeof(req)), LEAT_E_NAME);
}

/* --- find ---------------------------------------------------------------- */

static int
find(uint32_t what, const char *name, const char *key)
{
	struct lt_wire_find req;
	int status;

	memset(&req, 0, sizeof(req));
	req.what = what;
	req.max = 10;
	(void)lt_bytes_field(req.topic, sizeof(req.topic), name);
	(void)lt_bytes_field(req.key, sizeof(req.key), key);
	status = play_call(&c, LT_OP_FIND, &req, sizeof(req));
	if (status == LEAT_OK)
		take_buffer();
	return status;
}

static void
keys_are_words(void **state)
{
	struct lt_record_view v;

	publish(5);
	publish(5);
	assert_int_equal(find(2, "t", "beta"), LEAT_OK);
	assert_int_equal(fetched()->count, 2);
	assert_int_equal(record_at(0, &v).queue_offset, 3);
	assert_int_equal(record_at(1, &v).queue_offset, 8);
	/* The index answers with candidates only. */
	assert_int_equal(find(2, "t", "bet"), LEAT_E_NOTFOUND);
	assert_int_equal(find(2, "t", "alpha beta"), LEAT_E_NOTFOUND);
	assert_int_equal(find(2, "absent", "beta"), LEAT_E_NOTFOUND);
	assert_int_equal(find(2, "", "beta"), LEAT_E_INVALID);
	assert_int_equal(find(3, "t", "beta"), LEAT_E_INVALID);
}

static void
ids_of_both_kinds(void **state)
{
	struct lt_record_view v;
	char id[33], offset_id[33];
	const char *value;
	size_t bytes;

	publish(5);
	assert_int_equal(fetch(0, 2, 0, 1), LEAT_OK);
	(void)record_at(0, &v);
	assert_int_equal(
	    lt_record_property(&v, "UNIQ_KEY", 8, &value, &bytes), LEAT_OK);
	assert_int_equal(bytes, 32);
	memcpy(id, value, 32);
	id[32] = 0;
	lt_bytes_hex64(offset_id, lt_bytes_get64(v.base + 64));
	lt_bytes_hex64(offset_id + 16, (uint64_t)v.log_offset);
	offset_id[32] = 0;
	assert_int_equal(find(1, "", id), LEAT_OK);
	assert_int_equal(fetched()->count, 1);
	assert_int_equal(record_at(0, &v).queue_offset, 2);
	assert_int_equal(find(1, "t", id), LEAT_OK);
	assert_int_equal(fetched()->count, 1);
	assert_int_equal(find(1, "", offset_id), LEAT_OK);
	assert_int_equal(record_at(0, &v).queue_offset, 2);
	offset_id[0] = 'F'; /* another broker's */
	assert_int_equal(find(1, "", offset_id), LEAT_E_NOTFOUND);
	assert_int_equal(find(1, "", "nonsense"), LEAT_E_NOTFOUND);
}

static void
system_records_are_not_found(void **state)
{
	struct lt_record_view v;

	play_manager()->options.access_count = 1;
	play_manager()->options.access[0] =
	    (struct lt_access_rule){.who.kind = LT_PRINCIPAL_ANY,
		.what = LT_ACCESS_TOPIC,
		.rights = LT_RIGHT_SUBSCRIBE,
		.pattern = "*"};
	struct play_client d = c;
	struct lt_conn *conn = LIST_FIRST(&play_manager()->conns);
	conn->peer.uid = 4242;
	/* Log offset 0 is the topic's configuration. */
	assert_int_equal(
	    find(1, "", "7F00000100002A9F0000000000000000"), LEAT_E_NOTFOUND);
	conn->peer.uid = play_manager()->uid;
	assert_int_equal(
	    find(1, "", "7F00000100002A9F0000000000000000"), LEAT_OK);
	(void)record_at(0, &v);
	assert_int_equal(v.log_offset, 0);
	assert_int_equal(d.fd, c.fd);
}

static void
status_has_the_counters(void **state)
{
	const struct lt_wire_status *r = (const void *)c.reply.bytes;
	struct lt_wire_none req;
	struct lt_segment seg;

	assert_int_equal(
	    play_call(&c, LT_OP_STATUS, &req, sizeof(req)), LEAT_OK);
	assert_string_equal(r->broker, "leat");
	assert_int_equal(c.reply.fd_count, 1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			     c.reply.fds[0], 0),
	    MAP_FAILED);
	assert_int_equal(
	    lt_segment_attach(&seg, c.reply.fds[0], LT_SEGMENT_COUNTER, 0, 0),
	    LEAT_OK);
	lt_segment_detach(&seg);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(records_come_whole_and_in_order),
	    TEST(bytes_are_limited_but_one_record_always_comes),
	    TEST(the_store_is_asked_only_at_the_end),
	    TEST(damage_costs_the_damaged_record),
	    TEST(a_damaged_size_costs_one_record),
	    TEST(a_gap_under_a_dead_store_is_none),
	    TEST(missing_entries_are_asked_for_again),
	    TEST(a_late_answer_leaves_the_buffer_alone),
	    TEST(a_new_connection_gets_the_buffer_again),
	    TEST(what_retention_took_is_stepped_over),
	    TEST(what_retention_just_took_is_stepped_over),
	    TEST(the_buffer_grows_for_a_large_record),
	    TEST(illegal_fetches),
	    TEST(ranges),
	    TEST(keys_are_words),
	    TEST(ids_of_both_kinds),
	    TEST(system_records_are_not_found),
	    TEST(status_has_the_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
