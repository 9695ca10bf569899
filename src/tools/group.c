/* group.c - leat group: list, describe, settings, seek (dry run first), delete.
 */
#include "config.h"
#include "tools/tool.h"

#include <string.h>

static const struct lt_output_column entry_columns[] = {
    {"topic", "TOPIC", LT_OUT_PLAIN},
    {"queue", "QUEUE", LT_OUT_PLAIN},
    {"mode", "MODE", LT_OUT_PLAIN},
    {"member", "MEMBER", LT_OUT_PLAIN},
    {"progress", "PROGRESS", LT_OUT_PLAIN},
    {"max_offset", "END", LT_OUT_PLAIN},
    {"lag", "LAG", LT_OUT_PLAIN},
    {"claimed", "CLAIMED", LT_OUT_PLAIN},
    {"members", "MEMBERS", LT_OUT_PLAIN},
};

static const char *
mode_text(enum leat_mode mode)
{
	return mode == LEAT_BROADCASTING ? "broadcasting" : "clustering";
}

static struct json_t *
entry_object(const struct leat_group *e)
{
	struct json_t *o = lt_output_object();
	lt_output_text(o, "group", e->name);
	lt_output_text(o, "topic", e->topic);
	lt_output_int(o, "queue", e->queue);
	lt_output_text(o, "mode", mode_text(e->mode));
	lt_output_text(o, "member", e->member);
	lt_output_int(o, "members", e->members);
	lt_output_int(o, "progress", e->progress);
	lt_output_int(o, "claimed", e->claimed);
	lt_output_int(o, "max_offset", e->max_offset);
	lt_output_int(o, "lag", e->max_offset - e->progress);
	return o;
}

static int
add_entry(const struct leat_group *e, void *user)
{
	lt_output_add(user, entry_object(e));
	return 0;
}

/* --- list: one row per group, topic and member --- */

struct summary {
	struct json_t *list;
	struct leat_group last; /* its sums; queue counts the queues */
	int64_t lag;
	bool any;
};

static void
close_row(struct summary *s)
{
	if (!s->any)
		return;
	struct json_t *o = lt_output_object();
	lt_output_text(o, "group", s->last.name);
	lt_output_text(o, "topic", s->last.topic);
	lt_output_text(o, "mode", mode_text(s->last.mode));
	lt_output_text(o, "member", s->last.member);
	lt_output_int(o, "queues", s->last.queue);
	lt_output_int(o, "members", s->last.members);
	lt_output_int(o, "claimed", s->last.claimed);
	lt_output_int(o, "lag", s->lag);
	lt_output_add(s->list, o);
	s->any = false;
}

static int
sum_entry(const struct leat_group *e, void *user)
{
	struct summary *s = user;
	if (s->any && (strcmp(s->last.name, e->name) != 0 ||
			  strcmp(s->last.topic, e->topic) != 0 ||
			  strcmp(s->last.member, e->member) != 0))
		close_row(s);
	if (!s->any) {
		s->last = *e;
		s->last.queue = 0;
		s->last.claimed = 0;
		s->lag = 0;
		s->any = true;
	}
	s->last.queue++;
	s->last.claimed += e->claimed;
	if (e->members > s->last.members)
		s->last.members = e->members;
	s->lag += e->max_offset - e->progress;
	return 0;
}

static const struct lt_output_column list_columns[] = {
    {"group", "GROUP", LT_OUT_PLAIN},
    {"topic", "TOPIC", LT_OUT_PLAIN},
    {"mode", "MODE", LT_OUT_PLAIN},
    {"member", "MEMBER", LT_OUT_PLAIN},
    {"queues", "QUEUES", LT_OUT_PLAIN},
    {"members", "MEMBERS", LT_OUT_PLAIN},
    {"claimed", "CLAIMED", LT_OUT_PLAIN},
    {"lag", "LAG", LT_OUT_PLAIN},
};

int
lt_tool_group_list(struct lt_tool *t)
{
	struct summary s = {.any = false};
	int rc = lt_tool_next(t);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	s.list = lt_output_list();
	rc = leat_group_describe(t->leat, NULL, sum_entry, &s);
	close_row(&s);
	if (rc == LEAT_E_NOTFOUND) /* none at all is an empty list */
		rc = LEAT_OK;
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "group list");
	else if (t->json)
		lt_output_json(s.list);
	else
		lt_output_table(
		    t, s.list, list_columns, LT_COUNT(list_columns));
	lt_output_free(s.list);
	return rc;
}

static int
describe(struct lt_tool *t, const char *group, struct json_t *list)
{
	int rc = leat_group_describe(t->leat, group, add_entry, list);
	if (rc == LEAT_OK && lt_output_count(list) == 0)
		rc = LEAT_E_NOTFOUND;
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "group %s", group);
	return rc;
}

int
lt_tool_group_describe(struct lt_tool *t)
{
	int rc = lt_tool_next(t);
	if (rc == LEAT_OK)
		rc = lt_tool_check_group(t->operands[0]);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	struct json_t *list = lt_output_list();
	rc = describe(t, t->operands[0], list);
	if (rc == LEAT_OK && t->json)
		lt_output_json(list);
	else if (rc == LEAT_OK)
		lt_output_table(
		    t, list, entry_columns, LT_COUNT(entry_columns));
	lt_output_free(list);
	return rc;
}

/* --- settings: one row per line of their texts --- */

static const struct lt_output_column setting_columns[] = {
    {"group", "GROUP", LT_OUT_PLAIN},
    {"topic", "TOPIC", LT_OUT_PLAIN},
    {"name", "NAME", LT_OUT_PLAIN},
    {"value", "VALUE", LT_OUT_PLAIN},
};

static int
add_setting(const struct leat_group_setting *s, void *user)
{
	char line[4096];
	for (const char *at = s->text; *at != '\0';) {
		int n = (int)strcspn(at, "\n");
		snprintf(line, sizeof line, "%.*s", n, at);
		at += n + (at[n] != '\0');
		char *value = strchr(line, '=');
		if (value == NULL)
			continue;
		*value++ = '\0';
		struct json_t *o = lt_output_object();
		lt_output_text(o, "group", s->group);
		lt_output_text(o, "topic", s->topic);
		lt_output_text(o, "name", line);
		lt_output_text(o, "value", value);
		lt_output_add(user, o);
	}
	return 0;
}

int
lt_tool_group_settings(struct lt_tool *t)
{
	int rc = lt_tool_next(t);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	struct json_t *list = lt_output_list();
	rc = leat_group_settings(t->leat, t->operands[0], add_setting, list);
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "group settings");
	else if (t->json)
		lt_output_json(list);
	else
		lt_output_table(
		    t, list, setting_columns, LT_COUNT(setting_columns));
	lt_output_free(list);
	return rc;
}

/* --- seek --- */

struct topics {
	char first[256];
	bool several;
};

static int
note_topic(const struct leat_group *e, void *user)
{
	struct topics *n = user;
	if (n->first[0] == '\0')
		snprintf(n->first, sizeof n->first, "%s", e->topic);
	else if (strcmp(n->first, e->topic) != 0)
		n->several = true;
	return 0;
}

/* The only topic of the group, if --topic was not given. */
static int
find_topic(struct lt_tool *t, const char *group, struct topics *n)
{
	int rc = leat_group_describe(t->leat, group, note_topic, n);
	if (rc == LEAT_OK && n->first[0] == '\0')
		rc = LEAT_E_NOTFOUND;
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "group %s", group);
	if (n->several)
		return lt_tool_complain(LEAT_E_INVALID,
		    "group seek: %s reads several topics; name one with "
		    "--topic",
		    group);
	return LEAT_OK;
}

static const struct lt_output_column seek_columns[] = {
    {"topic", "TOPIC", LT_OUT_PLAIN},
    {"queue", "QUEUE", LT_OUT_PLAIN},
    {"member", "MEMBER", LT_OUT_PLAIN},
    {"progress", "NEW PROGRESS", LT_OUT_PLAIN},
    {"max_offset", "END", LT_OUT_PLAIN},
    {"lag", "NEW LAG", LT_OUT_PLAIN},
};

static void
show_seek(struct lt_tool *t, struct json_t *list, bool applied)
{
	if (!t->json) {
		lt_output_table(t, list, seek_columns, LT_COUNT(seek_columns));
		if (!applied)
			fprintf(stderr,
			    "Nothing changed yet: say --yes to do it.\n");
		lt_output_free(list);
		return;
	}
	struct json_t *o = lt_output_object();
	lt_output_bool(o, "applied", applied);
	lt_output_put(o, "queues", list);
	lt_output_json(o);
	lt_output_free(o);
}

int
lt_tool_group_seek(struct lt_tool *t)
{
	enum leat_from from = LEAT_FROM_DEFAULT;
	struct topics n = {.several = false};
	const char *topic = NULL;
	int64_t value = 0;
	bool yes = false;
	int key, rc = LEAT_OK;
	while (rc == LEAT_OK && (key = lt_tool_next(t)) != 0) {
		if (key < 0)
			return key;
		if (key == 'y')
			yes = true;
		else if (key == 't')
			rc = lt_tool_check_topic(topic = t->arg);
		else
			rc = lt_tool_where(t, &from, &value);
	}
	if (rc == LEAT_OK)
		rc = lt_tool_check_group(t->operands[0]);
	if (rc == LEAT_OK && from == LEAT_FROM_DEFAULT)
		rc = lt_tool_complain(LEAT_E_INVALID,
		    "group seek: say where: --to begin, end, an offset, -N or "
		    "a time");
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc == LEAT_OK && topic == NULL)
		rc = find_topic(t, t->operands[0], &n);
	if (rc != LEAT_OK)
		return rc;
	struct json_t *list = lt_output_list();
	rc = leat_group_seek(t->leat, t->operands[0],
	    topic != NULL ? topic : n.first, from, value, yes, add_entry, list);
	if (rc != LEAT_OK) {
		lt_output_free(list);
		return lt_tool_fail(t, rc, "group %s", t->operands[0]);
	}
	show_seek(t, list, yes);
	return LEAT_OK;
}

int
lt_tool_group_delete(struct lt_tool *t)
{
	bool yes = false;
	int key;
	while ((key = lt_tool_next(t)) > 0)
		yes = true;
	if (key < 0)
		return key;
	const char *group = t->operands[0];
	int rc = lt_tool_check_group(group);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	if (!lt_tool_confirm(
		yes, "Forget the progress and settings of group", group))
		return lt_tool_complain(LEAT_E_CLOSED, "nothing was removed");
	rc = leat_group_delete(t->leat, group);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "group %s", group);
	if (t->json) {
		struct json_t *o = lt_output_object();
		lt_output_text(o, "deleted", group);
		lt_output_json(o);
		lt_output_free(o);
	}
	return LEAT_OK;
}
