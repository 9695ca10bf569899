/*
 * post.c - a child's control socket, the sending side. A child that is slow to
 * read must not stop the supervisor from draining the other one, so what the
 * socket does not take waits here. The bound is the kept table: a replay is
 * the only thing that is long, and there is one per life of a child.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "leat/status.h"

void
lt_post_init(struct lt_postbox *box)
{
	box->sock = -1;
	STAILQ_INIT(&box->waiting);
}

static void
discard(struct lt_post *p)
{
	for (size_t i = 0; i < p->fd_count; i++)
		close(p->fds[i]);
	if (p->kept != NULL)
		lt_keep_unref(p->kept);
	lt_mem_free(p);
}

static void
discard_all(struct lt_postbox *box)
{
	struct lt_post *p;

	while ((p = STAILQ_FIRST(&box->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&box->waiting, link);
		discard(p);
	}
}

void
lt_post_close(struct lt_postbox *box)
{
	discard_all(box);
	if (box->sock >= 0)
		close(box->sock);
	box->sock = -1;
}

int
lt_post_waits(const struct lt_postbox *box)
{
	return !STAILQ_EMPTY(&box->waiting);
}

static int
send_one(const struct lt_postbox *box, const struct lt_post *p)
{
	if (p->kept != NULL)
		return lt_fdpass_send(box->sock, &p->kept->msg,
		    sizeof p->kept->msg, p->kept->fds, p->kept->fd_count);
	return lt_fdpass_send(
	    box->sock, p->data, p->bytes, p->fds, p->fd_count);
}

void
lt_post_flush(struct lt_postbox *box)
{
	struct lt_post *p;

	while ((p = STAILQ_FIRST(&box->waiting)) != NULL) {
		int rc = send_one(box, p);
		if (rc == LEAT_E_AGAIN || rc == LEAT_E_NOMEM)
			return;
		if (rc != LEAT_OK) {
			discard_all(box); /* the child is gone */
			return;
		}
		STAILQ_REMOVE_HEAD(&box->waiting, link);
		discard(p);
	}
}

int
lt_post_send(struct lt_postbox *box, const void *msg, size_t bytes,
    const int *fds, size_t fd_count)
{
	LT_ASSERT(fd_count <= LT_FDPASS_MAX);
	if (box->sock < 0)
		return LEAT_OK;
	lt_post_flush(box);
	if (!lt_post_waits(box)) {
		int rc = lt_fdpass_send(box->sock, msg, bytes, fds, fd_count);
		if (rc == LEAT_E_UNREACHABLE)
			return LEAT_OK;
		if (rc != LEAT_E_AGAIN && rc != LEAT_E_NOMEM)
			return rc;
	}
	struct lt_post *p = lt_mem_alloc(sizeof *p + bytes);
	if (p == NULL)
		return LEAT_E_NOMEM;
	p->bytes = bytes;
	memcpy(p->data, msg, bytes);
	for (; p->fd_count < fd_count; p->fd_count++) {
		int fd = fcntl(fds[p->fd_count], F_DUPFD_CLOEXEC, 3);
		if (fd < 0) {
			discard(p);
			return LEAT_E_IO;
		}
		p->fds[p->fd_count] = fd;
	}
	STAILQ_INSERT_TAIL(&box->waiting, p, link);
	return LEAT_OK;
}

int
lt_post_replay(struct lt_postbox *box, const struct lt_keep_table *t)
{
	struct lt_kept *k;

	TAILQ_FOREACH(k, &t->list, link)
	{
		struct lt_post *p = lt_mem_alloc(sizeof *p);
		if (p == NULL)
			return LEAT_E_NOMEM;
		p->kept = k;
		k->refs++;
		STAILQ_INSERT_TAIL(&box->waiting, p, link);
	}
	lt_post_flush(box);
	return LEAT_OK;
}
