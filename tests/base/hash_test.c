/* hash_test.c - the map against a plain array, through growth and deletion. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "leat/status.h"

#define KEYS 500

static void
agrees_with_an_array(void **state)
{
	struct lt_hash map;
	static char values[KEYS][2];
	void *model[KEYS] = {NULL};
	unsigned seed = 7;
	size_t live = 0;

	lt_hash_init(&map);
	assert_null(lt_hash_get(&map, "x", 1));
	assert_null(lt_hash_del(&map, "x", 1));
	for (int step = 0; step < 200000; step++) {
		unsigned r = (unsigned)rand_r(&seed);
		unsigned k = r / 8 % KEYS;
		char key[16];
		size_t n = (size_t)snprintf(key, sizeof key, "key-%u", k);
		void *value = &values[k][r & 1];
		switch (r / 2 % 4) {
		case 0:
		case 1:
			assert_int_equal(
			    lt_hash_put(&map, key, n, value), LEAT_OK);
			live += model[k] == NULL;
			model[k] = value;
			break;
		case 2:
			assert_ptr_equal(lt_hash_del(&map, key, n), model[k]);
			live -= model[k] != NULL;
			model[k] = NULL;
			break;
		default:
			assert_ptr_equal(lt_hash_get(&map, key, n), model[k]);
		}
		assert_int_equal(map.used, live);
		assert_true(map.filled < map.capacity || map.capacity == 0);
	}
	assert_true(map.capacity <= 4096); /* deleted slots are recycled */
	lt_hash_fini(&map);
}

static void
iterates_while_deleting(void **state)
{
	struct lt_hash map;
	static uint64_t keys[100];
	size_t cursor = 0, seen = 0;
	uint64_t sum = 0, *k;

	lt_hash_init(&map);
	for (uint64_t i = 0; i < 100; i++) {
		keys[i] = i * 4096;
		assert_int_equal(
		    lt_hash_put(&map, &keys[i], 8, &keys[i]), LEAT_OK);
	}
	while ((k = lt_hash_next(&map, &cursor)) != NULL) {
		seen++;
		sum += *k / 4096;
		assert_ptr_equal(lt_hash_del(&map, k, 8), k);
	}
	assert_int_equal(seen, 100);
	assert_int_equal(sum, 4950);
	assert_int_equal(map.used, 0);
	lt_hash_fini(&map);
}

static void
copies_keys_and_takes_any_bytes(void **state)
{
	struct lt_hash map;
	char key[] = {0, 1, 0, 2};
	int one, two, none;

	lt_hash_init(&map);
	assert_int_equal(lt_hash_put(&map, key, 4, &one), LEAT_OK);
	assert_int_equal(lt_hash_put(&map, key, 3, &two), LEAT_OK);
	assert_int_equal(lt_hash_put(&map, "", 0, &none), LEAT_OK);
	key[0] = 9;
	assert_null(lt_hash_get(&map, key, 4));
	key[0] = 0;
	assert_ptr_equal(lt_hash_get(&map, key, 4), &one);
	assert_ptr_equal(lt_hash_get(&map, key, 3), &two);
	assert_ptr_equal(lt_hash_get(&map, "", 0), &none);
	lt_hash_fini(&map);
}

static void
spreads_similar_keys(void **state)
{
	unsigned buckets[256] = {0};

	for (uint64_t i = 0; i < 25600; i++)
		buckets[lt_hash_bytes(&i, 8) & 255]++;
	for (int i = 0; i < 256; i++)
		assert_in_range(buckets[i], 50, 160);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(agrees_with_an_array),
	    cmocka_unit_test(iterates_while_deleting),
	    cmocka_unit_test(copies_keys_and_takes_any_bytes),
	    cmocka_unit_test(spreads_similar_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
