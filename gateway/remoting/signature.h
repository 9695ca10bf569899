/*
 * signature.h - is a request signed, and by whom. No state; any thread.
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

#endif
