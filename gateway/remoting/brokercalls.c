/*
 * brokercalls.c - the broker itself, as tools want to see it: figures (28),
 * configuration (26, 25), replicas (907), and requests to clean up what this
 * broker cleans up by itself (306, 316, 329).
 *
 * Tools stop at a figure that is missing, so each that Apache RocketMQ's broker
 * has is there; what has no meaning here is 0.
 */
#include "config.h"
#include "remoting/worker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "leat/status.h"
#include "proto/options.h"
#include "remoting/stored.h"

#define GIB 1073741824.0
#define OLDEST_TRIES 8 /* segments whose first record is looked at */
#define RATE "0.0 0.0 0.0" /* of 10, 60 and 600 s: not counted */

/* --- figures ---------------------------------------------------------------
 */

static void put(struct lt_buffer *out, const char *key, const char *format, ...)
    LT_PRINTF(3, 4);

/* One of {"table":{...}}, whose values are texts. */
static void
put(struct lt_buffer *out, const char *key, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (lt_buffer_status(out) != LEAT_OK)
		return;
	lt_buffer_text(out, out->p[out->bytes - 1] == '{' ? "" : ",");
	lt_buffer_quote(out, key, strlen(key));
	lt_buffer_text(out, ":");
	lt_buffer_quote(out, text, strlen(text));
}

static uint64_t
counter(const struct leat_status_report *s, const char *name)
{
	for (size_t i = 0; i < s->counter_count; i++)
		if (strcmp(s->counters[i].name, name) == 0)
			return s->counters[i].value;
	return 0;
}

static void
put_nothing(struct lt_buffer *out)
{
	static const char *const pools[] = {
	    "ack", "litePull", "pull", "query", "send"};
	static const char *const zeroes[] = {"dispatchBehindBytes",
	    "dispatchMaxBuffer", "EndTransactionQueueSize",
	    "EndTransactionThreadPoolQueueCapacity", "getMessageEntireTimeMax",
	    "msgGetTotalTodayMorning", "msgGetTotalTodayNow",
	    "msgGetTotalYesterdayMorning", "msgPutTotalTodayMorning",
	    "msgPutTotalYesterdayMorning", "pageCacheLockTimeMills",
	    "putMessageEntireTimeMax", "remainTransientStoreBufferNumbs",
	    "timerCongestNum", "timerOffsetBehind", "timerReadBehind"};
	static const char *const rates[] = {"getFoundTps", "getMissTps",
	    "getTotalTps", "getTransferredTps", "putTps"};
	static const char *const fractions[] = {"putLatency99", "putLatency999",
	    "timerDequeueTps", "timerEnqueueTps"};
	char key[64];

	for (size_t i = 0; i < LT_COUNT(pools); i++) {
		snprintf(
		    key, sizeof key, "%sThreadPoolQueueCapacity", pools[i]);
		put(out, key, "0");
		snprintf(key, sizeof key, "%sThreadPoolQueueHeadWaitTimeMills",
		    pools[i]);
		put(out, key, "0");
		snprintf(key, sizeof key, "%sThreadPoolQueueSize", pools[i]);
		put(out, key, "0");
	}
	for (size_t i = 0; i < LT_COUNT(zeroes); i++)
		put(out, zeroes[i], "0");
	for (size_t i = 0; i < LT_COUNT(rates); i++)
		put(out, rates[i], RATE);
	for (size_t i = 0; i < LT_COUNT(fractions); i++)
		put(out, fractions[i], "0.0");
	put(out, "putMessageDistributeTime",
	    "[<=0ms]:0 [0~10ms]:0 [10~50ms]:0 [50~100ms]:0 [100~200ms]:0 "
	    "[200~500ms]:0 [500ms~1s]:0 [1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 "
	    "[5~10s]:0 [10s~]:0");
}

static void
put_figures(
    struct lt_buffer *out, const struct leat_status_report *s, int64_t oldest)
{
	uint64_t messages = counter(s, "store_messages");
	uint64_t bytes = counter(s, "store_bytes");
	int64_t started = (int64_t)counter(s, "sup_started_ms");
	int64_t up = (lt_clock_wall_ms() - started) / 1000;
	double all = (double)s->disk_free_bytes + (double)s->store_bytes;
	double used = all > 0 ? (double)s->store_bytes / all : 0;

	put(out, "bootTimestamp", "%" PRId64, started);
	put(out, "startAcceptSendRequestTimeStamp", "%" PRId64, started);
	put(out, "brokerActive", "true");
	put(out, "brokerVersion", "%d", LT_REMOTING_VERSION);
	put(out, "brokerVersionDesc", "V5_3_3");
	put(out, "commitLogDirCapacity", "Total : %.1f GiB, Free : %.1f GiB.",
	    all / GIB, (double)s->disk_free_bytes / GIB);
	put(out, "commitLogDiskRatio", "%.4f", used);
	put(out, "commitLogDiskRatio_store/commitlog", "%.4f", used);
	put(out, "consumeQueueDiskRatio", "%.4f", used);
	put(out, "commitLogMaxOffset", "%" PRId64, s->log_max_offset);
	put(out, "commitLogMinOffset", "%" PRId64, s->log_min_offset);
	put(out, "earliestMessageTimeStamp", "%" PRId64, oldest);
	put(out, "msgPutTotalTodayNow", "%" PRIu64, messages);
	put(out, "putMessageTimesTotal", "%" PRIu64, messages);
	put(out, "putMessageSizeTotal", "%" PRIu64, bytes);
	put(out, "putMessageAverageSize", "%.1f",
	    messages > 0 ? (double)bytes / (double)messages : 0.0);
	put(out, "putMessageFailedTimes", "%" PRIu64,
	    counter(s, "store_rejected"));
	put(out, "remainHowManyDataToFlush", "%" PRId64 " B",
	    s->log_max_offset - s->log_synced_offset);
	put(out, "runtime",
	    "[ %" PRId64 " days, %" PRId64 " hours, %" PRId64
	    " minutes, %" PRId64 " seconds ]",
	    up / 86400, up / 3600 % 24, up / 60 % 60, up % 60);
}

static int
figures(struct leat *leat, struct lt_call *call)
{
	struct leat_status_report report;
	int status = leat_status_get(leat, &report);

	if (status != LEAT_OK)
		return status;
	lt_buffer_text(&call->made, "{\"table\":{");
	put_nothing(&call->made);
	put_figures(&call->made, &report, call->result[0]);
	lt_buffer_text(&call->made, "}}");
	return LEAT_OK;
}

/* When the oldest record was stored, -1: not known. A segment begins with a
 * record: where that one is damaged, the next segment's counts. */
static int64_t
oldest(struct lt_reader *r, uint64_t end)
{
	uint64_t at = lt_reader_min(r);
	struct lt_record_view v;

	for (int i = 0; i < OLDEST_TRIES && at < end; i++) {
		int status = lt_reader_get(r, at, &v);

		if (status == LEAT_OK)
			return v.store_ms;
		if (status == LEAT_E_NOTFOUND && i == 0 &&
		    lt_reader_refresh(r) == LEAT_OK)
			at = lt_reader_min(r); /* retention went on */
		else
			at = lt_reader_next_segment(r, at);
	}
	return -1;
}

void
lt_brokercalls_on_figures(struct lt_call *call)
{
	struct lt_worker *w = call->worker;

	call->result[0] = oldest(w->reader, lt_relay_log_end(w->leat));
	lt_call_submit(call, figures, lt_call_finish);
}

static void
put_sum(struct lt_buffer *out, const char *name, int64_t sum, int seconds)
{
	lt_buffer_format(out,
	    "\"%s\":{\"avgpt\":%s,\"sum\":%" PRId64 ",\"tps\":%.2f}", name,
	    sum > 0 ? "1.0" : "0.0", sum, (double)sum / seconds);
}

/* How many messages a topic got lately: what its queues have from then on. */
static int
count_topic(struct leat *leat, struct lt_call *call)
{
	static const int seconds[] = {86400, 3600, 60};
	int64_t sums[LT_COUNT(seconds)] = {0}, now = lt_clock_wall_ms();
	struct leat_queue_range range;
	struct leat_topic topic;
	char name[LT_NAME_FIELD];
	int status = lt_call_name(call->request, "statsKey", name);

	if (status == LEAT_OK)
		status = leat_topic_describe(leat, name, &topic);
	if (status != LEAT_OK) {
		call->code = LT_CODE_SYSTEM_ERROR;
		call->why = "there are no such stats";
		return LEAT_OK;
	}
	for (uint32_t q = 0; status == LEAT_OK && q < topic.write_queues; q++) {
		status = leat_queue_range(leat, name, q, &range);
		for (size_t i = 0; status == LEAT_OK && i < LT_COUNT(seconds);
		     i++)
			sums[i] += range.max_offset -
				   lt_stored_since(leat, name, q, &range,
				       now - seconds[i] * INT64_C(1000));
	}
	lt_buffer_text(&call->made, "{");
	put_sum(&call->made, "statsDay", sums[0], seconds[0]);
	lt_buffer_text(&call->made, ",");
	put_sum(&call->made, "statsHour", sums[1], seconds[1]);
	lt_buffer_text(&call->made, ",");
	put_sum(&call->made, "statsMinute", sums[2], seconds[2]);
	lt_buffer_text(&call->made, "}");
	return status;
}

/* 315: other figures of one topic or group are not kept. */
void
lt_brokercalls_on_statistics(struct lt_call *call)
{
	char name[LT_NAME_FIELD];

	if (lt_call_name(call->request, "statsName", name) == LEAT_OK &&
	    strcmp(name, "TOPIC_PUT_NUMS") == 0)
		lt_call_submit(call, count_topic, lt_call_finish);
	else
		lt_answer_status(call->worker, &call->ticket,
		    LT_CODE_SYSTEM_ERROR,
		    "these stats are not kept by this broker");
}

/* --- configuration ---------------------------------------------------------
 */

/* What clients' tools look for, under their names. Lines "name=value". */
static void
put_config(const struct lt_gateway *g, struct lt_buffer *out)
{
	const struct lt_options *o = g->options;

	lt_buffer_format(out,
	    "brokerName=%s\nbrokerClusterName=%s\nbrokerId=0\n"
	    "brokerRole=ASYNC_MASTER\nbrokerPermission=6\nlistenPort=%u\n"
	    "autoCreateTopicEnable=%s\nautoCreateSubscriptionGroup=true\n"
	    "defaultTopicQueueNums=%" PRIu32 "\nmaxMessageSize=%" PRIu32 "\n",
	    g->broker_name, g->cluster_name, g->store_port,
	    g->auto_create ? "true" : "false", g->default_queues,
	    g->max_body_bytes);
	if (o == NULL)
		return;
	lt_buffer_format(out,
	    "brokerAddr=%s\nflushDiskType=%s\nfileReservedTime=%" PRIu64
	    "\ndeleteWhen=at any time\nmessageDelayLevel=%s\n",
	    g->address,
	    o->store_level == LEAT_SYNCED - 1 ? "SYNC_FLUSH" : "ASYNC_FLUSH",
	    (uint64_t)o->store_retain_hours, o->queue_delay_levels);
}

void
lt_brokercalls_on_config(struct lt_call *call)
{
	static const char version[] =
	    "{\"counter\":0,\"stateVersion\":0,\"timestamp\":0}";
	struct lt_worker *w = call->worker;
	struct lt_buffer body;
	struct lt_answer a;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	put_config(w->g, &body);
	if (lt_buffer_status(&body) != LEAT_OK) {
		lt_answer_error(w, &call->ticket, LEAT_E_NOMEM);
	} else if (lt_answer_begin(w, &call->ticket, LT_CODE_SUCCESS, 512,
		       body.bytes, &a)) {
		lt_remoting_put(&a.e, "version", version, sizeof version - 1);
		memcpy(
		    lt_answer_body(&a, NULL, body.bytes), body.p, body.bytes);
		lt_answer_end(&a);
	}
	lt_buffer_fini(&body);
}

/* 1: the line is one of the configuration as it is. */
static int
is_so(const struct lt_buffer *config, const char *line, size_t bytes)
{
	const char *at = (const char *)config->p, *end = at + config->bytes;

	for (; at < end; at = (const char *)memchr(at, '\n', end - at) + 1)
		if ((size_t)(end - at) > bytes && at[bytes] == '\n' &&
		    memcmp(at, line, bytes) == 0)
			return 1;
	return 0;
}

/* 25: from afar nothing is changed; to set what is set already is no error. */
void
lt_brokercalls_on_set_config(struct lt_call *call)
{
	const char *at = (const char *)call->body, *end = at + call->body_bytes;
	struct lt_worker *w = call->worker;
	struct lt_buffer config;
	int is_same;

	lt_buffer_init(&config, LT_CALL_BODY_MAX);
	put_config(w->g, &config);
	is_same = lt_buffer_status(&config) == LEAT_OK;
	while (is_same && at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t bytes = (size_t)((stop != NULL ? stop : end) - at);

		is_same = bytes == 0 || is_so(&config, at, bytes);
		at += bytes + 1;
	}
	lt_buffer_fini(&config);
	if (is_same)
		lt_answer_status(w, &call->ticket, LT_CODE_SUCCESS, NULL);
	else
		lt_answer_status(w, &call->ticket, LT_CODE_SYSTEM_ERROR,
		    "this broker is configured where it runs: leat.conf(5)");
}

/* --- the rest --------------------------------------------------------------
 */

void
lt_brokercalls_on_cleaned(struct lt_call *call)
{
	lt_answer_status(call->worker, &call->ticket, LT_CODE_SUCCESS, NULL);
}

/* 907 */
void
lt_brokercalls_on_replicas(struct lt_call *call)
{
	struct lt_worker *w = call->worker;
	struct lt_buffer body;

	lt_buffer_init(&body, LT_CALL_BODY_MAX);
	lt_buffer_format(&body,
	    "{\"haClientRuntimeInfo\":{\"activated\":false,"
	    "\"lastReadTimestamp\":0,\"lastWriteTimestamp\":0,"
	    "\"masterFlushOffset\":0,\"maxOffset\":0,"
	    "\"transferredByteInSecond\":0},\"haConnectionInfo\":[],"
	    "\"inSyncSlaveNums\":0,\"master\":true,"
	    "\"masterCommitLogMaxOffset\":%" PRIu64 "}",
	    lt_relay_log_end(w->leat));
	lt_answer_buffer(w, &call->ticket, &body);
	lt_buffer_fini(&body);
}
