/*
 * guard.c - who is let in, and what with. Rules are read under a lock that only
 * who changes them takes for itself; all else is set up once.
 */
#include "config.h"
#include "remoting/guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/leat.h"
#include "leat/status.h"
#include "proto/access.h"
#include "proto/name.h"
#include "remoting/builtins.h"
#include "remoting/ledger.h"
#include "remoting/signature.h"
#include "remoting/worker.h"

#define SAY_MS 1000
#define PING_MS 100
#define RETRY_MS 300
#define RETRY_PREFIX "%RETRY%"
#define RETRY_BYTES (sizeof RETRY_PREFIX - 1)
#define PULL_MESSAGE 11
#define PULL_COMMITS 1
#define TOOLS "TOOLS_CONSUMER"
#define OWN_PREFIX "rmq_sys_leat_"
#define OWN_BYTES (sizeof OWN_PREFIX - 1)

struct lt_guard {
	struct lt_accounts *accounts; /* NULL: nobody signs */
	int anonymous;
	pthread_rwlock_t lock;
	struct lt_options rules; /* lock; only [access] of it is looked at */
	struct lt_rulebook *grants; /* lock */
	_Atomic uint64_t generation; /* of both; from 1 */
	struct leat *leat; /* these of the thread that learns */
	uint64_t (*changes)(void);
	uint64_t learned; /* count of changes then */
	uint64_t learn_ms; /* not before */
	_Atomic uint64_t refused;
	_Atomic uint64_t said_ms; /* 0: never */
};

int
lt_guard_create(struct lt_accounts *accounts, const struct lt_options *options,
    struct lt_guard **out)
{
	struct lt_guard *g = lt_mem_alloc(sizeof *g);

	if (g == NULL || lt_rulebook_create(&g->grants) != LEAT_OK) {
		lt_mem_free(g);
		return LEAT_E_NOMEM;
	}
	g->accounts = accounts;
	g->anonymous = accounts == NULL || options->gateway_anonymous != 0;
	g->rules = *options;
	atomic_init(&g->generation, 1);
	pthread_rwlock_init(&g->lock, NULL);
	*out = g;
	return LEAT_OK;
}

void
lt_guard_destroy(struct lt_guard *g)
{
	if (g == NULL)
		return;
	leat_close(g->leat);
	lt_accounts_free(g->accounts);
	lt_rulebook_destroy(g->grants);
	pthread_rwlock_destroy(&g->lock);
	lt_mem_free(g);
}

/* --- rules -----------------------------------------------------------------
 */

/* release: who sees it finds the rules behind the lock */
static void
changed(struct lt_guard *g)
{
	atomic_fetch_add_explicit(&g->generation, 1, memory_order_release);
}

void
lt_guard_reload(struct lt_guard *g, const struct lt_options *options)
{
	if (g == NULL)
		return;
	pthread_rwlock_wrlock(&g->lock);
	g->rules = *options;
	pthread_rwlock_unlock(&g->lock);
	changed(g);
}

void
lt_guard_grant(struct lt_guard *g, struct lt_rulebook *grants)
{
	struct lt_rulebook *old;

	pthread_rwlock_wrlock(&g->lock);
	old = g->grants;
	g->grants = grants;
	pthread_rwlock_unlock(&g->lock);
	lt_rulebook_destroy(old);
	changed(g);
}

/* Grants to local ones are nothing to us, and rules of the file we have. */
static int
take(const struct leat_grant *grant, void *user)
{
	struct lt_access_rule rule;
	char why[200];

	if (grant->fixed)
		return LEAT_OK;
	if (lt_access_make(&rule, grant->principal,
		grant->on_group ? LT_ACCESS_GROUP : LT_ACCESS_TOPIC,
		grant->pattern, grant->rights, why, sizeof why) != LEAT_OK)
		return LEAT_E_CORRUPT;
	return lt_principal_is_remote(&rule.who) ? lt_rulebook_set(user, &rule)
						 : LEAT_OK;
}

static int
learn(struct lt_guard *g)
{
	uint64_t changes = g->changes();
	struct lt_rulebook *book;
	int status;

	if (g->learned == changes)
		return LEAT_OK;
	/* This thread hears the supervisor too: a list is only asked for where
	 * it comes at once. */
	status = leat_ping(g->leat, PING_MS);
	if (status == LEAT_OK)
		status = lt_rulebook_create(&book);
	if (status != LEAT_OK)
		return status;
	status = leat_grant_list(g->leat, take, book);
	if (status != LEAT_OK) {
		lt_rulebook_destroy(book);
		return status;
	}
	lt_log_info("grants", "remote=%zu", lt_rulebook_count(book));
	lt_guard_grant(g, book);
	g->learned = changes;
	return LEAT_OK;
}

int
lt_guard_begin(struct lt_guard *g, const struct leat_options *session,
    uint64_t (*changes)(void))
{
	struct leat_options own = *session;
	int status;

	own.lane_bytes = LT_LANE_MIN;
	g->changes = changes;
	status = leat_connect(&own, &g->leat);
	return status != LEAT_OK ? status : learn(g);
}

void
lt_guard_tick(struct lt_guard *g, uint64_t now_ms)
{
	int status;

	if (g == NULL || g->leat == NULL || now_ms < g->learn_ms)
		return;
	status = learn(g);
	if (status == LEAT_OK)
		return;
	lt_log_warn("grants-unknown", "status=%s", leat_status_name(status));
	g->learn_ms = now_ms + RETRY_MS;
}

uint64_t
lt_guard_generation(const struct lt_guard *g)
{
	return g == NULL ? 0
			 : atomic_load_explicit(/* acquire: see changed() */
			       &g->generation, memory_order_acquire);
}

uint64_t
lt_guard_learned(const struct lt_guard *g, uint64_t *generation_out)
{
	*generation_out = lt_guard_generation(g);
	return g == NULL ? 0 : g->learned;
}

static int
has_rule(const struct lt_guard *g, const struct lt_principal *who)
{
	for (uint32_t i = 0; i < g->rules.access_count; i++)
		if (lt_principal_match(&g->rules.access[i].who, who))
			return 1;
	return 0;
}

int
lt_guard_knows(struct lt_guard *g, const struct lt_principal *who)
{
	int is_known;

	pthread_rwlock_rdlock(&g->lock);
	is_known = has_rule(g, who) || lt_rulebook_has(g->grants, who);
	pthread_rwlock_unlock(&g->lock);
	return is_known;
}

static void
review_one(struct lt_conn *c, void *user)
{
	const struct lt_principal *who = lt_conn_who(c);
	char text[LT_PRINCIPAL_TEXT];

	if (who->kind == LT_PRINCIPAL_NONE || lt_guard_knows(user, who))
		return;
	lt_principal_print(who, text);
	lt_log_info(
	    "connection-cut", "peer=%s principal=%s", lt_conn_peer(c), text);
	lt_conn_close(c);
}

void
lt_guard_review(struct lt_guard *g, struct lt_net *net)
{
	lt_net_each(net, review_one, g);
}

int
lt_guard_has_keys(struct lt_guard *g)
{
	int has = 0;

	pthread_rwlock_rdlock(&g->lock);
	for (uint32_t i = 0; i < g->rules.access_count; i++)
		has |= g->rules.access[i].who.kind == LT_PRINCIPAL_KEY;
	for (size_t i = 0; i < lt_rulebook_count(g->grants); i++)
		has |=
		    lt_rulebook_at(g->grants, i)->who.kind == LT_PRINCIPAL_KEY;
	pthread_rwlock_unlock(&g->lock);
	return has;
}

uint64_t
lt_guard_refused(const struct lt_guard *g)
{
	return g == NULL
		   ? 0
		   : atomic_load_explicit(&g->refused, memory_order_relaxed);
}

/* --- refused ---------------------------------------------------------------
 */

/* What this thread was asked last, and said no to: what a refusal is about. */
static _Thread_local struct {
	const char *kind;
	struct lt_remoting_text name;
} asked;

/* Counted; one line a second. Who guesses keys learns nothing from either. */
static void
count(const struct lt_call *call)
{
	struct lt_guard *g = call->worker->g->guard;
	char who[LT_PRINCIPAL_TEXT];
	uint64_t now = lt_clock_mono_ms();
	uint64_t said = atomic_load_explicit(&g->said_ms, memory_order_relaxed);
	uint64_t refused =
	    atomic_fetch_add_explicit(&g->refused, 1, memory_order_relaxed) + 1;

	if ((said != 0 && now - said < SAY_MS) ||
	    !atomic_compare_exchange_strong_explicit(&g->said_ms, &said, now,
		memory_order_relaxed, memory_order_relaxed))
		return;
	lt_principal_print(&call->who, who);
	lt_log_warn("request-refused",
	    "peer=%s code=%d principal=%s refused=%llu",
	    call->conn != NULL ? lt_conn_peer(call->conn) : "",
	    call->request->code, who, (unsigned long long)refused);
}

void
lt_guard_refuse(const struct lt_call *call)
{
	char who[LT_PRINCIPAL_TEXT];

	count(call);
	lt_ledger_refused(
	    call->worker->g->ledger, call, asked.kind, asked.name, "denied");
	lt_principal_print(&call->who, who);
	lt_answer_status(call->worker, &call->ticket, LT_CODE_NO_PERMISSION,
	    "%s has not the right to do this: see `leat grant list` on the "
	    "broker's host",
	    who);
}

/* Of a connection that proved a key, but nothing is granted to it any more:
 * its end is near. */
static int
admit_key(struct lt_call *call)
{
	if (lt_guard_knows(call->worker->g->guard, &call->who))
		return 1;
	asked.kind = NULL;
	lt_guard_refuse(call);
	return 0;
}

int
lt_guard_admit(struct lt_call *call)
{
	struct lt_guard *g = call->worker->g->guard;
	struct lt_principal *conn = lt_conn_who(call->conn);
	const struct lt_account *account;
	int status = LEAT_E_NOTFOUND;

	if (g == NULL)
		return 1;
	if (lt_conn_key(call->conn) != NULL) {
		call->who = lt_principal_key(lt_conn_key(call->conn));
		return admit_key(call);
	}
	if (g->accounts != NULL)
		status = lt_signature_check(g->accounts, call->request,
		    call->body, call->body_bytes, &account);
	if (status == LEAT_OK) {
		call->who = lt_principal_ak(account->key);
		*conn = call->who;
	}
	if (status == LEAT_OK || (status == LEAT_E_NOTFOUND && g->anonymous))
		return 1;
	count(call);
	lt_ledger_refused(call->worker->g->ledger, call, "account",
	    lt_remoting_find(call->request, "AccessKey"),
	    status == LEAT_E_NOTFOUND ? "unsigned" : "signature");
	lt_answer_status(call->worker, &call->ticket, LT_CODE_NO_PERMISSION,
	    status == LEAT_E_NOTFOUND
		? "this broker serves signed requests only: give the client an "
		  "access key and its secret"
		: "the access key or the signature is wrong");
	return 0;
}

/* --- rights ----------------------------------------------------------------
 */

/* name NULL: every one. */
static int
may(const struct lt_call *call, unsigned rights, enum lt_access_what what,
    const struct lt_remoting_text *name)
{
	struct lt_guard *g = call->worker->g->guard;
	char text[LT_NAME_FIELD] = "";
	const char *of = name != NULL ? text : NULL;
	unsigned have = 0;
	int is_name = 1;

	if (name != NULL && name->bytes > 0) {
		is_name = name->bytes < sizeof text &&
			  memchr(name->p, 0, name->bytes) == NULL;
		if (is_name)
			memcpy(text, name->p, name->bytes);
		text[is_name ? name->bytes : 0] = '\0';
	}
	if (is_name) {
		pthread_rwlock_rdlock(&g->lock);
		have = lt_options_rights_of(&g->rules, &call->who, what, of) |
		       lt_rulebook_rights(g->grants, &call->who, what, of);
		pthread_rwlock_unlock(&g->lock);
	}
	if ((have & rights) != 0)
		return 1;
	asked.kind = lt_access_what_text(what);
	asked.name = name != NULL ? *name : lt_call_text("*");
	return 0;
}

/* Who has proven nothing and was let in may do everything. */
int
lt_guard_asks(const struct lt_call *call)
{
	return call->worker->g->guard != NULL &&
	       call->who.kind != LT_PRINCIPAL_NONE;
}

int
lt_guard_may_group(
    const struct lt_call *call, unsigned rights, struct lt_remoting_text group)
{
	return !lt_guard_asks(call) ||
	       may(call, rights, LT_ACCESS_GROUP, &group);
}

static int
begins_with(struct lt_remoting_text t, const char *prefix, size_t bytes)
{
	return t.bytes > bytes && memcmp(t.p, prefix, bytes) == 0;
}

/* Everybody may know of what each broker has by name; nothing is stored there.
 */
static int
is_builtin(const struct lt_call *call, struct lt_remoting_text topic)
{
	char name[LT_NAME_FIELD];

	if (topic.bytes == 0 || topic.bytes >= sizeof name)
		return 0;
	memcpy(name, topic.p, topic.bytes);
	name[topic.bytes] = '\0';
	return lt_builtins_find(call->worker->g, name, NULL);
}

int
lt_guard_may_topic(
    const struct lt_call *call, unsigned rights, struct lt_remoting_text topic)
{
	if (!lt_guard_asks(call) ||
	    (rights == LT_NEED_any && is_builtin(call, topic)))
		return 1;
	if (begins_with(topic, RETRY_PREFIX, RETRY_BYTES)) {
		topic.p += RETRY_BYTES;
		topic.bytes -= RETRY_BYTES;
		if ((rights & LT_RIGHT_PUBLISH) != 0)
			rights |= LT_RIGHT_SUBSCRIBE;
		return may(call, rights, LT_ACCESS_GROUP, &topic);
	}
	if (begins_with(topic, OWN_PREFIX, OWN_BYTES)) {
		if (topic.bytes == sizeof LT_NAME_AUDIT_TOPIC - 1 &&
		    memcmp(topic.p, LT_NAME_AUDIT_TOPIC, topic.bytes) == 0)
			return may(call, LT_RIGHT_TRACE | LT_RIGHT_MANAGE,
			    LT_ACCESS_TOPIC, &topic);
		if (!may(call, LT_RIGHT_MANAGE, LT_ACCESS_TOPIC, &topic))
			return 0;
	}
	return may(call, rights, LT_ACCESS_TOPIC, &topic);
}

static int
has_topic(const struct lt_call *call, const struct lt_need *need)
{
	return need->topic_field == NULL
		   ? may(call, need->topic, LT_ACCESS_TOPIC, NULL)
		   : lt_guard_may_topic(call, need->topic,
			 lt_remoting_find(call->request, need->topic_field));
}

/* Reading without a group, as tools do: under a name that is nobody's, and
 * nothing is committed. Then the right on the topic is enough. */
static int
is_browsing(const struct lt_call *call)
{
	struct lt_remoting_text group;
	int32_t flags;

	if (call->request->code != PULL_MESSAGE)
		return 0;
	group = lt_remoting_find(call->request, "consumerGroup");
	return group.bytes == sizeof TOOLS - 1 &&
	       memcmp(group.p, TOOLS, group.bytes) == 0 &&
	       lt_remoting_i32(call->request, "sysFlag", &flags) == LEAT_OK &&
	       (flags & PULL_COMMITS) == 0;
}

static int
has_group(const struct lt_call *call, const struct lt_need *need)
{
	if (is_browsing(call))
		return 1;
	return need->group_field == NULL
		   ? may(call, need->group, LT_ACCESS_GROUP, NULL)
		   : lt_guard_may_group(call, need->group,
			 lt_remoting_find(call->request, need->group_field));
}

int
lt_guard_serves(const struct lt_call *call, const struct lt_need *need)
{
	if (!lt_guard_asks(call) ||
	    ((need->topic == 0 || has_topic(call, need)) &&
		(need->group == 0 || has_group(call, need))))
		return 1;
	lt_guard_refuse(call);
	return 0;
}
