/*
 * progress.c - asked on behalf of remote members, and whether a group is known.
 */
#include "config.h"
#include "remoting/progress.h"

#include "client/relay.h"
#include "leat/status.h"

int
lt_progress_read(struct leat *leat, const char *group, const char *topic,
    uint32_t queue, int64_t *offset_out)
{
	int status = lt_relay_progress(leat, group, topic, queue, offset_out);

	/* Nothing here has such a name. */
	return status == LEAT_E_NAME ? LEAT_E_NOTFOUND : status;
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
