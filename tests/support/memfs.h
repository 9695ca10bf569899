/*
 * memfs.h - a file system in the test's own memory: lt_sys serves files below
 * one directory without the kernel, so that a test can make, harm, compare and
 * throw away a store thousands of times a second. It has no disk: what is
 * written is there, syncs do nothing.
 *
 * As the kernel has it: names, sizes, links, holes (a page that was never
 * written or allocated), inodes that are new for a new file, an open or mapped
 * file that outlives its name, a page behind a mapped file's end that kills who
 * reads it. Not there: modes, times, several threads.
 *
 * lseek, munmap and directory streams do not go through lt_sys: they are
 * replaced by name, for the descriptors and mappings made here alone.
 */
#ifndef LT_TESTS_MEMFS_H
#define LT_TESTS_MEMFS_H

#include <stddef.h>
#include <stdint.h>

/* Route lt_sys through here: the descriptor of the empty top directory. */
int memfs_mount(void);
/* The kernel's own calls again; everything is gone. */
void memfs_unmount(void);
/* The top directory is empty again. Only its own descriptor may be open. */
void memfs_clear(void);

/* A file of `size`, with these bytes in it (pages of zeroes stay holes);
 * directories on its way are made. */
void memfs_put(
    const char *path, uint64_t at, const void *p, size_t bytes, uint64_t size);
/* Write into it, as it is. */
void memfs_write(const char *path, uint64_t at, const void *p, size_t bytes);
void memfs_remove(const char *path);

struct memfs_file {
	const char *path; /* from the top */
	uint64_t size;
	const uint8_t *data; /* as large as the file */
	const uint64_t *pages; /* a bit for each page that may not be zero */
	size_t extent; /* behind the last of these pages */
	uint64_t stamp; /* another one after each change */
};
#define MEMFS_PAGE 4096u
/* The files there are, in no order; begins with *cursor = 0. 1, or 0: no more.
 */
int memfs_next(size_t *cursor, struct memfs_file *out);
int memfs_find(const char *path, struct memfs_file *out);

#endif
