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
#include "remoting/groups.h"

/* --- configuration ---------------------------------------------------------
 */

static int
put(const struct lt_groups_config *config, void *user)
{
	return lt_groups_put(user, config);
}

static void
set(struct lt_call *call, int is_list)
{
	int status = lt_adminjson_groups(call->body, call->body_bytes, is_list,
	    put, call->worker->g->groups);

	if (status == LEAT_OK)
		lt_answer_status(
		    call->worker, &call->ticket, LT_CODE_SUCCESS, NULL);
	else
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_SYSTEM_ERROR, "the group cannot be set: %s",
		    leat_status_text(status));
}

void
lt_groupcalls_on_set(struct lt_call *call)
{
	set(call, 0);
}

void
lt_groupcalls_on_set_list(struct lt_call *call)
{
	set(call, 1);
}

/* One that is asked for is there from then on, as elsewhere. */
void
lt_groupcalls_on_show(struct lt_call *call)
{
	struct lt_remoting_text name = lt_remoting_find(call->request, "group");
	struct lt_worker *w = call->worker;
	struct lt_groups_config config;
	struct lt_buffer body;

	if (lt_groups_default(&config, name.p, name.bytes) != LEAT_OK) {
		lt_answer_lacks(call, "group");
		return;
	}
	if (!lt_groups_get(w->g->groups, name, &config))
		(void)!lt_groups_put(w->g->groups, &config);
	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	lt_groups_write_one(&config, &body);
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

static int delete (struct leat *leat, struct lt_call *call)
{
	char name[LT_NAME_FIELD];
	int status = lt_call_name(call->request, "groupName", name);

	if (status == LEAT_OK)
		status = leat_group_delete(leat, name);
	if (status == LEAT_E_BUSY) {
		call->code = LT_CODE_SYSTEM_ERROR;
		call->why = "the group has members on the broker's host: its "
			    "progress stays";
		return LEAT_OK;
	}
	if (status == LEAT_OK)
		lt_offsets_forget_group(call->worker->g->hub,
		    lt_remoting_find(call->request, "groupName"));
	return status == LEAT_E_NOTFOUND || status == LEAT_E_NAME ? LEAT_OK
								  : status;
}

void
lt_groupcalls_on_delete(struct lt_call *call)
{
	struct lt_remoting_text name =
	    lt_remoting_find(call->request, "groupName");
	struct lt_worker *w = call->worker;

	if (name.bytes == 0) {
		lt_answer_lacks(call, "groupName");
		return;
	}
	lt_groups_forget(w->g->groups, name);
	if (lt_remoting_bool(call->request, "cleanOffset"))
		lt_call_submit(call, delete, lt_call_finish);
	else
		lt_answer_status(w, &call->ticket, LT_CODE_SUCCESS, NULL);
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
