/*
 * hostile.h - one life of a client that means harm: it scribbles over all it
 * may write and sends whatever a socket takes. It is admitted like any other,
 * opens the topic "wild" and never names anything of its betters.
 */
#ifndef TESTS_CRASH_HOSTILE_H
#define TESTS_CRASH_HOSTILE_H

#include <stdint.h>
#include "field.h"

#define HOSTILE_TOPIC "wild"

enum hostile_kind {
	HOSTILE_LANE, /* forged records, tails, lengths that change */
	HOSTILE_TABLE, /* forged claims of its own group */
	HOSTILE_NOISE, /* random bytes over lane and table */
	HOSTILE_FORGER, /* forged admission messages */
	HOSTILE_FLOOD, /* connections, sessions, subscriptions; reads nothing */
	HOSTILE_KINDS
};

/* What the lives did; shared, counted. */
struct hostile_deeds {
	_Atomic uint64_t lives[HOSTILE_KINDS];
	_Atomic uint64_t forged_records;
	_Atomic uint64_t forged_claims;
	_Atomic uint64_t forged_messages;
	_Atomic uint64_t mapped_what_is_sealed; /* must stay 0 */
};

/* topic: id of a topic it has no right to; session: of somebody else. Returns
 * the exit status; ends after about ms. */
int hostile_live(const char *socket, enum hostile_kind kind, uint64_t seed,
    unsigned ms, struct hostile_deeds *deeds);

#endif
