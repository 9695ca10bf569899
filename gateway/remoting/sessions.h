/*
 * sessions.h - sessions of libleat that outlive their connections: where one
 * connection ends and the next begins, and what is in the log of what was sent.
 */
#ifndef LT_REMOTING_SESSIONS_H
#define LT_REMOTING_SESSIONS_H

#include <stdint.h>
#include <sys/queue.h>
#include "base/check.h"

struct lt_call;
struct lt_fence; /* what a worker has to end before somebody goes on */
struct lt_sessions;
struct lt_worker;

STAILQ_HEAD(lt_fences, lt_fence);

int lt_sessions_create(struct lt_sessions **out) LT_MUST_CHECK;
void lt_sessions_destroy(struct lt_sessions *s);
void lt_sessions_closed(struct lt_sessions *s, uint64_t conn);
/* Receipts came: fences that this worker has passed. */
void lt_sessions_collected(struct lt_worker *w);
void lt_sessions_fini(struct lt_worker *w);

void lt_sessions_on_greeting(struct lt_call *call); /* 30001 */
void lt_sessions_on_sent(struct lt_call *call); /* 30002 */

#endif
