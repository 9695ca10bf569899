/* grant.c - leat grant: list, add, remove, test. */
#include "config.h"
#include "tools/tool.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/access.h"
#include "proto/principal.h"

#define GROUPS_MAX 1024
#define IN_FORCE_MS 3000
#define IN_FORCE_STEP_MS 10

/* Numbers as names, where this host has some. */
static void
name_of(const char *principal, char *out, size_t room)
{
	char why[200];
	struct lt_principal p;
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	if (lt_principal_parse(&p, principal, why, sizeof why) == LEAT_OK) {
		if (p.kind == LT_PRINCIPAL_USER)
			pw = getpwuid(p.id);
		if (p.kind == LT_PRINCIPAL_OS_GROUP)
			gr = getgrgid(p.id);
	}
	if (pw != NULL)
		snprintf(out, room, "user:%s", pw->pw_name);
	else if (gr != NULL)
		snprintf(out, room, "os-group:%s", gr->gr_name);
	else
		snprintf(out, room, "%s", principal);
}

static const char *
origin_text(uint32_t fixed)
{
	return fixed == 0 ? "grant" : fixed == 1 ? "leat.conf" : "owner";
}

static struct json_t *
grant_object(const struct leat_grant *g)
{
	char rights[LT_ACCESS_RIGHTS_TEXT], who[96];
	struct json_t *o = lt_output_object();

	name_of(g->principal, who, sizeof who);
	lt_access_rights_text(g->rights, rights);
	lt_output_text(o, "principal", who);
	lt_output_text(o, "on", g->on_group ? "group" : "topic");
	lt_output_text(o, "pattern", g->pattern);
	lt_output_text(o, "rights", rights);
	lt_output_text(o, "from", origin_text(g->fixed));
	return o;
}

static const struct lt_output_column columns[] = {
    {"principal", "PRINCIPAL", LT_OUT_PLAIN},
    {"on", "ON", LT_OUT_PLAIN},
    {"pattern", "PATTERN", LT_OUT_PLAIN},
    {"rights", "RIGHTS", LT_OUT_PLAIN},
    {"from", "FROM", LT_OUT_PLAIN},
};

static void
show(const struct lt_tool *t, const struct leat_grant *g)
{
	struct json_t *o = grant_object(g);

	if (t->json)
		lt_output_json(o);
	else
		lt_output_fields(t, o, columns, LT_COUNT(columns));
	lt_output_free(o);
}

static int
add_grant(const struct leat_grant *g, void *user)
{
	lt_output_add(user, grant_object(g));
	return 0;
}

int
lt_tool_grant_list(struct lt_tool *t)
{
	struct json_t *list;
	int rc = lt_tool_next(t);

	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	list = lt_output_list();
	rc = leat_grant_list(t->leat, add_grant, list);
	if (rc != LEAT_OK)
		lt_tool_complain(rc, "%s", leat_error(t->leat));
	else if (t->json)
		lt_output_json(list);
	else
		lt_output_table(t, list, columns, LT_COUNT(columns));
	lt_output_free(list);
	return rc;
}

/* PRINCIPAL topic|group PATTERN RIGHTS; what they say, and connect. */
static int
read_operands(struct lt_tool *t, struct leat_grant *g)
{
	char bad[64], numbers[256], why[200];
	struct lt_principal p;
	unsigned rights;
	int rc = lt_tool_next(t);

	if (rc != LEAT_OK)
		return rc;
	if (lt_principal_resolve(t->operands[0], numbers, sizeof numbers) !=
	    LEAT_OK)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: nobody here has that name; write a number",
		    t->operands[0]);
	if (lt_principal_parse(&p, numbers, why, sizeof why) != LEAT_OK)
		return lt_tool_complain(LEAT_E_INVALID, "%s", why);
	if (lt_access_what(t->operands[1]) == 0)
		return lt_tool_complain(LEAT_E_INVALID,
		    "\"%s\": write topic or group", t->operands[1]);
	if (lt_access_rights(t->operands[3], &rights, bad) != LEAT_OK)
		return lt_tool_complain(LEAT_E_INVALID,
		    "\"%s\" is no right: write publish, subscribe, manage or "
		    "trace",
		    bad[0] != '\0' ? bad : t->operands[3]);
	memset(g, 0, sizeof *g);
	lt_principal_print(&p, g->principal);
	g->on_group = lt_access_what(t->operands[1]) == LT_ACCESS_GROUP;
	g->rights = rights;
	if (strlen(t->operands[2]) >= sizeof g->pattern)
		return lt_tool_complain(
		    LEAT_E_INVALID, "%s: too long for a name", t->operands[2]);
	snprintf(g->pattern, sizeof g->pattern, "%s", t->operands[2]);
	return lt_tool_connect(t);
}

static uint64_t
counter(const struct leat_status_report *r, const char *name)
{
	for (size_t i = 0; i < r->counter_count; i++)
		if (strcmp(r->counters[i].name, name) == 0)
			return r->counters[i].value;
	return 0;
}

/* Until leat-gateway has it, too, so that what comes next can rely on it. A
 * gateway that is away has it before it lets anybody in. */
static void
await_gateway(struct lt_tool *t)
{
	struct leat_status_report r;
	uint64_t want = 0;

	for (int i = 0; i < IN_FORCE_MS / IN_FORCE_STEP_MS; i++) {
		if (leat_status_get(t->leat, &r) != LEAT_OK)
			break;
		if (want == 0)
			want = counter(&r, "queue_grant_changes");
		if (counter(&r, "sup_gateway_pid") == 0 ||
		    counter(&r, "gateway_grant_changes") >= want)
			return;
		usleep(IN_FORCE_STEP_MS * 1000);
	}
	fprintf(stderr, "leat: durable, but leat-gateway has not taken it yet: "
			"remote clients see it later\n");
}

static int
is_remote(const struct leat_grant *g)
{
	struct lt_principal p;
	char why[200];

	return lt_principal_parse(&p, g->principal, why, sizeof why) ==
		   LEAT_OK &&
	       lt_principal_is_remote(&p);
}

static int
change(struct lt_tool *t,
    int (*run)(struct leat *leat, const struct leat_grant *grant))
{
	struct leat_grant g;
	int rc = read_operands(t, &g);

	if (rc != LEAT_OK)
		return rc;
	rc = run(t->leat, &g);
	if (rc != LEAT_OK)
		return lt_tool_complain(rc, "%s", leat_error(t->leat));
	if (is_remote(&g))
		await_gateway(t);
	if (t->json)
		show(t, &g);
	return LEAT_OK;
}

int
lt_tool_grant_add(struct lt_tool *t)
{
	return change(t, leat_grant_add);
}

int
lt_tool_grant_remove(struct lt_tool *t)
{
	return change(t, leat_grant_remove);
}

/* A user has what its groups have. */
static int
test_groups(
    struct lt_tool *t, const struct leat_grant *g, struct leat_grant *by)
{
	unsigned long uid = strtoul(g->principal + strlen("user:"), NULL, 10);
	const struct passwd *pw = getpwuid((uid_t)uid);
	gid_t gids[GROUPS_MAX];
	int count = GROUPS_MAX, rc = LEAT_E_NOTFOUND;
	char who[32];

	if (pw == NULL ||
	    getgrouplist(pw->pw_name, pw->pw_gid, gids, &count) < 0)
		return rc;
	for (int i = 0; i < count && rc == LEAT_E_NOTFOUND; i++) {
		snprintf(who, sizeof who, "os-group:%u", (unsigned)gids[i]);
		rc = leat_grant_test(
		    t->leat, who, (int)g->on_group, g->pattern, g->rights, by);
	}
	return rc;
}

static void
say_no(const struct lt_tool *t)
{
	struct json_t *o;

	if (!t->json) {
		printf("no\n");
		return;
	}
	o = lt_output_object();
	lt_output_bool(o, "allowed", false);
	lt_output_json(o);
	lt_output_free(o);
}

int
lt_tool_grant_test(struct lt_tool *t)
{
	char rights[LT_ACCESS_RIGHTS_TEXT], who[96];
	struct leat_grant g, by;
	struct json_t *o;
	int rc = read_operands(t, &g);

	if (rc != LEAT_OK)
		return rc;
	if ((g.rights & (g.rights - 1)) != 0)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: test one right at a time", t->operands[3]);
	rc = leat_grant_test(
	    t->leat, g.principal, (int)g.on_group, g.pattern, g.rights, &by);
	if (rc == LEAT_E_NOTFOUND && strncmp(g.principal, "user:", 5) == 0)
		rc = test_groups(t, &g, &by);
	if (rc == LEAT_E_NOTFOUND) {
		say_no(t);
		return LEAT_E_DENIED;
	}
	if (rc != LEAT_OK)
		return lt_tool_complain(rc, "%s", leat_error(t->leat));
	if (t->json) {
		o = grant_object(&by);
		lt_output_bool(o, "allowed", true);
		lt_output_json(o);
		lt_output_free(o);
		return LEAT_OK;
	}
	name_of(by.principal, who, sizeof who);
	lt_access_rights_text(by.rights, rights);
	if (by.fixed == 2)
		printf("yes: root and the broker's own user may do "
		       "everything\n");
	else
		printf("yes: %s: %s %s %s %s\n", origin_text(by.fixed), who,
		    by.on_group ? "group" : "topic", by.pattern, rights);
	return LEAT_OK;
}
