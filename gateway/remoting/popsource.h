/*
 * popsource.h - subscriptions on behalf of remote members who pop, and what is
 * out of each: claimed, handed to somebody, not acknowledged. The popper's
 * thread alone.
 *
 * A claim is renewed as long as its message is to stay invisible, then given
 * back: any member of the group has it next, delivered once more. A claim that
 * was taken away meanwhile, because we stood still for longer than the group's
 * lease, is no longer out.
 */
#ifndef LT_REMOTING_POPSOURCE_H
#define LT_REMOTING_POPSOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <leat/leat.h>
#include "base/check.h"
#include "base/hash.h"
#include "remoting/popask.h"
#include "remoting/popout.h"

#define LT_POPSOURCE_IDLE_MS 60000 /* nobody pops, nothing is out: closed */

struct lt_popheld; /* popserve.c */

struct lt_popsource {
	LIST_ENTRY(lt_popsource) link;
	TAILQ_HEAD(lt_popheld_list, lt_popheld) held; /* popserve.c's */
	struct lt_popsource *next; /* of this group and topic: other tags */
	struct leat_consumer *consumer;
	uint64_t used_ms;
	uint32_t turn; /* in order: queue that is looked at first */
	uint32_t *out_of; /* messages that are out, of each queue */
	size_t out_of_count;
	size_t out;
	char *group, *topic, *tags; /* in `text` */
	size_t key_bytes; /* group and topic */
	char text[];
};

struct lt_popsources {
	struct leat *leat;
	struct lt_popouts *outs;
	struct lt_hash by_topic; /* first of a group and topic */
	LIST_HEAD(, lt_popsource) all;
	size_t count, max;
	uint64_t looked_ms; /* for idle ones */
	uint64_t away_ms; /* leat-queue was silent: not asked before then */
};

int lt_popsources_init(struct lt_popsources *set, struct leat *leat, size_t max,
    uint64_t now_ms) LT_MUST_CHECK;
/* Its session is closed next, and with it the subscriptions. */
void lt_popsources_fini(struct lt_popsources *set);

/* What leat-queue was asked ended so; returned. */
int lt_popsources_told(struct lt_popsources *set, int status);
/* Find or subscribe. LIMIT, BUSY (leat-queue is away), and what
 * leat_subscribe() says. */
int lt_popsource_open(struct lt_popsources *set, const struct lt_popask *ask,
    uint64_t now_ms, struct lt_popsource **out) LT_MUST_CHECK;
/* The first of a group and topic; NULL: nobody pops there. */
struct lt_popsource *lt_popsource_find(
    struct lt_popsources *set, const char *group, const char *topic);
/* Its messages come back to the group. Nobody waits at it. */
void lt_popsource_close(struct lt_popsources *set, struct lt_popsource *s);
/*
 * Take up to max messages that are there now, lent until the next take; what
 * is done with them is said by one of the next two. In order: of one queue of
 * which nothing is out. How many, or a negative status: it can be read no more.
 */
int lt_popsource_take(struct lt_popsource *s, int32_t queue, int is_ordered,
    struct leat_delivery *out, size_t max);
/* There are as many free places as messages were taken. */
struct lt_popout *lt_popsource_keep(struct lt_popsources *set,
    struct lt_popsource *s, const struct leat_delivery *d, int64_t pop_ms,
    uint64_t now_ms, int64_t invisible_ms);
void lt_popsource_return(struct lt_popsources *set, struct lt_popout *o);

/* A receipt. NULL: it is out no more, or never was. */
struct lt_popout *lt_popsource_out(struct lt_popsources *set, const char *group,
    const char *topic, uint32_t queue, int64_t offset, int64_t pop_ms);
void lt_popsource_ack(struct lt_popsources *set, struct lt_popout *o);
/* Another time, under another receipt. */
void lt_popsource_change(struct lt_popsources *set, struct lt_popout *o,
    int64_t pop_ms, uint64_t now_ms, int64_t invisible_ms);
/* Renew, give back; close what is idle. */
void lt_popsources_tick(struct lt_popsources *set, uint64_t now_ms);

#endif
