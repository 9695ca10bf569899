// FrameAdmin.java - what a broker answers to tools, exactly.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

final class FrameAdmin {
	private FrameAdmin() {
	}

	static void add() {
		Suite.add("topic-config", FrameAdmin::topicConfig);
		Suite.add("topic-refused", FrameAdmin::topicRefused);
		Suite.add("topic-delete", FrameAdmin::topicDelete);
		Suite.add("topic-narrowed", FrameAdmin::narrowed);
		Suite.add("topic-all", () -> {
			try (Wire wire = Wire.broker()) {
				Wire.Answer a = wire.call(21);
				return a.code + " " + new TreeSet<>(((Map<?, ?>) a.json()).keySet()) + " "
					+ a.at("topicConfigTable", "TBW102");
			}
		});
		Suite.add("topic-stats", FrameAdmin::topicStats);
		Suite.add("topic-consumed-by", FrameAdmin::consumedBy);
		Suite.add("group-config", FrameAdmin::groupConfig);
		Suite.add("group-all", () -> {
			try (Wire wire = Wire.broker()) {
				Wire.Answer a = wire.call(201);
				return a.code + " " + new TreeSet<>(((Map<?, ?>) a.json()).keySet());
			}
		});
		Suite.add("group-disabled", FrameAdmin::groupDisabled);
		Suite.add("consume-stats", FrameAdmin::consumeStats);
		Suite.add("connections", FrameAdmin::connections);
		Suite.add("offset-reset", FrameAdmin::reset);
		Suite.add("offset-clone", FrameAdmin::cloneOffset);
		Suite.add("broker-config", FrameAdmin::brokerConfig);
		Suite.add("broker-runtime", FrameAdmin::runtime);
		Suite.add("broker-stats", FrameAdmin::stats);
		Suite.add("broker-system-topics", () -> {
			try (Wire wire = Wire.broker()) {
				Wire.Answer a = wire.call(305);
				return a.code + " " + new TreeSet<>((List<?>) a.at("topicList"));
			}
		});
		Suite.add("producers", FrameAdmin::producers);
		Suite.add("relay-nobody", () -> {
			String group = Suite.fresh("nobody");
			try (Wire wire = Wire.broker()) {
				return "307 " + wire.call(307, "consumerGroup", group, "clientId", "c9").code
					+ " 309 " + wire.call(309, "consumerGroup", group, "clientId", "c9",
					"msgId", "7F00000100002A9F0000000000000000").code + " 223 "
					+ wire.call(223, "topic", "TBW102", "group", group).code;
			}
		});
		Suite.add("clean-up", () -> {
			try (Wire wire = Wire.broker()) {
				return "306 " + wire.call(306).code + " 316 " + wire.call(316).code + " 329 "
					+ wire.call(329).code;
			}
		});
		Suite.add("codes-not-served", FrameAdmin::notServed);
	}

	private static String topicConfig() throws Exception {
		String topic = Ask.topic("config", 3, 2, 6);
		try (Wire wire = Wire.broker()) {
			Wire.Answer a = wire.call(351, "topic", topic);
			return a.code + " " + a.json() + " no such topic "
				+ wire.call(351, "topic", Suite.fresh("none")).say();
		}
	}

	private static String topicRefused() throws Exception {
		try (Wire wire = Wire.broker()) {
			StringBuilder s = new StringBuilder();
			for (String name : List.of("a.b", "", "SCHEDULE_TOPIC_XXXX", "TBW102", "n".repeat(128),
				"DefaultCluster"))
				s.append(name.length() > 99 ? "128 letters" : name).append(' ')
					.append(Ask.setTopic(wire, name, 1, 1, 6).code).append("; ");
			return s.toString();
		}
	}

	private static String topicDelete() throws Exception {
		String topic = Ask.topic("delete", 1);
		try (Wire wire = Wire.broker(); Wire ns = Wire.namesrv()) {
			Ask.send(wire, topic, 0, "x");
			StringBuilder s = new StringBuilder();
			s.append(wire.call(215, "topic", topic).say());
			s.append(" at the name server ").append(ns.call(216, "topic", topic).say());
			s.append(" config ").append(wire.call(351, "topic", topic).code);
			s.append(" route ").append(ns.call(105, "topic", topic).code);
			s.append(" again ").append(wire.call(215, "topic", topic).code);
			s.append(" a system topic ").append(wire.call(215, "topic", "TBW102").code);
			Ask.setTopic(wire, topic, 1, 1, 6);
			s.append(" made again, next offset ").append(Ask.send(wire, topic, 0, "y")
				.say("queueOffset"));
			return s.toString();
		}
	}

	// Fewer queues than before: what was written in the others stays readable.
	private static String narrowed() throws Exception {
		String topic = Ask.topic("narrowed", 4);
		try (Wire wire = Wire.broker()) {
			Ask.send(wire, topic, 3, "x");
			Suite.until(20, "readable", () -> Ask.pull(wire, "frames", topic, 3, 0, "*").code == 0);
			Ask.setTopic(wire, topic, 4, 2, 6);
			String s = "write 2 of 4: send to 3 " + Ask.send(wire, topic, 3, "y").code
				+ " pull of 3 " + Ask.pull(wire, "frames", topic, 3, 0, "*").code;
			Ask.setTopic(wire, topic, 2, 2, 6);
			return s + "; read 2: pull of 3 " + Ask.pull(wire, "frames", topic, 3, 0, "*").code
				+ " send to 3 " + Ask.send(wire, topic, 3, "z").code;
		}
	}

	// The values of a table that is keyed by queues: "queue:value" in order.
	private static String table(Wire.Answer a, String table, String... keys) {
		TreeSet<String> all = new TreeSet<>();
		Map<?, ?> entries = (Map<?, ?>) a.at(table);
		if (entries == null)
			return "none";
		entries.forEach((k, v) -> {
			String s = k.toString().replaceAll(".*\"queueId\":(\\d+).*", "$1") + ":";
			if (keys.length == 0)
				s += v;
			for (String key : keys)
				s += " " + ((Map<?, ?>) v).get(key);
			all.add(s);
		});
		return all.toString();
	}

	private static String topicStats() throws Exception {
		String topic = Ask.topic("topic-stats", 2);
		try (Wire wire = Wire.broker()) {
			for (int i = 0; i < 3; i++)
				Ask.send(wire, topic, 1, "x");
			Wire.Answer a = wire.call(202, "topic", topic);
			return a.code + " " + table(a, "offsetTable", "minOffset", "maxOffset")
				+ " no such topic " + wire.call(202, "topic", Suite.fresh("none")).code;
		}
	}

	private static String consumedBy() throws Exception {
		String topic = Ask.topic("consumed", 1);
		String group = Suite.fresh("consumed-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "a||b");
			Ask.send(wire, topic, 0, "x");
			Ask.commit(wire, group, topic, 0, 1);
			Wire.Answer sub = wire.call(345, "group", group, "topic", topic);
			return new TreeSet<>((List<?>) wire.call(300, "topic", topic).at("groupList"))
				+ " topics "
				+ new TreeSet<>((List<?>) wire.call(343, "group", group).at("topicList"))
				+ " subscription " + sub.code + " "
				+ sub.at("subscriptionData", "subString") + " span "
				+ Wire.shape(wire.call(303, "topic", topic, "group", group).json());
		}
	}

	private static String groupConfig() throws Exception {
		String group = Suite.fresh("config-g");
		try (Wire wire = Wire.broker()) {
			StringBuilder s = new StringBuilder();
			s.append("none ").append(wire.call(352, "group", group).code);
			s.append(" set ").append(wire.call(200, null, "{\"groupName\":\"" + group
				+ "\",\"retryMaxTimes\":5,\"retryQueueNums\":2,\"consumeEnable\":true}").say());
			Wire.Answer a = wire.call(352, "group", group);
			s.append(' ').append(a.code).append(' ').append(a.json());
			s.append(" delete ").append(wire.call(207, "groupName", group, "cleanOffset", true)
				.say());
			s.append(" illegal name ").append(wire.call(200, null,
				"{\"groupName\":\"a b\"}").code);
			return s.toString();
		}
	}

	private static String groupDisabled() throws Exception {
		String topic = Ask.topic("disabled", 1);
		String group = Suite.fresh("disabled-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Ask.send(wire, topic, 0, "x");
			Ask.read(wire, "frames", topic, 1);
			String config = "{\"groupName\":\"" + group + "\",\"consumeEnable\":%s,"
				+ "\"retryQueueNums\":1,\"retryMaxTimes\":16}";
			wire.call(200, null, String.format(config, "false"));
			int off = Ask.pull(wire, group, topic, 0, 0, "*").code;
			wire.call(200, null, String.format(config, "true"));
			return "pull while disabled " + off + " enabled again "
				+ Ask.pull(wire, group, topic, 0, 0, "*").code;
		}
	}

	private static String consumeStats() throws Exception {
		String topic = Ask.topic("consume-stats", 2);
		String group = Suite.fresh("consume-stats-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			for (int i = 0; i < 4; i++)
				Ask.send(wire, topic, 0, "x");
			Ask.commit(wire, group, topic, 0, 3);
			Suite.until(20, "readable", () -> Ask.pull(wire, "frames", topic, 0, 3, "*").code == 0);
			Wire.Answer a = wire.call(208, "consumerGroup", group, "topic", topic);
			return a.code + " " + table(a, "offsetTable", "brokerOffset", "consumerOffset")
				+ " of all topics " + wire.call(208, "consumerGroup", group).code
				+ " no such group " + wire.call(208, "consumerGroup",
				Suite.fresh("none")).code;
		}
	}

	private static String connections() throws Exception {
		String topic = Ask.topic("connections", 1);
		String group = Suite.fresh("connections-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "a");
			Wire.Answer c = wire.call(203, "consumerGroup", group);
			Wire.Answer p = wire.call(204, "producerGroup", group + "-p");
			return c.code + " " + Wire.shape(c.at("connectionSet")) + " "
				+ c.at("connectionSet", 0, "clientId") + " "
				+ c.at("connectionSet", 0, "language") + " " + c.at("messageModel") + " "
				+ c.at("consumeType") + " " + c.at("consumeFromWhere") + " "
				+ c.at("subscriptionTable", topic, "subString") + " producer " + p.code + " "
				+ p.at("connectionSet", 0, "clientId") + " none: 203 "
				+ wire.call(203, "consumerGroup", Suite.fresh("none")).code + " 204 "
				+ wire.call(204, "producerGroup", Suite.fresh("none")).code;
		}
	}

	private static String reset() throws Exception {
		String topic = Ask.topic("reset", 1);
		String group = Suite.fresh("reset-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			for (int i = 0; i < 5; i++)
				Ask.send(wire, topic, 0, "x");
			Suite.until(20, "readable", () -> Ask.pull(wire, "frames", topic, 0, 4, "*").code == 0);
			Ask.commit(wire, group, topic, 0, 5);
			Object[] ask = {"topic", topic, "group", group, "timestamp", 0, "isForce", true,
				"queueId", -1, "offset", -1};
			Wire.Answer a = wire.call(222, ask);
			StringBuilder s = new StringBuilder(a.code + " " + table(a, "offsetTable"));
			s.append(" committed ").append(Ask.committed(wire, group, topic, 0).say("offset"));
			s.append(" a commit before the pull ").append(Ask.commit(wire, group, topic, 0, 5).code);
			s.append(" leaves ").append(Ask.committed(wire, group, topic, 0).say("offset"));
			s.append(" the pull ").append(wire.call(11, Ask.pullExt(group, topic, 0, 5), "")
				.say("nextBeginOffset"));
			s.append(" then ").append(Ask.commit(wire, group, topic, 0, 2).code).append(' ')
				.append(Ask.committed(wire, group, topic, 0).say("offset"));
			ask[5] = -1;
			s.append(" to the end ").append(table(wire.call(222, ask), "offsetTable"));
			ask[9] = 0;
			ask[11] = 3;
			s.append(" to 3 ").append(table(wire.call(222, ask), "offsetTable"));
			ask[1] = Suite.fresh("none");
			s.append(" no topic ").append(wire.call(222, ask).code);
			ask[1] = topic;
			ask[3] = Suite.fresh("none");
			return s + " no group " + wire.call(222, ask).code;
		}
	}

	private static String cloneOffset() throws Exception {
		String topic = Ask.topic("clone", 1);
		String from = Suite.fresh("clone-from");
		String to = Suite.fresh("clone-to");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", from, topic, "*");
			Ask.send(wire, topic, 0, "x");
			Ask.send(wire, topic, 0, "x");
			Ask.commit(wire, from, topic, 0, 2);
			return wire.call(314, "srcGroup", from, "destGroup", to, "topic", topic, "offline",
				false).say() + " " + Ask.committed(wire, to, topic, 0).say("offset");
		}
	}

	private static String brokerConfig() throws Exception {
		try (Wire wire = Wire.broker()) {
			Wire.Answer a = wire.call(26);
			String text = new String(a.body, StandardCharsets.UTF_8);
			List<String> there = new ArrayList<>();
			for (String key : List.of("brokerName", "brokerClusterName", "brokerId",
				"autoCreateTopicEnable", "flushDiskType", "brokerPermission", "listenPort",
				"maxMessageSize", "messageDelayLevel", "fileReservedTime", "deleteWhen"))
				if (text.matches("(?s)(.*\n|)" + key + "=.*"))
					there.add(key);
			int set = wire.call(25, null, "fileReservedTime=71\n").code;
			String now = new String(wire.call(26).body, StandardCharsets.UTF_8);
			return a.keys() + " " + there + " update " + set + " seen: "
				+ now.contains("fileReservedTime=71");
		}
	}

	private static String runtime() throws Exception {
		try (Wire wire = Wire.broker()) {
			Wire.Answer a = wire.call(28);
			TreeSet<Object> keys = new TreeSet<>(((Map<?, ?>) a.at("table")).keySet());
			keys.removeIf(k -> k.toString().matches("(scheduleMessageOffset_|.*/).*"));
			return a.code + " " + keys;
		}
	}

	private static String stats() throws Exception {
		String topic = Ask.topic("stats", 1);
		try (Wire wire = Wire.broker()) {
			Ask.send(wire, topic, 0, "x");
			Wire.Answer a = wire.call(315, "statsName", "TOPIC_PUT_NUMS", "statsKey", topic);
			return a.code + " " + Wire.shape(a.json()) + " unknown name " + wire.call(315,
				"statsName", "NO_SUCH", "statsKey", topic).code + " unknown key "
				+ wire.call(315, "statsName", "TOPIC_PUT_NUMS", "statsKey",
				Suite.fresh("none")).code;
		}
	}

	private static String producers() throws Exception {
		String group = Suite.fresh("producers");
		try (Wire wire = Wire.broker()) {
			wire.call(34, null, "{\"clientID\":\"p1\",\"producerDataSet\":[{\"groupName\":\""
				+ group + "\"}]}");
			Wire.Answer a = wire.call(328);
			return a.code + " " + Wire.shape(a.at("data", group));
		}
	}

	// Requests that a broker may refuse; what this one answers to their bare codes.
	private static String notServed() throws Exception {
		StringBuilder s = new StringBuilder();
		try (Wire wire = Wire.broker()) {
			for (int code : new int[] {13, 22, 23, 209, 214, 301, 902, 1001, 1018})
				s.append(code).append(':').append(wire.call(code).code).append(' ');
		}
		return s.toString();
	}
}
