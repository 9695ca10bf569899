/*
 * lane_fuzz.c - any bytes as a client's lane, drained by the store's own code:
 * what gets into the log is valid records of topics that the client may write
 * to, told to be there; another client's stream goes on untouched.
 *
 * Input: flags, waiting, two tails u16 (where the lane ends at the first and
 * the second look), head u16, then the lane's bytes from the head on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../store/rig.h"
#include "base/bytes.h"
#include "base/log.h"
#include "leat/leat.h"
#include "store/reader.h"

#define FUZZ_NAME "lane"
#define FUZZ_RUNS 20000
#include "drive.h"

#define HEAD_BYTES 8
#define LANE LT_LANE_MIN
#define LOG_BYTES (32u << 20) /* then a new store */
#define SECRET 8 /* topics: not granted, not open */
#define CLOSED 9

enum {
	IS_UNALIGNED = 1, /* the first tail is no multiple of 32 */
	IS_BEHIND = 2 /* the second tail lies before the first */
};

static struct rig rig;
static struct rig_client bad, good;
static struct lt_reader *reader;
static char dir[64];
static size_t used; /* bytes of the bad lane that may not be zero */

static void
change(struct lt_options *o)
{
	o->store_segment_bytes = 1u << 20;
	o->store_prefill_bytes = 0;
	o->store_max_body_bytes = 16384;
	o->store_batch_bytes = 65536;
}

static void
stop(void)
{
	lt_reader_close(reader);
	rig_drop(&rig);
	rig_client_free(&bad);
	rig_client_free(&good);
	rig_dir_remove(dir);
	dir[0] = 0;
}

static void
at_exit(void)
{
	if (dir[0] != 0)
		stop();
}

static void
start(void)
{
	static int is_registered;

	lt_log_init("lane_fuzz", LT_LOG_ERROR);
	rig_dir_make(dir);
	rig_start(&rig, dir, change);
	rig_topic(&rig, SECRET, "secret", 2, 6);
	rig_topic(&rig, CLOSED, "closed", 2, 4);
	rig_client_make(&bad, 0xbad, LANE);
	rig_client_make(&good, 0x600d, LANE);
	rig_attach(&rig, &bad, -1);
	rig_attach(&rig, &good, -1);
	LT_ASSERT(lt_session_grant(
		      lt_session_find(&rig.d, bad.id), CLOSED, 1) == LEAT_OK);
	LT_ASSERT(lt_reader_open(rig.d.store_dir, &reader) == LEAT_OK);
	used = LANE;
	if (!is_registered)
		atexit(at_exit);
	is_registered = 1;
}

/* The bad client's session is new again, its lane empty from `head` on. */
static struct lt_session *
renew(uint64_t head)
{
	struct lt_session *s = lt_session_find(&rig.d, bad.id);

	LT_ASSERT(s != NULL && !s->is_touched);
	s->is_closed = 0;
	s->taken = s->logged = s->synced = s->in_log = 0;
	s->seen_logged = s->seen_synced = 0;
	s->idle_sweeps = 0;
	s->lane.head = s->lane.tail = head;
	memset(bad.writer.data, 0, used);
	return s;
}

static void
fill(uint64_t head, const uint8_t *p, size_t bytes)
{
	size_t at = head & (LANE - 1);
	size_t n = bytes < LANE - at ? bytes : LANE - at;

	memcpy(bad.writer.data + at, p, n);
	memcpy(bad.writer.data, p + n, bytes - n);
	used = n < bytes ? LANE : at + n;
}

/* The store looks; the good client's message goes through meanwhile. */
static void
turn(uint64_t tail)
{
	uint8_t body[100];
	struct lt_page_done done;

	memset(body, (int)good.seq, sizeof(body));
	atomic_store(&bad.shared->tail, tail);
	LT_ASSERT(rig_put(&good, RIG_TOPIC, RIG_NAME, 3, LEAT_LOGGED, body,
		      sizeof(body)) == LEAT_OK);
	/* A batch that is full leaves somebody for the next. */
	for (int i = 0; i < 64; i++) {
		LT_ASSERT(rig_turn(&rig) == LEAT_OK);
		if (atomic_load(&good.shown->logged) >= good.seq && i >= 4)
			break;
	}
	done = rig_done(&good, good.seq);
	LT_ASSERT(done.status == LEAT_OK && done.log_offset >= 0);
}

static void
check_record(const struct lt_record_view *v, const struct lt_session *s)
{
	uint64_t session, seq;

	LT_ASSERT(v->topic_bytes == strlen(RIG_NAME) &&
		  memcmp(v->topic, RIG_NAME, v->topic_bytes) == 0);
	LT_ASSERT(v->queue < 4 && v->body_bytes <= 16384);
	LT_ASSERT(lt_record_identity(v, &session, &seq) == LEAT_OK);
	LT_ASSERT(session == bad.id || session == good.id);
	if (session == bad.id) {
		LT_ASSERT(seq > 0 && seq <= s->in_log);
		return;
	}
	LT_ASSERT(seq <= good.seq && v->body_bytes == 100);
	for (size_t i = 0; i < v->body_bytes; i++)
		LT_ASSERT(((const uint8_t *)v->body)[i] == (uint8_t)(seq - 1));
}

/* Walk what was appended. */
static void
check_log(uint64_t from, const struct lt_session *s)
{
	uint64_t end = lt_commitlog_end(rig.d.log);
	struct lt_record_view v;
	int rc;

	while (from < end) {
		rc = lt_reader_get(reader, from, &v);
		if (rc == LEAT_E_AGAIN) {
			from =
			    lt_commitlog_segment_bytes(rig.d.log) *
			    (from / lt_commitlog_segment_bytes(rig.d.log) + 1);
			continue;
		}
		LT_ASSERT(rc == LEAT_OK);
		check_record(&v, s);
		from += v.bytes;
	}
	LT_ASSERT(from == end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static _Alignas(8) uint8_t msg[LT_WIRE_MAX];
	uint64_t head, tails[2], from;
	struct lt_session *s;

	if (bytes < HEAD_BYTES)
		return 0;
	if (dir[0] != 0 && lt_commitlog_end(rig.d.log) > LOG_BYTES)
		stop();
	if (dir[0] == 0)
		start();
	head = lt_bytes_align(lt_bytes_get16(data + 6), LT_LANE_ALIGN);
	tails[0] = head + lt_bytes_get16(data + 2) * 32u % (2 * LANE);
	tails[1] = tails[0] + lt_bytes_get16(data + 4) * 32u % (2 * LANE);
	if (data[0] & IS_UNALIGNED)
		tails[0] += 8;
	if (data[0] & IS_BEHIND)
		tails[1] = head;
	bytes -= HEAD_BYTES;
	s = renew(head);
	fill(head, data + HEAD_BYTES, bytes < LANE ? bytes : LANE);
	atomic_store(&bad.shared->waiting, data[1]);
	atomic_store(&bad.shared->want_logged, data[1] >> 4);
	atomic_store(&bad.shared->want_synced, data[1] >> 4);
	from = lt_commitlog_end(rig.d.log);
	turn(tails[0]);
	turn(tails[1]);
	check_log(from, s);
	while (rig_said(&rig, msg, sizeof(msg)) != 0)
		;
	return 0;
}

static size_t
put_record(uint8_t *p, unsigned i, uint32_t topic, const char *name)
{
	struct lt_record_spec spec = {.topic = name,
	    .topic_bytes = strlen(name),
	    .queue = i % 4,
	    .tag = "t",
	    .tag_bytes = i % 2};
	struct lt_lane_rec rec = {.kind = LT_LANE_PUBLISH,
	    .level = (uint16_t)(i % 4),
	    .topic = topic,
	    .seq = i + 1};
	uint8_t *payload = p + sizeof(rec);

	memset(payload + LT_RECORD_BODY_AT, 'b', i * 11);
	rec.bytes = (uint32_t)lt_record_finish(payload, &spec, i * 11);
	memcpy(p, &rec, sizeof(rec));
	return lt_bytes_align(sizeof(rec) + rec.bytes, LT_LANE_ALIGN);
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const struct {
		uint32_t id;
		const char *name;
	} to[] = {{RIG_TOPIC, RIG_NAME}, {SECRET, "secret"}, {CLOSED, "closed"},
	    {RIG_TOPIC, "other"}, {77, "none"}};
	size_t at = HEAD_BYTES;
	uint64_t head = n % 4 == 3 ? LANE - 64 : n * 32;

	memset(buf, 0, 8192);
	buf[0] = n == 6 ? IS_UNALIGNED : n == 7 ? IS_BEHIND : 0;
	buf[1] = (uint8_t)(n * 9);
	if (n % 4 == 3) {
		struct lt_lane_rec pad = {.kind = LT_LANE_PAD, .bytes = 32};

		memcpy(buf + at, &pad, sizeof(pad));
		at += 64;
	}
	for (unsigned i = 0; i < 2 + n; i++) {
		const size_t t = n < 2 ? 0 : i % LT_COUNT(to);

		at += put_record(buf + at, i, to[t].id, to[t].name);
	}
	lt_bytes_put16(buf + 2, (uint16_t)((at - HEAD_BYTES) / 32));
	lt_bytes_put16(buf + 4, (uint16_t)n);
	lt_bytes_put16(buf + 6, (uint16_t)head);
	return at;
}
