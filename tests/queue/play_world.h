/*
 * play_world.h - what the parts of the played world share: processes and their
 * sockets (play.c), the store (play_store.c), clients (play_client.c).
 */
#ifndef LT_TESTS_QUEUE_PLAY_WORLD_H
#define LT_TESTS_QUEUE_PLAY_WORLD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "play.h"
#include "proto/record.h"
#include "shm/ring.h"
#include "shm/segment.h"

#define RECORDS 32768
#define QUEUES 512
#define SESSIONS 64
#define KEPTS 256
#define TOPICS 512

struct play_record {
	uint8_t *data;
	uint32_t bytes;
	struct lt_record_view view;
	int damaged;
	uint32_t entry_bytes; /* what its queue entry says; 0: the truth */
};
struct play_queue {
	char topic[LT_NAME_FIELD];
	uint32_t queue;
	size_t at[RECORDS]; /* in log */
	int64_t next;
	int64_t flushed;
	int64_t first;
	int hidden; /* its files look empty */
	struct lt_segment ring;
	struct lt_ring_writer writer;
};
struct play_attached {
	uint64_t id;
	struct lt_segment lane;
	struct lt_segment page;
	uint32_t topics[64];
	size_t topic_count;
	uint32_t watched[64][2];
	size_t watch_count;
	unsigned wakes;
};
struct play_kept {
	struct lt_wire_keep keep;
	int fds[PLAY_FDS];
	size_t fd_count;
};

struct play_await {
	struct lt_wire request;
	struct play_queue *queue;
	int64_t offset;
};

struct play_world {
	char dir[64];
	int dir_fd;
	int listener;
	uint64_t boot;
	uint64_t generation;
	uint64_t store_gen;
	int sup; /* our end; -1: leat-queue is down */
	int store; /* our end */
	int store_is_up;
	int beacon; /* of this store */
	int mute;
	unsigned freeze_at; /* operation; 0: none */
	int frozen;
	int refuse;
	unsigned refuse_nth; /* only this append from now; 0: each */
	int ready;
	unsigned got[128];
	struct lt_segment counters;
	int counter_fd;
	struct play_record log[RECORDS];
	size_t log_count;
	int64_t store_ms; /* never goes back */
	uint64_t hold; /* S_HOLD */
	uint64_t levels[LT_LEVELS_MAX]; /* last sequence in the log */
	struct play_await awaits[LT_LEVELS_MAX];
	size_t await_count;
	struct play_queue *queues[QUEUES];
	size_t queue_count;
	uint64_t log_min;
	char topics[TOPICS][LT_NAME_FIELD]; /* by id */
	struct play_attached sessions[SESSIONS];
	size_t session_count;
	struct play_kept kept[KEPTS];
	size_t kept_count;
	struct play_msg in;
	pid_t child;
};
extern struct play_world play_world;
void play_drop_msg(struct play_msg *msg);
int play_take(int sock, struct play_msg *msg);
int64_t play_wall_ms(void);
/* The store: serve what its socket has; say hello; forget its sessions. */
int play_store_pump(void);
void play_store_greet(void);
void play_store_forget(void);
void play_index_forget(void);
struct play_queue *play_queue_find(const char *topic, uint32_t queue);
struct play_queue *play_queue_get(const char *topic, uint32_t queue);

#endif
