/*
 * mark.c - what the log has of each session: the last sequence (mark, kept for
 * a day after the session is gone by the wall clock, an hour by the monotonic
 * one if the former jumps, written with every checkpoint) and, as
 * recovered, where its latest records are (traces). By them a record that a
 * client or a lane brings again after a crash is told from one that never was
 * logged.
 */
#include "config.h"
#include "store/duty.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "leat/status.h"

#define MARK_KEEP_MS (24 * 3600 * 1000LL)
/* ... and that long in true time, whatever became of the wall clock. */
#define MARK_KEEP_S 3600u

struct lt_mark *
lt_mark_get(struct lt_duty *d, uint64_t id)
{
	struct lt_mark *m = lt_hash_get(&d->marks, &id, sizeof(id));

	if (m != NULL)
		return m;
	m = lt_mem_alloc(sizeof(*m));
	if (m == NULL)
		return NULL;
	m->left_s = (uint32_t)(lt_clock_mono_ms() / 1000);
	m->session = id;
	if (lt_hash_put(&d->marks, &id, sizeof(id), m) != LEAT_OK) {
		lt_mem_free(m);
		return NULL;
	}
	return m;
}

void
lt_mark_drop(struct lt_duty *d, struct lt_mark *m)
{
	uint64_t id = m->session;

	(void)lt_hash_del(&d->marks, &id, sizeof(id));
	lt_mem_free(m);
}

static int
compare_traces(const void *a, const void *b)
{
	const struct lt_session_trace *x = a, *y = b;

	if (x->session != y->session)
		return x->session < y->session ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

int
lt_mark_load(struct lt_duty *d)
{
	struct lt_recovered *r = &d->recovered;
	struct lt_mark *m;

	for (size_t i = 0; i < r->mark_count; i++) {
		m = lt_mark_get(d, r->marks[i].session);
		if (m == NULL)
			return LEAT_E_NOMEM;
		m->seq = r->marks[i].seq;
		m->last_ms = r->marks[i].last_ms;
	}
	if (r->trace_count > 1)
		qsort(r->traces, r->trace_count, sizeof(r->traces[0]),
		    compare_traces);
	return LEAT_OK;
}

int
lt_mark_save(struct lt_duty *d, int64_t now_ms, struct lt_session_mark **out,
    size_t *count_out)
{
	struct lt_session_mark *list;
	struct lt_mark *m;
	uint32_t now_s = (uint32_t)(lt_clock_mono_ms() / 1000);
	size_t cursor = 0, n = 0;

	list = lt_mem_array(d->marks.used + 1, sizeof(*list));
	if (list == NULL)
		return LEAT_E_NOMEM;
	while ((m = lt_hash_next(&d->marks, &cursor)) != NULL) {
		if (!m->attached && m->last_ms < now_ms - MARK_KEEP_MS &&
		    now_s - m->left_s >= MARK_KEEP_S) {
			lt_mark_drop(d, m);
			continue;
		}
		if (m->seq == 0)
			continue;
		list[n].session = m->session;
		list[n].seq = m->seq;
		list[n++].last_ms = m->last_ms;
	}
	*out = list;
	*count_out = n;
	return LEAT_OK;
}

/* The session's part of the recovered traces. */
void
lt_mark_find_traces(const struct lt_duty *d, struct lt_session *s)
{
	const struct lt_session_trace *all = d->recovered.traces;
	size_t low = 0, high = d->recovered.trace_count, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (all[mid].session < s->id)
			low = mid + 1;
		else
			high = mid;
	}
	while (high < d->recovered.trace_count && all[high].session == s->id)
		high++;
	s->traces = high > low ? all + low : NULL;
	s->trace_count = high - low;
}

int
lt_mark_is_logged(const struct lt_session *s, uint64_t seq,
    const struct lt_session_trace **trace_out)
{
	size_t low = 0, high = s->trace_count, mid;

	*trace_out = NULL;
	while (low < high) {
		mid = (low + high) / 2;
		if (s->traces[mid].seq < seq)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < s->trace_count && s->traces[low].seq == seq)
		*trace_out = &s->traces[low];
	/* The newest is there by definition, and so is what is older than the
	 * traces. Not traced between those that are: it was refused, and may
	 * come again. */
	return *trace_out != NULL || low == 0 || seq == s->in_log;
}

void
lt_mark_drop_traces(struct lt_duty *d)
{
	for (size_t i = 0; i < d->session_count; i++) {
		d->sessions[i]->traces = NULL;
		d->sessions[i]->trace_count = 0;
	}
	lt_recovered_fini(&d->recovered);
	memset(&d->recovered, 0, sizeof(d->recovered));
}
