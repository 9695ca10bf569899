/*
 * recover_fuzz.c - any bytes as a store: the input's first two bytes say how
 * much of it is the snapshot (top bit: its checksum is made right), the rest is
 * the log's first segment. Recovery
 * comes to an end without error, a second one finds the same, and verify agrees
 * that no record is damaged that recovery did not count.
 */
#include "config.h"

#include <string.h>

#include "../support/faults.h"
#include "../support/memfs.h"
#include "base/bytes.h"
#include "base/crc32.h"
#include "base/log.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "store/recover.h"

#define FUZZ_NAME "recover"
#define FUZZ_RUNS 2000
#include "drive.h"

#define SEGMENT 8192u
#define LONGEST 300 /* queue, unless it is far too long */
#define WIDEST 64 /* topic, likewise */
#define FIRST "commitlog/00000000000000000000"

static int dir = -1;

/* Past the checksum, so that what is behind it meets strange values too. */
static void
put_snapshot(uint8_t *p, size_t bytes, int is_sealed)
{
	for (size_t at = 48; at + 14 <= bytes;
	     at += 14 + lt_bytes_get16(p + at)) {
		uint32_t queue = lt_bytes_get32(p + at + 2);

		if (queue > WIDEST && queue < LT_QUEUES_MAX)
			lt_bytes_put32(p + at + 2, queue % WIDEST);
	}
	if (is_sealed && bytes >= 52) {
		memcpy(p, "LEATSNAP", 8);
		lt_bytes_put32(p + 8, 1);
		lt_bytes_put32(p + 44, (uint32_t)bytes);
		lt_bytes_put32(p + bytes - 4, lt_crc32(0, p, bytes - 4));
	}
	memfs_put("snapshot", 0, p, bytes, bytes);
}

/* A record without a checksum is believed to stand behind as many lost ones as
 * it says, up to a million, and a queue with as many entries is made: done for
 * a few here, and refused for more than a million. So with the number of the
 * queue: a topic has a table of that length, gone through again and again. */
static void
shorten_queues(uint8_t *p, size_t bytes)
{
	static const uint8_t magic[] = {0xda, 0xa3, 0x20};
	uint8_t *end = p + bytes;

	for (; (p = memmem(p, (size_t)(end - p), magic, sizeof(magic))) != NULL;
	     p++) {
		uint64_t offset = end - p < 24 ? 0 : lt_bytes_get64(p + 16);

		uint32_t queue = end - p < 24 ? 0 : lt_bytes_get32(p + 8);

		if (offset > LONGEST && offset <= 1 << 20)
			lt_bytes_put64(p + 16, offset % LONGEST);
		if (queue > WIDEST && queue < LT_QUEUES_MAX)
			lt_bytes_put32(p + 8, queue % WIDEST);
	}
}

static void
recover(struct lt_recovered *out)
{
	struct lt_options o = {
	    .store_segment_bytes = SEGMENT, .store_disk_full_percent = 100};
	struct lt_commitlog *log;
	struct lt_cq_set *queues;

	LT_ASSERT(lt_commitlog_open(dir, &o, &log) == LEAT_OK);
	LT_ASSERT(lt_cq_set_open(dir, &queues) == LEAT_OK);
	LT_ASSERT(lt_recover_run(dir, log, queues, out, NULL, NULL) == LEAT_OK);
	LT_ASSERT(out->log_end == lt_commitlog_end(log));
	LT_ASSERT(out->log_end <= SEGMENT);
	LT_ASSERT(lt_snapshot_write(dir, queues, out->log_end, out->marks,
		      out->mark_count) == LEAT_OK);
	lt_cq_set_close(queues);
	lt_commitlog_close(log);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t copy[2 + 0x7fff + SEGMENT];
	struct lt_recovered first, second;
	struct lt_verify_report report;
	size_t snapshot, log;

	if (dir < 0) {
		lt_log_init("recover_fuzz", LT_LOG_ERROR);
		dir = memfs_mount();
	}
	if (bytes > sizeof(copy))
		bytes = sizeof(copy);
	memset(copy, 0, 2);
	memcpy(copy, data, bytes);
	bytes = bytes < 2 ? 0 : bytes - 2;
	shorten_queues(copy + 2, bytes);
	snapshot = lt_bytes_get16(copy) & 0x7fff;
	if (snapshot > bytes)
		snapshot = bytes;
	log = bytes - snapshot < SEGMENT ? bytes - snapshot : SEGMENT;
	memfs_put(FIRST, 0, copy + 2 + snapshot, log, SEGMENT);
	if (snapshot > 0)
		put_snapshot(copy + 2, snapshot, copy[0] >> 7);

	recover(&first);
	recover(&second);
	LT_ASSERT(second.log_end == first.log_end);
	LT_ASSERT(second.mark_count == first.mark_count);
	LT_ASSERT(lt_recover_verify(dir, &report, NULL, NULL) >= 0);
	LT_ASSERT(report.log_end == first.log_end);
	LT_ASSERT(lt_recover_rebuild(dir, &report, NULL, NULL) >= 0);
	LT_ASSERT(report.log_end == first.log_end);
	lt_recovered_fini(&first);
	lt_recovered_fini(&second);
	memfs_clear();
	return 0;
}

/* n * 3 records, and with odd n a snapshot at 0 with two queues and a mark. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t at = 2;
	size_t log = 0;

	memset(buf, 0, 256);
	if (n & 1) {
		uint8_t *p = buf + 2;

		lt_bytes_put32(p + 12, 2);
		lt_bytes_put32(p + 16, 1);
		for (uint8_t *q = p + 48; q < p + 86; q += 19) {
			lt_bytes_put16(q, 5);
			lt_bytes_put32(q + 2, n);
			lt_bytes_put64(q + 6, n * 7 + 1);
			memcpy(q + 14, "topic", 5);
		}
		lt_bytes_put64(p + 86, 0xABCD);
		lt_bytes_put64(p + 94, n);
		lt_bytes_put16(buf, 0x8000 | 114);
		at += 114;
	}
	for (unsigned i = 0; i < n * 3; i++)
		log += faults_record(buf + at + log, cap - at - log, "topic",
		    i % 2, i / 2, log, 1000 + i, NULL, i * 7, i + 1);
	return at + log;
}
