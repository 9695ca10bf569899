/* offsetid.c - RocketMQ's offsetMsgId. */
#include "config.h"
#include "proto/offsetid.h"

#include "base/bytes.h"
#include "leat/status.h"

void
lt_offsetid_encode(char out[LT_OFFSETID_CHARS], const struct lt_offsetid *id)
{
	lt_bytes_hex32(out, id->ip);
	lt_bytes_hex32(out + 8, id->port);
	lt_bytes_hex64(out + 16, id->log_offset);
}

int
lt_offsetid_decode(const char *text, size_t bytes, struct lt_offsetid *out)
{
	uint64_t host, log_offset;

	if (bytes != LT_OFFSETID_CHARS || lt_bytes_unhex64(text, &host) != 0 ||
	    lt_bytes_unhex64(text + 16, &log_offset) != 0)
		return LEAT_E_INVALID;
	out->ip = (uint32_t)(host >> 32);
	out->port = (uint32_t)host;
	out->log_offset = log_offset;
	return LEAT_OK;
}
