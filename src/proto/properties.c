/* properties.c - find and copy pairs of a property string. */
#include "config.h"
#include "proto/properties.h"

static inline int
has_name(const struct lt_record_property *p, const char *name, size_t bytes)
{
	return p->name_bytes == bytes && memcmp(p->name, name, bytes) == 0;
}

int
lt_properties_find(const char *props, size_t bytes, const char *name,
    size_t name_bytes, const char **value, size_t *value_bytes)
{
	struct lt_record_property it;
	size_t cursor = 0;

	while (lt_properties_next(props, bytes, &cursor, &it) == LEAT_OK) {
		if (has_name(&it, name, name_bytes)) {
			*value = it.value;
			*value_bytes = it.value_bytes;
			return LEAT_OK;
		}
	}
	return LEAT_E_NOTFOUND;
}

/* The next pair that is not named in `without`. */
static int
next_kept(const char *props, size_t bytes, size_t *cursor,
    const struct lt_properties_name *without, size_t count,
    struct lt_record_property *out)
{
	while (lt_properties_next(props, bytes, cursor, out) == LEAT_OK) {
		size_t i = 0;

		while (i < count &&
		       !has_name(out, without[i].name, without[i].bytes))
			i++;
		if (i == count)
			return LEAT_OK;
	}
	return LEAT_E_END;
}

int
lt_properties_measure(const char *props, size_t bytes,
    const struct lt_properties_name *without, size_t count, size_t *out)
{
	struct lt_record_property it;
	size_t cursor = 0, sum = 0;

	while (
	    next_kept(props, bytes, &cursor, without, count, &it) == LEAT_OK) {
		if (memchr(it.value, 1, it.value_bytes) != NULL)
			return LEAT_E_INVALID;
		sum += it.name_bytes + it.value_bytes + 2;
	}
	*out = sum;
	return LEAT_OK;
}

char *
lt_properties_copy(char *dst, const char *props, size_t bytes,
    const struct lt_properties_name *without, size_t count)
{
	struct lt_record_property it;
	size_t cursor = 0;

	while (
	    next_kept(props, bytes, &cursor, without, count, &it) == LEAT_OK) {
		size_t pair = it.name_bytes + 1 + it.value_bytes;

		memcpy(dst, it.name, pair);
		dst += pair;
		*dst++ = 2;
	}
	return dst;
}
