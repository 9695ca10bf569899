/*
 * access.c - one rule, and what the rules of [access] give to whom. Names of
 * users and groups are looked up when a file is read; a rule itself holds
 * numbers. Any process; one thread.
 */
#include "config.h"
#include "proto/access.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "proto/name.h"

static int LT_PRINTF(2, 3) wrong(struct lt_ini_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return -1;
}

static const struct {
	const char *name;
	unsigned bit;
} rights[] = {
    {"publish", LT_RIGHT_PUBLISH},
    {"subscribe", LT_RIGHT_SUBSCRIBE},
    {"manage", LT_RIGHT_MANAGE},
    {"trace", LT_RIGHT_TRACE},
};

/* --- its parts ---------------------------------------------------------------
 */

enum lt_access_what
lt_access_what(const char *word)
{
	if (strcmp(word, "topic") == 0)
		return LT_ACCESS_TOPIC;
	return strcmp(word, "group") == 0 ? LT_ACCESS_GROUP : 0;
}

const char *
lt_access_what_text(unsigned what)
{
	return what == LT_ACCESS_TOPIC ? "topic" : "group";
}

int
lt_access_rights(const char *list, unsigned *out, char bad_out[64])
{
	*out = 0;
	bad_out[0] = '\0';
	while (*(list += strspn(list, ", \t")) != '\0') {
		size_t bytes = strcspn(list, ", \t"), i = 0;

		while (i < LT_COUNT(rights) &&
		       (strlen(rights[i].name) != bytes ||
			   memcmp(rights[i].name, list, bytes) != 0))
			i++;
		if (i == LT_COUNT(rights)) {
			snprintf(bad_out, 64, "%.*s",
			    (int)(bytes < 63 ? bytes : 63), list);
			return LEAT_E_INVALID;
		}
		*out |= rights[i].bit;
		list += bytes;
	}
	return *out != 0 ? LEAT_OK : LEAT_E_INVALID;
}

void
lt_access_rights_text(unsigned mask, char out[LT_ACCESS_RIGHTS_TEXT])
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < LT_COUNT(rights); i++)
		if ((mask & rights[i].bit) != 0)
			used += (size_t)snprintf(out + used,
			    LT_ACCESS_RIGHTS_TEXT - used, "%s%s",
			    used == 0 ? "" : ",", rights[i].name);
}

int
lt_access_make(struct lt_access_rule *out, const char *who,
    enum lt_access_what what, const char *pattern, unsigned mask, char *why_out,
    size_t why_bytes)
{
	int status;

	memset(out, 0, sizeof *out);
	status = lt_principal_parse(&out->who, who, why_out, why_bytes);
	if (status != LEAT_OK)
		return status;
	out->what = (uint16_t)what;
	out->rights = (uint16_t)mask;
	for (const char *p = pattern; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f) {
			snprintf(why_out, why_bytes,
			    "a pattern has no blanks: write a name, with * "
			    "and ? for what may differ");
			return LEAT_E_INVALID;
		}
	if (pattern[0] != '\0' &&
	    lt_bytes_field(out->pattern, sizeof out->pattern, pattern) == 0)
		return LEAT_OK;
	snprintf(why_out, why_bytes,
	    pattern[0] == '\0' ? "the pattern is empty: write a name, or *"
			       : "pattern longer than %zu bytes: shorten it",
	    sizeof out->pattern - 1);
	return LEAT_E_INVALID;
}

/* --- lines of [access] -------------------------------------------------------
 */

static int
fill(struct lt_access_rule *rule, const char *who, const char *what,
    const char *pattern, const char *list, struct lt_ini_error *err)
{
	char numbers[256], bad[64], why[200];
	unsigned mask;

	if (lt_principal_resolve(who, numbers, sizeof numbers) != LEAT_OK)
		snprintf(
		    numbers, sizeof numbers, "%s", who); /* parse says it */
	if (lt_access_what(what) == 0)
		return wrong(
		    err, "access.allow: \"%s\": write topic or group", what);
	if (lt_access_rights(list, &mask, bad) != LEAT_OK)
		return bad[0] != '\0'
			   ? wrong(err,
				 "access.allow: \"%s\" is no right: write "
				 "publish, subscribe, manage or trace",
				 bad)
			   : wrong(err, "access.allow: name a right: publish, "
					"subscribe, manage or trace");
	if (lt_access_make(rule, numbers, lt_access_what(what), pattern, mask,
		why, sizeof why) != LEAT_OK)
		return wrong(err, "access.allow: %s", why);
	return 0;
}

int
lt_access_add(struct lt_options *o, const char *value, struct lt_ini_error *err)
{
	char text[256];
	char *save = NULL;
	struct lt_access_rule rule;

	if (o->access_count == LT_ACCESS_MAX)
		return wrong(err,
		    "more than %d access rules: use os-group:NAME, patterns, "
		    "or grants (leat grant add)",
		    LT_ACCESS_MAX);
	snprintf(text, sizeof text, "%s", value);
	char *who = strtok_r(text, " \t", &save);
	char *what = strtok_r(NULL, " \t", &save);
	char *pattern = strtok_r(NULL, " \t", &save);
	char *list = strtok_r(NULL, "", &save);
	if (who == NULL || what == NULL || pattern == NULL || list == NULL)
		return wrong(err,
		    "access.allow: write WHO topic|group PATTERN "
		    "RIGHT[,RIGHT...], for example: allow = user:shop topic "
		    "orders* publish,subscribe");
	if (fill(&rule, who, what, pattern, list, err) != 0)
		return -1;
	o->access[o->access_count++] = rule;
	return 0;
}

void
lt_access_line(const struct lt_access_rule *rule, char *line, size_t line_bytes)
{
	char who[LT_PRINCIPAL_TEXT], list[LT_ACCESS_RIGHTS_TEXT];

	lt_principal_print(&rule->who, who);
	lt_access_rights_text(rule->rights, list);
	snprintf(line, line_bytes, "allow = %s %s %s %s", who,
	    lt_access_what_text(rule->what), rule->pattern, list);
}

/* --- who has what ------------------------------------------------------------
 */

unsigned
lt_access_gives(const struct lt_access_rule *rule,
    const struct lt_principal *who, enum lt_access_what what, const char *name)
{
	if (rule->what != (unsigned)what ||
	    !lt_principal_match(&rule->who, who) ||
	    !(name != NULL ? lt_name_match(rule->pattern, name)
			   : strcmp(rule->pattern, "*") == 0))
		return 0;
	return rule->rights;
}

unsigned
lt_options_rights_of(const struct lt_options *o, const struct lt_principal *who,
    enum lt_access_what what, const char *name)
{
	unsigned mask = 0;

	for (uint32_t i = 0; i < o->access_count; i++)
		mask |= lt_access_gives(&o->access[i], who, what, name);
	return mask;
}

static int
is_meant(const struct lt_access_rule *rule, uint32_t uid, const uint32_t *gids,
    size_t gid_count)
{
	switch (rule->who.kind) {
	case LT_PRINCIPAL_ANY:
		return 1;
	case LT_PRINCIPAL_USER:
		return rule->who.id == uid;
	case LT_PRINCIPAL_OS_GROUP:
		for (size_t i = 0; i < gid_count; i++)
			if (gids[i] == rule->who.id)
				return 1;
		return 0;
	default:
		return 0;
	}
}

unsigned
lt_options_rights(const struct lt_options *o, uint32_t broker_uid, uint32_t uid,
    const uint32_t *gids, size_t gid_count, enum lt_access_what what,
    const char *name)
{
	unsigned mask = 0;

	if (uid == 0 || uid == broker_uid)
		return LT_RIGHT_PUBLISH | LT_RIGHT_SUBSCRIBE | LT_RIGHT_MANAGE |
		       LT_RIGHT_TRACE;
	for (uint32_t i = 0; i < o->access_count; i++) {
		const struct lt_access_rule *rule = &o->access[i];
		if (is_meant(rule, uid, gids, gid_count))
			mask |= lt_access_gives(rule, &rule->who, what, name);
	}
	return mask;
}

int
lt_options_may_connect(const struct lt_options *o, uint32_t broker_uid,
    uint32_t uid, const uint32_t *gids, size_t gid_count)
{
	if (uid == 0 || uid == broker_uid)
		return 1;
	for (uint32_t i = 0; i < o->access_count; i++)
		if (is_meant(&o->access[i], uid, gids, gid_count))
			return 1;
	return 0;
}
