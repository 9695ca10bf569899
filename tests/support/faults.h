/*
 * faults.h - for tests of what writes files: the kernel's answers turned bad
 * at a chosen call through lt_sys, a scratch directory, and records to log.
 */
#ifndef LT_TESTS_FAULTS_H
#define LT_TESTS_FAULTS_H

#include <stddef.h>
#include <stdint.h>

enum fault {
	FAULT_NONE,
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_EDQUOT,
	FAULT_EINTR,
	FAULT_SHORT /* reads and writes do half; other calls succeed */
};

/* Route lt_sys through here; counts start at 0. */
void faults_install(void);
/* The kernel's own calls again. */
void faults_remove(void);
/* Of the calls that this fault can befall (ENOSPC: those that need space) the
 * at-th from now fails (1: the next); with `lasting` all after it too. */
void faults_arm(enum fault what, unsigned long at, int lasting);
/* 1 if the armed fault has struck. */
int faults_struck(void);

/* How often each of these was called since faults_install. */
struct faults_seen {
	unsigned long openat, pwrite, fdatasync, fsync, syncfs, fallocate;
};
struct faults_seen faults_seen(void);

/* An empty directory below $TMPDIR, and its descriptor. */
int faults_scratch(char *path_out, size_t path_bytes);
void faults_remove_tree(const char *path);

/* A sealed record at log_offset into dst; returns its size. keys may be NULL.
 */
size_t faults_record(void *dst, size_t cap, const char *topic, uint32_t queue,
    uint64_t queue_offset, uint64_t log_offset, int64_t store_ms,
    const char *keys, size_t body_bytes, uint64_t seq);

#endif
