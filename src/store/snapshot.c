/*
 * snapshot.c - what is derived from the log, as of one log offset: next
 * offsets of the queues and last sequences of the sessions. snapshot.h has the
 * format. Replaced atomically, so a crash leaves the old or the new one; its
 * bytes depend only on what is in it, not on time or order.
 */
#include "config.h"
#include "store/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "proto/limits.h"

#define MAGIC "LEATSNAP"
#define FORMAT 1
#define HEAD_BYTES 48
#define QUEUE_BYTES 14 /* without the topic */
#define MARK_BYTES 24
#define PRINT_BYTES 4096
#define FIRST_BYTES 512
#define FILE_MAX (1u << 30)

/* --- writing -------------------------------------------------------------- */

/* Rows as in the file, one for each queue, in no order. */
struct lt_snapshot_image {
	uint64_t log_offset;
	uint8_t *rows;
	size_t row_bytes;
	size_t row_capacity;
	size_t queue_count;
	struct lt_session_mark *marks;
	size_t mark_count;
};

static int
take_queue(struct lt_cq *cq, void *user)
{
	struct lt_snapshot_image *image = user;
	const char *topic = lt_cq_topic_name(cq);
	size_t n = strlen(topic);
	uint8_t *p;

	if (cq->next == 0)
		return LEAT_OK;
	if (image->row_bytes + QUEUE_BYTES + n > image->row_capacity) {
		size_t capacity =
		    2 * image->row_capacity + QUEUE_BYTES + LT_NAME_FIELD;
		p = lt_mem_resize(image->rows, capacity);
		if (p == NULL)
			return LEAT_E_NOMEM;
		image->rows = p;
		image->row_capacity = capacity;
	}
	p = image->rows + image->row_bytes;
	lt_bytes_put16(p, (uint16_t)n);
	lt_bytes_put32(p + 2, cq->queue);
	lt_bytes_put64(p + 6, (uint64_t)cq->next);
	memcpy(p + QUEUE_BYTES, topic, n);
	image->row_bytes += QUEUE_BYTES + n;
	image->queue_count++;
	return LEAT_OK;
}

int
lt_snapshot_take(struct lt_cq_set *queues, uint64_t log_offset,
    const struct lt_session_mark *marks, size_t mark_count,
    struct lt_snapshot_image **out)
{
	struct lt_snapshot_image *image = lt_mem_alloc(sizeof(*image));
	int rc = LEAT_E_NOMEM;

	if (image == NULL)
		return rc;
	image->log_offset = log_offset;
	image->marks = lt_mem_array(mark_count + 1, sizeof(*image->marks));
	image->mark_count = mark_count;
	if (image->marks != NULL) {
		if (mark_count > 0)
			memcpy(
			    image->marks, marks, mark_count * sizeof(*marks));
		rc = lt_cq_each(queues, take_queue, image);
	}
	if (rc != LEAT_OK) {
		lt_snapshot_image_free(image);
		return rc;
	}
	*out = image;
	return LEAT_OK;
}

void
lt_snapshot_image_free(struct lt_snapshot_image *image)
{
	if (image == NULL)
		return;
	lt_mem_free(image->rows);
	lt_mem_free(image->marks);
	lt_mem_free(image);
}

/* By topic, then queue. */
static int
compare_rows(const void *a, const void *b)
{
	const uint8_t *x = *(const uint8_t *const *)a;
	const uint8_t *y = *(const uint8_t *const *)b;
	size_t n = lt_bytes_get16(x), m = lt_bytes_get16(y);
	uint32_t p = lt_bytes_get32(x + 2), q = lt_bytes_get32(y + 2);
	int order = memcmp(x + QUEUE_BYTES, y + QUEUE_BYTES, n < m ? n : m);

	if (order == 0)
		order = (n > m) - (n < m);
	return order != 0 ? order : (p > q) - (p < q);
}

static int
compare_marks(const void *a, const void *b)
{
	const struct lt_session_mark *x = a, *y = b;

	return (x->session > y->session) - (x->session < y->session);
}

/* CRC of the log's bytes that a snapshot at this offset is recognised by.
 * *bytes_out 0: there are none (the log begins here). */
static int
take_print(struct lt_reader *r, uint64_t log_offset, uint64_t *at_out,
    uint32_t *bytes_out, uint32_t *crc_out)
{
	uint64_t base, at;
	const uint8_t *p;
	size_t bytes;
	int rc;

	*at_out = log_offset;
	*bytes_out = *crc_out = 0;
	if (log_offset == 0)
		return LEAT_OK;
	rc = lt_reader_segment(r, log_offset - 1, &base);
	if (rc == LEAT_E_NOTFOUND) /* retention took it, or never was */
		return LEAT_OK;
	bytes = log_offset - base;
	if (bytes == lt_reader_segment_bytes(r)) {
		/* The end of a full segment is not defined; its beginning
		 * is. */
		at = base;
		bytes = bytes < FIRST_BYTES ? bytes : FIRST_BYTES;
	} else {
		if (bytes > PRINT_BYTES)
			bytes = PRINT_BYTES;
		at = log_offset - bytes;
	}
	rc = lt_reader_bytes(r, at, &p, &(size_t){0});
	if (rc != LEAT_OK)
		return rc;
	*at_out = at;
	*bytes_out = (uint32_t)bytes;
	*crc_out = lt_crc32(0, p, bytes);
	return LEAT_OK;
}

static int
write_head(int store_dir, uint8_t *p, uint64_t log_offset, size_t bytes,
    size_t queue_count, size_t mark_count)
{
	struct lt_reader *r;
	uint64_t print_at;
	uint32_t print_bytes, print_crc;
	int rc = lt_reader_open(store_dir, &r);

	if (rc != LEAT_OK)
		return rc;
	rc = take_print(r, log_offset, &print_at, &print_bytes, &print_crc);
	lt_reader_close(r);
	if (rc != LEAT_OK)
		return rc;
	memcpy(p, MAGIC, 8);
	lt_bytes_put32(p + 8, FORMAT);
	lt_bytes_put32(p + 12, (uint32_t)queue_count);
	lt_bytes_put32(p + 16, (uint32_t)mark_count);
	lt_bytes_put32(p + 20, print_bytes);
	lt_bytes_put64(p + 24, log_offset);
	lt_bytes_put64(p + 32, print_at);
	lt_bytes_put32(p + 40, print_crc);
	lt_bytes_put32(p + 44, (uint32_t)bytes);
	return LEAT_OK;
}

static int
write_queues(uint8_t *p, const struct lt_snapshot_image *image)
{
	const uint8_t **rows =
	    lt_mem_array(image->queue_count + 1, sizeof(*rows));
	const uint8_t *row = image->rows;

	if (rows == NULL)
		return LEAT_E_NOMEM;
	for (size_t i = 0; i < image->queue_count; i++) {
		rows[i] = row;
		row += QUEUE_BYTES + lt_bytes_get16(row);
	}
	if (image->queue_count > 1)
		qsort(rows, image->queue_count, sizeof(*rows), compare_rows);
	for (size_t i = 0; i < image->queue_count; i++) {
		size_t n = QUEUE_BYTES + lt_bytes_get16(rows[i]);

		memcpy(p, rows[i], n);
		p += n;
	}
	lt_mem_free(rows);
	return LEAT_OK;
}

static int
write_marks(uint8_t *p, const struct lt_snapshot_image *image)
{
	size_t n = image->mark_count;
	struct lt_session_mark *sorted = lt_mem_array(n + 1, sizeof(*sorted));

	if (sorted == NULL)
		return LEAT_E_NOMEM;
	memcpy(sorted, image->marks, n * sizeof(*sorted));
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), compare_marks);
	for (size_t i = 0; i < n; i++, p += MARK_BYTES) {
		lt_bytes_put64(p, sorted[i].session);
		lt_bytes_put64(p + 8, sorted[i].seq);
		lt_bytes_put64(p + 16, (uint64_t)sorted[i].last_ms);
	}
	lt_mem_free(sorted);
	return LEAT_OK;
}

int
lt_snapshot_put(int store_dir, const struct lt_snapshot_image *image)
{
	size_t crc_at =
	    HEAD_BYTES + image->row_bytes + image->mark_count * MARK_BYTES;
	size_t bytes = crc_at + sizeof(uint32_t);
	uint8_t *buf;
	int rc;

	if (bytes > FILE_MAX)
		return LEAT_E_LIMIT;
	buf = lt_mem_alloc(bytes);
	if (buf == NULL)
		return LEAT_E_NOMEM;
	rc = write_head(store_dir, buf, image->log_offset, bytes,
	    image->queue_count, image->mark_count);
	if (rc == LEAT_OK)
		rc = write_queues(buf + HEAD_BYTES, image);
	if (rc == LEAT_OK)
		rc = write_marks(buf + HEAD_BYTES + image->row_bytes, image);
	if (rc == LEAT_OK)
		rc = lt_sys_status(lt_failpoint(LT_FP_STORE_CHECKPOINT_RENAME));
	if (rc == LEAT_OK) {
		lt_bytes_put32(buf + crc_at, lt_crc32(0, buf, crc_at));
		rc = lt_sys_replace_file(
		    store_dir, LT_SNAPSHOT_NAME, buf, bytes);
	}
	lt_mem_free(buf);
	return rc;
}

int
lt_snapshot_write(int store_dir, struct lt_cq_set *queues, uint64_t log_offset,
    const struct lt_session_mark *marks, size_t mark_count)
{
	struct lt_snapshot_image *image = NULL;
	int rc = lt_cq_flush_all(queues);

	if (rc == LEAT_OK)
		rc = lt_cq_sync_all(queues);
	if (rc == LEAT_OK)
		rc = lt_snapshot_take(
		    queues, log_offset, marks, mark_count, &image);
	if (rc == LEAT_OK)
		rc = lt_snapshot_put(store_dir, image);
	lt_snapshot_image_free(image);
	return rc;
}

/* --- reading -------------------------------------------------------------- */

static int
load(int store_dir, uint8_t **buf_out, size_t *bytes_out)
{
	struct stat st;
	uint8_t *buf = NULL;
	int rc = LEAT_OK;
	int fd =
	    lt_sys.openat(store_dir, LT_SNAPSHOT_NAME, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	if (lt_sys.fstat(fd, &st) != 0)
		rc = lt_sys_status(errno);
	else if (st.st_size < (off_t)(HEAD_BYTES + sizeof(uint32_t)) ||
		 st.st_size > FILE_MAX)
		rc = LEAT_E_CORRUPT;
	if (rc == LEAT_OK && (buf = lt_mem_alloc((size_t)st.st_size)) == NULL)
		rc = LEAT_E_NOMEM;
	if (rc == LEAT_OK)
		rc = lt_sys_read_full(fd, buf, (size_t)st.st_size, 0);
	lt_sys.close(fd);
	if (rc != LEAT_OK) {
		lt_mem_free(buf);
		return rc == LEAT_E_END ? LEAT_E_CORRUPT : rc;
	}
	*buf_out = buf;
	*bytes_out = (size_t)st.st_size;
	return LEAT_OK;
}

/* What a queue can be, also if the checksum is right by chance. */
static int
is_queue(const struct lt_snapshot_queue *q)
{
	return q->topic_bytes > 0 && q->topic_bytes < LT_NAME_FIELD &&
	       q->topic[0] != '.' &&
	       memchr(q->topic, '/', q->topic_bytes) == NULL &&
	       memchr(q->topic, 0, q->topic_bytes) == NULL &&
	       q->queue < LT_QUEUES_MAX && q->next > 0 &&
	       q->next <= INT64_MAX / LT_CQ_ENTRY_BYTES - LT_CQ_FILE_ENTRIES;
}

static int
parse_queues(struct lt_snapshot *s, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *p = *at;

	for (size_t i = 0; i < s->queue_count; i++) {
		struct lt_snapshot_queue *q = &s->queues[i];

		if (end - p < QUEUE_BYTES)
			return LEAT_E_CORRUPT;
		q->topic_bytes = lt_bytes_get16(p);
		q->queue = lt_bytes_get32(p + 2);
		q->next = (int64_t)lt_bytes_get64(p + 6);
		q->topic = (const char *)p + QUEUE_BYTES;
		p += QUEUE_BYTES;
		if (q->topic_bytes > end - p || !is_queue(q))
			return LEAT_E_CORRUPT;
		p += q->topic_bytes;
	}
	*at = p;
	return LEAT_OK;
}

static int
parse(struct lt_snapshot *s, size_t bytes)
{
	const uint8_t *p = s->buf;
	const uint8_t *end = p + bytes - sizeof(uint32_t);
	int rc;

	if (memcmp(p, MAGIC, 8) != 0 || lt_bytes_get32(p + 44) != bytes ||
	    lt_bytes_get32(end) != lt_crc32(0, p, bytes - sizeof(uint32_t)))
		return LEAT_E_CORRUPT;
	if (lt_bytes_get32(p + 8) != FORMAT)
		return LEAT_E_VERSION;
	s->queue_count = lt_bytes_get32(p + 12);
	s->mark_count = lt_bytes_get32(p + 16);
	s->print_bytes = lt_bytes_get32(p + 20);
	s->log_offset = lt_bytes_get64(p + 24);
	s->print_at = lt_bytes_get64(p + 32);
	s->print_crc = lt_bytes_get32(p + 40);
	if (s->log_offset > INT64_MAX || s->queue_count > bytes / QUEUE_BYTES ||
	    s->mark_count > bytes / MARK_BYTES)
		return LEAT_E_CORRUPT;
	s->queues = lt_mem_array(s->queue_count + 1, sizeof(*s->queues));
	s->marks = lt_mem_array(s->mark_count + 1, sizeof(*s->marks));
	if (s->queues == NULL || s->marks == NULL)
		return LEAT_E_NOMEM;
	p += HEAD_BYTES;
	rc = parse_queues(s, &p, end);
	if (rc != LEAT_OK)
		return rc;
	if ((size_t)(end - p) != s->mark_count * MARK_BYTES)
		return LEAT_E_CORRUPT;
	for (size_t i = 0; i < s->mark_count; i++, p += MARK_BYTES) {
		s->marks[i].session = lt_bytes_get64(p);
		s->marks[i].seq = lt_bytes_get64(p + 8);
		s->marks[i].last_ms = (int64_t)lt_bytes_get64(p + 16);
	}
	return LEAT_OK;
}

int
lt_snapshot_read(int store_dir, struct lt_snapshot *out)
{
	size_t bytes = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = load(store_dir, &out->buf, &bytes);
	if (rc == LEAT_OK)
		rc = parse(out, bytes);
	if (rc != LEAT_OK)
		lt_snapshot_fini(out);
	return rc;
}

void
lt_snapshot_fini(struct lt_snapshot *s)
{
	lt_mem_free(s->buf);
	lt_mem_free(s->queues);
	lt_mem_free(s->marks);
	memset(s, 0, sizeof(*s));
}

int
lt_snapshot_match(const struct lt_snapshot *s, struct lt_reader *r)
{
	uint64_t at;
	uint32_t bytes, crc;
	int rc;

	if (s->log_offset > lt_reader_limit(r) ||
	    s->log_offset < lt_reader_min(r))
		return LEAT_E_END;
	rc = take_print(r, s->log_offset, &at, &bytes, &crc);
	if (rc != LEAT_OK)
		return rc;
	/* Nothing is left of what it was taken from: only where the log begins
	 * may that be so. */
	if (bytes == 0)
		return s->log_offset == lt_reader_min(r) ? LEAT_OK
							 : LEAT_E_CORRUPT;
	return at == s->print_at && bytes == s->print_bytes &&
		       crc == s->print_crc
		   ? LEAT_OK
		   : LEAT_E_CORRUPT;
}
