/*
 * produce.c - leat produce: a stream of messages, submitted as they come and
 * acknowledged in bulk; every receipt is awaited before the end. Lines, JSON
 * objects, whole files, or made-up messages.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/limits.h"

#define PROPERTIES_MAX 64
#define IN_FLIGHT_MAX 8192
#define SLICE_MS 100

struct producer {
	struct lt_tool *t;
	struct leat_message message; /* what all have in common */
	struct leat_property properties[PROPERTIES_MAX];
	char *keys;
	const char *delim, *file;
	bool jsonl, receipts;
	uint64_t count, rate; /* 0: no limit */
	/* under way */
	uint64_t submitted, acknowledged, bytes;
	uint64_t start_ns, shown_ns;
	int refused; /* first status that is not OK; reported */
};

/* --- receipts --- */

static void
print_receipt(struct producer *p, const struct leat_receipt *r)
{
	const char *level = lt_tool_level_text(r->level);
	if (!p->t->json) {
		printf("%s\t%" PRIu32 "\t%" PRId64 "\t%s\n", r->id, r->queue,
		    r->queue_offset, level);
		return;
	}
	struct json_t *o = lt_output_object();
	lt_output_text(o, "id", r->id);
	lt_output_int(o, "queue", r->queue);
	lt_output_int(o, "queue_offset", r->queue_offset);
	lt_output_int(o, "log_offset", r->log_offset);
	lt_output_int(o, "store_time_ms", r->store_time_ms);
	lt_output_text(o, "level", level);
	lt_output_json(o);
	lt_output_free(o);
}

static int
refuse(struct producer *p, int status, uint64_t line, const char *why)
{
	if (p->refused != LEAT_OK)
		return p->refused;
	p->refused = status;
	/* The library's own lines name the fix. */
	const char *fix = strcmp(why, leat_status_text(status)) == 0
			      ? lt_tool_fix(status)
			      : NULL;
	char where[300];
	if (p->file != NULL)
		snprintf(where, sizeof where, "%s", p->file);
	else
		snprintf(where, sizeof where, "line %" PRIu64, line);
	return lt_tool_complain(status, "%s: refused: %s%s%s", where, why,
	    fix != NULL ? "; " : "", fix != NULL ? fix : "");
}

/* Take what receipts there are, waiting up to timeout_ms for the first. */
static int
collect(struct producer *p, int timeout_ms)
{
	struct leat_receipt r[256];
	int n = leat_completions(p->t->leat, r, LT_COUNT(r), timeout_ms);
	for (int i = 0; i < n; i++) {
		if (r[i].status != LEAT_OK) {
			refuse(p, r[i].status, (uint64_t)(uintptr_t)r[i].user,
			    leat_status_text(r[i].status));
			continue;
		}
		p->acknowledged++;
		if (p->receipts)
			print_receipt(p, &r[i]);
	}
	return n == LEAT_E_TIMEOUT || n == LEAT_E_AGAIN ? 0 : n;
}

static void
show_progress(struct producer *p, bool last)
{
	uint64_t now = lt_clock_mono_ns();
	if (!p->t->progress || isatty(STDIN_FILENO) ||
	    now - p->start_ns < 1000000000ull ||
	    (!last && now - p->shown_ns < 500000000ull))
		return;
	p->shown_ns = now;
	fprintf(stderr, "\r%" PRIu64 " messages, %.0f/s  %s", p->acknowledged,
	    (double)p->acknowledged * 1e9 / (double)(now - p->start_ns),
	    last ? "\n" : "");
}

/* Wait until every receipt is there. */
static int
await_all(struct producer *p)
{
	uint64_t since = lt_clock_mono_ms();
	leat_kick(p->t->leat);
	while (leat_in_flight(p->t->leat) > 0) {
		int n = collect(p, SLICE_MS);
		if (n < 0)
			return lt_tool_fail(p->t, n, "receipts");
		if (n > 0)
			since = lt_clock_mono_ms();
		if (lt_clock_mono_ms() - since > (uint64_t)p->t->timeout_ms)
			return lt_tool_fail(p->t, LEAT_E_TIMEOUT,
			    "%zu messages have no receipt yet",
			    leat_in_flight(p->t->leat));
		show_progress(p, false);
	}
	return p->refused;
}

/* --- submission --- */

/* Sleep until the next message is due; receipts are taken meanwhile. */
static int
pace(struct producer *p)
{
	uint64_t due = p->start_ns +
		       (uint64_t)((double)p->submitted * 1e9 / (double)p->rate);
	for (;;) {
		uint64_t now = lt_clock_mono_ns();
		if (now >= due || lt_tool_stopped)
			return 0;
		leat_kick(p->t->leat);
		uint64_t left = due - now;
		if (left > 2000000 && leat_in_flight(p->t->leat) > 0) {
			int n = collect(p,
			    (int)(left / 1000000 > SLICE_MS ? SLICE_MS
							    : left / 1000000));
			if (n < 0)
				return n;
			continue;
		}
		struct timespec ts = {
		    .tv_nsec = (long)(left > 200000000 ? 200000000 : left)};
		nanosleep(&ts, NULL);
	}
}

static int
submit(struct producer *p, const struct leat_message *m, uint64_t line)
{
	struct leat *leat = p->t->leat;
	uint64_t since = lt_clock_mono_ms();
	int rc = p->rate > 0 ? pace(p) : 0;
	while (rc >= 0) {
		if (leat_in_flight(leat) >= IN_FLIGHT_MAX)
			rc = collect(p, SLICE_MS);
		else if (p->submitted % 64 == 63)
			rc = collect(p, 0);
		if (rc < 0 || p->refused != LEAT_OK)
			break;
		if (leat_in_flight(leat) < IN_FLIGHT_MAX) {
			rc = leat_submit(
			    leat, m, SLICE_MS, (void *)(uintptr_t)line);
			if (rc == LEAT_OK) {
				p->submitted++;
				p->bytes += m->body_bytes;
				show_progress(p, false);
				return LEAT_OK;
			}
			if (rc == LEAT_E_AGAIN || rc == LEAT_E_TIMEOUT)
				rc = collect(p, SLICE_MS);
		}
		if (rc > 0)
			since = lt_clock_mono_ms();
		if (rc >= 0 &&
		    lt_clock_mono_ms() - since > (uint64_t)p->t->timeout_ms)
			rc = LEAT_E_TIMEOUT;
	}
	if (rc < 0 && p->refused == LEAT_OK) {
		const char *why = leat_error(leat);
		refuse(p, rc, line,
		    why != NULL && why[0] != '\0' ? why : leat_status_text(rc));
	}
	return p->refused;
}

/* --- sources --- */

static int
submit_piece(struct producer *p, const char *piece, size_t bytes, uint64_t line)
{
	struct leat_message m = p->message;
	if (!p->jsonl) {
		m.body = piece;
		m.body_bytes = bytes;
		return submit(p, &m, line);
	}
	struct lt_output_message owned;
	const char *why;
	int rc = lt_output_message(piece, bytes, &m, &owned, &why);
	if (rc != LEAT_OK)
		return refuse(p, rc, line, why);
	rc = submit(p, &m, line);
	lt_output_message_free(&owned);
	return rc;
}

/* Standard input, a message a piece. While it is quiet receipts are taken. */
static int
produce_lines(struct producer *p)
{
	struct lt_lines *l;
	size_t bytes = 1;
	char *delim = lt_mem_strdup(p->delim);
	int rc = delim != NULL ? lt_tool_unescape(p->delim, delim, &bytes)
			       : LEAT_E_NOMEM;
	if (rc == LEAT_OK && bytes == 0)
		rc = LEAT_E_INVALID;
	if (rc == LEAT_OK)
		rc = lt_lines_open(STDIN_FILENO, delim, bytes,
		    p->jsonl ? 2 * (size_t)LT_BODY_MAX : LT_BODY_MAX, &l);
	lt_mem_free(delim);
	if (rc != LEAT_OK)
		return lt_tool_complain(rc,
		    "produce: --delim: give at least one character; after \\ "
		    "only n t r 0 \\ and xHH");
	uint64_t line = 0;
	while (rc == LEAT_OK && !lt_tool_stopped &&
	       (p->count == 0 || line < p->count)) {
		const char *piece;
		bool wait = leat_in_flight(p->t->leat) == 0;
		rc = lt_lines_next(l, wait, &piece, &bytes);
		if (rc == LEAT_OK) {
			rc = submit_piece(p, piece, bytes, ++line);
		} else if (rc == LEAT_E_AGAIN) {
			leat_kick(p->t->leat);
			int n = wait ? 0 : collect(p, 10);
			if (p->receipts)
				fflush(stdout);
			rc = n < 0 ? refuse(p, n, line, leat_error(p->t->leat))
				   : p->refused;
		} else if (rc != LEAT_E_END) {
			refuse(p, rc, line + 1, leat_status_text(rc));
		}
	}
	lt_lines_close(l);
	return rc == LEAT_E_END ? LEAT_OK : rc;
}

static int
read_file(const char *path, void **data_out, size_t *bytes_out)
{
	struct stat st;
	size_t done = 0, capacity;
	char *data = NULL;
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO)
					: open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		goto failed;
	capacity = (st.st_size > 0 ? (size_t)st.st_size : 65536) + 1;
	for (;;) {
		char *more = lt_mem_resize(data, capacity);
		if (more == NULL)
			goto failed;
		data = more;
		ssize_t n = read(fd, data + done, capacity - done);
		if (n < 0)
			goto failed;
		if (n == 0)
			break;
		done += (size_t)n;
		if (done > LT_BODY_MAX) {
			errno = EFBIG;
			goto failed;
		}
		if (done == capacity)
			capacity *= 2;
	}
	close(fd);
	*data_out = data;
	*bytes_out = done;
	return LEAT_OK;
failed:
	lt_tool_complain(LEAT_E_INVALID, "%s: %s", path, strerror(errno));
	lt_mem_free(data);
	if (fd >= 0)
		close(fd);
	return errno == EFBIG ? LEAT_E_TOOBIG : LEAT_E_INVALID;
}

static int
produce_file(struct producer *p)
{
	void *data = NULL;
	size_t bytes = 0;
	int rc = read_file(p->file, &data, &bytes);
	struct leat_message m = p->message;
	m.body = data;
	m.body_bytes = bytes;
	uint64_t copies = p->count > 0 ? p->count : 1;
	for (uint64_t i = 1; rc == LEAT_OK && i <= copies && !lt_tool_stopped;
	     i++)
		rc = submit(p, &m, i);
	lt_mem_free(data);
	return rc;
}

static int
produce_made_up(struct producer *p)
{
	int rc = LEAT_OK;
	for (uint64_t i = 1; rc == LEAT_OK && i <= p->count && !lt_tool_stopped;
	     i++) {
		char text[64];
		struct leat_message m = p->message;
		m.body_bytes =
		    (size_t)snprintf(text, sizeof text, "message %" PRIu64, i);
		m.body = text;
		rc = submit(p, &m, i);
	}
	return rc;
}

/* Does standard input carry data? A terminal, a closed descriptor, /dev/null
 * and the like do not. */
static bool
has_input(void)
{
	struct stat st;
	return fstat(STDIN_FILENO, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) ||
		   S_ISSOCK(st.st_mode));
}

/* --- the command --- */

static int
add_key(struct producer *p)
{
	size_t old = p->keys != NULL ? strlen(p->keys) : 0;
	char *keys = lt_mem_resize(p->keys, old + strlen(p->t->arg) + 2);
	if (keys == NULL)
		return lt_tool_complain(LEAT_E_NOMEM, "out of memory");
	sprintf(keys + old, "%s%s", old > 0 ? " " : "", p->t->arg);
	p->message.keys = p->keys = keys;
	return LEAT_OK;
}

static int
add_property(struct producer *p)
{
	char *equals = strchr(p->t->arg, '=');
	size_t n = p->message.property_count;
	if (equals == NULL || equals == p->t->arg || equals[1] == '\0')
		return lt_tool_complain(LEAT_E_INVALID,
		    "produce: --property %s: give NAME=VALUE, neither empty",
		    p->t->arg);
	if (n == PROPERTIES_MAX)
		return lt_tool_complain(LEAT_E_INVALID,
		    "produce: at most %d --property", PROPERTIES_MAX);
	*equals = '\0';
	p->properties[n] = (struct leat_property){p->t->arg, equals + 1};
	p->message.properties = p->properties;
	p->message.property_count = n + 1;
	return LEAT_OK;
}

static int
read_option(struct producer *p, int key)
{
	struct lt_tool *t = p->t;
	uint64_t n;
	int rc = LEAT_OK;
	switch (key) {
	case 'd':
		p->delim = t->arg;
		break;
	case 258:
		p->jsonl = true;
		break;
	case 259:
		p->file = t->arg;
		break;
	case 'k':
		return add_key(p);
	case 't':
		p->message.tag = t->arg;
		break;
	case 'p':
		return add_property(p);
	case 260:
		p->message.group_key = t->arg;
		break;
	case 261:
		return lt_tool_complain(LEAT_E_UNSUPPORTED,
		    "produce: --delay: delayed messages come in a later "
		    "release");
	case 'q':
		rc = lt_tool_number(t, 0, LT_QUEUES_MAX - 1, &n);
		p->message.queue = rc == LEAT_OK ? (int32_t)n : -1;
		break;
	case 'l':
		return lt_tool_level(t, &p->message.level);
	case 'n':
		return lt_tool_number(t, 1, UINT64_MAX, &p->count);
	case 'R':
		return lt_tool_number(t, 1, 1000000000, &p->rate);
	default:
		p->receipts = true;
		break;
	}
	return rc;
}

static void
report(struct producer *p)
{
	double seconds = (double)(lt_clock_mono_ns() - p->start_ns) / 1e9;
	show_progress(p, true);
	if (p->t->json && !p->receipts) {
		struct json_t *o = lt_output_object();
		lt_output_text(o, "topic", p->message.topic);
		lt_output_int(o, "messages", (int64_t)p->acknowledged);
		lt_output_int(o, "bytes", (int64_t)p->bytes);
		lt_output_real(o, "seconds", seconds);
		lt_output_json(o);
		lt_output_free(o);
	}
}

static int
produce(struct producer *p)
{
	p->start_ns = lt_clock_mono_ns();
	int rc;
	if (p->file != NULL)
		rc = produce_file(p);
	else if (p->count > 0 && !has_input())
		rc = produce_made_up(p);
	else
		rc = produce_lines(p);
	if (rc == LEAT_OK && p->count > 0 && p->submitted == 0 &&
	    p->file == NULL && !lt_tool_stopped)
		rc = produce_made_up(p); /* the input was empty */
	int last = await_all(p);
	report(p);
	if (rc == LEAT_OK)
		rc = last;
	return rc == LEAT_OK && lt_tool_stopped && !isatty(STDIN_FILENO)
		   ? LEAT_E_CLOSED
		   : rc;
}

int
lt_tool_produce(struct lt_tool *t)
{
	struct producer p = {
	    .t = t, .delim = "\\n", .message = LEAT_MESSAGE_INIT};
	int key, rc = LEAT_OK;
	while (rc == LEAT_OK && (key = lt_tool_next(t)) != 0)
		rc = key < 0 ? key : read_option(&p, key);
	if (rc == LEAT_OK && p.jsonl && p.file != NULL)
		rc = lt_tool_complain(LEAT_E_INVALID,
		    "produce: --jsonl reads standard input; leave --file out");
	if (rc == LEAT_OK)
		rc = lt_tool_check_topic(t->operands[0]);
	p.message.topic = t->operands[0];
	if (rc == LEAT_OK)
		rc = lt_tool_connect(t);
	if (rc == LEAT_OK) {
		lt_tool_catch();
		rc = produce(&p);
	}
	lt_mem_free(p.keys);
	return rc;
}
