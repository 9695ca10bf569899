/*
 * options.h - all settings of a broker as one flat struct, expanded from
 * options.def. The supervisor parses; children receive the struct's bytes over
 * their control socket (LT_OP_SUP_START, LT_OP_SUP_OPTIONS), so all processes
 * agree. No I/O here but lt_options_load (through base/ini).
 */
#ifndef LT_PROTO_OPTIONS_H
#define LT_PROTO_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "base/ini.h"
#include "proto/limits.h"
#include "proto/principal.h"

#define LT_OPTIONS_VERSION 3
#define LT_OPTIONS_KEY_FILE "broker.key" /* in DIR, and its public half: */
#define LT_OPTIONS_PUBLIC_FILE "broker.pub"
#define LT_ACCESS_MAX 64
#define LT_ACCESS_PATTERN 128 /* field of a pattern */

/* Rights, in access rules and grants. */
enum lt_right {
	LT_RIGHT_PUBLISH = 1,
	LT_RIGHT_SUBSCRIBE = 2,
	LT_RIGHT_MANAGE = 4,
	LT_RIGHT_TRACE = 8
};
enum lt_access_what {
	LT_ACCESS_TOPIC = 1,
	LT_ACCESS_GROUP = 2
};

/*
 * [access] in the file, any number of lines:
 *   allow = PRINCIPAL topic|group PATTERN RIGHT[,RIGHT...]
 * The broker's own user and root may do everything. With no line, and no grant
 * in the log, nobody else may connect. Remote principals have what rules give
 * them, and nothing else.
 */
struct lt_access_rule {
	struct lt_principal who;
	uint16_t what; /* enum lt_access_what */
	uint16_t rights; /* a mask of enum lt_right */
	char pattern[LT_ACCESS_PATTERN];
};

struct lt_options {
	uint32_t version;
	uint32_t bytes; /* sizeof(struct lt_options) */
#define NUM(section, name, def, min, max, unit, reload, text)                  \
	uint64_t section##_##name;
#define STR(section, name, def, field, reload, text)                           \
	char section##_##name[field];
#define ENUM(section, name, def, values, reload, text)                         \
	uint64_t section##_##name;
#include "proto/options.def"
	uint32_t access_count;
	uint32_t reserved;
	struct lt_access_rule access[LT_ACCESS_MAX];
};

void lt_options_defaults(struct lt_options *o);
/* Read a file over o. On error o is unchanged and err names line and fix. */
int lt_options_load(struct lt_options *o, const char *path,
    struct lt_ini_error *err) LT_MUST_CHECK;
/* Relations between settings (powers of two, lane and batch large enough for
 * a message is ensured by rounding up here, segment >= a record...). */
int lt_options_check(
    struct lt_options *o, struct lt_ini_error *err) LT_MUST_CHECK;
/* Delays of the levels 1, 2...: how many; 0: the text is malformed. */
size_t lt_options_delays(const char *text, uint64_t ms_out[LT_LEVELS_MAX]);
/* Take reloadable settings of `from` into `to`; returns how many non-reloadable
 * settings differ (they are kept), naming the first in name_out (borrowed). */
int lt_options_reload(struct lt_options *to, const struct lt_options *from,
    const char **name_out);
/* The configuration as a file that lt_options_load accepts, with the texts as
 * comments, through emit(user, line). */
void lt_options_print(const struct lt_options *o,
    void (*emit)(void *user, const char *line), void *user);
/* What uid/gids may do with a name (NULL: with every one); a mask of enum
 * lt_right. */
unsigned lt_options_rights(const struct lt_options *o, uint32_t broker_uid,
    uint32_t uid, const uint32_t *gids, size_t gid_count,
    enum lt_access_what what, const char *name);
/* The same of a single principal. name NULL: every name of that kind, which
 * only pattern * gives. */
unsigned lt_options_rights_of(const struct lt_options *o,
    const struct lt_principal *who, enum lt_access_what what, const char *name);
/* 1 if any rule could let this user in at all. */
int lt_options_may_connect(const struct lt_options *o, uint32_t broker_uid,
    uint32_t uid, const uint32_t *gids, size_t gid_count);

#endif
