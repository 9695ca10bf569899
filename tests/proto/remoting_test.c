/* remoting_test.c - commands of real clients read, ours written, both limits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "leat/status.h"
#include "proto/remoting.h"
#include "golden.h"

static struct lt_remoting h;
static uint8_t *input; /* what h points into */
static uint8_t large[LT_REMOTING_HEADER_MAX + 4096];

/* Decode a header from an allocation of its own size, so that a sanitizer sees
 * every byte read beyond it. */
static int
decode(int encoding, const char *header, size_t bytes)
{
	struct lt_remoting_frame frame = {.encoding = encoding};

	free(input);
	input = malloc(bytes + (bytes == 0));
	assert_non_null(input);
	memcpy(input, header, bytes);
	frame.header = input;
	frame.header_bytes = (uint32_t)bytes;
	memset(&h, 0xee, sizeof(h));
	return lt_remoting_decode(&frame, &h);
}

static int
json(const char *text)
{
	return decode(LT_REMOTING_JSON, text, strlen(text));
}

static int
fini(void **state)
{
	free(input);
	input = NULL;
	return 0;
}

static void
check_text(struct lt_remoting_text text, const char *want)
{
	assert_non_null(text.p);
	assert_int_equal(text.bytes, strlen(want));
	assert_memory_equal(text.p, want, text.bytes);
}

static void
check_ext(const char *name, const char *want)
{
	check_text(lt_remoting_find(&h, name), want);
}

static void
check_head(int code, int language, int version, int opaque, unsigned fields)
{
	assert_int_equal(h.code, code);
	assert_int_equal(h.language, language);
	assert_int_equal(h.version, version);
	assert_int_equal(h.opaque, opaque);
	assert_int_equal(h.flag, 0);
	assert_int_equal(h.ext_count, fields);
}

static void
test_java(void **state)
{
	int64_t born;
	int32_t queue;

	assert_int_equal(json(GOLDEN_JAVA), LEAT_OK);
	check_head(310, LT_REMOTING_JAVA, 479, 5, 13);
	assert_null(h.remark.p);
	check_ext("a", "please_rename");
	check_ext("b", "TopicTest");
	check_ext("i", "UNIQ_KEY\0017F0000010E4C18B4AAC2072F3A4C0000\002"
		       "WAIT\001true\002TAGS\001TagA");
	check_ext("n", "broker-a");
	assert_int_equal(lt_remoting_i64(&h, "g", &born), LEAT_OK);
	assert_int_equal(born, 1758000000123);
	assert_int_equal(lt_remoting_i32(&h, "e", &queue), LEAT_OK);
	assert_int_equal(queue, 2);
	assert_int_equal(lt_remoting_i32(&h, "g", &queue), LEAT_E_INVALID);
	assert_int_equal(lt_remoting_i32(&h, "b", &queue), LEAT_E_INVALID);
	assert_int_equal(lt_remoting_i32(&h, "l", &queue), LEAT_E_NOTFOUND);
	assert_int_equal(queue, 2);
	assert_null(lt_remoting_find(&h, "l").p);
}

static void
test_go(void **state)
{
	assert_int_equal(json(GOLDEN_GO), LEAT_OK);
	check_head(10, LT_REMOTING_GO, 317, 1, 14);
	check_text(h.remark, "");
	check_ext("properties",
	    "KEYS\001a<b>&\002UNIQ_KEY\001C0A80002000100000000076ABC400001"
	    "\002");
}

static void
test_cpp(void **state)
{
	int64_t offset;

	assert_int_equal(json(GOLDEN_CPP), LEAT_OK);
	check_head(11, LT_REMOTING_CPP, 333, INT32_MIN, 13);
	check_ext("AccessKey", "");
	assert_int_equal(lt_remoting_i64(&h, "queueOffset", &offset), LEAT_OK);
	assert_int_equal(offset, INT64_MAX);
	assert_int_equal(lt_remoting_i64(&h, "commitOffset", &offset), LEAT_OK);
	assert_int_equal(offset, -1);
}

static void
test_node(void **state)
{
	int64_t born;

	assert_int_equal(json(GOLDEN_NODE), LEAT_OK);
	check_head(310, LT_REMOTING_JAVA, 121, 3, 11);
	check_ext("d", "4");
	check_ext("k", "false");
	assert_null(lt_remoting_find(&h, "l").p);
	assert_int_equal(lt_remoting_i64(&h, "g", &born), LEAT_OK);
	assert_int_equal(born, 1758000000123);
}

static void
test_binary(void **state)
{
	static const char wide[] = "\xff\xff\x63\xff\xfe\0\0\0\7\0\0\0\1"
				   "\0\0\0\0\0\0\0\0";

	assert_int_equal(decode(LT_REMOTING_BINARY, GOLDEN_BINARY,
			     sizeof(GOLDEN_BINARY) - 1),
	    LEAT_OK);
	check_head(11, LT_REMOTING_JAVA, 479, 17, 2);
	assert_null(h.remark.p);
	check_ext("consumerGroup", "cg");
	check_ext("topic", "TopicTest");
	assert_null(lt_remoting_find(&h, "no").p);
	assert_int_equal(decode(LT_REMOTING_BINARY, GOLDEN_BINARY_REPLY,
			     sizeof(GOLDEN_BINARY_REPLY) - 1),
	    LEAT_OK);
	assert_int_equal(h.code, 17);
	assert_int_equal(h.opaque, -1);
	assert_int_equal(h.flag, LT_REMOTING_RESPONSE);
	check_text(h.remark, "no");
	/* Signs; a language that nobody knows. */
	assert_int_equal(
	    decode(LT_REMOTING_BINARY, wide, sizeof(wide) - 1), LEAT_OK);
	assert_int_equal(h.code, -1);
	assert_int_equal(h.version, -2);
	assert_int_equal(h.language, LT_REMOTING_OTHER);
}

/* No beginning of a golden header is a header, and none is read beyond. */
static void
test_truncated_headers(void **state)
{
	for (size_t i = 0; i < LT_COUNT(golden); i++) {
		const struct golden *g = &golden[i];

		for (size_t n = 0; n < g->least; n++)
			assert_int_equal(
			    decode(g->is_binary, g->header, n), LEAT_E_CORRUPT);
		for (size_t n = g->least; n <= g->bytes; n++)
			assert_int_equal(
			    decode(g->is_binary, g->header, n), LEAT_OK);
	}
}

static size_t
frame_of(const struct golden *g, const char *body, uint8_t *out)
{
	size_t body_bytes = strlen(body);

	lt_bytes_put32(out, (uint32_t)(4 + g->bytes + body_bytes));
	lt_bytes_put32(
	    out + 4, (uint32_t)(g->is_binary << 24) | (uint32_t)g->bytes);
	memcpy(out + LT_REMOTING_PREFIX, g->header, g->bytes);
	memcpy(out + LT_REMOTING_PREFIX + g->bytes, body, body_bytes);
	return LT_REMOTING_PREFIX + g->bytes + body_bytes;
}

static void
test_frames(void **state)
{
	static uint8_t whole[4096];
	struct lt_remoting_frame f;

	for (size_t i = 0; i < LT_COUNT(golden); i++) {
		size_t bytes = frame_of(&golden[i], "the body", whole);

		for (size_t n = 0; n < bytes; n++) {
			uint8_t *part = malloc(n + (n == 0));

			assert_non_null(part);
			memcpy(part, whole, n);
			assert_int_equal(
			    lt_remoting_frame(part, n, &f), LEAT_E_AGAIN);
			assert_int_equal(f.bytes, n < 4 ? 0 : bytes);
			free(part);
		}
		/* More may follow. */
		assert_int_equal(
		    lt_remoting_frame(whole, bytes + 99, &f), LEAT_OK);
		assert_int_equal(f.bytes, bytes);
		assert_int_equal(f.encoding, golden[i].is_binary);
		assert_ptr_equal(f.header, whole + LT_REMOTING_PREFIX);
		assert_int_equal(f.header_bytes, golden[i].bytes);
		assert_int_equal(f.body_bytes, 8);
		assert_memory_equal(f.body, "the body", 8);
		assert_int_equal(lt_remoting_decode(&f, &h), LEAT_OK);
	}
}

static int
prefix(uint32_t length, uint32_t encoding, uint32_t header, uint32_t *bytes)
{
	struct lt_remoting_frame f;
	uint8_t p[LT_REMOTING_PREFIX];
	int status;

	lt_bytes_put32(p, length);
	lt_bytes_put32(p + 4, encoding << 24 | header);
	status = lt_remoting_frame(p, sizeof(p), &f);
	*bytes = f.bytes;
	return status;
}

static void
test_frame_limits(void **state)
{
	struct lt_remoting_frame f;
	uint32_t n;

	assert_int_equal(
	    prefix(LT_REMOTING_FRAME_MAX - 4, 0, 9, &n), LEAT_E_AGAIN);
	assert_int_equal(n, LT_REMOTING_FRAME_MAX);
	assert_int_equal(
	    prefix(LT_REMOTING_FRAME_MAX - 3, 0, 9, &n), LEAT_E_TOOBIG);
	assert_int_equal(prefix(UINT32_MAX, 0, 9, &n), LEAT_E_TOOBIG);
	assert_int_equal(prefix(0x16030100, 0, 9, &n), LEAT_E_TOOBIG); /* TLS */
	assert_int_equal(prefix(3, 0, 0, &n), LEAT_E_CORRUPT);
	assert_int_equal(prefix(0, 0, 0, &n), LEAT_E_CORRUPT);
	assert_int_equal(prefix(20, 0, 16, &n), LEAT_E_AGAIN);
	assert_int_equal(prefix(20, 0, 17, &n), LEAT_E_CORRUPT);
	assert_int_equal(prefix(20, 1, 16, &n), LEAT_E_AGAIN);
	assert_int_equal(prefix(20, 2, 16, &n), LEAT_E_CORRUPT);
	assert_int_equal(prefix(20, 255, 16, &n), LEAT_E_CORRUPT);
	assert_int_equal(
	    prefix(1 << 20, 0, LT_REMOTING_HEADER_MAX, &n), LEAT_E_AGAIN);
	assert_int_equal(
	    prefix(1 << 20, 0, LT_REMOTING_HEADER_MAX + 1, &n), LEAT_E_TOOBIG);
	/* A frame may have neither header nor body; a command has a header. */
	memcpy(large, "\0\0\0\4\0\0\0\0", 8);
	assert_int_equal(lt_remoting_frame(large, 8, &f), LEAT_OK);
	assert_int_equal(lt_remoting_decode(&f, &h), LEAT_E_CORRUPT);
}

static void
test_json_forms(void **state)
{
	static const char *const good[] = {"{}", " \t\r\n{ } \r\n",
	    "{ \"code\" : 1 , \"flag\" : 2 }", "{\"extFields\":null}",
	    "{\"extFields\":{}}", "{\"extFields\": { \"a\" : \"b\" } }",
	    "{\"x\":[]}", "{\"x\":[1, \"a\\\"]\", {\"y\":[[],{}]}, null]}",
	    "{\"x\":{\"y\":{\"z\":-0.5e+3}},\"code\":1}", "{\"x\":1E9}",
	    "{\"code\":\"12\"}", "{\"code\":null,\"remark\":null}",
	    "{\"code\":2147483647,\"opaque\":-2147483648}",
	    "{\"version\":1,\"version\":2}", "{\"remark\":\"\001 raw\"}",
	    "{\"extFields\":{\"a\":[1,{\"b\":2}],\"c\":{}}}"};
	static const char *const bad[] = {"", " ", "{", "}", "[]", "1", "null",
	    "\"x\"", "{\"code\"}", "{\"code\":}", "{\"code\":1,}", "{,}",
	    "{\"code\":1 \"flag\":2}", "{code:1}", "{'code':1}", "{}}", "{} x",
	    "{\"code\":1}{}", "{\"code\":2147483648}", "{\"code\":1.0}",
	    "{\"code\":1e2}", "{\"code\":true}", "{\"code\":{}}",
	    "{\"code\":\"\"}", "{\"opaque\":-2147483649}", "{\"x\":01}",
	    "{\"x\":-}", "{\"x\":1.}", "{\"x\":.5}", "{\"x\":1e}", "{\"x\":+1}",
	    "{\"x\":nul}", "{\"x\":True}", "{\"x\":NaN}", "{\"x\":[1,]}",
	    "{\"x\":[,]}", "{\"x\":[1 2]}", "{\"x\":[}", "{\"x\":{]}",
	    "{\"x\":{\"y\"}}", "{\"x\":{1:2}}", "{\"x\":\"\\x41\"}",
	    "{\"x\":\"\\u12\"}", "{\"x\":\"\\u123g\"}", "{\"x\":\"\\\"}",
	    "{\"x\":\"\\", "{\"x\":[\"\\x41\"]}", "{\"x\":[\"\\u123\"]}",
	    "{\"x\":[\"\\", "{\"extFields\":[]}", "{\"extFields\":\"\"}",
	    "{\"extFields\":1}", "{\"extFields\":{\"a\":}}",
	    "{\"extFields\":{\"a\"}}", "{\"extFields\":{\"a\":\"b\",}}"};

	for (size_t i = 0; i < LT_COUNT(good); i++)
		if (json(good[i]) != LEAT_OK)
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < LT_COUNT(bad); i++)
		if (json(bad[i]) != LEAT_E_CORRUPT)
			fail_msg("accepted: %s", bad[i]);
}

static void
test_json_values(void **state)
{
	assert_int_equal(
	    json("{\"x\":[{\"code\":9}],\"language\":\"KLINGON\",\"remark\":"
		 "\"r\",\"y\":{\"opaque\":3},\"extFields\":{\"n\":-1.50e2,"
		 "\"t\":true,\"N\":null,\"\":\"e\",\"o\":{\"a\":\"\\n\"},"
		 "\"d\":\"1\",\"d\":\"2\"},\"code\":7}"),
	    LEAT_OK);
	check_head(7, LT_REMOTING_OTHER, 0, 0, 6);
	check_text(h.remark, "r");
	check_ext("n", "-1.50e2");
	check_ext("t", "true");
	check_ext("", "e");
	check_ext("o", "{\"a\":\"\\n\"}");
	check_ext("d", "2");
	assert_null(lt_remoting_find(&h, "N").p);
	/* The last one counts as a whole. */
	assert_int_equal(json("{\"extFields\":{\"a\":\"1\",\"b\":\"2\"},"
			      "\"extFields\":{\"b\":\"3\"}}"),
	    LEAT_OK);
	assert_int_equal(h.ext_count, 1);
	check_ext("b", "3");
	assert_int_equal(json("{\"language\":\"NODE_JS\"}"), LEAT_OK);
	assert_int_equal(h.language, 13);
	assert_string_equal(lt_remoting_language(13), "NODE_JS");
	assert_string_equal(lt_remoting_language(14), "OTHER");
	assert_string_equal(lt_remoting_language(255), "OTHER");
}

static void
test_escapes(void **state)
{
	static const struct {
		const char *json, *want;
	} cases[] = {
	    {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
	    {"a\\u0041\\u004a\\u004Fz", "aAJOz"},
	    {"\\u00e9\\u07FF\\u0800\\uffff", "\u00e9\u07ff\u0800\uffff"},
	    {"\\ud83d\\ude00", "\U0001f600"},
	    {"\\uD800\\uDC00\\uDBFF\\uDFFF", "\U00010000\U0010ffff"},
	    {"\\ud83d", "\ufffd"},
	    {"\\ude00x", "\ufffdx"},
	    {"\\ud83dx\\ude00", "\ufffdx\ufffd"},
	    {"\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"},
	    {"\\ud83d\\n", "\ufffd\n"},
	    {"\u00e9\U0001f600", "\u00e9\U0001f600"}, /* as it came */
	    {"\xff\xc0\x80\xed\xa0\x80", "\xff\xc0\x80\xed\xa0\x80"},
	    {"seven c\\\\\\\\", "seven c\\\\"},
	};
	char text[256];

	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		/* As a value, as a name, and at any place in a word. */
		for (int pad = 0; pad < 8; pad++) {
			snprintf(text, sizeof(text),
			    "{\"extFields\":{\"%.*s%s\":\"%s\"}}", pad,
			    "pppppppp", cases[i].json, cases[i].json);
			assert_int_equal(json(text), LEAT_OK);
			check_text(h.ext[0].value, cases[i].want);
			assert_int_equal(
			    h.ext[0].name.bytes, pad + strlen(cases[i].want));
			assert_memory_equal(h.ext[0].name.p + pad,
			    cases[i].want, strlen(cases[i].want));
		}
	}
	assert_int_equal(json("{\"remark\":\"a\\u0000b\"}"), LEAT_OK);
	assert_int_equal(h.remark.bytes, 3);
	assert_memory_equal(h.remark.p, "a\0b", 3);
	assert_int_equal(json("{\"\\u0063ode\":4}"), LEAT_OK);
	assert_int_equal(h.code, 4);
}

static void
test_json_limits(void **state)
{
	static char text[4096];

	for (int depth = 0; depth < 64; depth++) {
		size_t n = 0;

		n += (size_t)sprintf(text, "{\"x\":");
		memset(text + n, '[', (size_t)depth);
		memset(text + n + depth, ']', (size_t)depth);
		n += 2 * (size_t)depth;
		strcpy(text + n, depth == 0 ? "0}" : "}");
		assert_int_equal(
		    json(text), depth <= 16 ? LEAT_OK : LEAT_E_CORRUPT);
	}
	for (unsigned fields = 0; fields < 70; fields++) {
		size_t n = (size_t)sprintf(text, "{\"extFields\":{");

		for (unsigned i = 0; i < fields; i++)
			n += (size_t)sprintf(text + n, "%s\"k%u\":\"%u\"",
			    i == 0 ? "" : ",", i, i);
		strcpy(text + n, "}}");
		assert_int_equal(json(text),
		    fields <= LT_REMOTING_EXT_MAX ? LEAT_OK : LEAT_E_CORRUPT);
		if (fields > 0 && fields <= LT_REMOTING_EXT_MAX)
			check_ext("k0", "0");
	}
}

static void
test_numbers(void **state)
{
	static const struct {
		const char *text;
		int is_number;
		int64_t v;
	} cases[] = {{"0", 1, 0}, {"-0", 1, 0}, {"+7", 1, 7}, {"007", 1, 7},
	    {"9223372036854775807", 1, INT64_MAX},
	    {"-9223372036854775808", 1, INT64_MIN},
	    {"9223372036854775808", 0, 0}, {"-9223372036854775809", 0, 0},
	    {"99999999999999999999", 0, 0}, {"", 0, 0}, {"-", 0, 0},
	    {"+", 0, 0}, {" 1", 0, 0}, {"1 ", 0, 0}, {"1.0", 0, 0},
	    {"0x1", 0, 0}, {"--1", 0, 0}};
	char text[128];
	int32_t narrow;

	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		int64_t v = 99;

		snprintf(text, sizeof(text), "{\"extFields\":{\"n\":\"%s\"}}",
		    cases[i].text);
		assert_int_equal(json(text), LEAT_OK);
		assert_int_equal(lt_remoting_i64(&h, "n", &v),
		    cases[i].is_number ? LEAT_OK : LEAT_E_INVALID);
		assert_int_equal(v, cases[i].is_number ? cases[i].v : 99);
	}
	assert_int_equal(json("{\"extFields\":{\"a\":2147483647,\"b\":"
			      "2147483648,\"c\":\"TrUe\",\"d\":true,"
			      "\"e\":\"yes\",\"f\":false,\"g\":\"\"}}"),
	    LEAT_OK);
	assert_int_equal(lt_remoting_i32(&h, "a", &narrow), LEAT_OK);
	assert_int_equal(lt_remoting_i32(&h, "b", &narrow), LEAT_E_INVALID);
	assert_int_equal(lt_remoting_bool(&h, "c"), 1);
	assert_int_equal(lt_remoting_bool(&h, "d"), 1);
	for (char name[] = "e"; name[0] <= 'h'; name[0]++)
		assert_int_equal(lt_remoting_bool(&h, name), 0);
}

static void
test_binary_limits(void **state)
{
	static uint8_t b[4096];

	for (unsigned fields = 0; fields < 70; fields++) {
		size_t n = 21;

		for (unsigned i = 0; i < fields; i++, n += 8)
			memcpy(b + n, "\0\1k\0\0\0\1v", 8);
		lt_bytes_put32(b + 17, (uint32_t)(n - 21));
		assert_int_equal(decode(LT_REMOTING_BINARY, (char *)b, n),
		    fields <= LT_REMOTING_EXT_MAX ? LEAT_OK : LEAT_E_CORRUPT);
	}
	/* A byte too many, lengths that lead out of the header, or back. */
	for (unsigned at = 13; at < 21; at += 4) {
		static const uint32_t wrong[] = {1, 0x80000000, UINT32_MAX};

		for (size_t i = 0; i < LT_COUNT(wrong); i++) {
			memset(b, 0, 29);
			lt_bytes_put32(b + at, wrong[i]);
			assert_int_equal(
			    decode(LT_REMOTING_BINARY, (char *)b, 21),
			    LEAT_E_CORRUPT);
		}
	}
	memset(b, 0, 29);
	assert_int_equal(
	    decode(LT_REMOTING_BINARY, (char *)b, 22), LEAT_E_CORRUPT);
	assert_int_equal(
	    decode(LT_REMOTING_BINARY, (char *)b, 27), LEAT_E_CORRUPT);
	lt_bytes_put32(b + 17, 6); /* one pair of nothing: passed over */
	assert_int_equal(decode(LT_REMOTING_BINARY, (char *)b, 27), LEAT_OK);
	assert_int_equal(h.ext_count, 0);
}

/* A name of 32,767 bytes is one, a longer has a negative length. */
static void
test_binary_name(void **state)
{
	static uint8_t b[1 << 17];

	for (uint32_t n = 32766; n < 32770; n++) {
		lt_bytes_put32(b + 17, 2 + n + 4 + 1);
		lt_bytes_put16(b + 21, (uint16_t)n);
		memset(b + 23, 'n', n);
		lt_bytes_put32(b + 23 + n, 1);
		assert_int_equal(
		    decode(LT_REMOTING_BINARY, (char *)b, 21 + 2 + n + 5),
		    n <= INT16_MAX ? LEAT_OK : LEAT_E_CORRUPT);
	}
}

static size_t
encode(void *buf, size_t room, int encoding, const char *remark)
{
	struct lt_remoting_encoder e;

	lt_remoting_begin(
	    &e, buf, room, encoding, 19, LT_REMOTING_RESPONSE, -5);
	lt_remoting_put(&e, "msgId", "a\"b\\c\n\001", 7);
	lt_remoting_put_i64(&e, "least", INT64_MIN);
	lt_remoting_put_i64(&e, "zero", 0);
	return lt_remoting_end(
	    &e, remark, remark == NULL ? 0 : strlen(remark), 1000);
}

#define PULLED                                                                 \
	"{\"code\":19,\"extFields\":{\"msgId\":\"a\\\"b\\\\c\\n\\u0001\","     \
	"\"least\":\"-9223372036854775808\",\"zero\":\"0\"},\"flag\":1,"       \
	"\"language\":\"OTHER\",\"opaque\":-5,\"remark\":\"why\","             \
	"\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}"
#define PULLED_BINARY                                                          \
	"\000\023\007\001\337\377\377\377\373\000\000\000\001\000\000\000\003" \
	"why\000\000\000\074\000\005msgId\000\000\000\007a\"b\\c\n\001"        \
	"\000\005least\000\000\000\024-9223372036854775808"                    \
	"\000\004zero\000\000\000\0010"

static void
test_encode(void **state)
{
	static const struct golden want[] = {
	    {0, PULLED, sizeof(PULLED) - 1, 0},
	    {1, PULLED_BINARY, sizeof(PULLED_BINARY) - 1, 0},
	};
	uint8_t buf[512];

	for (int i = 0; i < 2; i++) {
		size_t bytes = want[i].bytes + LT_REMOTING_PREFIX;

		/* In any room that is too small: nothing, and nothing beyond.
		 */
		for (size_t room = 0; room <= bytes; room++) {
			memset(buf, 0xee, sizeof(buf));
			assert_int_equal(encode(buf, room, i, "why"),
			    room < bytes ? 0 : bytes);
			for (size_t n = room; n < sizeof(buf); n++)
				assert_int_equal(buf[n], 0xee);
		}
		assert_int_equal(lt_bytes_get32(buf), 4 + want[i].bytes + 1000);
		assert_int_equal(buf[4], i);
		assert_int_equal(
		    lt_bytes_get32(buf + 4) & 0xffffff, want[i].bytes);
		assert_memory_equal(
		    buf + LT_REMOTING_PREFIX, want[i].header, want[i].bytes);
		assert_int_equal(
		    decode(i, (char *)buf + LT_REMOTING_PREFIX, want[i].bytes),
		    LEAT_OK);
		check_text(h.remark, "why");
		check_ext("msgId", "a\"b\\c\n\001");
		assert_int_equal(h.ext_count, 3);
	}
}

static void
test_encode_least(void **state)
{
	struct lt_remoting_encoder e;
	uint8_t buf[256];
	size_t n;

	lt_remoting_begin(&e, buf, sizeof(buf), LT_REMOTING_JSON, 0, 1, 7);
	n = lt_remoting_end(&e, NULL, 0, 0);
	assert_int_equal(lt_bytes_get32(buf) + 4, n);
	assert_int_equal(n, 8 + strlen("{\"code\":0,\"flag\":1,\"language\":"
				       "\"OTHER\",\"opaque\":7,\"serializeType"
				       "CurrentRPC\":\"JSON\",\"version\":"
				       "479}"));
	lt_remoting_begin(&e, buf, sizeof(buf), LT_REMOTING_BINARY, 0, 1, 7);
	n = lt_remoting_end(&e, NULL, 0, 0);
	assert_int_equal(n, 8 + 21);
	assert_int_equal(decode(LT_REMOTING_BINARY, (char *)buf + 8, 21), 0);
	assert_null(h.remark.p);
	/* The code has 16 bits: POP_MESSAGE as upstream would see it. */
	lt_remoting_begin(
	    &e, buf, sizeof(buf), LT_REMOTING_BINARY, 200050, 0, 7);
	assert_int_equal(lt_remoting_end(&e, NULL, 0, 0), 29);
	assert_int_equal(decode(LT_REMOTING_BINARY, (char *)buf + 8, 21), 0);
	assert_int_equal(h.code, 3442);
}

/* Every byte there is, as a value and as a name. */
static void
test_encode_bytes(void **state)
{
	char all[257];
	struct lt_remoting_encoder e;
	struct lt_remoting_frame f;
	size_t n;

	for (int i = 0; i < 257; i++)
		all[i] = (char)i;
	for (int encoding = 0; encoding < 2; encoding++) {
		const struct lt_remoting_ext field = {{all, 257}, {all, 257}};

		lt_remoting_begin(&e, large, sizeof(large), encoding, 1, 2, 3);
		lt_remoting_put_ext(&e, &field);
		n = lt_remoting_end(&e, all, 257, 0);
		/* In JSON no control character remains, and the rest does. */
		for (size_t i = 8; i < n && encoding == LT_REMOTING_JSON; i++)
			assert_true(large[i] >= ' ');
		if (encoding == LT_REMOTING_JSON) /* 7 of 2, 28 of 6 bytes */
			assert_int_equal(n,
			    8 +
				strlen("{'code':1,'extFields':{'':''},'flag':2,"
				       "'language':'OTHER','opaque':3,'remark':"
				       "'','serializeTypeCurrentRPC':'JSON',"
				       "'version':479}") +
				3 * (257 + 7 + 28 * 5));
		assert_int_equal(lt_remoting_frame(large, n, &f), LEAT_OK);
		assert_int_equal(lt_remoting_decode(&f, &h), LEAT_OK);
		assert_int_equal(h.ext_count, 1);
		assert_int_equal(h.ext[0].name.bytes, 257);
		assert_memory_equal(h.ext[0].name.p, all, 257);
		assert_int_equal(h.ext[0].value.bytes, 257);
		assert_memory_equal(h.ext[0].value.p, all, 257);
		assert_int_equal(h.remark.bytes, 257);
		assert_memory_equal(h.remark.p, all, 257);
	}
}

/* A header with one value of so many bytes; its size, 0 if refused. */
static size_t
encode_value(int encoding, size_t value_bytes)
{
	static char value[LT_REMOTING_HEADER_MAX];
	struct lt_remoting_encoder e;

	memset(value, 'v', sizeof(value));
	lt_remoting_begin(&e, large, sizeof(large), encoding, 1, 2, 3);
	lt_remoting_put(&e, "n", value, value_bytes);
	return lt_remoting_end(&e, NULL, 0, 0);
}

static size_t
encode_body(int encoding, size_t body_bytes)
{
	struct lt_remoting_encoder e;

	lt_remoting_begin(&e, large, sizeof(large), encoding, 1, 2, 3);
	return lt_remoting_end(&e, NULL, 0, body_bytes);
}

/* The largest header and frame, and one byte more. */
static void
test_encode_limits(void **state)
{
	struct lt_remoting_frame f;

	for (int encoding = 0; encoding < 2; encoding++) {
		size_t most = LT_REMOTING_HEADER_MAX + LT_REMOTING_PREFIX -
			      encode_value(encoding, 0);
		size_t n = encode_value(encoding, most);

		assert_int_equal(lt_remoting_frame(large, n, &f), LEAT_OK);
		assert_int_equal(f.header_bytes, LT_REMOTING_HEADER_MAX);
		assert_int_equal(lt_remoting_decode(&f, &h), LEAT_OK);
		assert_int_equal(h.ext[0].value.bytes, most);
		assert_int_equal(encode_value(encoding, most + 1), 0);

		n = encode_body(encoding, 0);
		most = LT_REMOTING_FRAME_MAX - n;
		assert_int_equal(encode_body(encoding, most), n);
		assert_int_equal(lt_remoting_frame(large, n, &f), LEAT_E_AGAIN);
		assert_int_equal(f.bytes, LT_REMOTING_FRAME_MAX);
		assert_int_equal(encode_body(encoding, most + 1), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_java),
	    cmocka_unit_test(test_go),
	    cmocka_unit_test(test_cpp),
	    cmocka_unit_test(test_node),
	    cmocka_unit_test(test_binary),
	    cmocka_unit_test(test_truncated_headers),
	    cmocka_unit_test(test_frames),
	    cmocka_unit_test(test_frame_limits),
	    cmocka_unit_test(test_json_forms),
	    cmocka_unit_test(test_json_values),
	    cmocka_unit_test(test_escapes),
	    cmocka_unit_test(test_json_limits),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_binary_limits),
	    cmocka_unit_test(test_binary_name),
	    cmocka_unit_test(test_encode),
	    cmocka_unit_test(test_encode_least),
	    cmocka_unit_test(test_encode_bytes),
	    cmocka_unit_test(test_encode_limits),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
