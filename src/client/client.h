/*
 * client.h - the insides of libleat, shared by its files only.
 *
 * One struct leat per session, used by one thread at a time. What must be
 * fast (publish, poll, acknowledge) touches only shared memory; the socket
 * (link.c) carries requests and events, and is looked at when a call waits.
 */
#ifndef LT_CLIENT_CLIENT_H
#define LT_CLIENT_CLIENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)
#include <leat/leat.h>
#pragma GCC visibility pop

#include "base/check.h"
#include "base/fdpass.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "proto/wire.h"
#include "shm/doorbell.h"
#include "shm/grouptable.h"
#include "shm/lane.h"
#include "shm/page.h"
#include "shm/patience.h"
#include "shm/ring.h"
#include "shm/segment.h"

#define LT_CLIENT_MAGIC 0x4c656174u /* struct leat */
#define LT_CONSUMER_MAGIC 0x4c436f6eu /* struct leat_consumer */
#define LT_FOREVER UINT64_MAX
#define LT_REQUEST_MS 30000 /* administration, subscribe */
#define LT_TOPIC_OPEN_MS 5000
#define LT_COMMIT_MS 1000 /* broadcasting: between two COMMITs */
#define LT_PUMP_MS 10 /* busy publishers look at the socket this often */

/* --- producer's state ------------------------------------------------------
 */

/* One sequence in flight; slot seq & flight_mask. */
struct lt_flight {
	uint64_t seq; /* 0: none; else it is not collected yet */
	void *user;
	int64_t queue_offset;
	int64_t log_offset;
	int64_t store_ms;
	int32_t status;
	uint32_t queue;
	uint8_t level;
	uint8_t harvested; /* completion taken from a page */
	uint8_t
	    durable; /* a later broker's log, recovered and synced, has it */
	uint8_t waited; /* leat_publish collects it, not leat_completions */
};

enum lt_stale {
	LT_FRESH = 0,
	LT_STALE = 1, /* the session was resumed: open again */
	LT_REFUSED = 2 /* opening failed: try when it is used */
};

struct lt_topic {
	struct lt_topic *next;
	uint32_t id;
	uint32_t write_queues;
	uint32_t perm;
	uint32_t level;
	uint32_t turn; /* round robin */
	uint32_t stale; /* enum lt_stale */
	size_t name_bytes;
	char name[LT_NAME_FIELD];
};

/* Records without a receipt, copied out of a lane that died with its broker;
 * written again, in order, before anything new. Headers and payloads, each
 * aligned to 8. */
struct lt_backlog {
	uint8_t *bytes;
	size_t used;
	size_t at; /* written again up to here */
};

/* What a call needs to encode one message; strings are borrowed. */
struct lt_draft {
	struct lt_topic *topic;
	struct lt_record_spec spec;
	uint32_t level;
	uint32_t kind; /* enum lt_lane_kind */
	uint8_t *payload; /* claimed in the lane */
	size_t max_body;
};

/* --- consumer's state ------------------------------------------------------
 */

enum lt_source {
	LT_SOURCE_FETCH = 0,
	LT_SOURCE_RING = 1
};

struct lt_inlet { /* one queue of one subscription */
	uint32_t queue;
	uint32_t index;
	uint64_t id; /* subscription; 0: none */
	uint32_t owner; /* in the group table */
	uint32_t epoch; /* of claims: another table or owner, another epoch */
	uint32_t made; /* times subscribed: segments are new each time */
	uint32_t stale; /* 1: subscribe again */
	int is_idle; /* another member has this queue for now */
	int status; /* final: why it can not be read any more */
	uint64_t retry_at; /* ms; stale, last attempt failed */
	int source;
	int64_t next; /* next offset to look at */
	int64_t acked; /* broadcasting: acknowledged below */
	int64_t handed; /* broadcasting: delivered below */
	int64_t committed;
	enum leat_from from; /* of the first subscribe */
	int64_t from_value;
	/* ring */
	struct lt_segment ring_seg; /* base NULL: none */
	struct lt_ring_reader ring;
	uint32_t laps;
	/* group table */
	struct lt_segment table_seg;
	struct lt_table table;
	uint64_t table_ino;
	uint32_t returned; /* last seen */
	int64_t rescan; /* -1: nothing to look for below next */
	int limited; /* window was full at the last look */
	/* fetch buffer, while fetch_turn is the session's */
	int must_fetch; /* the ring has it only by name */
	int fetch_is_again; /* for claims that came back, not for next */
	int again_waits; /* these wait until the buffer is used up */
	uint32_t fetch_wanted; /* bytes; less after a buffer was lost unread */
	uint64_t fetch_turn;
	uint64_t fetch_at;
	uint64_t fetch_bytes;
	uint32_t fetch_left;
	int64_t fetch_next; /* offset behind what was fetched */
	int64_t fetch_end; /* queue's end as of the fetch */
};

struct lt_tag {
	int64_t code;
	const char *text;
	size_t bytes;
};

struct lt_far; /* remote/inside.h */
struct lt_farreader;

struct leat_consumer {
	uint32_t magic;
	struct leat *leat;
	struct leat_consumer *next;
	struct lt_inlet **inlets;
	size_t inlet_count;
	size_t inlet_capacity;
	uint32_t topic_id;
	uint32_t want_queues; /* read queues as of the last event */
	uint32_t turn;
	struct lt_inlet *fetcher; /* who fetched last, and reads on */
	int others_wait; /* to fetch, until that is used up */
	int put_off; /* somebody was, in this pass: another finds more */
	int all_queues;
	int is_narrow; /* polls are of one queue alone (relay.c) */
	uint32_t narrow_queue;
	int is_in_order; /* nothing overtakes what comes again (relay.c) */
	int is_unasked; /* nobody waits for its messages (relay.c) */
	int joined; /* the first subscription of every queue is made */
	enum leat_mode mode;
	int grouped; /* clustering: claims */
	enum leat_from from;
	int64_t from_value;
	int64_t lease_ms;
	uint32_t stamp; /* claim time of the current poll */
	uint64_t commit_at;
	uint64_t deadline; /* of the current poll */
	struct lt_tag *tags;
	size_t tag_count; /* 0: all */
	char *tag_text;
	struct lt_farreader *reader; /* of a remote session */
	/* batch */
	uint8_t *batch;
	size_t batch_bytes;
	uint8_t *big; /* one record that does not fit the batch */
	size_t big_bytes;
	size_t used;
	char topic[LT_NAME_FIELD];
	char group[LT_NAME_FIELD];
	char member[LT_MEMBER_FIELD];
};

/* --- session -----------------------------------------------------------------
 */

enum lt_link_state {
	LT_LINK_DOWN,
	LT_LINK_HELLO,
	LT_LINK_UP
};

struct leat {
	uint32_t magic;
	/* link */
	enum lt_link_state link;
	int sock;
	uint32_t tag;
	uint32_t hello_tag;
	uint64_t try_at; /* ms; next attempt to connect */
	uint32_t backoff_ms;
	int request_ms; /* LT_REQUEST_MS, unless lt_relay_patience() was told */
	uint64_t pumped_at;
	int restoring;
	int refused; /* status of the last refused HELLO */
	int connect_errno;
	int patient; /* wait for a socket that is not there yet */
	uint8_t *rx;
	size_t rx_bytes;
	int rx_fds[LT_FDPASS_MAX];
	size_t rx_fd_count;
	char *path;
	char name[LT_MEMBER_FIELD];
	char broker[LT_MEMBER_FIELD];
	/* session */
	uint64_t session;
	uint8_t token[16];
	uint64_t boot;
	uint64_t store_gen;
	uint64_t lane_bytes;
	uint64_t max_body_bytes;
	uint32_t default_level;
	int spin_option;
	uint32_t spin_us;
	struct lt_patience patience;
	/* segments */
	struct lt_segment lane_seg;
	uint64_t lane_ino;
	struct lt_lane_writer lane;
	struct lt_segment page_seg;
	struct lt_page_shared *page;
	uint64_t page_entries;
	struct lt_segment beacon_seg;
	struct lt_beacon_shared *beacon;
	uint8_t follows, must_follow, wants_log; /* relay.c */
	uint8_t must_tell;
	void (*on_locals)(const char *group, void *user);
	void *on_locals_user;
	int store_bell;
	int client_bell;
	/* producer */
	uint64_t next_seq;
	uint64_t harvested; /* completions up to here are in the flights */
	uint64_t synced;
	uint64_t oldest; /* no flight below is uncollected */
	struct lt_flight *flights;
	uint64_t flight_mask;
	size_t in_flight;
	struct lt_hash topics;
	struct lt_topic *topic_list;
	struct lt_topic *last_topic;
	struct lt_record_property *properties;
	size_t property_capacity;
	struct lt_draft reserved;
	int has_reserved;
	char *reserve_text;
	size_t reserve_capacity;
	struct lt_backlog backlog;
	/* consumers */
	struct leat_consumer *consumers;
	uint64_t poll_count;
	struct lt_segment fetch_seg;
	uint64_t fetch_turn;
	/* event loop */
	int epoll;
	int timer;
	struct lt_far *far; /* of a remote session, which uses only error */
	char error[320];
};

/* --- connect.c: errors, session --------------------------------------------
 */

/* Note one line and return status. */
int lt_connect_fail(struct leat *leat, int status, const char *fmt, ...)
    LT_PRINTF(3, 4);
/* Apply a WELCOME that lies in rx with its descriptors (taken). */
int lt_connect_welcome(struct leat *leat) LT_MUST_CHECK;
/* Map a page and a beacon (descriptors taken); completions of the old page are
 * harvested first. */
int lt_connect_page(
    struct leat *leat, int page_fd, int beacon_fd) LT_MUST_CHECK;
/* Map a lane (taken), empty, beginning where the page says. */
int lt_connect_lane(struct leat *leat, int fd) LT_MUST_CHECK;
/* Open stale topics, subscribe stale inlets, write the backlog again. What did
 * not succeed stays stale; a later call goes on. */
void lt_connect_restore(struct leat *leat, uint64_t deadline);
int lt_connect_valid(const struct leat *leat);

/* --- link.c: admission socket ------------------------------------------------
 */

/* Connect and send HELLO if it is time to; never blocks. */
void lt_link_try(struct leat *leat);
/* Wait until the session is admitted and restored. OK, TIMEOUT, UNREACHABLE
 * or why HELLO was refused. */
int lt_link_up(struct leat *leat, uint64_t deadline) LT_MUST_CHECK;
void lt_link_down(struct leat *leat);
/*
 * Send a request (header filled by lt_wire_init here) and wait for its reply,
 * which then lies in rx with rx_fds, until the next receive. Hang-ups are
 * retried until the deadline; *retried_out (may be NULL) says whether it was.
 * The reply's status if it is not LEAT_OK; else LEAT_OK, TIMEOUT, UNREACHABLE.
 */
int lt_link_call(struct leat *leat, enum lt_op op, void *request, size_t bytes,
    uint64_t deadline, int *retried_out) LT_MUST_CHECK;
/* Send without waiting; the reply is dropped when it comes. */
void lt_link_post(
    struct leat *leat, enum lt_op op, void *request, size_t bytes);
/* Take what the socket has; reconnect if it is time to. Never blocks for long
 * unless a session has to be restored, and then only until the deadline. */
void lt_link_pump(struct leat *leat, uint64_t deadline);
/* The same, if the last time is longer ago than ms. */
void lt_link_glance(struct leat *leat, unsigned ms);
/* Take over descriptor i of the message in rx; -1 if there is none. */
int lt_link_take_fd(struct leat *leat, size_t i);
/* Make the fetch buffer that came in rx the session's, if one came. */
int lt_link_take_fetch(struct leat *leat) LT_MUST_CHECK;

/* --- wait.c
 * ------------------------------------------------------------------- */

uint64_t lt_wait_deadline(int timeout_ms);
int lt_wait_expired(uint64_t deadline);
/* Milliseconds left, at most cap. */
int lt_wait_left(uint64_t deadline, int cap);
/*
 * Sleep once on the doorbell for `bits` unless ready(user) says 1 behind the
 * fence; then look at the socket. slice_ms: cap of this sleep.
 */
void lt_wait_once(struct leat *leat, uint32_t bits, uint64_t want_logged,
    uint64_t want_synced, int (*ready)(void *user), void *user,
    uint64_t deadline, int slice_ms);
/* Tell epoll about new descriptors. */
void lt_wait_watch(struct leat *leat, int fd);

/* --- producer.c
 * ---------------------------------------------------------------- */

/* Make what was put visible and wake the store if it sleeps. */
void lt_producer_announce(struct leat *leat);
/* Encode and put one message; *seq_out is its sequence. announce 0: the caller
 * does it. AGAIN: no room until the deadline. */
int lt_producer_put(struct leat *leat, const struct leat_message *message,
    uint64_t deadline, void *user, int waited, int announce,
    uint64_t *seq_out) LT_MUST_CHECK;
/* Open (again). */
int lt_producer_topic_open(
    struct leat *leat, struct lt_topic *topic, uint64_t deadline) LT_MUST_CHECK;

/* EV_TOPIC: numbers changed, or it was deleted. */
void lt_producer_topic_event(struct leat *leat, const struct lt_wire_topic *ev);
/* Opened, though nobody waits for it any more. */
void lt_producer_topic_late(struct leat *leat, const struct lt_wire_topic *msg);

struct lt_topic *lt_producer_topic_by_id(struct leat *leat, uint32_t id);

/* --- lanes.c: room in the lane, larger lanes, lanes that died
 * --------------------- */

int lt_lanes_claim(struct leat *leat, uint32_t bytes, uint64_t deadline,
    uint8_t **payload_out) LT_MUST_CHECK;
/* Copy what has no receipt out of the lane, before it is unmapped. */
int lt_lanes_salvage(struct leat *leat) LT_MUST_CHECK;
/* Write the backlog again as far as there is room. */
void lt_lanes_refill(struct leat *leat, uint64_t deadline);
void lt_lanes_fini(struct leat *leat);

/* --- receipt.c
 * --------------------------------------------------------------------- */

/* Make room for as many flights as a page has entries. */
int lt_receipt_init(struct leat *leat) LT_MUST_CHECK;
struct lt_flight *lt_receipt_add(struct leat *leat, uint64_t seq);
/* 1 if there is no slot for another flight. */
int lt_receipt_full(struct leat *leat);
/* Take new completions from the page into the flights. */
void lt_receipt_harvest(struct leat *leat);
/* Another broker read the log back, synced it, and has sequences up to in_log:
 * what is known to be logged is durable. */
void lt_receipt_judge(struct leat *leat, uint64_t in_log);
/* 1 if the first uncollected submitted message is complete. */
int lt_receipt_ready(struct leat *leat);
/* What to wait for: the sequences of the first uncollected message. */
void lt_receipt_want(
    struct leat *leat, uint64_t *want_logged, uint64_t *want_synced);

/* --- inlet.c: one queue of a subscription -------------------------------- */

int lt_inlet_add(struct leat_consumer *c, uint32_t queue, enum leat_from from,
    int64_t from_value) LT_MUST_CHECK;
/* Subscribe (again) and map what comes. */
int lt_inlet_subscribe(struct leat_consumer *c, struct lt_inlet *in,
    uint64_t deadline) LT_MUST_CHECK;
/* Add new queues, subscribe stale ones. TIMEOUT, UNREACHABLE: go on later. */
int lt_inlet_restore(struct leat_consumer *c, uint64_t deadline) LT_MUST_CHECK;
void lt_inlet_moved(struct leat *leat, uint64_t id);
void lt_inlet_topic(struct leat *leat, const struct lt_wire_topic *ev);
/* The session was resumed: every subscription must be made again. */
void lt_inlet_stale_all(struct leat *leat);
/* Another boot: subscription ids of the old one mean nothing. */
void lt_inlet_forget_ids(struct leat *leat);

/* --- fetched.c: the fetch buffer -------------------------------------------
 */

/* Where a record is: in a ring, or (payload not NULL) in the fetch buffer. */
struct lt_found {
	struct lt_ring_head head;
	struct lt_ring_reader *ring;
	const uint8_t *payload;
};
/* It is written from now on, or has been: nobody reads on in it. */
void lt_fetched_void(struct leat *leat);
/* 1 if what it has is this queue's. */
int lt_fetched_has(const struct leat_consumer *c, const struct lt_inlet *in);
/* May it fetch now? 0: another reads on, or has waited longer. */
int lt_fetched_turn(struct leat_consumer *c, struct lt_inlet *in);
/* Ask for records from `offset` on. OK, AGAIN (not now), or final. */
int lt_fetched_ask(struct leat_consumer *c, struct lt_inlet *in, int64_t offset,
    uint32_t max_count) LT_MUST_CHECK;
/* The next record. 0: none, or (some left) the rest makes no sense. */
int lt_fetched_next(
    struct leat_consumer *c, struct lt_inlet *in, struct lt_found *f);
void lt_fetched_step(struct lt_inlet *in, const struct lt_found *f);
/* That was the last. */
void lt_fetched_used_up(struct leat_consumer *c, struct lt_inlet *in);
/* Something else came into it before. */
void lt_fetched_lost(struct lt_inlet *in);

/* --- consumer.c --- */
/* "a || b" into tags. INVALID, NOMEM. */
int lt_consumer_tags(struct leat_consumer *c, const char *text) LT_MUST_CHECK;

/* --- take.c: from ring or fetch buffer into the batch
 * ---------------------------------- */

/* Deliver up to max from one queue. Count or negative status. */
int lt_take_inlet(struct leat_consumer *c, struct lt_inlet *in,
    struct leat_delivery *out, size_t max);
/* 1 if a poll would find something to look at (ringless: not known, 0). */
int lt_take_ready(struct leat_consumer *c, struct lt_inlet *in);
/* Begin with inlet->next: ring if it holds it, else fetch. */
void lt_take_begin(struct lt_inlet *in);
/* Queue's end as known without a request; -1: not known. */
int64_t lt_take_end(struct lt_inlet *in);

/* --- delivery.c
 * -------------------------------------------------------------------------- */

/* Bytes of the strings that lt_delivery_fill appends. */
size_t lt_delivery_text_bytes(const struct lt_record_texts *t);
/* Fill from a parsed record; keys and tag are copied to text. */
void lt_delivery_fill(struct leat_delivery *d, const struct lt_record_view *v,
    const struct lt_record_texts *t, const char *topic, char *text);

/* --- relay.c --- */
/* Say again what a resumed session had asked for. */
void lt_relay_restore(struct leat *leat, uint64_t deadline);
/* EV_LOCALS. */
void lt_relay_locals_event(struct leat *leat, const struct lt_wire_name *ev);

#endif
