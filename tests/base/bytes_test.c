/* bytes_test.c - big-endian access, rounding, hexadecimal, fixed fields; and
 * the list of results. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"

static void
is_big_endian_at_any_alignment(void **state)
{
	uint8_t b[16] = {0};

	for (int at = 0; at < 8; at++) {
		lt_bytes_put64(b + at, 0x0102030405060708u);
		assert_int_equal(b[at], 1);
		assert_int_equal(b[at + 7], 8);
		assert_true(lt_bytes_get64(b + at) == 0x0102030405060708u);
		assert_int_equal(lt_bytes_get32(b + at + 4), 0x05060708);
		assert_int_equal(lt_bytes_get16(b + at + 1), 0x0203);
	}
	lt_bytes_put16(b, 0xfffe);
	lt_bytes_put32(b + 2, 0x80000001u);
	assert_int_equal(b[0], 0xff);
	assert_int_equal(b[2], 0x80);
	assert_int_equal(b[5], 0x01);
}

static void
rounds(void **state)
{
	assert_true(lt_bytes_align(0, 32) == 0);
	assert_true(lt_bytes_align(1, 32) == 32);
	assert_true(lt_bytes_align(32, 32) == 32);
	assert_true(lt_bytes_align(33, 32) == 64);
	assert_true(lt_bytes_pow2(1) == 1);
	assert_true(lt_bytes_pow2(2) == 2);
	assert_true(lt_bytes_pow2(3) == 4);
	assert_true(lt_bytes_pow2(65537) == 131072);
	assert_true(lt_bytes_pow2((1ull << 63) - 1) == 1ull << 63);
	assert_true(lt_bytes_pow2(1ull << 63) == 1ull << 63);
}

static void
hex_goes_there_and_back(void **state)
{
	char text[16];
	uint64_t v;

	lt_bytes_hex64(text, 0x0123456789ABCDEFu);
	assert_memory_equal(text, "0123456789ABCDEF", 16);
	assert_int_equal(lt_bytes_unhex64("0123456789abcdeF", &v), 0);
	assert_true(v == 0x0123456789ABCDEFu);
	assert_int_equal(lt_bytes_unhex64("0123456789abcdeg", &v), -1);
	assert_int_equal(lt_bytes_unhex64("-123456789abcdef", &v), -1);
	assert_int_equal(lt_bytes_unhex64("0x23456789abcdef", &v), -1);
}

static void
fields_are_padded_or_refused(void **state)
{
	char f[4];

	memset(f, 'x', sizeof f);
	assert_int_equal(lt_bytes_field(f, sizeof f, "ab"), 0);
	assert_memory_equal(f, "ab\0\0", 4);
	assert_true(lt_bytes_terminated(f, sizeof f));
	assert_int_equal(lt_bytes_field(f, sizeof f, "abc"), 0);
	assert_int_equal(lt_bytes_field(f, sizeof f, "abcd"), -1);
	assert_memory_equal(f, "\0\0\0\0", 4);
	memset(f, 'x', sizeof f);
	assert_false(lt_bytes_terminated(f, sizeof f));
}

static void
digits_are_all_or_nothing(void **state)
{
	static const char *const bad[] = {"", "0000001234",
	    "000000000000000001234", "0000000000000000123",
	    "-0000000000000001234", "+0000000000000001234",
	    " 0000000000000001234", "0000000000000000123x",
	    "09223372036854775808", "18446744073709551616",
	    "99999999999999999999"};
	uint64_t v = 7;

	assert_int_equal(lt_bytes_digits("00000000000000001234", 20, &v), 0);
	assert_int_equal(v, 1234);
	assert_int_equal(lt_bytes_digits("09223372036854775807", 20, &v), 0);
	assert_int_equal(v, INT64_MAX);
	assert_int_equal(lt_bytes_digits("20261121235959123", 17, &v), 0);
	assert_int_equal(v, 20261121235959123);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(lt_bytes_digits(bad[i], 20, &v), -1);
}

static void
ports_are_read(void **state)
{
	static const struct {
		const char *text;
		size_t host;
		int port;
	} cases[] = {
	    {"h:1", 1, 1},
	    {"h:65535", 1, 65535},
	    {"[::1]:9876", 5, 9876},
	    {"h", 1, 0},
	    {"[::1]", 5, 0},
	    {"", 0, 0},
	    {":80", 0, 80},
	    {"h:", 1, -1},
	    {"h:0", 1, -1},
	    {"h:65536", 1, -1},
	    {"h:18446744073709551617", 1, -1},
	    {"h:-1", 1, -1},
	    {"h:http", 1, -1},
	    {"h:1x", 1, -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t host = 99;

		assert_int_equal(
		    lt_bytes_port(cases[i].text, &host), cases[i].port);
		assert_int_equal(host, cases[i].host);
	}
}

static void
every_status_has_its_texts(void **state)
{
	int count = 0;

#define LEAT_X(symbol, value, retryable, text)                                 \
	assert_string_equal(leat_status_name(symbol), #symbol);                \
	assert_string_equal(leat_status_text(value), text);                    \
	assert_int_equal(leat_status_retryable(value), retryable);             \
	assert_int_equal(value, -count);                                       \
	count++;
	LEAT_STATUS_LIST(LEAT_X)
#undef LEAT_X
	assert_string_equal(leat_status_text(1), "unknown status");
	assert_string_equal(leat_status_text(-count), "unknown status");
	assert_int_equal(leat_status_retryable(-count), 0);
	assert_non_null(leat_status_name(-count));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(is_big_endian_at_any_alignment),
	    cmocka_unit_test(rounds),
	    cmocka_unit_test(hex_goes_there_and_back),
	    cmocka_unit_test(fields_are_padded_or_refused),
	    cmocka_unit_test(digits_are_all_or_nothing),
	    cmocka_unit_test(ports_are_read),
	    cmocka_unit_test(every_status_has_its_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
