/*
 * channel_fuzz.c - a script for two ends of a Leat channel and whoever sits
 * between them. The first byte says whether it plays with the handshake (0) or
 * with the records of a channel that is up: they are sealed, forged by a peer
 * that has the keys, delivered, changed, cut, repeated, left out, swapped, sent
 * back. A model says of each what must become of it.
 */
#include "config.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "leat/status.h"
#include "proto/channel.h"

#define FUZZ_NAME "channel"
#define FUZZ_RUNS 50000
#include "drive.h"

#define BODY_MAX 300
#define RECORD_MAX (BODY_MAX + LT_CHANNEL_OVER)
#define WAITING 4

struct script {
	const uint8_t *p;
	size_t left;
};

static unsigned
next(struct script *s)
{
	if (s->left == 0)
		return 0;
	s->left--;
	return *s->p++;
}

static struct lt_noise_pair keys[2], once[2]; /* of client and broker */
static struct lt_channel begun[2], up[2];
static struct { /* of this session and of an older one */
	uint8_t hello[2][LT_CHANNEL_HELLO], answer[2][LT_CHANNEL_ANSWER];
	uint8_t proof[2][LT_CHANNEL_PROOF];
} heard;

static void
begin(struct lt_channel ends[2])
{
	lt_channel_init(&ends[0], &keys[0], keys[1].public);
	lt_channel_init(&ends[1], &keys[1], NULL);
	for (int i = 0; i < 2; i++)
		lt_noise_once(&ends[i].noise, once[i].secret);
}

/* Once per process, with keys that are always the same. */
static void
prepare(void)
{
	static int is_done;

	if (is_done)
		return;
	LT_ASSERT(lt_secret_init() == LEAT_OK);
	for (int k = 1; k >= 0; k--) {
		for (int i = 0; i < 2; i++) {
			memset(keys[i].secret, 1 + i, LT_SECRET_KEY);
			memset(once[i].secret, 3 + 2 * k + i, LT_SECRET_KEY);
			lt_secret_public(keys[i].public, keys[i].secret);
			lt_secret_public(once[i].public, once[i].secret);
		}
		begin(begun);
		memcpy(up, begun, sizeof up);
		LT_ASSERT(lt_channel_hello(&up[0], heard.hello[k]) == LEAT_OK);
		LT_ASSERT(lt_channel_greet(&up[1], heard.hello[k]) == LEAT_OK);
		LT_ASSERT(
		    lt_channel_answer(&up[1], heard.answer[k]) == LEAT_OK);
		LT_ASSERT(lt_channel_finish(&up[0], heard.answer[k],
			      heard.proof[k]) == LEAT_OK);
		LT_ASSERT(lt_channel_accept(&up[1], heard.proof[k]) == LEAT_OK);
	}
	is_done = 1;
}

static void
check_over(struct lt_channel *ch)
{
	static const struct lt_noise none = {.is_ended = 1};
	uint8_t record[LT_CHANNEL_OVER] = {0, 17}, *out;
	size_t n;

	LT_ASSERT(!lt_channel_is_up(ch));
	LT_ASSERT(memcmp(&ch->noise, &none, sizeof none) == 0);
	LT_ASSERT(lt_channel_seal(ch, record, 0, 0, 1) == LEAT_E_INVALID);
	LT_ASSERT(lt_channel_open(ch, record, sizeof record, &out, &n) ==
		  LEAT_E_CORRUPT);
}

/* --- handshake -------------------------------------------------------------
 */

/* What arrives in the place of a message. */
static void
between(struct script *s, uint8_t *p, size_t bytes, const uint8_t *older)
{
	switch (next(s) % 5) {
	case 1:
		p[next(s) % bytes] ^= (uint8_t)next(s);
		break;
	case 2:
		for (size_t i = next(s) % bytes; i < bytes && s->left > 0; i++)
			p[i] = (uint8_t)next(s);
		break;
	case 3:
		memcpy(p, older, bytes);
		break;
	case 4:
		memcpy(p, (uint8_t *)&heard + next(s) % (sizeof heard - bytes),
		    bytes);
		break;
	default:
		break;
	}
}

static void
shake_hands(struct script *s)
{
	uint8_t p[LT_CHANNEL_PROOF], q[LT_CHANNEL_PROOF];
	struct lt_channel ends[2];

	memcpy(ends, begun, sizeof ends);
	LT_ASSERT(lt_channel_hello(&ends[0], p) == LEAT_OK);
	between(s, p, LT_CHANNEL_HELLO, heard.hello[1]);
	int is_hello = memcmp(p, heard.hello[0], LT_CHANNEL_HELLO) == 0;
	int is_old = memcmp(p, heard.hello[1], LT_CHANNEL_HELLO) == 0;
	int rc = lt_channel_greet(&ends[1], p);
	LT_ASSERT(rc == (is_hello || is_old ? LEAT_OK : LEAT_E_CORRUPT));
	if (rc != LEAT_OK) {
		check_over(&ends[1]);
		return;
	}
	LT_ASSERT(lt_channel_answer(&ends[1], p) == LEAT_OK);
	between(s, p, LT_CHANNEL_ANSWER, heard.answer[1]);
	int is_answer = memcmp(p, heard.answer[0], LT_CHANNEL_ANSWER) == 0;
	rc = lt_channel_finish(&ends[0], p, q);
	LT_ASSERT(rc == (is_answer ? LEAT_OK : LEAT_E_CORRUPT));
	if (rc == LEAT_OK) {
		LT_ASSERT(memcmp(&ends[0], &up[0], sizeof up[0]) == 0);
	} else {
		check_over(&ends[0]);
		memcpy(q, heard.proof[0], sizeof q); /* somebody has it */
	}
	between(s, q, LT_CHANNEL_PROOF, heard.proof[1]);
	int is_proof =
	    is_hello && memcmp(q, heard.proof[0], LT_CHANNEL_PROOF) == 0;
	rc = lt_channel_accept(&ends[1], q);
	LT_ASSERT(rc == (is_proof ? LEAT_OK : LEAT_E_CORRUPT));
	if (rc == LEAT_OK)
		LT_ASSERT(memcmp(&ends[1], &up[1], sizeof up[1]) == 0);
	else
		check_over(&ends[1]);
}

/* --- records ---------------------------------------------------------------
 */

struct sealed {
	uint8_t bytes[RECORD_MAX];
	size_t size, body;
	uint64_t n;
	uint8_t flags, fill;
};

/* One direction: what was sealed and is on its way, and what the model knows of
 * both ends. */
struct way {
	struct lt_channel *from, *to;
	struct sealed on_way[WAITING];
	unsigned waiting;
	uint32_t out_records, in_records;
	uint64_t out_bytes, in_bytes, rekeyed_ms, due;
	int is_out_ended, is_in_ended;
};

struct play {
	struct lt_channel ends[2];
	struct way ways[2];
	uint64_t now_ms;
};

/* The keys are of this input alone: a fuzzer keeps records that it has seen. */
static void
start(struct play *pl, const uint8_t salt[16])
{
	memset(pl, 0, sizeof *pl);
	memcpy(pl->ends, up, sizeof up);
	for (int i = 0; i < 2; i++) {
		struct way *w = &pl->ways[i];
		w->from = &pl->ends[i];
		w->to = &pl->ends[1 - i];
		memcpy(w->from->noise.up.out.key, salt, 16);
		memcpy(w->to->noise.up.in.key, salt, 16);
	}
	pl->now_ms = 1;
}

static struct sealed *
write_body(struct way *w, struct script *s)
{
	struct sealed *r = &w->on_way[w->waiting];

	r->body = next(s);
	r->body += r->body == 255 ? next(s) % (BODY_MAX - 254) : 0;
	r->fill = (uint8_t)next(s);
	r->size = r->body + LT_CHANNEL_OVER;
	r->n = w->from->noise.up.out.n;
	memset(r->bytes + LT_CHANNEL_HEAD, r->fill, r->body);
	return r;
}

static void
seal_one(struct play *pl, struct way *w, struct script *s, int end)
{
	uint8_t key[LT_SECRET_KEY];

	if (w->waiting == WAITING)
		return;
	struct sealed *r = write_body(w, s);

	memcpy(key, w->from->noise.up.out.key, sizeof key);
	int rc = lt_channel_seal(w->from, r->bytes, r->body, end, pl->now_ms);

	LT_ASSERT(rc == (w->is_out_ended ? LEAT_E_INVALID : LEAT_OK));
	if (rc != LEAT_OK)
		return;
	if (w->rekeyed_ms == 0)
		w->rekeyed_ms = pl->now_ms;
	w->out_records++;
	w->out_bytes += r->body;
	int is_due = w->out_records >= LT_CHANNEL_REKEY_RECORDS ||
		     w->out_bytes >= LT_CHANNEL_REKEY_BYTES ||
		     pl->now_ms >= w->rekeyed_ms + LT_CHANNEL_REKEY_MS;
	int is_new = memcmp(key, w->from->noise.up.out.key, sizeof key) != 0;
	LT_ASSERT(is_due == is_new);
	r->flags = (uint8_t)((end ? LT_CHANNEL_END : 0) |
			     (is_new ? LT_CHANNEL_REKEY : 0));
	if (is_new) {
		w->out_records = 0;
		w->out_bytes = 0;
		w->rekeyed_ms = pl->now_ms;
	}
	w->is_out_ended |= end;
	w->waiting++;
}

/* By a peer that has the keys and keeps no rule; of its own counts nothing is
 * expected any more. */
static void
forge_one(struct way *w, struct script *s)
{
	if (w->waiting == WAITING)
		return;
	struct sealed *r = write_body(w, s);

	r->flags = (uint8_t)next(s);
	lt_bytes_put16(r->bytes, (uint16_t)(r->size - LT_CHANNEL_LENGTH));
	r->bytes[LT_CHANNEL_LENGTH] = r->flags;
	LT_ASSERT(lt_noise_seal(&w->from->noise, r->bytes + LT_CHANNEL_LENGTH,
		      1 + r->body, r->bytes + LT_CHANNEL_LENGTH) == LEAT_OK);
	if (r->flags & LT_CHANNEL_REKEY)
		lt_noise_rekey_out(&w->from->noise);
	w->waiting++;
}

static int
is_welcome(const struct way *w, const struct sealed *r)
{
	return !w->is_in_ended && r->n == w->due && r->flags <= 3 &&
	       w->in_records + 1 <= 2 * LT_CHANNEL_REKEY_RECORDS &&
	       w->in_bytes + r->body <= 2 * (uint64_t)LT_CHANNEL_REKEY_BYTES;
}

/* Bytes that arrive; r: the record that they may be. 0: the channel is over. */
static int
arrive(struct way *w, const struct sealed *r, const uint8_t *p, size_t bytes)
{
	uint8_t copy[RECORD_MAX + 64], *out = NULL;
	size_t n = 1;

	LT_ASSERT(bytes <= sizeof copy);
	memcpy(copy, p, bytes);
	int64_t cut = lt_channel_cut(copy, bytes);
	LT_ASSERT(bytes >= 2 ? cut < 0 || cut >= LT_CHANNEL_OVER : cut == 0);
	int is_it = r != NULL && bytes == r->size &&
		    memcmp(p, r->bytes, bytes) == 0 && is_welcome(w, r);
	int rc = lt_channel_open(w->to, copy, bytes, &out, &n);
	if (!is_it) {
		LT_ASSERT(rc == LEAT_E_CORRUPT && n == 0);
		check_over(w->to);
		return 0;
	}
	LT_ASSERT(rc == (r->flags & LT_CHANNEL_END ? LEAT_E_CLOSED : LEAT_OK));
	LT_ASSERT(out == copy + LT_CHANNEL_HEAD && n == r->body);
	for (size_t i = 0; i < n; i++)
		LT_ASSERT(out[i] == r->fill);
	w->due++;
	w->in_records++;
	w->in_bytes += n;
	if (r->flags & LT_CHANNEL_REKEY) {
		w->in_records = 0;
		w->in_bytes = 0;
	}
	w->is_in_ended = (r->flags & LT_CHANNEL_END) != 0;
	return 1;
}

static void
shift(struct way *w)
{
	w->waiting--;
	memmove(w->on_way, w->on_way + 1, w->waiting * sizeof *w->on_way);
}

static int
deliver(struct way *w)
{
	struct sealed r = w->on_way[0];

	shift(w);
	if (!arrive(w, &r, r.bytes, r.size))
		return 0;
	if (w->due == w->from->noise.up.out.n)
		LT_ASSERT(memcmp(&w->from->noise.up.out, &w->to->noise.up.in,
			      sizeof w->to->noise.up.in) == 0);
	return 1;
}

/* Near a limit: both ends, or the receiver of one who keeps none. */
static void
set_counts(struct way *w, struct script *s)
{
	unsigned how = next(s), less = next(s);

	if (w->waiting > 0)
		return;
	if (how % 4 == 0)
		w->out_records = w->in_records =
		    LT_CHANNEL_REKEY_RECORDS - less % 4 - 1;
	else if (how % 4 == 1)
		w->out_bytes = w->in_bytes = LT_CHANNEL_REKEY_BYTES - less - 1;
	else if (how % 4 == 2)
		w->in_records = 2 * LT_CHANNEL_REKEY_RECORDS - less % 4;
	else
		w->in_bytes = 2 * (uint64_t)LT_CHANNEL_REKEY_BYTES - less;
	w->from->out = (struct lt_channel_count){w->out_records, w->out_bytes};
	w->to->in = (struct lt_channel_count){w->in_records, w->in_bytes};
}

/* The first on its way in another form; 0: the channel is over. */
static int
deliver_changed(struct way *w, struct script *s)
{
	struct sealed *r = &w->on_way[0];
	uint8_t p[RECORD_MAX + 64] = {0};
	size_t bytes = r->size;

	memcpy(p, r->bytes, bytes);
	switch (next(s) % 4) {
	case 0:
		p[next(s) % bytes] ^= (uint8_t)next(s);
		break;
	case 1: /* cut or longer, and it says so or not */
		bytes = next(s) % (bytes + 8);
		if (next(s) % 2 && bytes >= 2)
			lt_bytes_put16(p, (uint16_t)(bytes - 2));
		break;
	case 2:
		lt_bytes_put16(p, (uint16_t)(next(s) << 8 | next(s)));
		break;
	default: /* other bytes from somewhere on */
		for (size_t i = next(s) % bytes; i < bytes && s->left > 0; i++)
			p[i] = (uint8_t)next(s);
		break;
	}
	struct sealed was = *r;

	if (!arrive(w, &was, p, bytes))
		return 0;
	shift(w);
	return 1;
}

static int
step(struct play *pl, struct script *s)
{
	unsigned op = next(s);
	struct way *w = &pl->ways[op >> 7];
	struct sealed r;

	switch (op & 0x7f) {
	case 0:
	case 1:
		seal_one(pl, w, s, 0);
		return 1;
	case 2:
		seal_one(pl, w, s, 1);
		return 1;
	case 3:
		forge_one(w, s);
		return 1;
	case 4:
		set_counts(w, s);
		return 1;
	case 5:
		pl->now_ms += next(s) * (uint64_t)10000;
		return 1;
	case 6: /* bytes of nobody */
	{
		size_t n = next(s);
		n = n < s->left ? n : s->left;
		s->p += n;
		s->left -= n;
		return arrive(w, NULL, s->p - n, n);
	}
	default:
		break;
	}
	if (w->waiting == 0)
		return 1;
	switch ((op & 0x7f) % 6) {
	case 0:
		return deliver_changed(w, s);
	case 1: /* twice */
		r = w->on_way[0];
		return deliver(w) && arrive(w, &r, r.bytes, r.size);
	case 2:
		shift(w);
		return 1;
	case 3:
		if (w->waiting > 1) {
			r = w->on_way[0];
			w->on_way[0] = w->on_way[1];
			w->on_way[1] = r;
		}
		return 1;
	case 4: /* back to who sent it */
		r = w->on_way[0];
		r.n = UINT64_MAX;
		return arrive(
		    &pl->ways[w == &pl->ways[0]], &r, r.bytes, r.size);
	default:
		return deliver(w);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct script s = {data, bytes};
	static struct play pl;
	uint8_t salt[16];

	prepare();
	if (next(&s) == 0) {
		shake_hands(&s);
		return 0;
	}
	lt_secret_mac(salt, "sixteen or more bytes", 16, data, bytes);
	start(&pl, salt);
	while (s.left > 0)
		if (!step(&pl, &s))
			start(&pl, salt);
	return 0;
}

#define DELIVER 11 /* % 6 is 5 */

/* Good scripts, each with other surprises. */
size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const uint8_t both[] = {1, 0, 5, 'a', DELIVER, 0x80, 9, 'b',
	    0x80 | DELIVER, 1, 255, 40, 'c', 1, 0, 'd', DELIVER, DELIVER};
	static const uint8_t renewed[] = {2, 4, 0, 2, 0, 3, 'a', 0, 3, 'b', 0,
	    3, 'c', 0, 3, 'd', DELIVER, DELIVER, DELIVER, DELIVER, 4, 1, 9, 0,
	    20, 'e', 0, 1, 'f', DELIVER, DELIVER, 5, 61, 0, 1, 'g', DELIVER};
	static const uint8_t ended[] = {3, 0, 4, 'a', 2, 4, 'b', DELIVER,
	    DELIVER, 0, 1, 'c', 0x82, 0, 0, 0x80 | DELIVER};
	static const uint8_t forged[] = {4, 3, 4, 'a', 0, DELIVER, 3, 4, 'b', 2,
	    3, 4, 'c', 0, DELIVER, DELIVER, 3, 0, 0, 3, DELIVER, 3, 0, 0, 0,
	    DELIVER, 3, 1, 'd', 4, DELIVER};
	static const uint8_t never[] = {5, 4, 2, 2, 3, 1, 'a', 0, DELIVER, 3, 1,
	    'b', 0, DELIVER, 3, 1, 'c', 0, DELIVER, 4, 3, 9, 3, 9, 'd', 0,
	    DELIVER, 3, 1, 'e', 0, DELIVER};
	static const uint8_t mixed[] = {6, 0, 1, 'a', 0, 2, 'b', 9, DELIVER, 0,
	    1, 'a', 7, 0, 1, 'a', 8, 0, 1, 'b', DELIVER, 0, 1, 'a', 12, 0, 4, 1,
	    0, 1, 'a', 10, 6, 19, 0, 17, 1};
	static const uint8_t hands[] = {0, 0, 0, 0};
	static const uint8_t old[] = {0, 3, 1, 40, 1, 3};
	static const struct {
		const uint8_t *p;
		size_t bytes;
	} seeds[] = {{both, sizeof both}, {renewed, sizeof renewed},
	    {ended, sizeof ended}, {forged, sizeof forged},
	    {never, sizeof never}, {mixed, sizeof mixed}, {hands, sizeof hands},
	    {old, sizeof old}};

	n %= LT_COUNT(seeds);
	LT_ASSERT(seeds[n].bytes <= cap);
	memcpy(buf, seeds[n].p, seeds[n].bytes);
	return seeds[n].bytes;
}
