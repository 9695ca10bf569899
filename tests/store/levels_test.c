/*
 * levels_test.c - what leat-queue appends for a delay level: only behind the
 * one before it, and the log knows how far a level has come.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fdpass.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "store/reader.h"

#define SCHEDULE_ID 20
#define DAY_MS 86400000

static struct rig rig;
static char dir[64];
static int64_t wall_step_ms;

static int64_t
wall(void)
{
	return 1700000000000 + wall_step_ms;
}

static void
start(void)
{
	rig_start(&rig, dir, NULL);
	rig_topic(&rig, SCHEDULE_ID, LT_NAME_SCHEDULE_TOPIC, LT_LEVELS_MAX, 6);
}

static int
setup(void **state)
{
	rig_dir_make(dir);
	wall_step_ms = 0;
	start();
	return 0;
}

static int
teardown(void **state)
{
	rig_drop(&rig);
	rig_dir_remove(dir);
	return 0;
}

/* --- the queue manager's side --------------------------------------------- */

struct answer {
	union {
		struct lt_wire h;
		struct lt_wire_appended appended;
		struct lt_wire_number number;
		uint8_t room[LT_WIRE_MAX];
	};
};

static void
say(void *msg, size_t bytes, int fd)
{
	assert_int_equal(
	    lt_fdpass_send(rig.peer, msg, bytes, &fd, fd >= 0), LEAT_OK);
	assert_int_equal(lt_control_poll_peer(&rig.d), LEAT_OK);
}

/* A copy; its status. */
static int
copy(
    uint64_t level, uint64_t prev, uint64_t seq, size_t body_bytes, int as_file)
{
	static struct answer a;
	struct lt_record_spec spec = {.topic = RIG_NAME,
	    .topic_bytes = strlen(RIG_NAME),
	    .queue = 1,
	    .born_ms = 77,
	    .born_ip = 0x0a000001,
	    .born_port = 4711,
	    .text = "UNIQ_KEY\001id\002",
	    .text_bytes = 12,
	    .has_id = 1};
	size_t bytes = lt_record_bytes(&spec, body_bytes);
	size_t tail = as_file ? 0 : bytes;
	struct lt_wire_append *m = calloc(1, sizeof(*m) + bytes);
	uint8_t *record;
	unsigned said;
	int fd = -1;

	assert_non_null(m);
	record = lt_wire_tail(m, sizeof(*m));
	memset(record + LT_RECORD_BODY_AT, 'b', body_bytes);
	(void)lt_record_finish(record, &spec, body_bytes);
	if (as_file) {
		fd = memfd_create("copy", MFD_CLOEXEC);
		assert_int_equal(write(fd, record, bytes), bytes);
		m->file_bytes = bytes;
	}
	lt_wire_init(&m->h, LT_OP_S_APPEND, sizeof(*m), tail, 9);
	m->topic = RIG_TOPIC;
	m->level = LEAT_LOGGED;
	m->session = level;
	m->prev = prev;
	m->seq = seq;
	say(m, sizeof(*m) + tail, fd);
	if (fd >= 0)
		close(fd);
	free(m);
	assert_int_equal(rig_turn(&rig), LEAT_OK);
	while ((said = rig_said(&rig, &a, sizeof(a))) == LT_OP_E_ROLLED)
		;
	assert_int_equal(said, LT_OP_S_APPEND);
	assert_int_equal(a.h.tag, 9);
	return a.h.status;
}

static uint64_t
last(uint64_t level)
{
	static struct answer a;
	struct lt_wire_number m;

	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_S_LEVEL, sizeof(m), 0, 3);
	m.number = level;
	say(&m, sizeof(m), -1);
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_LEVEL);
	assert_int_equal(a.h.status, LEAT_OK);
	return a.number.value;
}

static void
await(uint32_t queue, int64_t offset)
{
	struct lt_wire_await m;

	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_S_QUEUE_AWAIT, sizeof(m), 0, 100 + queue);
	m.topic = SCHEDULE_ID;
	m.queue = queue;
	m.offset = offset;
	say(&m, sizeof(m), -1);
}

/* --- tests -----------------------------------------------------------------
 */

static void
behind_the_one_before(void **state)
{
	assert_int_equal(last(5), 0);
	assert_int_equal(copy(5, 0, 3, 10, 0), LEAT_OK);
	assert_int_equal(copy(5, 0, 4, 10, 0), LEAT_E_BUSY); /* again */
	assert_int_equal(copy(5, 4, 5, 10, 0), LEAT_E_BUSY); /* one passed */
	assert_int_equal(copy(5, 3, 3, 10, 0), LEAT_E_BUSY);
	assert_int_equal(copy(5, 3, 9, 10, 0), LEAT_OK);
	assert_int_equal(copy(18, 0, 1, 10, 0), LEAT_OK);
	assert_int_equal(copy(19, 0, 1, 10, 0), LEAT_E_INVALID);
	assert_int_equal(last(5), 9);
	assert_int_equal(last(18), 1);
	assert_int_equal(last(1), 0);
	/* As after a kill, from the log alone. */
	rig_drop(&rig);
	start();
	assert_int_equal(last(5), 9);
	assert_int_equal(last(18), 1);
	assert_int_equal(copy(5, 3, 9, 10, 0), LEAT_E_BUSY);
	assert_int_equal(copy(5, 9, 10, 10, 0), LEAT_OK);
}

static void
the_record_as_it_was_sent(void **state)
{
	struct lt_record_view v;
	struct lt_reader *r;
	uint64_t session, seq, damaged, at = 0;
	const char *p;
	size_t n, bytes[] = {10, 300000};

	assert_int_equal(copy(2, 0, 7, bytes[0], 0), LEAT_OK);
	assert_int_equal(copy(2, 7, 8, bytes[1], 1), LEAT_OK);
	assert_int_equal(lt_reader_open(rig.d.store_dir, &r), LEAT_OK);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(lt_reader_next(r, at,
				     lt_commitlog_end(rig.d.log), &v, &damaged),
		    LEAT_OK);
		at = (uint64_t)v.log_offset + v.bytes;
		assert_int_equal(damaged, 0);
		assert_int_equal(v.queue_offset, i);
		assert_int_equal(v.body_bytes, bytes[i]);
		assert_int_equal(v.body[bytes[i] - 1], 'b');
		assert_int_equal(v.born_ms, 77);
		assert_int_equal(lt_bytes_get32(v.base + 48), 0x0a000001);
		assert_int_equal(
		    lt_record_identity(&v, &session, &seq), LEAT_OK);
		assert_int_equal(session, 2);
		assert_int_equal(seq, 7 + i);
		assert_int_equal(
		    lt_record_property(&v, "UNIQ_KEY", 8, &p, &n), LEAT_OK);
		assert_int_equal(n, 2);
	}
	lt_reader_close(r);
}

/* While publishing is refused for lack of space, so is this; then it goes on
 * where it was. */
static void
no_space(void **state)
{
	assert_int_equal(copy(1, 0, 1, 10, 0), LEAT_OK);
	lt_publish_full(&rig.d, 1);
	assert_int_equal(copy(1, 1, 2, 10, 0), LEAT_E_NOSPACE);
	lt_publish_full(&rig.d, 0);
	assert_int_equal(last(1), 1);
	assert_int_equal(copy(1, 1, 2, 10, 0), LEAT_OK);
}

static void
small_segments(struct lt_options *o)
{
	o->store_segment_bytes = 1 << 20;
	o->store_retain_bytes = 1 << 20;
	o->store_max_body_bytes = 65536;
	o->store_batch_bytes = 131072;
}

/* Retention leaves alone what lies behind the mark. */
static void
held(void **state)
{
	struct lt_wire_number m;
	uint64_t seq = 0;

	rig_drop(&rig);
	rig_dir_remove(dir);
	rig_dir_make(dir);
	rig_start(&rig, dir, small_segments);
	for (; lt_commitlog_end(rig.d.log) < 5 << 20; seq++)
		assert_int_equal(copy(1, seq, seq + 1, 30000, 0), LEAT_OK);
	rig.d.begin_now[0] = rig.d.begin_now[1] = INT64_MAX;
	memset(&m, 0, sizeof(m));
	lt_wire_init(&m.h, LT_OP_S_HOLD, sizeof(m), 0, 0);
	m.number = (2 << 20) + 4711;
	say(&m, sizeof(m), -1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(lt_upkeep_disk(&rig.d), LEAT_OK);
	assert_int_equal(lt_commitlog_min(rig.d.log), 2 << 20);
	m.number = UINT64_MAX;
	say(&m, sizeof(m), -1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(lt_upkeep_disk(&rig.d), LEAT_OK);
	assert_true(lt_commitlog_min(rig.d.log) >= 4 << 20);
}

/* What a level knows does not age, as other sessions' knowledge does. */
static void
levels_do_not_age(void **state)
{
	struct lt_session_mark *marks;
	int64_t (*real)(void) = lt_clock.wall_ms;
	size_t count, found = 0;

	lt_clock.wall_ms = wall;
	assert_int_equal(copy(3, 0, 4, 10, 0), LEAT_OK);
	lt_mark_get(&rig.d, 0xabcdef)->seq = 5; /* a client that left */
	lt_mark_get(&rig.d, 0xabcdef)->left_s -= 7200;
	assert_int_equal(
	    lt_mark_save(&rig.d, wall() + 30ll * DAY_MS, &marks, &count),
	    LEAT_OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_not_equal(marks[i].session, 0xabcdef);
		found += marks[i].session == 3 && marks[i].seq == 4;
	}
	assert_int_equal(found, 1);
	free(marks);
	lt_clock.wall_ms = real;
}

static void
only_what_is_relayed_waits(void **state)
{
	struct lt_record_spec spec = {.topic = LT_NAME_SCHEDULE_TOPIC,
	    .topic_bytes = strlen(LT_NAME_SCHEDULE_TOPIC),
	    .text = "A\001b\002",
	    .text_bytes = 4};
	struct lt_lane_rec rec = {.topic = SCHEDULE_ID};
	struct rig_client c;
	uint8_t *payload;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	assert_int_equal(
	    lt_session_grant(lt_session_find(&rig.d, 1), SCHEDULE_ID, 1),
	    LEAT_OK);
	lt_session_find(&rig.d, 1)->may_relay = 1;
	for (uint64_t seq = 1; seq <= 2; seq++) {
		rec.kind = seq == 1 ? LT_LANE_PUBLISH : LT_LANE_RELAY;
		assert_int_equal(
		    lt_lane_claim(&c.writer, 0,
			(uint32_t)lt_record_bytes(&spec, 0), &payload),
		    LEAT_OK);
		rec.bytes = (uint32_t)lt_record_finish(payload, &spec, 0);
		rec.seq = seq;
		lt_lane_put(&c.writer, &rec);
		lt_lane_publish(&c.writer);
		rig_turns(&rig);
		assert_int_equal(
		    rig_done(&c, seq).status, seq == 1 ? LEAT_E_PERM : LEAT_OK);
	}
	rig_client_free(&c);
}

/* A word when there is something, once. */
static void
awaiting(void **state)
{
	static struct answer a;
	struct lt_record_spec spec = {.topic = LT_NAME_SCHEDULE_TOPIC,
	    .topic_bytes = strlen(LT_NAME_SCHEDULE_TOPIC),
	    .text = "A\001b\002",
	    .text_bytes = 4};
	struct lt_lane_rec rec = {.topic = SCHEDULE_ID, .kind = LT_LANE_RELAY};
	struct rig_client c;
	uint8_t *payload;

	rig_client_make(&c, 1, RIG_LANE);
	rig_attach(&rig, &c, -1);
	assert_int_equal(
	    lt_session_grant(lt_session_find(&rig.d, 1), SCHEDULE_ID, 1),
	    LEAT_OK);
	lt_session_find(&rig.d, 1)->may_relay = 1;
	await(4, 0);
	await(7, 0);
	await(18, 0); /* there is no such queue */
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_QUEUE_AWAIT);
	assert_int_equal(a.h.tag, 118);
	assert_int_equal(a.h.status, LEAT_E_NOTFOUND);
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), 0);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		spec.queue = 4;
		assert_int_equal(
		    lt_lane_claim(&c.writer, 0,
			(uint32_t)lt_record_bytes(&spec, 0), &payload),
		    LEAT_OK);
		rec.bytes = (uint32_t)lt_record_finish(payload, &spec, 0);
		rec.seq = seq;
		lt_lane_put(&c.writer, &rec);
		lt_lane_publish(&c.writer);
		rig_turns(&rig);
		if (seq == 2) {
			await(4, 2); /* not answered by the second */
			assert_int_equal(rig_said(&rig, &a, sizeof(a)), 0);
			continue;
		}
		assert_int_equal(
		    rig_said(&rig, &a, sizeof(a)), LT_OP_S_QUEUE_AWAIT);
		assert_int_equal(a.h.tag, 104);
		assert_int_equal(a.h.status, LEAT_OK);
		assert_int_equal(rig_said(&rig, &a, sizeof(a)), 0);
	}
	await(4, 1); /* there it is */
	assert_int_equal(rig_said(&rig, &a, sizeof(a)), LT_OP_S_QUEUE_AWAIT);
	assert_int_equal(a.h.status, LEAT_OK);
	rig_client_free(&c);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(behind_the_one_before),
	    TEST(the_record_as_it_was_sent),
	    TEST(no_space),
	    TEST(held),
	    TEST(levels_do_not_age),
	    TEST(only_what_is_relayed_waits),
	    TEST(awaiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
