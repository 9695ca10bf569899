/* names_rig.c - requests made and replies read for the name server's tests. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/deflate.h"
#include "leat/status.h"
#include "names_rig.h"

#define HEADER_ROOM 262144u

void
rig_open(struct rig *r, const struct lt_names_limits *limits)
{
	static const struct lt_names_limits none;

	*r = (struct rig){.now_ms = 1000, .conn = 1, .version = 479};
	assert_int_equal(
	    lt_names_create(limits == NULL ? &none : limits, &r->names),
	    LEAT_OK);
	lt_names_reply_init(&r->reply);
}

void
rig_close(struct rig *r)
{
	lt_names_reply_fini(&r->reply);
	lt_names_destroy(r->names);
}

int
rig_frame(struct rig *r, struct lt_buffer *bytes)
{
	const struct lt_names_peer peer = {r->conn, "10.0.0.9:4711", NULL};
	struct lt_remoting_frame frame;
	struct lt_remoting request;

	assert_int_equal(lt_buffer_status(bytes), LEAT_OK);
	if (r->sees != NULL)
		r->sees(r, bytes);
	assert_int_equal(
	    lt_remoting_frame(bytes->p, bytes->bytes, &frame), LEAT_OK);
	assert_int_equal(frame.bytes, bytes->bytes);
	assert_int_equal(lt_remoting_decode(&frame, &request), LEAT_OK);
	request.version = r->version;
	lt_names_reply_clear(&r->reply);
	assert_int_equal(lt_names_has(request.code), 1);
	lt_names_call(r->names, &request, frame.body, frame.body_bytes, &peer,
	    r->now_ms, &r->reply);
	lt_buffer_add(&r->reply.body, "", 1);
	r->body = (const char *)r->reply.body.p;
	assert_int_equal(r->reply.code == 0, r->reply.remark[0] == '\0');
	if (r->answered != NULL)
		r->answered(r, request.code);
	return r->reply.code;
}

int
rig_call(struct rig *r, int code, const void *body, size_t bytes, ...)
{
	static uint8_t header[HEADER_ROOM];
	struct lt_remoting_encoder e;
	struct lt_buffer frame;
	const char *name;
	va_list args;

	lt_buffer_init(&frame, LT_REMOTING_FRAME_MAX);
	lt_remoting_begin(
	    &e, header, sizeof(header), LT_REMOTING_JSON, code, 0, 7);
	va_start(args, bytes);
	while ((name = va_arg(args, const char *)) != NULL) {
		const char *value = va_arg(args, const char *);
		if (value != NULL)
			lt_remoting_put(&e, name, value, strlen(value));
	}
	va_end(args);
	size_t n = lt_remoting_end(&e, NULL, 0, bytes);
	assert_true(n > 0);
	lt_buffer_add(&frame, header, n);
	lt_buffer_add(&frame, body, bytes);
	int rc = rig_frame(r, &frame);
	lt_buffer_fini(&frame);
	return rc;
}

const char *
rig_field(const struct rig *r, const char *name)
{
	static char text[2][512];
	static unsigned turn;

	for (uint32_t i = 0; i < r->reply.ext_count; i++) {
		if (strcmp(r->reply.ext[i].name, name) != 0)
			continue;
		char *to = text[turn++ % 2];
		size_t n = r->reply.ext[i].bytes;
		assert_true(n < sizeof(text[0]));
		if (n > 0)
			memcpy(to,
			    (char *)r->reply.values.p + r->reply.ext[i].at, n);
		to[n] = '\0';
		return to;
	}
	return NULL;
}

/* --- registrations -------------------------------------------------------- */

/* The next of "A B:4"; its name and perm. */
static int
next_topic(const char **topics, char name[256], unsigned *perm)
{
	size_t n;

	*topics += strspn(*topics, " ");
	n = strcspn(*topics, " :");
	if (n == 0)
		return 0;
	memcpy(name, *topics, n);
	name[n] = '\0';
	*perm = 6;
	*topics += n;
	if (**topics == ':') {
		*perm = (unsigned)(*topics)[1] - '0';
		*topics += 2;
	}
	return 1;
}

void
rig_plain_body(
    const struct broker *b, const char *topics, struct lt_buffer *out)
{
	const char *comma = "";
	char name[256];
	unsigned perm;

	lt_buffer_format(out,
	    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":"
	    "{\"dataVersion\":{\"counter\":%u,\"stateVersion\":0,"
	    "\"timestamp\":1700000000000},\"topicConfigTable\":{",
	    b->counter);
	while (next_topic(&topics, name, &perm)) {
		lt_buffer_format(out,
		    "%s\"%s\":{\"attributes\":{},\"order\":false,\"perm\":%u,"
		    "\"readQueueNums\":4,\"topicFilterType\":\"SINGLE_TAG\","
		    "\"topicName\":\"%s\",\"topicSysFlag\":0,"
		    "\"writeQueueNums\":4}",
		    comma, name, perm, name);
		comma = ",";
	}
	lt_buffer_text(out, "},\"topicQueueMappingDetailMap\":{},"
			    "\"topicQueueMappingInfoMap\":{},"
			    "\"mappingDataVersion\":{\"counter\":0,"
			    "\"stateVersion\":0,\"timestamp\":0}}}");
}

static void
put_text(struct lt_buffer *out, const char *text)
{
	lt_buffer_put32(out, (uint32_t)strlen(text));
	lt_buffer_text(out, text);
}

void
rig_packed_body(const struct broker *b, const char *topics, int32_t version,
    struct lt_buffer *out)
{
	struct lt_buffer all, list;
	char name[256], text[512];
	uint32_t count = 0;
	unsigned perm;

	lt_buffer_init(&all, 1u << 24);
	lt_buffer_init(&list, 1u << 24);
	snprintf(text, sizeof(text),
	    "{\"counter\":%u,\"stateVersion\":0,\"timestamp\":1700000000000}",
	    b->counter);
	put_text(&all, text);
	for (; next_topic(&topics, name, &perm); count++) {
		snprintf(text, sizeof(text), "%s 4 4 %u SINGLE_TAG%s", name,
		    perm, version >= 413 ? " {}" : "");
		put_text(&list, text);
	}
	lt_buffer_put32(&all, count);
	lt_buffer_add(&all, list.p, list.bytes);
	put_text(&all, "[]");
	if (version >= 413) {
		lt_buffer_put32(&all, 1);
		put_text(&all, "{\"topic\":\"static\"}");
	}
	assert_int_equal(lt_deflate_pack(all.p, all.bytes, 9, out), LEAT_OK);
	lt_buffer_fini(&list);
	lt_buffer_fini(&all);
}

static int
send_body(struct rig *r, const struct broker *b, const char *compressed,
    const struct lt_buffer *body)
{
	char crc[16];

	assert_int_equal(lt_buffer_status(body), LEAT_OK);
	snprintf(crc, sizeof(crc), "%u",
	    lt_crc32(0, body->p, body->bytes) & 0x7fffffff);
	return rig_call(r, 103, body->p, body->bytes, "clusterName", b->cluster,
	    "brokerName", b->name, "brokerAddr", b->address, "brokerId",
	    b->id == NULL ? "0" : b->id, "haServerAddr",
	    b->ha == NULL ? "10.0.0.1:10912" : b->ha, "heartbeatTimeoutMillis",
	    b->timeout_ms, "enableActingMaster", b->acting, "bodyCrc32", crc,
	    "compressed", compressed, NULL);
}

int
rig_register(struct rig *r, const struct broker *b, const char *topics)
{
	struct lt_buffer body;

	lt_buffer_init(&body, 1u << 24);
	rig_plain_body(b, topics, &body);
	int rc = send_body(r, b, "false", &body);
	lt_buffer_fini(&body);
	return rc;
}

int
rig_register_packed(struct rig *r, const struct broker *b, const char *topics)
{
	struct lt_buffer body;

	lt_buffer_init(&body, 1u << 24);
	rig_packed_body(b, topics, r->version, &body);
	int rc = send_body(r, b, "true", &body);
	lt_buffer_fini(&body);
	return rc;
}
