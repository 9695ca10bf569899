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

struct walk {
	const char *props;
	size_t bytes;
	const struct lt_properties_name *without;
	size_t count;
	size_t cursor;
	uint32_t seen; /* a bit for each of `without` */
};

static int
is_left_out(struct walk *w, const struct lt_record_property *p)
{
	for (size_t i = 0; i < w->count; i++) {
		uint32_t bit = 1u << i;

		if (!has_name(p, w->without[i].name, w->without[i].bytes))
			continue;
		if (!w->without[i].but_first || (w->seen & bit) != 0)
			return 1;
		w->seen |= bit;
	}
	return 0;
}

static int
next_kept(struct walk *w, struct lt_record_property *out)
{
	while (
	    lt_properties_next(w->props, w->bytes, &w->cursor, out) == LEAT_OK)
		if (!is_left_out(w, out))
			return LEAT_OK;
	return LEAT_E_END;
}

int
lt_properties_measure(const char *props, size_t bytes,
    const struct lt_properties_name *without, size_t count, size_t *out)
{
	struct walk w = {props, bytes, without, count, 0, 0};
	struct lt_record_property it;
	size_t sum = 0;

	LT_ASSERT(count <= LT_PROPERTIES_NAMES_MAX);
	while (next_kept(&w, &it) == LEAT_OK) {
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
	struct walk w = {props, bytes, without, count, 0, 0};
	struct lt_record_property it;

	LT_ASSERT(count <= LT_PROPERTIES_NAMES_MAX);
	while (next_kept(&w, &it) == LEAT_OK) {
		size_t pair = it.name_bytes + 1 + it.value_bytes;

		memcpy(dst, it.name, pair);
		dst += pair;
		*dst++ = 2;
	}
	return dst;
}
