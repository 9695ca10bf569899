/* histogram_test.c - quantiles against sorted data. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/histogram.h"

#define COUNT 20000

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
stays_within_its_error(void **state)
{
	static const double quantiles[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
	static struct lt_histogram h;
	static uint64_t v[COUNT];
	unsigned seed = 3;

	lt_histogram_init(&h);
	for (int i = 0; i < COUNT; i++) {
		uint64_t r =
		    (uint64_t)rand_r(&seed) << 31 | (uint64_t)rand_r(&seed);
		v[i] = r >> (rand_r(&seed) % 62);
		lt_histogram_add(&h, v[i]);
	}
	qsort(v, COUNT, sizeof v[0], by_value);
	for (size_t q = 0; q < sizeof quantiles / sizeof quantiles[0]; q++) {
		double at = quantiles[q] * COUNT;
		size_t rank = (size_t)at;
		if ((double)rank < at)
			rank++;
		uint64_t exact = v[rank == 0 ? 0 : rank - 1];
		uint64_t got = lt_histogram_at(&h, quantiles[q]);
		assert_true(got >= exact);
		assert_true((double)got <= (double)exact * 1.0321);
	}
	assert_true(lt_histogram_at(&h, 1) == v[COUNT - 1]);
	assert_int_equal(h.count, COUNT);
}

static void
holds_the_ends(void **state)
{
	static struct lt_histogram h;

	lt_histogram_init(&h);
	assert_int_equal(lt_histogram_at(&h, 0.5), 0);
	lt_histogram_add(&h, 0);
	assert_int_equal(lt_histogram_at(&h, 1), 0);
	lt_histogram_add(&h, UINT64_MAX);
	assert_true(lt_histogram_at(&h, 1) == UINT64_MAX);
	assert_int_equal(lt_histogram_at(&h, 0.5), 0);
	for (uint64_t v = 0; v < 32; v++) {
		lt_histogram_init(&h);
		lt_histogram_add(&h, v);
		lt_histogram_add(&h, 1000);
		assert_true(lt_histogram_at(&h, 0.5) == v);
	}
}

static void
merges(void **state)
{
	static struct lt_histogram a, b, both;

	lt_histogram_init(&a);
	lt_histogram_init(&b);
	lt_histogram_init(&both);
	for (uint64_t v = 1; v < 5000; v++) {
		lt_histogram_add(v % 3 == 0 ? &a : &b, v * v);
		lt_histogram_add(&both, v * v);
	}
	lt_histogram_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stays_within_its_error),
	    cmocka_unit_test(holds_the_ends),
	    cmocka_unit_test(merges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
