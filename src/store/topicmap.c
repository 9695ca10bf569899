/*
 * topicmap.c - topics as the store needs them: from the id in a lane record to
 * name, rules and queue in two loads. The queue manager owns topics and says
 * everything again after it was restarted; here they are only looked up.
 *
 * A deleted topic's queues go between two batches, and a checkpoint follows at
 * once, so that recovery does not meet old records of a topic made again. What
 * many queues had is given back a few at a time, and their files are the
 * syncer's to remove: nobody's message waits for that.
 */
#include "config.h"
#include "store/duty.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/leat.h"
#include "proto/name.h"

#define TOPIC_ID_MAX (1u << 22)
#define PERM_WRITE 2u

static int
grow_ids(struct lt_duty *d, uint32_t id)
{
	size_t cap = d->topic_cap == 0 ? 64 : d->topic_cap;
	struct lt_topic **ids;

	while (cap <= id)
		cap *= 2;
	if (cap == d->topic_cap)
		return LEAT_OK;
	ids = lt_mem_resize(d->topics, cap * sizeof(*ids));
	if (ids == NULL)
		return LEAT_E_NOMEM;
	memset(ids + d->topic_cap, 0, (cap - d->topic_cap) * sizeof(*ids));
	d->topics = ids;
	d->topic_cap = cap;
	return LEAT_OK;
}

static int
grow_queues(struct lt_topic *t, uint32_t count)
{
	struct lt_cq **cq;

	if (count <= t->cq_count)
		return LEAT_OK;
	cq = lt_mem_resize(t->cq, count * sizeof(struct lt_cq *));
	if (cq == NULL)
		return LEAT_E_NOMEM;
	memset(cq + t->cq_count, 0,
	    (count - t->cq_count) * sizeof(struct lt_cq *));
	t->cq = cq;
	t->cq_count = count;
	return LEAT_OK;
}

static int
make(struct lt_duty *d, const struct lt_wire_topic *m, struct lt_topic **out)
{
	struct lt_topic *t = lt_mem_alloc(sizeof(*t));

	if (t == NULL)
		return LEAT_E_NOMEM;
	t->id = m->id;
	t->name_bytes = (uint16_t)strlen(m->name);
	memcpy(t->name, m->name, sizeof(t->name));
	if (strcmp(t->name, LT_NAME_CONFIG_TOPIC) == 0)
		t->keeps_state = 1;
	else if (strcmp(t->name, LT_NAME_PROGRESS_TOPIC) == 0)
		t->keeps_state = 2;
	d->topics[m->id] = t;
	*out = t;
	return LEAT_OK;
}

static void
free_topic(struct lt_topic *t)
{
	lt_mem_free(t->cq);
	lt_mem_free(t);
}

int
lt_topicmap_put(struct lt_duty *d, const struct lt_wire_topic *m)
{
	struct lt_topic *t;
	int status;

	if (m->id >= TOPIC_ID_MAX || m->name[0] == 0 ||
	    m->write_queues > LT_QUEUES_MAX || m->read_queues > LT_QUEUES_MAX)
		return LEAT_E_CORRUPT;
	status = grow_ids(d, m->id);
	if (status != LEAT_OK)
		return status;
	t = d->topics[m->id];
	if (m->deleted) {
		if (t == NULL)
			return LEAT_OK;
		d->topics[m->id] = NULL;
		t->next_dropped = d->dropped;
		d->dropped = t;
		return LEAT_OK;
	}
	if (t != NULL && strcmp(t->name, m->name) != 0) {
		/* The id has gone to another topic: only the row changes. */
		d->topics[m->id] = NULL;
		free_topic(t);
		t = NULL;
	}
	if (t == NULL) {
		status = make(d, m, &t);
		if (status != LEAT_OK)
			return status;
	}
	t->write_queues = m->write_queues;
	t->level = m->level >= LEAT_ACCEPTED && m->level <= LEAT_SYNCED
		       ? m->level
		       : d->default_level;
	t->gate = (m->perm & PERM_WRITE) == 0 || t->keeps_state != 0 ||
			  strcmp(t->name, LT_NAME_AUDIT_TOPIC) == 0
		      ? LT_GATE_SHUT
		  : strcmp(t->name, LT_NAME_SCHEDULE_TOPIC) == 0 ? LT_GATE_RELAY
								 : LT_GATE_OPEN;
	return grow_queues(t, m->write_queues > m->read_queues
				  ? m->write_queues
				  : m->read_queues);
}

int
lt_topicmap_queue(
    struct lt_duty *d, struct lt_topic *t, uint32_t queue, struct lt_cq **out)
{
	int status;

	LT_ASSERT(queue < LT_QUEUES_MAX);
	if (LT_LIKELY(queue < t->cq_count && t->cq[queue] != NULL)) {
		*out = t->cq[queue];
		return LEAT_OK;
	}
	status = grow_queues(t, queue + 1);
	if (status != LEAT_OK)
		return status;
	status =
	    lt_cq_get(d->queues, t->name, t->name_bytes, queue, &t->cq[queue]);
	if (status == LEAT_OK)
		*out = t->cq[queue];
	return status;
}

void
lt_topicmap_sweep(struct lt_duty *d)
{
	struct lt_topic *t;
	int status;

	LT_ASSERT(d->batch.count == 0);
	if (d->dropped == NULL)
		return;
	while ((t = d->dropped) != NULL) {
		d->dropped = t->next_dropped;
		status = lt_cq_drop_topic(d->queues, t->name);
		if (status != LEAT_OK)
			lt_log_warn("topic-files-left", "topic=%s status=%s",
			    t->name, leat_status_name(status));
		free_topic(t);
	}
	d->checkpoint_now = 1;
	lt_topicmap_remove(d);
}

void
lt_topicmap_give_back(struct lt_duty *d)
{
	struct lt_cq *cq = lt_cq_dropped(d->queues);
	uint64_t start;

	if (LT_LIKELY(cq == NULL))
		return;
	start = lt_clock_mono_ns();
	for (int i = 0; cq != NULL && i < LT_DUTY_TURN_QUEUES; i++) {
		lt_feed_drop(d, cq);
		lt_cq_free(d->queues, cq);
		if (lt_clock_mono_ns() - start >= LT_DUTY_TURN_NS)
			break;
		cq = lt_cq_dropped(d->queues);
	}
}

void
lt_topicmap_remove(struct lt_duty *d)
{
	int status;

	if (d->syncer != NULL) {
		lt_syncer_remove(d->syncer, d->queues);
		return;
	}
	if (d->is_stopping) /* the next start does it */
		return;
	status = lt_cq_remove_dropped(d->queues);
	if (status != LEAT_OK)
		lt_log_warn("dropped-files-left", "status=%s",
		    leat_status_name(status));
}

void
lt_topicmap_fini(struct lt_duty *d)
{
	struct lt_topic *t;

	for (size_t i = 0; i < d->topic_cap; i++)
		if (d->topics[i] != NULL)
			free_topic(d->topics[i]);
	while ((t = d->dropped) != NULL) {
		d->dropped = t->next_dropped;
		free_topic(t);
	}
	lt_mem_free(d->topics);
	d->topics = NULL;
	d->topic_cap = 0;
}
