/* secret.c - the door to libsodium; no other file includes its header. */
#include "config.h"
#include "base/secret.h"

#include <sodium.h>
#include <string.h>

#include "leat/status.h"

int
lt_secret_init(void)
{
	return sodium_init() < 0 ? LEAT_E_IO : LEAT_OK;
}

void
lt_secret_random(void *out, size_t bytes)
{
	randombytes_buf(out, bytes);
}

void
lt_secret_mac(uint8_t out[16], const void *key, size_t key_bytes,
    const void *data, size_t bytes)
{
	LT_ASSERT(key_bytes >= crypto_generichash_KEYBYTES_MIN);
	LT_ASSERT(key_bytes <= crypto_generichash_KEYBYTES_MAX);
	int rc = crypto_generichash(out, 16, data, bytes, key, key_bytes);
	LT_ASSERT(rc == 0);
}

int
lt_secret_equal(const void *a, const void *b, size_t bytes)
{
	return sodium_memcmp(a, b, bytes) == 0;
}

void
lt_secret_wipe(void *p, size_t bytes)
{
	sodium_memzero(p, bytes);
}

int
lt_secret_lock(void *p, size_t bytes)
{
	return sodium_mlock(p, bytes);
}

void
lt_secret_unlock(void *p, size_t bytes)
{
	(void)sodium_munlock(p, bytes);
}

/* --- X25519, ChaCha20-Poly1305, SHA-512 ------------------------------------
 */

_Static_assert(LT_SECRET_KEY == crypto_scalarmult_BYTES, "X25519");
_Static_assert(
    LT_SECRET_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "Poly1305");
_Static_assert(LT_SECRET_HASH == crypto_hash_sha512_BYTES, "SHA-512");
_Static_assert(LT_SECRET_TEXT == sodium_base64_ENCODED_LEN(LT_SECRET_KEY,
				     sodium_base64_VARIANT_URLSAFE_NO_PADDING),
    "a key as text");

void
lt_secret_public(
    uint8_t public[LT_SECRET_KEY], const uint8_t secret[LT_SECRET_KEY])
{
	int rc = crypto_scalarmult_base(public, secret);
	LT_ASSERT(rc == 0);
}

void
lt_secret_pair(uint8_t secret[LT_SECRET_KEY], uint8_t public[LT_SECRET_KEY])
{
	randombytes_buf(secret, LT_SECRET_KEY);
	lt_secret_public(public, secret);
}

int
lt_secret_shared(uint8_t out[LT_SECRET_KEY],
    const uint8_t secret[LT_SECRET_KEY], const uint8_t public[LT_SECRET_KEY])
{
	return crypto_scalarmult(out, secret, public) == 0 ? LEAT_OK
							   : LEAT_E_CORRUPT;
}

void
lt_secret_hash(uint8_t out[LT_SECRET_HASH], const void *a, size_t a_bytes,
    const void *b, size_t b_bytes)
{
	crypto_hash_sha512_state state;

	crypto_hash_sha512_init(&state);
	crypto_hash_sha512_update(&state, a, a_bytes);
	crypto_hash_sha512_update(&state, b, b_bytes);
	crypto_hash_sha512_final(&state, out);
	sodium_memzero(&state, sizeof state);
}

void
lt_secret_hmac(uint8_t out[LT_SECRET_HASH], const uint8_t key[LT_SECRET_HASH],
    const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
	crypto_auth_hmacsha512_state state;

	crypto_auth_hmacsha512_init(&state, key, LT_SECRET_HASH);
	crypto_auth_hmacsha512_update(&state, a, a_bytes);
	crypto_auth_hmacsha512_update(&state, b, b_bytes);
	crypto_auth_hmacsha512_final(&state, out);
	sodium_memzero(&state, sizeof state);
}

static void
put_nonce(uint8_t nonce[12], uint64_t n)
{
	memset(nonce, 0, 4);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(n >> (8 * i));
}

void
lt_secret_seal(void *out, const void *p, size_t bytes, const void *with,
    size_t with_bytes, uint64_t n, const uint8_t key[LT_SECRET_KEY])
{
	uint8_t nonce[12];

	put_nonce(nonce, n);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(
	    out, NULL, p, bytes, with, with_bytes, NULL, nonce, key);
}

int
lt_secret_open(void *out, const void *p, size_t bytes, const void *with,
    size_t with_bytes, uint64_t n, const uint8_t key[LT_SECRET_KEY])
{
	uint8_t nonce[12];

	put_nonce(nonce, n);
	return crypto_aead_chacha20poly1305_ietf_decrypt(
		   out, NULL, NULL, p, bytes, with, with_bytes, nonce, key) == 0
		   ? LEAT_OK
		   : LEAT_E_CORRUPT;
}

void
lt_secret_text(char out[LT_SECRET_TEXT], const uint8_t key[LT_SECRET_KEY])
{
	(void)sodium_bin2base64(out, LT_SECRET_TEXT, key, LT_SECRET_KEY,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int
lt_secret_parse(uint8_t key[LT_SECRET_KEY], const char *text)
{
	size_t bytes = strlen(text), got;
	const char *end;

	if (bytes != LT_SECRET_TEXT - 1 ||
	    sodium_base642bin(key, LT_SECRET_KEY, text, bytes, NULL, &got, &end,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return LEAT_E_INVALID;
	return got == LT_SECRET_KEY && end == text + bytes ? LEAT_OK
							   : LEAT_E_INVALID;
}
