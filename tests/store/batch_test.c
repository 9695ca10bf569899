/* batch_test.c - what gets into a batch, and what does not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <string.h>
#include <unistd.h>

#include "leat/leat.h"
#include "shm/counter.h"

static struct rig rig;
static char dir[64];

static int
setup(void **state)
{
	rig_dir_make(dir);
	rig_start(&rig, dir, NULL);
	return 0;
}

static int
teardown(void **state)
{
	rig_drop(&rig);
	rig_dir_remove(dir);
	return 0;
}

static int
put(struct rig_client *c, uint32_t queue)
{
	return rig_put(c, RIG_TOPIC, RIG_NAME, queue, 0, "hello", 5);
}

static uint64_t
logged(const struct rig_client *c)
{
	return atomic_load_explicit(&c->shown->logged, memory_order_acquire);
}

/* A busy lane takes its turn and no more; everybody is served in one sweep. */
static void
test_lanes_take_turns(void **state)
{
	struct rig_client busy, quiet;

	rig_client_make(&busy, 1, RIG_LANE);
	rig_client_make(&quiet, 2, RIG_LANE);
	rig_attach(&rig, &busy, -1);
	rig_attach(&rig, &quiet, -1);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(put(&busy, 0), LEAT_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(put(&quiet, 0), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(logged(&quiet), 10);
	assert_true(logged(&busy) >= 100 && logged(&busy) <= 256);
	for (int i = 0; i < 10; i++)
		assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(logged(&busy), 1000);
	rig_client_free(&busy);
	rig_client_free(&quiet);
}

/* One large record is a turn by itself. */
static void
test_large_records_take_turns(void **state)
{
	struct rig_client busy, quiet;
	static char body[60000];

	rig_client_make(&busy, 1, RIG_LANE);
	rig_client_make(&quiet, 2, RIG_LANE);
	rig_attach(&rig, &busy, -1);
	rig_attach(&rig, &quiet, -1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(rig_put(&busy, RIG_TOPIC, RIG_NAME, 0, 0, body,
				     sizeof(body)),
		    LEAT_OK);
	assert_int_equal(put(&quiet, 0), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(logged(&busy), 2);
	assert_int_equal(logged(&quiet), 1);
	rig_client_free(&busy);
	rig_client_free(&quiet);
}

static void
expect_refused(struct rig_client *c, int status)
{
	uint64_t end = lt_commitlog_end(rig.d.log);
	struct lt_page_done done;

	assert_int_equal(rig_turn(&rig), LEAT_OK);
	done = rig_done(c, c->seq);
	assert_int_equal(done.status, status);
	assert_int_equal(done.log_offset, -1);
	assert_int_equal(done.queue_offset, -1);
	assert_true(lt_commitlog_end(rig.d.log) == end);
}

/* Each refusal has its status, leaves no trace, and the next record passes. */
static void
test_refusals(void **state)
{
	struct rig_client c;
	struct lt_session *s;
	static char body[8192];
	uint8_t *record;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	s = lt_session_find(&rig.d, 1);
	rig_topic(&rig, 8, "denied", 4, 6);
	rig_topic(&rig, 9, "readonly", 4, 4);
	rig_topic(&rig, 10, "rmq_sys_leat_config", 1, 6);
	assert_int_equal(lt_session_grant(s, 9, 1), LEAT_OK);
	assert_int_equal(lt_session_grant(s, 10, 1), LEAT_OK);

	assert_int_equal(rig_put(&c, 99, "nowhere", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_NOTFOUND);
	assert_int_equal(
	    rig_put(&c, 0xffffffff, "nowhere", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_NOTFOUND);
	assert_int_equal(rig_put(&c, 8, "denied", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_DENIED);
	assert_int_equal(rig_put(&c, 9, "readonly", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_PERM);
	assert_int_equal(
	    rig_put(&c, 10, "rmq_sys_leat_config", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_PERM);
	assert_int_equal(put(&c, 4), LEAT_OK);
	expect_refused(&c, LEAT_E_QUEUE);
	assert_int_equal(
	    rig_put(&c, RIG_TOPIC, "other", 0, 0, "x", 1), LEAT_OK);
	expect_refused(&c, LEAT_E_CORRUPT);

	record = c.writer.data + (c.writer.tail & (c.writer.size - 1)) + 32;
	assert_int_equal(put(&c, 0), LEAT_OK);
	record[84] = 0x7f; /* body length */
	expect_refused(&c, LEAT_E_CORRUPT);

	rig.d.options.store_max_body_bytes = 4096;
	assert_int_equal(
	    rig_put(&c, RIG_TOPIC, RIG_NAME, 0, 0, body, 4097), LEAT_OK);
	expect_refused(&c, LEAT_E_TOOBIG);
	assert_int_equal(
	    rig_put(&c, RIG_TOPIC, RIG_NAME, 0, 0, body, 4096), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_done(&c, c.seq).status, LEAT_OK);
	assert_int_equal(rig_done(&c, c.seq).queue_offset, 0);

	assert_int_equal(lt_session_grant(s, RIG_TOPIC, 0), LEAT_OK);
	assert_int_equal(put(&c, 0), LEAT_OK);
	expect_refused(&c, LEAT_E_DENIED);
	rig_client_free(&c);
}

/* Refused and accepted records in turn: order and offsets hold. */
static void
test_refusals_between(void **state)
{
	struct rig_client c;
	struct lt_page_done done;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(put(&c, i % 3 == 2 ? 4 : 1), LEAT_OK);
	rig_turns(&rig);
	for (uint64_t seq = 1; seq <= 30; seq++) {
		done = rig_done(&c, seq);
		if (seq % 3 == 0) {
			assert_int_equal(done.status, LEAT_E_QUEUE);
			continue;
		}
		assert_int_equal(done.status, LEAT_OK);
		assert_int_equal(
		    done.queue_offset, (seq / 3) * 2 + seq % 3 - 1);
	}
	rig_client_free(&c);
}

/* A lane that lies is closed, said so once, and nobody else notices. */
static void
test_forged_lane(void **state)
{
	struct rig_client liar, other;
	struct lt_wire_number m;
	uint64_t before = atomic_load(&lt_counter_words[LT_STAT_store_forged]);

	rig_client_make(&liar, 1, RIG_LANE);
	rig_client_make(&other, 2, RIG_LANE);
	rig_attach(&rig, &liar, -1);
	rig_attach(&rig, &other, -1);
	assert_int_equal(put(&liar, 0), LEAT_OK);
	assert_int_equal(put(&liar, 0), LEAT_OK);
	((struct lt_lane_rec *)(liar.writer.data + liar.writer.tail / 2))
	    ->bytes = 0;
	assert_int_equal(put(&other, 0), LEAT_OK);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(logged(&liar), 1);
	assert_int_equal(logged(&other), 1);
	assert_int_equal(rig_said(&rig, &m, sizeof(m)), LT_OP_E_FORGED);
	assert_true(m.number == 1);
	atomic_store(&other.shared->tail, UINT64_MAX - 31);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_said(&rig, &m, sizeof(m)), LT_OP_E_FORGED);
	assert_true(m.number == 2);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_int_equal(rig_said(&rig, &m, sizeof(m)), 0);
	assert_true(
	    atomic_load(&lt_counter_words[LT_STAT_store_forged]) == before + 2);
	/* Detaching waits for nothing in a closed lane. */
	lt_session_detach(&rig.d, lt_session_find(&rig.d, 1), NULL);
	lt_session_finish_detaching(&rig.d);
	assert_null(lt_session_find(&rig.d, 1));
	rig_client_free(&liar);
	rig_client_free(&other);
}

/* Only a session of the broker's own user publishes for others. */
static void
test_relay(void **state)
{
	struct lt_record_spec spec = {
	    .topic = RIG_NAME,
	    .topic_bytes = strlen(RIG_NAME),
	    .text = "UNIQ_KEY\001theirs\002",
	    .text_bytes = 16,
	    .has_id = 1,
	    .born_ip = 0x0a000009,
	    .born_port = 50000,
	};
	struct lt_lane_rec rec = {.kind = LT_LANE_RELAY, .topic = RIG_TOPIC};
	struct lt_page_done done;
	struct rig_client c;
	uint8_t *payload;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		lt_session_find(&rig.d, 1)->may_relay = seq == 2;
		assert_int_equal(
		    lt_lane_claim(&c.writer, 0,
			(uint32_t)lt_record_bytes(&spec, 0), &payload),
		    LEAT_OK);
		rec.bytes = (uint32_t)lt_record_finish(payload, &spec, 0);
		rec.seq = seq;
		lt_lane_put(&c.writer, &rec);
		lt_lane_publish(&c.writer);
		rig_turns(&rig);
		done = rig_done(&c, seq);
		assert_int_equal(
		    done.status, seq == 2 ? LEAT_OK : LEAT_E_DENIED);
	}
	rig_client_free(&c);
}

/* After a crash: what is in the log is answered with its place, what had been
 * refused between is taken now, what is new is logged. */
static void
test_duplicates(void **state)
{
	struct rig_client c;
	struct lt_page_done first[6];
	int64_t end;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(put(&c, i == 2 ? 4 : 0), LEAT_OK);
	rig_turns(&rig);
	for (uint64_t seq = 1; seq <= 5; seq++)
		first[seq] = rig_done(&c, seq);
	rig_drop(&rig);
	rig_start(&rig, dir, NULL);
	rig_client_free(&c);

	/* The whole broker died: a new lane, the same sequences again. */
	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	end = (int64_t)lt_commitlog_end(rig.d.log);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(put(&c, 0), LEAT_OK);
	rig_turns(&rig);
	for (uint64_t seq = 1; seq <= 6; seq++) {
		struct lt_page_done done = rig_done(&c, seq);

		assert_int_equal(done.status, LEAT_OK);
		if (seq == 3 || seq == 6) {
			assert_true(done.log_offset >= end);
			assert_int_equal(done.queue_offset, seq == 3 ? 4 : 5);
			continue;
		}
		assert_true(done.log_offset == first[seq].log_offset);
		assert_true(done.queue_offset == first[seq].queue_offset);
		assert_true(done.store_ms_low == first[seq].store_ms_low);
	}
	rig_client_free(&c);
}

/* Records that do not fit the segment go to the next one; nothing straddles. */
static void
test_rolls(void **state)
{
	struct rig_client c;
	struct lt_wire_number m;
	static char body[100000];
	uint64_t segment = lt_commitlog_segment_bytes(rig.d.log);
	int rolled = 0;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	for (int i = 0; i < 100; i++) {
		struct lt_page_done done;

		assert_int_equal(
		    rig_put(&c, RIG_TOPIC, RIG_NAME, 0, 0, body, sizeof(body)),
		    LEAT_OK);
		while (logged(&c) < c.seq)
			assert_int_equal(rig_turn(&rig), LEAT_OK);
		done = rig_done(&c, c.seq);
		assert_int_equal(done.queue_offset, i);
		assert_true(
		    (uint64_t)done.log_offset / segment ==
		    ((uint64_t)done.log_offset + sizeof(body) + 8) / segment);
	}
	while (rig_said(&rig, &m, sizeof(m)) == LT_OP_E_ROLLED) {
		assert_true(m.number % segment == 0);
		rolled++;
	}
	assert_int_equal(rolled, 2);
	rig_client_free(&c);
}

/* Many sessions: cold ones are still served, and leaving keeps the order. */
static void
test_many_sessions(void **state)
{
	enum {
		N = 200
	};
	static struct rig_client c[N];

	for (int i = 0; i < N; i++) {
		rig_client_make(&c[i], (uint64_t)i + 1, LT_LANE_MIN);
		rig_attach(&rig, &c[i], -1);
	}
	for (int turn = 0; turn < 200; turn++) {
		assert_int_equal(put(&c[3], 0), LEAT_OK);
		assert_int_equal(rig_turn(&rig), LEAT_OK);
	}
	assert_true(rig.d.hot_count < 20);
	for (int i = 0; i < N; i += 7)
		assert_int_equal(put(&c[i], 0), LEAT_OK);
	for (int turn = 0; turn < 32; turn++)
		assert_int_equal(rig_turn(&rig), LEAT_OK);
	for (int i = 0; i < N; i += 7)
		assert_true(logged(&c[i]) == c[i].seq);
	for (int i = 0; i < N; i += 2)
		lt_session_detach(
		    &rig.d, lt_session_find(&rig.d, c[i].id), NULL);
	lt_session_finish_detaching(&rig.d);
	assert_int_equal(rig.d.session_count, N / 2);
	for (size_t i = 0; i < rig.d.session_count; i++) {
		assert_true(rig.d.sessions[i]->slot == i);
		assert_true(rig.d.sessions[i]->id % 2 == 0);
	}
	for (int i = 1; i < N; i += 2)
		assert_int_equal(put(&c[i], 0), LEAT_OK);
	for (int turn = 0; turn < 32; turn++)
		assert_int_equal(rig_turn(&rig), LEAT_OK);
	for (int i = 0; i < N; i++) {
		if (i % 2 == 1)
			assert_true(logged(&c[i]) == c[i].seq);
		rig_client_free(&c[i]);
	}
}

/* Detaching drains what was there when it was asked for, then answers. */
static void
test_detach_drains(void **state)
{
	struct rig_client c;
	struct lt_wire request;
	struct lt_wire_none m;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	for (int i = 0; i < 600; i++)
		assert_int_equal(put(&c, 0), LEAT_OK);
	lt_wire_init(
	    &request, LT_OP_S_DETACH, sizeof(struct lt_wire_number), 0, 77);
	lt_session_detach(&rig.d, lt_session_find(&rig.d, 1), &request);
	lt_session_finish_detaching(&rig.d);
	assert_int_equal(rig_said(&rig, &m, sizeof(m)), 0);
	for (int i = 0; i < 4 && rig.d.session_count > 0; i++) {
		assert_int_equal(rig_turn(&rig), LEAT_OK);
		lt_session_finish_detaching(&rig.d);
	}
	assert_int_equal(logged(&c), 600);
	assert_int_equal(rig_said(&rig, &m, sizeof(m)), LT_OP_S_DETACH);
	assert_int_equal(m.h.tag, 77);
	assert_int_equal(rig.d.session_count, 0);
	rig_client_free(&c);
}

/* The queue manager's own records are answered with their place. */
static void
test_system_records(void **state)
{
	struct lt_record_spec spec = {
	    .topic = "rmq_sys_leat_config",
	    .topic_bytes = 19,
	    .tag = "begin",
	    .tag_bytes = 5,
	};
	struct lt_wire_append m = {.topic = 10, .level = LEAT_SYNCED};
	struct lt_wire_appended a;
	uint8_t record[512];
	size_t bytes;

	rig_topic(&rig, 10, "rmq_sys_leat_config", 1, 6);
	for (uint32_t i = 0; i < 3; i++) {
		memset(record, 0, sizeof(record));
		bytes = lt_record_finish(record, &spec, 0);
		lt_wire_init(&m.h, LT_OP_S_APPEND, sizeof(m), bytes, 100 + i);
		assert_int_equal(
		    lt_batch_add_system(&rig.d, &m, record, -1), LEAT_OK);
	}
	record[5] ^= 1;
	assert_int_equal(
	    lt_batch_add_system(&rig.d, &m, record, -1), LEAT_E_CORRUPT);
	m.topic = 11;
	assert_int_equal(
	    lt_batch_add_system(&rig.d, &m, record, -1), LEAT_E_NOTFOUND);
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), 0);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	assert_true(
	    lt_commitlog_synced(rig.d.log) == lt_commitlog_end(rig.d.log));
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_APPEND);
		assert_int_equal(a.h.tag, 100 + i);
		assert_int_equal(a.h.status, LEAT_OK);
		assert_int_equal(a.queue_offset, i);
	}
	assert_true(rig.d.begin_next[0] == a.log_offset);
	rig_drop(&rig);
	rig_start(&rig, dir, NULL);
	assert_true(rig.d.begin_now[0] == a.log_offset);
	assert_true(rig.d.system.taken == 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_lanes_take_turns, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_large_records_take_turns, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_refusals_between, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_forged_lane, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_relay, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_duplicates, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_rolls, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_many_sessions, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_detach_drains, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_system_records, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
