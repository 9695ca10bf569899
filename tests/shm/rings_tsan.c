/*
 * rings_tsan.c - lane, ring, group table and doorbell between two threads, for
 * ThreadSanitizer (which is blind across processes). Also an ordinary test: it
 * checks order, content, exactly one owner, and that no wake-up is lost.
 *
 * The queue ring is a sequence lock: readers copy bytes that the writer may be
 * overwriting and discard the copy if so. That is a race by design; under TSan
 * the reader here therefore stays within half a ring (backpressure), which is
 * where no torn read may ever happen; ring_test covers the lap itself.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "leat/status.h"
#include "shm/doorbell.h"
#include "shm/grouptable.h"
#include "shm/lane.h"
#include "shm/ring.h"

#define COUNT 200000
#define SIZE 65536u
#define WINDOW 64

static struct lt_segment lane_seg, ring_seg, table_seg;
static _Atomic uint64_t lane_head;
static _Atomic int64_t read_offset;
static _Atomic uint32_t bell, sleeping;
static _Atomic int owners[COUNT];

static void
make(struct lt_segment *seg, uint32_t magic, uint64_t bytes, uint64_t window)
{
	struct lt_segment_head head = {
	    .magic = magic, .data_bytes = bytes, .extra = {0, window}};
	int fd;

	if (lt_segment_create(seg, "tsan", &head, 1, &fd) != LEAT_OK)
		exit(2);
	close(fd);
}

static void *
lane_producer(void *arg)
{
	struct lt_lane_writer w;
	struct lt_lane_rec rec = {.kind = LT_LANE_PUBLISH};
	uint8_t *p;

	lt_lane_writer_init(&w, &lane_seg, 0);
	for (uint64_t seq = 1; seq <= COUNT;) {
		uint32_t bytes = 8 + (uint32_t)(seq % 200);
		uint64_t head =
		    atomic_load_explicit(&lane_head, memory_order_acquire);

		if (lt_lane_claim(&w, head, bytes, &p) != LEAT_OK) {
			lt_lane_publish(&w);
			sched_yield();
			continue;
		}
		memcpy(p, &seq, 8);
		rec.bytes = bytes;
		rec.seq = seq;
		lt_lane_put(&w, &rec);
		lt_lane_publish(&w);
		lt_doorbell_fence();
		if (atomic_load(&sleeping))
			lt_doorbell_ring(&bell);
		seq++;
	}
	return NULL;
}

/* Lane consumer sleeps on the bell; copies into the ring. */
static void *
store(void *arg)
{
	struct lt_lane_reader r;
	struct lt_ring_writer w;
	struct lt_lane_rec rec;
	const uint8_t *p;
	uint64_t seen = 0, seq;

	lt_lane_reader_init(&r, &lane_seg, 0);
	lt_ring_writer_init(&w, &ring_seg, 0);
	while (seen < COUNT) {
		uint32_t value = atomic_load(&bell);

		if (lt_lane_poll(&r) <= 0) {
			atomic_store(&sleeping, 1);
			lt_doorbell_fence();
			/* 10 s: a lost wake-up would show as a failure. */
			if (lt_lane_poll(&r) <= 0 &&
			    !lt_doorbell_wait(&bell, value, 10000))
				LT_ASSERT(!"lost wake-up");
			atomic_store(&sleeping, 0);
			continue;
		}
		while (lt_lane_peek(&r, &rec, &p) == LEAT_OK) {
			memcpy(&seq, p, 8);
			LT_ASSERT(rec.seq == ++seen && seq == seen);
			while (
			    (int64_t)seen - atomic_load_explicit(&read_offset,
						memory_order_acquire) >
			    SIZE / 2 / 256) {
				lt_ring_commit(&w);
				sched_yield();
			}
			lt_ring_put(&w, (int64_t)seen - 1, 0, 0, p, rec.bytes);
			lt_lane_next(&r, &rec);
			atomic_store_explicit(
			    &lane_head, r.head, memory_order_release);
		}
		lt_ring_commit(&w);
	}
	return NULL;
}

static void *
ring_reader(void *arg)
{
	struct lt_ring_reader r;
	struct lt_ring_head head;
	uint8_t copy[1024];
	uint64_t seq;
	int64_t next = 0;

	lt_ring_reader_init(&r, &ring_seg);
	while (next < COUNT) {
		int status = lt_ring_peek(&r, &head);

		if (status == LEAT_E_AGAIN) {
			sched_yield();
			continue;
		}
		LT_ASSERT(status == LEAT_OK);
		LT_ASSERT(lt_ring_copy(&r, &head, copy) == LEAT_OK);
		memcpy(&seq, copy, 8);
		LT_ASSERT(
		    head.queue_offset == next && seq == (uint64_t)next + 1);
		lt_ring_skip(&r, &head);
		atomic_store_explicit(
		    &read_offset, ++next, memory_order_release);
	}
	return NULL;
}

static void *
member(void *arg)
{
	uint16_t me = (uint16_t)(uintptr_t)arg;
	struct lt_table t;
	uint32_t attempt;
	int status;

	if (lt_table_init(&t, &table_seg) != LEAT_OK)
		exit(2);
	for (int64_t at = 0; at < COUNT;) {
		status = lt_table_claim(&t, at, me, 0, &attempt);
		if (status == LEAT_E_LIMIT) {
			sched_yield();
			continue;
		}
		if (status == LEAT_OK) {
			LT_ASSERT(atomic_fetch_add(&owners[at], 1) == 0);
			LT_ASSERT(lt_table_ack(&t, at, me) == LEAT_OK);
		}
		at++;
	}
	return NULL;
}

static void *
manager(void *arg)
{
	struct lt_table t;
	struct lt_table_sweep s = {0};

	if (lt_table_init(&t, &table_seg) != LEAT_OK)
		exit(2);
	while (s.progress < COUNT) {
		int64_t before = s.progress;

		lt_table_harvest(&t, before, COUNT, 0, 0, 0, &s);
		LT_ASSERT(s.progress >= before && s.expired == 0);
		sched_yield();
	}
	return NULL;
}

int
main(void)
{
	pthread_t th[6];
	size_t i;

	make(&lane_seg, LT_SEGMENT_LANE, SIZE, 0);
	make(&ring_seg, LT_SEGMENT_RING, SIZE, 0);
	make(&table_seg, LT_SEGMENT_TABLE, lt_table_bytes(WINDOW), WINDOW);
	lt_table_format(&table_seg, 0, WINDOW);
	pthread_create(&th[0], NULL, ring_reader, NULL);
	pthread_create(&th[1], NULL, store, NULL);
	pthread_create(&th[2], NULL, lane_producer, NULL);
	for (i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	pthread_create(&th[3], NULL, member, (void *)1);
	pthread_create(&th[4], NULL, member, (void *)2);
	pthread_create(&th[5], NULL, manager, NULL);
	for (i = 3; i < 6; i++)
		pthread_join(th[i], NULL);
	for (i = 0; i < COUNT; i++)
		LT_ASSERT(atomic_load(&owners[i]) == 1);
	printf("lane, ring, table, doorbell: %d each, in order, once\n", COUNT);
	return 0;
}
