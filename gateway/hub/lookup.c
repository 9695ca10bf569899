/* lookup.c - questions about members: what passes, who is there. */
#include "config.h"
#include "hub/inside.h"

#include <string.h>

#include "leat/status.h"

static int
answer(const struct lt_hub_party *party, struct lt_remoting_text topic,
    int64_t sub_version, struct lt_tags *out)
{
	const struct lt_hub_sub *sub =
	    party == NULL ? NULL
			  : lt_hub_subs_find(party, topic.p, topic.bytes);

	if (sub == NULL)
		return LEAT_E_NOTFOUND;
	if (sub->version < sub_version)
		return LEAT_E_VERSION;
	if (!sub->is_by_tags)
		return LEAT_E_UNSUPPORTED;
	out->count = sub->code_count;
	memcpy(out->codes, sub->codes, sub->code_count * sizeof *sub->codes);
	return LEAT_OK;
}

int
lt_hub_filter(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text topic, int64_t sub_version, struct lt_tags *out)
{
	int rc;

	lt_hub_lock(hub);
	rc =
	    answer(lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes),
		topic, sub_version, out);
	lt_hub_unlock(hub);
	return rc;
}

int
lt_hub_about(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_hub_about *out)
{
	const struct lt_hub_party *party;

	*out = (struct lt_hub_about){0};
	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	if (party != NULL) {
		out->from = party->from;
		out->type = party->type;
		out->model = party->model;
		out->members = party->members;
		out->locals = party->local_count;
	}
	lt_hub_unlock(hub);
	return out->members > 0;
}

/* Of several connections the one that was heard of last. */
static uint64_t
find(const struct lt_hub *hub, const struct lt_hub_party *party,
    struct lt_remoting_text id)
{
	const struct lt_hub_client *first =
	    lt_hash_get(&hub->ids, id.p, id.bytes);
	const struct lt_hub_client *c = first, *best = NULL;

	if (first == NULL)
		return 0;
	do {
		if ((party == NULL || lt_hub_membership_of(c, party) != NULL) &&
		    (best == NULL || c->seen_ms > best->seen_ms))
			best = c;
		c = LT_HUB_OF(struct lt_hub_client, same_id, c->same_id.next);
	} while (c != first);
	return best == NULL ? 0 : best->conn;
}

uint64_t
lt_hub_find(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_remoting_text client_id)
{
	const struct lt_hub_party *party;
	uint64_t conn = 0;

	if (client_id.bytes == 0)
		return 0;
	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	if (party != NULL || group.bytes == 0)
		conn = find(hub, party, client_id);
	lt_hub_unlock(hub);
	return conn;
}

void
lt_hub_clients(
    struct lt_hub *hub, struct lt_remoting_text group, struct lt_buffer *out)
{
	const struct lt_hub_party *party;
	const struct lt_hub_ring *r;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	for (r = party == NULL ? NULL : party->memberships.next;
	     r != NULL && r != &party->memberships; r = r->next) {
		const struct lt_hub_client *c =
		    LT_HUB_OF(struct lt_hub_membership, in_party, r)->client;

		lt_buffer_add(out, &c->conn, sizeof c->conn);
		lt_buffer_add(out, c->id, strlen(c->id) + 1);
	}
	lt_hub_unlock(hub);
}

uint64_t
lt_hub_producer(struct lt_hub *hub, struct lt_remoting_text group)
{
	struct lt_hub_party *party;
	uint64_t conn = 0;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_PRODUCERS, group.p, group.bytes);
	if (party != NULL) {
		struct lt_hub_ring *first = party->memberships.next;

		conn = LT_HUB_OF(struct lt_hub_membership, in_party, first)
			   ->client->conn;
		lt_hub_ring_del(first);
		lt_hub_ring_add(&party->memberships, first);
	}
	lt_hub_unlock(hub);
	return conn;
}

size_t
lt_hub_visit(struct lt_hub *hub, struct lt_remoting_text group,
    void (*visit)(const struct lt_hub_member *member, void *user), void *user)
{
	const struct lt_hub_party *party;
	size_t n = 0;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	for (const struct lt_hub_ring *r =
		 party == NULL ? NULL : party->memberships.next;
	     r != NULL && r != &party->memberships; r = r->next, n++) {
		const struct lt_hub_membership *m =
		    LT_HUB_OF(struct lt_hub_membership, in_party, r);
		const struct lt_hub_client *c = m->client;
		struct lt_hub_member member = {c->conn, c->id, c->address,
		    c->language, c->version, m->pops};

		visit(&member, user);
	}
	lt_hub_unlock(hub);
	return n;
}

size_t
lt_hub_topics(struct lt_hub *hub, struct lt_remoting_text group,
    struct lt_buffer *names_out)
{
	const struct lt_hub_party *party;
	size_t n = 0;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	for (const struct lt_hub_ring *r = party == NULL ? NULL
							 : party->subs.next;
	     r != NULL && r != &party->subs; r = r->next, n++) {
		const struct lt_hub_sub *sub =
		    LT_HUB_OF(struct lt_hub_sub, in_party, r);

		lt_buffer_add(names_out, sub->topic, sub->topic_bytes + 1);
	}
	lt_hub_unlock(hub);
	return n;
}

int
lt_hub_pops(struct lt_hub *hub, struct lt_remoting_text group, uint64_t conn)
{
	const struct lt_hub_party *party;
	const struct lt_hub_client *client;
	struct lt_hub_membership *m = NULL;
	int is_new = 0;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	client = lt_hash_get(&hub->clients, &conn, sizeof conn);
	if (party != NULL && client != NULL)
		m = lt_hub_membership_of(client, party);
	if (m != NULL) {
		is_new = !m->pops;
		m->pops = 1;
	}
	lt_hub_unlock(hub);
	return is_new;
}

void
lt_hub_pops_not(struct lt_hub *hub, struct lt_remoting_text group)
{
	const struct lt_hub_party *party;

	lt_hub_lock(hub);
	party = lt_hub_party_of(hub, LT_HUB_CONSUMERS, group.p, group.bytes);
	for (struct lt_hub_ring *r = party == NULL ? NULL
						   : party->memberships.next;
	     r != NULL && r != &party->memberships; r = r->next)
		LT_HUB_OF(struct lt_hub_membership, in_party, r)->pops = 0;
	lt_hub_unlock(hub);
}
