// Ask.java - the requests that many cases make over a Wire.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

final class Ask {
	private Ask() {
	}

	// Makes a topic and returns its name; the name server then knows it too.
	static String topic(String name, int read, int write, int perm) throws Exception {
		String topic = Suite.fresh(name);
		try (Wire wire = Wire.broker()) {
			Suite.same(0, setTopic(wire, topic, read, write, perm).code, "topic made");
		}
		routed(topic);
		return topic;
	}

	static String topic(String name, int queues) throws Exception {
		return topic(name, queues, queues, 6);
	}

	static void routed(String topic) throws Exception {
		try (Wire wire = Wire.namesrv()) {
			Suite.until(40, "route of " + topic,
				() -> wire.call(105, "topic", topic).code == 0);
		}
	}

	static Wire.Answer setTopic(Wire wire, String topic, int read, int write, int perm)
		throws IOException {
		return wire.call(17, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", read,
			"writeQueueNums", write, "perm", perm, "topicFilterType", "SINGLE_TAG",
			"topicSysFlag", 0, "order", false);
	}

	static Map<String, String> sendExt(String topic, int queue, String properties) {
		return Wire.ext("producerGroup", "frames", "topic", topic, "defaultTopic", "TBW102",
			"defaultTopicQueueNums", 4, "queueId", queue, "sysFlag", 0, "bornTimestamp",
			System.currentTimeMillis(), "flag", 0, "properties", properties,
			"reconsumeTimes", 0, "unitMode", false, "batch", false);
	}

	// The same with the one-letter names of 310 and 320.
	static Map<String, String> sendExt2(String topic, int queue, String properties) {
		Map<String, String> short_ = new LinkedHashMap<>();
		int letter = 0;
		for (String value : sendExt(topic, queue, properties).values()) {
			short_.put(letter == 11 ? "m" : String.valueOf((char) ('a' + letter)), value);
			letter++;
		}
		return short_;
	}

	static Wire.Answer send(Wire wire, String topic, int queue, String body, String... properties)
		throws IOException {
		return wire.call(310, sendExt2(topic, queue, properties(properties)), body);
	}

	static String properties(String... pairs) {
		StringBuilder s = new StringBuilder();
		for (int i = 0; i + 1 < pairs.length; i += 2)
			s.append(pairs[i]).append('\1').append(pairs[i + 1]).append('\2');
		return s.toString();
	}

	static byte[] batch(String... bodies) {
		ByteArrayOutputStream all = new ByteArrayOutputStream();
		for (String body : bodies) {
			byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
			ByteBuffer one = ByteBuffer.allocate(22 + bytes.length);
			one.putInt(22 + bytes.length).putInt(0).putInt(0).putInt(0);
			one.putInt(bytes.length).put(bytes).putShort((short) 0);
			all.write(one.array(), 0, one.capacity());
		}
		return all.toByteArray();
	}

	static Map<String, Object> subscription(String topic, String tags) {
		List<String> set = tags.equals("*") ? List.of() : Arrays.asList(tags.split("\\|\\|"));
		List<Integer> codes = set.stream().map(String::hashCode).toList();
		return Map.of("topic", topic, "subString", tags, "tagsSet", set, "codeSet", codes,
			"subVersion", System.currentTimeMillis(), "expressionType", "TAG",
			"classFilterMode", false);
	}

	static Wire.Answer heartbeat(Wire wire, String client, String group, String topic, String tags)
		throws IOException {
		Map<String, Object> consumer = Map.of("groupName", group, "consumeType",
			"CONSUME_PASSIVELY", "messageModel", "CLUSTERING", "consumeFromWhere",
			"CONSUME_FROM_LAST_OFFSET", "unitMode", false, "subscriptionDataSet",
			List.of(subscription(topic, tags)));
		Map<String, Object> beat = Map.of("clientID", client, "heartbeatFingerprint", 0,
			"withoutSub", false, "consumerDataSet", List.of(consumer), "producerDataSet",
			List.of(Map.of("groupName", group + "-p")));
		return wire.call(34, null, Wire.Json.text(beat));
	}

	static Map<String, String> pullExt(String group, String topic, int queue, long offset) {
		return Wire.ext("consumerGroup", group, "topic", topic, "queueId", queue, "queueOffset",
			offset, "maxMsgNums", 32, "sysFlag", 0, "commitOffset", 0,
			"suspendTimeoutMillis", 15000, "subVersion", 0, "expressionType", "TAG");
	}

	// A pull that carries its own subscription, so that no heartbeat is needed.
	static Wire.Answer pull(Wire wire, String group, String topic, int queue, long offset,
		String tags) throws IOException {
		Map<String, String> ext = pullExt(group, topic, queue, offset);
		ext.put("sysFlag", "4");
		ext.put("subscription", tags);
		return wire.call(11, ext, "");
	}

	// The messages of queue 0, once there are that many: they may be readable later
	// than receipted.
	static List<Wire.Stored> read(Wire wire, String group, String topic, int n)
		throws Exception {
		Suite.until(20, n + " readable",
			() -> Wire.messages(pull(wire, group, topic, 0, 0, "*").body).size() >= n);
		return Wire.messages(pull(wire, group, topic, 0, 0, "*").body);
	}

	static Wire.Answer commit(Wire wire, String group, String topic, int queue, long offset)
		throws IOException {
		return wire.call(15, "consumerGroup", group, "topic", topic, "queueId", queue,
			"commitOffset", offset);
	}

	static Wire.Answer committed(Wire wire, String group, String topic, int queue)
		throws IOException {
		return wire.call(14, "consumerGroup", group, "topic", topic, "queueId", queue);
	}
}
