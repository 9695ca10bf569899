/*
 * records.h - a file of paragraphs separated by blank lines (a Debian package
 * index), with each record's key: its `Package:` field.
 */
#ifndef LT_TESTS_RECORDS_H
#define LT_TESTS_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#define RECORDS_NONE UINT32_MAX

struct record {
	const char *at; /* in the file's mapping */
	uint32_t bytes;
	uint32_t before; /* last one before with this key, or RECORDS_NONE */
	char key[128];
};

struct records {
	struct record *items;
	uint32_t count;
	uint64_t bytes;
};

/* Map and cut; at most limit records (0: all). They and the mapping live as
 * long as the process. 0, or -1 with a line on standard error. */
int records_read(const char *path, uint32_t limit, struct records *out);
/* Hash of a body at its place, never 0. */
uint64_t records_hash(uint32_t index, const void *body, size_t bytes);

#endif
