/*
 * cq_fuzz.c - any bytes as files of a consume queue: a view reads exactly the
 * entries that are there, a search for the oldest ends within the queue, and
 * numbering a queue from its files alone finds an end that they hold.
 *
 * Input: flags, offset u16, count u8, log minimum u64, then a file's bytes.
 */
#include "config.h"

#include <string.h>

#include "../support/memfs.h"
#include "base/bytes.h"
#include "base/log.h"
#include "leat/status.h"
#include "store/derive.h"

#define FUZZ_NAME "cq"
#define FUZZ_RUNS 20000
#include "drive.h"

#define HEAD_BYTES 12
#define ENTRY LT_CQ_ENTRY_BYTES
#define FILE_BYTES ((size_t)LT_CQ_FILE_ENTRIES * ENTRY)
#define ENTRIES_MAX 256
#define QUEUE "consumequeue/t/0"

enum {
	IS_SECOND = 1, /* the bytes are those of the queue's second file */
	IS_SHORT = 2, /* and are all of it */
	IS_AT_END = 4 /* and stand at its end */
};

static int dir = -1;

static void
put_file(unsigned flags, const uint8_t *p, size_t bytes)
{
	memfs_put(flags & IS_SECOND ? QUEUE "/00000000000006000000"
				    : QUEUE "/00000000000000000000",
	    flags & IS_AT_END ? FILE_BYTES - bytes : 0, p, bytes,
	    flags & IS_SHORT ? bytes : FILE_BYTES);
}

static uint32_t
size_at(const uint8_t *p, size_t i)
{
	return lt_bytes_get32(p + i * ENTRY + 8);
}

/* What [from, from + max) of the queue must give, by counting. */
static size_t
expected(const uint8_t *p, size_t n, size_t from, size_t max)
{
	size_t last = 0; /* behind the last entry that is not empty */

	for (size_t i = 0; i < n; i++)
		if (size_at(p, i) != 0)
			last = i + 1;
	return last <= from ? 0 : last - from < max ? last - from : max;
}

static void
read_view(struct lt_cq_view *view, unsigned flags, const uint8_t *p, size_t n,
    size_t from, size_t max)
{
	static struct lt_cq_entry out[256];
	int64_t base = flags & IS_SECOND ? LT_CQ_FILE_ENTRIES : 0;
	size_t count, want;

	if (flags & IS_AT_END)
		base += LT_CQ_FILE_ENTRIES - (int64_t)n;
	LT_ASSERT(lt_cq_view_read(view, "t", 0, base + (int64_t)from, out, max,
		      &count) == LEAT_OK);
	LT_ASSERT(count <= max);
	if (flags & IS_SHORT)
		return;
	want = expected(p, n, from, max);
	LT_ASSERT(count == want);
	for (size_t i = 0; i < count && from + i < n; i++) {
		const uint8_t *e = p + (from + i) * ENTRY;

		LT_ASSERT((uint64_t)out[i].log_offset == lt_bytes_get64(e));
		LT_ASSERT(out[i].bytes == size_at(p, from + i));
		LT_ASSERT((uint64_t)out[i].tags_code == lt_bytes_get64(e + 12));
	}
}

static void
seed_queue(uint64_t log_min, int64_t end)
{
	struct lt_cq_set *set;
	struct lt_cq *cq;

	LT_ASSERT(lt_cq_set_open(dir, &set) == LEAT_OK);
	LT_ASSERT(lt_derive_seed(dir, set, log_min) == LEAT_OK);
	cq = lt_cq_find(set, "t", 1, 0);
	LT_ASSERT(cq == NULL || (cq->next > 0 && cq->next <= end));
	lt_cq_set_close(set);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct lt_cq_view *view;
	unsigned flags;
	uint64_t log_min;
	int64_t end, min;
	size_t from, max;

	if (bytes < HEAD_BYTES)
		return 0;
	if (dir < 0) {
		lt_log_init("cq_fuzz", LT_LOG_ERROR);
		dir = memfs_mount();
	}
	flags = data[0];
	if (flags & IS_SHORT)
		flags &= ~(unsigned)IS_AT_END;
	from = lt_bytes_get16(data + 1) % ENTRIES_MAX;
	max = 1u + data[3] % 255;
	log_min = lt_bytes_get64(data + 4);
	data += HEAD_BYTES;
	bytes -= HEAD_BYTES;
	if (!(flags & IS_SHORT))
		bytes -= bytes % ENTRY;
	if (bytes > ENTRIES_MAX * ENTRY)
		bytes = ENTRIES_MAX * ENTRY;
	if (flags & IS_AT_END && from > bytes / ENTRY)
		from = bytes / ENTRY;
	put_file(flags, data, bytes);
	LT_ASSERT(lt_cq_view_open(dir, &view) == LEAT_OK);
	read_view(view, flags, data, bytes / ENTRY, from, max);
	end = (flags & IS_SECOND ? 2 : 1) * (int64_t)LT_CQ_FILE_ENTRIES;
	/* Not over the whole file: a search reads what is empty, too. */
	for (int64_t to = end - LT_CQ_FILE_ENTRIES, n = 0; n < 3;
	     n++, to += (int64_t)from) {
		LT_ASSERT(
		    lt_cq_view_min(view, "t", 0, log_min, to, &min) == LEAT_OK);
		LT_ASSERT(min >= 0 && min <= to);
	}
	lt_cq_view_close(view);
	if (flags & IS_SHORT)
		seed_queue(log_min, end);
	memfs_clear();
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t count = n * 5;

	memset(buf, 0, HEAD_BYTES);
	buf[0] = (uint8_t)n;
	lt_bytes_put16(buf + 1, (uint16_t)(n / 2));
	buf[3] = (uint8_t)(n * 3);
	lt_bytes_put64(buf + 4, n * 300);
	for (size_t i = 0; i < count; i++) {
		uint8_t *e = buf + HEAD_BYTES + i * ENTRY;

		lt_bytes_put64(e, i * 150);
		lt_bytes_put32(e + 8, i % 4 == 3 ? 0 : 150);
		lt_bytes_put64(e + 12, i * 7);
	}
	return HEAD_BYTES + count * ENTRY;
}
