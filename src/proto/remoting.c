/*
 * remoting.c - read a remoting command: the frame, then its header in either
 * encoding, then its fields by name. One pass over the bytes, which a stranger
 * sent; what is not JSON (or not its binary twin) is a status. The JSON that is
 * read is RFC 8259's, but control characters may stand in strings as they are.
 */
#include "config.h"
#include "proto/remoting.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "leat/status.h"

#define DEPTH_MAX 16 /* of arrays and objects that are skipped */
#define BINARY_FIXED 21 /* header without remark and extFields */

static const char *const languages[] = {"JAVA", "CPP", "DOTNET", "PYTHON",
    "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
    "NODE_JS"};

int
lt_remoting_frame(void *p, size_t bytes, struct lt_remoting_frame *out)
{
	uint8_t *base = p;
	uint32_t length, header;

	out->bytes = 0;
	if (bytes < 4)
		return LEAT_E_AGAIN;
	length = lt_bytes_get32(base);
	if (LT_UNLIKELY(length > LT_REMOTING_FRAME_MAX - 4))
		return LEAT_E_TOOBIG;
	if (LT_UNLIKELY(length < 4))
		return LEAT_E_CORRUPT;
	out->bytes = length + 4;
	if (bytes < LT_REMOTING_PREFIX)
		return LEAT_E_AGAIN;
	header = lt_bytes_get32(base + 4) & 0xffffff;
	if (LT_UNLIKELY(base[4] > LT_REMOTING_BINARY || header > length - 4))
		return LEAT_E_CORRUPT;
	if (LT_UNLIKELY(header > LT_REMOTING_HEADER_MAX))
		return LEAT_E_TOOBIG;
	if (bytes < out->bytes)
		return LEAT_E_AGAIN;
	out->encoding = base[4];
	out->header = base + LT_REMOTING_PREFIX;
	out->header_bytes = header;
	out->body = out->header + header;
	out->body_bytes = length - 4 - header;
	return LEAT_OK;
}

/* --- texts ---------------------------------------------------------------- */

static inline int
is_text(const struct lt_remoting_text *text, const char *name, size_t bytes)
{
	return text->bytes == bytes &&
	       (bytes == 0 ||
		   (*text->p == *name && memcmp(text->p, name, bytes) == 0));
}
#define IS(text, literal) is_text(text, literal, sizeof(literal) - 1)

/* Decimal digits with an optional sign, as Long.parseLong takes them. */
static int
to_i64(const struct lt_remoting_text *text, int64_t *out)
{
	const char *p = text->p, *end = p + text->bytes;
	int negative = p < end && *p == '-';
	int64_t v = 0;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return LEAT_E_INVALID;
	for (; p < end; p++) {
		int digit = *p - '0';

		if (digit < 0 || digit > 9 ||
		    __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, digit, &v))
			return LEAT_E_INVALID;
	}
	if (!negative && v == INT64_MIN)
		return LEAT_E_INVALID;
	*out = negative ? v : -v;
	return LEAT_OK;
}

static int
to_i32(const struct lt_remoting_text *text, int32_t *out)
{
	int64_t v;

	if (to_i64(text, &v) != LEAT_OK || v != (int32_t)v)
		return LEAT_E_INVALID;
	*out = (int32_t)v;
	return LEAT_OK;
}

static uint8_t
to_language(const struct lt_remoting_text *text)
{
	for (uint8_t i = 0; i < LT_COUNT(languages); i++)
		if (is_text(text, languages[i], strlen(languages[i])))
			return i;
	return LT_REMOTING_OTHER;
}

const char *
lt_remoting_language(uint8_t language)
{
	return languages[language < LT_COUNT(languages) ? language
							: LT_REMOTING_OTHER];
}

/* --- JSON ----------------------------------------------------------------- */

struct scan {
	uint8_t *p;
	uint8_t *end;
};

#define EACH(byte) (0x0101010101010101u * (byte))

/* The high bit of the lowest zero byte of v, and perhaps some above it. */
static inline uint64_t
zero_byte(uint64_t v)
{
	return (v - EACH(1)) & ~v & EACH(0x80);
}

/* The first quote or backslash from p on, or end. */
static inline uint8_t *
find_special(uint8_t *p, uint8_t *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t v, hit;

		memcpy(&v, p, 8);
		hit = zero_byte(v ^ EACH('"')) | zero_byte(v ^ EACH('\\'));
		if (hit != 0)
			return p + __builtin_ctzll(hit) / 8;
	}
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline void
skip_space(struct scan *s)
{
	while (
	    s->p < s->end && *s->p <= ' ' &&
	    (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

/* Past white space and c; 0: something else is there. */
static inline int
take(struct scan *s, uint8_t c)
{
	if (LT_UNLIKELY(s->p == s->end || *s->p != c)) {
		skip_space(s);
		if (s->p == s->end || *s->p != c)
			return 0;
	}
	s->p++;
	return 1;
}

/* Four hexadecimal digits, or -1. */
static int
get_hex(const struct scan *s, const uint8_t *p)
{
	int v = 0;

	if (s->end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		unsigned digit = p[i] - '0', letter = (p[i] | 0x20u) - 'a';

		if (digit > 9 && letter > 5)
			return -1;
		v = v << 4 | (int)(digit <= 9 ? digit : letter + 10);
	}
	return v;
}

static uint8_t *
put_utf8(uint8_t *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (uint8_t)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (uint8_t)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (uint8_t)(0xe0 | c >> 12);
		} else {
			*to++ = (uint8_t)(0xf0 | c >> 18);
			*to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
		}
		*to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (uint8_t)(0x80 | (c & 0x3f));
	return to;
}

/* The escape at s->p (a backslash) to `to`, which is not beyond it; no escape
 * is shorter than what it stands for. Half a surrogate pair is U+FFFD. NULL:
 * not an escape. */
static uint8_t *
unescape(struct scan *s, uint8_t *to)
{
	static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *hit;
	int c, low;

	if (s->end - s->p < 2)
		return NULL;
	if (s->p[1] != 'u') {
		hit = memchr(plain, s->p[1], sizeof(plain) - 1);
		if (hit == NULL)
			return NULL;
		s->p += 2;
		*to++ = (uint8_t)meant[hit - plain];
		return to;
	}
	c = get_hex(s, s->p + 2);
	if (c < 0)
		return NULL;
	s->p += 6;
	if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 &&
	    s->p[0] == '\\' && s->p[1] == 'u') {
		low = get_hex(s, s->p + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			s->p += 6;
			return put_utf8(to,
			    0x10000u + ((c & 0x3ffu) << 10) + (low & 0x3ffu));
		}
	}
	return put_utf8(to, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
}

/* The string whose opening quote was taken, its escapes resolved in place. */
static int
scan_string(struct scan *s, struct lt_remoting_text *out)
{
	uint8_t *from = s->p, *to;

	to = s->p = find_special(s->p, s->end);
	while (s->p < s->end && *s->p == '\\') {
		uint8_t *run;

		to = unescape(s, to);
		if (to == NULL)
			return 0;
		run = s->p;
		s->p = find_special(run, s->end);
		memmove(to, run, (size_t)(s->p - run));
		to += s->p - run;
	}
	if (s->p == s->end)
		return 0;
	s->p++;
	out->p = (const char *)from;
	out->bytes = (uint32_t)(to - from);
	return 1;
}

/* Past a string, which stays as it is. */
static int
skip_string(struct scan *s)
{
	s->p = find_special(s->p, s->end);
	while (s->p < s->end && *s->p == '\\') {
		uint8_t unused[4];

		if (unescape(s, unused) == NULL)
			return 0;
		s->p = find_special(s->p, s->end);
	}
	return take(s, '"');
}

static size_t
skip_digits(struct scan *s)
{
	uint8_t *from = s->p;

	while (s->p < s->end && (unsigned)*s->p - '0' <= 9)
		s->p++;
	return (size_t)(s->p - from);
}

static inline int
is_at(const struct scan *s, char a, char b)
{
	return s->p < s->end && (*s->p == a || *s->p == b);
}

static int
skip_number(struct scan *s)
{
	int zero;

	if (is_at(s, '-', '-'))
		s->p++;
	zero = is_at(s, '0', '0');
	switch (skip_digits(s)) {
	case 0:
		return 0;
	case 1:
		break;
	default:
		if (zero)
			return 0;
	}
	if (is_at(s, '.', '.')) {
		s->p++;
		if (skip_digits(s) == 0)
			return 0;
	}
	if (is_at(s, 'e', 'E')) {
		s->p++;
		if (is_at(s, '+', '-'))
			s->p++;
		return skip_digits(s) > 0;
	}
	return 1;
}

static int
skip_word(struct scan *s, const char *word, size_t bytes)
{
	if ((size_t)(s->end - s->p) < bytes || memcmp(s->p, word, bytes) != 0)
		return 0;
	s->p += bytes;
	return 1;
}

/* Past any value, which stays as it is. */
static int
skip_value(struct scan *s, int depth)
{
	uint8_t open;

	skip_space(s);
	if (s->p == s->end)
		return 0;
	switch (open = *s->p) {
	case '"':
		s->p++;
		return skip_string(s);
	case 't':
		return skip_word(s, "true", 4);
	case 'f':
		return skip_word(s, "false", 5);
	case 'n':
		return skip_word(s, "null", 4);
	case '{':
	case '[':
		break;
	default:
		return skip_number(s);
	}
	if (depth == DEPTH_MAX)
		return 0;
	s->p++;
	for (int first = 1; !take(s, open + 2); first = 0) { /* } and ] */
		if (!first && !take(s, ','))
			return 0;
		if (open == '{' &&
		    (!take(s, '"') || !skip_string(s) || !take(s, ':')))
			return 0;
		if (!skip_value(s, depth + 1))
			return 0;
	}
	return 1;
}

/* A string's text; of any other value its own; null: absent. */
static int
scan_value(struct scan *s, struct lt_remoting_text *out)
{
	uint8_t *from;

	if (LT_LIKELY(take(s, '"')))
		return scan_string(s, out);
	from = s->p;
	if (!skip_value(s, 0))
		return 0;
	out->p = *from == 'n' ? NULL : (const char *)from;
	out->bytes = *from == 'n' ? 0 : (uint32_t)(s->p - from);
	return 1;
}

/* The object's next key, its colon taken: 1; no more: 0; not JSON: -1. */
static int
next_key(struct scan *s, int is_first, struct lt_remoting_text *key)
{
	if (is_first && take(s, '}'))
		return 0;
	if (!is_first && !take(s, ','))
		return take(s, '}') ? 0 : -1;
	return take(s, '"') && scan_string(s, key) && take(s, ':') ? 1 : -1;
}

static int
scan_ext(struct scan *s, struct lt_remoting *out)
{
	struct lt_remoting_ext field;
	int more;

	out->ext_count = 0;
	if (!take(s, '{'))
		return skip_word(s, "null", 4);
	for (int first = 1; (more = next_key(s, first, &field.name)) == 1;
	     first = 0) {
		if (!scan_value(s, &field.value))
			return 0;
		if (field.value.p == NULL)
			continue;
		if (out->ext_count == LT_REMOTING_EXT_MAX)
			return 0;
		out->ext[out->ext_count++] = field;
	}
	return more == 0;
}

/* A field that null leaves as it was. */
static int
set_field(struct lt_remoting *out, const struct lt_remoting_text *key,
    const struct lt_remoting_text *value)
{
	int32_t *number = NULL;

	if (value->p == NULL)
		return 1;
	if (IS(key, "code"))
		number = &out->code;
	else if (IS(key, "flag"))
		number = &out->flag;
	else if (IS(key, "opaque"))
		number = &out->opaque;
	else if (IS(key, "version"))
		number = &out->version;
	else if (IS(key, "language"))
		out->language = to_language(value);
	else if (IS(key, "remark"))
		out->remark = *value;
	return number == NULL || to_i32(value, number) == LEAT_OK;
}

static int
decode_json(const struct lt_remoting_frame *frame, struct lt_remoting *out)
{
	struct scan s = {frame->header, frame->header + frame->header_bytes};
	struct lt_remoting_text key, value;
	int more;

	if (!take(&s, '{'))
		return LEAT_E_CORRUPT;
	for (int first = 1; (more = next_key(&s, first, &key)) == 1;
	     first = 0) {
		int ok = IS(&key, "extFields")
			     ? scan_ext(&s, out)
			     : scan_value(&s, &value) &&
				   set_field(out, &key, &value);

		if (!ok)
			return LEAT_E_CORRUPT;
	}
	skip_space(&s);
	return more == 0 && s.p == s.end ? LEAT_OK : LEAT_E_CORRUPT;
}

/* --- binary --------------------------------------------------------------- */

/* `width` bytes of length, then as many bytes; an empty one is absent. */
static int
scan_sized(struct scan *s, unsigned width, struct lt_remoting_text *out)
{
	uint32_t bytes;

	if (s->end - s->p < width)
		return 0;
	bytes = width == 2 ? lt_bytes_get16(s->p) : lt_bytes_get32(s->p);
	s->p += width;
	if (bytes > (size_t)(s->end - s->p) ||
	    (width == 2 && bytes > INT16_MAX))
		return 0;
	out->p = bytes == 0 ? NULL : (const char *)s->p;
	out->bytes = bytes;
	s->p += bytes;
	return 1;
}

static int
decode_binary(const struct lt_remoting_frame *frame, struct lt_remoting *out)
{
	uint8_t *p = frame->header;
	struct scan s = {p + 13, p + frame->header_bytes};
	struct lt_remoting_text map;
	struct lt_remoting_ext field;

	if (frame->header_bytes < BINARY_FIXED)
		return LEAT_E_CORRUPT;
	/* Codes beyond 16 bits were cut by whoever encoded; upstream's reader
	 * extends the sign, and so do we. */
	out->code = (int16_t)lt_bytes_get16(p);
	out->language = p[2] < LT_COUNT(languages) ? p[2] : LT_REMOTING_OTHER;
	out->version = (int16_t)lt_bytes_get16(p + 3);
	out->opaque = (int32_t)lt_bytes_get32(p + 5);
	out->flag = (int32_t)lt_bytes_get32(p + 9);
	if (!scan_sized(&s, 4, &out->remark) || !scan_sized(&s, 4, &map) ||
	    s.p != s.end)
		return LEAT_E_CORRUPT;
	s.p -= map.bytes;
	while (s.p < s.end) {
		if (!scan_sized(&s, 2, &field.name) ||
		    !scan_sized(&s, 4, &field.value))
			return LEAT_E_CORRUPT;
		if (field.name.p == NULL || field.value.p == NULL)
			continue;
		if (out->ext_count == LT_REMOTING_EXT_MAX)
			return LEAT_E_CORRUPT;
		out->ext[out->ext_count++] = field;
	}
	return LEAT_OK;
}

int
lt_remoting_decode(
    const struct lt_remoting_frame *frame, struct lt_remoting *out)
{
	memset(out, 0, offsetof(struct lt_remoting, ext));
	out->encoding = frame->encoding;
	return frame->encoding == LT_REMOTING_JSON ? decode_json(frame, out)
						   : decode_binary(frame, out);
}

/* --- fields --------------------------------------------------------------- */

struct lt_remoting_text
lt_remoting_find(const struct lt_remoting *h, const char *name)
{
	size_t bytes = strlen(name);

	/* Of several the last, as in a map. */
	for (uint32_t i = h->ext_count; i-- > 0;)
		if (is_text(&h->ext[i].name, name, bytes))
			return h->ext[i].value;
	return (struct lt_remoting_text){0};
}

int
lt_remoting_i64(const struct lt_remoting *h, const char *name, int64_t *out)
{
	struct lt_remoting_text text = lt_remoting_find(h, name);

	return text.p == NULL ? LEAT_E_NOTFOUND : to_i64(&text, out);
}

int
lt_remoting_i32(const struct lt_remoting *h, const char *name, int32_t *out)
{
	struct lt_remoting_text text = lt_remoting_find(h, name);

	return text.p == NULL ? LEAT_E_NOTFOUND : to_i32(&text, out);
}

int
lt_remoting_bool(const struct lt_remoting *h, const char *name)
{
	struct lt_remoting_text text = lt_remoting_find(h, name);

	return text.bytes == 4 && strncasecmp(text.p, "true", 4) == 0;
}
