/*
 * signature.h - is a request signed, and by whom; and requests of ours. No
 * state; any thread.
 */
#ifndef LT_REMOTING_SIGNATURE_H
#define LT_REMOTING_SIGNATURE_H

#include "base/check.h"
#include "remoting/accounts.h"
#include "remoting/call.h"

/* LEAT_OK, with the account; LEAT_E_NOTFOUND: nobody signed (no AccessKey, or
 * an empty one); LEAT_E_DENIED: no such account, or not its signature. */
int lt_signature_check(const struct lt_accounts *accounts,
    const struct lt_remoting *h, const void *body, size_t body_bytes,
    const struct lt_account **out) LT_MUST_CHECK;
/* The frame in the buffer, whole and without a signature, becomes the same with
 * that account's. LEAT_OK, LEAT_E_NOMEM, LEAT_E_TOOBIG, LEAT_E_CORRUPT: then
 * the buffer is as it was, or empty. */
int lt_signature_add(
    const struct lt_account *account, struct lt_buffer *frame) LT_MUST_CHECK;

#endif
