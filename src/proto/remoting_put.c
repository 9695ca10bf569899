/*
 * remoting_put.c - write a remoting command's prefix and header, in either
 * encoding, field by field into the caller's buffer. JSON keys stand in the
 * order in which Java writes them. Whatever does not fit sets `full`.
 */
#include "config.h"
#include "proto/remoting.h"

#include <string.h>

#include "base/bytes.h"

/* Where the binary header's parts begin. */
#define REMARK_AT (LT_REMOTING_PREFIX + 13)
#define MAP_AT (REMARK_AT + 4)
#define DIGITS_MAX 20

static inline uint8_t *
claim(struct lt_remoting_encoder *e, size_t bytes)
{
	uint8_t *at = e->buf + e->used;

	if (LT_UNLIKELY(bytes > e->room - e->used)) {
		e->full = 1;
		return NULL;
	}
	e->used += bytes;
	return at;
}

static inline void
put(struct lt_remoting_encoder *e, const void *p, size_t bytes)
{
	uint8_t *at = claim(e, bytes);

	if (LT_LIKELY(at != NULL) && bytes > 0)
		memcpy(at, p, bytes);
}
#define PUT(e, literal) put(e, literal, sizeof(literal) - 1)

static void
put_sized(
    struct lt_remoting_encoder *e, size_t width, const char *p, size_t bytes)
{
	uint8_t *at = claim(e, width);

	if (LT_UNLIKELY(bytes > (width == 2 ? INT16_MAX : INT32_MAX)))
		e->full = 1;
	if (LT_UNLIKELY(at == NULL || e->full))
		return;
	if (width == 2)
		lt_bytes_put16(at, (uint16_t)bytes);
	else
		lt_bytes_put32(at, (uint32_t)bytes);
	put(e, p, bytes);
}

/* How many bytes from p on stand in a JSON string as they are. */
static inline size_t
plain_run(const char *p, size_t bytes)
{
	size_t n = 0;

	while (
	    n < bytes && (uint8_t)p[n] >= 0x20 && p[n] != '"' && p[n] != '\\')
		n++;
	return n;
}

static void
put_escape(struct lt_remoting_encoder *e, uint8_t c)
{
	static const char hex[] = "0123456789abcdef",
			  meant[] = "\"\\\b\f\n\r\t";
	const char *hit = memchr(meant, c, sizeof(meant) - 1);
	char out[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	if (hit != NULL)
		out[1] = "\"\\bfnrt"[hit - meant];
	put(e, out, hit != NULL ? 2 : 6);
}

/* Between quotes. */
static void
put_text(struct lt_remoting_encoder *e, const char *p, size_t bytes)
{
	PUT(e, "\"");
	for (;;) {
		size_t run = plain_run(p, bytes);

		put(e, p, run);
		if (run == bytes)
			break;
		put_escape(e, (uint8_t)p[run]);
		p += run + 1;
		bytes -= run + 1;
	}
	PUT(e, "\"");
}

/* Digits of v to the end of text; where they begin. */
static char *
digits_of(int64_t v, char text[DIGITS_MAX])
{
	uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char *at = text + DIGITS_MAX;

	do
		*--at = (char)('0' + left % 10);
	while ((left /= 10) != 0);
	if (v < 0)
		*--at = '-';
	return at;
}

static void
put_number(struct lt_remoting_encoder *e, int64_t v)
{
	char text[DIGITS_MAX], *at = digits_of(v, text);

	put(e, at, (size_t)(text + DIGITS_MAX - at));
}

void
lt_remoting_begin(struct lt_remoting_encoder *e, void *buf, size_t room,
    enum lt_remoting_encoding encoding, int32_t code, int32_t flag,
    int32_t opaque)
{
	*e = (struct lt_remoting_encoder){.buf = buf,
	    .room = room,
	    .encoding = encoding,
	    .code = code,
	    .flag = flag,
	    .opaque = opaque};
	if (encoding == LT_REMOTING_BINARY) {
		claim(e, MAP_AT + 4);
		return;
	}
	claim(e, LT_REMOTING_PREFIX);
	PUT(e, "{\"code\":");
	put_number(e, code);
}

static void
put_pair(struct lt_remoting_encoder *e, const char *name, size_t name_bytes,
    const char *value, size_t value_bytes)
{
	if (e->encoding == LT_REMOTING_BINARY) {
		put_sized(e, 2, name, name_bytes);
		put_sized(e, 4, value, value_bytes);
		return;
	}
	if (e->ext_count++ == 0)
		PUT(e, ",\"extFields\":{");
	else
		PUT(e, ",");
	put_text(e, name, name_bytes);
	PUT(e, ":");
	put_text(e, value, value_bytes);
}

void
lt_remoting_put(struct lt_remoting_encoder *e, const char *name,
    const char *value, size_t value_bytes)
{
	put_pair(e, name, strlen(name), value, value_bytes);
}

void
lt_remoting_put_i64(
    struct lt_remoting_encoder *e, const char *name, int64_t value)
{
	char text[DIGITS_MAX], *at = digits_of(value, text);

	put_pair(e, name, strlen(name), at, (size_t)(text + DIGITS_MAX - at));
}

void
lt_remoting_put_ext(
    struct lt_remoting_encoder *e, const struct lt_remoting_ext *field)
{
	put_pair(e, field->name.p, field->name.bytes, field->value.p,
	    field->value.bytes);
}

static void
end_json(struct lt_remoting_encoder *e, const char *remark, size_t remark_bytes)
{
	if (e->ext_count > 0)
		PUT(e, "}");
	PUT(e, ",\"flag\":");
	put_number(e, e->flag);
	PUT(e, ",\"language\":\"OTHER\",\"opaque\":");
	put_number(e, e->opaque);
	if (remark != NULL) {
		PUT(e, ",\"remark\":");
		put_text(e, remark, remark_bytes);
	}
	PUT(e, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
	put_number(e, LT_REMOTING_VERSION);
	PUT(e, "}");
}

/* The remark stands before the fields: they move. */
static void
end_binary(
    struct lt_remoting_encoder *e, const char *remark, size_t remark_bytes)
{
	size_t map = e->used - MAP_AT - 4;
	uint8_t *p;

	if (remark == NULL)
		remark_bytes = 0;
	if (claim(e, remark_bytes) == NULL)
		return;
	p = e->buf + LT_REMOTING_PREFIX;
	lt_bytes_put16(p, (uint16_t)e->code);
	p[2] = LT_REMOTING_OTHER;
	lt_bytes_put16(p + 3, LT_REMOTING_VERSION);
	lt_bytes_put32(p + 5, (uint32_t)e->opaque);
	lt_bytes_put32(p + 9, (uint32_t)e->flag);
	p = e->buf + MAP_AT;
	memmove(p + remark_bytes + 4, p + 4, map);
	lt_bytes_put32(p + remark_bytes, (uint32_t)map);
	lt_bytes_put32(e->buf + REMARK_AT, (uint32_t)remark_bytes);
	if (remark_bytes > 0)
		memcpy(p, remark, remark_bytes);
}

size_t
lt_remoting_end(struct lt_remoting_encoder *e, const char *remark,
    size_t remark_bytes, size_t body_bytes)
{
	size_t header;

	if (LT_UNLIKELY(e->full))
		return 0;
	if (e->encoding == LT_REMOTING_BINARY)
		end_binary(e, remark, remark_bytes);
	else
		end_json(e, remark, remark_bytes);
	header = e->used - LT_REMOTING_PREFIX;
	if (LT_UNLIKELY(e->full || header > LT_REMOTING_HEADER_MAX ||
			body_bytes > LT_REMOTING_FRAME_MAX - e->used))
		return 0;
	lt_bytes_put32(e->buf, (uint32_t)(4 + header + body_bytes));
	lt_bytes_put32(
	    e->buf + 4, (uint32_t)e->encoding << 24 | (uint32_t)header);
	return e->used;
}
