/* secret.h - the door to libsodium. Call lt_secret_init once per process. */
#ifndef LT_BASE_SECRET_H
#define LT_BASE_SECRET_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

int lt_secret_init(void) LT_MUST_CHECK;
void lt_secret_random(void *out, size_t bytes);
/* Keyed BLAKE2b, 16 bytes out; key_bytes 16..64. */
void lt_secret_mac(uint8_t out[16], const void *key, size_t key_bytes,
    const void *data, size_t bytes);
/* 1 if equal, in constant time. */
int lt_secret_equal(const void *a, const void *b, size_t bytes);
void lt_secret_wipe(void *p, size_t bytes);
/* Keep it out of swap and core dumps, and wiped when it is unlocked. 0; -1: the
 * limit of locked memory is reached (RLIMIT_MEMLOCK). */
int lt_secret_lock(void *p, size_t bytes) LT_MUST_CHECK;
void lt_secret_unlock(void *p, size_t bytes);

/* --- X25519, ChaCha20-Poly1305, SHA-512 ------------------------------------
 */

#define LT_SECRET_KEY 32
#define LT_SECRET_TAG 16
#define LT_SECRET_HASH 64
#define LT_SECRET_TEXT 44 /* a key as text, with NUL */

/* A new pair of keys. */
void lt_secret_pair(
    uint8_t secret[LT_SECRET_KEY], uint8_t public[LT_SECRET_KEY]);
void lt_secret_public(
    uint8_t public[LT_SECRET_KEY], const uint8_t secret[LT_SECRET_KEY]);
/* LEAT_E_CORRUPT: a public key of small order. */
int lt_secret_shared(uint8_t out[LT_SECRET_KEY],
    const uint8_t secret[LT_SECRET_KEY],
    const uint8_t public[LT_SECRET_KEY]) LT_MUST_CHECK;
/* Of two texts, one behind the other; out may be one of them. */
void lt_secret_hash(uint8_t out[LT_SECRET_HASH], const void *a, size_t a_bytes,
    const void *b, size_t b_bytes);
/* HMAC of the same. */
void lt_secret_hmac(uint8_t out[LT_SECRET_HASH],
    const uint8_t key[LT_SECRET_HASH], const void *a, size_t a_bytes,
    const void *b, size_t b_bytes);
/* out: bytes and LT_SECRET_TAG; may be p. Nonce: four zeros, n little-endian.
 */
void lt_secret_seal(void *out, const void *p, size_t bytes, const void *with,
    size_t with_bytes, uint64_t n, const uint8_t key[LT_SECRET_KEY]);
/* bytes: with the tag; out: without, may be p. LEAT_E_CORRUPT: not what was
 * sealed; out is then of no use. */
int lt_secret_open(void *out, const void *p, size_t bytes, const void *with,
    size_t with_bytes, uint64_t n,
    const uint8_t key[LT_SECRET_KEY]) LT_MUST_CHECK;
/* A key in 43 characters: base64 of the URL-safe kind, without padding. */
void lt_secret_text(char out[LT_SECRET_TEXT], const uint8_t key[LT_SECRET_KEY]);
/* The whole of text. LEAT_E_INVALID. Constant time. */
int lt_secret_parse(uint8_t key[LT_SECRET_KEY], const char *text) LT_MUST_CHECK;

#endif
