/*
 * audit.c - who was refused what, and who changed what: one record each of
 * rmq_sys_leat_audit, with tag "refused" or "act", the line of auditline.h as
 * its body. Ours, and what leat-gateway says of remote clients.
 *
 * A record waits here until the store has answered, so one that dies meanwhile
 * costs nothing; it may be there twice then. Acts have a record each; refusals
 * too, up to LT_AUDITLINE_PER_S a second, and one record says how many more
 * there were. What would wait beyond WAITING_MAX, half of it for each kind, is
 * counted as lost. Nobody waits for any of this, and nothing that fails
 * here is recorded in turn.
 */
#include "config.h"
#include "queue/queue.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/auditline.h"
#include "proto/name.h"
#include "shm/counter.h"

#define WAITING_MAX 4096
#define SECOND_MS 1000

struct lt_audit_note {
	TAILQ_ENTRY(lt_audit_note) link;
	int is_refusal;
	int is_sent;
	char line[];
};

void
lt_audit_init(struct lt_manager *m)
{
	TAILQ_INIT(&m->audit);
}

/* --- to the log --------------------------------------------------------------
 */

static void
drop(struct lt_manager *m, struct lt_audit_note *note)
{
	TAILQ_REMOVE(&m->audit, note, link);
	m->audit_count--;
	m->audit_refused -= (size_t)note->is_refusal;
	lt_mem_free(note);
}

void
lt_audit_fini(struct lt_manager *m)
{
	struct lt_audit_note *note;

	while ((note = TAILQ_FIRST(&m->audit)) != NULL)
		drop(m, note);
}

static void
note_logged(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct lt_audit_note *note = user;

	note->is_sent = 0;
	if (status == LEAT_OK) {
		lt_stat_add(queue_audit, 1);
		drop(m, note);
	} else if (status == LEAT_E_NOSPACE) {
		lt_manager_tick(m); /* until there is some */
	} else if (status != LEAT_E_UNREACHABLE) {
		lt_stat_add(queue_audit_lost, 1);
		lt_log_warn("audit-not-logged", "status=\"%s\" line=\"%s\"",
		    leat_status_text(status), note->line);
		drop(m, note);
	}
}

static void
ship(struct lt_manager *m, struct lt_audit_note *note)
{
	size_t bytes;
	struct lt_wire_append *msg = lt_state_record(LT_STATE_AUDIT,
	    note->is_refusal ? "refused" : "act", NULL, 0, note->line,
	    strlen(note->line), &bytes);

	if (msg == NULL)
		lt_manager_fatal("out of memory");
	if (note->is_refusal)
		msg->level = LEAT_LOGGED;
	note->is_sent = 1;
	lt_storelink_call(m, msg, bytes, NULL, 0, note_logged, 0, note);
	lt_mem_free(msg);
}

void
lt_audit_flush(struct lt_manager *m)
{
	struct lt_audit_note *note;

	if (m->phase != LT_PHASE_UP)
		return;
	TAILQ_FOREACH(note, &m->audit, link)
	if (!note->is_sent)
		ship(m, note);
}

static void
put(struct lt_manager *m, const char *line, int is_refusal)
{
	size_t bytes = strlen(line) + 1;
	size_t now =
	    is_refusal ? m->audit_refused : m->audit_count - m->audit_refused;
	struct lt_audit_note *note =
	    now < WAITING_MAX / 2 ? lt_mem_alloc(sizeof(*note) + bytes) : NULL;

	if (note == NULL) {
		lt_stat_add(queue_audit_lost, 1);
		return;
	}
	note->is_refusal = is_refusal;
	memcpy(note->line, line, bytes);
	TAILQ_INSERT_TAIL(&m->audit, note, link);
	m->audit_count++;
	m->audit_refused += (size_t)is_refusal;
	if (m->phase == LT_PHASE_UP)
		ship(m, note);
}

/* --- lines of ours -----------------------------------------------------------
 */

static void
put_line(struct lt_manager *m, const struct lt_audit *what, const char *outcome,
    int is_refusal)
{
	char text[LT_AUDITLINE_MAX], who[LT_PRINCIPAL_TEXT] = "", peer[24] = "";
	struct lt_principal p =
	    lt_principal_local(LT_PRINCIPAL_USER, what->uid);
	struct lt_auditline line = {.time_ms = lt_clock_wall_ms(),
	    .by = "queue",
	    .principal = who,
	    .peer = peer,
	    .act = what->act,
	    .object = what->object,
	    .outcome = outcome};

	if (what->pid != 0) {
		lt_principal_print(&p, who);
		snprintf(peer, sizeof(peer), "pid:%u", what->pid);
	}
	(void)lt_auditline_make(text, &line);
	put(m, text, is_refusal);
}

/* A second is over: how many refusals had no record. */
static void
count_up(struct lt_manager *m, uint64_t now_ms)
{
	char object[40];
	uint64_t more = m->refusals > LT_AUDITLINE_PER_S
			    ? m->refusals - LT_AUDITLINE_PER_S
			    : 0;

	m->refusals = 0;
	m->refusals_since_ms = now_ms;
	if (more == 0)
		return;
	lt_stat_add(queue_audit_lost, more);
	snprintf(
	    object, sizeof(object), "count:%llu", (unsigned long long)more);
	put_line(m, &(struct lt_audit){.act = "more-refused", .object = object},
	    "denied", 1);
}

void
lt_audit_refused(
    struct lt_manager *m, const struct lt_audit *what, const char *outcome)
{
	uint64_t now_ms = lt_clock_mono_ms();

	if (now_ms - m->refusals_since_ms >= SECOND_MS)
		count_up(m, now_ms);
	if (++m->refusals <= LT_AUDITLINE_PER_S)
		put_line(m, what, outcome, 1);
	else
		lt_manager_tick(m);
}

void
lt_audit_acted(struct lt_manager *m, const struct lt_audit *what, int status)
{
	const char *name = leat_status_name(status);
	char outcome[32];
	size_t n = 0;

	if (strncmp(name, "LEAT_E_", 7) == 0)
		name += 7;
	for (; name[n] != '\0' && n < sizeof(outcome) - 1; n++)
		outcome[n] = (char)tolower((unsigned char)name[n]);
	outcome[n] = '\0';
	put_line(m, what, status == LEAT_OK ? "ok" : outcome, 0);
}

int
lt_audit_housekeep(struct lt_manager *m, uint64_t now_ms)
{
	if (m->refusals > LT_AUDITLINE_PER_S &&
	    now_ms - m->refusals_since_ms >= SECOND_MS)
		count_up(m, now_ms);
	lt_audit_flush(m);
	return m->refusals > LT_AUDITLINE_PER_S || m->audit_count > 0;
}

int
lt_audit_is_idle(const struct lt_manager *m)
{
	return m->audit_count == 0;
}

/* --- requests ----------------------------------------------------------------
 */

/* What a request is about. */
static void
object_of(const struct lt_wire *h, char *out, size_t room)
{
	const char *kind = "topic", *name = "", *group = NULL;
	char who[LT_PRINCIPAL_TEXT + LT_NAME_FIELD];

	switch (h->op) {
	case LT_OP_TOPIC_OPEN:
		name = ((const struct lt_wire_topic_open *)h)->name;
		break;
	case LT_OP_TOPIC_CREATE:
	case LT_OP_TOPIC_UPDATE:
		name = ((const struct lt_wire_topic *)h)->name;
		break;
	case LT_OP_TOPIC_DELETE:
		name = ((const struct lt_wire_name *)h)->name;
		break;
	case LT_OP_QUEUE_RANGE:
		name = ((const struct lt_wire_queue *)h)->name;
		break;
	case LT_OP_SUBSCRIBE:
		name = ((const struct lt_wire_subscribe *)h)->topic;
		group = ((const struct lt_wire_subscribe *)h)->group;
		break;
	case LT_OP_FIND:
		name = ((const struct lt_wire_find *)h)->topic;
		break;
	case LT_OP_GROUP_SEEK:
		name = ((const struct lt_wire_seek *)h)->topic;
		group = ((const struct lt_wire_seek *)h)->group;
		break;
	case LT_OP_GROUP_LIST:
		kind = "group";
		name = ((const struct lt_wire_group *)h)->group;
		break;
	case LT_OP_GROUP_SET:
		kind = "group";
		name = ((const struct lt_wire_group_set *)h)->group;
		break;
	case LT_OP_GROUP_UNSET:
	case LT_OP_GROUP_DELETE:
		kind = "group";
		name = ((const struct lt_wire_name *)h)->name;
		break;
	case LT_OP_GRANT_ADD:
	case LT_OP_GRANT_REMOVE: {
		const struct lt_wire_rule *r = (const void *)h;

		kind =
		    r->what == LT_ACCESS_TOPIC ? "grant-topic" : "grant-group";
		snprintf(who, sizeof(who), "%.*s:%.*s", (int)sizeof(r->who) - 1,
		    r->who, (int)sizeof(r->pattern) - 1, r->pattern);
		name = who;
		break;
	}
	default:
		out[0] = '\0';
		return;
	}
	if (group != NULL && group[0] != '\0')
		snprintf(out, room, "%s:%.*s,group:%.*s", kind,
		    LT_NAME_FIELD - 1, name, LT_NAME_FIELD - 1, group);
	else
		snprintf(
		    out, room, "%s:%.*s", kind, (int)sizeof(who) - 1, name);
}

/* leat-gateway has a record of its own for what it does for others. */
static int
is_gateways(const struct lt_job *job)
{
	const struct lt_session *s =
	    job->conn == NULL ? NULL : job->conn->session;

	return s != NULL && lt_grants_may_relay(job->m, &s->peer) &&
	       strcmp(s->name, LT_NAME_GATEWAY) == 0;
}

void
lt_audit_answer(struct lt_job *job, int is_act, int status)
{
	char object[2 * LT_NAME_FIELD + 32];
	struct lt_audit what = {.uid = job->uid,
	    .pid = job->pid,
	    .act = lt_wire_op_row(job->request->op)->name,
	    .object = object};

	if (job->request->op == LT_OP_GROUP_SEEK)
		is_act =
		    ((const struct lt_wire_seek *)(const void *)job->request)
			->apply != 0;
	if (status != LEAT_E_DENIED && (!is_act || is_gateways(job)))
		return;
	object_of(job->request, object, sizeof(object));
	if (status == LEAT_E_DENIED)
		lt_audit_refused(job->m, &what, "denied");
	else
		lt_audit_acted(job->m, &what, status);
}

void
lt_audit_on_audit(struct lt_job *job)
{
	struct lt_wire_audit *req = (void *)job->request;
	const struct lt_wire_audit_entry *e = lt_wire_tail(req, sizeof(*req));
	size_t count = req->count;

	if (!lt_grants_may_relay(job->m, &job->conn->peer)) {
		lt_job_done(job, LEAT_E_DENIED);
		return;
	}
	if (count > LT_AUDIT_ENTRIES ||
	    req->h.tail_bytes != count * sizeof(*e)) {
		lt_job_done(job, LEAT_E_INVALID);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (!lt_bytes_terminated(e[i].line, sizeof(e[i].line)) ||
		    !lt_auditline_is_sound(e[i].line)) {
			lt_job_done(job, LEAT_E_INVALID);
			return;
		}
	for (size_t i = 0; i < count; i++)
		put(job->m, e[i].line, e[i].is_refusal != 0);
	lt_job_done(job, LEAT_OK);
}
