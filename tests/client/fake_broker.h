/*
 * fake_broker.h - a broker in one thread: plays the queue manager on a socket
 * and the store on lanes, pages and rings, with the log in memory. Tests drive
 * it through fake_do(), which returns when the thing was done.
 */
#ifndef FAKE_BROKER_H
#define FAKE_BROKER_H

#include <stdint.h>

enum fake_cmd {
	FAKE_STOP = 1,
	FAKE_STALL, /* lanes are not drained any more */
	FAKE_GO, /* drained again */
	FAKE_NEW_PAGE, /* store restarted: new pages, beacon, rings */
	FAKE_HANG_UP, /* queue manager restarted: sessions live on */
	FAKE_NEW_BOOT, /* everything restarted: only the log lives on */
	FAKE_LOG_SILENTLY, /* lanes are logged, nobody is told, pages keep */
	FAKE_GROW_TOPIC, /* two more queues */
	FAKE_RETURN, /* expire all claims, wake everybody */
	FAKE_LOSE_FETCH, /* the next fetch is done, its answer never comes */
	FAKE_FETCHES, /* returns requests for a fetch so far */
	FAKE_FETCHED, /* returns records in the answers to them */
	FAKE_REFUSE, /* the next message is refused with NOSPACE */
	FAKE_COUNT /* returns messages in the log */
};

struct fake;
struct fake_options {
	uint32_t queues;
	uint64_t ring_bytes; /* 0: no rings */
	uint64_t lane_bytes;
	uint32_t window;
	uint32_t lose_every; /* every n-th record is damaged: not in ring or
				fetches; 0: none */
	uint32_t sync_lag; /* 1: synced follows logged one loop later */
};

/* Socket path is fake_path(). */
struct fake *fake_start(const struct fake_options *options);
const char *fake_path(const struct fake *f);
int64_t fake_do(struct fake *f, enum fake_cmd cmd);
void fake_stop(struct fake *f);

#endif
