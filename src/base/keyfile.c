/*
 * keyfile.c - a new file gets its name by link(), which fails where rename()
 * would overwrite: two that make the same key at once have one between them,
 * and whoever dies half-way leaves a file of another name.
 */
#include "config.h"
#include "base/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "leat/status.h"

#define WORD "secret "
#define FILE_MAX 4096 /* comments are short */

/* --- make ------------------------------------------------------------------
 */

static int
write_file(int dir, const char *name, const char *text, size_t bytes)
{
	int fd = lt_sys.openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return lt_sys_status(errno);
	int rc = lt_sys_write_full(fd, text, bytes, 0);
	if (rc == LEAT_OK && lt_sys.fsync(fd) != 0)
		rc = lt_sys_status(errno);
	int saved = errno;
	lt_sys.close(fd);
	errno = saved;
	return rc;
}

static int
name_file(int dir, const char *path, const char *text, size_t bytes)
{
	char name[PATH_MAX];
	uint64_t any;

	lt_secret_random(&any, sizeof any);
	int n = snprintf(
	    name, sizeof name, "%s.%016llx", path, (unsigned long long)any);
	if (n >= (int)sizeof name) {
		errno = ENAMETOOLONG;
		return LEAT_E_IO;
	}
	int rc = write_file(dir, name, text, bytes);
	if (rc == LEAT_OK && lt_sys.linkat(dir, name, dir, path, 0) != 0)
		rc = lt_sys_status(errno);
	int saved = errno;
	(void)lt_sys.unlinkat(dir, name, 0);
	errno = saved;
	if (rc != LEAT_OK)
		return rc;
	rc = lt_sys_sync_parent(dir, path);
	saved = errno;
	if (rc != LEAT_OK)
		(void)lt_sys.unlinkat(dir, path, 0);
	errno = saved;
	return rc;
}

int
lt_keyfile_make(int dir, const char *path, uint8_t secret[LT_SECRET_KEY],
    uint8_t public[LT_SECRET_KEY], char *why, size_t why_bytes)
{
	char text[256], key[LT_SECRET_TEXT], shown[LT_SECRET_TEXT];

	do {
		lt_secret_pair(secret, public);
		lt_secret_text(shown, public);
	} while (shown[0] == '-'); /* a command would take it for an option */
	lt_secret_text(key, secret);
	int bytes = snprintf(text, sizeof text,
	    "# A key of Leat. Who has this file is who it names.\n"
	    "# Its public half: %s\n" WORD "%s\n",
	    shown, key);
	int rc = name_file(dir, path, text, (size_t)bytes);
	lt_secret_wipe(text, sizeof text);
	lt_secret_wipe(key, sizeof key);
	if (rc == LEAT_OK)
		return LEAT_OK;
	lt_secret_wipe(secret, LT_SECRET_KEY);
	lt_secret_wipe(public, LT_SECRET_KEY);
	if (rc == LEAT_E_EXISTS)
		snprintf(why, why_bytes,
		    "%s: is there, and is not overwritten; name another file "
		    "or move it away",
		    path);
	else if (rc == LEAT_E_NOTFOUND)
		snprintf(why, why_bytes,
		    "%s: no such directory; make it (mkdir -p -m 700)", path);
	else
		snprintf(why, why_bytes, "%s: cannot be written: %s", path,
		    strerror(errno));
	return rc;
}

/* --- read ------------------------------------------------------------------
 */

/* The file as a text; *bytes_out < FILE_MAX. */
static int
load(int dir, const char *path, char text[FILE_MAX], size_t *bytes_out,
    char *why, size_t why_bytes)
{
	struct stat st;
	int rc = LEAT_OK;

	/* Neither waits for the other end of a pipe. */
	int fd = lt_sys.openat(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 || lt_sys.fstat(fd, &st) != 0) {
		rc = lt_sys_status(errno);
		snprintf(why, why_bytes, "%s: cannot be read: %s%s", path,
		    strerror(errno),
		    rc == LEAT_E_NOTFOUND ? "; `leat key generate` makes one"
					  : "");
	} else if (!S_ISREG(st.st_mode)) {
		rc = LEAT_E_CONFIG;
		snprintf(why, why_bytes,
		    "%s: is no regular file; name one that `leat key "
		    "generate` made",
		    path);
	} else if ((st.st_mode & 077) != 0) {
		rc = LEAT_E_DENIED;
		snprintf(why, why_bytes,
		    "%s: others may read it (mode %04o); chmod 600, or make a "
		    "new key if they did",
		    path, (unsigned)st.st_mode & 07777);
	} else if (st.st_size >= FILE_MAX) {
		rc = LEAT_E_CONFIG;
		snprintf(why, why_bytes,
		    "%s: too long for a key; name a file that `leat key "
		    "generate` made",
		    path);
	} else {
		*bytes_out = (size_t)st.st_size;
		rc = lt_sys_read_full(fd, text, *bytes_out, 0);
		if (rc != LEAT_OK)
			snprintf(why, why_bytes, "%s: cannot be read: %s", path,
			    rc == LEAT_E_END ? "it became shorter"
					     : strerror(errno));
		if (rc == LEAT_E_END)
			rc = LEAT_E_IO;
	}
	if (fd >= 0)
		lt_sys.close(fd);
	return rc;
}

/* 0: one line has the key and the others are comments or empty. Otherwise the
 * number of the line that is wrong; of the one behind the last if none has. */
static int
parse(char *text, size_t bytes, uint8_t secret[LT_SECRET_KEY])
{
	const size_t word = sizeof WORD - 1;
	char *end = text + bytes;
	int line = 1, keys = 0;

	for (char *p = text, *next; p < end; p = next + 1, line++) {
		next = memchr(p, '\n', (size_t)(end - p));
		if (next == NULL)
			next = end;
		*next = 0;
		if (*p == '#' || p == next)
			continue;
		if (keys++ > 0 || strlen(p) != (size_t)(next - p) ||
		    strncmp(p, WORD, word) != 0 ||
		    lt_secret_parse(secret, p + word) != LEAT_OK)
			return line;
	}
	return keys == 1 ? 0 : line;
}

int
lt_keyfile_read(int dir, const char *path, uint8_t secret[LT_SECRET_KEY],
    uint8_t public[LT_SECRET_KEY], char *why, size_t why_bytes)
{
	char text[FILE_MAX];
	size_t bytes = 0;
	int rc = load(dir, path, text, &bytes, why, why_bytes);
	int line = rc == LEAT_OK ? parse(text, bytes, secret) : 0;

	lt_secret_wipe(text, sizeof text);
	if (line != 0) {
		rc = LEAT_E_CONFIG;
		snprintf(why, why_bytes,
		    "%s:%d: a key is one line \"" WORD
		    "\" and 43 characters; the others begin with #",
		    path, line);
	}
	if (rc == LEAT_OK) {
		lt_secret_public(public, secret);
		return LEAT_OK;
	}
	lt_secret_wipe(secret, LT_SECRET_KEY);
	lt_secret_wipe(public, LT_SECRET_KEY);
	return rc;
}
