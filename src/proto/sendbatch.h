/*
 * sendbatch.h - the body of a batch send: inner messages back to back.
 *
 *   totalSize i32 (with itself)   magic i32   bodyCRC i32   flag i32
 *   bodyLen i32, body   propsLen i16, properties (properties.h)
 *
 * Clients leave magic and bodyCRC zero; they are not looked at.
 */
#ifndef LT_PROTO_SENDBATCH_H
#define LT_PROTO_SENDBATCH_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_SENDBATCH_FIXED 22 /* of an inner message */

struct lt_sendbatch_message { /* lent */
	int32_t flag;
	const uint8_t *body;
	uint32_t body_bytes;
	const char *props;
	uint32_t props_bytes;
};

/* Next inner message; *cursor starts at 0. LEAT_OK; LEAT_E_END behind the last;
 * LEAT_E_CORRUPT: its lengths do not fit each other or the batch. */
int lt_sendbatch_next(const void *batch, size_t bytes, size_t *cursor,
    struct lt_sendbatch_message *out) LT_MUST_CHECK;

#endif
