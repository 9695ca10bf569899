/* mem_test.c - zeroed, aligned, overflow refused. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

static int
is_zero(const void *p, size_t bytes)
{
	const char *c = p;

	for (size_t i = 0; i < bytes; i++)
		if (c[i] != 0)
			return 0;
	return 1;
}

static void
gives_zeroed_memory(void **state)
{
	char *p = lt_mem_alloc(1000);

	assert_true(is_zero(p, 1000));
	memset(p, 1, 1000);
	p = lt_mem_resize(p, 2000);
	assert_int_equal(p[999], 1);
	lt_mem_free(p);
	p = lt_mem_alloc(0);
	assert_non_null(p);
	lt_mem_free(p);
	p = lt_mem_strdup("text");
	assert_string_equal(p, "text");
	lt_mem_free(p);
	lt_mem_free(NULL);
}

static void
refuses_overflow(void **state)
{
	void *items = NULL;
	size_t capacity = 0;

	assert_null(lt_mem_array(SIZE_MAX / 2, 3));
	assert_null(lt_mem_aligned(4096, SIZE_MAX - 10));
	assert_int_equal(
	    lt_mem_grow(&items, &capacity, 0, SIZE_MAX / 4), LEAT_E_NOMEM);
	assert_null(items);
	assert_int_equal(capacity, 0);
}

static void
aligns(void **state)
{
	for (size_t align = 64; align <= 65536; align *= 4) {
		char *p = lt_mem_aligned(align, 100);
		assert_int_equal((uintptr_t)p % align, 0);
		assert_true(is_zero(p, 100));
		lt_mem_free(p);
	}
}

static void
grows(void **state)
{
	struct pair {
		int a, b;
	} *items = NULL;
	size_t capacity = 0;

	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(
		    lt_mem_grow((void **)&items, &capacity, i, sizeof *items),
		    LEAT_OK);
		assert_true(capacity > i);
		assert_true(is_zero(&items[i], sizeof *items));
		items[i].a = (int)i;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(items[i].a, i);
	lt_mem_free(items);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gives_zeroed_memory),
	    cmocka_unit_test(refuses_overflow),
	    cmocka_unit_test(aligns),
	    cmocka_unit_test(grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
