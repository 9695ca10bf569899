/*
 * msgtext.h - the property text of a message that is about to be stored: what
 * its client said, without what only the broker says, and what is added.
 */
#ifndef LT_REMOTING_MSGTEXT_H
#define LT_REMOTING_MSGTEXT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/limits.h"

/* Room that a delayed message's copy needs for another id. */
#define LT_MSGTEXT_MAX (LT_PROPERTIES_MAX - 200)

struct lt_msgtext {
	char *at;
	size_t bytes, room;
	int status;
};

/* Which of a client's properties do not stay; what only the broker says of a
 * message never does, nor an id said twice. */
enum lt_msgtext_without {
	LT_MSGTEXT_DELAY = 1, /* of any kind */
	LT_MSGTEXT_PLACE = 2, /* the real topic and queue of a delayed one */
	LT_MSGTEXT_WAIT = 4,
	LT_MSGTEXT_CLUSTER = 8 /* a retried request keeps what we added */
};
void lt_msgtext_begin(struct lt_msgtext *t, char *out, size_t room,
    const char *props, size_t bytes, unsigned without);
void lt_msgtext_add(struct lt_msgtext *t, const char *name, const char *value,
    size_t value_bytes);
void lt_msgtext_number(struct lt_msgtext *t, const char *name, int64_t value);
/* LEAT_OK, or LEAT_E_INVALID: malformed or too long. */
int lt_msgtext_end(const struct lt_msgtext *t) LT_MUST_CHECK;

/* What the properties ask of the broker, in one pass. LEAT_E_INVALID: no level;
 * LEAT_E_UNSUPPORTED: a time instead of a level. */
struct lt_msgtext_asks {
	uint32_t level; /* of delay: 0 none, at most LT_LEVELS_MAX */
	int is_request; /* somebody waits for an answer to it */
};
int lt_msgtext_read(
    const char *props, size_t bytes, struct lt_msgtext_asks *out) LT_MUST_CHECK;
/* It goes to queue level - 1 of the schedule topic, and says where it belongs.
 */
void lt_msgtext_delay(
    struct lt_msgtext *t, uint32_t level, const char *topic, uint32_t queue);

#endif
