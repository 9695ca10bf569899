/* secret.c - the door to libsodium; no other file includes its header. */
#include "config.h"
#include "base/secret.h"

#include <sodium.h>

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
