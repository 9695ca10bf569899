/* properties_test.c - property strings as clients send them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "proto/properties.h"

static const struct lt_properties_name without[] = {
    LT_PROPERTIES_NAME("POP_CK", 0),
    LT_PROPERTIES_NAME("__CRC32#", 0),
    LT_PROPERTIES_NAME("UNIQ_KEY", 1),
};

static void
test_walk(void **state)
{
	/* Nothing, no value, no name, no byte 1; the last without its end. */
	static const char props[] = "\2a\1b\2c\1\2\1d\2e\2name\1v\1w\2f\1g";
	static const struct {
		const char *name, *value;
	} want[] = {{"a", "b"}, {"name", "v\1w"}, {"f", "g"}};
	struct lt_record_property it;
	size_t cursor = 0, bytes = sizeof(props) - 1;

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
		    lt_properties_next(props, bytes, &cursor, &it), LEAT_OK);
		assert_int_equal(it.name_bytes, strlen(want[i].name));
		assert_memory_equal(it.name, want[i].name, it.name_bytes);
		assert_int_equal(it.value_bytes, strlen(want[i].value));
		assert_memory_equal(it.value, want[i].value, it.value_bytes);
	}
	assert_int_equal(
	    lt_properties_next(props, bytes, &cursor, &it), LEAT_E_END);
	assert_int_equal(cursor, bytes);
	cursor = 0;
	assert_int_equal(lt_properties_next(NULL, 0, &cursor, &it), LEAT_E_END);
}

static void
test_find(void **state)
{
	static const char props[] = "KEYS\1k1 k2\2WAIT\1true\2KEYS\1x\2E\1";
	const char *value = NULL;
	size_t n = 0;

	assert_int_equal(
	    lt_properties_find(props, sizeof(props) - 1, "KEYS", 4, &value, &n),
	    LEAT_OK);
	assert_int_equal(n, 5); /* the first */
	assert_memory_equal(value, "k1 k2", 5);
	assert_int_equal(
	    lt_properties_find(props, sizeof(props) - 1, "WAIT", 4, &value, &n),
	    LEAT_OK);
	assert_memory_equal(value, "true", n);
	assert_int_equal(
	    lt_properties_find(props, sizeof(props) - 1, "KEY", 3, &value, &n),
	    LEAT_E_NOTFOUND);
	assert_int_equal(
	    lt_properties_find(props, sizeof(props) - 1, "E", 1, &value, &n),
	    LEAT_E_NOTFOUND);
}

static void
check_copy(const char *props, const char *want)
{
	char out[256];
	size_t n = 9999;

	memset(out, '~', sizeof(out));
	assert_int_equal(
	    lt_properties_measure(props, strlen(props), without, 3, &n),
	    LEAT_OK);
	assert_int_equal(n, strlen(want));
	assert_ptr_equal(
	    lt_properties_copy(out, props, strlen(props), without, 3), out + n);
	assert_memory_equal(out, want, n);
	assert_int_equal(out[n], '~');
}

static void
test_copy(void **state)
{
	check_copy("", "");
	check_copy("a\1b\2", "a\1b\2");
	check_copy("a\1b", "a\1b\2");
	check_copy("\2\2a\1b\2x\2c\1\2\1d\2e\1f", "a\1b\2e\1f\2");
	check_copy("POP_CK\1x\2a\1b\2__CRC32#\1"
		   "0123456789\2",
	    "a\1b\2");
	check_copy("POP_CKS\1x\2POP_C\1y\2", "POP_CKS\1x\2POP_C\1y\2");
	check_copy("POP_CK\1x\2POP_CK\1y", "");
	check_copy("POP_CK\1x\1y\2a\1b", "a\1b\2"); /* left out: no matter */
}

/* The first of that name, wherever it is, and no other. */
static void
test_but_first(void **state)
{
	check_copy("UNIQ_KEY\1x\2", "UNIQ_KEY\1x\2");
	check_copy("UNIQ_KEY\1x\2a\1b\2UNIQ_KEY\1x\2UNIQ_KEY\1y",
	    "UNIQ_KEY\1x\2a\1b\2");
	check_copy("UNIQ_KEY\1\2a\1b\2UNIQ_KEY\1y", /* no pair */
	    "a\1b\2UNIQ_KEY\1y\2");
}

/* What no reader of a record could tell apart is refused. */
static void
test_refused(void **state)
{
	size_t n = 77;

	assert_int_equal(lt_properties_measure("a\1b\1c\2", 6, without, 3, &n),
	    LEAT_E_INVALID);
	assert_int_equal(
	    lt_properties_measure("a\1\1", 3, NULL, 0, &n), LEAT_E_INVALID);
	assert_int_equal(n, 77);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_walk),
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_copy),
	    cmocka_unit_test(test_but_first),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
