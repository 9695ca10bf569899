/*
 * hmac.h - HMAC-SHA1 as Base64 text. Door of this room: no connection and no
 * loop is needed. A struct lt_hmac is plain memory; copy one that holds a key
 * to sign with it:
 *
 *   lt_hmac_init(&key, secret, bytes);          once
 *   struct lt_hmac h = key;                     for each text
 *   lt_hmac_add(&h, p, n);
 *   lt_hmac_text(&h, text);
 *
 * Any thread.
 */
#ifndef LT_NET_HMAC_H
#define LT_NET_HMAC_H

#include <stddef.h>
#include <stdint.h>

#define LT_HMAC_STATE 96
#define LT_HMAC_TEXT 28 /* characters */

struct lt_hmac {
	_Alignas(8) uint8_t inner[LT_HMAC_STATE];
	_Alignas(8) uint8_t outer[LT_HMAC_STATE];
};

void lt_hmac_init(struct lt_hmac *h, const void *secret, size_t bytes);
void lt_hmac_add(struct lt_hmac *h, const void *p, size_t bytes);
/* The signature, NUL-terminated; h is used up. */
void lt_hmac_text(struct lt_hmac *h, char out[LT_HMAC_TEXT + 1]);
/* In the same time wherever they differ. */
int lt_hmac_same(const char a[LT_HMAC_TEXT], const char b[LT_HMAC_TEXT]);

#endif
