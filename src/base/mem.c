/*
 * mem.c - the only caller of malloc and friends. Which allocator answers is
 * decided by what the program is linked with.
 */
#include "config.h"
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leat/status.h"

/* jemalloc's control call: there only if jemalloc is linked in. */
int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp,
    size_t newlen) __attribute__((weak));

void *
lt_mem_alloc(size_t bytes)
{
	return calloc(1, bytes == 0 ? 1 : bytes);
}

void *
lt_mem_array(size_t count, size_t bytes)
{
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all))
		return NULL;
	return lt_mem_alloc(all);
}

void *
lt_mem_resize(void *p, size_t bytes)
{
	return realloc(p, bytes == 0 ? 1 : bytes);
}

char *
lt_mem_strdup(const char *text)
{
	return strdup(text);
}

void *
lt_mem_aligned(size_t align, size_t bytes)
{
	LT_ASSERT(align > 0 && (align & (align - 1)) == 0);
	if (bytes > SIZE_MAX - align)
		return NULL;
	size_t rounded = (bytes + align - 1) & ~(align - 1);
	if (rounded == 0)
		rounded = align;
	void *p = aligned_alloc(align, rounded);
	if (p != NULL)
		memset(p, 0, rounded);
	return p;
}

void
lt_mem_free(void *p)
{
	free(p);
}

void
lt_mem_trim(void)
{
	/* 4096 is jemalloc's number for all arenas. */
	if (mallctl != NULL)
		(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
	else
		(void)malloc_trim(0);
}

int
lt_mem_is_jemalloc(void)
{
	return mallctl != NULL;
}

int
lt_mem_grow(void **items, size_t *capacity, size_t used, size_t item_bytes)
{
	LT_ASSERT(used <= *capacity);
	if (used < *capacity)
		return LEAT_OK;
	size_t more = *capacity < 8 ? 8 : *capacity;
	size_t bytes;
	if (__builtin_mul_overflow(*capacity + more, item_bytes, &bytes))
		return LEAT_E_NOMEM;
	char *p = realloc(*items, bytes);
	if (p == NULL)
		return LEAT_E_NOMEM;
	memset(p + *capacity * item_bytes, 0, more * item_bytes);
	*items = p;
	*capacity += more;
	return LEAT_OK;
}
