/*
 * grant.c - administration of grants: one request each, and a list in pages.
 * Names of users and groups become numbers here, on the host of both.
 */
#include "config.h"
#include "client/client.h"
#include "client/remote.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "proto/principal.h"
#include "shm/counter.h"

#define WHERE "grants are read and changed"

_Static_assert((int)LEAT_RIGHT_PUBLISH == (int)LT_RIGHT_PUBLISH &&
		   (int)LEAT_RIGHT_SUBSCRIBE == (int)LT_RIGHT_SUBSCRIBE &&
		   (int)LEAT_RIGHT_MANAGE == (int)LT_RIGHT_MANAGE &&
		   (int)LEAT_RIGHT_TRACE == (int)LT_RIGHT_TRACE,
    "rights");

static int
call(struct leat *leat, enum lt_op op, void *msg, size_t bytes)
{
	return lt_link_call(
	    leat, op, msg, bytes, lt_wait_deadline(LT_REQUEST_MS), NULL);
}

/* Ask for, or about, a rule. Its answer is in leat->rx. */
static int
ask(struct leat *leat, enum lt_op op, const char *principal, int on_group,
    const char *pattern, uint32_t rights)
{
	const struct lt_wire_rule *r = (const void *)leat->rx;
	struct lt_wire_rule msg = {
	    .what = on_group ? LT_ACCESS_GROUP : LT_ACCESS_TOPIC,
	    .rights = rights};
	int status;

	status = lt_principal_resolve(principal, msg.who, sizeof(msg.who));
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "%s: nobody here has that name: write a number", principal);
	if (status != LEAT_OK ||
	    lt_bytes_field(msg.pattern, sizeof(msg.pattern), pattern) != 0)
		return lt_connect_fail(
		    leat, LEAT_E_INVALID, "principal or pattern too long");
	status = call(leat, op, &msg, sizeof(msg));
	if (status == LEAT_OK || status == LEAT_E_TIMEOUT)
		return status;
	if (leat->rx_bytes >= sizeof(*r) && r->h.op == op &&
	    r->h.status == status && r->why[0] != '\0' &&
	    lt_bytes_terminated(r->why, sizeof(r->why)))
		return lt_connect_fail(leat, status, "%s", r->why);
	return lt_connect_fail(leat, status, "grants: %s",
	    status == LEAT_E_DENIED
		? "not allowed: ask for the right to manage topic *"
		: leat_status_text(status));
}

static int
change(struct leat *leat, enum lt_op op, const struct leat_grant *grant)
{
	if (!lt_connect_valid(leat))
		return lt_far_here_only(leat, WHERE);
	if (grant == NULL ||
	    !lt_bytes_terminated(grant->principal, sizeof(grant->principal)) ||
	    !lt_bytes_terminated(grant->pattern, sizeof(grant->pattern)))
		return LEAT_E_INVALID;
	return ask(leat, op, grant->principal, (int)grant->on_group,
	    grant->pattern, grant->rights);
}

int
leat_grant_add(struct leat *leat, const struct leat_grant *grant)
{
	return change(leat, LT_OP_GRANT_ADD, grant);
}

int
leat_grant_remove(struct leat *leat, const struct leat_grant *grant)
{
	return change(leat, LT_OP_GRANT_REMOVE, grant);
}

/* Fields of a reply that are no texts end the list. */
static int
fill(struct leat_grant *out, uint32_t what, uint32_t rights, uint32_t origin,
    const char *who, const char *pattern, size_t pattern_bytes)
{
	memset(out, 0, sizeof(*out));
	if (!lt_bytes_terminated(who, LT_PRINCIPAL_TEXT) ||
	    !lt_bytes_terminated(pattern, pattern_bytes))
		return LEAT_E_CORRUPT;
	(void)lt_bytes_field(out->principal, sizeof(out->principal), who);
	(void)lt_bytes_field(out->pattern, sizeof(out->pattern), pattern);
	out->on_group = what == LT_ACCESS_GROUP;
	out->rights = rights;
	out->fixed = origin;
	return LEAT_OK;
}

/* One page; the callback may make requests of its own. */
static int
give(struct leat *leat, uint32_t count,
    int (*each)(const struct leat_grant *grant, void *user), void *user)
{
	struct lt_wire_rule_entry *list;
	struct leat_grant grant;
	int status = LEAT_OK;

	if (leat->rx_bytes <
	    sizeof(struct lt_wire_rules) + count * sizeof(*list))
		return LEAT_E_CORRUPT;
	list = lt_mem_array(count + 1, sizeof(*list));
	if (list == NULL)
		return LEAT_E_NOMEM;
	memcpy(list, leat->rx + sizeof(struct lt_wire_rules),
	    count * sizeof(*list));
	for (uint32_t i = 0; status == LEAT_OK && i < count; i++) {
		status =
		    fill(&grant, list[i].what, list[i].rights, list[i].origin,
			list[i].who, list[i].pattern, sizeof(list[i].pattern));
		if (status == LEAT_OK)
			status = each(&grant, user);
	}
	lt_mem_free(list);
	return status;
}

int
leat_grant_list(struct leat *leat,
    int (*each)(const struct leat_grant *grant, void *user), void *user)
{
	struct lt_wire_number msg = {0};
	struct lt_wire_rules page;
	uint64_t changes = 0;
	int status;

	if (!lt_connect_valid(leat))
		return lt_far_here_only(leat, WHERE);
	if (each == NULL)
		return LEAT_E_INVALID;
	do {
		status = call(leat, LT_OP_GRANT_LIST, &msg, sizeof(msg));
		if (status != LEAT_OK)
			return lt_connect_fail(leat, status,
			    "cannot list grants: %s",
			    status == LEAT_E_DENIED
				? "not allowed: ask for the right to trace or "
				  "manage topic *"
				: leat_status_text(status));
		memcpy(&page, leat->rx, sizeof(page));
		/* What a page says by number holds as long as nothing moves. */
		if (msg.number != 0 && page.changes != changes)
			return lt_connect_fail(leat, LEAT_E_AGAIN,
			    "grants changed meanwhile: ask again");
		changes = page.changes;
		status = page.count > LT_WIRE_MAX / 64
			     ? LEAT_E_CORRUPT
			     : give(leat, page.count, each, user);
		if (status != LEAT_OK)
			return status;
		msg.number = page.next;
	} while (page.next != 0);
	return LEAT_OK;
}

int
leat_grant_test(struct leat *leat, const char *principal, int on_group,
    const char *name, uint32_t rights, struct leat_grant *by_out)
{
	const struct lt_wire_rule *r = (const void *)leat->rx;
	struct leat_grant by;
	int status;

	if (!lt_connect_valid(leat))
		return lt_far_here_only(leat, WHERE);
	if (principal == NULL || name == NULL)
		return LEAT_E_INVALID;
	status = ask(leat, LT_OP_GRANT_TEST, principal, on_group, name, rights);
	if (status != LEAT_OK)
		return status;
	if ((r->rights & rights) == 0)
		return LEAT_E_NOTFOUND;
	status = fill(&by, r->what, r->rights, r->origin, r->who, r->pattern,
	    sizeof(r->pattern));
	if (status == LEAT_OK && by_out != NULL)
		*by_out = by;
	return status;
}
