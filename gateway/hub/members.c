/*
 * members.c - clients come, say so every 30 s, and go: by their word, with
 * their connection, or because they said nothing for too long.
 *
 * Others are told only if the group's list of ids or of topics is another: a
 * client that connects again before its old connection is closed changes
 * nothing. A group that a client no longer names stays for LT_HUB_EXPIRY_MS, as
 * do clients that say nothing.
 */
#include "config.h"
#include "hub/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

/* --- parties --------------------------------------------------------------
 */

struct lt_hub_party *
lt_hub_party_of(const struct lt_hub *hub, enum lt_hub_kind kind,
    const char *name, size_t bytes)
{
	return bytes == 0 ? NULL
			  : lt_hash_get(&hub->parties[kind], name, bytes);
}

static int
party_make(struct lt_hub *hub, enum lt_hub_kind kind, const char *name,
    struct lt_hub_party **out)
{
	size_t bytes = strlen(name);
	struct lt_hub_party *party;
	void *p;
	int rc;

	*out = lt_hub_party_of(hub, kind, name, bytes);
	if (*out != NULL)
		return LEAT_OK;
	LT_ASSERT(bytes > 0 && bytes < sizeof party->name);
	rc = lt_hub_take(hub, sizeof *party, &p);
	if (rc != LEAT_OK)
		return rc;
	party = p;
	lt_hub_ring_init(&party->memberships);
	lt_hub_ring_init(&party->subs);
	party->kind = kind;
	party->model = LT_HEARTBEAT_CLUSTERING;
	party->name_bytes = bytes;
	memcpy(party->name, name, bytes + 1);
	rc = lt_hash_put(&hub->parties[kind], name, bytes, party);
	if (rc != LEAT_OK) {
		lt_hub_give(hub, party, sizeof *party);
		return rc;
	}
	*out = party;
	return LEAT_OK;
}

static void
party_free_if_empty(struct lt_hub *hub, struct lt_hub_party *party)
{
	if (party->members > 0)
		return;
	lt_hub_subs_drop(hub, party);
	party->fingerprint = 0;
	if (party->local_count > 0)
		return;
	lt_hash_del(&hub->parties[party->kind], party->name, party->name_bytes);
	lt_hub_give(hub, party->locals, party->locals_bytes);
	lt_hub_give(hub, party, sizeof *party);
}

struct lt_hub_membership *
lt_hub_membership_of(
    const struct lt_hub_client *c, const struct lt_hub_party *party)
{
	for (struct lt_hub_ring *r = c->memberships.next; r != &c->memberships;
	     r = r->next) {
		struct lt_hub_membership *m = (struct lt_hub_membership *)r;

		if (m->party == party)
			return m;
	}
	return NULL;
}

/* Is that client's id in the party without it? */
static int
has_other(const struct lt_hub_party *party, const struct lt_hub_client *c)
{
	const char *local = party->locals;

	for (struct lt_hub_ring *r = c->same_id.next; r != &c->same_id;
	     r = r->next)
		if (lt_hub_membership_of(
			LT_HUB_OF(struct lt_hub_client, same_id, r), party) !=
		    NULL)
			return 1;
	for (size_t i = 0; i < party->local_count; i++) {
		if (strcmp(local, c->id) == 0)
			return 1;
		local += strlen(local) + 1;
	}
	return 0;
}

static int
join(struct lt_hub *hub, struct lt_hub_client *c, struct lt_hub_party *party,
    uint64_t now_ms, int *is_changed)
{
	struct lt_hub_membership *m = lt_hub_membership_of(c, party);
	void *p;
	int rc;

	if (m == NULL) {
		if (c->joined[party->kind] == hub->limits.groups_max)
			return LEAT_E_LIMIT;
		rc = lt_hub_take(hub, sizeof *m, &p);
		if (rc != LEAT_OK)
			return rc;
		*is_changed |= !has_other(party, c);
		m = p;
		m->client = c;
		m->party = party;
		lt_hub_ring_add(&c->memberships, &m->in_client);
		lt_hub_ring_add(&party->memberships, &m->in_party);
		c->joined[party->kind]++;
		party->members++;
	}
	m->seen_ms = now_ms;
	return LEAT_OK;
}

static void
leave(struct lt_hub *hub, struct lt_hub_membership *m,
    struct lt_hub_changes *changes)
{
	struct lt_hub_party *party = m->party;
	struct lt_hub_client *c = m->client;

	lt_hub_ring_del(&m->in_client);
	lt_hub_ring_del(&m->in_party);
	c->joined[party->kind]--;
	party->members--;
	lt_hub_give(hub, m, sizeof *m);
	if (changes != NULL && !has_other(party, c))
		lt_hub_tell(changes, party, 0);
	party_free_if_empty(hub, party);
}

/* --- clients --------------------------------------------------------------
 */

static struct lt_hub_client *
client_of(const struct lt_hub *hub, uint64_t conn)
{
	return lt_hash_get(&hub->clients, &conn, sizeof conn);
}

static int
client_make(struct lt_hub *hub, const struct lt_hub_peer *peer, const char *id,
    struct lt_hub_client **out)
{
	size_t id_bytes = strlen(id), address_bytes = strlen(peer->address);
	size_t bytes = sizeof **out + id_bytes + address_bytes + 2;
	struct lt_principal nobody = {0};
	const struct lt_principal *who =
	    peer->who != NULL ? peer->who : &nobody;
	struct lt_hub_client *c, *same = lt_hash_get(&hub->ids, id, id_bytes);
	void *p;
	int rc;

	if (same != NULL && memcmp(&same->who, who, sizeof *who) != 0)
		return LEAT_E_DENIED;
	rc = lt_hub_take(hub, bytes, &p);
	if (rc != LEAT_OK)
		return rc;
	c = p;
	c->bytes = bytes;
	c->conn = peer->conn;
	c->who = *who;
	c->id = memcpy((char *)p + sizeof *c, id, id_bytes + 1);
	c->address =
	    memcpy(c->id + id_bytes + 1, peer->address, address_bytes + 1);
	lt_hub_ring_init(&c->by_time);
	lt_hub_ring_init(&c->same_id);
	lt_hub_ring_init(&c->memberships);
	if (same != NULL)
		lt_hub_ring_add(&same->same_id, &c->same_id);
	else if ((rc = lt_hash_put(&hub->ids, id, id_bytes, c)) != LEAT_OK)
		goto failed;
	rc = lt_hash_put(&hub->clients, &c->conn, sizeof c->conn, c);
	if (rc == LEAT_OK) {
		*out = c;
		return LEAT_OK;
	}
	if (same == NULL)
		lt_hash_del(&hub->ids, id, id_bytes);
	lt_hub_ring_del(&c->same_id);
failed:
	lt_hub_give(hub, c, bytes);
	return rc;
}

static void
client_drop(
    struct lt_hub *hub, struct lt_hub_client *c, struct lt_hub_changes *changes)
{
	size_t id_bytes = strlen(c->id);

	while (c->memberships.next != &c->memberships)
		leave(hub, (struct lt_hub_membership *)c->memberships.next,
		    changes);
	if (c->same_id.next == &c->same_id)
		lt_hash_del(&hub->ids, c->id, id_bytes);
	else /* the key is there: no memory is needed */
		LT_ASSERT(lt_hash_put(&hub->ids, c->id, id_bytes,
			      LT_HUB_OF(struct lt_hub_client, same_id,
				  c->same_id.next)) == LEAT_OK);
	lt_hub_ring_del(&c->same_id);
	lt_hub_ring_del(&c->by_time);
	lt_hash_del(&hub->clients, &c->conn, sizeof c->conn);
	lt_hub_give(hub, c, c->bytes);
}

void
lt_hub_members_fini(struct lt_hub *hub)
{
	struct lt_hash *consumers = &hub->parties[LT_HUB_CONSUMERS];
	struct lt_hub_party *party;
	size_t cursor = 0;

	while (hub->by_time.next != &hub->by_time)
		client_drop(
		    hub, (struct lt_hub_client *)hub->by_time.next, NULL);
	while ((party = lt_hash_next(consumers, &cursor)) != NULL) {
		party->local_count = 0;
		party_free_if_empty(hub, party);
	}
}

/* --- heartbeats -----------------------------------------------------------
 */

/* One group of consumers that a heartbeat names. */
static int
consume(struct lt_hub *hub, struct lt_hub_client *c,
    const struct lt_heartbeat *said, const struct lt_heartbeat_consumer *group,
    uint64_t now_ms, struct lt_hub_changes *changes, int *is_sub_change)
{
	struct lt_hub_party *party;
	int is_changed = 0;
	int rc = party_make(hub, LT_HUB_CONSUMERS, group->group, &party);

	if (rc != LEAT_OK)
		return rc;
	rc = join(hub, c, party, now_ms, &is_changed);
	if (rc != LEAT_OK) {
		party_free_if_empty(hub, party);
		return rc;
	}
	party->from = group->from;
	party->type = group->type;
	party->model = group->model;
	if (!said->without_sub)
		rc = lt_hub_subs_replace(hub, party, group, &is_changed);
	/* Who thinks that we know its subscriptions must hear that we do not.
	 */
	if ((said->without_sub && party->sub_count == 0) ||
	    (party->fingerprint != 0 &&
		party->fingerprint != said->fingerprint))
		*is_sub_change = 1;
	party->fingerprint = said->fingerprint;
	if (is_changed)
		lt_hub_tell(changes, party, 0);
	return rc;
}

static int
produce(struct lt_hub *hub, struct lt_hub_client *c, const char *group,
    uint64_t now_ms)
{
	struct lt_hub_party *party;
	int is_changed = 0;
	int rc = party_make(hub, LT_HUB_PRODUCERS, group, &party);

	if (rc == LEAT_OK &&
	    (rc = join(hub, c, party, now_ms, &is_changed)) != LEAT_OK)
		party_free_if_empty(hub, party);
	return rc;
}

static void
drop_unnamed(struct lt_hub *hub, struct lt_hub_client *c, uint64_t now_ms,
    struct lt_hub_changes *changes)
{
	for (struct lt_hub_ring *r = c->memberships.next;
	     r != &c->memberships;) {
		struct lt_hub_membership *m = (struct lt_hub_membership *)r;

		r = r->next;
		if (now_ms > m->seen_ms + LT_HUB_EXPIRY_MS)
			leave(hub, m, changes);
	}
}

/* Each group by itself: one that is refused does not keep out the others. */
static int
register_all(struct lt_hub *hub, struct lt_hub_client *c,
    const struct lt_heartbeat *said, uint64_t now_ms,
    struct lt_hub_changes *changes, int *is_sub_change)
{
	int rc = LEAT_OK;

	for (uint32_t i = 0; i < said->consumer_count; i++) {
		int one = consume(hub, c, said, &said->consumers[i], now_ms,
		    changes, is_sub_change);

		rc = rc == LEAT_OK ? one : rc;
	}
	for (uint32_t i = 0; i < said->producer_count; i++) {
		int one = produce(hub, c, said->producers[i], now_ms);

		rc = rc == LEAT_OK ? one : rc;
	}
	return rc;
}

int
lt_hub_heartbeat(struct lt_hub *hub, const struct lt_heartbeat *heartbeat,
    const struct lt_hub_peer *peer, uint64_t now_ms,
    struct lt_hub_changes *changes, int *is_sub_change_out)
{
	struct lt_hub_client *c;
	int rc = LEAT_OK;

	LT_ASSERT(peer->conn != 0);
	*is_sub_change_out = heartbeat->fingerprint == 0;
	lt_hub_lock(hub);
	c = client_of(hub, peer->conn);
	if (c != NULL && strcmp(c->id, heartbeat->client_id) != 0) {
		client_drop(hub, c, changes);
		c = NULL;
	}
	if (c == NULL)
		rc = client_make(hub, peer, heartbeat->client_id, &c);
	if (rc == LEAT_OK) {
		c->language = peer->language;
		c->version = peer->version;
		c->seen_ms = now_ms;
		lt_hub_ring_del(&c->by_time);
		lt_hub_ring_add(&hub->by_time, &c->by_time);
		rc = register_all(
		    hub, c, heartbeat, now_ms, changes, is_sub_change_out);
		drop_unnamed(hub, c, now_ms, changes);
	}
	lt_hub_unlock(hub);
	return rc;
}

void
lt_hub_unregister(struct lt_hub *hub, uint64_t conn,
    struct lt_remoting_text producer_group,
    struct lt_remoting_text consumer_group, struct lt_hub_changes *changes)
{
	const struct lt_remoting_text *names[LT_HUB_KINDS] = {
	    &consumer_group, &producer_group};
	struct lt_hub_client *c;

	lt_hub_lock(hub);
	c = client_of(hub, conn);
	for (int kind = 0; c != NULL && kind < LT_HUB_KINDS; kind++) {
		struct lt_hub_party *party = lt_hub_party_of(hub,
		    (enum lt_hub_kind)kind, names[kind]->p, names[kind]->bytes);
		struct lt_hub_membership *m =
		    party == NULL ? NULL : lt_hub_membership_of(c, party);

		if (m != NULL)
			leave(hub, m, changes);
	}
	if (c != NULL && c->memberships.next == &c->memberships)
		client_drop(hub, c, changes);
	lt_hub_unlock(hub);
}

void
lt_hub_closed(struct lt_hub *hub, uint64_t conn, struct lt_hub_changes *changes)
{
	struct lt_hub_client *c;

	lt_hub_lock(hub);
	c = client_of(hub, conn);
	if (c != NULL)
		client_drop(hub, c, changes);
	lt_hub_unlock(hub);
}

size_t
lt_hub_expire(struct lt_hub *hub, uint64_t now_ms, uint64_t *conns, size_t max,
    struct lt_hub_changes *changes)
{
	size_t n = 0;

	lt_hub_lock(hub);
	while (n < max && hub->by_time.next != &hub->by_time) {
		struct lt_hub_client *c =
		    (struct lt_hub_client *)hub->by_time.next;

		if (now_ms <= c->seen_ms + LT_HUB_EXPIRY_MS)
			break;
		conns[n++] = c->conn;
		client_drop(hub, c, changes);
	}
	lt_hub_unlock(hub);
	return n;
}

/* --- local members --------------------------------------------------------
 */

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The ids in order, each once and with a NUL. */
static int
list_ids(const char *const *ids, size_t count, struct lt_buffer *out,
    size_t *count_out)
{
	const char **sorted = lt_mem_array(count + 1, sizeof *sorted);
	int rc = sorted == NULL ? LEAT_E_NOMEM : LEAT_OK;

	*count_out = 0;
	for (size_t i = 0; rc == LEAT_OK && i < count; i++) {
		size_t n = strlen(ids[i]);

		sorted[i] = ids[i];
		if (n == 0 || n > LT_HEARTBEAT_ID_MAX)
			rc = LEAT_E_INVALID;
	}
	if (rc == LEAT_OK)
		qsort(sorted, count, sizeof *sorted, compare_ids);
	for (size_t i = 0; rc == LEAT_OK && i < count; i++)
		if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0) {
			lt_buffer_add(out, sorted[i], strlen(sorted[i]) + 1);
			(*count_out)++;
		}
	lt_mem_free(sorted);
	return rc == LEAT_OK ? lt_buffer_status(out) : rc;
}

static int
locals_replace(struct lt_hub *hub, const char *group,
    const struct lt_buffer *ids, size_t count, struct lt_hub_changes *changes)
{
	struct lt_hub_party *party =
	    lt_hub_party_of(hub, LT_HUB_CONSUMERS, group, strlen(group));
	void *copy = NULL;
	int rc = LEAT_OK;

	if (party == NULL && count == 0)
		return LEAT_OK;
	if (party != NULL && party->local_count == count &&
	    party->locals_bytes == ids->bytes &&
	    (count == 0 || memcmp(party->locals, ids->p, ids->bytes) == 0))
		return LEAT_OK;
	if (count > 0)
		rc = lt_hub_take(hub, ids->bytes, &copy);
	if (rc == LEAT_OK)
		rc = party_make(hub, LT_HUB_CONSUMERS, group, &party);
	if (rc != LEAT_OK) {
		lt_hub_give(hub, copy, ids->bytes);
		return rc;
	}
	lt_hub_give(hub, party->locals, party->locals_bytes);
	if (count > 0)
		memcpy(copy, ids->p, ids->bytes);
	party->locals = copy;
	party->locals_bytes = ids->bytes;
	party->local_count = count;
	lt_hub_offsets_distrust(hub, group);
	lt_hub_tell(changes, party, 1);
	party_free_if_empty(hub, party);
	return LEAT_OK;
}

int
lt_hub_locals(struct lt_hub *hub, const char *group, const char *const *ids,
    size_t count, struct lt_hub_changes *changes)
{
	struct lt_buffer list;
	int rc;

	if (count > LT_HUB_LOCALS_MAX)
		return LEAT_E_LIMIT;
	lt_buffer_init(&list, SIZE_MAX);
	rc = list_ids(ids, count, &list, &count);
	if (rc == LEAT_OK) {
		lt_hub_lock(hub);
		rc = locals_replace(hub, group, &list, count, changes);
		lt_hub_unlock(hub);
	}
	lt_buffer_fini(&list);
	return rc;
}
