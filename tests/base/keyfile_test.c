/* keyfile_test.c - made once, by one, durable or not there; read only if it is
 * a key of ours alone. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keyfile.h"
#include "leat/status.h"
#include "../support/faults.h"

static char scratch[256];
static int dir;
static char why[256];

struct pair {
	uint8_t secret[LT_SECRET_KEY], public[LT_SECRET_KEY];
};

static const struct pair none;

static int
make(const char *path, struct pair *k)
{
	why[0] = 0;
	memset(k, 'x', sizeof *k);
	return lt_keyfile_make(
	    dir, path, k->secret, k->public, why, sizeof why);
}

static int
read_pair(const char *path, struct pair *k)
{
	why[0] = 0;
	memset(k, 'x', sizeof *k);
	return lt_keyfile_read(
	    dir, path, k->secret, k->public, why, sizeof why);
}

static void
put(const char *path, const char *text, size_t bytes)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, bytes), bytes);
	assert_int_equal(close(fd), 0);
}

static size_t
get(const char *path, char *text, size_t room)
{
	int fd = openat(dir, path, O_RDONLY);
	ssize_t n = read(fd, text, room - 1);

	assert_true(n >= 0);
	text[n] = 0;
	close(fd);
	return (size_t)n;
}

static void
refused(const char *path, int rc, const char *says)
{
	struct pair k;

	assert_int_equal(read_pair(path, &k), rc);
	assert_memory_equal(&k, &none, sizeof k);
	if (strstr(why, path) != why || strstr(why, says) == NULL)
		fail_msg("%s: says \"%s\", not \"%s\"", path, why, says);
}

static int
count_files(void)
{
	DIR *d = opendir(scratch);
	int n = 0;

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int
empty(void **state)
{
	char name[512];
	DIR *d = opendir(scratch);

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			snprintf(
			    name, sizeof name, "%s/%s", scratch, e->d_name);
			remove(name);
		}
	closedir(d);
	return 0;
}

static void
what_is_made_is_read(void **state)
{
	struct pair a, b, c;
	struct stat st;
	uint8_t public[LT_SECRET_KEY];
	char text[512], key[LT_SECRET_TEXT], line[64], whole[512];

	assert_int_equal(make("a.key", &a), LEAT_OK);
	lt_secret_public(public, a.secret);
	assert_memory_equal(public, a.public, sizeof public);
	assert_int_equal(read_pair("a.key", &b), LEAT_OK);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(make("b.key", &c), LEAT_OK);
	assert_memory_not_equal(a.secret, c.secret, sizeof a.secret);
	assert_int_equal(count_files(), 2);

	assert_int_equal(fstatat(dir, "a.key", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_nlink, 1);
	size_t n = get("a.key", text, sizeof text);
	lt_secret_text(key, a.secret);
	snprintf(line, sizeof line, "\nsecret %s\n", key);
	assert_string_equal(text + n - strlen(line), line);
	lt_secret_text(key, a.public);
	assert_non_null(strstr(text, key));

	/* By a whole path too. */
	snprintf(whole, sizeof whole, "%s/a.key", scratch);
	assert_int_equal(lt_keyfile_read(AT_FDCWD, whole, b.secret, b.public,
			     why, sizeof why),
	    LEAT_OK);
	assert_memory_equal(&a, &b, sizeof a);
}

/* One of 64 would begin so, and be taken for an option. */
static void
none_begins_with_a_dash(void **state)
{
	char text[LT_SECRET_TEXT];
	struct pair k;

	for (int i = 0; i < 600; i++) {
		assert_int_equal(make("k", &k), LEAT_OK);
		lt_secret_text(text, k.public);
		assert_int_not_equal(text[0], '-');
		assert_int_equal(unlinkat(dir, "k", 0), 0);
	}
}

static void
what_is_there_stays(void **state)
{
	struct pair a, b;
	char before[512], after[512];

	assert_int_equal(make("key", &a), LEAT_OK);
	get("key", before, sizeof before);
	assert_int_equal(make("key", &b), LEAT_E_EXISTS);
	assert_memory_equal(&b, &none, sizeof b);
	assert_non_null(strstr(why, "key: is there"));
	get("key", after, sizeof after);
	assert_string_equal(before, after);
	/* Nor is what a link leads to made, or a directory taken. */
	assert_int_equal(symlinkat("nowhere", dir, "link"), 0);
	assert_int_equal(make("link", &b), LEAT_E_EXISTS);
	assert_int_equal(mkdirat(dir, "sub", 0700), 0);
	assert_int_equal(make("sub", &b), LEAT_E_EXISTS);
	assert_int_equal(make("none/key", &b), LEAT_E_NOTFOUND);
	assert_non_null(strstr(why, "mkdir"));
	assert_memory_equal(&b, &none, sizeof b);
	assert_int_equal(count_files(), 3);
}

static void
others_may_not_read_it(void **state)
{
	struct pair a, b;

	assert_int_equal(make("key", &a), LEAT_OK);
	for (unsigned bit = 1; bit < 0100; bit <<= 1) {
		assert_int_equal(fchmodat(dir, "key", 0600 | bit, 0), 0);
		refused("key", LEAT_E_DENIED, "chmod 600");
	}
	assert_int_equal(fchmodat(dir, "key", 0400, 0), 0);
	assert_int_equal(read_pair("key", &b), LEAT_OK);
	assert_memory_equal(&a, &b, sizeof a);
	if (geteuid() == 0) {
		print_message("as root: no file that we may not read\n");
		return;
	}
	assert_int_equal(fchmodat(dir, "key", 0, 0), 0);
	refused("key", LEAT_E_DENIED, "cannot be read");
}

static void
only_a_regular_file(void **state)
{
	struct pair a, b;
	char long_one[4097];

	refused("key", LEAT_E_NOTFOUND, "leat key generate");
	assert_int_equal(mkdirat(dir, "sub", 0700), 0);
	refused("sub", LEAT_E_CONFIG, "regular");
	assert_int_equal(mkfifoat(dir, "pipe", 0600), 0);
	alarm(60);
	refused("pipe", LEAT_E_CONFIG, "regular");
	alarm(0);
	refused("/dev/zero", LEAT_E_CONFIG, "regular");
	memset(long_one, '#', sizeof long_one);
	put("long", long_one, 4096);
	refused("long", LEAT_E_CONFIG, "too long");
	/* Secrets are often mounted behind links. */
	assert_int_equal(make("key", &a), LEAT_OK);
	assert_int_equal(symlinkat("key", dir, "link"), 0);
	assert_int_equal(read_pair("link", &b), LEAT_OK);
	assert_memory_equal(&a, &b, sizeof a);
}

#define KEY "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA" /* 1 to 32 */

static void
only_a_key(void **state)
{
	static const struct {
		int line; /* 0: a key */
		const char *text;
	} cases[] = {
	    {0, "secret " KEY "\n"},
	    {0, "secret " KEY},
	    {0, "#\n\n# secret \nsecret " KEY "\n\n# end"},
	    {1, ""},
	    {2, "# nothing\n"},
	    {1, "secret \n"},
	    {1, "Secret " KEY "\n"},
	    {1, "secret\t" KEY "\n"},
	    {1, "secret  " KEY "\n"},
	    {1, " secret " KEY "\n"},
	    {1, "secret " KEY " \n"},
	    {1, "secret " KEY "\r\n"},
	    {1, "secret " KEY "=\n"},
	    {1, "secret " KEY "A\n"},
	    {1, "secret AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHy\n"},
	    {1, "secret +QIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA\n"},
	    {1, "secret AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyB\n"},
	    {2, "secret " KEY "\nsecret " KEY "\n"},
	    {2, "# x\npublic " KEY "\nsecret " KEY "\n"},
	    {3, "secret " KEY "\n\nx"},
	};
	struct pair k;
	char says[32];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put("key", cases[i].text, strlen(cases[i].text));
		snprintf(says, sizeof says, "key:%d: ", cases[i].line);
		if (cases[i].line != 0) {
			refused("key", LEAT_E_CONFIG, says);
			assert_non_null(strstr(why, "43 characters"));
			continue;
		}
		assert_int_equal(read_pair("key", &k), LEAT_OK);
		for (int j = 0; j < LT_SECRET_KEY; j++)
			assert_int_equal(k.secret[j], j + 1);
	}
	put("key", "secret " KEY "\0\n", 52);
	refused("key", LEAT_E_CONFIG, "key:1:");
	put("key", "secret \0" KEY "\n", 52);
	refused("key", LEAT_E_CONFIG, "key:1:");
}

/* Each call of a run fails in each way, once: there is the key or no file of
 * its name, and nothing else but where the removal itself was what failed. */
static void
any_call_may_fail(void **state)
{
	static const enum fault how[] = {
	    FAULT_EIO, FAULT_ENOSPC, FAULT_EINTR, FAULT_SHORT};
	int failed = 0, left = 0, struck;
	struct pair a, b;

	faults_install();
	for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
		for (unsigned long at = 1;; at++) {
			faults_arm(how[i], at, 0);
			int rc = make("key", &a);
			struck = faults_struck();
			faults_arm(FAULT_NONE, 0, 0);
			left += count_files() - (rc == LEAT_OK);
			failed += rc != LEAT_OK;
			if (rc == LEAT_OK)
				assert_int_equal(read_pair("key", &b), LEAT_OK);
			else {
				refused("key", LEAT_E_NOTFOUND, "No such");
				memset(&b, 0, sizeof b);
			}
			assert_memory_equal(&a, &b, sizeof a);
			empty(NULL);
			if (!struck)
				break;
		}
	}
	assert_int_equal(left, 2);
	assert_in_range(failed, 8, 100);

	assert_int_equal(make("key", &a), LEAT_OK);
	for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
		for (unsigned long at = 1;; at++) {
			faults_arm(how[i], at, 0);
			int rc = read_pair("key", &b);
			struck = faults_struck();
			if (rc == LEAT_OK)
				assert_memory_equal(&a, &b, sizeof a);
			else
				assert_memory_equal(&b, &none, sizeof b);
			if (!struck)
				break;
		}
	}
	faults_remove();
}

#define MAKERS 8
static pthread_barrier_t start;

struct maker {
	pthread_t thread;
	struct pair k;
	int rc;
};

static void *
make_with_others(void *arg)
{
	struct maker *m = arg;
	char text[256];

	pthread_barrier_wait(&start);
	m->rc = lt_keyfile_make(
	    dir, "key", m->k.secret, m->k.public, text, sizeof text);
	return NULL;
}

static void
of_many_makers_one_makes_it(void **state)
{
	struct maker makers[MAKERS];
	struct pair k;

	assert_int_equal(pthread_barrier_init(&start, NULL, MAKERS), 0);
	for (int round = 0; round < 50; round++) {
		int made = 0;
		for (int i = 0; i < MAKERS; i++)
			assert_int_equal(pthread_create(&makers[i].thread, NULL,
					     make_with_others, &makers[i]),
			    0);
		for (int i = 0; i < MAKERS; i++)
			pthread_join(makers[i].thread, NULL);
		assert_int_equal(read_pair("key", &k), LEAT_OK);
		for (int i = 0; i < MAKERS; i++) {
			if (makers[i].rc != LEAT_OK) {
				assert_int_equal(makers[i].rc, LEAT_E_EXISTS);
				continue;
			}
			made++;
			assert_memory_equal(&makers[i].k, &k, sizeof k);
		}
		assert_int_equal(made, 1);
		assert_int_equal(count_files(), 1);
		empty(NULL);
	}
	pthread_barrier_destroy(&start);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(what_is_made_is_read, empty),
	    cmocka_unit_test_teardown(none_begins_with_a_dash, empty),
	    cmocka_unit_test_teardown(what_is_there_stays, empty),
	    cmocka_unit_test_teardown(others_may_not_read_it, empty),
	    cmocka_unit_test_teardown(only_a_regular_file, empty),
	    cmocka_unit_test_teardown(only_a_key, empty),
	    cmocka_unit_test_teardown(any_call_may_fail, empty),
	    cmocka_unit_test_teardown(of_many_makers_one_makes_it, empty),
	};

	if (lt_secret_init() != LEAT_OK)
		return 99;
	dir = faults_scratch(scratch, sizeof scratch);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	faults_remove_tree(scratch);
	close(dir);
	return rc;
}
