/*
 * field.h - what the processes of the client kill test share: one anonymous
 * mapping that outlives each of them. Victims are killed or stopped at any
 * instruction; three observers are not, and note how long they had to wait.
 *
 *   producer   one message in flight, level logged
 *   reader     alone in a group of its own: sees everything, judges order
 *   member     of the group the victims are in: gets what they leave
 */
#ifndef TESTS_CRASH_FIELD_H
#define TESTS_CRASH_FIELD_H

#include "world.h"

#define FIELD_TOPIC "field"
#define FIELD_GROUP "prey"
#define FIELD_OTHERS "others"
#define FIELD_QUEUES 4u
#define FIELD_LIVES (1u << 16)
#define FIELD_LIFE_MESSAGES 200u /* a victim publishes so many at most */
#define FIELD_LEASE_MS 1500
#define FIELD_RETURN_MS 1000 /* what the dead held: before the lease ends */
#define FIELD_RETAIN_MIB 48
#define FIELD_SEGMENT_MIB 8
#define FIELD_WAIT_UNIT_US 10
#define FIELD_WAITS 100000u /* units; the last one is "longer" */
#define FIELD_LONG_US 10000u /* nobody waits longer for the dead */
#define FIELD_LONG_WAITS 4096u /* noted one by one */

enum field_observer {
	FIELD_PRODUCER,
	FIELD_READER,
	FIELD_MEMBER,
	FIELD_OBSERVERS
};
enum field_phase {
	FIELD_BASELINE, /* victims leave in good order */
	FIELD_KILLS,
	FIELD_PHASES,
	FIELD_WARM_UP = FIELD_PHASES /* noted, not judged */
};

struct field_waits {
	_Atomic uint64_t count;
	_Atomic uint64_t long_ones; /* over 10 ms */
	_Atomic uint64_t max_us;
	_Atomic uint32_t units[FIELD_WAITS];
};

/* A wait of an observer over FIELD_LONG_US. */
struct field_long {
	enum field_observer who;
	uint32_t phase;
	uint64_t from_ns, to_ns;
};

/* A sender; number 0 is the producer, others are victims' lives. */
struct field_life {
	_Atomic uint32_t sent; /* last number it may have sent */
	_Atomic uint32_t receipt; /* last number with a receipt */
	_Atomic uint32_t seen; /* last number the reader saw */
	_Atomic uint32_t at_work; /* connected and subscribed */
	_Atomic uint64_t died_ns; /* killed then; 0: it was not */
	_Atomic uint32_t was_stopped; /* its leases may end under its hands */
};

/* What the group knows of one message: life << 3 | enum field_hold. DOUBT: a
 * life that had been stopped was given it, maybe too late. */
enum field_hold {
	FIELD_UNKNOWN,
	FIELD_HELD,
	FIELD_ACKING,
	FIELD_ACKED,
	FIELD_DOUBT
};

struct field {
	struct world *w; /* directory, socket, violations */
	_Atomic uint32_t phase; /* enum field_phase */
	_Atomic uint32_t stop_producer;
	_Atomic uint32_t stop_consumers;
	_Atomic uint32_t ready; /* observers at work */
	_Atomic uint64_t taken_over; /* deliveries with an attempt above 1 */
	_Atomic uint64_t delivered; /* to the reader */
	_Atomic uint64_t claimed_by_victims;
	struct field_waits waits[FIELD_OBSERVERS][FIELD_PHASES + 1];
	_Atomic uint32_t long_count; /* may be beyond FIELD_LONG_WAITS */
	struct field_long longs[FIELD_LONG_WAITS];
	struct field_waits returns; /* from a death to the next delivery */
	struct field_life lives[FIELD_LIVES];
	_Atomic uint32_t hold[FIELD_QUEUES][WORLD_OFFSETS];
};

struct field_body {
	uint32_t magic;
	uint32_t sender;
	uint32_t number;
	uint32_t bytes;
	uint64_t sent_ns;
};

struct field *field_create(struct world *w);
void field_destroy(struct field *f);
uint64_t field_now_ns(void);
/* A wait of ns that has just ended. */
void field_wait(struct field *f, enum field_observer who, uint64_t ns);
void field_note(struct field_waits *w, uint64_t ns);
/* The wait that all but one in a thousand stay below, in microseconds. */
double field_p999_us(const struct field_waits *w);

/* Publish in the given queue; the body says who and which. */
int field_submit(struct field *f, struct leat *leat, uint32_t sender,
    uint32_t number, uint32_t queue, int timeout_ms, struct leat_receipt *r);
/* 1 and *out, or a violation and 0. */
int field_check(struct field *f, const char *who, const struct leat_delivery *d,
    struct field_body *out);
/* The group's side of a delivery. 0, or a violation and -1. */
int field_hold(struct field *f, const char *who, uint32_t life,
    const struct leat_delivery *d);
/* Acknowledge, noting before what may be and after what is. */
int field_ack(struct field *f, const char *who, uint32_t life,
    struct leat_consumer *c, const struct leat_delivery *d, size_t n);

/* Entry functions of the processes. */
int field_topic(struct field *f);
int field_producer(struct field *f);
int field_reader(struct field *f);
int field_member(struct field *f);
/* orderly_us: leave by itself after so long; 0: never. */
int field_victim(struct field *f, uint32_t life, int orderly_us);
/* Everything acknowledged by both groups within the patience. */
int field_settled(struct field *f);
/* Retention went on. */
int field_retained(struct field *f);
/* Compare what was promised with what was seen. */
void field_judge(struct field *f, uint32_t lives);

#endif
