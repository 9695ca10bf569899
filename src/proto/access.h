/*
 * access.h - one rule: a line of [access], a grant of the log; read, written,
 * and held against a name.
 */
#ifndef LT_PROTO_ACCESS_H
#define LT_PROTO_ACCESS_H

#include <stddef.h>
#include "proto/options.h"

#define LT_ACCESS_RIGHTS_TEXT 40 /* all four, with NUL */

/* Append the rule that value describes: names of users and groups are looked
 * up. 0, or -1 with err->text filled. */
int lt_access_add(struct lt_options *o, const char *value,
    struct lt_ini_error *err) LT_MUST_CHECK;
/* "allow = ..." as lt_access_add reads it; ids as numbers. */
void lt_access_line(
    const struct lt_access_rule *rule, char *line, size_t line_bytes);
/* A rule from its parts; who with numbers. rights may be 0. LEAT_E_INVALID:
 * why_out is one line, with the fix. */
int lt_access_make(struct lt_access_rule *out, const char *who,
    enum lt_access_what what, const char *pattern, unsigned rights,
    char *why_out, size_t why_bytes) LT_MUST_CHECK;
/* "topic" and "group"; 0: another word. */
enum lt_access_what lt_access_what(const char *word);
const char *lt_access_what_text(unsigned what);
/* "publish,trace"; LEAT_E_INVALID: bad_out is the word that is no right, or
 * empty if there is none at all. */
int lt_access_rights(
    const char *list, unsigned *out, char bad_out[64]) LT_MUST_CHECK;
void lt_access_rights_text(unsigned rights, char out[LT_ACCESS_RIGHTS_TEXT]);
/* What the rule gives of a name; NULL: of every name of that kind. */
unsigned lt_access_gives(const struct lt_access_rule *rule,
    const struct lt_principal *who, enum lt_access_what what, const char *name);

#endif
