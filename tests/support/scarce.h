/*
 * scarce.h - an allocator that fails once, at a chosen call. Programs that link
 * it wrap lt_mem_alloc, lt_mem_array and lt_mem_resize ($(SCARCE_WRAP)).
 */
#ifndef LT_TESTS_SCARCE_H
#define LT_TESTS_SCARCE_H

extern long scarce_at; /* this allocation fails; 0: none */
extern long scarce_count; /* so many were asked for */

#endif
