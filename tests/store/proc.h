/*
 * proc.h - a real leat-store process and everybody it talks to, played by the
 * test: supervisor and queue manager (world), clients (publishers), and the
 * judge who reads the log afterwards.
 */
#ifndef LT_TESTS_STORE_PROC_H
#define LT_TESTS_STORE_PROC_H

#include <sys/types.h>
#include "rig.h"

#define CLIENTS 3
#define PATIENCE_MS 20000
#define LANE 131072
#define RING 65536
#define SEQS 4000000

struct world {
	char dir[64];
	int dir_fd;
	struct lt_options options;
	pid_t pid;
	int control;
	int peer;
	int counters;
	int state; /* kept; -1 */
	uint64_t generation;
	struct lt_segment beacon_seg;
	const struct lt_beacon_shared *beacon;
	uint32_t topics_told; /* by E_TOPIC */
	int is_late; /* the supervisor says START to a store that waits */
	int is_kept_again; /* the store made its state anew */
};

struct publisher {
	struct rig_client c;
	uint64_t collected; /* receipts taken up to here */
	int64_t *places; /* by sequence: log offset */
	int ring;
	struct lt_segment ring_seg;
};

extern struct world world;
extern struct publisher publishers[CLIENTS];
extern uint8_t proc_msg[LT_WIRE_MAX]; /* received last */

void world_make(struct world *w);
void world_end(struct world *w);
/* Supervisor: start, with LEAT_FAILPOINT; wait for its end. */
void proc_spawn(struct world *w, const char *failpoint);
int proc_reap(struct world *w);
/* Orderly; must end with 0. */
void proc_stop(struct world *w);
/* Take the greeting and READY. 0: it died before. */
int proc_greet(struct world *w);
int proc_await_ready(struct world *w);
/* Queue manager: topics, sessions, rings, open. 0: it died meanwhile. */
int proc_introduce(struct world *w, int is_new_store);
void proc_send_fds(
    int sock, void *m, size_t bytes, const int *fds, size_t count);
/* ... which may find it dead. */
int proc_try_send(
    struct world *w, void *m, size_t bytes, const int *fds, size_t count);
/* Wait for the reply of this op, into proc_msg; 0: it died. */
int proc_await(struct world *w, unsigned op);
void publishers_make(void);
void publishers_free(void);
/* Write up to `most` messages; take receipts, each of them checked. */
uint32_t proc_push(const struct world *w, struct publisher *p, uint32_t most);
void proc_collect(struct publisher *p);
/* Publish until the store is dead (0) or ms are over (1). */
int proc_load(struct world *w, uint64_t ms, uint32_t most);
/* Wait, as a client does, until everything is answered. */
void proc_drain(struct world *w);
/* Walk the whole log: each message once, in order, where it was promised. */
void proc_judge(struct world *w);

#endif
