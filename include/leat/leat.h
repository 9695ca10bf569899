/*
 * leat.h - libleat, the client library of the Leat message broker.
 *
 * Threads. A `struct leat` and everything made from it belong to one thread at
 * a time. Use one handle per thread; handles share nothing.
 *
 * Processes. A handle does not survive fork() in the child: the child must not
 * touch it, not even to close it.
 *
 * Broker death. Any broker process, or the whole broker, may die at any time.
 * Calls then wait (bounded by their timeout) until it is back, re-attach, and
 * resubmit what has no receipt yet; the store drops what it already has, so
 * within one handle nothing is lost or doubled. Acknowledgements that had not
 * become durable when the *whole* broker died lead to redelivery.
 *
 * Time-outs are in milliseconds; 0 means do not wait, -1 wait for ever.
 * Strings are NUL-terminated UTF-8 and borrowed for the duration of the call
 * unless said otherwise. Calls return LEAT_OK or a negative status
 * (<leat/status.h>); leat_error() has one line about the last failure.
 */
#ifndef LEAT_LEAT_H
#define LEAT_LEAT_H

#include <stddef.h>
#include <stdint.h>
#include <leat/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LEAT_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LEAT_MUST_CHECK
#endif

#define LEAT_ID_CHARS 32 /* message id: 32 upper-case hex digits */

struct leat; /* one session with a broker */
struct leat_consumer; /* one subscription of that session */

/* What an acknowledgement means (leat-store(5) has the whole story). */
enum leat_level {
	LEAT_LEVEL_DEFAULT = 0, /* the topic's, else the broker's */
	LEAT_ACCEPTED = 1, /* in the lane: survives any one process */
	LEAT_LOGGED = 2, /* in the log: visible, survives all processes */
	LEAT_SYNCED = 3 /* fdatasync returned: survives power loss */
};

struct leat_options {
	const char *socket; /* NULL: $LEAT_SOCKET, then /run/leat/leat.sock */
	const char *name; /* shown in status; NULL: the program's name */
	uint64_t lane_bytes; /* 0: broker's default; power of two */
	int connect_timeout_ms; /* 0: 5000; -1: for ever */
	int spin_us; /* -1: never spin, 0: broker's default, else microseconds
		      */
	const char
	    *server; /* another host's broker: "leat://KEY@HOST:PORT",
			KEY its public key, or "rocketmq://HOST:PORT;...",
			its name servers; NULL: $LEAT_SERVER if socket is
			NULL too, then this host's broker */
	const char *key; /* leat://: file of our own key (leat key generate);
			    NULL: $LEAT_KEY, then ~/.config/leat/key */
};

/* --- session ----------------------------------------------------------- */

/*
 * Connect. *out is owned by the caller until leat_close(). options may be NULL.
 * Errors: UNREACHABLE, DENIED, VERSION, NOMEM, TIMEOUT.
 */
LEAT_MUST_CHECK int leat_connect(
    const struct leat_options *options, struct leat **out);
/*
 * Close; NULL is allowed. Does not wait for receipts (leat_flush() does), but
 * what was accepted is still logged. Consumers of this handle are closed too;
 * unacknowledged messages go to other members at once.
 */
void leat_close(struct leat *leat);
/* One line on the last failure of this handle; lent until its next call.
 * leat == NULL: the last failed leat_connect() of this thread. */
const char *leat_error(const struct leat *leat);
/* Version of the library, such as "0.1.0". */
const char *leat_version(void);
/* Round trip to the queue manager and the store. */
LEAT_MUST_CHECK int leat_ping(struct leat *leat, int timeout_ms);
/*
 * A descriptor that becomes readable when something may have arrived, for
 * applications with their own event loop. Before each wait call leat_arm():
 * 1 means work is ready already (do not wait), 0 means armed. Never read it.
 */
LEAT_MUST_CHECK int leat_fd(struct leat *leat);
LEAT_MUST_CHECK int leat_arm(struct leat *leat);

/* --- publish ------------------------------------------------------------ */

struct leat_property {
	const char *name;
	const char *value;
};

struct leat_message {
	const char *topic; /* must exist, or automatic creation be on */
	const void *body;
	size_t body_bytes; /* 0 is allowed */
	const char *keys; /* NULL, or keys separated by a space */
	const char *tag; /* NULL or one tag */
	const char *group_key; /* message group (sharding key); NULL: none */
	const struct leat_property *properties;
	size_t property_count;
	int32_t queue; /* -1: by group_key, else round robin */
	int32_t flag; /* opaque to the broker */
	enum leat_level level;
	int64_t born_time_ms; /* 0: now */
};
/* Initialiser: queue -1, everything else zero. */
#define LEAT_MESSAGE_INIT                                                      \
	{                                                                      \
		0, 0, 0, 0, 0, 0, 0, 0, -1, 0, LEAT_LEVEL_DEFAULT, 0           \
	}

struct leat_receipt {
	int status; /* LEAT_OK, or why this message was refused */
	enum leat_level level; /* level reached when the receipt was made */
	char id[LEAT_ID_CHARS + 1];
	uint32_t queue;
	int64_t queue_offset; /* -1: not known (see leat_publish) */
	int64_t log_offset; /* -1: not known */
	int64_t store_time_ms;
	void *user; /* what leat_submit() was given */
};

/*
 * Publish one message and wait until its level is reached. The body is copied
 * once. On LEAT_OK *receipt (may be NULL) is filled. After TIMEOUT the message
 * is still in flight and will be logged; its receipt comes from
 * leat_completions(). Offsets in a receipt are -1 if the whole broker died
 * in between and had logged the message before.
 * Errors: TOOBIG, NAME, NOTFOUND, QUEUE, DENIED, PERM, NOSPACE, TIMEOUT,
 * UNREACHABLE. Status of the store for this message is returned as well.
 */
LEAT_MUST_CHECK int leat_publish(struct leat *leat,
    const struct leat_message *message, int timeout_ms,
    struct leat_receipt *receipt);
/*
 * Publish count messages with one wake-up and wait for all. receipts, if not
 * NULL, has room for count. Returns the first status that is not LEAT_OK.
 */
LEAT_MUST_CHECK int leat_publish_batch(struct leat *leat,
    const struct leat_message *messages, size_t count, int timeout_ms,
    struct leat_receipt *receipts);
/*
 * Asynchronous publish: returns once the message is accepted into the lane,
 * waiting up to timeout_ms for room. Its receipt comes, in order of
 * submission, from leat_completions(). AGAIN: no room within the time-out.
 */
LEAT_MUST_CHECK int leat_submit(struct leat *leat,
    const struct leat_message *message, int timeout_ms, void *user);
/*
 * Zero copy: reserve room for a body of up to max_body_bytes in the lane (lent
 * until commit or abort; one reservation at a time), write it in place, commit
 * the size used. Commit is leat_submit()'s twin. `message->body` is ignored.
 */
LEAT_MUST_CHECK int leat_reserve(struct leat *leat,
    const struct leat_message *message, size_t max_body_bytes, int timeout_ms,
    void **body_out);
LEAT_MUST_CHECK int leat_commit(
    struct leat *leat, size_t body_bytes, void *user);
void leat_abort(struct leat *leat);
/*
 * Collect receipts of submitted messages whose level is reached, in order.
 * Returns how many (0 after the time-out) or a negative status.
 */
LEAT_MUST_CHECK int leat_completions(
    struct leat *leat, struct leat_receipt *out, size_t max, int timeout_ms);
/* Messages submitted and not yet collected. */
size_t leat_in_flight(const struct leat *leat);
/* Announce what was submitted now (submit announces in batches by itself
 * whenever it waits; call this before doing something else for long). */
void leat_kick(struct leat *leat);
/* Wait until every submitted message has reached its level; receipts stay
 * to be collected. */
LEAT_MUST_CHECK int leat_flush(struct leat *leat, int timeout_ms);

/* --- consume ------------------------------------------------------------ */

enum leat_from {
	LEAT_FROM_DEFAULT =
	    0, /* group: its progress, else begin; browse: end */
	LEAT_FROM_BEGIN = 1,
	LEAT_FROM_END = 2,
	LEAT_FROM_OFFSET = 3, /* from_value: queue offset; negative: that many
				 before the end */
	LEAT_FROM_TIME = 4 /* from_value: ms since the epoch, store time */
};

enum leat_mode {
	LEAT_CLUSTERING = 0, /* members of the group share the messages, or,
				while there are remote ones, the queues */
	LEAT_BROADCASTING = 1 /* each member gets all of them */
};

struct leat_subscription {
	const char *topic;
	const char *group; /* NULL: browse, nothing is remembered */
	enum leat_mode mode;
	const char *member; /* broadcasting: name its progress is kept under */
	const char *tags; /* NULL or "*": all; else "a || b" */
	int32_t queue; /* -1: all queues of the topic */
	enum leat_from from;
	int64_t from_value;
	uint64_t batch_bytes; /* room for one poll; 0: 1 MiB */
};
#define LEAT_SUBSCRIPTION_INIT                                                 \
	{                                                                      \
		0, 0, LEAT_CLUSTERING, 0, 0, -1, LEAT_FROM_DEFAULT, 0, 0       \
	}

struct leat_delivery {
	const char *topic; /* NUL-terminated, as are keys and tag */
	const void *body;
	size_t body_bytes;
	const char *keys; /* "" if none */
	const char *tag; /* "" if none */
	char id[LEAT_ID_CHARS + 1];
	uint32_t queue;
	int64_t queue_offset;
	int64_t log_offset;
	int64_t born_time_ms;
	int64_t store_time_ms;
	int32_t flag;
	uint32_t attempt; /* 1 on first delivery */
	const void *record; /* the stored message, RocketMQ's format */
	size_t record_bytes;
	uint64_t handle; /* for leat_ack(); opaque */
};

LEAT_MUST_CHECK int leat_subscribe(struct leat *leat,
    const struct leat_subscription *subscription, struct leat_consumer **out);
/* Close one subscription; what it held goes to other members at once. */
void leat_unsubscribe(struct leat_consumer *consumer);
/*
 * Up to max messages; waits up to timeout_ms for the first. Returns how many,
 * 0 after the time-out, or a negative status. What out points to is lent until
 * the next poll or unsubscribe of this consumer; the claim on the messages
 * lasts until acknowledged or its lease (status: leat_lease_ms) ends.
 */
LEAT_MUST_CHECK int leat_poll(struct leat_consumer *consumer,
    struct leat_delivery *out, size_t max, int timeout_ms);
/* Acknowledge. LEASE: at least one had been taken away and was redelivered;
 * the others are acknowledged all the same. Browse: no effect. */
LEAT_MUST_CHECK int leat_ack(struct leat_consumer *consumer,
    const struct leat_delivery *deliveries, size_t count);
/* Give back for immediate redelivery with attempt + 1. */
LEAT_MUST_CHECK int leat_nack(struct leat_consumer *consumer,
    const struct leat_delivery *deliveries, size_t count);
/* Start the lease of these anew. LEASE as for leat_ack(). */
LEAT_MUST_CHECK int leat_extend(struct leat_consumer *consumer,
    const struct leat_delivery *deliveries, size_t count);
/* Lease of the group in ms; 0 when browsing. */
int64_t leat_lease_ms(const struct leat_consumer *consumer);
/* 1 if every queue was read up to its end as it was at the time of the call:
 * what "exit at end" needs. */
LEAT_MUST_CHECK int leat_at_end(struct leat_consumer *consumer);
/* Value of a property of a delivery, NUL-terminated copy in buf; NOTFOUND,
 * or TOOBIG if it does not fit. */
LEAT_MUST_CHECK int leat_property_get(const struct leat_delivery *delivery,
    const char *name, char *buf, size_t buf_bytes);
/* Iterate: *cursor starts at 0; END after the last. */
LEAT_MUST_CHECK int leat_property_next(const struct leat_delivery *delivery,
    size_t *cursor, const char **name, size_t *name_bytes, const char **value,
    size_t *value_bytes);

/* --- administration ------------------------------------------------------ */

enum leat_perm {
	LEAT_PERM_WRITE = 2,
	LEAT_PERM_READ = 4,
	LEAT_PERM_BOTH = 6,
	LEAT_PERM_NONE = 8 /* neither; 0 would be the default */
};

struct leat_topic {
	char name[256];
	uint32_t read_queues;
	uint32_t write_queues;
	uint32_t perm; /* enum leat_perm */
	enum leat_level level; /* DEFAULT: the broker's */
	uint32_t system; /* 1: the broker's own */
};
/* Create; queue numbers 0 mean the broker's default, perm 0 both. EXISTS. */
LEAT_MUST_CHECK int leat_topic_create(
    struct leat *leat, const struct leat_topic *topic);
/* Change; zero fields stay as they are. INVALID for the unsafe order
 * read < write unless force. */
LEAT_MUST_CHECK int leat_topic_update(
    struct leat *leat, const struct leat_topic *topic, int force);
LEAT_MUST_CHECK int leat_topic_delete(struct leat *leat, const char *name);
LEAT_MUST_CHECK int leat_topic_describe(
    struct leat *leat, const char *name, struct leat_topic *out);
/* Lists call back once an entry; a non-zero return stops and is returned. */
LEAT_MUST_CHECK int leat_topic_list(struct leat *leat,
    int (*each)(const struct leat_topic *topic, void *user), void *user);

struct leat_queue_range {
	int64_t min_offset; /* oldest still there */
	int64_t max_offset; /* next to be written */
};
LEAT_MUST_CHECK int leat_queue_range(struct leat *leat, const char *topic,
    uint32_t queue, struct leat_queue_range *out);

struct leat_group {
	char name[256];
	char topic[256];
	enum leat_mode mode;
	char member[64]; /* broadcasting: whose progress; else "" */
	uint32_t queue;
	uint32_t members; /* sessions attached to this queue now */
	int64_t progress; /* next offset that is not acknowledged */
	int64_t claimed; /* handed out, not acknowledged */
	int64_t max_offset;
};
/* One call back per group, topic and queue. group NULL: all groups. */
LEAT_MUST_CHECK int leat_group_describe(struct leat *leat, const char *group,
    int (*each)(const struct leat_group *entry, void *user), void *user);
/* Move a group's progress on a topic. Without apply nothing changes; *each*
 * gets entries whose progress is what it would become. */
LEAT_MUST_CHECK int leat_group_seek(struct leat *leat, const char *group,
    const char *topic, enum leat_from from, int64_t value, int apply,
    int (*each)(const struct leat_group *entry, void *user), void *user);
/* BUSY while it has members. */
/*
 * What administrators have set for a group (NULL: for all), as such and for
 * single topics; a callback that does not return 0 ends it, and that is
 * returned. Strings are lent for the call. A session with another host's
 * broker: LEAT_E_UNSUPPORTED.
 */
struct leat_group_setting {
	const char *group;
	const char *topic; /* "": the group as such */
	const char *text; /* lines "name=value", RocketMQ's names; what is not
			     named has its default */
};
LEAT_MUST_CHECK int leat_group_settings(struct leat *leat, const char *group,
    int (*each)(const struct leat_group_setting *setting, void *user),
    void *user);
LEAT_MUST_CHECK int leat_group_delete(struct leat *leat, const char *group);

/* --- grants: who may do what -----------------------------------------------
 */

enum leat_right {
	LEAT_RIGHT_PUBLISH = 1,
	LEAT_RIGHT_SUBSCRIBE = 2,
	LEAT_RIGHT_MANAGE = 4,
	LEAT_RIGHT_TRACE = 8
};
struct leat_grant {
	char principal[96]; /* user:NAME, os-group:NAME, any, ak:NAME or
			       key:PUBLIC, see leat(1); ids when listed */
	char pattern[256]; /* of names, with * and ? */
	uint32_t on_group; /* 1: of groups, 0: of topics */
	uint32_t rights; /* enum leat_right */
	uint32_t fixed; /* listed: 1: a rule of the broker's file; tested, too:
			   2: root or the broker's own user */
};
/* These rights are granted, beside those that are. Durable on return, and in
 * force; for remote clients, too, some tenths of a second later. DENIED,
 * INVALID, LIMIT: leat_error() says what to do. */
LEAT_MUST_CHECK int leat_grant_add(
    struct leat *leat, const struct leat_grant *grant);
/* They are not any more; sessions that used them end. NOTFOUND: the same
 * principal and pattern have none of them in a grant. */
LEAT_MUST_CHECK int leat_grant_remove(
    struct leat *leat, const struct leat_grant *grant);
/* Rules of the file, then grants. DENIED. */
LEAT_MUST_CHECK int leat_grant_list(struct leat *leat,
    int (*each)(const struct leat_grant *grant, void *user), void *user);
/* Has the principal one of the rights on that name? *by_out (may be NULL): what
 * gives it. NOTFOUND: no. Supplementary groups of a user are not looked up. */
LEAT_MUST_CHECK int leat_grant_test(struct leat *leat, const char *principal,
    int on_group, const char *name, uint32_t rights, struct leat_grant *by_out);

/* Find messages; each callback's delivery is lent for its duration. topic may
 * be NULL for an id. NOTFOUND if there is none. */
LEAT_MUST_CHECK int leat_message_by_id(struct leat *leat, const char *topic,
    const char *id, int (*each)(const struct leat_delivery *, void *),
    void *user);
LEAT_MUST_CHECK int leat_message_by_key(struct leat *leat, const char *topic,
    const char *key, size_t max,
    int (*each)(const struct leat_delivery *, void *), void *user);
LEAT_MUST_CHECK int leat_message_by_offset(struct leat *leat, const char *topic,
    uint32_t queue, int64_t offset,
    int (*each)(const struct leat_delivery *, void *), void *user);

struct leat_process {
	char name[32];
	int64_t pid; /* 0: down */
	int64_t uptime_ms;
	uint64_t restarts;
};
struct leat_counter {
	char name[48];
	char unit[16];
	uint64_t value;
};
/* Through a network: broker, version, the ends of the log, topics, and counters
 * under RocketMQ's names; the rest is 0. */
struct leat_status_report {
	char broker[64];
	char version[16];
	struct leat_process processes[8];
	size_t process_count;
	int64_t log_min_offset;
	int64_t log_max_offset;
	int64_t log_synced_offset;
	uint64_t store_bytes;
	uint64_t disk_free_bytes;
	uint32_t recovering; /* 1 while the store recovers */
	uint32_t recovery_percent;
	uint32_t disk_full;
	uint64_t sessions;
	uint64_t topics;
	uint64_t groups;
	uint64_t rings;
	struct leat_counter counters[128];
	size_t counter_count;
};
LEAT_MUST_CHECK int leat_status_get(
    struct leat *leat, struct leat_status_report *out);

#ifdef __cplusplus
}
#endif
#endif
