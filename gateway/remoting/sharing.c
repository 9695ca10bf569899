/*
 * sharing.c - one table of groups: those to be told of, and those of which
 * leat-queue knows remote members. Groups come from any thread; only the clerk
 * takes them out.
 */
#include "config.h"
#include "remoting/sharing.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/relay.h"
#include "hub/hub.h"
#include "hub/offsets.h"
#include "leat/status.h"
#include "remoting/groupkeep.h"
#include "remoting/groups.h"
#include "remoting/worker.h"

#define TELL_MS 2000 /* one answer of leat-queue */
#define TAKE_MAX 1024 /* offsets at a time */

struct group {
	STAILQ_ENTRY(group) link;
	int is_noted; /* in the list */
	int is_told; /* leat-queue knows remote members of it */
	char name[LT_NAME_FIELD];
};
STAILQ_HEAD(groups, group);

struct lt_sharing {
	const struct lt_gateway *g;
	pthread_mutex_t lock;
	struct lt_hash table; /* lock; struct group */
	struct groups noted; /* lock */
	int all_again; /* the clerk's: leat-queue is a new one */
	struct lt_offsets_item items[TAKE_MAX]; /* the clerk's */
	struct lt_relay_offset offsets[TAKE_MAX];
};

/* The lock is held. */
static void
note(struct lt_sharing *s, struct group *group)
{
	if (!group->is_noted)
		STAILQ_INSERT_TAIL(&s->noted, group, link);
	group->is_noted = 1;
}

void
lt_sharing_note(struct lt_sharing *s, const char *name)
{
	struct group *group;

	pthread_mutex_lock(&s->lock);
	group = lt_hash_get(&s->table, name, strlen(name));
	if (group == NULL && (group = lt_mem_alloc(sizeof *group)) != NULL &&
	    (lt_bytes_field(group->name, sizeof group->name, name) != 0 ||
		lt_hash_put(&s->table, name, strlen(name), group) != LEAT_OK)) {
		lt_mem_free(group);
		group = NULL;
	}
	if (group != NULL)
		note(s, group);
	else
		lt_log_warn("group-not-told", "group=%s", name);
	pthread_mutex_unlock(&s->lock);
	if (s->g->clerk != NULL)
		lt_clerk_soon(s->g->clerk);
}

/* --- offsets ---------------------------------------------------------------
 */

static int
by_name(const void *a, const void *b)
{
	const struct lt_offsets_item *x = a, *y = b;
	int order = strcmp(x->group, y->group);

	return order != 0 ? order : strcmp(x->topic, y->topic);
}

/* Items of one group. */
static int
commit(struct lt_sharing *s, struct leat *leat,
    const struct lt_offsets_item *items, size_t n)
{
	int status;

	for (size_t i = 0; i < n; i++)
		s->offsets[i] = (struct lt_relay_offset){
		    items[i].topic, items[i].queue, items[i].offset};
	status = lt_relay_commit(leat, items[0].group, s->offsets, n, TELL_MS);
	if (status == LEAT_E_NAME || status == LEAT_E_INVALID ||
	    status == LEAT_E_DENIED) {
		lt_log_warn("offsets-refused", "group=%s status=%s",
		    items[0].group, leat_status_name(status));
		status = LEAT_OK; /* and never will be taken */
	}
	if (status == LEAT_OK)
		lt_offsets_saved(s->g->hub, items, n);
	else
		lt_offsets_failed(s->g->hub, items, n);
	return status;
}

static int
commit_all(struct lt_sharing *s, struct leat *leat)
{
	size_t count, end;
	int status = LEAT_OK;

	do {
		count = lt_offsets_take(s->g->hub, s->items, TAKE_MAX);
		qsort(s->items, count, sizeof s->items[0], by_name);
		for (size_t at = 0; at < count; at = end) {
			const struct lt_offsets_item *first = &s->items[at];

			for (end = at + 1;
			     end < count &&
			     strcmp(s->items[end].group, first->group) == 0;)
				end++;
			if (status == LEAT_OK)
				status = commit(s, leat, first, end - at);
			else
				lt_offsets_failed(s->g->hub, first, end - at);
		}
	} while (status == LEAT_OK && count == TAKE_MAX);
	return status;
}

/* --- members ---------------------------------------------------------------
 */

struct ids {
	struct lt_buffer text; /* each with a NUL */
	const char **items;
	size_t count;
};

static void
add_id(const struct lt_hub_member *member, void *user)
{
	struct ids *ids = user;

	if (member->pops) /* it shares no queues */
		return;
	lt_buffer_add(
	    &ids->text, member->client_id, strlen(member->client_id) + 1);
	ids->count++;
}

static int
index_ids(struct ids *ids)
{
	const char *at = (const char *)ids->text.p;
	int status = lt_buffer_status(&ids->text);

	if (status != LEAT_OK || ids->count == 0)
		return status;
	ids->items = lt_mem_array(ids->count, sizeof *ids->items);
	if (ids->items == NULL)
		return LEAT_E_NOMEM;
	for (size_t i = 0; i < ids->count; i++, at += strlen(at) + 1)
		ids->items[i] = at;
	return LEAT_OK;
}

static void
init_ids(struct ids *ids)
{
	*ids = (struct ids){.count = 0};
	lt_buffer_init(&ids->text, 64u << 20);
}

static void
fini_ids(struct ids *ids)
{
	lt_buffer_fini(&ids->text);
	lt_mem_free(ids->items);
}

/* Who of leat-queue's clients is in the group: to the hub, and whoever is told
 * by that. */
static int
hear(struct lt_sharing *s, struct leat *leat, const char *group)
{
	struct lt_hub_changes changes;
	struct ids ids;
	int status;

	init_ids(&ids);
	status = lt_relay_locals(leat, group, &ids.text, &ids.count, TELL_MS);
	if (status == LEAT_E_AGAIN) { /* it calls when it knows */
		fini_ids(&ids);
		return LEAT_OK;
	}
	if (status == LEAT_OK)
		status = index_ids(&ids);
	if (status == LEAT_OK) {
		lt_hub_changes_init(&changes);
		status = lt_hub_locals(
		    s->g->hub, group, ids.items, ids.count, &changes);
		lt_clients_tell(s->g, &changes);
	}
	fini_ids(&ids);
	return status;
}

static void
forget_locals(struct lt_sharing *s, const char *group)
{
	struct lt_hub_changes changes;

	lt_hub_changes_init(&changes);
	(void)!lt_hub_locals(s->g->hub, group, NULL, 0, &changes);
	lt_hub_changes_fini(&changes);
	lt_offsets_distrust(s->g->hub, group);
}

static int
tell(struct lt_sharing *s, struct leat *leat, const char *group, int *any_out)
{
	struct lt_remoting_text name = {group, (uint32_t)strlen(group)};
	struct lt_hub_about about;
	struct ids ids;
	int status;

	init_ids(&ids);
	if (lt_hub_about(s->g->hub, name, &about) &&
	    about.model == LT_HEARTBEAT_CLUSTERING &&
	    !lt_groups_pops(s->g->groups, group))
		(void)lt_hub_visit(s->g->hub, name, add_id, &ids);
	status = index_ids(&ids);
	if (status == LEAT_OK)
		status = lt_relay_remotes(
		    leat, group, ids.items, ids.count, TELL_MS);
	*any_out = ids.count > 0;
	if (status == LEAT_OK && ids.count > 0)
		status = hear(s, leat, group);
	else if (status == LEAT_OK)
		forget_locals(s, group);
	fini_ids(&ids);
	return status;
}

static int
is_worth_a_retry(int status)
{
	return status == LEAT_E_TIMEOUT || status == LEAT_E_UNREACHABLE ||
	       status == LEAT_E_NOMEM || status == LEAT_E_CLOSED;
}

/* Groups that were noted before the offsets were told. */
static void
tell_all(struct lt_sharing *s, struct leat *leat, struct groups *list)
{
	struct group *group;
	int status = LEAT_OK, any;

	while ((group = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		any = group->is_told;
		if (status == LEAT_OK || !is_worth_a_retry(status))
			status = tell(s, leat, group->name, &any);
		if (status != LEAT_OK && !is_worth_a_retry(status))
			lt_log_warn("group-not-told", "group=%s status=%s",
			    group->name, leat_status_name(status));
		pthread_mutex_lock(&s->lock);
		group->is_told = any;
		if (is_worth_a_retry(status))
			note(s, group);
		if (!group->is_told && !group->is_noted) {
			lt_hash_del(
			    &s->table, group->name, strlen(group->name));
			lt_mem_free(group);
		}
		pthread_mutex_unlock(&s->lock);
	}
}

/* From within calls that look at the socket. */
static void
on_locals(const char *group, void *user)
{
	struct lt_sharing *s = user;

	if (group == NULL)
		s->all_again = 1;
	else
		lt_sharing_note(s, group);
}

static void
note_all(struct lt_sharing *s)
{
	struct group *group;
	size_t cursor = 0;

	pthread_mutex_lock(&s->lock);
	while ((group = lt_hash_next(&s->table, &cursor)) != NULL) {
		note(s, group);
		lt_offsets_again(s->g->hub, group->name);
	}
	pthread_mutex_unlock(&s->lock);
}

static void
duty(struct leat *leat, int is_last, void *user)
{
	struct lt_sharing *s = user;
	struct groups list = STAILQ_HEAD_INITIALIZER(list);
	struct group *group;

	lt_relay_on_locals(leat, on_locals, s);
	lt_relay_pump(leat);
	if (s->all_again) {
		s->all_again = 0;
		note_all(s);
	}
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&list, &s->noted);
	STAILQ_FOREACH(group, &list, link)
	group->is_noted = 0;
	pthread_mutex_unlock(&s->lock);
	/* With the end of this session leat-queue forgets who is remote. */
	if (commit_all(s, leat) != LEAT_OK && is_last)
		lt_log_warn("offsets-not-told", "groups=%zu", s->table.used);
	if (is_last)
		return;
	lt_groupkeep_round(s->g->groupkeep, leat);
	tell_all(s, leat, &list);
}

/* --- life ------------------------------------------------------------------
 */

int
lt_sharing_create(const struct lt_gateway *g, struct lt_sharing **out)
{
	struct lt_sharing *s = lt_mem_alloc(sizeof *s);

	if (s == NULL)
		return LEAT_E_NOMEM;
	s->g = g;
	pthread_mutex_init(&s->lock, NULL);
	lt_hash_init(&s->table);
	STAILQ_INIT(&s->noted);
	*out = s;
	return LEAT_OK;
}

void
lt_sharing_destroy(struct lt_sharing *s)
{
	struct group *group;
	size_t cursor = 0;

	if (s == NULL)
		return;
	while ((group = lt_hash_next(&s->table, &cursor)) != NULL)
		lt_mem_free(group);
	lt_hash_fini(&s->table);
	pthread_mutex_destroy(&s->lock);
	lt_mem_free(s);
}

void
lt_sharing_begin(struct lt_sharing *s)
{
	lt_clerk_on_duty(s->g->clerk, duty, s);
}
