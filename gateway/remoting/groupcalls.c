/*
 * groupcalls.c - groups as administrators see them: configuration, deletion,
 * who consumes what.
 */
#include "config.h"
#include "remoting/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "hub/hubjson.h"
#include "hub/offsets.h"
#include "leat/status.h"
#include "remoting/adminjson.h"
#include "remoting/groupkeep.h"
#include "remoting/groups.h"

#define SET_LIST 225 /* 200: one */

/* --- configuration ---------------------------------------------------------
 */

struct put {
	struct lt_groupkeep *keep;
	struct leat *leat;
};

static int
put(const struct lt_groups_config *config, void *user)
{
	const struct put *to = user;

	return lt_groupkeep_set(to->keep, to->leat, config);
}

static int
set(struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	struct put to = {g->groupkeep, leat};
	int status = lt_adminjson_groups(call->body, call->body_bytes,
	    call->request->code == SET_LIST, g->groups, put, &to);

	if (status == LEAT_E_CORRUPT || status == LEAT_E_NAME ||
	    status == LEAT_E_INVALID || status == LEAT_E_TOOBIG) {
		call->code = LT_CODE_SYSTEM_ERROR;
		call->why = "the group cannot be set: its name, a field of it, "
			    "or the whole makes no sense";
		status = LEAT_OK;
	}
	return status;
}

/* 200, 225 */
void
lt_groupcalls_on_set(struct lt_call *call)
{
	lt_call_submit(call, set, lt_call_finish);
}

/* One that is asked for is there from then on, as elsewhere. */
void
lt_groupcalls_on_show(struct lt_call *call)
{
	struct lt_remoting_text name = lt_remoting_find(call->request, "group");
	struct lt_worker *w = call->worker;
	struct lt_groups_config config;
	struct lt_buffer body;

	if (lt_grouptext_default(&config, name.p, name.bytes) != LEAT_OK) {
		lt_answer_lacks(call, "group");
		return;
	}
	lt_groups_note(w->g->groups, name);
	(void)lt_groups_get(w->g->groups, name, &config);
	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	lt_grouptext_json(&config, &body);
	lt_answer_buffer(w, &call->ticket, &body);
	lt_buffer_fini(&body);
}

void
lt_groupcalls_on_show_all(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_buffer body;
	size_t count;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	lt_groups_write_all(w->g->groups, &body, &count);
	lt_answer_made(
	    w, &call->ticket, "totalGroupNum", (int64_t)count, &body);
	lt_buffer_fini(&body);
}

/* Its progress, too, if that is asked for. */
static int delete (struct leat *leat, struct lt_call *call)
{
	const struct lt_gateway *g = call->worker->g;
	char name[LT_NAME_FIELD];
	int status = lt_call_name(call->request, "groupName", name);

	if (status == LEAT_OK)
		status = lt_groupkeep_unset(g->groupkeep, leat, name);
	if (status == LEAT_OK &&
	    lt_remoting_bool(call->request, "cleanOffset")) {
		status = leat_group_delete(leat, name);
		if (status == LEAT_OK)
			lt_offsets_forget_group(g->hub, lt_call_text(name));
	}
	if (status == LEAT_E_BUSY) {
		call->code = LT_CODE_SYSTEM_ERROR;
		call->why = "the group has members on the broker's host: its "
			    "progress stays";
		return LEAT_OK;
	}
	return status == LEAT_E_NOTFOUND || status == LEAT_E_NAME ? LEAT_OK
								  : status;
}

void
lt_groupcalls_on_delete(struct lt_call *call)
{
	if (lt_remoting_find(call->request, "groupName").bytes == 0)
		lt_answer_lacks(call, "groupName");
	else
		lt_call_submit(call, delete, lt_call_finish);
}

/* --- who consumes what -----------------------------------------------------
 */

/* Names out of leat-queue's list of progress, each once in a row. */
struct names {
	const char *group, *topic; /* NULL: any; the other one is wanted */
	char **items;
	size_t count, capacity;
	int status;
};

static int
collect(const struct leat_group *entry, void *user)
{
	struct names *n = user;
	const char *name = n->topic != NULL ? entry->name : entry->topic;

	if (n->topic != NULL && strcmp(n->topic, entry->topic) != 0)
		return 0;
	if (n->count > 0 && strcmp(n->items[n->count - 1], name) == 0)
		return 0;
	n->status = lt_mem_grow(
	    (void **)&n->items, &n->capacity, n->count, sizeof *n->items);
	if (n->status == LEAT_OK &&
	    (n->items[n->count] = lt_mem_strdup(name)) == NULL)
		n->status = LEAT_E_NOMEM;
	n->count += n->status == LEAT_OK;
	return n->status;
}

static int
collect_all(struct leat *leat, struct names *n)
{
	int status = leat_group_describe(leat, n->group, collect, n);

	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		status = LEAT_OK;
	return status;
}

static void
names_fini(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		lt_mem_free(n->items[i]);
	lt_mem_free(n->items);
}

/* 300: groups with members or progress. */
static int
groups_of(struct leat *leat, struct lt_call *call)
{
	struct names n = {0};
	char topic[LT_NAME_FIELD];
	int status;

	if (lt_call_name(call->request, "topic", topic) != LEAT_OK)
		topic[0] = '\0';
	n.topic = topic;
	status = collect_all(leat, &n);
	if (status == LEAT_OK)
		status = lt_hubjson_groups(call->worker->g->hub,
		    lt_remoting_find(call->request, "topic"),
		    (const char *const *)n.items, n.count, &call->made);
	names_fini(&n);
	return status;
}

void
lt_groupcalls_on_groups_of(struct lt_call *call)
{
	lt_call_submit(call, groups_of, lt_call_finish);
}

/* 343 */
static int
topics_of(struct leat *leat, struct lt_call *call)
{
	struct names n = {0};
	char group[LT_NAME_FIELD];
	int status = LEAT_OK;

	if (lt_call_name(call->request, "group", group) == LEAT_OK) {
		n.group = group;
		status = collect_all(leat, &n);
	}
	if (status == LEAT_OK)
		status = lt_hubjson_topics(call->worker->g->hub,
		    lt_remoting_find(call->request, "group"),
		    (const char *const *)n.items, n.count, &call->made);
	names_fini(&n);
	return status;
}

void
lt_groupcalls_on_topics_of(struct lt_call *call)
{
	lt_call_submit(call, topics_of, lt_call_finish);
}

/* 345 */
void
lt_groupcalls_on_subscription(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_buffer body;
	int status;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	status = lt_hubjson_subscription(w->g->hub,
	    lt_remoting_find(call->request, "group"),
	    lt_remoting_find(call->request, "topic"), &body);
	if (status == LEAT_OK)
		lt_answer_buffer(w, &call->ticket, &body);
	else
		lt_answer_error(w, &call->ticket, status);
	lt_buffer_fini(&body);
}
