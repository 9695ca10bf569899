/* wire_test.c - headers, directions and sizes of process messages. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "leat/status.h"
#include "proto/wire.h"

static const char parties[] = "CQSU";

static void
test_rows(void **state)
{
	const struct lt_wire_op *row = lt_wire_op_row(LT_OP_HELLO);

	assert_non_null(row);
	assert_string_equal(row->name, "hello");
	assert_int_equal(row->request_bytes, sizeof(struct lt_wire_hello));
	assert_int_equal(row->reply_bytes, sizeof(struct lt_wire_welcome));
	assert_null(lt_wire_op_row(0));
	assert_null(lt_wire_op_row(5));
	assert_null(lt_wire_op_row(109));
	assert_null(lt_wire_op_row(65535));
}

/* Every row: its own direction and nothing else. */
static void
test_directions(void **state)
{
	static _Alignas(8) char msg[LT_WIRE_MAX];
	unsigned rows = 0;

	for (unsigned op = 0; op < 65536; op++) {
		const struct lt_wire_op *row = lt_wire_op_row(op);

		if (row == NULL)
			continue;
		rows++;
		lt_wire_init(
		    (struct lt_wire *)msg, row->op, row->request_bytes, 3, 9);
		for (const char *a = parties; *a; a++) {
			for (const char *b = parties; *b; b++) {
				int reply = -1;
				int from = *a == row->from ||
					   (row->from == '*' &&
					       (*a == 'Q' || *a == 'S'));
				int to = *b == row->to ||
					 (row->to == '*' &&
					     (*b == 'Q' || *b == 'S'));

				assert_int_equal(
				    lt_wire_check(msg, row->request_bytes + 3,
					*a, *b, &reply),
				    from && to ? LEAT_OK : LEAT_E_DENIED);
				assert_int_equal(reply, from && to ? 0 : -1);
			}
		}
	}
	assert_int_equal(rows, 69);
}

static void
test_reply(void **state)
{
	struct lt_wire_hello hello;
	struct lt_wire_welcome welcome = {0};
	struct lt_wire_page page = {0};
	int reply;

	lt_wire_init(&hello.h, LT_OP_HELLO, sizeof(hello), 0, 77);
	lt_wire_reply(&welcome.h, &hello.h, sizeof(welcome), 0, LEAT_OK);
	assert_int_equal(welcome.h.tag, 77);
	assert_int_equal(
	    lt_wire_check(&welcome, sizeof(welcome), 'Q', 'C', &reply),
	    LEAT_OK);
	assert_int_equal(reply, 1);
	assert_int_equal(
	    lt_wire_check(&welcome, sizeof(welcome), 'C', 'Q', &reply),
	    LEAT_E_DENIED);
	/* A header alone only with a status. */
	lt_wire_reply(&welcome.h, &hello.h, sizeof(welcome.h), 0, LEAT_OK);
	assert_int_equal(
	    lt_wire_check(&welcome, sizeof(welcome.h), 'Q', 'C', &reply),
	    LEAT_E_CORRUPT);
	lt_wire_reply(
	    &welcome.h, &hello.h, sizeof(welcome.h), 0, LEAT_E_DENIED);
	assert_int_equal(
	    lt_wire_check(&welcome, sizeof(welcome.h), 'Q', 'C', &reply),
	    LEAT_OK);
	/* An event has no reply. */
	lt_wire_init(&page.h, LT_OP_EV_PAGE, sizeof(page), 0, 0);
	assert_int_equal(
	    lt_wire_check(&page, sizeof(page), 'Q', 'C', &reply), LEAT_OK);
	page.h.flags = LT_WIRE_REPLY;
	assert_int_equal(lt_wire_check(&page, sizeof(page), 'C', 'Q', &reply),
	    LEAT_E_DENIED);
}

static void
test_damaged_header(void **state)
{
	struct lt_wire_name good = {0}, bad;
	int reply;

	lt_wire_init(&good.h, LT_OP_TOPIC_DELETE, sizeof(good), 0, 1);
	for (size_t n = 0; n < sizeof(good); n++)
		assert_int_equal(
		    lt_wire_check(&good, n, 'C', 'Q', &reply), LEAT_E_CORRUPT);
	bad = good;
	bad.h.magic++;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_CORRUPT);
	bad = good;
	bad.h.version++;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_VERSION);
	bad = good;
	bad.h.op = 9;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_DENIED);
	bad = good;
	bad.h.tail_bytes = 1;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_CORRUPT);
	bad = good;
	bad.h.tail_bytes = 0xffffffff;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_CORRUPT);
	bad = good;
	bad.h.flags = 2;
	assert_int_equal(
	    lt_wire_check(&bad, sizeof(bad), 'C', 'Q', &reply), LEAT_E_CORRUPT);
	/* Cut to less than its struct, with a header that agrees. */
	bad = good;
	bad.h.bytes = sizeof(bad) - 8;
	assert_int_equal(lt_wire_check(&bad, sizeof(bad) - 8, 'C', 'Q', &reply),
	    LEAT_E_CORRUPT);
}

static void
test_field(void **state)
{
	struct lt_wire_name m;

	memset(m.name, 'a', sizeof(m.name));
	assert_int_equal(lt_wire_field(m.name, sizeof(m.name)), LEAT_E_CORRUPT);
	m.name[sizeof(m.name) - 1] = '\0';
	assert_int_equal(lt_wire_field(m.name, sizeof(m.name)), LEAT_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_directions),
	    cmocka_unit_test(test_reply),
	    cmocka_unit_test(test_damaged_header),
	    cmocka_unit_test(test_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
