/*
 * fulldisk.h - a disk that is full from the n-th allocation on, through lt_sys.
 *
 * An allocation is a call that needs blocks: a new name (open, mkdir, rename),
 * a file made longer, fallocate and pwrite where the file has no blocks yet.
 * A write into blocks that are there succeeds, as on a real disk; what is
 * deleted gives nothing back before fulldisk_free() is called.
 */
#ifndef LT_TESTS_FULLDISK_H
#define LT_TESTS_FULLDISK_H

/* Route lt_sys through here; counts begin at 0. dir: on the disk meant (what
 * lies elsewhere, memory above all, is never full). */
void fulldisk_install(const char *dir);
void fulldisk_remove(void);
/* The n-th allocation from now on fails (1: the next), and all after it. */
void fulldisk_arm(unsigned long n);
/* There is space again. */
void fulldisk_free(void);
/* Allocations since the disk was armed, and those that failed. */
unsigned long fulldisk_calls(void);
unsigned long fulldisk_refused(void);

#endif
