/* userdir.c - by the environment alone; nothing is looked at or made. */
#include "config.h"
#include "base/userdir.h"

#include <stdio.h>
#include <stdlib.h>

#include "leat/status.h"

int
lt_userdir_path(char *out, size_t room, const char *name)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *below = "";
	int n;

	/* By the specification a relative one counts as unset. */
	if (base == NULL || base[0] != '/') {
		base = getenv("HOME");
		below = "/.config";
	}
	if (base == NULL || base[0] == '\0')
		return LEAT_E_NOTFOUND;
	n = snprintf(out, room, "%s%s/leat%s%s", base, below,
	    name == NULL ? "" : "/", name == NULL ? "" : name);
	return n < 0 || (size_t)n >= room ? LEAT_E_NAME : LEAT_OK;
}
