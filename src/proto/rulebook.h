/*
 * rulebook.h - grants, many of them, found by whom they are granted to. Not
 * the rules of a file: these are few and lie in struct lt_options. One thread,
 * or a lock of its owner's.
 *
 * A grant is known by its principal, topic or group, and pattern; there is one
 * of each, with all rights that were added to it.
 */
#ifndef LT_PROTO_RULEBOOK_H
#define LT_PROTO_RULEBOOK_H

#include <stddef.h>
#include "base/check.h"
#include "proto/options.h"

struct lt_rulebook;

/* LEAT_E_NOMEM. */
int lt_rulebook_create(struct lt_rulebook **out) LT_MUST_CHECK;
void lt_rulebook_destroy(struct lt_rulebook *book); /* NULL: nothing */
/* The grant has exactly these rights from now on; 0: it is gone. LEAT_E_LIMIT:
 * LT_GRANTS_MAX are there; LEAT_E_NOMEM. */
int lt_rulebook_set(
    struct lt_rulebook *book, const struct lt_access_rule *rule) LT_MUST_CHECK;
/* The grant with that principal, kind and pattern; NULL: there is none. */
const struct lt_access_rule *lt_rulebook_get(
    const struct lt_rulebook *book, const struct lt_access_rule *like);
size_t lt_rulebook_count(const struct lt_rulebook *book);
/* In order: i < count. */
const struct lt_access_rule *lt_rulebook_at(
    const struct lt_rulebook *book, size_t i);
/* What is granted to exactly this principal (or to a pattern of access keys
 * that it matches); name NULL: of every name. */
unsigned lt_rulebook_rights(const struct lt_rulebook *book,
    const struct lt_principal *who, enum lt_access_what what, const char *name);
/* 1: something is granted to it. */
int lt_rulebook_has(
    const struct lt_rulebook *book, const struct lt_principal *who);
/* The first grant of it that gives that right of the name; NULL: none. */
const struct lt_access_rule *lt_rulebook_find(const struct lt_rulebook *book,
    const struct lt_principal *who, enum lt_access_what what, const char *name,
    unsigned right);

#endif
