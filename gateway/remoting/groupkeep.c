/*
 * groupkeep.c - a number says which of leat-queue's changes the table has; our
 * own are counted along, so that only others' have it read again.
 */
#include "config.h"
#include "remoting/groupkeep.h"

#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/relay.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "remoting/sharing.h"
#include "remoting/worker.h"

#define TELL_MS 2000 /* one answer of leat-queue */
#define ROUND_MAX 32 /* groups that are new to leat-queue, in a round */

struct lt_groupkeep {
	const struct lt_gateway *g;
	uint64_t known; /* changes that the table has */
};

int
lt_groupkeep_create(const struct lt_gateway *g, struct lt_groupkeep **out)
{
	struct lt_groupkeep *k = lt_mem_alloc(sizeof *k);

	if (k == NULL)
		return LEAT_E_NOMEM;
	k->g = g;
	*out = k;
	return LEAT_OK;
}

void
lt_groupkeep_destroy(struct lt_groupkeep *k)
{
	lt_mem_free(k);
}

/* --- read ------------------------------------------------------------------
 */

/* One that the table has no room for is not heeded; the others are. */
static int
hear(const struct leat_group_setting *s, void *user)
{
	struct lt_groupkeep *k = user;
	int status = lt_groups_hear(k->g->groups, s->group, s->topic, s->text);

	if (status != LEAT_OK)
		lt_log_warn("group-not-heeded", "group=%s status=%s", s->group,
		    leat_status_name(status));
	return status == LEAT_E_NOMEM ? status : 0;
}

/* Members of groups that turned to popping, or away from it, share their queues
 * otherwise. */
static void
tell_turned(struct lt_groupkeep *k)
{
	char name[LT_NAME_FIELD];

	while (lt_groups_turned(k->g->groups, name)) {
		if (!lt_groups_pops(k->g->groups, name))
			lt_hub_pops_not(k->g->hub, lt_call_text(name));
		lt_sharing_note(k->g->sharing, name);
	}
}

int
lt_groupkeep_load(struct leat *leat, void *user)
{
	struct lt_groupkeep *k = user;
	/* Before: what changes meanwhile is read once more. */
	uint64_t changes = k->g->group_changes();
	int status;

	lt_groups_listen(k->g->groups);
	status = leat_group_settings(leat, NULL, hear, k);
	if (status != LEAT_OK)
		return status;
	lt_groups_heard(k->g->groups);
	k->known = changes;
	tell_turned(k);
	return LEAT_OK;
}

/* --- changed ---------------------------------------------------------------
 */

/* A change of ours: the table has it, and all if nobody else changed anything.
 */
static void
count(struct lt_groupkeep *k, uint64_t changes)
{
	if (changes == k->known + 1)
		k->known = changes;
}

/* The text is taken. */
static int
keep(struct lt_groupkeep *k, struct leat *leat, const char *group,
    const char *topic, int only_new, struct lt_buffer *text)
{
	uint64_t changes = 0;
	int status;

	lt_buffer_add(text, "", 1);
	status = lt_buffer_status(text);
	if (status == LEAT_OK)
		status = lt_relay_group_set(leat, group, topic,
		    (const char *)text->p, text->bytes - 1, only_new, &changes,
		    TELL_MS);
	if (status == LEAT_OK) {
		count(k, changes);
		status = lt_groups_hear(
		    k->g->groups, group, topic, (const char *)text->p);
	}
	lt_buffer_fini(text);
	tell_turned(k);
	return status;
}

int
lt_groupkeep_set(struct lt_groupkeep *k, struct leat *leat,
    const struct lt_groups_config *config)
{
	struct lt_buffer text;

	lt_buffer_init(&text, LT_SETTING_TEXT_MAX + 1);
	lt_grouptext_say(config, &text);
	return keep(k, leat, config->name, "", 0, &text);
}

int
lt_groupkeep_set_mode(struct lt_groupkeep *k, struct leat *leat,
    const char *group, const char *topic, const struct lt_groups_mode *mode)
{
	struct lt_buffer text;

	lt_buffer_init(&text, LT_SETTING_TEXT_MAX + 1);
	lt_grouptext_say_mode(mode, &text);
	return keep(k, leat, group, topic, 0, &text);
}

int
lt_groupkeep_unset(struct lt_groupkeep *k, struct leat *leat, const char *group)
{
	uint64_t changes = 0;
	int status = lt_relay_group_unset(leat, group, &changes, TELL_MS);

	if (status == LEAT_OK)
		count(k, changes);
	if (status == LEAT_OK || status == LEAT_E_NOTFOUND) {
		lt_groups_forget(k->g->groups, lt_call_text(group));
		status = LEAT_OK;
	}
	tell_turned(k);
	return status;
}

/* --- in between ------------------------------------------------------------
 */

static int
is_worth_a_retry(int status)
{
	return status == LEAT_E_TIMEOUT || status == LEAT_E_UNREACHABLE ||
	       status == LEAT_E_NOMEM || status == LEAT_E_CLOSED ||
	       status == LEAT_E_NOSPACE;
}

/* Groups that somebody named: with nothing set, all is as by default. */
static void
keep_named(struct lt_groupkeep *k, struct leat *leat)
{
	char name[LT_NAME_FIELD];
	struct lt_buffer none;

	for (int i = 0; i < ROUND_MAX; i++) {
		int status;

		if (!lt_groups_unheld(k->g->groups, name))
			return;
		lt_buffer_init(&none, 1);
		status = keep(k, leat, name, "", 1, &none);
		if (is_worth_a_retry(status))
			return; /* with the next round */
		if (status != LEAT_OK && status != LEAT_E_EXISTS)
			lt_log_warn("group-not-kept", "group=%s status=%s",
			    name, leat_status_name(status));
		if (status != LEAT_OK)
			lt_groups_let_be(k->g->groups, name);
	}
}

void
lt_groupkeep_round(struct lt_groupkeep *k, struct leat *leat)
{
	if (k->g->group_changes() != k->known)
		(void)!lt_groupkeep_load(leat, k);
	keep_named(k, leat);
}
