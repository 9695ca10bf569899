/*
 * names.c - a broker joins, gives signs of life, and goes: by its word, with
 * its connection, or because it was not heard of for too long.
 *
 * A registration is judged as a whole before anything is changed. It says what
 * a master's topics are; a replica's are its master's. Brokers also send short
 * ones, with only the topics that changed. Those are told apart by the topics
 * that each broker has for itself, which a full list never lacks: only behind
 * a full one do the topics vanish that it does not name.
 *
 * An equal version adds topics that are missing and leaves the others alone,
 * so that a wiped permission stays wiped until the broker's topics change.
 */
#include "config.h"
#include "names/tables.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"

#define SELF_TEST_TOPIC "SELF_TEST_TOPIC"
#define BROKERS_MAX 1024
#define BYTES_MAX (64u << 20)

int
lt_names_create(const struct lt_names_limits *limits, struct lt_names **out)
{
	struct lt_names *n = lt_mem_alloc(sizeof(*n));

	if (n == NULL)
		return LEAT_E_NOMEM;
	n->limits = *limits;
	if (n->limits.brokers_max == 0)
		n->limits.brokers_max = BROKERS_MAX;
	if (n->limits.topics_max == 0)
		n->limits.topics_max = LT_TOPICS_MAX;
	if (n->limits.bytes_max == 0)
		n->limits.bytes_max = BYTES_MAX;
	if (n->limits.body_max == 0)
		n->limits.body_max = LT_REMOTING_FRAME_MAX;
	lt_hash_init(&n->groups);
	lt_hash_init(&n->topics);
	lt_hash_init(&n->spaces);
	*out = n;
	return LEAT_OK;
}

void
lt_names_destroy(struct lt_names *names)
{
	if (names == NULL)
		return;
	lt_tables_drop_all(names);
	lt_tables_drop_keys(names);
	LT_ASSERT(names->bytes == 0 && names->broker_count == 0);
	lt_hash_fini(&names->groups);
	lt_hash_fini(&names->topics);
	lt_hash_fini(&names->spaces);
	lt_mem_free(names);
}

void
lt_names_count(const struct lt_names *names, struct lt_names_counts *out)
{
	out->brokers = names->broker_count;
	out->topics = (uint32_t)names->topics.used;
	out->bytes = names->bytes;
}

/* --- may it be registered? ------------------------------------------------ */

static int
judge_form(const struct lt_registration *r, const char **why_out)
{
	*why_out = "brokerName, clusterName or zone is missing, longer than "
		   "255 bytes or not printable";
	if (!lt_tables_legal(r->broker) || !lt_tables_legal(r->cluster) ||
	    (r->zone.p != NULL && r->zone.bytes > 0 &&
		!lt_tables_legal(r->zone)))
		return LEAT_E_INVALID;
	*why_out = "brokerAddr or haServerAddr is not IPv4:port or host:port "
		   "of one host";
	if (!lt_registration_dialable(r->address) ||
	    (r->ha_address.bytes > 0 &&
		!lt_registration_dialable(r->ha_address)))
		return LEAT_E_INVALID;
	*why_out = "brokerId is negative";
	if (r->broker_id < 0)
		return LEAT_E_INVALID;
	*why_out = "a topic's name is empty, longer than 255 bytes or not "
		   "printable";
	for (uint32_t i = 0; i < r->topic_count; i++)
		if (!lt_tables_legal(r->topics[i].topic))
			return LEAT_E_INVALID;
	return LEAT_OK;
}

static struct lt_tables_broker *
broker_of(struct lt_tables_group *group, int64_t id)
{
	for (size_t i = 0; group != NULL && i < group->broker_count; i++)
		if (group->brokers[i].id == id)
			return &group->brokers[i];
	return NULL;
}

static int
is_text(const char *text, struct lt_remoting_text t)
{
	return strlen(text) == t.bytes && memcmp(text, t.p, t.bytes) == 0;
}

/* 1: the group is this very broker, which may have changed its cluster. */
static int
is_alone(const struct lt_tables_group *group, const struct lt_registration *r)
{
	return group->broker_count == 1 &&
	       is_text(group->brokers[0].address, r->address);
}

/* What is new must fit, the worst assumed of what is not counted here. */
static int
judge_room(const struct lt_names *names, struct lt_tables_group *group,
    const struct lt_registration *r, const char **why_out)
{
	size_t topics = 0, bytes = 0;

	*why_out = "too many brokers";
	if (broker_of(group, r->broker_id) == NULL) {
		if (names->broker_count >= names->limits.brokers_max)
			return LEAT_E_LIMIT;
		bytes += sizeof(struct lt_tables_broker);
	}
	bytes += group == NULL ? sizeof(*group) : 0;
	for (uint32_t i = 0; i < r->topic_count; i++) {
		const struct lt_remoting_text *name = &r->topics[i].topic;
		const struct lt_tables_topic *t =
		    lt_tables_find_topic(names, *name);
		if (t == NULL) {
			topics++;
			bytes += lt_tables_topic_bytes(name->bytes);
		}
		if (t == NULL || group == NULL ||
		    lt_tables_find_queues(t, group) == NULL)
			bytes += sizeof(struct lt_tables_queues);
	}
	*why_out = "too many topics";
	if (topics > names->limits.topics_max - names->topics.used)
		return LEAT_E_LIMIT;
	*why_out = "the name server's tables are full";
	return bytes > names->limits.bytes_max - names->bytes ? LEAT_E_LIMIT
							      : LEAT_OK;
}

/* --- the broker ----------------------------------------------------------- */

static void
copy(char *field, struct lt_remoting_text t)
{
	if (t.bytes > 0)
		memcpy(field, t.p, t.bytes);
	field[t.bytes] = '\0';
}

static int
make_group(struct lt_names *names, struct lt_remoting_text name,
    struct lt_tables_group **out)
{
	struct lt_tables_group *g = lt_mem_alloc(sizeof(*g));

	if (g == NULL)
		return LEAT_E_NOMEM;
	copy(g->name, name);
	int rc = lt_tables_charge(names, sizeof(*g));
	if (rc == LEAT_OK) {
		rc = lt_hash_put(&names->groups, name.p, name.bytes, g);
		if (rc == LEAT_OK) {
			*out = g;
			return LEAT_OK;
		}
		names->bytes -= sizeof(*g);
	}
	lt_mem_free(g);
	return rc;
}

static int
make_broker(struct lt_names *names, struct lt_tables_group *group, int64_t id,
    struct lt_tables_broker **out)
{
	size_t at = 0;
	int rc = lt_tables_extend(names, (void **)&group->brokers,
	    group->broker_count, sizeof(*group->brokers));

	if (rc != LEAT_OK)
		return rc;
	while (at < group->broker_count && group->brokers[at].id < id)
		at++;
	memmove(&group->brokers[at + 1], &group->brokers[at],
	    (group->broker_count - at) * sizeof(*group->brokers));
	group->broker_count++;
	names->broker_count++;
	group->brokers[at] = (struct lt_tables_broker){.id = id};
	*out = &group->brokers[at];
	return LEAT_OK;
}

/* The place of this broker, made if needed; an address has one id only. */
static int
seat(struct lt_names *names, const struct lt_registration *r,
    struct lt_tables_group **group_out, struct lt_tables_broker **out)
{
	struct lt_tables_group *group = *group_out;
	int rc = LEAT_OK, made = group == NULL;

	if (made)
		rc = make_group(names, r->broker, &group);
	if (rc != LEAT_OK)
		return rc;
	*out = broker_of(group, r->broker_id);
	if (*out == NULL)
		rc = make_broker(names, group, r->broker_id, out);
	if (rc != LEAT_OK) {
		if (made)
			lt_tables_free_group(names, group);
		return rc;
	}
	for (size_t i = group->broker_count; i > 0; i--)
		if (group->brokers[i - 1].id != r->broker_id &&
		    is_text(group->brokers[i - 1].address, r->address))
			lt_tables_drop_broker(names, group, i - 1, NULL);
	*out = broker_of(group, r->broker_id);
	*group_out = group;
	return LEAT_OK;
}

/* --- its topics ----------------------------------------------------------- */

static int
is_full(const struct lt_registration *r)
{
	for (uint32_t i = 0; i < r->topic_count; i++) {
		struct lt_remoting_text t = r->topics[i].topic;
		if (is_text(SELF_TEST_TOPIC, t) ||
		    (t.bytes == r->broker.bytes &&
			memcmp(t.p, r->broker.p, t.bytes) == 0))
			return 1;
	}
	return 0;
}

static void
drop_unnamed(struct lt_names *names, struct lt_tables_group *group)
{
	struct lt_tables_topic *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&names->topics, &cursor)) != NULL) {
		const struct lt_tables_queues *q =
		    lt_tables_find_queues(t, group);
		if (q != NULL && q->round != group->round)
			lt_tables_drop_topic(names, t, group);
	}
}

static int
take_topics(struct lt_names *names, struct lt_tables_group *group,
    const struct lt_registration *r, int changed)
{
	int only_read = r->broker_id != 0 && group->acting;

	group->round += changed != 0;
	for (uint32_t i = 0; i < r->topic_count; i++) {
		struct lt_topic_queues q = r->topics[i];
		const struct lt_tables_topic *t =
		    lt_tables_find_topic(names, q.topic);

		if (!changed && t != NULL &&
		    lt_tables_find_queues(t, group) != NULL)
			continue;
		if (only_read)
			q.perm &= ~(uint32_t)LT_TABLES_WRITE;
		int rc = lt_tables_set_queues(names, group, &q);
		if (rc != LEAT_OK)
			return rc;
	}
	if (changed && r->broker_id == 0 && is_full(r))
		drop_unnamed(names, group);
	return LEAT_OK;
}

int
lt_names_register(struct lt_names *names, const struct lt_registration *r,
    uint64_t conn, uint64_t now_ms, const char **why_out)
{
	struct lt_tables_group *group = lt_tables_find_group(names, r->broker);
	struct lt_tables_broker *b = broker_of(group, r->broker_id);
	int first = b == NULL, rc = judge_form(r, why_out);

	if (rc != LEAT_OK)
		return rc;
	*why_out = "another cluster has a broker of that name";
	if (group != NULL && !is_text(group->cluster, r->cluster) &&
	    !is_alone(group, r))
		return LEAT_E_EXISTS;
	*why_out = "register broker failed: a first registration names all "
		   "topics";
	if (first && r->topic_count == 1)
		return LEAT_E_NOTFOUND;
	/* Who was elected later stays; the other will hear of it elsewhere. */
	if (b != NULL && !is_text(b->address, r->address) &&
	    b->version.state > r->version.state)
		return LEAT_OK;
	rc = judge_room(names, group, r, why_out);
	if (rc != LEAT_OK)
		return rc;

	*why_out = "out of memory";
	rc = seat(names, r, &group, &b);
	if (rc != LEAT_OK)
		return rc;
	int changed = first || !is_text(b->address, r->address) ||
		      !lt_registration_same(&b->version, &r->version);
	copy(group->cluster, r->cluster);
	copy(group->zone, r->zone);
	group->acting = r->acting == LT_REGISTRATION_ACTING;
	copy(b->address, r->address);
	copy(b->ha_address, r->ha_address);
	b->conn = conn;
	b->seen_ms = now_ms;
	b->timeout_ms =
	    r->timeout_ms == 0 ? LT_NAMES_EXPIRY_MS : (uint64_t)r->timeout_ms;
	if (r->broker_id == 0 ||
	    (r->acting != LT_REGISTRATION_OLD && b == &group->brokers[0]))
		rc = take_topics(names, group, r, changed);
	/* Otherwise the next registration does what is missing. */
	if (rc == LEAT_OK)
		b->version = r->version;
	return rc;
}

/* --- and goes ------------------------------------------------------------- */

/* Drop the brokers that `over` says yes to: how many. */
static uint32_t
drop_brokers(struct lt_names *names,
    int (*over)(const struct lt_tables_broker *b, uint64_t what), uint64_t what,
    struct lt_buffer *gone)
{
	struct lt_tables_group *group;
	size_t cursor = 0;
	uint32_t n = 0;

	while ((group = lt_hash_next(&names->groups, &cursor)) != NULL)
		for (size_t i = group->broker_count; i > 0; i--) {
			if (!over(&group->brokers[i - 1], what))
				continue;
			lt_tables_drop_broker(names, group, i - 1, gone);
			n++;
		}
	return n;
}

static int
is_silent(const struct lt_tables_broker *b, uint64_t now_ms)
{
	return now_ms > b->seen_ms && now_ms - b->seen_ms > b->timeout_ms;
}

static int
is_of_conn(const struct lt_tables_broker *b, uint64_t conn)
{
	return b->conn == conn;
}

uint32_t
lt_names_scan(struct lt_names *names, uint64_t now_ms, struct lt_buffer *gone)
{
	if (now_ms < names->next_scan_ms)
		return 0;
	names->next_scan_ms = now_ms + LT_NAMES_SCAN_MS;
	return drop_brokers(names, is_silent, now_ms, gone);
}

uint32_t
lt_names_closed(struct lt_names *names, uint64_t conn, struct lt_buffer *gone)
{
	return drop_brokers(names, is_of_conn, conn, gone);
}
