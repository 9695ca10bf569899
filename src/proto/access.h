/*
 * access.h - one line of [access] to a rule and back. For options.c; what
 * others need is in options.h.
 */
#ifndef LT_PROTO_ACCESS_H
#define LT_PROTO_ACCESS_H

#include <stddef.h>
#include "proto/options.h"

/* Append the rule that value describes. 0, or -1 with err->text filled. */
int lt_access_add(struct lt_options *o, const char *value,
    struct lt_ini_error *err) LT_MUST_CHECK;
/* "allow = ..." as lt_access_add reads it; ids as numbers. */
void lt_access_line(
    const struct lt_access_rule *rule, char *line, size_t line_bytes);

#endif
