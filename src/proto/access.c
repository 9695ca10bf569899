/*
 * access.c - the rules of [access]: read one, write one, and say what they
 * give to whom. Names of users and groups are looked up when a file is read;
 * a rule itself holds numbers, or the key of a remote client. Any process; one
 * thread.
 */
#include "config.h"
#include "proto/access.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
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

static int
parse_id(const char *text, uint32_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno != 0 || *end != 0 || v >= UINT32_MAX)
		return -1;
	*out = (uint32_t)v;
	return 0;
}

static int
parse_who(
    struct lt_access_rule *rule, const char *word, struct lt_ini_error *err)
{
	if (strcmp(word, "any") == 0) {
		rule->who = LT_ACCESS_ANY;
		return 0;
	}
	if (strncmp(word, "user:", 5) == 0) {
		const struct passwd *pw = getpwnam(word + 5);
		rule->who = LT_ACCESS_USER;
		if (pw != NULL)
			rule->id = pw->pw_uid;
		else if (parse_id(word + 5, &rule->id) != 0)
			return wrong(err,
			    "access.allow: no user \"%s\" here: "
			    "make it or write a number",
			    word + 5);
		return 0;
	}
	if (strncmp(word, "os-group:", 9) == 0) {
		const struct group *gr = getgrnam(word + 9);
		rule->who = LT_ACCESS_OS_GROUP;
		if (gr != NULL)
			rule->id = gr->gr_gid;
		else if (parse_id(word + 9, &rule->id) != 0)
			return wrong(err,
			    "access.allow: no group \"%s\" here: "
			    "make it or write a number",
			    word + 9);
		return 0;
	}
	if (strncmp(word, "key:", 4) == 0) {
		rule->who = LT_ACCESS_KEY;
		if (word[4] == 0 ||
		    lt_bytes_field(rule->key, sizeof rule->key, word + 4) != 0)
			return wrong(err,
			    "access.allow: an access key has 1 to %zu bytes",
			    sizeof rule->key - 1);
		return 0;
	}
	return wrong(err,
	    "access.allow: \"%s\" is nobody: write user:NAME, "
	    "os-group:NAME, any or key:ACCESSKEY",
	    word);
}

static int
parse_rights(struct lt_access_rule *rule, char *list, struct lt_ini_error *err)
{
	char *save = NULL;

	for (char *w = strtok_r(list, ", \t", &save); w != NULL;
	     w = strtok_r(NULL, ", \t", &save)) {
		size_t i = 0;
		while (i < LT_COUNT(rights) && strcmp(rights[i].name, w) != 0)
			i++;
		if (i == LT_COUNT(rights))
			return wrong(err,
			    "access.allow: \"%s\" is no right: "
			    "write publish, subscribe, manage or trace",
			    w);
		rule->rights |= (uint16_t)rights[i].bit;
	}
	return 0;
}

int
lt_access_add(struct lt_options *o, const char *value, struct lt_ini_error *err)
{
	char text[256];
	char *save = NULL;
	struct lt_access_rule rule = {0};

	if (o->access_count == LT_ACCESS_MAX)
		return wrong(err,
		    "more than %d access rules: use os-group:NAME "
		    "or patterns",
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
	if (parse_who(&rule, who, err) != 0)
		return -1;
	if (strcmp(what, "topic") == 0)
		rule.what = LT_ACCESS_TOPIC;
	else if (strcmp(what, "group") == 0)
		rule.what = LT_ACCESS_GROUP;
	else
		return wrong(
		    err, "access.allow: \"%s\": write topic or group", what);
	if (lt_bytes_field(rule.pattern, sizeof rule.pattern, pattern) != 0)
		return wrong(err,
		    "access.allow: pattern longer than %zu bytes: "
		    "shorten it",
		    sizeof rule.pattern - 1);
	if (parse_rights(&rule, list, err) != 0)
		return -1;
	if (rule.rights == 0)
		return wrong(err, "access.allow: name a right: publish, "
				  "subscribe, manage or trace");
	o->access[o->access_count++] = rule;
	return 0;
}

void
lt_access_line(const struct lt_access_rule *rule, char *line, size_t line_bytes)
{
	char who[sizeof rule->key + 4] = "any";
	char list[64] = "";
	size_t used = 0;

	if (rule->who == LT_ACCESS_KEY)
		snprintf(who, sizeof who, "key:%s", rule->key);
	else if (rule->who != LT_ACCESS_ANY)
		snprintf(who, sizeof who, "%s:%u",
		    rule->who == LT_ACCESS_USER ? "user" : "os-group",
		    rule->id);
	for (size_t i = 0; i < LT_COUNT(rights); i++)
		if ((rule->rights & rights[i].bit) != 0)
			used +=
			    (size_t)snprintf(list + used, sizeof list - used,
				"%s%s", used == 0 ? "" : ",", rights[i].name);
	snprintf(line, line_bytes, "allow = %s %s %s %s", who,
	    rule->what == LT_ACCESS_TOPIC ? "topic" : "group", rule->pattern,
	    list);
}

static int
is_meant(const struct lt_access_rule *rule, uint32_t uid, const uint32_t *gids,
    size_t gid_count)
{
	switch (rule->who) {
	case LT_ACCESS_ANY:
		return 1;
	case LT_ACCESS_USER:
		return rule->id == uid;
	case LT_ACCESS_OS_GROUP:
		for (size_t i = 0; i < gid_count; i++)
			if (gids[i] == rule->id)
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
		if (rule->what == what &&
		    is_meant(rule, uid, gids, gid_count) &&
		    lt_name_match(rule->pattern, name))
			mask |= rule->rights;
	}
	return mask;
}

unsigned
lt_options_key_rights(const struct lt_options *o, const char *key,
    enum lt_access_what what, const char *name)
{
	unsigned mask = 0;

	for (uint32_t i = 0; i < o->access_count; i++) {
		const struct lt_access_rule *rule = &o->access[i];
		if (rule->who == LT_ACCESS_KEY && rule->what == what &&
		    lt_name_match(rule->key, key) &&
		    (name != NULL ? lt_name_match(rule->pattern, name)
				  : strcmp(rule->pattern, "*") == 0))
			mask |= rule->rights;
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
