/*
 * wire_fuzz.c - any bytes as a message between processes: the check reads only
 * them, and what it lets through is as large as its row says.
 */
#include "config.h"

#include <string.h>

#include "leat/status.h"
#include "proto/wire.h"

#define FUZZ_NAME "wire"
#define FUZZ_RUNS 200000
#include "drive.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char parties[] = "CQSU";

	for (const char *from = parties; *from; from++) {
		for (const char *to = parties; *to; to++) {
			const struct lt_wire_op *row;
			struct lt_wire h;
			int is_reply;
			size_t want;

			if (lt_wire_check(data, bytes, *from, *to, &is_reply) !=
			    LEAT_OK)
				continue;
			memcpy(&h, data, sizeof(h));
			row = lt_wire_op_row(h.op);
			LT_ASSERT(row != NULL && h.bytes == bytes);
			want = is_reply ? row->reply_bytes : row->request_bytes;
			if (is_reply && h.status != LEAT_OK &&
			    bytes == sizeof(h))
				want = sizeof(h);
			LT_ASSERT(want + h.tail_bytes == bytes);
			LT_ASSERT(bytes <= LT_WIRE_MAX);
		}
	}
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const enum lt_op ops[] = {LT_OP_HELLO, LT_OP_TOPIC_OPEN,
	    LT_OP_SUBSCRIBE, LT_OP_FETCH, LT_OP_S_ATTACH, LT_OP_S_APPEND,
	    LT_OP_SUP_KEEP, LT_OP_SUP_START};
	const struct lt_wire_op *row = lt_wire_op_row(ops[n % 8]);
	struct lt_wire h;

	lt_wire_init(&h, row->op, row->request_bytes, n, n);
	if (h.bytes > cap)
		return 0;
	memset(buf, 0, h.bytes);
	memcpy(buf, &h, sizeof(h));
	return h.bytes;
}
