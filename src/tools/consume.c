/*
 * consume.c - leat consume: print messages as they come. Browsing remembers
 * nothing; a group member acknowledges what has left this process, not before.
 */
#include "config.h"
#include "tools/tool.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/limits.h"

#define BATCH 256
#define SLICE_MS 200

struct reader {
	struct lt_tool *t;
	struct leat_subscription s;
	struct lt_format *format;
	struct leat_consumer *consumer;
	bool exit_at_end;
	uint64_t count; /* 0: no limit */
	uint64_t done;
	uint64_t start_ns, shown_ns;
};

static int
read_option(struct reader *r, int key)
{
	struct lt_tool *t = r->t;
	uint64_t n;
	int rc;
	switch (key) {
	case 'g':
		r->s.group = t->arg;
		return lt_tool_check_group(t->arg);
	case 263:
		r->s.mode = LEAT_BROADCASTING;
		r->s.member = t->arg;
		return LEAT_OK;
	case 264:
		return lt_tool_where(t, &r->s.from, &r->s.from_value);
	case 'e':
		r->exit_at_end = true;
		return LEAT_OK;
	case 'n':
		return lt_tool_number(t, 1, UINT64_MAX, &r->count);
	case 't':
		r->s.tags = t->arg;
		return LEAT_OK;
	case 'q':
		rc = lt_tool_number(t, 0, LT_QUEUES_MAX - 1, &n);
		r->s.queue = rc == LEAT_OK ? (int32_t)n : -1;
		return rc;
	default:
		lt_format_free(r->format);
		r->format = NULL;
		return lt_format_make(t->arg, &r->format);
	}
}

static void
show_progress(struct reader *r)
{
	uint64_t now = lt_clock_mono_ns();
	if (!r->t->progress || isatty(STDOUT_FILENO) ||
	    now - r->shown_ns < 500000000ull)
		return;
	r->shown_ns = now;
	fprintf(stderr, "\r%" PRIu64 " messages, %.0f/s  ", r->done,
	    (double)r->done * 1e9 / (double)(now - r->start_ns));
}

/* Print, make sure it left, acknowledge. */
static int
handle(struct reader *r, const struct leat_delivery *d, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!r->t->json) {
			lt_format_print(r->format, &d[i]);
			continue;
		}
		struct json_t *o = lt_output_delivery(&d[i], true);
		lt_output_json(o);
		lt_output_free(o);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (r->s.group != NULL && leat_nack(r->consumer, d, count) < 0)
			return LEAT_E_IO; /* closing gives them back too */
		return LEAT_E_IO; /* lt_output_finish() says why */
	}
	r->done += count;
	show_progress(r);
	int rc = r->s.group != NULL ? leat_ack(r->consumer, d, count) : LEAT_OK;
	if (rc == LEAT_E_LEASE) {
		fprintf(stderr,
		    "leat: consume: printing took longer than the lease "
		    "(%" PRId64 " ms); some messages will come again\n",
		    leat_lease_ms(r->consumer));
		return LEAT_OK;
	}
	return rc < 0 ? lt_tool_fail(r->t, rc, "acknowledge") : LEAT_OK;
}

static int
follow(struct reader *r)
{
	struct leat_delivery d[BATCH];
	while (!lt_tool_stopped && (r->count == 0 || r->done < r->count)) {
		size_t want = BATCH;
		if (r->count > 0 && r->count - r->done < want)
			want = (size_t)(r->count - r->done);
		int n = leat_poll(
		    r->consumer, d, want, r->exit_at_end ? 20 : SLICE_MS);
		if (n == LEAT_E_TIMEOUT || n == LEAT_E_AGAIN)
			n = 0;
		if (n < 0)
			return lt_tool_fail(r->t, n, "topic %s", r->s.topic);
		int rc = n > 0 ? handle(r, d, (size_t)n) : LEAT_OK;
		if (rc != LEAT_OK)
			return rc;
		if (n > 0 || !r->exit_at_end)
			continue;
		rc = leat_at_end(r->consumer);
		if (rc < 0)
			return lt_tool_fail(r->t, rc, "topic %s", r->s.topic);
		if (rc > 0)
			break;
	}
	return LEAT_OK;
}

static int
open_reader(struct reader *r)
{
	int rc = lt_tool_check_topic(r->s.topic);
	if (rc == LEAT_OK && r->s.mode == LEAT_BROADCASTING &&
	    r->s.group == NULL)
		rc = lt_tool_complain(
		    LEAT_E_INVALID, "consume: --broadcast needs --group too");
	if (rc == LEAT_OK && r->format == NULL)
		rc = lt_format_make("%s\\n", &r->format);
	if (rc == LEAT_OK)
		rc = lt_tool_connect(r->t);
	if (rc != LEAT_OK)
		return rc;
	/* Someone who wants to stop at the end wants what is before it. */
	if (r->s.group == NULL && r->s.from == LEAT_FROM_DEFAULT)
		r->s.from = r->exit_at_end ? LEAT_FROM_BEGIN : LEAT_FROM_END;
	lt_tool_catch();
	rc = leat_subscribe(r->t->leat, &r->s, &r->consumer);
	return rc == LEAT_OK ? rc
			     : lt_tool_fail(r->t, rc, "topic %s", r->s.topic);
}

int
lt_tool_consume(struct lt_tool *t)
{
	struct reader r = {.t = t, .s = LEAT_SUBSCRIPTION_INIT};
	int key, rc = LEAT_OK;
	r.start_ns = r.shown_ns = lt_clock_mono_ns();
	while (rc == LEAT_OK && (key = lt_tool_next(t)) != 0)
		rc = key < 0 ? key : read_option(&r, key);
	r.s.topic = t->operands[0];
	if (rc == LEAT_OK)
		rc = open_reader(&r);
	if (rc == LEAT_OK) {
		setvbuf(stdout, NULL, _IOFBF, 1 << 20);
		rc = follow(&r);
		if (r.t->progress && !isatty(STDOUT_FILENO))
			fprintf(stderr, "\r%" PRIu64 " messages\n", r.done);
		leat_unsubscribe(r.consumer);
	}
	lt_format_free(r.format);
	return rc;
}
