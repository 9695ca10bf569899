/*
 * scan.h - one pass over the commit log that derives from it what can be
 * derived: queue entries, session marks, traces of the log's last part. Reads
 * the log only. Private to recovery and rebuild (and lt_scan_is_indexed to
 * verify).
 */
#ifndef LT_STORE_SCAN_H
#define LT_STORE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "store/consumequeue.h"
#include "store/reader.h"
#include "store/recover.h"
#include "store/snapshot.h"

#define LT_SCAN_TRACE_BYTES (16u << 20)

struct lt_scan_config {
	struct lt_reader *reader;
	struct lt_cq_set *queues;
	uint64_t from; /* a record's start, or the log's */
	/* Its sessions count from the beginning, its queues' numbering from
	 * its log offset on. NULL or empty: none. */
	const struct lt_snapshot *snap;
	/* The last configuration record below that offset; NULL: unknown. */
	const uint64_t *last_config;
	void (*progress)(unsigned percent, void *user); /* or NULL */
	/* One line for each damaged extent and unusable record; NULL: to the
	 * log. */
	void (*report)(void *user, const char *line);
	void *user;
};

/* Fills *out; on failure it is empty. */
int lt_scan_run(const struct lt_scan_config *config,
    struct lt_recovered *out) LT_MUST_CHECK;

/* Does a record of this kind have a queue entry? RocketMQ's legacy prepared
 * and rolled-back transaction records have none. */
static inline int
lt_scan_is_indexed(const struct lt_record_view *view)
{
	uint32_t tx = view->sys_flag & 0xc;

	return tx != 0x4 && tx != 0xc;
}

#endif
