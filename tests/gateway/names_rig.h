/*
 * names_rig.h - a name server's tables in a test: requests go in as frames
 * through the codec, replies come back as texts.
 */
#ifndef LT_TESTS_NAMES_RIG_H
#define LT_TESTS_NAMES_RIG_H

#include "base/buffer.h"
#include "names/names.h"

struct rig {
	struct lt_names *names;
	uint64_t now_ms;
	uint64_t conn; /* that the next request comes from */
	int32_t version; /* of its sender */
	/* the last reply */
	struct lt_names_reply reply;
	const char *body; /* its text */
	/* Each frame on its way in, and when its reply is there; may be NULL.
	 */
	void (*sees)(struct rig *r, const struct lt_buffer *frame);
	void (*answered)(struct rig *r, int32_t code);
};

void rig_open(struct rig *r, const struct lt_names_limits *limits);
void rig_close(struct rig *r);
/* One request; names and values of its fields in turn, NULL at the end. Its
 * response code. */
int rig_call(struct rig *r, int code, const void *body, size_t bytes, ...);
/* A field of the last reply, NULL if absent. */
const char *rig_field(const struct rig *r, const char *name);
/* A frame that was written elsewhere. */
int rig_frame(struct rig *r, struct lt_buffer *frame);

struct broker { /* what it says of itself */
	const char *cluster, *name, *address;
	const char *id; /* "0" if NULL */
	const char *ha; /* "10.0.0.1:10912" if NULL */
	const char *timeout_ms, *acting; /* absent if NULL */
	unsigned counter; /* of its version */
};
/* Register with these topics, separated by spaces ("T" or "T:perm", four
 * queues each), in a plain or a compressed body. */
int rig_register(struct rig *r, const struct broker *b, const char *topics);
int rig_register_packed(
    struct rig *r, const struct broker *b, const char *topics);
/* The bodies that these send. */
void rig_plain_body(
    const struct broker *b, const char *topics, struct lt_buffer *out);
void rig_packed_body(const struct broker *b, const char *topics,
    int32_t version, struct lt_buffer *out);

#endif
