/*
 * guard.h - may this request be served: who has proven to be behind it, and
 * what rules of [access] and grants of the log give to that one.
 *
 * The peer of a Leat channel has proven a key: lt_conn_key() says which.
 * On others, with accounts, each request has to be signed with an access key.
 * Without accounts who proves nothing may do everything there. Who has proven
 * to be somebody has what is granted to that principal, and nothing else.
 *
 * One for all workers; any thread.
 */
#ifndef LT_REMOTING_GUARD_H
#define LT_REMOTING_GUARD_H

#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"
#include "proto/options.h"
#include "proto/rulebook.h"
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

/* accounts: taken if this succeeds; NULL: nobody signs. LEAT_E_NOMEM. */
int lt_guard_create(struct lt_accounts *accounts,
    const struct lt_options *options, struct lt_guard **out) LT_MUST_CHECK;
void lt_guard_destroy(struct lt_guard *guard);
/* New rules of the file, from the next request on. NULL guard: nothing. */
void lt_guard_reload(struct lt_guard *guard, const struct lt_options *options);
/* All grants of the log (taken), in place of those before. */
void lt_guard_grant(struct lt_guard *guard, struct lt_rulebook *grants);
/* The same, asked from leat-queue in a session of the guard's own: now, and
 * from then on in each tick in which the count of changes has moved. One
 * thread. */
int lt_guard_begin(struct lt_guard *guard, const struct leat_options *session,
    uint64_t (*changes)(void)) LT_MUST_CHECK;
void lt_guard_tick(struct lt_guard *guard, uint64_t now_ms);
/* Grows whenever something is granted or taken back. NULL guard: 0. */
uint64_t lt_guard_generation(const struct lt_guard *guard);
/* The count of changes that the grants are of, and their generation. The thread
 * that learns. NULL guard: 0. */
uint64_t lt_guard_learned(
    const struct lt_guard *guard, uint64_t *generation_out);
/* Is anything granted to this principal? If not, it is nobody here. */
int lt_guard_knows(
    struct lt_guard *guard, const struct lt_principal *who) LT_MUST_CHECK;
/* Is anything granted to any key of a channel's peer? */
int lt_guard_has_keys(struct lt_guard *guard);
/* Rules changed: close connections of access keys that have nothing any more.
 * In a worker's thread. */
void lt_guard_review(struct lt_guard *guard, struct lt_net *net);
/* Requests refused since it was made. */
uint64_t lt_guard_refused(const struct lt_guard *guard);

/* Whose request it is: sets call->who. 0: it has been refused. */
int lt_guard_admit(struct lt_call *call) LT_MUST_CHECK;
/* 0: it has been refused. */
int lt_guard_serves(
    const struct lt_call *call, const struct lt_need *need) LT_MUST_CHECK;
/* 1: rights count for who sent it. */
int lt_guard_asks(const struct lt_call *call);
/* For what only a handler finds, in a body or in the log. A group's retry topic
 * is the group: who may subscribe to it may send there and read it. Leat's own
 * topics need the right to manage them, too; that of the audit the right to
 * trace or manage it instead. */
int lt_guard_may_topic(const struct lt_call *call, unsigned rights,
    struct lt_remoting_text topic) LT_MUST_CHECK;
int lt_guard_may_group(const struct lt_call *call, unsigned rights,
    struct lt_remoting_text group) LT_MUST_CHECK;
/* The answer then: 16, and a record of the audit topic. */
void lt_guard_refuse(const struct lt_call *call);

#endif
