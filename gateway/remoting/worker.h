/*
 * worker.h - one worker thread: its loop, its session with the broker, its view
 * of the log, and what waits in it. Private to gateway/remoting.
 */
#ifndef LT_REMOTING_WORKER_H
#define LT_REMOTING_WORKER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <leat/leat.h>
#include "client/relay.h"
#include "net/net.h"
#include "proto/limits.h"
#include "remoting/clerk.h"
#include "remoting/call.h"
#include "remoting/sessions.h"
#include "store/consumequeue.h"
#include "store/reader.h"
#include "tail/tail.h"

struct lt_asked_ask; /* asked.c */
struct lt_entrances;
struct lt_groupkeep;
struct lt_polled; /* polled.c */
struct lt_groups;
struct lt_guard;
struct lt_hub;
struct lt_ledger;
struct lt_naming;
struct lt_hub_changes;
struct lt_options;
struct lt_popper;
struct lt_post;
struct lt_registrar;
struct lt_post_box;
struct lt_sharing;
struct lt_sending; /* send.c */
struct lt_visitors;
struct lt_pull; /* pull.c */

/* The tag of a listener, and so of its connections. */
enum lt_role {
	LT_ROLE_BROKER = 0,
	LT_ROLE_NAMES = 1,
	LT_ROLE_CHANNEL = 2 /* both: no code has two meanings */
};

/* What all workers share; set up before they start, then read only. */
struct lt_gateway {
	struct lt_hub *hub;
	struct lt_clerk *clerk;
	struct lt_post *post; /* letters between workers */
	struct lt_visitors *visitors; /* peers of channels */
	struct lt_groups *groups; /* their configuration */
	struct lt_groupkeep *groupkeep; /* with leat-queue */
	uint64_t (*group_changes)(void); /* grows when leat-queue's changes */
	struct lt_guard *guard; /* NULL: whoever connects may do everything */
	struct lt_ledger *ledger; /* for the audit topic */
	struct lt_registrar *registrar; /* NULL: nobody else is told */
	const struct lt_entrances *entrances; /* NULL: none awaits keys */
	struct lt_naming *naming; /* NULL: no name server here */
	struct lt_sharing *sharing; /* what leat-queue is told of members */
	struct lt_sessions *sessions; /* of clients that connect again */
	struct lt_popper *popper; /* takes messages for those who do */
	const char *broker_name, *cluster_name;
	const char
	    *address; /* that clients dial, "host:port"; NULL: none can */
	const struct lt_options *options; /* NULL: not told to tools */
	uint32_t store_ip; /* host order: in message ids */
	uint16_t store_port;
	uint32_t max_body_bytes;
	uint32_t default_queues; /* of a topic made by sending to it */
	int auto_create;
};

/* Ledger, post, groups, sharing, sessions, popper, visitors; closed all the
 * same, with `naming` and `guard`. LEAT_OK, LEAT_E_NOMEM. */
int lt_gateway_open(struct lt_gateway *g) LT_MUST_CHECK;
void lt_gateway_close(struct lt_gateway *g); /* its workers are destroyed */

/* Its connections, as of its last tick; relaxed: nothing is read behind. */
struct lt_worker_tally {
	_Atomic uint64_t connections, malformed, silent, crowded;
};

struct lt_worker {
	const struct lt_gateway *g;
	struct lt_net *net;
	struct leat *leat;
	struct lt_reader *reader;
	struct lt_cq_view *view;
	struct lt_tail *tail;
	uint64_t followed; /* the log's end when it was followed last */
	struct lt_remoting request; /* of the frame being served */
	struct lt_clerk_inbox *inbox;
	struct lt_post_box *box;
	struct lt_asked_ask *asked; /* clients that have not answered */
	size_t asked_count;
	struct lt_polled *polled; /* answers that are being gathered */
	uint64_t expired_ms; /* members that were silent: last looked for */
	uint64_t scan_round, scan_left; /* of the log for sessions.c */
	_Atomic uint64_t rules_seen; /* generation of the guard's rules */
	uint64_t now_ms; /* of the last tick */
	struct lt_net_counters counted; /* then, by visitors.c */
	uint64_t flooded, flooded_ms; /* as recorded last, and when */
	int has_opened; /* what awaited keys */
	struct lt_pull *pull; /* held ones */
	struct lt_sending *free_sendings;
	uint64_t sending; /* messages in flight */
	uint64_t submitted; /* messages ever */
	uint64_t logged_end; /* behind the last that is known to be stored */
	struct lt_fences fences; /* to be passed when those before are stored */
	int is_stuck; /* this round: the lane has no room */
	int is_queue_away; /* leat-queue opened no topic in time: not asked */
	struct lt_worker_tally tally; /* it writes, the main thread reads */
	char text[LT_PROPERTIES_MAX]; /* of the message being sent */
};

struct lt_worker_config {
	struct leat_options session;
	int store_dir; /* DIR/store, borrowed */
	struct lt_net_limits limits;
};
/* leat_error(NULL) has a line if it is the session that could not be made. */
int lt_worker_create(const struct lt_gateway *g,
    const struct lt_worker_config *config,
    struct lt_worker **out) LT_MUST_CHECK;
/* Its clerk has been stopped. */
void lt_worker_destroy(struct lt_worker *w);

/* Their tallies together are the process's counters. The main thread. */
void lt_worker_count(struct lt_worker *const *all, size_t count);
/* What RocketMQ calls a request code, of a broker or, by the connection, a name
 * server; NULL: none of ours. */
const char *lt_worker_code_name(int32_t code, const struct lt_conn *conn);

/* lt_net_owner.cut for this protocol. */
int64_t lt_worker_cut(const uint8_t *p, size_t bytes, void *user);

/* send.c: 10, 310, 320. */
void lt_send_on_message(struct lt_call *call);
/* Receipts that have come are answered. */
void lt_send_collect(struct lt_worker *w);
void lt_send_fini(struct lt_worker *w);
/* lt_relay_queue(), for a moment at most: leat-queue may be away. */
int lt_send_queue(struct lt_worker *w, const char *topic, int32_t wanted,
    uint32_t *out) LT_MUST_CHECK;
/* A status that a handler (send, back) ended with: if it is that leat-queue is
 * away, OK: the call is run again when it is back. Else the status. */
int lt_send_later(struct lt_call *call, int status) LT_MUST_CHECK;
/* One message that comes back: lt_back_answer() is called with what became
 * of it, unless its status is returned. */
int lt_send_back(
    struct lt_call *call, const struct lt_relay *message) LT_MUST_CHECK;
/* In the clerk's thread: topic prefix + group, if there is none. */
int lt_send_make_topic(struct leat *leat, const char *prefix, const char *group,
    size_t bytes, uint32_t queues) LT_MUST_CHECK;

/* back.c: 36. */
void lt_back_on_message(struct lt_call *call);
void lt_back_answer(
    struct lt_worker *w, const struct lt_ticket *ticket, int status);

/* polled.c: 223. */
void lt_polled_on_status(struct lt_call *call);
void lt_polled_fini(struct lt_worker *w);

/* clients.c */
void lt_clients_on_heartbeat(struct lt_call *call); /* 34 */
void lt_clients_on_unregister(struct lt_call *call); /* 35 */
void lt_clients_on_ids(struct lt_call *call); /* 38 */
void lt_clients_on_check(struct lt_call *call); /* 46 */
void lt_clients_on_consumers(struct lt_call *call); /* 203 */
void lt_clients_on_producers(struct lt_call *call); /* 204 */
void lt_clients_on_relayed(struct lt_call *call); /* 307 */
void lt_clients_on_all_producers(struct lt_call *call); /* 328 */
/* What changed: 40, one-way, to each connection that the hub named; leat-queue
 * by the clerk. Any thread; the changes are freed. */
void lt_clients_tell(
    const struct lt_gateway *g, struct lt_hub_changes *changes);
/* Pass the request on to the client that it names. */
void lt_clients_pass(struct lt_call *call, const void *body, size_t body_bytes);
void lt_clients_closed(struct lt_worker *w, uint64_t conn);
void lt_clients_tick(struct lt_worker *w, uint64_t now_ms);

/* offsetcalls.c */
void lt_offsetcalls_on_query(struct lt_call *call); /* 14 */
void lt_offsetcalls_on_update(struct lt_call *call); /* 15 */
void lt_offsetcalls_on_by_time(struct lt_call *call); /* 29 */
void lt_offsetcalls_on_max(struct lt_call *call); /* 30 */
void lt_offsetcalls_on_min(struct lt_call *call); /* 31 */
void lt_offsetcalls_on_earliest(struct lt_call *call); /* 32 */
void lt_offsetcalls_on_entries(struct lt_call *call); /* 321 */
void lt_offsetcalls_on_lock(struct lt_call *call); /* 41 */
void lt_offsetcalls_on_unlock(struct lt_call *call); /* 42 */

/* topiccalls.c */
void lt_topiccalls_on_set(struct lt_call *call); /* 17 */
void lt_topiccalls_on_set_list(struct lt_call *call); /* 18 */
void lt_topiccalls_on_show_all(struct lt_call *call); /* 21 */
void lt_topiccalls_on_ranges(struct lt_call *call); /* 202 */
void lt_topiccalls_on_delete(struct lt_call *call); /* 215 */
void lt_topiccalls_on_system(struct lt_call *call); /* 305 */
void lt_topiccalls_on_show(struct lt_call *call); /* 351 */

/* groupcalls.c */
void lt_groupcalls_on_set(struct lt_call *call); /* 200, 225 */
void lt_groupcalls_on_show_all(struct lt_call *call); /* 201 */
void lt_groupcalls_on_delete(struct lt_call *call); /* 207 */
void lt_groupcalls_on_groups_of(struct lt_call *call); /* 300 */
void lt_groupcalls_on_topics_of(struct lt_call *call); /* 343 */
void lt_groupcalls_on_subscription(struct lt_call *call); /* 345 */
void lt_groupcalls_on_show(struct lt_call *call); /* 352 */

/* querycalls.c */
void lt_querycalls_on_query(struct lt_call *call); /* 12 */
void lt_querycalls_on_view(struct lt_call *call); /* 33 */
void lt_querycalls_on_consume(struct lt_call *call); /* 309 */

/* replies.c: 324, 325. */
void lt_replies_on_reply(struct lt_call *call);

/* lagcalls.c */
void lt_lagcalls_on_lag(struct lt_call *call); /* 208 */
void lt_lagcalls_on_reset(struct lt_call *call); /* 222 */
void lt_lagcalls_on_span(struct lt_call *call); /* 303 */
void lt_lagcalls_on_copy(struct lt_call *call); /* 314 */
void lt_lagcalls_on_lag_of_all(struct lt_call *call); /* 317 */

/* brokercalls.c */
void lt_brokercalls_on_set_config(struct lt_call *call); /* 25 */
void lt_brokercalls_on_config(struct lt_call *call); /* 26 */
void lt_brokercalls_on_figures(struct lt_call *call); /* 28 */
void lt_brokercalls_on_cleaned(struct lt_call *call); /* 306, 316, 329 */
void lt_brokercalls_on_statistics(struct lt_call *call); /* 315 */
void lt_brokercalls_on_replicas(struct lt_call *call); /* 907 */

/* popcalls.c */
void lt_popcalls_on_pop(struct lt_call *call); /* 200050, 54, 55 */
void lt_popcalls_on_ack(struct lt_call *call); /* 200051, 53 */
void lt_popcalls_on_acks(struct lt_call *call); /* 200151 */
void lt_popcalls_on_assignment(struct lt_call *call); /* 400 */
void lt_popcalls_on_mode(struct lt_call *call); /* 401 */

/* pull.c: 11, 361. */
int lt_pull_init(struct lt_worker *w) LT_MUST_CHECK;
void lt_pull_fini(struct lt_worker *w); /* behind the net, before the tail */
void lt_pull_on_pull(struct lt_call *call);
/* Held pulls of queues that grew; those whose time is over. */
void lt_pull_grown(struct lt_worker *w);
void lt_pull_tick(struct lt_worker *w, uint64_t now_ms);
/* Rights changed: all that are held find nothing, so that they ask again. */
void lt_pull_recall(struct lt_worker *w);

#endif
