/*
 * worker.c - a worker's rounds: frames in, what they ask for together, answers
 * out; then it sleeps until a socket, the store or the clerk has something.
 *
 * Whoever sleeps has armed its session first and looked at the log's end once
 * more, so nothing that comes meanwhile is slept through.
 */
#include "config.h"
#include "remoting/worker.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/status.h"
#include "names/names.h"
#include "remoting/asked.h"
#include "remoting/groupkeep.h"
#include "remoting/groups.h"
#include "names/names.h"
#include "remoting/guard.h"
#include "remoting/ledger.h"
#include "remoting/naming.h"
#include "remoting/popper.h"
#include "remoting/post.h"
#include "remoting/sharing.h"
#include "remoting/visitors.h"
#include "shm/counter.h"

#define TICK_MS 100
#define FOLLOW_MS 5000
#define FOLLOW_BYTES (8u << 20) /* of the log in one round */

/* --- dispatch --------------------------------------------------------------
 */

/* In order of the codes. */
static const struct row {
	int32_t code; /* first */
	const char *name;
	void (*handle)(struct lt_call *call);
	struct lt_need need;
} rows[] = {
#define TOPIC(right, field)                                                    \
	{                                                                      \
		LT_NEED_##right, 0, field, NULL                                \
	}
#define GROUP(right, field)                                                    \
	{                                                                      \
		0, LT_NEED_##right, NULL, field                                \
	}
#define BOTH(right, topic, group)                                              \
	{                                                                      \
		LT_NEED_##right, LT_NEED_##right, topic, group                 \
	}
#define TOPICS(right) TOPIC(right, NULL)
#define GROUPS(right) GROUP(right, NULL)
#define INSIDE(text) FREE
#define FREE                                                                   \
	{                                                                      \
		0, 0, NULL, NULL                                               \
	}
#define CODE(number, name, handler, need, text) {number, #name, handler, need},
#define REFUSED(number, name, text)
#include "remoting/codes.def"
};

static int
by_code(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static const struct row *
find_row(int32_t code)
{
	return bsearch(&code, rows, LT_COUNT(rows), sizeof rows[0], by_code);
}

const char *
lt_worker_code_name(int32_t code, const struct lt_conn *conn)
{
	const struct row *row = find_row(code);

	if (conn != NULL && lt_naming_is_asked(conn, code))
		return lt_names_code_name(code);
	return row != NULL ? row->name : NULL;
}

/* What needs the right to manage is an administrative act. */
static void
begin_act(struct lt_call *call, const struct lt_need *need)
{
	int is_topic = need->topic == LT_NEED_manage;
	const char *field = is_topic ? need->topic_field : need->group_field;

	if (!is_topic && need->group != LT_NEED_manage)
		return;
	call->ticket.note = lt_ledger_begin(call->worker->g->ledger, call,
	    is_topic ? "topic" : "group",
	    field != NULL ? lt_remoting_find(call->request, field)
			  : lt_call_text("*"));
}

static void
dispatch(struct lt_call *call)
{
	const struct row *row = find_row(call->request->code);

	if (row == NULL) {
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_NOT_SUPPORTED, "request type %d not supported",
		    call->request->code);
		return;
	}
	if (!lt_guard_serves(call, &row->need))
		return;
	begin_act(call, &row->need);
	row->handle(call);
}

static void
dispatch_name(struct lt_call *call)
{
	int32_t code = call->request->code;

	if (!lt_guard_serves(call, lt_naming_need(code)))
		return;
	if (lt_names_is_act(code))
		call->ticket.note = lt_ledger_begin(call->worker->g->ledger,
		    call, "topic", lt_remoting_find(call->request, "topic"));
	lt_naming_on_call(call);
}

/* --- the loop's callbacks --------------------------------------------------
 */

int64_t
lt_worker_cut(const uint8_t *p, size_t bytes, void *user)
{
	uint32_t length;

	(void)user;
	if (bytes < 4)
		return 0;
	length = lt_bytes_get32(p);
	return length > LT_REMOTING_FRAME_MAX ? LEAT_E_TOOBIG
					      : (int64_t)length + 4;
}

static int
frame(struct lt_conn *c, uint8_t *p, size_t bytes, void *user)
{
	struct lt_worker *w = user;
	struct lt_remoting_frame f;
	struct lt_call call = {.worker = w, .conn = c, .request = &w->request};
	int status = lt_remoting_frame(p, bytes, &f);

	if (status == LEAT_OK)
		status = lt_remoting_decode(&f, &w->request);
	if (status != LEAT_OK)
		return LEAT_E_CORRUPT;
	if ((w->request.flag & LT_REMOTING_RESPONSE) != 0) {
		lt_asked_answered(w, c, &w->request, f.body, f.body_bytes);
		return LEAT_OK;
	}
	call.ticket = (struct lt_ticket){
	    .conn = lt_conn_id(c),
	    .opaque = w->request.opaque,
	    .encoding = (uint8_t)f.encoding,
	    .oneway = (w->request.flag & LT_REMOTING_ONEWAY) != 0,
	};
	call.body = f.body;
	call.body_bytes = f.body_bytes;
	if (!lt_guard_admit(&call))
		return LEAT_OK;
	if (lt_naming_is_asked(c, w->request.code))
		dispatch_name(&call);
	else
		dispatch(&call);
	return LEAT_OK;
}

/* Follow the log for those who wait; 1: there is more to do. */
static int
follow(struct lt_worker *w)
{
	uint64_t end = lt_relay_log_end(w->leat);
	int status;

	if (lt_tail_count(w->tail) == 0)
		return 0;
	status = lt_tail_follow(w->tail, end, FOLLOW_BYTES);
	lt_pull_grown(w);
	w->followed = end;
	return status == LEAT_E_AGAIN;
}

static void
after_round(void *user)
{
	struct lt_worker *w = user;
	int more;

	lt_relay_announce(w->leat);
	lt_send_collect(w);
	more = follow(w);
	w->is_stuck = 0;
	lt_relay_want_log(w->leat, lt_tail_count(w->tail) > 0);
	if (more || leat_arm(w->leat) != 0 ||
	    (lt_tail_count(w->tail) > 0 &&
		lt_relay_log_end(w->leat) != w->followed))
		lt_net_wake(w->net);
}

static void
woken(void *user)
{
	struct lt_worker *w = user;

	lt_clerk_collect(w->inbox);
	lt_post_collect(w->box, w);
}

static void
closed(struct lt_conn *c, void *user)
{
	struct lt_worker *w = user;

	lt_asked_closed(w, lt_conn_id(c));
	lt_clients_closed(w, lt_conn_id(c));
	lt_sessions_closed(w->g->sessions, lt_conn_id(c));
	if (lt_conn_tag(c) != LT_ROLE_BROKER)
		lt_naming_closed(w->g->naming, lt_conn_id(c));
	lt_visitors_closed(w, c);
}

static void
tally(struct lt_worker *w)
{
	const struct lt_net_counters *n = lt_net_counters(w->net);
	const uint64_t *closed = n->closed;

	atomic_store_explicit(
	    &w->tally.connections, n->current, memory_order_relaxed);
	atomic_store_explicit(&w->tally.malformed,
	    closed[LT_NET_FRAME] + closed[LT_NET_TLS], memory_order_relaxed);
	atomic_store_explicit(&w->tally.silent,
	    closed[LT_NET_HELLO] + closed[LT_NET_IDLE] + closed[LT_NET_STALL],
	    memory_order_relaxed);
	atomic_store_explicit(&w->tally.crowded,
	    closed[LT_NET_MEMORY] + n->refused, memory_order_relaxed);
}

static void
tick(uint64_t now_ms, void *user)
{
	struct lt_worker *w = user;

	tally(user);
	lt_pull_tick(user, now_ms);
	lt_asked_tick(user, now_ms);
	lt_clients_tick(user, now_ms);
	lt_naming_tick(w->g->naming);
	lt_visitors_tick(w, now_ms);
}

void
lt_worker_count(struct lt_worker *const *all, size_t count)
{
	uint64_t connections = 0, malformed = 0, silent = 0, crowded = 0;

	for (size_t i = 0; i < count; i++) {
		const struct lt_worker_tally *t = &all[i]->tally;

		connections +=
		    atomic_load_explicit(&t->connections, memory_order_relaxed);
		malformed +=
		    atomic_load_explicit(&t->malformed, memory_order_relaxed);
		silent +=
		    atomic_load_explicit(&t->silent, memory_order_relaxed);
		crowded +=
		    atomic_load_explicit(&t->crowded, memory_order_relaxed);
	}
	lt_stat_set(gateway_connections, connections);
	lt_stat_set(gateway_malformed, malformed);
	lt_stat_set(gateway_silent, silent);
	lt_stat_set(gateway_crowded, crowded);
}

/* What the descriptor told is looked at behind the round. */
static void
session_ready(void *user)
{
	(void)user;
}

static const struct lt_net_owner owner = {
    .cut = lt_worker_cut,
    .admit = lt_visitors_admit,
    .frame = frame,
    .round = after_round,
    .woken = woken,
    .tick = tick,
    .closed = closed,
};

/* --- life ------------------------------------------------------------------
 */

int
lt_gateway_open(struct lt_gateway *g)
{
	int status = lt_post_create(&g->post);

	if (status == LEAT_OK)
		status = lt_visitors_create(&g->visitors);
	if (status == LEAT_OK)
		status = lt_ledger_create(&g->ledger);
	if (status == LEAT_OK)
		status = lt_groups_create(&g->groups);
	if (status == LEAT_OK)
		status = lt_groupkeep_create(g, &g->groupkeep);
	if (status == LEAT_OK)
		status = lt_sessions_create(&g->sessions);
	if (status == LEAT_OK)
		status = lt_popper_create(g, &g->popper);
	return status != LEAT_OK ? status : lt_sharing_create(g, &g->sharing);
}

void
lt_gateway_close(struct lt_gateway *g)
{
	lt_popper_destroy(g->popper);
	lt_sessions_destroy(g->sessions);
	lt_naming_destroy(g->naming);
	lt_sharing_destroy(g->sharing);
	lt_groupkeep_destroy(g->groupkeep);
	lt_groups_destroy(g->groups);
	lt_guard_destroy(g->guard);
	lt_visitors_destroy(g->visitors);
	lt_ledger_destroy(g->ledger);
	lt_post_destroy(g->post);
	g->popper = NULL;
	g->sessions = NULL;
	g->naming = NULL;
	g->groupkeep = NULL;
	g->groups = NULL;
	g->guard = NULL;
	g->visitors = NULL;
	g->ledger = NULL;
	g->post = NULL;
	g->sharing = NULL;
}

void
lt_worker_destroy(struct lt_worker *w)
{
	if (w == NULL)
		return;
	lt_post_box_close(w->box);
	if (w->net != NULL)
		lt_net_destroy(w->net);
	if (w->pull != NULL)
		lt_pull_fini(w);
	lt_asked_fini(w);
	lt_polled_fini(w);
	lt_sessions_fini(w);
	lt_send_fini(w);
	lt_tail_destroy(w->tail);
	if (w->view != NULL)
		lt_cq_view_close(w->view);
	if (w->reader != NULL)
		lt_reader_close(w->reader);
	leat_close(w->leat);
	lt_mem_free(w);
}

int
lt_worker_create(const struct lt_gateway *g,
    const struct lt_worker_config *config, struct lt_worker **out)
{
	struct lt_worker *w = lt_mem_alloc(sizeof *w);
	int status, fd = -1;

	if (w == NULL)
		return LEAT_E_NOMEM;
	w->g = g;
	STAILQ_INIT(&w->fences);
	status = leat_connect(&config->session, &w->leat);
	if (status == LEAT_OK)
		status = lt_relay_follow(w->leat, FOLLOW_MS);
	if (status == LEAT_OK)
		status = lt_reader_open(config->store_dir, &w->reader);
	if (status == LEAT_OK)
		status = lt_cq_view_open(config->store_dir, &w->view);
	if (status == LEAT_OK)
		status = lt_tail_create(w->reader, &w->tail);
	if (status == LEAT_OK)
		status = lt_pull_init(w);
	if (status == LEAT_OK)
		status =
		    lt_net_create(&owner, w, &config->limits, TICK_MS, &w->net);
	if (status == LEAT_OK &&
	    (w->inbox = lt_clerk_inbox(g->clerk, w->net)) == NULL)
		status = LEAT_E_NOMEM;
	if (status == LEAT_OK &&
	    (w->box = lt_post_box(g->post, w->net)) == NULL)
		status = LEAT_E_NOMEM;
	if (status == LEAT_OK && (fd = leat_fd(w->leat)) < 0)
		status = fd;
	if (status == LEAT_OK)
		status = lt_net_watch(w->net, fd, session_ready, w);
	if (status != LEAT_OK) {
		lt_worker_destroy(w);
		return status;
	}
	lt_net_wake(w->net);
	*out = w;
	return LEAT_OK;
}
