/*
 * announce.c - a broker's side of registration: requests written, replies read
 * (registration.h), and which address may be announced at all.
 */
#include "config.h"
#include "names/registration.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "leat/status.h"

#define REGISTER_BROKER 103
#define UNREGISTER_BROKER 104
#define SELF_TEST_TOPIC "SELF_TEST_TOPIC"
#define HEADER_ROOM 8192
#define LEVEL 9

/* 1: four numbers up to 255 that make an address of one host. */
static int
host_is_ipv4(const char *p, size_t bytes)
{
	unsigned part[4], n = 0, digits = 0;

	for (size_t i = 0; i <= bytes; i++) {
		if (i < bytes && p[i] >= '0' && p[i] <= '9') {
			if (n == 4 || ++digits > 3)
				return 0;
			part[n] = digits == 1 ? 0 : part[n];
			part[n] = part[n] * 10 + (unsigned)(p[i] - '0');
			continue;
		}
		if ((i < bytes && p[i] != '.') || digits == 0 || part[n] > 255)
			return 0;
		n++;
		digits = 0;
	}
	return n == 4 && part[0] != 0 && part[0] < 224;
}

/* 1: labels of letters, digits, - and _; the last is no number. */
static int
host_is_name(const char *p, size_t bytes)
{
	size_t label = 0, digits = 0;

	for (size_t i = 0; i < bytes; i++) {
		int edge = label == 0 || i + 1 == bytes || p[i + 1] == '.';

		if (p[i] == '.') {
			if (label == 0)
				return 0;
			label = digits = 0;
			continue;
		}
		if (!isalnum((unsigned char)p[i]) && p[i] != '_' &&
		    (p[i] != '-' || edge))
			return 0;
		digits += p[i] >= '0' && p[i] <= '9';
		if (++label > 63)
			return 0;
	}
	return label > 0 && digits < label && bytes <= 253;
}

int
lt_registration_dialable(struct lt_remoting_text a)
{
	const char *colon = a.bytes == 0 ? NULL : memchr(a.p, ':', a.bytes);
	unsigned port = 0;

	if (colon == NULL)
		return 0;
	size_t host = (size_t)(colon - a.p), digits = a.bytes - host - 1;
	if (digits == 0 || digits > 5)
		return 0;
	for (size_t i = 1; i <= digits; i++) {
		if (colon[i] < '0' || colon[i] > '9')
			return 0;
		port = port * 10 + (unsigned)(colon[i] - '0');
	}
	if (port == 0 || port > 65535)
		return 0;
	return host_is_ipv4(a.p, host) || host_is_name(a.p, host);
}

void
lt_registration_write_version(
    const struct lt_data_version *v, struct lt_buffer *out)
{
	lt_buffer_format(out,
	    "{\"counter\":%lld,\"stateVersion\":%lld,\"timestamp\":%lld}",
	    (long long)v->counter, (long long)v->state,
	    (long long)v->timestamp);
}

/* Independent of the order: a table's is not ours to keep. */
void
lt_registration_date(const struct lt_registration *r, int64_t wall_ms,
    struct lt_data_version *version, uint64_t *digest)
{
	uint64_t sum = r->topic_count + 1;

	for (uint32_t i = 0; i < r->topic_count; i++) {
		const struct lt_topic_queues *t = &r->topics[i];
		uint64_t row[5] = {lt_hash_bytes(t->topic.p, t->topic.bytes),
		    t->read, t->write, t->perm, t->sysflag};
		sum += lt_hash_bytes(row, sizeof(row));
	}
	if (sum == *digest)
		return;
	*digest = sum;
	version->counter++;
	version->timestamp = wall_ms;
}

/* --- bodies --------------------------------------------------------------- */

static int
has_topic(const struct lt_registration *r, struct lt_remoting_text name)
{
	for (uint32_t i = 0; i < r->topic_count; i++) {
		struct lt_remoting_text t = r->topics[i].topic;
		if (t.bytes == name.bytes && memcmp(t.p, name.p, t.bytes) == 0)
			return 1;
	}
	return 0;
}

/* The topics that each broker has and that this list lacks. */
static uint32_t
own_topics(const struct lt_registration *r, struct lt_topic_queues own[2])
{
	const struct lt_remoting_text names[2] = {
	    {SELF_TEST_TOPIC, sizeof(SELF_TEST_TOPIC) - 1}, r->broker};
	uint32_t n = 0;

	for (int i = 0; i < 2; i++)
		if (!has_topic(r, names[i]))
			own[n++] = (struct lt_topic_queues){.topic = names[i],
			    .read = 1,
			    .write = 1,
			    .perm = 6};
	return n;
}

static void
plain_topic(const struct lt_topic_queues *t, struct lt_buffer *out)
{
	lt_buffer_quote(out, t->topic.p, t->topic.bytes);
	lt_buffer_format(out,
	    ":{\"attributes\":{},\"order\":false,\"perm\":%u,"
	    "\"readQueueNums\":%u,\"topicFilterType\":\"SINGLE_TAG\","
	    "\"topicName\":",
	    t->perm, t->read);
	lt_buffer_quote(out, t->topic.p, t->topic.bytes);
	lt_buffer_format(out, ",\"topicSysFlag\":%u,\"writeQueueNums\":%u}",
	    t->sysflag, t->write);
}

static void
plain_body(const struct lt_registration *r, struct lt_buffer *out)
{
	struct lt_topic_queues own[2];
	uint32_t extra = own_topics(r, own);

	lt_buffer_text(out,
	    "{\"filterServerList\":[],"
	    "\"topicConfigSerializeWrapper\":{\"dataVersion\":");
	lt_registration_write_version(&r->version, out);
	lt_buffer_text(out, ",\"mappingDataVersion\":");
	lt_registration_write_version(&r->version, out);
	lt_buffer_text(out, ",\"topicConfigTable\":{");
	for (uint32_t i = 0; i < r->topic_count + extra; i++) {
		lt_buffer_text(out, i == 0 ? "" : ",");
		plain_topic(i < r->topic_count ? &r->topics[i]
					       : &own[i - r->topic_count],
		    out);
	}
	lt_buffer_text(out, "},\"topicQueueMappingDetailMap\":{},"
			    "\"topicQueueMappingInfoMap\":{}}}");
}

static void
packed_text(const struct lt_buffer *text, struct lt_buffer *out)
{
	lt_buffer_put32(out, (uint32_t)text->bytes);
	lt_buffer_add(out, text->p, text->bytes);
}

static int
packed_body(const struct lt_registration *r, struct lt_buffer *out)
{
	struct lt_topic_queues own[2];
	uint32_t extra = own_topics(r, own);
	struct lt_buffer all, text;

	lt_buffer_init(&all, out->most);
	lt_buffer_init(&text, out->most);
	lt_registration_write_version(&r->version, &text);
	packed_text(&text, &all);
	lt_buffer_put32(&all, r->topic_count + extra);
	for (uint32_t i = 0; i < r->topic_count + extra; i++) {
		const struct lt_topic_queues *t =
		    i < r->topic_count ? &r->topics[i]
				       : &own[i - r->topic_count];
		lt_buffer_clear(&text);
		lt_buffer_add(&text, t->topic.p, t->topic.bytes);
		lt_buffer_format(&text, " %u %u %u SINGLE_TAG {}", t->read,
		    t->write, t->perm);
		packed_text(&text, &all);
	}
	lt_buffer_clear(&text);
	lt_buffer_text(&text, "[]"); /* filter servers */
	packed_text(&text, &all);
	lt_buffer_put32(&all, 0); /* mappings of static topics */
	int rc = lt_buffer_status(&all);
	if (rc == LEAT_OK)
		rc = lt_deflate_pack(all.p, all.bytes, LEVEL, out);
	lt_buffer_fini(&text);
	lt_buffer_fini(&all);
	return rc;
}

/* --- frames --------------------------------------------------------------- */

static void
put_text(struct lt_remoting_encoder *e, const char *name,
    struct lt_remoting_text value)
{
	lt_remoting_put(e, name, value.p == NULL ? "" : value.p, value.bytes);
}

static void
put_who(struct lt_remoting_encoder *e, const struct lt_registration *r)
{
	put_text(e, "brokerName", r->broker);
	put_text(e, "brokerAddr", r->address);
	put_text(e, "clusterName", r->cluster);
	lt_remoting_put_i64(e, "brokerId", r->broker_id);
}

static int
finish(struct lt_remoting_encoder *e, const struct lt_buffer *body,
    struct lt_buffer *out)
{
	size_t n = lt_remoting_end(e, NULL, 0, body == NULL ? 0 : body->bytes);

	if (n == 0)
		return LEAT_E_TOOBIG;
	lt_buffer_add(out, e->buf, n);
	if (body != NULL)
		lt_buffer_add(out, body->p, body->bytes);
	return lt_buffer_status(out);
}

int
lt_registration_frame(const struct lt_registration *r, int compressed,
    int32_t opaque, struct lt_buffer *out)
{
	uint8_t header[HEADER_ROOM];
	struct lt_remoting_encoder e;
	struct lt_buffer body;
	int rc;

	if (!lt_registration_dialable(r->address) ||
	    (r->ha_address.bytes > 0 &&
		!lt_registration_dialable(r->ha_address)))
		return LEAT_E_INVALID;
	lt_buffer_init(&body, LT_REMOTING_FRAME_MAX - HEADER_ROOM);
	if (compressed) {
		rc = packed_body(r, &body);
	} else {
		plain_body(r, &body);
		rc = lt_buffer_status(&body);
	}
	if (rc == LEAT_OK) {
		lt_remoting_begin(&e, header, sizeof(header), LT_REMOTING_JSON,
		    REGISTER_BROKER, 0, opaque);
		put_who(&e, r);
		put_text(&e, "haServerAddr", r->ha_address);
		if (r->zone.p != NULL)
			put_text(&e, "__ZONE_NAME", r->zone);
		if (r->timeout_ms > 0)
			lt_remoting_put_i64(
			    &e, "heartbeatTimeoutMillis", r->timeout_ms);
		if (r->acting != LT_REGISTRATION_OLD)
			put_text(&e, "enableActingMaster",
			    r->acting == LT_REGISTRATION_ACTING
				? (struct lt_remoting_text){"true", 4}
				: (struct lt_remoting_text){"false", 5});
		put_text(&e, "compressed",
		    compressed ? (struct lt_remoting_text){"true", 4}
			       : (struct lt_remoting_text){"false", 5});
		lt_remoting_put_i64(&e, "bodyCrc32",
		    lt_crc32(0, body.p, body.bytes) & 0x7fffffff);
		rc = finish(&e, &body, out);
	}
	lt_buffer_fini(&body);
	return rc;
}

int
lt_registration_leave(
    const struct lt_registration *r, int32_t opaque, struct lt_buffer *out)
{
	uint8_t header[HEADER_ROOM];
	struct lt_remoting_encoder e;

	lt_remoting_begin(&e, header, sizeof(header), LT_REMOTING_JSON,
	    UNREGISTER_BROKER, 0, opaque);
	put_who(&e, r);
	return finish(&e, NULL, out);
}

int
lt_registration_answer(
    const struct lt_remoting *reply, struct lt_registration_answer *out)
{
	if ((reply->flag & LT_REMOTING_RESPONSE) == 0)
		return LEAT_E_CORRUPT;
	out->code = reply->code;
	out->remark = reply->remark;
	out->master_address = lt_remoting_find(reply, "masterAddr");
	out->ha_address = lt_remoting_find(reply, "haServerAddr");
	return LEAT_OK;
}
