/*
 * deletion.h - which topics are deleted, as a pass over the log learns it from
 * the records of the configuration topic. Private to recovery, rebuild and
 * verify.
 *
 * The order in the log decides: from the record that deletes a topic up to the
 * one that makes it again, records of the topic (a publisher's that the store
 * took before it was told) count for nothing, as nothing did before.
 */
#ifndef LT_STORE_DELETION_H
#define LT_STORE_DELETION_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/check.h"
#include "base/hash.h"
#include "proto/limits.h"
#include "proto/name.h"
#include "proto/record.h"

struct lt_deletion {
	uint64_t at; /* log offset of the last record that deletes it */
	uint64_t until; /* of the one that makes it again; UINT64_MAX: none */
	char topic[LT_NAME_FIELD];
};

struct lt_deletions {
	struct lt_hash topics; /* name -> lt_deletion */
	size_t count; /* of them deleted as of the last record taken */
};

static inline int
lt_deletion_is_config(const struct lt_record_view *v)
{
	return v->topic_bytes == sizeof(LT_NAME_CONFIG_TOPIC) - 1 &&
	       memcmp(v->topic, LT_NAME_CONFIG_TOPIC,
		   sizeof(LT_NAME_CONFIG_TOPIC) - 1) == 0;
}

void lt_deletion_init(struct lt_deletions *d);
void lt_deletion_fini(struct lt_deletions *d);
/* A record of the configuration topic. *deleted_out: the topic that it deletes,
 * lent, or NULL. LEAT_OK or NOMEM. */
int lt_deletion_take(struct lt_deletions *d, const struct lt_record_view *v,
    const char **deleted_out) LT_MUST_CHECK;
/* NULL: never deleted, as far as was taken. */
const struct lt_deletion *lt_deletion_find(
    const struct lt_deletions *d, const char *topic, size_t bytes);
/* 1 if it is deleted and was not made again. */
static inline int
lt_deletion_is_on(const struct lt_deletions *d, const char *topic, size_t bytes)
{
	const struct lt_deletion *found;

	if (LT_LIKELY(d->count == 0))
		return 0;
	found = lt_deletion_find(d, topic, bytes);
	return found != NULL && found->until == UINT64_MAX;
}

#endif
