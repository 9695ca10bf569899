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

static int
has_page(const uint64_t *pages, size_t bytes, size_t page)
{
	return page * MEMFS_PAGE < bytes && pages[page / 64] >> page % 64 & 1;
}

/* Bytes of a page below an end. */
static size_t
part(size_t bytes, size_t page)
{
	size_t left = bytes - page * MEMFS_PAGE;

	return left < MEMFS_PAGE ? left : MEMFS_PAGE;
}

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
	to->data = calloc(1, to->bytes + 1);
	to->pages = calloc(to->bytes / MEMFS_PAGE / 64 + 1, 8);
	assert_true(to->data != NULL && to->pages != NULL);
	for (size_t i = 0; i * MEMFS_PAGE < to->bytes; i++) {
		if (!has_page(from->pages, from->extent, i))
			continue;
		memcpy(to->data + i * MEMFS_PAGE, from->data + i * MEMFS_PAGE,
		    part(to->bytes, i));
		to->pages[i / 64] |= 1ull << i % 64;
	}
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
	for (size_t i = 0; i < im->count; i++) {
		free(im->files[i].data);
		free(im->files[i].pages);
	}
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
		memfs_put(f->path, 0, NULL, 0, f->size);
		for (size_t k = 0; k * MEMFS_PAGE < f->bytes; k++)
			if (has_page(f->pages, f->bytes, k))
				memfs_write(f->path, k * MEMFS_PAGE,
				    f->data + k * MEMFS_PAGE,
				    part(f->bytes, k));
		(void)memfs_find(f->path, &now);
		f->stamp = now.stamp;
	}
}

/* What is in no marked page is zero. */
static int
is_equal(const struct image_file *a, const struct memfs_file *b)
{
	size_t end = a->bytes > b->extent ? a->bytes : b->extent;

	if (a->stamp == b->stamp)
		return 1;
	if (a->size != b->size)
		return 0;
	for (size_t i = 0; i * MEMFS_PAGE < end; i++) {
		size_t at = i * MEMFS_PAGE, n;

		if (!has_page(a->pages, a->bytes, i) &&
		    !has_page(b->pages, b->extent, i))
			continue;
		n = at < a->bytes ? part(a->bytes, i) : 0;
		if (n > 0 && memcmp(a->data + at, b->data + at, n) != 0)
			return 0;
		for (; n < MEMFS_PAGE && at + n < b->size; n++)
			if (b->data[at + n] != 0)
				return 0;
	}
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
