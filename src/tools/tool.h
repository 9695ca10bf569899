/*
 * tool.h - what the files of the command-line tool share: one invocation, its
 * option reader, errors and exit status, values and their output, formats.
 * One process, one thread.
 */
#ifndef LT_TOOLS_TOOL_H
#define LT_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <leat/leat.h>
#include "base/check.h"

struct json_t;

/* --- the invocation (leat.c) --- */
enum lt_tool_command {
#define COMMAND(sym, noun, verb, args, least, most, text) LT_TOOL_##sym,
#include "tools/commands.def"
	LT_TOOL_COMMANDS
};

struct lt_tool {
	enum lt_tool_command command;
	const char *name; /* "topic create", for messages */
	const char *socket; /* NULL: LEAT_SOCKET or the library's default */
	const char *server; /* NULL: LEAT_SERVER, or none */
	const char *key; /* NULL: LEAT_KEY, or the library's default */
	bool json;
	bool color;
	bool progress; /* standard error is a terminal */
	int timeout_ms; /* for one call */
	struct leat *leat;
	const char *arg; /* of the option last read */
	const char *option; /* its name */
	const char *operands[4]; /* NULL beyond the last */
	void *getopt; /* tables of lt_tool_next() */
	int argc;
	char **argv;
};

#define COMMAND(sym, noun, verb, args, least, most, text)                      \
	int lt_tool_##sym(struct lt_tool *t);
#include "tools/commands.def"

/* Next option of the command: its key, 0 after the last (operands are then
 * there), or a negative status that was reported already. */
int lt_tool_next(struct lt_tool *t) LT_MUST_CHECK;
/* What to connect to; name and time-out are left to the caller. Reports what is
 * wrong with the saved contexts. */
int lt_tool_target(struct lt_tool *t, struct leat_options *out) LT_MUST_CHECK;
/* context.c: server and key of the current context if no broker is named. */
int lt_tool_context(struct lt_tool *t) LT_MUST_CHECK;
/* key.c: the user's directory is there afterwards. */
int lt_tool_make_userdir(void) LT_MUST_CHECK;
/* Connect t->leat once; reports a failure. */
int lt_tool_connect(struct lt_tool *t) LT_MUST_CHECK;
/* One line on standard error: "leat: WHAT: reason; fix". Returns status. */
int lt_tool_fail(struct lt_tool *t, int status, const char *fmt, ...)
    LT_PRINTF(3, 4);
/* What to do about a status; NULL if its text says it all. */
const char *lt_tool_fix(int status);
/* As lt_tool_fail() with a reason of our own in place of the status's. */
int lt_tool_complain(int status, const char *fmt, ...) LT_PRINTF(2, 3);
/* The one place where a status becomes an exit status. */
int lt_tool_exit_status(int status);
/* Ask on the terminal; 1: yes, or --yes, or nobody to ask. */
int lt_tool_confirm(bool yes, const char *question, const char *name);
/* Set by SIGINT and SIGTERM once lt_tool_catch() was called. */
extern volatile int lt_tool_stopped;
void lt_tool_catch(void);

/* --- words to values (text.c); each reports what is wrong and gives
 * LEAT_E_INVALID. `what` names the option --- */
int lt_tool_number(struct lt_tool *t, uint64_t least, uint64_t most,
    uint64_t *out) LT_MUST_CHECK;
int lt_tool_level(struct lt_tool *t, enum leat_level *out) LT_MUST_CHECK;
const char *lt_tool_level_text(enum leat_level level);
int lt_tool_perm(struct lt_tool *t, uint32_t *out) LT_MUST_CHECK;
const char *lt_tool_perm_text(uint32_t perm);
int lt_tool_where(
    struct lt_tool *t, enum leat_from *from, int64_t *value) LT_MUST_CHECK;
/* Undo \n \t \r \0 \\ \xHH. out has room for strlen(in) + 1. */
int lt_tool_unescape(
    const char *in, char *out, size_t *bytes_out) LT_MUST_CHECK;
/* Is it a legal name? NAME, having named the rule. */
int lt_tool_check_topic(const char *name) LT_MUST_CHECK;
int lt_tool_check_group(const char *name) LT_MUST_CHECK;
/* "2026-01-31 10:20:30.123" in local time; buf of 32. "-" for 0. */
const char *lt_tool_time_text(int64_t ms, char *buf);
/* Base 64. Encoding: out has room for bytes * 4 / 3 + 4. Decoding: in place of
 * out, at most strlen(in). -1 if it is not base 64. */
size_t lt_tool_base64(const void *in, size_t bytes, char *out);
int64_t lt_tool_unbase64(const char *in, size_t bytes, void *out);

/* --- values and their output (output.c, the only user of jansson) --- */
struct json_t *lt_output_object(void);
struct json_t *lt_output_list(void);
void lt_output_text(struct json_t *o, const char *name, const char *value);
void lt_output_int(struct json_t *o, const char *name, int64_t value);
void lt_output_real(struct json_t *o, const char *name, double value);
void lt_output_bool(struct json_t *o, const char *name, bool value);
/* Put value (taken) into an object, or at the end of a list. */
void lt_output_put(struct json_t *o, const char *name, struct json_t *value);
void lt_output_add(struct json_t *list, struct json_t *value);
size_t lt_output_count(const struct json_t *list);
int64_t lt_output_get_int(const struct json_t *o, const char *name);
const char *lt_output_get_text(const struct json_t *o, const char *name);

enum lt_output_kind {
	LT_OUT_PLAIN,
	LT_OUT_TIME,
	LT_OUT_BYTES,
	LT_OUT_MS
};
struct lt_output_column {
	const char *name; /* member of the object */
	const char *title; /* heading, or label */
	enum lt_output_kind kind;
};
/* Print: aligned table of a list, "label  value" lines of an object. */
void lt_output_table(const struct lt_tool *t, const struct json_t *list,
    const struct lt_output_column *columns, size_t count);
void lt_output_fields(const struct lt_tool *t, const struct json_t *o,
    const struct lt_output_column *columns, size_t count);
/* Print as JSON, then a newline. */
void lt_output_json(const struct json_t *value);
void lt_output_free(struct json_t *value);
/* A delivery as an object; the body only if asked for. */
struct json_t *lt_output_delivery(const struct leat_delivery *d, bool body);
/* Flush standard output; reports and gives IO if it was not all written. */
int lt_output_finish(void) LT_MUST_CHECK;

/* One line of --jsonl. Fills *m from it, over what *m has; what m points to is
 * lent until lt_output_message_free(). why: one line on INVALID. */
struct lt_output_message {
	struct json_t *root;
	struct leat_property *properties;
	char *keys;
	void *body;
};
int lt_output_message(const char *line, size_t bytes, struct leat_message *m,
    struct lt_output_message *owned, const char **why) LT_MUST_CHECK;
void lt_output_message_free(struct lt_output_message *owned);

/* --- message formats (format.c) --- */
struct lt_format;
/* FORMAT as in leat(1); reports what is wrong. */
int lt_format_make(const char *text, struct lt_format **out) LT_MUST_CHECK;
void lt_format_free(struct lt_format *f);
/* To standard output. */
void lt_format_print(const struct lt_format *f, const struct leat_delivery *d);

/* --- separated input (lines.c) --- */
struct lt_lines;
int lt_lines_open(int fd, const char *delim, size_t delim_bytes,
    size_t max_bytes, struct lt_lines **out) LT_MUST_CHECK;
void lt_lines_close(struct lt_lines *l);
/* Next piece without its separator, lent until the next call; the last may lack
 * one. END, TOOBIG, IO; AGAIN: a read would wait (only if !wait). */
int lt_lines_next(struct lt_lines *l, bool wait, const char **piece,
    size_t *bytes) LT_MUST_CHECK;

#endif
