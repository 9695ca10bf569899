/* image.c - see image.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/memfs.h"

static void
copy(struct image_file *to, const struct memfs_file *from)
{
	memset(to, 0, sizeof(*to));
	snprintf(to->path, sizeof(to->path), "%s", from->path);
	to->size = from->size;
	to->stamp = from->stamp;
	to->bytes = from->extent;
	while (to->bytes > 0 && from->data[to->bytes - 1] == 0)
		to->bytes--;
	to->data = malloc(to->bytes + 1);
	assert_non_null(to->data);
	memcpy(to->data, from->data, to->bytes);
}

void
image_take(struct image *im)
{
	struct memfs_file f;
	size_t cursor = 0;

	memset(im, 0, sizeof(*im));
	while (memfs_next(&cursor, &f)) {
		assert_true(im->count < IMAGE_FILES);
		copy(&im->files[im->count++], &f);
	}
}

void
image_release(struct image *im)
{
	for (size_t i = 0; i < im->count; i++)
		free(im->files[i].data);
	memset(im, 0, sizeof(*im));
}

struct image_file *
image_find(struct image *im, const char *path)
{
	for (size_t i = 0; i < im->count; i++)
		if (strcmp(im->files[i].path, path) == 0)
			return &im->files[i];
	return NULL;
}

void
image_restore(struct image *im)
{
	struct memfs_file now;
	size_t cursor = 0;

	while (memfs_next(&cursor, &now))
		if (image_find(im, now.path) == NULL)
			memfs_remove(now.path);
	for (size_t i = 0; i < im->count; i++) {
		struct image_file *f = &im->files[i];

		if (memfs_find(f->path, &now) && now.stamp == f->stamp)
			continue;
		memfs_put(f->path, 0, f->data, f->bytes, f->size);
		(void)memfs_find(f->path, &now);
		f->stamp = now.stamp;
	}
}

/* Behind what the image has there are zeroes. */
static int
is_equal(const struct image_file *a, const struct memfs_file *b)
{
	if (a->stamp == b->stamp)
		return 1;
	if (a->size != b->size ||
	    (a->bytes > 0 && memcmp(a->data, b->data, a->bytes) != 0))
		return 0;
	for (size_t i = a->bytes; i < b->extent; i++)
		if (b->data[i] != 0)
			return 0;
	return 1;
}

const char *
image_differs(struct image *im, const char *prefix)
{
	static char name[160];
	struct memfs_file now;
	size_t n = strlen(prefix), left = 0, cursor = 0;

	for (size_t i = 0; i < im->count; i++)
		left += strncmp(im->files[i].path, prefix, n) == 0;
	while (memfs_next(&cursor, &now)) {
		const struct image_file *f = image_find(im, now.path);

		if (strncmp(now.path, prefix, n) != 0)
			continue;
		left--;
		if (f != NULL && is_equal(f, &now))
			continue;
		snprintf(name, sizeof(name), "%s", now.path);
		return name;
	}
	return left == 0 ? NULL : "a file that is not there";
}
