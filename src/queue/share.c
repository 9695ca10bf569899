/*
 * share.c - groups that have remote members: who has which queue. RocketMQ's
 * clients share a topic queue by queue, each computing its part from the sorted
 * ids of all members; here the same is computed for the local ones.
 *
 *   remote ids ──► lt_remotes ──► place of each member ──► owner of each queue
 *   subscriptions ──────┘
 *
 * A subscription of a queue that is not its member's is idle: it has no table.
 * When shares change, subscriptions that gain or lose are told to ask again.
 * A loss counts at once; a gain a second later, so that the one who had the
 * queue can say how far it came. The table of a queue that no local member has
 * is closed: nobody claims there any more, what is claimed may be finished,
 * then it goes. So an open table with members means that the queue is local,
 * and commits of remote members count where there is none.
 */
#include "config.h"
#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/name.h"
#include "shm/counter.h"

#define NOT_UP_MS 100 /* the store is away: look again */

size_t
lt_share_owner(size_t queues, size_t members, size_t queue)
{
	size_t each = queues / members, rest = queues % members;

	/* The first `rest` members have one more than the others. */
	if (queue < rest * (each + 1))
		return queue / (each + 1);
	return rest + (queue - rest * (each + 1)) / each;
}

struct lt_remotes *
lt_share_find(struct lt_manager *m, const char *group)
{
	return lt_hash_get(&m->remotes, group, strlen(group));
}

static void
wake_at(struct lt_manager *m, uint64_t at_ms)
{
	if (at_ms < m->share_at_ms)
		m->share_at_ms = at_ms;
}

static void
drop(struct lt_manager *m, struct lt_remotes *r)
{
	(void)lt_hash_del(&m->remotes, r->group, strlen(r->group));
	lt_mem_free(r->text);
	lt_mem_free(r->ids);
	lt_mem_free(r->locals);
	lt_mem_free(r);
}

void
lt_share_fini(struct lt_manager *m)
{
	struct lt_remotes *r;
	size_t cursor = 0;

	while ((r = lt_hash_next(&m->remotes, &cursor)) != NULL)
		drop(m, r);
	lt_hash_fini(&m->remotes);
	lt_mem_free(m->telling);
	m->telling = NULL;
}

/* --- local members -------------------------------------------------------- */

/* As clients of RocketMQ call themselves: host@process#instance. */
static void
fill_id(const struct lt_manager *m, struct lt_local *local,
    const struct lt_session *s)
{
	local->session = s->id;
	(void)snprintf(local->id, sizeof(local->id), "%s@%u#leat-%016llx",
	    m->host, s->peer.pid, (unsigned long long)s->id);
}

static int
by_session(const void *a, const void *b)
{
	const struct lt_local *x = a, *y = b;

	return (x->session > y->session) - (x->session < y->session);
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(
	    ((const struct lt_local *)a)->id, ((const struct lt_local *)b)->id);
}

struct lt_local *
lt_share_locals(struct lt_manager *m, const char *group, size_t *count_out)
{
	const struct lt_group *g = lt_group_find(m, group);
	const struct lt_session *last = NULL;
	struct lt_local *locals;
	struct lt_sub *sub;
	size_t n = 0, kept = 0;

	*count_out = 0;
	if (g == NULL || g->members == 0)
		return NULL;
	locals = lt_mem_array(g->members, sizeof(*locals));
	if (locals == NULL)
		lt_manager_fatal("out of memory");
	LIST_FOREACH(sub, &g->subs, group_link)
	if (sub->mode == LEAT_CLUSTERING && sub->session != last &&
	    sub->session->state != LT_SESSION_ENDING) {
		last = sub->session; /* its queues mostly lie together */
		fill_id(m, &locals[n++], last);
	}
	qsort(locals, n, sizeof(*locals), by_session);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || locals[i].session != locals[kept - 1].session)
			locals[kept++] = locals[i];
	qsort(locals, kept, sizeof(*locals), by_id);
	*count_out = kept;
	return locals;
}

/* Look again who is there: 1 if that changed. */
static int
refresh_locals(struct lt_manager *m, struct lt_remotes *r)
{
	size_t n, at = 0;
	struct lt_local *locals = lt_share_locals(m, r->group, &n);
	int changed = n != r->local_count;

	for (size_t i = 0; i < n; i++) {
		while (at < r->count && strcmp(r->ids[at], locals[i].id) < 0)
			at++;
		locals[i].place = at + i;
		changed |= i < r->local_count &&
			   strcmp(locals[i].id, r->locals[i].id) != 0;
	}
	lt_mem_free(r->locals);
	r->locals = locals;
	r->local_count = n;
	return changed;
}

/* The local member that has the queue; NULL: a remote one. */
static const struct lt_local *
owner_of(const struct lt_remotes *r, const struct lt_topic *t, uint32_t queue)
{
	size_t place;

	if (queue >= t->read_queues)
		return NULL;
	place =
	    lt_share_owner(t->read_queues, r->count + r->local_count, queue);
	for (size_t i = 0; i < r->local_count; i++)
		if (r->locals[i].place == place)
			return &r->locals[i];
	return NULL;
}

static void
tell_speaker(struct lt_manager *m, const struct lt_remotes *r)
{
	struct lt_session *s = lt_session_find(m, r->session);
	struct lt_wire_name ev;

	if (s == NULL || s->conn == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	lt_wire_init(&ev.h, LT_OP_EV_LOCALS, sizeof(ev), 0, 0);
	(void)lt_bytes_field(ev.name, sizeof(ev.name), r->group);
	lt_admit_event(s->conn, &ev, sizeof(ev), NULL, 0);
	lt_storelink_wake(m, s->id);
}

/* --- tables of queues that go --------------------------------------------- */

static void
close_table(struct lt_manager *m, struct lt_claims *c)
{
	lt_group_claims_close(c, LT_TABLE_LEFT);
	c->leave_at_ms = lt_clock_mono_ms() + LT_SHARE_LEAVE_MS;
	lt_progress_soon(m, c);
}

int
lt_share_left(struct lt_manager *m, struct lt_claims *c, uint64_t now_ms)
{
	(void)lt_progress_sweep(m, c, 0);
	if (c->claimed > 0 && now_ms < c->leave_at_ms)
		return 0;
	lt_group_claims_free(m, c, 0);
	lt_job_wake(&m->share_waiting);
	return 1;
}

void
lt_share_wait(struct lt_job *job, const struct lt_claims *c)
{
	lt_job_wait(job, &job->m->share_waiting);
	wake_at(job->m, c->leave_at_ms); /* it may go in other ways */
}

int
lt_share_is_local(const struct lt_claims *c)
{
	if (c->leave_at_ms != 0)
		return c->claimed > 0;
	return c->sub_count > 0 || c->orphans_at_ms != 0;
}

uint32_t
lt_share_members(struct lt_manager *m, const struct lt_progress *p)
{
	const struct lt_remotes *r = lt_share_find(m, p->group->name);
	const struct lt_sub *sub;
	uint32_t n = 0;

	if (r == NULL || p->mode != LEAT_CLUSTERING)
		return p->members;
	if (p->claims != NULL && p->claims->leave_at_ms == 0)
		LIST_FOREACH(sub, &p->claims->subs, claims_link)
	n += !sub->is_idle;
	return n > 0 ? n : 1; /* a remote one's */
}

/* --- what changes for whom ------------------------------------------------ */

static void
tell_member(struct lt_manager *m, struct lt_sub *sub)
{
	if (sub->is_told)
		return;
	sub->is_told = 1; /* it comes back as another subscription */
	lt_subscribe_moved(sub);
	lt_storelink_wake(m, sub->session->id);
}

/* r NULL: the group has no remote member any more. */
static void
review_sub(struct lt_manager *m, const struct lt_remotes *r, struct lt_sub *sub)
{
	struct lt_topic *t = lt_topic_by_id(m, sub->topic);
	struct lt_claims *c = sub->progress->claims;
	const struct lt_local *owner = NULL;
	int is_mine = r == NULL;

	if (sub->mode != LEAT_CLUSTERING || t == NULL)
		return;
	if (r != NULL) {
		owner = owner_of(r, t, sub->queue);
		is_mine = owner != NULL && owner->session == sub->session->id;
	}
	if (c != NULL && c->leave_at_ms == 0 && r != NULL && owner == NULL)
		close_table(m, c);
	if (is_mine != !sub->is_idle &&
	    (!is_mine || r == NULL || r->gain_at_ms == 0))
		tell_member(m, sub);
}

static void
review(struct lt_manager *m, const char *group, const struct lt_remotes *r)
{
	struct lt_group *g = lt_group_find(m, group);
	struct lt_sub *sub, *next;

	/* Whoever does not read is closed, but stays subscribed meanwhile. */
	for (sub = g == NULL ? NULL : LIST_FIRST(&g->subs); sub != NULL;
	     sub = next) {
		next = LIST_NEXT(sub, group_link);
		review_sub(m, r, sub);
	}
}

static void
forget(struct lt_manager *m, struct lt_remotes *r)
{
	char group[LT_NAME_FIELD];

	memcpy(group, r->group, sizeof(group));
	lt_log_info("remote-members-gone", "group=%s", group);
	drop(m, r);
	if (m->share_from_ms == 0)
		review(m, group, NULL);
}

/* Idle ones whose group has no remote member: they came back so. */
static void
review_all(struct lt_manager *m)
{
	struct lt_remotes *r;
	struct lt_sub *sub;
	size_t cursor = 0;

	while ((sub = lt_hash_next(&m->subs, &cursor)) != NULL)
		if (sub->is_idle &&
		    lt_share_find(m, sub->progress->group->name) == NULL)
			review_sub(m, NULL, sub);
	cursor = 0;
	while ((r = lt_hash_next(&m->remotes, &cursor)) != NULL) {
		r->is_dirty = 1;
		(void)refresh_locals(m, r);
		tell_speaker(m, r);
	}
}

static void
look_at(struct lt_manager *m, struct lt_remotes *r, uint64_t now_ms)
{
	uint64_t grace_ms = m->options.queue_session_grace_ms;

	if (r->gone_ms != 0 && now_ms - r->gone_ms >= grace_ms) {
		forget(m, r);
		return;
	}
	if (r->gone_ms != 0)
		wake_at(m, r->gone_ms + grace_ms);
	if (r->gain_at_ms != 0 && now_ms >= r->gain_at_ms) {
		r->gain_at_ms = 0;
		r->is_dirty = 1;
	}
	if (r->is_dirty) {
		r->is_dirty = 0;
		if (refresh_locals(m, r)) {
			tell_speaker(m, r);
			if (r->gain_at_ms == 0)
				r->gain_at_ms = now_ms + LT_SHARE_GAIN_MS;
		}
		review(m, r->group, r);
	}
	if (r->gain_at_ms != 0)
		wake_at(m, r->gain_at_ms);
}

void
lt_share_timer(struct lt_manager *m, uint64_t now_ms)
{
	struct lt_remotes *r;
	size_t cursor = 0;

	m->share_at_ms = UINT64_MAX;
	if (m->phase != LT_PHASE_UP) {
		wake_at(m, now_ms + NOT_UP_MS);
		return;
	}
	lt_job_wake(&m->share_waiting);
	if (now_ms < m->share_from_ms) {
		wake_at(m, m->share_from_ms);
		return;
	}
	if (m->share_from_ms != 0) {
		m->share_from_ms = 0;
		review_all(m);
	}
	while ((r = lt_hash_next(&m->remotes, &cursor)) != NULL)
		look_at(m, r, now_ms);
}

static void
touch(struct lt_manager *m, struct lt_remotes *r)
{
	r->is_dirty = 1;
	wake_at(m, lt_clock_mono_ms());
}

void
lt_share_touch(struct lt_manager *m, const struct lt_sub *sub)
{
	struct lt_remotes *r = lt_share_find(m, sub->progress->group->name);

	if (r != NULL)
		touch(m, r);
}

void
lt_share_topics_changed(struct lt_manager *m)
{
	struct lt_remotes *r;
	size_t cursor = 0;

	while ((r = lt_hash_next(&m->remotes, &cursor)) != NULL)
		touch(m, r);
}

void
lt_share_session_end(struct lt_manager *m, struct lt_session *s, int why)
{
	struct lt_remotes *r;
	size_t cursor = 0;

	while ((r = lt_hash_next(&m->remotes, &cursor)) != NULL) {
		if (r->session != s->id)
			continue;
		/* Its successor will say whom it still has. */
		r->gone_ms = lt_clock_mono_ms();
		if (why == LEAT_OK)
			forget(m, r);
		else
			touch(m, r);
	}
}

/* --- what the gateway says ------------------------------------------------ */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
is_same(const struct lt_remotes *r, const char **ids, size_t n)
{
	if (r->count != n)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (strcmp(r->ids[i], ids[i]) != 0)
			return 0;
	return 1;
}

static const char **
sort_ids(const char *text, size_t count, size_t *kept_out)
{
	const char **ids = lt_mem_array(count, sizeof(*ids));
	size_t kept = 0;

	if (ids == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++, text += strlen(text) + 1)
		ids[i] = text;
	qsort(ids, count, sizeof(*ids), by_text);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || strcmp(ids[i], ids[kept - 1]) != 0)
			ids[kept++] = ids[i];
	*kept_out = kept;
	return ids;
}

int
lt_share_told(struct lt_manager *m, struct lt_session *s, const char *group,
    char *text, size_t count)
{
	struct lt_remotes *r = lt_share_find(m, group);
	const char **ids = NULL;
	size_t n = 0;

	if (count > 0)
		ids = sort_ids(text, count, &n);
	if (count > 0 && ids != NULL && r == NULL) {
		r = lt_mem_alloc(sizeof(*r));
		if (r != NULL && lt_hash_put(&m->remotes, group, strlen(group),
				     r) != LEAT_OK) {
			lt_mem_free(r);
			r = NULL;
		}
		if (r != NULL) {
			(void)lt_bytes_field(r->group, sizeof(r->group), group);
			lt_log_info("remote-members", "group=%s", group);
		}
	}
	if (count == 0 || ids == NULL || r == NULL) {
		lt_mem_free(text);
		lt_mem_free(ids);
		if (count == 0 && r != NULL)
			forget(m, r);
		return count == 0 ? LEAT_OK : LEAT_E_NOMEM;
	}
	r->session = s->id;
	r->gone_ms = 0;
	if (!is_same(r, ids, n)) {
		if (r->gain_at_ms == 0)
			r->gain_at_ms = lt_clock_mono_ms() + LT_SHARE_GAIN_MS;
		touch(m, r);
	}
	lt_mem_free(r->text);
	lt_mem_free(r->ids);
	r->text = text;
	r->ids = ids;
	r->count = n;
	return LEAT_OK;
}

/* --- subscribing ---------------------------------------------------------- */

int
lt_share_grants(struct lt_manager *m, struct lt_session *s,
    const struct lt_wire_subscribe *req, const struct lt_topic *topic,
    const struct lt_sub *old)
{
	struct lt_remotes *r;
	const struct lt_local *owner;

	if (req->group[0] == 0 || req->mode != LEAT_CLUSTERING)
		return 1;
	r = lt_share_find(m, req->group);
	if (m->share_from_ms != 0) /* everybody as it was */
		return req->resume == 0 ? r == NULL : req->resume == 1;
	if (r == NULL)
		return 1;
	/* Whoever is new to the group gets nothing before it is known. */
	owner = r->is_dirty ? NULL : owner_of(r, topic, req->queue);
	if (r->is_dirty && old != NULL && old->is_told == 0)
		return !old->is_idle;
	return owner != NULL && owner->session == s->id &&
	       (r->gain_at_ms == 0 || (old != NULL && !old->is_idle));
}

void
lt_share_start(struct lt_manager *m)
{
	struct utsname name;

	(void)lt_bytes_field(m->host, sizeof(m->host), "localhost");
	if (uname(&name) == 0 && name.nodename[0] != 0)
		(void)snprintf(m->host, sizeof(m->host), "%.*s",
		    (int)sizeof(m->host) - 1, name.nodename);
	for (char *c = m->host; *c != 0; c++)
		if (*c <= ' ' || *c > '~' || *c == '@' || *c == '#')
			*c = '-';
	if (m->generation > 1) {
		m->share_from_ms =
		    lt_clock_mono_ms() + m->options.queue_session_grace_ms;
		wake_at(m, m->share_from_ms);
	}
}
