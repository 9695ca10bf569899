/*
 * sharer.h - what tests of groups with remote members share: the gateway's
 * requests, and local members of the group "g" on the topic "s", which do what
 * libleat does when it is told.
 */
#ifndef LT_TESTS_QUEUE_SHARER_H
#define LT_TESTS_QUEUE_SHARER_H

#include <stdint.h>
#include "base/bytes.h"
#include "member.h"

#define QUEUES 8
#define OK(call) assert_int_equal(call, LEAT_OK)

extern struct play_client gateway;

struct members {
	struct lt_wire_members w;
	char ids[4096];
};

int commit_to(
    struct play_client *c, const char *topic, uint32_t queue, int64_t offset);
/* 1: taken, 0: ignored. */
int commit(uint32_t queue, int64_t offset);
void fill_progress(struct lt_wire_progress *req, uint32_t queue);
/* -1: none. */
int64_t progress(uint32_t queue);
/* ids are separated by blanks. */
int remotes_part(
    struct play_client *c, const char *ids, uint32_t first, uint32_t more);
void remotes(const char *ids);
/* How many local members there are; their ids, lent until the next request. */
uint32_t locals(const char **out, size_t max);

struct member {
	struct play_client *client;
	unsigned heard; /* of its client's events */
	struct play_sub sub[QUEUES];
};

void join_all(struct member *l, struct play_client *client);
void ask_again(struct member *l, uint32_t queue, uint32_t resume);
/* What libleat says of the queue that it asks for again. */
uint32_t resume_of(const struct play_sub *sub);
/* Asks for all again if it was told anything; how many events. */
unsigned follow(struct member *l);
/* Queues with an open table, a bit for each. */
unsigned owned(const struct member *l);
void fini(struct member *l);
void publish(uint32_t queue, int n);
/* It dies; that member comes back. */
void restart_queue_manager(struct member *l);

#endif
