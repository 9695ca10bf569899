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

#endif
