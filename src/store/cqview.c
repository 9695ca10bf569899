/*
 * cqview.c - consume queues as other processes read them: pread through at
 * most SLOTS descriptors, nothing mapped, nothing remembered about contents.
 *
 * The store writes the same files meanwhile. An entry's 20 bytes may be read
 * while they are written, so a caller asks only below a `max` that the store
 * told it, and finds damage when the record there is not what it expects.
 * Where an entry is all zeroes and something is written behind it, the message
 * is gone; where nothing is behind it, nothing is written there yet.
 *
 * One thread for each view.
 */
#include "config.h"
#include "store/consumequeue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/limits.h"

#define DIRECTORY "consumequeue"
#define FILE_BYTES ((uint64_t)LT_CQ_FILE_ENTRIES * LT_CQ_ENTRY_BYTES)
#define SLOTS 256
#define BLOCK 512 /* entries of one pread */
#define PATH_BYTES 320

struct slot {
	char *topic; /* NULL: free */
	uint64_t hash;
	uint64_t file;
	uint64_t used;
	uint32_t queue;
	int fd;
	ino_t ino; /* nothing else has this number while it is open */
};

/* Entries the store has no space to write: told, not in the files. */
struct lent {
	struct lent *next;
	int64_t first;
	int64_t end;
	uint32_t queue;
	int fd;
	char topic[];
};

struct lt_cq_view {
	int store_dir;
	int dir; /* -1: no consumequeue/ yet */
	uint64_t clock;
	struct lent *lent; /* empty but on a full disk */
	struct slot slots[SLOTS];
};

int
lt_cq_view_open(int store_dir, struct lt_cq_view **out)
{
	struct lt_cq_view *view = lt_mem_alloc(sizeof *view);

	if (view == NULL)
		return LEAT_E_NOMEM;
	view->store_dir = store_dir;
	view->dir = -1;
	*out = view;
	return LEAT_OK;
}

static void
close_slot(struct slot *s)
{
	if (s->topic == NULL)
		return;
	lt_sys.close(s->fd);
	lt_mem_free(s->topic);
	s->topic = NULL;
}

static struct lent **
find_lent(struct lt_cq_view *view, const char *topic, uint32_t queue)
{
	struct lent **link = &view->lent;

	while (*link != NULL &&
	       ((*link)->queue != queue || strcmp((*link)->topic, topic) != 0))
		link = &(*link)->next;
	return link;
}

static void
drop_lent(struct lent **link)
{
	struct lent *l = *link;

	*link = l->next;
	lt_sys.close(l->fd);
	lt_mem_free(l);
}

int
lt_cq_view_lent(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t first, size_t count, int fd)
{
	struct lent **link = find_lent(view, topic, queue);
	size_t bytes = strlen(topic) + 1;

	if (*link != NULL)
		drop_lent(link);
	if (fd < 0)
		return LEAT_OK;
	struct lent *l = lt_mem_alloc(sizeof *l + bytes);
	if (l == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	l->first = first;
	l->end = first + (int64_t)count;
	l->queue = queue;
	l->fd = fd;
	memcpy(l->topic, topic, bytes);
	l->next = view->lent;
	view->lent = l;
	return LEAT_OK;
}

void
lt_cq_view_close(struct lt_cq_view *view)
{
	if (view == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		close_slot(&view->slots[i]);
	while (view->lent != NULL)
		drop_lent(&view->lent);
	if (view->dir >= 0)
		lt_sys.close(view->dir);
	lt_mem_free(view);
}

/* consumequeue/ may be made, or made anew, after the view was opened. */
static int
directory(struct lt_cq_view *view)
{
	struct stat st;

	if (view->dir >= 0 && lt_sys.fstat(view->dir, &st) == 0 &&
	    st.st_nlink > 0)
		return LEAT_OK;
	if (view->dir >= 0)
		lt_sys.close(view->dir);
	view->dir = lt_sys.openat(
	    view->store_dir, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return view->dir < 0 ? lt_sys_status(errno) : LEAT_OK;
}

static int
open_path(struct lt_cq_view *view, const char *path, int flags, int *fd_out)
{
	if (strchr(path, '/') == path || path[0] == '.')
		return LEAT_E_NAME;
	int rc = directory(view);
	if (rc != LEAT_OK)
		return rc;
	*fd_out =
	    lt_sys.openat(view->dir, path, O_RDONLY | O_CLOEXEC | flags, 0);
	return *fd_out < 0 ? lt_sys_status(errno) : LEAT_OK;
}

/* 1 if the slot's file still has this name: topics are deleted and made again,
 * and a dropped one's files are only renamed at first. */
static int
is_alive(const struct lt_cq_view *view, const struct slot *s, const char *path)
{
	struct stat st;

	return lt_sys.fstatat(view->dir, path, &st, 0) == 0 &&
	       st.st_ino == s->ino;
}

/* Descriptor of one file, lent until the next call. NOTFOUND: no such file. */
static int
get_file(struct lt_cq_view *view, const char *topic, uint32_t queue,
    uint64_t file, int *fd_out)
{
	char path[PATH_BYTES];
	struct slot *victim = &view->slots[0];
	size_t bytes = strlen(topic);

	if (bytes == 0 || bytes >= LT_NAME_FIELD || strchr(topic, '/') != NULL)
		return LEAT_E_NAME;
	uint64_t hash = lt_hash_bytes(topic, bytes) + queue * 31 + file;
	snprintf(path, sizeof path, "%s/%u/%020" PRIu64, topic, queue,
	    file * FILE_BYTES);
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &view->slots[i];
		if (s->topic != NULL && s->hash == hash && s->file == file &&
		    s->queue == queue && strcmp(s->topic, topic) == 0) {
			s->used = ++view->clock;
			*fd_out = s->fd;
			if (is_alive(view, s, path))
				return LEAT_OK;
			close_slot(s);
		}
		if (victim->topic != NULL &&
		    (s->topic == NULL || s->used < victim->used))
			victim = s;
	}
	int rc = open_path(view, path, 0, fd_out);
	if (rc != LEAT_OK)
		return rc;
	struct stat st;
	rc = lt_sys.fstat(*fd_out, &st) == 0 ? LEAT_OK : lt_sys_status(errno);
	char *copy = rc == LEAT_OK ? lt_mem_strdup(topic) : NULL;
	if (copy == NULL) {
		lt_sys.close(*fd_out);
		return rc == LEAT_OK ? LEAT_E_NOMEM : rc;
	}
	close_slot(victim);
	*victim = (struct slot){.topic = copy,
	    .hash = hash,
	    .file = file,
	    .used = ++view->clock,
	    .queue = queue,
	    .fd = *fd_out,
	    .ino = st.st_ino};
	return LEAT_OK;
}

/* Whole read; what a file that was cut short lacks is zeroes. END: it has
 * nothing there. */
static int
read_raw(int fd, uint8_t *raw, size_t bytes, uint64_t at)
{
	struct stat st;
	int rc = lt_sys_read_full(fd, raw, bytes, at);

	if (rc != LEAT_E_END)
		return rc;
	if (lt_sys.fstat(fd, &st) != 0)
		return lt_sys_status(errno);
	if ((uint64_t)st.st_size <= at || (uint64_t)st.st_size - at >= bytes)
		return LEAT_E_END;
	memset(raw, 0, bytes);
	return lt_sys_read_full(
	    fd, raw, (size_t)((uint64_t)st.st_size - at), at);
}

/* Up to BLOCK entries from slot `at` of the `slots` that a file has;
 * *count_out can be fewer at the file's end. */
static int
read_block(int fd, uint64_t at, uint64_t slots, struct lt_cq_entry *out,
    size_t max, size_t *count_out)
{
	uint8_t raw[BLOCK * LT_CQ_ENTRY_BYTES];
	size_t n = slots - at;

	if (n > BLOCK)
		n = BLOCK;
	if (n > max)
		n = max;
	*count_out = 0;
	int rc =
	    read_raw(fd, raw, n * LT_CQ_ENTRY_BYTES, at * LT_CQ_ENTRY_BYTES);
	if (rc == LEAT_E_END)
		return LEAT_OK; /* being made: nothing there yet */
	if (rc != LEAT_OK)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = raw + i * LT_CQ_ENTRY_BYTES;
		out[i].log_offset = (int64_t)lt_bytes_get64(p);
		out[i].bytes = lt_bytes_get32(p + 8);
		out[i].tags_code = (int64_t)lt_bytes_get64(p + 12);
	}
	*count_out = n;
	return LEAT_OK;
}

/* Up to BLOCK entries of the queue from offset, from where they are.
 * NOTFOUND: no file holds it. */
static int
read_some(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, struct lt_cq_entry *out, size_t max, size_t *count_out)
{
	uint64_t at = (uint64_t)offset % LT_CQ_FILE_ENTRIES;
	const struct lent *l = *find_lent(view, topic, queue);
	int fd;

	if (l != NULL && offset >= l->first && offset < l->end)
		return read_block(l->fd, (uint64_t)(offset - l->first),
		    (uint64_t)(l->end - l->first), out, max, count_out);
	if (l != NULL && offset < l->first && l->first - offset < (int64_t)max)
		max = (size_t)(l->first - offset);
	int rc = get_file(
	    view, topic, queue, (uint64_t)offset / LT_CQ_FILE_ENTRIES, &fd);
	return rc != LEAT_OK ? rc
			     : read_block(fd, at, LT_CQ_FILE_ENTRIES, out, max,
				   count_out);
}

/* 1: an entry at or behind slot `at` is written; 0: none; else a status. Holes
 * are jumped over, so asking at a queue's end is cheap. */
static int
is_written_behind(int fd, uint64_t at)
{
	struct lt_cq_entry block[BLOCK];
	size_t n;

	while (at < LT_CQ_FILE_ENTRIES) {
		int rc =
		    read_block(fd, at, LT_CQ_FILE_ENTRIES, block, BLOCK, &n);
		if (rc != LEAT_OK || n == 0)
			return rc;
		for (size_t i = 0; i < n; i++)
			if (block[i].bytes != 0)
				return 1;
		at += n;
		off_t data =
		    lseek(fd, (off_t)(at * LT_CQ_ENTRY_BYTES), SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		if (data > 0 && (uint64_t)data / LT_CQ_ENTRY_BYTES > at)
			at = (uint64_t)data / LT_CQ_ENTRY_BYTES;
	}
	return 0;
}

static int
exists(struct lt_cq_view *view, const char *topic, uint32_t queue)
{
	char path[PATH_BYTES];
	int fd;

	snprintf(path, sizeof path, "%s/%u", topic, queue);
	int rc = open_path(view, path, O_DIRECTORY, &fd);
	if (rc == LEAT_OK)
		lt_sys.close(fd);
	return rc;
}

int
lt_cq_view_read(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, struct lt_cq_entry *out, size_t max, size_t *count_out)
{
	size_t have = 0; /* entries read */
	size_t written = 0; /* of them up to the last one that is not zero */
	int rc = LEAT_OK;
	int fd = -1;

	*count_out = 0;
	if (offset < 0)
		return LEAT_E_INVALID;
	while (have < max) {
		size_t n;
		rc = read_some(view, topic, queue, offset + (int64_t)have,
		    out + have, max - have, &n);
		if (rc == LEAT_E_NOTFOUND && have > 0)
			break;
		if (rc == LEAT_E_NOTFOUND)
			return exists(view, topic, queue);
		if (rc != LEAT_OK)
			return rc;
		if (n == 0)
			break;
		for (size_t i = have; i < have + n; i++)
			if (out[i].bytes != 0)
				written = i + 1;
		have += n;
	}
	/* Zeroes at the end: gone, or not written yet? */
	if (written < have) {
		uint64_t last = (uint64_t)offset + have - 1;
		uint64_t file = last / LT_CQ_FILE_ENTRIES;
		const struct lent *l = *find_lent(view, topic, queue);
		int behind = 1;
		if ((l == NULL || l->end <= (int64_t)last) &&
		    get_file(view, topic, queue, file + 1, &fd) != LEAT_OK &&
		    get_file(view, topic, queue, file, &fd) == LEAT_OK)
			behind = is_written_behind(
			    fd, last % LT_CQ_FILE_ENTRIES + 1);
		if (behind < 0)
			return behind;
		if (behind > 0)
			written = have;
	}
	*count_out = written;
	return LEAT_OK;
}

/* --- bounds and lists -------------------------------------------------- */

static int
each_name(struct lt_cq_view *view, const char *path,
    int (*each)(const char *name, void *user), void *user)
{
	int fd = -1;
	int rc = LEAT_OK;

	if (path != NULL)
		rc = open_path(view, path, O_DIRECTORY, &fd);
	else if ((rc = directory(view)) == LEAT_OK) {
		fd = lt_sys.openat(view->dir, ".", O_RDONLY | O_DIRECTORY, 0);
		rc = fd < 0 ? lt_sys_status(errno) : LEAT_OK;
	}
	if (rc != LEAT_OK)
		return rc;
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		lt_sys.close(fd);
		return LEAT_E_NOMEM;
	}
	for (struct dirent *e; rc == 0 && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.')
			rc = each(e->d_name, user);
	closedir(d);
	return rc;
}

static int
note_first(const char *name, void *user)
{
	uint64_t *first = user, at;

	if (lt_bytes_digits(name, 20, &at) != 0)
		return 0;
	if (at % FILE_BYTES == 0 && at / FILE_BYTES < *first)
		*first = at / FILE_BYTES;
	return 0;
}

/* Where to look next if nothing is at offset: the next file, or what is lent
 * before that. */
static int64_t
look_behind(
    struct lt_cq_view *view, const char *topic, uint32_t queue, int64_t offset)
{
	const struct lent *l = *find_lent(view, topic, queue);
	int64_t next = (offset / LT_CQ_FILE_ENTRIES + 1) * LT_CQ_FILE_ENTRIES;

	return l != NULL && offset < l->first && l->first < next ? l->first
								 : next;
}

/* First entry in [offset, end) that is not gone. END: there is none. */
static int
next_entry(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, int64_t end, struct lt_cq_entry *out, int64_t *offset_out)
{
	struct lt_cq_entry block[BLOCK];
	size_t n;

	while (offset < end) {
		int rc =
		    read_some(view, topic, queue, offset, block, BLOCK, &n);
		if (rc == LEAT_E_NOTFOUND)
			n = 0;
		else if (rc != LEAT_OK)
			return rc;
		for (size_t i = 0; i < n && offset + (int64_t)i < end; i++)
			if (block[i].bytes != 0) {
				*out = block[i];
				*offset_out = offset + (int64_t)i;
				return LEAT_OK;
			}
		offset = n == 0 ? look_behind(view, topic, queue, offset)
				: offset + (int64_t)n;
	}
	return LEAT_E_END;
}

int
lt_cq_view_min(struct lt_cq_view *view, const char *topic, uint32_t queue,
    uint64_t log_min, int64_t max, int64_t *min_out)
{
	char path[PATH_BYTES];
	struct lt_cq_entry entry;
	uint64_t first = UINT64_MAX;
	int64_t found;

	if (strchr(topic, '/') != NULL)
		return LEAT_E_NAME;
	snprintf(path, sizeof path, "%s/%u", topic, queue);
	int rc = each_name(view, path, note_first, &first);
	const struct lent *l = *find_lent(view, topic, queue);
	if (rc != LEAT_OK && (rc != LEAT_E_NOTFOUND || l == NULL))
		return rc;
	*min_out = max;
	if (first == UINT64_MAX && l == NULL)
		return LEAT_OK;
	/* Entries point to ever later records: the answer lies in [low, high],
	 * and *min_out is the best one met so far. */
	int64_t low = first == UINT64_MAX ? l->first
					  : (int64_t)first * LT_CQ_FILE_ENTRIES;
	int64_t high = max;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		rc = next_entry(
		    view, topic, queue, middle, high, &entry, &found);
		if (rc != LEAT_OK && rc != LEAT_E_END)
			return rc;
		if (rc == LEAT_OK && (uint64_t)entry.log_offset < log_min) {
			low = found + 1;
			continue;
		}
		if (rc == LEAT_OK)
			*min_out = found;
		high = middle;
	}
	return LEAT_OK;
}

struct listing {
	struct lt_cq_view *view;
	int (*each)(const char *topic, uint32_t queue, void *user);
	void *user;
	const char *topic;
};

static int
list_queue(const char *name, void *user)
{
	struct listing *l = user;
	char *end;
	unsigned long queue = strtoul(name, &end, 10);

	if (*end != 0 || queue >= LT_QUEUES_MAX || strlen(name) > 5)
		return 0;
	return l->each(l->topic, (uint32_t)queue, l->user);
}

static int
list_topic(const char *name, void *user)
{
	struct listing *l = user;

	l->topic = name;
	int rc = each_name(l->view, name, list_queue, l);
	return rc == LEAT_E_NOTFOUND ? 0 : rc;
}

int
lt_cq_view_each(struct lt_cq_view *view,
    int (*each)(const char *topic, uint32_t queue, void *user), void *user)
{
	struct listing l = {.view = view, .each = each, .user = user};
	int rc = each_name(view, NULL, list_topic, &l);

	return rc == LEAT_E_NOTFOUND ? LEAT_OK : rc;
}
