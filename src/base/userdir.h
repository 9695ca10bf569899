/*
 * userdir.h - where a user's own files of Leat are: $XDG_CONFIG_HOME/leat, or
 * .config/leat below his home.
 */
#ifndef LT_BASE_USERDIR_H
#define LT_BASE_USERDIR_H

#include <stddef.h>
#include "base/check.h"

/* The path of such a file, or of the directory if name is NULL. LEAT_E_NAME:
 * it is too long; NOTFOUND: neither variable is set. */
int lt_userdir_path(char *out, size_t room, const char *name) LT_MUST_CHECK;

#endif
