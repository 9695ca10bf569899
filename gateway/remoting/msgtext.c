/* msgtext.c - one copy of the properties, then what is added. */
#include "config.h"
#include "remoting/msgtext.h"

#include <stdio.h>
#include <string.h>

#include "leat/status.h"
#include "proto/properties.h"

static const struct lt_properties_name ours[] = {
    LT_PROPERTIES_NAME("LEAT_SEQ", 0),
    LT_PROPERTIES_NAME("__CRC32#", 0),
    LT_PROPERTIES_NAME("POP_CK", 0),
    LT_PROPERTIES_NAME("UNIQ_KEY", 1),
};
static const struct lt_properties_name delays[] = {
    LT_PROPERTIES_NAME("DELAY", 0),
    LT_PROPERTIES_NAME("TIMER_DELAY_SEC", 0),
    LT_PROPERTIES_NAME("TIMER_DELAY_MS", 0),
    LT_PROPERTIES_NAME("TIMER_DELIVER_MS", 0),
};
static const struct lt_properties_name places[] = {
    LT_PROPERTIES_NAME("REAL_TOPIC", 0),
    LT_PROPERTIES_NAME("REAL_QID", 0),
};
static const struct lt_properties_name waits[] = {
    LT_PROPERTIES_NAME("WAIT", 0),
};
static const struct lt_properties_name clusters[] = {
    LT_PROPERTIES_NAME("CLUSTER", 0),
};

void
lt_msgtext_begin(struct lt_msgtext *t, char *out, size_t room,
    const char *props, size_t bytes, unsigned without)
{
	struct lt_properties_name names[LT_COUNT(ours) + LT_COUNT(delays) +
					LT_COUNT(places) + LT_COUNT(waits) +
					LT_COUNT(clusters)];
	size_t n = LT_COUNT(ours);

	memcpy(names, ours, sizeof ours);
	if (without & LT_MSGTEXT_DELAY) {
		memcpy(names + n, delays, sizeof delays);
		n += LT_COUNT(delays);
	}
	if (without & LT_MSGTEXT_PLACE) {
		memcpy(names + n, places, sizeof places);
		n += LT_COUNT(places);
	}
	if (without & LT_MSGTEXT_WAIT) {
		memcpy(names + n, waits, sizeof waits);
		n += LT_COUNT(waits);
	}
	if (without & LT_MSGTEXT_CLUSTER) {
		memcpy(names + n, clusters, sizeof clusters);
		n += LT_COUNT(clusters);
	}
	t->at = out;
	t->room = room;
	t->status = lt_properties_measure(props, bytes, names, n, &t->bytes);
	if (t->status == LEAT_OK && t->bytes > room)
		t->status = LEAT_E_INVALID;
	if (t->status == LEAT_OK)
		(void)lt_properties_copy(out, props, bytes, names, n);
}

void
lt_msgtext_add(struct lt_msgtext *t, const char *name, const char *value,
    size_t value_bytes)
{
	size_t name_bytes = strlen(name);
	char *at = t->at + t->bytes;

	if (t->status != LEAT_OK)
		return;
	if (name_bytes + value_bytes + 2 > t->room - t->bytes) {
		t->status = LEAT_E_INVALID;
		return;
	}
	memcpy(at, name, name_bytes);
	at[name_bytes] = 1;
	memcpy(at + name_bytes + 1, value, value_bytes);
	at[name_bytes + 1 + value_bytes] = 2;
	t->bytes += name_bytes + value_bytes + 2;
}

void
lt_msgtext_number(struct lt_msgtext *t, const char *name, int64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%lld", (long long)value);

	lt_msgtext_add(t, name, text, (size_t)n);
}

int
lt_msgtext_end(const struct lt_msgtext *t)
{
	return t->status;
}

static int
read_level(const char *p, size_t n, uint32_t *out)
{
	int is_negative = *p == '-';
	uint32_t level = 0;

	if ((size_t)is_negative == n)
		return LEAT_E_INVALID;
	for (size_t i = (size_t)is_negative; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return LEAT_E_INVALID;
		if (level <= LT_LEVELS_MAX)
			level = level * 10 + (uint32_t)(p[i] - '0');
	}
	if (!is_negative)
		*out = level < LT_LEVELS_MAX ? level : LT_LEVELS_MAX;
	return LEAT_OK;
}

static int
is_named(const struct lt_record_property *it, const char *name, size_t bytes)
{
	return it->name_bytes == bytes && memcmp(it->name, name, bytes) == 0;
}

int
lt_msgtext_read(const char *props, size_t bytes, struct lt_msgtext_asks *out)
{
	struct lt_record_property it;
	size_t cursor = 0;
	int is_timed = 0, has_level = 0, status = LEAT_OK;

	*out = (struct lt_msgtext_asks){0};
	while (status == LEAT_OK &&
	       lt_properties_next(props, bytes, &cursor, &it) == LEAT_OK)
		switch (it.name[0]) {
		case 'D': /* the first counts */
			if (has_level || !is_named(&it, "DELAY", 5))
				break;
			has_level = 1;
			status =
			    read_level(it.value, it.value_bytes, &out->level);
			break;
		case 'R':
			out->is_request |= is_named(&it, "REPLY_TO_CLIENT", 15);
			break;
		case 'T':
			for (size_t i = 1; i < LT_COUNT(delays); i++)
				is_timed |= is_named(
				    &it, delays[i].name, delays[i].bytes);
			break;
		default:
			break;
		}
	if (status == LEAT_OK && is_timed && out->level == 0)
		status = LEAT_E_UNSUPPORTED;
	return status;
}

void
lt_msgtext_delay(
    struct lt_msgtext *t, uint32_t level, const char *topic, uint32_t queue)
{
	lt_msgtext_number(t, "DELAY", level);
	lt_msgtext_add(t, "REAL_TOPIC", topic, strlen(topic));
	lt_msgtext_number(t, "REAL_QID", queue);
	if (t->bytes > LT_MSGTEXT_MAX)
		t->status = LEAT_E_INVALID;
}
