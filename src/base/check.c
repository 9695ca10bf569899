/* check.c - where a failed assertion ends: one line, then abort. */
#include "config.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

LT_NORETURN void
lt_check_fail(const char *expr, const char *file, int line, const char *func)
{
	char text[512];
	int n = snprintf(text, sizeof text,
	    "assertion failed: %s (%s:%d, %s), process %d\n", expr, file, line,
	    func, (int)getpid());

	if (n > (int)sizeof text - 1)
		n = (int)sizeof text - 1;
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		abort();
	abort();
}
