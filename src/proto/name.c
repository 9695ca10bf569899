/*
 * name.c - legal names, system topics, glob patterns, and the two hashes that
 * names and tags have. Pure functions; any thread.
 */
#include "config.h"
#include "proto/name.h"

#include <string.h>

#include "leat/status.h"
#include "proto/limits.h"

/* Topics that RocketMQ's broker writes and clients may not. */
static const char *const system_topic[] = {
    LT_NAME_SCHEDULE_TOPIC,
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
};

static int
is_legal(const char *name, size_t max)
{
	size_t n = 0;

	for (; name[n] != '\0'; n++) {
		char c = name[n];
		int ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			 (c >= '0' && c <= '9') || c == '%' || c == '|' ||
			 c == '_' || c == '-';

		if (!ok || n >= max)
			return 0;
	}
	return n > 0;
}

int
lt_name_topic(const char *name)
{
	size_t max = LT_TOPIC_MAX;

	if (name == NULL)
		return LEAT_E_NAME;
	if (strncmp(name, "%RETRY%", 7) == 0 || strncmp(name, "%DLQ%", 5) == 0)
		max = LT_NAME_FIELD - 1;
	return is_legal(name, max) ? LEAT_OK : LEAT_E_NAME;
}

int
lt_name_group(const char *name)
{
	return name != NULL && is_legal(name, LT_GROUP_MAX) ? LEAT_OK
							    : LEAT_E_NAME;
}

int
lt_name_is_system(const char *topic)
{
	if (strncmp(topic, "rmq_sys_", 8) == 0)
		return 1;
	for (size_t i = 0; i < LT_COUNT(system_topic); i++)
		if (strcmp(topic, system_topic[i]) == 0)
			return 1;
	return 0;
}

int
lt_name_match(const char *pattern, const char *name)
{
	const char *star = NULL;
	const char *resume = NULL;

	/* One star to fall back to is enough: an earlier one could only
	 * match less of what a later one may match as well. */
	while (*name != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			resume = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star != NULL) {
			pattern = star;
			name = ++resume;
		} else {
			return 0;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* Next code point; a malformed sequence is U+FFFD and takes its longest
 * well-formed beginning, at least a byte. */
static uint32_t
utf8_next(const uint8_t **at, const uint8_t *end)
{
	const uint8_t *p = *at;
	uint32_t c = *p++;
	uint8_t low = 0x80, high = 0xbf;
	unsigned more;

	if (c < 0x80) {
		*at = p;
		return c;
	}
	if (c >= 0xc2 && c <= 0xdf) {
		more = 1;
		c &= 0x1f;
	} else if (c >= 0xe0 && c <= 0xef) {
		more = 2;
		low = c == 0xe0 ? 0xa0 : 0x80;
		high = c == 0xed ? 0x9f : 0xbf;
		c &= 0x0f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		more = 3;
		low = c == 0xf0 ? 0x90 : 0x80;
		high = c == 0xf4 ? 0x8f : 0xbf;
		c &= 0x07;
	} else {
		*at = p;
		return 0xfffd;
	}
	for (; more > 0; more--) {
		if (p == end || *p < low || *p > high) {
			*at = p;
			return 0xfffd;
		}
		c = c << 6 | (*p++ & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	*at = p;
	return c;
}

int32_t
lt_name_jhash(const char *text, size_t bytes)
{
	const uint8_t *p = (const uint8_t *)text;
	const uint8_t *end = p + bytes;
	uint32_t h = 0;

	while (p < end) {
		uint32_t c = utf8_next(&p, end);

		if (c >= 0x10000) {
			c -= 0x10000;
			h = 31 * h + (0xd800 + (c >> 10));
			c = 0xdc00 + (c & 0x3ff);
		}
		h = 31 * h + c;
	}
	return (int32_t)h;
}

int64_t
lt_name_tags_code(const char *tag, size_t bytes)
{
	return tag == NULL ? 0 : lt_name_jhash(tag, bytes);
}

uint64_t
lt_name_group_hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then murmur3's finisher */

	for (; *key != '\0'; key++)
		h = (h ^ (uint8_t)*key) * 0x100000001b3u;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}
