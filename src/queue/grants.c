/*
 * grants.c - who may do what: access rules applied to a peer, and the topics a
 * session has opened. The store enforces publish rights by the ids granted to
 * it; reading and managing are checked here at each request.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "proto/name.h"

/* name NULL: every one of that kind. */
static unsigned
rights_of(struct lt_manager *m, const struct lt_peer *peer,
    enum lt_access_what what, const char *name)
{
	unsigned mask = lt_options_rights(&m->options, m->uid, peer->uid,
	    peer->gids, peer->gid_count, what, name);
	struct lt_principal p;

	if (lt_rulebook_count(m->grants) == 0)
		return mask;
	p = lt_principal_local(LT_PRINCIPAL_ANY, 0);
	mask |= lt_rulebook_rights(m->grants, &p, what, name);
	p = lt_principal_local(LT_PRINCIPAL_USER, peer->uid);
	mask |= lt_rulebook_rights(m->grants, &p, what, name);
	for (uint32_t i = 0; i < peer->gid_count; i++) {
		p = lt_principal_local(LT_PRINCIPAL_OS_GROUP, peer->gids[i]);
		mask |= lt_rulebook_rights(m->grants, &p, what, name);
	}
	return mask;
}

unsigned
lt_grants_topic(
    struct lt_manager *m, const struct lt_peer *peer, const char *topic)
{
	return rights_of(m, peer, LT_ACCESS_TOPIC, topic);
}

unsigned
lt_grants_group(
    struct lt_manager *m, const struct lt_peer *peer, const char *group)
{
	return rights_of(m, peer, LT_ACCESS_GROUP, group);
}

int
lt_grants_may_grant(struct lt_manager *m, const struct lt_peer *peer)
{
	return (rights_of(m, peer, LT_ACCESS_TOPIC, NULL) &
		   rights_of(m, peer, LT_ACCESS_GROUP, NULL) &
		   LT_RIGHT_MANAGE) != 0;
}

int
lt_grants_may_look(struct lt_manager *m, const struct lt_peer *peer)
{
	return (rights_of(m, peer, LT_ACCESS_TOPIC, NULL) &
		   (LT_RIGHT_MANAGE | LT_RIGHT_TRACE)) != 0;
}

int
lt_grants_read(struct lt_manager *m, const struct lt_peer *peer,
    const struct lt_topic *topic)
{
	unsigned rights = lt_grants_topic(m, peer, topic->name);
	unsigned need = LT_RIGHT_SUBSCRIBE;

	if (topic->id == LT_STATE_AUDIT)
		return rights & (LT_RIGHT_TRACE | LT_RIGHT_MANAGE)
			   ? LEAT_OK
			   : LEAT_E_DENIED;
	if (topic->system) /* a pattern such as * does not mean these */
		need |= LT_RIGHT_MANAGE;
	if ((rights & need) != need)
		return LEAT_E_DENIED;
	return topic->perm & LEAT_PERM_READ ? LEAT_OK : LEAT_E_PERM;
}

int
lt_grants_may_connect(struct lt_manager *m, const struct lt_peer *peer)
{
	struct lt_principal p = lt_principal_local(LT_PRINCIPAL_ANY, 0);

	if (lt_options_may_connect(
		&m->options, m->uid, peer->uid, peer->gids, peer->gid_count) ||
	    lt_rulebook_has(m->grants, &p))
		return 1;
	p = lt_principal_local(LT_PRINCIPAL_USER, peer->uid);
	if (lt_rulebook_has(m->grants, &p))
		return 1;
	for (uint32_t i = 0; i < peer->gid_count; i++) {
		p = lt_principal_local(LT_PRINCIPAL_OS_GROUP, peer->gids[i]);
		if (lt_rulebook_has(m->grants, &p))
			return 1;
	}
	return 0;
}

/* For remote clients, in their names: the broker's own processes only. */
uint32_t
lt_grants_may_relay(const struct lt_manager *m, const struct lt_peer *peer)
{
	return peer->uid == m->uid || peer->uid == 0;
}

int
lt_grants_is_relay_topic(
    const struct lt_manager *m, const struct lt_peer *peer, const char *topic)
{
	return strcmp(topic, LT_NAME_SCHEDULE_TOPIC) == 0 &&
	       lt_grants_may_relay(m, peer);
}

struct lt_open *
lt_grants_find(struct lt_session *s, uint32_t topic)
{
	for (size_t i = 0; i < s->open_count; i++)
		if (s->opens[i].topic == topic)
			return &s->opens[i];
	return NULL;
}

int
lt_grants_open(struct lt_session *s, uint32_t topic, uint32_t rights)
{
	struct lt_open *open = lt_grants_find(s, topic);

	if (open == NULL) {
		if (s->open_count >= LT_OPENS_MAX)
			return LEAT_E_LIMIT;
		if (lt_mem_grow((void **)&s->opens, &s->open_capacity,
			s->open_count, sizeof(*s->opens)) != LEAT_OK)
			return LEAT_E_NOMEM;
		open = &s->opens[s->open_count++];
		*open = (struct lt_open){.topic = topic};
	}
	open->rights |= rights;
	return LEAT_OK;
}

void
lt_grants_drop_topic(struct lt_manager *m, uint32_t topic)
{
	struct lt_session *s;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		struct lt_open *open = lt_grants_find(s, topic);

		if (open != NULL)
			*open = s->opens[--s->open_count];
	}
}

size_t
lt_grants_list(struct lt_session *s, uint32_t *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s->open_count && n < max; i++)
		if (s->opens[i].rights & LT_RIGHT_PUBLISH)
			out[n++] = s->opens[i].topic;
	return n;
}

void
lt_grants_all(struct lt_session *s)
{
	struct lt_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&s->m->topics_by_name, &cursor)) != NULL)
		if (!t->deleted &&
		    (!t->system ||
			lt_grants_is_relay_topic(s->m, &s->peer, t->name)) &&
		    (lt_grants_topic(s->m, &s->peer, t->name) &
			LT_RIGHT_PUBLISH) &&
		    lt_grants_open(s, t->id, LT_RIGHT_PUBLISH) != LEAT_OK)
			return;
}

static void
revoke_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
}

static void
revoke(struct lt_session *s, struct lt_open *open)
{
	struct lt_wire_grant msg;

	open->rights &= ~(uint32_t)LT_RIGHT_PUBLISH;
	if (!s->attached)
		return; /* the next attach lists what is left */
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_GRANT, sizeof(msg), 0, 0);
	msg.session = s->id;
	msg.topic = open->topic;
	lt_storelink_call(
	    s->m, &msg, sizeof(msg), NULL, 0, revoke_done, 0, NULL);
}

/* Its session has to end, and others go on with another ring: this one stays
 * mapped by who may no longer look into it. A group's table is shared with
 * members of the same user only, who have lost the right as well. */
static void
cut_off(struct lt_manager *m, struct lt_sub *sub)
{
	struct lt_qref *q = sub->qref;

	lt_subscribe_end(m, sub);
	lt_ringset_renew(m, q);
}

/* 1: a subscription's right has gone. */
static int
review_subs(struct lt_session *s)
{
	struct lt_manager *m = s->m;
	struct lt_sub *sub, *next;
	struct lt_topic *t;
	int lost = 0;

	for (sub = LIST_FIRST(&s->subs); sub != NULL; sub = next) {
		next = LIST_NEXT(sub, session_link);
		t = lt_topic_by_id(m, sub->topic);
		if (t != NULL &&
		    lt_grants_read(m, &s->peer, t) != LEAT_E_DENIED &&
		    (sub->progress == NULL || (lt_grants_group(m, &s->peer,
						   sub->progress->group->name) &
						  LT_RIGHT_SUBSCRIBE)))
			continue;
		cut_off(m, sub);
		lost = 1;
	}
	return lost;
}

/* 1: a right to publish has gone. */
static int
review_opens(struct lt_session *s)
{
	struct lt_topic *t;
	int lost = 0;

	for (size_t i = 0; i < s->open_count; i++) {
		t = lt_topic_by_id(s->m, s->opens[i].topic);
		if (!(s->opens[i].rights & LT_RIGHT_PUBLISH) ||
		    (t != NULL && (lt_grants_topic(s->m, &s->peer, t->name) &
				      LT_RIGHT_PUBLISH)))
			continue;
		revoke(s, &s->opens[i]);
		lost = 1;
	}
	return lost;
}

/*
 * What was taken back at the store holds before anything else that the session
 * has in its lane. It ends all the same: its client connects again and has what
 * it still may have, and it hears of the rest.
 */
void
lt_grants_review(struct lt_manager *m)
{
	struct lt_session *s;
	size_t cursor = 0;
	int lost;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		if (s->state == LT_SESSION_ENDING)
			continue;
		lost = review_opens(s);
		lost |= review_subs(s);
		if (!lost && lt_grants_may_connect(m, &s->peer))
			continue;
		lt_log_info("session-cut", "session=%016llx pid=%u uid=%u",
		    (unsigned long long)s->id, s->peer.pid, s->peer.uid);
		lt_audit_refused(m,
		    &(struct lt_audit){.uid = s->peer.uid,
			.pid = s->peer.pid,
			.act = "session"},
		    "revoked");
		lt_session_end(s, LEAT_E_DENIED);
	}
}
