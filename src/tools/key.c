/*
 * key.c - leat key: generate, show, fingerprint. A key is named by its file,
 * or, its public half, by its 43 characters. No broker is asked.
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

#include "base/keyfile.h"
#include "base/userdir.h"

#define FINGERPRINT_BYTES 10
#define FINGERPRINT_CHARS (FINGERPRINT_BYTES * 5 / 2)
#define BROKER_FILE "broker.pub" /* leatd writes it beside its socket */

/* The first 80 bits of the key's SHA-512, in five groups. */
static void
fingerprint(
    char out[FINGERPRINT_CHARS + 1], const uint8_t public[LT_SECRET_KEY])
{
	uint8_t hash[LT_SECRET_HASH];
	char *at = out;

	lt_secret_hash(hash, public, LT_SECRET_KEY, NULL, 0);
	for (size_t i = 0; i < FINGERPRINT_BYTES; i++)
		at += sprintf(
		    at, "%s%02x", i > 0 && i % 2 == 0 ? "-" : "", hash[i]);
}

static void
show(struct lt_tool *t, const uint8_t public[LT_SECRET_KEY], const char *file)
{
	char text[LT_SECRET_TEXT], print[FINGERPRINT_CHARS + 1];

	lt_secret_text(text, public);
	fingerprint(print, public);
	if (!t->json) {
		printf("%s\n",
		    t->command == LT_TOOL_key_fingerprint ? print : text);
		return;
	}
	struct json_t *o = lt_output_object();
	lt_output_text(o, "public", text);
	lt_output_text(o, "fingerprint", print);
	if (file != NULL)
		lt_output_text(o, "file", file);
	lt_output_json(o);
	lt_output_free(o);
}

/* A file of nothing but a public key. */
static int
read_public(const char *path, uint8_t public[LT_SECRET_KEY])
{
	char text[LT_SECRET_TEXT + 8];
	FILE *f = fopen(path, "re");
	int rc = LEAT_E_NOTFOUND;

	if (f == NULL)
		return errno == EACCES ? LEAT_E_DENIED : LEAT_E_NOTFOUND;
	if (fgets(text, sizeof text, f) != NULL) {
		text[strcspn(text, "\r\n")] = '\0';
		rc = lt_secret_parse(public, text);
	}
	fclose(f);
	return rc;
}

/* A file's key: public.*/
static int
read_file(const char *path, uint8_t public[LT_SECRET_KEY])
{
	uint8_t secret[LT_SECRET_KEY];
	char why[PATH_MAX + 200];

	if (read_public(path, public) == LEAT_OK)
		return LEAT_OK;
	int rc =
	    lt_keyfile_read(AT_FDCWD, path, secret, public, why, sizeof why);
	lt_secret_wipe(secret, sizeof secret);
	return rc == LEAT_OK ? rc : lt_tool_complain(rc, "%s", why);
}

static int
user_file(char path[PATH_MAX])
{
	if (lt_userdir_path(path, PATH_MAX, "key") == LEAT_OK)
		return LEAT_OK;
	return lt_tool_complain(
	    LEAT_E_INVALID, "no home directory: name a file");
}

/* broker.pub beside the socket. */
static int
broker_file(struct lt_tool *t, char path[PATH_MAX])
{
	const char *socket = t->socket;
	const char *slash;

	if (socket == NULL)
		socket = getenv("LEAT_SOCKET");
	if (socket == NULL || socket[0] == '\0')
		socket = "/run/leat/leat.sock";
	slash = strrchr(socket, '/');
	int n = snprintf(path, PATH_MAX, "%.*s" BROKER_FILE,
	    slash == NULL ? 0 : (int)(slash + 1 - socket), socket);
	return n < PATH_MAX ? LEAT_OK
			    : lt_tool_complain(LEAT_E_INVALID,
				  "%s: the path is too long", socket);
}

static int
start(struct lt_tool *t, bool *broker, const char **out)
{
	int key;

	if (lt_secret_init() != LEAT_OK)
		return lt_tool_complain(
		    LEAT_E_IO, "no source of random numbers");
	while ((key = lt_tool_next(t)) > 0) {
		if (key == 'o')
			*out = t->arg;
		else
			*broker = true;
	}
	return key;
}

/* The user's directory, for what is made there. */
int
lt_tool_make_userdir(void)
{
	char path[PATH_MAX];
	int rc = lt_userdir_path(path, sizeof path, NULL);

	if (rc != LEAT_OK)
		return lt_tool_complain(LEAT_E_INVALID,
		    "no home directory: set HOME or XDG_CONFIG_HOME");
	for (char *at = path + 1; rc == LEAT_OK; at++) {
		char was = *at;
		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			rc = lt_tool_complain(
			    errno == EACCES ? LEAT_E_DENIED : LEAT_E_IO,
			    "%s: cannot be made: %s", path, strerror(errno));
		*at = was;
		if (was == '\0')
			break;
	}
	return rc;
}

int
lt_tool_key_generate(struct lt_tool *t)
{
	uint8_t secret[LT_SECRET_KEY], public[LT_SECRET_KEY];
	char path[PATH_MAX], why[PATH_MAX + 200];
	const char *file = NULL;
	bool broker = false;
	int rc = start(t, &broker, &file);

	if (rc == LEAT_OK && file == NULL) {
		file = path;
		rc = user_file(path);
		if (rc == LEAT_OK)
			rc = lt_tool_make_userdir();
	}
	if (rc != LEAT_OK)
		return rc;
	rc = lt_keyfile_make(AT_FDCWD, file, secret, public, why, sizeof why);
	lt_secret_wipe(secret, sizeof secret);
	if (rc != LEAT_OK)
		return lt_tool_complain(rc, "%s", why);
	show(t, public, file);
	return LEAT_OK;
}

int
lt_tool_key_show(struct lt_tool *t)
{
	uint8_t public[LT_SECRET_KEY];
	const char *file = NULL;
	char path[PATH_MAX];
	bool broker = false;
	int rc = start(t, &broker, &file);

	if (rc != LEAT_OK)
		return rc;
	if (broker && t->operands[0] != NULL)
		return lt_tool_complain(LEAT_E_INVALID,
		    "FILE or --broker: say one; see `leat key show --help`");
	file = t->operands[0];
	if (broker)
		rc = broker_file(t, path);
	else if (file == NULL)
		rc = user_file(path);
	if (file == NULL)
		file = path;
	if (rc == LEAT_OK && broker) {
		rc = read_public(file, public);
		if (rc != LEAT_OK)
			return lt_tool_complain(rc,
			    "%s: no broker's public key; name its directory "
			    "with --socket DIR/leat.sock",
			    file);
	} else if (rc == LEAT_OK) {
		rc = read_file(file, public);
	}
	if (rc == LEAT_OK)
		show(t, public, file);
	return rc;
}

int
lt_tool_key_fingerprint(struct lt_tool *t)
{
	uint8_t public[LT_SECRET_KEY];
	const char *file = NULL, *word;
	bool broker = false;
	int rc = start(t, &broker, &file);

	if (rc != LEAT_OK)
		return rc;
	word = t->operands[0];
	if (lt_secret_parse(public,
		strncmp(word, "key:", 4) == 0 ? word + 4 : word) == LEAT_OK) {
		show(t, public, NULL);
		return LEAT_OK;
	}
	rc = read_file(word, public);
	if (rc == LEAT_OK)
		show(t, public, word);
	return rc;
}
