/*
 * golden.h - headers as clients of RocketMQ send them: keys in their order,
 * escapes in their way, numbers as text or bare.
 */
#ifndef LT_TESTS_GOLDEN_H
#define LT_TESTS_GOLDEN_H

#include <stddef.h>

/* Java 5.3: a send (V2 keys). */
#define GOLDEN_JAVA                                                            \
	"{\"code\":310,\"extFields\":{\"a\":\"please_rename\",\"b\":"          \
	"\"TopicTest\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"2\",\"f\":"        \
	"\"769\",\"g\":\"1758000000123\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u0001"  \
	"7F0000010E4C18B4AAC2072F3A4C0000\\u0002WAIT\\u0001true\\u0002TAGS"    \
	"\\u0001TagA\",\"j\":\"0\",\"k\":\"false\",\"m\":\"false\",\"n\":"     \
	"\"broker-a\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":5,"         \
	"\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}"
/* Go v2: a send (V1 names), an empty remark, HTML's characters escaped. */
#define GOLDEN_GO                                                              \
	"{\"code\":10,\"language\":\"GO\",\"version\":317,\"opaque\":1,"       \
	"\"flag\":0,\"remark\":\"\",\"extFields\":{\"batch\":\"false\","       \
	"\"bornTimestamp\":\"1758000000123\",\"bname\":\"broker-a\","          \
	"\"defaultTopic\":\"TBW102\",\"defaultTopicQueueNums\":\"4\","         \
	"\"flag\":\"0\",\"maxReconsumeTimes\":\"0\",\"producerGroup\":"        \
	"\"DEFAULT_PRODUCER\",\"properties\":\"KEYS\\u0001a\\u003cb\\u003e\\u" \
	"0026\\u0002UNIQ_KEY\\u0001C0A80002000100000000076ABC400001\\u0002\"," \
	"\"queueId\":\"3\",\"reconsumeTimes\":\"0\",\"sysFlag\":\"0\","        \
	"\"topic\":\"TopicTest\",\"unitMode\":\"false\"}}"
/* C++: a pull, sorted keys, a newline at the end. */
#define GOLDEN_CPP                                                             \
	"{\"code\":11,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":"       \
	"\"ALIYUN\",\"Signature\":\"+7zrMqyQXqlq1o/JeiQT3sC0XvQ=\","           \
	"\"commitOffset\":\"-1\",\"consumerGroup\":\"cg\",\"maxMsgNums\":"     \
	"\"32\",\"queueId\":\"1\",\"queueOffset\":\"9223372036854775807\","    \
	"\"subVersion\":\"1758000000123\",\"subscription\":\"a||b\","          \
	"\"suspendTimeoutMillis\":\"15000\",\"sysFlag\":\"3\",\"topic\":"      \
	"\"TopicTest\"},\"flag\":0,\"language\":\"CPP\",\"opaque\":"           \
	"-2147483648,\"version\":333}\n"
/* Node: a send (V2 keys a to l), bare numbers and booleans, null. */
#define GOLDEN_NODE                                                            \
	"{\"code\":310,\"language\":\"JAVA\",\"opaque\":3,\"flag\":0,"         \
	"\"version\":121,\"extFields\":{\"a\":\"DEFAULT_PRODUCER\",\"b\":"     \
	"\"TopicTest\",\"c\":\"TBW102\",\"d\":4,\"e\":0,\"f\":0,\"g\":"        \
	"1758000000123,\"h\":0,\"i\":\"TAGS\\u0001null\\u0002\",\"j\":0,"      \
	"\"k\":false,\"l\":null}}"
/* Java with the binary encoding: a pull. */
#define GOLDEN_BINARY                                                          \
	"\000\013\000\001\337\000\000\000\021\000\000\000\000\000\000\000\000" \
	"\000\000\000\061"                                                     \
	"\000\015consumerGroup\000\000\000\002cg"                              \
	"\000\005topic\000\000\000\011TopicTest"                               \
	"\000\002no\000\000\000\000"
/* A reply of a Java broker with the binary encoding: a remark, no fields. */
#define GOLDEN_BINARY_REPLY                                                    \
	"\000\021\000\001\337\377\377\377\377\000\000\000\001\000\000\000\002" \
	"no\000\000\000\000"

static const struct golden {
	int is_binary;
	const char *header;
	size_t bytes;
	size_t least; /* bytes without what may be missing at the end */
} golden[] = {
    {0, GOLDEN_JAVA, sizeof(GOLDEN_JAVA) - 1, sizeof(GOLDEN_JAVA) - 1},
    {0, GOLDEN_GO, sizeof(GOLDEN_GO) - 1, sizeof(GOLDEN_GO) - 1},
    {0, GOLDEN_CPP, sizeof(GOLDEN_CPP) - 1, sizeof(GOLDEN_CPP) - 2},
    {0, GOLDEN_NODE, sizeof(GOLDEN_NODE) - 1, sizeof(GOLDEN_NODE) - 1},
    {1, GOLDEN_BINARY, sizeof(GOLDEN_BINARY) - 1, sizeof(GOLDEN_BINARY) - 1},
    {1, GOLDEN_BINARY_REPLY, sizeof(GOLDEN_BINARY_REPLY) - 1,
	sizeof(GOLDEN_BINARY_REPLY) - 1},
};

#endif
