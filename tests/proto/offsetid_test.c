/* offsetid_test.c - offsetMsgId there and back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "leat/status.h"
#include "proto/offsetid.h"

/* As Java's MessageDecoder makes it. */
#define KNOWN "7F00000100002A9F000000000012D687"

static void
test_encode(void **state)
{
	struct lt_offsetid id = {0x7f000001, 10911, 1234567};
	char text[LT_OFFSETID_CHARS + 1];

	memset(text, '~', sizeof(text));
	lt_offsetid_encode(text, &id);
	assert_memory_equal(text, KNOWN "~", sizeof(text));
}

static void
test_decode(void **state)
{
	static const char most[] = "ffffffffFFFFFFFFffffffffFFFFFFFF";
	struct lt_offsetid id = {0};

	assert_int_equal(lt_offsetid_decode(KNOWN, 32, &id), LEAT_OK);
	assert_int_equal(id.ip, 0x7f000001);
	assert_int_equal(id.port, 10911);
	assert_int_equal(id.log_offset, 1234567);
	assert_int_equal(lt_offsetid_decode(most, 32, &id), LEAT_OK);
	assert_int_equal(id.ip, UINT32_MAX);
	assert_int_equal(id.port, UINT32_MAX);
	assert_true(id.log_offset == UINT64_MAX);
}

static void
test_invalid(void **state)
{
	struct lt_offsetid id = {1, 2, 3};
	char text[64];

	memset(text, '0', sizeof(text)); /* 56: an IPv6 host */
	for (size_t n = 0; n <= sizeof(text); n++)
		if (n != LT_OFFSETID_CHARS)
			assert_int_equal(
			    lt_offsetid_decode(text, n, &id), LEAT_E_INVALID);
	for (size_t at = 0; at < LT_OFFSETID_CHARS; at++) {
		memset(text, '0', sizeof(text));
		text[at] = 'g';
		assert_int_equal(
		    lt_offsetid_decode(text, 32, &id), LEAT_E_INVALID);
	}
	assert_int_equal(id.log_offset, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_encode),
	    cmocka_unit_test(test_decode),
	    cmocka_unit_test(test_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
