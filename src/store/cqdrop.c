/*
 * cqdrop.c - dropping a topic's queues, of which there may be ten thousand,
 * while publishers wait for the writer: only what frees the name is done at
 * once.
 *
 *   memory   the topic leaves the set           later: queue by queue
 *   disk     consumequeue/TOPIC is renamed to   later: file by file, by who has
 *            consumequeue/.dropped-N            the time (syncer.c)
 *
 * A hidden name is no topic's, so recovery, verify and readers pass over it.
 * What is found under one may be removed at any time, in any order, also after
 * a crash, by a pass over all of them. A power cut may undo the rename, and the
 * topic is there again: files that no queue claims, which recovery's sweep
 * drops; it cannot undo it below a topic made again by that name, since both
 * are changes of one directory, which come in order.
 */
#include "config.h"
#include "store/consumequeue.h"
#include "store/cqset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"

#define HIDDEN ".dropped-"

/* --- the name --------------------------------------------------------------
 */

static int
open_dir(int dir, const char *name, DIR **out)
{
	int fd =
	    lt_sys.openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return lt_sys_status(errno);
	*out = fdopendir(fd);
	if (*out != NULL)
		return LEAT_OK;
	lt_sys.close(fd);
	return LEAT_E_NOMEM;
}

/* Remove a directory and what is in it, `depth` levels down. */
static int
remove_tree(int dir, const char *name, int depth)
{
	DIR *d;
	int rc = open_dir(dir, name, &d);

	if (rc != LEAT_OK)
		return rc == LEAT_E_NOTFOUND ? LEAT_OK : rc;
	for (struct dirent *e; rc == LEAT_OK && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (depth > 0)
			rc = remove_tree(dirfd(d), e->d_name, depth - 1);
		else if (lt_sys.unlinkat(dirfd(d), e->d_name, 0) != 0 &&
			 errno != ENOENT)
			rc = lt_sys_status(errno);
	}
	closedir(d);
	if (rc == LEAT_OK && lt_sys.unlinkat(dir, name, AT_REMOVEDIR) != 0 &&
	    errno != ENOENT)
		rc = lt_sys_status(errno);
	return rc;
}

/* Give the topic's directory a hidden name that nothing has: a crash may have
 * left some. */
static int
hide(struct lt_cq_set *set, const char *topic)
{
	char name[sizeof HIDDEN + 20];
	int rc;

	do {
		snprintf(name, sizeof name, HIDDEN "%" PRIu64,
		    set->dropped_number++);
		rc = lt_sys.renameat(set->dir, topic, set->dir, name);
	} while (rc != 0 &&
		 (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR));
	if (rc == 0) {
		(void)lt_failpoint(LT_FP_STORE_DROP);
		return LEAT_OK;
	}
	if (errno == ENOENT)
		return LEAT_OK;
	/* No block for another name: then here and now. */
	return remove_tree(set->dir, topic, 1);
}

int
lt_cq_drop_topic(struct lt_cq_set *set, const char *topic)
{
	if (!lt_cq_is_name(topic, strlen(topic)))
		return LEAT_E_NAME;
	lt_cqset_drop(set, topic);
	return hide(set, topic);
}

/* --- memory ----------------------------------------------------------------
 */

struct lt_cq *
lt_cq_dropped(struct lt_cq_set *set)
{
	struct lt_cq_topic *t;

	while ((t = set->dropped) != NULL) {
		for (; t->freed < t->capacity; t->freed++) {
			struct lt_cq *cq = t->queues[t->freed];
			if (cq != NULL)
				return cq->is_dirty ? NULL : cq;
		}
		set->dropped = t->chain;
		lt_cqset_free_topic(t);
	}
	return NULL;
}

void
lt_cq_free(struct lt_cq_set *set, struct lt_cq *cq)
{
	struct lt_cq_topic *t = cq->topic;

	LT_ASSERT(t == set->dropped && cq->queue == t->freed);
	LT_ASSERT(cq->user == NULL && cq->buf == NULL);
	t->queues[t->freed++] = NULL;
	lt_mem_free(cq);
}

static void
leave_list(struct lt_cq_set *set, struct lt_cq **link)
{
	struct lt_cq *cq;

	while ((cq = *link) != NULL)
		if (cq->topic->is_dropped) {
			*link = cq->dirty_next;
			lt_cqset_let_go(set, cq);
		} else {
			link = &cq->dirty_next;
		}
}

void
lt_cq_free_dropped(struct lt_cq_set *set)
{
	struct lt_cq *cq;

	leave_list(set, &set->dirty);
	leave_list(set, &set->flushing);
	while ((cq = lt_cq_dropped(set)) != NULL)
		lt_cq_free(set, cq);
}

/* --- files -----------------------------------------------------------------
 */

int
lt_cq_remove_begin(struct lt_cq_removal *r, const struct lt_cq_set *set)
{
	DIR *d;
	int rc = open_dir(set->dir, ".", &d);

	*r = (struct lt_cq_removal){.names = rc == LEAT_OK ? d : NULL};
	return rc;
}

void
lt_cq_remove_end(struct lt_cq_removal *r)
{
	if (r->topic != NULL)
		closedir(r->topic);
	if (r->names != NULL)
		closedir(r->names);
	*r = (struct lt_cq_removal){0};
}

static void
say(const struct lt_cq_removal *r, const char *name, int status)
{
	lt_log_warn("dropped-files-left", "name=%s/%s status=%s", r->name, name,
	    leat_status_name(status));
}

/* The next hidden name; 0: there is none. */
static int
next_topic(struct lt_cq_removal *r)
{
	struct dirent *e;

	while ((e = readdir(r->names)) != NULL) {
		DIR *d = NULL;
		if (strncmp(e->d_name, HIDDEN, sizeof HIDDEN - 1) != 0 ||
		    strlen(e->d_name) >= sizeof r->name)
			continue;
		memcpy(r->name, e->d_name, strlen(e->d_name) + 1);
		int rc = open_dir(dirfd(r->names), r->name, &d);
		r->topic = d;
		if (rc == LEAT_OK)
			return 1;
		if (rc != LEAT_E_NOTFOUND)
			say(r, "", rc);
	}
	return 0;
}

/* All that was in it has been tried. Not empty: then it stays. */
static void
end_topic(struct lt_cq_removal *r)
{
	closedir(r->topic);
	r->topic = NULL;
	(void)lt_sys.unlinkat(dirfd(r->names), r->name, AT_REMOVEDIR);
}

int
lt_cq_remove_some(struct lt_cq_removal *r, size_t max)
{
	for (; max > 0; max--) {
		struct dirent *e = NULL;
		if (r->topic == NULL && !next_topic(r))
			return LEAT_OK;
		while ((e = readdir(r->topic)) != NULL && e->d_name[0] == '.')
			;
		if (e == NULL) {
			end_topic(r);
			continue;
		}
		int rc = remove_tree(dirfd(r->topic), e->d_name, 0);
		if (rc != LEAT_OK)
			say(r, e->d_name, rc);
		(void)lt_failpoint(LT_FP_STORE_DROP_REMOVE);
	}
	return LEAT_E_AGAIN;
}

int
lt_cq_remove_dropped(const struct lt_cq_set *set)
{
	struct lt_cq_removal r;
	int rc = lt_cq_remove_begin(&r, set);

	if (rc == LEAT_OK)
		rc = lt_cq_remove_some(&r, SIZE_MAX);
	lt_cq_remove_end(&r);
	return rc;
}
