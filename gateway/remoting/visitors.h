/*
 * visitors.h - peers of Leat channels, before and beside their requests: who
 * may come in, who has to go, what is counted and told of those who were not
 * let in. Each worker for its own; the counts are of all.
 */
#ifndef LT_REMOTING_VISITORS_H
#define LT_REMOTING_VISITORS_H

#include <stdint.h>
#include "base/secret.h"
#include "remoting/worker.h"

struct lt_visitors;

enum lt_visit {
	LT_VISIT_UP, /* channels of now */
	LT_VISIT_HALF_OPEN, /* handshakes of now */
	LT_VISIT_MADE, /* handshakes since the start: made, */
	LT_VISIT_REFUSED, /* begun and refused, or given up, */
	LT_VISIT_FLOODED, /* closed before a byte: their address came too often
			   */
	LT_VISIT_REVOKED, /* channels cut, since nothing is granted any more */
	LT_VISIT_COUNTS
};

int lt_visitors_create(struct lt_visitors **out) LT_MUST_CHECK;
void lt_visitors_destroy(struct lt_visitors *v);
uint64_t lt_visitors_count(const struct lt_visitors *v, enum lt_visit what);

/* lt_net_owner.admit; user is the worker. */
int lt_visitors_admit(
    struct lt_conn *c, const uint8_t key[LT_SECRET_KEY], void *user);
void lt_visitors_closed(struct lt_worker *w, const struct lt_conn *c);
/* Rules that changed; entrances that awaited them; counts. */
void lt_visitors_tick(struct lt_worker *w, uint64_t now_ms);

#endif
