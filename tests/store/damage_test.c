/*
 * damage_test.c - a store whose files are harmed: single bits, blocks zeroed or
 * swapped, files cut short, missing, or older or other ones put in their place.
 *
 * Each case harms one file, or two by a swap, of a small store with all that a
 * store has: several segments, topics, sessions, configuration and progress
 * records, a topic deleted and made again, and a snapshot. Then
 *
 * - verify ends without failing, finds something if anything that it should
 *   find was harmed, and names a harmed record by its offset and size;
 * - the store's own recovery succeeds;
 * - a reader finds every record whose bytes are as they were, and never one
 *   that differs from what was written;
 * - through the queues the same, but for entries that were harmed themselves,
 *   and for a topic whose deletion or new beginning is not in the log any more;
 * - rebuild makes what is derived bit-equal, unless records are gone; then its
 *   queues name exactly what the log still has;
 * - none of it takes longer than CASE_MS of the processor's time.
 *
 * Two stores take turns: one stopped in order, one killed (its snapshot is
 * older than its end). LEAT_DAMAGE=N cases (10,000; LEAT_LONG=1: 100,000),
 * LEAT_SEED, LEAT_DAMAGE_CASE=N for one of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../support/memfs.h"
#include "base/log.h"
#include "depot.h"
#include "image.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/record.h"
#include "store/reader.h"

#define CASE_MS 5000
#define RECORDS 2048
#define FILES 8 /* harmed in one case, at most */
#ifdef __SANITIZE_ADDRESS__
#define CASES 1500
#else
#define CASES 10000
#endif

struct record {
	uint64_t at;
	uint32_t bytes;
	uint32_t queue;
	int64_t queue_offset;
	char topic[64];
	int is_doomed; /* its topic is deleted behind it: no entry */
	int is_harmed;
	uint32_t props_at; /* in the record */
	/* Only properties are harmed, and the last one, the checksum of the
	 * whole record, with them: like a record of Apache RocketMQ, which
	 * has a checksum of the body only, it may pass. */
	int is_vague;
};

/* A store as it was when it stopped, and what is known of it. */
struct world {
	struct image files; /* as it stopped */
	struct image older; /* long before */
	struct image rebuilt; /* by rebuild, unharmed */
	struct record records[RECORDS];
	size_t count;
	uint64_t end; /* of the log */
	uint64_t snapshot; /* its log offset */
	uint8_t *log; /* DEPOT_SEGMENT bytes each */
	size_t segments;
};

/* A file as the case leaves it. */
struct harmed {
	const struct image_file *file;
	uint8_t *data; /* room for `room` */
	size_t room;
	uint64_t size;
	int is_gone;
};

static struct world worlds[2];
static struct depot d;
static struct depot_lines lines;
static int top; /* of the file system in memory */
static uint64_t state;
static unsigned long unseen; /* vague records read */

static struct {
	unsigned long number;
	struct world *w;
	struct harmed files[FILES];
	size_t count;
	int is_log; /* else what is harmed is derived */
	int is_lossy; /* records are harmed */
	int is_config; /* one of them says what became of the topic "gone" */
	char text[256];
} now;

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
	for (size_t i = 0; i < lines.count; i++)
		print_message("  verify: %s\n", lines.text[i]);
	fail_msg("case %lu, %s: %s", now.number, now.text, what);
}

static void
died(int sig)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "signal %d in case %lu: %s\n", sig,
	    now.number, now.text);

	(void)!write(2, line, (size_t)n);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* --- the stores ----------------------------------------------------------- */

static void
fill(size_t count)
{
	depot_fill(&d, count, 300);
	depot_put(&d, LT_NAME_PROGRESS_TOPIC, 0, 100);
}

static void
learn_records(struct world *w)
{
	struct lt_record_view v;
	struct lt_reader *r;
	uint64_t damaged, at, reborn = 0;

	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	at = lt_reader_min(r);
	while (lt_reader_next(r, at, lt_reader_limit(r), &v, &damaged) ==
	       LEAT_OK) {
		struct record *x = &w->records[w->count++];

		assert_true(w->count < RECORDS && damaged == 0);
		x->at = (uint64_t)v.log_offset;
		x->bytes = v.bytes;
		x->queue = v.queue;
		x->queue_offset = v.queue_offset;
		x->props_at = v.bytes - (uint32_t)v.props_bytes;
		snprintf(x->topic, sizeof(x->topic), "%.*s", (int)v.topic_bytes,
		    v.topic);
		if (strcmp(x->topic, LT_NAME_CONFIG_TOPIC) == 0 && reborn == 0)
			reborn = x->at;
		at = x->at + x->bytes;
	}
	w->end = at;
	lt_reader_close(r);
	/* "gone" was deleted by the first configuration record. */
	for (size_t i = 0; i < w->count; i++)
		w->records[i].is_doomed =
		    strcmp(w->records[i].topic, "gone") == 0 &&
		    w->records[i].at < reborn;
}

static void
learn_log(struct world *w)
{
	w->segments = (w->end + DEPOT_SEGMENT - 1) / DEPOT_SEGMENT;
	w->log = calloc(w->segments, DEPOT_SEGMENT);
	assert_non_null(w->log);
	for (size_t i = 0; i < w->segments; i++) {
		char name[64];
		const struct image_file *f;

		snprintf(name, sizeof(name), "commitlog/%020" PRIu64,
		    (uint64_t)i * DEPOT_SEGMENT);
		f = image_find(&w->files, name);
		assert_non_null(f);
		memcpy(w->log + i * DEPOT_SEGMENT, f->data, f->bytes);
	}
}

static void
make_world(struct world *w, int is_stopped)
{
	struct lt_verify_report out;

	depot_make_in(&d, top);
	assert_int_equal(depot_open(&d), LEAT_OK);
	fill(90);
	for (uint32_t i = 0; i < 20; i++)
		depot_put(&d, "gone", i % 2, 200);
	fill(60);
	depot_checkpoint(&d);
	image_take(&w->older);
	depot_config(&d, "gone", 1);
	depot_drop(&d, "gone");
	fill(90);
	depot_config(&d, "gone", 0);
	for (uint32_t i = 0; i < 6; i++)
		depot_put(&d, "gone", i % 2, 200);
	fill(120);
	depot_checkpoint(&d);
	w->snapshot = lt_commitlog_end(d.log);
	if (!is_stopped) {
		fill(60);
		assert_int_equal(lt_cq_flush_all(d.queues), LEAT_OK);
		fill(30);
	}
	depot_shut(&d);
	image_take(&w->files);
	learn_records(w);
	learn_log(w);
	assert_int_equal(lt_recover_verify(d.dir, &out, NULL, NULL), 0);
	assert_int_equal(lt_recover_rebuild(d.dir, &out, NULL, NULL), 0);
	image_take(&w->rebuilt);
	/* Bit-equal to what the store itself left. */
	if (is_stopped)
		assert_null(image_differs(&w->files, ""));
	memfs_clear();
}

/* --- harm ----------------------------------------------------------------- */

static int
is_kind(const struct image_file *f, const char *kind)
{
	return strncmp(f->path, kind, strlen(kind)) == 0;
}

static const struct image_file *
choose(struct world *w, const char *kind)
{
	const struct image_file *f;

	do
		f = &w->files.files[roll(w->files.count)];
	while (!is_kind(f, kind));
	return f;
}

/* A file's private copy, with some zeroes behind what it has. */
static struct harmed *
take(const struct image_file *f)
{
	struct harmed *h;

	for (size_t i = 0; i < now.count; i++)
		if (now.files[i].file == f)
			return &now.files[i];
	assert_true(now.count < FILES);
	h = &now.files[now.count++];
	memset(h, 0, sizeof(*h));
	h->file = f;
	h->room = f->size < f->bytes + 1024 ? f->size : f->bytes + 1024;
	h->data = calloc(1, h->room + 1);
	assert_non_null(h->data);
	memcpy(h->data, f->data, f->bytes);
	h->size = f->size;
	return h;
}

static size_t
block_of(const struct harmed *h)
{
	static const size_t sizes[] = {16, 512, 512, 4096, 4096, 8192};
	size_t n = sizes[roll(LT_COUNT(sizes))];

	return n < h->room ? n : h->room;
}

static size_t
place(const struct harmed *h, size_t bytes)
{
	size_t at = roll(h->room - bytes + 1);

	return bytes >= 512 ? at / 512 * 512 : at;
}

static void LT_PRINTF(1, 2) tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(now.text, sizeof(now.text), fmt, ap);
	va_end(ap);
}

static void
flip(struct world *w, const struct image_file *f)
{
	struct harmed *h = take(f);
	size_t at = roll(h->room);
	unsigned bit = (unsigned)roll(8);

	h->data[at] ^= (uint8_t)(1u << bit);
	tell("bit %u of byte %zu of %s flipped", bit, at, f->path);
}

static void
cut(struct world *w, const struct image_file *f)
{
	struct harmed *h = take(f);

	if (roll(6) == 0) {
		h->is_gone = 1;
		memset(h->data, 0, h->room);
		tell("%s removed", f->path);
		return;
	}
	h->size = roll(8) == 0 ? 0 : roll(h->room);
	memset(h->data + h->size, 0, h->room - h->size);
	tell("%s cut to %" PRIu64 " bytes", f->path, h->size);
}

static void
zero(struct world *w, const struct image_file *f)
{
	struct harmed *h = take(f);
	size_t n = block_of(h), at = place(h, n);

	memset(h->data + at, 0, n);
	tell("%zu zeroes at %zu of %s", n, at, f->path);
}

/* Two blocks, of one file or of two of a kind. */
static void
swap(struct world *w, const struct image_file *f)
{
	const char *kind = is_kind(f, "snap")  ? "snapshot"
			   : is_kind(f, "com") ? "commitlog"
					       : "consumequeue";
	struct harmed *a = take(f), *b = take(choose(w, kind));
	size_t n = block_of(a), from, to;

	if (n > b->room)
		n = b->room;
	from = place(a, n);
	to = place(b, n);
	for (size_t i = 0; i < n; i++) {
		uint8_t c = a->data[from + i];

		a->data[from + i] = b->data[to + i];
		b->data[to + i] = c;
	}
	tell("%zu bytes at %zu of %s and at %zu of %s swapped", n, from,
	    a->file->path, to, b->file->path);
}

static void
put_content(struct harmed *h, const struct image_file *from)
{
	h->data = realloc(h->data, from->bytes + h->room + 1);
	assert_non_null(h->data);
	memset(h->data, 0, from->bytes + h->room);
	memcpy(h->data, from->data, from->bytes);
	if (from->bytes > h->room)
		h->room = from->bytes;
	h->size = from->size;
}

/* An older copy of the file, or another's content under its name; the other
 * may be gone then. */
static void
stale(struct world *w, const struct image_file *f)
{
	const struct image_file *old = image_find(&w->older, f->path);
	const struct image_file *other;
	struct harmed *h = take(f);

	if (old != NULL && roll(2) == 0) {
		put_content(h, old);
		tell("an older %s", f->path);
		return;
	}
	other = choose(w, is_kind(f, "com") ? "commitlog" : "consumequeue");
	if (is_kind(f, "snap") || other == f) {
		flip(w, f);
		return;
	}
	put_content(h, other);
	if (roll(2) == 0) {
		struct harmed *o = take(other);

		o->is_gone = 1;
		memset(o->data, 0, o->room);
		tell("%s renamed to %s", other->path, f->path);
	} else {
		tell("%s copied to %s", other->path, f->path);
	}
}

static void
harm(struct world *w)
{
	unsigned target = (unsigned)roll(100), how = (unsigned)roll(100);
	const char *kind = target < 60	 ? "commitlog"
			   : target < 85 ? "consumequeue"
					 : "snapshot";
	const struct image_file *f = choose(w, kind);

	now.w = w;
	now.count = 0;
	now.is_log = target < 60;
	if (how < 45)
		flip(w, f);
	else if (how < 58)
		cut(w, f);
	else if (how < 72)
		zero(w, f);
	else if (how < 86)
		swap(w, f);
	else
		stale(w, f);
}

static void
compare(const struct world *w, struct record *x, const struct harmed *h,
    uint64_t base)
{
	int is_body = 0, crc = 0;

	for (size_t b = 0; b < x->bytes; b++) {
		size_t at = x->at - base + b;
		uint8_t c = at < h->room ? h->data[at] : 0;

		if (c == w->log[x->at + b])
			continue;
		x->is_harmed = 1;
		is_body |= b < x->props_at;
		crc += b >= x->bytes - LT_RECORD_CRC_BYTES;
	}
	x->is_vague = !is_body && crc > 6;
}

/* Which records have other bytes now. */
static void
find_harmed(struct world *w)
{
	now.is_lossy = now.is_config = 0;
	for (size_t i = 0; i < w->count; i++)
		w->records[i].is_harmed = w->records[i].is_vague = 0;
	for (size_t n = 0; n < now.count && now.is_log; n++) {
		const struct harmed *h = &now.files[n];
		uint64_t base = strtoull(h->file->path + 10, NULL, 10);

		for (size_t i = 0; i < w->count; i++) {
			struct record *x = &w->records[i];

			if (x->at < base || x->at >= base + DEPOT_SEGMENT)
				continue;
			compare(w, x, h, base);
			now.is_lossy |= x->is_harmed;
			now.is_config |=
			    x->is_harmed &&
			    strcmp(x->topic, LT_NAME_CONFIG_TOPIC) == 0;
		}
	}
}

static void
apply(void)
{
	for (size_t i = 0; i < now.count; i++) {
		struct harmed *h = &now.files[i];

		if (h->is_gone)
			memfs_remove(h->file->path);
		else
			memfs_put(h->file->path, 0, h->data,
			    h->room < h->size ? h->room : h->size, h->size);
	}
}

static void
forget(void)
{
	for (size_t i = 0; i < now.count; i++)
		free(now.files[i].data);
	now.count = 0;
}

/* --- what must hold ------------------------------------------------------- */

/* The record that begins here as it was written, or nearly (is_vague). */
static int
is_same(const struct world *w, const struct lt_record_view *v)
{
	uint64_t at = (uint64_t)v->log_offset;
	size_t i = 0;

	while (i < w->count && w->records[i].at < at)
		i++;
	if (i == w->count || w->records[i].at != at)
		return 0;
	unseen += w->records[i].is_vague;
	return v->bytes == w->records[i].bytes &&
	       memcmp(v->base, w->log + at,
		   w->records[i].is_vague ? w->records[i].props_at
					  : v->bytes) == 0;
}

/* Is there a valid record behind this one? Else it may look like a torn tail.
 */
static int
has_sound_behind(const struct world *w, size_t i)
{
	while (++i < w->count)
		if (!w->records[i].is_harmed)
			return 1;
	return 0;
}

/* One harmed record between sound ones is named to the byte. */
static void
check_named(const struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct record *x = &w->records[i];
		char text[96];

		if (!x->is_harmed || x->is_vague || !has_sound_behind(w, i) ||
		    (i > 0 && w->records[i - 1].is_harmed) ||
		    w->records[i + 1].is_harmed ||
		    x->at + x->bytes != w->records[i + 1].at)
			continue;
		/* A gap in the log's names may begin before it. */
		snprintf(text, sizeof(text),
		    "log.damaged offset=%" PRIu64 " bytes=%u", x->at, x->bytes);
		if (lines.count < 60 && !depot_said(&lines, text, ""))
			wrong("verify does not say \"%s\"", text);
	}
}

/* The log's first file is gone, as retention leaves it. */
static int
is_taken_away(const struct record *x)
{
	for (size_t i = 0; i < now.count; i++)
		if (now.files[i].is_gone && x->at < DEPOT_SEGMENT &&
		    strcmp(now.files[i].file->path,
			"commitlog/00000000000000000000") == 0)
			return 1;
	return 0;
}

static void
check_verify(const struct world *w)
{
	struct lt_verify_report out;
	int is_found = 0, rc;

	memset(&lines, 0, sizeof(lines));
	rc = lt_recover_verify(d.dir, &out, depot_report, &lines);
	if (rc < 0)
		wrong("verify fails with %d", rc);
	if (!now.is_log)
		return;
	for (size_t i = 0; i < w->count; i++)
		is_found |= w->records[i].is_harmed &&
			    !w->records[i].is_vague &&
			    (w->records[i].at < w->snapshot ||
				has_sound_behind(w, i)) &&
			    !is_taken_away(&w->records[i]);
	if (is_found && rc == 0)
		wrong("verify finds nothing");
	check_named(w);
}

/* Every sound record is found, in order, and nothing else. */
static void
check_reader(const struct world *w)
{
	struct lt_record_view v;
	struct lt_reader *r;
	uint64_t at, damaged;
	size_t i = 0;

	if (lt_reader_open(d.dir, &r) != LEAT_OK)
		wrong("no reader");
	at = lt_reader_min(r);
	while (lt_reader_next(r, at, lt_reader_limit(r), &v, &damaged) ==
	       LEAT_OK) {
		at = (uint64_t)v.log_offset;
		if (!is_same(w, &v))
			wrong(
			    "the record at %" PRIu64 " is not what it was", at);
		for (; i < w->count && w->records[i].at < at; i++)
			if (!w->records[i].is_harmed)
				wrong("the record at %" PRIu64 " is not found",
				    w->records[i].at);
		if (i == w->count || w->records[i++].at != at)
			wrong("a record at %" PRIu64 " out of nothing", at);
		at += v.bytes;
	}
	for (; i < w->count; i++)
		if (!w->records[i].is_harmed)
			wrong("the record at %" PRIu64 " is not found",
			    w->records[i].at);
	lt_reader_close(r);
}

/* Is this record's queue entry as it was? Below the snapshot recovery does not
 * look at it. */
static int
is_entry_harmed(const struct record *x)
{
	char name[128];

	if (now.is_log)
		return 0;
	snprintf(name, sizeof(name), "consumequeue/%s/%u/%020d", x->topic,
	    x->queue, 0);
	for (size_t i = 0; i < now.count; i++) {
		const struct harmed *h = &now.files[i];
		size_t at = (size_t)x->queue_offset * LT_CQ_ENTRY_BYTES;

		if (strcmp(h->file->path, name) == 0)
			return h->room < at + LT_CQ_ENTRY_BYTES ||
			       h->file->bytes < at ||
			       memcmp(h->data + at, h->file->data + at,
				   LT_CQ_ENTRY_BYTES - 8) != 0 ||
			       x->queue_offset * 20 + 20 >
				   (int64_t)h->file->bytes;
	}
	return 0;
}

/* What a consumer does: the entry, the record it points to, is it mine? */
static void
check_entry(const struct world *w, const struct record *x,
    struct lt_cq_view *view, struct lt_reader *r)
{
	struct lt_cq_entry e[3];
	struct lt_record_view v;
	size_t count = 0;
	int rc, is_mine;

	rc = lt_cq_view_read(
	    view, x->topic, x->queue, x->queue_offset, e, 3, &count);
	if (rc != LEAT_OK && rc != LEAT_E_NOTFOUND)
		wrong("reading the queue fails with %d", rc);
	is_mine = rc == LEAT_OK && count > 0 && e[0].bytes != 0 &&
		  lt_reader_get(r, (uint64_t)e[0].log_offset, &v) == LEAT_OK &&
		  v.bytes == e[0].bytes && v.queue == x->queue &&
		  v.queue_offset == x->queue_offset &&
		  v.topic_bytes == strlen(x->topic) &&
		  memcmp(v.topic, x->topic, v.topic_bytes) == 0;
	if (is_mine && !is_same(w, &v))
		wrong("%s/%u/%" PRId64 " has a wrong body", x->topic, x->queue,
		    x->queue_offset);
	if (is_mine && x->is_harmed && !x->is_vague &&
	    (uint64_t)v.log_offset == x->at)
		wrong("the harmed record at %" PRIu64 " is read", x->at);
	if (!is_mine && !x->is_harmed && !is_entry_harmed(x))
		wrong("%s/%u/%" PRId64 " (record %" PRIu64 ") is not read",
		    x->topic, x->queue, x->queue_offset, x->at);
}

static void
check_queues(const struct world *w)
{
	struct lt_cq_view *view;
	struct lt_reader *r;

	assert_int_equal(lt_cq_view_open(d.dir, &view), LEAT_OK);
	assert_int_equal(lt_reader_open(d.dir, &r), LEAT_OK);
	for (size_t i = 0; i < w->count; i++)
		if (!w->records[i].is_doomed &&
		    (!now.is_config ||
			strcmp(w->records[i].topic, "gone") != 0))
			check_entry(w, &w->records[i], view, r);
	lt_reader_close(r);
	lt_cq_view_close(view);
}

static void
check_recovery(const struct world *w)
{
	int rc = depot_open(&d);

	if (rc != LEAT_OK)
		wrong("recovery fails with %d", rc);
	rc = lt_cq_flush_all(d.queues);
	if (rc != LEAT_OK)
		wrong("writing queues fails with %d", rc);
	check_queues(w);
	check_reader(w);
	depot_shut(&d);
}

static void
check_rebuild(struct world *w)
{
	struct lt_verify_report out;
	const char *name;
	int rc = lt_recover_rebuild(d.dir, &out, NULL, NULL);

	if (rc < 0)
		wrong("rebuild fails with %d", rc);
	if (!now.is_lossy) {
		name = image_differs(&w->rebuilt, "consumequeue");
		if (name == NULL)
			name = image_differs(&w->rebuilt, "snapshot");
		if (name != NULL)
			wrong("rebuild leaves another %s", name);
		return;
	}
	memset(&lines, 0, sizeof(lines));
	rc = lt_recover_verify(d.dir, &out, depot_report, &lines);
	if (rc < 0)
		wrong("verify behind rebuild fails with %d", rc);
	/* A snapshot may know of numbers whose records are gone. */
	if (depot_said(&lines, "entry.", "") && !now.is_config)
		wrong("verify is not content with what rebuild made");
	check_queues(w);
}

/* Of processor time: a file system in memory never waits. */
static void
set_alarm(time_t seconds)
{
	const struct itimerval t = {.it_value.tv_sec = seconds};

	assert_int_equal(setitimer(ITIMER_PROF, &t, NULL), 0);
}

static void
run_case(unsigned long number, uint64_t seed)
{
	struct world *w = &worlds[number % 2];
	clock_t began = clock();
	uint64_t ms;

	state = (seed * 0xd6e8feb86659fd93u ^ number * 0x9e3779b97f4a7c15u) | 1;
	for (int i = 0; i < 8; i++)
		(void)roll(1);
	now.number = number;
	harm(w);
	find_harmed(w);
	set_alarm(60);
	image_restore(&w->files);
	apply();
	check_verify(w);
	if (number / 2 % 2 == 0) {
		check_reader(w);
		check_rebuild(w);
		image_restore(&w->files);
		apply();
	}
	check_recovery(w);
	if (number / 2 % 2 == 1)
		check_rebuild(w);
	set_alarm(0);
	ms = (uint64_t)(clock() - began) * 1000 / CLOCKS_PER_SEC;
	if (ms > CASE_MS)
		wrong("took %" PRIu64 " ms", ms);
	forget();
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
	unsigned long cases = getenv("LEAT_LONG") != NULL    ? 100000
			      : getenv("LEAT_QUICK") != NULL ? 500
							     : CASES;
	unsigned long one = number_of("LEAT_DAMAGE_CASE", ULONG_MAX);
	uint64_t seed = number_of("LEAT_SEED", 20261);

	cases = number_of("LEAT_DAMAGE", cases);
	top = memfs_mount();
	make_world(&worlds[0], 1);
	make_world(&worlds[1], 0);
	depot_make_in(&d, top);
	signal(SIGABRT, died);
	signal(SIGSEGV, died);
	signal(SIGBUS, died);
	signal(SIGPROF, died);
	print_message("seed %" PRIu64 ", %lu cases; %zu records, %zu files\n",
	    seed, cases, worlds[0].count, worlds[0].files.count);
	if (one != ULONG_MAX)
		run_case(one, seed);
	for (unsigned long i = 0; one == ULONG_MAX && i < cases; i++)
		run_case(i, seed);
	print_message("%lu times a record was read whose properties alone were "
		      "harmed, its checksum gone\n",
	    unseen);
	memfs_unmount();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_harm)};

	lt_log_init("damage_test", LT_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
