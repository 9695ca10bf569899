/*
 * relay.h - libleat's door for leat-gateway: messages of remote clients, with
 * their hosts and ids, through the lane of a session of the broker's own user.
 */
#ifndef LT_CLIENT_RELAY_H
#define LT_CLIENT_RELAY_H

#include <stddef.h>
#include <stdint.h>
#include <leat/leat.h>
#include "base/buffer.h"
#include "base/check.h"

struct lt_wire_audit_entry;

struct lt_relay { /* pointers borrowed for the call */
	const char *topic; /* NUL-terminated; exists */
	uint32_t queue;
	int32_t flag;
	uint32_t sys_flag; /* compression and multi-tag bits only */
	uint32_t reconsume;
	int64_t born_ms;
	uint32_t born_ip; /* host order, not 0 */
	uint32_t born_port;
	enum leat_level level;
	/* Properties "name 1 value 2"..., well formed, nothing reserved but one
	 * UNIQ_KEY: then has_id is 1. A message without gets one of ours. */
	const char *text;
	size_t text_bytes;
	int has_id;
	const void *body;
	size_t body_bytes;
};

/*
 * leat_submit()'s twin; the store is not woken until lt_relay_announce().
 * deadline: lt_wait_deadline()'s, 0: do not wait. The receipt's id is that of
 * the session and sequence. Errors: as leat_submit(), DENIED in the receipt if
 * this session may not relay.
 */
int lt_relay_submit(struct leat *leat, const struct lt_relay *message,
    uint64_t deadline, void *user) LT_MUST_CHECK;
/*
 * The queue that a message goes to: wanted if it is not negative (QUEUE if
 * there is none such), else the next in turn. Opens the topic if it is not
 * open: leat-queue is asked then, and its answer waited for so long; what
 * comes later is taken, too. 0: it is not asked. NOTFOUND, PERM, DENIED;
 * TIMEOUT, UNREACHABLE: not open so far.
 */
int lt_relay_queue(struct leat *leat, const char *topic, int32_t wanted,
    int open_ms, uint32_t *out) LT_MUST_CHECK;
/* The log's end as the store shows it: what is below can be read. */
uint64_t lt_relay_log_end(const struct leat *leat);
/* The same, of what is durable: below it, and it may be behind. */
uint64_t lt_relay_log_synced(const struct leat *leat);
/* Wait until no lane of a process that relayed and died is left: what it had
 * accepted is in the log, or never will be. DENIED, TIMEOUT, UNREACHABLE. */
int lt_relay_settled(struct leat *leat, int timeout_ms) LT_MUST_CHECK;
/* From now on leat_fd() becomes readable when the log grew, if it was armed and
 * that is wanted (at first it is not). DENIED. */
int lt_relay_follow(struct leat *leat, int timeout_ms) LT_MUST_CHECK;
void lt_relay_want_log(struct leat *leat, int on);
/* --- groups with remote members; each waits for leat-queue -----------------
 */

struct lt_relay_offset {
	const char *topic;
	uint32_t queue;
	int64_t offset;
};
/* What remote members have consumed: each is the next offset to come, and may
 * go back. Makes the group if it is new. Logged as any progress is. Ignored: a
 * queue that a local member has now, that does not exist or whose topic does
 * not. Offsets of one topic should lie together. DENIED, NAME, TIMEOUT,
 * UNREACHABLE: say all of it again. */
int lt_relay_commit(struct leat *leat, const char *group,
    const struct lt_relay_offset *offsets, size_t count,
    int timeout_ms) LT_MUST_CHECK;
/* The next offset of a clustering group. Waits up to a second for a local
 * member that just lost the queue and finishes. NOTFOUND: none is known. */
int lt_relay_progress(struct leat *leat, const char *group, const char *topic,
    uint32_t queue, int64_t *out) LT_MUST_CHECK;
/* All remote members of a group, in place of those told before by anybody;
 * count 0: none. They are forgotten with an orderly end of this session. LIMIT.
 */
int lt_relay_remotes(struct leat *leat, const char *group,
    const char *const *ids, size_t count, int timeout_ms) LT_MUST_CHECK;
/* Ids of the local members of a group, each with a NUL, in order. AGAIN:
 * leat-queue is new and does not know; it will call. */
int lt_relay_locals(struct leat *leat, const char *group,
    struct lt_buffer *ids_out, size_t *count_out, int timeout_ms) LT_MUST_CHECK;
/* What is set for a group, as such (topic "") or for a topic: lines
 * "name=value" in place of those before; only_new: EXISTS if something is set.
 * Synced when it returns. *changes_out: queue_group_changes as of then. DENIED,
 * NAME, TOOBIG, LIMIT, TIMEOUT, UNREACHABLE, those of the log. (groupset.c) */
int lt_relay_group_set(struct leat *leat, const char *group, const char *topic,
    const char *text, size_t bytes, int only_new, uint64_t *changes_out,
    int timeout_ms) LT_MUST_CHECK;
/* The same: nothing any more. NOTFOUND: nothing was. */
int lt_relay_group_unset(struct leat *leat, const char *group,
    uint64_t *changes_out, int timeout_ms) LT_MUST_CHECK;
/* Called from within calls that look at the socket: the local members of a
 * group for which there are remote ones changed; group NULL: leat-queue is a
 * new one, and has to be told all remote ones. Calls nothing here. */
void lt_relay_on_locals(
    struct leat *leat, void (*call)(const char *group, void *user), void *user);
/* Lines for the audit topic, at most LT_AUDIT_ENTRIES. DENIED, INVALID,
 * TIMEOUT, UNREACHABLE. */
int lt_relay_audit(struct leat *leat, const struct lt_wire_audit_entry *entries,
    size_t count, int timeout_ms) LT_MUST_CHECK;
/* Look at the socket; never waits for long. */
void lt_relay_pump(struct leat *leat);
/* From now on this session's administration and subscriptions wait for
 * leat-queue so long at most. */
void lt_relay_patience(struct leat *leat, int ms);

/* --- messages taken for members that do not claim themselves ---------------
 */

/* Polls of this consumer take from that queue alone; -1: from all again. In
 * order: nothing of a queue comes before what was given back of it. QUEUE: it
 * has none such. */
int lt_relay_narrow(
    struct leat_consumer *c, int32_t queue, int is_in_order) LT_MUST_CHECK;
uint32_t lt_relay_queues(const struct leat_consumer *c); /* at least 1 */
/* Does somebody wait for its messages? If not, leat_arm() does not care that
 * there are some. At first somebody does. */
void lt_relay_ask(struct leat_consumer *c, int is_asked);
/* 1: a poll may find something. */
int lt_relay_is_ready(struct leat_consumer *c);
/* Messages of a queue (-1: of all) that nobody has looked at here, and the end
 * of that one, as far as they are known without asking; -1: not known. */
int64_t lt_relay_rest(struct leat_consumer *c, int32_t queue, int64_t *end_out);

/* What was submitted exists for the store from here on; wakes it. */
void lt_relay_announce(struct leat *leat);

#endif
