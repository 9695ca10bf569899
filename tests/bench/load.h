/*
 * load.h - what load.c (processes, pace, figures) asks of a peer: a system that
 * does Leat's job in another way. Each peer is one file and one row of peers[].
 * Peers speak their server's own protocol from one thread, so that the load
 * costs as little as it can: the CPUs are shared with the server.
 */
#ifndef LT_TESTS_BENCH_LOAD_H
#define LT_TESTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/histogram.h"

#define LOAD_PARTIES_MAX 32
#define LOAD_BATCH 1024 /* messages a consumer asks for at once */
#define LOAD_SLICE_MS 100
#define LOAD_SLICES 1200

struct load_plan {
	const char *where; /* socket, or port */
	uint64_t size, count, rate, producers, consumers, window;
	bool publish; /* no consumers; acknowledgements are timed */
	char name[64]; /* of the stream, this run's own */
	int pipe[2];
};

/* First bytes of each body. */
struct load_head {
	uint64_t stamp_ns; /* 0: not timed */
	uint64_t seq;
	uint64_t producer;
};

struct load_result {
	char failed[160];
	uint64_t start_ns, end_ns, messages;
	struct lt_histogram time_ns, late_ns;
	uint32_t slices[LOAD_SLICES];
};

/* A party's connection and buffers; peers may use all of it. */
struct load_link {
	const struct load_plan *plan;
	struct load_result *result;
	uint64_t index;
	int fd;
	uint8_t *out;
	size_t out_bytes, out_cap;
	uint8_t *in;
	size_t in_begin, in_end, in_cap;
	uint64_t acked;
	/* Consumer: called for each body. */
	void (*deliver)(void *arg, const void *body, size_t bytes);
	void *arg;
	void *own;
};

struct peer {
	const char *name;
	/* Make and remove the stream, from the parent. */
	void (*prepare)(struct load_link *l);
	void (*remove)(struct load_link *l);
	void (*connect)(struct load_link *l, bool consumer);
	/* Put one message into l->out; load_flush() sends it. */
	void (*submit)(struct load_link *l, const void *body, size_t bytes);
	/* Count in l->acked what was received; false: need more. */
	bool (*receipts)(struct load_link *l);
	/* Wait for messages and deliver and acknowledge some. */
	void (*consume)(struct load_link *l);
};

extern const struct peer redis_peer, nats_peer, pipe_peer;

/* All of these end the process on failure: a run that fails has no figure. */
_Noreturn void load_fail(struct load_link *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void load_put(struct load_link *l, const void *data, size_t bytes);
void load_print(struct load_link *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void load_flush(struct load_link *l);
/* Receive what is there; wait for it if nothing is. False: nothing came. */
bool load_receive(struct load_link *l, bool wait);
/* A line without its CRLF, lent until the next receive; NULL: need more. */
char *load_line(struct load_link *l);
int load_connect_unix(struct load_link *l, const char *path);
int load_connect_port(struct load_link *l, const char *port);

#endif
