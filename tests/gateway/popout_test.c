/*
 * popout_test.c - what is out, beside a model: a plain list of the same
 * entries, with time passing in steps and in leaps.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "leat/status.h"
#include "remoting/popout.h"

#define OUT_MAX 600
#define KEYS 1000

static uint64_t seed = 1;

static uint32_t
below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % n;
}

static struct {
	struct lt_popout *o;
	uint32_t place, queue;
	uint64_t serial, at_ms; /* 0: in no step */
	int64_t offset;
	void *source;
} out[OUT_MAX];
static size_t count;

static size_t
find(const struct lt_popout *o)
{
	for (size_t i = 0; i < count; i++)
		if (out[i].o == o)
			return i;
	fail_msg("it is not out");
	return 0;
}

static void
drop(struct lt_popouts *t, size_t i)
{
	lt_popouts_remove(t, out[i].o);
	assert_null(lt_popouts_at(t, out[i].place, out[i].serial));
	assert_null(
	    lt_popouts_find(t, out[i].source, out[i].queue, out[i].offset));
	out[i] = out[--count];
}

static void
add(struct lt_popouts *t)
{
	void *source = &out[below(3)];
	uint32_t queue = below(4);
	int64_t offset = below(KEYS);
	struct lt_popout *o = lt_popouts_find(t, source, queue, offset);

	if (o != NULL || count == OUT_MAX)
		return;
	o = lt_popouts_add(t, source, queue, offset);
	assert_non_null(o);
	assert_int_equal(o->handle, 0);
	out[count].o = o;
	out[count].place = lt_popouts_place(t, o);
	out[count].queue = queue;
	out[count].serial = o->serial;
	out[count].at_ms = 0;
	out[count].offset = offset;
	out[count++].source = source;
}

/* What is due comes, a step late at most, and nothing else. */
static void
pass_time(struct lt_popouts *t, uint64_t *now_ms)
{
	struct lt_popout *o;

	*now_ms += below(20) == 0 ? below(60000) : below(300);
	while ((o = lt_popouts_due(t, *now_ms)) != NULL) {
		size_t i = find(o);

		assert_true(out[i].at_ms != 0);
		assert_true(out[i].at_ms <= *now_ms);
		out[i].at_ms = 0;
		if (below(2) == 0)
			drop(t, i);
	}
	for (size_t i = 0; i < count; i++)
		assert_true(out[i].at_ms == 0 ||
			    out[i].at_ms + LT_POPOUT_STEP_MS > *now_ms);
}

static void
test_model(void **state)
{
	const char *text = getenv("LEAT_SEED");
	uint64_t now_ms = 123456, steps = 200000;
	struct lt_popouts *t;

	(void)state;
	if (text != NULL)
		seed = strtoull(text, NULL, 10);
	print_message("seed %llu, %llu steps\n", (unsigned long long)seed,
	    (unsigned long long)steps);
	assert_int_equal(lt_popouts_create(now_ms, &t), LEAT_OK);
	for (uint64_t i = 0; i < steps; i++) {
		uint32_t what = below(10);
		size_t at = count > 0 ? below((uint32_t)count) : 0;

		if (what < 4)
			add(t);
		else if (what < 6 && count > 0)
			drop(t, at);
		else if (what < 9 && count > 0) {
			out[at].at_ms = now_ms + 1 + below(25000);
			lt_popouts_look(t, out[at].o, out[at].at_ms);
		} else
			pass_time(t, &now_ms);
		if (count > 0) {
			at = below((uint32_t)count);
			assert_ptr_equal(
			    out[at].o, lt_popouts_find(t, out[at].source,
					   out[at].queue, out[at].offset));
			assert_ptr_equal(out[at].o,
			    lt_popouts_at(t, out[at].place, out[at].serial));
		}
		assert_int_equal(lt_popouts_count(t), count);
	}
	lt_popouts_destroy(t);
}

static void
test_full(void **state)
{
	struct lt_popout *o, *last = NULL;
	struct lt_popouts *t;
	uint32_t cursor = 0, n = 0;

	(void)state;
	assert_int_equal(lt_popouts_create(1, &t), LEAT_OK);
	for (uint32_t i = 0; i < LT_POPOUT_MAX; i++) {
		last = lt_popouts_add(t, t, 7, i);
		assert_non_null(last);
	}
	assert_null(lt_popouts_add(t, t, 8, 0));
	lt_popouts_remove(t, last);
	o = lt_popouts_add(t, t, 8, 0);
	assert_ptr_equal(o, last);
	while ((o = lt_popouts_next(t, &cursor)) != NULL) {
		n++;
		lt_popouts_remove(t, o);
	}
	assert_int_equal(n, LT_POPOUT_MAX);
	assert_int_equal(lt_popouts_count(t), 0);
	lt_popouts_destroy(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model),
	    cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests_name("popout", tests, NULL, NULL);
}
