/*
 * judge.c - the judging half of story.h: recover a directory and compare it
 * with what a story promised. Fails no test; says what is wrong.
 */
#include "config.h"
#include "story.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/sys.h"
#include "leat/leat.h"
#include "proto/name.h"
#include "store/reader.h"

struct judge {
	const struct story *s;
	size_t cut;
	uint32_t level;
	struct story_verdict *out;
	struct lt_duty d; /* only what lt_duty_open uses */
	uint64_t durable; /* the log was synced up to there */
	uint8_t *seen; /* by message */
};

static int wrong(struct judge *j, const char *fmt, ...) LT_PRINTF(2, 3);

static int
wrong(struct judge *j, const char *fmt, ...)
{
	va_list ap;

	if (j->out->why[0] != 0)
		return -1;
	va_start(ap, fmt);
	vsnprintf(j->out->why, sizeof(j->out->why), fmt, ap);
	va_end(ap);
	return -1;
}

static uint64_t
real_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- recovery ------------------------------------------------------------ */

static void
shut(struct lt_duty *d)
{
	lt_recovered_fini(&d->recovered);
	lt_commitlog_close(d->log);
	lt_cq_set_close(d->queues);
	if (d->store_dir >= 0)
		close(d->store_dir);
	if (d->dir >= 0)
		close(d->dir);
	d->log = NULL;
	d->queues = NULL;
	d->dir = d->store_dir = -1;
}

static int
recover(struct lt_duty *d, const char *dir, uint64_t *ns_out)
{
	uint64_t begin = real_ns();
	int rc;

	memset(d, 0, sizeof(*d));
	d->options.store_segment_bytes = STORY_SEGMENT;
	d->options.store_disk_full_percent = 100;
	d->store_dir = -1;
	d->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = d->dir < 0 ? LEAT_E_IO : lt_duty_open(d);
	if (rc == LEAT_OK)
		rc = lt_recover_run(
		    d->store_dir, d->log, d->queues, &d->recovered, NULL, NULL);
	if (rc == LEAT_OK)
		rc = lt_commitlog_sync(d->log);
	*ns_out = real_ns() - begin;
	return rc;
}

static int
checkpoint(struct lt_duty *d)
{
	int rc = lt_commitlog_sync(d->log);

	if (rc == LEAT_OK)
		rc = lt_snapshot_write(d->store_dir, d->queues,
		    lt_commitlog_end(d->log), d->recovered.marks,
		    d->recovered.mark_count);
	return rc;
}

int
story_recover(const char *dir, uint64_t *ns_out)
{
	static struct lt_duty d;
	int rc = recover(&d, dir, ns_out);

	if (rc == LEAT_OK)
		rc = checkpoint(&d);
	shut(&d);
	return rc;
}

/* --- records ------------------------------------------------------------- */

static struct story_sent *
find(const struct story *s, uint64_t session, uint64_t seq, size_t *index_out)
{
	if (session < 0x1000 || session - 0x1000 >= s->client_count)
		return NULL;
	const struct story_client *c = &s->clients[session - 0x1000];
	if (seq == 0 || seq > c->c.seq)
		return NULL;
	*index_out = c->sent[seq];
	return &s->sent[*index_out];
}

static int
check_record(struct judge *j, const struct lt_record_view *v)
{
	uint64_t session = 0, seq = 0;
	size_t index = 0;

	if (lt_record_identity(v, &session, &seq) != LEAT_OK)
		return wrong(
		    j, "a stranger's record at %" PRId64, v->log_offset);
	if (session == 0)
		return v->topic_bytes > 8 &&
			       memcmp(v->topic, "rmq_sys_", 8) == 0
			   ? 0
			   : wrong(j, "no system record at %" PRId64,
				 v->log_offset);
	const struct story_sent *m = find(j->s, session, seq, &index);
	if (m == NULL || m->sent_at > j->cut)
		return wrong(j,
		    "never sent: session=%" PRIx64 " seq=%" PRIu64
		    " at=%" PRId64,
		    session, seq, v->log_offset);
	if (j->seen[index]++)
		return wrong(
		    j, "twice: session=%" PRIx64 " seq=%" PRIu64, session, seq);
	if (m->status != LEAT_OK)
		return wrong(j,
		    "refused, but there: session=%" PRIx64 " seq=%" PRIu64,
		    session, seq);
	if (v->topic_bytes != strlen(m->topic) ||
	    memcmp(v->topic, m->topic, v->topic_bytes) != 0 ||
	    v->queue != m->queue || v->body_bytes != m->body_bytes ||
	    memcmp(v->body, m->body, m->body_bytes) != 0 ||
	    (m->log_offset >= 0 && (v->log_offset != m->log_offset ||
				       v->queue_offset != m->queue_offset)))
		return wrong(j,
		    "changed: session=%" PRIx64 " seq=%" PRIu64 " at=%" PRId64
		    " promised=%" PRId64,
		    session, seq, v->log_offset, m->log_offset);
	return 0;
}

static int
check_entry(
    struct judge *j, struct lt_cq_view *view, const struct lt_record_view *v)
{
	char topic[64];
	struct lt_cq_entry e = {0};
	struct lt_cq *cq;
	size_t count = 0;

	snprintf(topic, sizeof(topic), "%.*s", (int)v->topic_bytes, v->topic);
	if (strcmp(topic, "gone") == 0)
		return 0; /* the verifier knows */
	cq = lt_cq_find(j->d.queues, topic, strlen(topic), v->queue);
	int rc = lt_cq_view_read(
	    view, topic, v->queue, v->queue_offset, &e, 1, &count);
	if (cq == NULL || cq->next <= v->queue_offset || rc != LEAT_OK ||
	    count != 1 || e.log_offset != v->log_offset ||
	    e.bytes != v->bytes || e.tags_code != lt_record_tags_code(v))
		return wrong(j,
		    "queue %s/%u: entry %" PRId64 " is not of the record at "
		    "%" PRId64,
		    topic, v->queue, v->queue_offset, v->log_offset);
	return 0;
}

static int
walk(struct judge *j, size_t *system_seen)
{
	const struct story *s = j->s;
	struct lt_cq_view *view = NULL;
	struct lt_record_view v;
	struct lt_reader *r;
	uint64_t damaged;
	size_t next = 0;
	int bad = 0;

	if (lt_reader_open(j->d.store_dir, &r) != LEAT_OK)
		return wrong(j, "no reader");
	if (lt_cq_view_open(j->d.store_dir, &view) != LEAT_OK)
		bad = wrong(j, "no view of the queues");
	uint64_t at = lt_reader_min(r), limit = lt_commitlog_end(j->d.log);
	while (
	    bad == 0 && lt_reader_next(r, at, limit, &v, &damaged) == LEAT_OK) {
		if (damaged != 0 && lt_reader_damage_at(r) < j->durable)
			bad = wrong(j,
			    "damage at %" PRIu64 ", synced to "
			    "%" PRIu64,
			    lt_reader_damage_at(r), j->durable);
		at = (uint64_t)v.log_offset + v.bytes;
		while (next < s->system_count &&
		       s->system[next].value < (uint64_t)v.log_offset)
			next++;
		if (next < s->system_count &&
		    s->system[next].value == (uint64_t)v.log_offset)
			(*system_seen)++;
		bad |= check_record(j, &v);
		bad |= check_entry(j, view, &v);
	}
	lt_cq_view_close(view);
	lt_reader_close(r);
	return bad;
}

/* --- promises ------------------------------------------------------------ */

/* Where the log may begin at this cut. */
static uint64_t
allowed_min(const struct judge *j)
{
	uint64_t min = 0;

	for (size_t i = 0; i < j->s->min_count && j->s->mins[i].at <= j->cut;
	     i++)
		min = j->s->mins[i].value;
	return min;
}

static int
check_promises(struct judge *j, size_t system_seen)
{
	const struct story *s = j->s;
	uint64_t min = lt_commitlog_min(j->d.log);
	size_t system = 0;

	if (min > allowed_min(j))
		return wrong(j,
		    "the log begins at %" PRIu64 ", not before %" PRIu64, min,
		    allowed_min(j));
	if (lt_commitlog_end(j->d.log) < j->durable)
		return wrong(j,
		    "the log ends at %" PRIu64 ", was synced to %" PRIu64,
		    lt_commitlog_end(j->d.log), j->durable);
	for (size_t i = 0; i < s->count; i++) {
		const struct story_sent *m = &s->sent[i];
		size_t at =
		    j->level == LEAT_LOGGED ? m->logged_at : m->synced_at;
		if (at > j->cut || m->status != LEAT_OK || m->log_offset < 0 ||
		    (uint64_t)m->log_offset < min || j->seen[i])
			continue;
		return wrong(j,
		    "lost: session=%" PRIx64 " at=%" PRId64
		    " acknowledged at event %zu",
		    m->session, m->log_offset, at);
	}
	for (size_t i = 0; i < s->system_count; i++)
		system +=
		    s->system[i].at <= j->cut && s->system[i].value >= min;
	return system_seen < system
		   ? wrong(j, "%zu of %zu system records are lost",
			 system - system_seen, system)
		   : 0;
}

/* Findings of the verifier behind what was synced are losses that may be. */
static void
on_finding(void *user, const char *line)
{
	struct judge *j = user;
	const char *at = strstr(line, "log.damaged offset=");

	at = at != NULL ? at + 19 : strstr(line, "before=");
	if (at != NULL && strncmp(at, "before=", 7) == 0)
		at += 7;
	if (at == NULL || strtoull(at, NULL, 10) < j->durable)
		(void)wrong(j, "verify: %s", line);
}

/* Write a little more, as the store that goes on would. */
static int
go_on(struct judge *j)
{
	static uint8_t buf[512];
	struct lt_cq *cq;

	for (uint64_t i = 0; i < 3; i++) {
		if (lt_commitlog_room(j->d.log) < 400 &&
		    lt_commitlog_roll(j->d.log) != LEAT_OK)
			return wrong(j, "no roll after recovery");
		if (lt_cq_get(j->d.queues, RIG_NAME, strlen(RIG_NAME), 3,
			&cq) != LEAT_OK)
			return wrong(j, "no queue after recovery");
		uint64_t at = lt_commitlog_end(j->d.log);
		size_t n = faults_record(buf, sizeof(buf), RIG_NAME, 3,
		    (uint64_t)cq->next, at, 1, NULL, 100, i + 1);
		struct lt_cq_entry e = {(int64_t)at, (uint32_t)n, 0};
		if (lt_commitlog_append(j->d.log, buf, n) != LEAT_OK ||
		    lt_cq_append(j->d.queues, cq, &e) != LEAT_OK)
			return wrong(j, "no append after recovery");
	}
	return checkpoint(&j->d) == LEAT_OK
		   ? 0
		   : wrong(j, "no checkpoint after recovery");
}

static int
once(struct judge *j, const char *dir)
{
	struct lt_verify_report report;
	size_t system_seen = 0;
	int rc = recover(&j->d, dir, &j->out->recovery_ns);

	if (rc != LEAT_OK)
		return wrong(j, "recovery: %s", leat_status_name(rc));
	j->out->records = j->d.recovered.records;
	j->out->damaged = j->d.recovered.damaged;
	if (lt_cq_flush_all(j->d.queues) != LEAT_OK)
		return wrong(j, "queues do not flush");
	if (walk(j, &system_seen) != 0 || check_promises(j, system_seen) != 0)
		return -1;
	rc = lt_recover_verify(j->d.store_dir, &report, on_finding, j);
	if (rc < 0)
		return wrong(j, "verify: %s", leat_status_name(rc));
	return j->out->why[0] == 0 ? 0 : -1;
}

int
story_judge(const struct story *s, size_t cut, uint32_t level, const char *dir,
    int goes_on, struct story_verdict *out)
{
	static struct judge j;
	uint64_t end, ns;
	int bad;

	memset(out, 0, sizeof(*out));
	memset(&j, 0, sizeof(j));
	j.s = s;
	j.cut = cut;
	j.level = level;
	j.out = out;
	for (size_t i = 0; i < s->end_count && s->ends[i].at <= cut; i++)
		j.durable = s->ends[i].value;
	j.seen = calloc(s->count + 1, 1);
	if (j.seen == NULL)
		abort();
	bad = once(&j, dir);
	if (bad == 0 && goes_on)
		bad = go_on(&j);
	end = j.d.log == NULL ? 0 : lt_commitlog_end(j.d.log);
	shut(&j.d);
	if (bad == 0 && recover(&j.d, dir, &ns) != LEAT_OK)
		bad = wrong(&j, "the second recovery fails");
	if (bad == 0 && lt_commitlog_end(j.d.log) != end)
		bad = wrong(&j,
		    "the second recovery ends at %" PRIu64
		    ", the first at %" PRIu64,
		    lt_commitlog_end(j.d.log), end);
	shut(&j.d);
	free(j.seen);
	return bad;
}
