/*
 * supervisor.h - what the files of leatd share. Private to this room. One
 * thread, one poll loop (watch.c); nothing blocks but start-up.
 */
#ifndef LT_SUPERVISOR_SUPERVISOR_H
#define LT_SUPERVISOR_SUPERVISOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/fdpass.h"
#include "base/hash.h"
#include "base/secret.h"
#include "proto/options.h"
#include "proto/wire.h"
#include "shm/counter.h"
#include "shm/segment.h"
#include "supervisor/sandbox.h"

#define LT_KEEP_MAX 262144 /* entries; more are refused and logged */
#define LT_RESTART_MAX_MS 5000

/* --- keep.c: what children gave us so that it outlives them --- */

struct lt_kept {
	TAILQ_ENTRY(lt_kept) link;
	unsigned refs; /* the table, and every post that waits to send it */
	size_t fd_count;
	int fds[LT_FDPASS_MAX];
	struct lt_wire_keep msg; /* op SUP_KEPT */
};

struct lt_keep_table {
	TAILQ_HEAD(lt_kept_list, lt_kept) list; /* oldest first */
	struct lt_hash map; /* kind, id -> entry */
};

void lt_keep_init(struct lt_keep_table *t);
void lt_keep_fini(struct lt_keep_table *t);
/* Add or replace. Takes the descriptors, also on failure.
 * LEAT_OK, INVALID (kind, blob), LIMIT, NOMEM. */
int lt_keep_put(struct lt_keep_table *t, const struct lt_wire_keep *msg,
    const int *fds, size_t fd_count) LT_MUST_CHECK;
void lt_keep_drop(struct lt_keep_table *t, uint32_t kind, uint64_t id);
struct lt_kept *lt_keep_find(
    const struct lt_keep_table *t, uint32_t kind, uint64_t id);
/* Drop one reference; the last closes the descriptors. */
void lt_keep_unref(struct lt_kept *k);

/* --- post.c: messages to a child, in order, never blocking --- */

struct lt_post {
	STAILQ_ENTRY(lt_post) link;
	struct lt_kept *kept; /* or NULL, then own bytes and fds */
	size_t fd_count;
	int fds[LT_FDPASS_MAX];
	size_t bytes;
	uint8_t data[];
};

struct lt_postbox {
	int sock; /* -1: closed */
	STAILQ_HEAD(lt_post_list, lt_post) waiting;
};

void lt_post_init(struct lt_postbox *box);
/* Forget what waits and close the socket. */
void lt_post_close(struct lt_postbox *box);
/* Send, or queue with duplicates of the descriptors (borrowed). LEAT_OK, also
 * when the child is gone: its death is seen elsewhere. NOMEM, IO. */
int lt_post_send(struct lt_postbox *box, const void *msg, size_t bytes,
    const int *fds, size_t fd_count) LT_MUST_CHECK;
/* Queue every kept entry, as it is now. */
int lt_post_replay(
    struct lt_postbox *box, const struct lt_keep_table *t) LT_MUST_CHECK;
/* Send what waits until the socket is full. */
void lt_post_flush(struct lt_postbox *box);
int lt_post_waits(const struct lt_postbox *box);

/* --- home.c: the directory and what is in it --- */

struct lt_home {
	int dir_fd;
	int lock_fd;
	int listener;
	char dir[200]; /* absolute */
	char socket[108]; /* absolute, or as configured */
	char key[LT_SECRET_TEXT]; /* the broker's public key */
};

/* Each: 0, or -1 after one error line on standard error that names the fix. */
int lt_home_make(struct lt_home *h, const struct lt_options *o) LT_MUST_CHECK;
int lt_home_drop_root(
    struct lt_home *h, const struct lt_options *o) LT_MUST_CHECK;
int lt_home_lock(struct lt_home *h) LT_MUST_CHECK;
int lt_home_secret(struct lt_home *h) LT_MUST_CHECK;
int lt_home_key(struct lt_home *h) LT_MUST_CHECK;
int lt_home_listen(struct lt_home *h, const struct lt_options *o) LT_MUST_CHECK;
void lt_home_leave(struct lt_home *h);

/* --- spawn.c: fork, pass, exec --- */

struct lt_child {
	enum lt_proc proc;
	const char *name;
	char letter;
	pid_t pid; /* 0: down */
	struct lt_postbox box;
	int peer; /* the end it gets at its next start, -1: a new pair */
	uint64_t generation;
	uint64_t started_ms; /* monotonic */
	uint64_t restart_ms; /* monotonic, 0: not planned */
	uint64_t kill_ms; /* monotonic, 0: not planned */
	unsigned quick_deaths;
	int wanted; /* by the settings */
	int ready;
	int stop_sent;
};

enum lt_sup_phase {
	LT_SUP_RUN,
	LT_SUP_STOP,
	LT_SUP_DONE
};

struct lt_sup {
	struct lt_options loaded; /* as configured */
	struct lt_options options; /* and in force: real paths */
	char config[256]; /* "": none */
	char dir_override[200];
	struct lt_home home;
	char libexec[4096]; /* where the binaries are */
	uint64_t boot;
	struct lt_segment counters;
	int counter_fd;
	int signal_fd;
	struct lt_keep_table kept;
	struct lt_child child[LT_PROC_COUNT];
	enum lt_sup_phase phase;
	int announced; /* the ready line was printed */
	int failed; /* exit status 1 */
	int has_listener; /* somebody hears lt_notify_send */
	uint64_t tick_ms; /* next progress note */
};

/* What the supervisor counts of each process. */
struct lt_child_stats {
	enum lt_counter pid, started_ms, restarts;
};
extern const struct lt_child_stats lt_spawn_stats[LT_PROC_COUNT];
/* Where leat-store is. 0, or -1 after an error line. */
int lt_spawn_find(struct lt_sup *s) LT_MUST_CHECK;
/* Start a child and queue KEPT*, START; the other gets PEER. 0 or -1. */
int lt_spawn_child(struct lt_sup *s, struct lt_child *c) LT_MUST_CHECK;
/* Have leat-gateway look up the hosts and read the files of the settings that
 * were loaded, and wait for it. -1: it has printed why not. */
int lt_spawn_check(struct lt_sup *s) LT_MUST_CHECK;

/* --- watch.c --- */

/* Pause before restart number `quick_deaths` + 1 in a row of quick deaths. */
uint64_t lt_watch_pause_ms(uint64_t first_ms, unsigned quick_deaths);
/* Run until both children have stopped. Exit status of leatd. */
int lt_watch_run(struct lt_sup *s);

/* --- settings.c --- */

/* Read the configuration (again); the error is logged. 0 or -1. */
int lt_settings_load(
    const struct lt_sup *s, struct lt_options *o) LT_MUST_CHECK;

/* Put in force what is loaded. */
void lt_settings_use(struct lt_sup *s);

#endif
