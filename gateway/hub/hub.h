/*
 * hub.h - what remote members said and may forget: who they are, the groups
 * they consume and produce in, what they subscribed to. Door of this room, with
 * offsets.h and orderlocks.h on the same struct lt_hub.
 *
 * Tables in memory behind one mutex, which each call takes once and holds for a
 * table operation; any thread. No I/O, no clock: the caller brings a monotonic
 * time in ms. What is given out is copied.
 *
 * A registration belongs to a connection: two with one client id are one member
 * to the others, and go one by one. The last heartbeat defines a group.
 */
#ifndef LT_GATEWAY_HUB_HUB_H
#define LT_GATEWAY_HUB_HUB_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "hub/heartbeat.h"
#include "hub/tags.h"
#include "proto/principal.h"
#include "proto/remoting.h"

#define LT_HUB_EXPIRY_MS 120000 /* without a heartbeat */
#define LT_HUB_LOCALS_MAX 4096 /* local members of a group */

struct lt_hub;

struct lt_hub_limits { /* 0: the default; what goes beyond is refused */
	size_t bytes_max; /* members and subscriptions, about: 64 MiB */
	uint32_t groups_max; /* of one connection, of each kind: 512 */
	uint32_t offsets_max; /* queues whose offset is kept: 262,144 */
	uint32_t locks_max; /* queues that are locked: 262,144 */
};

struct lt_hub_counts {
	size_t connections; /* that registered */
	size_t consumer_groups, producer_groups;
	size_t bytes;
	size_t offsets, offsets_dirty, locks;
};

int lt_hub_create(
    const struct lt_hub_limits *limits, struct lt_hub **out) LT_MUST_CHECK;
void lt_hub_destroy(struct lt_hub *hub); /* nobody else may be in it */
void lt_hub_count(struct lt_hub *hub, struct lt_hub_counts *out);

/* --- what changed ---------------------------------------------------------
 */

/*
 * Groups whose member ids or topics changed, and which connections must be told
 * (40). Of each group the first entry has connection 0: for who speaks for its
 * local members. A broadcasting group is never in here. Calls append. If memory
 * ran out entries are missing, whose clients look by themselves 20 s later.
 */
struct lt_hub_change {
	uint64_t conn;
	size_t group; /* where its name is in `names` */
};
struct lt_hub_changes {
	struct lt_hub_change *items;
	size_t count, capacity;
	struct lt_buffer names; /* each with a NUL */
};

void lt_hub_changes_init(struct lt_hub_changes *changes);
void lt_hub_changes_clear(struct lt_hub_changes *changes);
void lt_hub_changes_fini(struct lt_hub_changes *changes);
const char *lt_hub_changes_group(
    const struct lt_hub_changes *changes, size_t i);

/* --- coming and going -----------------------------------------------------
 */

struct lt_hub_peer {
	uint64_t conn; /* lt_conn_id; not 0 */
	const char *address; /* "10.0.0.9:4711" */
	uint8_t language; /* of the request's header */
	int32_t version;
	const struct lt_principal *who; /* NULL: like one of no kind */
};

/* *is_sub_change_out: what the reply's IS_SUB_CHANGE says. LEAT_OK,
 * LEAT_E_LIMIT or LEAT_E_NOMEM: some of its groups are not registered.
 * LEAT_E_DENIED: that client id is another principal's, while a connection of
 * it lasts; what is meant for it is not to be had by taking its name. */
int lt_hub_heartbeat(struct lt_hub *hub, const struct lt_heartbeat *heartbeat,
    const struct lt_hub_peer *peer, uint64_t now_ms,
    struct lt_hub_changes *changes, int *is_sub_change_out) LT_MUST_CHECK;
/* 35: leave these groups; a text without bytes: none. */
void lt_hub_unregister(struct lt_hub *hub, uint64_t conn,
    struct lt_remoting_text producer_group,
    struct lt_remoting_text consumer_group, struct lt_hub_changes *changes);
void lt_hub_closed(
    struct lt_hub *hub, uint64_t conn, struct lt_hub_changes *changes);
/* Forget who gave no heartbeat for LT_HUB_EXPIRY_MS: connections to be closed,
 * at most max; if it is max, call again. Cheap when there are none. */
size_t lt_hub_expire(struct lt_hub *hub, uint64_t now_ms, uint64_t *conns,
    size_t max, struct lt_hub_changes *changes);
/* Local members of a group, all of them: their ids replace those told before.
 * LEAT_OK, LEAT_E_LIMIT, LEAT_E_INVALID (an id) or LEAT_E_NOMEM: nothing
 * changed. */
int lt_hub_locals(struct lt_hub *hub, const char *group, const char *const *ids,
    size_t count, struct lt_hub_changes *changes) LT_MUST_CHECK;

/* --- questions ------------------------------------------------------------
 */

/* What passes for a group's pull of a topic. LEAT_OK; LEAT_E_NOTFOUND: not
 * subscribed here (24); LEAT_E_VERSION: we know an older one (25);
 * LEAT_E_UNSUPPORTED: not by tags. */
int lt_hub_filter(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text topic, int64_t sub_version,
    struct lt_tags *out) LT_MUST_CHECK;
/* What the group's last heartbeat said. 0: no remote member. */
struct lt_hub_about {
	uint8_t from, type, model;
	size_t members; /* connections */
	size_t locals;
};
int lt_hub_about(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_hub_about *out);
/* A connection of that client: in that group of consumers, or, if the group has
 * no bytes, in any. 0: none. */
uint64_t lt_hub_find(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text client_id);
/* All connections of a group of consumers: each in 8 bytes, as they are here,
 * then its client's id with a NUL. Nothing: no remote member. */
void lt_hub_clients(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out);
/* A connection of a group of producers, each in turn. 0: none. */
uint64_t lt_hub_producer(struct lt_hub *hub, struct lt_remoting_text group);

/* That connection does not share the group's queues with other members, but has
 * messages taken for it one by one. 1: it had not been said before. */
int lt_hub_pops(
    struct lt_hub *hub, struct lt_remoting_text group, uint64_t conn);
/* The same is said of none of the group any more. */
void lt_hub_pops_not(struct lt_hub *hub, struct lt_remoting_text group);
/* Ids of a group's members, local ones too, in order, each once and with a NUL.
 * LEAT_OK, LEAT_E_NOTFOUND, LEAT_E_NOMEM. */
int lt_hub_ids(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *ids_out, size_t *count_out) LT_MUST_CHECK;
/* The topics that a group subscribed to, each with a NUL; how many. */
size_t lt_hub_topics(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *names_out);

struct lt_hub_member {
	uint64_t conn;
	const char *client_id, *address;
	uint8_t language;
	int32_t version;
	int pops; /* lt_hub_pops */
};
/* Each connection of a group of consumers; how many. `visit` is called under
 * the lock: it copies, and calls nothing here. */
size_t lt_hub_visit(struct lt_hub *hub, struct lt_remoting_text group,
    void (*visit)(const struct lt_hub_member *member, void *user), void *user);

#endif
