/*
 * bucket.h - how often may one address come: a bucket of tokens for each of the
 * addresses that came last. A table of fixed size: where an address finds no
 * place, the one that was seen longest ago goes, and comes back with a full
 * bucket. Any thread.
 */
#ifndef LT_NET_BUCKET_H
#define LT_NET_BUCKET_H

#include <stdint.h>
#include "base/check.h"

#define LT_BUCKET_SOURCES 4096

struct lt_bucket_table;

/* A bucket holds `burst` and gets `rate` a second. LEAT_E_NOMEM. */
int lt_bucket_create(
    uint32_t rate, uint32_t burst, struct lt_bucket_table **out) LT_MUST_CHECK;
void lt_bucket_destroy(struct lt_bucket_table *t);
/* 1: one token was there, and is gone. */
int lt_bucket_take(
    struct lt_bucket_table *t, uint32_t ip, uint64_t now_ms) LT_MUST_CHECK;

#endif
