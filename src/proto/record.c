/*
 * record.c - encode, check, seal and read RocketMQ's stored message.
 *
 * The publisher encodes once (lt_record_finish), the store checks its own copy
 * (lt_record_admit) and stamps it (lt_record_seal); everybody reads it through
 * a view that borrows the bytes. Nothing here allocates or does I/O; any
 * thread may call. Format: man/leat-store.5.
 */
#include "config.h"
#include "proto/record.h"

#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/name.h"
#include "proto/properties.h"

#define CRC_MASK 0x7fffffffu
#define SYS_BORN_V6 0x10u
#define SYS_STORE_V6 0x20u
/* What a publisher may set: compressed, multi tags, compression type. The
 * transaction, host and batch bits change how the record is dispatched. */
#define SYS_PUBLISHER 0x703u
#define HOST_V6_EXTRA 12u

#define UNIQ_HEAD "UNIQ_KEY\001"
#define SEQ_HEAD "LEAT_SEQ\001"
#define CRC_HEAD "__CRC32#\001"
#define HEAD_BYTES 9 /* of each */
#define UNIQ_HEX 32

/* Value of a digit; 16: none. */
#define NO4 16, 16, 16, 16
#define NO16 NO4, NO4, NO4, NO4
#define AF 16, 10, 11, 12, 13, 14, 15, 16, NO4, NO4
static const uint8_t hex_digit[256] = {NO16, NO16, NO16, 0, 1, 2, 3, 4, 5, 6, 7,
    8, 9, 16, 16, NO4, AF, NO16, AF, NO16, NO16, NO16, NO16, NO16, NO16, NO16,
    NO16, NO16};

/* Two decimal digits of 0..99, least significant first. */
#define DEC1(t) "0" t "1" t "2" t "3" t "4" t "5" t "6" t "7" t "8" t "9" t
static const char dec_pair[201] = DEC1("0") DEC1("1") DEC1("2") DEC1("3")
    DEC1("4") DEC1("5") DEC1("6") DEC1("7") DEC1("8") DEC1("9");

/* Names of properties that only lt_record_* writes. */
static const struct {
	const char *name;
	size_t bytes;
} reserved[] = {
    {"UNIQ_KEY", 8},
    {"LEAT_SEQ", 8},
    {"__CRC32#", 8},
    {"KEYS", 4},
    {"TAGS", 4},
    {"__SHARDINGKEY", 13},
};

/* 16 digits; not 0 if one of them is none. */
static inline unsigned
get_hex64(const char *text, uint64_t *out)
{
	unsigned bad = 0;
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		uint8_t digit = hex_digit[(uint8_t)text[i]];

		bad |= digit;
		v = v << 4 | (digit & 15);
	}
	*out = v;
	return bad & 16;
}

/* Ten decimal digits, least significant first. */
static inline void
put_crc(uint8_t *out, uint32_t crc)
{
	for (int i = 0; i < 5; i++) {
		memcpy(out + 2 * i, dec_pair + 2 * (crc % 100), 2);
		crc /= 100;
	}
}

/* 1 if no byte of text is a separator. */
static inline int
is_plain(const char *text, size_t bytes)
{
	unsigned bad = 0;

	for (size_t i = 0; i < bytes; i++)
		bad |= (unsigned)((uint8_t)text[i] - 1u < 2u);
	return !bad;
}

static int
is_reserved(const char *name, size_t bytes)
{
	for (size_t i = 0; i < LT_COUNT(reserved); i++)
		if (bytes == reserved[i].bytes &&
		    memcmp(name, reserved[i].name, bytes) == 0)
			return 1;
	return 0;
}

/* Bytes of a named property that may be absent. */
static inline size_t
optional_bytes(size_t name_bytes, size_t value_bytes)
{
	return value_bytes == 0 ? 0 : name_bytes + value_bytes + 2;
}

static size_t
props_bytes_of(const struct lt_record_spec *spec)
{
	size_t sum = LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES;

	if (spec->text != NULL)
		return sum + spec->text_bytes;
	sum += optional_bytes(4, spec->keys_bytes);
	sum += optional_bytes(4, spec->tag_bytes);
	sum += optional_bytes(13, spec->group_key_bytes);
	for (size_t i = 0; i < spec->property_count; i++)
		sum += spec->properties[i].name_bytes +
		       spec->properties[i].value_bytes + 2;
	return sum;
}

size_t
lt_record_bytes(const struct lt_record_spec *spec, size_t body_bytes)
{
	size_t props = LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES;

	if (spec->topic_bytes == 0 || spec->topic_bytes > 255 ||
	    body_bytes > LT_BODY_MAX)
		return 0;
	if (spec->keys_bytes > LT_PROPERTIES_MAX ||
	    spec->tag_bytes > LT_PROPERTIES_MAX ||
	    spec->group_key_bytes > LT_PROPERTIES_MAX ||
	    spec->text_bytes > LT_PROPERTIES_MAX)
		return 0;
	if (!is_plain(spec->keys, spec->keys_bytes) ||
	    !is_plain(spec->tag, spec->tag_bytes) ||
	    !is_plain(spec->group_key, spec->group_key_bytes))
		return 0;
	for (size_t i = 0; i < spec->property_count; i++) {
		const struct lt_record_property *p = &spec->properties[i];

		if (p->name_bytes == 0 || p->value_bytes == 0 ||
		    p->name_bytes > LT_PROPERTIES_MAX ||
		    p->value_bytes > LT_PROPERTIES_MAX)
			return 0;
		if (!is_plain(p->name, p->name_bytes) ||
		    !is_plain(p->value, p->value_bytes) ||
		    is_reserved(p->name, p->name_bytes))
			return 0;
		props += p->name_bytes + p->value_bytes + 2;
		if (props > LT_PROPERTIES_MAX)
			return 0;
	}
	props = props_bytes_of(spec);
	if (props > LT_PROPERTIES_MAX)
		return 0;
	return LT_RECORD_FIXED + (spec->topic_bytes > 127) + body_bytes +
	       spec->topic_bytes + props;
}

static inline uint8_t *
put_property(uint8_t *at, const char *name, size_t name_bytes,
    const char *value, size_t value_bytes)
{
	memcpy(at, name, name_bytes);
	at += name_bytes;
	*at++ = 1;
	memcpy(at, value, value_bytes);
	at += value_bytes;
	*at++ = 2;
	return at;
}

static inline uint8_t *
put_properties(uint8_t *at, const struct lt_record_spec *spec)
{
	if (spec->text != NULL) {
		memcpy(at, spec->text, spec->text_bytes);
		return at + spec->text_bytes;
	}
	if (spec->keys_bytes != 0)
		at = put_property(at, "KEYS", 4, spec->keys, spec->keys_bytes);
	if (spec->tag_bytes != 0)
		at = put_property(at, "TAGS", 4, spec->tag, spec->tag_bytes);
	if (spec->group_key_bytes != 0)
		at = put_property(at, "__SHARDINGKEY", 13, spec->group_key,
		    spec->group_key_bytes);
	for (size_t i = 0; i < spec->property_count; i++) {
		const struct lt_record_property *p = &spec->properties[i];

		at = put_property(
		    at, p->name, p->name_bytes, p->value, p->value_bytes);
	}
	return at;
}

size_t
lt_record_finish(
    void *dst, const struct lt_record_spec *spec, size_t body_bytes)
{
	uint8_t *base = dst;
	uint8_t *at = base + LT_RECORD_BODY_AT + body_bytes;
	int is_long = spec->topic_bytes > 127;
	uint32_t total;

	if (is_long)
		*at++ = (uint8_t)(spec->topic_bytes >> 8);
	*at++ = (uint8_t)spec->topic_bytes;
	memcpy(at, spec->topic, spec->topic_bytes);
	at += spec->topic_bytes;
	lt_bytes_put16(at, (uint16_t)props_bytes_of(spec));
	at += 2;
	memcpy(at, spec->has_id ? SEQ_HEAD : UNIQ_HEAD, HEAD_BYTES);
	memset(at + HEAD_BYTES, '0', UNIQ_HEX);
	at[HEAD_BYTES + UNIQ_HEX] = 2;
	at = put_properties(at + LT_RECORD_UNIQ_BYTES, spec);
	memcpy(at, CRC_HEAD "0000000000\002", LT_RECORD_CRC_BYTES);
	at += LT_RECORD_CRC_BYTES;
	total = (uint32_t)(at - base);

	memset(base, 0, LT_RECORD_BODY_AT);
	lt_bytes_put32(base, total);
	lt_bytes_put32(base + 4, is_long ? LT_RECORD_V2 : LT_RECORD_V1);
	lt_bytes_put32(base + 8,
	    lt_crc32(0, base + LT_RECORD_BODY_AT, body_bytes) & CRC_MASK);
	lt_bytes_put32(base + 12, spec->queue);
	lt_bytes_put32(base + 16, (uint32_t)spec->flag);
	lt_bytes_put32(base + 36, spec->sys_flag);
	lt_bytes_put64(base + 40, (uint64_t)spec->born_ms);
	lt_bytes_put32(base + 48, spec->born_ip);
	lt_bytes_put32(base + 52, spec->born_port);
	lt_bytes_put32(base + 72, spec->reconsume);
	lt_bytes_put32(base + 84, (uint32_t)body_bytes);
	return total;
}

static inline int
parse(const uint8_t *p, size_t bytes, struct lt_record_view *view)
{
	uint32_t total, magic, sys_flag, body, topic, props, topic_width;
	size_t left;
	const uint8_t *at;

	if (LT_UNLIKELY(bytes < LT_RECORD_BLANK_BYTES))
		return LEAT_E_CORRUPT;
	total = lt_bytes_get32(p);
	magic = lt_bytes_get32(p + 4);
	if (LT_UNLIKELY(magic != LT_RECORD_V1 && magic != LT_RECORD_V2)) {
		if (magic != LT_RECORD_BLANK || total < LT_RECORD_BLANK_BYTES)
			return LEAT_E_CORRUPT;
		view->base = p;
		view->bytes = total;
		view->magic = magic;
		return LEAT_E_END;
	}
	if (LT_UNLIKELY(total > bytes || total < LT_RECORD_FIXED))
		return LEAT_E_CORRUPT;
	sys_flag = lt_bytes_get32(p + 36);
	topic_width = magic == LT_RECORD_V2 ? 2 : 1;
	/* The fixed fields, the two lengths behind the body included. */
	left = LT_RECORD_FIXED - 1 + topic_width +
	       (sys_flag & SYS_BORN_V6 ? HOST_V6_EXTRA : 0) +
	       (sys_flag & SYS_STORE_V6 ? HOST_V6_EXTRA : 0);
	if (LT_UNLIKELY(total < left))
		return LEAT_E_CORRUPT;
	at = p + (left - 2 - topic_width - 4);
	body = lt_bytes_get32(at);
	left = total - left;
	if (LT_UNLIKELY(body > left))
		return LEAT_E_CORRUPT;
	left -= body;
	view->body = at + 4;
	view->body_bytes = body;
	at += 4 + (size_t)body;
	topic = topic_width == 2 ? lt_bytes_get16(at) : at[0];
	at += topic_width;
	if (LT_UNLIKELY(topic > left))
		return LEAT_E_CORRUPT;
	left -= topic;
	view->topic = (const char *)at;
	view->topic_bytes = topic;
	at += topic;
	props = lt_bytes_get16(at);
	if (LT_UNLIKELY(props != left || props > LT_PROPERTIES_MAX))
		return LEAT_E_CORRUPT;
	view->props = (const char *)at + 2;
	view->props_bytes = props;

	view->base = p;
	view->bytes = total;
	view->magic = magic;
	view->body_crc = lt_bytes_get32(p + 8);
	view->queue = lt_bytes_get32(p + 12);
	view->flag = (int32_t)lt_bytes_get32(p + 16);
	view->queue_offset = (int64_t)lt_bytes_get64(p + 20);
	view->log_offset = (int64_t)lt_bytes_get64(p + 28);
	view->sys_flag = sys_flag;
	view->born_ms = (int64_t)lt_bytes_get64(p + 40);
	at = p + (sys_flag & SYS_BORN_V6 ? 56 + HOST_V6_EXTRA : 56);
	view->store_ms = (int64_t)lt_bytes_get64(at);
	at = view->body - 16;
	view->reconsume = lt_bytes_get32(at);
	view->prepared_offset = (int64_t)lt_bytes_get64(at + 4);
	return LEAT_OK;
}

int
lt_record_parse(const void *p, size_t bytes, struct lt_record_view *view)
{
	return parse(p, bytes, view);
}

/* The CRC property at the record's end, or NULL. */
static inline const uint8_t *
crc_of(const struct lt_record_view *view)
{
	const uint8_t *at = view->base + view->bytes - LT_RECORD_CRC_BYTES;

	if (LT_UNLIKELY(view->props_bytes < LT_RECORD_CRC_BYTES))
		return NULL;
	if (memcmp(at, CRC_HEAD, HEAD_BYTES) != 0 ||
	    at[LT_RECORD_CRC_BYTES - 1] != 2)
		return NULL;
	return at;
}

int
lt_record_has_crc(const struct lt_record_view *view)
{
	return crc_of(view) != NULL;
}

/* One property as whoever wrote it does: "name 1 value"; an id is a word. */
static int
is_plausible(const char *p, const char *end)
{
	const char *one = memchr(p, 1, (size_t)(end - p));

	if (one == NULL || one == p || memchr(p, 0, (size_t)(end - p)) != NULL)
		return 0;
	if (end - p < HEAD_BYTES || memcmp(p, UNIQ_HEAD, HEAD_BYTES) != 0)
		return 1;
	for (p = one + 1; p < end; p++)
		if (!isalnum((unsigned char)*p) && *p != '-')
			return 0;
	return 1;
}

/* Of a record without the CRC property: did damage take it? Then its properties
 * make no sense, or most of this one still stands at their end. */
static int
had_crc(const struct lt_record_view *view)
{
	const char *p = view->props, *end = p + view->props_bytes;
	const uint8_t *at = view->base + view->bytes - LT_RECORD_CRC_BYTES;
	int same = 0;

	while (p < end) {
		const char *stop = memchr(p, 2, (size_t)(end - p));

		if (stop == NULL)
			stop = end;
		if (!is_plausible(p, stop))
			return 1;
		p = stop == end ? end : stop + 1;
	}
	if (view->props_bytes < LT_RECORD_CRC_BYTES)
		return 0;
	for (int i = 0; i < HEAD_BYTES; i++)
		same += at[i] == (uint8_t)CRC_HEAD[i];
	for (int i = HEAD_BYTES; i < LT_RECORD_CRC_BYTES - 1; i++)
		same += isdigit(at[i]) != 0;
	same += at[LT_RECORD_CRC_BYTES - 1] == 2;
	return same >= LT_RECORD_CRC_BYTES - 6;
}

int
lt_record_check(const struct lt_record_view *view)
{
	const uint8_t *at = crc_of(view);
	uint8_t digits[10];

	if (LT_UNLIKELY(at == NULL)) {
		if (had_crc(view))
			return LEAT_E_CORRUPT;
		return (lt_crc32(0, view->body, view->body_bytes) & CRC_MASK) ==
			       view->body_crc
			   ? LEAT_OK
			   : LEAT_E_CORRUPT;
	}
	put_crc(
	    digits, lt_crc32(0, view->base, view->bytes - LT_RECORD_CRC_BYTES) &
			CRC_MASK);
	return memcmp(digits, at + HEAD_BYTES, sizeof(digits)) == 0
		   ? LEAT_OK
		   : LEAT_E_CORRUPT;
}

/* Properties between the identity and the CRC: "name 1 value 2" to the last
 * byte, no empty part, nothing that Leat writes; at most ids UNIQ_KEYs. */
static int
is_well_formed(const char *p, const char *end, int ids)
{
	while (p < end) {
		const char *name = p;
		size_t name_bytes;

		while (p < end && (uint8_t)*p - 1u >= 2u)
			p++;
		name_bytes = (size_t)(p - name);
		if (p == end || *p != 1 || name_bytes == 0)
			return 0;
		if (name_bytes == 8 && (memcmp(name, SEQ_HEAD, 8) == 0 ||
					   memcmp(name, CRC_HEAD, 8) == 0))
			return 0;
		if (name_bytes == 8 && memcmp(name, UNIQ_HEAD, 8) == 0 &&
		    ids-- == 0)
			return 0;
		name = ++p;
		while (p < end && (uint8_t)*p - 1u >= 2u)
			p++;
		if (p == end || *p != 2 || p == name)
			return 0;
		p++;
	}
	return 1;
}

int
lt_record_admit(const void *p, size_t bytes, const char *topic,
    size_t topic_bytes, uint32_t write_queues, int relayed,
    struct lt_record_view *view)
{
	const char *props;
	int has_id;

	if (LT_UNLIKELY(
		parse(p, bytes, view) != LEAT_OK || view->bytes != bytes))
		return LEAT_E_CORRUPT;
	props = view->props;
	if (LT_UNLIKELY((view->sys_flag & ~SYS_PUBLISHER) != 0 ||
			view->topic_bytes != topic_bytes ||
			memcmp(view->topic, topic, topic_bytes) != 0))
		return LEAT_E_CORRUPT;
	if (LT_UNLIKELY(view->props_bytes <
			    LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES ||
			props[LT_RECORD_UNIQ_BYTES - 1] != 2 ||
			crc_of(view) == NULL))
		return LEAT_E_CORRUPT;
	has_id = relayed && memcmp(props, SEQ_HEAD, HEAD_BYTES) == 0;
	if (LT_UNLIKELY(!has_id && memcmp(props, UNIQ_HEAD, HEAD_BYTES) != 0))
		return LEAT_E_CORRUPT;
	if (LT_UNLIKELY(!is_well_formed(props + LT_RECORD_UNIQ_BYTES,
		props + view->props_bytes - LT_RECORD_CRC_BYTES, has_id)))
		return LEAT_E_CORRUPT;
	return LT_LIKELY(view->queue < write_queues) ? LEAT_OK : LEAT_E_QUEUE;
}

void
lt_record_seal(void *p, const struct lt_record_view *view,
    const struct lt_record_stamp *stamp)
{
	uint8_t *base = p;
	uint8_t *uniq =
	    base + ((const uint8_t *)view->props - view->base) + HEAD_BYTES;
	uint32_t bytes = view->bytes - LT_RECORD_CRC_BYTES;

	lt_bytes_put64(base + 20, stamp->queue_offset);
	lt_bytes_put64(base + 28, stamp->log_offset);
	if (LT_LIKELY(stamp->born_ip != 0)) {
		lt_bytes_put32(base + 48, stamp->born_ip);
		lt_bytes_put32(base + 52, stamp->born_port);
	}
	lt_bytes_put64(base + 56, (uint64_t)stamp->store_ms);
	lt_bytes_put32(base + 64, stamp->store_ip);
	lt_bytes_put32(base + 68, stamp->store_port);
	lt_bytes_hex64((char *)uniq, stamp->session);
	lt_bytes_hex64((char *)uniq + 16, stamp->seq);
	put_crc(base + bytes + HEAD_BYTES, lt_crc32(0, base, bytes) & CRC_MASK);
}

int
lt_record_property_next(const struct lt_record_view *view, size_t *cursor,
    struct lt_record_property *out)
{
	return lt_properties_next(view->props, view->props_bytes, cursor, out);
}

int
lt_record_property(const struct lt_record_view *view, const char *name,
    size_t name_bytes, const char **value, size_t *value_bytes)
{
	return lt_properties_find(view->props, view->props_bytes, name,
	    name_bytes, value, value_bytes);
}

void
lt_record_texts(const struct lt_record_view *view, struct lt_record_texts *out)
{
	struct lt_record_property it;
	size_t cursor = 0, props_bytes = view->props_bytes;

	memset(out, 0, sizeof(*out));
	/* Leat's own records begin with the id and end with the checksum. */
	if (LT_LIKELY(view->props_bytes >=
			  LT_RECORD_UNIQ_BYTES + LT_RECORD_CRC_BYTES &&
		      memcmp(view->props, UNIQ_HEAD, HEAD_BYTES) == 0 &&
		      view->props[LT_RECORD_UNIQ_BYTES - 1] == 2 &&
		      crc_of(view) != NULL)) {
		out->id = view->props + HEAD_BYTES;
		out->id_bytes = UNIQ_HEX;
		cursor = LT_RECORD_UNIQ_BYTES;
		props_bytes -= LT_RECORD_CRC_BYTES;
	}
	while (lt_properties_next(view->props, props_bytes, &cursor, &it) ==
	       LEAT_OK) {
		if (it.name_bytes == 4 && out->keys == NULL &&
		    memcmp(it.name, "KEYS", 4) == 0) {
			out->keys = it.value;
			out->keys_bytes = it.value_bytes;
		} else if (it.name_bytes == 4 && out->tag == NULL &&
			   memcmp(it.name, "TAGS", 4) == 0) {
			out->tag = it.value;
			out->tag_bytes = it.value_bytes;
		} else if (it.name_bytes == 8 && out->id == NULL &&
			   memcmp(it.name, UNIQ_HEAD, 8) == 0) {
			out->id = it.value;
			out->id_bytes = it.value_bytes;
		}
	}
}

/* RocketMQ's schedule topic keeps the due time where others keep the tag. */
static int
due_of(const struct lt_record_view *view, int64_t *due_out)
{
	static const int32_t delay_s[] = {1, 5, 10, 30, 60, 120, 180, 240, 300,
	    360, 420, 480, 540, 600, 1200, 1800, 3600, 7200};
	const char *text;
	size_t bytes, level = 0;

	if (lt_record_property(view, "DELAY", 5, &text, &bytes) != LEAT_OK)
		return 0;
	for (size_t i = 0; i < bytes && level < 1000; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		level = level * 10 + (size_t)(text[i] - '0');
	}
	if (level == 0)
		return 0;
	if (level > LT_COUNT(delay_s))
		level = LT_COUNT(delay_s);
	*due_out = view->store_ms + delay_s[level - 1] * 1000LL;
	return 1;
}

int64_t
lt_record_tags_code(const struct lt_record_view *view)
{
	static const char schedule[] = LT_NAME_SCHEDULE_TOPIC;
	const char *tag;
	size_t bytes;
	int64_t due;

	if (LT_UNLIKELY(view->topic_bytes == sizeof(schedule) - 1) &&
	    memcmp(view->topic, schedule, sizeof(schedule) - 1) == 0 &&
	    due_of(view, &due))
		return due;
	if (lt_record_property(view, "TAGS", 4, &tag, &bytes) != LEAT_OK)
		return 0;
	return lt_name_tags_code(tag, bytes);
}

int
lt_record_identity(
    const struct lt_record_view *view, uint64_t *session, uint64_t *seq)
{
	const char *hex = view->props + HEAD_BYTES;

	if (view->props_bytes < LT_RECORD_UNIQ_BYTES ||
	    (memcmp(view->props, UNIQ_HEAD, HEAD_BYTES) != 0 &&
		memcmp(view->props, SEQ_HEAD, HEAD_BYTES) != 0) ||
	    hex[UNIQ_HEX] != 2)
		return LEAT_E_NOTFOUND;
	return (get_hex64(hex, session) | get_hex64(hex + 16, seq)) == 0
		   ? LEAT_OK
		   : LEAT_E_NOTFOUND;
}
