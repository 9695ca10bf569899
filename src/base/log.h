/*
 * log.h - one logfmt line per state change on standard error:
 *   time level process event key=value ...
 * Never per message, never payloads or secrets. Event text is constant.
 * With JOURNAL_STREAM set lines start with the journald priority <N>.
 */
#ifndef LT_BASE_LOG_H
#define LT_BASE_LOG_H

#include "base/check.h"

enum lt_log_level {
	LT_LOG_ERROR,
	LT_LOG_WARN,
	LT_LOG_INFO,
	LT_LOG_DEBUG
};

/* Name of this process in every line; borrowed for ever (a literal). */
void lt_log_init(const char *process, enum lt_log_level max_level);
void lt_log_set_level(enum lt_log_level max_level);
/* error|warn|info|debug to level; -1 if none of them. */
int lt_log_parse_level(const char *text);
/* fmt makes the "key=value ..." tail and may be "". */
void lt_log_write(enum lt_log_level level, const char *event, const char *fmt,
    ...) LT_PRINTF(3, 4);

#define lt_log_error(...) lt_log_write(LT_LOG_ERROR, __VA_ARGS__)
#define lt_log_warn(...) lt_log_write(LT_LOG_WARN, __VA_ARGS__)
#define lt_log_info(...) lt_log_write(LT_LOG_INFO, __VA_ARGS__)
#define lt_log_debug(...) lt_log_write(LT_LOG_DEBUG, __VA_ARGS__)

#endif
