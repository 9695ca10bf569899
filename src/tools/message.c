/*
 * message.c - leat message get (one, with its body) and find (a table), by id,
 * key, or topic/queue/offset.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct query {
	const char *id, *key, *place, *topic;
	struct lt_format *format;
	uint64_t max;
	/* results */
	struct lt_tool *t;
	bool whole; /* get: print with body as they come */
	struct json_t *table; /* find without format or --json */
	uint64_t found;
};

static int
read_query(struct lt_tool *t, struct query *q)
{
	int key, rc = LEAT_OK;
	while ((key = lt_tool_next(t)) > 0) {
		switch (key) {
		case 'i':
			q->id = t->arg;
			break;
		case 'k':
			q->key = t->arg;
			break;
		case 'o':
			q->place = t->arg;
			break;
		case 't':
			rc = lt_tool_check_topic(q->topic = t->arg);
			break;
		case 'n':
			rc = lt_tool_number(t, 1, UINT32_MAX, &q->max);
			break;
		default:
			lt_format_free(q->format);
			q->format = NULL;
			rc = lt_format_make(t->arg, &q->format);
			break;
		}
		if (rc != LEAT_OK)
			return rc;
	}
	if (key < 0)
		return key;
	int ways = (q->id != NULL) + (q->key != NULL) + (q->place != NULL);
	if (ways != 1)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: say one of --id ID, --key KEY, --offset "
		    "TOPIC/QUEUE/OFFSET",
		    t->name);
	if (q->id != NULL && strlen(q->id) != LEAT_ID_CHARS)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: --id %s: an id has %d hexadecimal digits", t->name,
		    q->id, LEAT_ID_CHARS);
	return LEAT_OK;
}

static const struct lt_output_column columns[] = {
    {"topic", "TOPIC", LT_OUT_PLAIN},
    {"queue", "QUEUE", LT_OUT_PLAIN},
    {"queue_offset", "OFFSET", LT_OUT_PLAIN},
    {"store_time_ms", "STORED", LT_OUT_TIME},
    {"body_bytes", "BYTES", LT_OUT_PLAIN},
    {"tag", "TAG", LT_OUT_PLAIN},
    {"keys", "KEYS", LT_OUT_PLAIN},
    {"id", "ID", LT_OUT_PLAIN},
};

static const struct lt_output_column details[] = {
    {"id", "id", LT_OUT_PLAIN},
    {"topic", "topic", LT_OUT_PLAIN},
    {"queue", "queue", LT_OUT_PLAIN},
    {"queue_offset", "offset", LT_OUT_PLAIN},
    {"log_offset", "log offset", LT_OUT_PLAIN},
    {"born_time_ms", "born", LT_OUT_TIME},
    {"store_time_ms", "stored", LT_OUT_TIME},
    {"keys", "keys", LT_OUT_PLAIN},
    {"tag", "tag", LT_OUT_PLAIN},
    {"group_key", "group key", LT_OUT_PLAIN},
    {"body_bytes", "bytes", LT_OUT_PLAIN},
};

static void
print_properties(const struct leat_delivery *d)
{
	const char *name, *value;
	size_t cursor = 0, name_bytes, value_bytes;
	while (leat_property_next(d, &cursor, &name, &name_bytes, &value,
		   &value_bytes) == LEAT_OK)
		printf("property    %.*s=%.*s\n", (int)name_bytes, name,
		    (int)value_bytes, value);
}

static int
show(const struct leat_delivery *d, void *user)
{
	struct query *q = user;
	q->found++;
	if (q->format != NULL) {
		lt_format_print(q->format, d);
		return 0;
	}
	struct json_t *o = lt_output_delivery(d, q->whole || q->t->json);
	if (q->t->json) {
		lt_output_json(o);
	} else if (!q->whole) {
		lt_output_add(q->table, o);
		return 0;
	} else {
		lt_output_fields(q->t, o, details, LT_COUNT(details));
		print_properties(d);
		printf("\n");
		fwrite(d->body, 1, d->body_bytes, stdout);
		printf("\n");
	}
	lt_output_free(o);
	return 0;
}

/* TOPIC/QUEUE/OFFSET; a topic's name has no slash. */
static int
by_place(struct lt_tool *t, struct query *q)
{
	char topic[256];
	const char *slash = strchr(q->place, '/');
	char *end = NULL;
	errno = 0;
	unsigned long queue = slash != NULL ? strtoul(slash + 1, &end, 10) : 0;
	long long offset =
	    end != NULL && *end == '/' ? strtoll(end + 1, &end, 10) : -1;
	if (slash == NULL || slash - q->place >= (long)sizeof topic ||
	    *end != '\0' || end[-1] == '/' || offset < 0 || errno != 0 ||
	    queue > UINT32_MAX)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: --offset %s: give TOPIC/QUEUE/OFFSET such as "
		    "orders/0/17",
		    t->name, q->place);
	memcpy(topic, q->place, (size_t)(slash - q->place));
	topic[slash - q->place] = '\0';
	int rc = lt_tool_check_topic(topic);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_message_by_offset(
	    t->leat, topic, (uint32_t)queue, offset, show, q);
	return rc == LEAT_OK ? rc : lt_tool_fail(t, rc, "message %s", q->place);
}

struct names {
	char (*items)[256];
	size_t count, capacity;
};

static int
add_name(const struct leat_topic *topic, void *user)
{
	struct names *n = user;
	if (topic->system != 0)
		return 0;
	int rc = lt_mem_grow(
	    (void **)&n->items, &n->capacity, n->count, sizeof *n->items);
	if (rc == LEAT_OK)
		memcpy(n->items[n->count++], topic->name, sizeof *n->items);
	return rc;
}

/* In one topic, or in every one: a lookup must not be made inside a listing. */
static int
by_key(struct lt_tool *t, struct query *q)
{
	struct names n = {.items = NULL};
	int rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	if (q->topic != NULL)
		rc = leat_message_by_key(
		    t->leat, q->topic, q->key, q->max, show, q);
	else
		rc = leat_topic_list(t->leat, add_name, &n);
	for (size_t i = 0; i < n.count && rc == LEAT_OK; i++) {
		if (q->whole && q->found > 0)
			break;
		rc = leat_message_by_key(
		    t->leat, n.items[i], q->key, q->max, show, q);
		if (rc == LEAT_E_NOTFOUND)
			rc = LEAT_OK;
	}
	lt_mem_free(n.items);
	if (rc == LEAT_OK && q->found == 0)
		rc = LEAT_E_NOTFOUND;
	return rc == LEAT_OK ? rc : lt_tool_fail(t, rc, "key %s", q->key);
}

static int
by_id(struct lt_tool *t, struct query *q)
{
	int rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_message_by_id(t->leat, q->topic, q->id, show, q);
	return rc == LEAT_OK ? rc : lt_tool_fail(t, rc, "message %s", q->id);
}

static int
look(struct lt_tool *t, struct query *q)
{
	int rc = read_query(t, q);
	q->t = t;
	if (rc == LEAT_OK) {
		if (!q->whole)
			q->table = lt_output_list();
		rc = q->id != NULL	? by_id(t, q)
		     : q->place != NULL ? by_place(t, q)
					: by_key(t, q);
	}
	if (rc == LEAT_OK && q->table != NULL && q->format == NULL && !t->json)
		lt_output_table(t, q->table, columns, LT_COUNT(columns));
	if (q->table != NULL)
		lt_output_free(q->table);
	lt_format_free(q->format);
	return rc;
}

int
lt_tool_message_get(struct lt_tool *t)
{
	struct query q = {.whole = true, .max = 1};
	return look(t, &q);
}

int
lt_tool_message_find(struct lt_tool *t)
{
	struct query q = {.max = 64};
	return look(t, &q);
}
