/*
 * wire.h - messages between processes of one host: one SOCK_SEQPACKET datagram
 * each, host byte order, fixed structs from ops.def, some with a tail. Nothing
 * per message published goes this way.
 *
 * A receiver copies the datagram, then checks: magic, version, op allowed from
 * that sender, size at least the struct, tail inside, every name field
 * terminated (lt_wire_check does all that), then uses it.
 */
#ifndef LT_PROTO_WIRE_H
#define LT_PROTO_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/limits.h"
#include "proto/auditline.h"
#include "proto/options.h"

#define LT_WIRE_MAGIC 0x4c54u /* "TL" */
#define LT_WIRE_VERSION 1
#define LT_WIRE_REPLY 1u

enum lt_op {
#define OP(symbol, code, name, from, to, request, reply) symbol = code,
#include "proto/ops.def"
#undef OP
};

struct lt_wire {
	uint16_t magic;
	uint16_t version;
	uint16_t op;
	uint16_t flags;
	uint32_t tag; /* echoed by the reply */
	int32_t status; /* of a reply: enum leat_status */
	uint32_t bytes; /* whole message, header included */
	uint32_t tail_bytes;
};

struct lt_wire_none {
	struct lt_wire h;
};
struct lt_wire_event {
	struct lt_wire h;
};
struct lt_wire_number {
	struct lt_wire h;
	uint64_t number;
	uint64_t value;
};
struct lt_wire_name {
	struct lt_wire h;
	char name[LT_NAME_FIELD];
};

/* --- sessions --- */
struct lt_wire_hello {
	struct lt_wire h;
	uint64_t session; /* 0: new; else resume this one */
	uint8_t token[16]; /* of the session to resume */
	uint64_t last_seq; /* resume: highest sequence the client used */
	uint64_t boot; /* resume: broker boot the client knows */
	uint64_t lane_bytes;
	char name[LT_MEMBER_FIELD];
};
/*
 * Descriptors of the reply, in order: lane (client RW, sealed against
 * resizing), page (client RO, sealed), beacon (client RO, sealed), eventfd
 * towards the store, eventfd towards the client.
 * Resuming with the same boot gives back the same lane with its contents.
 * With another boot the lane is new and empty: the client writes again every
 * message for which it has no receipt, with its old sequence.
 */
struct lt_wire_welcome {
	struct lt_wire h;
	uint64_t session;
	uint8_t token[16];
	uint64_t boot; /* changes when leatd starts */
	uint64_t store_gen; /* changes when leat-store starts */
	uint64_t lane_bytes;
	uint64_t max_body_bytes;
	uint32_t default_level; /* enum leat_level */
	uint32_t spin_us; /* 0: sleep at once */
	uint64_t next_seq; /* first sequence of a new session: 1 */
	char broker[LT_MEMBER_FIELD];
};
/* EV_PAGE after the store came back: fds page, beacon. The lane stays. */
struct lt_wire_page {
	struct lt_wire h;
	uint64_t store_gen;
};

/* --- topics --- */
struct lt_wire_topic_open {
	struct lt_wire h;
	uint32_t rights; /* LT_RIGHT_PUBLISH: grant and create if automatic */
	uint32_t exists; /* 1: not created, unless it is the broker's own */
	char name[LT_NAME_FIELD];
};
struct lt_wire_topic {
	struct lt_wire h;
	uint32_t id; /* stable for the life of the topic */
	uint32_t read_queues;
	uint32_t write_queues;
	uint32_t perm;
	uint32_t level;
	uint32_t system;
	uint32_t deleted; /* S_TOPIC, EV_TOPIC */
	uint32_t force; /* TOPIC_UPDATE */
	char name[LT_NAME_FIELD];
};
/* TOPIC_LIST: request names the last one seen (""); tail: struct
 * lt_wire_topic_entry[]; more: ask again with the last name. */
struct lt_wire_topic_entry {
	uint32_t read_queues, write_queues, perm, level, system, id;
	char name[LT_NAME_FIELD];
};
struct lt_wire_topics {
	struct lt_wire h;
	uint32_t count;
	uint32_t more;
};
struct lt_wire_queue {
	struct lt_wire h;
	uint32_t topic; /* id; QUEUE_RANGE from a client: 0, by name */
	uint32_t queue;
	char name[LT_NAME_FIELD];
};
struct lt_wire_range {
	struct lt_wire h;
	int64_t min_offset;
	int64_t max_offset;
};

/* --- consuming --- */
struct lt_wire_subscribe {
	struct lt_wire h;
	uint32_t queue;
	uint32_t mode; /* enum leat_mode */
	uint32_t from; /* enum leat_from */
	uint32_t resume; /* 1: after EV_MOVED or resume; from/value = position;
			    2: the same, and the reply had no table, or that
			    was left to others */
	int64_t value;
	uint64_t old_id; /* resume: subscription replaced, 0: none */
	char topic[LT_NAME_FIELD];
	char group[LT_NAME_FIELD]; /* "": browse */
	char member[LT_MEMBER_FIELD];
};
/* fds: ring (RO, sealed) if has_ring, then group table (RW, sealed against
 * resizing) if has_table. Clustering without a table: the queue is another
 * member's for now; EV_MOVED says when to ask again. */
struct lt_wire_subscribed {
	struct lt_wire h;
	uint64_t id;
	uint32_t topic_id;
	uint32_t queues; /* read queues of the topic */
	uint32_t owner; /* of claim words; 0 when browsing */
	uint32_t window;
	int64_t offset; /* where to begin */
	int64_t min_offset;
	int64_t max_offset;
	int64_t lease_ms;
	uint32_t has_ring;
	uint32_t has_table;
};
struct lt_wire_fetch {
	struct lt_wire h;
	uint32_t topic; /* id */
	uint32_t queue;
	int64_t offset;
	uint32_t max_bytes;
	uint32_t max_count;
};
/*
 * The records lie in the session's fetch buffer (client RO, sealed; its
 * descriptor comes with the reply if has_buffer: then it is new and replaces
 * the old one), each behind a struct lt_ring_head, 32-byte aligned, from
 * LT_SEGMENT_DATA_AT on. They are valid until the next FETCH or FIND of the
 * session. Records that are damaged or gone are left out: next_offset skips
 * them.
 */
struct lt_wire_fetched {
	struct lt_wire h;
	uint32_t count;
	uint32_t has_buffer;
	uint64_t data_bytes;
	int64_t next_offset;
	int64_t min_offset;
	int64_t max_offset;
	uint64_t skipped; /* damaged records left out */
};
struct lt_wire_commit {
	struct lt_wire h;
	uint64_t id; /* subscription (broadcasting) */
	int64_t offset;
};
struct lt_wire_find {
	struct lt_wire h;
	uint32_t what; /* 1 id (UNIQ_KEY or offset id), 2 key */
	uint32_t max;
	char topic[LT_NAME_FIELD]; /* "" with an id: any */
	char key[512];
};

/* --- groups --- */
struct lt_wire_group {
	struct lt_wire h;
	uint64_t cursor; /* 0, then as replied */
	char group[LT_NAME_FIELD]; /* "": all */
};
struct lt_wire_seek {
	struct lt_wire h;
	uint32_t from;
	uint32_t apply;
	int64_t value;
	uint64_t cursor;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
};
struct lt_wire_group_entry {
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
	char member[LT_MEMBER_FIELD];
	uint32_t mode, queue, members, reserved;
	int64_t progress, claimed, max_offset;
};
struct lt_wire_groups { /* tail: entries */
	struct lt_wire h;
	uint32_t count;
	uint32_t reserved;
	uint64_t cursor; /* 0: that was all */
};
/* What is set for a group; with a topic: for it. GROUP_SET: the tail is the
 * text, lines "name=value"; only_new: EXISTS if something is set. GROUP_UNSET:
 * nothing is set for the group any more. Reply of both: queue_group_changes as
 * of then. */
struct lt_wire_group_set {
	struct lt_wire h;
	uint32_t only_new;
	uint32_t reserved;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD]; /* "": the group as such */
};
/* GROUP_SETTINGS: in the tail, count times, each 8-byte aligned. */
struct lt_wire_setting {
	uint32_t text_bytes; /* behind it, and a NUL */
	uint32_t reserved;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
};
/* STATUS: fd 0 is the counter segment, read-only. */
struct lt_wire_status {
	struct lt_wire h;
	char broker[LT_MEMBER_FIELD];
	char version[16];
};

/* --- grants --- */
enum lt_rule_origin {
	LT_RULE_GRANT = 0, /* a record of the log */
	LT_RULE_FILE = 1, /* a line of [access] */
	LT_RULE_OWN = 2 /* root, or the broker's own user */
};
/* GRANT_ADD, GRANT_REMOVE: these rights; the reply has all that the grant has
 * then. GRANT_TEST: has `who` one of the rights on the name in `pattern`? The
 * reply has those it has, and in who and pattern the rule that gives the first
 * of them. who: with numbers. */
struct lt_wire_rule {
	struct lt_wire h;
	uint32_t what; /* enum lt_access_what */
	uint32_t rights;
	uint32_t origin; /* replies: enum lt_rule_origin */
	uint32_t reserved;
	char who[LT_PRINCIPAL_TEXT];
	char pattern[LT_NAME_FIELD];
	char why[200]; /* of a refusal: one line, or "" */
};
/* GRANT_LIST: number is 0, then `next` as replied. Rules of the file first. */
struct lt_wire_rule_entry {
	uint32_t what, rights, origin, reserved;
	char who[LT_PRINCIPAL_TEXT];
	char pattern[LT_ACCESS_PATTERN];
};
struct lt_wire_rules { /* tail: entries */
	struct lt_wire h;
	uint32_t count;
	uint32_t reserved;
	uint64_t next; /* 0: that was all */
	uint64_t
	    changes; /* queue_grant_changes: another one means begin anew */
};
/* AUDIT, from who may relay: tail, lines of the audit topic. */
#define LT_AUDIT_ENTRIES 48 /* of one message, at most */
struct lt_wire_audit_entry {
	uint32_t is_refusal;
	uint32_t reserved;
	char line[LT_AUDITLINE_MAX];
};
struct lt_wire_audit {
	struct lt_wire h;
	uint32_t count;
	uint32_t reserved;
};

/* --- groups with remote members; from who may relay --- */
/* GROUP_COMMIT: the tail is count offsets. Reply: number taken, value ignored.
 */
struct lt_wire_offset {
	int64_t offset;
	uint32_t queue;
	uint32_t reserved;
};
struct lt_wire_offsets {
	struct lt_wire h;
	uint32_t count;
	uint32_t reserved;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
};
struct lt_wire_progress { /* reply: number is the offset */
	struct lt_wire h;
	uint32_t queue;
	uint32_t reserved;
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
};
/* Client ids, in the tail, each with a NUL. GROUP_REMOTES: all that the group
 * has, in parts; the last takes effect. GROUP_LOCALS: asks from `first` on. */
struct lt_wire_members {
	struct lt_wire h;
	uint32_t first; /* place of the tail's first id in the whole */
	uint32_t count;
	uint32_t more; /* 1: another part follows, or is to be asked for */
	uint32_t reserved;
	char group[LT_NAME_FIELD];
};

/* --- queue manager and store --- */
/* fds: lane, new page (not yet sealed), eventfd to store, eventfd to client,
 * and if has_old the page of the store's predecessor. tail: uint32_t topic ids
 * the session may publish to. The store drains only after S_OPEN. */
struct lt_wire_attach {
	struct lt_wire h;
	uint64_t session;
	uint32_t pid; /* stamped as born port */
	uint32_t uid;
	uint32_t has_old;
	uint32_t topic_count;
	uint32_t relay; /* 1: may publish for remote clients; 2: is woken when
			   the log grows */
	uint32_t reserved;
};
/* The store mapped the page; the queue manager seals it now. */
struct lt_wire_attached {
	struct lt_wire h;
	uint64_t session;
	uint64_t logged; /* last sequence the log has of this session */
};
struct lt_wire_grant {
	struct lt_wire h;
	uint64_t session;
	uint32_t topic;
	uint32_t allow;
};
struct lt_wire_watch {
	struct lt_wire h;
	uint64_t session;
	uint32_t topic;
	uint32_t queue;
	uint32_t on;
	uint32_t reserved;
};
/*
 * A system message: tail is an unsealed record (lt_record_finish) of a system
 * topic. The reply comes when it is synced (or logged if level says so).
 * Or a message that was delayed: then session is its delay level, and it is
 * appended as one that was relayed, if the level's last sequence is prev; BUSY
 * if it is another. Its record may be in fd 0 instead: file_bytes of it.
 */
struct lt_wire_append {
	struct lt_wire h;
	uint32_t topic;
	uint32_t level;
	uint64_t session; /* 0, or 1 to LT_LEVELS_MAX */
	uint64_t prev, seq;
	uint64_t file_bytes;
};
/* Answered when the queue has an entry at or behind offset. The newest of a
 * queue counts, an earlier one is never answered. */
struct lt_wire_await {
	struct lt_wire h;
	uint32_t topic;
	uint32_t queue;
	int64_t offset;
};
struct lt_wire_appended {
	struct lt_wire h;
	int64_t queue_offset;
	int64_t log_offset;
};
/* First message of a store on a new peer socket, after E_TOPIC for each topic
 * it knows from the log (name, queues seen; id 0) and the beacon (E_BEACON
 * with fd 0, to be sealed by the queue manager). The queue manager then sends
 * S_TOPIC*, S_ATTACH*, S_RING*, S_WATCH*, S_OPEN. */
struct lt_wire_store_ready {
	struct lt_wire h;
	uint64_t store_gen;
	int64_t log_min;
	int64_t log_end;
};

/* --- supervisor --- */
enum lt_keep {
	LT_KEEP_SESSION = 1, /* id = session; fds lane, pidfd, eventfd to store,
				eventfd to client */
	LT_KEEP_PAGE = 2, /* id = session; fd page of the current store */
	LT_KEEP_TABLE = 3, /* id = table; fd group table; blob names it */
	LT_KEEP_BEACON = 4, /* id 0; fd */
	LT_KEEP_RING = 5, /* id = ring; fd; blob names it */
	LT_KEEP_STATE = 6 /* id 0; fd: the store's private state segment */
};
/* KEEP replaces an entry of the same kind and id, fds included. Entries go to
 * every restarted child as KEPT before START; a child ignores kinds it does
 * not use (and closes their fds). */
struct lt_wire_keep {
	struct lt_wire h;
	uint32_t kind;
	uint32_t blob_bytes;
	uint64_t id;
	uint8_t blob[1024];
};
/* fds: peer socket (queue-store pair); queue: also listening socket, lock of
 * the directory is the supervisor's. fd order: counter segment, DIR, peer,
 * [listener]. DIR is an O_PATH-less directory descriptor, readable. */
struct lt_wire_start {
	struct lt_wire h;
	uint64_t boot;
	uint64_t generation; /* of this process: 1, 2, ... */
	uint64_t store_gen;
	struct lt_options options;
};

/* Row of ops.def; NULL for an unknown op. */
struct lt_wire_op {
	enum lt_op op;
	const char *name;
	char from;
	char to;
	size_t request_bytes;
	size_t reply_bytes;
};
const struct lt_wire_op *lt_wire_op_row(unsigned op);
/*
 * Check a received datagram (private copy): header, size, and that `sender`
 * may send it to `receiver`. is_reply_out tells which struct it is. Name
 * fields are checked by lt_wire_field users. A reply with a status other than
 * LEAT_OK may be the header alone: look at the status first. LEAT_OK, CORRUPT,
 * VERSION, DENIED (sender may not send it, or unknown op).
 */
int lt_wire_check(const void *msg, size_t bytes, char sender, char receiver,
    int *is_reply_out) LT_MUST_CHECK;
/* A name field of a checked message: LEAT_OK if it is terminated, else
 * CORRUPT. */
int lt_wire_field(const char *field, size_t bytes) LT_MUST_CHECK;
/* Fill a header: bytes = struct + tail. */
void lt_wire_init(struct lt_wire *h, enum lt_op op, size_t struct_bytes,
    size_t tail_bytes, uint32_t tag);
/* Fill a reply's header to request h. */
void lt_wire_reply(struct lt_wire *h, const struct lt_wire *request,
    size_t struct_bytes, size_t tail_bytes, int status);
/* Tail of a checked message of this struct size. */
static inline void *
lt_wire_tail(void *msg, size_t struct_bytes)
{
	return (char *)msg + struct_bytes;
}

#endif
