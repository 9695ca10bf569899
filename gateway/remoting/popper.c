/*
 * popper.c - the thread: requests come in a list, in order; a loop of net/ that
 * has no connections wakes it for them, for what libleat's descriptor tells,
 * and every 100 ms for what is out and what is held (popserve).
 *
 * And if it dies here? With its session all claims come back; members receive
 * again what they had not acknowledged.
 */
#include "config.h"
#include "remoting/popper.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/relay.h"
#include "leat/status.h"
#include "remoting/guard.h"
#include "remoting/popout.h"
#include "remoting/popserve.h"
#include "remoting/worker.h"

#define BYTES_MAX (64u << 20) /* bodies of what waits */
#define PATIENCE_MS 1000 /* with leat-queue: others wait as well meanwhile */

struct item {
	STAILQ_ENTRY(item) link;
	struct lt_call *call; /* NULL: messages that were not delivered */
	uint32_t count;
	struct lt_popanswer_item places[];
};
STAILQ_HEAD(items, item);

struct lt_popper {
	const struct lt_gateway *g;
	pthread_mutex_t lock;
	struct items waiting; /* lock */
	size_t count, bytes; /* lock; what waits, and its bodies */
	int is_begun, is_running; /* lock */
	struct leat_options session;
	struct lt_net *net;
	pthread_t thread;
	struct leat *leat; /* the thread's */
	struct lt_popserve *serve; /* the same; NULL: no session yet */
	_Atomic uint64_t rules_seen; /* generation of the guard's rules */
};

/* --- the thread ------------------------------------------------------------
 */

static void
session_ready(void *user)
{
	(void)user; /* looked at behind the round */
}

static int
connect_session(struct lt_popper *p)
{
	int fd, status;

	if (p->serve != NULL)
		return LEAT_OK;
	status = leat_connect(&p->session, &p->leat);
	if (status != LEAT_OK)
		return status;
	lt_relay_patience(p->leat, PATIENCE_MS);
	fd = leat_fd(p->leat);
	status = fd < 0 ? fd : lt_popserve_create(p->g, p->leat, &p->serve);
	if (status == LEAT_OK)
		status = lt_net_watch(p->net, fd, session_ready, p);
	if (status != LEAT_OK) {
		lt_popserve_destroy(p->serve);
		leat_close(p->leat);
		p->serve = NULL;
		p->leat = NULL;
	}
	return status;
}

static void
serve_item(struct lt_popper *p, struct item *it, int *is_down)
{
	int status = *is_down ? LEAT_E_UNREACHABLE : connect_session(p);

	*is_down = status != LEAT_OK; /* the others need not wait as well */

	if (status == LEAT_OK && it->call == NULL)
		lt_popserve_undelivered(p->serve, it->places, it->count);
	else if (status == LEAT_OK)
		lt_popserve_call(p->serve, it->call);
	else if (it->call != NULL)
		lt_popanswer_status(p->g->post, &it->call->ticket,
		    LT_CODE_SYSTEM_BUSY,
		    "[REJECTREQUEST] the broker is busy, ask again");
	lt_call_free(it->call);
	lt_mem_free(it);
}

static void
woken(void *user)
{
	struct lt_popper *p = user;
	struct items items = STAILQ_HEAD_INITIALIZER(items);
	struct item *it;
	int is_down = 0;

	pthread_mutex_lock(&p->lock);
	STAILQ_CONCAT(&items, &p->waiting);
	p->count = 0;
	p->bytes = 0;
	pthread_mutex_unlock(&p->lock);
	if (p->serve != NULL) /* who came before comes first */
		(void)lt_popserve_look(p->serve);
	while ((it = STAILQ_FIRST(&items)) != NULL) {
		STAILQ_REMOVE_HEAD(&items, link);
		serve_item(p, it, &is_down);
	}
}

static void
after_round(void *user)
{
	struct lt_popper *p = user;

	if (p->serve == NULL)
		return;
	(void)lt_popserve_look(p->serve);
	/* What nobody can have now is looked at with the next step. */
	if (leat_arm(p->leat) != 0 && lt_popserve_look(p->serve) > 0)
		lt_net_wake(p->net);
}

static void
tick(uint64_t now_ms, void *user)
{
	struct lt_popper *p = user;
	uint64_t rules = lt_guard_generation(p->g->guard);

	if (p->serve != NULL) {
		if (rules != atomic_load(&p->rules_seen))
			lt_popserve_end_waits(p->serve);
		lt_popserve_tick(p->serve, now_ms);
	}
	atomic_store(&p->rules_seen, rules);
}

int
lt_popper_has_seen(struct lt_popper *p, uint64_t rules)
{
	int is_running;

	pthread_mutex_lock(&p->lock);
	is_running = p->is_running;
	pthread_mutex_unlock(&p->lock);
	return !is_running || atomic_load(&p->rules_seen) == rules;
}

static int
no_frame(struct lt_conn *c, uint8_t *bytes, size_t count, void *user)
{
	return LEAT_E_UNSUPPORTED; /* it has no connections */
}

static const struct lt_net_owner owner = {
    .cut = lt_worker_cut,
    .frame = no_frame,
    .round = after_round,
    .woken = woken,
    .tick = tick,
};

static void *
run(void *arg)
{
	struct lt_popper *p = arg;

	(void)pthread_setname_np(pthread_self(), "gateway-popper");
	if (lt_net_run(p->net) != LEAT_OK)
		lt_log_error("popper-stopped", "waiting=%zu", p->count);
	return NULL;
}

/* The lock is held. */
static int
start(struct lt_popper *p)
{
	const struct lt_net_limits limits = {
	    .frame_bytes = LT_REMOTING_FRAME_MAX, .connections = 1};
	sigset_t all, before;
	int rc;

	if (p->net == NULL && lt_net_create(&owner, p, &limits,
				  LT_POPOUT_STEP_MS, &p->net) != LEAT_OK)
		return LEAT_E_NOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	p->is_running = rc == 0;
	return rc == 0 ? LEAT_OK : LEAT_E_NOMEM;
}

/* --- from workers ----------------------------------------------------------
 */

/* Takes the item, or leaves it. */
static int
hand_over(struct lt_popper *p, struct item *it, size_t most)
{
	size_t bytes = it->call != NULL ? it->call->body_bytes : 0;
	int status = LEAT_OK;

	pthread_mutex_lock(&p->lock);
	if (!p->is_begun)
		status = LEAT_E_UNSUPPORTED;
	else if (p->count >= most || bytes > BYTES_MAX - p->bytes)
		status = LEAT_E_BUSY;
	else if (!p->is_running)
		status = start(p);
	if (status == LEAT_OK) {
		STAILQ_INSERT_TAIL(&p->waiting, it, link);
		p->count++;
		p->bytes += bytes;
		lt_net_wake(p->net);
	}
	pthread_mutex_unlock(&p->lock);
	return status;
}

int
lt_popper_submit(struct lt_popper *p, const struct lt_call *call)
{
	struct item *it = lt_mem_alloc(sizeof *it);
	int status = LEAT_E_NOMEM;

	if (it == NULL)
		return LEAT_E_NOMEM;
	it->call = lt_call_detach(call);
	if (it->call != NULL) {
		/* Who has closed wants no messages, though an answer. */
		if (call->request->code != LT_POP_POP)
			lt_ticket_owe(call->worker, &it->call->ticket);
		status = hand_over(p, it, LT_POPPER_ITEMS_MAX);
	}
	if (status != LEAT_OK) {
		if (it->call != NULL && !call->ticket.owed &&
		    it->call->ticket.owed)
			lt_conn_owe(call->conn, -1);
		lt_call_free(it->call);
		lt_mem_free(it);
	}
	return status;
}

void
lt_popper_undelivered(
    struct lt_popper *p, const struct lt_popanswer_item *items, uint32_t count)
{
	struct item *it = lt_mem_alloc(sizeof *it + count * sizeof *items);

	if (it == NULL)
		return; /* their time will be over */
	it->count = count;
	memcpy(it->places, items, count * sizeof *items);
	if (hand_over(p, it, SIZE_MAX) != LEAT_OK)
		lt_mem_free(it);
}

/* --- life ------------------------------------------------------------------
 */

int
lt_popper_create(const struct lt_gateway *g, struct lt_popper **out)
{
	struct lt_popper *p = lt_mem_alloc(sizeof *p);

	if (p == NULL)
		return LEAT_E_NOMEM;
	p->g = g;
	pthread_mutex_init(&p->lock, NULL);
	STAILQ_INIT(&p->waiting);
	*out = p;
	return LEAT_OK;
}

void
lt_popper_begin(struct lt_popper *p, const struct leat_options *session)
{
	pthread_mutex_lock(&p->lock);
	p->session = *session;
	p->is_begun = 1;
	pthread_mutex_unlock(&p->lock);
}

void
lt_popper_destroy(struct lt_popper *p)
{
	struct item *it;

	if (p == NULL)
		return;
	if (p->is_running) {
		lt_net_stop(p->net);
		pthread_join(p->thread, NULL);
	}
	if (p->net != NULL)
		lt_net_destroy(p->net);
	while ((it = STAILQ_FIRST(&p->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&p->waiting, link);
		lt_call_free(it->call);
		lt_mem_free(it);
	}
	lt_popserve_destroy(p->serve);
	leat_close(p->leat);
	pthread_mutex_destroy(&p->lock);
	lt_mem_free(p);
}
