/*
 * guard.h - may this request be served: whose signature it bears, and what the
 * rules of [access] give to that key. Without accounts there is no guard
 * (lt_gateway.guard is NULL) and everybody may do everything.
 *
 * One for all workers; any thread.
 */
#ifndef LT_REMOTING_GUARD_H
#define LT_REMOTING_GUARD_H

#include <stdint.h>
#include "base/check.h"
#include "proto/options.h"
#include "remoting/accounts.h"
#include "remoting/call.h"

/*
 * What a request needs: a right on what its header names, or nothing. Any of
 * the bits will do; 0: none is needed. Field NULL: every topic (group) that
 * there is, which only pattern * gives. A field that is absent names nothing,
 * and only pattern * matches that.
 */
struct lt_need {
	uint8_t topic, group; /* masks of enum lt_right */
	const char *topic_field, *group_field;
};
#define LT_NEED_publish LT_RIGHT_PUBLISH
#define LT_NEED_subscribe LT_RIGHT_SUBSCRIBE
#define LT_NEED_manage LT_RIGHT_MANAGE
#define LT_NEED_trace (LT_RIGHT_TRACE | LT_RIGHT_MANAGE)
#define LT_NEED_any                                                            \
	(LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_MANAGE |             \
	    LT_RIGHT_TRACE)

struct lt_guard;

/* accounts: taken if this succeeds. LEAT_E_NOMEM. */
int lt_guard_create(struct lt_accounts *accounts,
    const struct lt_options *options, struct lt_guard **out) LT_MUST_CHECK;
void lt_guard_destroy(struct lt_guard *guard);
/* New rules, from the next request on. NULL guard: nothing. */
void lt_guard_reload(struct lt_guard *guard, const struct lt_options *options);
/* Requests refused since it was made. */
uint64_t lt_guard_refused(const struct lt_guard *guard);

/* Whose request it is: sets call->account. 0: it has been refused. */
int lt_guard_admit(struct lt_call *call) LT_MUST_CHECK;
/* 0: it has been refused. */
int lt_guard_serves(
    const struct lt_call *call, const struct lt_need *need) LT_MUST_CHECK;
/* 1: rights count for who sent it. */
int lt_guard_asks(const struct lt_call *call);
/* For what only a handler finds, in a body or in the log. A group's retry topic
 * is the group: who may subscribe to it may send there and read it. */
int lt_guard_may_topic(const struct lt_call *call, unsigned rights,
    struct lt_remoting_text topic) LT_MUST_CHECK;
int lt_guard_may_group(const struct lt_call *call, unsigned rights,
    struct lt_remoting_text group) LT_MUST_CHECK;
/* The answer then: 16. */
void lt_guard_refuse(const struct lt_call *call);

#endif
