/*
 * popask.h - what requests around pop say, read and checked: field by field,
 * receipts, bit sets. Pure functions; any thread.
 */
#ifndef LT_REMOTING_POPASK_H
#define LT_REMOTING_POPASK_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/limits.h"
#include "proto/remoting.h"

enum { /* request codes */
	LT_POP_POP = 200050,
	LT_POP_ACK = 200051,
	LT_POP_CHANGE = 200053,
	LT_POP_NOTIFY = 200054,
	LT_POP_POLLING = 200055,
	LT_POP_ACK_BATCH = 200151
};

#define LT_POP_MAX 32 /* messages of one pop */
#define LT_POP_INVISIBLE_MAX_MS (INT64_C(12) * 3600 * 1000) /* as if less */
#define LT_POP_TAGS_MAX 1024
#define LT_POP_ORDERED_REVIVE 999 /* in receipts: it was popped in order */

/* 200050, 200054, 200055; what a code has not is 0. */
struct lt_popask {
	char group[LT_NAME_FIELD], topic[LT_NAME_FIELD];
	char tags[LT_POP_TAGS_MAX];
	int32_t queue; /* -1: any */
	int32_t max;
	int64_t invisible_ms, poll_ms;
	int64_t born_ms; /* 0: not said */
	int is_ordered, from_end;
};
/* 200051, 200053. */
struct lt_popack {
	char group[LT_NAME_FIELD], topic[LT_NAME_FIELD];
	int32_t queue;
	int64_t offset, pop_ms;
	int64_t invisible_ms; /* 200053: from now on */
	int64_t revive;
};

/* NULL, or the name of the field that is absent or makes no sense. */
const char *lt_popask_read(
    const struct lt_remoting *h, struct lt_popask *out) LT_MUST_CHECK;
const char *lt_popask_ack(
    const struct lt_remoting *h, struct lt_popack *out) LT_MUST_CHECK;
/* 1: its client has given up by now (wall clock). */
int lt_popask_is_late(const struct lt_popask *ask, int64_t now_ms);
/* Base64 into at most `room` bytes; what goes beyond, or is no base64, ends it.
 * How many bytes there are. */
size_t lt_popask_bits(const char *text, uint8_t *out, size_t room);

#endif
