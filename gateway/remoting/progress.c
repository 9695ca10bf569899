/*
 * progress.c - out of the list of a group's entries, one per queue.
 */
#include "config.h"
#include "remoting/progress.h"

#include <string.h>

#include "leat/status.h"

struct search {
	const char *topic;
	uint32_t queue;
	int64_t offset; /* -1: not seen */
};

static int
look(const struct leat_group *entry, void *user)
{
	struct search *s = user;

	if (entry->mode == LEAT_CLUSTERING && entry->queue == s->queue &&
	    strcmp(entry->topic, s->topic) == 0)
		s->offset = entry->progress;
	return 0;
}

int
lt_progress_read(struct leat *leat, const char *group, const char *topic,
    uint32_t queue, int64_t *offset_out)
{
	struct search s = {topic, queue, -1};
	int status = leat_group_describe(leat, group, look, &s);

	if (status == LEAT_E_NAME)
		return LEAT_E_NOTFOUND; /* nothing here has such a name */
	if (status != LEAT_OK)
		return status;
	*offset_out = s.offset;
	return s.offset < 0 ? LEAT_E_NOTFOUND : LEAT_OK;
}

static int
pass(const struct leat_group *entry, void *user)
{
	(void)entry;
	(void)user;
	return 0;
}

int
lt_progress_has(struct leat *leat, const char *group)
{
	int status = leat_group_describe(leat, group, pass, NULL);

	if (status == LEAT_E_NOTFOUND || status == LEAT_E_NAME)
		return 0;
	return status == LEAT_OK ? 1 : status;
}
