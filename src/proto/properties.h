/*
 * properties.h - a property string: "name 1 value 2" again and again, the last
 * 2 may be missing. What a client sends and what a record holds; read as
 * RocketMQ's reader does: a part without byte 1, or with an empty name or
 * value, is no pair and is passed over. Nothing is allocated.
 */
#ifndef LT_PROTO_PROPERTIES_H
#define LT_PROTO_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/check.h"
#include "leat/status.h"
#include "proto/record.h"

/* Next pair; *cursor starts at 0. LEAT_E_END after the last. Lent. */
static inline int
lt_properties_next(const char *props, size_t bytes, size_t *cursor,
    struct lt_record_property *out)
{
	while (*cursor < bytes) {
		const char *p = props + *cursor;
		const char *stop = memchr(p, 2, bytes - *cursor);
		size_t part =
		    stop == NULL ? bytes - *cursor : (size_t)(stop - p);
		const char *mid = memchr(p, 1, part);

		*cursor += part + (stop != NULL);
		if (mid != NULL && mid > p && mid + 1 < p + part) {
			out->name = p;
			out->name_bytes = (size_t)(mid - p);
			out->value = mid + 1;
			out->value_bytes = (size_t)(p + part - mid - 1);
			return LEAT_OK;
		}
	}
	return LEAT_E_END;
}

/* The first value of that name: LEAT_OK or LEAT_E_NOTFOUND. Lent. */
int lt_properties_find(const char *props, size_t bytes, const char *name,
    size_t name_bytes, const char **value, size_t *value_bytes) LT_MUST_CHECK;

struct lt_properties_name {
	const char *name;
	size_t bytes;
	int but_first; /* 1: the first of that name is kept */
};
#define LT_PROPERTIES_NAME(literal, but_first)                                 \
	{                                                                      \
		literal, sizeof(literal) - 1, but_first                        \
	}
#define LT_PROPERTIES_NAMES_MAX 32

/*
 * A copy as a record may hold it: well-formed pairs to the last byte, without
 * those named in `without` (count of them, at most LT_PROPERTIES_NAMES_MAX).
 * measure: LEAT_OK and its size; or LEAT_E_INVALID: a value that is kept holds
 * byte 1, which no record may. copy: dst has the room that measure said; the
 * end of the copy.
 */
int lt_properties_measure(const char *props, size_t bytes,
    const struct lt_properties_name *without, size_t count,
    size_t *out) LT_MUST_CHECK;
char *lt_properties_copy(char *dst, const char *props, size_t bytes,
    const struct lt_properties_name *without, size_t count);

#endif
