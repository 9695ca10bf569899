/* bytes.c - the parts of bytes.h that are not worth inlining. */
#include "config.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int
lt_bytes_unhex64(const char in[16], uint64_t *out)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		int d = digit(in[i]);
		if (d < 0)
			return -1;
		v = v << 4 | (uint64_t)d;
	}
	*out = v;
	return 0;
}

int
lt_bytes_digits(const char *text, size_t digits, uint64_t *out)
{
	if (strlen(text) != digits || strspn(text, "0123456789") != digits)
		return -1;
	errno = 0;
	*out = strtoull(text, NULL, 10);
	return errno == 0 && *out <= INT64_MAX ? 0 : -1;
}

int
lt_bytes_field(char *field, size_t n, const char *text)
{
	size_t bytes = strnlen(text, n);

	memset(field, 0, n);
	if (bytes == n)
		return -1;
	memcpy(field, text, bytes);
	return 0;
}

int
lt_bytes_terminated(const char *field, size_t n)
{
	return memchr(field, 0, n) != NULL;
}

int
lt_bytes_port(const char *text, size_t *host_bytes_out)
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	uint64_t port;

	if (colon == NULL || (bracket != NULL && bracket > colon)) {
		*host_bytes_out = strlen(text);
		return 0;
	}
	*host_bytes_out = (size_t)(colon - text);
	colon++;
	return lt_bytes_digits(colon, strlen(colon), &port) == 0 && port > 0 &&
		       port <= UINT16_MAX
		   ? (int)port
		   : -1;
}
