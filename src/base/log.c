/*
 * log.c - one line, one write(2): lines of several processes on one standard
 * error never mix. Bytes that could forge a line are replaced.
 */
#include "config.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 2048

static const char *const names[] = {"error", "warn", "info", "debug"};
static const int priorities[] = {3, 4, 6, 7};

static const char *self = "leat";
static enum lt_log_level limit = LT_LOG_INFO;
static int journal;

void
lt_log_init(const char *process, enum lt_log_level max_level)
{
	self = process;
	limit = max_level;
	journal = getenv("JOURNAL_STREAM") != NULL;
}

void
lt_log_set_level(enum lt_log_level max_level)
{
	limit = max_level;
}

int
lt_log_parse_level(const char *text)
{
	for (int i = 0; i < (int)LT_COUNT(names); i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	return -1;
}

/* Length of what snprintf left in room bytes. */
static size_t
kept(int printed, size_t room)
{
	if (printed < 0)
		return 0;
	return (size_t)printed < room ? (size_t)printed : room - 1;
}

static size_t
head(char *line, size_t room, enum lt_log_level level, const char *event)
{
	int64_t ms = lt_clock_wall_ms();
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char stamp[32];
	char prefix[8] = "";

	gmtime_r(&seconds, &tm);
	if (strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		stamp[0] = 0;
	if (journal)
		snprintf(prefix, sizeof prefix, "<%d>", priorities[level]);
	int n = snprintf(line, room, "%s%s.%03dZ %s %s %s", prefix, stamp,
	    (int)(ms % 1000), names[level], self, event);
	return kept(n, room);
}

void
lt_log_write(enum lt_log_level level, const char *event, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	int saved = errno;

	if (level > limit)
		return;
	size_t room = sizeof line - 1; /* the newline's */
	size_t n = head(line, room, level, event);
	if (fmt[0] != 0 && n + 2 < room) {
		va_list ap;
		line[n++] = ' ';
		va_start(ap, fmt);
		n += kept(vsnprintf(line + n, room - n, fmt, ap), room - n);
		va_end(ap);
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[n++] = '\n';
	/* Nobody can be told that telling failed. */
	ssize_t wrote = write(STDERR_FILENO, line, n);
	(void)wrote;
	errno = saved;
}
