/*
 * output.c - the tool's JSON codec and the only user of jansson: commands put
 * what they found into values; those become JSON, an aligned table or labelled
 * lines here. Also reads the lines of `produce --jsonl`.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A value that cannot be made ends the tool: there is nothing to undo. */
static json_t *
made(json_t *value)
{
	if (value == NULL) {
		fputs("leat: out of memory\n", stderr);
		exit(1);
	}
	return value;
}

/* Text as JSON; bytes that are not UTF-8 become '?'. */
static json_t *
text_value(const char *text)
{
	json_t *v = json_string(text);
	if (v != NULL)
		return v;
	char *copy = lt_mem_strdup(text);
	if (copy == NULL)
		return made(NULL);
	for (char *c = copy; *c != '\0'; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	v = json_string(copy);
	lt_mem_free(copy);
	return made(v);
}

struct json_t *
lt_output_object(void)
{
	return made(json_object());
}

struct json_t *
lt_output_list(void)
{
	return made(json_array());
}

void
lt_output_put(struct json_t *o, const char *name, struct json_t *value)
{
	if (json_object_set_new_nocheck(o, name, value) != 0)
		made(NULL);
}

void
lt_output_add(struct json_t *list, struct json_t *value)
{
	if (json_array_append_new(list, value) != 0)
		made(NULL);
}

void
lt_output_text(struct json_t *o, const char *name, const char *value)
{
	lt_output_put(o, name, text_value(value));
}

void
lt_output_int(struct json_t *o, const char *name, int64_t value)
{
	lt_output_put(o, name, made(json_integer(value)));
}

void
lt_output_real(struct json_t *o, const char *name, double value)
{
	lt_output_put(o, name, made(json_real(value)));
}

void
lt_output_bool(struct json_t *o, const char *name, bool value)
{
	lt_output_put(o, name, made(json_boolean(value)));
}

size_t
lt_output_count(const struct json_t *list)
{
	return json_array_size(list);
}

int64_t
lt_output_get_int(const struct json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

const char *
lt_output_get_text(const struct json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));
	return text != NULL ? text : "";
}

void
lt_output_free(struct json_t *value)
{
	json_decref(value);
}

void
lt_output_json(const struct json_t *value)
{
	if (json_dumpf(value, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12)) !=
	    0)
		made(NULL);
	fputc('\n', stdout);
}

/* --- for people --- */

static const char *
scaled(double v, char *buf, size_t bytes)
{
	static const char *const units[] = {
	    "B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;
	for (; v >= 1024 && u + 1 < LT_COUNT(units); u++)
		v /= 1024;
	snprintf(buf, bytes, u > 0 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

static const char *
lasting(int64_t ms, char *buf, size_t bytes)
{
	if (ms < 10000)
		snprintf(buf, bytes, "%.1fs", (double)ms / 1000);
	else if (ms < 3600000)
		snprintf(buf, bytes, "%dm%02ds", (int)(ms / 60000),
		    (int)(ms / 1000 % 60));
	else
		snprintf(buf, bytes, "%dd%02dh%02dm", (int)(ms / 86400000),
		    (int)(ms / 3600000 % 24), (int)(ms / 60000 % 60));
	return buf;
}

/* What stands in a cell; buf is used if it must be made. Text is cut to fit and
 * loses its control characters, which could drive the terminal. */
static const char *
cell(const json_t *v, enum lt_output_kind kind, char *buf, size_t bytes)
{
	if (json_is_integer(v)) {
		json_int_t n = json_integer_value(v);
		switch (kind) {
		case LT_OUT_TIME:
			return lt_tool_time_text(n, buf);
		case LT_OUT_BYTES:
			return scaled((double)n, buf, bytes);
		case LT_OUT_MS:
			return lasting(n, buf, bytes);
		default:
			snprintf(buf, bytes, "%lld", (long long)n);
			return buf;
		}
	}
	if (json_is_real(v)) {
		double r = json_real_value(v);
		snprintf(buf, bytes, r >= 10000 ? "%.0f" : "%.2f", r);
		return buf;
	}
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	const char *text = json_string_value(v);
	if (text == NULL || text[0] == '\0')
		return "-";
	snprintf(buf, bytes, "%s", text);
	for (char *c = buf; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return buf;
}

#define CELL_BYTES 256
#define COLUMNS_MAX 16

static bool
is_right(const json_t *list, const char *name)
{
	return json_is_number(json_object_get(json_array_get(list, 0), name));
}

void
lt_output_table(const struct lt_tool *t, const struct json_t *list,
    const struct lt_output_column *columns, size_t count)
{
	int width[COLUMNS_MAX];
	char buf[CELL_BYTES];
	size_t rows = json_array_size(list);
	LT_ASSERT(count <= COLUMNS_MAX);
	for (size_t c = 0; c < count; c++) {
		width[c] = (int)strlen(columns[c].title);
		for (size_t r = 0; r < rows; r++) {
			int n = (int)strlen(
			    cell(json_object_get(
				     json_array_get(list, r), columns[c].name),
				columns[c].kind, buf, sizeof buf));
			width[c] = n > width[c] ? n : width[c];
		}
	}
	for (size_t c = 0; c < count; c++)
		printf("%s%s%*s%s%s", t->color ? "\033[1m" : "",
		    c > 0 ? "  " : "",
		    is_right(list, columns[c].name) ? width[c]
		    : c + 1 < count		    ? -width[c]
						    : 0,
		    columns[c].title, t->color ? "\033[0m" : "",
		    c + 1 < count ? "" : "\n");
	for (size_t r = 0; r < rows; r++) {
		for (size_t c = 0; c < count; c++) {
			const char *text =
			    cell(json_object_get(
				     json_array_get(list, r), columns[c].name),
				columns[c].kind, buf, sizeof buf);
			printf("%s%*s%s", c > 0 ? "  " : "",
			    is_right(list, columns[c].name) ? width[c]
			    : c + 1 < count		    ? -width[c]
							    : 0,
			    text, c + 1 < count ? "" : "\n");
		}
	}
}

void
lt_output_fields(const struct lt_tool *t, const struct json_t *o,
    const struct lt_output_column *columns, size_t count)
{
	int width = 0;
	char buf[1024];
	for (size_t c = 0; c < count; c++) {
		int n = (int)strlen(columns[c].title);
		width = n > width ? n : width;
	}
	for (size_t c = 0; c < count; c++) {
		const json_t *v = json_object_get(o, columns[c].name);
		if (v == NULL)
			continue;
		printf("%s%*s%s  %s\n", t->color ? "\033[1m" : "", -width,
		    columns[c].title, t->color ? "\033[0m" : "",
		    cell(v, columns[c].kind, buf, sizeof buf));
	}
}

int
lt_output_finish(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return LEAT_OK;
	if (errno == EPIPE) /* the reader had enough: not worth a line */
		return LEAT_E_IO;
	return lt_tool_complain(
	    LEAT_E_IO, "standard output: %s", strerror(errno));
}

/* --- messages --- */

static bool
is_own(const char *name, size_t bytes)
{
	static const char *const own[] = {
	    "UNIQ_KEY", "__CRC32#", "KEYS", "TAGS", "__SHARDINGKEY"};
	for (size_t i = 0; i < LT_COUNT(own); i++)
		if (strlen(own[i]) == bytes && memcmp(own[i], name, bytes) == 0)
			return true;
	return false;
}

static void
put_properties(json_t *o, const struct leat_delivery *d)
{
	json_t *all = lt_output_object();
	const char *name, *value;
	size_t cursor = 0, name_bytes, value_bytes;
	while (leat_property_next(d, &cursor, &name, &name_bytes, &value,
		   &value_bytes) == LEAT_OK) {
		char key[256];
		if (is_own(name, name_bytes) || name_bytes >= sizeof key)
			continue;
		memcpy(key, name, name_bytes);
		key[name_bytes] = '\0';
		json_t *v = json_stringn(value, value_bytes);
		json_t *k = json_string(key); /* NULL: not UTF-8 */
		if (v != NULL && k != NULL)
			lt_output_put(all, key, json_incref(v));
		json_decref(v);
		json_decref(k);
	}
	if (json_object_size(all) > 0)
		lt_output_put(o, "properties", all);
	else
		json_decref(all);
}

static void
put_body(json_t *o, const struct leat_delivery *d)
{
	json_t *text =
	    json_stringn(d->body_bytes > 0 ? d->body : "", d->body_bytes);
	if (text != NULL) {
		lt_output_put(o, "body", text);
		return;
	}
	char *encoded = lt_mem_alloc(d->body_bytes / 3 * 4 + 8);
	if (encoded == NULL)
		made(NULL);
	lt_tool_base64(d->body, d->body_bytes, encoded);
	lt_output_text(o, "body_base64", encoded);
	lt_mem_free(encoded);
}

struct json_t *
lt_output_delivery(const struct leat_delivery *d, bool body)
{
	char group_key[4096];
	json_t *o = lt_output_object();
	lt_output_text(o, "topic", d->topic);
	lt_output_int(o, "queue", d->queue);
	lt_output_int(o, "queue_offset", d->queue_offset);
	lt_output_int(o, "log_offset", d->log_offset);
	lt_output_text(o, "id", d->id);
	lt_output_text(o, "keys", d->keys);
	lt_output_text(o, "tag", d->tag);
	if (leat_property_get(
		d, "__SHARDINGKEY", group_key, sizeof group_key) == LEAT_OK)
		lt_output_text(o, "group_key", group_key);
	lt_output_int(o, "born_time_ms", d->born_time_ms);
	lt_output_int(o, "store_time_ms", d->store_time_ms);
	lt_output_int(o, "flag", d->flag);
	lt_output_int(o, "attempt", d->attempt);
	lt_output_int(o, "body_bytes", (int64_t)d->body_bytes);
	put_properties(o, d);
	if (body)
		put_body(o, d);
	return o;
}

/* --- produce --jsonl --- */

/* "a b" or ["a", "b"] into one string owned by `owned`. */
static const char *
read_keys(const json_t *v, struct lt_output_message *owned)
{
	if (json_is_string(v))
		return json_string_value(v);
	size_t bytes = 1, i;
	const json_t *one;
	json_array_foreach(v, i, one)
	{
		if (!json_is_string(one))
			return NULL;
		bytes += json_string_length(one) + 1;
	}
	owned->keys = lt_mem_alloc(bytes);
	if (!json_is_array(v) || owned->keys == NULL)
		return NULL;
	char *at = owned->keys;
	json_array_foreach(v, i, one)
	{
		at += sprintf(
		    at, "%s%s", i > 0 ? " " : "", json_string_value(one));
	}
	return owned->keys;
}

static const char *
read_properties(
    const json_t *v, struct leat_message *m, struct lt_output_message *owned)
{
	const char *name;
	const json_t *value;
	size_t n = 0;
	if (!json_is_object(v))
		return "properties must be an object";
	owned->properties =
	    lt_mem_array(json_object_size(v) + 1, sizeof *owned->properties);
	if (owned->properties == NULL)
		return "out of memory";
	json_object_foreach((json_t *)v, name, value)
	{
		if (!json_is_string(value))
			return "values of properties must be strings";
		owned->properties[n++] =
		    (struct leat_property){name, json_string_value(value)};
	}
	m->properties = owned->properties;
	m->property_count = n;
	return NULL;
}

static const char *
read_body(
    const json_t *root, struct leat_message *m, struct lt_output_message *owned)
{
	const json_t *plain = json_object_get(root, "body");
	const json_t *encoded = json_object_get(root, "body_base64");
	if (json_is_string(plain)) {
		m->body = json_string_value(plain);
		m->body_bytes = json_string_length(plain);
		return NULL;
	}
	if (!json_is_string(encoded))
		return "needs \"body\" or \"body_base64\", a string";
	size_t bytes = json_string_length(encoded);
	owned->body = lt_mem_alloc(bytes + 1);
	if (owned->body == NULL)
		return "out of memory";
	int64_t n =
	    lt_tool_unbase64(json_string_value(encoded), bytes, owned->body);
	if (n < 0)
		return "body_base64 is not base 64";
	m->body = owned->body;
	m->body_bytes = (size_t)n;
	return NULL;
}

static const char *
read_member(const char *name, const json_t *v, struct leat_message *m,
    struct lt_output_message *owned)
{
	if (strcmp(name, "keys") == 0) {
		m->keys = read_keys(v, owned);
		return m->keys != NULL ? NULL
				       : "keys must be a string or strings";
	}
	if (strcmp(name, "properties") == 0)
		return read_properties(v, m, owned);
	const char **text = strcmp(name, "tag") == 0	     ? &m->tag
			    : strcmp(name, "group_key") == 0 ? &m->group_key
							     : NULL;
	if (text != NULL) {
		*text = json_string_value(v);
		return *text != NULL ? NULL
				     : "tag and group_key must be strings";
	}
	int32_t *number = strcmp(name, "queue") == 0  ? &m->queue
			  : strcmp(name, "flag") == 0 ? &m->flag
						      : NULL;
	if (number != NULL) {
		json_int_t n = json_integer_value(v);
		*number = (int32_t)n;
		return json_is_integer(v) && n == *number
			   ? NULL
			   : "queue and flag must be numbers";
	}
	return NULL; /* what consume --json prints besides is let through */
}

int
lt_output_message(const char *line, size_t bytes, struct leat_message *m,
    struct lt_output_message *owned, const char **why)
{
	json_error_t error;
	const char *name;
	const json_t *v;
	memset(owned, 0, sizeof *owned);
	owned->root = json_loadb(line, bytes, JSON_ALLOW_NUL, &error);
	*why = json_is_object(owned->root) ? NULL : "not a JSON object";
	if (*why == NULL)
		*why = read_body(owned->root, m, owned);
	if (*why == NULL) {
		json_object_foreach(owned->root, name, v)
		{
			*why = read_member(name, v, m, owned);
			if (*why != NULL)
				break;
		}
	}
	if (*why == NULL)
		return LEAT_OK;
	lt_output_message_free(owned);
	return LEAT_E_INVALID;
}

void
lt_output_message_free(struct lt_output_message *owned)
{
	json_decref(owned->root);
	lt_mem_free(owned->properties);
	lt_mem_free(owned->keys);
	lt_mem_free(owned->body);
	memset(owned, 0, sizeof *owned);
}
