/* sendbatch_test.c - inner messages of a batch send, whole and cut. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "leat/status.h"
#include "proto/sendbatch.h"

/* Two messages as Java's MessageDecoder writes them. */
#define FIRST                                                                  \
	"\0\0\0\x26\0\0\0\0\0\0\0\0\0\0\0\7\0\0\0\5first\0\013"                \
	"TAGS\1TagA\2k"
#define SECOND "\0\0\0\x16\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0"

/* How many messages are in the batch; -1: corrupt. */
static int
count(const void *batch, size_t bytes)
{
	uint8_t *exact = malloc(bytes + (bytes == 0));
	struct lt_sendbatch_message m;
	size_t cursor = 0;
	int n = 0, status;

	assert_non_null(exact);
	memcpy(exact, batch, bytes);
	while (
	    (status = lt_sendbatch_next(exact, bytes, &cursor, &m)) == LEAT_OK)
		n++;
	assert_true(cursor <= bytes);
	free(exact);
	assert_true(status == LEAT_E_END || status == LEAT_E_CORRUPT);
	return status == LEAT_E_END ? n : -1;
}

static void
test_walk(void **state)
{
	static const char batch[] = FIRST SECOND;
	struct lt_sendbatch_message m;
	size_t cursor = 0;

	assert_int_equal(
	    lt_sendbatch_next(batch, sizeof(batch) - 1, &cursor, &m), LEAT_OK);
	assert_int_equal(cursor, 38);
	assert_int_equal(m.flag, 7);
	assert_int_equal(m.body_bytes, 5);
	assert_memory_equal(m.body, "first", 5);
	assert_int_equal(m.props_bytes, 11);
	assert_memory_equal(m.props, "TAGS\1TagA\2k", 11);
	assert_int_equal(
	    lt_sendbatch_next(batch, sizeof(batch) - 1, &cursor, &m), LEAT_OK);
	assert_int_equal(m.flag, -1);
	assert_int_equal(m.body_bytes, 0);
	assert_int_equal(m.props_bytes, 0);
	assert_int_equal(
	    lt_sendbatch_next(batch, sizeof(batch) - 1, &cursor, &m),
	    LEAT_E_END);
	assert_int_equal(cursor, sizeof(batch) - 1);
}

static void
test_cut(void **state)
{
	static const char batch[] = FIRST SECOND;

	for (size_t n = 0; n < sizeof(batch); n++)
		assert_int_equal(count(batch, n), n == 0    ? 0
						  : n == 38 ? 1
						  : n == 60 ? 2
							    : -1);
	assert_int_equal(sizeof(batch) - 1, 60);
}

/* Each length one off, and as large as it can be. */
static void
test_lengths(void **state)
{
	static const size_t at[] = {0, 16, 25};
	uint8_t batch[38];

	for (size_t i = 0; i < 3; i++) {
		memcpy(batch, FIRST, 38);
		assert_int_equal(count(batch, 38), 1);
		batch[at[i] + (i == 2 ? 1 : 3)]++;
		assert_int_equal(count(batch, 38), -1);
		batch[at[i] + (i == 2 ? 1 : 3)] -= 2;
		assert_int_equal(count(batch, 38), -1);
		memset(batch + at[i], 0xff, i == 2 ? 2 : 4);
		assert_int_equal(count(batch, 38), -1);
		memset(batch + at[i], 0, i == 2 ? 2 : 4);
		assert_int_equal(count(batch, 38), -1);
	}
}

/* Sums that come out right by overflow. */
static void
test_overflow(void **state)
{
	uint8_t batch[38] = FIRST;

	for (uint32_t total = 0; total < LT_SENDBATCH_FIXED; total++) {
		lt_bytes_put32(batch, total);
		lt_bytes_put32(batch + 16, total - LT_SENDBATCH_FIXED);
		assert_int_equal(count(batch, 38), -1);
	}
}

/* 32,767 bytes of properties are the most: an i16. */
static void
test_properties(void **state)
{
	static uint8_t batch[LT_SENDBATCH_FIXED + 40000];

	for (uint32_t n = 32766; n < 32770; n++) {
		lt_bytes_put32(batch, LT_SENDBATCH_FIXED + n);
		lt_bytes_put16(batch + 20, (uint16_t)n);
		assert_int_equal(count(batch, LT_SENDBATCH_FIXED + n),
		    n <= INT16_MAX ? 1 : -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_walk),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_overflow),
	    cmocka_unit_test(test_properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
