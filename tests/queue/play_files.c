/*
 * play_files.c - the read-only side of the played store, as leat-queue calls
 * it: a log in memory. Consume queues are only there as far as the store has
 * told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "play_world.h"
#include "queue/keyindex.h"
#include "store/consumequeue.h"
#include "store/reader.h"
#include "supervisor/sandbox.h"

struct lt_reader {
	uint64_t min; /* as of the last refresh */
	unsigned refreshes;
};
struct lt_cq_view {
	int unused;
};
struct lt_keyindex {
	uint64_t end;
};
static struct lt_reader fake_reader;
static struct lt_cq_view fake_view;
static struct lt_keyindex fake_index;

int
lt_sandbox_enter(const char *process, int dir_fd, const char *socket_path)
{
	return LEAT_OK;
}

int
lt_reader_open(int store_dir, struct lt_reader **out)
{
	fake_reader.min = play_world.log_min;
	*out = &fake_reader;
	return LEAT_OK;
}
unsigned
play_refreshes(void)
{
	return fake_reader.refreshes;
}
void
lt_reader_close(struct lt_reader *r)
{
}
int
lt_reader_refresh(struct lt_reader *r)
{
	r->min = play_world.log_min;
	r->refreshes++;
	return LEAT_OK;
}
uint64_t
lt_reader_min(const struct lt_reader *r)
{
	return r->min;
}
uint64_t
lt_reader_segment_bytes(const struct lt_reader *r)
{
	return 4 << 20; /* four records */
}
uint64_t
lt_reader_limit(const struct lt_reader *r)
{
	return (uint64_t)play_world.log_count << 20;
}

/* Log offsets are index << 20. */
int
lt_reader_get(
    struct lt_reader *r, uint64_t log_offset, struct lt_record_view *view)
{
	size_t i = log_offset >> 20;

	if (log_offset < play_world.log_min || i >= play_world.log_count)
		return LEAT_E_NOTFOUND;
	if (play_world.log[i].damaged)
		return LEAT_E_CORRUPT;
	*view = play_world.log[i].view;
	return LEAT_OK;
}

int
lt_reader_copy(struct lt_reader *r, uint64_t log_offset, uint32_t bytes,
    void *dst, struct lt_record_view *view)
{
	int status = lt_reader_get(r, log_offset, view);

	if (status != LEAT_OK)
		return status;
	assert_int_equal(bytes, view->bytes);
	memcpy(dst, view->base, bytes);
	return LEAT_OK;
}

struct play_queue *
play_queue_find(const char *topic, uint32_t queue)
{
	for (size_t i = 0; i < play_world.queue_count; i++)
		if (play_world.queues[i]->queue == queue &&
		    strcmp(play_world.queues[i]->topic, topic) == 0)
			return play_world.queues[i];
	return NULL;
}

void
play_hide(const char *topic, uint32_t queue, int on)
{
	play_queue_get(topic, queue)->hidden = on;
}

struct play_queue *
play_queue_get(const char *topic, uint32_t queue)
{
	struct play_queue *q = play_queue_find(topic, queue);

	if (q != NULL)
		return q;
	assert_true(play_world.queue_count < QUEUES);
	q = calloc(1, sizeof(*q));
	assert_non_null(q);
	assert_int_equal(lt_bytes_field(q->topic, sizeof(q->topic), topic), 0);
	q->queue = queue;
	play_world.queues[play_world.queue_count++] = q;
	return q;
}

int
lt_cq_view_open(int store_dir, struct lt_cq_view **out)
{
	*out = &fake_view;
	return LEAT_OK;
}
void
lt_cq_view_close(struct lt_cq_view *view)
{
}

/* The store played here has space always. */
int
lt_cq_view_lent(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t first, size_t count, int fd)
{
	assert_int_equal(fd, -1);
	return LEAT_OK;
}

int
lt_cq_view_read(struct lt_cq_view *view, const char *topic, uint32_t queue,
    int64_t offset, struct lt_cq_entry *out, size_t max, size_t *count_out)
{
	struct play_queue *q = play_queue_find(topic, queue);
	size_t n = 0;

	assert_non_null(q);
	/* Nobody looks at what the store has not told to be there. */
	assert_true(offset + (int64_t)max <= q->flushed);
	for (int64_t o = offset; !q->hidden && o < q->flushed && n < max;
	     o++, n++) {
		const struct play_record *r = &play_world.log[q->at[o]];

		out[n].log_offset = (int64_t)(q->at[o] << 20);
		out[n].bytes = r->entry_bytes != 0 ? r->entry_bytes : r->bytes;
		out[n].tags_code = lt_record_tags_code(&r->view);
	}
	*count_out = n;
	return LEAT_OK;
}

int
lt_cq_view_min(struct lt_cq_view *view, const char *topic, uint32_t queue,
    uint64_t log_min, int64_t max, int64_t *min_out)
{
	struct play_queue *q = play_queue_find(topic, queue);
	int64_t o = 0;

	if (q == NULL)
		return LEAT_E_NOTFOUND;
	assert_true(max <= q->flushed);
	while (o < max && o < q->flushed && (uint64_t)q->at[o] << 20 < log_min)
		o++;
	*min_out = o;
	return LEAT_OK;
}

int
lt_keyindex_open(int store_dir, struct lt_keyindex **out)
{
	*out = &fake_index;
	return LEAT_OK;
}
void
lt_keyindex_close(struct lt_keyindex *ix)
{
}
int
lt_keyindex_trim(struct lt_keyindex *ix, uint64_t log_min)
{
	return LEAT_OK;
}

uint64_t
lt_keyindex_end(const struct lt_keyindex *ix)
{
	return ix->end;
}
int
lt_keyindex_step(struct lt_keyindex *ix, struct lt_reader *reader,
    uint64_t budget_bytes, uint64_t log_end)
{
	/* Two steps, so that waiting is tried too. */
	if (ix->end < log_end / 2) {
		ix->end = log_end / 2;
		return LEAT_E_AGAIN;
	}
	ix->end = log_end;
	return LEAT_OK;
}

/* Every record below the end is a candidate: hashes may all collide. */
int
lt_keyindex_find(struct lt_keyindex *ix, const char *topic, size_t topic_bytes,
    const char *key, size_t key_bytes, int64_t begin_ms, int64_t end_ms,
    uint64_t *log_offsets, size_t max, size_t *count_out)
{
	size_t n = 0;

	for (size_t i = 0; i < play_world.log_count && n < max; i++)
		if ((uint64_t)i << 20 < ix->end)
			log_offsets[n++] = (uint64_t)i << 20;
	*count_out = n;
	return LEAT_OK;
}
int
lt_keyindex_find_by_id(struct lt_keyindex *ix, const char *id, size_t id_bytes,
    const char *(*next_topic)(void *user), void *user, uint64_t *log_offsets,
    size_t max, size_t *count_out)
{
	return lt_keyindex_find(
	    ix, "", 0, id, id_bytes, 0, 0, log_offsets, max, count_out);
}

void
play_index_forget(void)
{
	memset(&fake_index, 0, sizeof(fake_index));
}
