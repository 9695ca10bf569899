/*
 * ini.h - the door to inih. Reads a whole file into memory and hands over
 * entries in order; nothing is handed over if any line is illegal, so callers
 * may apply at once. Illegal: a line longer than inih's buffer (INI_MAX_LINE
 * 200), a line inih cannot parse.
 */
#ifndef LT_BASE_INI_H
#define LT_BASE_INI_H

#include "base/check.h"

struct lt_ini_error {
	int line; /* 0: the file itself */
	char text[256]; /* one line that names the fix */
};

/* each: 0 to go on; otherwise it has filled err->text (err->line is set by
 * the reader). Returns LEAT_OK, LEAT_E_CONFIG, LEAT_E_NOTFOUND, LEAT_E_DENIED.
 */
int lt_ini_read(const char *path,
    int (*each)(void *user, int line, const char *section, const char *name,
	const char *value, struct lt_ini_error *err),
    void *user, struct lt_ini_error *err) LT_MUST_CHECK;

#endif
