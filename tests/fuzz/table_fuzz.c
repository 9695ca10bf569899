/*
 * table_fuzz.c - any bytes as the words of a group table: a harvest takes from
 * them only what lies between its own progress and the queue's end, frees what
 * no honest member wrote, finds nothing to free when it looks again at the same
 * time, and members go on in what it leaves.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "shm/grouptable.h"

#define FUZZ_NAME "table"
#define FUZZ_RUNS 200000
#include "drive.h"

#define WINDOW LT_GROUP_WINDOW_MIN
#define HEAD_BYTES 24
#define OFFSET_MAX (INT64_MAX / 20) /* of a queue: 20 bytes an entry */

struct play {
	struct lt_table table;
	int64_t from, max;
	uint64_t now_ms, lease_ms;
	uint16_t dead;
};

static struct lt_table_sweep
harvest(struct play *p, uint16_t dead)
{
	struct lt_table_sweep sweep;

	lt_table_harvest(
	    &p->table, p->from, p->max, p->now_ms, p->lease_ms, dead, &sweep);
	LT_ASSERT(sweep.progress >= p->from);
	LT_ASSERT(sweep.progress <= p->max || sweep.progress == p->from);
	LT_ASSERT(sweep.claimed + sweep.expired <= WINDOW);
	LT_ASSERT(p->table.shared->progress == sweep.progress);
	p->from = sweep.progress;
	return sweep;
}

/* A member claims and acknowledges what it can. Offsets that it was given are
 * nobody else's, and done after that. */
static void
work(struct play *p)
{
	uint32_t attempt, stamp = lt_table_stamp(p->now_ms);

	for (int64_t at = p->from; at < p->from + WINDOW; at++) {
		int rc = lt_table_claim(&p->table, at, 7, stamp, &attempt);

		LT_ASSERT(
		    rc == LEAT_OK || rc == LEAT_E_BUSY || rc == LEAT_E_LIMIT);
		if (rc != LEAT_OK)
			continue;
		LT_ASSERT(attempt <= 0xff && !lt_table_is_free(&p->table, at));
		LT_ASSERT(lt_table_claim(&p->table, at, 8, stamp, &attempt) ==
			  LEAT_E_BUSY);
		LT_ASSERT(lt_table_ack(&p->table, at, 8) == LEAT_E_LEASE);
		if (at % 5 == 0)
			rc = lt_table_nack(&p->table, at, 7);
		else
			rc = lt_table_ack(&p->table, at, 7);
		LT_ASSERT(rc == LEAT_OK);
	}
}

static void
overlay(struct play *p, const uint8_t *data, size_t bytes, int is_sparse)
{
	if (!is_sparse) {
		if (bytes > WINDOW * 8)
			bytes = WINDOW * 8;
		memcpy((void *)p->table.words, data, bytes);
		return;
	}
	for (; bytes >= 9; data += 9, bytes -= 9) {
		uint64_t word;

		memcpy(&word, data + 1, sizeof(word));
		p->table.words[data[0] % WINDOW] = word;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static _Alignas(64) uint8_t base[LT_SEGMENT_DATA_AT + WINDOW * 8];
	struct lt_segment seg = {
	    .base = base, .head = {.data_bytes = lt_table_bytes(WINDOW)}};
	struct lt_table_sweep sweep;
	struct play p;

	if (bytes < HEAD_BYTES)
		return 0;
	seg.head.extra[1] = data[1] == 0xff ? lt_bytes_get64(data) : WINDOW;
	p.from = (int64_t)(lt_bytes_get64(data + 2) % (uint64_t)OFFSET_MAX);
	p.max = p.from + (int64_t)lt_bytes_get16(data + 10) - 256;
	p.now_ms = lt_bytes_get32(data + 12);
	p.lease_ms = lt_bytes_get32(data + 16);
	p.dead = lt_bytes_get16(data + 20);
	seg.head.extra[0] = (uint64_t)p.from;
	if (lt_table_init(&p.table, &seg) != LEAT_OK) {
		LT_ASSERT(seg.head.extra[1] != WINDOW);
		return 0;
	}
	memset(base, 0, sizeof(base));
	if (data[0] & 1)
		lt_table_format(&seg, p.from, WINDOW);
	overlay(&p, data + HEAD_BYTES, bytes - HEAD_BYTES, data[0] & 1);
	if (data[0] & 2)
		work(&p);
	harvest(&p, p.dead);
	sweep = harvest(&p, p.dead);
	LT_ASSERT(sweep.expired == 0);
	work(&p);
	(void)lt_table_retire(&p.table, p.from, p.max);
	harvest(&p, 0);
	overlay(&p, data + HEAD_BYTES, bytes - HEAD_BYTES, 1);
	p.now_ms += 250 * data[22];
	harvest(&p, 7);
	(void)!lt_table_valid(&p.table, p.from);
	return 0;
}

/* A table in use: done, claimed and free words of two laps. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	memset(buf, 0, HEAD_BYTES);
	buf[0] = (uint8_t)n;
	lt_bytes_put64(buf + 2, n * 1000);
	lt_bytes_put16(buf + 10, (uint16_t)(256 + n * 20));
	lt_bytes_put32(buf + 12, 100000);
	lt_bytes_put32(buf + 16, n * 1000);
	lt_bytes_put16(buf + 20, (uint16_t)n);
	for (unsigned i = 0; i < WINDOW; i++) {
		uint64_t lap = (n * 1000 / WINDOW) + (i + n) % 2;
		uint64_t word = lap << 40 | (uint64_t)(i % 3) << 16 |
				(uint64_t)(400 - i) << 2 | (i % 3);

		memcpy(buf + HEAD_BYTES + i * 8, &word, sizeof(word));
	}
	return HEAD_BYTES + WINDOW * 8;
}
