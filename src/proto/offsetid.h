/*
 * offsetid.h - RocketMQ's offsetMsgId, by which a client finds the broker and
 * the record again: store address, port, log offset, in upper-case hex.
 */
#ifndef LT_PROTO_OFFSETID_H
#define LT_PROTO_OFFSETID_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_OFFSETID_CHARS 32

struct lt_offsetid {
	uint32_t ip; /* IPv4, host order, as in a record's stamp */
	uint32_t port;
	uint64_t log_offset;
};

/* No NUL is written. */
void lt_offsetid_encode(
    char out[LT_OFFSETID_CHARS], const struct lt_offsetid *id);
/* LEAT_OK or LEAT_E_INVALID (not 32 digits; those of IPv6 hosts have 56). */
int lt_offsetid_decode(
    const char *text, size_t bytes, struct lt_offsetid *out) LT_MUST_CHECK;

#endif
