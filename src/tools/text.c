/*
 * text.c - words of the command line to values and back: numbers, levels,
 * positions, times, escapes, names, base 64. No I/O but complaints.
 */
#include "config.h"
#include "tools/tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "proto/name.h"

int
lt_tool_number(struct lt_tool *t, uint64_t least, uint64_t most, uint64_t *out)
{
	char *end;
	errno = 0;
	unsigned long long v = strtoull(t->arg, &end, 10);
	if (!isdigit((unsigned char)t->arg[0]) || *end != '\0' || errno != 0 ||
	    v < least || v > most)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: --%s %s: give a number from %llu to %llu", t->name,
		    t->option, t->arg, (unsigned long long)least,
		    (unsigned long long)most);
	*out = v;
	return LEAT_OK;
}

static const char *const level_names[] = {
    "default", "accepted", "logged", "synced"};

int
lt_tool_level(struct lt_tool *t, enum leat_level *out)
{
	for (int i = LEAT_ACCEPTED; i <= LEAT_SYNCED; i++) {
		if (strcmp(t->arg, level_names[i]) == 0) {
			*out = (enum leat_level)i;
			return LEAT_OK;
		}
	}
	return lt_tool_complain(LEAT_E_INVALID,
	    "%s: --%s %s: give accepted, logged or synced", t->name, t->option,
	    t->arg);
}

const char *
lt_tool_level_text(enum leat_level level)
{
	return (unsigned)level < LT_COUNT(level_names) ? level_names[level]
						       : "unknown";
}

int
lt_tool_perm(struct lt_tool *t, uint32_t *out)
{
	if (strcmp(t->arg, "r") == 0)
		*out = LEAT_PERM_READ;
	else if (strcmp(t->arg, "w") == 0)
		*out = LEAT_PERM_WRITE;
	else if (strcmp(t->arg, "rw") == 0 || strcmp(t->arg, "wr") == 0)
		*out = LEAT_PERM_BOTH;
	else if (strcmp(t->arg, "none") == 0)
		*out = LEAT_PERM_NONE;
	else
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: --%s %s: give r, w, rw or none", t->name, t->option,
		    t->arg);
	return LEAT_OK;
}

const char *
lt_tool_perm_text(uint32_t perm)
{
	switch (perm) {
	case LEAT_PERM_READ:
		return "r";
	case LEAT_PERM_WRITE:
		return "w";
	case LEAT_PERM_BOTH:
		return "rw";
	case LEAT_PERM_NONE:
		return "none";
	default:
		return "-";
	}
}

/* "10s", "5m", "2h", "1d": how long ago. 0, or -1 if it is none of them. */
static int
parse_ago(const char *text, int64_t *ms)
{
	char *end;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	int64_t unit = *end == 's'   ? 1000
		       : *end == 'm' ? 60000
		       : *end == 'h' ? 3600000
		       : *end == 'd' ? 86400000
				     : 0;
	if (!isdigit((unsigned char)text[0]) || unit == 0 || end[1] != '\0' ||
	    errno != 0 || v > INT64_MAX / 86400000)
		return -1;
	*ms = lt_clock_wall_ms() - v * unit;
	return 0;
}

/* YYYY-MM-DD[(T or space)HH:MM[:SS]][Z], local time without Z. 0 or -1. */
static int
parse_date(const char *text, int64_t *ms)
{
	struct tm tm = {.tm_isdst = -1};
	const char *end = strptime(text, "%Y-%m-%d", &tm);
	if (end == NULL)
		return -1;
	if (*end == 'T' || *end == ' ') {
		const char *clock = end + 1;
		end = strptime(clock, "%H:%M:%S", &tm);
		if (end == NULL)
			end = strptime(clock, "%H:%M", &tm);
		if (end == NULL)
			return -1;
	}
	tm.tm_isdst = -1;
	bool utc = *end == 'Z';
	if (end[utc ? 1 : 0] != '\0')
		return -1;
	*ms = (int64_t)(utc ? timegm(&tm) : mktime(&tm)) * 1000;
	return 0;
}

int
lt_tool_where(struct lt_tool *t, enum leat_from *from, int64_t *value)
{
	const char *a = t->arg;
	char *end;
	*value = 0;
	if (strcmp(a, "begin") == 0 || strcmp(a, "beginning") == 0) {
		*from = LEAT_FROM_BEGIN;
		return LEAT_OK;
	}
	if (strcmp(a, "end") == 0) {
		*from = LEAT_FROM_END;
		return LEAT_OK;
	}
	*from = LEAT_FROM_TIME;
	if (parse_ago(a, value) == 0 || parse_date(a, value) == 0)
		return LEAT_OK;
	errno = 0;
	*value = strtoll(a, &end, 10);
	bool digits = isdigit((unsigned char)a[a[0] == '-' ? 1 : 0]);
	if (!digits || *end != '\0' || errno != 0)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: --%s %s: give begin, end, an offset, -N, a time such "
		    "as "
		    "2026-01-31T10:20:30Z or ms since 1970, or 5m ago",
		    t->name, t->option, a);
	/* Thirteen digits are milliseconds since 1970, not an offset. */
	if (*value < 1000000000000)
		*from = *value == 0 && a[0] == '-' ? LEAT_FROM_END
						   : LEAT_FROM_OFFSET;
	return LEAT_OK;
}

int
lt_tool_unescape(const char *in, char *out, size_t *bytes_out)
{
	size_t n = 0;
	for (; *in != '\0'; in++) {
		char c = *in;
		if (c == '\\') {
			char hex[3] = "";
			switch (*++in) {
			case 'n':
				c = '\n';
				break;
			case 't':
				c = '\t';
				break;
			case 'r':
				c = '\r';
				break;
			case '0':
				c = '\0';
				break;
			case '\\':
				break;
			case 'x':
				if (!isxdigit((unsigned char)in[1]) ||
				    !isxdigit((unsigned char)in[2]))
					return LEAT_E_INVALID;
				memcpy(hex, in + 1, 2);
				c = (char)strtoul(hex, NULL, 16);
				in += 2;
				break;
			default:
				return LEAT_E_INVALID;
			}
		}
		out[n++] = c;
	}
	out[n] = '\0';
	*bytes_out = n;
	return LEAT_OK;
}

int
lt_tool_check_topic(const char *name)
{
	if (lt_name_topic(name) == LEAT_OK)
		return LEAT_OK;
	return lt_tool_complain(LEAT_E_NAME,
	    "topic `%s`: illegal name; use 1 to %d letters, digits and %% | _ "
	    "-",
	    name, LT_TOPIC_MAX);
}

int
lt_tool_check_group(const char *name)
{
	if (lt_name_group(name) == LEAT_OK)
		return LEAT_OK;
	return lt_tool_complain(LEAT_E_NAME,
	    "group `%s`: illegal name; use 1 to %d letters, digits and %% | _ "
	    "-",
	    name, LT_GROUP_MAX);
}

const char *
lt_tool_time_text(int64_t ms, char *buf)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	if (ms <= 0 || localtime_r(&s, &tm) == NULL)
		return "-";
	size_t n = strftime(buf, 24, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(buf + n, 32 - n, ".%03d", (int)(ms % 1000));
	return buf;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
lt_tool_base64(const void *in, size_t bytes, char *out)
{
	const uint8_t *p = in;
	char *at = out;
	for (size_t i = 0; i < bytes; i += 3) {
		size_t left = bytes - i;
		uint32_t v = (uint32_t)p[i] << 16;
		v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= left > 2 ? p[i + 2] : 0;
		*at++ = base64_digits[v >> 18];
		*at++ = base64_digits[v >> 12 & 63];
		*at++ = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		*at++ = left > 2 ? base64_digits[v & 63] : '=';
	}
	*at = '\0';
	return (size_t)(at - out);
}

int64_t
lt_tool_unbase64(const char *in, size_t bytes, void *out)
{
	uint8_t *to = out;
	uint32_t v = 0;
	int bits = 0;
	while (bytes > 0 && in[bytes - 1] == '=')
		bytes--;
	if (bytes % 4 == 1)
		return -1;
	for (size_t i = 0; i < bytes; i++) {
		const char *d =
		    in[i] != '\0' ? strchr(base64_digits, in[i]) : NULL;
		if (d == NULL)
			return -1;
		v = v << 6 | (uint32_t)(d - base64_digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (uint8_t)(v >> bits);
		}
	}
	return to - (uint8_t *)out;
}
