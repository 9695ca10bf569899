/*
 * names_twin.c - the same requests to Leat's tables and to another name server
 * (names_twin PORT, on loopback), whose answers must be the same: code, fields,
 * body. Bodies in which the other has number keys without quotes, or lists in
 * the order of its hash table, are compared as JSON; a route of one broker byte
 * for byte.
 *
 * Known differences, not asked for: topics that vanish behind a full list (off
 * by default there), addresses that nobody can dial (taken there), remarks.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "leat/status.h"
#include "names_rig.h"

static int port, peer;
static struct lt_buffer theirs; /* their last frame */
static unsigned same_bytes, same_json;

static void
read_bytes(size_t bytes)
{
	uint8_t *to = lt_buffer_reserve(&theirs, bytes);

	assert_non_null(to);
	while (bytes > 0) {
		ssize_t n = read(peer, to, bytes);
		assert_true(n > 0);
		to += n;
		bytes -= (size_t)n;
		lt_buffer_took(&theirs, (size_t)n);
	}
}

/* Send them the frame, with its sender's version (of three digits, as ours). */
static void
mirror(struct rig *r, const struct lt_buffer *frame)
{
	static const char mark[] = "\"version\":";
	struct lt_remoting_frame f;
	char digits[16];
	uint8_t *at = memmem(frame->p, frame->bytes, mark, sizeof(mark) - 1);

	assert_non_null(at);
	snprintf(digits, sizeof(digits), "%03d", r->version);
	memcpy(at + sizeof(mark) - 1, digits, 3);
	assert_int_equal(
	    write(peer, frame->p, frame->bytes), (ssize_t)frame->bytes);
	lt_buffer_clear(&theirs);
	read_bytes(LT_REMOTING_PREFIX);
	assert_int_equal(
	    lt_remoting_frame(theirs.p, theirs.bytes, &f), LEAT_E_AGAIN);
	read_bytes(f.bytes - LT_REMOTING_PREFIX);
}

/* {0:"a"} as {"0":"a"}. */
static void
quote_keys(const char *p, size_t bytes, struct lt_buffer *out)
{
	int quoted = 0;

	for (size_t i = 0; i < bytes; i++) {
		size_t n = 0;
		lt_buffer_add(out, p + i, 1);
		quoted ^= p[i] == '"';
		if (!quoted && (p[i] == '{' || p[i] == ','))
			n = strspn(p + i + 1, "0123456789");
		if (n > 0 && p[i + 1 + n] == ':') {
			lt_buffer_quote(out, p + i + 1, n);
			i += n;
		}
	}
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* As text in which lists are sorted; freed by the caller. */
static char *
canonical(const json_t *v)
{
	struct lt_buffer out;
	size_t n = json_array_size(v), i = 0;
	char **parts = calloc(n + json_object_size(v) + 1, sizeof(*parts));
	const char *key;
	json_t *child;

	if (!json_is_array(v) && !json_is_object(v)) {
		free(parts);
		return json_dumps(v, JSON_ENCODE_ANY);
	}
	lt_buffer_init(&out, 1u << 20);
	for (; i < n; i++)
		parts[i] = canonical(json_array_get(v, i));
	json_object_foreach((json_t *)v, key, child)
	{
		char *text = canonical(child);
		assert_true(asprintf(&parts[i++], "%s:%s", key, text) > 0);
		free(text);
	}
	qsort(parts, i, sizeof(*parts), by_text);
	lt_buffer_text(&out, json_is_array(v) ? "[" : "{");
	for (size_t k = 0; k < i; k++) {
		lt_buffer_text(&out, parts[k]);
		lt_buffer_text(&out, ";");
		free(parts[k]);
	}
	lt_buffer_add(&out, json_is_array(v) ? "]" : "}", 2);
	free(parts);
	return (char *)out.p; /* of the same allocator: libc's */
}

/* A route of one broker has no order that could differ. */
static int
must_be_equal(const struct rig *r, int32_t code)
{
	static const char mark[] = "\"brokerAddrs\"";
	const char *one = strstr(r->body, mark);

	return code == 105 && r->version >= 401 && one != NULL &&
	       strstr(one + 1, mark) == NULL;
}

static void
compare_bodies(const struct rig *r, int32_t code, const char *p, size_t bytes)
{
	size_t ours = r->reply.body.bytes - 1;
	struct lt_buffer quoted;
	json_error_t error;

	if (bytes == ours && memcmp(p, r->body, bytes) == 0) {
		same_bytes += bytes > 0;
		return;
	}
	/* No configuration at all is no body there, an empty table here. */
	if (code == 103 && bytes == 0)
		return;
	lt_buffer_init(&quoted, 1u << 20);
	quote_keys(p, bytes, &quoted);
	json_t *a = json_loadb(r->body, ours, JSON_DECODE_ANY, &error);
	json_t *b =
	    json_loadb((char *)quoted.p, quoted.bytes, JSON_DECODE_ANY, &error);
	char *x = canonical(a), *y = canonical(b);
	if (a == NULL || b == NULL || strcmp(x, y) != 0 ||
	    must_be_equal(r, code))
		fail_msg("%d:\n  ours   %s\n  theirs %.*s", code, r->body,
		    (int)bytes, p);
	same_json++;
	free(x);
	free(y);
	json_decref(a);
	json_decref(b);
	lt_buffer_fini(&quoted);
}

static void
compare(struct rig *r, int32_t code)
{
	struct lt_remoting_frame f;
	struct lt_remoting reply;

	assert_int_equal(
	    lt_remoting_frame(theirs.p, theirs.bytes, &f), LEAT_OK);
	assert_int_equal(lt_remoting_decode(&f, &reply), LEAT_OK);
	if (reply.code != r->reply.code)
		fail_msg("%d: code %d here (%s), %d there (%.*s)", code,
		    r->reply.code, r->reply.remark, reply.code,
		    (int)reply.remark.bytes, reply.remark.p);
	for (uint32_t i = 0; i < r->reply.ext_count; i++) {
		struct lt_remoting_text t =
		    lt_remoting_find(&reply, r->reply.ext[i].name);
		const char *ours = rig_field(r, r->reply.ext[i].name);
		assert_non_null(t.p);
		assert_int_equal(t.bytes, strlen(ours));
		assert_memory_equal(t.p, ours, t.bytes);
	}
	assert_int_equal(reply.ext_count, r->reply.ext_count);
	compare_bodies(r, code, (const char *)f.body, f.body_bytes);
}

static int
connect_peer(void)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval limit = {.tv_sec = 180};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* --- the requests ----------------------------------------------------------
 */

static const struct broker A = {.cluster = "DefaultCluster",
    .name = "broker-a",
    .address = "10.0.0.1:10911",
    .counter = 1};
static const struct broker B = {.cluster = "DefaultCluster",
    .name = "broker-b",
    .address = "10.0.0.2:10911",
    .ha = "10.0.0.2:10912",
    .counter = 1};
static const struct broker C = {.cluster = "Other",
    .name = "broker-c",
    .address = "db.example.org:10911",
    .counter = 1};

static void
ask_lists(struct rig *r)
{
	static const int codes[] = {106, 206, 311, 312, 313};
	static const char *const topics[] = {"T", "U", "new", "%RETRY%g"};

	for (size_t i = 0; i < LT_COUNT(codes); i++)
		rig_call(r, codes[i], NULL, 0, NULL);
	for (size_t i = 0; i < LT_COUNT(topics); i++) {
		r->version = 479;
		rig_call(r, 105, NULL, 0, "topic", topics[i], NULL);
		r->version = 317;
		rig_call(r, 105, NULL, 0, "topic", topics[i], NULL);
		r->version = 479;
	}
	rig_call(r, 224, NULL, 0, "cluster", "DefaultCluster", NULL);
	rig_call(r, 224, NULL, 0, "cluster", "Other", NULL);
	rig_call(r, 901, NULL, 0, "clusterName", "DefaultCluster", "brokerName",
	    "broker-a", NULL);
	rig_call(r, 901, NULL, 0, "clusterName", "DefaultCluster", "brokerName",
	    "none", NULL);
}

static void
ask_version(struct rig *r, const char *address, int counter)
{
	char body[100];
	int n = snprintf(body, sizeof(body),
	    "{\"counter\":%d,\"stateVersion\":0,\"timestamp\":1700000000000}",
	    counter);

	rig_call(r, 322, body, (size_t)n, "brokerName", "broker-a",
	    "brokerAddr", address, "clusterName", "DefaultCluster", "brokerId",
	    "0", NULL);
}

/* There a broker goes behind the reply, by a thread: ask until it has gone. */
static void
wait_gone(struct rig *r, const char *name, const char *address)
{
	r->answered = NULL;
	do {
		rig_call(r, 901, NULL, 0, "clusterName", "DefaultCluster",
		    "brokerName", name, NULL);
	} while (
	    memmem(theirs.p, theirs.bytes, address, strlen(address)) != NULL);
	r->answered = compare;
}

static void
leave(struct rig *r, const struct broker *b)
{
	rig_call(r, 104, NULL, 0, "brokerName", b->name, "brokerAddr",
	    b->address, "clusterName", b->cluster, "brokerId",
	    b->id == NULL ? "0" : b->id, NULL);
	wait_gone(r, b->name, b->address);
}

static void
ask_keys(struct rig *r)
{
	rig_call(r, 219, NULL, 0, "namespace", "n", NULL);
	rig_call(r, 101, NULL, 0, "namespace", "n", "key", "k", NULL);
	rig_call(r, 100, NULL, 0, "namespace", "n", "key", "k", "value", "\"v",
	    NULL);
	rig_call(r, 101, NULL, 0, "namespace", "n", "key", "k", NULL);
	rig_call(r, 219, NULL, 0, "namespace", "n", NULL);
	rig_call(r, 102, NULL, 0, "namespace", "n", "key", "k", NULL);
	rig_call(r, 101, NULL, 0, "namespace", "n", "key", "k", NULL);
}

/* Leat's own broker, as it registers with both. */
static void
announce(struct rig *r)
{
	struct lt_topic_queues topics[] = {
	    {.topic = {"T", 1}, .read = 4, .write = 2, .perm = 6},
	    {.topic = {"leat-only", 9}, .read = 3, .write = 3, .perm = 4}};
	struct lt_registration who = {.cluster = {"DefaultCluster", 14},
	    .broker = {"leat", 4},
	    .address = {"10.0.0.4:10911", 14},
	    .ha_address = {"10.0.0.4:10912", 14},
	    .timeout_ms = 40000,
	    .acting = LT_REGISTRATION_PLAIN,
	    .topics = topics,
	    .topic_count = LT_COUNT(topics)};
	uint64_t digest = 0;
	struct lt_buffer frame;

	lt_buffer_init(&frame, LT_REMOTING_FRAME_MAX);
	for (int compressed = 0; compressed < 2; compressed++) {
		lt_registration_date(&who, 1, &who.version, &digest);
		lt_buffer_clear(&frame);
		assert_int_equal(
		    lt_registration_frame(&who, compressed, 9, &frame),
		    LEAT_OK);
		assert_int_equal(rig_frame(r, &frame), 0);
		assert_int_equal(
		    rig_call(r, 105, NULL, 0, "topic", "leat-only", NULL), 0);
		ask_lists(r);
		topics[0].read++;
	}
	lt_buffer_clear(&frame);
	assert_int_equal(lt_registration_leave(&who, 9, &frame), LEAT_OK);
	assert_int_equal(rig_frame(r, &frame), 0);
	wait_gone(r, "leat", "10.0.0.4:10911");
	ask_lists(r);
	lt_buffer_fini(&frame);
}

static void
answers_are_the_same(void **state)
{
	static const char route[] =
	    "{\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":4,"
	    "\"readQueueNums\":2,\"topicSysFlag\":3,\"writeQueueNums\":1}]}";
	struct broker a = A, replica = A;
	struct rig r;

	rig_open(&r, NULL);
	r.sees = mirror;
	r.answered = compare;
	lt_buffer_init(&theirs, LT_REMOTING_FRAME_MAX);
	peer = connect_peer();
	ask_lists(&r);
	ask_keys(&r);
	ask_version(&r, "10.0.0.1:10911", 1);
	rig_register(&r, &a, "T");
	rig_register_packed(&r, &a, "T");
	rig_call(&r, 103, "{}", 2, "clusterName", "c", "brokerName", "b",
	    "brokerAddr", "10.0.0.1:1", "haServerAddr", "10.0.0.1:2",
	    "brokerId", "0", "bodyCrc32", "77", NULL);
	rig_register(&r, &a, "T U:4 %RETRY%g broker-a");
	ask_lists(&r);
	replica.id = "2";
	replica.address = "10.0.0.3:10911";
	replica.ha = "10.0.0.3:10912";
	rig_register(&r, &replica, "T U elsewhere");
	rig_register_packed(&r, &B, "T U broker-b");
	rig_register_packed(&r, &C, "T TBW102:7 broker-c");
	ask_lists(&r);
	rig_call(&r, 205, NULL, 0, "brokerName", "broker-a", NULL);
	rig_call(&r, 205, NULL, 0, "brokerName", "none", NULL);
	ask_lists(&r);
	rig_register(&r, &a, "T U:4 %RETRY%g broker-a new");
	ask_lists(&r);
	a.counter++;
	rig_register_packed(&r, &a, "T:2");
	ask_lists(&r);
	ask_version(&r, "10.0.0.1:10911", 1);
	ask_version(&r, "10.0.0.1:10911", 2);
	ask_version(&r, "10.0.0.9:10911", 2);
	rig_call(&r, 327, NULL, 0, "brokerName", "broker-a", NULL);
	rig_call(&r, 216, NULL, 0, "topic", "T", "clusterName", "Other", NULL);
	rig_call(&r, 216, NULL, 0, "topic", "U", NULL);
	rig_call(&r, 216, NULL, 0, "topic", "none", NULL);
	rig_call(&r, 217, route, sizeof(route) - 1, "topic", "new", NULL);
	ask_lists(&r);
	rig_call(&r, 904, NULL, 0, "brokerName", "broker-a", "brokerAddr",
	    "10.0.0.1:10911", "clusterName", "DefaultCluster", "brokerId", "0",
	    NULL);
	rig_call(&r, 100, NULL, 0, "namespace", "ORDER_TOPIC_CONFIG", "key",
	    "T", "value", "broker-a:4", NULL);
	rig_register(&r, &a, "T:2");
	ask_lists(&r);
	/* A replica takes the master's place, the other one its id. */
	replica.id = "0";
	replica.counter++;
	rig_register(&r, &replica, "T U");
	ask_lists(&r);
	leave(&r, &B);
	ask_lists(&r);
	leave(&r, &replica);
	ask_lists(&r);
	replica.id = "1";
	replica.acting = a.acting = "true";
	a.counter++;
	rig_register(&r, &a, "T U broker-a");
	rig_register(&r, &replica, "T U broker-a");
	ask_lists(&r);
	leave(&r, &a);
	ask_lists(&r);
	leave(&r, &replica);
	leave(&r, &C);
	rig_call(&r, 304, NULL, 0, NULL);
	ask_lists(&r);
	announce(&r);
	rig_register(&r, &A, "T U broker-a");
	announce(&r);
	close(peer);
	lt_buffer_fini(&theirs);
	rig_close(&r);
	print_message("%u bodies the same byte for byte, %u as JSON\n",
	    same_bytes, same_json);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_are_the_same),
	};

	if (argc != 2 || (port = atoi(argv[1])) <= 0) {
		fprintf(stderr, "names_twin PORT\n");
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
