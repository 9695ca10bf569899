/*
 * guard.c - who is let in, and what with. Rules are read under a lock that only
 * a reload takes for itself; all else is set up once.
 */
#include "config.h"
#include "remoting/guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "leat/status.h"
#include "remoting/signature.h"
#include "remoting/worker.h"

#define SAY_MS 1000
#define RETRY_PREFIX "%RETRY%"
#define RETRY_BYTES (sizeof RETRY_PREFIX - 1)

struct lt_guard {
	struct lt_accounts *accounts;
	int anonymous;
	pthread_rwlock_t lock;
	struct lt_options rules; /* lock; only [access] of it is looked at */
	_Atomic uint64_t generation; /* of rules; from 1 */
	_Atomic uint64_t refused;
	_Atomic uint64_t said_ms; /* 0: never */
};

int
lt_guard_create(struct lt_accounts *accounts, const struct lt_options *options,
    struct lt_guard **out)
{
	struct lt_guard *g = lt_mem_alloc(sizeof *g);

	if (g == NULL)
		return LEAT_E_NOMEM;
	g->accounts = accounts;
	g->anonymous = options->gateway_anonymous != 0;
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
	lt_accounts_free(g->accounts);
	pthread_rwlock_destroy(&g->lock);
	lt_mem_free(g);
}

void
lt_guard_reload(struct lt_guard *g, const struct lt_options *options)
{
	if (g == NULL)
		return;
	pthread_rwlock_wrlock(&g->lock);
	g->rules = *options;
	pthread_rwlock_unlock(&g->lock);
	/* release: who sees it finds the rules behind the lock */
	atomic_fetch_add_explicit(&g->generation, 1, memory_order_release);
}

uint64_t
lt_guard_generation(const struct lt_guard *g)
{
	return atomic_load_explicit(/* acquire: see lt_guard_reload() */
	    &g->generation, memory_order_acquire);
}

/* --- keys of channels ------------------------------------------------------
 */

int
lt_guard_knows(struct lt_guard *g, const uint8_t key[LT_SECRET_KEY])
{
	char text[LT_SECRET_TEXT];
	int knows = 0;

	lt_secret_text(text, key);
	pthread_rwlock_rdlock(&g->lock);
	for (uint32_t i = 0; i < g->rules.access_count; i++)
		knows |= g->rules.access[i].who == LT_ACCESS_KEY &&
			 strcmp(g->rules.access[i].key, text) == 0;
	pthread_rwlock_unlock(&g->lock);
	return knows;
}

int
lt_guard_has_keys(struct lt_guard *g)
{
	uint8_t key[LT_SECRET_KEY];
	int has = 0;

	pthread_rwlock_rdlock(&g->lock);
	for (uint32_t i = 0; i < g->rules.access_count; i++)
		has |= g->rules.access[i].who == LT_ACCESS_KEY &&
		       lt_secret_parse(key, g->rules.access[i].key) == LEAT_OK;
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

/* Counted; one line a second. Who guesses keys learns nothing from either. */
static void
count(const struct lt_call *call)
{
	struct lt_guard *g = call->worker->g->guard;
	uint64_t now = lt_clock_mono_ms();
	uint64_t said = atomic_load_explicit(&g->said_ms, memory_order_relaxed);
	uint64_t refused =
	    atomic_fetch_add_explicit(&g->refused, 1, memory_order_relaxed) + 1;

	if ((said != 0 && now - said < SAY_MS) ||
	    !atomic_compare_exchange_strong_explicit(&g->said_ms, &said, now,
		memory_order_relaxed, memory_order_relaxed))
		return;
	lt_log_warn("request-refused",
	    "peer=%s code=%d key=\"%s\" refused=%llu",
	    call->conn != NULL ? lt_conn_peer(call->conn) : "",
	    call->request->code, call->by, (unsigned long long)refused);
}

void
lt_guard_refuse(const struct lt_call *call)
{
	count(call);
	lt_answer_status(call->worker, &call->ticket, LT_CODE_NO_PERMISSION,
	    "access key %s has not the right to do this: see [access] in the "
	    "broker's configuration",
	    call->by);
}

int
lt_guard_admit(struct lt_call *call)
{
	const struct lt_guard *g = call->worker->g->guard;
	int status;

	if (g == NULL)
		return 1;
	if (lt_conn_key(call->conn) != NULL) {
		lt_secret_text(call->by, lt_conn_key(call->conn));
		return 1;
	}
	if (g->accounts == NULL)
		return 1;
	status = lt_signature_check(g->accounts, call->request, call->body,
	    call->body_bytes, &call->account);
	if (status == LEAT_OK)
		snprintf(call->by, sizeof call->by, "%s", call->account->key);
	if (status == LEAT_OK || (status == LEAT_E_NOTFOUND && g->anonymous))
		return 1;
	count(call);
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
	unsigned have;

	if (name != NULL && name->bytes > 0) {
		if (name->bytes >= sizeof text ||
		    memchr(name->p, 0, name->bytes) != NULL)
			return 0;
		memcpy(text, name->p, name->bytes);
		text[name->bytes] = '\0';
	}
	pthread_rwlock_rdlock(&g->lock);
	have = lt_options_key_rights(
	    &g->rules, call->by, what, name != NULL ? text : NULL);
	pthread_rwlock_unlock(&g->lock);
	return (have & rights) != 0;
}

/* Who was let in without a signature may do everything. */
int
lt_guard_asks(const struct lt_call *call)
{
	return call->worker->g->guard != NULL && call->by[0] != '\0';
}

int
lt_guard_may_group(
    const struct lt_call *call, unsigned rights, struct lt_remoting_text group)
{
	return !lt_guard_asks(call) ||
	       may(call, rights, LT_ACCESS_GROUP, &group);
}

int
lt_guard_may_topic(
    const struct lt_call *call, unsigned rights, struct lt_remoting_text topic)
{
	if (!lt_guard_asks(call))
		return 1;
	if (topic.bytes > RETRY_BYTES &&
	    memcmp(topic.p, RETRY_PREFIX, RETRY_BYTES) == 0) {
		topic.p += RETRY_BYTES;
		topic.bytes -= RETRY_BYTES;
		if ((rights & LT_RIGHT_PUBLISH) != 0)
			rights |= LT_RIGHT_SUBSCRIBE;
		return may(call, rights, LT_ACCESS_GROUP, &topic);
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

static int
has_group(const struct lt_call *call, const struct lt_need *need)
{
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
