/* bucket.c - sets of eight places, found by a keyed hash: who chooses addresses
 * cannot choose whom they displace. */
#include "config.h"
#include "net/bucket.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "leat/status.h"

#define PLACES 8
#define SETS (LT_BUCKET_SOURCES / PLACES)

struct source {
	uint32_t ip; /* 0: free */
	uint32_t milli; /* thousandths of tokens */
	uint64_t at_ms; /* as of then */
};

struct lt_bucket_table {
	pthread_mutex_t lock;
	uint32_t rate, full;
	uint8_t key[16];
	struct source sources[SETS][PLACES];
};

int
lt_bucket_create(uint32_t rate, uint32_t burst, struct lt_bucket_table **out)
{
	struct lt_bucket_table *t = lt_mem_alloc(sizeof *t);

	if (t == NULL)
		return LEAT_E_NOMEM;
	t->rate = rate;
	t->full = burst * 1000;
	lt_secret_random(t->key, sizeof t->key);
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return LEAT_OK;
}

void
lt_bucket_destroy(struct lt_bucket_table *t)
{
	if (t == NULL)
		return;
	pthread_mutex_destroy(&t->lock);
	lt_mem_free(t);
}

static struct source *
set_of(struct lt_bucket_table *t, uint32_t ip)
{
	uint8_t mac[16];
	uint32_t n;

	lt_secret_mac(mac, t->key, sizeof t->key, &ip, sizeof ip);
	memcpy(&n, mac, sizeof n);
	return t->sources[n % SETS];
}

/* The address's own place, else a free one, else the one seen longest ago. */
static struct source *
place_of(struct lt_bucket_table *t, uint32_t ip, uint64_t now_ms)
{
	struct source *set = set_of(t, ip), *best = set;

	for (int i = 0; i < PLACES; i++) {
		if (set[i].ip == ip)
			return &set[i];
		if (set[i].ip == 0
			? best->ip != 0
			: best->ip != 0 && set[i].at_ms < best->at_ms)
			best = &set[i];
	}
	*best = (struct source){.ip = ip, .milli = t->full, .at_ms = now_ms};
	return best;
}

int
lt_bucket_take(struct lt_bucket_table *t, uint32_t ip, uint64_t now_ms)
{
	int has;

	pthread_mutex_lock(&t->lock);
	struct source *s = place_of(t, ip, now_ms);
	uint64_t fresh = now_ms > s->at_ms ? (now_ms - s->at_ms) * t->rate : 0;
	s->milli =
	    fresh >= t->full - s->milli ? t->full : s->milli + (uint32_t)fresh;
	if (now_ms > s->at_ms)
		s->at_ms = now_ms;
	has = s->milli >= 1000;
	if (has)
		s->milli -= 1000;
	pthread_mutex_unlock(&t->lock);
	return has;
}
