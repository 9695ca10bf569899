/*
 * indexfile.h - the files of the key index, for keyindex.c alone: which there
 * are, how far they can be trusted, and blocks for what is written to them.
 */
#ifndef LT_QUEUE_INDEXFILE_H
#define LT_QUEUE_INDEXFILE_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/limits.h"

#define LT_INDEXFILE_HEAD 40
#define LT_INDEXFILE_SLOTS 5000000u
#define LT_INDEXFILE_ENTRIES 20000000u
#define LT_INDEXFILE_ENTRY 20
#define LT_INDEXFILE_ENTRIES_AT                                                \
	(LT_INDEXFILE_HEAD + (uint64_t)LT_INDEXFILE_SLOTS * 4)
#define LT_INDEXFILE_BYTES                                                     \
	(LT_INDEXFILE_ENTRIES_AT +                                             \
	    (uint64_t)LT_INDEXFILE_ENTRIES * LT_INDEXFILE_ENTRY)
#define LT_INDEXFILE_PAGE 4096u
#define LT_INDEXFILE_SLOT_PAGES                                                \
	(LT_INDEXFILE_ENTRIES_AT / LT_INDEXFILE_PAGE + 1)

_Static_assert(LT_INDEXFILE_BYTES == 420000040, "RocketMQ's size");

struct lt_indexfile {
	uint64_t name; /* its digits as a number */
	uint8_t *map; /* NULL: not mapped */
	int fd; /* -1: not open */
	int writable;
};

struct lt_keyindex {
	int store_dir;
	int dir; /* -1: not there yet */
	int loaded;
	int first_step; /* the log may be shorter than the index */
	int marked; /* the checkpoint says that we are writing */
	int failed;
	uint64_t end;
	struct lt_indexfile
	    *files; /* oldest first; the last one is written to */
	size_t count;
	size_t capacity;
	uint32_t since_mark; /* entries since the last checkpoint */
	uint64_t reserved; /* entry bytes of the last file have blocks */
	/* A bit for each page of slots that has a block. */
	uint8_t slot_pages[LT_INDEXFILE_SLOT_PAGES / 8 + 1];
	char text[LT_NAME_FIELD + 1 + LT_PROPERTIES_MAX];
};

/* Map a file, for writing if asked; CORRUPT: not an index file's size. */
int lt_indexfile_map(
    struct lt_keyindex *ix, struct lt_indexfile *f, int writable) LT_MUST_CHECK;
void lt_indexfile_release(struct lt_indexfile *f);
/* Delete the i-th file. */
void lt_indexfile_delete(struct lt_keyindex *ix, size_t i);
/* Make a new last file, mapped for writing. */
int lt_indexfile_create(struct lt_keyindex *ix) LT_MUST_CHECK;
/* Have blocks for a slot or an entry of the last file: NOSPACE, IO. */
int lt_indexfile_reserve_slot(
    struct lt_keyindex *ix, struct lt_indexfile *f, uint64_t at) LT_MUST_CHECK;
int lt_indexfile_reserve_entry(
    struct lt_keyindex *ix, struct lt_indexfile *f, uint64_t at) LT_MUST_CHECK;
void lt_indexfile_forget_reserved(struct lt_keyindex *ix);
/* Before anything is written: index/ is there, the checkpoint says so. */
int lt_indexfile_begin(struct lt_keyindex *ix) LT_MUST_CHECK;
/* Make the last file durable, then say so in the checkpoint. */
int lt_indexfile_checkpoint(
    struct lt_keyindex *ix, int clean, int sealed) LT_MUST_CHECK;
/* Find out, once, what is there, as far as it can be trusted. */
int lt_indexfile_load(struct lt_keyindex *ix) LT_MUST_CHECK;

#endif
