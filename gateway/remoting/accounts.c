/*
 * accounts.c - the file of accounts becomes a sorted table. Each secret is made
 * a key of HMAC where it stands, and the file's text is wiped.
 */
#include "config.h"
#include "remoting/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define SECRET_MAX 255
#define FILE_MAX (2u << 20)
#define FORBIDDEN (S_IWGRP | S_IRWXO)
#define BLANKS " \t\r"

struct lt_accounts {
	size_t count, capacity; /* at most one a line */
	struct lt_account *rows; /* in order of their keys */
};

struct why {
	char *text;
	size_t bytes;
};

LT_PRINTF(2, 3)
static int
wrong(const struct why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, why->bytes, fmt, ap);
	va_end(ap);
	return LEAT_E_CONFIG;
}

/* --- one line --------------------------------------------------------------
 */

static int
is_key(const char *word, size_t bytes)
{
	if (bytes == 0 || bytes >= LT_PRINCIPAL_NAME)
		return 0;
	for (size_t i = 0; i < bytes; i++)
		if (word[i] <= ' ' || word[i] > '~' || word[i] == '*' ||
		    word[i] == '?' || word[i] == '"' || word[i] == '\\')
			return 0;
	return 1;
}

static int
add(struct lt_accounts *a, char *line, unsigned number, const struct why *why)
{
	char *key = line + strspn(line, BLANKS);
	size_t key_bytes = strcspn(key, BLANKS);
	char *secret = key + key_bytes + strspn(key + key_bytes, BLANKS);
	size_t secret_bytes = strcspn(secret, BLANKS);
	struct lt_account *row;

	if (key[0] == '\0' || key[0] == '#')
		return LEAT_OK;
	if (!is_key(key, key_bytes))
		return wrong(why,
		    "line %u: an access key has 1 to %d printable characters, "
		    "none of them * ? \" \\",
		    number, LT_PRINCIPAL_NAME - 1);
	if (secret_bytes == 0 || secret_bytes > SECRET_MAX ||
	    secret[secret_bytes + strspn(secret + secret_bytes, BLANKS)] !=
		'\0')
		return wrong(why,
		    "line %u: write ACCESSKEY SECRETKEY, the secret with 1 to "
		    "%d bytes",
		    number, SECRET_MAX);
	if (a->count == a->capacity)
		return wrong(why, "line %u: at most %d accounts", number,
		    LT_ACCOUNTS_MAX);
	row = &a->rows[a->count++];
	memcpy(row->key, key, key_bytes);
	row->key[key_bytes] = '\0';
	lt_hmac_init(&row->hmac, secret, secret_bytes);
	return LEAT_OK;
}

/* --- the file --------------------------------------------------------------
 */

/* Its text, with a NUL behind it. */
static int
read_text(int fd, char *text, size_t bytes, const struct why *why)
{
	size_t n = 0;

	while (n < bytes) {
		ssize_t k = lt_sys.pread(fd, text + n, bytes - n, (off_t)n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return wrong(
			    why, "cannot be read: %s", strerror(errno));
		if (k == 0)
			break;
		n += (size_t)k;
	}
	text[n] = '\0';
	return strlen(text) == n ? LEAT_OK : wrong(why, "is no text");
}

static int
check_file(int fd, const char *path, size_t *bytes_out, const struct why *why)
{
	struct stat st;

	if (lt_sys.fstat(fd, &st) != 0)
		return wrong(why, "cannot be read: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wrong(why, "is no file");
	if ((st.st_mode & FORBIDDEN) != 0)
		return wrong(why,
		    "others may read or write it (mode %04o): chmod %s %s",
		    (unsigned)st.st_mode & 07777,
		    (st.st_mode & S_IRGRP) != 0 ? "0640" : "0600", path);
	if (st.st_size > FILE_MAX)
		return wrong(why, "is larger than %u bytes", FILE_MAX);
	*bytes_out = (size_t)st.st_size;
	return LEAT_OK;
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct lt_account *)a)->key,
	    ((const struct lt_account *)b)->key);
}

static int
read_lines(struct lt_accounts *a, char *text, const struct why *why)
{
	unsigned number = 0;
	int status = LEAT_OK;

	a->capacity = 1;
	for (const char *p = text;
	     a->capacity < LT_ACCOUNTS_MAX && (p = strchr(p, '\n')) != NULL;
	     p++)
		a->capacity++;
	a->rows = lt_mem_array(a->capacity, sizeof *a->rows);
	if (a->rows == NULL)
		return LEAT_E_NOMEM;
	for (char *line = text, *next; status == LEAT_OK && line != NULL;
	     line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		status = add(a, line, ++number, why);
	}
	if (status != LEAT_OK)
		return status;
	if (a->count == 0)
		return wrong(why, "has no account: write ACCESSKEY SECRETKEY");
	qsort(a->rows, a->count, sizeof *a->rows, by_key);
	for (size_t i = 1; i < a->count; i++)
		if (by_key(&a->rows[i - 1], &a->rows[i]) == 0)
			return wrong(
			    why, "has access key %s twice", a->rows[i].key);
	return LEAT_OK;
}

int
lt_accounts_read(
    const char *path, struct lt_accounts **out, char *why_out, size_t why_bytes)
{
	const struct why why = {why_out, why_bytes};
	struct lt_accounts *a = lt_mem_alloc(sizeof *a);
	char *text = NULL;
	size_t bytes = 0;
	int status = a != NULL ? LEAT_OK : LEAT_E_NOMEM;
	int fd =
	    lt_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);

	(void)wrong(&why, "out of memory");
	if (status == LEAT_OK && fd < 0)
		status = wrong(&why, "cannot be opened: %s", strerror(errno));
	if (status == LEAT_OK)
		status = check_file(fd, path, &bytes, &why);
	if (status == LEAT_OK && (text = lt_mem_alloc(bytes + 1)) == NULL)
		status = LEAT_E_NOMEM;
	if (status == LEAT_OK)
		status = read_text(fd, text, bytes, &why);
	if (status == LEAT_OK)
		status = read_lines(a, text, &why);
	if (text != NULL)
		explicit_bzero(text, bytes);
	lt_mem_free(text);
	if (fd >= 0)
		lt_sys.close(fd);
	if (status == LEAT_OK)
		*out = a;
	else
		lt_accounts_free(a);
	return status;
}

void
lt_accounts_free(struct lt_accounts *accounts)
{
	if (accounts == NULL)
		return;
	if (accounts->rows != NULL)
		explicit_bzero(accounts->rows,
		    accounts->capacity * sizeof *accounts->rows);
	lt_mem_free(accounts->rows);
	lt_mem_free(accounts);
}

size_t
lt_accounts_count(const struct lt_accounts *accounts)
{
	return accounts->count;
}

const struct lt_account *
lt_accounts_find(
    const struct lt_accounts *accounts, struct lt_remoting_text key)
{
	size_t low = 0, high = accounts->count;

	if (key.bytes >= LT_PRINCIPAL_NAME ||
	    memchr(key.p, 0, key.bytes) != NULL)
		return NULL;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct lt_account *row = &accounts->rows[mid];
		int order = strncmp(row->key, key.p, key.bytes);

		if (order == 0 && row->key[key.bytes] == '\0')
			return row;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
