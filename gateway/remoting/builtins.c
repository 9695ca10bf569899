/*
 * builtins.c - a table of names, some of them made of the cluster's name or the
 * broker's.
 */
#include "config.h"
#include "remoting/builtins.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/name.h"
#include "remoting/worker.h"

static const struct builtin {
	const char *format; /* of one name */
	char of; /* 'c' the cluster's, 'b' the broker's, 0 none */
	uint32_t queues; /* 0: a name that tools know, but no topic */
	uint32_t perm;
} table[] = {
    {"BenchmarkTest", 0, 0, 0},
    {"CHECKPOINT_TOPIC", 0, 0, 0},
    {"OFFSET_MOVED_EVENT", 0, 0, 0},
    {"RMQ_SYS_TRACE_TOPIC", 0, 0, 0},
    {"RMQ_SYS_TRANS_HALF_TOPIC", 0, 0, 0},
    {"RMQ_SYS_TRANS_OP_HALF_TOPIC", 0, 0, 0},
    {"SCHEDULE_TOPIC_XXXX", 0, 0, 0},
    {"SELF_TEST_TOPIC", 0, 1, LEAT_PERM_BOTH},
    {"TBW102", 0, 8, LEAT_PERM_BOTH | LT_BUILTINS_INHERIT},
    {"TRANS_CHECK_MAX_TIME_TOPIC", 0, 0, 0},
    {"%s", 'b', 1, LEAT_PERM_BOTH | LT_BUILTINS_INHERIT},
    {"%s", 'c', 16, LEAT_PERM_BOTH | LT_BUILTINS_INHERIT},
    {"%s_REPLY_TOPIC", 'c', 1, LEAT_PERM_BOTH},
    {"rmq_sys_REVIVE_LOG_%s", 'c', 0, 0},
    {"rmq_sys_SYNC_BROKER_MEMBER_%s", 'b', 0, 0},
    {"rmq_sys_wheel_timer", 0, 0, 0},
};

static void
describe(
    const struct lt_gateway *g, const struct builtin *b, struct leat_topic *out)
{
	const char *of = b->of == 'c'	? g->cluster_name
			 : b->of == 'b' ? g->broker_name
					: NULL;

	*out = (struct leat_topic){.read_queues = b->queues,
	    .write_queues = b->queues,
	    .perm = b->perm,
	    .system = 1};
	/* The table's formats have at most one name. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (of != NULL)
		snprintf(out->name, sizeof out->name, b->format, of);
	else
		snprintf(out->name, sizeof out->name, "%s", b->format);
#pragma GCC diagnostic pop
}

static int
is_topic(const struct lt_gateway *g, const struct builtin *b)
{
	return b->queues > 0 &&
	       (g->auto_create || strcmp(b->format, "TBW102") != 0);
}

int
lt_builtins_each(const struct lt_gateway *g,
    int (*each)(const struct leat_topic *topic, void *user), void *user)
{
	struct leat_topic t;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < LT_COUNT(table); i++) {
		describe(g, &table[i], &t);
		/* One name may be another's. */
		if (is_topic(g, &table[i]) &&
		    !(table[i].of == 'c' &&
			strcmp(g->cluster_name, g->broker_name) == 0 &&
			strcmp(table[i].format, "%s") == 0))
			rc = each(&t, user);
	}
	return rc;
}

int
lt_builtins_find(
    const struct lt_gateway *g, const char *name, struct leat_topic *out)
{
	struct leat_topic t;

	for (size_t i = 0; i < LT_COUNT(table); i++) {
		describe(g, &table[i], &t);
		if (!is_topic(g, &table[i]) || strcmp(t.name, name) != 0)
			continue;
		if (out != NULL)
			*out = t;
		return 1;
	}
	return 0;
}

int
lt_builtins_is_reserved(const struct lt_gateway *g, const char *name)
{
	struct leat_topic t;

	if (lt_name_is_system(name))
		return 1;
	for (size_t i = 0; i < LT_COUNT(table); i++) {
		describe(g, &table[i], &t);
		/* Its users make that one. */
		if (strcmp(t.name, name) == 0)
			return strcmp(name, "BenchmarkTest") != 0 &&
			       strcmp(name, "RMQ_SYS_TRACE_TOPIC") != 0;
	}
	return 0;
}

void
lt_builtins_write(const struct lt_gateway *g, struct lt_buffer *out)
{
	struct leat_topic t;

	lt_buffer_text(out, "{\"topicList\":[");
	for (size_t i = 0; i < LT_COUNT(table); i++) {
		describe(g, &table[i], &t);
		lt_buffer_text(out, i > 0 ? "," : "");
		lt_buffer_quote(out, t.name, strlen(t.name));
	}
	lt_buffer_text(out, "]}");
}
