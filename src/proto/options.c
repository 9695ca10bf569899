/*
 * options.c - options.def as a table of rows, and what can be done with rows:
 * defaults, read a file, check, print, reload. Access rules ([access] allow)
 * are the one thing that is not a row: access.c. Any process; one thread.
 */
#include "config.h"
#include "proto/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <arpa/inet.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/access.h"
#include "proto/limits.h"

#define DELAY_MAX_MS (40 * 86400000ull)

enum kind {
	KIND_NUM,
	KIND_STR,
	KIND_ENUM
};

struct row {
	const char *full; /* section.name */
	const char *section;
	const char *name;
	enum kind kind;
	size_t at; /* in struct lt_options */
	uint64_t number;
	const char *string;
	uint64_t min, max;
	size_t field;
	const char *unit; /* or the values of an enum */
	int reload;
	const char *text;
};

static const struct row rows[] = {
#define AT(s, n) offsetof(struct lt_options, s##_##n)
#define NUM(s, n, def, lo, hi, u, r, t)                                        \
	{#s "." #n, #s, #n, KIND_NUM, AT(s, n), def, NULL, lo, hi, 0, u, r, t},
#define STR(s, n, def, bytes, r, t)                                            \
	{#s "." #n, #s, #n, KIND_STR, AT(s, n), 0, def, 0, 0, bytes, "text",   \
	    r, t},
#define ENUM(s, n, def, values, r, t)                                          \
	{#s "." #n, #s, #n, KIND_ENUM, AT(s, n), def, NULL, 0, 0, 0, values,   \
	    r, t},
#include "proto/options.def"
#undef AT
};

#define ROWS LT_COUNT(rows)

static uint64_t *
number_at(struct lt_options *o, const struct row *r)
{
	return (uint64_t *)((char *)o + r->at);
}

static uint64_t
number_of(const struct lt_options *o, const struct row *r)
{
	return *(const uint64_t *)((const char *)o + r->at);
}

static const char *
string_of(const struct lt_options *o, const struct row *r)
{
	return (const char *)o + r->at;
}

void
lt_options_defaults(struct lt_options *o)
{
	memset(o, 0, sizeof *o);
	o->version = LT_OPTIONS_VERSION;
	o->bytes = sizeof *o;
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &rows[i];
		if (r->kind == KIND_STR)
			strcpy((char *)o + r->at, r->string);
		else
			*number_at(o, r) = r->number;
	}
}

/* --- values --- */

static int LT_PRINTF(2, 3) wrong(struct lt_ini_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return -1;
}

static int
is_octal(const struct row *r)
{
	return strcmp(r->unit, "octal mode") == 0;
}

static int
is_size(const struct row *r)
{
	return strcmp(r->unit, "bytes") == 0;
}

/* The number as a file would say it. */
static void
show_number(char out[32], const struct row *r, uint64_t v)
{
	static const char suffix[] = "kmg";
	int power = 0;

	if (is_octal(r)) {
		snprintf(out, 32, "0%llo", (unsigned long long)v);
		return;
	}
	if (is_size(r))
		for (; power < 3 && v != 0 && v % 1024 == 0; power++)
			v /= 1024;
	int n = snprintf(out, 32, "%llu", (unsigned long long)v);
	if (power > 0)
		snprintf(out + n, 32 - (size_t)n, "%c", suffix[power - 1]);
}

static int
parse_number(const struct row *r, const char *text, uint64_t *out)
{
	char *end;

	/* strtoull would take blanks and a sign. */
	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	unsigned long long v = strtoull(text, &end, is_octal(r) ? 8 : 10);
	if (errno != 0)
		return -1;
	const char *units = "kmg";
	const char *unit =
	    *end == 0 ? NULL : strchr(units, tolower((unsigned char)*end));
	if (unit != NULL && is_size(r)) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);
		if (v > UINT64_MAX >> shift)
			return -1;
		v <<= shift;
		end++;
	}
	if (*end != 0)
		return -1;
	*out = v;
	return 0;
}

static int
set_number(struct lt_options *o, const struct row *r, const char *value,
    struct lt_ini_error *err)
{
	char low[32], high[32];
	uint64_t v;

	if (parse_number(r, value, &v) != 0 || v < r->min || v > r->max) {
		show_number(low, r, r->min);
		show_number(high, r, r->max);
		return wrong(err,
		    "%s = \"%s\": write a number of %s from %s "
		    "to %s%s",
		    r->full, value, r->unit, low, high,
		    is_size(r) ? ", k, m or g may follow" : "");
	}
	*number_at(o, r) = v;
	return 0;
}

/* Index of word in "a|b|c", -1 if it is none of them. */
static int
choice(const char *values, const char *word)
{
	size_t bytes = strlen(word);
	int index = 0;

	for (const char *v = values;; index++) {
		size_t n = strcspn(v, "|");
		if (n == bytes && strncasecmp(v, word, n) == 0)
			return index;
		if (v[n] == 0)
			return -1;
		v += n + 1;
	}
}

static void
show_choice(char out[32], const struct row *r, uint64_t index)
{
	const char *v = r->unit;

	while (index-- > 0) {
		v += strcspn(v, "|");
		LT_ASSERT(*v != 0);
		v++;
	}
	snprintf(out, 32, "%.*s", (int)strcspn(v, "|"), v);
}

static int
set_choice(struct lt_options *o, const struct row *r, const char *value,
    struct lt_ini_error *err)
{
	int index = choice(r->unit, value);

	if (index < 0 && strcmp(r->unit, "off|on") == 0)
		index = choice("no|yes", value);
	if (index < 0)
		return wrong(err, "%s = \"%s\": write one of %s", r->full,
		    value, r->unit);
	*number_at(o, r) = (uint64_t)index;
	return 0;
}

static int
set_string(struct lt_options *o, const struct row *r, const char *value,
    struct lt_ini_error *err)
{
	if (lt_bytes_field((char *)o + r->at, r->field, value) != 0)
		return wrong(err, "%s is longer than %zu bytes: shorten it",
		    r->full, r->field - 1);
	return 0;
}

/* --- reading a file --- */

struct load {
	struct lt_options options;
	int seen[ROWS]; /* line, 0: not yet */
};

static int
unknown(const char *section, const char *name, struct lt_ini_error *err)
{
	int have_section = strcmp(section, "access") == 0;
	const char *elsewhere = NULL;

	if (section[0] == 0)
		return wrong(err,
		    "\"%s\" stands before any section: put "
		    "[broker], [store], [queue], [gateway], "
		    "[supervisor] or [access] "
		    "above it",
		    name);
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].section, section) == 0)
			have_section = 1;
		if (strcmp(rows[i].name, name) == 0)
			elsewhere = rows[i].section;
	}
	if (!have_section)
		return wrong(err,
		    "unknown section [%s]: write [broker], "
		    "[store], [queue], [gateway], [supervisor] or [access]",
		    section);
	if (elsewhere != NULL)
		return wrong(err, "[%s] has no setting \"%s\": move it to [%s]",
		    section, name, elsewhere);
	return wrong(err,
	    "[%s] has no setting \"%s\": leatd --print-config "
	    "lists all",
	    section, name);
}

static int
apply(void *user, int line, const char *section, const char *name,
    const char *value, struct lt_ini_error *err)
{
	struct load *l = user;
	size_t i = 0;

	if (strcmp(section, "access") == 0 && strcmp(name, "allow") == 0)
		return lt_access_add(&l->options, value, err);
	while (i < ROWS && (strcmp(rows[i].section, section) != 0 ||
			       strcmp(rows[i].name, name) != 0))
		i++;
	if (i == ROWS)
		return unknown(section, name, err);
	if (l->seen[i] != 0)
		return wrong(err, "%s is set again, line %d set it: keep one",
		    rows[i].full, l->seen[i]);
	l->seen[i] = line;
	switch (rows[i].kind) {
	case KIND_NUM:
		return set_number(&l->options, &rows[i], value, err);
	case KIND_STR:
		return set_string(&l->options, &rows[i], value, err);
	case KIND_ENUM:
		return set_choice(&l->options, &rows[i], value, err);
	}
	return -1;
}

int
lt_options_load(
    struct lt_options *o, const char *path, struct lt_ini_error *err)
{
	struct load *l = lt_mem_alloc(sizeof *l);

	if (l == NULL) {
		err->line = 0;
		wrong(err, "out of memory");
		return LEAT_E_NOMEM;
	}
	l->options = *o;
	/* Rules of a file replace those there were. */
	l->options.access_count = 0;
	memset(l->options.access, 0, sizeof l->options.access);
	int rc = lt_ini_read(path, apply, l, err);
	if (rc == LEAT_OK)
		*o = l->options;
	lt_mem_free(l);
	return rc;
}

/* --- relations --- */

static int
refuse(struct lt_ini_error *err, const char *text)
{
	err->line = 0;
	wrong(err, "%s", text);
	return LEAT_E_CONFIG;
}

/* A segment must hold the largest record; a default limit gives way. */
static int
check_segment(struct lt_options *o, struct lt_ini_error *err)
{
	struct lt_options plain;
	uint64_t segment = lt_bytes_align(o->store_segment_bytes, 4096);
	uint64_t room = segment >= 2 * LT_RECORD_OVERHEAD
			    ? segment - LT_RECORD_OVERHEAD
			    : segment / 2;

	o->store_segment_bytes = segment;
	if (o->store_max_body_bytes > room) {
		lt_options_defaults(&plain);
		if (o->store_max_body_bytes != plain.store_max_body_bytes) {
			err->line = 0;
			wrong(err,
			    "store.max_body_bytes does not fit into "
			    "store.segment_bytes: lower it to %llu or raise "
			    "store.segment_bytes",
			    (unsigned long long)room);
			return LEAT_E_CONFIG;
		}
		o->store_max_body_bytes = room;
	}
	return LEAT_OK;
}

size_t
lt_options_delays(const char *text, uint64_t ms_out[LT_LEVELS_MAX])
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
	    {"d", 86400000}};
	size_t n = 0;

	for (; *(text += strspn(text, " ")) != 0; n++) {
		char *end;
		uint64_t v = strtoull(text, &end, 10);
		size_t bytes = strcspn(end, " "), u = 0;

		while (u < LT_COUNT(units) &&
		       (strlen(units[u].name) != bytes ||
			   memcmp(units[u].name, end, bytes) != 0))
			u++;
		if (!isdigit((unsigned char)text[0]) || n == LT_LEVELS_MAX ||
		    u == LT_COUNT(units) || v < 1 || v > 1000000 ||
		    v * units[u].ms > DELAY_MAX_MS)
			return 0;
		ms_out[n] = v * units[u].ms;
		text = end + bytes;
	}
	return n;
}

int
lt_options_check(struct lt_options *o, struct lt_ini_error *err)
{
	uint64_t delays[LT_LEVELS_MAX];
	struct in_addr address;

	if (o->version != LT_OPTIONS_VERSION || o->bytes != sizeof *o)
		return refuse(err, "settings of another version of Leat: "
				   "install all programs from one build");
	if (inet_pton(AF_INET, o->broker_host, &address) != 1)
		return refuse(err, "broker.host is no IPv4 address: write one "
				   "such as 127.0.0.1");
	if (lt_options_delays(o->queue_delay_levels, delays) == 0)
		return refuse(err, "queue.delay_levels: write 1 to 18 times "
				   "such as 500ms 1s 5m 2h 30d, with blanks "
				   "between, at most 40d");
	if (o->broker_name[0] == 0)
		return refuse(err, "broker.name is empty: write a name");
	int rc = check_segment(o, err);
	if (rc != LEAT_OK)
		return rc;
	o->queue_group_window = lt_bytes_pow2(o->queue_group_window);
	o->queue_ring_bytes = lt_bytes_pow2(o->queue_ring_bytes);
	o->queue_ring_max_bytes = lt_bytes_pow2(o->queue_ring_max_bytes);
	o->queue_lane_bytes = lt_bytes_pow2(o->queue_lane_bytes);
	if (o->queue_ring_max_bytes < o->queue_ring_bytes)
		return refuse(err, "queue.ring_max_bytes is less than "
				   "queue.ring_bytes: raise it");
	uint64_t record = o->store_max_body_bytes + LT_RECORD_OVERHEAD;
	if (o->store_batch_bytes < record)
		o->store_batch_bytes = record;
	o->store_batch_bytes = lt_bytes_align(o->store_batch_bytes, 4096);
	return LEAT_OK;
}

int
lt_options_reload(
    struct lt_options *to, const struct lt_options *from, const char **name_out)
{
	int kept = 0;

	*name_out = NULL;
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &rows[i];
		size_t bytes = r->kind == KIND_STR ? r->field : 8;
		char *mine = (char *)to + r->at;
		const char *theirs = (const char *)from + r->at;
		if (memcmp(mine, theirs, bytes) == 0)
			continue;
		if (r->reload)
			memcpy(mine, theirs, bytes);
		else if (kept++ == 0)
			*name_out = r->full;
	}
	to->access_count = from->access_count;
	memcpy(to->access, from->access, sizeof to->access);
	return kept;
}

/* --- printing --- */

static void
print_row(const struct lt_options *o, const struct row *r,
    void (*emit)(void *user, const char *line), void *user)
{
	char line[512], low[32], high[32], value[32];

	if (r->kind == KIND_NUM) {
		show_number(low, r, r->min);
		show_number(high, r, r->max);
		snprintf(line, sizeof line, "# %s (%s, %s to %s%s)", r->text,
		    r->unit, low, high, r->reload ? ", reloadable" : "");
	} else {
		snprintf(line, sizeof line, "# %s (%s%s)", r->text, r->unit,
		    r->reload ? ", reloadable" : "");
	}
	emit(user, line);
	if (r->kind == KIND_NUM)
		show_number(value, r, number_of(o, r));
	else if (r->kind == KIND_ENUM)
		show_choice(value, r, number_of(o, r));
	snprintf(line, sizeof line, "%s = %s", r->name,
	    r->kind == KIND_STR ? string_of(o, r) : value);
	emit(user, line);
}

void
lt_options_print(const struct lt_options *o,
    void (*emit)(void *user, const char *line), void *user)
{
	char line[64];
	const char *section = "";

	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].section, section) != 0) {
			if (i > 0)
				emit(user, "");
			section = rows[i].section;
			snprintf(line, sizeof line, "[%s]", section);
			emit(user, line);
		}
		print_row(o, &rows[i], emit, user);
	}
	emit(user, "");
	emit(user, "[access]");
	emit(user, "# allow = user:NAME|os-group:NAME|any|ak:NAME|key:PUBLIC "
		   "topic|group PATTERN RIGHT[,RIGHT...] (reloadable)");
	emit(user, "# rights: publish, subscribe, manage, trace");
	for (uint32_t i = 0; i < o->access_count; i++) {
		char rule[256];
		lt_access_line(&o->access[i], rule, sizeof rule);
		emit(user, rule);
	}
}
