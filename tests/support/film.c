/*
 * film.c - recording: lt_sys routed through here, each change of a file or a
 * directory one event. Files are known by numbers of our own (the kernel gives
 * an inode's number away again), found by walking names as they are now. See
 * film.h; stage.c makes crash images of it.
 */
#include "config.h"
#include "film_inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"

#define FDS 4096

static struct film *now; /* being recorded */
static struct lt_sys below;
static int fds[FDS]; /* node + 1 of an open file; directories: 0 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t
film_random(uint64_t *state)
{
	uint64_t x = *state += 0x9E3779B97F4A7C15u;

	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
	return x ^ (x >> 31);
}

int
film_scratch(char *path_out, size_t path_bytes)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path_out, path_bytes, "/dev/shm/leat-film-XXXXXX");
	if (mkdtemp(path_out) != NULL)
		return 0;
	snprintf(path_out, path_bytes, "%s/leat-film-XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	return mkdtemp(path_out) == NULL ? -1 : 0;
}

/* --- what there is ----------------------------------------------------- */

static void *
grow(void *p, size_t count, size_t *capacity, size_t bytes)
{
	if (count < *capacity)
		return p;
	*capacity = *capacity == 0 ? 16 : *capacity * 2;
	p = realloc(p, *capacity * bytes);
	if (p == NULL)
		abort();
	return p;
}

void
film_names_put(struct film_names *n, const char *name, int node)
{
	film_names_drop(n, name);
	n->all = grow(n->all, n->count, &n->capacity, sizeof *n->all);
	n->all[n->count].name = name;
	n->all[n->count++].node = node;
}

int
film_names_find(const struct film_names *n, const char *name)
{
	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->all[i].name, name) == 0)
			return n->all[i].node;
	return -1;
}

int
film_names_drop(struct film_names *n, const char *name)
{
	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->all[i].name, name) == 0) {
			int node = n->all[i].node;
			n->all[i] = n->all[--n->count];
			return node;
		}
	return -1;
}

static const char *
keep_name(struct film *f, const char *name)
{
	f->texts =
	    grow(f->texts, f->text_count, &f->text_capacity, sizeof *f->texts);
	f->texts[f->text_count] = strdup(name);
	if (f->texts[f->text_count] == NULL)
		abort();
	return f->texts[f->text_count++];
}

static int
make_node(struct film *f, int is_dir, int parent, const char *name)
{
	struct film_node *n;

	f->nodes =
	    grow(f->nodes, f->node_count, &f->node_capacity, sizeof *f->nodes);
	n = &f->nodes[f->node_count];
	*n = (struct film_node){.is_dir = is_dir};
	n->in_log = parent >= 0 &&
		    (f->nodes[parent].in_log || strcmp(name, "commitlog") == 0);
	/* Those of the broker's own topics are looked at in every start. */
	n->in_queues =
	    parent >= 0 && (strcmp(name, "consumequeue") == 0 ||
			       (f->nodes[parent].in_queues &&
				   strncmp(name, "rmq_sys", 7) != 0));
	return (int)f->node_count++;
}

static struct film_event *
add(struct film *f, enum film_kind kind, int node)
{
	f->events = grow(
	    f->events, f->event_count, &f->event_capacity, sizeof *f->events);
	struct film_event *e = &f->events[f->event_count++];
	*e = (struct film_event){.kind = kind, .node = node};
	return e;
}

/* --- paths --------------------------------------------------------------- */

/* The directory's node, and the last part of path; -1: not ours. */
static int
resolve(int dir, const char *path, char last[NAME_MAX + 1])
{
	char whole[2 * PATH_MAX], self[64];
	struct film *f = now;
	size_t root = strlen(f->root), n = 0;
	char *save = NULL, *next;
	int at = 0;

	if (path[0] != '/') {
		snprintf(self, sizeof self, "/proc/self/fd/%d", dir);
		ssize_t got = readlink(self, whole, PATH_MAX);
		if (got <= 0)
			return -1;
		n = (size_t)got;
		whole[n++] = '/';
	}
	snprintf(whole + n, sizeof whole - n, "%s", path);
	if (strncmp(whole, f->root, root) != 0 ||
	    (whole[root] != '/' && whole[root] != 0))
		return -1;
	strcpy(last, ".");
	for (char *part = strtok_r(whole + root, "/", &save); part != NULL;
	     part = next) {
		next = strtok_r(NULL, "/", &save);
		if (strcmp(part, ".") == 0)
			continue;
		if (strcmp(last, ".") != 0) {
			at = film_names_find(&f->nodes[at].live, last);
			if (at < 0 || !f->nodes[at].is_dir)
				return -1;
		}
		snprintf(last, NAME_MAX + 1, "%s", part);
	}
	return at;
}

/* Node of a descriptor; -1: none of ours. */
static int
node_of(int fd)
{
	char last[NAME_MAX + 1];
	struct stat st;

	if (fd >= 0 && fd < FDS && fds[fd] > 0)
		return fds[fd] - 1;
	if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return -1;
	int dir = resolve(fd, ".", last);
	if (dir < 0 || strcmp(last, ".") == 0)
		return dir;
	return film_names_find(&now->nodes[dir].live, last);
}

/* --- the door --------------------------------------------------------------
 */

static int
f_openat(int dir, const char *path, int flags, mode_t mode)
{
	char last[NAME_MAX + 1];

	pthread_mutex_lock(&lock);
	int fd = below.openat(dir, path, flags, mode);
	int saved = errno;
	if (fd >= 0 && fd < FDS)
		fds[fd] = 0;
	int at = fd >= 0 && fd < FDS && !(flags & O_DIRECTORY)
		     ? resolve(dir, path, last)
		     : -1;
	if (at >= 0) {
		int node = film_names_find(&now->nodes[at].live, last);
		if (node < 0) {
			node = make_node(now, 0, at, last);
			const char *name = keep_name(now, last);
			film_names_put(&now->nodes[at].live, name, node);
			struct film_event *e = add(now, FILM_CREATE, node);
			e->dir = at;
			e->name = name;
		} else if ((flags & O_TRUNC) && now->nodes[node].size > 0) {
			now->nodes[node].size = 0;
			add(now, FILM_SIZE, node);
		}
		fds[fd] = node + 1;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return fd;
}

static int
f_close(int fd)
{
	pthread_mutex_lock(&lock);
	if (fd >= 0 && fd < FDS)
		fds[fd] = 0;
	int rc = below.close(fd);
	pthread_mutex_unlock(&lock);
	return rc;
}

static int
is_zero(const uint8_t *p, size_t bytes)
{
	return bytes > 0 && p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

static ssize_t
f_pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	pthread_mutex_lock(&lock);
	ssize_t n = below.pwrite(fd, buf, bytes, at);
	int saved = errno;
	int node = n > 0 ? node_of(fd) : -1;
	if (node >= 0) {
		struct film_event *e = add(now, FILM_WRITE, node);
		e->at = (uint64_t)at;
		e->bytes = (uint64_t)n;
		if (!is_zero(buf, (size_t)n)) {
			e->data = malloc((size_t)n);
			if (e->data == NULL)
				abort();
			memcpy(e->data, buf, (size_t)n);
		}
		if (e->at + e->bytes > now->nodes[node].size)
			now->nodes[node].size = e->at + e->bytes;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return n;
}

static void
failed(int node)
{
	struct film_failure f = {.is_there = 1, .by = pthread_self()};

	now->failure = f;
	if (node >= 0)
		now->nodes[node].failure = f;
}

static int
sync_by(int (*call)(int fd), int fd, int is_all)
{
	struct timespec turn = {.tv_nsec = 20000};

	pthread_mutex_lock(&lock);
	int node = is_all ? -1 : node_of(fd);
	size_t begin = now->event_count;
	/* Other threads may be on their way when one has failed: what they
	 * promise then is judged by what a power cut leaves. */
	struct film_failure *had = is_all      ? &now->failure
				   : node >= 0 ? &now->nodes[node].failure
					       : NULL;
	if (had != NULL && had->is_there &&
	    pthread_equal(had->by, pthread_self()))
		now->resyncs++;
	pthread_mutex_unlock(&lock);
	nanosleep(&turn, NULL); /* a disk takes its time: others go on */
	int rc = call(fd);
	int saved = errno;
	pthread_mutex_lock(&lock);
	if (is_all || node >= 0) {
		struct film_event *e =
		    add(now, is_all ? FILM_SYNC_ALL : FILM_SYNC, node);
		e->begin = begin;
		e->failed = rc != 0;
		if (rc != 0)
			failed(node);
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static int
f_fdatasync(int fd)
{
	return sync_by(below.fdatasync, fd, 0);
}

static int
f_fsync(int fd)
{
	return sync_by(below.fsync, fd, 0);
}

static int
f_syncfs(int fd)
{
	/* The directory is meant, not the machine's disk. */
	return sync_by(below.fsync == fsync ? fsync : below.syncfs, fd, 1);
}

static int
f_ftruncate(int fd, off_t bytes)
{
	pthread_mutex_lock(&lock);
	int rc = below.ftruncate(fd, bytes);
	int saved = errno;
	int node = rc == 0 ? node_of(fd) : -1;
	if (node >= 0) {
		add(now, FILM_SIZE, node)->at = (uint64_t)bytes;
		now->nodes[node].size = (uint64_t)bytes;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static int
f_fallocate(int fd, int mode, off_t at, off_t bytes)
{
	pthread_mutex_lock(&lock);
	int rc = below.fallocate(fd, mode, at, bytes);
	int saved = errno;
	int node = rc == 0 ? node_of(fd) : -1;
	if (node >= 0 && (mode & FALLOC_FL_PUNCH_HOLE)) {
		struct film_event *e = add(now, FILM_WRITE, node);
		e->at = (uint64_t)at;
		e->bytes = (uint64_t)bytes;
		e->is_punch = 1;
	} else if (node >= 0 && (mode & FALLOC_FL_KEEP_SIZE) == 0 &&
		   (uint64_t)(at + bytes) > now->nodes[node].size) {
		now->nodes[node].size = (uint64_t)(at + bytes);
		add(now, FILM_SIZE, node)->at = now->nodes[node].size;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static int
f_renameat(int dir, const char *from, int to_dir, const char *to)
{
	char last[NAME_MAX + 1], to_last[NAME_MAX + 1];

	pthread_mutex_lock(&lock);
	int at = resolve(dir, from, last), to_at = resolve(to_dir, to, to_last);
	int rc = below.renameat(dir, from, to_dir, to);
	int saved = errno;
	if (rc == 0 && at >= 0) {
		if (to_at != at)
			abort(); /* the model has no such thing */
		int node = film_names_drop(&now->nodes[at].live, last);
		const char *name = keep_name(now, last);
		const char *to_name = keep_name(now, to_last);
		film_names_put(&now->nodes[at].live, to_name, node);
		struct film_event *e = add(now, FILM_RENAME, node);
		e->dir = at;
		e->name = name;
		e->to = to_name;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static int
f_unlinkat(int dir, const char *path, int flags)
{
	char last[NAME_MAX + 1];

	pthread_mutex_lock(&lock);
	int at = resolve(dir, path, last);
	int rc = below.unlinkat(dir, path, flags);
	int saved = errno;
	if (rc == 0 && at >= 0) {
		int node = film_names_drop(&now->nodes[at].live, last);
		const char *name = keep_name(now, last);
		struct film_event *e = add(now, FILM_UNLINK, node);
		e->dir = at;
		e->name = name;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

static int
f_mkdirat(int dir, const char *path, mode_t mode)
{
	char last[NAME_MAX + 1];

	pthread_mutex_lock(&lock);
	int at = resolve(dir, path, last);
	int rc = below.mkdirat(dir, path, mode);
	int saved = errno;
	if (rc == 0 && at >= 0) {
		int node = make_node(now, 1, at, last);
		const char *name = keep_name(now, last);
		film_names_put(&now->nodes[at].live, name, node);
		struct film_event *e = add(now, FILM_CREATE, node);
		e->dir = at;
		e->name = name;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

/* --- the film ---------------------------------------------------------------
 */

/* What a file holds is as if written and synced before the beginning. */
static void
load_file(struct film *f, int node, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t at = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		abort();
	f->nodes[node].size = (uint64_t)st.st_size;
	add(f, FILM_SIZE, node)->at = (uint64_t)st.st_size;
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);
		struct film_event *e = add(f, FILM_WRITE, node);
		e->at = (uint64_t)at;
		e->bytes = (uint64_t)(end - at);
		e->data = malloc(e->bytes);
		if (e->data == NULL ||
		    pread(fd, e->data, e->bytes, at) != end - at)
			abort();
		at = end;
	}
	close(fd);
}

static void
load(struct film *f, int dir, const char *path)
{
	char below_path[PATH_MAX];
	struct stat st;
	DIR *d = opendir(path);

	if (d == NULL)
		abort();
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(
		    below_path, sizeof below_path, "%s/%s", path, e->d_name);
		if (stat(below_path, &st) != 0)
			abort();
		int node = make_node(f, S_ISDIR(st.st_mode), dir, e->d_name);
		const char *name = keep_name(f, e->d_name);
		film_names_put(&f->nodes[dir].live, name, node);
		struct film_event *made = add(f, FILM_CREATE, node);
		made->dir = dir;
		made->name = name;
		if (S_ISDIR(st.st_mode))
			load(f, node, below_path);
		else
			load_file(f, node, below_path);
	}
	closedir(d);
}

struct film *
film_start(const char *root)
{
	struct film *f = calloc(1, sizeof *f);

	if (f == NULL || now != NULL || realpath(root, f->root) == NULL) {
		free(f);
		return NULL;
	}
	make_node(f, 1, -1, "");
	load(f, 0, f->root);
	f->loaded = f->event_count;
	add(f, FILM_SYNC_ALL, -1)->begin = f->loaded;
	memset(fds, 0, sizeof fds);
	now = f;
	below = lt_sys;
	lt_sys.openat = f_openat;
	lt_sys.close = f_close;
	lt_sys.pwrite = f_pwrite;
	lt_sys.fdatasync = f_fdatasync;
	lt_sys.fsync = f_fsync;
	lt_sys.syncfs = f_syncfs;
	lt_sys.ftruncate = f_ftruncate;
	lt_sys.fallocate = f_fallocate;
	lt_sys.renameat = f_renameat;
	lt_sys.unlinkat = f_unlinkat;
	lt_sys.mkdirat = f_mkdirat;
	return f;
}

void
film_stop(struct film *f)
{
	if (now != f)
		return;
	lt_sys = below;
	now = NULL;
}

void
film_free(struct film *f)
{
	for (size_t i = 0; i < f->event_count; i++)
		free(f->events[i].data);
	for (size_t i = 0; i < f->node_count; i++)
		free(f->nodes[i].live.all);
	for (size_t i = 0; i < f->text_count; i++)
		free(f->texts[i]);
	free(f->texts);
	free(f->events);
	free(f->nodes);
	free(f);
}

size_t
film_now(struct film *f)
{
	pthread_mutex_lock(&lock);
	size_t n = f->event_count;
	pthread_mutex_unlock(&lock);
	return n;
}

size_t
film_resyncs(const struct film *f)
{
	return f->resyncs;
}

size_t
film_renames(const struct film *f, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < f->event_count; i++)
		n += f->events[i].kind == FILM_RENAME &&
		     strcmp(f->events[i].name, name) == 0;
	return n;
}
