/* status.c - leat ping and leat status. */
#include "config.h"
#include "tools/tool.h"

#include <string.h>

#include "base/clock.h"

int
lt_tool_ping(struct lt_tool *t)
{
	int rc = lt_tool_next(t);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	uint64_t start = lt_clock_mono_ns();
	rc = leat_ping(t->leat, t->timeout_ms);
	double us = (double)(lt_clock_mono_ns() - start) / 1000;
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "ping");
	if (t->json) {
		struct json_t *o = lt_output_object();
		lt_output_bool(o, "reachable", true);
		lt_output_real(o, "us", us);
		lt_output_json(o);
		lt_output_free(o);
	} else {
		printf("ok, %.0f us\n", us);
	}
	return LEAT_OK;
}

static const struct lt_output_column process_columns[] = {
    {"name", "PROCESS", LT_OUT_PLAIN},
    {"pid", "PID", LT_OUT_PLAIN},
    {"uptime_ms", "UP", LT_OUT_MS},
    {"restarts", "RESTARTS", LT_OUT_PLAIN},
};

static const struct lt_output_column report_columns[] = {
    {"broker", "broker", LT_OUT_PLAIN},
    {"version", "version", LT_OUT_PLAIN},
    {"recovering", "recovering", LT_OUT_PLAIN},
    {"recovery_percent", "recovered %", LT_OUT_PLAIN},
    {"store_bytes", "store", LT_OUT_BYTES},
    {"disk_free_bytes", "disk free", LT_OUT_BYTES},
    {"disk_full", "disk full", LT_OUT_PLAIN},
    {"log_min_offset", "log begins", LT_OUT_PLAIN},
    {"log_max_offset", "log ends", LT_OUT_PLAIN},
    {"sync_lag_bytes", "not synced", LT_OUT_BYTES},
    {"topics", "topics", LT_OUT_PLAIN},
    {"groups", "groups", LT_OUT_PLAIN},
    {"lag", "lag", LT_OUT_PLAIN},
    {"sessions", "sessions", LT_OUT_PLAIN},
    {"rings", "rings", LT_OUT_PLAIN},
};

static const struct lt_output_column counter_columns[] = {
    {"name", "COUNTER", LT_OUT_PLAIN},
    {"value", "VALUE", LT_OUT_PLAIN},
    {"unit", "UNIT", LT_OUT_PLAIN},
};

static struct json_t *
process_list(const struct leat_status_report *r)
{
	struct json_t *list = lt_output_list();
	for (size_t i = 0; i < r->process_count && i < LT_COUNT(r->processes);
	     i++) {
		const struct leat_process *p = &r->processes[i];
		struct json_t *o = lt_output_object();
		lt_output_text(o, "name", p->name);
		lt_output_int(o, "pid", p->pid);
		lt_output_int(o, "uptime_ms", p->uptime_ms);
		lt_output_int(o, "restarts", (int64_t)p->restarts);
		lt_output_add(list, o);
	}
	return list;
}

static struct json_t *
counter_list(const struct leat_status_report *r)
{
	struct json_t *list = lt_output_list();
	for (size_t i = 0; i < r->counter_count && i < LT_COUNT(r->counters);
	     i++) {
		const struct leat_counter *c = &r->counters[i];
		struct json_t *o = lt_output_object();
		lt_output_text(o, "name", c->name);
		lt_output_int(o, "value", (int64_t)c->value);
		lt_output_text(o, "unit", c->unit);
		lt_output_add(list, o);
	}
	return list;
}

static int
sum_lag(const struct leat_group *e, void *user)
{
	*(int64_t *)user += e->max_offset - e->progress;
	return 0;
}

/* What is not told over the network. */
static void
add_own(const struct lt_tool *t, struct json_t *o,
    const struct leat_status_report *r)
{
	lt_output_bool(o, "recovering", r->recovering != 0);
	if (r->recovering != 0 || t->json)
		lt_output_int(o, "recovery_percent", r->recovery_percent);
	lt_output_int(o, "store_bytes", (int64_t)r->store_bytes);
	lt_output_int(o, "disk_free_bytes", (int64_t)r->disk_free_bytes);
	lt_output_bool(o, "disk_full", r->disk_full != 0);
	lt_output_int(o, "log_synced_offset", r->log_synced_offset);
	lt_output_int(
	    o, "sync_lag_bytes", r->log_max_offset - r->log_synced_offset);
	lt_output_int(o, "groups", (int64_t)r->groups);
	lt_output_int(o, "sessions", (int64_t)r->sessions);
	lt_output_int(o, "rings", (int64_t)r->rings);
}

static struct json_t *
report_object(struct lt_tool *t, const struct leat_status_report *r)
{
	struct json_t *o = lt_output_object();
	int64_t lag = 0;
	lt_output_text(o, "broker", r->broker);
	lt_output_text(o, "version", r->version);
	if (r->process_count > 0)
		add_own(t, o, r);
	lt_output_int(o, "log_min_offset", r->log_min_offset);
	lt_output_int(o, "log_max_offset", r->log_max_offset);
	lt_output_int(o, "topics", (int64_t)r->topics);
	if (leat_group_describe(t->leat, NULL, sum_lag, &lag) == LEAT_OK)
		lt_output_int(o, "lag", lag);
	return o;
}

int
lt_tool_status(struct lt_tool *t)
{
	struct leat_status_report report;
	bool all = false;
	int key;
	while ((key = lt_tool_next(t)) > 0)
		all = true;
	if (key < 0)
		return key;
	int rc = lt_tool_connect(t);
	if (rc != LEAT_OK)
		return rc;
	memset(&report, 0, sizeof report);
	rc = leat_status_get(t->leat, &report);
	if (rc != LEAT_OK)
		return lt_tool_fail(t, rc, "status");
	struct json_t *o = report_object(t, &report);
	struct json_t *processes = process_list(&report);
	struct json_t *counters = counter_list(&report);
	if (!t->json) {
		lt_output_fields(
		    t, o, report_columns, LT_COUNT(report_columns));
		if (report.process_count > 0) {
			printf("\n");
			lt_output_table(t, processes, process_columns,
			    LT_COUNT(process_columns));
		}
		if (all) {
			printf("\n");
			lt_output_table(t, counters, counter_columns,
			    LT_COUNT(counter_columns));
		}
	}
	lt_output_put(o, "processes", processes);
	lt_output_put(o, "counters", counters);
	if (t->json)
		lt_output_json(o);
	lt_output_free(o);
	return LEAT_OK;
}
