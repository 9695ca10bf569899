/*
 * keyindex_test.c - the key index: RocketMQ's bytes, finding, reopening, and
 * coming back after an unclean stop.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "queue/keyindex.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/record.h"
#include "store/commitlog.h"
#include "store/reader.h"

#define SEGMENT (1u << 20)
#define FILE_BYTES 420000040
#define T0 1700000000000

static char path[256];
static int dir;
static struct lt_commitlog *log_;
static struct lt_reader *reader;
static struct lt_keyindex *ix;
static uint64_t seq;

static void
start(void)
{
	struct lt_options o;

	memset(&o, 0, sizeof o);
	o.store_segment_bytes = SEGMENT;
	o.store_disk_full_percent = 100;
	assert_int_equal(lt_commitlog_open(dir, &o, &log_), LEAT_OK);
	assert_int_equal(lt_commitlog_set_end(log_, 0), LEAT_OK);
	assert_int_equal(lt_reader_open(dir, &reader), LEAT_OK);
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
}

static int
setup(void **state)
{
	dir = faults_scratch(path, sizeof path);
	assert_true(dir >= 0);
	lt_keyindex_file_entries = 19999999;
	seq = 0;
	start();
	return 0;
}

static int
teardown(void **state)
{
	lt_keyindex_close(ix);
	lt_reader_close(reader);
	lt_commitlog_close(log_);
	close(dir);
	faults_remove_tree(path);
	return 0;
}

/* Log one record; returns its offset. */
static uint64_t
put(const char *topic, const char *keys, int64_t store_ms)
{
	static uint8_t buf[4096];
	uint64_t at = lt_commitlog_end(log_);
	size_t n = faults_record(
	    buf, sizeof buf, topic, 0, seq, at, store_ms, keys, 40, seq + 1);

	seq++;
	assert_true(n > 0);
	if (n > lt_commitlog_room(log_)) {
		assert_int_equal(lt_commitlog_roll(log_), LEAT_OK);
		at = lt_commitlog_end(log_);
		n = faults_record(buf, sizeof buf, topic, 0, seq - 1, at,
		    store_ms, keys, 40, seq);
	}
	assert_int_equal(lt_commitlog_append(log_, buf, n), LEAT_OK);
	return at;
}

static void
step(void)
{
	int rc;

	do
		rc =
		    lt_keyindex_step(ix, reader, 10000, lt_commitlog_end(log_));
	while (rc == LEAT_E_AGAIN);
	assert_int_equal(rc, LEAT_OK);
	assert_int_equal(lt_keyindex_end(ix), lt_commitlog_end(log_));
}

/* The offsets found are exactly these; times -1: any. */
static void
assert_found(const char *topic, const char *key, int64_t begin, int64_t end,
    size_t count, const uint64_t *want)
{
	uint64_t out[64];
	size_t n;

	assert_int_equal(lt_keyindex_find(ix, topic, strlen(topic), key,
			     strlen(key), begin, end, out, 64, &n),
	    LEAT_OK);
	assert_int_equal(n, count);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(out[i], want[i]);
}

static void
assert_one(const char *topic, const char *key, uint64_t at)
{
	assert_found(topic, key, 0, INT64_MAX, 1, &at);
}

static void
assert_none(const char *topic, const char *key)
{
	assert_found(topic, key, 0, INT64_MAX, 0, NULL);
}

/* Count of index files; the first one opened if fd_out. */
static int
files(int *fd_out)
{
	int n = 0;
	int fd = openat(dir, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.' &&
		    strcmp(e->d_name, "checkpoint") != 0 && n++ == 0 &&
		    fd_out != NULL)
			*fd_out = openat(fd, e->d_name, O_RDONLY | O_CLOEXEC);
	if (d != NULL)
		closedir(d);
	return n;
}

static void
test_costs_nothing_unasked(void **state)
{
	put("T", "k", T0);
	assert_int_equal(files(NULL), 0);
	assert_int_equal(faccessat(dir, "index", F_OK, 0), -1);
	assert_none("T", "k");
	assert_int_equal(faccessat(dir, "index", F_OK, 0), -1);
	assert_int_equal(lt_keyindex_end(ix), 0);
}

static void
test_file_is_rocketmqs(void **state)
{
	uint8_t h[40], slot[4], e[20];
	struct stat st;
	int fd = -1;

	uint64_t a = put("TopicTest", "key1", T0);
	uint64_t b = put("TopicTest", "key1", T0 + 2500);
	step();
	assert_int_equal(files(&fd), 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, FILE_BYTES);
	assert_true(st.st_blocks * 512 < 4 << 20);
	assert_int_equal(pread(fd, h, 40, 0), 40);
	assert_int_equal(lt_bytes_get64(h), T0);
	assert_int_equal(lt_bytes_get64(h + 8), T0 + 2500);
	assert_int_equal(lt_bytes_get64(h + 16), a);
	assert_int_equal(lt_bytes_get64(h + 24), b);
	assert_int_equal(lt_bytes_get32(h + 32), 3); /* two ids, one key */
	assert_int_equal(lt_bytes_get32(h + 36), 5);
	/* Entries 1 and 3 are the ids, 2 and 4 the key. */
	assert_int_equal(pread(fd, slot, 4, 40 + 984460 * 4), 4);
	assert_int_equal(lt_bytes_get32(slot), 4);
	assert_int_equal(pread(fd, e, 20, 20000040 + 4 * 20), 20);
	assert_int_equal(lt_bytes_get32(e), 1655984460);
	assert_int_equal(lt_bytes_get64(e + 4), b);
	assert_int_equal(lt_bytes_get32(e + 12), 2);
	assert_int_equal(lt_bytes_get32(e + 16), 2);
	assert_int_equal(pread(fd, e, 20, 20000040 + 2 * 20), 20);
	assert_int_equal(lt_bytes_get64(e + 4), a);
	assert_int_equal(lt_bytes_get32(e + 16), 0);
	close(fd);
}

static void
test_find_by_key(void **state)
{
	uint64_t at[5];

	at[0] = put("T", "red green", T0);
	at[1] = put("T", "green  blue", T0 + 10000);
	at[2] = put("U", "green", T0 + 20000);
	at[3] = put("T", "green green", T0 + 30000);
	at[4] = put("T", NULL, T0 + 40000);
	step();
	assert_one("T", "red", at[0]);
	assert_one("T", "blue", at[1]);
	assert_one("U", "green", at[2]);
	assert_none("T", "yellow");
	assert_none("V", "green");
	assert_none("T", "");
	assert_none("T", "red green");
	uint64_t green[] = {at[0], at[1], at[3]};
	assert_found("T", "green", 0, INT64_MAX, 3, green);
	assert_found("T", "green", T0 + 10000, INT64_MAX, 2, green + 1);
	assert_found("T", "green", T0 + 10000, T0 + 29999, 1, green + 1);
	assert_found("T", "green", 0, T0 + 29999, 2, green);
	assert_found("T", "green", T0 + 31000, INT64_MAX, 0, NULL);
	assert_found("T", "green", 0, T0 - 1, 0, NULL);
	/* The newest ones when there are too many. */
	uint64_t out[2];
	size_t n;
	assert_int_equal(
	    lt_keyindex_find(ix, "T", 1, "green", 5, 0, INT64_MAX, out, 2, &n),
	    LEAT_OK);
	assert_int_equal(n, 2);
	assert_int_equal(out[0], at[1]);
	assert_int_equal(out[1], at[3]);
}

struct topics {
	const char *const *names;
};

static const char *
next_topic(void *user)
{
	struct topics *t = user;

	return *t->names == NULL ? NULL : *t->names++;
}

static void
test_find_by_id(void **state)
{
	static const char *const names[] = {"A", "B", "C", NULL};
	struct topics t = {.names = names};
	uint64_t out[4];
	size_t n;

	put("A", NULL, T0);
	uint64_t at = put("B", NULL, T0);
	put("C", NULL, T0);
	step();
	const char *id = "000000000000abcd0000000000000002";
	assert_int_equal(
	    lt_keyindex_find_by_id(ix, id, 32, next_topic, &t, out, 4, &n),
	    LEAT_OK);
	assert_int_equal(n, 1);
	assert_int_equal(out[0], at);
	id = "000000000000ABCD0000000000000007";
	t.names = names;
	assert_int_equal(
	    lt_keyindex_find_by_id(ix, id, 32, next_topic, &t, out, 4, &n),
	    LEAT_OK);
	assert_int_equal(n, 0);
	assert_one("B", "000000000000ABCD0000000000000002", at);
}

static void
reopen(int clean)
{
	/* Unclean: the process goes, what it mapped stays in memory. */
	if (clean)
		lt_keyindex_close(ix);
	else {
		ix = NULL; /* never closed: its files stay as they are */
	}
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
}

static void
test_clean_reopen_goes_on(void **state)
{
	uint64_t a = put("T", "a", T0);

	step();
	uint64_t end = lt_keyindex_end(ix);
	reopen(1);
	assert_int_equal(lt_keyindex_end(ix), 0);
	assert_one("T", "a", a);
	assert_int_equal(lt_keyindex_end(ix), end);
	uint64_t b = put("T", "b a", T0 + 1000);
	step();
	uint64_t both[] = {a, b};
	assert_found("T", "a", 0, INT64_MAX, 2, both);
	assert_one("T", "b", b);
	assert_int_equal(files(NULL), 1);
}

static void
test_unclean_stop_goes_back_to_the_checkpoint(void **state)
{
	char key[32];
	uint64_t at[300];

	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof key, "k%d", i % 150);
		at[i] = put("T", key, T0 + i);
	}
	step();
	uint64_t end = lt_keyindex_end(ix);
	reopen(1);
	for (int i = 200; i < 300; i++) {
		snprintf(key, sizeof key, "k%d", i % 150);
		at[i] = put("T", key, T0 + i);
	}
	step();
	struct lt_keyindex *dead = ix;
	reopen(0);
	assert_one("T", "k149", at[149]); /* 299 is not known any more */
	assert_int_equal(lt_keyindex_end(ix), end);
	uint64_t k10[] = {at[10], at[160]};
	assert_found("T", "k10", 0, INT64_MAX, 2, k10);
	assert_found("T", "k80", 0, INT64_MAX, 1, &at[80]);
	step();
	uint64_t k80[] = {at[80], at[230]};
	assert_found("T", "k80", 0, INT64_MAX, 2, k80);
	uint64_t k149[] = {at[149], at[299]};
	assert_found("T", "k149", 0, INT64_MAX, 2, k149);
	/* Bytes are those of one that never stopped. */
	int fd = -1;
	uint8_t h[40];
	assert_int_equal(files(&fd), 1);
	assert_int_equal(pread(fd, h, 40, 0), 40);
	assert_int_equal(lt_bytes_get32(h + 36), 601);
	assert_int_equal(lt_bytes_get32(h + 32), 150 + 300);
	close(fd);
	lt_keyindex_close(ix);
	ix = dead;
	unlinkat(dir, "index/checkpoint", 0);
}

static void
test_without_checkpoint_all_is_made_again(void **state)
{
	uint64_t a = put("T", "a", T0);

	step();
	lt_keyindex_close(ix);
	assert_int_equal(unlinkat(dir, "index/checkpoint", 0), 0);
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
	assert_none("T", "a");
	assert_int_equal(files(NULL), 0);
	step();
	assert_one("T", "a", a);
	/* A file that is not what the checkpoint names. */
	lt_keyindex_close(ix);
	int fd = openat(dir, "index/checkpoint", O_RDWR);
	assert_int_equal(pwrite(fd, "x", 1, 20), 1);
	close(fd);
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
	step();
	assert_one("T", "a", a);
	assert_int_equal(files(NULL), 1);
}

static void
test_many_files(void **state)
{
	uint64_t at[100];
	char key[32];

	lt_keyindex_file_entries = 20;
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d all", i);
		at[i] = put("T", key, T0 + i * 1000);
	}
	step();
	assert_int_equal(files(NULL), 15);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		assert_one("T", key, at[i]);
	}
	uint64_t out[7];
	size_t n;
	assert_int_equal(
	    lt_keyindex_find(ix, "T", 1, "all", 3, 0, INT64_MAX, out, 7, &n),
	    LEAT_OK);
	assert_int_equal(n, 7);
	for (int i = 0; i < 7; i++)
		assert_int_equal(out[i], at[93 + i]);
	assert_found("T", "all", T0 + 50000, T0 + 52999, 3, at + 50);
	/* A full file was made durable: unclean stops keep it. */
	struct lt_keyindex *dead = ix;
	reopen(0);
	assert_one("T", "k0", at[0]);
	assert_true(lt_keyindex_end(ix) > at[90]);
	step();
	assert_one("T", "k99", at[99]);
	assert_found("T", "all", T0 + 90000, INT64_MAX, 10, at + 90);
	/* The record that did not fit whole into a file is there twice. */
	assert_in_range(files(NULL), 15, 16);
	/* Old ones go with the log; the last stays. */
	assert_int_equal(lt_keyindex_trim(ix, at[50]), LEAT_OK);
	assert_none("T", "k0");
	assert_one("T", "k50", at[50]);
	assert_int_equal(lt_keyindex_trim(ix, UINT64_MAX), LEAT_OK);
	assert_int_equal(files(NULL), 1);
	reopen(1);
	assert_int_equal(
	    lt_keyindex_find(ix, "T", 1, "all", 3, 0, INT64_MAX, out, 1, &n),
	    LEAT_OK);
	assert_int_equal(n, 1);
	assert_int_equal(out[0], at[99]);
	assert_none("T", "k50");
	lt_keyindex_close(ix);
	ix = dead;
	unlinkat(dir, "index/checkpoint", 0);
}

static void
test_log_shorter_than_index(void **state)
{
	put("T", "a", T0);
	uint64_t b = put("T", "b", T0);
	step();
	reopen(1);
	assert_int_equal(lt_commitlog_set_end(log_, b), LEAT_OK);
	assert_int_equal(put("T", "c", T0), b);
	uint64_t d = put("T", "d", T0);
	/* b's place holds c now; b itself is for the caller to drop. */
	assert_int_equal(lt_keyindex_step(ix, reader, SEGMENT, b), LEAT_OK);
	step();
	assert_one("T", "c", b);
	assert_one("T", "d", d);
	assert_one("T", "b", b);
}

static void
test_over_segments_and_budget(void **state)
{
	uint64_t last = 0;
	int calls = 0;
	int rc;

	while (lt_commitlog_end(log_) < 2 * SEGMENT + 1000)
		last = put("T", NULL, T0);
	do {
		rc = lt_keyindex_step(
		    ix, reader, SEGMENT / 4, lt_commitlog_end(log_));
		calls++;
	} while (rc == LEAT_E_AGAIN);
	assert_int_equal(rc, LEAT_OK);
	assert_true(calls >= 8);
	char id[40];
	snprintf(id, sizeof id, "000000000000ABCD%016jX", (uintmax_t)seq);
	assert_one("T", id, last);
	assert_one("T", "000000000000ABCD0000000000000001", 0);
}

static void
test_every_call_fails(void **state)
{
	static const enum fault kinds[] = {
	    FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT};
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int saved = dup(STDERR_FILENO);

	dup2(null, STDERR_FILENO);
	for (size_t k = 0; k < LT_COUNT(kinds); k++) {
		int struck = 1;
		unsigned long at = 1;
		for (; struck; at++) {
			teardown(NULL);
			setup(NULL);
			lt_keyindex_file_entries = 6;
			uint64_t a = put("T", "a x", T0);
			uint64_t b = put("T", "b x", T0);
			uint64_t c = put("T", "c x", T0);
			faults_install();
			faults_arm(kinds[k], at, 0);
			int rc = lt_keyindex_step(
			    ix, reader, SEGMENT, lt_commitlog_end(log_));
			struck = faults_struck();
			faults_remove();
			assert_true(struck || rc == LEAT_OK);
			/* Again, then once more as another process. */
			if (kinds[k] != FAULT_EIO)
				step();
			reopen(1);
			step();
			uint64_t x[] = {a, b, c};
			assert_found("T", "x", 0, INT64_MAX, 3, x);
			assert_one("T", "b", b);
		}
		assert_true(at > 3);
		print_message("fault %d: %lu calls\n", kinds[k], at - 2);
	}
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(test_costs_nothing_unasked),
	    T(test_file_is_rocketmqs),
	    T(test_find_by_key),
	    T(test_find_by_id),
	    T(test_clean_reopen_goes_on),
	    T(test_unclean_stop_goes_back_to_the_checkpoint),
	    T(test_without_checkpoint_all_is_made_again),
	    T(test_many_files),
	    T(test_log_shorter_than_index),
	    T(test_over_segments_and_budget),
	    T(test_every_call_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
