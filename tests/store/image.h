/*
 * image.h - a copy of all files of a file system in memory (memfs.h): put back
 * what a test changed, compare with what should be there.
 */
#ifndef LT_TESTS_IMAGE_H
#define LT_TESTS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_FILES 64

struct image_file {
	char path[160];
	uint64_t size;
	uint8_t *data; /* up to its last byte that is not zero */
	size_t bytes;
	uint64_t *pages; /* a bit for each page of data that is not zero */
	uint64_t stamp; /* of the file that was last known to be equal */
};
struct image {
	struct image_file files[IMAGE_FILES];
	size_t count;
};

/* Taken again: release first. */
void image_take(struct image *im);
void image_release(struct image *im);
/* There are these files and no other; only what differs is written. */
void image_restore(struct image *im);
/* Path of the first file that differs (contents, size, or one is not there),
 * of those whose path begins with prefix; NULL: none. */
const char *image_differs(struct image *im, const char *prefix);
struct image_file *image_find(struct image *im, const char *path);

#endif
