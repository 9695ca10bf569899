/* name_test.c - legal names, globs and Java's string hash. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/name.h"

static int32_t
jhash(const char *s)
{
	return lt_name_jhash(s, strlen(s));
}

static void
test_jhash(void **state)
{
	assert_int_equal(jhash(""), 0);
	assert_int_equal(jhash("TagA"), 2598919);
	assert_int_equal(jhash("TagB"), 2598920);
	assert_int_equal(jhash("\344\270\255\346\226\207"), 646394);
	assert_int_equal(jhash("TopicTest#key1"), -1655984460);
	assert_int_equal(jhash("polygenelubricants"), INT32_MIN);
	/* U+1F600 is the pair D83D DE00. */
	assert_int_equal(jhash("\360\237\230\200"), 0xd83d * 31 + 0xde00);
	/* Malformed: each maximal part is U+FFFD. */
	assert_int_equal(jhash("\377"), 0xfffd);
	assert_int_equal(jhash("\343\201"), 0xfffd);
	assert_int_equal(
	    jhash("\355\240\200"), (0xfffd * 31 + 0xfffd) * 31 + 0xfffd);
}

static void
test_tags_code(void **state)
{
	assert_int_equal(lt_name_tags_code(NULL, 0), 0);
	assert_int_equal(lt_name_tags_code("TagA", 4), 2598919);
	/* Sign-extended. */
	assert_true(
	    lt_name_tags_code("polygenelubricants", 18) == (int64_t)INT32_MIN);
}

static void
test_topic(void **state)
{
	char name[300];

	assert_int_equal(lt_name_topic("a-Z_9%|"), LEAT_OK);
	assert_int_equal(lt_name_topic(""), LEAT_E_NAME);
	assert_int_equal(lt_name_topic(NULL), LEAT_E_NAME);
	assert_int_equal(lt_name_topic("a/b"), LEAT_E_NAME);
	assert_int_equal(lt_name_topic(".."), LEAT_E_NAME);
	assert_int_equal(lt_name_topic("a b"), LEAT_E_NAME);
	assert_int_equal(lt_name_topic("\303\251"), LEAT_E_NAME);
	memset(name, 'x', sizeof(name));
	name[128] = '\0';
	assert_int_equal(lt_name_topic(name), LEAT_E_NAME);
	name[127] = '\0';
	assert_int_equal(lt_name_topic(name), LEAT_OK);
	memset(name, 'x', sizeof(name));
	memcpy(name, "%DLQ%", 5);
	name[255] = '\0';
	assert_int_equal(lt_name_topic(name), LEAT_OK);
	memcpy(name, "%RETRY%", 7);
	assert_int_equal(lt_name_topic(name), LEAT_OK);
	name[255] = 'x';
	name[256] = '\0';
	assert_int_equal(lt_name_topic(name), LEAT_E_NAME);
}

static void
test_group(void **state)
{
	char name[128];

	memset(name, 'g', sizeof(name));
	name[121] = '\0';
	assert_int_equal(lt_name_group(name), LEAT_E_NAME);
	name[120] = '\0';
	assert_int_equal(lt_name_group(name), LEAT_OK);
	assert_int_equal(lt_name_group("a.b"), LEAT_E_NAME);
}

static void
test_system(void **state)
{
	assert_true(lt_name_is_system(LT_NAME_CONFIG_TOPIC));
	assert_true(lt_name_is_system(LT_NAME_PROGRESS_TOPIC));
	assert_true(lt_name_is_system("SCHEDULE_TOPIC_XX"
				      "XX"));
	assert_false(lt_name_is_system("RMQ_SYS_TRACE_TOPIC"));
	assert_false(lt_name_is_system("orders"));
	assert_int_equal(lt_name_topic(LT_NAME_CONFIG_TOPIC), LEAT_OK);
}

static void
test_match(void **state)
{
	assert_true(lt_name_match("*", ""));
	assert_true(lt_name_match("*", "abc"));
	assert_true(lt_name_match("a*c", "abbbc"));
	assert_true(lt_name_match("a*b*c", "axbxbxc"));
	assert_true(lt_name_match("a?c", "abc"));
	assert_true(lt_name_match("**x", "yx"));
	assert_false(lt_name_match("", "a"));
	assert_false(lt_name_match("a?c", "ac"));
	assert_false(lt_name_match("a*c", "abcd"));
	assert_false(lt_name_match("orders", "orders2"));
	assert_false(lt_name_match("orders2", "orders"));
}

static void
test_group_hash_is_stable(void **state)
{
	unsigned hits[8] = {0};
	char key[16] = "key-0000";

	assert_true(lt_name_group_hash("") == 0xefd01f60ba992926u);
	assert_true(
	    lt_name_group_hash("order-1") != lt_name_group_hash("order-2"));
	for (int i = 0; i < 8000; i++) {
		key[4] = (char)('0' + i / 1000);
		key[5] = (char)('0' + i / 100 % 10);
		key[6] = (char)('0' + i / 10 % 10);
		key[7] = (char)('0' + i % 10);
		hits[lt_name_group_hash(key) % 8]++;
	}
	for (int i = 0; i < 8; i++)
		assert_in_range(hits[i], 850, 1150);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_jhash),
	    cmocka_unit_test(test_tags_code),
	    cmocka_unit_test(test_topic),
	    cmocka_unit_test(test_group),
	    cmocka_unit_test(test_system),
	    cmocka_unit_test(test_match),
	    cmocka_unit_test(test_group_hash_is_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
