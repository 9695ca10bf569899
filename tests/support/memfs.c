/* memfs.c - see memfs.h. */
#include "config.h"
#include "memfs.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32.h"
#include "base/sys.h"

#define NODES 128
#define OPENS 512
#define FIRST_FD (1 << 20)
#define SLOT ((uint64_t)512 << 20) /* a file's share of the arena */
#define SLOT_PAGES (SLOT / MEMFS_PAGE)
#define LARGE_PAGES 2048
#define PATH 200
#define PAGE_AT(n) ((uint64_t)(n)*MEMFS_PAGE)

/* A file or a directory. Its slot is zero but for the pages marked; it is made
 * so when it is taken again, not when it is given up: a mapping may be left. */
struct node {
	char path[PATH];
	uint32_t hash;
	int is_used;
	int is_dir;
	int links; /* 0: it has no name */
	unsigned opens;
	int is_mapped; /* for writing: it may change at any time */
	uint64_t size, ino, stamp;
	size_t top; /* pages behind the last one marked */
	uint64_t *marks; /* a bit for each page */
};
#define MARKS_BYTES (SLOT_PAGES / 8)

static struct {
	struct lt_sys kernel;
	int is_mounted;
	int arena_fd;
	uint8_t *arena;
	uint8_t *marks;
	struct node nodes[NODES]; /* the first is the top directory */
	size_t count; /* used so far */
	size_t spare; /* where the search for a node begins */
	int opens[OPENS]; /* node and one, 0: closed */
	size_t open_count;
	uint64_t last_ino, last_stamp;
} fs;

static uint8_t *
data_of(const struct node *n)
{
	return fs.arena + (uint64_t)(n - fs.nodes) * SLOT;
}

static int
is_marked(const struct node *n, size_t page)
{
	return n->marks[page / 64] >> page % 64 & 1;
}

static void
changed(struct node *n)
{
	n->stamp = ++fs.last_stamp;
}

/* --- pages ---------------------------------------------------------------- */

/* Zero what is marked of [from, to); whole pages are holes again. */
static void
wipe(struct node *n, uint64_t from, uint64_t to)
{
	uint64_t end = PAGE_AT(n->top);

	while (from < to && from < end) {
		size_t page = from / MEMFS_PAGE;
		uint64_t stop = PAGE_AT(page + 1) < to ? PAGE_AT(page + 1) : to;

		if (from % MEMFS_PAGE == 0 && n->marks[page / 64] == 0) {
			from = PAGE_AT((page / 64 + 1) * 64);
			continue;
		}
		if (is_marked(n, page)) {
			memset(data_of(n) + from, 0, stop - from);
			if (stop - from == MEMFS_PAGE)
				n->marks[page / 64] &= ~(1ull << page % 64);
		}
		from = stop;
	}
	while (n->top > 0 && !is_marked(n, n->top - 1))
		n->top--;
}

/* All of a slot: a large one's memory goes back to the kernel, with what
 * reading its holes took. */
static void
empty(struct node *n)
{
	uint64_t slot = (uint64_t)(n - fs.nodes) * SLOT;

	if (n->top < LARGE_PAGES) {
		wipe(n, 0, SLOT);
		return;
	}
	LT_ASSERT(fs.kernel.fallocate(fs.arena_fd,
		      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)slot,
		      (off_t)SLOT) == 0);
	memset(n->marks, 0, n->top / 8 + 8);
	n->top = 0;
}

static void
mark(struct node *n, uint64_t from, uint64_t to)
{
	for (size_t page = from / MEMFS_PAGE; PAGE_AT(page) < to; page++) {
		n->marks[page / 64] |= 1ull << page % 64;
		if (n->top <= page)
			n->top = page + 1;
	}
}

static void
store(struct node *n, uint64_t at, const uint8_t *p, size_t bytes)
{
	static const uint8_t zeroes[MEMFS_PAGE];

	while (bytes > 0) {
		size_t room = MEMFS_PAGE - at % MEMFS_PAGE;
		size_t k = bytes < room ? bytes : room;

		if (is_marked(n, at / MEMFS_PAGE) ||
		    memcmp(p, zeroes, k) != 0) {
			mark(n, at, at + k);
			memcpy(data_of(n) + at, p, k);
		}
		at += k;
		p += k;
		bytes -= k;
	}
}

static int
resize(struct node *n, uint64_t size)
{
	if (size > SLOT) {
		errno = EFBIG;
		return -1;
	}
	wipe(n, size, n->size);
	n->size = size;
	changed(n);
	return 0;
}

/* --- names ---------------------------------------------------------------- */

static struct node *
lookup(const char *path)
{
	uint32_t hash = lt_crc32(0, path, strlen(path));

	for (size_t i = 0; i < fs.count; i++)
		if (fs.nodes[i].links > 0 && fs.nodes[i].hash == hash &&
		    strcmp(fs.nodes[i].path, path) == 0)
			return &fs.nodes[i];
	return NULL;
}

static struct node *
node_of(int fd)
{
	int i = fs.is_mounted ? fd - FIRST_FD : -1;

	if (i < 0 || i >= OPENS || fs.opens[i] == 0)
		return NULL;
	return &fs.nodes[fs.opens[i] - 1];
}

/* The whole path of a name below a directory; "" is the top. */
static int
path_of(int dir, const char *name, char out[PATH])
{
	const struct node *n = node_of(dir);
	size_t bytes, more;

	if (n == NULL || !n->is_dir || name[0] == '/') {
		errno = ENOTDIR;
		return -1;
	}
	if (strcmp(name, ".") == 0)
		name = "";
	bytes = strlen(n->path);
	more = strlen(name);
	LT_ASSERT(bytes + 1 + more < PATH);
	memcpy(out, n->path, bytes);
	if (bytes > 0 && more > 0)
		out[bytes++] = '/';
	memcpy(out + bytes, name, more + 1);
	for (bytes += more; bytes > 0 && out[bytes - 1] == '/';)
		out[--bytes] = 0;
	return 0;
}

/* Where a new name would stand: 0, or errno. */
static int
has_place(const char *path)
{
	char above[PATH];
	const char *slash = strrchr(path, '/');
	const struct node *n;
	size_t bytes;

	bytes = slash == NULL ? 0 : (size_t)(slash - path);
	memcpy(above, path, bytes);
	above[bytes] = 0;
	n = lookup(above);
	return n == NULL ? ENOENT : n->is_dir ? 0 : ENOTDIR;
}

static struct node *
make(const char *path, int is_dir)
{
	struct node *n;
	size_t tries = 0;

	do {
		LT_ASSERT(tries++ < NODES);
		n = &fs.nodes[fs.spare];
		fs.spare = (fs.spare + 1) % NODES;
	} while (n->is_used);
	if (fs.count <= (size_t)(n - fs.nodes))
		fs.count = (size_t)(n - fs.nodes) + 1;
	empty(n);
	n->is_used = n->links = 1;
	n->is_dir = is_dir;
	n->is_mapped = 0;
	n->size = 0;
	n->ino = ++fs.last_ino;
	snprintf(n->path, PATH, "%s", path);
	n->hash = lt_crc32(0, path, strlen(path));
	changed(n);
	return n;
}

static void
let_go(struct node *n)
{
	if (n->links == 0 && n->opens == 0)
		n->is_used = 0;
}

static void
unname(struct node *n)
{
	n->links = 0;
	let_go(n);
}

static int
open_node(struct node *n)
{
	for (int i = 0; i < OPENS; i++)
		if (fs.opens[i] == 0) {
			fs.opens[i] = (int)(n - fs.nodes) + 1;
			fs.open_count++;
			n->opens++;
			return FIRST_FD + i;
		}
	errno = EMFILE;
	return -1;
}

/* --- calls ---------------------------------------------------------------- */

static int
m_openat(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH];
	struct node *n;
	int err = 0;

	if (node_of(dir) == NULL)
		return fs.kernel.openat(dir, name, flags, mode);
	if (path_of(dir, name, path) != 0)
		return -1;
	n = lookup(path);
	if (n == NULL)
		err = flags & O_CREAT ? has_place(path) : ENOENT;
	else if (flags & O_CREAT && flags & O_EXCL)
		err = EEXIST;
	else if (flags & O_DIRECTORY && !n->is_dir)
		err = ENOTDIR;
	else if (n->is_dir && (flags & O_ACCMODE) != O_RDONLY)
		err = EISDIR;
	if (err != 0) {
		errno = err;
		return -1;
	}
	if (n == NULL)
		n = make(path, 0);
	else if (flags & O_TRUNC)
		(void)resize(n, 0);
	return open_node(n);
}

static int
m_close(int fd)
{
	struct node *n = node_of(fd);

	if (n == NULL)
		return fs.kernel.close(fd);
	fs.opens[fd - FIRST_FD] = 0;
	fs.open_count--;
	n->opens--;
	let_go(n);
	return 0;
}

static ssize_t
m_pread(int fd, void *buf, size_t bytes, off_t at)
{
	const struct node *n = node_of(fd);

	if (n == NULL)
		return fs.kernel.pread(fd, buf, bytes, at);
	if (n->is_dir || at < 0) {
		errno = n->is_dir ? EISDIR : EINVAL;
		return -1;
	}
	if ((uint64_t)at >= n->size)
		return 0;
	if (bytes > n->size - (uint64_t)at)
		bytes = n->size - (uint64_t)at;
	memcpy(buf, data_of(n) + at, bytes);
	return (ssize_t)bytes;
}

static ssize_t
m_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	struct node *n = node_of(fd);

	if (n == NULL)
		return fs.kernel.pwrite(fd, buf, bytes, at);
	if (n->is_dir || at < 0 || (uint64_t)at + bytes > SLOT) {
		errno = at < 0 ? EINVAL : EFBIG;
		return -1;
	}
	store(n, (uint64_t)at, buf, bytes);
	if (n->size < (uint64_t)at + bytes)
		n->size = (uint64_t)at + bytes;
	changed(n);
	return (ssize_t)bytes;
}

static int
m_fdatasync(int fd)
{
	return node_of(fd) == NULL ? fs.kernel.fdatasync(fd) : 0;
}

static int
m_fsync(int fd)
{
	return node_of(fd) == NULL ? fs.kernel.fsync(fd) : 0;
}

static int
m_syncfs(int fd)
{
	return node_of(fd) == NULL ? fs.kernel.syncfs(fd) : 0;
}

static int
m_ftruncate(int fd, off_t bytes)
{
	struct node *n = node_of(fd);

	return n == NULL ? fs.kernel.ftruncate(fd, bytes)
			 : resize(n, (uint64_t)bytes);
}

static int
m_fallocate(int fd, int mode, off_t at, off_t bytes)
{
	struct node *n = node_of(fd);
	uint64_t to = (uint64_t)at + (uint64_t)bytes;

	if (n == NULL)
		return fs.kernel.fallocate(fd, mode, at, bytes);
	LT_ASSERT(to <= SLOT);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		wipe(n, (uint64_t)at, to);
	else
		mark(n, (uint64_t)at, to);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && n->size < to)
		n->size = to;
	changed(n);
	return 0;
}

static int
is_below(const struct node *n, const struct node *dir)
{
	size_t bytes = strlen(dir->path);

	if (n == dir || n->links == 0 || n->path[0] == 0)
		return 0;
	return bytes == 0 || (strncmp(n->path, dir->path, bytes) == 0 &&
				 n->path[bytes] == '/');
}

static void
set_path(struct node *n, const char *path)
{
	snprintf(n->path, PATH, "%s", path);
	n->hash = lt_crc32(0, path, strlen(path));
	changed(n);
}

/* What is in a directory, before it moves itself. */
static void
move_contents(const struct node *dir, const char *to)
{
	size_t bytes = strlen(dir->path);
	char path[2 * PATH];

	for (size_t i = 0; i < fs.count; i++) {
		struct node *n = &fs.nodes[i];
		if (!n->is_used || !is_below(n, dir))
			continue;
		snprintf(path, sizeof(path), "%s%s", to, n->path + bytes);
		LT_ASSERT(strlen(path) < PATH);
		set_path(n, path);
	}
}

static int
m_renameat(int dir, const char *from, int to_dir, const char *to)
{
	char path[PATH];
	struct node *n, *old;

	if (node_of(dir) == NULL)
		return fs.kernel.renameat(dir, from, to_dir, to);
	if (path_of(dir, from, path) != 0)
		return -1;
	n = lookup(path);
	if (n == NULL || path_of(to_dir, to, path) != 0) {
		errno = ENOENT;
		return -1;
	}
	errno = has_place(path);
	if (errno != 0)
		return -1;
	old = lookup(path);
	if (old == n)
		return 0;
	for (size_t i = 0; old != NULL && i < fs.count; i++)
		if (is_below(&fs.nodes[i], old)) {
			errno = ENOTEMPTY;
			return -1;
		}
	if (old != NULL)
		unname(old);
	if (n->is_dir)
		move_contents(n, path);
	set_path(n, path);
	return 0;
}

static int
m_unlinkat(int dir, const char *name, int flags)
{
	char path[PATH];
	struct node *n;

	if (node_of(dir) == NULL)
		return fs.kernel.unlinkat(dir, name, flags);
	if (path_of(dir, name, path) != 0)
		return -1;
	n = lookup(path);
	errno = n == NULL ? ENOENT : 0;
	if (n != NULL && n->is_dir != !!(flags & AT_REMOVEDIR))
		errno = n->is_dir ? EISDIR : ENOTDIR;
	for (size_t i = 0; errno == 0 && n->is_dir && i < fs.count; i++)
		if (is_below(&fs.nodes[i], n))
			errno = ENOTEMPTY;
	if (errno != 0)
		return -1;
	unname(n);
	return 0;
}

static int
m_mkdirat(int dir, const char *name, mode_t mode)
{
	char path[PATH];

	if (node_of(dir) == NULL)
		return fs.kernel.mkdirat(dir, name, mode);
	if (path_of(dir, name, path) != 0)
		return -1;
	errno = lookup(path) != NULL ? EEXIST : has_place(path);
	if (errno != 0)
		return -1;
	(void)make(path, 1);
	return 0;
}

static void
describe(const struct node *n, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_dev = 1;
	st->st_ino = n->ino;
	st->st_mode = n->is_dir ? S_IFDIR | 0750 : S_IFREG | 0640;
	st->st_nlink = (nlink_t)n->links;
	st->st_size = (off_t)n->size;
	st->st_blksize = MEMFS_PAGE;
	for (size_t i = 0; i * 64 < n->top; i++)
		st->st_blocks += __builtin_popcountll(n->marks[i]) *
				 (blkcnt_t)(MEMFS_PAGE / 512);
}

static int
m_fstat(int fd, struct stat *st)
{
	const struct node *n = node_of(fd);

	if (n == NULL)
		return fs.kernel.fstat(fd, st);
	describe(n, st);
	return 0;
}

static int
m_fstatat(int dir, const char *name, struct stat *st, int flags)
{
	char path[PATH];
	const struct node *n;

	if (node_of(dir) == NULL)
		return fs.kernel.fstatat(dir, name, st, flags);
	if (path_of(dir, name, path) != 0)
		return -1;
	n = lookup(path);
	if (n == NULL) {
		errno = ENOENT;
		return -1;
	}
	describe(n, st);
	return 0;
}

static int
m_fstatvfs(int fd, struct statvfs *st)
{
	if (node_of(fd) == NULL)
		return fs.kernel.fstatvfs(fd, st);
	memset(st, 0, sizeof(*st));
	st->f_bsize = st->f_frsize = MEMFS_PAGE;
	st->f_blocks = 1u << 30;
	st->f_bfree = st->f_bavail = 1u << 29;
	return 0;
}

/* A whole file, or less, is where it is; behind its end nobody may read. */
static void *
m_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	struct node *n = node_of(fd);
	uint64_t slot, end;
	uint8_t *p;

	if (n == NULL)
		return fs.kernel.mmap(at, bytes, prot, flags, fd, off);
	LT_ASSERT(off == 0 && bytes <= SLOT && flags & MAP_SHARED);
	if (prot & PROT_WRITE)
		n->is_mapped = 1;
	if (!(flags & MAP_FIXED) && bytes <= n->size)
		return data_of(n);
	slot = (uint64_t)(n - fs.nodes) * SLOT;
	p = fs.kernel.mmap(at, bytes, prot, flags, fs.arena_fd, (off_t)slot);
	end = PAGE_AT((n->size + MEMFS_PAGE - 1) / MEMFS_PAGE);
	if (p != MAP_FAILED && end < bytes)
		LT_ASSERT(mprotect(p + end, bytes - end, PROT_NONE) == 0);
	return p;
}

/* --- calls that do not go through lt_sys ---------------------------------- */

int
munmap(void *p, size_t bytes)
{
	if (fs.is_mounted && (uint8_t *)p >= fs.arena &&
	    (uint8_t *)p < fs.arena + SLOT * NODES)
		return 0;
	return (int)syscall(SYS_munmap, p, bytes);
}

off_t
lseek(int fd, off_t at, int whence)
{
	const struct node *n = node_of(fd);
	int is_data = whence == SEEK_DATA;
	uint64_t to = (uint64_t)at;

	if (n == NULL)
		return (off_t)syscall(SYS_lseek, fd, at, whence);
	LT_ASSERT(is_data || whence == SEEK_HOLE);
	while (to < n->size && to < PAGE_AT(n->top) &&
	       is_marked(n, to / MEMFS_PAGE) != is_data)
		to = PAGE_AT(to / MEMFS_PAGE + 1);
	if ((uint64_t)at < n->size && to > n->size)
		to = n->size;
	if ((uint64_t)at >= n->size ||
	    (is_data && (to >= n->size || to >= PAGE_AT(n->top)))) {
		errno = ENXIO;
		return -1;
	}
	return (off_t)to;
}

/* Stands in for a DIR. */
struct stream {
	int fd;
	int dots; /* "." and ".." told */
	size_t next;
	struct dirent entry;
};
static struct stream streams[16];

static struct stream *
stream_of(DIR *d)
{
	struct stream *s = (struct stream *)(void *)d;

	return s >= streams && s < streams + LT_COUNT(streams) ? s : NULL;
}

DIR *
fdopendir(int fd)
{
	static DIR *(*real)(int);
	const struct node *n = node_of(fd);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	if (n == NULL)
		return real(fd);
	LT_ASSERT(n->is_dir);
	for (size_t i = 0; i < LT_COUNT(streams); i++)
		if (streams[i].fd == 0) {
			streams[i].fd = fd;
			streams[i].dots = 0;
			streams[i].next = 0;
			return (DIR *)(void *)&streams[i];
		}
	errno = ENOMEM;
	return NULL;
}

struct dirent *
readdir(DIR *d)
{
	static struct dirent *(*real)(DIR *);
	struct stream *s = stream_of(d);
	const struct node *dir;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	if (s == NULL)
		return real(d);
	dir = node_of(s->fd);
	if (s->dots < 2) {
		strcpy(s->entry.d_name, s->dots++ == 0 ? "." : "..");
		return &s->entry;
	}
	while (s->next < fs.count) {
		const struct node *n = &fs.nodes[s->next++];
		size_t skip = strlen(dir->path) + (dir->path[0] != 0);

		if (!is_below(n, dir) || strchr(n->path + skip, '/') != NULL)
			continue;
		strcpy(s->entry.d_name, n->path + skip);
		return &s->entry;
	}
	return NULL;
}

int
closedir(DIR *d)
{
	static int (*real)(DIR *);
	struct stream *s = stream_of(d);
	int fd;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "closedir");
	if (s == NULL)
		return real(d);
	fd = s->fd;
	s->fd = 0;
	return m_close(fd);
}

/* --- the test's side ------------------------------------------------------ */

int
memfs_mount(void)
{
	LT_ASSERT(!fs.is_mounted);
	memset(&fs, 0, sizeof(fs));
	fs.kernel = lt_sys;
	fs.arena_fd = memfd_create("memfs", MFD_CLOEXEC);
	LT_ASSERT(fs.arena_fd >= 0);
	LT_ASSERT(ftruncate(fs.arena_fd, (off_t)(SLOT * NODES)) == 0);
	fs.arena = mmap(NULL, SLOT * NODES, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, fs.arena_fd, 0);
	fs.marks = mmap(NULL, NODES * MARKS_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	LT_ASSERT(fs.arena != MAP_FAILED && fs.marks != MAP_FAILED);
	for (size_t i = 0; i < NODES; i++)
		fs.nodes[i].marks = (uint64_t *)(fs.marks + i * MARKS_BYTES);
	fs.is_mounted = 1;
	lt_sys.openat = m_openat;
	lt_sys.close = m_close;
	lt_sys.pread = m_pread;
	lt_sys.pwrite = m_pwrite;
	lt_sys.fdatasync = m_fdatasync;
	lt_sys.fsync = m_fsync;
	lt_sys.syncfs = m_syncfs;
	lt_sys.ftruncate = m_ftruncate;
	lt_sys.fallocate = m_fallocate;
	lt_sys.renameat = m_renameat;
	lt_sys.unlinkat = m_unlinkat;
	lt_sys.mkdirat = m_mkdirat;
	lt_sys.fstat = m_fstat;
	lt_sys.fstatat = m_fstatat;
	lt_sys.fstatvfs = m_fstatvfs;
	lt_sys.mmap = m_mmap;
	return open_node(make("", 1));
}

void
memfs_unmount(void)
{
	lt_sys = fs.kernel;
	fs.is_mounted = 0;
	munmap(fs.arena, SLOT * NODES);
	munmap(fs.marks, NODES * MARKS_BYTES);
	close(fs.arena_fd);
}

void
memfs_clear(void)
{
	LT_ASSERT(fs.open_count == 1);
	for (size_t i = 1; i < fs.count; i++)
		fs.nodes[i].links = fs.nodes[i].is_used = 0;
	/* Few slots, soon warm. */
	fs.count = fs.spare = 1;
}

static void
make_directories(const char *path)
{
	char above[PATH];

	for (const char *p = strchr(path, '/'); p != NULL;
	     p = strchr(p + 1, '/')) {
		snprintf(above, sizeof(above), "%.*s", (int)(p - path), path);
		if (lookup(above) == NULL)
			(void)make(above, 1);
	}
}

void
memfs_put(
    const char *path, uint64_t at, const void *p, size_t bytes, uint64_t size)
{
	struct node *n = lookup(path);

	if (n == NULL) {
		make_directories(path);
		n = make(path, 0);
	}
	LT_ASSERT(!n->is_dir && at + bytes <= size);
	(void)resize(n, 0);
	n->is_mapped = 0;
	(void)resize(n, size);
	store(n, at, p, bytes);
}

void
memfs_write(const char *path, uint64_t at, const void *p, size_t bytes)
{
	struct node *n = lookup(path);

	LT_ASSERT(n != NULL && !n->is_dir && at + bytes <= n->size);
	store(n, at, p, bytes);
	changed(n);
}

void
memfs_remove(const char *path)
{
	struct node *n = lookup(path);

	LT_ASSERT(n != NULL);
	unname(n);
}

static void
show(struct node *n, struct memfs_file *out)
{
	if (n->is_mapped)
		changed(n);
	out->path = n->path;
	out->size = n->size;
	out->data = data_of(n);
	out->pages = n->marks;
	out->extent = PAGE_AT(n->top) < n->size ? PAGE_AT(n->top) : n->size;
	out->stamp = n->stamp;
}

int
memfs_next(size_t *cursor, struct memfs_file *out)
{
	while (*cursor < fs.count) {
		struct node *n = &fs.nodes[(*cursor)++];

		if (n->links == 0 || n->is_dir)
			continue;
		show(n, out);
		return 1;
	}
	return 0;
}

int
memfs_find(const char *path, struct memfs_file *out)
{
	struct node *n = lookup(path);

	if (n == NULL || n->is_dir)
		return 0;
	show(n, out);
	return 1;
}
