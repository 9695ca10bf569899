/*
 * buffer.h - bytes that are being written: grows, up to a bound. The first
 * failure sticks and everything behind it is ignored, so that a writer asks
 * once, at the end. Not for what is done per message.
 */
#ifndef LT_BASE_BUFFER_H
#define LT_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

struct lt_buffer {
	uint8_t *p;
	size_t bytes; /* written */
	size_t room; /* allocated */
	size_t most; /* larger is refused */
	int status;
};

/* Nothing is allocated yet. */
void lt_buffer_init(struct lt_buffer *b, size_t most);
void lt_buffer_fini(struct lt_buffer *b);
/* Empty and in order again; the room stays. */
void lt_buffer_clear(struct lt_buffer *b);
/* LEAT_OK, LEAT_E_NOMEM or LEAT_E_TOOBIG; then nothing of it is of use. */
int lt_buffer_status(const struct lt_buffer *b) LT_MUST_CHECK;

void lt_buffer_add(struct lt_buffer *b, const void *p, size_t bytes);
void lt_buffer_text(struct lt_buffer *b, const char *text);
void lt_buffer_format(struct lt_buffer *b, const char *format, ...)
    LT_PRINTF(2, 3);
/* A JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD. */
void lt_buffer_quote(struct lt_buffer *b, const void *text, size_t bytes);
/* Big-endian. */
void lt_buffer_put32(struct lt_buffer *b, uint32_t v);
/* Room for that many bytes behind the last, lent until the next call; NULL if
 * there is none. took() adds what was written there. */
void *lt_buffer_reserve(struct lt_buffer *b, size_t bytes);
void lt_buffer_took(struct lt_buffer *b, size_t bytes);

#endif
