/*
 * grants.c - who may do what: access rules applied to a peer, and the topics a
 * session has opened. The store enforces publish rights by the ids granted to
 * it; reading and managing are checked here at each request.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/mem.h"
#include "proto/name.h"

unsigned
lt_grants_topic(
    struct lt_manager *m, const struct lt_peer *peer, const char *topic)
{
	return lt_options_rights(&m->options, m->uid, peer->uid, peer->gids,
	    peer->gid_count, LT_ACCESS_TOPIC, topic);
}

unsigned
lt_grants_group(
    struct lt_manager *m, const struct lt_peer *peer, const char *group)
{
	return lt_options_rights(&m->options, m->uid, peer->uid, peer->gids,
	    peer->gid_count, LT_ACCESS_GROUP, group);
}

int
lt_grants_read(struct lt_manager *m, const struct lt_peer *peer,
    const struct lt_topic *topic)
{
	unsigned rights = lt_grants_topic(m, peer, topic->name);
	unsigned need = LT_RIGHT_SUBSCRIBE;

	if (topic->system) /* a pattern such as * does not mean these */
		need |= LT_RIGHT_MANAGE;
	if ((rights & need) != need)
		return LEAT_E_DENIED;
	return topic->perm & LEAT_PERM_READ ? LEAT_OK : LEAT_E_PERM;
}

int
lt_grants_may_connect(struct lt_manager *m, const struct lt_peer *peer)
{
	return lt_options_may_connect(
	    &m->options, m->uid, peer->uid, peer->gids, peer->gid_count);
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

/* Subscriptions whose right has gone: the client asks again and is refused. */
static void
review_subs(struct lt_session *s)
{
	struct lt_sub *sub, *next;
	struct lt_topic *t;

	for (sub = LIST_FIRST(&s->subs); sub != NULL; sub = next) {
		next = LIST_NEXT(sub, session_link);
		t = lt_topic_by_id(s->m, sub->topic);
		if (t != NULL && lt_grants_read(s->m, &s->peer, t) == LEAT_OK &&
		    (sub->progress == NULL || (lt_grants_group(s->m, &s->peer,
						   sub->progress->group->name) &
						  LT_RIGHT_SUBSCRIBE)))
			continue;
		lt_subscribe_moved(sub);
		lt_subscribe_end(s->m, sub);
	}
}

void
lt_grants_review(struct lt_manager *m)
{
	struct lt_session *s;
	struct lt_topic *t;
	size_t cursor = 0;

	while ((s = lt_hash_next(&m->sessions, &cursor)) != NULL) {
		if (s->state == LT_SESSION_ENDING)
			continue;
		if (!lt_grants_may_connect(m, &s->peer)) {
			lt_session_end(s, LEAT_E_DENIED);
			continue;
		}
		for (size_t i = 0; i < s->open_count; i++) {
			t = lt_topic_by_id(m, s->opens[i].topic);
			if ((s->opens[i].rights & LT_RIGHT_PUBLISH) &&
			    (t == NULL ||
				!(lt_grants_topic(m, &s->peer, t->name) &
				    LT_RIGHT_PUBLISH)))
				revoke(s, &s->opens[i]);
		}
		review_subs(s);
	}
}
