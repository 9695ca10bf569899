/*
 * world.h - what all processes of the crash test share.
 *
 * One anonymous shared mapping, made before any fork: what a process noted in
 * it survives the SIGKILL of that process. Nothing here is broker code; the
 * broker is only seen through libleat and its process ids.
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <leat/leat.h>

#define WORLD_TOPIC "kill"
#define WORLD_GROUP "workers"
#define WORLD_QUEUES 4u
#define WORLD_PRODUCERS 4u
#define WORLD_MEMBERS 2u
#define WORLD_READERS 2u
#define WORLD_NUMBERS (1u << 20) /* noted at a time, of one producer */
#define WORLD_OFFSETS (1u << 20) /* noted at a time, of one queue */
#define WORLD_AHEAD 4096u /* of the group, with no rate */
#define WORLD_TEXTS 12u
#define WORLD_PATIENCE_MS 30000 /* any wait longer than this is a violation */

enum world_hold {
	HOLD_NEW,
	HOLD_HELD,
	HOLD_ACKED,
	HOLD_GIVEN_BACK
};

/*
 * What is known of one message. After WORLD_NUMBERS of them a producer begins
 * again: it takes a mark only when its message is acknowledged (load.c), and
 * what comes again after that is a violation.
 */
struct world_mark {
	_Atomic uint64_t number; /* producer: of this message; 0: none yet */
	_Atomic uint32_t asked; /* producer: level asked for; 0: not sent */
	_Atomic uint32_t receipt; /* producer: level of its receipt; 0: none */
	_Atomic uint32_t life; /* producer: which of its lives sent it */
	_Atomic int64_t offset; /* producer: queue offset + 1; 0: unknown */
	_Atomic uint32_t hold; /* members: enum world_hold */
	_Atomic uint32_t holder; /* members: slot << 24 | life */
	_Atomic uint32_t epoch; /* members: world epoch of the delivery */
	_Atomic uint32_t seen; /* members: deliveries */
	_Atomic uint32_t found; /* judge: times in the log */
};

struct world {
	/* Set before any process starts. */
	uint64_t seed;
	char dir[80];
	char socket[108];
	/* Messages per second; 0: as many as the group can follow. */
	unsigned rate[WORLD_PRODUCERS];
	unsigned naps; /* one poll of a member in so many is slow */
	int accepted; /* producer 3 runs, at level accepted */
	int retain; /* MiB kept by retention: the log's begin moves; 0: all */
	int admin; /* the administrator runs */
	int churn; /* its topics are deleted again, and it takes its time */
	const char *config; /* of the broker; NULL: storm_prepare's */

	/* Written by the harness. */
	_Atomic uint32_t stop_producers;
	_Atomic uint32_t stop_consumers;
	_Atomic uint32_t stop_members;
	/* Odd while the whole broker is, or just was, dead. */
	_Atomic uint32_t epoch;
	_Atomic uint32_t
	    dead_life[WORLD_MEMBERS]; /* lives <= this were killed */
	_Atomic int64_t floor[WORLD_QUEUES]; /* durable progress: never again */

	/* Written by the load. */
	_Atomic uint64_t submitted[WORLD_PRODUCERS];
	_Atomic uint64_t receipts;
	_Atomic uint64_t delivered;
	_Atomic uint64_t redelivered;
	_Atomic uint64_t read; /* by the reader */
	_Atomic uint64_t admin_rounds;
	_Atomic uint64_t topics_made;

	/* Written by the judge. */
	_Atomic uint64_t in_log;

	_Atomic uint32_t violations;
	char text[WORLD_TEXTS][320];

	struct world_mark marks[WORLD_PRODUCERS][WORLD_NUMBERS];
	_Atomic uint8_t acked[WORLD_QUEUES][WORLD_OFFSETS];
	/* world_place of the last message that the reader saw there. */
	_Atomic uint64_t reader_at[WORLD_QUEUES][WORLD_OFFSETS];
};

/* First bytes of every body; the rest follows from `bytes` and `mix`. */
struct world_body {
	uint32_t magic;
	uint32_t producer;
	uint64_t number;
	uint32_t life;
	uint32_t queue;
	uint32_t bytes;
	uint32_t mix;
};

/* NULL when there is no memory. Zeroed. */
struct world *world_create(void);
void world_destroy(struct world *w);
/* Note that something is wrong: one precise sentence. */
void world_violate(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t world_now_ms(void);
void world_pause_ms(unsigned ms);
void world_pause_us(unsigned us);
/* xorshift64*; *state must not be 0. */
uint64_t world_random(uint64_t *state);

/* What is known of a message; NULL: never sent, or forgotten. */
struct world_mark *world_mark(
    struct world *w, uint32_t producer, uint64_t number);
/* The oldest of a producer's messages which is not forgotten. */
uint64_t world_oldest(struct world *w, uint32_t producer);
/* Who held it last was killed. */
int world_holder_died(struct world *w, struct world_mark *mark);
/* One word, never 0: which message, and in which lap of the offsets. */
uint64_t world_place(const struct leat_delivery *d, const struct world_body *b);

/* Fill buf (at least bytes) with the body of a message. */
void world_body_make(void *buf, uint32_t bytes, uint32_t producer,
    uint64_t number, uint32_t life, uint32_t queue);
/* Check every byte; a violation naming `who` and 0 if it is not ours. */
int world_body_check(struct world *w, const char *who,
    const struct leat_delivery *d, struct world_body *out);

/* load.c: entry functions of the load's processes; return the exit status. */
int load_producer(struct world *w, uint32_t slot, uint32_t life);
/* Make the topic; before the rest of the load. */
int load_topic(struct world *w, uint32_t slot, uint32_t life);
int load_admin(struct world *w, uint32_t slot, uint32_t life);
/* Connect within WORLD_PATIENCE_MS, or NULL and a violation. */
struct leat *load_connect(struct world *w, const char *name);

/* eat.c */
int eat_member(struct world *w, uint32_t slot, uint32_t life);
int eat_reader(struct world *w, uint32_t slot, uint32_t life);

/* judge.c: read the whole log and compare. */
int judge_log(struct world *w, uint32_t slot, uint32_t life);
/* 1 if the group and the reader have everything the judge found; with `why`
 * set, each missing one is a violation. */
int judge_all_consumed(struct world *w, int why);
/* The group's progress reaches the end of every queue, nothing stays claimed.
 */
int judge_group(struct world *w, uint32_t slot, uint32_t life);

#endif
