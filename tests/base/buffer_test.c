/*
 * buffer_test.c - what is written is there, a failure sticks; JSON quoting;
 * zlib streams there and back, damaged, and larger than allowed.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/deflate.h"
#include "leat/status.h"

static void
is(struct lt_buffer *b, const char *text)
{
	assert_int_equal(lt_buffer_status(b), LEAT_OK);
	assert_int_equal(b->bytes, strlen(text));
	assert_memory_equal(b->p, text, b->bytes);
}

static void
writes(void **state)
{
	static char big[5000];
	struct lt_buffer b;

	lt_buffer_init(&b, 10000);
	is(&b, "");
	lt_buffer_text(&b, "one ");
	lt_buffer_add(&b, "two!", 3);
	lt_buffer_format(&b, " %d", 3);
	is(&b, "one two 3");
	lt_buffer_put32(&b, 0x61626364);
	is(&b, "one two 3abcd");
	lt_buffer_clear(&b);
	memset(big, 'x', sizeof(big) - 1);
	lt_buffer_format(&b, "%s", big);
	is(&b, big);
	lt_buffer_fini(&b);
	assert_null(b.p);
}

static void
sticks_at_its_bound(void **state)
{
	struct lt_buffer b;

	lt_buffer_init(&b, 8);
	lt_buffer_text(&b, "12345678");
	is(&b, "12345678");
	lt_buffer_text(&b, "9");
	assert_int_equal(lt_buffer_status(&b), LEAT_E_TOOBIG);
	lt_buffer_add(&b, "", 0);
	assert_null(lt_buffer_reserve(&b, 0));
	assert_int_equal(lt_buffer_status(&b), LEAT_E_TOOBIG);
	lt_buffer_clear(&b);
	lt_buffer_format(&b, "%s", "again");
	is(&b, "again");
	lt_buffer_fini(&b);
}

static void
quotes(void **state)
{
	static const struct {
		const char *in, *out;
		size_t bytes;
	} cases[] = {
	    {"", "\"\"", 0},
	    {"plain", "\"plain\"", 5},
	    {"a\"b\\c", "\"a\\\"b\\\\c\"", 5},
	    {"\b\t\n\v\f\r\x01", "\"\\b\\t\\n\\u000b\\f\\r\\u0001\"", 7},
	    {"\0\x7f", "\"\\u0000\\u007f\"", 2},
	    {"\xc3\xa4\xe6\xb0\xb4\xf0\x9f\x92\xa7",
		"\"\xc3\xa4\xe6\xb0\xb4\xf0\x9f\x92\xa7\"", 9},
	    {"a\xff"
	     "b\xc3",
		"\"a\\ufffdb\\ufffd\"", 4}, /* no UTF-8, cut */
	    {"\xc0\x80", "\"\\ufffd\\ufffd\"", 2}, /* not the shortest form */
	    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"", 3}, /* surrogate */
	    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"", 4},
	};
	struct lt_buffer b;

	lt_buffer_init(&b, 100);
	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		lt_buffer_clear(&b);
		lt_buffer_quote(&b, cases[i].in, cases[i].bytes);
		is(&b, cases[i].out);
	}
	lt_buffer_fini(&b);
}

static void
packs_and_unpacks(void **state)
{
	static uint8_t in[100000];
	struct lt_buffer packed, out;
	unsigned seed = 3;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(rand_r(&seed) % 7);
	for (size_t bytes = 0; bytes <= sizeof(in); bytes = bytes * 3 + 1) {
		lt_buffer_init(&packed, 200000);
		lt_buffer_init(&out, bytes + 3);
		lt_buffer_text(&out, "at:"); /* appended to, not overwritten */
		assert_int_equal(
		    lt_deflate_pack(in, bytes, 9, &packed), LEAT_OK);
		assert_int_equal(
		    lt_deflate_unpack(packed.p, packed.bytes, &out), LEAT_OK);
		assert_int_equal(out.bytes, bytes + 3);
		assert_memory_equal(out.p + 3, in, bytes);

		out.most = bytes + 2;
		out.bytes = 3;
		if (bytes > 0)
			assert_int_equal(
			    lt_deflate_unpack(packed.p, packed.bytes, &out),
			    LEAT_E_TOOBIG);
		lt_buffer_fini(&packed);
		lt_buffer_fini(&out);
	}
}

static void
refuses_what_is_no_stream(void **state)
{
	struct lt_buffer packed, out;

	lt_buffer_init(&packed, 1000);
	lt_buffer_init(&out, 1000);
	assert_int_equal(
	    lt_deflate_pack("text text text", 14, 9, &packed), LEAT_OK);
	for (size_t n = 0; n < packed.bytes; n++)
		assert_int_equal(
		    lt_deflate_unpack(packed.p, n, &out), LEAT_E_CORRUPT);
	lt_buffer_add(&packed, "x", 1);
	assert_int_equal(
	    lt_deflate_unpack(packed.p, packed.bytes, &out), LEAT_E_CORRUPT);
	assert_int_equal(out.bytes, 0);
	lt_buffer_fini(&packed);
	lt_buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes),
	    cmocka_unit_test(sticks_at_its_bound),
	    cmocka_unit_test(quotes),
	    cmocka_unit_test(packs_and_unpacks),
	    cmocka_unit_test(refuses_what_is_no_stream),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
