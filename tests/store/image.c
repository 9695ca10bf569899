/* image.c - see image.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FULL_PATH 512

static struct image *taken; /* by the walk under way */
static const struct image *kept;
static size_t root_bytes; /* of the path walked, with its slash */

/* Everything up to the last byte that is not zero; holes are passed over. */
static void
read_file(struct image_file *f, int fd)
{
	off_t at = 0, data, end;

	while ((data = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, data, SEEK_HOLE);
		assert_true(end > data);
		f->data = realloc(f->data, (size_t)end);
		assert_non_null(f->data);
		memset(f->data + f->bytes, 0, (size_t)data - f->bytes);
		assert_int_equal(
		    pread(fd, f->data + data, (size_t)(end - data), data),
		    end - data);
		f->bytes = (size_t)end;
		at = end;
	}
	while (f->bytes > 0 && f->data[f->bytes - 1] == 0)
		f->bytes--;
}

static int
take_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct image_file *f;
	int fd;

	if (type != FTW_F)
		return 0;
	assert_true(taken->count < IMAGE_FILES);
	f = &taken->files[taken->count++];
	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "%s", path + root_bytes);
	f->size = (uint64_t)st->st_size;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	read_file(f, fd);
	close(fd);
	return 0;
}

void
image_take(struct image *im, const char *store)
{
	memset(im, 0, sizeof(*im));
	taken = im;
	root_bytes = strlen(store) + 1;
	assert_int_equal(nftw(store, take_one, 16, FTW_PHYS), 0);
}

void
image_release(struct image *im)
{
	for (size_t i = 0; i < im->count; i++)
		free(im->files[i].data);
	memset(im, 0, sizeof(*im));
}

const struct image_file *
image_find(const struct image *im, const char *path)
{
	for (size_t i = 0; i < im->count; i++)
		if (strcmp(im->files[i].path, path) == 0)
			return &im->files[i];
	return NULL;
}

static void
make_directories(char *path)
{
	for (char *p = strchr(path + 1, '/'); p != NULL;
	     p = strchr(p + 1, '/')) {
		*p = 0;
		assert_true(mkdir(path, 0750) == 0 || errno == EEXIST);
		*p = '/';
	}
}

void
image_put(const char *store, const char *path, const void *p, size_t bytes,
    uint64_t size)
{
	char full[FULL_PATH];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", store, path);
	fd = open(full, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0) {
		make_directories(full);
		fd = open(full, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	}
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, bytes, 0), bytes);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static int
remove_stranger(
    const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (type == FTW_F && image_find(kept, path + root_bytes) == NULL)
		return unlink(path);
	return 0;
}

void
image_restore(const struct image *im, const char *store)
{
	kept = im;
	root_bytes = strlen(store) + 1;
	assert_int_equal(nftw(store, remove_stranger, 16, FTW_PHYS), 0);
	for (size_t i = 0; i < im->count; i++)
		image_put(store, im->files[i].path, im->files[i].data,
		    im->files[i].bytes, im->files[i].size);
}

const char *
image_differs(const struct image *im, const char *store, const char *prefix)
{
	static char name[160];
	struct image now;
	size_t n = strlen(prefix), left = 0;
	const char *found = NULL;

	image_take(&now, store);
	for (size_t i = 0; i < im->count; i++)
		left += strncmp(im->files[i].path, prefix, n) == 0;
	for (size_t i = 0; i < now.count && found == NULL; i++) {
		const struct image_file *a = &now.files[i];
		const struct image_file *b = image_find(im, a->path);

		if (strncmp(a->path, prefix, n) != 0)
			continue;
		left--;
		if (b == NULL || a->size != b->size || a->bytes != b->bytes ||
		    memcmp(a->data, b->data, a->bytes) != 0) {
			snprintf(name, sizeof(name), "%s", a->path);
			found = name;
		}
	}
	if (found == NULL && left != 0)
		found = "a file that is not there";
	image_release(&now);
	return found;
}
