/*
 * sendbatch_fuzz.c - any bytes as the body of a batch send: its messages lie
 * within it, one behind the other, and written again they are the same bytes.
 */
#include "config.h"

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "proto/sendbatch.h"

#define FUZZ_NAME "sendbatch"
#define FUZZ_RUNS 200000
#include "drive.h"

/* As a client does it, but for magic and bodyCRC, which are not read. */
static size_t
put(uint8_t *to, const struct lt_sendbatch_message *m, const uint8_t *unread)
{
	size_t bytes = LT_SENDBATCH_FIXED + m->body_bytes + m->props_bytes;

	lt_bytes_put32(to, (uint32_t)bytes);
	memcpy(to + 4, unread, 8);
	lt_bytes_put32(to + 12, (uint32_t)m->flag);
	lt_bytes_put32(to + 16, m->body_bytes);
	memcpy(to + 20, m->body, m->body_bytes);
	to += 20 + m->body_bytes;
	lt_bytes_put16(to, (uint16_t)m->props_bytes);
	memcpy(to + 2, m->props, m->props_bytes);
	return bytes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t again[1 << 16];
	struct lt_sendbatch_message m;
	size_t cursor = 0, at = 0;
	int status;

	if (bytes > sizeof(again))
		return 0;
	while (
	    (status = lt_sendbatch_next(data, bytes, &cursor, &m)) == LEAT_OK) {
		size_t n = put(again, &m, data + at + 4);

		LT_ASSERT(at + n == cursor && cursor <= bytes);
		LT_ASSERT(memcmp(again, data + at, n) == 0);
		LT_ASSERT(m.props_bytes <= INT16_MAX);
		at = cursor;
	}
	LT_ASSERT(at == cursor);
	LT_ASSERT(status == (at == bytes ? LEAT_E_END : LEAT_E_CORRUPT));
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const uint8_t unread[8];
	struct lt_sendbatch_message m = {
	    .body = (const uint8_t *)"body", .props = "TAGS\1t\2KEYS\1k"};
	size_t used = 0;

	for (unsigned i = 0; i < n && used + 64 < cap; i++) {
		m.flag = (int32_t)i - 1;
		m.body_bytes = i % 5;
		m.props_bytes = i * 3 % 15;
		used += put(buf + used, &m, unread);
	}
	return used;
}
