/*
 * histogram.c - values below 32 have a bucket each; above, every power of two
 * is cut into 32 equal buckets.
 */
#include "config.h"
#include "base/histogram.h"

#include <string.h>

void
lt_histogram_init(struct lt_histogram *h)
{
	memset(h, 0, sizeof *h);
}

static unsigned
index_of(uint64_t value)
{
	if (value < 32)
		return (unsigned)value;
	unsigned power = 63 - (unsigned)__builtin_clzll(value);
	return (power - 4) * 32 + (unsigned)(value >> (power - 5) & 31);
}

uint64_t
lt_histogram_edge(unsigned index)
{
	if (index < 32)
		return index;
	unsigned shift = index / 32 - 1;
	return ((32 + (uint64_t)(index % 32)) << shift) + ((1ull << shift) - 1);
}

void
lt_histogram_add(struct lt_histogram *h, uint64_t value)
{
	h->bucket[index_of(value)]++;
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
}

void
lt_histogram_merge(struct lt_histogram *to, const struct lt_histogram *h)
{
	for (unsigned i = 0; i < LT_HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += h->bucket[i];
	to->count += h->count;
	to->sum += h->sum;
	if (h->max > to->max)
		to->max = h->max;
}

uint64_t
lt_histogram_at(const struct lt_histogram *h, double q)
{
	if (h->count == 0)
		return 0;
	/* The smallest value that q of all values do not exceed. */
	double want = q * (double)h->count;
	uint64_t seen = 0;
	for (unsigned i = 0; i < LT_HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > 0 && (double)seen >= want) {
			uint64_t edge = lt_histogram_edge(i);
			return edge < h->max ? edge : h->max;
		}
	}
	return h->max;
}
