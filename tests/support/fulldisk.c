/* fulldisk.c - see fulldisk.h. Any thread may call through the table. */
#include "config.h"
#include "fulldisk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

#define BLOCK 4096u
#define BLOCKS 2048u /* of a file: 8 MiB */
#define FILES 512u

struct file {
	ino_t ino;
	uint8_t has[BLOCKS];
};

static struct lt_sys kernel;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dev_t device;
static unsigned long limit; /* lock: 0: never full */
static unsigned long calls, refused; /* lock */
static struct file files[FILES]; /* lock */
static unsigned file_count; /* lock */

/* One more allocation: -1 with ENOSPC if it is not to be had. lock held. */
static int
allocate(void)
{
	calls++;
	if (limit == 0 || calls < limit)
		return 0;
	refused++;
	errno = ENOSPC;
	return -1;
}

/* The blocks of fd's file, or NULL if it is not on this disk. lock held. */
static struct file *
find(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_dev != device || !S_ISREG(st.st_mode))
		return NULL;
	for (unsigned i = 0; i < file_count; i++)
		if (files[i].ino == st.st_ino)
			return &files[i];
	if (file_count == FILES)
		abort();
	files[file_count].ino = st.st_ino;
	return &files[file_count++];
}

/* Have blocks for [at, at + bytes). lock held. */
static int
take(int fd, off_t at, off_t bytes)
{
	struct file *f = find(fd);
	size_t first = (size_t)at / BLOCK;
	size_t end = ((size_t)(at + bytes) + BLOCK - 1) / BLOCK;

	if (f == NULL || bytes <= 0)
		return 0;
	if (end > BLOCKS)
		abort();
	if (memchr(f->has + first, 0, end - first) == NULL)
		return 0;
	if (allocate() != 0)
		return -1;
	memset(f->has + first, 1, end - first);
	return 0;
}

static int
is_new(int dir, const char *path)
{
	struct stat st;

	return fstatat(dir, path, &st, 0) != 0;
}

static int
d_openat(int dir, const char *path, int flags, mode_t mode)
{
	int fd = -1;

	pthread_mutex_lock(&lock);
	int fresh = (flags & O_CREAT) && is_new(dir, path);
	if (!fresh || allocate() == 0)
		fd = kernel.openat(dir, path, flags, mode);
	if (fd >= 0 && (fresh || (flags & O_TRUNC))) {
		struct file *f = find(fd);
		if (f != NULL)
			memset(f->has, 0, sizeof f->has);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

static ssize_t
d_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	pthread_mutex_lock(&lock);
	int rc = take(fd, at, (off_t)bytes);
	pthread_mutex_unlock(&lock);
	return rc != 0 ? -1 : kernel.pwrite(fd, buf, bytes, at);
}

static int
d_ftruncate(int fd, off_t bytes)
{
	struct stat st;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (find(fd) != NULL && fstat(fd, &st) == 0 && bytes > st.st_size)
		rc = allocate();
	pthread_mutex_unlock(&lock);
	return rc != 0 ? -1 : kernel.ftruncate(fd, bytes);
}

static int
d_fallocate(int fd, int mode, off_t at, off_t bytes)
{
	int rc = 0;

	pthread_mutex_lock(&lock);
	/* What a hole gives back is there for who takes it next: as if it
	 * had not been given. */
	if ((mode & FALLOC_FL_PUNCH_HOLE) == 0)
		rc = take(fd, at, bytes);
	pthread_mutex_unlock(&lock);
	return rc != 0 ? -1 : kernel.fallocate(fd, mode, at, bytes);
}

static int
d_renameat(int dir, const char *from, int to_dir, const char *to)
{
	pthread_mutex_lock(&lock);
	int rc = is_new(to_dir, to) ? allocate() : 0;
	pthread_mutex_unlock(&lock);
	return rc != 0 ? -1 : kernel.renameat(dir, from, to_dir, to);
}

static int
d_mkdirat(int dir, const char *path, mode_t mode)
{
	pthread_mutex_lock(&lock);
	int rc = is_new(dir, path) ? allocate() : 0;
	pthread_mutex_unlock(&lock);
	return rc != 0 ? -1 : kernel.mkdirat(dir, path, mode);
}

void
fulldisk_install(const char *dir)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		abort();
	if (lt_sys.openat != d_openat) /* a test that failed left it */
		kernel = lt_sys;
	device = st.st_dev;
	file_count = 0;
	memset(files, 0, sizeof files);
	lt_sys.openat = d_openat;
	lt_sys.pwrite = d_pwrite;
	lt_sys.ftruncate = d_ftruncate;
	lt_sys.fallocate = d_fallocate;
	lt_sys.renameat = d_renameat;
	lt_sys.mkdirat = d_mkdirat;
	fulldisk_arm(0);
}

void
fulldisk_remove(void)
{
	if (lt_sys.openat == d_openat)
		lt_sys = kernel;
}

void
fulldisk_arm(unsigned long n)
{
	pthread_mutex_lock(&lock);
	limit = n;
	calls = refused = 0;
	pthread_mutex_unlock(&lock);
}

void
fulldisk_free(void)
{
	pthread_mutex_lock(&lock);
	limit = 0;
	pthread_mutex_unlock(&lock);
}

unsigned long
fulldisk_calls(void)
{
	pthread_mutex_lock(&lock);
	unsigned long n = calls;
	pthread_mutex_unlock(&lock);
	return n;
}

unsigned long
fulldisk_refused(void)
{
	pthread_mutex_lock(&lock);
	unsigned long n = refused;
	pthread_mutex_unlock(&lock);
	return n;
}
