/*
 * histogram.h - log-linear histogram of unsigned 64-bit values (2^5 linear
 * sub-buckets per power of two, so at most 3.2 % error), fixed size, mergeable
 * by addition. Source of the idea: HdrHistogram.
 */
#ifndef LT_BASE_HISTOGRAM_H
#define LT_BASE_HISTOGRAM_H

#include <stdint.h>

#define LT_HISTOGRAM_BUCKETS (32 * 60)

struct lt_histogram {
	uint64_t count;
	uint64_t max;
	uint64_t sum;
	uint64_t bucket[LT_HISTOGRAM_BUCKETS];
};

void lt_histogram_init(struct lt_histogram *h);
void lt_histogram_add(struct lt_histogram *h, uint64_t value);
void lt_histogram_merge(struct lt_histogram *to, const struct lt_histogram *h);
/* Largest value that bucket i holds. */
uint64_t lt_histogram_edge(unsigned i);
/* Value at quantile q (0..1): upper edge of the bucket, never above max; 0 if
 * empty. */
uint64_t lt_histogram_at(const struct lt_histogram *h, double q);

#endif
