/*
 * group.c - consumer groups: what each has acknowledged (lt_progress, durable),
 * who is attached, and the live tables in which members claim messages.
 *
 * A table is kept by the supervisor, so claims outlive this process. Owner
 * numbers of a table are never given twice while it lives: the limit up to
 * which they may have been given is kept with it.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "shm/counter.h"

#define OWNER_MAX 65535u
#define OWNER_STEP 256u
#define SERIAL_MASK 0xffffffu

struct table_blob {
	char group[LT_NAME_FIELD];
	char topic[LT_NAME_FIELD];
	uint32_t queue;
	uint32_t uid;
	uint32_t owner_limit;
	uint32_t serial;
	uint32_t seeking; /* its progress may be void by now */
	uint32_t reserved;
};

/* From the queue manager before us, until state is loaded. */
struct lt_kept_table {
	struct lt_kept_table *next;
	uint64_t id;
	int fd;
	struct table_blob blob;
};

/* topic, queue, group, NUL, member */
struct key {
	uint32_t topic;
	uint32_t queue;
	char text[LT_NAME_FIELD + LT_MEMBER_FIELD];
};

static size_t
make_key(struct key *key, const char *group, uint32_t topic, uint32_t queue,
    const char *member)
{
	size_t g = strlen(group) + 1, k = strlen(member);

	LT_ASSERT(g <= LT_NAME_FIELD && k < LT_MEMBER_FIELD);
	key->topic = topic;
	key->queue = queue;
	memcpy(key->text, group, g);
	memcpy(key->text + g, member, k);
	return offsetof(struct key, text) + g + k;
}

int
lt_group_init(struct lt_manager *m)
{
	uint32_t random[2];

	lt_hash_init(&m->groups);
	lt_hash_init(&m->progress_map);
	lt_hash_init(&m->subs);
	lt_hash_init(&m->remotes);
	TAILQ_INIT(&m->share_waiting);
	m->share_at_ms = UINT64_MAX;
	LIST_INIT(&m->claims);
	lt_groupconf_init(m);
	/* Ids a client still has from before a restart mean nothing else now.
	 */
	lt_secret_random(random, sizeof(random));
	m->next_serial = random[0] & SERIAL_MASK;
	m->next_sub = random[1] & SERIAL_MASK;
	m->sweep_next_ms = UINT64_MAX;
	return LEAT_OK;
}

void
lt_group_fini(struct lt_manager *m)
{
	struct lt_kept_table *kept;

	lt_share_fini(m);
	lt_groupconf_fini(m);
	for (size_t i = 0; i < m->progress_count; i++)
		if (m->progress[i] != NULL)
			lt_group_progress_free(m, m->progress[i]);
	while ((kept = m->kept_tables) != NULL) {
		m->kept_tables = kept->next;
		close(kept->fd);
		lt_mem_free(kept);
	}
	lt_mem_free(m->progress);
	m->progress = NULL;
	m->progress_count = m->progress_capacity = 0;
	lt_hash_fini(&m->groups);
	lt_hash_fini(&m->progress_map);
	lt_hash_fini(&m->subs);
}

/* --- groups and their progress ------------------------------------------- */

struct lt_group *
lt_group_find(struct lt_manager *m, const char *name)
{
	return lt_hash_get(&m->groups, name, strlen(name));
}

static struct lt_group *
group_get(struct lt_manager *m, const char *name)
{
	struct lt_group *g = lt_group_find(m, name);

	if (g != NULL)
		return g;
	g = lt_mem_alloc(sizeof(*g));
	if (g == NULL)
		return NULL;
	(void)lt_bytes_field(g->name, sizeof(g->name), name);
	if (lt_hash_put(&m->groups, name, strlen(name), g) != LEAT_OK) {
		lt_mem_free(g);
		return NULL;
	}
	lt_stat_set(queue_groups, m->groups.used);
	return g;
}

static void
group_unref(struct lt_manager *m, struct lt_group *g)
{
	if (--g->progress > 0)
		return;
	(void)lt_hash_del(&m->groups, g->name, strlen(g->name));
	lt_stat_set(queue_groups, m->groups.used);
	lt_mem_free(g);
}

struct lt_progress *
lt_group_progress(struct lt_manager *m, const char *group, uint32_t topic,
    uint32_t queue, const char *member)
{
	struct key key;
	size_t bytes = make_key(&key, group, topic, queue, member);

	return lt_hash_get(&m->progress_map, &key, bytes);
}

/* A free slot of the array, so that cursors of lists stay valid. */
static int
take_slot(struct lt_manager *m, struct lt_progress *p)
{
	if (m->progress_live < m->progress_count)
		for (size_t i = 0; i < m->progress_count; i++)
			if (m->progress[i] == NULL) {
				p->slot = i;
				m->progress[i] = p;
				m->progress_live++;
				return LEAT_OK;
			}
	if (lt_mem_grow((void **)&m->progress, &m->progress_capacity,
		m->progress_count, sizeof(*m->progress)) != LEAT_OK)
		return LEAT_E_NOMEM;
	p->slot = m->progress_count;
	m->progress[m->progress_count++] = p;
	m->progress_live++;
	return LEAT_OK;
}

struct lt_progress *
lt_group_progress_get(struct lt_manager *m, const char *group, uint32_t topic,
    uint32_t queue, const char *member)
{
	struct key key;
	size_t bytes = make_key(&key, group, topic, queue, member);
	struct lt_progress *p = lt_hash_get(&m->progress_map, &key, bytes);
	struct lt_topic *t = lt_topic_by_id(m, topic);

	if (p != NULL || t == NULL)
		return p;
	p = lt_mem_alloc(sizeof(*p));
	if (p == NULL)
		return NULL;
	p->topic_name = lt_mem_strdup(t->name);
	p->group = group_get(m, group);
	if (p->topic_name == NULL || p->group == NULL)
		goto fail;
	p->group->progress++;
	p->topic = topic;
	p->queue = queue;
	p->offset = p->logged = -1;
	(void)lt_bytes_field(p->member, sizeof(p->member), member);
	if (lt_hash_put(&m->progress_map, &key, bytes, p) != LEAT_OK)
		goto fail_group;
	if (take_slot(m, p) == LEAT_OK)
		return p;
	(void)lt_hash_del(&m->progress_map, &key, bytes);
fail_group:
	group_unref(m, p->group);
fail:
	lt_mem_free(p->topic_name);
	lt_mem_free(p);
	return NULL;
}

void
lt_group_progress_free(struct lt_manager *m, struct lt_progress *p)
{
	struct key key;
	size_t bytes =
	    make_key(&key, p->group->name, p->topic, p->queue, p->member);

	LT_ASSERT(p->members == 0);
	if (p->claims != NULL)
		lt_group_claims_free(m, p->claims, 0);
	(void)lt_hash_del(&m->progress_map, &key, bytes);
	m->progress[p->slot] = NULL;
	m->progress_live--;
	group_unref(m, p->group);
	lt_mem_free(p->topic_name);
	lt_mem_free(p);
}

void
lt_group_progress_set(
    struct lt_manager *m, struct lt_progress *p, int64_t offset)
{
	if (p->offset == offset && !p->deleted)
		return;
	p->offset = offset;
	p->deleted = 0;
	p->dirty = 1;
	if (m->flush_at_ms == 0)
		m->flush_at_ms =
		    lt_clock_mono_ms() + m->options.queue_progress_ms;
}

void
lt_group_drop_topic(struct lt_manager *m, uint32_t topic)
{
	for (size_t i = 0; i < m->progress_count; i++) {
		struct lt_progress *p = m->progress[i];

		if (p == NULL || p->topic != topic)
			continue;
		if (p->claims != NULL)
			lt_group_claims_free(m, p->claims, 0);
		p->deleted = 1;
		p->dirty = 1;
	}
	/* At once: a topic of this name may be made again. */
	lt_state_flush(m);
}

/* --- tables -------------------------------------------------------------- */

static void
keep_table(struct lt_manager *m, struct lt_claims *c)
{
	struct table_blob blob;

	memset(&blob, 0, sizeof(blob));
	(void)lt_bytes_field(
	    blob.group, sizeof(blob.group), c->progress->group->name);
	(void)lt_bytes_field(
	    blob.topic, sizeof(blob.topic), c->progress->topic_name);
	blob.queue = c->progress->queue;
	blob.uid = c->uid;
	blob.owner_limit = c->owner_limit;
	blob.serial = c->serial;
	blob.seeking = c->seeking;
	lt_keep_put(m, LT_KEEP_TABLE, c->id, &blob, sizeof(blob), &c->fd, 1);
}

static void
attach_claims(struct lt_manager *m, struct lt_progress *p, struct lt_claims *c)
{
	c->progress = p;
	p->claims = c;
	LIST_INIT(&c->subs);
	LIST_INSERT_HEAD(&m->claims, c, link);
	lt_progress_soon(m, c);
}

static int
claims_new(struct lt_manager *m, struct lt_progress *p, uint32_t uid)
{
	uint64_t window = m->options.queue_group_window;
	struct lt_claims *c = lt_mem_alloc(sizeof(*c));
	struct lt_segment_head head = {.magic = LT_SEGMENT_TABLE,
	    .data_bytes = lt_table_bytes(window),
	    .generation = m->generation,
	    .extra = {(uint64_t)p->offset, window}};
	int status;

	if (c == NULL)
		return LEAT_E_NOMEM;
	while (c->id == 0)
		lt_secret_random(&c->id, sizeof(c->id));
	head.id = c->id;
	status = lt_segment_create(&c->seg, "leat-group", &head, 1, &c->fd);
	if (status != LEAT_OK) {
		lt_mem_free(c);
		return status;
	}
	lt_table_format(&c->seg, p->offset, window);
	status = lt_segment_seal(c->fd, 0);
	if (status == LEAT_OK)
		status = lt_table_init(&c->table, &c->seg);
	if (status != LEAT_OK) {
		lt_segment_detach(&c->seg);
		close(c->fd);
		lt_mem_free(c);
		return status;
	}
	c->uid = uid;
	c->serial = m->next_serial++ & SERIAL_MASK;
	c->next_owner = 1;
	c->owner_limit = OWNER_STEP;
	attach_claims(m, p, c);
	keep_table(m, c);
	return LEAT_OK;
}

void
lt_group_claims_close(struct lt_claims *c, uint32_t why)
{
	uint32_t open = LT_TABLE_OPEN;

	/* release: members look at it last; what was said first counts */
	(void)atomic_compare_exchange_strong_explicit(&c->table.shared->closed,
	    &open, why, memory_order_release, memory_order_relaxed);
}

void
lt_group_claims_free(struct lt_manager *m, struct lt_claims *c, int keep)
{
	struct lt_sub *sub;

	while ((sub = LIST_FIRST(&c->subs)) != NULL) {
		LIST_REMOVE(sub, claims_link);
		sub->claims = NULL;
	}
	if (!keep) {
		/* Also for a member that we lost sight of. */
		lt_group_claims_close(c, LT_TABLE_DROPPED);
		lt_keep_drop(m, LT_KEEP_TABLE, c->id);
	}
	c->progress->claims = NULL;
	LIST_REMOVE(c, link);
	lt_segment_detach(&c->seg);
	close(c->fd);
	lt_loop_free_later(m, c);
}

static int
owner_in_use(const struct lt_claims *c, uint32_t owner)
{
	const struct lt_sub *sub;

	LIST_FOREACH(sub, &c->subs, claims_link)
	if (sub->owner == owner)
		return 1;
	return 0;
}

static uint32_t
new_owner(struct lt_manager *m, struct lt_claims *c)
{
	uint32_t owner;

	do {
		owner = c->next_owner;
		c->next_owner = owner == OWNER_MAX ? 1 : owner + 1;
		if (c->next_owner == 1) /* round: stale ones are long expired */
			c->owner_limit = 1;
	} while (owner_in_use(c, owner));
	if (c->next_owner >= c->owner_limit) {
		c->owner_limit = c->next_owner + OWNER_STEP;
		keep_table(m, c);
	}
	return owner;
}

static int
is_everybody(const struct lt_manager *m, uint32_t uid)
{
	return uid == 0 || uid == m->uid;
}

int
lt_group_join(struct lt_manager *m, struct lt_sub *sub, uint32_t want)
{
	struct lt_progress *p = sub->progress;
	uint32_t uid = sub->session->peer.uid;
	struct lt_claims *c = p->claims;
	int status;

	/* Members write into the same table: they must trust each other. */
	if (c != NULL && c->uid != uid && !is_everybody(m, uid)) {
		if (is_everybody(m, c->uid)) {
			c->uid = uid;
			keep_table(m, c);
		} else if (c->sub_count > 0)
			return LEAT_E_DENIED;
		else {
			(void)lt_progress_sweep(m, c, 0);
			lt_group_claims_free(m, c, 0);
			c = NULL;
		}
	}
	if (c == NULL) {
		status = claims_new(m, p, uid);
		if (status != LEAT_OK)
			return status;
		c = p->claims;
		want = 0;
	}
	if (c->sub_count >= OWNER_MAX / 2)
		return LEAT_E_LIMIT;
	sub->claims = c;
	sub->owner = want != 0 && want <= OWNER_MAX && !owner_in_use(c, want)
			 ? want
			 : new_owner(m, c);
	LIST_INSERT_HEAD(&c->subs, sub, claims_link);
	c->sub_count++;
	c->rest_since_ms = 0;
	lt_progress_soon(m, c);
	return LEAT_OK;
}

void
lt_group_leave(struct lt_manager *m, struct lt_sub *sub, int keep_claims)
{
	struct lt_claims *c = sub->claims;

	if (c == NULL)
		return;
	LIST_REMOVE(sub, claims_link);
	sub->claims = NULL;
	c->sub_count--;
	if (keep_claims)
		return;
	(void)lt_progress_sweep(m, c, (uint16_t)sub->owner);
	if (c->sub_count > 0)
		return;
	/* The table goes (look in progress.c) when the log knows what it
	 * says, not before: this process may die in between. */
	c->rest_since_ms = lt_clock_mono_ms();
	lt_progress_soon(m, c);
	lt_state_flush(m);
}

void
lt_group_seeking(struct lt_manager *m, struct lt_progress *p, int on)
{
	if (p == NULL || p->claims == NULL)
		return;
	p->claims->seeking = (uint32_t)on;
	keep_table(m, p->claims);
}

void
lt_group_move(struct lt_manager *m, struct lt_progress *p, int64_t offset)
{
	struct lt_claims *c = p->claims;
	struct lt_sub *sub, *next;

	lt_group_progress_set(m, p, offset);
	if (c == NULL)
		return;
	for (sub = LIST_FIRST(&c->subs); sub != NULL; sub = next) {
		next = LIST_NEXT(sub, claims_link);
		lt_subscribe_moved(sub);
		lt_storelink_wake(m, sub->session->id);
	}
	/* Whoever comes back first gets a new one made. */
	lt_group_claims_free(m, c, 0);
}

/* --- from the queue manager before us ------------------------------------ */

void
lt_group_kept(struct lt_manager *m, uint64_t id, const uint8_t *blob,
    size_t blob_bytes, int fd)
{
	struct lt_kept_table *kept = lt_mem_alloc(sizeof(*kept));

	if (kept == NULL || blob_bytes != sizeof(kept->blob)) {
		lt_mem_free(kept);
		close(fd);
		return;
	}
	memcpy(&kept->blob, blob, sizeof(kept->blob));
	kept->id = id;
	kept->fd = fd;
	kept->next = m->kept_tables;
	m->kept_tables = kept;
}

void
lt_group_adopt_ask(struct lt_manager *m)
{
	struct lt_kept_table *kept;
	struct lt_topic *t;

	for (kept = m->kept_tables; kept != NULL; kept = kept->next) {
		t = lt_topic_find(m, kept->blob.topic);
		if (t == NULL)
			continue;
		m->pending++;
		lt_storelink_sync(m, t->id, kept->blob.queue, t->name, NULL);
	}
}

static int
adopt_one(struct lt_manager *m, const struct lt_kept_table *kept)
{
	const struct table_blob *b = &kept->blob;
	struct lt_topic *t = lt_topic_find(m, b->topic);
	struct lt_claims *c;
	struct lt_progress *p;
	struct lt_qref *q;
	int64_t shown, max;
	int status;

	if (t == NULL)
		return LEAT_E_NOTFOUND;
	if (b->seeking)
		return LEAT_E_AGAIN;
	q = lt_ringset_get(m, t->id, b->queue);
	p = lt_group_progress_get(m, b->group, t->id, b->queue, "");
	c = lt_mem_alloc(sizeof(*c));
	if (q == NULL || p == NULL || c == NULL || p->claims != NULL) {
		lt_mem_free(c);
		return LEAT_E_NOMEM;
	}
	max = lt_ringset_max(q);
	status = lt_segment_attach(&c->seg, kept->fd, LT_SEGMENT_TABLE, 1, 1);
	if (status == LEAT_OK)
		status = lt_table_init(&c->table, &c->seg);
	if (status == LEAT_OK && p->offset < 0)
		lt_group_progress_set(m, p, c->table.first);
	if (status == LEAT_OK) {
		/* Members could write there: believed only within bounds. */
		shown = atomic_load_explicit(
		    &c->table.shared->progress, memory_order_acquire);
		if (shown > p->offset && shown <= max)
			lt_group_progress_set(m, p, shown);
		status = lt_table_valid(&c->table, p->offset);
	}
	if (status != LEAT_OK) {
		lt_segment_detach(&c->seg);
		lt_mem_free(c);
		return status;
	}
	c->id = kept->id;
	c->fd = kept->fd;
	c->uid = b->uid;
	c->serial = b->serial & SERIAL_MASK;
	c->next_owner = b->owner_limit > OWNER_MAX || b->owner_limit < 1
			    ? 1
			    : b->owner_limit;
	c->owner_limit = c->next_owner; /* the next one given is kept first */
	c->rest_since_ms = lt_clock_mono_ms();
	c->orphans_at_ms = c->rest_since_ms + m->options.queue_session_grace_ms;
	/* It was being left to a remote member (share.c). */
	if (atomic_load_explicit(
		&c->table.shared->closed, memory_order_acquire) != 0)
		c->leave_at_ms = c->rest_since_ms + LT_SHARE_LEAVE_MS;
	p->mode = LEAT_CLUSTERING;
	attach_claims(m, p, c);
	return LEAT_OK;
}

void
lt_group_adopt(struct lt_manager *m)
{
	struct lt_kept_table *kept;

	while ((kept = m->kept_tables) != NULL) {
		int status = adopt_one(m, kept);

		m->kept_tables = kept->next;
		if (status != LEAT_OK) {
			lt_log_warn("table-dropped",
			    "group=%s topic=%s queue=%u status=\"%s\"",
			    kept->blob.group, kept->blob.topic,
			    kept->blob.queue, leat_status_text(status));
			lt_keep_drop(m, LT_KEEP_TABLE, kept->id);
			close(kept->fd);
		}
		lt_mem_free(kept);
	}
}
