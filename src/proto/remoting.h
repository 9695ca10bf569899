/*
 * remoting.h - RocketMQ's remoting command: frame and header, both header
 * encodings, both directions. No I/O, no allocation.
 *
 *   0 length u32 = 4 + header + body    4 header encoding u8 (0 JSON, 1 binary)
 *   5 header length u24                 8 header, then body
 *
 * A decoded header's texts point into the bytes that were decoded, in which
 * JSON escapes have been resolved in place. Unknown keys are skipped, order is
 * free, values of extFields may be strings, numbers, true or false; null is
 * absent. The text of what is no string is kept as it was received. In the
 * binary encoding an empty text is absent, and a code has 16 bits (with sign).
 */
#ifndef LT_PROTO_REMOTING_H
#define LT_PROTO_REMOTING_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_REMOTING_FRAME_MAX 16777216u
#define LT_REMOTING_PREFIX 8
#define LT_REMOTING_HEADER_MAX 262144u /* a larger header is refused */
#define LT_REMOTING_EXT_MAX 64

enum lt_remoting_encoding {
	LT_REMOTING_JSON = 0,
	LT_REMOTING_BINARY = 1
};
enum {
	LT_REMOTING_RESPONSE = 1, /* flag bits */
	LT_REMOTING_ONEWAY = 2
};
enum { /* language */
	LT_REMOTING_JAVA = 0,
	LT_REMOTING_CPP = 1,
	LT_REMOTING_OTHER = 7,
	LT_REMOTING_GO = 9
};

struct lt_remoting_text { /* not NUL-terminated; p NULL: absent */
	const char *p;
	uint32_t bytes;
};

struct lt_remoting_ext {
	struct lt_remoting_text name;
	struct lt_remoting_text value;
};

struct lt_remoting {
	enum lt_remoting_encoding encoding;
	int32_t code;
	int32_t flag;
	int32_t opaque;
	int32_t version;
	uint8_t language;
	struct lt_remoting_text remark;
	uint32_t ext_count;
	struct lt_remoting_ext ext[LT_REMOTING_EXT_MAX];
};

struct lt_remoting_frame {
	uint32_t bytes; /* of the whole frame, prefix included */
	enum lt_remoting_encoding encoding;
	uint8_t *header;
	uint32_t header_bytes;
	const uint8_t *body;
	uint32_t body_bytes;
};

/* The frame that begins at p, of which `bytes` are there. LEAT_OK;
 * LEAT_E_AGAIN: not all there yet (out->bytes: its size, 0: not known yet);
 * LEAT_E_CORRUPT: lengths that do not fit each other, or an unknown encoding;
 * LEAT_E_TOOBIG. Wrong ones are seen as soon as the prefix is there. */
int lt_remoting_frame(
    void *p, size_t bytes, struct lt_remoting_frame *out) LT_MUST_CHECK;
/* Decode the header of a frame; its bytes are changed. LEAT_OK, or
 * LEAT_E_CORRUPT (not JSON, a number out of range, too many extFields...).
 * Language: JAVA if absent, OTHER if unknown. */
int lt_remoting_decode(const struct lt_remoting_frame *frame,
    struct lt_remoting *out) LT_MUST_CHECK;

/* The ext field of that name (of several the last), or absent. */
struct lt_remoting_text lt_remoting_find(
    const struct lt_remoting *h, const char *name);
/* LEAT_OK; LEAT_E_NOTFOUND: absent; LEAT_E_INVALID: not a decimal number in
 * range. *out is only written on LEAT_OK. */
int lt_remoting_i64(
    const struct lt_remoting *h, const char *name, int64_t *out) LT_MUST_CHECK;
int lt_remoting_i32(
    const struct lt_remoting *h, const char *name, int32_t *out) LT_MUST_CHECK;
/* 1 if the value is "true" in any case; absent or anything else 0. */
int lt_remoting_bool(const struct lt_remoting *h, const char *name);
/* "JAVA", "GO"...; "OTHER" for what has no name. Never NULL. */
const char *lt_remoting_language(uint8_t language);

/*
 * Encoding: into a buffer of the caller's, header first; the body follows from
 * elsewhere. What does not fit sets `full`, and end() says so. Our language is
 * OTHER: every client knows that name, and none looks at it.
 *
 *   lt_remoting_begin(&e, buf, room, encoding, code, flag, opaque);
 *   lt_remoting_put(&e, "msgId", id, id_bytes);
 *   lt_remoting_put_i64(&e, "queueOffset", n);
 *   n = lt_remoting_end(&e, remark, remark_bytes, body_bytes);
 */
#define LT_REMOTING_VERSION                                                    \
	479 /* that of the release whose rules we follow                       \
	     */
struct lt_remoting_encoder {
	uint8_t *buf;
	size_t room, used;
	enum lt_remoting_encoding encoding;
	int32_t code, flag, opaque;
	uint32_t ext_count;
	uint8_t full;
};
void lt_remoting_begin(struct lt_remoting_encoder *e, void *buf, size_t room,
    enum lt_remoting_encoding encoding, int32_t code, int32_t flag,
    int32_t opaque);
void lt_remoting_put(struct lt_remoting_encoder *e, const char *name,
    const char *value, size_t value_bytes);
void lt_remoting_put_i64(
    struct lt_remoting_encoder *e, const char *name, int64_t value);
/* A field as it was received, to be passed on. */
void lt_remoting_put_ext(
    struct lt_remoting_encoder *e, const struct lt_remoting_ext *field);
/* Bytes of prefix and header, whose length field counts body_bytes too; 0 if
 * it did not fit, or the header or the frame is larger than its limit. remark
 * NULL: none. Every ext value is a quoted string. Once only. */
size_t lt_remoting_end(struct lt_remoting_encoder *e, const char *remark,
    size_t remark_bytes, size_t body_bytes);

#endif
