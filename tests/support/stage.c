/*
 * stage.c - a film played up to a cut: what is safe by then, what is not, and
 * directories made of the one and some of the other. See film.h for the rules.
 *
 * What became of the unsafe is decided by a line through time for each unit of
 * a file (a sector, a page, 64 KiB or the whole, as the image's seed says):
 * events below the line are there. So a sector that holds a later write also
 * holds the earlier ones.
 */
#include "config.h"
#include "film_inside.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define FILE_MAX (8u << 20)
#define SECTORS (FILE_MAX / SECTOR)

/* A file or directory as it is safe, and events that are not. */
struct copy {
	uint8_t *data;
	uint8_t *is_there; /* by sector: has been written to */
	uint64_t size;
	struct film_names names;
	size_t *unsafe;
	size_t count, capacity;
};

struct film_stage {
	struct film *film;
	enum film_lie lie;
	size_t cut;
	struct copy *copies; /* by node */
	uint8_t *is_lost; /* by event: a failed sync meant it */
};

/* One image. */
struct image {
	const struct film_stage *stage;
	uint64_t seed;
	uint64_t unit; /* bytes with one fate */
	int mood; /* 0 all unsafe is lost, 1 all is there, 2 any */
};

struct film_stage *
film_stage_make(struct film *f, enum film_lie lie)
{
	struct film_stage *s = calloc(1, sizeof *s);

	if (s == NULL)
		abort();
	s->film = f;
	s->lie = lie;
	s->copies = calloc(f->node_count, sizeof *s->copies);
	s->is_lost = calloc(f->event_count + 1, 1);
	if (s->copies == NULL || s->is_lost == NULL)
		abort();
	return s;
}

void
film_stage_free(struct film_stage *s)
{
	for (size_t i = 0; i < s->film->node_count; i++) {
		struct copy *c = &s->copies[i];
		if (c->data != NULL)
			munmap(c->data, FILE_MAX);
		free(c->is_there);
		free(c->names.all);
		free(c->unsafe);
	}
	free(s->copies);
	free(s->is_lost);
	free(s);
}

/* --- what is safe -------------------------------------------------------- */

static void
make_data(struct copy *c)
{
	if (c->data != NULL)
		return;
	c->data = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	c->is_there = calloc(SECTORS, 1);
	if (c->data == MAP_FAILED || c->is_there == NULL)
		abort();
}

static void
save_write(struct copy *c, const struct film_event *e)
{
	uint64_t end = e->at + e->bytes;

	if (end > FILE_MAX)
		abort();
	make_data(c);
	if (e->data != NULL)
		memcpy(c->data + e->at, e->data, e->bytes);
	for (uint64_t at = e->at; at < end;) {
		uint64_t s = at / SECTOR, n = (s + 1) * SECTOR - at;
		if (n > end - at)
			n = end - at;
		if (e->data != NULL)
			c->is_there[s] = 1;
		else if (c->is_there[s])
			memset(c->data + at, 0, n);
		at += n;
	}
	if (!e->is_punch && end > c->size)
		c->size = end;
}

static void
save_size(struct copy *c, uint64_t size)
{
	if (size < c->size && c->data != NULL) {
		memset(c->data + size, 0, c->size - size);
		for (uint64_t s = size / SECTOR + 1; s < SECTORS; s++)
			c->is_there[s] = 0;
	}
	c->size = size;
}

static void
change_names(struct film_names *names, const struct film_event *e)
{
	if (e->kind == FILM_CREATE) {
		film_names_put(names, e->name, e->node);
	} else {
		film_names_drop(names, e->name);
		if (e->kind == FILM_RENAME)
			film_names_put(names, e->to, e->node);
	}
}

/* Of a node's unsafe events those below begin are safe now; or never, if the
 * sync that was to do it failed. */
static void
save(struct film_stage *s, int node, const struct film_event *sync)
{
	struct copy *c = &s->copies[node];
	size_t left = 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct film_event *e = &s->film->events[c->unsafe[i]];
		if (c->unsafe[i] < sync->begin && sync->failed)
			s->is_lost[c->unsafe[i]] = 1;
		if (c->unsafe[i] >= sync->begin || s->is_lost[c->unsafe[i]])
			c->unsafe[left++] = c->unsafe[i];
		else if (e->kind == FILM_WRITE)
			save_write(c, e);
		else if (e->kind == FILM_SIZE)
			save_size(c, e->at);
		else
			change_names(&c->names, e);
	}
	c->count = left;
}

static int
is_deaf(const struct film_stage *s, int node)
{
	const struct film_node *n = &s->film->nodes[node];

	switch (s->lie) {
	case FILM_LOG_SYNC:
		return n->in_log && !n->is_dir;
	case FILM_DIR_SYNC:
		return n->is_dir;
	case FILM_QUEUE_SYNC:
		return n->in_queues && !n->is_dir;
	default:
		return 0;
	}
}

static void
note(struct film_stage *s, size_t index)
{
	const struct film_event *e = &s->film->events[index];
	struct copy *c = &s->copies[e->kind <= FILM_UNLINK ? e->dir : e->node];

	if (s->lie == FILM_ZEROES && s->film->nodes[e->node].in_log &&
	    e->kind == FILM_WRITE && e->data == NULL)
		return;
	if (c->count == c->capacity) {
		c->capacity = c->capacity == 0 ? 16 : 2 * c->capacity;
		c->unsafe = realloc(c->unsafe, c->capacity * sizeof(size_t));
		if (c->unsafe == NULL)
			abort();
	}
	c->unsafe[c->count++] = index;
}

void
film_stage_advance(struct film_stage *s, size_t cut)
{
	for (; s->cut < cut; s->cut++) {
		const struct film_event *e = &s->film->events[s->cut];
		if (e->kind == FILM_SYNC_ALL)
			for (size_t i = 0; i < s->film->node_count; i++) {
				if (s->cut == s->film->loaded ||
				    !is_deaf(s, (int)i))
					save(s, (int)i, e);
			}
		else if (e->kind != FILM_SYNC)
			note(s, s->cut);
		else if (!is_deaf(s, e->node))
			save(s, e->node, e);
	}
}

/* --- an image --------------------------------------------------------------
 */

/* Events of this file below the line count for this unit. */
static size_t
line(const struct image *m, const struct copy *c, int node, uint64_t unit)
{
	uint64_t x = m->seed ^ (uint64_t)node << 40 ^ unit;
	uint64_t r = film_random(&x);

	if (m->mood < 2)
		return m->mood == 0 ? 0 : SIZE_MAX;
	if (r % 4 == 0)
		return 0;
	if (r % 4 == 1)
		return SIZE_MAX;
	return c->unsafe[film_random(&x) % c->count] + (r & 4 ? 1 : 0);
}

static int
put(int fd, const uint8_t *data, uint64_t from, uint64_t to)
{
	static const uint8_t zeroes[65536];

	while (from < to) {
		uint64_t n = to - from;
		if (data == NULL && n > sizeof zeroes)
			n = sizeof zeroes;
		ssize_t got =
		    pwrite(fd, data == NULL ? zeroes : data, n, (off_t)from);
		if (got <= 0)
			return -1;
		from += (uint64_t)got;
		data = data == NULL ? NULL : data + got;
	}
	return 0;
}

/* The units of one unsafe write that are there. */
static int
put_write(
    const struct image *m, const struct copy *c, int node, size_t index, int fd)
{
	const struct film_event *e = &m->stage->film->events[index];
	uint64_t end = e->at + e->bytes;
	int rc = 0;

	for (uint64_t at = e->at; rc == 0 && at < end;) {
		uint64_t unit = at / m->unit, to = (unit + 1) * m->unit;
		if (to > end)
			to = end;
		if (index < line(m, c, node, unit))
			rc = put(fd,
			    e->data == NULL ? NULL : e->data + (at - e->at), at,
			    to);
		at = to;
	}
	return rc;
}

static int
build_file(const struct image *m, int node, int fd)
{
	const struct copy *c = &m->stage->copies[node];
	const struct film_event *events = m->stage->film->events;
	uint64_t size = c->size, sectors = c->data == NULL ? 0 : SECTORS;
	size_t size_line = c->count == 0 ? 0 : line(m, c, node, UINT64_MAX);
	int rc = 0;

	for (uint64_t s = 0; rc == 0 && s < sectors; s++) {
		uint64_t from = s;
		while (s < sectors && c->is_there[s])
			s++;
		if (s > from)
			rc = put(fd, c->data + from * SECTOR, from * SECTOR,
			    s * SECTOR);
	}
	for (size_t i = 0; rc == 0 && i < c->count; i++) {
		const struct film_event *e = &events[c->unsafe[i]];
		int counts = c->unsafe[i] < size_line;
		if (e->kind == FILM_SIZE) {
			size = counts ? e->at : size;
			continue;
		}
		rc = put_write(m, c, node, c->unsafe[i], fd);
		if (counts && !e->is_punch && e->at + e->bytes > size)
			size = e->at + e->bytes;
	}
	return rc == 0 ? ftruncate(fd, (off_t)size) : rc;
}

static int
build_dir(const struct image *m, int node, int dir)
{
	const struct copy *c = &m->stage->copies[node];
	struct film_names names = {0};
	size_t until = c->count == 0 ? 0 : line(m, c, node, 0);
	int rc = 0;

	for (size_t i = 0; i < c->names.count; i++)
		film_names_put(
		    &names, c->names.all[i].name, c->names.all[i].node);
	for (size_t i = 0; i < c->count && c->unsafe[i] < until; i++)
		change_names(&names, &m->stage->film->events[c->unsafe[i]]);
	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		int below = names.all[i].node, fd;
		if (m->stage->film->nodes[below].is_dir) {
			rc = mkdirat(dir, names.all[i].name, 0750);
			fd = openat(dir, names.all[i].name,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			rc = fd < 0 ? -1 : build_dir(m, below, fd);
		} else {
			fd = openat(dir, names.all[i].name,
			    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
			rc = fd < 0 ? -1 : build_file(m, below, fd);
		}
		if (fd >= 0)
			close(fd);
	}
	free(names.all);
	return rc;
}

int
film_stage_build(const struct film_stage *s, uint64_t seed, const char *to)
{
	static const uint64_t units[] = {512, 512, 512, 4096, 65536, 1u << 30};
	struct image m = {.stage = s};
	uint64_t r = film_random(&seed);
	int fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	m.seed = film_random(&seed);
	m.unit = units[r % 6];
	m.mood = r >> 8 & 7;
	int rc = build_dir(&m, 0, fd);
	close(fd);
	return rc;
}
