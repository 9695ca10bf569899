/* principal.c - one principal: parsed, printed, compared, matched. */
#include "config.h"
#include "proto/principal.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "leat/status.h"
#include "proto/name.h"

_Static_assert(LT_PRINCIPAL_KEY_BYTES == LT_SECRET_KEY, "key");
_Static_assert(sizeof "ak:" + LT_PRINCIPAL_NAME <= LT_PRINCIPAL_TEXT, "text");

#define USER "user:"
#define OS_GROUP "os-group:"
#define AK "ak:"
#define KEY "key:"

/* What is behind the prefix, or NULL. */
static const char *
behind(const char *text, const char *prefix)
{
	size_t bytes = strlen(prefix);

	return strncmp(text, prefix, bytes) == 0 ? text + bytes : NULL;
}

struct lt_principal
lt_principal_local(enum lt_principal_kind kind, uint32_t id)
{
	return (struct lt_principal){.kind = kind, .id = id};
}

struct lt_principal
lt_principal_ak(const char *name)
{
	struct lt_principal p = {.kind = LT_PRINCIPAL_AK};

	memcpy(p.name, name, strnlen(name, sizeof p.name - 1));
	return p;
}

struct lt_principal
lt_principal_key(const uint8_t key[LT_PRINCIPAL_KEY_BYTES])
{
	struct lt_principal p = {.kind = LT_PRINCIPAL_KEY};

	memcpy(p.key, key, sizeof p.key);
	return p;
}

/* --- texts -------------------------------------------------------------------
 */

LT_PRINTF(3, 4)
static int
wrong(char *why, size_t bytes, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, bytes, fmt, ap);
	va_end(ap);
	return LEAT_E_INVALID;
}

static int
parse_id(const char *text, uint32_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || v >= UINT32_MAX)
		return -1;
	*out = (uint32_t)v;
	return 0;
}

/* Printable, nothing that ends a word or a text. */
static int
is_access_key(const char *name)
{
	size_t bytes = strlen(name);

	if (bytes == 0 || bytes >= LT_PRINCIPAL_NAME)
		return 0;
	for (size_t i = 0; i < bytes; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '"' ||
		    name[i] == '\\')
			return 0;
	return 1;
}

int
lt_principal_parse(
    struct lt_principal *out, const char *text, char *why_out, size_t why_bytes)
{
	const char *rest;

	memset(out, 0, sizeof *out);
	if (strcmp(text, "any") == 0) {
		out->kind = LT_PRINCIPAL_ANY;
	} else if ((rest = behind(text, USER)) != NULL ||
		   (rest = behind(text, OS_GROUP)) != NULL) {
		out->kind =
		    text[0] == 'u' ? LT_PRINCIPAL_USER : LT_PRINCIPAL_OS_GROUP;
		if (parse_id(rest, &out->id) != 0)
			return wrong(why_out, why_bytes,
			    "no %s \"%s\" here: make it or write a number",
			    text[0] == 'u' ? "user" : "group", rest);
	} else if ((rest = behind(text, AK)) != NULL) {
		if (!is_access_key(rest))
			return wrong(why_out, why_bytes,
			    "an access key has 1 to %d printable characters, "
			    "none of them \" \\",
			    LT_PRINCIPAL_NAME - 1);
		*out = lt_principal_ak(rest);
	} else if ((rest = behind(text, KEY)) != NULL) {
		out->kind = LT_PRINCIPAL_KEY;
		if (lt_secret_parse(out->key, rest) != LEAT_OK)
			return wrong(why_out, why_bytes,
			    "\"%s\" is no public key: write the 43 characters "
			    "that `leat key show` prints (an access key is "
			    "ak:NAME)",
			    rest);
	} else {
		return wrong(why_out, why_bytes,
		    "\"%s\" is nobody: write user:NAME, os-group:NAME, any, "
		    "ak:NAME or key:PUBLIC",
		    text);
	}
	return LEAT_OK;
}

void
lt_principal_print(const struct lt_principal *p, char out[LT_PRINCIPAL_TEXT])
{
	char text[LT_SECRET_TEXT];

	switch (p->kind) {
	case LT_PRINCIPAL_ANY:
		snprintf(out, LT_PRINCIPAL_TEXT, "any");
		break;
	case LT_PRINCIPAL_USER:
	case LT_PRINCIPAL_OS_GROUP:
		snprintf(out, LT_PRINCIPAL_TEXT, "%s%u",
		    p->kind == LT_PRINCIPAL_USER ? USER : OS_GROUP, p->id);
		break;
	case LT_PRINCIPAL_AK:
		snprintf(out, LT_PRINCIPAL_TEXT, AK "%.*s",
		    LT_PRINCIPAL_NAME - 1, p->name);
		break;
	case LT_PRINCIPAL_KEY:
		lt_secret_text(text, p->key);
		snprintf(out, LT_PRINCIPAL_TEXT, KEY "%s", text);
		break;
	default:
		snprintf(out, LT_PRINCIPAL_TEXT, "-");
	}
}

int
lt_principal_resolve(const char *text, char *out, size_t out_bytes)
{
	const char *user = behind(text, USER), *group = behind(text, OS_GROUP);
	const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;
	const struct group *gr = group != NULL ? getgrnam(group) : NULL;
	uint32_t id;
	int n;

	if (pw != NULL)
		n = snprintf(out, out_bytes, USER "%u", pw->pw_uid);
	else if (gr != NULL)
		n = snprintf(out, out_bytes, OS_GROUP "%u", gr->gr_gid);
	else if ((user != NULL && parse_id(user, &id) != 0) ||
		 (group != NULL && parse_id(group, &id) != 0))
		return LEAT_E_NOTFOUND;
	else
		n = snprintf(out, out_bytes, "%s", text);
	return n < 0 || (size_t)n >= out_bytes ? LEAT_E_INVALID : LEAT_OK;
}

/* --- which is meant ----------------------------------------------------------
 */

int
lt_principal_is_pattern(const struct lt_principal *p)
{
	return p->kind == LT_PRINCIPAL_AK && strpbrk(p->name, "*?") != NULL;
}

int
lt_principal_match(
    const struct lt_principal *granted, const struct lt_principal *who)
{
	if (granted->kind != who->kind || granted->kind == LT_PRINCIPAL_NONE)
		return 0;
	if (granted->kind == LT_PRINCIPAL_AK)
		return lt_name_match(granted->name, who->name);
	return memcmp(granted, who, sizeof *granted) == 0;
}

int
lt_principal_compare(const struct lt_principal *a, const struct lt_principal *b)
{
	int x = lt_principal_is_pattern(a), y = lt_principal_is_pattern(b);

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (x != y)
		return x - y;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return memcmp(a->name, b->name, sizeof a->name);
}
