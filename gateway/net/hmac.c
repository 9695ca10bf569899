/*
 * hmac.c - the door to OpenSSL's SHA-1 for HMAC-SHA1 (RFC 2104), the signature
 * of RocketMQ's clients. A key is hashed once: what is kept are the two states
 * behind its padded blocks, and a signature is copies of them. The low-level
 * calls are used because their state is plain memory: nothing is allocated.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "config.h"
#include "net/hmac.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

_Static_assert(sizeof(SHA_CTX) <= LT_HMAC_STATE, "a state fits");
_Static_assert(_Alignof(SHA_CTX) <= 8, "and lies well");
_Static_assert(4 * ((SHA_DIGEST_LENGTH + 2) / 3) == LT_HMAC_TEXT, "in Base64");

static void
start(uint8_t *state, const uint8_t block[SHA_CBLOCK], uint8_t pad)
{
	uint8_t padded[SHA_CBLOCK];

	for (size_t i = 0; i < sizeof padded; i++)
		padded[i] = block[i] ^ pad;
	SHA1_Init((SHA_CTX *)(void *)state);
	SHA1_Update((SHA_CTX *)(void *)state, padded, sizeof padded);
	OPENSSL_cleanse(padded, sizeof padded);
}

void
lt_hmac_init(struct lt_hmac *h, const void *secret, size_t bytes)
{
	uint8_t block[SHA_CBLOCK] = {0};

	if (bytes > sizeof block)
		SHA1(secret, bytes, block);
	else if (bytes > 0)
		memcpy(block, secret, bytes);
	start(h->inner, block, 0x36);
	start(h->outer, block, 0x5c);
	OPENSSL_cleanse(block, sizeof block);
}

void
lt_hmac_add(struct lt_hmac *h, const void *p, size_t bytes)
{
	if (bytes > 0)
		SHA1_Update((SHA_CTX *)(void *)h->inner, p, bytes);
}

void
lt_hmac_text(struct lt_hmac *h, char out[LT_HMAC_TEXT + 1])
{
	uint8_t digest[SHA_DIGEST_LENGTH];

	SHA1_Final(digest, (SHA_CTX *)(void *)h->inner);
	SHA1_Update((SHA_CTX *)(void *)h->outer, digest, sizeof digest);
	SHA1_Final(digest, (SHA_CTX *)(void *)h->outer);
	EVP_EncodeBlock((uint8_t *)out, digest, sizeof digest);
}

int
lt_hmac_same(const char a[LT_HMAC_TEXT], const char b[LT_HMAC_TEXT])
{
	return CRYPTO_memcmp(a, b, LT_HMAC_TEXT) == 0;
}
