/*
 * record.h - the stored message: RocketMQ's record, byte for byte.
 *
 *   at (v4 hosts)   0 totalSize i32        4 magic i32       8 bodyCRC i32
 *   12 queueId i32  16 flag i32            20 queueOffset i64
 *   28 physicalOffset i64                  36 sysFlag i32
 *   40 bornTimestamp i64                   48 bornHost ip4 port
 *   56 storeTimestamp i64                  64 storeHost ip4 port
 *   72 reconsumeTimes i32                  76 preparedTransactionOffset i64
 *   84 bodyLen i32, body; topicLen (V1 1 byte, V2 2 bytes), topic;
 *   propsLen i16, properties "name 1 value 2" ...
 *
 * All numbers big-endian. What Leat writes besides: the first property is
 * UNIQ_KEY (32 upper-case hex digits: session id, then session sequence), the
 * last is __CRC32# over everything before it (10 digits, least significant
 * first). The publisher encodes everything except queueOffset, physicalOffset,
 * storeTimestamp, hosts, UNIQ_KEY's value and the CRC, which lt_record_seal()
 * fills in, in the store's own copy. A record that is relayed for a remote
 * client keeps that client's born host, and its UNIQ_KEY if it has one: then
 * session and sequence are in a first property LEAT_SEQ instead. No I/O; no
 * allocation.
 */
#ifndef LT_PROTO_RECORD_H
#define LT_PROTO_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_RECORD_V1 0xDAA320A7u
#define LT_RECORD_V2 0xDAA320ABu
#define LT_RECORD_BLANK 0xCBD43194u
#define LT_RECORD_FIXED 91 /* V1, IPv4, empty body, topic, properties */
#define LT_RECORD_BODY_AT 88 /* body of a record with IPv4 hosts */
#define LT_RECORD_CRC_BYTES 20 /* the __CRC32# property, always last */
#define LT_RECORD_UNIQ_BYTES 42 /* "UNIQ_KEY" (or "LEAT_SEQ") 1 32-hex 2 */
#define LT_RECORD_BLANK_BYTES 8

struct lt_record_property {
	const char *name;
	size_t name_bytes;
	const char *value;
	size_t value_bytes;
};

/* What the publisher knows. Pointers borrowed; NULL with 0 bytes: absent. */
struct lt_record_spec {
	const char *topic;
	size_t topic_bytes;
	uint32_t queue;
	int32_t flag;
	int64_t born_ms;
	const char *keys;
	size_t keys_bytes;
	const char *tag;
	size_t tag_bytes;
	const char *group_key; /* __SHARDINGKEY */
	size_t group_key_bytes;
	const struct lt_record_property *properties;
	size_t property_count;
	/* Relayed: what the remote client said, instead of keys to properties
	 * above. The text "name 1 value 2"... is well formed and names nothing
	 * that Leat writes; it may have one UNIQ_KEY, then has_id is 1. */
	const char *text;
	size_t text_bytes;
	int has_id;
	uint32_t sys_flag;
	uint32_t reconsume;
	uint32_t born_ip; /* host order */
	uint32_t born_port;
};

/* Whole record size for a body of this many bytes. 0: LT_PROPERTIES_MAX would
 * be exceeded, or a property is illegal (empty name or value, bytes 1 or 2,
 * a name that the broker reserves: UNIQ_KEY, __CRC32#, KEYS, TAGS...). */
size_t lt_record_bytes(const struct lt_record_spec *spec, size_t body_bytes);
/* Where the body goes: dst + LT_RECORD_BODY_AT. Call after the body is there.
 * Writes everything else, body CRC included; unsealed fields are zero.
 * dst has lt_record_bytes() room. Returns the record's size. */
size_t lt_record_finish(
    void *dst, const struct lt_record_spec *spec, size_t body_bytes);

struct lt_record_view {
	const uint8_t *base; /* the record itself, lent */
	uint32_t bytes;
	uint32_t magic;
	uint32_t body_crc;
	uint32_t queue;
	int32_t flag;
	int64_t queue_offset;
	int64_t log_offset;
	uint32_t sys_flag;
	int64_t born_ms;
	int64_t store_ms;
	uint32_t reconsume;
	int64_t prepared_offset;
	const uint8_t *body;
	uint32_t body_bytes;
	const char *topic; /* not NUL-terminated */
	uint32_t topic_bytes;
	const char *props;
	uint32_t props_bytes;
};

/*
 * Structure of the record at p, of which `bytes` are readable: known magic,
 * every length inside, computed size = totalSize. Reads only within bytes.
 * Accepts V1, V2, IPv4, IPv6. LEAT_OK; LEAT_E_END for a BLANK record (view
 * bytes = its size) ; LEAT_E_CORRUPT otherwise. No checksum.
 */
int lt_record_parse(
    const void *p, size_t bytes, struct lt_record_view *view) LT_MUST_CHECK;
/* Checksum: the whole-record CRC if the record ends in a __CRC32# property,
 * else the body CRC. LEAT_OK or LEAT_E_CORRUPT. */
int lt_record_check(const struct lt_record_view *view) LT_MUST_CHECK;
/* 1 if the record ends in a __CRC32# property: then check is of the whole. */
int lt_record_has_crc(const struct lt_record_view *view);
/* Structural check of an unsealed record in the store's own copy, stricter
 * than parse: V1/V2 with IPv4, topic equal to the given one, queue below
 * write_queues, UNIQ_KEY first (LEAT_SEQ only if relayed), CRC last, properties
 * well formed. LEAT_OK, CORRUPT (forged), QUEUE. */
int lt_record_admit(const void *p, size_t bytes, const char *topic,
    size_t topic_bytes, uint32_t write_queues, int relayed,
    struct lt_record_view *view) LT_MUST_CHECK;

struct lt_record_stamp {
	uint64_t queue_offset;
	uint64_t log_offset;
	int64_t store_ms;
	uint32_t store_ip; /* host order */
	uint32_t store_port;
	uint32_t born_ip; /* 0: the record's stays (relayed) */
	uint32_t born_port;
	uint64_t session;
	uint64_t seq;
};
/* Fill in what only the store knows, and the CRC. view comes from admit and
 * points into p, which is written. */
void lt_record_seal(void *p, const struct lt_record_view *view,
    const struct lt_record_stamp *stamp);

/* Property by name: LEAT_OK or LEAT_E_NOTFOUND. Lent. */
int lt_record_property(const struct lt_record_view *view, const char *name,
    size_t name_bytes, const char **value, size_t *value_bytes) LT_MUST_CHECK;
/* What a delivery shows, found in one pass; absent: 0 bytes. The first of
 * several of one name counts, as in lt_record_property. */
struct lt_record_texts {
	const char *id, *keys, *tag; /* UNIQ_KEY, KEYS, TAGS; into the record */
	size_t id_bytes, keys_bytes, tag_bytes;
};
void lt_record_texts(
    const struct lt_record_view *view, struct lt_record_texts *out);
/* Next property; *cursor starts at 0. LEAT_E_END after the last. Pairs that
 * are not well formed are skipped. */
int lt_record_property_next(const struct lt_record_view *view, size_t *cursor,
    struct lt_record_property *out) LT_MUST_CHECK;
/* Tags code of the record (0: none). */
int64_t lt_record_tags_code(const struct lt_record_view *view);
/* Session and sequence from a UNIQ_KEY or LEAT_SEQ that Leat made: LEAT_OK or
 * NOTFOUND (neither is first, or not 32 hex digits). */
int lt_record_identity(const struct lt_record_view *view, uint64_t *session,
    uint64_t *seq) LT_MUST_CHECK;

#endif
