/*
 * noise.c - the handshake state of the framework's section 5, for the one
 * pattern XK and with names of functions as there: what is mixed when is read
 * off the pattern's three lines.
 */
#include "config.h"
#include "proto/noise.h"

#include <string.h>

#include "leat/status.h"

static const char name[] = "Noise_XK_25519_ChaChaPoly_SHA512";

/* --- symmetric state -------------------------------------------------------
 */

static void
mix_hash(struct lt_noise *n, const void *p, size_t bytes)
{
	lt_secret_hash(n->hash, n->hash, sizeof n->hash, p, bytes);
}

/* HKDF with two outputs; chain may be one of them. */
static void
derive(const uint8_t chain[LT_SECRET_HASH], const void *p, size_t bytes,
    uint8_t first[LT_SECRET_HASH], uint8_t second[LT_SECRET_HASH])
{
	static const uint8_t one = 1, two = 2;
	uint8_t key[LT_SECRET_HASH];

	lt_secret_hmac(key, chain, p, bytes, NULL, 0);
	lt_secret_hmac(first, key, &one, 1, NULL, 0);
	lt_secret_hmac(second, key, first, LT_SECRET_HASH, &two, 1);
	lt_secret_wipe(key, sizeof key);
}

static void
set_key(struct lt_noise_cipher *c, const uint8_t from[LT_SECRET_HASH])
{
	memcpy(c->key, from, sizeof c->key);
	c->n = 0;
}

static int
mix_shared(struct lt_noise *n, const uint8_t secret[LT_SECRET_KEY],
    const uint8_t public[LT_SECRET_KEY])
{
	uint8_t shared[LT_SECRET_KEY], key[LT_SECRET_HASH];
	int rc = lt_secret_shared(shared, secret, public);

	if (rc == LEAT_OK) {
		derive(n->hs.chain, shared, sizeof shared, n->hs.chain, key);
		set_key(&n->hs.cipher, key);
	}
	lt_secret_wipe(shared, sizeof shared);
	lt_secret_wipe(key, sizeof key);
	return rc;
}

static uint8_t *
encrypt_and_hash(struct lt_noise *n, const void *p, size_t bytes, uint8_t *out)
{
	struct lt_noise_cipher *c = &n->hs.cipher;

	lt_secret_seal(out, p, bytes, n->hash, sizeof n->hash, c->n++, c->key);
	mix_hash(n, out, bytes + LT_SECRET_TAG);
	return out + bytes + LT_SECRET_TAG;
}

/* bytes: with the tag. */
static int
decrypt_and_hash(struct lt_noise *n, const uint8_t *p, size_t bytes, void *out)
{
	struct lt_noise_cipher *c = &n->hs.cipher;
	uint8_t with[LT_SECRET_HASH];

	memcpy(with, n->hash, sizeof with);
	mix_hash(n, p, bytes); /* out may be p */
	return lt_secret_open(out, p, bytes, with, sizeof with, c->n++, c->key);
}

static void
split(struct lt_noise *n)
{
	uint8_t first[LT_SECRET_HASH], second[LT_SECRET_HASH];

	derive(n->hs.chain, NULL, 0, first, second);
	lt_secret_wipe(&n->hs, sizeof n->hs);
	set_key(n->is_initiator ? &n->up.out : &n->up.in, first);
	set_key(n->is_initiator ? &n->up.in : &n->up.out, second);
	lt_secret_wipe(first, sizeof first);
	lt_secret_wipe(second, sizeof second);
}

/* --- the handshake ---------------------------------------------------------
 */

void
lt_noise_init(struct lt_noise *n, const struct lt_noise_pair *own,
    const uint8_t *peer, const void *prologue, size_t prologue_bytes)
{
	*n = (struct lt_noise){.is_initiator = peer != NULL};
	_Static_assert(
	    sizeof name - 1 <= sizeof n->hash, "no hash of the name");
	memcpy(n->hash, name, sizeof name - 1);
	memcpy(n->hs.chain, n->hash, sizeof n->hash);
	n->hs.own = *own;
	mix_hash(n, prologue, prologue_bytes);
	if (peer != NULL)
		memcpy(n->peer, peer, sizeof n->peer);
	mix_hash(n, peer != NULL ? peer : own->public, LT_SECRET_KEY);
}

void
lt_noise_fini(struct lt_noise *n)
{
	lt_secret_wipe(n, sizeof *n);
	n->is_ended = 1;
}

void
lt_noise_once(struct lt_noise *n, const uint8_t secret[LT_SECRET_KEY])
{
	memcpy(n->hs.once.secret, secret, LT_SECRET_KEY);
	lt_secret_public(n->hs.once.public, secret);
}

int
lt_noise_is_up(const struct lt_noise *n)
{
	return n->step == 3 && !n->is_ended;
}

static int
end(struct lt_noise *n, int status)
{
	lt_noise_fini(n);
	return status;
}

static uint8_t *
put_once(struct lt_noise *n, uint8_t *out)
{
	static const uint8_t none[LT_SECRET_KEY];

	if (lt_secret_equal(n->hs.once.secret, none, sizeof none))
		lt_secret_pair(n->hs.once.secret, n->hs.once.public);
	memcpy(out, n->hs.once.public, LT_SECRET_KEY);
	mix_hash(n, n->hs.once.public, LT_SECRET_KEY);
	return out + LT_SECRET_KEY;
}

int
lt_noise_write(struct lt_noise *n, const void *payload, size_t bytes, void *out,
    size_t room, size_t *bytes_out)
{
	size_t head = n->step == 2 ? LT_NOISE_THIRD : LT_NOISE_FIRST;
	uint8_t *p = out;
	int rc;

	*bytes_out = 0;
	if (n->is_ended || n->step >= 3 || (n->step == 1) == n->is_initiator ||
	    bytes > LT_NOISE_MESSAGE_MAX - head || room < head + bytes)
		return LEAT_E_INVALID;
	switch (n->step) {
	case 0: /* e, es */
		p = put_once(n, p);
		rc = mix_shared(n, n->hs.once.secret, n->peer);
		break;
	case 1: /* e, ee */
		p = put_once(n, p);
		rc = mix_shared(n, n->hs.once.secret, n->hs.peer_once);
		break;
	default: /* s, se */
		p = encrypt_and_hash(n, n->hs.own.public, LT_SECRET_KEY, p);
		rc = mix_shared(n, n->hs.own.secret, n->hs.peer_once);
		break;
	}
	if (rc != LEAT_OK)
		return end(n, rc);
	p = encrypt_and_hash(n, payload, bytes, p);
	*bytes_out = (size_t)(p - (uint8_t *)out);
	if (++n->step == 3)
		split(n);
	return LEAT_OK;
}

int
lt_noise_read(struct lt_noise *n, const void *message, size_t bytes,
    void *payload_out, size_t *payload_bytes)
{
	size_t head = n->step == 2 ? LT_NOISE_THIRD : LT_NOISE_FIRST;
	const uint8_t *p = message;
	int rc;

	*payload_bytes = 0;
	if (n->is_ended || n->step >= 3 || (n->step == 1) != n->is_initiator)
		return LEAT_E_INVALID;
	if (bytes < head || bytes > LT_NOISE_MESSAGE_MAX)
		return end(n, LEAT_E_CORRUPT);
	if (n->step < 2) { /* e, and es or ee */
		memcpy(n->hs.peer_once, p, LT_SECRET_KEY);
		mix_hash(n, p, LT_SECRET_KEY);
		p += LT_SECRET_KEY;
		rc = mix_shared(n,
		    n->step == 0 ? n->hs.own.secret : n->hs.once.secret,
		    n->hs.peer_once);
	} else { /* s, se */
		rc = decrypt_and_hash(
		    n, p, LT_SECRET_KEY + LT_SECRET_TAG, n->peer);
		p += LT_SECRET_KEY + LT_SECRET_TAG;
		if (rc == LEAT_OK)
			rc = mix_shared(n, n->hs.once.secret, n->peer);
	}
	bytes -= (size_t)(p - (const uint8_t *)message);
	if (rc == LEAT_OK)
		rc = decrypt_and_hash(n, p, bytes, payload_out);
	if (rc != LEAT_OK)
		return end(n, rc);
	*payload_bytes = bytes - LT_SECRET_TAG;
	if (++n->step == 3)
		split(n);
	return LEAT_OK;
}

/* --- behind it -------------------------------------------------------------
 */

int
lt_noise_seal(struct lt_noise *n, const void *p, size_t bytes, void *out)
{
	struct lt_noise_cipher *c = &n->up.out;

	if (!lt_noise_is_up(n) || c->n == UINT64_MAX ||
	    bytes > LT_NOISE_MESSAGE_MAX - LT_SECRET_TAG)
		return LEAT_E_INVALID;
	lt_secret_seal(out, p, bytes, NULL, 0, c->n++, c->key);
	return LEAT_OK;
}

int
lt_noise_open(struct lt_noise *n, const void *p, size_t bytes, void *out)
{
	struct lt_noise_cipher *c = &n->up.in;

	if (!lt_noise_is_up(n) || c->n == UINT64_MAX)
		return LEAT_E_INVALID;
	if (bytes < LT_SECRET_TAG || bytes > LT_NOISE_MESSAGE_MAX ||
	    lt_secret_open(out, p, bytes, NULL, 0, c->n, c->key) != LEAT_OK)
		return end(n, LEAT_E_CORRUPT);
	c->n++;
	return LEAT_OK;
}

static void
rekey(struct lt_noise_cipher *c)
{
	uint8_t fresh[LT_SECRET_KEY + LT_SECRET_TAG] = {0};

	lt_secret_seal(
	    fresh, fresh, LT_SECRET_KEY, NULL, 0, UINT64_MAX, c->key);
	memcpy(c->key, fresh, sizeof c->key);
	lt_secret_wipe(fresh, sizeof fresh);
}

void
lt_noise_rekey_out(struct lt_noise *n)
{
	if (lt_noise_is_up(n))
		rekey(&n->up.out);
}

void
lt_noise_rekey_in(struct lt_noise *n)
{
	if (lt_noise_is_up(n))
		rekey(&n->up.in);
}
