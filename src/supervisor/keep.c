/*
 * keep.c - the table of kept segments: an entry per kind and id with its
 * descriptors and a blob that only its owner understands. The supervisor never
 * maps or reads a segment, so nothing in one can harm it.
 *
 * And if a child dies between making a segment and telling us? Then nobody
 * else knows of it either: clients are told after the KEEP was sent, and a
 * sent message survives its sender in our socket.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "leat/status.h"

struct key {
	uint64_t id;
	uint64_t kind;
};

void
lt_keep_init(struct lt_keep_table *t)
{
	TAILQ_INIT(&t->list);
	lt_hash_init(&t->map);
}

static void
close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

void
lt_keep_unref(struct lt_kept *k)
{
	LT_ASSERT(k->refs > 0);
	if (--k->refs > 0)
		return;
	close_all(k->fds, k->fd_count);
	lt_mem_free(k);
}

void
lt_keep_fini(struct lt_keep_table *t)
{
	struct lt_kept *k;

	while ((k = TAILQ_FIRST(&t->list)) != NULL) {
		TAILQ_REMOVE(&t->list, k, link);
		lt_keep_unref(k);
	}
	lt_hash_fini(&t->map);
}

struct lt_kept *
lt_keep_find(const struct lt_keep_table *t, uint32_t kind, uint64_t id)
{
	struct key key = {.id = id, .kind = kind};
	return lt_hash_get(&t->map, &key, sizeof key);
}

void
lt_keep_drop(struct lt_keep_table *t, uint32_t kind, uint64_t id)
{
	struct key key = {.id = id, .kind = kind};
	struct lt_kept *k = lt_hash_del(&t->map, &key, sizeof key);

	if (k == NULL)
		return;
	TAILQ_REMOVE(&t->list, k, link);
	lt_keep_unref(k);
}

int
lt_keep_put(struct lt_keep_table *t, const struct lt_wire_keep *msg,
    const int *fds, size_t fd_count)
{
	struct key key = {.id = msg->id, .kind = msg->kind};
	struct lt_kept *k = NULL;
	int rc = LEAT_E_INVALID;

	if (msg->kind < LT_KEEP_SESSION || msg->kind > LT_KEEP_STATE ||
	    msg->blob_bytes > sizeof msg->blob || fd_count > LT_FDPASS_MAX)
		goto refuse;
	struct lt_kept *old = lt_keep_find(t, msg->kind, msg->id);
	rc = LEAT_E_LIMIT;
	if (old == NULL && t->map.used >= LT_KEEP_MAX)
		goto refuse;
	rc = LEAT_E_NOMEM;
	k = lt_mem_alloc(sizeof *k);
	if (k == NULL || lt_hash_put(&t->map, &key, sizeof key, k) != LEAT_OK)
		goto refuse;
	k->refs = 1;
	k->fd_count = fd_count;
	memcpy(k->fds, fds, fd_count * sizeof *fds);
	lt_wire_init(&k->msg.h, LT_OP_SUP_KEPT, sizeof k->msg, 0, 0);
	k->msg.kind = msg->kind;
	k->msg.id = msg->id;
	k->msg.blob_bytes = msg->blob_bytes;
	memcpy(k->msg.blob, msg->blob, msg->blob_bytes);
	TAILQ_INSERT_TAIL(&t->list, k, link);
	if (old != NULL) {
		TAILQ_REMOVE(&t->list, old, link);
		lt_keep_unref(old);
	}
	return LEAT_OK;
refuse:
	lt_mem_free(k);
	close_all(fds, fd_count);
	return rc;
}
