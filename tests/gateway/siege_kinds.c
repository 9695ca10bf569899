/*
 * siege_kinds.c - the ways in which a remote peer can lie, flood, stall and
 * break off, one function each, on a connection of its own.
 */
#include "config.h"
#include "siege.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/check.h"

#define ROOM (4u << 20)
#define TINY 2000 /* pipelined requests of one connection */

uint64_t siege_random;
static uint8_t *buf; /* ROOM bytes */
static uint8_t hello[2048]; /* a TLS client's */
static size_t hello_bytes;

uint32_t
siege_draw(uint32_t below)
{
	siege_random ^= siege_random << 13;
	siege_random ^= siege_random >> 7;
	siege_random ^= siege_random << 17;
	return (uint32_t)((siege_random >> 32) * below >> 32);
}

static void
noise(uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)siege_draw(256);
}

/* As much as it takes now: nobody may hold us up. */
static void
push(int fd, const uint8_t *p, size_t bytes)
{
	for (ssize_t n; bytes > 0; p += n, bytes -= (size_t)n)
		if ((n = send(fd, p, bytes, MSG_NOSIGNAL | MSG_DONTWAIT)) <= 0)
			return;
}

/* All of it, unless it is cut off meanwhile. */
static void
push_all(int fd, const uint8_t *p, size_t bytes)
{
	for (ssize_t n; bytes > 0; p += n, bytes -= (size_t)n)
		if ((n = send(fd, p, bytes, MSG_NOSIGNAL)) <= 0)
			return;
}

/* A request that makes sense, in buf. */
static size_t
sane(int32_t flag)
{
	static const struct siege_field fields[] = {
	    {"topic", "good"}, {"queueId", "0"}, {NULL, NULL}};

	return siege_frame(buf, ROOM, siege_draw(2) ? 30 : 31, flag,
	    (int32_t)siege_draw(1000), fields, NULL, 0);
}

static size_t
pull_frame(
    uint8_t *out, const char *topic, const char *offset, const char *suspend)
{
	return siege_frame(out, ROOM / 2, 11, 0, (int32_t)siege_draw(1000),
	    SIEGE_FIELDS({"consumerGroup", "besiegers"}, {"topic", topic},
		{"queueId", "0"}, {"queueOffset", offset}, {"maxMsgNums", "32"},
		{"sysFlag", "6"}, {"commitOffset", "0"},
		{"suspendTimeoutMillis", suspend}, {"subscription", "*"},
		{"subVersion", "0"}),
	    NULL, 0);
}

static size_t
send_frame(uint8_t *out, int32_t flag, const char *queue, const void *body,
    size_t bytes)
{
	return siege_frame(out, ROOM / 2, 310, flag, (int32_t)siege_draw(1000),
	    SIEGE_FIELDS({"a", "besiegers"}, {"b", "spam"}, {"c", "TBW102"},
		{"d", "4"}, {"e", queue}, {"f", "0"}, {"g", "1700000000123"},
		{"h", "0"}, {"i", "WAIT\001false"}, {"j", "0"}),
	    body, bytes);
}

/* Length and header length of a frame, as if they were so. */
static void
claim(uint32_t length, uint32_t header)
{
	lt_bytes_put32(buf, length);
	lt_bytes_put32(buf + 4, header);
}

/* --- what is no request ----------------------------------------------------
 */

static int
garbage(struct siege_link *l)
{
	size_t bytes = 4 + siege_draw(siege_draw(2) ? 40 : 5000);

	noise(buf, bytes);
	if (buf[0] < 2 || buf[0] == 0x16)
		buf[0] = 2; /* else it is a long frame, or a TLS record */
	push_all(l->fd, buf, bytes);
	return 0;
}

static int
oversize(struct siege_link *l)
{
	size_t bytes = sane(0);

	lt_bytes_put32(
	    buf, LT_REMOTING_FRAME_MAX + 1 +
		     siege_draw(UINT32_MAX - LT_REMOTING_FRAME_MAX - 1));
	if (buf[0] == 0x16)
		buf[0] = 0x17;
	push_all(l->fd, buf, bytes);
	return 0;
}

/* The header is longer than its frame, or of an encoding that is none. */
static int
header_lies(struct siege_link *l)
{
	uint32_t bytes = (uint32_t)sane(0);
	uint32_t more = bytes - 8 + 1 + siege_draw(100000);

	switch (siege_draw(3)) {
	case 0:
		claim(bytes - 4, more);
		break;
	case 1:
		claim(bytes - 4, (2 + siege_draw(250)) << 24 | (bytes - 8));
		break;
	default:
		claim(siege_draw(4), bytes - 8);
		break;
	}
	push_all(l->fd, buf, bytes);
	return 0;
}

static int
tls_garbage(struct siege_link *l)
{
	size_t bytes = 200 + siege_draw(2000);

	noise(buf, bytes);
	buf[0] = 0x16;
	buf[1] = 3;
	buf[2] = 1;
	buf[3] = 0;
	buf[4] = (uint8_t)siege_draw(190); /* it is all there */
	push_all(l->fd, buf, bytes);
	return 0;
}

/* A session, a request in it, then noise on its wire. */
static int
tls_broken(struct siege_link *l)
{
	l->ssl = SSL_new(siege.tls);
	SSL_set_fd(l->ssl, l->fd);
	if (SSL_connect(l->ssl) != 1 ||
	    (l->fd >= 0 && siege_ask(l, 105, SIEGE_FIELDS({"topic", "good"}),
			       NULL, 0) < 0))
		return -1;
	noise(buf, 600);
	buf[0] = 23; /* application data */
	buf[1] = buf[2] = 3;
	buf[3] = (uint8_t)siege_draw(2);
	push_all(l->fd, buf, 600);
	return 0;
}

/* --- headers that are none -------------------------------------------------
 */

static int
json_bomb(struct siege_link *l)
{
	static const char open[] = "{\"code\":31,\"x\":";
	char *p = (char *)buf + 8;
	size_t n = 0, most = 1000 + siege_draw(100000);

	switch (siege_draw(4)) {
	case 0: /* deep */
		n = (size_t)sprintf(p, "%s", open);
		memset(p + n, siege_draw(2) ? '[' : '{', most);
		n += most;
		break;
	case 1: /* a string without end */
		n = (size_t)sprintf(p, "%s\"", open);
		memset(p + n, 'a', most);
		n += most;
		break;
	case 2: /* wide */
		n = (size_t)sprintf(p, "{\"code\":31,\"extFields\":{");
		for (size_t i = 0; n < most + 2000; i++)
			n += (size_t)sprintf(p + n, "\"k%zu\":\"v\",", i);
		n += (size_t)sprintf(p + n, "\"k\":0}}");
		break;
	default: /* larger than a header may be */
		n = LT_REMOTING_HEADER_MAX + 1 + most;
		memset(p, ' ', n);
		memcpy(p, "{\"code\":31,", 11);
		memcpy(p + n - 11, "\"opaque\":1}", 11);
		break;
	}
	claim((uint32_t)n + 4, (uint32_t)n);
	push_all(l->fd, buf, n + 8);
	return 0;
}

/* Bombs within bodies are answered. */
static int
body_bomb(struct siege_link *l)
{
	static const int32_t codes[] = {34, 41, 42, 18, 225, 401, 200151};
	char *p = (char *)buf;
	size_t most = 1000 + siege_draw(50000);
	size_t n = (size_t)sprintf(p,
	    "{\"clientID\":\"besieger@%u\",\"consumerGroup\":\"besiegers\","
	    "\"x\":",
	    siege_draw(1000));

	if (siege_draw(2))
		memset(p + n, '[', most);
	else
		noise(buf + n, most);
	for (int i = 0; i < 3; i++)
		if (siege_ask(l, codes[siege_draw(LT_COUNT(codes))],
			SIEGE_FIELDS({"group", "besiegers"}), buf,
			n + most) < 0)
			return -1;
	return 0;
}

/*
 * code i16, language u8, version i16, opaque i32, flag i32, remark: i32 and
 * text, extFields: i32, then name: i16 and text, value: i32 and text
 */
static int
binary_lies(struct siege_link *l)
{
	uint8_t *p = buf + 8;
	uint32_t wrong = siege_draw(2) ? 0x7FFFFFFFu - siege_draw(1000)
				       : 0xFFFFFFFFu - siege_draw(1000);
	uint32_t n = 40;

	memset(p, 0, n);
	p[1] = 31;
	lt_bytes_put32(p + 13, 1);
	p[17] = 'r';
	lt_bytes_put32(p + 18, 17);
	lt_bytes_put16(p + 22, 5);
	memcpy(p + 24, "topic", 5);
	lt_bytes_put32(p + 29, 6);
	memcpy(p + 33, "good!!", 6);
	n = 39;
	switch (siege_draw(4)) {
	case 0:
		lt_bytes_put32(p + 13, wrong);
		break;
	case 1:
		lt_bytes_put32(p + 18, wrong);
		break;
	case 2:
		lt_bytes_put16(p + 22, (uint16_t)(1000 + siege_draw(64000)));
		break;
	default:
		lt_bytes_put32(p + 29, wrong);
		break;
	}
	claim(n + 4, 1u << 24 | n);
	push_all(l->fd, buf, n + 8);
	return 0;
}

/* --- requests that make no sense -------------------------------------------
 */

/* Every one is answered, and none with success: these act, or look further
 * than at a name. */
static int
illegal_names(struct siege_link *l)
{
	static char longest[300];
	static const char *const bad[] = {"", "a b", "../../etc/passwd", "x/y",
	    "t\xff\xfe", "\"}]}", "a%b c", longest, "a\001b\002"};
	static const struct {
		int32_t code;
		const char *topic, *group;
	} ways[] = {{11, "topic", NULL}, {17, "topic", NULL}, {310, "b", NULL},
	    {200050, "topic", NULL}, {200050, NULL, "consumerGroup"},
	    {15, NULL, "consumerGroup"}, {36, NULL, "group"}};

	memset(longest, 'x', sizeof longest - 1);
	for (int i = 0; i < 12; i++) {
		size_t way = siege_draw(LT_COUNT(ways));
		const char *name = bad[siege_draw(LT_COUNT(bad))];
		const char *topic =
		    ways[way].topic != NULL ? ways[way].topic : "topic";
		const char *group =
		    ways[way].group != NULL ? ways[way].group : "consumerGroup";
		int32_t code = siege_ask(l, ways[way].code,
		    SIEGE_FIELDS({topic, ways[way].topic ? name : "good"},
			{group, ways[way].group ? name : "besiegers"},
			{"a", "p"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"},
			{"f", "0"}, {"h", "0"}, {"i", ""}, {"queueId", "0"},
			{"queueOffset", "0"}, {"offset", "1"},
			{"commitOffset", "1"}, {"maxMsgNums", "1"},
			{"sysFlag", "4"}, {"suspendTimeoutMillis", "0"},
			{"subscription", "*"}, {"subVersion", "0"},
			{"timestamp", "1"}, {"key", "k"}, {"maxNum", "1"},
			{"beginTimestamp", "0"}, {"endTimestamp", "9"},
			{"readQueueNums", "1"}, {"writeQueueNums", "1"},
			{"perm", "6"}, {"delayLevel", "0"},
			{"invisibleTime", "1000"}, {"pollTime", "0"},
			{"bornTime", "0"}, {"initMode", "0"},
			{"expType", "TAG"}, {"exp", "*"}, {"order", "false"},
			{"topicFilterType", "SINGLE_TAG"}, {"order", "false"},
			{"topicSysFlag", "0"}, {"defaultTopic", "TBW102"}),
		    NULL, 0);

		if (code <= 0) {
			printf(
			    "code %d, `%s': %d\n", ways[way].code, name, code);
			return -1;
		}
	}
	return 0;
}

static int
negative_numbers(struct siege_link *l)
{
	static const char *const bad[] = {"-1", "-2147483648", "2147483648",
	    "-9223372036854775808", "9223372036854775807",
	    "99999999999999999999", "", "0x10", "1e9", "-0"};
	static const int32_t codes[] = {11, 361, 310, 15, 14, 29, 30, 31, 32,
	    36, 12, 321, 200050, 200051, 200053, 200054};

	for (int i = 0; i < 8; i++) {
#define BAD bad[siege_draw(LT_COUNT(bad))]
		if (siege_ask(l, codes[siege_draw(LT_COUNT(codes))],
			SIEGE_FIELDS({"topic", "spam"}, {"b", "spam"},
			    {"a", "besiegers"}, {"consumerGroup", "besiegers"},
			    {"group", "besiegers"}, {"d", BAD}, {"e", BAD},
			    {"f", BAD}, {"g", BAD}, {"h", BAD}, {"j", BAD},
			    {"queueId", BAD}, {"queueOffset", BAD},
			    {"offset", BAD}, {"commitOffset", BAD},
			    {"maxMsgNums", BAD}, {"sysFlag", "4"},
			    {"suspendTimeoutMillis", "0"}, {"timestamp", BAD},
			    {"delayLevel", BAD}, {"subVersion", BAD},
			    {"subscription", "*"}, {"key", "k"},
			    {"maxNum", BAD}, {"beginTimestamp", BAD},
			    {"endTimestamp", BAD}, {"index", BAD},
			    {"count", BAD}, {"invisibleTime", BAD},
			    {"pollTime", "0"}, {"bornTime", "0"},
			    {"extraInfo", BAD}, {"order", "false"}),
			"x", 1) < 0)
			return -1;
#undef BAD
	}
	return 0;
}

static int
forged_receipts(struct siege_link *l)
{
	char extra[200], offset[24];

	for (int i = 0; i < 6; i++) {
		snprintf(offset, sizeof offset, "%u", siege_draw(100));
		snprintf(extra, sizeof extra, "%s %u 1000 %u 0 leat %u %s",
		    offset, siege_draw(1u << 31), siege_draw(1000),
		    siege_draw(8), siege_draw(2) ? offset : "x");
		if (siege_ask(l, siege_draw(2) ? 200051 : 200053,
			SIEGE_FIELDS({"consumerGroup", "besiegers"},
			    {"topic", siege_draw(2) ? "good" : "none"},
			    {"queueId", siege_draw(2) ? "0" : "7"},
			    {"extraInfo", extra}, {"offset", offset},
			    {"invisibleTime", "1000"}),
			NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/* Answers to questions that were not put. */
static int
unasked_replies(struct siege_link *l)
{
	for (int i = 0; i < 50; i++)
		push_all(l->fd, buf,
		    siege_frame(buf, ROOM, (int32_t)siege_draw(300),
			LT_REMOTING_RESPONSE, (int32_t)siege_draw(1000),
			SIEGE_FIELDS({"topic", "good"}), "{}", 2));
	return 0;
}

/* --- floods ----------------------------------------------------------------
 */

/* All are answered, in order. */
static int
pipelined(struct siege_link *l)
{
	size_t n = 0;

	for (int i = 0; i < TINY; i++)
		n += siege_frame(buf + n, ROOM - n, 99999, 0, i,
		    SIEGE_FIELDS({NULL, NULL}), NULL, 0);
	push_all(l->fd, buf, n);
	for (int i = 0; i < TINY; i++)
		if (siege_receive(l) != 0 || l->h.opaque != i || l->h.code != 3)
			return -1;
	return 0;
}

static int
oneway_flood(struct siege_link *l)
{
	uint8_t body[100];
	size_t n = 0;

	noise(body, sizeof body);
	for (int i = 0; i < 200; i++)
		n += send_frame(buf + n, LT_REMOTING_ONEWAY, "0", body,
		    siege_draw(sizeof body) + 1);
	push(l->fd, buf, n);
	return 0;
}

static int
long_polls(struct siege_link *l)
{
	for (int i = 0; i < 50; i++)
		push(l->fd, buf, pull_frame(buf, "quiet", "0", "5000"));
	for (int i = 0; i < 10; i++)
		push(l->fd, buf,
		    siege_frame(buf, ROOM, 200050, 0, i,
			SIEGE_FIELDS({"consumerGroup", "besiegers"},
			    {"topic", "quiet"}, {"queueId", "-1"},
			    {"maxMsgNums", "32"}, {"invisibleTime", "60000"},
			    {"pollTime", "5000"}, {"bornTime", "0"},
			    {"initMode", "0"}, {"expType", "TAG"}, {"exp", "*"},
			    {"order", "false"}),
			NULL, 0));
	return 0;
}

/* Asks for much and takes nothing. */
static int
slow_reader(struct siege_link *l)
{
	(void)setsockopt(
	    l->fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
	for (int i = 0; i < 60; i++)
		push(l->fd, buf, pull_frame(buf, "big", "0", "0"));
	return 0;
}

/* --- half of something -----------------------------------------------------
 */

static int
nothing(struct siege_link *l)
{
	(void)l;
	return 0;
}

static int
truncated(struct siege_link *l)
{
	size_t n = sane(0);

	push(l->fd, buf, 1 + siege_draw((uint32_t)n - 1));
	if (siege_draw(4) == 0)
		shutdown(l->fd, SHUT_WR);
	return 0;
}

/* Claims nearly the largest frame, and sends a good part of it. */
static int
fat(struct siege_link *l)
{
	size_t n = 1u << 20;

	memset(buf, 'x', n);
	claim(LT_REMOTING_FRAME_MAX - 4, 100);
	push(l->fd, buf, n);
	return 0;
}

static int
half_tls(struct siege_link *l)
{
	push(l->fd, hello, 1 + siege_draw((uint32_t)hello_bytes));
	return 0;
}

void
siege_drip(int fd, size_t n)
{
	static uint8_t frame[LT_REMOTING_PREFIX + 200];
	static size_t bytes;

	if (bytes == 0) {
		bytes = sane(0);
		if (bytes > sizeof frame)
			abort();
		memcpy(frame, buf, bytes);
	}
	push(fd, &frame[n % bytes], 1);
}

static int
gone(struct siege_link *l)
{
	for (uint32_t i = siege_draw(5); i < 5; i++)
		push(l->fd, buf,
		    siege_draw(2) ? pull_frame(buf, "big", "0", "0")
				  : send_frame(buf, 0, "-1", "x", 1));
	return 0;
}

const struct siege_kind siege_kinds[] = {
    {"garbage", SIEGE_CUT, SIEGE_EITHER, garbage},
    {"oversize frames", SIEGE_CUT, SIEGE_EITHER, oversize},
    {"header length lies", SIEGE_CUT, SIEGE_EITHER, header_lies},
    {"TLS hello garbage", SIEGE_CUT, SIEGE_EITHER, tls_garbage},
    {"noise in a TLS session", SIEGE_CUT, SIEGE_NAMES, tls_broken},
    {"JSON bombs", SIEGE_CUT, SIEGE_EITHER, json_bomb},
    {"binary header lies", SIEGE_CUT, SIEGE_EITHER, binary_lies},
    {"JSON bombs in bodies", SIEGE_SERVED, SIEGE_BROKER, body_bomb},
    {"illegal names", SIEGE_SERVED, SIEGE_BROKER, illegal_names},
    {"negative numbers", SIEGE_SERVED, SIEGE_BROKER, negative_numbers},
    {"forged receipts", SIEGE_SERVED, SIEGE_BROKER, forged_receipts},
    {"replies nobody asked for", SIEGE_SERVED, SIEGE_BROKER, unasked_replies},
    {"2,000 tiny requests", SIEGE_SERVED, SIEGE_BROKER, pipelined},
    {"one-way floods", SIEGE_GONE, SIEGE_BROKER, oneway_flood},
    {"gone before the answer", SIEGE_GONE, SIEGE_BROKER, gone},
    {"connect and close", SIEGE_GONE, SIEGE_EITHER, nothing},
    {"many long polls", SIEGE_KEPT, SIEGE_BROKER, long_polls},
    {"slow readers", SIEGE_KEPT, SIEGE_BROKER, slow_reader},
    {"half-open", SIEGE_KEPT, SIEGE_EITHER, nothing},
    {"truncated, then hangs", SIEGE_KEPT, SIEGE_EITHER, truncated},
    {"a large frame, then hangs", SIEGE_KEPT, SIEGE_EITHER, fat},
    {"half TLS handshakes", SIEGE_KEPT, SIEGE_EITHER, half_tls},
    {"slowloris", SIEGE_KEPT, SIEGE_EITHER, nothing},
};
const size_t siege_kind_count = LT_COUNT(siege_kinds);

void
siege_kinds_init(void)
{
	SSL *ssl = SSL_new(siege.tls);
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	buf = malloc(ROOM);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	(void)SSL_connect(ssl);
	n = BIO_read(out, hello, sizeof hello);
	if (buf == NULL || n <= 0)
		abort();
	hello_bytes = (size_t)n;
	SSL_free(ssl);
}

void
siege_kinds_fini(void)
{
	free(buf);
}
