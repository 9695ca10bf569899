/*
 * keyindex.c - RocketMQ's index files, written from the log when asked.
 *
 *   at 0, 8  store time of first and last record, ms
 *    16, 24  their log offsets
 *        32  slots in use
 *        36  entry count, from 1 (entry 0 is never used)
 *        40  5,000,000 slots of 4 bytes: newest entry; 0 or > count: none
 *  20000040  20,000,000 entries of 20 bytes: hash i32, log offset i64, seconds
 *            since the file's first record i32, the slot's entry before i32
 *
 * All big-endian; 420,000,040 bytes, sparse. indexfile.c makes, maps and, after
 * an unclean stop, mends them.
 *
 * A record may be entered twice (retried after an error, or a log that ended
 * earlier than the index after a power cut): answers name it once, and
 * entries for offsets that now hold another record are for the caller to drop,
 * who compares anyway. One thread.
 */
#include "config.h"
#include "queue/keyindex.h"
#include "queue/indexfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/record.h"
#include "store/reader.h"

#define CHECKPOINT_ENTRIES 1000000u
#define ROLLBACK_FLAGS 0xCu /* sysFlag of a rolled back transaction */

uint32_t lt_keyindex_file_entries = LT_INDEXFILE_ENTRIES - 1;

int
lt_keyindex_open(int store_dir, struct lt_keyindex **out)
{
	struct lt_keyindex *ix = lt_mem_alloc(sizeof *ix);

	if (ix == NULL)
		return LEAT_E_NOMEM;
	ix->store_dir = store_dir;
	ix->dir = -1;
	*out = ix;
	return LEAT_OK;
}

void
lt_keyindex_close(struct lt_keyindex *ix)
{
	if (ix == NULL)
		return;
	if (ix->marked && !ix->failed &&
	    lt_indexfile_checkpoint(ix, 1, 0) != LEAT_OK)
		lt_log_warn("index.checkpoint", "errno=%d", errno);
	for (size_t i = 0; i < ix->count; i++)
		lt_indexfile_release(&ix->files[i]);
	if (ix->dir >= 0)
		lt_sys.close(ix->dir);
	lt_mem_free(ix->files);
	lt_mem_free(ix);
}

uint64_t
lt_keyindex_end(const struct lt_keyindex *ix)
{
	return ix->end;
}

/* --- writing ----------------------------------------------------------- */

/* A file with room for an entry, mapped for writing; the checkpoint says that
 * we write. */
static int
open_last(struct lt_keyindex *ix, struct lt_indexfile **out)
{
	int rc = LEAT_OK;

	if (!ix->marked) {
		rc = lt_indexfile_begin(ix);
	}
	if (rc == LEAT_OK && ix->count > 0) {
		int was = ix->files[ix->count - 1].writable;
		*out = &ix->files[ix->count - 1];
		rc = lt_indexfile_map(ix, *out, 1);
		if (rc == LEAT_OK && !was)
			lt_indexfile_forget_reserved(ix);
		if (rc != LEAT_OK || lt_bytes_get32((*out)->map + 36) <=
					 lt_keyindex_file_entries)
			return rc;
		rc = lt_indexfile_checkpoint(ix, 0, 1);
	}
	if (rc == LEAT_OK)
		rc = lt_indexfile_create(ix);
	if (rc == LEAT_OK)
		*out = &ix->files[ix->count - 1];
	return rc;
}

/* RocketMQ's: the absolute value, 0 for the one that has none. */
static uint32_t
hash_of(struct lt_keyindex *ix, const char *topic, size_t topic_bytes,
    const char *key, size_t key_bytes)
{
	if (topic_bytes + 1 + key_bytes > sizeof ix->text)
		return UINT32_MAX;
	memcpy(ix->text, topic, topic_bytes);
	ix->text[topic_bytes] = '#';
	memcpy(ix->text + topic_bytes + 1, key, key_bytes);
	int32_t h = lt_name_jhash(ix->text, topic_bytes + 1 + key_bytes);
	if (h == INT32_MIN)
		return 0;
	return (uint32_t)(h < 0 ? -h : h);
}

static int
put(struct lt_keyindex *ix, uint32_t hash, uint64_t log_offset,
    int64_t store_ms)
{
	struct lt_indexfile *f = NULL;
	int rc = open_last(ix, &f);

	if (rc != LEAT_OK)
		return rc;
	uint8_t *p = f->map;
	uint32_t count = lt_bytes_get32(p + 36);
	uint64_t slot =
	    LT_INDEXFILE_HEAD + (uint64_t)(hash % LT_INDEXFILE_SLOTS) * 4;
	uint64_t entry =
	    LT_INDEXFILE_ENTRIES_AT + (uint64_t)count * LT_INDEXFILE_ENTRY;
	rc = lt_indexfile_reserve_slot(ix, f, slot);
	if (rc == LEAT_OK)
		rc = lt_indexfile_reserve_slot(ix, f, 0);
	if (rc == LEAT_OK)
		rc = lt_indexfile_reserve_entry(ix, f, entry);
	if (rc != LEAT_OK)
		return rc;
	uint32_t before = lt_bytes_get32(p + slot);
	if (before > count)
		before = 0;
	if (count == 1) {
		lt_bytes_put64(p, (uint64_t)store_ms);
		lt_bytes_put64(p + 16, log_offset);
	}
	int64_t seconds = (store_ms - (int64_t)lt_bytes_get64(p)) / 1000;
	if (seconds < 0)
		seconds = 0;
	if (seconds > INT32_MAX)
		seconds = INT32_MAX;
	lt_bytes_put32(p + entry, hash);
	lt_bytes_put64(p + entry + 4, log_offset);
	lt_bytes_put32(p + entry + 12, (uint32_t)seconds);
	lt_bytes_put32(p + entry + 16, before);
	lt_bytes_put32(p + slot, count);
	if (before == 0)
		lt_bytes_put32(p + 32, lt_bytes_get32(p + 32) + 1);
	lt_bytes_put64(p + 8, (uint64_t)store_ms);
	lt_bytes_put64(p + 24, log_offset);
	lt_bytes_put32(p + 36, count + 1);
	ix->since_mark++;
	return LEAT_OK;
}

static int
put_key(struct lt_keyindex *ix, const struct lt_record_view *v, const char *key,
    size_t bytes)
{
	uint32_t hash = hash_of(ix, v->topic, v->topic_bytes, key, bytes);

	if (hash == UINT32_MAX || v->topic_bytes >= LT_NAME_FIELD)
		return LEAT_OK; /* too long to be asked for */
	return put(ix, hash, (uint64_t)v->log_offset, v->store_ms);
}

static int
put_record(struct lt_keyindex *ix, const struct lt_record_view *v)
{
	const char *p;
	size_t n;
	int rc = LEAT_OK;

	if ((v->sys_flag & ROLLBACK_FLAGS) == ROLLBACK_FLAGS)
		return LEAT_OK;
	if (lt_record_property(v, "UNIQ_KEY", 8, &p, &n) == LEAT_OK)
		rc = put_key(ix, v, p, n);
	if (rc != LEAT_OK ||
	    lt_record_property(v, "KEYS", 4, &p, &n) != LEAT_OK)
		return rc;
	while (rc == LEAT_OK && n > 0) {
		const char *space = memchr(p, ' ', n);
		size_t word = space == NULL ? n : (size_t)(space - p);
		if (word > 0)
			rc = put_key(ix, v, p, word);
		word += space != NULL;
		p += word;
		n -= word;
	}
	return rc;
}

int
lt_keyindex_step(struct lt_keyindex *ix, struct lt_reader *reader,
    uint64_t budget_bytes, uint64_t log_end)
{
	struct lt_record_view v;
	uint64_t damaged;
	int rc = ix->failed ? LEAT_E_IO : lt_indexfile_load(ix);

	if (rc != LEAT_OK)
		return rc;
	if (ix->first_step && ix->end > log_end)
		ix->end = log_end;
	ix->first_step = 0;
	if (ix->end >= log_end)
		return LEAT_OK;
	if (lt_reader_limit(reader) < log_end)
		rc = lt_reader_refresh(reader);
	if (rc != LEAT_OK)
		return rc;
	if (ix->end < lt_reader_min(reader))
		ix->end = lt_reader_min(reader);
	uint64_t stop = ix->end + budget_bytes;
	while (ix->end < log_end) {
		if (ix->end >= stop)
			return LEAT_E_AGAIN;
		rc = lt_reader_next(reader, ix->end, log_end, &v, &damaged);
		if (rc == LEAT_E_END) {
			ix->end = log_end;
			break;
		}
		if (rc == LEAT_OK)
			rc = put_record(ix, &v);
		if (rc != LEAT_OK)
			return rc;
		ix->end = (uint64_t)v.log_offset + v.bytes;
		if (ix->since_mark >= CHECKPOINT_ENTRIES)
			rc = lt_indexfile_checkpoint(ix, 0, 0);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

/* --- asking ------------------------------------------------------------ */

struct question {
	uint32_t hash;
	int64_t begin_ms;
	int64_t end_ms;
	uint64_t *out;
	size_t max;
	size_t count;
};

static void
note(struct question *q, uint64_t log_offset)
{
	for (size_t i = 0; i < q->count; i++)
		if (q->out[i] == log_offset)
			return;
	q->out[q->count++] = log_offset;
}

/* Newest first. Numbers are a file's: links must lead to ever older entries. */
static void
ask_file(const uint8_t *p, struct question *q)
{
	int64_t begin = (int64_t)lt_bytes_get64(p);
	int64_t end = (int64_t)lt_bytes_get64(p + 8);
	uint32_t count = lt_bytes_get32(p + 36);

	if (count > LT_INDEXFILE_ENTRIES || begin > q->end_ms ||
	    end + 999 < q->begin_ms)
		return;
	const uint8_t *slot = p + LT_INDEXFILE_HEAD +
			      (uint64_t)(q->hash % LT_INDEXFILE_SLOTS) * 4;
	if (!lt_sys_is_there(slot, 4)) /* a hole in a full tmpfs */
		return;
	uint32_t i = lt_bytes_get32(slot);
	while (i > 0 && i < count && q->count < q->max) {
		const uint8_t *e = p + LT_INDEXFILE_ENTRIES_AT +
				   (uint64_t)i * LT_INDEXFILE_ENTRY;
		int64_t ms =
		    begin + (int64_t)(int32_t)lt_bytes_get32(e + 12) * 1000;
		uint32_t before = lt_bytes_get32(e + 16);
		if (ms + 999 < q->begin_ms)
			return;
		if (lt_bytes_get32(e) == q->hash && ms <= q->end_ms)
			note(q, lt_bytes_get64(e + 4));
		if (before >= i)
			return;
		i = before;
	}
}

static int
ask(struct lt_keyindex *ix, struct question *q)
{
	for (size_t i = ix->count; i-- > 0 && q->count < q->max;) {
		int rc = lt_indexfile_map(ix, &ix->files[i], 0);
		if (rc == LEAT_E_CORRUPT || rc == LEAT_E_NOTFOUND)
			continue; /* deleted under us: it knew nothing */
		if (rc != LEAT_OK)
			return rc;
		ask_file(ix->files[i].map, q);
	}
	return LEAT_OK;
}

static int
by_offset(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
lt_keyindex_find(struct lt_keyindex *ix, const char *topic, size_t topic_bytes,
    const char *key, size_t key_bytes, int64_t begin_ms, int64_t end_ms,
    uint64_t *log_offsets, size_t max, size_t *count_out)
{
	struct question q = {
	    .hash = hash_of(ix, topic, topic_bytes, key, key_bytes),
	    .begin_ms = begin_ms,
	    .end_ms = end_ms,
	    .out = log_offsets,
	    .max = max,
	};

	*count_out = 0;
	int rc = lt_indexfile_load(ix);
	if (rc == LEAT_OK && q.hash != UINT32_MAX)
		rc = ask(ix, &q);
	if (rc != LEAT_OK)
		return rc;
	if (q.count > 1)
		qsort(q.out, q.count, sizeof *q.out, by_offset);
	*count_out = q.count;
	return LEAT_OK;
}

int
lt_keyindex_find_by_id(struct lt_keyindex *ix, const char *id, size_t id_bytes,
    const char *(*next_topic)(void *user), void *user, uint64_t *log_offsets,
    size_t max, size_t *count_out)
{
	struct question q = {
	    .end_ms = INT64_MAX, .out = log_offsets, .max = max};
	char upper[64];
	const char *topic;

	*count_out = 0;
	int rc = lt_indexfile_load(ix);
	if (id_bytes > sizeof upper)
		return rc;
	for (size_t i = 0; i < id_bytes; i++)
		upper[i] = (char)toupper((unsigned char)id[i]);
	while (rc == LEAT_OK && q.count < max &&
	       (topic = next_topic(user)) != NULL) {
		q.hash = hash_of(ix, topic, strlen(topic), upper, id_bytes);
		rc = ask(ix, &q);
	}
	if (rc != LEAT_OK)
		return rc;
	if (q.count > 1)
		qsort(q.out, q.count, sizeof *q.out, by_offset);
	*count_out = q.count;
	return LEAT_OK;
}

int
lt_keyindex_trim(struct lt_keyindex *ix, uint64_t log_min)
{
	if (!ix->loaded)
		return LEAT_OK; /* not asked for: nothing is read for this */
	while (ix->count > 1) {
		int rc = lt_indexfile_map(ix, &ix->files[0], 0);
		if (rc != LEAT_OK)
			return rc;
		if (lt_bytes_get64(ix->files[0].map + 24) >= log_min)
			break;
		lt_indexfile_delete(ix, 0);
	}
	return LEAT_OK;
}
