/*
 * auditline.h - the body of a record of the audit topic: one line of logfmt,
 * always these keys in this order. Pure functions; any thread.
 *
 *   time=2026-01-31T10:20:30.123Z by=queue principal=user:1000 peer=pid:4711
 *       act=topic-delete object=topic:orders outcome=denied
 *
 * A value with anything in it but printable ASCII without blank, ", = and \ is
 * quoted; in quotes ", \ and what is not printable ASCII are \xHH.
 */
#ifndef LT_PROTO_AUDITLINE_H
#define LT_PROTO_AUDITLINE_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_AUDITLINE_MAX 1024 /* bytes, with NUL */
/* Refusals in a second that have a record each; then one counts the others. */
#define LT_AUDITLINE_PER_S 1000

struct lt_auditline { /* texts borrowed; NULL and "" are written as "-" */
	int64_t time_ms; /* wall clock */
	const char *by; /* "queue" or "gateway": who saw to it */
	const char *principal; /* lt_principal_print()'s */
	const char *peer; /* pid:N, or an address */
	const char *act; /* an operation of ops.def, or a request code's name */
	const char *object; /* topic:NAME, group:NAME... */
	const char *outcome; /* ok, denied, or why else it was not done */
};

/* Bytes written, without the NUL. What is too long is cut short: a value at
 * 320 bytes. */
size_t lt_auditline_make(
    char out[LT_AUDITLINE_MAX], const struct lt_auditline *line);
/* 1: one line, as above, whatever it says. */
int lt_auditline_is_sound(const char *text);

#endif
