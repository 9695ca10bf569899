/*
 * record_fuzz.c - any bytes as a stored record: parsing, checking and walking
 * its properties stay within them, and what is admitted can be sealed into a
 * record that is valid.
 */
#include "config.h"

#include <string.h>

#include "leat/status.h"
#include "proto/record.h"

#define FUZZ_NAME "record"
#define FUZZ_RUNS 200000
#include "drive.h"

static volatile uint64_t sink; /* so that reads are not optimised away */

static void
touch(const void *p, size_t bytes)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < bytes; i++)
		sink += b[i];
}

static void
read_all(const struct lt_record_view *v)
{
	struct lt_record_property p;
	size_t cursor = 0;
	uint64_t session, seq;

	touch(v->body, v->body_bytes);
	touch(v->topic, v->topic_bytes);
	touch(v->props, v->props_bytes);
	while (lt_record_property_next(v, &cursor, &p) == LEAT_OK) {
		LT_ASSERT(p.name_bytes > 0 && p.value_bytes > 0);
		touch(p.name, p.name_bytes);
		touch(p.value, p.value_bytes);
	}
	sink += (uint64_t)lt_record_tags_code(v);
	if (lt_record_identity(v, &session, &seq) == LEAT_OK)
		sink += session + seq;
	sink += (uint64_t)lt_record_check(v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t copy[65536];
	struct lt_record_stamp stamp = {
	    .log_offset = 77, .session = 5, .seq = 9};
	struct lt_record_view v;
	uint64_t session, seq;

	if (lt_record_parse(data, bytes, &v) == LEAT_OK) {
		LT_ASSERT(v.bytes <= bytes);
		read_all(&v);
	}
	if (bytes > sizeof(copy))
		return 0;
	memcpy(copy, data, bytes);
	if (lt_record_admit(copy, bytes, "topic", 5, 8, 0, &v) != LEAT_OK)
		return 0;
	lt_record_seal(copy, &v, &stamp);
	LT_ASSERT(lt_record_parse(copy, bytes, &v) == LEAT_OK);
	LT_ASSERT(lt_record_check(&v) == LEAT_OK && v.log_offset == 77);
	LT_ASSERT(lt_record_identity(&v, &session, &seq) == LEAT_OK);
	LT_ASSERT(session == 5 && seq == 9);
	read_all(&v);
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const struct lt_record_property p = {"name", 4, "value", 5};
	struct lt_record_spec spec = {
	    .topic = "topic",
	    .topic_bytes = 5,
	    .queue = n,
	    .keys = "k",
	    .keys_bytes = n & 1,
	    .tag = "t",
	    .tag_bytes = n >> 1 & 1,
	    .properties = &p,
	    .property_count = n >> 2 & 1,
	};

	if (lt_record_bytes(&spec, n * 40) > cap)
		return 0;
	memset(buf + LT_RECORD_BODY_AT, 'b', n * 40);
	return lt_record_finish(buf, &spec, n * 40);
}
