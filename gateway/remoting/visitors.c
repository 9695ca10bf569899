/*
 * visitors.c - one line in the log a second of those who were not let in, a
 * count and a record of the audit topic of each; of those that came too often
 * one record a second. What a peer hears is the same whether its key never had
 * a grant or has none any more: nothing.
 */
#include "config.h"
#include "remoting/visitors.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"
#include "leat/status.h"
#include "remoting/entrances.h"
#include "remoting/guard.h"
#include "remoting/ledger.h"

#define SAY_MS 1000

struct lt_visitors {
	_Atomic uint64_t counts[LT_VISIT_COUNTS];
	_Atomic uint64_t said_ms; /* 0: never */
};

int
lt_visitors_create(struct lt_visitors **out)
{
	*out = lt_mem_alloc(sizeof **out);
	return *out != NULL ? LEAT_OK : LEAT_E_NOMEM;
}

void
lt_visitors_destroy(struct lt_visitors *v)
{
	lt_mem_free(v);
}

uint64_t
lt_visitors_count(const struct lt_visitors *v, enum lt_visit what)
{
	return atomic_load_explicit(&v->counts[what], memory_order_relaxed);
}

/* `more` may stand for less. */
static void
add(struct lt_visitors *v, enum lt_visit what, uint64_t more)
{
	if (more != 0)
		atomic_fetch_add_explicit(
		    &v->counts[what], more, memory_order_relaxed);
}

/* --- one peer --------------------------------------------------------------
 */

int
lt_visitors_admit(
    struct lt_conn *c, const uint8_t key[LT_SECRET_KEY], void *user)
{
	const struct lt_worker *w = user;

	const struct lt_principal who = lt_principal_key(key);

	return w->g->guard != NULL && lt_guard_knows(w->g->guard, &who);
}

static const char *
outcome(enum lt_net_reason reason)
{
	switch (reason) {
	case LT_NET_STRANGER:
		return "unknown-key";
	case LT_NET_CHANNEL_BAD:
		return "malformed";
	case LT_NET_HELLO:
		return "late";
	case LT_NET_HALF:
		return "displaced";
	default:
		return "given-up";
	}
}

static void
record(const struct lt_worker *w, const struct lt_conn *c, const char *act,
    const char *how)
{
	struct lt_principal who = {0};

	if (lt_conn_key(c) != NULL)
		who = lt_principal_key(lt_conn_key(c));
	lt_ledger_turned_away(w->g->ledger, &who, lt_conn_peer(c), act, how);
}

static void
say(const struct lt_worker *w, const struct lt_conn *c)
{
	struct lt_visitors *v = w->g->visitors;
	uint64_t now = w->now_ms;
	uint64_t said = atomic_load_explicit(&v->said_ms, memory_order_relaxed);
	char key[LT_SECRET_TEXT] = "-";

	if ((said != 0 && now - said < SAY_MS) ||
	    !atomic_compare_exchange_strong_explicit(&v->said_ms, &said, now,
		memory_order_relaxed, memory_order_relaxed))
		return;
	if (lt_conn_key(c) != NULL)
		lt_secret_text(key, lt_conn_key(c));
	lt_log_warn("handshake-refused",
	    "peer=%s key=%s outcome=%s refused=%llu", lt_conn_peer(c), key,
	    outcome(lt_conn_reason(c)),
	    (unsigned long long)lt_visitors_count(v, LT_VISIT_REFUSED));
}

void
lt_visitors_closed(struct lt_worker *w, const struct lt_conn *c)
{
	if (lt_conn_tag(c) != LT_ROLE_CHANNEL)
		return;
	if (lt_conn_is_unshaken(c)) {
		add(w->g->visitors, LT_VISIT_REFUSED, 1);
		record(w, c, "handshake", outcome(lt_conn_reason(c)));
		say(w, c);
	} else if (lt_conn_reason(c) == LT_NET_STRANGER) {
		add(w->g->visitors, LT_VISIT_REVOKED, 1);
		record(w, c, "connection", "revoked");
		lt_log_info("connection-cut", "peer=%s", lt_conn_peer(c));
	}
}

/* --- all of a worker's -----------------------------------------------------
 */

/* The first grant to a key opens what awaited it, for good. */
static void
open_entrances(struct lt_worker *w)
{
	int status;

	if (w->has_opened || w->g->entrances == NULL ||
	    !lt_guard_has_keys(w->g->guard))
		return;
	w->has_opened = 1;
	status = lt_entrances_share(w->g->entrances, w, 1);
	if (status != LEAT_OK)
		lt_log_warn("not-listening",
		    "role=channel port=%d status=%s fix=\"set gateway.channel "
		    "to another address, or to none\"",
		    LT_ENTRANCES_CHANNEL_PORT, leat_status_name(status));
}

static void
count(struct lt_worker *w)
{
	struct lt_visitors *v = w->g->visitors;
	const struct lt_net_counters *now = lt_net_counters(w->net);
	struct lt_net_counters *was = &w->counted;

	add(v, LT_VISIT_UP, now->channels - was->channels);
	add(v, LT_VISIT_HALF_OPEN, now->half_open - was->half_open);
	add(v, LT_VISIT_MADE, now->handshakes - was->handshakes);
	add(v, LT_VISIT_FLOODED, now->flooded - was->flooded);
	*was = *now;
	if (now->flooded == w->flooded || w->now_ms < w->flooded_ms + SAY_MS)
		return;
	lt_ledger_flooded(w->g->ledger, now->flooded - w->flooded);
	w->flooded = now->flooded;
	w->flooded_ms = w->now_ms;
}

void
lt_visitors_tick(struct lt_worker *w, uint64_t now_ms)
{
	uint64_t generation =
	    w->g->guard != NULL ? lt_guard_generation(w->g->guard) : 0;

	w->now_ms = now_ms;
	if (generation != atomic_load(&w->rules_seen)) {
		lt_net_admit_again(w->net);
		lt_guard_review(w->g->guard, w->net);
		lt_pull_recall(w); /* who waits has to ask again */
		open_entrances(w);
		atomic_store(&w->rules_seen, generation);
	}
	count(w);
}
