/*
 * depot.h - a store written straight through the commit log and the consume
 * queues, with a model of what is in it, and ways to harm its files.
 */
#ifndef LT_TESTS_DEPOT_H
#define LT_TESTS_DEPOT_H

#include <stddef.h>
#include <stdint.h>
#include "proto/options.h"
#include "store/commitlog.h"
#include "store/consumequeue.h"
#include "store/recover.h"

#define DEPOT_SEGMENT 65536u
#define DEPOT_MAX 8192
#define DEPOT_SESSIONS 3
#define DEPOT_MS 1700000000000

struct depot_message {
	char topic[24];
	uint32_t queue;
	int64_t queue_offset;
	uint64_t log_offset;
	uint32_t bytes;
	uint32_t body_bytes;
	uint64_t session;
	uint64_t seq;
	int is_lost; /* damaged or gone: its entry has no size */
	int is_dropped; /* with its topic: there is no entry */
};

struct depot {
	char path[256];
	int top;
	int dir; /* DIR/store */
	struct lt_options options;
	struct lt_commitlog *log;
	struct lt_cq_set *queues;
	struct lt_recovered recovered;
	struct depot_message messages[DEPOT_MAX];
	size_t count;
	uint64_t seqs[DEPOT_SESSIONS];
};

struct depot_lines {
	size_t count;
	char text[64][256];
};

void depot_make(struct depot *d);
void depot_remove(struct depot *d);
/* A new one in DIR/store of the caller's, who removes it. */
void depot_make_in(struct depot *d, int dir);
/* Open and recover. A status. */
int depot_open(struct depot *d);
/* Close as a crash leaves it: nothing buffered is written. */
void depot_shut(struct depot *d);
/* Log, queues, snapshot are as of now. */
void depot_checkpoint(struct depot *d);
/* Log one message; returns its index. */
size_t depot_put(
    struct depot *d, const char *topic, uint32_t queue, size_t body_bytes);
/* Log a configuration record of a topic as the queue manager does; it is no
 * message of the model. depot_drop: what the store does when it is told of a
 * deletion. */
void depot_config(struct depot *d, const char *topic, int is_deleted);
void depot_drop(struct depot *d, const char *topic);
/* The model forgets a topic's messages. */
void depot_forget_topic(struct depot *d, const char *topic);
/* count messages spread over three topics and several queues. */
void depot_fill(struct depot *d, size_t count, size_t body_bytes);
/* Every message of the model is there, whole, where its queue says; lost ones
 * are marked as gone; the queues end where the model does. */
void depot_check(struct depot *d);
/* The model forgets messages at or above a log offset. */
void depot_forget(struct depot *d, uint64_t log_offset);

void depot_read(struct depot *d, uint64_t at, void *buf, size_t bytes);
void depot_write(struct depot *d, uint64_t at, const void *buf, size_t bytes);
void depot_flip(struct depot *d, uint64_t at);
void depot_zero(struct depot *d, uint64_t at, size_t bytes);
int depot_has(struct depot *d, const char *path);

/* Copy DIR/store to a new store; compare two stores file by file, bytes and
 * names: 0 if equal. */
void depot_copy(struct depot *from, struct depot *to);
int depot_differ(struct depot *a, struct depot *b);

/* For verify and rebuild: collects lines. */
void depot_report(void *user, const char *line);
/* 1 if a line has both texts in it. */
int depot_said(const struct depot_lines *l, const char *a, const char *b);

#endif
