/*
 * wire.c - the table of messages between processes, and the check that every
 * receiver makes before it looks into one. Pure functions; any thread.
 */
#include "config.h"
#include "proto/wire.h"

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"

static const struct lt_wire_op rows[] = {
#define OP(symbol, code, name, from, to, request, reply)                       \
	[symbol] = {symbol, name, from, to, sizeof(struct request),            \
	    sizeof(struct reply)},
#include "proto/ops.def"
#undef OP
};
/* Whether an operation has a reply: one of lt_wire_event is none. */
static const uint8_t no_reply[LT_COUNT(rows)] = {
#define OP(symbol, code, name, from, to, request, reply)                       \
	[symbol] =                                                             \
	    __builtin_types_compatible_p(struct reply, struct lt_wire_event),
#include "proto/ops.def"
#undef OP
};

/* Every message must fit a receiver's buffer. */
#define OP(symbol, code, name, from, to, request, reply)                       \
	_Static_assert(sizeof(struct request) <= LT_WIRE_MAX, name);           \
	_Static_assert(sizeof(struct reply) <= LT_WIRE_MAX, name);
#include "proto/ops.def"
#undef OP
_Static_assert(sizeof(struct lt_wire) == 24, "header");

const struct lt_wire_op *
lt_wire_op_row(unsigned op)
{
	return op < LT_COUNT(rows) && rows[op].name != NULL ? &rows[op] : NULL;
}

/* '*' in the table is either child of the supervisor. */
static int
is_party(char row, char who)
{
	return row == who ||
	       (row == '*' && (who == 'Q' || who == 'S' || who == 'G'));
}

int
lt_wire_check(const void *msg, size_t bytes, char sender, char receiver,
    int *is_reply_out)
{
	const struct lt_wire_op *row;
	struct lt_wire h;
	size_t want;
	int is_reply;

	if (bytes < sizeof(h) || bytes > LT_WIRE_MAX)
		return LEAT_E_CORRUPT;
	memcpy(&h, msg, sizeof(h));
	if (h.magic != LT_WIRE_MAGIC)
		return LEAT_E_CORRUPT;
	if (h.version != LT_WIRE_VERSION)
		return LEAT_E_VERSION;
	if (h.bytes != bytes || (h.flags & ~LT_WIRE_REPLY) != 0)
		return LEAT_E_CORRUPT;
	row = lt_wire_op_row(h.op);
	if (row == NULL)
		return LEAT_E_DENIED;
	is_reply = (h.flags & LT_WIRE_REPLY) != 0;
	if (is_reply
		? no_reply[h.op] || !is_party(row->from, receiver) ||
		      !is_party(row->to, sender)
		: !is_party(row->from, sender) || !is_party(row->to, receiver))
		return LEAT_E_DENIED;
	want = is_reply ? row->reply_bytes : row->request_bytes;
	/* A refusal may leave the struct out. */
	if (is_reply && h.status != LEAT_OK && bytes == sizeof(h))
		want = sizeof(h);
	if (bytes < want || h.tail_bytes != bytes - want)
		return LEAT_E_CORRUPT;
	*is_reply_out = is_reply;
	return LEAT_OK;
}

int
lt_wire_field(const char *field, size_t bytes)
{
	return lt_bytes_terminated(field, bytes) ? LEAT_OK : LEAT_E_CORRUPT;
}

void
lt_wire_init(struct lt_wire *h, enum lt_op op, size_t struct_bytes,
    size_t tail_bytes, uint32_t tag)
{
	*h = (struct lt_wire){
	    .magic = LT_WIRE_MAGIC,
	    .version = LT_WIRE_VERSION,
	    .op = (uint16_t)op,
	    .tag = tag,
	    .bytes = (uint32_t)(struct_bytes + tail_bytes),
	    .tail_bytes = (uint32_t)tail_bytes,
	};
}

void
lt_wire_reply(struct lt_wire *h, const struct lt_wire *request,
    size_t struct_bytes, size_t tail_bytes, int status)
{
	uint16_t op = request->op;
	uint32_t tag = request->tag;

	lt_wire_init(h, (enum lt_op)op, struct_bytes, tail_bytes, tag);
	h->flags = LT_WIRE_REPLY;
	h->status = status;
}
