/*
 * film.h - a run recorded through lt_sys, and what a power cut may leave of it.
 *
 * The model of the disk, weaker than any file system that is in use:
 *   - What a write (zeroes punched are one) put into a sector of 512 bytes is
 *     safe once an fdatasync or fsync of the file that began later has
 *     returned. Before that each sector holds what any of the writes since
 *     left in it, or none, whatever became of other sectors and files.
 *   - The same for a file's size, apart from its bytes.
 *   - Names made, changed and removed in one directory come in order; how many
 *     of them are there is known only up to an fsync of that directory.
 *     Directories know nothing of each other, nor does a file's fsync save its
 *     name.
 *   - syncfs makes all safe that was before it.
 *   - After a failed sync what it was to save is never safe: the kernel takes
 *     such pages for clean, and a later sync does not mean them.
 */
#ifndef LT_TESTS_FILM_H
#define LT_TESTS_FILM_H

#include <stddef.h>
#include <stdint.h>

struct film;
struct film_stage;

/* What the disk may do against the rules: for tests of the tests. */
enum film_lie {
	FILM_HONEST,
	FILM_LOG_SYNC, /* fdatasync in commitlog/ does nothing */
	FILM_DIR_SYNC, /* fsync of a directory does nothing */
	FILM_QUEUE_SYNC, /* no file of a user's queue is ever safe */
	FILM_ZEROES /* zeroes written into commitlog/ never arrive */
};

/* Record everything below root, an absolute path; what is there already is
 * safe. Calls go on to what lt_sys had before. Any thread may call through it;
 * NULL: no memory or no such directory. */
struct film *film_start(const char *root);
/* lt_sys is what it was; the film stays. No other thread calls now. */
void film_stop(struct film *f);
void film_free(struct film *f);
/* Events so far: the place to cut at. */
size_t film_now(struct film *f);
/* A sync was called for a file, or the file system, again after it had failed.
 */
size_t film_resyncs(const struct film *f);
/* Renames from this name (its last part) so far. */
size_t film_renames(const struct film *f, const char *name);

/* The disk at a cut; cuts may only be later and later. */
struct film_stage *film_stage_make(struct film *f, enum film_lie lie);
void film_stage_free(struct film_stage *s);
void film_stage_advance(struct film_stage *s, size_t cut);
/* Write what a power cut may leave into an existing, empty directory: the seed
 * decides. 0, or -1. */
int film_stage_build(const struct film_stage *s, uint64_t seed, const char *to);

/* The next of a sequence of random numbers. */
uint64_t film_random(uint64_t *state);
/* An empty directory in memory if there is such a file system, else below
 * $TMPDIR. 0, or -1. */
int film_scratch(char *path_out, size_t path_bytes);

#endif
