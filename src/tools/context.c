/*
 * context.c - leat context: brokers that have a name, in a file of the user's.
 * One of them is the current one, used where no broker is named.
 *
 *     # comment
 *     *<tab>NAME<tab>SERVER<tab>KEYFILE       the current one
 *     -<tab>NAME<tab>SERVER<tab>              another, with the default key
 *
 * A change writes a new file, 0600, that takes the old one's place.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/userdir.h"

#define CONTEXTS_MAX 256
#define NAME_MAX_CHARS 63
#define FILE_BYTES_MAX (1u << 20)
#define FIELD_MAX (2 * PATH_MAX)

struct context {
	bool is_current;
	const char *name, *server, *key; /* key "": the default */
};

struct contexts {
	char path[PATH_MAX];
	char *text; /* of the file; what contexts point into */
	struct context list[CONTEXTS_MAX];
	size_t count;
};

/* --- the file --------------------------------------------------------------
 */

static char *
load_text(const char *path, int *rc)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t room = 0, n = 0;

	*rc = LEAT_OK;
	if (f == NULL) {
		if (errno != ENOENT)
			*rc = lt_tool_complain(
			    errno == EACCES ? LEAT_E_DENIED : LEAT_E_IO,
			    "%s: cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	do {
		room = n + 4096;
		text = realloc(text, room + 1);
		LT_ASSERT(text != NULL);
		n += fread(text + n, 1, room - n, f);
	} while (n == room && n < FILE_BYTES_MAX);
	if (ferror(f))
		*rc = lt_tool_complain(LEAT_E_IO, "%s: cannot be read", path);
	fclose(f);
	text[n] = '\0';
	return text;
}

/* The next field of a line. */
static char *
field(char **at)
{
	char *p = *at, *tab = p == NULL ? NULL : strchr(p, '\t');

	*at = tab == NULL ? NULL : tab + 1;
	if (tab != NULL)
		*tab = '\0';
	return p;
}

static int
parse(struct contexts *c)
{
	char *next = c->text, *line;
	int number = 0;

	while (next != NULL && *next != '\0') {
		struct context *k = &c->list[c->count];
		char *mark;

		line = next;
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		number++;
		if (line[0] == '#' || line[0] == '\0')
			continue;
		mark = field(&line);
		k->name = field(&line);
		k->server = field(&line);
		k->key = field(&line);
		if (k->key == NULL || line != NULL ||
		    (strcmp(mark, "*") != 0 && strcmp(mark, "-") != 0) ||
		    ++c->count == CONTEXTS_MAX)
			return lt_tool_complain(LEAT_E_INVALID,
			    "%s:%d: no line of `leat context`; repair or "
			    "remove the file",
			    c->path, number);
		k->is_current = mark[0] == '*';
	}
	return LEAT_OK;
}

static int
load(struct contexts *c)
{
	int rc = lt_userdir_path(c->path, sizeof c->path, "contexts");

	c->text = NULL;
	c->count = 0;
	if (rc != LEAT_OK) {
		c->path[0] = '\0';
		return LEAT_OK; /* no home, nothing saved */
	}
	c->text = load_text(c->path, &rc);
	return rc == LEAT_OK ? parse(c) : rc;
}

static void
unload(struct contexts *c)
{
	free(c->text);
	free(c);
}

static int
write_file(const struct contexts *c, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	bool good;

	if (f == NULL)
		return -1;
	fputs("# Written by `leat context`: current, name, server, key\n", f);
	for (size_t i = 0; i < c->count; i++)
		fprintf(f, "%c\t%s\t%s\t%s\n",
		    c->list[i].is_current ? '*' : '-', c->list[i].name,
		    c->list[i].server, c->list[i].key);
	good = fflush(f) == 0 && fsync(fd) == 0;
	return fclose(f) == 0 && good ? 0 : -1;
}

static int
save(const struct contexts *c)
{
	char path[PATH_MAX + 32];
	int rc = lt_tool_make_userdir();

	if (rc != LEAT_OK)
		return rc;
	snprintf(path, sizeof path, "%s.%ld", c->path, (long)getpid());
	(void)unlink(path); /* of one that died with our number */
	if (write_file(c, path) == 0 && rename(path, c->path) == 0)
		return LEAT_OK;
	rc = lt_tool_complain(
	    LEAT_E_IO, "%s: cannot be written: %s", c->path, strerror(errno));
	(void)unlink(path);
	return rc;
}

static struct context *
find(struct contexts *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->list[i].name, name) == 0)
			return &c->list[i];
	return NULL;
}

static int
unknown(const char *name)
{
	return lt_tool_complain(LEAT_E_NOTFOUND,
	    "%s: no such context; `leat context list` shows them", name);
}

/* --- commands ---------------------------------------------------------------
 */

static int
check(const char *name, const char *server)
{
	if (name[0] == '\0' || strlen(name) > NAME_MAX_CHARS ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
			      "UVWXYZ0123456789._-")] != '\0')
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: a name has letters, digits, ., _ and -, at most %d",
		    name, NAME_MAX_CHARS);
	if (server == NULL)
		return lt_tool_complain(LEAT_E_INVALID,
		    "--server is missing; see `leat context add --help`");
	if ((strncmp(server, "leat://", 7) != 0 &&
		strncmp(server, "rocketmq://", 11) != 0) ||
	    strpbrk(server, "\t\n") != NULL)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: write leat://BROKERKEY@HOST:PORT or "
		    "rocketmq://HOST:PORT",
		    server);
	return LEAT_OK;
}

/* The same file from wherever the tool is called. */
static int
absolute(const char *file, char out[FIELD_MAX])
{
	char here[PATH_MAX];

	if (file[0] == '/')
		snprintf(out, FIELD_MAX, "%s", file);
	else if (getcwd(here, sizeof here) != NULL)
		snprintf(out, FIELD_MAX, "%s/%s", here, file);
	else
		return lt_tool_complain(
		    LEAT_E_INVALID, "%s: write the whole path", file);
	if (strpbrk(out, "\t\n") != NULL)
		return lt_tool_complain(
		    LEAT_E_INVALID, "%s: a tab or newline in the path", file);
	return LEAT_OK;
}

/* Options, then the file. */
static int
start(struct lt_tool *t, struct contexts **out)
{
	int key = lt_tool_next(t);

	if (key != 0)
		return key;
	*out = calloc(1, sizeof **out);
	LT_ASSERT(*out != NULL);
	return load(*out);
}

int
lt_tool_context_add(struct lt_tool *t)
{
	struct contexts *c = NULL;
	char key[FIELD_MAX] = "";
	struct context *k;
	int rc = start(t, &c);

	if (rc == LEAT_OK)
		rc = check(t->operands[0], t->server);
	if (rc == LEAT_OK && t->key != NULL)
		rc = absolute(t->key, key);
	if (rc == LEAT_OK && find(c, t->operands[0]) != NULL)
		rc = lt_tool_complain(LEAT_E_EXISTS,
		    "%s: there is one; remove it first", t->operands[0]);
	if (rc == LEAT_OK && c->count + 1 == CONTEXTS_MAX)
		rc = lt_tool_complain(LEAT_E_LIMIT,
		    "%d contexts are enough; remove one", CONTEXTS_MAX - 1);
	if (rc == LEAT_OK) {
		k = &c->list[c->count++];
		k->is_current = c->count == 1;
		k->name = t->operands[0];
		k->server = t->server;
		k->key = key;
		rc = save(c);
	}
	if (c != NULL)
		unload(c);
	return rc;
}

static void
use(struct contexts *c, struct context *k)
{
	for (size_t i = 0; i < c->count; i++)
		c->list[i].is_current = &c->list[i] == k;
}

static void
take_out(struct contexts *c, struct context *k)
{
	c->count--;
	memmove(k, k + 1, (size_t)(c->list + c->count - k) * sizeof *k);
}

static int
change(struct lt_tool *t, void (*how)(struct contexts *c, struct context *k))
{
	struct contexts *c = NULL;
	struct context *k;
	int rc = start(t, &c);

	if (rc == LEAT_OK && (k = find(c, t->operands[0])) == NULL)
		rc = unknown(t->operands[0]);
	if (rc == LEAT_OK) {
		how(c, k);
		rc = save(c);
	}
	if (c != NULL)
		unload(c);
	return rc;
}

static bool
is_set(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0';
}

int
lt_tool_context_use(struct lt_tool *t)
{
	static const char *const before[] = {"LEAT_SERVER", "LEAT_SOCKET"};
	int rc = change(t, use);

	for (size_t i = 0; rc == LEAT_OK && i < LT_COUNT(before); i++)
		if (is_set(before[i]))
			fprintf(stderr, "leat: %s is set and goes before it\n",
			    before[i]);
	return rc;
}

int
lt_tool_context_remove(struct lt_tool *t)
{
	return change(t, take_out);
}

static const struct lt_output_column columns[] = {
    {"current", "", LT_OUT_PLAIN},
    {"name", "CONTEXT", LT_OUT_PLAIN},
    {"server", "SERVER", LT_OUT_PLAIN},
    {"key", "KEY", LT_OUT_PLAIN},
};

int
lt_tool_context_list(struct lt_tool *t)
{
	struct contexts *c = NULL;
	struct json_t *list, *o;
	int rc = start(t, &c);

	if (rc == LEAT_OK) {
		list = lt_output_list();
		for (size_t i = 0; i < c->count; i++) {
			const struct context *k = &c->list[i];

			o = lt_output_object();
			if (t->json)
				lt_output_bool(o, "current", k->is_current);
			else
				lt_output_text(
				    o, "current", k->is_current ? "*" : "");
			lt_output_text(o, "name", k->name);
			lt_output_text(o, "server", k->server);
			if (!t->json || k->key[0] != '\0')
				lt_output_text(
				    o, "key", k->key[0] != '\0' ? k->key : "-");
			lt_output_add(list, o);
		}
		if (t->json)
			lt_output_json(list);
		else
			lt_output_table(t, list, columns, LT_COUNT(columns));
		lt_output_free(list);
	}
	if (c != NULL)
		unload(c);
	return rc;
}

/* --- where no broker is named -----------------------------------------------
 */

int
lt_tool_context(struct lt_tool *t)
{
	static char server[FIELD_MAX], key[FIELD_MAX];
	struct contexts *c;
	int rc;

	if (t->server != NULL || t->socket != NULL || is_set("LEAT_SERVER") ||
	    is_set("LEAT_SOCKET"))
		return LEAT_OK;
	c = calloc(1, sizeof *c);
	LT_ASSERT(c != NULL);
	rc = load(c);
	for (size_t i = 0; rc == LEAT_OK && i < c->count; i++) {
		const struct context *k = &c->list[i];

		if (!k->is_current)
			continue;
		snprintf(server, sizeof server, "%s", k->server);
		snprintf(key, sizeof key, "%s", k->key);
		t->server = server;
		if (t->key == NULL && !is_set("LEAT_KEY") && key[0] != '\0')
			t->key = key;
	}
	unload(c);
	return rc;
}
