/*
 * routes.c - brokers and topics: found, set, dropped. What may be registered
 * is judged in names.c.
 */
#include "config.h"
#include "names/tables.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

#define SLOT_BYTES 64 /* of a hash table, about */

int
lt_tables_legal(struct lt_remoting_text name)
{
	if (name.p == NULL || name.bytes == 0 || name.bytes >= LT_TABLES_NAME)
		return 0;
	for (uint32_t i = 0; i < name.bytes; i++)
		if ((uint8_t)name.p[i] <= ' ' || name.p[i] == 0x7f)
			return 0;
	return 1;
}

int
lt_tables_charge(struct lt_names *names, size_t bytes)
{
	if (bytes > names->limits.bytes_max - names->bytes)
		return LEAT_E_LIMIT;
	names->bytes += bytes;
	return LEAT_OK;
}

int
lt_tables_extend(
    struct lt_names *names, void **items, size_t count, size_t item_bytes)
{
	int rc = lt_tables_charge(names, item_bytes);

	if (rc != LEAT_OK)
		return rc;
	void *p = lt_mem_resize(*items, (count + 1) * item_bytes);
	if (p == NULL) {
		names->bytes -= item_bytes;
		return LEAT_E_NOMEM;
	}
	*items = p;
	return LEAT_OK;
}

/* --- finding -------------------------------------------------------------- */

struct lt_tables_group *
lt_tables_find_group(const struct lt_names *names, struct lt_remoting_text name)
{
	return name.p == NULL ? NULL
			      : lt_hash_get(&names->groups, name.p, name.bytes);
}

struct lt_tables_topic *
lt_tables_find_topic(const struct lt_names *names, struct lt_remoting_text name)
{
	return name.p == NULL ? NULL
			      : lt_hash_get(&names->topics, name.p, name.bytes);
}

struct lt_tables_broker *
lt_tables_find_broker(
    const struct lt_tables_group *group, struct lt_remoting_text address)
{
	for (size_t i = 0; address.p != NULL && i < group->broker_count; i++) {
		struct lt_tables_broker *b = &group->brokers[i];
		if (strlen(b->address) == address.bytes &&
		    memcmp(b->address, address.p, address.bytes) == 0)
			return b;
	}
	return NULL;
}

struct lt_tables_broker *
lt_tables_master(const struct lt_tables_group *group)
{
	return group->brokers[0].id == 0 ? &group->brokers[0] : NULL;
}

struct lt_tables_queues *
lt_tables_find_queues(
    const struct lt_tables_topic *topic, const struct lt_tables_group *group)
{
	for (size_t i = 0; i < topic->queues_count; i++)
		if (topic->queues[i].group == group)
			return &topic->queues[i];
	return NULL;
}

/* --- topics --------------------------------------------------------------- */

size_t
lt_tables_topic_bytes(size_t name_bytes)
{
	return sizeof(struct lt_tables_topic) + 2 * name_bytes + SLOT_BYTES;
}

static void
free_topic(struct lt_names *names, struct lt_tables_topic *t)
{
	lt_hash_del(&names->topics, t->name, t->name_bytes);
	names->bytes -= lt_tables_topic_bytes(t->name_bytes) +
			t->queues_count * sizeof(*t->queues);
	lt_mem_free(t->queues);
	lt_mem_free(t);
}

static int
make_topic(struct lt_names *names, struct lt_remoting_text name,
    struct lt_tables_topic **out)
{
	struct lt_tables_topic *t;

	if (names->topics.used >= names->limits.topics_max)
		return LEAT_E_LIMIT;
	t = lt_mem_alloc(sizeof(*t) + name.bytes);
	if (t == NULL)
		return LEAT_E_NOMEM;
	t->name_bytes = name.bytes;
	memcpy(t->name, name.p, name.bytes);
	int rc = lt_tables_charge(names, lt_tables_topic_bytes(t->name_bytes));
	if (rc == LEAT_OK) {
		rc = lt_hash_put(&names->topics, name.p, name.bytes, t);
		if (rc == LEAT_OK) {
			*out = t;
			return LEAT_OK;
		}
		names->bytes -= lt_tables_topic_bytes(t->name_bytes);
	}
	lt_mem_free(t);
	return rc;
}

static int
make_queues(struct lt_names *names, struct lt_tables_topic *t,
    struct lt_tables_group *group, struct lt_tables_queues **out)
{
	size_t at = 0;
	int rc = lt_tables_extend(
	    names, (void **)&t->queues, t->queues_count, sizeof(*t->queues));

	if (rc != LEAT_OK)
		return rc;
	while (at < t->queues_count &&
	       strcmp(t->queues[at].group->name, group->name) < 0)
		at++;
	memmove(&t->queues[at + 1], &t->queues[at],
	    (t->queues_count - at) * sizeof(*t->queues));
	t->queues_count++;
	t->queues[at].group = group;
	*out = &t->queues[at];
	return LEAT_OK;
}

int
lt_tables_set_queues(struct lt_names *names, struct lt_tables_group *group,
    const struct lt_topic_queues *queues)
{
	struct lt_tables_topic *t = lt_tables_find_topic(names, queues->topic);
	struct lt_tables_queues *q =
	    t == NULL ? NULL : lt_tables_find_queues(t, group);
	int rc = LEAT_OK;

	if (t == NULL)
		rc = make_topic(names, queues->topic, &t);
	if (rc == LEAT_OK && q == NULL)
		rc = make_queues(names, t, group, &q);
	if (rc == LEAT_OK) {
		q->read = queues->read;
		q->write = queues->write;
		q->perm = queues->perm;
		q->sysflag = queues->sysflag;
		q->round = group->round;
	} else if (t != NULL && t->queues_count == 0) {
		free_topic(names, t);
	}
	return rc;
}

void
lt_tables_drop_topic(struct lt_names *names, struct lt_tables_topic *t,
    const struct lt_tables_group *group)
{
	for (size_t i = 0; group != NULL && i < t->queues_count; i++) {
		if (t->queues[i].group != group)
			continue;
		if (t->queues_count == 1)
			break;
		t->queues_count--;
		names->bytes -= sizeof(*t->queues);
		memmove(&t->queues[i], &t->queues[i + 1],
		    (t->queues_count - i) * sizeof(*t->queues));
		return;
	}
	if (group == NULL || t->queues[0].group == group)
		free_topic(names, t);
}

uint32_t
lt_tables_set_perm(struct lt_names *names, const struct lt_tables_group *group,
    uint32_t clear, uint32_t set)
{
	struct lt_tables_topic *t;
	size_t cursor = 0;
	uint32_t n = 0;

	while ((t = lt_hash_next(&names->topics, &cursor)) != NULL) {
		struct lt_tables_queues *q = lt_tables_find_queues(t, group);
		if (q == NULL)
			continue;
		q->perm = (q->perm & ~clear) | set;
		n++;
	}
	return n;
}

/* --- brokers -------------------------------------------------------------- */

void
lt_tables_free_group(struct lt_names *names, struct lt_tables_group *group)
{
	struct lt_tables_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&names->topics, &cursor)) != NULL)
		lt_tables_drop_topic(names, t, group);
	lt_hash_del(&names->groups, group->name, strlen(group->name));
	names->bytes -= sizeof(*group);
	lt_mem_free(group->brokers);
	lt_mem_free(group);
}

void
lt_tables_drop_broker(struct lt_names *names, struct lt_tables_group *group,
    size_t i, struct lt_buffer *gone)
{
	const struct lt_tables_broker *b = &group->brokers[i];

	if (gone != NULL)
		lt_buffer_format(gone, "%s %lld %s\n", group->name,
		    (long long)b->id, b->address);
	group->broker_count--;
	names->broker_count--;
	names->bytes -= sizeof(*b);
	memmove(&group->brokers[i], &group->brokers[i + 1],
	    (group->broker_count - i) * sizeof(*b));
	if (group->broker_count == 0)
		lt_tables_free_group(names, group);
	else if (group->acting && lt_tables_master(group) == NULL)
		/* The first replica acts as master, for readers. */
		lt_tables_set_perm(names, group, LT_TABLES_WRITE, 0);
}

void
lt_tables_drop_all(struct lt_names *names)
{
	struct lt_tables_group *group;
	size_t cursor = 0;

	while ((group = lt_hash_next(&names->groups, &cursor)) != NULL)
		for (size_t n = group->broker_count; n > 0; n--)
			lt_tables_drop_broker(names, group, n - 1, NULL);
}
