/*
 * subs.c - what a group subscribed to: the last heartbeat says which topics,
 * the highest version of a topic's subscription says which tags.
 */
#include "config.h"
#include "hub/inside.h"

#include <string.h>

#include "leat/status.h"

struct lt_hub_sub *
lt_hub_subs_find(
    const struct lt_hub_party *party, const char *topic, size_t bytes)
{
	for (struct lt_hub_ring *r = party->subs.next; r != &party->subs;
	     r = r->next) {
		struct lt_hub_sub *sub = (struct lt_hub_sub *)r;

		if (sub->topic_bytes == bytes &&
		    memcmp(sub->topic, topic, bytes) == 0)
			return sub;
	}
	return NULL;
}

static char *
put(char **at, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = memcpy(*at, text, n);

	*at += n;
	return copy;
}

static int
make(struct lt_hub *hub, const struct lt_heartbeat_sub *said,
    struct lt_hub_sub **out)
{
	const char *text = said->text == NULL ? "" : said->text;
	size_t codes_bytes = said->code_count * sizeof *said->codes;
	size_t bytes = sizeof **out + codes_bytes + strlen(said->topic) +
		       strlen(text) + strlen(said->expression) + 3;
	struct lt_hub_sub *sub;
	void *p;
	int rc = lt_hub_take(hub, bytes, &p);

	if (rc != LEAT_OK)
		return rc;
	sub = p;
	sub->bytes = bytes;
	sub->version = said->version;
	sub->code_count = said->code_count;
	if (codes_bytes > 0)
		memcpy(sub->codes, said->codes, codes_bytes);
	char *at = (char *)sub->codes + codes_bytes;
	sub->topic = put(&at, said->topic);
	sub->text = put(&at, text);
	sub->expression = put(&at, said->expression);
	sub->topic_bytes = strlen(said->topic);
	sub->is_class_filter = said->is_class_filter;
	sub->is_by_tags = strcmp(said->expression, "TAG") == 0;
	*out = sub;
	return LEAT_OK;
}

static void
drop(struct lt_hub *hub, struct lt_hub_party *party, struct lt_hub_sub *sub)
{
	lt_hub_ring_del(&sub->in_party);
	party->sub_count--;
	lt_hub_give(hub, sub, sub->bytes);
}

int
lt_hub_subs_replace(struct lt_hub *hub, struct lt_hub_party *party,
    const struct lt_heartbeat_consumer *said, int *is_changed)
{
	party->round++;
	for (uint32_t i = 0; i < said->sub_count; i++) {
		const struct lt_heartbeat_sub *new = &said->subs[i];
		struct lt_hub_sub *sub =
		    lt_hub_subs_find(party, new->topic, strlen(new->topic));

		if (sub == NULL || new->version > sub->version) {
			struct lt_hub_sub *made;
			int rc = make(hub, new, &made);

			if (rc != LEAT_OK)
				return rc;
			if (sub == NULL)
				*is_changed = 1;
			else
				drop(hub, party, sub);
			lt_hub_ring_add(&party->subs, &made->in_party);
			party->sub_count++;
			sub = made;
		}
		sub->round = party->round;
	}
	for (struct lt_hub_ring *r = party->subs.next; r != &party->subs;) {
		struct lt_hub_sub *sub = (struct lt_hub_sub *)r;

		r = r->next;
		if (sub->round != party->round) {
			drop(hub, party, sub);
			*is_changed = 1;
		}
	}
	return LEAT_OK;
}

void
lt_hub_subs_drop(struct lt_hub *hub, struct lt_hub_party *party)
{
	while (party->subs.next != &party->subs)
		drop(hub, party, (struct lt_hub_sub *)party->subs.next);
}
