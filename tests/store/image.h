/*
 * image.h - a store's files in memory: put back what a test changed, compare
 * with what should be there.
 */
#ifndef LT_TESTS_IMAGE_H
#define LT_TESTS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_FILES 64

struct image_file {
	char path[160]; /* below DIR/store */
	uint64_t size;
	uint8_t *data; /* up to its last byte that is not zero */
	size_t bytes;
};
struct image {
	struct image_file files[IMAGE_FILES];
	size_t count;
};

/* store: path of DIR/store. Taken again: release first. */
void image_take(struct image *im, const char *store);
void image_release(struct image *im);
/* The directory has these files and no other. */
void image_restore(const struct image *im, const char *store);
/* Write one file: bytes at its beginning, zeroes up to size. */
void image_put(const char *store, const char *path, const void *p, size_t n,
    uint64_t size);
/* Path of the first file that differs (contents, size, or one is not there),
 * of those whose path begins with prefix; NULL: none. */
const char *image_differs(
    const struct image *im, const char *store, const char *prefix);
const struct image_file *image_find(const struct image *im, const char *path);

#endif
