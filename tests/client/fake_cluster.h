/*
 * fake_cluster.h - a name server and a broker of RocketMQ's protocol in a
 * thread of the test, on one loopback port, with what a libleat session asks
 * for. It does as it is told: refuses, hangs up, answers nonsense.
 */
#ifndef TESTS_CLIENT_FAKE_CLUSTER_H
#define TESTS_CLIENT_FAKE_CLUSTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_QUEUES 4
#define FAKE_MESSAGES 4096

enum fake_mischief {
	FAKE_GOOD,
	FAKE_HANGS_UP, /* stores a send, and closes instead of answering */
	FAKE_CUTS_RECORDS, /* the last record of a pull lacks its end */
	FAKE_REPEATS_OFFSETS, /* records of a pull do not go on */
	FAKE_NO_FIELDS, /* answers without extFields */
	FAKE_NO_JSON, /* bodies that are none */
	FAKE_HUGE_FRAME, /* says 2 GiB come */
	FAKE_MUTATES /* random bytes of each answer are changed, or cut off */
};

struct fake_message {
	uint32_t queue;
	int64_t offset;
	char body[64];
	char props[256];
	uint32_t reconsume;
	uint32_t crc; /* of the whole body, which may be longer */
	uint32_t packed; /* bytes of body, a zlib stream; 0: it is a text */
};

/* Read by the test when the thread has answered, or is joined. */
struct fake_cluster {
	int port;
	char server[64]; /* for leat_options */
	_Atomic int mischief; /* enum; HANGS_UP counts itself down in times */
	_Atomic int times; /* how often; then it is good again */
	_Atomic int send_code; /* answer to the next `times` sends */
	_Atomic int
	    refuse_body; /* a body that starts with '!' is refused, 13 */
	_Atomic int members; /* others in the group: ids "0..." and "~..." */
	_Atomic int unknown; /* no topic exists */
	_Atomic int drops; /* the next pull is told 21, and this offset - 1 */
	_Atomic int sends, batches, beats, backs, commits, leaves, conns;
	_Atomic int greetings, recalls; /* of sessions behind a channel */
	_Atomic int64_t back_offset;
	_Atomic int back_level;
	_Atomic int64_t committed[FAKE_QUEUES]; /* -1: nothing */
	_Atomic int64_t max[FAKE_QUEUES];
	struct fake_message messages[FAKE_MESSAGES];
	_Atomic int count;
	_Atomic int stop;
	uint64_t random;
	void *inside;
};

struct fake_cluster *fake_cluster_start(uint64_t seed);
void fake_cluster_stop(struct fake_cluster *f);
/* A message that is there. */
void fake_cluster_put(struct fake_cluster *f, uint32_t queue, const char *body,
    const char *props);
/* A message with a compressed body. */
void fake_cluster_pack(
    struct fake_cluster *f, uint32_t queue, const void *zlib, size_t bytes);
/* Tell all connections that members of group g changed. */
void fake_cluster_notify(struct fake_cluster *f);

#endif
