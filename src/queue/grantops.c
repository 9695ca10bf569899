/*
 * grantops.c - requests on grants, and their records. A change is a record of
 * the configuration topic, synced before anybody hears of it; then it counts at
 * once: sessions are looked through, and a counter in shared memory moves, by
 * which leat-gateway knows.
 */
#include "config.h"
#include "queue/queue.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "proto/access.h"
#include "proto/name.h"
#include "shm/counter.h"

#define ENTRIES_PER_REPLY 200
#define NONE "none"
#define ALL_RIGHTS                                                             \
	(LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_MANAGE |             \
	    LT_RIGHT_TRACE)

enum step {
	START,
	LOGGED
};

/* --- records -----------------------------------------------------------------
 */

static struct lt_record_property
property(const char *name, const char *value)
{
	return (struct lt_record_property){.name = name,
	    .name_bytes = strlen(name),
	    .value = value,
	    .value_bytes = strlen(value)};
}

struct lt_wire_append *
lt_grantops_record(const struct lt_access_rule *rule, size_t *bytes_out)
{
	char who[LT_PRINCIPAL_TEXT], rights[LT_ACCESS_RIGHTS_TEXT] = NONE;
	struct lt_record_property props[4];

	lt_principal_print(&rule->who, who);
	if (rule->rights != 0)
		lt_access_rights_text(rule->rights, rights);
	props[0] = property(LT_NAME_GRANT_WHO, who);
	props[1] =
	    property(LT_NAME_GRANT_WHAT, lt_access_what_text(rule->what));
	props[2] = property(LT_NAME_GRANT_PATTERN, rule->pattern);
	props[3] = property(LT_NAME_GRANT_RIGHTS, rights);
	return lt_state_record(
	    LT_STATE_CONFIG, "grant", props, 4, NULL, 0, bytes_out);
}

/* A property as a text: 0, or -1 if it is absent or does not fit. */
static int
text_of(
    const struct lt_record_view *v, const char *name, char *out, size_t room)
{
	const char *value;
	size_t bytes;

	if (lt_record_property(v, name, strlen(name), &value, &bytes) !=
		LEAT_OK ||
	    bytes >= room)
		return -1;
	memcpy(out, value, bytes);
	out[bytes] = '\0';
	return 0;
}

int
lt_grantops_apply(struct lt_manager *m, const struct lt_record_view *v)
{
	char who[LT_PRINCIPAL_TEXT], what[8], pattern[LT_ACCESS_PATTERN];
	char list[LT_ACCESS_RIGHTS_TEXT], bad[64], why[200];
	struct lt_access_rule rule;
	unsigned rights = 0;
	const char *value;
	size_t bytes;
	int status;

	if (lt_record_property(v, LT_NAME_GRANT_WHO,
		sizeof(LT_NAME_GRANT_WHO) - 1, &value, &bytes) != LEAT_OK)
		return LEAT_OK; /* a mark */
	if (text_of(v, LT_NAME_GRANT_WHO, who, sizeof(who)) != 0 ||
	    text_of(v, LT_NAME_GRANT_WHAT, what, sizeof(what)) != 0 ||
	    text_of(v, LT_NAME_GRANT_PATTERN, pattern, sizeof(pattern)) != 0 ||
	    text_of(v, LT_NAME_GRANT_RIGHTS, list, sizeof(list)) != 0 ||
	    lt_access_what(what) == 0 ||
	    (strcmp(list, NONE) != 0 &&
		lt_access_rights(list, &rights, bad) != LEAT_OK) ||
	    lt_access_make(&rule, who, lt_access_what(what), pattern, rights,
		why, sizeof(why)) != LEAT_OK)
		return LEAT_E_CORRUPT;
	status = lt_rulebook_set(m->grants, &rule);
	return status == LEAT_E_LIMIT ? LEAT_E_CORRUPT : status;
}

/* --- changes -----------------------------------------------------------------
 */

static void
reply_rule(struct lt_job *job, const struct lt_access_rule *rule, int origin)
{
	struct lt_wire_rule r;

	memset(&r, 0, sizeof(r));
	if (rule != NULL) {
		r.what = rule->what;
		r.rights = rule->rights;
		lt_principal_print(&rule->who, r.who);
		(void)lt_bytes_field(
		    r.pattern, sizeof(r.pattern), rule->pattern);
	}
	r.origin = (uint32_t)origin;
	lt_job_reply(job, &r, sizeof(r), 0, NULL, 0);
}

/* A refusal, with one line for whoever asked. */
LT_PRINTF(3, 4)
static void
refuse(struct lt_job *job, int status, const char *fmt, ...)
{
	struct lt_wire_rule r;
	va_list ap;

	memset(&r, 0, sizeof(r));
	va_start(ap, fmt);
	vsnprintf(r.why, sizeof(r.why), fmt, ap);
	va_end(ap);
	r.h.status = status;
	lt_job_reply(job, &r, sizeof(r), 0, NULL, 0);
}

/* What is asked for, checked; 0: the job is done with. */
static int
read_rule(struct lt_job *job, struct lt_access_rule *out)
{
	const struct lt_wire_rule *req = (const void *)job->request;
	char why[200];

	if (!lt_bytes_terminated(req->who, sizeof(req->who)) ||
	    !lt_bytes_terminated(req->pattern, sizeof(req->pattern)) ||
	    (req->what != LT_ACCESS_TOPIC && req->what != LT_ACCESS_GROUP) ||
	    req->rights == 0 || (req->rights & ~ALL_RIGHTS) != 0) {
		lt_job_done(job, LEAT_E_INVALID);
		return 0;
	}
	if (lt_access_make(out, req->who, (enum lt_access_what)req->what,
		req->pattern, req->rights, why, sizeof(why)) == LEAT_OK)
		return 1;
	refuse(job, LEAT_E_INVALID, "%s", why);
	return 0;
}

/* The rule of the file that gives any of this by the same words. */
static int
is_in_file(const struct lt_manager *m, const struct lt_access_rule *rule)
{
	for (uint32_t i = 0; i < m->options.access_count; i++) {
		const struct lt_access_rule *r = &m->options.access[i];

		if (memcmp(&r->who, &rule->who, sizeof(r->who)) == 0 &&
		    r->what == rule->what &&
		    strcmp(r->pattern, rule->pattern) == 0 &&
		    (r->rights & rule->rights) != 0)
			return 1;
	}
	return 0;
}

/* What the grant is to be; LEAT_OK, or why not: then the job is done with. */
static int
plan(struct lt_job *job, struct lt_access_rule *rule)
{
	struct lt_manager *m = job->m;
	const struct lt_access_rule *old = lt_rulebook_get(m->grants, rule);
	unsigned has = old == NULL ? 0 : old->rights;

	if (job->request->op == LT_OP_GRANT_ADD) {
		if (old == NULL &&
		    lt_rulebook_count(m->grants) >= LT_GRANTS_MAX) {
			refuse(job, LEAT_E_LIMIT,
			    "there are %d grants, more are not kept: use "
			    "patterns or os-group:NAME, or remove some",
			    LT_GRANTS_MAX);
			return LEAT_E_LIMIT;
		}
		rule->rights |= (uint16_t)has;
		return LEAT_OK;
	}
	if ((has & rule->rights) == 0) {
		if (is_in_file(m, rule))
			refuse(job, LEAT_E_NOTFOUND,
			    "this is a rule of [access]: change leat.conf and "
			    "reload it");
		else
			refuse(job, LEAT_E_NOTFOUND,
			    "no such grant: `leat grant list` shows what "
			    "there is");
		return LEAT_E_NOTFOUND;
	}
	rule->rights = (uint16_t)(has & ~(unsigned)rule->rights);
	return LEAT_OK;
}

static void
logged(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	struct lt_access_rule *rule = job->extra;
	char who[LT_PRINCIPAL_TEXT], rights[LT_ACCESS_RIGHTS_TEXT];
	int status = job->status;

	if (status == LEAT_OK) {
		(void)lt_failpoint(LT_FP_QUEUE_GRANT);
		status = lt_rulebook_set(m->grants, rule);
	}
	if (status != LEAT_OK) {
		lt_job_done(job, status);
		return;
	}
	lt_principal_print(&rule->who, who);
	lt_access_rights_text(rule->rights, rights);
	lt_log_info("grant-changed",
	    "principal=%s on=%s pattern=\"%s\" rights=%s", who,
	    lt_access_what_text(rule->what), rule->pattern,
	    rule->rights != 0 ? rights : NONE);
	lt_stat_add(queue_grant_changes, 1);
	lt_grants_review(m);
	reply_rule(job, rule, LT_RULE_GRANT);
}

void
lt_grantops_on_change(struct lt_job *job)
{
	struct lt_manager *m = job->m;
	struct lt_access_rule *rule = job->extra;
	struct lt_wire_append *msg;
	size_t bytes;

	if (job->step == LOGGED) {
		logged(job);
		return;
	}
	if (!lt_grants_may_grant(m, &job->conn->peer)) {
		refuse(job, LEAT_E_DENIED,
		    "who changes grants must have the right to manage topic * "
		    "and group *");
		return;
	}
	if (rule == NULL)
		rule = job->extra = lt_mem_alloc(sizeof(*rule));
	if (rule == NULL) {
		lt_job_done(job, LEAT_E_NOMEM);
		return;
	}
	if (!read_rule(job, rule) || lt_state_lock(job) != LEAT_OK ||
	    plan(job, rule) != LEAT_OK)
		return;
	job->step = LOGGED;
	msg = lt_grantops_record(rule, &bytes);
	if (msg == NULL)
		lt_manager_fatal("out of memory");
	lt_storelink_job(job, msg, bytes);
	lt_mem_free(msg);
}

/* --- questions ---------------------------------------------------------------
 */

void
lt_grantops_on_list(struct lt_job *job)
{
	const struct lt_wire_number *req = (const void *)job->request;
	struct lt_manager *m = job->m;
	size_t fixed = m->options.access_count;
	size_t count = fixed + lt_rulebook_count(m->grants);
	size_t n = 0;
	struct {
		struct lt_wire_rules w;
		struct lt_wire_rule_entry entry[ENTRIES_PER_REPLY];
	} r;

	if (!lt_grants_may_look(m, &job->conn->peer)) {
		lt_job_done(job, LEAT_E_DENIED);
		return;
	}
	memset(&r.w, 0, sizeof(r.w));
	for (size_t i = (size_t)req->number; i < count && n < ENTRIES_PER_REPLY;
	     i++) {
		const struct lt_access_rule *rule =
		    i < fixed ? &m->options.access[i]
			      : lt_rulebook_at(m->grants, i - fixed);
		struct lt_wire_rule_entry *e = &r.entry[n++];

		*e = (struct lt_wire_rule_entry){.what = rule->what,
		    .rights = rule->rights,
		    .origin = i < fixed ? LT_RULE_FILE : LT_RULE_GRANT};
		lt_principal_print(&rule->who, e->who);
		memcpy(e->pattern, rule->pattern, sizeof(e->pattern));
	}
	r.w.count = (uint32_t)n;
	if (req->number + n < count)
		r.w.next = req->number + n;
	r.w.changes = lt_stat_get(queue_grant_changes);
	lt_job_reply(job, &r, sizeof(r.w), n * sizeof(r.entry[0]), NULL, 0);
}

/* The rule that gives one of these rights to the principal itself. */
static const struct lt_access_rule *
find_rule(const struct lt_manager *m, const struct lt_principal *who,
    const struct lt_wire_rule *req, int *origin_out)
{
	enum lt_access_what what = (enum lt_access_what)req->what;

	*origin_out = LT_RULE_FILE;
	for (uint32_t i = 0; i < m->options.access_count; i++)
		if (lt_access_gives(
			&m->options.access[i], who, what, req->pattern) &
		    req->rights)
			return &m->options.access[i];
	*origin_out = LT_RULE_GRANT;
	return lt_rulebook_find(
	    m->grants, who, what, req->pattern, req->rights);
}

void
lt_grantops_on_test(struct lt_job *job)
{
	const struct lt_wire_rule *req = (const void *)job->request;
	const struct lt_principal any = lt_principal_local(LT_PRINCIPAL_ANY, 0);
	struct lt_manager *m = job->m;
	const struct lt_access_rule *rule;
	struct lt_access_rule asked, own;
	int origin;

	if (!lt_grants_may_look(m, &job->conn->peer)) {
		lt_job_done(job, LEAT_E_DENIED);
		return;
	}
	if (!read_rule(job, &asked))
		return;
	if (asked.who.kind == LT_PRINCIPAL_USER &&
	    (asked.who.id == 0 || asked.who.id == m->uid)) {
		own = asked;
		own.rights = ALL_RIGHTS;
		reply_rule(job, &own, LT_RULE_OWN);
		return;
	}
	rule = find_rule(m, &asked.who, req, &origin);
	if (rule == NULL && !lt_principal_is_remote(&asked.who))
		rule = find_rule(m, &any, req, &origin);
	reply_rule(job, rule, origin);
}
