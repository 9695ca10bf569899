/*
 * popper.h - the thread that takes messages for remote members who pop. These
 * do not share a group's queues: they have messages claimed for them, one by
 * one, in the group tables, beside local members of the group.
 *
 *   worker ──request──► popper ══ claims ══► group table
 *      ▲                  │ what is out, until acknowledged, or its time is
 * over └──answer by post──┘
 *
 * It has a session with leat-queue of its own and may wait for that, which no
 * worker may. It is started by the first request.
 */
#ifndef LT_REMOTING_POPPER_H
#define LT_REMOTING_POPPER_H

#include <leat/leat.h>
#include "base/check.h"
#include "remoting/call.h"
#include "remoting/popanswer.h"

struct lt_gateway;
struct lt_popper;

#define LT_POPPER_ITEMS_MAX 65536 /* requests that wait for the thread */
#define LT_POPPER_HELD_MAX 65536 /* pops that wait for messages */
#define LT_POPPER_SOURCES_MAX 4096 /* (group, topic, tags) that are popped */

int lt_popper_create(
    const struct lt_gateway *g, struct lt_popper **out) LT_MUST_CHECK;
/* Ends its thread: what is out comes back to the groups. */
void lt_popper_destroy(struct lt_popper *p);
/* From now on it may be asked. options: copied, its texts borrowed. */
void lt_popper_begin(struct lt_popper *p, const struct leat_options *session);
/* Hand over a copy of a call of one of enum LT_POP_*, whose fields have been
 * checked; it is answered later. Any worker. LEAT_OK; LEAT_E_BUSY,
 * LEAT_E_NOMEM, LEAT_E_UNSUPPORTED (not begun): nothing was taken. */
int lt_popper_submit(
    struct lt_popper *p, const struct lt_call *call) LT_MUST_CHECK;
/* Nobody is held any more by rules of the guard before these. Any thread. */
int lt_popper_has_seen(struct lt_popper *p, uint64_t generation);
/* These did not reach their receiver. Any worker. */
void lt_popper_undelivered(
    struct lt_popper *p, const struct lt_popanswer_item *items, uint32_t count);

#endif
