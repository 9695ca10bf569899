/*
 * deflate.h - whole zlib streams (RFC 1950) through libdeflate. What a stream
 * becomes is bounded by the buffer it goes to.
 */
#ifndef LT_BASE_DEFLATE_H
#define LT_BASE_DEFLATE_H

#include <stddef.h>
#include "base/buffer.h"
#include "base/check.h"

/* Append the stream of these bytes; level 0 (store) to 9. LEAT_OK or the
 * buffer's status. */
int lt_deflate_pack(const void *in, size_t bytes, int level,
    struct lt_buffer *out) LT_MUST_CHECK;
/* Append what the one stream that `in` is holds. LEAT_OK; LEAT_E_CORRUPT: it is
 * none, or bytes follow it; LEAT_E_TOOBIG: more than the buffer may hold;
 * LEAT_E_NOMEM. */
int lt_deflate_unpack(
    const void *in, size_t bytes, struct lt_buffer *out) LT_MUST_CHECK;

#endif
