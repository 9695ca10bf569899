/*
 * principal.h - who may be granted something: a local user or group, any local
 * peer, an account of remote clients that sign (AK/SK), or a remote peer's
 * static key; and its text. Pure functions but lt_principal_resolve(); any
 * thread.
 *
 *   any                 every local peer
 *   user:NUMBER         a local peer of that user id
 *   os-group:NUMBER     one of that group id, supplementary groups included
 *   ak:NAME             who signs with that access key; in a grant * and ? may
 *                       stand in it as in a pattern
 *   key:PUBLIC          who proved to have the secret half of this X25519 key:
 *                       43 characters of URL-safe base64 without padding
 */
#ifndef LT_PROTO_PRINCIPAL_H
#define LT_PROTO_PRINCIPAL_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_PRINCIPAL_NAME 64 /* field of an access key */
#define LT_PRINCIPAL_KEY_BYTES 32
#define LT_PRINCIPAL_TEXT 72 /* the text, with NUL */

enum lt_principal_kind {
	LT_PRINCIPAL_NONE = 0, /* nobody has said who it is */
	LT_PRINCIPAL_ANY = 1,
	LT_PRINCIPAL_USER = 2, /* id */
	LT_PRINCIPAL_OS_GROUP = 3, /* id */
	LT_PRINCIPAL_AK = 4, /* name */
	LT_PRINCIPAL_KEY = 5 /* key */
};

/* What its kind does not use is 0, so equal ones have equal bytes. */
struct lt_principal {
	uint32_t kind; /* enum lt_principal_kind */
	uint32_t id;
	union {
		char name[LT_PRINCIPAL_NAME];
		uint8_t key[LT_PRINCIPAL_KEY_BYTES];
	};
};
_Static_assert(sizeof(struct lt_principal) == 72, "principal");

struct lt_principal lt_principal_local(
    enum lt_principal_kind kind, uint32_t id);
/* name: at most LT_PRINCIPAL_NAME - 1 bytes count. */
struct lt_principal lt_principal_ak(const char *name);
struct lt_principal lt_principal_key(const uint8_t key[LT_PRINCIPAL_KEY_BYTES]);
/* As above, with numbers. LEAT_E_INVALID: why_out is one line, with the fix. */
int lt_principal_parse(struct lt_principal *out, const char *text,
    char *why_out, size_t why_bytes) LT_MUST_CHECK;
/* What lt_principal_parse() reads; "-" for none. */
void lt_principal_print(
    const struct lt_principal *p, char out[LT_PRINCIPAL_TEXT]);
/* user:NAME and os-group:NAME become numbers by this host's databases; all
 * else is copied. LEAT_E_NOTFOUND: nobody here has that name; LEAT_E_INVALID:
 * too long. */
int lt_principal_resolve(
    const char *text, char *out, size_t out_bytes) LT_MUST_CHECK;
/* 1: it was proven to another host, or by another host. */
static inline int
lt_principal_is_remote(const struct lt_principal *p)
{
	return p->kind == LT_PRINCIPAL_AK || p->kind == LT_PRINCIPAL_KEY;
}
/* A name of an access key that stands for several. */
int lt_principal_is_pattern(const struct lt_principal *p);
/* Is what is granted to `granted` granted to who? */
int lt_principal_match(
    const struct lt_principal *granted, const struct lt_principal *who);
/* An order: those of a kind lie together, patterns behind the others. */
int lt_principal_compare(
    const struct lt_principal *a, const struct lt_principal *b);

#endif
