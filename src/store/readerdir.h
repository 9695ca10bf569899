/*
 * readerdir.h - inside of the reader: the segments that it knows. Private to
 * reader.c and readerdir.c.
 */
#ifndef LT_STORE_READERDIR_H
#define LT_STORE_READERDIR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/check.h"
#include "store/reader.h"

struct lt_readerdir_segment {
	uint64_t base;
	ino_t ino;
	const uint8_t *map; /* NULL: not mapped */
	size_t had_from; /* these bytes of it have been had */
	size_t had_to;
	uint64_t used; /* tick of the last use */
};

struct lt_reader {
	int dir;
	struct lt_readerdir_segment *segments; /* by base */
	size_t count;
	size_t capacity;
	size_t last; /* index of the segment used last */
	size_t maps;
	uint64_t bytes; /* of a segment; 0: there is none */
	uint64_t tick;
	uint64_t damage_at;
};

/* The caller closes *fd_out. */
int lt_readerdir_file(const struct lt_reader *r, uint64_t base, int *fd_out,
    struct stat *st) LT_MUST_CHECK;
void lt_readerdir_unmap(struct lt_reader *r, struct lt_readerdir_segment *s);

#endif
