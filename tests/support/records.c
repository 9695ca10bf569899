/*
 * records.c - cut a file at its blank lines. The bodies stay in the mapping, so
 * what is consumed can be compared with the file itself.
 */
#include "config.h"
#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <leat/status.h>
#include "base/hash.h"
#include "base/mem.h"

static int
complain(const char *what, const char *why)
{
	fprintf(stderr, "records: %s: %s\n", what, why);
	return -1;
}

uint64_t
records_hash(uint32_t index, const void *body, size_t bytes)
{
	uint64_t h = lt_hash_bytes(body, bytes) ^ index * 0x9E3779B97F4A7C15ull;
	return h != 0 ? h : 1;
}

static void
read_key(struct record *r)
{
	static const char field[] = "Package:";
	const char *line = r->at, *end = r->at + r->bytes;
	snprintf(r->key, sizeof r->key, "none");
	while (line < end) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		stop = stop != NULL ? stop : end;
		if ((size_t)(stop - line) > sizeof field &&
		    memcmp(line, field, sizeof field - 1) == 0) {
			const char *value = line + sizeof field - 1;
			while (value < stop && *value == ' ')
				value++;
			int n = (int)(stop - value);
			snprintf(r->key, sizeof r->key, "%.*s", n, value);
			return;
		}
		line = stop + 1;
	}
}

static int
add_record(struct records *all, size_t *capacity, struct lt_hash *keys,
    const char *at, size_t bytes)
{
	if (lt_mem_grow((void **)&all->items, capacity, all->count,
		sizeof *all->items) != LEAT_OK)
		return complain("memory", "none left");
	struct record *r = &all->items[all->count];
	r->at = at;
	r->bytes = (uint32_t)bytes;
	read_key(r);
	/* Values are index + 1, since NULL means absent. */
	uintptr_t before = (uintptr_t)lt_hash_get(keys, r->key, strlen(r->key));
	r->before = before != 0 ? (uint32_t)before - 1 : RECORDS_NONE;
	if (lt_hash_put(keys, r->key, strlen(r->key),
		(void *)(uintptr_t)(all->count + 1)) != LEAT_OK)
		return complain("memory", "none left");
	all->count++;
	all->bytes += bytes;
	return 0;
}

int
records_read(const char *path, uint32_t limit, struct records *all)
{
	struct stat st;
	struct lt_hash keys;
	size_t capacity = 0;
	errno = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		return complain(path, errno ? strerror(errno) : "empty");
	const char *at =
	    mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return complain(path, strerror(errno));
	const char *end = at + st.st_size;
	lt_hash_init(&keys);
	while (at < end && (limit == 0 || all->count < limit)) {
		while (at < end && *at == '\n')
			at++;
		const char *stop = memmem(at, (size_t)(end - at), "\n\n", 2);
		stop = stop != NULL ? stop + 1 : end;
		if (stop > at && add_record(all, &capacity, &keys, at,
				     (size_t)(stop - at)) != 0)
			return -1;
		at = stop;
	}
	lt_hash_fini(&keys);
	return all->count > 0 ? 0 : complain(path, "no records");
}
