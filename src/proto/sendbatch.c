/* sendbatch.c - walk the inner messages of a batch send. */
#include "config.h"
#include "proto/sendbatch.h"

#include "base/bytes.h"
#include "leat/status.h"

int
lt_sendbatch_next(const void *batch, size_t bytes, size_t *cursor,
    struct lt_sendbatch_message *out)
{
	const uint8_t *p = (const uint8_t *)batch + *cursor;
	size_t left = bytes - *cursor;
	uint32_t total, body, props;

	if (left == 0)
		return LEAT_E_END;
	if (left < LT_SENDBATCH_FIXED)
		return LEAT_E_CORRUPT;
	total = lt_bytes_get32(p);
	body = lt_bytes_get32(p + 16);
	if (total > left || total < LT_SENDBATCH_FIXED ||
	    body > total - LT_SENDBATCH_FIXED)
		return LEAT_E_CORRUPT;
	props = lt_bytes_get16(p + 20 + body);
	if (props > INT16_MAX || props != total - LT_SENDBATCH_FIXED - body)
		return LEAT_E_CORRUPT;
	out->flag = (int32_t)lt_bytes_get32(p + 12);
	out->body = p + 20;
	out->body_bytes = body;
	out->props = (const char *)p + LT_SENDBATCH_FIXED + body;
	out->props_bytes = props;
	*cursor += total;
	return LEAT_OK;
}
