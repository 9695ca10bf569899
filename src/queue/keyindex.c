/*
 * keyindex.c - RocketMQ's index files, written from the log when asked.
 *
 *   at 0, 8  store time of first and last record, ms    16, 24  their log offsets
 *     32     slots in use    36  entry count, from 1 (entry 0 is never used)
 *     40     5,000,000 slots of 4 bytes: newest entry, 0 or > count: none
 *   20000040 20,000,000 entries of 20 bytes: hash i32, log offset i64, seconds
 *            since the file's first record i32, the slot's entry before i32
 *
 * All big-endian; a sparse file of 420,000,040 bytes, mapped. Pages are
 * allocated before they are written to through the mapping, so that a full
 * disk is a status here and not a signal.
 *
 * Unclean stops. DIR/store/index.checkpoint holds, for a moment when all files
 * were on the disk, how far the log was indexed, the newest file and its
 * header; and whether anything was written since. If so, newer files go and
 * the newest one of the checkpoint is brought back: its entries below the
 * recorded count are as they were (entries are never changed), the slots and
 * links are made again from them.
 *
 * A record may be entered twice (retried after an error, or a log that ended
 * earlier than the index after a power cut): answers name it once, and
 * entries for offsets that now hold another record are for the caller to drop,
 * who compares anyway. One thread.
 */
#include "config.h"
#include "queue/keyindex.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/name.h"
#include "proto/record.h"
#include "store/reader.h"

#define DIRECTORY "index"
#define CHECKPOINT "index.checkpoint"
#define HEAD_BYTES 40
#define SLOTS 5000000u
#define ENTRIES 20000000u
#define ENTRY_BYTES 20
#define ENTRIES_AT (HEAD_BYTES + (uint64_t)SLOTS * 4)
#define FILE_BYTES (ENTRIES_AT + (uint64_t)ENTRIES * ENTRY_BYTES)
#define PAGE 4096u
#define SLOT_PAGES (ENTRIES_AT / PAGE + 1)
#define RESERVE_STEP (1u << 20)
#define CHECKPOINT_ENTRIES 1000000u
#define MARK_MAGIC 0x4c544b49u
#define MARK_BYTES 80
#define ROLLBACK_FLAGS 0xCu /* sysFlag of a rolled back transaction */

_Static_assert(FILE_BYTES == 420000040, "RocketMQ's size");

uint32_t lt_keyindex_file_entries = ENTRIES - 1;

struct file {
	uint64_t name; /* its digits as a number */
	uint8_t *map;  /* NULL: not mapped */
	int fd;	       /* -1: not open */
	int writable;
};

struct lt_keyindex {
	int store_dir;
	int dir; /* -1: not there yet */
	int loaded;
	int first_step; /* the log may be shorter than the index */
	int marked;	/* the checkpoint says that we are writing */
	int failed;
	uint64_t end;
	struct file *files; /* oldest first; the last one is written to */
	size_t count;
	size_t capacity;
	uint32_t since_mark; /* entries since the last checkpoint */
	uint64_t reserved;   /* entry bytes of the last file have blocks */
	uint8_t slot_pages[(SLOT_PAGES + 7) / 8]; /* those that have a block */
	char text[LT_NAME_FIELD + 1 + LT_PROPERTIES_MAX];
};

/* --- files ----------------------------------------------------------------------- */

static void
file_name(char out[32], uint64_t name)
{
	snprintf(out, 32, "%017" PRIu64, name);
}

static void
release(struct file *f)
{
	if (f->map != NULL)
		munmap(f->map, FILE_BYTES);
	if (f->fd >= 0)
		lt_sys.close(f->fd);
	f->map = NULL;
	f->fd = -1;
}

static int
map_file(struct lt_keyindex *ix, struct file *f, int writable)
{
	char name[32];
	struct stat st;

	if (f->map != NULL && f->writable >= writable)
		return LEAT_OK;
	release(f);
	file_name(name, f->name);
	f->fd = lt_sys.openat(
	    ix->dir, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
	if (f->fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.fstat(f->fd, &st) != 0)
		return lt_sys_status(errno);
	if ((uint64_t)st.st_size != FILE_BYTES)
		return LEAT_E_CORRUPT;
	void *p = lt_sys.mmap(NULL, FILE_BYTES,
	    PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED)
		return lt_sys_status(errno);
	f->map = p;
	f->writable = writable;
	return LEAT_OK;
}

static void
delete_file(struct lt_keyindex *ix, size_t i)
{
	char name[32];

	file_name(name, ix->files[i].name);
	release(&ix->files[i]);
	lt_sys.unlinkat(ix->dir, name, 0);
	ix->count--;
	memmove(&ix->files[i], &ix->files[i + 1],
	    (ix->count - i) * sizeof ix->files[0]);
}

static int
add_file(struct lt_keyindex *ix, uint64_t name)
{
	int rc = lt_mem_grow((void **)&ix->files, &ix->capacity, ix->count,
	    sizeof *ix->files);
	if (rc != LEAT_OK)
		return rc;
	size_t i = ix->count++;
	for (; i > 0 && ix->files[i - 1].name > name; i--)
		ix->files[i] = ix->files[i - 1];
	ix->files[i] = (struct file){.name = name, .fd = -1};
	return LEAT_OK;
}

static int
list_files(struct lt_keyindex *ix)
{
	int rc = LEAT_OK;
	int fd = lt_sys.openat(
	    ix->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;)
		if (strlen(e->d_name) == 17 &&
		    strspn(e->d_name, "0123456789") == 17)
			rc = add_file(ix, strtoull(e->d_name, NULL, 10));
	closedir(d);
	return rc;
}

static int
allocate(struct file *f, uint64_t from, uint64_t bytes)
{
	if (lt_sys.fallocate(f->fd, 0, (off_t)from, (off_t)bytes) == 0 ||
	    errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
		return LEAT_OK;
	return lt_sys_status(errno);
}

/* Have blocks for a slot of the last file, and for an entry. */
static int
reserve_slot(struct lt_keyindex *ix, struct file *f, uint64_t at)
{
	uint64_t page = at / PAGE;
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (ix->slot_pages[page / 8] & bit)
		return LEAT_OK;
	int rc = allocate(f, page * PAGE, PAGE);
	if (rc == LEAT_OK)
		ix->slot_pages[page / 8] |= bit;
	return rc;
}

static int
reserve_entry(struct lt_keyindex *ix, struct file *f, uint64_t at)
{
	if (at + ENTRY_BYTES <= ix->reserved)
		return LEAT_OK;
	uint64_t from = at / PAGE * PAGE;
	uint64_t to = from + RESERVE_STEP;
	if (to > FILE_BYTES)
		to = FILE_BYTES;
	int rc = allocate(f, from, to - from);
	if (rc == LEAT_OK)
		ix->reserved = to;
	return rc;
}

static void
forget_reserved(struct lt_keyindex *ix)
{
	ix->reserved = 0;
	memset(ix->slot_pages, 0, sizeof ix->slot_pages);
}

/* --- checkpoint -------------------------------------------------------------------- */

struct mark {
	int clean;
	int sealed; /* the newest file is full: nothing of it changes */
	uint64_t end;
	uint64_t file; /* 0: no file */
	uint8_t head[HEAD_BYTES];
};

/* Write what is true now: all files are on the disk up to their counts. */
static int
write_mark(struct lt_keyindex *ix, int clean, int sealed)
{
	uint8_t p[MARK_BYTES] = {0};

	lt_bytes_put32(p, MARK_MAGIC);
	lt_bytes_put32(p + 4, 1);
	lt_bytes_put32(p + 8, (uint32_t)clean);
	lt_bytes_put32(p + 12, (uint32_t)sealed);
	lt_bytes_put64(p + 16, ix->end);
	if (ix->count > 0) {
		struct file *f = &ix->files[ix->count - 1];
		int rc = map_file(ix, f, 0);
		if (rc != LEAT_OK)
			return rc;
		lt_bytes_put64(p + 24, f->name);
		memcpy(p + 32, f->map, HEAD_BYTES);
	}
	lt_bytes_put32(p + MARK_BYTES - 4, lt_crc32(0, p, MARK_BYTES - 4));
	return lt_sys_replace_file(ix->store_dir, CHECKPOINT, p, MARK_BYTES);
}

static int
read_mark(struct lt_keyindex *ix, struct mark *out)
{
	uint8_t p[MARK_BYTES];
	int fd = lt_sys.openat(
	    ix->store_dir, CHECKPOINT, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return LEAT_E_NOTFOUND;
	int rc = lt_sys_read_full(fd, p, sizeof p, 0);
	lt_sys.close(fd);
	if (rc != LEAT_OK || lt_bytes_get32(p) != MARK_MAGIC ||
	    lt_bytes_get32(p + 4) != 1 ||
	    lt_bytes_get32(p + MARK_BYTES - 4) !=
		lt_crc32(0, p, MARK_BYTES - 4))
		return LEAT_E_CORRUPT;
	out->clean = lt_bytes_get32(p + 8) != 0;
	out->sealed = lt_bytes_get32(p + 12) != 0;
	out->end = lt_bytes_get64(p + 16);
	out->file = lt_bytes_get64(p + 24);
	memcpy(out->head, p + 32, HEAD_BYTES);
	return LEAT_OK;
}

static int
checkpoint(struct lt_keyindex *ix, int clean, int sealed)
{
	if (ix->count > 0 && ix->files[ix->count - 1].writable) {
		struct file *f = &ix->files[ix->count - 1];
		if (lt_sys.fdatasync(f->fd) != 0 ||
		    lt_sys.fsync(ix->dir) != 0) {
			lt_log_error("index.sync", "errno=%d", errno);
			ix->failed = 1; /* what the disk has is not known */
			return LEAT_E_IO;
		}
	}
	int rc = write_mark(ix, clean, sealed);
	if (rc == LEAT_OK) {
		ix->since_mark = 0;
		ix->marked = !clean;
	}
	return rc;
}

/* Make slots and links of entries [1, count) again. */
static int
bring_back(struct lt_keyindex *ix, struct file *f, const uint8_t *head)
{
	uint32_t count = lt_bytes_get32(head + 36);
	uint32_t used = 0;
	int rc = map_file(ix, f, 1);

	if (rc != LEAT_OK)
		return rc;
	if (count < 1 || count > ENTRIES)
		return LEAT_E_CORRUPT;
	forget_reserved(ix);
	if (lt_sys.fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		HEAD_BYTES, ENTRIES_AT - HEAD_BYTES) != 0) {
		rc = allocate(f, 0, ENTRIES_AT);
		if (rc != LEAT_OK)
			return rc;
		memset(f->map + HEAD_BYTES, 0, ENTRIES_AT - HEAD_BYTES);
	}
	for (uint32_t i = 1; i < count; i++) {
		uint8_t *e = f->map + ENTRIES_AT + (uint64_t)i * ENTRY_BYTES;
		uint64_t at = HEAD_BYTES +
			      (uint64_t)(lt_bytes_get32(e) % SLOTS) * 4;
		rc = reserve_slot(ix, f, at);
		if (rc != LEAT_OK)
			return rc;
		uint32_t before = lt_bytes_get32(f->map + at);
		used += before == 0;
		lt_bytes_put32(e + 16, before);
		lt_bytes_put32(f->map + at, i);
	}
	memcpy(f->map, head, HEAD_BYTES);
	lt_bytes_put32(f->map + 32, used);
	return LEAT_OK;
}

static void
start_anew(struct lt_keyindex *ix)
{
	while (ix->count > 0)
		delete_file(ix, ix->count - 1);
	ix->end = 0;
}

/* What is there, as far as it can be trusted. */
static int
load(struct lt_keyindex *ix)
{
	struct mark mark = {0};

	if (ix->loaded)
		return LEAT_OK;
	if (ix->dir < 0)
		ix->dir = lt_sys.openat(ix->store_dir, DIRECTORY,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (ix->dir < 0 && errno != ENOENT)
		return lt_sys_status(errno);
	int rc = LEAT_OK;
	ix->count = 0;
	ix->end = 0;
	if (ix->dir >= 0)
		rc = list_files(ix);
	if (rc != LEAT_OK)
		return rc;
	if (read_mark(ix, &mark) != LEAT_OK)
		start_anew(ix);
	while (ix->count > 0 && ix->files[ix->count - 1].name > mark.file)
		delete_file(ix, ix->count - 1);
	if (ix->count > 0 && ix->files[ix->count - 1].name == mark.file) {
		struct file *f = &ix->files[ix->count - 1];
		rc = mark.clean || mark.sealed ? map_file(ix, f, 0)
					       : bring_back(ix, f, mark.head);
		ix->end = mark.end;
	} else if (mark.file == 0)
		ix->end = mark.end; /* nothing had a key so far */
	else
		rc = LEAT_E_CORRUPT; /* its newest file is missing */
	if (rc == LEAT_E_CORRUPT || rc == LEAT_E_NOTFOUND) {
		start_anew(ix);
		rc = LEAT_OK;
	}
	ix->loaded = rc == LEAT_OK;
	ix->first_step = 1;
	return rc;
}

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
	if (ix->marked && !ix->failed && checkpoint(ix, 1, 0) != LEAT_OK)
		lt_log_warn("index.checkpoint", "errno=%d", errno);
	for (size_t i = 0; i < ix->count; i++)
		release(&ix->files[i]);
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

/* --- writing --------------------------------------------------------------------------- */

/* Local time as digits, later than any file there is. */
static uint64_t
new_name(const struct lt_keyindex *ix)
{
	int64_t ms = lt_clock_wall_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char digits[96];

	localtime_r(&s, &tm);
	snprintf(digits, sizeof digits, "%04d%02d%02d%02d%02d%02d%03d",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, (int)(ms % 1000));
	uint64_t name = strtoull(digits, NULL, 10);
	uint64_t last = ix->count > 0 ? ix->files[ix->count - 1].name : 0;
	return name > last ? name : last + 1;
}

static int
create_file(struct lt_keyindex *ix)
{
	char name[32];
	uint64_t number = new_name(ix);
	struct file *before = ix->count > 0 ? &ix->files[ix->count - 1] : NULL;
	uint8_t head[HEAD_BYTES] = {0};

	int rc = before == NULL ? LEAT_OK : map_file(ix, before, 0);
	if (rc != LEAT_OK)
		return rc;
	if (before != NULL) {
		memcpy(head + 8, before->map + 8, 8);
		memcpy(head + 24, before->map + 24, 8);
	}
	lt_bytes_put32(head + 36, 1);
	file_name(name, number);
	int fd = lt_sys.openat(
	    ix->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return lt_sys_status(errno);
	rc = lt_sys.ftruncate(fd, (off_t)FILE_BYTES) == 0
		 ? lt_sys_write_full(fd, head, sizeof head, 0)
		 : lt_sys_status(errno);
	lt_sys.close(fd);
	if (rc == LEAT_OK)
		rc = add_file(ix, number);
	if (rc != LEAT_OK) {
		lt_sys.unlinkat(ix->dir, name, 0);
		return rc;
	}
	forget_reserved(ix);
	rc = map_file(ix, &ix->files[ix->count - 1], 1);
	if (rc != LEAT_OK)
		delete_file(ix, ix->count - 1);
	return rc;
}

/* A file with room for an entry, mapped for writing; the checkpoint says that
 * we write. */
static int
open_last(struct lt_keyindex *ix, struct file **out)
{
	int rc = LEAT_OK;

	if (!ix->marked) {
		if (ix->dir < 0) {
			rc = lt_sys_mkdirs(ix->store_dir, DIRECTORY);
			if (rc != LEAT_OK)
				return rc;
			ix->dir = lt_sys.openat(ix->store_dir, DIRECTORY,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
			if (ix->dir < 0)
				return lt_sys_status(errno);
		}
		rc = write_mark(ix, 0, 0);
		ix->marked = rc == LEAT_OK;
	}
	if (rc == LEAT_OK && ix->count > 0) {
		int was = ix->files[ix->count - 1].writable;
		*out = &ix->files[ix->count - 1];
		rc = map_file(ix, *out, 1);
		if (rc == LEAT_OK && !was)
			forget_reserved(ix);
		if (rc != LEAT_OK ||
		    lt_bytes_get32((*out)->map + 36) <=
			lt_keyindex_file_entries)
			return rc;
		rc = checkpoint(ix, 0, 1);
	}
	if (rc == LEAT_OK)
		rc = create_file(ix);
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
	struct file *f = NULL;
	int rc = open_last(ix, &f);

	if (rc != LEAT_OK)
		return rc;
	uint8_t *p = f->map;
	uint32_t count = lt_bytes_get32(p + 36);
	uint64_t slot = HEAD_BYTES + (uint64_t)(hash % SLOTS) * 4;
	uint64_t entry = ENTRIES_AT + (uint64_t)count * ENTRY_BYTES;
	rc = reserve_slot(ix, f, slot);
	if (rc == LEAT_OK)
		rc = reserve_slot(ix, f, 0);
	if (rc == LEAT_OK)
		rc = reserve_entry(ix, f, entry);
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
put_key(struct lt_keyindex *ix, const struct lt_record_view *v,
    const char *key, size_t bytes)
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
	int rc = ix->failed ? LEAT_E_IO : load(ix);

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
			rc = checkpoint(ix, 0, 0);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

/* --- asking ---------------------------------------------------------------------------- */

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

	if (count > ENTRIES || begin > q->end_ms || end + 999 < q->begin_ms)
		return;
	uint32_t i =
	    lt_bytes_get32(p + HEAD_BYTES + (uint64_t)(q->hash % SLOTS) * 4);
	while (i > 0 && i < count && q->count < q->max) {
		const uint8_t *e = p + ENTRIES_AT + (uint64_t)i * ENTRY_BYTES;
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
		int rc = map_file(ix, &ix->files[i], 0);
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
	int rc = load(ix);
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
	int rc = load(ix);
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
		int rc = map_file(ix, &ix->files[0], 0);
		if (rc != LEAT_OK)
			return rc;
		if (lt_bytes_get64(ix->files[0].map + 24) >= log_min)
			break;
		delete_file(ix, 0);
	}
	return LEAT_OK;
}
