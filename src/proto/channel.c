/* channel.c - prologue, records and new keys around noise.c. */
#include "config.h"
#include "proto/channel.h"

#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"

static const uint8_t prologue[LT_CHANNEL_PROLOGUE_BYTES + 1] =
    LT_CHANNEL_PROLOGUE;

void
lt_channel_init(struct lt_channel *ch, const struct lt_noise_pair *own,
    const uint8_t *broker)
{
	*ch = (struct lt_channel){0};
	lt_noise_init(
	    &ch->noise, own, broker, prologue, LT_CHANNEL_PROLOGUE_BYTES);
}

void
lt_channel_fini(struct lt_channel *ch)
{
	lt_noise_fini(&ch->noise);
	ch->is_out_ended = ch->is_in_ended = 1;
}

int
lt_channel_is_up(const struct lt_channel *ch)
{
	return lt_noise_is_up(&ch->noise);
}

const uint8_t *
lt_channel_peer(const struct lt_channel *ch)
{
	return ch->noise.peer;
}

/* --- handshake -------------------------------------------------------------
 */

static int
end(struct lt_channel *ch)
{
	lt_channel_fini(ch);
	return LEAT_E_CORRUPT;
}

/* The step says whose it is: noise.c knows which side we are. */
static int
write_next(struct lt_channel *ch, int step, uint8_t *out, size_t bytes)
{
	size_t n;

	return ch->noise.step == step &&
		       lt_noise_write(&ch->noise, NULL, 0, out, bytes, &n) ==
			   LEAT_OK &&
		       n == bytes
		   ? LEAT_OK
		   : end(ch);
}

static int
read_next(struct lt_channel *ch, int step, const uint8_t *in, size_t bytes)
{
	uint8_t none[1];
	size_t n;

	return ch->noise.step == step &&
		       lt_noise_read(&ch->noise, in, bytes, none, &n) == LEAT_OK
		   ? LEAT_OK
		   : end(ch);
}

int
lt_channel_hello(struct lt_channel *ch, uint8_t out[LT_CHANNEL_HELLO])
{
	memcpy(out, prologue, LT_CHANNEL_PROLOGUE_BYTES);
	return write_next(
	    ch, 0, out + LT_CHANNEL_PROLOGUE_BYTES, LT_NOISE_FIRST);
}

int
lt_channel_greet(struct lt_channel *ch, const uint8_t in[LT_CHANNEL_HELLO])
{
	if (memcmp(in, prologue, LT_CHANNEL_PROLOGUE_BYTES) != 0)
		return end(ch);
	return read_next(ch, 0, in + LT_CHANNEL_PROLOGUE_BYTES, LT_NOISE_FIRST);
}

int
lt_channel_answer(struct lt_channel *ch, uint8_t out[LT_CHANNEL_ANSWER])
{
	return write_next(ch, 1, out, LT_CHANNEL_ANSWER);
}

int
lt_channel_finish(struct lt_channel *ch, const uint8_t in[LT_CHANNEL_ANSWER],
    uint8_t out[LT_CHANNEL_PROOF])
{
	int rc = read_next(ch, 1, in, LT_CHANNEL_ANSWER);

	return rc == LEAT_OK ? write_next(ch, 2, out, LT_CHANNEL_PROOF) : rc;
}

int
lt_channel_accept(struct lt_channel *ch, const uint8_t in[LT_CHANNEL_PROOF])
{
	return read_next(ch, 2, in, LT_CHANNEL_PROOF);
}

/* --- records ---------------------------------------------------------------
 */

static int
is_due(const struct lt_channel *ch, uint64_t now_ms)
{
	return ch->out.records >= LT_CHANNEL_REKEY_RECORDS ||
	       ch->out.bytes >= LT_CHANNEL_REKEY_BYTES ||
	       now_ms - ch->rekeyed_ms >= LT_CHANNEL_REKEY_MS;
}

int
lt_channel_seal(struct lt_channel *ch, uint8_t *record, size_t bytes, int last,
    uint64_t now_ms)
{
	uint8_t *flags = record + LT_CHANNEL_LENGTH;

	if (!lt_channel_is_up(ch) || ch->is_out_ended ||
	    bytes > LT_CHANNEL_PLAIN_MAX)
		return LEAT_E_INVALID;
	if (ch->rekeyed_ms == 0)
		ch->rekeyed_ms = now_ms;
	ch->out.records++;
	ch->out.bytes += bytes;
	*flags = (last ? LT_CHANNEL_END : 0) |
		 (is_due(ch, now_ms) ? LT_CHANNEL_REKEY : 0);
	unsigned how = *flags; /* it is sealed in place */
	lt_bytes_put16(record, (uint16_t)(1 + bytes + LT_SECRET_TAG));
	int rc = lt_noise_seal(&ch->noise, flags, 1 + bytes, flags);
	if (rc != LEAT_OK)
		return rc;
	ch->is_out_ended = last != 0;
	if (how & LT_CHANNEL_REKEY) {
		lt_noise_rekey_out(&ch->noise);
		ch->out = (struct lt_channel_count){0};
		ch->rekeyed_ms = now_ms;
	}
	return LEAT_OK;
}

int64_t
lt_channel_cut(const uint8_t *p, size_t bytes)
{
	if (bytes < LT_CHANNEL_LENGTH)
		return 0;
	uint16_t n = lt_bytes_get16(p);
	return n < 1 + LT_SECRET_TAG ? LEAT_E_CORRUPT : LT_CHANNEL_LENGTH + n;
}

int
lt_channel_open(struct lt_channel *ch, uint8_t *record, size_t bytes,
    uint8_t **out, size_t *bytes_out)
{
	uint8_t *p = record + LT_CHANNEL_LENGTH;

	*bytes_out = 0;
	if (ch->is_in_ended ||
	    lt_channel_cut(record, bytes) != (int64_t)bytes ||
	    lt_noise_open(&ch->noise, p, bytes - LT_CHANNEL_LENGTH, p) !=
		LEAT_OK)
		return end(ch);
	ch->in.records++;
	ch->in.bytes += bytes - LT_CHANNEL_OVER;
	if ((*p & ~(LT_CHANNEL_END | LT_CHANNEL_REKEY)) != 0 ||
	    ch->in.records > 2 * LT_CHANNEL_REKEY_RECORDS ||
	    ch->in.bytes > 2 * (uint64_t)LT_CHANNEL_REKEY_BYTES)
		return end(ch);
	*out = p + 1;
	*bytes_out = bytes - LT_CHANNEL_OVER;
	if (*p & LT_CHANNEL_REKEY) {
		lt_noise_rekey_in(&ch->noise);
		ch->in = (struct lt_channel_count){0};
	}
	ch->is_in_ended = (*p & LT_CHANNEL_END) != 0;
	return ch->is_in_ended ? LEAT_E_CLOSED : LEAT_OK;
}
