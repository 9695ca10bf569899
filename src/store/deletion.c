/*
 * deletion.c - deletions of topics, read from their configuration records.
 */
#include "config.h"
#include "store/deletion.h"

#include "base/mem.h"
#include "leat/status.h"

void
lt_deletion_init(struct lt_deletions *d)
{
	lt_hash_init(&d->topics);
	d->count = 0;
}

void
lt_deletion_fini(struct lt_deletions *d)
{
	struct lt_deletion *t;
	size_t cursor = 0;

	while ((t = lt_hash_next(&d->topics, &cursor)) != NULL)
		lt_mem_free(t);
	lt_hash_fini(&d->topics);
	d->count = 0;
}

const struct lt_deletion *
lt_deletion_find(const struct lt_deletions *d, const char *topic, size_t bytes)
{
	return lt_hash_get(&d->topics, topic, bytes);
}

static int
property(const struct lt_record_view *v, const char *name, const char **value,
    size_t *bytes)
{
	return lt_record_property(v, name, strlen(name), value, bytes) ==
	       LEAT_OK;
}

int
lt_deletion_take(struct lt_deletions *d, const struct lt_record_view *v,
    const char **deleted_out)
{
	const char *name, *value;
	size_t name_bytes, bytes;
	struct lt_deletion *t;
	int is_deleted, rc;

	*deleted_out = NULL;
	/* "begin" and "end" have no topic. */
	if (!property(v, LT_NAME_CONFIG_NAME, &name, &name_bytes) ||
	    name_bytes == 0 || name_bytes >= sizeof(t->topic))
		return LEAT_OK;
	is_deleted = property(v, LT_NAME_CONFIG_DELETED, &value, &bytes) &&
		     bytes == 1 && *value == '1';
	t = lt_hash_get(&d->topics, name, name_bytes);
	if (!is_deleted) {
		if (t != NULL && t->until == UINT64_MAX) {
			t->until = (uint64_t)v->log_offset;
			d->count--;
		}
		return LEAT_OK;
	}
	if (t == NULL) {
		t = lt_mem_alloc(sizeof(*t));
		if (t == NULL)
			return LEAT_E_NOMEM;
		memcpy(t->topic, name, name_bytes);
		/* System topics stay, whatever a record says. */
		rc = lt_name_is_system(t->topic) || strlen(t->topic) == 0
			 ? LEAT_E_NAME
			 : lt_hash_put(&d->topics, name, name_bytes, t);
		if (rc != LEAT_OK) {
			lt_mem_free(t);
			return rc == LEAT_E_NAME ? LEAT_OK : rc;
		}
	}
	d->count += t->until != UINT64_MAX;
	t->at = (uint64_t)v->log_offset;
	t->until = UINT64_MAX;
	*deleted_out = t->topic;
	return LEAT_OK;
}
