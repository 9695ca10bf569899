/*
 * registration.h - what a broker says of itself to a name server, in both
 * directions: read from a REGISTER_BROKER request, or written as one, to
 * register with name servers elsewhere. No I/O.
 *
 * All texts are borrowed by whoever fills the struct in; one that was read
 * points into the request and into what lt_registration_fini() frees.
 */
#ifndef LT_GATEWAY_NAMES_REGISTRATION_H
#define LT_GATEWAY_NAMES_REGISTRATION_H

#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/check.h"
#include "proto/remoting.h"

struct lt_data_version { /* equal: nothing changed. All 0: of no body */
	int64_t state, timestamp, counter;
};

struct lt_topic_queues { /* one topic on one broker */
	struct lt_remoting_text topic;
	uint32_t read, write; /* queues */
	uint32_t perm; /* 1 inherit, 2 write, 4 read */
	uint32_t sysflag; /* 1 unit, 2 subscribed to by units */
};

enum lt_registration_acting { /* may its first replica act as master? */
	LT_REGISTRATION_OLD = -1, /* a broker that does not say */
	LT_REGISTRATION_PLAIN = 0,
	LT_REGISTRATION_ACTING = 1
};

struct lt_registration {
	struct lt_remoting_text cluster, broker; /* names */
	struct lt_remoting_text address; /* that clients dial */
	struct lt_remoting_text ha_address; /* that replicas dial; may be "" */
	struct lt_remoting_text zone; /* may be absent */
	int64_t broker_id; /* 0: master */
	int64_t timeout_ms; /* without a sign of life; 0: not said */
	enum lt_registration_acting acting;
	struct lt_data_version version;
	struct lt_topic_queues *topics;
	uint32_t topic_count;
	/* Of one that was read. */
	void *json;
	struct lt_buffer inflated;
};

/* Decode the request 103. LEAT_OK; LEAT_E_INVALID, LEAT_E_CORRUPT,
 * LEAT_E_TOOBIG, LEAT_E_LIMIT (more than topics_max) or LEAT_E_NOMEM, and
 * *why_out: one line. body_max bounds what a compressed body becomes. Fini in
 * any case. Names and addresses are not judged here. */
int lt_registration_read(const struct lt_remoting *request, const void *body,
    size_t body_bytes, uint32_t topics_max, size_t body_max,
    struct lt_registration *out, const char **why_out) LT_MUST_CHECK;
void lt_registration_fini(struct lt_registration *r);

/*
 * The other side. `version` belongs to the announcing broker: call
 * lt_registration_date() before each registration; it moves the version on if
 * the topics are not those of *digest any more (both start as zero).
 */
void lt_registration_date(const struct lt_registration *r, int64_t wall_ms,
    struct lt_data_version *version, uint64_t *digest);
/* Append a whole frame: REGISTER_BROKER with its body, plain or compressed.
 * The topics SELF_TEST_TOPIC and one named as the broker are added if absent:
 * each broker of this protocol has them, and a first registration of one topic
 * only is refused by name servers. LEAT_OK, LEAT_E_INVALID (an address nobody
 * can dial) or the buffer's status. */
int lt_registration_frame(const struct lt_registration *r, int compressed,
    int32_t opaque, struct lt_buffer *out) LT_MUST_CHECK;
/* Append a whole frame: UNREGISTER_BROKER. */
int lt_registration_leave(const struct lt_registration *r, int32_t opaque,
    struct lt_buffer *out) LT_MUST_CHECK;

struct lt_registration_answer {
	int32_t code; /* 0: registered */
	struct lt_remoting_text remark;
	struct lt_remoting_text master_address; /* a replica's; may be absent */
	struct lt_remoting_text ha_address; /* of the master; may be absent */
};
/* What a name server said; texts point into the reply. LEAT_OK, or
 * LEAT_E_CORRUPT: this is no reply. */
int lt_registration_answer(const struct lt_remoting *reply,
    struct lt_registration_answer *out) LT_MUST_CHECK;

/* 1 if clients can dial it: one colon, a port, a host that is a name or an
 * IPv4 address and no wildcard. */
int lt_registration_dialable(struct lt_remoting_text address);

/* {"counter":1,"stateVersion":0,"timestamp":5} */
void lt_registration_write_version(
    const struct lt_data_version *version, struct lt_buffer *out);
static inline int
lt_registration_same(
    const struct lt_data_version *a, const struct lt_data_version *b)
{
	return a->state == b->state && a->timestamp == b->timestamp &&
	       a->counter == b->counter;
}

#endif
