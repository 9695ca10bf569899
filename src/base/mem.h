/*
 * mem.h - the only door to the allocator (jemalloc in the broker's programs
 * unless configured --without-jemalloc; libleat and the tool use libc's).
 * None of these is called per message.
 */
#ifndef LT_BASE_MEM_H
#define LT_BASE_MEM_H

#include <stddef.h>
#include "base/check.h"

/* Zeroed; NULL when out of memory. Free with lt_mem_free. */
void *lt_mem_alloc(size_t bytes) LT_MUST_CHECK;
/* Array of count zeroed elements; NULL also on overflow. */
void *lt_mem_array(size_t count, size_t bytes) LT_MUST_CHECK;
/* Keep contents; new bytes are not zeroed. NULL leaves the old block alone. */
void *lt_mem_resize(void *p, size_t bytes) LT_MUST_CHECK;
char *lt_mem_strdup(const char *text) LT_MUST_CHECK;
/* Page-aligned, zeroed; freed with lt_mem_free. */
void *lt_mem_aligned(size_t align, size_t bytes) LT_MUST_CHECK;
void lt_mem_free(void *p);
/* Give the kernel back what is free. It may take milliseconds; allocators do it
 * by themselves only while they are used. */
void lt_mem_trim(void);
/* 1 if jemalloc serves this process. */
int lt_mem_is_jemalloc(void);

/* Growable array: make room for one more; 0 or LEAT_E_NOMEM. *items may move,
 * *capacity counts elements. New elements are zeroed. */
int lt_mem_grow(void **items, size_t *capacity, size_t used,
    size_t item_bytes) LT_MUST_CHECK;

#endif
