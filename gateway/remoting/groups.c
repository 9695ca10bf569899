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

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "leat/status.h"

struct group {
	struct lt_groups_config config;
	uint8_t is_retry_seen;
};

struct lt_groups {
	pthread_mutex_t lock;
	struct lt_hash all; /* lock */
	uint64_t changes; /* lock */
	int64_t changed_ms; /* lock; since the epoch */
	atomic_size_t forbidden; /* that may not consume */
};

int
lt_groups_create(struct lt_groups **out)
{
	struct lt_groups *g = lt_mem_alloc(sizeof *g);

	if (g == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&g->lock, NULL);
	lt_hash_init(&g->all);
	g->changed_ms = lt_clock_wall_ms();
	*out = g;
	return LEAT_OK;
}

void
lt_groups_destroy(struct lt_groups *g)
{
	struct group *one;
	size_t cursor = 0;

	if (g == NULL)
		return;
	while ((one = lt_hash_next(&g->all, &cursor)) != NULL)
		lt_mem_free(one);
	lt_hash_fini(&g->all);
	pthread_mutex_destroy(&g->lock);
	lt_mem_free(g);
}

int
lt_groups_default(struct lt_groups_config *out, const char *name, size_t bytes)
{
	if (bytes == 0 || bytes >= sizeof out->name)
		return LEAT_E_NAME;
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)name[i] < ' ')
			return LEAT_E_NAME;
	*out = (struct lt_groups_config){.may_consume = 1,
	    .may_broadcast = 1,
	    .from_min = 1,
	    .tells_members = 1,
	    .retry_queues = 1,
	    .retry_max = LT_GROUPS_RETRY_MAX,
	    .timeout_min = 15,
	    .slow_broker = 1};
	memcpy(out->name, name, bytes);
	return LEAT_OK;
}

/* Under the lock. NULL: no room for one more. */
static struct group *
make(struct lt_groups *g, const struct lt_groups_config *config, int *status)
{
	size_t bytes = strlen(config->name);
	struct group *one = lt_hash_get(&g->all, config->name, bytes);

	*status = LEAT_OK;
	if (one != NULL)
		return one;
	*status = LEAT_E_LIMIT;
	if (g->all.used >= LT_GROUPS_MAX)
		return NULL;
	*status = LEAT_E_NOMEM;
	one = lt_mem_alloc(sizeof *one);
	if (one == NULL)
		return NULL;
	one->config = *config;
	*status = lt_hash_put(&g->all, config->name, bytes, one);
	if (*status != LEAT_OK) {
		lt_mem_free(one);
		return NULL;
	}
	if (!config->may_consume)
		atomic_fetch_add(&g->forbidden, 1);
	g->changes++;
	g->changed_ms = lt_clock_wall_ms();
	return one;
}

int
lt_groups_put(struct lt_groups *g, const struct lt_groups_config *config)
{
	struct group *one;
	int status;

	pthread_mutex_lock(&g->lock);
	one = make(g, config, &status);
	if (one != NULL) {
		if (one->config.may_consume && !config->may_consume)
			atomic_fetch_add(&g->forbidden, 1);
		else if (!one->config.may_consume && config->may_consume)
			atomic_fetch_sub(&g->forbidden, 1);
		one->config = *config;
		g->changes++;
		g->changed_ms = lt_clock_wall_ms();
	}
	pthread_mutex_unlock(&g->lock);
	return status;
}

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

void
lt_groups_forget(struct lt_groups *g, struct lt_remoting_text name)
{
	struct group *one;

	pthread_mutex_lock(&g->lock);
	one = lt_hash_del(&g->all, name.p, name.bytes);
	if (one != NULL) {
		if (!one->config.may_consume)
			atomic_fetch_sub(&g->forbidden, 1);
		g->changes++;
		g->changed_ms = lt_clock_wall_ms();
		lt_mem_free(one);
	}
	pthread_mutex_unlock(&g->lock);
}

int
lt_groups_join(struct lt_groups *g, const char *name)
{
	struct lt_groups_config config;
	struct group *one;
	int status, is_new = 0;

	if (lt_groups_default(&config, name, strlen(name)) != LEAT_OK)
		return 0;
	pthread_mutex_lock(&g->lock);
	one = make(g, &config, &status);
	is_new = one == NULL || !one->is_retry_seen;
	pthread_mutex_unlock(&g->lock);
	return is_new;
}

void
lt_groups_note(struct lt_groups *g, struct lt_remoting_text name)
{
	struct lt_groups_config config;

	if (!lt_groups_get(g, name, NULL) &&
	    lt_groups_default(&config, name.p, name.bytes) == LEAT_OK)
		(void)lt_groups_join(g, config.name);
}

void
lt_groups_retry_seen(struct lt_groups *g, const char *name, int seen)
{
	struct group *one;

	pthread_mutex_lock(&g->lock);
	one = lt_hash_get(&g->all, name, strlen(name));
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

/* --- written ---------------------------------------------------------------
 */

static const char *
yes(uint8_t on)
{
	return on ? "true" : "false";
}

void
lt_groups_write_one(const struct lt_groups_config *c, struct lt_buffer *out)
{
	lt_buffer_format(out,
	    "{\"attributes\":{},\"brokerId\":%" PRId64
	    ",\"consumeBroadcastEnable\":%s,\"consumeEnable\":%s,"
	    "\"consumeFromMinEnable\":%s,\"consumeMessageOrderly\":%s,"
	    "\"consumeTimeoutMinute\":%d,\"groupName\":",
	    c->broker_id, yes(c->may_broadcast), yes(c->may_consume),
	    yes(c->from_min), yes(c->is_orderly), c->timeout_min);
	lt_buffer_quote(out, c->name, strlen(c->name));
	lt_buffer_format(out,
	    ",\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},"
	    "\"groupSysFlag\":%d,\"notifyConsumerIdsChangedEnable\":%s,"
	    "\"retryMaxTimes\":%d,\"retryQueueNums\":%d,"
	    "\"whichBrokerWhenConsumeSlowly\":%" PRId64 "}",
	    c->sys_flag, yes(c->tells_members), c->retry_max, c->retry_queues,
	    c->slow_broker);
}

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
		lt_groups_write_one(&one->config, out);
		before = ",";
	}
	lt_buffer_text(out, "}}");
	*count_out = g->all.used;
	pthread_mutex_unlock(&g->lock);
}
