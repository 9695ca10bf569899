/* record_test.c - the stored message against bytes built by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/crc32.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/record.h"

static uint8_t buf[1 << 17];

static struct lt_record_spec
make_spec(void)
{
	static const struct lt_record_property p[] = {
	    {"colour", 6, "blue", 4},
	    {"n", 1, "7", 1},
	};

	return (struct lt_record_spec){
	    .topic = "TopicTest",
	    .topic_bytes = 9,
	    .queue = 3,
	    .flag = -5,
	    .born_ms = 1700000000123,
	    .keys = "k1 k2",
	    .keys_bytes = 5,
	    .tag = "TagA",
	    .tag_bytes = 4,
	    .group_key = "g",
	    .group_key_bytes = 1,
	    .properties = p,
	    .property_count = 2,
	};
}

static const struct lt_record_stamp stamp = {
    .queue_offset = 42,
    .log_offset = 0x123456789a,
    .store_ms = 1700000000456,
    .store_ip = 0x7f000001,
    .store_port = 10911,
    .born_ip = 0x7f000001,
    .born_port = 4321,
    .session = 0x0123456789abcdef,
    .seq = 0xfe,
};

static size_t
encode(const struct lt_record_spec *spec, const char *body, size_t bytes)
{
	size_t want = lt_record_bytes(spec, bytes);

	assert_true(want != 0 && want <= sizeof(buf));
	memset(buf, 0xee, sizeof(buf));
	memcpy(buf + LT_RECORD_BODY_AT, body, bytes);
	assert_int_equal(lt_record_finish(buf, spec, bytes), want);
	assert_int_equal(buf[want], 0xee);
	return want;
}

static size_t
sealed(const struct lt_record_spec *spec, struct lt_record_view *v)
{
	size_t n = encode(spec, "Hello RocketMQ", 14);

	assert_int_equal(
	    lt_record_admit(buf, n, spec->topic, spec->topic_bytes, 4, 0, v),
	    LEAT_OK);
	lt_record_seal(buf, v, &stamp);
	assert_int_equal(lt_record_parse(buf, n, v), LEAT_OK);
	return n;
}

static void
has(const struct lt_record_view *v, const char *name, const char *want)
{
	const char *value;
	size_t bytes;

	assert_int_equal(
	    lt_record_property(v, name, strlen(name), &value, &bytes), LEAT_OK);
	assert_int_equal(bytes, strlen(want));
	assert_memory_equal(value, want, bytes);
}

/* The same record from the field table of the format's description. */
static void
test_layout(void **state)
{
	static const char props[] =
	    "UNIQ_KEY\0010123456789ABCDEF00000000000000FE\002"
	    "KEYS\001k1 k2\002TAGS\001TagA\002__SHARDINGKEY\001g\002"
	    "colour\001blue\002n\0017\002__CRC32#\001";
	uint8_t want[512] = {0};
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;
	size_t n = sealed(&spec, &v);
	size_t at = 88 + 14;
	uint32_t crc;

	lt_bytes_put32(want, (uint32_t)n);
	lt_bytes_put32(want + 4, 0xDAA320A7u);
	lt_bytes_put32(want + 8, 1774740973u);
	lt_bytes_put32(want + 12, 3);
	lt_bytes_put32(want + 16, (uint32_t)-5);
	lt_bytes_put64(want + 20, 42);
	lt_bytes_put64(want + 28, 0x123456789a);
	lt_bytes_put64(want + 40, 1700000000123);
	lt_bytes_put32(want + 48, 0x7f000001);
	lt_bytes_put32(want + 52, 4321);
	lt_bytes_put64(want + 56, 1700000000456);
	lt_bytes_put32(want + 64, 0x7f000001);
	lt_bytes_put32(want + 68, 10911);
	lt_bytes_put32(want + 84, 14);
	memcpy(want + 88, "Hello RocketMQ", 14);
	want[at++] = 9;
	memcpy(want + at, "TopicTest", 9);
	at += 9;
	lt_bytes_put16(want + at, (uint16_t)(sizeof(props) - 1 + 11));
	at += 2;
	memcpy(want + at, props, sizeof(props) - 1);
	at += sizeof(props) - 1;
	assert_int_equal(n, at + 11);
	crc = lt_crc32(0, want, n - 20) & 0x7fffffff;
	for (int i = 0; i < 10; i++, crc /= 10)
		want[at++] = (uint8_t)('0' + crc % 10);
	want[at++] = 2;
	assert_memory_equal(buf, want, n);
}

static void
test_view(void **state)
{
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;
	size_t n = sealed(&spec, &v);
	uint64_t session, seq;

	assert_int_equal(lt_record_check(&v), LEAT_OK);
	assert_int_equal(v.bytes, n);
	assert_int_equal(v.queue, 3);
	assert_int_equal(v.flag, -5);
	assert_int_equal(v.queue_offset, 42);
	assert_int_equal(v.log_offset, 0x123456789a);
	assert_int_equal(v.born_ms, 1700000000123);
	assert_int_equal(v.store_ms, 1700000000456);
	assert_int_equal(v.body_bytes, 14);
	assert_memory_equal(v.body, "Hello RocketMQ", 14);
	assert_int_equal(v.topic_bytes, 9);
	has(&v, "UNIQ_KEY", "0123456789ABCDEF00000000000000FE");
	has(&v, "KEYS", "k1 k2");
	has(&v, "colour", "blue");
	has(&v, "n", "7");
	assert_int_equal(lt_record_tags_code(&v), 2598919);
	assert_int_equal(lt_record_identity(&v, &session, &seq), LEAT_OK);
	assert_true(session == stamp.session && seq == stamp.seq);
}

/* For a remote client: its hosts, its id, its own text; ours beside it. */
static void
test_relayed(void **state)
{
	static const char text[] =
	    "TAGS\001a\002UNIQ_KEY\001theirs\002x\001y\002";
	struct lt_record_spec spec = make_spec();
	struct lt_record_stamp mark = stamp;
	struct lt_record_texts texts;
	struct lt_record_view v;
	uint64_t session, seq;
	size_t n;

	spec.text = text;
	spec.text_bytes = sizeof(text) - 1;
	spec.has_id = 1;
	spec.sys_flag = 0x301;
	spec.reconsume = 3;
	spec.born_ip = 0x0a000009;
	spec.born_port = 50000;
	mark.born_ip = 0;
	n = encode(&spec, "Hello RocketMQ", 14);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 4, 0, &v), LEAT_E_CORRUPT);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 4, 1, &v), LEAT_OK);
	lt_record_seal(buf, &v, &mark);
	assert_int_equal(lt_record_parse(buf, n, &v), LEAT_OK);
	assert_int_equal(lt_record_check(&v), LEAT_OK);
	assert_int_equal(v.sys_flag, 0x301);
	assert_int_equal(v.reconsume, 3);
	assert_int_equal(lt_bytes_get32(buf + 48), 0x0a000009);
	assert_int_equal(lt_bytes_get32(buf + 52), 50000);
	has(&v, "UNIQ_KEY", "theirs");
	has(&v, "LEAT_SEQ", "0123456789ABCDEF00000000000000FE");
	has(&v, "x", "y");
	lt_record_texts(&v, &texts);
	assert_int_equal(texts.id_bytes, 6);
	assert_memory_equal(texts.id, "theirs", 6);
	assert_memory_equal(texts.tag, "a", 1);
	assert_int_equal(lt_record_identity(&v, &session, &seq), LEAT_OK);
	assert_true(session == stamp.session && seq == stamp.seq);

	/* Without an id of its own it gets ours. */
	spec.text = "x\001y\002";
	spec.text_bytes = 4;
	spec.has_id = 0;
	n = encode(&spec, "Hello RocketMQ", 14);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 4, 1, &v), LEAT_OK);
	lt_record_seal(buf, &v, &mark);
	assert_int_equal(lt_record_parse(buf, n, &v), LEAT_OK);
	has(&v, "UNIQ_KEY", "0123456789ABCDEF00000000000000FE");
	assert_int_equal(lt_record_identity(&v, &session, &seq), LEAT_OK);
}

/* What a remote client may not say, or not twice. */
static void
test_relayed_forgeries(void **state)
{
	static const struct {
		const char *text;
		int has_id;
	} bad[] = {
	    {"UNIQ_KEY\001a\002", 0},
	    {"UNIQ_KEY\001a\002UNIQ_KEY\001b\002", 1},
	    {"LEAT_SEQ\001a\002", 1},
	    {"__CRC32#\001a\002", 1},
	    {"x\002", 1},
	    {"x\001\002", 1},
	    {"\001y\002", 1},
	    {"x\001y", 1},
	};
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;

	spec.born_ip = 1;
	for (size_t i = 0; i < LT_COUNT(bad); i++) {
		spec.text = bad[i].text;
		spec.text_bytes = strlen(bad[i].text);
		spec.has_id = bad[i].has_id;
		assert_int_equal(lt_record_admit(buf, encode(&spec, "b", 1),
				     "TopicTest", 9, 4, 1, &v),
		    LEAT_E_CORRUPT);
	}
	spec.text = "x\001y\002";
	spec.text_bytes = 4;
	spec.sys_flag = 0x4;
	assert_int_equal(lt_record_admit(buf, encode(&spec, "b", 1),
			     "TopicTest", 9, 4, 1, &v),
	    LEAT_E_CORRUPT);
	spec.text_bytes = 0x10000;
	assert_int_equal(lt_record_bytes(&spec, 1), 0);
}

static void
test_every_bit_is_noticed(void **state)
{
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v, w;
	size_t n = sealed(&spec, &v);

	for (size_t bit = 0; bit < n * 8; bit++) {
		int ok;

		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ok = lt_record_parse(buf, n, &w) == LEAT_OK && w.bytes == n &&
		     lt_record_check(&w) == LEAT_OK;
		/* Only the name of the CRC property itself may go: the body
		 * CRC then speaks for the rest. */
		assert_true(!ok || bit / 8 >= n - 20);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void
test_every_cut_is_noticed(void **state)
{
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;
	size_t n = sealed(&spec, &v);

	for (size_t cut = 0; cut < n; cut++) {
		/* An exact allocation lets the sanitizer see over-reads. */
		uint8_t *part = malloc(cut + 1);

		memcpy(part, buf, cut);
		assert_int_equal(
		    lt_record_parse(part, cut, &v), LEAT_E_CORRUPT);
		free(part);
	}
}

/* A lost end is zeroes, and takes the CRC property with it. */
static void
test_every_lost_end_is_noticed(void **state)
{
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;
	size_t n = sealed(&spec, &v);

	for (size_t cut = n; cut-- > 0;) {
		buf[cut] = 0;
		assert_true(lt_record_parse(buf, n, &v) != LEAT_OK ||
			    lt_record_check(&v) != LEAT_OK);
	}
}

static void
test_long_topic_is_v2(void **state)
{
	char topic[200];
	struct lt_record_spec spec = {
	    .topic = topic, .topic_bytes = 128, .queue = 0};
	struct lt_record_view v;

	memset(topic, 't', sizeof(topic));
	sealed(&spec, &v);
	assert_int_equal(v.magic, LT_RECORD_V2);
	assert_int_equal(v.topic_bytes, 128);
	assert_int_equal(lt_record_check(&v), LEAT_OK);
	spec.topic_bytes = 127;
	sealed(&spec, &v);
	assert_int_equal(v.magic, LT_RECORD_V1);
}

static void
test_limits(void **state)
{
	static char big[LT_PROPERTIES_MAX + 1];
	struct lt_record_spec spec = {.topic = "t", .topic_bytes = 1};
	struct lt_record_property p = {"a", 1, big, 0};
	struct lt_record_view v;

	memset(big, 'x', sizeof(big));
	spec.properties = &p;
	spec.property_count = 1;
	p.value_bytes = LT_PROPERTIES_MAX - 42 - 20 - 3;
	assert_int_equal(lt_record_bytes(&spec, 0), 91 + 1 + LT_PROPERTIES_MAX);
	sealed(&spec, &v);
	assert_int_equal(v.props_bytes, LT_PROPERTIES_MAX);
	p.value_bytes++;
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	p.value_bytes = 0;
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	p.value_bytes = 1;
	assert_int_not_equal(lt_record_bytes(&spec, 0), 0);
	p.value = "\002";
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	p = (struct lt_record_property){"TAGS", 4, "x", 1};
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	p.name_bytes = 0;
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	spec.property_count = 0;
	spec.tag = "a\001b";
	spec.tag_bytes = 3;
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
	spec.tag_bytes = 1;
	assert_int_not_equal(lt_record_bytes(&spec, LT_BODY_MAX), 0);
	assert_int_equal(lt_record_bytes(&spec, LT_BODY_MAX + 1ul), 0);
	spec.topic_bytes = 0;
	assert_int_equal(lt_record_bytes(&spec, 0), 0);
}

static void
test_admit_refuses_forged(void **state)
{
	struct lt_record_spec spec = make_spec();
	struct lt_record_view v;
	size_t n = encode(&spec, "b", 1);
	size_t props = 88 + 1 + 1 + 9 + 2;
	static const uint8_t sys[] = {0x04, 0x08, 0x10, 0x20, 0x40, 0x80};

	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 3, 0, &v), LEAT_E_QUEUE);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTesx", 9, 4, 0, &v), LEAT_E_CORRUPT);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 8, 4, 0, &v), LEAT_E_CORRUPT);
	assert_int_equal(lt_record_admit(buf, n + 1, "TopicTest", 9, 4, 0, &v),
	    LEAT_E_CORRUPT);
	for (size_t i = 0; i < sizeof(sys); i++) {
		buf[39] = sys[i];
		assert_int_equal(
		    lt_record_admit(buf, n, "TopicTest", 9, 4, 0, &v),
		    LEAT_E_CORRUPT);
	}
	buf[39] = 1;
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 4, 0, &v), LEAT_OK);
	buf[39] = 0;
	/* No separator of the fixed or the free properties may be missing. */
	for (size_t i = props; i < n; i++) {
		uint8_t old = buf[i];

		if (old > 2)
			continue;
		buf[i] = 'x';
		assert_int_equal(
		    lt_record_admit(buf, n, "TopicTest", 9, 4, 0, &v),
		    LEAT_E_CORRUPT);
		buf[i] = old;
	}
	memcpy(buf, &(uint32_t){__builtin_bswap32(LT_RECORD_BLANK)}, 4);
	assert_int_equal(
	    lt_record_admit(buf, n, "TopicTest", 9, 4, 0, &v), LEAT_E_CORRUPT);
}

static void
test_admit_refuses_second_identity(void **state)
{
	static const struct lt_record_property p = {"xNIQ_KEY", 8, "v", 1};
	struct lt_record_spec spec = {.topic = "t",
	    .topic_bytes = 1,
	    .properties = &p,
	    .property_count = 1};
	struct lt_record_view v;
	size_t n = encode(&spec, "", 0);
	uint8_t *name = buf + 88 + 2 + 2 + 42;

	assert_memory_equal(name, "xNIQ_KEY", 8);
	assert_int_equal(lt_record_admit(buf, n, "t", 1, 1, 0, &v), LEAT_OK);
	*name = 'U';
	assert_int_equal(
	    lt_record_admit(buf, n, "t", 1, 1, 0, &v), LEAT_E_CORRUPT);
}

/* What Apache RocketMQ writes: hosts of either family, no CRC property,
 * properties in any order and without a last separator. */
static size_t
foreign(uint32_t magic, uint32_t sys_flag, const char *topic, const char *props)
{
	size_t at = 48, topic_bytes = strlen(topic), n;

	memset(buf, 0, 512);
	lt_bytes_put32(buf + 4, magic);
	lt_bytes_put32(buf + 36, sys_flag);
	at += sys_flag & 0x10 ? 20 : 8;
	lt_bytes_put64(buf + at, 1000);
	at += 8;
	at += sys_flag & 0x20 ? 20 : 8;
	lt_bytes_put32(buf + at, 2);
	lt_bytes_put64(buf + at + 4, 77);
	at += 12;
	lt_bytes_put32(buf + at, 1);
	buf[at + 4] = '0';
	lt_bytes_put32(buf + 8, 1960566561u);
	at += 5;
	if (magic == LT_RECORD_V2)
		buf[at++] = 0;
	buf[at++] = (uint8_t)topic_bytes;
	memcpy(buf + at, topic, topic_bytes);
	at += topic_bytes;
	n = strlen(props);
	lt_bytes_put16(buf + at, (uint16_t)n);
	memcpy(buf + at + 2, props, n);
	at += 2 + n;
	lt_bytes_put32(buf, (uint32_t)at);
	return at;
}

static void
test_foreign(void **state)
{
	static const uint32_t magics[] = {LT_RECORD_V1, LT_RECORD_V2};
	static const uint32_t flags[] = {0, 0x10, 0x20, 0x30};
	struct lt_record_view v;
	uint64_t a, b;

	for (size_t m = 0; m < 2; m++) {
		for (size_t f = 0; f < 4; f++) {
			size_t n = foreign(magics[m], flags[f], "T",
			    "TAGS\001\344\270\255\346\226\207\002x\001y");

			assert_int_equal(lt_record_parse(buf, n, &v), LEAT_OK);
			assert_int_equal(lt_record_check(&v), LEAT_OK);
			assert_int_equal(v.store_ms, 1000);
			assert_int_equal(v.reconsume, 2);
			assert_int_equal(v.prepared_offset, 77);
			assert_int_equal(v.body_bytes, 1);
			assert_int_equal(lt_record_tags_code(&v), 646394);
			has(&v, "x", "y");
			assert_int_equal(
			    lt_record_identity(&v, &a, &b), LEAT_E_NOTFOUND);
			buf[v.body - buf] = '1';
			assert_int_equal(lt_record_check(&v), LEAT_E_CORRUPT);
		}
	}
	foreign(LT_RECORD_V1, 0,
	    "SCHEDULE_TOPIC_XX"
	    "XX",
	    "DELAY\0013\002TAGS\001TagA\002");
	assert_int_equal(lt_record_parse(buf, 512, &v), LEAT_OK);
	assert_int_equal(lt_record_tags_code(&v), 1000 + 10000);
}

static void
test_malformed_properties_are_skipped(void **state)
{
	struct lt_record_property it;
	struct lt_record_view v;
	size_t cursor = 0;
	size_t n = foreign(
	    LT_RECORD_V1, 0, "T", "\002\001v\002n\001\002ab\002ok\0011\002");

	assert_int_equal(lt_record_parse(buf, n, &v), LEAT_OK);
	assert_int_equal(lt_record_property_next(&v, &cursor, &it), LEAT_OK);
	assert_int_equal(it.name_bytes, 2);
	assert_memory_equal(it.name, "ok", 2);
	assert_int_equal(lt_record_property_next(&v, &cursor, &it), LEAT_E_END);
}

/* 1234567890 is stored 0987654321. */
static void
test_crc_digits_are_reversed(void **state)
{
	struct lt_record_spec spec = {.topic = "t", .topic_bytes = 1};
	struct lt_record_stamp s = stamp;
	struct lt_record_view v;
	size_t n = encode(&spec, "", 0);

	assert_int_equal(lt_record_admit(buf, n, "t", 1, 1, 0, &v), LEAT_OK);
	for (s.seq = 0; s.seq < 2000; s.seq++) {
		char digits[11], forward[11];
		unsigned long value;

		lt_record_seal(buf, &v, &s);
		memcpy(digits, buf + n - 11, 10);
		for (int i = 0; i < 10; i++)
			forward[i] = digits[9 - i];
		forward[10] = '\0';
		value = strtoul(forward, NULL, 10);
		assert_int_equal(value, lt_crc32(0, buf, n - 20) & 0x7fffffff);
	}
}

static void
test_identity_needs_hex(void **state)
{
	struct lt_record_spec spec = {.topic = "t", .topic_bytes = 1};
	struct lt_record_view v;
	size_t n = sealed(&spec, &v);
	uint8_t *hex = buf + (v.props - (const char *)buf) + 9;
	uint64_t session, seq, want;

	for (int i = 0; i < 32; i++) {
		uint8_t old = hex[i];

		for (int c = 0; c < 256; c++) {
			char digits[16];
			int is_hex;

			hex[i] = (uint8_t)c;
			memcpy(digits, hex + i / 16 * 16, 16);
			is_hex = lt_bytes_unhex64(digits, &want) == 0;
			assert_int_equal(lt_record_parse(buf, n, &v), LEAT_OK);
			assert_int_equal(lt_record_identity(&v, &session, &seq),
			    is_hex ? LEAT_OK : LEAT_E_NOTFOUND);
			if (is_hex)
				assert_true((i < 16 ? session : seq) == want);
		}
		hex[i] = old;
	}
}

static void
test_blank(void **state)
{
	struct lt_record_view v;

	lt_bytes_put32(buf, 4000);
	lt_bytes_put32(buf + 4, 0xCBD43194u);
	assert_int_equal(lt_record_parse(buf, 8, &v), LEAT_E_END);
	assert_int_equal(v.bytes, 4000);
	lt_bytes_put32(buf, 7);
	assert_int_equal(lt_record_parse(buf, 8, &v), LEAT_E_CORRUPT);
	memset(buf, 0, 200);
	assert_int_equal(lt_record_parse(buf, 200, &v), LEAT_E_CORRUPT);
}

static void
test_body_crc_vectors(void **state)
{
	struct lt_record_spec spec = {.topic = "t", .topic_bytes = 1};

	encode(&spec, "Hello RocketMQ", 14);
	assert_int_equal(lt_bytes_get32(buf + 8), 1774740973u);
	encode(&spec, "0", 1);
	assert_int_equal(lt_bytes_get32(buf + 8), 1960566561u);
	encode(&spec, "", 0);
	assert_int_equal(lt_bytes_get32(buf + 8), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_view),
	    cmocka_unit_test(test_relayed),
	    cmocka_unit_test(test_relayed_forgeries),
	    cmocka_unit_test(test_every_bit_is_noticed),
	    cmocka_unit_test(test_every_cut_is_noticed),
	    cmocka_unit_test(test_every_lost_end_is_noticed),
	    cmocka_unit_test(test_long_topic_is_v2),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_admit_refuses_forged),
	    cmocka_unit_test(test_admit_refuses_second_identity),
	    cmocka_unit_test(test_foreign),
	    cmocka_unit_test(test_malformed_properties_are_skipped),
	    cmocka_unit_test(test_crc_digits_are_reversed),
	    cmocka_unit_test(test_identity_needs_hex),
	    cmocka_unit_test(test_blank),
	    cmocka_unit_test(test_body_crc_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
