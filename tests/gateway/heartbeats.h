/*
 * heartbeats.h - heartbeats in the forms that clients of the field send them:
 * group g on topic t, and a producer if they name theirs.
 */
#ifndef LT_TESTS_HEARTBEATS_H
#define LT_TESTS_HEARTBEATS_H

static const char *const heartbeats[] = {
    /* Java 4.9, 5.x */
    "{\"clientID\":\"10.0.0.9@1#2\",\"consumerDataSet\":[{\"consumeFromWhere\":"
    "\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","
    "\"groupName\":\"g\",\"messageModel\":\"CLUSTERING\","
    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[97,98],"
    "\"expressionType\":\"TAG\",\"subString\":\"a||b\",\"subVersion\":"
    "1700000000000,\"tagsSet\":[\"a\",\"b\"],\"topic\":\"t\"},"
    "{\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\","
    "\"subString\":\"*\",\"subVersion\":1700000000001,\"tagsSet\":[],"
    "\"topic\":\"%RETRY%g\"}],\"unitMode\":false}],\"heartbeatFingerprint\":0,"
    "\"producerDataSet\":[{\"groupName\":\"CLIENT_INNER_PRODUCER\"},"
    "{\"groupName\":\"pg\"}],\"withoutSub\":false}",
    /* Java 5.x with fingerprints: broadcasting, by SQL */
    "{\"clientID\":\"10.0.0.9@1#2\",\"consumerDataSet\":[{\"consumeFromWhere\":"
    "\"CONSUME_FROM_TIMESTAMP\",\"consumeType\":\"CONSUME_ACTIVELY\","
    "\"groupName\":\"g\",\"messageModel\":\"BROADCASTING\","
    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[],"
    "\"expressionType\":\"SQL92\",\"subString\":\"a > 5\",\"subVersion\":"
    "1700000000000,\"tagsSet\":[],\"topic\":\"t\"}],\"unitMode\":false}],"
    "\"heartbeatFingerprint\":-1403487322,\"producerDataSet\":[],"
    "\"withoutSub\":false}",
    /* Go */
    "{\"clientID\":\"10.0.0.9@4711\",\"producerDataSet\":[{\"groupName\":"
    "\"pg\"}],\"consumerDataSet\":[{\"groupName\":\"g\",\"consumeType\":"
    "\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
    "\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\","
    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"topic\":\"t\","
    "\"subString\":\"a || b\",\"tagsSet\":[\"a\",\"b\"],\"codeSet\":[97,98],"
    "\"subVersion\":1700000000000000000,\"expressionType\":\"TAG\"}],"
    "\"unitMode\":false}]}",
    /* C++: ordinals, versions as texts, no empty lists, a line's end */
    "{\"clientID\":\"10.0.0.9@DEFAULT\",\"consumerDataSet\":[{"
    "\"consumeFromWhere\":4,\"consumeType\":1,\"groupName\":\"g\","
    "\"messageModel\":1,\"subscriptionDataSet\":[{\"codeSet\":[97,98],"
    "\"subString\":\"a||b\",\"subVersion\":\"1700000000000\",\"tagsSet\":"
    "[\"a\",\"b\"],\"topic\":\"t\"},{\"subString\":\"*\",\"subVersion\":"
    "\"1700000000000\",\"topic\":\"%RETRY%g\"}]}]}\n",
    /* Node */
    "{\"clientID\":\"10.0.0.9@5\",\"consumerDataSet\":[{\"groupName\":\"g\","
    "\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
    "\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"subscriptionDataSet\":"
    "[{\"topic\":\"t\",\"subString\":\"a||b\",\"classFilterMode\":false,"
    "\"tagsSet\":[\"a\",\"b\"],\"codeSet\":[97,98],\"subVersion\":"
    "1700000000000}],\"unitMode\":false}],\"producerDataSet\":[{\"groupName\":"
    "\"pg\"}]}",
};

static const char lock_request[] =
    "{\"clientId\":\"10.0.0.9@1#2\",\"consumerGroup\":\"g\",\"mqSet\":["
    "{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"t\"},"
    "{\"brokerName\":\"b\",\"queueId\":3,\"topic\":\"u\"}],"
    "\"onlyThisBroker\":false}";

#endif
