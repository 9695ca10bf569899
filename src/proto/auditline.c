/* auditline.c - an act or a refusal as a line. */
#include "config.h"
#include "proto/auditline.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define VALUE_MAX 320

struct text {
	char *p;
	size_t used;
};

/* Room for it all is there, see the assertion below. */
static void
put(struct text *t, const char *s, size_t bytes)
{
	LT_ASSERT(t->used + bytes < LT_AUDITLINE_MAX);
	memcpy(t->p + t->used, s, bytes);
	t->used += bytes;
}

static int
is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\';
}

static size_t
put_quoted(struct text *t, const char *value, size_t room)
{
	size_t used = 2;
	char hex[5];

	put(t, "\"", 1);
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		int is_itself = is_plain(c) || c == ' ';

		used += is_itself ? 1 : 4;
		if (used > room)
			break;
		snprintf(hex, sizeof hex, "\\x%02x", c);
		put(t, is_itself ? value : hex, is_itself ? 1 : 4);
	}
	put(t, "\"", 1);
	return used;
}

static void
pair(struct text *t, const char *name, const char *value, size_t room)
{
	size_t bytes = 0;

	put(t, name, strlen(name));
	if (value == NULL || value[0] == '\0')
		value = "-";
	while (bytes < room && is_plain((unsigned char)value[bytes]) &&
	       value[bytes] != '=')
		bytes++;
	if (value[bytes] == '\0' || bytes == room)
		put(t, value, bytes);
	else
		(void)put_quoted(t, value, room);
}

/* Most that pair() is given, and the names. */
_Static_assert(
    80 + 24 + 10 + 72 + 64 + 64 + VALUE_MAX + 64 < LT_AUDITLINE_MAX, "a line");

size_t
lt_auditline_make(char out[LT_AUDITLINE_MAX], const struct lt_auditline *line)
{
	struct text t = {.p = out};
	time_t seconds = (time_t)(line->time_ms / 1000);
	char day[24], when[32];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL)
		memset(&tm, 0, sizeof tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(
	    when, sizeof when, "%s.%03dZ", day, (int)(line->time_ms % 1000));
	pair(&t, "time=", when, 24);
	pair(&t, " by=", line->by, 10);
	pair(&t, " principal=", line->principal, 72);
	pair(&t, " peer=", line->peer, 64);
	pair(&t, " act=", line->act, 64);
	pair(&t, " object=", line->object, VALUE_MAX);
	pair(&t, " outcome=", line->outcome, 64);
	out[t.used] = '\0';
	return t.used;
}

int
lt_auditline_is_sound(const char *text)
{
	if (strncmp(text, "time=", 5) != 0)
		return 0;
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			return 0;
	return 1;
}
