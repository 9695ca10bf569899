/*
 * lines.c - input cut at a separator of any bytes, through a buffer that grows
 * to the longest piece allowed. Tells when the next read would wait, so a
 * publisher can look after its receipts first.
 */
#include "config.h"
#include "tools/tool.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_BYTES (256 * 1024)

struct lt_lines {
	int fd;
	bool ended;
	char *delim;
	size_t delim_bytes;
	size_t max_bytes;
	char *buf;
	size_t capacity, start, end;
	size_t searched; /* no separator begins in [start, searched) */
};

int
lt_lines_open(int fd, const char *delim, size_t delim_bytes, size_t max_bytes,
    struct lt_lines **out)
{
	struct lt_lines *l = lt_mem_alloc(sizeof *l);
	if (l == NULL)
		return LEAT_E_NOMEM;
	l->fd = fd;
	l->max_bytes = max_bytes;
	l->delim_bytes = delim_bytes;
	l->capacity = 2 * READ_BYTES;
	l->delim = lt_mem_alloc(delim_bytes);
	l->buf = lt_mem_alloc(l->capacity);
	if (l->delim == NULL || l->buf == NULL) {
		lt_lines_close(l);
		return LEAT_E_NOMEM;
	}
	memcpy(l->delim, delim, delim_bytes);
	*out = l;
	return LEAT_OK;
}

void
lt_lines_close(struct lt_lines *l)
{
	if (l == NULL)
		return;
	lt_mem_free(l->delim);
	lt_mem_free(l->buf);
	lt_mem_free(l);
}

/* Room for another read behind end. */
static int
make_room(struct lt_lines *l)
{
	if (l->start > 0) {
		memmove(l->buf, l->buf + l->start, l->end - l->start);
		l->end -= l->start;
		l->searched -= l->start;
		l->start = 0;
	}
	if (l->capacity - l->end >= READ_BYTES)
		return LEAT_OK;
	if (l->end > l->max_bytes + l->delim_bytes)
		return LEAT_E_TOOBIG;
	char *bigger = lt_mem_resize(l->buf, l->capacity * 2);
	if (bigger == NULL)
		return LEAT_E_NOMEM;
	l->buf = bigger;
	l->capacity *= 2;
	return LEAT_OK;
}

static int
fill(struct lt_lines *l, bool wait)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	if (!wait && poll(&p, 1, 0) == 0)
		return LEAT_E_AGAIN;
	int rc = make_room(l);
	if (rc != LEAT_OK)
		return rc;
	ssize_t n = read(l->fd, l->buf + l->end, l->capacity - l->end);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? LEAT_E_AGAIN
							 : LEAT_E_IO;
	if (n == 0)
		l->ended = true;
	l->end += (size_t)n;
	return LEAT_OK;
}

int
lt_lines_next(struct lt_lines *l, bool wait, const char **piece, size_t *bytes)
{
	for (;;) {
		const char *from = l->buf + l->searched;
		const char *hit = memmem(
		    from, l->end - l->searched, l->delim, l->delim_bytes);
		if (hit != NULL || (l->ended && l->end > l->start)) {
			const char *stop = hit != NULL ? hit : l->buf + l->end;
			*piece = l->buf + l->start;
			*bytes = (size_t)(stop - *piece);
			l->start += *bytes + (hit != NULL ? l->delim_bytes : 0);
			l->searched = l->start;
			return *bytes > l->max_bytes ? LEAT_E_TOOBIG : LEAT_OK;
		}
		if (l->ended)
			return LEAT_E_END;
		/* A separator may straddle what is there and what comes. */
		size_t kept = l->delim_bytes - 1;
		if (l->end - l->start > kept && l->end - kept > l->searched)
			l->searched = l->end - kept;
		int rc = fill(l, wait);
		if (rc != LEAT_OK)
			return rc;
	}
}
