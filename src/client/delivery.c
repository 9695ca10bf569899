/*
 * delivery.c - a stored record seen as a delivery, and its properties. Pure
 * functions over memory that the caller owns.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"
#include "proto/offsetid.h"

/* UNIQ_KEY; of a record without one, RocketMQ's offset id: host and position.
 */
static void
fill_id(struct leat_delivery *d, const struct lt_record_view *v,
    const struct lt_record_texts *t)
{
	size_t store_host = (v->sys_flag & 0x10) != 0 ? 76 : 64;
	const uint8_t *host = v->base + store_host;

	if (LT_LIKELY(t->id_bytes == LEAT_ID_CHARS)) {
		memcpy(d->id, t->id, LEAT_ID_CHARS);
	} else if (t->id_bytes > 0 && t->id_bytes < LEAT_ID_CHARS) {
		memcpy(d->id, t->id, t->id_bytes);
		d->id[t->id_bytes] = '\0';
	} else {
		lt_offsetid_encode(d->id,
		    &(struct lt_offsetid){lt_bytes_get32(host),
			lt_bytes_get32(host + 4), (uint64_t)v->log_offset});
	}
	d->id[LEAT_ID_CHARS] = '\0';
}

static inline char *
put_text(char *at, const char *text, size_t bytes)
{
	if (bytes != 0)
		memcpy(at, text, bytes);
	at[bytes] = '\0';
	return at + bytes + 1;
}

size_t
lt_delivery_text_bytes(const struct lt_record_texts *t)
{
	return t->keys_bytes + t->tag_bytes + 2;
}

void
lt_delivery_fill(struct leat_delivery *d, const struct lt_record_view *v,
    const struct lt_record_texts *t, const char *topic, char *text)
{
	d->topic = topic;
	d->body = v->body;
	d->body_bytes = v->body_bytes;
	d->keys = text;
	text = put_text(text, t->keys, t->keys_bytes);
	d->tag = text;
	put_text(text, t->tag, t->tag_bytes);
	fill_id(d, v, t);
	d->queue = v->queue;
	d->queue_offset = v->queue_offset;
	d->log_offset = v->log_offset;
	d->born_time_ms = v->born_ms;
	d->store_time_ms = v->store_ms;
	d->flag = v->flag;
	d->attempt = 1;
	d->record = v->base;
	d->record_bytes = v->bytes;
	d->handle = 0;
}

int
leat_property_get(const struct leat_delivery *delivery, const char *name,
    char *buf, size_t buf_bytes)
{
	struct lt_record_view v;
	const char *value;
	size_t bytes;

	if (delivery == NULL || name == NULL || buf == NULL)
		return LEAT_E_INVALID;
	if (lt_record_parse(delivery->record, delivery->record_bytes, &v) !=
	    LEAT_OK)
		return LEAT_E_CORRUPT;
	if (lt_record_property(&v, name, strlen(name), &value, &bytes) !=
	    LEAT_OK)
		return LEAT_E_NOTFOUND;
	if (bytes >= buf_bytes)
		return LEAT_E_TOOBIG;
	memcpy(buf, value, bytes);
	buf[bytes] = '\0';
	return LEAT_OK;
}

int
leat_property_next(const struct leat_delivery *delivery, size_t *cursor,
    const char **name, size_t *name_bytes, const char **value,
    size_t *value_bytes)
{
	struct lt_record_property p;
	struct lt_record_view v;
	int status;

	if (delivery == NULL || cursor == NULL)
		return LEAT_E_INVALID;
	if (lt_record_parse(delivery->record, delivery->record_bytes, &v) !=
	    LEAT_OK)
		return LEAT_E_CORRUPT;
	status = lt_record_property_next(&v, cursor, &p);
	if (status != LEAT_OK)
		return status;
	*name = p.name;
	*name_bytes = p.name_bytes;
	*value = p.value;
	*value_bytes = p.value_bytes;
	return LEAT_OK;
}
