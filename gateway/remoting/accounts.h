/*
 * accounts.h - who may sign: access keys and what their secrets make of a
 * text. Read once, before the sandbox; then any thread.
 *
 * The file has lines "ACCESSKEY SECRETKEY"; empty lines and lines that begin
 * with # are comments. An access key has 1 to 63 printable characters without
 * blanks, * and ?; a secret 1 to 255 bytes without blanks. Who is not the
 * file's owner or of its group may not read it, and only its owner write it.
 */
#ifndef LT_REMOTING_ACCOUNTS_H
#define LT_REMOTING_ACCOUNTS_H

#include <stddef.h>
#include "base/check.h"
#include "net/hmac.h"
#include "proto/options.h"
#include "proto/remoting.h"

#define LT_ACCOUNTS_MAX 4096

struct lt_account {
	char key[LT_PRINCIPAL_NAME];
	struct lt_hmac hmac; /* holds the secret, as a key */
};
struct lt_accounts;

/* LEAT_OK; LEAT_E_CONFIG, LEAT_E_NOMEM: why_out says what to do. No secret is
 * ever in it, or kept. */
int lt_accounts_read(const char *path, struct lt_accounts **out, char *why_out,
    size_t why_bytes) LT_MUST_CHECK;
void lt_accounts_free(struct lt_accounts *accounts);
size_t lt_accounts_count(const struct lt_accounts *accounts);
/* NULL: there is none. */
const struct lt_account *lt_accounts_find(
    const struct lt_accounts *accounts, struct lt_remoting_text key);

#endif
