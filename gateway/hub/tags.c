/* tags.c - "a || b": the tags of a subscription, and their codes. */
#include "config.h"
#include "hub/tags.h"

#include <string.h>

#include "leat/status.h"
#include "proto/name.h"

/* What Java's trim() takes off: everything up to the blank. */
static const char *
trim(const char *text, size_t *bytes)
{
	while (*bytes > 0 && (uint8_t)text[0] <= ' ') {
		text++;
		(*bytes)--;
	}
	while (*bytes > 0 && (uint8_t)text[*bytes - 1] <= ' ')
		(*bytes)--;
	return text;
}

const char *
lt_tags_next(const char *text, size_t bytes, size_t *at, size_t *tag_bytes)
{
	while (*at < bytes) {
		const char *from = text + *at, *tag;
		const char *bars = memmem(from, bytes - *at, "||", 2);
		size_t n = bars == NULL ? bytes - *at : (size_t)(bars - from);

		*at += n + (bars == NULL ? 0 : 2);
		tag = trim(from, &n);
		if (n > 0) {
			*tag_bytes = n;
			return tag;
		}
	}
	return NULL;
}

int
lt_tags_add(struct lt_tags *tags, int64_t code)
{
	for (size_t i = 0; i < tags->count; i++)
		if (tags->codes[i] == code)
			return LEAT_OK;
	if (tags->count == LT_TAGS_MAX)
		return LEAT_E_LIMIT;
	tags->codes[tags->count++] = code;
	return LEAT_OK;
}

int
lt_tags_parse(const char *text, size_t bytes, struct lt_tags *out)
{
	const char *tag;
	size_t at = 0, tag_bytes;

	out->count = 0;
	if (bytes > 0)
		text = trim(text, &bytes);
	if (bytes == 0 || (bytes == 1 && text[0] == '*'))
		return LEAT_OK;
	while ((tag = lt_tags_next(text, bytes, &at, &tag_bytes)) != NULL) {
		int rc = lt_tags_add(out, lt_name_tags_code(tag, tag_bytes));

		if (rc != LEAT_OK)
			return rc;
	}
	return out->count > 0 ? LEAT_OK : LEAT_E_INVALID;
}
