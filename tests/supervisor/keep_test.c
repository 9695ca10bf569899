/* keep_test.c - the kept table: replace, drop, order, and no lost descriptor.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "leat/status.h"
#include "supervisor/supervisor.h"

static struct lt_keep_table table;

static int
setup(void **state)
{
	lt_keep_init(&table);
	return 0;
}

static int
teardown(void **state)
{
	lt_keep_fini(&table);
	return 0;
}

static int
put(uint32_t kind, uint64_t id, const char *blob, int *fd_out)
{
	struct lt_wire_keep msg = {.kind = kind, .id = id};
	int ends[2];

	msg.blob_bytes = (uint32_t)strlen(blob);
	memcpy(msg.blob, blob, msg.blob_bytes);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[1]);
	*fd_out = ends[0];
	return lt_keep_put(&table, &msg, ends, 1);
}

static int
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
finds_what_was_put(void **state)
{
	int a, b;

	assert_int_equal(put(LT_KEEP_SESSION, 7, "one", &a), LEAT_OK);
	assert_int_equal(put(LT_KEEP_PAGE, 7, "two", &b), LEAT_OK);
	const struct lt_kept *k = lt_keep_find(&table, LT_KEEP_SESSION, 7);
	assert_non_null(k);
	assert_int_equal(k->fds[0], a);
	assert_int_equal(k->msg.h.op, LT_OP_SUP_KEPT);
	assert_int_equal(k->msg.h.bytes, sizeof k->msg);
	assert_int_equal(k->msg.blob_bytes, 3);
	assert_memory_equal(k->msg.blob, "one", 3);
	assert_int_equal(lt_keep_find(&table, LT_KEEP_PAGE, 7)->fds[0], b);
	assert_null(lt_keep_find(&table, LT_KEEP_PAGE, 8));
}

static void
replaces_with_descriptors(void **state)
{
	int a, b;

	assert_int_equal(put(LT_KEEP_PAGE, 1, "old", &a), LEAT_OK);
	assert_int_equal(put(LT_KEEP_PAGE, 1, "newer", &b), LEAT_OK);
	assert_int_equal(table.map.used, 1);
	assert_false(is_open(a));
	assert_true(is_open(b));
	assert_int_equal(
	    lt_keep_find(&table, LT_KEEP_PAGE, 1)->msg.blob_bytes, 5);
}

static void
drops(void **state)
{
	int a;

	assert_int_equal(put(LT_KEEP_TABLE, 3, "", &a), LEAT_OK);
	lt_keep_drop(&table, LT_KEEP_RING, 3); /* another kind */
	assert_true(is_open(a));
	lt_keep_drop(&table, LT_KEEP_TABLE, 3);
	assert_false(is_open(a));
	assert_null(lt_keep_find(&table, LT_KEEP_TABLE, 3));
	lt_keep_drop(&table, LT_KEEP_TABLE, 3);
	assert_true(TAILQ_EMPTY(&table.list));
}

static void
a_referenced_entry_outlives_its_drop(void **state)
{
	int a;

	assert_int_equal(put(LT_KEEP_TABLE, 3, "x", &a), LEAT_OK);
	struct lt_kept *k = lt_keep_find(&table, LT_KEEP_TABLE, 3);
	k->refs++;
	lt_keep_drop(&table, LT_KEEP_TABLE, 3);
	assert_true(is_open(a));
	lt_keep_unref(k);
	assert_false(is_open(a));
}

static void
refuses_and_closes(void **state)
{
	struct lt_wire_keep msg = {.kind = LT_KEEP_PAGE};
	int ends[2];
	int a;

	assert_int_equal(put(0, 1, "", &a), LEAT_E_INVALID);
	assert_false(is_open(a));
	assert_int_equal(put(LT_KEEP_STATE + 1, 1, "", &a), LEAT_E_INVALID);
	assert_false(is_open(a));
	msg.blob_bytes = sizeof msg.blob + 1;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(lt_keep_put(&table, &msg, ends, 2), LEAT_E_INVALID);
	assert_false(is_open(ends[0]));
	assert_false(is_open(ends[1]));
	assert_int_equal(table.map.used, 0);
}

static void
keeps_the_order_of_arrival(void **state)
{
	struct lt_kept *k;
	uint64_t seen[3];
	size_t n = 0;
	int fd;

	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(put(LT_KEEP_RING, id, "", &fd), LEAT_OK);
	assert_int_equal(put(LT_KEEP_RING, 1, "again", &fd), LEAT_OK);
	TAILQ_FOREACH(k, &table.list, link)
	seen[n++] = k->msg.id;
	assert_int_equal(n, 3);
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 3);
	assert_int_equal(seen[2], 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(finds_what_was_put),
	    T(replaces_with_descriptors),
	    T(drops),
	    T(a_referenced_entry_outlives_its_drop),
	    T(refuses_and_closes),
	    T(keeps_the_order_of_arrival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
