/*
 * format.c - the FORMAT of consume, message and store dump: compiled once into
 * literals and fields, printed per message. Bodies pass through byte for byte.
 */
#include "config.h"
#include "tools/tool.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

struct part {
	char field; /* 0: a literal */
	size_t at, bytes;
};

struct lt_format {
	char *text; /* literals, escapes undone */
	struct part *parts;
	size_t count;
};

static const char fields[] = "skgtqoTai";

static void
add_literal(struct lt_format *f, size_t at, size_t bytes)
{
	if (bytes > 0)
		f->parts[f->count++] = (struct part){0, at, bytes};
}

int
lt_format_make(const char *text, struct lt_format **out)
{
	size_t length = strlen(text), bytes = 0, start = 0;
	struct lt_format *f = lt_mem_alloc(sizeof *f);
	if (f == NULL)
		return LEAT_E_NOMEM;
	f->text = lt_mem_alloc(length + 1);
	f->parts = lt_mem_array(length + 1, sizeof *f->parts);
	int rc = f->text != NULL && f->parts != NULL ? LEAT_OK : LEAT_E_NOMEM;
	if (rc == LEAT_OK && lt_tool_unescape(text, f->text, &bytes) != LEAT_OK)
		rc = lt_tool_complain(LEAT_E_INVALID,
		    "format `%s`: after \\ only n t r 0 \\ and xHH", text);
	for (size_t i = 0; rc == LEAT_OK && i < bytes; i++) {
		if (f->text[i] != '%')
			continue;
		char c = i + 1 < bytes ? f->text[i + 1] : '\0';
		if (c == '%') { /* the first sign is the literal's end */
			add_literal(f, start, i + 1 - start);
		} else if (c != '\0' && strchr(fields, c) != NULL) {
			add_literal(f, start, i - start);
			f->parts[f->count++] = (struct part){c, 0, 0};
		} else {
			rc = lt_tool_complain(LEAT_E_INVALID,
			    "format `%s`: after %% only one of %s and %%", text,
			    fields);
		}
		start = ++i + 1;
	}
	if (rc != LEAT_OK) {
		lt_format_free(f);
		return rc;
	}
	add_literal(f, start, bytes > start ? bytes - start : 0);
	*out = f;
	return LEAT_OK;
}

void
lt_format_free(struct lt_format *f)
{
	if (f == NULL)
		return;
	lt_mem_free(f->text);
	lt_mem_free(f->parts);
	lt_mem_free(f);
}

static void
print_field(char field, const struct leat_delivery *d)
{
	switch (field) {
	case 's':
		if (d->body_bytes > 0)
			fwrite(d->body, 1, d->body_bytes, stdout);
		break;
	case 'k':
		fputs(d->keys, stdout);
		break;
	case 'g':
		fputs(d->tag, stdout);
		break;
	case 't':
		fputs(d->topic, stdout);
		break;
	case 'q':
		printf("%" PRIu32, d->queue);
		break;
	case 'o':
		printf("%" PRId64, d->queue_offset);
		break;
	case 'T':
		printf("%" PRId64, d->store_time_ms);
		break;
	case 'a':
		printf("%" PRIu32, d->attempt);
		break;
	default:
		fputs(d->id, stdout);
		break;
	}
}

void
lt_format_print(const struct lt_format *f, const struct leat_delivery *d)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct part *p = &f->parts[i];
		if (p->field == 0)
			fwrite(f->text + p->at, 1, p->bytes, stdout);
		else
			print_field(p->field, d);
	}
}
