/* keys.c - key-value configuration by namespace; in memory only. */
#include "config.h"
#include "names/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

#define SLOT_BYTES 64

static size_t
entry_bytes(const struct lt_tables_entry *e)
{
	return sizeof(*e) + 2 * e->key_bytes + e->value_bytes + SLOT_BYTES;
}

static size_t
space_bytes(const struct lt_tables_space *s)
{
	return sizeof(*s) + 2 * s->name_bytes + SLOT_BYTES;
}

static struct lt_tables_space *
find_space(const struct lt_names *names, struct lt_remoting_text name)
{
	return name.p == NULL ? NULL
			      : lt_hash_get(&names->spaces, name.p, name.bytes);
}

static void
free_entry(struct lt_names *names, struct lt_tables_space *s,
    struct lt_tables_entry *e)
{
	lt_hash_del(&s->entries, e->text, e->key_bytes);
	names->bytes -= entry_bytes(e);
	lt_mem_free(e);
}

static void
free_space(struct lt_names *names, struct lt_tables_space *s)
{
	lt_hash_del(&names->spaces, s->name, s->name_bytes);
	names->bytes -= space_bytes(s);
	lt_hash_fini(&s->entries);
	lt_mem_free(s);
}

static int
make_space(struct lt_names *names, struct lt_remoting_text name,
    struct lt_tables_space **out)
{
	struct lt_tables_space *s = lt_mem_alloc(sizeof(*s) + name.bytes);

	if (s == NULL)
		return LEAT_E_NOMEM;
	lt_hash_init(&s->entries);
	s->name_bytes = name.bytes;
	memcpy(s->name, name.p, name.bytes);
	int rc = lt_tables_charge(names, space_bytes(s));
	if (rc == LEAT_OK) {
		rc = lt_hash_put(&names->spaces, name.p, name.bytes, s);
		if (rc == LEAT_OK) {
			*out = s;
			return LEAT_OK;
		}
		names->bytes -= space_bytes(s);
	}
	lt_mem_free(s);
	return rc;
}

/* In the place of `old`, if there is one; then old is freed. */
static int
put_entry(struct lt_names *names, struct lt_tables_space *s,
    struct lt_remoting_text key, struct lt_remoting_text value)
{
	struct lt_tables_entry *old =
	    lt_hash_get(&s->entries, key.p, key.bytes);
	struct lt_tables_entry *e =
	    lt_mem_alloc(sizeof(*e) + key.bytes + value.bytes);

	if (e == NULL)
		return LEAT_E_NOMEM;
	e->key_bytes = key.bytes;
	e->value_bytes = value.bytes;
	memcpy(e->text, key.p, key.bytes);
	if (value.bytes > 0)
		memcpy(e->text + key.bytes, value.p, value.bytes);
	int rc = lt_tables_charge(names, entry_bytes(e));
	if (rc == LEAT_OK) {
		rc = lt_hash_put(&s->entries, key.p, key.bytes, e);
		if (rc != LEAT_OK)
			names->bytes -= entry_bytes(e);
	}
	if (rc != LEAT_OK) {
		lt_mem_free(e);
	} else if (old != NULL) {
		names->bytes -= entry_bytes(old);
		lt_mem_free(old);
	}
	return rc;
}

int
lt_tables_put_key(struct lt_names *names, struct lt_remoting_text space,
    struct lt_remoting_text key, struct lt_remoting_text value)
{
	struct lt_tables_space *s = find_space(names, space);
	int rc = s != NULL ? LEAT_OK : make_space(names, space, &s);

	if (rc == LEAT_OK)
		rc = put_entry(names, s, key, value);
	if (rc != LEAT_OK && s != NULL && s->entries.used == 0)
		free_space(names, s);
	return rc;
}

struct lt_remoting_text
lt_tables_get_key(const struct lt_names *names, struct lt_remoting_text space,
    struct lt_remoting_text key)
{
	const struct lt_tables_space *s = find_space(names, space);
	const struct lt_tables_entry *e =
	    s == NULL || key.p == NULL
		? NULL
		: lt_hash_get(&s->entries, key.p, key.bytes);
	struct lt_remoting_text none = {NULL, 0};

	return e == NULL ? none
			 : (struct lt_remoting_text){e->text + e->key_bytes,
			       (uint32_t)e->value_bytes};
}

void
lt_tables_delete_key(struct lt_names *names, struct lt_remoting_text space,
    struct lt_remoting_text key)
{
	struct lt_tables_space *s = find_space(names, space);
	struct lt_tables_entry *e =
	    s == NULL || key.p == NULL
		? NULL
		: lt_hash_get(&s->entries, key.p, key.bytes);

	if (e != NULL)
		free_entry(names, s, e);
}

static int
by_key(const void *a, const void *b)
{
	const struct lt_tables_entry *x =
	    *(const struct lt_tables_entry *const *)a;
	const struct lt_tables_entry *y =
	    *(const struct lt_tables_entry *const *)b;
	size_t least =
	    x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
	int order = memcmp(x->text, y->text, least);

	return order != 0 ? order
			  : (x->key_bytes > y->key_bytes) -
				(x->key_bytes < y->key_bytes);
}

int
lt_tables_list_keys(const struct lt_names *names, struct lt_remoting_text space,
    struct lt_buffer *out)
{
	const struct lt_tables_space *s = find_space(names, space);
	size_t n = 0, cursor = 0;

	if (s == NULL)
		return 0;
	/* One that has lost its last key is still there. */
	struct lt_tables_entry **all =
	    lt_mem_array(s->entries.used + 1, sizeof(struct lt_tables_entry *));
	if (all == NULL) {
		out->status = LEAT_E_NOMEM;
		return 1;
	}
	while ((all[n] = lt_hash_next(&s->entries, &cursor)) != NULL)
		if (++n == s->entries.used)
			break;
	qsort(all, n, sizeof(struct lt_tables_entry *), by_key);
	lt_buffer_text(out, "{\"table\":{");
	for (size_t i = 0; i < n; i++) {
		const struct lt_tables_entry *e = all[i];
		lt_buffer_text(out, i == 0 ? "" : ",");
		lt_buffer_quote(out, e->text, e->key_bytes);
		lt_buffer_text(out, ":");
		lt_buffer_quote(out, e->text + e->key_bytes, e->value_bytes);
	}
	lt_buffer_text(out, "}}");
	lt_mem_free(all);
	return 1;
}

void
lt_tables_drop_keys(struct lt_names *names)
{
	struct lt_tables_space *s;
	size_t spaces = 0;

	while ((s = lt_hash_next(&names->spaces, &spaces)) != NULL) {
		size_t cursor = 0;
		for (size_t n = s->entries.used; n > 0; n--)
			free_entry(
			    names, s, lt_hash_next(&s->entries, &cursor));
		free_space(names, s);
	}
}
