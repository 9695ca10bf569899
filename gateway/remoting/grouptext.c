/*
 * grouptext.c - one table of fields, and a writer and a reader that walk it.
 */
#include "config.h"
#include "remoting/grouptext.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "leat/status.h"

enum kind {
	NAME,
	TRUTH,
	SMALL,
	WIDE,
	PIECE
};

static const struct field {
	const char *name;
	enum kind kind;
	size_t at;
} fields[] = {
#define X(name, kind, member)                                                  \
	{name, kind, offsetof(struct lt_groups_config, member)},
    LT_GROUPTEXT_FIELDS(X)
#undef X
};

int
lt_grouptext_default(
    struct lt_groups_config *out, const char *name, size_t bytes)
{
	if (bytes == 0 || bytes >= sizeof out->name)
		return LEAT_E_NAME;
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)name[i] < ' ')
			return LEAT_E_NAME;
	*out = (struct lt_groups_config){.may_consume = 1,
	    .may_broadcast = 1,
	    .from_min = 1,
	    .tells_members = 1,
	    .retry_queues = 1,
	    .retry_max = LT_GROUPTEXT_RETRY_MAX,
	    .timeout_min = 15,
	    .slow_broker = 1,
	    .attributes = "{}",
	    .retry_policy = "{\"type\":\"CUSTOMIZED\"}"};
	memcpy(out->name, name, bytes);
	return LEAT_OK;
}

/* --- written ---------------------------------------------------------------
 */

static void
write_value(const struct field *f, const struct lt_groups_config *config,
    struct lt_buffer *out)
{
	const void *p = (const char *)config + f->at;

	switch (f->kind) {
	case NAME:
		lt_buffer_quote(out, p, strlen(p));
		break;
	case TRUTH:
		lt_buffer_text(out, *(const uint8_t *)p ? "true" : "false");
		break;
	case SMALL:
		lt_buffer_format(out, "%" PRId32, *(const int32_t *)p);
		break;
	case WIDE:
		lt_buffer_format(out, "%" PRId64, *(const int64_t *)p);
		break;
	case PIECE:
		lt_buffer_text(out, p);
		break;
	}
}

void
lt_grouptext_json(const struct lt_groups_config *c, struct lt_buffer *out)
{
	for (size_t i = 0; i < LT_COUNT(fields); i++) {
		lt_buffer_text(out, i == 0 ? "{\"" : ",\"");
		lt_buffer_text(out, fields[i].name);
		lt_buffer_text(out, "\":");
		write_value(&fields[i], c, out);
	}
	lt_buffer_text(out, "}");
}

void
lt_grouptext_say(const struct lt_groups_config *c, struct lt_buffer *out)
{
	for (size_t i = 0; i < LT_COUNT(fields); i++) {
		if (fields[i].kind == NAME)
			continue;
		lt_buffer_text(out, fields[i].name);
		lt_buffer_text(out, "=");
		write_value(&fields[i], c, out);
		lt_buffer_text(out, "\n");
	}
}

void
lt_grouptext_say_mode(const struct lt_groups_mode *mode, struct lt_buffer *out)
{
	lt_buffer_format(out, "mode=%s\npopShareQueueNum=%" PRId32 "\n",
	    mode->is_pop ? "POP" : "PULL", mode->share);
}

/* --- read ------------------------------------------------------------------
 */

/* A line, without its end. */
struct line {
	const char *name, *value;
	size_t name_bytes, value_bytes;
};

/* 1: *at_io is behind it. Lines without "=" are skipped. */
static int
next_line(const char **at_io, struct line *out)
{
	while (**at_io != '\0') {
		const char *line = *at_io;
		size_t bytes = strcspn(line, "\n");
		const char *is = memchr(line, '=', bytes);

		*at_io = line + bytes + (line[bytes] != '\0');
		if (is == NULL)
			continue;
		out->name = line;
		out->name_bytes = (size_t)(is - line);
		out->value = is + 1;
		out->value_bytes = bytes - out->name_bytes - 1;
		return 1;
	}
	return 0;
}

static int
is_called(const struct line *line, const char *name)
{
	return line->name_bytes == strlen(name) &&
	       memcmp(line->name, name, line->name_bytes) == 0;
}

static int
is_word(const struct line *line, const char *word)
{
	return line->value_bytes == strlen(word) &&
	       memcmp(line->value, word, line->value_bytes) == 0;
}

/* What makes no sense leaves the default. */
static int64_t
number_of(const struct line *line, int64_t low, int64_t high, int64_t def)
{
	char *end;
	int64_t n = strtoll(line->value, &end, 10);

	return end != line->value && end == line->value + line->value_bytes &&
		       n >= low && n <= high
		   ? n
		   : def;
}

static void
take(const struct field *f, const struct line *line, struct lt_groups_config *c)
{
	void *p = (char *)c + f->at;
	int32_t *small = p;
	int64_t *wide = p;

	switch (f->kind) {
	case NAME:
		break;
	case TRUTH:
		if (is_word(line, "true") || is_word(line, "false"))
			*(uint8_t *)p = (uint8_t)is_word(line, "true");
		break;
	case SMALL:
		*small = (int32_t)number_of(line, INT32_MIN, INT32_MAX, *small);
		break;
	case WIDE:
		*wide = number_of(line, INT64_MIN, INT64_MAX, *wide);
		break;
	case PIECE:
		if (line->value_bytes < LT_GROUPTEXT_PIECE) {
			memcpy(p, line->value, line->value_bytes);
			memset((char *)p + line->value_bytes, 0,
			    LT_GROUPTEXT_PIECE - line->value_bytes);
		}
		break;
	}
}

void
lt_grouptext_read(const char *text, struct lt_groups_config *c)
{
	struct line line;

	while (next_line(&text, &line))
		for (size_t i = 0; i < LT_COUNT(fields); i++)
			if (is_called(&line, fields[i].name))
				take(&fields[i], &line, c);
}

void
lt_grouptext_read_mode(const char *text, struct lt_groups_mode *mode)
{
	struct line line;

	*mode = (struct lt_groups_mode){0};
	while (next_line(&text, &line))
		if (is_called(&line, "mode"))
			mode->is_pop = is_word(&line, "POP");
		else if (is_called(&line, "popShareQueueNum"))
			mode->share =
			    (int32_t)number_of(&line, INT32_MIN, INT32_MAX, 0);
}
