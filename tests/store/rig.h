/*
 * rig.h - what the store's tests stand on: a store without its process (rig),
 * and a client without its library (rig_client): lane, page, events, and a
 * hand that writes records.
 */
#ifndef LT_TESTS_STORE_RIG_H
#define LT_TESTS_STORE_RIG_H

#include "store/duty.h"

#define RIG_TOPIC 7 /* id */
#define RIG_NAME "orders"
#define RIG_LANE (1u << 20)

struct rig {
	struct lt_duty d;
	char dir[64];
	int peer; /* the queue manager's end */
};

struct rig_client {
	uint64_t id;
	int lane_fd;
	int page_fd;
	int store_event;
	int client_event;
	struct lt_segment lane;
	struct lt_segment page; /* read-only */
	struct lt_lane_writer writer;
	struct lt_lane_shared *shared;
	const struct lt_page_shared *shown;
	uint64_t entries;
	uint64_t seq;
};

/* A temporary directory; removed with everything in it. */
void rig_dir_make(char dir[64]);
void rig_dir_remove(const char *dir);

/* A store on this directory, recovered, with topic RIG_NAME (4 queues) and
 * draining. change: settings, may be NULL. */
void rig_start(
    struct rig *r, const char *dir, void (*change)(struct lt_options *o));
/* The same, for a disk that may fail: a status; rig_drop in any case. */
int rig_try_start(struct rig *r, const char *dir,
    void (*change)(struct lt_options *o)) LT_MUST_CHECK;
/* As if killed: nothing is flushed. */
void rig_drop(struct rig *r);
void rig_topic(struct rig *r, uint32_t id, const char *name, uint32_t queues,
    uint32_t perm);
/* Sweep and publish once. */
int rig_turn(struct rig *r);
/* Turns until the lanes are empty. */
void rig_turns(struct rig *r);
/* Next message the store sent to the queue manager: its op, 0: none. */
unsigned rig_said(struct rig *r, void *msg, size_t cap);

void rig_client_make(struct rig_client *c, uint64_t id, uint64_t lane_bytes);
/* A new page, as after the death of a store; the old one's fd is returned. */
int rig_client_new_page(struct rig_client *c, uint64_t lane_bytes);
void rig_client_free(struct rig_client *c);
/* Attach to a rig; may publish to RIG_TOPIC. */
void rig_attach(struct rig *r, struct rig_client *c, int old_page);
/* Write a record into the lane, visible. LEAT_OK or AGAIN. */
int rig_put(struct rig_client *c, uint32_t topic, const char *name,
    uint32_t queue, uint32_t level, const void *body, size_t bytes);
/* Completion of a sequence; fails the test if it is not there. */
struct lt_page_done rig_done(const struct rig_client *c, uint64_t seq);
int rig_ring_make(uint64_t bytes);

#endif
