/* farjson.c - a forgiving JSON cursor over a reply's body; see farjson.h. */
#include "config.h"
#include "client/remote/farjson.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

void
lt_farjson_init(struct lt_farjson *j, const void *text, size_t bytes)
{
	j->p = text != NULL ? text : "";
	j->end = j->p + (text != NULL ? bytes : 0);
	j->bad = 0;
}

static void
fail(struct lt_farjson *j)
{
	j->bad = 1;
	j->p = j->end;
}

/* The next byte that says something; 0 at the end. */
static char
peek(struct lt_farjson *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' ||
				    *j->p == '\n' || *j->p == '\r'))
		j->p++;
	return j->p < j->end ? *j->p : '\0';
}

/* --- strings ------------------------------------------------------------- */

struct into {
	char *out;
	size_t room, used;
	int full;
};

static void
emit(struct into *to, unsigned char c)
{
	if (to->used + 1 < to->room)
		to->out[to->used++] = (char)c;
	else
		to->full = 1;
}

static void
emit_rune(struct into *to, uint32_t c)
{
	if (c < 0x80) {
		emit(to, (unsigned char)c);
	} else if (c < 0x800) {
		emit(to, (unsigned char)(0xc0 | c >> 6));
		emit(to, (unsigned char)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		emit(to, (unsigned char)(0xe0 | c >> 12));
		emit(to, (unsigned char)(0x80 | (c >> 6 & 63)));
		emit(to, (unsigned char)(0x80 | (c & 63)));
	} else {
		emit(to, (unsigned char)(0xf0 | c >> 18));
		emit(to, (unsigned char)(0x80 | (c >> 12 & 63)));
		emit(to, (unsigned char)(0x80 | (c >> 6 & 63)));
		emit(to, (unsigned char)(0x80 | (c & 63)));
	}
}

/* Four digits behind \u; -1 if they are none. */
static int32_t
hex4(struct lt_farjson *j)
{
	char text[5] = {0}, *stop;
	long v;

	if (j->end - j->p < 4)
		return -1;
	memcpy(text, j->p, 4);
	v = strtol(text, &stop, 16);
	if (stop != text + 4 || text[0] == '-' || text[0] == '+' ||
	    text[0] == ' ')
		return -1;
	j->p += 4;
	return (int32_t)v;
}

static void
escape(struct lt_farjson *j, struct into *to)
{
	static const char meant[] = "\"\\/bfnrt", is[] = "\"\\/\b\f\n\r\t";
	const char *hit;
	int32_t c, low;
	char kind = j->p < j->end ? *j->p++ : '\0';

	if (kind == 'u') {
		c = hex4(j);
		if (c >= 0xd800 && c < 0xdc00 && j->end - j->p >= 6 &&
		    j->p[0] == '\\' && j->p[1] == 'u') {
			j->p += 2;
			low = hex4(j);
			c = low < 0xdc00 || low > 0xdfff
				? -1
				: 0x10000 + ((c - 0xd800) << 10) +
				      (low - 0xdc00);
		}
		if (c < 0)
			fail(j);
		else
			emit_rune(to, (uint32_t)c);
		return;
	}
	hit = kind == '\0' ? NULL : strchr(meant, kind);
	if (hit == NULL)
		fail(j);
	else
		emit(to, (unsigned char)is[hit - meant]);
}

/* The string whose opening quote is at p. out may be NULL. */
static void
string(struct lt_farjson *j, char *out, size_t room)
{
	char none[1];
	struct into to = {
	    out != NULL ? out : none, out != NULL ? room : 1, 0, 0};
	int closed = 0;

	j->p++;
	while (j->p < j->end && !closed) {
		char c = *j->p++;

		if (c == '"')
			closed = 1;
		else if (c == '\\')
			escape(j, &to);
		else
			emit(&to, (unsigned char)c);
	}
	if (!closed)
		fail(j);
	if (to.full || j->bad)
		to.used = 0;
	to.out[to.used] = '\0';
}

/* --- values -------------------------------------------------------------- */

static size_t
plain_bytes(const struct lt_farjson *j)
{
	size_t n = 0;

	while (j->p + n < j->end && strchr(",:{}[] \t\r\n\"", j->p[n]) == NULL)
		n++;
	return n;
}

void
lt_farjson_skip(struct lt_farjson *j)
{
	unsigned depth = 0;
	size_t n;

	do {
		char c = peek(j);

		if (c == '{' || c == '[') {
			j->p++;
			if (++depth > DEPTH_MAX)
				fail(j);
		} else if (c == '}' || c == ']') {
			if (depth-- == 0) {
				fail(j);
				return;
			}
			j->p++;
		} else if (c == '"') {
			string(j, NULL, 0);
		} else if ((c == ',' || c == ':') && depth > 0) {
			j->p++;
		} else {
			n = plain_bytes(j);
			if (n == 0) {
				fail(j);
				return;
			}
			j->p += n;
		}
	} while (depth > 0 && !j->bad);
}

int
lt_farjson_open(struct lt_farjson *j, char kind)
{
	if (peek(j) == kind) {
		j->p++;
		return 1;
	}
	lt_farjson_skip(j);
	return 0;
}

static void
raw(char *out, size_t room, const char *from, size_t bytes)
{
	if (bytes >= room)
		bytes = 0;
	memcpy(out, from, bytes);
	out[bytes] = '\0';
}

int
lt_farjson_key(struct lt_farjson *j, char *key, size_t room)
{
	const char *from;
	char c;

	key[0] = '\0';
	if (peek(j) == ',')
		j->p++;
	c = peek(j);
	if (c == '}' || c == '\0') {
		if (c == '}')
			j->p++;
		return 0;
	}
	from = j->p;
	if (c == '"') {
		string(j, key, room);
	} else {
		lt_farjson_skip(j);
		if (!j->bad)
			raw(key, room, from, (size_t)(j->p - from));
	}
	if (!j->bad && peek(j) == ':')
		j->p++;
	else
		fail(j);
	return !j->bad;
}

int
lt_farjson_item(struct lt_farjson *j)
{
	char c;

	if (peek(j) == ',')
		j->p++;
	c = peek(j);
	if (c == ']' || c == '\0') {
		if (c == ']')
			j->p++;
		return 0;
	}
	return !j->bad;
}

void
lt_farjson_text(struct lt_farjson *j, char *out, size_t room)
{
	char c = peek(j);
	size_t n;

	out[0] = '\0';
	if (c == '"') {
		string(j, out, room);
	} else if (c == '{' || c == '[') {
		lt_farjson_skip(j);
	} else {
		n = plain_bytes(j);
		if (n == 0)
			fail(j);
		else if (n != 4 || memcmp(j->p, "null", 4) != 0)
			raw(out, room, j->p, n);
		j->p += n;
	}
}

int64_t
lt_farjson_number(struct lt_farjson *j, int64_t none)
{
	char text[32], *stop;
	long long v;

	lt_farjson_text(j, text, sizeof(text));
	v = strtoll(text, &stop, 10);
	return text[0] == '\0' || *stop != '\0' ? none : (int64_t)v;
}
