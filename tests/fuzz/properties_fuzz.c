/*
 * properties_fuzz.c - any bytes as a client's property string: what is copied
 * of it has the size that was measured, is the same pairs but those left out,
 * copied again does not change, and a record that holds it is admitted.
 */
#include "config.h"

#include <string.h>

#include "leat/status.h"
#include "proto/limits.h"
#include "proto/properties.h"

#define FUZZ_NAME "properties"
#define FUZZ_RUNS 100000
#include "drive.h"

/* What the gateway takes away: Leat's own names, what belongs to a broker. */
static const struct lt_properties_name without[] = {
    LT_PROPERTIES_NAME("LEAT_SEQ", 0),
    LT_PROPERTIES_NAME("__CRC32#", 0),
    LT_PROPERTIES_NAME("POP_CK", 0),
    LT_PROPERTIES_NAME("UNIQ_KEY", 1),
};

static int
is_left_out(const struct lt_record_property *p, int *ids)
{
	for (size_t i = 0; i < LT_COUNT(without); i++)
		if (p->name_bytes == without[i].bytes &&
		    memcmp(p->name, without[i].name, p->name_bytes) == 0)
			return !without[i].but_first || (*ids)++ > 0;
	return 0;
}

/* Relayed, it is part of a record, byte for byte. */
static void
store(const char *copy, size_t bytes, int ids)
{
	static uint8_t record[1 << 17];
	struct lt_record_spec spec = {.topic = "topic",
	    .topic_bytes = 5,
	    .text = copy,
	    .text_bytes = bytes,
	    .has_id = ids > 0};
	struct lt_record_view v;
	size_t n = lt_record_bytes(&spec, 0);

	LT_ASSERT(
	    (n == 0) == (bytes + LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES >
			    LT_PROPERTIES_MAX));
	if (n == 0)
		return;
	LT_ASSERT(lt_record_finish(record, &spec, 0) == n);
	LT_ASSERT(lt_record_admit(record, n, "topic", 5, 1, 1, &v) == LEAT_OK);
	LT_ASSERT(v.props_bytes ==
		  LT_RECORD_UNIQ_BYTES + bytes + LT_RECORD_CRC_BYTES);
	LT_ASSERT(memcmp(v.props + LT_RECORD_UNIQ_BYTES, copy, bytes) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static char copy[1 << 17], again[1 << 17];
	struct lt_record_property a, b;
	const char *props = (const char *)data, *value;
	size_t size, same, one = 0, two = 0, n;
	int refused = 0, ids = 0;

	if (bytes >= sizeof(copy))
		return 0;
	while (lt_properties_next(props, bytes, &one, &a) == LEAT_OK)
		refused |= !is_left_out(&a, &ids) &&
			   memchr(a.value, 1, a.value_bytes) != NULL;
	LT_ASSERT(one == bytes);
	if (lt_properties_measure(
		props, bytes, without, LT_COUNT(without), &size) != LEAT_OK) {
		LT_ASSERT(refused);
		return 0;
	}
	LT_ASSERT(!refused && size <= bytes + 1);
	LT_ASSERT(lt_properties_copy(copy, props, bytes, without,
		      LT_COUNT(without)) == copy + size);
	ids = 0;
	for (one = 0; lt_properties_next(props, bytes, &one, &a) == LEAT_OK;) {
		if (is_left_out(&a, &ids))
			continue;
		LT_ASSERT(lt_properties_next(copy, size, &two, &b) == LEAT_OK);
		LT_ASSERT(a.name_bytes == b.name_bytes &&
			  a.value_bytes == b.value_bytes &&
			  memcmp(a.name, b.name, a.name_bytes) == 0 &&
			  memcmp(a.value, b.value, a.value_bytes) == 0);
		LT_ASSERT(lt_properties_find(copy, size, a.name, a.name_bytes,
			      &value, &n) == LEAT_OK &&
			  value <= b.value);
	}
	LT_ASSERT(two == size);
	LT_ASSERT(lt_properties_measure(copy, size, NULL, 0, &same) == LEAT_OK);
	LT_ASSERT(same == size);
	LT_ASSERT(
	    lt_properties_copy(again, copy, size, NULL, 0) == again + size);
	LT_ASSERT(memcmp(again, copy, size) == 0);
	store(copy, size, ids);
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const char *const texts[] = {"", "a\1b\2",
	    "KEYS\1k\2colour\1blue\2TAGS\1t\2", "a\1\2\1b\2\2c\1d",
	    "POP_CK\1x y z\2WAIT\1true\2__CRC32#\1"
	    "0123456789\2",
	    "UNIQ_KEY\1"
	    "7F0000010E4C18B4AAC2072F3A4C0000\2n\1"
	    "1",
	    "UNIQ_KEY\1a\2UNIQ_KEY\1b\2no value\2x\1y\1z\2",
	    "\1\1\2\2\1a\2b\1c\2"};
	size_t bytes = strlen(texts[n % 8]);

	if (bytes > cap)
		return 0;
	memcpy(buf, texts[n % 8], bytes);
	return bytes;
}
