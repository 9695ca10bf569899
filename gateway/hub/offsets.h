/*
 * offsets.h - the newest committed offsets of remote members, on their way to
 * leat-queue, which owns them. Any thread; the hub's lock.
 *
 * A commit makes an entry dirty; the clerk takes dirty ones, tells leat-queue,
 * and says how that went. Entries that leat-queue has are only kept to answer
 * faster: they give way when there is no room, and are not kept of a group with
 * local members, whose progress is not known here.
 */
#ifndef LT_GATEWAY_HUB_OFFSETS_H
#define LT_GATEWAY_HUB_OFFSETS_H

#include "hub/hub.h"
#include "proto/limits.h"

struct lt_offsets_key { /* borrowed */
	struct lt_remoting_text group, topic; /* legal names */
	uint32_t queue;
};

/* A commit; the last one counts, also if it goes back. A negative one is
 * ignored, and so is each while a reset is pending. LEAT_OK; LEAT_E_LIMIT: as
 * many wait for leat-queue as may; LEAT_E_NAME; LEAT_E_NOMEM. */
int lt_offsets_put(struct lt_hub *hub, const struct lt_offsets_key *key,
    int64_t offset) LT_MUST_CHECK;
/* LEAT_OK, or LEAT_E_NOTFOUND: ask leat-queue and call learned(). */
int lt_offsets_get(struct lt_hub *hub, const struct lt_offsets_key *key,
    int64_t *offset_out) LT_MUST_CHECK;
/* What leat-queue said; what was committed meanwhile is newer. */
void lt_offsets_learned(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t offset);

struct lt_offsets_item {
	char group[LT_NAME_FIELD], topic[LT_NAME_FIELD];
	uint32_t queue;
	int64_t offset;
	uint64_t ticket; /* private */
};
/* Up to max dirty offsets, the one that waited longest first; each is to be
 * given back with saved() or failed(). */
size_t lt_offsets_take(
    struct lt_hub *hub, struct lt_offsets_item *out, size_t max);
void lt_offsets_saved(
    struct lt_hub *hub, const struct lt_offsets_item *items, size_t count);
void lt_offsets_failed(
    struct lt_hub *hub, const struct lt_offsets_item *items, size_t count);

/* A new leat-queue may have lost the last ones that were saved: of this group
 * they are told again. */
void lt_offsets_again(struct lt_hub *hub, const char *group);
/* Its progress may move without us from now on: what leat-queue has is not
 * kept. */
void lt_offsets_distrust(struct lt_hub *hub, const char *group);

/* An administrator has set it in leat-queue: get() says so, and commits are
 * ignored until a pull was told. LEAT_OK, LEAT_E_INVALID (negative),
 * LEAT_E_LIMIT, LEAT_E_NAME or LEAT_E_NOMEM. */
int lt_offsets_reset(struct lt_hub *hub, const struct lt_offsets_key *key,
    int64_t offset) LT_MUST_CHECK;
/* A pull comes: 1 if it must be told *offset_out (21), which ends the reset.
 * Cheap while no reset is pending. */
int lt_offsets_tell_reset(
    struct lt_hub *hub, const struct lt_offsets_key *key, int64_t *offset_out);

/* Deleted: with everything that is pending, also what was taken. */
void lt_offsets_forget_group(struct lt_hub *hub, struct lt_remoting_text group);
void lt_offsets_forget_topic(struct lt_hub *hub, struct lt_remoting_text topic);

#endif
