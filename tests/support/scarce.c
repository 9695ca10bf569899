/* scarce.c - see scarce.h. */
#include "config.h"
#include "tests/support/scarce.h"

#include <stddef.h>

long scarce_at, scarce_count;

void *__real_lt_mem_alloc(size_t bytes);
void *__real_lt_mem_array(size_t count, size_t bytes);
void *__real_lt_mem_resize(void *p, size_t bytes);
void *__wrap_lt_mem_alloc(size_t bytes);
void *__wrap_lt_mem_array(size_t count, size_t bytes);
void *__wrap_lt_mem_resize(void *p, size_t bytes);

void *
__wrap_lt_mem_alloc(size_t bytes)
{
	return ++scarce_count == scarce_at ? NULL : __real_lt_mem_alloc(bytes);
}

void *
__wrap_lt_mem_array(size_t count, size_t bytes)
{
	return ++scarce_count == scarce_at ? NULL
					   : __real_lt_mem_array(count, bytes);
}

void *
__wrap_lt_mem_resize(void *p, size_t bytes)
{
	return ++scarce_count == scarce_at ? NULL
					   : __real_lt_mem_resize(p, bytes);
}
