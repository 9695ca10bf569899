/*
 * names_fuzz.c - any requests to the name server, one after the other: each
 * leaves tables that answer in JSON, and when all connections are closed and
 * all keys deleted, nothing is left.
 *
 * An input is a list of requests: code, options, count of fields; then each
 * field's name and value; then the body. Names, and values of the first 32
 * kinds, are taken from lists, so that requests meet.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "leat/status.h"
#include "names/names.h"

#define FUZZ_NAME "names"
#define FUZZ_RUNS 30000
#include "drive.h"

#define FIELDS 12
#define CONNS 4
#define KNOWN 32 /* below: a value of the list; else as many bytes less 32 */

static const int32_t codes[] = {103, 105, 100, 101, 102, 104, 106, 205, 206,
    216, 217, 219, 224, 304, 311, 312, 313, 318, 319, 322, 327, 901, 904, 999};
static const char *const fields[] = {"clusterName", "brokerName", "brokerAddr",
    "brokerId", "haServerAddr", "heartbeatTimeoutMillis", "enableActingMaster",
    "compressed", "bodyCrc32", "topic", "namespace", "key", "value", "cluster",
    "__ZONE_NAME", "unknown"};
static const char *const values[] = {"", "c", "d", "a", "b", "10.0.0.1:1",
    "10.0.0.2:1", "0", "1", "2", "true", "false", "T", "U", "n",
    "ORDER_TOPIC_CONFIG", "1000", "-1", "h:1", "9223372036854775807"};
enum { /* options */
	PACK = 1, /* the body is compressed before it is sent */
	LATER = 2, /* time goes on by 7 s, and there is a scan */
	CLOSE = 4, /* this request's connection is closed behind it */
	OLD = 8, /* from an old version */
	CONN_SHIFT = 4
};

struct input {
	const uint8_t *p;
	size_t left;
};

static uint8_t
byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

static struct lt_remoting_text
text(struct input *in, size_t bytes)
{
	if (bytes > in->left)
		bytes = in->left;
	struct lt_remoting_text t = {(const char *)in->p, (uint32_t)bytes};
	in->p += bytes;
	in->left -= bytes;
	return t;
}

static struct lt_remoting_text
known(const char *value)
{
	struct lt_remoting_text t = {value, (uint32_t)strlen(value)};
	return t;
}

static void
read_fields(struct input *in, struct lt_remoting *request)
{
	request->ext_count = byte(in) % (FIELDS + 1);
	for (uint32_t i = 0; i < request->ext_count; i++) {
		struct lt_remoting_ext *e = &request->ext[i];
		uint8_t kind;

		e->name = known(fields[byte(in) % LT_COUNT(fields)]);
		kind = byte(in);
		e->value = kind < KNOWN ? known(values[kind % LT_COUNT(values)])
					: text(in, kind - KNOWN);
	}
}

/* What was answered is JSON, and Go can cut the addresses out of a route. */
static void
check_reply(const struct lt_names_reply *reply, int32_t code)
{
	static uint8_t header[LT_REMOTING_HEADER_MAX];
	struct lt_remoting_encoder e;
	json_error_t error;

	LT_ASSERT(memchr(reply->remark, 0, sizeof(reply->remark)) != NULL);
	LT_ASSERT((reply->code == 0) == (reply->remark[0] == '\0'));
	LT_ASSERT(lt_buffer_status(&reply->body) == LEAT_OK);
	lt_remoting_begin(&e, header, sizeof(header), LT_REMOTING_JSON,
	    reply->code, LT_REMOTING_RESPONSE, 1);
	lt_names_put(reply, &e);
	LT_ASSERT(lt_remoting_end(&e, reply->remark, strlen(reply->remark),
		      reply->body.bytes) > 0);
	if (reply->body.bytes == 0 || code == 319)
		return;
	json_t *root = json_loadb((const char *)reply->body.p,
	    reply->body.bytes, JSON_ALLOW_NUL, &error);
	LT_ASSERT(root != NULL);
	if (code == 105)
		LT_ASSERT(
		    json_array_size(json_object_get(root, "brokerDatas")) > 0);
	json_decref(root);
}

static void
one_request(struct lt_names *names, struct input *in, uint64_t *now_ms)
{
	struct lt_remoting request = {
	    .code = codes[byte(in) % LT_COUNT(codes)]};
	uint8_t options = byte(in);
	struct lt_names_peer peer = {
	    1 + (options >> CONN_SHIFT) % CONNS, "x", NULL};
	struct lt_remoting_text body;
	struct lt_names_reply reply;
	struct lt_buffer packed;

	request.version = options & OLD ? 36 : 479;
	read_fields(in, &request);
	body = text(in, byte(in) | (size_t)byte(in) << 8);
	lt_buffer_init(&packed, 100000);
	if (options & PACK && body.bytes > 0 &&
	    lt_deflate_pack(body.p, body.bytes, 0, &packed) == LEAT_OK)
		body = (struct lt_remoting_text){
		    (const char *)packed.p, (uint32_t)packed.bytes};
	lt_names_reply_init(&reply);
	lt_names_call(
	    names, &request, body.p, body.bytes, &peer, *now_ms, &reply);
	check_reply(&reply, request.code);
	lt_names_reply_fini(&reply);
	lt_buffer_fini(&packed);
	if (options & LATER)
		lt_names_scan(names, *now_ms += 7000, NULL);
	if (options & CLOSE)
		lt_names_closed(names, peer.conn, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const struct lt_names_limits limits = {.brokers_max = 6,
	    .topics_max = 40,
	    .bytes_max = 60000,
	    .body_max = 20000};
	struct input in = {data, bytes};
	struct lt_names_counts n;
	struct lt_names *names;
	uint64_t now_ms = 1;

	LT_ASSERT(lt_names_create(&limits, &names) == LEAT_OK);
	while (in.left > 0) {
		one_request(names, &in, &now_ms);
		lt_names_count(names, &n);
		LT_ASSERT(n.brokers <= limits.brokers_max);
		LT_ASSERT(n.topics <= limits.topics_max);
		LT_ASSERT(n.bytes <= limits.bytes_max);
	}
	for (uint64_t conn = 1; conn <= CONNS; conn++)
		lt_names_closed(names, conn, NULL);
	lt_names_count(names, &n);
	LT_ASSERT(n.brokers == 0 && n.topics == 0);
	lt_names_destroy(names); /* asserts that no byte is left */
	return 0;
}

/* --- seeds ---------------------------------------------------------------- */

static void
put_byte(struct lt_buffer *b, size_t v)
{
	uint8_t byte_value = (uint8_t)v;

	lt_buffer_add(b, &byte_value, 1);
}

static void
put_request(struct lt_buffer *b, int32_t code, uint8_t options,
    const char *list, const struct lt_buffer *body)
{
	size_t at = 0, bytes = body == NULL ? 0 : body->bytes;

	while (codes[at] != code)
		at++;
	put_byte(b, at);
	put_byte(b, options);
	put_byte(b, strlen(list) / 2);
	for (; *list != '\0'; list += 2) {
		put_byte(b, (size_t)(list[0] - 'a'));
		put_byte(b, (size_t)(list[1] - 'A'));
	}
	put_byte(b, bytes & 255);
	put_byte(b, bytes >> 8);
	lt_buffer_add(b, body == NULL ? "" : (char *)body->p, bytes);
}

static void
put_text(struct lt_buffer *b, const char *line)
{
	lt_buffer_put32(b, (uint32_t)strlen(line));
	lt_buffer_text(b, line);
}

static void
registration_body(struct lt_buffer *b, int packed)
{
	static const char version[] =
	    "{\"counter\":1,\"stateVersion\":0,\"timestamp\":5}";
	static const char *const topics[] = {"T", "U", "a", "SELF_TEST_TOPIC"};

	if (packed) {
		put_text(b, version);
		lt_buffer_put32(b, LT_COUNT(topics));
		for (size_t i = 0; i < LT_COUNT(topics); i++) {
			char line[64];
			snprintf(line, sizeof(line), "%s 4 4 6 SINGLE_TAG {}",
			    topics[i]);
			put_text(b, line);
		}
		put_text(b, "[]");
		lt_buffer_put32(b, 0);
		return;
	}
	lt_buffer_format(b,
	    "{\"topicConfigSerializeWrapper\":{\"dataVersion\":%s,"
	    "\"topicConfigTable\":{",
	    version);
	for (size_t i = 0; i < LT_COUNT(topics); i++)
		lt_buffer_format(b,
		    "%s\"%s\":{\"perm\":6,\"readQueueNums\":4,"
		    "\"topicName\":\"%s\",\"topicSysFlag\":1,"
		    "\"writeQueueNums\":4}",
		    i == 0 ? "" : ",", topics[i], topics[i]);
	lt_buffer_text(b, "},\"x\":{0:1}}}");
}

/* Fields as letter pairs: the first picks the name, the second the value. */
#define MASTER "aBbDcFdHeS" /* cluster c, broker a, 10.0.0.1:1, id 0 */
#define REPLICA "aBbDcGdIgKeS" /* its replica, at 10.0.0.2:1 */

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	struct lt_buffer b, body, route;
	int packed = n & 1;

	lt_buffer_init(&b, cap);
	lt_buffer_init(&body, cap);
	lt_buffer_init(&route, cap);
	registration_body(&body, packed);
	lt_buffer_text(&route,
	    "{\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6}],"
	    "\"brokerDatas\":[{\"brokerAddrs\":{0:\"x\"}}]}");
	put_request(
	    &b, 103, packed ? PACK : 0, packed ? MASTER "hK" : MASTER, &body);
	put_request(&b, 105, 0, "jM", NULL);
	if (n & 2) {
		put_request(&b, 103, (packed ? PACK : 0) | LATER | 16,
		    packed ? REPLICA "hK" : REPLICA, &body);
		put_request(&b, 904, LATER, "bDcF", NULL);
		put_request(&b, 205, 0, "bD", NULL);
		put_request(&b, 217, 0, "jN", &route);
		put_request(&b, 104, CLOSE, "bDcFaBdH", NULL);
	}
	if (n & 4) {
		put_request(&b, 100, 0, "kPlMmB", NULL);
		put_request(&b, 219, 0, "kP", NULL);
		put_request(&b, 101, 0, "kPlM", NULL);
		put_request(&b, 106, 0, "", NULL);
		put_request(&b, 322, LATER, "bDcFaBdH", NULL);
		put_request(&b, 216, 0, "jMaB", NULL);
		put_request(&b, 304, 0, "", NULL);
	}
	put_request(&b, 206, 0, "", NULL);
	size_t bytes = lt_buffer_status(&b) == LEAT_OK ? b.bytes : 0;
	if (bytes > 0)
		memcpy(buf, b.p, bytes);
	lt_buffer_fini(&route);
	lt_buffer_fini(&body);
	lt_buffer_fini(&b);
	return bytes;
}
