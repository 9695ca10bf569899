/*
 * vault.h - memory for secrets: locked, not in core dumps, wiped when it is
 * given back. Pieces of one size, made of slabs that stay until the end. Any
 * thread.
 *
 * Where no more memory may be locked (RLIMIT_MEMLOCK) that is said once, and
 * the pieces are as good otherwise.
 */
#ifndef LT_NET_VAULT_H
#define LT_NET_VAULT_H

#include <stddef.h>
#include "base/check.h"

struct lt_vault;

/* LEAT_E_NOMEM. */
int lt_vault_create(size_t piece_bytes, struct lt_vault **out) LT_MUST_CHECK;
void lt_vault_destroy(struct lt_vault *v); /* wiped, given back or not */
void *lt_vault_get(struct lt_vault *v); /* zeros; NULL: no memory */
void lt_vault_put(struct lt_vault *v, void *piece);
size_t lt_vault_used(struct lt_vault *v); /* pieces that are out */

#endif
