/*
 * delivery.c - a stored record seen as a delivery, and its properties. Pure
 * functions over memory that the caller owns.
 */
#include "config.h"
#include "client/client.h"

#include <string.h>

#include "base/bytes.h"

static size_t
text_of(const struct lt_record_view *v, const char *name, const char **out)
{
	size_t bytes = 0;

	if (lt_record_property(v, name, strlen(name), out, &bytes) != LEAT_OK)
		return 0;
	return bytes;
}

size_t
lt_delivery_text_bytes(const struct lt_record_view *v)
{
	const char *p;

	return text_of(v, "KEYS", &p) + text_of(v, "TAGS", &p) + 2;
}

/* UNIQ_KEY; of a record without one, RocketMQ's offset id: host and position.
 */
static void
fill_id(struct leat_delivery *d, const struct lt_record_view *v)
{
	const char *id;
	size_t n = text_of(v, "UNIQ_KEY", &id);
	size_t store_host = (v->sys_flag & 0x10) != 0 ? 76 : 64;
	const uint8_t *host = v->base + store_host;

	if (n > 0 && n <= LEAT_ID_CHARS) {
		memcpy(d->id, id, n);
		d->id[n] = '\0';
		return;
	}
	lt_bytes_hex64(d->id, lt_bytes_get64(host));
	lt_bytes_hex64(d->id + 16, (uint64_t)v->log_offset);
	d->id[LEAT_ID_CHARS] = '\0';
}

void
lt_delivery_fill(struct leat_delivery *d, const struct lt_record_view *v,
    const char *topic, char *text)
{
	const char *p;
	size_t n;

	d->topic = topic;
	d->body = v->body;
	d->body_bytes = v->body_bytes;
	n = text_of(v, "KEYS", &p);
	if (n != 0)
		memcpy(text, p, n);
	text[n] = '\0';
	d->keys = text;
	text += n + 1;
	n = text_of(v, "TAGS", &p);
	if (n != 0)
		memcpy(text, p, n);
	text[n] = '\0';
	d->tag = text;
	fill_id(d, v);
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
