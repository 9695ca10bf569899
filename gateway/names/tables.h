/*
 * tables.h - the tables behind names.h: brokers by name, topics with their
 * queues on each of these, keys by namespace. Private to this room.
 *
 * A group is all brokers of one name: a master (id 0) and its replicas, which
 * have the same topics. A topic's queues point to the group; when the group
 * goes, so do these.
 */
#ifndef LT_GATEWAY_NAMES_TABLES_H
#define LT_GATEWAY_NAMES_TABLES_H

#include "base/hash.h"
#include "names/names.h"

#define LT_TABLES_NAME 256 /* a name and its NUL */
#define LT_TABLES_ADDRESS 264
#define LT_TABLES_ORDER "ORDER_TOPIC_CONFIG" /* a namespace */
enum { /* perm */
	LT_TABLES_INHERIT = 1,
	LT_TABLES_WRITE = 2,
	LT_TABLES_READ = 4
};

struct lt_tables_broker { /* one process */
	int64_t id;
	uint64_t conn;
	uint64_t seen_ms, timeout_ms;
	struct lt_data_version version;
	char address[LT_TABLES_ADDRESS];
	char ha_address[LT_TABLES_ADDRESS];
};

struct lt_tables_group {
	char name[LT_TABLES_NAME];
	char cluster[LT_TABLES_NAME];
	char zone[LT_TABLES_NAME]; /* "": none */
	int acting; /* enableActingMaster */
	uint64_t round; /* registrations that changed something */
	struct lt_tables_broker *brokers; /* by id; never none */
	size_t broker_count;
};

struct lt_tables_queues {
	struct lt_tables_group *group;
	uint32_t read, write, perm, sysflag;
	uint64_t round; /* the group's when it was last set */
};

struct lt_tables_topic {
	struct lt_tables_queues *queues; /* by group's name; never none */
	size_t queues_count;
	size_t name_bytes;
	char name[];
};

struct lt_tables_entry {
	size_t key_bytes, value_bytes;
	char text[]; /* key, then value */
};

struct lt_tables_space {
	struct lt_hash entries; /* key to lt_tables_entry */
	size_t name_bytes;
	char name[];
};

struct lt_names {
	struct lt_names_limits limits;
	struct lt_hash groups, topics, spaces;
	uint32_t broker_count;
	size_t bytes;
	uint64_t next_scan_ms;
	int order_messages; /* a route carries its topic's order */
};

/* --- routes.c --- */
struct lt_tables_group *lt_tables_find_group(
    const struct lt_names *names, struct lt_remoting_text name);
struct lt_tables_topic *lt_tables_find_topic(
    const struct lt_names *names, struct lt_remoting_text name);
struct lt_tables_broker *lt_tables_find_broker(
    const struct lt_tables_group *group, struct lt_remoting_text address);
/* The master, or NULL. */
struct lt_tables_broker *lt_tables_master(const struct lt_tables_group *group);
/* NULL if that group has none of it. */
struct lt_tables_queues *lt_tables_find_queues(
    const struct lt_tables_topic *topic, const struct lt_tables_group *group);
/* LEAT_OK, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_tables_set_queues(struct lt_names *names, struct lt_tables_group *group,
    const struct lt_topic_queues *queues) LT_MUST_CHECK;
/* Make an array of count + 1, exactly: most have one. LEAT_OK, LEAT_E_LIMIT
 * (charged) or LEAT_E_NOMEM. */
int lt_tables_extend(struct lt_names *names, void **items, size_t count,
    size_t item_bytes) LT_MUST_CHECK;
/* What a topic of such a name costs, without its queues. */
size_t lt_tables_topic_bytes(size_t name_bytes);
/* Take a topic from one group, or from all (NULL); a topic that nobody has any
 * more goes. */
void lt_tables_drop_topic(struct lt_names *names, struct lt_tables_topic *topic,
    const struct lt_tables_group *group);
/* The broker at place i of a group goes, with the last one the group. */
void lt_tables_drop_broker(struct lt_names *names,
    struct lt_tables_group *group, size_t i, struct lt_buffer *gone);
/* A group without brokers. */
void lt_tables_free_group(
    struct lt_names *names, struct lt_tables_group *group);
void lt_tables_drop_all(struct lt_names *names);
/* Clear and set permissions of all topics of a group: how many. */
uint32_t lt_tables_set_perm(struct lt_names *names,
    const struct lt_tables_group *group, uint32_t clear, uint32_t set);
/* A legal name of a broker, cluster or topic. */
int lt_tables_legal(struct lt_remoting_text name);
/* LEAT_OK or LEAT_E_LIMIT. */
int lt_tables_charge(struct lt_names *names, size_t bytes) LT_MUST_CHECK;

/* --- keys.c --- */
/* LEAT_OK, LEAT_E_LIMIT or LEAT_E_NOMEM. */
int lt_tables_put_key(struct lt_names *names, struct lt_remoting_text space,
    struct lt_remoting_text key, struct lt_remoting_text value) LT_MUST_CHECK;
/* Absent (p NULL) or the value, which lives as long as the key. */
struct lt_remoting_text lt_tables_get_key(const struct lt_names *names,
    struct lt_remoting_text space, struct lt_remoting_text key);
void lt_tables_delete_key(struct lt_names *names, struct lt_remoting_text space,
    struct lt_remoting_text key);
/* {"table":{...}}; 0 if there is no such namespace. */
int lt_tables_list_keys(const struct lt_names *names,
    struct lt_remoting_text space, struct lt_buffer *out);
void lt_tables_drop_keys(struct lt_names *names);

/* --- bodies.c: by name, without white space. ours: struct lt_names_peer --- */
void lt_bodies_route(const struct lt_names *names,
    const struct lt_tables_topic *topic, const char *ours,
    struct lt_buffer *out);
void lt_bodies_clusters(
    const struct lt_names *names, const char *ours, struct lt_buffer *out);
void lt_bodies_members(struct lt_remoting_text cluster,
    struct lt_remoting_text broker, const struct lt_tables_group *group,
    const char *ours, struct lt_buffer *out);
/* The topics that `wanted` (NULL: all) says yes to. */
void lt_bodies_topics(const struct lt_names *names,
    int (*wanted)(const struct lt_tables_topic *topic, const void *user),
    const void *user, struct lt_buffer *out);
/* Topics that brokers have for themselves, named as clusters and brokers. */
void lt_bodies_system_topics(
    const struct lt_names *names, struct lt_buffer *out);

#endif
