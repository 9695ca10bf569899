// FrameSend.java - what a broker answers to the requests of producers, exactly.

import java.io.IOException;
import java.util.List;
import java.util.Map;

final class FrameSend {
	private FrameSend() {
	}

	static void add() {
		Suite.add("send-v1", () -> one(10));
		Suite.add("send-v2", () -> one(310));
		Suite.add("send-any-queue", () -> {
			String topic = Ask.topic("any-queue", 4);
			try (Wire wire = Wire.broker()) {
				Wire.Answer a = Ask.send(wire, topic, -1, "x");
				long q = a.number("queueId");
				return a.code + " a queue of the topic: " + (q >= 0 && q < 4);
			}
		});
		Suite.add("send-queue-too-high", () -> sendTo(Ask.topic("high", 2), 2));
		Suite.add("send-queue-not-written", () -> sendTo(Ask.topic("narrow", 4, 2, 6), 3));
		Suite.add("send-illegal-name", () -> sendTo("a.b", 0) + " " + sendTo("a b", 0) + " "
			+ sendTo("", 0) + " empty " + sendTo("a%b|c_d-e", 0));
		Suite.add("send-long-name", () -> "127: " + sendTo(long_(127), 0) + " 128: "
			+ sendTo(long_(128), 0));
		Suite.add("send-system-topic", () -> sendTo("SCHEDULE_TOPIC_XXXX", 0) + " "
			+ sendTo("RMQ_SYS_TRANS_HALF_TOPIC", 0) + " " + sendTo("TBW102", 0));
		Suite.add("send-read-only", FrameSend::readOnly);
		Suite.add("send-unknown-topic", () -> {
			try (Wire wire = Wire.broker()) {
				Map<String, String> ext = Ask.sendExt(Suite.fresh("unknown"), 0, "");
				ext.put("defaultTopic", "no-such-default");
				return wire.call(10, ext, "x").say();
			}
		});
		Suite.add("send-auto-create", FrameSend::autoCreate);
		Suite.add("send-body-sizes", FrameSend::sizes);
		Suite.add("send-properties-too-long", () -> {
			String topic = Ask.topic("long-properties", 1);
			try (Wire wire = Wire.broker()) {
				return "32000 " + Ask.send(wire, topic, 0, "x", "p", "x".repeat(31998))
					.say() + " 32768 " + Ask.send(wire, topic, 0, "x", "p",
					"x".repeat(32766)).say();
			}
		});
		Suite.add("send-missing-fields", () -> {
			try (Wire wire = Wire.broker()) {
				Map<String, String> none = Wire.ext("topic", Ask.topic("missing", 1));
				return "10 " + wire.call(10, none, "x").code + " 310 "
					+ wire.call(310, Wire.ext("b", none.get("topic")), "x").code;
			}
		});
		Suite.add("send-batch", FrameSend::batch);
		Suite.add("send-stored-properties", FrameSend::stored);
		Suite.add("send-retry-topic-unknown-group", () ->
			sendTo(Suite.fresh("%RETRY%nobody"), 0));
		Suite.add("send-back", FrameSend::back);
		Suite.add("send-back-refused", FrameSend::backRefused);
		Suite.add("send-delay", FrameSend::delay);
		Suite.add("send-reply-nobody", () -> {
			try (Wire wire = Wire.broker()) {
				return wire.call(324, Ask.sendExt("DefaultCluster_REPLY_TOPIC", 0,
					Ask.properties("MSG_TYPE", "reply", "REPLY_TO_CLIENT", "nobody",
					"CORRELATION_ID", "1")), "x").code + "";
			}
		});
		Suite.add("transaction-commit", () -> transaction(8));
		Suite.add("transaction-rollback", () -> transaction(12));
		Suite.add("transaction-wrong", FrameSend::wrongEnd);
		Suite.add("query-by-key", FrameSend::query);
		Suite.add("view-by-id", FrameSend::view);
	}

	private static String long_(int length) {
		return "n".repeat(length - Suite.STAMP.length()) + Suite.STAMP;
	}

	private static String sendTo(String topic, int queue) throws IOException {
		try (Wire wire = Wire.broker()) {
			return Ask.send(wire, topic, queue, "x").say();
		}
	}

	// A broker leaves this to its clients.
	private static String readOnly() throws Exception {
		String topic = Ask.topic("read-only", 2, 2, 4);
		try (Wire wire = Wire.broker()) {
			return "perm " + wire.call(351, "topic", topic).at("perm") + " send "
				+ Ask.send(wire, topic, 0, "x").say();
		}
	}

	private static String one(int code) throws Exception {
		String topic = Ask.topic("send-" + code, 2);
		Map<String, String> ext = code == 10 ? Ask.sendExt(topic, 1, "")
						     : Ask.sendExt2(topic, 1, "");
		try (Wire wire = Wire.broker()) {
			wire.call(code, ext, "first");
			Wire.Answer a = wire.call(code, ext, "second");
			return a.keys() + " " + a.say("queueId", "queueOffset", "MSG_REGION", "TRACE_ON")
				+ " id of " + a.ext.get("msgId").length();
		}
	}

	private static String autoCreate() throws Exception {
		StringBuilder s = new StringBuilder();
		try (Wire wire = Wire.broker()) {
			for (int queues : new int[] {1, 4, 8, 16}) {
				String topic = Suite.fresh("auto-" + queues);
				Map<String, String> ext = Ask.sendExt(topic, 0, "");
				ext.put("defaultTopicQueueNums", String.valueOf(queues));
				s.append(wire.call(10, ext, "x").code).append(" asked ").append(queues);
				Wire.Answer a = wire.call(351, "topic", topic);
				s.append(" got ").append(a.at("writeQueueNums")).append(" perm ")
					.append(a.at("perm")).append("; ");
			}
		}
		return s.toString();
	}

	private static String sizes() throws Exception {
		String topic = Ask.topic("sizes", 1);
		StringBuilder s = new StringBuilder();
		try (Wire wire = Wire.broker()) {
			for (int size : new int[] {0, 1, 1 << 20, 4 << 20, (4 << 20) + 1, 8 << 20}) {
				Wire.Answer a = wire.call(310, Ask.sendExt2(topic, 0, ""), new byte[size]);
				s.append(size).append(": ").append(a.code).append(' ');
			}
		}
		return s.toString();
	}

	private static String batch() throws Exception {
		String topic = Ask.topic("batch", 1);
		Map<String, String> ext = Ask.sendExt2(topic, 0, "");
		try (Wire wire = Wire.broker()) {
			Ask.send(wire, topic, 0, "before");
			ext.put("m", "true");
			Wire.Answer a = wire.call(320, ext, Ask.batch("one", "two", "three"));
			Wire.Answer alone = wire.call(310, ext, Ask.batch("four"));
			StringBuilder s = new StringBuilder(a.keys());
			s.append(' ').append(a.say("queueOffset")).append(" ids ");
			s.append(a.ext.get("msgId").split(",").length).append(" by 310 ");
			s.append(alone.say("queueOffset"));
			for (Wire.Stored m : Ask.read(wire, "frames", topic, 5))
				s.append(' ').append(m.body).append('@').append(m.queueOffset);
			Wire.Answer broken = wire.call(320, ext, new byte[] {0, 0, 0, 50, 1});
			return s + " broken body " + broken.code;
		}
	}

	private static String stored() throws Exception {
		String topic = Ask.topic("stored", 1);
		try (Wire wire = Wire.broker()) {
			Ask.send(wire, topic, 0, "x", "TAGS", "t", "KEYS", "k1 k2", "own", "\u00e4\u20ac",
				"POP_CK", "gone", "empty", "");
			Wire.Stored m = Ask.read(wire, "frames", topic, 1).get(0);
			m.properties.computeIfPresent("UNIQ_KEY", (k, v) -> "made");
			return m.properties.toString();
		}
	}

	// A message is given back: to %RETRY%group after a second, or to %DLQ%group.
	private static String back() throws Exception {
		String topic = Ask.topic("back", 1);
		String group = Suite.fresh("back-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Ask.send(wire, topic, 0, "again");
			Wire.Stored m = Ask.read(wire, group, topic, 1).get(0);
			StringBuilder s = new StringBuilder();
			s.append("level 0 ").append(giveBack(wire, group, m.logOffset, 0).say());
			s.append(" level -1 ").append(giveBack(wire, group, m.logOffset, -1).say());
			for (String to : List.of("%RETRY%" + group, "%DLQ%" + group)) {
				Suite.until(20, "a message in " + to,
					() -> Ask.pull(wire, "frames", to, 0, 0, "*").code == 0);
				m = Wire.messages(Ask.pull(wire, "frames", to, 0, 0, "*").body).get(0);
				m.properties.replaceAll((k, v) -> v.matches("[0-9A-F]{32,}") ? "ID" : v);
				s.append(' ').append(m.topic).append(" body ").append(m.body)
					.append(" reconsumed ").append(m.reconsumeTimes)
					.append(' ').append(m.properties);
				Wire.Answer config = wire.call(351, "topic", to);
				s.append(" perm ").append(config.at("perm")).append(" queues ")
					.append(config.at("readQueueNums"));
			}
			return s.toString();
		}
	}

	private static Wire.Answer giveBack(Wire wire, String group, long offset, int level)
		throws IOException {
		return wire.call(36, "offset", offset, "group", group, "delayLevel", level,
			"originMsgId", "1", "originTopic", "t", "unitMode", false,
			"maxReconsumeTimes", 16);
	}

	private static String backRefused() throws Exception {
		String topic = Ask.topic("back-refused", 1);
		String group = Suite.fresh("back-r");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			return "no such offset " + giveBack(wire, group, 1L << 50, 0).say()
				+ " unknown group " + giveBack(wire, Suite.fresh("nobody"), 1L << 50, 0)
				.say();
		}
	}

	private static String delay() throws Exception {
		String topic = Ask.topic("frame-delay", 1);
		try (Wire wire = Wire.broker()) {
			long sent = System.nanoTime();
			Wire.Answer a = Ask.send(wire, topic, 0, "late", "DELAY", "2");
			Suite.until(20, "the delayed message",
				() -> Ask.pull(wire, "frames", topic, 0, 0, "*").code == 0);
			long ms = (System.nanoTime() - sent) / 1_000_000;
			Wire.Stored m = Wire.messages(Ask.pull(wire, "frames", topic, 0, 0, "*").body).get(0);
			m.properties.computeIfPresent("UNIQ_KEY", (k, v) -> "made");
			Suite.check(ms >= 1900, "came after %d ms", ms);
			return a.code + " not before two seconds; " + m.properties;
		}
	}

	// Half message, then its end; what a consumer sees of it.
	private static String transaction(int end) throws Exception {
		String topic = Ask.topic("tx-" + end, 1);
		Map<String, String> ext = Ask.sendExt(topic, 0, Ask.properties("TRAN_MSG", "true",
			"PGROUP", "frames", "UNIQ_KEY", "A".repeat(32)));
		ext.put("sysFlag", "4");
		try (Wire wire = Wire.broker()) {
			Wire.Answer half = wire.call(10, ext, "half");
			int before = Ask.pull(wire, "frames", topic, 0, 0, "*").code;
			Wire.Answer ended = wire.call(37, "topic", topic, "producerGroup", "frames",
				"tranStateTableOffset", half.ext.get("queueOffset"), "commitLogOffset",
				logOffset(half), "commitOrRollback", end, "fromTransactionCheck", false,
				"msgId", "A".repeat(32), "transactionId", "A".repeat(32));
			if (end == 8)
				Ask.read(wire, "frames", topic, 1);
			Wire.Answer after = Ask.pull(wire, "frames", topic, 0, 0, "*");
			StringBuilder s = new StringBuilder("half " + half.code + " seen " + before
				+ " end " + ended.say() + " seen " + after.code);
			if (after.code == 0) {
				Wire.Stored m = Wire.messages(after.body).get(0);
				s.append(' ').append(m.body).append(" sysFlag ").append(m.sysFlag);
			}
			return s.toString();
		}
	}

	private static long logOffset(Wire.Answer sent) {
		return Long.parseLong(sent.ext.get("msgId").substring(16), 16);
	}

	private static String wrongEnd() throws Exception {
		String topic = Ask.topic("tx-wrong", 1);
		try (Wire wire = Wire.broker()) {
			Wire.Answer plain = Ask.send(wire, topic, 0, "plain");
			Object[] end = {"topic", topic, "producerGroup", "frames", "tranStateTableOffset",
				0, "commitLogOffset", logOffset(plain), "commitOrRollback", 8, "msgId", "1"};
			int ofPlain = wire.call(37, end).code;
			end[7] = 1L << 50;
			return "of a plain message " + ofPlain + " of nothing " + wire.call(37, end).code;
		}
	}

	private static String query() throws Exception {
		String topic = Ask.topic("query", 2);
		try (Wire wire = Wire.broker()) {
			for (int i = 0; i < 6; i++)
				Ask.send(wire, topic, i % 2, "m" + i, "KEYS", "even" + i % 2 + " all",
					"UNIQ_KEY", "U" + i);
			Object[] by = {"topic", topic, "key", "all", "maxNum", 32, "beginTimestamp", 0,
				"endTimestamp", Long.MAX_VALUE};
			Suite.until(20, "six by key", () -> Wire.messages(wire.call(12, by).body).size() == 6);
			StringBuilder s = new StringBuilder(wire.call(12, by).keys() + " all 6");
			for (String key : List.of("even0", "even1", "none")) {
				by[3] = key;
				Wire.Answer a = wire.call(12, by);
				s.append(' ').append(key).append(' ').append(a.code).append(" n=")
					.append(Wire.messages(a.body).size());
			}
			by[3] = "all";
			by[5] = 2;
			s.append(" at most 2: ").append(Wire.messages(wire.call(12, by).body).size());
			by[3] = "U3";
			Map<String, String> unique = Wire.ext(by);
			unique.put("_UNIQUE_KEY_QUERY", "true");
			s.append(" unique ").append(Wire.messages(wire.call(12, unique, "").body).size());
			by[5] = 32;
			by[3] = "all";
			by[7] = System.currentTimeMillis() + 3600_000;
			s.append(" of an hour to come ").append(wire.call(12, by).code);
			return s.toString();
		}
	}

	private static String view() throws Exception {
		String topic = Ask.topic("view", 1);
		try (Wire wire = Wire.broker()) {
			long at = logOffset(Ask.send(wire, topic, 0, "seen", "KEYS", "k"));
			Wire.Answer a = wire.call(33, "offset", at);
			return a.code + " " + Wire.messages(a.body).get(0).body + " beside it "
				+ wire.call(33, "offset", at + 1).code + " beyond the end "
				+ wire.call(33, "offset", 1L << 50).code + " negative "
				+ wire.call(33, "offset", -1).code;
		}
	}
}
