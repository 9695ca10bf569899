/*
 * frame_fuzz.c - any bytes as what comes from a connection: frames are cut off
 * it one after the other, the same ones however few bytes come at a time, and
 * their headers are read.
 */
#include "config.h"

#include "../proto/golden.h"
#include "base/bytes.h"
#include "recode.h"

#define FUZZ_NAME "frame"
#define FUZZ_RUNS 100000
#include "drive.h"

/* What is said of a beginning agrees with what is said of all of it. */
static void
check_prefix(
    uint8_t *p, size_t bytes, const struct lt_remoting_frame *whole, int status)
{
	struct lt_remoting_frame f;
	int early = lt_remoting_frame(p, bytes, &f);

	if (early != LEAT_E_AGAIN) {
		LT_ASSERT(early == status);
		return;
	}
	LT_ASSERT(f.bytes == 0 || f.bytes > bytes);
	LT_ASSERT((f.bytes == 0) == (bytes < 4));
	LT_ASSERT(f.bytes == 0 || status != LEAT_OK || f.bytes == whole->bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t *copy = recode_copy(data, bytes);
	struct lt_remoting_frame f;
	size_t at = 0;

	for (;;) {
		size_t left = bytes - at;
		int status = lt_remoting_frame(copy + at, left, &f);

		for (size_t n = 0; n < left; n += 1 + n / 8)
			check_prefix(copy + at, n, &f, status);
		if (status != LEAT_OK) {
			LT_ASSERT(status == LEAT_E_AGAIN ||
				  status == LEAT_E_CORRUPT ||
				  status == LEAT_E_TOOBIG);
			break;
		}
		LT_ASSERT(f.bytes <= left && f.header == copy + at + 8);
		LT_ASSERT(f.body == f.header + f.header_bytes);
		LT_ASSERT(8 + f.header_bytes + f.body_bytes == f.bytes);
		recode(f.encoding, f.header, f.header_bytes);
		at += f.bytes;
	}
	free(copy);
	return 0;
}

/* One frame of each golden header from the n-th on, and half of another. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t used = 0;

	for (size_t i = n % LT_COUNT(golden); i < LT_COUNT(golden); i += 2) {
		size_t header = golden[i].bytes, body = i * 3;

		if (used + 8 + header + body > cap)
			return 0;
		lt_bytes_put32(buf + used, (uint32_t)(4 + header + body));
		lt_bytes_put32(buf + used + 4,
		    (uint32_t)golden[i].is_binary << 24 | (uint32_t)header);
		memcpy(buf + used + 8, golden[i].header, header);
		memset(buf + used + 8 + header, 'b', body);
		used += 8 + header + body;
	}
	return used - (n > 5 ? 20 : 0);
}
