/* depot.c - see depot.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "depot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/faults.h"
#include "leat/status.h"
#include "proto/name.h"
#include "proto/record.h"
#include "store/reader.h"

static uint8_t buf[1 << 20];

static void
set_options(struct depot *d)
{
	d->options.store_segment_bytes = DEPOT_SEGMENT;
	d->options.store_disk_full_percent = 100;
}

static void
make_directory(struct depot *d)
{
	d->top = faults_scratch(d->path, sizeof(d->path));
	assert_true(d->top >= 0);
	set_options(d);
}

static void
open_store(struct depot *d)
{
	d->dir = openat(d->top, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->dir >= 0);
}

void
depot_make(struct depot *d)
{
	memset(d, 0, sizeof(*d));
	make_directory(d);
	assert_int_equal(mkdirat(d->top, "store", 0750), 0);
	open_store(d);
}

void
depot_make_in(struct depot *d, int dir)
{
	memset(d, 0, sizeof(*d));
	set_options(d);
	d->dir = dir;
}

void
depot_remove(struct depot *d)
{
	depot_shut(d);
	close(d->dir);
	close(d->top);
	faults_remove_tree(d->path);
}

int
depot_open(struct depot *d)
{
	int rc = lt_commitlog_open(d->dir, &d->options, &d->log);

	if (rc == LEAT_OK)
		rc = lt_cq_set_open(d->dir, &d->queues);
	if (rc == LEAT_OK)
		rc = lt_recover_run(
		    d->dir, d->log, d->queues, &d->recovered, NULL, NULL);
	return rc;
}

void
depot_shut(struct depot *d)
{
	lt_recovered_fini(&d->recovered);
	lt_cq_set_close(d->queues);
	lt_commitlog_close(d->log);
	d->queues = NULL;
	d->log = NULL;
}

void
depot_checkpoint(struct depot *d)
{
	struct lt_session_mark marks[DEPOT_SESSIONS] = {0};
	size_t count = 0;

	for (size_t s = 0; s < DEPOT_SESSIONS; s++) {
		if (d->seqs[s] == 0)
			continue;
		marks[count].session = 0x1000 + s;
		marks[count].seq = d->seqs[s];
		for (size_t i = 0; i < d->count; i++)
			if (d->messages[i].session == 0x1000 + s)
				marks[count].last_ms = DEPOT_MS + (int64_t)i;
		count++;
	}
	assert_int_equal(lt_commitlog_sync(d->log), LEAT_OK);
	assert_int_equal(lt_snapshot_write(d->dir, d->queues,
			     lt_commitlog_end(d->log), marks, count),
	    LEAT_OK);
}

static void
make_body(uint8_t *body, size_t index, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		body[i] = (uint8_t)(index * 31 + i * 7 + (i >> 8));
}

size_t
depot_put(struct depot *d, const char *topic, uint32_t queue, size_t body_bytes)
{
	size_t index = d->count++;
	struct depot_message *m = &d->messages[index];
	char tag[2] = {(char)('a' + index % 26), 0};
	struct lt_record_spec spec = {
	    .topic = topic,
	    .topic_bytes = strlen(topic),
	    .queue = queue,
	    .tag = tag,
	    .tag_bytes = index % 4 == 0 ? 0 : 1,
	};
	struct lt_record_stamp stamp = {.store_ms = DEPOT_MS + (int64_t)index};
	struct lt_record_view v;
	struct lt_cq *cq;
	size_t n = lt_record_bytes(&spec, body_bytes);

	assert_true(index < DEPOT_MAX && n != 0 && n <= sizeof(buf));
	if (lt_commitlog_room(d->log) < n)
		assert_int_equal(lt_commitlog_roll(d->log), LEAT_OK);
	assert_int_equal(
	    lt_cq_get(d->queues, topic, strlen(topic), queue, &cq), LEAT_OK);
	snprintf(m->topic, sizeof(m->topic), "%s", topic);
	m->queue = queue;
	m->queue_offset = cq->next;
	m->log_offset = lt_commitlog_end(d->log);
	m->bytes = (uint32_t)n;
	m->body_bytes = (uint32_t)body_bytes;
	m->session = 0x1000 + index % DEPOT_SESSIONS;
	m->seq = ++d->seqs[index % DEPOT_SESSIONS];
	stamp.queue_offset = (uint64_t)m->queue_offset;
	stamp.log_offset = m->log_offset;
	stamp.session = m->session;
	stamp.seq = m->seq;
	make_body(buf + LT_RECORD_BODY_AT, index, body_bytes);
	assert_int_equal(lt_record_finish(buf, &spec, body_bytes), n);
	assert_int_equal(
	    lt_record_admit(buf, n, topic, strlen(topic), queue + 1, 0, &v),
	    LEAT_OK);
	lt_record_seal(buf, &v, &stamp);
	assert_int_equal(lt_commitlog_append(d->log, buf, n), LEAT_OK);
	assert_int_equal(lt_cq_append(d->queues, cq,
			     &(struct lt_cq_entry){(int64_t)m->log_offset,
				 m->bytes, lt_record_tags_code(&v)}),
	    LEAT_OK);
	return index;
}

void
depot_config(struct depot *d, const char *topic, int is_deleted)
{
	const struct lt_record_property props[] = {
	    {LT_NAME_CONFIG_NAME, strlen(LT_NAME_CONFIG_NAME), topic,
		strlen(topic)},
	    {LT_NAME_CONFIG_DELETED, strlen(LT_NAME_CONFIG_DELETED),
		is_deleted ? "1" : "0", 1},
	};
	struct lt_record_spec spec = {
	    .topic = LT_NAME_CONFIG_TOPIC,
	    .topic_bytes = strlen(LT_NAME_CONFIG_TOPIC),
	    .tag = "topic",
	    .tag_bytes = 5,
	    .properties = props,
	    .property_count = 2,
	};
	struct lt_record_stamp stamp = {
	    .store_ms = DEPOT_MS + (int64_t)d->count};
	struct lt_record_view v;
	struct lt_cq *cq;
	size_t n = lt_record_bytes(&spec, 0);

	assert_true(n != 0 && n <= sizeof(buf));
	if (lt_commitlog_room(d->log) < n)
		assert_int_equal(lt_commitlog_roll(d->log), LEAT_OK);
	assert_int_equal(
	    lt_cq_get(d->queues, spec.topic, spec.topic_bytes, 0, &cq),
	    LEAT_OK);
	stamp.queue_offset = (uint64_t)cq->next;
	stamp.log_offset = lt_commitlog_end(d->log);
	/* The system's session has no mark here: sequence 0. */
	assert_int_equal(lt_record_finish(buf, &spec, 0), n);
	assert_int_equal(
	    lt_record_admit(buf, n, spec.topic, spec.topic_bytes, 1, 0, &v),
	    LEAT_OK);
	lt_record_seal(buf, &v, &stamp);
	assert_int_equal(lt_commitlog_append(d->log, buf, n), LEAT_OK);
	assert_int_equal(lt_cq_append(d->queues, cq,
			     &(struct lt_cq_entry){(int64_t)stamp.log_offset,
				 (uint32_t)n, lt_record_tags_code(&v)}),
	    LEAT_OK);
}

void
depot_drop(struct depot *d, const char *topic)
{
	assert_int_equal(lt_cq_drop_topic(d->queues, topic), LEAT_OK);
	lt_cq_free_dropped(d->queues);
	assert_int_equal(lt_cq_remove_dropped(d->queues), LEAT_OK);
	depot_forget_topic(d, topic);
}

void
depot_forget_topic(struct depot *d, const char *topic)
{
	/* Only marked: a message's number says its body and session. */
	for (size_t i = 0; i < d->count; i++)
		if (strcmp(d->messages[i].topic, topic) == 0)
			d->messages[i].is_dropped = 1;
}

void
depot_fill(struct depot *d, size_t count, size_t body_bytes)
{
	static const char *const topics[] = {"orders", "orders2", "%DLQ%g"};

	for (size_t i = 0; i < count; i++) {
		size_t n = d->count;

		depot_put(
		    d, topics[n % 3], (uint32_t)(n % 7), body_bytes + n % 50);
	}
}

static void
check_message(
    struct depot *d, struct lt_cq_view *view, struct lt_reader *r, size_t index)
{
	const struct depot_message *m = &d->messages[index];
	struct lt_cq_entry e = {0};
	struct lt_record_view v;
	uint64_t session, seq;
	size_t count;

	assert_int_equal(lt_cq_view_read(view, m->topic, m->queue,
			     m->queue_offset, &e, 1, &count),
	    LEAT_OK);
	if (m->is_lost) {
		assert_int_equal(e.bytes, 0);
		return;
	}
	assert_int_equal(count, 1);
	assert_int_equal(e.log_offset, m->log_offset);
	assert_int_equal(e.bytes, m->bytes);
	assert_int_equal(lt_reader_get(r, m->log_offset, &v), LEAT_OK);
	assert_int_equal(v.queue_offset, m->queue_offset);
	assert_int_equal(e.tags_code, lt_record_tags_code(&v));
	assert_int_equal(lt_record_identity(&v, &session, &seq), LEAT_OK);
	assert_true(session == m->session && seq == m->seq);
	assert_int_equal(v.body_bytes, m->body_bytes);
	make_body(buf, index, m->body_bytes);
	assert_memory_equal(v.body, buf, m->body_bytes);
}

void
depot_check(struct depot *d)
{
	struct lt_reader *r;
	struct lt_cq_view *view;

	assert_int_equal(lt_cq_flush_all(d->queues), LEAT_OK);
	assert_int_equal(lt_reader_open(d->dir, &r), LEAT_OK);
	assert_int_equal(lt_cq_view_open(d->dir, &view), LEAT_OK);
	for (size_t i = 0; i < d->count; i++)
		if (!d->messages[i].is_dropped)
			check_message(d, view, r, i);
	/* The newest message of a queue stands just below its end. */
	for (size_t i = 0; i < d->count; i++) {
		const struct depot_message *m = &d->messages[i];
		struct lt_cq *cq =
		    lt_cq_find(d->queues, m->topic, strlen(m->topic), m->queue);
		struct lt_cq_entry e;
		size_t j, count;

		for (j = i + 1; j < d->count; j++)
			if (d->messages[j].queue == m->queue &&
			    strcmp(d->messages[j].topic, m->topic) == 0)
				break;
		if (j < d->count || m->is_lost || m->is_dropped)
			continue;
		assert_non_null(cq);
		assert_int_equal(cq->next, m->queue_offset + 1);
		assert_int_equal(lt_cq_view_read(view, m->topic, m->queue,
				     cq->next, &e, 1, &count),
		    LEAT_OK);
		assert_int_equal(count, 0);
	}
	lt_cq_view_close(view);
	lt_reader_close(r);
}

void
depot_forget(struct depot *d, uint64_t log_offset)
{
	while (d->count > 0 &&
	       d->messages[d->count - 1].log_offset >= log_offset) {
		d->count--;
		d->seqs[d->count % DEPOT_SESSIONS]--;
	}
}

/* --- harm ----------------------------------------------------------------- */

static int
open_at(struct depot *d, uint64_t at, off_t *pos_out)
{
	uint64_t size = d->options.store_segment_bytes;
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "commitlog/%020" PRIu64, at / size * size);
	fd = openat(d->dir, name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	*pos_out = (off_t)(at % size);
	return fd;
}

void
depot_read(struct depot *d, uint64_t at, void *p, size_t bytes)
{
	off_t pos;
	int fd = open_at(d, at, &pos);

	assert_int_equal(pread(fd, p, bytes, pos), bytes);
	close(fd);
}

void
depot_write(struct depot *d, uint64_t at, const void *p, size_t bytes)
{
	off_t pos;
	int fd = open_at(d, at, &pos);

	assert_int_equal(pwrite(fd, p, bytes, pos), bytes);
	close(fd);
}

void
depot_flip(struct depot *d, uint64_t at)
{
	uint8_t c;

	depot_read(d, at, &c, 1);
	c ^= 0x10;
	depot_write(d, at, &c, 1);
}

void
depot_zero(struct depot *d, uint64_t at, size_t bytes)
{
	memset(buf, 0, bytes);
	depot_write(d, at, buf, bytes);
}

int
depot_has(struct depot *d, const char *path)
{
	return faccessat(d->dir, path, F_OK, 0) == 0;
}

/* --- copies --------------------------------------------------------------- */

static int
run(const char *fmt, const char *a, const char *b)
{
	char command[700];

	snprintf(command, sizeof(command), fmt, a, b);
	return system(command);
}

void
depot_copy(struct depot *from, struct depot *to)
{
	memcpy(to, from, sizeof(*to));
	to->log = NULL;
	to->queues = NULL;
	memset(&to->recovered, 0, sizeof(to->recovered));
	make_directory(to);
	assert_int_equal(
	    run("cp -a --sparse=always %s/store %s/", from->path, to->path), 0);
	open_store(to);
}

int
depot_differ(struct depot *a, struct depot *b)
{
	return run("diff -r %s/store %s/store >&2", a->path, b->path);
}

/* --- lines ---------------------------------------------------------------- */

void
depot_report(void *user, const char *line)
{
	struct depot_lines *l = user;

	if (l->count < 64)
		snprintf(l->text[l->count++], sizeof(l->text[0]), "%s", line);
}

int
depot_said(const struct depot_lines *l, const char *a, const char *b)
{
	for (size_t i = 0; i < l->count; i++)
		if (strstr(l->text[i], a) != NULL &&
		    strstr(l->text[i], b) != NULL)
			return 1;
	return 0;
}
