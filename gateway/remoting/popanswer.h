/*
 * popanswer.h - answers to requests around pop, made in the popper's thread and
 * brought to the connection's worker by post.
 *
 * An answer names the messages in it: if its connection is gone by then, they
 * are given back (lt_popper_undelivered).
 */
#ifndef LT_REMOTING_POPANSWER_H
#define LT_REMOTING_POPANSWER_H

#include <leat/leat.h>
#include "remoting/call.h"
#include "remoting/popask.h"
#include "remoting/post.h"

struct lt_popanswer_item {
	uint64_t serial;
	uint32_t place; /* lt_popouts_at */
};
struct lt_popanswer_letter {
	struct lt_letter letter;
	struct lt_ticket ticket;
	uint8_t *frame; /* in `bytes` */
	size_t frame_bytes;
	uint32_t count;
	struct lt_popanswer_item items[LT_POP_MAX];
	uint8_t bytes[];
};

struct lt_popanswer {
	struct lt_remoting_encoder e; /* for lt_remoting_put*() */
	struct lt_post *post;
	struct lt_popanswer_letter *letter;
	uint8_t *body; /* the next of it goes here */
	uint8_t header[8192];
};

/* body_bytes: most. 0: nobody to answer, or no memory. An answer that is lost
 * closes its connection: nobody shall wait for it. */
int lt_popanswer_begin(struct lt_popanswer *a, struct lt_post *post,
    const struct lt_ticket *t, int32_t code, size_t body_bytes);
/* LEAT_OK, or why it was not sent. The letter is gone. */
int lt_popanswer_end(struct lt_popanswer *a, const char *remark) LT_MUST_CHECK;
/* Code and text alone. */
void lt_popanswer_status(struct lt_post *post, const struct lt_ticket *t,
    int32_t code, const char *remark);

/* What a message is for its receiver. */
struct lt_popanswer_receipt {
	int64_t start_offset, pop_ms, invisible_ms;
	const char *broker_name;
};
/* Room that a message needs at most, and the message into the body: as it is
 * stored, or, if it comes again and not in order, with its count of deliveries
 * and its receipt in it. */
size_t lt_popanswer_room(const struct leat_delivery *d);
void lt_popanswer_put(struct lt_popanswer *a, const struct leat_delivery *d,
    const struct lt_popanswer_receipt *receipt, int is_ordered);

#endif
