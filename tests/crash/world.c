/*
 * world.c - the shared mapping of the crash test, and bodies that prove
 * themselves: every byte of a body follows from who sent it and its number.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define WORLD_MAGIC 0x6c65616bu

struct world *
world_create(void)
{
	void *p = mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
world_destroy(struct world *w)
{
	munmap(w, sizeof(*w));
}

void
world_violate(struct world *w, const char *fmt, ...)
{
	uint32_t n = atomic_fetch_add(&w->violations, 1);
	va_list ap;

	if (n >= WORLD_TEXTS)
		return;
	va_start(ap, fmt);
	vsnprintf(w->text[n], sizeof(w->text[n]), fmt, ap);
	va_end(ap);
}

uint64_t
world_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
world_pause_ms(unsigned ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

void
world_pause_us(unsigned us)
{
	struct timespec ts = {us / 1000000, (long)(us % 1000000) * 1000};

	nanosleep(&ts, NULL);
}

uint64_t
world_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

struct world_mark *
world_mark(struct world *w, uint32_t producer, uint64_t number)
{
	struct world_mark *mark = &w->marks[producer][number % WORLD_NUMBERS];

	return atomic_load(&mark->number) == number ? mark : NULL;
}

uint64_t
world_oldest(struct world *w, uint32_t producer)
{
	uint64_t last = atomic_load(&w->submitted[producer]);

	return last > WORLD_NUMBERS ? last - WORLD_NUMBERS + 1 : 1;
}

int
world_holder_died(struct world *w, struct world_mark *mark)
{
	uint32_t holder = atomic_load(&mark->holder);
	uint32_t slot = holder >> 24;

	return slot < WORLD_MEMBERS &&
	       (holder & 0xffffff) <= atomic_load(&w->dead_life[slot]);
}

uint64_t
world_place(const struct leat_delivery *d, const struct world_body *b)
{
	uint64_t lap = (uint64_t)d->queue_offset / WORLD_OFFSETS;

	return (lap + 1) << 44 | (uint64_t)b->producer << 40 | b->number;
}

static uint64_t
body_seed(const struct world_body *h)
{
	return ((uint64_t)h->producer << 56 | (uint64_t)h->life << 40 |
		   h->number) *
		   0x9e3779b97f4a7c15ull +
	       1;
}

void
world_body_make(void *buf, uint32_t bytes, uint32_t producer, uint64_t number,
    uint32_t life, uint32_t queue)
{
	struct world_body h = {
	    WORLD_MAGIC, producer, number, life, queue, bytes, 0};
	uint64_t seed = body_seed(&h);
	unsigned char *out = buf;
	uint32_t at = sizeof(h);

	h.mix = (uint32_t)(seed >> 32);
	memcpy(out, &h, sizeof(h));
	while (at < bytes) {
		uint64_t word = world_random(&seed);
		uint32_t part = bytes - at < 8 ? bytes - at : 8;

		memcpy(out + at, &word, part);
		at += part;
	}
}

int
world_body_check(struct world *w, const char *who,
    const struct leat_delivery *d, struct world_body *out)
{
	const unsigned char *in = d->body;
	uint64_t seed;
	uint32_t at = sizeof(*out);

	if (d->body_bytes < sizeof(*out))
		goto foreign;
	memcpy(out, in, sizeof(*out));
	seed = body_seed(out);
	if (out->magic != WORLD_MAGIC || out->producer >= WORLD_PRODUCERS ||
	    out->number == 0 || out->queue != d->queue ||
	    out->bytes != d->body_bytes || out->mix != (uint32_t)(seed >> 32))
		goto foreign;
	while (at < out->bytes) {
		uint64_t word = world_random(&seed);
		uint32_t part = out->bytes - at < 8 ? out->bytes - at : 8;

		if (memcmp(in + at, &word, part) != 0)
			goto foreign;
		at += part;
	}
	return 1;
foreign:
	world_violate(w,
	    "%s: queue %u offset %lld holds a body of %zu bytes that no "
	    "producer sent there",
	    who, d->queue, (long long)d->queue_offset, d->body_bytes);
	return 0;
}
