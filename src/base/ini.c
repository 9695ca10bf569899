/*
 * ini.c - the door to inih. inih cuts long lines silently and says neither
 * the line of an entry nor why a line is wrong, so a reader of our own feeds
 * it line by line, counts, and refuses what would be cut.
 */
#include "config.h"
#include "base/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "leat/status.h"

#define FILE_MAX_BYTES (1u << 20)

struct entry {
	int line;
	size_t section, name, value; /* offsets into text */
};

struct feed {
	const char *at;
	const char *end;
	int line;
	int too_long; /* line, 0: none */
	int limit;
	int no_memory;
	struct entry *entries;
	size_t count, capacity;
	char *text;
	size_t text_bytes, text_capacity;
};

static int LT_PRINTF(4, 5)
    fail(struct lt_ini_error *err, int status, int line, const char *fmt, ...)
{
	va_list ap;

	err->line = line;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return status;
}

/* inih's reader: like fgets. Leading blanks are dropped, because inih takes
 * an indented line for the continuation of the value above. */
static char *
next_line(char *out, int room, void *stream)
{
	struct feed *f = stream;

	if (f->at == f->end || f->too_long != 0)
		return NULL;
	const char *nl = memchr(f->at, '\n', (size_t)(f->end - f->at));
	const char *stop = nl == NULL ? f->end : nl + 1;
	f->line++;
	while (f->at < stop && (*f->at == ' ' || *f->at == '\t'))
		f->at++;
	size_t n = (size_t)(stop - f->at);
	if (n > (size_t)room - 1) {
		f->too_long = f->line;
		f->limit = room - 2;
		return NULL;
	}
	memcpy(out, f->at, n);
	out[n] = 0;
	f->at = stop;
	return out;
}

static int
keep(struct feed *f, const char *text, size_t *at)
{
	size_t n = strlen(text) + 1;

	while (f->text_capacity - f->text_bytes < n) {
		size_t more = f->text_capacity * 2 + 1024;
		char *p = lt_mem_resize(f->text, more);
		if (p == NULL)
			return -1;
		f->text = p;
		f->text_capacity = more;
	}
	*at = f->text_bytes;
	memcpy(f->text + *at, text, n);
	f->text_bytes += n;
	return 0;
}

/* inih's handler: 1 to go on. It sees a comment only behind a blank; one that
 * takes the place of the value leaves none. */
static int
collect(void *user, const char *section, const char *name, const char *value)
{
	struct feed *f = user;
	struct entry e = {.line = f->line};

	if (value[0] == ';')
		value = "";
	if (keep(f, section, &e.section) != 0 || keep(f, name, &e.name) != 0 ||
	    keep(f, value, &e.value) != 0 ||
	    lt_mem_grow((void **)&f->entries, &f->capacity, f->count,
		sizeof *f->entries) != LEAT_OK) {
		f->no_memory = 1;
		return 0;
	}
	f->entries[f->count++] = e;
	return 1;
}

/* Whole file; *bytes_out without the final NUL. */
static int
slurp(const char *path, char **out, size_t *bytes_out, struct lt_ini_error *err)
{
	int rc = LEAT_OK;
	struct stat st;
	char *text = NULL;

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		rc = errno == ENOENT || errno == ENOTDIR ? LEAT_E_NOTFOUND
							 : LEAT_E_DENIED;
		return fail(err, rc, 0, "cannot open it (%s): %s",
		    strerror(errno),
		    rc == LEAT_E_NOTFOUND ? "make the file or name another"
					  : "let the broker's user read it");
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		rc = fail(err, LEAT_E_CONFIG, 0,
		    "not a regular file: name a text file");
		goto out;
	}
	size_t room = st.st_size < (off_t)FILE_MAX_BYTES ? (size_t)st.st_size
							 : FILE_MAX_BYTES;
	text = lt_mem_alloc(room + 1);
	if (text == NULL) {
		rc = fail(err, LEAT_E_CONFIG, 0, "out of memory");
		goto out;
	}
	size_t n = 0;
	for (;;) {
		ssize_t got = read(fd, text + n, room + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = fail(err, LEAT_E_CONFIG, 0, "cannot read it (%s)",
			    strerror(errno));
			goto out;
		}
		n += (size_t)got;
		if (got == 0 || n > room)
			break;
	}
	if (n > FILE_MAX_BYTES) {
		rc = fail(err, LEAT_E_CONFIG, 0,
		    "larger than %u bytes: is it a configuration file?",
		    FILE_MAX_BYTES);
		goto out;
	}
	if (n > room) {
		rc = fail(err, LEAT_E_CONFIG, 0,
		    "it grew while it was read: try again");
		goto out;
	}
	*out = text;
	*bytes_out = n;
	text = NULL;
out:
	lt_mem_free(text);
	close(fd);
	return rc;
}

/* Line of the first NUL byte, 0: none. */
static int
nul_line(const char *text, size_t bytes)
{
	const char *nul = memchr(text, 0, bytes);
	int line = 1;

	if (nul == NULL)
		return 0;
	for (const char *p = text; p < nul; p++)
		line += *p == '\n';
	return line;
}

static int
parse(struct feed *f, struct lt_ini_error *err)
{
	int bad = ini_parse_stream(next_line, f, collect, f);

	if (f->no_memory || bad < 0)
		return fail(err, LEAT_E_CONFIG, 0, "out of memory");
	if (bad > 0 && (f->too_long == 0 || bad < f->too_long))
		return fail(err, LEAT_E_CONFIG, bad,
		    "neither \"[section]\" nor \"name = value\" nor a comment: "
		    "write one of them");
	if (f->too_long != 0)
		return fail(err, LEAT_E_CONFIG, f->too_long,
		    "line longer than %d characters: shorten it", f->limit);
	return LEAT_OK;
}

int
lt_ini_read(const char *path,
    int (*each)(void *user, int line, const char *section, const char *name,
	const char *value, struct lt_ini_error *err),
    void *user, struct lt_ini_error *err)
{
	struct feed f = {0};
	char *text = NULL;
	size_t bytes = 0;

	err->line = 0;
	err->text[0] = 0;
	int rc = slurp(path, &text, &bytes, err);
	if (rc != LEAT_OK)
		return rc;
	int line = nul_line(text, bytes);
	if (line != 0) {
		rc = fail(
		    err, LEAT_E_CONFIG, line, "a NUL byte: write plain text");
		goto out;
	}
	f.at = text;
	f.end = text + bytes;
	rc = parse(&f, err);
	for (size_t i = 0; rc == LEAT_OK && i < f.count; i++) {
		const struct entry *e = &f.entries[i];
		err->line = e->line;
		if (each(user, e->line, f.text + e->section, f.text + e->name,
			f.text + e->value, err) != 0)
			rc = LEAT_E_CONFIG;
	}
	if (rc == LEAT_OK)
		err->line = 0;
out:
	lt_mem_free(f.entries);
	lt_mem_free(f.text);
	lt_mem_free(text);
	return rc;
}
