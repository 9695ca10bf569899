/* buffer.c - a growable buffer whose failure sticks; JSON's way to quote. */
#include "config.h"
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "leat/status.h"

#define FIRST_ROOM 256u

void
lt_buffer_init(struct lt_buffer *b, size_t most)
{
	*b = (struct lt_buffer){.most = most};
}

void
lt_buffer_fini(struct lt_buffer *b)
{
	lt_mem_free(b->p);
	*b = (struct lt_buffer){.most = b->most};
}

void
lt_buffer_clear(struct lt_buffer *b)
{
	b->bytes = 0;
	b->status = LEAT_OK;
}

int
lt_buffer_status(const struct lt_buffer *b)
{
	return b->status;
}

void *
lt_buffer_reserve(struct lt_buffer *b, size_t bytes)
{
	if (b->status != LEAT_OK)
		return NULL;
	if (bytes > b->most - b->bytes) {
		b->status = LEAT_E_TOOBIG;
		return NULL;
	}
	if (b->p == NULL || bytes > b->room - b->bytes) {
		size_t want = b->room * 2;
		if (want < b->bytes + bytes)
			want = b->bytes + bytes;
		if (want < FIRST_ROOM)
			want = FIRST_ROOM;
		uint8_t *p = lt_mem_resize(b->p, want);
		if (p == NULL) {
			b->status = LEAT_E_NOMEM;
			return NULL;
		}
		b->p = p;
		b->room = want;
	}
	return b->p + b->bytes;
}

void
lt_buffer_took(struct lt_buffer *b, size_t bytes)
{
	LT_ASSERT(b->status == LEAT_OK && bytes <= b->room - b->bytes);
	b->bytes += bytes;
}

void
lt_buffer_add(struct lt_buffer *b, const void *p, size_t bytes)
{
	void *to = lt_buffer_reserve(b, bytes);
	if (to == NULL || bytes == 0)
		return;
	memcpy(to, p, bytes);
	b->bytes += bytes;
}

void
lt_buffer_text(struct lt_buffer *b, const char *text)
{
	lt_buffer_add(b, text, strlen(text));
}

void
lt_buffer_format(struct lt_buffer *b, const char *format, ...)
{
	char text[512], *to = text;
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(text, sizeof(text), format, args);
	LT_ASSERT(n >= 0);
	if ((size_t)n >= sizeof(text)) {
		/* vsnprintf needs a byte for its NUL. */
		to = lt_buffer_reserve(b, (size_t)n + 1);
		if (to != NULL) {
			vsnprintf(to, (size_t)n + 1, format, again);
			b->bytes += (size_t)n;
		}
	} else {
		lt_buffer_add(b, text, (size_t)n);
	}
	va_end(again);
	va_end(args);
}

void
lt_buffer_put32(struct lt_buffer *b, uint32_t v)
{
	uint8_t bytes[4];

	lt_bytes_put32(bytes, v);
	lt_buffer_add(b, bytes, sizeof(bytes));
}

/* Bytes of the UTF-8 character at p, 0 if there is none (RFC 3629: shortest
 * form, no surrogates, up to U+10FFFF). */
static size_t
character_bytes(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80			  ? 1
		   : p[0] >= 0xc2 && p[0] <= 0xdf ? 2
		   : (p[0] & 0xf0) == 0xe0	  ? 3
		   : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						  : 0;
	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static void
quote_special(struct lt_buffer *b, uint8_t c)
{
	static const char letters[] = "btn\vfr"; /* of 8 to 13 */
	char text[8];

	if (c == '"' || c == '\\')
		snprintf(text, sizeof(text), "\\%c", c);
	else if (c >= 8 && c <= 13 && c != '\v')
		snprintf(text, sizeof(text), "\\%c", letters[c - 8]);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	lt_buffer_text(b, text);
}

void
lt_buffer_quote(struct lt_buffer *b, const void *text, size_t bytes)
{
	const uint8_t *p = text;
	size_t at = 0, from = 0;

	lt_buffer_add(b, "\"", 1);
	while (at < bytes) {
		size_t n = character_bytes(p + at, bytes - at);
		int plain = n > 0 && p[at] >= 0x20 && p[at] != '"' &&
			    p[at] != '\\' && p[at] != 0x7f;
		if (plain) {
			at += n;
			continue;
		}
		lt_buffer_add(b, p + from, at - from);
		if (n == 0)
			lt_buffer_text(b, "\\ufffd");
		else
			quote_special(b, p[at]);
		from = ++at;
	}
	lt_buffer_add(b, p + from, at - from);
	lt_buffer_add(b, "\"", 1);
}
