/*
 * tags.h - a subscription's text as tags codes: what heartbeats and pulls say,
 * by one rule. A double bar separates, blanks around a tag do not count; no
 * text, or a star alone, is everything. Pure.
 */
#ifndef LT_GATEWAY_HUB_TAGS_H
#define LT_GATEWAY_HUB_TAGS_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_TAGS_MAX 256 /* of one subscription: more are refused */

struct lt_tags {
	size_t count; /* 0: everything */
	int64_t codes[LT_TAGS_MAX]; /* each once */
};

/* LEAT_OK; LEAT_E_INVALID: separators, but no tag; LEAT_E_LIMIT. */
int lt_tags_parse(
    const char *text, size_t bytes, struct lt_tags *out) LT_MUST_CHECK;
/* One code more, unless it is there. LEAT_OK or LEAT_E_LIMIT. */
int lt_tags_add(struct lt_tags *tags, int64_t code) LT_MUST_CHECK;
/* The next tag of a text; *at starts at 0. Its first byte and size, or NULL
 * behind the last. */
const char *lt_tags_next(
    const char *text, size_t bytes, size_t *at, size_t *tag_bytes);

#endif
