/*
 * keyfile.h - a pair of keys in a file: made once and never overwritten, read
 * only if nobody else could. A text, of which only one line counts:
 *
 *     # comment lines, which say whose key it is
 *     secret 43 characters, as lt_secret_text() makes them
 */
#ifndef LT_BASE_KEYFILE_H
#define LT_BASE_KEYFILE_H

#include <stddef.h>
#include "base/secret.h"

/* A new pair into a new file, mode 0600, durable on return. Its public half as
 * a text never begins with "-". dir: of a relative path, or AT_FDCWD. why: on
 * failure a line that names the file and the fix. LEAT_E_EXISTS: there is one,
 * and it is as it was; NOTFOUND: no such directory; DENIED, NOSPACE, IO: the
 * disk said so. Then there is no pair. */
int lt_keyfile_make(int dir, const char *path, uint8_t secret[LT_SECRET_KEY],
    uint8_t public[LT_SECRET_KEY], char *why, size_t why_bytes) LT_MUST_CHECK;
/* LEAT_E_NOTFOUND: there is none; DENIED: we may not read it, or others may;
 * CONFIG: no file, or another text; NOMEM, IO. Then there is no pair. */
int lt_keyfile_read(int dir, const char *path, uint8_t secret[LT_SECRET_KEY],
    uint8_t public[LT_SECRET_KEY], char *why, size_t why_bytes) LT_MUST_CHECK;

#endif
