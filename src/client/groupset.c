/*
 * groupset.c - what is set for groups: read by anybody who may see the group,
 * changed by leat-gateway's administrators (relay.h).
 */
#include "config.h"
#include "client/client.h"
#include "client/relay.h"
#include "client/remote.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

/* The entry at `at`: its bytes, or 0: it is none. */
static size_t
take(const uint8_t *at, size_t left, struct lt_wire_setting *e)
{
	size_t bytes;

	if (left < sizeof(*e))
		return 0;
	memcpy(e, at, sizeof(*e));
	bytes = lt_bytes_align(sizeof(*e) + (size_t)e->text_bytes + 1, 8);
	return bytes <= left && at[sizeof(*e) + e->text_bytes] == 0 &&
		       lt_bytes_terminated(e->group, sizeof(e->group)) &&
		       lt_bytes_terminated(e->topic, sizeof(e->topic))
		   ? bytes
		   : 0;
}

/* One page, from a copy: the callback may make requests of its own. */
static int
each_of_page(struct leat *leat,
    int (*each)(const struct leat_group_setting *, void *), void *user)
{
	const struct lt_wire_groups *page = (const void *)leat->rx;
	size_t left = leat->rx_bytes - sizeof(*page), at = 0, bytes;
	uint32_t count = page->count;
	uint8_t *copy = lt_mem_alloc(left + 1);
	struct leat_group_setting setting;
	struct lt_wire_setting e;
	int status = copy == NULL ? LEAT_E_NOMEM : LEAT_OK;

	if (status == LEAT_OK)
		memcpy(copy, page + 1, left);
	for (; status == LEAT_OK && count > 0; count--) {
		bytes = take(copy + at, left - at, &e);
		setting = (struct leat_group_setting){
		    e.group, e.topic, (const char *)copy + at + sizeof(e)};
		at += bytes;
		status = bytes == 0 ? LEAT_E_CORRUPT : each(&setting, user);
	}
	lt_mem_free(copy);
	return status;
}

int
leat_group_settings(struct leat *leat, const char *group,
    int (*each)(const struct leat_group_setting *setting, void *user),
    void *user)
{
	struct lt_wire_group msg = {0};
	int status;

	if (!lt_connect_valid(leat))
		return lt_far_here_only(leat, "groups are set");
	if (each == NULL)
		return LEAT_E_INVALID;
	if (group != NULL &&
	    lt_bytes_field(msg.group, sizeof(msg.group), group) != 0)
		return lt_connect_fail(leat, LEAT_E_NAME, "name too long");
	do {
		status = lt_link_call(leat, LT_OP_GROUP_SETTINGS, &msg,
		    sizeof(msg), lt_wait_deadline(leat->request_ms), NULL);
		if (status != LEAT_OK)
			break;
		msg.cursor =
		    ((const struct lt_wire_groups *)(const void *)leat->rx)
			->cursor;
		status = each_of_page(leat, each, user);
	} while (status == LEAT_OK && msg.cursor != 0);
	if (status >= 0 || status == LEAT_E_TIMEOUT)
		return status;
	return lt_connect_fail(leat, status, "settings of group %s: %s",
	    group != NULL ? group : "*", leat_status_text(status));
}

/* --- from leat-gateway -----------------------------------------------------
 */

static uint64_t
changes(const struct leat *leat)
{
	return ((const struct lt_wire_number *)(const void *)leat->rx)->number;
}

int
lt_relay_group_set(struct leat *leat, const char *group, const char *topic,
    const char *text, size_t bytes, int only_new, uint64_t *changes_out,
    int timeout_ms)
{
	struct {
		struct lt_wire_group_set w;
		char text[LT_SETTING_TEXT_MAX];
	} msg;
	int status;

	memset(&msg.w, 0, sizeof(msg.w));
	if (lt_bytes_field(msg.w.group, sizeof(msg.w.group), group) != 0 ||
	    lt_bytes_field(msg.w.topic, sizeof(msg.w.topic), topic) != 0)
		return LEAT_E_NAME;
	if (bytes > sizeof(msg.text))
		return LEAT_E_TOOBIG;
	msg.w.only_new = only_new != 0;
	if (bytes > 0)
		memcpy(msg.text, text, bytes);
	status = lt_link_call(leat, LT_OP_GROUP_SET, &msg,
	    sizeof(msg.w) + bytes, lt_wait_deadline(timeout_ms), NULL);
	if (status == LEAT_OK)
		*changes_out = changes(leat);
	return status;
}

int
lt_relay_group_unset(
    struct leat *leat, const char *group, uint64_t *changes_out, int timeout_ms)
{
	struct lt_wire_name msg = {0};
	int status;

	if (lt_bytes_field(msg.name, sizeof(msg.name), group) != 0)
		return LEAT_E_NAME;
	status = lt_link_call(leat, LT_OP_GROUP_UNSET, &msg, sizeof(msg),
	    lt_wait_deadline(timeout_ms), NULL);
	if (status == LEAT_OK)
		*changes_out = changes(leat);
	return status;
}
