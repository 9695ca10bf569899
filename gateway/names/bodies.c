/*
 * bodies.c - tables as the JSON that all clients read: keys in quotes, in the
 * order of the alphabet, no white space. The Go client cuts brokerAddrs out of
 * the text by itself: a space, a comma in a value or a missing key break it.
 */
#include "config.h"
#include "names/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

static void
quote(struct lt_buffer *out, const char *text)
{
	lt_buffer_quote(out, text, strlen(text));
}

static void
write_addresses(const struct lt_tables_group *group, const char *ours,
    struct lt_buffer *out)
{
	lt_buffer_text(out, "\"brokerAddrs\":{");
	for (size_t i = 0; group != NULL && i < group->broker_count; i++) {
		const struct lt_tables_broker *b = &group->brokers[i];

		lt_buffer_format(out, "%s\"%lld\":\"%s\"", i == 0 ? "" : ",",
		    (long long)b->id,
		    b->conn == 0 && ours != NULL ? ours : b->address);
	}
	lt_buffer_text(out, "}");
}

static void
write_group(const struct lt_tables_group *group, const char *ours,
    struct lt_buffer *out)
{
	lt_buffer_text(out, "{");
	write_addresses(group, ours, out);
	lt_buffer_text(out, ",\"brokerName\":");
	quote(out, group->name);
	lt_buffer_text(out, ",\"cluster\":");
	quote(out, group->cluster);
	lt_buffer_format(out, ",\"enableActingMaster\":%s",
	    group->acting ? "true" : "false");
	if (group->zone[0] != '\0') {
		lt_buffer_text(out, ",\"zoneName\":");
		quote(out, group->zone);
	}
	lt_buffer_text(out, "}");
}

void
lt_bodies_route(const struct lt_names *names,
    const struct lt_tables_topic *topic, const char *ours,
    struct lt_buffer *out)
{
	static const struct lt_remoting_text space = {
	    LT_TABLES_ORDER, sizeof(LT_TABLES_ORDER) - 1};
	struct lt_remoting_text name = {
	    topic->name, (uint32_t)topic->name_bytes};
	struct lt_remoting_text order = {NULL, 0};

	if (names->order_messages)
		order = lt_tables_get_key(names, space, name);
	lt_buffer_text(out, "{\"brokerDatas\":[");
	for (size_t i = 0; i < topic->queues_count; i++) {
		lt_buffer_text(out, i == 0 ? "" : ",");
		write_group(topic->queues[i].group, ours, out);
	}
	lt_buffer_text(out, "],\"filterServerTable\":{}");
	if (order.p != NULL) {
		lt_buffer_text(out, ",\"orderTopicConf\":");
		lt_buffer_quote(out, order.p, order.bytes);
	}
	lt_buffer_text(out, ",\"queueDatas\":[");
	for (size_t i = 0; i < topic->queues_count; i++) {
		const struct lt_tables_queues *q = &topic->queues[i];
		lt_buffer_text(
		    out, i == 0 ? "{\"brokerName\":" : ",{\"brokerName\":");
		quote(out, q->group->name);
		lt_buffer_format(out,
		    ",\"perm\":%u,\"readQueueNums\":%u,\"topicSysFlag\":%u,"
		    "\"writeQueueNums\":%u}",
		    q->perm, q->read, q->sysflag, q->write);
	}
	lt_buffer_text(out, "]}");
}

void
lt_bodies_members(struct lt_remoting_text cluster,
    struct lt_remoting_text broker, const struct lt_tables_group *group,
    const char *ours, struct lt_buffer *out)
{
	lt_buffer_text(out, "{\"brokerMemberGroup\":{");
	write_addresses(group, ours, out);
	lt_buffer_text(out, ",\"brokerName\":");
	lt_buffer_quote(out, broker.p, broker.bytes);
	lt_buffer_text(out, ",\"cluster\":");
	lt_buffer_quote(out, cluster.p, cluster.bytes);
	lt_buffer_text(out, "}}");
}

/* --- lists in order ------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
	const struct lt_tables_group *x = *(struct lt_tables_group *const *)a;
	const struct lt_tables_group *y = *(struct lt_tables_group *const *)b;

	return strcmp(x->name, y->name);
}

static int
by_cluster(const void *a, const void *b)
{
	const struct lt_tables_group *x = *(struct lt_tables_group *const *)a;
	const struct lt_tables_group *y = *(struct lt_tables_group *const *)b;
	int order = strcmp(x->cluster, y->cluster);

	return order != 0 ? order : strcmp(x->name, y->name);
}

static int
by_topic(const void *a, const void *b)
{
	const struct lt_tables_topic *x = *(struct lt_tables_topic *const *)a;
	const struct lt_tables_topic *y = *(struct lt_tables_topic *const *)b;
	size_t least =
	    x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
	int order = memcmp(x->name, y->name, least);

	return order != 0 ? order
			  : (x->name_bytes > y->name_bytes) -
				(x->name_bytes < y->name_bytes);
}

/* All values of a map, in order; NULL, and `out` has failed, without memory. */
static void *
sorted(const struct lt_hash *map, int (*order)(const void *, const void *),
    struct lt_buffer *out)
{
	void **all = lt_mem_array(map->used + 1, sizeof(void *));
	size_t n = 0, cursor = 0;

	if (all == NULL) {
		out->status = LEAT_E_NOMEM;
		return NULL;
	}
	while ((all[n] = lt_hash_next(map, &cursor)) != NULL)
		n++;
	qsort(all, n, sizeof(void *), order);
	return all;
}

void
lt_bodies_clusters(
    const struct lt_names *names, const char *ours, struct lt_buffer *out)
{
	size_t n = names->groups.used;
	struct lt_tables_group **all = sorted(&names->groups, by_name, out);

	if (all == NULL)
		return;
	lt_buffer_text(out, "{\"brokerAddrTable\":{");
	for (size_t i = 0; i < n; i++) {
		lt_buffer_text(out, i == 0 ? "" : ",");
		quote(out, all[i]->name);
		lt_buffer_text(out, ":");
		write_group(all[i], ours, out);
	}
	lt_buffer_text(out, "},\"clusterAddrTable\":{");
	qsort(all, n, sizeof(*all), by_cluster);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 &&
		    strcmp(all[i - 1]->cluster, all[i]->cluster) == 0) {
			lt_buffer_text(out, ",");
		} else {
			lt_buffer_text(out, i == 0 ? "" : "],");
			quote(out, all[i]->cluster);
			lt_buffer_text(out, ":[");
		}
		quote(out, all[i]->name);
	}
	lt_buffer_text(out, n == 0 ? "}}" : "]}}");
	lt_mem_free(all);
}

void
lt_bodies_topics(const struct lt_names *names,
    int (*wanted)(const struct lt_tables_topic *topic, const void *user),
    const void *user, struct lt_buffer *out)
{
	size_t n = names->topics.used, listed = 0;
	struct lt_tables_topic **all = sorted(&names->topics, by_topic, out);

	if (all == NULL)
		return;
	lt_buffer_text(out, "{\"topicList\":[");
	for (size_t i = 0; i < n; i++) {
		if (wanted != NULL && !wanted(all[i], user))
			continue;
		lt_buffer_text(out, listed++ == 0 ? "" : ",");
		lt_buffer_quote(out, all[i]->name, all[i]->name_bytes);
	}
	lt_buffer_text(out, "]}");
	lt_mem_free(all);
}

void
lt_bodies_system_topics(const struct lt_names *names, struct lt_buffer *out)
{
	size_t n = names->groups.used;
	struct lt_tables_group **all = sorted(&names->groups, by_cluster, out);

	if (all == NULL)
		return;
	lt_buffer_text(out, "{");
	if (n > 0) {
		lt_buffer_text(out, "\"brokerAddr\":");
		quote(out, all[0]->brokers[0].address);
		lt_buffer_text(out, ",");
	}
	lt_buffer_text(out, "\"topicList\":[");
	for (size_t i = 0; i < n; i++) {
		lt_buffer_text(out, i == 0 ? "" : ",");
		if (i == 0 ||
		    strcmp(all[i - 1]->cluster, all[i]->cluster) != 0) {
			quote(out, all[i]->cluster);
			lt_buffer_text(out, ",");
		}
		quote(out, all[i]->name);
	}
	lt_buffer_text(out, "]}");
	lt_mem_free(all);
}
