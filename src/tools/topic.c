/* topic.c - leat topic: list, create, describe, update, delete. */
#include "config.h"
#include "tools/tool.h"

#include "proto/limits.h"

static struct json_t *
topic_object(const struct leat_topic *topic)
{
	struct json_t *o = lt_output_object();
	lt_output_text(o, "name", topic->name);
	lt_output_int(o, "read_queues", topic->read_queues);
	lt_output_int(o, "write_queues", topic->write_queues);
	lt_output_text(o, "perm", lt_tool_perm_text(topic->perm));
	lt_output_text(o, "level", lt_tool_level_text(topic->level));
	lt_output_bool(o, "system", topic->system != 0);
	return o;
}

static const struct lt_output_column topic_columns[] = {
    {"name", "TOPIC", LT_OUT_PLAIN},
    {"read_queues", "READ", LT_OUT_PLAIN},
    {"write_queues", "WRITE", LT_OUT_PLAIN},
    {"perm", "PERM", LT_OUT_PLAIN},
    {"level", "LEVEL", LT_OUT_PLAIN},
};

struct listing {
	struct json_t *list;
	bool all;
};

static int
add_topic(const struct leat_topic *topic, void *user)
{
	struct listing *l = user;
	if (l->all || topic->system == 0)
		lt_output_add(l->list, topic_object(topic));
	return 0;
}

int
lt_tool_topic_list(struct lt_tool *t)
{
	struct listing l = {.list = NULL};
	int key;
	while ((key = lt_tool_next(t)) > 0)
		l.all = true;
	if (key < 0)
		return key;
	int rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	l.list = lt_output_list();
	rc = leat_topic_list(t->leat, add_topic, &l);
	if (rc != LEAT_OK)
		lt_tool_fail(t, rc, "topic list");
	else if (t->json)
		lt_output_json(l.list);
	else
		lt_output_table(
		    t, l.list, topic_columns, LT_COUNT(topic_columns));
	lt_output_free(l.list);
	return rc;
}

struct settings {
	struct leat_topic topic;
	bool yes;
	int force;
};

/* Options and operand of create, update, delete, describe. */
static int
read_settings(struct lt_tool *t, struct settings *s)
{
	uint64_t n = 0;
	int key, rc = LEAT_OK;
	while ((key = lt_tool_next(t)) > 0) {
		switch (key) {
		case 'n':
			rc = lt_tool_number(t, 1, LT_QUEUES_MAX, &n);
			s->topic.read_queues = (uint32_t)n;
			s->topic.write_queues = (uint32_t)n;
			break;
		case 'r':
			rc = lt_tool_number(t, 1, LT_QUEUES_MAX, &n);
			s->topic.read_queues = (uint32_t)n;
			break;
		case 'w':
			rc = lt_tool_number(t, 1, LT_QUEUES_MAX, &n);
			s->topic.write_queues = (uint32_t)n;
			break;
		case 'p':
			rc = lt_tool_perm(t, &s->topic.perm);
			break;
		case 'l':
			rc = lt_tool_level(t, &s->topic.level);
			break;
		case 'f':
			s->force = 1;
			break;
		default:
			s->yes = true;
			break;
		}
		if (rc != LEAT_OK)
			return rc;
	}
	if (key < 0)
		return key;
	rc = lt_tool_check_topic(t->operands[0]);
	if (rc != LEAT_OK)
		return rc;
	snprintf(s->topic.name, sizeof s->topic.name, "%s", t->operands[0]);
	return lt_tool_connect(t);
}

/* What a changed topic looks like now. */
static int
show_topic(struct lt_tool *t, const char *name)
{
	struct leat_topic topic;
	int rc = leat_topic_describe(t->leat, name, &topic);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "topic %s", name);
	struct json_t *o = topic_object(&topic);
	if (t->json)
		lt_output_json(o);
	else
		lt_output_fields(t, o, topic_columns, LT_COUNT(topic_columns));
	lt_output_free(o);
	return LEAT_OK;
}

int
lt_tool_topic_create(struct lt_tool *t)
{
	struct settings s = {.force = 0};
	int rc = read_settings(t, &s);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_topic_create(t->leat, &s.topic);
	if (rc == LEAT_E_EXISTS)
		return lt_tool_complain(rc,
		    "topic %s: already exists; change it with `leat topic "
		    "update %s`",
		    s.topic.name, s.topic.name);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "topic %s", s.topic.name);
	return show_topic(t, s.topic.name);
}

int
lt_tool_topic_update(struct lt_tool *t)
{
	struct settings s = {.force = 0};
	int rc = read_settings(t, &s);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_topic_update(t->leat, &s.topic, s.force);
	if (rc == LEAT_E_INVALID)
		return lt_tool_complain(rc,
		    "topic %s: fewer queues to read than to write would hide "
		    "messages; lower --write first, let it drain, or --force",
		    s.topic.name);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "topic %s", s.topic.name);
	return show_topic(t, s.topic.name);
}

int
lt_tool_topic_delete(struct lt_tool *t)
{
	struct settings s = {.force = 0};
	int rc = read_settings(t, &s);
	if (rc != LEAT_OK)
		return rc;
	if (!lt_tool_confirm(
		s.yes, "Remove topic and messages of", s.topic.name))
		return lt_tool_complain(LEAT_E_CLOSED, "nothing was removed");
	rc = leat_topic_delete(t->leat, s.topic.name);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "topic %s", s.topic.name);
	if (t->json) {
		struct json_t *o = lt_output_object();
		lt_output_text(o, "deleted", s.topic.name);
		lt_output_json(o);
		lt_output_free(o);
	}
	return LEAT_OK;
}

static const struct lt_output_column queue_columns[] = {
    {"queue", "QUEUE", LT_OUT_PLAIN},
    {"min_offset", "FIRST", LT_OUT_PLAIN},
    {"max_offset", "NEXT", LT_OUT_PLAIN},
    {"messages", "MESSAGES", LT_OUT_PLAIN},
};

static int
list_queues(struct lt_tool *t, const struct leat_topic *topic,
    struct json_t *queues, int64_t *total_out)
{
	uint32_t count = topic->read_queues > topic->write_queues
			     ? topic->read_queues
			     : topic->write_queues;
	for (uint32_t q = 0; q < count; q++) {
		struct leat_queue_range r;
		int rc = leat_queue_range(t->leat, topic->name, q, &r);
		if (rc != LEAT_OK)
			return lt_tool_fail(
			    t, rc, "topic %s queue %u", topic->name, q);
		struct json_t *o = lt_output_object();
		lt_output_int(o, "queue", q);
		lt_output_int(o, "min_offset", r.min_offset);
		lt_output_int(o, "max_offset", r.max_offset);
		lt_output_int(o, "messages", r.max_offset - r.min_offset);
		lt_output_add(queues, o);
		*total_out += r.max_offset - r.min_offset;
	}
	return LEAT_OK;
}

int
lt_tool_topic_describe(struct lt_tool *t)
{
	struct settings s = {.force = 0};
	struct leat_topic topic;
	int64_t total = 0;
	int rc = read_settings(t, &s);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_topic_describe(t->leat, s.topic.name, &topic);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "topic %s", s.topic.name);
	struct json_t *queues = lt_output_list();
	rc = list_queues(t, &topic, queues, &total);
	struct json_t *o = topic_object(&topic);
	lt_output_int(o, "messages", total);
	if (rc == LEAT_OK && !t->json) {
		lt_output_fields(t, o, topic_columns, LT_COUNT(topic_columns));
		printf("\n");
		lt_output_table(
		    t, queues, queue_columns, LT_COUNT(queue_columns));
	}
	lt_output_put(o, "queues", queues);
	if (rc == LEAT_OK && t->json)
		lt_output_json(o);
	lt_output_free(o);
	return rc;
}
