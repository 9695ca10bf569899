/*
 * keydamage_test.c - a key index whose files are harmed: single bits, blocks
 * zeroed or swapped, files cut short, missing, or older or other ones put in
 * their place. It has no checksums but in its checkpoint, and is only ever
 * asked for candidates. So
 *
 * - opening it, bringing it up to the log's end, and asking succeed;
 * - a key whose slot, entries and file headers are as they were finds every
 *   record that it names; what can be noticed (the checkpoint, a file's size,
 *   the newest file's header) costs no key anything;
 * - what is found and is not what was asked for is seen by reading the record;
 * - rebuild removes it, and made again it is bit-equal.
 *
 * Two indexes take turns: one closed, one whose process was killed.
 * LEAT_DAMAGE=N cases (1,000; LEAT_LONG=1: 20,000), LEAT_SEED,
 * LEAT_DAMAGE_CASE=N for one of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/image.h"
#include "../support/faults.h"
#include "../support/memfs.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/record.h"
#include "queue/indexfile.h"
#include "queue/keyindex.h"
#include "store/commitlog.h"
#include "store/reader.h"
#include "store/recover.h"

#define SEGMENT (1u << 20)
#define T0 1700000000000
#define RECORDS 300
#define FILE_ENTRIES 250
#define WORDS 9 /* keys that many records share */
#define FOUND_MAX 256

struct record {
	uint64_t at;
	char topic[8];
	char own[16], shared[16];
};

static struct record records[RECORDS];
static struct image worlds[2], older;
static int dir; /* of the file system in memory */
static uint64_t log_end;
static uint64_t state;
static unsigned long number;
static char told[256];

static int64_t
still(void)
{
	return T0;
}

static uint64_t
roll(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below == 0 ? 0 : (state >> 11) % below;
}

static void LT_PRINTF(1, 2) wrong(const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	fail_msg("case %lu, %s: %s", number, told, what);
}

/* --- the index ------------------------------------------------------------ */

static void
fill_log(void)
{
	static uint8_t buf[4096];
	struct lt_options o = {
	    .store_segment_bytes = SEGMENT, .store_disk_full_percent = 100};
	struct lt_commitlog *log;

	assert_int_equal(lt_commitlog_open(dir, &o, &log), LEAT_OK);
	assert_int_equal(lt_commitlog_set_end(log, 0), LEAT_OK);
	for (size_t i = 0; i < RECORDS; i++) {
		struct record *r = &records[i];
		char keys[40];
		size_t n;

		r->at = lt_commitlog_end(log);
		snprintf(r->topic, sizeof(r->topic), "t%zu", i % 3);
		snprintf(r->own, sizeof(r->own), "own%zu", i);
		snprintf(r->shared, sizeof(r->shared), "shared%zu", i % WORDS);
		snprintf(keys, sizeof(keys), "%s %s", r->own, r->shared);
		n = faults_record(buf, sizeof(buf), r->topic, 0, i / 3, r->at,
		    T0 + (int64_t)i, keys, 20, i + 1);
		assert_true(n > 0);
		assert_int_equal(lt_commitlog_append(log, buf, n), LEAT_OK);
	}
	log_end = lt_commitlog_end(log);
	lt_commitlog_close(log);
}

static void
step(struct lt_keyindex *ix, uint64_t to)
{
	struct lt_reader *r;
	int rc;

	assert_int_equal(lt_reader_open(dir, &r), LEAT_OK);
	do
		rc = lt_keyindex_step(ix, r, 100000, to);
	while (rc == LEAT_E_AGAIN);
	if (rc != LEAT_OK)
		wrong("indexing fails with %d", rc);
	lt_reader_close(r);
}

static void
make_worlds(void)
{
	struct lt_keyindex *ix;

	fill_log();
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
	step(ix, log_end / 2);
	image_take(&older);
	step(ix, log_end);
	image_take(&worlds[1]); /* killed now */
	lt_keyindex_close(ix);
	image_take(&worlds[0]);
}

/* --- harm ----------------------------------------------------------------- */

static int
is_index(const struct image_file *f)
{
	return strncmp(f->path, "index/", 6) == 0;
}

static int
is_checkpoint(const struct image_file *f)
{
	return strcmp(f->path, "index/checkpoint") == 0;
}

static struct image_file *
choose(struct image *w)
{
	struct image_file *f;

	do
		f = &w->files[roll(w->count)];
	while (!is_index(f));
	return f;
}

/* Header, a slot or an entry in use, or anywhere. */
static uint64_t
place(const struct image_file *f, size_t bytes)
{
	uint64_t at = roll(f->size);
	uint32_t i;

	if (is_checkpoint(f))
		return roll(f->size - bytes + 1);
	i = 1 + (uint32_t)roll(lt_bytes_get32(f->data + 36));
	switch (roll(8)) {
	case 0:
		at = roll(2) ? 32 + roll(8) : roll(LT_INDEXFILE_HEAD);
		break;
	case 1:
	case 2:
		at = LT_INDEXFILE_HEAD +
		     lt_bytes_get32(f->data + LT_INDEXFILE_ENTRIES_AT +
				    (uint64_t)(i - 1) * LT_INDEXFILE_ENTRY) %
			 LT_INDEXFILE_SLOTS * 4 +
		     roll(4);
		break;
	case 3:
		break;
	default:
		at = LT_INDEXFILE_ENTRIES_AT +
		     (uint64_t)i * LT_INDEXFILE_ENTRY +
		     roll(LT_INDEXFILE_ENTRY);
		break;
	}
	if (bytes >= 512)
		at = at / 512 * 512;
	return at + bytes <= f->size ? at : f->size - bytes;
}

static void LT_PRINTF(1, 2) tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told, sizeof(told), fmt, ap);
	va_end(ap);
}

static void
flip(const struct image_file *f)
{
	struct memfs_file now;
	uint64_t at = place(f, 1);
	unsigned bit = (unsigned)roll(8);
	uint8_t c;

	assert_true(memfs_find(f->path, &now));
	c = now.data[at] ^ (uint8_t)(1u << bit);
	memfs_write(f->path, at, &c, 1);
	tell("bit %u of byte %" PRIu64 " of %s flipped", bit, at, f->path);
}

static void
cut(const struct image_file *f)
{
	uint64_t size = roll(3) == 0 ? 0 : roll(f->size);
	size_t bytes = f->bytes < size ? f->bytes : (size_t)size;

	if (roll(3) == 0) {
		memfs_remove(f->path);
		tell("%s removed", f->path);
		return;
	}
	memfs_put(f->path, 0, f->data, bytes, size);
	tell("%s cut to %" PRIu64 " bytes", f->path, size);
}

static void
swap(struct image *w, const struct image_file *a)
{
	static const size_t sizes[] = {4, 20, 512, 4096};
	static uint8_t p[2][4096];
	const struct image_file *b = choose(w);
	size_t n = sizes[roll(LT_COUNT(sizes))];
	struct memfs_file now[2];
	uint64_t from, to;

	if (is_checkpoint(a) || is_checkpoint(b))
		n = 4;
	from = place(a, n);
	to = place(b, n);
	assert_true(memfs_find(a->path, &now[0]));
	assert_true(memfs_find(b->path, &now[1]));
	memcpy(p[0], now[0].data + from, n);
	memcpy(p[1], now[1].data + to, n);
	if (roll(2) == 0) {
		memset(p[1], 0, n);
		tell("%zu zeroes at %" PRIu64 " of %s", n, from, a->path);
	} else {
		memfs_write(b->path, to, p[0], n);
		tell("%zu bytes at %" PRIu64 " of %s and at %" PRIu64
		     " of %s swapped",
		    n, from, a->path, to, b->path);
	}
	memfs_write(a->path, from, p[1], n);
}

static void
stale(struct image *w, const struct image_file *f)
{
	const struct image_file *other = image_find(&older, f->path);
	const char *how = "an older";

	if (other == NULL || roll(2) == 0) {
		other = choose(w);
		how = "another one's content in";
	}
	memfs_put(f->path, 0, other->data, other->bytes, other->size);
	tell("%s %s", how, f->path);
}

static void
harm(struct image *w)
{
	unsigned how = (unsigned)roll(100);
	const struct image_file *f = choose(w);

	if (how < 55)
		flip(f);
	else if (how < 67)
		cut(f);
	else if (how < 87)
		swap(w, f);
	else
		stale(w, f);
}

/* --- what it may cost ----------------------------------------------------- */

static uint8_t slots[LT_INDEXFILE_SLOTS]; /* 1: keys of this slot may suffer */
static struct {
	uint64_t from, to; /* records of a file that is not itself any more */
} lost[8];
static size_t lost_count;

static uint32_t
slot_of(const char *topic, const char *key)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s#%s", topic, key);
	int32_t h = lt_name_jhash(text, (size_t)n);

	return (uint32_t)(h < 0 ? -h : h) % LT_INDEXFILE_SLOTS;
}

static void
suffer(const struct image_file *f, uint64_t at)
{
	uint32_t count = lt_bytes_get32(f->data + 36);

	if (at < LT_INDEXFILE_HEAD) {
		lost[lost_count].from = lt_bytes_get64(f->data + 16);
		lost[lost_count++].to = lt_bytes_get64(f->data + 24);
		return;
	}
	if (at < LT_INDEXFILE_ENTRIES_AT) {
		slots[(at - LT_INDEXFILE_HEAD) / 4] = 1;
		return;
	}
	at = (at - LT_INDEXFILE_ENTRIES_AT) / LT_INDEXFILE_ENTRY;
	if (at < count)
		slots[lt_bytes_get32(f->data + LT_INDEXFILE_ENTRIES_AT +
				     at * LT_INDEXFILE_ENTRY) %
		      LT_INDEXFILE_SLOTS] = 1;
}

/* is_newest: its header is in the checkpoint. */
static void
compare(const struct image_file *f, int is_newest)
{
	struct memfs_file now;
	int is_header = 0;

	if (!memfs_find(f->path, &now)) {
		if (!is_newest)
			suffer(f, 0);
		return;
	}
	if (now.stamp == f->stamp || now.size != f->size)
		return;
	for (uint64_t at = 0; at < f->bytes || at < now.extent; at++) {
		uint64_t page = at / MEMFS_PAGE;
		uint8_t c = at < f->bytes ? f->data[at] : 0;

		if (!(now.pages[page / 64] >> page % 64 & 1) &&
		    (at >= f->bytes ||
			!(f->pages[page / 64] >> page % 64 & 1))) {
			at = (page + 1) * MEMFS_PAGE - 1;
			continue;
		}
		if (now.data[at] == c)
			continue;
		if (at >= LT_INDEXFILE_HEAD)
			suffer(f, at);
		else if (!is_newest && !is_header++)
			suffer(f, at);
	}
}

static void
find_suffering(struct image *w)
{
	const struct image_file *newest = NULL;

	memset(slots, 0, sizeof(slots));
	lost_count = 0;
	for (size_t i = 0; i < w->count; i++)
		if (is_index(&w->files[i]) && !is_checkpoint(&w->files[i]) &&
		    (newest == NULL ||
			strcmp(w->files[i].path, newest->path) > 0))
			newest = &w->files[i];
	for (size_t i = 0; i < w->count; i++)
		if (is_index(&w->files[i]) && !is_checkpoint(&w->files[i]))
			compare(&w->files[i], &w->files[i] == newest);
}

static int
may_be_lost(const struct record *r, const char *key)
{
	for (size_t i = 0; i < lost_count; i++)
		if (r->at >= lost[i].from && r->at <= lost[i].to)
			return 1;
	return slots[slot_of(r->topic, key)];
}

/* --- what must hold ------------------------------------------------------- */

static int
is_among(uint64_t at, const uint64_t *found, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (found[i] == at)
			return 1;
	return 0;
}

static void
ask(struct lt_keyindex *ix, const char *topic, const char *key, int is_own)
{
	uint64_t found[FOUND_MAX];
	size_t count = 0;
	int rc = lt_keyindex_find(ix, topic, strlen(topic), key, strlen(key), 0,
	    INT64_MAX, found, FOUND_MAX, &count);

	if (rc != LEAT_OK || count > FOUND_MAX)
		wrong("asking fails with %d", rc);
	for (size_t i = 0; i < RECORDS; i++) {
		const struct record *r = &records[i];

		if (strcmp(r->topic, topic) == 0 &&
		    strcmp(is_own ? r->own : r->shared, key) == 0 &&
		    !is_among(r->at, found, count) && !may_be_lost(r, key))
			wrong("%s %s does not find the record at %" PRIu64,
			    topic, key, r->at);
	}
}

static void
check_index(void)
{
	struct lt_keyindex *ix;

	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
	step(ix, log_end);
	for (size_t i = 0; i < RECORDS; i++) {
		ask(ix, records[i].topic, records[i].own, 1);
		if (i < 3 * WORDS)
			ask(ix, records[i].topic, records[i].shared, 0);
	}
	lt_keyindex_close(ix);
}

static void
check_rebuild(void)
{
	struct lt_verify_report out;
	struct lt_keyindex *ix;
	const char *name;
	int rc = lt_recover_rebuild(dir, &out, NULL, NULL);

	if (rc != 0)
		wrong("rebuild fails with %d", rc);
	assert_int_equal(lt_keyindex_open(dir, &ix), LEAT_OK);
	step(ix, log_end);
	lt_keyindex_close(ix);
	name = image_differs(&worlds[0], "index/");
	if (name != NULL)
		wrong("made again there is another %s", name);
}

static void
run_case(unsigned long n, uint64_t seed)
{
	struct image *w = &worlds[n % 2];

	state = (seed * 0xd6e8feb86659fd93u ^ n * 0x9e3779b97f4a7c15u) | 1;
	for (int i = 0; i < 8; i++)
		(void)roll(1);
	number = n;
	image_restore(w);
	harm(w);
	find_suffering(w);
	check_index();
	if (image_differs(w, "commitlog/") != NULL)
		wrong("the log is not what it was");
	if (n % 8 < 2)
		check_rebuild();
}

static unsigned long
number_of(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text == NULL ? otherwise : strtoul(text, NULL, 10);
}

static void
any_harm(void **unused)
{
	unsigned long cases = getenv("LEAT_LONG") != NULL ? 20000 : 1000;
	unsigned long one = number_of("LEAT_DAMAGE_CASE", ULONG_MAX);
	uint64_t seed = number_of("LEAT_SEED", 20261);

	cases = number_of("LEAT_DAMAGE", cases);
	dir = memfs_mount();
	lt_clock.wall_ms = still;
	lt_keyindex_file_entries = FILE_ENTRIES;
	make_worlds();
	print_message("seed %" PRIu64 ", %lu cases; %zu files\n", seed, cases,
	    worlds[0].count);
	if (one != ULONG_MAX)
		run_case(one, seed);
	for (unsigned long i = 0; one == ULONG_MAX && i < cases; i++)
		run_case(i, seed);
	memfs_unmount();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_harm)};

	lt_log_init("keydamage_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
