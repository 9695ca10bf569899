/* popask.c - fields of requests around pop. */
#include "config.h"
#include "remoting/popask.h"

#include <stdlib.h>
#include <string.h>

#include "leat/status.h"
#include "proto/name.h"
#include "remoting/call.h"

#define LATE_MS 500
#define RECEIPT_MAX 1024

static const char *
read_place(const struct lt_remoting *h, char *group, char *topic, int32_t *q)
{
	if (lt_call_name(h, "consumerGroup", group) != LEAT_OK ||
	    lt_name_group(group) != LEAT_OK)
		return "consumerGroup";
	if (lt_call_name(h, "topic", topic) != LEAT_OK ||
	    lt_name_topic(topic) != LEAT_OK)
		return "topic";
	if (lt_remoting_i32(h, "queueId", q) != LEAT_OK)
		return "queueId";
	return NULL;
}

static int64_t
clamp(int64_t v, int64_t max)
{
	return v < 0 ? 0 : v > max ? max : v;
}

static const char *
read_pop(const struct lt_remoting *h, struct lt_popask *out)
{
	struct lt_remoting_text exp = lt_remoting_find(h, "exp");
	int32_t init = 0;

	if (lt_remoting_i32(h, "maxMsgNums", &out->max) != LEAT_OK ||
	    out->max < 1)
		return "maxMsgNums";
	if (lt_remoting_i64(h, "invisibleTime", &out->invisible_ms) != LEAT_OK)
		return "invisibleTime";
	(void)!lt_remoting_i32(h, "initMode", &init);
	if (exp.bytes >= sizeof out->tags ||
	    (exp.bytes > 0 && memchr(exp.p, 0, exp.bytes) != NULL))
		return "exp";
	if (exp.bytes > 0)
		memcpy(out->tags, exp.p, exp.bytes);
	out->invisible_ms = clamp(out->invisible_ms, LT_POP_INVISIBLE_MAX_MS);
	out->from_end = init == 1;
	return NULL;
}

const char *
lt_popask_read(const struct lt_remoting *h, struct lt_popask *out)
{
	const char *bad;

	memset(out, 0, sizeof *out);
	out->tags[0] = '*';
	bad = read_place(h, out->group, out->topic, &out->queue);
	if (bad != NULL || h->code == LT_POP_POLLING)
		return bad;
	if (out->queue < 0)
		out->queue = -1;
	if (lt_remoting_i64(h, "pollTime", &out->poll_ms) != LEAT_OK)
		return "pollTime";
	(void)!lt_remoting_i64(h, "bornTime", &out->born_ms);
	out->is_ordered = lt_remoting_bool(h, "order");
	return h->code == LT_POP_POP ? read_pop(h, out) : NULL;
}

/* "ckQueueOffset popTime invisibleTime reviveQid ...". */
static int
read_receipt(struct lt_remoting_text text, struct lt_popack *out)
{
	char copy[RECEIPT_MAX], *end;
	int64_t numbers[4];

	if (text.bytes == 0 || text.bytes >= sizeof copy)
		return LEAT_E_INVALID;
	memcpy(copy, text.p, text.bytes);
	copy[text.bytes] = '\0';
	end = copy;
	for (size_t i = 0; i < LT_COUNT(numbers); i++) {
		char *at = end;

		numbers[i] = strtoll(at, &end, 10);
		if (end == at || (*end != ' ' && *end != '\0'))
			return LEAT_E_INVALID;
	}
	out->pop_ms = numbers[1];
	out->revive = numbers[3];
	return LEAT_OK;
}

const char *
lt_popask_ack(const struct lt_remoting *h, struct lt_popack *out)
{
	const char *bad;

	memset(out, 0, sizeof *out);
	bad = read_place(h, out->group, out->topic, &out->queue);
	if (bad != NULL)
		return bad;
	if (lt_remoting_i64(h, "offset", &out->offset) != LEAT_OK)
		return "offset";
	if (read_receipt(lt_remoting_find(h, "extraInfo"), out) != LEAT_OK)
		return "extraInfo";
	if (h->code != LT_POP_CHANGE)
		return NULL;
	if (lt_remoting_i64(h, "invisibleTime", &out->invisible_ms) != LEAT_OK)
		return "invisibleTime";
	out->invisible_ms = clamp(out->invisible_ms, LT_POP_INVISIBLE_MAX_MS);
	return NULL;
}

int
lt_popask_is_late(const struct lt_popask *ask, int64_t now_ms)
{
	int64_t end;

	if (ask->born_ms <= 0)
		return 0;
	return !__builtin_add_overflow(ask->born_ms, ask->poll_ms, &end) &&
	       end < now_ms - LATE_MS;
}

static int
sextet(char c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

size_t
lt_popask_bits(const char *text, uint8_t *out, size_t room)
{
	uint32_t held = 0, bits = 0;
	size_t n = 0;
	int six;

	for (; (six = sextet(*text)) >= 0; text++) {
		held = held << 6 | (uint32_t)six;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n == room)
			break;
		out[n++] = (uint8_t)(held >> bits);
	}
	return n;
}
