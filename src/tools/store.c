/*
 * store.c - leat store: verify, dump, rebuild. Offline: opens the files of a
 * broker that does not run, Leat's or Apache RocketMQ's. DIR is the broker's
 * directory or the store inside it. While it works it holds the directory's
 * lock as a broker would, so no broker starts underneath.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/reader.h"
#include "store/recover.h"

#define LOCKS_MAX 2

struct offline {
	struct lt_tool *t;
	const char *dir;
	int store_dir;
	int locks[LOCKS_MAX];
	size_t lock_count;
	uint64_t findings;
	struct json_t *lines; /* with --json */
};

/* --- opening and locking --- */

/* Hold one lock file, if it is there. Brokers lock by flock (Leat) or by a
 * record lock (Apache RocketMQ's Java); try both. */
static int
take_lock(struct offline *o, int at, const char *path)
{
	struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(at, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == EACCES)
		fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT
			   ? LEAT_OK
			   : lt_tool_complain(LEAT_E_IO, "%s: lock: %s", o->dir,
				 strerror(errno));
	bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	if (!held && fcntl(fd, F_SETLK, &record) != 0)
		held = errno == EACCES || errno == EAGAIN;
	if (held) {
		close(fd);
		return lt_tool_complain(LEAT_E_BUSY,
		    "%s: a running broker holds its lock; stop the broker "
		    "first",
		    o->dir);
	}
	o->locks[o->lock_count++] = fd;
	return LEAT_OK;
}

static int
open_offline(struct offline *o, const char *dir)
{
	o->dir = dir;
	o->store_dir = -1;
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return lt_tool_complain(
		    errno == EACCES ? LEAT_E_DENIED : LEAT_E_NOTFOUND,
		    "%s: %s; give a broker's directory or the store in it", dir,
		    strerror(errno));
	struct stat st;
	bool is_store = fstatat(top, "commitlog", &st, 0) == 0;
	int rc = take_lock(o, top, "lock");
	if (rc == LEAT_OK &&
	    is_store) /* DIR/store of Leat: its lock is above */
		rc = take_lock(o, top, "../lock");
	if (rc == LEAT_OK) {
		o->store_dir = is_store
				   ? dup(top)
				   : openat(top, "store",
					 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (o->store_dir < 0 ||
		    fstatat(o->store_dir, "commitlog", &st, 0) != 0)
			rc = lt_tool_complain(LEAT_E_NOTFOUND,
			    "%s: no commitlog there; give a broker's directory "
			    "or the store in it",
			    dir);
	}
	close(top);
	return rc;
}

static void
close_offline(struct offline *o)
{
	for (size_t i = 0; i < o->lock_count; i++)
		close(o->locks[i]);
	if (o->store_dir >= 0)
		close(o->store_dir);
	if (o->lines != NULL)
		lt_output_free(o->lines);
}

/* --- verify, rebuild --- */

static void
finding(void *user, const char *line)
{
	struct offline *o = user;
	o->findings++;
	if (o->lines == NULL) {
		printf("%s\n", line);
		return;
	}
	struct json_t *entry = lt_output_object();
	lt_output_text(entry, "text", line);
	lt_output_add(o->lines, entry);
}

static const struct lt_output_column report_columns[] = {
    {"records", "records", LT_OUT_PLAIN},
    {"bytes", "bytes", LT_OUT_BYTES},
    {"segments", "segments", LT_OUT_PLAIN},
    {"queues", "queues", LT_OUT_PLAIN},
    {"entries", "queue entries", LT_OUT_PLAIN},
    {"log_end", "log ends", LT_OUT_PLAIN},
    {"damaged", "findings", LT_OUT_PLAIN},
};

static void
show_report(struct offline *o, const struct lt_verify_report *r)
{
	struct json_t *v = lt_output_object();
	lt_output_int(v, "records", (int64_t)r->records);
	lt_output_int(v, "bytes", (int64_t)r->bytes);
	lt_output_int(v, "segments", (int64_t)r->segments);
	lt_output_int(v, "queues", (int64_t)r->queues);
	lt_output_int(v, "entries", (int64_t)r->entries);
	lt_output_int(v, "log_end", (int64_t)r->log_end);
	lt_output_int(v, "damaged", (int64_t)r->damaged);
	if (o->lines != NULL) {
		lt_output_put(v, "findings", o->lines);
		o->lines = NULL;
		lt_output_json(v);
	} else {
		lt_output_fields(
		    o->t, v, report_columns, LT_COUNT(report_columns));
	}
	lt_output_free(v);
}

typedef int work_fn(int store_dir, struct lt_verify_report *out,
    void (*report)(void *user, const char *line), void *user);

static int
work_offline(struct lt_tool *t, work_fn *work)
{
	struct offline o = {.t = t, .store_dir = -1};
	struct lt_verify_report report;
	memset(&report, 0, sizeof report);
	int rc = lt_tool_next(t);
	if (rc != LEAT_OK)
		return rc;
	if (t->json)
		o.lines = lt_output_list();
	rc = open_offline(&o, t->operands[0]);
	if (rc == LEAT_OK) {
		rc = work(o.store_dir, &report, finding, &o);
		if (rc < 0) {
			lt_tool_complain(
			    rc, "%s: %s", o.dir, leat_status_text(rc));
		} else {
			show_report(&o, &report);
			if (rc > 0 || report.damaged > 0)
				rc = lt_tool_complain(LEAT_E_CORRUPT,
				    "%s: %" PRIu64 " findings; intact messages "
				    "stay readable, `leat store rebuild` makes "
				    "what is derived again",
				    o.dir,
				    report.damaged > 0 ? report.damaged
						       : (uint64_t)rc);
		}
	}
	close_offline(&o);
	return rc;
}

int
lt_tool_store_verify(struct lt_tool *t)
{
	return work_offline(t, lt_recover_verify);
}

int
lt_tool_store_rebuild(struct lt_tool *t)
{
	return work_offline(t, lt_recover_rebuild);
}

/* --- dump --- */

struct dump {
	uint64_t from, count;
	const char *topic;
	struct lt_format *format;
	uint64_t printed;
};

static void
copy_property(const struct lt_record_view *v, const char *name, char *buf,
    size_t buf_bytes)
{
	const char *value;
	size_t bytes;
	buf[0] = '\0';
	if (lt_record_property(v, name, strlen(name), &value, &bytes) !=
	    LEAT_OK)
		return;
	if (bytes >= buf_bytes)
		bytes = buf_bytes - 1;
	memcpy(buf, value, bytes);
	buf[bytes] = '\0';
}

static void
print_record(
    struct offline *o, const struct dump *d, const struct lt_record_view *v)
{
	char topic[32768], keys[32768], tag[32768], id[LEAT_ID_CHARS + 1];
	snprintf(topic, sizeof topic, "%.*s", (int)v->topic_bytes, v->topic);
	copy_property(v, "KEYS", keys, sizeof keys);
	copy_property(v, "TAGS", tag, sizeof tag);
	copy_property(v, "UNIQ_KEY", id, sizeof id);
	struct leat_delivery m = {.topic = topic,
	    .body = v->body,
	    .body_bytes = v->body_bytes,
	    .keys = keys,
	    .tag = tag,
	    .queue = v->queue,
	    .queue_offset = v->queue_offset,
	    .log_offset = v->log_offset,
	    .born_time_ms = v->born_ms,
	    .store_time_ms = v->store_ms,
	    .flag = v->flag,
	    .attempt = v->reconsume + 1,
	    .record = v->base,
	    .record_bytes = v->bytes};
	memcpy(m.id, id, sizeof m.id);
	if (d->format != NULL) {
		lt_format_print(d->format, &m);
	} else if (o->t->json) {
		struct json_t *line = lt_output_delivery(&m, true);
		lt_output_json(line);
		lt_output_free(line);
	} else {
		char when[32];
		printf("%" PRId64 "  %" PRIu32 " bytes  %s/%" PRIu32 "/%" PRId64
		       "  %s  %s  tag=%s keys=%s\n",
		    v->log_offset, v->bytes, topic, v->queue, v->queue_offset,
		    lt_tool_time_text(v->store_ms, when), id, tag, keys);
	}
}

static int
dump_log(struct offline *o, struct dump *d)
{
	struct lt_reader *reader;
	struct lt_record_view v;
	int rc = lt_reader_open(o->store_dir, &reader);
	if (rc != LEAT_OK)
		return lt_tool_complain(
		    rc, "%s: %s", o->dir, leat_status_text(rc));
	uint64_t at = lt_reader_min(reader), limit = lt_reader_limit(reader);
	if (d->from > at)
		at = d->from;
	while (d->count == 0 || d->printed < d->count) {
		uint64_t skipped = 0;
		rc = lt_reader_next(reader, at, limit, &v, &skipped);
		if (skipped > 0) {
			o->findings++;
			fprintf(stderr,
			    "leat: damaged: %" PRIu64 " bytes from log offset "
			    "%" PRIu64 " on\n",
			    skipped, at);
		}
		if (rc != LEAT_OK)
			break;
		at = (uint64_t)v.log_offset + v.bytes;
		if (d->topic != NULL &&
		    (strlen(d->topic) != v.topic_bytes ||
			memcmp(d->topic, v.topic, v.topic_bytes) != 0))
			continue;
		print_record(o, d, &v);
		d->printed++;
		if (ferror(stdout))
			break;
	}
	lt_reader_close(reader);
	if (rc != LEAT_OK && rc != LEAT_E_END)
		return lt_tool_complain(rc, "%s: log offset %" PRIu64 ": %s",
		    o->dir, at, leat_status_text(rc));
	return o->findings > 0 ? LEAT_E_CORRUPT : LEAT_OK;
}

int
lt_tool_store_dump(struct lt_tool *t)
{
	struct offline o = {.t = t, .store_dir = -1};
	struct dump d = {.from = 0};
	int key, rc = LEAT_OK;
	while (rc == LEAT_OK && (key = lt_tool_next(t)) != 0) {
		if (key < 0)
			rc = key;
		else if (key == 'o')
			rc = lt_tool_number(t, 0, INT64_MAX, &d.from);
		else if (key == 'n')
			rc = lt_tool_number(t, 1, UINT64_MAX, &d.count);
		else if (key == 't')
			d.topic = t->arg;
		else
			rc = lt_format_make(t->arg, &d.format);
	}
	if (rc == LEAT_OK)
		rc = open_offline(&o, t->operands[0]);
	if (rc == LEAT_OK)
		rc = dump_log(&o, &d);
	close_offline(&o);
	lt_format_free(d.format);
	return rc;
}
