/*
 * groups.c - a hash of names behind a mutex; written as Apache RocketMQ's
 * broker writes it, keys in order.
 */
#include "config.h"
#include "remoting/groups.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"

struct mode {
	SLIST_ENTRY(mode) link;
	struct lt_groups_mode is;
	uint64_t round; /* heard of last */
	char topic[LT_NAME_FIELD];
};

struct group {
	struct lt_groups_config config;
	SLIST_HEAD(, mode) modes;
	size_t pops; /* of them */
	uint64_t round; /* heard of last */
	uint8_t is_retry_seen;
	uint8_t is_held; /* by leat-queue */
};

struct turned {
	STAILQ_ENTRY(turned) link;
	char name[LT_NAME_FIELD];
};

struct lt_groups {
	pthread_mutex_t lock;
	struct lt_hash all; /* lock; and so are the others */
	size_t modes; /* of all groups */
	size_t unheld;
	uint64_t changes;
	int64_t changed_ms; /* since the epoch */
	uint64_t round; /* of hearing */
	STAILQ_HEAD(, turned) turned;
	atomic_size_t forbidden; /* that may not consume; no lock */
};

/* --- the table -------------------------------------------------------------
 */

int
lt_groups_create(struct lt_groups **out)
{
	struct lt_groups *g = lt_mem_alloc(sizeof *g);

	if (g == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&g->lock, NULL);
	lt_hash_init(&g->all);
	STAILQ_INIT(&g->turned);
	g->changed_ms = lt_clock_wall_ms();
	*out = g;
	return LEAT_OK;
}

/* From here on, what is static is called under the lock. */
static void
changed(struct lt_groups *g)
{
	g->changes++;
	g->changed_ms = lt_clock_wall_ms();
}

/* It pops now and did not, or the other way round. */
static void
turn(struct lt_groups *g, const struct group *one)
{
	struct turned *t = lt_mem_alloc(sizeof *t);

	if (t == NULL)
		return; /* its members are told when the next one joins */
	memcpy(t->name, one->config.name, sizeof t->name);
	STAILQ_INSERT_TAIL(&g->turned, t, link);
}

static void
set_config(
    struct lt_groups *g, struct group *one, const struct lt_groups_config *to)
{
	if (one->config.may_consume && !to->may_consume)
		atomic_fetch_add(&g->forbidden, 1);
	else if (!one->config.may_consume && to->may_consume)
		atomic_fetch_sub(&g->forbidden, 1);
	if (memcmp(&one->config, to, sizeof *to) != 0)
		changed(g);
	one->config = *to;
}

static void
set_held(struct lt_groups *g, struct group *one, uint8_t is_held)
{
	g->unheld += (size_t)one->is_held;
	g->unheld -= (size_t)is_held;
	one->is_held = is_held;
}

static struct group *
find(struct lt_groups *g, const char *name)
{
	return lt_hash_get(&g->all, name, strlen(name));
}

/* With the defaults, not held, if it is new. */
static int
get_or_make(struct lt_groups *g, const char *name, struct group **out)
{
	struct lt_groups_config config;
	struct group *one = find(g, name);
	int status;

	*out = one;
	if (one != NULL)
		return LEAT_OK;
	status = lt_grouptext_default(&config, name, strlen(name));
	if (status != LEAT_OK)
		return status;
	if (g->all.used >= LT_GROUPS_MAX)
		return LEAT_E_LIMIT;
	one = lt_mem_alloc(sizeof *one);
	if (one == NULL)
		return LEAT_E_NOMEM;
	one->config = config;
	SLIST_INIT(&one->modes);
	status = lt_hash_put(&g->all, name, strlen(name), one);
	if (status != LEAT_OK) {
		lt_mem_free(one);
		return status;
	}
	g->unheld++;
	changed(g);
	*out = one;
	return LEAT_OK;
}

static void
set_mode(struct lt_groups *g, struct group *one, struct mode *m,
    const struct lt_groups_mode *to)
{
	int did = one->pops > 0;

	one->pops += (size_t)(to->is_pop != 0);
	one->pops -= (size_t)(m->is.is_pop != 0);
	m->is = *to;
	if (did != (one->pops > 0))
		turn(g, one);
}

static struct mode *
find_mode(const struct group *one, const char *topic)
{
	struct mode *m;

	SLIST_FOREACH(m, &one->modes, link)
	if (strcmp(m->topic, topic) == 0)
		return m;
	return NULL;
}

static int
hear_mode(struct lt_groups *g, struct group *one, const char *topic,
    const struct lt_groups_mode *mode)
{
	struct mode *m = find_mode(one, topic);

	if (m == NULL && g->modes >= LT_GROUPS_MODES_MAX)
		return LEAT_E_LIMIT;
	if (m == NULL) {
		m = lt_mem_alloc(sizeof *m);
		if (m == NULL)
			return LEAT_E_NOMEM;
		if (lt_bytes_field(m->topic, sizeof m->topic, topic) != 0) {
			lt_mem_free(m);
			return LEAT_E_NAME;
		}
		SLIST_INSERT_HEAD(&one->modes, m, link);
		g->modes++;
	}
	set_mode(g, one, m, mode);
	m->round = g->round;
	return LEAT_OK;
}

/* Modes that were not heard of in this round; all: every one. */
static void
drop_modes(struct lt_groups *g, struct group *one, int all)
{
	const struct lt_groups_mode none = {0};
	struct mode *m, *next;

	for (m = SLIST_FIRST(&one->modes); m != NULL; m = next) {
		next = SLIST_NEXT(m, link);
		if (!all && m->round == g->round)
			continue;
		set_mode(g, one, m, &none);
		SLIST_REMOVE(&one->modes, m, mode, link);
		g->modes--;
		lt_mem_free(m);
	}
}

static void
drop(struct lt_groups *g, struct group *one)
{
	drop_modes(g, one, 1);
	if (!one->config.may_consume)
		atomic_fetch_sub(&g->forbidden, 1);
	g->unheld -= (size_t)!one->is_held;
	(void)lt_hash_del(&g->all, one->config.name, strlen(one->config.name));
	lt_mem_free(one);
	changed(g);
}

void
lt_groups_destroy(struct lt_groups *g)
{
	struct turned *t;
	struct group *one;
	size_t cursor = 0;

	if (g == NULL)
		return;
	while ((one = lt_hash_next(&g->all, &cursor)) != NULL)
		drop(g, one);
	lt_hash_fini(&g->all);
	while ((t = STAILQ_FIRST(&g->turned)) != NULL) {
		STAILQ_REMOVE_HEAD(&g->turned, link);
		lt_mem_free(t);
	}
	pthread_mutex_destroy(&g->lock);
	lt_mem_free(g);
}

/* --- asked by anybody ------------------------------------------------------
 */

int
lt_groups_get(struct lt_groups *g, struct lt_remoting_text name,
    struct lt_groups_config *out)
{
	const struct group *one;

	pthread_mutex_lock(&g->lock);
	one = lt_hash_get(&g->all, name.p, name.bytes);
	if (one != NULL && out != NULL)
		*out = one->config;
	pthread_mutex_unlock(&g->lock);
	return one != NULL;
}

int
lt_groups_join(struct lt_groups *g, const char *name)
{
	struct group *one;
	int status, is_new;

	pthread_mutex_lock(&g->lock);
	status = get_or_make(g, name, &one);
	is_new =
	    status != LEAT_E_NAME && (status != LEAT_OK || !one->is_retry_seen);
	pthread_mutex_unlock(&g->lock);
	return is_new;
}

void
lt_groups_note(struct lt_groups *g, struct lt_remoting_text name)
{
	struct lt_groups_config config;

	if (!lt_groups_get(g, name, NULL) &&
	    lt_grouptext_default(&config, name.p, name.bytes) == LEAT_OK)
		(void)lt_groups_join(g, config.name);
}

void
lt_groups_retry_seen(struct lt_groups *g, const char *name, int seen)
{
	struct group *one;

	pthread_mutex_lock(&g->lock);
	one = find(g, name);
	if (one != NULL)
		one->is_retry_seen = seen != 0;
	pthread_mutex_unlock(&g->lock);
}

int
lt_groups_may_consume(struct lt_groups *g, struct lt_remoting_text name)
{
	struct lt_groups_config config;

	return LT_LIKELY(atomic_load(&g->forbidden) == 0) ||
	       !lt_groups_get(g, name, &config) || config.may_consume;
}

void
lt_groups_mode(struct lt_groups *g, const char *group, const char *topic,
    struct lt_groups_mode *out)
{
	const struct group *one;
	const struct mode *m;

	*out = (struct lt_groups_mode){0};
	pthread_mutex_lock(&g->lock);
	one = find(g, group);
	m = one == NULL ? NULL : find_mode(one, topic);
	if (m != NULL)
		*out = m->is;
	pthread_mutex_unlock(&g->lock);
}

int
lt_groups_pops(struct lt_groups *g, const char *group)
{
	const struct group *one;
	int pops;

	pthread_mutex_lock(&g->lock);
	one = find(g, group);
	pops = one != NULL && one->pops > 0;
	pthread_mutex_unlock(&g->lock);
	return pops;
}

/* --- written ---------------------------------------------------------------
 */

void
lt_groups_write_all(
    struct lt_groups *g, struct lt_buffer *out, size_t *count_out)
{
	const struct group *one;
	size_t cursor = 0;
	const char *before = "";

	pthread_mutex_lock(&g->lock);
	lt_buffer_format(out,
	    "{\"dataVersion\":{\"counter\":%" PRIu64
	    ",\"stateVersion\":0,\"timestamp\":%" PRId64
	    "},\"forbiddenTable\":{},\"subscriptionGroupTable\":{",
	    g->changes, g->changed_ms);
	while ((one = lt_hash_next(&g->all, &cursor)) != NULL) {
		lt_buffer_text(out, before);
		lt_buffer_quote(
		    out, one->config.name, strlen(one->config.name));
		lt_buffer_text(out, ":");
		lt_grouptext_json(&one->config, out);
		before = ",";
	}
	lt_buffer_text(out, "}}");
	*count_out = g->all.used;
	pthread_mutex_unlock(&g->lock);
}

/* --- heard ------------------------------------------------------------------
 */

int
lt_groups_hear(
    struct lt_groups *g, const char *group, const char *topic, const char *text)
{
	struct lt_groups_config config;
	struct lt_groups_mode mode;
	struct group *one;
	int status;

	pthread_mutex_lock(&g->lock);
	status = get_or_make(g, group, &one);
	if (status == LEAT_OK && topic[0] == '\0') {
		status = lt_grouptext_default(&config, group, strlen(group));
		lt_grouptext_read(text, &config);
		set_config(g, one, &config);
		set_held(g, one, 1);
	} else if (status == LEAT_OK) {
		lt_grouptext_read_mode(text, &mode);
		status = hear_mode(g, one, topic, &mode);
	}
	if (one != NULL)
		one->round = g->round;
	pthread_mutex_unlock(&g->lock);
	return status;
}

void
lt_groups_forget(struct lt_groups *g, struct lt_remoting_text name)
{
	struct group *one;

	pthread_mutex_lock(&g->lock);
	one = lt_hash_get(&g->all, name.p, name.bytes);
	if (one != NULL)
		drop(g, one);
	pthread_mutex_unlock(&g->lock);
}

void
lt_groups_listen(struct lt_groups *g)
{
	pthread_mutex_lock(&g->lock);
	g->round++;
	pthread_mutex_unlock(&g->lock);
}

void
lt_groups_heard(struct lt_groups *g)
{
	struct group *one;
	size_t cursor = 0;

	pthread_mutex_lock(&g->lock);
	while ((one = lt_hash_next(&g->all, &cursor)) != NULL) {
		drop_modes(g, one, 0);
		if (one->is_held && one->round != g->round)
			drop(g, one);
	}
	pthread_mutex_unlock(&g->lock);
}

int
lt_groups_unheld(struct lt_groups *g, char name_out[LT_NAME_FIELD])
{
	const struct group *one;
	size_t cursor = 0;
	int any = 0;

	pthread_mutex_lock(&g->lock);
	while (g->unheld > 0 && !any &&
	       (one = lt_hash_next(&g->all, &cursor)) != NULL)
		if (!one->is_held) {
			memcpy(name_out, one->config.name, LT_NAME_FIELD);
			any = 1;
		}
	pthread_mutex_unlock(&g->lock);
	return any;
}

void
lt_groups_let_be(struct lt_groups *g, const char *name)
{
	struct group *one;

	pthread_mutex_lock(&g->lock);
	one = find(g, name);
	if (one != NULL)
		set_held(g, one, 1);
	pthread_mutex_unlock(&g->lock);
}

int
lt_groups_turned(struct lt_groups *g, char name_out[LT_NAME_FIELD])
{
	struct turned *t;

	pthread_mutex_lock(&g->lock);
	t = STAILQ_FIRST(&g->turned);
	if (t != NULL) {
		STAILQ_REMOVE_HEAD(&g->turned, link);
		memcpy(name_out, t->name, LT_NAME_FIELD);
		lt_mem_free(t);
	}
	pthread_mutex_unlock(&g->lock);
	return t != NULL;
}
