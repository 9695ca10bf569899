/*
 * noise_test.c - the published vectors in both roles; then two that talk to
 * each other, and everything that must be refused: other keys, calls that are
 * not due, each bit of each message, used-up counters, points of small order.
 * What is left in memory is looked at last.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "leat/status.h"
#include "noisevectors.h"
#include "proto/noise.h"

#define ROOM (LT_NOISE_MESSAGE_MAX + 1)

static size_t
unhex(uint8_t *out, size_t room, const char *text)
{
	size_t bytes = strlen(text) / 2;

	assert_true(strlen(text) % 2 == 0 && bytes <= room);
	for (size_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)strtoul(
		    (char[3]){text[2 * i], text[2 * i + 1], 0}, NULL, 16);
	return bytes;
}

static struct lt_noise_pair
pair_of(const char *secret)
{
	struct lt_noise_pair k;

	assert_int_equal(unhex(k.secret, LT_SECRET_KEY, secret), 32);
	lt_secret_public(k.public, k.secret);
	return k;
}

/* --- vectors ---------------------------------------------------------------
 */

static void
begin_vector(struct lt_noise *n, const struct noise_vector *v, int is_initiator)
{
	struct lt_noise_pair init = pair_of(v->init_static);
	struct lt_noise_pair resp = pair_of(v->resp_static);
	struct lt_noise_pair once =
	    pair_of(is_initiator ? v->init_once : v->resp_once);
	uint8_t prologue[128], peer[LT_SECRET_KEY];
	size_t bytes = unhex(prologue, sizeof prologue, v->prologue);

	if (v->init_peer != NULL) {
		unhex(peer, sizeof peer, v->init_peer);
		assert_memory_equal(peer, resp.public, sizeof peer);
	}
	lt_noise_init(n, is_initiator ? &init : &resp,
	    is_initiator ? resp.public : NULL, prologue, bytes);
	lt_noise_once(n, once.secret);
}

/* One role, the other's messages taken from the vector. */
static void
play_vector(const struct noise_vector *v, int is_initiator)
{
	uint8_t payload[128], want[256], got[256], hash[LT_SECRET_HASH];
	struct lt_noise_pair init = pair_of(v->init_static);
	struct lt_noise n;
	size_t bytes;
	int i = 0;

	begin_vector(&n, v, is_initiator);
	for (; i < 6 && v->messages[i].bytes != NULL; i++) {
		size_t p =
		    unhex(payload, sizeof payload, v->messages[i].payload);
		size_t m = unhex(want, sizeof want, v->messages[i].bytes);
		int mine = (i + (i > 2 && v->goes_on)) % 2 != is_initiator;

		if (i < 3 && mine) {
			assert_int_equal(lt_noise_write(&n, payload, p, got,
					     sizeof got, &bytes),
			    LEAT_OK);
			assert_int_equal(bytes, m);
			assert_memory_equal(got, want, m);
		} else if (i < 3) {
			assert_int_equal(
			    lt_noise_read(&n, want, m, got, &bytes), LEAT_OK);
			assert_int_equal(bytes, p);
			assert_memory_equal(got, payload, p);
		} else if (mine) {
			assert_int_equal(m, p + LT_SECRET_TAG);
			assert_int_equal(
			    lt_noise_seal(&n, payload, p, got), LEAT_OK);
			assert_memory_equal(got, want, m);
		} else {
			assert_int_equal(
			    lt_noise_open(&n, want, m, got), LEAT_OK);
			assert_memory_equal(got, payload, p);
		}
		assert_int_equal(lt_noise_is_up(&n), i >= 2);
	}
	assert_in_range(i, 5, 6);
	if (v->hash != NULL) {
		unhex(hash, sizeof hash, v->hash);
		assert_memory_equal(n.hash, hash, sizeof hash);
	}
	if (!is_initiator)
		assert_memory_equal(n.peer, init.public, LT_SECRET_KEY);
	lt_noise_fini(&n);
}

static void
published_vectors(void **state)
{
	for (size_t i = 0; i < LT_COUNT(noise_vectors); i++) {
		play_vector(&noise_vectors[i], 1);
		play_vector(&noise_vectors[i], 0);
	}
	print_message("%zu vectors, both roles\n", LT_COUNT(noise_vectors));
}

/* Behind cacophony's handshake and message 4, keys are changed; computed by
 * noiseprotocol 0.3.1 for Python. */
static void
keys_change_as_elsewhere(void **state)
{
	static const char *const want[] = {
	    "fe4610095aa6cf04ea49d0d6db1b8033762ab6eb",
	    "bfc378e409af26db5bd30270cd3a5ce6cd76a590",
	    "4e86d3b941217452a696e68b0ff6da0f69474ae5",
	};
	const struct noise_vector *v = &noise_vectors[0];
	uint8_t message[128], got[128], bytes[64];
	struct lt_noise a, b;
	size_t n;

	begin_vector(&a, v, 1);
	begin_vector(&b, v, 0);
	for (int i = 0; i < 3; i++) {
		struct lt_noise *w = i == 1 ? &b : &a, *r = i == 1 ? &a : &b;
		assert_int_equal(
		    lt_noise_write(w, NULL, 0, message, sizeof message, &n),
		    LEAT_OK);
		/* The payload is not mixed into keys. */
		assert_int_equal(
		    lt_noise_read(r, message, n, got, &n), LEAT_OK);
	}
	assert_int_equal(lt_noise_seal(&a, "", 0, message), LEAT_OK);
	assert_int_equal(lt_noise_open(&b, message, 16, got), LEAT_OK);
	assert_int_equal(lt_noise_seal(&b, "", 0, message), LEAT_OK);
	assert_int_equal(lt_noise_open(&a, message, 16, got), LEAT_OK);
	for (int i = 0; i < 3; i++) {
		struct lt_noise *w = i < 2 ? &a : &b, *r = i < 2 ? &b : &a;
		lt_noise_rekey_out(w);
		lt_noise_rekey_in(r);
		assert_int_equal(lt_noise_seal(w, "Leat", 4, got), LEAT_OK);
		unhex(bytes, sizeof bytes, want[i]);
		assert_memory_equal(got, bytes, 20);
		assert_int_equal(lt_noise_open(r, got, 20, got), LEAT_OK);
		assert_memory_equal(got, "Leat", 4);
	}
}

/* --- two that talk to each other -------------------------------------------
 */

struct two {
	struct lt_noise_pair init, resp;
	struct lt_noise side[2]; /* initiator, responder */
	uint8_t message[3][128]; /* as they were written */
	size_t bytes[3];
	size_t payload;
};

static struct lt_noise_pair init_key, resp_key, other_key;

static void
begin(struct two *t, size_t payload)
{
	*t = (struct two){.init = init_key, .resp = resp_key};
	t->payload = payload;
	lt_noise_init(&t->side[0], &t->init, t->resp.public, "LEAT", 4);
	lt_noise_init(&t->side[1], &t->resp, NULL, "LEAT", 4);
}

static int
write_one(struct two *t, int i)
{
	static const char payload[64] = "what is sent in the handshake";

	return lt_noise_write(&t->side[i == 1], payload, t->payload,
	    t->message[i], sizeof t->message[i], &t->bytes[i]);
}

static int
read_bytes(struct two *t, int i, const void *p, size_t bytes)
{
	uint8_t *out = malloc(bytes == 0 ? 1 : bytes);
	size_t n;
	int rc = lt_noise_read(&t->side[i != 1], p, bytes, out, &n);

	assert_int_equal(n, rc == LEAT_OK ? t->payload : 0);
	free(out);
	return rc;
}

/* Until i messages were written and read. */
static void
advance(struct two *t, int i)
{
	for (int j = t->side[0].step; j < i; j++) {
		assert_int_equal(write_one(t, j), LEAT_OK);
		assert_int_equal(
		    read_bytes(t, j, t->message[j], t->bytes[j]), LEAT_OK);
	}
}

static void
is_wiped(const struct lt_noise *n)
{
	struct lt_noise none = {.is_ended = 1};

	assert_memory_equal(n, &none, sizeof none);
}

/* The one that read it is at its end; nothing brings it back. */
static void
is_over(struct lt_noise *n)
{
	uint8_t out[128];
	size_t bytes;

	is_wiped(n);
	assert_false(lt_noise_is_up(n));
	assert_int_equal(lt_noise_write(n, NULL, 0, out, sizeof out, &bytes),
	    LEAT_E_INVALID);
	assert_int_equal(
	    lt_noise_read(n, out, LT_NOISE_FIRST, out, &bytes), LEAT_E_INVALID);
	assert_int_equal(lt_noise_seal(n, out, 1, out), LEAT_E_INVALID);
	assert_int_equal(lt_noise_open(n, out, 17, out), LEAT_E_INVALID);
	lt_noise_rekey_in(n);
	lt_noise_rekey_out(n);
	is_wiped(n);
}

static void
talk(struct two *t)
{
	uint8_t sealed[64], text[64];

	for (int i = 0; i < 6; i++) {
		struct lt_noise *from = &t->side[i % 2];
		struct lt_noise *to = &t->side[1 - i % 2];
		assert_int_equal(lt_noise_seal(from, "talk", 4, sealed), 0);
		assert_int_equal(lt_noise_open(to, sealed, 20, text), 0);
		assert_memory_equal(text, "talk", 4);
	}
}

static void
both_agree(void **state)
{
	struct two t, u;

	begin(&t, 0);
	advance(&t, 3);
	assert_int_equal(t.bytes[0], LT_NOISE_FIRST);
	assert_int_equal(t.bytes[1], LT_NOISE_SECOND);
	assert_int_equal(t.bytes[2], LT_NOISE_THIRD);
	assert_memory_equal(t.side[0].hash, t.side[1].hash, LT_SECRET_HASH);
	assert_memory_equal(t.side[1].peer, t.init.public, LT_SECRET_KEY);
	assert_memory_equal(t.side[0].peer, t.resp.public, LT_SECRET_KEY);
	assert_memory_not_equal(
	    t.side[0].up.out.key, t.side[0].up.in.key, LT_SECRET_KEY);
	talk(&t);
	/* Of the same two, nothing is as before. */
	begin(&u, 0);
	advance(&u, 3);
	for (int i = 0; i < 3; i++)
		assert_memory_not_equal(t.message[i], u.message[i], 32);
	assert_memory_not_equal(
	    t.side[0].up.out.key, u.side[0].up.out.key, LT_SECRET_KEY);
	assert_memory_not_equal(t.side[0].hash, u.side[0].hash, LT_SECRET_HASH);
}

/* Who the initiator takes the responder for, the prologues, and pairs that are
 * none: where each is noticed. 3: not at all. */
static void
wrong_keys(void **state)
{
	struct lt_noise_pair torn = init_key;
	uint8_t none[LT_SECRET_KEY] = {0};

	memcpy(torn.public, other_key.public, sizeof torn.public);
	const struct {
		const struct lt_noise_pair *init, *resp;
		const uint8_t *peer;
		const char *prologue;
		int fails_at; /* reading this message; -1: writing the first */
	} cases[] = {
	    {&init_key, &resp_key, resp_key.public, "LEAT", 3},
	    {&other_key, &resp_key, resp_key.public, "LEAT", 3},
	    {&resp_key, &resp_key, resp_key.public, "LEAT", 3},
	    {&init_key, &other_key, resp_key.public, "LEAT", 0},
	    {&init_key, &resp_key, other_key.public, "LEAT", 0},
	    {&init_key, &resp_key, init_key.public, "LEAT", 0},
	    {&init_key, &resp_key, resp_key.secret, "LEAT", 0},
	    {&init_key, &resp_key, none, "LEAT", -1},
	    {&init_key, &resp_key, resp_key.public, "LEAU", 0},
	    {&init_key, &resp_key, resp_key.public, "LEA", 0},
	    {&init_key, &resp_key, resp_key.public, "", 0},
	    {&torn, &resp_key, resp_key.public, "LEAT", 2},
	    {&init_key, &torn, init_key.public, "LEAT", 0},
	    {&init_key, &torn, torn.public, "LEAT", 0},
	};

	for (size_t i = 0; i < LT_COUNT(cases); i++) {
		struct two t = {.payload = 0};
		int at = -1, rc;

		lt_noise_init(&t.side[0], cases[i].init, cases[i].peer,
		    cases[i].prologue, strlen(cases[i].prologue));
		lt_noise_init(&t.side[1], cases[i].resp, NULL, "LEAT", 4);
		rc = write_one(&t, 0);
		for (at = rc == LEAT_OK ? 0 : -1; rc == LEAT_OK && at < 3;) {
			rc = read_bytes(&t, at, t.message[at], t.bytes[at]);
			if (rc == LEAT_OK && ++at < 3)
				assert_int_equal(write_one(&t, at), LEAT_OK);
		}
		assert_int_equal(at, cases[i].fails_at);
		assert_int_equal(rc, at == 3 ? LEAT_OK : LEAT_E_CORRUPT);
		if (at == 3)
			talk(&t);
		else
			is_over(&t.side[at == 0 || at == 2]);
	}
	print_message("%zu pairs of keys\n", LT_COUNT(cases));
}

/* At each step, each call that is not due changes nothing. */
static void
out_of_turn(void **state)
{
	uint8_t out[256], message[128] = {9};
	size_t bytes;

	for (int step = 0; step <= 3; step++) {
		struct two t;
		begin(&t, 5);
		advance(&t, step);
		for (int side = 0; side < 2; side++) {
			struct lt_noise *n = &t.side[side], before = *n;
			int writes = step < 3 && (step == 1) == side;

			if (!writes)
				assert_int_equal(lt_noise_write(n, "x", 1, out,
						     sizeof out, &bytes),
				    LEAT_E_INVALID);
			if (writes || step == 3)
				assert_int_equal(
				    lt_noise_read(n, message, sizeof message,
					out, &bytes),
				    LEAT_E_INVALID);
			if (step == 3)
				continue;
			assert_int_equal(
			    lt_noise_seal(n, "x", 1, out), LEAT_E_INVALID);
			assert_int_equal(
			    lt_noise_open(n, message, 32, out), LEAT_E_INVALID);
			lt_noise_rekey_in(n);
			lt_noise_rekey_out(n);
			if (writes) { /* too long, and too little room */
				size_t head = step == 2 ? 64 : 48;
				assert_int_equal(
				    lt_noise_write(n, message, ROOM - head, out,
					SIZE_MAX, &bytes),
				    LEAT_E_INVALID);
				assert_int_equal(
				    lt_noise_write(n, message, SIZE_MAX, out,
					SIZE_MAX, &bytes),
				    LEAT_E_INVALID);
				assert_int_equal(lt_noise_write(n, message, 9,
						     out, head + 8, &bytes),
				    LEAT_E_INVALID);
			}
			assert_memory_equal(n, &before, sizeof before);
		}
		advance(&t, 3);
		talk(&t);
	}
}

/* A state that waits for message i, and the message; what the reader says of
 * other bytes. */
static void
refuses(const struct two *before, int i, const void *p, size_t bytes)
{
	struct two t = *before;

	assert_int_equal(read_bytes(&t, i, p, bytes), LEAT_E_CORRUPT);
	is_over(&t.side[i != 1]);
}

static void
every_bit_of_the_handshake(void **state)
{
	unsigned flips = 0, cuts = 0;
	uint8_t *p = malloc(ROOM);

	for (size_t payload = 0; payload <= 21; payload += 21) {
		for (int i = 0; i < 3; i++) {
			struct two t, u;
			begin(&t, payload);
			advance(&t, i);
			assert_int_equal(write_one(&t, i), LEAT_OK);
			for (size_t bit = 0; bit < 8 * t.bytes[i]; bit++) {
				memcpy(p, t.message[i], t.bytes[i]);
				p[bit / 8] ^= (uint8_t)(1 << bit % 8);
				refuses(&t, i, p, t.bytes[i]);
				flips++;
			}
			memcpy(p, t.message[i], t.bytes[i]);
			memset(p + t.bytes[i], 0, ROOM - t.bytes[i]);
			for (size_t n = 0; n < t.bytes[i] + 20; n++) {
				if (n != t.bytes[i])
					refuses(&t, i, p, n);
				cuts++;
			}
			refuses(&t, i, p, LT_NOISE_MESSAGE_MAX);
			refuses(&t, i, p, ROOM);
			u = t; /* and it itself is good */
			advance(&u, i);
			assert_int_equal(
			    read_bytes(&u, i, t.message[i], t.bytes[i]),
			    LEAT_OK);
		}
	}
	free(p);
	print_message("%u flipped bits, %u other lengths\n", flips, cuts);
}

/* Messages of this session at another place, and of another one at theirs. */
static void
replayed_and_reordered(void **state)
{
	struct two old, t;

	begin(&old, 0);
	advance(&old, 3);
	for (int i = 0; i < 3; i++) {
		begin(&t, 0);
		advance(&t, i);
		assert_int_equal(write_one(&t, i), LEAT_OK);
		for (int j = 0; j < 3; j++) {
			if (j < i)
				refuses(&t, i, t.message[j], t.bytes[j]);
			/* The first alone proves nothing yet. */
			if (j != i || i > 0)
				refuses(&t, i, old.message[j], old.bytes[j]);
		}
	}
	begin(&t, 0);
	assert_int_equal(
	    read_bytes(&t, 0, old.message[0], old.bytes[0]), LEAT_OK);
	assert_int_equal(write_one(&t, 1), LEAT_OK);
	refuses(&t, 2, old.message[2], old.bytes[2]);
}

/* --- behind the handshake --------------------------------------------------
 */

static void
sealed_ones_in_order_only(void **state)
{
	uint8_t sealed[4][40], text[40];
	struct two t;
	unsigned flips = 0;

	begin(&t, 0);
	advance(&t, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
		    lt_noise_seal(
			&t.side[0], "twenty-four bytes of text", 24, sealed[i]),
		    LEAT_OK);
	for (int next = 0; next < 4; next++) {
		struct lt_noise n;
		for (int i = 0; i < 4; i++) {
			n = t.side[1];
			int rc = lt_noise_open(&n, sealed[i], 40, text);
			assert_int_equal(
			    rc, i == next ? LEAT_OK : LEAT_E_CORRUPT);
			if (rc != LEAT_OK)
				is_over(&n);
		}
		for (size_t bytes = 0; bytes < 40; bytes++) {
			n = t.side[1];
			assert_int_equal(
			    lt_noise_open(&n, sealed[next], bytes, text),
			    LEAT_E_CORRUPT);
			is_over(&n);
		}
		for (int bit = 0; bit < 320; bit++, flips++) {
			uint8_t p[40];
			memcpy(p, sealed[next], 40);
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			n = t.side[1];
			assert_int_equal(
			    lt_noise_open(&n, p, 40, p), LEAT_E_CORRUPT);
			is_over(&n);
		}
		/* Back to who sent it. */
		n = t.side[0];
		assert_int_equal(
		    lt_noise_open(&n, sealed[next], 40, text), LEAT_E_CORRUPT);
		assert_int_equal(
		    lt_noise_open(&t.side[1], sealed[next], 40, text), LEAT_OK);
	}
	print_message("%u flipped bits\n", flips);
}

static void
lengths_and_counters(void **state)
{
	uint8_t *p = calloc(1, ROOM), *q = calloc(1, ROOM + LT_SECRET_TAG);
	const size_t most = LT_NOISE_MESSAGE_MAX - LT_SECRET_TAG;
	struct two t;

	begin(&t, 0);
	advance(&t, 3);
	assert_int_equal(
	    lt_noise_seal(&t.side[0], p, most + 1, q), LEAT_E_INVALID);
	assert_int_equal(lt_noise_seal(&t.side[0], p, most, q), LEAT_OK);
	assert_int_equal(
	    lt_noise_open(&t.side[1], q, LT_NOISE_MESSAGE_MAX, q), LEAT_OK);
	assert_memory_equal(p, q, most);
	assert_int_equal(lt_noise_seal(&t.side[0], NULL, 0, q), LEAT_OK);
	assert_int_equal(
	    lt_noise_open(&t.side[1], q, LT_SECRET_TAG, q), LEAT_OK);

	/* The last number but one is the last that is used. */
	t.side[0].up.out.n = t.side[1].up.in.n = UINT64_MAX - 1;
	assert_int_equal(lt_noise_seal(&t.side[0], "x", 1, q), LEAT_OK);
	assert_int_equal(lt_noise_open(&t.side[1], q, 17, p), LEAT_OK);
	for (int i = 0; i < 3; i++) {
		struct two before = t;
		assert_int_equal(
		    lt_noise_seal(&t.side[0], "x", 1, q), LEAT_E_INVALID);
		assert_int_equal(
		    lt_noise_open(&t.side[1], q, 17, p), LEAT_E_INVALID);
		assert_memory_equal(&t, &before, sizeof t);
		/* A new key does not begin again. */
		lt_noise_rekey_out(&t.side[0]);
		lt_noise_rekey_in(&t.side[1]);
	}
	free(p);
	free(q);
}

static void
a_new_key_on_one_side(void **state)
{
	struct two t;
	uint8_t sealed[32];

	begin(&t, 0);
	advance(&t, 3);
	struct lt_noise old = t.side[0];
	lt_noise_rekey_out(&t.side[0]);
	assert_memory_not_equal(
	    old.up.out.key, t.side[0].up.out.key, LT_SECRET_KEY);
	assert_memory_equal(old.up.in.key, t.side[0].up.in.key, LT_SECRET_KEY);
	assert_int_equal(lt_noise_seal(&t.side[0], "x", 1, sealed), LEAT_OK);
	struct lt_noise late = t.side[1];
	assert_int_equal(
	    lt_noise_open(&late, sealed, 17, sealed), LEAT_E_CORRUPT);
	lt_noise_rekey_in(&t.side[1]);
	late = t.side[1];
	assert_int_equal(lt_noise_seal(&old, "x", 1, sealed), LEAT_OK);
	assert_int_equal(
	    lt_noise_open(&late, sealed, 17, sealed), LEAT_E_CORRUPT);
	assert_int_equal(lt_noise_seal(&t.side[1], "y", 1, sealed), LEAT_OK);
	assert_int_equal(lt_noise_open(&t.side[0], sealed, 17, sealed), 0);
}

/* --- points of small order -------------------------------------------------
 */

static const char *const small_points[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

/* The step'th message of one who knows what the shared key will be: n is the
 * writer's state, the point its new key (in the third its static one). */
static size_t
forge(struct lt_noise *n, const uint8_t point[LT_SECRET_KEY],
    const uint8_t shared[LT_SECRET_KEY], uint8_t out[LT_NOISE_THIRD])
{
	uint8_t key[LT_SECRET_HASH], first[LT_SECRET_HASH];
	size_t at = LT_SECRET_KEY;

	if (n->step == 2) {
		lt_secret_seal(out, point, LT_SECRET_KEY, n->hash,
		    sizeof n->hash, n->hs.cipher.n, n->hs.cipher.key);
		at += LT_SECRET_TAG;
	} else
		memcpy(out, point, LT_SECRET_KEY);
	lt_secret_hash(n->hash, n->hash, sizeof n->hash, out, at);
	lt_secret_hmac(key, n->hs.chain, shared, LT_SECRET_KEY, NULL, 0);
	lt_secret_hmac(first, key, "\1", 1, NULL, 0);
	lt_secret_hmac(key, key, first, sizeof first, "\2", 1);
	lt_secret_seal(out + at, NULL, 0, n->hash, sizeof n->hash, 0, key);
	return at + LT_SECRET_TAG;
}

static void
points_of_small_order(void **state)
{
	uint8_t point[LT_SECRET_KEY], nothing[LT_SECRET_KEY] = {0};
	uint8_t shared[LT_SECRET_KEY], out[LT_NOISE_THIRD];
	struct two t;
	size_t bytes;

	for (int step = 0; step < 3; step++) {
		/* That the forger knows its trade: with a good point. */
		begin(&t, 0);
		advance(&t, step);
		struct lt_noise *n = &t.side[step == 1];
		assert_int_equal(
		    lt_secret_shared(shared, other_key.secret,
			step == 0 ? t.resp.public : n->hs.peer_once),
		    LEAT_OK);
		bytes = forge(n, other_key.public, shared, out);
		assert_int_equal(read_bytes(&t, step, out, bytes), LEAT_OK);

		for (size_t i = 0; i < 2 * LT_COUNT(small_points); i++) {
			unhex(point, sizeof point, small_points[i / 2]);
			point[31] |= i % 2 ? 0x80 : 0;
			assert_int_equal(
			    lt_secret_shared(shared, other_key.secret, point),
			    LEAT_E_CORRUPT);
			begin(&t, 0);
			advance(&t, step);
			bytes = forge(&t.side[step == 1], point, nothing, out);
			refuses(&t, step, out, bytes);
		}
	}
	for (size_t i = 0; i < 2 * LT_COUNT(small_points); i++) {
		unhex(point, sizeof point, small_points[i / 2]);
		point[31] |= i % 2 ? 0x80 : 0;
		begin(&t, 0);
		lt_noise_init(&t.side[0], &t.init, point, "LEAT", 4);
		assert_int_equal(write_one(&t, 0), LEAT_E_CORRUPT);
		is_over(&t.side[0]);
	}
}

/* --- what is left in memory ------------------------------------------------
 */

#define SHARD 8 /* so many bytes in a row are no accident */

static void
is_nowhere(const char *what, const void *secret, size_t bytes,
    const void *memory, size_t memory_bytes)
{
	const uint8_t *p = secret;

	for (size_t i = 0; i + SHARD <= bytes; i++)
		if (memmem(memory, memory_bytes, p + i, SHARD) != NULL)
			fail_msg("%s is still there", what);
}

static void
nothing_stays(void **state)
{
	struct two t, mid;

	begin(&t, 0);
	advance(&t, 2);
	mid = t;
	advance(&t, 3);
	for (int i = 0; i < 2; i++) {
		struct lt_noise *n = &t.side[i], *was = &mid.side[i];
		is_nowhere("the static key", was->hs.own.secret, LT_SECRET_KEY,
		    n, sizeof *n);
		is_nowhere("the ephemeral key", was->hs.once.secret,
		    LT_SECRET_KEY, n, sizeof *n);
		is_nowhere("the chaining key", was->hs.chain, LT_SECRET_HASH, n,
		    sizeof *n);
		is_nowhere("the handshake's key", was->hs.cipher.key,
		    LT_SECRET_KEY, n, sizeof *n);
		struct lt_noise up = *n;
		lt_noise_rekey_out(n);
		lt_noise_rekey_in(n);
		is_nowhere(
		    "the old key", up.up.out.key, LT_SECRET_KEY, n, sizeof *n);
		is_nowhere(
		    "the old key", up.up.in.key, LT_SECRET_KEY, n, sizeof *n);
		lt_noise_fini(n);
		is_wiped(n);
		lt_noise_fini(was);
		is_wiped(was);
	}
}

/* Each call on a stack of its own, which is then looked at. */
static struct two seen;
static uint8_t seen_record[32];

enum {
	REKEY_OUT = 6, /* 0 to 5: messages are written and read */
	REKEY_IN,
	SEAL,
	OPEN,
	CALLS
};

static void *
one_call(void *arg)
{
	int which = *(int *)arg, i = which / 2;
	struct lt_noise *n = &seen.side[which % 2];

	if (which == SEAL)
		*(int *)arg = lt_noise_seal(n, "x", 1, seen_record);
	else if (which == OPEN)
		*(int *)arg = lt_noise_open(n, seen_record, 17, seen_record);
	else if (which == REKEY_OUT)
		lt_noise_rekey_out(n);
	else if (which == REKEY_IN)
		lt_noise_rekey_in(n);
	else if (which % 2 == 0)
		*(int *)arg = write_one(&seen, i);
	else
		*(int *)arg =
		    read_bytes(&seen, i, seen.message[i], seen.bytes[i]);
	return NULL;
}

static void
look(const struct lt_noise *n, const void *stack, size_t bytes)
{
	if (n->step == 0)
		return; /* nothing is secret yet */
	if (n->step < 3) {
		is_nowhere("ck", n->hs.chain, LT_SECRET_HASH, stack, bytes);
		is_nowhere("k", n->hs.cipher.key, LT_SECRET_KEY, stack, bytes);
		return;
	}
	is_nowhere("a key", n->up.out.key, LT_SECRET_KEY, stack, bytes);
	is_nowhere("a key", n->up.in.key, LT_SECRET_KEY, stack, bytes);
}

static void
nothing_stays_on_the_stack(void **state)
{
	static const char *const names[] = {
	    "e", "f", "es", "ee", "se", "s of init", "s of resp"};
	const size_t bytes = 256 * 1024;
	uint8_t secrets[7][LT_SECRET_KEY], public[LT_SECRET_KEY];
	pthread_attr_t attr;
	pthread_t thread;
	void *stack = NULL;

	assert_int_equal(posix_memalign(&stack, 4096, bytes), 0);
	begin(&seen, 0);
	for (int i = 0; i < 2; i++) {
		lt_secret_random(secrets[i], LT_SECRET_KEY);
		lt_noise_once(&seen.side[i], secrets[i]);
	}
	lt_secret_public(public, secrets[0]);
	assert_int_equal(
	    lt_secret_shared(secrets[2], resp_key.secret, public), 0);
	assert_int_equal(lt_secret_shared(secrets[3], secrets[1], public), 0);
	assert_int_equal(
	    lt_secret_shared(secrets[4], secrets[1], init_key.public), 0);
	memcpy(secrets[5], init_key.secret, LT_SECRET_KEY);
	memcpy(secrets[6], resp_key.secret, LT_SECRET_KEY);
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstack(&attr, stack, bytes), 0);
	for (int which = 0; which < CALLS; which++) {
		struct two before = seen;
		int rc = which;
		memset(stack, 0, bytes);
		assert_int_equal(
		    pthread_create(&thread, &attr, one_call, &rc), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		if (which != REKEY_OUT && which != REKEY_IN)
			assert_int_equal(rc, LEAT_OK);
		for (int i = 0; i < 2; i++) {
			look(&before.side[i], stack, bytes);
			look(&seen.side[i], stack, bytes);
		}
		for (size_t i = 0; i < LT_COUNT(secrets); i++)
			is_nowhere(
			    names[i], secrets[i], LT_SECRET_KEY, stack, bytes);
	}
	pthread_attr_destroy(&attr);
	free(stack);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(published_vectors),
	    cmocka_unit_test(keys_change_as_elsewhere),
	    cmocka_unit_test(both_agree),
	    cmocka_unit_test(wrong_keys),
	    cmocka_unit_test(out_of_turn),
	    cmocka_unit_test(every_bit_of_the_handshake),
	    cmocka_unit_test(replayed_and_reordered),
	    cmocka_unit_test(sealed_ones_in_order_only),
	    cmocka_unit_test(lengths_and_counters),
	    cmocka_unit_test(a_new_key_on_one_side),
	    cmocka_unit_test(points_of_small_order),
	    cmocka_unit_test(nothing_stays),
	    cmocka_unit_test(nothing_stays_on_the_stack),
	};

	if (lt_secret_init() != LEAT_OK)
		return 99;
	lt_secret_pair(init_key.secret, init_key.public);
	lt_secret_pair(resp_key.secret, resp_key.public);
	lt_secret_pair(other_key.secret, other_key.public);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
