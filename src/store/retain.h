/*
 * retain.h - which segments go: by age, by size, by disk use. Oldest first,
 * never the current one, a bounded number per call. Called now and then by the
 * store's duty cycle.
 */
#ifndef LT_STORE_RETAIN_H
#define LT_STORE_RETAIN_H

#include <stdint.h>
#include "base/check.h"
#include "proto/options.h"
#include "store/commitlog.h"
#include "store/consumequeue.h"

struct lt_retain_result {
	uint32_t dropped; /* segments */
	uint64_t disk_free; /* bytes */
	uint32_t disk_percent; /* used */
	uint32_t disk_full; /* 1: above disk_full_percent: refuse publishes */
};
/* system_min: offset below which nothing the broker itself needs lives (the
 * beginning of the newest complete state in the config and progress topics);
 * segments reaching beyond it stay. A full disk never drops segments that are
 * not expired. */
int lt_retain_run(struct lt_commitlog *log, struct lt_cq_set *queues,
    const struct lt_options *o, int64_t now_ms, uint64_t system_min,
    int store_dir, struct lt_retain_result *out) LT_MUST_CHECK;

#endif
