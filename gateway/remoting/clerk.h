/*
 * clerk.h - the thread that may wait for leat-queue, so that no worker does.
 *
 * Work is done in the order in which it came, with a session of the clerk's
 * own; then it goes back to its worker, which is woken. In between the clerk
 * has duties that come round by themselves.
 */
#ifndef LT_REMOTING_CLERK_H
#define LT_REMOTING_CLERK_H

#include <leat/leat.h>
#include "remoting/call.h"

struct lt_clerk;

#define LT_CLERK_WAITING_MAX 256
#define LT_CLERK_BYTES_MAX (64u << 20) /* of their bodies */
#define LT_CLERK_DUTIES_MAX 4
#define LT_CLERK_DUTY_MS 100 /* from the end of one to the next */

/* In the clerk's thread; may block. A status. */
typedef int lt_clerk_work(struct leat *leat, struct lt_call *call);
/* In the worker's thread; takes the call. call->conn is NULL if it went. */
typedef void lt_clerk_done(struct lt_call *call, int status);

/* In the clerk's thread; may block. is_last: the clerk stops behind it. */
typedef void lt_clerk_duty(struct leat *leat, int is_last, void *user);

/* `first` is done with its session before there is a thread; its status is
 * returned if it is not LEAT_OK. */
int lt_clerk_start(const struct leat_options *options,
    int (*first)(struct leat *leat, void *user), void *user,
    struct lt_clerk **out) LT_MUST_CHECK;
/* What waits is not done any more, but the duties once more. No worker runs. */
void lt_clerk_stop(struct lt_clerk *clerk);
/* From now on, until the clerk stops; behind those that it has already. */
void lt_clerk_on_duty(struct lt_clerk *clerk, lt_clerk_duty *duty, void *user);
/* Do the duties before anything else. Any thread. */
void lt_clerk_soon(struct lt_clerk *clerk);
/* A worker's inbox: made before it runs, given back after. */
struct lt_clerk_inbox;
struct lt_clerk_inbox *lt_clerk_inbox(
    struct lt_clerk *clerk, struct lt_net *net);
/* Work that came back: done() is called for each. From `woken`. */
void lt_clerk_collect(struct lt_clerk_inbox *inbox);
/*
 * Hand over a copy of the call. LEAT_OK; or LEAT_E_BUSY, LEAT_E_NOMEM: nothing
 * was taken.
 */
int lt_clerk_submit(struct lt_clerk_inbox *inbox, const struct lt_call *call,
    lt_clerk_work *work, lt_clerk_done *done) LT_MUST_CHECK;

#endif
