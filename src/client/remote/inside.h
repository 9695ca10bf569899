/*
 * inside.h - a session with a RocketMQ cluster, shared by the files of remote/
 * only. One thread, plain non-blocking sockets, one epoll. Nothing goes on but
 * inside calls: each that waits, and most that do not, takes what the sockets
 * have and does what is due (lt_far_pump).
 *
 *   farask   requests and their replies, by opaque    farconn  one connection
 *   farchannel  the same inside the Leat channel: then it is the only one
 *   farhome  whose it is, and ours; farrecall  what was stored before a cut
 *   farroute where topics are, by the name servers    farjson  their bodies
 *   farflight, faroutlet   messages on their way out, queue by queue
 *   farintake, farsource, farclaim   queue by queue in, held until acknowledged
 *   farmember   heartbeats, and which queues of a group are ours
 *
 * Callbacks of requests run inside the pump and never pump themselves.
 */
#ifndef LT_CLIENT_REMOTE_INSIDE_H
#define LT_CLIENT_REMOTE_INSIDE_H

#include "base/buffer.h"
#include "client/client.h"
#include "client/remote.h"
#include "proto/noise.h"
#include "proto/remoting.h"

#define LT_FAR_MAGIC 0x4c656166u /* struct leat of a remote session */
#define LT_FAR_CONSUMER_MAGIC 0x4c436f66u
#define LT_FAR_ADDR 280 /* host:port with NUL */
#define LT_FAR_NAMES_MAX 8 /* name servers: more are refused */
#define LT_FAR_CALLS 4096u /* requests under way; more wait */
#define LT_FAR_FLIGHTS 8192u /* messages without a collected receipt: AGAIN */
#define LT_FAR_QUEUE_MAX 65536u /* queues of a topic in a route: CORRUPT */
#define LT_FAR_BODY_MAX (15u << 20) /* of a message: TOOBIG */
#define LT_FAR_OUT_MAX (64u << 20) /* bytes of messages in flight: wait */
#define LT_FAR_TX_MAX (128u << 20) /* bytes not yet sent to one peer: AGAIN */
#define LT_FAR_HELD_MAX 8192u /* unacknowledged of a queue: no more taken */
#define LT_FAR_FRAMES 2u /* replies to pulls held by a queue */
#define LT_FAR_RPC_MS 10000
#define LT_FAR_SEND_MS 15000
#define LT_FAR_SUSPEND_MS 15000 /* how long a pull is held */
#define LT_FAR_PULL_MS 30000
#define LT_FAR_CONNECT_MS 5000
#define LT_FAR_GIVE_UP_MS 120000 /* a message that nobody takes */
#define LT_FAR_BEAT_MS 30000
#define LT_FAR_REBALANCE_MS 20000
#define LT_FAR_ROUTE_MS 30000
#define LT_FAR_COMMIT_MS 5000
#define LT_FAR_LEASE_MS 60000
#define LT_FAR_RETRY_MS 1000 /* after an answer that says no */
#define LT_FAR_UNKNOWN_TIMES 3u /* so often we are unknown, then it is so */
#define LT_FAR_TICK_MS 200 /* how often what is due is looked for */

struct lt_far;
struct lt_fargroup;
struct lt_fararena;
struct lt_farqueue;

/* --- farconn.c: one connection -------------------------------------------- */

enum lt_farrefused { /* how the last handshake of a channel ended */
	LT_FAR_WELCOME,
	LT_FAR_OTHER_BROKER, /* it has another key, or no time */
	LT_FAR_UNKNOWN_KEY /* it is that broker, and does not know us */
};

struct lt_farconn {
	struct lt_farconn *next;
	struct lt_far *far;
	int fd; /* -1: down */
	int is_connecting; /* until the channel is up, if there is one */
	struct lt_farchannel *channel; /* NULL: plain, or TCP is not up */
	enum lt_farrefused refused;
	uint32_t unknown_times; /* in a row: a gateway that dies just then looks
				   the same */
	int is_broker;
	int wants_out; /* EPOLLOUT is asked for */
	int knows_us; /* a heartbeat was answered */
	uint64_t deadline; /* ms; of connecting */
	uint64_t try_at; /* ms; next attempt */
	uint32_t backoff_ms;
	uint64_t beat_at; /* ms; next heartbeat */
	uint8_t *rx;
	size_t rx_room, rx_bytes;
	struct lt_buffer tx;
	size_t tx_at; /* sent of it */
	char addr[LT_FAR_ADDR];
};

/* The connection of that address, made (not yet connected) if need be; NULL:
 * no memory. */
struct lt_farconn *lt_farconn_of(struct lt_far *far, const char *addr);
/* Connect if it is down and time to. OK: up or on the way; UNREACHABLE. */
int lt_farconn_up(struct lt_farconn *c) LT_MUST_CHECK;
/* Its calls fail with status; back off. */
void lt_farconn_down(struct lt_farconn *c, int status);
void lt_farconn_event(struct lt_farconn *c, uint32_t events);
void lt_farconn_flush(struct lt_farconn *c);
void lt_farconn_free(struct lt_farconn *c);
/* Room for that many received bytes. OK, NOMEM. */
int lt_farconn_room(struct lt_farconn *c, size_t bytes) LT_MUST_CHECK;

/* --- farchannel.c: the channel that a connection is in -----------------------
 */

struct lt_farkeys {
	struct lt_noise_pair own;
	uint8_t broker[LT_SECRET_KEY];
};

/* All connections of this session are channels from now on. Copied. */
int lt_farchannel_keys(struct lt_far *far, const struct lt_noise_pair *own,
    const uint8_t broker[LT_SECRET_KEY]) LT_MUST_CHECK;
void lt_farchannel_forget(struct lt_far *far); /* wiped */
/* TCP is up: hello. Not OK: the connection is of no use. */
int lt_farchannel_open(struct lt_farconn *c) LT_MUST_CHECK;
void lt_farchannel_close(struct lt_farconn *c);
/* The peer hung up before it was up: what that means goes into c->refused. */
void lt_farchannel_refused(struct lt_farconn *c);
/* What the connection has to send: OK: all is out, AGAIN: the socket is full.
 */
int lt_farchannel_send(struct lt_farconn *c) LT_MUST_CHECK;
/* One look at the socket: what came is behind rx. AGAIN: nothing did. */
int lt_farchannel_receive(struct lt_farconn *c) LT_MUST_CHECK;

/* --- farask.c: requests and replies ------------------------------------------
 */

/* status LEAT_OK: head and body are the reply, whatever its code, lent. Else
 * both are NULL. Must not pump. */
typedef void (*lt_farask_fn)(int status, const struct lt_remoting *head,
    const uint8_t *body, size_t bytes, void *user);

struct lt_farcall {
	lt_farask_fn done; /* NULL: nobody waits for it */
	void *user;
	struct lt_farconn *conn; /* NULL: free */
	uint64_t deadline;
	uint32_t generation;
	uint32_t next_free;
};

struct lt_farrequest {
	struct lt_farconn *conn;
	uint32_t slot;
	struct lt_remoting_encoder e;
};

/* Begin a request in the connection's buffer; header_room: for its fields.
 * OK, UNREACHABLE, AGAIN (too much under way), NOMEM. Then put fields into
 * request->e and end it; nothing else may be begun in between. */
int lt_farask_begin(struct lt_farrequest *request, struct lt_farconn *conn,
    int32_t code, size_t header_room) LT_MUST_CHECK;
void lt_farask_put(
    struct lt_farrequest *request, const char *name, const char *text);
/* Body may be NULL. done is called exactly once if this is OK. */
int lt_farask_end(struct lt_farrequest *request, const void *body, size_t bytes,
    int timeout_ms, lt_farask_fn done, void *user) LT_MUST_CHECK;
/* Replies for user are dropped from now on. */
void lt_farask_forget(struct lt_far *far, const void *user);
void lt_farask_fail(struct lt_farconn *conn, int status);
/* A whole frame arrived. Not OK: the connection is of no use. */
int lt_farask_frame(
    struct lt_farconn *conn, struct lt_remoting_frame *frame) LT_MUST_CHECK;
void lt_farask_expire(struct lt_far *far, uint64_t now);
/* What a reply's code means. */
int lt_farask_status(int32_t code);

/* A reply that somebody waits for: put it in as user of lt_farask_reply. */
struct lt_farreply {
	int is_done;
	int status; /* of the call, or what the code means */
	int32_t code; /* -1 without a reply */
	int64_t offset; /* ext "offset"; -1 */
	int64_t next_begin; /* ext "nextBeginOffset"; -1 */
	uint8_t *body; /* owned */
	size_t bytes;
	char remark[200];
};
void lt_farask_reply(int status, const struct lt_remoting *head,
    const uint8_t *body, size_t bytes, void *user);
/* Pump until it is there; its status. The body is there unless no memory. */
int lt_farask_wait(struct lt_far *far, struct lt_farreply *reply,
    uint64_t deadline) LT_MUST_CHECK;
void lt_farask_drop(struct lt_farreply *reply);
/* A request of one call: begin, up to four fields "name", "value"..., wait.
 * Connects, and waits for that. */
int lt_farask_call(struct lt_farconn *conn, int32_t code,
    const char *const *fields, const void *body, size_t bytes,
    uint64_t deadline, struct lt_farreply *reply) LT_MUST_CHECK;

/* A few fields for lt_farask_call(), with numbers as text. */
struct lt_farfields {
	const char *list[24];
	char numbers[12][24];
	size_t count, number_count;
};
void lt_farask_text(struct lt_farfields *f, const char *name, const char *text);
void lt_farask_number(struct lt_farfields *f, const char *name, int64_t n);

/* --- farroute.c: name servers, topics
 * ------------------------------------------- */

struct lt_farflight;

struct lt_farqueue { /* one queue of a topic at one broker */
	struct lt_fartopic *topic;
	struct lt_farconn *conn;
	char broker[128];
	uint32_t id;
	uint32_t number; /* that the application knows it by */
	uint8_t reads, writes;
	/* What is to be sent to it, in order. */
	struct lt_farflight *first, *last;
	uint32_t busy; /* of these are in the request under way */
	uint32_t alone; /* so many go one by one: a batch was refused */
	uint64_t retry_at;
};

struct lt_fartopic {
	struct lt_fartopic *next;
	struct lt_far *far;
	char name[LT_NAME_FIELD];
	int status; /* OK: known; AGAIN: not yet asked; NOTFOUND, UNREACHABLE */
	int said; /* what a name server said last, if it did */
	int is_asking;
	int is_made_up; /* from TBW102: the first message makes the topic */
	int may_make; /* a publisher wants it */
	uint64_t refresh_at;
	uint64_t used_at;
	uint32_t perm;
	uint32_t turn; /* round robin */
	uint32_t version; /* changes with the queues */
	struct { /* farrecall.c: what was sent and not answered */
		int is_on, is_asking;
		uint64_t retry_at;
		int64_t next, until; /* log offsets; until -1: not known */
	} recall;
	struct lt_farqueue *
	    *queues; /* by number; never freed before the topic */
	uint32_t queue_count, write_count;
	uint32_t queue_all; /* with those that are gone, behind the count */
	size_t queue_capacity;
};

/* The topic as far as it is known; NULL: no memory. */
struct lt_fartopic *lt_farroute_topic(struct lt_far *far, const char *name);
/* Ask where it is unless somebody does; no waiting. */
void lt_farroute_refresh(struct lt_fartopic *t);
/* Wait until it is known whether there is one: OK, NOTFOUND, UNREACHABLE,
 * TIMEOUT. */
int lt_farroute_wait(struct lt_fartopic *t, uint64_t deadline) LT_MUST_CHECK;
void lt_farroute_due(struct lt_far *far, uint64_t now);
void lt_farroute_free(struct lt_far *far);
/* The same, of what a name server says now; a topic that a first message would
 * make is NOTFOUND. */
int lt_farroute_fresh(struct lt_fartopic *t, uint64_t deadline) LT_MUST_CHECK;
/* One request to any name server that answers. */
int lt_farroute_ask(struct lt_far *far, int32_t code, const char *const *fields,
    uint64_t deadline, struct lt_farreply *reply) LT_MUST_CHECK;

#define LT_FAR_BROKERS_MAX 64
struct lt_farbroker {
	char name[128];
	struct lt_farconn *conn;
};
/* All masters of the cluster: how many, or a status. */
int lt_farroute_brokers(struct lt_far *far, uint64_t deadline,
    struct lt_farbroker out[LT_FAR_BROKERS_MAX]) LT_MUST_CHECK;

/* --- faroutlet.c, farflight.c: publishing
 * ------------------------------------------ */

struct lt_farchunk { /* memory of messages, freed when the last is done */
	struct lt_farchunk *next;
	size_t room, used;
	uint32_t live;
	uint8_t bytes[];
};

enum lt_farsent { /* behind a channel; else NOT_SENT all the time */
	LT_FAR_NOT_SENT,
	LT_FAR_SENT, /* or it is not known whether it was stored */
	LT_FAR_LOST, /* it is being looked for in the log */
	LT_FAR_FOUND
};

struct lt_farflight {
	struct lt_farflight *next; /* of its queue */
	struct lt_farqueue *queue;
	struct lt_farchunk *chunk;
	uint8_t *bytes; /* as in a batch (proto/sendbatch.h) */
	uint32_t size;
	uint32_t number;
	uint64_t seq; /* 0: free */
	uint64_t give_up_at;
	int64_t born_ms; /* 0: when it is sent */
	void *user;
	int64_t queue_offset, log_offset, store_ms;
	int64_t floor; /* where the log ended when it was sent, or before */
	int status;
	uint32_t crc; /* of the body, once it is lost */
	uint8_t sent; /* enum lt_farsent */
	uint8_t level; /* reached */
	uint8_t is_done, waited;
	uint8_t is_bound; /* key or queue: it stays in its queue */
	uint8_t may_skip_sync;
};

/* Behind what is there already. */
void lt_faroutlet_add(struct lt_farqueue *q, struct lt_farflight *f);
/* Send what is due, one request at a time. */
void lt_faroutlet_push(struct lt_farqueue *q);
void lt_faroutlet_due(struct lt_fartopic *t, uint64_t now);
void lt_farflight_finish(
    struct lt_far *far, struct lt_farflight *f, int status);
void lt_farflight_free(struct lt_far *far);
/* The one of that sequence, if it is on its way; else NULL. */
struct lt_farflight *lt_farflight_of(const struct lt_far *far, uint64_t seq);

/* --- farhome.c, farrecall.c: the broker behind a channel
 * ----------------------
 */

struct lt_farhome {
	uint64_t token[2]; /* of the session */
	int64_t attempt; /* connections of it, up to now */
	int is_greeted; /* the broker has ended what went before */
	int is_asking;
	int status; /* of the last greeting */
	uint64_t retry_at;
	int64_t log_end; /* as far as we know */
	char broker[128]; /* its name */
};

/* "leat://KEY@HOST:PORT". key_file: NULL, as in leat_options. Says why not. */
int lt_farhome_connect(struct lt_far *far, const char *server,
    const char *key_file, uint64_t deadline) LT_MUST_CHECK;
void lt_farhome_due(struct lt_far *far, uint64_t now);
void lt_farhome_down(struct lt_far *far);
/* The broker has proved who it is, and does not know us any more: that has been
 * so a few times. */
int lt_farhome_is_refused(const struct lt_far *far);
/* DENIED, with its line: the last handshake was refused. */
int lt_farhome_refused(const struct lt_far *far) LT_MUST_CHECK;
/* Look for what was sent of the topic, unless somebody does. */
void lt_farrecall_due(struct lt_fartopic *t, uint64_t now);
/* A new connection: what is being looked for is looked for anew. */
void lt_farrecall_anew(struct lt_far *far);

/* --- farsource.c, farclaim.c: one queue in
 * ------------------------------------------- */

struct lt_farframe {
	struct lt_farframe *next;
	int64_t next_offset; /* behind it */
	size_t bytes, at;
	uint8_t data[];
};

struct lt_farclaim { /* a message handed out and not acknowledged */
	int64_t offset;
	int64_t log_offset;
	uint64_t stamp; /* ms */
	uint8_t state; /* farclaim.c */
};

enum lt_farsource_state {
	LT_FARSOURCE_PROGRESS, /* the group's progress is to be asked for */
	LT_FARSOURCE_START, /* there is none: where to begin */
	LT_FARSOURCE_READY
};

struct lt_farsource {
	struct lt_fargroup *group;
	struct leat_consumer *consumer; /* NULL: the group's retry topic */
	struct lt_farqueue *queue;
	uint32_t index, epoch;
	enum lt_farsource_state state;
	int is_asking; /* the request of the state, or a pull, is under way */
	int status; /* why it cannot be read now */
	uint64_t retry_at;
	int64_t next_pull, next, end;
	struct lt_farframe *first, *last;
	uint32_t frames;
	int64_t committed;
	int64_t back; /* being sent back; -1: nothing */
	uint64_t back_at; /* not before, after a failure */
	struct lt_farclaim *claims; /* by offset; ring */
	uint32_t claim_at, claim_count, claim_room; /* power of two */
};

int lt_farsource_add(struct lt_fargroup *g, struct leat_consumer *consumer,
    struct lt_farqueue *queue) LT_MUST_CHECK;
/* Progress is committed, what is lent stays until the consumer's next poll. */
void lt_farsource_drop(struct lt_farsource *s);
void lt_farsource_due(struct lt_farsource *s, uint64_t now);
/* Commit the progress if it changed. 1: it was sent, done will be called. */
int lt_farsource_commit(struct lt_farsource *s, lt_farask_fn done, void *user);
/* Up to max messages for c out of s; count or a status. */
int lt_farsource_take(struct lt_farsource *s, struct leat_consumer *c,
    struct leat_delivery *out, size_t max);
/* Have the body as it was before a zlib producer compressed it. */
int lt_farsource_unpack(struct lt_fararena **arena,
    const struct lt_record_view *v, struct leat_delivery *d) LT_MUST_CHECK;
/* 1 if there is something to take. */
int lt_farsource_ready(const struct lt_farsource *s);

/* The next offset that is not acknowledged. */
int64_t lt_farclaim_floor(const struct lt_farsource *s);
int lt_farclaim_add(
    struct lt_farsource *s, int64_t offset, int64_t log_offset) LT_MUST_CHECK;
/* OK or LEASE. */
int lt_farclaim_act(
    struct lt_farsource *s, int64_t offset, enum lt_act act) LT_MUST_CHECK;
/* Send back what was given back, and what ran out. */
void lt_farclaim_due(struct lt_farsource *s, uint64_t now);
void lt_farclaim_clear(struct lt_farsource *s);
/* 1 if something waits to be sent back. */
int lt_farclaim_owes(const struct lt_farsource *s);

/* --- farmember.c: groups
 * ----------------------------------------------------------------- */

struct lt_fargroup { /* with no name: of one consumer that browses */
	struct lt_fargroup *next;
	struct lt_far *far;
	char name[LT_NAME_FIELD];
	enum leat_mode mode;
	int grouped;
	int is_joined; /* its queues have been shared out once */
	int is_asking; /* for its members */
	int status; /* why there is no joining */
	uint32_t seen_version; /* of all its topics */
	uint64_t rebalance_at;
	uint64_t commit_at;
	int64_t sub_version;
	struct lt_fartopic *retry; /* grouped: %RETRY%name */
	struct leat_consumer *consumers; /* linked by reader->sibling */
	struct lt_farsource **sources; /* by index; NULL: dropped */
	size_t source_count, source_capacity;
};

struct lt_fararena {
	struct lt_fararena *next;
	size_t room, used;
	uint8_t bytes[];
};

struct lt_farreader { /* what a remote leat_consumer has besides */
	struct leat_consumer *sibling;
	struct lt_fargroup *group;
	struct lt_fartopic *topic;
	int32_t queue; /* -1: all */
	char *tag_expr; /* as it was given; NULL: all */
	int was_begun; /* queues that come later are read from their beginning
			*/
	struct lt_farframe *spent; /* lent until the next poll */
	struct lt_fararena *arena; /* the same */
};

void lt_farmember_due(struct lt_far *far, uint64_t now);
void lt_farmember_event(struct lt_far *far, const char *group);
/* Subscriptions changed: tell all brokers, share out anew. */
void lt_farmember_changed(struct lt_far *far, struct lt_fargroup *g);
/* Tell the brokers that this group is left, and wait a moment. */
void lt_farmember_leave(struct lt_fargroup *g);
/* Whose number of queues is n, the index-th of m members: [*from, *to). */
void lt_farmember_part(
    uint32_t n, uint32_t m, uint32_t index, uint32_t *from, uint32_t *to);

/* --- far.c: the session
 * --------------------------------------------------------------------- */

struct lt_far {
	struct leat *leat; /* its error line */
	int epoll, timer;
	int pumping;
	uint64_t ticked_at; /* ms */
	uint64_t pumped_at;
	uint64_t id, seq; /* of messages */
	uint32_t epoch; /* of sources */
	uint32_t polls;
	char client_id[128];
	struct lt_farkeys *keys; /* of leat://; NULL: plain connections */
	struct lt_farhome home; /* the same */
	struct lt_farconn *names[LT_FAR_NAMES_MAX];
	size_t name_count, name_turn;
	struct lt_farconn *conns;
	struct lt_farcall *calls;
	uint32_t call_free; /* index, LT_FAR_CALLS: none */
	uint32_t call_high; /* none above was ever used */
	struct lt_fartopic *topics;
	struct lt_fargroup *groups;
	int is_producer;
	/* flights: slot seq & (LT_FAR_FLIGHTS - 1) */
	struct lt_farflight *flights;
	uint64_t next_seq, oldest;
	size_t in_flight, flight_bytes;
	struct lt_fartopic *last_topic;
	struct lt_farchunk *chunks; /* all; the first is written to */
	struct lt_buffer batch; /* a batch's body is gathered here */
	struct leat_message reserved; /* topic NULL: none */
	struct lt_fararena *reserved_in;
};

/* NULL if it is no remote session. */
struct lt_far *lt_far_of(const struct leat *leat);
/*
 * Take what the sockets have, do what is due, wait up to timeout_ms (at most a
 * tick) if there is nothing. Not from a callback.
 */
void lt_far_pump(struct lt_far *far, int timeout_ms);
/* The same without waiting, unless it was done in this millisecond. */
void lt_far_glance(struct lt_far *far);
/* "cannot do X: why", whatever the broker said. */
int lt_far_fail(struct lt_far *far, int status, const char *what,
    const char *name, const struct lt_farreply *reply);
/* Memory that lasts until the arena is emptied; NULL: none. */
void *lt_far_arena(struct lt_fararena **arena, size_t bytes);
void lt_far_arena_empty(struct lt_fararena **arena);

#endif
