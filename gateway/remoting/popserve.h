/*
 * popserve.h - what the popper's thread does with requests around pop: looks
 * for messages, keeps what is out, answers by post. That thread alone.
 */
#ifndef LT_REMOTING_POPSERVE_H
#define LT_REMOTING_POPSERVE_H

#include <stddef.h>
#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"
#include "remoting/call.h"
#include "remoting/popanswer.h"

struct lt_gateway;
struct lt_popserve;

int lt_popserve_create(const struct lt_gateway *g, struct leat *leat,
    struct lt_popserve **out) LT_MUST_CHECK;
/* Its session is closed next. */
void lt_popserve_destroy(struct lt_popserve *p);
/* One of enum LT_POP_*, checked; may wait for leat-queue. */
void lt_popserve_call(struct lt_popserve *p, const struct lt_call *call);
void lt_popserve_undelivered(struct lt_popserve *p,
    const struct lt_popanswer_item *items, uint32_t count);
/* There may be messages: how many pops that are held had some. */
size_t lt_popserve_look(struct lt_popserve *p);
/* Rules have changed: who waits is told to ask again. */
void lt_popserve_end_waits(struct lt_popserve *p);
/* Every LT_POPOUT_STEP_MS. */
void lt_popserve_tick(struct lt_popserve *p, uint64_t now_ms);

#endif
