/*
 * ledger.c - two lists behind a lock: acts that are not answered yet, and what
 * is to be told. What leat-queue did not take is told again.
 */
#include "config.h"
#include "remoting/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/relay.h"
#include "leat/status.h"
#include "proto/auditline.h"
#include "proto/principal.h"
#include "proto/wire.h"
#include "remoting/worker.h"

#define SECOND_MS 1000
#define TELL_MS 1000 /* leat-queue may be away: the next time then */

struct note {
	STAILQ_ENTRY(note) link;
	uint32_t number; /* of one that is open */
	int is_refusal;
	uint64_t begun_ms;
	int64_t wall_ms;
	char who[LT_PRINCIPAL_TEXT], peer[32], act[64], outcome[24];
	char object[LT_NAME_FIELD + 16];
};
STAILQ_HEAD(notes, note);

struct lt_ledger {
	pthread_mutex_t lock;
	struct notes open, done; /* lock; in order of time */
	size_t count, refused; /* lock; of both; of these refusals */
	uint32_t last; /* lock; number given last */
	uint64_t lost; /* lock; that have no note, since told last */
	uint64_t refusals, since_ms; /* lock; of this second */
	struct lt_wire_audit_entry entries[LT_AUDIT_ENTRIES]; /* the clerk's */
};

int
lt_ledger_create(struct lt_ledger **out)
{
	struct lt_ledger *l = lt_mem_alloc(sizeof *l);

	if (l == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&l->lock, NULL);
	STAILQ_INIT(&l->open);
	STAILQ_INIT(&l->done);
	*out = l;
	return LEAT_OK;
}

static void
free_notes(struct notes *list)
{
	struct note *n;

	while ((n = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		lt_mem_free(n);
	}
}

void
lt_ledger_destroy(struct lt_ledger *l)
{
	if (l == NULL)
		return;
	free_notes(&l->open);
	free_notes(&l->done);
	pthread_mutex_destroy(&l->lock);
	lt_mem_free(l);
}

/* --- written -----------------------------------------------------------------
 */

/* The lock is held. NULL: no room, which is counted. Half is for each kind. */
static struct note *
make(struct lt_ledger *l, int is_refusal)
{
	size_t now = is_refusal ? l->refused : l->count - l->refused;
	struct note *n =
	    now < LT_LEDGER_MAX / 2 ? lt_mem_alloc(sizeof *n) : NULL;

	if (n == NULL) {
		l->lost++;
		return NULL;
	}
	n->is_refusal = is_refusal;
	l->count++;
	l->refused += (size_t)is_refusal;
	return n;
}

static void
fill(struct note *n, const struct lt_call *call, const char *kind,
    struct lt_remoting_text name)
{
	const char *act = lt_worker_code_name(call->request->code, call->conn);

	n->wall_ms = lt_clock_wall_ms();
	n->begun_ms = lt_clock_mono_ms();
	lt_principal_print(&call->who, n->who);
	if (call->conn != NULL)
		snprintf(
		    n->peer, sizeof n->peer, "%s", lt_conn_peer(call->conn));
	if (act != NULL)
		snprintf(n->act, sizeof n->act, "%s", act);
	else
		snprintf(n->act, sizeof n->act, "code:%d", call->request->code);
	if (kind != NULL && name.bytes > 0)
		snprintf(n->object, sizeof n->object, "%s:%.*s", kind,
		    (int)(name.bytes < LT_NAME_FIELD ? name.bytes
						     : LT_NAME_FIELD - 1),
		    name.p);
}

/* The lock is held. NULL: too many, or no room. */
static struct note *
make_refusal(struct lt_ledger *l, const char *outcome)
{
	uint64_t now_ms = lt_clock_mono_ms();
	struct note *n = NULL;

	if (now_ms - l->since_ms >= SECOND_MS) {
		l->since_ms = now_ms;
		l->refusals = 0;
	}
	if (++l->refusals > LT_AUDITLINE_PER_S)
		l->lost++;
	else
		n = make(l, 1);
	if (n == NULL)
		return NULL;
	n->wall_ms = lt_clock_wall_ms();
	snprintf(n->outcome, sizeof n->outcome, "%s", outcome);
	STAILQ_INSERT_TAIL(&l->done, n, link);
	return n;
}

void
lt_ledger_refused(struct lt_ledger *l, const struct lt_call *call,
    const char *kind, struct lt_remoting_text name, const char *outcome)
{
	struct note *n;

	pthread_mutex_lock(&l->lock);
	n = make_refusal(l, outcome);
	if (n != NULL)
		fill(n, call, kind, name);
	pthread_mutex_unlock(&l->lock);
}

void
lt_ledger_turned_away(struct lt_ledger *l, const struct lt_principal *who,
    const char *peer, const char *act, const char *outcome)
{
	struct note *n;

	pthread_mutex_lock(&l->lock);
	n = make_refusal(l, outcome);
	if (n != NULL) {
		lt_principal_print(who, n->who);
		snprintf(n->peer, sizeof n->peer, "%s", peer);
		snprintf(n->act, sizeof n->act, "%s", act);
	}
	pthread_mutex_unlock(&l->lock);
}

void
lt_ledger_flooded(struct lt_ledger *l, uint64_t connections)
{
	struct note *n;

	pthread_mutex_lock(&l->lock);
	n = make_refusal(l, "flooded");
	if (n != NULL) {
		snprintf(n->act, sizeof n->act, "handshake");
		snprintf(n->object, sizeof n->object, "connections:%llu",
		    (unsigned long long)connections);
	}
	pthread_mutex_unlock(&l->lock);
}

uint32_t
lt_ledger_begin(struct lt_ledger *l, const struct lt_call *call,
    const char *kind, struct lt_remoting_text name)
{
	uint32_t number = 0;
	struct note *n;

	pthread_mutex_lock(&l->lock);
	n = make(l, 0);
	if (n != NULL) {
		fill(n, call, kind, name);
		if (++l->last == 0)
			l->last = 1;
		n->number = number = l->last;
		STAILQ_INSERT_TAIL(&l->open, n, link);
	}
	pthread_mutex_unlock(&l->lock);
	return number;
}

/* The lock is held. */
static void
finish(struct lt_ledger *l, struct note *n)
{
	STAILQ_REMOVE(&l->open, n, note, link);
	STAILQ_INSERT_TAIL(&l->done, n, link);
}

void
lt_ledger_end(struct lt_ledger *l, uint32_t note, int32_t code)
{
	struct note *n;

	pthread_mutex_lock(&l->lock);
	STAILQ_FOREACH(n, &l->open, link)
	if (n->number == note)
		break;
	if (n != NULL) {
		if (code == LT_CODE_SUCCESS)
			snprintf(n->outcome, sizeof n->outcome, "ok");
		else if (code == LT_CODE_NO_PERMISSION)
			snprintf(n->outcome, sizeof n->outcome, "denied");
		else
			snprintf(
			    n->outcome, sizeof n->outcome, "code:%d", code);
		finish(l, n);
	}
	pthread_mutex_unlock(&l->lock);
}

/* --- told --------------------------------------------------------------------
 */

/* The lock is held: nobody will answer these any more. */
static void
give_up(struct lt_ledger *l, uint64_t now_ms)
{
	struct note *n;

	while ((n = STAILQ_FIRST(&l->open)) != NULL &&
	       now_ms - n->begun_ms >= LT_LEDGER_PATIENCE_MS) {
		snprintf(n->outcome, sizeof n->outcome, "unanswered");
		finish(l, n);
	}
}

/* The lock is held: how many have no record. */
static void
say_lost(struct lt_ledger *l)
{
	struct note *n = l->lost > 0 && l->count < LT_LEDGER_MAX
			     ? lt_mem_alloc(sizeof *n)
			     : NULL;

	if (n == NULL)
		return;
	n->is_refusal = 1;
	n->wall_ms = lt_clock_wall_ms();
	snprintf(n->act, sizeof n->act, "more-refused");
	snprintf(n->object, sizeof n->object, "count:%llu",
	    (unsigned long long)l->lost);
	snprintf(n->outcome, sizeof n->outcome, "denied");
	l->lost = 0;
	l->count++;
	l->refused++;
	STAILQ_INSERT_TAIL(&l->done, n, link);
}

static void
write_entry(const struct note *n, struct lt_wire_audit_entry *e)
{
	const struct lt_auditline line = {.time_ms = n->wall_ms,
	    .by = "gateway",
	    .principal = n->who,
	    .peer = n->peer,
	    .act = n->act,
	    .object = n->object,
	    .outcome = n->outcome};

	memset(e, 0, sizeof *e);
	e->is_refusal = (uint32_t)n->is_refusal;
	(void)lt_auditline_make(e->line, &line);
}

/* The clerk's duty: what leat-queue does not take is told the next time. */
static void
tell(struct leat *leat, int is_last, void *user)
{
	struct lt_ledger *l = user;
	struct notes list = STAILQ_HEAD_INITIALIZER(list);
	uint64_t now_ms = lt_clock_mono_ms();
	int status = LEAT_OK;
	struct note *n;

	pthread_mutex_lock(&l->lock);
	give_up(l, now_ms);
	if (now_ms - l->since_ms >= SECOND_MS)
		say_lost(l);
	STAILQ_CONCAT(&list, &l->done);
	pthread_mutex_unlock(&l->lock);
	while (status == LEAT_OK && !STAILQ_EMPTY(&list)) {
		size_t count = 0;

		STAILQ_FOREACH(n, &list, link)
		{
			if (count == LT_AUDIT_ENTRIES)
				break;
			write_entry(n, &l->entries[count++]);
		}
		status = lt_relay_audit(leat, l->entries, count, TELL_MS);
		if (status == LEAT_E_DENIED || status == LEAT_E_INVALID) {
			lt_log_error("audit-refused", "status=%s",
			    leat_status_name(status));
			status = LEAT_OK; /* it would be again */
		}
		for (; status == LEAT_OK && count > 0; count--) {
			n = STAILQ_FIRST(&list);
			STAILQ_REMOVE_HEAD(&list, link);
			pthread_mutex_lock(&l->lock);
			l->count--;
			l->refused -= (size_t)n->is_refusal;
			pthread_mutex_unlock(&l->lock);
			lt_mem_free(n);
		}
	}
	pthread_mutex_lock(&l->lock);
	STAILQ_CONCAT(&list, &l->done);
	STAILQ_CONCAT(&l->done, &list);
	pthread_mutex_unlock(&l->lock);
}

void
lt_ledger_start(struct lt_ledger *l, struct lt_clerk *clerk)
{
	lt_clerk_on_duty(clerk, tell, l);
}
